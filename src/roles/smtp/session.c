#include "roles/smtp/session_internal.h"

#include <stdlib.h>

#include "base/mem.h"
#include "log/log.h"
#include "os/clock.h"
#include "os/random.h"

enum {
    INPUT_STRANGER_BYTES = 4096, /* read ahead before the first accepted recipient */
    INPUT_KNOWN_BYTES = 65536,
    OUTPUT_BYTES = 16384,
    STORE_WAIT_MS = 60 * 1000,   /* for anything but the outcome of a commit */
    COMMIT_WAIT_MS = 300 * 1000, /* RFC 5321 4.5.3.2.6: the client gives us ten minutes */
};

/* The body waits for credit from the store: nothing more is read from the peer, and its clock stands. */
static bool blocked(const struct smtp_session *s)
{
    return s->message.body && !smtp_message_room(&s->message);
}

static size_t feed(void *context, struct span in, uint64_t now_ms)
{
    struct smtp_session *s = context;
    size_t offered = in.len;

    if (s->blocked_since_ms && !blocked(s)) {
        s->blocked_since_ms = 0;
        smtp_server_resumed(s->engine, now_ms);
    }
    while (!s->finished && !blocked(s)) {
        /* A body event is never larger than what the chunk buffer has room for. */
        struct span piece = span_sub(in, 0, SMTP_MESSAGE_PIECE_MAX);
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
    struct smtp_session *s = context;

    smtp_server_end(s->engine, SMTP_CLOSE_LOST);
    feed(s, SPAN_NONE, now_ms);
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
    if (s->blocked_since_ms)
        return s->blocked_since_ms + COMMIT_WAIT_MS;
    if (s->wait == SMTP_WAIT_NONE)
        return NET_PUMP_NEVER;
    return s->waiting_since_ms + (s->wait == SMTP_WAIT_COMMIT ? COMMIT_WAIT_MS : STORE_WAIT_MS);
}

static uint64_t engine_deadline_ms(const struct smtp_session *s, uint64_t now_ms)
{
    uint64_t in_ms = smtp_server_timeout_ms(s->engine, now_ms);

    return in_ms == SMTP_NO_TIMEOUT || s->blocked_since_ms ? NET_PUMP_NEVER : now_ms + in_ms;
}

static uint64_t deadline_ms(void *context, uint64_t now_ms)
{
    struct smtp_session *s = context;
    uint64_t engine = engine_deadline_ms(s, now_ms), store = store_deadline_ms(s);

    return engine < store ? engine : store;
}

static void on_timeout(void *context, uint64_t now_ms)
{
    struct smtp_session *s = context;

    if (store_deadline_ms(s) <= now_ms && s->blocked_since_ms)
        smtp_session_credit_timeout(s);
    else if (store_deadline_ms(s) <= now_ms)
        smtp_session_store_timeout(s);
    else
        smtp_server_end(s->engine, SMTP_CLOSE_TIMEOUT);
}

static bool finished(void *context)
{
    struct smtp_session *s = context;

    return s->finished;
}

static void release(struct smtp_session *s)
{
    /* The opening may be under way still: to a store that does not know the session this says nothing. */
    const struct ipc_message bye = {.type = IPC_TYPE_SESSION_CLOSE,
                                    .session_close = {.session = s->peer.session}};

    store_peer_tell(&s->peer, &bye);
    store_peer_detach(&s->peer);
    smtp_message_done(&s->message);
    smtp_session_account(s);
    buf_done(&s->question);
    buf_done(&s->trace_prefix);
    smtp_server_free(s->engine);
    role_conf_unref(s->conf);
    *s->link = s->next;
    if (s->next)
        s->next->link = s->link;
    if (--s->shared->session_count == 0 && role_draining(s->shared->role))
        role_stop(s->shared->role);
    free(s);
}

static void on_ended(void *context, enum net_stream_end end)
{
    struct smtp_session *s = context;

    if (!s->finished)
        smtp_session_log_close(s, end == NET_STREAM_STALLED ? SMTP_CLOSE_TIMEOUT : SMTP_CLOSE_LOST);
    release(s);
}

static const struct net_pump_ops PUMP_OPS = {.feed = feed,
                                             .eof = on_eof,
                                             .output = output,
                                             .sent = sent,
                                             .deadline_ms = deadline_ms,
                                             .timeout = on_timeout,
                                             .finished = finished,
                                             .ended = on_ended};

static struct smtp_server *engine_new(const struct conf *conf, uint64_t now_ms)
{
    struct smtp_server_config c;

    smtp_server_config_init(&c, conf->greeting_name[0] ? conf->greeting_name : conf->hostname);
    c.role = SMTP_ROLE_MX;
    c.message_bytes_max = conf->max_message_size_bytes;
    c.header_bytes_max = conf->max_header_size_bytes;
    c.recipients_max = (uint32_t)conf->max_recipients;
    c.messages_max = (uint32_t)conf->max_messages_per_session;
    c.received_max = (uint32_t)conf->received_max;
    c.errors_max = (uint32_t)conf->max_bad_commands;
    c.refusals_max = (uint32_t)conf->max_unknown_recipients;
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

void smtp_session_start(struct smtp_shared *shared, const struct net_accepted *a)
{
    struct role_conf *conf = role_conf_ref(role_conf(shared->role));
    const struct net_stream_conf stream = {.input_max_bytes = INPUT_STRANGER_BYTES,
                                           .output_max_bytes = OUTPUT_BYTES,
                                           .output_timeout_ms = conf->conf.smtp_timeout_reply_ms};
    struct smtp_session *s = mem_zalloc(sizeof *s);
    struct ipc_id id;

    s->shared = shared;
    s->conf = conf;
    s->source = a->peer;
    s->started_ms = s->waiting_since_ms = os_clock_mono_ms();
    s->engine = engine_new(&conf->conf, s->started_ms);
    smtp_message_init(&s->message);
    buf_init(&s->question, IPC_ADDRESS_MAX);
    buf_init(&s->trace_prefix, IPC_PREFIX_MAX);
    os_random_fill(id.b, sizeof id.b);
    store_peer_attach(&s->peer, shared->store, &id, &smtp_session_peer_ops);
    link_in(s);
    log_event(LOG_INFO, "smtp-connect", LOG_HEX("session", span_make(id.b, sizeof id.b)),
              LOG_ADDR("peer", &a->peer), LOG_ADDR("local", &a->local));
    s->pump = net_pump_new(role_loop(shared->role), a->fd, &stream, &PUMP_OPS, s);
    s->wait = SMTP_WAIT_VERDICT;
    smtp_session_ask(s);
}

void smtp_session_account(struct smtp_session *s)
{
    size_t now = smtp_message_memory(&s->message) + s->trace_prefix.cap;

    s->shared->pool_bytes = s->shared->pool_bytes - s->pool_bytes + now;
    s->pool_bytes = now;
    if (s->pump)
        net_pump_input_max(s->pump, s->message.recipient_count ? INPUT_KNOWN_BYTES : INPUT_STRANGER_BYTES);
}

void smtp_session_log_close(const struct smtp_session *s, enum smtp_close_reason reason)
{
    log_event(LOG_INFO, "smtp-close",
              LOG_HEX("session", span_make(s->peer.session.b, sizeof s->peer.session.b)),
              LOG_IP("peer", &s->source), LOG_STR("reason", smtp_close_reason_text(reason)),
              LOG_SPAN("helo", smtp_server_helo(s->engine)), LOG_U64("messages", s->messages),
              LOG_U64("recipients", s->recipients), LOG_U64("refused", s->refused),
              LOG_U64("duration_ms", os_clock_mono_ms() - s->started_ms));
}

void smtp_session_drain_all(struct smtp_shared *shared)
{
    if (!shared->sessions)
        role_stop(shared->role);
    for (struct smtp_session *s = shared->sessions; s; s = s->next) {
        if (smtp_server_busy(s->engine))
            continue; /* it ends with its transaction */
        smtp_server_end(s->engine, SMTP_CLOSE_SHUTDOWN);
        net_pump_kick(s->pump);
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
