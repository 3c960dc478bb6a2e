/* What an imap instance asks of the store. News may come at any time: they are counted on the side. */
#ifndef TESTS_IMAP_STEPS_H
#define TESTS_IMAP_STEPS_H

#include "steps.h"
#include "world.h"

enum { SEEN = 1, ANSWERED = 2, FLAGGED = 4, DELETED = 8, DRAFT = 16, KEYWORD_BIT = 256 };
enum { FIELDS_ALL = 127, STATUS_ALL = 511 };

struct imap {
    struct peer p;
    bool careless; /* answers that nobody waits for any more are passed over */
    unsigned news; /* since it was last looked at */
    struct ipc_mailbox_news last;
};

void imap_channel(struct world *w, uint32_t instance, struct imap *ret);
/* Asks, and answers what is not news; valid until the next call. */
struct ipc_message imap_ask(struct imap *i, struct ipc_message m);
/* Waits for news of this session: their MODSEQ. */
uint64_t imap_news(struct imap *i, struct ipc_id session);
/* Nothing may come before the answer to a question. */
void imap_no_news(struct imap *i, struct ipc_id session);

struct ipc_id imap_login(struct imap *i, const char *user, const char *password, struct ipc_message *ret);
void imap_close(struct imap *i, struct ipc_id session);

struct ipc_mailbox_rows imap_list(struct imap *i, struct ipc_id s, const char *after, uint32_t count);
/* "INBOX Archive*! …": names, with "!" where it is subscribed to and "?" where it does not exist. */
const char *imap_names(struct imap *i, struct ipc_id s);
uint8_t imap_status(struct imap *i, struct ipc_id s, const char *name, struct ipc_mailbox_row *ret);
uint8_t imap_change(struct imap *i, struct ipc_id s, uint8_t action, const char *name, const char *target,
                    uint32_t uses);
struct ipc_mailbox_opened imap_open(struct imap *i, struct ipc_id s, const char *name, bool read_only);
void imap_watch(struct imap *i, struct ipc_id s, uint64_t mailbox, bool read_only);

/* Ranges as text, "1:3,5"; valid until it is used a few more times. */
struct span ranges(const char *text);
const char *ranges_text(struct span bytes);
const char *imap_uids(struct imap *i, struct ipc_id s, uint64_t mailbox);
struct ipc_message_rows imap_entries(struct imap *i, struct ipc_id s, uint64_t mailbox, const char *which);
struct ipc_changes imap_changes(struct imap *i, struct ipc_id s, uint64_t mailbox, uint64_t modseq,
                                uint32_t uid, bool vanished);
struct ipc_message imap_message_change(struct ipc_id s, uint64_t mailbox, uint8_t action, const char *which,
                                       uint64_t flags, const char *keywords, const char *target);
/* Makes that change, which must go well; slice after slice. How many slices it took. */
unsigned imap_do(struct imap *i, struct ipc_message m);
uint8_t imap_read(struct imap *i, struct ipc_id s, uint64_t mailbox, uint32_t uid, struct buf *out);

/* APPEND: a body and its name; the end. */
void imap_append_body(struct imap *i, struct ipc_id s, uint64_t body, struct span bytes);
struct ipc_message imap_append_message(struct ipc_id s, uint64_t body, size_t bytes, uint64_t flags,
                                       const char *keywords);
struct ipc_message imap_append_commit(struct ipc_id s, struct ipc_id append, uint32_t messages,
                                      const char *name);
/* `count` messages of this size in one; the status, and the UIDs as text. */
uint8_t imap_append(struct imap *i, struct ipc_id s, const char *name, unsigned first, unsigned count,
                    size_t size, const char **ret_uids);
/* Fills the mailbox with that many, by copying. */
void imap_fill(struct imap *i, struct ipc_id s, const char *name, uint32_t count);

#endif
