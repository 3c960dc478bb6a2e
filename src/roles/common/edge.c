#include "roles/common/edge.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "log/log.h"
#include "os/clock.h"
#include "os/random.h"

/* ---- shared by the process --------------------------------------------------------------------------------
 */

int edge_shared_prepare(struct edge_shared *s, struct role *r)
{
    struct map_key key = {os_random_u64(), os_random_u64()};

    s->role = r;
    s->store = store_client_new(key);
    s->tls = tls_client_new(r);
    return 0;
}

void edge_shared_done(struct edge_shared *s)
{
    store_client_free(s->store);
    tls_client_free(s->tls);
}

void edge_shared_channel_up(struct edge_shared *s, struct net_channel *c)
{
    if (net_channel_peer_role(c) == IPC_ROLE_STORE)
        store_client_up(s->store, c);
}

void edge_shared_channel_down(struct edge_shared *s, struct net_channel *c)
{
    if (net_channel_peer_role(c) == IPC_ROLE_STORE)
        store_client_down(s->store);
}

void edge_shared_call_channel(struct edge_shared *s, enum ipc_role peer, uint32_t instance, int fd)
{
    tls_client_call_channel(s->tls, peer, instance, fd);
}

bool edge_shared_message(struct edge_shared *s, struct net_channel *c, const struct ipc_message *m)
{
    if (net_channel_peer_role(c) == IPC_ROLE_STORE) {
        store_client_message(s->store, m);
        return false;
    }
    tls_client_message(s->tls, m);
    return true;
}

/* ---- one connection ---------------------------------------------------------------------------------------
 */

/* Where the configuration has the listeners of a service. */
static const struct service {
    bool local_socket;
    size_t listeners; /* offset in struct conf; not of a Unix socket */
} SERVICES[IPC_SERVICE_COUNT] = {
    [IPC_SERVICE_SMTP] = {.listeners = offsetof(struct conf, listen_smtp)},
    [IPC_SERVICE_POP3] = {.listeners = offsetof(struct conf, listen_pop3)},
    [IPC_SERVICE_SUBMISSION] = {.listeners = offsetof(struct conf, listen_submission)},
    [IPC_SERVICE_SUBMISSIONS] = {.listeners = offsetof(struct conf, listen_submissions)},
    [IPC_SERVICE_SUBMISSION_LOCAL] = {.local_socket = true},
    [IPC_SERVICE_POP3S] = {.listeners = offsetof(struct conf, listen_pop3s)},
    [IPC_SERVICE_IMAP] = {.listeners = offsetof(struct conf, listen_imap)},
    [IPC_SERVICE_IMAPS] = {.listeners = offsetof(struct conf, listen_imaps)},
    [IPC_SERVICE_LMTP] = {.listeners = offsetof(struct conf, listen_lmtp)},
    [IPC_SERVICE_LMTP_LOCAL] = {.local_socket = true},
};

static const struct conf_listener *listener_of(const struct conf *conf, enum ipc_service service,
                                               const struct ip_addr *address)
{
    const char *base = (const char *)conf;

    if (SERVICES[service].local_socket)
        return NULL;
    return conf_listener_find((const void *)(base + SERVICES[service].listeners), address);
}

static bool begins_with_tls(const struct edge *e)
{
    return (IPC_SERVICES_IMPLICIT_TLS & IPC_SERVICE_BIT(e->service)) != 0;
}

struct span edge_session(const struct edge *e)
{
    return span_make(e->peer.session.b, sizeof e->peer.session.b);
}

bool edge_init(struct edge *e, const struct edge_shared *shared, enum ipc_service service,
               const struct net_accepted *a, const struct store_peer_ops *ops)
{
    struct role_conf *conf = role_conf(shared->role);
    const struct conf_listener *listener = listener_of(&conf->conf, service, &a->listener);
    bool proxied = listener && listener->proxy.count > 0;
    struct ipc_id id;

    if (proxied && !conf_networks_contain(&listener->proxy, &a->peer)) {
        log_event(LOG_WARNING, "proxy-untrusted", LOG_ADDR("peer", &a->peer), LOG_ADDR("local", &a->local));
        return false;
    }
    *e = (struct edge){.shared = shared,
                       .conf = role_conf_ref(conf),
                       .service = service,
                       .listener = listener,
                       .stage = proxied ? EDGE_PROXY : EDGE_VERDICT,
                       .source = a->peer,
                       .local = a->local,
                       .trusted_peer = SERVICES[service].local_socket && a->is_trusted,
                       .started_ms = os_clock_mono_ms()};
    buf_init(&e->proxy_header, NET_PROXY_BYTES_MAX);
    buf_init(&e->address, IPC_ADDRESS_MAX);
    os_random_fill(id.b, sizeof id.b);
    store_peer_attach(&e->peer, shared->store, &id, ops);
    return true;
}

void edge_done(struct edge *e)
{
    edge_leave(e);
    store_peer_detach(&e->peer);
    buf_done(&e->proxy_header);
    buf_done(&e->address);
    role_conf_unref(e->conf);
}

/* ---- PROXY ----------------------------------------------------------------------------------------------
 */

int edge_take_proxy(struct edge *e, struct span *in)
{
    size_t before = e->proxy_header.len, length;
    size_t room = e->proxy_header.max - before;
    struct span piece = span_sub(*in, 0, room);
    struct net_proxy proxy;
    int rc;

    buf_append(&e->proxy_header, piece);
    rc = net_proxy_parse(buf_span(&e->proxy_header), &proxy, &length);
    if (rc == BRANT_ETRYLATER && e->proxy_header.len < e->proxy_header.max) {
        *in = span_from(*in, piece.len);
        return rc;
    }
    if (rc != BRANT_OK) {
        log_event(LOG_WARNING, "proxy-header-refused", LOG_HEX("session", edge_session(e)),
                  LOG_IP("peer", &e->source), LOG_STR("reason", brant_err_text(rc)));
        return BRANT_ESYNTAX;
    }
    *in = span_from(*in, length - before);
    buf_done(&e->proxy_header);
    if (proxy.kind == NET_PROXY_PROXIED) {
        log_event(LOG_INFO, "proxied", LOG_HEX("session", edge_session(e)), LOG_ADDR("proxy", &e->source),
                  LOG_ADDR("peer", &proxy.source), LOG_ADDR("local", &proxy.destination));
        e->source = proxy.source;
        e->local = proxy.destination;
    }
    e->stage = EDGE_VERDICT;
    return BRANT_OK;
}

bool edge_may_speak(const struct edge *e)
{
    return e->stage != EDGE_PROXY && (e->secured || !begins_with_tls(e));
}

uint64_t edge_deadline_ms(const struct edge *e)
{
    return e->stage == EDGE_PROXY ? e->started_ms + EDGE_PROXY_TIMEOUT_MS : NET_PUMP_NEVER;
}

/* ---- TLS ------------------------------------------------------------------------------------------------
 */

static void tls_failed(const struct edge *e, const char *why)
{
    log_event(LOG_INFO, "tls-failed", LOG_HEX("session", edge_session(e)), LOG_IP("peer", &e->source),
              LOG_STR("reason", why));
}

bool edge_tls_possible(const struct edge *e)
{
    return !e->secured && !SERVICES[e->service].local_socket && tls_client_current(e->shared->tls) != NULL;
}

static int begin(struct edge *e, struct net_pump *pump, bool keep_input)
{
    struct net_tls_conf conf = tls_client_conf(&e->conf->conf, e->service);

    if (!edge_tls_possible(e))
        return BRANT_ESTATE;
    conf.keep_input = keep_input;
    return net_pump_start_tls(pump, tls_client_current(e->shared->tls), &conf);
}

int edge_start_tls(struct edge *e, struct net_pump *pump)
{
    return begin(e, pump, false);
}

int edge_admit(struct edge *e, struct net_pump *pump)
{
    int rc = BRANT_OK;

    if (!begins_with_tls(e)) {
        e->stage = EDGE_OPEN;
        return BRANT_OK;
    }
    e->stage = EDGE_HANDSHAKE;
    rc = begin(e, pump, true);
    if (rc != BRANT_OK)
        tls_failed(e, "no certificate, or the signer is away");
    return rc;
}

void edge_secured(struct edge *e, const struct net_tls_info *info, size_t discarded)
{
    e->secured = true;
    e->has_certificate = info->has_certificate;
    memcpy(e->fingerprint, info->fingerprint, sizeof e->fingerprint);
    e->stage = EDGE_OPEN;
    snprintf(e->tls_text, sizeof e->tls_text, "%s %s", info->version, info->cipher);
    log_event(LOG_INFO, "tls", LOG_HEX("session", edge_session(e)), LOG_IP("peer", &e->source),
              LOG_STR("version", info->version), LOG_STR("cipher", info->cipher),
              LOG_STR("server_name", info->server_name),
              LOG_HEX("client_certificate", info->has_certificate
                                                ? span_make(info->fingerprint, sizeof info->fingerprint)
                                                : SPAN_NONE),
              LOG_STR("subject", info->has_certificate ? info->subject : ""));
    if (discarded > 0)
        log_event(LOG_WARNING, "tls-plaintext-discarded", LOG_HEX("session", edge_session(e)),
                  LOG_IP("peer", &e->source), LOG_U64("bytes", discarded));
}

void edge_ended(const struct edge *e, enum net_stream_end end, const char *why)
{
    if (end == NET_STREAM_TLS_FAILED)
        tls_failed(e, why);
    else if (end == NET_STREAM_LOST && why[0])
        log_event(LOG_INFO, "tls-broken", LOG_HEX("session", edge_session(e)), LOG_IP("peer", &e->source),
                  LOG_STR("reason", why));
    else if (end == NET_STREAM_INFLATE_FAILED)
        log_event(LOG_INFO, "inflate-failed", LOG_HEX("session", edge_session(e)), LOG_IP("peer", &e->source),
                  LOG_STR("reason", why));
}

/* ---- logging in ------------------------------------------------------------------------------------------
 */

bool edge_login_possible(const struct edge *e)
{
    return e->secured || SERVICES[e->service].local_socket ||
           (e->conf->conf.cleartext_auth == CONF_CLEARTEXT_LOOPBACK && ip_is_loopback(&e->source) &&
            ip_is_loopback(&e->local));
}

bool edge_logged_in(struct edge *e, const struct ipc_login_result *r)
{
    if (r->status != IPC_OK || r->account == 0 || r->token.len != sizeof e->token)
        return false;
    e->account = r->account;
    memcpy(e->token, r->token.p, r->token.len);
    e->token_len = (uint8_t)r->token.len;
    buf_reset(&e->address);
    buf_append(&e->address, r->address);
    return true;
}

/* ---- the store's side -------------------------------------------------------------------------------------
 */

void edge_present(struct edge *e, bool maildrop_held)
{
    struct ipc_message open = {
        .type = IPC_TYPE_SESSION_OPEN,
        .session_open = {.session = e->peer.session, .service = (uint8_t)e->service, .source = e->source}};
    struct ipc_message resume = {.type = IPC_TYPE_RESUME,
                                 .resume = {.session = e->peer.session,
                                            .service = (uint8_t)e->service,
                                            .source = e->source,
                                            .account = e->account,
                                            .token = span_make(e->token, e->token_len),
                                            .maildrop_held = maildrop_held}};

    store_peer_ask(&e->peer, e->token_len ? &resume : &open);
}

void edge_leave(struct edge *e)
{
    const struct ipc_message bye = {.type = IPC_TYPE_SESSION_CLOSE,
                                    .session_close = {.session = e->peer.session}};

    /* The opening may be under way still: to a store that does not know the session this says nothing. */
    store_peer_tell(&e->peer, &bye);
    store_peer_forget(&e->peer);
    mem_wipe(e->token, sizeof e->token);
    e->token_len = 0;
    e->account = 0;
    buf_reset(&e->address);
    e->presented = false;
}
