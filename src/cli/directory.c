/* Domains, accounts, aliases. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "cli/listing.h"
#include "cli/password.h"
#include "conf/conf.h"

/* ---- domains ---- */

int cli_cmd_domain_add(struct cli *cli)
{
    return cli_do_one(
        cli, &(struct ipc_message){.type = IPC_TYPE_DOMAIN_ADD, .domain_add = {.domain = cli_word(cli, 0)}},
        "domain added");
}

int cli_cmd_domain_remove(struct cli *cli)
{
    return cli_do_one(
        cli,
        &(struct ipc_message){.type = IPC_TYPE_DOMAIN_REMOVE, .domain_remove = {.domain = cli_word(cli, 0)}},
        "domain removed");
}

static void list_domain(struct listing *l, const struct ipc_domain_row *row)
{
    listing_keep(&l->last, row->domain);
    if (l->array) {
        json_array_append_new(l->array, json_pack("{s:o, s:I, s:I}", "domain", output_json_text(row->domain),
                                                  "accounts", (json_int_t)row->accounts, "aliases",
                                                  (json_int_t)row->aliases));
        return;
    }
    table_cell(l->table, row->domain);
    table_number(l->table, row->accounts);
    table_number(l->table, row->aliases);
}

int cli_cmd_domain_list(struct cli *cli)
{
    struct listing l;
    const struct ipc_message *answer;
    int rc = listing_begin(cli, "DOMAIN|>ACCOUNTS|>ALIASES", &l);

    if (rc != CLI_DONE)
        return rc;
    do {
        struct ipc_message ask = {.type = IPC_TYPE_DOMAIN_LIST, .domain_list = {.after = buf_span(&l.last)}};

        rc = client_ask(l.client, &ask, &answer);
        for (uint32_t i = 0; rc == CLI_DONE && i < answer->domain_rows.rows_count; i++)
            list_domain(&l, &answer->domain_rows.rows[i]);
    } while (rc == CLI_DONE && answer->domain_rows.more && answer->domain_rows.rows_count);
    return listing_end(&l, rc, "domains", "there are no domains; `brant domain add DOMAIN` makes one");
}

/* ---- accounts ---- */

static int parse_quota(const char *text, uint64_t *ret)
{
    if (conf_size_parse(span_str(text), ret) != BRANT_OK)
        return cli_refuse("quota %s: not a size; write for example 2GiB or 500MB, or 0 for no limit", text);
    return CLI_DONE;
}

/* A hash from another system in place of a password. */
static int hash_get(const struct cli *cli, struct password *ret)
{
    size_t len = strlen(cli->password_hash);

    *ret = (struct password){.generated = false};
    if (len == 0 || len > PASSWORD_BYTES_MAX)
        return cli_refuse("a hash has 1 to %d bytes", PASSWORD_BYTES_MAX);
    memcpy(ret->text, cli->password_hash, len + 1);
    return CLI_DONE;
}

static int account_add(struct cli *cli, struct client *c, const struct password *password)
{
    struct ipc_message ask = {.type = IPC_TYPE_ACCOUNT_ADD};
    int rc = CLI_DONE;

    ask.account_add.address = cli_word(cli, 0);
    ask.account_add.password = span_str(password->text);
    ask.account_add.hashed = (cli->seen & OPT_HASH) != 0;
    ask.account_add.quota_bytes = client_quota_default(c);
    if (cli->quota)
        rc = parse_quota(cli->quota, &ask.account_add.quota_bytes);
    return rc == CLI_DONE ? client_do(c, &ask) : rc;
}

/* The end of a command that set a password: a generated one has to be told. */
static int password_set(struct cli *cli, const struct password *p, const char *done)
{
    if (cli_json(cli))
        return output_json(p->generated ? json_pack("{s:b, s:s}", "done", 1, "password", p->text)
                                        : json_pack("{s:b}", "done", 1));
    printf("%s\n", done);
    if (p->generated)
        printf("password: %s\n", p->text);
    return CLI_DONE;
}

int cli_cmd_account_add(struct cli *cli)
{
    struct password password = {.generated = false};
    struct client *c;
    int rc;

    if ((cli->seen & OPT_NO_PASSWORD) && (cli->seen & (OPT_SECRET | OPT_HASH)))
        return cli_usage(cli->command, "--no-password and a password exclude each other");
    if ((cli->seen & OPT_HASH) && (cli->seen & OPT_SECRET))
        return cli_usage(cli->command, "--password-hash and a password exclude each other");
    rc = client_open_store(cli, &c); /* before anybody types a password in vain */
    if (rc != CLI_DONE)
        return rc;
    if (cli->seen & OPT_HASH)
        rc = hash_get(cli, &password);
    else if (!(cli->seen & OPT_NO_PASSWORD))
        rc = password_get(cli, &password);
    if (rc == CLI_DONE)
        rc = account_add(cli, c, &password);
    client_free(c);
    if (rc == CLI_DONE)
        rc = password_set(cli, &password, "account added");
    password_done(&password);
    return rc;
}

int cli_cmd_account_passwd(struct cli *cli)
{
    struct ipc_message ask = {.type = IPC_TYPE_ACCOUNT_SET};
    struct password password;
    struct client *c;
    int rc = client_open_store(cli, &c);

    if (rc != CLI_DONE)
        return rc;
    rc = password_get(cli, &password);
    ask.account_set = (struct ipc_account_set){
        .address = cli_word(cli, 0), .change = IPC_ACCOUNT_PASSWORD, .password = span_str(password.text)};
    if (rc == CLI_DONE)
        rc = client_do(c, &ask);
    client_free(c);
    if (rc == CLI_DONE)
        rc = password_set(cli, &password, "password set");
    password_done(&password);
    return rc;
}

int cli_cmd_account_remove(struct cli *cli)
{
    return cli_do_one(cli,
                      &(struct ipc_message){.type = IPC_TYPE_ACCOUNT_REMOVE,
                                            .account_remove = {.address = cli_word(cli, 0)}},
                      "account and mail removed");
}

int cli_cmd_account_quota(struct cli *cli)
{
    struct ipc_message ask = {.type = IPC_TYPE_ACCOUNT_SET};
    char text[128];

    /* "2 GiB" may come as one word or as two */
    snprintf(text, sizeof text, "%s%s%s", cli->words[1], cli->word_count > 2 ? " " : "",
             cli->word_count > 2 ? cli->words[2] : "");
    ask.account_set = (struct ipc_account_set){.address = cli_word(cli, 0), .change = IPC_ACCOUNT_QUOTA};
    if (parse_quota(text, &ask.account_set.quota_bytes) != CLI_DONE)
        return CLI_REFUSED;
    return cli_do_one(cli, &ask, "quota set");
}

static int set_enabled(struct cli *cli, bool enabled)
{
    struct ipc_message ask = {.type = IPC_TYPE_ACCOUNT_SET};

    ask.account_set = (struct ipc_account_set){
        .address = cli_word(cli, 0), .change = IPC_ACCOUNT_ENABLED, .enabled = enabled};
    return cli_do_one(cli, &ask, enabled ? "account enabled" : "account disabled");
}

int cli_cmd_account_enable(struct cli *cli)
{
    return set_enabled(cli, true);
}

int cli_cmd_account_disable(struct cli *cli)
{
    return set_enabled(cli, false);
}

int cli_cmd_account_set(struct cli *cli)
{
    struct ipc_message ask = {.type = IPC_TYPE_ACCOUNT_SET, .account_set = {.address = cli_word(cli, 0)}};
    struct ipc_account_set *set = &ask.account_set;
    struct password hash = {.generated = false};
    int rc = CLI_DONE;

    if (cli->sent_copy && strcmp(cli->sent_copy, "on") != 0 && strcmp(cli->sent_copy, "off") != 0)
        return cli_usage(cli->command, "--sent-copy %s: write on or off", cli->sent_copy);
    if (!cli->sent_copy && !cli->password_hash)
        return cli_usage(cli->command, "nothing is said to be set");
    if (cli->sent_copy) {
        set->change |= IPC_ACCOUNT_SENT_COPY;
        set->sent_copy = strcmp(cli->sent_copy, "on") == 0;
    }
    if (cli->password_hash) {
        rc = hash_get(cli, &hash);
        set->change |= IPC_ACCOUNT_PASSWORD;
        set->hashed = 1;
        set->password = span_str(hash.text);
    }
    if (rc == CLI_DONE)
        rc = cli_do_one(cli, &ask, "set");
    password_done(&hash);
    return rc;
}

static const char *login_state(const struct ipc_account_row *row)
{
    return !row->enabled ? "disabled" : row->has_password ? "yes" : "no password";
}

static json_t *account_json(const struct ipc_account_row *row)
{
    return json_pack("{s:o, s:I, s:I, s:I, s:I, s:b, s:b, s:b, s:b, s:I, s:I, s:I}", "address",
                     output_json_text(row->address), "account", (json_int_t)row->account, "messages",
                     (json_int_t)row->messages, "used_bytes", (json_int_t)row->used_bytes, "quota_bytes",
                     (json_int_t)row->quota_bytes, "enabled", (int)row->enabled, "has_password",
                     (int)row->has_password, "has_scram", (int)row->has_scram, "sent_copy",
                     (int)row->sent_copy, "grants", (json_int_t)row->grants, "app_passwords",
                     (json_int_t)row->app_passwords, "created_at_s", (json_int_t)row->created_at_s);
}

static void list_account(struct listing *l, const struct ipc_account_row *row)
{
    if (l->array) {
        json_array_append_new(l->array, account_json(row));
        return;
    }
    table_cell(l->table, row->address);
    table_number(l->table, row->messages);
    table_size(l->table, row->used_bytes);
    if (row->quota_bytes)
        table_size(l->table, row->quota_bytes);
    else
        table_text(l->table, "none");
    table_text(l->table, login_state(row));
    table_text(l->table, row->sent_copy ? "server" : "client");
    table_number(l->table, row->app_passwords);
}

/* Each account of a domain (empty: of all), or only the one of that address, goes to the listing. Answers how
 * many did in *ret_count. */
static int list_accounts(struct listing *l, struct span domain, struct span only, size_t *ret_count)
{
    const struct ipc_message *answer;
    int rc;

    *ret_count = 0;
    do {
        struct ipc_message ask = {.type = IPC_TYPE_ACCOUNT_LIST,
                                  .account_list = {.domain = domain, .after = buf_span(&l->last)}};

        rc = client_ask(l->client, &ask, &answer);
        for (uint32_t i = 0; rc == CLI_DONE && i < answer->account_rows.rows_count; i++) {
            const struct ipc_account_row *row = &answer->account_rows.rows[i];

            listing_keep(&l->last, row->address);
            if (only.len && !span_eq_nocase(row->address, only))
                continue;
            list_account(l, row);
            ++*ret_count;
        }
    } while (rc == CLI_DONE && answer->account_rows.more && answer->account_rows.rows_count);
    return rc;
}

#define ACCOUNT_TITLES "ADDRESS|>MESSAGES|>USED|>QUOTA|LOGIN|SENT COPY|>APP PASSWORDS"

int cli_cmd_account_list(struct cli *cli)
{
    struct listing l;
    size_t count;
    int rc = listing_begin(cli, ACCOUNT_TITLES, &l);

    if (rc != CLI_DONE)
        return rc;
    rc = list_accounts(&l, cli->domain ? span_str(cli->domain) : SPAN_NONE, SPAN_NONE, &count);
    return listing_end(&l, rc, "accounts", "there are no accounts; `brant account add ADDRESS` makes one");
}

int cli_cmd_account_show(struct cli *cli)
{
    struct span address = cli_word(cli, 0);
    size_t at = span_rfind_byte(address, '@'), count;
    struct listing l;
    int rc;

    if (at == SPAN_NPOS)
        return cli_refuse("%s: write the whole address", cli->words[0]);
    rc = listing_begin(cli, ACCOUNT_TITLES, &l);
    if (rc != CLI_DONE)
        return rc;
    rc = list_accounts(&l, span_from(address, at + 1), address, &count);
    if (rc == CLI_DONE && count == 0)
        rc = cli_refuse("there is no account %s; `brant alias resolve` shows where mail for an address goes",
                        cli->words[0]);
    return listing_end(&l, rc, "accounts", "");
}

/* ---- aliases ---- */

int cli_cmd_alias_add(struct cli *cli)
{
    struct ipc_message ask = {.type = IPC_TYPE_ALIAS_ADD};

    ask.alias_add = (struct ipc_alias_add){.alias = cli_word(cli, 0), .target = cli_word(cli, 1)};
    return cli_do_one(cli, &ask, "alias added");
}

int cli_cmd_alias_remove(struct cli *cli)
{
    struct ipc_message ask = {.type = IPC_TYPE_ALIAS_REMOVE};

    ask.alias_remove = (struct ipc_alias_remove){.alias = cli_word(cli, 0), .target = cli_word(cli, 1)};
    return cli_do_one(cli, &ask, "alias removed");
}

static void list_alias(struct listing *l, const struct ipc_alias_row *row)
{
    listing_keep(&l->last, row->alias);
    listing_keep(&l->last_second, row->target);
    if (l->array) {
        json_array_append_new(l->array, json_pack("{s:o, s:o}", "alias", output_json_text(row->alias),
                                                  "target", output_json_text(row->target)));
        return;
    }
    table_cell(l->table, row->alias);
    table_cell(l->table, row->target);
}

int cli_cmd_alias_list(struct cli *cli)
{
    struct listing l;
    const struct ipc_message *answer;
    int rc = listing_begin(cli, "ALIAS|TARGET", &l);

    if (rc != CLI_DONE)
        return rc;
    do {
        struct ipc_message ask = {.type = IPC_TYPE_ALIAS_LIST};

        ask.alias_list = (struct ipc_alias_list){.domain = cli->domain ? span_str(cli->domain) : SPAN_NONE,
                                                 .after_alias = buf_span(&l.last),
                                                 .after_target = buf_span(&l.last_second)};
        rc = client_ask(l.client, &ask, &answer);
        for (uint32_t i = 0; rc == CLI_DONE && i < answer->alias_rows.rows_count; i++)
            list_alias(&l, &answer->alias_rows.rows[i]);
    } while (rc == CLI_DONE && answer->alias_rows.more && answer->alias_rows.rows_count);
    return listing_end(&l, rc, "aliases", "there are no aliases; `brant alias add ALIAS TARGET` makes one");
}

static void list_resolved(struct listing *l, const struct ipc_address_row *row)
{
    if (l->array) {
        json_array_append_new(l->array, json_pack("{s:o, s:o}", "account", output_json_text(row->account),
                                                  "detail", output_json_text(row->detail)));
        return;
    }
    table_cell(l->table, row->account);
    table_cell(l->table, row->detail);
}

int cli_cmd_alias_resolve(struct cli *cli)
{
    struct ipc_message ask = {.type = IPC_TYPE_ADDRESS_RESOLVE,
                              .address_resolve = {.address = cli_word(cli, 0)}};
    struct listing l;
    const struct ipc_message *answer;
    int rc = listing_begin(cli, "ACCOUNT|DETAIL", &l);

    if (rc != CLI_DONE)
        return rc;
    rc = client_ask(l.client, &ask, &answer);
    if (rc == CLI_DONE && answer->address_rows.status != IPC_OK)
        rc = client_refused(answer->address_rows.status, answer->address_rows.text);
    for (uint32_t i = 0; rc == CLI_DONE && i < answer->address_rows.rows_count; i++)
        list_resolved(&l, &answer->address_rows.rows[i]);
    return listing_end(&l, rc, "accounts", "mail for this address reaches no account");
}
