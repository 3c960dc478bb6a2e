#include "roles/store/appends.h"

#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "imap/flag.h"
#include "log/log.h"
#include "roles/store/requests.h"

static const char sent_name[] = "Sent"; /* where the copy of a submission is filed */

/* A message of it. */
struct item {
    struct append *append;
    struct item *next;
    struct store_appended message;
};

struct append {
    struct op op; /* its arena holds the items and all they point to */
    struct append *prev, *next;
    struct session *session; /* NULL: it has ended, or nobody wants this any more */
    uint64_t session_serial, account;
    struct ipc_id session_id, id;
    struct item *items, **items_end;
    size_t count, pending;  /* pending: their bodies are not whole yet */
    enum ipc_status status; /* not IPC_OK: it will not be stored, and why */
    uint64_t counted;       /* in the peer's append_bytes */
    bool committed;         /* APPEND_COMMIT has come */
    bool submitted;
    struct span name; /* of the mailbox */
    /* Asked about while it is under way. */
    uint64_t asker; /* peer; 0: nobody */
    uint32_t asker_tag;
};

static struct span id_key(const struct ipc_id *id)
{
    return span_make(id->b, sizeof id->b);
}

void appends_init(struct appends *a, struct map_key key)
{
    *a = (struct appends){0};
    map_init(&a->by_id, key);
}

/* ---- memory ---- */

static void recount(struct append *a)
{
    uint64_t now = a->op.arena.used;
    for (const struct item *i = a->items; i; i = i->next)
        now += i->message.body ? store_body_memory(i->message.body) : 0;
    struct peer *p = server_peer(a->op.sv, a->op.peer);
    if (p)
        p->append_bytes += now - a->counted;
    a->counted = now;
}

static void free_bodies(struct append *a)
{
    for (struct item *i = a->items; i; i = i->next) {
        if (i->message.body)
            store_body_free(i->message.body);
        i->message.body = NULL;
    }
}

static void unlink_append(struct append *a)
{
    struct appends *all = &a->op.sv->appends;
    *(a->prev ? &a->prev->next : &all->first) = a->next;
    if (a->next)
        a->next->prev = a->prev;
    a->prev = a->next = NULL;
}

/* The last of every append, on every way. */
static void append_release(struct op *op)
{
    struct append *a = (struct append *)op;
    struct peer *p = server_peer(op->sv, op->peer);
    if (p)
        p->append_bytes -= a->counted;
    op->sv->appends.count--;
}

static void append_free(struct append *a)
{
    assert(a->pending == 0 && !a->submitted);
    unlink_append(a);
    if (a->committed)
        map_remove(&a->op.sv->appends.by_id, id_key(&a->id));
    if (a->session)
        a->session->append = NULL;
    free_bodies(a);
    op_free(&a->op);
}

void appends_close(struct appends *all)
{
    while (all->first) {
        all->first->pending = 0; /* their bodies were dropped */
        append_free(all->first);
    }
}

void appends_done(struct appends *all)
{
    assert(all->count == 0);
    map_done(&all->by_id);
}

/* It will not be stored. */
static void give_up(struct append *a, enum ipc_status status)
{
    if (a->status != IPC_OK)
        return;
    a->status = status;
    free_bodies(a);
    recount(a);
}

/* Nobody waits for it any more. What the store has been given is stored all the same. */
static void abandon(struct append *a)
{
    if (a->session)
        a->session->append = NULL;
    a->session = NULL;
    if (a->submitted)
        return;
    give_up(a, IPC_FAILED);
    if (a->pending == 0)
        append_free(a);
}

void appends_session_closed(struct server *sv, struct session *session)
{
    if (!session->append)
        return;
    abandon(session->append);
    arriving_retry(sv);
}

/* ---- gathering ---- */

static void commit_go(struct append *a);

static void item_ready(void *context, enum ipc_status status, struct store_body *body)
{
    struct item *i = context;
    struct append *a = i->append;
    a->pending--;
    i->message.body = body;
    if (status != IPC_OK)
        give_up(a, status);
    if (a->status != IPC_OK)
        free_bodies(a);
    recount(a);
    const struct peer *p = server_peer(a->op.sv, a->op.peer);
    if (a->counted > APPENDS_SESSION_BYTES)
        give_up(a, IPC_TOO_MANY);
    else if (p && p->append_bytes > APPENDS_CHANNEL_BYTES)
        give_up(a, IPC_TRY_LATER);
    if (a->pending > 0)
        return;
    if (!a->session)
        append_free(a);
    else if (a->committed)
        commit_go(a);
}

static struct append *append_new(struct server *sv, struct peer *p, struct session *session)
{
    struct append *a = op_new(sv, sizeof *a, APPENDS_SESSION_BYTES);
    a->op.peer = p->sessions.channel;
    a->op.release = append_release;
    a->session = session;
    a->session_serial = session->serial;
    a->session_id = session->id;
    a->account = session->account;
    a->items_end = &a->items;
    session->append = a;
    a->next = sv->appends.first;
    if (a->next)
        a->next->prev = a;
    sv->appends.first = a;
    sv->appends.count++;
    return a;
}

/* The fields; false: they make no sense. A full arena gives the append up. */
static bool item_fill(struct append *a, struct item *i, const struct ipc_append_message *q)
{
    struct arena *arena = &a->op.arena;
    struct store_appended *m = &i->message;
    if ((q->flags & ~(uint64_t)IMAP_FLAGS_SYSTEM) != 0 ||
        (q->content_sum.len != 0 && q->content_sum.len != STORE_SUM_BYTES))
        return false;
    size_t need = q->message_id.len + q->structure.len + FIELDS_KEYWORDS_ARENA;
    if (arena->used + need > arena->max) {
        give_up(a, IPC_TOO_MANY);
        return true;
    }
    m->flags = q->flags;
    if (q->has_time)
        m->time_ms = q->time_ms != 0 ? (int64_t)q->time_ms : 1;
    m->message_id = arena_dup(arena, q->message_id);
    m->structure = arena_dup(arena, q->structure);
    if (q->content_sum.len > 0)
        memcpy(m->content_sum, q->content_sum.p, STORE_SUM_BYTES);
    return fields_keywords(arena, q->keywords, &m->keywords);
}

/* NULL: the peer was told off. */
static struct append *append_of(struct server *sv, struct peer *p, struct session *session)
{
    struct append *a = session->append;
    if (a && a->committed)
        server_fault(p, "a message for an APPEND that was committed");
    else if (a && a->count == IPC_APPEND_MAX)
        server_fault(p, "too many messages in one APPEND");
    else
        return a ? a : append_new(sv, p, session);
    return NULL;
}

void on_append_message(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_append_message *q = &m->append_message;
    struct session *session = request_session(sv, p, &q->session);
    struct append *a = session ? append_of(sv, p, session) : NULL;
    if (!a)
        return;
    struct item *i = a->status == IPC_OK ? arena_alloc(&a->op.arena, sizeof *i) : NULL;
    if (!i) { /* it is refused already, or the arena is full */
        give_up(a, IPC_TOO_MANY);
        a->count++;
        arriving_drop(sv, session, q->body);
        return;
    }
    i->append = a;
    *a->items_end = i;
    a->items_end = &i->next;
    a->count++;
    if (!item_fill(a, i, q)) {
        server_fault(p, "a message that makes no sense");
        return;
    }
    if (a->status != IPC_OK) {
        arriving_drop(sv, session, q->body);
        return;
    }
    a->pending++;
    int rc = arriving_claim(sv, session, q->body, q->body_bytes, item_ready, i);
    if (rc == BRANT_OK)
        return;
    a->pending--;
    server_fault(p, rc == BRANT_ENOTFOUND ? "a message whose body was not sent"
                                          : "a message whose body has another length");
}

void on_append_abort(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    struct session *session = request_session(sv, p, &m->append_abort.session);
    if (session) /* perhaps it was given up before its first message */
        appends_session_closed(sv, session);
}

/* ---- storing ---- */

static void send_appended(struct peer *p, uint32_t tag, enum ipc_status status, uint32_t uidvalidity,
                          struct span uids)
{
    server_send(p, &(struct ipc_message){
                       .type = IPC_TYPE_APPENDED,
                       .tag = tag,
                       .appended = {.status = (uint8_t)status, .uidvalidity = uidvalidity, .uids = uids}});
}

static void answer(struct append *a, enum ipc_status status, uint32_t uidvalidity, struct span uids)
{
    struct peer *p = server_peer(a->op.sv, a->op.peer), *asker = server_peer(a->op.sv, a->asker);
    if (p)
        send_appended(p, a->op.tag, status, uidvalidity, uids);
    if (asker)
        send_appended(asker, a->asker_tag, status == IPC_OK ? IPC_OK : IPC_TRY_LATER, uidvalidity, uids);
}

static enum ipc_status append_status(int rc)
{
    if (rc == BRANT_EREFUSED)
        return IPC_OVER_QUOTA;
    return rc == BRANT_ELIMIT ? IPC_TOO_MANY : server_status_of(rc);
}

/* The UIDs in order of the messages: consecutive, unless the one is a copy that was there. */
static struct span uids_of(struct append *a)
{
    const struct store_append *s = &a->op.store.append;
    struct store_range_list list = {.r = mem_array(s->count, sizeof *list.r), .max = s->count};
    for (size_t i = 0; i < s->count; i++) {
        struct store_range *last = list.count > 0 ? &list.r[list.count - 1] : NULL;
        uint32_t uid = s->messages[i].uid;
        if (last && last->last + 1 == uid)
            last->last = uid;
        else
            list.r[list.count++] = (struct store_range){uid, uid};
    }
    a->op.arena.max += a->count * IPC_RANGE_BYTES + 64; /* however full it is */
    struct span uids = fields_ranges_put(&a->op.arena, &list);
    free(list.r);
    return uids;
}

static void append_finish(struct op *op)
{
    struct server *sv = op->sv;
    struct append *a = (struct append *)op;
    int rc = op->store.result;
    if (rc == BRANT_OK)
        answer(a, IPC_OK, op->store.append.uidvalidity, uids_of(a));
    else
        answer(a, append_status(rc), 0, SPAN_NONE);
    if (rc != BRANT_OK)
        log_event(LOG_WARNING, "append-refused", LOG_HEX("session", id_key(&a->session_id)),
                  LOG_U64("account", a->account), LOG_STR("error", brant_err_text(rc)),
                  LOG_STR("reason", op->store.reason ? op->store.reason : ""));
    map_remove(&sv->appends.by_id, id_key(&a->id));
    if (a->session)
        a->session->append = NULL;
    op_free(op);
    arriving_retry(sv); /* its memory is free */
}

/* The bodies are the store's from here on. */
static void submit(struct append *a, uint64_t mailbox)
{
    struct store_append *s = &a->op.store.append;
    a->op.arena.max += a->count * sizeof *s->messages + 64;
    struct store_appended *messages = arena_array(&a->op.arena, a->count, sizeof *messages);
    assert(messages);
    size_t count = 0;
    for (struct item *i = a->items; i; i = i->next) {
        messages[count++] = i->message;
        i->message.body = NULL;
    }
    assert(count == a->count);
    a->op.store.kind = STORE_OP_APPEND;
    *s = (struct store_append){
        .account = a->account, .mailbox = mailbox, .messages = messages, .count = count};
    memcpy(s->id, a->id.b, sizeof s->id);
    memcpy(s->session, a->session_id.b, sizeof s->session);
    s->unless_filed = count == 1 && span_eq_str(a->name, sent_name) && messages[0].message_id.len > 0 &&
                      memcmp(messages[0].content_sum, (uint8_t[STORE_SUM_BYTES]){0}, STORE_SUM_BYTES) != 0;
    unlink_append(a);
    a->submitted = true;
    a->op.finish = append_finish;
    op_submit(&a->op);
}

struct find_read {
    struct request_read r;
    struct append *a;
    struct store_mailbox_info info;
};

static void run_find(struct work *work, void *reader)
{
    struct find_read *f = (struct find_read *)work;
    f->r.rc = store_mailbox_find(reader, f->r.account, f->a->name, &f->info);
}

static void refuse(struct append *a, enum ipc_status status)
{
    struct server *sv = a->op.sv;
    answer(a, status, 0, SPAN_NONE);
    append_free(a);
    arriving_retry(sv);
}

static void answer_find(struct peer *p, struct session *session, struct request_read *r)
{
    struct find_read *f = (struct find_read *)r;
    struct append *a = f->a;
    (void)p;
    (void)session;
    a->pending--;
    if (!a->session) /* aborted meanwhile */
        append_free(a);
    else if (r->rc == BRANT_OK)
        submit(a, f->info.mailbox);
    else
        refuse(a, server_status_of(r->rc));
}

static void drop_find(struct request_read *r)
{
    struct append *a = ((struct find_read *)r)->a;
    a->pending--;
    if (!a->session)
        append_free(a);
    else
        abandon(a);
}

/* All that was sent is there: it can be stored, or is refused. */
static void commit_go(struct append *a)
{
    struct peer *p = server_peer(a->op.sv, a->op.peer);
    if (!p || a->status != IPC_OK) {
        answer(a, a->status, 0, SPAN_NONE);
        append_free(a);
        return;
    }
    struct find_read *f =
        request_read_new(p, a->session, a->op.tag, sizeof *f, IPC_MAILBOX_NAME_MAX, run_find, answer_find);
    f->a = a;
    f->r.drop = drop_find;
    a->pending++; /* the read has it */
    request_read_start(p, a->session, &f->r);
}

void on_append_commit(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_append_commit *q = &m->append_commit;
    struct session *session = request_session(sv, p, &q->session);
    if (!session)
        return;
    struct append *a = session->append;
    if (!a || a->committed || a->count != q->messages || !fields_name(q->name) ||
        map_get(&sv->appends.by_id, id_key(&q->append))) {
        server_fault(p, "an APPEND that makes no sense");
        return;
    }
    a->op.arena.max += q->name.len + 64;
    a->name = arena_dup(&a->op.arena, q->name);
    a->op.tag = m->tag;
    a->id = q->append;
    a->committed = true;
    map_put(&sv->appends.by_id, id_key(&a->id), a);
    if (a->pending == 0)
        commit_go(a);
}

void on_append_ask(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_append_ask *q = &m->append_ask;
    struct session *session = request_session(sv, p, &q->session);
    if (!session)
        return;
    struct append *a = map_get(&sv->appends.by_id, id_key(&q->append));
    bool own = a && a->account == session->account;
    if (own && a->asker == 0) {
        a->asker = p->sessions.channel;
        a->asker_tag = m->tag;
        return;
    }
    /* Those that are not remembered were perhaps done: nobody can tell. */
    int rc = a ? BRANT_ETRYLATER : store_commit_query(sv->store, q->append.b);
    send_appended(p, m->tag, rc == BRANT_OK ? IPC_OK : IPC_TRY_LATER, 0, SPAN_NONE);
}
