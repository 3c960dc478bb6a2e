#include "roles/pop3/session_internal.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "log/log.h"
#include "os/clock.h"

enum {
    INPUT_BYTES = 4096,
    OUTPUT_BYTES = 65536,
    STORE_WAIT_MS = 60 * 1000,
    WRITE_TIMEOUT_MS = 120 * 1000 /* a client that takes none of the output */
};

void pop3_session_wait_for(struct pop3_session *s, enum pop3_wait wait)
{
    s->wait = wait;
    s->waiting_since_ms = os_clock_mono_ms();
    pop3_session_ask(s);
}

void pop3_session_answered(struct pop3_session *s)
{
    s->wait = POP3_WAIT_NONE;
    net_pump_kick(s->pump);
}

void pop3_session_end(struct pop3_session *s, enum pop3_close_reason reason)
{
    pop3_server_end(s->engine, edge_may_speak(&s->edge) ? reason : POP3_CLOSE_LOST);
    s->edge.stage = EDGE_OPEN; /* the engine has its last event to give */
    /* Nobody waits any more, and a login could not be asked again: it points into the engine. */
    if (s->wait == POP3_WAIT_VERDICT || s->wait == POP3_WAIT_LOGIN)
        s->wait = POP3_WAIT_NONE;
    net_pump_kick(s->pump);
}

/* The way in. False: the protocol does not speak yet. */
static bool is_open(struct pop3_session *s, struct span *in)
{
    if (s->edge.stage == EDGE_PROXY) {
        int rc = edge_take_proxy(&s->edge, in);

        if (rc == BRANT_ESYNTAX)
            pop3_session_end(s, POP3_CLOSE_LOST);
        else if (rc == BRANT_OK)
            pop3_session_wait_for(s, POP3_WAIT_VERDICT);
    }
    return s->edge.stage == EDGE_OPEN;
}

static size_t feed(void *context, struct span in, uint64_t now_ms)
{
    struct pop3_session *s = context;
    size_t offered = in.len;
    struct pop3_event event;

    if (!is_open(s, &in))
        return offered - in.len;
    while (!s->finished) {
        pop3_server_next(s->engine, &in, now_ms, &event);
        if (!pop3_session_event(s, &event))
            break;
    }
    return offered - in.len;
}

static void on_eof(void *context, uint64_t now_ms)
{
    pop3_session_end(context, POP3_CLOSE_LOST);
    feed(context, SPAN_NONE, now_ms);
}

static struct span output(void *context)
{
    struct pop3_session *s = context;

    return pop3_server_output(s->engine);
}

static void sent(void *context, size_t len, uint64_t now_ms)
{
    struct pop3_session *s = context;

    pop3_server_output_used(s->engine, len, now_ms);
}

static uint64_t store_deadline_ms(const struct pop3_session *s)
{
    return s->wait == POP3_WAIT_NONE ? NET_PUMP_NEVER : s->waiting_since_ms + STORE_WAIT_MS;
}

static uint64_t deadline_ms(void *context, uint64_t now_ms)
{
    struct pop3_session *s = context;
    uint64_t in_ms = pop3_server_timeout_ms(s->engine, now_ms), store = store_deadline_ms(s);
    uint64_t engine = in_ms == POP3_NO_TIMEOUT ? NET_PUMP_NEVER : now_ms + in_ms;
    uint64_t first = engine < store ? engine : store, edge = edge_deadline_ms(&s->edge);

    return edge < first ? edge : first;
}

static void on_timeout(void *context, uint64_t now_ms)
{
    struct pop3_session *s = context;

    if (store_deadline_ms(s) <= now_ms)
        pop3_session_give_up(s);
    else
        pop3_session_end(s, POP3_CLOSE_TIMEOUT);
}

static bool finished(void *context)
{
    struct pop3_session *s = context;

    return s->finished;
}

static void on_secured(void *context, const struct net_tls_info *info, size_t discarded, uint64_t now_ms)
{
    (void)now_ms;
    pop3_greeting_secured(context, info, discarded);
}

/* Where no further connection will come, the process ends with its last one. */
static void stop_when_idle(struct pop3_shared *shared)
{
    if (shared->session_count == 0 && role_takes_no_more(shared->edge.role))
        role_stop(shared->edge.role);
}

static void release(struct pop3_session *s)
{
    struct pop3_server_stats stats = pop3_server_stats(s->engine);

    s->shared->messages_sent += stats.retrieved;
    login_done(&s->login);
    pop3_server_free(s->engine);
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
    struct pop3_session *s = context;

    edge_ended(&s->edge, end, net_pump_end_text(s->pump));
    if (!s->finished)
        pop3_session_log_close(s, end == NET_STREAM_STALLED ? POP3_CLOSE_TIMEOUT : POP3_CLOSE_LOST);
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

static struct pop3_server *engine_new(const struct conf *conf, uint64_t now_ms)
{
    struct pop3_server_config c;

    pop3_server_config_init(&c, conf->greeting_name[0] ? conf->greeting_name : conf->hostname);
    c.login_timeout_ms = (uint32_t)conf->pop3_login_timeout_ms;
    c.idle_timeout_ms = (uint32_t)conf->pop3_idle_timeout_ms;
    c.login_failures_max = (uint32_t)conf->max_login_failures;
    return pop3_server_new(&c, now_ms);
}

static void link_in(struct pop3_session *s)
{
    s->next = s->shared->sessions;
    s->link = &s->shared->sessions;
    if (s->next)
        s->next->link = &s->next;
    s->shared->sessions = s;
    s->shared->session_count++;
}

void pop3_session_start(struct pop3_shared *shared, enum ipc_service service, const struct net_accepted *a)
{
    static const struct net_stream_conf stream = {.input_max_bytes = INPUT_BYTES,
                                                  .output_max_bytes = OUTPUT_BYTES,
                                                  .output_timeout_ms = WRITE_TIMEOUT_MS};
    struct pop3_session *s = mem_zalloc(sizeof *s);

    if (!edge_init(&s->edge, &shared->edge, service, a, &pop3_session_peer_ops)) {
        close(a->fd);
        free(s);
        stop_when_idle(shared); /* that one was all, where a process takes one connection */
        return;
    }
    s->shared = shared;
    s->engine = engine_new(&s->edge.conf->conf, s->edge.started_ms);
    login_init(&s->login);
    link_in(s);
    log_event(LOG_INFO, "pop3-connect", LOG_HEX("session", edge_session(&s->edge)),
              LOG_STR("service", ipc_service_name((uint8_t)service)), LOG_ADDR("peer", &a->peer),
              LOG_ADDR("local", &a->local));
    s->pump = net_pump_new(role_loop(shared->edge.role), a->fd, &stream, &PUMP_OPS, s);
    if (s->edge.stage == EDGE_VERDICT)
        pop3_session_wait_for(s, POP3_WAIT_VERDICT);
}

void pop3_session_log_close(const struct pop3_session *s, enum pop3_close_reason reason)
{
    struct pop3_server_stats stats = pop3_server_stats(s->engine);

    log_event(LOG_INFO, "pop3-close", LOG_HEX("session", edge_session(&s->edge)),
              LOG_IP("peer", &s->edge.source), LOG_STR("tls", s->edge.tls_text),
              LOG_SPAN("account", buf_span(&s->edge.address)),
              LOG_STR("reason", pop3_close_reason_text(reason)), LOG_U64("retrieved", stats.retrieved),
              LOG_U64("topped", stats.topped), LOG_U64("bytes", stats.bytes_sent),
              LOG_U64("duration_ms", os_clock_mono_ms() - s->edge.started_ms));
}

void pop3_session_drain_all(struct pop3_shared *shared)
{
    if (!shared->sessions)
        role_stop(shared->edge.role);
    for (struct pop3_session *s = shared->sessions; s; s = s->next) {
        pop3_session_end(s, POP3_CLOSE_SHUTDOWN);
        feed(s, SPAN_NONE, os_clock_mono_ms()); /* the pump does not, while a handshake is under way */
    }
}

void pop3_session_offer_all(struct pop3_shared *shared)
{
    for (struct pop3_session *s = shared->sessions; s; s = s->next)
        if (s->greeted)
            pop3_greeting_offer(s);
}

void pop3_session_abort_all(struct pop3_shared *shared)
{
    while (shared->sessions != NULL) {
        struct pop3_session *s = shared->sessions;

        pop3_session_log_close(s, POP3_CLOSE_SHUTDOWN);
        net_pump_abort(s->pump);
        s->pump = NULL;
        release(s);
    }
}
