/* The edge: what every connection of a role that speaks with clients has in common.
 *
 * The way in, before the protocol speaks:
 *     EDGE_PROXY      a PROXY header is due (listeners that name trusted networks; 5 seconds)
 *     EDGE_VERDICT    the store is asked whether this source may be served
 *     EDGE_HANDSHAKE  TLS from the first byte, for the services that begin so
 *     EDGE_OPEN       the protocol greets
 * And what is known of the peer then: its address, TLS, who is logged in, and with it how the session is
 * presented again to a new store process. The protocol's glue embeds a struct edge and calls it from the ops
 * of its pump. */
#ifndef ROLES_EDGE_H
#define ROLES_EDGE_H

#include "net/proxy_header.h"
#include "net/pump.h"
#include "net/tls.h"
#include "roles/common/role.h"
#include "roles/common/store_client.h"
#include "roles/common/tls_client.h"

enum edge_stage { EDGE_PROXY, EDGE_VERDICT, EDGE_HANDSHAKE, EDGE_OPEN };

enum { EDGE_PROXY_TIMEOUT_MS = 5000, EDGE_TLS_TEXT_MAX = 64, EDGE_TOKEN_BYTES = 32 };

/* What the edges of one process share. */
struct edge_shared {
    struct role *role;
    struct store_client *store;
    struct tls_client *tls;
};

/* For the ops of the role. prepare: before the sandbox; 0. */
int edge_shared_prepare(struct edge_shared *s, struct role *r);
void edge_shared_done(struct edge_shared *s); /* after all sessions */
void edge_shared_channel_up(struct edge_shared *s, struct net_channel *c);
void edge_shared_channel_down(struct edge_shared *s, struct net_channel *c);
void edge_shared_call_channel(struct edge_shared *s, enum ipc_role peer, uint32_t instance, int fd);
/* True: what may be offered to clients has changed. */
bool edge_shared_message(struct edge_shared *s, struct net_channel *c, const struct ipc_message *m);

struct edge {
    const struct edge_shared *shared;
    struct role_conf *conf; /* referenced */
    struct store_peer peer; /* .session is the session's id */
    enum ipc_service service;
    const struct conf_listener *listener; /* in conf; NULL: a Unix socket, or one that has been taken out */
    enum edge_stage stage;
    struct ip_addr source, local; /* of the client, behind any proxy; IP_NONE: a Unix socket */
    bool trusted_peer;            /* Unix socket: root, or a member of the control group */
    bool presented;               /* the store process that is there now knows this session */
    uint64_t started_ms;
    struct buf proxy_header; /* what has come of it */

    bool secured; /* TLS runs */
    bool has_certificate;
    uint8_t fingerprint[IPC_FINGERPRINT_BYTES]; /* of the client's certificate */
    char tls_text[EDGE_TLS_TEXT_MAX + 1];       /* "TLSv1.3 TLS_AES_256_GCM_SHA384"; empty in clear */

    uint64_t account; /* 0: nobody is logged in */
    uint8_t token[EDGE_TOKEN_BYTES];
    uint8_t token_len;
    struct buf address; /* of the account */
};

/* False: the listener wants a PROXY header and this peer is none of its proxies (logged); the connection is
 * the caller's to close, and e is not initialised. */
bool edge_init(struct edge *e, const struct edge_shared *shared, enum ipc_service service,
               const struct net_accepted *a, const struct store_peer_ops *ops);
/* Tells the store that the session is over, and lets go of everything. */
void edge_done(struct edge *e);

/* EDGE_PROXY: takes bytes of the header from the front of *in. BRANT_OK: it is whole, the stage is
 * EDGE_VERDICT. BRANT_ETRYLATER: more is needed. BRANT_ESYNTAX: no header (logged); close without a word. */
int edge_take_proxy(struct edge *e, struct span *in);
/* Something may be said to the client: not before a PROXY header, and nothing in clear where TLS comes first.
 */
bool edge_may_speak(const struct edge *e);
/* When EDGE_PROXY is over; NET_PUMP_NEVER in the other stages. */
uint64_t edge_deadline_ms(const struct edge *e);

/* The store admits the session: EDGE_HANDSHAKE, begun on this pump, or EDGE_OPEN. BRANT_ESTATE: the service
 * begins with TLS and there is none now (logged); close without a word. */
int edge_admit(struct edge *e, struct net_pump *pump);

bool edge_tls_possible(const struct edge *e); /* STARTTLS may be offered */
/* STARTTLS was asked for: begins once what was said in clear is sent. BRANT_ESTATE: there is no TLS now. */
int edge_start_tls(struct edge *e, struct net_pump *pump);
/* The pump's `secured`: keeps and logs what was reached; EDGE_HANDSHAKE becomes EDGE_OPEN. */
void edge_secured(struct edge *e, const struct net_tls_info *info, size_t discarded);
/* The pump's `ended`: logs what TLS had to do with it, if anything. */
void edge_ended(const struct edge *e, enum net_stream_end end, const char *why);

/* Logging in is allowed now: under TLS, on the Unix socket, or in clear where the configuration says so. */
bool edge_login_possible(const struct edge *e);
/* What the login answered: who it is, and the token. False: no usable token, as good as a failure. */
bool edge_logged_in(struct edge *e, const struct ipc_login_result *r);

/* Presents the session to the store: SESSION_OPEN, or RESUME for who is logged in. */
void edge_present(struct edge *e, bool maildrop_held);
/* Ends the store's side of the session, its login and the question under way; it may be presented anew. */
void edge_leave(struct edge *e);

struct span edge_session(const struct edge *e); /* the id's bytes, for the log */

#endif
