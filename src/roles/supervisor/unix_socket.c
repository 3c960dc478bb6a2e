/* Unix sockets of the supervisor: the control socket, and those of services for programs of this machine. */
#include "roles/supervisor/internal.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "log/log.h"

/* "DIR" and "NAME" of a path. */
static int name_of(const char *path, struct sockaddr_un *at, int *ret_dir)
{
    char dir[256];
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;
    if (!slash || len >= sizeof dir || slash[1] == '\0')
        return BRANT_ESYNTAX;
    memcpy(dir, len > 0 ? path : "/", len > 0 ? len : 1);
    dir[len > 0 ? len : 1] = '\0';
    return sup_socket_name(dir, slash + 1, ret_dir, at->sun_path, sizeof at->sun_path);
}

/* Only a refusal says that nobody listens: a socket may have a full backlog, or be of another kind. */
static bool is_left_behind(const struct sockaddr_un *at, int type)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool refused =
        fd >= 0 && connect(fd, (const struct sockaddr *)at, sizeof *at) < 0 && errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return refused;
}

/* Whoever may connect is looked at again for every connection (SO_PEERCRED). */
static void set_access(const struct conf *conf, const char *name, bool everybody)
{
    const struct group *g = getgrnam(conf->control_group);
    bool shared = g && geteuid() == 0 && chown(name, 0, g->gr_gid) == 0;
    if (chmod(name, everybody ? 0666 : shared ? 0660 : 0600) < 0)
        log_event(LOG_WARNING, "socket-mode", LOG_STR("socket", name), LOG_STR("error", strerror(errno)));
}

static int listen_at(const struct sockaddr_un *at, int type, int backlog, int *ret)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t old = umask(077);
    bool ok = fd >= 0 && bind(fd, (const struct sockaddr *)at, sizeof *at) == 0 && listen(fd, backlog) == 0;
    int err = errno;
    umask(old);
    if (!ok && fd >= 0)
        close(fd);
    errno = err;
    if (!ok)
        return BRANT_EIO;
    *ret = fd;
    return BRANT_OK;
}

int sup_unix_listen(const struct supervisor *s, const struct sup_unix *u, int *ret_fd)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct stat st;
    int dir = -1, rc = BRANT_EIO;
    if (name_of(u->path, &at, &dir) < 0) {
        fprintf(stderr, "%s: cannot open the directory of %s: %s\n", s->program, u->path, strerror(errno));
        return BRANT_EIO;
    }
    bool is_there = lstat(at.sun_path, &st) == 0;
    if (is_there && !S_ISSOCK(st.st_mode)) {
        fprintf(stderr, "%s: %s is there and is no socket; remove it\n", s->program, u->path);
        rc = BRANT_EEXISTS;
    } else if (is_there && !is_left_behind(&at, u->type)) {
        fprintf(stderr, "%s: already running: %s is in use\n", s->program, u->path);
        rc = BRANT_EEXISTS;
    } else {
        if (is_there)
            unlink(at.sun_path);
        rc = listen_at(&at, u->type, u->backlog, ret_fd);
        if (rc < 0)
            fprintf(stderr, "%s: cannot listen on %s: %s\n", s->program, u->path, strerror(errno));
        else
            set_access(u->conf, at.sun_path, u->everybody);
    }
    close(dir);
    return rc;
}
