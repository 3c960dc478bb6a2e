/* Certificates and private keys: the supervisor opens their files, the signer reads them. */
#include "roles/supervisor/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "log/log.h"

void sup_key_files_close(struct sup_key_files *k)
{
    for (size_t n = 0; n < k->count; n++)
        for (size_t kind = 0; kind < IPC_KEY_FILE_COUNT; kind++)
            if (k->fds[n][kind] >= 0)
                close(k->fds[n][kind]);
    k->count = 0;
}

static int complain(const struct supervisor *s, const char *path, const char *why)
{
    fprintf(stderr, "%s: tls.certificate: %s: %s\n", s->program, path, why);
    log_event(LOG_ERROR, "key-file-unreadable", LOG_STR("file", path), LOG_STR("reason", why));
    return BRANT_EIO;
}

/* A plain file: a device or a pipe would never end. */
static int open_file(const struct supervisor *s, enum ipc_key_file_kind kind, const char *path, int *ret)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return complain(s, path, strerror(errno));
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return complain(s, path, "is not a file");
    }
    if (kind == IPC_KEY_FILE_KEY && (st.st_mode & S_IROTH))
        log_event(LOG_WARNING, "key-file-for-everybody", LOG_STR("file", path),
                  LOG_STR("remedy", "chmod o-rwx; everybody on this machine can read the key"));
    *ret = fd;
    return BRANT_OK;
}

int sup_key_files_open(const struct supervisor *s, const struct conf *conf, struct sup_key_files *ret)
{
    struct sup_key_files k = {.count = 0};
    int rc = BRANT_OK;
    for (size_t n = 0; n < conf->tls_certificate.count && rc == BRANT_OK; n++) {
        const struct conf_certificate *c = &conf->tls_certificate.list[n];
        k.fds[n][IPC_KEY_FILE_CHAIN] = k.fds[n][IPC_KEY_FILE_KEY] = -1;
        k.count++;
        rc = open_file(s, IPC_KEY_FILE_CHAIN, c->chain, &k.fds[n][IPC_KEY_FILE_CHAIN]);
        if (rc == BRANT_OK)
            rc = open_file(s, IPC_KEY_FILE_KEY, c->key, &k.fds[n][IPC_KEY_FILE_KEY]);
    }
    if (rc < 0)
        sup_key_files_close(&k);
    else
        *ret = k;
    return rc;
}

static void send_one(struct sup_instance *signer, size_t number, enum ipc_key_file_kind kind,
                     const char *path)
{
    int fd = signer->sup->keys.fds[number][kind];
    struct ipc_message m = {.type = IPC_TYPE_KEY_FILE};
    m.key_file.number = (uint32_t)number;
    m.key_file.kind = (uint8_t)kind;
    m.key_file.path = span_sub(span_str(path), 0, 255);
    sup_instance_send(signer, &m, fd);
}

void sup_send_key_files(struct sup_instance *signer)
{
    if (!signer)
        return;
    const struct supervisor *s = signer->sup;
    struct ipc_message m = {.type = IPC_TYPE_KEY_FILES};
    m.key_files.generation = s->generation;
    m.key_files.pairs = (uint32_t)s->keys.count;
    sup_instance_send(signer, &m, -1);
    for (size_t n = 0; n < s->keys.count; n++) {
        const struct conf_certificate *c = &s->conf.tls_certificate.list[n];
        send_one(signer, n, IPC_KEY_FILE_CHAIN, c->chain);
        send_one(signer, n, IPC_KEY_FILE_KEY, c->key);
    }
}
