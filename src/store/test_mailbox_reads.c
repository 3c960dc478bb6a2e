/* Reading mailboxes as IMAP does: each question by itself, and what it costs in a large one. */
#include <sqlite3.h>

#include "store/testing_reads.h"

/* ---- Small things
 * ---------------------------------------------------------------------------------------------------------------
 */

static void nothing_there(void **state)
{
    struct bench *b = *state;
    uint64_t alice = account(b, "alice@brant.test"), bob = account(b, "bob@brant.test");
    struct store_range one[1], all = {1, UINT32_MAX};
    struct store_range_list list = {.r = one, .max = 1};
    struct store_entries_query q = {.ranges = &all, .range_count = 1};
    struct store_changes c = {.uid = 1, .want_vanished = true, .vanished_from = 1};
    struct store_mailbox_info info;
    struct store_entry e;
    uint32_t done_to = 0, count = 9;
    size_t found = 9;

    for (int round = 0; round < 2; round++) {
        assert_int_equal(store_uids_list(b->reader, alice, 0, 1, UINT32_MAX, &list, &done_to), BRANT_OK);
        assert_int_equal(list.count, 0);
        assert_int_equal(done_to, UINT32_MAX);
        assert_int_equal(store_entries_read(b->reader, alice, 0, &q, NULL, &e, 1, &found, &done_to),
                         BRANT_OK);
        assert_int_equal(found, 0);
        assert_int_equal(done_to, UINT32_MAX);
        assert_int_equal(store_count_from(b->reader, alice, 0, 1, &count), BRANT_OK);
        assert_int_equal(count, 0);
        assert_int_equal(store_first_unseen(b->reader, alice, 0, &count), BRANT_OK);
        assert_int_equal(count, 0);
        assert_int_equal(store_vanished(b->reader, alice, 0, &all, 1, 0, &list, &done_to), BRANT_OK);
        assert_int_equal(list.count, round);
        assert_int_equal(store_changes(b->reader, alice, 0, &c), BRANT_OK);
        assert_int_equal(c.arrived.count, 0);
        assert_false(c.more || c.flags_changed);
        assert_int_equal(c.uidnext, round ? 4 : 1);
        deliver(b, "alice@brant.test", 3);
        change(b, STORE_OP_EXPUNGE, alice, 1, 3, 0, 0);
    }
    q.ranges = &(struct store_range){3, 2};
    assert_int_equal(store_entries_read(b->reader, alice, 0, &q, NULL, &e, 1, &found, &done_to),
                     BRANT_ESYNTAX);
    assert_int_equal(store_mailbox_get(b->reader, bob, 0, &info), BRANT_OK);
    assert_int_equal(store_uids_list(b->reader, alice, info.mailbox, 1, 9, &list, &done_to), BRANT_ENOTFOUND);
    assert_int_equal(store_changes(b->reader, 999, 0, &c), BRANT_ENOTFOUND);
    assert_int_equal(store_recent_claim(b->reader, alice, info.mailbox, &count), BRANT_ENOTFOUND);
    assert_int_equal(store_first_unseen(b->reader, alice, info.mailbox, &count), BRANT_ENOTFOUND);
}

static void recent(void **state)
{
    struct bench *b = *state;
    uint64_t alice = account(b, "alice@brant.test");
    struct store_mailbox_info info;
    uint32_t from = 9, count;

    assert_int_equal(store_recent_claim(b->reader, alice, 0, &from), BRANT_OK);
    assert_int_equal(from, 0);
    deliver(b, "alice@brant.test", 3);
    assert_int_equal(store_mailbox_get(b->reader, alice, 0, &info), BRANT_OK);
    assert_int_equal(info.recent_from, 1);
    assert_int_equal(store_recent_claim(b->reader, alice, 0, &from), BRANT_OK);
    assert_int_equal(from, 1);
    assert_int_equal(store_recent_claim(b->reader, alice, 0, &from), BRANT_OK);
    assert_int_equal(from, 0);
    deliver(b, "alice@brant.test", 2);
    change(b, STORE_OP_EXPUNGE, alice, 2, 4, 0, 0);
    assert_int_equal(store_mailbox_get(b->reader, alice, 0, &info), BRANT_OK);
    assert_int_equal(info.recent_from, 4);
    assert_int_equal(store_count_from(b->reader, alice, 0, info.recent_from, &count), BRANT_OK);
    assert_int_equal(count, 1);
    reopen(b);
    assert_int_equal(store_mailbox_get(b->reader, alice, 0, &info), BRANT_OK);
    assert_int_equal(info.recent_from, info.uidnext);
    assert_int_equal(store_recent_claim(b->reader, alice, 0, &from), BRANT_OK);
    assert_int_equal(from, 0);
}

/* Counted from every UID, in mailboxes with and without holes. */
static void counts(void **state)
{
    struct bench *b = *state;
    uint64_t alice = account(b, "alice@brant.test");

    deliver(b, "alice@brant.test", 12);
    for (uint32_t hole = 0; hole < 12; hole++) {
        struct store_entry entries[20];
        size_t found;

        if (hole)
            change(b, STORE_OP_EXPUNGE, alice, hole * 5 % 13, hole * 5 % 13, 0, 0);
        assert_int_equal(store_entries_list(b->reader, alice, 0, 0, entries, 20, &found), BRANT_OK);
        for (uint32_t uid = 0; uid < 20; uid++) {
            uint32_t count, expected = 0;

            for (size_t i = 0; i < found; i++)
                expected += entries[i].uid >= uid;
            assert_int_equal(store_count_from(b->reader, alice, 0, uid, &count), BRANT_OK);
            assert_int_equal(count, expected);
        }
    }
}

static void structures(void **state)
{
    struct bench *b = *state;
    uint64_t alice = account(b, "alice@brant.test");
    struct store_range all = {1, UINT32_MAX};
    struct store_entries_query q = {
        .ranges = &all, .range_count = 1, .structures = true, .structure_bytes = 1 << 20};
    struct span none = SPAN_NONE;
    struct store_rcpt rcpt = {.address = SPAN_LIT("alice@brant.test")};
    struct store_op op = {
        .kind = STORE_OP_COMMIT,
        .commit = {.id = {77}, .prefixes = &none, .prefix_count = 1, .rcpts = &rcpt, .rcpt_count = 1}};
    uint8_t large[20000];
    struct store_entry e[10];
    struct arena arena;
    uint32_t done_to;
    size_t count;

    memset(large, 'L', sizeof large);
    deliver(b, "alice@brant.test", 2);
    op.commit.structure = span_make(large, sizeof large);
    op.commit.body = bench_body(b, span_make(large, sizeof large)); /* in a file */
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    op.commit.id[1] = 1;
    op.commit.structure = SPAN_NONE;
    op.commit.body = bench_body(b, SPAN_LIT("none"));
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    arena_init(&arena, 1 << 20);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(store_entries_read(b->reader, alice, 0, &q, &arena, e, 10, &count, &done_to),
                         BRANT_OK);
        assert_int_equal(count, 4);
        assert_int_equal(done_to, UINT32_MAX);
        assert_int_equal(e[2].structure.len, sizeof large);
        assert_memory_equal(e[2].structure.p, large, sizeof large);
        assert_int_equal(e[3].structure.len, 0);
        assert_true(span_starts(e[1].structure, SPAN_LIT("structure ")));
        store_compact(b->st, true);
        bench_settle(b);
    }
    q.structure_bytes = sizeof large;
    assert_int_equal(store_entries_read(b->reader, alice, 0, &q, &arena, e, 10, &count, &done_to), BRANT_OK);
    assert_int_equal(count, 2);
    assert_int_equal(done_to, 2);
    all.first = 3;
    q.structure_bytes = 5;
    assert_int_equal(store_entries_read(b->reader, alice, 0, &q, &arena, e, 10, &count, &done_to), BRANT_OK);
    assert_int_equal(count, 2); /* one, and one that has none */
    arena_done(&arena);
    arena_init(&arena, 10000);
    assert_int_equal(store_entries_read(b->reader, alice, 0, &q, &arena, e, 10, &count, &done_to),
                     BRANT_ELIMIT);
    all.first = 1;
    q.structure_bytes = 1 << 20;
    assert_int_equal(store_entries_read(b->reader, alice, 0, &q, &arena, e, 10, &count, &done_to), BRANT_OK);
    assert_int_equal(count, 2);
    arena_done(&arena);
}

/* ---- Names
 * -----------------------------------------------------------------------------------------------------------------
 */

static uint64_t mailbox(struct bench *b, uint64_t account, enum store_mailbox_action action, const char *name,
                        uint32_t uses)
{
    struct store_op op = {
        .kind = STORE_OP_MAILBOX,
        .mailbox = {.account = account, .action = (uint8_t)action, .name = span_str(name), .uses = uses}};

    assert_int_equal(bench_run(b, &op), BRANT_OK);
    return op.mailbox.mailbox;
}

/* "name" a mailbox, "name+" subscribed to as well, "-name" only that; in slices of `max`. */
static void list_says(struct bench *b, uint64_t account, size_t max, const char *expected)
{
    _cleanup_buf_ struct buf said;
    struct store_mailbox_row rows[10];
    struct span after = SPAN_NONE;
    struct arena arena;
    size_t count;

    buf_init(&said, 1000);
    arena_init(&arena, 10000);
    do {
        assert_int_equal(store_mailboxes_list(b->reader, account, after, &arena, rows, max, &count),
                         BRANT_OK);
        for (size_t i = 0; i < count; i++) {
            (void)buf_printf(&said, " %s%.*s%s", rows[i].exists ? "" : "-", SPAN_ARG(rows[i].name),
                             rows[i].exists && rows[i].subscribed ? "+" : "");
            assert_int_equal(rows[i].info.mailbox != 0, rows[i].exists);
        }
        if (count)
            after = rows[count - 1].name;
    } while (count == max);
    assert_string_equal(buf_cstr(&said), expected);
    arena_done(&arena);
}

static void names(void **state)
{
    static const struct span words[] = {{(const uint8_t *)"$Junk", 5}, {(const uint8_t *)"Later", 5}};
    struct bench *b = *state;
    uint64_t alice = account(b, "alice@brant.test"), sent;
    struct store_range one = {1, 1};
    struct store_op op = {.kind = STORE_OP_FLAGS,
                          .change = {.account = alice,
                                     .ranges = &one,
                                     .range_count = 1,
                                     .action = STORE_FLAGS_ADD,
                                     .keywords = {.names = words, .count = 2}}};
    char text[STORE_KEYWORDS_TEXT_MAX + 1];
    struct store_mailbox_row row;
    struct store_mailbox_info info;
    struct arena arena;
    size_t count = 9;

    list_says(b, alice, 1, " INBOX");
    sent = mailbox(b, alice, STORE_MAILBOX_CREATE, "Sent", 4);
    mailbox(b, alice, STORE_MAILBOX_CREATE, "a b", 0);
    mailbox(b, alice, STORE_MAILBOX_CREATE, "a/c", 0);
    mailbox(b, alice, STORE_MAILBOX_SUBSCRIBE, "a/c", 0);
    mailbox(b, alice, STORE_MAILBOX_SUBSCRIBE, "a/a", 0);
    mailbox(b, alice, STORE_MAILBOX_SUBSCRIBE, "zz", 0);
    for (int round = 0; round < 2; round++) {
        for (size_t max = 1; max <= 10; max++)
            list_says(b, alice, max, " INBOX Sent a -a/a a/c+ a b -zz");
        assert_int_equal(store_mailbox_find(b->reader, alice, SPAN_LIT("Sent"), &info), BRANT_OK);
        assert_int_equal(info.mailbox, sent);
        assert_int_equal(info.uses, 4);
        assert_int_equal(store_mailbox_find(b->reader, alice, SPAN_LIT("zz"), &info), BRANT_ENOTFOUND);
        assert_int_equal(store_mailbox_find(b->reader, 99, SPAN_LIT("Sent"), &info), BRANT_ENOTFOUND);
        reopen(b);
    }
    arena_init(&arena, 3);
    assert_int_equal(store_mailboxes_list(b->reader, alice, SPAN_NONE, &arena, &row, 1, &count),
                     BRANT_ELIMIT);
    assert_int_equal(store_mailboxes_list(b->reader, 99, SPAN_NONE, &arena, &row, 1, &count),
                     BRANT_ENOTFOUND);
    arena_done(&arena);

    assert_int_equal(store_keywords_get(b->reader, alice, 0, text, &count), BRANT_OK);
    assert_string_equal(text, "");
    assert_int_equal(count, 0);
    deliver(b, "alice@brant.test", 1);
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(store_keywords_get(b->reader, alice, 0, text, &count), BRANT_OK);
        assert_string_equal(text, "$Junk Later");
        assert_int_equal(count, 2);
        reopen(b);
    }
    assert_int_equal(store_keywords_get(b->reader, alice, 99, text, &count), BRANT_ENOTFOUND);
}

/* ---- News
 * -----------------------------------------------------------------------------------------------------------------
 */

struct heard {
    uint64_t mailbox, modseq;
    size_t count;
};

static void hear(void *ctx, uint64_t mailbox, uint64_t modseq)
{
    struct heard *h = ctx;

    h->mailbox = mailbox;
    h->modseq = modseq;
    h->count++;
}

static void news(void **state)
{
    struct bench *b = *state;
    uint64_t alice = account(b, "alice@brant.test"), bob = account(b, "bob@brant.test");
    struct store_op op = {.kind = STORE_OP_ACCOUNT_REMOVE,
                          .account = {.address = SPAN_LIT("bob@brant.test")}};
    struct store_mailbox_info of_alice, of_bob;
    struct heard h = {0};
    uint64_t gone;

    store_on_news(b->st, hear, &h);
    assert_int_equal(store_mailbox_get(b->reader, alice, 0, &of_alice), BRANT_OK);
    assert_int_equal(store_mailbox_get(b->reader, bob, 0, &of_bob), BRANT_OK);
    deliver(b, "alice@brant.test", 2);
    bench_settle(b);
    assert_int_equal(h.count, 0);
    assert_int_equal(store_watch(b->st, alice, of_bob.mailbox), BRANT_ENOTFOUND);
    assert_int_equal(store_watch(b->st, alice, of_alice.mailbox), BRANT_OK);
    assert_int_equal(store_watch(b->st, alice, of_alice.mailbox), BRANT_OK);
    assert_int_equal(store_watch(b->st, bob, of_bob.mailbox), BRANT_OK);
    deliver(b, "alice@brant.test", 2);
    change(b, STORE_OP_FLAGS, alice, 1, 2, STORE_FLAGS_ADD, STORE_FLAG_SEEN);
    assert_int_equal(store_mailbox_get(b->reader, alice, 0, &of_alice), BRANT_OK);
    assert_int_equal(h.mailbox, of_alice.mailbox);
    assert_int_equal(h.modseq, of_alice.modseq);
    assert_in_range(h.count, 1, 2); /* of three records */
    h = (struct heard){0};
    change(b, STORE_OP_FLAGS, alice, 1, 2, STORE_FLAGS_ADD, STORE_FLAG_SEEN); /* nothing */
    store_compact(b->st, true); /* what is written again is no news */
    bench_settle(b);
    assert_int_equal(h.count, 0);
    store_unwatch(b->st, of_alice.mailbox);
    change(b, STORE_OP_EXPUNGE, alice, 1, 1, 0, 0);
    bench_settle(b);
    assert_int_equal(h.count, 1);
    store_unwatch(b->st, of_alice.mailbox);
    store_unwatch(b->st, of_alice.mailbox);
    change(b, STORE_OP_EXPUNGE, alice, 2, 2, 0, 0);
    bench_settle(b);
    assert_int_equal(h.count, 1);
    assert_int_equal(bench_run(b, &op), BRANT_OK);
    bench_settle(b);
    assert_int_equal(h.count, 2);
    assert_int_equal(h.mailbox, of_bob.mailbox);
    assert_int_equal(h.modseq, UINT64_MAX);
    store_unwatch(b->st, of_bob.mailbox);
    assert_int_equal(store_watch(b->st, bob, of_bob.mailbox), BRANT_ENOTFOUND);

    h = (struct heard){0};
    gone = mailbox(b, alice, STORE_MAILBOX_CREATE, "gone", 0);
    assert_int_equal(store_watch(b->st, alice, gone), BRANT_OK);
    mailbox(b, alice, STORE_MAILBOX_DELETE, "gone", 0);
    assert_int_equal(store_watch(b->st, alice, gone), BRANT_ENOTFOUND);
    bench_settle(b);
    assert_int_equal(h.count, 1);
    assert_int_equal(h.mailbox, gone);
    assert_int_equal(h.modseq, UINT64_MAX);
}

/* ---- What is forgotten
 * -----------------------------------------------------------------------------------------------------------
 */

static void forgotten(void **state)
{
    struct bench *b = *state;
    uint64_t alice = account(b, "alice@brant.test"), floor;
    struct store_range r[9], all = {1, UINT32_MAX};
    struct store_range_list list = {.r = r, .max = 9};
    struct store_mailbox_info info;
    uint32_t done_to;

    retain(b, 10000);
    deliver(b, "alice@brant.test", 9);
    change(b, STORE_OP_EXPUNGE, alice, 2, 3, 0, 0);
    assert_int_equal(store_mailbox_get(b->reader, alice, 0, &info), BRANT_OK);
    floor = info.modseq;
    b->now_ms += 20000;
    change(b, STORE_OP_EXPUNGE, alice, 5, 5, 0, 0);
    for (int round = 0; round < 4; round++) {
        if (round == 1) {
            store_compact(b->st, true);
            bench_settle(b);
        } else if (round == 2) {
            reopen(b);
        } else if (round == 3) {
            assert_true(bench_same_after_rebuild(b, true));
        }
        assert_int_equal(gone_floor(b, alice), round ? floor : 0);
        assert_int_equal(store_vanished(b->reader, alice, 0, &all, 1, floor, &list, &done_to), BRANT_OK);
        assert_int_equal(list.count, 1);
        assert_int_equal(r[0].first, 5);
        assert_int_equal(r[0].last, 5);
        assert_int_equal(store_vanished(b->reader, alice, 0, &all, 1, floor - 1, &list, &done_to), BRANT_OK);
        assert_int_equal(list.count, 2);
        assert_int_equal(r[0].first, 2);
        assert_int_equal(r[0].last, 3);
    }
    b->now_ms += 20000;
    store_compact(b->st, true);
    bench_settle(b);
    assert_int_equal(gone_floor(b, alice), floor + 1);
    assert_true(bench_same_after_rebuild(b, true));
}

/* ---- A large mailbox: nothing costs what it is large
 * -------------------------------------------------------------------------------------------- */

enum { LARGE = 200000 };

/* Straight into the index; `changed`: as if all had been changed after they came. */
static uint64_t make_large(struct bench *b, uint64_t account, bool changed, uint32_t unseen_from)
{
    struct store_mailbox_info info;
    char sql[900];

    assert_int_equal(store_mailbox_get(b->reader, account, 0, &info), BRANT_OK);
    (void)snprintf(sql, sizeof sql,
                   "INSERT INTO entry(mailbox,uid,message,variant,size,flags,modseq,time_ms,rec_seq,saved_ms)"
                   " WITH RECURSIVE c(u) AS (SELECT 1 UNION ALL SELECT u+1 FROM c WHERE u<%d)"
                   " SELECT %llu,u,1000000+u,0,1,u<%u,1+u,0,1000000+u+%d,0 FROM c;"
                   "UPDATE mailbox SET messages=%d,bytes=%d,uidnext=%d,modseq=%d,unseen=%u WHERE id=%llu",
                   LARGE, (unsigned long long)info.mailbox, unseen_from, changed, LARGE, LARGE, LARGE + 1,
                   LARGE + 1, LARGE + 1 - unseen_from, (unsigned long long)info.mailbox);
    assert_int_equal(sqlite3_exec(b->st->applier.ix->db, sql, NULL, NULL, NULL), SQLITE_OK);
    reopen(b);
    return info.mailbox;
}

static int count_step(void *ctx)
{
    ++*(uint64_t *)ctx;
    return 0;
}

/* How many tens of steps SQLite makes for the reader from now on. */
static uint64_t *count_steps(struct bench *b)
{
    static uint64_t steps;

    steps = 0;
    sqlite3_progress_handler(b->reader->ix->db, 10, count_step, &steps);
    return &steps;
}

/* How far somebody who asks for changes has come. */
struct asker {
    uint64_t modseq;
    uint32_t uidnext;
};

static void ask_changes(struct bench *b, uint64_t account, struct asker *s, uint64_t steps_max,
                        struct store_changes *c)
{
    static struct store_range arrived[4], vanished[4];
    uint64_t *steps = count_steps(b);

    *c = (struct store_changes){.modseq = s->modseq,
                                .uid = s->uidnext,
                                .want_vanished = true,
                                .vanished_modseq = s->modseq,
                                .vanished_from = 1,
                                .arrived = {.r = arrived, .max = 4},
                                .vanished = {.r = vanished, .max = 4}};
    assert_int_equal(store_changes(b->reader, account, 0, c), BRANT_OK);
    assert_in_range(*steps, 0, steps_max);
    assert_false(c->more);
    s->modseq = c->now_modseq;
    s->uidnext = c->uidnext;
}

static void large_changes(void **state)
{
    struct bench *b = *state;
    struct asker s = {LARGE + 1, LARGE + 1};
    uint64_t alice = account(b, "alice@brant.test");
    struct store_changes c;

    (void)make_large(b, alice, true, 1);
    ask_changes(b, alice, &s, 20, &c); /* nothing */
    assert_int_equal(c.arrived.count + c.vanished.count + c.flags_changed, 0);
    deliver(b, "alice@brant.test", 3);
    ask_changes(b, alice, &s, 20, &c);
    assert_int_equal(c.arrived.count, 1);
    assert_int_equal(c.arrived.r[0].first, LARGE + 1);
    assert_int_equal(c.arrived.r[0].last, LARGE + 3);
    assert_int_equal(c.vanished.count + c.flags_changed, 0);
    change(b, STORE_OP_EXPUNGE, alice, 70, 71, 0, 0);
    ask_changes(b, alice, &s, 20, &c);
    assert_int_equal(c.vanished.count, 1);
    assert_int_equal(c.vanished.r[0].last, 71);
    assert_int_equal(c.arrived.count + c.flags_changed, 0);
    change(b, STORE_OP_FLAGS, alice, 300, 301, STORE_FLAGS_ADD, STORE_FLAG_FLAGGED);
    ask_changes(b, alice, &s, 20, &c);
    assert_int_equal(c.vanished.count + c.arrived.count, 0);
    assert_true(c.flags_changed);
}

static void large_since(void **state)
{
    struct bench *b = *state;
    uint64_t alice = account(b, "alice@brant.test"), *steps;

    for (int changed = 0; changed < 2; changed++) {
        struct store_range all = {1, UINT32_MAX};
        struct store_entries_query q = {.ranges = &all, .range_count = 1, .modseq = LARGE + 1};
        struct store_entry e[20];
        uint32_t done_to;
        size_t count;

        if (changed)
            alice = account(b, "bob@brant.test");
        (void)make_large(b, alice, changed, 1);
        change(b, STORE_OP_FLAGS, alice, 1000, 1009, STORE_FLAGS_ADD, STORE_FLAG_FLAGGED);
        steps = count_steps(b);
        assert_int_equal(store_entries_read(b->reader, alice, 0, &q, NULL, e, 20, &count, &done_to),
                         BRANT_OK);
        assert_int_equal(count, 10);
        assert_int_equal(done_to, UINT32_MAX);
        assert_in_range(*steps, 0, 200);
        q.modseq = LARGE - 99; /* those that came last as well */
        all.first = 2000;
        assert_int_equal(store_entries_read(b->reader, alice, 0, &q, NULL, e, 20, &count, &done_to),
                         BRANT_OK);
        assert_int_equal(count, 20);
        assert_int_equal(e[0].uid, LARGE - 99);
        assert_int_equal(done_to, LARGE - 80);
        assert_in_range(*steps, 0, 500);
    }
}

static void large_uids(void **state)
{
    struct bench *b = *state;
    uint64_t alice = account(b, "alice@brant.test"), *steps;
    struct store_range r[10];
    struct store_range_list list = {.r = r, .max = 10};
    uint32_t done_to = 0, calls = 0, count;

    (void)make_large(b, alice, true, 1);
    steps = count_steps(b);
    assert_int_equal(store_uids_list(b->reader, alice, 0, 1, UINT32_MAX, &list, &done_to), BRANT_OK);
    assert_int_equal(list.count, 1);
    assert_int_equal(done_to, UINT32_MAX);
    assert_int_equal(store_count_from(b->reader, alice, 0, LARGE / 2 + 1, &count), BRANT_OK);
    assert_int_equal(count, LARGE / 2);
    assert_in_range(*steps, 0, 20);
    change(b, STORE_OP_EXPUNGE, alice, 100001, 100001, 0, 0);
    for (done_to = 0; done_to < UINT32_MAX; calls++) {
        assert_int_equal(store_uids_list(b->reader, alice, 0, done_to + 1, UINT32_MAX, &list, &done_to),
                         BRANT_OK);
        assert_true(list.count <= 2);
    }
    assert_int_equal(calls, LARGE / QUERY_UIDS_MAX + 1);
    assert_int_equal(store_count_from(b->reader, alice, 0, LARGE - 9, &count), BRANT_OK);
    assert_int_equal(count, 10);
    assert_int_equal(store_count_from(b->reader, alice, 0, 11, &count), BRANT_OK);
    assert_int_equal(count, LARGE - 11);
}

struct meanwhile {
    struct bench *b;
    uint64_t account;
    bool done;
};

static int unsee_meanwhile(void *ctx)
{
    struct meanwhile *m = ctx;

    if (!m->done) {
        m->done = true;
        change(m->b, STORE_OP_FLAGS, m->account, 7, 7, STORE_FLAGS_REMOVE, STORE_FLAG_SEEN);
    }
    return 0;
}

/* A message loses \\Seen behind the back of who looks for the first one without it. */
static void large_unseen_meanwhile(void **state)
{
    struct bench *b = *state;
    struct meanwhile m = {.b = b, .account = account(b, "alice@brant.test")};
    uint32_t uid = 0;

    (void)make_large(b, m.account, true, LARGE - 1);
    sqlite3_progress_handler(b->reader->ix->db, 100000, unsee_meanwhile, &m);
    assert_int_equal(store_first_unseen(b->reader, m.account, 0, &uid), BRANT_OK);
    assert_true(m.done);
    assert_int_equal(store_first_unseen(b->reader, m.account, 0, &uid), BRANT_OK);
    assert_int_equal(uid, 7);
}

static void large_unseen(void **state)
{
    struct bench *b = *state;
    uint64_t alice = account(b, "alice@brant.test"), *steps;
    uint32_t uid = 0;

    (void)make_large(b, alice, true, LARGE - 1);
    assert_int_equal(store_first_unseen(b->reader, alice, 0, &uid), BRANT_OK);
    assert_int_equal(uid, LARGE - 1);
    steps = count_steps(b);
    change(b, STORE_OP_FLAGS, alice, LARGE - 1, LARGE - 1, STORE_FLAGS_ADD, STORE_FLAG_SEEN);
    assert_int_equal(store_first_unseen(b->reader, alice, 0, &uid), BRANT_OK);
    assert_int_equal(uid, LARGE);
    change(b, STORE_OP_EXPUNGE, alice, LARGE, LARGE, 0, 0);
    assert_int_equal(store_first_unseen(b->reader, alice, 0, &uid), BRANT_OK);
    assert_int_equal(uid, 0);
    change(b, STORE_OP_FLAGS, alice, 5, 5, STORE_FLAGS_REMOVE, STORE_FLAG_SEEN);
    assert_int_equal(store_first_unseen(b->reader, alice, 0, &uid), BRANT_OK);
    assert_int_equal(uid, 5);
    assert_in_range(*steps, 0, 50);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(nothing_there), T(recent),     T(counts),       T(structures),
        T(names),         T(news),       T(forgotten),    T(large_changes),
        T(large_since),   T(large_uids), T(large_unseen), T(large_unseen_meanwhile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
