/* A new password: from the terminal, standard input, the command line, or made here. */
#ifndef CLI_PASSWORD_H
#define CLI_PASSWORD_H

#include "cli/command.h"

enum { PASSWORD_BYTES_MAX = 512 };

struct password {
    char text[PASSWORD_BYTES_MAX + 2]; /* NUL-terminated; wiped by password_done */
    bool generated;
};

/* CLI_DONE, CLI_REFUSED or CLI_USAGE with the reason said. */
int password_get(const struct cli *cli, struct password *ret);
void password_done(struct password *p);

#endif
