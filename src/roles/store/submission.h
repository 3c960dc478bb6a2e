/* What an account that logged in to submit mail may do: how much, to whom, as whom. */
#ifndef ROLES_STORE_SUBMISSION_H
#define ROLES_STORE_SUBMISSION_H

#include "roles/store/server.h"

/* The account that a session submits for; 0: none, the session is as one of port 25. */
uint64_t submission_account(const struct session *session);

/* Whether a recipient elsewhere may be taken, and any recipient by the limits of the account: fills the
 * verdict of RCPT_CHECK, whose status is that for mail from elsewhere. `text` must outlive the verdict. */
void submission_rcpt(struct server *sv, struct session *session, bool well_formed, struct ipc_rcpt_verdict *v,
                     struct buf *text);

/* A message is about to be committed: IPC_OK, and it is counted; IPC_TOO_MANY; IPC_REFUSED: the account may
 * send nothing any more, or not from this reverse-path, whatever the role has asked before. */
enum ipc_status submission_commit(struct server *sv, struct session *session, struct span reverse_path,
                                  uint32_t recipients);

#endif
