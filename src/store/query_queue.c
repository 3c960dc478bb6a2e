/* Listing the queue. */
#include "base/err.h"
#include "store/state.h"

enum { CHUNK = 512 };

/* Of the sender, of the recipient, or the recipient's domain with its @. */
static bool wanted(struct span filter, const struct index_queued *row)
{
    size_t at;

    if (!filter.len || span_eq_nocase(filter, row->sender) || span_eq_nocase(filter, row->address))
        return true;
    at = span_rfind_byte(row->address, '@');
    return filter.p[0] == '@' && at != SPAN_NPOS && span_eq_nocase(filter, span_from(row->address, at));
}

static int copy(const struct index_queued *row, struct span commit, struct arena *arena,
                struct store_queue_row *ret)
{
    *ret = (struct store_queue_row){.message = row->message,
                                    .recipient = row->recipient,
                                    .state = row->state,
                                    .account = row->account,
                                    .created_ms = (int64_t)row->created_ms,
                                    .bytes = row->size,
                                    .sender = arena_dup(arena, row->sender),
                                    .address = arena_dup(arena, row->address)};
    if (commit.len == sizeof ret->commit)
        memcpy(ret->commit, commit.p, sizeof ret->commit);
    return (row->sender.len && !ret->sender.p) || (row->address.len && !ret->address.p) ? BRANT_ELIMIT
                                                                                        : BRANT_OK;
}

struct listing {
    struct store_reader *r;
    struct span filter;
    uint64_t message;
    uint32_t recipient;
    struct arena *arena;
    struct store_queue_row *rows;
    size_t max, count;
};

/* One read transaction. BRANT_ENOTFOUND: the end. */
static int list_chunk(struct listing *l)
{
    enum index_statement s = INDEX_QUEUE_LIST;
    struct index *ix = l->r->ix;
    int rc = index_query(ix, s, INDEX_N(l->message), INDEX_N(l->recipient), INDEX_N(CHUNK));
    size_t looked = 0;

    while (!rc && l->count < l->max && !(rc = index_row(ix, s))) {
        struct index_queued row;

        index_queued_row(ix, s, &row);
        if (wanted(l->filter, &row)) {
            rc = copy(&row, index_bytes(ix, s, 10), l->arena, &l->rows[l->count]);
            l->count += rc == BRANT_OK;
        }
        l->message = row.message;
        l->recipient = row.recipient;
        looked++;
    }
    index_reset(ix, s);
    return rc == BRANT_ENOTFOUND && looked == CHUNK ? BRANT_OK : rc;
}

int store_queue_list(struct store_reader *r, struct span address, uint64_t after_message,
                     uint32_t after_recipient, struct arena *arena, struct store_queue_row *ret, size_t max,
                     size_t *ret_count)
{
    struct listing l = {.r = r,
                        .filter = address,
                        .message = after_message,
                        .recipient = after_recipient,
                        .arena = arena,
                        .rows = ret,
                        .max = max};
    int rc = store_wait_applied(r->st, atomic_load(&r->st->durable_seq));

    while (!rc && l.count < max)
        rc = list_chunk(&l);
    if (rc && rc != BRANT_ENOTFOUND)
        return rc;
    *ret_count = l.count;
    return BRANT_OK;
}
