#include "os/privileges.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"

static const int kept[] = {
    CAP_NET_BIND_SERVICE, /* listeners */
    CAP_SETUID,
    CAP_SETGID, /* roles get uids of their own */
    CAP_SYS_CHROOT,
    CAP_SYS_ADMIN, /* roles: empty root, empty network namespace */
    CAP_SETPCAP,   /* roles: emptying the bounding set */
    CAP_CHOWN,
    CAP_KILL, /* the data directory, and the roles */
    CAP_DAC_READ_SEARCH,
    CAP_DAC_OVERRIDE, /* config, log and run directories of other owners */
};

static bool is_kept(int cap)
{
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (kept[i] == cap)
            return true;
    return false;
}

int os_privileges_bound(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct now[2];
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
        if (!is_kept(cap) && prctl(PR_CAPBSET_DROP, cap) < 0)
            return BRANT_EIO;
    if (syscall(SYS_capget, &header, now) < 0)
        return BRANT_EIO;
    uint32_t mask[2] = {0, 0};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        mask[kept[i] / 32] |= 1u << (kept[i] % 32);
    for (int i = 0; i < 2; i++) {
        now[i].effective &= mask[i];
        now[i].permitted &= mask[i];
        now[i].inheritable = 0;
    }
    return syscall(SYS_capset, &header, now) < 0 ? BRANT_EIO : BRANT_OK;
}
