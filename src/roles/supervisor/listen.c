/* Listening sockets: bound by the supervisor, inherited by every instance of a group, kept open across their
 * deaths. */
#include "roles/supervisor/internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "log/log.h"
#include "net/addr.h"

static const struct {
    int service;
    size_t offset; /* of the struct conf_addresses */
} sources[] = {
    {IPC_SERVICE_SMTP, offsetof(struct conf, listen_smtp)},
    {IPC_SERVICE_POP3, offsetof(struct conf, listen_pop3)},
};

static const struct conf_addresses *addresses(const struct conf *conf, size_t source)
{
    const char *base = (const char *)conf;
    return (const struct conf_addresses *)(const void *)(base + sources[source].offset);
}

static bool same(const struct ip_addr *a, const struct ip_addr *b)
{
    return ip_eq(a, b) && a->port == b->port;
}

static bool is_open(const struct supervisor *s, int service, const struct ip_addr *address)
{
    for (size_t i = 0; i < s->listener_count; i++)
        if (s->listeners[i].service == service && same(&s->listeners[i].address, address))
            return true;
    return false;
}

static bool is_wanted(const struct conf *conf, const struct sup_listener *l)
{
    for (size_t n = 0; n < sizeof sources / sizeof *sources; n++) {
        const struct conf_addresses *list = addresses(conf, n);
        for (size_t i = 0; sources[n].service == l->service && i < list->count; i++)
            if (same(&list->list[i].address, &l->address))
                return true;
    }
    return false;
}

static int open_socket(const struct ip_addr *address, int backlog, int *ret)
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

int sup_listen_open(struct supervisor *s, const struct conf *conf, size_t *ret_first_new)
{
    size_t first = s->listener_count;
    for (size_t n = 0; n < sizeof sources / sizeof *sources; n++) {
        const struct conf_addresses *list = addresses(conf, n);
        for (size_t i = 0; i < list->count; i++) {
            if (is_open(s, sources[n].service, &list->list[i].address))
                continue;
            if (open_one(s, sources[n].service, &list->list[i].address, (int)conf->listen_backlog) < 0) {
                while (s->listener_count > first)
                    close(s->listeners[--s->listener_count].fd);
                return BRANT_EIO;
            }
        }
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
        if (s->instances[i].kind->service == l->service)
            sup_instance_send(&s->instances[i], &m, -1);
    log_event(LOG_INFO, "listening-ended", LOG_ADDR("address", &l->address));
    close(l->fd);
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
        close(s->listeners[--s->listener_count].fd);
}
