/* A private key with the chain of its certificate, and what is signed with it. Keys are RSA of 2048 to 8192
 * bits, or ECDSA on P-256 or P-384: what TLS servers are made of, and what can be used from another process
 * (Ed25519 cannot, OpenSSL 3.0 has no hook for it). */
#ifndef ROLES_SIGNER_PAIR_H
#define ROLES_SIGNER_PAIR_H

#include "base/buf.h"
#include "ipc/messages.h"

enum { PAIR_WHY_MAX = 200 };

struct pair;

/* Both in PEM, the key without a passphrase. BRANT_ESYNTAX with what is wrong and what helps in why. */
int pair_load(struct span chain, struct span key, struct pair **ret, char why[PAIR_WHY_MAX]);
void pair_free(struct pair *p); /* overwrites the key; NULL is allowed */

/* SHA-256 of the public key (SubjectPublicKeyInfo): the same for a certificate that is renewed with its key.
 */
struct span pair_id(const struct pair *p);
struct span pair_chain(const struct pair *p); /* PEM, leaf first, nothing else */
int64_t pair_begins_s(const struct pair *p);  /* Unix time from which the leaf is good */
int64_t pair_expires_s(const struct pair *p); /* and to which */
/* A certificate of the chain is not issued by the one behind it: clients may refuse it. */
bool pair_is_disordered(const struct pair *p);
/* The name the certificate is for: its first DNS name, or "". */
const char *pair_name(const struct pair *p);

/* Appends the signature. BRANT_EREFUSED: not a kind for this key, or data that TLS would not sign. */
int pair_sign(struct pair *p, enum ipc_sign_kind kind, struct span data, struct buf *out);

/* A key on P-256 in PEM; and a self-signed certificate for it, good for `days` from a day before now_s, with
 * the names host, the domain it is in, localhost and the loopback addresses. BRANT_EIO: OpenSSL failed. */
int pair_make_key(struct buf *out);
bool pair_key_is_usable(struct span key); /* PEM, and of a kind that is taken */
int pair_make_certificate(struct span key, const char *host, int64_t now_s, int days, struct buf *out);
/* Whether the certificate at the front of a chain names this host. */
bool pair_names(const struct pair *p, const char *host);

#endif
