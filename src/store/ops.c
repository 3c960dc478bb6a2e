/* How each operation on mail is decided, in journal order, against the heads. Every function here works in
 * the same three steps: look (nothing changes), append the record with its results, change the heads. */
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

/* ---- COMMIT
 * -------------------------------------------------------------------------------------------------- */

static int commit_check(const struct store_commit *c)
{
    if (!c->body || !c->body->finished)
        return BRANT_ESTATE;
    if (c->source.len > 64 || c->protocol.len > 32 || c->helo.len > 255 || c->message_id.len > 998 ||
        c->reverse_path.len > RECORD_ADDRESS_MAX || c->structure.len > RECORD_STRUCTURE_MAX ||
        c->prefix_count > STORE_VARIANTS_MAX || c->rcpt_count > STORE_RECIPIENTS_MAX || !c->rcpt_count)
        return BRANT_ELIMIT;
    for (size_t i = 0; i < c->prefix_count; i++) {
        if (c->prefixes[i].len > RECORD_PREFIX_MAX)
            return BRANT_ELIMIT;
    }
    for (size_t i = 0; i < c->rcpt_count; i++) {
        if (c->rcpts[i].variant >= c->prefix_count)
            return BRANT_ESYNTAX;
    }
    return BRANT_OK;
}

/* Every recipient of the envelope becomes entries, one per account. All or nothing. */
static int commit_expand(struct store *st, struct store_commit *c, struct record_message *rec)
{
    st->commit_visit++;
    for (size_t i = 0; i < c->rcpt_count; i++) {
        struct store_rcpt *rcpt = &c->rcpts[i];
        size_t count;
        int rc = dir_resolve(&st->dir, rcpt->address, &count);

        if (rc)
            return rc == BRANT_ELIMIT ? rc : BRANT_ETRYLATER;
        rec->recipients[i].address = rcpt->address;
        for (size_t k = 0; k < count; k++) {
            struct dir_account *a = st->dir.results[k].account;
            struct dir_mailbox *inbox = dir_mailbox(&st->dir, a->inbox);

            if (a->commit_visit == st->commit_visit)
                continue;
            if (!inbox)
                return BRANT_ETRYLATER;
            a->commit_visit = st->commit_visit;
            if (rec->entries_count == STORE_EXPANSION_MAX || inbox->uidnext == UINT32_MAX)
                return BRANT_ELIMIT;
            rec->entries[rec->entries_count++] = (struct record_entry){
                .account = a->id,
                .mailbox = inbox->id,
                .uid = inbox->uidnext,
                .modseq = inbox->modseq + 1,
                .flags = rcpt->flags,
                .variant = rcpt->variant,
                .size = c->prefixes[rcpt->variant].len + c->body->bytes,
                .time_ms = rec->time_ms,
                .recipient = (uint32_t)i,
            };
            rcpt->entries++;
        }
    }
    return BRANT_OK;
}

static void commit_boxes(struct record_message *rec)
{
    for (size_t i = 0; i < rec->entries_count; i++) {
        const struct record_entry *e = &rec->entries[i];

        rec->boxes[rec->boxes_count++] = (struct record_box){
            .mailbox = e->mailbox, .account = e->account, .uidnext = e->uid + 1, .modseq = e->modseq};
    }
}

static void commit_body(const struct store_body *body, struct record_message *rec)
{
    rec->body_kind = body->in_file ? RECORD_BODY_FILE : RECORD_BODY_INLINE;
    rec->body_bytes = body->bytes;
    if (body->in_file) {
        memcpy(rec->body_file, body->ref.id, sizeof rec->body_file);
        rec->body_sum = body->ref.root;
    }
}

static void commit_heads(struct store *st, struct store_commit *c, const struct record_message *rec,
                         uint64_t seq)
{
    pthread_mutex_lock(&st->dir.lock);
    for (size_t i = 0; i < rec->entries_count; i++) {
        const struct record_entry *e = &rec->entries[i];
        struct dir_mailbox *box = dir_mailbox(&st->dir, e->mailbox);

        box->uidnext = e->uid + 1;
        box->modseq = e->modseq;
        box->messages++;
        box->bytes += e->size;
        box->last_seq = seq;
        box->account->messages++;
        box->account->used_bytes += e->size;
        box->account->last_seq = seq;
    }
    commits_put(&st->commits, c->id, seq);
    pthread_mutex_unlock(&st->dir.lock);
    c->message = seq;
    c->body->committed = true;
    atomic_fetch_add(&st->commit_count, 1);
}

static int commit_append(struct store *st, struct store_op *op, union record *rec)
{
    struct store_commit *c = &op->commit;
    struct span blobs[STORE_VARIANTS_MAX + 1];
    size_t count = 0;

    for (size_t i = 0; i < c->prefix_count; i++) {
        rec->message.prefixes[i].length = (uint32_t)c->prefixes[i].len;
        blobs[count++] = c->prefixes[i];
    }
    if (!c->body->in_file)
        blobs[count++] = buf_span(&c->body->data);
    return writer_append(st, RECORD_MESSAGE, rec, blobs, count, false, &op->seq);
}

static int commit(struct store *st, struct store_op *op, int64_t now_ms)
{
    struct store_commit *c = &op->commit;
    const struct commit_seen *seen = commits_get(&st->commits, c->id);
    struct arena *a = &st->writer_arena;
    union record rec = {.message = {.time_ms = (uint64_t)now_ms,
                                    .source = c->source,
                                    .protocol = c->protocol,
                                    .helo = c->helo,
                                    .reverse_path = c->reverse_path,
                                    .message_id = c->message_id,
                                    .structure = c->structure}};
    int rc = commit_check(c);

    if (seen) {
        c->duplicate = true;
        c->message = seen->message;
        return BRANT_OK;
    }
    if (rc)
        return refuse(op, rc, "malformed commit");
    if (!atomic_load(&st->accepting))
        return refuse(op, BRANT_ENOSPACE, "the disk is nearly full");
    memcpy(rec.message.commit_id, c->id, sizeof c->id);
    memcpy(rec.message.session, c->session, sizeof c->session);
    rec.message.recipients = arena_array(a, c->rcpt_count, sizeof *rec.message.recipients);
    rec.message.recipients_count = (uint32_t)c->rcpt_count;
    rec.message.prefixes = arena_array(a, c->prefix_count, sizeof *rec.message.prefixes);
    rec.message.prefixes_count = (uint32_t)c->prefix_count;
    rec.message.entries = arena_array(a, STORE_EXPANSION_MAX, sizeof *rec.message.entries);
    rec.message.boxes = arena_array(a, STORE_EXPANSION_MAX, sizeof *rec.message.boxes);
    commit_body(c->body, &rec.message);
    pthread_mutex_lock(&st->dir.lock);
    rc = commit_expand(st, c, &rec.message);
    pthread_mutex_unlock(&st->dir.lock);
    if (rc)
        return refuse(op, rc, rc == BRANT_ELIMIT ? "too many recipients" : "a recipient is no longer there");
    commit_boxes(&rec.message);
    rc = commit_append(st, op, &rec);
    if (rc)
        return refuse(op, rc, NULL);
    commit_heads(st, c, &rec.message, op->seq);
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
        return commit(st, op, now_ms);
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
