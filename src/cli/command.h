/* Commands and their options; used inside this folder only. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include "base/span.h"
#include "cli/cli.h"

enum cli_exit { CLI_DONE = 0, CLI_REFUSED = 1, CLI_USAGE = 2 };

/* The options there are, as bits: each command says which it takes. */
enum {
    OPT_CONFIG = 1 << 0,         /* -c, --config FILE */
    OPT_DIR = 1 << 1,            /* --dir DIR */
    OPT_JSON = 1 << 2,           /* --json */
    OPT_PORT_BASE = 1 << 3,      /* --port-base P */
    OPT_PASSWORD = 1 << 4,       /* --password WORD */
    OPT_PASSWORD_STDIN = 1 << 5, /* --password-stdin */
    OPT_GENERATE = 1 << 6,       /* --generate */
    OPT_NO_PASSWORD = 1 << 7,    /* --no-password */
    OPT_QUOTA = 1 << 8,          /* --quota SIZE */
    OPT_DOMAIN = 1 << 9,         /* --domain DOMAIN */
    OPT_ALL = 1 << 10,           /* --all */
    OPT_DEEP = 1 << 11,          /* --deep */
    OPT_SHOW = 1 << 12,          /* --show */
    OPT_HELP = 1 << 13,          /* -h, --help: every command */
    OPT_HASH = 1 << 14,          /* --password-hash HASH */
    OPT_SENT_COPY = 1 << 15,     /* --sent-copy on|off */
    OPT_PROTOCOLS = 1 << 16,     /* --protocols LIST */
    OPT_EXPIRES = 1 << 17,       /* --expires TIME */
    OPT_STORE = OPT_CONFIG | OPT_DIR | OPT_JSON,
    OPT_SECRET = OPT_PASSWORD | OPT_PASSWORD_STDIN | OPT_GENERATE,
};

enum { CLI_WORDS_MAX = 8 };

/* A command line taken apart. */
struct cli {
    const struct cli_programs *programs;
    const struct cli_command *command;
    unsigned seen; /* OPT_… that were given */
    const char *config, *dir, *port_base, *password, *quota, *domain, *password_hash, *sent_copy, *protocols,
        *expires;
    const char *words[CLI_WORDS_MAX]; /* what follows the command's name */
    size_t word_count;
    int argc; /* from the command's name on, as typed */
    char **argv;
};

struct cli_command {
    const char *group, *name; /* "account", "add"; name is NULL for a command of one word */
    const char *words;        /* the rest of the usage line: "ADDRESS [OPTION…]" */
    const char *summary;      /* one line for `brant help` */
    const char *help;         /* what a tired person needs to know */
    unsigned options;         /* OPT_… it takes */
    size_t words_min, words_max;
    int (*run)(struct cli *cli);
};

extern const struct cli_command CLI_COMMANDS[]; /* ends with a NULL group */

/* The reason on standard error, with "brant: " before it; answers CLI_REFUSED. */
int cli_refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The trouble and the command's usage line on standard error; answers CLI_USAGE. */
int cli_usage(const struct cli_command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static inline int cli_json(const struct cli *cli)
{
    return (cli->seen & OPT_JSON) != 0;
}

int cli_cmd_help(struct cli *cli);
int cli_cmd_version(struct cli *cli);
int cli_cmd_serve(struct cli *cli);
int cli_cmd_demo(struct cli *cli);
int cli_cmd_check(struct cli *cli);
int cli_cmd_status(struct cli *cli);
int cli_cmd_message(struct cli *cli);
int cli_cmd_trace(struct cli *cli);
int cli_cmd_domain_add(struct cli *cli);
int cli_cmd_domain_remove(struct cli *cli);
int cli_cmd_domain_list(struct cli *cli);
int cli_cmd_account_add(struct cli *cli);
int cli_cmd_account_remove(struct cli *cli);
int cli_cmd_account_list(struct cli *cli);
int cli_cmd_account_show(struct cli *cli);
int cli_cmd_account_passwd(struct cli *cli);
int cli_cmd_account_quota(struct cli *cli);
int cli_cmd_account_enable(struct cli *cli);
int cli_cmd_account_disable(struct cli *cli);
int cli_cmd_account_set(struct cli *cli);
int cli_cmd_app_password_add(struct cli *cli);
int cli_cmd_app_password_list(struct cli *cli);
int cli_cmd_app_password_remove(struct cli *cli);
int cli_cmd_certificate_add(struct cli *cli);
int cli_cmd_certificate_list(struct cli *cli);
int cli_cmd_certificate_remove(struct cli *cli);
int cli_cmd_send_as_add(struct cli *cli);
int cli_cmd_send_as_list(struct cli *cli);
int cli_cmd_send_as_remove(struct cli *cli);
int cli_cmd_queue_list(struct cli *cli);
int cli_cmd_queue_remove(struct cli *cli);
int cli_cmd_alias_add(struct cli *cli);
int cli_cmd_alias_remove(struct cli *cli);
int cli_cmd_alias_list(struct cli *cli);
int cli_cmd_alias_resolve(struct cli *cli);
int cli_cmd_store_check(struct cli *cli);
int cli_cmd_store_rebuild(struct cli *cli);
int cli_cmd_store_compact(struct cli *cli);

#endif
