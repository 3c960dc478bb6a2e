/* Reading: listings and messages, behind the barrier of what was acknowledged. */
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/query.h"

enum { MOVED_TRIES = 5 };

struct store_message {
    struct store *st;
    struct buf payload;
    struct arena arena;
    struct record_message record;
    struct span prefix, body; /* of an inline body */
    struct body_reader *file; /* otherwise */
    uint64_t body_bytes;
};

int store_reader_new(struct store *st, struct store_reader **ret)
{
    struct store_reader *r = mem_zalloc(sizeof *r);
    int rc = index_open(st->fs, true, &r->ix);

    if (rc) {
        free(r);
        return rc;
    }
    r->st = st;
    r->rows_max = QUERY_ROWS_MAX;
    r->uids_max = QUERY_UIDS_MAX;
    r->sorted_max = QUERY_SORTED_MAX;
    r->block_uids = QUERY_BLOCK_UIDS;
    *ret = r;
    return BRANT_OK;
}

void store_reader_free(struct store_reader *r)
{
    if (!r)
        return;
    index_close(r->ix);
    free(r);
}

int store_entries_list(struct store_reader *r, uint64_t account, uint64_t mailbox, uint32_t after_uid,
                       struct store_entry *ret, size_t max, size_t *ret_count)
{
    struct store_mailbox_info info;
    size_t count = 0;
    int rc = query_box(r, account, mailbox, &info);

    if (rc)
        return rc;
    rc = index_query(r->ix, INDEX_ENTRY_LIST, INDEX_N(info.mailbox), INDEX_N(after_uid), INDEX_N(max));
    while (!rc && !(rc = index_row(r->ix, INDEX_ENTRY_LIST))) {
        struct index_entry row;

        index_entry_row(r->ix, INDEX_ENTRY_LIST, &row);
        ret[count++] = query_entry(&row);
    }
    if (rc != BRANT_ENOTFOUND)
        return rc;
    *ret_count = count;
    return BRANT_OK;
}

int query_record(struct store *st, const struct index_message *row, bool verify, struct buf *payload,
                 struct arena *arena, struct record_message *ret, size_t *ret_fields_len)
{
    struct journal_place place = {.segment = row->segment, .length = row->length, .offset = row->offset};
    union record rec;
    int rc = verify ? journal_verify(st->journal, &place) : BRANT_OK;

    if (rc)
        return rc;
    buf_reset(payload);
    if (!buf_reserve(payload, row->length))
        return BRANT_ECORRUPT;
    rc = journal_read(st->journal, &place, payload->data);
    if (rc)
        return rc;
    buf_commit(payload, row->length);
    rc = record_decode(RECORD_MESSAGE, row->version, buf_span(payload), row->length, arena, &rec,
                       ret_fields_len);
    if (rc)
        return BRANT_ECORRUPT;
    *ret = rec.message;
    return BRANT_OK;
}

/* What compaction moves between the look into the index and the look into the journal is looked up again. */
static int read_record(struct store_reader *r, uint64_t mailbox, uint32_t uid, struct store_message *m,
                       struct index_entry *entry, size_t *ret_fields_len)
{
    int rc = BRANT_ENOTFOUND;

    for (int i = 0; i < MOVED_TRIES && rc == BRANT_ENOTFOUND; i++) {
        struct index_message row;

        rc = index_entry(r->ix, mailbox, uid, entry);
        if (rc)
            return rc;
        rc = index_message(r->ix, entry->message, &row);
        if (rc)
            return rc == BRANT_ENOTFOUND ? BRANT_ECORRUPT : rc;
        arena_reset(&m->arena);
        rc = query_record(r->st, &row, true, &m->payload, &m->arena, &m->record, ret_fields_len);
    }
    return rc == BRANT_ENOTFOUND ? BRANT_ECORRUPT : rc;
}

static int open_body(struct store_message *m, size_t fields_len, uint32_t variant)
{
    const struct record_message *rec = &m->record;
    struct body_ref ref = {.length = rec->body_bytes, .root = rec->body_sum};
    int rc;

    if (variant >= rec->prefixes_count || rec->body_kind == RECORD_BODY_NONE)
        return BRANT_ECORRUPT;
    m->prefix = span_sub(buf_span(&m->payload), (size_t)record_prefix_offset(rec, fields_len, variant),
                         rec->prefixes[variant].length);
    m->body_bytes = rec->body_bytes;
    if (rec->body_kind == RECORD_BODY_INLINE) {
        m->body = span_from(buf_span(&m->payload), (size_t)record_body_offset(rec, fields_len));
        return BRANT_OK;
    }
    memcpy(ref.id, rec->body_file, sizeof ref.id);
    rc = body_open(m->st->bodies, &ref, &m->file);
    return rc == BRANT_ENOTFOUND ? BRANT_ECORRUPT : rc;
}

int store_message_open(struct store_reader *r, uint64_t account, uint64_t mailbox, uint32_t uid,
                       struct store_message **ret)
{
    struct store_mailbox_info info;
    struct index_entry entry;
    struct store_message *m;
    size_t fields_len;
    int rc = query_box(r, account, mailbox, &info);

    if (rc)
        return rc;
    m = mem_zalloc(sizeof *m);
    m->st = r->st;
    buf_init(&m->payload, RECORD_BYTES_MAX);
    arena_init(&m->arena, RECORD_ARENA_BYTES);
    rc = read_record(r, info.mailbox, uid, m, &entry, &fields_len);
    if (!rc)
        rc = open_body(m, fields_len, entry.variant);
    if (!rc && entry.size != m->prefix.len + m->body_bytes)
        rc = BRANT_ECORRUPT;
    if (rc) {
        store_message_close(m);
        return rc;
    }
    *ret = m;
    return BRANT_OK;
}

uint64_t store_message_bytes(const struct store_message *m)
{
    return m->prefix.len + m->body_bytes;
}

struct span store_message_structure(const struct store_message *m)
{
    return m->record.structure;
}

int store_message_read(struct store_message *m, uint64_t offset, void *data, size_t len, size_t *ret_len)
{
    uint64_t bytes = store_message_bytes(m);
    uint8_t *out = data;
    size_t from_prefix = 0;
    int rc = BRANT_OK;

    if (offset >= bytes)
        len = 0;
    else if (len > bytes - offset)
        len = (size_t)(bytes - offset);
    if (offset < m->prefix.len && len) {
        struct span part = span_sub(m->prefix, (size_t)offset, len);

        memcpy(out, part.p, part.len);
        from_prefix = part.len;
    }
    if (len > from_prefix) {
        uint64_t at = offset + from_prefix - m->prefix.len;

        if (m->file)
            rc = body_read(m->file, at, out + from_prefix, len - from_prefix);
        else
            memcpy(out + from_prefix, m->body.p + at, len - from_prefix);
    }
    if (rc)
        return rc == BRANT_EIO ? rc : BRANT_ECORRUPT;
    *ret_len = len;
    return BRANT_OK;
}

void store_message_close(struct store_message *m)
{
    if (!m)
        return;
    if (m->file)
        body_close(m->file);
    buf_done(&m->payload);
    arena_done(&m->arena);
    free(m);
}
