/* What an account has beside its password: app passwords, client certificates, addresses it may send as. */
#include <inttypes.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/ascii.h"
#include "base/codec.h"
#include "base/err.h"
#include "base/mem.h"
#include "cli/listing.h"

enum { DAY_S = 86400 };
static const uint64_t SECONDS_MAX = 36500ull * DAY_S;

/* ---- the options
 * ------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint32_t bit;
} PROTOCOLS[] = {
    {"submission", IPC_PROTOCOL_SUBMISSION}, {"pop3", IPC_PROTOCOL_POP3}, {"imap", IPC_PROTOCOL_IMAP}};

enum { PROTOCOL_COUNT = sizeof PROTOCOLS / sizeof *PROTOCOLS };

static int parse_protocols(const struct cli *cli, uint32_t *ret)
{
    struct span rest = span_str(cli->protocols ? cli->protocols : "submission,pop3,imap");

    *ret = 0;
    while (rest.len) {
        struct span one = span_sub(rest, 0, span_find_byte(rest, ','));
        size_t i = 0;

        while (i < PROTOCOL_COUNT && !span_eq_str_nocase(one, PROTOCOLS[i].name))
            i++;
        if (i == PROTOCOL_COUNT)
            return cli_usage(cli->command, "--protocols %s: write some of submission,pop3,imap",
                             cli->protocols);
        *ret |= PROTOCOLS[i].bit;
        rest = span_from(rest, one.len + 1);
    }
    return *ret ? CLI_DONE : cli_usage(cli->command, "--protocols: write some of submission,pop3,imap");
}

/* "90d", "12h", "30m", "45s". False: something else. */
static bool parse_span_of_time(struct span text, uint64_t *ret_s)
{
    static const struct {
        char unit;
        uint64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', DAY_S}};
    uint64_t n;

    for (size_t i = 0; text.len > 1 && i < sizeof units / sizeof *units; i++)
        if (text.p[text.len - 1] == (uint8_t)units[i].unit &&
            span_to_u64(span_sub(text, 0, text.len - 1), SECONDS_MAX / units[i].seconds, &n) == BRANT_OK &&
            n > 0) {
            *ret_s = n * units[i].seconds;
            return true;
        }
    return false;
}

/* A span of time from now on, or a day, at whose end it is over: "2027-01-31". */
static int parse_expiry(const struct cli *cli, uint64_t *ret)
{
    struct span text = span_str(cli->expires ? cli->expires : "");
    struct tm day = {0};
    time_t now = time(NULL), over;
    uint64_t seconds;
    const char *end;

    *ret = 0;
    if (!cli->expires || span_eq_str(text, "never"))
        return CLI_DONE;
    if (parse_span_of_time(text, &seconds)) {
        *ret = (uint64_t)(now + (time_t)seconds);
        return CLI_DONE;
    }
    end = strptime(cli->expires, "%Y-%m-%d", &day);
    if (!end || *end)
        return cli_usage(cli->command, "--expires %s: write for example 90d, 12h or 2027-01-31",
                         cli->expires);
    over = timegm(&day) + DAY_S;
    if (over <= now)
        return cli_usage(cli->command, "--expires %s: that day is over", cli->expires);
    *ret = (uint64_t)over;
    return CLI_DONE;
}

/* ---- adding and removing
 * ------------------------------------------------------------------------------------ */

static int added(const struct cli *cli, const struct ipc_grant_added *a, const char *done)
{
    char password[80];

    if (a->status != IPC_OK)
        return client_refused(a->status, a->text);
    if (cli_json(cli))
        return output_json(a->password.len
                               ? json_pack("{s:b, s:o}", "done", 1, "password", output_json_text(a->password))
                               : json_pack("{s:b}", "done", 1));
    printf("%s\n", done);
    if (a->password.len) {
        snprintf(password, sizeof password, "%.*s", (int)a->password.len, (const char *)a->password.p);
        printf("password: %s\nIt is shown this once.\n", password);
        mem_wipe(password, sizeof password);
    }
    return CLI_DONE;
}

static int add(struct cli *cli, struct ipc_message *ask, const char *done)
{
    const struct ipc_message *answer;
    struct client *c;
    int rc = client_open_store(cli, &c);

    if (rc != CLI_DONE)
        return rc;
    rc = client_ask(c, ask, &answer);
    if (rc == CLI_DONE)
        rc = added(cli, &answer->grant_added, done);
    client_free(c);
    return rc;
}

static int remove_one(struct cli *cli, enum ipc_grant_kind kind, const char *done)
{
    struct ipc_message ask = {.type = IPC_TYPE_GRANT_REMOVE};

    ask.grant_remove = (struct ipc_grant_remove){
        .address = cli_word(cli, 0), .kind = (uint8_t)kind, .name = cli_word(cli, 1)};
    return cli_do_one(cli, &ask, done);
}

int cli_cmd_app_password_add(struct cli *cli)
{
    struct ipc_message ask = {.type = IPC_TYPE_GRANT_ADD};

    ask.grant_add = (struct ipc_grant_add){
        .address = cli_word(cli, 0), .kind = IPC_GRANT_APP_PASSWORD, .name = cli_word(cli, 1)};
    if (parse_protocols(cli, &ask.grant_add.protocols) || parse_expiry(cli, &ask.grant_add.expires_at_s))
        return CLI_USAGE;
    return add(cli, &ask, "app password added");
}

int cli_cmd_app_password_remove(struct cli *cli)
{
    return remove_one(cli, IPC_GRANT_APP_PASSWORD, "app password removed");
}

/* 64 hexadecimal digits, colons between them allowed, as openssl prints them. */
static bool parse_fingerprint(const char *text, uint8_t ret[IPC_FINGERPRINT_BYTES])
{
    size_t digits = 0;

    memset(ret, 0, IPC_FINGERPRINT_BYTES);
    for (; *text; text++) {
        int value = ascii_hex_value((uint8_t)*text);

        if (*text == ':')
            continue;
        if (value < 0 || digits == 2 * IPC_FINGERPRINT_BYTES)
            return false;
        ret[digits / 2] = (uint8_t)(ret[digits / 2] << 4 | value);
        digits++;
    }
    return digits == 2 * IPC_FINGERPRINT_BYTES;
}

static bool read_fingerprint(const char *path, uint8_t ret[IPC_FINGERPRINT_BYTES])
{
    FILE *f = fopen(path, "re");
    X509 *x = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
    unsigned len = 0;
    bool ok = x && X509_digest(x, EVP_sha256(), ret, &len) == 1 && len == IPC_FINGERPRINT_BYTES;

    X509_free(x);
    if (f)
        fclose(f);
    return ok;
}

int cli_cmd_certificate_add(struct cli *cli)
{
    uint8_t fingerprint[IPC_FINGERPRINT_BYTES];
    struct ipc_message ask = {.type = IPC_TYPE_GRANT_ADD};

    if (!parse_fingerprint(cli->words[2], fingerprint) && !read_fingerprint(cli->words[2], fingerprint))
        return cli_refuse(
            "%s: neither a certificate in PEM nor the 64 hexadecimal digits of a SHA-256 fingerprint",
            cli->words[2]);
    ask.grant_add = (struct ipc_grant_add){.address = cli_word(cli, 0),
                                           .kind = IPC_GRANT_CERTIFICATE,
                                           .name = cli_word(cli, 1),
                                           .fingerprint = span_make(fingerprint, sizeof fingerprint)};
    if (parse_protocols(cli, &ask.grant_add.protocols) || parse_expiry(cli, &ask.grant_add.expires_at_s))
        return CLI_USAGE;
    return add(cli, &ask, "certificate added");
}

int cli_cmd_certificate_remove(struct cli *cli)
{
    return remove_one(cli, IPC_GRANT_CERTIFICATE, "certificate removed");
}

int cli_cmd_send_as_add(struct cli *cli)
{
    struct ipc_message ask = {.type = IPC_TYPE_GRANT_ADD};

    ask.grant_add = (struct ipc_grant_add){
        .address = cli_word(cli, 0), .kind = IPC_GRANT_SEND_AS, .name = cli_word(cli, 1)};
    if (parse_expiry(cli, &ask.grant_add.expires_at_s))
        return CLI_USAGE;
    return add(cli, &ask, "allowed");
}

int cli_cmd_send_as_remove(struct cli *cli)
{
    return remove_one(cli, IPC_GRANT_SEND_AS, "not allowed any more");
}

/* ---- listing
 * ----------------------------------------------------------------------------------------------- */

static void put_protocols(struct buf *out, uint32_t protocols)
{
    for (size_t i = 0; i < PROTOCOL_COUNT; i++)
        if (protocols & PROTOCOLS[i].bit)
            buf_printf(out, "%s%s", out->len ? "," : "", PROTOCOLS[i].name);
}

static void put_day(struct buf *out, uint64_t unix_s, const char *zero)
{
    if (unix_s)
        output_time(out, unix_s * 1000000, false);
    else
        buf_append_str(out, zero);
}

static json_t *protocols_json(uint32_t protocols)
{
    json_t *list = json_array();

    for (size_t i = 0; i < PROTOCOL_COUNT; i++)
        if (protocols & PROTOCOLS[i].bit)
            json_array_append_new(list, json_string(PROTOCOLS[i].name));
    return list;
}

static json_t *row_json(const struct ipc_grant_row *row)
{
    _cleanup_buf_ struct buf hex;
    json_t *o = json_pack("{s:o, s:I, s:I}", "name", output_json_text(row->name), "created_at_s",
                          (json_int_t)row->created_at_s, "expires_at_s", (json_int_t)row->expires_at_s);

    buf_init(&hex, 2 * IPC_FINGERPRINT_BYTES);
    if (row->kind != IPC_GRANT_SEND_AS)
        json_object_set_new(o, "protocols", protocols_json(row->protocols));
    if (row->kind == IPC_GRANT_CERTIFICATE) {
        codec_hex_encode(&hex, row->fingerprint);
        json_object_set_new(o, "sha256", output_json_text(buf_span(&hex)));
    }
    return o;
}

static void list_row(struct listing *l, const struct ipc_grant_row *row)
{
    _cleanup_buf_ struct buf text;

    buf_init(&text, 256);
    if (l->array) {
        json_array_append_new(l->array, row_json(row));
        return;
    }
    table_cell(l->table, row->name);
    if (row->kind != IPC_GRANT_SEND_AS) {
        put_protocols(&text, row->protocols);
        table_cell(l->table, buf_span(&text));
    }
    buf_reset(&text);
    put_day(&text, row->created_at_s, "");
    table_cell(l->table, buf_span(&text));
    buf_reset(&text);
    put_day(&text, row->expires_at_s, "never");
    table_cell(l->table, buf_span(&text));
    if (row->kind == IPC_GRANT_CERTIFICATE) {
        buf_reset(&text);
        codec_hex_encode(&text, row->fingerprint);
        table_cell(l->table, buf_span(&text));
    }
}

static int list(struct cli *cli, enum ipc_grant_kind kind, const char *titles, const char *key,
                const char *nothing)
{
    struct ipc_message ask = {.type = IPC_TYPE_GRANT_LIST,
                              .grant_list = {.address = cli_word(cli, 0), .kind = (uint8_t)kind}};
    const struct ipc_message *answer;
    struct listing l;
    int rc = listing_begin(cli, titles, &l);

    if (rc != CLI_DONE)
        return rc;
    rc = client_ask(l.client, &ask, &answer);
    if (rc == CLI_DONE && answer->grant_rows.status != IPC_OK)
        rc = client_refused(answer->grant_rows.status, answer->grant_rows.text);
    for (uint32_t i = 0; rc == CLI_DONE && i < answer->grant_rows.rows_count; i++)
        list_row(&l, &answer->grant_rows.rows[i]);
    return listing_end(&l, rc, key, nothing);
}

int cli_cmd_app_password_list(struct cli *cli)
{
    return list(cli, IPC_GRANT_APP_PASSWORD, "NAME|PROTOCOLS|CREATED|EXPIRES", "app_passwords",
                "no app passwords; `brant app-password add ADDRESS NAME` makes one");
}

int cli_cmd_certificate_list(struct cli *cli)
{
    return list(cli, IPC_GRANT_CERTIFICATE, "NAME|PROTOCOLS|CREATED|EXPIRES|SHA-256", "certificates",
                "no certificates; `brant certificate add ADDRESS NAME FILE` adds one");
}

int cli_cmd_send_as_list(struct cli *cli)
{
    return list(cli, IPC_GRANT_SEND_AS, "ADDRESS|SINCE|UNTIL", "send_as",
                "only its own addresses and aliases; `brant send-as add ACCOUNT ADDRESS` allows more");
}
