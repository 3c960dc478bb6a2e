/* Entries by choice: ranges, flags, what has changed since a MODSEQ; with the structures of their messages.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/query.h"

enum { MOVED_TRIES = 5, HEAD_BYTES = 4096 };

/* ---- Choosing
 * --------------------------------------------------------------------------------------------------------------
 */

struct choice {
    struct store_reader *r;
    const struct store_entries_query *q;
    const struct query_view *v;
    struct store_entry *ret;
    size_t max, count, looked;
    uint32_t done_to; /* UINT32_MAX while the slice goes on */
};

static void end_at(struct choice *c, uint32_t uid)
{
    if (c->done_to == UINT32_MAX)
        c->done_to = uid;
}

static bool wanted(const struct store_entries_query *q, const struct index_entry *row)
{
    return (row->flags & q->flags_all) == q->flags_all && !(row->flags & q->flags_none) &&
           row->modseq > q->modseq;
}

static void look(struct choice *c, const struct index_entry *row)
{
    if (wanted(c->q, row)) {
        if (c->count == c->max) {
            end_at(c, row->uid - 1);
            return;
        }
        c->ret[c->count++] = query_entry(row);
    }
    if (++c->looked >= c->r->rows_max)
        end_at(c, row->uid);
}

static int scan(struct choice *c, struct store_range range)
{
    enum index_statement s = INDEX_ENTRY_RANGE;
    struct index *ix = c->r->ix;
    int rc = index_query(ix, s, INDEX_N(c->v->mailbox), INDEX_N(range.first), INDEX_N(range.last),
                         INDEX_N(INT64_MAX));

    while (!rc && c->done_to == UINT32_MAX && !(rc = index_row(ix, s))) {
        struct index_entry row;

        index_entry_row(ix, s, &row);
        look(c, &row);
    }
    index_reset(ix, s);
    return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
}

/* ---- What has changed since
 * ------------------------------------------------------------------------------------------------
 * Entries that were changed after they came stand in an index by their MODSEQ. Those that were not have the
 * MODSEQ they came with, which ascends with the UID: from some UID on all of them are newer. That UID is
 * searched for by halving, so nothing here costs what the mailbox is large. When very many were changed, the
 * range is scanned instead. */

struct since {
    struct query_sorted changed;
    uint64_t from; /* unchanged entries from this UID on have come since */
};

/* An entry at or below the MODSEQ proves that all below it came no later. */
static int came_since(struct choice *c, uint32_t first, uint32_t last, uint64_t *ret_from)
{
    enum index_statement s = INDEX_ENTRY_TELLING;
    struct index *ix = c->r->ix;
    uint64_t low = first, high = (uint64_t)last + 1;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        int rc = index_query(ix, s, INDEX_N(c->v->mailbox), INDEX_N(middle), INDEX_N(high - 1),
                             INDEX_N(c->q->modseq));

        if (!rc)
            rc = index_row(ix, s);
        if (rc && rc != BRANT_ENOTFOUND)
            return rc;
        if (!rc && index_number(ix, s, 1) <= c->q->modseq)
            low = index_number(ix, s, 0) + 1;
        else
            high = middle;
        index_reset(ix, s);
    }
    *ret_from = low;
    return BRANT_OK;
}

static int pick(struct choice *c, const struct since *since, struct store_range range)
{
    const struct query_sorted *changed = &since->changed;

    for (size_t i = query_sorted_find(changed, range.first);
         i < changed->count && changed->uids[i] <= range.last && changed->uids[i] < since->from; i++) {
        struct index_entry row;
        int rc = index_entry(c->r->ix, c->v->mailbox, changed->uids[i], &row);

        if (rc)
            return rc;
        look(c, &row);
        if (c->done_to != UINT32_MAX)
            return BRANT_OK;
    }
    if (since->from > range.last)
        return BRANT_OK;
    if (range.first < since->from)
        range.first = (uint32_t)since->from;
    return scan(c, range);
}

/* NULL in *ret: they are too many, or none are asked for. */
static int since_new(struct choice *c, struct since **ret)
{
    const struct store_range *last = &c->q->ranges[c->q->range_count - 1];
    struct since *since;
    int rc;

    *ret = NULL;
    if (!c->q->modseq || (c->r->many_mailbox == c->v->mailbox && c->r->many_modseq == c->q->modseq))
        return BRANT_OK;
    since = mem_alloc(sizeof *since);
    rc = query_sorted(c->r, INDEX_ENTRY_CHANGED, c->v->mailbox, c->q->modseq, &since->changed);
    if (!rc)
        rc = came_since(c, c->q->ranges[0].first, last->last < c->v->uidnext ? last->last : c->v->uidnext - 1,
                        &since->from);
    if (rc) {
        free(since);
        if (rc != BRANT_ELIMIT)
            return rc;
        c->r->many_mailbox = c->v->mailbox; /* the next slice knows */
        c->r->many_modseq = c->q->modseq;
        return BRANT_OK;
    }
    *ret = since;
    return BRANT_OK;
}

static int choose(struct choice *c)
{
    _cleanup_free_ struct since *since = NULL;
    int rc;

    if (!c->q->range_count || c->q->modseq >= c->v->modseq || c->q->ranges[0].first >= c->v->uidnext)
        return BRANT_OK;
    rc = since_new(c, &since);
    for (size_t i = 0; !rc && i < c->q->range_count && c->done_to == UINT32_MAX; i++) {
        struct store_range range = c->q->ranges[i];

        if (range.first >= c->v->uidnext)
            break;
        rc = since ? pick(c, since, range) : scan(c, range);
        if (++c->looked >= c->r->rows_max)
            end_at(c, range.last);
    }
    return rc;
}

/* ---- Structures
 * ------------------------------------------------------------------------------------------------------------
 * They lie among the fields of the message's record, in front of its bytes. */

/* The fields of a record without what follows them. BRANT_ENOTFOUND: compaction has moved it. */
static int read_fields(struct store *st, const struct index_message *row, struct buf *fields)
{
    struct journal_place place = {.segment = row->segment, .length = row->length, .offset = row->offset};
    struct wire_reader reader;
    uint64_t whole;
    int rc;

    buf_reset(fields);
    if (row->length < 4)
        return BRANT_ECORRUPT;
    if (place.length > HEAD_BYTES)
        place.length = HEAD_BYTES;
    if (!buf_reserve(fields, place.length))
        return BRANT_ECORRUPT;
    rc = journal_read(st->journal, &place, fields->data);
    if (rc)
        return rc;
    buf_commit(fields, place.length);
    reader = wire_read(buf_span(fields));
    whole = 4 + (uint64_t)wire_get_u32(&reader);
    if (whole <= place.length)
        return BRANT_OK;
    if (whole > row->length || whole > 4 + RECORD_FIELDS_MAX)
        return BRANT_ECORRUPT;
    place.offset += place.length;
    place.length = (uint32_t)whole - place.length;
    if (!buf_reserve(fields, place.length))
        return BRANT_ECORRUPT;
    rc = journal_read(st->journal, &place, fields->data + fields->len);
    if (!rc)
        buf_commit(fields, place.length);
    return rc;
}

struct structures {
    struct store_reader *r;
    struct buf fields;
    struct arena arena;
    struct arena *out;
    size_t bytes, bytes_max;
};

/* BRANT_OK, also when there is none, or it can't be read. BRANT_EIO. */
static int structure_of(struct structures *s, uint64_t message, struct span *ret)
{
    int rc = BRANT_ENOTFOUND;

    *ret = SPAN_NONE;
    for (int i = 0; i < MOVED_TRIES && rc == BRANT_ENOTFOUND; i++) {
        struct index_message row;
        union record rec;
        size_t fields_len;

        rc = index_message(s->r->ix, message, &row);
        if (rc)
            return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
        rc = read_fields(s->r->st, &row, &s->fields);
        if (rc)
            continue;
        arena_reset(&s->arena);
        rc = record_decode(RECORD_MESSAGE, row.version, buf_span(&s->fields), row.length, &s->arena, &rec,
                           &fields_len);
        if (!rc)
            *ret = rec.message.structure;
    }
    return rc == BRANT_EIO ? rc : BRANT_OK;
}

/* How many of the entries got theirs: where the bounds end it, the slice ends. BRANT_ELIMIT: the arena has no
 * room for the first. */
static int fill(struct structures *s, struct store_entry *entries, size_t count, size_t *ret_filled)
{
    for (size_t i = 0; i < count; i++) {
        struct span structure;
        int rc = structure_of(s, entries[i].message, &structure);

        if (rc)
            return rc;
        if (i && structure.len > s->bytes_max - s->bytes) {
            *ret_filled = i;
            return BRANT_OK;
        }
        s->bytes += structure.len < s->bytes_max - s->bytes ? structure.len : s->bytes_max - s->bytes;
        if (!structure.len)
            continue;
        entries[i].structure = arena_dup(s->out, structure);
        if (!entries[i].structure.p) {
            *ret_filled = i;
            return i ? BRANT_OK : BRANT_ELIMIT;
        }
    }
    *ret_filled = count;
    return BRANT_OK;
}

/* Outside of the transaction: what compaction moves meanwhile is looked up again. */
static int structures(struct choice *c, struct arena *arena)
{
    struct structures s = {.r = c->r, .out = arena, .bytes_max = c->q->structure_bytes};
    size_t filled = 0;
    int rc;

    buf_init(&s.fields, 4 + RECORD_FIELDS_MAX + HEAD_BYTES);
    arena_init(&s.arena, RECORD_ARENA_BYTES);
    rc = fill(&s, c->ret, c->count, &filled);
    if (!rc && filled < c->count) {
        c->done_to = c->ret[filled].uid - 1;
        c->count = filled;
    }
    buf_done(&s.fields);
    arena_done(&s.arena);
    return rc;
}

int store_entries_read(struct store_reader *r, uint64_t account, uint64_t mailbox,
                       const struct store_entries_query *q, struct arena *arena, struct store_entry *ret,
                       size_t max, size_t *ret_count, uint32_t *ret_done_to)
{
    struct query_view v;
    struct choice c = {.r = r, .q = q, .v = &v, .ret = ret, .max = max, .done_to = UINT32_MAX};
    int rc = query_check_ranges(q->ranges, q->range_count);

    assert(max > 0);
    if (rc)
        return rc;
    rc = query_begin(r, account, mailbox, &v);
    if (!rc)
        rc = choose(&c);
    query_end(r);
    if (!rc && q->structures)
        rc = structures(&c, arena);
    if (rc)
        return rc;
    *ret_count = c.count;
    *ret_done_to = c.done_to;
    return BRANT_OK;
}
