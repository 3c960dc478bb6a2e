/* brant-smtp: accepts mail for local recipients. Holds connections, no files; asks the store. */
#include "base/mem.h"
#include "log/log.h"
#include "os/random.h"
#include "roles/smtp/session.h"

static struct smtp_shared *shared_of(struct role *r)
{
    return role_context(r);
}

static int start(struct role *r)
{
    struct smtp_shared *shared = shared_of(r);
    struct map_key key = {os_random_u64(), os_random_u64()};

    shared->role = r;
    shared->store = store_client_new(key);
    return 0;
}

static void accepted(struct role *r, enum ipc_service service, const struct net_accepted *a)
{
    (void)service;
    smtp_session_start(shared_of(r), a);
}

static void channel_up(struct role *r, struct net_channel *c)
{
    if (net_channel_peer_role(c) == IPC_ROLE_STORE)
        store_client_up(shared_of(r)->store, c);
}

static void channel_down(struct role *r, struct net_channel *c)
{
    if (net_channel_peer_role(c) == IPC_ROLE_STORE)
        store_client_down(shared_of(r)->store);
}

static void message(struct role *r, struct net_channel *c, const struct ipc_message *m)
{
    if (net_channel_peer_role(c) == IPC_ROLE_STORE)
        store_client_message(shared_of(r)->store, m);
}

static void drain(struct role *r, uint32_t deadline_ms)
{
    (void)deadline_ms;
    smtp_session_drain_all(shared_of(r));
}

static void status(struct role *r, struct role_status *out)
{
    const struct smtp_shared *shared = shared_of(r);

    role_status_add_u64(out, "sessions", shared->session_count);
    role_status_add_u64(out, "messages_accepted", shared->accepted_messages);
    role_status_add_u64(out, "recipients_accepted", shared->accepted_recipients);
    role_status_add_u64(out, "recipients_refused", shared->refused_recipients);
    role_status_add_u64(out, "arriving_bytes", shared->pool_bytes);
}

static void stop(struct role *r)
{
    smtp_session_abort_all(shared_of(r));
    store_client_free(shared_of(r)->store);
}

int main(int argc, char **argv)
{
    static struct smtp_shared shared;
    static const struct role_ops ops = {
        .executable = "brant-smtp",
        .role = IPC_ROLE_SMTP,
        .farewell = SPAN_LIT("421 4.3.2 too busy, try again later\r\n"),
        .start = start,
        .accepted = accepted,
        .channel_up = channel_up,
        .channel_down = channel_down,
        .message = message,
        .drain = drain,
        .status = status,
        .stop = stop,
    };

    return role_main(&ops, &shared, argc, argv);
}
