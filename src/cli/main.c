#include "cli/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"

struct option {
    const char *name;
    unsigned bit;
    size_t value; /* offset of the const char * in struct cli; 0: it takes no value */
};

static const struct option OPTIONS[] = {
    {"-c", OPT_CONFIG, offsetof(struct cli, config)},
    {"--config", OPT_CONFIG, offsetof(struct cli, config)},
    {"--dir", OPT_DIR, offsetof(struct cli, dir)},
    {"--json", OPT_JSON, 0},
    {"--port-base", OPT_PORT_BASE, offsetof(struct cli, port_base)},
    {"--password", OPT_PASSWORD, offsetof(struct cli, password)},
    {"--password-stdin", OPT_PASSWORD_STDIN, 0},
    {"--generate", OPT_GENERATE, 0},
    {"--no-password", OPT_NO_PASSWORD, 0},
    {"--quota", OPT_QUOTA, offsetof(struct cli, quota)},
    {"--domain", OPT_DOMAIN, offsetof(struct cli, domain)},
    {"--all", OPT_ALL, 0},
    {"--deep", OPT_DEEP, 0},
    {"--show", OPT_SHOW, 0},
    {"--password-hash", OPT_HASH, offsetof(struct cli, password_hash)},
    {"--sent-copy", OPT_SENT_COPY, offsetof(struct cli, sent_copy)},
    {"--protocols", OPT_PROTOCOLS, offsetof(struct cli, protocols)},
    {"--expires", OPT_EXPIRES, offsetof(struct cli, expires)},
    {"-h", OPT_HELP, 0},
    {"--help", OPT_HELP, 0},
};

/* What was typed, before it is known which command takes it. */
struct typed {
    const char *words[CLI_WORDS_MAX + 2];
    size_t word_count;
    bool version;
};

int cli_refuse(const char *format, ...)
{
    va_list args;

    fflush(stdout);
    fputs("brant: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return CLI_REFUSED;
}

int cli_usage(const struct cli_command *command, const char *format, ...)
{
    va_list args;

    fputs("brant: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    if (command)
        fprintf(stderr, "\nusage: brant %s%s%s%s%s\n", command->group, command->name ? " " : "",
                command->name ? command->name : "", command->words[0] ? " " : "", command->words);
    else
        fputs("\nusage: brant COMMAND …; `brant help` lists the commands\n", stderr);
    return CLI_USAGE;
}

static const struct option *find_option(struct span name)
{
    for (size_t i = 0; i < sizeof OPTIONS / sizeof OPTIONS[0]; i++) {
        if (span_eq_str(name, OPTIONS[i].name))
            return &OPTIONS[i];
    }
    return NULL;
}

/* One option, and its value from the same word (--name=value) or the next; moves *i past what it took. */
static int take_option(struct cli *cli, int argc, char **argv, int *i)
{
    struct span typed = span_str(argv[*i]);
    struct span name = span_sub(typed, 0, span_find_byte(typed, '='));
    const struct option *o = find_option(name);
    const char *value = name.len < typed.len ? argv[*i] + name.len + 1 : NULL;

    if (!o)
        return cli_usage(NULL, "there is no option %s", argv[*i]);
    if (!o->value && value)
        return cli_usage(NULL, "%s takes no value", o->name);
    if (o->value && !value) {
        if (*i + 1 >= argc)
            return cli_usage(NULL, "%s needs a value", o->name);
        value = argv[++*i];
    }
    if (o->value)
        *(const char **)(void *)((char *)cli + o->value) = value;
    cli->seen |= o->bit;
    return CLI_DONE;
}

static int take_apart(struct cli *cli, int argc, char **argv, struct typed *typed)
{
    bool options_over = false;

    for (int i = 1; i < argc; i++) {
        int rc = CLI_DONE;

        if (!options_over && strcmp(argv[i], "--") == 0)
            options_over = true;
        else if (!options_over && strcmp(argv[i], "--version") == 0)
            typed->version = true;
        else if (!options_over && argv[i][0] == '-' && argv[i][1])
            rc = take_option(cli, argc, argv, &i);
        else if (typed->word_count == sizeof typed->words / sizeof typed->words[0])
            return cli_usage(NULL, "too many words");
        else
            typed->words[typed->word_count++] = argv[i];
        if (rc != CLI_DONE)
            return rc;
    }
    return CLI_DONE;
}

static bool is_group(const char *word)
{
    for (const struct cli_command *c = CLI_COMMANDS; c->group; c++) {
        if (c->name && strcmp(c->group, word) == 0)
            return true;
    }
    return false;
}

static const struct cli_command *find_command(const struct typed *typed, size_t *ret_taken)
{
    for (const struct cli_command *c = CLI_COMMANDS; typed->word_count && c->group; c++) {
        if (strcmp(c->group, typed->words[0]) != 0)
            continue;
        *ret_taken = c->name ? 2 : 1;
        if (!c->name || (typed->word_count > 1 && strcmp(c->name, typed->words[1]) == 0))
            return c;
    }
    return NULL;
}

static int no_command(const struct typed *typed)
{
    if (typed->word_count == 0)
        return cli_usage(NULL, "what shall be done?");
    if (!is_group(typed->words[0]))
        return cli_usage(NULL, "there is no command %s", typed->words[0]);
    fprintf(stderr, "brant: %s%s %s\nusage:\n", typed->word_count > 1 ? "there is no command " : "what about",
            typed->word_count > 1 ? typed->words[0] : "",
            typed->word_count > 1 ? typed->words[1] : typed->words[0]);
    for (const struct cli_command *c = CLI_COMMANDS; c->group; c++) {
        if (strcmp(c->group, typed->words[0]) == 0)
            fprintf(stderr, "  brant %s %s %s\n", c->group, c->name, c->words);
    }
    return CLI_USAGE;
}

static const char *option_name(unsigned bit)
{
    for (size_t i = 0; i < sizeof OPTIONS / sizeof OPTIONS[0]; i++) {
        if (OPTIONS[i].bit & bit)
            return OPTIONS[i].name;
    }
    return "";
}

static int check_words(const struct cli *cli)
{
    const struct cli_command *c = cli->command;
    unsigned extra = cli->seen & ~(c->options | OPT_HELP);

    if (extra)
        return cli_usage(c, "%s makes no sense here", option_name(extra & -extra));
    if ((cli->seen & OPT_CONFIG) && (cli->seen & OPT_DIR))
        return cli_usage(c, "-c and --dir both say which server is meant; give one of them");
    if (cli->word_count < c->words_min)
        return cli_usage(c, "something is missing");
    if (cli->word_count > c->words_max)
        return cli_usage(c, "\"%s\" is too much", cli->words[c->words_max]);
    return CLI_DONE;
}

int cli_main(int argc, char **argv, const struct cli_programs *programs)
{
    static const struct cli_command *const help = &CLI_COMMANDS[0];
    struct cli cli = {.programs = programs, .argc = argc, .argv = argv};
    struct typed typed = {.word_count = 0};
    size_t taken = 0;
    int rc = take_apart(&cli, argc, argv, &typed);

    if (rc != CLI_DONE)
        return rc;
    if (typed.version)
        return cli_cmd_version(&cli);
    cli.command = find_command(&typed, &taken);
    if (cli.seen & OPT_HELP) { /* `brant account add --help` is `brant help account add` */
        cli.command = help;
        taken = 0;
    }
    if (!cli.command)
        return no_command(&typed);
    if (typed.word_count - taken > CLI_WORDS_MAX)
        return cli_usage(cli.command, "too many words");
    cli.word_count = typed.word_count - taken;
    memcpy(cli.words, typed.words + taken, cli.word_count * sizeof cli.words[0]);
    rc = cli.seen & OPT_HELP ? CLI_DONE : check_words(&cli);
    if (rc == CLI_DONE)
        rc = cli.command->run(&cli);
    if (fflush(stdout) != 0 && rc == CLI_DONE)
        return cli_refuse("standard output: write failed");
    return rc;
}
