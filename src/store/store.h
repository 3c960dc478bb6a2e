/* The store: everything durable, behind one header. Above it are only the glue of brant-store and the tests.
 *
 * Changes are operations (struct store_op): filled in by the caller, submitted, decided by the writer in
 * journal order, and answered by `done` only after their record is on disk. Reads go through a struct
 * store_reader and see everything that was answered before they began. Mail is never parsed here.
 *
 * Threads: store_threads_start gives the writer, apply, checkpoint and compaction a thread each. Without it
 * nothing runs by itself: the caller drives the store_*_step functions from one thread, in any order
 * (simulation, offline commands), and a read that needs something applied applies it itself.
 *
 * Times are milliseconds since 1970 UTC; sizes are octets. Addresses are local-part@domain, the local part
 * without quotes, the domain as the mail roles normalise it; they compare without regard to the case of
 * ASCII letters and otherwise byte by byte. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/arena.h"
#include "base/buf.h"
#include "os/fs.h"
#include "store/journal.h"

struct store;

/* What the store may not reach for by itself. */
struct store_seam {
    int64_t (*now_ms)(void *ctx);
    void (*random)(void *ctx, void *out, size_t len);
    void *ctx;
};

struct store_config {
    uint64_t segment_bytes;        /* journal segment size */
    uint64_t reserve_bytes;        /* free space below which mail is refused (DESIGN §4 rule 8) */
    uint64_t message_bytes_max;    /* largest body */
    uint64_t inline_bytes_max;     /* bodies up to this lie in the journal, larger ones in files */
    uint64_t staged_bytes_max;     /* bytes in staging/ in all; one source may have a quarter */
    uint64_t body_memory_max;      /* bytes of bodies waiting for their commit, in all */
    uint64_t wal_bytes_max;        /* a checkpoint runs when the index's log passes this */
    uint32_t apply_gather_ms;      /* how long apply waits for more */
    uint32_t apply_records_max;    /* records in one index transaction */
    uint32_t lag_records_max;      /* unapplied records at which the writer waits */
    uint32_t compact_live_percent; /* a closed segment with less live mail than this is compacted */
    int64_t gone_retention_ms;     /* how long an expunged UID is remembered (QRESYNC) */
    int64_t trace_retention_ms;    /* how long a commit is remembered after its message went */
    char delimiter;                /* user+detail; 0: none */
    char postmaster[321];          /* who gets postmaster@ where nobody has that name; empty: first account */
};
void store_config_default(struct store_config *ret);

/* Takes up reserve_bytes, message_bytes_max, compact_live_percent and delimiter of a running store; the rest
 * of config is not looked at. Any thread. */
void store_reconfigure(struct store *st, const struct store_config *config);

/* What opening found, for the log. */
struct store_opened {
    struct journal_recovery journal;
    uint64_t records_applied; /* brought into the index by this start */
    bool index_rebuilt;       /* it was missing, of another version, damaged or ahead of the journal */
    uint32_t records_damaged; /* among those applied: skipped, see store_check */
    uint32_t orphans_removed; /* staged or unreferenced bodies */
};

/* Opens the data directory behind fs (borrowed; must outlive the store), recovers, loads. BRANT_ESTATE:
 * another process has it. BRANT_EIO, BRANT_ECORRUPT, BRANT_EUNSUPPORTED (a newer format), BRANT_ENOSPACE. */
int store_open(struct os_fs *fs, const struct store_config *config, const struct store_seam *seam,
               struct store **ret, struct store_opened *ret_opened);
/* Stops the threads first. Operations not yet answered never are; they have to be valid
 * until here, and bodies of such commits are freed. Journal and index of a dead store stay as they are. */
void store_close(struct store *st);

int store_threads_start(struct store *st); /* BRANT_OK or BRANT_EIO */
void store_threads_stop(struct store *st);

/* Each does a bounded piece of work: 1 when it did something, 0 when there was nothing to do (yet), or a
 * negative code. BRANT_EIO from writer, apply or checkpoint is final: the process has to end (rule 6). */
int store_writer_step(struct store *st, int64_t now_ms);
int store_apply_step(struct store *st, int64_t now_ms);
int store_checkpoint_step(struct store *st, int64_t now_ms);
int store_compaction_step(struct store *st, int64_t now_ms);

/* True once a write or sync of journal or index failed: nothing will be acknowledged or written any more.
 * With threads on_fatal (may be NULL) is called once, on the writer thread. */
bool store_dead(const struct store *st);
void store_on_fatal(struct store *st, void (*on_fatal)(void *ctx), void *ctx);

/* ---- Bodies ---------------------------------------------------------------------------------------------
 * The octets of a message as received, in chunks, before its commit. One thread at a time per body. */

struct store_body;

/* `source` names who its staged bytes are counted against (any number the caller makes of a peer address). */
struct store_body *store_body_new(struct store *st, uint64_t source);
/* BRANT_ELIMIT: over message_bytes_max, or the source has too much in staging. BRANT_ENOSPACE: below the
 * reserve. BRANT_ETRYLATER: body_memory_max is reached; the bytes were not taken, the same call works later.
 * BRANT_EIO. Any other failure than BRANT_ETRYLATER leaves the body good for store_body_free only. */
int store_body_append(struct store_body *body, struct span bytes);
/* All bytes are there; a staged body is made durable. Needed before the body goes into a commit. */
int store_body_finish(struct store_body *body);
uint64_t store_body_bytes(const struct store_body *body);
uint64_t store_body_memory(const struct store_body *body); /* bytes of memory it holds now */
uint64_t store_body_memory_all(struct store *st);
/* Drops it, and a staged file with it. A body is consumed by a commit: once submitted, the op owns it. */
void store_body_free(struct store_body *body);

/* ---- Operations -----------------------------------------------------------------------------------------
 */

enum store_op_kind {
    STORE_OP_COMMIT,
    STORE_OP_FLAGS,
    STORE_OP_EXPUNGE,
    STORE_OP_COPY,
    STORE_OP_MOVE,
    STORE_OP_MAILBOX,
    STORE_OP_DOMAIN_ADD,
    STORE_OP_DOMAIN_REMOVE,
    STORE_OP_ACCOUNT_ADD,
    STORE_OP_ACCOUNT_REMOVE,
    STORE_OP_ACCOUNT_SET,
    STORE_OP_ALIAS_ADD,
    STORE_OP_ALIAS_REMOVE,
    STORE_OP_GRANT_ADD,
    STORE_OP_GRANT_REMOVE,
    STORE_OP_QUEUE_REMOVE,
    STORE_OP_APPEND,
    STORE_OP_INTERNAL, /* the store's own: compaction, account removal in slices */
    STORE_OP_COUNT
};

enum {
    STORE_RECIPIENTS_MAX = 1000,
    STORE_EXPANSION_MAX = 1000, /* local entries of one commit */
    STORE_ALIAS_DEPTH_MAX = 10,
    STORE_VARIANTS_MAX = 64,
    STORE_UIDS_MAX = 4096,   /* entries that one FLAGS, EXPUNGE or MOVE looks at; the rest is for the next */
    STORE_COPY_MAX = 16384,  /* entries of one COPY, which is all or nothing */
    STORE_APPEND_MAX = 1000, /* messages of one APPEND */
    STORE_MAILBOXES_MAX = 16000, /* of one account, names that are only subscribed to included */
    STORE_NAME_MAX = 1000,       /* bytes of a mailbox's name */
    STORE_KEYWORD_SHIFT = 8,     /* flags from this bit on are the mailbox's keywords */
    STORE_KEYWORDS_MAX = 56,     /* of one mailbox */
    STORE_KEYWORD_BYTES_MAX = 64,
    STORE_KEYWORDS_TEXT_MAX = STORE_KEYWORDS_MAX * (STORE_KEYWORD_BYTES_MAX + 1),
    STORE_ADDRESS_MAX = 320,
    STORE_VERIFIER_MAX = 1024,
    STORE_GRANTS_MAX = 64, /* of one account */
    STORE_GRANT_NAME_MAX = 320,
    STORE_GRANT_DATA_MAX = 128,
    STORE_SCRAM_SALT_BYTES = 16,
    STORE_SUM_BYTES = 16,
};

enum store_flag {
    STORE_FLAG_SEEN = 1,
    STORE_FLAG_ANSWERED = 2,
    STORE_FLAG_FLAGGED = 4,
    STORE_FLAG_DELETED = 8,
    STORE_FLAG_DRAFT = 16
};

struct store_rcpt {
    struct span address;
    uint32_t variant;
    uint64_t flags; /* of its entries */
    /* answer */
    int result;       /* BRANT_OK: delivered, or queued */
    bool queued;      /* it is a recipient elsewhere: a row of the queue */
    uint32_t entries; /* made for this recipient; 0 when an earlier one already reached the same mailboxes */
};

/* STORE_OP_COMMIT: one message for all its recipients, all or nothing. With `each` a recipient that can't be
 * resolved gets its result, one of store_resolve, and is left out of the envelope; the others get the
 * message, and it is BRANT_ETRYLATER when nobody is left. With a `submitter` recipients that are not local
 * become rows of the queue, in the same record; without one they are refused. When the submitter's account
 * has STORE_ACCOUNT_SENT_COPY, the same record also puts a copy, \Seen, into its Sent mailbox, whatever the
 * quota says; one that is missing is made first, by a record of its own. An account reached by several
 * recipients gets one copy, an address elsewhere one row. Quota is not asked here: that was decided by
 * store_resolve (rule 3 of DESIGN §3).
 *
 * BRANT_OK: durable and in the mailboxes. BRANT_ETRYLATER: a recipient can't be resolved any more, the
 * submitter's account is gone or disabled, or the store is busy; nothing was stored. BRANT_ENOSPACE: below
 * the reserve. BRANT_ELIMIT: the expansion is over STORE_EXPANSION_MAX or a field over its maximum.
 * BRANT_ESTATE: the body is not finished. An id that was committed before answers BRANT_OK with `duplicate`,
 * and nothing is stored twice; results of single recipients are not remembered. */
struct store_commit {
    uint8_t id[16];
    uint8_t session[16];
    struct span source, protocol, helo;   /* text, at most 64, 32 and 255 bytes */
    struct span reverse_path;             /* empty: the null reverse-path */
    struct span message_id;               /* of the header, for trace; may be empty; at most 998 bytes */
    struct span structure;                /* opaque; at most 65,536 bytes */
    struct span tls;                      /* version and cipher, at most 64 bytes; empty: in clear */
    uint8_t content_sum[STORE_SUM_BYTES]; /* of the body behind the header; zero: unknown */
    uint64_t submitter;                   /* account that sends it; 0: mail from elsewhere */
    bool each;                            /* LMTP: recipients stand alone */
    const struct span *prefixes;          /* one per variant, at most 65,536 bytes each */
    size_t prefix_count;                  /* 1 to STORE_VARIANTS_MAX */
    struct store_rcpt *rcpts;
    size_t rcpt_count;
    struct store_body *body;
    /* answer */
    uint64_t message; /* its id for life */
    bool duplicate;
    uint32_t queued; /* rows of the queue made */
};

/* Keywords are named in operations and stored as bits of the mailbox they are in: the first one is bit
 * STORE_KEYWORD_SHIFT. The writer gives a new name its place; a table only grows, so a bit keeps its meaning.
 * Names compare without regard to the case of ASCII letters. A keyword for which there is no place any more
 * is left out, and `keywords_full` says so. COPY and MOVE carry keywords over by name. */
struct store_keyword_list {
    const struct span *names; /* each 1 to STORE_KEYWORD_BYTES_MAX bytes, no space */
    size_t count;
};

/* STORE_OP_APPEND: messages put into one mailbox of its owner (IMAP APPEND, and later others), all or none.
 * When `unless_filed`, there is one message, and the server has filed a copy of the same submission there
 * (same Message-ID, same content_sum, within the last seven days, still there), nothing is stored and the
 * answer is that copy's UID with `filed`. BRANT_ENOTFOUND: no such account or mailbox. BRANT_EREFUSED: over
 * quota. BRANT_ENOSPACE, BRANT_ELIMIT, BRANT_ESTATE as COMMIT. The bodies are consumed, as by a commit. `id`:
 * as that of a commit, for store_commit_query, where there is one message; otherwise it is not remembered. */
struct store_appended {
    uint64_t flags;
    struct store_keyword_list keywords;
    int64_t time_ms; /* internal date; 0: now */
    struct span message_id, structure;
    uint8_t content_sum[STORE_SUM_BYTES];
    struct store_body *body;
    /* answer */
    uint64_t message;
    uint32_t uid;
};
struct store_append {
    uint64_t account, mailbox; /* 0: the INBOX */
    uint8_t id[16];
    uint8_t session[16];
    bool unless_filed;
    struct store_appended *messages;
    size_t count; /* 1 to STORE_APPEND_MAX */
    /* answer */
    uint32_t uidvalidity;
    uint64_t modseq;
    bool filed, keywords_full;
};

enum store_flag_action { STORE_FLAGS_ADD, STORE_FLAGS_REMOVE, STORE_FLAGS_REPLACE };

/* UIDs, both ends included; in lists ascending and apart. */
struct store_range {
    uint32_t first, last;
};
/* Where an answer writes ranges: the caller's array. What is more than `max` ranges ends the slice early. */
struct store_range_list {
    struct store_range *r;
    size_t max, count;
};

/* FLAGS, EXPUNGE, COPY, MOVE of the entries in `ranges`. One operation looks at no more than STORE_UIDS_MAX
 * entries and says in done_to how far it came: the caller submits the rest. COPY is all or nothing
 * (BRANT_ELIMIT: more than STORE_COPY_MAX). What one operation changes has one MODSEQ, which no other
 * operation has.
 * BRANT_ENOTFOUND: no such account or mailbox. BRANT_EREFUSED: over quota (COPY). BRANT_ESYNTAX: the ranges
 * are not in order. */
struct store_change {
    uint64_t account, mailbox; /* 0: the INBOX */
    uint8_t session[16];
    const struct store_range *ranges;
    size_t range_count;
    uint64_t flags_all;                 /* entries without all of these are passed over (EXPUNGE: \Deleted) */
    uint8_t action;                     /* FLAGS: enum store_flag_action */
    uint64_t flags;                     /* FLAGS: system flags */
    struct store_keyword_list keywords; /* FLAGS */
    bool has_unchanged_since;           /* FLAGS: entries with a higher MODSEQ are passed over (`modified`) */
    uint64_t unchanged_since;
    uint64_t target; /* COPY, MOVE: mailbox */
    /* answer */
    struct store_range_list touched;  /* changed, removed, copied; r NULL: not wanted */
    struct store_range_list modified; /* passed over because of unchanged_since; r NULL: not wanted */
    uint32_t done_to;                 /* everything up to this UID has been dealt with; UINT32_MAX: all */
    uint32_t changed;                 /* entries */
    uint64_t modseq_before;           /* of the mailbox when it was decided */
    uint64_t modseq;                  /* of what was changed, COPY: in the target; 0: nothing was */
    uint32_t target_first;            /* COPY, MOVE: UIDs in the target are consecutive from here; 0: none */
    uint32_t target_uidvalidity;
    bool keywords_full;
};

/* STORE_OP_MAILBOX. Names are UTF-8 with "/" between the levels, checked by the caller; they compare byte by
 * byte. `uses` are bits that are opaque here; 0: none.
 * CREATE: with the levels above that are missing. BRANT_EEXISTS; BRANT_EREFUSED: another mailbox has one of
 *   the uses; BRANT_ELIMIT: STORE_MAILBOXES_MAX. What comes under an old name again is another mailbox, with
 * a higher UIDVALIDITY; a subscription of the name stays. DELETE: not what lies beneath. Its mail goes in the
 * background. BRANT_ENOTFOUND; BRANT_EREFUSED: the INBOX. RENAME: with all that lies beneath, in one record;
 * missing levels above the target are made. Ids, UIDVALIDITY, UIDs and uses stay; subscriptions stay with the
 * names. BRANT_ENOTFOUND, BRANT_EEXISTS (the target, or something beneath it), BRANT_EREFUSED: the INBOX, or
 * into itself; BRANT_ELIMIT: a name becomes too long. SUBSCRIBE, UNSUBSCRIBE: of a name, whether there is
 * such a mailbox or not. No error when it is so already. All: BRANT_ENOTFOUND (the account), BRANT_ESYNTAX (a
 * name that is empty or too long). */
enum store_mailbox_action {
    STORE_MAILBOX_CREATE,
    STORE_MAILBOX_DELETE,
    STORE_MAILBOX_RENAME,
    STORE_MAILBOX_SUBSCRIBE,
    STORE_MAILBOX_UNSUBSCRIBE
};
struct store_mailbox_op {
    uint64_t account;
    uint8_t action;
    struct span name, target;
    uint32_t uses;
    uint64_t mailbox; /* answer: CREATE */
};

enum store_account_option {
    STORE_ACCOUNT_ENABLED = 1,
    STORE_ACCOUNT_ADMIN = 2,     /* gets postmaster@ where nobody has that name */
    STORE_ACCOUNT_SENT_COPY = 4, /* what it submits is filed in its Sent mailbox */
    STORE_ACCOUNT_MAILBOXES = 8  /* the mailboxes an account begins with were made, and subscribed to */
};
enum store_account_field {
    STORE_SET_VERIFIER = 1,
    STORE_SET_QUOTA = 2,
    STORE_SET_OPTIONS = 4, /* those in option_mask */
    STORE_SET_SCRAM = 8,
    STORE_SET_IF_VERIFIER =
        16 /* only while the verifier still is `expected`, else BRANT_ESTATE: an upgrade */
};

/* What SCRAM-SHA-256 (RFC 5802) keeps. The salt is the account's for life, so that its app passwords, which
 * have keys of their own, can be tried in the same exchange. */
struct store_scram {
    uint8_t salt[STORE_SCRAM_SALT_BYTES];
    uint32_t iterations; /* 0: there are no keys yet (the salt is there all the same) */
    uint8_t stored_key[32], server_key[32];
};

struct store_default_mailbox {
    struct span name;
    uint32_t uses;
};

/* ACCOUNT_ADD: BRANT_EEXISTS, BRANT_ENOTFOUND (the domain), BRANT_ESYNTAX.
 * ACCOUNT_SET (`set` says what): BRANT_ENOTFOUND. A new verifier drops the SCRAM keys of the old password
 * unless new ones come with it. ADD without a salt (all zero) makes one; options begin as enabled alone.
 * ACCOUNT_REMOVE: answered when the account can't be used any more; its mail goes in the background. */
struct store_account {
    struct span address;
    uint32_t set;             /* enum store_account_field */
    uint32_t options;         /* enum store_account_option */
    uint64_t quota_bytes;     /* 0: unlimited */
    uint32_t option_mask;     /* SET_OPTIONS: which bits of options count; the others stay */
    struct span verifier;     /* opaque; empty: nobody can log in */
    struct span expected;     /* SET_IF_VERIFIER */
    struct store_scram scram; /* ADD: the salt; SET_SCRAM: the keys (no iterations: none any more) */
    const struct store_default_mailbox *mailboxes; /* ADD: made with it, beside the INBOX */
    size_t mailbox_count;
    uint64_t account; /* answer: its id */
};

/* What an account has beside its password. GRANT_ADD: BRANT_EEXISTS (kind and name), BRANT_ENOTFOUND (the
 * account), BRANT_ELIMIT, BRANT_ESYNTAX (the name or the data). GRANT_REMOVE: BRANT_ENOTFOUND. A certificate
 * belongs to one account: BRANT_EEXISTS.
 */
enum store_grant_kind {
    STORE_GRANT_APP_PASSWORD = 1, /* data: opaque to the store, its verifier and keys */
    STORE_GRANT_CERTIFICATE = 2,  /* data: SHA-256 of the certificate */
    STORE_GRANT_SEND_AS = 3       /* name: the address, or "@domain"; no data */
};
struct store_grant {
    uint8_t kind;
    struct span name;
    uint32_t protocols;  /* bits, opaque to the store */
    uint64_t created_ms; /* filled in by the writer */
    uint64_t expires_ms; /* 0: never */
    struct span data;
};
struct store_grant_op {
    struct span address;      /* of the account */
    struct store_grant grant; /* REMOVE: kind and name count */
};

/* QUEUE_REMOVE: BRANT_ENOTFOUND. The message goes when nothing else holds it. */
struct store_queue_op {
    uint64_t message;
    uint32_t recipient;
};

/* DOMAIN_ADD: BRANT_EEXISTS, BRANT_ESYNTAX. DOMAIN_REMOVE: BRANT_ENOTFOUND, BRANT_ESTATE while it has
 * accounts or aliases. */
struct store_domain {
    struct span name;
};

/* ALIAS_ADD: BRANT_EEXISTS, BRANT_ENOTFOUND (the alias's domain is not ours, or nobody has the target's
 * name), BRANT_EREFUSED (the target is not local: there is no relaying), BRANT_ESYNTAX.
 * "@domain" is the catch-all. ALIAS_REMOVE with an empty target: all targets. BRANT_ENOTFOUND. */
struct store_alias {
    struct span address, target;
};

/* One operation. The caller owns it and all that it points to until done is called. */
struct store_op {
    enum store_op_kind kind;
    void (*done)(struct store_op *op); /* on the thread of the writer; short, never blocks */
    void *ctx;                         /* the caller's */
    union {
        struct store_commit commit;
        struct store_change change;
        struct store_mailbox_op mailbox;
        struct store_account account;
        struct store_domain domain;
        struct store_alias alias;
        struct store_grant_op grant;
        struct store_queue_op queue;
        struct store_append append;
        void *internal;
    };
    /* answer */
    int result;
    const char *reason; /* a static phrase for people when refused, or NULL */
    uint64_t seq;       /* of its record; 0: none was needed */
    /* the store's own */
    struct store_op *next;
    uint64_t wait_seq;
    bool parked;
};

void store_submit(struct store *st, struct store_op *op); /* any thread */

/* ---- Questions that need no reader; any thread ------------------------------------------------------------
 */

struct store_target {
    uint64_t account;
    char address[STORE_ADDRESS_MAX + 1]; /* of the account */
    char detail[65];                     /* user+detail: the detail, cut to 64 bytes; or empty */
};

/* Where mail for an address goes, and whether a message of `size` octets may be accepted for it now.
 * Writes at most max targets; ret_count gets how many there are.
 * BRANT_OK. BRANT_ENOTFOUND: the domain is ours, nobody has that name (550 5.1.1). BRANT_EREFUSED: not one of
 * our domains (550 5.7.1). BRANT_ESYNTAX. BRANT_ELIMIT: the aliases go deeper than STORE_ALIAS_DEPTH_MAX or
 * reach more than STORE_EXPANSION_MAX accounts. BRANT_ESTATE: every account it reaches is over quota with
 * this message (452 4.2.2 or 552 5.2.2). BRANT_ENOSPACE: below the reserve (452 4.3.1).
 * "postmaster", with our domain or alone, always reaches somebody while there is an account (RFC 5321 4.5.1);
 * a disabled account still gets mail. */
int store_resolve(struct store *st, struct span address, uint64_t size, struct store_target *targets,
                  size_t max, size_t *ret_count);

bool store_accepting(struct store *st); /* false: below the reserve, mail is refused */

/* BRANT_OK: committed. BRANT_ENOTFOUND: not; and it never will be unless it is submitted again. To be asked
 * when no operation with this id is under way. Ids are remembered at least for the last 65,536 commits. */
int store_commit_query(struct store *st, const uint8_t id[16]);

struct store_account_info {
    uint64_t account, inbox;
    uint64_t used_bytes, messages, quota_bytes;
    int64_t created_ms;
    uint32_t options;
    char address[STORE_ADDRESS_MAX + 1];
    struct store_scram scram; /* wipe after use */
    uint32_t grants;          /* how many */
    size_t verifier_len;
    uint8_t verifier[STORE_VERIFIER_MAX]; /* wipe after use */
};
/* The account of that very address (user+detail and aliases don't count: this is for logging in).
 * BRANT_ENOTFOUND. */
int store_account_find(struct store *st, struct span address, struct store_account_info *ret);
int store_account_get(struct store *st, uint64_t account, struct store_account_info *ret);

/* The grants of an account, in order of kind and name: copies in the arena. kind 0: all. BRANT_ENOTFOUND,
 * BRANT_ELIMIT (the arena). */
int store_grants_get(struct store *st, uint64_t account, uint8_t kind, struct arena *arena,
                     struct store_grant **ret, size_t *ret_count);
/* The account a client certificate belongs to. BRANT_ENOTFOUND. */
int store_account_by_certificate(struct store *st, const uint8_t sha256[32], uint64_t *ret_account,
                                 uint64_t *ret_expires_ms, uint32_t *ret_protocols);
/* May this account use this address as a sender: it is its own, or mail for it reaches the account
 * (user+detail, aliases, a catch-all), or there is a SEND_AS grant that has not expired. BRANT_OK,
 * BRANT_EREFUSED, BRANT_ENOTFOUND (the account). */
int store_may_send_as(struct store *st, uint64_t account, struct span address);

/* Lists in byte order of the name, beginning behind `after` (empty: at the start); return the count, at most
 * max. domain empty: all. They go over the whole directory: for people, not for each message. */
size_t store_accounts_list(struct store *st, struct span domain, struct span after,
                           struct store_account_info *ret, size_t max);
struct store_domain_info {
    char name[256];
    uint64_t accounts, aliases;
};
size_t store_domains_list(struct store *st, struct span after, struct store_domain_info *ret, size_t max);
struct store_alias_info {
    char address[STORE_ADDRESS_MAX + 1], target[STORE_ADDRESS_MAX + 1];
};
size_t store_aliases_list(struct store *st, struct span domain, struct span after_address,
                          struct span after_target, struct store_alias_info *ret, size_t max);

struct store_status {
    uint64_t last_seq, durable_seq, applied_seq, checkpointed_seq;
    uint64_t domains, accounts, aliases, messages, mail_bytes;
    uint64_t segments, journal_bytes, live_bytes;
    uint64_t free_bytes, reserve_bytes, body_memory_bytes;
    uint64_t commits, records, batches, compacted_segments; /* since the start */
    uint64_t parked_ops;
    uint64_t queued;                                                    /* rows of the queue */
    bool accepting, dead, read_only, index_failing, compaction_blocked; /* blocked: a damaged segment */
};
void store_status_get(struct store *st, struct store_status *ret);

/* ---- Reading --------------------------------------------------------------------------------------------
 * One reader per thread. Every call waits until all that was acknowledged for the account is applied;
 * BRANT_ETRYLATER when that takes more than five seconds. Other answers: BRANT_ENOTFOUND, BRANT_EIO. */

struct store_reader;
int store_reader_new(struct store *st, struct store_reader **ret);
void store_reader_free(struct store_reader *r);

struct store_mailbox_info {
    uint64_t mailbox;
    uint32_t uidvalidity, uidnext;
    uint64_t modseq, messages, bytes;
    uint64_t unseen, deleted; /* messages without \Seen, with \Deleted */
    uint32_t uses;
    uint32_t
        recent_from; /* no session was given messages from this UID on as \Recent; uidnext: none are left */
    uint32_t recent; /* how many these are */
};
/* mailbox 0: the INBOX. */
int store_mailbox_get(struct store_reader *r, uint64_t account, uint64_t mailbox,
                      struct store_mailbox_info *ret);
int store_mailbox_find(struct store_reader *r, uint64_t account, struct span name,
                       struct store_mailbox_info *ret);
/* The names of its keywords in order of their bits, separated by a space. */
int store_keywords_get(struct store_reader *r, uint64_t account, uint64_t mailbox,
                       char ret[STORE_KEYWORDS_TEXT_MAX + 1], size_t *ret_count);
/* UID of the first message without \Seen; 0: none. */
int store_first_unseen(struct store_reader *r, uint64_t account, uint64_t mailbox, uint32_t *ret_uid);
/* Messages from this UID on that are in the mailbox: RECENT of STATUS. */
int store_count_from(struct store_reader *r, uint64_t account, uint64_t mailbox, uint32_t uid,
                     uint32_t *ret_count);
/* Gives a session what is \Recent: messages from *ret_from on, to nobody else from now on (0: none). Not kept
 * over a restart of the store: what came before it is not recent any more. */
int store_recent_claim(struct store_reader *r, uint64_t account, uint64_t mailbox, uint32_t *ret_from);

/* The account's mailboxes, and the names that are only subscribed to, in the order of their bytes with "/"
 * below all others, behind `after` (empty: from the start). Names live in the arena; BRANT_ELIMIT: it is
 * full. Fewer rows than max: there are no more. */
struct store_mailbox_row {
    struct span name;
    bool exists, subscribed;
    struct store_mailbox_info info; /* where it exists */
};
int store_mailboxes_list(struct store_reader *r, uint64_t account, struct span after, struct arena *arena,
                         struct store_mailbox_row *ret, size_t max, size_t *ret_count);

struct store_entry {
    uint32_t uid, variant;
    uint64_t size; /* octets of the message as read: prefix and body */
    uint64_t flags, modseq, message;
    int64_t time_ms;
    int64_t saved_ms; /* when it came into this mailbox; 0: unknown */
    struct span
        structure; /* store_entries_read, where it was asked for: in the arena; empty: there is none */
};
/* Entries with a UID over after_uid in order; the count may be less than max only at the end. */
int store_entries_list(struct store_reader *r, uint64_t account, uint64_t mailbox, uint32_t after_uid,
                       struct store_entry *ret, size_t max, size_t *ret_count);

/* The same with a choice: of the entries in `ranges`, those with all of flags_all and none of flags_none,
 * that have changed after modseq (0: all). At most max, and structures of at most structure_bytes together,
 * but at least one. A slice also ends when it has looked at very many rows. *ret_done_to as in store_change.
 * A record that cannot be read any more gives an entry without a structure. */
struct store_entries_query {
    const struct store_range *ranges;
    size_t range_count;
    uint64_t flags_all, flags_none, modseq;
    bool structures;
    size_t structure_bytes;
};
int store_entries_read(struct store_reader *r, uint64_t account, uint64_t mailbox,
                       const struct store_entries_query *q, struct arena *arena, struct store_entry *ret,
                       size_t max, size_t *ret_count, uint32_t *ret_done_to);

/* The UIDs that are there, from `first` to `last`, as ranges. *ret_done_to as above. */
int store_uids_list(struct store_reader *r, uint64_t account, uint64_t mailbox, uint32_t first, uint32_t last,
                    struct store_range_list *ret, uint32_t *ret_done_to);

/* Which UIDs in `ranges` were expunged after modseq. Where the mailbox does not remember that far back: the
 * gaps between the UIDs that are there, which are more. */
int store_vanished(struct store_reader *r, uint64_t account, uint64_t mailbox,
                   const struct store_range *ranges, size_t range_count, uint64_t modseq,
                   struct store_range_list *ret, uint32_t *ret_done_to);

/* What has happened in a mailbox since `modseq`. */
struct store_changes {
    /* asked */
    uint64_t modseq;
    uint32_t uid;       /* arrived: UIDs from here on */
    bool want_vanished; /* … those expunged after vanished_modseq, from vanished_from on, below uid */
    uint64_t vanished_modseq;
    uint32_t vanished_from;
    /* answer */
    struct store_range_list arrived, vanished;
    uint64_t now_modseq; /* the answer holds for the mailbox as it was then; of several slices the lowest */
    uint32_t uidnext;    /* arrived is complete below this */
    uint32_t vanished_to;
    bool flags_changed; /* of some entry below uid */
    bool more;
};
int store_changes(struct store_reader *r, uint64_t account, uint64_t mailbox, struct store_changes *c);

/* ---- News -----------------------------------------------------------------------------------------------
 * While a mailbox is watched (counted), `news` is told of every change of it: on the thread of apply, when
 * the change can be read; at most once per transaction. modseq UINT64_MAX: the mailbox is gone. Short, never
 * blocks. Without threads: from the step that applies. BRANT_ENOTFOUND. */
int store_watch(struct store *st, uint64_t account, uint64_t mailbox);
void store_unwatch(struct store *st, uint64_t mailbox); /* gone already: nothing */
void store_on_news(struct store *st, void (*news)(void *ctx, uint64_t mailbox, uint64_t modseq), void *ctx);

/* One message, held open for reading in pieces. Its bytes are verified against their checksums: the journal
 * record when it is opened, a body file block by block as it is read. BRANT_ECORRUPT: this message is
 * damaged, others are not touched by it. It stays readable while held, expunged or compacted or not. */
struct store_message;
int store_message_open(struct store_reader *r, uint64_t account, uint64_t mailbox, uint32_t uid,
                       struct store_message **ret);
uint64_t store_message_bytes(const struct store_message *m);
struct span store_message_structure(const struct store_message *m); /* as committed; lives as long as m */
/* Up to len bytes from the offset; ret_len is less only at the end. BRANT_ECORRUPT, BRANT_EIO. */
int store_message_read(struct store_message *m, uint64_t offset, void *data, size_t len, size_t *ret_len);
void store_message_close(struct store_message *m);

/* The queue: a row for each recipient elsewhere whose fate is open, in order of message and recipient, behind
 * the row named. address: of the sender, of the recipient, or "@domain" of a recipient; empty: all. Until
 * there is a relay every row is STORE_QUEUE_HELD. Strings live in the arena; BRANT_ELIMIT: it is full.
 * Addresses are compared without regard to case. Fewer rows than max: there are no more. docs/queue.md. */
enum store_queue_state { STORE_QUEUE_HELD = 1 };
struct store_queue_row {
    uint64_t message;
    uint32_t recipient; /* index in the envelope, without those that `each` left out */
    uint8_t commit[16];
    uint8_t state;    /* enum store_queue_state */
    uint64_t account; /* the submitter */
    int64_t created_ms;
    uint64_t bytes;
    struct span sender, address;
};
int store_queue_list(struct store_reader *r, struct span address, uint64_t after_message,
                     uint32_t after_recipient, struct arena *arena, struct store_queue_row *ret, size_t max,
                     size_t *ret_count);

/* The story of messages, newest first. The query is a commit or session id (32 hexadecimal digits), a
 * Message-ID with its angle brackets, or an address: sender, recipient or account. before_seq: only records
 * before that number (0: from the newest). Looks at no more than 20,000 messages per call; *ret_next is where
 * to go on, 0 at the end. Strings live in the arena; a full arena ends the slice early. */
struct store_trace_row {
    uint64_t seq;
    int64_t time_ms;
    uint8_t commit[16], session[16];
    bool present; /* at least one copy is still in a mailbox, or a row in the queue */
    uint64_t bytes;
    uint64_t submitter; /* account; 0: mail from elsewhere */
    struct span source, protocol, helo, tls, reverse_path, message_id;
    /* "address" or "address -> account/uid" for each copy; "address (held)" and "address (removed from the
     * queue)" for recipients elsewhere; "(filed) -> account/uid" for what no recipient made: the sender's
     * copy, an APPEND. Separated by ", ". */
    struct span recipients;
};
int store_trace(struct store_reader *r, struct span query, uint64_t before_seq, struct arena *arena,
                struct store_trace_row *ret, size_t max, size_t *ret_count, uint64_t *ret_next);

/* ---- Care -----------------------------------------------------------------------------------------------
 */

struct store_checked {
    uint64_t messages, entries, records, bodies, problems;
};
/* Verifies the index against the journal; deep: every record and body byte as well. problem is called once
 * per finding with a line of text. Runs beside everything else, on the caller's thread and reader. */
int store_check(struct store_reader *r, bool deep, void (*problem)(void *ctx, const char *text), void *ctx,
                struct store_checked *ret);

/* Asks for compaction: of every closed segment, the open one closed first (all), or of the wasteful ones.
 * Done by store_compaction_step in the background; store_compacting tells when it ended. */
void store_compact(struct store *st, bool all);
bool store_compacting(struct store *st);

/* Makes the index anew from the journal; no store may have the directory open. */
int store_rebuild(struct os_fs *fs, const struct store_config *config, const struct store_seam *seam,
                  struct store_opened *ret_opened);

#endif
