/* What all that reads mailboxes stands on: the barrier, one look at a mailbox, ranges. */
#include <stdlib.h>

#include "base/err.h"
#include "store/query.h"

void query_box_info(const struct dir_mailbox *box, struct store_mailbox_info *ret)
{
    *ret = (struct store_mailbox_info){
        .mailbox = box->id,
        .uidvalidity = box->uidvalidity,
        .uidnext = box->uidnext,
        .modseq = box->modseq,
        .messages = box->messages,
        .bytes = box->bytes,
        .unseen = box->unseen,
        .deleted = box->deleted,
        .uses = box->uses,
        .recent_from = box->recent_from,
        .recent = box->recent,
    };
}

int query_box(struct store_reader *r, uint64_t account, uint64_t mailbox, struct store_mailbox_info *ret)
{
    struct store *st = r->st;
    struct dir_account *a;
    struct dir_mailbox *box = NULL;
    uint64_t seq = 0;

    pthread_mutex_lock(&st->dir.lock);
    a = dir_account(&st->dir, account);
    if (a && a->state == RECORD_STATE_LIVE)
        box = dir_mailbox(&st->dir, mailbox ? mailbox : a->inbox);
    if (box && box->account == a && box->state == RECORD_STATE_LIVE) {
        seq = a->last_seq;
        query_box_info(box, ret);
    }
    pthread_mutex_unlock(&st->dir.lock);
    return seq ? store_wait_applied(st, seq) : BRANT_ENOTFOUND;
}

/* The transaction sees what was applied when its first statement ran. */
int query_begin(struct store_reader *r, uint64_t account, uint64_t mailbox, struct query_view *ret)
{
    struct store_mailbox_info info;
    enum index_statement s = INDEX_MAILBOX_VIEW;
    int rc = query_box(r, account, mailbox, &info);

    if (!rc)
        rc = index_simple(r->ix, INDEX_BEGIN_READ);
    if (!rc)
        rc = index_query(r->ix, s, INDEX_N(info.mailbox));
    if (!rc)
        rc = index_row(r->ix, s);
    if (rc)
        return rc;
    *ret = (struct query_view){
        .mailbox = info.mailbox,
        .uidnext = (uint32_t)index_number(r->ix, s, 0),
        .modseq = index_number(r->ix, s, 1),
        .messages = index_number(r->ix, s, 2),
        .gone_floor = index_number(r->ix, s, 3),
    };
    index_reset(r->ix, s);
    return BRANT_OK;
}

void query_end(struct store_reader *r)
{
    if (index_in_transaction(r->ix))
        (void)index_simple(r->ix, INDEX_COMMIT);
}

static int edge(struct store_reader *r, enum index_statement s, uint64_t mailbox, uint32_t *ret)
{
    int rc = index_query(r->ix, s, INDEX_N(mailbox));

    if (!rc)
        rc = index_row(r->ix, s);
    if (rc)
        return rc;
    *ret = (uint32_t)index_number(r->ix, s, 0);
    index_reset(r->ix, s);
    return BRANT_OK;
}

int query_ends(struct store_reader *r, const struct query_view *v, uint32_t *ret_low, uint32_t *ret_high)
{
    int rc = edge(r, INDEX_ENTRY_LOWEST, v->mailbox, ret_low);

    return rc ? rc : edge(r, INDEX_ENTRY_HIGHEST, v->mailbox, ret_high);
}

struct store_entry query_entry(const struct index_entry *row)
{
    return (struct store_entry){
        .uid = row->uid,
        .variant = row->variant,
        .size = row->size,
        .flags = row->flags,
        .modseq = row->modseq,
        .message = row->message,
        .time_ms = (int64_t)row->time_ms,
        .saved_ms = (int64_t)row->saved_ms,
    };
}

/* ---- Ranges
 * ----------------------------------------------------------------------------------------------------------------
 */

int query_check_ranges(const struct store_range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (ranges[i].last < ranges[i].first || (i && ranges[i].first <= ranges[i - 1].last))
            return BRANT_ESYNTAX;
    }
    return BRANT_OK;
}

bool query_ranges_add(struct store_range_list *list, uint32_t first, uint32_t last)
{
    struct store_range *end = list->count ? &list->r[list->count - 1] : NULL;

    if (end && end->last + 1 == first) {
        end->last = last;
        return true;
    }
    if (list->count == list->max)
        return false;
    list->r[list->count++] = (struct store_range){first, last};
    return true;
}

/* ---- Sorted UIDs
 * -----------------------------------------------------------------------------------------------------------
 */

static int compare_uids(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

int query_sorted(struct store_reader *r, enum index_statement s, uint64_t mailbox, uint64_t modseq,
                 struct query_sorted *ret)
{
    int rc = index_query(r->ix, s, INDEX_N(mailbox), INDEX_N(modseq), INDEX_N((uint64_t)r->sorted_max + 1));

    ret->count = 0;
    while (!rc && !(rc = index_row(r->ix, s))) {
        if (ret->count == r->sorted_max) {
            index_reset(r->ix, s);
            return BRANT_ELIMIT;
        }
        ret->uids[ret->count++] = (uint32_t)index_number(r->ix, s, 0);
    }
    if (rc != BRANT_ENOTFOUND)
        return rc;
    qsort(ret->uids, ret->count, sizeof ret->uids[0], compare_uids);
    return BRANT_OK;
}

size_t query_sorted_find(const struct query_sorted *sorted, uint32_t uid)
{
    size_t low = 0, high = sorted->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (sorted->uids[middle] < uid)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
