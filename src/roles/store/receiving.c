/* Receiving mail: sessions, recipients, commits. */
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "log/log.h"
#include "roles/common/canonical.h"
#include "roles/store/submission.h"

enum {
    COMMIT_ARENA_BYTES = 2 << 20, /* more than the largest frame takes when it is decoded */
    COMMITS_CHANNEL_BYTES = 2 * ARRIVING_CHANNEL_BYTES, /* bodies wait first */
    COMMIT_ASKERS_MAX = 4
};

struct commit_op {
    struct op op;
    struct ipc_id id;
    uint64_t counted;   /* in the peer's body_bytes */
    uint64_t submitter; /* whose message was counted, at counted_ms; 0: nobody's */
    uint64_t counted_ms;
    /* Asked about with COMMIT_ASK while it is under way: answered when it is known. */
    struct {
        uint64_t peer;
        uint32_t tag;
    } askers[COMMIT_ASKERS_MAX];
    size_t asker_count;
};

/* ---- sessions ---- */

void on_session_open(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_session_open *o = &m->session_open;
    if (!server_serves(p->role, o->service)) {
        server_fault(p, "a session of a service that is not its own");
        return;
    }
    struct session *session;
    int rc = sessions_open(&sv->sessions, &p->sessions, &o->session, o->service, &o->source, true, &session);
    if (rc == BRANT_EEXISTS) {
        server_fault(p, "a session opened twice");
        return;
    }
    struct ipc_message answer = {.type = IPC_TYPE_SESSION_VERDICT, .tag = m->tag};
    if (rc != BRANT_OK) {
        answer.session_verdict.status = IPC_TOO_MANY;
        answer.session_verdict.text = SPAN_LIT("too many connections");
    }
    server_send(p, &answer);
}

void on_session_close(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    struct session *session = sessions_find(&sv->sessions, &p->sessions, &m->session_close.session);
    if (session) /* one that was refused, or not presented again, is unknown and ends all the same */
        server_session_close(sv, session);
}

/* ---- recipients ---- */

static enum ipc_status rcpt_status(int rc, const char **ret_text)
{
    *ret_text = NULL;
    switch (rc) {
    case BRANT_OK:
        return IPC_OK;
    case BRANT_ENOTFOUND:
        return IPC_UNKNOWN_ADDRESS;
    case BRANT_EREFUSED:
        return IPC_NOT_LOCAL;
    case BRANT_ESYNTAX:
        *ret_text = "not an address";
        return IPC_INVALID;
    case BRANT_ELIMIT:
        *ret_text = "its aliases reach too far";
        return IPC_REFUSED;
    case BRANT_ESTATE:
        return IPC_OVER_QUOTA;
    default:
        return server_status_of(rc);
    }
}

void on_rcpt_check(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_rcpt_check *r = &m->rcpt_check;
    struct session *session = sessions_find(&sv->sessions, &p->sessions, &r->session);
    if (!session) {
        server_fault(p, "a recipient for a session that is not open");
        return;
    }
    size_t count;
    const char *text;
    struct buf _cleanup_buf_ name, limit;
    buf_init(&name, IPC_ADDRESS_MAX);
    buf_init(&limit, IPC_TEXT_MAX);
    /* What has no spelling of the directory's is no address of ours, and the store says so. */
    bool well_formed = canonical_address(r->address, &name) == BRANT_OK;
    struct span address = well_formed ? buf_span(&name) : r->address;
    int rc = store_resolve(sv->store, address, r->size, NULL, 0, &count);
    struct ipc_message answer = {.type = IPC_TYPE_RCPT_VERDICT, .tag = m->tag};
    answer.rcpt_verdict.status = (uint8_t)rcpt_status(rc, &text);
    if (text)
        answer.rcpt_verdict.text = span_str(text);
    submission_rcpt(sv, session, well_formed, &answer.rcpt_verdict, &limit);
    server_send(p, &answer);
}

/* ---- commits ---- */

static struct span commit_key(const struct ipc_id *id)
{
    return span_make(id->b, sizeof id->b);
}

static void send_commit_result(struct peer *p, uint32_t tag, const struct ipc_id *id, enum ipc_status status,
                               const struct ipc_recipient_result *results, size_t count)
{
    struct ipc_message m = {
        .type = IPC_TYPE_COMMIT_RESULT,
        .tag = tag,
        .commit_result = {.commit = *id,
                          .state = status == IPC_OK ? IPC_COMMIT_DONE : IPC_COMMIT_UNKNOWN,
                          .status = (uint8_t)status,
                          .results = results,
                          .results_count = (uint32_t)count}};
    server_send(p, &m);
}

/* What became of a recipient: its own trouble, or that of the whole. */
static enum ipc_status recipient_status(enum ipc_status whole, int rc)
{
    const char *text;
    return rc == BRANT_OK ? whole : rcpt_status(rc, &text);
}

/* Answers everybody who waits for it, and forgets it. */
static void commit_end(struct commit_op *c, enum ipc_status status)
{
    struct server *sv = c->op.sv;
    const struct store_commit *sc = &c->op.store.commit;
    map_remove(&sv->commits, commit_key(&c->id));
    if (c->submitter != 0 && (status != IPC_OK || sc->duplicate))
        rates_take_back(&sv->rates, c->submitter, (uint32_t)sc->rcpt_count, c->counted_ms, server_now_ms(sv));
    struct peer *p = server_peer(sv, c->op.peer);
    if (p) {
        p->body_bytes -= c->counted;
        struct ipc_recipient_result *results = arena_array(&c->op.arena, sc->rcpt_count, sizeof *results);
        for (size_t i = 0; results && i < sc->rcpt_count; i++)
            results[i].status = (uint8_t)recipient_status(status, sc->rcpts[i].result);
        send_commit_result(p, c->op.tag, &c->id, status, results, results ? sc->rcpt_count : 0);
    }
    for (size_t i = 0; i < c->asker_count; i++) {
        struct peer *asker = server_peer(sv, c->askers[i].peer);
        if (asker)
            send_commit_result(asker, c->askers[i].tag, &c->id, status, NULL, 0);
    }
    op_free(&c->op);
}

static void commit_finish(struct op *op)
{
    struct server *sv = op->sv;
    struct commit_op *c = (struct commit_op *)op;
    int rc = op->store.result;
    if (rc != BRANT_OK)
        log_event(LOG_WARNING, "commit-refused", LOG_HEX("commit", commit_key(&c->id)),
                  LOG_STR("error", brant_err_text(rc)),
                  LOG_STR("reason", op->store.reason ? op->store.reason : ""));
    commit_end(c, server_status_of(rc));
    arriving_retry(sv); /* its memory is free */
}

static void commit_body_ready(void *context, enum ipc_status status, struct store_body *body)
{
    struct commit_op *c = context;
    if (status != IPC_OK) {
        commit_end(c, status);
        return;
    }
    struct peer *p = server_peer(c->op.sv, c->op.peer);
    uint64_t memory = store_body_memory(body);
    if (p)
        p->body_bytes += memory;
    c->counted += memory;
    c->op.store.commit.body = body;
    op_submit(&c->op);
}

static bool commit_makes_sense(const struct ipc_commit *m)
{
    if (m->recipients_count == 0 || m->variants_count == 0 ||
        (m->content_sum.len != 0 && m->content_sum.len != STORE_SUM_BYTES))
        return false;
    for (uint32_t i = 0; i < m->recipients_count; i++)
        if (m->recipients[i].variant >= m->variants_count)
            return false;
    return true;
}

/* In the spelling of the directory. What has none is no address of ours, and the store says so. */
static struct span recipient_dup(struct arena *a, struct span address)
{
    struct buf _cleanup_buf_ name;
    buf_init(&name, IPC_ADDRESS_MAX);
    return arena_dup(a, canonical_address(address, &name) == BRANT_OK ? buf_span(&name) : address);
}

/* Everything is copied: the message lives only as long as its handler. */
static void commit_fill(struct commit_op *c, const struct session *session, const struct ipc_commit *m)
{
    struct arena *a = &c->op.arena;
    struct store_commit *s = &c->op.store.commit;
    char *source = arena_alloc(a, IP_TEXT_MAX);
    if (ip_format(&session->source, source) == BRANT_OK)
        s->source = span_str(source);
    memcpy(s->id, m->commit.b, sizeof s->id);
    memcpy(s->session, session->id.b, sizeof s->session);
    s->protocol = arena_dup(a, m->protocol);
    s->helo = arena_dup(a, m->helo);
    s->reverse_path = arena_dup(a, m->reverse_path);
    s->message_id = arena_dup(a, m->message_id);
    s->structure = arena_dup(a, m->structure);
    s->tls = arena_dup(a, m->tls);
    if (m->content_sum.len > 0)
        memcpy(s->content_sum, m->content_sum.p, STORE_SUM_BYTES);
    s->submitter = submission_account(session); /* never from the role */
    s->each = m->each;
    struct span *prefixes = arena_array(a, m->variants_count, sizeof *prefixes);
    for (uint32_t i = 0; i < m->variants_count; i++)
        prefixes[i] = arena_dup(a, m->variants[i].prefix);
    s->prefixes = prefixes;
    s->prefix_count = m->variants_count;
    s->rcpts = arena_array(a, m->recipients_count, sizeof *s->rcpts);
    for (uint32_t i = 0; i < m->recipients_count; i++)
        s->rcpts[i] = (struct store_rcpt){.address = recipient_dup(a, m->recipients[i].address),
                                          .variant = m->recipients[i].variant};
    s->rcpt_count = m->recipients_count;
    c->counted = a->used;
}

/* May it go on? */
static enum ipc_status commit_admit(struct server *sv, struct peer *p, struct session *session,
                                    struct commit_op *c)
{
    const struct store_commit *s = &c->op.store.commit;
    if (p->body_bytes > COMMITS_CHANNEL_BYTES) /* it sends faster than the disk takes */
        return IPC_TRY_LATER;
    if (s->submitter == 0)
        return IPC_OK;
    enum ipc_status status = submission_commit(sv, session, s->reverse_path, (uint32_t)s->rcpt_count);
    if (status == IPC_OK) {
        c->submitter = s->submitter;
        c->counted_ms = server_now_ms(sv);
    }
    return status;
}

void on_commit(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_commit *ic = &m->commit;
    struct session *session = sessions_find(&sv->sessions, &p->sessions, &ic->session);
    if (!session) {
        server_fault(p, "a commit for a session that is not open");
        return;
    }
    if (!commit_makes_sense(ic) || ic->service != session->service) {
        server_fault(p, "a commit that makes no sense");
        return;
    }
    if (map_get(&sv->commits, commit_key(&ic->commit))) {
        server_fault(p, "a commit id used twice");
        return;
    }
    struct commit_op *c = op_new(sv, sizeof *c, COMMIT_ARENA_BYTES);
    c->id = ic->commit;
    c->op.peer = p->sessions.channel;
    c->op.tag = m->tag;
    c->op.finish = commit_finish;
    c->op.store.kind = STORE_OP_COMMIT;
    commit_fill(c, session, ic);
    p->body_bytes += c->counted;
    map_put(&sv->commits, commit_key(&c->id), c);
    enum ipc_status status = commit_admit(sv, p, session, c);
    if (status != IPC_OK) {
        arriving_drop(sv, session, ic->body);
        commit_end(c, status);
        return;
    }
    int rc = arriving_claim(sv, session, ic->body, ic->body_bytes, commit_body_ready, c);
    if (rc == BRANT_OK)
        return;
    map_remove(&sv->commits, commit_key(&c->id));
    p->body_bytes -= c->counted;
    if (c->submitter != 0)
        rates_take_back(&sv->rates, c->submitter, ic->recipients_count, c->counted_ms, server_now_ms(sv));
    op_free(&c->op);
    server_fault(p, rc == BRANT_ENOTFOUND ? "a commit of a body that was not sent"
                                          : "a commit of a body of another length");
}

void on_commit_ask(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_id *id = &m->commit_ask.commit;
    struct commit_op *c = map_get(&sv->commits, commit_key(id));
    if (c && c->asker_count < COMMIT_ASKERS_MAX) {
        c->askers[c->asker_count].peer = p->sessions.channel;
        c->askers[c->asker_count++].tag = m->tag;
        return;
    }
    int rc = c ? BRANT_ETRYLATER : store_commit_query(sv->store, id->b);
    send_commit_result(p, m->tag, id, server_status_of(rc), NULL, 0);
}
