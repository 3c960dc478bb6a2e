/* Changes of entries: ranges and slices, keywords, copies; and APPEND of several messages. */
#include <stdio.h>
#include <stdlib.h>

#include "store/keywords.h"
#include "store/ops.h"
#include "store/testing.h"

static uint64_t alice, work;

static int setup(void **state)
{
    struct bench *b = mem_zalloc(sizeof *b);

    bench_init(b, 1);
    b->config.segment_bytes = 1u << 20;
    assert_int_equal(bench_open(b), BRANT_OK);
    assert_int_equal(bench_domain_add(b, "brant.test"), BRANT_OK);
    assert_int_equal(bench_account_add(b, "alice@brant.test", &alice), BRANT_OK);
    assert_int_equal(bench_mailbox(b, STORE_MAILBOX_CREATE, alice, "work", "", &work), BRANT_OK);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;

    bench_done(b);
    free(b);
    return 0;
}

static void no_problem(void *ctx, const char *text)
{
    (void)ctx;
    fail_msg("%s", text);
}

static void check(struct bench *b)
{
    struct store_checked checked;

    assert_int_equal(store_check(b->reader, true, no_problem, NULL, &checked), BRANT_OK);
    assert_true(bench_same_after_rebuild(b, true));
    store_compact(b->st, true);
    bench_settle(b);
    assert_int_equal(store_check(b->reader, true, no_problem, NULL, &checked), BRANT_OK);
    assert_true(bench_same_after_rebuild(b, true));
}

static void deliver(struct bench *b, int count)
{
    static uint8_t id;

    for (int i = 0; i < count; i++)
        assert_int_equal(bench_commit(b, ++id, "alice@brant.test", SPAN_LIT(""), SPAN_LIT("x")), BRANT_OK);
}

static struct store_range lists[2][8];

/* An operation on the INBOX, with room for ranges in its answer. */
static struct store_op change(enum store_op_kind kind, const struct store_range *ranges, size_t count)
{
    return (struct store_op){.kind = kind,
                             .change = {.account = alice,
                                        .ranges = ranges,
                                        .range_count = count,
                                        .target = work,
                                        .touched = {.r = lists[0], .max = 8},
                                        .modified = {.r = lists[1], .max = 8}}};
}

static void ranges_are(const struct store_range_list *list, const char *wanted)
{
    char out[200] = "";
    size_t len = 0;

    for (size_t i = 0; i < list->count; i++)
        len += (size_t)snprintf(out + len, sizeof out - len, "%u:%u ", list->r[i].first, list->r[i].last);
    assert_string_equal(out, wanted);
}

static const struct store_range ALL = {1, UINT32_MAX};

static void ranges(void **state)
{
    struct bench *b = *state;
    struct store_range some[] = {{2, 3}, {5, 6}, {9, 30}}, wrong[] = {{2, 3}, {3, 4}};
    struct store_mailbox_info info;
    struct store_op op;
    uint64_t before;

    deliver(b, 12);
    op = change(STORE_OP_FLAGS, some, 3);
    op.change.flags = STORE_FLAG_DELETED;
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    ranges_are(&op.change.touched, "2:3 5:6 9:12 ");
    assert_int_equal(op.change.changed, 8);
    assert_int_equal(op.change.done_to, UINT32_MAX);
    assert_int_equal(op.change.modseq, op.change.modseq_before + 1);
    before = op.change.modseq;
    /* Once more: nothing changes, no record. */
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    assert_int_equal(op.seq, 0);
    assert_int_equal(op.change.modseq, 0);
    assert_int_equal(op.change.modseq_before, before);
    ranges_are(&op.change.touched, "");
    assert_int_equal(store_mailbox_get(b->reader, alice, 0, &info), BRANT_OK);
    assert_int_equal(info.deleted, 8);
    assert_int_equal(info.unseen, 12);
    /* Those that have changed since are passed over. */
    op = change(STORE_OP_FLAGS, &ALL, 1);
    op.change.flags = STORE_FLAG_SEEN;
    op.change.has_unchanged_since = true;
    op.change.unchanged_since = before - 1;
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    ranges_are(&op.change.touched, "1:1 4:4 7:8 ");
    ranges_are(&op.change.modified, "2:3 5:6 9:12 ");
    op = change(STORE_OP_FLAGS, wrong, 2);
    assert_int_equal(bench_run(b, &op), BRANT_ESYNTAX);
    op = change(STORE_OP_EXPUNGE, &ALL, 1);
    op.change.flags_all = STORE_FLAG_DELETED;
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    ranges_are(&op.change.touched, "2:3 5:6 9:12 ");
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    assert_int_equal(op.change.changed, 0);
    assert_int_equal(op.change.done_to, UINT32_MAX);
    assert_int_equal(store_mailbox_get(b->reader, alice, 0, &info), BRANT_OK);
    assert_int_equal(info.messages, 4);
    assert_int_equal(info.deleted, 0);
    assert_int_equal(info.unseen, 0);
    check(b);
}

/* A slice ends where a list of the answer is full, and after so many rows or ranges. */
static void slices(void **state)
{
    struct bench *b = *state;
    struct store_range *odd = mem_array(STORE_UIDS_MAX + 10, sizeof *odd);
    struct store_op op;

    deliver(b, 20);
    for (uint32_t i = 0; i < STORE_UIDS_MAX + 10; i++)
        odd[i] = (struct store_range){2 * i + 1, 2 * i + 1};
    op = change(STORE_OP_FLAGS, odd, 10);
    op.change.flags = STORE_FLAG_SEEN;
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    assert_int_equal(op.change.changed, 8);
    assert_int_equal(op.change.done_to, 16);
    op = change(STORE_OP_FLAGS, odd, 10);
    op.change.flags = STORE_FLAG_SEEN;
    op.change.touched.r = NULL;
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    assert_int_equal(op.change.changed, 2);
    assert_int_equal(op.change.done_to, UINT32_MAX);
    op = change(STORE_OP_EXPUNGE, odd, STORE_UIDS_MAX + 10);
    op.change.touched.r = NULL;
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    assert_int_equal(op.change.changed, 10);
    assert_int_equal(op.change.done_to, 2 * STORE_UIDS_MAX);
    /* Copies double what there is. */
    for (int i = 0; i < 11; i++) {
        op = change(STORE_OP_COPY, &ALL, 1);
        op.change.target = i < 9 ? alice : work;
        op.change.touched.r = NULL;
        assert_int_equal(bench_run(b, &op), BRANT_OK);
        assert_int_equal(op.change.changed, 10 << (i < 9 ? i : 9));
    }
    for (int i = 0; i < 2; i++) {
        op = change(STORE_OP_MOVE, &ALL, 1);
        op.change.touched.r = NULL;
        assert_int_equal(bench_run(b, &op), BRANT_OK);
        assert_int_equal(op.change.changed, i ? 5120 - STORE_UIDS_MAX : STORE_UIDS_MAX);
        assert_int_equal(op.change.done_to == UINT32_MAX, i == 1);
        assert_int_equal(op.change.target_first, 1 + 2 * 5120 + i * STORE_UIDS_MAX);
    }
    op = change(STORE_OP_COPY, &ALL, 1);
    op.change.mailbox = work;
    op.change.target = alice;
    assert_int_equal(bench_run(b, &op), BRANT_OK); /* 15,360 */
    op = change(STORE_OP_MOVE, &ALL, 1);
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    op = change(STORE_OP_COPY, &ALL, 1);
    op.change.mailbox = work;
    op.change.target = alice;
    assert_int_equal(bench_run(b, &op), BRANT_ELIMIT);
    assert_int_equal(op.seq, 0);
    check(b);
    free(odd);
}

static void keyword_table(void **state)
{
    struct buf table;
    char name[80];

    (void)state;
    buf_init(&table, STORE_KEYWORDS_TEXT_MAX);
    assert_int_equal(keywords_add(&table, SPAN_LIT("$Junk")), 0);
    assert_int_equal(keywords_add(&table, SPAN_LIT("work")), 1);
    assert_int_equal(keywords_add(&table, SPAN_LIT("$JUNK")), 0);
    assert_int_equal(keywords_find(buf_span(&table), SPAN_LIT("WORK")), 1);
    assert_int_equal(keywords_find(buf_span(&table), SPAN_LIT("wor")), -1);
    assert_int_equal(keywords_find(SPAN_NONE, SPAN_LIT("x")), -1);
    assert_int_equal(keywords_add(&table, SPAN_LIT("a b")), -1);
    assert_int_equal(keywords_add(&table, SPAN_LIT("")), -1);
    assert_true(span_eq_str(keywords_name(buf_span(&table), 1), "work"));
    assert_int_equal(keywords_name(buf_span(&table), 2).len, 0);
    for (int i = 2; i < STORE_KEYWORDS_MAX; i++) {
        (void)snprintf(name, sizeof name, "%064d", i);
        assert_int_equal(keywords_add(&table, span_str(name)), i);
    }
    assert_int_equal(keywords_add(&table, SPAN_LIT("x")), -1);
    assert_int_equal(keywords_add(&table, span_str(name)), STORE_KEYWORDS_MAX - 1);
    buf_done(&table);
}

static uint64_t flags_of(struct bench *b, uint64_t mailbox, uint32_t uid)
{
    struct store_entry e;
    size_t count;

    assert_int_equal(store_entries_list(b->reader, alice, mailbox, uid - 1, &e, 1, &count), BRANT_OK);
    assert_int_equal(count, 1);
    assert_int_equal(e.uid, uid);
    return e.flags;
}

static void keywords(void **state)
{
    struct bench *b = *state;
    struct span names[] = {SPAN_LIT("$Junk"), SPAN_LIT("todo"), SPAN_LIT("$junk")}, many[60];
    struct store_range first = {1, 1}, second = {2, 2};
    char text[60][8];
    struct store_op op;

    deliver(b, 2);
    op = change(STORE_OP_FLAGS, &first, 1);
    op.change.keywords = (struct store_keyword_list){names, 3};
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    assert_int_equal(flags_of(b, 0, 1), 3 << STORE_KEYWORD_SHIFT);
    assert_string_equal(dir_mailbox(&b->st->dir, alice)->keywords, "$Junk todo");
    /* In the target they get other numbers, and none twice. */
    op = change(STORE_OP_FLAGS, &second, 1);
    op.change.keywords = (struct store_keyword_list){names + 1, 1};
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    op = change(STORE_OP_COPY, &second, 1);
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    op = change(STORE_OP_MOVE, &first, 1);
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    assert_string_equal(dir_mailbox(&b->st->dir, work)->keywords, "todo $Junk");
    assert_int_equal(flags_of(b, work, 1), 1 << STORE_KEYWORD_SHIFT);
    assert_int_equal(flags_of(b, work, 2), 3 << STORE_KEYWORD_SHIFT);
    /* One that nobody has is not taken away from anything. */
    names[0] = SPAN_LIT("unknown");
    op = change(STORE_OP_FLAGS, &ALL, 1);
    op.change.action = STORE_FLAGS_REMOVE;
    op.change.keywords = (struct store_keyword_list){names, 2};
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    assert_int_equal(flags_of(b, 0, 2), 0);
    assert_false(op.change.keywords_full);
    check(b);
    assert_string_equal(dir_mailbox(&b->st->dir, alice)->keywords, "$Junk todo");
    for (int i = 0; i < 60; i++) {
        (void)snprintf(text[i], sizeof text[i], "k%d", i);
        many[i] = span_str(text[i]);
    }
    op = change(STORE_OP_FLAGS, &ALL, 1);
    op.change.flags = STORE_FLAG_SEEN;
    op.change.keywords = (struct store_keyword_list){many, 60};
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    assert_true(op.change.keywords_full);
    assert_true(flags_of(b, 0, 2) == ((~(uint64_t)0 << (STORE_KEYWORD_SHIFT + 2)) | STORE_FLAG_SEEN));
    check(b);
}

static int append(struct bench *b, struct store_op *op, struct store_appended *messages, size_t count,
                  uint64_t mailbox, size_t bytes)
{
    static uint8_t body[10000];

    for (size_t i = 0; i < count; i++) {
        body[0] = (uint8_t)('a' + i);
        messages[i].body = bench_body(b, span_make(body, bytes));
    }
    *op = (struct store_op){
        .kind = STORE_OP_APPEND,
        .append = {.account = alice, .mailbox = mailbox, .messages = messages, .count = count, .id = {7, 7}}};
    return bench_run(b, op);
}

static void appended(void **state)
{
    struct bench *b = *state;
    _cleanup_buf_ struct buf out;
    struct span names[] = {SPAN_LIT("$Forwarded")};
    struct store_appended m[3] = {
        {.flags = STORE_FLAG_SEEN, .time_ms = 1600000000000, .keywords = {names, 1}},
        {.flags = STORE_FLAG_DELETED},
        {.structure = SPAN_LIT("opaque")}};
    struct store_mailbox_info info;
    struct store_entry entries[5];
    struct store_op op;
    size_t count;
    uint8_t id[16] = {7, 7};

    buf_init(&out, 20000);
    assert_int_equal(append(b, &op, m, 0, work, 1), BRANT_ELIMIT);
    assert_int_equal(append(b, &op, m, 3, work, 5000), BRANT_OK); /* in files */
    assert_int_equal(store_commit_query(b->st, id), BRANT_ENOTFOUND);
    assert_int_equal(append(b, &op, m, 1, work, 7), BRANT_OK);
    assert_int_equal(store_commit_query(b->st, id), BRANT_OK);
    assert_int_equal(m[0].uid, 4);
    assert_int_equal(m[2].uid, 3);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(store_mailbox_get(b->reader, alice, work, &info), BRANT_OK);
        assert_int_equal(info.unseen, 2);
        assert_int_equal(info.deleted, 1);
        assert_int_equal(store_entries_list(b->reader, alice, work, 0, entries, 5, &count), BRANT_OK);
        assert_int_equal(count, 4);
        assert_int_equal(entries[0].flags, STORE_FLAG_SEEN | 1 << STORE_KEYWORD_SHIFT);
        assert_int_equal(entries[0].time_ms, 1600000000000);
        assert_true(entries[0].saved_ms > 1600000000000);
        assert_int_equal(entries[0].modseq, entries[2].modseq);
        assert_int_equal(entries[3].modseq, entries[2].modseq + 1);
        assert_int_equal(bench_read_in(b, alice, work, 2, &out), BRANT_OK);
        assert_int_equal(out.len, 5000);
        assert_int_equal(out.data[0], 'b');
        check(b);
        assert_int_equal(store_commit_query(b->st, id), BRANT_OK);
    }
    b->config.reserve_bytes = 1; /* over quota, all of them or none */
    op = (struct store_op){
        .kind = STORE_OP_ACCOUNT_SET,
        .account = {.address = SPAN_LIT("alice@brant.test"), .set = STORE_SET_QUOTA, .quota_bytes = 16000}};
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    assert_int_equal(append(b, &op, m, 3, work, 400), BRANT_EREFUSED);
    assert_int_equal(store_mailbox_get(b->reader, alice, work, &info), BRANT_OK);
    assert_int_equal(info.messages, 4);
    op = change(STORE_OP_COPY, &ALL, 1); /* nor are they copied; moved they are */
    op.change.mailbox = work;
    op.change.target = alice;
    assert_int_equal(bench_run(b, &op), BRANT_EREFUSED);
    assert_int_equal(op.seq, 0);
    assert_int_equal(dir_account(&b->st->dir, alice)->messages, 4);
    op.kind = STORE_OP_MOVE;
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    assert_int_equal(op.change.changed, 4);
    assert_int_equal(dir_account(&b->st->dir, alice)->messages, 4);
    check(b);
}

static struct bench *bench_seeded(uint64_t seed)
{
    struct bench *b = mem_zalloc(sizeof *b);

    bench_init(b, seed);
    assert_int_equal(bench_open(b), BRANT_OK);
    assert_int_equal(bench_domain_add(b, "brant.test"), BRANT_OK);
    assert_int_equal(bench_account_add(b, "alice@brant.test", &alice), BRANT_OK);
    assert_int_equal(bench_mailbox(b, STORE_MAILBOX_CREATE, alice, "work", "", &work), BRANT_OK);
    return b;
}

static void power_cut(struct bench *b)
{
    bench_close(b);
    sim_disk_power_cut(b->disk);
    sim_disk_crash_at(b->disk, 0);
    assert_int_equal(bench_open(b), BRANT_OK);
}

/* The power goes at each operation of the disk, and the disk keeps what it likes of the last write: all of
 * the messages are there and can be read, or none; and nothing is left over. */
static void append_is_whole(void **state)
{
    _cleanup_buf_ struct buf out;

    (void)state;
    buf_init(&out, 20000);
    for (uint64_t seed = 1; seed <= 160; seed++) {
        struct bench *b = bench_seeded(seed);
        struct store_appended m[4] = {{0}};
        struct store_mailbox_info info;
        struct store_op op;
        bool files = seed % 4 == 0, crashed;

        sim_disk_crash_at(b->disk, sim_disk_operations(b->disk) + 1 + seed / 4 % (files ? 40 : 6));
        for (size_t i = 0; i < 4; i++)
            m[i].body = bench_body(b, span_make((uint8_t[7000]){'x'}, files ? 7000 : 700));
        op = (struct store_op){.kind = STORE_OP_APPEND,
                               .append = {.account = alice, .mailbox = work, .messages = m, .count = 4}};
        if (m[0].body && m[1].body && m[2].body && m[3].body) {
            crashed = bench_run(b, &op) != BRANT_OK;
        } else {
            crashed = true;
            for (size_t i = 0; i < 4; i++)
                store_body_free(m[i].body);
        }
        power_cut(b);
        assert_int_equal(store_mailbox_get(b->reader, alice, work, &info), BRANT_OK);
        assert_true(info.messages == 4 || (crashed && info.messages == 0));
        for (uint32_t uid = 1; uid <= info.messages; uid++)
            assert_int_equal(bench_read_in(b, alice, work, uid, &out), BRANT_OK);
        if (!b->opened.journal.damaged_records)
            check(b);
        bench_done(b);
        free(b);
    }
}

/* Whatever is left of a FLAGS that nobody was told of: a keyword has its name. */
static void keywords_have_names(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 160; seed++) {
        struct bench *b = bench_seeded(seed);
        struct span names[40];
        char text[40][STORE_KEYWORD_BYTES_MAX + 1];
        struct store_range first = {1, 1};
        struct store_op op;
        uint64_t flags;

        deliver(b, 1);
        bench_settle(b);
        for (int i = 0; i < 40; i++) {
            (void)snprintf(text[i], sizeof text[i], "%060d", i);
            names[i] = span_str(text[i]);
        }
        op = change(STORE_OP_FLAGS, &first, 1);
        op.change.keywords = (struct store_keyword_list){names, 40};
        sim_disk_crash_at(b->disk, sim_disk_operations(b->disk) + 1 + seed % 6);
        (void)bench_run(b, &op);
        power_cut(b);
        flags = flags_of(b, 0, 1);
        for (unsigned i = 0; i < STORE_KEYWORDS_MAX; i++) {
            const char *table = dir_mailbox(&b->st->dir, alice)->keywords;

            if (flags >> (STORE_KEYWORD_SHIFT + i) & 1)
                assert_true(keywords_name(span_str(table ? table : ""), i).len);
        }
        bench_done(b);
        free(b);
    }
}

static void saved(void **state)
{
    struct bench *b = *state;
    struct store_range first = {1, 1};
    struct store_entry e[2];
    struct store_op op;
    int64_t delivered, copied;
    size_t count;

    deliver(b, 1);
    delivered = b->now_ms;
    b->now_ms += 1000000;
    op = change(STORE_OP_FLAGS, &first, 1);
    op.change.flags = STORE_FLAG_SEEN;
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    op = change(STORE_OP_COPY, &first, 1);
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    copied = b->now_ms;
    b->now_ms += 1000000;
    for (int round = 0; round < 2; round++) {
        assert_int_equal(store_entries_list(b->reader, alice, 0, 0, e, 2, &count), BRANT_OK);
        assert_true(e[0].saved_ms <= delivered && e[0].saved_ms > delivered - 100);
        assert_int_equal(store_entries_list(b->reader, alice, work, 0, e, 2, &count), BRANT_OK);
        assert_true(e[0].saved_ms <= copied && e[0].saved_ms > copied - 100);
        check(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ranges, setup, teardown),
        cmocka_unit_test_setup_teardown(slices, setup, teardown),
        cmocka_unit_test(keyword_table),
        cmocka_unit_test_setup_teardown(keywords, setup, teardown),
        cmocka_unit_test_setup_teardown(appended, setup, teardown),
        cmocka_unit_test(append_is_whole),
        cmocka_unit_test(keywords_have_names),
        cmocka_unit_test_setup_teardown(saved, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
