#include "cli/target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

/* A whole file of at most CONF_TEXT_MAX bytes, and one more byte when it is longer. */
static int read_file(const char *path, struct buf *out)
{
    FILE *f = fopen(path, "re");
    size_t n = 1;

    if (!f)
        return BRANT_EIO;
    while (n > 0 && out->len <= CONF_TEXT_MAX) {
        size_t room = CONF_TEXT_MAX + 1 - out->len < 65536 ? CONF_TEXT_MAX + 1 - out->len : 65536;
        uint8_t *p = buf_reserve(out, room);

        n = fread(p, 1, room, f);
        buf_commit(out, n);
    }
    n = (size_t)ferror(f);
    fclose(f);
    return n ? BRANT_EIO : BRANT_OK;
}

int target_read_config(const char *path, struct conf *ret)
{
    _cleanup_buf_ struct buf text;
    _cleanup_free_ struct conf_errors *errors = mem_zalloc(sizeof *errors);

    buf_init(&text, CONF_TEXT_MAX + 65536);
    if (read_file(path, &text) != BRANT_OK)
        return cli_refuse("%s: %s", path, strerror(errno));
    if (conf_parse(buf_span(&text), path, ret, errors) == BRANT_OK)
        return CLI_DONE;
    for (size_t i = 0; i < errors->count; i++)
        fprintf(stderr, "%s\n", errors->list[i].text);
    if (errors->more)
        fprintf(stderr, "%s: and %zu more errors\n", path, errors->more);
    return CLI_REFUSED;
}

int target_find(const struct cli *cli, struct conf *ret)
{
    char path[4096];
    FILE *f;

    if (!cli->dir)
        return target_read_config(cli->config ? cli->config : TARGET_CONFIG_DEFAULT, ret);
    if ((size_t)snprintf(path, sizeof path, "%s/" TARGET_DEMO_CONFIG, cli->dir) >= sizeof path)
        return cli_refuse("%.60s…: the name is too long", cli->dir);
    f = fopen(path, "re");
    if (!f)
        return cli_refuse("%s: there is no demo here (%s is missing); `brant demo --dir %s` starts one",
                          cli->dir, path, cli->dir);
    fclose(f);
    return target_read_config(path, ret);
}
