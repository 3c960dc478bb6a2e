#include "roles/store/files.h"

#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"
#include "os/random.h"

enum { PATH_MAX_BYTES = 64 };

static int read_all(struct os_file *file, struct buf *out)
{
    uint64_t size;
    int rc = os_file_size(file, &size);
    if (rc != BRANT_OK)
        return rc;
    if (size > out->max - out->len)
        return BRANT_ELIMIT;
    uint8_t *room = buf_reserve(out, (size_t)size);
    rc = size > 0 ? os_file_read(file, 0, room, (size_t)size) : BRANT_OK;
    if (rc == BRANT_OK)
        buf_commit(out, (size_t)size);
    return rc;
}

int files_read(struct os_fs *fs, const char *path, struct buf *out)
{
    struct os_file *file;
    int rc = os_fs_open(fs, path, OS_OPEN_READ, &file);
    if (rc != BRANT_OK)
        return rc;
    rc = read_all(file, out);
    os_file_close(file);
    return rc;
}

static int write_new(struct os_fs *fs, const char *path, struct span bytes, bool durable)
{
    struct os_file *file;
    int rc = os_fs_open(fs, path, OS_OPEN_WRITE | OS_OPEN_CREATE, &file);
    if (rc != BRANT_OK)
        return rc;
    rc = os_file_truncate(file, 0);
    if (rc == BRANT_OK)
        rc = os_file_write(file, 0, &bytes, 1);
    if (rc == BRANT_OK && durable)
        rc = os_file_sync(file);
    os_file_close(file);
    return rc;
}

int files_write(struct os_fs *fs, const char *path, struct span bytes, bool durable)
{
    char fresh[PATH_MAX_BYTES];
    int len = snprintf(fresh, sizeof fresh, "%s.new", path);
    if (len < 0 || (size_t)len >= sizeof fresh)
        return BRANT_ELIMIT;
    int rc = write_new(fs, fresh, bytes, durable);
    if (rc == BRANT_OK)
        rc = os_fs_rename(fs, fresh, path);
    return rc == BRANT_OK && durable ? os_fs_sync_dir(fs, ".") : rc;
}

int files_secret(struct os_fs *fs, uint8_t ret[FILES_SECRET_BYTES])
{
    struct buf _cleanup_buf_ secret;
    buf_init_secret(&secret, FILES_SECRET_BYTES);
    int rc = files_read(fs, "secret", &secret);
    if (rc == BRANT_OK && secret.len == FILES_SECRET_BYTES) {
        memcpy(ret, secret.data, FILES_SECRET_BYTES);
        return BRANT_OK;
    }
    os_random_fill(ret, FILES_SECRET_BYTES);
    /* One of another length is damaged: nothing is lost but that salts of unknown names change. */
    if (rc != BRANT_OK && rc != BRANT_ENOTFOUND && rc != BRANT_ELIMIT)
        return rc;
    return files_write(fs, "secret", span_make(ret, FILES_SECRET_BYTES), true);
}
