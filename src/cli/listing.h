/* A list of the store's, gathered into a table or a JSON array, slice by slice; and what commands about the
 * directory share. */
#ifndef CLI_LISTING_H
#define CLI_LISTING_H

#include "cli/client.h"
#include "cli/output.h"

struct listing {
    struct client *client;
    json_t *array; /* NULL: a table */
    struct table *table;
    struct buf last,
        last_second; /* where the next slice begins: an answer lives only until the next question */
};

/* CLI_DONE, or CLI_REFUSED with the reason said, and nothing to end. */
int listing_begin(struct cli *cli, const char *titles, struct listing *l);
/* Prints what was gathered, under `key` in JSON, or `nothing` when the table has no rows; passes rc on
 * otherwise. */
int listing_end(struct listing *l, int rc, const char *key, const char *nothing);

static inline void listing_keep(struct buf *b, struct span s)
{
    buf_reset(b);
    buf_append(b, s);
}

/* The i-th word of the command, or nothing. */
static inline struct span cli_word(const struct cli *cli, size_t i)
{
    return i < cli->word_count ? span_str(cli->words[i]) : SPAN_NONE;
}

/* Asks the store to do one thing, and says it was done. */
int cli_do_one(struct cli *cli, const struct ipc_message *ask, const char *done);

#endif
