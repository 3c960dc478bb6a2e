/* Who asks the signer, and the order in which they are answered.
 *
 * An asker waits for its answer, so an honest channel has one question under way; one with more than
 * CALLS_MAX is at fault. Each turn of the loop every channel that waits gets one answer: nobody can starve
 * another. */
#ifndef ROLES_SIGNER_CALLS_H
#define ROLES_SIGNER_CALLS_H

#include "net/channel.h"
#include "roles/signer/keys.h"

enum { CALLS_MAX = 8 };

struct calls;

/* A channel broke the rules, and is closed: report its process. */
typedef void calls_fault(void *context, enum ipc_role peer, uint32_t instance, const char *text);

/* keys: borrowed, looked at anew for every answer. */
struct calls *calls_new(struct net_loop *loop, const struct keys *keys, calls_fault *fault, void *context);
void calls_free(struct calls *c); /* closes all channels; NULL is allowed */

/* A channel for calls, in place of an older one from the same process. Takes over fd. */
void calls_add(struct calls *c, enum ipc_role peer, uint32_t instance, int fd);

struct calls_stats {
    uint64_t signatures, refused;
    size_t callers;
};
struct calls_stats calls_stats(const struct calls *c);

#endif
