/* What the files of the server engine share; nobody else includes it.
 *
 * A command goes through stages: it is gathered (READY), carried out (RUN: the step function of its job,
 * again and again, each time as far as room and answers allow), what is new in the mailbox is told (SYNC),
 * and the tagged response is written (REPLY). */
#ifndef IMAP_SERVER_INTERNAL_H
#define IMAP_SERVER_INTERNAL_H

#include "base/arena.h"
#include "imap/fetch.h"
#include "imap/frame.h"
#include "imap/list.h"
#include "imap/preview.h"
#include "imap/search.h"
#include "imap/server.h"
#include "imap/text.h"
#include "imap/view.h"
#include "mime/decode.h"
#include "mime/parser.h"

enum {
    TAG_BYTES_MAX = 128,
    USER_BYTES_MAX = 255,
    PASSWORD_BYTES_MAX = 512,
    SKIP_BYTES_MAX = 65536,      /* of a command that is refused: more of it is the end */
    ARENA_BYTES_MAX = 2 << 20,   /* for what a command is parsed into */
    ROOM_COMMAND = 12 * 1024,    /* room for any response that is not streamed */
    ROOM_ITEM = 6 * 1024,        /* … for one FETCH item that is not */
    ROOM_NUMBER = 64,            /* … for a number in a list */
    ITEM_BYTES_MAX = 4 << 20,    /* a FETCH item that is made before it is sent */
    COLLECT_BYTES_MAX = 16384,   /* decoded text that need not be read twice */
    STRUCTURE_BYTES_MAX = 65536, /* a recorded structure */
    STRUCTURE_ARENA_MAX = 4 << 20,
    RECENT_RANGES_MAX = 4096,
    RESULT_RANGES_MAX = 65536, /* of COPYUID, MODIFIED */
    OWN_MODSEQS_MAX = 8,
    LIST_COUNT = 32 /* mailboxes asked for at once */
};

enum phase {
    STRANGER = 1,
    AUTHENTICATED = 2,
    SELECTED = 4,
    ENDED = 8,
};

enum awaited {
    NOTHING,
    GREETING,
    STARTTLS_ANSWER,
    TLS_START,
    COMPRESS_START,
    LOGIN_ANSWER,
    AUTH_ANSWER,
    DONE_ANSWER, /* imap_server_done */
    LIST_ANSWER,
    STATUS_ANSWER,
    CREATED_ANSWER,
    OPENED_ANSWER,
    ENTRIES_ANSWER,
    READ_ANSWER,
    STORED_ANSWER,
    EXPUNGED_ANSWER,
    COPIED_ANSWER,
    CHANGES_ANSWER,
    VANISHED_ANSWER,
    COMMIT_ANSWER,
};

enum stage { READY, RUN, SYNC, REPLY, IDLING };

/* What a command does when it is not done at once. */
struct imap_job {
    /* Goes on. IMAP_EVENT_MORE: not at the end, but there is nothing to say; call again. */
    enum imap_event_type (*step)(struct imap_server *s, struct imap_event *ret);
    /* The answer that was awaited was a failure. NULL: finish with what imap_failure_text says. */
    void (*failed)(struct imap_server *s, enum imap_failure failure);
    void (*release)(struct imap_server *s);       /* frees s->run; NULL: free() */
    size_t (*bytes)(const struct imap_server *s); /* what s->run holds; NULL: too little to count */
};

/* "OK [code sets] text", tagged or not. The sets may be long and are written as room allows. */
struct imap_reply {
    const char *condition;   /* NULL: there is none */
    struct buf code;         /* without brackets; empty: none */
    struct imap_set sets[2]; /* behind the code, one space before each */
    unsigned set_count;
    bool modseq; /* [HIGHESTMODSEQ] once all is told */
    const char *text;
    unsigned step;
    size_t at;
};

/* Entries being looked at, with the texts of their structures. */
struct imap_slice {
    struct imap_entry entries[IMAP_ENTRIES_MAX];
    size_t count, at;
    struct buf text;
    uint32_t done_to;
    bool given; /* the answer has come */
};

/* The structure of the message being looked at. */
struct imap_message {
    uint32_t uid; /* 0: none */
    bool ready, failed;
    struct mime_structure s;
    struct arena arena;
    struct mime_parser *parser; /* it is read through */
    struct buf blob;
    uint64_t pos;
};

/* Bytes of a message on their way through a filter into the output. */
enum imap_body_mode { BODY_RAW, BODY_FIELDS, BODY_DECODED };
enum imap_body_step { BODY_NONE, BODY_COUNT, BODY_EMIT };
struct imap_body {
    enum imap_body_mode mode;
    enum imap_body_step step;
    struct imap_extent extent;
    uint64_t pos;         /* read so far */
    uint64_t skip, limit; /* of what comes out of the filter */
    uint64_t total;       /* that came out of it */
    struct imap_fields fields;
    struct mime_decoder decoder;
    struct buf piece, collected;
    bool nul, failed, collected_all;
};

/* VANISHED (EARLIER): what was expunged after a MODSEQ, among the UIDs of a set. */
struct imap_earlier {
    uint64_t modseq;
    struct imap_set asked, told; /* told: one answer */
    size_t at, told_at;
    uint32_t told_to;
    bool given, line_open;
};

enum imap_fetch_step {
    FETCH_ASK,
    FETCH_SLICE, /* entries have come */
    FETCH_SEEN,  /* \Seen was asked to be set */
    FETCH_BEGIN, /* the next entry */
    FETCH_ITEM,  /* the next item of it */
    FETCH_DRAIN, /* what stands in `item` goes out, then the body */
    FETCH_PREVIEW,
    FETCH_END
};

/* FETCH responses for a set of messages: of FETCH itself, behind STORE, and for what others changed. */
struct imap_fetch_run {
    struct imap_fetch fetch;
    struct imap_set targets; /* UIDs; those before `at` are done */
    size_t at;
    bool uid, modseq; /* said with every response */
    bool quiet_own;   /* changes this session made itself are not told */
    bool mark_seen;
    uint64_t changed_since;
    uint32_t expected, got;
    bool gone, unknown_cte, failed; /* something could not be given */
    enum imap_fetch_step step;
    size_t item_at;
    bool any;                 /* an item was written in this response */
    uint64_t told;            /* of the fields, in this response: IMAP_ENTRY_FLAGS, _MODSEQ */
    struct imap_set seen_now; /* messages of the slice that got \Seen */
    size_t seen_at;
    struct buf item; /* what stands before the body's bytes, or the whole item */
    struct imap_body body;
    struct imap_preview preview;
    struct imap_text text; /* of the preview */
    uint64_t text_pos, text_end;
};

/* The selected mailbox. */
struct imap_selected {
    struct buf name;
    uint64_t mailbox;
    struct imap_view view;
    struct imap_set recent, saved;
    struct imap_keywords keywords; /* the names are in keyword_text */
    struct buf keyword_text;
    bool keywords_full, keywords_due; /* the client does not know them yet */
    bool read_only;
    uint32_t uidvalidity, uidnext;
    uint64_t modseq;          /* told up to here: arrivals and flags */
    uint64_t vanished_modseq; /* … and expunges */
    uint64_t noticed;
    bool look;                     /* something may have happened; CHANGES will tell */
    uint64_t own[OWN_MODSEQS_MAX]; /* of changes this session made and has told itself */
    size_t own_count;
};

enum imap_sync_step { SYNC_ASK, SYNC_GONE, SYNC_ARRIVED, SYNC_FLAGS, SYNC_NEWEST };
struct imap_sync {
    bool expunges; /* may be told now */
    bool wanted;   /* whether or not there was a notice */
    bool no;       /* not behind this command */
    bool failed;
    enum imap_sync_step step;
    bool begun, more, flags_changed;
    bool uid; /* responses carry UIDs */
    uint64_t since, upto;
    uint32_t old_uidnext;
    uint32_t vanished_from;
    struct imap_set gone;
    size_t gone_at;
    uint32_t gone_uid, removed;
    bool line_open; /* "* VANISHED " was written */
    bool arrived;
    bool told; /* messages came or went */
};

struct imap_append;

struct imap_server {
    struct imap_server_config config;
    struct imap_offer offer;
    enum phase phase;
    enum awaited awaited;
    enum stage stage;
    enum imap_close_reason reason; /* once ENDED */
    bool tls, compressed, shutdown;
    bool exchange;   /* the next line is the response to a challenge */
    bool cancel_due; /* AUTH_CANCEL was not handed out yet */
    bool abort_due, left_due;
    bool bad_counts;                     /* the command was bad: the reply counts as an error */
    bool mid_line;                       /* a response is half written: no other can begin */
    bool too_long;                       /* the command was over the bound */
    bool utf8, rev2, condstore, qresync; /* enabled */
    bool logout;
    uint32_t errors, login_failures;
    uint64_t now_ms, started_ms, active_ms, data_ms, progress_ms;
    uint64_t still_ms; /* when "still here" was said */
    size_t still_left; /* of the output: so many bytes at its front say nothing else */
    int64_t clock_ms;
    struct imap_server_stats stats;

    struct buf out;
    struct imap_frame frame;
    struct arena arena; /* of the command */
    char tag[TAG_BYTES_MAX + 1];
    struct imap_reply reply;  /* tagged */
    struct imap_reply notice; /* untagged: the COPYUID of MOVE */

    const struct imap_job *job;
    void *run; /* the job's own */
    struct imap_slice *slice;
    struct imap_message message;
    struct imap_fetch_run *fetch;
    struct imap_earlier *earlier;
    void (*take)(struct imap_server *s, struct span bytes); /* what READ gives */
    uint32_t read_asked;
    struct imap_sync sync;
    struct imap_selected *box;
    struct imap_append *append;

    /* of the command or event at hand */
    struct buf name, target; /* mailbox names */
    struct buf user, password, response;
    struct span mechanism;
    bool has_response;
    bool uid_command;
};

/* ---- server.c: output ---- */

size_t imap_room(const struct imap_server *s);
void imap_put(struct imap_server *s, const char *text);
void imap_put_number(struct imap_server *s, uint64_t number);
void imap_untagged(struct imap_server *s, const char *text); /* "* text" CRLF */

/* ---- command.c ---- */

/* The command is carried out; its tagged response will be "condition text". With a job, the job is over. */
void imap_finish(struct imap_server *s, const char *condition, const char *text);
/* BAD; counts as an error. */
void imap_bad(struct imap_server *s, const char *text);
/* Sets the code of the reply, before or after imap_finish. */
void imap_code(struct imap_server *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* NO for a failure of the store. target: the mailbox was one to put something into. */
void imap_no(struct imap_server *s, enum imap_failure failure, bool target);
void imap_job_start(struct imap_server *s, const struct imap_job *job, void *run);
/* The one way a session ends. Says BYE where the reason has something to say. */
void imap_end(struct imap_server *s, enum imap_close_reason reason);
void imap_capabilities(struct imap_server *s, struct buf *out);
bool imap_reply_write(struct imap_server *s, struct imap_reply *reply, const char *tag);
void imap_reply_reset(struct imap_reply *reply);
struct imap_lex imap_lex_of(struct imap_server *s, struct span text);
void imap_command(struct imap_server *s, struct span text);
void imap_command_done(struct imap_server *s);                   /* its response is written */
bool imap_take_tag(struct imap_server *s, struct imap_lex *lex); /* into s->tag */
/* A mailbox name in the command, into `to`. False: answered (BAD or NO). */
bool imap_take_name(struct imap_server *s, struct imap_lex *lex, bool fresh, struct buf *to);
bool imap_command_ends(struct imap_server *s, struct imap_lex *lex); /* false: BAD was answered */
/* Whether room is missing; then the step answers IMAP_EVENT_BLOCKED. */
bool imap_full(const struct imap_server *s, size_t need);

/* ---- the commands ---- */

typedef void imap_run(struct imap_server *s, struct imap_lex *lex);
/* auth.c */
imap_run imap_run_starttls, imap_run_login, imap_run_authenticate;
void imap_auth_line(struct imap_server *s, struct span line);
bool imap_sasl_offered(const struct imap_server *s);
/* mailboxes.c */
imap_run imap_run_list, imap_run_lsub, imap_run_status, imap_run_create, imap_run_delete, imap_run_rename,
    imap_run_subscribe, imap_run_unsubscribe, imap_run_namespace, imap_run_compress;
void imap_mailbox_done(struct imap_server *s); /* DELETE, RENAME, SUBSCRIBE, COMPRESS went well */
/* select.c */
imap_run imap_run_select, imap_run_examine, imap_run_close, imap_run_unselect;
void imap_deselect(struct imap_server *s);
bool imap_close_expunged(struct imap_server *s, uint32_t done_to); /* false: it was not CLOSE that asked */
void imap_put_flags_known(struct imap_server *s);                  /* FLAGS and PERMANENTFLAGS */
/* fetching.c */
imap_run imap_run_fetch;
/* A run over the targets, which are moved into it. */
void imap_fetch_start(struct imap_server *s, const struct imap_fetch *fetch, struct imap_set *targets);
/* Goes on; IMAP_EVENT_MORE and s->fetch->step FETCH_END: through. */
enum imap_event_type imap_fetch_step(struct imap_server *s, struct imap_event *ret);
void imap_fetch_release(struct imap_server *s);
bool imap_fetch_failed(struct imap_server *s, enum imap_failure failure); /* false: it was not ours */
void imap_fetch_stored(struct imap_server *s, const struct imap_stored *stored);
void imap_condstore_enable(struct imap_server *s);
/* message.c */
enum imap_event_type imap_entries_ask(struct imap_server *s, const struct imap_set *targets, size_t at,
                                      struct imap_event *ret);
/* Moves behind what was dealt with. False: no progress was made. */
bool imap_targets_advance(struct imap_set *targets, size_t *at, uint32_t done_to);
void imap_slice_release(struct imap_server *s);
enum imap_event_type imap_read_ask(struct imap_server *s, uint32_t uid, uint64_t offset, uint64_t len,
                                   void (*take)(struct imap_server *s, struct span bytes),
                                   struct imap_event *ret);
/* IMAP_EVENT_MORE: s->message is that of the entry. */
enum imap_event_type imap_message_step(struct imap_server *s, const struct imap_entry *entry,
                                       struct imap_event *ret);
bool imap_message_failed(struct imap_server *s); /* READ failed; false: it was not ours */
void imap_message_release(struct imap_server *s);
const struct mime_part *imap_message_root(const struct imap_server *s);
/* storing.c */
imap_run imap_run_store, imap_run_expunge, imap_run_copy, imap_run_move;
/* The STORE event for targets from `at` on. */
enum imap_event_type imap_store_ask(struct imap_server *s, const struct imap_set *targets, size_t at,
                                    enum imap_store_action action, uint64_t flags, struct imap_event *ret);
/* A change of this session's own: it will not be told again. */
void imap_own_change(struct imap_server *s, const struct imap_stored *stored);
/* The sequence set at the cursor as UIDs. False: answered. */
bool imap_take_targets(struct imap_server *s, struct imap_lex *lex, struct imap_set *ret);
/* searching.c */
imap_run imap_run_search;
/* changes.c */
imap_run imap_run_idle;
bool imap_sync_due(const struct imap_server *s); /* there is, or may be, something to tell */
enum imap_event_type imap_sync_step(struct imap_server *s, struct imap_event *ret);
void imap_sync_release(struct imap_server *s);
void imap_earlier_start(struct imap_server *s, const struct imap_set *uids, uint64_t modseq);
/* IMAP_EVENT_MORE and no s->earlier any more: all is told. */
enum imap_event_type imap_earlier_step(struct imap_server *s, struct imap_event *ret);
void imap_earlier_release(struct imap_server *s);
void imap_sync_failed(struct imap_server *s, enum imap_failure failure);
void imap_idle_line(struct imap_server *s, struct span line);
/* append.c */
imap_run imap_run_append; /* an APPEND without a message */
/* A literal is announced. True: it is a message of APPEND and was dealt with. */
bool imap_append_literal(struct imap_server *s);
enum imap_event_type imap_append_bytes(struct imap_server *s, struct span bytes, struct imap_event *ret);
enum imap_event_type imap_append_passed(struct imap_server *s, struct imap_event *ret);
void imap_append_line(struct imap_server *s, struct span rest); /* the command is whole */
void imap_append_release(struct imap_server *s);
void imap_append_go(struct imap_server *s); /* the message is wanted */

#endif
