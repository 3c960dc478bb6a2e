/* Operations on their way through the store's writer: filled in on the event loop, decided and made durable
 * on the writer's thread, finished on the loop again. */
#ifndef ROLES_STORE_OPS_H
#define ROLES_STORE_OPS_H

#include <pthread.h>

#include "base/arena.h"
#include "net/loop.h"
#include "store/store.h"

struct server;

/* The first member of the handlers' own structs. */
struct op {
    struct store_op store;
    struct server *sv;
    struct arena arena;             /* what the operation points to */
    uint64_t peer;                  /* serial of who asked */
    uint32_t tag;                   /* of the question */
    void (*finish)(struct op *op);  /* on the loop; ends with op_free, or submits again */
    void (*release)(struct op *op); /* frees what is not in the arena; may be NULL */
    struct op *next;
    struct op *under_way_prev, *under_way_next;
};

struct ops {
    struct net_wake *wake;
    struct op *under_way; /* of the loop */
    size_t count;

    pthread_mutex_t lock;
    struct op *done, **done_end;
};

void ops_init(struct ops *ops, struct net_loop *loop);
/* After the store was closed: frees what was never answered. */
void ops_done(struct ops *ops);

/* size: of the handler's own struct. arena_max: bytes the operation may point to. */
void *op_new(struct server *sv, size_t size, size_t arena_max);
void op_submit(struct op *op);
void op_free(struct op *op);

#endif
