/* How operations are decided, in journal order, against the heads; and what goes on by itself: the removal of
 * accounts and mailboxes. Every function here and in the other ops files works in the same three steps: look
 * (nothing changes), append the record with its results, change the heads. */
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/ops.h"

/* ---- Removing the mail of accounts and mailboxes
 * ------------------------------------------------------------------------------ */

enum { SLICE = 500, SLICE_GONE = 2000 };

void ops_removing_add(struct store *st, uint64_t id)
{
    if (st->removing_count == st->removing_cap) {
        st->removing_cap = st->removing_cap ? st->removing_cap * 2 : 16;
        st->removing = mem_regrow(st->removing, st->removing_cap, sizeof *st->removing);
    }
    st->removing[st->removing_count++] = id;
    atomic_fetch_add(&st->parked_count, 1); /* it waits for apply like a parked operation */
}

static int account_gather(struct store *st, struct dir_mailbox *box, struct record_change *rec,
                          struct box_tally *tally)
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
        ops_tally(tally, -1, row.size, row.flags);
    }
    return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
}

static int account_expunge(struct store *st, struct dir_mailbox *box, union record *rec,
                           const struct box_tally *tally)
{
    uint64_t seq;
    int rc;

    rec->change.boxes[rec->change.boxes_count++] = (struct record_box){
        .mailbox = box->id, .account = box->account->id, .uidnext = box->uidnext, .modseq = box->modseq + 1};
    rc = writer_append(st, RECORD_EXPUNGE, rec, NULL, 0, true, &seq);
    if (rc)
        return rc;
    pthread_mutex_lock(&st->dir.lock);
    ops_box_count(box, tally);
    ops_box_changed(box, &rec->change.boxes[0], seq);
    pthread_mutex_unlock(&st->dir.lock);
    return 1;
}

/* One slice of one account: 1 appended, 0 not yet, or an error. *ret_gone when the account is no more. */
static int account_slice(struct store *st, struct dir_account *a, int64_t now_ms, bool *ret_gone)
{
    union record rec = {.change = {.time_ms = (uint64_t)now_ms}};
    uint64_t seq;
    int rc;

    if (a->last_seq > atomic_load(&st->applied_seq))
        return 0;
    arena_reset(&st->writer_arena);
    rec.change.gone = arena_array(&st->writer_arena, SLICE, sizeof *rec.change.gone);
    rec.change.boxes = arena_array(&st->writer_arena, 1, sizeof *rec.change.boxes);
    for (size_t i = 0; i < a->box_count; i++) {
        struct box_tally tally = {0};

        if (!a->boxes[i]->messages)
            continue;
        rc = account_gather(st, a->boxes[i], &rec.change, &tally);
        if (rc)
            return rc;
        if (rec.change.gone_count)
            return account_expunge(st, a->boxes[i], &rec, &tally);
    }
    if (a->removing)
        return 0; /* those mailboxes go by themselves */
    rec.account = (struct record_account){
        .id = a->id, .state = RECORD_STATE_REMOVED, .uidvalidity = st->dir.uidvalidity_last};
    rc = writer_append(st, RECORD_ACCOUNT, &rec, NULL, 0, true, &seq);
    if (rc)
        return rc;
    pthread_mutex_lock(&st->dir.lock);
    dir_account_drop(&st->dir, a);
    pthread_mutex_unlock(&st->dir.lock);
    *ret_gone = true;
    return 1;
}

/* How far the next slice of a mailbox goes: so many entries, so many tombstones. UINT32_MAX: to its end, and
 * there are no entries left then. */
static int mailbox_gather(struct store *st, const struct dir_mailbox *box, uint32_t *ret_to,
                          struct box_tally *tally)
{
    struct index *ix = st->writer_ix;
    size_t rows = 0;
    int rc = index_query(ix, INDEX_GONE_NTH, INDEX_N(box->id), INDEX_N(box->removed_to), INDEX_N(SLICE_GONE));

    *ret_to = UINT32_MAX;
    if (!rc && !(rc = index_row(ix, INDEX_GONE_NTH))) {
        *ret_to = (uint32_t)index_number(ix, INDEX_GONE_NTH, 0);
        index_reset(ix, INDEX_GONE_NTH);
    }
    if (rc && rc != BRANT_ENOTFOUND)
        return rc;
    rc = index_query(ix, INDEX_ENTRY_RANGE, INDEX_N(box->id), INDEX_N(0), INDEX_N(*ret_to), INDEX_N(SLICE));
    while (!rc && !(rc = index_row(ix, INDEX_ENTRY_RANGE))) {
        struct index_entry row;

        index_entry_row(ix, INDEX_ENTRY_RANGE, &row);
        ops_tally(tally, -1, row.size, row.flags);
        if (++rows == SLICE)
            *ret_to = row.uid;
    }
    return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
}

/* The same of one mailbox. Its record alone says that everything up to a UID is gone: there are no
 * tombstones. */
static int mailbox_slice(struct store *st, struct dir_mailbox *box, bool *ret_gone)
{
    struct record_mailbox_state state = ops_mailbox_state(box);
    union record rec = {.mailboxes = {.mailboxes = &state, .mailboxes_count = 1}};
    struct box_tally tally = {0};
    uint64_t seq;
    int rc;

    if (box->last_seq > atomic_load(&st->applied_seq))
        return 0;
    rc = mailbox_gather(st, box, &state.removed_to, &tally);
    if (rc)
        return rc;
    *ret_gone = state.removed_to == UINT32_MAX;
    if (*ret_gone)
        state = (struct record_mailbox_state){.id = box->id,
                                              .account = box->account->id,
                                              .state = RECORD_STATE_REMOVED,
                                              .uidvalidity = st->dir.uidvalidity_last};
    rc = writer_append(st, RECORD_MAILBOXES, &rec, NULL, 0, true, &seq);
    if (rc) {
        *ret_gone = false;
        return rc;
    }
    pthread_mutex_lock(&st->dir.lock);
    ops_box_count(box, &tally);
    box->last_seq = box->change_seq = seq;
    box->removed_to = state.removed_to;
    if (*ret_gone)
        dir_mailbox_drop(&st->dir, box);
    pthread_mutex_unlock(&st->dir.lock);
    return 1;
}

static int slice(struct store *st, uint64_t id, int64_t now_ms, bool *ret_gone)
{
    struct dir_mailbox *box = dir_mailbox(&st->dir, id);
    struct dir_account *a = dir_account(&st->dir, id);

    if (a) /* its INBOX has the same number */
        return account_slice(st, a, now_ms, ret_gone);
    if (box)
        return mailbox_slice(st, box, ret_gone);
    *ret_gone = true;
    return 0;
}

int ops_remove_slices(struct store *st, int64_t now_ms)
{
    int did = 0;

    for (size_t i = 0; i < st->removing_count;) {
        bool gone = false;
        int rc = slice(st, st->removing[i], now_ms, &gone);

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
        return ops_change(st, op, now_ms);
    case STORE_OP_MAILBOX:
        return ops_mailbox(st, op, now_ms);
    case STORE_OP_INTERNAL:
        return ops_emit(st, op->internal);
    default:
        return ops_directory(st, op, now_ms);
    }
}
