/* The index: an SQLite database that says where everything is. It can always be made anew from the journal,
 * so it never holds a fact of its own (docs/disk.md, "Index").
 *
 * One connection per thread. Statements are prepared once per connection, on first use. */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include "base/arena.h"
#include "os/fs.h"

enum { INDEX_VERSION = 3 };
#define INDEX_PATH     "index.db"
#define INDEX_LOG_PATH INDEX_PATH "-wal"

enum index_statement {
    INDEX_BEGIN,
    INDEX_BEGIN_READ,
    INDEX_COMMIT,
    INDEX_ROLLBACK,
    INDEX_META_GET,
    INDEX_META_PUT,
    INDEX_MESSAGE_PUT,
    INDEX_MESSAGE_GET,
    INDEX_MESSAGE_SET_DEAD,
    INDEX_MESSAGE_MOVE,
    INDEX_MESSAGE_NEWER,
    INDEX_MESSAGE_OLDER,
    INDEX_MESSAGE_FILE,
    INDEX_MESSAGE_FILED,
    INDEX_ENTRY_ADD,
    INDEX_ENTRY_PUT,
    INDEX_ENTRY_GET,
    INDEX_ENTRY_DELETE,
    INDEX_ENTRY_LIST,
    INDEX_ENTRY_RANGE,
    INDEX_ENTRY_OF_MESSAGE,
    INDEX_ENTRY_UIDS,
    INDEX_ENTRY_LOWEST,
    INDEX_ENTRY_HIGHEST,
    INDEX_ENTRY_COUNT,
    INDEX_ENTRY_UNSEEN,
    INDEX_ENTRY_NEXT,
    INDEX_ENTRY_CHANGED,
    INDEX_ENTRY_CHANGED_FIRST,
    INDEX_ENTRY_TELLING,
    INDEX_ENTRY_ANY,
    INDEX_GONE_PUT,
    INDEX_GONE_NTH,
    INDEX_GONE_WIPE,
    INDEX_GONE_UIDS,
    INDEX_GONE_SINCE,
    INDEX_QUEUE_PUT,
    INDEX_QUEUE_GET,
    INDEX_QUEUE_OF_MESSAGE,
    INDEX_QUEUE_LIST,
    INDEX_QUEUE_COUNT,
    INDEX_BOX_ADD,
    INDEX_MAILBOX_PUT,
    INDEX_MAILBOX_REMOVING,
    INDEX_MAILBOX_REMOVED,
    INDEX_MAILBOX_GET,
    INDEX_MAILBOX_VIEW,
    INDEX_MAILBOX_LIST,
    INDEX_MAILBOX_OF_ACCOUNT,
    INDEX_MAILBOX_DELETE,
    INDEX_SUBSCRIPTION_PUT,
    INDEX_SUBSCRIPTION_LIST,
    INDEX_SUBSCRIPTION_WIPE,
    INDEX_ACCOUNT_PUT,
    INDEX_ACCOUNT_LIST,
    INDEX_GRANT_PUT,
    INDEX_GRANT_WIPE,
    INDEX_GRANT_LIST,
    INDEX_DOMAIN_PUT,
    INDEX_DOMAIN_LIST,
    INDEX_ALIAS_PUT,
    INDEX_ALIAS_LIST,
    INDEX_SEGMENT_ADD,
    INDEX_SEGMENT_CLEAN,
    INDEX_SEGMENT_LIST,
    INDEX_RETIRED_PUT,
    INDEX_UIDVALIDITY,
    INDEX_RETIRED_LIST,
    INDEX_DROP_MESSAGE,
    INDEX_DROP_GONE,
    INDEX_DROP_QUEUE,
    INDEX_DROP_MAILBOX,
    INDEX_DROP_SUBSCRIPTION,
    INDEX_DROP_ACCOUNT,
    INDEX_DROP_DOMAIN,
    INDEX_DROP_ALIAS,
    INDEX_DROP_RETIRED,
    INDEX_LIVE_SMALL,
    INDEX_IN_MESSAGE,
    INDEX_IN_MESSAGE_MOVED,
    INDEX_IN_ENTRY,
    INDEX_IN_ENTRY_CHANGED,
    INDEX_IN_GONE,
    INDEX_IN_QUEUE,
    INDEX_IN_MAILBOX,
    INDEX_IN_SUBSCRIPTION,
    INDEX_IN_ACCOUNT,
    INDEX_IN_DOMAIN,
    INDEX_IN_ALIAS,
    INDEX_CHECK_ENTRIES,
    INDEX_CHECK_BOXES,
    INDEX_CHECK_QUEUE,
    INDEX_CHECK_QUICK,
    INDEX_STATEMENT_COUNT
};

struct sqlite3;
struct sqlite3_stmt;
struct index {
    struct sqlite3 *db;
    struct sqlite3_stmt *statements[INDEX_STATEMENT_COUNT];
};

/* Before the first connection: what is read of the log may be in the page cache only, when a sync failed
 * before (DESIGN rule 5), and the next checkpoint would trust it. Writes the same bytes again and syncs them.
 */
int index_settle(struct os_fs *fs);
/* writing: makes the file and schema when missing. BRANT_ENOTFOUND (reading, no file), BRANT_EUNSUPPORTED:
 * another schema version; BRANT_ECORRUPT, BRANT_ENOSPACE, BRANT_EIO. */
int index_open(struct os_fs *fs, bool writing, struct index **ret);
/* Writes nothing: the log stays as it is. NULL is allowed. */
void index_close(struct index *ix);
/* Before the last connection is closed: closing it copies the log into the database and removes it. Not after
 * a sync that failed. */
void index_finish(struct index *ix);
/* Deletes the files of a closed index. */
int index_delete(struct os_fs *fs);

struct index_value {
    bool is_bytes;
    uint64_t number;
    struct span bytes;
};
#define INDEX_N(v) ((struct index_value){false, (uint64_t)(v), SPAN_NONE})
#define INDEX_B(v) ((struct index_value){true, 0, (v)})
#define INDEX_ARGS(...)                        \
    (const struct index_value[]){__VA_ARGS__}, \
        sizeof((const struct index_value[]){__VA_ARGS__}) / sizeof(struct index_value)

/* Runs a statement that gives no rows. */
int index_run(struct index *ix, enum index_statement s, const struct index_value *values, size_t count);
#define index_exec(ix, s, ...) index_run(ix, s, INDEX_ARGS(__VA_ARGS__))
int index_simple(struct index *ix, enum index_statement s); /* one without values */
uint64_t index_changes(struct index *ix);                   /* rows changed by the last statement */
bool index_in_transaction(struct index *ix);

/* Rows: bind, then index_row until BRANT_ENOTFOUND, or index_reset to stop early. */
int index_bind(struct index *ix, enum index_statement s, const struct index_value *values, size_t count);
#define index_query(ix, s, ...) index_bind(ix, s, INDEX_ARGS(__VA_ARGS__))
int index_row(struct index *ix, enum index_statement s);
uint64_t index_number(struct index *ix, enum index_statement s, int column);
struct span index_bytes(struct index *ix, enum index_statement s, int column); /* until the next step */
void index_reset(struct index *ix, enum index_statement s);

enum index_meta { INDEX_META_APPLIED = 1 };

/* A row of message: where its record lies. */
struct index_message {
    uint64_t id, rec_seq, offset, body_bytes, time_ms;
    uint32_t segment, length;
    uint16_t version; /* of the record */
    uint8_t body_kind, body_file[16];
    bool dead;
};
/* BRANT_ENOTFOUND. */
int index_message(struct index *ix, uint64_t id, struct index_message *ret);
/* The row that a statement selecting the columns of INDEX_MESSAGE_GET stands on. */
void index_message_row(struct index *ix, enum index_statement s, struct index_message *ret);

struct index_entry {
    uint64_t mailbox, message, size, flags, modseq, time_ms, rec_seq, saved_ms;
    uint32_t uid, variant;
};
int index_entry(struct index *ix, uint64_t mailbox, uint32_t uid, struct index_entry *ret);
void index_entry_row(struct index *ix, enum index_statement s, struct index_entry *ret);

/* A row of the queue, or (state 0) what is left of one. */
struct index_queued {
    uint64_t message, size, account, created_ms, rec_seq;
    uint32_t recipient, variant;
    uint8_t state;
    struct span sender, address;
};
/* The strings are copied into the arena. BRANT_ENOTFOUND; BRANT_ELIMIT: the arena is full. */
int index_queued(struct index *ix, uint64_t message, uint32_t recipient, struct arena *arena,
                 struct index_queued *ret);
/* The strings are the statement's: valid until the next step. */
void index_queued_row(struct index *ix, enum index_statement s, struct index_queued *ret);

/* Copies as much of the log as readers allow. ret_all: everything was copied; ret_bytes: size of the log. */
int index_checkpoint(struct index *ix, bool restart, bool *ret_all, uint64_t *ret_bytes);

/* One line per row of every table but the place reached, for comparing two indexes. */
struct buf;
int index_dump(struct index *ix, struct buf *out);

#endif
