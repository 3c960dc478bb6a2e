/* How much of something happened within the last while: a sliding window of slices.
 *
 * The while is WINDOW_SLICES slices long. What was counted is seen for at least that long and at most one
 * slice longer, so "no more than N seen" means no more than N within any such while. Times are milliseconds
 * of one clock that does not go back. A zeroed struct is an empty window. */
#ifndef ROLES_STORE_WINDOW_H
#define ROLES_STORE_WINDOW_H

#include <stdint.h>

enum { WINDOW_SLICES = 12 };

struct window {
    uint64_t slice; /* number of the newest one that was looked at */
    uint32_t counts[WINDOW_SLICES + 1];
};

void window_add(struct window *w, uint64_t slice_ms, uint64_t now_ms, uint32_t n);
/* Takes back what was counted at at_ms, if it is still seen. */
void window_take_back(struct window *w, uint64_t slice_ms, uint64_t at_ms, uint64_t now_ms, uint32_t n);
uint64_t window_total(struct window *w, uint64_t slice_ms, uint64_t now_ms);
/* The time when the total will be down to `most` or less if nothing more comes: now_ms when it is already. */
uint64_t window_free_at(struct window *w, uint64_t slice_ms, uint64_t now_ms, uint64_t most);

#endif
