/* Any bytes as an address list, as message ids and as Received; then each address written and read again. */
#include <stdlib.h>

#include "base/err.h"
#include "mime/address.h"
#include "mime/received.h"

static void write_and_read(const struct mime_address *m)
{
    struct arena a;
    struct mime_address_list list;
    struct buf out;

    if (!m->local.len || !m->domain.len || span_find_byte(m->local, '\0') != SPAN_NPOS)
        return;
    arena_init(&a, 1 << 20);
    buf_init(&out, 1 << 20);
    if (mime_address_format(m, &out) != BRANT_OK)
        abort();
    mime_addresses_parse(&a, buf_span(&out), 10, &list);
    if (list.count == 0)
        abort();
    buf_done(&out);
    arena_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = span_make(data, size), id;
    struct arena a;
    struct mime_address_list list;
    struct mime_received received;
    struct buf scratch;

    arena_init(&a, 1 << 20);
    mime_addresses_parse(&a, rest, 100, &list);
    for (size_t i = 0; i < list.count; i++)
        write_and_read(&list.items[i]);
    arena_done(&a);
    mime_received_parse(rest, &received);
    buf_init(&scratch, size);
    while (mime_msgid_next(&rest, &scratch, &id))
        if (!id.len)
            abort();
    buf_done(&scratch);
    return 0;
}
