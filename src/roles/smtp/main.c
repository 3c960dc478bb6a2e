/* brant-smtp: accepts mail, in two instance groups: smtp-mx from other servers for local recipients (and by
 * LMTP), smtp-submission from users that log in. Holds connections, no files; asks the store, and the signer
 * for signatures. */
#include "roles/smtp/session.h"

static struct smtp_shared *shared_of(struct role *r)
{
    return role_context(r);
}

static int prepare(struct role *r)
{
    return edge_shared_prepare(&shared_of(r)->edge, r);
}

static void offers_changed(struct role *r)
{
    smtp_session_offer_all(shared_of(r));
}

static void accepted(struct role *r, enum ipc_service service, const struct net_accepted *a)
{
    smtp_session_start(shared_of(r), service, a);
}

static void channel_up(struct role *r, struct net_channel *c)
{
    edge_shared_channel_up(&shared_of(r)->edge, c);
}

static void channel_down(struct role *r, struct net_channel *c)
{
    edge_shared_channel_down(&shared_of(r)->edge, c);
}

static void call_channel(struct role *r, enum ipc_role peer, uint32_t instance, int fd)
{
    edge_shared_call_channel(&shared_of(r)->edge, peer, instance, fd);
    offers_changed(r);
}

static void message(struct role *r, struct net_channel *c, const struct ipc_message *m)
{
    if (edge_shared_message(&shared_of(r)->edge, c, m))
        offers_changed(r);
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
    tls_client_status(shared->edge.tls, out);
}

static void stop(struct role *r)
{
    smtp_session_abort_all(shared_of(r));
    edge_shared_done(&shared_of(r)->edge);
}

int main(int argc, char **argv)
{
    static struct smtp_shared shared;
    const struct role_ops ops = {
        .executable = "brant-smtp",
        .role = role_of_arguments(argc, argv, IPC_ROLE_SMTP),
        .farewell = SPAN_LIT("421 4.3.2 too busy, try again later\r\n"),
        .prepare = prepare,
        .call_channel = call_channel,
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
