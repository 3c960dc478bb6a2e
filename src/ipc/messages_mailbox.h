/* The fields of the messages between brant-imap and the store: a part of ipc/messages.h, which alone includes
 * it.
 */
#ifndef IPC_MESSAGES_MAILBOX_H
#define IPC_MESSAGES_MAILBOX_H

/* ---- mailboxes. Names are UTF-8 with "/" between the levels, as imap/name.h checks them; `status` are bits
 * of enum imap_status_item, `uses` of enum imap_special_use, `fields` of enum imap_entry_field, flags as in
 * imap/flag.h: the store hands these through. Ranges of UIDs are IPC_RANGE_BYTES each, ascending. An answer
 * of IPC_OK with `done_to` below UINT32_MAX is a slice: what has a higher UID is to be asked for again. Every
 * request names a mailbox of the session's account; it need not be open. */

/* In the order of imap_name_cmp, behind `after`. */
#define IPC_FIELDS_mailbox_list(F)           \
    F(ID, session, 0, _)                     \
    F(BYTES, after, IPC_MAILBOX_NAME_MAX, _) \
    F(U32, count, IPC_MAILBOX_ROWS_MAX, _)   \
    F(U32, status, 0, _)
#define IPC_FIELDS_mailbox_rows(F)         \
    F(U8, status, IPC_STATUS_COUNT - 1, _) \
    F(U8, more, 1, _)                      \
    F(LIST, rows, IPC_MAILBOX_ROWS_MAX, mailbox_row)
#define IPC_FIELDS_mailbox_row(F)           \
    F(BYTES, name, IPC_MAILBOX_NAME_MAX, _) \
    F(U8, exists, 1, _)                     \
    F(U8, subscribed, 1, _)                 \
    F(U32, uses, 0, _)                      \
    F(U64, mailbox, 0, _)                   \
    F(U32, messages, 0, _)                  \
    F(U32, recent, 0, _)                    \
    F(U32, uidnext, 0, _)                   \
    F(U32, uidvalidity, 0, _)               \
    F(U32, unseen, 0, _)                    \
    F(U32, deleted, 0, _)                   \
    F(U64, size, 0, _)                      \
    F(U64, modseq, 0, _)
/* One row. IPC_NOT_FOUND. */
#define IPC_FIELDS_mailbox_status(F)        \
    F(ID, session, 0, _)                    \
    F(BYTES, name, IPC_MAILBOX_NAME_MAX, _) \
    F(U32, status, 0, _)

enum ipc_mailbox_action {
    IPC_MAILBOX_CREATE,
    IPC_MAILBOX_DELETE,
    IPC_MAILBOX_RENAME, /* of INBOX: its messages go to a new mailbox `target` */
    IPC_MAILBOX_SUBSCRIBE,
    IPC_MAILBOX_UNSUBSCRIBE,
    IPC_MAILBOX_ACTION_COUNT
};
/* IPC_NOT_FOUND, IPC_EXISTS; IPC_INVALID: such a name, or this with the INBOX; IPC_REFUSED: a use that
 * another mailbox has; IPC_TOO_MANY: mailboxes. `again`: it was asked of a store that died before it
 * answered, and may have been done: then "exists" after CREATE and "not found" after DELETE are IPC_OK. */
#define IPC_FIELDS_mailbox_change(F)               \
    F(ID, session, 0, _)                           \
    F(U8, action, IPC_MAILBOX_ACTION_COUNT - 1, _) \
    F(U8, again, 1, _)                             \
    F(BYTES, name, IPC_MAILBOX_NAME_MAX, _)        \
    F(BYTES, target, IPC_MAILBOX_NAME_MAX, _)      \
    F(U32, uses, 0, _)
#define IPC_FIELDS_mailbox_changed(F)      \
    F(U8, status, IPC_STATUS_COUNT - 1, _) \
    F(U64, mailbox, 0, _)

/* Answers as SELECT needs them, and the session watches the mailbox from then on (in place of any other). The
 * UIDs come by UIDS_READ. */
#define IPC_FIELDS_mailbox_open(F)          \
    F(ID, session, 0, _)                    \
    F(BYTES, name, IPC_MAILBOX_NAME_MAX, _) \
    F(U8, read_only, 1, _) /* takes nothing of what is \\Recent */
#define IPC_FIELDS_mailbox_opened(F)                                                 \
    F(U8, status, IPC_STATUS_COUNT - 1, _)                                           \
    F(U64, mailbox, 0, _)                                                            \
    F(U32, uidvalidity, 0, _)                                                        \
    F(U32, uidnext, 0, _)                                                            \
    F(U64, modseq, 0, _)                                                             \
    F(U32, messages, 0, _)                                                           \
    F(U32, unseen, 0, _)      /* UID of the first message without \\Seen; 0: none */ \
    F(U32, recent_from, 0, _) /* 0: none */                                          \
    F(BYTES, keywords, IPC_KEYWORDS_MAX, _)
/* The session watches this mailbox (again, after RESUME), or (0) none any more. */
#define IPC_FIELDS_mailbox_watch(F) \
    F(ID, session, 0, _)            \
    F(U64, mailbox, 0, _)           \
    F(U8, read_only, 1, _)
/* The watched mailbox has changed, up to this MODSEQ (UINT64_MAX: it is gone). At most one is said before the
 * session asks CHANGES_READ. */
#define IPC_FIELDS_mailbox_news(F) \
    F(ID, session, 0, _)           \
    F(U64, mailbox, 0, _)          \
    F(U64, modseq, 0, _)

/* The UIDs that are there, from `first` to `last`. */
#define IPC_FIELDS_uids_read(F) \
    F(ID, session, 0, _)        \
    F(U64, mailbox, 0, _)       \
    F(U32, first, 0, _)         \
    F(U32, last, 0, _)
#define IPC_FIELDS_uids(F)                               \
    F(U8, status, IPC_STATUS_COUNT - 1, _)               \
    F(BYTES, ranges, IPC_RANGES_MAX *IPC_RANGE_BYTES, _) \
    F(U32, done_to, 0, _)
/* Which of these were expunged after modseq; may be more, where nobody remembers. */
#define IPC_FIELDS_vanished_read(F)                      \
    F(ID, session, 0, _)                                 \
    F(U64, mailbox, 0, _)                                \
    F(BYTES, ranges, IPC_RANGES_MAX *IPC_RANGE_BYTES, _) \
    F(U64, modseq, 0, _)                                 \
    F(U32, count, IPC_RANGES_MAX, _) /* ranges in the answer, at most */

/* As IMAP_EVENT_CHANGES and struct imap_changes (imap/server.h). keywords: all of them, when there are more
 * than `keywords_known`, else empty. */
#define IPC_FIELDS_changes_read(F)   \
    F(ID, session, 0, _)             \
    F(U64, mailbox, 0, _)            \
    F(U64, modseq, 0, _)             \
    F(U32, uid, 0, _)                \
    F(U8, vanished, 1, _)            \
    F(U64, vanished_modseq, 0, _)    \
    F(U32, vanished_from, 0, _)      \
    F(U32, count, IPC_RANGES_MAX, _) \
    F(U32, keywords_known, 0, _)
#define IPC_FIELDS_changes(F)                              \
    F(U8, status, IPC_STATUS_COUNT - 1, _)                 \
    F(U64, modseq, 0, _)                                   \
    F(U8, more, 1, _)                                      \
    F(U8, flags_changed, 1, _)                             \
    F(BYTES, arrived, IPC_RANGES_MAX *IPC_RANGE_BYTES, _)  \
    F(U32, uidnext, 0, _)                                  \
    F(U32, recent_from, 0, _)                              \
    F(BYTES, vanished, IPC_RANGES_MAX *IPC_RANGE_BYTES, _) \
    F(U32, vanished_to, 0, _)                              \
    F(BYTES, keywords, IPC_KEYWORDS_MAX, _)

/* As IMAP_EVENT_ENTRIES. */
#define IPC_FIELDS_message_list(F)                       \
    F(ID, session, 0, _)                                 \
    F(U64, mailbox, 0, _)                                \
    F(BYTES, ranges, IPC_RANGES_MAX *IPC_RANGE_BYTES, _) \
    F(U32, fields, 0, _)                                 \
    F(U64, flags_all, 0, _)                              \
    F(U64, flags_none, 0, _)                             \
    F(U64, modseq, 0, _)                                 \
    F(U32, count, IPC_ENTRIES_MAX, _)                    \
    F(U32, keywords_known, 0, _)
#define IPC_FIELDS_message_rows(F)          \
    F(U8, status, IPC_STATUS_COUNT - 1, _)  \
    F(U32, done_to, 0, _)                   \
    F(BYTES, keywords, IPC_KEYWORDS_MAX, _) \
    F(LIST, rows, IPC_ENTRIES_MAX, message_row)
#define IPC_FIELDS_message_row(F) \
    F(U32, uid, 0, _)             \
    F(U64, flags, 0, _)           \
    F(U64, modseq, 0, _)          \
    F(U64, size, 0, _)            \
    F(U64, time_ms, 0, _)         \
    F(U64, saved_ms, 0, _)        \
    F(U64, email, 0, _)           \
    F(BYTES, structure, IPC_STRUCTURE_MAX, _)

enum ipc_message_action {
    IPC_MESSAGES_FLAGS_ADD,
    IPC_MESSAGES_FLAGS_REMOVE,
    IPC_MESSAGES_FLAGS_REPLACE,
    IPC_MESSAGES_EXPUNGE, /* those with \\Deleted */
    IPC_MESSAGES_COPY,    /* all or none; IPC_TOO_MANY */
    IPC_MESSAGES_MOVE,
    IPC_MESSAGES_ACTION_COUNT
};
/* IPC_NOT_FOUND: the mailbox; IPC_EXISTS with COPY and MOVE: the mailbox is there, the target is not. */
#define IPC_FIELDS_message_change(F)                     \
    F(ID, session, 0, _)                                 \
    F(U64, mailbox, 0, _)                                \
    F(U8, action, IPC_MESSAGES_ACTION_COUNT - 1, _)      \
    F(BYTES, ranges, IPC_RANGES_MAX *IPC_RANGE_BYTES, _) \
    F(U64, flags, 0, _)                                  \
    F(BYTES, keywords, IPC_KEYWORDS_MAX, _)              \
    F(U8, has_unchanged_since, 1, _)                     \
    F(U64, unchanged_since, 0, _)                        \
    F(BYTES, target, IPC_MAILBOX_NAME_MAX, _)            \
    F(U32, keywords_known, 0, _)
#define IPC_FIELDS_messages_changed(F)                                              \
    F(U8, status, IPC_STATUS_COUNT - 1, _)                                          \
    F(U32, done_to, 0, _)                                                           \
    F(U64, modseq, 0, _) /* FLAGS: 0: nothing changed */                            \
    F(U64, modseq_before, 0, _)                                                     \
    F(BYTES, modified, IPC_RANGES_MAX *IPC_RANGE_BYTES, _)                          \
    F(BYTES, uids, IPC_RANGES_MAX *IPC_RANGE_BYTES, _) /* COPY, MOVE: which were */ \
    F(U32, target_first, 0, _)                                                      \
    F(U32, target_uidvalidity, 0, _)                                                \
    F(BYTES, keywords, IPC_KEYWORDS_MAX, _)                                         \
    F(U8, keywords_full, 1, _)

/* APPEND: each message's body goes ahead (BODY_CHUNK) and is named by an APPEND_MESSAGE, in order;
 * APPEND_COMMIT stores those said so far, all or none, APPEND_ABORT forgets them. A session has one APPEND at
 * a time. */
#define IPC_FIELDS_append_message(F)        \
    F(ID, session, 0, _)                    \
    F(U64, body, 0, _)                      \
    F(U64, body_bytes, 0, _)                \
    F(U64, flags, 0, _)                     \
    F(BYTES, keywords, IPC_KEYWORDS_MAX, _) \
    F(U8, has_time, 1, _)                   \
    F(U64, time_ms, 0, _)                   \
    F(BYTES, content_sum, IPC_SUM_BYTES, _) \
    F(BYTES, message_id, 998, _)            \
    F(BYTES, structure, IPC_STRUCTURE_MAX, _)
#define IPC_FIELDS_append_abort(F) F(ID, session, 0, _)
/* `append` is random and kept with a message that comes alone, for APPEND_ASK after a restart of the store.
 */
#define IPC_FIELDS_append_commit(F)     \
    F(ID, session, 0, _)                \
    F(ID, append, 0, _)                 \
    F(U32, messages, IPC_APPEND_MAX, _) \
    F(BYTES, name, IPC_MAILBOX_NAME_MAX, _)
#define IPC_FIELDS_append_ask(F) \
    F(ID, session, 0, _)         \
    F(ID, append, 0, _)
/* uids empty with IPC_OK: it was done, and which they are is not known any more. APPEND_ASK: IPC_TRY_LATER:
 * it was not done, or cannot be told. */
#define IPC_FIELDS_appended(F)             \
    F(U8, status, IPC_STATUS_COUNT - 1, _) \
    F(U32, uidvalidity, 0, _)              \
    F(BYTES, uids, IPC_APPEND_MAX *IPC_RANGE_BYTES, _)

#endif
