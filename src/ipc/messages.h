/* Every message that brant's processes say to one another, declared once.
 *
 * IPC_MESSAGES names each message: its number on the wire, who may send it, who may receive it, and which
 * message answers it. IPC_FIELDS_x lists its fields with their types and maxima. The structs below, the
 * encoder, the decoder, the permission table, the names in logs and the fuzz target all come from these
 * lists. A number is never used again for another meaning; fields change only with IPC_VERSION.
 *
 * Field kinds, F(KIND, name, max, item):
 *   U8 U16 U32 U64  an unsigned integer of at most max (0: the whole range)
 *   ID              16 random bytes
 *   ADDR            an IP address and port
 *   BYTES           a span of at most max bytes
 *   LIST            at most max structs of the kind `item` (IPC_ITEMS), as name and name_count */
#ifndef IPC_MESSAGES_H
#define IPC_MESSAGES_H

#include "base/arena.h"
#include "base/ip.h"

enum { IPC_VERSION = 3 };

/* The kinds of process. A message's sender and receivers are sets of them. */
enum ipc_role {
    IPC_ROLE_SUPERVISOR,
    IPC_ROLE_STORE,
    IPC_ROLE_SMTP,
    IPC_ROLE_POP3,
    IPC_ROLE_SUBMISSION, /* brant-smtp in the submission group */
    IPC_ROLE_SIGNER,
    IPC_ROLE_IMAP,
    IPC_ROLE_CLI, /* the commands of `brant`: an administrator, checked by the supervisor */
    IPC_ROLE_COUNT
};

#define IPC_SUPERVISOR (1u << IPC_ROLE_SUPERVISOR)
#define IPC_STORE      (1u << IPC_ROLE_STORE)
#define IPC_SMTP       (1u << IPC_ROLE_SMTP)
#define IPC_POP3       (1u << IPC_ROLE_POP3)
#define IPC_SUBMISSION (1u << IPC_ROLE_SUBMISSION)
#define IPC_SIGNER     (1u << IPC_ROLE_SIGNER)
#define IPC_IMAP       (1u << IPC_ROLE_IMAP)
#define IPC_CLI        (1u << IPC_ROLE_CLI)
/* Both groups of brant-smtp; what speaks with clients that log in; what reads mail; what sends bodies; what
 * speaks TLS. */
#define IPC_MTA     (IPC_SMTP | IPC_SUBMISSION)
#define IPC_LOGINS  (IPC_SUBMISSION | IPC_READERS)
#define IPC_READERS (IPC_POP3 | IPC_IMAP)
#define IPC_BODIES  (IPC_MTA | IPC_IMAP)
#define IPC_EDGES   (IPC_MTA | IPC_READERS)
/* What the supervisor starts. */
#define IPC_CHILDREN (IPC_STORE | IPC_EDGES | IPC_SIGNER)

/* What is spoken on a listener. The numbers are used in bit sets (IPC_SERVICE_BIT). */
enum ipc_service {
    IPC_SERVICE_SMTP = 1,
    IPC_SERVICE_POP3 = 2,
    IPC_SERVICE_SUBMISSION = 3,       /* port 587, STARTTLS */
    IPC_SERVICE_SUBMISSIONS = 4,      /* port 465, TLS from the first byte (RFC 8314) */
    IPC_SERVICE_SUBMISSION_LOCAL = 5, /* the Unix socket */
    IPC_SERVICE_POP3S = 6,            /* port 995, TLS from the first byte */
    IPC_SERVICE_LMTP = 7,
    IPC_SERVICE_LMTP_LOCAL = 8, /* the Unix socket */
    IPC_SERVICE_IMAP = 9,
    IPC_SERVICE_IMAPS = 10, /* port 993, TLS from the first byte */
    IPC_SERVICE_COUNT
};
#define IPC_SERVICE_BIT(service) (1u << (service))
/* Those with TLS from the first byte: nothing is ever said on them in clear. */
#define IPC_SERVICES_IMPLICIT_TLS                                                    \
    (IPC_SERVICE_BIT(IPC_SERVICE_SUBMISSIONS) | IPC_SERVICE_BIT(IPC_SERVICE_POP3S) | \
     IPC_SERVICE_BIT(IPC_SERVICE_IMAPS))

/* What a password of its own (an app password) opens; bits of app_password_*.services. */
enum ipc_protocol {
    IPC_PROTOCOL_SUBMISSION = 1,
    IPC_PROTOCOL_POP3 = 2,
    IPC_PROTOCOL_IMAP = 4,
    IPC_PROTOCOL_ALL = 7
};

/* The answers of the store, and of the supervisor to the command line. */
enum ipc_status {
    IPC_OK = 0,
    IPC_UNKNOWN_ADDRESS, /* our domain, but nobody of that name */
    IPC_NOT_LOCAL,       /* not one of our domains */
    IPC_OVER_QUOTA,
    IPC_NO_SPACE,  /* the disk, or our reserve on it, is full */
    IPC_TRY_LATER, /* busy, overloaded, or restarting */
    IPC_TOO_MANY,  /* connections or sessions of this source, or in all */
    IPC_AUTH_FAILED,
    IPC_IN_USE, /* the maildrop is locked by another session */
    IPC_NOT_FOUND,
    IPC_EXISTS,
    IPC_INVALID, /* the request makes no sense; text says why */
    IPC_REFUSED, /* it makes sense, and policy says no; text says why */
    IPC_WEAK,    /* the login needs a stronger mechanism, or a password of its own: 534 */
    IPC_EXPIRED, /* the credential was right and is over */
    IPC_DAMAGED, /* stored data does not match its checksum */
    IPC_FAILED,  /* an internal failure, logged by the store */
    IPC_STATUS_COUNT
};

/* A rung of the sandbox ladder as it was found after lock-down. */
enum ipc_rung_state { IPC_RUNG_ENFORCED, IPC_RUNG_UNAVAILABLE, IPC_RUNG_NOT_NEEDED, IPC_RUNG_STATE_COUNT };

/* How a login was made, for the log and for what it may do. */
enum ipc_mechanism {
    IPC_MECHANISM_NONE,
    IPC_MECHANISM_PASSWORD, /* USER and PASS of POP3 */
    IPC_MECHANISM_PLAIN,
    IPC_MECHANISM_LOGIN,
    IPC_MECHANISM_SCRAM_SHA_256,
    IPC_MECHANISM_SCRAM_SHA_256_PLUS,
    IPC_MECHANISM_EXTERNAL,
    IPC_MECHANISM_COUNT
};

/* RFC 5929, RFC 9266; what a session offers for SCRAM-SHA-256-PLUS. */
enum ipc_binding { IPC_BINDING_SERVER_END_POINT = 1, IPC_BINDING_EXPORTER = 2 };

/* What a channel is for; each has its own socket pair. */
enum ipc_purpose {
    IPC_PURPOSE_EVENTS, /* whole messages at any time, through the event loop */
    IPC_PURPOSE_CALLS,  /* one question, one answer, the asker waits: SIGN */
    IPC_PURPOSE_COUNT
};

/* How the signer uses a key: `sign.kind`. */
enum ipc_sign_kind {
    IPC_SIGN_ECDSA,     /* data: a digest. signature: DER */
    IPC_SIGN_RSA_PKCS1, /* data: a DigestInfo, padded by the signer */
    IPC_SIGN_RSA_NONE,  /* data: a whole block, padded by the asker (RSA-PSS of TLS 1.3) */
    IPC_SIGN_COUNT
};

enum ipc_key_file_kind { IPC_KEY_FILE_CHAIN, IPC_KEY_FILE_KEY, IPC_KEY_FILE_COUNT };

enum ipc_commit_state { IPC_COMMIT_UNKNOWN, IPC_COMMIT_DONE, IPC_COMMIT_STATE_COUNT };

enum {
    IPC_ADDRESS_MAX = 320, /* 64 "@" 255 */
    IPC_CHUNK_MAX = 65536, /* body bytes in one message */
    IPC_MAILBOX_NAME_MAX = 1000,
    IPC_MAILBOX_ROWS_MAX = 256,
    IPC_RANGES_MAX = 16384,          /* UIDs in a request or an answer: ranges of IPC_RANGE_BYTES */
    IPC_RANGE_BYTES = 8,             /* first and last UID, four little-endian bytes each */
    IPC_KEYWORDS_MAX = 4096,         /* bytes: names, a space between two */
    IPC_ENTRIES_MAX = 256,           /* rows of MESSAGE_ROWS */
    IPC_STRUCTURES_MAX = 256 * 1024, /* bytes of structures in one MESSAGE_ROWS */
    IPC_APPEND_MAX = 1000,           /* messages of one APPEND */
    IPC_RECIPIENTS_MAX = 1000,
    IPC_VARIANTS_MAX = 16,
    IPC_PREFIX_MAX = 16384,    /* trace and authentication headers of one variant */
    IPC_STRUCTURE_MAX = 65536, /* MIME structure kept with a message */
    IPC_ROWS_MAX = 4096,
    IPC_TEXT_MAX = 1024,
    IPC_CONFIG_MAX = 65536,
    IPC_SASL_MAX = 2048,        /* one message of a SASL exchange, decoded */
    IPC_BINDING_MAX = 64,       /* channel binding data */
    IPC_FINGERPRINT_BYTES = 32, /* SHA-256 of a certificate */
    IPC_KEY_ID_BYTES = 32,      /* SHA-256 of a public key (SubjectPublicKeyInfo) */
    IPC_CERTIFICATES_MAX = 16,
    IPC_CHAIN_MAX = 32768,    /* a certificate chain, PEM */
    IPC_SIGN_DATA_MAX = 1024, /* RSA up to 8192 bits */
    IPC_NAME_MAX = 64,        /* of an app password, and the like */
    IPC_SUM_BYTES = 16,
    IPC_FRAME_MAX = 1u << 20 /* a whole message, header included */
};

#include "ipc/messages_mailbox.h"

/* M(number, NAME, name, from, to, answer) */
#define IPC_MESSAGES(M)                                                                \
    /* supervisor and its roles; descriptors travel with CHANNEL and LISTENER */       \
    M(1, HELLO, hello, IPC_CHILDREN, IPC_SUPERVISOR, NONE)                             \
    M(2, CONFIG, config, IPC_SUPERVISOR, IPC_CHILDREN, CONFIG_DONE)                    \
    M(3, CONFIG_DONE, config_done, IPC_CHILDREN, IPC_SUPERVISOR, NONE)                 \
    M(4, LISTENER, listener, IPC_SUPERVISOR, IPC_CHILDREN, NONE)                       \
    M(5, CHANNEL, channel, IPC_SUPERVISOR, IPC_CHILDREN, NONE)                         \
    M(6, TOKEN_KEY, token_key, IPC_SUPERVISOR, IPC_STORE, NONE)                        \
    M(7, START, start, IPC_SUPERVISOR, IPC_CHILDREN, READY)                            \
    M(8, READY, ready, IPC_CHILDREN, IPC_SUPERVISOR, NONE)                             \
    M(9, DRAIN, drain, IPC_SUPERVISOR, IPC_CHILDREN, NONE)                             \
    M(10, PEER_FAULT, peer_fault, IPC_CHILDREN, IPC_SUPERVISOR, NONE)                  \
    M(11, STATUS_ASK, status_ask, IPC_SUPERVISOR | IPC_CLI, IPC_CHILDREN, STATUS_INFO) \
    M(12, STATUS_INFO, status_info, IPC_CHILDREN, IPC_SUPERVISOR | IPC_CLI, NONE)      \
    M(13, LISTENER_CLOSE, listener_close, IPC_SUPERVISOR, IPC_CHILDREN, NONE)          \
    M(14, KEY_FILES, key_files, IPC_SUPERVISOR, IPC_SIGNER, NONE)                      \
    M(15, KEY_FILE, key_file, IPC_SUPERVISOR, IPC_SIGNER, NONE)                        \
    M(16, KEY_FILES_DONE, key_files_done, IPC_SIGNER, IPC_SUPERVISOR, NONE)            \
    /* the command line and the supervisor */                                          \
    M(20, ATTACH, attach, IPC_CLI, IPC_SUPERVISOR, ATTACHED)                           \
    M(21, ATTACHED, attached, IPC_SUPERVISOR, IPC_CLI, NONE)                           \
    M(22, SYSTEM_ASK, system_ask, IPC_CLI, IPC_SUPERVISOR, SYSTEM_INFO)                \
    M(23, SYSTEM_INFO, system_info, IPC_SUPERVISOR, IPC_CLI, NONE)                     \
    /* the signer */                                                                   \
    M(25, CERTIFICATES, certificates, IPC_SIGNER, IPC_EDGES, NONE)                     \
    M(26, SIGN, sign, IPC_EDGES, IPC_SIGNER, SIGNED)                                   \
    M(27, SIGNED, signed_data, IPC_SIGNER, IPC_EDGES, NONE)                            \
    /* receiving mail */                                                               \
    M(30, SESSION_OPEN, session_open, IPC_EDGES, IPC_STORE, SESSION_VERDICT)           \
    M(31, SESSION_VERDICT, session_verdict, IPC_STORE, IPC_EDGES, NONE)                \
    M(32, SESSION_CLOSE, session_close, IPC_EDGES, IPC_STORE, NONE)                    \
    M(33, RCPT_CHECK, rcpt_check, IPC_MTA, IPC_STORE, RCPT_VERDICT)                    \
    M(34, RCPT_VERDICT, rcpt_verdict, IPC_STORE, IPC_MTA, NONE)                        \
    M(35, BODY_CHUNK, body_chunk, IPC_BODIES, IPC_STORE, NONE)                         \
    M(36, BODY_CREDIT, body_credit, IPC_STORE, IPC_BODIES, NONE)                       \
    M(37, BODY_ABORT, body_abort, IPC_BODIES, IPC_STORE, NONE)                         \
    M(38, COMMIT, commit, IPC_MTA, IPC_STORE, COMMIT_RESULT)                           \
    M(39, COMMIT_RESULT, commit_result, IPC_STORE, IPC_MTA, NONE)                      \
    M(40, COMMIT_ASK, commit_ask, IPC_MTA, IPC_STORE, COMMIT_RESULT)                   \
    /* reading mail */                                                                 \
    M(50, LOGIN, login, IPC_LOGINS, IPC_STORE, LOGIN_RESULT)                           \
    M(51, LOGIN_RESULT, login_result, IPC_STORE, IPC_LOGINS, NONE)                     \
    M(52, RESUME, resume, IPC_LOGINS, IPC_STORE, RESUME_RESULT)                        \
    M(53, RESUME_RESULT, resume_result, IPC_STORE, IPC_LOGINS, NONE)                   \
    M(54, MAILDROP_OPEN, maildrop_open, IPC_POP3, IPC_STORE, MAILDROP)                 \
    M(55, MAILDROP, maildrop, IPC_STORE, IPC_POP3, NONE)                               \
    M(56, MAILDROP_LIST, maildrop_list, IPC_POP3, IPC_STORE, MAILDROP_ROWS)            \
    M(57, MAILDROP_ROWS, maildrop_rows, IPC_STORE, IPC_POP3, NONE)                     \
    M(58, MESSAGE_READ, message_read, IPC_READERS, IPC_STORE, MESSAGE_DATA)            \
    M(59, MESSAGE_DATA, message_data, IPC_STORE, IPC_READERS, NONE)                    \
    M(60, MAILDROP_EXPUNGE, maildrop_expunge, IPC_POP3, IPC_STORE, RESULT)             \
    M(61, SCRAM_BEGIN, scram_begin, IPC_LOGINS, IPC_STORE, SCRAM_STEP)                 \
    M(62, SCRAM_STEP, scram_step, IPC_STORE, IPC_LOGINS, NONE)                         \
    M(63, SCRAM_FINISH, scram_finish, IPC_LOGINS, IPC_STORE, LOGIN_RESULT)             \
    M(64, LOGIN_EXTERNAL, login_external, IPC_LOGINS, IPC_STORE, LOGIN_RESULT)         \
    M(65, SENDER_CHECK, sender_check, IPC_SUBMISSION, IPC_STORE, SENDER_VERDICT)       \
    M(66, SENDER_VERDICT, sender_verdict, IPC_STORE, IPC_SUBMISSION, NONE)             \
    /* administration; a long task sends PROGRESS before its answer */                 \
    M(70, DOMAIN_ADD, domain_add, IPC_CLI, IPC_STORE, RESULT)                          \
    M(71, DOMAIN_REMOVE, domain_remove, IPC_CLI, IPC_STORE, RESULT)                    \
    M(72, DOMAIN_LIST, domain_list, IPC_CLI, IPC_STORE, DOMAIN_ROWS)                   \
    M(73, DOMAIN_ROWS, domain_rows, IPC_STORE, IPC_CLI, NONE)                          \
    M(74, ACCOUNT_ADD, account_add, IPC_CLI, IPC_STORE, RESULT)                        \
    M(75, ACCOUNT_REMOVE, account_remove, IPC_CLI, IPC_STORE, RESULT)                  \
    M(76, ACCOUNT_SET, account_set, IPC_CLI, IPC_STORE, RESULT)                        \
    M(77, ACCOUNT_LIST, account_list, IPC_CLI, IPC_STORE, ACCOUNT_ROWS)                \
    M(78, ACCOUNT_ROWS, account_rows, IPC_STORE, IPC_CLI, NONE)                        \
    M(79, ALIAS_ADD, alias_add, IPC_CLI, IPC_STORE, RESULT)                            \
    M(80, ALIAS_REMOVE, alias_remove, IPC_CLI, IPC_STORE, RESULT)                      \
    M(81, ALIAS_LIST, alias_list, IPC_CLI, IPC_STORE, ALIAS_ROWS)                      \
    M(82, ALIAS_ROWS, alias_rows, IPC_STORE, IPC_CLI, NONE)                            \
    M(83, ADDRESS_RESOLVE, address_resolve, IPC_CLI, IPC_STORE, ADDRESS_ROWS)          \
    M(84, ADDRESS_ROWS, address_rows, IPC_STORE, IPC_CLI, NONE)                        \
    M(85, TRACE, trace, IPC_CLI, IPC_STORE, TRACE_ROWS)                                \
    M(86, TRACE_ROWS, trace_rows, IPC_STORE, IPC_CLI, NONE)                            \
    M(87, STORE_CHECK, store_check, IPC_CLI, IPC_STORE, STORE_REPORT)                  \
    M(88, STORE_REBUILD, store_rebuild, IPC_CLI, IPC_STORE, STORE_REPORT)              \
    M(89, STORE_COMPACT, store_compact, IPC_CLI, IPC_STORE, STORE_REPORT)              \
    M(90, STORE_REPORT, store_report, IPC_STORE, IPC_CLI, NONE)                        \
    M(91, PROGRESS, progress, IPC_STORE, IPC_CLI, NONE)                                \
    M(92, RESULT, result, IPC_STORE, IPC_POP3 | IPC_CLI, NONE)                         \
    M(93, GRANT_ADD, grant_add, IPC_CLI, IPC_STORE, GRANT_ADDED)                       \
    M(94, GRANT_ADDED, grant_added, IPC_STORE, IPC_CLI, NONE)                          \
    M(95, GRANT_REMOVE, grant_remove, IPC_CLI, IPC_STORE, RESULT)                      \
    M(96, GRANT_LIST, grant_list, IPC_CLI, IPC_STORE, GRANT_ROWS)                      \
    M(97, GRANT_ROWS, grant_rows, IPC_STORE, IPC_CLI, NONE)                            \
    M(98, QUEUE_LIST, queue_list, IPC_CLI, IPC_STORE, QUEUE_ROWS)                      \
    M(99, QUEUE_ROWS, queue_rows, IPC_STORE, IPC_CLI, NONE)                            \
    M(100, QUEUE_REMOVE, queue_remove, IPC_CLI, IPC_STORE, RESULT)                     \
    /* mailboxes (IMAP) */                                                             \
    M(110, MAILBOX_LIST, mailbox_list, IPC_IMAP, IPC_STORE, MAILBOX_ROWS)              \
    M(111, MAILBOX_ROWS, mailbox_rows, IPC_STORE, IPC_IMAP, NONE)                      \
    M(112, MAILBOX_STATUS, mailbox_status, IPC_IMAP, IPC_STORE, MAILBOX_ROWS)          \
    M(113, MAILBOX_CHANGE, mailbox_change, IPC_IMAP, IPC_STORE, MAILBOX_CHANGED)       \
    M(114, MAILBOX_CHANGED, mailbox_changed, IPC_STORE, IPC_IMAP, NONE)                \
    M(115, MAILBOX_OPEN, mailbox_open, IPC_IMAP, IPC_STORE, MAILBOX_OPENED)            \
    M(116, MAILBOX_OPENED, mailbox_opened, IPC_STORE, IPC_IMAP, NONE)                  \
    M(117, MAILBOX_WATCH, mailbox_watch, IPC_IMAP, IPC_STORE, NONE)                    \
    M(118, MAILBOX_NEWS, mailbox_news, IPC_STORE, IPC_IMAP, NONE)                      \
    M(119, UIDS_READ, uids_read, IPC_IMAP, IPC_STORE, UIDS)                            \
    M(120, UIDS, uids, IPC_STORE, IPC_IMAP, NONE)                                      \
    M(121, VANISHED_READ, vanished_read, IPC_IMAP, IPC_STORE, UIDS)                    \
    M(122, CHANGES_READ, changes_read, IPC_IMAP, IPC_STORE, CHANGES)                   \
    M(123, CHANGES, changes, IPC_STORE, IPC_IMAP, NONE)                                \
    M(124, MESSAGE_LIST, message_list, IPC_IMAP, IPC_STORE, MESSAGE_ROWS)              \
    M(125, MESSAGE_ROWS, message_rows, IPC_STORE, IPC_IMAP, NONE)                      \
    M(126, MESSAGE_CHANGE, message_change, IPC_IMAP, IPC_STORE, MESSAGES_CHANGED)      \
    M(127, MESSAGES_CHANGED, messages_changed, IPC_STORE, IPC_IMAP, NONE)              \
    M(128, APPEND_MESSAGE, append_message, IPC_IMAP, IPC_STORE, NONE)                  \
    M(129, APPEND_ABORT, append_abort, IPC_IMAP, IPC_STORE, NONE)                      \
    M(130, APPEND_COMMIT, append_commit, IPC_IMAP, IPC_STORE, APPENDED)                \
    M(131, APPEND_ASK, append_ask, IPC_IMAP, IPC_STORE, APPENDED)                      \
    M(132, APPENDED, appended, IPC_STORE, IPC_IMAP, NONE)

/* HELLO: the first message of a role on its control channel. */
#define IPC_FIELDS_hello(F)            \
    F(U16, version, 0, _)              \
    F(U8, role, IPC_ROLE_COUNT - 1, _) \
    F(U32, instance, 0, _)             \
    F(U32, pid, 0, _)

/* CONFIG: the whole configuration in its canonical text, for sessions that begin from now on. */
#define IPC_FIELDS_config(F) \
    F(U64, generation, 0, _) \
    F(BYTES, text, IPC_CONFIG_MAX, _)
#define IPC_FIELDS_config_done(F)          \
    F(U64, generation, 0, _)               \
    F(U8, status, IPC_STATUS_COUNT - 1, _) \
    F(BYTES, text, IPC_TEXT_MAX, _)

/* LISTENER: with one descriptor, a listening socket. `id` names it in LISTENER_CLOSE. On a Unix socket the
 * address is none, and peers of that uid or of that group are trusted, as root is (UINT32_MAX: nobody). */
#define IPC_FIELDS_listener(F)               \
    F(U32, id, 0, _)                         \
    F(U8, service, IPC_SERVICE_COUNT - 1, _) \
    F(ADDR, address, 0, _)                   \
    F(U32, trusted_uid, 0, _)                \
    F(U32, trusted_gid, 0, _)
#define IPC_FIELDS_listener_close(F) F(U32, id, 0, _)

/* CHANNEL: with one descriptor, a stream to another process. It replaces an older one of the same purpose to
 * the same peer. */
#define IPC_FIELDS_channel(F)               \
    F(U8, peer_role, IPC_ROLE_COUNT - 1, _) \
    F(U32, peer_instance, 0, _)             \
    F(U8, purpose, IPC_PURPOSE_COUNT - 1, _)

/* KEY_FILES: `pairs` certificates with their keys follow as KEY_FILE, 2 * pairs of them; they replace all
 * that came before once the last is there. 0: the signer makes a certificate of its own for the host name.
 * KEY_FILE: with one descriptor, a file in PEM; `number` from 0 names the pair.
 * KEY_FILES_DONE: they are in force, or (any other status) refused, and what there was is kept. */
#define IPC_FIELDS_key_files(F) \
    F(U64, generation, 0, _)    \
    F(U32, pairs, IPC_CERTIFICATES_MAX, _)
#define IPC_FIELDS_key_file(F)                  \
    F(U32, number, IPC_CERTIFICATES_MAX - 1, _) \
    F(U8, kind, IPC_KEY_FILE_COUNT - 1, _)      \
    F(BYTES, path, 255, _) /* for messages to people */
#define IPC_FIELDS_key_files_done(F) \
    F(U64, generation, 0, _)         \
    F(U8, status, IPC_STATUS_COUNT - 1, _)

/* CERTIFICATES: what may be shown to clients; sent when a channel comes up and whenever it changes. The first
 * is the one for names that none has. */
#define IPC_FIELDS_certificates(F) \
    F(U64, generation, 0, _)       \
    F(LIST, list, IPC_CERTIFICATES_MAX, certificate)
#define IPC_FIELDS_certificate(F)         \
    F(BYTES, key_id, IPC_KEY_ID_BYTES, _) \
    F(BYTES, chain, IPC_CHAIN_MAX, _) /* PEM, leaf first */

/* SIGN: on a channel for calls only; the asker waits for the answer. */
#define IPC_FIELDS_sign(F)                \
    F(BYTES, key_id, IPC_KEY_ID_BYTES, _) \
    F(U8, kind, IPC_SIGN_COUNT - 1, _)    \
    F(BYTES, data, IPC_SIGN_DATA_MAX, _)
#define IPC_FIELDS_signed_data(F)          \
    F(U8, status, IPC_STATUS_COUNT - 1, _) \
    F(BYTES, signature, IPC_SIGN_DATA_MAX, _)

/* TOKEN_KEY: the key of session tokens; the same for every store process of one run of the supervisor. */
#define IPC_FIELDS_token_key(F) F(BYTES, key, 32, _)

/* START: everything needed was sent; lock down, serve, answer READY. */
#define IPC_FIELDS_start(F) F(U64, generation, 0, _)
#define IPC_FIELDS_ready(F)  \
    F(U64, generation, 0, _) \
    F(LIST, rungs, 16, rung)
#define IPC_FIELDS_rung(F)                    \
    F(BYTES, name, 32, _)                     \
    F(U8, state, IPC_RUNG_STATE_COUNT - 1, _) \
    F(BYTES, proof, 200, _)

/* DRAIN: finish the sessions that run, take no new ones, end after at most deadline_ms. */
#define IPC_FIELDS_drain(F) F(U32, deadline_ms, 0, _)

/* PEER_FAULT: the named process sent what it must not; it has to be restarted. */
#define IPC_FIELDS_peer_fault(F)            \
    F(U8, peer_role, IPC_ROLE_COUNT - 1, _) \
    F(U32, peer_instance, 0, _)             \
    F(BYTES, reason, IPC_TEXT_MAX, _)

#define IPC_FIELDS_status_ask(F)  F(U8, detail, 0, _)
#define IPC_FIELDS_status_info(F) F(LIST, pairs, 64, pair)
#define IPC_FIELDS_pair(F) \
    F(BYTES, key, 64, _)   \
    F(BYTES, value, IPC_TEXT_MAX, _)

/* ATTACH: asks for a channel to the store; ATTACHED carries the descriptor when the status is IPC_OK. */
#define IPC_FIELDS_attach(F) F(U16, version, 0, _)
#define IPC_FIELDS_attached(F)             \
    F(U8, status, IPC_STATUS_COUNT - 1, _) \
    F(BYTES, text, IPC_TEXT_MAX, _)
#define IPC_FIELDS_system_ask(F) F(U16, version, 0, _)
#define IPC_FIELDS_system_info(F) \
    F(LIST, pairs, 64, pair)      \
    F(LIST, processes, 256, process)
#define IPC_FIELDS_process(F)                  \
    F(BYTES, name, 64, _)                      \
    F(U32, pid, 0, _)                          \
    F(U8, running, 1, _)                       \
    F(U32, restarts, 0, _)                     \
    F(U64, started_at_s, 0, _) /* Unix time */ \
    F(LIST, rungs, 16, rung)                   \
    F(LIST, pairs, 64, pair)

/* SESSION_OPEN: one network connection; the store counts it and says whether it may go on. A refused session
 * is unknown to the store. Every later message that names a session must name an open one of this channel;
 * anything else but SESSION_CLOSE is a fault of the sender. When a new store process takes over (a new
 * CHANNEL), sessions are presented to it before anything is asked for them: with SESSION_OPEN, or, where
 * somebody is logged in, with RESUME. */
#define IPC_FIELDS_session_open(F)           \
    F(ID, session, 0, _)                     \
    F(U8, service, IPC_SERVICE_COUNT - 1, _) \
    F(ADDR, source, 0, _)
#define IPC_FIELDS_session_verdict(F)      \
    F(U8, status, IPC_STATUS_COUNT - 1, _) \
    F(BYTES, text, IPC_TEXT_MAX, _)
#define IPC_FIELDS_session_close(F) F(ID, session, 0, _)

/* RCPT_CHECK: may this recipient be accepted for a message of `size` declared bytes (0: not declared)? */
#define IPC_FIELDS_rcpt_check(F)          \
    F(ID, session, 0, _)                  \
    F(BYTES, address, IPC_ADDRESS_MAX, _) \
    F(U64, size, 0, _)
/* In a session that is logged in for submission, recipients elsewhere are IPC_OK too, with `remote`. */
#define IPC_FIELDS_rcpt_verdict(F)         \
    F(U8, status, IPC_STATUS_COUNT - 1, _) \
    F(U8, remote, 1, _)                    \
    F(BYTES, text, IPC_TEXT_MAX, _)

/* SENDER_CHECK: may the account of this session use this address as a sender? IPC_OK or IPC_REFUSED. Asked
 * for every reverse-path (empty: the null one, which everybody may use), so that the store knows where a
 * transaction begins, and for addresses of the header. */
#define IPC_FIELDS_sender_check(F) \
    F(ID, session, 0, _)           \
    F(BYTES, address, IPC_ADDRESS_MAX, _)
#define IPC_FIELDS_sender_verdict(F)       \
    F(U8, status, IPC_STATUS_COUNT - 1, _) \
    F(BYTES, text, IPC_TEXT_MAX, _)

/* BODY_CHUNK: the next bytes of a body that a COMMIT of the same session will name. The sender keeps at most
 * the credit it was given in flight: IPC_BODY_CREDIT bytes at the start of a body, then what BODY_CREDIT
 * adds. */
#define IPC_FIELDS_body_chunk(F) \
    F(ID, session, 0, _)         \
    F(U64, body, 0, _)           \
    F(BYTES, bytes, IPC_CHUNK_MAX, _)
#define IPC_FIELDS_body_credit(F) \
    F(ID, session, 0, _)          \
    F(U64, body, 0, _)            \
    F(U32, bytes, 0, _)           \
    F(U8, status, IPC_STATUS_COUNT - 1, _) /* not IPC_OK: the body was dropped, send no more of it */
#define IPC_FIELDS_body_abort(F) \
    F(ID, session, 0, _)         \
    F(U64, body, 0, _)

/* COMMIT: one message for all its recipients. Answered when it is durable, or refused as a whole, or per
 * recipient. The id is random and kept with the message, so that COMMIT_ASK can tell after a restart of the
 * store whether it was done. */
#define IPC_FIELDS_commit(F)                                                                \
    F(ID, commit, 0, _)                                                                     \
    F(ID, session, 0, _)                                                                    \
    F(U64, body, 0, _)                                                                      \
    F(U64, body_bytes, 0, _)                                                                \
    F(U8, service, IPC_SERVICE_COUNT - 1, _)                                                \
    F(U8, each, 1, _) /* LMTP: recipients fail one by one, the others get the message */    \
    F(BYTES, content_sum, IPC_SUM_BYTES,                                                    \
      _)                 /* submission: of the body behind the header, for the Sent copy */ \
    F(BYTES, tls, 64, _) /* "TLSv1.3 TLS_AES_256_GCM_SHA384"; empty: in clear */            \
    F(ADDR, source, 0, _)                                                                   \
    F(BYTES, protocol, 16, _) /* "ESMTP", "UTF8SMTP" … as in Received (RFC 3848, 6531) */ \
    F(BYTES, helo, 255, _)                                                                  \
    F(BYTES, reverse_path, IPC_ADDRESS_MAX, _)                                              \
    F(BYTES, message_id, 998, _) /* the Message-ID field's, with brackets; for TRACE */     \
    F(LIST, recipients, IPC_RECIPIENTS_MAX, recipient)                                      \
    F(LIST, variants, IPC_VARIANTS_MAX, variant)                                            \
    F(BYTES, structure, IPC_STRUCTURE_MAX, _)
#define IPC_FIELDS_recipient(F)           \
    F(BYTES, address, IPC_ADDRESS_MAX, _) \
    F(U16, variant, 0, _)
/* What stands in front of the received bytes for the recipients of this variant. */
#define IPC_FIELDS_variant(F) F(BYTES, prefix, IPC_PREFIX_MAX, _)

#define IPC_FIELDS_commit_result(F)                                 \
    F(ID, commit, 0, _)                                             \
    F(U8, state, IPC_COMMIT_STATE_COUNT - 1, _)                     \
    F(U8, status, IPC_STATUS_COUNT - 1, _) /* when not done: why */ \
    F(LIST, results, IPC_RECIPIENTS_MAX, recipient_result)
#define IPC_FIELDS_recipient_result(F) F(U8, status, IPC_STATUS_COUNT - 1, _)
#define IPC_FIELDS_commit_ask(F)       F(ID, commit, 0, _)

/* LOGIN: a name and password. The token lets the session be presented again to a new store process. `tls`:
 * the password came encrypted. All texts as the client sent them; the store prepares them (RFC 8265). */
#define IPC_FIELDS_login(F)                                    \
    F(ID, session, 0, _)                                       \
    F(U8, service, IPC_SERVICE_COUNT - 1, _)                   \
    F(U8, mechanism, IPC_MECHANISM_COUNT - 1, _)               \
    F(U8, tls, 1, _)                                           \
    F(ADDR, source, 0, _)                                      \
    F(BYTES, authzid, IPC_ADDRESS_MAX, _) /* empty: as user */ \
    F(BYTES, user, IPC_ADDRESS_MAX, _)                         \
    F(BYTES, password, 512, _)
/* `final`: what a mechanism has to say at its end: the server's signature, or SCRAM's error. */
#define IPC_FIELDS_login_result(F)         \
    F(U8, status, IPC_STATUS_COUNT - 1, _) \
    F(U64, account, 0, _)                  \
    F(BYTES, token, 32, _)                 \
    F(BYTES, address, IPC_ADDRESS_MAX, _)  \
    F(BYTES, final, IPC_SASL_MAX, _)
#define IPC_FIELDS_resume(F)                 \
    F(ID, session, 0, _)                     \
    F(U8, service, IPC_SERVICE_COUNT - 1, _) \
    F(ADDR, source, 0, _)                    \
    F(U64, account, 0, _)                    \
    F(BYTES, token, 32, _)                   \
    F(U8, maildrop_held, 1, _) /* it had the maildrop open: take the lock again */
#define IPC_FIELDS_resume_result(F) F(U8, status, IPC_STATUS_COUNT - 1, _)

/* SCRAM (RFC 5802, RFC 7677), whose server side is the store's. `bindings`: what this connection could bind
 * to (enum ipc_binding), with their data; in clear there are none. A failed SCRAM_STEP ends the exchange. */
#define IPC_FIELDS_scram_begin(F)                                                                         \
    F(ID, session, 0, _)                                                                                  \
    F(U8, service, IPC_SERVICE_COUNT - 1, _)                                                              \
    F(U8, mechanism, IPC_MECHANISM_COUNT - 1, _)                                                          \
    F(U8, tls, 1, _)                                                                                      \
    F(U8, plus_offered, 1, _) /* the -PLUS mechanism was announced: a client's "y" is then a downgrade */ \
    F(ADDR, source, 0, _)                                                                                 \
    F(BYTES, binding_end_point, IPC_BINDING_MAX, _)                                                       \
    F(BYTES, binding_exporter, IPC_BINDING_MAX, _)                                                        \
    F(BYTES, message, IPC_SASL_MAX, _) /* client-first */
#define IPC_FIELDS_scram_step(F)           \
    F(U8, status, IPC_STATUS_COUNT - 1, _) \
    F(BYTES, message, IPC_SASL_MAX, _) /* server-first, or "e=…" */
#define IPC_FIELDS_scram_finish(F) \
    F(ID, session, 0, _)           \
    F(BYTES, message, IPC_SASL_MAX, _) /* client-final */

/* LOGIN_EXTERNAL: the connection itself proves who it is: by a client certificate (its fingerprint), or on
 * the Unix socket by the kernel's word for the peer (`trusted_peer`: root or a member of the control group).
 */
#define IPC_FIELDS_login_external(F)                \
    F(ID, session, 0, _)                            \
    F(U8, service, IPC_SERVICE_COUNT - 1, _)        \
    F(U8, trusted_peer, 1, _)                       \
    F(ADDR, source, 0, _)                           \
    F(BYTES, fingerprint, IPC_FINGERPRINT_BYTES, _) \
    F(BYTES, authzid, IPC_ADDRESS_MAX, _)

/* The maildrop of the session's account: its INBOX, locked for this session until SESSION_CLOSE. */
#define IPC_FIELDS_maildrop_open(F) F(ID, session, 0, _)
#define IPC_FIELDS_maildrop(F)             \
    F(U8, status, IPC_STATUS_COUNT - 1, _) \
    F(U32, uidvalidity, 0, _)              \
    F(U32, count, 0, _)                    \
    F(U64, octets, 0, _)
#define IPC_FIELDS_maildrop_list(F) \
    F(ID, session, 0, _)            \
    F(U32, after_uid, 0, _)
#define IPC_FIELDS_maildrop_rows(F)        \
    F(U8, status, IPC_STATUS_COUNT - 1, _) \
    F(U8, more, 1, _)                      \
    F(LIST, rows, IPC_ROWS_MAX, maildrop_row)
#define IPC_FIELDS_maildrop_row(F) \
    F(U32, uid, 0, _)              \
    F(U64, octets, 0, _)
/* mailbox: an id; 0: the maildrop. */
#define IPC_FIELDS_message_read(F) \
    F(ID, session, 0, _)           \
    F(U64, mailbox, 0, _)          \
    F(U32, uid, 0, _)              \
    F(U64, offset, 0, _)           \
    F(U32, length, IPC_CHUNK_MAX, _)
/* Fewer bytes than asked for: the end of the message. */
#define IPC_FIELDS_message_data(F)         \
    F(U8, status, IPC_STATUS_COUNT - 1, _) \
    F(BYTES, bytes, IPC_CHUNK_MAX, _)
/* Uids as four little-endian bytes each; those that are gone already are no error. */
#define IPC_FIELDS_maildrop_expunge(F) \
    F(ID, session, 0, _)               \
    F(BYTES, uids, IPC_CHUNK_MAX, _)

#define IPC_FIELDS_domain_add(F)    F(BYTES, domain, 255, _)
#define IPC_FIELDS_domain_remove(F) F(BYTES, domain, 255, _)
/* Lists come in order, in slices: `after` is the last name seen, empty for the first slice. */
#define IPC_FIELDS_domain_list(F) F(BYTES, after, 255, _)
#define IPC_FIELDS_domain_rows(F) \
    F(U8, more, 1, _)             \
    F(LIST, rows, IPC_ROWS_MAX, domain_row)
#define IPC_FIELDS_domain_row(F) \
    F(BYTES, domain, 255, _)     \
    F(U64, accounts, 0, _)       \
    F(U64, aliases, 0, _)

#define IPC_FIELDS_account_add(F)                                                           \
    F(BYTES, address, IPC_ADDRESS_MAX, _)                                                   \
    F(BYTES, password, 512, _) /* empty: no password, nobody can log in */                  \
    F(U8, hashed, 1, _)        /* password is a crypt(3) or Argon2id hash from elsewhere */ \
    F(U64, quota_bytes, 0, _)  /* 0: unlimited */
#define IPC_FIELDS_account_remove(F) F(BYTES, address, IPC_ADDRESS_MAX, _)
/* Bits of account_set.change. */
enum ipc_account_change {
    IPC_ACCOUNT_PASSWORD = 1,
    IPC_ACCOUNT_QUOTA = 2,
    IPC_ACCOUNT_ENABLED = 4,
    IPC_ACCOUNT_SENT_COPY = 8
};
#define IPC_FIELDS_account_set(F)         \
    F(BYTES, address, IPC_ADDRESS_MAX, _) \
    F(U32, change, 15, _)                 \
    F(BYTES, password, 512, _)            \
    F(U8, hashed, 1, _)                   \
    F(U64, quota_bytes, 0, _)             \
    F(U8, enabled, 1, _)                  \
    F(U8, sent_copy, 1, _)
#define IPC_FIELDS_account_list(F)            \
    F(BYTES, domain, 255, _) /* empty: all */ \
    F(BYTES, after, IPC_ADDRESS_MAX, _)
#define IPC_FIELDS_account_rows(F) \
    F(U8, more, 1, _)              \
    F(LIST, rows, 2000, account_row)
#define IPC_FIELDS_account_row(F)         \
    F(BYTES, address, IPC_ADDRESS_MAX, _) \
    F(U64, account, 0, _)                 \
    F(U64, messages, 0, _)                \
    F(U64, used_bytes, 0, _)              \
    F(U64, quota_bytes, 0, _)             \
    F(U8, enabled, 1, _)                  \
    F(U8, has_password, 1, _)             \
    F(U8, has_scram, 1, _)                \
    F(U8, sent_copy, 1, _)                \
    F(U32, grants, 0, _)                  \
    F(U32, app_passwords, 0, _)           \
    F(U64, created_at_s, 0, _)

/* What an account has beside its password: app passwords, client certificates for EXTERNAL, addresses of
 * others it may send as. */
enum ipc_grant_kind {
    IPC_GRANT_APP_PASSWORD = 1,
    IPC_GRANT_CERTIFICATE = 2,
    IPC_GRANT_SEND_AS = 3,
    IPC_GRANT_COUNT
};
#define IPC_FIELDS_grant_add(F)                                                                       \
    F(BYTES, address, IPC_ADDRESS_MAX, _) /* of the account */                                        \
    F(U8, kind, IPC_GRANT_COUNT - 1, _)                                                               \
    F(BYTES, name, IPC_ADDRESS_MAX, _) /* of the app password or certificate; SEND_AS: the address */ \
    F(U32, protocols, IPC_PROTOCOL_ALL, _)                                                            \
    F(U64, expires_at_s, 0, _) /* Unix time; 0: never */                                              \
    F(BYTES, fingerprint, IPC_FINGERPRINT_BYTES, _)
/* `password`: of a new app password, shown this once. */
#define IPC_FIELDS_grant_added(F)          \
    F(U8, status, IPC_STATUS_COUNT - 1, _) \
    F(BYTES, text, IPC_TEXT_MAX, _)        \
    F(BYTES, password, 64, _)
#define IPC_FIELDS_grant_remove(F)        \
    F(BYTES, address, IPC_ADDRESS_MAX, _) \
    F(U8, kind, IPC_GRANT_COUNT - 1, _)   \
    F(BYTES, name, IPC_ADDRESS_MAX, _)
#define IPC_FIELDS_grant_list(F)          \
    F(BYTES, address, IPC_ADDRESS_MAX, _) \
    F(U8, kind, IPC_GRANT_COUNT - 1, _) /* 0: all */
#define IPC_FIELDS_grant_rows(F)           \
    F(U8, status, IPC_STATUS_COUNT - 1, _) \
    F(BYTES, text, IPC_TEXT_MAX, _)        \
    F(LIST, rows, 64, grant_row)
#define IPC_FIELDS_grant_row(F)         \
    F(U8, kind, IPC_GRANT_COUNT - 1, _) \
    F(BYTES, name, IPC_ADDRESS_MAX, _)  \
    F(U32, protocols, 0, _)             \
    F(U64, created_at_s, 0, _)          \
    F(U64, expires_at_s, 0, _)          \
    F(BYTES, fingerprint, IPC_FINGERPRINT_BYTES, _)

/* The queue: one row per message and remote recipient. `after` is the id of the last row seen. */
#define IPC_FIELDS_queue_list(F)  \
    F(U64, after_message, 0, _)   \
    F(U32, after_recipient, 0, _) \
    F(BYTES, address, IPC_ADDRESS_MAX, _) /* sender, recipient or "@domain"; empty: all */
#define IPC_FIELDS_queue_rows(F)           \
    F(U8, status, IPC_STATUS_COUNT - 1, _) \
    F(U8, more, 1, _)                      \
    F(LIST, rows, 500, queue_row)
#define IPC_FIELDS_queue_row(F)                                                                \
    F(U64, message, 0, _)                                                                      \
    F(U32, recipient, 0, _) /* index in the envelope */                                        \
    F(ID, commit, 0, _)                                                                        \
    F(BYTES, sender, IPC_ADDRESS_MAX, _)                                                       \
    F(BYTES, address, IPC_ADDRESS_MAX, _)                                                      \
    F(BYTES, account, IPC_ADDRESS_MAX, _) /* who submitted it; empty: nobody known any more */ \
    F(BYTES, state, 32, _)                                                                     \
    F(U64, created_at_s, 0, _)                                                                 \
    F(U64, bytes, 0, _)
#define IPC_FIELDS_queue_remove(F) \
    F(U64, message, 0, _)          \
    F(U32, recipient, 0, _)

#define IPC_FIELDS_alias_add(F)                                          \
    F(BYTES, alias, IPC_ADDRESS_MAX, _) /* "@domain" is the catch-all */ \
    F(BYTES, target, IPC_ADDRESS_MAX, _)
#define IPC_FIELDS_alias_remove(F)      \
    F(BYTES, alias, IPC_ADDRESS_MAX, _) \
    F(BYTES, target, IPC_ADDRESS_MAX, _) /* empty: all targets */
#define IPC_FIELDS_alias_list(F)              \
    F(BYTES, domain, 255, _)                  \
    F(BYTES, after_alias, IPC_ADDRESS_MAX, _) \
    F(BYTES, after_target, IPC_ADDRESS_MAX, _)
#define IPC_FIELDS_alias_rows(F) \
    F(U8, more, 1, _)            \
    F(LIST, rows, 1000, alias_row)
#define IPC_FIELDS_alias_row(F)         \
    F(BYTES, alias, IPC_ADDRESS_MAX, _) \
    F(BYTES, target, IPC_ADDRESS_MAX, _)

/* Where mail for an address goes. */
#define IPC_FIELDS_address_resolve(F) F(BYTES, address, IPC_ADDRESS_MAX, _)
#define IPC_FIELDS_address_rows(F)         \
    F(U8, status, IPC_STATUS_COUNT - 1, _) \
    F(BYTES, text, IPC_TEXT_MAX, _)        \
    F(LIST, rows, IPC_RECIPIENTS_MAX, address_row)
#define IPC_FIELDS_address_row(F)         \
    F(BYTES, account, IPC_ADDRESS_MAX, _) \
    F(BYTES, detail, 64, _)

/* TRACE: the story of a message or address; `after` is the seq of the last row seen, 0 for the first slice.
 */
#define IPC_FIELDS_trace(F)             \
    F(BYTES, query, IPC_ADDRESS_MAX, _) \
    F(U64, after, 0, _)
#define IPC_FIELDS_trace_rows(F)           \
    F(U8, status, IPC_STATUS_COUNT - 1, _) \
    F(U8, more, 1, _)                      \
    F(LIST, rows, 100, trace_row)
#define IPC_FIELDS_trace_row(F)           \
    F(U64, seq, 0, _)                     \
    F(U64, time_us, 0, _) /* Unix time */ \
    F(BYTES, event, 64, _)                \
    F(LIST, pairs, 64, pair)

#define IPC_FIELDS_store_check(F)   F(U8, deep, 1, _) /* deep: read every byte and verify its checksum */
#define IPC_FIELDS_store_rebuild(F) F(U8, confirm, 1, _)
#define IPC_FIELDS_store_compact(F) \
    F(U8, all, 1, _) /* all: every closed segment, not only the wasteful ones */
#define IPC_FIELDS_store_report(F)         \
    F(U8, status, IPC_STATUS_COUNT - 1, _) \
    F(LIST, pairs, 64, pair)               \
    F(LIST, problems, 200, problem)
#define IPC_FIELDS_problem(F) F(BYTES, text, IPC_TEXT_MAX, _)
#define IPC_FIELDS_progress(F) \
    F(U64, done, 0, _)         \
    F(U64, total, 0, _)        \
    F(BYTES, text, 200, _)
#define IPC_FIELDS_result(F)               \
    F(U8, status, IPC_STATUS_COUNT - 1, _) \
    F(BYTES, text, IPC_TEXT_MAX, _)

/* Structs that occur inside lists; one that holds another comes after it. */
#define IPC_ITEMS(I)    \
    I(rung)             \
    I(pair)             \
    I(process)          \
    I(recipient)        \
    I(variant)          \
    I(recipient_result) \
    I(certificate)      \
    I(maildrop_row)     \
    I(mailbox_row)      \
    I(message_row)      \
    I(grant_row)        \
    I(queue_row)        \
    I(domain_row)       \
    I(account_row)      \
    I(alias_row)        \
    I(address_row)      \
    I(trace_row)        \
    I(problem)

/* Bytes of a body that may be under way before the first BODY_CREDIT. */
enum { IPC_BODY_CREDIT = 4 * IPC_CHUNK_MAX };

struct ipc_id {
    uint8_t b[16];
};

#define IPC_DECLARE_U8(name, item)    uint8_t name;
#define IPC_DECLARE_U16(name, item)   uint16_t name;
#define IPC_DECLARE_U32(name, item)   uint32_t name;
#define IPC_DECLARE_U64(name, item)   uint64_t name;
#define IPC_DECLARE_ID(name, item)    struct ipc_id name;
#define IPC_DECLARE_ADDR(name, item)  struct ip_addr name;
#define IPC_DECLARE_BYTES(name, item) struct span name;
#define IPC_DECLARE_LIST(name, item) \
    const struct ipc_##item *name;   \
    uint32_t name##_count;
#define IPC_DECLARE(kind, name, max, item) IPC_DECLARE_##kind(name, item)

#define IPC_STRUCT_ITEM(name)          \
    struct ipc_##name {                \
        IPC_FIELDS_##name(IPC_DECLARE) \
    };
IPC_ITEMS(IPC_STRUCT_ITEM)
#define IPC_STRUCT_MESSAGE(number, NAME, name, from, to, answer) IPC_STRUCT_ITEM(name)
IPC_MESSAGES(IPC_STRUCT_MESSAGE)

enum ipc_type {
    IPC_TYPE_NONE = 0,
#define IPC_ENUM(number, NAME, name, from, to, answer) IPC_TYPE_##NAME = number,
    IPC_MESSAGES(IPC_ENUM)
#undef IPC_ENUM
};

/* A message of any type. `tag` is chosen by who asks and repeated in the answer; 0 where nothing is asked. */
struct ipc_message {
    uint16_t type; /* enum ipc_type: which member of the union is meant */
    uint32_t tag;
    union {
#define IPC_MEMBER(number, NAME, name, from, to, answer) struct ipc_##name name;
        IPC_MESSAGES(IPC_MEMBER)
#undef IPC_MEMBER
    };
};

/* Appends one whole frame. BRANT_ELIMIT: a field is over its maximum, or the buffer is full (unchanged);
 * BRANT_ESYNTAX: no such type. */
int ipc_encode(struct buf *out, const struct ipc_message *m);

/* Decodes one whole frame as ipc_frame_next gives it. Spans point into the frame; lists lie in the arena.
 * BRANT_ESYNTAX: unknown type, too short, or trailing bytes; BRANT_ELIMIT: over a maximum, or the arena is
 * full. ret is untouched on failure. */
int ipc_decode(struct span frame, struct arena *arena, struct ipc_message *ret);

/* May a process of role `from` say this to one of role `to`? */
bool ipc_permitted(uint16_t type, enum ipc_role from, enum ipc_role to);
/* Its fields hold passwords or keys: what it was written into is to be overwritten. */
bool ipc_is_secret(uint16_t type);
/* May this one say such a thing to that one? What is read from it is then to be overwritten. */
bool ipc_may_be_secret(enum ipc_role from, enum ipc_role to);
/* The type that answers it, or IPC_TYPE_NONE. */
enum ipc_type ipc_answer(uint16_t type);

const char *ipc_type_name(uint16_t type);          /* "rcpt_check"; "unknown" */
const char *ipc_role_name(enum ipc_role role);     /* "store" */
const char *ipc_service_name(uint8_t service);     /* "submission"; as in the keys of the configuration */
const char *ipc_mechanism_name(uint8_t mechanism); /* "SCRAM-SHA-256" */
const char *ipc_status_text(uint8_t status);       /* a phrase for logs and the command line */

#endif
