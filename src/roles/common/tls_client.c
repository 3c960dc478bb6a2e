#include "roles/common/tls_client.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "log/log.h"
#include "net/signer.h"

struct tls_client {
    struct role *role;
    struct net_signer *signer;
    uint32_t signer_instance;
    struct net_tls *current;
    uint64_t generation;
    size_t certificates;
};

static void call_lost(void *context, bool at_fault, const char *text)
{
    struct tls_client *t = context;
    if (at_fault)
        role_accuse(t->role, IPC_ROLE_SIGNER, t->signer_instance, text);
    else
        log_event(LOG_WARNING, "signer-away", LOG_STR("reason", text));
}

struct tls_client *tls_client_new(struct role *r)
{
    struct tls_client *t = mem_zalloc(sizeof *t);
    t->role = r;
    t->signer = net_signer_new(call_lost, t);
    net_tls_init();
    return t;
}

void tls_client_free(struct tls_client *t)
{
    if (!t)
        return;
    net_tls_unref(t->current);
    net_signer_free(t->signer);
    free(t);
}

void tls_client_call_channel(struct tls_client *t, enum ipc_role peer, uint32_t instance, int fd)
{
    if (peer != IPC_ROLE_SIGNER) {
        close(fd);
        return;
    }
    t->signer_instance = instance;
    net_signer_channel(t->signer, fd);
}

static void take_certificates(struct tls_client *t, const struct ipc_certificates *m)
{
    struct net_tls_certificate list[IPC_CERTIFICATES_MAX];
    char why[NET_TLS_TEXT_MAX] = "";
    struct net_tls *next;
    for (uint32_t n = 0; n < m->list_count; n++)
        list[n] = (struct net_tls_certificate){m->list[n].key_id, m->list[n].chain};
    if (net_tls_new(list, m->list_count, t->signer, &next, why) < 0) {
        log_event(LOG_ERROR, "certificates-refused", LOG_STR("reason", why),
                  LOG_U64("generation", m->generation));
        return; /* what there was stays */
    }
    net_tls_unref(t->current);
    t->current = next;
    t->generation = m->generation;
    t->certificates = m->list_count;
    log_event(LOG_INFO, "certificates", LOG_U64("count", m->list_count),
              LOG_U64("generation", m->generation));
    role_tls_there(t->role);
}

void tls_client_message(struct tls_client *t, const struct ipc_message *m)
{
    if (m->type == IPC_TYPE_CERTIFICATES)
        take_certificates(t, &m->certificates);
}

struct net_tls *tls_client_current(const struct tls_client *t)
{
    return t->current;
}

/* The names clients of mail services offer by ALPN (RFC 7301), where they offer any. */
static const char *const *alpn_names(enum ipc_service service)
{
    static const char *const smtp[] = {"smtp", NULL};
    static const char *const submission[] = {"submission", "smtp", NULL};
    static const char *const pop3[] = {"pop3", NULL};
    static const char *const imap[] = {"imap", NULL};
    static const char *const lmtp[] = {"lmtp", NULL};
    switch (service) {
    case IPC_SERVICE_SMTP:
        return smtp;
    case IPC_SERVICE_SUBMISSION:
    case IPC_SERVICE_SUBMISSIONS:
    case IPC_SERVICE_SUBMISSION_LOCAL:
        return submission;
    case IPC_SERVICE_POP3:
    case IPC_SERVICE_POP3S:
        return pop3;
    case IPC_SERVICE_IMAP:
    case IPC_SERVICE_IMAPS:
        return imap;
    case IPC_SERVICE_LMTP:
    case IPC_SERVICE_LMTP_LOCAL:
        return lmtp;
    default:
        return NULL;
    }
}

struct net_tls_conf tls_client_conf(const struct conf *conf, enum ipc_service service)
{
    return (struct net_tls_conf){
        .handshake_timeout_ms = conf->tls_handshake_timeout_ms,
        .alpn = alpn_names(service),
        .ask_certificate =
            conf->tls_client_certificate == CONF_CLIENT_CERTIFICATE_ALL ||
            (conf->tls_client_certificate == CONF_CLIENT_CERTIFICATE_MX && service == IPC_SERVICE_SMTP),
    };
}

void tls_client_status(const struct tls_client *t, struct role_status *out)
{
    struct net_signer_stats stats = net_signer_stats(t->signer);
    role_status_add_u64(out, "certificates", t->certificates);
    role_status_add_u64(out, "certificates_generation", t->generation);
    role_status_add_u64(out, "signatures", stats.calls - stats.failures);
    role_status_add_u64(out, "signatures_failed", stats.failures);
}
