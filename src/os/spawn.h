/* Starting a role: fork and exec with exactly the descriptors it is given and nothing else.
 *
 * The child gets: descriptors 0 and 1 on /dev/null, the listed ones at their places, no other; umask 077;
 * its own session; default signal dispositions with nothing blocked; a SIGKILL when the parent dies; an
 * environment of only TZ (and, in a test build, the sanitizers' variables). */
#ifndef OS_SPAWN_H
#define OS_SPAWN_H

#include <stddef.h>
#include <sys/types.h>

enum { OS_SPAWN_FDS_MAX = 16 };

struct os_spawn {
    const char *path;  /* the executable */
    char *const *argv; /* NULL-terminated */
    /* fds[i] becomes descriptor 2 + i in the child; borrowed */
    const int *fds;
    size_t fd_count;
};

struct os_child {
    pid_t pid;
    int pidfd; /* readable when the child has ended; the caller closes it */
};

/* Returns after the exec has succeeded. BRANT_ENOTFOUND: no such executable. BRANT_EIO: fork or exec failed;
 * errno tells why in both cases. */
int os_spawn(const struct os_spawn *spawn, struct os_child *ret);

/* Whether the child has ended; then it is reaped and *ret_status is its wait status. */
int os_spawn_reap(const struct os_child *child, int *ret_status); /* BRANT_ETRYLATER: still running */

/* Closes every descriptor from `first` up. */
void os_spawn_close_from(int first);

/* Counts open descriptors that are not below `expected`; for a role's own audit at start. Without /proc
 * mounted it answers 0. Lists the first surplus one in *ret_surplus. */
size_t os_spawn_audit(int expected, int *ret_surplus);

/* Arranges SIGKILL for this process when its parent dies. Changing uid or capabilities undoes it, so a role
 * calls it again after the sandbox. BRANT_ESTATE: the parent (expected) is already gone. */
int os_spawn_die_with_parent(pid_t parent);

#endif
