/* The table of commands. */
#include "cli/command.h"

#include <stddef.h>

/* clang-format off */
#define PASSWORD_HELP                                                                                         \
    "The password is asked for twice without echo. --password-stdin reads it from the first line of standard\n" \
    "input. --generate makes one and prints it. --password WORD takes it from the command line, where every\n"   \
    "user of this machine can see it in the list of processes: for tests only.\n"

#define HASH_HELP                                                                                             \
    "--password-hash takes over the hash of another system: what crypt(3) knows ($5$, $6$, $2b$, $y$) or\n"      \
    "$argon2id$. At the next login with the password the account gets verifiers of its own.\n"

#define LIMITS_HELP                                                                                           \
    "LIST is some of submission,pop3,imap; all of them unless given. TIME is for example 90d, 12h or 2027-01-31;\n" \
    "it never ends unless given.\n"

const struct cli_command CLI_COMMANDS[] = {
    {"help", NULL, "[COMMAND… | config [KEY]]", "explain a command, or a key of the configuration",
     "Without a word: all commands. `brant help config` lists every key of the configuration with its default.\n",
     0, 0, 2, cli_cmd_help},
    {"version", NULL, "", "print the version",
     "Also as `brant --version`.\n",
     0, 0, 0, cli_cmd_version},
    {"serve", NULL, "-c FILE", "run the mail server in the foreground",
     "For production, started by systemd or by hand as root. SIGHUP reads FILE again: an error keeps the running\n"
     "configuration and is logged. SIGTERM and Ctrl-C stop everything in an orderly way.\n",
     OPT_CONFIG, 0, 0, cli_cmd_serve},
    {"check", NULL, "-c FILE [--show]", "look for errors in a configuration",
     "Says what is wrong and what would be right, for every error at once. Nothing is started or changed.\n"
     "--show prints every key with its value, defaults included.\n",
     OPT_CONFIG | OPT_SHOW, 0, 0, cli_cmd_check},
    {"demo", NULL, "[--dir DIR] [--port-base P]", "try a whole mail server in one directory, without root",
     "Runs in the foreground on 127.0.0.1: SMTP on port P+25, submission on P+587 and P+465, IMAP on P+143 and P+993,\n"
     "POP3 on P+110 and P+995; P is 2000 unless given. The certificate is self-signed.\n"
     "Accounts alice, bob and carol @brant.test with the password brant-demo. Everything lies in DIR, brant-demo\n"
     "unless given; delete it to begin anew. Prints `ready` when mail is accepted. Ctrl-C stops it.\n",
     OPT_DIR | OPT_PORT_BASE, 0, 0, cli_cmd_demo},
    {"status", NULL, "[--dir DIR | -c FILE] [--json]", "what runs, since when, behind which walls",
     "Each process with its pid, restarts and the rungs of its sandbox as they were proved at its start.\n",
     OPT_STORE, 0, 0, cli_cmd_status},
    {"message", NULL, "FILE [--json]", "take a message apart",
     "Shows the nested parts with type, parameters, encoding and sizes, the decoded headers, and the problems\n"
     "found. Needs no server. FILE may be - for standard input.\n",
     OPT_JSON, 1, 1, cli_cmd_message},
    {"trace", NULL, "ID|ADDRESS [--dir DIR | -c FILE] [--json]", "the story of a message, or of an address",
     "ID is a message id of brant, as in the reply to DATA, in Received: and in the log, or a Message-ID.\n",
     OPT_STORE, 1, 1, cli_cmd_trace},

    {"domain", "add", "DOMAIN", "accept mail for a domain",
     "Point the MX record of the domain at this machine. Names with other letters may be typed as they are.\n",
     OPT_STORE, 1, 1, cli_cmd_domain_add},
    {"domain", "remove", "DOMAIN", "stop accepting mail for a domain",
     "Refused while the domain has accounts or aliases; remove those first.\n",
     OPT_STORE, 1, 1, cli_cmd_domain_remove},
    {"domain", "list", "", "all domains",
     "With the numbers of their accounts and aliases.\n",
     OPT_STORE, 0, 0, cli_cmd_domain_list},

    {"account", "add", "ADDRESS [--password-stdin | --generate | --no-password | --password-hash HASH] [--quota SIZE]",
     "make an account",
     PASSWORD_HELP
     HASH_HELP
     "--no-password makes an account nobody can log in to. SIZE is for example \"2 GiB\"; 0 is no limit; without\n"
     "it quota_default counts.\n",
     OPT_STORE | OPT_SECRET | OPT_NO_PASSWORD | OPT_HASH | OPT_QUOTA, 1, 1, cli_cmd_account_add},
    {"account", "remove", "ADDRESS", "delete an account and its mail",
     "There is no way back but a backup. Aliases that point to it stay and are shown by `brant alias list`.\n",
     OPT_STORE, 1, 1, cli_cmd_account_remove},
    {"account", "list", "[--domain DOMAIN]", "all accounts",
     "With messages, bytes used, quota, and whether they may log in.\n",
     OPT_STORE | OPT_DOMAIN, 0, 0, cli_cmd_account_list},
    {"account", "show", "ADDRESS", "one account",
     "The same as in the list, one value per line.\n",
     OPT_STORE, 1, 1, cli_cmd_account_show},
    {"account", "passwd", "ADDRESS [--password-stdin | --generate]", "set a new password",
     PASSWORD_HELP "Sessions that run go on; the old password is worth nothing from now on.\n",
     OPT_STORE | OPT_SECRET, 1, 1, cli_cmd_account_passwd},
    {"account", "quota", "ADDRESS SIZE", "set how much mail an account may keep",
     "SIZE is for example \"2 GiB\" or 500MB; 0 is no limit. Mail that is there already stays.\n",
     OPT_STORE, 2, 3, cli_cmd_account_quota},
    {"account", "disable", "ADDRESS", "lock an account: it keeps receiving, nobody can log in",
     "`brant account enable` opens it again.\n",
     OPT_STORE, 1, 1, cli_cmd_account_disable},
    {"account", "enable", "ADDRESS", "open a locked account",
     "The password is the one it had.\n",
     OPT_STORE, 1, 1, cli_cmd_account_enable},

    {"account", "set", "ADDRESS [--sent-copy on|off] [--password-hash HASH]", "change how an account works",
     "--sent-copy on: the server files what the account sends in its Sent mailbox, in the same moment it accepts it;\n"
     "tell the mail program not to do it as well.\n" HASH_HELP,
     OPT_STORE | OPT_SENT_COPY | OPT_HASH, 1, 1, cli_cmd_account_set},

    {"app-password", "add", "ADDRESS NAME [--protocols LIST] [--expires TIME]", "make a password for one program",
     "The password is made here and shown once. It can be taken back without changing the account's own.\n" LIMITS_HELP,
     OPT_STORE | OPT_PROTOCOLS | OPT_EXPIRES, 2, 2, cli_cmd_app_password_add},
    {"app-password", "list", "ADDRESS", "the app passwords of an account",
     "Their names, what for, since and until when; never the passwords.\n",
     OPT_STORE, 1, 1, cli_cmd_app_password_list},
    {"app-password", "remove", "ADDRESS NAME", "take back an app password",
     "From this moment on nobody can log in with it. Sessions that run go on.\n",
     OPT_STORE, 2, 2, cli_cmd_app_password_remove},
    {"certificate", "add", "ADDRESS NAME FILE|FINGERPRINT [--protocols LIST] [--expires TIME]",
     "let a client certificate log in",
     "FILE is a certificate in PEM, FINGERPRINT its SHA-256 in 64 hexadecimal digits. The client then logs in with AUTH\n"
     "EXTERNAL, where tls.client_certificate has it asked for. One certificate belongs to one account.\n" LIMITS_HELP,
     OPT_STORE | OPT_PROTOCOLS | OPT_EXPIRES, 3, 3, cli_cmd_certificate_add},
    {"certificate", "list", "ADDRESS", "the client certificates of an account",
     "With their fingerprints.\n",
     OPT_STORE, 1, 1, cli_cmd_certificate_list},
    {"certificate", "remove", "ADDRESS NAME", "forget a client certificate",
     "From this moment on nobody can log in with it.\n",
     OPT_STORE, 2, 2, cli_cmd_certificate_remove},
    {"send-as", "add", "ACCOUNT ADDRESS [--expires TIME]", "let an account send as another address",
     "Its own address, with details, and aliases that reach it need no permission. ADDRESS may be @DOMAIN.\n",
     OPT_STORE | OPT_EXPIRES, 2, 2, cli_cmd_send_as_add},
    {"send-as", "list", "ACCOUNT", "what an account may send as",
     "Beside its own addresses and aliases.\n",
     OPT_STORE, 1, 1, cli_cmd_send_as_list},
    {"send-as", "remove", "ACCOUNT ADDRESS", "take that permission back",
     "Messages on their way are not touched.\n",
     OPT_STORE, 2, 2, cli_cmd_send_as_remove},

    {"queue", "list", "[ADDRESS | @DOMAIN]", "mail that waits for other servers",
     "One line per message and recipient. ADDRESS: of the sender or the recipient; @DOMAIN: of the recipient. There is\n"
     "no relay yet: every row is held.\n",
     OPT_STORE, 0, 1, cli_cmd_queue_list},
    {"queue", "remove", "ID", "drop a row of the queue",
     "ID is as in the list. The message is not sent to that recipient, and nobody is told.\n",
     OPT_STORE, 1, 1, cli_cmd_queue_remove},

    {"alias", "add", "ALIAS TARGET", "deliver mail for ALIAS to TARGET",
     "ALIAS is an address, or @DOMAIN for every address of the domain that is neither account nor alias. An alias\n"
     "may have many targets: repeat the command. Targets are local addresses, and may be aliases themselves.\n",
     OPT_STORE, 2, 2, cli_cmd_alias_add},
    {"alias", "remove", "ALIAS [TARGET]", "stop delivering mail for ALIAS to TARGET",
     "Without TARGET: to any of its targets.\n",
     OPT_STORE, 1, 2, cli_cmd_alias_remove},
    {"alias", "list", "[--domain DOMAIN]", "all aliases",
     "One line per alias and target.\n",
     OPT_STORE | OPT_DOMAIN, 0, 0, cli_cmd_alias_list},
    {"alias", "resolve", "ADDRESS", "which accounts mail for ADDRESS reaches",
     "Follows aliases, catch-alls and details as delivery does.\n",
     OPT_STORE, 1, 1, cli_cmd_alias_resolve},

    {"store", "check", "[--deep]", "look for damage",
     "Compares journal, bodies and index. --deep reads every byte and verifies its checksum. Exit status 1 when\n"
     "something is damaged.\n",
     OPT_STORE | OPT_DEEP, 0, 0, cli_cmd_store_check},
    {"store", "rebuild", "", "make the index anew from the journal",
     "The journal is the mail, the index can always be made again; nothing is lost by this. It takes a while.\n",
     OPT_STORE, 0, 0, cli_cmd_store_rebuild},
    {"store", "compact", "[--all]", "give back the room of deleted mail",
     "Compacts the journal segments with more dead bytes than compact_dead allows; --all: every closed segment.\n"
     "It happens by itself; this is for those who need the room now.\n",
     OPT_STORE | OPT_ALL, 0, 0, cli_cmd_store_compact},
    {NULL, NULL, NULL, NULL, NULL, 0, 0, 0, NULL},
};
/* clang-format on */
