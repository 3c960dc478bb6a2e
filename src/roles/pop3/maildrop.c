#include "roles/pop3/session_internal.h"

#include <stddef.h>

#include "base/err.h"
#include "base/mem.h"
#include "log/log.h"
#include "os/clock.h"

enum { UID_BYTES = 4, EXPUNGE_BYTES_MAX = 16384 };

/* ---- asking the store ---------------------------------------------------------------------------------- */

static void ask_data(struct pop3_session *s)
{
    uint32_t length = s->asked.size_bytes < IPC_CHUNK_MAX ? s->asked.size_bytes : IPC_CHUNK_MAX;
    struct ipc_message m = {.type = IPC_TYPE_MESSAGE_READ,
                            .message_read = {.session = s->edge.peer.session,
                                             .uid = s->asked.uid,
                                             .offset = s->asked.offset,
                                             .length = length}};

    store_peer_ask(&s->edge.peer, &m);
}

/* The next slice of the marked messages; the cursor moves on when the store has answered. */
static void ask_expunge(struct pop3_session *s)
{
    uint8_t bytes[EXPUNGE_BYTES_MAX];
    size_t len = 0;
    uint32_t uid;

    s->cursor_next = s->cursor;
    while (len < sizeof bytes && pop3_server_deleted_next(s->engine, &s->cursor_next, &uid)) {
        for (size_t i = 0; i < UID_BYTES; i++)
            bytes[len++] = (uint8_t)(uid >> (8 * i));
    }
    if (len == 0) {
        s->shared->messages_deleted += pop3_server_deleted_count(s->engine);
        pop3_server_update_done(s->engine, true);
        pop3_session_answered(s);
        return;
    }
    struct ipc_message m = {
        .type = IPC_TYPE_MAILDROP_EXPUNGE,
        .maildrop_expunge = {.session = s->edge.peer.session, .uids = span_make(bytes, len)}};

    store_peer_ask(&s->edge.peer, &m);
}

void pop3_session_ask(struct pop3_session *s)
{
    struct ipc_message open = {.type = IPC_TYPE_MAILDROP_OPEN,
                               .maildrop_open = {.session = s->edge.peer.session}};
    struct ipc_message list = {.type = IPC_TYPE_MAILDROP_LIST,
                               .maildrop_list = {.session = s->edge.peer.session, .after_uid = s->last_uid}};

    if (!store_client_is_up(s->edge.shared->store) || s->edge.peer.tag)
        return;
    if (!s->edge.presented) {
        if (s->edge.stage != EDGE_PROXY) /* who it is, is not known before */
            edge_present(&s->edge, s->maildrop_held);
        return;
    }
    switch (s->wait) {
    case POP3_WAIT_LOGIN:
        pop3_greeting_ask_login(s);
        break;
    case POP3_WAIT_MAILDROP:
        store_peer_ask(&s->edge.peer, &open);
        break;
    case POP3_WAIT_ROWS:
        store_peer_ask(&s->edge.peer, &list);
        break;
    case POP3_WAIT_DATA:
        ask_data(s);
        break;
    case POP3_WAIT_EXPUNGE:
        ask_expunge(s);
        break;
    case POP3_WAIT_NONE:
    case POP3_WAIT_VERDICT:
        break;
    }
}

void pop3_session_leave(struct pop3_session *s)
{
    edge_leave(&s->edge);
    s->maildrop_held = false;
}

void pop3_session_give_up(struct pop3_session *s)
{
    /* A late answer must not be taken for that to the next question. But what presents the session stays
     * under way: it is not to be said twice, and its answer is good whenever it comes. */
    if (s->edge.presented)
        store_peer_forget(&s->edge.peer);
    switch (s->wait) {
    case POP3_WAIT_VERDICT:
        pop3_session_end(s, POP3_CLOSE_OVERLOAD);
        break;
    case POP3_WAIT_LOGIN:
        pop3_greeting_give_up_login(s);
        return;
    case POP3_WAIT_MAILDROP:
    case POP3_WAIT_ROWS:
        pop3_session_leave(s);
        pop3_server_open_failed(s->engine, POP3_OPEN_TRY_LATER);
        break;
    case POP3_WAIT_DATA:
        pop3_server_read_failed(s->engine, POP3_READ_TRY_LATER);
        break;
    case POP3_WAIT_EXPUNGE:
        pop3_server_update_done(s->engine, false);
        break;
    case POP3_WAIT_NONE:
        return;
    }
    pop3_session_answered(s);
}

/* ---- answers of the store -------------------------------------------------------------------------------
 */

static void answer_verdict(struct pop3_session *s, uint8_t status)
{
    if (status != IPC_OK) {
        s->wait = POP3_WAIT_NONE;
        pop3_session_end(s, POP3_CLOSE_OVERLOAD);
        return;
    }
    s->edge.presented = true;
    if (s->wait == POP3_WAIT_VERDICT) {
        s->wait = POP3_WAIT_NONE;
        pop3_greeting_admitted(s);
    }
    pop3_session_ask(s);
}

/* A session that can't be taken up again has lost its maildrop: nothing it says would be true. */
static void answer_resume(struct pop3_session *s, uint8_t status)
{
    if (status == IPC_OK) {
        s->edge.presented = true;
        pop3_session_ask(s);
        return;
    }
    log_event(LOG_WARNING, "pop3-resume-refused", LOG_HEX("session", edge_session(&s->edge)),
              LOG_SPAN("account", buf_span(&s->edge.address)), LOG_STR("reason", ipc_status_text(status)));
    pop3_session_give_up(s);
    pop3_session_end(s, POP3_CLOSE_SHUTDOWN);
}

static void open_failed(struct pop3_session *s, uint8_t status)
{
    pop3_session_leave(s); /* RFC 1939 4: the client may log in again, as somebody else */
    pop3_server_open_failed(s->engine, status == IPC_IN_USE ? POP3_OPEN_IN_USE : POP3_OPEN_TRY_LATER);
    pop3_session_answered(s);
}

static void list_done(struct pop3_session *s)
{
    pop3_server_maildrop_done(s->engine);
    pop3_session_answered(s);
}

static void answer_maildrop(struct pop3_session *s, const struct ipc_maildrop *r)
{
    if (r->status != IPC_OK) {
        open_failed(s, r->status);
        return;
    }
    s->maildrop_held = true;
    s->last_uid = 0;
    if (pop3_server_maildrop_begin(s->engine, r->uidvalidity, r->count)) {
        open_failed(s, IPC_FAILED);
        return;
    }
    if (r->count)
        pop3_session_wait_for(s, POP3_WAIT_ROWS);
    else
        list_done(s);
}

static void answer_rows(struct pop3_session *s, const struct ipc_maildrop_rows *r)
{
    int rc = BRANT_OK;

    for (uint32_t i = 0; i < r->rows_count && !rc && r->status == IPC_OK; i++) {
        uint64_t octets = r->rows[i].octets;

        rc = pop3_server_maildrop_add(s->engine, r->rows[i].uid,
                                      octets > UINT32_MAX ? UINT32_MAX : (uint32_t)octets);
        s->last_uid = r->rows[i].uid;
    }
    if (r->status != IPC_OK || rc == BRANT_ESYNTAX || (r->more && r->rows_count == 0))
        open_failed(s, r->status ? r->status : IPC_FAILED);
    else if (rc == BRANT_OK && r->more)
        pop3_session_wait_for(s, POP3_WAIT_ROWS);
    else
        list_done(s); /* BRANT_ELIMIT: what came in since the maildrop was counted is for the next session */
}

static void answer_data(struct pop3_session *s, const struct ipc_message_data *r)
{
    if (r->status == IPC_OK && r->bytes.len > 0)
        pop3_server_read_done(s->engine, r->bytes);
    else
        pop3_server_read_failed(s->engine, r->status == IPC_NOT_FOUND ? POP3_READ_GONE : POP3_READ_TRY_LATER);
    pop3_session_answered(s);
}

static void answer_expunge(struct pop3_session *s, const struct ipc_result *r)
{
    if (r->status == IPC_OK) {
        s->cursor = s->cursor_next;
        pop3_session_wait_for(s, POP3_WAIT_EXPUNGE);
        return;
    }
    log_event(LOG_WARNING, "pop3-update-failed", LOG_HEX("session", edge_session(&s->edge)),
              LOG_SPAN("account", buf_span(&s->edge.address)), LOG_STR("reason", ipc_status_text(r->status)));
    pop3_server_update_done(s->engine, false);
    pop3_session_answered(s);
}

static struct pop3_session *session_of(struct store_peer *p)
{
    return (struct pop3_session *)((char *)p - offsetof(struct pop3_session, edge.peer));
}

static void on_answer(struct store_peer *p, const struct ipc_message *m)
{
    struct pop3_session *s = session_of(p);

    if (m->type == IPC_TYPE_SESSION_VERDICT)
        answer_verdict(s, m->session_verdict.status);
    else if (m->type == IPC_TYPE_RESUME_RESULT)
        answer_resume(s, m->resume_result.status);
    else if (s->wait == POP3_WAIT_LOGIN &&
             (m->type == IPC_TYPE_LOGIN_RESULT || m->type == IPC_TYPE_SCRAM_STEP))
        pop3_greeting_answer_login(s, m);
    else if (s->wait == POP3_WAIT_MAILDROP && m->type == IPC_TYPE_MAILDROP)
        answer_maildrop(s, &m->maildrop);
    else if (s->wait == POP3_WAIT_ROWS && m->type == IPC_TYPE_MAILDROP_ROWS)
        answer_rows(s, &m->maildrop_rows);
    else if (s->wait == POP3_WAIT_DATA && m->type == IPC_TYPE_MESSAGE_DATA)
        answer_data(s, &m->message_data);
    else if (s->wait == POP3_WAIT_EXPUNGE && m->type == IPC_TYPE_RESULT)
        answer_expunge(s, &m->result);
    else
        net_pump_kick(s->pump); /* an answer nobody waits for any more */
}

static void on_lost(struct store_peer *p)
{
    struct pop3_session *s = session_of(p);

    s->edge.presented = false;
    login_store_lost(&s->login);
}

static void on_up(struct store_peer *p)
{
    pop3_session_ask(session_of(p));
}

const struct store_peer_ops pop3_session_peer_ops = {.answer = on_answer, .lost = on_lost, .up = on_up};

bool pop3_session_event(struct pop3_session *s, const struct pop3_event *e)
{
    switch (e->type) {
    case POP3_EVENT_MORE:
    case POP3_EVENT_WAIT:
    case POP3_EVENT_BLOCKED:
        return false;
    case POP3_EVENT_STLS:
        pop3_greeting_stls(s);
        return true;
    case POP3_EVENT_LOGIN:
    case POP3_EVENT_AUTH:
    case POP3_EVENT_AUTH_RESPONSE:
    case POP3_EVENT_AUTH_CANCEL:
        pop3_greeting_login(s, e);
        return true;
    case POP3_EVENT_OPEN:
        pop3_session_wait_for(s, POP3_WAIT_MAILDROP);
        return true;
    case POP3_EVENT_READ:
        s->asked = *e;
        pop3_session_wait_for(s, POP3_WAIT_DATA);
        return true;
    case POP3_EVENT_UPDATE:
        s->cursor = 0;
        pop3_session_wait_for(s, POP3_WAIT_EXPUNGE);
        return true;
    case POP3_EVENT_CLOSE:
        s->finished = true;
        pop3_session_log_close(s, e->reason);
        return false;
    }
    return false;
}
