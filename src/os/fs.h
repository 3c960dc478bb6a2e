/* Files as the store uses them, behind a table of functions: the same store runs on the kernel's files
 * (os_fs_open_real) or on a simulated disk with crashes and faults (os/sim_disk.h).
 *
 * Paths are relative to one root directory, use '/', never contain "..", and never follow a symbolic link
 * (openat2 with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS). Files with more than one link are refused.
 * All calls may be made from any thread; one os_file may be read by several threads at once.
 * Errors: BRANT_EIO (logged by the caller; os_fs_errno tells more), BRANT_ENOSPACE, BRANT_ENOTFOUND,
 * BRANT_EEXISTS, BRANT_EREFUSED (a link, or no plain file, where a file should be), BRANT_ETRYLATER (out of
 * descriptors). */
#ifndef OS_FS_H
#define OS_FS_H

#include "base/span.h"

struct os_fs;
struct os_file;

enum os_open_flags {
    OS_OPEN_READ = 1,
    OS_OPEN_WRITE = 2,
    OS_OPEN_CREATE = 4,   /* with WRITE: make it if it is missing */
    OS_OPEN_EXCLUSIVE = 8 /* with CREATE: BRANT_EEXISTS if it is there */
};

/* Takes over root_fd, a directory. */
struct os_fs *os_fs_open_real(int root_fd);
void os_fs_free(struct os_fs *fs);

int os_fs_open(struct os_fs *fs, const char *path, unsigned flags, struct os_file **ret);
void os_file_close(struct os_file *file); /* NULL is allowed; a close error after a sync means nothing */

/* Exactly len bytes, or BRANT_EIO; a read over the end of the file answers BRANT_ECORRUPT. */
int os_file_read(struct os_file *file, uint64_t offset, void *data, size_t len);
/* All of the pieces at the offset. On failure any part of them may have been written. */
int os_file_write(struct os_file *file, uint64_t offset, const struct span *pieces, size_t count);
int os_file_sync(struct os_file *file); /* fdatasync */
int os_file_size(struct os_file *file, uint64_t *ret);
int os_file_truncate(struct os_file *file, uint64_t size);
/* Makes the file at least size bytes long with blocks behind all of them; new bytes read as zeros. */
int os_file_allocate(struct os_file *file, uint64_t size);

int os_fs_mkdir(struct os_fs *fs, const char *path);                  /* mode 0700; existing is fine */
int os_fs_rename(struct os_fs *fs, const char *from, const char *to); /* replaces `to` */
int os_fs_unlink(struct os_fs *fs, const char *path);
int os_fs_sync_dir(struct os_fs *fs, const char *path); /* fsync of the directory: names are durable */
/* The names in a directory, each with a NUL behind it, in byte order, appended to the buffer. */
struct buf;
int os_fs_list(struct os_fs *fs, const char *path, struct buf *out);
/* Bytes that an unprivileged writer may still use. */
int os_fs_free_bytes(struct os_fs *fs, uint64_t *ret);
/* Takes the lock file; BRANT_ESTATE when another process holds it. Held until the os_fs is freed. */
int os_fs_lock(struct os_fs *fs, const char *path);

/* Random bytes: the kernel's, or the simulated disk's seeded ones. */
void os_fs_random(struct os_fs *fs, void *data, size_t len);

/* The name of the SQLite VFS that works on these files; NULL means SQLite's own default VFS with the root
 * as current directory. */
const char *os_fs_sqlite_vfs(struct os_fs *fs);

/* The errno of the last failed call of this thread, for logs. */
int os_fs_errno(void);

#endif
