/* The ladder in child processes: as root, as an ordinary user, for every profile; and what it lets through.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "os/random.h"
#include "os/sandbox.h"
#include "os/sandbox_profiles.h"

enum { ORDINARY = 65534, OWN = 60999 };

static char data_dir[] = "/tmp/brant-test-sandbox-XXXXXX";

/* Runs `body` in a child under the profile; answers its wait status. body returns 0 for success. */
static int run(const char *name, bool ordinary_user, int (*body)(const struct sandbox_report *))
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        uid_t owner = getuid() == 0 ? (ordinary_user ? ORDINARY : OWN) : getuid();
        if (getuid() == 0 && chown(data_dir, owner, (gid_t)owner) < 0)
            _exit(101);
        if (getuid() == 0 && ordinary_user &&
            (setgroups(0, NULL) < 0 || setresgid(ORDINARY, ORDINARY, ORDINARY) < 0 ||
             setresuid(ORDINARY, ORDINARY, ORDINARY) < 0))
            _exit(102);
        struct sandbox_plan plan = {sandbox_profile_find(name), OWN, OWN, data_dir};
        struct sandbox_report report;
        if (sandbox_enter(&plan, &report) < 0) {
            for (int i = 0; i < SANDBOX_RUNG_COUNT; i++)
                dprintf(2, "%s %s: %s\n", sandbox_rung_name((enum sandbox_rung)i),
                        sandbox_state_name(report.rung[i].state), report.rung[i].proof);
            _exit(103);
        }
        _exit(body(&report));
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void both(const char *name, int (*body)(const struct sandbox_report *), int expected_signal)
{
    for (int ordinary = 0; ordinary < 2; ordinary++) {
        int status = run(name, ordinary == 1, body);
        if (expected_signal)
            assert_int_equal(WIFSIGNALED(status) ? WTERMSIG(status) : -1, expected_signal);
        else
            assert_int_equal(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 0);
    }
}

static int check_report(const struct sandbox_report *r)
{
    static const enum sandbox_rung always[] = {SANDBOX_RLIMITS, SANDBOX_NO_NEW_PRIVS, SANDBOX_SECCOMP,
                                               SANDBOX_CAPABILITIES};
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        if (r->rung[always[i]].state != SANDBOX_ENFORCED)
            return 10 + (int)i;
    for (int i = 0; i < SANDBOX_RUNG_COUNT; i++)
        if (r->rung[i].state == SANDBOX_UNTRIED || r->rung[i].proof[0] == '\0')
            return 20 + i;
    if (geteuid() == OWN && r->rung[SANDBOX_UID].state != SANDBOX_ENFORCED)
        return 30;
    if (geteuid() == OWN && !sandbox_is_test_build() && r->rung[SANDBOX_CHROOT].state != SANDBOX_ENFORCED)
        return 31;
    return geteuid() == 0 ? 32 : 0;
}

static void test_every_profile(void **state)
{
    (void)state;
    for (size_t i = 0; i < sandbox_profile_count; i++)
        both(sandbox_profiles[i].name, check_report, 0);
    assert_null(sandbox_profile_find("brant-nothing"));
}

static int edge_works(const struct sandbox_report *r)
{
    (void)r;
    int fds[2] = {-1, -1};
    char c = 0;
    (void)fds;
    uint64_t value;
    os_random_fill(&value, sizeof value);
    void *p = malloc(8u << 20);
    if (!p)
        return 1;
    memset(p, 1, 8u << 20);
    free(p);
    struct pollfd none = {.fd = -1};
    if (poll(&none, 1, 1) != 0)
        return 2;
    if (open("/etc/passwd", O_RDONLY) >= 0 && !sandbox_is_test_build())
        return 3;
    if (open("/dev/null", O_RDONLY) >= 0 && !sandbox_is_test_build())
        return 4;
    return c;
}

static void *thread_body(void *arg)
{
    *(int *)arg = 42;
    return NULL;
}

static int store_works(const struct sandbox_report *r)
{
    (void)r;
    if (mkdir("journal", 0700) < 0)
        return 1;
    int fd = open("journal/1", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || pwrite(fd, "x", 1, 0) != 1 || fdatasync(fd) < 0 || ftruncate(fd, 8192) < 0)
        return 2;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_SETLK, &lock) < 0)
        return 3;
    void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED || munmap(map, 4096) < 0 || close(fd) < 0)
        return 4;
    if (rename("journal/1", "journal/2") < 0 || unlink("journal/2") < 0 || rmdir("journal") < 0)
        return 5;
    if (!sandbox_is_test_build() && open("/etc/passwd", O_RDONLY) >= 0)
        return 6;
    int answer = 0;
    pthread_t thread;
    if (pthread_create(&thread, NULL, thread_body, &answer) != 0 || pthread_join(thread, NULL) != 0)
        return 7;
    return answer == 42 ? 0 : 8;
}

static void test_what_is_allowed_works(void **state)
{
    (void)state;
    both("brant-smtp", edge_works, 0);
    both("brant-store", store_works, 0);
}

static int do_exec(const struct sandbox_report *r)
{
    (void)r;
    execl("/bin/true", "true", (char *)NULL);
    return 1;
}

static int do_fork(const struct sandbox_report *r)
{
    (void)r;
    return fork() < 0 ? 1 : 2;
}

static int do_socket(const struct sandbox_report *r)
{
    (void)r;
    return socket(AF_INET, SOCK_STREAM, 0) < 0 ? 1 : 2;
}

static int do_kill(const struct sandbox_report *r)
{
    (void)r;
    return kill(getppid(), 0);
}

static int do_abort(const struct sandbox_report *r)
{
    (void)r;
    abort();
}

static void test_what_kills(void **state)
{
    (void)state;
    both("brant-smtp", do_exec, SIGSYS);
    both("brant-store", do_exec, SIGSYS);
    both("brant-smtp", do_abort, SIGABRT);
    if (sandbox_is_test_build())
        return;
    both("brant-smtp", do_fork, SIGSYS);
    both("brant-store", do_fork, SIGSYS);
    both("brant-smtp", do_socket, SIGSYS);
    both("brant-store", do_socket, SIGSYS);
    both("brant-smtp", do_kill, SIGSYS);
}

static void test_refuses_root_without_uid(void **state)
{
    (void)state;
    if (getuid() != 0)
        skip();
    pid_t pid = fork();
    if (pid == 0) {
        struct sandbox_plan plan = {sandbox_profile_find("brant-smtp"), 0, 0, NULL};
        struct sandbox_report report;
        _exit(sandbox_enter(&plan, &report) == BRANT_EREFUSED &&
                      report.rung[SANDBOX_UID].state == SANDBOX_FAILED
                  ? 0
                  : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
    if (!mkdtemp(data_dir))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_profile),
        cmocka_unit_test(test_what_is_allowed_works),
        cmocka_unit_test(test_what_kills),
        cmocka_unit_test(test_refuses_root_without_uid),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(data_dir);
    return rc;
}
