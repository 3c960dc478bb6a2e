/* How grants are given and taken. */
#include "base/ascii.h"
#include "base/codec.h"
#include "base/err.h"
#include "store/ops.h"

static int refuse(struct store_op *op, int code, const char *reason)
{
    op->result = code;
    op->reason = reason;
    return BRANT_OK;
}

/* The name as it is kept: addresses canonical, others as they are. BRANT_ESYNTAX. */
static int grant_name(const struct store_grant *g, char kept[STORE_ADDRESS_MAX + 1], struct span *ret)
{
    *ret = g->name;
    if (g->kind == STORE_GRANT_SEND_AS) {
        if (dir_canonical(g->name, true, kept))
            return BRANT_ESYNTAX;
        *ret = span_str(kept);
        return BRANT_OK;
    }
    for (size_t i = 0; i < g->name.len; i++) {
        if (ascii_is_ctl(g->name.p[i]))
            return BRANT_ESYNTAX;
    }
    return g->name.len && g->name.len <= STORE_GRANT_NAME_MAX && codec_utf8_valid(g->name) ? BRANT_OK
                                                                                           : BRANT_ESYNTAX;
}

static bool grant_data_possible(const struct store_grant *g)
{
    switch ((enum store_grant_kind)g->kind) {
    case STORE_GRANT_APP_PASSWORD:
        return g->data.len > 0 && g->data.len <= STORE_GRANT_DATA_MAX;
    case STORE_GRANT_CERTIFICATE:
        return g->data.len == 32;
    case STORE_GRANT_SEND_AS:
        return g->data.len == 0;
    default:
        return false;
    }
}

static int grant_add(struct store *st, struct store_op *op, struct dir_account *a, struct span name,
                     int64_t now_ms)
{
    struct store_grant *in = &op->grant.grant;
    struct record_grant grant = {.kind = in->kind,
                                 .name = name,
                                 .protocols = in->protocols,
                                 .created_ms = (uint64_t)now_ms,
                                 .expires_ms = in->expires_ms,
                                 .data = in->data};
    struct record_grant *grants;
    union record rec = {0};

    if (!grant_data_possible(in))
        return refuse(op, BRANT_ESYNTAX, "not what such a grant holds");
    if (dir_grant(a, in->kind, name))
        return refuse(op, BRANT_EEXISTS, "the account has one of that name");
    if (in->kind == STORE_GRANT_CERTIFICATE && dir_certificate(&st->dir, in->data))
        return refuse(op, BRANT_EEXISTS, "the certificate belongs to an account already");
    if (a->grant_count >= STORE_GRANTS_MAX)
        return refuse(op, BRANT_ELIMIT, "the account has too many of them");
    rec.account = ops_account(st, a);
    grants = arena_array(&st->writer_arena, a->grant_count + 1, sizeof *grants);
    if (a->grant_count)
        memcpy(grants, rec.account.grants, a->grant_count * sizeof *grants);
    grants[a->grant_count] = grant;
    rec.account.grants = grants;
    rec.account.grants_count++;
    op->result = ops_name_free(st, st->dir.freed_seq); /* a certificate is one account's */
    if (!op->result)
        op->result = writer_append(st, RECORD_ACCOUNT, &rec, NULL, 0, false, &op->seq);
    if (op->result)
        return BRANT_OK;
    pthread_mutex_lock(&st->dir.lock);
    dir_grant_put(&st->dir, a, &grant);
    a->last_seq = op->seq;
    pthread_mutex_unlock(&st->dir.lock);
    in->created_ms = grant.created_ms;
    return BRANT_OK;
}

static int grant_remove(struct store *st, struct store_op *op, struct dir_account *a, struct span name)
{
    struct dir_grant *g = dir_grant(a, op->grant.grant.kind, name);
    union record rec = {0};
    uint32_t at = 0;

    if (!g)
        return refuse(op, BRANT_ENOTFOUND, "the account has none of that name");
    rec.account = ops_account(st, a);
    for (const struct dir_grant *other = a->grants; other != g; other = other->next)
        at++;
    rec.account.grants_count--;
    memmove(&rec.account.grants[at], &rec.account.grants[at + 1],
            (rec.account.grants_count - at) * sizeof *rec.account.grants);
    /* Taking a right away works on a full disk. */
    op->result = writer_append(st, RECORD_ACCOUNT, &rec, NULL, 0, true, &op->seq);
    if (op->result)
        return BRANT_OK;
    pthread_mutex_lock(&st->dir.lock);
    dir_grant_drop(&st->dir, g);
    a->last_seq = st->dir.freed_seq = op->seq;
    pthread_mutex_unlock(&st->dir.lock);
    return BRANT_OK;
}

int ops_grant(struct store *st, struct store_op *op, int64_t now_ms)
{
    struct dir_account *a = ops_account_of(st, op->grant.address);
    char kept[STORE_ADDRESS_MAX + 1];
    struct span name;

    if (!a)
        return refuse(op, BRANT_ENOTFOUND, "no such account");
    if (grant_name(&op->grant.grant, kept, &name))
        return refuse(op, op->kind == STORE_OP_GRANT_ADD ? BRANT_ESYNTAX : BRANT_ENOTFOUND, "not a name");
    return op->kind == STORE_OP_GRANT_ADD ? grant_add(st, op, a, name, now_ms)
                                          : grant_remove(st, op, a, name);
}
