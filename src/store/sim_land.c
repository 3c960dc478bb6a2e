/* What the answers of operations mean for the model. */
#include "store/sim_model.h"

struct copy *sim_copy_of(struct sim *s, size_t user, enum box box, uint32_t number)
{
    struct message *m = &s->messages[number];

    for (size_t i = 0; i < m->copy_count; i++) {
        if (m->copies[i].account == s->users[user].account && m->copies[i].box == box)
            return &m->copies[i];
    }
    return NULL;
}

static void account_is(struct sim *s, size_t user, uint64_t account, struct traits traits)
{
    if (s->users[user].account != account)
        memset(&s->users[user], 0, sizeof s->users[user]);
    s->users[user].account = account;
    s->users[user].traits = traits;
}

static bool changed(struct sim *s, struct flight *f, bool doubt)
{
    for (size_t i = 0; i < f->op.change.range_count; i++) {
        struct copy *c = sim_copy_of(s, f->user, f->box, s->users[f->user].owner[f->box][f->ranges[i].first]);

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

/* False: there is no such account. */
bool sim_traits_now(struct sim *s, size_t user, uint64_t *ret_account, struct traits *ret)
{
    struct store_account_info info;
    struct store_grant *grants;
    struct arena arena;
    char address[64];
    size_t count = 0;

    user_address(address, user);
    if (store_account_find(s->b.st, span_str(address), &info))
        return false;
    *ret_account = info.account;
    *ret =
        (struct traits){.quota = info.quota_bytes, .scram = info.scram.iterations, .options = info.options};
    arena_init(&arena, 4096);
    (void)store_grants_get(s->b.st, info.account, 0, &arena, &grants, &count);
    for (size_t i = 0; i < count; i++)
        ret->grants |= 1u << (grants[i].name.p[grants[i].name.len - 1] - '0');
    arena_done(&arena);
    return true;
}

static struct traits traits_after(const struct traits *before, const struct flight *f)
{
    const struct store_account *a = &f->op.account;
    struct traits t = *before;

    switch (f->op.kind) {
    case STORE_OP_ACCOUNT_ADD:
        return (struct traits){.quota = f->flags, .options = STORE_ACCOUNT_ENABLED | a->options};
    case STORE_OP_ACCOUNT_SET:
        if (a->set == STORE_SET_QUOTA)
            t.quota = f->flags;
        if (a->set == STORE_SET_OPTIONS)
            t.options = STORE_ACCOUNT_ENABLED | a->options;
        if (a->set == STORE_SET_SCRAM)
            t.scram = f->flags;
        return t;
    case STORE_OP_GRANT_ADD:
        t.grants |= f->flags;
        return t;
    case STORE_OP_GRANT_REMOVE:
        t.grants &= ~f->flags;
        return t;
    default:
        return t;
    }
}

bool sim_same_traits(const struct traits *a, const struct traits *b)
{
    return a->quota == b->quota && a->scram == b->scram && a->options == b->options && a->grants == b->grants;
}

/* The account is as it is now found to be: one of the two states that the operation allows. */
bool sim_adopt_admin(struct sim *s, struct flight *f)
{
    struct user *u = &s->users[f->user];
    struct traits now, after = traits_after(&u->traits, f);
    bool adds = f->op.kind == STORE_OP_ACCOUNT_ADD,
         grants = f->op.kind == STORE_OP_GRANT_ADD || f->op.kind == STORE_OP_GRANT_REMOVE,
         done = f->answered && (f->op.result == BRANT_OK || (grants && f->op.result != BRANT_EIO));
    uint64_t account;

    if (f->op.kind == STORE_OP_ALIAS_ADD || f->op.kind == STORE_OP_ALIAS_REMOVE)
        return adopt_alias(s, f);
    if (!sim_traits_now(s, f->user, &account, &now)) {
        if (u->account && f->op.kind != STORE_OP_ACCOUNT_REMOVE)
            return failed(s, "an account vanished");
        account_is(s, f->user, 0, (struct traits){0});
        return true;
    }
    if (done && f->op.kind == STORE_OP_ACCOUNT_REMOVE)
        return failed(s, "a removed account is there");
    if (!adds && account != u->account)
        return failed(s, "an account changed its id");
    if (!sim_same_traits(&now, &after) && (done || adds || !sim_same_traits(&now, &u->traits)))
        return failed(s, "an account is as nobody made it");
    account_is(s, f->user, account, now);
    return true;
}

/* A removed row may be asked for again only when its removal is in doubt. */
static bool queue_landed(struct sim *s, struct flight *f, bool doubt)
{
    struct row *row = &s->messages[f->number].rows[0];

    if (!doubt && f->op.result)
        return failed(s, "a row of the queue can't be removed");
    row->gone = !doubt;
    row->gone_doubt = doubt;
    return true;
}

static bool commit_landed(struct sim *s, struct flight *f, bool doubt)
{
    struct message *m = &s->messages[f->number];
    const struct store_commit *c = &f->op.commit;

    m->stored = f->answered && f->op.result == BRANT_OK;
    m->doubt = doubt;
    m->stored_ms = f->answered ? f->answered_ms : s->b.now_ms;
    if (doubt)
        return true;
    if (!m->stored)
        return f->op.result == BRANT_ETRYLATER ? true : failed(s, "a commit was refused");
    m->id = c->message;
    for (size_t i = 0; i < c->rcpt_count; i++) {
        if (f->rcpts[i].result != f->want[i])
            return failed(s, "a recipient has the wrong result");
    }
    return c->queued == m->row_count ? true : failed(s, "other rows than recipients elsewhere");
}

static bool append_landed(struct sim *s, struct flight *f, bool doubt)
{
    struct message *m = &s->messages[f->number];
    const struct message *of = &s->messages[f->filed];
    const struct copy *copy = sim_copy_of(s, f->user, SENT, f->filed);
    int64_t week_ms = (int64_t)7 * 24 * 3600 * 1000;
    bool gone = !copy || copy->gone, there = !gone && f->answered_ms < of->born_ms + week_ms,
         not_there = gone || f->answered_ms > of->stored_ms + week_ms;
    bool filed = f->op.append.filed;

    m->stored = f->answered && f->op.result == BRANT_OK && !filed;
    m->doubt = doubt;
    if (doubt || f->op.result == BRANT_ETRYLATER || (f->op.result == BRANT_EREFUSED && !there))
        return true; /* quota is looked at in check_user */
    if (f->op.result)
        return failed(s, "an append was refused");
    if (filed ? not_there || !copy || (copy->uid && copy->uid != f->appended[0].uid) : there)
        return failed(s, "a filed copy is mistaken");
    return true;
}

/* It was there already, or was not there. */
static bool admin_refusable(const struct flight *f)
{
    switch (f->op.kind) {
    case STORE_OP_ALIAS_ADD:
    case STORE_OP_GRANT_ADD:
        return f->op.result == BRANT_EEXISTS;
    case STORE_OP_ALIAS_REMOVE:
    case STORE_OP_GRANT_REMOVE:
        return f->op.result == BRANT_ENOTFOUND;
    default:
        return false;
    }
}

bool sim_landed(struct sim *s, struct flight *f)
{
    bool doubt = !f->answered || f->op.result == BRANT_EIO;

    if (s->log)
        printf("  %d: result %d%s seq %llu\n", f->op.kind, f->op.result, f->answered ? "" : " (unanswered)",
               (unsigned long long)f->op.seq);
    switch (f->op.kind) {
    case STORE_OP_COMMIT:
        return commit_landed(s, f, doubt);
    case STORE_OP_APPEND:
        return append_landed(s, f, doubt);
    case STORE_OP_QUEUE_REMOVE:
        return queue_landed(s, f, doubt);
    case STORE_OP_FLAGS:
    case STORE_OP_EXPUNGE:
        if (!doubt && f->op.result)
            return failed(s, "a change was refused");
        return changed(s, f, doubt);
    default:
        if (doubt)
            return true; /* looked up after the restart */
        if (f->op.result && !admin_refusable(f))
            return failed(s, "an administrator was refused");
        return sim_adopt_admin(s, f);
    }
}
