/* The store on a simulated disk, with crashes: seeded, single-threaded, against a model.
 *
 * Acknowledged is present exactly once with exactly its bytes; unanswered is present once or not at all, in
 * all its mailboxes and rows of the queue or none; a UID never means two messages; quota is exact; a copy
 * that was filed is recognised; after every recovery the index equals one made anew from the journal.
 *
 *   SIM_SEEDS  how many seeds (default 100)      SIM_FIRST  the first of them (default 1)
 *   SIM_SEED   only this one                     SIM_LOG    tell what happens
 * Seeds that failed once stand in tests/sim-seeds.txt and are always played first. */
#include "store/sim_model.h"

/* ---- Comparing
 * ------------------------------------------------------------------------------------------------------ */

static bool check_bytes(struct sim *s, uint64_t account, uint64_t mailbox, const struct store_entry *e,
                        uint32_t *ret_number)
{
    _cleanup_buf_ struct buf bytes;
    uint64_t number;
    struct message *m;

    buf_init(&bytes, 1u << 20);
    if (bench_read_in(&s->b, account, mailbox, e->uid, &bytes))
        return failed(s, "a listed message can't be read");
    if (bytes.len != e->size || bytes.len < 13 ||
        span_to_u64(span_sub(buf_span(&bytes), 3, 8), MESSAGES, &number) || !number || number > s->count)
        return failed(s, "a message has the wrong size or prefix");
    m = &s->messages[number];
    if (bytes.len != 13 + m->size)
        return failed(s, "a message has the wrong length");
    for (uint32_t i = 0; i < m->size; i++) {
        if (bytes.data[13 + i] != body_byte((uint32_t)number, i))
            return failed(s, "a message has the wrong bytes");
    }
    *ret_number = (uint32_t)number;
    return true;
}

static bool check_entry(struct sim *s, size_t user, enum box box, uint64_t mailbox,
                        const struct store_entry *e)
{
    uint32_t *owner = s->users[user].owner[box], number = 0;
    struct copy *c;
    struct message *m;

    if (!check_bytes(s, s->users[user].account, mailbox, e, &number))
        return false;
    m = &s->messages[number];
    c = sim_copy_of(s, user, box, number);
    if (!c || (!m->stored && !m->doubt))
        return failed(s, "a message nobody sent there");
    if (c->gone)
        return failed(s, "an expunged message is back");
    if (c->seen)
        return failed(s, "a message is there twice");
    c->seen = true;
    if (e->uid >= UIDS || (owner[e->uid] && owner[e->uid] != number) || (c->uid && c->uid != e->uid))
        return failed(s, "a UID changed its meaning");
    if (!c->uid && box == SENT)
        c->flags = m->appended ? 0 : STORE_FLAG_SEEN;
    owner[e->uid] = number;
    c->uid = e->uid;
    if (e->flags != c->flags && !(c->flags_doubt && e->flags == c->new_flags))
        return failed(s, "wrong flags");
    c->flags = e->flags;
    c->flags_doubt = c->gone_doubt = false;
    return true;
}

static bool check_box(struct sim *s, size_t user, enum box box, uint64_t mailbox, uint64_t *bytes,
                      uint64_t *messages)
{
    struct store_entry entries[64];
    uint32_t after = 0;
    size_t count;

    do {
        if (store_entries_list(s->b.reader, s->users[user].account, mailbox, after, entries, 64, &count))
            return failed(s, "a mailbox can't be listed");
        for (size_t i = 0; i < count; i++) {
            if (!check_entry(s, user, box, mailbox, &entries[i]))
                return false;
            *bytes += entries[i].size;
            ++*messages;
            after = entries[i].uid;
        }
    } while (count == 64);
    return true;
}

static bool check_user(struct sim *s, size_t user)
{
    struct store_account_info info;
    uint64_t bytes = 0, messages = 0, sent = sim_sent_of(s, user), account;
    struct traits now;

    if (!check_box(s, user, INBOX, 0, &bytes, &messages) ||
        (sent && !check_box(s, user, SENT, sent, &bytes, &messages)))
        return false;
    if (store_account_get(s->b.st, s->users[user].account, &info) || info.used_bytes != bytes ||
        info.messages != messages)
        return failed(s, "an account's counters are wrong");
    if (!sim_traits_now(s, user, &account, &now) || account != s->users[user].account ||
        !sim_same_traits(&now, &s->users[user].traits))
        return failed(s, "an account is not as it was made");
    return true;
}

static bool check_row(struct sim *s, const struct store_queue_row *row)
{
    uint32_t number;
    struct message *m;
    char address[64];

    memcpy(&number, row->commit, sizeof number);
    m = &s->messages[number <= s->count ? number : 0];
    if (row->commit[15] != 1 || !m->row_count || (!m->stored && !m->doubt))
        return failed(s, "a row of the queue nobody made");
    (void)snprintf(address, sizeof address, "Far%u@far.test", number);
    if (m->rows[0].recipient != row->recipient || !span_eq_str_nocase(row->address, address) ||
        !span_eq_str(row->sender, "sender@sim.test") || row->bytes != 13 + m->size ||
        row->state != STORE_QUEUE_HELD)
        return failed(s, "a row of the queue is not as it was made");
    if (m->rows[0].gone)
        return failed(s, "a removed row of the queue is back");
    m->rows[0].seen = true;
    m->rows[0].gone_doubt = false;
    m->id = row->message;
    return true;
}

static bool check_queue(struct sim *s)
{
    struct store_queue_row rows[32];
    struct store_status status;
    uint64_t message = 0, total = 0;
    uint32_t recipient = 0;
    struct arena arena;
    size_t count;

    do {
        arena_init(&arena, 65536);
        if (store_queue_list(s->b.reader, SPAN_NONE, message, recipient, &arena, rows, 32, &count))
            count = (size_t)!failed(s, "the queue can't be listed") - 1;
        for (size_t i = 0; i < count && check_row(s, &rows[i]); i++) {
            message = rows[i].message;
            recipient = rows[i].recipient;
            total++;
        }
        arena_done(&arena);
    } while (count == 32 && !s->failure);
    store_status_get(s->b.st, &status);
    return !s->failure && (status.queued == total || failed(s, "the queue is miscounted"));
}

static bool account_lives(const struct sim *s, uint64_t account)
{
    for (size_t i = 0; i < USERS; i++) {
        if (s->users[i].account == account)
            return true;
    }
    return false;
}

/* What was not found: had it to be there? Counts what could be, and what is. */
static bool check_copies(struct sim *s, struct message *m, size_t *live, size_t *seen)
{
    for (size_t i = 0; i < m->copy_count; i++) {
        struct copy *c = &m->copies[i];

        if (!account_lives(s, c->account))
            continue;
        ++*live;
        *seen += c->seen;
        if (c->seen || c->gone)
            continue;
        if (m->stored && !c->gone_doubt)
            return failed(s, "an acknowledged message is lost");
        c->gone = m->stored;
        c->gone_doubt = false;
    }
    for (size_t i = 0; i < m->row_count; i++) {
        struct row *row = &m->rows[i];

        ++*live;
        *seen += row->seen;
        if (row->seen || row->gone)
            continue;
        if (m->stored && !row->gone_doubt)
            return failed(s, "an acknowledged row of the queue is lost");
        row->gone = m->stored;
        row->gone_doubt = false;
    }
    return true;
}

static bool check_missing(struct sim *s, uint32_t number)
{
    struct message *m = &s->messages[number];
    uint8_t id[16] = {0};
    size_t seen = 0, live = 0;
    bool known;

    if (!check_copies(s, m, &live, &seen))
        return false;
    memcpy(id, &number, sizeof number);
    id[15] = 1;
    known = m->appended ? seen > 0 : store_commit_query(s->b.st, id) == BRANT_OK;
    /* Only a commit whose mail is gone may be forgotten, in the end. */
    if (m->stored && seen && !known)
        return failed(s, "a commit is forgotten");
    if (m->doubt) {
        if (seen && seen != live)
            return failed(s, "an unanswered message is there in part");
        if (live && known != (seen > 0))
            return failed(s, "a commit id says otherwise than the mailbox");
        m->stored = known;
        m->doubt = false;
    }
    return true;
}

static bool check_all(struct sim *s)
{
    for (uint32_t n = 1; n <= s->count; n++) {
        for (size_t i = 0; i < s->messages[n].copy_count; i++)
            s->messages[n].copies[i].seen = false;
        s->messages[n].rows[0].seen = false;
    }
    for (size_t i = 0; i < USERS; i++) {
        if (s->users[i].account && !check_user(s, i))
            return false;
    }
    if (!check_queue(s))
        return false;
    for (uint32_t n = 1; n <= s->count; n++) {
        if (!check_missing(s, n))
            return false;
    }
    return true;
}

static void problem(void *ctx, const char *text)
{
    struct sim *s = ctx;

    if (!s->torn)
        printf("seed %llu: check: %s\n", (unsigned long long)s->seed, text);
}

static bool check_index(struct sim *s)
{
    struct store_checked checked;

    if (store_check(s->b.reader, true, problem, s, &checked) || (checked.problems && !s->torn))
        return failed(s, "the check finds problems");
    if (!bench_same_after_rebuild(&s->b, s->log))
        return failed(s, "the index is not what the journal says");
    s->rebuilds++;
    return true;
}

/* ---- Crashing
 * -------------------------------------------------------------------------------------------------------- */

static void flights_free(struct sim *s)
{
    for (size_t i = 0; i < s->flying; i++)
        free(s->flights[i].body);
    s->flying = 0;
}

static bool recover(struct sim *s)
{
    s->crashes++;
    sim_disk_fail(s->b.disk, SIM_DISK_SYNC, 0);
    for (int tries = 0; tries < 20; tries++) {
        int rc;

        bench_close(&s->b);
        if (rnd(s, 2))
            sim_disk_power_cut(s->b.disk);
        else
            sim_disk_process_kill(s->b.disk);
        sim_disk_crash_at(s->b.disk,
                          rnd(s, 3) && tries < 10 ? 0 : sim_disk_operations(s->b.disk) + 1 + rnd(s, 60));
        if (tries >= 10)
            sim_disk_crash_at(s->b.disk, 0);
        rc = bench_open(&s->b);
        s->torn |= s->b.opened.journal.damaged_records > 0;
        if (!rc && !sim_disk_crashed(s->b.disk)) {
            sim_disk_crash_at(s->b.disk, 0);
            /* A batch that was never acknowledged may be torn in its middle; anything else is damage. */
            if (s->b.opened.journal.damaged_records > s->b.opened.journal.damaged_behind_mark)
                return failed(s, "recovery found damage");
            return true;
        }
        if (s->log)
            printf("  recovery: %d\n", rc);
        if (!sim_disk_crashed(s->b.disk))
            return failed(s, "the store does not open");
    }
    return failed(s, "recovery never ends");
}

static bool is_admin(enum store_op_kind kind)
{
    return kind >= STORE_OP_DOMAIN_ADD && kind <= STORE_OP_GRANT_REMOVE;
}

static bool after_crash(struct sim *s)
{
    if (s->log)
        printf("  crash\n");
    for (size_t i = 0; i < s->flying; i++) {
        if (!sim_landed(s, &s->flights[i]))
            return false;
    }
    if (!recover(s))
        return false;
    for (size_t i = 0; i < s->flying; i++) {
        struct flight *f = &s->flights[i];

        if (is_admin(f->op.kind) && (!f->answered || f->op.result == BRANT_EIO) && !sim_adopt_admin(s, f))
            return false;
    }
    flights_free(s);
    return check_all(s) && check_index(s) && check_all(s);
}

/* ---- One seed
 * ----------------------------------------------------------------------------------------------------------
 */

static void background(struct sim *s)
{
    switch (rnd(s, 8)) {
    case 0:
        (void)store_checkpoint_step(s->b.st, s->b.now_ms);
        break;
    case 1:
        for (uint64_t i = rnd(s, 20); i; i--) {
            (void)store_compaction_step(s->b.st, s->b.now_ms);
            (void)store_writer_step(s->b.st, s->b.now_ms);
        }
        break;
    case 2:
        if (rnd(s, 4) == 0)
            store_compact(s->b.st, true);
        break;
    case 3:
        if (rnd(s, 8) == 0)
            s->b.now_ms += (int64_t)rnd(s, 5 * 24 * 3600) * 1000;
        break;
    default:
        s->b.now_ms += (int64_t)rnd(s, 30);
        (void)store_apply_step(s->b.st, s->b.now_ms);
    }
}

static bool all_answered(const struct sim *s)
{
    for (size_t i = 0; i < s->flying; i++) {
        if (!s->flights[i].answered)
            return false;
    }
    return true;
}

/* False: it failed. A crash in the middle is dealt with here. */
static bool play_round(struct sim *s)
{
    if (rnd(s, 5) == 0) {
        sim_fly_admin(s);
    } else if (rnd(s, 6) == 0) {
        sim_fly_append(s);
    } else {
        size_t user = (size_t)rnd(s, USERS);

        for (uint64_t i = rnd(s, FLIGHT - 1); i; i--)
            sim_fly_commit(s);
        if (rnd(s, 2))
            sim_fly_change(s, user);
        if (rnd(s, 3) == 0)
            sim_fly_queue(s);
    }
    for (size_t i = 0; i < s->flying; i++) {
        if (!s->flights[i].answered)
            store_submit(s->b.st, &s->flights[i].op);
    }
    for (int i = 0; i < 2000 && !sim_disk_crashed(s->b.disk); i++) {
        if (all_answered(s) && rnd(s, 3) == 0)
            break;
        s->b.now_ms++;
        (void)store_writer_step(s->b.st, s->b.now_ms);
        background(s);
    }
    if (sim_disk_crashed(s->b.disk) || store_dead(s->b.st))
        return after_crash(s);
    if (!all_answered(s))
        return failed(s, "an operation is never answered");
    for (size_t i = 0; i < s->flying; i++) {
        if (!sim_landed(s, &s->flights[i]))
            return false;
    }
    flights_free(s);
    sim_disk_crash_at(s->b.disk, 0);
    sim_disk_fail(s->b.disk, SIM_DISK_SYNC, 0);
    return rnd(s, 6) ? true : check_all(s);
}

static bool play(struct sim *s)
{
    if (bench_open(&s->b) || bench_domain_add(&s->b, "sim.test"))
        return failed(s, "the store does not start");
    for (int round = 0; round < ROUNDS; round++) {
        if (rnd(s, 4) == 0)
            sim_disk_crash_at(s->b.disk, sim_disk_operations(s->b.disk) + 1 + rnd(s, 80));
        else if (rnd(s, 16) == 0)
            sim_disk_fail(s->b.disk, SIM_DISK_SYNC, 1 + rnd(s, 3));
        if (s->log)
            printf("round %d, operation %llu\n", round, (unsigned long long)sim_disk_operations(s->b.disk));
        if (!play_round(s))
            return false;
    }
    bench_settle(&s->b);
    return check_all(s) && check_index(s) && check_all(s);
}

static bool play_seed(uint64_t seed, bool log, unsigned *crashes, unsigned *rebuilds)
{
    struct sim *s = mem_zalloc(sizeof *s);
    bool ok;

    s->seed = seed;
    s->random = seed * 2654435761u + 1;
    s->log = log;
    s->messages = mem_array(MESSAGES + 1, sizeof *s->messages);
    bench_init(&s->b, seed);
    s->b.config.segment_bytes = 16384u << rnd(s, 3);
    ok = play(s);
    if (!ok)
        printf("SEED %llu FAILED: %s\n", (unsigned long long)seed, s->failure);
    *crashes += s->crashes;
    *rebuilds += s->rebuilds;
    bench_done(&s->b);
    flights_free(s);
    free(s->messages);
    free(s);
    return ok;
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    uint64_t value;

    return text && !span_to_u64(span_str(text), UINT64_MAX, &value) ? value : otherwise;
}

int main(void)
{
    uint64_t only = number_of("SIM_SEED", 0), first = number_of("SIM_FIRST", 1),
             count = number_of("SIM_SEEDS", 60);
    const char *root = getenv("BRANT_SOURCE_ROOT");
    unsigned crashes = 0, rebuilds = 0, bad = 0, played = 0;
    char path[4096];
    FILE *kept;

    if (only)
        return play_seed(only, getenv("SIM_LOG") != NULL, &crashes, &rebuilds) ? 0 : 1;
    (void)snprintf(path, sizeof path, "%s/tests/sim-seeds.txt", root ? root : ".");
    kept = fopen(path, "r");
    if (kept) {
        unsigned long long seed;

        while (fscanf(kept, "%llu", &seed) == 1) {
            bad += !play_seed(seed, false, &crashes, &rebuilds);
            played++;
        }
        fclose(kept);
    }
    for (uint64_t seed = first; seed < first + count; seed++) {
        bad += !play_seed(seed, false, &crashes, &rebuilds);
        played++;
    }
    printf("%u seeds, %u crashes, %u rebuilds compared, %u seeds failed\n", played, crashes, rebuilds, bad);
    return bad ? 1 : 0;
}
