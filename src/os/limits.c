#include "os/limits.h"

#include <sys/resource.h>

#include "base/err.h"

static int set(__rlimit_resource_t what, uint64_t value)
{
    struct rlimit old;
    if (getrlimit(what, &old) < 0)
        return BRANT_EIO;
    rlim_t want = value == OS_LIMIT_NONE ? old.rlim_max : (rlim_t)value;
    if (want > old.rlim_max)
        want = old.rlim_max; /* we may be started with less than we ask for */
    struct rlimit limit = {want, want};
    return setrlimit(what, &limit) < 0 ? BRANT_EIO : BRANT_OK;
}

int os_limits_set(const struct os_limits *limits)
{
    int rc = set(RLIMIT_CORE, 0);
    if (rc == BRANT_OK && limits->open_files)
        rc = set(RLIMIT_NOFILE, limits->open_files);
    if (rc == BRANT_OK)
        rc = set(RLIMIT_FSIZE, limits->file_size_bytes);
    if (rc == BRANT_OK)
        rc = set(RLIMIT_NPROC, limits->processes);
    if (rc == BRANT_OK)
        rc = set(RLIMIT_DATA, limits->memory_bytes);
    return rc;
}

uint64_t os_limits_open_files(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) < 0 ? 0 : (uint64_t)limit.rlim_cur;
}

uint64_t os_limits_raise_files(uint64_t want)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 0;
    if (limit.rlim_cur < want) {
        limit.rlim_cur = limit.rlim_max < (rlim_t)want ? limit.rlim_max : (rlim_t)want;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    return os_limits_open_files();
}
