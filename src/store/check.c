/* `brant store check`: does the index say what the journal says, and is every byte as it was written? */
#include <stdio.h>

#include "base/codec.h"
#include "base/err.h"
#include "store/state.h"

enum { CHUNK = 256, PROBLEMS_MAX = 10000 };

struct check {
    struct store_reader *r;
    bool deep;
    void (*problem)(void *ctx, const char *text);
    void *ctx;
    struct store_checked *ret;
    struct buf payload;
    struct arena arena;
};

static void __attribute__((format(printf, 2, 3))) problem(struct check *c, const char *format, ...)
{
    char text[300];
    va_list args;

    if (++c->ret->problems > PROBLEMS_MAX)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    c->problem(c->ctx, text);
}

/* ---- Records
 * ----------------------------------------------------------------------------------------------------- */

static int check_journal(struct check *c)
{
    struct journal_iter *it;
    struct journal_record record;
    int rc = journal_iterate(c->r->st->journal, 1, &it);

    while (!rc) {
        union record rec;
        size_t fields_len;

        rc = journal_iter_next(it, &record);
        if (rc == BRANT_ECORRUPT) {
            uint64_t first, last;

            journal_iter_lost(it, &first, &last);
            problem(c, "journal: records %llu to %llu are damaged", (unsigned long long)first,
                    (unsigned long long)last);
            rc = BRANT_OK;
            continue;
        }
        if (rc || record.type == 0)
            continue;
        c->ret->records++;
        arena_reset(&c->arena);
        if (record_decode(record.type, record.version, record.payload, record.payload.len, &c->arena, &rec,
                          &fields_len))
            problem(c, "journal: record %llu (%s) can't be decoded", (unsigned long long)record.seq,
                    record_name(record.type));
    }
    journal_iter_free(it);
    return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
}

/* ---- Messages
 * ----------------------------------------------------------------------------------------------------- */

static void check_body(struct check *c, const struct index_message *row, const struct record_message *m)
{
    struct body_ref ref = {.length = m->body_bytes, .root = m->body_sum};
    struct body_reader *reader;
    int rc;

    c->ret->bodies++;
    memcpy(ref.id, m->body_file, sizeof ref.id);
    if (c->deep) {
        rc = bodies_check(c->r->st->bodies, &ref);
    } else {
        rc = body_open(c->r->st->bodies, &ref, &reader);
        if (!rc)
            body_close(reader);
    }
    if (rc)
        problem(c, "message %llu: its body file: %s", (unsigned long long)row->id, brant_err_text(rc));
}

/* Each row of the queue against the envelope it came with. */
static void check_queued(struct check *c, uint64_t id, const struct record_message *m)
{
    enum index_statement s = INDEX_QUEUE_OF_MESSAGE;
    int rc = index_query(c->r->ix, s, INDEX_N(id), INDEX_N(RECORD_RECIPIENTS_MAX));

    while (!rc && !(rc = index_row(c->r->ix, s))) {
        struct index_queued row;

        index_queued_row(c->r->ix, s, &row);
        if (row.recipient >= m->recipients_count || row.variant >= m->prefixes_count ||
            !span_eq(row.address, m->recipients[row.recipient].address) ||
            !span_eq(row.sender, m->reverse_path) ||
            row.size != m->prefixes[row.variant].length + m->body_bytes)
            problem(c, "queue: message %llu, recipient %u: not as in its message", (unsigned long long)id,
                    row.recipient);
    }
    if (rc != BRANT_ENOTFOUND)
        problem(c, "queue: message %llu: %s", (unsigned long long)id, brant_err_text(rc));
}

static void check_message(struct check *c, const struct index_message *row)
{
    struct record_message m;
    struct index_message now;
    size_t fields_len;
    int rc;

    c->ret->messages++;
    arena_reset(&c->arena);
    rc = query_record(c->r->st, row, c->deep, &c->payload, &c->arena, &m, &fields_len);
    /* Compacted or expunged since we looked. */
    if (rc == BRANT_ENOTFOUND && (index_message(c->r->ix, row->id, &now) || now.rec_seq != row->rec_seq))
        return;
    if (rc)
        problem(c, "message %llu: its record in segment %u at %llu: %s", (unsigned long long)row->id,
                row->segment, (unsigned long long)row->offset, brant_err_text(rc));
    else if (m.body_bytes != row->body_bytes || (!row->dead && m.body_kind != row->body_kind))
        problem(c, "message %llu: the index names another body than its record", (unsigned long long)row->id);
    else if (!row->dead && m.body_kind == RECORD_BODY_FILE)
        check_body(c, row, &m);
    if (!rc)
        check_queued(c, row->id, &m);
}

static int check_messages(struct check *c)
{
    uint64_t after = 0;

    for (;;) {
        struct index_message rows[CHUNK];
        size_t count = 0;
        int rc = index_query(c->r->ix, INDEX_MESSAGE_NEWER, INDEX_N(after), INDEX_N(CHUNK));

        while (!rc && !(rc = index_row(c->r->ix, INDEX_MESSAGE_NEWER)))
            index_message_row(c->r->ix, INDEX_MESSAGE_NEWER, &rows[count++]);
        if (rc != BRANT_ENOTFOUND)
            return rc;
        for (size_t i = 0; i < count; i++)
            check_message(c, &rows[i]);
        if (count < CHUNK)
            return BRANT_OK;
        after = rows[count - 1].id;
    }
}

/* ---- The index with itself
 * ------------------------------------------------------------------------------------------- */

static int check_index(struct check *c)
{
    struct index *ix = c->r->ix;
    int rc = index_bind(ix, INDEX_CHECK_QUICK, NULL, 0);

    while (!rc && !(rc = index_row(ix, INDEX_CHECK_QUICK))) {
        struct span text = index_bytes(ix, INDEX_CHECK_QUICK, 0);

        if (!span_eq_str(text, "ok"))
            problem(c, "index: %.*s", SPAN_ARG(span_sub(text, 0, 200)));
    }
    if (rc != BRANT_ENOTFOUND)
        return rc;
    rc = index_bind(ix, INDEX_CHECK_ENTRIES, NULL, 0);
    while (!rc && !(rc = index_row(ix, INDEX_CHECK_ENTRIES)))
        problem(c, "mailbox %llu uid %llu: message %llu is missing",
                (unsigned long long)index_number(ix, INDEX_CHECK_ENTRIES, 0),
                (unsigned long long)index_number(ix, INDEX_CHECK_ENTRIES, 1),
                (unsigned long long)index_number(ix, INDEX_CHECK_ENTRIES, 2));
    if (rc != BRANT_ENOTFOUND)
        return rc;
    rc = index_bind(ix, INDEX_CHECK_BOXES, NULL, 0);
    while (!rc && !(rc = index_row(ix, INDEX_CHECK_BOXES))) {
        uint64_t id = index_number(ix, INDEX_CHECK_BOXES, 0);

        c->ret->entries += index_number(ix, INDEX_CHECK_BOXES, 3);
        if (index_number(ix, INDEX_CHECK_BOXES, 1) != index_number(ix, INDEX_CHECK_BOXES, 3) ||
            index_number(ix, INDEX_CHECK_BOXES, 2) != index_number(ix, INDEX_CHECK_BOXES, 4) ||
            index_number(ix, INDEX_CHECK_BOXES, 7) != index_number(ix, INDEX_CHECK_BOXES, 9) ||
            index_number(ix, INDEX_CHECK_BOXES, 8) != index_number(ix, INDEX_CHECK_BOXES, 10))
            problem(c, "mailbox %llu: its counters are not those of its entries", (unsigned long long)id);
        if (index_number(ix, INDEX_CHECK_BOXES, 6) >= index_number(ix, INDEX_CHECK_BOXES, 5))
            problem(c, "mailbox %llu: a UID at or over UIDNEXT", (unsigned long long)id);
    }
    if (rc != BRANT_ENOTFOUND)
        return rc;
    rc = index_bind(ix, INDEX_CHECK_QUEUE, NULL, 0);
    while (!rc && !(rc = index_row(ix, INDEX_CHECK_QUEUE)))
        problem(c, "queue: message %llu, which recipient %llu waits for, is missing",
                (unsigned long long)index_number(ix, INDEX_CHECK_QUEUE, 0),
                (unsigned long long)index_number(ix, INDEX_CHECK_QUEUE, 1));
    return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
}

int store_check(struct store_reader *r, bool deep, void (*report)(void *ctx, const char *text), void *ctx,
                struct store_checked *ret)
{
    struct check c = {.r = r, .deep = deep, .problem = report, .ctx = ctx, .ret = ret};
    int rc = store_wait_applied(r->st, atomic_load(&r->st->durable_seq));

    *ret = (struct store_checked){0};
    buf_init(&c.payload, RECORD_BYTES_MAX);
    arena_init(&c.arena, RECORD_ARENA_BYTES);
    if (!rc)
        rc = check_index(&c);
    if (!rc)
        rc = check_messages(&c);
    if (!rc && deep)
        rc = check_journal(&c);
    buf_done(&c.payload);
    arena_done(&c.arena);
    return rc;
}
