/* Directories and names on disk that must be right before anything starts. */
#include "roles/supervisor/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

/* Where `make install` puts the roles; brant's own directory is looked at first. */
#ifndef BRANT_LIBEXEC_DIR
#define BRANT_LIBEXEC_DIR "/usr/local/libexec/brant"
#endif

static uid_t adopter; /* nftw has no context */

static int adopt_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)type;
    (void)where;
    if (st->st_uid == adopter)
        return 0;
    return lchown(path, adopter, (gid_t)adopter);
}

/* A directory of mode 0700 that belongs to owner. adopt: what is in it is given to that owner. */
static int own_dir(const char *path, const char *whose, uid_t owner, bool adopt)
{
    struct stat st;
    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        fprintf(stderr, "brant: cannot make %s: %s\n", path, strerror(errno));
        return BRANT_EIO;
    }
    if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
        fprintf(stderr, "brant: %s is not a directory\n", path);
        return BRANT_EIO;
    }
    if (st.st_uid == owner)
        return BRANT_OK;
    bool empty = rmdir(path) == 0 && mkdir(path, 0700) == 0; /* only an empty one can be removed */
    adopter = owner;
    if (geteuid() == 0 && (adopt || empty) && nftw(path, adopt_one, 16, FTW_PHYS) == 0)
        return BRANT_OK;
    fprintf(stderr, "brant: %s belongs to uid %u, but the %s runs as uid %u: chown -R %u:%u %s\n", path,
            (unsigned)st.st_uid, whose, (unsigned)owner, (unsigned)owner, (unsigned)owner, path);
    return BRANT_EREFUSED;
}

static uid_t role_uid(const struct conf *conf, enum ipc_role role)
{
    return geteuid() == 0 ? (uid_t)(conf->uid_base + role) : geteuid();
}

int sup_prepare_dirs(const struct conf *conf, bool adopt)
{
    char keys[CONF_KEYS_DIR_MAX];
    conf_keys_dir(conf, keys);
    if (mkdir(conf->run_dir, 0755) < 0 && errno != EEXIST) {
        fprintf(stderr, "brant: cannot make %s: %s\n", conf->run_dir, strerror(errno));
        return BRANT_EIO;
    }
    int rc = own_dir(conf->data_dir, "store", role_uid(conf, IPC_ROLE_STORE), adopt);
    return rc < 0 ? rc : own_dir(keys, "signer", role_uid(conf, IPC_ROLE_SIGNER), adopt);
}

int sup_socket_name(const char *dir, const char *name, int *ret_dir_fd, char *ret, size_t size)
{
    int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? BRANT_ENOTFOUND : errno == EACCES ? BRANT_EREFUSED : BRANT_EIO;
    snprintf(ret, size, "/proc/self/fd/%d/%s", fd, name);
    *ret_dir_fd = fd;
    return BRANT_OK;
}

static bool holds_roles(const char *dir)
{
    char path[320];
    snprintf(path, sizeof path, "%s/%s", dir, sup_kinds[0].executable);
    return access(path, X_OK) == 0;
}

int sup_find_roles(char *ret, size_t size)
{
    char self[256];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len > 0) {
        self[len] = '\0';
        char *slash = strrchr(self, '/');
        if (slash)
            *slash = '\0';
        if (slash && holds_roles(self)) {
            snprintf(ret, size, "%s", self);
            return BRANT_OK;
        }
        /* A tree that was installed with DESTDIR, or moved as a whole: …/bin beside …/libexec. */
        char beside[sizeof self + 24];
        slash = slash ? strrchr(self, '/') : NULL;
        if (slash) {
            snprintf(beside, sizeof beside, "%.*s/libexec/brant", (int)(slash - self), self);
            if (strlen(beside) < size && holds_roles(beside)) {
                snprintf(ret, size, "%s", beside);
                return BRANT_OK;
            }
        }
    }
    if (!holds_roles(BRANT_LIBEXEC_DIR))
        return BRANT_ENOTFOUND;
    snprintf(ret, size, "%s", BRANT_LIBEXEC_DIR);
    return BRANT_OK;
}
