#include "os/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"

/* The kernel's interface, written out because Debian 12's header is older than the kernels we run on. */
enum { CREATE_VERSION = 1, RULE_PATH_BENEATH = 1 };

struct ruleset_attr {
    uint64_t handled_fs, handled_net, scoped;
};

struct path_beneath_attr {
    uint64_t allowed;
    int32_t parent_fd;
} __attribute__((packed));

enum {
    FS_WRITE_FILE = 1 << 1,
    FS_READ_FILE = 1 << 2,
    FS_READ_DIR = 1 << 3,
    FS_REMOVE_DIR = 1 << 4,
    FS_REMOVE_FILE = 1 << 5,
    FS_MAKE_DIR = 1 << 7,
    FS_MAKE_REG = 1 << 8,
    FS_REFER = 1 << 13,    /* ABI 2 */
    FS_TRUNCATE = 1 << 14, /* ABI 3 */
};

static uint64_t fs_rights(int abi)
{
    static const int bits[] = {0, 13, 14, 15, 15, 16}; /* by ABI: how many rights it knows */
    return (1ull << bits[abi < 5 ? abi : 5]) - 1;
}

int landlock_abi(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_VERSION);
    return abi < 0 ? 0 : (int)abi;
}

static int allow_working_directory(int ruleset, uint64_t handled)
{
    const uint64_t wanted = FS_WRITE_FILE | FS_READ_FILE | FS_READ_DIR | FS_REMOVE_DIR | FS_REMOVE_FILE |
                            FS_MAKE_DIR | FS_MAKE_REG | FS_REFER | FS_TRUNCATE;
    int dir = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return BRANT_EIO;
    struct path_beneath_attr rule = {.allowed = wanted & handled, .parent_fd = dir};
    long rc = syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0);
    close(dir);
    return rc < 0 ? BRANT_EIO : BRANT_OK;
}

int landlock_restrict(bool files, bool connect)
{
    int abi = landlock_abi();
    if (abi < 1)
        return BRANT_EUNSUPPORTED;
    struct ruleset_attr attr = {.handled_fs = fs_rights(abi)};
    if (abi >= 4 && !connect)
        attr.handled_net = 3; /* bind and connect of TCP */
    if (abi >= 6)
        attr.scoped = 3; /* abstract sockets and signals */
    size_t size = abi >= 6 ? sizeof attr : abi >= 4 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    if (ruleset < 0)
        return BRANT_EIO;
    int rc = files ? allow_working_directory(ruleset, attr.handled_fs) : BRANT_OK;
    if (rc == BRANT_OK && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
        rc = BRANT_EIO;
    close(ruleset);
    return rc;
}
