/* The ids of the most recent commits, so that a question or a repetition after a restart finds its answer. */
#include <stdlib.h>

#include "base/mem.h"
#include "store/state.h"

void commits_init(struct commits *c, struct map_key key)
{
    memset(c->ring, 0, sizeof c->ring);
    c->next = 0;
    map_init(&c->map, key);
}

void commits_done(struct commits *c)
{
    map_done(&c->map);
    for (size_t i = 0; i < COMMITS_MAX; i++)
        free(c->ring[i]);
}

void commits_put(struct commits *c, const uint8_t id[16], uint64_t message)
{
    struct commit_seen *seen = c->ring[c->next];

    if (seen)
        map_remove(&c->map, span_make(seen->id, sizeof seen->id));
    else
        seen = c->ring[c->next] = mem_alloc(sizeof *seen);
    memcpy(seen->id, id, sizeof seen->id);
    seen->message = message;
    map_put(&c->map, span_make(seen->id, sizeof seen->id), seen);
    c->next = (c->next + 1) % COMMITS_MAX;
}

const struct commit_seen *commits_get(const struct commits *c, const uint8_t id[16])
{
    return map_get(&c->map, span_make(id, 16));
}
