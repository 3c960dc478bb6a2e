/* Threads for what the event loop must not wait for: reads of the store, long tasks, password hashes.
 *
 * The loop submits a piece of work; a thread runs it; it comes back through workers_next when workers_fd is
 * readable. Work belongs to the pool from workers_submit until workers_next gives it back. All calls are made
 * by one thread, the event loop's; only `run` runs elsewhere. */
#ifndef ROLES_STORE_WORKERS_H
#define ROLES_STORE_WORKERS_H

#include <stdbool.h>
#include <stddef.h>

struct work {
    struct work *next;                                  /* of the pool */
    void (*run)(struct work *work, void *thread_state); /* on a thread */
};

struct workers_config {
    unsigned threads; /* 1 to WORKERS_THREADS_MAX */
    int nice;         /* 0: as the process; higher: less important */
    size_t queue_max; /* pieces of work under way: queued, running, or done and not fetched */
    void **states;    /* one per thread, given to `run`; borrowed, NULL: none */
};

enum { WORKERS_THREADS_MAX = 8 };

struct workers;

/* NULL when the threads cannot be created. */
struct workers *workers_new(const struct workers_config *config);
/* Waits for what runs. Work that never ran, or was not fetched, goes to `drop` if that is not NULL. */
void workers_free(struct workers *w, void (*drop)(struct work *work));

int workers_fd(const struct workers *w); /* an eventfd: readable when work is done */
/* BRANT_ELIMIT: the queue is full, the work stays the caller's. */
int workers_submit(struct workers *w, struct work *work);
struct work *workers_next(struct workers *w); /* something done, or NULL */
size_t workers_pending(const struct workers *w);

#endif
