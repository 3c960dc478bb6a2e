/* What a role that speaks TLS shares among its sessions: the certificates and the way to their keys.
 *
 * The signer says on its events channel which certificates there are (CERTIFICATES) and signs on a channel
 * for calls. While a new signer is on its way the certificates stay; handshakes fail until it is there. */
#ifndef ROLES_TLS_CLIENT_H
#define ROLES_TLS_CLIENT_H

#include "net/tls.h"
#include "roles/common/role.h"

struct tls_client;

/* For ops->prepare. */
struct tls_client *tls_client_new(struct role *r);
void tls_client_free(struct tls_client *t); /* after all sessions; NULL is allowed */

/* From the role's ops: a channel for calls to the signer; a message from the signer. */
void tls_client_call_channel(struct tls_client *t, enum ipc_role peer, uint32_t instance, int fd);
void tls_client_message(struct tls_client *t, const struct ipc_message *m);

/* The set for connections that begin now; borrowed. NULL: there is none yet, do not offer TLS. */
struct net_tls *tls_client_current(const struct tls_client *t);

/* How a connection of this service is to be secured: time, ALPN names, whether to ask for a certificate. */
struct net_tls_conf tls_client_conf(const struct conf *conf, enum ipc_service service);

void tls_client_status(const struct tls_client *t, struct role_status *out);

#endif
