/* Resource limits of this process: lowered for good, soft and hard together. */
#ifndef OS_LIMITS_H
#define OS_LIMITS_H

#include <stdint.h>

struct os_limits {
    uint64_t open_files;      /* RLIMIT_NOFILE; clamped to the hard limit we were started with; 0: as it is */
    uint64_t file_size_bytes; /* RLIMIT_FSIZE; OS_LIMIT_NONE: unlimited */
    uint64_t processes;       /* RLIMIT_NPROC, threads included; OS_LIMIT_NONE: as it is */
    uint64_t memory_bytes;    /* RLIMIT_DATA; OS_LIMIT_NONE: as it is */
};

#define OS_LIMIT_NONE UINT64_MAX

/* Sets all of them, and core size 0. BRANT_EIO: the kernel refused one. */
int os_limits_set(const struct os_limits *limits);

/* Raises the soft limit of open files as far as the hard limit allows, at most to `want`; answers what it is.
 */
uint64_t os_limits_raise_files(uint64_t want);

/* The soft limit of open files. */
uint64_t os_limits_open_files(void);

#endif
