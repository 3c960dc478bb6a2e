/* An arena: many small allocations with one owner, freed together, with a cap.
 * Pointers stay valid until arena_reset or arena_done. Over the cap the answer is NULL, an ordinary
 * refusal that costs one connection or command; real out of memory aborts. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/span.h"

struct arena_block;

struct arena {
    struct arena_block *first; /* owned; newest block first */
    size_t used;               /* bytes handed out, alignment included */
    size_t max;                /* bytes it may ever hand out */
};

void arena_init(struct arena *a, size_t max);
void arena_done(struct arena *a);
void arena_reset(struct arena *a); /* frees everything, keeps the maximum */
void arena_wipe(struct arena *a);  /* the same, for what may hold a secret: overwrites it first */

void *arena_alloc(struct arena *a, size_t size);               /* zeroed, aligned for any type */
void *arena_array(struct arena *a, size_t count, size_t size); /* zeroed; NULL on overflow too */
/* A copy of the bytes; its p is NULL when the cap was reached (never for an empty span). */
struct span arena_dup(struct arena *a, struct span s);
char *arena_cstr(struct arena *a, struct span s); /* a copy with a NUL behind it */

#define _cleanup_arena_ __attribute__((cleanup(arena_done)))

#endif
