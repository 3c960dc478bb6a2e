#include "roles/signer/keys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "log/log.h"
#include "roles/signer/own.h"

enum { FILE_BYTES_MAX = 65536, DAY_S = 86400, WARN_DAYS = 14 };

static void drop_next(struct keys *k)
{
    for (size_t n = 0; n < k->next.pairs; n++)
        for (size_t kind = 0; kind < IPC_KEY_FILE_COUNT; kind++) {
            if (k->next.fds[n][kind] >= 0)
                close(k->next.fds[n][kind]);
            k->next.fds[n][kind] = -1;
        }
    k->next.due = false;
}

void keys_init(struct keys *k)
{
    *k = (struct keys){.count = 0};
}

static void drop_pairs(struct pair **list, size_t *count)
{
    while (*count > 0)
        pair_free(list[--*count]);
}

void keys_forget_former(struct keys *k)
{
    drop_pairs(k->former, &k->former_count);
}

void keys_done(struct keys *k)
{
    drop_next(k);
    drop_pairs(k->former, &k->former_count);
    drop_pairs(k->list, &k->count);
}

/* ---- arriving ---------------------------------------------------------------------------------------------
 */

void keys_begin(struct keys *k, const struct ipc_key_files *m)
{
    drop_next(k);
    k->next.pairs = m->pairs;
    k->next.files = 0;
    k->next.generation = m->generation;
    k->next.due = true;
    for (size_t n = 0; n < k->next.pairs; n++)
        for (size_t kind = 0; kind < IPC_KEY_FILE_COUNT; kind++)
            k->next.fds[n][kind] = -1;
}

void keys_take_file(struct keys *k, const struct ipc_key_file *m, int fd)
{
    if (!k->next.due || m->number >= k->next.pairs || k->next.fds[m->number][m->kind] >= 0) {
        log_event(LOG_ERROR, "key-file-unexpected", LOG_SPAN("file", m->path));
        close(fd);
        return;
    }
    k->next.fds[m->number][m->kind] = fd;
    snprintf(k->next.paths[m->number][m->kind], sizeof k->next.paths[0][0], "%.*s", (int)m->path.len,
             (const char *)m->path.p);
    k->next.files++;
}

bool keys_due(const struct keys *k)
{
    return k->next.due && k->next.files == k->next.pairs * IPC_KEY_FILE_COUNT;
}

/* ---- loading ----------------------------------------------------------------------------------------------
 */

static int read_all(int fd, struct buf *out)
{
    for (off_t at = 0;;) {
        uint8_t *p = buf_reserve(out, 4096);
        ssize_t n = p ? pread(fd, p, 4096, at) : -1;
        if (n <= 0)
            return n == 0 ? BRANT_OK : p ? BRANT_EIO : BRANT_ELIMIT;
        buf_commit(out, (size_t)n);
        at += n;
    }
}

static int complain(const char *path, const char *why)
{
    log_event(LOG_ERROR, "key-refused", LOG_STR("file", path), LOG_STR("reason", why));
    return BRANT_ESYNTAX;
}

static int load_one(struct keys *k, size_t n, struct pair **ret)
{
    const char *chain_path = k->next.paths[n][IPC_KEY_FILE_CHAIN],
               *key_path = k->next.paths[n][IPC_KEY_FILE_KEY];
    char why[PAIR_WHY_MAX] = "";
    struct buf _cleanup_buf_ chain, _cleanup_buf_ key;
    buf_init(&chain, FILE_BYTES_MAX + 4096);
    buf_init_secret(&key, FILE_BYTES_MAX + 4096);
    if (read_all(k->next.fds[n][IPC_KEY_FILE_CHAIN], &chain) < 0)
        return complain(chain_path, "can't be read, or is over 64 KiB");
    if (read_all(k->next.fds[n][IPC_KEY_FILE_KEY], &key) < 0)
        return complain(key_path, "can't be read, or is over 64 KiB");
    if (pair_load(buf_span(&chain), buf_span(&key), ret, why) == BRANT_OK)
        return BRANT_OK;
    char both[600];
    snprintf(both, sizeof both, "%s with %s", chain_path, key_path);
    return complain(both, why);
}

static void log_time(const struct pair *p, int64_t now_s)
{
    int64_t left_s = pair_expires_s(p) - now_s;
    if (left_s < 0)
        log_event(LOG_ERROR, "certificate-expired", LOG_STR("name", pair_name(p)),
                  LOG_I64("days_ago", -left_s / DAY_S), LOG_STR("remedy", "renew it and send SIGHUP"));
    else if (left_s < (int64_t)WARN_DAYS * DAY_S)
        log_event(LOG_WARNING, "certificate-ends", LOG_STR("name", pair_name(p)),
                  LOG_I64("days_left", left_s / DAY_S), LOG_STR("remedy", "renew it and send SIGHUP"));
    if (pair_begins_s(p) > now_s)
        log_event(LOG_WARNING, "certificate-not-yet-good", LOG_STR("name", pair_name(p)),
                  LOG_I64("seconds", pair_begins_s(p) - now_s),
                  LOG_STR("remedy", "look at the machine's clock"));
}

static void log_pair(const struct pair *p, int64_t now_s)
{
    log_event(LOG_INFO, "certificate", LOG_STR("name", pair_name(p)), LOG_HEX("key", pair_id(p)),
              LOG_I64("days_left", (pair_expires_s(p) - now_s) / DAY_S));
    log_time(p, now_s);
    if (pair_is_disordered(p))
        log_event(LOG_WARNING, "certificate-chain-disordered", LOG_STR("name", pair_name(p)),
                  LOG_STR("remedy", "in the file each certificate stands before the one of its issuer"));
}

int keys_load(struct keys *k, const char *host, int64_t now_s)
{
    struct pair *list[IPC_CERTIFICATES_MAX];
    size_t count = 0, wanted = k->next.pairs > 0 ? k->next.pairs : 1;
    int rc = BRANT_OK;
    while (count < wanted && rc == BRANT_OK) {
        rc = k->next.pairs > 0 ? load_one(k, count, &list[count]) : own_load(host, now_s, &list[count]);
        count += rc == BRANT_OK;
    }
    bool own = k->next.pairs == 0;
    uint64_t generation = k->next.generation;
    drop_next(k);
    if (rc < 0) {
        drop_pairs(list, &count);
        return BRANT_ESYNTAX;
    }
    keys_forget_former(k);
    memcpy(k->former, k->list, k->count * sizeof *k->list);
    k->former_count = k->count;
    memcpy(k->list, list, count * sizeof *list);
    k->count = count;
    k->own = own;
    k->generation = generation;
    for (size_t n = 0; n < count; n++)
        log_pair(k->list[n], now_s);
    return BRANT_OK;
}

bool keys_check_time(struct keys *k, const char *host, int64_t now_s)
{
    struct pair *renewed;
    if (k->own && k->count == 1 && !own_is_in_time(k->list[0], now_s) &&
        own_load(host, now_s, &renewed) == BRANT_OK) {
        pair_free(k->list[0]);
        k->list[0] = renewed;
        log_pair(renewed, now_s);
        return true;
    }
    for (size_t n = 0; n < k->count; n++)
        log_time(k->list[n], now_s);
    return false;
}

static struct pair *find(struct pair *const *list, size_t count, struct span id)
{
    for (size_t n = 0; n < count; n++)
        if (span_eq(pair_id(list[n]), id))
            return list[n];
    return NULL;
}

struct pair *keys_find(const struct keys *k, struct span id)
{
    struct pair *p = find(k->list, k->count, id);
    return p ? p : find(k->former, k->former_count, id);
}
