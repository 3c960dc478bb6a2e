#include "net/addr.h"

#include <netinet/in.h>
#include <string.h>

struct ip_addr net_addr_from_sockaddr(const struct sockaddr_storage *from)
{
    struct ip_addr a = {0};
    if (from->ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, from, sizeof in);
        a.family = IP_V4;
        a.port = ntohs(in.sin_port);
        memcpy(a.bytes, &in.sin_addr, 4);
    } else if (from->ss_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, from, sizeof in6);
        a.port = ntohs(in6.sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
            a.family = IP_V4;
            memcpy(a.bytes, in6.sin6_addr.s6_addr + 12, 4);
        } else {
            a.family = IP_V6;
            memcpy(a.bytes, in6.sin6_addr.s6_addr, 16);
        }
    }
    return a;
}

socklen_t net_addr_to_sockaddr(const struct ip_addr *from, struct sockaddr_storage *ret)
{
    memset(ret, 0, sizeof *ret);
    if (from->family == IP_V4) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(from->port)};
        memcpy(&in.sin_addr, from->bytes, 4);
        memcpy(ret, &in, sizeof in);
        return sizeof in;
    }
    if (from->family == IP_V6) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(from->port)};
        memcpy(&in6.sin6_addr, from->bytes, 16);
        memcpy(ret, &in6, sizeof in6);
        return sizeof in6;
    }
    return 0;
}

struct ip_addr net_addr_local(int fd)
{
    struct sockaddr_storage ss = {0};
    socklen_t len = sizeof ss;
    if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
        ss.ss_family = AF_UNSPEC;
    return net_addr_from_sockaddr(&ss);
}
