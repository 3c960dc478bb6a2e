#include "cli/listing.h"

int cli_do_one(struct cli *cli, const struct ipc_message *ask, const char *done)
{
    struct client *c;
    int rc = client_open_store(cli, &c);

    if (rc != CLI_DONE)
        return rc;
    rc = client_do(c, ask);
    client_free(c);
    return rc == CLI_DONE ? output_done(cli_json(cli), "%s", done) : rc;
}

int listing_begin(struct cli *cli, const char *titles, struct listing *l)
{
    int rc;

    *l = (struct listing){.client = NULL};
    rc = client_open_store(cli, &l->client);
    if (rc != CLI_DONE)
        return rc;
    l->array = cli_json(cli) ? json_array() : NULL;
    l->table = cli_json(cli) ? NULL : table_new(titles);
    buf_init(&l->last, IPC_ADDRESS_MAX);
    buf_init(&l->last_second, IPC_ADDRESS_MAX);
    return CLI_DONE;
}

int listing_end(struct listing *l, int rc, const char *key, const char *nothing)
{
    client_free(l->client);
    buf_done(&l->last);
    buf_done(&l->last_second);
    if (rc == CLI_DONE && l->array)
        return output_json(json_pack("{s:o}", key, l->array));
    if (rc == CLI_DONE)
        table_print(l->table, nothing);
    else if (l->array)
        json_decref(l->array);
    else
        table_free(l->table);
    return rc;
}
