/* Administration: domains, aliases, the queue. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "log/log.h"
#include "roles/common/canonical.h"
#include "roles/store/admin.h"

/* ---- names as the store keeps them: an empty span when it is none ---- */

static struct span keep(struct arena *a, const struct buf *name, int rc)
{
    return rc == BRANT_OK ? arena_dup(a, buf_span(name)) : SPAN_NONE;
}

static struct span take_domain(struct arena *a, struct span text)
{
    struct buf _cleanup_buf_ name;
    buf_init(&name, 255);
    if (text.len > 0 && text.p[0] == '[')
        return SPAN_NONE;
    return keep(a, &name, canonical_domain(text, &name));
}

/* An address, or "@domain". */
struct span admin_take_alias(struct arena *a, struct span text)
{
    struct buf _cleanup_buf_ name;
    buf_init(&name, IPC_ADDRESS_MAX);
    if (span_find_byte(text, '@') == SPAN_NPOS || text.p[text.len - 1] == ']')
        return SPAN_NONE;
    return keep(a, &name, canonical_address(text, &name));
}

struct span admin_take_address(struct arena *a, struct span text)
{
    return text.len > 0 && text.p[0] == '@' ? SPAN_NONE : admin_take_alias(a, text);
}

/* ---- answers ---- */

/* "example.org has 3 accounts and 1 alias; remove them first" */
static void domain_in_use(struct server *sv, struct span name, struct buf *text)
{
    struct store_domain_info info;
    char after[256] = "";
    /* In order of the names: the one behind the greatest smaller one. */
    while (store_domains_list(sv->store, span_str(after), &info, 1) == 1) {
        if (span_eq_str_nocase(name, info.name)) {
            buf_printf(text, "%s has %llu account%s and %llu alias%s; remove them first", info.name,
                       (unsigned long long)info.accounts, info.accounts == 1 ? "" : "s",
                       (unsigned long long)info.aliases, info.aliases == 1 ? "" : "es");
            return;
        }
        memcpy(after, info.name, sizeof after);
    }
    buf_append_str(text, "it is still in use; remove its accounts and aliases first");
}

static const char *thing(uint16_t question)
{
    switch (question) {
    case IPC_TYPE_DOMAIN_ADD:
    case IPC_TYPE_DOMAIN_REMOVE:
        return "domain";
    case IPC_TYPE_ALIAS_ADD:
    case IPC_TYPE_ALIAS_REMOVE:
        return "alias";
    case IPC_TYPE_QUEUE_REMOVE:
        return "row in the queue";
    default:
        return "account";
    }
}

static void refusal_text(struct server *sv, const struct admin_op *a, int rc, struct buf *text)
{
    bool adds = a->question == IPC_TYPE_ACCOUNT_ADD || a->question == IPC_TYPE_ALIAS_ADD;
    if (rc == BRANT_ESTATE && a->question == IPC_TYPE_DOMAIN_REMOVE)
        domain_in_use(sv, a->name, text);
    else if (a->op.store.reason)
        buf_append_str(text, a->op.store.reason);
    else if (rc == BRANT_EEXISTS)
        buf_printf(text, "%s already exists", thing(a->question));
    else if (rc == BRANT_ENOTFOUND && adds)
        buf_append_str(text, "its domain, or the target, is not known here; add it first");
    else if (rc == BRANT_ENOTFOUND)
        buf_printf(text, "there is no such %s", thing(a->question));
    else if (rc == BRANT_EREFUSED)
        buf_append_str(text, "the target is not an address of this server");
    else if (rc == BRANT_ESYNTAX)
        buf_printf(text, "not a valid name for a %s", thing(a->question));
    else
        buf_append_str(text, brant_err_text(rc));
}

static void admin_finish(struct op *op)
{
    struct admin_op *a = (struct admin_op *)op;
    struct server *sv = op->sv;
    int rc = op->store.result;
    struct buf _cleanup_buf_ text;
    buf_init(&text, IPC_TEXT_MAX);
    if (rc != BRANT_OK)
        refusal_text(sv, a, rc, &text);
    log_event(LOG_INFO, "admin", LOG_STR("command", ipc_type_name(a->question)), LOG_SPAN("name", a->name),
              LOG_STR("result", ipc_status_text((uint8_t)server_status_of(rc))));
    struct peer *p = server_peer(sv, op->peer);
    if (p)
        server_result(p, op->tag, server_status_of(rc), text.len > 0 ? buf_cstr(&text) : NULL);
    op_free(op);
}

struct admin_op *admin_new(struct server *sv, struct peer *p, const struct ipc_message *m,
                           enum store_op_kind kind)
{
    struct admin_op *a = op_new(sv, sizeof *a, ADMIN_ARENA_BYTES);
    a->op.peer = p->sessions.channel;
    a->op.tag = m->tag;
    a->op.finish = admin_finish;
    a->op.store.kind = kind;
    a->question = m->type;
    return a;
}

void admin_refuse(struct peer *p, struct admin_op *a, enum ipc_status status, const char *text)
{
    server_result(p, a->op.tag, status, text);
    op_free(&a->op);
}

void admin_go(struct peer *p, struct admin_op *a, struct span name, struct span asked, const char *what)
{
    if (name.len > 0) {
        a->name = name;
        op_submit(&a->op);
        return;
    }
    struct buf _cleanup_buf_ text;
    buf_init(&text, IPC_TEXT_MAX);
    buf_append(&text, span_sub(asked, 0, IPC_ADDRESS_MAX));
    buf_printf(&text, "%snot %s", asked.len > 0 ? ": " : "", what);
    server_result(p, a->op.tag, IPC_INVALID, buf_cstr(&text));
    op_free(&a->op);
}

const char admin_an_address[] = "an address: write user@example.org";
static const char a_domain[] = "a domain name",
                  an_alias[] = "an alias: write user@example.org, or @example.org for all other names";

/* ---- domains and aliases ---- */

void on_domain_add(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    struct admin_op *a = admin_new(sv, p, m, STORE_OP_DOMAIN_ADD);
    struct span name = take_domain(&a->op.arena, m->domain_add.domain);
    a->op.store.domain.name = name;
    admin_go(p, a, name, m->domain_add.domain, a_domain);
}

void on_domain_remove(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    struct admin_op *a = admin_new(sv, p, m, STORE_OP_DOMAIN_REMOVE);
    struct span name = take_domain(&a->op.arena, m->domain_remove.domain);
    a->op.store.domain.name = name;
    admin_go(p, a, name, m->domain_remove.domain, a_domain);
}

void on_alias_add(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_alias_add *q = &m->alias_add;
    struct admin_op *a = admin_new(sv, p, m, STORE_OP_ALIAS_ADD);
    struct span alias = admin_take_alias(&a->op.arena, q->alias);
    struct span target = admin_take_address(&a->op.arena, q->target);
    a->op.store.alias = (struct store_alias){.address = alias, .target = target};
    if (alias.len == 0)
        admin_go(p, a, alias, q->alias, an_alias);
    else if (target.len == 0)
        admin_go(p, a, target, q->target, admin_an_address);
    else
        admin_go(p, a, alias, q->alias, an_alias);
}

void on_alias_remove(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_alias_remove *q = &m->alias_remove;
    struct admin_op *a = admin_new(sv, p, m, STORE_OP_ALIAS_REMOVE);
    struct span alias = admin_take_alias(&a->op.arena, q->alias);
    struct span target = q->target.len > 0 ? admin_take_address(&a->op.arena, q->target) : SPAN_NONE;
    a->op.store.alias = (struct store_alias){.address = alias, .target = target};
    if (alias.len > 0 && target.len == 0 && q->target.len > 0)
        admin_go(p, a, target, q->target, admin_an_address);
    else
        admin_go(p, a, alias, q->alias, an_alias);
}

/* ---- the queue ---- */

void on_queue_remove(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_queue_remove *q = &m->queue_remove;
    struct admin_op *a = admin_new(sv, p, m, STORE_OP_QUEUE_REMOVE);
    char id[40];
    int len = snprintf(id, sizeof id, "%llu-%u", (unsigned long long)q->message, q->recipient);
    a->op.store.queue = (struct store_queue_op){.message = q->message, .recipient = q->recipient};
    admin_go(p, a, arena_dup(&a->op.arena, span_make(id, (size_t)len)), SPAN_NONE, "");
}

/* ---- where mail goes ---- */

void on_address_resolve(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    struct arena _cleanup_arena_ arena;
    arena_init(&arena, ADMIN_ARENA_BYTES);
    struct span address = admin_take_address(&arena, m->address_resolve.address);
    if (address.len == 0) /* "postmaster" alone is one, too */
        address = m->address_resolve.address;
    struct store_target *targets = mem_array(IPC_RECIPIENTS_MAX, sizeof *targets);
    struct ipc_address_row *rows = mem_array(IPC_RECIPIENTS_MAX, sizeof *rows);
    size_t count = 0;
    int rc = store_resolve(sv->store, address, 0, targets, IPC_RECIPIENTS_MAX, &count);
    if (rc != BRANT_OK && rc != BRANT_ESTATE && rc != BRANT_ENOSPACE)
        count = 0;
    if (count > IPC_RECIPIENTS_MAX)
        count = IPC_RECIPIENTS_MAX;
    for (size_t i = 0; i < count; i++)
        rows[i] = (struct ipc_address_row){.account = span_str(targets[i].address),
                                           .detail = span_sub(span_str(targets[i].detail), 0, 64)};
    static const struct {
        int rc;
        enum ipc_status status;
        const char *text;
    } answers[] = {
        {BRANT_OK, IPC_OK, ""},
        {BRANT_ENOTFOUND, IPC_UNKNOWN_ADDRESS, "nobody has that name in our domain: mail is refused"},
        {BRANT_EREFUSED, IPC_NOT_LOCAL, "not one of our domains: mail is refused"},
        {BRANT_ESYNTAX, IPC_INVALID, "not an address"},
        {BRANT_ELIMIT, IPC_REFUSED, "its aliases go too deep or reach too many accounts"},
        {BRANT_ESTATE, IPC_OVER_QUOTA, "every account it reaches is over quota"},
        {BRANT_ENOSPACE, IPC_NO_SPACE, "the disk is full: mail is refused for now"},
    };
    struct ipc_message answer = {.type = IPC_TYPE_ADDRESS_ROWS, .tag = m->tag};
    answer.address_rows.status = IPC_FAILED;
    answer.address_rows.text = SPAN_LIT("the store failed");
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        if (answers[i].rc == rc) {
            answer.address_rows.status = (uint8_t)answers[i].status;
            answer.address_rows.text = span_str(answers[i].text);
        }
    answer.address_rows.rows = rows;
    answer.address_rows.rows_count = (uint32_t)count;
    server_send(p, &answer);
    free(targets);
    free(rows);
}
