/* A real brant-store process, driven as its roles drive it: by honest peers and by hostile ones, with kills
 * in the middle. Usage: store_role BRANT_STORE_EXECUTABLE [CASE] */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/wire.h"
#include "os/random.h"
#include "peer.h"
#include "world.h"

/* ---- small steps ---- */

static struct ipc_id new_id(void)
{
    struct ipc_id id;
    os_random_fill(&id, sizeof id);
    return id;
}

static struct ip_addr address(const char *text)
{
    struct ip_addr a;
    CHECK(ip_parse(span_str(text), &a) == BRANT_OK);
    a.port = 40000;
    return a;
}

static void admin(struct peer *cli, struct ipc_message m, uint8_t status)
{
    struct ipc_message answer;
    peer_call(cli, &m, &answer);
    if (answer.result.status != status)
        fail("%s: status %u (%.*s) instead of %u", ipc_type_name(m.type), answer.result.status,
             SPAN_ARG(answer.result.text), status);
    /* A refusal always says why, to a person. */
    CHECK(status == IPC_OK || answer.result.text.len > 0);
}

static struct ipc_message domain_add(const char *domain)
{
    return (struct ipc_message){.type = IPC_TYPE_DOMAIN_ADD, .domain_add = {.domain = span_str(domain)}};
}

static struct ipc_message account_add(const char *name, const char *password, uint64_t quota)
{
    return (struct ipc_message){
        .type = IPC_TYPE_ACCOUNT_ADD,
        .account_add = {.address = span_str(name), .password = span_str(password), .quota_bytes = quota}};
}

static struct ipc_message alias_add(const char *alias, const char *target)
{
    return (struct ipc_message){.type = IPC_TYPE_ALIAS_ADD,
                                .alias_add = {.alias = span_str(alias), .target = span_str(target)}};
}

static void people(struct peer *cli)
{
    admin(cli, domain_add("brant.test"), IPC_OK);
    admin(cli, account_add("alice@brant.test", "secret", 0), IPC_OK);
    admin(cli, account_add("bob@brant.test", "hunter2", 0), IPC_OK);
}

static uint8_t session_open(struct peer *p, struct ipc_id id, uint8_t service, const char *from)
{
    struct ipc_message answer,
        ask = {.type = IPC_TYPE_SESSION_OPEN, .session_open = {.session = id, .service = service}};
    ask.session_open.source = address(from);
    peer_call(p, &ask, &answer);
    return answer.session_verdict.status;
}

static uint8_t rcpt_check(struct peer *p, struct ipc_id session, const char *to, uint64_t size)
{
    struct ipc_message answer,
        ask = {.type = IPC_TYPE_RCPT_CHECK,
               .rcpt_check = {.session = session, .address = span_str(to), .size = size}};
    peer_call(p, &ask, &answer);
    return answer.rcpt_verdict.status;
}

/* A message whose every byte follows from its number. */
static struct span message_bytes(struct buf *out, unsigned number, size_t len)
{
    buf_reset(out);
    buf_printf(out, "Subject: message %u\r\n\r\n", number);
    uint32_t x = number * 2654435761u + 1;
    while (out->len < len) {
        x = x * 1664525u + 1013904223u;
        buf_append_byte(out, out->len % 78 == 76 ? '\r' : out->len % 78 == 77 ? '\n' : 'a' + (x >> 24) % 26);
    }
    return buf_span(out);
}

static const char prefix_text[] = "Return-Path: <sender@elsewhere.test>\r\nReceived: from a test\r\n";

/* Sends a body within the credit given, waiting for more. */
static void send_body(struct peer *p, struct ipc_id session, uint64_t body, struct span bytes)
{
    size_t credit = IPC_BODY_CREDIT, sent = 0;
    while (sent < bytes.len) {
        struct span chunk = span_sub(bytes, sent, IPC_CHUNK_MAX);
        while (credit < chunk.len) {
            struct ipc_message m;
            peer_expect(p, IPC_TYPE_BODY_CREDIT, &m);
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

static struct ipc_message commit_message(struct ipc_id commit, struct ipc_id session, uint64_t body,
                                         size_t bytes, const struct ipc_recipient *to, uint32_t to_count)
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

static struct ipc_id login(struct peer *pop3, const char *user, const char *password, uint8_t status,
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

static struct ipc_message maildrop_open(struct peer *pop3, struct ipc_id session)
{
    struct ipc_message answer, ask = {.type = IPC_TYPE_MAILDROP_OPEN, .maildrop_open = {.session = session}};
    peer_call(pop3, &ask, &answer);
    return answer;
}

struct maildrop {
    uint32_t count;
    struct ipc_maildrop_row *rows;
};

static struct maildrop maildrop_list(struct peer *pop3, struct ipc_id session)
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

static void read_message(struct peer *pop3, struct ipc_id session, uint32_t uid, struct buf *out)
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
static unsigned check_stored(struct span stored, struct buf *scratch)
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

/* ---- the cases ---- */

static void case_directory(struct world *w)
{
    struct peer cli;
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    admin(&cli, account_add("alice@brant.test", "secret", 0), IPC_NOT_FOUND); /* no such domain yet */
    people(&cli);
    admin(&cli, domain_add("brant.test"), IPC_EXISTS);
    admin(&cli, domain_add("BRANT.test"), IPC_EXISTS);
    admin(&cli, domain_add("no_such syntax"), IPC_INVALID);
    admin(&cli, account_add("alice@brant.test", "other", 0), IPC_EXISTS);
    admin(&cli, account_add("a b@brant.test", "other", 0), IPC_INVALID);
    admin(&cli, account_add("nobody", "other", 0), IPC_INVALID);
    admin(&cli, alias_add("info@brant.test", "alice@brant.test"), IPC_OK);
    admin(&cli, alias_add("info@brant.test", "bob@brant.test"), IPC_OK);
    admin(&cli, alias_add("info@brant.test", "bob@brant.test"), IPC_EXISTS);
    admin(&cli,
          (struct ipc_message){.type = IPC_TYPE_DOMAIN_REMOVE,
                               .domain_remove = {.domain = SPAN_LIT("brant.test")}},
          IPC_REFUSED);

    struct ipc_message answer,
        ask = {.type = IPC_TYPE_ADDRESS_RESOLVE, .address_resolve = {.address = SPAN_LIT("info@brant.test")}};
    peer_call(&cli, &ask, &answer);
    CHECK(answer.address_rows.status == IPC_OK && answer.address_rows.rows_count == 2);
    ask = (struct ipc_message){.type = IPC_TYPE_ACCOUNT_LIST};
    peer_call(&cli, &ask, &answer);
    CHECK(answer.account_rows.rows_count == 2 && !answer.account_rows.more);
    CHECK(span_eq_str(answer.account_rows.rows[0].address, "alice@brant.test"));
    CHECK(answer.account_rows.rows[0].has_password && answer.account_rows.rows[0].enabled);
    ask = (struct ipc_message){.type = IPC_TYPE_DOMAIN_LIST};
    peer_call(&cli, &ask, &answer);
    CHECK(answer.domain_rows.rows_count == 1 && answer.domain_rows.rows[0].accounts == 2);
    ask = (struct ipc_message){.type = IPC_TYPE_ALIAS_LIST};
    peer_call(&cli, &ask, &answer);
    CHECK(answer.alias_rows.rows_count == 2);
    ask = (struct ipc_message){.type = IPC_TYPE_STATUS_ASK};
    peer_call(&cli, &ask, &answer);
    CHECK(answer.status_info.pairs_count >= 5);

    struct peer smtp;
    world_channel(w, IPC_ROLE_SMTP, 0, &smtp);
    struct ipc_id session = new_id();
    CHECK(session_open(&smtp, session, IPC_SERVICE_SMTP, "192.0.2.1") == IPC_OK);
    CHECK(rcpt_check(&smtp, session, "alice@brant.test", 0) == IPC_OK);
    CHECK(rcpt_check(&smtp, session, "Alice+news@BRANT.TEST", 1000) == IPC_OK);
    CHECK(rcpt_check(&smtp, session, "info@brant.test", 1000) == IPC_OK);
    CHECK(rcpt_check(&smtp, session, "nobody@brant.test", 1000) == IPC_UNKNOWN_ADDRESS);
    CHECK(rcpt_check(&smtp, session, "alice@elsewhere.test", 1000) == IPC_NOT_LOCAL);
    admin(&cli, account_add("small@brant.test", "", 10000), IPC_OK);
    CHECK(rcpt_check(&smtp, session, "small@brant.test", 5000) == IPC_OK);
    CHECK(rcpt_check(&smtp, session, "small@brant.test", 50000) == IPC_OVER_QUOTA);
    peer_done(&smtp);
    peer_done(&cli);
}

/* Commits `count` messages over several sessions, keeping some under way; every one must be DONE. */
static void commit_many(struct peer *smtp, unsigned count)
{
    enum { SESSIONS = 8, WINDOW = 40 };
    static const struct ipc_recipient to[2] = {{.address = {(const uint8_t *)"alice@brant.test", 16}},
                                               {.address = {(const uint8_t *)"bob@brant.test", 14}}};
    struct ipc_id sessions[SESSIONS];
    for (size_t i = 0; i < SESSIONS; i++) {
        sessions[i] = new_id();
        CHECK(session_open(smtp, sessions[i], IPC_SERVICE_SMTP, "192.0.2.1") == IPC_OK);
    }
    struct buf _cleanup_buf_ bytes;
    buf_init(&bytes, 8 << 20);
    unsigned done = 0;
    for (unsigned sent = 0; done < count;) {
        while (sent < count && sent - done < WINDOW) {
            /* Mostly small ones; some at the borders between memory, record and file. */
            size_t len = sent % 100 == 50 ? 300000 : sent % 100 == 51 ? 262144 : 100 + (sent * 37) % 6000;
            struct span body = message_bytes(&bytes, sent, len);
            send_body(smtp, sessions[sent % SESSIONS], sent, body);
            struct ipc_message m =
                commit_message(new_id(), sessions[sent % SESSIONS], sent, body.len, to, 1 + sent % 2);
            m.tag = 1000 + sent;
            peer_send(smtp, &m);
            sent++;
        }
        struct ipc_message m;
        CHECK(peer_receive(smtp, &m));
        if (m.type == IPC_TYPE_BODY_CREDIT)
            continue;
        CHECK(m.type == IPC_TYPE_COMMIT_RESULT && m.tag >= 1000 && m.tag < 1000 + sent);
        CHECK(m.commit_result.state == IPC_COMMIT_DONE);
        CHECK(m.commit_result.results_count == 1 + (m.tag - 1000) % 2);
        done++;
    }
    for (size_t i = 0; i < SESSIONS; i++)
        peer_send(smtp, &(struct ipc_message){.type = IPC_TYPE_SESSION_CLOSE,
                                              .session_close = {.session = sessions[i]}});
}

static void case_mail(struct world *w)
{
    enum { COUNT = 1000 };
    struct peer cli, smtp, pop3;
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    world_channel(w, IPC_ROLE_SMTP, 0, &smtp);
    world_channel(w, IPC_ROLE_POP3, 0, &pop3);
    people(&cli);
    commit_many(&smtp, COUNT);

    struct ipc_message answer;
    login(&pop3, "alice@brant.test", "wrong", IPC_AUTH_FAILED, &answer);
    login(&pop3, "nobody@brant.test", "secret", IPC_AUTH_FAILED, &answer);
    struct ipc_id session = login(&pop3, "alice@brant.test", "secret", IPC_OK, &answer);
    CHECK(span_eq_str(answer.login_result.address, "alice@brant.test"));
    CHECK(answer.login_result.token.len == 32 && answer.login_result.account != 0);
    answer = maildrop_open(&pop3, session);
    CHECK(answer.maildrop.status == IPC_OK && answer.maildrop.count == COUNT);
    uint64_t octets = answer.maildrop.octets;

    struct ipc_id second = login(&pop3, "alice@brant.test", "secret", IPC_OK, &answer);
    CHECK(maildrop_open(&pop3, second).maildrop.status == IPC_IN_USE);

    struct maildrop drop = maildrop_list(&pop3, session);
    CHECK(drop.count == COUNT);
    struct buf _cleanup_buf_ stored, scratch, uids;
    buf_init(&stored, 8 << 20);
    buf_init(&scratch, 8 << 20);
    buf_init(&uids, IPC_CHUNK_MAX);
    struct wire_writer wr = wire_write(&uids);
    bool seen[COUNT] = {false};
    for (uint32_t i = 0; i < drop.count; i++) {
        read_message(&pop3, session, drop.rows[i].uid, &stored);
        CHECK(stored.len == drop.rows[i].octets);
        octets -= stored.len;
        unsigned number = check_stored(buf_span(&stored), &scratch);
        CHECK(number < COUNT && !seen[number]);
        seen[number] = true;
        if (i % 2 == 0)
            wire_put_u32(&wr, drop.rows[i].uid);
    }
    CHECK(octets == 0);
    struct ipc_message ask = {.type = IPC_TYPE_MAILDROP_EXPUNGE,
                              .maildrop_expunge = {.session = session, .uids = buf_span(&uids)}};
    peer_call(&pop3, &ask, &answer);
    CHECK(answer.result.status == IPC_OK);
    peer_call(&pop3, &ask, &answer); /* they are gone already: no error */
    CHECK(answer.result.status == IPC_OK);
    peer_send(&pop3,
              &(struct ipc_message){.type = IPC_TYPE_SESSION_CLOSE, .session_close = {.session = session}});
    answer = maildrop_open(&pop3, second);
    CHECK(answer.maildrop.status == IPC_OK && answer.maildrop.count == COUNT / 2);
    struct maildrop left = maildrop_list(&pop3, second);
    CHECK(left.count == COUNT / 2);
    for (uint32_t i = 0; i < left.count; i++)
        CHECK(left.rows[i].uid == drop.rows[2 * i + 1].uid);
    free(drop.rows);
    free(left.rows);
    peer_done(&cli);
    peer_done(&smtp);
    peer_done(&pop3);
}

/* Kills the store while commits are under way; the next one must tell the truth about each. */
static void case_kill(struct world *w)
{
    enum { COUNT = 400, ROUNDS = 5 };
    static const struct ipc_recipient to[1] = {{.address = {(const uint8_t *)"bob@brant.test", 14}}};
    static struct ipc_id commits[ROUNDS * COUNT];
    static bool acknowledged[ROUNDS * COUNT], done[ROUNDS * COUNT], seen[ROUNDS * COUNT];
    struct peer cli, smtp, pop3;
    struct buf _cleanup_buf_ bytes, stored;
    buf_init(&bytes, 8 << 20);
    buf_init(&stored, 8 << 20);
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    people(&cli);
    peer_done(&cli);
    unsigned acknowledged_count = 0, done_count = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        world_channel(w, IPC_ROLE_SMTP, 0, &smtp);
        struct ipc_id session = new_id();
        CHECK(session_open(&smtp, session, IPC_SERVICE_SMTP, "192.0.2.1") == IPC_OK);
        unsigned first = round * COUNT;
        for (unsigned n = first; n < first + COUNT; n++) {
            struct span body = message_bytes(&bytes, n, 500 + (n * 131) % 9000);
            commits[n] = new_id();
            send_body(&smtp, session, n, body);
            struct ipc_message m = commit_message(commits[n], session, n, body.len, to, 1);
            m.tag = n + 1;
            peer_send(&smtp, &m);
        }
        /* Some answers are seen, the kill falls into the rest. */
        for (unsigned seen_count = 0; seen_count < 20 + 60 * round;) {
            struct ipc_message m;
            CHECK(peer_receive(&smtp, &m));
            if (m.type != IPC_TYPE_COMMIT_RESULT)
                continue;
            CHECK(m.commit_result.state == IPC_COMMIT_DONE);
            acknowledged[m.tag - 1] = true;
            seen_count++;
        }
        world_kill(w);
        for (struct ipc_message m; peer_receive(&smtp, &m);) /* answered before it died */
            if (m.type == IPC_TYPE_COMMIT_RESULT && m.commit_result.state == IPC_COMMIT_DONE)
                acknowledged[m.tag - 1] = true;
        peer_done(&smtp);
        world_start(w);

        world_channel(w, IPC_ROLE_SMTP, 0, &smtp);
        for (unsigned n = 0; n < first + COUNT; n++) {
            struct ipc_message answer,
                ask = {.type = IPC_TYPE_COMMIT_ASK, .commit_ask = {.commit = commits[n]}};
            peer_call(&smtp, &ask, &answer);
            bool is_done = answer.commit_result.state == IPC_COMMIT_DONE;
            CHECK(is_done || !acknowledged[n]);
            CHECK(n >= first || is_done == done[n]); /* and it stays so */
            done[n] = is_done;
        }
        peer_done(&smtp);
    }
    world_channel(w, IPC_ROLE_POP3, 0, &pop3);
    struct ipc_message answer;
    struct ipc_id session = login(&pop3, "bob@brant.test", "hunter2", IPC_OK, &answer);
    CHECK(maildrop_open(&pop3, session).maildrop.status == IPC_OK);
    struct maildrop drop = maildrop_list(&pop3, session);
    for (uint32_t i = 0; i < drop.count; i++) {
        read_message(&pop3, session, drop.rows[i].uid, &stored);
        unsigned number = check_stored(buf_span(&stored), &bytes);
        CHECK(number < ROUNDS * COUNT && !seen[number]); /* once only */
        seen[number] = true;
    }
    for (unsigned n = 0; n < ROUNDS * COUNT; n++) {
        CHECK(seen[n] == done[n]);
        acknowledged_count += acknowledged[n];
        done_count += done[n];
    }
    printf("  %d committed, %u acknowledged, %u done, over %d kills\n", ROUNDS * COUNT, acknowledged_count,
           done_count, ROUNDS);
    free(drop.rows);
    peer_done(&pop3);
}

static uint8_t resume(struct peer *pop3, struct ipc_id session, uint64_t account, struct span token)
{
    struct ipc_message answer, ask = {.type = IPC_TYPE_RESUME,
                                      .resume = {.session = session,
                                                 .service = IPC_SERVICE_POP3,
                                                 .account = account,
                                                 .token = token,
                                                 .maildrop_held = 1}};
    ask.resume.source = address("127.0.0.1");
    peer_call(pop3, &ask, &answer);
    return answer.resume_result.status;
}

static void case_resume(struct world *w)
{
    struct peer cli, pop3, other;
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    people(&cli);
    peer_done(&cli);
    world_channel(w, IPC_ROLE_POP3, 4, &pop3);
    struct ipc_message answer;
    struct ipc_id session = login(&pop3, "alice@brant.test", "secret", IPC_OK, &answer);
    uint8_t token[32];
    uint64_t account = answer.login_result.account;
    CHECK(answer.login_result.token.len == sizeof token);
    memcpy(token, answer.login_result.token.p, sizeof token);
    CHECK(maildrop_open(&pop3, session).maildrop.status == IPC_OK);
    world_kill(w);
    peer_done(&pop3);
    world_start(w);

    world_channel(w, IPC_ROLE_POP3, 4, &pop3);
    world_channel(w, IPC_ROLE_POP3, 5, &other);
    struct span presented = span_make(token, sizeof token);
    CHECK(resume(&other, session, account, presented) == IPC_AUTH_FAILED); /* not its session */
    CHECK(resume(&pop3, session, account + 1, presented) == IPC_AUTH_FAILED);
    CHECK(resume(&pop3, new_id(), account, presented) == IPC_AUTH_FAILED);
    CHECK(resume(&pop3, session, account, SPAN_NONE) == IPC_AUTH_FAILED);
    CHECK(resume(&pop3, session, account, presented) == IPC_OK);
    struct ipc_id second = login(&other, "alice@brant.test", "secret", IPC_OK, &answer);
    CHECK(maildrop_open(&other, second).maildrop.status == IPC_IN_USE);
    CHECK(maildrop_open(&pop3, session).maildrop.status == IPC_OK);
    peer_done(&pop3); /* the lock goes with the channel */
    while (maildrop_open(&other, second).maildrop.status == IPC_IN_USE)
        continue;
    peer_done(&other);
}
