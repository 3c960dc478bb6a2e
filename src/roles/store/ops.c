#include "roles/store/ops.h"

#include <stdlib.h>

#include "base/mem.h"
#include "roles/store/server.h"

/* On the writer's thread. */
static void op_done(struct store_op *store)
{
    struct op *op = store->ctx;
    struct ops *ops = &op->sv->ops;
    pthread_mutex_lock(&ops->lock);
    op->next = NULL;
    *ops->done_end = op;
    ops->done_end = &op->next;
    pthread_mutex_unlock(&ops->lock);
    net_wake_signal(ops->wake);
}

static void under_way_remove(struct ops *ops, struct op *op)
{
    *(op->under_way_prev ? &op->under_way_prev->under_way_next : &ops->under_way) = op->under_way_next;
    if (op->under_way_next)
        op->under_way_next->under_way_prev = op->under_way_prev;
    op->under_way_prev = op->under_way_next = NULL;
    ops->count--;
}

static void finish_all(void *context)
{
    struct ops *ops = context;
    pthread_mutex_lock(&ops->lock);
    struct op *op = ops->done;
    ops->done = NULL;
    ops->done_end = &ops->done;
    pthread_mutex_unlock(&ops->lock);
    while (op) {
        struct op *next = op->next;
        under_way_remove(ops, op);
        op->finish(op);
        op = next;
    }
}

void ops_init(struct ops *ops, struct net_loop *loop)
{
    *ops = (struct ops){0};
    ops->done_end = &ops->done;
    pthread_mutex_init(&ops->lock, NULL);
    ops->wake = net_wake_new(loop, finish_all, ops);
}

void ops_done(struct ops *ops)
{
    while (ops->under_way) {
        struct op *op = ops->under_way;
        under_way_remove(ops, op);
        op_free(op);
    }
    net_wake_free(ops->wake);
    pthread_mutex_destroy(&ops->lock);
}

void *op_new(struct server *sv, size_t size, size_t arena_max)
{
    struct op *op = mem_zalloc(size);
    op->sv = sv;
    arena_init(&op->arena, arena_max);
    return op;
}

void op_submit(struct op *op)
{
    struct ops *ops = &op->sv->ops;
    op->store.ctx = op;
    op->store.done = op_done;
    op->under_way_prev = NULL;
    op->under_way_next = ops->under_way;
    if (ops->under_way)
        ops->under_way->under_way_prev = op;
    ops->under_way = op;
    ops->count++;
    store_submit(op->sv->store, &op->store);
}

void op_free(struct op *op)
{
    if (op->release)
        op->release(op);
    arena_done(&op->arena);
    free(op);
}
