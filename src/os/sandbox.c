#include "os/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "os/landlock.h"
#include "os/seccomp_filter.h"

#ifdef BRANT_SANDBOX_TEST
static const bool test_build = true;
#else
static const bool test_build = false;
#endif

struct ladder {
    const struct sandbox_plan *plan;
    struct sandbox_report *report;
    bool root;           /* started as root */
    bool user_namespace; /* we have capabilities in one of our own */
};

bool sandbox_is_test_build(void)
{
    return test_build;
}

const char *sandbox_rung_name(enum sandbox_rung rung)
{
    static const char *const names[] = {"rlimits",      "network",      "chroot",   "uid",
                                        "capabilities", "no_new_privs", "landlock", "seccomp"};
    return (unsigned)rung < SANDBOX_RUNG_COUNT ? names[rung] : "?";
}

const char *sandbox_state_name(enum sandbox_state state)
{
    static const char *const names[] = {"untried", "enforced", "unavailable", "not-applicable", "failed"};
    return (unsigned)state < sizeof names / sizeof *names ? names[state] : "?";
}

static void __attribute__((format(printf, 4, 5)))
note(struct ladder *l, enum sandbox_rung rung, enum sandbox_state state, const char *format, ...)
{
    struct sandbox_result *r = &l->report->rung[rung];
    r->state = state;
    va_list args;
    va_start(args, format);
    vsnprintf(r->proof, sizeof r->proof, format, args);
    va_end(args);
}

/* Records the outcome of trying what must fail with the given error. */
static void prove(struct ladder *l, enum sandbox_rung rung, bool failed_as_it_must, const char *what)
{
    if (failed_as_it_must)
        note(l, rung, SANDBOX_ENFORCED, "%s", what);
    else
        note(l, rung, SANDBOX_FAILED, "%s: did not fail as it must", what);
}

static bool has(const struct ladder *l, enum sandbox_right right)
{
    return (l->plan->profile->rights & right) != 0;
}

/* --- climbing: each function gives one thing up ------------------------------------------------------- */

static void climb_rlimits(struct ladder *l)
{
    struct os_limits limits = l->plan->profile->limits;
    if (test_build) { /* sanitizers reserve terabytes and write reports */
        limits.memory_bytes = OS_LIMIT_NONE;
        limits.file_size_bytes = OS_LIMIT_NONE;
    }
    if (os_limits_set(&limits) < 0)
        note(l, SANDBOX_RLIMITS, SANDBOX_FAILED, "setrlimit: %s", strerror(errno));
}

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return ok;
}

/* Not root: a user namespace that maps only ourselves lends the capabilities for the next two rungs. The
 * mapping is written by us, so uid and gid stay what they are. */
static bool enter_user_namespace(void)
{
    char uid_map[64], gid_map[64];
    snprintf(uid_map, sizeof uid_map, "%u %u 1", (unsigned)geteuid(), (unsigned)geteuid());
    snprintf(gid_map, sizeof gid_map, "%u %u 1", (unsigned)getegid(), (unsigned)getegid());
    return unshare(CLONE_NEWUSER) == 0 && write_file("/proc/self/setgroups", "deny") &&
           write_file("/proc/self/uid_map", uid_map) && write_file("/proc/self/gid_map", gid_map);
}

/* Tried in a child first: where the namespace is given but its mapping refused there is no way back, and
 * files made from then on would have no owner. */
static bool user_namespace_works(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(enter_user_namespace() ? 0 : 1);
    int status = -1;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return pid > 0 && status == 0;
}

static void climb_namespaces(struct ladder *l)
{
    if (!l->root && !test_build)
        l->user_namespace = user_namespace_works() && enter_user_namespace();
    if (has(l, SANDBOX_MAY_CONNECT))
        note(l, SANDBOX_NETWORK, SANDBOX_NOT_APPLICABLE, "this role connects out");
    else if (unshare(CLONE_NEWNET) < 0)
        note(l, SANDBOX_NETWORK, SANDBOX_UNAVAILABLE, "unshare: %s", strerror(errno));
}

/* Makes an empty directory the working directory, with no name left by which anything could be put in it. */
static bool enter_empty_directory(void)
{
    static const char *const places[] = {"/run", "/tmp", "/var/tmp", "/dev/shm"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s/brant-empty-XXXXXX", places[i]);
        if (!mkdtemp(path))
            continue;
        bool ok = chmod(path, 0555) == 0 && chdir(path) == 0;
        rmdir(path);
        if (ok)
            return true;
    }
    return false;
}

static void climb_chroot(struct ladder *l)
{
    if (has(l, SANDBOX_MAY_FILES)) {
        if (chdir(l->plan->data_dir) < 0) {
            note(l, SANDBOX_CHROOT, SANDBOX_FAILED, "chdir to the data directory: %s", strerror(errno));
            return;
        }
    }
    if (test_build) {
        note(l, SANDBOX_CHROOT, SANDBOX_NOT_APPLICABLE, "left out by this test build");
        return;
    }
    if (!l->root && !l->user_namespace) {
        note(l, SANDBOX_CHROOT, SANDBOX_UNAVAILABLE, "not root, and no user namespaces here");
        return;
    }
    if (!has(l, SANDBOX_MAY_FILES) && !enter_empty_directory())
        note(l, SANDBOX_CHROOT, SANDBOX_FAILED, "no place for an empty directory: %s", strerror(errno));
    else if (chroot(".") < 0)
        note(l, SANDBOX_CHROOT, SANDBOX_FAILED, "chroot: %s", strerror(errno));
}

static void climb_uid(struct ladder *l)
{
    if (!l->root) {
        note(l, SANDBOX_UID, SANDBOX_NOT_APPLICABLE, "not started as root; uid %u", (unsigned)geteuid());
        return;
    }
    if (l->plan->uid == 0 || l->plan->gid == 0) {
        note(l, SANDBOX_UID, SANDBOX_FAILED, "no uid of its own was given");
        return;
    }
    for (int cap = 0; cap <= 63; cap++)
        if (prctl(PR_CAPBSET_DROP, cap) < 0)
            break; /* past the last one, or not permitted: the uid change clears the sets in use anyway */
    if (setgroups(0, NULL) < 0 || setresgid(l->plan->gid, l->plan->gid, l->plan->gid) < 0 ||
        setresuid(l->plan->uid, l->plan->uid, l->plan->uid) < 0)
        note(l, SANDBOX_UID, SANDBOX_FAILED, "setresuid %u: %s", (unsigned)l->plan->uid, strerror(errno));
}

static void climb_capabilities(struct ladder *l)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct empty[2] = {{0}};
    if (syscall(SYS_capset, &header, empty) < 0)
        note(l, SANDBOX_CAPABILITIES, SANDBOX_FAILED, "capset: %s", strerror(errno));
}

static void climb_no_new_privs(struct ladder *l)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        note(l, SANDBOX_NO_NEW_PRIVS, SANDBOX_FAILED, "prctl: %s", strerror(errno));
    if (has(l, SANDBOX_KEEPS_SECRETS) && !test_build && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        note(l, SANDBOX_NO_NEW_PRIVS, SANDBOX_FAILED, "dumpable: %s", strerror(errno));
}

static void climb_landlock(struct ladder *l)
{
    if (test_build) {
        note(l, SANDBOX_LANDLOCK, SANDBOX_NOT_APPLICABLE, "left out by this test build");
        return;
    }
    int rc = landlock_restrict(has(l, SANDBOX_MAY_FILES), has(l, SANDBOX_MAY_CONNECT));
    if (rc == BRANT_EUNSUPPORTED)
        note(l, SANDBOX_LANDLOCK, SANDBOX_UNAVAILABLE, "this kernel has none, or it is switched off");
    else if (rc < 0)
        note(l, SANDBOX_LANDLOCK, SANDBOX_FAILED, "landlock: %s", strerror(errno));
}

/* --- proving: each function tries what must now fail --------------------------------------------------- */

static bool open_now(const struct ladder *l, enum sandbox_rung rung)
{
    return l->report->rung[rung].state == SANDBOX_UNTRIED;
}

/* Before Landlock, which would refuse the same path for a reason of its own. */
static void prove_chroot(struct ladder *l)
{
    if (!open_now(l, SANDBOX_CHROOT))
        return;
    struct stat st;
    prove(l, SANDBOX_CHROOT, stat("/etc/passwd", &st) < 0 && errno == ENOENT && stat("/proc", &st) < 0,
          has(l, SANDBOX_MAY_FILES) ? "only the data directory: /etc/passwd and /proc are not there"
                                    : "empty: /etc/passwd and /proc are not there");
}

static void prove_network(struct ladder *l)
{
    if (!open_now(l, SANDBOX_NETWORK))
        return;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(0x7f000001)};
    bool unreachable = fd < 0 || (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno == ENETUNREACH);
    if (fd >= 0)
        close(fd);
    prove(l, SANDBOX_NETWORK, unreachable, "no interface is up: 127.0.0.1 is unreachable");
}

static void prove_rlimits(struct ladder *l)
{
    if (!open_now(l, SANDBOX_RLIMITS))
        return;
    struct rlimit old, more;
    bool refused = false;
    if (getrlimit(RLIMIT_CORE, &old) == 0 && old.rlim_max == 0) {
        more = (struct rlimit){1, 1};
        refused = setrlimit(RLIMIT_CORE, &more) < 0 && errno == EPERM;
    }
    char text[96];
    snprintf(text, sizeof text, "raising a limit is refused; %llu open files",
             (unsigned long long)os_limits_open_files());
    prove(l, SANDBOX_RLIMITS, refused, text);
}

static void prove_uid(struct ladder *l)
{
    if (!open_now(l, SANDBOX_UID))
        return;
    char text[64];
    snprintf(text, sizeof text, "uid %u; going back to uid 0 is refused", (unsigned)geteuid());
    prove(l, SANDBOX_UID, setresuid(0, 0, 0) < 0 && errno == EPERM && geteuid() == l->plan->uid, text);
}

static void prove_capabilities(struct ladder *l)
{
    if (!open_now(l, SANDBOX_CAPABILITIES))
        return;
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct now[2];
    bool none = syscall(SYS_capget, &header, now) == 0;
    for (int i = 0; i < 2 && none; i++)
        none = now[i].effective == 0 && now[i].permitted == 0 && now[i].inheritable == 0;
    bool refused = chroot(".") < 0 && errno == EPERM;
    prove(l, SANDBOX_CAPABILITIES, none && refused, "all sets are empty; chroot is refused");
}

static void prove_no_new_privs(struct ladder *l)
{
    if (!open_now(l, SANDBOX_NO_NEW_PRIVS))
        return;
    bool secrets = has(l, SANDBOX_KEEPS_SECRETS) && !test_build;
    bool confirmed =
        prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 && (!secrets || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
    prove(l, SANDBOX_NO_NEW_PRIVS, confirmed,
          secrets ? "the kernel confirms it, and that nobody may read this memory"
                  : "the kernel confirms it");
}

static void prove_landlock(struct ladder *l)
{
    if (!open_now(l, SANDBOX_LANDLOCK))
        return;
    char text[96];
    if (has(l, SANDBOX_MAY_FILES)) {
        bool refused = mkfifo("landlock-proof", 0600) < 0 && errno == EACCES;
        snprintf(text, sizeof text, "ABI %d; a FIFO in the data directory is refused", landlock_abi());
        prove(l, SANDBOX_LANDLOCK, refused, text);
        return;
    }
    int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool refused = fd < 0 && errno == EACCES;
    if (fd >= 0)
        close(fd);
    snprintf(text, sizeof text, "ABI %d; opening / is refused", landlock_abi());
    prove(l, SANDBOX_LANDLOCK, refused, text);
}

static void try_exec(void)
{
    char *argv[] = {NULL};
    execve("/", argv, argv);
}

static void try_chroot(void)
{
    if (chroot(".") < 0)
        return;
}

static void try_socket(void)
{
    close(socket(AF_INET, SOCK_STREAM, 0));
}

static void try_ptrace(void)
{
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static void try_fork(void)
{
    if (fork() == 0)
        _exit(0);
}

static void try_code(void)
{
    mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* Whether a child under the same filter is killed by it for trying. */
static bool killed_for(const struct sandbox_profile *profile, void (*attempt)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        if (seccomp_filter_load(profile) == BRANT_OK)
            attempt();
        _exit(0);
    }
    int status = 0;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return pid > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

static void climb_and_prove_seccomp(struct ladder *l)
{
    static const struct {
        void (*attempt)(void);
        const char *name;
        enum sandbox_right unless;
        bool in_test_build;
    } tries[] = {
        {try_exec, "execve", 0, true},
        {try_chroot, "chroot", 0, true},
        {try_ptrace, "ptrace", 0, false},
        {try_fork, "fork", 0, false},
        {try_code, "executable memory", 0, false},
        {try_socket, "socket", SANDBOX_MAY_CONNECT, false},
    };
    const struct sandbox_profile *profile = l->plan->profile;
    char list[96] = "";
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        if ((profile->rights & tries[i].unless) || (test_build && !tries[i].in_test_build))
            continue;
        if (!killed_for(profile, tries[i].attempt)) {
            note(l, SANDBOX_SECCOMP, SANDBOX_FAILED, "%s was not killed", tries[i].name);
            return;
        }
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", *list ? ", " : "", tries[i].name);
    }
    if (seccomp_filter_load(profile) < 0 || prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 2)
        note(l, SANDBOX_SECCOMP, SANDBOX_FAILED, "the filter could not be loaded");
    else
        note(l, SANDBOX_SECCOMP, SANDBOX_ENFORCED, "killed for trying: %s%s", list,
             test_build ? " (TEST BUILD: wide filter)" : "");
}

static int verdict(const struct ladder *l)
{
    for (int rung = 0; rung < SANDBOX_RUNG_COUNT; rung++) {
        enum sandbox_state state = l->report->rung[rung].state;
        bool always = rung == SANDBOX_RLIMITS || rung == SANDBOX_NO_NEW_PRIVS || rung == SANDBOX_SECCOMP;
        bool as_root =
            rung == SANDBOX_UID || rung == SANDBOX_CAPABILITIES || (rung == SANDBOX_CHROOT && !test_build);
        if (state == SANDBOX_FAILED)
            return BRANT_EREFUSED;
        if ((always || (l->root && as_root)) && state != SANDBOX_ENFORCED)
            return BRANT_EREFUSED;
    }
    return BRANT_OK;
}

int sandbox_enter(const struct sandbox_plan *plan, struct sandbox_report *ret)
{
    memset(ret, 0, sizeof *ret);
    struct ladder l = {.plan = plan, .report = ret, .root = geteuid() == 0};

    climb_rlimits(&l);
    climb_namespaces(&l);
    climb_chroot(&l);
    climb_uid(&l);
    climb_capabilities(&l);
    climb_no_new_privs(&l);
    if (plan->die_with_parent)
        prctl(PR_SET_PDEATHSIG, SIGKILL);

    prove_chroot(&l);
    climb_landlock(&l);
    prove_landlock(&l);
    prove_network(&l);
    prove_rlimits(&l);
    prove_uid(&l);
    prove_capabilities(&l);
    prove_no_new_privs(&l);

    climb_and_prove_seccomp(&l);
    return verdict(&l);
}
