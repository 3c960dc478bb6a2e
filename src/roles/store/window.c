#include "roles/store/window.h"

#include <string.h>

enum { KEPT = WINDOW_SLICES + 1 };

/* Forgets the slices that are over. */
static void move(struct window *w, uint64_t slice)
{
    if (slice <= w->slice)
        return;
    if (slice - w->slice >= KEPT)
        memset(w->counts, 0, sizeof w->counts);
    else
        for (uint64_t s = w->slice + 1; s <= slice; s++)
            w->counts[s % KEPT] = 0;
    w->slice = slice;
}

void window_add(struct window *w, uint64_t slice_ms, uint64_t now_ms, uint32_t n)
{
    move(w, now_ms / slice_ms);
    uint32_t *count = &w->counts[w->slice % KEPT];
    *count = n > UINT32_MAX - *count ? UINT32_MAX : *count + n;
}

void window_take_back(struct window *w, uint64_t slice_ms, uint64_t at_ms, uint64_t now_ms, uint32_t n)
{
    uint64_t slice = at_ms / slice_ms;
    move(w, now_ms / slice_ms);
    if (slice > w->slice || w->slice - slice >= KEPT)
        return;
    uint32_t *count = &w->counts[slice % KEPT];
    *count = n > *count ? 0 : *count - n;
}

uint64_t window_total(struct window *w, uint64_t slice_ms, uint64_t now_ms)
{
    uint64_t total = 0;
    move(w, now_ms / slice_ms);
    for (unsigned i = 0; i < KEPT; i++)
        total += w->counts[i];
    return total;
}

uint64_t window_free_at(struct window *w, uint64_t slice_ms, uint64_t now_ms, uint64_t most)
{
    uint64_t total = window_total(w, slice_ms, now_ms);
    uint64_t oldest = w->slice >= WINDOW_SLICES ? w->slice - WINDOW_SLICES : 0;
    if (total <= most)
        return now_ms;
    for (uint64_t s = oldest; s < w->slice; s++) {
        total -= w->counts[s % KEPT];
        if (total <= most)
            return (s + KEPT) * slice_ms;
    }
    return (w->slice + KEPT) * slice_ms;
}
