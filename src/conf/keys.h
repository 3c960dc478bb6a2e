/* The one table of the configuration. The struct, the parser, `brant check`, `brant help config`, the dump
 * and brant.conf(5) are made from it.
 *
 * X(group, TYPE, field, "key", FLAGS, min, max, "default", "choices", "help")
 *
 * min and max: bytes for SIZE, milliseconds for DURATION, the number itself for INT, characters for the
 * textual types, entries for ADDRESSES and CERTIFICATES; unused for ENUM, whose choices are separated by '|'
 * in the order of the enum in conf.h. The default is written as a user would write it. FLAGS: RELOAD (taken
 * up at SIGHUP), RESTART (needs a restart), with | REQUIRED (there is no default). Sizes and durations that
 * may be 0 say in the help text what 0 means. */
#ifndef CONF_KEYS_H
#define CONF_KEYS_H

#define CONF_KiB 1024ULL
#define CONF_MiB (1024 * CONF_KiB)
#define CONF_GiB (1024 * CONF_MiB)
#define CONF_TiB (1024 * CONF_GiB)
#define CONF_S   1000ULL
#define CONF_MIN (60 * CONF_S)
#define CONF_H   (60 * CONF_MIN)
#define CONF_D   (24 * CONF_H)

/* clang-format off */
#define CONF_KEYS_GENERAL(X)                                                                                  \
    X(GENERAL, HOSTNAME, hostname, "hostname", RESTART | REQUIRED, 3, 253, "", "",                             \
      "Full name of this machine in the DNS, as it appears in greetings, Received: fields and delivery reports.") \
    X(GENERAL, HOSTNAME, greeting_name, "greeting_name", RELOAD, 0, 253, "", "",                               \
      "Name shown in the SMTP, POP3 and IMAP greeting instead of hostname. Empty: hostname.")                        \
    X(GENERAL, PATH, data_dir, "data_dir", RESTART, 1, 255, "/var/lib/brant", "",                              \
      "Directory of the journal, the message bodies and the index. It must be on a local disk.")               \
    X(GENERAL, PATH, run_dir, "run_dir", RESTART, 1, 80, "/run/brant", "",                                     \
      "Directory of the control socket, control.sock, which the brant command speaks to.")                     \
    X(GENERAL, STRING, control_group, "control_group", RESTART, 1, 32, "brant", "",                            \
      "Members of this system group may use the control socket; root always may.")                             \
    X(GENERAL, INT, uid_base, "uid_base", RESTART, 1000, 4000000000ULL, "60600", "",                           \
      "First of the 16 numeric user ids the roles run under, one each, when brant is started as root. "        \
      "Nothing else on the machine may use them; they need no entry in /etc/passwd.")                          \
    X(GENERAL, DURATION, drain_time_ms, "drain_time", RELOAD, 1 * CONF_S, 1 * CONF_H, "10 min", "",               \
      "How long a role that is being replaced or stopped lets its sessions finish before it ends them.")

#define CONF_KEYS_LISTEN(X)                                                                                   \
    X(LISTEN, ADDRESSES, listen_smtp, "listen.smtp", RELOAD, 0, 16, "0.0.0.0:25, [::]:25", "",                 \
      "Addresses and ports where mail from other servers is accepted. none: nowhere.")                         \
    X(LISTEN, ADDRESSES, listen_pop3, "listen.pop3", RELOAD, 0, 16, "127.0.0.1:110", "",                       \
      "Addresses and ports where mail is read by POP3, in clear and by STLS. none: nowhere.")                  \
    X(LISTEN, ADDRESSES, listen_pop3s, "listen.pop3s", RELOAD, 0, 16, "none", "",                              \
      "Addresses and ports of POP3 with TLS from the first byte, usually port 995. none: nowhere.")            \
    X(LISTEN, ADDRESSES, listen_imap, "listen.imap", RELOAD, 0, 16, "127.0.0.1:143", "",                       \
      "Addresses and ports where mail is read by IMAP, in clear and by STARTTLS. none: nowhere.")              \
    X(LISTEN, ADDRESSES, listen_imaps, "listen.imaps", RELOAD, 0, 16, "none", "",                              \
      "Addresses and ports of IMAP with TLS from the first byte, usually port 993. none: nowhere.")            \
    X(LISTEN, ADDRESSES, listen_submission, "listen.submission", RELOAD, 0, 16, "none", "",                    \
      "Addresses and ports where users hand over mail after logging in, by STARTTLS, usually port 587. "       \
      "none: nowhere.")                                                                                        \
    X(LISTEN, ADDRESSES, listen_submissions, "listen.submissions", RELOAD, 0, 16, "none", "",                  \
      "The same with TLS from the first byte, usually port 465. none: nowhere.")                               \
    X(LISTEN, ADDRESSES, listen_lmtp, "listen.lmtp", RELOAD, 0, 16, "none", "",                                \
      "Addresses and ports where another mail system hands over mail for local recipients by LMTP. It asks "   \
      "nobody who they are: use loopback or a closed network. none: nowhere.")                                 \
    X(LISTEN, PATH, submission_socket, "submission_socket", RESTART, 0, 200, "", "",                            \
      "Unix socket where programs of this machine hand over mail. root and the members of control_group may "  \
      "name the account they send for (AUTH EXTERNAL); others log in. Empty: none.")                           \
    X(LISTEN, PATH, lmtp_socket, "lmtp_socket", RESTART, 0, 200, "", "",                                        \
      "Unix socket for LMTP, for root and the members of control_group. Empty: none.")                         \
    X(LISTEN, INT, listen_backlog, "listen_backlog", RESTART, 16, 65535, "1024", "",                           \
      "Connections the kernel holds for each address while no instance has accepted them yet.")                \
    X(LISTEN, INT, max_connections, "max_connections", RELOAD, 1, 100000, "5000", "",                          \
      "Connections at one time, all services together.")                                                       \
    X(LISTEN, INT, max_connections_per_source, "max_connections_per_source", RELOAD, 1, 100000, "100", "",     \
      "Connections at one time from one source: an IPv4 address, or an IPv6 network of 64 bits.")

#define CONF_KEYS_TLS(X)                                                                                      \
    X(TLS, CERTIFICATES, tls_certificate, "tls.certificate", RELOAD, 0, 16, "none", "",                        \
      "A certificate chain and its private key: two paths of PEM files, the key RSA or ECDSA. May be repeated; " \
      "clients get the one whose name they ask for, or else the first. none: the server makes a self-signed "  \
      "certificate and keeps it in keys_dir.")                                                                 \
    X(TLS, PATH, keys_dir, "keys_dir", RESTART, 0, 255, "", "",                                                \
      "Directory of the private keys that the server makes itself; only the signer role can read it. Empty: "  \
      "the name of data_dir with -keys behind it.")                                                            \
    X(TLS, ENUM, tls_client_certificate, "tls.client_certificate", RELOAD, 0, 0, "mx", "off|mx|all",           \
      "Where clients are asked for a certificate, which is recorded and, for accounts that know it, allows "   \
      "AUTH EXTERNAL: nowhere, on listen.smtp, or everywhere. Some mail programs ask their user back.")        \
    X(TLS, DURATION, tls_handshake_timeout_ms, "tls.handshake_timeout", RELOAD, 1 * CONF_S, 5 * CONF_MIN, "30 s", "", \
      "How long a client may take for a TLS handshake.")

#define CONF_KEYS_AUTH(X)                                                                                     \
    X(AUTH, ENUM, cleartext_auth, "cleartext_auth", RELOAD, 0, 0, "never", "loopback|never",                   \
      "Where logging in is possible without TLS: on loopback addresses, or never.")                            \
    X(AUTH, HOSTNAME, auth_default_domain, "auth.default_domain", RELOAD, 0, 253, "", "",                      \
      "Domain of logins without one: alice is then alice@this. Empty: logins need their domain.")              \
    X(AUTH, INT, max_login_failures, "max_login_failures", RELOAD, 1, 100, "3", "",                            \
      "Wrong passwords after which a session is ended.")                                                       \
    X(AUTH, DURATION, auth_failure_delay_ms, "auth.failure_delay", RELOAD, 0, 10 * CONF_S, "500 ms", "",       \
      "A refused login is answered this long after it was asked for, whatever the reason, so that the time "   \
      "tells nothing about accounts. 0: at once.")                                                             \
    X(AUTH, INT, auth_account_failures, "auth.account_failures", RELOAD, 1, 1000, "10", "",                    \
      "Wrong passwords for one account within a minute, from sources it has not been used from before, after " \
      "which such sources have to wait.")                                                                      \
    X(AUTH, INT, auth_source_failures, "auth.source_failures", RELOAD, 1, 10000, "30", "",                     \
      "Wrong passwords from one IPv4 address or IPv6 network of 64 bits within ten minutes, for whatever "     \
      "accounts, after which it has to wait.")

#define CONF_KEYS_SUBMISSION(X)                                                                               \
    X(SUBMISSION, INT, submission_messages_per_hour, "submission.messages_per_hour", RELOAD, 0, 1000000, "500", "", \
      "Messages one account may send in an hour. 0: no limit.")                                                \
    X(SUBMISSION, INT, submission_recipients_per_day, "submission.recipients_per_day", RELOAD, 0, 10000000, "5000", "", \
      "Recipients one account may send to in a day. 0: no limit.")                                             \
    X(SUBMISSION, INT, submission_recipients, "submission.recipients", RELOAD, 1, 1000, "500", "",             \
      "Recipients of one submitted message.")

#define CONF_KEYS_PROCESS(X)                                                                                  \
    X(PROCESS, INT, instances_mx, "instances.mx", RESTART, 1, 16, "2", "",                                     \
      "Processes that accept mail from other servers. More than one per processor core gains nothing.")        \
    X(PROCESS, INT, instances_pop3, "instances.pop3", RESTART, 1, 32, "1", "",                                 \
      "Processes that serve POP3. With isolation.pop3 = connection also the sessions at one time.")            \
    X(PROCESS, INT, instances_imap, "instances.imap", RESTART, 1, 32, "1", "",                                 \
      "Processes that serve IMAP. With isolation.imap = connection also the sessions at one time.")            \
    X(PROCESS, INT, instances_submission, "instances.submission", RESTART, 1, 32, "1", "",                     \
      "Processes that accept mail from users. With isolation.submission = connection also the sessions at one time.") \
    X(PROCESS, ENUM, isolation_submission, "isolation.submission", RESTART, 0, 0, "shared", "shared|connection", \
      "As isolation.pop3, for submission.")                                                                    \
    X(PROCESS, ENUM, isolation_imap, "isolation.imap", RESTART, 0, 0, "shared", "shared|connection",           \
      "As isolation.pop3, for IMAP.")                                                                          \
    X(PROCESS, ENUM, isolation_pop3, "isolation.pop3", RESTART, 0, 0, "shared", "shared|connection",           \
      "shared: the POP3 processes each serve many sessions. connection: every session has a process of its "   \
      "own, which ends with it; this costs memory and time, and keeps a broken session from seeing any other.")

#define CONF_KEYS_SMTP(X)                                                                                     \
    X(SMTP, SIZE, max_message_size_bytes, "max_message_size", RELOAD, 64 * CONF_KiB, 1 * CONF_GiB, "50 MiB", "", \
      "Largest message accepted, announced by SIZE.")                                                          \
    X(SMTP, SIZE, max_header_size_bytes, "max_header_size", RELOAD, 16 * CONF_KiB, 4 * CONF_MiB, "256 KiB", "", \
      "Largest header section accepted.")                                                                      \
    X(SMTP, SIZE, header_pool_bytes, "header_pool", RELOAD, 4 * CONF_MiB, 4 * CONF_GiB, "64 MiB", "",          \
      "Memory one process may use for the headers of messages that are arriving; at the bound new messages "   \
      "are deferred.")                                                                                         \
    X(SMTP, INT, max_recipients, "max_recipients", RELOAD, 100, 1000, "1000", "",                              \
      "Recipients of one message, announced by LIMITS. RFC 5321 asks for at least 100.")                       \
    X(SMTP, INT, max_messages_per_session, "max_messages_per_session", RELOAD, 1, 1000000, "1000", "",         \
      "Messages in one session, announced by LIMITS.")                                                         \
    X(SMTP, INT, received_max, "received_max", RELOAD, 10, 200, "50", "",                                      \
      "A message with more Received: fields than this is in a loop and is refused.")                           \
    X(SMTP, INT, max_bad_commands, "max_bad_commands", RELOAD, 1, 1000, "10", "",                              \
      "Commands in error after which a session is ended.")                                                     \
    X(SMTP, INT, max_unknown_recipients, "max_unknown_recipients", RELOAD, 1, 1000, "10", "",                  \
      "Unknown recipients after which a session is ended, against probing for addresses.")                     \
    X(SMTP, DURATION, smtp_timeout_command_ms, "smtp_timeout_command", RELOAD, 10 * CONF_S, 1 * CONF_H, "5 min", "", \
      "How long a session may wait for the next command once it has a recipient. RFC 5321 asks for at "        \
      "least 5 minutes.")                                                                                      \
    X(SMTP, DURATION, smtp_timeout_start_ms, "smtp_timeout_start", RELOAD, 10 * CONF_S, 1 * CONF_H, "2 min", "", \
      "How long a connection may take, in all, up to its first accepted recipient.")                           \
    X(SMTP, DURATION, smtp_timeout_data_ms, "smtp_timeout_data", RELOAD, 10 * CONF_S, 1 * CONF_H, "3 min", "", \
      "How long a session may wait for the next bytes of a message.")                                          \
    X(SMTP, DURATION, smtp_timeout_reply_ms, "smtp_timeout_reply", RELOAD, 10 * CONF_S, 1 * CONF_H, "2 min", "", \
      "How long a peer may leave replies unread.")                                                             \
    X(SMTP, DURATION, smtp_session_max_ms, "smtp_session_max", RELOAD, 1 * CONF_MIN, 1 * CONF_D, "1 h", "",    \
      "A session is ended after this time whatever it is doing.")                                              \
    X(SMTP, SIZE, smtp_min_rate_bytes, "smtp_min_rate", RELOAD, 0, 1 * CONF_MiB, "256 B", "",                  \
      "Bytes per second that a message must arrive with, averaged over a minute. 0: any rate.")                \
    X(SMTP, STRING, recipient_delimiter, "recipient_delimiter", RELOAD, 0, 1, "+", "",                         \
      "Character that separates a user from a detail: user+detail@example.org reaches user@example.org. "      \
      "Empty: no details.")                                                                                    \
    X(SMTP, ENUM, over_quota_reply, "over_quota_reply", RELOAD, 0, 0, "temporary", "temporary|permanent",      \
      "Answer to a recipient whose mailbox is full: temporary (452, the sender tries again) or permanent "     \
      "(552, the sender is told at once).")

#define CONF_KEYS_POP3(X)                                                                                     \
    X(POP3, INT, pop3_max_sessions, "pop3_max_sessions", RELOAD, 1, 100000, "1000", "",                        \
      "POP3 sessions at one time.")                                                                            \
    X(POP3, DURATION, pop3_idle_timeout_ms, "pop3_idle_timeout", RELOAD, 10 * CONF_MIN, 1 * CONF_D, "10 min", "", \
      "How long a session may wait for the next command. RFC 1939 asks for at least 10 minutes.")              \
    X(POP3, DURATION, pop3_login_timeout_ms, "pop3_login_timeout", RELOAD, 10 * CONF_S, 1 * CONF_H, "1 min", "", \
      "How long a connection may take, in all, to log in.")

#define CONF_KEYS_IMAP(X)                                                                                     \
    X(IMAP, INT, imap_max_sessions, "imap_max_sessions", RELOAD, 1, 100000, "2000", "",                        \
      "IMAP sessions at one time.")                                                                            \
    X(IMAP, DURATION, imap_idle_timeout_ms, "imap_idle_timeout", RELOAD, 30 * CONF_MIN, 1 * CONF_D, "30 min", "", \
      "How long a session that is logged in may wait for the next command, in IDLE too. RFC 3501 asks for at " \
      "least 30 minutes.")                                                                                     \
    X(IMAP, DURATION, imap_login_timeout_ms, "imap_login_timeout", RELOAD, 10 * CONF_S, 1 * CONF_H, "2 min", "", \
      "How long a connection may take, in all, to log in.")

#define CONF_KEYS_STORE(X)                                                                                    \
    X(STORE, SIZE, quota_default_bytes, "quota_default", RELOAD, 0, 1024 * CONF_TiB, "0", "",                  \
      "Room for the mail of an account that has no quota of its own. 0: no limit.")                            \
    X(STORE, SIZE, disk_reserve_bytes, "disk_reserve", RELOAD, 16 * CONF_MiB, 1 * CONF_TiB, "256 MiB", "",     \
      "New mail is deferred while less than this is free on the disk of data_dir. Reading and deleting go on.") \
    X(STORE, SIZE, journal_segment_bytes, "journal_segment", RESTART, 1 * CONF_MiB, 4 * CONF_GiB, "64 MiB", "", \
      "Size at which a new segment file of the journal is begun.")                                             \
    X(STORE, INT, index_lag_records, "index_lag", RESTART, 64, 10000000, "65536", "",                          \
      "Records the index may be behind the journal; at the bound new mail waits for the index.")               \
    X(STORE, INT, compact_dead_percent, "compact_dead", RELOAD, 5, 95, "50", "",                               \
      "Percentage of dead bytes at which a segment of the journal is compacted.")                              \
    X(STORE, SIZE, body_memory_bytes, "body_memory", RESTART, 32 * CONF_MiB, 64 * CONF_GiB, "128 MiB", "",     \
      "Memory for message bodies on their way to the disk; at the bound senders are slowed down.")

#define CONF_KEYS_LOG(X)                                                                                      \
    X(LOG, ENUM, log_level, "log_level", RELOAD, 0, 0, "info", "debug|info|warning|error",                     \
      "Least important events that are written.")                                                              \
    X(LOG, ENUM, log_format, "log_format", RELOAD, 0, 0, "kv", "kv|json",                                      \
      "kv: one line of key=value pairs per event. json: one JSON object per line.")                            \
    X(LOG, PATH, log_file, "log_file", RELOAD, 1, 255, "stderr", "",                                           \
      "Where events go: stderr, or a file, which is opened again at SIGHUP.")
/* clang-format on */

#define CONF_KEYS(X)     \
    CONF_KEYS_GENERAL(X) \
    CONF_KEYS_LISTEN(X)  \
    CONF_KEYS_TLS(X)     \
    CONF_KEYS_AUTH(X)    \
    CONF_KEYS_PROCESS(X) \
    CONF_KEYS_SMTP(X)    \
    CONF_KEYS_SUBMISSION(X) CONF_KEYS_POP3(X) CONF_KEYS_IMAP(X) CONF_KEYS_STORE(X) CONF_KEYS_LOG(X)

#define CONF_GROUPS(X)                     \
    X(GENERAL, "General")                  \
    X(LISTEN, "Listeners and connections") \
    X(TLS, "TLS")                          \
    X(AUTH, "Logging in")                  \
    X(PROCESS, "Processes")                \
    X(SMTP, "Receiving mail")              \
    X(SUBMISSION, "Mail from users")       \
    X(POP3, "Reading mail by POP3")        \
    X(IMAP, "Reading mail by IMAP")        \
    X(STORE, "Store")                      \
    X(LOG, "Log")

#endif
