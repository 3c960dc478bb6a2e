#include "roles/store/submission.h"

#include "base/err.h"
#include "base/mem.h"
#include "log/log.h"
#include "roles/common/canonical.h"

uint64_t submission_account(const struct session *session)
{
    return server_serves(IPC_ROLE_SUBMISSION, session->service) ? session->account : 0;
}

/* ---- recipients ---- */

/* Recipients elsewhere wait in the queue. */
static void take_remote(struct server *sv, bool well_formed, struct ipc_rcpt_verdict *v)
{
    v->text = SPAN_NONE;
    if (!well_formed) {
        v->status = IPC_INVALID;
        v->text = SPAN_LIT("not an address");
    } else if (!store_accepting(sv->store)) {
        v->status = IPC_NO_SPACE;
    } else {
        v->status = IPC_OK;
        v->remote = 1;
    }
}

void submission_rcpt(struct server *sv, struct session *session, bool well_formed, struct ipc_rcpt_verdict *v,
                     struct buf *text)
{
    uint64_t account = submission_account(session);
    if (account == 0)
        return;
    if (v->status == IPC_NOT_LOCAL)
        take_remote(sv, well_formed, v);
    if (v->status != IPC_OK)
        return;
    if (rates_ask(&sv->rates, account, session->recipients + 1, server_now_ms(sv), text) == BRANT_OK) {
        session->recipients++;
        return;
    }
    v->status = IPC_TOO_MANY;
    v->remote = 0;
    v->text = buf_span(text);
    log_event(LOG_WARNING, "submission-limit",
              LOG_HEX("session", span_make(session->id.b, sizeof session->id.b)), LOG_U64("account", account),
              LOG_SPAN("reason", buf_span(text)));
}

/* ---- senders ---- */

void on_sender_check(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_sender_check *q = &m->sender_check;
    struct session *session = sessions_find(&sv->sessions, &p->sessions, &q->session);
    if (!session || submission_account(session) == 0) {
        server_fault(p, "a sender for a session that is not logged in");
        return;
    }
    struct ipc_message answer = {.type = IPC_TYPE_SENDER_VERDICT, .tag = m->tag};
    struct buf _cleanup_buf_ address;
    buf_init(&address, IPC_ADDRESS_MAX);
    session->recipients = 0; /* a transaction begins, or its end is near */
    int rc = canonical_address(q->address, &address);
    if (q->address.len == 0) { /* the null reverse-path is everybody's */
        answer.sender_verdict.status = IPC_OK;
    } else if (rc != BRANT_OK) {
        answer.sender_verdict.status = IPC_REFUSED;
        answer.sender_verdict.text = SPAN_LIT("not an address");
    } else {
        rc = store_may_send_as(sv->store, session->account, buf_span(&address));
        answer.sender_verdict.status = rc == BRANT_OK ? IPC_OK : IPC_REFUSED;
        if (rc != BRANT_OK)
            answer.sender_verdict.text = SPAN_LIT("the account may not send as this address");
    }
    server_send(p, &answer);
}

/* ---- commits ---- */

/* The null reverse-path is everybody's. */
static bool may_send_from(struct server *sv, uint64_t account, struct span reverse_path)
{
    struct buf _cleanup_buf_ address;
    buf_init(&address, IPC_ADDRESS_MAX);
    return reverse_path.len == 0 || (canonical_address(reverse_path, &address) == BRANT_OK &&
                                     store_may_send_as(sv->store, account, buf_span(&address)) == BRANT_OK);
}

enum ipc_status submission_commit(struct server *sv, struct session *session, struct span reverse_path,
                                  uint32_t recipients)
{
    struct store_account_info info;
    uint64_t account = submission_account(session), now = server_now_ms(sv);
    session->recipients = 0;
    int rc = store_account_get(sv->store, account, &info);
    bool usable = rc == BRANT_OK && (info.options & STORE_ACCOUNT_ENABLED);
    mem_wipe(&info, sizeof info);
    if (!usable || !may_send_from(sv, account, reverse_path))
        return IPC_REFUSED;
    if (rates_ask(&sv->rates, account, recipients, now, NULL) != BRANT_OK)
        return IPC_TOO_MANY;
    rates_count(&sv->rates, account, recipients, now);
    return IPC_OK;
}
