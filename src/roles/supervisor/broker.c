/* What a role is given (orders, listeners, channels) and what the supervisor makes of what it says. */
#include "roles/supervisor/internal.h"

#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "log/log.h"
#include "os/clock.h"

enum { ACCUSATIONS_PER_MINUTE = 3 };

bool sup_serves(const struct sup_instance *i, const struct sup_listener *l)
{
    return (i->kind->services & IPC_SERVICE_BIT((unsigned)l->service)) != 0;
}

void sup_send_listener(struct sup_instance *i, const struct sup_listener *l)
{
    const struct group *g = l->path[0] ? getgrnam(i->sup->conf.control_group) : NULL;
    struct ipc_message m = {.type = IPC_TYPE_LISTENER};
    m.listener.id = l->id;
    m.listener.service = (uint8_t)l->service;
    m.listener.address = l->address;
    /* On a Unix socket: the same whom the control socket answers. */
    m.listener.trusted_uid = geteuid();
    m.listener.trusted_gid = g ? g->gr_gid : UINT32_MAX;
    sup_instance_send(i, &m, l->fd);
}

void sup_send_listener_to_all(struct supervisor *s, const struct sup_listener *l)
{
    for (size_t n = 0; n < s->instance_count; n++)
        if (sup_serves(&s->instances[n], l))
            sup_send_listener(&s->instances[n], l);
}

static void send_channel(struct sup_instance *to, enum ipc_role peer, uint32_t peer_number,
                         enum ipc_purpose purpose, int fd)
{
    struct ipc_message m = {.type = IPC_TYPE_CHANNEL};
    m.channel.peer_role = (uint8_t)peer;
    m.channel.peer_instance = peer_number;
    m.channel.purpose = (uint8_t)purpose;
    sup_instance_send(to, &m, fd);
}

static void connect_for(struct sup_instance *a, struct sup_instance *b, enum ipc_purpose purpose)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0) {
        log_event(LOG_ERROR, "channel-failed", LOG_STR("a", a->name), LOG_STR("b", b->name));
        return;
    }
    send_channel(a, b->kind->role, b->number, purpose, ends[0]);
    send_channel(b, a->kind->role, a->number, purpose, ends[1]);
    close(ends[0]);
    close(ends[1]);
}

static bool is_edge(const struct sup_instance *i)
{
    return i->kind->services != 0;
}

static bool is_one_of(const struct sup_instance *a, const struct sup_instance *b, enum ipc_role role)
{
    return a->kind->role == role || b->kind->role == role;
}

/* Roles that speak with clients have channels with the store and with the signer; nobody else has any. */
static bool talk_to_each_other(const struct sup_instance *a, const struct sup_instance *b)
{
    return is_edge(a) != is_edge(b) && (is_one_of(a, b, IPC_ROLE_STORE) || is_one_of(a, b, IPC_ROLE_SIGNER));
}

static void connect_two(struct sup_instance *a, struct sup_instance *b)
{
    connect_for(a, b, IPC_PURPOSE_EVENTS);
    if (is_one_of(a, b, IPC_ROLE_SIGNER))
        connect_for(a, b, IPC_PURPOSE_CALLS);
}

static void send_config_to(struct sup_instance *i)
{
    struct ipc_message m = {.type = IPC_TYPE_CONFIG};
    m.config.generation = i->sup->generation;
    m.config.text = buf_span(&i->sup->conf_text);
    sup_instance_send(i, &m, -1);
}

void sup_send_config(struct supervisor *s)
{
    for (size_t n = 0; n < s->instance_count; n++)
        send_config_to(&s->instances[n]);
}

void sup_give_orders(struct sup_instance *i)
{
    struct supervisor *s = i->sup;
    send_config_to(i);
    if (i->kind->role == IPC_ROLE_STORE) {
        struct ipc_message m = {.type = IPC_TYPE_TOKEN_KEY};
        m.token_key.key = span_make(s->token_key, sizeof s->token_key);
        sup_instance_send(i, &m, -1);
    }
    if (i->kind->role == IPC_ROLE_SIGNER)
        sup_send_key_files(i);
    for (size_t n = 0; n < s->listener_count; n++)
        if (sup_serves(i, &s->listeners[n]))
            sup_send_listener(i, &s->listeners[n]);
    for (size_t n = 0; n < s->instance_count; n++) {
        struct sup_instance *other = &s->instances[n];
        if (other != i && sup_instance_alive(other) && other->state != SUP_STOPPING &&
            talk_to_each_other(i, other))
            connect_two(i, other);
    }
    struct ipc_message start = {.type = IPC_TYPE_START};
    start.start.generation = s->generation;
    sup_instance_send(i, &start, -1);
}

int sup_attach(struct supervisor *s, int *ret_fd)
{
    struct sup_instance *store = sup_find(s, IPC_ROLE_STORE, 1);
    if (!store || store->state != SUP_READY)
        return BRANT_ESTATE;
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
        return BRANT_EIO;
    send_channel(store, IPC_ROLE_CLI, ++s->client_serial, IPC_PURPOSE_EVENTS, ends[0]);
    close(ends[0]);
    *ret_fd = ends[1];
    return BRANT_OK;
}

static void on_hello(struct sup_instance *i, const struct ipc_hello *m)
{
    if (m->version != IPC_VERSION || m->role != i->kind->role || m->instance != i->number)
        sup_instance_kill(i, "is another program, or of another version");
}

static struct span keep(struct arena *a, struct span s)
{
    return arena_dup(a, s);
}

static void on_ready(struct sup_instance *i, const struct ipc_ready *m)
{
    if (i->state != SUP_STARTING)
        return;
    arena_reset(&i->ready_arena);
    i->rung_count = m->rungs_count < SUP_RUNGS_MAX ? m->rungs_count : SUP_RUNGS_MAX;
    for (uint32_t n = 0; n < i->rung_count; n++)
        i->rungs[n] = (struct ipc_rung){.name = keep(&i->ready_arena, m->rungs[n].name),
                                        .state = m->rungs[n].state,
                                        .proof = keep(&i->ready_arena, m->rungs[n].proof)};
    i->state = SUP_READY;
    i->ever_ready = true;
    log_event(LOG_INFO, "role-ready", LOG_STR("name", i->name), LOG_I64("its_pid", i->child.pid),
              LOG_U64("generation", m->generation));
    sup_check_ready(i->sup);
}

/* The accused is restarted; an accuser that cannot stop is restarted itself, because only one of the two can
 * be the broken one each time. */
static void on_peer_fault(struct sup_instance *i, const struct ipc_peer_fault *m)
{
    uint64_t now_ms = os_clock_mono_ms();
    log_event(LOG_ERROR, "peer-fault-reported", LOG_STR("by", i->name),
              LOG_STR("peer", ipc_role_name((enum ipc_role)m->peer_role)),
              LOG_U64("instance", m->peer_instance), LOG_SPAN("reason", m->reason));
    struct sup_instance *accused = sup_find(i->sup, (enum ipc_role)m->peer_role, m->peer_instance);
    if (!accused || !talk_to_each_other(i, accused))
        return; /* a command line: its channel is closed already */
    size_t count = sizeof i->accusations_ms / sizeof *i->accusations_ms;
    memmove(i->accusations_ms + 1, i->accusations_ms, (count - 1) * sizeof *i->accusations_ms);
    i->accusations_ms[0] = now_ms;
    uint64_t oldest = i->accusations_ms[ACCUSATIONS_PER_MINUTE];
    if (!is_edge(accused) && oldest && now_ms - oldest < 60000)
        sup_instance_kill(i, "accuses too often");
    else
        sup_instance_kill(accused, "broke the rules of a channel");
}

static void on_config_done(struct sup_instance *i, const struct ipc_config_done *m)
{
    if (m->status == IPC_OK)
        log_event(LOG_INFO, "config-taken", LOG_STR("name", i->name), LOG_U64("generation", m->generation));
    else
        log_event(LOG_ERROR, "config-refused", LOG_STR("name", i->name), LOG_U64("generation", m->generation),
                  LOG_SPAN("reason", m->text));
}

static void on_status_info(struct sup_instance *i, const struct ipc_status_info *m)
{
    if (!i->status_awaited)
        return;
    i->status_awaited = false;
    arena_reset(&i->status_arena);
    i->pair_count = m->pairs_count;
    i->pairs = arena_array(&i->status_arena, m->pairs_count, sizeof *i->pairs);
    if (!i->pairs)
        i->pair_count = 0;
    for (uint32_t n = 0; n < i->pair_count; n++)
        i->pairs[n] = (struct ipc_pair){.key = keep(&i->status_arena, m->pairs[n].key),
                                        .value = keep(&i->status_arena, m->pairs[n].value)};
    sup_admin_status_arrived(i->sup);
}

void sup_handle(struct sup_instance *i, const struct ipc_message *m)
{
    switch (m->type) {
    case IPC_TYPE_HELLO:
        on_hello(i, &m->hello);
        break;
    case IPC_TYPE_READY:
        on_ready(i, &m->ready);
        break;
    case IPC_TYPE_CONFIG_DONE:
        on_config_done(i, &m->config_done);
        break;
    case IPC_TYPE_PEER_FAULT:
        on_peer_fault(i, &m->peer_fault);
        break;
    case IPC_TYPE_KEY_FILES_DONE:
        sup_key_files_done(i->sup, &m->key_files_done);
        break;
    case IPC_TYPE_STATUS_INFO:
        on_status_info(i, &m->status_info);
        break;
    default:
        break; /* the permission table lets nothing else through */
    }
}
