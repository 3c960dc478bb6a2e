#include "roles/common/role.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "log/log.h"
#include "net/control.h"
#include "os/sandbox.h"
#include "os/signals.h"
#include "os/spawn.h"
#include "roles/common/handover.h"

enum {
    LISTENERS_MAX = 80,             /* a reload brings the new ones before it takes the old ones away */
    CHANNELS_MAX = 128,             /* a store serves every instance of every role, and the command line */
    PENDING_MAX = 2 * CHANNELS_MAX, /* the signer: one for events, one for calls */
    START_TIMEOUT_MS = 10000,
    TLS_WAIT_MS = 3000, /* for certificates, before a listener comes to life without */
    STATUS_PAIRS_MAX = 64
};

struct listener {
    struct role *role;
    uint32_t id;
    enum ipc_service service;
    struct ip_addr address;
    uint32_t trusted_uid, trusted_gid;
    int fd; /* until it is open */
    struct net_listener *net;
};

struct pending_channel {
    enum ipc_role peer;
    uint32_t instance;
    enum ipc_purpose purpose;
    int fd;
};

struct role {
    const struct role_ops *ops;
    void *context;
    uint32_t instance;
    struct net_loop loop;
    struct net_control control;
    struct net_watch *control_watch;
    struct net_timer *drain_timer, *tls_timer;
    struct role_conf *conf;
    struct sandbox_report sandbox;
    struct listener listeners[LISTENERS_MAX];
    size_t listener_count;
    struct net_listener_stats closed_listeners; /* what they had counted */
    struct pending_channel pending[PENDING_MAX];
    size_t pending_count;
    struct net_channel *channels[CHANNELS_MAX];
    size_t channel_count;
    bool draining, running;
    bool live;     /* READY: listeners are open */
    bool retiring; /* isolation by connection: it has its one connection */
};

struct role_status {
    struct ipc_pair pairs[STATUS_PAIRS_MAX];
    size_t count;
    struct arena arena;
};

/* --- configuration ------------------------------------------------------------------------------------ */

struct role_conf *role_conf_ref(struct role_conf *c)
{
    c->references++;
    return c;
}

void role_conf_unref(struct role_conf *c)
{
    if (!c || --c->references > 0)
        return;
    conf_done(&c->conf);
    free(c);
}

static int take_config(struct role *r, const struct ipc_config *m, struct span *ret_why)
{
    static struct conf_errors errors;
    struct role_conf *next = mem_zalloc(sizeof *next);
    int rc = conf_parse(m->text, "configuration", &next->conf, &errors);
    if (rc < 0) {
        *ret_why = span_str(errors.count > 0 ? errors.list[0].text : "not a configuration");
        free(next);
        return rc;
    }
    next->generation = m->generation;
    next->references = 1;
    role_conf_unref(r->conf);
    r->conf = next;
    log_to_pipe(ROLE_FD_LOG, (enum log_level)next->conf.log_level);
    return BRANT_OK;
}

/* --- the control channel ------------------------------------------------------------------------------- */

static void send_control(const struct ipc_message *m)
{
    int rc;
    while ((rc = net_control_send(ROLE_FD_CONTROL, m, -1)) == BRANT_ETRYLATER) {
        struct pollfd ready = {.fd = ROLE_FD_CONTROL, .events = POLLOUT};
        if (poll(&ready, 1, 1000) == 0)
            break; /* the supervisor is stuck; it has lost one of our messages, and we go on serving */
    }
    if (rc < 0 && rc != BRANT_ESTATE)
        log_event(LOG_WARNING, "control-send-failed", LOG_STR("message", ipc_type_name(m->type)),
                  LOG_STR("error", brant_err_text(rc)));
}

static void send_ready(struct role *r)
{
    struct ipc_rung rungs[SANDBOX_RUNG_COUNT];
    for (int i = 0; i < SANDBOX_RUNG_COUNT; i++) {
        const struct sandbox_result *result = &r->sandbox.rung[i];
        rungs[i] = (struct ipc_rung){.name = span_str(sandbox_rung_name((enum sandbox_rung)i)),
                                     .state = result->state == SANDBOX_ENFORCED      ? IPC_RUNG_ENFORCED
                                              : result->state == SANDBOX_UNAVAILABLE ? IPC_RUNG_UNAVAILABLE
                                                                                     : IPC_RUNG_NOT_NEEDED,
                                     .proof = span_str(result->proof)};
    }
    struct ipc_message m = {.type = IPC_TYPE_READY};
    m.ready.generation = r->conf->generation;
    m.ready.rungs = rungs;
    m.ready.rungs_count = SANDBOX_RUNG_COUNT;
    send_control(&m);
}

static void count_in(struct net_listener_stats *sum, const struct net_listener *l)
{
    struct net_listener_stats stats = net_listener_stats(l);
    sum->accepted += stats.accepted;
    sum->shed += stats.shed;
    sum->pauses += stats.pauses;
}

static void send_status(struct role *r, uint32_t tag)
{
    struct role_status status = {.count = 0};
    arena_init(&status.arena, 64 * 1024);
    role_status_add_u64(&status, "generation", r->conf->generation);
    role_status_add_u64(&status, "log_dropped", log_dropped());
    struct net_listener_stats all = r->closed_listeners;
    for (size_t i = 0; i < r->listener_count; i++)
        if (r->listeners[i].net)
            count_in(&all, r->listeners[i].net);
    if (r->ops->accepted) {
        role_status_add_u64(&status, "accepted", all.accepted);
        role_status_add_u64(&status, "shed", all.shed);
    }
    if (r->ops->status)
        r->ops->status(r, &status);
    struct ipc_message m = {.type = IPC_TYPE_STATUS_INFO, .tag = tag};
    m.status_info.pairs = status.pairs;
    m.status_info.pairs_count = (uint32_t)status.count;
    send_control(&m);
    arena_done(&status.arena);
}

void role_status_add_text(struct role_status *out, const char *key, const char *value)
{
    if (out->count == STATUS_PAIRS_MAX)
        return;
    struct span copy = arena_dup(&out->arena, span_sub(span_str(value), 0, IPC_TEXT_MAX));
    out->pairs[out->count++] = (struct ipc_pair){.key = span_str(key), .value = copy};
}

void role_status_add_u64(struct role_status *out, const char *key, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    role_status_add_text(out, key, text);
}

/* --- listeners and channels ------------------------------------------------------------------------------
 */

static void on_accepted(void *context, const struct net_accepted *a)
{
    struct listener *l = context;
    struct role *r = l->role;
    struct net_accepted accepted = *a;
    accepted.listener = l->address;
    if (role_takes_one_connection(r->ops->role, &r->conf->conf)) {
        r->retiring = true;
        role_accept_pause(r, true);
    }
    r->ops->accepted(r, l->service, &accepted);
}

static void open_listener(struct role *r, struct listener *l)
{
    if (l->fd < 0)
        return; /* closed before it was open */
    bool silent = (IPC_SERVICES_IMPLICIT_TLS & IPC_SERVICE_BIT((unsigned)l->service)) != 0;
    struct net_listener_conf conf = {.fd = l->fd,
                                     .farewell = silent ? SPAN_NONE : r->ops->farewell,
                                     .accepted = on_accepted,
                                     .context = l,
                                     .trusted_uid = l->trusted_uid,
                                     .trusted_gid = l->trusted_gid};
    l->net = net_listener_new(&r->loop, &conf);
    l->fd = -1; /* the listener's */
    net_listener_pause(l->net, r->retiring);
}

/* Listeners keep their places, because their callbacks point to them. */
static struct listener *free_place(struct role *r)
{
    for (size_t i = 0; i < r->listener_count; i++)
        if (!r->listeners[i].net && r->listeners[i].fd < 0)
            return &r->listeners[i];
    return r->listener_count < LISTENERS_MAX ? &r->listeners[r->listener_count++] : NULL;
}

static void take_listener(struct role *r, const struct ipc_listener *m)
{
    if (r->control.fd < 0 || !r->ops->accepted || r->draining)
        return;
    struct listener *l = free_place(r);
    if (!l) {
        log_event(LOG_ERROR, "listener-refused", LOG_STR("reason", "too many"));
        return;
    }
    *l = (struct listener){.role = r,
                           .id = m->id,
                           .service = (enum ipc_service)m->service,
                           .address = m->address,
                           .trusted_uid = m->trusted_uid,
                           .trusted_gid = m->trusted_gid,
                           .fd = r->control.fd};
    r->control.fd = -1;
    if (r->live)
        open_listener(r, l);
}

static void close_listeners(struct role *r, uint32_t id, bool all)
{
    for (size_t i = 0; i < r->listener_count; i++) {
        struct listener *l = &r->listeners[i];
        if (!all && l->id != id)
            continue;
        if (l->net) {
            count_in(&r->closed_listeners, l->net);
            net_listener_free(l->net);
            l->net = NULL;
        }
        if (l->fd >= 0)
            close(l->fd);
        l->fd = -1;
    }
}

void role_accept_pause(struct role *r, bool paused)
{
    for (size_t i = 0; i < r->listener_count; i++)
        if (r->listeners[i].net)
            net_listener_pause(r->listeners[i].net, paused);
}

static void forget_channel(struct role *r, struct net_channel *c)
{
    for (size_t i = 0; i < r->channel_count; i++)
        if (r->channels[i] == c) {
            r->channels[i] = r->channels[--r->channel_count];
            if (r->ops->channel_down)
                r->ops->channel_down(r, c);
            break;
        }
    net_channel_free(c);
}

static void on_message(void *context, struct net_channel *c, const struct ipc_message *m)
{
    struct role *r = context;
    r->ops->message(r, c, m);
}

static void on_drained(void *context, struct net_channel *c)
{
    struct role *r = context;
    if (r->ops->drained)
        r->ops->drained(r, c);
}

void role_accuse(struct role *r, enum ipc_role peer, uint32_t instance, const char *text)
{
    (void)r;
    log_event(LOG_ERROR, "peer-fault", LOG_STR("peer", ipc_role_name(peer)), LOG_U64("instance", instance),
              LOG_STR("reason", text));
    struct ipc_message m = {.type = IPC_TYPE_PEER_FAULT};
    m.peer_fault.peer_role = (uint8_t)peer;
    m.peer_fault.peer_instance = instance;
    m.peer_fault.reason = span_str(text);
    send_control(&m);
}

void role_key_files_done(uint64_t generation, bool taken)
{
    struct ipc_message m = {.type = IPC_TYPE_KEY_FILES_DONE};
    m.key_files_done.generation = generation;
    m.key_files_done.status = taken ? IPC_OK : IPC_INVALID;
    send_control(&m);
}

static void on_ended(void *context, struct net_channel *c, enum net_channel_end end, const char *text)
{
    struct role *r = context;
    if (end == NET_CHANNEL_FAULT)
        role_accuse(r, net_channel_peer_role(c), net_channel_peer_instance(c), text);
    forget_channel(r, c);
}

static const struct net_channel_ops channel_ops = {
    .message = on_message,
    .drained = on_drained,
    .ended = on_ended,
};

static void open_channel(struct role *r, const struct pending_channel *p)
{
    if (p->purpose == IPC_PURPOSE_CALLS) {
        if (r->ops->call_channel)
            r->ops->call_channel(r, p->peer, p->instance, p->fd);
        else
            close(p->fd);
        return;
    }
    for (size_t i = 0; i < r->channel_count; i++)
        if (net_channel_peer_role(r->channels[i]) == p->peer &&
            net_channel_peer_instance(r->channels[i]) == p->instance) {
            forget_channel(r, r->channels[i]);
            break;
        }
    if (r->channel_count == CHANNELS_MAX) {
        log_event(LOG_WARNING, "channel-refused", LOG_STR("reason", "too many"));
        close(p->fd);
        return;
    }
    struct net_channel *c =
        net_channel_new(&r->loop, p->fd, r->ops->role, p->peer, p->instance, &channel_ops, r);
    r->channels[r->channel_count++] = c;
    if (r->ops->channel_up)
        r->ops->channel_up(r, c);
}

static void take_channel(struct role *r, const struct ipc_channel *m)
{
    if (r->control.fd < 0)
        return;
    struct pending_channel p = {(enum ipc_role)m->peer_role, m->peer_instance, (enum ipc_purpose)m->purpose,
                                r->control.fd};
    if (!r->running && r->pending_count == PENDING_MAX)
        return;
    r->control.fd = -1;
    if (r->running)
        open_channel(r, &p);
    else
        r->pending[r->pending_count++] = p;
}

static void take_key_file(struct role *r, const struct ipc_key_file *m)
{
    if (r->control.fd < 0 || !r->ops->key_file)
        return;
    int fd = r->control.fd;
    r->control.fd = -1;
    r->ops->key_file(r, m, fd);
}

/* --- what the supervisor says ------------------------------------------------------------------------------
 */

static void drain_over(void *arg)
{
    struct role *r = arg;
    log_event(LOG_INFO, "drain-deadline");
    role_stop(r);
}

static void drain(struct role *r, uint32_t deadline_ms)
{
    if (r->draining)
        return;
    r->draining = true;
    close_listeners(r, 0, true);
    net_timer_set(r->drain_timer, deadline_ms);
    if (r->ops->drain && deadline_ms > 0)
        r->ops->drain(r, deadline_ms);
    else
        role_stop(r);
}

static void reconfigure(struct role *r, const struct ipc_message *m)
{
    struct span why = SPAN_NONE;
    int rc = take_config(r, &m->config, &why);
    struct ipc_message done = {.type = IPC_TYPE_CONFIG_DONE, .tag = m->tag};
    done.config_done.generation = m->config.generation;
    done.config_done.status = rc < 0 ? IPC_INVALID : IPC_OK;
    done.config_done.text = span_sub(why, 0, IPC_TEXT_MAX);
    if (rc < 0)
        log_event(LOG_ERROR, "config-refused", LOG_SPAN("reason", why));
    if (rc == BRANT_OK && r->running && r->ops->configured)
        r->ops->configured(r);
    send_control(&done);
}

static void handle(struct role *r)
{
    const struct ipc_message *m = &r->control.message;
    switch (m->type) {
    case IPC_TYPE_CONFIG:
        reconfigure(r, m);
        break;
    case IPC_TYPE_LISTENER:
        take_listener(r, &m->listener);
        break;
    case IPC_TYPE_LISTENER_CLOSE:
        close_listeners(r, m->listener_close.id, false);
        break;
    case IPC_TYPE_CHANNEL:
        take_channel(r, &m->channel);
        break;
    case IPC_TYPE_KEY_FILES:
        if (r->ops->key_files)
            r->ops->key_files(r, &m->key_files);
        break;
    case IPC_TYPE_KEY_FILE:
        take_key_file(r, &m->key_file);
        break;
    case IPC_TYPE_STATUS_ASK:
        send_status(r, m->tag);
        break;
    case IPC_TYPE_DRAIN:
        drain(r, m->drain.deadline_ms);
        break;
    default:
        break; /* permitted, but only before START */
    }
}

static void control_readable(void *arg)
{
    struct role *r = arg;
    for (int i = 0; i < 16; i++) {
        int rc = net_control_receive(ROLE_FD_CONTROL, IPC_ROLE_SUPERVISOR, r->ops->role, &r->control);
        if (rc == BRANT_ETRYLATER)
            return;
        if (rc < 0) { /* the supervisor is gone, or is not one */
            if (rc != BRANT_ESTATE)
                log_event(LOG_ERROR, "control-channel-broken", LOG_STR("reason", brant_err_text(rc)));
            role_stop(r);
            return;
        }
        handle(r);
    }
}

/* Everything up to START. */
static int take_orders(struct role *r)
{
    struct ipc_message hello = {.type = IPC_TYPE_HELLO};
    hello.hello.version = IPC_VERSION;
    hello.hello.role = (uint8_t)r->ops->role;
    hello.hello.instance = r->instance;
    hello.hello.pid = (uint32_t)getpid();
    send_control(&hello);
    for (;;) {
        int rc = net_control_wait(ROLE_FD_CONTROL, IPC_ROLE_SUPERVISOR, r->ops->role, START_TIMEOUT_MS,
                                  &r->control);
        if (rc < 0)
            return rc;
        const struct ipc_message *m = &r->control.message;
        if (m->type == IPC_TYPE_START)
            return r->conf ? BRANT_OK : BRANT_ESTATE;
        if (m->type == IPC_TYPE_DRAIN)
            return BRANT_ESTATE;
        if (m->type == IPC_TYPE_TOKEN_KEY && r->ops->token_key)
            r->ops->token_key(r, m->token_key.key);
        else if (m->type == IPC_TYPE_CONFIG || m->type == IPC_TYPE_LISTENER || m->type == IPC_TYPE_CHANNEL ||
                 m->type == IPC_TYPE_KEY_FILES || m->type == IPC_TYPE_KEY_FILE)
            handle(r);
    }
}

/* --- the process -------------------------------------------------------------------------------------------
 */

static void log_sandbox(const struct sandbox_report *report, enum log_level level)
{
    char text[SANDBOX_RUNG_COUNT][160];
    struct log_field fields[SANDBOX_RUNG_COUNT + 1] = {{.key = NULL}};
    for (int i = 0; i < SANDBOX_RUNG_COUNT; i++) {
        snprintf(text[i], sizeof text[i], "%s: %s", sandbox_state_name(report->rung[i].state),
                 report->rung[i].proof);
        fields[i + 1] = LOG_STR(sandbox_rung_name((enum sandbox_rung)i), text[i]);
    }
    log_write(level, level == LOG_ERROR ? "sandbox-refused" : "sandbox", fields, SANDBOX_RUNG_COUNT + 1);
}

static int lock_down(struct role *r, pid_t parent)
{
    char keys_dir[CONF_KEYS_DIR_MAX];
    conf_keys_dir(&r->conf->conf, keys_dir);
    struct sandbox_plan plan = {
        .profile = sandbox_profile_find(r->ops->executable),
        .uid = (uid_t)(r->conf->conf.uid_base + r->ops->role),
        .gid = (gid_t)(r->conf->conf.uid_base + r->ops->role),
        .data_dir = r->ops->role == IPC_ROLE_SIGNER ? keys_dir : r->conf->conf.data_dir,
        .die_with_parent = true,
    };
    assert(plan.profile);
    tzset();
    int rc = sandbox_enter(&plan, &r->sandbox);
    log_sandbox(&r->sandbox, rc < 0 ? LOG_ERROR : LOG_INFO);
    if (rc == BRANT_OK && getppid() != parent) /* it died in between; its end of the channel is closed */
        rc = BRANT_ESTATE;
    return rc;
}

static bool environment_is_right(const struct role_ops *ops)
{
    int type = 0, surplus = -1;
    socklen_t len = sizeof type;
    if (getsockopt(ROLE_FD_CONTROL, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_SEQPACKET) {
        fprintf(stderr, "%s is started by brant, not by hand\n", ops->executable);
        return false;
    }
    if (os_spawn_audit(ROLE_FD_COUNT, &surplus) > 0) {
        fprintf(stderr, "%s: descriptor %d was not given on purpose\n", ops->executable, surplus);
        return false;
    }
    return true;
}

static void go_live(struct role *r)
{
    if (r->live)
        return;
    r->live = true;
    for (size_t i = 0; i < r->listener_count; i++)
        open_listener(r, &r->listeners[i]);
    send_ready(r);
}

void role_tls_there(struct role *r)
{
    if (r->running && !r->draining)
        go_live(r);
}

static void no_certificates(void *arg)
{
    struct role *r = arg;
    if (!r->live && !r->draining) {
        log_event(LOG_WARNING, "no-certificates",
                  LOG_STR("remedy", "TLS is not offered until the signer is back"));
        go_live(r);
    }
}

static int bring_up(struct role *r, pid_t parent)
{
    if (take_orders(r) < 0)
        return ROLE_EXIT_ORDERS;
    if (net_loop_init(&r->loop) < 0 || (r->ops->prepare && r->ops->prepare(r) != 0))
        return ROLE_EXIT_PREPARE;
    r->drain_timer = net_timer_new(&r->loop, drain_over, r);
    r->tls_timer = net_timer_new(&r->loop, no_certificates, r);
    if (lock_down(r, parent) < 0)
        return ROLE_EXIT_SANDBOX;
    if (r->ops->start && r->ops->start(r) != 0)
        return ROLE_EXIT_START;
    r->running = true;
    for (size_t i = 0; i < r->pending_count; i++)
        open_channel(r, &r->pending[i]);
    r->control_watch = net_watch_new(&r->loop, ROLE_FD_CONTROL, control_readable, r);
    if (r->ops->call_channel && r->ops->accepted)
        net_timer_set(r->tls_timer, TLS_WAIT_MS);
    else
        go_live(r);
    return 0;
}

enum ipc_role role_of_arguments(int argc, char **argv, enum ipc_role otherwise)
{
    for (int role = 0; argc > 3 && role < IPC_ROLE_COUNT; role++)
        if (strcmp(argv[3], ipc_role_name((enum ipc_role)role)) == 0)
            return (enum ipc_role)role;
    return otherwise;
}

int role_main(const struct role_ops *ops, void *context, int argc, char **argv)
{
    pid_t parent = getppid();
    os_signals_role();
    if (!environment_is_right(ops))
        return ROLE_EXIT_USAGE;
    static struct role role;
    struct role *r = &role;
    r->ops = ops;
    r->context = context;
    r->instance = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
    net_control_init(&r->control);
    log_to_pipe(ROLE_FD_LOG, LOG_INFO);
    int rc = bring_up(r, parent);
    if (rc != 0) {
        log_event(LOG_ERROR, "role-gave-up", LOG_I64("status", rc));
        return rc;
    }
    net_loop_run(&r->loop);
    if (ops->stop)
        ops->stop(r);
    return 0;
}

void *role_context(const struct role *r)
{
    return r->context;
}

struct net_loop *role_loop(struct role *r)
{
    return &r->loop;
}

uint32_t role_instance(const struct role *r)
{
    return r->instance;
}

struct role_conf *role_conf(struct role *r)
{
    return r->conf;
}

struct net_channel *role_store(struct role *r)
{
    for (size_t i = 0; i < r->channel_count; i++)
        if (net_channel_peer_role(r->channels[i]) == IPC_ROLE_STORE)
            return r->channels[i];
    return NULL;
}

bool role_draining(const struct role *r)
{
    return r->draining;
}

bool role_takes_no_more(const struct role *r)
{
    return r->draining || r->retiring;
}

void role_stop(struct role *r)
{
    net_loop_stop(&r->loop);
}
