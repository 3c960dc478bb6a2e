/* What opens an account of a real brant-store process beside its password: app passwords, certificates, the
 * word of the kernel, hashes from elsewhere. Usage: credential_role BRANT_STORE [CASE] */
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

/* ---- grants ---- */

/* Each by PLAIN, SCRAM and -PLUS: for POP3 only, for all, expired. */
static void try_all(struct peer *pop3, struct peer *submission, const char *const passwords[3])
{
    struct ipc_message r;
    static const struct {
        int which; /* 0 phone, 1 laptop, 2 forgotten */
        bool submission;
        uint8_t status;
    } table[] = {{0, false, IPC_OK}, {0, true, IPC_AUTH_FAILED}, {1, false, IPC_OK},
                 {1, true, IPC_OK},  {2, false, IPC_EXPIRED},    {2, true, IPC_EXPIRED}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct attempt a = attempt_as(ALICE, passwords[table[i].which]);
        struct peer *p = table[i].submission ? submission : pop3;
        a.service = table[i].submission ? IPC_SERVICE_SUBMISSIONS : IPC_SERVICE_POP3S;
        for (int again = 0; again < 2; again++) {
            CHECK(attempt_password(p, &a, &r) == table[i].status);
            CHECK(attempt_scram(p, &a, &r) == table[i].status);
        }
        a = attempt_bound(a, "p=tls-exporter,,", SPAN_LIT("the exporter's thirty-two bytes."));
        CHECK(attempt_scram(p, &a, &r) == table[i].status);
        a.user = BOB; /* of another account */
        CHECK(attempt_password(p, &a, &r) == IPC_AUTH_FAILED);
        CHECK(attempt_scram(p, &a, &r) == IPC_AUTH_FAILED);
    }
}

/* Revoked in the middle of an exchange. */
static void revoke_midway(struct peer *cli, struct peer *pop3, const char *laptop)
{
    struct ipc_message r;
    struct scram_client c;
    struct attempt a = attempt_as(ALICE, laptop);
    struct ipc_id session = attempt_session(pop3, &a);
    scram_client_init(&c, "n,,", ALICE, laptop, SPAN_NONE);
    struct ipc_message ask = scram_begin_message(&a, session, scram_client_first(&c));
    peer_call(pop3, &ask, &r);
    scram_client_final(&c, r.scram_step.message);
    admin(cli, grant_remove(ALICE, IPC_GRANT_APP_PASSWORD, "laptop"), IPC_OK);
    ask = scram_finish_message(session, buf_span(&c.final));
    peer_call(pop3, &ask, &r);
    CHECK(r.login_result.status == IPC_AUTH_FAILED);
    scram_client_done(&c);
    CHECK(attempt_password(pop3, &a, &r) == IPC_AUTH_FAILED &&
          attempt_scram(pop3, &a, &r) == IPC_AUTH_FAILED);
}

static void case_app_passwords(struct world *w)
{
    enum { APP = IPC_GRANT_APP_PASSWORD };
    struct peer cli, pop3, submission;
    struct ipc_message r;
    char phone[65], laptop[65], old[65];
    uint64_t now_s = (uint64_t)(os_clock_wall_ms() / 1000);
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    world_channel(w, IPC_ROLE_POP3, 0, &pop3);
    world_channel(w, IPC_ROLE_SUBMISSION, 0, &submission);
    people(&cli);
    strcpy(phone, grant_add(&cli, ALICE, APP, "old phone", IPC_PROTOCOL_POP3, 0, SPAN_NONE, IPC_OK));
    strcpy(laptop, grant_add(&cli, ALICE, APP, "laptop", IPC_PROTOCOL_ALL, now_s + 3600, SPAN_NONE, IPC_OK));
    strcpy(old, grant_add(&cli, ALICE, APP, "forgotten", IPC_PROTOCOL_ALL, now_s - 1, SPAN_NONE, IPC_OK));
    CHECK(strcmp(phone, laptop) != 0 && strlen(phone) == 29);
    grant_add(&cli, ALICE, APP, "old phone", IPC_PROTOCOL_ALL, 0, SPAN_NONE, IPC_EXISTS);
    grant_add(&cli, ALICE, APP, " old phone\t", IPC_PROTOCOL_ALL, 0, SPAN_NONE, IPC_EXISTS);
    grant_add(&cli, ALICE, APP, "", IPC_PROTOCOL_ALL, 0, SPAN_NONE, IPC_INVALID);
    grant_add(&cli, ALICE, APP, "a\nb", IPC_PROTOCOL_ALL, 0, SPAN_NONE, IPC_INVALID);
    grant_add(&cli, ALICE, APP, "none", 0, 0, SPAN_NONE, IPC_INVALID);
    /* a time that is none must not become "never" */
    grant_add(&cli, ALICE, APP, "endless", IPC_PROTOCOL_ALL, UINT64_MAX, SPAN_NONE, IPC_INVALID);
    grant_add(&cli, ALICE, APP, "endless", IPC_PROTOCOL_ALL, UINT64_MAX / 1000, SPAN_NONE, IPC_INVALID);
    grant_add(&cli, "nobody@brant.test", APP, "x", IPC_PROTOCOL_ALL, 0, SPAN_NONE, IPC_NOT_FOUND);
    grant_add(&cli, "nobody", APP, "x", IPC_PROTOCOL_ALL, 0, SPAN_NONE, IPC_INVALID);
    CHECK(grant_count(&cli, ALICE, APP) == 3 && grant_count(&cli, BOB, APP) == 0);
    struct ipc_account_row row = account_row(&cli, ALICE);
    CHECK(row.app_passwords == 3 && row.grants == 3 && row.has_scram);

    try_all(&pop3, &submission, (const char *const[]){phone, laptop, old});
    struct attempt main = attempt_as(ALICE, "secret"), a = attempt_as(ALICE, laptop);
    CHECK(attempt_password(&pop3, &main, &r) == IPC_OK && attempt_scram(&pop3, &main, &r) == IPC_OK);
    /* locked accounts are locked for all of them; a new main password leaves them alone */
    admin(&cli, account_enabled(ALICE, false), IPC_OK);
    CHECK(attempt_password(&pop3, &a, &r) == IPC_AUTH_FAILED &&
          attempt_scram(&pop3, &a, &r) == IPC_AUTH_FAILED);
    admin(&cli, account_enabled(ALICE, true), IPC_OK);
    admin(&cli, account_password(ALICE, "new"), IPC_OK);
    CHECK(attempt_password(&pop3, &a, &r) == IPC_OK && attempt_scram(&pop3, &a, &r) == IPC_OK);
    CHECK(attempt_password(&pop3, &main, &r) == IPC_AUTH_FAILED);
    /* no main password at all */
    admin(&cli, account_password(ALICE, ""), IPC_OK);
    CHECK(attempt_password(&pop3, &a, &r) == IPC_OK && attempt_scram(&pop3, &a, &r) == IPC_OK);
    revoke_midway(&cli, &pop3, laptop);
    admin(&cli, grant_remove(ALICE, APP, "laptop"), IPC_NOT_FOUND);
    admin(&cli, grant_remove(ALICE, APP, "old phone"), IPC_OK);
    for (unsigned i = 0; i < 63; i++) {
        char name[16];
        snprintf(name, sizeof name, "many %u", i);
        strcpy(laptop, grant_add(&cli, ALICE, APP, name, IPC_PROTOCOL_ALL, 0, SPAN_NONE, IPC_OK));
    }
    grant_add(&cli, ALICE, APP, "one more", IPC_PROTOCOL_ALL, 0, SPAN_NONE, IPC_REFUSED);
    CHECK(grant_count(&cli, ALICE, 0) == 64);
    CHECK(attempt_password(&pop3, &a, &r) == IPC_OK &&
          attempt_scram(&pop3, &a, &r) == IPC_OK); /* the last one */
    expect_log(w, (const char *const[]){
                      "credential=\"app password\" name=\"old phone\"",
                      "reason=\"the app password has expired\" name=forgotten",
                      "reason=\"the app password is for other protocols\" name=\"old phone\"", NULL});
    peer_done(&cli);
    peer_done(&pop3);
    peer_done(&submission);
}

#define EXTERNAL                                                                           \
    "\nauth.default_domain = brant.test\nsubmission_socket = /run/brant/submission.sock\n" \
    "tls.client_certificate = all"

static void case_external(struct world *w)
{
    enum { CERT = IPC_GRANT_CERTIFICATE };
    struct peer cli, pop3, submission;
    struct ipc_message r;
    uint8_t prints[3][32] = {{1}, {2}, {3}};
    struct span one = span_make(prints[0], 32), two = span_make(prints[1], 32),
                unknown = span_make(prints[2], 32);
    uint64_t now_s = (uint64_t)(os_clock_wall_ms() / 1000);
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    world_channel(w, IPC_ROLE_POP3, 0, &pop3);
    world_channel(w, IPC_ROLE_SUBMISSION, 0, &submission);
    people(&cli);
    grant_add(&cli, ALICE, CERT, "card", IPC_PROTOCOL_ALL, 0, one, IPC_OK);
    grant_add(&cli, BOB, CERT, "stolen", IPC_PROTOCOL_ALL, 0, one, IPC_EXISTS);
    grant_add(&cli, BOB, CERT, "short", IPC_PROTOCOL_ALL, 0, SPAN_LIT("short"), IPC_INVALID);
    grant_add(&cli, BOB, CERT, "sends", IPC_PROTOCOL_SUBMISSION, 0, two, IPC_OK);
    struct attempt a = {.service = IPC_SERVICE_POP3S}, s = {.service = IPC_SERVICE_SUBMISSIONS};
    CHECK(attempt_external(&pop3, &a, false, one, &r) == IPC_OK);
    CHECK(span_eq_str(r.login_result.address, ALICE) && r.login_result.token.len == 32);
    a.authzid = "Alice";
    CHECK(attempt_external(&pop3, &a, false, one, &r) == IPC_OK);
    a.authzid = BOB;
    CHECK(attempt_external(&pop3, &a, false, one, &r) == IPC_AUTH_FAILED);
    CHECK(attempt_external(&pop3, &a, false, two, &r) == IPC_AUTH_FAILED); /* not for POP3 */
    CHECK(attempt_external(&submission, &s, false, two, &r) == IPC_OK);
    CHECK(attempt_external(&submission, &s, false, unknown, &r) == IPC_AUTH_FAILED);
    CHECK(attempt_external(&submission, &s, false, SPAN_NONE, &r) == IPC_AUTH_FAILED);
    admin(&cli, account_enabled(ALICE, false), IPC_OK);
    a.authzid = NULL;
    CHECK(attempt_external(&pop3, &a, false, one, &r) == IPC_AUTH_FAILED);
    admin(&cli, account_enabled(ALICE, true), IPC_OK);
    admin(&cli, grant_remove(ALICE, CERT, "card"), IPC_OK);
    CHECK(attempt_external(&pop3, &a, false, one, &r) == IPC_AUTH_FAILED);
    grant_add(&cli, ALICE, CERT, "card", IPC_PROTOCOL_ALL, now_s - 1, one, IPC_OK);
    CHECK(attempt_external(&pop3, &a, false, one, &r) == IPC_EXPIRED);

    /* the Unix socket: who the kernel vouches for names the account */
    struct attempt local = {.service = IPC_SERVICE_SUBMISSION_LOCAL, .from = "", .authzid = BOB};
    CHECK(attempt_external(&submission, &local, true, SPAN_NONE, &r) == IPC_OK);
    CHECK(span_eq_str(r.login_result.address, BOB));
    local.authzid = "alice";
    CHECK(attempt_external(&submission, &local, true, SPAN_NONE, &r) == IPC_OK);
    local.authzid = "nobody@brant.test";
    CHECK(attempt_external(&submission, &local, true, SPAN_NONE, &r) == IPC_AUTH_FAILED);
    local.authzid = NULL;
    CHECK(attempt_external(&submission, &local, true, SPAN_NONE, &r) == IPC_AUTH_FAILED);
    local.authzid = BOB; /* others are not believed */
    CHECK(attempt_external(&submission, &local, false, SPAN_NONE, &r) == IPC_AUTH_FAILED);
    /* What the configuration does not have, no role can tell of: not even one that was broken into. */
    local.authzid = BOB;
    strcpy(w->settings, OPEN "\nauth.default_domain = brant.test");
    world_reconfigure(w);
    CHECK(attempt_external(&submission, &local, true, SPAN_NONE, &r) == IPC_AUTH_FAILED);
    CHECK(attempt_external(&submission, &s, false, two, &r) == IPC_AUTH_FAILED);
    expect_log(w, (const char *const[]){"mechanism=EXTERNAL", "credential=certificate name=card",
                                        "source=local", "credential=\"local user\"",
                                        "reason=\"no account knows this certificate\"",
                                        "reason=\"the certificate is of another account\" name=card", NULL});
    peer_done(&cli);
    peer_done(&pop3);
    peer_done(&submission);
}

/* ---- hashes from elsewhere ---- */

static void wait_for_keys(struct peer *cli, const char *account)
{
    for (int i = 0; i < 200 && !account_row(cli, account).has_scram; i++)
        usleep(20000);
    CHECK(account_row(cli, account).has_scram);
}

static void case_imported(struct world *w)
{
    static const char *const hashes[] = {
        "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        ("{CRYPT}$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/"
         "O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"),
        "$2y$05$abcdefghijklmnopqrstuu7nFISH/8YdwlXD3lw69A4iBUf6fvWAW",
        "$y$j75$F5Jx5fExrKuPp53xLKQ..1$f2itnMrRpK.7/qouLjCA8FmdTxLajBjBbFKcf7iQD2B",
        "$7$6/..../....SodiumChloride$qgYZafGAzsYRm/feFfVY1Lmz3oZRpeFG50d0q/YDJk7",
        "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
    };
    enum { COUNT = sizeof hashes / sizeof *hashes };
    struct peer cli, pop3;
    struct ipc_message r;
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    world_channel(w, IPC_ROLE_POP3, 0, &pop3);
    people(&cli);
    admin(&cli, account_hash("bad@brant.test", "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/"), IPC_INVALID);
    admin(&cli, account_hash("bad@brant.test", "password"), IPC_INVALID);
    for (size_t i = 0; i < COUNT; i++) {
        char name[32];
        const char *password = i + 1 < COUNT ? "Hello world!" : "password";
        snprintf(name, sizeof name, "user%zu@brant.test", i);
        admin(&cli, account_hash(name, hashes[i]), IPC_OK);
        CHECK(account_row(&cli, name).has_password && !account_row(&cli, name).has_scram);
        struct attempt a = attempt_as(name, "wrong");
        CHECK(attempt_password(&pop3, &a, &r) == IPC_AUTH_FAILED);
        a.password = password;
        CHECK(attempt_scram(&pop3, &a, &r) == IPC_AUTH_FAILED); /* there are no keys yet */
        CHECK(attempt_password(&pop3, &a, &r) == IPC_OK);
        wait_for_keys(&cli, name);
        CHECK(attempt_scram(&pop3, &a, &r) == IPC_OK);
        CHECK(attempt_password(&pop3, &a, &r) == IPC_OK);
        a.password = "wrong";
        CHECK(attempt_scram(&pop3, &a, &r) == IPC_AUTH_FAILED);
    }
    /* a password set while the upgrade is under way wins, whenever it comes */
    for (unsigned i = 0; i < 30; i++) {
        struct ipc_message set = account_password("user0@brant.test", hashes[0]);
        set.account_set.hashed = 1;
        admin(&cli, set, IPC_OK);
        struct attempt a = attempt_as("user0@brant.test", "Hello world!");
        CHECK(attempt_password(&pop3, &a, &r) == IPC_OK);
        usleep(i * 4000);
        set = account_password("user0@brant.test", hashes[2]);
        set.account_set.hashed = 1;
        admin(&cli, set, IPC_OK);
        usleep(150000);
        CHECK(!account_row(&cli, "user0@brant.test").has_scram);
        i += i > 3 ? 3 : 0;
    }
    expect_log(w, (const char *const[]){"event=account-verifiers-made", "result=\"wrong state\"",
                                        "reason=\"the account has no keys for SCRAM yet\"", NULL});
    peer_done(&cli);
    peer_done(&pop3);
}

int main(int argc, char **argv)
{
    static const struct test_case cases[] = {
        {"app_passwords", OPEN, case_app_passwords},
        {"external", OPEN EXTERNAL, case_external},
        {"imported", OPEN, case_imported},
    };
    return run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
