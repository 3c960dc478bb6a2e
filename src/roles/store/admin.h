/* Commands that change something and are answered with RESULT; every refusal carries a text for the person
 * who asked. */
#ifndef ROLES_STORE_ADMIN_H
#define ROLES_STORE_ADMIN_H

#include "roles/store/server.h"

/* What an administrator asked for, on its way. */
struct admin_op {
    struct op op;
    uint16_t question; /* its type */
    struct span name;  /* that it is about, for texts and the log; in the arena */
    struct password_task task;
};

enum { ADMIN_ARENA_BYTES = 16384 };

struct admin_op *admin_new(struct server *sv, struct peer *p, const struct ipc_message *m,
                           enum store_op_kind kind);
/* Submits it; or, when the name is empty, says that what was asked for is not `what`, and frees it. */
void admin_go(struct peer *p, struct admin_op *a, struct span name, struct span asked, const char *what);
/* Refuses it, and frees it. */
void admin_refuse(struct peer *p, struct admin_op *a, enum ipc_status status, const char *text);

extern const char admin_an_address[]; /* for `what` */

/* Names as the store keeps them: an address, and the same or "@domain"; an empty span when it is none. */
struct span admin_take_address(struct arena *a, struct span text);
struct span admin_take_alias(struct arena *a, struct span text);

#endif
