/* The fields of the IMAP role's questions: any bytes are refused, or come out as they went in. */
#include <assert.h>

#include "base/buf.h"
#include "ipc/messages.h"
#include "roles/store/fields.h"

static void ranges(struct span in)
{
    struct arena a;
    const struct store_range *r;
    struct store_range_list l = {0};
    arena_init(&a, 1 << 20);
    if (fields_ranges(&a, in, &r, &l.count)) {
        l.r = (struct store_range *)(uintptr_t)r;
        for (size_t i = 0; i < l.count; i++)
            assert(r[i].first > (i ? r[i - 1].last : 0) && r[i].last >= r[i].first);
        assert(span_eq(fields_ranges_put(&a, &l), in));
    }
    arena_done(&a);
}

static void keywords(struct span in)
{
    struct arena a;
    struct store_keyword_list l;
    arena_init(&a, FIELDS_KEYWORDS_ARENA);
    if (fields_keywords(&a, in, &l)) {
        size_t len = l.count ? l.count - 1 : 0;
        for (size_t i = 0; i < l.count; len += l.names[i++].len)
            assert(l.names[i].len > 0 && l.names[i].len <= STORE_KEYWORD_BYTES_MAX);
        assert(l.count <= STORE_KEYWORDS_MAX && len == in.len);
    }
    arena_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_make(data, size);
    ranges(span_sub(in, 0, IPC_RANGES_MAX * IPC_RANGE_BYTES));
    keywords(span_sub(in, 0, IPC_KEYWORDS_MAX));
    (void)fields_name(span_sub(in, 0, IPC_MAILBOX_NAME_MAX));
    return 0;
}
