/* Lists for people: the directory, and the story of messages. They may go over much, so they run on a
 * reader's thread. */
#include <stdlib.h>

#include "base/codec.h"
#include "base/err.h"
#include "base/mem.h"
#include "roles/common/canonical.h"
#include "roles/store/server.h"

enum { LIST_ROWS = 200, TRACE_ROWS = 50, ROWS_ARENA_BYTES = 4 << 20 };

struct list_work {
    struct read_work read;
    uint16_t question;
    struct ipc_message answer; /* rows lie in the arena, texts there or in `infos` */
    char domain[256];          /* "" all */
    char after[IPC_ADDRESS_MAX + 1], after_target[IPC_ADDRESS_MAX + 1];
    uint64_t before_seq;
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
                                           .created_at_s = (uint64_t)(a->created_ms / 1000)};
        mem_wipe(a->verifier, sizeof a->verifier);
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

static void trace_pairs(struct arena *a, const struct store_trace_row *t, struct ipc_trace_row *row)
{
    struct ipc_pair pairs[] = {
        {SPAN_LIT("message_id"), t->message_id},
        {SPAN_LIT("from"), t->reverse_path.len > 0 ? t->reverse_path : SPAN_LIT("<>")},
        {SPAN_LIT("to"), t->recipients},
        {SPAN_LIT("bytes"), decimal(a, t->bytes)},
        {SPAN_LIT("source"), t->source},
        {SPAN_LIT("helo"), t->helo},
        {SPAN_LIT("protocol"), t->protocol},
        {SPAN_LIT("session"), hex(a, t->session, sizeof t->session)},
        {SPAN_LIT("commit"), hex(a, t->commit, sizeof t->commit)},
        {SPAN_LIT("now"), t->present ? SPAN_LIT("in a mailbox") : SPAN_LIT("deleted")},
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
        trace_pairs(&w->arena, &found[i], &rows[i]);
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
