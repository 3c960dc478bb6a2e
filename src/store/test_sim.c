/* The store on a simulated disk, with crashes: seeded, single-threaded, against a model.
 *
 * Acknowledged is present exactly once with exactly its bytes; unanswered is present once or not at all, in
 * all its mailboxes or none; a UID never means two messages; quota is exact; after every recovery the index
 * equals one made anew from the journal.
 *
 *   SIM_SEEDS  how many seeds (default 100)      SIM_FIRST  the first of them (default 1)
 *   SIM_SEED   only this one                     SIM_LOG    tell what happens
 * Seeds that failed once stand in tests/sim-seeds.txt and are always played first. */
#include <stdio.h>
#include <stdlib.h>

#include "store/testing.h"

enum { USERS = 5, ALIASES = 3, MESSAGES = 2000, UIDS = 2000, ROUNDS = 50, FLIGHT = 5 };

struct copy {
    uint64_t account;
    uint32_t uid; /* 0: not seen yet */
    uint64_t flags, new_flags;
    bool flags_doubt, gone, gone_doubt, seen;
};

struct message {
    uint32_t size;
    bool stored, doubt;
    size_t copy_count;
    struct copy copies[USERS];
};

struct user {
    uint64_t account; /* 0: there is none */
    uint64_t quota;
    uint32_t owner[UIDS]; /* number of the message that has this UID */
};

struct flight { /* one operation under way */
    struct store_op op;
    bool answered;
    uint32_t number;  /* COMMIT: of the message */
    size_t user;      /* account and change operations */
    uint32_t uids[8]; /* change operations */
    uint64_t flags;
    char text[2][64];
    struct store_rcpt rcpts[2];
    struct span prefix;
    char prefix_text[32];
    uint8_t *body;
};

struct sim {
    struct bench b;
    uint64_t seed, random;
    bool log;
    struct user users[USERS];
    unsigned alias_users[ALIASES]; /* bit by bit: the users it leads to, whether they exist now or not */
    struct message *messages;      /* by number, from 1 */
    uint32_t count;
    struct flight flights[FLIGHT];
    size_t flying;
    const char *failure;
    unsigned crashes, rebuilds;
    bool torn; /* records of a torn batch are reported as lost from then on */
};

static uint64_t rnd(struct sim *s, uint64_t below)
{
    s->random = s->random * 6364136223846793005u + 1442695040888963407u;
    return (s->random >> 33) % below;
}

static bool failed(struct sim *s, const char *why)
{
    if (!s->failure)
        s->failure = why;
    return false;
}

static uint8_t body_byte(uint32_t number, uint32_t i)
{
    return (uint8_t)(number * 31 + i * 7 + i / 253);
}

static void user_address(char out[64], size_t user)
{
    (void)snprintf(out, 64, "u%zu@sim.test", user);
}

/* ---- Operations
 * ------------------------------------------------------------------------------------------------ */

static void flown(struct store_op *op)
{
    ((struct flight *)op->ctx)->answered = true;
}

static struct flight *fly(struct sim *s, enum store_op_kind kind)
{
    struct flight *f = &s->flights[s->flying++];

    memset(f, 0, sizeof *f);
    f->op.kind = kind;
    f->op.done = flown;
    f->op.ctx = f;
    return f;
}

static void copy_to(const struct sim *s, struct message *m, size_t user)
{
    uint64_t account = s->users[user].account;

    for (size_t i = 0; i < m->copy_count; i++) {
        if (m->copies[i].account == account)
            return;
    }
    if (account)
        m->copies[m->copy_count++] = (struct copy){.account = account};
}

/* One recipient: an account by its name, with a detail, or through an alias. False: it would reach nobody. */
static bool pick_rcpt(struct sim *s, char out[64], struct message *m)
{
    size_t user = (size_t)rnd(s, USERS), alias = (size_t)rnd(s, ALIASES), before = m->copy_count;
    bool reaches = s->users[user].account != 0;

    if (rnd(s, 4) == 0 && s->alias_users[alias]) {
        (void)snprintf(out, 64, "a%zu@sim.test", alias);
        reaches = false;
        for (size_t i = 0; i < USERS; i++) {
            if (s->alias_users[alias] >> i & 1) {
                copy_to(s, m, i);
                reaches |= s->users[i].account != 0;
            }
        }
        return reaches;
    }
    if (rnd(s, 4) == 0)
        (void)snprintf(out, 64, "U%zu+detail@SIM.test", user);
    else
        user_address(out, user);
    copy_to(s, m, user);
    return reaches || m->copy_count > before;
}

static void fly_commit(struct sim *s)
{
    uint32_t number = s->count + 1;
    struct message *m = &s->messages[number];
    struct flight *f;
    size_t wanted = 1 + (size_t)rnd(s, 2);
    char text[2][64];

    if (number >= MESSAGES)
        return;
    memset(m, 0, sizeof *m);
    for (size_t i = 0; i < wanted; i++) {
        if (!pick_rcpt(s, text[i], m)) {
            memset(m, 0, sizeof *m);
            return;
        }
    }
    s->count = number;
    f = fly(s, STORE_OP_COMMIT);
    f->number = number;
    m->size = (uint32_t)(rnd(s, 6) ? rnd(s, 3000) : rnd(s, 20000));
    for (size_t i = 0; i < wanted; i++) {
        memcpy(f->text[i], text[i], sizeof text[i]);
        f->rcpts[i].address = span_str(f->text[i]);
    }
    f->body = mem_alloc(m->size);
    for (uint32_t i = 0; i < m->size; i++)
        f->body[i] = body_byte(number, i);
    (void)snprintf(f->prefix_text, sizeof f->prefix_text, "N: %08u\r\n", number);
    f->prefix = span_str(f->prefix_text);
    memcpy(f->op.commit.id, &number, sizeof number);
    f->op.commit.id[15] = 1;
    f->op.commit.prefixes = &f->prefix;
    f->op.commit.prefix_count = 1;
    f->op.commit.rcpts = f->rcpts;
    f->op.commit.rcpt_count = wanted;
    f->op.commit.body = bench_body(&s->b, span_make(f->body, m->size));
    if (!f->op.commit.body) { /* the disk is gone: never submitted, never stored */
        f->answered = true;
        f->op.result = BRANT_ETRYLATER;
    }
}

static void fly_change(struct sim *s, size_t user)
{
    struct flight *f;
    size_t count = 0;
    uint64_t account = s->users[user].account;
    uint32_t start = 1 + (uint32_t)rnd(s, UIDS - 1), want = 1 + (uint32_t)rnd(s, 6);
    bool expunge = rnd(s, 2);

    if (!account)
        return;
    f = fly(s, expunge ? STORE_OP_EXPUNGE : STORE_OP_FLAGS);
    f->user = user;
    f->flags = rnd(s, 32);
    if (rnd(s, 2))
        start = 1;
    for (uint32_t uid = start; uid < UIDS && count < want; uid++) {
        if (s->users[user].owner[uid] && rnd(s, 3) == 0)
            f->uids[count++] = uid;
    }
    f->op.change = (struct store_change){.account = account,
                                         .uids = f->uids,
                                         .uid_count = count,
                                         .action = STORE_FLAGS_REPLACE,
                                         .flags = f->flags};
    if (!count)
        s->flying--;
}

static void fly_admin(struct sim *s)
{
    size_t user = (size_t)rnd(s, USERS), alias = (size_t)rnd(s, ALIASES);
    bool have = s->users[user].account != 0;
    struct flight *f;

    if (rnd(s, 3) == 0) {
        bool remove = s->alias_users[alias] && rnd(s, 2);

        if (!remove && !have)
            return;
        f = fly(s, remove ? STORE_OP_ALIAS_REMOVE : STORE_OP_ALIAS_ADD);
        f->user = user;
        f->number = (uint32_t)alias;
        (void)snprintf(f->text[0], 64, "a%zu@sim.test", alias);
        user_address(f->text[1], user);
        f->op.alias.address = span_str(f->text[0]);
        f->op.alias.target = remove ? SPAN_NONE : span_str(f->text[1]);
        return;
    }
    f = fly(s, !have ? STORE_OP_ACCOUNT_ADD : rnd(s, 3) ? STORE_OP_ACCOUNT_SET : STORE_OP_ACCOUNT_REMOVE);
    f->user = user;
    f->flags = 1000 + rnd(s, 1000000);
    user_address(f->text[0], user);
    f->op.account = (struct store_account){
        .address = span_str(f->text[0]), .set = STORE_SET_QUOTA, .quota_bytes = f->flags};
}

/* ---- Their answers
 * -------------------------------------------------------------------------------------------------- */

static struct copy *copy_of(struct sim *s, size_t user, uint32_t uid)
{
    struct message *m = &s->messages[s->users[user].owner[uid]];

    for (size_t i = 0; i < m->copy_count; i++) {
        if (m->copies[i].account == s->users[user].account)
            return &m->copies[i];
    }
    return NULL;
}

static void account_is(struct sim *s, size_t user, uint64_t account, uint64_t quota)
{
    if (s->users[user].account != account)
        memset(&s->users[user], 0, sizeof s->users[user]);
    s->users[user].account = account;
    s->users[user].quota = quota;
}

static bool changed(struct sim *s, struct flight *f, bool doubt)
{
    for (size_t i = 0; i < f->op.change.uid_count; i++) {
        struct copy *c = copy_of(s, f->user, f->uids[i]);

        if (!c || c->gone)
            continue;
        if (f->op.kind == STORE_OP_EXPUNGE) {
            c->gone = !doubt;
            c->gone_doubt = doubt;
        } else {
            c->flags_doubt = doubt;
            c->new_flags = f->flags;
            if (!doubt)
                c->flags = f->flags;
        }
    }
    return true;
}

/* The targets of an alias are those from before the operation, or those after it. */
static bool adopt_alias(struct sim *s, const struct flight *f)
{
    struct store_alias_info list[ALIASES * USERS];
    unsigned before = s->alias_users[f->number], now = 0;
    unsigned after = f->op.kind == STORE_OP_ALIAS_REMOVE ? 0 : before | 1u << f->user;
    size_t count = store_aliases_list(s->b.st, SPAN_NONE, SPAN_NONE, SPAN_NONE, list, ALIASES * USERS);
    char address[64];

    for (size_t i = 0; i < count; i++) {
        for (size_t user = 0; user < USERS; user++) {
            user_address(address, user);
            if (!strcmp(list[i].address, f->text[0]) && !strcmp(list[i].target, address))
                now |= 1u << user;
        }
    }
    s->alias_users[f->number] = now;
    if (now == after || (now == before && (!f->answered || f->op.result)))
        return true;
    return failed(s, "an alias has other targets than it was given");
}

/* The account is as it is now found to be: one of the two states that the operation allows. */
static bool adopt_admin(struct sim *s, struct flight *f)
{
    struct store_account_info info;
    struct user *u = &s->users[f->user];
    int rc;

    if (f->op.kind == STORE_OP_ALIAS_ADD || f->op.kind == STORE_OP_ALIAS_REMOVE)
        return adopt_alias(s, f);
    rc = store_account_find(s->b.st, f->op.account.address, &info);
    if (rc == BRANT_ENOTFOUND) {
        if (f->op.kind == STORE_OP_ACCOUNT_SET)
            return failed(s, "an account vanished");
        account_is(s, f->user, 0, 0);
        return true;
    }
    if (f->op.kind != STORE_OP_ACCOUNT_ADD && info.account != u->account)
        return failed(s, "an account changed its id");
    if (f->op.kind == STORE_OP_ACCOUNT_SET && info.quota_bytes != f->flags && info.quota_bytes != u->quota)
        return failed(s, "a quota nobody set");
    account_is(s, f->user, info.account, info.quota_bytes);
    return true;
}

static bool landed(struct sim *s, struct flight *f)
{
    struct message *m = &s->messages[f->number];
    bool doubt = !f->answered || f->op.result == BRANT_EIO;

    if (s->log)
        printf("  %d: result %d%s seq %llu\n", f->op.kind, f->op.result, f->answered ? "" : " (unanswered)",
               (unsigned long long)f->op.seq);
    switch (f->op.kind) {
    case STORE_OP_COMMIT:
        m->stored = f->answered && f->op.result == BRANT_OK;
        m->doubt = doubt;
        if (!doubt && !m->stored && f->op.result != BRANT_ETRYLATER)
            return failed(s, "a commit was refused");
        return true;
    case STORE_OP_FLAGS:
    case STORE_OP_EXPUNGE:
        if (!doubt && f->op.result)
            return failed(s, "a change was refused");
        return changed(s, f, doubt);
    default:
        if (doubt)
            return true; /* looked up after the restart */
        if (f->op.result && !(f->op.kind == STORE_OP_ALIAS_ADD && f->op.result == BRANT_EEXISTS) &&
            !(f->op.kind == STORE_OP_ALIAS_REMOVE && f->op.result == BRANT_ENOTFOUND))
            return failed(s, "an administrator was refused");
        return adopt_admin(s, f);
    }
}

/* ---- Comparing
 * ------------------------------------------------------------------------------------------------------ */

static bool check_bytes(struct sim *s, size_t user, const struct store_entry *e, uint32_t *ret_number)
{
    _cleanup_buf_ struct buf bytes;
    uint64_t number;
    struct message *m;

    buf_init(&bytes, 1u << 20);
    if (bench_read(&s->b, s->users[user].account, e->uid, &bytes))
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

static bool check_entry(struct sim *s, size_t user, const struct store_entry *e)
{
    struct user *u = &s->users[user];
    struct copy *c = NULL;
    struct message *m;
    uint32_t number = 0;

    if (!check_bytes(s, user, e, &number))
        return false;
    m = &s->messages[number];
    for (size_t i = 0; i < m->copy_count; i++) {
        if (m->copies[i].account == u->account)
            c = &m->copies[i];
    }
    if (!c || (!m->stored && !m->doubt))
        return failed(s, "a message nobody sent there");
    if (c->gone)
        return failed(s, "an expunged message is back");
    if (c->seen)
        return failed(s, "a message is there twice");
    c->seen = true;
    if (e->uid >= UIDS || (u->owner[e->uid] && u->owner[e->uid] != number) || (c->uid && c->uid != e->uid))
        return failed(s, "a UID changed its meaning");
    u->owner[e->uid] = number;
    c->uid = e->uid;
    if (e->flags != c->flags && !(c->flags_doubt && e->flags == c->new_flags))
        return failed(s, "wrong flags");
    c->flags = e->flags;
    c->flags_doubt = c->gone_doubt = false;
    return true;
}

static bool check_user(struct sim *s, size_t user)
{
    struct store_entry entries[64];
    struct store_account_info info;
    uint64_t bytes = 0, messages = 0;
    uint32_t after = 0;
    size_t count;

    do {
        if (store_entries_list(s->b.reader, s->users[user].account, 0, after, entries, 64, &count))
            return failed(s, "a mailbox can't be listed");
        for (size_t i = 0; i < count; i++) {
            if (!check_entry(s, user, &entries[i]))
                return false;
            bytes += entries[i].size;
            messages++;
            after = entries[i].uid;
        }
    } while (count == 64);
    if (store_account_get(s->b.st, s->users[user].account, &info) || info.used_bytes != bytes ||
        info.messages != messages || info.quota_bytes != s->users[user].quota)
        return failed(s, "an account's counters are wrong");
    return true;
}

static bool account_lives(const struct sim *s, uint64_t account)
{
    for (size_t i = 0; i < USERS; i++) {
        if (s->users[i].account == account)
            return true;
    }
    return false;
}

/* What was not found: had it to be there? */
static bool check_missing(struct sim *s, uint32_t number)
{
    struct message *m = &s->messages[number];
    uint8_t id[16] = {0};
    size_t seen = 0, live = 0;
    bool known;

    memcpy(id, &number, sizeof number);
    id[15] = 1;
    known = store_commit_query(s->b.st, id) == BRANT_OK;
    for (size_t i = 0; i < m->copy_count; i++) {
        struct copy *c = &m->copies[i];

        if (!account_lives(s, c->account))
            continue;
        live++;
        seen += c->seen;
        if (c->seen || c->gone)
            continue;
        if (m->stored && !c->gone_doubt)
            return failed(s, "an acknowledged message is lost");
        c->gone = m->stored;
        c->gone_doubt = false;
    }
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
    }
    for (size_t i = 0; i < USERS; i++) {
        if (s->users[i].account && !check_user(s, i))
            return false;
    }
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

static bool after_crash(struct sim *s)
{
    if (s->log)
        printf("  crash\n");
    for (size_t i = 0; i < s->flying; i++) {
        if (!landed(s, &s->flights[i]))
            return false;
    }
    if (!recover(s))
        return false;
    for (size_t i = 0; i < s->flying; i++) {
        struct flight *f = &s->flights[i];

        if (f->op.kind >= STORE_OP_MAILBOX_ADD && (!f->answered || f->op.result == BRANT_EIO) &&
            !adopt_admin(s, f))
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
        fly_admin(s);
    } else {
        size_t user = (size_t)rnd(s, USERS);

        for (uint64_t i = rnd(s, FLIGHT - 1); i; i--)
            fly_commit(s);
        if (rnd(s, 2))
            fly_change(s, user);
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
        if (!landed(s, &s->flights[i]))
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
