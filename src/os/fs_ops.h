/* The table behind os/fs.h, for those who implement a file system: fs_real.c and sim_disk.c. */
#ifndef OS_FS_OPS_H
#define OS_FS_OPS_H

#include "base/buf.h"
#include "os/fs.h"

struct os_file_ops {
    void (*close)(struct os_file *file);
    int (*read)(struct os_file *file, uint64_t offset, void *data, size_t len);
    int (*write)(struct os_file *file, uint64_t offset, const struct span *pieces, size_t count);
    int (*sync)(struct os_file *file);
    int (*size)(struct os_file *file, uint64_t *ret);
    int (*truncate)(struct os_file *file, uint64_t size);
    int (*allocate)(struct os_file *file, uint64_t size);
};

struct os_fs_ops {
    void (*free)(struct os_fs *fs);
    int (*open)(struct os_fs *fs, const char *path, unsigned flags, struct os_file **ret);
    int (*mkdir)(struct os_fs *fs, const char *path);
    int (*rename)(struct os_fs *fs, const char *from, const char *to);
    int (*unlink)(struct os_fs *fs, const char *path);
    int (*sync_dir)(struct os_fs *fs, const char *path);
    int (*list)(struct os_fs *fs, const char *path, struct buf *out);
    int (*free_bytes)(struct os_fs *fs, uint64_t *ret);
    int (*lock)(struct os_fs *fs, const char *path);
    void (*random)(struct os_fs *fs, void *data, size_t len);
    const char *(*sqlite_vfs)(struct os_fs *fs);
};

/* First member of each implementation's own structs. */
struct os_file {
    const struct os_file_ops *ops;
};

struct os_fs {
    const struct os_fs_ops *ops;
};

/* Keeps a failed call's errno for os_fs_errno, and gives the code that stands for it. */
int os_fs_fail(int error_number);

/* Sorts names that each have a NUL behind them, in byte order, from offset `start` of the buffer on. */
void os_fs_sort_names(struct buf *names, size_t start);

#endif
