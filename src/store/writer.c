/* The single writer: takes operations, has them decided in order, appends, syncs once for the whole batch,
 * answers, hands the batch to apply. While it syncs the next batch gathers among the submitted. */
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/ops.h"

enum { BATCH_OPS_MAX = 2048, BATCH_BYTES_MAX = 8 << 20, BATCH_RECORDS_MAX = 4096 };

void store_submit(struct store *st, struct store_op *op)
{
    op->next = NULL;
    op->result = BRANT_OK;
    op->reason = NULL;
    op->seq = 0;
    op->wait_seq = 0;
    op->parked = false;
    pthread_mutex_lock(&st->lock);
    *st->submitted_tail = op;
    st->submitted_tail = &op->next;
    st->wake = true;
    pthread_cond_signal(&st->writer_cond);
    pthread_mutex_unlock(&st->lock);
}

void writer_check_space(struct store *st)
{
    uint64_t bytes = 0;

    if (os_fs_free_bytes(st->fs, &bytes))
        return;
    atomic_store(&st->free_bytes, bytes);
    atomic_store(&st->accepting, bytes >= atomic_load(&st->reserve_bytes) && !st->journal_read_only);
}

static struct batch *batch_get(struct store *st, int64_t now_ms)
{
    struct batch *b;

    pthread_mutex_lock(&st->lock);
    b = st->spare;
    st->spare = NULL;
    pthread_mutex_unlock(&st->lock);
    if (!b) {
        b = mem_zalloc(sizeof *b);
        buf_init(&b->fields, (size_t)BATCH_RECORDS_MAX * RECORD_FIELDS_MAX);
    }
    b->next = NULL;
    b->count = 0;
    b->born_ms = now_ms;
    buf_reset(&b->fields);
    return b;
}

int writer_append(struct store *st, uint16_t type, const union record *rec, const struct span *blobs,
                  size_t blob_count, bool use_reserve, uint64_t *ret_seq)
{
    struct batch *b = st->batch;
    struct pending p = {.type = type, .offset = b->fields.len};
    struct span pieces[STORE_VARIANTS_MAX + 2];
    int rc = record_encode(&b->fields, type, rec);

    if (rc)
        return rc;
    p.length = b->fields.len - p.offset;
    pieces[0] = span_make(b->fields.data + p.offset, p.length);
    for (size_t i = 0; i < blob_count; i++)
        pieces[i + 1] = blobs[i];
    rc = journal_append(st->journal, type, record_version(type), pieces, blob_count + 1, use_reserve, &p.seq,
                        &p.place);
    if (rc) {
        b->fields.len = p.offset;
        if (rc == BRANT_EIO)
            atomic_store(&st->dead, true);
        return rc;
    }
    if (b->count == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 64;
        b->records = mem_regrow(b->records, b->cap, sizeof *b->records);
    }
    b->records[b->count++] = p;
    st->batch_bytes += p.place.length;
    *ret_seq = p.seq;
    return BRANT_OK;
}

int writer_sync(struct store *st)
{
    int rc = journal_sync(st->journal);

    if (rc)
        atomic_store(&st->dead, true);
    return rc ? BRANT_EIO : BRANT_OK;
}

static void answer(struct store *st, struct store_op *op)
{
    op->next = NULL;
    *st->answers_tail = op;
    st->answers_tail = &op->next;
}

static bool batch_full(const struct store *st, size_t ops)
{
    return ops >= BATCH_OPS_MAX || st->batch_bytes >= BATCH_BYTES_MAX ||
           st->batch->count >= BATCH_RECORDS_MAX;
}

/* Operations that waited go first, in the order in which they came. */
static size_t evaluate_parked(struct store *st, int64_t now_ms)
{
    struct store_op **place = &st->parked, *op;
    size_t did = 0;

    while ((op = *place) && !batch_full(st, did)) {
        struct store_op *next = op->next;

        if (ops_evaluate(st, op, now_ms)) {
            place = &op->next;
            continue;
        }
        *place = next;
        if (!next)
            st->parked_tail = place;
        answer(st, op);
        atomic_fetch_sub(&st->parked_count, 1);
        did++;
    }
    return did;
}

static struct store_op *take(struct store *st)
{
    struct store_op *op;

    if (!st->incoming) {
        pthread_mutex_lock(&st->lock);
        st->incoming = st->submitted;
        st->submitted = NULL;
        st->submitted_tail = &st->submitted;
        pthread_mutex_unlock(&st->lock);
    }
    op = st->incoming;
    if (op)
        st->incoming = op->next;
    return op;
}

static size_t evaluate_new(struct store *st, int64_t now_ms)
{
    struct store_op *op;
    size_t did = 0;

    while (!batch_full(st, did) && (op = take(st))) {
        did++;
        op->next = NULL;
        if (!ops_evaluate(st, op, now_ms)) {
            answer(st, op);
            continue;
        }
        *st->parked_tail = op;
        st->parked_tail = &op->next;
        atomic_fetch_add(&st->parked_count, 1);
    }
    return did;
}

/* Keeps one for reuse. */
void batch_put(struct store *st, struct batch *b)
{
    b->next = NULL;
    pthread_mutex_lock(&st->lock);
    if (!st->spare && b->fields.cap <= BATCH_BYTES_MAX) {
        st->spare = b;
        b = NULL;
    }
    pthread_mutex_unlock(&st->lock);
    if (!b)
        return;
    buf_done(&b->fields);
    free(b->records);
    free(b);
}

/* The batch is durable: apply may have it. An empty one, or one whose fate is unknown, goes nowhere. */
static void hand_over(struct store *st, bool durable)
{
    struct batch *b = st->batch;

    st->batch = NULL;
    st->batch_bytes = 0;
    if (!durable || !b->count) {
        batch_put(st, b);
        return;
    }
    pthread_mutex_lock(&st->lock);
    *st->queue_tail = b;
    st->queue_tail = &b->next;
    st->queue_records += b->count;
    pthread_cond_signal(&st->apply_cond);
    pthread_mutex_unlock(&st->lock);
}

/* Everything in the batch is answered now; when the journal died, by BRANT_EIO: nothing is known then. */
static void answer_all(struct store *st, bool died)
{
    struct store_op *op;

    while ((op = st->answers)) {
        st->answers = op->next;
        if (died && op->result == BRANT_OK)
            op->result = BRANT_EIO;
        if (op->kind == STORE_OP_COMMIT) {
            store_body_free(op->commit.body);
            op->commit.body = NULL;
        } else if (op->kind == STORE_OP_APPEND) {
            store_append_free(op);
        }
        op->done(op);
    }
    st->answers_tail = &st->answers;
}

static bool lagging(struct store *st)
{
    bool lag;

    pthread_mutex_lock(&st->lock);
    lag = st->queue_records >= st->config.lag_records_max;
    pthread_mutex_unlock(&st->lock);
    return lag;
}

/* The journal can't be written: reading goes on, every change is put off. */
static int refuse_all(struct store *st)
{
    struct store_op *op;
    int did = 0;

    while ((op = take(st))) {
        op->result = BRANT_ETRYLATER;
        op->reason = "the store is read-only";
        answer(st, op);
        did = 1;
    }
    answer_all(st, false);
    return did;
}

int store_writer_step(struct store *st, int64_t now_ms)
{
    size_t did;
    int rc, slices;

    if (atomic_load(&st->dead))
        return BRANT_EIO;
    if (st->journal_read_only)
        return refuse_all(st);
    /* Bounded lag. While the index can't grow (disk full) mail is refused rather than made to wait. */
    if (lagging(st))
        return atomic_load(&st->index_failing) ? refuse_all(st) : 0;
    st->round++;
    if (now_ms - st->space_checked_ms >= 100 || now_ms < st->space_checked_ms) {
        writer_check_space(st);
        st->space_checked_ms = now_ms;
    }
    st->batch = batch_get(st, now_ms);
    did = evaluate_parked(st, now_ms);
    did += evaluate_new(st, now_ms);
    slices = ops_remove_slices(st, now_ms);
    rc = atomic_load(&st->dead) ? BRANT_EIO : journal_sync(st->journal);
    if (rc) {
        atomic_store(&st->dead, true);
        answer_all(st, true);
        hand_over(st, false);
        return BRANT_EIO;
    }
    atomic_store(&st->durable_seq, journal_durable_seq(st->journal));
    if (st->batch->count) {
        atomic_fetch_add(&st->record_count, st->batch->count);
        atomic_fetch_add(&st->batch_count, 1);
    }
    hand_over(st, true);
    answer_all(st, false);
    return did || slices > 0;
}
