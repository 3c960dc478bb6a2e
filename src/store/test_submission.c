/* What is sent from here: rows of the queue, the sender's copy, recipients that stand alone, APPEND. */
#include <stdio.h>
#include <stdlib.h>

#include "store/testing.h"

enum { RCPTS = 6 };

struct sent {
    struct store_op op;
    struct store_rcpt rcpts[RCPTS];
};

static uint64_t alice, bob;

static int setup(void **state)
{
    struct bench *b = mem_zalloc(sizeof *b);

    bench_init(b, 1);
    assert_int_equal(bench_open(b), BRANT_OK);
    assert_int_equal(bench_domain_add(b, "brant.test"), BRANT_OK);
    assert_int_equal(bench_account_add(b, "alice@brant.test", &alice), BRANT_OK);
    assert_int_equal(bench_account_add(b, "bob@brant.test", &bob), BRANT_OK);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    bench_done(*state);
    free(*state);
    return 0;
}

static void reopen(struct bench *b)
{
    bench_close(b);
    assert_int_equal(bench_open(b), BRANT_OK);
}

static struct span prefixes[2] = {{(const uint8_t *)"P: one\r\n", 8}, {(const uint8_t *)"P: two!\r\n", 9}};

/* Alice's message `id` to the addresses given. */
static struct sent *sent_new(struct bench *b, uint8_t id, const char *const *to, size_t count,
                             struct span body)
{
    struct sent *s = mem_zalloc(sizeof *s);

    for (size_t i = 0; i < count; i++)
        s->rcpts[i] = (struct store_rcpt){.address = span_str(to[i]), .variant = i % 2};
    s->op = (struct store_op){.kind = STORE_OP_COMMIT,
                              .commit = {.id = {id},
                                         .session = {0xbb, id},
                                         .source = SPAN_LIT("192.0.2.9"),
                                         .protocol = SPAN_LIT("ESMTPSA"),
                                         .helo = SPAN_LIT("laptop"),
                                         .reverse_path = SPAN_LIT("alice@brant.test"),
                                         .message_id = SPAN_LIT("<sent@brant.test>"),
                                         .tls = SPAN_LIT("TLSv1.3 TLS_AES_256_GCM_SHA384"),
                                         .content_sum = {7, id},
                                         .submitter = alice,
                                         .prefixes = prefixes,
                                         .prefix_count = 2,
                                         .rcpts = s->rcpts,
                                         .rcpt_count = count,
                                         .body = bench_body(b, body)}};
    return s;
}

static int submit(struct bench *b, uint8_t id, const char *to)
{
    struct sent *s = sent_new(b, id, &to, 1, SPAN_LIT("body"));
    int rc = bench_run(b, &s->op);

    free(s);
    return rc;
}

static int queue_remove(struct bench *b, uint64_t message, uint32_t recipient)
{
    struct store_op op = {.kind = STORE_OP_QUEUE_REMOVE,
                          .queue = {.message = message, .recipient = recipient}};

    return bench_run(b, &op);
}

static size_t list(struct bench *b, const char *filter, struct store_queue_row *rows, size_t max)
{
    static struct arena arena;
    size_t count = 0;

    arena_done(&arena);
    arena_init(&arena, 65536);
    assert_int_equal(store_queue_list(b->reader, span_str(filter), 0, 0, &arena, rows, max, &count),
                     BRANT_OK);
    return count;
}

static uint64_t queued(struct bench *b)
{
    struct store_status status;

    store_status_get(b->st, &status);
    return status.queued;
}

static void settle_and_check(struct bench *b)
{
    struct store_checked checked;

    store_compact(b->st, true);
    bench_settle(b);
    assert_int_equal(store_check(b->reader, true, NULL, NULL, &checked), BRANT_OK);
    assert_int_equal(checked.problems, 0);
    assert_true(bench_same_after_rebuild(b, true));
}

static void set_option(struct bench *b, const char *address, uint32_t option)
{
    struct store_op op = {.kind = STORE_OP_ACCOUNT_SET,
                          .account = {.address = span_str(address),
                                      .set = STORE_SET_OPTIONS,
                                      .options = option,
                                      .option_mask = option}};

    assert_int_equal(bench_run(b, &op), BRANT_OK);
}

/* ---- The queue
 * ------------------------------------------------------------------------------------------------- */

static void born_in_the_commit(void **state)
{
    struct bench *b = *state;
    const char *to[] = {"bob@brant.test", "Carl@far.test", "carl@far.test", "Carl@FAR.test",
                        "dora@sub.far.test"};
    struct sent *s = sent_new(b, 1, to, 5, SPAN_LIT("body"));
    struct store_queue_row rows[8];
    struct store_entry entries[2];
    uint64_t message;
    size_t count;

    assert_int_equal(bench_run(b, &s->op), BRANT_OK);
    assert_int_equal(s->op.commit.queued, 3);
    assert_false(s->rcpts[0].queued);
    assert_int_equal(s->rcpts[0].entries, 1);
    for (int i = 1; i < 5; i++)
        assert_true(s->rcpts[i].queued && s->rcpts[i].result == BRANT_OK && !s->rcpts[i].entries);
    message = s->op.commit.message;
    free(s);
    for (int round = 0; round < 4; round++) {
        assert_int_equal(queued(b), 3);
        assert_int_equal(list(b, "", rows, 8), 3);
        assert_int_equal(rows[0].recipient, 1);
        assert_true(span_eq_str(rows[0].address, "Carl@far.test"));
        assert_int_equal(rows[0].bytes, 13); /* the second prefix */
        assert_int_equal(rows[1].recipient, 2);
        assert_int_equal(rows[1].bytes, 12);
        assert_int_equal(rows[2].recipient, 4);
        assert_int_equal(rows[2].message, message);
        assert_int_equal(rows[2].state, STORE_QUEUE_HELD);
        assert_int_equal(rows[2].account, alice);
        assert_int_equal(rows[2].commit[0], 1);
        assert_true(rows[2].created_ms > 1700000000000);
        assert_true(span_eq_str(rows[2].sender, "alice@brant.test"));
        assert_int_equal(store_entries_list(b->reader, bob, 0, 0, entries, 2, &count), BRANT_OK);
        assert_int_equal(count, 1);
        if (round == 0)
            reopen(b);
        else
            settle_and_check(b);
    }
}

static void listing(void **state)
{
    struct bench *b = *state;
    struct store_queue_row rows[8];
    struct arena arena;
    char address[32];
    size_t count = 0, seen = 0;

    for (int i = 0; i < 30; i++) {
        (void)snprintf(address, sizeof address, "u%d@%s.test", i, i % 3 ? "far" : "near");
        assert_int_equal(submit(b, (uint8_t)(i + 1), address), BRANT_OK);
    }
    assert_int_equal(list(b, "@Near.test", rows, 8), 8);
    assert_int_equal(list(b, "@test", rows, 8), 0);
    assert_int_equal(list(b, "U4@far.test", rows, 8), 1);
    assert_int_equal(list(b, "ALICE@brant.test", rows, 8), 8);
    assert_int_equal(list(b, "bob@brant.test", rows, 8), 0);
    memset(rows, 0, sizeof rows);
    do {
        uint64_t after = seen ? rows[count - 1].message : 0;

        arena_init(&arena, 8192);
        assert_int_equal(store_queue_list(b->reader, SPAN_NONE, after, seen ? rows[count - 1].recipient : 0,
                                          &arena, rows, 7, &count),
                         BRANT_OK);
        for (size_t i = 0; i < count; i++)
            assert_true(rows[i].message > after);
        seen += count;
        arena_done(&arena);
    } while (count == 7);
    assert_int_equal(seen, 30);
    arena_init(&arena, 20);
    assert_int_equal(store_queue_list(b->reader, SPAN_NONE, 0, 0, &arena, rows, 7, &count), BRANT_ELIMIT);
    arena_done(&arena);
}

/* The message goes with the last of its rows, and its body file with it. */
static void removal(void **state)
{
    struct bench *b = *state;
    const char *to[] = {"one@far.test", "two@far.test"};
    _cleanup_buf_ struct buf large;
    struct sent *s;
    struct store_queue_row rows[4];
    struct store_checked checked;
    struct index_message row;
    uint64_t message;

    buf_init(&large, 1u << 20);
    for (int i = 0; i < 100000; i++)
        (void)buf_append_byte(&large, (uint8_t)i);
    s = sent_new(b, 1, to, 2, buf_span(&large));
    assert_int_equal(bench_run(b, &s->op), BRANT_OK);
    message = s->op.commit.message;
    free(s);
    assert_int_equal(queue_remove(b, message, 2), BRANT_ENOTFOUND);
    assert_int_equal(queue_remove(b, message + 1, 0), BRANT_ENOTFOUND);
    assert_int_equal(queue_remove(b, 0, 0), BRANT_ENOTFOUND);
    assert_int_equal(queue_remove(b, message, 0), BRANT_OK);
    assert_int_equal(queue_remove(b, message, 0), BRANT_ENOTFOUND);
    settle_and_check(b);
    assert_int_equal(queue_remove(b, message, 0), BRANT_ENOTFOUND);
    assert_int_equal(list(b, "", rows, 4), 1);
    assert_int_equal(store_check(b->reader, true, NULL, NULL, &checked), BRANT_OK);
    assert_int_equal(checked.bodies, 1);
    reopen(b);
    assert_int_equal(b->opened.orphans_removed, 0);
    assert_int_equal(queue_remove(b, message, 1), BRANT_OK);
    assert_int_equal(queued(b), 0);
    assert_int_equal(list(b, "", rows, 4), 0);
    assert_int_equal(index_message(b->reader->ix, message, &row), BRANT_OK);
    assert_true(row.dead);
    bench_settle(b);
    reopen(b);
    assert_int_equal(b->opened.orphans_removed, 0); /* the file went at the checkpoint */
    settle_and_check(b);
    /* In the end nothing is remembered. */
    b->now_ms += b->config.gone_retention_ms + b->config.trace_retention_ms;
    store_compact(b->st, true);
    bench_settle(b);
    assert_int_equal(index_message(b->reader->ix, message, &row), BRANT_ENOTFOUND);
    settle_and_check(b);
}

/* Removals that meet in one batch, before anything is applied. */
static void removal_twice(void **state)
{
    struct bench *b = *state;
    const char *to[] = {"one@far.test", "two@far.test"};
    struct sent *s = sent_new(b, 1, to, 2, SPAN_LIT("x"));
    struct store_op ops[3];
    bool answered[3] = {false};

    assert_int_equal(bench_run(b, &s->op), BRANT_OK);
    for (int i = 0; i < 3; i++) {
        ops[i] = (struct store_op){
            .kind = STORE_OP_QUEUE_REMOVE,
            .done = bench_answered,
            .ctx = &answered[i],
            .queue = {.message = s->op.commit.message, .recipient = i == 2},
        };
        store_submit(b->st, &ops[i]);
    }
    for (int i = 0; i < 100 && !(answered[0] && answered[1] && answered[2]); i++) {
        (void)store_writer_step(b->st, ++b->now_ms);
        (void)store_apply_step(b->st, b->now_ms);
    }
    assert_int_equal(ops[0].result, BRANT_OK);
    assert_int_equal(ops[1].result, BRANT_ENOTFOUND);
    assert_int_equal(ops[2].result, BRANT_OK);
    assert_int_equal(queued(b), 0);
    free(s);
    settle_and_check(b);
}

static void who_may_send(void **state)
{
    struct bench *b = *state;
    const char *far = "x@far.test", *nobody = "nobody@brant.test";
    struct sent *s = sent_new(b, 1, &far, 1, SPAN_LIT("x"));
    struct store_op off = {.kind = STORE_OP_ACCOUNT_SET,
                           .account = {.address = SPAN_LIT("alice@brant.test"),
                                       .set = STORE_SET_OPTIONS,
                                       .option_mask = STORE_ACCOUNT_ENABLED}};

    s->op.commit.submitter = 0;
    assert_int_equal(bench_run(b, &s->op), BRANT_ETRYLATER);
    free(s);
    s = sent_new(b, 1, &far, 1, SPAN_LIT("x"));
    s->op.commit.submitter = 999;
    assert_int_equal(bench_run(b, &s->op), BRANT_ETRYLATER);
    free(s);
    assert_int_equal(submit(b, 2, nobody), BRANT_ETRYLATER); /* ours, and not there */
    assert_int_equal(bench_run(b, &off), BRANT_OK);
    assert_int_equal(submit(b, 3, far), BRANT_ETRYLATER);
    assert_int_equal(queued(b), 0);
}

/* Mail that was taken is sent, whatever becomes of its sender. */
static void sender_removed(void **state)
{
    struct bench *b = *state;
    struct store_op op = {.kind = STORE_OP_ACCOUNT_REMOVE,
                          .account = {.address = SPAN_LIT("alice@brant.test")}};
    struct store_queue_row rows[2];

    set_option(b, "alice@brant.test", STORE_ACCOUNT_SENT_COPY);
    assert_int_equal(submit(b, 1, "x@far.test"), BRANT_OK);
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    bench_settle(b);
    assert_null(dir_account(&b->st->dir, alice));
    settle_and_check(b);
    assert_int_equal(list(b, "", rows, 2), 1);
    assert_int_equal(rows[0].account, alice);
}

/* ---- The sender's copy
 * ----------------------------------------------------------------------------------------------- */

static uint64_t box_of(struct bench *b, uint64_t account, const char *name)
{
    const struct dir_mailbox *box = dir_box_named(dir_account(&b->st->dir, account), span_str(name));

    return box ? box->id : 0;
}

static void sent_copy(void **state)
{
    struct bench *b = *state;
    const char *to[] = {"bob@brant.test", "x@far.test"};
    struct store_op quota = {
        .kind = STORE_OP_ACCOUNT_SET,
        .account = {.address = SPAN_LIT("alice@brant.test"), .set = STORE_SET_QUOTA, .quota_bytes = 1}};
    struct sent *s;
    struct store_entry entries[4];
    struct store_mailbox_info box;
    uint64_t sent;
    size_t count;

    assert_int_equal(submit(b, 1, "bob@brant.test"), BRANT_OK);
    assert_int_equal(box_of(b, alice, "Sent"), 0);
    set_option(b, "alice@brant.test", STORE_ACCOUNT_SENT_COPY);
    assert_int_equal(bench_run(b, &quota), BRANT_OK); /* it is filed over quota, too */
    for (uint8_t i = 2; i < 4; i++) {
        s = sent_new(b, i, to, 2, SPAN_LIT("body"));
        assert_int_equal(bench_run(b, &s->op), BRANT_OK);
        free(s);
    }
    sent = box_of(b, alice, "Sent");
    assert_int_not_equal(sent, 0);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(store_entries_list(b->reader, alice, sent, 0, entries, 4, &count), BRANT_OK);
        assert_int_equal(count, 2);
        assert_int_equal(entries[0].uid, 1);
        assert_int_equal(entries[1].uid, 2);
        assert_int_equal(entries[1].flags, STORE_FLAG_SEEN);
        assert_int_equal(entries[1].variant, 0);
        assert_int_equal(entries[1].size, 12);
        assert_int_equal(store_mailbox_get(b->reader, alice, sent, &box), BRANT_OK);
        assert_int_equal(box.messages, 2);
        assert_true(box.uidvalidity > 1);
        assert_int_equal(box_of(b, alice, "Sent"), sent);
        settle_and_check(b);
    }
    /* To herself: the INBOX and Sent. */
    assert_int_equal(submit(b, 9, "alice@brant.test"), BRANT_OK);
    assert_int_equal(store_entries_list(b->reader, alice, 0, 0, entries, 4, &count), BRANT_OK);
    assert_int_equal(count, 1);
    assert_int_equal(store_entries_list(b->reader, alice, sent, 2, entries, 4, &count), BRANT_OK);
    assert_int_equal(count, 1);
    settle_and_check(b);
}

/* Two submissions in one batch, and there is no Sent yet: both wait until it is durable. */
static void sent_made_once(void **state)
{
    struct bench *b = *state;
    const char *to = "x@far.test";
    struct sent *s[2];
    bool answered[2] = {false};
    struct store_mailbox_info box;
    uint64_t sent;

    set_option(b, "alice@brant.test", STORE_ACCOUNT_SENT_COPY);
    for (int i = 0; i < 2; i++) {
        s[i] = sent_new(b, (uint8_t)(i + 1), &to, 1, SPAN_LIT("x"));
        s[i]->op.done = bench_answered;
        s[i]->op.ctx = &answered[i];
        store_submit(b->st, &s[i]->op);
    }
    assert_int_equal(store_writer_step(b->st, ++b->now_ms), 1);
    sent = box_of(b, alice, "Sent");
    assert_false(answered[0] || answered[1]);
    assert_int_equal(sent, atomic_load(&b->st->durable_seq));
    assert_int_equal(store_writer_step(b->st, ++b->now_ms), 1);
    assert_true(answered[0] && answered[1]);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(s[i]->op.result, BRANT_OK);
        assert_int_equal(s[i]->op.commit.queued, 1);
        free(s[i]);
    }
    assert_int_equal(store_mailbox_get(b->reader, alice, sent, &box), BRANT_OK);
    assert_int_equal(box.messages, 2);
    settle_and_check(b);
}

/* ---- Recipients that stand alone
 * --------------------------------------------------------------------------------------- */

static void each_alone(void **state)
{
    struct bench *b = *state;
    const char *to[] = {"nobody@brant.test", "bob@brant.test", "x@far.test", "alice@brant.test"};
    struct sent *s = sent_new(b, 1, to, 4, SPAN_LIT("x"));
    struct store_trace_row row;
    struct arena arena;
    uint64_t next;
    size_t count;

    s->op.commit.each = true;
    s->op.commit.submitter = 0;
    assert_int_equal(bench_run(b, &s->op), BRANT_OK);
    assert_int_equal(s->rcpts[0].result, BRANT_ENOTFOUND);
    assert_int_equal(s->rcpts[1].result, BRANT_OK);
    assert_int_equal(s->rcpts[2].result, BRANT_EREFUSED);
    assert_int_equal(s->rcpts[3].result, BRANT_OK);
    free(s);
    s = sent_new(b, 2, to, 1, SPAN_LIT("x"));
    s->op.commit.each = true;
    assert_int_equal(bench_run(b, &s->op), BRANT_ETRYLATER);
    assert_int_equal(s->rcpts[0].result, BRANT_ENOTFOUND);
    free(s);
    arena_init(&arena, 65536);
    assert_int_equal(store_trace(b->reader, SPAN_LIT("<sent@brant.test>"), 0, &arena, &row, 1, &count, &next),
                     BRANT_OK);
    assert_int_equal(count, 1);
    assert_true(span_eq_str(row.recipients, "bob@brant.test -> bob@brant.test/1, "
                                            "alice@brant.test -> alice@brant.test/1"));
    arena_done(&arena);
    settle_and_check(b);
}

/* ---- APPEND
 * --------------------------------------------------------------------------------------------------- */

static struct store_appended one; /* the message of the last one */

static int append(struct bench *b, struct store_op *op, uint64_t mailbox, uint8_t sum, bool unless_filed)
{
    one = (struct store_appended){.flags = STORE_FLAG_SEEN,
                                  .time_ms = 1600000000000,
                                  .message_id = SPAN_LIT("<sent@brant.test>"),
                                  .structure = SPAN_LIT("opaque"),
                                  .content_sum = {7, sum},
                                  .body = bench_body(b, SPAN_LIT("draft"))};
    *op = (struct store_op){.kind = STORE_OP_APPEND,
                            .append = {.account = alice,
                                       .mailbox = mailbox,
                                       .session = {1},
                                       .messages = &one,
                                       .count = 1,
                                       .unless_filed = unless_filed}};
    return bench_run(b, op);
}

static void appended(void **state)
{
    struct bench *b = *state;
    _cleanup_buf_ struct buf out;
    struct store_op op,
        other = {
            .kind = STORE_OP_ACCOUNT_SET,
            .account = {.address = SPAN_LIT("alice@brant.test"), .set = STORE_SET_QUOTA, .quota_bytes = 14}};
    struct store_entry entries[4];
    size_t count;

    buf_init(&out, 4096);
    assert_int_equal(append(b, &op, 0, 1, true), BRANT_OK);
    assert_false(op.append.filed);
    assert_int_equal(one.uid, 1);
    assert_true(op.append.uidvalidity > 0);
    /* One that was appended is no filed copy. */
    assert_int_equal(append(b, &op, 0, 1, true), BRANT_OK);
    assert_int_equal(one.uid, 2);
    assert_int_equal(append(b, &op, 4711, 1, false), BRANT_ENOTFOUND);
    assert_int_equal(append(b, &op, bob, 1, false), BRANT_ENOTFOUND); /* another's mailbox */
    assert_int_equal(bench_run(b, &other), BRANT_OK);
    assert_int_equal(append(b, &op, 0, 1, false), BRANT_EREFUSED);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(store_entries_list(b->reader, alice, 0, 0, entries, 4, &count), BRANT_OK);
        assert_int_equal(count, 2);
        assert_int_equal(entries[1].flags, STORE_FLAG_SEEN);
        assert_int_equal(entries[1].time_ms, 1600000000000);
        assert_int_equal(bench_read(b, alice, 2, &out), BRANT_OK);
        assert_string_equal(buf_cstr(&out), "draft");
        settle_and_check(b);
    }
}

static void recognised(void **state)
{
    struct bench *b = *state;
    struct store_op op, change = {0};
    uint64_t sent;
    uint32_t uid = 1;

    set_option(b, "alice@brant.test", STORE_ACCOUNT_SENT_COPY);
    assert_int_equal(submit(b, 1, "x@far.test"), BRANT_OK);
    sent = box_of(b, alice, "Sent");
    for (int round = 0; round < 3; round++) {
        assert_int_equal(append(b, &op, sent, 1, true), BRANT_OK);
        assert_true(op.append.filed);
        assert_int_equal(one.uid, 1);
        assert_int_not_equal(one.message, 0);
        assert_int_equal(op.append.uidvalidity, dir_mailbox(&b->st->dir, sent)->uidvalidity);
        settle_and_check(b);
    }
    assert_int_equal(append(b, &op, sent, 2, true), BRANT_OK); /* other content */
    assert_false(op.append.filed);
    assert_int_equal(append(b, &op, 0, 1, true), BRANT_OK); /* another mailbox */
    assert_false(op.append.filed);
    assert_int_equal(append(b, &op, sent, 1, false), BRANT_OK);
    assert_false(op.append.filed);
    assert_int_equal(one.uid, 3);
    b->now_ms += (int64_t)6 * 24 * 3600 * 1000;
    assert_int_equal(append(b, &op, sent, 1, true), BRANT_OK);
    assert_true(op.append.filed);
    b->now_ms += (int64_t)2 * 24 * 3600 * 1000;
    assert_int_equal(append(b, &op, sent, 1, true), BRANT_OK);
    assert_false(op.append.filed);
    /* One that is gone is not there any more. */
    assert_int_equal(submit(b, 5, "x@far.test"), BRANT_OK);
    uid = 5;
    change = (struct store_op){
        .kind = STORE_OP_EXPUNGE,
        .change = {.account = alice,
                   .mailbox = sent,
                   .ranges = &(struct store_range){uid, uid},
                   .range_count = 1},
    };
    assert_int_equal(append(b, &op, sent, 5, true), BRANT_OK);
    assert_true(op.append.filed);
    assert_int_equal(one.uid, 5);
    assert_int_equal(bench_run(b, &change), BRANT_OK);
    assert_int_equal(append(b, &op, sent, 5, true), BRANT_OK);
    assert_false(op.append.filed);
    settle_and_check(b);
}

/* The submission, the removal of the copy and the APPEND in one batch: the last one waits for the index. */
static void recognised_in_order(void **state)
{
    struct bench *b = *state;
    const char *to = "x@far.test";
    struct sent *s;
    struct store_op ops[2];
    bool answered[3] = {false};
    uint32_t uid = 2;
    uint64_t sent;

    set_option(b, "alice@brant.test", STORE_ACCOUNT_SENT_COPY);
    assert_int_equal(submit(b, 1, to), BRANT_OK);
    sent = box_of(b, alice, "Sent");
    for (int expunge = 0; expunge < 2; expunge++, uid++) {
        s = sent_new(b, (uint8_t)(2 + expunge), &to, 1, SPAN_LIT("x"));
        memset(answered, 0, sizeof answered);
        s->op.done = bench_answered;
        s->op.ctx = &answered[0];
        ops[0] = (struct store_op){.kind = STORE_OP_EXPUNGE,
                                   .done = bench_answered,
                                   .ctx = &answered[1],
                                   .change = {.account = alice,
                                              .mailbox = sent,
                                              .ranges = &(struct store_range){uid, uid},
                                              .range_count = (size_t)expunge}};
        one = (struct store_appended){.message_id = SPAN_LIT("<sent@brant.test>"),
                                      .content_sum = {7, (uint8_t)(2 + expunge)},
                                      .body = bench_body(b, SPAN_LIT("x"))};
        ops[1] = (struct store_op){
            .kind = STORE_OP_APPEND,
            .done = bench_answered,
            .ctx = &answered[2],
            .append = {
                .account = alice, .mailbox = sent, .messages = &one, .count = 1, .unless_filed = true}};
        store_submit(b->st, &s->op);
        store_submit(b->st, &ops[0]);
        store_submit(b->st, &ops[1]);
        for (int i = 0; i < 100 && !(answered[0] && answered[1] && answered[2]); i++) {
            (void)store_writer_step(b->st, ++b->now_ms);
            (void)store_apply_step(b->st, b->now_ms);
        }
        assert_int_equal(s->op.result, BRANT_OK);
        assert_int_equal(ops[0].result, BRANT_OK);
        assert_int_equal(ops[1].result, BRANT_OK);
        assert_int_equal(ops[1].append.filed, expunge == 0);
        assert_int_equal(one.uid, expunge ? 4 : 2);
        free(s);
    }
    assert_int_equal(dir_mailbox(&b->st->dir, sent)->parked, 0);
    settle_and_check(b);
}

/* ---- Trace
 * ----------------------------------------------------------------------------------------------------------
 */

static void traced(void **state)
{
    struct bench *b = *state;
    const char *to[] = {"bob@brant.test", "x@far.test", "y@far.test"};
    struct sent *s = sent_new(b, 1, to, 3, SPAN_LIT("x"));
    struct store_trace_row row;
    struct arena arena;
    uint64_t next;
    size_t count;

    arena_init(&arena, 65536);
    set_option(b, "alice@brant.test", STORE_ACCOUNT_SENT_COPY);
    assert_int_equal(bench_run(b, &s->op), BRANT_OK);
    assert_int_equal(queue_remove(b, s->op.commit.message, 2), BRANT_OK);
    free(s);
    for (int round = 0; round < 2; round++) {
        const char *const queries[] = {"X@far.test", "y@far.test", "alice@brant.test",
                                       "01000000000000000000000000000000"};

        for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
            assert_int_equal(store_trace(b->reader, span_str(queries[i]), 0, &arena, &row, 1, &count, &next),
                             BRANT_OK);
            assert_int_equal(count, 1);
            assert_true(row.present);
            assert_true(span_eq_str(row.tls, "TLSv1.3 TLS_AES_256_GCM_SHA384"));
            assert_int_equal(row.submitter, alice);
            assert_true(span_eq_str(row.recipients,
                                    "bob@brant.test -> bob@brant.test/1, x@far.test (held), "
                                    "y@far.test (removed from the queue), (filed) -> alice@brant.test/1"));
        }
        settle_and_check(b);
    }
    arena_done(&arena);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(born_in_the_commit),
        T(listing),
        T(removal),
        T(removal_twice),
        T(who_may_send),
        T(sender_removed),
        T(sent_copy),
        T(sent_made_once),
        T(each_alone),
        T(appended),
        T(recognised),
        T(recognised_in_order),
        T(traced),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
