#include "roles/store/defaults.h"

#include "base/err.h"
#include "imap/flag.h"
#include "log/log.h"

enum { DEFAULTS_ARENA = 8192 };

#define NAME(text)                                \
    {                                             \
        (const uint8_t *)(text), sizeof(text) - 1 \
    }
const struct store_default_mailbox defaults_mailboxes[] = {{NAME("Archive"), IMAP_USE_ARCHIVE},
                                                           {NAME("Drafts"), IMAP_USE_DRAFTS},
                                                           {NAME("Junk"), IMAP_USE_JUNK},
                                                           {NAME("Sent"), IMAP_USE_SENT},
                                                           {NAME("Trash"), IMAP_USE_TRASH}};
const size_t defaults_count = sizeof defaults_mailboxes / sizeof *defaults_mailboxes;

/* Step by step: each mailbox, the subscription to each and to INBOX, and the note. */
struct defaults_op {
    struct op op;
    uint64_t account, session; /* id; serial */
    struct span address;
    size_t step;
    struct ipc_message answer; /* what it points to is in the arena */
};

bool defaults_due(const struct store_account_info *info)
{
    return !(info->options & STORE_ACCOUNT_MAILBOXES);
}

static void next_step(struct defaults_op *d)
{
    size_t made = defaults_count, subscribed = 2 * defaults_count + 1;
    struct store_op *op = &d->op.store;
    op->kind = STORE_OP_MAILBOX;
    if (d->step < made)
        op->mailbox = (struct store_mailbox_op){.account = d->account,
                                                .action = STORE_MAILBOX_CREATE,
                                                .name = defaults_mailboxes[d->step].name,
                                                .uses = defaults_mailboxes[d->step].uses};
    else if (d->step < subscribed)
        op->mailbox = (struct store_mailbox_op){
            .account = d->account,
            .action = STORE_MAILBOX_SUBSCRIBE,
            .name = d->step == made ? SPAN_LIT("INBOX") : defaults_mailboxes[d->step - made - 1].name};
    else {
        op->kind = STORE_OP_ACCOUNT_SET;
        op->account = (struct store_account){.address = d->address,
                                             .set = STORE_SET_OPTIONS,
                                             .options = STORE_ACCOUNT_MAILBOXES,
                                             .option_mask = STORE_ACCOUNT_MAILBOXES};
    }
    d->step++;
    op_submit(&d->op);
}

static void finish(struct op *op)
{
    struct defaults_op *d = (struct defaults_op *)op;
    struct server *sv = op->sv;
    int rc = op->store.result;
    bool note = op->store.kind == STORE_OP_ACCOUNT_SET;
    if (rc != BRANT_OK && rc != BRANT_EEXISTS)
        log_event(LOG_WARNING, "default-mailbox-failed", LOG_U64("account", d->account),
                  LOG_SPAN("mailbox", note ? SPAN_NONE : op->store.mailbox.name),
                  LOG_STR("error", brant_err_text(rc)));
    if (!note) {
        next_step(d);
        return;
    }
    struct peer *p = server_peer(sv, op->peer);
    struct session *session = sessions_find_serial(&sv->sessions, d->session);
    if (p && session) {
        session->login_pending = false;
        server_send(p, &d->answer);
    }
    op_free(op);
}

/* The answer holds a token. */
static void release(struct op *op)
{
    arena_wipe(&op->arena);
}

void defaults_make(struct peer *p, const struct session *session, const struct store_account_info *info,
                   const struct ipc_message *login_result)
{
    struct defaults_op *d = op_new(p->server, sizeof *d, DEFAULTS_ARENA);
    struct ipc_login_result *r = &d->answer.login_result;
    d->op.peer = p->sessions.channel;
    d->op.finish = finish;
    d->op.release = release;
    d->account = info->account;
    d->session = session->serial;
    d->address = arena_dup(&d->op.arena, span_str(info->address));
    d->answer = *login_result;
    r->token = arena_dup(&d->op.arena, r->token);
    r->address = arena_dup(&d->op.arena, r->address);
    r->final = arena_dup(&d->op.arena, r->final);
    next_step(d);
}
