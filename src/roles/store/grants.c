/* What an account has beside its password: app passwords, client certificates, addresses it may send as. */
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "log/log.h"
#include "roles/store/admin.h"
#include "roles/store/app_password.h"
#include "roles/store/prepare.h"

enum { LIST_ARENA_BYTES = 128 * 1024, GRANT_ARENA_BYTES = 8192 };

/* A grant on its way; an app password waits for its keys first. */
struct grant_op {
    struct op op;
    struct password_task task;
    char password[APP_PASSWORD_TEXT_MAX]; /* of a new app password; "" otherwise */
    uint8_t data[STORE_GRANT_DATA_MAX];
};

static const char *kind_name(uint8_t kind)
{
    static const char *const names[] = {[IPC_GRANT_APP_PASSWORD] = "app password",
                                        [IPC_GRANT_CERTIFICATE] = "certificate",
                                        [IPC_GRANT_SEND_AS] = "address"};
    return names[kind];
}

static void answer(struct peer *p, uint32_t tag, enum ipc_status status, const char *text,
                   const char *password)
{
    struct ipc_message m = {.type = IPC_TYPE_GRANT_ADDED, .tag = tag};
    m.grant_added = (struct ipc_grant_added){
        .status = (uint8_t)status, .text = span_str(text), .password = span_str(password)};
    server_send(p, &m);
}

/* ---- names ---- */

/* An address in the directory's spelling, or a name of one kind of spaces and composed letters. */
static struct span take_name(struct arena *a, uint8_t kind, struct span asked)
{
    struct buf _cleanup_buf_ name;
    buf_init(&name, IPC_NAME_MAX);
    if (kind == IPC_GRANT_SEND_AS)
        return admin_take_alias(a, asked);
    return prepare_opaque(span_trim(asked), &name) == BRANT_OK ? arena_dup(a, buf_span(&name)) : SPAN_NONE;
}

static const char *bad_name(uint8_t kind)
{
    return kind == IPC_GRANT_SEND_AS
               ? "not an address: write user@example.org, or @example.org for all of them"
               : "a name has 1 to 64 bytes of UTF-8 and no control characters";
}

/* ---- adding ---- */

static const char *refusal(const struct op *op)
{
    uint8_t kind = op->store.grant.grant.kind;
    switch (op->store.result) {
    case BRANT_EEXISTS:
        return kind == STORE_GRANT_CERTIFICATE
                   ? "there is one of that name already, or an account that knows this certificate"
                   : "there is one of that name already";
    case BRANT_ENOTFOUND:
        return "there is no such account";
    case BRANT_ELIMIT:
        return "an account has at most 64 app passwords, certificates and addresses together";
    default:
        return op->store.reason ? op->store.reason : brant_err_text(op->store.result);
    }
}

static void grant_release(struct op *op)
{
    struct grant_op *g = (struct grant_op *)op;
    mem_wipe(g->password, sizeof g->password);
    mem_wipe(g->data, sizeof g->data);
}

static void log_grant(const struct op *op, const char *command)
{
    const struct store_grant_op *g = &op->store.grant;
    log_event(LOG_INFO, "admin", LOG_STR("command", command), LOG_STR("kind", kind_name(g->grant.kind)),
              LOG_SPAN("account", g->address), LOG_SPAN("name", g->grant.name),
              LOG_STR("result", ipc_status_text((uint8_t)server_status_of(op->store.result))));
}

static void grant_added(struct op *op)
{
    struct grant_op *g = (struct grant_op *)op;
    struct peer *p = server_peer(op->sv, op->peer);
    bool ok = op->store.result == BRANT_OK;
    log_grant(op, "grant_add");
    if (p)
        answer(p, op->tag, server_status_of(op->store.result), ok ? "" : refusal(op), ok ? g->password : "");
    op_free(op);
}

static struct grant_op *grant_of(struct password_task *t)
{
    return (struct grant_op *)((char *)t - offsetof(struct grant_op, task));
}

static void grant_drop(struct password_task *t)
{
    op_free(&grant_of(t)->op);
}

/* The keys of a new app password are there. */
static void grant_hashed(struct server *sv, struct password_task *t, const struct passwords_result *r)
{
    struct grant_op *g = grant_of(t);
    struct app_password app = {.keys = r->keys};
    (void)sv; /* without Argon2 nothing can fail */
    app_password_sum(span_str(g->password), app.sum);
    app_password_encode(&app, g->data);
    g->op.store.grant.grant.data = span_make(g->data, APP_PASSWORD_DATA_BYTES);
    mem_wipe(&app, sizeof app);
    op_submit(&g->op);
}

/* With the account's salt and count, so that it can be tried in the same exchange as the account's own. */
static void app_password_go(struct server *sv, struct peer *p, struct grant_op *g)
{
    struct store_account_info info;
    if (store_account_find(sv->store, g->op.store.grant.address, &info) != BRANT_OK) {
        answer(p, g->op.tag, IPC_NOT_FOUND, "there is no such account", "");
        op_free(&g->op);
        return;
    }
    uint64_t id = server_serial(sv);
    uint32_t iterations = info.scram.iterations > 0 ? info.scram.iterations : SCRAM_KEYS_ITERATIONS;
    app_password_generate(g->password);
    g->task = (struct password_task){
        .peer = g->op.peer, .tag = g->op.tag, .finish = grant_hashed, .drop = grant_drop};
    enum passwords_outcome outcome =
        passwords_keys(sv->passwords, id, span_str(g->password), info.scram.salt, iterations);
    mem_wipe(&info, sizeof info);
    if (outcome == PASSWORDS_PENDING) {
        map_put(&sv->logins, map_u64_key(&id), &g->task);
        return;
    }
    answer(p, g->op.tag, IPC_TRY_LATER, "too many passwords are being checked; try again", "");
    op_free(&g->op);
}

static const char *wrong_grant(const struct ipc_grant_add *q)
{
    if (q->kind == IPC_GRANT_CERTIFICATE && q->fingerprint.len != IPC_FINGERPRINT_BYTES)
        return "the fingerprint of a certificate is its SHA-256";
    if (q->expires_at_s > INT64_MAX / 1000)
        return "there is no such time for it to end";
    return q->kind != IPC_GRANT_SEND_AS && q->protocols == 0 ? "it would be good for no protocol" : NULL;
}

void on_grant_add(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_grant_add *q = &m->grant_add;
    if (q->kind == 0) {
        server_fault(p, "a grant of no kind");
        return;
    }
    struct grant_op *g = op_new(sv, sizeof *g, GRANT_ARENA_BYTES);
    struct store_grant_op *s = &g->op.store.grant;
    g->op.peer = p->sessions.channel;
    g->op.tag = m->tag;
    g->op.finish = grant_added;
    g->op.release = grant_release;
    g->op.store.kind = STORE_OP_GRANT_ADD;
    s->address = admin_take_address(&g->op.arena, q->address);
    s->grant = (struct store_grant){.kind = q->kind,
                                    .name = take_name(&g->op.arena, q->kind, q->name),
                                    .protocols = q->protocols,
                                    .expires_ms = q->expires_at_s * 1000};
    const char *wrong = s->address.len == 0      ? "not an account: write user@example.org"
                        : s->grant.name.len == 0 ? bad_name(q->kind)
                                                 : wrong_grant(q);
    if (wrong) {
        answer(p, m->tag, IPC_INVALID, wrong, "");
        op_free(&g->op);
        return;
    }
    if (q->kind == IPC_GRANT_APP_PASSWORD) {
        app_password_go(sv, p, g);
        return;
    }
    s->grant.data = arena_dup(&g->op.arena, q->kind == IPC_GRANT_CERTIFICATE ? q->fingerprint : SPAN_NONE);
    op_submit(&g->op);
}

/* ---- removing ---- */

static void grant_removed(struct op *op)
{
    struct peer *p = server_peer(op->sv, op->peer);
    int rc = op->store.result;
    log_grant(op, "grant_remove");
    if (p)
        server_result(p, op->tag, server_status_of(rc),
                      rc == BRANT_OK          ? NULL
                      : rc == BRANT_ENOTFOUND ? "the account has none of that name"
                                              : brant_err_text(rc));
    op_free(op);
}

void on_grant_remove(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_grant_remove *q = &m->grant_remove;
    if (q->kind == 0) {
        server_fault(p, "a grant of no kind");
        return;
    }
    struct op *op = op_new(sv, sizeof *op, GRANT_ARENA_BYTES);
    struct store_grant_op *s = &op->store.grant;
    op->peer = p->sessions.channel;
    op->tag = m->tag;
    op->finish = grant_removed;
    op->store.kind = STORE_OP_GRANT_REMOVE;
    s->address = admin_take_address(&op->arena, q->address);
    s->grant.kind = q->kind;
    s->grant.name = take_name(&op->arena, q->kind, q->name);
    if (s->address.len > 0 && s->grant.name.len > 0) {
        op_submit(op);
        return;
    }
    server_result(p, m->tag, IPC_INVALID,
                  s->address.len == 0 ? "not an account: write user@example.org" : bad_name(q->kind));
    op_free(op);
}

/* ---- listing ---- */

static void list_rows(const struct store_grant *grants, size_t count, struct ipc_grant_row *rows)
{
    for (size_t i = 0; i < count; i++)
        rows[i] = (struct ipc_grant_row){
            .kind = grants[i].kind,
            .name = grants[i].name,
            .protocols = grants[i].protocols & IPC_PROTOCOL_ALL,
            .created_at_s = grants[i].created_ms / 1000,
            .expires_at_s = grants[i].expires_ms / 1000,
            .fingerprint = grants[i].kind == STORE_GRANT_CERTIFICATE ? grants[i].data : SPAN_NONE};
}

void on_grant_list(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    struct ipc_message out = {.type = IPC_TYPE_GRANT_ROWS, .tag = m->tag};
    struct ipc_grant_row rows[STORE_GRANTS_MAX];
    struct arena _cleanup_arena_ arena;
    struct store_account_info info = {.account = 0};
    struct store_grant *grants = NULL;
    size_t count = 0;
    arena_init(&arena, LIST_ARENA_BYTES);
    struct span name = admin_take_address(&arena, m->grant_list.address);
    int rc = name.len > 0 ? store_account_find(sv->store, name, &info) : BRANT_ENOTFOUND;
    uint64_t account = info.account;
    mem_wipe(&info, sizeof info);
    if (rc == BRANT_OK)
        rc = store_grants_get(sv->store, account, m->grant_list.kind, &arena, &grants, &count);
    if (rc == BRANT_OK && count <= STORE_GRANTS_MAX)
        list_rows(grants, count, rows);
    else
        count = 0;
    out.grant_rows =
        (struct ipc_grant_rows){.status = (uint8_t)server_status_of(rc),
                                .text = rc == BRANT_OK ? SPAN_NONE : SPAN_LIT("there is no such account"),
                                .rows = rows,
                                .rows_count = (uint32_t)count};
    server_send(p, &out);
}
