#include "os/spawn.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "os/signals.h"

enum { FIRST = 2 }; /* the first place that fds go to */

static const char *const kept_variables[] = {
    "TZ",
#ifdef BRANT_SANDBOX_TEST
    "ASAN_OPTIONS", "UBSAN_OPTIONS", "LLVM_PROFILE_FILE", "GCOV_PREFIX",
#endif
};

void os_spawn_close_from(int first)
{
    if (syscall(SYS_close_range, (unsigned)first, ~0u, 0u) == 0)
        return;
    long top = sysconf(_SC_OPEN_MAX);
    for (int fd = first; fd < (top > 0 && top < 65536 ? (int)top : 65536); fd++)
        close(fd);
}

size_t os_spawn_audit(int expected, int *ret_surplus)
{
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return 0;
    size_t surplus = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        if (e->d_name[0] == '.')
            continue;
        int fd = atoi(e->d_name);
        if (fd < expected || fd == dirfd(dir))
            continue;
        if (surplus++ == 0)
            *ret_surplus = fd;
    }
    closedir(dir);
    return surplus;
}

int os_spawn_die_with_parent(pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return BRANT_EIO;
    return getppid() == parent ? BRANT_OK : BRANT_ESTATE;
}

/* Puts every descriptor at its place; error_fd, moved too, comes last and closes on exec. */
static int arrange(const struct os_spawn *s, int error_fd)
{
    int high[OS_SPAWN_FDS_MAX];
    int above = FIRST + (int)s->fd_count + 1; /* every place that something is moved to */
    int moved_error = fcntl(error_fd, F_DUPFD_CLOEXEC, above);
    if (moved_error < 0)
        return -1;
    for (size_t i = 0; i < s->fd_count; i++)
        if ((high[i] = fcntl(s->fds[i], F_DUPFD_CLOEXEC, above)) < 0)
            return -1;
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0)
        return -1;
    int null_high = fcntl(null_fd, F_DUPFD_CLOEXEC, above);
    if (null_high < 0 || dup2(null_high, 0) < 0 || dup2(null_high, 1) < 0)
        return -1;
    for (size_t i = 0; i < s->fd_count; i++)
        if (dup2(high[i], FIRST + (int)i) < 0)
            return -1;
    int last = FIRST + (int)s->fd_count;
    if (dup3(moved_error, last, O_CLOEXEC) < 0)
        return -1;
    os_spawn_close_from(last + 1);
    return last;
}

static void run_child(const struct os_spawn *s, pid_t parent, int error_fd, char **environment)
{
    os_signals_reset();
    umask(077);
    setsid();
    if (os_spawn_die_with_parent(parent) == BRANT_OK) {
        int moved = arrange(s, error_fd);
        if (moved >= 0) {
            error_fd = moved;
            execve(s->path, s->argv, environment);
        }
    }
    int err = errno;
    if (write(error_fd, &err, sizeof err) < 0)
        _exit(126);
    _exit(127);
}

static void make_environment(char **out)
{
    size_t have = 0;
    for (size_t i = 0; i < sizeof kept_variables / sizeof *kept_variables; i++) {
        size_t len = strlen(kept_variables[i]);
        for (char **e = environ; *e; e++)
            if (strncmp(*e, kept_variables[i], len) == 0 && (*e)[len] == '=')
                out[have++] = *e;
    }
    out[have] = NULL;
}

int os_spawn(const struct os_spawn *s, struct os_child *ret)
{
    if (s->fd_count > OS_SPAWN_FDS_MAX)
        return BRANT_EIO;
    char *environment[sizeof kept_variables / sizeof *kept_variables + 1];
    make_environment(environment);
    int error_pipe[2];
    if (pipe2(error_pipe, O_CLOEXEC) < 0)
        return BRANT_EIO;
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        run_child(s, parent, error_pipe[1], environment);
    int err = errno;
    close(error_pipe[1]);
    int child_errno = 0;
    ssize_t n = 0;
    if (pid > 0)
        do
            n = read(error_pipe[0], &child_errno, sizeof child_errno);
        while (n < 0 && errno == EINTR);
    close(error_pipe[0]);
    if (pid < 0) {
        errno = err;
        return BRANT_EIO;
    }
    if (n > 0) { /* the exec failed */
        waitpid(pid, NULL, 0);
        errno = child_errno;
        return child_errno == ENOENT ? BRANT_ENOTFOUND : BRANT_EIO;
    }
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0) {
        err = errno;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        errno = err;
        return BRANT_EIO;
    }
    fcntl(pidfd, F_SETFD, FD_CLOEXEC);
    *ret = (struct os_child){pid, pidfd};
    return BRANT_OK;
}

int os_spawn_reap(const struct os_child *child, int *ret_status)
{
    int status;
    pid_t pid = waitpid(child->pid, &status, WNOHANG);
    if (pid != child->pid)
        return BRANT_ETRYLATER;
    *ret_status = status;
    return BRANT_OK;
}
