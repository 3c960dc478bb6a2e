/* The sandbox ladder: what a role gives up before it reads its first byte from anybody.
 *
 * Every rung is proved by trying what must now fail, and reported. Rungs that are mandatory and could not be
 * climbed make sandbox_enter fail, and then the role refuses to run:
 *   always: rlimits, no_new_privs, seccomp;  started as root: also uid, chroot, capabilities.
 * Landlock and the empty network namespace are taken where the kernel offers them; not started as root, an
 * empty chroot and the namespace need user namespaces and are taken when those work.
 *
 * The profiles, one per executable, are one table in sandbox_profiles.c: a reader audits all roles there. */
#ifndef OS_SANDBOX_H
#define OS_SANDBOX_H

#include <stdbool.h>
#include <sys/types.h>

#include "os/limits.h"

enum sandbox_rung {
    SANDBOX_RLIMITS,
    SANDBOX_NETWORK, /* empty network namespace */
    SANDBOX_CHROOT,
    SANDBOX_UID,
    SANDBOX_CAPABILITIES,
    SANDBOX_NO_NEW_PRIVS,
    SANDBOX_LANDLOCK,
    SANDBOX_SECCOMP,
    SANDBOX_RUNG_COUNT
};

enum sandbox_state {
    SANDBOX_UNTRIED,
    SANDBOX_ENFORCED,       /* and proved */
    SANDBOX_UNAVAILABLE,    /* this kernel or container does not offer it */
    SANDBOX_NOT_APPLICABLE, /* would add nothing here, or a test build leaves it out */
    SANDBOX_FAILED          /* attempted, but the proof found it open */
};

struct sandbox_result {
    enum sandbox_state state;
    char proof[112]; /* what was tried and how it failed, or why the rung is missing */
};

struct sandbox_report {
    struct sandbox_result rung[SANDBOX_RUNG_COUNT];
};

/* What a profile may do beyond computing, its inherited descriptors and its event loop. */
enum sandbox_right {
    SANDBOX_MAY_ACCEPT = 1,    /* accept connections on inherited sockets */
    SANDBOX_MAY_FILES = 2,     /* files beneath the data directory, which becomes "." */
    SANDBOX_MAY_THREADS = 4,   /* create threads */
    SANDBOX_MAY_CONNECT = 8,   /* open IP sockets and connect out; no network namespace then */
    SANDBOX_KEEPS_SECRETS = 16 /* no right: its memory is for nobody of the same uid to read */
};

struct sandbox_profile {
    const char *name; /* of the executable */
    unsigned rights;  /* SANDBOX_MAY_* */
    struct os_limits limits;
};

/* The profile of an executable, or NULL. */
const struct sandbox_profile *sandbox_profile_find(const char *name);

struct sandbox_plan {
    const struct sandbox_profile *profile;
    uid_t uid; /* used only when started as root, and then not 0 */
    gid_t gid;
    const char *data_dir; /* for SANDBOX_MAY_FILES; must exist and, as root, belong to uid */
    bool die_with_parent; /* SIGKILL when the parent dies; asked for anew, as a change of uid cancels it */
};

/* Climbs the ladder in this process, which must have one thread only. Afterwards a role with files has its
 * data directory as working directory: relative paths work with and without chroot. BRANT_EREFUSED: a
 * mandatory rung failed; the report tells which (the process must exit). *ret is filled on success and on
 * failure. */
int sandbox_enter(const struct sandbox_plan *plan, struct sandbox_report *ret);

const char *sandbox_rung_name(enum sandbox_rung rung);
const char *sandbox_state_name(enum sandbox_state state);

/* True for a -Dsandbox=test build, whose filter allows what sanitizers, coverage and strace need. */
bool sandbox_is_test_build(void);

#endif
