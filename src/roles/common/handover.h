/* What the supervisor and a role agree on at the moment of exec. */
#ifndef ROLES_COMMON_HANDOVER_H
#define ROLES_COMMON_HANDOVER_H

#include "conf/conf.h"
#include "ipc/messages.h"

/* The only descriptors a role is born with, besides 0 and 1 on /dev/null. */
enum {
    ROLE_FD_DIAGNOSTICS = 2, /* a pipe: assertion and sanitizer texts, line by line into the log */
    ROLE_FD_CONTROL = 3,     /* SOCK_SEQPACKET, net/control.h */
    ROLE_FD_LOG = 4,         /* a pipe, log/frame.h */
    ROLE_FD_COUNT = 5
};

/* Exit statuses of a role that could not begin; 0 is an orderly end. */
enum {
    ROLE_EXIT_USAGE = 2,   /* not started by the supervisor, or with descriptors too many */
    ROLE_EXIT_ORDERS = 3,  /* the configuration or the orders made no sense */
    ROLE_EXIT_PREPARE = 4, /* something needed could not be opened */
    ROLE_EXIT_SANDBOX = 5, /* a mandatory rung of the sandbox failed */
    ROLE_EXIT_START = 6
};

/* Isolation by connection: a process of this role takes one connection and ends with it, status 0; then its
 * place is filled anew. */
static inline bool role_takes_one_connection(enum ipc_role role, const struct conf *conf)
{
    return (role == IPC_ROLE_POP3 && conf->isolation_pop3 == CONF_ISOLATION_CONNECTION) ||
           (role == IPC_ROLE_IMAP && conf->isolation_imap == CONF_ISOLATION_CONNECTION) ||
           (role == IPC_ROLE_SUBMISSION && conf->isolation_submission == CONF_ISOLATION_CONNECTION);
}

#endif
