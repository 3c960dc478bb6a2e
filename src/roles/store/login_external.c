/* Logging in as who the connection proves: EXTERNAL (RFC 4422 appendix A). */
#include "base/err.h"
#include "base/mem.h"
#include "os/clock.h"
#include "roles/store/logins.h"

enum { GRANTS_ARENA_BYTES = 128 * 1024 };

/* The name under which the account knows the certificate, for the log. */
static void take_certificate_name(struct server *sv, struct login *l, struct span fingerprint)
{
    struct arena _cleanup_arena_ arena;
    struct store_grant *grants = NULL;
    size_t count = 0;
    arena_init(&arena, GRANTS_ARENA_BYTES);
    if (store_grants_get(sv->store, l->account, STORE_GRANT_CERTIFICATE, &arena, &grants, &count) != BRANT_OK)
        return;
    for (size_t i = 0; i < count; i++)
        if (span_eq(grants[i].data, fingerprint))
            login_take_credential(l, grants[i].name);
}

/* Whose certificate is it? The answer, or the reason why it does not count. */
static enum ipc_status by_certificate(struct server *sv, struct login *l, struct span fingerprint,
                                      struct buf *ret_address, const char **ret_reason)
{
    struct store_account_info info;
    uint64_t expires_ms;
    uint32_t protocols;
    if (store_account_by_certificate(sv->store, fingerprint.p, &l->account, &expires_ms, &protocols) !=
            BRANT_OK ||
        store_account_get(sv->store, l->account, &info) != BRANT_OK) {
        l->account = 0;
        *ret_reason = "no account knows this certificate";
        return IPC_AUTH_FAILED;
    }
    buf_append_str(ret_address, info.address);
    mem_wipe(&info, sizeof info);
    take_certificate_name(sv, l, fingerprint);
    *ret_reason = "the account knows this certificate only for other protocols";
    if (!(protocols & login_protocol(l->service)))
        return IPC_AUTH_FAILED;
    *ret_reason = "the account knows this certificate no longer";
    return expires_ms != 0 && (int64_t)expires_ms <= os_clock_wall_ms() ? IPC_EXPIRED : IPC_OK;
}

static void external_certificate(struct server *sv, struct login *l, const struct ipc_login_external *q)
{
    struct buf _cleanup_buf_ address, asked;
    const char *reason;
    buf_init(&address, IPC_ADDRESS_MAX);
    buf_init(&asked, IPC_ADDRESS_MAX);
    enum ipc_status status = by_certificate(sv, l, q->fingerprint, &address, &reason);
    /* An authorization identity must be the account's own. */
    if (status == IPC_OK && q->authzid.len > 0 &&
        (login_name(sv, q->authzid, &asked) != BRANT_OK ||
         !span_eq_nocase(buf_span(&asked), buf_span(&address)))) {
        status = IPC_AUTH_FAILED;
        reason = "the certificate is of another account";
    }
    if (l->account != 0) { /* whoever was asked for: it is this account that is meant */
        buf_reset(&l->name);
        buf_append(&l->name, buf_span(&address));
        l->try.user = buf_span(&l->name);
    }
    if (status == IPC_OK)
        login_right(sv, l, "certificate", SPAN_NONE);
    else
        login_wrong(sv, l, status, reason, SPAN_NONE);
}

/* root or a member of the control group, on the Unix socket, says for whom it sends. */
static void external_peer(struct server *sv, struct login *l, const struct ipc_login_external *q)
{
    struct store_account_info info;
    if (q->authzid.len == 0)
        l->doomed = "the account was not named";
    login_find(sv, l, &info);
    mem_wipe(&info, sizeof info);
    if (l->doomed)
        login_wrong(sv, l, IPC_AUTH_FAILED, l->doomed, SPAN_NONE);
    else
        login_right(sv, l, "local user", SPAN_NONE);
}

void on_login_external(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_login_external *q = &m->login_external;
    struct session *session = login_session(sv, p, &q->session, q->service);
    if (!session)
        return;
    if ((q->trusted_peer && session->service != IPC_SERVICE_SUBMISSION_LOCAL) ||
        (q->fingerprint.len != 0 && q->fingerprint.len != IPC_FINGERPRINT_BYTES)) {
        server_fault(p, "a proof of identity that this service has not");
        return;
    }
    scram_exchange_free(session->scram);
    session->scram = NULL;
    struct login l;
    login_init(sv, &l, p, session, m->tag, IPC_TYPE_LOGIN_RESULT, IPC_MECHANISM_EXTERNAL, !q->trusted_peer,
               q->authzid);
    if (q->trusted_peer && sv->local_submission) {
        external_peer(sv, &l, q);
    } else if (q->fingerprint.len > 0 && sv->client_certificates) {
        external_certificate(sv, &l, q);
    } else {
        login_wrong(sv, &l, IPC_AUTH_FAILED,
                    q->trusted_peer          ? "there is no socket for submission"
                    : q->fingerprint.len > 0 ? "certificates are not asked for here"
                                             : "there was no certificate",
                    SPAN_NONE);
    }
    login_done(&l);
}
