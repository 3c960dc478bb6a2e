#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "store/testing.h"
#include "store/testing_old.h"

static int setup(void **state)
{
    struct bench *b = mem_zalloc(sizeof *b);

    bench_init(b, 1);
    assert_int_equal(bench_open(b), BRANT_OK);
    assert_int_equal(bench_domain_add(b, "Brant.Test"), BRANT_OK);
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

static void reopen(struct bench *b)
{
    bench_close(b);
    assert_int_equal(bench_open(b), BRANT_OK);
}

static void deliver_and_read(void **state)
{
    struct bench *b = *state;
    _cleanup_buf_ struct buf out;
    struct store_entry entries[10];
    struct store_mailbox_info box;
    uint64_t alice = 0;
    size_t count;

    buf_init(&out, 1u << 20);
    assert_int_equal(bench_account_add(b, "Alice@brant.test", &alice), BRANT_OK);
    assert_int_equal(bench_commit(b, 1, "ALICE@Brant.test", SPAN_LIT("Received: x\r\n"), SPAN_LIT("one\r\n")),
                     BRANT_OK);
    assert_int_equal(bench_commit(b, 2, "alice+list@brant.test", SPAN_LIT(""), SPAN_LIT("two\r\n")),
                     BRANT_OK);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(store_entries_list(b->reader, alice, 0, 0, entries, 10, &count), BRANT_OK);
        assert_int_equal(count, 2);
        assert_int_equal(entries[0].uid, 1);
        assert_int_equal(entries[0].size, 18);
        assert_int_equal(entries[1].uid, 2);
        assert_int_equal(store_mailbox_get(b->reader, alice, 0, &box), BRANT_OK);
        assert_int_equal(box.messages, 2);
        assert_int_equal(box.uidnext, 3);
        assert_int_equal(box.bytes, 23);
        assert_int_equal(bench_read(b, alice, 1, &out), BRANT_OK);
        assert_string_equal(buf_cstr(&out), "Received: x\r\none\r\n");
        assert_int_equal(bench_read(b, alice, 2, &out), BRANT_OK);
        assert_string_equal(buf_cstr(&out), "two\r\n");
        assert_int_equal(bench_read(b, alice, 3, &out), BRANT_ENOTFOUND);
        reopen(b);
    }
    assert_true(bench_same_after_rebuild(b, true));
}

static void large_body(void **state)
{
    struct bench *b = *state;
    _cleanup_buf_ struct buf in, out;
    struct store_checked checked;
    struct store_op op = {0};
    uint64_t alice = 0;
    uint32_t uid = 1;

    buf_init(&in, 1u << 20);
    buf_init(&out, 1u << 20);
    for (int i = 0; i < 200000; i++)
        (void)buf_append_byte(&in, (uint8_t)(i * 7 + i / 251));
    assert_int_equal(bench_account_add(b, "alice@brant.test", &alice), BRANT_OK);
    assert_int_equal(bench_commit(b, 1, "alice@brant.test", SPAN_LIT("P: q\r\n"), buf_span(&in)), BRANT_OK);
    reopen(b);
    assert_int_equal(b->opened.orphans_removed, 0);
    assert_int_equal(bench_read(b, alice, 1, &out), BRANT_OK);
    assert_int_equal(out.len, in.len + 6);
    assert_memory_equal(out.data + 6, in.data, in.len);
    assert_int_equal(store_check(b->reader, true, NULL, NULL, &checked), BRANT_OK);
    assert_int_equal(checked.bodies, 1);
    assert_int_equal(checked.problems, 0);
    assert_int_equal(bench_change(b, &op, STORE_OP_EXPUNGE, alice, &uid, 1), BRANT_OK);
    bench_settle(b);
    assert_int_equal(bench_read(b, alice, 1, &out), BRANT_ENOTFOUND);
    reopen(b);
    assert_int_equal(b->opened.orphans_removed, 0); /* the file went at the checkpoint */
}

static void commit_ids(void **state)
{
    struct bench *b = *state;
    uint8_t one[16] = {1}, two[16] = {2};
    struct store_entry entries[4];
    uint64_t alice = 0;
    size_t count;

    assert_int_equal(bench_account_add(b, "alice@brant.test", &alice), BRANT_OK);
    assert_int_equal(store_commit_query(b->st, one), BRANT_ENOTFOUND);
    assert_int_equal(bench_commit(b, 1, "alice@brant.test", SPAN_LIT(""), SPAN_LIT("x")), BRANT_OK);
    assert_int_equal(bench_commit(b, 1, "alice@brant.test", SPAN_LIT(""), SPAN_LIT("x")), BRANT_OK);
    reopen(b);
    assert_int_equal(store_commit_query(b->st, one), BRANT_OK);
    assert_int_equal(store_commit_query(b->st, two), BRANT_ENOTFOUND);
    assert_int_equal(bench_commit(b, 1, "alice@brant.test", SPAN_LIT(""), SPAN_LIT("x")), BRANT_OK);
    assert_int_equal(store_entries_list(b->reader, alice, 0, 0, entries, 4, &count), BRANT_OK);
    assert_int_equal(count, 1);
}

static void flags_and_expunge(void **state)
{
    struct bench *b = *state;
    struct store_op op = {0};
    struct store_entry entries[10];
    uint32_t uids[] = {1, 2, 9};
    uint64_t alice = 0;
    size_t count;

    assert_int_equal(bench_account_add(b, "alice@brant.test", &alice), BRANT_OK);
    for (uint8_t i = 1; i <= 3; i++)
        assert_int_equal(bench_commit(b, i, "alice@brant.test", SPAN_LIT(""), SPAN_LIT("x")), BRANT_OK);
    op.change.flags = STORE_FLAG_SEEN;
    assert_int_equal(bench_change(b, &op, STORE_OP_FLAGS, alice, uids, 3), BRANT_OK);
    assert_int_equal(op.change.changed, 2);
    assert_int_equal(op.change.done_to, UINT32_MAX);
    op.change.flags = STORE_FLAG_FLAGGED;
    op.change.has_unchanged_since = true;
    op.change.unchanged_since = 4; /* three deliveries: 2, 3, 4; the flags: 5 */
    uids[2] = 3;
    assert_int_equal(bench_change(b, &op, STORE_OP_FLAGS, alice, uids, 3), BRANT_OK);
    assert_int_equal(op.change.changed, 1);
    assert_int_equal(bench_change(b, &op, STORE_OP_EXPUNGE, alice, uids, 1), BRANT_OK);
    assert_int_equal(op.change.changed, 1);
    assert_int_equal(bench_change(b, &op, STORE_OP_EXPUNGE, alice, uids, 1), BRANT_OK);
    assert_int_equal(op.change.changed, 0);
    assert_int_equal(op.change.modseq, 0);
    assert_int_equal(store_entries_list(b->reader, alice, 0, 0, entries, 10, &count), BRANT_OK);
    assert_int_equal(count, 2);
    assert_int_equal(entries[0].uid, 2);
    assert_int_equal(entries[0].flags, STORE_FLAG_SEEN);
    assert_int_equal(entries[1].flags, STORE_FLAG_FLAGGED);
    assert_int_equal(bench_commit(b, 9, "alice@brant.test", SPAN_LIT(""), SPAN_LIT("x")), BRANT_OK);
    assert_int_equal(store_entries_list(b->reader, alice, 0, 3, entries, 10, &count), BRANT_OK);
    assert_int_equal(entries[0].uid, 4);
    assert_true(bench_same_after_rebuild(b, true));
}

static void copy_and_move(void **state)
{
    struct bench *b = *state;
    struct store_op op = {.kind = STORE_OP_MAILBOX, .mailbox = {.name = SPAN_LIT("Archive")}};
    struct store_mailbox_info inbox, archive;
    uint32_t uids[] = {1, 2};
    uint64_t alice = 0, target = 0;

    assert_int_equal(bench_account_add(b, "alice@brant.test", &alice), BRANT_OK);
    op.mailbox.account = alice;
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    target = op.mailbox.mailbox;
    for (uint8_t i = 1; i <= 2; i++)
        assert_int_equal(bench_commit(b, i, "alice@brant.test", SPAN_LIT(""), SPAN_LIT("x")), BRANT_OK);
    memset(&op, 0, sizeof op);
    op.change.target = target;
    assert_int_equal(bench_change(b, &op, STORE_OP_COPY, alice, uids, 2), BRANT_OK);
    assert_int_equal(op.change.target_first, 1);
    op.change.target = target;
    assert_int_equal(bench_change(b, &op, STORE_OP_MOVE, alice, uids, 1), BRANT_OK);
    assert_int_equal(op.change.target_first, 3);
    assert_int_equal(store_mailbox_get(b->reader, alice, 0, &inbox), BRANT_OK);
    assert_int_equal(store_mailbox_get(b->reader, alice, target, &archive), BRANT_OK);
    assert_int_equal(inbox.messages, 1);
    assert_int_equal(archive.messages, 3);
    assert_true(bench_same_after_rebuild(b, true));
}

static int resolve(struct bench *b, const char *address, struct store_target *target, size_t *count)
{
    return store_resolve(b->st, span_str(address), 10, target, 1, count);
}

static void directory(void **state)
{
    struct bench *b = *state;
    struct store_target target;
    size_t count;
    uint64_t alice = 0, bob = 0;

    assert_int_equal(resolve(b, "postmaster@brant.test", &target, &count), BRANT_ENOTFOUND);
    assert_int_equal(bench_account_add(b, "alice@brant.test", &alice), BRANT_OK);
    assert_int_equal(bench_account_add(b, "alice@brant.test", NULL), BRANT_EEXISTS);
    assert_int_equal(bench_account_add(b, "bob@brant.test", &bob), BRANT_OK);
    assert_int_equal(bench_account_add(b, "bob+exact@brant.test", NULL), BRANT_OK);
    assert_int_equal(bench_account_add(b, "bob@elsewhere.test", NULL), BRANT_ENOTFOUND);
    assert_int_equal(bench_account_add(b, "@brant.test", NULL), BRANT_ESYNTAX);
    assert_int_equal(resolve(b, "carol@brant.test", &target, &count), BRANT_ENOTFOUND);
    assert_int_equal(resolve(b, "bob@elsewhere.test", &target, &count), BRANT_EREFUSED);
    assert_int_equal(resolve(b, "bob", &target, &count), BRANT_ESYNTAX);
    assert_int_equal(resolve(b, "BOB+Stuff@brant.test", &target, &count), BRANT_OK);
    assert_string_equal(target.address, "bob@brant.test");
    assert_string_equal(target.detail, "stuff");
    assert_int_equal(resolve(b, "bob+exact@brant.test", &target, &count), BRANT_OK);
    assert_string_equal(target.address, "bob+exact@brant.test");
    assert_int_equal(resolve(b, "Postmaster", &target, &count), BRANT_OK);
    assert_int_equal(target.account, alice);
    assert_int_equal(resolve(b, "POSTMASTER@brant.test", &target, &count), BRANT_OK);
    assert_int_equal(target.account, alice);

    assert_int_equal(bench_alias(b, STORE_OP_ALIAS_ADD, "all@brant.test", "alice@brant.test"), BRANT_OK);
    assert_int_equal(bench_alias(b, STORE_OP_ALIAS_ADD, "all@brant.test", "bob@brant.test"), BRANT_OK);
    assert_int_equal(bench_alias(b, STORE_OP_ALIAS_ADD, "all@brant.test", "bob@brant.test"), BRANT_EEXISTS);
    assert_int_equal(bench_alias(b, STORE_OP_ALIAS_ADD, "all@brant.test", "x@gmail.test"), BRANT_EREFUSED);
    assert_int_equal(bench_alias(b, STORE_OP_ALIAS_ADD, "all@brant.test", "nobody@brant.test"),
                     BRANT_ENOTFOUND);
    assert_int_equal(bench_alias(b, STORE_OP_ALIAS_ADD, "bob@brant.test", "alice@brant.test"), BRANT_EEXISTS);
    assert_int_equal(bench_alias(b, STORE_OP_ALIAS_ADD, "staff@brant.test", "all@brant.test"), BRANT_OK);
    assert_int_equal(bench_alias(b, STORE_OP_ALIAS_ADD, "all@brant.test", "staff@brant.test"),
                     BRANT_OK); /* a loop */
    assert_int_equal(resolve(b, "staff@brant.test", &target, &count), BRANT_OK);
    assert_int_equal(count, 2);
    assert_int_equal(bench_alias(b, STORE_OP_ALIAS_ADD, "postmaster@brant.test", "bob@brant.test"), BRANT_OK);
    assert_int_equal(resolve(b, "postmaster@brant.test", &target, &count), BRANT_OK);
    assert_int_equal(target.account, bob);
    assert_int_equal(bench_alias(b, STORE_OP_ALIAS_ADD, "@brant.test", "bob@brant.test"), BRANT_OK);
    assert_int_equal(resolve(b, "whoever@brant.test", &target, &count), BRANT_OK);
    assert_int_equal(target.account, bob);
    reopen(b);
    assert_int_equal(resolve(b, "staff@brant.test", &target, &count), BRANT_OK);
    assert_int_equal(count, 2);
    assert_int_equal(bench_alias(b, STORE_OP_ALIAS_REMOVE, "all@brant.test", ""), BRANT_OK);
    assert_int_equal(bench_alias(b, STORE_OP_ALIAS_REMOVE, "all@brant.test", ""), BRANT_ENOTFOUND);
    assert_int_equal(bench_alias(b, STORE_OP_ALIAS_REMOVE, "@brant.test", "bob@brant.test"), BRANT_OK);
    assert_int_equal(resolve(b, "staff@brant.test", &target, &count), BRANT_ENOTFOUND);
    assert_true(bench_same_after_rebuild(b, true));
}

static void alias_depth(void **state)
{
    struct bench *b = *state;
    struct store_target target;
    size_t count;
    int rc = BRANT_OK, depth = 0;

    assert_int_equal(bench_account_add(b, "a0@brant.test", NULL), BRANT_OK);
    while (!rc && depth < 20) {
        char from[32], to[32];

        (void)snprintf(to, sizeof to, "a%d@brant.test", depth++);
        (void)snprintf(from, sizeof from, "a%d@brant.test", depth);
        assert_int_equal(bench_alias(b, STORE_OP_ALIAS_ADD, from, to), BRANT_OK);
        rc = resolve(b, from, &target, &count);
    }
    assert_int_equal(rc, BRANT_ELIMIT);
    assert_int_equal(depth, STORE_ALIAS_DEPTH_MAX + 1);
}

static void quota(void **state)
{
    struct bench *b = *state;
    struct store_op op = {.kind = STORE_OP_ACCOUNT_ADD,
                          .account = {.address = SPAN_LIT("q@brant.test"), .quota_bytes = 100}};
    struct store_target target;
    struct store_account_info info;
    uint32_t uid = 1;
    size_t count;

    assert_int_equal(bench_run(b, &op), BRANT_OK);
    assert_int_equal(store_resolve(b->st, SPAN_LIT("q@brant.test"), 100, &target, 1, &count), BRANT_OK);
    assert_int_equal(store_resolve(b->st, SPAN_LIT("q@brant.test"), 101, &target, 1, &count), BRANT_ESTATE);
    assert_int_equal(store_resolve(b->st, SPAN_LIT("q@brant.test"), UINT64_MAX, &target, 1, &count),
                     BRANT_ESTATE);
    /* Accepted at RCPT is accepted, whatever its size turns out to be. */
    for (uint8_t i = 0; i < 2; i++)
        assert_int_equal(bench_commit(b, i, "q@brant.test", SPAN_LIT("0123456789"),
                                      SPAN_LIT("01234567890123456789012345678901234567890123456789")),
                         BRANT_OK);
    reopen(b);
    assert_int_equal(store_account_find(b->st, SPAN_LIT("Q@brant.test"), &info), BRANT_OK);
    assert_int_equal(info.used_bytes, 120);
    assert_int_equal(store_resolve(b->st, SPAN_LIT("q@brant.test"), 0, &target, 1, &count), BRANT_ESTATE);
    assert_int_equal(bench_change(b, &op, STORE_OP_EXPUNGE, info.account, &uid, 1), BRANT_OK);
    assert_int_equal(store_resolve(b->st, SPAN_LIT("q@brant.test"), 40, &target, 1, &count), BRANT_OK);
}

static void account_removal(void **state)
{
    struct bench *b = *state;
    struct store_op op = {.kind = STORE_OP_ACCOUNT_REMOVE,
                          .account = {.address = SPAN_LIT("alice@brant.test")}};
    struct store_op domain = {.kind = STORE_OP_DOMAIN_REMOVE, .domain = {.name = SPAN_LIT("brant.test")}};
    struct store_entry entries[2];
    uint64_t alice = 0, again = 0;
    size_t count;

    assert_int_equal(bench_account_add(b, "alice@brant.test", &alice), BRANT_OK);
    for (uint8_t i = 1; i <= 3; i++)
        assert_int_equal(bench_commit(b, i, "alice@brant.test", SPAN_LIT(""), SPAN_LIT("x")), BRANT_OK);
    assert_int_equal(bench_run(b, &domain), BRANT_ESTATE);
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    assert_int_equal(store_entries_list(b->reader, alice, 0, 0, entries, 2, &count), BRANT_ENOTFOUND);
    assert_int_equal(bench_commit(b, 9, "alice@brant.test", SPAN_LIT(""), SPAN_LIT("x")), BRANT_ETRYLATER);
    assert_int_equal(bench_account_add(b, "alice@brant.test", &again), BRANT_OK);
    assert_int_not_equal(again, alice);
    reopen(b); /* the removal goes on */
    bench_settle(b);
    assert_null(dir_account(&b->st->dir, alice));
    assert_int_equal(store_entries_list(b->reader, again, 0, 0, entries, 2, &count), BRANT_OK);
    assert_int_equal(count, 0);
    assert_true(bench_same_after_rebuild(b, true));
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    assert_int_equal(bench_run(b, &domain), BRANT_OK);
    assert_int_equal(bench_run(b, &domain), BRANT_ENOTFOUND);
}

/* Alice's second mailbox: all that was in it is gone, and a segment says nothing but that. */
static void empty_second_mailbox(struct bench *b, uint64_t alice)
{
    struct store_op add = {.kind = STORE_OP_MAILBOX,
                           .mailbox = {.account = alice, .name = SPAN_LIT("Archive")}};
    struct store_op op = {0};
    uint32_t uids[] = {1, 2};
    struct store_range both = {1, 2};

    assert_int_equal(bench_run(b, &add), BRANT_OK);
    for (uint8_t i = 1; i <= 2; i++)
        assert_int_equal(bench_commit(b, i, "alice@brant.test", SPAN_LIT(""), SPAN_LIT("x")), BRANT_OK);
    op.change.target = add.mailbox.mailbox;
    assert_int_equal(bench_change(b, &op, STORE_OP_COPY, alice, uids, 2), BRANT_OK);
    assert_int_equal(journal_roll(b->st->journal), BRANT_OK);
    op = (struct store_op){
        .kind = STORE_OP_EXPUNGE,
        .change = {.account = alice, .mailbox = add.mailbox.mailbox, .ranges = &both, .range_count = 1}};
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    assert_int_equal(journal_roll(b->st->journal), BRANT_OK);
}

/* An account is removed while compaction is at work on its mailbox: tombstones may have been written again
 * when the mailbox never will be. They go with the account all the same, in a rebuild too. */
static void account_removal_in_compaction(void **state)
{
    (void)state;
    for (int steps = 0; steps < 40; steps++) {
        struct store_op op = {.kind = STORE_OP_ACCOUNT_REMOVE,
                              .account = {.address = SPAN_LIT("alice@brant.test")}};
        struct bench b;
        uint64_t alice = 0;

        bench_init(&b, 1);
        b.config.compact_live_percent = 90;
        assert_int_equal(bench_open(&b), BRANT_OK);
        assert_int_equal(bench_domain_add(&b, "brant.test"), BRANT_OK);
        assert_int_equal(bench_account_add(&b, "alice@brant.test", &alice), BRANT_OK);
        empty_second_mailbox(&b, alice);
        assert_int_equal(store_wait_applied(b.st, journal_last_seq(b.st->journal)), BRANT_OK);
        for (int i = 0; i < steps; i++) {
            (void)store_compaction_step(b.st, b.now_ms);
            (void)store_writer_step(b.st, b.now_ms);
            assert_int_equal(store_wait_applied(b.st, journal_last_seq(b.st->journal)), BRANT_OK);
        }
        assert_int_equal(bench_run(&b, &op), BRANT_OK);
        bench_settle(&b);
        assert_true(bench_same_after_rebuild(&b, true));
        bench_done(&b);
    }
}

static void compaction(void **state)
{
    struct bench *b = *state;
    _cleanup_buf_ struct buf out;
    struct store_op op = {0};
    struct store_status status;
    uint64_t alice = 0;
    size_t segments;

    buf_init(&out, 1u << 20);
    assert_int_equal(bench_account_add(b, "alice@brant.test", &alice), BRANT_OK);
    for (uint32_t i = 1; i <= 200; i++) {
        char body[2000];

        memset(body, 'a' + (int)(i % 26), sizeof body);
        assert_int_equal(
            bench_commit(b, (uint8_t)i, "alice@brant.test", SPAN_LIT("P\n"), span_make(body, sizeof body)),
            BRANT_OK);
        if (i % 10)
            assert_int_equal(bench_change(b, &op, STORE_OP_EXPUNGE, alice, &i, 1), BRANT_OK);
    }
    segments = journal_segments(b->st->journal, NULL, 0);
    assert_true(segments > 5);
    bench_settle(b);
    store_compact(b->st, true);
    bench_settle(b);
    assert_false(store_compacting(b->st));
    store_status_get(b->st, &status);
    assert_true(status.segments < segments);
    assert_true(status.compacted_segments >= segments);
    for (uint32_t i = 10; i <= 200; i += 10) {
        assert_int_equal(bench_read(b, alice, i, &out), BRANT_OK);
        assert_int_equal(out.len, 2002);
        assert_int_equal(out.data[2], 'a' + (int)(i % 26));
    }
    assert_true(bench_same_after_rebuild(b, true));
    /* Everything remembered of the dead goes once its time is over. */
    b->now_ms += b->config.gone_retention_ms + b->config.trace_retention_ms;
    store_compact(b->st, true);
    bench_settle(b);
    store_status_get(b->st, &status);
    assert_true(status.journal_bytes < 60000);
    assert_true(bench_same_after_rebuild(b, true));
    assert_int_equal(bench_read(b, alice, 200, &out), BRANT_OK);
}

static void trace(void **state)
{
    struct bench *b = *state;
    struct store_trace_row rows[4];
    struct arena arena;
    uint64_t next;
    size_t count;

    arena_init(&arena, 1u << 20);
    assert_int_equal(bench_account_add(b, "alice@brant.test", NULL), BRANT_OK);
    assert_int_equal(bench_commit(b, 1, "alice+a@brant.test", SPAN_LIT(""), SPAN_LIT("x")), BRANT_OK);
    assert_int_equal(bench_commit(b, 2, "alice@brant.test", SPAN_LIT(""), SPAN_LIT("x")), BRANT_OK);
    assert_int_equal(store_trace(b->reader, SPAN_LIT("alice@brant.test"), 0, &arena, rows, 4, &count, &next),
                     BRANT_OK);
    assert_int_equal(count, 2);
    assert_int_equal(next, 0);
    assert_true(span_eq_str(rows[1].recipients, "alice+a@brant.test -> alice@brant.test/1"));
    assert_int_equal(
        store_trace(b->reader, SPAN_LIT("alice+a@brant.test"), 0, &arena, rows, 4, &count, &next), BRANT_OK);
    assert_int_equal(count, 1);
    assert_int_equal(store_trace(b->reader, SPAN_LIT("aa020000000000000000000000000000"), 0, &arena, rows, 4,
                                 &count, &next),
                     BRANT_OK);
    assert_int_equal(count, 1);
    assert_true(rows[0].present);
    assert_int_equal(store_trace(b->reader, SPAN_LIT("<1@example.org>"), 0, &arena, rows, 1, &count, &next),
                     BRANT_OK);
    assert_int_equal(count, 1);
    assert_int_equal(
        store_trace(b->reader, SPAN_LIT("<1@example.org>"), next, &arena, rows, 1, &count, &next), BRANT_OK);
    assert_int_equal(count, 1);
    arena_done(&arena);
}

static uint64_t put_old(struct journal *j, uint16_t type, struct span payload)
{
    struct journal_place place;
    uint64_t seq = 0;

    assert_int_equal(journal_append(j, type, 1, &payload, 1, false, &seq, &place), BRANT_OK);
    assert_int_equal(journal_sync(j), BRANT_OK);
    return seq;
}

static void old_journal(struct bench *b)
{
    struct journal_config config = {.segment_bytes = b->config.segment_bytes,
                                    .record_bytes_max = RECORD_BYTES_MAX};
    struct journal_recovery recovery;
    struct journal *j;
    struct os_fs *fs = sim_disk_mount(b->disk);
    static const char domain[] = "\x17\0\0\0"
                                 "\0\0\0\0\0\0\0\0"
                                 "\0"
                                 "\x0a\0\0\0"
                                 "brant.test";

    assert_int_equal(journal_open(fs, &config, &j, &recovery), BRANT_OK);
    assert_int_equal(put_old(j, RECORD_ACCOUNT, span_make(account_1, sizeof account_1)), 1);
    assert_int_equal(put_old(j, RECORD_DOMAIN, span_make(domain, sizeof domain - 1)), 2);
    assert_int_equal(put_old(j, RECORD_MESSAGE, span_make(message_1, sizeof message_1)), 3);
    assert_int_equal(put_old(j, RECORD_MAILBOX, span_make(mailbox_1, sizeof mailbox_1)), 4);
    assert_int_equal(put_old(j, RECORD_FLAGS, span_make(flags_1, sizeof flags_1)), 5);
    assert_int_equal(put_old(j, RECORD_COPY, span_make(copy_1, sizeof copy_1)), 6);
    journal_free(j);
    os_fs_free(fs);
}

/* When entries came is known of copies, and of others as long as no record without it changed them. */
static void old_changes(struct bench *b)
{
    struct store_entry e;
    size_t count;

    assert_string_equal(dir_mailbox(&b->st->dir, 4)->name, "Archive");
    assert_int_equal(dir_mailbox(&b->st->dir, 4)->uidvalidity, 1700000001);
    assert_int_equal(store_entries_list(b->reader, 1, 1, 0, &e, 1, &count), BRANT_OK);
    assert_int_equal(count, 1);
    assert_int_equal(e.flags, STORE_FLAG_FLAGGED);
    assert_int_equal(e.saved_ms, 0);
    assert_int_equal(store_entries_list(b->reader, 1, 4, 0, &e, 1, &count), BRANT_OK);
    assert_int_equal(count, 1);
    assert_int_equal(e.saved_ms, 1700000002000);
}

/* A journal of an earlier brant: read, served, compacted into records of today. */
static void version_1_journal(void **state)
{
    struct bench *b = mem_zalloc(sizeof *b);
    _cleanup_buf_ struct buf out;
    struct store_account_info first, now;
    struct store_checked checked;
    struct index_message row;

    (void)state;
    bench_init(b, 1);
    old_journal(b);
    assert_int_equal(bench_open(b), BRANT_OK);
    buf_init(&out, 4096);
    assert_int_equal(store_account_find(b->st, SPAN_LIT("alice@brant.test"), &first), BRANT_OK);
    assert_int_equal(first.options, STORE_ACCOUNT_ENABLED | STORE_ACCOUNT_ADMIN);
    assert_int_equal(first.quota_bytes, 1000);
    assert_int_equal(first.scram.iterations, 0);
    assert_int_equal(first.grants, 0);
    assert_memory_not_equal(first.scram.salt, (uint8_t[16]){0}, 16); /* it has one all the same */
    for (int round = 0; round < 4; round++) {
        old_changes(b);
        assert_int_equal(bench_read(b, 1, 3, &out), BRANT_OK);
        assert_string_equal(buf_cstr(&out), "P\r\nbody");
        assert_int_equal(store_account_find(b->st, SPAN_LIT("alice@brant.test"), &now), BRANT_OK);
        assert_memory_equal(first.scram.salt, now.scram.salt, 16);
        assert_int_equal(store_check(b->reader, true, NULL, NULL, &checked), BRANT_OK);
        assert_int_equal(checked.problems, 0);
        assert_int_equal(index_message(b->reader->ix, 3, &row), BRANT_OK);
        assert_int_equal(row.version, round < 2 ? 1 : record_version(RECORD_MESSAGE));
        assert_true(bench_same_after_rebuild(b, true));
        if (round == 0)
            continue;
        store_compact(b->st, true);
        bench_settle(b);
    }
    assert_int_equal(bench_commit(b, 1, "alice@brant.test", SPAN_LIT(""), SPAN_LIT("x")), BRANT_OK);
    assert_int_equal(bench_read(b, 1, 4, &out), BRANT_OK);
    bench_done(b);
    /* The same records in another store: who knows them does not know the salt. */
    memset(b, 0, sizeof *b);
    bench_init(b, 2);
    old_journal(b);
    assert_int_equal(bench_open(b), BRANT_OK);
    assert_int_equal(store_account_find(b->st, SPAN_LIT("alice@brant.test"), &now), BRANT_OK);
    assert_memory_not_equal(first.scram.salt, now.scram.salt, 16);
    bench_done(b);
    free(b);
}

/* The same with the threads of production: everything submitted is answered and seen, while compaction and
 * checkpoints run. */
enum { THREADED = 400, THREADED_FLIGHT = 50 };

struct threaded {
    struct store_op op;
    struct store_rcpt rcpt;
    _Atomic bool answered;
};

static void threaded_done(struct store_op *op)
{
    atomic_store(&((struct threaded *)op->ctx)->answered, true);
}

static void wait_for(struct threaded *t)
{
    struct timespec pause = {.tv_nsec = 100000};

    while (!atomic_load(&t->answered))
        nanosleep(&pause, NULL);
    assert_int_equal(t->op.result, BRANT_OK);
}

static void threaded_commit(struct bench *b, struct threaded *t, uint32_t number, uint64_t submitter)
{
    static const struct span prefix = {(const uint8_t *)"P\r\n", 3};
    char body[1000];

    memset(body, 'a' + (int)(number % 26), sizeof body);
    memset(t, 0, sizeof *t);
    t->rcpt.address = SPAN_LIT("alice@brant.test");
    t->op = (struct store_op){.kind = STORE_OP_COMMIT,
                              .done = threaded_done,
                              .ctx = t,
                              .commit = {.submitter = submitter,
                                         .prefixes = &prefix,
                                         .prefix_count = 1,
                                         .rcpts = &t->rcpt,
                                         .rcpt_count = 1,
                                         .body = bench_body(b, span_make(body, sizeof body))}};
    memcpy(t->op.commit.id, &number, sizeof number);
    store_submit(b->st, &t->op);
}

static void threads(void **state)
{
    struct bench *b = *state;
    _cleanup_buf_ struct buf out;
    struct threaded *flights = mem_array(THREADED_FLIGHT, sizeof *flights);
    struct store_mailbox_info box;
    struct threaded expunge = {0};
    struct store_op copies = {.kind = STORE_OP_ACCOUNT_SET,
                              .account = {.address = SPAN_LIT("alice@brant.test"),
                                          .set = STORE_SET_OPTIONS,
                                          .options = STORE_ACCOUNT_SENT_COPY,
                                          .option_mask = STORE_ACCOUNT_SENT_COPY}};
    struct store_account_info info;
    uint64_t alice = 0;

    buf_init(&out, 1u << 20);
    assert_int_equal(bench_account_add(b, "alice@brant.test", &alice), BRANT_OK);
    assert_int_equal(bench_run(b, &copies), BRANT_OK);
    assert_int_equal(store_threads_start(b->st), BRANT_OK);
    for (uint32_t done = 0; done < THREADED; done += THREADED_FLIGHT) {
        uint32_t uid = done + 1;

        for (uint32_t i = 0; i < THREADED_FLIGHT; i++)
            threaded_commit(b, &flights[i], done + i + 1, i % 2 ? alice : 0);
        for (uint32_t i = 0; i < THREADED_FLIGHT; i++)
            wait_for(&flights[i]);
        assert_int_equal(store_mailbox_get(b->reader, alice, 0, &box), BRANT_OK);
        assert_int_equal(box.uidnext, done + THREADED_FLIGHT + 1);
        assert_int_equal(bench_read(b, alice, done + THREADED_FLIGHT, &out), BRANT_OK);
        assert_int_equal(out.len, 1003);
        memset(&expunge, 0, sizeof expunge);
        expunge.op = (struct store_op){
            .kind = STORE_OP_EXPUNGE,
            .done = threaded_done,
            .ctx = &expunge,
            .change = {.account = alice, .ranges = &(struct store_range){uid, uid}, .range_count = 1}};
        store_submit(b->st, &expunge.op);
        wait_for(&expunge);
        assert_int_equal(bench_read(b, alice, uid, &out), BRANT_ENOTFOUND);
        store_compact(b->st, true);
    }
    store_threads_stop(b->st);
    bench_settle(b);
    assert_int_equal(store_mailbox_get(b->reader, alice, 0, &box), BRANT_OK);
    assert_int_equal(box.messages, THREADED - THREADED / THREADED_FLIGHT);
    assert_int_equal(store_account_get(b->st, alice, &info), BRANT_OK);
    assert_int_equal(info.messages, box.messages + THREADED / 2); /* and those in Sent */
    assert_true(bench_same_after_rebuild(b, true));
    free(flights);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(deliver_and_read), T(large_body),
        T(commit_ids),       T(flags_and_expunge),
        T(copy_and_move),    T(directory),
        T(alias_depth),      T(quota),
        T(account_removal),  cmocka_unit_test(account_removal_in_compaction),
        T(compaction),       T(trace),
        T(threads),          cmocka_unit_test(version_1_journal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
