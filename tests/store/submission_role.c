/* Submitting to a real brant-store process: recipients elsewhere, senders, limits, the queue; and LMTP, whose
 * recipients stand alone. Usage: submission_role BRANT_STORE [CASE] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "login_steps.h"
#include "world.h"

#define ALICE "alice@brant.test"
#define BOB   "bob@brant.test"

static struct ipc_id logged_in(struct peer *p, uint8_t service, const char *user, const char *password)
{
    struct ipc_message r;
    struct attempt a = {.service = service, .user = user, .password = password};
    struct ipc_id session = attempt_session(p, &a);
    struct ipc_message ask = attempt_message(&a, session);
    peer_call(p, &ask, &r);
    CHECK(r.login_result.status == IPC_OK);
    return session;
}

static struct ipc_rcpt_verdict rcpt(struct peer *p, struct ipc_id session, const char *to)
{
    static struct ipc_message r;
    struct ipc_message ask = {.type = IPC_TYPE_RCPT_CHECK,
                              .rcpt_check = {.session = session, .address = span_str(to)}};
    peer_call(p, &ask, &r);
    CHECK(r.rcpt_verdict.status == IPC_OK || !r.rcpt_verdict.remote);
    return r.rcpt_verdict;
}

static uint8_t sender(struct peer *p, struct ipc_id session, const char *address)
{
    struct ipc_message r, ask = {.type = IPC_TYPE_SENDER_CHECK,
                                 .sender_check = {.session = session, .address = span_str(address)}};
    peer_call(p, &ask, &r);
    CHECK((r.sender_verdict.status == IPC_OK) == (r.sender_verdict.text.len == 0));
    return r.sender_verdict.status;
}

enum { TO_MAX = 8 };

/* A message to these addresses: the status, and that of each. */
static uint8_t commit_from(const char *from, struct peer *p, struct ipc_id session, uint8_t service,
                           bool each, const char *const *to, uint8_t results[TO_MAX], struct ipc_id *ret_id)
{
    static uint64_t body;
    struct ipc_recipient recipients[TO_MAX] = {{.variant = 0}};
    uint32_t count = 0;
    struct ipc_message r;
    struct buf _cleanup_buf_ bytes;
    buf_init(&bytes, 1 << 20);
    for (; to[count]; count++)
        recipients[count].address = span_str(to[count]);
    struct span text = message_bytes(&bytes, (unsigned)++body, 500);
    send_body(p, session, body, text, NULL, NULL);
    struct ipc_id id = new_id();
    struct ipc_message m = commit_message(id, session, body, text.len, recipients, count);
    m.commit.service = service;
    m.commit.each = each;
    m.commit.tls = SPAN_LIT("TLSv1.3 TLS_AES_256_GCM_SHA384");
    m.commit.content_sum = SPAN_LIT("sixteen bytes...");
    m.commit.reverse_path = span_str(from);
    peer_call(p, &m, &r);
    CHECK((r.commit_result.state == IPC_COMMIT_DONE) == (r.commit_result.status == IPC_OK));
    CHECK(r.commit_result.results_count == count);
    for (uint32_t i = 0; i < count; i++)
        results[i] = r.commit_result.results[i].status;
    if (ret_id)
        *ret_id = id;
    return r.commit_result.status;
}

static uint8_t commit(struct peer *p, struct ipc_id session, uint8_t service, bool each,
                      const char *const *to, uint8_t results[TO_MAX], struct ipc_id *ret_id)
{
    return commit_from(ALICE, p, session, service, each, to, results, ret_id);
}

static uint32_t queue(struct peer *cli, const char *address, struct ipc_queue_row rows[500])
{
    struct ipc_message r, ask = {.type = IPC_TYPE_QUEUE_LIST, .queue_list = {.address = span_str(address)}};
    uint32_t count = 0;
    do {
        peer_call(cli, &ask, &r);
        CHECK(r.queue_rows.status == IPC_OK);
        for (uint32_t i = 0; i < r.queue_rows.rows_count; i++) {
            const struct ipc_queue_row *row = &r.queue_rows.rows[i];
            ask.queue_list.after_message = row->message;
            ask.queue_list.after_recipient = row->recipient;
            CHECK(span_eq_str(row->state, "held") && row->bytes > 500 && row->created_at_s > 1000000);
            if (rows && count < 500)
                rows[count] = *row; /* its texts live until the next call */
            count++;
        }
    } while (r.queue_rows.more);
    return count;
}

static uint32_t inbox(struct world *w, const char *user, const char *password)
{
    static uint32_t instance = 50;
    struct peer pop3;
    struct ipc_message r;
    world_channel(w, IPC_ROLE_POP3, instance++, &pop3);
    struct ipc_id session = login(&pop3, user, password, IPC_OK, &r);
    uint32_t count = maildrop_open(&pop3, session).maildrop.count;
    peer_done(&pop3);
    return count;
}

/* ---- recipients ---- */

static void case_recipients(struct world *w)
{
    static const struct {
        const char *to;
        uint8_t outside, inside; /* not logged in, logged in */
        bool remote;
    } table[] = {
        {ALICE, IPC_OK, IPC_OK, false},
        {"Alice+list@Brant.TEST", IPC_OK, IPC_OK, false},
        {"postmaster", IPC_OK, IPC_OK, false},
        {"info@brant.test", IPC_OK, IPC_OK, false},
        {"nobody@brant.test", IPC_UNKNOWN_ADDRESS, IPC_UNKNOWN_ADDRESS, false},
        {"full@brant.test", IPC_OK, IPC_OK, false},
        {"carol@example.org", IPC_NOT_LOCAL, IPC_OK, true},
        {"carol@Example.ORG", IPC_NOT_LOCAL, IPC_OK, true},
        {"\"odd name\"@example.org", IPC_NOT_LOCAL, IPC_OK, true},
        {"carol@[192.0.2.1]", IPC_NOT_LOCAL, IPC_OK, true},
        {"carol@b\xc3\xbc"
         "cher.example",
         IPC_NOT_LOCAL, IPC_OK, true},
        {"carol@xn--bcher-kva.example", IPC_NOT_LOCAL, IPC_OK, true},
        {"carol@xn--bcher-kv.example", IPC_NOT_LOCAL, IPC_INVALID, false},   /* no A-label */
        {"carol@\xef\xbd\x85xample.org", IPC_NOT_LOCAL, IPC_INVALID, false}, /* a full-width e */
        {"carol@-x.example", IPC_NOT_LOCAL, IPC_INVALID, false},
    };
    struct peer cli, smtp, submission;
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    world_channel(w, IPC_ROLE_SMTP, 0, &smtp);
    world_channel(w, IPC_ROLE_SUBMISSION, 0, &submission);
    people(&cli);
    admin(&cli, alias_add("info@brant.test", BOB), IPC_OK);
    admin(&cli, account_add("full@brant.test", "", 10), IPC_OK);
    struct ipc_id outside[2] = {new_id(), new_id()};
    CHECK(session_open(&smtp, outside[0], IPC_SERVICE_SMTP, "192.0.2.1") == IPC_OK);
    CHECK(session_open(&submission, outside[1], IPC_SERVICE_SUBMISSION, "192.0.2.1") == IPC_OK);
    struct ipc_id inside = logged_in(&submission, IPC_SERVICE_SUBMISSIONS, ALICE, "secret");
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        uint8_t a = rcpt(&smtp, outside[0], table[i].to).status,
                b = rcpt(&submission, outside[1], table[i].to).status;
        struct ipc_rcpt_verdict v = rcpt(&submission, inside, table[i].to);
        if ((a != table[i].outside && !(a == IPC_INVALID && table[i].inside == IPC_INVALID)) || a != b ||
            v.status != table[i].inside || v.remote != table[i].remote)
            fail("%s: %u, %u, %u remote %u", table[i].to, a, b, v.status, v.remote);
    }
    CHECK(rcpt_check(&submission, inside, "full@brant.test", 1000) == IPC_OVER_QUOTA);
    peer_done(&cli);
    peer_done(&smtp);
    peer_done(&submission);
}

/* ---- senders ---- */

static void case_senders(struct world *w)
{
    enum { SEND_AS = IPC_GRANT_SEND_AS };
    struct peer cli, submission;
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    world_channel(w, IPC_ROLE_SUBMISSION, 0, &submission);
    people(&cli);
    admin(&cli, domain_add("other.test"), IPC_OK);
    admin(&cli, alias_add("sales@brant.test", ALICE), IPC_OK);
    admin(&cli, alias_add("info@brant.test", BOB), IPC_OK);
    admin(&cli, alias_add("@other.test", ALICE), IPC_OK);
    struct ipc_id alice = logged_in(&submission, IPC_SERVICE_SUBMISSION, ALICE, "secret"),
                  bob = logged_in(&submission, IPC_SERVICE_SUBMISSION_LOCAL, BOB, "hunter2");
    static const struct {
        const char *address;
        uint8_t alice, bob;
    } table[] = {
        {ALICE, IPC_OK, IPC_REFUSED},
        {"ALICE@Brant.test", IPC_OK, IPC_REFUSED},
        {"alice+x@brant.test", IPC_OK, IPC_REFUSED},
        {"sales@brant.test", IPC_OK, IPC_REFUSED},
        {"anything@other.test", IPC_OK, IPC_REFUSED},
        {BOB, IPC_REFUSED, IPC_OK},
        {"info@brant.test", IPC_REFUSED, IPC_OK},
        {"nobody@brant.test", IPC_REFUSED, IPC_REFUSED},
        {"alice@example.org", IPC_REFUSED, IPC_REFUSED},
        {"", IPC_OK, IPC_OK}, /* the null reverse-path */
        {"alice", IPC_REFUSED, IPC_REFUSED},
        {"@brant.test", IPC_REFUSED, IPC_REFUSED},
        {"@other.test", IPC_REFUSED, IPC_REFUSED},
        {"alice@brant.test\n", IPC_REFUSED, IPC_REFUSED},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        uint8_t a = sender(&submission, alice, table[i].address),
                b = sender(&submission, bob, table[i].address);
        if (a != table[i].alice || b != table[i].bob)
            fail("%s: %u, %u", table[i].address, a, b);
    }
    grant_add(&cli, BOB, SEND_AS, "Alice@Example.org", 0, 0, SPAN_NONE, IPC_OK);
    grant_add(&cli, BOB, SEND_AS, "@Club.example", 0, 0, SPAN_NONE, IPC_OK);
    grant_add(&cli, BOB, SEND_AS, "no address", 0, 0, SPAN_NONE, IPC_INVALID);
    grant_add(&cli, BOB, SEND_AS, "@club.example", 0, 0, SPAN_NONE, IPC_EXISTS);
    CHECK(grant_count(&cli, BOB, SEND_AS) == 2 && grant_count(&cli, BOB, 0) == 2);
    CHECK(sender(&submission, bob, "alice@example.org") == IPC_OK);
    CHECK(sender(&submission, bob, "any@club.example") == IPC_OK);
    CHECK(sender(&submission, alice, "any@club.example") == IPC_REFUSED);
    admin(&cli, grant_remove(BOB, SEND_AS, "alice@EXAMPLE.org"), IPC_OK);
    CHECK(sender(&submission, bob, "alice@example.org") == IPC_REFUSED);
    peer_done(&cli);
    peer_done(&submission);
}

/* ---- commits and the queue ---- */

static void case_queue(struct world *w)
{
    enum { S = IPC_SERVICE_SUBMISSIONS };
    static struct ipc_queue_row rows[500];
    uint8_t results[TO_MAX];
    struct peer cli, submission, smtp;
    struct ipc_id id;
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    world_channel(w, IPC_ROLE_SUBMISSION, 0, &submission);
    world_channel(w, IPC_ROLE_SMTP, 0, &smtp);
    people(&cli);
    struct ipc_id alice = logged_in(&submission, S, ALICE, "secret");
    CHECK(queue(&cli, "", NULL) == 0);
    CHECK(commit(&submission, alice, S, false,
                 (const char *const[]){BOB, "carol@example.org", "dan@Example.net", NULL}, results,
                 &id) == IPC_OK);
    CHECK(results[0] == IPC_OK && results[1] == IPC_OK && results[2] == IPC_OK);
    CHECK(inbox(w, BOB, "hunter2") == 1);
    CHECK(queue(&cli, "", rows) == 2);
    CHECK(memcmp(rows[0].commit.b, id.b, sizeof id.b) == 0 && rows[0].message == rows[1].message);
    CHECK(rows[0].recipient == 1 && rows[1].recipient == 2);
    CHECK(span_eq_str(rows[0].address, "carol@example.org") && span_eq_str(rows[0].sender, ALICE));
    CHECK(span_eq_str(rows[1].account, ALICE));
    uint64_t message = rows[0].message;
    CHECK(queue(&cli, "carol@example.org", NULL) == 1 && queue(&cli, "@example.net", NULL) == 1);
    CHECK(queue(&cli, "@EXAMPLE.net", NULL) == 1 && queue(&cli, ALICE, NULL) == 2 &&
          queue(&cli, BOB, NULL) == 0);

    /* from elsewhere, or not logged in: nothing leaves */
    struct ipc_id outside = new_id(), stranger = new_id();
    CHECK(session_open(&smtp, outside, IPC_SERVICE_SMTP, "192.0.2.1") == IPC_OK);
    CHECK(session_open(&submission, stranger, S, "192.0.2.1") == IPC_OK);
    const char *const away[] = {"carol@example.org", NULL}, *const both[] = {BOB, "carol@example.org", NULL};
    CHECK(commit(&smtp, outside, IPC_SERVICE_SMTP, false, away, results, NULL) != IPC_OK);
    CHECK(commit(&submission, stranger, S, false, away, results, NULL) != IPC_OK);
    CHECK(commit(&submission, stranger, S, false, both, results, NULL) != IPC_OK);
    CHECK(results[1] == IPC_NOT_LOCAL);
    CHECK(queue(&cli, "", NULL) == 2 && inbox(w, BOB, "hunter2") == 1);

    /* a session whose account was disabled, or is gone, sends nothing more */
    admin(&cli, account_enabled(ALICE, false), IPC_OK);
    CHECK(commit(&submission, alice, S, false, away, results, NULL) == IPC_REFUSED);
    admin(&cli, account_enabled(ALICE, true), IPC_OK);
    CHECK(commit(&submission, alice, S, false, away, results, NULL) == IPC_OK);

    /* more rows than one slice holds, and still there after a restart */
    for (unsigned i = 0; i < 240; i++) {
        char to[64];
        snprintf(to, sizeof to, "user%u@many.example", i);
        CHECK(commit(&submission, alice, S, false, (const char *const[]){to, NULL}, results, NULL) == IPC_OK);
    }
    CHECK(queue(&cli, "", NULL) == 243 && queue(&cli, "@many.example", NULL) == 240);
    peer_done(&cli);
    peer_done(&submission);
    peer_done(&smtp);
    world_kill(w);
    world_start(w);
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    CHECK(queue(&cli, "", NULL) == 243);
    struct ipc_message remove = {.type = IPC_TYPE_QUEUE_REMOVE, .queue_remove = {message, 1}};
    admin(&cli, remove, IPC_OK);
    admin(&cli, remove, IPC_NOT_FOUND);
    remove.queue_remove.message = 1;
    admin(&cli, remove, IPC_NOT_FOUND);
    CHECK(queue(&cli, "", NULL) == 242 && queue(&cli, "carol@example.org", NULL) == 1);
    peer_done(&cli);
}

static void case_sent_copy(struct world *w)
{
    enum { S = IPC_SERVICE_SUBMISSION };
    uint8_t results[TO_MAX];
    struct peer cli, submission;
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    world_channel(w, IPC_ROLE_SUBMISSION, 0, &submission);
    people(&cli);
    struct ipc_message set = {
        .type = IPC_TYPE_ACCOUNT_SET,
        .account_set = {.address = SPAN_LIT(ALICE), .change = IPC_ACCOUNT_SENT_COPY, .sent_copy = 1}};
    admin(&cli, set, IPC_OK);
    struct ipc_account_row row = account_row(&cli, ALICE);
    CHECK(row.sent_copy && row.enabled && row.has_password && row.messages == 0);
    struct ipc_id alice = logged_in(&submission, S, ALICE, "secret");
    CHECK(commit(&submission, alice, S, false, (const char *const[]){"carol@example.org", NULL}, results,
                 NULL) == IPC_OK);
    CHECK(account_row(&cli, ALICE).messages == 1 && inbox(w, ALICE, "secret") == 0); /* in Sent */
    set.account_set.sent_copy = 0;
    admin(&cli, set, IPC_OK);
    CHECK(!account_row(&cli, ALICE).sent_copy);
    CHECK(commit(&submission, alice, S, false, (const char *const[]){"carol@example.org", NULL}, results,
                 NULL) == IPC_OK);
    CHECK(account_row(&cli, ALICE).messages == 1);
    peer_done(&cli);
    peer_done(&submission);
}

/* ---- limits ---- */

static void expect_limit(struct peer *p, struct ipc_id session, const char *to, const char *text)
{
    struct ipc_rcpt_verdict v = rcpt(p, session, to);
    CHECK(v.status == IPC_TOO_MANY && v.text.len > 0);
    if (span_find(v.text, span_str(text)) == SPAN_NPOS)
        fail("\"%.*s\" does not say %s", SPAN_ARG(v.text), text);
}

static void case_limits(struct world *w)
{
    enum { S = IPC_SERVICE_SUBMISSIONS };
    uint8_t results[TO_MAX];
    struct peer cli, submission;
    const char *const one[] = {"carol@example.org", NULL}, *const gone[] = {"gone@brant.test", NULL};
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    world_channel(w, IPC_ROLE_SUBMISSION, 0, &submission);
    people(&cli);
    struct ipc_id alice = logged_in(&submission, S, ALICE, "secret"),
                  again = logged_in(&submission, S, ALICE, "secret"),
                  bob = logged_in(&submission, S, BOB, "hunter2");
    /* what was not stored is not counted */
    for (unsigned i = 0; i < 5; i++)
        CHECK(commit(&submission, alice, S, false, gone, results, NULL) != IPC_OK);
    for (unsigned i = 0; i < 3; i++) {
        CHECK(rcpt(&submission, alice, "carol@example.org").status == IPC_OK);
        CHECK(commit(&submission, alice, S, false, one, results, NULL) == IPC_OK);
    }
    expect_limit(&submission, alice, "carol@example.org",
                 "the limit of 3 messages in an hour is reached; again in ");
    expect_limit(&submission, again, BOB, "again in ");
    CHECK(rcpt(&submission, alice, "nobody@brant.test").status == IPC_UNKNOWN_ADDRESS);
    CHECK(commit(&submission, again, S, false, one, results, NULL) == IPC_TOO_MANY); /* asked or not */
    CHECK(queue(&cli, "", NULL) == 3);
    CHECK(rcpt(&submission, bob, "carol@example.org").status == IPC_OK);
    /* recipients, with those of the transaction that runs */
    strcpy(w->settings, "submission.messages_per_hour = 0\nsubmission.recipients_per_day = 6");
    world_reconfigure(w);
    CHECK(sender(&submission, alice, ALICE) == IPC_OK);
    for (unsigned i = 0; i < 3; i++)
        CHECK(rcpt(&submission, alice, "carol@example.org").status == IPC_OK);
    expect_limit(&submission, alice, "carol@example.org", "the limit of 6 recipients in a day is reached");
    CHECK(sender(&submission, alice, ALICE) == IPC_OK); /* the next transaction */
    CHECK(rcpt(&submission, alice, "carol@example.org").status == IPC_OK);
    for (unsigned i = 0; i < 10; i++) { /* transactions of the null reverse-path that come to nothing */
        CHECK(sender(&submission, alice, "") == IPC_OK);
        CHECK(rcpt(&submission, alice, "carol@example.org").status == IPC_OK);
    }
    const char *const four[] = {"a@example.org", "b@example.org", "c@example.org", "d@example.org", NULL};
    CHECK(commit(&submission, alice, S, false, four, results, NULL) == IPC_TOO_MANY);
    CHECK(commit(&submission, alice, S, false, four + 1, results, NULL) == IPC_OK);
    expect_limit(&submission, alice, "carol@example.org", "again in 2");
    /* what the role has asked before is not believed */
    CHECK(commit_from(ALICE, &submission, bob, S, false, four, results, NULL) == IPC_REFUSED);
    CHECK(commit_from("", &submission, bob, S, false, four, results, NULL) == IPC_OK);
    CHECK(commit_from(BOB, &submission, bob, S, false, four, results, NULL) == IPC_TOO_MANY);
    peer_done(&cli);
    peer_done(&submission);
}

/* ---- LMTP ---- */

static void case_lmtp(struct world *w)
{
    enum { L = IPC_SERVICE_LMTP };
    uint8_t results[TO_MAX];
    struct peer cli, smtp;
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    world_channel(w, IPC_ROLE_SMTP, 0, &smtp);
    people(&cli);
    struct ipc_id session = new_id();
    CHECK(session_open(&smtp, session, L, "127.0.0.1") == IPC_OK);
    CHECK(commit(&smtp, session, L, true,
                 (const char *const[]){"gone@brant.test", BOB, "carol@example.org", ALICE, NULL}, results,
                 NULL) == IPC_OK);
    CHECK(results[0] == IPC_UNKNOWN_ADDRESS && results[1] == IPC_OK && results[2] == IPC_NOT_LOCAL &&
          results[3] == IPC_OK);
    CHECK(inbox(w, BOB, "hunter2") == 1 && inbox(w, ALICE, "secret") == 1);
    CHECK(commit(&smtp, session, L, true, (const char *const[]){"gone@brant.test", "carol@example.org", NULL},
                 results, NULL) == IPC_TRY_LATER);
    CHECK(results[0] == IPC_UNKNOWN_ADDRESS && results[1] == IPC_NOT_LOCAL);
    CHECK(commit(&smtp, session, L, false, (const char *const[]){"gone@brant.test", BOB, NULL}, results,
                 NULL) == IPC_TRY_LATER);
    CHECK(results[0] == IPC_UNKNOWN_ADDRESS && results[1] == IPC_TRY_LATER);
    CHECK(inbox(w, BOB, "hunter2") == 1 && queue(&cli, "", NULL) == 0);
    /* a sum of another length is no honest role's */
    send_body(&smtp, session, 99999, SPAN_LIT("hello"), NULL, NULL);
    struct ipc_recipient to = {.address = SPAN_LIT(BOB)};
    struct ipc_message m = commit_message(new_id(), session, 99999, 5, &to, 1);
    m.commit.service = L;
    m.commit.content_sum = SPAN_LIT("short");
    peer_send(&smtp, &m);
    peer_expect_closed(&smtp);
    world_expect_fault(w, IPC_ROLE_SMTP, 0);
    peer_done(&smtp);
    peer_done(&cli);
}

/* The command line's own store can do all that the command line asks for. */
static void case_offline(struct world *w)
{
    struct world second = *w;
    struct peer cli;
    struct ipc_message r;
    uint8_t print[32] = {7};
    world_stop(w);
    second.offline = true;
    second.control_fd = second.log_fd = -1;
    net_control_init(&second.control);
    world_start(&second);
    world_channel(&second, IPC_ROLE_CLI, 0, &cli);
    people(&cli);
    grant_add(&cli, ALICE, IPC_GRANT_APP_PASSWORD, "phone", IPC_PROTOCOL_ALL, 0, SPAN_NONE, IPC_OK);
    grant_add(&cli, ALICE, IPC_GRANT_CERTIFICATE, "card", IPC_PROTOCOL_ALL, 0, span_make(print, 32), IPC_OK);
    grant_add(&cli, ALICE, IPC_GRANT_SEND_AS, "x@example.org", 0, 0, SPAN_NONE, IPC_OK);
    CHECK(grant_count(&cli, ALICE, 0) == 3);
    admin(&cli, grant_remove(ALICE, IPC_GRANT_CERTIFICATE, "card"), IPC_OK);
    admin(&cli, account_hash("old@brant.test", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
          IPC_OK);
    CHECK(queue(&cli, "", NULL) == 0);
    struct ipc_message ask = {.type = IPC_TYPE_GRANT_LIST,
                              .grant_list = {.address = SPAN_LIT("nobody@brant.test")}};
    peer_call(&cli, &ask, &r);
    CHECK(r.grant_rows.status == IPC_NOT_FOUND && r.grant_rows.text.len > 0);
    peer_done(&cli);
    world_expect_end(&second);
    net_control_done(&second.control);
    world_start(w);
}

int main(int argc, char **argv)
{
#define BASE "auth.failure_delay = 0"
    static const struct test_case cases[] = {
        {"recipients", BASE, case_recipients},
        {"senders", BASE, case_senders},
        {"queue", BASE, case_queue},
        {"sent_copy", BASE, case_sent_copy},
        {"limits", BASE "\nsubmission.messages_per_hour = 3", case_limits},
        {"lmtp", BASE, case_lmtp},
        {"offline", BASE, case_offline},
    };
    return run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
