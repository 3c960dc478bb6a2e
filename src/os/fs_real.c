/* The kernel's files. System calls used, for the sandbox: openat2, close, fstat, pread64, pwritev, fdatasync,
 * fsync, ftruncate, fallocate, mkdirat, renameat, unlinkat, getdents64, fstatfs, fcntl(F_OFD_SETLK),
 * getrandom. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "os/fs_ops.h"

#define IOV_COUNT 64u
#define ZEROS     65536u

struct real_file {
    struct os_file base;
    int fd;
};

struct real_fs {
    struct os_fs base;
    int root_fd;
    int lock_fd; /* -1: no lock held */
};

static const struct os_file_ops file_ops;
static const struct os_fs_ops fs_ops;

static int open_beneath(int root_fd, const char *path, int flags)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
        .mode = flags & O_CREAT ? 0600 : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    long fd;

    do
        fd = syscall(SYS_openat2, root_fd, path, &how, sizeof how);
    while (fd < 0 && (errno == EINTR || errno == EAGAIN));
    return (int)fd;
}

/* The directory that holds path's last name; the name itself in *ret_name. -1 with errno. */
static int open_parent(int root_fd, const char *path, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    char dir[PATH_MAX];
    int fd;

    if (!slash) {
        fd = open_beneath(root_fd, ".", O_PATH | O_DIRECTORY);
    } else {
        if ((size_t)(slash - path) >= sizeof dir) {
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(dir, path, (size_t)(slash - path));
        dir[slash - path] = '\0';
        fd = open_beneath(root_fd, dir, O_PATH | O_DIRECTORY);
    }
    if (fd >= 0)
        *ret_name = slash ? slash + 1 : path;
    return fd;
}

static int real_fd(struct os_file *file)
{
    return ((struct real_file *)file)->fd;
}

static void file_close(struct os_file *file)
{
    (void)close(real_fd(file));
    free(file);
}

static int file_read(struct os_file *file, uint64_t offset, void *data, size_t len)
{
    uint8_t *to = data;

    while (len) {
        ssize_t n = pread(real_fd(file), to, len, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return os_fs_fail(errno);
        if (n == 0)
            return BRANT_ECORRUPT;
        to += n;
        offset += (uint64_t)n;
        len -= (size_t)n;
    }
    return BRANT_OK;
}

/* The pieces from byte `skip` on, as far as IOV_COUNT reaches. */
static int fill_iov(const struct span *pieces, size_t count, size_t skip, struct iovec *iov)
{
    int n = 0;

    for (size_t i = 0; i < count && n < (int)IOV_COUNT; i++) {
        if (skip >= pieces[i].len) {
            skip -= pieces[i].len;
            continue;
        }
        iov[n].iov_base = (void *)(uintptr_t)(pieces[i].p + skip);
        iov[n].iov_len = pieces[i].len - skip;
        skip = 0;
        n++;
    }
    return n;
}

static int file_write(struct os_file *file, uint64_t offset, const struct span *pieces, size_t count)
{
    struct iovec iov[IOV_COUNT];
    size_t done = 0;

    for (;;) {
        int n = fill_iov(pieces, count, done, iov);
        ssize_t written;

        if (!n)
            return BRANT_OK;
        written = pwritev(real_fd(file), iov, n, (off_t)(offset + done));
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return os_fs_fail(errno);
        if (written == 0)
            return os_fs_fail(EIO);
        done += (size_t)written;
    }
}

static int file_sync(struct os_file *file)
{
    return fdatasync(real_fd(file)) ? os_fs_fail(errno) : BRANT_OK;
}

static int file_size(struct os_file *file, uint64_t *ret)
{
    struct stat st;

    if (fstat(real_fd(file), &st))
        return os_fs_fail(errno);
    *ret = (uint64_t)st.st_size;
    return BRANT_OK;
}

static int file_truncate(struct os_file *file, uint64_t size)
{
    int rc;

    do
        rc = ftruncate(real_fd(file), (off_t)size);
    while (rc && errno == EINTR);
    return rc ? os_fs_fail(errno) : BRANT_OK;
}

/* For file systems without fallocate: the blocks come from writing zeros behind the present end. */
static int allocate_by_writing(struct os_file *file, uint64_t size)
{
    _cleanup_free_ uint8_t *zeros = mem_zalloc(ZEROS);
    uint64_t at = 0;
    int rc = file_size(file, &at);

    while (!rc && at < size) {
        struct span piece = span_make(zeros, size - at < ZEROS ? size - at : ZEROS);

        rc = file_write(file, at, &piece, 1);
        at += piece.len;
    }
    return rc;
}

static int file_allocate(struct os_file *file, uint64_t size)
{
    int rc;

    do
        rc = fallocate(real_fd(file), 0, 0, (off_t)size);
    while (rc && errno == EINTR);
    if (rc && (errno == EOPNOTSUPP || errno == ENOSYS))
        return allocate_by_writing(file, size);
    return rc ? os_fs_fail(errno) : BRANT_OK;
}

static void real_free(struct os_fs *fs)
{
    struct real_fs *r = (struct real_fs *)fs;

    if (r->lock_fd >= 0)
        (void)close(r->lock_fd);
    (void)close(r->root_fd);
    free(r);
}

/* A regular file with exactly one name; anything else was put there by somebody else. */
static int check_regular(int fd)
{
    struct stat st;

    if (fstat(fd, &st))
        return os_fs_fail(errno);
    if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
        return os_fs_fail(EMLINK);
    return BRANT_OK;
}

static int open_checked(struct real_fs *r, const char *path, unsigned flags, int *ret_fd)
{
    int how = O_NONBLOCK; /* a FIFO must not hang the open; it means nothing for files */
    int fd, rc;

    how |= flags & OS_OPEN_WRITE ? O_RDWR : O_RDONLY;
    if (flags & OS_OPEN_CREATE)
        how |= O_CREAT;
    if (flags & OS_OPEN_EXCLUSIVE)
        how |= O_EXCL;
    fd = open_beneath(r->root_fd, path, how);
    if (fd < 0)
        return os_fs_fail(errno == ENXIO || errno == EISDIR ? EMLINK : errno);
    rc = check_regular(fd);
    if (rc) {
        (void)close(fd);
        return rc;
    }
    *ret_fd = fd;
    return BRANT_OK;
}

static int real_open(struct os_fs *fs, const char *path, unsigned flags, struct os_file **ret)
{
    struct real_file *f;
    int fd, rc = open_checked((struct real_fs *)fs, path, flags, &fd);

    if (rc)
        return rc;
    f = mem_zalloc(sizeof *f);
    f->base.ops = &file_ops;
    f->fd = fd;
    *ret = &f->base;
    return BRANT_OK;
}

static int real_mkdir(struct os_fs *fs, const char *path)
{
    const char *name;
    int parent = open_parent(((struct real_fs *)fs)->root_fd, path, &name);
    int rc = BRANT_OK;

    if (parent < 0)
        return os_fs_fail(errno);
    if (mkdirat(parent, name, 0700)) {
        struct stat st;

        if (errno != EEXIST)
            rc = os_fs_fail(errno);
        else if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW))
            rc = os_fs_fail(errno);
        else if (!S_ISDIR(st.st_mode))
            rc = os_fs_fail(EMLINK);
    }
    (void)close(parent);
    return rc;
}

static int real_rename(struct os_fs *fs, const char *from, const char *to)
{
    int root = ((struct real_fs *)fs)->root_fd, rc = BRANT_OK;
    const char *from_name, *to_name;
    int from_dir = open_parent(root, from, &from_name), to_dir;

    if (from_dir < 0)
        return os_fs_fail(errno);
    to_dir = open_parent(root, to, &to_name);
    if (to_dir < 0) {
        rc = os_fs_fail(errno);
    } else {
        if (renameat(from_dir, from_name, to_dir, to_name))
            rc = os_fs_fail(errno);
        (void)close(to_dir);
    }
    (void)close(from_dir);
    return rc;
}

static int real_unlink(struct os_fs *fs, const char *path)
{
    const char *name;
    int parent = open_parent(((struct real_fs *)fs)->root_fd, path, &name);
    int rc = BRANT_OK;

    if (parent < 0)
        return os_fs_fail(errno);
    if (unlinkat(parent, name, 0))
        rc = os_fs_fail(errno);
    (void)close(parent);
    return rc;
}

static int real_sync_dir(struct os_fs *fs, const char *path)
{
    int fd = open_beneath(((struct real_fs *)fs)->root_fd, path, O_RDONLY | O_DIRECTORY);
    int rc = BRANT_OK;

    if (fd < 0)
        return os_fs_fail(errno);
    if (fsync(fd))
        rc = os_fs_fail(errno);
    (void)close(fd);
    return rc;
}

static int real_list(struct os_fs *fs, const char *path, struct buf *out)
{
    int fd = open_beneath(((struct real_fs *)fs)->root_fd, path, O_RDONLY | O_DIRECTORY);
    size_t start = out->len;
    struct dirent *entry;
    DIR *dir;
    int rc = BRANT_OK;

    if (fd < 0)
        return os_fs_fail(errno);
    dir = fdopendir(fd);
    if (!dir) {
        rc = os_fs_fail(errno);
        (void)close(fd);
        return rc;
    }
    errno = 0;
    while (!rc && (entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            rc = buf_append(out, span_make(entry->d_name, strlen(entry->d_name) + 1));
        errno = 0;
    }
    if (!rc && errno)
        rc = os_fs_fail(errno);
    (void)closedir(dir);
    if (rc) {
        out->len = start;
        return rc;
    }
    os_fs_sort_names(out, start);
    return BRANT_OK;
}

static int real_free_bytes(struct os_fs *fs, uint64_t *ret)
{
    struct statvfs st;

    if (fstatvfs(((struct real_fs *)fs)->root_fd, &st))
        return os_fs_fail(errno);
    *ret = (uint64_t)st.f_bavail * (uint64_t)st.f_frsize;
    return BRANT_OK;
}

static int real_lock(struct os_fs *fs, const char *path)
{
    struct real_fs *r = (struct real_fs *)fs;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd, rc = open_checked(r, path, OS_OPEN_WRITE | OS_OPEN_CREATE, &fd);

    if (rc)
        return rc;
    /* A lock of the open file description: it dies with the process and is not shared by accident. */
    if (fcntl(fd, F_OFD_SETLK, &lock)) {
        int error = errno;

        (void)close(fd);
        if (error == EAGAIN || error == EACCES)
            return BRANT_ESTATE;
        return os_fs_fail(error);
    }
    if (r->lock_fd >= 0)
        (void)close(r->lock_fd);
    r->lock_fd = fd;
    return BRANT_OK;
}

static void real_random(struct os_fs *fs, void *data, size_t len)
{
    uint8_t *to = data;

    (void)fs;
    while (len) {
        ssize_t n = getrandom(to, len, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            abort(); /* no entropy source: nothing here can go on safely */
        to += n;
        len -= (size_t)n;
    }
}

static const char *real_sqlite_vfs(struct os_fs *fs)
{
    (void)fs;
    return NULL;
}

static const struct os_file_ops file_ops = {
    .close = file_close,
    .read = file_read,
    .write = file_write,
    .sync = file_sync,
    .size = file_size,
    .truncate = file_truncate,
    .allocate = file_allocate,
};

static const struct os_fs_ops fs_ops = {
    .free = real_free,
    .open = real_open,
    .mkdir = real_mkdir,
    .rename = real_rename,
    .unlink = real_unlink,
    .sync_dir = real_sync_dir,
    .list = real_list,
    .free_bytes = real_free_bytes,
    .lock = real_lock,
    .random = real_random,
    .sqlite_vfs = real_sqlite_vfs,
};

struct os_fs *os_fs_open_real(int root_fd)
{
    struct real_fs *r = mem_zalloc(sizeof *r);

    r->base.ops = &fs_ops;
    r->root_fd = root_fd;
    r->lock_fd = -1;
    return &r->base;
}
