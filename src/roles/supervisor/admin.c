/* The control socket: the command line asks here for a channel to the store, and for the state of the system.
 * Only root, the user the supervisor runs as, and members of the control group are answered. */
#include "roles/supervisor/internal.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "log/log.h"
#include "os/peercred.h"

enum { IDLE_MS = 60000, REFUSED_IDLE_MS = 2000, STATUS_WAIT_MS = 1000, BACKLOG = 16 };

static void end_client(struct sup_client *c)
{
    net_watch_free(c->watch);
    net_timer_free(c->idle);
    close(c->fd);
    *c = (struct sup_client){.sup = c->sup, .fd = -1};
}

static void idle_over(void *arg)
{
    end_client(arg);
}

static bool is_permitted(struct supervisor *s, int fd, struct os_peer *ret_peer)
{
    if (os_peercred(fd, ret_peer) < 0)
        return false;
    if (ret_peer->uid == 0 || ret_peer->uid == geteuid())
        return true;
    const struct group *g = getgrnam(s->conf.control_group);
    return g && os_peercred_in_group(fd, g->gr_gid);
}

static void send_to(struct sup_client *c, const struct ipc_message *m, int fd)
{
    int rc = net_control_send(c->fd, m, fd);
    if (rc < 0)
        log_event(LOG_WARNING, "control-answer-lost", LOG_STR("message", ipc_type_name(m->type)),
                  LOG_STR("error", brant_err_text(rc)));
}

static const char refusal[] = "only root, the owner, and members of the control group may do this";

static void on_attach(struct sup_client *c, const struct ipc_message *ask)
{
    struct ipc_message m = {.type = IPC_TYPE_ATTACHED, .tag = ask->tag};
    int fd = -1;
    int rc = BRANT_OK;
    if (c->refused) {
        m.attached.status = IPC_REFUSED;
        m.attached.text = span_str(refusal);
    } else if (ask->attach.version != IPC_VERSION) {
        m.attached.status = IPC_INVALID;
        m.attached.text = SPAN_LIT("this brant command is of another version than the running system");
    } else if ((rc = sup_attach(c->sup, &fd)) < 0) {
        m.attached.status = IPC_TRY_LATER;
        m.attached.text = SPAN_LIT("the store is not running just now");
    }
    send_to(c, &m, fd);
    if (fd >= 0)
        close(fd);
}

/* --- status ------------------------------------------------------------------------------------------------
 */

static bool status_complete(const struct supervisor *s)
{
    for (size_t n = 0; n < s->instance_count; n++)
        if (s->instances[n].status_awaited)
            return false;
    return true;
}

static struct span number(struct arena *a, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return arena_dup(a, span_str(text));
}

static void answer_status(struct sup_client *c)
{
    struct supervisor *s = c->sup;
    struct ipc_process processes[SUP_INSTANCES_MAX];
    _cleanup_arena_ struct arena arena;
    arena_init(&arena, 4096);
    for (size_t n = 0; n < s->instance_count; n++) {
        struct sup_instance *i = &s->instances[n];
        processes[n] = (struct ipc_process){.name = span_str(i->name),
                                            .pid = sup_instance_alive(i) ? (uint32_t)i->child.pid : 0,
                                            .running = i->state == SUP_READY,
                                            .restarts = i->restarts,
                                            .started_at_s = (uint64_t)i->started_at_s,
                                            .rungs = i->rungs,
                                            .rungs_count = i->rung_count,
                                            .pairs = i->pairs,
                                            .pairs_count = i->pair_count};
    }
    struct ipc_pair pairs[] = {
        {.key = SPAN_LIT("hostname"), .value = span_str(s->conf.hostname)},
        {.key = SPAN_LIT("generation"), .value = number(&arena, s->generation)},
        {.key = SPAN_LIT("supervisor_pid"), .value = number(&arena, (uint64_t)getpid())},
        {.key = SPAN_LIT("state"),
         .value = s->stopping ? SPAN_LIT("stopping")
                  : s->ready  ? SPAN_LIT("running")
                              : SPAN_LIT("starting")},
    };
    struct ipc_message m = {.type = IPC_TYPE_SYSTEM_INFO, .tag = c->status_tag};
    m.system_info.pairs = pairs;
    m.system_info.pairs_count = sizeof pairs / sizeof *pairs;
    m.system_info.processes = processes;
    m.system_info.processes_count = (uint32_t)s->instance_count;
    c->waits_for_status = false;
    send_to(c, &m, -1);
}

static void status_over(void *arg)
{
    struct supervisor *s = arg;
    for (size_t n = 0; n < s->instance_count; n++)
        s->instances[n].status_awaited = false;
    for (size_t n = 0; n < SUP_CLIENTS_MAX; n++)
        if (s->clients[n].fd >= 0 && s->clients[n].waits_for_status)
            answer_status(&s->clients[n]);
}

void sup_admin_status_arrived(struct supervisor *s)
{
    if (status_complete(s)) {
        net_timer_stop(s->status_timer);
        status_over(s);
    }
}

static void on_system_ask(struct sup_client *c, const struct ipc_message *ask)
{
    struct supervisor *s = c->sup;
    c->waits_for_status = true;
    c->status_tag = ask->tag;
    if (!status_complete(s))
        return; /* a round is under way; its answers will do */
    struct ipc_message m = {.type = IPC_TYPE_STATUS_ASK};
    for (size_t n = 0; n < s->instance_count; n++) {
        struct sup_instance *i = &s->instances[n];
        i->status_awaited = i->state == SUP_READY;
        if (i->status_awaited)
            sup_instance_send(i, &m, -1);
    }
    net_timer_set(s->status_timer, STATUS_WAIT_MS);
    sup_admin_status_arrived(s);
}

/* --- connections
 * -------------------------------------------------------------------------------------------- */

static void client_readable(void *arg)
{
    struct sup_client *c = arg;
    struct net_control *control = &c->sup->control;
    int rc = net_control_receive(c->fd, IPC_ROLE_CLI, IPC_ROLE_SUPERVISOR, control);
    if (rc == BRANT_ETRYLATER)
        return;
    if (rc < 0) {
        end_client(c);
        return;
    }
    if (!c->refused)
        net_timer_set(c->idle, IDLE_MS);
    struct ipc_message m = control->message;
    if (m.type == IPC_TYPE_ATTACH)
        on_attach(c, &m);
    else if (m.type == IPC_TYPE_SYSTEM_ASK && !c->refused)
        on_system_ask(c, &m);
    else
        end_client(c);
}

static void admin_readable(void *arg)
{
    struct supervisor *s = arg;
    int fd = accept4(s->admin_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    struct os_peer peer = {0};
    bool permitted = is_permitted(s, fd, &peer);
    if (!permitted)
        log_event(LOG_WARNING, "control-refused", LOG_U64("uid", peer.uid), LOG_I64("its_pid", peer.pid));
    for (size_t n = 0; n < SUP_CLIENTS_MAX; n++) {
        struct sup_client *c = &s->clients[n];
        if (c->fd >= 0)
            continue;
        *c = (struct sup_client){.sup = s, .fd = fd, .refused = !permitted};
        c->idle = net_timer_new(&s->loop, idle_over, c);
        c->watch = net_watch_new(&s->loop, fd, client_readable, c);
        net_timer_set(c->idle, permitted ? IDLE_MS : REFUSED_IDLE_MS);
        return;
    }
    close(fd); /* too many at one time */
}

int sup_admin_open(struct supervisor *s)
{
    char path[320];
    snprintf(path, sizeof path, "%s/control.sock", s->conf.run_dir);
    const struct sup_unix u = {.path = path, .type = SOCK_SEQPACKET, .backlog = BACKLOG, .conf = &s->conf};
    int rc = sup_unix_listen(s, &u, &s->admin_fd);
    if (rc < 0)
        return rc;
    s->admin_watch = net_watch_new(&s->loop, s->admin_fd, admin_readable, s);
    s->status_timer = net_timer_new(&s->loop, status_over, s);
    return BRANT_OK;
}

void sup_admin_close(struct supervisor *s)
{
    if (!s->admin_watch)
        return;
    for (size_t n = 0; n < SUP_CLIENTS_MAX; n++)
        if (s->clients[n].fd >= 0)
            end_client(&s->clients[n]);
    net_watch_free(s->admin_watch);
    net_timer_free(s->status_timer);
    s->admin_watch = NULL;
    s->status_timer = NULL;
    close(s->admin_fd);
    char path[320];
    snprintf(path, sizeof path, "%s/control.sock", s->conf.run_dir);
    unlink(path);
}
