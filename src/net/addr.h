/* Between struct ip_addr and the socket types of the system. */
#ifndef NET_ADDR_H
#define NET_ADDR_H

#include <sys/socket.h>

#include "base/ip.h"

/* IP_NONE for a family that is neither IPv4 nor IPv6; an IPv4-mapped address becomes IPv4. */
struct ip_addr net_addr_from_sockaddr(const struct sockaddr_storage *from);
/* The length to give to the system, 0 for IP_NONE. */
socklen_t net_addr_to_sockaddr(const struct ip_addr *from, struct sockaddr_storage *ret);
/* The local address of a socket. */
struct ip_addr net_addr_local(int fd);

#endif
