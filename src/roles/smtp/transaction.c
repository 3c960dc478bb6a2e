#include "roles/smtp/session_internal.h"

#include <stdio.h>

#include "base/err.h"
#include "log/log.h"
#include "os/clock.h"
#include "os/random.h"
#include "smtp/received.h"

static struct span id_span(const struct ipc_id *id)
{
    return span_make(id->b, sizeof id->b);
}

static void reply(struct smtp_session *s, const struct smtp_reply *r)
{
    s->wait = SMTP_WAIT_NONE;
    smtp_server_answer(s->engine, r, os_clock_mono_ms());
    net_pump_kick(s->pump);
}

static void wait_for(struct smtp_session *s, enum smtp_wait wait)
{
    s->wait = wait;
    s->waiting_since_ms = os_clock_mono_ms();
}

/* What a refused recipient, or a message refused as a whole, is told. */
static struct smtp_reply refusal(const struct smtp_session *s, uint8_t status)
{
    bool permanent = s->conf->conf.over_quota_reply == CONF_OVER_QUOTA_PERMANENT;

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
    default:
        return (struct smtp_reply){451, 3, 0, "temporary trouble here, try again later"};
    }
}

/* ---- asking the store ---------------------------------------------------------------------------------- */

static void ask_open(struct smtp_session *s)
{
    struct ipc_message m = {
        .type = IPC_TYPE_SESSION_OPEN,
        .session_open = {.session = s->peer.session, .service = IPC_SERVICE_SMTP, .source = s->source}};

    store_peer_ask(&s->peer, &m);
}

static void ask_rcpt(struct smtp_session *s)
{
    struct ipc_message m = {.type = IPC_TYPE_RCPT_CHECK,
                            .rcpt_check = {.session = s->peer.session,
                                           .address = buf_span(&s->question),
                                           .size = s->declared_bytes}};

    store_peer_ask(&s->peer, &m);
}

/* RFC 3848 and RFC 6531 4.3: the word behind "with". */
static struct span protocol_word(const struct smtp_session *s)
{
    if (s->message.smtputf8)
        return SPAN_LIT("UTF8SMTP");
    return smtp_server_extended(s->engine) ? SPAN_LIT("ESMTP") : SPAN_LIT("SMTP");
}

static void drop_body(struct smtp_session *s);
static void refuse_message(struct smtp_session *s, uint8_t status);

static void ask_commit(struct smtp_session *s)
{
    struct ipc_message again = {.type = IPC_TYPE_COMMIT_ASK, .commit_ask = {.commit = s->commit}};
    const struct smtp_message_trace trace = {.commit = s->commit,
                                             .source = s->source,
                                             .protocol = protocol_word(s),
                                             .helo = smtp_server_helo(s->engine),
                                             .prefix = buf_span(&s->trace_prefix)};

    if (s->commit_sent)
        store_peer_ask(&s->peer, &again);
    else {
        int rc = smtp_message_commit(&s->message, &s->peer, &trace);

        s->commit_sent = rc == BRANT_OK;
        if (rc != BRANT_OK && rc != BRANT_ESTATE) { /* it won't be any smaller the next time */
            drop_body(s);
            refuse_message(s, IPC_FAILED);
        }
    }
}

static void end_of_data(struct smtp_session *s);

void smtp_session_ask(struct smtp_session *s)
{
    if (!store_client_is_up(s->shared->store) || s->peer.tag)
        return;
    if (!s->presented) {
        ask_open(s);
        return;
    }
    switch (s->wait) {
    case SMTP_WAIT_RCPT:
        ask_rcpt(s);
        break;
    case SMTP_WAIT_CREDIT:
        end_of_data(s);
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
    struct smtp_received received = {.helo = smtp_server_helo(s->engine),
                                     .client = s->source,
                                     .hostname = s->conf->conf.hostname,
                                     .extended = smtp_server_extended(s->engine),
                                     .smtputf8 = s->message.smtputf8,
                                     .unix_time_s = os_clock_wall_ms() / 1000};

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
    buf_done(&s->trace_prefix);
    s->commit_sent = false;
    smtp_session_account(s);
    if (role_draining(s->shared->role))
        smtp_server_end(s->engine, SMTP_CLOSE_SHUTDOWN);
}

static void log_refused_message(const struct smtp_session *s, uint8_t status)
{
    log_event(LOG_WARNING, "smtp-message-refused", LOG_HEX("session", id_span(&s->peer.session)),
              LOG_IP("peer", &s->source), LOG_SPAN("from", buf_span(&s->message.reverse_path)),
              LOG_U64("bytes", s->message.body_bytes), LOG_STR("reason", ipc_status_text(status)));
}

static void refuse_message(struct smtp_session *s, uint8_t status)
{
    struct smtp_reply r = refusal(s, status);

    /* Recipients were accepted one by one; what fails now is ours and may pass on the next try. */
    if (r.code >= 500)
        r = (struct smtp_reply){451, 3, 0, "a recipient changed meanwhile, try again"};
    log_refused_message(s, status);
    reply(s, &r);
    transaction_done(s);
}

/* Tells the store that the body under way won't be committed. */
static void drop_body(struct smtp_session *s)
{
    const struct ipc_message drop = {.type = IPC_TYPE_BODY_ABORT,
                                     .body_abort = {.session = s->peer.session, .body = s->message.body}};

    if (s->message.body && s->presented && !s->message.failed)
        store_peer_tell(&s->peer, &drop);
}

/* The message is whole: hand over what is left of it, then commit. */
static void end_of_data(struct smtp_session *s)
{
    if (s->message.failed) {
        refuse_message(s, s->message.failed);
    } else if (!smtp_message_flush(&s->message, &s->peer, true)) {
        if (s->wait != SMTP_WAIT_CREDIT)
            wait_for(s, SMTP_WAIT_CREDIT);
    } else if (s->message.failed) {
        refuse_message(s, s->message.failed);
    } else {
        os_random_fill(s->commit.b, sizeof s->commit.b);
        if (compose_prefix(s)) {
            drop_body(s);
            refuse_message(s, IPC_FAILED);
            return;
        }
        wait_for(s, SMTP_WAIT_COMMIT);
        smtp_session_ask(s);
    }
}

static void message_accepted(struct smtp_session *s)
{
    char id[2 * sizeof s->commit.b + 1], text[64];
    const struct smtp_reply ok = {250, 0, 0, text};

    commit_text(s, id);
    snprintf(text, sizeof text, "accepted as %s", id);
    log_event(LOG_INFO, "smtp-accepted", LOG_HEX("message", id_span(&s->commit)),
              LOG_HEX("session", id_span(&s->peer.session)), LOG_IP("peer", &s->source),
              LOG_SPAN("from", buf_span(&s->message.reverse_path)),
              LOG_U64("recipients", s->message.recipient_count), LOG_U64("bytes", s->message.body_bytes));
    s->messages++;
    s->shared->accepted_messages++;
    s->shared->accepted_recipients += s->message.recipient_count;
    reply(s, &ok);
    transaction_done(s);
}

/* ---- answers of the store -------------------------------------------------------------------------------
 */

static void answer_verdict(struct smtp_session *s, uint8_t status)
{
    if (status == IPC_OK) {
        s->presented = true;
        if (!s->greeted) {
            s->greeted = true;
            s->wait = SMTP_WAIT_NONE;
            smtp_server_greet(s->engine, os_clock_mono_ms());
        }
        smtp_session_ask(s);
    } else {
        s->wait = SMTP_WAIT_NONE;
        smtp_server_end(s->engine, status == IPC_TOO_MANY ? SMTP_CLOSE_RATE : SMTP_CLOSE_OVERLOAD);
    }
    net_pump_kick(s->pump);
}

static void answer_rcpt(struct smtp_session *s, const struct ipc_rcpt_verdict *v)
{
    if (s->wait != SMTP_WAIT_RCPT)
        return;
    if (v->status == IPC_OK && smtp_message_recipient(&s->message, buf_span(&s->question)) == BRANT_OK) {
        s->recipients++;
        smtp_session_account(s);
        reply(s, NULL);
        return;
    }
    const struct smtp_reply r = refusal(s, v->status);

    s->refused++;
    s->shared->refused_recipients++;
    log_event(LOG_INFO, "smtp-rcpt-refused", LOG_HEX("session", id_span(&s->peer.session)),
              LOG_IP("peer", &s->source), LOG_SPAN("from", buf_span(&s->message.reverse_path)),
              LOG_SPAN("to", buf_span(&s->question)), LOG_STR("reason", ipc_status_text(v->status)),
              LOG_U64("code", r.code));
    reply(s, &r);
}

static void answer_commit(struct smtp_session *s, const struct ipc_commit_result *r)
{
    if (s->wait != SMTP_WAIT_COMMIT || memcmp(&r->commit, &s->commit, sizeof s->commit) != 0)
        return;
    if (r->state == IPC_COMMIT_DONE)
        message_accepted(s);
    else
        refuse_message(s, r->status);
}

static struct smtp_session *session_of(struct store_peer *p)
{
    return (struct smtp_session *)((char *)p - offsetof(struct smtp_session, peer));
}

static void on_answer(struct store_peer *p, const struct ipc_message *m)
{
    struct smtp_session *s = session_of(p);

    if (m->type == IPC_TYPE_SESSION_VERDICT)
        answer_verdict(s, m->session_verdict.status);
    else if (m->type == IPC_TYPE_RCPT_VERDICT)
        answer_rcpt(s, &m->rcpt_verdict);
    else
        answer_commit(s, &m->commit_result);
}

static void on_credit(struct store_peer *p, const struct ipc_body_credit *m)
{
    struct smtp_session *s = session_of(p);

    if (m->body != s->message.body)
        return; /* of an earlier message */
    if (m->status != IPC_OK) {
        drop_body(s); /* the store keeps its name until it is told */
        smtp_message_fail(&s->message, m->status);
    } else
        s->message.credit += m->bytes;
    if (s->wait == SMTP_WAIT_CREDIT)
        end_of_data(s);
    else if (s->wait == SMTP_WAIT_NONE)
        smtp_message_flush(&s->message, &s->peer, false);
    smtp_session_account(s);
    net_pump_kick(s->pump);
}

static void on_lost(struct store_peer *p)
{
    struct smtp_session *s = session_of(p);

    s->presented = false;
    if (s->message.body && !s->commit_sent) {
        smtp_message_fail(&s->message, IPC_TRY_LATER); /* its chunks died with the store */
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
    drop_body(s);
    smtp_message_fail(&s->message, IPC_TRY_LATER);
    smtp_session_account(s);
}

void smtp_session_store_timeout(struct smtp_session *s)
{
    enum smtp_wait wait = s->wait;

    store_peer_forget(&s->peer); /* a late answer must not be taken for that to the next question */
    if (wait == SMTP_WAIT_VERDICT) {
        s->wait = SMTP_WAIT_NONE;
        smtp_server_end(s->engine, SMTP_CLOSE_OVERLOAD);
    } else if (wait == SMTP_WAIT_RCPT) {
        const struct smtp_reply r = refusal(s, IPC_TRY_LATER);

        reply(s, &r);
    } else {
        if (!s->commit_sent)
            drop_body(s);
        refuse_message(s, IPC_TRY_LATER);
    }
}

/* ---- events of the engine -------------------------------------------------------------------------------
 */

static void event_mail(struct smtp_session *s, const struct smtp_event *e)
{
    const struct smtp_reply too_long = {553, 1, 7, "this address can't be used"};

    s->message.smtputf8 = e->smtputf8;
    s->declared_bytes = e->size_bytes;
    reply(s, smtp_message_reverse_path(&s->message, e->mailbox) ? &too_long : NULL);
}

static void event_rcpt(struct smtp_session *s, const struct smtp_event *e)
{
    buf_reset(&s->question);
    if (buf_append(&s->question, e->kind == SMTP_PATH_POSTMASTER ? SPAN_LIT("postmaster") : e->mailbox)) {
        const struct smtp_reply too_long = refusal(s, IPC_INVALID);

        reply(s, &too_long);
        return;
    }
    wait_for(s, SMTP_WAIT_RCPT);
    smtp_session_ask(s);
}

static void event_data(struct smtp_session *s)
{
    if (s->shared->pool_bytes > s->conf->conf.header_pool_bytes) {
        const struct smtp_reply r = {451, 3, 2, "too many messages are arriving, try again later"};

        reply(s, &r);
        transaction_done(s);
        return;
    }
    smtp_message_begin(&s->message, ++s->last_body);
    if (!s->presented) /* the store is away: its replacement won't know this body in time */
        smtp_message_fail(&s->message, IPC_TRY_LATER);
    reply(s, NULL);
}

static void event_body(struct smtp_session *s, struct span bytes)
{
    smtp_message_add(&s->message, bytes);
    smtp_message_flush(&s->message, &s->peer, false);
    smtp_session_account(s);
    if (!s->message.failed && s->shared->pool_bytes > s->conf->conf.header_pool_bytes) {
        drop_body(s);
        smtp_message_fail(&s->message, IPC_TRY_LATER);
        smtp_session_account(s);
    }
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
        end_of_data(s);
        return true;
    case SMTP_EVENT_RESET:
        event_reset(s);
        return true;
    case SMTP_EVENT_CLOSE:
        s->finished = true;
        smtp_session_log_close(s, e->reason);
        return false;
    case SMTP_EVENT_STARTTLS: /* none of these was offered */
    case SMTP_EVENT_AUTH:
    case SMTP_EVENT_AUTH_RESPONSE:
    case SMTP_EVENT_AUTH_CANCEL:
    case SMTP_EVENT_XCLIENT:
        break;
    }
    return false;
}
