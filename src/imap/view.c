#include "imap/view.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"

void imap_view_init(struct imap_view *v, size_t runs_max)
{
    *v = (struct imap_view){.max = runs_max};
}

void imap_view_done(struct imap_view *v)
{
    free(v->runs);
    imap_view_init(v, v->max);
}

/* The last UID of a run. */
static uint32_t run_end(const struct imap_view *v, size_t i)
{
    uint32_t next = i + 1 < v->len ? v->runs[i + 1].seq : v->count + 1;

    return v->runs[i].uid + (next - v->runs[i].seq) - 1;
}

uint32_t imap_view_last_uid(const struct imap_view *v)
{
    return v->len ? run_end(v, v->len - 1) : 0;
}

static int run_add(struct imap_view *v, uint32_t uid)
{
    if (v->len == v->max)
        return BRANT_ELIMIT;
    if (v->len == v->cap) {
        v->cap = v->cap ? v->cap * 2 : 4;
        v->cap = v->cap < v->max ? v->cap : v->max;
        v->runs = mem_regrow(v->runs, v->cap, sizeof *v->runs);
    }
    v->runs[v->len++] = (struct imap_run){uid, v->count + 1};
    return BRANT_OK;
}

int imap_view_append(struct imap_view *v, uint32_t first, uint32_t last)
{
    uint32_t end = imap_view_last_uid(v);

    if (first <= end || last < first)
        return BRANT_ESYNTAX;
    if (last - first >= UINT32_MAX - 1 - v->count)
        return BRANT_ELIMIT;
    if ((v->len == 0 || first != end + 1) && run_add(v, first) != BRANT_OK)
        return BRANT_ELIMIT;
    v->count += last - first + 1;
    return BRANT_OK;
}

/* The last run that begins at or before the UID; SPAN_NPOS when there is none. */
static size_t run_of_uid(const struct imap_view *v, uint32_t uid)
{
    size_t low = 0, high = v->len;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (v->runs[middle].uid <= uid)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? low - 1 : SPAN_NPOS;
}

uint32_t imap_view_uid(const struct imap_view *v, uint32_t seq)
{
    size_t low = 0, high = v->len;

    if (seq == 0 || seq > v->count)
        return 0;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (v->runs[middle].seq <= seq)
            low = middle;
        else
            high = middle;
    }
    return v->runs[low].uid + (seq - v->runs[low].seq);
}

uint32_t imap_view_seq(const struct imap_view *v, uint32_t uid)
{
    size_t i = run_of_uid(v, uid);

    if (i == SPAN_NPOS || uid > run_end(v, i))
        return 0;
    return v->runs[i].seq + (uid - v->runs[i].uid);
}

uint32_t imap_view_next(const struct imap_view *v, uint32_t uid)
{
    size_t i = run_of_uid(v, uid);

    if (i == SPAN_NPOS)
        return v->len ? v->runs[0].uid : 0;
    if (uid <= run_end(v, i))
        return uid;
    return i + 1 < v->len ? v->runs[i + 1].uid : 0;
}

/* How many messages have UIDs up to this one. */
static uint32_t up_to(const struct imap_view *v, uint32_t uid)
{
    size_t i = run_of_uid(v, uid);

    if (i == SPAN_NPOS)
        return 0;
    if (uid > run_end(v, i))
        uid = run_end(v, i);
    return v->runs[i].seq + (uid - v->runs[i].uid);
}

uint32_t imap_view_between(const struct imap_view *v, uint32_t first, uint32_t last)
{
    if (first > last)
        return 0;
    return up_to(v, last) - (first > 1 ? up_to(v, first - 1) : 0);
}

static struct imap_range ordered(uint32_t a, uint32_t b)
{
    return a < b ? (struct imap_range){a, b} : (struct imap_range){b, a};
}

/* Sequence numbers to UIDs. False: there is no such message. */
static bool numbers_to_uids(const struct imap_view *v, struct imap_range *r, bool lenient)
{
    bool whole = r->last <= v->count && r->first > 0;

    if (!whole && (!lenient || r->first > v->count || v->count == 0))
        return false;
    *r = (struct imap_range){imap_view_uid(v, r->first),
                             imap_view_uid(v, r->last < v->count ? r->last : v->count)};
    return true;
}

int imap_view_resolve(const struct imap_view *v, const struct imap_seq_set *set, bool uid, bool lenient,
                      const struct imap_set *saved, struct imap_set *ret)
{
    uint32_t star = uid ? imap_view_last_uid(v) : v->count;
    struct imap_range *ranges;
    size_t count = 0;
    int err = BRANT_OK;

    if (set->saved)
        return imap_set_assign(ret, saved->r, saved->len);
    ranges = mem_array(set->count ? set->count : 1, sizeof *ranges);
    for (size_t i = 0; i < set->count && !err; i++) {
        struct imap_range said = set->ranges[i];
        struct imap_range r = ordered(said.first ? said.first : star, said.last ? said.last : star);

        if (uid ? r.first > 0 : numbers_to_uids(v, &r, lenient))
            ranges[count++] = r;
        else if (!uid && !lenient)
            err = BRANT_ESYNTAX;
    }
    if (!err)
        err = imap_set_assign(ret, ranges, count);
    free(ranges);
    return err;
}

int imap_view_select(const struct imap_view *v, const struct imap_range *ranges, size_t count,
                     struct imap_set *ret)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t uid = imap_view_next(v, ranges[i].first);

        while (uid && uid <= ranges[i].last) {
            uint32_t end = run_end(v, run_of_uid(v, uid));

            if (end > ranges[i].last)
                end = ranges[i].last;
            if (imap_set_add(ret, uid, end) != BRANT_OK)
                return BRANT_ELIMIT;
            uid = end < UINT32_MAX ? imap_view_next(v, end + 1) : 0;
        }
    }
    return BRANT_OK;
}

/* What is left of one run goes to the end of `out`. */
static int keep_rest(struct imap_view *out, uint32_t first, uint32_t last, const struct imap_set *gone,
                     size_t *at)
{
    while (*at < gone->len && gone->r[*at].last < first)
        ++*at;
    for (size_t i = *at; i < gone->len && gone->r[i].first <= last; i++) {
        if (gone->r[i].first > first && imap_view_append(out, first, gone->r[i].first - 1) != BRANT_OK)
            return BRANT_ELIMIT;
        if (gone->r[i].last >= last)
            return BRANT_OK;
        first = gone->r[i].last + 1;
    }
    return imap_view_append(out, first, last);
}

int imap_view_remove(struct imap_view *v, const struct imap_set *gone)
{
    struct imap_view left;
    size_t at = 0;

    imap_view_init(&left, v->max);
    for (size_t i = 0; i < v->len; i++) {
        if (keep_rest(&left, v->runs[i].uid, run_end(v, i), gone, &at) != BRANT_OK) {
            imap_view_done(&left);
            return BRANT_ELIMIT;
        }
    }
    imap_view_done(v);
    *v = left;
    return BRANT_OK;
}
