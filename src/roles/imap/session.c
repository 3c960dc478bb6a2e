#include "roles/imap/session_internal.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "log/log.h"
#include "os/clock.h"

enum {
    OUTPUT_BYTES = 65536,
    STORE_WAIT_MS = 60 * 1000,
    CREDIT_WAIT_MS = 300 * 1000,
    WRITE_TIMEOUT_MS = 120 * 1000 /* a client that takes none of the output */
};

void imap_session_wait_for(struct imap_session *s, enum imap_wait wait)
{
    s->wait = wait;
    s->sent = s->again = false;
    s->waiting_since_ms = os_clock_mono_ms();
    imap_session_ask(s);
}

void imap_session_answered(struct imap_session *s)
{
    s->wait = IMAP_WAIT_NONE;
    s->sent = s->again = false;
    net_pump_kick(s->pump);
}

/* A question could not even be repeated: it points into the engine, which has let go of it. */
static void ask_no_more(struct imap_session *s)
{
    if (s->edge.presented)
        store_peer_forget(&s->edge.peer);
    s->wait = IMAP_WAIT_NONE;
    s->sent = s->again = false;
}

void imap_session_end(struct imap_session *s, enum imap_close_reason reason)
{
    bool behind_command = reason == IMAP_CLOSE_SHUTDOWN && s->greeted && edge_may_speak(&s->edge);

    imap_server_end(s->engine, edge_may_speak(&s->edge) ? reason : IMAP_CLOSE_LOST);
    s->edge.stage = EDGE_OPEN; /* the engine has its last event to give */
    if (!behind_command)
        ask_no_more(s);
    net_pump_kick(s->pump);
}

/* The way in. False: the protocol does not speak yet. */
static bool is_open(struct imap_session *s, struct span *in)
{
    if (s->edge.stage == EDGE_PROXY) {
        int rc = edge_take_proxy(&s->edge, in);

        if (rc == BRANT_ESYNTAX)
            imap_session_end(s, IMAP_CLOSE_LOST);
        else if (rc == BRANT_OK)
            imap_session_wait_for(s, IMAP_WAIT_VERDICT);
    }
    return s->edge.stage == EDGE_OPEN;
}

static void note_blocked(struct imap_session *s, uint64_t now_ms)
{
    bool blocked = imap_appending_blocked(s);

    if (s->blocked_since_ms && !blocked) {
        s->blocked_since_ms = 0;
        imap_server_resumed(s->engine, now_ms);
    } else if (!s->blocked_since_ms && blocked) {
        s->blocked_since_ms = now_ms;
    }
}

static size_t feed(void *context, struct span in, uint64_t now_ms)
{
    struct imap_session *s = context;
    size_t offered = in.len;

    if (!is_open(s, &in))
        return offered - in.len;
    note_blocked(s, now_ms);
    imap_server_clock(s->engine, os_clock_wall_ms());
    while (!s->finished && !imap_appending_blocked(s)) {
        /* Bytes of a message never come in larger pieces than there is room for. */
        struct span piece = span_sub(in, 0, BODY_PIECE_MAX);
        size_t before = piece.len;
        struct imap_event event;

        imap_server_next(s->engine, &piece, now_ms, &event);
        in = span_from(in, before - piece.len);
        if (!imap_session_event(s, &event) && (event.type != IMAP_EVENT_MORE || in.len == 0))
            break;
    }
    note_blocked(s, now_ms);
    return offered - in.len;
}

static void on_eof(void *context, uint64_t now_ms)
{
    imap_session_end(context, IMAP_CLOSE_LOST);
    feed(context, SPAN_NONE, now_ms);
}

static struct span output(void *context)
{
    struct imap_session *s = context;

    return imap_server_output(s->engine);
}

static void sent(void *context, size_t len, uint64_t now_ms)
{
    struct imap_session *s = context;

    imap_server_output_used(s->engine, len, now_ms);
    if (imap_server_compress_started(s->engine) == BRANT_OK)
        net_pump_kick(s->pump); /* there may be commands behind it */
}

static uint64_t store_deadline_ms(const struct imap_session *s)
{
    if (s->wait != IMAP_WAIT_NONE)
        return s->waiting_since_ms + STORE_WAIT_MS;
    if (s->blocked_since_ms)
        return s->blocked_since_ms + CREDIT_WAIT_MS;
    return s->look_at_ms ? s->look_at_ms : NET_PUMP_NEVER;
}

static uint64_t engine_deadline_ms(const struct imap_session *s, uint64_t now_ms)
{
    uint64_t in_ms = imap_server_timeout_ms(s->engine, now_ms);

    return in_ms == IMAP_NO_TIMEOUT || s->blocked_since_ms ? NET_PUMP_NEVER : now_ms + in_ms;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t deadline_ms(void *context, uint64_t now_ms)
{
    struct imap_session *s = context;

    uint64_t wake_ms = imap_server_wake_ms(s->engine, now_ms);
    uint64_t wake_at_ms = wake_ms == IMAP_NO_TIMEOUT ? NET_PUMP_NEVER : now_ms + wake_ms;

    return least(least(edge_deadline_ms(&s->edge), wake_at_ms),
                 least(engine_deadline_ms(s, now_ms), store_deadline_ms(s)));
}

static void store_is_late(struct imap_session *s)
{
    if (s->wait != IMAP_WAIT_NONE) {
        imap_session_give_up(s);
    } else if (s->blocked_since_ms) {
        imap_appending_fail(s, IPC_TRY_LATER);
        net_pump_kick(s->pump);
    } else {
        s->look_at_ms = 0;
        imap_server_notice(s->engine, UINT64_MAX);
        net_pump_kick(s->pump);
    }
}

static void on_timeout(void *context, uint64_t now_ms)
{
    struct imap_session *s = context;

    if (edge_deadline_ms(&s->edge) > now_ms && store_deadline_ms(s) <= now_ms)
        store_is_late(s);
    else if (edge_deadline_ms(&s->edge) <= now_ms || engine_deadline_ms(s, now_ms) <= now_ms)
        imap_session_end(s, IMAP_CLOSE_TIMEOUT);
    /* Else the engine has something to say of itself; it is fed next. */
}

static bool finished(void *context)
{
    struct imap_session *s = context;

    return s->finished;
}

static void on_secured(void *context, const struct net_tls_info *info, size_t discarded, uint64_t now_ms)
{
    (void)now_ms;
    imap_greeting_secured(context, info, discarded);
}

/* Where no further connection will come, the process ends with its last one. */
static void stop_when_idle(struct imap_shared *shared)
{
    if (shared->session_count == 0 && role_takes_no_more(shared->edge.role))
        role_stop(shared->edge.role);
}

static void release(struct imap_session *s)
{
    struct imap_server_stats stats = imap_server_stats(s->engine);

    s->shared->messages_fetched += stats.fetched;
    imap_opening_free(s);
    imap_appending_free(s);
    buf_done(&s->mailbox_name);
    login_done(&s->login);
    imap_server_free(s->engine);
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
    struct imap_session *s = context;

    edge_ended(&s->edge, end, net_pump_end_text(s->pump));
    if (!s->finished)
        imap_session_log_close(s, end == NET_STREAM_STALLED ? IMAP_CLOSE_TIMEOUT : IMAP_CLOSE_LOST);
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

static struct imap_server *engine_new(const struct conf *conf, uint64_t now_ms)
{
    struct imap_server_config c;

    imap_server_config_init(&c, conf->greeting_name[0] ? conf->greeting_name : conf->hostname);
    c.login_timeout_ms = (uint32_t)conf->imap_login_timeout_ms;
    c.idle_timeout_ms = (uint32_t)conf->imap_idle_timeout_ms;
    c.write_timeout_ms = WRITE_TIMEOUT_MS;
    c.login_failures_max = (uint32_t)conf->max_login_failures;
    c.append_bytes_max = conf->max_message_size_bytes;
    c.append_messages_max = IPC_APPEND_MAX;
    return imap_server_new(&c, now_ms);
}

static void link_in(struct imap_session *s)
{
    s->next = s->shared->sessions;
    s->link = &s->shared->sessions;
    if (s->next)
        s->next->link = &s->next;
    s->shared->sessions = s;
    s->shared->session_count++;
}

void imap_session_start(struct imap_shared *shared, enum ipc_service service, const struct net_accepted *a)
{
    static const struct net_stream_conf stream = {.input_max_bytes = IMAP_INPUT_STRANGER_BYTES,
                                                  .output_max_bytes = OUTPUT_BYTES,
                                                  .output_timeout_ms = WRITE_TIMEOUT_MS};
    struct imap_session *s = mem_zalloc(sizeof *s);

    if (!edge_init(&s->edge, &shared->edge, service, a, &imap_session_peer_ops)) {
        close(a->fd);
        free(s);
        stop_when_idle(shared); /* that one was all, where a process takes one connection */
        return;
    }
    s->shared = shared;
    s->engine = engine_new(&s->edge.conf->conf, s->edge.started_ms);
    buf_init(&s->mailbox_name, IPC_MAILBOX_NAME_MAX);
    login_init(&s->login);
    link_in(s);
    log_event(LOG_INFO, "imap-connect", LOG_HEX("session", edge_session(&s->edge)),
              LOG_STR("service", ipc_service_name((uint8_t)service)), LOG_ADDR("peer", &a->peer),
              LOG_ADDR("local", &a->local));
    s->pump = net_pump_new(role_loop(shared->edge.role), a->fd, &stream, &PUMP_OPS, s);
    if (s->edge.stage == EDGE_VERDICT)
        imap_session_wait_for(s, IMAP_WAIT_VERDICT);
}

void imap_session_log_close(const struct imap_session *s, enum imap_close_reason reason)
{
    struct imap_server_stats stats = imap_server_stats(s->engine);

    log_event(
        LOG_INFO, "imap-close", LOG_HEX("session", edge_session(&s->edge)), LOG_IP("peer", &s->edge.source),
        LOG_STR("tls", s->edge.tls_text), LOG_SPAN("account", buf_span(&s->edge.address)),
        LOG_STR("reason", imap_close_reason_text(reason)), LOG_SPAN("mailbox", buf_span(&s->mailbox_name)),
        LOG_U64("commands", stats.commands), LOG_U64("fetched", stats.fetched),
        LOG_U64("appended", stats.appended), LOG_U64("copies", s->copies), LOG_U64("expunges", s->expunges),
        LOG_U64("bytes", stats.bytes_sent), LOG_U64("duration_ms", os_clock_mono_ms() - s->edge.started_ms));
}

void imap_session_drain_all(struct imap_shared *shared)
{
    if (!shared->sessions)
        role_stop(shared->edge.role);
    for (struct imap_session *s = shared->sessions; s; s = s->next) {
        imap_session_end(s, IMAP_CLOSE_SHUTDOWN);
        feed(s, SPAN_NONE, os_clock_mono_ms()); /* the pump does not, while a handshake is under way */
    }
}

void imap_session_ask_all(struct imap_shared *shared)
{
    for (struct imap_session *s = shared->sessions; s; s = s->next)
        if (s->wait == IMAP_WAIT_ANSWER)
            imap_session_ask(s);
}

void imap_session_offer_all(struct imap_shared *shared)
{
    for (struct imap_session *s = shared->sessions; s; s = s->next)
        if (s->greeted)
            imap_greeting_offer(s);
}

void imap_session_abort_all(struct imap_shared *shared)
{
    while (shared->sessions != NULL) {
        struct imap_session *s = shared->sessions;

        imap_session_log_close(s, IMAP_CLOSE_SHUTDOWN);
        net_pump_abort(s->pump);
        s->pump = NULL;
        release(s);
    }
}

void imap_session_totals(const struct imap_shared *shared, uint64_t *ret_idling, uint64_t *ret_bytes)
{
    *ret_idling = *ret_bytes = 0;
    for (const struct imap_session *s = shared->sessions; s; s = s->next) {
        *ret_idling += imap_server_idling(s->engine);
        *ret_bytes += sizeof *s + imap_server_memory_bytes(s->engine);
    }
}
