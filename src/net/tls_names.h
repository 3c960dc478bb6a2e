/* The names of certificates and which one a client gets. For src/net only. */
#ifndef NET_TLS_NAMES_H
#define NET_TLS_NAMES_H

#include <openssl/x509.h>

#include "base/buf.h"

enum {
    NET_TLS_NAMES_BYTES = 65536, /* of one certificate; more are not looked at */
};

/* The DNS names of a certificate, in lower case, each ended by NUL: those of subjectAltName, or where it has
 * none the common name. Names that hold anything but letters, digits, '-', '_', '.' and one leading "*." are
 * left out. */
void net_tls_names_read(X509 *leaf, struct buf *out);

enum net_tls_match { NET_TLS_MATCH_NONE, NET_TLS_MATCH_WILDCARD, NET_TLS_MATCH_EXACT };
/* How a list of names has a name, which is in lower case. A wildcard stands for one whole label. */
enum net_tls_match net_tls_names_match(struct span names, struct span name);

#endif
