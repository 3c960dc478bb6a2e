/* Who is at the other end of a Unix socket, as the kernel saw it when the connection was made. */
#ifndef OS_PEERCRED_H
#define OS_PEERCRED_H

#include <stdbool.h>
#include <sys/types.h>

struct os_peer {
    pid_t pid;
    uid_t uid;
    gid_t gid;
};

int os_peercred(int sock, struct os_peer *ret); /* BRANT_EIO */

/* Whether the peer's primary group or one of its supplementary groups is gid. */
bool os_peercred_in_group(int sock, gid_t gid);

#endif
