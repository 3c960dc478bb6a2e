/* Who may do what. The system calls behind each right are the lists below; everything not listed for a
 * profile kills the process, except the few that are answered with an error because harmless library code
 * tries them. */
#include "os/sandbox_profiles.h"

#include <string.h>

#define KIB 1024ull
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* clang-format off */
const struct sandbox_profile sandbox_profiles[] = {
/*    executable         rights                                         files  file size       processes      data    */
    { "brant-smtp",      SANDBOX_MAY_ACCEPT,                          { 20000, 0,              OS_LIMIT_NONE, 2 * GIB } },
    { "brant-pop3",      SANDBOX_MAY_ACCEPT,                          { 20000, 0,              OS_LIMIT_NONE, 2 * GIB } },
    { "brant-imap",      SANDBOX_MAY_ACCEPT,                          { 20000, 0,              OS_LIMIT_NONE, 4 * GIB } },
    { "brant-signer",    SANDBOX_MAY_FILES | SANDBOX_KEEPS_SECRETS,   {   512, 1 * MIB,        OS_LIMIT_NONE, 1 * GIB } },
    { "brant-store",     SANDBOX_MAY_FILES | SANDBOX_MAY_THREADS,     {  4096, OS_LIMIT_NONE,  OS_LIMIT_NONE, 8 * GIB } },
};
const size_t sandbox_profile_count = sizeof sandbox_profiles / sizeof *sandbox_profiles;

/* Computing, memory, time, inherited descriptors, the event loop. */
const char *const sandbox_calls_base[] = {
    "read", "write", "readv", "writev", "close", "sendmsg", "recvmsg", "sendto", "recvfrom", "shutdown",
    "getsockopt", "setsockopt", "getsockname", "getpeername", "lseek",
    "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd2", "poll", "ppoll",
    "timerfd_create", "timerfd_settime",
    "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "getrandom",
    "brk", "munmap", "mremap", "madvise",
    "futex", "futex_waitv", "set_robust_list", "rseq", "membarrier", "sched_yield", "sched_getaffinity", "getcpu",
    "rt_sigprocmask", "rt_sigaction", "rt_sigreturn", "sigaltstack", "restart_syscall",
    "getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "getrusage", "sysinfo", "uname",
    "exit", "exit_group",
    NULL };

const char *const sandbox_calls_accept[] = { "accept4", "accept", NULL };

const char *const sandbox_calls_files[] = {
    "openat", "openat2", "open", "pread64", "pwrite64", "preadv", "pwritev", "ftruncate", "fallocate", "fsync", "fdatasync",
    "sync_file_range", "fadvise64", "copy_file_range", "rename", "renameat", "renameat2", "unlink", "unlinkat", "link",
    "linkat", "mkdir", "mkdirat", "rmdir", "stat", "lstat", "fstat", "newfstatat", "statx", "access", "faccessat",
    "faccessat2", "readlink", "readlinkat", "getdents64", "getcwd", "fchmod", "fchown", "flock", "statfs", "fstatfs",
    "utimensat", "umask",
    NULL };

const char *const sandbox_calls_threads[] = {
    "set_tid_address", "sched_setscheduler", "sched_getscheduler", "sched_setattr", "sched_getparam", "setpriority",
    "getpriority", "sched_get_priority_max", "sched_get_priority_min",
    NULL };

const char *const sandbox_calls_connect[] = { "connect", "bind", NULL };

/* Answered with EACCES in a profile that does not list them: libraries look for files and do without. */
const char *const sandbox_calls_denied[] = {
    "openat", "openat2", "open", "stat", "lstat", "fstat", "newfstatat", "statx", "access", "faccessat", "faccessat2", "readlink",
    "readlinkat", "getcwd", "getdents64", "statfs", "fstatfs", "clone3", "setpriority", "sched_setscheduler",
    NULL };
/* clang-format on */

const struct sandbox_profile *sandbox_profile_find(const char *name)
{
    for (size_t i = 0; i < sandbox_profile_count; i++)
        if (strcmp(sandbox_profiles[i].name, name) == 0)
            return &sandbox_profiles[i];
    return NULL;
}
