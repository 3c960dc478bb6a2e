#include "base/arena.h"

#include <stdalign.h>
#include <stdlib.h>

#include "base/mem.h"

enum { ARENA_BLOCK = 1000 };

struct arena_block {
    struct arena_block *next;
    size_t used, size;
    alignas(max_align_t) uint8_t data[];
};

void arena_init(struct arena *a, size_t max)
{
    *a = (struct arena){.max = max};
}

void arena_reset(struct arena *a)
{
    while (a->first) {
        struct arena_block *next = a->first->next;

        free(a->first);
        a->first = next;
    }
    a->used = 0;
}

void arena_wipe(struct arena *a)
{
    for (struct arena_block *block = a->first; block; block = block->next)
        mem_wipe(block->data, block->used);
    arena_reset(a);
}

void arena_done(struct arena *a)
{
    arena_reset(a);
}

static struct arena_block *block_add(struct arena *a, size_t size)
{
    size_t room = size > ARENA_BLOCK ? size : ARENA_BLOCK;
    struct arena_block *block = mem_alloc(sizeof *block + room);

    block->used = 0;
    block->size = room;
    block->next = a->first;
    a->first = block;
    return block;
}

void *arena_alloc(struct arena *a, size_t size)
{
    struct arena_block *block = a->first;
    void *p;

    if (size > a->max)
        return NULL;
    size = (size + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
    if (size > a->max - a->used)
        return NULL;
    if (!block || block->size - block->used < size)
        block = block_add(a, size);
    p = block->data + block->used;
    block->used += size;
    a->used += size;
    memset(p, 0, size);
    return p;
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
    size_t total;

    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    return arena_alloc(a, total);
}

struct span arena_dup(struct arena *a, struct span s)
{
    uint8_t *p = arena_alloc(a, s.len ? s.len : 1);

    if (!p)
        return SPAN_NONE;
    if (s.len)
        memcpy(p, s.p, s.len);
    return span_make(p, s.len);
}

char *arena_cstr(struct arena *a, struct span s)
{
    char *p = s.len < SIZE_MAX ? arena_alloc(a, s.len + 1) : NULL;

    if (p && s.len)
        memcpy(p, s.p, s.len);
    return p;
}
