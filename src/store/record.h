/* The records of the journal: every durable change is one of these (docs/disk.md, "Record types").
 *
 * Each record carries results, never "compute again": the UID, the MODSEQ, the time. Each record carries the
 * full new state of every object it touches, so an object is known completely from the newest record that
 * names it; compaction rests on that. Objects are named by the sequence number of the record that made them,
 * which is never used again; `id` 0 means "this record's own number".
 *
 * A payload is: u32 length of the fields, the fields in the order below, then (MESSAGE only) the bytes of
 * the prefixes and of an inline body. Integers are little-endian.
 *
 * Field kinds:
 *   S(type, name)        an unsigned integer: U8, U16, U32, U64
 *   B(name)              16 bytes
 *   T(name, max)         u32 length, bytes
 *   L(item, name, max)   u32 count, that many items
 *   V(version)           what follows came with this version of the record
 *
 * A record type grows only at the end of its fields, and its version grows with it. The newest version is
 * written; all of them are read: in an older one the fields it did not have yet are zero or empty. V stands
 * in records only, not in the items of their lists. */
#ifndef STORE_RECORD_H
#define STORE_RECORD_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/wire.h"

enum {
    RECORD_RECIPIENTS_MAX = 1000,
    RECORD_ENTRIES_MAX = 16384,
    RECORD_VARIANTS_MAX = 64,
    RECORD_ADDRESS_MAX = 320,
    RECORD_STRUCTURE_MAX = 65536,
    RECORD_PREFIX_MAX = 65536,     /* one variant */
    RECORD_FIELDS_MAX = 2u << 20,  /* the fields of one record, without prefixes and body */
    RECORD_BYTES_MAX = 4u << 20,   /* a whole payload */
    RECORD_ARENA_BYTES = 4u << 20, /* what decoding the largest record may take */
};

/* The recipient of an entry that no recipient of the envelope made: a copy of a submission, an APPEND. */
#define RECORD_NO_RECIPIENT UINT32_MAX

/* Of a row of the queue; docs/queue.md. */
enum record_queue_state { RECORD_QUEUE_REMOVED = 0, RECORD_QUEUE_HELD = 1 };

enum record_state { RECORD_STATE_LIVE = 0, RECORD_STATE_REMOVING = 1, RECORD_STATE_REMOVED = 2 };

enum record_body {
    RECORD_BODY_NONE = 0,   /* no live entry was left when the record was written again */
    RECORD_BODY_INLINE = 1, /* behind the prefixes, in this record */
    RECORD_BODY_FILE = 2    /* bodies/ID */
};

/* One message in one mailbox. */
#define RECORD_FIELDS_entry(S, B, T, L, V)           \
    S(U64, account)                                  \
    S(U64, mailbox)                                  \
    S(U32, uid)                                      \
    S(U64, modseq)                                   \
    S(U64, flags)                                    \
    S(U64, message)   /* id; 0: this record's own */ \
    S(U32, variant)   /* which prefix */             \
    S(U64, size)      /* octets, prefix included */  \
    S(U64, time_ms)   /* internal date */            \
    S(U32, recipient) /* index in the envelope, or RECORD_NO_RECIPIENT */
/* A message that left a mailbox. */
#define RECORD_FIELDS_gone(S, B, T, L, V) \
    S(U64, account)                       \
    S(U64, mailbox)                       \
    S(U32, uid)                           \
    S(U64, modseq)                        \
    S(U64, message)                       \
    S(U64, size)                          \
    S(U64, time_ms)
/* The counters of a mailbox after the record. */
#define RECORD_FIELDS_box(S, B, T, L, V) \
    S(U64, mailbox)                      \
    S(U64, account)                      \
    S(U32, uidnext)                      \
    S(U64, modseq)
#define RECORD_FIELDS_recipient(S, B, T, L, V) T(address, RECORD_ADDRESS_MAX)
#define RECORD_FIELDS_prefix(S, B, T, L, V)    S(U32, length)

/* A recipient elsewhere, with the message: what is not here stands in the message itself. */
#define RECORD_FIELDS_queued(S, B, T, L, V)       \
    S(U32, recipient) /* index in the envelope */ \
    S(U8, state)                                  \
    S(U32, variant)
/* The same later on, by itself. Removed: only the first three count. */
#define RECORD_FIELDS_queue_row(S, B, T, L, V)    \
    S(U64, message)                               \
    S(U32, recipient)                             \
    S(U8, state)                                  \
    S(U32, variant)                               \
    S(U64, size)    /* octets, prefix included */ \
    S(U64, account) /* the submitter */           \
    S(U64, created_ms)                            \
    T(sender, RECORD_ADDRESS_MAX)                 \
    T(address, RECORD_ADDRESS_MAX)

/* A commit, or (id not 0) the same message written again; then entries and queue tell only its history. */
#define RECORD_FIELDS_message(S, B, T, L, V)                             \
    S(U64, id)                                                           \
    B(commit_id)                                                         \
    B(session)                                                           \
    S(U64, time_ms)                                                      \
    T(source, 64)                                                        \
    T(protocol, 32)                                                      \
    T(helo, 255)                                                         \
    T(reverse_path, RECORD_ADDRESS_MAX)                                  \
    T(message_id, 998)                                                   \
    T(structure, RECORD_STRUCTURE_MAX)                                   \
    L(recipient, recipients, RECORD_RECIPIENTS_MAX)                      \
    L(prefix, prefixes, RECORD_VARIANTS_MAX)                             \
    L(entry, entries, RECORD_ENTRIES_MAX)                                \
    L(box, boxes, RECORD_ENTRIES_MAX)                                    \
    S(U8, body_kind)                                                     \
    S(U64, body_bytes)                                                   \
    B(body_file)     /* RECORD_BODY_FILE: its name */                    \
    S(U64, body_sum) /* RECORD_BODY_FILE: root checksum */               \
    V(2)                                                                 \
    T(tls, 64)                                                           \
    B(content_sum)    /* of the body behind the header; zero: unknown */ \
    S(U64, submitter) /* account; 0: mail from elsewhere */              \
    L(queued, queue, RECORD_RECIPIENTS_MAX)
/* Rows of the queue as they are now. */
#define RECORD_FIELDS_queue(S, B, T, L, V) \
    S(U64, time_ms)                        \
    L(queue_row, rows, RECORD_RECIPIENTS_MAX)

/* When an entry came into its mailbox. */
#define RECORD_FIELDS_saved(S, B, T, L, V) S(U64, time_ms)

/* FLAGS, EXPUNGE, COPY, MOVE, ENTRIES: entries as they are now, entries that are gone. */
#define RECORD_FIELDS_change(S, B, T, L, V) \
    B(session)                              \
    S(U64, time_ms)                         \
    L(entry, entries, RECORD_ENTRIES_MAX)   \
    L(gone, gone, RECORD_ENTRIES_MAX)       \
    L(box, boxes, RECORD_ENTRIES_MAX)       \
    V(2)                                    \
    L(saved, saved, RECORD_ENTRIES_MAX) /* one for each of the entries; none: unknown */

/* As it was written in MAILBOX records, and still is in those of accounts. */
#define RECORD_FIELDS_mailbox(S, B, T, L, V) \
    S(U64, id)                               \
    S(U64, account)                          \
    S(U8, state)                             \
    T(name, 1024)                            \
    S(U32, uidvalidity)                      \
    S(U32, uidnext)                          \
    S(U64, modseq)                           \
    T(keywords, 4096) /* never used here */
/* The full state of a mailbox, but for what its entries say. */
#define RECORD_FIELDS_mailbox_state(S, B, T, L, V)                            \
    S(U64, id)                                                                \
    S(U64, account)                                                           \
    S(U8, state) /* REMOVING: out of the names, its mail is being removed */  \
    T(name, 1024)                                                             \
    S(U32, uidvalidity) /* REMOVED: the highest that any was given by then */ \
    S(U32, uidnext)                                                           \
    S(U64, modseq)                                                            \
    S(U64, gone_floor) /* tombstones up to this MODSEQ may be forgotten */    \
    S(U32, removed_to) /* REMOVING: whatever has a UID up to this is gone */  \
    S(U32, uses)       /* opaque bits */                                      \
    T(keywords, 4096)  /* names of the flags from bit 8 on, space between */
#define RECORD_FIELDS_mailboxes(S, B, T, L, V) L(mailbox_state, mailboxes, RECORD_ENTRIES_MAX)

/* The name of a mailbox that an account has subscribed to. */
#define RECORD_FIELDS_subscription(S, B, T, L, V) \
    S(U64, id)                                    \
    S(U64, account)                               \
    S(U8, state)                                  \
    T(name, 1024)
#define RECORD_FIELDS_subscriptions(S, B, T, L, V) L(subscription, names, RECORD_ENTRIES_MAX)

/* What an account has beside its password. */
#define RECORD_FIELDS_grant(S, B, T, L, V) \
    S(U8, kind) /* STORE_GRANT_… */      \
    T(name, 320)                           \
    S(U32, protocols)                      \
    S(U64, created_ms)                     \
    S(U64, expires_ms)                     \
    T(data, 128)
#define RECORD_FIELDS_account(S, B, T, L, V)                            \
    S(U64, id)                                                          \
    S(U8, state)                                                        \
    T(address, RECORD_ADDRESS_MAX)                                      \
    S(U32, options) /* STORE_ACCOUNT_… */                             \
    S(U64, quota_bytes)                                                 \
    S(U64, inbox)                                                       \
    S(U64, created_ms)                                                  \
    T(verifier, 1024)                                                   \
    L(mailbox, mailboxes, 16) /* made together with the account */      \
    V(2)                                                                \
    B(scram_salt)            /* zero: made of what it is, dir_salt() */ \
    S(U32, scram_iterations) /* 0: no keys */                           \
    T(scram_stored_key, 32)                                             \
    T(scram_server_key, 32)                                             \
    L(grant, grants, 64)                                                \
    V(3)                                                                \
    S(U32, uidvalidity) /* the highest that any mailbox was given until then */
#define RECORD_FIELDS_domain(S, B, T, L, V) \
    S(U64, id)                              \
    S(U8, state)                            \
    T(name, 255)
#define RECORD_FIELDS_alias(S, B, T, L, V) \
    S(U64, id)                             \
    S(U8, state)                           \
    T(address, RECORD_ADDRESS_MAX)         \
    T(target, RECORD_ADDRESS_MAX)
#define RECORD_FIELDS_alias_set(S, B, T, L, V) L(alias, aliases, RECORD_ENTRIES_MAX)

/* Everything a segment held that is still needed was written again behind it; dead rows whose newest record
 * has a number from first_seq to last_seq may be forgotten. */
#define RECORD_FIELDS_retire(S, B, T, L, V) \
    S(U32, segment)                         \
    S(U64, first_seq)                       \
    S(U64, last_seq)                        \
    V(2)                                    \
    S(U32, uidvalidity) /* the highest that any mailbox was given until then */

/* Items that occur in lists, and the bodies of records; one that holds another comes after it. */
#define RECORD_LAYOUTS(X) \
    X(entry)              \
    X(gone)               \
    X(box)                \
    X(recipient)          \
    X(prefix)             \
    X(queued)             \
    X(queue_row)          \
    X(queue)              \
    X(message)            \
    X(saved)              \
    X(change)             \
    X(mailbox)            \
    X(mailbox_state)      \
    X(mailboxes)          \
    X(subscription)       \
    X(subscriptions)      \
    X(grant)              \
    X(account)            \
    X(domain)             \
    X(alias)              \
    X(alias_set)          \
    X(retire)

/* X(number, NAME, layout, version): the version that is written. Numbers are never used again for another
 * meaning. */
#define RECORD_TYPES(X)            \
    X(1, MESSAGE, message, 2)      \
    X(2, FLAGS, change, 2)         \
    X(3, EXPUNGE, change, 2)       \
    X(4, COPY, change, 2)          \
    X(5, MOVE, change, 2)          \
    X(6, ENTRIES, change, 2)       \
    X(7, MAILBOX, mailbox, 1)      \
    X(8, ACCOUNT, account, 3)      \
    X(9, DOMAIN, domain, 1)        \
    X(10, ALIAS, alias_set, 1)     \
    X(11, RETIRE, retire, 2)       \
    X(12, QUEUE, queue, 1)         \
    X(13, MAILBOXES, mailboxes, 1) \
    X(14, SUBSCRIPTIONS, subscriptions, 1)

#define RECORD_INT_U8                uint8_t
#define RECORD_INT_U16               uint16_t
#define RECORD_INT_U32               uint32_t
#define RECORD_INT_U64               uint64_t
#define RECORD_DECLARE_S(type, name) RECORD_INT_##type name;
#define RECORD_DECLARE_B(name)       uint8_t name[16];
#define RECORD_DECLARE_T(name, max)  struct span name;
#define RECORD_DECLARE_L(item, name, max) \
    struct record_##item *name;           \
    uint32_t name##_count;
#define RECORD_DECLARE_V(version)
#define RECORD_STRUCT(layout)                                                                          \
    struct record_##layout {                                                                           \
        RECORD_FIELDS_##layout(RECORD_DECLARE_S, RECORD_DECLARE_B, RECORD_DECLARE_T, RECORD_DECLARE_L, \
                               RECORD_DECLARE_V)                                                       \
    };
RECORD_LAYOUTS(RECORD_STRUCT)

enum record_type {
#define RECORD_ENUM(number, NAME, layout, version) RECORD_##NAME = number,
    RECORD_TYPES(RECORD_ENUM)
#undef RECORD_ENUM
};

union record {
#define RECORD_MEMBER(layout) struct record_##layout layout;
    RECORD_LAYOUTS(RECORD_MEMBER)
#undef RECORD_MEMBER
};

uint16_t record_version(uint16_t type); /* the version that is written; 0: no such type */
const char *record_name(uint16_t type); /* "message"; "unknown" */

/* Appends the u32 length and the fields. BRANT_ELIMIT: a field is over its maximum or the buffer is full; the
 * buffer is then as before. */
int record_encode(struct buf *out, uint16_t type, const union record *rec);

/* Reads the fields. payload may stop behind them; payload_len is the length of the whole. Spans point into
 * payload, lists lie in the arena. BRANT_ESYNTAX, BRANT_ELIMIT; BRANT_EUNSUPPORTED for a type or a newer
 * version than this build knows. ret_fields_len gets the length of what record_encode wrote. ret is undefined
 * on failure. */
int record_decode(uint16_t type, uint16_t version, struct span payload, uint64_t payload_len,
                  struct arena *arena, union record *ret, size_t *ret_fields_len);

/* Where the prefix of a variant lies, counted from the start of the payload (fields_len as from
 * record_decode); the body is at record_body_offset. */
uint64_t record_prefix_offset(const struct record_message *m, size_t fields_len, uint32_t variant);
uint64_t record_body_offset(const struct record_message *m, size_t fields_len);

#endif
