/* Reading mail: logging in, and the maildrop. */
#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/wire.h"
#include "log/log.h"
#include "roles/common/canonical.h"
#include "roles/store/server.h"

/* A session's open message: read in pieces, one after the other, without opening it for each. */
struct open_message {
    struct store_message *message;
    uint32_t uid;
};

static void open_message_free(struct open_message *o)
{
    if (!o)
        return;
    store_message_close(o->message);
    free(o);
}

void reading_session_closed(struct session *session)
{
    open_message_free(session->reading);
    session->reading = NULL;
}

/* The session of a message, or NULL after its sender was told off. With `logged_in` it must be. */
static struct session *session_of(struct server *sv, struct peer *p, const struct ipc_id *id, bool logged_in)
{
    struct session *session = sessions_find(&sv->sessions, &p->sessions, id);
    if (!session)
        server_fault(p, "a request for a session that is not open");
    else if (logged_in && session->account == 0)
        server_fault(p, "a request for a session that is not logged in");
    else
        return session;
    return NULL;
}

/* ---- logging in ---- */

struct login_task {
    struct password_task task;
    uint64_t session; /* serial */
    uint64_t account;
    char user[STORE_ADDRESS_MAX + 1];
};

static void send_login(struct peer *p, uint32_t tag, enum ipc_status status)
{
    struct ipc_message m = {.type = IPC_TYPE_LOGIN_RESULT, .tag = tag};
    m.login_result.status = (uint8_t)status;
    server_send(p, &m);
}

/* The password was right; the account may have gone or been disabled meanwhile. */
static void login_succeed(struct server *sv, struct peer *p, uint32_t tag, struct session *session,
                          uint64_t account)
{
    struct store_account_info info;
    int rc = store_account_get(sv->store, account, &info);
    if (rc != BRANT_OK || !(info.options & STORE_ACCOUNT_ENABLED)) {
        mem_wipe(&info, sizeof info);
        send_login(p, tag, IPC_AUTH_FAILED);
        return;
    }
    struct tokens_subject subject = {
        .account = account, .role = (uint8_t)p->role, .instance = p->instance, .session = session->id};
    uint8_t token[TOKENS_BYTES];
    struct ipc_message m = {.type = IPC_TYPE_LOGIN_RESULT, .tag = tag};
    m.login_result.account = account;
    m.login_result.address = span_str(info.address);
    if (tokens_make(&sv->tokens, &subject, token) == BRANT_OK) /* without one it can't be resumed */
        m.login_result.token = span_make(token, sizeof token);
    session->account = account;
    server_send(p, &m);
    mem_wipe(token, sizeof token);
    mem_wipe(&info, sizeof info);
}

static void login_drop(struct password_task *t)
{
    free(t);
}

static void login_finish(struct server *sv, struct password_task *t, const struct passwords_result *r)
{
    struct login_task *login = (struct login_task *)t;
    struct peer *p = server_peer(sv, t->peer);
    struct session *session = sessions_find_serial(&sv->sessions, login->session);
    if (p && session) {
        struct span user = span_str(login->user);
        session->login_pending = false;
        if (r->outcome == PASSWORDS_RIGHT) {
            throttle_succeeded(&sv->throttle, &session->source, user);
            login_succeed(sv, p, t->tag, session, login->account);
        } else if (r->outcome == PASSWORDS_WRONG) {
            throttle_failed(&sv->throttle, &session->source, user, server_now_ms(sv));
            send_login(p, t->tag, IPC_AUTH_FAILED);
        } else {
            send_login(p, t->tag, IPC_TRY_LATER);
        }
    }
    free(login);
}

/* An unknown user, or one who may not log in, has no verifier: as slow as a wrong password, and answered the
 * same. */
static enum passwords_outcome login_check(struct server *sv, struct login_task *login, uint64_t id,
                                          struct span user, struct span password)
{
    struct store_account_info info;
    struct span verifier = SPAN_NONE;
    if (store_account_find(sv->store, user, &info) == BRANT_OK) {
        login->account = info.account;
        if (info.options & STORE_ACCOUNT_ENABLED)
            verifier = span_make(info.verifier, info.verifier_len);
    }
    enum passwords_outcome outcome =
        passwords_verify(sv->passwords, id, login->account, password, verifier, server_now_ms(sv));
    mem_wipe(&info, sizeof info);
    return outcome;
}

void on_login(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_login *l = &m->login;
    struct session *session = session_of(sv, p, &l->session, false);
    if (!session)
        return;
    if (session->login_pending || session->account != 0 || l->service != session->service) {
        server_fault(p, "a second login in one session");
        return;
    }
    /* One account has one spelling, for the failures counted against it, too. */
    struct buf _cleanup_buf_ name;
    buf_init(&name, IPC_ADDRESS_MAX);
    struct span user = canonical_address(l->user, &name) == BRANT_OK ? buf_span(&name) : l->user;
    if (throttle_waits(&sv->throttle, &session->source, user, server_now_ms(sv))) {
        log_event(LOG_WARNING, "login-throttled", LOG_SPAN("user", user), LOG_IP("source", &session->source));
        send_login(p, m->tag, IPC_TRY_LATER);
        return;
    }
    struct login_task *login = mem_zalloc(sizeof *login);
    login->task = (struct password_task){
        .peer = p->sessions.channel, .tag = m->tag, .finish = login_finish, .drop = login_drop};
    login->session = session->serial;
    memcpy(login->user, user.p, user.len); /* IPC_ADDRESS_MAX fits */
    uint64_t id = server_serial(sv);
    session->login_pending = true;
    struct passwords_result known = {.outcome = login_check(sv, login, id, user, l->password)};
    if (known.outcome == PASSWORDS_PENDING)
        map_put(&sv->logins, map_u64_key(&id), login);
    else
        login_finish(sv, &login->task, &known);
}

void on_resume(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_resume *r = &m->resume;
    struct ipc_message answer = {.type = IPC_TYPE_RESUME_RESULT, .tag = m->tag};
    struct tokens_subject subject = {
        .account = r->account, .role = (uint8_t)p->role, .instance = p->instance, .session = r->session};
    struct store_account_info info = {0};
    bool admitted =
        r->service == IPC_SERVICE_POP3 && r->account != 0 && tokens_verify(&sv->tokens, &subject, r->token) &&
        store_account_get(sv->store, r->account, &info) == BRANT_OK && (info.options & STORE_ACCOUNT_ENABLED);
    mem_wipe(&info, sizeof info);
    struct session *session;
    if (!admitted) {
        answer.resume_result.status = IPC_AUTH_FAILED;
    } else if (sessions_open(&sv->sessions, &p->sessions, &r->session, r->service, &r->source, false,
                             &session) != BRANT_OK) {
        server_fault(p, "a session resumed that is open");
        return;
    } else {
        session->account = r->account;
        if (r->maildrop_held && sessions_maildrop_lock(&sv->sessions, session) != BRANT_OK) {
            sessions_close(&sv->sessions, session);
            answer.resume_result.status = IPC_IN_USE;
        }
    }
    server_send(p, &answer);
}

/* ---- the maildrop ---- */

enum { LIST_ROWS = IPC_ROWS_MAX };

struct maildrop_work {
    struct read_work read;
    uint16_t answer;  /* its type */
    uint64_t session; /* serial */
    uint64_t account;
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
        session->reading = w->message;
        w->message = NULL;
    }
    if (p && session)
        maildrop_reply(p, w);
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
    maildrop_work_free(w);
}

static void run_open(struct work *work, void *reader)
{
    struct maildrop_work *w = (struct maildrop_work *)work;
    w->rc = store_mailbox_get(reader, w->account, 0, &w->box);
}

void on_maildrop_open(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    struct session *session = session_of(sv, p, &m->maildrop_open.session, true);
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
    struct session *session = session_of(sv, p, id, true);
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
        w->rc = store_message_open(reader, w->account, 0, w->uid, &message);
        if (w->rc != BRANT_OK)
            return;
        w->message = mem_zalloc(sizeof *w->message);
        *w->message = (struct open_message){.message = message, .uid = w->uid};
    }
    w->data = mem_alloc(w->length);
    w->rc = store_message_read(w->message->message, w->offset, w->data, w->length, &w->count);
}

void on_message_read(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_message_read *r = &m->message_read;
    struct session *session = session_with_maildrop(sv, p, &r->session);
    if (!session)
        return;
    struct maildrop_work *w = maildrop_work_new(p, session, m->tag, IPC_TYPE_MESSAGE_DATA, run_read);
    w->uid = r->uid;
    w->offset = r->offset;
    w->length = r->length;
    if (session->reading && session->reading->uid == r->uid)
        w->message = session->reading;
    else
        open_message_free(session->reading);
    session->reading = NULL;
    maildrop_start(sv, p, w);
}

/* ---- deleting ---- */

struct expunge_op {
    struct op op;
    uint32_t *uids; /* in the arena */
    size_t count, given;
};

/* One operation takes a bounded number of UIDs. */
static void expunge_slice(struct expunge_op *e)
{
    struct store_change *change = &e->op.store.change;
    size_t count = e->count - e->given;
    if (count > STORE_UIDS_MAX)
        count = STORE_UIDS_MAX;
    change->uids = e->uids + e->given;
    change->uid_count = count;
    e->given += count;
    op_submit(&e->op);
}

static void expunge_finish(struct op *op)
{
    struct expunge_op *e = (struct expunge_op *)op;
    if (op->store.result == BRANT_OK && e->given < e->count) {
        expunge_slice(e);
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
    struct expunge_op *e = op_new(sv, sizeof *e, IPC_CHUNK_MAX + 1024);
    e->op.peer = p->sessions.channel;
    e->op.tag = m->tag;
    e->op.finish = expunge_finish;
    e->op.store.kind = STORE_OP_EXPUNGE;
    e->op.store.change = (struct store_change){.account = session->account, .mailbox = info.inbox};
    memcpy(e->op.store.change.session, session->id.b, sizeof session->id.b);
    e->count = x->uids.len / 4;
    e->uids = arena_array(&e->op.arena, e->count, sizeof *e->uids);
    assert(e->uids);
    struct wire_reader uids = wire_read(x->uids);
    for (size_t i = 0; i < e->count; i++)
        e->uids[i] = wire_get_u32(&uids);
    mem_wipe(&info, sizeof info);
    expunge_slice(e);
}
