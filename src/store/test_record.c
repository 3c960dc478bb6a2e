#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "store/record.h"
#include "store/testing_old.h"

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

static int decode_version(uint16_t type, uint16_t version, struct span payload, uint64_t total,
                          union record *ret, size_t *ret_len)
{
    static struct arena arena;
    int rc;

    arena_done(&arena);
    arena_init(&arena, RECORD_ARENA_BYTES);
    rc = record_decode(type, version, payload, total, &arena, ret, ret_len);
    return rc;
}

static int decode(uint16_t type, struct span payload, uint64_t total, union record *ret, size_t *ret_len)
{
    return decode_version(type, record_version(type), payload, total, ret, ret_len);
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
    assert_int_equal(record_version(RECORD_FLAGS), 2);
    /* A list that claims more items than there are bytes. */
    assert_int_equal(decode(RECORD_ALIAS, SPAN_LIT("\x04\0\0\0\xff\x0f\0\0"), 8, &got, &len), BRANT_ESYNTAX);
    assert_int_equal(decode(RECORD_ALIAS, SPAN_LIT("\x04\0\0\0\xff\xff\xff\xff"), 8, &got, &len),
                     BRANT_ELIMIT);
    assert_string_equal(record_name(RECORD_EXPUNGE), "EXPUNGE");
}

/* What each seed of the fuzz target says is read and written again to the octet; one of an older version as
 * the newest. */
static void seeds(void **state)
{
    static const struct {
        const char *name;
        uint16_t type, version;
    } seed[] = {{"account-1", RECORD_ACCOUNT, 1}, {"account-2", RECORD_ACCOUNT, 2},
                {"account-3", RECORD_ACCOUNT, 3}, {"change-1", RECORD_MOVE, 1},
                {"change-2", RECORD_MOVE, 2},     {"mailboxes-1", RECORD_MAILBOXES, 1},
                {"retire-2", RECORD_RETIRE, 2},   {"subscriptions-1", RECORD_SUBSCRIPTIONS, 1}};
    const char *root = getenv("BRANT_SOURCE_ROOT");

    (void)state;
    for (size_t i = 0; i < sizeof seed / sizeof seed[0]; i++) {
        _cleanup_buf_ struct buf out;
        uint8_t bytes[4096];
        char path[500];
        union record rec;
        size_t len, fields;
        FILE *f;

        (void)snprintf(path, sizeof path, "%s/tests/corpus/fuzz_record/%s", root ? root : ".", seed[i].name);
        f = fopen(path, "rb");
        assert_non_null(f);
        len = fread(bytes, 1, sizeof bytes, f);
        fclose(f);
        assert_int_equal(bytes[0] & 0x3f, seed[i].type);
        buf_init(&out, 8192);
        assert_int_equal(decode_version(seed[i].type, seed[i].version, span_make(bytes + 1, len - 1), len - 1,
                                        &rec, &fields),
                         BRANT_OK);
        assert_int_equal(fields, len - 1);
        assert_int_equal(record_encode(&out, seed[i].type, &rec), BRANT_OK);
        if (seed[i].version == record_version(seed[i].type))
            assert_memory_equal(out.data, bytes + 1, len - 1);
        for (size_t cut = 0; cut < len - 1; cut++)
            assert_int_not_equal(
                decode_version(seed[i].type, seed[i].version, span_make(bytes + 1, cut), cut, &rec, &fields),
                BRANT_OK);
    }
}

/* A time for some of the entries is none. */
static void saved_times(void **state)
{
    struct record_entry entries[2] = {{.uid = 1}, {.uid = 2}};
    struct record_saved saved[2] = {{1}, {2}};
    union record rec = {.change = {.entries = entries, .entries_count = 2, .saved = saved, .saved_count = 1}};
    _cleanup_buf_ struct buf out;
    union record got;
    size_t len;

    (void)state;
    buf_init(&out, 4096);
    assert_int_equal(record_encode(&out, RECORD_FLAGS, &rec), BRANT_OK);
    assert_int_equal(decode(RECORD_FLAGS, buf_span(&out), out.len, &got, &len), BRANT_ESYNTAX);
    rec.change.saved_count = 2;
    buf_reset(&out);
    assert_int_equal(record_encode(&out, RECORD_FLAGS, &rec), BRANT_OK);
    assert_int_equal(decode(RECORD_FLAGS, buf_span(&out), out.len, &got, &len), BRANT_OK);
    assert_int_equal(got.change.saved[1].time_ms, 2);
}

/* Read as the newest version says it: what was there is as it was, what is new is empty. */
static void version_1_account(void **state)
{
    struct span payload = span_make(account_1, sizeof account_1);
    struct record_grant grant = {.kind = 1, .name = SPAN_LIT("phone"), .data = SPAN_LIT("x")};
    union record rec, again;
    _cleanup_buf_ struct buf out;
    struct arena arena;
    size_t len;

    (void)state;
    buf_init(&out, 4096);
    arena_init(&arena, 4096);
    assert_int_equal(record_decode(RECORD_ACCOUNT, 1, payload, payload.len, &arena, &rec, &len), BRANT_OK);
    assert_int_equal(len, payload.len);
    assert_true(span_eq_str(rec.account.address, "alice@brant.test"));
    assert_int_equal(rec.account.options, 3);
    assert_int_equal(rec.account.created_ms, 1700000000123);
    assert_int_equal(rec.account.mailboxes_count, 1);
    assert_true(span_eq_str(rec.account.mailboxes[0].name, "INBOX"));
    assert_int_equal(rec.account.scram_iterations, 0);
    assert_int_equal(rec.account.grants_count, 0);
    rec.account.grants = &grant;
    rec.account.grants_count = 1;
    assert_int_equal(record_encode(&out, RECORD_ACCOUNT, &rec), BRANT_OK);
    assert_int_equal(decode(RECORD_ACCOUNT, buf_span(&out), out.len, &again, &len), BRANT_OK);
    assert_true(span_eq_str(again.account.address, "alice@brant.test"));
    assert_true(span_eq_str(again.account.grants[0].name, "phone"));
    /* Neither is the other, and there is nothing below or above. */
    assert_int_equal(decode(RECORD_ACCOUNT, payload, payload.len, &again, &len), BRANT_ESYNTAX);
    assert_int_equal(decode_version(RECORD_ACCOUNT, 1, buf_span(&out), out.len, &again, &len), BRANT_ESYNTAX);
    assert_int_equal(decode_version(RECORD_ACCOUNT, 0, payload, payload.len, &again, &len),
                     BRANT_EUNSUPPORTED);
    assert_int_equal(decode_version(RECORD_ACCOUNT, record_version(RECORD_ACCOUNT) + 1, payload, payload.len,
                                    &again, &len),
                     BRANT_EUNSUPPORTED);
    for (size_t cut = 0; cut < payload.len; cut++)
        assert_int_not_equal(decode_version(RECORD_ACCOUNT, 1, span_sub(payload, 0, cut), cut, &again, &len),
                             BRANT_OK);
    arena_done(&arena);
}

static void version_1_message(void **state)
{
    struct span payload = span_make(message_1, sizeof message_1);
    union record rec;
    size_t len;

    (void)state;
    assert_int_equal(decode_version(RECORD_MESSAGE, 1, payload, payload.len, &rec, &len), BRANT_OK);
    assert_true(span_eq_str(rec.message.message_id, "<1@a.test>"));
    assert_int_equal(rec.message.entries[0].uid, 3);
    assert_int_equal(rec.message.boxes[0].uidnext, 4);
    assert_int_equal(rec.message.body_bytes, 4);
    assert_int_equal(record_body_offset(&rec.message, len), payload.len - 4);
    for (size_t cut = 0; cut < payload.len; cut++)
        assert_int_not_equal(decode_version(RECORD_MESSAGE, 1, span_sub(payload, 0, cut), cut, &rec, &len),
                             BRANT_OK);
}

/* Keys without iterations, or of another length, are none that can be used. */
static void scram_keys(void **state)
{
    char key[32] = "k";
    union record rec = {.account = {.scram_iterations = 4096,
                                    .scram_stored_key = span_make(key, 32),
                                    .scram_server_key = span_make(key, 32)}},
                 got;
    _cleanup_buf_ struct buf out;
    size_t len;

    (void)state;
    buf_init(&out, 4096);
    assert_int_equal(record_encode(&out, RECORD_ACCOUNT, &rec), BRANT_OK);
    assert_int_equal(decode(RECORD_ACCOUNT, buf_span(&out), out.len, &got, &len), BRANT_OK);
    rec.account.scram_server_key.len = 31;
    buf_reset(&out);
    assert_int_equal(record_encode(&out, RECORD_ACCOUNT, &rec), BRANT_OK);
    assert_int_equal(decode(RECORD_ACCOUNT, buf_span(&out), out.len, &got, &len), BRANT_ESYNTAX);
    rec.account.scram_server_key.len = 32;
    rec.account.scram_iterations = 0;
    buf_reset(&out);
    assert_int_equal(record_encode(&out, RECORD_ACCOUNT, &rec), BRANT_OK);
    assert_int_equal(decode(RECORD_ACCOUNT, buf_span(&out), out.len, &got, &len), BRANT_ESYNTAX);
}

/* A submission: rows of the queue, and an entry that no recipient made. */
static void submission(void **state)
{
    struct record_recipient recipient;
    struct record_prefix prefix;
    struct record_entry entry;
    struct record_box box;
    struct record_queued queued = {.recipient = 0, .state = RECORD_QUEUE_HELD};
    union record rec = sample(&recipient, &prefix, &entry, &box), got;
    _cleanup_buf_ struct buf out;
    size_t len;

    (void)state;
    buf_init(&out, 4096);
    rec.message.tls = SPAN_LIT("TLSv1.3");
    rec.message.submitter = 9;
    rec.message.content_sum[15] = 8;
    rec.message.queue = &queued;
    rec.message.queue_count = 1;
    entry.recipient = RECORD_NO_RECIPIENT;
    assert_int_equal(record_encode(&out, RECORD_MESSAGE, &rec), BRANT_OK);
    assert_int_equal(decode(RECORD_MESSAGE, buf_span(&out), out.len + 7, &got, &len), BRANT_OK);
    assert_true(span_eq_str(got.message.tls, "TLSv1.3"));
    assert_int_equal(got.message.submitter, 9);
    assert_int_equal(got.message.content_sum[15], 8);
    assert_int_equal(got.message.queue_count, 1);
    assert_int_equal(got.message.entries[0].recipient, RECORD_NO_RECIPIENT);
    for (size_t cut = 0; cut < out.len; cut++)
        assert_int_not_equal(decode(RECORD_MESSAGE, span_sub(buf_span(&out), 0, cut), cut, &got, &len),
                             BRANT_OK);
    for (int wrong = 0; wrong < 5; wrong++) {
        queued = (struct record_queued){.recipient = wrong == 0, .state = 1, .variant = wrong == 1};
        if (wrong == 2)
            queued.state = RECORD_QUEUE_REMOVED;
        if (wrong == 3)
            queued.state = RECORD_QUEUE_HELD + 1;
        entry.recipient = wrong == 4; /* there is only recipient 0 */
        buf_reset(&out);
        assert_int_equal(record_encode(&out, RECORD_MESSAGE, &rec), BRANT_OK);
        assert_int_equal(decode(RECORD_MESSAGE, buf_span(&out), out.len + 7, &got, &len), BRANT_ESYNTAX);
    }
}

static void queue_rows(void **state)
{
    struct record_queue_row rows[2] = {{.message = 7,
                                        .recipient = 1,
                                        .state = RECORD_QUEUE_HELD,
                                        .size = 99,
                                        .account = 3,
                                        .sender = SPAN_LIT("a@b.test"),
                                        .address = SPAN_LIT("c@d.test")},
                                       {.message = 8}};
    union record rec = {.queue = {.rows = rows, .rows_count = 2}}, got;
    _cleanup_buf_ struct buf out;
    size_t len;

    (void)state;
    buf_init(&out, 4096);
    assert_int_equal(record_encode(&out, RECORD_QUEUE, &rec), BRANT_OK);
    assert_int_equal(decode(RECORD_QUEUE, buf_span(&out), out.len, &got, &len), BRANT_OK);
    assert_int_equal(got.queue.rows[0].size, 99);
    assert_true(span_eq_str(got.queue.rows[0].address, "c@d.test"));
    assert_int_equal(got.queue.rows[1].state, RECORD_QUEUE_REMOVED);
    assert_int_equal(decode(RECORD_QUEUE, buf_span(&out), out.len + 1, &got, &len), BRANT_ESYNTAX);
    for (size_t cut = 0; cut < out.len; cut++)
        assert_int_not_equal(decode(RECORD_QUEUE, span_sub(buf_span(&out), 0, cut), cut, &got, &len),
                             BRANT_OK);
    rows[0].state = RECORD_QUEUE_HELD + 1;
    buf_reset(&out);
    assert_int_equal(record_encode(&out, RECORD_QUEUE, &rec), BRANT_OK);
    assert_int_equal(decode(RECORD_QUEUE, buf_span(&out), out.len, &got, &len), BRANT_ESYNTAX);
}

/* The largest of each kind can be written and read. */
static void largest(void **state)
{
    static char text[RECORD_STRUCTURE_MAX];
    struct span address = span_make(text, RECORD_ADDRESS_MAX);
    struct arena arena, decoded;
    _cleanup_buf_ struct buf out;
    union record rec = {0}, got;
    size_t len;

    (void)state;
    memset(text, 'x', sizeof text);
    buf_init(&out, 2 * RECORD_FIELDS_MAX);
    arena_init(&arena, RECORD_ARENA_BYTES);
    arena_init(&decoded, RECORD_ARENA_BYTES);
    rec.message.structure = span_make(text, sizeof text);
    rec.message.recipients = arena_array(&arena, RECORD_RECIPIENTS_MAX, sizeof *rec.message.recipients);
    rec.message.queue = arena_array(&arena, RECORD_RECIPIENTS_MAX, sizeof *rec.message.queue);
    rec.message.entries = arena_array(&arena, RECORD_ENTRIES_MAX, sizeof *rec.message.entries);
    rec.message.boxes = arena_array(&arena, RECORD_ENTRIES_MAX, sizeof *rec.message.boxes);
    rec.message.prefixes = arena_array(&arena, RECORD_VARIANTS_MAX, sizeof *rec.message.prefixes);
    rec.message.recipients_count = rec.message.queue_count = RECORD_RECIPIENTS_MAX;
    rec.message.entries_count = rec.message.boxes_count = RECORD_ENTRIES_MAX;
    rec.message.prefixes_count = RECORD_VARIANTS_MAX;
    for (uint32_t i = 0; i < RECORD_RECIPIENTS_MAX; i++) {
        rec.message.recipients[i].address = address;
        rec.message.queue[i] = (struct record_queued){.recipient = i, .state = RECORD_QUEUE_HELD};
    }
    assert_int_equal(record_encode(&out, RECORD_MESSAGE, &rec), BRANT_OK);
    assert_int_equal(record_decode(RECORD_MESSAGE, record_version(RECORD_MESSAGE), buf_span(&out), out.len,
                                   &decoded, &got, &len),
                     BRANT_OK);
    rec = (union record){0};
    rec.queue.rows = arena_array(&arena, RECORD_RECIPIENTS_MAX, sizeof *rec.queue.rows);
    rec.queue.rows_count = RECORD_RECIPIENTS_MAX;
    for (uint32_t i = 0; i < RECORD_RECIPIENTS_MAX; i++)
        rec.queue.rows[i] = (struct record_queue_row){.sender = address, .address = address};
    buf_reset(&out);
    assert_int_equal(record_encode(&out, RECORD_QUEUE, &rec), BRANT_OK);
    arena_reset(&decoded);
    assert_int_equal(record_decode(RECORD_QUEUE, 1, buf_span(&out), out.len, &decoded, &got, &len), BRANT_OK);
    arena_done(&arena);
    arena_done(&decoded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip),
                                       cmocka_unit_test(limits),
                                       cmocka_unit_test(seeds),
                                       cmocka_unit_test(saved_times),
                                       cmocka_unit_test(version_1_account),
                                       cmocka_unit_test(version_1_message),
                                       cmocka_unit_test(scram_keys),
                                       cmocka_unit_test(submission),
                                       cmocka_unit_test(queue_rows),
                                       cmocka_unit_test(largest)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
