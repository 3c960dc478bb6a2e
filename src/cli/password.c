#include "cli/password.h"

#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "os/random.h"

void password_done(struct password *p)
{
    mem_wipe(p, sizeof *p);
}

/* The first line of a stream, without its end. */
static int read_line(FILE *f, struct password *p)
{
    size_t len;

    if (!fgets(p->text, sizeof p->text, f))
        return cli_refuse("no password came");
    len = strcspn(p->text, "\r\n");
    if (len > PASSWORD_BYTES_MAX)
        return cli_refuse("a password has at most %d bytes", PASSWORD_BYTES_MAX);
    p->text[len] = '\0';
    return len ? CLI_DONE : cli_refuse("the password is empty");
}

static int ask_once(FILE *tty, const char *prompt, struct password *p)
{
    struct termios before, quiet;
    int rc;

    if (tcgetattr(fileno(tty), &before) != 0)
        return cli_refuse("the terminal does not answer; use --password-stdin");
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    fputs(prompt, stderr);
    tcsetattr(fileno(tty), TCSAFLUSH, &quiet);
    rc = read_line(tty, p);
    tcsetattr(fileno(tty), TCSAFLUSH, &before);
    fputc('\n', stderr);
    return rc;
}

static int ask_twice(struct password *p)
{
    FILE *tty = fopen("/dev/tty", "r+e");
    struct password again = {.generated = false};
    int rc;

    if (!tty)
        return cli_refuse("there is no terminal to ask for the password; use --password-stdin or --generate");
    rc = ask_once(tty, "New password: ", p);
    if (rc == CLI_DONE)
        rc = ask_once(tty, "Once more: ", &again);
    if (rc == CLI_DONE && strcmp(p->text, again.text) != 0)
        rc = cli_refuse("the two are not the same; nothing was changed");
    password_done(&again);
    fclose(tty);
    return rc;
}

/* Five groups of four letters and digits that are not mistaken for one another: 100 bits of 32 letters. */
static int generate(struct password *p)
{
    static const char letters[] = "abcdefghijkmnpqrstuvwxyz23456789";
    uint8_t random[20];
    size_t at = 0;

    os_random_fill(random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++) {
        if (i && i % 4 == 0)
            p->text[at++] = '-';
        p->text[at++] = letters[random[i] % 32];
    }
    p->text[at] = '\0';
    p->generated = true;
    mem_wipe(random, sizeof random);
    return CLI_DONE;
}

int password_get(const struct cli *cli, struct password *ret)
{
    unsigned given = cli->seen & OPT_SECRET;
    size_t len = cli->password ? strlen(cli->password) : 0;

    *ret = (struct password){.generated = false};
    if (given & (given - 1))
        return cli_usage(cli->command, "give one of --password-stdin, --generate and --password");
    if (given & OPT_GENERATE)
        return generate(ret);
    if (given & OPT_PASSWORD_STDIN)
        return read_line(stdin, ret);
    if (!(given & OPT_PASSWORD))
        return ask_twice(ret);
    if (len == 0 || len > PASSWORD_BYTES_MAX)
        return cli_refuse("a password has 1 to %d bytes", PASSWORD_BYTES_MAX);
    memcpy(ret->text, cli->password, len + 1);
    return CLI_DONE;
}
