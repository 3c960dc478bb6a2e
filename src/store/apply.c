/* Apply: durable batches into the index, one transaction for what gathered; and the checkpoints behind it. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/state.h"

enum { READ_WAIT_S = 5 };

/* Wait a little for more, unless somebody waits for us. */
static bool ripe(const struct store *st, int64_t now_ms)
{
    int64_t age = now_ms - st->queue->born_ms;

    return st->waiters || atomic_load(&st->parked_count) || st->stopping ||
           st->queue_records >= st->config.apply_records_max || age < 0 || age >= st->config.apply_gather_ms;
}

/* Under lock: the batches of the next transaction, cut off the queue. They come back when it fails. */
static struct batch *take(struct store *st)
{
    struct batch *first = st->queue, *last = first;
    size_t count = first->count;

    while (last->next && count + last->next->count <= st->config.apply_records_max) {
        last = last->next;
        count += last->count;
    }
    st->queue = last->next;
    if (!st->queue)
        st->queue_tail = &st->queue;
    last->next = NULL;
    return first;
}

static int apply_batches(struct applier *ap, const struct batch *batches)
{
    uint64_t last = 0;
    int rc = applier_begin(ap);

    for (const struct batch *b = batches; !rc && b; b = b->next) {
        for (size_t i = 0; !rc && i < b->count; i++) {
            const struct pending *p = &b->records[i];

            rc = applier_record(ap, p->seq, p->type, record_version(p->type),
                                span_make(b->fields.data + p->offset, p->length), &p->place);
            last = p->seq;
        }
    }
    if (!rc)
        rc = applier_commit(ap, last);
    if (rc)
        applier_rollback(ap);
    return rc;
}

static void give_back(struct store *st, struct batch *batches)
{
    struct batch *last = batches;

    pthread_mutex_lock(&st->lock);
    while (last->next)
        last = last->next;
    last->next = st->queue;
    if (!st->queue)
        st->queue_tail = &last->next;
    st->queue = batches;
    pthread_mutex_unlock(&st->lock);
}

static void keep_dead_files(struct store *st)
{
    struct applier *ap = &st->applier;

    for (size_t i = 0; i < ap->dead_count; i++) {
        if (st->dead_count == st->dead_cap) {
            st->dead_cap = st->dead_cap ? st->dead_cap * 2 : 16;
            st->dead_files = mem_regrow(st->dead_files, st->dead_cap, sizeof *st->dead_files);
        }
        st->dead_files[st->dead_count++] = ap->dead[i];
    }
    ap->dead_count = 0;
}

static void applied(struct store *st, struct batch *batches)
{
    struct batch *b;

    pthread_mutex_lock(&st->lock);
    for (b = batches; b; b = b->next) {
        st->queue_records -= b->count;
        atomic_store(&st->applied_seq, b->records[b->count - 1].seq);
    }
    keep_dead_files(st);
    st->wake = true;
    pthread_cond_broadcast(&st->applied_cond);
    pthread_cond_signal(&st->writer_cond);
    pthread_mutex_unlock(&st->lock);
    news_tell(&st->news, &st->applier.news);
    while ((b = batches)) {
        batches = b->next;
        batch_put(st, b);
    }
}

/* The index could not be written or synced: what its files hold is unknown now. As with the journal (rule 6)
 * the process ends; the next start makes it whole from its log and the journal. */
static int die(struct store *st)
{
    atomic_store(&st->dead, true);
    pthread_mutex_lock(&st->lock);
    st->wake = true;
    pthread_cond_signal(&st->writer_cond);
    pthread_mutex_unlock(&st->lock);
    return BRANT_EIO;
}

/* Copies the log of the index into its database. No sync may be tried again after one that failed, not on
 * another thread either: the kernel would call it a success. */
static int checkpoint(struct store *st, struct index *ix, bool restart, bool *ret_all)
{
    uint64_t bytes = 0;
    int rc = BRANT_EIO;

    pthread_mutex_lock(&st->checkpoint_lock);
    if (!atomic_load(&st->dead))
        rc = index_checkpoint(ix, restart, ret_all, &bytes);
    if (rc == BRANT_EIO)
        (void)die(st);
    else if (!rc)
        atomic_store(&st->wal_bytes, bytes);
    pthread_mutex_unlock(&st->checkpoint_lock);
    return rc;
}

static int apply_some(struct store *st)
{
    struct batch *batches;
    int rc;

    if (atomic_load(&st->dead))
        return BRANT_EIO;
    pthread_mutex_lock(&st->lock);
    batches = st->queue ? take(st) : NULL;
    pthread_mutex_unlock(&st->lock);
    if (!batches)
        return 0;
    rc = apply_batches(&st->applier, batches);
    if (rc) {
        bool all;

        give_back(st, batches);
        atomic_store(&st->index_failing, true);
        if (rc == BRANT_EIO)
            return die(st);
        /* A full disk: the log can be used again from its start once it is copied. */
        if (rc == BRANT_ENOSPACE && checkpoint(st, st->applier.ix, true, &all) == BRANT_EIO)
            return BRANT_EIO;
        return rc;
    }
    atomic_store(&st->index_failing, false);
    applied(st, batches);
    return 1;
}

int store_apply_step(struct store *st, int64_t now_ms)
{
    bool due;

    pthread_mutex_lock(&st->lock);
    due = st->queue && ripe(st, now_ms);
    pthread_mutex_unlock(&st->lock);
    return due ? apply_some(st) : 0;
}

int store_wait_applied(struct store *st, uint64_t seq)
{
    struct timespec until;
    int rc = 0;

    if (atomic_load(&st->applied_seq) >= seq)
        return BRANT_OK;
    if (!st->threads_running) {
        while (atomic_load(&st->applied_seq) < seq) {
            rc = apply_some(st);
            if (rc != 1)
                return rc == BRANT_EIO || rc == BRANT_ECORRUPT ? rc : BRANT_ETRYLATER;
        }
        return BRANT_OK;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += READ_WAIT_S;
    pthread_mutex_lock(&st->lock);
    st->waiters++;
    pthread_cond_signal(&st->apply_cond);
    while (!rc && !st->stopping && atomic_load(&st->applied_seq) < seq)
        rc = pthread_cond_timedwait(&st->applied_cond, &st->lock, &until);
    st->waiters--;
    pthread_mutex_unlock(&st->lock);
    return atomic_load(&st->applied_seq) >= seq ? BRANT_OK : BRANT_ETRYLATER;
}

/* ---- Checkpoints
 * --------------------------------------------------------------------------------------------------- */

/* Body files whose last entry went, once that can't be undone by a loss of power. */
static bool unlink_dead_files(struct store *st, uint64_t checkpointed)
{
    struct dead_file batch[32];
    size_t count = 0;

    pthread_mutex_lock(&st->lock);
    for (size_t i = 0; i < st->dead_count && count < sizeof batch / sizeof batch[0];) {
        if (st->dead_files[i].seq > checkpointed) {
            i++;
            continue;
        }
        batch[count++] = st->dead_files[i];
        st->dead_files[i] = st->dead_files[--st->dead_count];
    }
    pthread_mutex_unlock(&st->lock);
    for (size_t i = 0; i < count; i++)
        (void)bodies_unlink(st->bodies, batch[i].id); /* what stays is removed by the next start */
    return count > 0;
}

int store_checkpoint_step(struct store *st, int64_t now_ms)
{
    uint64_t seq = atomic_load(&st->applied_seq);
    bool all = false, did = false;

    (void)now_ms;
    if (atomic_load(&st->dead))
        return BRANT_EIO;
    writer_check_space(st);
    if (seq > atomic_load(&st->checkpointed_seq)) {
        int rc =
            checkpoint(st, st->checkpoint_ix, atomic_load(&st->wal_bytes) > st->config.wal_bytes_max, &all);

        if (rc)
            return rc;
        if (all) {
            atomic_store(&st->checkpointed_seq, seq);
            did = true;
        }
    }
    return unlink_dead_files(st, atomic_load(&st->checkpointed_seq)) || did;
}

/* ---- At the start
 * ---------------------------------------------------------------------------------------------------- */

enum { REPLAY_TRANSACTION = 4096 };

/* Recovery has written records behind the durable mark again, in another place (rule 5): rows of messages
 * that were already applied follow them. */
static int follow_place(struct applier *ap, const struct journal_record *record)
{
    union record rec;
    struct index_message row = {0};
    size_t fields_len;
    int rc;

    if (record->type != RECORD_MESSAGE)
        return BRANT_OK;
    arena_reset(&ap->arena);
    rc = record_decode(record->type, record->version, record->payload, record->payload.len, &ap->arena, &rec,
                       &fields_len);
    if (!rc)
        rc = index_message(ap->ix, rec.message.id ? rec.message.id : record->seq, &row);
    if (rc || row.rec_seq != record->seq)
        return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
    return applier_move(ap, &row, &record->place);
}

static int replay_record(struct applier *ap, const struct journal_record *record, uint64_t applied_seq,
                         struct store_opened *opened)
{
    int rc;

    if (record->type == 0)
        return BRANT_OK;
    if (record->seq <= applied_seq)
        return follow_place(ap, record);
    rc = applier_record(ap, record->seq, record->type, record->version, record->payload, &record->place);
    /* A record that checks out but makes no sense: ours or a newer brant's. Not skipped in silence. */
    if (rc == BRANT_ESYNTAX || rc == BRANT_ELIMIT) {
        opened->records_damaged++;
        return BRANT_OK;
    }
    opened->records_applied++;
    return rc;
}

static int replay(struct applier *ap, struct journal_iter *it, uint64_t applied_seq,
                  struct store_opened *opened)
{
    struct journal_record record;
    uint64_t last = applied_seq;
    size_t in_transaction = 0;
    int rc = applier_begin(ap);

    while (!rc) {
        rc = journal_iter_next(it, &record);
        if (rc == BRANT_ECORRUPT) {
            opened->records_damaged++;
            rc = BRANT_OK;
            continue;
        }
        if (!rc)
            rc = replay_record(ap, &record, applied_seq, opened);
        if (rc)
            break;
        if (record.seq > last)
            last = record.seq;
        if (++in_transaction < REPLAY_TRANSACTION)
            continue;
        in_transaction = 0;
        rc = applier_commit(ap, last);
        if (!rc)
            rc = applier_begin(ap);
    }
    if (rc == BRANT_ENOTFOUND)
        rc = applier_commit(ap, last);
    if (rc)
        applier_rollback(ap);
    return rc;
}

int apply_journal(struct applier *ap, struct journal *j, struct store_opened *opened)
{
    struct journal_iter *it;
    uint64_t applied_seq, from;
    int rc = index_query(ap->ix, INDEX_META_GET, INDEX_N(INDEX_META_APPLIED));

    if (!rc)
        rc = index_row(ap->ix, INDEX_META_GET);
    if (rc)
        return rc == BRANT_ENOTFOUND ? BRANT_ECORRUPT : rc;
    applied_seq = index_number(ap->ix, INDEX_META_GET, 0);
    index_reset(ap->ix, INDEX_META_GET);
    if (applied_seq > journal_last_seq(j))
        return BRANT_ECORRUPT;
    from = applied_seq + 1;
    if (from > opened->journal.durable_seq + 1)
        from = opened->journal.durable_seq + 1;
    rc = journal_iterate(j, from, &it);
    if (rc)
        return rc;
    rc = replay(ap, it, applied_seq, opened);
    journal_iter_free(it);
    return rc;
}
