#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "os/clock.h"
#include "os/fdpass.h"
#include "os/limits.h"
#include "os/peercred.h"
#include "os/random.h"
#include "os/signals.h"
#include "os/spawn.h"

static void test_clock_and_random(void **state)
{
    (void)state;
    uint64_t a = os_clock_mono_us(), b = os_clock_mono_us();
    assert_true(b >= a && os_clock_mono_ms() >= a / 1000);
    assert_true(os_clock_wall_ms() > 1700000000000);
    assert_true(os_clock_wall_us() / 1000 - os_clock_wall_ms() <= 0);
    assert_true(os_random_u64() != os_random_u64());
    uint8_t bytes[64] = {0};
    os_random_fill(bytes, sizeof bytes);
    int zeros = 0;
    for (size_t i = 0; i < sizeof bytes; i++)
        zeros += bytes[i] == 0;
    assert_true(zeros < 16);
}

static void pair(int type, int out[2])
{
    assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, out), 0);
}

static void test_fdpass(void **state)
{
    (void)state;
    int sock[2], fds[OS_FDPASS_MAX];
    size_t len, count;
    char data[64];
    pair(SOCK_SEQPACKET, sock);
    assert_int_equal(os_fdpass_recv(sock[1], data, sizeof data, &len, fds, &count), BRANT_ETRYLATER);

    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    assert_int_equal(os_fdpass_send(sock[0], SPAN_LIT("hello"), pipe_fds, 2), BRANT_OK);
    assert_int_equal(os_fdpass_recv(sock[1], data, sizeof data, &len, fds, &count), BRANT_OK);
    assert_int_equal(len, 5);
    assert_int_equal(count, 2);
    assert_memory_equal(data, "hello", 5);
    assert_true(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
    assert_int_equal(write(fds[1], "z", 1), 1);
    assert_int_equal(read(pipe_fds[0], data, 1), 1);
    close(fds[0]);
    close(fds[1]);

    /* Too many on our side; too many or too long on theirs: dropped whole, nothing leaks. */
    int many[OS_FDPASS_MAX + 1];
    for (int i = 0; i <= OS_FDPASS_MAX; i++)
        many[i] = pipe_fds[0];
    assert_int_equal(os_fdpass_send(sock[0], SPAN_LIT("x"), many, OS_FDPASS_MAX + 1), BRANT_ELIMIT);
    assert_int_equal(os_fdpass_send(sock[0], SPAN_LIT("too long for that"), pipe_fds, 2), BRANT_OK);
    int before = dup(0);
    close(before);
    assert_int_equal(os_fdpass_recv(sock[1], data, 4, &len, fds, &count), BRANT_ESYNTAX);
    int after = dup(0);
    close(after);
    assert_int_equal(before, after);

    close(sock[0]);
    assert_int_equal(os_fdpass_recv(sock[1], data, sizeof data, &len, fds, &count), BRANT_OK);
    assert_int_equal(len, 0);
    assert_int_equal(os_fdpass_send(sock[1], SPAN_LIT("x"), NULL, 0), BRANT_ESTATE);
    close(sock[1]);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

/* The kernel counts what is under way, of a user who is not root, against the limit of the sender. */
static int fill_the_way(void)
{
    struct os_limits limits = {32, 0, OS_LIMIT_NONE, OS_LIMIT_NONE};
    int sock[2], fds[OS_FDPASS_MAX], rc, sent = 0;
    int many[OS_FDPASS_MAX] = {2, 2, 2, 2, 2, 2, 2, 2};
    size_t len, count;
    char data[8];
    if ((geteuid() == 0 && setresuid(12345, 12345, 12345) < 0) || os_limits_set(&limits) < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock) < 0)
        return 1;
    while ((rc = os_fdpass_send(sock[0], SPAN_LIT("x"), many, OS_FDPASS_MAX)) == BRANT_OK && sent < 1000)
        sent++;
    if (rc != BRANT_ETRYLATER || errno != ETOOMANYREFS)
        return 2;
    if (os_fdpass_recv(sock[1], data, sizeof data, &len, fds, &count) < 0)
        return 3;
    return os_fdpass_send(sock[0], SPAN_LIT("x"), many, OS_FDPASS_MAX) == BRANT_OK ? 0 : 4;
}

static void test_fdpass_too_many_under_way(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0)
        _exit(fill_the_way());
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 1); /* 1: nobody else can be had here */
}

static void test_peercred(void **state)
{
    (void)state;
    int sock[2];
    pair(SOCK_STREAM, sock);
    struct os_peer peer;
    assert_int_equal(os_peercred(sock[0], &peer), BRANT_OK);
    assert_int_equal(peer.uid, getuid());
    assert_int_equal(peer.pid, getpid());
    assert_true(os_peercred_in_group(sock[0], getgid()));
    assert_false(os_peercred_in_group(sock[0], 4242424));
    assert_int_equal(os_peercred(0, &peer) == BRANT_OK, false);
    close(sock[0]);
    close(sock[1]);
}

static void wait_end(const struct os_child *child, int *ret_status)
{
    struct pollfd end = {.fd = child->pidfd, .events = POLLIN};
    assert_int_equal(poll(&end, 1, 5000), 1);
    assert_int_equal(os_spawn_reap(child, ret_status), BRANT_OK);
    close(child->pidfd);
}

/* A shell looks at what it was given: descriptors, umask, environment, dispositions. */
static void test_spawn(void **state)
{
    (void)state;
    int stray = open("/dev/null", O_RDONLY); /* not close-on-exec: must not arrive */
    assert_true(stray >= 0);
    int out[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    setenv("BRANT_STRAY_VARIABLE", "1", 1);
    static const char script[] =
        "umask; for f in /proc/self/fd/*; do [ -e $f ] && echo ${f##*/}; done | sort -n | "
        "tr '\\n' ' '; echo \"$BRANT_STRAY_VARIABLE\"; "
        "grep -E 'Sig(Ign|Blk)' /proc/self/status | tr '\\n' ' '";
    char *argv[] = {(char[]){"sh"}, (char[]){"-c"}, (char[sizeof script]){0}, (char[]){"sh"}, NULL};
    memcpy(argv[2], script, sizeof script);
    signal(SIGPIPE, SIG_IGN);
    int fds[] = {2, out[1], out[1]};
    struct os_spawn spawn = {"/bin/sh", argv, fds, 3};
    /* Its standard output is /dev/null; the script writes to descriptor 3. */
    static const char prefix[] = "exec >&3 3>&- 4>&-; ";
    char whole[sizeof prefix + sizeof script];
    snprintf(whole, sizeof whole, "%s%s", prefix, script);
    argv[2] = whole;
    struct os_child child;
    assert_int_equal(os_spawn(&spawn, &child), BRANT_OK);
    close(out[1]);
    int status = -1;
    wait_end(&child, &status);
    assert_int_equal(status, 0);
    char text[512] = "";
    ssize_t n = read(out[0], text, sizeof text - 1);
    assert_true(n > 0);
    assert_non_null(strstr(text, "0077\n"));
    assert_null(strstr(text, " 5 ")); /* 0 1 2, and what the shell itself opens (3 or 4) */
    assert_non_null(strstr(text, "SigIgn:\t0000000000000000"));
    assert_non_null(strstr(text, "SigBlk:\t0000000000000000"));
    close(out[0]);
    close(stray);
}

static void test_spawn_failures(void **state)
{
    (void)state;
    char *argv[] = {NULL};
    struct os_child child = {.pid = -7};
    struct os_spawn spawn = {"/nonexistent/role", argv, NULL, 0};
    assert_int_equal(os_spawn(&spawn, &child), BRANT_ENOTFOUND);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(child.pid, -7);
    spawn.path = "/etc/passwd";
    assert_int_equal(os_spawn(&spawn, &child), BRANT_EIO);
}

/* A process that dies takes what it spawned with it. */
static void test_die_with_parent(void **state)
{
    (void)state;
    int alive[2];
    assert_int_equal(pipe2(alive, O_CLOEXEC), 0);
    pid_t middle = fork();
    if (middle == 0) {
        char *argv[] = {(char[]){"sleep"}, (char[]){"60"}, NULL};
        int fds[] = {alive[1]};
        struct os_spawn spawn = {"/bin/sleep", argv, fds, 1};
        struct os_child child;
        if (os_spawn(&spawn, &child) < 0)
            _exit(1);
        kill(getpid(), SIGKILL);
    }
    close(alive[1]);
    int status;
    assert_int_equal(waitpid(middle, &status, 0), middle);
    assert_true(WIFSIGNALED(status));
    struct pollfd end = {.fd = alive[0], .events = POLLIN};
    assert_int_equal(poll(&end, 1, 5000), 1); /* the last writer is gone */
    assert_true(end.revents & POLLHUP);
    close(alive[0]);
}

static void test_signals(void **state)
{
    (void)state;
    int fd;
    assert_int_equal(os_signals_supervisor(&fd), BRANT_OK);
    assert_int_equal(os_signals_next(fd), 0);
    raise(SIGHUP);
    raise(SIGTERM);
    int first = os_signals_next(fd), second = os_signals_next(fd);
    assert_int_equal(first + second, SIGHUP + SIGTERM);
    assert_int_equal(os_signals_next(fd), 0);
    close(fd);
    os_signals_reset();
}

static void test_limits(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        struct os_limits limits = {64, 0, OS_LIMIT_NONE, OS_LIMIT_NONE};
        if (os_limits_set(&limits) < 0 || os_limits_open_files() != 64 || os_limits_raise_files(1000) != 64)
            _exit(1);
        int last = -1;
        for (int fd; (fd = dup(0)) >= 0;)
            last = fd;
        _exit(last == 63 && errno == EMFILE ? 0 : 2);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock_and_random),
        cmocka_unit_test(test_fdpass),
        cmocka_unit_test(test_fdpass_too_many_under_way),
        cmocka_unit_test(test_peercred),
        cmocka_unit_test(test_spawn),
        cmocka_unit_test(test_spawn_failures),
        cmocka_unit_test(test_die_with_parent),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
