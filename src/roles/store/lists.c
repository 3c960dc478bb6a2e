/* Lists for people: the directory, and the story of messages. They may go over much, so they run on a
 * reader's thread. */
#include <stdlib.h>

#include "base/codec.h"
#include "base/err.h"
#include "base/mem.h"
#include "roles/common/canonical.h"
#include "roles/store/server.h"

enum {
    LIST_ROWS = 200,
    TRACE_ROWS = 50,
    QUEUE_ROWS = 200,
    ROWS_ARENA_BYTES = 4 << 20,
    GRANTS_ARENA_BYTES = 128 * 1024
};

struct list_work {
    struct read_work read;
    uint16_t question;
    struct ipc_message answer; /* rows lie in the arena, texts there or in `infos` */
    char domain[256];          /* "" all */
    char after[IPC_ADDRESS_MAX + 1], after_target[IPC_ADDRESS_MAX + 1];
    uint64_t before_seq, after_message;
    uint32_t after_recipient;
    struct arena arena;
    void *infos; /* what the store answered; owned */
};

static void list_finish(struct read_work *r)
{
    struct list_work *w = (struct list_work *)r;
    struct peer *p = server_peer(r->sv, r->peer);
    w->answer.tag = r->tag;
    if (p)
        server_send(p, &w->answer);
    arena_done(&w->arena);
    free(w->infos);
    free(w);
}

static void copy_text(char *out, size_t size, struct span s)
{
    s = span_sub(s, 0, size - 1);
    if (s.len > 0)
        memcpy(out, s.p, s.len);
    out[s.len] = 0;
}

static struct list_work *list_new(struct peer *p, const struct ipc_message *m, struct span domain,
                                  struct span after, void (*run)(struct work *, void *))
{
    struct list_work *w = mem_zalloc(sizeof *w);
    w->read = (struct read_work){
        .work.run = run, .peer = p->sessions.channel, .tag = m->tag, .finish = list_finish};
    w->question = m->type;
    w->answer.type = (uint16_t)ipc_answer(m->type);
    struct buf _cleanup_buf_ name;
    buf_init(&name, 255);
    copy_text(w->domain, sizeof w->domain,
              canonical_domain(domain, &name) == BRANT_OK ? buf_span(&name) : domain);
    copy_text(w->after, sizeof w->after, after);
    arena_init(&w->arena, ROWS_ARENA_BYTES);
    return w;
}

/* Busy: the lists have no status, so the answer is an empty slice with more to come. */
static void list_go(struct server *sv, struct list_work *w)
{
    if (server_read(sv, &w->read))
        return;
    if (w->answer.type == IPC_TYPE_TRACE_ROWS)
        w->answer.trace_rows.status = IPC_TRY_LATER;
    if (w->answer.type == IPC_TYPE_QUEUE_ROWS)
        w->answer.queue_rows.status = IPC_TRY_LATER;
    list_finish(&w->read);
}

/* ---- the directory ---- */

static void run_domains(struct work *work, void *reader)
{
    (void)reader;
    struct list_work *w = (struct list_work *)work;
    struct store_domain_info *infos = mem_array(LIST_ROWS, sizeof *infos);
    w->infos = infos;
    size_t count = store_domains_list(w->read.sv->store, span_str(w->after), infos, LIST_ROWS);
    struct ipc_domain_row *rows = arena_array(&w->arena, LIST_ROWS, sizeof *rows);
    for (size_t i = 0; i < count; i++)
        rows[i] = (struct ipc_domain_row){
            .domain = span_str(infos[i].name), .accounts = infos[i].accounts, .aliases = infos[i].aliases};
    w->answer.domain_rows =
        (struct ipc_domain_rows){.more = count == LIST_ROWS, .rows = rows, .rows_count = (uint32_t)count};
}

void on_domain_list(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    list_go(sv, list_new(p, m, SPAN_NONE, m->domain_list.after, run_domains));
}

static uint32_t count_app_passwords(struct store *st, const struct store_account_info *a)
{
    struct arena _cleanup_arena_ arena;
    struct store_grant *grants = NULL;
    size_t count = 0;
    arena_init(&arena, GRANTS_ARENA_BYTES);
    if (a->grants > 0 &&
        store_grants_get(st, a->account, STORE_GRANT_APP_PASSWORD, &arena, &grants, &count) != BRANT_OK)
        return 0;
    for (size_t i = 0; i < count; i++)
        mem_wipe((void *)(uintptr_t)grants[i].data.p, grants[i].data.len); /* the arena's copy */
    return (uint32_t)count;
}

static void run_accounts(struct work *work, void *reader)
{
    (void)reader;
    struct list_work *w = (struct list_work *)work;
    struct store_account_info *infos = mem_array(LIST_ROWS, sizeof *infos);
    w->infos = infos;
    size_t count =
        store_accounts_list(w->read.sv->store, span_str(w->domain), span_str(w->after), infos, LIST_ROWS);
    struct ipc_account_row *rows = arena_array(&w->arena, LIST_ROWS, sizeof *rows);
    for (size_t i = 0; i < count; i++) {
        struct store_account_info *a = &infos[i];
        rows[i] = (struct ipc_account_row){.address = span_str(a->address),
                                           .account = a->account,
                                           .messages = a->messages,
                                           .used_bytes = a->used_bytes,
                                           .quota_bytes = a->quota_bytes,
                                           .enabled = (a->options & STORE_ACCOUNT_ENABLED) != 0,
                                           .has_password = a->verifier_len > 0,
                                           .has_scram = a->scram.iterations > 0,
                                           .sent_copy = (a->options & STORE_ACCOUNT_SENT_COPY) != 0,
                                           .grants = a->grants,
                                           .app_passwords = count_app_passwords(w->read.sv->store, a),
                                           .created_at_s = (uint64_t)(a->created_ms / 1000)};
        mem_wipe(a->verifier, sizeof a->verifier);
        mem_wipe(&a->scram, sizeof a->scram);
    }
    w->answer.account_rows =
        (struct ipc_account_rows){.more = count == LIST_ROWS, .rows = rows, .rows_count = (uint32_t)count};
}

void on_account_list(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    list_go(sv, list_new(p, m, m->account_list.domain, m->account_list.after, run_accounts));
}

static void run_aliases(struct work *work, void *reader)
{
    (void)reader;
    struct list_work *w = (struct list_work *)work;
    struct store_alias_info *infos = mem_array(LIST_ROWS, sizeof *infos);
    w->infos = infos;
    size_t count = store_aliases_list(w->read.sv->store, span_str(w->domain), span_str(w->after),
                                      span_str(w->after_target), infos, LIST_ROWS);
    struct ipc_alias_row *rows = arena_array(&w->arena, LIST_ROWS, sizeof *rows);
    for (size_t i = 0; i < count; i++)
        rows[i] =
            (struct ipc_alias_row){.alias = span_str(infos[i].address), .target = span_str(infos[i].target)};
    w->answer.alias_rows =
        (struct ipc_alias_rows){.more = count == LIST_ROWS, .rows = rows, .rows_count = (uint32_t)count};
}

void on_alias_list(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_alias_list *q = &m->alias_list;
    struct list_work *w = list_new(p, m, q->domain, q->after_alias, run_aliases);
    copy_text(w->after_target, sizeof w->after_target, q->after_target);
    list_go(sv, w);
}

/* ---- the queue ---- */

static struct span account_name(struct store *st, uint64_t account, struct arena *a)
{
    struct store_account_info info;
    if (store_account_get(st, account, &info) != BRANT_OK)
        return SPAN_NONE;
    struct span name = arena_dup(a, span_str(info.address));
    mem_wipe(&info, sizeof info);
    return name;
}

static void queue_row(struct list_work *w, const struct store_queue_row *from, struct ipc_queue_row *row)
{
    *row = (struct ipc_queue_row){.message = from->message,
                                  .recipient = from->recipient,
                                  .sender = from->sender,
                                  .address = from->address,
                                  .account = account_name(w->read.sv->store, from->account, &w->arena),
                                  .state = from->state == STORE_QUEUE_HELD ? SPAN_LIT("held") : SPAN_LIT("?"),
                                  .created_at_s = (uint64_t)(from->created_ms / 1000),
                                  .bytes = from->bytes};
    memcpy(row->commit.b, from->commit, sizeof row->commit.b);
}

static void run_queue(struct work *work, void *reader)
{
    struct list_work *w = (struct list_work *)work;
    struct store_queue_row *found = mem_array(QUEUE_ROWS, sizeof *found);
    w->infos = found;
    size_t count = 0;
    int rc = store_queue_list(reader, span_str(w->after), w->after_message, w->after_recipient, &w->arena,
                              found, QUEUE_ROWS, &count);
    struct ipc_queue_rows *answer = &w->answer.queue_rows;
    answer->status = (uint8_t)server_status_of(rc);
    if (rc != BRANT_OK)
        return;
    struct ipc_queue_row *rows = arena_array(&w->arena, QUEUE_ROWS, sizeof *rows);
    for (size_t i = 0; i < count; i++)
        queue_row(w, &found[i], &rows[i]);
    answer->rows = rows;
    answer->rows_count = (uint32_t)count;
    answer->more = count == QUEUE_ROWS;
}

void on_queue_list(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_queue_list *q = &m->queue_list;
    struct buf _cleanup_buf_ name;
    buf_init(&name, IPC_ADDRESS_MAX);
    struct span address = canonical_address(q->address, &name) == BRANT_OK ? buf_span(&name) : q->address;
    struct list_work *w = list_new(p, m, SPAN_NONE, address, run_queue);
    w->after_message = q->after_message;
    w->after_recipient = q->after_recipient;
    list_go(sv, w);
}

/* ---- the story of messages ---- */

static struct span hex(struct arena *a, const uint8_t *bytes, size_t len)
{
    struct buf _cleanup_buf_ out;
    buf_init(&out, 2 * len);
    codec_hex_encode(&out, span_make(bytes, len));
    return arena_dup(a, buf_span(&out));
}

static struct span decimal(struct arena *a, uint64_t n)
{
    struct buf _cleanup_buf_ out;
    buf_init(&out, 24);
    buf_append_u64(&out, n);
    return arena_dup(a, buf_span(&out));
}

static void trace_pairs(struct store *st, struct arena *a, const struct store_trace_row *t,
                        struct ipc_trace_row *row)
{
    struct ipc_pair pairs[] = {
        {SPAN_LIT("message_id"), t->message_id},
        {SPAN_LIT("from"), t->reverse_path.len > 0 ? t->reverse_path : SPAN_LIT("<>")},
        {SPAN_LIT("to"), t->recipients},
        {SPAN_LIT("bytes"), decimal(a, t->bytes)},
        {SPAN_LIT("source"), t->source},
        {SPAN_LIT("helo"), t->helo},
        {SPAN_LIT("protocol"), t->protocol},
        {SPAN_LIT("tls"), t->tls},
        {SPAN_LIT("account"), t->submitter ? account_name(st, t->submitter, a) : SPAN_NONE},
        {SPAN_LIT("session"), hex(a, t->session, sizeof t->session)},
        {SPAN_LIT("commit"), hex(a, t->commit, sizeof t->commit)},
        {SPAN_LIT("now"), t->present ? SPAN_LIT("in a mailbox or in the queue") : SPAN_LIT("deleted")},
    };
    struct ipc_pair *out = arena_array(a, sizeof pairs / sizeof *pairs, sizeof *out);
    uint32_t count = 0;
    for (size_t i = 0; out && i < sizeof pairs / sizeof *pairs; i++) {
        pairs[i].value = span_sub(pairs[i].value, 0, IPC_TEXT_MAX);
        if (pairs[i].value.len > 0)
            out[count++] = pairs[i];
    }
    row->pairs = out;
    row->pairs_count = count;
}

static void run_trace(struct work *work, void *reader)
{
    struct list_work *w = (struct list_work *)work;
    struct store_trace_row *found = mem_array(TRACE_ROWS, sizeof *found);
    w->infos = found;
    size_t count = 0;
    uint64_t next = w->before_seq;
    int rc;
    do /* a slice that found nothing says only where to go on */
        rc = store_trace(reader, span_str(w->after), next, &w->arena, found, TRACE_ROWS, &count, &next);
    while (rc == BRANT_OK && count == 0 && next != 0);
    struct ipc_trace_rows *answer = &w->answer.trace_rows;
    answer->status = (uint8_t)server_status_of(rc);
    if (rc != BRANT_OK)
        return;
    struct ipc_trace_row *rows = arena_array(&w->arena, TRACE_ROWS, sizeof *rows);
    for (size_t i = 0; i < count; i++) {
        rows[i] = (struct ipc_trace_row){
            .seq = found[i].seq, .time_us = (uint64_t)found[i].time_ms * 1000, .event = SPAN_LIT("accepted")};
        trace_pairs(w->read.sv->store, &w->arena, &found[i], &rows[i]);
    }
    answer->rows = rows;
    answer->rows_count = (uint32_t)count;
    answer->more = next != 0;
}

void on_trace(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    struct list_work *w = list_new(p, m, SPAN_NONE, m->trace.query, run_trace);
    w->before_seq = m->trace.after;
    list_go(sv, w);
}
