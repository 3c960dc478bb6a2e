#include "roles/pop3/session_internal.h"

#include <stdlib.h>

#include "base/mem.h"
#include "log/log.h"
#include "os/clock.h"
#include "os/random.h"

enum {
    INPUT_BYTES = 4096,
    OUTPUT_BYTES = 65536,
    STORE_WAIT_MS = 60 * 1000,
    WRITE_TIMEOUT_MS = 120 * 1000 /* a client that takes none of the output */
};

static size_t feed(void *context, struct span in, uint64_t now_ms)
{
    struct pop3_session *s = context;
    size_t offered = in.len;
    struct pop3_event event;

    while (!s->finished) {
        pop3_server_next(s->engine, &in, now_ms, &event);
        if (!pop3_session_event(s, &event))
            break;
    }
    return offered - in.len;
}

static void on_eof(void *context, uint64_t now_ms)
{
    struct pop3_session *s = context;

    pop3_server_end(s->engine, POP3_CLOSE_LOST);
    feed(s, SPAN_NONE, now_ms);
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

    return engine < store ? engine : store;
}

static void on_timeout(void *context, uint64_t now_ms)
{
    struct pop3_session *s = context;

    if (store_deadline_ms(s) <= now_ms)
        pop3_session_give_up(s);
    else
        pop3_server_end(s->engine, POP3_CLOSE_TIMEOUT);
}

static bool finished(void *context)
{
    struct pop3_session *s = context;

    return s->finished;
}

static void release(struct pop3_session *s)
{
    struct pop3_server_stats stats = pop3_server_stats(s->engine);

    s->shared->messages_sent += stats.retrieved;
    pop3_session_leave(s);
    store_peer_detach(&s->peer);
    pop3_server_free(s->engine);
    mem_wipe(s->token, sizeof s->token);
    buf_done(&s->address);
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
    struct pop3_session *s = context;

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
                                             .ended = on_ended};

static struct pop3_server *engine_new(const struct conf *conf, const struct net_accepted *a, uint64_t now_ms)
{
    const struct pop3_offer offer = {.password = conf->cleartext_auth == CONF_CLEARTEXT_LOOPBACK &&
                                                 ip_is_loopback(&a->peer) && ip_is_loopback(&a->local)};
    struct pop3_server_config c;
    struct pop3_server *engine;

    pop3_server_config_init(&c, conf->greeting_name[0] ? conf->greeting_name : conf->hostname);
    c.login_timeout_ms = (uint32_t)conf->pop3_login_timeout_ms;
    c.idle_timeout_ms = (uint32_t)conf->pop3_idle_timeout_ms;
    c.login_failures_max = (uint32_t)conf->max_login_failures;
    engine = pop3_server_new(&c, now_ms);
    pop3_server_offer(engine, &offer);
    return engine;
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

void pop3_session_start(struct pop3_shared *shared, const struct net_accepted *a)
{
    static const struct net_stream_conf stream = {.input_max_bytes = INPUT_BYTES,
                                                  .output_max_bytes = OUTPUT_BYTES,
                                                  .output_timeout_ms = WRITE_TIMEOUT_MS};
    struct pop3_session *s = mem_zalloc(sizeof *s);
    struct ipc_id id;

    s->shared = shared;
    s->conf = role_conf_ref(role_conf(shared->role));
    s->source = a->peer;
    s->started_ms = s->waiting_since_ms = os_clock_mono_ms();
    s->engine = engine_new(&s->conf->conf, a, s->started_ms);
    buf_init(&s->address, IPC_ADDRESS_MAX);
    os_random_fill(id.b, sizeof id.b);
    store_peer_attach(&s->peer, shared->store, &id, &pop3_session_peer_ops);
    link_in(s);
    log_event(LOG_INFO, "pop3-connect", LOG_HEX("session", span_make(id.b, sizeof id.b)),
              LOG_ADDR("peer", &a->peer), LOG_ADDR("local", &a->local));
    s->pump = net_pump_new(role_loop(shared->role), a->fd, &stream, &PUMP_OPS, s);
    s->wait = POP3_WAIT_VERDICT;
    pop3_session_ask(s);
}

void pop3_session_log_close(const struct pop3_session *s, enum pop3_close_reason reason)
{
    struct pop3_server_stats stats = pop3_server_stats(s->engine);

    log_event(LOG_INFO, "pop3-close",
              LOG_HEX("session", span_make(s->peer.session.b, sizeof s->peer.session.b)),
              LOG_IP("peer", &s->source), LOG_SPAN("account", buf_span(&s->address)),
              LOG_STR("reason", pop3_close_reason_text(reason)), LOG_U64("retrieved", stats.retrieved),
              LOG_U64("topped", stats.topped), LOG_U64("bytes", stats.bytes_sent),
              LOG_U64("duration_ms", os_clock_mono_ms() - s->started_ms));
}

void pop3_session_drain_all(struct pop3_shared *shared)
{
    if (!shared->sessions)
        role_stop(shared->role);
    for (struct pop3_session *s = shared->sessions; s; s = s->next) {
        pop3_server_end(s->engine, POP3_CLOSE_SHUTDOWN);
        net_pump_kick(s->pump);
    }
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
