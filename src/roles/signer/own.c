#include "roles/signer/own.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "log/log.h"
#include "os/fs.h"

enum { FILE_BYTES_MAX = 16384, DAY_S = 86400 };

static int read_whole(struct os_fs *fs, const char *name, struct buf *out)
{
    struct os_file *file;
    uint64_t size = 0;
    int rc = os_fs_open(fs, name, OS_OPEN_READ, &file);
    if (rc < 0)
        return rc;
    rc = os_file_size(file, &size);
    uint8_t *to = rc == BRANT_OK && size <= out->max ? buf_reserve(out, (size_t)size) : NULL;
    if (rc == BRANT_OK)
        rc = to ? os_file_read(file, 0, to, (size_t)size) : BRANT_ELIMIT;
    if (rc == BRANT_OK)
        buf_commit(out, (size_t)size);
    os_file_close(file);
    return rc;
}

/* Whole or not at all: written beside it, synced, renamed, and the name synced. */
static int write_whole(struct os_fs *fs, const char *name, struct span text)
{
    static const char scratch[] = "new";
    struct os_file *file;
    os_fs_unlink(fs, scratch);
    int rc = os_fs_open(fs, scratch, OS_OPEN_WRITE | OS_OPEN_CREATE | OS_OPEN_EXCLUSIVE, &file);
    if (rc < 0)
        return rc;
    rc = os_file_write(file, 0, &text, 1);
    if (rc == BRANT_OK)
        rc = os_file_sync(file);
    os_file_close(file);
    if (rc == BRANT_OK)
        rc = os_fs_rename(fs, scratch, name);
    return rc == BRANT_OK ? os_fs_sync_dir(fs, ".") : rc;
}

static int complain(const char *file, int rc)
{
    log_event(LOG_ERROR, "own-key-failed", LOG_STR("file", file), LOG_STR("error", brant_err_text(rc)),
              LOG_I64("errno", os_fs_errno()));
    return BRANT_EIO;
}

static int load_key(struct os_fs *fs, struct buf *key)
{
    int rc = read_whole(fs, "tls.key", key);
    if (rc == BRANT_OK && pair_key_is_usable(buf_span(key)))
        return rc;
    if (rc == BRANT_OK) { /* never replaced by itself: clients and DNS records may rely on it */
        log_event(LOG_ERROR, "own-key-failed", LOG_STR("file", "tls.key"),
                  LOG_STR("reason", "it holds no key that can be used"),
                  LOG_STR("remedy", "restore it, or remove it from keys_dir: then a new one is made"));
        return BRANT_EIO;
    }
    if (rc != BRANT_ENOTFOUND)
        return complain("tls.key", rc);
    rc = pair_make_key(key);
    if (rc == BRANT_OK)
        rc = write_whole(fs, "tls.key", buf_span(key));
    if (rc < 0)
        return complain("tls.key", rc);
    log_event(LOG_INFO, "own-key-made", LOG_STR("file", "tls.key"));
    return BRANT_OK;
}

bool own_is_in_time(const struct pair *p, int64_t now_s)
{
    return pair_begins_s(p) <= now_s && pair_expires_s(p) - now_s > (int64_t)OWN_RENEW_DAYS * DAY_S;
}

static bool is_good(struct os_fs *fs, struct span key, const char *host, int64_t now_s, struct pair **ret)
{
    char why[PAIR_WHY_MAX];
    struct buf _cleanup_buf_ chain;
    buf_init(&chain, FILE_BYTES_MAX);
    if (read_whole(fs, "tls.crt", &chain) < 0 || pair_load(buf_span(&chain), key, ret, why) < 0)
        return false;
    if (pair_names(*ret, host) && own_is_in_time(*ret, now_s))
        return true;
    pair_free(*ret);
    return false;
}

static int make(struct os_fs *fs, struct span key, const char *host, int64_t now_s, struct pair **ret)
{
    char why[PAIR_WHY_MAX] = "";
    struct buf _cleanup_buf_ chain;
    buf_init(&chain, FILE_BYTES_MAX);
    int rc = pair_make_certificate(key, host, now_s, OWN_DAYS, &chain);
    if (rc == BRANT_OK)
        rc = write_whole(fs, "tls.crt", buf_span(&chain));
    if (rc < 0)
        return complain("tls.crt", rc);
    if (pair_load(buf_span(&chain), key, ret, why) < 0) {
        log_event(LOG_ERROR, "own-key-failed", LOG_STR("file", "tls.key"), LOG_STR("reason", why));
        return BRANT_EIO;
    }
    log_event(LOG_INFO, "own-certificate-made", LOG_STR("host", host), LOG_U64("days", OWN_DAYS));
    return BRANT_OK;
}

int own_load(const char *host, int64_t now_s, struct pair **ret)
{
    int root = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return complain(".", BRANT_EIO);
    struct os_fs *fs = os_fs_open_real(root);
    struct buf _cleanup_buf_ key;
    buf_init_secret(&key, FILE_BYTES_MAX);
    int rc = load_key(fs, &key);
    if (rc == BRANT_OK && !is_good(fs, buf_span(&key), host, now_s, ret))
        rc = make(fs, buf_span(&key), host, now_s, ret);
    os_fs_free(fs);
    return rc;
}
