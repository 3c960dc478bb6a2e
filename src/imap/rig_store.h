/* The rig's store, for rig.c alone. */
#ifndef IMAP_RIG_STORE_H
#define IMAP_RIG_STORE_H

#include "imap/rig.h"

struct rig_box *rig_box_get(struct rig_store *store, struct span name); /* NULL: there is none that exists */
struct rig_box *rig_box_by_id(struct rig_store *store, uint64_t id);
struct rig_box *rig_box_make(struct rig_store *store, struct span name, unsigned uses);
void rig_parents_make(struct rig_store *store, struct span name);
bool rig_box_delete(struct rig_store *store, struct span name);
bool rig_box_rename(struct rig_store *store, struct span from, struct span to);
void rig_subscribe(struct rig_store *store, struct span name, bool yes);
void rig_status(const struct rig_box *b, struct imap_status *ret);
struct rig_message *rig_message_get(struct rig_box *b, uint32_t uid);
uint32_t imap_rig_last_uid(const struct rig_box *b);
/* Moves the message into the mailbox; it gets its UID. */
void rig_add(struct rig_store *store, struct rig_box *b, struct rig_message *m);
void rig_copy(struct rig_store *store, const struct rig_box *b, size_t index, struct rig_box *to);
void rig_expunge(struct rig_box *b, size_t index);
/* Flags and keywords as bits; keywords are made when `make`. False: there is no room for them. */
bool rig_flags_of(struct rig_box *b, uint64_t flags, const struct span *keywords, size_t count, bool make,
                  uint64_t *ret);
/* Tells the sessions that have the mailbox selected, but one. */
void rig_notify(struct rig_store *store, const struct rig_box *b, const struct rig *but);

#endif
