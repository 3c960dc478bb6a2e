/* Operations of the simulation, drawn by lot. */
#include "store/sim_model.h"

static void flown(struct store_op *op)
{
    struct flight *f = op->ctx;

    f->answered = true;
    f->answered_ms = *f->clock;
}

static struct flight *fly(struct sim *s, enum store_op_kind kind)
{
    struct flight *f = &s->flights[s->flying++];

    memset(f, 0, sizeof *f);
    f->op.kind = kind;
    f->op.done = flown;
    f->op.ctx = f;
    f->clock = &s->b.now_ms;
    return f;
}

static void copy_to(const struct sim *s, struct message *m, size_t user, enum box box)
{
    uint64_t account = s->users[user].account;

    for (size_t i = 0; i < m->copy_count; i++) {
        if (m->copies[i].account == account && m->copies[i].box == box)
            return;
    }
    if (account)
        m->copies[m->copy_count++] = (struct copy){.account = account, .box = box};
}

/* 0: the account has none of that name. */
uint64_t sim_sent_of(const struct sim *s, size_t user)
{
    const struct dir_account *a = dir_account(&s->b.st->dir, s->users[user].account);
    const struct dir_mailbox *box = a ? dir_box_named(a, SPAN_LIT("Sent")) : NULL;

    return box ? box->id : 0;
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
                copy_to(s, m, i, INBOX);
                reaches |= s->users[i].account != 0;
            }
        }
        return reaches;
    }
    if (rnd(s, 4) == 0)
        (void)snprintf(out, 64, "U%zu+detail@SIM.test", user);
    else
        user_address(out, user);
    copy_to(s, m, user, INBOX);
    return reaches || m->copy_count > before;
}

/* One recipient of a flight: here, elsewhere (with a submitter), or (with `each`) nobody. False: none. */
static bool pick_target(struct sim *s, struct flight *f, size_t i, uint32_t accepted, struct message *m)
{
    struct store_commit *c = &f->op.commit;

    f->want[i] = BRANT_OK;
    f->rcpts[i].address = SPAN_NONE;
    if (c->submitter && rnd(s, 3) == 0) {
        (void)snprintf(f->text[i], 64, "Far%u@%s.test", f->number, i ? "FAR" : "far");
        if (!m->row_count) /* the same address twice is one row */
            m->rows[m->row_count++] = (struct row){.recipient = accepted};
    } else if (c->each && rnd(s, 3) == 0) {
        (void)snprintf(f->text[i], 64, "nobody%u@sim.test", f->number);
        f->want[i] = BRANT_ENOTFOUND;
    } else if (!pick_rcpt(s, f->text[i], m)) {
        return false;
    }
    f->rcpts[i].address = span_str(f->text[i]);
    return true;
}

static void put_bytes(struct sim *s, struct flight *f, size_t before)
{
    struct message *m = &s->messages[f->number];

    m->size = (uint32_t)(rnd(s, 6) ? rnd(s, 3000) : rnd(s, 20000));
    m->born_ms = s->b.now_ms;
    (void)snprintf(f->prefix_text, sizeof f->prefix_text, "N: %08u\r\n", f->number);
    f->body = mem_alloc(before + m->size);
    memcpy(f->body, f->prefix_text, before);
    for (uint32_t i = 0; i < m->size; i++)
        f->body[before + i] = body_byte(f->number, i);
}

static void put_sum(struct flight *f, uint32_t number, struct span *message_id, uint8_t sum[STORE_SUM_BYTES])
{
    (void)snprintf(f->message_id, sizeof f->message_id, "<%u@sim.test>", number);
    *message_id = span_str(f->message_id);
    memcpy(sum, &number, sizeof number);
}

static void submitted_by(struct sim *s, struct flight *f, size_t user, struct message *m)
{
    f->op.commit.submitter = s->users[user].account;
    if (s->users[user].traits.options & STORE_ACCOUNT_SENT_COPY)
        copy_to(s, m, user, SENT);
}

void sim_fly_commit(struct sim *s)
{
    uint32_t number = s->count + 1, accepted = 0;
    struct message *m = &s->messages[number];
    size_t wanted = 1 + (size_t)rnd(s, RCPTS), sender = (size_t)rnd(s, USERS);
    struct flight *f;

    if (number >= MESSAGES)
        return;
    f = fly(s, STORE_OP_COMMIT);
    memset(m, 0, sizeof *m);
    f->number = number;
    f->op.commit.each = rnd(s, 4) == 0;
    if (rnd(s, 2) && s->users[sender].account)
        submitted_by(s, f, sender, m);
    for (size_t i = 0; i < wanted; i++) {
        if (!pick_target(s, f, i, accepted, m)) {
            memset(m, 0, sizeof *m);
            s->flying--;
            return;
        }
        accepted += f->want[i] == BRANT_OK;
    }
    s->count = number;
    put_bytes(s, f, 0);
    put_sum(f, number, &f->op.commit.message_id, f->op.commit.content_sum);
    f->prefix = span_str(f->prefix_text);
    memcpy(f->op.commit.id, &number, sizeof number);
    f->op.commit.id[15] = 1;
    f->op.commit.reverse_path = SPAN_LIT("sender@sim.test");
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

static bool sent_there(const struct sim *s, const struct message *m, size_t user, const struct copy **ret)
{
    for (size_t i = 0; m->stored && i < m->copy_count; i++) {
        *ret = &m->copies[i];
        if ((*ret)->box == SENT && (*ret)->account == s->users[user].account)
            return true;
    }
    return false;
}

/* A client files what it has sent: a copy of a message that may be there already. */
void sim_fly_append(struct sim *s)
{
    size_t user = (size_t)rnd(s, USERS);
    uint32_t of = 1 + (uint32_t)rnd(s, s->count + 1), number = s->count + 1;
    uint64_t sent = s->users[user].account ? sim_sent_of(s, user) : 0;
    const struct copy *copy = NULL;
    struct message *m = &s->messages[number];
    struct flight *f;

    while (of <= s->count && (s->messages[of].appended || !sent_there(s, &s->messages[of], user, &copy)))
        of++;
    if (!sent || of > s->count || number >= MESSAGES)
        return;
    memset(m, 0, sizeof *m);
    m->appended = true;
    copy_to(s, m, user, SENT);
    f = fly(s, STORE_OP_APPEND);
    s->count = f->number = number;
    f->user = user;
    f->filed = of;
    put_bytes(s, f, 13);
    f->op.append = (struct store_append){.account = s->users[user].account,
                                         .mailbox = sent,
                                         .unless_filed = true,
                                         .messages = f->appended,
                                         .count = 1};
    f->appended[0].body = bench_body(&s->b, span_make(f->body, 13 + m->size));
    put_sum(f, of, &f->appended[0].message_id, f->appended[0].content_sum);
    if (!f->appended[0].body) {
        f->answered = true;
        f->op.result = BRANT_ETRYLATER;
    }
}

void sim_fly_queue(struct sim *s)
{
    uint32_t number = 1 + (uint32_t)rnd(s, s->count + 1);
    struct flight *f;

    for (; number <= s->count; number++) {
        const struct message *m = &s->messages[number];

        if (!m->stored || !m->id || !m->row_count || m->rows[0].gone)
            continue;
        f = fly(s, STORE_OP_QUEUE_REMOVE);
        f->number = number;
        f->op.queue = (struct store_queue_op){.message = m->id, .recipient = m->rows[0].recipient};
        return;
    }
}

void sim_fly_change(struct sim *s, size_t user)
{
    struct flight *f;
    size_t count = 0;
    uint64_t account = s->users[user].account;
    uint32_t start = 1 + (uint32_t)rnd(s, UIDS - 1), want = 1 + (uint32_t)rnd(s, 6);
    bool expunge = rnd(s, 2);
    enum box box = rnd(s, 3) ? INBOX : SENT;
    uint64_t sent = account && box == SENT ? sim_sent_of(s, user) : 0;

    if (!account || (box == SENT && !sent))
        return;
    f = fly(s, expunge ? STORE_OP_EXPUNGE : STORE_OP_FLAGS);
    f->user = user;
    f->box = box;
    f->flags = rnd(s, 32);
    if (rnd(s, 2))
        start = 1;
    for (uint32_t uid = start; uid < UIDS && count < want; uid++) {
        if (s->users[user].owner[box][uid] && rnd(s, 3) == 0)
            f->ranges[count++] = (struct store_range){uid, uid};
    }
    f->op.change = (struct store_change){.account = account,
                                         .mailbox = sent,
                                         .ranges = f->ranges,
                                         .range_count = count,
                                         .action = STORE_FLAGS_REPLACE,
                                         .flags = f->flags};
    if (!count)
        s->flying--;
}

static void fly_alias(struct sim *s, size_t user)
{
    size_t alias = (size_t)rnd(s, ALIASES);
    bool remove = s->alias_users[alias] && rnd(s, 2);
    struct flight *f;

    if (!remove && !s->users[user].account)
        return;
    f = fly(s, remove ? STORE_OP_ALIAS_REMOVE : STORE_OP_ALIAS_ADD);
    f->user = user;
    f->number = (uint32_t)alias;
    (void)snprintf(f->text[0], 64, "a%zu@sim.test", alias);
    user_address(f->text[1], user);
    f->op.alias.address = span_str(f->text[0]);
    f->op.alias.target = remove ? SPAN_NONE : span_str(f->text[1]);
}

static void fly_grant(struct sim *s, size_t user)
{
    size_t grant = (size_t)rnd(s, GRANTS);
    struct flight *f = fly(s, rnd(s, 3) ? STORE_OP_GRANT_ADD : STORE_OP_GRANT_REMOVE);

    f->user = user;
    f->flags = 1u << grant;
    user_address(f->text[0], user);
    (void)snprintf(f->text[1], 64, "grant %zu", grant);
    f->cert[0] = (uint8_t)user;
    f->op.grant.address = span_str(f->text[0]);
    f->op.grant.grant = (struct store_grant){
        .kind = grant ? STORE_GRANT_APP_PASSWORD : STORE_GRANT_CERTIFICATE,
        .name = span_str(f->text[1]),
        .data = grant ? span_str(f->text[1]) : span_make(f->cert, sizeof f->cert),
    };
}

static void fly_account(struct sim *s, size_t user)
{
    static const uint32_t sets[] = {STORE_SET_QUOTA, STORE_SET_OPTIONS, STORE_SET_SCRAM};
    enum store_op_kind kind = STORE_OP_ACCOUNT_ADD;
    struct flight *f;

    if (s->users[user].account)
        kind = rnd(s, 4) ? STORE_OP_ACCOUNT_SET : STORE_OP_ACCOUNT_REMOVE;
    f = fly(s, kind);
    f->user = user;
    f->flags = 1000 + rnd(s, 1000000);
    user_address(f->text[0], user);
    f->op.account = (struct store_account){.address = span_str(f->text[0]),
                                           .quota_bytes = f->flags,
                                           .options = rnd(s, 3) ? STORE_ACCOUNT_SENT_COPY : 0,
                                           .option_mask = STORE_ACCOUNT_SENT_COPY,
                                           .scram = {.iterations = (uint32_t)f->flags}};
    f->op.account.set = kind == STORE_OP_ACCOUNT_ADD ? STORE_SET_OPTIONS : sets[rnd(s, 3)];
}

void sim_fly_admin(struct sim *s)
{
    size_t user = (size_t)rnd(s, USERS);

    switch (rnd(s, s->users[user].account ? 6 : 3)) {
    case 0:
        fly_alias(s, user);
        break;
    case 3:
    case 4:
        fly_grant(s, user);
        break;
    default:
        fly_account(s, user);
    }
}
