/* For tests: the server engine with a small mail store in memory behind it, and as many sessions on it as are
 * wanted.
 *
 * alice@brant.test has the password brant-demo, and is who every session logs in as; password "later" fails
 * for the moment, "expired", "weak" and "denied" as they say. AUTHENTICATE knows PLAIN, and LOGIN in two
 * steps. Her mailboxes at first: INBOX, and those with a special use. Mailbox ids and UIDVALIDITY count up
 * from 1. */
#ifndef IMAP_RIG_H
#define IMAP_RIG_H

#include "imap/server.h"

enum { RIG_BOXES_MAX = 200, RIG_SESSIONS_MAX = 64 };

struct rig_message {
    uint32_t uid;
    uint64_t flags, modseq, email;
    int64_t time_ms, saved_ms;
    struct buf bytes, blob; /* blob: the structure */
};

struct rig_gone {
    uint32_t uid;
    uint64_t modseq;
};

struct rig_box {
    struct buf name;
    bool exists, subscribed;
    unsigned uses;
    uint64_t id, modseq;
    uint32_t uidvalidity, uidnext, recent_from;
    struct rig_message *messages;
    size_t count, cap;
    struct rig_gone *gone;
    size_t gone_count, gone_cap;
    struct buf keyword_names[IMAP_KEYWORDS_MAX];
    size_t keyword_count;
};

struct rig_store {
    struct rig_box boxes[RIG_BOXES_MAX]; /* in order of name */
    size_t box_count;
    uint64_t ids;
    uint32_t uidvalidities;
    struct rig *sessions[RIG_SESSIONS_MAX];
    size_t session_count;
    int64_t clock_ms;
    /* how it answers */
    uint32_t entries_max, read_max, ranges_max, store_max, boxes_max; /* at once; 0: all */
    bool no_structures;                                               /* entries come without */
    bool prefix;                     /* structures are those of the message behind its first line */
    enum imap_event_type fail_event; /* the next such event fails … */
    enum imap_failure fail_with;
    uint32_t fail_after; /* … after so many */
};

struct rig {
    struct rig_store *store;
    struct imap_server *s;
    struct buf out; /* everything the engine said */
    struct buf log; /* one line per event but BODY, ENTRIES, READ */
    bool closed, compressed;
    enum imap_close_reason reason;
    size_t memory_max;  /* the most the engine has held at a pause */
    size_t output_step; /* the peer takes so many bytes at a time; 0: all */
    uint64_t now_ms;
    uint64_t box; /* id of the one that is selected; 0: none */
    size_t keywords_told;
    /* an APPEND */
    struct rig_message pending[16];
    size_t pending_count;
    bool appending;
    struct buf append_to; /* its mailbox */
    struct buf sasl_user;
    uint64_t events, reads; /* how many there were */
};

void rig_store_init(struct rig_store *store);
void rig_store_done(struct rig_store *store);
struct rig_box *rig_box_find(struct rig_store *store, const char *name);
/* Puts a message into a mailbox, as a delivery would. */
void rig_deliver(struct rig_store *store, const char *box, struct span bytes);

/* The session greets; more extensions than the default offer: pass NULL for all. */
void rig_init(struct rig *r, struct rig_store *store, const struct imap_server_config *c,
              const struct imap_offer *offer);
void rig_done(struct rig *r);
/* Feeds bytes, answers everything, collects the output; other sessions hear of what changed. */
void rig_feed(struct rig *r, struct span in);
void rig_feed_str(struct rig *r, const char *text);
/* What was said since the last call, as text; valid until the next call. */
const char *rig_said(struct rig *r);

#endif
