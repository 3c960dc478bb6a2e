/* Where TLS gets its bytes from and puts them: a socket, and before it some bytes that were read already.
 * For src/net only. */
#ifndef NET_TLS_BIO_H
#define NET_TLS_BIO_H

#include <openssl/bio.h>

#include "base/span.h"

void net_tls_bio_init(void); /* once per process */

/* The fd stays the caller's; `first` is copied and comes before what the socket has. */
BIO *net_tls_bio_new(int fd, struct span first);
/* The peer has ended its side of the connection. */
bool net_tls_bio_eof(BIO *bio);
/* The error of the last failed read or write; 0: there was none. */
int net_tls_bio_error(BIO *bio);

#endif
