/* What every role is made of: its main() is role_main() with a table of functions.
 *
 * Order of events in a role process:
 *   1. started by the supervisor with descriptors 2 (diagnostics), 3 (control channel), 4 (log pipe) only
 *   2. HELLO; then CONFIG, LISTENER…, CHANNEL…, TOKEN_KEY, KEY_FILES… and START arrive
 *   3. ops->prepare: open what cannot be opened later
 *   4. the sandbox, by the profile of the executable (os/sandbox_profiles.c); proofs are logged and go to the
 *      supervisor with READY. A mandatory rung that fails ends the process.
 *   5. ops->start; then listeners and channels come to life; READY
 *   6. the loop, until role_stop, the end of the control channel (the supervisor is gone), or DRAIN's
 * deadline
 *
 * Everything runs in the loop's thread. The ops get the role; the role's own state is role_context(). */
#ifndef ROLES_COMMON_ROLE_H
#define ROLES_COMMON_ROLE_H

#include "conf/conf.h"
#include "ipc/messages.h"
#include "net/channel.h"
#include "net/listener.h"
#include "net/loop.h"

struct role;

/* One generation of the configuration. A session takes a reference to the one it began with. */
struct role_conf {
    struct conf conf;
    uint64_t generation;
    unsigned references;
};

struct role_status;

struct role_ops {
    const char *executable; /* names the sandbox profile */
    enum ipc_role role;
    struct span farewell; /* to a connection that cannot be served for lack of descriptors; in clear, so it is
                             not said where TLS comes first */

    /* All may be NULL except accepted, when there are listeners, and message. */
    int (*prepare)(
        struct role *r); /* files may be opened; 0, or anything else to give up (logged by the role) */
    int (*start)(struct role *r);       /* locked down; threads may be started by those who may */
    void (*configured)(struct role *r); /* role_conf() is a new generation now */
    void (*accepted)(struct role *r, enum ipc_service service, const struct net_accepted *a);
    void (*token_key)(struct role *r, struct span key); /* before start */
    /* The signer's: how many follow; one of them, as an open file that belongs to the role. Before prepare
     * for the first time, and at any time later. */
    void (*key_files)(struct role *r, const struct ipc_key_files *m);
    void (*key_file)(struct role *r, const struct ipc_key_file *m, int fd);

    /* A channel for calls (IPC_PURPOSE_CALLS) to a peer, in place of an older one: a stream socket that
     * belongs to the role. Not before start. A role with this op speaks TLS: its listeners wait a moment for
     * role_tls_there. */
    void (*call_channel)(struct role *r, enum ipc_role peer, uint32_t instance, int fd);
    /* A channel for events, to the store or the signer: net_channel_peer_role tells. */
    void (*channel_up)(struct role *r, struct net_channel *c);
    /* The channel is gone, or replaced (then channel_up follows); it is freed when this returns. */
    void (*channel_down)(struct role *r, struct net_channel *c);
    void (*message)(struct role *r, struct net_channel *c, const struct ipc_message *m);
    void (*drained)(struct role *r, struct net_channel *c); /* congestion of that channel is over */

    /* Listeners are closed. Finish what runs and call role_stop; at the deadline it happens anyway. */
    void (*drain)(struct role *r, uint32_t deadline_ms);
    void (*status)(struct role *r, struct role_status *out); /* role_status_add… */
    void (*stop)(struct role *r);                            /* last chance, before the process ends */
};

/* The role this process was started for, of an executable that serves in more than one; `otherwise` when the
 * arguments do not say. */
enum ipc_role role_of_arguments(int argc, char **argv, enum ipc_role otherwise);

/* The whole of main(). context is role_context(). */
int role_main(const struct role_ops *ops, void *context, int argc, char **argv);

void *role_context(const struct role *r);
struct net_loop *role_loop(struct role *r);
uint32_t role_instance(const struct role *r);

/* The newest generation; valid until the next `configured`. Keep it longer with a reference. */
struct role_conf *role_conf(struct role *r);
struct role_conf *role_conf_ref(struct role_conf *c);
void role_conf_unref(struct role_conf *c); /* NULL is allowed */

/* The channel to the store, or NULL while there is none. */
struct net_channel *role_store(struct role *r);

/* Reports a peer that broke the rules of a channel for calls; it is restarted. */
void role_accuse(struct role *r, enum ipc_role peer, uint32_t instance, const char *text);
/* The signer's: what became of the key files of that generation. */
void role_key_files_done(uint64_t generation, bool taken);
/* The certificates are there: listeners that wait for them come to life. */
void role_tls_there(struct role *r);

/* Stops and resumes accepting on all listeners. */
void role_accept_pause(struct role *r, bool paused);
/* DRAIN has come: sessions end as soon as they can. */
bool role_draining(const struct role *r);
/* No further connection will come, for that or because this process takes only one: role_stop when the last
 * session has ended. */
bool role_takes_no_more(const struct role *r);

/* Ends the process in good order: ops->stop, exit status 0. */
void role_stop(struct role *r);

void role_status_add_u64(struct role_status *out, const char *key, uint64_t value);
void role_status_add_text(struct role_status *out, const char *key, const char *value);

#endif
