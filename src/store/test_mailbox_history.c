/* Reading mailboxes over random histories: against what the plain list of entries says, in slices of every
 * size; a session that follows as the IMAP engine does. */
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "store/testing_reads.h"

/* ---- What the plain list says
 * -------------------------------------------------------------------------------------------------- */

enum { MODEL_MAX = 4096 };

struct model {
    struct store_entry entries[MODEL_MAX];
    size_t count;
    uint32_t uidnext;
    uint64_t modseq;
    uint64_t gone_at[MODEL_MAX]; /* by UID: MODSEQ at which it was missed first; 0: never */
    bool there[MODEL_MAX];
};

static void model_update(struct bench *b, uint64_t account, struct model *m)
{
    struct store_mailbox_info info;
    bool there[MODEL_MAX] = {0};

    assert_int_equal(store_mailbox_get(b->reader, account, 0, &info), BRANT_OK);
    assert_int_equal(store_entries_list(b->reader, account, 0, 0, m->entries, MODEL_MAX, &m->count),
                     BRANT_OK);
    m->uidnext = info.uidnext;
    m->modseq = info.modseq;
    assert_true(m->uidnext < MODEL_MAX);
    for (size_t i = 0; i < m->count; i++)
        there[m->entries[i].uid] = true;
    for (uint32_t uid = 1; uid < m->uidnext; uid++) {
        if (m->there[uid] && !there[uid])
            m->gone_at[uid] = m->modseq;
    }
    memcpy(m->there, there, sizeof there);
}

static bool in_ranges(const struct store_range *ranges, size_t count, uint32_t uid)
{
    for (size_t i = 0; i < count; i++) {
        if (uid >= ranges[i].first && uid <= ranges[i].last)
            return true;
    }
    return false;
}

/* What is left of ranges behind a UID. */
static size_t rest_of(struct store_range *ranges, size_t count, uint32_t done_to)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        if (ranges[i].last <= done_to)
            continue;
        ranges[kept] = ranges[i];
        if (ranges[kept].first <= done_to)
            ranges[kept].first = done_to + 1;
        kept++;
    }
    return kept;
}

static void check_entries(struct bench *b, uint64_t account, const struct model *m,
                          const struct store_entries_query *asked, size_t max)
{
    struct store_range ranges[64];
    struct store_entries_query q = *asked;
    struct store_entry found[64];
    uint32_t done_to = 0;
    size_t at = 0, calls = 0;
    struct arena arena;

    arena_init(&arena, 1 << 20);
    memcpy(ranges, asked->ranges, asked->range_count * sizeof *ranges);
    q.ranges = ranges;
    while (done_to != UINT32_MAX) {
        size_t count = 0;
        uint32_t before = done_to;

        assert_int_equal(store_entries_read(b->reader, account, 0, &q, &arena, found, max, &count, &done_to),
                         BRANT_OK);
        assert_true(count <= max);
        assert_true(done_to > before);
        for (size_t i = 0; i < count; i++) {
            const struct store_entry *e;

            for (;; at++) {
                assert_true(at < m->count);
                e = &m->entries[at];
                if (in_ranges(asked->ranges, asked->range_count, e->uid) &&
                    (e->flags & q.flags_all) == q.flags_all && !(e->flags & q.flags_none) &&
                    e->modseq > q.modseq)
                    break;
            }
            at++;
            assert_int_equal(found[i].uid, e->uid);
            assert_int_equal(found[i].flags, e->flags);
            assert_int_equal(found[i].modseq, e->modseq);
            assert_int_equal(found[i].message, e->message);
            assert_true(found[i].uid > before && found[i].uid <= done_to);
            assert_int_equal(found[i].structure.len > 0, q.structures);
        }
        q.range_count = rest_of(ranges, q.range_count, done_to);
        assert_true(++calls < 100000);
    }
    for (; at < m->count; at++) {
        const struct store_entry *e = &m->entries[at];

        assert_false(in_ranges(asked->ranges, asked->range_count, e->uid) &&
                     (e->flags & q.flags_all) == q.flags_all && !(e->flags & q.flags_none) &&
                     e->modseq > q.modseq);
    }
    arena_done(&arena);
}

static uint32_t roll(struct bench *b, uint32_t below)
{
    uint32_t n;

    bench_random(b, &n, sizeof n);
    return below ? n % below : 0;
}

/* Often one of the last. */
static uint64_t random_modseq(struct bench *b, const struct model *m)
{
    uint64_t back = roll(b, roll(b, 2) ? 4 : (uint32_t)m->modseq + 1);

    return back < m->modseq ? m->modseq - back : 0;
}

static size_t random_ranges(struct bench *b, uint32_t uidnext, struct store_range *ranges)
{
    size_t count = 0, want = roll(b, 3) ? 1 + roll(b, 8) : 1;
    uint64_t at = roll(b, 4) ? 1 : roll(b, uidnext);

    while (count < want && at < uidnext + 10) {
        uint32_t first = (uint32_t)at + roll(b, 5), last = first + roll(b, uidnext / (uint32_t)want + 2);

        ranges[count++] = (struct store_range){first, last};
        at = (uint64_t)last + 1 + roll(b, 4);
    }
    if (count && !roll(b, 4))
        ranges[count - 1].last = UINT32_MAX;
    return count;
}

static void check_some(struct bench *b, uint64_t account, const struct model *m)
{
    static const uint64_t flags[] = {0, 0, STORE_FLAG_SEEN, STORE_FLAG_DELETED};
    struct store_range ranges[16];
    struct store_entries_query q = {.ranges = ranges,
                                    .flags_all = flags[roll(b, 4)],
                                    .flags_none = flags[roll(b, 4)],
                                    .modseq = roll(b, 4) ? random_modseq(b, m) : 0,
                                    .structures = !roll(b, 4),
                                    .structure_bytes = roll(b, 100)};

    q.range_count = random_ranges(b, m->uidnext, ranges);
    check_entries(b, account, m, &q, 1 + roll(b, 20));
}

static void check_uids(struct bench *b, uint64_t account, const struct model *m)
{
    struct store_range found[64] = {{0}};
    uint32_t first = roll(b, m->uidnext + 2), last = roll(b, 2) ? UINT32_MAX : first + roll(b, m->uidnext),
             done_to = first ? first - 1 : 0, uid = first;

    while (done_to < last) {
        struct store_range_list list = {.r = found, .max = 1 + roll(b, 8)};

        assert_int_equal(store_uids_list(b->reader, account, 0, done_to + 1, last, &list, &done_to),
                         BRANT_OK);
        for (size_t i = 0; i < list.count; i++) {
            for (; uid < found[i].first; uid++)
                assert_false(uid < m->uidnext && m->there[uid]);
            for (; uid <= found[i].last; uid++)
                assert_true(uid < m->uidnext && m->there[uid]);
        }
    }
    for (; uid < m->uidnext && uid <= last; uid++)
        assert_false(m->there[uid]);
}

/* As it was, or, where that is forgotten, the gaps. */
static void check_vanished(struct bench *b, uint64_t account, const struct model *m)
{
    struct store_range ranges[16], found[64] = {{0}}, rest[16];
    size_t count = random_ranges(b, m->uidnext, ranges), left = count;
    uint64_t modseq = random_modseq(b, m);
    bool gone[MODEL_MAX] = {0};
    uint32_t done_to = 0;

    memcpy(rest, ranges, sizeof rest);
    while (done_to != UINT32_MAX) {
        struct store_range_list list = {.r = found, .max = 1 + roll(b, 8)};
        uint32_t before = done_to;

        assert_int_equal(store_vanished(b->reader, account, 0, rest, left, modseq, &list, &done_to),
                         BRANT_OK);
        assert_true(done_to > before);
        for (size_t i = 0; i < list.count; i++) {
            assert_true(found[i].first > before && found[i].last <= done_to);
            for (uint32_t uid = found[i].first; uid <= found[i].last; uid++)
                gone[uid] = true;
        }
        left = rest_of(rest, left, done_to);
    }
    for (uint32_t uid = 1; uid < m->uidnext; uid++) {
        bool expected = modseq >= gone_floor(b, account) ? m->gone_at[uid] > modseq
                                                         : modseq < m->modseq && !m->there[uid];

        assert_int_equal(gone[uid], expected && in_ranges(ranges, count, uid));
    }
}

static void check_unseen(struct bench *b, uint64_t account, const struct model *m)
{
    uint32_t uid = 99, expected = 0;

    for (size_t i = 0; i < m->count && !expected; i++)
        expected = m->entries[i].flags & STORE_FLAG_SEEN ? 0 : m->entries[i].uid;
    assert_int_equal(store_first_unseen(b->reader, account, 0, &uid), BRANT_OK);
    assert_int_equal(uid, expected);
}

/* Now and then somebody takes what is recent. */
static void check_recent(struct bench *b, uint64_t account, const struct model *m)
{
    struct store_mailbox_info info;
    uint32_t expected = 0, from;

    assert_int_equal(store_mailbox_get(b->reader, account, 0, &info), BRANT_OK);
    for (size_t i = 0; i < m->count; i++)
        expected += m->entries[i].uid >= info.recent_from;
    assert_int_equal(info.recent, expected);
    if (roll(b, 8))
        return;
    assert_int_equal(store_recent_claim(b->reader, account, 0, &from), BRANT_OK);
    assert_int_equal(from, info.recent_from < m->uidnext ? info.recent_from : 0);
}

/* ---- A random history
 * ---------------------------------------------------------------------------------------------------------------
 */

/* Into the mailbox itself: messages that are new, and not as they were delivered. */
static void copy(struct bench *b, uint64_t account, uint32_t first, uint32_t last)
{
    struct store_range range = {first, last};
    struct store_op op = {.kind = STORE_OP_COPY,
                          .change = {.account = account,
                                     .ranges = &range,
                                     .range_count = 1,
                                     .target = dir_account(&b->st->dir, account)->inbox}};

    assert_int_equal(bench_run(b, &op), BRANT_OK);
}

static void append(struct bench *b, uint64_t account, size_t count)
{
    struct store_appended messages[3] = {{0}};
    struct store_op op = {.kind = STORE_OP_APPEND,
                          .append = {.account = account, .messages = messages, .count = count}};

    for (size_t i = 0; i < count; i++) {
        messages[i].body = bench_body(b, SPAN_LIT("x"));
        messages[i].structure = SPAN_LIT("structure");
        messages[i].flags = roll(b, 32);
    }
    assert_int_equal(bench_run(b, &op), BRANT_OK);
}

static void random_change(struct bench *b, uint64_t account, const struct model *m)
{
    uint32_t first = 1 + roll(b, m->uidnext), last = first + roll(b, roll(b, 3) ? 6 : m->uidnext / 3 + 1);

    switch (roll(b, 10)) {
    case 0:
    case 1:
        deliver(b, "alice@brant.test", 1 + roll(b, 12));
        break;
    case 2:
        change(b, STORE_OP_EXPUNGE, account, first, last, 0, 0);
        break;
    case 3:
        b->now_ms += 1000;
        store_compact(b->st, true);
        bench_settle(b);
        break;
    case 5:
        copy(b, account, first, first + roll(b, 5));
        break;
    case 6:
        append(b, account, 1 + roll(b, 3));
        break;
    case 4:
        if (!roll(b, 3))
            reopen(b);
        break;
    default:
        change(b, STORE_OP_FLAGS, account, first, last, (uint8_t)roll(b, 3),
               roll(b, 2) ? STORE_FLAG_SEEN : STORE_FLAG_DELETED | STORE_FLAG_SEEN);
    }
}

static void random_history(void **state)
{
    struct bench *b = *state;
    struct model *m = mem_zalloc(sizeof *m);
    uint64_t alice = account(b, "alice@brant.test");

    for (int i = 0; i < 400; i++) {
        if (i == 200)
            retain(b, 3000);
        random_change(b, alice, m);
        b->reader->rows_max = 1 + roll(b, 40);
        b->reader->uids_max = 1 + roll(b, 40);
        b->reader->block_uids = 1 + roll(b, 8);
        b->reader->many_mailbox = 0;
        b->reader->sorted_max = roll(b, 3) ? QUERY_SORTED_MAX : roll(b, 40);
        model_update(b, alice, m);
        for (int j = 0; j < 4; j++) {
            check_some(b, alice, m);
            check_uids(b, alice, m);
            check_vanished(b, alice, m);
            check_unseen(b, alice, m);
            check_recent(b, alice, m);
        }
    }
    assert_true(gone_floor(b, alice) > 0);
    assert_true(bench_same_after_rebuild(b, true));
    free(m);
}

/* ---- A session that follows
 * -----------------------------------------------------------------------------------------------------------
 */

struct session {
    bool there[MODEL_MAX];
    uint64_t flags[MODEL_MAX];
    uint64_t modseq, vanished_modseq;
    uint32_t uidnext;
};

static void session_flags(struct bench *b, uint64_t account, struct session *s, struct store_range range,
                          uint64_t since)
{
    struct store_entries_query q = {.ranges = &range, .range_count = 1, .modseq = since};

    while (range.first && range.first <= range.last) {
        struct store_entry found[10];
        uint32_t done_to;
        size_t count;

        assert_int_equal(store_entries_read(b->reader, account, 0, &q, NULL, found, 10, &count, &done_to),
                         BRANT_OK);
        for (size_t i = 0; i < count; i++)
            s->flags[found[i].uid] = found[i].flags;
        range.first = done_to + 1;
    }
}

static void session_arrived(struct bench *b, uint64_t account, struct session *s,
                            const struct store_changes *c)
{
    for (size_t i = 0; i < c->arrived.count; i++) {
        session_flags(b, account, s, c->arrived.r[i], 0);
        for (uint32_t uid = c->arrived.r[i].first; uid <= c->arrived.r[i].last; uid++) {
            assert_true(uid >= s->uidnext && uid < c->uidnext);
            s->there[uid] = true;
        }
    }
    s->uidnext = c->uidnext;
}

static void session_vanished(struct session *s, const struct store_changes *c)
{
    for (size_t i = 0; i < c->vanished.count; i++) {
        for (uint32_t uid = c->vanished.r[i].first; uid <= c->vanished.r[i].last; uid++) {
            assert_true(uid < s->uidnext);
            s->there[uid] = false;
        }
    }
}

/* As the IMAP engine does it; other things may happen between the slices. */
static void session_sync(struct bench *b, uint64_t account, struct session *s, bool want_vanished,
                         struct model *disturbed)
{
    struct store_range arrived[16], vanished[16];
    uint64_t since = s->modseq, upto = UINT64_MAX;
    uint32_t vanished_from = 1, calls = 0, old_uidnext = s->uidnext;
    bool more = true, flags = false;

    while (more) {
        struct store_changes c = {.modseq = since,
                                  .uid = s->uidnext,
                                  .want_vanished = want_vanished,
                                  .vanished_modseq = s->vanished_modseq,
                                  .vanished_from = vanished_from,
                                  .arrived = {.r = arrived, .max = 1 + roll(b, 8)},
                                  .vanished = {.r = vanished, .max = 1 + roll(b, 8)}};

        assert_int_equal(store_changes(b->reader, account, 0, &c), BRANT_OK);
        session_vanished(s, &c);
        session_arrived(b, account, s, &c);
        if (c.now_modseq < upto)
            upto = c.now_modseq;
        if (c.vanished_to < UINT32_MAX)
            vanished_from = c.vanished_to + 1;
        flags |= c.flags_changed;
        more = c.more;
        if (more && disturbed) {
            uint32_t low = 1 + roll(b, s->uidnext), high = low + roll(b, 5);

            if (roll(b, 2))
                change(b, STORE_OP_EXPUNGE, account, low, high, 0, 0);
            else
                change(b, STORE_OP_FLAGS, account, low, high, STORE_FLAGS_REPLACE, roll(b, 32));
            model_update(b, account, disturbed);
        }
        assert_true(++calls < 10000);
    }
    if (flags)
        session_flags(b, account, s, (struct store_range){1, old_uidnext - 1}, since);
    s->modseq = upto;
    if (want_vanished)
        s->vanished_modseq = upto;
}

static void session_check(const struct session *s, const struct model *m)
{
    assert_int_equal(s->modseq, m->modseq);
    assert_int_equal(s->uidnext, m->uidnext);
    for (uint32_t uid = 1; uid < m->uidnext; uid++)
        assert_int_equal(s->there[uid], m->there[uid]);
    for (size_t i = 0; i < m->count; i++)
        assert_int_equal(s->flags[m->entries[i].uid], m->entries[i].flags);
}

static void session_follows(void **state)
{
    struct bench *b = *state;
    struct model *m = mem_zalloc(sizeof *m);
    struct session *s = mem_zalloc(sizeof *s);
    uint64_t alice = account(b, "alice@brant.test");

    s->uidnext = 1;
    model_update(b, alice, m);
    for (int i = 0; i < 300; i++) {
        if (i == 150)
            retain(b, 3000);
        for (uint32_t n = roll(b, 4); n; n--) {
            random_change(b, alice, m);
            model_update(b, alice, m);
        }
        if (!roll(b, 3)) /* the newest alone */
            change(b, STORE_OP_FLAGS, alice, m->uidnext - 1, m->uidnext, STORE_FLAGS_REPLACE, roll(b, 32));
        model_update(b, alice, m);
        b->reader->rows_max = 1 + roll(b, 40);
        b->reader->uids_max = 1 + roll(b, 40);
        b->reader->block_uids = 1 + roll(b, 8);
        b->reader->many_mailbox = 0;
        b->reader->sorted_max = roll(b, 3) ? QUERY_SORTED_MAX : roll(b, 40);
        session_sync(b, alice, s, roll(b, 2), m);
        if (roll(b, 3))
            continue;
        session_sync(b, alice, s, true, NULL);
        session_check(s, m);
    }
    free(s);
    free(m);
}

/* ---- With threads: one changes, one follows
 * -------------------------------------------------------------------------------------------- */

enum { WAVES = 60, WAVE = 20 };

struct flight {
    struct store_op op;
    struct store_rcpt rcpt;
    struct store_range range;
    _Atomic bool done;
};

struct changer {
    struct bench *b;
    uint64_t account;
    struct flight flights[WAVE];
    _Atomic bool over;
    _Atomic uint64_t heard;
};

static void landed(struct store_op *op)
{
    atomic_store(&((struct flight *)op->ctx)->done, true);
}

static void take_off(struct changer *c, struct flight *f, uint32_t number)
{
    static const struct span none = {(const uint8_t *)"", 0};
    uint32_t low = number * 7 % (number / 2 + 1) + 1;

    memset(f, 0, sizeof *f);
    f->op.done = landed;
    f->op.ctx = f;
    f->range = (struct store_range){low, low + number % 3};
    f->rcpt.address = SPAN_LIT("alice@brant.test");
    if (number % 3 == 0) {
        f->op.kind = STORE_OP_COMMIT;
        f->op.commit = (struct store_commit){.prefixes = &none,
                                             .prefix_count = 1,
                                             .rcpts = &f->rcpt,
                                             .rcpt_count = 1,
                                             .body = bench_body(c->b, SPAN_LIT("x"))};
        memcpy(f->op.commit.id, &number, sizeof number);
    } else {
        f->op.kind = number % 3 == 1 ? STORE_OP_FLAGS : STORE_OP_EXPUNGE;
        f->op.change = (struct store_change){.account = c->account,
                                             .ranges = &f->range,
                                             .range_count = 1,
                                             .action = STORE_FLAGS_REPLACE,
                                             .flags = number % 32};
    }
    store_submit(c->b->st, &f->op);
}

static void *change_main(void *arg)
{
    struct changer *c = arg;

    for (uint32_t wave = 0; wave < WAVES; wave++) {
        for (uint32_t i = 0; i < WAVE; i++)
            take_off(c, &c->flights[i], wave * WAVE + i);
        for (uint32_t i = 0; i < WAVE; i++) {
            while (!atomic_load(&c->flights[i].done))
                sched_yield();
            assert(c->flights[i].op.result == BRANT_OK);
        }
    }
    atomic_store(&c->over, true);
    return NULL;
}

static void hear_threaded(void *ctx, uint64_t mailbox, uint64_t modseq)
{
    struct changer *c = ctx;

    (void)mailbox;
    assert(modseq > atomic_load(&c->heard));
    atomic_store(&c->heard, modseq);
}

static void threads(void **state)
{
    struct bench *b = *state, follower = *b;
    struct model *m = mem_zalloc(sizeof *m);
    struct session *s = mem_zalloc(sizeof *s);
    struct changer *c = mem_zalloc(sizeof *c);
    pthread_t changer;
    uint32_t unseen;

    c->b = b;
    c->account = account(b, "alice@brant.test");
    s->uidnext = 1;
    store_on_news(b->st, hear_threaded, c);
    assert_int_equal(store_watch(b->st, c->account, 0), BRANT_OK);
    assert_int_equal(store_threads_start(b->st), BRANT_OK);
    assert_int_equal(pthread_create(&changer, NULL, change_main, c), 0);
    while (!atomic_load(&c->over)) {
        follower.reader->uids_max = 1 + roll(&follower, 20);
        follower.reader->sorted_max = roll(&follower, 20);
        session_sync(&follower, c->account, s, roll(&follower, 2), NULL);
        assert_int_equal(store_first_unseen(follower.reader, c->account, 0, &unseen), BRANT_OK);
    }
    pthread_join(changer, NULL);
    session_sync(&follower, c->account, s, true, NULL);
    model_update(&follower, c->account, m);
    session_check(s, m);
    check_unseen(&follower, c->account, m);
    for (int i = 0; i < 5000 && atomic_load(&c->heard) < m->modseq; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&c->heard), m->modseq);
    store_threads_stop(b->st);
    free(m);
    free(s);
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(random_history, set_up, tear_down),
        cmocka_unit_test_setup_teardown(session_follows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(threads, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
