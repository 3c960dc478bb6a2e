/* Logging in to a real brant-store process: every mechanism, honest and hostile. Usage: login_role
 * BRANT_STORE [CASE] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "login_steps.h"
#include "os/clock.h"
#include "os/random.h"

#define ALICE "alice@brant.test"
#define BOB   "bob@brant.test"

/* ---- passwords ---- */

static void case_passwords(struct world *w)
{
    struct peer cli, pop3;
    struct ipc_message r;
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    world_channel(w, IPC_ROLE_POP3, 0, &pop3);
    people(&cli);
    for (uint8_t mechanism = IPC_MECHANISM_NONE; mechanism <= IPC_MECHANISM_LOGIN; mechanism++) {
        struct attempt a = attempt_as(ALICE, "secret");
        a.mechanism = mechanism;
        CHECK(attempt_password(&pop3, &a, &r) == IPC_OK);
        CHECK(span_eq_str(r.login_result.address, ALICE) && r.login_result.token.len == 32);
    }
    struct attempt a = attempt_as(ALICE, "wrong");
    CHECK(attempt_password(&pop3, &a, &r) == IPC_AUTH_FAILED);
    CHECK(r.login_result.account == 0 && r.login_result.token.len == 0 && r.login_result.address.len == 0);
    a = attempt_as("nobody@brant.test", "secret");
    CHECK(attempt_password(&pop3, &a, &r) == IPC_AUTH_FAILED);
    a = attempt_as("no address", "secret");
    CHECK(attempt_password(&pop3, &a, &r) == IPC_AUTH_FAILED);
    a = attempt_as("", "");
    CHECK(attempt_password(&pop3, &a, &r) == IPC_AUTH_FAILED);
    a = attempt_as("ALICE@Brant.TEST", "secret");
    CHECK(attempt_password(&pop3, &a, &r) == IPC_OK);
    a = attempt_as("alice", "secret"); /* auth.default_domain */
    CHECK(attempt_password(&pop3, &a, &r) == IPC_OK);
    a.authzid = ALICE;
    CHECK(attempt_password(&pop3, &a, &r) == IPC_OK);
    a.authzid = "Alice";
    CHECK(attempt_password(&pop3, &a, &r) == IPC_OK);
    a.authzid = BOB;
    CHECK(attempt_password(&pop3, &a, &r) == IPC_AUTH_FAILED);
    a = attempt_as("alice+detail@brant.test", "secret");
    CHECK(attempt_password(&pop3, &a, &r) == IPC_AUTH_FAILED);
    a = attempt_as(ALICE, "secret\x01");
    CHECK(attempt_password(&pop3, &a, &r) == IPC_AUTH_FAILED);

    /* one spelling wherever it is typed: decomposed, with another space */
    admin(&cli, account_password(BOB, "\xc3\xa5 \xc3\xa9"), IPC_OK);
    a = attempt_as(BOB, "a\xcc\x8a\xc2\xa0"
                        "e\xcc\x81");
    CHECK(attempt_password(&pop3, &a, &r) == IPC_OK);
    a = attempt_as(BOB, "\xc3\xa5 \xc3\xa9"); /* SCRAM clients send it prepared */
    CHECK(attempt_scram(&pop3, &a, &r) == IPC_OK);
    admin(&cli, account_password(BOB, "a\tb"), IPC_INVALID);
    admin(&cli, account_add("eve@brant.test", "\xff", 0), IPC_INVALID);
    CHECK(attempt_password(&pop3, &a, &r) == IPC_OK);

    admin(&cli, account_enabled(ALICE, false), IPC_OK);
    a = attempt_as(ALICE, "secret"); /* known to be right a moment ago */
    CHECK(attempt_password(&pop3, &a, &r) == IPC_AUTH_FAILED);
    CHECK(attempt_scram(&pop3, &a, &r) == IPC_AUTH_FAILED);
    admin(&cli, account_enabled(ALICE, true), IPC_OK);
    CHECK(attempt_password(&pop3, &a, &r) == IPC_OK);
    admin(&cli, account_password(ALICE, "another"), IPC_OK);
    CHECK(attempt_password(&pop3, &a, &r) == IPC_AUTH_FAILED);
    CHECK(attempt_scram(&pop3, &a, &r) == IPC_AUTH_FAILED);
    admin(&cli, account_add("none@brant.test", "", 0), IPC_OK);
    a = attempt_as("none@brant.test", "");
    CHECK(attempt_password(&pop3, &a, &r) == IPC_AUTH_FAILED);
    expect_log(w, (const char *const[]){
                      "event=login ", "event=login-failed", "service=pop3", "mechanism=PLAIN", "user=alice",
                      "account=alice@brant.test", "reason=\"the password is wrong\"",
                      "reason=\"there is no such account\"", "reason=\"the account is disabled\"",
                      "reason=\"the name is no address\"", "reason=\"one account can't act as another\"",
                      "reason=\"the account has no password\"", "reason=\"no password has such characters\"",
                      "credential=password", "source=10.0.0.1", NULL});
    peer_done(&cli);
    peer_done(&pop3);
}

/* ---- SCRAM ---- */

static void case_scram(struct world *w)
{
    struct peer cli, pop3;
    struct ipc_message r;
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    world_channel(w, IPC_ROLE_POP3, 0, &pop3);
    people(&cli);
    struct attempt a = attempt_as(ALICE, "secret");
    CHECK(attempt_scram(&pop3, &a, &r) == IPC_OK);
    CHECK(span_eq_str(r.login_result.address, ALICE) && r.login_result.token.len == 32);
    a.user = "alice";
    CHECK(attempt_scram(&pop3, &a, &r) == IPC_OK);
    a.user = ALICE;
    a.password = "Secret";
    CHECK(attempt_scram(&pop3, &a, &r) == IPC_AUTH_FAILED);
    CHECK(span_eq_str(r.login_result.final, "e=invalid-proof"));
    a.user = "nobody@brant.test";
    CHECK(attempt_scram(&pop3, &a, &r) == IPC_AUTH_FAILED);
    CHECK(span_eq_str(r.login_result.final, "e=invalid-proof"));
    a.user = "no address";
    CHECK(attempt_scram(&pop3, &a, &r) == IPC_AUTH_FAILED);

    static const struct {
        const char *gs2;
        struct span bound;
        uint8_t status;
        const char *final;
    } table[] = {
        {"p=tls-exporter,,", SPAN_LIT("the exporter's thirty-two bytes."), IPC_OK, NULL},
        {"p=tls-server-end-point,,", SPAN_LIT("hash of the certificate"), IPC_OK, NULL},
        {"n,,", SPAN_NONE, IPC_OK, NULL},
        {"n,a=alice@brant.test,", SPAN_NONE, IPC_OK, NULL},
        {"n,a=ALICE@brant.test,", SPAN_NONE, IPC_OK, NULL},
        {"n,a=bob@brant.test,", SPAN_NONE, IPC_AUTH_FAILED, "e=invalid-proof"},
        {"p=tls-exporter,,", SPAN_LIT("of another session              "), IPC_AUTH_FAILED,
         "e=channel-bindings-dont-match"},
        {"p=tls-exporter,,", SPAN_LIT("hash of the certificate"), IPC_AUTH_FAILED,
         "e=channel-bindings-dont-match"},
        {"p=tls-exporter,,", SPAN_NONE, IPC_AUTH_FAILED, "e=channel-bindings-dont-match"},
        {"n,,", SPAN_LIT("the exporter's thirty-two bytes."), IPC_AUTH_FAILED,
         "e=channel-bindings-dont-match"},
        {"p=tls-unique,,", SPAN_LIT("x"), IPC_AUTH_FAILED, "e=unsupported-channel-binding-type"},
        {"p=tls-exporte,,", SPAN_LIT("x"), IPC_AUTH_FAILED, "e=unsupported-channel-binding-type"},
        {"y,,", SPAN_NONE, IPC_AUTH_FAILED, "e=server-does-support-channel-binding"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        a = attempt_bound(attempt_as(ALICE, "secret"), table[i].gs2, table[i].bound);
        uint8_t status = attempt_scram(&pop3, &a, &r);
        struct span said = r.type == IPC_TYPE_SCRAM_STEP ? r.scram_step.message : r.login_result.final;
        if (status != table[i].status || (table[i].final && !span_eq_str(said, table[i].final)))
            fail("row %zu: status %u, \"%.*s\"", i, status, SPAN_ARG(said));
    }
    /* -PLUS without p, and p without -PLUS; y where nothing was offered; p where there is nothing to bind to
     */
    a = attempt_bound(attempt_as(ALICE, "secret"), "n,,", SPAN_NONE);
    a.mechanism = IPC_MECHANISM_SCRAM_SHA_256_PLUS;
    CHECK(attempt_scram(&pop3, &a, &r) == IPC_AUTH_FAILED);
    a = attempt_bound(attempt_as(ALICE, "secret"), "p=tls-exporter,,", a.exporter);
    a.mechanism = IPC_MECHANISM_SCRAM_SHA_256;
    CHECK(attempt_scram(&pop3, &a, &r) == IPC_AUTH_FAILED);
    a = attempt_as(ALICE, "secret");
    a.gs2 = "y,,";
    CHECK(attempt_scram(&pop3, &a, &r) == IPC_OK);
    a.gs2 = "p=tls-exporter,,";
    CHECK(attempt_scram(&pop3, &a, &r) == IPC_AUTH_FAILED);
    expect_log(w, (const char *const[]){"event=login-downgrade", "mechanism=SCRAM-SHA-256-PLUS",
                                        "mechanism=SCRAM-SHA-256 ", "reason=\"the proof is wrong\"",
                                        "reason=channel-bindings-dont-match", NULL});
    peer_done(&cli);
    peer_done(&pop3);
}

static void parameters(struct peer *pop3, const char *user, char salt[64], unsigned *ret_iterations)
{
    struct scram_client c;
    struct attempt a = attempt_as(user, "x");
    struct ipc_message r;
    struct span s;
    scram_client_init(&c, "n,,", user, "x", SPAN_NONE);
    struct ipc_message ask = scram_begin_message(&a, attempt_session(pop3, &a), scram_client_first(&c));
    peer_call(pop3, &ask, &r);
    CHECK(r.scram_step.status == IPC_OK);
    scram_client_parameters(r.scram_step.message, &s, ret_iterations);
    snprintf(salt, 64, "%.*s", SPAN_ARG(s));
    scram_client_done(&c);
}

/* What the server tells before any proof does not depend on whether there is such an account: not today, not
 * after a restart, not when it is made. */
static void case_salts(struct world *w)
{
    static const char *const names[] = {ALICE,
                                        "nobody@brant.test",
                                        "later@brant.test",
                                        "imported@brant.test",
                                        "none@brant.test",
                                        "someone@elsewhere.test",
                                        "no address"};
    enum { NAMES = sizeof names / sizeof *names };
    char salts[NAMES][64], salt[64];
    unsigned counts[NAMES], count;
    struct peer cli, pop3;
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    world_channel(w, IPC_ROLE_POP3, 0, &pop3);
    people(&cli);
    admin(&cli,
          account_hash("imported@brant.test", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
          IPC_OK);
    admin(&cli, account_add("none@brant.test", "", 0), IPC_OK);
    for (size_t i = 0; i < NAMES; i++) {
        parameters(&pop3, names[i], salts[i], &counts[i]);
        CHECK(counts[i] == counts[0] && strlen(salts[i]) == strlen(salts[0]));
        for (size_t j = 0; j < i; j++)
            CHECK(strcmp(salts[i], salts[j]) != 0);
    }
    parameters(&pop3, "NOBODY@Brant.TEST", salt, &count);
    CHECK(strcmp(salt, salts[1]) == 0);
    admin(&cli, account_add("later@brant.test", "secret", 0), IPC_OK);
    peer_done(&cli);
    peer_done(&pop3);
    world_kill(w);
    world_start(w);
    world_channel(w, IPC_ROLE_POP3, 0, &pop3);
    for (size_t i = 0; i < NAMES; i++) {
        parameters(&pop3, names[i], salt, &count);
        CHECK(strcmp(salt, salts[i]) == 0 && count == counts[i]);
    }
    struct attempt a = attempt_as("later@brant.test", "secret");
    struct ipc_message r;
    CHECK(attempt_scram(&pop3, &a, &r) == IPC_OK);
    peer_done(&pop3);
}

/* Exchanges that are given up in the middle. */
static void case_given_up(struct world *w)
{
    struct peer pop3;
    struct ipc_message r, ask;
    struct scram_client one;
    struct attempt a = attempt_as(ALICE, "secret");
    world_channel(w, IPC_ROLE_POP3, 1, &pop3);
    scram_client_init(&one, "n,,", ALICE, "secret", SPAN_NONE);
    struct ipc_id other = attempt_session(&pop3, &a);

    /* a password in between ends the exchange */
    ask = scram_begin_message(&a, other, scram_client_first(&one));
    peer_call(&pop3, &ask, &r);
    scram_client_final(&one, r.scram_step.message);
    a.password = "wrong";
    ask = attempt_message(&a, other);
    peer_call(&pop3, &ask, &r);
    CHECK(r.login_result.status == IPC_AUTH_FAILED);
    ask = scram_finish_message(other, buf_span(&one.final));
    peer_call(&pop3, &ask, &r);
    CHECK(r.login_result.status == IPC_TRY_LATER);

    /* closed in between, with and without an answer under way */
    ask = scram_begin_message(&a, other, scram_client_first(&one));
    peer_call(&pop3, &ask, &r);
    peer_send(&pop3, &(struct ipc_message){.type = IPC_TYPE_SESSION_CLOSE, .session_close = {other}});
    other = attempt_session(&pop3, &a);
    ask = attempt_message(&a, other);
    peer_ask(&pop3, &ask);
    peer_send(&pop3, &(struct ipc_message){.type = IPC_TYPE_SESSION_CLOSE, .session_close = {other}});
    a = attempt_as(ALICE, "secret");
    CHECK(attempt_scram(&pop3, &a, &r) == IPC_OK);
    scram_client_done(&one);
    peer_done(&pop3);
}

/* What a client, or a role between it and the store, can do to an exchange. */
static void case_exchanges(struct world *w)
{
    struct peer cli, pop3;
    struct ipc_message r, ask;
    struct scram_client one, two;
    struct attempt a = attempt_as(ALICE, "secret");
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    world_channel(w, IPC_ROLE_POP3, 0, &pop3);
    people(&cli);
    scram_client_init(&one, "n,,", ALICE, "secret", SPAN_NONE);
    scram_client_init(&two, "n,,", ALICE, "secret", SPAN_NONE);

    /* an end without a beginning: as after a restart of the store */
    struct ipc_id session = attempt_session(&pop3, &a), other = attempt_session(&pop3, &a);
    ask = scram_finish_message(session, SPAN_LIT("c=biws,r=x,p=eA=="));
    peer_call(&pop3, &ask, &r);
    CHECK(r.login_result.status == IPC_TRY_LATER);

    /* two beginnings: the second counts */
    ask = scram_begin_message(&a, session, scram_client_first(&one));
    peer_call(&pop3, &ask, &r);
    CHECK(r.scram_step.status == IPC_OK);
    struct span final = scram_client_final(&one, r.scram_step.message);
    ask = scram_begin_message(&a, session, scram_client_first(&two));
    peer_call(&pop3, &ask, &r);
    scram_client_final(&two, r.scram_step.message);
    ask = scram_finish_message(session, final);
    peer_call(&pop3, &ask, &r);
    CHECK(r.login_result.status == IPC_AUTH_FAILED);
    ask = scram_finish_message(session, buf_span(&two.final)); /* and it was used up by that */
    peer_call(&pop3, &ask, &r);
    CHECK(r.login_result.status == IPC_TRY_LATER);

    /* the final of one session in another; the same final twice */
    ask = scram_begin_message(&a, session, scram_client_first(&one));
    peer_call(&pop3, &ask, &r);
    scram_client_final(&one, r.scram_step.message);
    ask = scram_begin_message(&a, other, scram_client_first(&two));
    peer_call(&pop3, &ask, &r);
    ask = scram_finish_message(other, buf_span(&one.final));
    peer_call(&pop3, &ask, &r);
    CHECK(r.login_result.status == IPC_AUTH_FAILED);
    ask = scram_finish_message(session, buf_span(&one.final));
    peer_call(&pop3, &ask, &r);
    CHECK(r.login_result.status == IPC_OK && scram_client_accepts(&one, r.login_result.final));
    scram_client_done(&one);
    scram_client_done(&two);
    peer_done(&cli);
    peer_done(&pop3);
    case_given_up(w);
}

static const char *const firsts[] = {"",
                                     ",",
                                     "n",
                                     "n,",
                                     "n,,",
                                     "n,,n=",
                                     "n,,n=alice",
                                     "n,,n=alice,r=",
                                     "n,,r=x,n=y",
                                     "x,,n=alice,r=x",
                                     "p=,,n=alice,r=x",
                                     "p=,n=alice,r=x",
                                     "n,,m=x,n=alice,r=x",
                                     "n,,n=a=b,r=x",
                                     "n,,n=a=2cb,r=x",
                                     "n,a=,n=alice,r=x",
                                     "n,b=x,n=alice,r=x",
                                     "n,,n=alice,r=x y\x7f",
                                     "n,,n=\xff,r=x",
                                     "n,,n=alice,r=x\xff",
                                     "e=other-error"};
static const char *const finals[] = {"",
                                     "c=",
                                     "c=biws",
                                     "c=biws,r=",
                                     "c=biws,r=x",
                                     "c=biws,r=x,p=",
                                     "c=biws,r=x,p=!",
                                     "c=biws,r=x,p=eA==",
                                     "m=x,c=biws,r=x,p=eA==",
                                     "r=x,c=biws,p=eA==",
                                     "c=biws,r=x,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="};

/* Bytes that are no SCRAM, of every length up to the most a message holds. */
static void case_nonsense(struct world *w)
{
    struct peer cli, pop3;
    struct ipc_message r, ask;
    struct scram_client c;
    struct attempt a = attempt_as(ALICE, "secret");
    char big[IPC_SASL_MAX];
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    world_channel(w, IPC_ROLE_POP3, 0, &pop3);
    people(&cli);
    struct ipc_id session = attempt_session(&pop3, &a);
    for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++) {
        ask = scram_begin_message(&a, session, span_str(firsts[i]));
        peer_call(&pop3, &ask, &r);
        CHECK(r.scram_step.status == IPC_AUTH_FAILED && span_starts(r.scram_step.message, SPAN_LIT("e=")));
        ask = scram_finish_message(session, SPAN_LIT("c=biws,r=x,p=eA=="));
        peer_call(&pop3, &ask, &r);
        CHECK(r.login_result.status == IPC_TRY_LATER); /* a failed step ended it */
    }
    scram_client_init(&c, "n,,", ALICE, "secret", SPAN_NONE);
    for (size_t i = 0; i < sizeof finals / sizeof *finals; i++) {
        ask = scram_begin_message(&a, session, scram_client_first(&c));
        peer_call(&pop3, &ask, &r);
        CHECK(r.scram_step.status == IPC_OK);
        ask = scram_finish_message(session, span_str(finals[i]));
        peer_call(&pop3, &ask, &r);
        CHECK(r.login_result.status == IPC_AUTH_FAILED && span_starts(r.login_result.final, SPAN_LIT("e=")));
    }
    for (size_t len = 1; len <= sizeof big; len *= 2) {
        memset(big, 'x', len);
        memcpy(big, "n,,n=alice,r=", len < 13 ? len : 13);
        ask = scram_begin_message(&a, session, span_make(big, len));
        peer_call(&pop3, &ask, &r);
        ask = scram_finish_message(session, span_make(big, len));
        peer_call(&pop3, &ask, &r);
        CHECK(r.login_result.status != IPC_OK);
    }
    scram_client_done(&c);
    peer_done(&cli);
    peer_done(&pop3);
}

/* ---- what no honest role does ---- */

static void offend(struct world *w, enum ipc_role role, uint32_t instance, bool logged_in,
                   struct ipc_message m)
{
    struct peer p;
    struct ipc_message r;
    struct attempt a = attempt_as(ALICE, "secret");
    world_channel(w, role, instance, &p);
    a.service = role == IPC_ROLE_SUBMISSION ? IPC_SERVICE_SUBMISSION : IPC_SERVICE_POP3;
    struct ipc_id session = attempt_session(&p, &a);
    if (logged_in) {
        struct ipc_message ask = attempt_message(&a, session);
        peer_call(&p, &ask, &r);
        CHECK(r.login_result.status == IPC_OK);
    }
    /* every message of this kind begins with the session */
    if (memcmp(&m.login.session, &(struct ipc_id){{0}}, 16) == 0)
        m.login.session = session;
    m.tag = 1;
    peer_send(&p, &m);
    peer_expect_closed(&p);
    peer_done(&p);
    world_expect_fault(w, role, instance);
}

static void case_hostile(struct world *w)
{
    struct peer cli, pop3;
    struct ipc_message r;
    uint32_t n = 100;
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    world_channel(w, IPC_ROLE_POP3, 0, &pop3);
    people(&cli);
    const struct ipc_message login = {.type = IPC_TYPE_LOGIN, .login = {.service = IPC_SERVICE_POP3}},
                             begin = {.type = IPC_TYPE_SCRAM_BEGIN,
                                      .scram_begin = {.service = IPC_SERVICE_POP3,
                                                      .mechanism = IPC_MECHANISM_SCRAM_SHA_256}},
                             finish = {.type = IPC_TYPE_SCRAM_FINISH},
                             external = {.type = IPC_TYPE_LOGIN_EXTERNAL,
                                         .login_external = {.service = IPC_SERVICE_POP3}},
                             sender = {.type = IPC_TYPE_SENDER_CHECK};
    const struct ipc_message all[] = {login, begin, finish, external};
    for (size_t i = 0; i < 4; i++) {
        struct ipc_message m = all[i];
        offend(w, IPC_ROLE_POP3, n++, true, m); /* logged in already */
        m.login.session = new_id();             /* not open */
        offend(w, IPC_ROLE_POP3, n++, false, m);
    }
    struct ipc_message m = login;
    m.login.service = IPC_SERVICE_POP3S; /* not the session's */
    offend(w, IPC_ROLE_POP3, n++, false, m);
    for (uint8_t mechanism = IPC_MECHANISM_SCRAM_SHA_256; mechanism < IPC_MECHANISM_COUNT; mechanism++) {
        m = login;
        m.login.mechanism = mechanism;
        offend(w, IPC_ROLE_POP3, n++, false, m);
    }
    for (uint8_t mechanism = 0; mechanism < IPC_MECHANISM_COUNT; mechanism++) {
        m = begin;
        m.scram_begin.mechanism = mechanism;
        if (mechanism != IPC_MECHANISM_SCRAM_SHA_256 && mechanism != IPC_MECHANISM_SCRAM_SHA_256_PLUS)
            offend(w, IPC_ROLE_POP3, n++, false, m);
    }
    m = external; /* the kernel's word counts on the Unix socket only */
    m.login_external.trusted_peer = 1;
    m.login_external.authzid = SPAN_LIT(ALICE);
    offend(w, IPC_ROLE_POP3, n++, false, m);
    m.login_external.service = IPC_SERVICE_SUBMISSION;
    offend(w, IPC_ROLE_SUBMISSION, n++, false, m);
    m.login_external.trusted_peer = 0;
    m.login_external.fingerprint = SPAN_LIT("too short");
    offend(w, IPC_ROLE_SUBMISSION, n++, false, m);
    offend(w, IPC_ROLE_SUBMISSION, n++, false, sender);       /* nobody is logged in */
    m = (struct ipc_message){.type = IPC_TYPE_MAILDROP_OPEN}; /* a submission session never reads mail */
    offend(w, IPC_ROLE_SUBMISSION, n++, true, m);
    m = (struct ipc_message){.type = IPC_TYPE_SENDER_CHECK};
    offend(w, IPC_ROLE_POP3, n++, true, m);
    struct attempt a = attempt_as(ALICE, "secret");
    CHECK(attempt_password(&pop3, &a, &r) == IPC_OK); /* the honest one is served */
    printf("  %u offences\n", n - 100);
    peer_done(&cli);
    peer_done(&pop3);
}

/* Each kind of role has sessions of its own services, and takes up sessions only of those. */
static void case_services(struct world *w)
{
    static const enum ipc_role roles[] = {IPC_ROLE_SMTP, IPC_ROLE_SUBMISSION, IPC_ROLE_POP3};
    static const unsigned sets[] = {IPC_SERVICE_BIT(IPC_SERVICE_SMTP) | IPC_SERVICE_BIT(IPC_SERVICE_LMTP) |
                                        IPC_SERVICE_BIT(IPC_SERVICE_LMTP_LOCAL),
                                    IPC_SERVICE_BIT(IPC_SERVICE_SUBMISSION) |
                                        IPC_SERVICE_BIT(IPC_SERVICE_SUBMISSIONS) |
                                        IPC_SERVICE_BIT(IPC_SERVICE_SUBMISSION_LOCAL),
                                    IPC_SERVICE_BIT(IPC_SERVICE_POP3) | IPC_SERVICE_BIT(IPC_SERVICE_POP3S)};
    uint32_t n = 10;
    for (size_t i = 0; i < 3; i++) {
        for (uint8_t service = 1; service < IPC_SERVICE_COUNT; service++) {
            struct peer p;
            world_channel(w, roles[i], n, &p);
            if (sets[i] & IPC_SERVICE_BIT(service)) {
                CHECK(session_open(&p, new_id(), service, "192.0.2.1") == IPC_OK);
            } else {
                peer_send(&p,
                          &(struct ipc_message){.type = IPC_TYPE_SESSION_OPEN,
                                                .session_open = {.session = new_id(), .service = service}});
                peer_expect_closed(&p);
                world_expect_fault(w, roles[i], n);
            }
            peer_done(&p);
            n++;
        }
    }
    struct peer p, cli;
    struct ipc_message r;
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    people(&cli);
    /* a submission session goes on with the next store; it never had a maildrop */
    struct attempt a = attempt_as(ALICE, "secret");
    a.service = IPC_SERVICE_SUBMISSION_LOCAL;
    a.from = "";
    world_channel(w, IPC_ROLE_SUBMISSION, 3, &p);
    struct ipc_id session = attempt_session(&p, &a);
    struct ipc_message ask = attempt_message(&a, session);
    peer_call(&p, &ask, &r);
    CHECK(r.login_result.status == IPC_OK);
    uint8_t token[32];
    uint64_t account = r.login_result.account;
    memcpy(token, r.login_result.token.p, sizeof token);
    peer_done(&p);
    peer_done(&cli);
    world_kill(w);
    world_start(w);
    world_channel(w, IPC_ROLE_SUBMISSION, 3, &p);
    ask = (struct ipc_message){.type = IPC_TYPE_RESUME,
                               .resume = {.session = session,
                                          .service = IPC_SERVICE_SUBMISSION_LOCAL,
                                          .account = account,
                                          .token = span_make(token, sizeof token)}};
    peer_call(&p, &ask, &r);
    CHECK(r.resume_result.status == IPC_OK);
    ask = (struct ipc_message){.type = IPC_TYPE_SENDER_CHECK,
                               .sender_check = {.session = session, .address = SPAN_LIT(ALICE)}};
    peer_call(&p, &ask, &r);
    CHECK(r.sender_verdict.status == IPC_OK);
    ask = (struct ipc_message){.type = IPC_TYPE_RESUME,
                               .resume = {.session = new_id(),
                                          .service = IPC_SERVICE_SUBMISSION,
                                          .account = account,
                                          .token = span_make(token, sizeof token),
                                          .maildrop_held = 1}};
    peer_send(&p, &ask);
    peer_expect_closed(&p);
    world_expect_fault(w, IPC_ROLE_SUBMISSION, 3);
    peer_done(&p);
}

int main(int argc, char **argv)
{
    static const struct test_case cases[] = {
        {"passwords", OPEN "\nauth.default_domain = brant.test", case_passwords},
        {"scram", OPEN "\nauth.default_domain = brant.test", case_scram},
        {"salts", OPEN, case_salts},
        {"exchanges", OPEN, case_exchanges},
        {"nonsense", OPEN, case_nonsense},
        {"hostile", OPEN, case_hostile},
        {"services", OPEN, case_services},
    };
    return run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
