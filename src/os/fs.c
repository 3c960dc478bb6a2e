#include "os/fs.h"

#include <errno.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "os/fs_ops.h"

static _Thread_local int last_errno;

int os_fs_errno(void)
{
    return last_errno;
}

int os_fs_fail(int error_number)
{
    last_errno = error_number;
    switch (error_number) {
    case ENOENT:
        return BRANT_ENOTFOUND;
    case EEXIST:
        return BRANT_EEXISTS;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return BRANT_ENOSPACE;
    case ELOOP: /* RESOLVE_NO_SYMLINKS */
    case EXDEV: /* RESOLVE_BENEATH */
    case EMLINK:
        return BRANT_EREFUSED;
    case EMFILE:
    case ENFILE:
    case EAGAIN:
        return BRANT_ETRYLATER;
    default:
        return BRANT_EIO;
    }
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void os_fs_sort_names(struct buf *names, size_t start)
{
    size_t bytes = names->len - start, count = 0, i = 0;
    _cleanup_free_ char *copy = mem_dup(names->data ? names->data + start : NULL, bytes);
    _cleanup_free_ const char **list = NULL;

    for (size_t at = 0; at < bytes; at += strlen(copy + at) + 1)
        count++;
    list = mem_array(count, sizeof *list);
    for (size_t at = 0; at < bytes; at += strlen(copy + at) + 1)
        list[i++] = copy + at;
    qsort(list, count, sizeof *list, compare_names);
    names->len = start;
    for (i = 0; i < count; i++)
        (void)buf_append(names, span_make(list[i], strlen(list[i]) + 1)); /* fits: it was there before */
}

void os_fs_free(struct os_fs *fs)
{
    if (fs)
        fs->ops->free(fs);
}

int os_fs_open(struct os_fs *fs, const char *path, unsigned flags, struct os_file **ret)
{
    return fs->ops->open(fs, path, flags, ret);
}

void os_file_close(struct os_file *file)
{
    if (file)
        file->ops->close(file);
}

int os_file_read(struct os_file *file, uint64_t offset, void *data, size_t len)
{
    return file->ops->read(file, offset, data, len);
}

int os_file_write(struct os_file *file, uint64_t offset, const struct span *pieces, size_t count)
{
    return file->ops->write(file, offset, pieces, count);
}

int os_file_sync(struct os_file *file)
{
    return file->ops->sync(file);
}

int os_file_size(struct os_file *file, uint64_t *ret)
{
    return file->ops->size(file, ret);
}

int os_file_truncate(struct os_file *file, uint64_t size)
{
    return file->ops->truncate(file, size);
}

int os_file_allocate(struct os_file *file, uint64_t size)
{
    return file->ops->allocate(file, size);
}

int os_fs_mkdir(struct os_fs *fs, const char *path)
{
    return fs->ops->mkdir(fs, path);
}

int os_fs_rename(struct os_fs *fs, const char *from, const char *to)
{
    return fs->ops->rename(fs, from, to);
}

int os_fs_unlink(struct os_fs *fs, const char *path)
{
    return fs->ops->unlink(fs, path);
}

int os_fs_sync_dir(struct os_fs *fs, const char *path)
{
    return fs->ops->sync_dir(fs, path);
}

int os_fs_list(struct os_fs *fs, const char *path, struct buf *out)
{
    return fs->ops->list(fs, path, out);
}

int os_fs_free_bytes(struct os_fs *fs, uint64_t *ret)
{
    return fs->ops->free_bytes(fs, ret);
}

int os_fs_lock(struct os_fs *fs, const char *path)
{
    return fs->ops->lock(fs, path);
}

void os_fs_random(struct os_fs *fs, void *data, size_t len)
{
    fs->ops->random(fs, data, len);
}

const char *os_fs_sqlite_vfs(struct os_fs *fs)
{
    return fs->ops->sqlite_vfs(fs);
}
