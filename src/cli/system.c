/* What concerns the server as a whole: status, trace, and the care of the store. */
#include <stdio.h>
#include <string.h>

#include "base/codec.h"
#include "base/err.h"
#include "cli/client.h"
#include "cli/output.h"

/* ---- status ---- */

static const char *rung_state(uint8_t state)
{
    static const char *const names[IPC_RUNG_STATE_COUNT] = {[IPC_RUNG_ENFORCED] = "enforced",
                                                            [IPC_RUNG_UNAVAILABLE] = "unavailable",
                                                            [IPC_RUNG_NOT_NEEDED] = "not needed"};

    return state < IPC_RUNG_STATE_COUNT ? names[state] : "?";
}

static json_t *process_json(const struct ipc_process *p)
{
    json_t *rungs = json_array();

    for (uint32_t i = 0; i < p->rungs_count; i++)
        json_array_append_new(rungs, json_pack("{s:o, s:s, s:o}", "name", output_json_text(p->rungs[i].name),
                                               "state", rung_state(p->rungs[i].state), "proof",
                                               output_json_text(p->rungs[i].proof)));
    return json_pack("{s:o, s:I, s:b, s:I, s:I, s:o, s:o}", "name", output_json_text(p->name), "pid",
                     (json_int_t)p->pid, "running", (int)p->running, "restarts", (json_int_t)p->restarts,
                     "started_at_s", (json_int_t)p->started_at_s, "sandbox", rungs, "figures",
                     output_json_pairs(p->pairs, p->pairs_count));
}

static int status_json(const struct ipc_system_info *s)
{
    json_t *processes = json_array();

    for (uint32_t i = 0; i < s->processes_count; i++)
        json_array_append_new(processes, process_json(&s->processes[i]));
    return output_json(json_pack("{s:o, s:o}", "system", output_json_pairs(s->pairs, s->pairs_count),
                                 "processes", processes));
}

static void status_table(const struct ipc_system_info *s)
{
    struct table *t = table_new("PROCESS|>PID|STATE|>RESTARTS|SINCE");

    for (uint32_t i = 0; i < s->processes_count; i++) {
        const struct ipc_process *p = &s->processes[i];
        _cleanup_buf_ struct buf since;

        buf_init(&since, 64);
        output_time(&since, p->started_at_s * 1000000, false);
        table_cell(t, p->name);
        table_number(t, p->pid);
        table_text(t, p->running ? "running" : "down");
        table_number(t, p->restarts);
        table_text(t, buf_cstr(&since));
    }
    table_print(t, "no processes");
}

static void status_walls(const struct ipc_system_info *s)
{
    struct table *t = table_new("PROCESS|SANDBOX|STATE|PROOF");

    for (uint32_t i = 0; i < s->processes_count; i++) {
        const struct ipc_process *p = &s->processes[i];

        for (uint32_t j = 0; j < p->rungs_count; j++) {
            table_cell(t, j ? SPAN_NONE : p->name);
            table_cell(t, p->rungs[j].name);
            table_text(t, rung_state(p->rungs[j].state));
            table_cell(t, p->rungs[j].proof);
        }
    }
    table_print(t, "no sandbox was reported");
}

static void status_people(const struct ipc_system_info *s)
{
    output_pairs(s->pairs, s->pairs_count, 0);
    putchar('\n');
    status_table(s);
    putchar('\n');
    status_walls(s);
    for (uint32_t i = 0; i < s->processes_count; i++) {
        _cleanup_buf_ struct buf name;

        buf_init(&name, 1024);
        if (s->processes[i].pairs_count == 0)
            continue;
        codec_escape(&name, s->processes[i].name);
        printf("\n%s\n", buf_cstr(&name));
        output_pairs(s->processes[i].pairs, s->processes[i].pairs_count, 2);
    }
}

int cli_cmd_status(struct cli *cli)
{
    struct ipc_message ask = {.type = IPC_TYPE_SYSTEM_ASK, .system_ask = {.version = IPC_VERSION}};
    const struct ipc_message *answer;
    struct client *c;
    int rc = client_open_supervisor(cli, &c);

    if (rc != CLI_DONE)
        return rc;
    rc = client_ask(c, &ask, &answer);
    if (rc == CLI_DONE && cli_json(cli))
        rc = status_json(&answer->system_info);
    else if (rc == CLI_DONE)
        status_people(&answer->system_info);
    client_free(c);
    return rc;
}

/* ---- trace ---- */

static json_t *trace_json(const struct ipc_trace_row *row)
{
    _cleanup_buf_ struct buf when;

    buf_init(&when, 64);
    output_time(&when, row->time_us, true);
    return json_pack("{s:I, s:s, s:I, s:o, s:o}", "seq", (json_int_t)row->seq, "time", buf_cstr(&when),
                     "time_us", (json_int_t)row->time_us, "event", output_json_text(row->event), "details",
                     output_json_pairs(row->pairs, row->pairs_count));
}

static void trace_people(const struct ipc_trace_row *row)
{
    _cleanup_buf_ struct buf line;

    buf_init(&line, 1024);
    output_time(&line, row->time_us, true);
    buf_append_str(&line, "  ");
    codec_escape(&line, row->event);
    puts(buf_cstr(&line));
    output_pairs(row->pairs, row->pairs_count, 4);
}

/* Every slice of the story; JSON rows go to the array. */
static int trace_all(struct client *c, struct span query, json_t *rows, size_t *ret_count)
{
    const struct ipc_message *answer;
    uint64_t after = 0;
    int rc;

    *ret_count = 0;
    do {
        struct ipc_message ask = {.type = IPC_TYPE_TRACE, .trace = {.query = query, .after = after}};

        rc = client_ask(c, &ask, &answer);
        if (rc == CLI_DONE && answer->trace_rows.status != IPC_OK &&
            answer->trace_rows.status != IPC_NOT_FOUND)
            return client_refused(answer->trace_rows.status, SPAN_NONE);
        for (uint32_t i = 0; rc == CLI_DONE && i < answer->trace_rows.rows_count; i++) {
            const struct ipc_trace_row *row = &answer->trace_rows.rows[i];

            after = row->seq;
            ++*ret_count;
            if (rows)
                json_array_append_new(rows, trace_json(row));
            else
                trace_people(row);
        }
    } while (rc == CLI_DONE && answer->trace_rows.more && answer->trace_rows.rows_count);
    return rc;
}

int cli_cmd_trace(struct cli *cli)
{
    struct span query = span_str(cli->words[0]);
    struct client *c;
    json_t *rows;
    size_t count;
    int rc = client_open_store(cli, &c);

    if (rc != CLI_DONE)
        return rc;
    rows = cli_json(cli) ? json_array() : NULL;
    rc = trace_all(c, query, rows, &count);
    client_free(c);
    if (rc == CLI_DONE && count == 0)
        rc = cli_refuse("nothing is known about %s; a refused session is in the log only", cli->words[0]);
    if (rows && rc == CLI_DONE)
        return output_json(json_pack("{s:o}", "events", rows));
    if (rows)
        json_decref(rows);
    return rc;
}

/* ---- the store ---- */

static int report_json(const struct ipc_store_report *r)
{
    json_t *problems = json_array();

    for (uint32_t i = 0; i < r->problems_count; i++)
        json_array_append_new(problems, output_json_text(r->problems[i].text));
    return output_json(json_pack("{s:b, s:o, s:o}", "good", r->status == IPC_OK && r->problems_count == 0,
                                 "figures", output_json_pairs(r->pairs, r->pairs_count), "problems",
                                 problems));
}

static void report_people(const struct ipc_store_report *r)
{
    output_pairs(r->pairs, r->pairs_count, 0);
    for (uint32_t i = 0; i < r->problems_count; i++) {
        _cleanup_buf_ struct buf text;

        buf_init(&text, 4 * IPC_TEXT_MAX + 1);
        codec_escape(&text, r->problems[i].text);
        printf("problem: %s\n", buf_cstr(&text));
    }
}

static int store_task(struct cli *cli, const struct ipc_message *ask, const char *good)
{
    const struct ipc_message *answer;
    const struct ipc_store_report *r;
    struct client *c;
    int rc = client_open_store(cli, &c);

    if (rc != CLI_DONE)
        return rc;
    rc = client_ask(c, ask, &answer);
    r = rc == CLI_DONE ? &answer->store_report : NULL;
    if (rc == CLI_DONE && cli_json(cli))
        rc = report_json(r);
    else if (rc == CLI_DONE)
        report_people(r);
    if (rc == CLI_DONE && r->problems_count)
        rc = cli_refuse("%u problems", r->problems_count);
    else if (rc == CLI_DONE && r->status != IPC_OK)
        rc = client_refused(r->status, SPAN_NONE);
    else if (rc == CLI_DONE && !cli_json(cli))
        puts(good);
    client_free(c);
    return rc;
}

int cli_cmd_store_check(struct cli *cli)
{
    struct ipc_message ask = {.type = IPC_TYPE_STORE_CHECK,
                              .store_check = {.deep = (cli->seen & OPT_DEEP) ? 1 : 0}};

    return store_task(cli, &ask, "no problems found");
}

int cli_cmd_store_rebuild(struct cli *cli)
{
    struct ipc_message ask = {.type = IPC_TYPE_STORE_REBUILD, .store_rebuild = {.confirm = 1}};

    return store_task(cli, &ask, "the index is new");
}

int cli_cmd_store_compact(struct cli *cli)
{
    struct ipc_message ask = {.type = IPC_TYPE_STORE_COMPACT,
                              .store_compact = {.all = (cli->seen & OPT_ALL) ? 1 : 0}};

    return store_task(cli, &ask, "compacted");
}
