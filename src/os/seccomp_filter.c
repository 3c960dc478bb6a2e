#include "os/seccomp_filter.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "os/sandbox_profiles.h"

/* One rule with up to two argument conditions. */
static int rule(scmp_filter_ctx f, uint32_t action, const char *name, unsigned count, struct scmp_arg_cmp a,
                struct scmp_arg_cmp b)
{
    int nr = seccomp_syscall_resolve_name(name);
    if (nr == __NR_SCMP_ERROR || nr < 0)
        return BRANT_OK;
    struct scmp_arg_cmp args[2] = {a, b};
    return seccomp_rule_add_array(f, action, nr, count, args) < 0 ? BRANT_EIO : BRANT_OK;
}

#ifndef BRANT_SANDBOX_TEST

static int allow_list(scmp_filter_ctx f, const char *const *names)
{
    for (; *names; names++) {
        int nr = seccomp_syscall_resolve_name(*names);
        if (nr == __NR_SCMP_ERROR || nr < 0)
            continue; /* not on this architecture */
        if (seccomp_rule_add(f, SCMP_ACT_ALLOW, nr, 0) < 0)
            return BRANT_EIO;
    }
    return BRANT_OK;
}

static const struct scmp_arg_cmp none = {0};

static struct scmp_arg_cmp equals(unsigned arg, uint64_t value)
{
    return (struct scmp_arg_cmp){(unsigned)arg, SCMP_CMP_EQ, value, 0};
}

static struct scmp_arg_cmp masked(unsigned arg, uint64_t mask, uint64_t value)
{
    return (struct scmp_arg_cmp){(unsigned)arg, SCMP_CMP_MASKED_EQ, mask, value};
}

static bool listed(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (__builtin_strcmp(*names, name) == 0)
            return true;
    return false;
}

/* Calls allowed with certain arguments only. */
static int add_conditional(scmp_filter_ctx f, const struct sandbox_profile *p)
{
    const uint32_t ok = SCMP_ACT_ALLOW;
    int rc = 0;
    /* Memory is never executable that was not so from the start. */
    rc |= rule(f, ok, "mmap", 1, masked(2, PROT_EXEC, 0), none);
    rc |= rule(f, ok, "mprotect", 1, masked(2, PROT_EXEC, 0), none);
    /* abort() and assertions; nobody else's processes. */
    rc |= rule(f, ok, "tgkill", 1, equals(0, (uint64_t)getpid()), none);
    static const int fcntls[] = {F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD, F_DUPFD_CLOEXEC};
    for (size_t i = 0; i < sizeof fcntls / sizeof *fcntls; i++)
        rc |= rule(f, ok, "fcntl", 1, equals(1, (uint64_t)fcntls[i]), none);
    rc |= rule(f, ok, "ioctl", 1, equals(1, FIONREAD), none);
    rc |=
        rule(f, SCMP_ACT_ERRNO(ENOTTY), "ioctl", 1, (struct scmp_arg_cmp){1, SCMP_CMP_NE, FIONREAD, 0}, none);
    rc |= rule(f, ok, "prctl", 1, equals(0, PR_SET_NAME), none);
    rc |= rule(f, ok, "prctl", 1, equals(0, PR_GET_SECCOMP), none);
    rc |= rule(f, ok, "prctl", 1, equals(0, PR_GET_NO_NEW_PRIVS), none);
    /* Reading limits is fine; changing them is not. */
    rc |= rule(f, ok, "prlimit64", 1, equals(2, 0), none);
    rc |= rule(f, ok, "getrlimit", 0, none, none);
    if (p->rights & SANDBOX_MAY_FILES) {
        static const int locks[] = {F_GETLK, F_SETLK, F_SETLKW, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW};
        for (size_t i = 0; i < sizeof locks / sizeof *locks; i++)
            rc |= rule(f, ok, "fcntl", 1, equals(1, (uint64_t)locks[i]), none);
    }
    if (p->rights & SANDBOX_MAY_THREADS)
        rc |= rule(f, ok, "clone", 1, masked(0, CLONE_THREAD | CLONE_NEWUSER, CLONE_THREAD), none);
    if (p->rights & SANDBOX_MAY_CONNECT) {
        rc |= rule(f, ok, "socket", 1, equals(0, AF_INET), none);
        rc |= rule(f, ok, "socket", 1, equals(0, AF_INET6), none);
    }
    return rc == 0 ? BRANT_OK : BRANT_EIO;
}

static int add_rules(scmp_filter_ctx f, const struct sandbox_profile *p)
{
    const char *const *sets[] = {
        sandbox_calls_base,
        p->rights & SANDBOX_MAY_ACCEPT ? sandbox_calls_accept : NULL,
        p->rights & SANDBOX_MAY_FILES ? sandbox_calls_files : NULL,
        p->rights & SANDBOX_MAY_THREADS ? sandbox_calls_threads : NULL,
        p->rights & SANDBOX_MAY_CONNECT ? sandbox_calls_connect : NULL,
    };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        if (sets[i] && allow_list(f, sets[i]) < 0)
            return BRANT_EIO;
    for (const char *const *name = sandbox_calls_denied; *name; name++) {
        bool allowed = false;
        for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
            allowed = allowed || (sets[i] && listed(*name, sets[i]));
        /* glibc asks for clone3 first and takes ENOSYS as "use clone", whose flags the filter can see. */
        unsigned err = __builtin_strcmp(*name, "clone3") == 0 ? ENOSYS : EACCES;
        if (!allowed && rule(f, SCMP_ACT_ERRNO(err), *name, 0, none, none) < 0)
            return BRANT_EIO;
    }
    return add_conditional(f, p);
}

static const uint32_t default_action = SCMP_ACT_KILL_PROCESS;

#else /* the test build: everything but what the proofs try */

static int add_rules(scmp_filter_ctx f, const struct sandbox_profile *p)
{
    (void)p;
    static const char *const forbidden[] = {"execve",      "execveat", "chroot", "mount",
                                            "init_module", "bpf",      NULL};
    for (const char *const *name = forbidden; *name; name++)
        if (rule(f, SCMP_ACT_KILL_PROCESS, *name, 0, (struct scmp_arg_cmp){0}, (struct scmp_arg_cmp){0}) < 0)
            return BRANT_EIO;
    return BRANT_OK;
}

static const uint32_t default_action = SCMP_ACT_ALLOW;

#endif

int seccomp_filter_load(const struct sandbox_profile *profile)
{
    scmp_filter_ctx f = seccomp_init(default_action);
    if (!f)
        return BRANT_EIO;
    int rc = BRANT_EIO;
    if (seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) == 0 &&
        seccomp_attr_set(f, SCMP_FLTATR_CTL_NNP, 0) == 0 &&
        seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1) == 0 &&
        seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2) == 0 && add_rules(f, profile) == BRANT_OK &&
        seccomp_load(f) == 0)
        rc = BRANT_OK;
    seccomp_release(f);
    return rc;
}
