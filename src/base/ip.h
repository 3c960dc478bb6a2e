/* An IP address and port, without any socket type. */
#ifndef BASE_IP_H
#define BASE_IP_H

#include "base/buf.h"

enum ip_family { IP_NONE = 0, IP_V4 = 4, IP_V6 = 6 };

struct ip_addr {
    uint8_t family;    /* enum ip_family */
    uint16_t port;     /* host order */
    uint8_t bytes[16]; /* network order; the first 4 for IPv4. An IPv4-mapped IPv6 address is kept as IPv4. */
};

enum { IP_TEXT_MAX = 46 }; /* longest text with its NUL, without a port */

/* "192.0.2.1", or IPv6 as RFC 5952 writes it. BRANT_ESTATE for IP_NONE. */
int ip_format(const struct ip_addr *a, char out[IP_TEXT_MAX]);
/* Dotted quad, or IPv6 in any form of RFC 4291 2.2, without zone or brackets; the port becomes 0.
 * BRANT_ESYNTAX. */
int ip_parse(struct span text, struct ip_addr *ret);
bool ip_is_loopback(const struct ip_addr *a);
/* An IP network. */
struct ip_net {
    struct ip_addr address; /* bits behind the prefix are zero; port 0 */
    uint8_t prefix;         /* 0 to 32, or 0 to 128 */
};
/* "192.0.2.0/24", "2001:db8::/32"; without a prefix one address. BRANT_ESYNTAX, also for bits set behind the
 * prefix. */
int ip_net_parse(struct span text, struct ip_net *ret);
bool ip_net_contains(const struct ip_net *net, const struct ip_addr *a); /* the port is not looked at */

bool ip_eq(const struct ip_addr *a, const struct ip_addr *b); /* ports are not compared */

#endif
