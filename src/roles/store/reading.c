/* Reading mail: the maildrop, and the bytes of messages. */
#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/wire.h"
#include "roles/store/requests.h"

enum {
    READING_TICK_MS = 15000,
    /* How long a message that nobody reads on is held open: longer than a role waits for a client that
     * stalls, whose message may have been expunged meanwhile and could not be opened again. */
    READING_KEEP_MS = 180000,
    /* So many are held open, each with a file or up to half a megabyte: the one that was read longest ago
     * makes room. Its session opens it anew, or finds that it was expunged. */
    READING_HELD_MAX = 256
};

/* A session's open message: read in pieces, one after the other, without opening it for each. */
struct open_message {
    struct store_message *message;
    uint64_t mailbox; /* 0: the maildrop */
    uint32_t uid;
    /* while it is held between two pieces */
    struct session *session;
    uint64_t read_ms; /* when it was last */
    struct open_message *prev, *next;
};

static void open_message_free(struct open_message *o)
{
    if (!o)
        return;
    store_message_close(o->message);
    free(o);
}

/* What the session holds is the caller's now; NULL: it holds nothing. */
static struct open_message *reading_take(struct server *sv, struct session *session)
{
    struct reading *held = &sv->reading;
    struct open_message *o = session->reading;
    if (!o)
        return NULL;
    session->reading = NULL;
    *(o->prev ? &o->prev->next : &held->oldest) = o->next;
    *(o->next ? &o->next->prev : &held->newest) = o->prev;
    o->prev = o->next = NULL;
    held->count--;
    return o;
}

static void reading_hold(struct server *sv, struct session *session, struct open_message *o)
{
    struct reading *held = &sv->reading;
    if (held->count == READING_HELD_MAX)
        reading_session_closed(sv, held->oldest->session);
    o->session = session;
    o->read_ms = server_now_ms(sv);
    o->prev = held->newest;
    *(o->prev ? &o->prev->next : &held->oldest) = o;
    held->newest = session->reading = o;
    held->count++;
}

void reading_session_closed(struct server *sv, struct session *session)
{
    open_message_free(reading_take(sv, session));
}

void reading_tick(void *context)
{
    struct server *sv = context;
    struct reading *held = &sv->reading;
    uint64_t now = server_now_ms(sv);
    while (held->oldest && now - held->oldest->read_ms >= READING_KEEP_MS)
        reading_session_closed(sv, held->oldest->session);
    net_timer_set(sv->reading_timer, READING_TICK_MS);
}

/* The session of a message, which is logged in, or NULL after its sender was told off. */
static struct session *session_of(struct server *sv, struct peer *p, const struct ipc_id *id)
{
    struct session *session = sessions_find(&sv->sessions, &p->sessions, id);
    if (!session)
        server_fault(p, "a request for a session that is not open");
    else if (session->account == 0)
        server_fault(p, "a request for a session that is not logged in");
    else
        return session;
    return NULL;
}

/* ---- the maildrop ---- */

enum { LIST_ROWS = IPC_ROWS_MAX };

struct maildrop_work {
    struct read_work read;
    uint16_t answer;  /* its type */
    uint64_t session; /* serial */
    uint64_t account;
    uint64_t mailbox;
    struct request request;
    uint32_t uid; /* to read, or to list behind */
    uint64_t offset;
    size_t length;
    int rc;
    struct store_mailbox_info box;
    struct open_message *message; /* taken from the session while this runs */
    void *data;                   /* rows or bytes; owned */
    size_t count;
};

static void maildrop_work_free(struct maildrop_work *w)
{
    open_message_free(w->message);
    free(w->data);
    free(w);
}

static void maildrop_reply(struct peer *p, const struct maildrop_work *w)
{
    struct ipc_message m = {.type = w->answer, .tag = w->read.tag};
    uint8_t status = (uint8_t)server_status_of(w->rc);
    bool ok = w->rc == BRANT_OK;
    switch (w->answer) {
    case IPC_TYPE_MAILDROP:
        m.maildrop.status = status;
        m.maildrop.uidvalidity = w->box.uidvalidity;
        m.maildrop.count = (uint32_t)w->box.messages;
        m.maildrop.octets = w->box.bytes;
        break;
    case IPC_TYPE_MAILDROP_ROWS:
        m.maildrop_rows.status = status;
        m.maildrop_rows.rows = w->data;
        m.maildrop_rows.rows_count = ok ? (uint32_t)w->count : 0;
        m.maildrop_rows.more = ok && w->count == LIST_ROWS;
        break;
    default:
        m.message_data.status = status;
        m.message_data.bytes = ok ? span_make(w->data, w->count) : SPAN_NONE;
        break;
    }
    server_send(p, &m);
}

static void maildrop_finish(struct read_work *r)
{
    struct maildrop_work *w = (struct maildrop_work *)r;
    struct peer *p = server_peer(r->sv, r->peer);
    struct session *session = sessions_find_serial(&r->sv->sessions, w->session);
    bool more = w->rc == BRANT_OK && w->count == w->length; /* a message that was read to its end is let go */
    if (session && w->message && more && !session->reading) {
        reading_hold(r->sv, session, w->message);
        w->message = NULL;
    }
    if (p && session)
        maildrop_reply(p, w);
    request_end(r->sv, &w->request);
    maildrop_work_free(w);
}

static struct maildrop_work *maildrop_work_new(struct peer *p, const struct session *session, uint32_t tag,
                                               uint16_t answer, void (*run)(struct work *, void *))
{
    struct maildrop_work *w = mem_zalloc(sizeof *w);
    w->read = (struct read_work){
        .work.run = run, .peer = p->sessions.channel, .tag = tag, .finish = maildrop_finish};
    w->answer = answer;
    w->session = session->serial;
    w->account = session->account;
    return w;
}

static void maildrop_start(struct server *sv, struct peer *p, struct maildrop_work *w)
{
    if (server_read(sv, &w->read))
        return;
    w->rc = BRANT_ETRYLATER;
    maildrop_reply(p, w);
    request_end(sv, &w->request);
    maildrop_work_free(w);
}

static void run_open(struct work *work, void *reader)
{
    struct maildrop_work *w = (struct maildrop_work *)work;
    w->rc = store_mailbox_get(reader, w->account, 0, &w->box);
}

void on_maildrop_open(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    struct session *session = session_of(sv, p, &m->maildrop_open.session);
    if (!session)
        return;
    if (sessions_maildrop_lock(&sv->sessions, session) != BRANT_OK) {
        struct ipc_message answer = {.type = IPC_TYPE_MAILDROP, .tag = m->tag};
        answer.maildrop.status = IPC_IN_USE;
        server_send(p, &answer);
        return;
    }
    maildrop_start(sv, p, maildrop_work_new(p, session, m->tag, IPC_TYPE_MAILDROP, run_open));
}

static void run_list(struct work *work, void *reader)
{
    struct maildrop_work *w = (struct maildrop_work *)work;
    struct store_entry *entries = mem_array(LIST_ROWS, sizeof *entries);
    w->rc = store_entries_list(reader, w->account, 0, w->uid, entries, LIST_ROWS, &w->count);
    if (w->rc == BRANT_OK) {
        struct ipc_maildrop_row *rows = mem_array(w->count + 1, sizeof *rows);
        for (size_t i = 0; i < w->count; i++)
            rows[i] = (struct ipc_maildrop_row){.uid = entries[i].uid, .octets = entries[i].size};
        w->data = rows;
    }
    free(entries);
}

/* The maildrop must be open: its lock is what the session was promised. */
static struct session *session_with_maildrop(struct server *sv, struct peer *p, const struct ipc_id *id)
{
    struct session *session = session_of(sv, p, id);
    if (session && !session->maildrop_held) {
        server_fault(p, "a request for a maildrop that is not open");
        return NULL;
    }
    return session;
}

void on_maildrop_list(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    struct session *session = session_with_maildrop(sv, p, &m->maildrop_list.session);
    if (!session)
        return;
    struct maildrop_work *w = maildrop_work_new(p, session, m->tag, IPC_TYPE_MAILDROP_ROWS, run_list);
    w->uid = m->maildrop_list.after_uid;
    maildrop_start(sv, p, w);
}

static void run_read(struct work *work, void *reader)
{
    struct maildrop_work *w = (struct maildrop_work *)work;
    if (!w->message) {
        struct store_message *message;
        w->rc = store_message_open(reader, w->account, w->mailbox, w->uid, &message);
        if (w->rc != BRANT_OK)
            return;
        w->message = mem_zalloc(sizeof *w->message);
        *w->message = (struct open_message){.message = message, .mailbox = w->mailbox, .uid = w->uid};
    }
    w->data = mem_alloc(w->length);
    w->rc = store_message_read(w->message->message, w->offset, w->data, w->length, &w->count);
}

/* The session that may read this: in POP3 the maildrop it has open, in IMAP any mailbox of its account. */
static struct session *session_that_reads(struct server *sv, struct peer *p, const struct ipc_message_read *r)
{
    bool imap = p->role == IPC_ROLE_IMAP;
    if (imap != (r->mailbox != 0)) {
        server_fault(p, "a mailbox that is not its to read");
        return NULL;
    }
    return imap ? request_session(sv, p, &r->session) : session_with_maildrop(sv, p, &r->session);
}

static bool has_open(const struct session *session, const struct ipc_message_read *r)
{
    const struct open_message *o = session->reading;
    return o && o->mailbox == r->mailbox && o->uid == r->uid;
}

void on_message_read(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_message_read *r = &m->message_read;
    struct session *session = session_that_reads(sv, p, r);
    if (!session)
        return;
    struct maildrop_work *w = maildrop_work_new(p, session, m->tag, IPC_TYPE_MESSAGE_DATA, run_read);
    w->mailbox = r->mailbox;
    w->uid = r->uid;
    w->offset = r->offset;
    w->length = r->length;
    if (p->role == IPC_ROLE_IMAP && !request_begin(&w->request, p, session, r->length)) {
        w->rc = BRANT_ETRYLATER;
        maildrop_reply(p, w);
        maildrop_work_free(w);
        return;
    }
    if (has_open(session, r))
        w->message = reading_take(sv, session);
    else
        reading_session_closed(sv, session);
    maildrop_start(sv, p, w);
}

/* ---- deleting ---- */

struct expunge_op {
    struct op op;
    struct store_range *ranges; /* in the arena */
    size_t count;
};

/* One operation looks at a bounded number of messages: the rest is for the next one. */
static void expunge_slice(struct expunge_op *e, uint32_t done_to)
{
    struct store_change *change = &e->op.store.change;
    while (e->count > 0 && e->ranges[0].last <= done_to) {
        e->ranges++;
        e->count--;
    }
    if (e->count > 0 && e->ranges[0].first <= done_to)
        e->ranges[0].first = done_to + 1;
    change->ranges = e->ranges;
    change->range_count = e->count;
    op_submit(&e->op);
}

static void expunge_finish(struct op *op)
{
    struct expunge_op *e = (struct expunge_op *)op;
    if (op->store.result == BRANT_OK && op->store.change.done_to != UINT32_MAX) {
        expunge_slice(e, op->store.change.done_to);
        return;
    }
    struct peer *p = server_peer(op->sv, op->peer);
    if (p)
        server_result(p, op->tag, server_status_of(op->store.result), op->store.reason);
    op_free(op);
}

void on_maildrop_expunge(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_maildrop_expunge *x = &m->maildrop_expunge;
    struct session *session = session_with_maildrop(sv, p, &x->session);
    if (!session)
        return;
    if (x->uids.len % 4 != 0) {
        server_fault(p, "UIDs that are no UIDs");
        return;
    }
    struct store_account_info info;
    int rc = store_account_get(sv->store, session->account, &info);
    if (rc != BRANT_OK || x->uids.len == 0) {
        server_result(p, m->tag, server_status_of(rc), NULL);
        return;
    }
    struct expunge_op *e = op_new(sv, sizeof *e, 2 * IPC_CHUNK_MAX + 1024);
    e->op.peer = p->sessions.channel;
    e->op.tag = m->tag;
    e->op.finish = expunge_finish;
    e->op.store.kind = STORE_OP_EXPUNGE;
    e->op.store.change = (struct store_change){.account = session->account, .mailbox = info.inbox};
    memcpy(e->op.store.change.session, session->id.b, sizeof session->id.b);
    e->count = x->uids.len / 4;
    e->ranges = arena_array(&e->op.arena, e->count, sizeof *e->ranges);
    assert(e->ranges);
    struct wire_reader uids = wire_read(x->uids);
    for (size_t i = 0; i < e->count; i++)
        e->ranges[i].first = e->ranges[i].last = wire_get_u32(&uids);
    mem_wipe(&info, sizeof info);
    expunge_slice(e, 0);
}
