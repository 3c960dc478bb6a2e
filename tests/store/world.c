#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "log/frame.h"
#include "log/out.h"
#include "os/clock.h"

enum { START_MS = 20000, STOP_MS = 30000, STORE_UID = 60600 + IPC_ROLE_STORE };

/* Appends the events of at least this level that wait in the pipe, one line each. */
static void take_log(struct world *w, enum log_level least, struct buf *out)
{
    struct log_stamp stamp = {.time_ms = os_clock_wall_ms(), .role = "store", .pid = w->child.pid};
    struct log_decoder decoder;
    struct log_message m;
    ssize_t n;
    log_decoder_init(&decoder);
    do {
        size_t room;
        uint8_t *p = log_decoder_room(&decoder, &room);
        n = read(w->log_fd, p, room);
        log_decoder_fed(&decoder, n > 0 ? (size_t)n : 0);
        while (log_decoder_next(&decoder, &m) == BRANT_OK) {
            struct buf _cleanup_buf_ line;
            buf_init(&line, 2 * LOG_LINE_MAX);
            log_line(&line, LOG_FORMAT_KV, &stamp, &m);
            if (m.level >= least)
                buf_append(out, buf_span(&line));
        }
    } while (n > 0);
    log_decoder_done(&decoder);
}

void world_log(struct world *w, struct buf *out)
{
    take_log(w, LOG_DEBUG, out);
}

/* What the store complains about, on standard error; everything with BRANT_TEST_VERBOSE. */
static void show_log(struct world *w)
{
    struct buf _cleanup_buf_ out;
    buf_init(&out, 4 << 20);
    take_log(w, getenv("BRANT_TEST_VERBOSE") ? LOG_DEBUG : LOG_ERROR, &out);
    fputs(buf_cstr(&out), stderr);
}

void world_init(struct world *w, const char *executable, const char *settings)
{
    *w = (struct world){.executable = executable, .control_fd = -1, .log_fd = -1};
    const char *tmp = getenv("TMPDIR");
    snprintf(w->dir, sizeof w->dir, "%s/brant-store-XXXXXX", tmp ? tmp : "/tmp");
    CHECK(mkdtemp(w->dir));
    CHECK(geteuid() != 0 || chown(w->dir, STORE_UID, STORE_UID) == 0);
    snprintf(w->settings, sizeof w->settings, "%s", settings);
    net_control_init(&w->control);
}

static void spawn(struct world *w)
{
    int control[2], log_pipe[2];
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) == 0);
    CHECK(pipe2(log_pipe, O_CLOEXEC | O_NONBLOCK) == 0);
    char name[] = "brant-store", option[] = "--offline", plain[] = "store", instance[] = "0";
    char *argv[] = {name, w->offline ? option : plain, instance, NULL};
    int rc = os_spawn(&(struct os_spawn){.path = w->executable,
                                         .argv = argv,
                                         .fds = (int[]){STDERR_FILENO, control[1], log_pipe[1]},
                                         .fd_count = 3},
                      &w->child);
    if (rc != BRANT_OK)
        fail("%s: %s", w->executable, strerror(errno));
    close(control[1]);
    close(log_pipe[1]);
    w->control_fd = control[0];
    w->log_fd = log_pipe[0];
}

static void tell(struct world *w, const struct ipc_message *m, int fd)
{
    CHECK(net_control_send(w->control_fd, m, fd) == BRANT_OK);
}

static int hear(struct world *w)
{
    return net_control_wait(w->control_fd, IPC_ROLE_STORE, IPC_ROLE_SUPERVISOR, START_MS, &w->control);
}

static void tell_config(struct world *w, uint64_t generation)
{
    struct buf _cleanup_buf_ text;
    buf_init(&text, IPC_CONFIG_MAX);
    buf_printf(&text, "hostname = store.brant.test\ndata_dir = %s\n%s", w->dir, w->settings);
    tell(w, &(struct ipc_message){.type = IPC_TYPE_CONFIG, .config = {generation, buf_span(&text)}}, -1);
}

void world_reconfigure(struct world *w)
{
    tell_config(w, 2);
    CHECK(hear(w) == BRANT_OK && w->control.message.type == IPC_TYPE_CONFIG_DONE);
    CHECK(w->control.message.config_done.status == IPC_OK);
}

static void give_orders(struct world *w)
{
    CHECK(hear(w) == BRANT_OK && w->control.message.type == IPC_TYPE_HELLO);
    tell_config(w, 1);
    tell(w,
         &(struct ipc_message){.type = IPC_TYPE_TOKEN_KEY,
                               .token_key = {SPAN_LIT("the same key for the whole run..")}},
         -1);
    tell(w, &(struct ipc_message){.type = IPC_TYPE_START, .start = {1}}, -1);
}

void world_start(struct world *w)
{
    spawn(w);
    give_orders(w);
    int rc;
    while ((rc = hear(w)) == BRANT_OK && w->control.message.type == IPC_TYPE_CONFIG_DONE)
        continue;
    if (rc != BRANT_OK || w->control.message.type != IPC_TYPE_READY) {
        show_log(w);
        fail("the store did not become ready");
    }
}

static int reap(struct world *w, int timeout_ms)
{
    int status = 0;
    struct pollfd ended = {.fd = w->child.pidfd, .events = POLLIN};
    if (poll(&ended, 1, timeout_ms) != 1)
        fail("the store does not end");
    CHECK(os_spawn_reap(&w->child, &status) == BRANT_OK);
    show_log(w);
    close(w->child.pidfd);
    close(w->control_fd);
    close(w->log_fd);
    w->control_fd = -1;
    return status;
}

int world_start_refused(struct world *w)
{
    spawn(w);
    give_orders(w);
    int rc;
    while ((rc = hear(w)) == BRANT_OK)
        CHECK(w->control.message.type != IPC_TYPE_READY);
    int status = reap(w, STOP_MS);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

void world_kill(struct world *w)
{
    kill(w->child.pid, SIGKILL);
    CHECK(WIFSIGNALED(reap(w, STOP_MS)));
}

void world_stop(struct world *w)
{
    shutdown(w->control_fd, SHUT_RDWR);
    world_expect_end(w);
}

void world_expect_end(struct world *w)
{
    int status = reap(w, STOP_MS);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail("the store ended with wait status %#x", (unsigned)status);
}

void world_done(struct world *w)
{
    if (w->control_fd >= 0)
        world_stop(w);
    net_control_done(&w->control);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        execlp("rm", "rm", "-rf", w->dir, (char *)NULL);
        _exit(127);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

void world_channel(struct world *w, enum ipc_role role, uint32_t instance, struct peer *ret)
{
    int fd = peer_init(ret);
    tell(w, &(struct ipc_message){.type = IPC_TYPE_CHANNEL, .channel = {(uint8_t)role, instance}}, fd);
    close(fd);
}

void world_expect_fault(struct world *w, enum ipc_role role, uint32_t instance)
{
    CHECK(hear(w) == BRANT_OK);
    const struct ipc_message *m = &w->control.message;
    CHECK(m->type == IPC_TYPE_PEER_FAULT);
    CHECK(m->peer_fault.peer_role == role && m->peer_fault.peer_instance == instance);
    CHECK(m->peer_fault.reason.len > 0);
}

unsigned long world_memory_kib(const struct world *w)
{
    char path[64], line[256];
    unsigned long kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)w->child.pid);
    FILE *f = fopen(path, "r");
    CHECK(f);
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "VmRSS: %lu kB", &kib) == 1)
            break;
    fclose(f);
    return kib;
}

int run_cases(int argc, char **argv, const struct test_case *cases, size_t count)
{
    unsigned ran = 0;
    if (argc < 2)
        fail("usage: %s BRANT_STORE [CASE]", argv[0]);
    for (size_t i = 0; i < count; i++) {
        if (argc > 2 && strcmp(argv[2], cases[i].name) != 0)
            continue;
        printf("%s\n", cases[i].name);
        fflush(stdout);
        struct world w;
        world_init(&w, argv[1], cases[i].settings);
        world_start(&w);
        cases[i].run(&w);
        world_done(&w);
        ran++;
    }
    printf("%u cases\n", ran);
    return ran > 0 ? 0 : 1;
}
