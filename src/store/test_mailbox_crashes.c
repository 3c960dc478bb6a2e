/* Mailboxes and power cuts at the worst moment: several operations in one batch of which the disk keeps any
 * sectors. A batch is not atomic, a record is; what builds on a record is never there without it. And a disk
 * that is full half-way through an operation. */
#include <stdio.h>

#include "store/keywords.h"
#include "store/testing.h"

enum { SEEDS = 16, POINTS = 8, LONG_NAME = 700 };

static uint64_t alice;

static void open_bench(struct bench *b, uint64_t seed, uint64_t inline_bytes)
{
    bench_init(b, seed);
    b->config.inline_bytes_max = inline_bytes;
    assert_int_equal(bench_open(b), BRANT_OK);
    assert_int_equal(bench_domain_add(b, "brant.test"), BRANT_OK);
    assert_int_equal(bench_account_add(b, "alice@brant.test", &alice), BRANT_OK);
}

static void no_problem(void *ctx, const char *text)
{
    (void)ctx;
    fail_msg("%s", text);
}

static void ignore_problem(void *ctx, const char *text)
{
    (void)ctx;
    (void)text;
}

/* Damaged records are reported when the power took some of the batch; nothing else is. */
static void check(struct bench *b)
{
    struct store_checked checked;
    bool damaged = b->opened.journal.damaged_records > 0;

    assert_int_equal(store_check(b->reader, !damaged, damaged ? ignore_problem : no_problem, NULL, &checked),
                     BRANT_OK);
    if (damaged)
        assert_int_equal(checked.problems, 0);
    assert_true(bench_same_after_rebuild(b, true));
}

static void nothing(struct store_op *op)
{
    (void)op;
}

/* All in one batch, and the power goes at that operation of the disk. */
static void cut(struct bench *b, struct store_op *ops, size_t count, unsigned point)
{
    bench_settle(b);
    sim_disk_crash_at(b->disk, sim_disk_operations(b->disk) + point);
    for (size_t i = 0; i < count; i++) {
        ops[i].done = nothing;
        store_submit(b->st, &ops[i]);
    }
    (void)store_writer_step(b->st, ++b->now_ms);
    bench_close(b);
    sim_disk_power_cut(b->disk);
    sim_disk_crash_at(b->disk, 0);
    assert_int_equal(bench_open(b), BRANT_OK);
}

static void each(void (*scene)(struct bench *b, unsigned point))
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        for (unsigned point = 1; point <= POINTS; point++) {
            struct bench b;

            open_bench(&b, seed * 100 + point, 4096);
            scene(&b, point);
            check(&b);
            bench_done(&b);
        }
    }
}

/* ---- Several messages in one APPEND
 * ------------------------------------------------------------------------------------------------------ */

static void append_op(struct bench *b, struct store_op *op, struct store_appended *messages, size_t count,
                      size_t bytes)
{
    static uint8_t body[20000];

    for (size_t i = 0; i < count; i++) {
        body[0] = (uint8_t)('a' + i);
        messages[i] = (struct store_appended){.body = bench_body(b, span_make(body, bytes))};
        assert_non_null(messages[i].body);
    }
    *op = (struct store_op){.kind = STORE_OP_APPEND,
                            .append = {.account = alice, .messages = messages, .count = count}};
}

static void append_scene(struct bench *b, unsigned point)
{
    _cleanup_buf_ struct buf out;
    struct store_appended m[3];
    struct store_mailbox_info info;
    struct store_op op;

    buf_init(&out, 8192);
    append_op(b, &op, m, 3, point % 2 ? 1500 : 5000);
    cut(b, &op, 1, point);
    assert_int_equal(store_mailbox_get(b->reader, alice, 0, &info), BRANT_OK);
    assert_true(info.messages == 0 || info.messages == 3);
    for (uint32_t uid = 1; uid <= info.messages; uid++) {
        assert_int_equal(bench_read_in(b, alice, 0, uid, &out), BRANT_OK);
        assert_int_equal(out.data[0], 'a' + uid - 1);
    }
}

static void append_is_whole(void **state)
{
    (void)state;
    each(append_scene);
}

static void same_info(const struct store_mailbox_info *a, const struct store_mailbox_info *b)
{
    assert_int_equal(a->mailbox, b->mailbox);
    assert_int_equal(a->uidvalidity, b->uidvalidity);
    assert_int_equal(a->uidnext, b->uidnext);
    assert_int_equal(a->modseq, b->modseq);
    assert_int_equal(a->messages, b->messages);
    assert_int_equal(a->bytes, b->bytes);
    assert_int_equal(a->unseen, b->unseen);
    assert_int_equal(a->deleted, b->deleted);
    assert_int_equal(a->uses, b->uses);
    assert_int_equal(a->recent, b->recent);
    assert_int_equal(a->recent_from, b->recent_from);
}

/* The disk is full half-way: nothing happened, and the next one gets the same UIDs. */
static void append_on_a_full_disk(void **state)
{
    struct store_appended m[8];
    struct store_mailbox_info before, after;
    struct store_op op;
    struct bench b;
    unsigned refused = 0, whole = 0;

    (void)state;
    for (uint64_t room = 0; room < 12; room++) {
        uint32_t next;

        open_bench(&b, 1 + room, 16384);
        append_op(&b, &op, m, 2, 10000);
        assert_int_equal(bench_run(&b, &op), BRANT_OK);
        bench_settle(&b);
        assert_int_equal(store_mailbox_get(b.reader, alice, 0, &before), BRANT_OK);
        append_op(&b, &op, m, 8, room % 2 ? 16000 : 20000);
        sim_disk_set_capacity(b.disk, sim_disk_used(b.disk) + 1 + room * 16384);
        if (bench_run(&b, &op) == BRANT_OK) {
            whole++;
        } else {
            refused++;
            assert_int_equal(op.result, BRANT_ENOSPACE);
            assert_int_equal(store_mailbox_get(b.reader, alice, 0, &after), BRANT_OK);
            same_info(&before, &after);
        }
        sim_disk_set_capacity(b.disk, 0);
        b.now_ms += 1000;
        bench_settle(&b);
        next = dir_mailbox(&b.st->dir, alice)->uidnext;
        append_op(&b, &op, m, 3, 9000);
        assert_int_equal(bench_run(&b, &op), BRANT_OK);
        assert_int_equal(m[0].uid, next);
        check(&b);
        store_compact(b.st, true);
        bench_settle(&b);
        check(&b);
        bench_done(&b);
    }
    assert_true(refused > 2 && whole > 0);
}

/* ---- Keywords
 * ------------------------------------------------------------------------------------------------------ */

/* What has a keyword has its own, not the one of another. */
static void keywords_scene(struct bench *b, unsigned point)
{
    static const char *const digits = "0123456789";
    char text[2][10][61];
    struct span names[2][10], table;
    struct store_range range[2] = {{1, 1}, {2, 2}};
    struct store_op ops[2];
    struct store_entry entries[2];
    const char *kept;
    size_t count;

    for (uint8_t i = 1; i <= 2; i++)
        assert_int_equal(bench_commit(b, i, "alice@brant.test", SPAN_NONE, SPAN_LIT("x")), BRANT_OK);
    for (size_t i = 0; i < 2; i++) {
        for (size_t k = 0; k < 10; k++) {
            memset(text[i][k], i ? 'b' : 'a', 60);
            text[i][k][0] = digits[k];
            text[i][k][60] = '\0';
            names[i][k] = span_str(text[i][k]);
        }
        ops[i] = (struct store_op){
            .kind = STORE_OP_FLAGS,
            .change = {.account = alice, .ranges = &range[i], .range_count = 1, .keywords = {names[i], 10}}};
    }
    cut(b, ops, 2, point);
    assert_int_equal(store_entries_list(b->reader, alice, 0, 0, entries, 2, &count), BRANT_OK);
    assert_int_equal(count, 2);
    kept = dir_mailbox(&b->st->dir, alice)->keywords;
    table = kept ? span_str(kept) : SPAN_NONE;
    for (size_t i = 0; i < 2; i++) {
        uint64_t bits = entries[i].flags >> STORE_KEYWORD_SHIFT;

        for (unsigned n = 0; n < STORE_KEYWORDS_MAX; n++) {
            struct span name = bits >> n & 1 ? keywords_name(table, n) : SPAN_NONE;

            if (bits >> n & 1)
                assert_true(name.len == 60 && name.p[1] == (i ? 'b' : 'a'));
        }
    }
}

static void keywords_have_names(void **state)
{
    (void)state;
    each(keywords_scene);
}

/* ---- Names
 * ------------------------------------------------------------------------------------------------------ */

static char long_names[3][LONG_NAME + 1];

static struct store_op mailbox_op(enum store_mailbox_action action, const char *name, const char *target)
{
    return (struct store_op){
        .kind = STORE_OP_MAILBOX,
        .mailbox = {
            .account = alice, .action = (uint8_t)action, .name = span_str(name), .target = span_str(target)}};
}

static void make_names(struct bench *b, size_t count)
{
    for (size_t i = 0; i < 3; i++)
        memset(long_names[i], (int)('a' + i), LONG_NAME);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(bench_mailbox(b, STORE_MAILBOX_CREATE, alice, long_names[i], "", NULL), BRANT_OK);
}

static void check_names(struct bench *b, size_t least, size_t most)
{
    const struct dir_account *a = dir_account(&b->st->dir, alice);

    assert_true(a->box_count >= least && a->box_count <= most);
    for (size_t i = 1; i < a->box_count; i++)
        assert_true(strcmp(a->boxes[i - 1]->name, a->boxes[i]->name) != 0);
    for (size_t i = 1; i < a->sub_count; i++)
        assert_true(strcmp(a->subs[i - 1]->name, a->subs[i]->name) != 0);
}

/* A name is given to another mailbox at once. */
static void renamed_scene(struct bench *b, unsigned point)
{
    struct store_op ops[2];

    make_names(b, 1);
    ops[0] = mailbox_op(STORE_MAILBOX_RENAME, long_names[0], long_names[1]);
    ops[1] = mailbox_op(STORE_MAILBOX_CREATE, long_names[0], "");
    cut(b, ops, 2, point);
    check_names(b, 2, 3);
}

static void deleted_scene(struct bench *b, unsigned point)
{
    struct store_op ops[4];

    make_names(b, 2);
    assert_int_equal(bench_mailbox(b, STORE_MAILBOX_SUBSCRIBE, alice, "sub", "", NULL), BRANT_OK);
    ops[0] = mailbox_op(STORE_MAILBOX_DELETE, long_names[0], "");
    ops[1] = mailbox_op(STORE_MAILBOX_UNSUBSCRIBE, "sub", "");
    ops[2] = mailbox_op(STORE_MAILBOX_RENAME, long_names[1], long_names[2]);
    ops[3] = mailbox_op(STORE_MAILBOX_CREATE, long_names[0], "");
    cut(b, ops, 4, point);
    check_names(b, 2, 3);
}

static void subscribed_scene(struct bench *b, unsigned point)
{
    struct store_op ops[3];

    make_names(b, 0);
    assert_int_equal(bench_mailbox(b, STORE_MAILBOX_SUBSCRIBE, alice, long_names[0], "", NULL), BRANT_OK);
    ops[0] = mailbox_op(STORE_MAILBOX_UNSUBSCRIBE, long_names[0], "");
    ops[1] = mailbox_op(STORE_MAILBOX_SUBSCRIBE, long_names[1], "");
    ops[2] = mailbox_op(STORE_MAILBOX_SUBSCRIBE, long_names[0], "");
    cut(b, ops, 3, point);
    check_names(b, 1, 1);
}

static void names_are_given_once(void **state)
{
    (void)state;
    each(renamed_scene);
    each(deleted_scene);
    each(subscribed_scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(append_is_whole),
        cmocka_unit_test(append_on_a_full_disk),
        cmocka_unit_test(keywords_have_names),
        cmocka_unit_test(names_are_given_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
