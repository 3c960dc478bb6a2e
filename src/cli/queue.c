/* The queue: what waits for other servers. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/codec.h"
#include "base/err.h"
#include "cli/listing.h"

enum { ID_BYTES = 48 };

/* MESSAGE-RECIPIENT: two numbers. */
static void format_id(const struct ipc_queue_row *row, char out[ID_BYTES])
{
    snprintf(out, ID_BYTES, "%" PRIu64 "-%" PRIu32, row->message, row->recipient);
}

static bool parse_id(struct span text, uint64_t *ret_message, uint32_t *ret_recipient)
{
    size_t dash = span_find_byte(text, '-');
    uint64_t recipient;

    if (dash == SPAN_NPOS || span_to_u64(span_sub(text, 0, dash), UINT64_MAX, ret_message) ||
        span_to_u64(span_from(text, dash + 1), UINT32_MAX, &recipient))
        return false;
    *ret_recipient = (uint32_t)recipient;
    return true;
}

static json_t *row_json(const struct ipc_queue_row *row, const char *id)
{
    _cleanup_buf_ struct buf commit;

    buf_init(&commit, 2 * sizeof row->commit.b);
    codec_hex_encode(&commit, span_make(row->commit.b, sizeof row->commit.b));
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:I}", "id", id, "message",
                     output_json_text(buf_span(&commit)), "sender", output_json_text(row->sender),
                     "recipient", output_json_text(row->address), "account", output_json_text(row->account),
                     "state", output_json_text(row->state), "created_at_s", (json_int_t)row->created_at_s,
                     "bytes", (json_int_t)row->bytes);
}

static void list_row(struct listing *l, const struct ipc_queue_row *row)
{
    char id[ID_BYTES];
    _cleanup_buf_ struct buf text;

    buf_init(&text, 64);
    format_id(row, id);
    if (l->array) {
        json_array_append_new(l->array, row_json(row, id));
        return;
    }
    output_time(&text, row->created_at_s * 1000000, false);
    table_text(l->table, id);
    table_cell(l->table, row->state);
    table_cell(l->table, buf_span(&text));
    table_size(l->table, row->bytes);
    if (row->sender.len)
        table_cell(l->table, row->sender);
    else
        table_text(l->table, "<>");
    table_cell(l->table, row->address);
}

int cli_cmd_queue_list(struct cli *cli)
{
    struct ipc_message ask = {.type = IPC_TYPE_QUEUE_LIST};
    const struct ipc_message *answer;
    struct listing l;
    int rc = listing_begin(cli, "ID|STATE|SINCE|>SIZE|FROM|TO", &l);

    if (rc != CLI_DONE)
        return rc;
    ask.queue_list.address = cli_word(cli, 0);
    do {
        rc = client_ask(l.client, &ask, &answer);
        if (rc == CLI_DONE && answer->queue_rows.status != IPC_OK)
            rc = client_refused(answer->queue_rows.status, SPAN_NONE);
        for (uint32_t i = 0; rc == CLI_DONE && i < answer->queue_rows.rows_count; i++) {
            const struct ipc_queue_row *row = &answer->queue_rows.rows[i];

            ask.queue_list.after_message = row->message;
            ask.queue_list.after_recipient = row->recipient;
            list_row(&l, row);
        }
    } while (rc == CLI_DONE && answer->queue_rows.more && answer->queue_rows.rows_count);
    return listing_end(&l, rc, "queue", "the queue is empty");
}

int cli_cmd_queue_remove(struct cli *cli)
{
    struct ipc_message ask = {.type = IPC_TYPE_QUEUE_REMOVE};

    if (!parse_id(cli_word(cli, 0), &ask.queue_remove.message, &ask.queue_remove.recipient))
        return cli_refuse("%s: not an id of the queue; `brant queue list` shows them", cli->words[0]);
    return cli_do_one(cli, &ask, "removed; nobody is told");
}
