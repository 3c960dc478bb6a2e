/* Any bytes as a submitted header section. What is accepted is one header section with one From, nothing
 * blind in it, no address that was not asked for; and running it through again changes nothing. */
#include <stdlib.h>

#include "base/arena.h"
#include "base/ascii.h"
#include "base/err.h"
#include "mime/address.h"
#include "mime/headers.h"
#include "msa/field.h"
#include "msa/header.h"
#include "msa/shown.h"
#include "msa/testing.h"

enum { BYTES_MAX = 1 << 16, FIELDS_ADDED_MAX = 4 };

#define CHECK(condition)  \
    do {                  \
        if (!(condition)) \
            abort();      \
    } while (0)

static void check_lines(struct span out)
{
    size_t line = 0;

    CHECK(span_find(out, SPAN_LIT("\r\n\r\n")) == out.len - 4); /* one empty line, the last */
    for (size_t i = 0; i < out.len; i++) {
        CHECK((out.p[i] == '\r') == (i + 1 < out.len && out.p[i + 1] == '\n'));
        CHECK(!ascii_is_ctl(out.p[i]) || out.p[i] == '\t' || out.p[i] == '\r' || out.p[i] == '\n');
        line = out.p[i] == '\n' ? 0 : line + 1;
        CHECK(line <= MSA_LINE_BYTES_MAX + 1);
    }
}

static size_t count_fields(struct span text, size_t seen[MSA_FIELD_COUNT])
{
    struct mime_raw_field field;
    size_t count = 0;

    for (; text.len && mime_raw_field_next(&text, &field); count++)
        seen[msa_field_find(field.name)]++;
    return count;
}

/* Whatever a reader takes for an address in From, the lenient one and one that just looks for "@". */
static void check_from(struct span out)
{
    struct mime_raw_field field;
    struct mime_address_list list;
    struct arena arena;
    struct buf scratch;
    struct span address;

    while (mime_raw_field_next(&out, &field) && msa_field_find(field.name) != MSA_FIELD_FROM)
        ;
    arena_init(&arena, 1 << 22);
    buf_init(&scratch, 1 << 20);
    mime_addresses_parse(&arena, field.value, 1000, &list);
    CHECK(list.count > 0 && !list.truncated);
    for (size_t i = 0; i < list.count; i++) {
        buf_reset(&scratch);
        CHECK(list.items[i].kind == MIME_ADDRESS_MAILBOX && list.items[i].domain.len);
        mime_address_format(&list.items[i], &scratch);
        CHECK(testing_owns(buf_span(&scratch)));
    }
    while (msa_shown_next(&field.value, &scratch, &address))
        CHECK(testing_owns(address));
    buf_done(&scratch);
    arena_done(&arena);
}

static void check_output(struct span in, struct span out)
{
    size_t seen[MSA_FIELD_COUNT] = {0}, seen_in[MSA_FIELD_COUNT] = {0};
    size_t count = count_fields(out, seen), count_in = count_fields(in, seen_in);

    check_lines(out);
    CHECK(count <= count_in + FIELDS_ADDED_MAX);
    for (size_t i = 1; i < MSA_FIELD_COUNT; i++) {
        unsigned flags = msa_field_info((enum msa_field)i)->flags;

        CHECK(!(flags & MSA_FIELD_REMOVED) || !seen[i]);
        CHECK(!(flags & MSA_FIELD_ONCE) || seen[i] <= 1);
    }
    CHECK(seen[MSA_FIELD_FROM] == 1 && seen[MSA_FIELD_DATE] == 1 && seen[MSA_FIELD_MESSAGE_ID] == 1);
    check_from(out);
}

/* BRANT_OK or BRANT_EREFUSED, with the output and the repairs. */
static int run(struct span in, size_t step, bool smtputf8, struct buf *out, unsigned *ret_repairs)
{
    struct msa_facts facts = testing_facts(smtputf8);
    struct msa_header *h = msa_header_new(BYTES_MAX);
    struct msa_verdict v = {0};
    int rc = testing_run(h, in, step, &facts, out, &v);

    CHECK(rc == BRANT_OK || (rc == BRANT_EREFUSED && v.code >= 550 && v.text[0] && !out->len));
    *ret_repairs = msa_header_repairs(h);
    msa_header_free(h);
    return rc;
}

/* The first byte says what stands around the others, so that what is accepted is soon found. */
static void surround(struct span data, uint8_t how, struct buf *out)
{
    static const char *const before[] = {"", "From: alice@brant.test\r\n",
                                         "From: ", "From: alice@brant.test\r\nTo: "};
    static const char *const behind[] = {"", "\r\n", " <alice@brant.test>\r\n", "\r\nSubject: x\r\n"};

    buf_append_str(out, before[how & 3]);
    buf_append(out, data);
    buf_append_str(out, behind[how & 3]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool smtputf8 = size && data[0] & 1;
    struct span in;
    struct buf text, first, second;
    unsigned repairs;
    int rc;

    buf_init(&text, size + 256);
    surround(span_from(span_make(data, size), 1), size ? data[0] >> 1 : 0, &text);
    in = buf_span(&text);
    buf_init(&first, MSA_OUTPUT_BYTES_MAX(BYTES_MAX));
    buf_init(&second, MSA_OUTPUT_BYTES_MAX(BYTES_MAX));
    rc = run(in, SIZE_MAX, smtputf8, &first, &repairs);
    CHECK(run(in, 1, smtputf8, &second, &repairs) == rc && span_eq(buf_span(&first), buf_span(&second)));
    if (!rc) {
        check_output(in, buf_span(&first));
        buf_reset(&second);
        if (first.len <= BYTES_MAX) {
            CHECK(run(buf_span(&first), SIZE_MAX, smtputf8, &second, &repairs) == BRANT_OK && !repairs);
            CHECK(span_eq(buf_span(&first), buf_span(&second)));
        }
    }
    buf_done(&text);
    buf_done(&first);
    buf_done(&second);
    return 0;
}
