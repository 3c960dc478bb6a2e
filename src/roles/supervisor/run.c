/* The system as a whole: start, readiness, reload, stop. */
#include "roles/supervisor/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "log/log.h"
#include "os/clock.h"
#include "os/limits.h"
#include "os/privileges.h"
#include "os/random.h"
#include "os/signals.h"

enum {
    STOP_EDGES_MS = 5000,  /* what sessions get when the whole system stops */
    STOP_STORE_MS = 20000, /* and the store, whose every acknowledged byte is safe already */
    STOP_GRACE_MS = 1000,  /* beyond their deadline, before SIGKILL */
    OPEN_FILES = 65536
};

/* clang-format off */
#define BIT(service) IPC_SERVICE_BIT((unsigned)IPC_SERVICE_##service)
const struct sup_kind sup_kinds[] = {
    /* executable     name               role                  listeners */
    { "brant-store",  "store",           IPC_ROLE_STORE,       0 },
    { "brant-signer", "signer",          IPC_ROLE_SIGNER,      0 },
    { "brant-smtp",   "smtp-mx",         IPC_ROLE_SMTP,        BIT(SMTP) | BIT(LMTP) | BIT(LMTP_LOCAL) },
    { "brant-smtp",   "smtp-submission", IPC_ROLE_SUBMISSION,  BIT(SUBMISSION) | BIT(SUBMISSIONS) | BIT(SUBMISSION_LOCAL) },
    { "brant-pop3",   "pop3",            IPC_ROLE_POP3,        BIT(POP3) | BIT(POP3S) },
    { "brant-imap",   "imap",            IPC_ROLE_IMAP,        BIT(IMAP) | BIT(IMAPS) },
};
#undef BIT
/* clang-format on */
const size_t sup_kind_count = sizeof sup_kinds / sizeof *sup_kinds;

static uint64_t instances_wanted(const struct conf *conf, const struct sup_kind *kind)
{
    if (kind->services != 0 && !sup_listens(conf, kind->services))
        return 0;
    switch (kind->role) {
    case IPC_ROLE_SMTP:
        return conf->instances_mx;
    case IPC_ROLE_SUBMISSION:
        return conf->instances_submission;
    case IPC_ROLE_POP3:
        return conf->instances_pop3;
    case IPC_ROLE_IMAP:
        return conf->instances_imap;
    default:
        return 1;
    }
}

/* --- log
 * ---------------------------------------------------------------------------------------------------- */

void sup_log_line(struct supervisor *s, const struct sup_instance *i, const struct log_message *m)
{
    struct log_stamp stamp = {.time_ms = os_clock_wall_ms(),
                              .role = i ? i->name : "supervisor",
                              .pid = i ? i->child.pid : getpid()};
    log_out_write(&s->log, &stamp, m);
}

static void own_event(void *context, struct span frame)
{
    struct log_message m;
    if (log_frame_decode(frame, &m) == BRANT_OK)
        sup_log_line(context, NULL, &m);
}

static int open_log(struct supervisor *s)
{
    const char *path = strcmp(s->conf.log_file, "stderr") == 0 ? NULL : s->conf.log_file;
    enum log_format format = s->conf.log_format == CONF_LOG_JSON ? LOG_FORMAT_JSON : LOG_FORMAT_KV;
    if (log_out_open(&s->log, format, path) < 0) {
        fprintf(stderr, "%s: cannot open the log %s: %s\n", s->program, s->conf.log_file, strerror(errno));
        return BRANT_EIO;
    }
    log_to_function(own_event, s, (enum log_level)s->conf.log_level);
    return BRANT_OK;
}

/* --- configuration
 * ------------------------------------------------------------------------------------------ */

static int read_text(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return BRANT_EIO;
    for (;;) {
        uint8_t *p = buf_reserve(out, 4096);
        ssize_t n = p ? read(fd, p, 4096) : -1;
        if (n <= 0) {
            int err = p ? errno : EFBIG;
            close(fd);
            errno = err;
            return n == 0 ? BRANT_OK : BRANT_EIO;
        }
        buf_commit(out, (size_t)n);
    }
}

int sup_read_config(const char *path, struct conf *ret)
{
    static struct conf_errors errors;
    _cleanup_buf_ struct buf text;
    buf_init(&text, CONF_TEXT_MAX + 4096);
    if (read_text(path, &text) < 0) {
        fprintf(stderr, "brant: cannot read %s: %s\n", path, strerror(errno));
        log_event(LOG_ERROR, "config-unreadable", LOG_STR("file", path), LOG_STR("error", strerror(errno)));
        return BRANT_EIO;
    }
    int rc = conf_parse(buf_span(&text), path, ret, &errors);
    for (size_t n = 0; n < errors.count; n++) {
        fprintf(stderr, "%s\n", errors.list[n].text);
        log_event(LOG_ERROR, "config-error", LOG_STR("text", errors.list[n].text));
    }
    return rc;
}

static int dump_config(struct supervisor *s)
{
    buf_reset(&s->conf_text);
    return conf_dump(&s->conf, &s->conf_text);
}

/* Every group that has a listener has its instances. A group that lost its last one keeps them: idle. */
static void start_missing(struct supervisor *s)
{
    for (size_t k = 0; k < sup_kind_count && !s->failed; k++) {
        uint64_t wanted = instances_wanted(&s->conf, &sup_kinds[k]);
        for (uint32_t n = 1; n <= wanted && s->instance_count < SUP_INSTANCES_MAX; n++)
            if (!sup_find(s, sup_kinds[k].role, n))
                sup_instance_init(s, &sup_kinds[k], n);
    }
    for (size_t n = 0; n < s->instance_count && !s->failed; n++)
        if (!sup_instance_alive(&s->instances[n]) && !s->instances[n].ever_started)
            sup_instance_start(&s->instances[n]);
}

static void reload_refused(const struct supervisor *s)
{
    log_event(LOG_ERROR, "reload-refused", LOG_U64("generation_kept", s->generation));
}

/* Everything a new configuration needs, before anything is changed. */
static int open_next(struct supervisor *s, struct conf *next, struct sup_key_files *keys,
                     size_t *ret_first_new)
{
    _cleanup_buf_ struct buf restart;
    buf_init(&restart, 4096);
    if (conf_restart_keys(&s->conf, next, &restart) == BRANT_OK && restart.len > 0)
        log_event(LOG_WARNING, "reload-needs-restart", LOG_SPAN("keys", buf_span(&restart)));
    int rc = conf_keep_restart_keys(&s->conf, next);
    if (rc == BRANT_OK)
        rc = sup_key_files_open(s, next, s->generation + 1, keys);
    if (rc == BRANT_OK && (rc = sup_listen_open(s, next, ret_first_new)) < 0)
        sup_key_files_close(keys);
    return rc;
}

static void take_next(struct supervisor *s, const struct conf *next, const struct sup_key_files *keys,
                      size_t first_new)
{
    conf_done(&s->conf);
    s->conf = *next;
    s->generation++;
    dump_config(s);
    log_to_function(own_event, s, (enum log_level)s->conf.log_level);
    sup_send_config(s);
    sup_offer_key_files(s, keys);
    for (size_t l = first_new; l < s->listener_count; l++)
        sup_send_listener_to_all(s, &s->listeners[l]);
    sup_listen_prune(s, &s->conf);
    start_missing(s);
    log_event(LOG_INFO, "reloaded", LOG_U64("generation", s->generation));
}

static void reload(struct supervisor *s)
{
    struct conf next;
    struct sup_key_files keys;
    size_t first_new;
    sup_notify("RELOADING=1");
    if (s->log.path)
        log_out_reopen(&s->log);
    if (sup_read_config(s->config_path, &next) < 0)
        reload_refused(s);
    else if (open_next(s, &next, &keys, &first_new) < 0) {
        reload_refused(s);
        conf_done(&next);
    } else
        take_next(s, &next, &keys, first_new);
    sup_notify("READY=1");
}

/* --- readiness and end
 * -------------------------------------------------------------------------------------- */

void sup_check_ready(struct supervisor *s)
{
    if (s->ready || s->stopping)
        return;
    for (size_t n = 0; n < s->instance_count; n++)
        if (s->instances[n].state != SUP_READY)
            return;
    s->ready = true;
    log_event(LOG_INFO, "ready", LOG_U64("processes", s->instance_count));
    sup_notify("READY=1\nSTATUS=all roles are running");
    if (s->on_ready)
        s->on_ready(s);
}

/* Edges first; the store and the signer when no edge is left that could ask them anything. */
void sup_check_stopped(struct supervisor *s)
{
    bool edges = false, others = false, draining = false;
    for (size_t n = 0; n < s->instance_count; n++) {
        const struct sup_instance *i = &s->instances[n];
        if (!sup_instance_alive(i))
            continue;
        edges = edges || i->kind->services != 0;
        others = others || i->kind->services == 0;
        draining = draining || (i->kind->services == 0 && i->state == SUP_STOPPING);
    }
    if (!edges && !others)
        net_loop_stop(&s->loop);
    else if (!edges && !draining) {
        for (size_t n = 0; n < s->instance_count; n++)
            sup_instance_drain(&s->instances[n], STOP_STORE_MS);
        net_timer_set(s->stop_timer, STOP_STORE_MS + STOP_GRACE_MS);
    }
}

/* The deadline of the present phase: whoever should be gone and is not gets SIGKILL. */
static void stop_deadline(void *arg)
{
    struct supervisor *s = arg;
    for (size_t n = 0; n < s->instance_count; n++)
        if (s->instances[n].state == SUP_STOPPING)
            sup_instance_kill(&s->instances[n], "did not stop in time");
}

void sup_stop(struct supervisor *s, bool failed)
{
    if (s->stopping)
        return;
    s->stopping = true;
    s->failed = s->failed || failed;
    log_event(LOG_INFO, "stopping");
    sup_notify("STOPPING=1");
    sup_listen_close_all(s);
    uint64_t drain_ms = s->conf.drain_time_ms < STOP_EDGES_MS ? s->conf.drain_time_ms : STOP_EDGES_MS;
    for (size_t n = 0; n < s->instance_count; n++)
        if (s->instances[n].kind->services != 0)
            sup_instance_drain(&s->instances[n], (uint32_t)drain_ms);
    net_timer_set(s->stop_timer, drain_ms + STOP_GRACE_MS);
    sup_check_stopped(s);
}

static void signals_readable(void *arg)
{
    struct supervisor *s = arg;
    for (int sig; (sig = os_signals_next(s->signal_fd)) != 0;) {
        switch (sig) {
        case SIGHUP:
            if (!s->stopping)
                reload(s);
            break;
        case SIGTERM:
        case SIGINT:
            if (s->stopping) /* asked twice: now */
                for (size_t n = 0; n < s->instance_count; n++)
                    sup_instance_kill(&s->instances[n], "the operator is impatient");
            sup_stop(s, false);
            break;
        default:
            break; /* SIGCHLD: every child has a descriptor that tells more */
        }
    }
}

/* --- the run
 * -------------------------------------------------------------------------------------------------- */

struct supervisor *sup_new(const char *program)
{
    struct supervisor *s = mem_zalloc(sizeof *s);
    s->program = program;
    s->signal_fd = s->admin_fd = -1;
    s->log.fd = -1;
    for (size_t n = 0; n < SUP_CLIENTS_MAX; n++)
        s->clients[n] = (struct sup_client){.sup = s, .fd = -1};
    s->instances = mem_array(SUP_INSTANCES_MAX, sizeof *s->instances);
    buf_init(&s->conf_text, IPC_CONFIG_MAX);
    net_control_init(&s->control);
    conf_init(&s->conf);
    return s;
}

void sup_free(struct supervisor *s)
{
    for (size_t n = 0; n < s->instance_count; n++)
        sup_instance_done(&s->instances[n]);
    sup_admin_close(s);
    sup_listen_close_all(s);
    sup_key_files_close(&s->keys);
    sup_key_files_close(&s->next_keys);
    net_watch_free(s->signal_watch);
    net_timer_free(s->stop_timer);
    if (s->signal_fd >= 0)
        close(s->signal_fd);
    net_loop_done(&s->loop);
    net_control_done(&s->control);
    log_to_pipe(-1, LOG_ERROR);
    log_out_close(&s->log);
    mem_wipe(s->token_key, sizeof s->token_key);
    buf_done(&s->conf_text);
    conf_done(&s->conf);
    free(s->instances);
    free(s);
}

static int prepare(struct supervisor *s)
{
    if (sup_find_roles(s->bin_dir, sizeof s->bin_dir) < 0) {
        fprintf(stderr, "%s: the roles (%s, …) are not beside this program\n", s->program,
                sup_kinds[0].executable);
        return BRANT_ENOTFOUND;
    }
    if (open_log(s) < 0 || net_loop_init(&s->loop) < 0 || os_signals_supervisor(&s->signal_fd) < 0)
        return BRANT_EIO;
    s->signal_watch = net_watch_new(&s->loop, s->signal_fd, signals_readable, s);
    s->stop_timer = net_timer_new(&s->loop, stop_deadline, s);
    s->generation = 1;
    os_limits_raise_files(OPEN_FILES);
    os_random_fill(s->token_key, sizeof s->token_key);
    if (dump_config(s) < 0) {
        fprintf(stderr, "%s: the configuration is too long\n", s->program);
        return BRANT_ELIMIT;
    }
    int rc = sup_key_files_open(s, &s->conf, s->generation, &s->keys);
    if (rc == BRANT_OK)
        rc = sup_admin_open(s);
    size_t first_new;
    if (rc == BRANT_OK)
        rc = sup_listen_open(s, &s->conf, &first_new);
    if (rc == BRANT_OK && geteuid() == 0 && os_privileges_bound() < 0)
        log_event(LOG_WARNING, "capabilities-not-bounded", LOG_STR("error", strerror(errno)));
    return rc;
}

int sup_run(struct supervisor *s)
{
    if (prepare(s) < 0)
        return 1;
    start_missing(s);
    if (s->failed)
        sup_stop(s, true);
    net_loop_run(&s->loop);
    log_event(LOG_INFO, "stopped", LOG_U64("failed", s->failed));
    return s->failed ? 1 : 0;
}
