/* How operations on domains, accounts and aliases are decided. */
#include "base/err.h"
#include "base/mem.h"
#include "store/ops.h"

static int refuse(struct store_op *op, int code, const char *reason)
{
    op->result = code;
    op->reason = reason;
    return BRANT_OK;
}

static int domain_add(struct store *st, struct store_op *op)
{
    char name[256];
    union record rec = {0};

    if (dir_canonical_domain(op->domain.name, name))
        return refuse(op, BRANT_ESYNTAX, "not a domain name");
    if (dir_domain(&st->dir, name))
        return refuse(op, BRANT_EEXISTS, "the domain exists");
    rec.domain.name = span_str(name);
    op->result = ops_name_free(st, st->dir.freed_seq);
    if (!op->result)
        op->result = writer_append(st, RECORD_DOMAIN, &rec, NULL, 0, false, &op->seq);
    if (op->result)
        return BRANT_OK;
    pthread_mutex_lock(&st->dir.lock);
    dir_domain_put(&st->dir, op->seq, rec.domain.name);
    pthread_mutex_unlock(&st->dir.lock);
    return BRANT_OK;
}

static int domain_remove(struct store *st, struct store_op *op)
{
    char name[256];
    union record rec = {0};
    struct dir_domain *domain;

    if (dir_canonical_domain(op->domain.name, name) || !(domain = dir_domain(&st->dir, name)))
        return refuse(op, BRANT_ENOTFOUND, "no such domain");
    if (domain->accounts || domain->aliases)
        return refuse(op, BRANT_ESTATE,
                      domain->accounts ? "the domain has accounts" : "the domain has aliases");
    rec.domain.id = domain->id;
    rec.domain.state = RECORD_STATE_REMOVED;
    op->result = writer_append(st, RECORD_DOMAIN, &rec, NULL, 0, true, &op->seq);
    if (op->result)
        return BRANT_OK;
    pthread_mutex_lock(&st->dir.lock);
    dir_domain_drop(&st->dir, domain);
    st->dir.freed_seq = op->seq;
    pthread_mutex_unlock(&st->dir.lock);
    return BRANT_OK;
}

static int account_add_check(struct store *st, struct store_op *op, char address[STORE_ADDRESS_MAX + 1])
{
    struct dir_name *n;

    if (dir_canonical(op->account.address, false, address))
        return refuse(op, BRANT_ESYNTAX, "not an address");
    if (op->account.verifier.len > STORE_VERIFIER_MAX)
        return refuse(op, BRANT_ELIMIT, "the password verifier is too long");
    if (!dir_domain_of(&st->dir, address))
        return refuse(op, BRANT_ENOTFOUND, "the domain is not one of ours");
    n = dir_name(&st->dir, address);
    if (n)
        return refuse(op, BRANT_EEXISTS, n->account ? "the account exists" : "an alias has that address");
    return BRANT_OK;
}

/* Keys without iterations are none. The spans point into `scram`. */
static void scram_keys(const struct store_scram *scram, struct record_account *rec)
{
    bool keys = scram->iterations != 0;

    rec->scram_iterations = scram->iterations;
    rec->scram_stored_key = keys ? span_make(scram->stored_key, sizeof scram->stored_key) : SPAN_NONE;
    rec->scram_server_key = keys ? span_make(scram->server_key, sizeof scram->server_key) : SPAN_NONE;
}

/* The caller's, or a new one. */
static void new_salt(struct store *st, const struct store_account *in, uint8_t salt[STORE_SCRAM_SALT_BYTES])
{
    static const uint8_t none[STORE_SCRAM_SALT_BYTES];

    memcpy(salt, in->scram.salt, sizeof none);
    if (!memcmp(salt, none, sizeof none))
        st->seam.random(st->seam.ctx, salt, sizeof none);
}

static uint32_t new_options(uint32_t old, const struct store_account *in)
{
    if (!(in->set & STORE_SET_OPTIONS))
        return old;
    return (old & ~in->option_mask) | (in->options & in->option_mask);
}

/* Each has a record of its own. A batch is not atomic: the account is on disk first, so that none comes
 * through a crash without it. */
static int account_mailboxes(struct store *st, struct store_op *op, struct dir_account *a, int64_t now_ms)
{
    const struct store_account *in = &op->account;

    if (in->mailbox_count)
        op->result = writer_sync(st);
    if (!op->result)
        op->result = ops_mailboxes_default(st, a, in->mailboxes, in->mailbox_count, now_ms);
    return BRANT_OK;
}

/* The account and its INBOX are one record. */
static int account_add(struct store *st, struct store_op *op, int64_t now_ms)
{
    const struct store_account *in = &op->account;
    char address[STORE_ADDRESS_MAX + 1];
    struct record_mailbox inbox = {.name = SPAN_LIT("INBOX"), .uidnext = 1, .modseq = 1};
    struct record_mailbox_state state = {.name = inbox.name, .uidnext = 1, .modseq = 1};
    union record rec = {0};
    struct dir_account *a;

    account_add_check(st, op, address);
    if (op->result)
        return BRANT_OK;
    inbox.uidvalidity = state.uidvalidity = ops_uidvalidity(st, now_ms);
    rec.account = (struct record_account){
        .address = span_str(address),
        .options = new_options(STORE_ACCOUNT_ENABLED, in),
        .quota_bytes = in->quota_bytes,
        .created_ms = (uint64_t)now_ms,
        .verifier = in->verifier,
        .mailboxes = &inbox,
        .mailboxes_count = 1,
    };
    new_salt(st, in, rec.account.scram_salt);
    if (in->set & STORE_SET_SCRAM)
        scram_keys(&in->scram, &rec.account);
    op->result = ops_name_free(st, st->dir.freed_seq);
    if (!op->result)
        op->result = writer_append(st, RECORD_ACCOUNT, &rec, NULL, 0, false, &op->seq);
    if (op->result)
        return BRANT_OK;
    pthread_mutex_lock(&st->dir.lock);
    a = dir_account_put(&st->dir, op->seq, &rec.account);
    dir_mailbox_put(&st->dir, a, op->seq, &state)->last_seq = op->seq;
    a->last_seq = op->seq;
    pthread_mutex_unlock(&st->dir.lock);
    op->account.account = op->seq;
    return account_mailboxes(st, op, a, now_ms);
}

struct dir_account *ops_account_of(struct store *st, struct span address)
{
    char canonical[STORE_ADDRESS_MAX + 1];
    struct dir_name *n;

    if (dir_canonical(address, false, canonical))
        return NULL;
    n = dir_name(&st->dir, canonical);
    return n ? n->account : NULL;
}

static void account_grants(struct store *st, const struct dir_account *a, struct record_account *rec)
{
    rec->grants = arena_array(&st->writer_arena, a->grant_count, sizeof *rec->grants);
    for (const struct dir_grant *g = a->grants; g; g = g->next)
        rec->grants[rec->grants_count++] = (struct record_grant){.kind = g->kind,
                                                                 .name = span_make(g->name, g->name_len),
                                                                 .protocols = g->protocols,
                                                                 .created_ms = g->created_ms,
                                                                 .expires_ms = g->expires_ms,
                                                                 .data = span_make(g->data, g->data_len)};
}

struct record_account ops_account(struct store *st, const struct dir_account *a)
{
    struct record_account rec = {.id = a->id,
                                 .state = a->state,
                                 .address = a->name ? span_str(a->name->address) : SPAN_NONE,
                                 .options = a->options,
                                 .quota_bytes = a->quota_bytes,
                                 .inbox = a->inbox,
                                 .created_ms = a->created_ms,
                                 .verifier = buf_span(&a->verifier)};

    memcpy(rec.scram_salt, a->scram.salt, sizeof rec.scram_salt);
    scram_keys(&a->scram, &rec);
    account_grants(st, a, &rec);
    return rec;
}

/* What the operation asks for, in the account's new record. */
static void account_change(const struct store_account *in, struct record_account *rec)
{
    rec->options = new_options(rec->options, in);
    if (in->set & STORE_SET_QUOTA)
        rec->quota_bytes = in->quota_bytes;
    if (in->set & STORE_SET_VERIFIER) {
        rec->verifier = in->verifier;
        scram_keys(&(struct store_scram){0}, rec); /* those of another password */
    }
    if (in->set & STORE_SET_SCRAM)
        scram_keys(&in->scram, rec);
}

static int account_set(struct store *st, struct store_op *op)
{
    const struct store_account *in = &op->account;
    struct dir_account *a = ops_account_of(st, in->address);
    union record rec = {0};

    if (!a)
        return refuse(op, BRANT_ENOTFOUND, "no such account");
    if (in->verifier.len > STORE_VERIFIER_MAX)
        return refuse(op, BRANT_ELIMIT, "the password verifier is too long");
    if (in->set & STORE_SET_IF_VERIFIER && !span_eq(in->expected, buf_span(&a->verifier)))
        return refuse(op, BRANT_ESTATE, "the password has changed meanwhile");
    rec.account = ops_account(st, a);
    account_change(in, &rec.account);
    op->result = writer_append(st, RECORD_ACCOUNT, &rec, NULL, 0, false, &op->seq);
    if (op->result)
        return BRANT_OK;
    pthread_mutex_lock(&st->dir.lock);
    dir_account_put(&st->dir, a->id, &rec.account);
    a->last_seq = op->seq;
    pthread_mutex_unlock(&st->dir.lock);
    op->account.account = a->id;
    return BRANT_OK;
}

static int account_remove(struct store *st, struct store_op *op)
{
    struct dir_account *a = ops_account_of(st, op->account.address);
    union record rec = {0};

    if (!a)
        return refuse(op, BRANT_ENOTFOUND, "no such account");
    rec.account = (struct record_account){.id = a->id,
                                          .state = RECORD_STATE_REMOVING,
                                          .options = a->options,
                                          .quota_bytes = a->quota_bytes,
                                          .inbox = a->inbox,
                                          .created_ms = a->created_ms};
    op->result = writer_append(st, RECORD_ACCOUNT, &rec, NULL, 0, true, &op->seq);
    if (op->result)
        return BRANT_OK;
    pthread_mutex_lock(&st->dir.lock);
    dir_account_detach(&st->dir, a);
    a->last_seq = st->dir.freed_seq = op->seq;
    pthread_mutex_unlock(&st->dir.lock);
    op->account.account = a->id;
    ops_removing_add(st, a->id);
    return BRANT_OK;
}

static int alias_check(struct store *st, struct store_op *op, char address[STORE_ADDRESS_MAX + 1],
                       char target[STORE_ADDRESS_MAX + 1])
{
    struct dir_name *n;
    size_t count;
    int rc;

    if (dir_canonical(op->alias.address, true, address) || dir_canonical(op->alias.target, false, target))
        return refuse(op, BRANT_ESYNTAX, "not an address");
    if (!dir_domain_of(&st->dir, address))
        return refuse(op, BRANT_ENOTFOUND, "the domain is not one of ours");
    if (!dir_domain_of(&st->dir, target))
        return refuse(op, BRANT_EREFUSED, "the target is not in one of our domains, and mail is not relayed");
    n = dir_name(&st->dir, address);
    if (n && n->account)
        return refuse(op, BRANT_EEXISTS, "an account has that address");
    for (struct dir_alias *a = n ? n->aliases : NULL; a; a = a->next) {
        if (!strcmp(a->target, target))
            return refuse(op, BRANT_EEXISTS, "the alias has that target already");
    }
    pthread_mutex_lock(&st->dir.lock);
    rc = dir_resolve(&st->dir, span_str(target), &count);
    pthread_mutex_unlock(&st->dir.lock);
    if (rc)
        return refuse(op, rc,
                      rc == BRANT_ELIMIT ? "the target's own aliases go too deep"
                                         : "nobody has the target's address");
    return BRANT_OK;
}

static int alias_add(struct store *st, struct store_op *op)
{
    char address[STORE_ADDRESS_MAX + 1], target[STORE_ADDRESS_MAX + 1];
    struct record_alias alias = {0};
    union record rec = {.alias_set = {.aliases = &alias, .aliases_count = 1}};

    alias_check(st, op, address, target);
    if (op->result)
        return BRANT_OK;
    alias.address = span_str(address);
    alias.target = span_str(target);
    op->result = ops_name_free(st, st->dir.freed_seq);
    if (!op->result)
        op->result = writer_append(st, RECORD_ALIAS, &rec, NULL, 0, false, &op->seq);
    if (op->result)
        return BRANT_OK;
    pthread_mutex_lock(&st->dir.lock);
    dir_alias_put(&st->dir, op->seq, alias.address, alias.target);
    pthread_mutex_unlock(&st->dir.lock);
    return BRANT_OK;
}

static int alias_remove(struct store *st, struct store_op *op)
{
    char address[STORE_ADDRESS_MAX + 1], target[STORE_ADDRESS_MAX + 1] = "";
    struct dir_name *n = NULL;
    union record rec = {0};
    size_t max = 0;

    if (!dir_canonical(op->alias.address, true, address))
        n = dir_name(&st->dir, address);
    if (op->alias.target.len && dir_canonical(op->alias.target, false, target))
        return refuse(op, BRANT_ESYNTAX, "the target is not an address");
    for (struct dir_alias *a = n ? n->aliases : NULL; a && max < RECORD_ENTRIES_MAX; a = a->next)
        max++;
    rec.alias_set.aliases = arena_array(&st->writer_arena, max, sizeof *rec.alias_set.aliases);
    for (struct dir_alias *a = n ? n->aliases : NULL; a && rec.alias_set.aliases_count < max; a = a->next) {
        if (!target[0] || !strcmp(a->target, target))
            rec.alias_set.aliases[rec.alias_set.aliases_count++] =
                (struct record_alias){.id = a->id, .state = RECORD_STATE_REMOVED};
    }
    if (!rec.alias_set.aliases_count)
        return refuse(op, BRANT_ENOTFOUND, "no such alias");
    op->result = writer_append(st, RECORD_ALIAS, &rec, NULL, 0, true, &op->seq);
    if (op->result)
        return BRANT_OK;
    pthread_mutex_lock(&st->dir.lock);
    for (uint32_t i = 0; i < rec.alias_set.aliases_count; i++) {
        struct dir_alias *a = n->aliases;

        while (a->id != rec.alias_set.aliases[i].id)
            a = a->next;
        dir_alias_drop(&st->dir, n, a);
    }
    st->dir.freed_seq = op->seq;
    pthread_mutex_unlock(&st->dir.lock);
    return BRANT_OK;
}

int ops_directory(struct store *st, struct store_op *op, int64_t now_ms)
{
    switch (op->kind) {
    case STORE_OP_DOMAIN_ADD:
        return domain_add(st, op);
    case STORE_OP_DOMAIN_REMOVE:
        return domain_remove(st, op);
    case STORE_OP_ACCOUNT_ADD:
        return account_add(st, op, now_ms);
    case STORE_OP_ACCOUNT_REMOVE:
        return account_remove(st, op);
    case STORE_OP_ACCOUNT_SET:
        return account_set(st, op);
    case STORE_OP_ALIAS_ADD:
        return alias_add(st, op);
    case STORE_OP_ALIAS_REMOVE:
        return alias_remove(st, op);
    case STORE_OP_GRANT_ADD:
    case STORE_OP_GRANT_REMOVE:
        return ops_grant(st, op, now_ms);
    default:
        return refuse(op, BRANT_EUNSUPPORTED, "no such operation");
    }
}
