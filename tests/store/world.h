/* A brant-store process on a directory of its own, with the test as its supervisor. */
#ifndef TESTS_WORLD_H
#define TESTS_WORLD_H

#include "net/control.h"
#include "os/spawn.h"
#include "peer.h"

struct world {
    const char *executable;
    char dir[256];
    char settings[512]; /* lines of configuration, besides what every store needs */
    bool offline;
    struct os_child child;
    struct net_control control;
    int control_fd, log_fd;
};

void world_init(struct world *w, const char *executable, const char *settings);
void world_done(struct world *w); /* stops the store and removes the directory */

void world_start(struct world *w);
/* As above, when it is expected to give up: its exit status. */
int world_start_refused(struct world *w);
void world_kill(struct world *w);       /* SIGKILL */
void world_stop(struct world *w);       /* in good order; its exit status must be 0 */
void world_expect_end(struct world *w); /* it must end by itself, with exit status 0 */

/* Gives the running store w->settings anew. */
void world_reconfigure(struct world *w);
/* Gives the store a channel to a peer of that kind. */
void world_channel(struct world *w, enum ipc_role role, uint32_t instance, struct peer *ret);
/* The store must report a fault of that peer now. */
void world_expect_fault(struct world *w, enum ipc_role role, uint32_t instance);
/* One case of a test program: a fresh store with these settings. */
struct test_case {
    const char *name, *settings;
    void (*run)(struct world *w);
};
/* PROGRAM BRANT_STORE [CASE]: runs that case, or all; an exit status. */
int run_cases(int argc, char **argv, const struct test_case *cases, size_t count);

/* Appends what the store has logged since the last call, one line per event. */
void world_log(struct world *w, struct buf *out);
/* Resident memory of the store, in KiB. */
unsigned long world_memory_kib(const struct world *w);

#endif
