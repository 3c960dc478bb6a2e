#include "os/peercred.h"

#include <sys/socket.h>

#include "base/err.h"

int os_peercred(int sock, struct os_peer *ret)
{
    struct ucred cred;
    socklen_t len = sizeof cred;
    if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 || len != sizeof cred)
        return BRANT_EIO;
    *ret = (struct os_peer){cred.pid, cred.uid, cred.gid};
    return BRANT_OK;
}

bool os_peercred_in_group(int sock, gid_t gid)
{
    struct os_peer peer;
    if (os_peercred(sock, &peer) < 0)
        return false;
    if (peer.gid == gid)
        return true;
    gid_t groups[1024]; /* a process with more groups than this is refused, not searched */
    socklen_t len = sizeof groups;
    if (getsockopt(sock, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
        return false;
    for (size_t i = 0; i < len / sizeof(gid_t); i++)
        if (groups[i] == gid)
            return true;
    return false;
}
