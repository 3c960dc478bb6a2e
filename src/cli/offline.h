/* A store for the length of one command, when no server runs: the same program behind the same sandbox,
 * asked in the same words. */
#ifndef CLI_OFFLINE_H
#define CLI_OFFLINE_H

#include "conf/conf.h"

struct offline;

/* Starts it; *ret_fd is the channel to ask on, the caller's. CLI_DONE, or CLI_REFUSED with the reason said.
 */
int offline_start(const struct conf *conf, int *ret_fd, struct offline **ret);
/* Ends it and waits for its end; NULL is allowed. The channel must be closed before. */
void offline_stop(struct offline *o);

#endif
