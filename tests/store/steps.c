#include "steps.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "os/random.h"

struct ipc_id new_id(void)
{
    struct ipc_id id;
    os_random_fill(&id, sizeof id);
    return id;
}

struct ip_addr address(const char *text)
{
    struct ip_addr a;
    CHECK(ip_parse(span_str(text), &a) == BRANT_OK);
    a.port = 40000;
    return a;
}

void admin(struct peer *cli, struct ipc_message m, uint8_t status)
{
    struct ipc_message answer;
    peer_call(cli, &m, &answer);
    if (answer.result.status != status)
        fail("%s: status %u (%.*s) instead of %u", ipc_type_name(m.type), answer.result.status,
             SPAN_ARG(answer.result.text), status);
    /* A refusal always says why, to a person. */
    CHECK(status == IPC_OK || answer.result.text.len > 0);
}

uint64_t store_figure(struct peer *cli, const char *key)
{
    struct ipc_message ask = {.type = IPC_TYPE_STATUS_ASK}, answer;
    peer_call(cli, &ask, &answer);
    for (uint32_t k = 0; k < answer.status_info.pairs_count; k++)
        if (span_eq_str(answer.status_info.pairs[k].key, key)) {
            char text[24] = "";
            struct span value = answer.status_info.pairs[k].value;
            CHECK(value.len < sizeof text);
            memcpy(text, value.p, value.len);
            return strtoull(text, NULL, 10);
        }
    CHECK(false);
    return 0;
}

struct ipc_message domain_add(const char *domain)
{
    return (struct ipc_message){.type = IPC_TYPE_DOMAIN_ADD, .domain_add = {.domain = span_str(domain)}};
}

struct ipc_message account_add(const char *name, const char *password, uint64_t quota)
{
    return (struct ipc_message){
        .type = IPC_TYPE_ACCOUNT_ADD,
        .account_add = {.address = span_str(name), .password = span_str(password), .quota_bytes = quota}};
}

struct ipc_message alias_add(const char *alias, const char *target)
{
    return (struct ipc_message){.type = IPC_TYPE_ALIAS_ADD,
                                .alias_add = {.alias = span_str(alias), .target = span_str(target)}};
}

void people(struct peer *cli)
{
    admin(cli, domain_add("brant.test"), IPC_OK);
    admin(cli, account_add("alice@brant.test", "secret", 0), IPC_OK);
    admin(cli, account_add("bob@brant.test", "hunter2", 0), IPC_OK);
}

uint8_t session_open(struct peer *p, struct ipc_id id, uint8_t service, const char *from)
{
    struct ipc_message answer,
        ask = {.type = IPC_TYPE_SESSION_OPEN, .session_open = {.session = id, .service = service}};
    ask.session_open.source = address(from);
    peer_call(p, &ask, &answer);
    return answer.session_verdict.status;
}

uint8_t rcpt_check(struct peer *p, struct ipc_id session, const char *to, uint64_t size)
{
    struct ipc_message answer,
        ask = {.type = IPC_TYPE_RCPT_CHECK,
               .rcpt_check = {.session = session, .address = span_str(to), .size = size}};
    peer_call(p, &ask, &answer);
    return answer.rcpt_verdict.status;
}

/* A message whose every byte follows from its number. */
struct span message_bytes(struct buf *out, unsigned number, size_t len)
{
    buf_reset(out);
    buf_printf(out, "Subject: message %u\r\n\r\n", number);
    uint32_t x = number * 2654435761u + 1;
    while (out->len < len) {
        x = x * 1664525u + 1013904223u;
        size_t column = out->len % 78;
        buf_append_byte(out, (uint8_t)(column == 76   ? '\r'
                                       : column == 77 ? '\n'
                                                      : 'a' + (int)((x >> 24) % 26)));
    }
    return buf_span(out);
}

static const char prefix_text[] = "Return-Path: <sender@elsewhere.test>\r\nReceived: from a test\r\n";

/* Sends a body within the credit given, waiting for more. */
void send_body(struct peer *p, struct ipc_id session, uint64_t body, struct span bytes, other_message *other,
               void *context)
{
    size_t credit = IPC_BODY_CREDIT, sent = 0;
    while (sent < bytes.len) {
        struct span chunk = span_sub(bytes, sent, IPC_CHUNK_MAX);
        while (credit < chunk.len) {
            struct ipc_message m;
            CHECK(peer_receive(p, &m));
            if (m.type != IPC_TYPE_BODY_CREDIT) {
                other(context, &m);
                continue;
            }
            CHECK(m.body_credit.status == IPC_OK);
            if (m.body_credit.body == body)
                credit += m.body_credit.bytes;
        }
        peer_send(p, &(struct ipc_message){.type = IPC_TYPE_BODY_CHUNK,
                                           .body_chunk = {.session = session, .body = body, .bytes = chunk}});
        credit -= chunk.len;
        sent += chunk.len;
    }
}

struct ipc_message commit_message(struct ipc_id commit, struct ipc_id session, uint64_t body, size_t bytes,
                                  const struct ipc_recipient *to, uint32_t to_count)
{
    static const struct ipc_variant variant = {
        .prefix = {(const uint8_t *)prefix_text, sizeof prefix_text - 1}};
    struct ipc_message m = {.type = IPC_TYPE_COMMIT,
                            .commit = {.commit = commit,
                                       .session = session,
                                       .body = body,
                                       .body_bytes = bytes,
                                       .service = IPC_SERVICE_SMTP,
                                       .protocol = SPAN_LIT("ESMTP"),
                                       .helo = SPAN_LIT("client.elsewhere.test"),
                                       .reverse_path = SPAN_LIT("sender@elsewhere.test"),
                                       .recipients = to,
                                       .recipients_count = to_count,
                                       .variants = &variant,
                                       .variants_count = 1}};
    m.commit.source = address("192.0.2.7");
    return m;
}

struct ipc_id login(struct peer *pop3, const char *user, const char *password, uint8_t status,
                    struct ipc_message *ret)
{
    struct ipc_id session = new_id();
    CHECK(session_open(pop3, session, IPC_SERVICE_POP3, "127.0.0.1") == IPC_OK);
    struct ipc_message ask = {.type = IPC_TYPE_LOGIN,
                              .login = {.session = session,
                                        .service = IPC_SERVICE_POP3,
                                        .user = span_str(user),
                                        .password = span_str(password)}};
    ask.login.source = address("127.0.0.1");
    peer_call(pop3, &ask, ret);
    if (ret->login_result.status != status)
        fail("login of %s: status %u instead of %u", user, ret->login_result.status, status);
    return session;
}

struct ipc_message maildrop_open(struct peer *pop3, struct ipc_id session)
{
    struct ipc_message answer, ask = {.type = IPC_TYPE_MAILDROP_OPEN, .maildrop_open = {.session = session}};
    peer_call(pop3, &ask, &answer);
    return answer;
}

struct maildrop maildrop_list(struct peer *pop3, struct ipc_id session)
{
    struct maildrop m = {0};
    struct ipc_message answer;
    uint32_t after = 0;
    do {
        struct ipc_message ask = {.type = IPC_TYPE_MAILDROP_LIST,
                                  .maildrop_list = {.session = session, .after_uid = after}};
        peer_call(pop3, &ask, &answer);
        CHECK(answer.maildrop_rows.status == IPC_OK);
        uint32_t n = answer.maildrop_rows.rows_count;
        CHECK(n > 0 || !answer.maildrop_rows.more);
        m.rows = mem_regrow(m.rows, m.count + n + 1, sizeof *m.rows);
        for (uint32_t i = 0; i < n; i++) {
            CHECK(answer.maildrop_rows.rows[i].uid > after);
            after = answer.maildrop_rows.rows[i].uid;
            m.rows[m.count++] = answer.maildrop_rows.rows[i];
        }
    } while (answer.maildrop_rows.more);
    return m;
}

void read_message(struct peer *pop3, struct ipc_id session, uint32_t uid, struct buf *out)
{
    buf_reset(out);
    struct ipc_message answer;
    do {
        struct ipc_message ask = {
            .type = IPC_TYPE_MESSAGE_READ,
            .message_read = {.session = session, .uid = uid, .offset = out->len, .length = 50000}};
        peer_call(pop3, &ask, &answer);
        if (answer.message_data.status != IPC_OK)
            fail("read of uid %u: status %u", uid, answer.message_data.status);
        CHECK(buf_append(out, answer.message_data.bytes) == BRANT_OK);
    } while (answer.message_data.bytes.len == 50000);
}

/* The number in a stored message, whose bytes must be exactly what was committed under that number. */
unsigned check_stored(struct span stored, struct buf *scratch)
{
    struct span prefix = span_make(prefix_text, sizeof prefix_text - 1);
    CHECK(span_starts(stored, prefix));
    struct span body = span_from(stored, prefix.len);
    unsigned number;
    CHECK(body.len > 30 && sscanf((const char *)body.p, "Subject: message %u", &number) == 1);
    if (!span_eq(body, message_bytes(scratch, number, body.len)))
        fail("message %u differs from what was sent", number);
    return number;
}
