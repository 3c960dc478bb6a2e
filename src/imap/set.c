#include "imap/set.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"

void imap_set_init(struct imap_set *s, size_t ranges_max)
{
    *s = (struct imap_set){.max = ranges_max};
}

void imap_set_done(struct imap_set *s)
{
    free(s->r);
    imap_set_init(s, s->max);
}

void imap_set_reset(struct imap_set *s)
{
    s->len = 0;
}

static void grow(struct imap_set *s, size_t need)
{
    size_t cap = s->cap ? s->cap : 4;

    if (need <= s->cap)
        return;
    while (cap < need)
        cap *= 2;
    s->cap = cap < s->max ? cap : s->max;
    s->r = mem_regrow(s->r, s->cap, sizeof *s->r);
}

size_t imap_set_find(const struct imap_set *s, uint32_t number)
{
    size_t low = 0, high = s->len;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (s->r[middle].last < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool imap_set_contains(const struct imap_set *s, uint32_t number)
{
    size_t at = imap_set_find(s, number);

    return at < s->len && s->r[at].first <= number;
}

uint64_t imap_set_count(const struct imap_set *s)
{
    uint64_t count = 0;

    for (size_t i = 0; i < s->len; i++)
        count += (uint64_t)s->r[i].last - s->r[i].first + 1;
    return count;
}

int imap_set_add(struct imap_set *s, uint32_t first, uint32_t last)
{
    size_t from, to;

    /* the ranges from..to-1 overlap the new one or touch it */
    from = s->len && s->r[s->len - 1].last < first - 1 ? s->len : imap_set_find(s, first > 1 ? first - 1 : 1);
    for (to = from; to < s->len && (s->r[to].first <= last || s->r[to].first - 1 == last); to++)
        ;
    if (to == from) {
        if (s->len == s->max)
            return BRANT_ELIMIT;
        grow(s, s->len + 1);
        memmove(s->r + from + 1, s->r + from, (s->len - from) * sizeof *s->r);
        s->r[from] = (struct imap_range){first, last};
        s->len++;
        return BRANT_OK;
    }
    if (s->r[from].first > first)
        s->r[from].first = first;
    if (s->r[to - 1].last > last)
        last = s->r[to - 1].last;
    s->r[from].last = last;
    memmove(s->r + from + 1, s->r + to, (s->len - to) * sizeof *s->r);
    s->len -= to - from - 1;
    return BRANT_OK;
}

static int compare(const void *a, const void *b)
{
    const struct imap_range *x = a, *y = b;

    return x->first < y->first ? -1 : x->first > y->first;
}

int imap_set_assign(struct imap_set *s, const struct imap_range *ranges, size_t count)
{
    struct imap_set made;
    struct imap_range *sorted = mem_array(count ? count : 1, sizeof *sorted);
    int err = BRANT_OK;

    if (count)
        memcpy(sorted, ranges, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare);
    imap_set_init(&made, s->max);
    for (size_t i = 0; i < count && !err; i++)
        err = imap_set_add(&made, sorted[i].first, sorted[i].last);
    free(sorted);
    if (err) {
        imap_set_done(&made);
        return err;
    }
    imap_set_done(s);
    *s = made;
    return BRANT_OK;
}

/* What is left of the range when `gone`, from its range *at on, is taken out. */
static int subtract_range(struct imap_range range, const struct imap_set *gone, size_t *at,
                          struct imap_set *out)
{
    uint32_t first = range.first;

    while (*at < gone->len && gone->r[*at].last < first)
        ++*at;
    for (size_t i = *at; i < gone->len && gone->r[i].first <= range.last; i++) {
        if (gone->r[i].first > first && imap_set_add(out, first, gone->r[i].first - 1) != BRANT_OK)
            return BRANT_ELIMIT;
        if (gone->r[i].last >= range.last)
            return BRANT_OK;
        first = gone->r[i].last + 1;
        *at = i + 1;
    }
    return imap_set_add(out, first, range.last);
}

int imap_set_subtract(struct imap_set *s, const struct imap_set *gone)
{
    struct imap_set left;
    size_t at = 0;

    imap_set_init(&left, s->max);
    for (size_t i = 0; i < s->len; i++) {
        if (subtract_range(s->r[i], gone, &at, &left) != BRANT_OK) {
            imap_set_done(&left);
            return BRANT_ELIMIT;
        }
    }
    imap_set_done(s);
    *s = left;
    return BRANT_OK;
}

int imap_set_intersect(struct imap_set *s, const struct imap_set *with)
{
    struct imap_set both;

    imap_set_init(&both, s->max);
    for (size_t i = 0, j = 0; i < s->len && j < with->len;) {
        struct imap_range a = s->r[i], b = with->r[j];
        uint32_t first = a.first > b.first ? a.first : b.first, last = a.last < b.last ? a.last : b.last;

        if (first <= last && imap_set_add(&both, first, last) != BRANT_OK) {
            imap_set_done(&both);
            return BRANT_ELIMIT;
        }
        if (a.last < b.last)
            i++;
        else
            j++;
    }
    imap_set_done(s);
    *s = both;
    return BRANT_OK;
}

bool imap_set_write(const struct imap_set *s, size_t *at, size_t room, struct buf *out)
{
    size_t end = out->len + room;

    for (; *at < s->len; ++*at) {
        struct imap_range r = s->r[*at];

        if (end - out->len < IMAP_RANGE_TEXT_MAX)
            return false;
        if (*at)
            buf_append_byte(out, ',');
        buf_append_u64(out, r.first);
        if (r.last != r.first) {
            buf_append_byte(out, ':');
            buf_append_u64(out, r.last);
        }
    }
    return true;
}
