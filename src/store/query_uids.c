/* Which UIDs there are, which are gone, and what has happened to a mailbox: in slices, each from one look. */
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/query.h"

/* Everything is done up to here; nothing is when the first UID was one too many. */
static uint32_t below(uint32_t uid)
{
    return uid ? uid - 1 : 0;
}

/* ---- UIDs that are there
 * ---------------------------------------------------------------------------------------------------- */

/* A mailbox without holes needs no scan: BRANT_OK when it is one. */
static int whole(struct store_reader *r, const struct query_view *v, uint32_t *ret_low, uint32_t *ret_high)
{
    int rc = query_ends(r, v, ret_low, ret_high);

    if (rc)
        return rc;
    return (uint64_t)*ret_high - *ret_low + 1 == v->messages ? BRANT_OK : BRANT_ELIMIT;
}

static int count_rows(struct store_reader *r, uint64_t mailbox, uint32_t first, uint32_t last,
                      uint64_t *ret_count)
{
    int rc = index_query(r->ix, INDEX_ENTRY_COUNT, INDEX_N(mailbox), INDEX_N(first), INDEX_N(last));

    if (!rc)
        rc = index_row(r->ix, INDEX_ENTRY_COUNT);
    if (rc)
        return rc;
    *ret_count = index_number(r->ix, INDEX_ENTRY_COUNT, 0);
    index_reset(r->ix, INDEX_ENTRY_COUNT);
    return BRANT_OK;
}

struct list_scan {
    struct store_reader *r;
    const struct query_view *v;
    struct store_range_list *ret;
    size_t looked;
    uint64_t at; /* the next UID */
    uint32_t last, done_to;
};

/* Blocks without holes are counted, which takes half as long as to read their rows. */
static int list_blocks(struct list_scan *l)
{
    uint32_t block = l->r->block_uids;
    uint64_t count = block;

    while (l->done_to == UINT32_MAX && l->at + block - 1 <= l->last) {
        uint32_t first = (uint32_t)l->at, last = first + block - 1;
        int rc = count_rows(l->r, l->v->mailbox, first, last, &count);

        if (rc || count < block)
            return rc;
        if (!query_ranges_add(l->ret, first, last)) {
            l->done_to = below(first);
            break;
        }
        l->at += block;
        l->looked += block;
        if (l->looked >= l->r->uids_max)
            l->done_to = last;
    }
    return BRANT_OK;
}

/* Rows, until there were so many without a hole that a block is worth trying. */
static int list_rows(struct list_scan *l)
{
    enum index_statement s = INDEX_ENTRY_UIDS;
    struct index *ix = l->r->ix;
    uint32_t run = 0;
    int rc = index_query(ix, s, INDEX_N(l->v->mailbox), INDEX_N(l->at), INDEX_N(l->last));

    while (!rc && l->done_to == UINT32_MAX && run < l->r->block_uids && !(rc = index_row(ix, s))) {
        uint32_t uid = (uint32_t)index_number(ix, s, 0);

        if (!query_ranges_add(l->ret, uid, uid)) {
            l->done_to = below(uid);
            break;
        }
        run = uid == l->at ? run + 1 : 1;
        l->at = (uint64_t)uid + 1;
        if (++l->looked >= l->r->uids_max)
            l->done_to = uid;
    }
    index_reset(ix, s);
    if (rc == BRANT_ENOTFOUND)
        l->at = (uint64_t)l->last + 1;
    return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
}

static int list_scan(struct list_scan *l)
{
    int rc = BRANT_OK;

    while (!rc && l->done_to == UINT32_MAX && l->at <= l->last) {
        rc = list_blocks(l);
        if (!rc && l->done_to == UINT32_MAX && l->at <= l->last)
            rc = list_rows(l);
    }
    return rc;
}

static int list_uids(struct store_reader *r, const struct query_view *v, uint32_t first, uint32_t last,
                     struct store_range_list *ret, uint32_t *ret_done_to)
{
    uint32_t low, high;
    int rc = whole(r, v, &low, &high);

    *ret_done_to = UINT32_MAX;
    if (rc && rc != BRANT_ELIMIT)
        return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
    if (first < low)
        first = low;
    if (last > high)
        last = high;
    if (rc) {
        struct list_scan l = {.r = r, .v = v, .ret = ret, .at = first, .last = last, .done_to = UINT32_MAX};

        rc = list_scan(&l);
        *ret_done_to = l.done_to;
        return rc;
    }
    if (first <= last && !query_ranges_add(ret, first, last))
        *ret_done_to = below(first);
    return BRANT_OK;
}

int store_uids_list(struct store_reader *r, uint64_t account, uint64_t mailbox, uint32_t first, uint32_t last,
                    struct store_range_list *ret, uint32_t *ret_done_to)
{
    struct query_view v;
    int rc = query_begin(r, account, mailbox, &v);

    ret->count = 0;
    if (!rc)
        rc = list_uids(r, &v, first, last, ret, ret_done_to);
    query_end(r);
    return rc;
}

/* The side of the UID that can have fewer messages is counted. */
static int count_from(struct store_reader *r, const struct query_view *v, uint32_t uid, uint64_t *ret_count)
{
    uint32_t low, high;
    uint64_t count = 0;
    int rc = whole(r, v, &low, &high);

    *ret_count = 0;
    if (rc && rc != BRANT_ELIMIT)
        return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
    if (uid > high)
        return BRANT_OK;
    if (uid <= low) {
        *ret_count = v->messages;
        return BRANT_OK;
    }
    if (!rc) {
        *ret_count = (uint64_t)high - uid + 1;
        return BRANT_OK;
    }
    if (high - uid <= uid - low)
        return count_rows(r, v->mailbox, uid, high, ret_count);
    rc = count_rows(r, v->mailbox, low, uid - 1, &count);
    *ret_count = v->messages - count;
    return rc;
}

int store_count_from(struct store_reader *r, uint64_t account, uint64_t mailbox, uint32_t uid,
                     uint32_t *ret_count)
{
    struct store_mailbox_info info;
    struct query_view v;
    uint64_t count = 0;
    int rc = query_box(r, account, mailbox, &info);

    if (!rc && uid == info.recent_from) {
        count = info.recent;
    } else if (!rc && uid < info.uidnext) {
        rc = query_begin(r, account, info.mailbox, &v);
        if (!rc)
            rc = count_from(r, &v, uid, &count);
        query_end(r);
    }
    if (!rc)
        *ret_count = (uint32_t)count;
    return rc;
}

/* ---- UIDs that are gone
 * ----------------------------------------------------------------------------------------------------- */

/* What one slice of gone UIDs is made of. */
struct vanished {
    struct store_reader *r;
    const struct query_view *v;
    struct store_range_list *ret;
    uint64_t modseq;
    size_t looked;
    uint32_t done_to; /* UINT32_MAX while the slice goes on */
};

/* Few: by their MODSEQ, sorted. */
static void few_in(struct vanished *g, const struct query_sorted *few, struct store_range range)
{
    for (size_t i = query_sorted_find(few, range.first); i < few->count && few->uids[i] <= range.last; i++) {
        if (query_ranges_add(g->ret, few->uids[i], few->uids[i]))
            continue;
        g->done_to = below(few->uids[i]);
        return;
    }
}

/* Many: in order of the UIDs. */
static int many_in(struct vanished *g, struct store_range range)
{
    enum index_statement s = INDEX_GONE_UIDS;
    struct index *ix = g->r->ix;
    int rc = index_query(ix, s, INDEX_N(g->v->mailbox), INDEX_N(range.first), INDEX_N(range.last));

    while (!rc && !(rc = index_row(ix, s))) {
        uint32_t uid = (uint32_t)index_number(ix, s, 0);

        if (index_number(ix, s, 1) > g->modseq && !query_ranges_add(g->ret, uid, uid)) {
            g->done_to = below(uid);
            break;
        }
        if (++g->looked >= g->r->rows_max) {
            g->done_to = uid;
            break;
        }
    }
    index_reset(ix, s);
    return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
}

/* Forgotten: the gaps. */
static int gaps_in(struct vanished *g, struct store_range range)
{
    enum index_statement s = INDEX_ENTRY_UIDS;
    struct index *ix = g->r->ix;
    uint64_t next = range.first ? range.first : 1; /* UIDs begin at 1 */
    int rc = index_query(ix, s, INDEX_N(g->v->mailbox), INDEX_N(range.first), INDEX_N(range.last));

    while (!rc && !(rc = index_row(ix, s))) {
        uint32_t uid = (uint32_t)index_number(ix, s, 0);

        if (uid > next && !query_ranges_add(g->ret, (uint32_t)next, uid - 1)) {
            g->done_to = below((uint32_t)next);
            break;
        }
        next = (uint64_t)uid + 1;
        if (++g->looked >= g->r->uids_max) {
            g->done_to = uid;
            break;
        }
    }
    index_reset(ix, s);
    if (rc == BRANT_ENOTFOUND && next <= range.last && !query_ranges_add(g->ret, (uint32_t)next, range.last))
        g->done_to = below((uint32_t)next);
    return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
}

/* UIDs from UIDNEXT on never were there. */
static int vanished(struct vanished *g, const struct store_range *ranges, size_t count)
{
    _cleanup_free_ struct query_sorted *few = NULL;
    bool forgotten = g->modseq < g->v->gone_floor, many = false;
    int rc = BRANT_OK;

    g->done_to = UINT32_MAX;
    if (g->modseq >= g->v->modseq)
        return BRANT_OK;
    if (!forgotten) {
        few = mem_alloc(sizeof *few);
        rc = query_sorted(g->r, INDEX_GONE_SINCE, g->v->mailbox, g->modseq, few);
        many = rc == BRANT_ELIMIT;
        if (many)
            rc = BRANT_OK;
    }
    for (size_t i = 0; !rc && i < count && g->done_to == UINT32_MAX; i++) {
        struct store_range range = ranges[i];

        if (range.first >= g->v->uidnext)
            break;
        if (range.last >= g->v->uidnext)
            range.last = g->v->uidnext - 1;
        if (forgotten)
            rc = gaps_in(g, range);
        else if (many)
            rc = many_in(g, range);
        else
            few_in(g, few, range);
        if (++g->looked >= g->r->uids_max && g->done_to == UINT32_MAX)
            g->done_to = range.last;
    }
    return rc;
}

int store_vanished(struct store_reader *r, uint64_t account, uint64_t mailbox,
                   const struct store_range *ranges, size_t range_count, uint64_t modseq,
                   struct store_range_list *ret, uint32_t *ret_done_to)
{
    struct query_view v;
    struct vanished g = {.r = r, .v = &v, .ret = ret, .modseq = modseq};
    int rc = query_check_ranges(ranges, range_count);

    ret->count = 0;
    if (rc)
        return rc;
    rc = query_begin(r, account, mailbox, &v);
    if (!rc)
        rc = vanished(&g, ranges, range_count);
    query_end(r);
    if (!rc)
        *ret_done_to = g.done_to;
    return rc;
}

/* ---- What has happened
 * ------------------------------------------------------------------------------------------------------ */

enum { CHANGES_LOOKED_MAX = 64 };

/* Has an entry below the UID another MODSEQ since? Operations are looked at one by one, the lowest UID that
 * each of them left behind; when they were very many, probably. */
static int flags_changed(struct store_reader *r, uint64_t mailbox, uint64_t modseq, uint32_t uid, bool *ret)
{
    enum index_statement s = INDEX_ENTRY_CHANGED_FIRST;

    *ret = true;
    for (size_t i = 0; i < CHANGES_LOOKED_MAX; i++) {
        uint32_t lowest;
        int rc = index_query(r->ix, s, INDEX_N(mailbox), INDEX_N(modseq));

        if (!rc)
            rc = index_row(r->ix, s);
        if (rc) {
            *ret = false;
            return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
        }
        lowest = (uint32_t)index_number(r->ix, s, 0);
        modseq = index_number(r->ix, s, 1);
        index_reset(r->ix, s);
        if (lowest < uid)
            return BRANT_OK;
    }
    return BRANT_OK;
}

static int changes(struct store_reader *r, const struct query_view *v, struct store_changes *c)
{
    struct vanished g = {.r = r, .v = v, .ret = &c->vanished, .modseq = c->vanished_modseq};
    struct store_range known = {c->vanished_from, below(c->uid)};
    uint32_t done_to = UINT32_MAX;
    int rc = BRANT_OK;

    if (c->uid < v->uidnext)
        rc = list_uids(r, v, c->uid, v->uidnext - 1, &c->arrived, &done_to);
    if (!rc && v->modseq > c->modseq)
        rc = flags_changed(r, v->mailbox, c->modseq, c->uid, &c->flags_changed);
    g.done_to = UINT32_MAX;
    if (!rc && c->want_vanished && known.first <= known.last)
        rc = vanished(&g, &known, 1);
    c->now_modseq = v->modseq;
    c->uidnext = done_to < UINT32_MAX ? done_to + 1 : v->uidnext;
    c->vanished_to = g.done_to;
    c->more = done_to < UINT32_MAX || g.done_to < UINT32_MAX;
    return rc;
}

int store_changes(struct store_reader *r, uint64_t account, uint64_t mailbox, struct store_changes *c)
{
    struct query_view v;
    int rc = query_begin(r, account, mailbox, &v);

    c->arrived.count = c->vanished.count = 0;
    c->flags_changed = c->more = false;
    if (!rc)
        rc = changes(r, &v, c);
    query_end(r);
    return rc;
}
