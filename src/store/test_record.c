#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/err.h"
#include "store/record.h"

static union record sample(struct record_recipient *recipient, struct record_prefix *prefix,
                           struct record_entry *entry, struct record_box *box)
{
    *recipient = (struct record_recipient){.address = SPAN_LIT("a@b.test")};
    *prefix = (struct record_prefix){.length = 3};
    *entry =
        (struct record_entry){.account = 1, .mailbox = 2, .uid = 3, .modseq = 4, .size = 7, .time_ms = 5};
    *box = (struct record_box){.mailbox = 2, .account = 1, .uidnext = 4, .modseq = 4};
    return (union record){.message = {.time_ms = 5,
                                      .helo = SPAN_LIT("client"),
                                      .structure = SPAN_LIT("xyz"),
                                      .recipients = recipient,
                                      .recipients_count = 1,
                                      .prefixes = prefix,
                                      .prefixes_count = 1,
                                      .entries = entry,
                                      .entries_count = 1,
                                      .boxes = box,
                                      .boxes_count = 1,
                                      .body_kind = RECORD_BODY_INLINE,
                                      .body_bytes = 4}};
}

static int decode(uint16_t type, struct span payload, uint64_t total, union record *ret, size_t *ret_len)
{
    static struct arena arena;
    int rc;

    arena_done(&arena);
    arena_init(&arena, RECORD_ARENA_BYTES);
    rc = record_decode(type, 1, payload, total, &arena, ret, ret_len);
    return rc;
}

static void round_trip(void **state)
{
    struct record_recipient recipient;
    struct record_prefix prefix;
    struct record_entry entry;
    struct record_box box;
    union record rec = sample(&recipient, &prefix, &entry, &box), got;
    _cleanup_buf_ struct buf out;
    size_t len;

    (void)state;
    buf_init(&out, 4096);
    assert_int_equal(record_encode(&out, RECORD_MESSAGE, &rec), BRANT_OK);
    assert_int_equal(decode(RECORD_MESSAGE, buf_span(&out), out.len + 7, &got, &len), BRANT_OK);
    assert_int_equal(len, out.len);
    assert_int_equal(got.message.entries[0].size, 7);
    assert_true(span_eq_str(got.message.recipients[0].address, "a@b.test"));
    assert_int_equal(record_prefix_offset(&got.message, len, 0), len);
    assert_int_equal(record_body_offset(&got.message, len), len + 3);
    assert_int_equal(decode(RECORD_MESSAGE, buf_span(&out), out.len + 8, &got, &len), BRANT_ESYNTAX);
    assert_int_equal(decode(RECORD_MESSAGE, buf_span(&out), out.len + 6, &got, &len), BRANT_ESYNTAX);
    for (size_t cut = 0; cut < out.len; cut++)
        assert_int_not_equal(decode(RECORD_MESSAGE, span_sub(buf_span(&out), 0, cut), cut, &got, &len),
                             BRANT_OK);
}

static void limits(void **state)
{
    _cleanup_buf_ struct buf out;
    char long_name[300];
    union record rec = {.domain = {.name = span_make(long_name, sizeof long_name)}}, got;
    size_t len;

    (void)state;
    memset(long_name, 'x', sizeof long_name);
    buf_init(&out, 4096);
    assert_int_equal(record_encode(&out, RECORD_DOMAIN, &rec), BRANT_ELIMIT);
    assert_int_equal(out.len, 0);
    rec.domain.name.len = 255;
    assert_int_equal(record_encode(&out, RECORD_DOMAIN, &rec), BRANT_OK);
    assert_int_equal(decode(RECORD_DOMAIN, buf_span(&out), out.len, &got, &len), BRANT_OK);
    assert_int_equal(decode(99, buf_span(&out), out.len, &got, &len), BRANT_EUNSUPPORTED);
    assert_int_equal(decode(RECORD_RETIRE, buf_span(&out), out.len, &got, &len), BRANT_ESYNTAX);
    /* A list that claims more items than there are bytes. */
    assert_int_equal(decode(RECORD_ALIAS, SPAN_LIT("\x04\0\0\0\xff\x0f\0\0"), 8, &got, &len), BRANT_ESYNTAX);
    assert_int_equal(decode(RECORD_ALIAS, SPAN_LIT("\x04\0\0\0\xff\xff\xff\xff"), 8, &got, &len),
                     BRANT_ELIMIT);
    assert_string_equal(record_name(RECORD_EXPUNGE), "EXPUNGE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip), cmocka_unit_test(limits)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
