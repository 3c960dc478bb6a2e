/* A conversation with the supervisor or the store, one question at a time; blocking.
 *
 * The supervisor listens on RUN_DIR/control.sock and lets in root and the members of control_group. ATTACH
 * asks it for a channel to the store. When nothing listens there, the store is started by this process for
 * the length of the command, off line and behind the same sandbox. */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include "cli/command.h"
#include "ipc/messages.h"

struct conf;
struct client;

/* To the supervisor. CLI_DONE, or CLI_REFUSED with the reason said. */
int client_open_supervisor(const struct cli *cli, struct client **ret);
/* To the store, of the running server or off line. */
int client_open_store(const struct cli *cli, struct client **ret);
void client_free(struct client *c);

/* quota_default of the server's configuration, bytes. */
uint64_t client_quota_default(const struct client *c);

/* Over a connected socket, stream or packets, which it takes over. */
struct client *client_new(int fd);
/* Says something that is not answered, with a descriptor beside it (-1: none; it stays the caller's). */
int client_tell(struct client *c, const struct ipc_message *m, int fd);
/* Waits for a message of a type; others are an error. CLI_DONE or CLI_REFUSED. */
int client_expect(struct client *c, enum ipc_type type, const struct ipc_message **ret);

/* Asks, and waits for the answer of the type that belongs to the question; PROGRESS is shown on a terminal.
 * The answer is valid until the next call. CLI_DONE, or CLI_REFUSED with the reason said. */
int client_ask(struct client *c, const struct ipc_message *ask, const struct ipc_message **ret);

/* Asks a question that is answered by RESULT; a refusal is said with the store's text. */
int client_do(struct client *c, const struct ipc_message *ask);

/* Says a status other than IPC_OK; answers CLI_REFUSED. */
int client_refused(uint8_t status, struct span text);

#endif
