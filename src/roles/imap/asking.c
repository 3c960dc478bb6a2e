#include <stddef.h>

#include "base/err.h"
#include "log/log.h"
#include "os/clock.h"
#include "roles/imap/session_internal.h"

enum { LOOK_AGAIN_MS = 10 * 1000 };

/* ---- the engine's questions ---- */

static const struct question {
    void (*ask)(struct imap_session *s);
    void (*answer)(struct imap_session *s, const struct ipc_message *m);
} QUESTIONS[] = {
    [IMAP_EVENT_LIST] = {imap_ask_list, imap_answer_list},
    [IMAP_EVENT_STATUS] = {imap_ask_status, imap_answer_status},
    [IMAP_EVENT_CREATE] = {imap_ask_mailbox, imap_answer_mailbox},
    [IMAP_EVENT_DELETE] = {imap_ask_mailbox, imap_answer_mailbox},
    [IMAP_EVENT_RENAME] = {imap_ask_mailbox, imap_answer_mailbox},
    [IMAP_EVENT_SUBSCRIBE] = {imap_ask_mailbox, imap_answer_mailbox},
    [IMAP_EVENT_OPEN] = {imap_ask_open, imap_answer_open},
    [IMAP_EVENT_ENTRIES] = {imap_ask_entries, imap_answer_entries},
    [IMAP_EVENT_READ] = {imap_ask_read, imap_answer_read},
    [IMAP_EVENT_STORE] = {imap_ask_change, imap_answer_change},
    [IMAP_EVENT_EXPUNGE] = {imap_ask_change, imap_answer_change},
    [IMAP_EVENT_COPY] = {imap_ask_change, imap_answer_change},
    [IMAP_EVENT_CHANGES] = {imap_ask_changes, imap_answer_changes},
    [IMAP_EVENT_VANISHED] = {imap_ask_vanished, imap_answer_vanished},
    [IMAP_EVENT_APPEND] = {imap_ask_append, imap_answer_append},
    [IMAP_EVENT_COMMIT] = {imap_ask_commit, imap_answer_commit},
};
enum imap_failure imap_session_failure(uint8_t status)
{
    switch (status) {
    case IPC_NOT_FOUND:
        return IMAP_FAIL_NOT_FOUND;
    case IPC_EXISTS:
        return IMAP_FAIL_EXISTS;
    case IPC_INVALID:
        return IMAP_FAIL_CANNOT;
    case IPC_OVER_QUOTA:
        return IMAP_FAIL_QUOTA;
    case IPC_TOO_MANY:
        return IMAP_FAIL_LIMIT;
    case IPC_REFUSED:
        return IMAP_FAIL_DENIED;
    case IPC_DAMAGED:
        return IMAP_FAIL_CORRUPT;
    default:
        return IMAP_FAIL_TRY_LATER;
    }
}

void imap_session_failed(struct imap_session *s, enum imap_failure failure)
{
    if (s->asked.type == IMAP_EVENT_CHANGES && failure != IMAP_FAIL_NOT_FOUND)
        s->look_at_ms = os_clock_mono_ms() + LOOK_AGAIN_MS; /* nobody says a second time that there is news */
    imap_server_failed(s->engine, failure);
    imap_session_answered(s);
}

void imap_session_given(struct imap_session *s, int rc)
{
    if (rc == BRANT_OK || rc == BRANT_ESTATE) {
        imap_session_answered(s);
        return;
    }
    log_event(LOG_WARNING, "imap-answer-refused", LOG_HEX("session", edge_session(&s->edge)),
              LOG_SPAN("account", buf_span(&s->edge.address)),
              LOG_SPAN("mailbox", buf_span(&s->mailbox_name)), LOG_U64("event", s->asked.type),
              LOG_STR("reason", brant_err_text(rc)));
    imap_session_failed(s, rc == BRANT_ELIMIT ? IMAP_FAIL_LIMIT : IMAP_FAIL_CORRUPT);
}

void imap_session_question(struct imap_session *s, struct ipc_message *m)
{
    int rc;

    if (store_client_congested(s->edge.shared->store))
        return; /* it is asked when that has drained */
    rc = store_peer_ask(&s->edge.peer, m);
    if (rc == BRANT_OK)
        s->sent = true;
    else if (rc != BRANT_ESTATE) /* it won't be any smaller the next time */
        imap_session_failed(s, IMAP_FAIL_LIMIT);
}

void imap_session_tell(struct imap_session *s, const struct ipc_message *m)
{
    if (s->edge.presented)
        store_peer_tell(&s->edge.peer, m);
}

void imap_session_ask(struct imap_session *s)
{
    if (!store_client_is_up(s->edge.shared->store) || s->edge.peer.tag)
        return;
    if (!s->edge.presented) {
        if (s->edge.stage != EDGE_PROXY) /* who it is, is not known before */
            edge_present(&s->edge, false);
        return;
    }
    if (s->wait == IMAP_WAIT_LOGIN)
        imap_greeting_ask_login(s);
    else if (s->wait == IMAP_WAIT_ANSWER)
        QUESTIONS[s->asked.type].ask(s);
}

void imap_session_give_up(struct imap_session *s)
{
    /* A late answer must not be taken for that to the next question. But what presents the session stays
     * under way: it is not to be said twice, and its answer is good whenever it comes. */
    if (s->edge.presented)
        store_peer_forget(&s->edge.peer);
    switch (s->wait) {
    case IMAP_WAIT_VERDICT:
        s->wait = IMAP_WAIT_NONE;
        imap_session_end(s, IMAP_CLOSE_OVERLOAD);
        break;
    case IMAP_WAIT_LOGIN:
        imap_greeting_give_up_login(s);
        break;
    case IMAP_WAIT_ANSWER:
        log_event(LOG_WARNING, "imap-store-late", LOG_HEX("session", edge_session(&s->edge)),
                  LOG_SPAN("account", buf_span(&s->edge.address)), LOG_U64("event", s->asked.type));
        if (s->asked.type == IMAP_EVENT_APPEND || s->asked.type == IMAP_EVENT_COMMIT)
            imap_appending_abort(s);
        if (s->asked.type == IMAP_EVENT_OPEN)
            imap_mailbox_left(s);
        imap_session_failed(s, IMAP_FAIL_TRY_LATER);
        break;
    case IMAP_WAIT_NONE:
        break;
    }
}

/* ---- answers of the store ---- */

static void answer_verdict(struct imap_session *s, uint8_t status)
{
    if (status != IPC_OK) {
        s->wait = IMAP_WAIT_NONE;
        imap_session_end(s, IMAP_CLOSE_OVERLOAD);
        return;
    }
    s->edge.presented = true;
    if (s->wait == IMAP_WAIT_VERDICT) {
        s->wait = IMAP_WAIT_NONE;
        imap_greeting_admitted(s);
    }
    imap_session_ask(s);
}

/* A session that can't be taken up again is over: nobody knows any more who it is. */
static void answer_resume(struct imap_session *s, uint8_t status)
{
    if (status == IPC_OK) {
        s->edge.presented = true;
        if (s->mailbox) {
            imap_mailbox_watch(s);
            s->news_missed = s->opening != NULL;
            imap_server_notice(s->engine, UINT64_MAX); /* what the one before did not live to tell */
            net_pump_kick(s->pump);
        }
        imap_session_ask(s);
        return;
    }
    log_event(LOG_WARNING, "imap-resume-refused", LOG_HEX("session", edge_session(&s->edge)),
              LOG_SPAN("account", buf_span(&s->edge.address)), LOG_STR("reason", ipc_status_text(status)));
    imap_session_end(s, status == IPC_TRY_LATER ? IMAP_CLOSE_OVERLOAD : IMAP_CLOSE_REVOKED);
}

static struct imap_session *session_of(struct store_peer *p)
{
    return (struct imap_session *)((char *)p - offsetof(struct imap_session, edge.peer));
}

static void on_answer(struct store_peer *p, const struct ipc_message *m)
{
    struct imap_session *s = session_of(p);

    if (m->type == IPC_TYPE_SESSION_VERDICT)
        answer_verdict(s, m->session_verdict.status);
    else if (m->type == IPC_TYPE_RESUME_RESULT)
        answer_resume(s, m->resume_result.status);
    else if (m->type == IPC_TYPE_LOGIN_RESULT || m->type == IPC_TYPE_SCRAM_STEP) {
        if (s->wait == IMAP_WAIT_LOGIN)
            imap_greeting_answer_login(s, m);
    } else if (s->wait == IMAP_WAIT_ANSWER)
        QUESTIONS[s->asked.type].answer(s, m);
    else
        net_pump_kick(s->pump); /* an answer nobody waits for any more */
}

static void on_credit(struct store_peer *p, const struct ipc_body_credit *m)
{
    imap_appending_credit(session_of(p), m);
}

static void on_news(struct store_peer *p, const struct ipc_mailbox_news *m)
{
    struct imap_session *s = session_of(p);

    if (s->wait == IMAP_WAIT_ANSWER && s->asked.type == IMAP_EVENT_OPEN) {
        s->news_missed = true; /* the store does not say it again before it is asked */
        return;
    }
    if (m->mailbox != s->mailbox || s->mailbox == 0)
        return; /* of one that was left */
    imap_server_notice(s->engine, m->modseq);
    net_pump_kick(s->pump);
}

/* What may have been done can't be asked for again where it would be done twice. */
static void on_lost(struct store_peer *p)
{
    struct imap_session *s = session_of(p);
    bool in_doubt = s->wait == IMAP_WAIT_ANSWER && s->sent;

    s->edge.presented = false;
    login_store_lost(&s->login);
    if (in_doubt)
        s->again = true;
    s->sent = false;
    if (!(in_doubt && s->asked.type == IMAP_EVENT_COMMIT))
        imap_appending_fail(s, IPC_TRY_LATER); /* its messages died with the store */
    if (in_doubt && s->asked.type == IMAP_EVENT_COPY && !s->asked.yes)
        imap_session_failed(s, IMAP_FAIL_TRY_LATER);
    net_pump_kick(s->pump);
}

static void on_up(struct store_peer *p)
{
    imap_session_ask(session_of(p));
}

const struct store_peer_ops imap_session_peer_ops = {
    .answer = on_answer, .credit = on_credit, .news = on_news, .lost = on_lost, .up = on_up};

/* ---- events ---- */

/* RFC 4978: the response still goes out as it is, and what stands behind the command is compressed. */
static void compress(struct imap_session *s)
{
    if (imap_server_done(s->engine) != BRANT_OK || net_pump_start_deflate(s->pump) != BRANT_OK)
        imap_session_end(s, IMAP_CLOSE_LOST);
}

bool imap_session_event(struct imap_session *s, const struct imap_event *e)
{
    switch (e->type) {
    case IMAP_EVENT_MORE:
    case IMAP_EVENT_WAIT:
    case IMAP_EVENT_BLOCKED:
        return false;
    case IMAP_EVENT_YIELD:
        net_pump_kick(s->pump);
        return false;
    case IMAP_EVENT_STARTTLS:
        imap_greeting_starttls(s);
        return true;
    case IMAP_EVENT_LOGIN:
    case IMAP_EVENT_AUTH:
    case IMAP_EVENT_AUTH_RESPONSE:
    case IMAP_EVENT_AUTH_CANCEL:
        imap_greeting_login(s, e);
        return true;
    case IMAP_EVENT_COMPRESS:
        compress(s);
        return true;
    case IMAP_EVENT_LEFT:
        imap_mailbox_left(s);
        return true;
    case IMAP_EVENT_BODY:
        imap_appending_body(s, e->bytes);
        return true;
    case IMAP_EVENT_MESSAGE:
        imap_appending_message(s);
        return true;
    case IMAP_EVENT_ABORT:
        imap_appending_abort(s);
        return true;
    case IMAP_EVENT_CLOSE:
        s->finished = true;
        s->wait = IMAP_WAIT_NONE;
        imap_session_log_close(s, e->reason);
        return false;
    default:
        s->asked = *e;
        imap_session_wait_for(s, IMAP_WAIT_ANSWER);
        return true;
    }
}

/* ---- UIDs and keywords ---- */

static void put_u32(uint8_t *p, uint32_t n)
{
    for (unsigned i = 0; i < 4; i++)
        p[i] = (uint8_t)(n >> (8 * i));
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint32_t imap_ranges_last(const struct imap_event *e)
{
    return e->range_count > IPC_RANGES_MAX ? e->ranges[IPC_RANGES_MAX - 1].last : UINT32_MAX;
}

struct span imap_ranges_put(struct imap_session *s)
{
    uint8_t *p = s->shared->scratch.bytes;
    size_t count = s->asked.range_count < IPC_RANGES_MAX ? s->asked.range_count : IPC_RANGES_MAX;

    for (size_t i = 0; i < count; i++) {
        put_u32(p + i * IPC_RANGE_BYTES, s->asked.ranges[i].first);
        put_u32(p + i * IPC_RANGE_BYTES + 4, s->asked.ranges[i].last);
    }
    return span_make(p, count * IPC_RANGE_BYTES);
}

size_t imap_ranges_get(struct imap_session *s, struct span bytes, unsigned n)
{
    size_t count = bytes.len / IPC_RANGE_BYTES;

    for (size_t i = 0; i < count; i++)
        s->shared->scratch.ranges[n][i] = (struct imap_range){get_u32(bytes.p + i * IPC_RANGE_BYTES),
                                                              get_u32(bytes.p + i * IPC_RANGE_BYTES + 4)};
    return count;
}

void imap_keywords_put(struct buf *out, const struct span *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_append_byte(out, ' ');
        buf_append(out, names[i]);
    }
}

void imap_keywords_get(struct span text, struct imap_keywords *ret)
{
    ret->count = 0;
    while (text.len && ret->count < IMAP_KEYWORDS_MAX) {
        size_t at = span_find_byte(text, ' ');
        struct span name = at == SPAN_NPOS ? text : span_sub(text, 0, at);

        if (name.len)
            ret->names[ret->count++] = name;
        text = at == SPAN_NPOS ? SPAN_NONE : span_from(text, at + 1);
    }
}

void imap_keywords_tell(struct imap_session *s, struct span text, bool full)
{
    struct imap_keywords keywords;

    if (text.len == 0)
        return;
    imap_keywords_get(text, &keywords);
    if (keywords.count <= s->keywords_known)
        return;
    s->keywords_known = (uint32_t)keywords.count;
    imap_server_keywords(s->engine, &keywords, full || keywords.count == IMAP_KEYWORDS_MAX);
}
