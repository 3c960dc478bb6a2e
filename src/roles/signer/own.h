/* The server's own key and self-signed certificate, in the role's working directory (keys_dir):
 *     tls.key   the private key, PEM; made once
 *     tls.crt   the certificate for it, PEM; made anew before it ends, and for another host name */
#ifndef ROLES_SIGNER_OWN_H
#define ROLES_SIGNER_OWN_H

#include "roles/signer/pair.h"

enum {
    OWN_DAYS = 390,      /* how long a certificate is good: browsers and testers frown at more than 398 */
    OWN_RENEW_DAYS = 30, /* it is renewed when less is left */
};

/* It is good now, and for a while. */
bool own_is_in_time(const struct pair *p, int64_t now_s);

/* Loads what is there, makes what is missing or out of date; all durable before it is used. BRANT_EIO:
 * logged. */
int own_load(const char *host, int64_t now_s, struct pair **ret);

#endif
