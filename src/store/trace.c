/* The story of a message, told from the records of the journal. */
#include "base/codec.h"
#include "base/err.h"
#include "base/mem.h"
#include "store/state.h"

enum { LOOK_MAX = 20000, CHUNK = 256 };

struct wanted {
    struct span text;
    uint8_t id[16];
    bool is_id;
    uint64_t account; /* 0: not an account's address */
};

static void wanted_init(struct store *st, struct span query, struct wanted *w)
{
    _cleanup_buf_ struct buf id;
    struct store_account_info info;

    *w = (struct wanted){.text = query};
    buf_init(&id, 16);
    if (query.len == 32 && !codec_hex_decode(&id, query)) {
        memcpy(w->id, id.data, 16);
        w->is_id = true;
    }
    if (!store_account_find(st, query, &info)) {
        w->account = info.account;
        mem_wipe(&info, sizeof info);
    }
}

static bool matches(const struct wanted *w, const struct record_message *m)
{
    if (w->is_id)
        return !memcmp(w->id, m->commit_id, 16) || !memcmp(w->id, m->session, 16);
    if (span_eq_nocase(w->text, m->reverse_path) || (m->message_id.len && span_eq(w->text, m->message_id)))
        return true;
    for (uint32_t i = 0; i < m->recipients_count; i++) {
        if (span_eq_nocase(w->text, m->recipients[i].address))
            return true;
    }
    if (w->account && m->submitter == w->account)
        return true;
    for (uint32_t i = 0; w->account && i < m->entries_count; i++) {
        if (m->entries[i].account == w->account)
            return true;
    }
    return false;
}

/* Which rows of the queue are still there, by recipient. */
struct rows {
    bool open[RECORD_RECIPIENTS_MAX];
};

static int rows_of(struct store_reader *r, uint64_t message, struct rows *ret)
{
    enum index_statement s = INDEX_QUEUE_OF_MESSAGE;
    int rc = index_query(r->ix, s, INDEX_N(message), INDEX_N(RECORD_RECIPIENTS_MAX));

    memset(ret, 0, sizeof *ret);
    while (!rc && !(rc = index_row(r->ix, s))) {
        struct index_queued row;

        index_queued_row(r->ix, s, &row);
        if (row.recipient < RECORD_RECIPIENTS_MAX)
            ret->open[row.recipient] = true;
    }
    return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
}

static void tell_name(struct span name, struct buf *out)
{
    if (out->len)
        (void)buf_append_str(out, ", ");
    (void)buf_append(out, name);
}

/* The copies that one recipient of the envelope (or none of them) made; how many. */
static size_t tell_copies(struct store *st, const struct record_message *m, uint32_t recipient,
                          struct span name, struct buf *out)
{
    size_t count = 0;

    for (uint32_t k = 0; k < m->entries_count; k++) {
        struct store_account_info info;

        if (m->entries[k].recipient != recipient)
            continue;
        tell_name(name, out);
        if (store_account_get(st, m->entries[k].account, &info))
            (void)buf_append_str(out, " -> (removed)");
        else
            (void)buf_printf(out, " -> %s", info.address);
        mem_wipe(&info, sizeof info);
        (void)buf_printf(out, "/%u", m->entries[k].uid);
        count++;
    }
    return count;
}

static void tell_queued(const struct record_message *m, uint32_t recipient, const struct rows *rows,
                        struct buf *out)
{
    for (uint32_t i = 0; i < m->queue_count; i++) {
        if (m->queue[i].recipient == recipient)
            (void)buf_append_str(out, rows->open[recipient] ? " (held)" : " (removed from the queue)");
    }
}

static void tell_recipients(struct store *st, const struct record_message *m, const struct rows *rows,
                            struct buf *out)
{
    for (uint32_t i = 0; i < m->recipients_count; i++) {
        if (tell_copies(st, m, i, m->recipients[i].address, out))
            continue;
        tell_name(m->recipients[i].address, out);
        tell_queued(m, i, rows, out);
    }
    (void)tell_copies(st, m, RECORD_NO_RECIPIENT, SPAN_LIT("(filed)"), out);
}

/* 1; 0: the arena is full; or an error. */
static int tell(struct store_reader *r, const struct record_message *m, const struct index_message *row,
                struct arena *arena, struct store_trace_row *ret)
{
    _cleanup_buf_ struct buf recipients;
    struct rows rows;
    int rc = rows_of(r, row->id, &rows);

    buf_init(&recipients, 1u << 20);
    if (rc)
        return rc;
    tell_recipients(r->st, m, &rows, &recipients);
    *ret = (struct store_trace_row){.seq = row->id,
                                    .time_ms = (int64_t)m->time_ms,
                                    .present = !row->dead,
                                    .bytes = m->body_bytes,
                                    .submitter = m->submitter,
                                    .source = arena_dup(arena, m->source),
                                    .protocol = arena_dup(arena, m->protocol),
                                    .helo = arena_dup(arena, m->helo),
                                    .tls = arena_dup(arena, m->tls),
                                    .reverse_path = arena_dup(arena, m->reverse_path),
                                    .message_id = arena_dup(arena, m->message_id),
                                    .recipients = arena_dup(arena, buf_span(&recipients))};
    memcpy(ret->commit, m->commit_id, 16);
    memcpy(ret->session, m->session, 16);
    return !recipients.len || ret->recipients.p;
}

struct walk {
    struct store_reader *r;
    struct wanted wanted;
    struct arena *out;
    struct store_trace_row *rows;
    size_t max, count, looked;
    uint64_t before;
    struct buf payload;
    struct arena arena;
};

/* 1: go on; 0: the slice is full; or an error. */
static int walk_row(struct walk *w, const struct index_message *row)
{
    struct record_message m;
    size_t fields_len;
    int rc;

    arena_reset(&w->arena);
    rc = query_record(w->r->st, row, false, &w->payload, &w->arena, &m, &fields_len);
    /* Damaged or just moved: it has no story here. */
    if (!rc && matches(&w->wanted, &m)) {
        int told = w->count == w->max ? 0 : tell(w->r, &m, row, w->out, &w->rows[w->count]);

        if (told != 1)
            return told;
        w->count++;
    }
    w->before = row->id;
    w->looked++;
    return rc == BRANT_EIO ? rc : 1;
}

/* As above; 2: the end. */
static int walk_chunk(struct walk *w)
{
    struct index_message rows[CHUNK];
    size_t count = 0;
    int rc = index_query(w->r->ix, INDEX_MESSAGE_OLDER, INDEX_N(w->before), INDEX_N(CHUNK));

    while (!rc && !(rc = index_row(w->r->ix, INDEX_MESSAGE_OLDER)))
        index_message_row(w->r->ix, INDEX_MESSAGE_OLDER, &rows[count++]);
    if (rc != BRANT_ENOTFOUND)
        return rc;
    for (size_t i = 0; i < count; i++) {
        rc = walk_row(w, &rows[i]);
        if (rc != 1)
            return rc;
    }
    return count < CHUNK ? 2 : 1;
}

int store_trace(struct store_reader *r, struct span query, uint64_t before_seq, struct arena *arena,
                struct store_trace_row *ret, size_t max, size_t *ret_count, uint64_t *ret_next)
{
    struct walk w = {
        .r = r, .out = arena, .rows = ret, .max = max, .before = before_seq ? before_seq : INT64_MAX};
    int rc = store_wait_applied(r->st, atomic_load(&r->st->durable_seq));

    if (rc)
        return rc;
    wanted_init(r->st, query, &w.wanted);
    buf_init(&w.payload, RECORD_BYTES_MAX);
    arena_init(&w.arena, RECORD_ARENA_BYTES);
    do
        rc = walk_chunk(&w);
    while (rc == 1 && w.looked < LOOK_MAX);
    buf_done(&w.payload);
    arena_done(&w.arena);
    if (rc < 0)
        return rc;
    *ret_count = w.count;
    *ret_next = rc == 2 ? 0 : w.before;
    return BRANT_OK;
}
