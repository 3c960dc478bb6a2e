/* brant-store: owns the data directory. It has no network and parses no mail; every byte comes over the
 * channels of the supervisor's making.
 *
 * What this process may do, all in one place:
 *   sandbox profile  "brant-store" in os/sandbox_profiles.c: files beneath the data directory (its root and
 *                    working directory; Landlock besides), threads, no sockets but those it was given
 *   who may ask      the table of ipc/messages.h, by the role at the other end of each channel
 *   what is answered the table in server.c
 *   secrets          the token key, from the supervisor; password verifiers, in the store; both wiped after
 * use
 *
 * `brant-store --offline` is the same process started by the command line while no server runs; the lock of
 * the data directory keeps the two apart. */
#include <string.h>

#include "base/err.h"
#include "log/log.h"
#include "roles/common/role.h"
#include "roles/store/server.h"

enum { DRAIN_TICK_MS = 20 };

struct process {
    struct server server;
    bool offline;
    struct net_timer *drain_timer;
};

static struct server *server_of(struct role *r)
{
    struct process *process = role_context(r);
    return &process->server;
}

static void token_key(struct role *r, struct span key)
{
    if (tokens_init(&server_of(r)->tokens, key) != BRANT_OK)
        log_event(LOG_ERROR, "token-key-refused", LOG_U64("bytes", key.len));
}

static int start(struct role *r)
{
    struct process *process = role_context(r);
    return server_open(&process->server, role_loop(r), &role_conf(r)->conf, process->offline);
}

static void configured(struct role *r)
{
    server_configure(server_of(r), &role_conf(r)->conf);
}

static void channel_up(struct role *r, struct net_channel *c)
{
    server_channel_up(server_of(r), c);
}

static void channel_down(struct role *r, struct net_channel *c)
{
    struct process *process = role_context(r);
    server_channel_down(&process->server, c);
    if (process->offline) /* the command line is done */
        role_stop(r);
}

static void message(struct role *r, struct net_channel *c, const struct ipc_message *m)
{
    server_message(server_of(r), c, m);
}

static void drained(struct role *r, struct net_channel *c)
{
    server_drained(server_of(r), c);
}

static void put_status(void *context, const char *key, uint64_t value)
{
    role_status_add_u64(context, key, value);
}

static void status(struct role *r, struct role_status *out)
{
    server_status(server_of(r), put_status, out);
}

/* The roles have drained before the store is told to: what they asked for last is finished. */
static void drain_tick(void *context)
{
    struct role *r = context;
    struct process *process = role_context(r);
    if (server_idle(&process->server))
        role_stop(r);
    else
        net_timer_set(process->drain_timer, DRAIN_TICK_MS);
}

static void drain(struct role *r, uint32_t deadline_ms)
{
    struct process *process = role_context(r);
    (void)deadline_ms; /* the role keeps it */
    if (!process->drain_timer)
        process->drain_timer = net_timer_new(role_loop(r), drain_tick, r);
    net_timer_set(process->drain_timer, DRAIN_TICK_MS);
}

static void stop(struct role *r)
{
    struct process *process = role_context(r);
    net_timer_free(process->drain_timer);
    server_close(&process->server);
}

int main(int argc, char **argv)
{
    static struct process process;
    static const struct role_ops ops = {
        .executable = "brant-store",
        .role = IPC_ROLE_STORE,
        .start = start,
        .configured = configured,
        .token_key = token_key,
        .channel_up = channel_up,
        .channel_down = channel_down,
        .message = message,
        .drained = drained,
        .drain = drain,
        .status = status,
        .stop = stop,
    };
    process.offline = argc > 1 && strcmp(argv[1], "--offline") == 0;
    return role_main(&ops, &process, argc, argv);
}
