/* How APPEND is decided: messages of one mailbox, all or none. The same three steps as in ops.c.
 *
 * One message is one record, as a delivery is. Several are a MESSAGE record each, without entries, and behind
 * them, in the same batch, one COPY record with all their entries. That record is written once the messages
 * are on disk, so whatever comes through a crash it never names a message that did not. Messages left without
 * it are dead. Apply brings a whole batch into the index in one transaction, so compaction never sees them
 * so. */
#include "base/err.h"
#include "store/ops.h"

/* How long a filed copy of a submission is recognised. */
static const int64_t FILED_MS = (int64_t)7 * 24 * 3600 * 1000;

static int refuse(struct store_op *op, int code, const char *reason)
{
    op->result = code;
    op->reason = reason;
    return BRANT_OK;
}

static int check(const struct store_append *in)
{
    if (!in->count || in->count > STORE_APPEND_MAX)
        return BRANT_ELIMIT;
    for (size_t i = 0; i < in->count; i++) {
        const struct store_appended *m = &in->messages[i];

        if (!m->body || !m->body->finished)
            return BRANT_ESTATE;
        if (m->message_id.len > 998 || m->structure.len > RECORD_STRUCTURE_MAX)
            return BRANT_ELIMIT;
    }
    return BRANT_OK;
}

static int look(struct store *st, const struct store_append *in, struct dir_mailbox **ret)
{
    struct dir_account *a = dir_account(&st->dir, in->account);
    struct dir_mailbox *box = a ? dir_mailbox(&st->dir, in->mailbox ? in->mailbox : a->inbox) : NULL;

    if (!box || box->account != a)
        return BRANT_ENOTFOUND;
    *ret = box;
    if (a->state != RECORD_STATE_LIVE || box->state != RECORD_STATE_LIVE)
        return BRANT_ENOTFOUND;
    return box->uidnext > UINT32_MAX - STORE_APPEND_MAX ? BRANT_ELIMIT : check(in);
}

/* Is a copy of this submission there? BRANT_OK: `in` tells which. BRANT_ENOTFOUND. */
static int find_filed(struct store *st, struct store_append *in, const struct dir_mailbox *box,
                      struct span key, int64_t now_ms)
{
    struct index *ix = st->writer_ix;
    int rc = index_query(ix, INDEX_MESSAGE_FILED, INDEX_B(key), INDEX_N(now_ms - FILED_MS), INDEX_N(box->id));

    if (!rc)
        rc = index_row(ix, INDEX_MESSAGE_FILED);
    if (rc)
        return rc;
    in->messages[0].uid = (uint32_t)index_number(ix, INDEX_MESSAGE_FILED, 0);
    in->messages[0].message = index_number(ix, INDEX_MESSAGE_FILED, 1);
    in->uidvalidity = box->uidvalidity;
    in->modseq = box->modseq;
    in->filed = true;
    index_reset(ix, INDEX_MESSAGE_FILED);
    return BRANT_OK;
}

static void put_record(struct store *st, const struct store_append *in, const struct store_appended *m,
                       struct record_message *rec)
{
    static const uint8_t none[16];
    struct arena *a = &st->writer_arena;

    rec->protocol = SPAN_LIT("APPEND");
    rec->message_id = m->message_id;
    rec->structure = m->structure;
    if (in->count == 1 && memcmp(in->id, none, sizeof none))
        memcpy(rec->commit_id, in->id, sizeof rec->commit_id);
    else
        st->seam.random(st->seam.ctx, rec->commit_id, sizeof rec->commit_id);
    memcpy(rec->session, in->session, sizeof rec->session);
    memcpy(rec->content_sum, m->content_sum, sizeof rec->content_sum);
    rec->prefixes = arena_array(a, 1, sizeof *rec->prefixes);
    rec->prefixes_count = 1;
    ops_put_body(m->body, rec);
}

/* ---- One message
 * ------------------------------------------------------------------------------------------------------------
 */

static int append_one(struct store *st, struct store_op *op, struct dir_mailbox *box, uint64_t flags,
                      int64_t now_ms)
{
    struct store_append *in = &op->append;
    struct store_appended *m = &in->messages[0];
    struct span none = SPAN_NONE;
    union record rec = {.message = {.time_ms = (uint64_t)now_ms}};
    struct record_entry *e;
    int rc;

    put_record(st, in, m, &rec.message);
    rec.message.entries = arena_array(&st->writer_arena, 1, sizeof *rec.message.entries);
    rec.message.boxes = arena_array(&st->writer_arena, 1, sizeof *rec.message.boxes);
    e = ops_put_entry(&rec.message, box);
    e->flags = flags;
    e->size = m->body->bytes;
    if (m->time_ms)
        e->time_ms = (uint64_t)m->time_ms;
    rc = ops_put_message(st, &rec, &none, 1, m->body, &op->seq);
    if (rc)
        return rc;
    m->message = op->seq;
    m->uid = e->uid;
    m->body->committed = true;
    pthread_mutex_lock(&st->dir.lock);
    ops_entry_heads(st, &rec.message, op->seq);
    commits_put(&st->commits, rec.message.commit_id, op->seq);
    pthread_mutex_unlock(&st->dir.lock);
    in->modseq = box->modseq;
    return BRANT_OK;
}

/* ---- Several
 * ------------------------------------------------------------------------------------------------------------
 */

static int append_messages(struct store *st, struct store_append *in, int64_t now_ms)
{
    struct span none = SPAN_NONE;
    int rc = BRANT_OK;

    for (size_t i = 0; !rc && i < in->count; i++) {
        union record rec = {.message = {.time_ms = (uint64_t)now_ms}};

        put_record(st, in, &in->messages[i], &rec.message);
        rc = ops_put_message(st, &rec, &none, 1, in->messages[i].body, &in->messages[i].message);
    }
    return rc ? rc : writer_sync(st);
}

static void put_entries(struct store_append *in, const struct dir_mailbox *box, const uint64_t *flags,
                        struct record_change *rec, struct box_tally *tally)
{
    for (size_t i = 0; i < in->count; i++) {
        struct store_appended *m = &in->messages[i];

        m->uid = box->uidnext + (uint32_t)i;
        rec->saved[i].time_ms = rec->time_ms;
        rec->entries[i] = (struct record_entry){.account = box->account->id,
                                                .mailbox = box->id,
                                                .uid = m->uid,
                                                .modseq = box->modseq + 1,
                                                .flags = flags[i],
                                                .message = m->message,
                                                .size = m->body->bytes,
                                                .time_ms = m->time_ms ? (uint64_t)m->time_ms : rec->time_ms,
                                                .recipient = RECORD_NO_RECIPIENT};
        ops_tally(tally, 1, m->body->bytes, flags[i]);
    }
    rec->entries_count = rec->saved_count = (uint32_t)in->count;
    rec->boxes[0] = (struct record_box){.mailbox = box->id,
                                        .account = box->account->id,
                                        .uidnext = box->uidnext + (uint32_t)in->count,
                                        .modseq = box->modseq + 1};
    rec->boxes_count = 1;
}

static int append_all(struct store *st, struct store_op *op, struct dir_mailbox *box, const uint64_t *flags,
                      int64_t now_ms)
{
    struct store_append *in = &op->append;
    union record rec = {.change = {.time_ms = (uint64_t)now_ms}};
    struct box_tally tally = {0};
    int rc = append_messages(st, in, now_ms);

    if (rc)
        return rc;
    memcpy(rec.change.session, in->session, sizeof rec.change.session);
    rec.change.entries = arena_array(&st->writer_arena, in->count, sizeof *rec.change.entries);
    rec.change.saved = arena_array(&st->writer_arena, in->count, sizeof *rec.change.saved);
    rec.change.boxes = arena_array(&st->writer_arena, 1, sizeof *rec.change.boxes);
    put_entries(in, box, flags, &rec.change, &tally);
    rc = writer_append(st, RECORD_COPY, &rec, NULL, 0, false, &op->seq);
    if (rc)
        return rc;
    for (size_t i = 0; i < in->count; i++)
        in->messages[i].body->committed = true;
    pthread_mutex_lock(&st->dir.lock);
    ops_box_count(box, &tally);
    ops_box_changed(box, &rec.change.boxes[0], op->seq);
    pthread_mutex_unlock(&st->dir.lock);
    in->modseq = box->modseq;
    return BRANT_OK;
}

/* ---- All
 * ------------------------------------------------------------------------------------------------------------
 */

static bool over_quota(const struct store_append *in, const struct dir_account *a)
{
    uint64_t bytes = a->used_bytes;

    for (size_t i = 0; i < in->count; i++)
        bytes += in->messages[i].body->bytes;
    return a->quota_bytes && bytes > a->quota_bytes;
}

static int append(struct store *st, struct store_op *op, struct dir_mailbox *box, int64_t now_ms)
{
    struct store_append *in = &op->append;
    uint64_t *flags = arena_array(&st->writer_arena, in->count, sizeof *flags);
    struct buf table;
    int rc;

    in->keywords_full = false;
    in->uidvalidity = box->uidvalidity;
    buf_init(&table, STORE_KEYWORDS_TEXT_MAX);
    (void)buf_append(&table, span_str(box->keywords ? box->keywords : ""));
    for (size_t i = 0; i < in->count; i++)
        flags[i] = (in->messages[i].flags & (((uint64_t)1 << STORE_KEYWORD_SHIFT) - 1)) |
                   ops_keyword_bits(&table, &in->messages[i].keywords, true, &in->keywords_full);
    rc = ops_keywords_grow(st, box, buf_span(&table));
    buf_done(&table);
    if (rc)
        return rc;
    return in->count == 1 ? append_one(st, op, box, flags[0], now_ms)
                          : append_all(st, op, box, flags, now_ms);
}

int ops_append(struct store *st, struct store_op *op, int64_t now_ms)
{
    struct store_append *in = &op->append;
    struct dir_mailbox *box = NULL;
    struct span key = SPAN_NONE;
    int rc = look(st, in, &box);

    in->filed = false;
    if (rc && op->parked && box)
        box->parked--;
    if (rc)
        return refuse(op, rc, NULL);
    if (in->unless_filed && in->count == 1)
        key = filed_key(in->messages[0].content_sum, in->messages[0].message_id, &st->writer_arena);
    if (key.len) {
        if (ops_box_ready(st, op, box))
            return BRANT_ETRYLATER;
        rc = find_filed(st, in, box, key, now_ms);
        if (rc != BRANT_ENOTFOUND)
            return refuse(op, rc, NULL);
    }
    if (!atomic_load(&st->accepting))
        return refuse(op, BRANT_ENOSPACE, "the disk is nearly full");
    if (over_quota(in, box->account))
        return refuse(op, BRANT_EREFUSED, "over quota");
    return refuse(op, append(st, op, box, now_ms), NULL);
}
