/* Inside the store: its parts and who may touch them. Not for anybody outside src/store.
 *
 *   directory   heads of everything that is small: domains, accounts, mailboxes, aliases. Changed only by the
 *               writer, under dir.lock; read by anyone under dir.lock.
 *   writer      evaluates operations, appends, syncs, answers; owns the journal for appending.
 *   queue       batches that are durable and wait for apply; under st->lock.
 *   index       SQLite; one connection writes (apply), others read. */
#ifndef STORE_STATE_H
#define STORE_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/map.h"
#include "store/bodies.h"
#include "store/index.h"
#include "store/record.h"
#include "store/store.h"

/* ---- directory.c: heads ----------------------------------------------------------------------------------
 */

struct dir_domain {
    uint64_t id;
    uint64_t accounts, aliases; /* how many */
    char name[];
};

struct dir_alias {
    struct dir_alias *next; /* of the same address */
    uint64_t id;
    char target[];
};

/* An address that somebody has: an account or a list of alias targets. */
struct dir_name {
    struct dir_account *account;
    struct dir_alias *aliases;
    struct dir_domain *domain;
    uint64_t visit; /* the look-up that came by last: the visited set */
    char address[];
};

struct dir_mailbox {
    struct dir_mailbox *next; /* of those being removed of the same account */
    struct dir_account *account;
    uint64_t id;
    uint8_t state; /* enum record_state; REMOVING: out of the names, mail is being removed */
    uint32_t uidvalidity, uidnext, uses;
    uint32_t recent_from; /* no session was given UIDs from here on as \Recent */
    uint32_t recent;      /* messages from there on */
    uint64_t modseq, messages, bytes, unseen, deleted;
    uint32_t removed_to;  /* REMOVING: whatever has a UID up to this is gone */
    uint64_t gone_floor;  /* tombstones up to this MODSEQ may have been forgotten */
    uint64_t last_seq;    /* newest record that touched it */
    uint64_t change_seq;  /* newest record that changed or removed entries */
    uint32_t parked;      /* operations waiting for it */
    uint64_t blocked;     /* round of the writer in which an operation had to go on waiting for it */
    uint32_t unseen_from; /* no message below this UID is without \Seen, as far as was looked */
    uint32_t unseen_turn; /* grows whenever messages lose \Seen */
    char *name;           /* owned; empty when it is being removed */
    char *keywords;       /* owned: names, a space in between; NULL: none */
};

/* A name that an account has subscribed to, whether there is such a mailbox or not. */
struct dir_subscription {
    uint64_t id;
    char name[];
};

/* What an account has beside its password; a certificate can be found by its data, too. */
struct dir_grant {
    struct dir_grant *next; /* of the same account, by kind and name */
    struct dir_account *account;
    uint64_t created_ms, expires_ms;
    uint32_t protocols;
    uint8_t kind; /* enum store_grant_kind */
    uint8_t data[STORE_GRANT_DATA_MAX];
    size_t data_len, name_len;
    uint8_t name[];
};

struct dir_account {
    uint64_t id, inbox, quota_bytes, created_ms;
    uint64_t used_bytes, messages;
    uint64_t last_seq;  /* newest record that touched it: what a read waits for */
    uint64_t freed_seq; /* newest record that took a name from a mailbox or a subscription */
    uint64_t visit, commit_visit;
    uint32_t options;
    uint8_t state;              /* enum record_state; REMOVING: out of the names, mail is being removed */
    struct dir_name *name;      /* NULL when REMOVING */
    struct dir_mailbox **boxes; /* owned, by name (dir_name_cmp): those that have one */
    size_t box_count, box_cap;
    struct dir_mailbox *removing;   /* owned */
    struct dir_subscription **subs; /* owned, by name */
    size_t sub_count, sub_cap;
    struct buf verifier;
    struct store_scram scram;
    struct dir_grant *grants; /* owned */
    uint32_t grant_count;
};

struct dir_result {
    struct dir_account *account;
    char detail[65];
};

struct directory {
    pthread_mutex_t lock;
    struct map domains;   /* name -> dir_domain */
    struct map names;     /* address -> dir_name */
    struct map accounts;  /* id -> dir_account */
    struct map mailboxes; /* id -> dir_mailbox */
    struct map certs;     /* SHA-256 of a certificate -> dir_grant */
    uint8_t store_id[16]; /* what old salts are derived with; before accounts are loaded */
    uint64_t visit;
    uint32_t uidvalidity_last;
    uint64_t
        freed_seq; /* newest record that freed the name of a domain, account or alias, or a certificate */
    char delimiter;
    char postmaster[STORE_ADDRESS_MAX + 1];
    struct dir_result *results; /* STORE_EXPANSION_MAX of them, of the last look-up */
    struct dir_step *steps;     /* its work list */
};

void dir_init(struct directory *d, const struct store_config *config, struct map_key key);
void dir_done(struct directory *d);
/* Lower-case and checked: local@domain; "@domain" only with catch_all. BRANT_ESYNTAX. */
int dir_canonical(struct span address, bool catch_all, char out[STORE_ADDRESS_MAX + 1]);
int dir_canonical_domain(struct span name, char out[256]);
/* All of these: under d->lock. Results as store_resolve, in d->results. */
int dir_resolve(struct directory *d, struct span address, size_t *ret_count);
struct dir_domain *dir_domain(struct directory *d, const char *name);
struct dir_domain *dir_domain_of(struct directory *d, const char *address);
struct dir_name *dir_name(struct directory *d, const char *address);
struct dir_account *dir_account(struct directory *d, uint64_t id);
struct dir_mailbox *dir_mailbox(struct directory *d, uint64_t id);
void dir_domain_put(struct directory *d, uint64_t id, struct span name);
void dir_domain_drop(struct directory *d, struct dir_domain *domain);
/* New, or known by its id and changed; the record's spans may point into the account itself. Grants apart. */
struct dir_account *dir_account_put(struct directory *d, uint64_t id, const struct record_account *rec);
void dir_account_detach(struct directory *d, struct dir_account *a); /* live -> removing */
void dir_account_drop(struct directory *d, struct dir_account *a);
int dir_alias_put(struct directory *d, uint64_t id, struct span address, struct span target);
void dir_alias_drop(struct directory *d, struct dir_name *n, struct dir_alias *alias);
void dir_account_info(const struct dir_account *a, struct store_account_info *ret);
int dir_load(struct directory *d, struct index *ix);

/* ---- mailboxes.c: mailboxes and subscribed names of accounts; under d->lock
 * ------------------------------------------------------------------------ */

/* By their bytes, "/" below all others: what lies beneath a name comes right behind it. */
int dir_name_cmp(struct span a, struct span b);
/* The place of the first one at or behind the name. */
size_t dir_boxes_from(const struct dir_account *a, struct span name);
size_t dir_subs_from(const struct dir_account *a, struct span name);
struct dir_mailbox *dir_box_named(const struct dir_account *a, struct span name);         /* or NULL */
struct dir_subscription *dir_subscription(const struct dir_account *a, struct span name); /* or NULL */
/* How many names it has: mailboxes, and names that are only subscribed to. */
size_t dir_names_count(const struct dir_account *a);
/* New, or known by its id and changed. Its name has to be free. */
struct dir_mailbox *dir_mailbox_put(struct directory *d, struct dir_account *a, uint64_t id,
                                    const struct record_mailbox_state *rec);
void dir_mailbox_rename(struct dir_mailbox *box, struct span name); /* dir_boxes_sort once all are renamed */
void dir_boxes_sort(struct dir_account *a);
/* A message with this UID, and others above it, are without \Seen. */
void dir_mailbox_unseen(struct dir_mailbox *box, uint32_t uid);
void dir_mailbox_detach(struct dir_mailbox *box);                    /* live -> removing */
void dir_mailbox_drop(struct directory *d, struct dir_mailbox *box); /* one being removed */
void dir_mailboxes_drop(struct directory *d, struct dir_account *a);
struct dir_subscription *dir_subscription_put(struct dir_account *a, uint64_t id, struct span name);
void dir_subscription_drop(struct dir_account *a, struct dir_subscription *sub);
int dir_load_mailboxes(struct directory *d, struct index *ix);

/* ---- grants.c: what accounts have beside their passwords; under d->lock
 * ------------------------------------------------------------------------ */

struct dir_grant *dir_grant(const struct dir_account *a, uint8_t kind, struct span name);
struct dir_grant *dir_certificate(struct directory *d, struct span sha256);
/* Must be none of that kind and name. */
void dir_grant_put(struct directory *d, struct dir_account *a, const struct record_grant *rec);
void dir_grant_drop(struct directory *d, struct dir_grant *g);
void dir_grants_drop(struct directory *d, struct dir_account *a); /* all of them */
int dir_load_grants(struct directory *d, struct index *ix);

/* ---- the queue between writer and apply
 * ---------------------------------------------------------------------- */

struct pending {
    uint64_t seq;
    uint16_t type;
    size_t offset; /* of its fields in batch.fields */
    size_t length;
    struct journal_place place;
};

struct batch {
    struct batch *next;
    struct buf fields; /* the records' fields, without prefixes and bodies */
    struct pending *records;
    size_t count, cap;
    int64_t born_ms;
};

/* A body file that no live message names any more; unlinked once that is checkpointed. */
struct dead_file {
    uint8_t id[16];
    uint64_t seq;
};

/* ---- commits.c: recent commit ids
 * ------------------------------------------------------------------------------ */

enum { COMMITS_MAX = 65536 };
struct commit_seen {
    uint8_t id[16];
    uint64_t message;
};
struct commits {
    struct map map; /* id -> commit_seen; under dir.lock */
    struct commit_seen *ring[COMMITS_MAX];
    size_t next;
};
void commits_init(struct commits *c, struct map_key key);
void commits_done(struct commits *c);
void commits_put(struct commits *c, const uint8_t id[16], uint64_t message);
const struct commit_seen *commits_get(const struct commits *c, const uint8_t id[16]);

/* ---- ops_queue.c: rows of the queue with changes that are not yet applied; the writer's own
 * ---------------------------------------------------------------------------------------------------- */

struct queue_head;
struct queue_heads {
    struct map map;                   /* message and recipient -> queue_head */
    struct queue_head *first, **tail; /* in order of their records */
};
void queue_heads_init(struct queue_heads *q, struct map_key key);
void queue_heads_done(struct queue_heads *q);

/* ---- news.c
 * ------------------------------------------------------------------------------------------------- */

/* What a transaction of apply has changed: mailboxes and their MODSEQ after it; UINT64_MAX: it is gone. */
struct news_item {
    uint64_t mailbox, modseq;
};
struct news_list {
    struct news_item *items;
    size_t count, cap;
};
void news_add(struct news_list *list, uint64_t mailbox, uint64_t modseq); /* modseq 0: none */

struct news {
    pthread_mutex_t lock;
    struct map watched; /* mailbox -> news_watch */
    void (*tell)(void *ctx, uint64_t mailbox, uint64_t modseq);
    void *ctx;
    struct news_item *told; /* apply's own */
    size_t told_cap;
};
void news_init(struct news *n, struct map_key key);
void news_done(struct news *n);
/* The transaction can be read now: tells who watches, and empties the list. On the thread of apply. */
void news_tell(struct news *n, struct news_list *list);

/* ---- apply.c
 * ------------------------------------------------------------------------------------------------- */

enum { APPLY_BOXES = 1024, APPLY_SEGMENTS = 64 };

struct box_delta {
    uint64_t mailbox, account, rec_seq, modseq;
    uint32_t uidnext;
    int64_t messages, bytes, unseen, deleted;
};

struct applier {
    struct index *ix;
    struct arena arena;
    struct box_delta boxes[APPLY_BOXES]; /* of the transaction so far, by linear probing */
    uint32_t used[APPLY_BOXES / 2];      /* places in it that are taken */
    size_t used_count;
    struct segment_delta {
        uint32_t segment;
        int64_t bytes;
    } segments[APPLY_SEGMENTS];
    size_t segment_count;
    uint64_t seq; /* of the record being applied, and its version */
    uint16_t version;
    bool live;              /* not at the start: what follows is gathered */
    struct dead_file *dead; /* found in this transaction */
    size_t dead_count, dead_cap;
    struct news_list news;
};
void applier_init(struct applier *ap, struct index *ix);
void applier_done(struct applier *ap);
int applier_begin(struct applier *ap);
int applier_record(struct applier *ap, uint64_t seq, uint16_t type, uint16_t version, struct span payload,
                   const struct journal_place *place);
int applier_commit(struct applier *ap, uint64_t applied_seq);
void applier_rollback(struct applier *ap);
/* What a filed copy of a submission is recognised by: its Message-ID and content sum; empty when one of them
 * is unknown. */
struct span filed_key(const uint8_t sum[STORE_SUM_BYTES], struct span message_id, struct arena *arena);
/* The record of a message lies in another place now. */
int applier_move(struct applier *ap, const struct index_message *row, const struct journal_place *place);
/* Brings the index up to the journal's durable end. */
int apply_journal(struct applier *ap, struct journal *j, struct store_opened *opened);

/* ---- compact.c
 * ------------------------------------------------------------------------------------------------- */

enum emit_kind {
    EMIT_MESSAGE,
    EMIT_GONE,
    EMIT_FLOOR,
    EMIT_ENTRIES,
    EMIT_QUEUE,
    EMIT_MAILBOX,
    EMIT_SUBSCRIPTION,
    EMIT_ACCOUNT,
    EMIT_DOMAIN,
    EMIT_ALIAS,
    EMIT_RETIRE,
    EMIT_ROLL /* close the open segment */
};

enum { EMIT_MAX = 512 };

/* What compaction asks the writer to write again; the state written is the one at that place of the journal.
 */
struct emit {
    enum emit_kind kind;
    struct store_op op;
    bool done;        /* under st->lock */
    uint64_t mailbox; /* GONE, ENTRIES: all of one mailbox */
    uint64_t segment_first, segment_last;
    size_t count;
    struct record_gone gone[EMIT_MAX];
    uint32_t uids[EMIT_MAX];
    uint64_t ids[EMIT_MAX];        /* QUEUE: messages, uids their recipients; FLOOR: mailboxes */
    uint64_t floors[EMIT_MAX];     /* FLOOR: the highest MODSEQ of the tombstones that will be forgotten */
    uint64_t accounts[EMIT_MAX];   /* MAILBOX, SUBSCRIPTION: whose */
    uint8_t states[EMIT_MAX];      /* MAILBOX: as found in the index */
    struct record_message message; /* MESSAGE: fields; prefixes and inline body are in `blobs` */
    struct span blobs;
    struct record_retire retire;
};

struct compactor;
struct compactor *compactor_new(struct store *st);
void compactor_free(struct compactor *c);

/* ---- the store
 * ------------------------------------------------------------------------------------------------- */

struct store {
    struct os_fs *fs;
    struct store_config config;
    struct store_seam seam;
    struct journal *journal;
    struct bodies *bodies;
    struct directory dir;
    struct commits commits;
    bool journal_read_only;

    /* the writer's own */
    struct index *writer_ix;
    struct arena writer_arena;
    struct batch *batch; /* being gathered */
    uint64_t batch_bytes;
    struct store_op *answers, **answers_tail; /* of this batch */
    struct store_op *parked, **parked_tail;
    uint64_t *removing; /* accounts and mailboxes whose mail is being removed */
    size_t removing_count, removing_cap;
    int64_t space_checked_ms;
    uint64_t round, commit_visit;
    struct queue_heads queue_heads;
    struct store_op *incoming; /* taken, not yet looked at */
    bool wake;                 /* under lock: something for the writer to look at */

    pthread_mutex_t lock;
    pthread_cond_t writer_cond, apply_cond, applied_cond, care_cond;
    struct store_op *submitted, **submitted_tail;
    struct batch *queue, **queue_tail; /* durable, not applied */
    struct batch *spare;
    uint64_t queue_records;
    unsigned waiters; /* readers waiting for apply */
    struct dead_file *dead_files;
    size_t dead_count, dead_cap;
    bool compact_wanted, compact_all;
    bool stopping, threads_running;
    pthread_t threads[4];
    size_t thread_count;

    struct applier applier;
    struct news news;
    pthread_mutex_t checkpoint_lock;
    struct index *checkpoint_ix;
    struct compactor *compactor;

    /* Of the configuration, what store_reconfigure may change. */
    _Atomic uint64_t reserve_bytes, message_bytes_max;
    _Atomic uint32_t compact_live_percent;

    _Atomic uint64_t applied_seq, checkpointed_seq, durable_seq;
    _Atomic uint64_t free_bytes, wal_bytes, body_memory, parked_count, queued_count;
    _Atomic uint64_t commit_count, record_count, batch_count, compacted_count;
    _Atomic bool accepting, dead, index_failing, compaction_blocked, compacting;
    void (*on_fatal)(void *ctx);
    void *on_fatal_ctx;
};

/* ops.c. Decides one operation: BRANT_OK when op->result holds its answer, BRANT_ETRYLATER when it has to
 * park until op->wait_seq is applied. */
int ops_evaluate(struct store *st, struct store_op *op, int64_t now_ms);
/* Appends one slice of each account being removed. 1 when something was appended. */
int ops_remove_slices(struct store *st, int64_t now_ms);
int ops_emit(struct store *st, struct emit *e); /* emit.c */
/* Its full state; the lists lie in the writer's arena. */
struct record_account ops_account(struct store *st, const struct dir_account *a);

struct record_mailbox_state ops_mailbox_state(const struct dir_mailbox *box); /* spans into the head */

void ops_removing_add(struct store *st, uint64_t id);
/* The mailbox of an operation that reads entries: BRANT_ETRYLATER when it has to park first. */
int ops_box_ready(struct store *st, struct store_op *op, struct dir_mailbox *box);
struct record_entry ops_entry(const struct dir_mailbox *box, const struct index_entry *row);

/* writer.c. Appends to the batch being gathered. */
int writer_append(struct store *st, uint16_t type, const union record *rec, const struct span *blobs,
                  size_t blob_count, bool use_reserve, uint64_t *ret_seq);
/* Syncs what is in the batch so far: what comes behind it in the batch is there only together with it. */
int writer_sync(struct store *st);
void batch_put(struct store *st, struct batch *b);
/* Brings the free-space answer up to date. */
void writer_check_space(struct store *st);

/* apply.c. Waits until seq is applied (runs apply itself without threads). BRANT_ETRYLATER: it takes too
 * long. */
int store_wait_applied(struct store *st, uint64_t seq);

/* query.c */
struct store_reader {
    struct store *st;
    struct index *ix;
    struct arena arena;
    uint32_t rows_max, uids_max, sorted_max, block_uids; /* query.h; a test makes them small */
    uint64_t many_mailbox, many_modseq;                  /* since then more than sorted_max have changed */
};
/* The record of a message, read from the journal and decoded; `verify` checks its checksum first. Spans point
 * into payload. BRANT_ENOTFOUND: compaction has moved it, look the row up again. */
int query_record(struct store *st, const struct index_message *row, bool verify, struct buf *payload,
                 struct arena *arena, struct record_message *ret, size_t *ret_fields_len);

/* body.c */
void store_append_free(struct store_op *op); /* the bodies of an APPEND */
struct store_body {
    struct store *st;
    uint64_t source;
    struct buf data;       /* while it fits inline_bytes_max */
    struct body_writer *w; /* once it does not */
    uint64_t bytes, counted;
    struct body_ref ref; /* once finished in a file */
    bool finished, in_file, committed;
    int err;
};

#endif
