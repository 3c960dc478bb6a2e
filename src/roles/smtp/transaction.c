#include "roles/smtp/session_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "log/log.h"
#include "os/clock.h"
#include "os/random.h"
#include "smtp/received.h"

static struct span id_span(const struct ipc_id *id)
{
    return span_make(id->b, sizeof id->b);
}

struct smtp_reply smtp_session_refusal(const struct smtp_session *s, uint8_t status)
{
    bool permanent = s->edge.conf->conf.over_quota_reply == CONF_OVER_QUOTA_PERMANENT;

    switch (status) {
    case IPC_UNKNOWN_ADDRESS:
        return (struct smtp_reply){550, 1, 1, "no such mailbox here"};
    case IPC_NOT_LOCAL:
        return (struct smtp_reply){550, 7, 1, "relaying denied: not one of our domains"};
    case IPC_OVER_QUOTA:
        return permanent ? (struct smtp_reply){552, 2, 2, "the mailbox is full"}
                         : (struct smtp_reply){452, 2, 2, "the mailbox is full, try again later"};
    case IPC_NO_SPACE:
        return (struct smtp_reply){452, 3, 1, "not enough disk space, try again later"};
    case IPC_INVALID:
        return (struct smtp_reply){553, 1, 3, "this address can't be used"};
    case IPC_REFUSED:
        return (struct smtp_reply){550, 7, 1, "refused"};
    case IPC_TOO_MANY:
        return (struct smtp_reply){452, 7, 1, "too much from this account, try again later"};
    default:
        return (struct smtp_reply){451, 3, 0, "temporary trouble here, try again later"};
    }
}

/* ---- asking the store ---------------------------------------------------------------------------------- */

static void ask_rcpt(struct smtp_session *s)
{
    struct ipc_message m = {.type = IPC_TYPE_RCPT_CHECK,
                            .rcpt_check = {.session = s->edge.peer.session,
                                           .address = buf_span(&s->question),
                                           .size = s->declared_bytes}};

    store_peer_ask(&s->edge.peer, &m);
}

static struct smtp_received received_of(const struct smtp_session *s)
{
    return (struct smtp_received){.helo = smtp_server_helo(s->engine),
                                  .client = s->edge.source,
                                  .hostname = s->edge.conf->conf.hostname,
                                  .lmtp = smtp_session_lmtp(s),
                                  .extended = smtp_server_extended(s->engine),
                                  .tls = s->edge.secured,
                                  .tls_text = span_str(s->edge.tls_text),
                                  .authenticated = smtp_server_authenticated(s->engine),
                                  .smtputf8 = s->message.smtputf8,
                                  .unix_time_s = os_clock_wall_ms() / 1000};
}

static void drop_body(struct smtp_session *s);
static void refuse_message(struct smtp_session *s, uint8_t status);

static void ask_commit(struct smtp_session *s)
{
    _cleanup_buf_ struct buf protocol;
    uint8_t sum[IPC_SUM_BYTES] = {0};
    struct ipc_message again = {.type = IPC_TYPE_COMMIT_ASK, .commit_ask = {.commit = s->commit}};
    const struct smtp_received received = received_of(s);
    struct smtp_message_trace trace = {.commit = s->commit,
                                       .service = s->edge.service,
                                       .each = smtp_session_lmtp(s),
                                       .source = s->edge.source,
                                       .tls = span_str(s->edge.tls_text),
                                       .helo = smtp_server_helo(s->engine),
                                       .prefix = buf_span(&s->trace_prefix)};

    buf_init(&protocol, 16);
    smtp_received_protocol(&received, &protocol);
    trace.protocol = buf_span(&protocol);
    if (s->submission) {
        submission_content_sum(s->submission, sum);
        trace.content_sum = span_make(sum, sizeof sum);
    }
    if (s->commit_sent)
        store_peer_ask(&s->edge.peer, &again);
    else {
        int rc = smtp_message_commit(&s->message, &s->edge.peer, &trace);

        s->commit_sent = rc == BRANT_OK;
        if (rc != BRANT_OK && rc != BRANT_ESTATE) { /* it won't be any smaller the next time */
            drop_body(s);
            refuse_message(s, IPC_FAILED);
        }
    }
}

void smtp_session_ask(struct smtp_session *s)
{
    if (!store_client_is_up(s->edge.shared->store) || s->edge.peer.tag)
        return;
    if (!s->edge.presented) {
        if (s->edge.stage != EDGE_PROXY) /* who it is, is not known before */
            edge_present(&s->edge, false);
        return;
    }
    switch (s->wait) {
    case SMTP_WAIT_LOGIN:
        smtp_greeting_ask_login(s);
        break;
    case SMTP_WAIT_SENDER:
        submission_ask_sender(s);
        break;
    case SMTP_WAIT_RCPT:
        ask_rcpt(s);
        break;
    case SMTP_WAIT_FROM:
        submission_ask_from(s);
        break;
    case SMTP_WAIT_CREDIT:
        smtp_session_end_of_data(s);
        break;
    case SMTP_WAIT_COMMIT:
        ask_commit(s);
        break;
    case SMTP_WAIT_NONE:
    case SMTP_WAIT_VERDICT:
        break;
    }
}

/* ---- the end of data ------------------------------------------------------------------------------------
 */

static void commit_text(const struct smtp_session *s, char out[2 * sizeof s->commit.b + 1])
{
    for (size_t i = 0; i < sizeof s->commit.b; i++)
        snprintf(out + 2 * i, 3, "%02x", s->commit.b[i]);
}

/* The trace fields of RFC 5321 4.4. The message is named by its commit id. */
static int compose_prefix(struct smtp_session *s)
{
    char id[2 * sizeof s->commit.b + 1];
    struct smtp_received received = received_of(s);

    commit_text(s, id);
    received.id = span_make(id, sizeof id - 1);
    if (s->message.recipient_count == 1)
        received.recipient = smtp_message_first_recipient(&s->message);
    buf_reset(&s->trace_prefix);
    if (smtp_return_path_compose(buf_span(&s->message.reverse_path), &s->trace_prefix))
        return BRANT_ELIMIT;
    return smtp_received_compose(&received, &s->trace_prefix);
}

static void transaction_done(struct smtp_session *s)
{
    smtp_message_reset(&s->message);
    submission_free(s->submission);
    s->submission = NULL;
    buf_done(&s->trace_prefix);
    s->commit_sent = false;
    smtp_session_account(s);
    if (role_draining(s->shared->edge.role))
        smtp_server_end(s->engine, SMTP_CLOSE_SHUTDOWN);
}

static void log_refused_message(const struct smtp_session *s, uint8_t status)
{
    log_event(LOG_WARNING, "smtp-message-refused", LOG_HEX("session", edge_session(&s->edge)),
              LOG_IP("peer", &s->edge.source), LOG_SPAN("from", buf_span(&s->message.reverse_path)),
              LOG_U64("bytes", s->message.body.bytes), LOG_STR("reason", ipc_status_text(status)));
}

static void refuse_message(struct smtp_session *s, uint8_t status)
{
    struct smtp_reply r = smtp_session_refusal(s, status);

    /* Recipients were accepted one by one; what fails now is ours and may pass on the next try. */
    if (r.code >= 500)
        r = (struct smtp_reply){451, 3, 0, "a recipient changed meanwhile, try again"};
    log_refused_message(s, status);
    smtp_session_reply(s, &r);
    transaction_done(s);
}

/* Tells the store that the body under way won't be committed. */
static void drop_body(struct smtp_session *s)
{
    if (s->edge.presented)
        body_drop(&s->message.body, &s->edge.peer);
}

/* What a submitted message is refused for is said as it is: trying again would not help. */
static void refuse_submission(struct smtp_session *s, const struct smtp_reply *r)
{
    drop_body(s);
    log_event(LOG_WARNING, "submission-refused", LOG_HEX("session", edge_session(&s->edge)),
              LOG_IP("peer", &s->edge.source), LOG_SPAN("account", buf_span(&s->edge.address)),
              LOG_SPAN("from", buf_span(&s->message.reverse_path)), LOG_STR("reason", r->text));
    smtp_session_reply(s, r);
    transaction_done(s);
}

void smtp_session_end_of_data(struct smtp_session *s)
{
    if (s->submission && !s->message.body.failed) {
        if (!submission_end(s))
            return;
        if (submission_refusal(s->submission)) {
            const struct smtp_reply r = *submission_refusal(s->submission);

            refuse_submission(s, &r);
            return;
        }
    }
    if (s->message.body.failed) {
        refuse_message(s, s->message.body.failed);
    } else if (!body_flush(&s->message.body, &s->edge.peer, true)) {
        if (s->wait != SMTP_WAIT_CREDIT)
            smtp_session_wait_for(s, SMTP_WAIT_CREDIT);
    } else if (s->message.body.failed) {
        refuse_message(s, s->message.body.failed);
    } else {
        os_random_fill(s->commit.b, sizeof s->commit.b);
        if (compose_prefix(s)) {
            drop_body(s);
            refuse_message(s, IPC_FAILED);
            return;
        }
        smtp_session_wait_for(s, SMTP_WAIT_COMMIT);
        smtp_session_ask(s);
    }
}

static void log_accepted(struct smtp_session *s, uint32_t recipients)
{
    log_event(LOG_INFO, "smtp-accepted", LOG_HEX("message", id_span(&s->commit)),
              LOG_HEX("session", edge_session(&s->edge)), LOG_IP("peer", &s->edge.source),
              LOG_SPAN("account", buf_span(&s->edge.address)),
              LOG_SPAN("from", buf_span(&s->message.reverse_path)), LOG_U64("recipients", recipients),
              LOG_U64("bytes", s->message.body.bytes));
    s->messages++;
    s->shared->accepted_messages++;
    s->shared->accepted_recipients += recipients;
}

static void message_accepted(struct smtp_session *s)
{
    char id[2 * sizeof s->commit.b + 1], text[64];
    const struct smtp_reply ok = {250, 0, 0, text};

    commit_text(s, id);
    snprintf(text, sizeof text, "accepted as %s", id);
    log_accepted(s, s->message.recipient_count);
    smtp_session_reply(s, &ok);
    transaction_done(s);
}

/* RFC 2033 4.2: a reply for each recipient. When the store that did it died before it answered, only "done"
 * is known: for several recipients that is not enough, and the sender has to try again. */
static void lmtp_answer(struct smtp_session *s, const struct ipc_commit_result *r)
{
    char id[2 * sizeof s->commit.b + 1], text[64];
    uint32_t count = s->message.recipient_count, accepted = 0;
    struct smtp_reply *replies = mem_array(count, sizeof *replies);

    commit_text(s, id);
    snprintf(text, sizeof text, "accepted as %s", id);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t status = r->results_count == count ? r->results[i].status : IPC_TRY_LATER;

        if (r->results_count == 0 && count == 1)
            status = IPC_OK;
        accepted += status == IPC_OK;
        replies[i] =
            status == IPC_OK ? (struct smtp_reply){250, 0, 0, text} : smtp_session_refusal(s, status);
    }
    if (accepted > 0)
        log_accepted(s, accepted);
    if (accepted < count)
        log_refused_message(s, IPC_UNKNOWN_ADDRESS);
    s->wait = SMTP_WAIT_NONE;
    smtp_server_answer_each(s->engine, replies, count, os_clock_mono_ms());
    net_pump_kick(s->pump);
    free(replies);
    transaction_done(s);
}

/* ---- answers of the store -------------------------------------------------------------------------------
 */

/* A text of the store's in a reply: one line of printable ASCII. */
static void reply_text(struct span text, char *out, size_t size)
{
    size_t len = text.len < size ? text.len : size - 1;

    for (size_t i = 0; i < len; i++)
        out[i] = text.p[i] >= ' ' && text.p[i] < 0x7f ? (char)text.p[i] : '?';
    out[len] = '\0';
}

static void answer_rcpt(struct smtp_session *s, const struct ipc_rcpt_verdict *v)
{
    if (s->wait != SMTP_WAIT_RCPT)
        return;
    if (v->status == IPC_OK && smtp_message_recipient(&s->message, buf_span(&s->question)) == BRANT_OK) {
        s->recipients++;
        smtp_session_account(s);
        smtp_session_reply(s, NULL);
        return;
    }
    struct smtp_reply r = smtp_session_refusal(s, v->status);
    char text[200];

    reply_text(v->text, text, sizeof text);
    if (text[0])
        r.text = text;
    s->refused++;
    s->shared->refused_recipients++;
    log_event(LOG_INFO, "smtp-rcpt-refused", LOG_HEX("session", edge_session(&s->edge)),
              LOG_IP("peer", &s->edge.source), LOG_SPAN("from", buf_span(&s->message.reverse_path)),
              LOG_SPAN("to", buf_span(&s->question)), LOG_STR("reason", ipc_status_text(v->status)),
              LOG_U64("code", r.code));
    smtp_session_reply(s, &r);
}

static void answer_commit(struct smtp_session *s, const struct ipc_commit_result *r)
{
    if (s->wait != SMTP_WAIT_COMMIT || memcmp(&r->commit, &s->commit, sizeof s->commit) != 0)
        return;
    if (r->state == IPC_COMMIT_DONE && smtp_session_lmtp(s))
        lmtp_answer(s, r);
    else if (r->state == IPC_COMMIT_DONE)
        message_accepted(s);
    else
        refuse_message(s, r->status);
}

/* A login that can't be taken up again: nothing that hangs on it can go on. */
static void answer_resume(struct smtp_session *s, uint8_t status)
{
    if (status == IPC_OK) {
        s->edge.presented = true;
        smtp_session_ask(s);
        return;
    }
    log_event(LOG_WARNING, "smtp-resume-refused", LOG_HEX("session", edge_session(&s->edge)),
              LOG_SPAN("account", buf_span(&s->edge.address)), LOG_STR("reason", ipc_status_text(status)));
    if (s->wait != SMTP_WAIT_NONE)
        smtp_session_store_timeout(s);
    smtp_session_end(s, SMTP_CLOSE_SHUTDOWN);
}

static struct smtp_session *session_of(struct store_peer *p)
{
    return (struct smtp_session *)((char *)p - offsetof(struct smtp_session, edge.peer));
}

static void on_answer(struct store_peer *p, const struct ipc_message *m)
{
    struct smtp_session *s = session_of(p);

    switch (m->type) {
    case IPC_TYPE_SESSION_VERDICT:
        smtp_greeting_answer_verdict(s, m->session_verdict.status);
        break;
    case IPC_TYPE_RESUME_RESULT:
        answer_resume(s, m->resume_result.status);
        break;
    case IPC_TYPE_LOGIN_RESULT:
    case IPC_TYPE_SCRAM_STEP:
        smtp_greeting_answer_login(s, m);
        break;
    case IPC_TYPE_SENDER_VERDICT:
        if (s->wait == SMTP_WAIT_SENDER)
            submission_answer_sender(s, &m->sender_verdict);
        else if (s->wait == SMTP_WAIT_FROM)
            submission_answer_from(s, &m->sender_verdict);
        break;
    case IPC_TYPE_RCPT_VERDICT:
        answer_rcpt(s, &m->rcpt_verdict);
        break;
    default:
        answer_commit(s, &m->commit_result);
        break;
    }
}

/* Nothing more is done for the message under way: a question about its header is pointless now, and must not
 * outlive it. */
static void fail_body(struct smtp_session *s, uint8_t status)
{
    bool checking = s->wait == SMTP_WAIT_FROM;

    body_fail(&s->message.body, status);
    smtp_session_account(s);
    if (!checking)
        return;
    smtp_session_ask_no_more(s);
    if (submission_has_ended(s->submission))
        refuse_message(s, status);
}

void smtp_session_drop_body(struct smtp_session *s, uint8_t status)
{
    drop_body(s);
    fail_body(s, status);
}

static void on_credit(struct store_peer *p, const struct ipc_body_credit *m)
{
    struct smtp_session *s = session_of(p);

    if (m->body != s->message.body.number)
        return; /* of an earlier message */
    if (m->status != IPC_OK)
        smtp_session_drop_body(s, m->status); /* the store keeps its name until it is told */
    else
        s->message.body.credit += m->bytes;
    if (s->wait != SMTP_WAIT_COMMIT)
        body_flush(&s->message.body, &s->edge.peer, false);
    if (s->wait == SMTP_WAIT_CREDIT)
        smtp_session_end_of_data(s);
    smtp_session_account(s);
    net_pump_kick(s->pump);
}

static void on_lost(struct store_peer *p)
{
    struct smtp_session *s = session_of(p);

    s->edge.presented = false;
    login_store_lost(&s->login);
    if (s->message.body.number && !s->commit_sent) {
        fail_body(s, IPC_TRY_LATER); /* its chunks died with the store */
        if (s->wait == SMTP_WAIT_CREDIT || s->wait == SMTP_WAIT_COMMIT)
            refuse_message(s, IPC_TRY_LATER);
        net_pump_kick(s->pump);
    }
}

static void on_up(struct store_peer *p)
{
    smtp_session_ask(session_of(p));
}

const struct store_peer_ops smtp_session_peer_ops = {
    .answer = on_answer, .credit = on_credit, .lost = on_lost, .up = on_up};

void smtp_session_credit_timeout(struct smtp_session *s)
{
    smtp_session_drop_body(s, IPC_TRY_LATER);
}

void smtp_session_store_timeout(struct smtp_session *s)
{
    const struct smtp_reply later = smtp_session_refusal(s, IPC_TRY_LATER);

    /* A late answer must not be taken for that to the next question. But what presents the session stays
     * under way: it is not to be said twice, and its answer is good whenever it comes. */
    if (s->edge.presented)
        store_peer_forget(&s->edge.peer);
    switch (s->wait) {
    case SMTP_WAIT_VERDICT:
        s->wait = SMTP_WAIT_NONE;
        smtp_session_end(s, SMTP_CLOSE_OVERLOAD);
        break;
    case SMTP_WAIT_LOGIN:
        smtp_greeting_give_up_login(s);
        break;
    case SMTP_WAIT_SENDER:
    case SMTP_WAIT_RCPT:
        smtp_session_reply(s, &later);
        break;
    case SMTP_WAIT_FROM:
        smtp_session_drop_body(s, IPC_TRY_LATER);
        net_pump_kick(s->pump);
        break;
    default:
        if (!s->commit_sent)
            drop_body(s);
        refuse_message(s, IPC_TRY_LATER);
        break;
    }
}

/* ---- events of the engine -------------------------------------------------------------------------------
 */

static void event_mail(struct smtp_session *s, const struct smtp_event *e)
{
    const struct smtp_reply too_long = {553, 1, 7, "this address can't be used"};

    smtp_message_reset(&s->message); /* of a MAIL that was refused */
    s->message.smtputf8 = e->smtputf8;
    s->declared_bytes = e->size_bytes;
    if (smtp_message_reverse_path(&s->message, e->mailbox)) {
        smtp_session_reply(s, &too_long);
    } else if (!smtp_session_submits(s)) {
        smtp_session_reply(s, NULL);
    } else { /* RFC 6409 6.1: the login must own it; of the null one the store only learns */
        buf_reset(&s->question);
        buf_append(&s->question, e->mailbox);
        smtp_session_wait_for(s, SMTP_WAIT_SENDER);
        smtp_session_ask(s);
    }
}

static void event_rcpt(struct smtp_session *s, const struct smtp_event *e)
{
    buf_reset(&s->question);
    if (buf_append(&s->question, e->kind == SMTP_PATH_POSTMASTER ? SPAN_LIT("postmaster") : e->mailbox)) {
        const struct smtp_reply too_long = smtp_session_refusal(s, IPC_INVALID);

        smtp_session_reply(s, &too_long);
        return;
    }
    smtp_session_wait_for(s, SMTP_WAIT_RCPT);
    smtp_session_ask(s);
}

static void event_data(struct smtp_session *s)
{
    if (s->shared->pool_bytes > s->edge.conf->conf.header_pool_bytes) {
        const struct smtp_reply r = {451, 3, 2, "too many messages are arriving, try again later"};

        smtp_session_reply(s, &r);
        transaction_done(s);
        return;
    }
    body_begin(&s->message.body, ++s->last_body);
    if (smtp_session_submits(s))
        s->submission = submission_new(s);
    if (!s->edge.presented) /* the store is away: its replacement won't know this body in time */
        body_fail(&s->message.body, IPC_TRY_LATER);
    smtp_session_reply(s, NULL);
}

static void event_body(struct smtp_session *s, struct span bytes)
{
    if (s->submission && !s->message.body.failed)
        submission_add(s, bytes);
    else
        body_add(&s->message.body, bytes);
    body_flush(&s->message.body, &s->edge.peer, false);
    smtp_session_account(s);
    if (!s->message.body.failed && s->shared->pool_bytes > s->edge.conf->conf.header_pool_bytes)
        smtp_session_drop_body(s, IPC_TRY_LATER);
}

static void event_reset(struct smtp_session *s)
{
    drop_body(s);
    transaction_done(s);
}

bool smtp_session_event(struct smtp_session *s, const struct smtp_event *e)
{
    switch (e->type) {
    case SMTP_EVENT_MORE:
    case SMTP_EVENT_WAIT:
    case SMTP_EVENT_BLOCKED:
        return false;
    case SMTP_EVENT_HELO:
        return true;
    case SMTP_EVENT_MAIL:
        event_mail(s, e);
        return true;
    case SMTP_EVENT_RCPT:
        event_rcpt(s, e);
        return true;
    case SMTP_EVENT_DATA:
        event_data(s);
        return true;
    case SMTP_EVENT_BODY:
        event_body(s, e->bytes);
        return true;
    case SMTP_EVENT_END:
        smtp_session_end_of_data(s);
        return true;
    case SMTP_EVENT_RESET:
        event_reset(s);
        return true;
    case SMTP_EVENT_STARTTLS:
        smtp_greeting_starttls(s);
        return true;
    case SMTP_EVENT_AUTH:
    case SMTP_EVENT_AUTH_RESPONSE:
        smtp_greeting_auth(s, e);
        return true;
    case SMTP_EVENT_AUTH_CANCEL:
        smtp_greeting_auth_cancel(s);
        return true;
    case SMTP_EVENT_XCLIENT:
        smtp_greeting_xclient(s, e);
        return true;
    case SMTP_EVENT_CLOSE:
        s->finished = true;
        smtp_session_ask_no_more(s);
        smtp_session_log_close(s, e->reason);
        return false;
    }
    return false;
}
