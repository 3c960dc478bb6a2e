/* How operations on mail are decided, in journal order, against the heads; new mail is in ops_commit.c. Every
 * function here works in the same three steps: look (nothing changes), append the record with its results,
 * change the heads. */
#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/ops.h"

static int refuse(struct store_op *op, int code, const char *reason)
{
    op->result = code;
    op->reason = reason;
    return BRANT_OK;
}

/* ---- FLAGS, EXPUNGE, COPY, MOVE
 * ------------------------------------------------------------------------------- */

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

static uint64_t new_flags(const struct store_change *c, uint64_t old)
{
    switch ((enum store_flag_action)c->action) {
    case STORE_FLAGS_ADD:
        return old | c->flags;
    case STORE_FLAGS_REMOVE:
        return old & ~c->flags;
    default:
        return c->flags;
    }
}

/* The rows of the operation's UIDs into the record; what is gone or excluded is counted. */
static int change_gather(struct store *st, struct store_op *op, struct dir_mailbox *box,
                         struct dir_mailbox *to, struct record_change *rec)
{
    struct store_change *c = &op->change;
    uint64_t modseq = box->modseq + 1;

    for (size_t i = 0; i < c->uid_count; i++) {
        struct index_entry row;
        struct record_entry e;
        int rc = i && c->uids[i] <= c->uids[i - 1] ? BRANT_ESYNTAX
                                                   : index_entry(st->writer_ix, box->id, c->uids[i], &row);

        if (rc == BRANT_ENOTFOUND) {
            c->missing++;
            continue;
        }
        if (rc)
            return rc;
        e = ops_entry(box, &row);
        if (op->kind == STORE_OP_FLAGS) {
            if (c->unchanged_since && row.modseq > c->unchanged_since) {
                c->skipped++;
                continue;
            }
            e.flags = new_flags(c, row.flags);
            e.modseq = modseq;
            if (e.flags != row.flags)
                rec->entries[rec->entries_count++] = e;
            continue;
        }
        if (op->kind == STORE_OP_EXPUNGE || op->kind == STORE_OP_MOVE)
            rec->gone[rec->gone_count++] = (struct record_gone){.account = e.account,
                                                                .mailbox = e.mailbox,
                                                                .uid = e.uid,
                                                                .modseq = modseq,
                                                                .message = e.message,
                                                                .size = e.size,
                                                                .time_ms = rec->time_ms};
        if (to) {
            e.mailbox = to->id;
            e.uid = to->uidnext + rec->entries_count;
            e.modseq = to->modseq + 1;
            rec->entries[rec->entries_count++] = e;
        }
    }
    return BRANT_OK;
}

static void box_changed(struct dir_mailbox *box, const struct record_box *after, uint64_t seq)
{
    box->uidnext = after->uidnext;
    box->modseq = after->modseq;
    box->last_seq = box->change_seq = seq;
    box->account->last_seq = seq;
}

static void box_count(struct dir_mailbox *box, int64_t messages, int64_t bytes)
{
    box->messages += (uint64_t)messages;
    box->bytes += (uint64_t)bytes;
    box->account->messages += (uint64_t)messages;
    box->account->used_bytes += (uint64_t)bytes;
}

static void change_heads(struct store *st, struct dir_mailbox *box, struct dir_mailbox *to,
                         const struct record_change *rec, uint64_t seq)
{
    pthread_mutex_lock(&st->dir.lock);
    for (size_t i = 0; i < rec->gone_count; i++)
        box_count(box, -1, -(int64_t)rec->gone[i].size);
    for (size_t i = 0; to && i < rec->entries_count; i++)
        box_count(to, 1, (int64_t)rec->entries[i].size);
    for (size_t i = 0; i < rec->boxes_count; i++)
        box_changed(dir_mailbox(&st->dir, rec->boxes[i].mailbox), &rec->boxes[i], seq);
    pthread_mutex_unlock(&st->dir.lock);
}

static void change_boxes(enum store_op_kind kind, const struct dir_mailbox *box, const struct dir_mailbox *to,
                         struct record_change *rec)
{
    if (kind != STORE_OP_COPY)
        rec->boxes[rec->boxes_count++] = (struct record_box){.mailbox = box->id,
                                                             .account = box->account->id,
                                                             .uidnext = box->uidnext,
                                                             .modseq = box->modseq + 1};
    if (to)
        rec->boxes[rec->boxes_count++] = (struct record_box){.mailbox = to->id,
                                                             .account = to->account->id,
                                                             .uidnext = to->uidnext + rec->entries_count,
                                                             .modseq = to->modseq + 1};
}

static uint16_t change_type(enum store_op_kind kind)
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

static bool change_over_quota(const struct dir_account *a, const struct record_change *rec)
{
    uint64_t bytes = a->used_bytes;

    for (size_t i = 0; i < rec->entries_count; i++)
        bytes += rec->entries[i].size;
    return a->quota_bytes && bytes > a->quota_bytes;
}

static struct dir_mailbox *change_box(struct store *st, const struct store_change *c, uint64_t id)
{
    struct dir_mailbox *box = dir_mailbox(&st->dir, id);

    return box && box->account->id == c->account ? box : NULL;
}

static int change_look(struct store *st, struct store_op *op, struct dir_mailbox **ret_box,
                       struct dir_mailbox **ret_to)
{
    struct store_change *c = &op->change;
    struct dir_account *a = dir_account(&st->dir, c->account);
    bool has_target = op->kind == STORE_OP_COPY || op->kind == STORE_OP_MOVE;

    if (!a)
        return BRANT_ENOTFOUND;
    *ret_box = change_box(st, c, c->mailbox ? c->mailbox : a->inbox);
    *ret_to = has_target ? change_box(st, c, c->target) : NULL;
    if (!*ret_box || (has_target && !*ret_to) || a->state != RECORD_STATE_LIVE)
        return BRANT_ENOTFOUND;
    if (c->uid_count > STORE_UIDS_MAX)
        return BRANT_ELIMIT;
    if (has_target && (*ret_to == *ret_box || (*ret_to)->uidnext > UINT32_MAX - STORE_UIDS_MAX))
        return *ret_to == *ret_box ? BRANT_EREFUSED : BRANT_ELIMIT;
    return BRANT_OK;
}

static int change(struct store *st, struct store_op *op, int64_t now_ms)
{
    struct store_change *c = &op->change;
    struct arena *a = &st->writer_arena;
    union record rec = {.change = {.time_ms = (uint64_t)now_ms}};
    struct dir_mailbox *box = NULL, *to = NULL;
    int rc = change_look(st, op, &box, &to);

    if (rc && op->parked && box)
        box->parked--;
    if (rc)
        return refuse(op, rc, NULL);
    if (ops_box_ready(st, op, box))
        return BRANT_ETRYLATER;
    memcpy(rec.change.session, c->session, sizeof c->session);
    rec.change.entries = arena_array(a, c->uid_count, sizeof *rec.change.entries);
    rec.change.gone = arena_array(a, c->uid_count, sizeof *rec.change.gone);
    rec.change.boxes = arena_array(a, 2, sizeof *rec.change.boxes);
    rc = change_gather(st, op, box, to, &rec.change);
    if (rc)
        return refuse(op, rc, NULL);
    c->modseq = box->modseq;
    if (!rec.change.entries_count && !rec.change.gone_count)
        return BRANT_OK;
    if (op->kind == STORE_OP_COPY && change_over_quota(box->account, &rec.change))
        return refuse(op, BRANT_EREFUSED, "over quota");
    change_boxes(op->kind, box, to, &rec.change);
    /* Deleting works on a full disk (rule 8). */
    rc = writer_append(st, change_type(op->kind), &rec, NULL, 0, op->kind == STORE_OP_EXPUNGE, &op->seq);
    if (rc)
        return refuse(op, rc, NULL);
    c->target_first = to ? to->uidnext : 0;
    change_heads(st, box, to, &rec.change, op->seq);
    c->changed = to ? rec.change.entries_count : rec.change.entries_count + rec.change.gone_count;
    c->modseq = box->modseq;
    return BRANT_OK;
}

/* ---- Removing the mail of an account
 * ------------------------------------------------------------------------------ */

enum { SLICE = 500 };

void ops_removing_add(struct store *st, uint64_t account)
{
    if (st->removing_count == st->removing_cap) {
        st->removing_cap = st->removing_cap ? st->removing_cap * 2 : 16;
        st->removing = mem_regrow(st->removing, st->removing_cap, sizeof *st->removing);
    }
    st->removing[st->removing_count++] = account;
    atomic_fetch_add(&st->parked_count, 1); /* it waits for apply like a parked operation */
}

static int slice_gather(struct store *st, struct dir_mailbox *box, struct record_change *rec)
{
    struct index *ix = st->writer_ix;
    int rc = index_query(ix, INDEX_ENTRY_LIST, INDEX_N(box->id), INDEX_N(0), INDEX_N(SLICE));

    while (!rc && !(rc = index_row(ix, INDEX_ENTRY_LIST))) {
        struct index_entry row;

        index_entry_row(ix, INDEX_ENTRY_LIST, &row);
        rec->gone[rec->gone_count++] = (struct record_gone){.account = box->account->id,
                                                            .mailbox = box->id,
                                                            .uid = row.uid,
                                                            .modseq = box->modseq + 1,
                                                            .message = row.message,
                                                            .size = row.size,
                                                            .time_ms = rec->time_ms};
    }
    return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
}

/* One slice of one account: 1 appended, 0 not yet, or an error. *ret_gone when the account is no more. */
static int slice(struct store *st, struct dir_account *a, int64_t now_ms, bool *ret_gone)
{
    union record rec = {.change = {.time_ms = (uint64_t)now_ms}};
    uint64_t seq;
    int rc;

    if (a->last_seq > atomic_load(&st->applied_seq))
        return 0;
    arena_reset(&st->writer_arena);
    rec.change.gone = arena_array(&st->writer_arena, SLICE, sizeof *rec.change.gone);
    rec.change.boxes = arena_array(&st->writer_arena, 1, sizeof *rec.change.boxes);
    for (struct dir_mailbox *box = a->boxes; box; box = box->next) {
        rc = slice_gather(st, box, &rec.change);
        if (rc)
            return rc;
        if (!rec.change.gone_count)
            continue;
        change_boxes(STORE_OP_EXPUNGE, box, NULL, &rec.change);
        rc = writer_append(st, RECORD_EXPUNGE, &rec, NULL, 0, true, &seq);
        if (rc)
            return rc;
        change_heads(st, box, NULL, &rec.change, seq);
        return 1;
    }
    rec.account = (struct record_account){.id = a->id, .state = RECORD_STATE_REMOVED};
    rc = writer_append(st, RECORD_ACCOUNT, &rec, NULL, 0, true, &seq);
    if (rc)
        return rc;
    pthread_mutex_lock(&st->dir.lock);
    dir_account_drop(&st->dir, a);
    pthread_mutex_unlock(&st->dir.lock);
    *ret_gone = true;
    return 1;
}

int ops_remove_slices(struct store *st, int64_t now_ms)
{
    int did = 0;

    for (size_t i = 0; i < st->removing_count;) {
        struct dir_account *a = dir_account(&st->dir, st->removing[i]);
        bool gone = false;
        int rc = slice(st, a, now_ms, &gone);

        if (rc == BRANT_EIO)
            return rc;
        did |= rc == 1;
        if (!gone) {
            i++;
            continue;
        }
        st->removing[i] = st->removing[--st->removing_count];
        atomic_fetch_sub(&st->parked_count, 1);
    }
    return did;
}

/* ---- All
 * ----------------------------------------------------------------------------------------------------------
 */

int ops_evaluate(struct store *st, struct store_op *op, int64_t now_ms)
{
    arena_reset(&st->writer_arena);
    op->result = BRANT_OK;
    switch (op->kind) {
    case STORE_OP_COMMIT:
        return ops_commit(st, op, now_ms);
    case STORE_OP_APPEND:
        return ops_append(st, op, now_ms);
    case STORE_OP_QUEUE_REMOVE:
        return ops_queue_remove(st, op, now_ms);
    case STORE_OP_FLAGS:
    case STORE_OP_EXPUNGE:
    case STORE_OP_COPY:
    case STORE_OP_MOVE:
        return change(st, op, now_ms);
    case STORE_OP_INTERNAL:
        return ops_emit(st, op->internal);
    default:
        return ops_directory(st, op, now_ms);
    }
}
