/* The command line of brant: one table of commands, from which usage, help and option checks come.
 *
 * Exit status: 0 done; 1 refused or failed, with the reason on standard error; 2 used wrongly, with the right
 * usage on standard error. With --json exactly one JSON document goes to standard output. Everything that
 * was not typed by the administrator is escaped before it reaches the terminal. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

/* What lies above this folder: the supervisor's two entries. Each answers an exit status. */
struct cli_programs {
    int (*serve)(const char *config_path);
    int (*demo)(const char *dir, unsigned port_base);
};

/* `brant message FILE [--json]`: explains a message. argv[0] is "message"; FILE may be "-". The JSON is
 * described in mime/explain.h. Answers an exit status. */
int cli_message(int argc, char **argv);

int cli_main(int argc, char **argv, const struct cli_programs *programs);

#endif
