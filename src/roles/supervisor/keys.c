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
    *k = (struct sup_key_files){.generation = 0};
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

int sup_key_files_open(const struct supervisor *s, const struct conf *conf, uint64_t generation,
                       struct sup_key_files *ret)
{
    struct sup_key_files k = {.generation = generation};
    int rc = BRANT_OK;
    for (size_t n = 0; n < conf->tls_certificate.count && rc == BRANT_OK; n++) {
        const struct conf_certificate *c = &conf->tls_certificate.list[n];
        snprintf(k.paths[n][IPC_KEY_FILE_CHAIN], sizeof k.paths[0][0], "%s", c->chain);
        snprintf(k.paths[n][IPC_KEY_FILE_KEY], sizeof k.paths[0][0], "%s", c->key);
        k.fds[n][IPC_KEY_FILE_CHAIN] = k.fds[n][IPC_KEY_FILE_KEY] = -1;
        k.count++;
        for (int kind = 0; kind < IPC_KEY_FILE_COUNT && rc == BRANT_OK; kind++)
            rc = open_file(s, (enum ipc_key_file_kind)kind, k.paths[n][kind], &k.fds[n][kind]);
    }
    if (rc < 0)
        sup_key_files_close(&k);
    else
        *ret = k;
    return rc;
}

static void send_files(struct sup_instance *signer, const struct sup_key_files *k)
{
    struct ipc_message m = {.type = IPC_TYPE_KEY_FILES};
    m.key_files.generation = k->generation;
    m.key_files.pairs = (uint32_t)k->count;
    sup_instance_send(signer, &m, -1);
    for (size_t n = 0; n < k->count; n++)
        for (int kind = 0; kind < IPC_KEY_FILE_COUNT; kind++) {
            m = (struct ipc_message){.type = IPC_TYPE_KEY_FILE};
            m.key_file.number = (uint32_t)n;
            m.key_file.kind = (uint8_t)kind;
            m.key_file.path = span_str(k->paths[n][kind]);
            sup_instance_send(signer, &m, k->fds[n][kind]);
        }
}

void sup_send_key_files(struct sup_instance *signer)
{
    send_files(signer, &signer->sup->keys);
}

static void take(struct sup_key_files *place, const struct sup_key_files *k)
{
    sup_key_files_close(place);
    *place = *k;
}

static void drop_next(struct supervisor *s, const char *why)
{
    log_event(LOG_ERROR, "key-files-dropped", LOG_U64("generation", s->next_keys.generation),
              LOG_STR("reason", why), LOG_STR("remedy", "mend them and send SIGHUP; what there was is kept"));
    sup_key_files_close(&s->next_keys);
}

void sup_offer_key_files(struct supervisor *s, const struct sup_key_files *next)
{
    struct sup_instance *signer = sup_find(s, IPC_ROLE_SIGNER, 1);
    sup_key_files_close(&s->next_keys);
    if (signer && signer->state == SUP_READY)
        s->next_keys = *next;
    else /* it may be down for the sake of what there was */
        take(&s->keys, next);
    if (signer)
        send_files(signer, next);
}

void sup_key_files_done(struct supervisor *s, const struct ipc_key_files_done *m)
{
    if (s->next_keys.generation == 0 || m->generation != s->next_keys.generation)
        return;
    if (m->status != IPC_OK) {
        drop_next(s, "the signer refuses them");
        return;
    }
    take(&s->keys, &s->next_keys);
    s->next_keys = (struct sup_key_files){.generation = 0};
}

void sup_key_files_signer_ended(struct supervisor *s)
{
    if (s->next_keys.generation != 0)
        drop_next(s, "the signer ended before it had taken them");
}
