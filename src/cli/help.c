/* help, version, check and the entries to programs that live elsewhere. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "cli/command.h"
#include "cli/target.h"
#include "conf/conf.h"

static void name_of(const struct cli_command *c, char out[32])
{
    snprintf(out, 32, "%s%s%s", c->group, c->name ? " " : "", c->name ? c->name : "");
}

static int help_all(void)
{
    puts("brant, a complete mail system\n\nusage: brant [--dir DIR | -c FILE] [--json] COMMAND …\n");
    for (const struct cli_command *c = CLI_COMMANDS; c->group; c++) {
        char name[32];

        name_of(c, name);
        printf("  %-19s  %s\n", name, c->summary);
    }
    puts("\n--dir DIR is the directory of a demo; -c FILE the configuration of a server, "
         "/etc/brant/brant.conf\n"
         "unless given. --json prints one JSON document. Commands about domains, accounts, aliases and the "
         "store\n"
         "work while the server runs and while it does not.\n"
         "`brant help COMMAND` explains a command, `brant help config` the configuration.\n"
         "Exit status: 0 done, 1 refused (the reason is on standard error), 2 used wrongly.");
    return CLI_DONE;
}

static int help_config(struct cli *cli)
{
    _cleanup_buf_ struct buf out;
    const struct conf_key *only = NULL, *k;

    buf_init(&out, CONF_TEXT_MAX);
    if (cli->word_count > 1) {
        only = conf_key_find(span_str(cli->words[1]));
        k = conf_key_nearest(span_str(cli->words[1]));
        if (!only)
            return cli_refuse("there is no key %s%s%s", cli->words[1], k ? "; did you mean " : "",
                              k ? k->name : "; `brant help config` lists all keys");
        conf_key_help(only, 80, &out);
    }
    for (size_t i = 0, group = CONF_GROUP_COUNT; !only && (k = conf_key_at(i)) != NULL; i++) {
        if (k->group != group)
            buf_printf(&out, "%s== %s ==\n\n", i ? "\n" : "", conf_group_titles[k->group]);
        group = k->group;
        conf_key_help(k, 80, &out);
    }
    fputs(buf_cstr(&out), stdout);
    return CLI_DONE;
}

int cli_cmd_help(struct cli *cli)
{
    bool found = false;

    if (cli->word_count == 0)
        return help_all();
    if (strcmp(cli->words[0], "config") == 0)
        return help_config(cli);
    for (const struct cli_command *c = CLI_COMMANDS; c->group; c++) {
        char name[32];

        if (strcmp(c->group, cli->words[0]) != 0 ||
            (cli->word_count > 1 && c->name && strcmp(c->name, cli->words[1]) != 0))
            continue;
        name_of(c, name);
        printf("%susage: brant %s%s%s\n\n%s.\n%s", found ? "\n" : "", name, c->words[0] ? " " : "", c->words,
               c->summary, c->help);
        found = true;
    }
    if (!found)
        return cli_refuse("there is no command %s%s%s; `brant help` lists the commands", cli->words[0],
                          cli->word_count > 1 ? " " : "", cli->word_count > 1 ? cli->words[1] : "");
    return CLI_DONE;
}

int cli_cmd_version(struct cli *cli)
{
    (void)cli;
    printf("brant %s\n", BRANT_VERSION);
    return CLI_DONE;
}

int cli_cmd_serve(struct cli *cli)
{
    if (!cli->config)
        return cli_usage(cli->command, "the configuration is missing");
    return cli->programs->serve(cli->config);
}

int cli_cmd_demo(struct cli *cli)
{
    uint64_t base = 2000;

    /* The highest service is at P+4190. */
    if (cli->port_base &&
        (span_to_u64(span_str(cli->port_base), 65535 - 4190, &base) != BRANT_OK || base == 0))
        return cli_usage(cli->command, "--port-base %s: write a number from 1 to %d", cli->port_base,
                         65535 - 4190);
    return cli->programs->demo(cli->dir ? cli->dir : "brant-demo", (unsigned)base);
}

int cli_cmd_check(struct cli *cli)
{
    _cleanup_buf_ struct buf out;
    struct conf c;

    buf_init(&out, CONF_TEXT_MAX);
    if (!cli->config)
        return cli_usage(cli->command, "the configuration is missing");
    if (target_read_config(cli->config, &c) != CLI_DONE)
        return CLI_REFUSED;
    if (cli->seen & OPT_SHOW)
        conf_dump(&c, &out);
    else
        buf_printf(&out, "%s: good\n", cli->config);
    conf_done(&c);
    fputs(buf_cstr(&out), stdout);
    return CLI_DONE;
}

int cli_cmd_message(struct cli *cli)
{
    char name[] = "message", json[] = "--json", file[4096];
    char *argv[] = {name, file, cli_json(cli) ? json : NULL, NULL};

    if (strlen(cli->words[0]) >= sizeof file)
        return cli_refuse("%.60s…: the name is too long", cli->words[0]);
    strncpy(file, cli->words[0], sizeof file);
    return cli_message(cli_json(cli) ? 3 : 2, argv);
}
