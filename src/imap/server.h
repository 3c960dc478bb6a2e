/* The IMAP server engine: RFC 9051 (IMAP4rev2), RFC 3501 (IMAP4rev1), and the extensions that
 * imap_server_offer lists.
 *
 * No socket, clock or I/O: bytes in, events out one at a time, answers in, bytes out. The caller's loop:
 *
 *     s = imap_server_new(&config, now_ms);
 *     imap_server_offer(s, &offer);
 *     imap_server_greet(s, now_ms);
 *     for (;;) {
 *         type = imap_server_next(s, &input, now_ms, &event);
 *         IMAP_EVENT_MORE     read more bytes from the peer
 *         IMAP_EVENT_WAIT     an answer is missing (or the greeting, or TLS): give it, then go on
 *         IMAP_EVENT_BLOCKED  send some of imap_server_output() first
 *         IMAP_EVENT_YIELD    come back when others had their turn
 *         IMAP_EVENT_CLOSE    send what is left of imap_server_output(), close
 *         others              see below
 *     }
 *
 * After any of the first five, send imap_server_output() and call imap_server_output_used() with what was
 * sent; responses gather until then. Arm one timer with imap_server_timeout_ms() or imap_server_wake_ms(),
 * whichever is earlier. Input is taken from the
 * front of the span the caller gives; what is left over must be offered again. Call imap_server_next also
 * when there is no input but something has happened: an answer was given, output was sent, a notice came.
 * Commands are carried out strictly in order; while an answer is outstanding nothing behind it is taken.
 *
 * What the engine keeps of the selected mailbox is small: which UIDs the client has been told of, as ranges
 * (imap/view.h), the names of its keywords, and up to which MODSEQ it has been told. Flags, dates, sizes,
 * structures and bytes are asked for when a command needs them (ENTRIES, READ), a slice at a time and only as
 * much as the output has room for: the answer to FETCH of a million messages is never in memory. Slices go by
 * UID: `done_to` in an answer says that everything with a UID up to there has been dealt with, and what is
 * missing is asked for again. UINT32_MAX: all of it.
 *
 * What happens in the mailbox is asked for too (CHANGES): when the client asks (NOOP, CHECK, IDLE), behind
 * every command that changes something itself, and behind any other command once imap_server_notice has told
 * that there is news. EXPUNGE is reported only where it may be (RFC 3501 7.4.1, 5.5: not during FETCH, STORE,
 * SEARCH without UID; not between commands but in IDLE); until then the messages keep their numbers. The
 * caller keeps nothing for that: CHANGES says from which MODSEQ on the client does not know.
 * What the store answers is taken with distrust: UIDs that are not in the view or out of order are passed
 * over.
 *
 * The bytes of a message that is appended are never copied: the span in IMAP_EVENT_BODY points into the
 * caller's input. Messages are sent as they are stored, but NUL, which can stand in no literal (RFC 3501 9:
 * CHAR8), goes out as 0x80. Structures (mime/structure.h) may be those of the message without its first
 * octets, the trace fields added at delivery: what `size` is more than the structure's is taken for these. A
 * message without a usable structure is read through the parser when its structure is asked for.
 *
 * Bad input, at every split of the bytes alike: a CR or LF of its own in a command: BAD and the end. NUL in a
 * command (outside literal8): BAD. A command over login_bytes_max before login, literals included, or over
 * command_bytes_max after: BAD, and what comes of it unasked (LITERAL+) is thrown away while it is short,
 * else BYE. APPEND: NO [TOOBIG] over append_bytes_max, and BYE when the octets come unasked. NUL in a
 * message: NO [UNKNOWN-CTE] (RFC 3516 4). HTTP or a TLS handshake instead of a command: the end without a
 * word.
 *
 * TLS is the caller's. When IMAP_EVENT_STARTTLS was answered well, the engine takes no more input
 * (IMAP_EVENT_WAIT, and imap_server_awaits_tls is true): the caller sends imap_server_output() in clear,
 * throws away every byte it has read and not had taken, and all it reads in clear from then on but the
 * handshake itself (what was sent behind STARTTLS must never be looked at), and calls imap_server_tls_started
 * when the handshake is done, or imap_server_end when it failed; nothing is said in between. Under implicit
 * TLS (RFC 8314) imap_server_tls_started comes before the greeting. COMPRESS (RFC 4978) is alike
 * (imap_server_awaits_compress, imap_server_compress_started), but what was read behind the command is
 * compressed already and must be kept.
 *
 * A SASL exchange passes through: the engine does the lines and the base64, the caller the mechanism
 * (sasl/server.h). Answer IMAP_EVENT_AUTH and each IMAP_EVENT_AUTH_RESPONSE with imap_server_auth_challenge,
 * or end the exchange by imap_server_login_done; what a mechanism has to say at its end goes as one more
 * challenge before. Memory that held what the client sent before login is overwritten when it is done with.
 *
 * An idle session costs about 2 KiB and 8 bytes per run of consecutive UIDs; while a command is carried out
 * there is the command, the output in waiting (output_bytes_max), a slice of entries, and what one message's
 * structure needs; imap_server_memory_bytes() tells. Functions that answer an event return BRANT_ESTATE when
 * that answer is not awaited (the session may have ended meanwhile), and then change nothing. */
#ifndef IMAP_SERVER_H
#define IMAP_SERVER_H

#include "imap/flag.h"
#include "imap/set.h"

struct imap_server;

struct imap_server_config {
    const char *hostname;         /* borrowed; in the greeting */
    uint32_t login_timeout_ms;    /* from the start to a successful login, whatever is sent */
    uint32_t idle_timeout_ms;     /* RFC 3501 5.4: at least 30 minutes; in IDLE too (RFC 2177) */
    uint32_t still_here_ms;       /* in IDLE, when nothing was said for so long: "* OK still here", which
                                     keeps NAT mappings alive and shows whether the peer is there; 0: never */
    uint32_t data_timeout_ms;     /* between the pieces of a literal */
    uint32_t write_timeout_ms;    /* output waits and the peer takes none of it */
    uint32_t login_errors_max;    /* commands answered with BAD before login: that many, then the end */
    uint32_t errors_max;          /* after login */
    uint32_t login_failures_max;  /* wrong passwords */
    size_t login_bytes_max;       /* of a command before login, literals included */
    size_t command_bytes_max;     /* after login; the messages of APPEND do not count */
    uint64_t append_bytes_max;    /* of a message; announced by APPENDLIMIT */
    uint32_t append_messages_max; /* in one APPEND (MULTIAPPEND) */
    size_t output_bytes_max;      /* at least 32 KiB */
    uint32_t read_bytes_max;      /* the most that one READ asks for */
    uint32_t entries_max;         /* the most that one ENTRIES asks for, at most IMAP_ENTRIES_MAX */
    uint32_t runs_max;            /* of consecutive UIDs; a mailbox with more holes cannot be selected */
    uint32_t saved_ranges_max;    /* of the result that SEARCH saves (RFC 5182) */
    uint32_t search_keys_max;     /* in one SEARCH */
};

/* The defaults of every field: 2 min to log in, 30 min idle, a word every 2 min in IDLE, 5 min for literals,
 * 2 min stalled, 8 and 50 errors, 3 wrong passwords, 8 and 64 KiB of command, 50 MiB and 1,000 messages of
 * APPEND, 64 KiB of output, 32 KiB per READ, 64 entries, 1,000,000 runs, 65,536 saved ranges, 1,000 search
 * keys. */
void imap_server_config_init(struct imap_server_config *c, const char *hostname);

/* The configuration is copied, its string is borrowed until imap_server_free. now_ms is any clock that does
 * not go backwards. */
struct imap_server *imap_server_new(const struct imap_server_config *c, uint64_t now_ms);
void imap_server_free(struct imap_server *s); /* NULL is fine */

/* What needs something of the store; everything else the engine does by itself: ID, ENABLE, LITERAL+ (before
 * login as well), SASL-IR, NAMESPACE, CHILDREN, LIST-EXTENDED, LIST-STATUS, UNSELECT, UIDPLUS, MOVE, ESEARCH,
 * SEARCHRES, WITHIN, IDLE, UTF8=ACCEPT, BINARY, APPENDLIMIT, PREVIEW, STATUS=SIZE, MULTIAPPEND. */
enum imap_extension {
    IMAP_EXT_CONDSTORE = 1, /* RFC 7162: MODSEQ everywhere */
    IMAP_EXT_QRESYNC = 2,   /* RFC 7162: VANISHED; with CONDSTORE */
    IMAP_EXT_SPECIAL_USE = 4,
    IMAP_EXT_OBJECTID = 8, /* RFC 8474 */
    IMAP_EXT_SAVEDATE = 16,
    IMAP_EXT_COMPRESS = 32,
    IMAP_EXT_ALL = 63
};

/* What CAPABILITY announces, and what is allowed, from now on; nothing of it at first. */
struct imap_offer {
    bool starttls;       /* not announced any more once TLS has begun */
    bool password;       /* LOGIN may be used on this connection: loopback, or under TLS */
    const char *sasl;    /* "PLAIN LOGIN": names apart by one space, in capitals; borrowed until the next
                            offer or the end of the engine. NULL or "": AUTHENTICATE is refused. */
    unsigned extensions; /* enum imap_extension */
};
void imap_server_offer(struct imap_server *s, const struct imap_offer *offer);

enum imap_event_type {
    IMAP_EVENT_MORE,    /* the input is used up */
    IMAP_EVENT_WAIT,    /* an answer, or imap_server_greet, is due first; no input was taken */
    IMAP_EVENT_BLOCKED, /* too much output is waiting; no input was taken */
    IMAP_EVENT_YIELD,   /* much was done at a stretch: let others have their turn, then call again */

    /* Before login. */
    IMAP_EVENT_STARTTLS,      /* answer: imap_server_starttls_done */
    IMAP_EVENT_LOGIN,         /* check user and password; answer: imap_server_login_done */
    IMAP_EVENT_AUTH,          /* an exchange begins; answer: imap_server_auth_challenge or _login_done */
    IMAP_EVENT_AUTH_RESPONSE, /* the client's response to a challenge; answer: as for AUTH */
    IMAP_EVENT_AUTH_CANCEL,   /* the exchange was given up: forget it. No answer. */

    /* Mailboxes. Every answer may also be imap_server_failed. */
    IMAP_EVENT_COMPRESS,  /* answer: imap_server_done; then see above */
    IMAP_EVENT_LIST,      /* the account's mailboxes behind `name`; answer: imap_server_list */
    IMAP_EVENT_STATUS,    /* counters of `name`; answer: imap_server_status */
    IMAP_EVENT_CREATE,    /* `name`, and the levels above it that are missing; answer: imap_server_created */
    IMAP_EVENT_DELETE,    /* `name`, not what lies beneath it; answer: imap_server_done */
    IMAP_EVENT_RENAME,    /* `name` and what lies beneath it to `target`, whose missing upper levels are made;
                             of INBOX the messages only (RFC 3501 6.3.5); answer: imap_server_done */
    IMAP_EVENT_SUBSCRIBE, /* or not any more (`yes`); the mailbox need not exist; answer: imap_server_done */
    IMAP_EVENT_OPEN,      /* `name`, for reading only if `yes`; answer: imap_server_view, then
                             imap_server_opened. From then on imap_server_notice is wanted. */
    IMAP_EVENT_LEFT,      /* the mailbox is not selected any more. No answer. */

    /* The selected mailbox. Every answer may also be imap_server_failed. */
    IMAP_EVENT_ENTRIES,  /* of the messages in `ranges`; answer: imap_server_entries */
    IMAP_EVENT_READ,     /* bytes of message `uid`; answer: imap_server_read_done */
    IMAP_EVENT_STORE,    /* flags of the messages in `ranges`; answer: imap_server_stored */
    IMAP_EVENT_EXPUNGE,  /* remove the messages in `ranges` that are \Deleted; answer: imap_server_expunged */
    IMAP_EVENT_COPY,     /* the messages in `ranges` to `name`, or move them (`yes`); answer:
                            imap_server_copied */
    IMAP_EVENT_CHANGES,  /* what is new; answer: imap_server_changes */
    IMAP_EVENT_VANISHED, /* which UIDs in `ranges` were expunged after `modseq`; answer: imap_server_vanished
                          */

    /* APPEND. */
    IMAP_EVENT_APPEND,  /* a message for `name` begins; answer: imap_server_done takes it, _failed refuses the
                           whole command */
    IMAP_EVENT_BODY,    /* its next bytes. No answer. */
    IMAP_EVENT_MESSAGE, /* it is whole. No answer. */
    IMAP_EVENT_COMMIT,  /* all messages of the command are there: keep them, all or none; answer:
                           imap_server_appended, or _failed */
    IMAP_EVENT_ABORT,   /* the APPEND is over without a COMMIT: forget it. No answer. */

    IMAP_EVENT_CLOSE /* the session is over, and with it an APPEND; comes again if asked again */
};

enum imap_close_reason {
    IMAP_CLOSE_NONE,
    IMAP_CLOSE_LOGOUT,
    IMAP_CLOSE_LOST,     /* imap_server_end: the peer went away */
    IMAP_CLOSE_TIMEOUT,  /* imap_server_end: BYE */
    IMAP_CLOSE_SHUTDOWN, /* imap_server_end: BYE [UNAVAILABLE], behind the command that is carried out */
    IMAP_CLOSE_OVERLOAD, /* imap_server_end: BYE [UNAVAILABLE], in place of the greeting too */
    IMAP_CLOSE_REVOKED,  /* imap_server_end: BYE; the account's password or rights have changed */
    IMAP_CLOSE_GONE,     /* the selected mailbox was removed: BYE */
    IMAP_CLOSE_ERRORS,   /* errors_max, login_errors_max */
    IMAP_CLOSE_FAILURES, /* login_failures_max */
    IMAP_CLOSE_ENDLESS,  /* a command, or a literal nobody asked for, that is too long to throw away */
    IMAP_CLOSE_LIMIT,    /* the selected mailbox has more holes than runs_max allows */
    IMAP_CLOSE_BARE,     /* a CR or LF that is not part of a CRLF */
    IMAP_CLOSE_PROTOCOL, /* the peer speaks HTTP or TLS */
    IMAP_CLOSE_READ      /* reading failed in the middle of a literal */
};

/* A word for the log, such as "login-failures"; never NULL. */
const char *imap_close_reason_text(enum imap_close_reason reason);

/* What is wanted of each message; a sum. */
enum imap_entry_field {
    IMAP_ENTRY_FLAGS = 1,
    IMAP_ENTRY_DATE = 2, /* INTERNALDATE */
    IMAP_ENTRY_SIZE = 4,
    IMAP_ENTRY_MODSEQ = 8,
    IMAP_ENTRY_STRUCTURE = 16,
    IMAP_ENTRY_IDS = 32,
    IMAP_ENTRY_SAVED = 64 /* SAVEDATE */
};

enum { IMAP_ENTRIES_MAX = 256, IMAP_STRUCTURES_BYTES_MAX = 256 * 1024 };

struct imap_entry {
    uint32_t uid;
    uint64_t flags; /* imap/flag.h; the names of the keywords have been told */
    uint64_t modseq, size;
    int64_t time_ms, saved_ms; /* since 1970 UTC; saved_ms 0: unknown */
    uint64_t email, thread;    /* 0: unknown */
    struct span structure;     /* empty: there is none */
};

enum imap_status_item {
    IMAP_STATUS_MESSAGES = 1,
    IMAP_STATUS_RECENT = 2,
    IMAP_STATUS_UIDNEXT = 4,
    IMAP_STATUS_UIDVALIDITY = 8,
    IMAP_STATUS_UNSEEN = 16,
    IMAP_STATUS_DELETED = 32,
    IMAP_STATUS_SIZE = 64,
    IMAP_STATUS_MODSEQ = 128,     /* HIGHESTMODSEQ */
    IMAP_STATUS_MAILBOX = 256,    /* MAILBOXID */
    IMAP_STATUS_APPENDLIMIT = 512 /* the engine knows it */
};

struct imap_status {
    uint32_t messages, recent, uidnext, uidvalidity, unseen, deleted;
    uint64_t size, modseq, mailbox;
};

struct imap_mailbox {
    struct span name; /* UTF-8 */
    bool exists;      /* false: it is only subscribed to */
    bool subscribed;
    unsigned uses;             /* enum imap_special_use */
    struct imap_status status; /* what was asked for */
};

enum imap_store_action { IMAP_STORE_ADD, IMAP_STORE_REMOVE, IMAP_STORE_REPLACE };

/* Only the fields of the event's type are set. Spans and arrays are valid until the answer, where there is
 * none until the next call with this engine. */
struct imap_event {
    enum imap_event_type type;
    /* LOGIN */
    struct span user;     /* valid UTF-8, 1 to 255 bytes */
    struct span password; /* as user, to 512 bytes; wiped at the answer */
    /* AUTH, AUTH_RESPONSE */
    struct span mechanism; /* AUTH: as it was offered */
    bool has_response;     /* AUTH: there was an initial response; AUTH_RESPONSE: true */
    struct span response;  /* decoded: any bytes, 0 to IMAP_AUTH_BYTES_MAX of them; wiped at the answer */
    /* mailboxes */
    struct span name, target; /* UTF-8, checked (imap/name.h); LIST: empty at first */
    bool yes;
    bool subscribed; /* LIST: those not subscribed to may be left out */
    unsigned status; /* LIST, STATUS: enum imap_status_item */
    unsigned uses;   /* CREATE: enum imap_special_use */
    uint32_t count;  /* LIST, ENTRIES: give at most so many */
    /* messages */
    const struct imap_range *ranges; /* UIDs, ascending */
    size_t range_count;
    unsigned fields;                /* ENTRIES: enum imap_entry_field */
    uint64_t flags_all, flags_none; /* ENTRIES: those without all of the first or with one of the second may
                                       be left out */
    uint64_t modseq; /* ENTRIES: those that have not changed after it must be left out (0: all are wanted);
                        VANISHED, CHANGES: see there */
    uint32_t uid;    /* READ; CHANGES: messages from this UID on are new to the client */
    uint64_t offset; /* READ: from here on */
    uint32_t size_bytes; /* READ: at most so many */
    enum imap_store_action action;
    uint64_t flags;              /* STORE, APPEND: the system flags */
    const struct span *keywords; /* STORE, APPEND: names; the store gives those it does not know a place */
    size_t keyword_count;
    bool has_unchanged_since; /* STORE: only messages whose MODSEQ is at most modseq (RFC 7162 3.1.3) */
    bool vanished;            /* CHANGES: expunged UIDs are wanted too */
    uint64_t vanished_modseq; /* CHANGES: those expunged after it … */
    uint32_t vanished_from;   /* CHANGES: … with UIDs from here on */
    /* APPEND */
    bool has_time;
    int64_t time_ms;
    uint64_t message_bytes;        /* APPEND, MESSAGE: how long it will be, has been */
    bool utf8;                     /* APPEND: the client says that its header may be UTF-8 (RFC 6855 4) */
    struct span bytes;             /* BODY */
    enum imap_close_reason reason; /* CLOSE */
};

enum { IMAP_AUTH_BYTES_MAX = 2048 }; /* of a challenge or response, decoded */

/* Sends the greeting. BRANT_ESTATE when it was sent before or the session is over. */
int imap_server_greet(struct imap_server *s, uint64_t now_ms);

/* Takes bytes from the front of *in until there is something to say; returns ret->type. */
enum imap_event_type imap_server_next(struct imap_server *s, struct span *in, uint64_t now_ms,
                                      struct imap_event *ret);

/* ---- answers ---- */

/* ready: OK, and TLS begins (see above); else NO. */
int imap_server_starttls_done(struct imap_server *s, bool ready);
/* The handshake is done. Before the greeting, or after STARTTLS was answered with true and that response was
 * sent (imap_server_output is empty); else BRANT_ESTATE. */
int imap_server_tls_started(struct imap_server *s, uint64_t now_ms);
bool imap_server_awaits_tls(const struct imap_server *s);
bool imap_server_tls(const struct imap_server *s); /* TLS has begun */

/* The response to COMPRESS was sent, and everything from here on passes through DEFLATE. Else BRANT_ESTATE.
 */
int imap_server_compress_started(struct imap_server *s);
bool imap_server_awaits_compress(const struct imap_server *s);

/* Sends the challenge (it may be empty) and reads the client's response. BRANT_ELIMIT: over
 * IMAP_AUTH_BYTES_MAX; nothing was sent, the event still waits. */
int imap_server_auth_challenge(struct imap_server *s, struct span challenge);

enum imap_login {
    IMAP_LOGIN_OK,
    IMAP_LOGIN_REFUSED,   /* [AUTHENTICATIONFAILED] */
    IMAP_LOGIN_DENIED,    /* [AUTHORIZATIONFAILED] who logged in may not act as the one named */
    IMAP_LOGIN_EXPIRED,   /* [EXPIRED] the password was right and is over */
    IMAP_LOGIN_WEAK,      /* [PRIVACYREQUIRED] another mechanism, or a password of its own, is needed */
    IMAP_LOGIN_MALFORMED, /* the exchange made no sense: BAD */
    IMAP_LOGIN_TRY_LATER  /* [UNAVAILABLE] */
};
/* Answers LOGIN, AUTH and AUTH_RESPONSE. */
int imap_server_login_done(struct imap_server *s, enum imap_login answer);

enum imap_failure {
    IMAP_FAIL_NOT_FOUND, /* the mailbox: [NONEXISTENT], or [TRYCREATE] where it was a target; the message
                            (READ): it is gone; the selected mailbox: the session ends */
    IMAP_FAIL_EXISTS,    /* [ALREADYEXISTS] */
    IMAP_FAIL_CANNOT,    /* [CANNOT]: such a name, or this with INBOX */
    IMAP_FAIL_QUOTA,     /* [OVERQUOTA] */
    IMAP_FAIL_LIMIT,     /* [LIMIT] */
    IMAP_FAIL_DENIED,    /* [NOPERM] */
    IMAP_FAIL_USE,       /* [USEATTR]: RFC 6154 3 */
    IMAP_FAIL_TRY_LATER, /* [UNAVAILABLE] */
    IMAP_FAIL_CORRUPT    /* [CORRUPTION] the store cannot read what it wrote */
};
/* Answers any event of mailboxes, messages and APPEND that waits. */
int imap_server_failed(struct imap_server *s, enum imap_failure failure);
/* Answers COMPRESS, DELETE, RENAME, SUBSCRIBE, APPEND. */
int imap_server_done(struct imap_server *s);

/* Mailboxes in the order of imap_name_cmp, all of them or `more` to come behind the last; copied.
 * BRANT_ELIMIT: more than were asked for. */
int imap_server_list(struct imap_server *s, const struct imap_mailbox *boxes, size_t count, bool more);
int imap_server_status(struct imap_server *s, const struct imap_status *status);
int imap_server_created(struct imap_server *s, uint64_t mailbox);

/* OPEN: the UIDs in the mailbox, ascending, in any number of calls. BRANT_ESYNTAX: not ascending;
 * BRANT_ELIMIT: runs_max; answer with _failed(IMAP_FAIL_LIMIT) then. */
int imap_server_view(struct imap_server *s, const struct imap_range *uids, size_t count);
struct imap_opened {
    uint64_t mailbox; /* its id */
    uint32_t uidvalidity, uidnext;
    uint64_t modseq;               /* the view is complete up to here */
    uint32_t unseen;               /* UID of the first message without \Seen; 0: none */
    uint32_t recent_from;          /* messages from this UID on are \Recent in this session; 0: none */
    bool read_only;                /* also when it was not asked for */
    bool keywords_full;            /* no new keywords can be made */
    struct imap_keywords keywords; /* copied */
};
int imap_server_opened(struct imap_server *s, const struct imap_opened *opened);

/* Entries in ascending order; copied. Together at most IMAP_STRUCTURES_BYTES_MAX of structures; at least one
 * entry, or done_to moves. Messages that are not in the mailbox any more are left out. BRANT_ELIMIT. */
int imap_server_entries(struct imap_server *s, const struct imap_entry *entries, size_t count,
                        uint32_t done_to);
/* The bytes of the message from `offset` on: at least one, at most size_bytes (else BRANT_ELIMIT); what is
 * missing will be asked for again. */
int imap_server_read_done(struct imap_server *s, struct span bytes);

struct imap_stored {
    uint32_t done_to;
    uint64_t modseq;        /* of the messages that were changed; no other operation has it. 0: none was */
    uint64_t modseq_before; /* the mailbox's when it was decided */
    const struct imap_range *modified; /* RFC 7162 3.1.3: not changed, their MODSEQ is over modseq; copied */
    size_t modified_count;
};
int imap_server_stored(struct imap_server *s, const struct imap_stored *stored);

int imap_server_expunged(struct imap_server *s, uint32_t done_to);

struct imap_copied {
    uint32_t done_to;     /* COPY: UINT32_MAX (RFC 3501 6.4.7: all or none); MOVE may come in slices */
    uint32_t uidvalidity; /* of the target */
    const struct imap_range *uids; /* that were copied, ascending; copied */
    size_t count;
    uint32_t target_first; /* they are consecutive there, in the same order; 0: nothing was copied */
};
int imap_server_copied(struct imap_server *s, const struct imap_copied *copied);

/* What has happened since the event's modseq. Arrived messages and expunged UIDs may come in slices (`more`):
 * the next event then goes on from here. UIDs may be called vanished that the client never knew: so when the
 * store does not remember what was expunged it gives the gaps between the UIDs that are there. */
struct imap_changes {
    uint64_t modseq; /* of the mailbox as this answer tells it; of several slices the lowest counts */
    bool more;
    bool flags_changed; /* some message below the event's uid has new flags: they will be asked for */
    const struct imap_range *arrived; /* UIDs from the event's uid on; copied */
    size_t arrived_count;
    uint32_t uidnext;     /* arrived is complete below this */
    uint32_t recent_from; /* of the arrived, those from here on are \Recent in this session; 0: none */
    const struct imap_range *vanished; /* ascending; copied */
    size_t vanished_count;
    uint32_t vanished_to; /* vanished is complete up to here */
};
enum { IMAP_CHANGES_RANGES_MAX = 1024 }; /* of arrived, and of vanished, in one answer */
int imap_server_changes(struct imap_server *s, const struct imap_changes *changes);

/* In slices of at most IMAP_CHANGES_RANGES_MAX ranges; copied. */
int imap_server_vanished(struct imap_server *s, const struct imap_range *uids, size_t count,
                         uint32_t done_to);

/* uids: the messages' UIDs, in the order they were sent (ascending); copied. count 0: there is no such thing
 * to tell (the target does not keep UIDs). */
int imap_server_appended(struct imap_server *s, uint32_t uidvalidity, const struct imap_range *uids,
                         size_t count);

/* ---- news ---- */

/* The selected mailbox has changed; up to this MODSEQ, or UINT64_MAX: it may have, or may be gone, CHANGES
 * will tell. Any time. Then call imap_server_next. */
void imap_server_notice(struct imap_server *s, uint64_t modseq);
/* The mailbox's keywords, whenever there are more than it was told of, and before an entry has them. Copied.
 */
void imap_server_keywords(struct imap_server *s, const struct imap_keywords *keywords, bool full);
/* The time of day, for OLDER and YOUNGER (RFC 5032): milliseconds since 1970 UTC. Before each
 * imap_server_next, or at least now and then. */
void imap_server_clock(struct imap_server *s, int64_t unix_ms);

/* Ends the session from outside, for one of the reasons marked so above. The next event is CLOSE, for
 * SHUTDOWN as soon as no command is being carried out. */
void imap_server_end(struct imap_server *s, enum imap_close_reason reason);

/* What is to be sent. The span is valid until the next call with this engine. */
struct span imap_server_output(const struct imap_server *s);
void imap_server_output_used(struct imap_server *s, size_t len, uint64_t now_ms);

/* How long from now until the caller should call imap_server_end(s, IMAP_CLOSE_TIMEOUT): 0 means at once.
 * IMAP_NO_TIMEOUT while an answer is waited for (the delay is ours) and after the end. */
#define IMAP_NO_TIMEOUT UINT64_MAX
uint64_t imap_server_timeout_ms(const struct imap_server *s, uint64_t now_ms);
/* How long from now until the caller should call imap_server_next even if nothing happens, because something
 * is to be said then (still_here_ms); IMAP_NO_TIMEOUT. What is said so is no sign of life of the peer: the
 * timeout above goes on. */
uint64_t imap_server_wake_ms(const struct imap_server *s, uint64_t now_ms);
/* The caller had stopped reading on its own account (back-pressure): that time is not the peer's fault. */
void imap_server_resumed(struct imap_server *s, uint64_t now_ms);

bool imap_server_authenticated(const struct imap_server *s);
bool imap_server_idling(const struct imap_server *s); /* in IDLE, and all is told */

struct imap_server_stats {
    uint32_t commands, fetched, appended; /* messages */
    uint64_t bytes_sent;
};
struct imap_server_stats imap_server_stats(const struct imap_server *s);

size_t imap_server_memory_bytes(const struct imap_server *s); /* everything this engine holds now */

#endif
