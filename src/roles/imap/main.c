/* brant-imap: lets people read and keep their mail by IMAP. Holds connections, no files; asks the store, and
 * the signer for signatures. */
#include "mime/fold.h"
#include "roles/imap/session.h"

static struct imap_shared *shared_of(struct role *r)
{
    return role_context(r);
}

/* The tables of text comparison come from a file, which cannot be opened later. */
static void load_tables(void)
{
    _cleanup_buf_ struct buf out;

    buf_init(&out, 64);
    mime_fold(SPAN_LIT("\xc3\x84"), &out);
}

static int prepare(struct role *r)
{
    load_tables();
    return edge_shared_prepare(&shared_of(r)->edge, r);
}

static void accepted(struct role *r, enum ipc_service service, const struct net_accepted *a)
{
    imap_session_start(shared_of(r), service, a);
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
    imap_session_offer_all(shared_of(r));
}

static void message(struct role *r, struct net_channel *c, const struct ipc_message *m)
{
    if (edge_shared_message(&shared_of(r)->edge, c, m))
        imap_session_offer_all(shared_of(r));
}

static void drained(struct role *r, struct net_channel *c)
{
    if (net_channel_peer_role(c) == IPC_ROLE_STORE)
        imap_session_ask_all(shared_of(r));
}

static void drain(struct role *r, uint32_t deadline_ms)
{
    (void)deadline_ms;
    imap_session_drain_all(shared_of(r));
}

static void status(struct role *r, struct role_status *out)
{
    const struct imap_shared *shared = shared_of(r);
    uint64_t idling, bytes;

    imap_session_totals(shared, &idling, &bytes);
    role_status_add_u64(out, "sessions", shared->session_count);
    role_status_add_u64(out, "sessions_idling", idling);
    role_status_add_u64(out, "session_bytes", bytes);
    role_status_add_u64(out, "logins", shared->logins);
    role_status_add_u64(out, "login_failures", shared->login_failures);
    role_status_add_u64(out, "messages_fetched", shared->messages_fetched);
    role_status_add_u64(out, "messages_appended", shared->messages_appended);
    tls_client_status(shared->edge.tls, out);
}

static void stop(struct role *r)
{
    imap_session_abort_all(shared_of(r));
    edge_shared_done(&shared_of(r)->edge);
}

int main(int argc, char **argv)
{
    static struct imap_shared shared;
    static const struct role_ops ops = {
        .executable = "brant-imap",
        .role = IPC_ROLE_IMAP,
        .farewell = SPAN_LIT("* BYE [UNAVAILABLE] too busy, try again later\r\n"),
        .prepare = prepare,
        .call_channel = call_channel,
        .accepted = accepted,
        .channel_up = channel_up,
        .channel_down = channel_down,
        .message = message,
        .drained = drained,
        .drain = drain,
        .status = status,
        .stop = stop,
    };

    return role_main(&ops, &shared, argc, argv);
}
