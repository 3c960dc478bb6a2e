/* Administration: accounts. */
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "roles/store/admin.h"
#include "roles/store/defaults.h"
#include "roles/store/prepare.h"

static struct admin_op *task_op(struct password_task *t)
{
    return (struct admin_op *)((char *)t - offsetof(struct admin_op, task));
}

static void account_drop(struct password_task *t)
{
    op_free(&task_op(t)->op);
}

/* The new password has become a verifier and keys. */
static void account_hashed(struct server *sv, struct password_task *t, const struct passwords_result *r)
{
    struct admin_op *a = task_op(t);
    struct store_account *s = &a->op.store.account;
    if (r->outcome == PASSWORDS_HASHED) {
        s->verifier = arena_dup(&a->op.arena, span_str(r->verifier));
        s->set |= STORE_SET_SCRAM;
        s->scram.iterations = r->keys.iterations;
        memcpy(s->scram.stored_key, r->keys.stored, sizeof s->scram.stored_key);
        memcpy(s->scram.server_key, r->keys.server, sizeof s->scram.server_key);
        op_submit(&a->op);
        return;
    }
    struct peer *p = server_peer(sv, t->peer);
    if (p)
        server_result(p, t->tag, IPC_FAILED, "the password could not be hashed: no memory");
    op_free(&a->op);
}

/* The salt is the account's for life. A new one gets what a name without account is answered with, so that
 * nobody sees it come into being. */
static void take_salt(struct server *sv, struct store_account *s)
{
    struct store_account_info info;
    scram_keys_salt(sv->secret, s->address, s->scram.salt);
    if (store_account_find(sv->store, s->address, &info) != BRANT_OK)
        return;
    memcpy(s->scram.salt, info.scram.salt, sizeof s->scram.salt);
    mem_wipe(&info, sizeof info);
}

static void hash(struct server *sv, struct peer *p, struct admin_op *a, struct span password)
{
    struct buf _cleanup_buf_ prepared;
    buf_init_secret(&prepared, PREPARE_BYTES_MAX);
    if (prepare_opaque(password, &prepared) != BRANT_OK) {
        admin_refuse(p, a, IPC_INVALID,
                     "a password has at most 512 bytes of UTF-8, and no control characters, private or "
                     "unassigned ones");
        return;
    }
    uint64_t id = server_serial(sv);
    if (passwords_hash(sv->passwords, id, buf_span(&prepared), a->op.store.account.scram.salt) !=
        PASSWORDS_PENDING) {
        admin_refuse(p, a, IPC_TRY_LATER, "too many passwords are being checked; try again");
        return;
    }
    a->task = (struct password_task){
        .peer = a->op.peer, .tag = a->op.tag, .finish = account_hashed, .drop = account_drop};
    map_put(&sv->logins, map_u64_key(&id), &a->task);
}

/* A hash from elsewhere is the verifier until its owner logs in. */
static void import(struct peer *p, struct admin_op *a, struct span asked, struct span text)
{
    struct buf _cleanup_buf_ verifier;
    const char *reason;
    buf_init(&verifier, VERIFIER_TEXT_MAX - 1);
    if (verifier_import(text, &verifier, &reason) != BRANT_OK) {
        admin_refuse(p, a, IPC_INVALID, reason);
        return;
    }
    a->op.store.account.verifier = arena_dup(&a->op.arena, buf_span(&verifier));
    admin_go(p, a, a->name, asked, admin_an_address);
}

/* Goes on at once without a password, or when it is hashed. */
static void account_go(struct server *sv, struct peer *p, struct admin_op *a, struct span asked,
                       struct span password, bool hashed)
{
    if (password.len == 0 || a->name.len == 0)
        admin_go(p, a, a->name, asked, admin_an_address);
    else if (hashed)
        import(p, a, asked, password);
    else
        hash(sv, p, a, password);
}

void on_account_add(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_account_add *q = &m->account_add;
    struct admin_op *a = admin_new(sv, p, m, STORE_OP_ACCOUNT_ADD);
    a->name = admin_take_address(&a->op.arena, q->address);
    a->op.store.account = (struct store_account){
        .address = a->name,
        .options = STORE_ACCOUNT_ENABLED,
        .quota_bytes = q->quota_bytes,
        .mailboxes = defaults_mailboxes,
        .mailbox_count = defaults_count,
    };
    take_salt(sv, &a->op.store.account);
    account_go(sv, p, a, q->address, q->password, q->hashed);
}

void on_account_remove(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    struct admin_op *a = admin_new(sv, p, m, STORE_OP_ACCOUNT_REMOVE);
    struct span name = admin_take_address(&a->op.arena, m->account_remove.address);
    a->op.store.account.address = name;
    admin_go(p, a, name, m->account_remove.address, admin_an_address);
}

static void set_option(struct store_account *s, uint32_t option, bool on)
{
    s->set |= STORE_SET_OPTIONS;
    s->option_mask |= option;
    s->options |= on ? option : 0;
}

void on_account_set(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_account_set *q = &m->account_set;
    struct admin_op *a = admin_new(sv, p, m, STORE_OP_ACCOUNT_SET);
    struct store_account *s = &a->op.store.account;
    a->name = admin_take_address(&a->op.arena, q->address);
    s->address = a->name;
    s->quota_bytes = q->quota_bytes;
    if (q->change & IPC_ACCOUNT_PASSWORD)
        s->set |= STORE_SET_VERIFIER;
    if (q->change & IPC_ACCOUNT_QUOTA)
        s->set |= STORE_SET_QUOTA;
    if (q->change & IPC_ACCOUNT_ENABLED)
        set_option(s, STORE_ACCOUNT_ENABLED, q->enabled);
    if (q->change & IPC_ACCOUNT_SENT_COPY)
        set_option(s, STORE_ACCOUNT_SENT_COPY, q->sent_copy);
    take_salt(sv, s);
    account_go(sv, p, a, q->address, q->change & IPC_ACCOUNT_PASSWORD ? q->password : SPAN_NONE, q->hashed);
}
