/* Listening sockets: bound by the supervisor, inherited by every instance of a group, kept open across their
 * deaths. */
#include "roles/supervisor/internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "log/log.h"
#include "net/addr.h"

static const struct source {
    int service;
    size_t offset;     /* of the struct conf_addresses, or of the path */
    bool local_socket; /* a path */
    bool everybody;
} sources[] = {
    {IPC_SERVICE_SMTP, offsetof(struct conf, listen_smtp), false, false},
    {IPC_SERVICE_POP3, offsetof(struct conf, listen_pop3), false, false},
    {IPC_SERVICE_POP3S, offsetof(struct conf, listen_pop3s), false, false},
    {IPC_SERVICE_IMAP, offsetof(struct conf, listen_imap), false, false},
    {IPC_SERVICE_IMAPS, offsetof(struct conf, listen_imaps), false, false},
    {IPC_SERVICE_SUBMISSION, offsetof(struct conf, listen_submission), false, false},
    {IPC_SERVICE_SUBMISSIONS, offsetof(struct conf, listen_submissions), false, false},
    {IPC_SERVICE_LMTP, offsetof(struct conf, listen_lmtp), false, false},
    {IPC_SERVICE_SUBMISSION_LOCAL, offsetof(struct conf, submission_socket), true, true},
    {IPC_SERVICE_LMTP_LOCAL, offsetof(struct conf, lmtp_socket), true, false},
};
enum { SOURCES = sizeof sources / sizeof *sources, IN_USE_TRIES = 10, IN_USE_WAIT_MS = 20 };

static const void *field(const struct conf *conf, const struct source *source)
{
    return (const char *)conf + source->offset;
}

static const char *path_of(const struct conf *conf, const struct source *source)
{
    return *(const char *const *)field(conf, source);
}

static bool same(const struct ip_addr *a, const struct ip_addr *b)
{
    return ip_eq(a, b) && a->port == b->port;
}

static bool is_open(const struct supervisor *s, int service, const struct ip_addr *address)
{
    for (size_t i = 0; i < s->listener_count; i++)
        if (s->listeners[i].service == service &&
            (s->listeners[i].path[0] || same(&s->listeners[i].address, address)))
            return true; /* a path changes with a restart only */
    return false;
}

static bool is_wanted(const struct conf *conf, const struct sup_listener *l)
{
    for (size_t n = 0; n < SOURCES; n++) {
        if (sources[n].service != l->service)
            continue;
        if (sources[n].local_socket)
            return true;
        const struct conf_addresses *list = field(conf, &sources[n]);
        for (size_t i = 0; i < list->count; i++)
            if (same(&list->list[i].address, &l->address))
                return true;
    }
    return false;
}

bool sup_listens(const struct conf *conf, unsigned services)
{
    for (size_t n = 0; n < SOURCES; n++) {
        if (!(services & IPC_SERVICE_BIT((unsigned)sources[n].service)))
            continue;
        const struct conf_addresses *list = field(conf, &sources[n]);
        if (sources[n].local_socket ? path_of(conf, &sources[n])[0] != '\0' : list->count > 0)
            return true;
    }
    return false;
}

static int try_socket(const struct ip_addr *address, int backlog, int *ret)
{
    struct sockaddr_storage ss;
    socklen_t len = net_addr_to_sockaddr(address, &ss);
    int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return BRANT_EIO;
    int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (ss.ss_family == AF_INET6) /* [::] and 0.0.0.0 are two listeners */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&ss, len) < 0 || listen(fd, backlog) < 0) {
        int err = errno;
        close(fd);
        errno = err;
        return BRANT_EIO;
    }
    *ret = fd;
    return BRANT_OK;
}

/* An address that the reload before this one took away is still held for a moment by the roles that listened
 * on it. Whoever else has it is waited for in vain, but not long. */
static int open_socket(const struct ip_addr *address, int backlog, int *ret)
{
    int rc = try_socket(address, backlog, ret);

    for (int tries = 0; rc != BRANT_OK && errno == EADDRINUSE && tries < IN_USE_TRIES; tries++) {
        poll(NULL, 0, IN_USE_WAIT_MS);
        rc = try_socket(address, backlog, ret);
    }
    return rc;
}

static int open_one(struct supervisor *s, int service, const struct ip_addr *address, int backlog)
{
    int fd = -1;
    if (s->listener_count == SUP_LISTENERS_MAX || open_socket(address, backlog, &fd) < 0) {
        char text[IP_TEXT_MAX] = "?";
        ip_format(address, text);
        log_event(LOG_ERROR, "listen-failed", LOG_ADDR("address", address),
                  LOG_STR("error", strerror(errno)));
        fprintf(stderr, "%s: cannot listen on %s port %u: %s\n", s->program, text, address->port,
                strerror(errno));
        return BRANT_EIO;
    }
    s->listeners[s->listener_count++] =
        (struct sup_listener){.id = ++s->last_listener_id, .service = service, .address = *address, .fd = fd};
    log_event(LOG_INFO, "listening", LOG_ADDR("address", address));
    return BRANT_OK;
}

static int open_path(struct supervisor *s, const struct source *source, const struct conf *conf)
{
    const struct sup_unix u = {.path = path_of(conf, source),
                               .type = SOCK_STREAM,
                               .backlog = (int)conf->listen_backlog,
                               .everybody = source->everybody,
                               .conf = conf};
    int fd = -1;
    if (s->listener_count == SUP_LISTENERS_MAX || sup_unix_listen(s, &u, &fd) < 0) {
        log_event(LOG_ERROR, "listen-failed", LOG_STR("socket", u.path));
        return BRANT_EIO;
    }
    struct sup_listener *l = &s->listeners[s->listener_count++];
    *l = (struct sup_listener){.id = ++s->last_listener_id, .service = source->service, .fd = fd};
    snprintf(l->path, sizeof l->path, "%s", u.path);
    log_event(LOG_INFO, "listening", LOG_STR("socket", l->path));
    return BRANT_OK;
}

static int open_source(struct supervisor *s, const struct source *source, const struct conf *conf)
{
    if (source->local_socket) {
        bool wanted = path_of(conf, source)[0] != '\0' && !is_open(s, source->service, NULL);
        return wanted ? open_path(s, source, conf) : BRANT_OK;
    }
    const struct conf_addresses *list = field(conf, source);
    for (size_t i = 0; i < list->count; i++) {
        const struct ip_addr *address = &list->list[i].address;
        if (!is_open(s, source->service, address) &&
            open_one(s, source->service, address, (int)conf->listen_backlog) < 0)
            return BRANT_EIO;
    }
    return BRANT_OK;
}

static void close_listener(struct sup_listener *l)
{
    close(l->fd);
    if (l->path[0])
        unlink(l->path);
}

int sup_listen_open(struct supervisor *s, const struct conf *conf, size_t *ret_first_new)
{
    size_t first = s->listener_count;
    for (size_t n = 0; n < SOURCES; n++)
        if (open_source(s, &sources[n], conf) < 0) {
            while (s->listener_count > first)
                close_listener(&s->listeners[--s->listener_count]);
            return BRANT_EIO;
        }
    *ret_first_new = first;
    return BRANT_OK;
}

static void close_one(struct supervisor *s, size_t at)
{
    struct sup_listener *l = &s->listeners[at];
    struct ipc_message m = {.type = IPC_TYPE_LISTENER_CLOSE};
    m.listener_close.id = l->id;
    for (size_t i = 0; i < s->instance_count; i++)
        if (sup_serves(&s->instances[i], l))
            sup_instance_send(&s->instances[i], &m, -1);
    log_event(LOG_INFO, "listening-ended", LOG_ADDR("address", &l->address));
    close_listener(l);
    s->listeners[at] = s->listeners[--s->listener_count];
}

void sup_listen_prune(struct supervisor *s, const struct conf *conf)
{
    for (size_t i = s->listener_count; i-- > 0;)
        if (!is_wanted(conf, &s->listeners[i]))
            close_one(s, i);
}

void sup_listen_close_all(struct supervisor *s)
{
    while (s->listener_count > 0)
        close_listener(&s->listeners[--s->listener_count]);
}
