/* The life of one role process: spawn, control queue, log pipes, death, restart. */
#include "roles/supervisor/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "log/log.h"
#include "os/clock.h"
#include "os/fdpass.h"
#include "roles/common/handover.h"

enum {
    RETRY_MS = 2,     /* a role's control socket was full */
    BACKOFF_MS = 100, /* before the second restart in a minute; doubles up to the next */
    BACKOFF_MAX_MS = 1000,
    BACKOFF_LOUD_MS = 5000, /* when it died SUP_DEATHS times in a minute */
    MINUTE_MS = 60000,
    LINE_MAX_BYTES = 1000
};

static void restart_due(void *arg);
static void flush_queue(void *arg);

void sup_instance_init(struct supervisor *s, const struct sup_kind *kind, uint32_t number)
{
    struct sup_instance *i = &s->instances[s->instance_count++];
    *i = (struct sup_instance){
        .sup = s, .kind = kind, .number = number, .control = -1, .log = -1, .diagnostics = -1};
    if (kind->role == IPC_ROLE_STORE || kind->role == IPC_ROLE_SIGNER)
        snprintf(i->name, sizeof i->name, "%s", kind->name);
    else
        snprintf(i->name, sizeof i->name, "%s-%u", kind->name, number);
    i->restart = net_timer_new(&s->loop, restart_due, i);
    i->flush = net_timer_new(&s->loop, flush_queue, i);
    arena_init(&i->ready_arena, 64 * 1024);
    arena_init(&i->status_arena, 256 * 1024);
    buf_init(&i->line, LINE_MAX_BYTES);
}

bool sup_instance_alive(const struct sup_instance *i)
{
    return i->state != SUP_DOWN;
}

struct sup_instance *sup_find(struct supervisor *s, enum ipc_role role, uint32_t number)
{
    for (size_t n = 0; n < s->instance_count; n++)
        if (s->instances[n].kind->role == role && s->instances[n].number == number)
            return &s->instances[n];
    return NULL;
}

/* --- control queue ---------------------------------------------------------------------------------------
 */

static void drop_packet(struct sup_packet *p)
{
    buf_done(&p->bytes);
    if (p->fd >= 0)
        close(p->fd);
}

static void flush_queue(void *arg)
{
    struct sup_instance *i = arg;
    size_t sent = 0;
    while (sent < i->queue_len) {
        struct sup_packet *p = &i->queue[sent];
        int rc = os_fdpass_send(i->control, buf_span(&p->bytes), &p->fd, p->fd >= 0 ? 1 : 0);
        if (rc == BRANT_ETRYLATER) {
            net_timer_set(i->flush, RETRY_MS);
            break;
        }
        /* Any other failure: the process is ending, and its end will be noticed. */
        drop_packet(p);
        sent++;
    }
    i->queue_len -= sent;
    memmove(i->queue, i->queue + sent, i->queue_len * sizeof *i->queue);
}

void sup_instance_send(struct sup_instance *i, const struct ipc_message *m, int fd)
{
    if (!sup_instance_alive(i))
        return;
    if (i->queue_len == SUP_QUEUE_MAX) {
        sup_instance_kill(i, "does not read its control channel");
        return;
    }
    struct sup_packet *p = &i->queue[i->queue_len];
    p->fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
    buf_init(&p->bytes, NET_CONTROL_PACKET_MAX);
    if (ipc_encode(&p->bytes, m) < 0 || (fd >= 0 && p->fd < 0)) {
        log_event(LOG_ERROR, "control-message-lost", LOG_STR("to", i->name),
                  LOG_STR("message", ipc_type_name(m->type)));
        drop_packet(p);
        return;
    }
    if (i->queue_len++ == 0)
        flush_queue(i);
}

static void control_readable(void *arg)
{
    struct sup_instance *i = arg;
    struct supervisor *s = i->sup;
    for (int n = 0; n < 16 && i->control >= 0; n++) {
        int rc = net_control_receive(i->control, i->kind->role, IPC_ROLE_SUPERVISOR, &s->control);
        if (rc == BRANT_ETRYLATER)
            return;
        if (rc == BRANT_ESTATE) { /* closed: its end follows */
            net_watch_pause(i->control_watch, true);
            return;
        }
        if (rc < 0) {
            sup_instance_kill(i, rc == BRANT_EREFUSED ? "forbidden control message"
                                                      : "malformed control message");
            net_watch_pause(i->control_watch, true);
            return;
        }
        sup_handle(i, &s->control.message);
    }
}

/* --- what it says ------------------------------------------------------------------------------------------
 */

static void log_readable(void *arg)
{
    struct sup_instance *i = arg;
    for (int n = 0; n < 16; n++) {
        size_t room;
        uint8_t *p = log_decoder_room(&i->decoder, &room);
        ssize_t len = read(i->log, p, room);
        if (len == 0)
            net_watch_pause(i->log_watch, true);
        if (len <= 0)
            return;
        log_decoder_fed(&i->decoder, (size_t)len);
        struct log_message m;
        while (log_decoder_next(&i->decoder, &m) == BRANT_OK)
            sup_log_line(i->sup, i, &m);
    }
}

/* One line of an assertion or a sanitizer; escaped by the log like any other value. */
static void log_diagnostics(struct sup_instance *i)
{
    if (i->line.len > 0)
        log_event(LOG_ERROR, "role-says", LOG_STR("name", i->name), LOG_I64("its_pid", i->child.pid),
                  LOG_SPAN("text", buf_span(&i->line)));
    buf_reset(&i->line);
}

static void diagnostics_readable(void *arg)
{
    struct sup_instance *i = arg;
    uint8_t bytes[4096];
    ssize_t len = read(i->diagnostics, bytes, sizeof bytes);
    if (len == 0)
        net_watch_pause(i->diagnostics_watch, true);
    for (ssize_t n = 0; n < len; n++)
        if (bytes[n] == '\n' || buf_append_byte(&i->line, bytes[n]) < 0)
            log_diagnostics(i);
}

/* --- death and restart
 * -------------------------------------------------------------------------------------- */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void release_process(struct sup_instance *i)
{
    net_watch_free(i->end_watch);
    net_watch_free(i->control_watch);
    net_watch_free(i->log_watch);
    net_watch_free(i->diagnostics_watch);
    i->end_watch = i->control_watch = i->log_watch = i->diagnostics_watch = NULL;
    close_fd(&i->child.pidfd);
    close_fd(&i->control);
    close_fd(&i->log);
    close_fd(&i->diagnostics);
    log_decoder_done(&i->decoder);
    for (size_t n = 0; n < i->queue_len; n++)
        drop_packet(&i->queue[n]);
    i->queue_len = 0;
    net_timer_stop(i->flush);
    i->state = SUP_DOWN;
}

void sup_instance_done(struct sup_instance *i)
{
    if (sup_instance_alive(i)) {
        kill(i->child.pid, SIGKILL);
        waitpid(i->child.pid, NULL, 0);
        release_process(i);
    }
    net_timer_free(i->restart);
    net_timer_free(i->flush);
    arena_done(&i->ready_arena);
    arena_done(&i->status_arena);
    buf_done(&i->line);
}

void sup_instance_kill(struct sup_instance *i, const char *reason)
{
    if (!sup_instance_alive(i))
        return;
    log_event(LOG_ERROR, "role-killed", LOG_STR("name", i->name), LOG_I64("its_pid", i->child.pid),
              LOG_STR("reason", reason));
    kill(i->child.pid, SIGKILL);
}

void sup_instance_drain(struct sup_instance *i, uint32_t deadline_ms)
{
    if (!sup_instance_alive(i))
        return;
    struct ipc_message m = {.type = IPC_TYPE_DRAIN};
    m.drain.deadline_ms = deadline_ms;
    sup_instance_send(i, &m, -1);
    i->state = SUP_STOPPING;
}

/* How long to wait before the next start: at once after the first death of a minute, then 100 ms, 200 ms …
 * up to a second; five when nothing helps. */
static uint64_t backoff_ms(struct sup_instance *i, uint64_t now_ms)
{
    memmove(i->deaths_ms + 1, i->deaths_ms, (SUP_DEATHS - 1) * sizeof *i->deaths_ms);
    i->deaths_ms[0] = now_ms;
    unsigned recent = 0;
    while (recent < SUP_DEATHS && i->deaths_ms[recent] && now_ms - i->deaths_ms[recent] < MINUTE_MS)
        recent++;
    if (recent <= 1)
        return 0;
    if (recent == SUP_DEATHS) {
        log_event(LOG_ERROR, "role-keeps-dying", LOG_STR("name", i->name),
                  LOG_U64("deaths_in_a_minute", recent), LOG_U64("next_start_ms", BACKOFF_LOUD_MS));
        return BACKOFF_LOUD_MS;
    }
    uint64_t wait = (uint64_t)BACKOFF_MS << (recent - 2 < 8 ? recent - 2 : 8);
    return wait < BACKOFF_MAX_MS ? wait : BACKOFF_MAX_MS;
}

static void log_end(const struct sup_instance *i, int status, bool expected)
{
    enum log_level level = expected ? LOG_INFO : LOG_ERROR;
    if (WIFSIGNALED(status))
        log_event(level, "role-ended", LOG_STR("name", i->name), LOG_I64("its_pid", i->child.pid),
                  LOG_I64("signal", WTERMSIG(status)),
                  LOG_STR("meaning", WTERMSIG(status) == SIGSYS ? "a system call its sandbox forbids"
                                                                : strsignal(WTERMSIG(status))));
    else
        log_event(level, "role-ended", LOG_STR("name", i->name), LOG_I64("its_pid", i->child.pid),
                  LOG_I64("status", WEXITSTATUS(status)));
}

/* A role that cannot begin when the system is started will not begin the next time either. */
static bool is_hopeless(const struct sup_instance *i, int status)
{
    return !i->sup->ready && !i->ever_ready && WIFEXITED(status) && WEXITSTATUS(status) != 0;
}

static void ended(void *arg)
{
    struct sup_instance *i = arg;
    struct supervisor *s = i->sup;
    int status;
    if (os_spawn_reap(&i->child, &status) < 0)
        return;
    control_readable(i); /* its last words */
    log_readable(i);
    diagnostics_readable(i);
    log_diagnostics(i);
    bool had_its_connection =
        role_takes_one_connection(i->kind->role, &s->conf) && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    bool expected = i->state == SUP_STOPPING || s->stopping || had_its_connection;
    log_end(i, status, expected);
    release_process(i);
    if (s->stopping) {
        sup_check_stopped(s);
        return;
    }
    if (is_hopeless(i, status)) {
        fprintf(stderr, "%s: %s could not start (status %d); the log says why\n", s->program, i->name,
                WEXITSTATUS(status));
        sup_stop(s, true);
        return;
    }
    if (i->kind->role == IPC_ROLE_SIGNER)
        sup_key_files_signer_ended(s);
    if (i->status_awaited) {
        i->status_awaited = false;
        sup_admin_status_arrived(s);
    }
    i->restarts += !had_its_connection;
    net_timer_set(i->restart, had_its_connection ? 0 : backoff_ms(i, os_clock_mono_ms()));
}

static void restart_due(void *arg)
{
    struct sup_instance *i = arg;
    if (!i->sup->stopping && !sup_instance_alive(i))
        sup_instance_start(i);
}

/* --- birth
 * -------------------------------------------------------------------------------------------------- */

struct ends { /* [0] ours, [1] the role's */
    int control[2], log[2], diagnostics[2];
};

static void close_ends(struct ends *e, int which)
{
    close_fd(&e->control[which]);
    close_fd(&e->log[which]);
    close_fd(&e->diagnostics[which]);
}

static int open_ends(struct ends *e)
{
    *e = (struct ends){{-1, -1}, {-1, -1}, {-1, -1}};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, e->control) < 0 ||
        pipe2(e->log, O_CLOEXEC | O_NONBLOCK) < 0 || pipe2(e->diagnostics, O_CLOEXEC | O_NONBLOCK) < 0) {
        close_ends(e, 0);
        close_ends(e, 1);
        return BRANT_EIO;
    }
    return BRANT_OK;
}

static int spawn(struct sup_instance *i, struct ends *e)
{
    char path[320], number[16];
    snprintf(path, sizeof path, "%s/%s", i->sup->bin_dir, i->kind->executable);
    snprintf(number, sizeof number, "%u", i->number);
    char executable[32];
    snprintf(executable, sizeof executable, "%s", i->kind->executable);
    char role[16];
    snprintf(role, sizeof role, "%s", ipc_role_name(i->kind->role));
    char *argv[] = {executable, i->name, number, role, NULL};
    int fds[] = {e->diagnostics[1], e->control[1], e->log[1]};
    _Static_assert(ROLE_FD_DIAGNOSTICS == 2 && ROLE_FD_CONTROL == 3 && ROLE_FD_LOG == 4, "order of fds");
    struct os_spawn spawn = {path, argv, fds, sizeof fds / sizeof *fds};
    return os_spawn(&spawn, &i->child);
}

void sup_instance_start(struct sup_instance *i)
{
    struct supervisor *s = i->sup;
    struct ends e;
    i->ever_started = true;
    int rc = open_ends(&e);
    if (rc == BRANT_OK)
        rc = spawn(i, &e);
    if (rc < 0) {
        log_event(LOG_ERROR, "role-start-failed", LOG_STR("name", i->name),
                  LOG_STR("error", strerror(errno)));
        if (!s->ready) {
            fprintf(stderr, "%s: cannot start %s/%s: %s\n", s->program, s->bin_dir, i->kind->executable,
                    strerror(errno));
            s->failed = true;
        }
        close_ends(&e, 0);
        close_ends(&e, 1);
        net_timer_set(i->restart, BACKOFF_MAX_MS);
        return;
    }
    close_ends(&e, 1);
    i->control = e.control[0];
    i->log = e.log[0];
    i->diagnostics = e.diagnostics[0];
    i->state = SUP_STARTING;
    i->started_at_s = os_clock_wall_ms() / 1000;
    i->rung_count = i->pair_count = 0;
    log_decoder_init(&i->decoder);
    i->end_watch = net_watch_new(&s->loop, i->child.pidfd, ended, i);
    i->control_watch = net_watch_new(&s->loop, i->control, control_readable, i);
    i->log_watch = net_watch_new(&s->loop, i->log, log_readable, i);
    i->diagnostics_watch = net_watch_new(&s->loop, i->diagnostics, diagnostics_readable, i);
    log_event(LOG_INFO, "role-started", LOG_STR("name", i->name), LOG_I64("its_pid", i->child.pid),
              LOG_U64("restarts", i->restarts));
    sup_give_orders(i);
}
