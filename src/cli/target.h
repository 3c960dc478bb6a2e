/* Which server a command is about: a demo's directory or a configuration. */
#ifndef CLI_TARGET_H
#define CLI_TARGET_H

#include "cli/command.h"
#include "conf/conf.h"

#define TARGET_CONFIG_DEFAULT "/etc/brant/brant.conf"
/* Beneath a demo's directory. */
#define TARGET_DEMO_CONFIG "brant.conf"

/* Reads and checks a configuration file; the errors go to standard error. CLI_DONE or CLI_REFUSED. */
int target_read_config(const char *path, struct conf *ret);

/* The configuration that --dir or -c names. CLI_DONE or CLI_REFUSED, with the reason said. */
int target_find(const struct cli *cli, struct conf *ret);

#endif
