#include "roles/smtp/session_internal.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "log/log.h"
#include "os/clock.h"

enum {
    INPUT_STRANGER_BYTES = 4096, /* read ahead before the first accepted recipient */
    INPUT_KNOWN_BYTES = 65536,
    OUTPUT_BYTES = 16384,
    STORE_WAIT_MS = 60 * 1000,   /* for anything but the outcome of a commit */
    COMMIT_WAIT_MS = 300 * 1000, /* RFC 5321 4.5.3.2.6: the client gives us ten minutes */
};

bool smtp_session_submits(const struct smtp_session *s)
{
    return s->edge.service == IPC_SERVICE_SUBMISSION || s->edge.service == IPC_SERVICE_SUBMISSIONS ||
           s->edge.service == IPC_SERVICE_SUBMISSION_LOCAL;
}

bool smtp_session_lmtp(const struct smtp_session *s)
{
    return s->edge.service == IPC_SERVICE_LMTP || s->edge.service == IPC_SERVICE_LMTP_LOCAL;
}

void smtp_session_wait_for(struct smtp_session *s, enum smtp_wait wait)
{
    s->wait = wait;
    s->waiting_since_ms = os_clock_mono_ms();
}

void smtp_session_reply(struct smtp_session *s, const struct smtp_reply *r)
{
    /* Answered without having heard from the store: what it says late is not for the next question. (Before
     * the session is presented, what is under way is that.) */
    if (s->wait != SMTP_WAIT_NONE && s->edge.presented)
        store_peer_forget(&s->edge.peer);
    s->wait = SMTP_WAIT_NONE;
    smtp_server_answer(s->engine, r, os_clock_mono_ms());
    net_pump_kick(s->pump);
}

/* No more of the message can be taken: nothing is read from the peer, and its clock stands. */
static bool blocked(const struct smtp_session *s)
{
    return s->message.body.number && (!body_room(&s->message.body) || submission_blocked(s));
}

/* A question could not even be repeated: that of a login points into the engine, which has let go of it. */
void smtp_session_ask_no_more(struct smtp_session *s)
{
    if (s->edge.presented)
        store_peer_forget(&s->edge.peer);
    s->wait = SMTP_WAIT_NONE;
}

void smtp_session_end(struct smtp_session *s, enum smtp_close_reason reason)
{
    smtp_server_end(s->engine, edge_may_speak(&s->edge) ? reason : SMTP_CLOSE_LOST);
    s->edge.stage = EDGE_OPEN; /* the engine has its last event to give */
    if (!smtp_server_busy(s->engine))
        smtp_session_ask_no_more(s); /* else it ends behind the answer to a message */
    net_pump_kick(s->pump);
}

/* The way in. False: the protocol does not speak yet. */
static bool is_open(struct smtp_session *s, struct span *in)
{
    if (s->edge.stage == EDGE_PROXY) {
        int rc = edge_take_proxy(&s->edge, in);

        if (rc == BRANT_ESYNTAX) {
            smtp_session_end(s, SMTP_CLOSE_LOST);
            return true;
        }
        if (rc == BRANT_OK) {
            smtp_session_wait_for(s, SMTP_WAIT_VERDICT);
            smtp_session_ask(s);
        }
    }
    /* The engine refuses a client that speaks before the greeting, so it sees what comes before the verdict.
     */
    return s->edge.stage == EDGE_OPEN || edge_may_speak(&s->edge);
}

static size_t feed(void *context, struct span in, uint64_t now_ms)
{
    struct smtp_session *s = context;
    size_t offered = in.len;

    if (!is_open(s, &in))
        return offered - in.len;
    if (s->message.body.number)
        submission_move(s);
    if (s->blocked_since_ms && !blocked(s)) {
        s->blocked_since_ms = 0;
        smtp_server_resumed(s->engine, now_ms);
    }
    while (!s->finished && !blocked(s)) {
        /* A body event is never larger than what the chunk buffer has room for. */
        struct span piece = span_sub(in, 0, BODY_PIECE_MAX);
        size_t before = piece.len;
        struct smtp_event event;

        smtp_server_next(s->engine, &piece, now_ms, &event);
        in = span_from(in, before - piece.len);
        if (!smtp_session_event(s, &event) && (event.type != SMTP_EVENT_MORE || in.len == 0))
            break;
    }
    if (!s->blocked_since_ms && blocked(s))
        s->blocked_since_ms = now_ms;
    return offered - in.len;
}

static void on_eof(void *context, uint64_t now_ms)
{
    smtp_session_end(context, SMTP_CLOSE_LOST);
    feed(context, SPAN_NONE, now_ms);
}

static struct span output(void *context)
{
    struct smtp_session *s = context;

    return smtp_server_output(s->engine);
}

static void sent(void *context, size_t len, uint64_t now_ms)
{
    struct smtp_session *s = context;

    smtp_server_output_used(s->engine, len, now_ms);
}

static uint64_t store_deadline_ms(const struct smtp_session *s)
{
    if (s->wait != SMTP_WAIT_NONE)
        return s->waiting_since_ms + (s->wait == SMTP_WAIT_COMMIT ? COMMIT_WAIT_MS : STORE_WAIT_MS);
    return s->blocked_since_ms ? s->blocked_since_ms + COMMIT_WAIT_MS : NET_PUMP_NEVER;
}

static uint64_t engine_deadline_ms(const struct smtp_session *s, uint64_t now_ms)
{
    uint64_t in_ms = smtp_server_timeout_ms(s->engine, now_ms);

    return in_ms == SMTP_NO_TIMEOUT || s->blocked_since_ms ? NET_PUMP_NEVER : now_ms + in_ms;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t deadline_ms(void *context, uint64_t now_ms)
{
    struct smtp_session *s = context;

    return least(edge_deadline_ms(&s->edge), least(engine_deadline_ms(s, now_ms), store_deadline_ms(s)));
}

static void on_timeout(void *context, uint64_t now_ms)
{
    struct smtp_session *s = context;

    if (edge_deadline_ms(&s->edge) <= now_ms)
        smtp_session_end(s, SMTP_CLOSE_TIMEOUT);
    else if (store_deadline_ms(s) <= now_ms && s->wait == SMTP_WAIT_NONE)
        smtp_session_credit_timeout(s);
    else if (store_deadline_ms(s) <= now_ms)
        smtp_session_store_timeout(s);
    else
        smtp_session_end(s, SMTP_CLOSE_TIMEOUT);
}

static bool finished(void *context)
{
    struct smtp_session *s = context;

    return s->finished;
}

static void on_secured(void *context, const struct net_tls_info *info, size_t discarded, uint64_t now_ms)
{
    (void)now_ms;
    smtp_greeting_secured(context, info, discarded);
}

/* Where no further connection will come, the process ends with its last one. */
static void stop_when_idle(struct smtp_shared *shared)
{
    if (shared->session_count == 0 && role_takes_no_more(shared->edge.role))
        role_stop(shared->edge.role);
}

static void release(struct smtp_session *s)
{
    login_done(&s->login);
    smtp_message_done(&s->message);
    submission_free(s->submission);
    s->submission = NULL;
    buf_done(&s->trace_prefix);
    smtp_session_account(s);
    buf_done(&s->question);
    buf_done(&s->client_name);
    smtp_server_free(s->engine);
    edge_done(&s->edge);
    *s->link = s->next;
    if (s->next)
        s->next->link = s->link;
    s->shared->session_count--;
    stop_when_idle(s->shared);
    free(s);
}

static void on_ended(void *context, enum net_stream_end end)
{
    struct smtp_session *s = context;

    edge_ended(&s->edge, end, net_pump_end_text(s->pump));
    if (!s->finished)
        smtp_session_log_close(s, end == NET_STREAM_STALLED ? SMTP_CLOSE_TIMEOUT : SMTP_CLOSE_LOST);
    s->pump = NULL; /* it goes behind this call */
    release(s);
}

static const struct net_pump_ops PUMP_OPS = {.feed = feed,
                                             .eof = on_eof,
                                             .output = output,
                                             .sent = sent,
                                             .deadline_ms = deadline_ms,
                                             .timeout = on_timeout,
                                             .finished = finished,
                                             .secured = on_secured,
                                             .ended = on_ended};

static struct smtp_server *engine_new(const struct smtp_session *s, uint64_t now_ms)
{
    const struct conf *conf = &s->edge.conf->conf;
    struct smtp_server_config c;

    smtp_server_config_init(&c, conf->greeting_name[0] ? conf->greeting_name : conf->hostname);
    c.role = smtp_session_submits(s) ? SMTP_ROLE_SUBMISSION
             : smtp_session_lmtp(s)  ? SMTP_ROLE_LMTP
                                     : SMTP_ROLE_MX;
    c.message_bytes_max = conf->max_message_size_bytes;
    c.header_bytes_max = conf->max_header_size_bytes;
    c.recipients_max =
        (uint32_t)(smtp_session_submits(s) ? conf->submission_recipients : conf->max_recipients);
    c.messages_max = (uint32_t)conf->max_messages_per_session;
    c.received_max = (uint32_t)conf->received_max;
    c.errors_max = (uint32_t)conf->max_bad_commands;
    c.refusals_max = (uint32_t)conf->max_unknown_recipients;
    c.auth_failures_max = (uint32_t)conf->max_login_failures;
    c.auth_required = smtp_session_submits(s);
    c.early_talk_refused = true;
    c.command_timeout_ms = (uint32_t)conf->smtp_timeout_command_ms;
    c.data_timeout_ms = (uint32_t)conf->smtp_timeout_data_ms;
    c.first_rcpt_ms = (uint32_t)conf->smtp_timeout_start_ms;
    c.session_ms = (uint32_t)conf->smtp_session_max_ms;
    c.data_rate_min = (uint32_t)conf->smtp_min_rate_bytes;
    return smtp_server_new(&c, now_ms);
}

static void link_in(struct smtp_session *s)
{
    s->next = s->shared->sessions;
    s->link = &s->shared->sessions;
    if (s->next)
        s->next->link = &s->next;
    s->shared->sessions = s;
    s->shared->session_count++;
}

void smtp_session_start(struct smtp_shared *shared, enum ipc_service service, const struct net_accepted *a)
{
    struct smtp_session *s = mem_zalloc(sizeof *s);

    if (!edge_init(&s->edge, &shared->edge, service, a, &smtp_session_peer_ops)) {
        close(a->fd);
        free(s);
        stop_when_idle(shared); /* that one was all, where a process takes one connection */
        return;
    }
    const struct net_stream_conf stream = {.input_max_bytes = INPUT_STRANGER_BYTES,
                                           .output_max_bytes = OUTPUT_BYTES,
                                           .output_timeout_ms = s->edge.conf->conf.smtp_timeout_reply_ms};
    s->shared = shared;
    s->engine = engine_new(s, s->edge.started_ms);
    login_init(&s->login);
    buf_init(&s->client_name, 255);
    smtp_message_init(&s->message);
    buf_init(&s->question, IPC_ADDRESS_MAX);
    buf_init(&s->trace_prefix, IPC_PREFIX_MAX);
    link_in(s);
    log_event(LOG_INFO, "smtp-connect", LOG_HEX("session", edge_session(&s->edge)),
              LOG_STR("service", ipc_service_name(service)), LOG_ADDR("peer", &a->peer),
              LOG_ADDR("local", &a->local));
    s->pump = net_pump_new(role_loop(shared->edge.role), a->fd, &stream, &PUMP_OPS, s);
    if (s->edge.stage == EDGE_VERDICT) {
        smtp_session_wait_for(s, SMTP_WAIT_VERDICT);
        smtp_session_ask(s);
    }
}

void smtp_session_account(struct smtp_session *s)
{
    size_t now = smtp_message_memory(&s->message) + submission_memory(s->submission) + s->trace_prefix.cap;

    s->shared->pool_bytes = s->shared->pool_bytes - s->pool_bytes + now;
    s->pool_bytes = now;
    if (s->pump)
        net_pump_input_max(s->pump, s->message.recipient_count ? INPUT_KNOWN_BYTES : INPUT_STRANGER_BYTES);
}

void smtp_session_log_close(const struct smtp_session *s, enum smtp_close_reason reason)
{
    log_event(LOG_INFO, "smtp-close", LOG_HEX("session", edge_session(&s->edge)),
              LOG_IP("peer", &s->edge.source), LOG_STR("reason", smtp_close_reason_text(reason)),
              LOG_SPAN("helo", smtp_server_helo(s->engine)), LOG_STR("tls", s->edge.tls_text),
              LOG_SPAN("account", buf_span(&s->edge.address)), LOG_U64("messages", s->messages),
              LOG_U64("recipients", s->recipients), LOG_U64("refused", s->refused),
              LOG_U64("duration_ms", os_clock_mono_ms() - s->edge.started_ms));
}

void smtp_session_offer_all(struct smtp_shared *shared)
{
    for (struct smtp_session *s = shared->sessions; s; s = s->next)
        if (s->greeted)
            smtp_greeting_offer(s);
}

void smtp_session_drain_all(struct smtp_shared *shared)
{
    if (!shared->sessions)
        role_stop(shared->edge.role);
    for (struct smtp_session *s = shared->sessions; s; s = s->next) {
        if (smtp_server_busy(s->engine))
            continue; /* it ends with its transaction */
        smtp_session_end(s, SMTP_CLOSE_SHUTDOWN);
        feed(s, SPAN_NONE, os_clock_mono_ms()); /* the pump does not, while a handshake is under way */
    }
}

void smtp_session_abort_all(struct smtp_shared *shared)
{
    while (shared->sessions != NULL) {
        struct smtp_session *s = shared->sessions;

        smtp_session_log_close(s, SMTP_CLOSE_SHUTDOWN);
        net_pump_abort(s->pump);
        s->pump = NULL;
        release(s);
    }
}
