/* Mailboxes, their names, uses and subscriptions. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/ops.h"
#include "store/testing.h"

static uint64_t alice;

static int setup(void **state)
{
    struct bench *b = mem_zalloc(sizeof *b);

    bench_init(b, 1);
    assert_int_equal(bench_open(b), BRANT_OK);
    assert_int_equal(bench_domain_add(b, "brant.test"), BRANT_OK);
    assert_int_equal(bench_account_add(b, "alice@brant.test", &alice), BRANT_OK);
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

static int act(struct bench *b, enum store_mailbox_action action, const char *name, const char *target)
{
    return bench_mailbox(b, action, alice, name, target, NULL);
}

/* The names, and in brackets those that are subscribed to. */
static void names_are(struct bench *b, const char *wanted)
{
    const struct dir_account *a = dir_account(&b->st->dir, alice);
    _cleanup_buf_ struct buf out;

    buf_init(&out, 4096);
    for (size_t i = 0; i < a->box_count; i++)
        (void)buf_printf(&out, "%s%s", i ? " " : "", a->boxes[i]->name);
    for (size_t i = 0; i < a->sub_count; i++)
        (void)buf_printf(&out, " [%s]", a->subs[i]->name);
    assert_string_equal(buf_cstr(&out), wanted);
}

static void no_problem(void *ctx, const char *text)
{
    (void)ctx;
    fail_msg("%s", text);
}

/* Restarted, rebuilt, compacted: always the same. */
static void settle_and_check(struct bench *b, const char *wanted)
{
    struct store_checked checked;

    names_are(b, wanted);
    assert_true(bench_same_after_rebuild(b, true));
    names_are(b, wanted);
    store_compact(b->st, true);
    bench_settle(b);
    assert_int_equal(store_check(b->reader, true, no_problem, NULL, &checked), BRANT_OK);
    assert_true(bench_same_after_rebuild(b, true));
    names_are(b, wanted);
}

static void order(void **state)
{
    static const char *const sorted[] = {"", "A", "A/", "A/b", "A/b/c", "A b", "A!", "A.", "AB", "a", "\xff"};
    enum { COUNT = sizeof sorted / sizeof sorted[0] };

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        for (int k = 0; k < COUNT; k++) {
            int rc = dir_name_cmp(span_str(sorted[i]), span_str(sorted[k]));

            assert_int_equal((rc > 0) - (rc < 0), (i > k) - (i < k));
        }
    }
}

static void created(void **state)
{
    struct bench *b = *state;
    struct store_op op = {.kind = STORE_OP_MAILBOX,
                          .mailbox = {.account = alice, .name = SPAN_LIT("Junk"), .uses = 4}};
    char longest[STORE_NAME_MAX + 2];

    memset(longest, 'x', sizeof longest);
    longest[STORE_NAME_MAX + 1] = '\0';
    assert_int_equal(act(b, STORE_MAILBOX_CREATE, "work/2024/june", ""), BRANT_OK);
    assert_int_equal(act(b, STORE_MAILBOX_CREATE, "work/2024", ""), BRANT_EEXISTS);
    assert_int_equal(act(b, STORE_MAILBOX_CREATE, "INBOX", ""), BRANT_EEXISTS);
    assert_int_equal(act(b, STORE_MAILBOX_CREATE, "", ""), BRANT_ESYNTAX);
    assert_int_equal(act(b, STORE_MAILBOX_CREATE, longest, ""), BRANT_ESYNTAX);
    assert_int_equal(act(b, STORE_MAILBOX_CREATE, "work.x", ""), BRANT_OK);
    assert_int_equal(bench_mailbox(b, STORE_MAILBOX_CREATE, 4711, "x", "", NULL), BRANT_ENOTFOUND);
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    op.mailbox.name = SPAN_LIT("Spam");
    op.mailbox.uses = 6;
    assert_int_equal(bench_run(b, &op), BRANT_EREFUSED);
    op.mailbox.uses = 2;
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    settle_and_check(b, "INBOX Junk Spam work work/2024 work/2024/june work.x");
    assert_int_equal(dir_box_named(dir_account(&b->st->dir, alice), SPAN_LIT("Junk"))->uses, 4);
}

static void renamed(void **state)
{
    struct bench *b = *state;
    char longest[STORE_NAME_MAX + 1];
    uint64_t id;

    memset(longest, 'x', sizeof longest);
    longest[STORE_NAME_MAX] = '\0';
    assert_int_equal(bench_mailbox(b, STORE_MAILBOX_CREATE, alice, "a/b/c", "", &id), BRANT_OK);
    assert_int_equal(act(b, STORE_MAILBOX_CREATE, "a.b", ""), BRANT_OK);
    assert_int_equal(act(b, STORE_MAILBOX_SUBSCRIBE, "a/b", ""), BRANT_OK);
    assert_int_equal(act(b, STORE_MAILBOX_RENAME, "INBOX", "x"), BRANT_EREFUSED);
    assert_int_equal(act(b, STORE_MAILBOX_RENAME, "nothing", "x"), BRANT_ENOTFOUND);
    assert_int_equal(act(b, STORE_MAILBOX_RENAME, "a", "a/x"), BRANT_EREFUSED);
    assert_int_equal(act(b, STORE_MAILBOX_RENAME, "a", "a.b"), BRANT_EEXISTS);
    assert_int_equal(act(b, STORE_MAILBOX_RENAME, "a", "a"), BRANT_EEXISTS);
    assert_int_equal(act(b, STORE_MAILBOX_RENAME, "a/b/c", "a/b"), BRANT_EEXISTS);
    assert_int_equal(act(b, STORE_MAILBOX_RENAME, "a", longest), BRANT_ELIMIT);
    assert_int_equal(act(b, STORE_MAILBOX_RENAME, "a", ""), BRANT_ESYNTAX);
    settle_and_check(b, "INBOX a a/b a/b/c a.b [a/b]");
    assert_int_equal(act(b, STORE_MAILBOX_RENAME, "a", "new/old"), BRANT_OK);
    settle_and_check(b, "INBOX a.b new new/old new/old/b new/old/b/c [a/b]");
    assert_string_equal(dir_mailbox(&b->st->dir, id)->name, "new/old/b/c");
    /* Something lies beneath the target, which is none itself. */
    assert_int_equal(act(b, STORE_MAILBOX_DELETE, "new", ""), BRANT_OK);
    assert_int_equal(act(b, STORE_MAILBOX_RENAME, "a.b", "new"), BRANT_EEXISTS);
    assert_int_equal(act(b, STORE_MAILBOX_RENAME, "new/old", "new"), BRANT_OK);
    settle_and_check(b, "INBOX a.b new new/b new/b/c [a/b]");
}

static void subscribed(void **state)
{
    struct bench *b = *state;

    for (int i = 0; i < 2; i++) {
        assert_int_equal(act(b, STORE_MAILBOX_SUBSCRIBE, "nothing/there", ""), BRANT_OK);
        assert_int_equal(act(b, STORE_MAILBOX_SUBSCRIBE, "INBOX", ""), BRANT_OK);
    }
    assert_int_equal(dir_names_count(dir_account(&b->st->dir, alice)), 2);
    settle_and_check(b, "INBOX [INBOX] [nothing/there]");
    for (int i = 0; i < 2; i++)
        assert_int_equal(act(b, STORE_MAILBOX_UNSUBSCRIBE, "INBOX", ""), BRANT_OK);
    settle_and_check(b, "INBOX [nothing/there]");
    assert_int_equal(act(b, STORE_MAILBOX_SUBSCRIBE, "INBOX", ""), BRANT_OK);
    assert_int_equal(act(b, STORE_MAILBOX_UNSUBSCRIBE, "nothing/there", ""), BRANT_OK);
    settle_and_check(b, "INBOX [INBOX]");
}

static void deliver(struct bench *b, uint8_t count)
{
    for (uint8_t i = 1; i <= count; i++)
        assert_int_equal(bench_commit(b, i, "alice@brant.test", SPAN_LIT(""), SPAN_LIT("x")), BRANT_OK);
}

/* A mailbox of 60 × 64 messages and as many tombstones goes in slices; in between there are restarts and
 * compaction. */
static void deleted(void **state)
{
    struct bench *b = *state;
    struct store_range all = {1, UINT32_MAX};
    struct store_op op;
    struct store_mailbox_info info;
    uint64_t work, old;
    uint32_t validity;

    assert_int_equal(act(b, STORE_MAILBOX_DELETE, "INBOX", ""), BRANT_EREFUSED);
    assert_int_equal(act(b, STORE_MAILBOX_DELETE, "x", ""), BRANT_ENOTFOUND);
    assert_int_equal(bench_mailbox(b, STORE_MAILBOX_CREATE, alice, "work", "", &work), BRANT_OK);
    assert_int_equal(act(b, STORE_MAILBOX_CREATE, "work/sub", ""), BRANT_OK);
    deliver(b, 64);
    for (int i = 0; i < 60; i++) {
        op =
            (struct store_op){.kind = STORE_OP_COPY,
                              .change = {.account = alice, .target = work, .ranges = &all, .range_count = 1}};
        assert_int_equal(bench_run(b, &op), BRANT_OK);
        if (i != 29)
            continue;
        op = (struct store_op){
            .kind = STORE_OP_EXPUNGE,
            .change = {.account = alice, .mailbox = work, .ranges = &all, .range_count = 1}};
        assert_int_equal(bench_run(b, &op), BRANT_OK);
    }
    assert_int_equal(store_mailbox_get(b->reader, alice, work, &info), BRANT_OK);
    assert_int_equal(info.messages, 30 * 64);
    assert_int_equal(info.unseen, 30 * 64);
    validity = info.uidvalidity;
    old = work;
    assert_int_equal(act(b, STORE_MAILBOX_DELETE, "work", ""), BRANT_OK);
    assert_int_equal(store_mailbox_get(b->reader, alice, work, &info), BRANT_ENOTFOUND);
    op.kind = STORE_OP_FLAGS;
    op.change.mailbox = work;
    assert_int_equal(bench_run(b, &op), BRANT_ENOTFOUND);
    names_are(b, "INBOX work/sub");
    assert_int_equal(bench_mailbox(b, STORE_MAILBOX_CREATE, alice, "work", "", &work), BRANT_OK);
    assert_true(bench_same_after_rebuild(b, true));
    assert_non_null(dir_mailbox(&b->st->dir, old)); /* not yet, after a restart */
    for (int i = 0; i < 4; i++) {
        (void)store_writer_step(b->st, ++b->now_ms);
        (void)store_wait_applied(b->st, journal_last_seq(b->st->journal));
        store_compact(b->st, true);
        for (int k = 0; k < 7; k++)
            (void)store_compaction_step(b->st, b->now_ms);
        assert_true(bench_same_after_rebuild(b, true));
    }
    settle_and_check(b, "INBOX work work/sub");
    assert_null(dir_mailbox(&b->st->dir, old));
    assert_int_equal(store_mailbox_get(b->reader, alice, work, &info), BRANT_OK);
    assert_true(info.uidvalidity > validity);
    assert_int_equal(info.messages, 0);
    assert_int_equal(dir_account(&b->st->dir, alice)->messages, 64);
}

/* An account goes while one of its mailboxes still does. */
static void deleted_with_account(void **state)
{
    struct bench *b = *state;
    struct store_op op = {.kind = STORE_OP_ACCOUNT_REMOVE,
                          .account = {.address = SPAN_LIT("alice@brant.test")}};
    struct store_range all = {1, UINT32_MAX};
    struct store_op copy = {.kind = STORE_OP_COPY,
                            .change = {.account = alice, .ranges = &all, .range_count = 1}};

    deliver(b, 20);
    assert_int_equal(bench_mailbox(b, STORE_MAILBOX_CREATE, alice, "work", "", &copy.change.target),
                     BRANT_OK);
    assert_int_equal(act(b, STORE_MAILBOX_SUBSCRIBE, "work", ""), BRANT_OK);
    assert_int_equal(bench_run(b, &copy), BRANT_OK);
    assert_int_equal(act(b, STORE_MAILBOX_DELETE, "work", ""), BRANT_OK);
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    for (int i = 0; i < 3; i++)
        assert_true(bench_same_after_rebuild(b, true));
    store_compact(b->st, true);
    bench_settle(b);
    assert_null(dir_account(&b->st->dir, alice));
    assert_int_equal(b->st->dir.mailboxes.len, 0);
    assert_int_equal(b->st->removing_count, 0);
    assert_true(bench_same_after_rebuild(b, true));
}

/* Of a mailbox that went nothing is left in the index, before compaction too; and its room is free at once.
 */
static void leaves_nothing(void **state)
{
    struct bench *b = *state;
    struct dir_account *a = dir_account(&b->st->dir, alice);
    struct store_range half = {1, 400}, all = {1, UINT32_MAX};
    struct store_op op = {.kind = STORE_OP_COPY,
                          .change = {.account = alice, .ranges = &all, .range_count = 1}};
    uint64_t work;

    deliver(b, 100);
    assert_int_equal(bench_mailbox(b, STORE_MAILBOX_CREATE, alice, "work", "", &work), BRANT_OK);
    op.change.target = work;
    for (int i = 0; i < 12; i++)
        assert_int_equal(bench_run(b, &op), BRANT_OK);
    op = (struct store_op){.kind = STORE_OP_EXPUNGE,
                           .change = {.account = alice, .mailbox = work, .ranges = &half, .range_count = 1}};
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    assert_int_equal(a->messages, 900);
    assert_int_equal(act(b, STORE_MAILBOX_DELETE, "work", ""), BRANT_OK);
    bench_settle(b);
    assert_int_equal(a->messages, 100);
    assert_int_equal(a->used_bytes, 100);
    assert_int_equal(index_query(b->reader->ix, INDEX_GONE_NTH, INDEX_N(work), INDEX_N(0), INDEX_N(0)),
                     BRANT_OK);
    assert_int_equal(index_row(b->reader->ix, INDEX_GONE_NTH), BRANT_ENOTFOUND);
    assert_int_equal(index_query(b->reader->ix, INDEX_ENTRY_LOWEST, INDEX_N(work)), BRANT_OK);
    assert_int_equal(index_row(b->reader->ix, INDEX_ENTRY_LOWEST), BRANT_ENOTFOUND);
    settle_and_check(b, "INBOX");
    assert_int_equal(dir_account(&b->st->dir, alice)->messages, 100);
}

/* Nothing in the journal is left of those that had them, and the clock stands still. */
static void uidvalidity_is_not_given_twice(void **state)
{
    struct bench *b = *state;
    struct store_mailbox_info info;
    uint32_t last = 0;

    for (int round = 0; round < 8; round++) {
        b->now_ms = 1700000000000;
        for (int i = 0; i < 5; i++) {
            assert_int_equal(act(b, STORE_MAILBOX_CREATE, "x", ""), BRANT_OK);
            assert_int_equal(store_mailbox_find(b->reader, alice, SPAN_LIT("x"), &info), BRANT_OK);
            assert_true(info.uidvalidity > last);
            last = info.uidvalidity;
            assert_int_equal(act(b, STORE_MAILBOX_DELETE, "x", ""), BRANT_OK);
        }
        bench_settle(b);
        for (int i = 0; i < round; i++) {
            store_compact(b->st, true);
            bench_settle(b);
        }
        assert_true(bench_same_after_rebuild(b, true));
    }
}

static int count_step(void *ctx)
{
    ++*(uint64_t *)ctx;
    return 0;
}

/* What the writer reads of an account that goes does not grow with the square of its mailboxes. */
static void account_with_many(void **state)
{
    struct bench *b = *state;
    struct store_range all = {1, UINT32_MAX};
    struct store_op op = {.kind = STORE_OP_ACCOUNT_REMOVE,
                          .account = {.address = SPAN_LIT("alice@brant.test")}};
    struct store_op copy = {.kind = STORE_OP_COPY,
                            .change = {.account = alice, .ranges = &all, .range_count = 1}};
    uint64_t steps = 0;
    char name[16];

    deliver(b, 1);
    for (int i = 0; i < 300; i++) {
        (void)snprintf(name, sizeof name, "m%d", i);
        assert_int_equal(bench_mailbox(b, STORE_MAILBOX_CREATE, alice, name, "", &copy.change.target),
                         BRANT_OK);
        assert_int_equal(bench_run(b, &copy), BRANT_OK);
    }
    bench_settle(b);
    sqlite3_progress_handler(b->st->writer_ix->db, 10, count_step, &steps);
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    bench_settle(b);
    assert_null(dir_account(&b->st->dir, alice));
    assert_in_range(steps, 1, 300 * 20);
    assert_true(bench_same_after_rebuild(b, true));
}

static void defaults(void **state)
{
    struct bench *b = *state;
    static const struct store_default_mailbox list[] = {{{(const uint8_t *)"Sent", 4}, 1},
                                                        {{(const uint8_t *)"Trash", 5}, 2},
                                                        {{(const uint8_t *)"INBOX", 5}, 0}};
    struct store_op op = {
        .kind = STORE_OP_ACCOUNT_ADD,
        .account = {.address = SPAN_LIT("bob@brant.test"), .mailboxes = list, .mailbox_count = 3}};

    assert_int_equal(bench_run(b, &op), BRANT_OK);
    alice = op.account.account;
    settle_and_check(b, "INBOX Sent Trash");
    assert_int_equal(dir_box_named(dir_account(&b->st->dir, alice), SPAN_LIT("Trash"))->uses, 2);
}

/* As many as an account may have: found by their names, renamed in one record, within a bounded time. */
static void very_many(void **state)
{
    struct bench *b = *state;
    struct store_op *ops = mem_array(STORE_MAILBOXES_MAX, sizeof *ops);
    char(*names)[32] = mem_array(STORE_MAILBOXES_MAX, sizeof *names);
    bool answered = false;
    struct dir_account *a;

    b->config.segment_bytes = 4u << 20;
    for (uint32_t i = 0; i < STORE_MAILBOXES_MAX - 2; i++) {
        (void)snprintf(names[i], sizeof names[i], "work/%05u", i * 7919 % STORE_MAILBOXES_MAX);
        ops[i] = (struct store_op){.kind = STORE_OP_MAILBOX,
                                   .done = bench_answered,
                                   .ctx = &answered,
                                   .mailbox = {.account = alice, .name = span_str(names[i])}};
        store_submit(b->st, &ops[i]);
    }
    bench_settle(b);
    for (uint32_t i = 0; i < STORE_MAILBOXES_MAX - 2; i++)
        assert_int_equal(ops[i].result, BRANT_OK);
    assert_int_equal(act(b, STORE_MAILBOX_CREATE, "x", ""), BRANT_ELIMIT);
    assert_int_equal(act(b, STORE_MAILBOX_SUBSCRIBE, "x", ""), BRANT_ELIMIT);
    assert_int_equal(act(b, STORE_MAILBOX_SUBSCRIBE, "work", ""), BRANT_OK);
    assert_int_equal(act(b, STORE_MAILBOX_RENAME, "work", "play"), BRANT_OK);
    assert_true(bench_same_after_rebuild(b, false));
    a = dir_account(&b->st->dir, alice);
    assert_int_equal(a->box_count, STORE_MAILBOXES_MAX);
    for (size_t i = 1; i < a->box_count; i++)
        assert_true(dir_name_cmp(span_str(a->boxes[i - 1]->name), span_str(a->boxes[i]->name)) < 0);
    assert_non_null(dir_box_named(a, SPAN_LIT("play/04711")));
    free(names);
    free(ops);
}

/* A name that is given away and taken again in one batch: whatever the crash leaves of it, nobody has it
 * twice. */
static void freed_names(void **state)
{
    static const struct {
        enum store_mailbox_action free, take;
    } ways[] = {{STORE_MAILBOX_DELETE, STORE_MAILBOX_CREATE},
                {STORE_MAILBOX_RENAME, STORE_MAILBOX_CREATE},
                {STORE_MAILBOX_UNSUBSCRIBE, STORE_MAILBOX_SUBSCRIBE}};

    (void)state;
    for (uint64_t seed = 1; seed <= 120; seed++) {
        struct bench *b = mem_zalloc(sizeof *b);
        struct store_op ops[2] = {0};
        bool answered[2] = {false};
        struct dir_account *a;

        bench_init(b, seed);
        assert_int_equal(bench_open(b), BRANT_OK);
        assert_int_equal(bench_domain_add(b, "brant.test"), BRANT_OK);
        assert_int_equal(bench_account_add(b, "alice@brant.test", &alice), BRANT_OK);
        assert_int_equal(act(b, STORE_MAILBOX_CREATE, "work", ""), BRANT_OK);
        assert_int_equal(act(b, STORE_MAILBOX_SUBSCRIBE, "work", ""), BRANT_OK);
        for (size_t i = 0; i < 2; i++) {
            ops[i] = (struct store_op){
                .kind = STORE_OP_MAILBOX,
                .done = bench_answered,
                .ctx = &answered[i],
                .mailbox = {.account = alice,
                            .action = (uint8_t)(i ? ways[seed % 3].take : ways[seed % 3].free),
                            .name = SPAN_LIT("work"),
                            .target = SPAN_LIT("play")}};
            store_submit(b->st, &ops[i]);
        }
        sim_disk_crash_at(b->disk, sim_disk_operations(b->disk) + 1 + seed % 5);
        (void)store_writer_step(b->st, ++b->now_ms);
        bench_close(b);
        sim_disk_power_cut(b->disk);
        sim_disk_crash_at(b->disk, 0);
        assert_int_equal(bench_open(b), BRANT_OK);
        a = dir_account(&b->st->dir, alice);
        assert_true(a->sub_count <= 1);
        for (size_t i = 1; i < a->box_count; i++)
            assert_true(dir_name_cmp(span_str(a->boxes[i - 1]->name), span_str(a->boxes[i]->name)) < 0);
        bench_settle(b);
        assert_true(bench_same_after_rebuild(b, true));
        bench_done(b);
        free(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order),
        cmocka_unit_test_setup_teardown(created, setup, teardown),
        cmocka_unit_test_setup_teardown(renamed, setup, teardown),
        cmocka_unit_test_setup_teardown(subscribed, setup, teardown),
        cmocka_unit_test_setup_teardown(deleted, setup, teardown),
        cmocka_unit_test_setup_teardown(deleted_with_account, setup, teardown),
        cmocka_unit_test_setup_teardown(leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(uidvalidity_is_not_given_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(account_with_many, setup, teardown),
        cmocka_unit_test_setup_teardown(defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(very_many, setup, teardown),
        cmocka_unit_test(freed_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
