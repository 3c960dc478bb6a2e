/* How FLAGS, EXPUNGE, COPY and MOVE are decided: the rows of the index in the ranges asked for, in slices.
 * The same three steps as in ops.c. */
#include "base/ascii.h"
#include "base/err.h"
#include "store/keywords.h"
#include "store/ops.h"

static int refuse(struct store_op *op, int code, const char *reason)
{
    op->result = code;
    op->reason = reason;
    return BRANT_OK;
}

static const uint64_t SYSTEM_FLAGS = ((uint64_t)1 << STORE_KEYWORD_SHIFT) - 1;

int ops_box_ready(struct store *st, struct store_op *op, struct dir_mailbox *box)
{
    uint64_t applied = atomic_load(&st->applied_seq);

    if (!op->wait_seq)
        op->wait_seq = box->last_seq;
    if ((!op->parked && box->parked) || box->blocked == st->round || box->change_seq > applied ||
        op->wait_seq > applied) {
        box->blocked = st->round;
        box->parked += !op->parked;
        op->parked = true;
        return BRANT_ETRYLATER;
    }
    box->parked -= op->parked;
    op->parked = false;
    return BRANT_OK;
}

struct record_entry ops_entry(const struct dir_mailbox *box, const struct index_entry *row)
{
    return (struct record_entry){.account = box->account->id,
                                 .mailbox = row->mailbox,
                                 .uid = row->uid,
                                 .modseq = row->modseq,
                                 .flags = row->flags,
                                 .message = row->message,
                                 .variant = row->variant,
                                 .size = row->size,
                                 .time_ms = row->time_ms};
}

void ops_tally(struct box_tally *t, int64_t one, uint64_t size, uint64_t flags)
{
    t->messages += one;
    t->bytes += one * (int64_t)size;
    t->unseen += flags & STORE_FLAG_SEEN ? 0 : one;
    t->deleted += flags & STORE_FLAG_DELETED ? one : 0;
}

void ops_box_count(struct dir_mailbox *box, const struct box_tally *t)
{
    box->messages += (uint64_t)t->messages;
    box->bytes += (uint64_t)t->bytes;
    box->unseen += (uint64_t)t->unseen;
    box->deleted += (uint64_t)t->deleted;
    box->account->messages += (uint64_t)t->messages;
    box->account->used_bytes += (uint64_t)t->bytes;
}

/* ---- One operation
 * ---------------------------------------------------------------------------------------------------------
 */

struct change {
    struct store *st;
    struct store_op *op;
    struct store_change *in;
    struct dir_mailbox *box, *to; /* to: COPY and MOVE */
    struct record_change *rec;
    size_t limit;                       /* rows that may be looked at, and ranges */
    size_t rows;                        /* looked at */
    struct buf table;                   /* keywords of the mailbox whose entries are written */
    uint64_t keyword_bits;              /* FLAGS */
    int8_t carried[STORE_KEYWORDS_MAX]; /* COPY, MOVE: numbers in the target; -1: not looked for yet, -2: no
                                           place */
    struct box_tally from_tally, to_tally;
    bool full; /* a list of the answer is */
};

/* False: there is no more room. */
static bool range_add(struct store_range_list *list, uint32_t uid)
{
    if (!list->r)
        return true;
    if (list->count && list->r[list->count - 1].last + 1 == uid) {
        list->r[list->count - 1].last = uid;
        return true;
    }
    if (list->count == list->max)
        return false;
    list->r[list->count++] = (struct store_range){uid, uid};
    return true;
}

/* The flags of an entry in the target: its keywords have other numbers there. */
static uint64_t carry(struct change *c, uint64_t flags)
{
    struct span names = c->box->keywords ? span_str(c->box->keywords) : SPAN_NONE;
    uint64_t carried = flags & SYSTEM_FLAGS;

    if (c->box == c->to)
        return flags;
    for (unsigned i = 0; i < STORE_KEYWORDS_MAX; i++) {
        if (!(flags >> (STORE_KEYWORD_SHIFT + i) & 1))
            continue;
        if (c->carried[i] == -1) {
            int number = keywords_add(&c->table, keywords_name(names, i));

            c->carried[i] = (int8_t)(number < 0 ? -2 : number);
        }
        if (c->carried[i] < 0)
            c->in->keywords_full = true;
        else
            carried |= (uint64_t)1 << (STORE_KEYWORD_SHIFT + c->carried[i]);
    }
    return carried;
}

static uint64_t new_flags(const struct change *c, uint64_t old)
{
    uint64_t flags = (c->in->flags & SYSTEM_FLAGS) | c->keyword_bits;

    switch ((enum store_flag_action)c->in->action) {
    case STORE_FLAGS_ADD:
        return old | flags;
    case STORE_FLAGS_REMOVE:
        return old & ~flags;
    default:
        return flags;
    }
}

static void put_entry(struct change *c, const struct record_entry *e, uint64_t saved_ms)
{
    c->rec->saved[c->rec->saved_count++].time_ms = saved_ms;
    c->rec->entries[c->rec->entries_count++] = *e;
}

/* False: the slice ends before this row. */
static bool put_flags(struct change *c, const struct index_entry *row)
{
    struct record_entry e = ops_entry(c->box, row);

    if (c->in->has_unchanged_since && row->modseq > c->in->unchanged_since)
        return range_add(&c->in->modified, row->uid);
    e.flags = new_flags(c, row->flags);
    if (e.flags == row->flags)
        return true;
    if (!range_add(&c->in->touched, row->uid))
        return false;
    e.modseq = c->box->modseq + 1;
    put_entry(c, &e, row->saved_ms);
    ops_tally(&c->from_tally, -1, row->size, row->flags);
    ops_tally(&c->from_tally, 1, row->size, e.flags);
    return true;
}

static bool put_row(struct change *c, const struct index_entry *row)
{
    struct record_entry e = ops_entry(c->box, row);

    if ((row->flags & c->in->flags_all) != c->in->flags_all)
        return true;
    if (c->op->kind == STORE_OP_FLAGS)
        return put_flags(c, row);
    if (!range_add(&c->in->touched, row->uid))
        return false;
    if (c->op->kind != STORE_OP_COPY) {
        c->rec->gone[c->rec->gone_count++] = (struct record_gone){.account = e.account,
                                                                  .mailbox = e.mailbox,
                                                                  .uid = e.uid,
                                                                  .modseq = c->box->modseq + 1,
                                                                  .message = e.message,
                                                                  .size = e.size,
                                                                  .time_ms = c->rec->time_ms};
        ops_tally(&c->from_tally, -1, row->size, row->flags);
    }
    if (c->to) {
        e.mailbox = c->to->id;
        e.uid = c->to->uidnext + c->rec->entries_count;
        e.modseq = c->to->modseq + 1;
        e.flags = carry(c, row->flags);
        put_entry(c, &e, c->rec->time_ms);
        ops_tally(&c->to_tally, 1, e.size, e.flags);
    }
    return true;
}

/* The rows of one range. BRANT_ENOTFOUND: all of them. BRANT_OK: the slice ends here. */
static int gather_range(struct change *c, const struct store_range *range)
{
    struct index *ix = c->st->writer_ix;
    enum index_statement s = INDEX_ENTRY_RANGE;
    int rc = index_query(ix, s, INDEX_N(c->box->id), INDEX_N(range->first), INDEX_N(range->last),
                         INDEX_N(c->limit - c->rows + 1));

    while (!rc && !(rc = index_row(ix, s))) {
        struct index_entry row;

        index_entry_row(ix, s, &row);
        c->full = c->rows == c->limit || !put_row(c, &row);
        if (c->full) {
            c->in->done_to = row.uid - 1;
            index_reset(ix, s);
            return BRANT_OK;
        }
        c->rows++;
    }
    return rc;
}

/* EXPUNGE looks for \Deleted, and a large mailbox mostly has none. */
static bool nothing_to_do(const struct change *c)
{
    return c->in->flags_all & STORE_FLAG_DELETED && !c->box->deleted;
}

static int gather(struct change *c)
{
    const struct store_change *in = c->in;

    for (size_t i = 0; i < in->range_count && !nothing_to_do(c); i++) {
        int rc;

        if (i == c->limit) {
            c->full = true;
            c->in->done_to = in->ranges[i].first - 1;
            return BRANT_OK;
        }
        rc = gather_range(c, &in->ranges[i]);
        if (rc != BRANT_ENOTFOUND)
            return rc;
    }
    c->in->done_to = UINT32_MAX;
    return BRANT_OK;
}

static bool ranges_in_order(const struct store_change *in)
{
    for (size_t i = 0; i < in->range_count; i++) {
        if (in->ranges[i].first > in->ranges[i].last || (i && in->ranges[i].first <= in->ranges[i - 1].last))
            return false;
    }
    return true;
}

/* How many entries there may be to write. */
static size_t entries_max(const struct change *c)
{
    uint64_t count = 0;

    for (size_t i = 0; i < c->in->range_count && count < c->limit; i++)
        count += (uint64_t)c->in->ranges[i].last - c->in->ranges[i].first + 1;
    return count < c->limit ? (size_t)count : c->limit;
}

static struct dir_mailbox *box_of(struct store *st, const struct dir_account *a, uint64_t id)
{
    struct dir_mailbox *box = dir_mailbox(&st->dir, id);

    return box && box->account == a ? box : NULL;
}

static bool living(const struct dir_mailbox *box)
{
    return box && box->state == RECORD_STATE_LIVE;
}

static int look(struct change *c)
{
    const struct store_change *in = c->in;
    struct dir_account *a = dir_account(&c->st->dir, in->account);
    bool has_target = c->op->kind == STORE_OP_MOVE || c->op->kind == STORE_OP_COPY;

    if (!a)
        return BRANT_ENOTFOUND;
    c->box = box_of(c->st, a, in->mailbox ? in->mailbox : a->inbox);
    c->to = has_target ? box_of(c->st, a, in->target) : NULL;
    if (a->state != RECORD_STATE_LIVE || !living(c->box) || (has_target && !living(c->to)))
        return BRANT_ENOTFOUND;
    if (!ranges_in_order(in))
        return BRANT_ESYNTAX;
    return has_target && c->to->uidnext > UINT32_MAX - STORE_COPY_MAX ? BRANT_ELIMIT : BRANT_OK;
}

/* Bits of the keywords named. With `add` new ones get their place. */
uint64_t ops_keyword_bits(struct buf *table, const struct store_keyword_list *list, bool add, bool *ret_full)
{
    uint64_t bits = 0;

    for (size_t i = 0; i < list->count; i++) {
        int number =
            add ? keywords_add(table, list->names[i]) : keywords_find(buf_span(table), list->names[i]);

        if (number >= 0)
            bits |= (uint64_t)1 << (STORE_KEYWORD_SHIFT + number);
        else
            *ret_full |= add;
    }
    return bits;
}

static void prepare(struct change *c)
{
    struct arena *a = &c->st->writer_arena;
    const struct dir_mailbox *named = c->to ? c->to : c->box;
    size_t max;

    c->limit = c->op->kind == STORE_OP_COPY ? STORE_COPY_MAX : STORE_UIDS_MAX;
    max = entries_max(c);
    memcpy(c->rec->session, c->in->session, sizeof c->rec->session);
    if (c->op->kind != STORE_OP_EXPUNGE) {
        c->rec->entries = arena_array(a, max, sizeof *c->rec->entries);
        c->rec->saved = arena_array(a, max, sizeof *c->rec->saved);
    }
    if (c->op->kind == STORE_OP_EXPUNGE || c->op->kind == STORE_OP_MOVE)
        c->rec->gone = arena_array(a, max, sizeof *c->rec->gone);
    c->rec->boxes = arena_array(a, 2, sizeof *c->rec->boxes);
    memset(c->carried, -1, sizeof c->carried);
    (void)buf_append(&c->table, span_str(named->keywords ? named->keywords : ""));
    c->in->touched.count = c->in->modified.count = 0;
    c->in->changed = c->in->target_first = 0;
    c->in->modseq = 0;
    c->in->keywords_full = false;
    c->in->modseq_before = c->box->modseq;
    c->in->target_uidvalidity = c->to ? c->to->uidvalidity : 0;
    if (c->op->kind == STORE_OP_FLAGS)
        c->keyword_bits = ops_keyword_bits(&c->table, &c->in->keywords, c->in->action != STORE_FLAGS_REMOVE,
                                           &c->in->keywords_full);
}

static bool over_quota(const struct dir_account *a, const struct box_tally *t)
{
    return a->quota_bytes && a->used_bytes + (uint64_t)t->bytes > a->quota_bytes;
}

static void put_box(struct record_change *rec, const struct dir_mailbox *box, uint32_t uidnext)
{
    rec->boxes[rec->boxes_count++] = (struct record_box){
        .mailbox = box->id, .account = box->account->id, .uidnext = uidnext, .modseq = box->modseq + 1};
}

static uint16_t record_of(enum store_op_kind kind)
{
    switch (kind) {
    case STORE_OP_FLAGS:
        return RECORD_FLAGS;
    case STORE_OP_EXPUNGE:
        return RECORD_EXPUNGE;
    case STORE_OP_COPY:
        return RECORD_COPY;
    default:
        return RECORD_MOVE;
    }
}

void ops_box_changed(struct dir_mailbox *box, const struct record_box *after, uint64_t seq)
{
    box->recent += after->uidnext - box->uidnext;
    box->uidnext = after->uidnext;
    box->modseq = after->modseq;
    box->last_seq = box->change_seq = seq;
    box->account->last_seq = seq;
}

static void heads(struct change *c)
{
    struct directory *d = &c->st->dir;

    pthread_mutex_lock(&d->lock);
    ops_box_count(c->box, &c->from_tally);
    for (size_t i = 0; !c->to && i < c->rec->entries_count; i++) {
        if (!(c->rec->entries[i].flags & STORE_FLAG_SEEN)) {
            dir_mailbox_unseen(c->box, c->rec->entries[i].uid);
            break;
        }
    }
    for (size_t i = 0; i < c->rec->gone_count; i++)
        c->box->recent -= c->rec->gone[i].uid >= c->box->recent_from;
    if (c->to)
        ops_box_count(c->to, &c->to_tally);
    for (size_t i = 0; i < c->rec->boxes_count; i++)
        ops_box_changed(dir_mailbox(d, c->rec->boxes[i].mailbox), &c->rec->boxes[i], c->op->seq);
    pthread_mutex_unlock(&d->lock);
}

/* Deleting works on a full disk (DESIGN §4 rule 8). */
static bool deletes(const struct store_op *op)
{
    return op->kind == STORE_OP_EXPUNGE ||
           (op->kind == STORE_OP_FLAGS && op->change.action == STORE_FLAGS_ADD &&
            op->change.flags & STORE_FLAG_DELETED);
}

static int put(struct change *c)
{
    union record rec;
    int rc = ops_keywords_grow(c->st, c->to ? c->to : c->box, buf_span(&c->table));

    if (rc)
        return rc;
    if (c->op->kind != STORE_OP_COPY && c->box != c->to) /* RFC 6851 3.3: a mailbox may be its own target */
        put_box(c->rec, c->box, c->box->uidnext);
    if (c->to)
        put_box(c->rec, c->to, c->to->uidnext + c->rec->entries_count);
    rec.change = *c->rec;
    rc = writer_append(c->st, record_of(c->op->kind), &rec, NULL, 0, deletes(c->op), &c->op->seq);
    if (rc)
        return rc;
    c->in->target_first = c->to ? c->to->uidnext : 0;
    heads(c);
    c->in->changed = c->to ? c->rec->entries_count : c->rec->entries_count + c->rec->gone_count;
    c->in->modseq = c->op->kind == STORE_OP_COPY ? c->to->modseq : c->box->modseq;
    return BRANT_OK;
}

int ops_change(struct store *st, struct store_op *op, int64_t now_ms)
{
    struct record_change rec = {.time_ms = (uint64_t)now_ms};
    struct change c = {.st = st, .op = op, .in = &op->change, .rec = &rec};
    int rc = look(&c);

    if (rc && op->parked && c.box)
        c.box->parked--;
    if (rc)
        return refuse(op, rc, NULL);
    if (ops_box_ready(st, op, c.box))
        return BRANT_ETRYLATER;
    buf_init(&c.table, STORE_KEYWORDS_TEXT_MAX);
    prepare(&c);
    rc = gather(&c);
    if (!rc && op->kind == STORE_OP_COPY && c.full)
        rc = BRANT_ELIMIT;
    else if (!rc && op->kind == STORE_OP_COPY && over_quota(c.box->account, &c.to_tally))
        rc = BRANT_EREFUSED;
    else if (!rc && (rec.entries_count || rec.gone_count))
        rc = put(&c);
    buf_done(&c.table);
    if (rc)
        return refuse(op, rc, rc == BRANT_EREFUSED ? "over quota" : NULL);
    return BRANT_OK;
}
