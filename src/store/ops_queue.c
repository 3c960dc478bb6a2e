/* Rows of the queue: how changes of them are decided. The index knows every row but for the changes that are
 * not applied yet; those are remembered here until they are. */
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/ops.h"

struct queue_key {
    uint64_t message, recipient;
};

struct queue_head {
    struct queue_head *next;
    uint64_t seq; /* of the record that removed the row */
    struct queue_key key;
};

static struct span key_span(const struct queue_key *key)
{
    return span_make(key, sizeof *key);
}

void queue_heads_init(struct queue_heads *q, struct map_key key)
{
    map_init(&q->map, key);
    q->first = NULL;
    q->tail = &q->first;
}

/* Forgets those whose record is applied. */
static void trim(struct queue_heads *q, uint64_t applied)
{
    struct queue_head *head;

    while ((head = q->first) && head->seq <= applied) {
        q->first = head->next;
        if (!q->first)
            q->tail = &q->first;
        map_remove(&q->map, key_span(&head->key));
        free(head);
    }
}

void queue_heads_done(struct queue_heads *q)
{
    trim(q, UINT64_MAX);
    map_done(&q->map);
}

static void put(struct queue_heads *q, uint64_t message, uint32_t recipient, uint64_t seq)
{
    struct queue_head *head = mem_zalloc(sizeof *head);

    head->seq = seq;
    head->key = (struct queue_key){message, recipient};
    *q->tail = head;
    q->tail = &head->next;
    map_put(&q->map, key_span(&head->key), head);
}

int ops_queue_row(struct store *st, uint64_t message, uint32_t recipient, struct index_queued *ret)
{
    struct queue_key key = {message, recipient};

    trim(&st->queue_heads, atomic_load(&st->applied_seq));
    if (map_get(&st->queue_heads.map, key_span(&key)))
        return BRANT_ENOTFOUND;
    return index_queued(st->writer_ix, message, recipient, &st->writer_arena, ret);
}

struct record_queue_row ops_queue_state(const struct index_queued *row)
{
    return (struct record_queue_row){.message = row->message,
                                     .recipient = row->recipient,
                                     .state = row->state,
                                     .variant = row->variant,
                                     .size = row->size,
                                     .account = row->account,
                                     .created_ms = row->created_ms,
                                     .sender = row->sender,
                                     .address = row->address};
}

static int refuse(struct store_op *op, int code, const char *reason)
{
    op->result = code;
    op->reason = reason;
    return BRANT_OK;
}

int ops_queue_remove(struct store *st, struct store_op *op, int64_t now_ms)
{
    const struct store_queue_op *in = &op->queue;
    struct record_queue_row gone = {
        .message = in->message, .recipient = in->recipient, .state = RECORD_QUEUE_REMOVED};
    union record rec = {.queue = {.time_ms = (uint64_t)now_ms, .rows = &gone, .rows_count = 1}};
    struct index_queued row;
    int rc;

    if (in->message > atomic_load(&st->applied_seq) && in->message <= journal_last_seq(st->journal)) {
        op->wait_seq = in->message;
        return BRANT_ETRYLATER;
    }
    rc = ops_queue_row(st, in->message, in->recipient, &row);
    if (rc && rc != BRANT_ENOTFOUND)
        return refuse(op, rc, NULL);
    if (rc || row.state == RECORD_QUEUE_REMOVED)
        return refuse(op, BRANT_ENOTFOUND, "the queue has no such recipient");
    /* Deleting works on a full disk (rule 8). */
    rc = writer_append(st, RECORD_QUEUE, &rec, NULL, 0, true, &op->seq);
    if (rc)
        return refuse(op, rc, NULL);
    put(&st->queue_heads, in->message, in->recipient, op->seq);
    atomic_fetch_sub(&st->queued_count, 1);
    return BRANT_OK;
}
