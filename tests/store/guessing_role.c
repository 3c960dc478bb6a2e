/* Passwords are guessed: what a real brant-store process answers, and when, and what it logs. Usage:
 * guessing_role BRANT_STORE [CASE] */
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

/* ---- throttling ---- */

static void case_throttle(struct world *w)
{
    struct peer cli, pop3;
    struct ipc_message r;
    char from[32];
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    world_channel(w, IPC_ROLE_POP3, 0, &pop3);
    people(&cli);
    struct attempt home = {.from = "198.51.100.7", .user = ALICE, .password = "secret"};
    CHECK(attempt_password(&pop3, &home, &r) == IPC_OK);
    admin(&cli, account_password(ALICE, "secret2"),
          IPC_OK); /* so that nothing is remembered but the source */
    /* names that exist and that don't are counted alike, by every mechanism */
    const char *const names[] = {ALICE, "nobody@brant.test"};
    for (size_t n = 0; n < 2; n++) {
        for (unsigned i = 0; i < 14; i++) {
            snprintf(from, sizeof from, "192.0.%zu.%u", n, i);
            struct attempt a = {.from = from, .user = names[n], .password = "wrong"};
            uint8_t status = i % 2 ? attempt_password(&pop3, &a, &r) : attempt_scram(&pop3, &a, &r);
            CHECK(status == (i < 10 ? IPC_AUTH_FAILED : IPC_TRY_LATER));
        }
    }
    /* the right password does not help from elsewhere; from home it does, by every mechanism */
    struct attempt away = {.from = "203.0.113.1", .user = ALICE, .password = "secret2"};
    CHECK(attempt_password(&pop3, &away, &r) == IPC_TRY_LATER);
    CHECK(attempt_scram(&pop3, &away, &r) == IPC_TRY_LATER);
    home.password = "secret2";
    CHECK(attempt_scram(&pop3, &home, &r) == IPC_OK);
    CHECK(attempt_password(&pop3, &home, &r) == IPC_OK);
    /* nor does it when it is remembered to be right: that would be one to guess without limit */
    CHECK(attempt_password(&pop3, &away, &r) == IPC_TRY_LATER);
    /* an app password can't be guessed, and is let in from anywhere */
    struct attempt app = {.from = "203.0.113.9", .user = ALICE};
    app.password =
        grant_add(&cli, ALICE, IPC_GRANT_APP_PASSWORD, "x", IPC_PROTOCOL_ALL, 0, SPAN_NONE, IPC_OK);
    CHECK(attempt_password(&pop3, &app, &r) == IPC_OK && attempt_scram(&pop3, &app, &r) == IPC_OK);
    /* a source: five names, twelve failures each: thirty in all */
    unsigned failed = 0;
    for (unsigned i = 0; i < 60; i++) {
        char user[32];
        snprintf(user, sizeof user, "guess%u@brant.test", i % 5);
        struct attempt a = {.from = i % 2 ? "2001:db8::1" : "2001:db8::2", .user = user, .password = "x"};
        failed += attempt_password(&pop3, &a, &r) == IPC_AUTH_FAILED;
    }
    CHECK(failed == 30);
    expect_log(w, (const char *const[]){"reason=\"too many wrong passwords for this name\"",
                                        "reason=\"too many wrong passwords from this source\"", NULL});
    /* the sources somebody logged in from are known after a restart */
    peer_done(&cli);
    peer_done(&pop3);
    world_stop(w);
    world_start(w);
    world_channel(w, IPC_ROLE_POP3, 0, &pop3);
    for (unsigned i = 0; i < 11; i++) {
        snprintf(from, sizeof from, "192.0.2.%u", i);
        struct attempt a = {.from = from, .user = ALICE, .password = "wrong"};
        CHECK(attempt_password(&pop3, &a, &r) == (i < 10 ? IPC_AUTH_FAILED : IPC_TRY_LATER));
    }
    CHECK(attempt_password(&pop3, &home, &r) == IPC_OK);
    struct attempt never = {.from = "203.0.113.200", .user = ALICE, .password = "wrong"};
    CHECK(attempt_password(&pop3, &never, &r) == IPC_TRY_LATER);
    peer_done(&pop3);
}

/* ---- the time of an answer ---- */

enum { KINDS = 7, FIRST_SCRAM = 5, ROUNDS = 36 };

struct kind {
    const char *what;
    struct attempt attempt;
    bool scram;
    uint64_t us[ROUNDS];
};

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t median(const uint64_t *us, size_t count)
{
    uint64_t sorted[ROUNDS];
    memcpy(sorted, us, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_value);
    return sorted[count / 2];
}

/* Mann and Whitney's U as a normal deviate, squared: how unlikely it is that both are of one kind. */
static double rank_test(const uint64_t *a, const uint64_t *b, size_t count)
{
    double u = 0, n = (double)count, mean = n * n / 2, variance = mean * (2 * n + 1) / 6;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++)
            u += a[i] < b[j] ? 1 : a[i] == b[j] ? 0.5 : 0;
    return (u - mean) * (u - mean) / variance;
}

/* Asks all kinds at one moment, in an order that changes, and takes the time of each. */
static void time_round(struct peer *pop3, struct kind kinds[KINDS], unsigned source, unsigned round)
{
    struct ipc_message ask[KINDS], r;
    uint64_t asked[KINDS] = {0};
    uint32_t tags[KINDS];
    struct scram_client clients[KINDS];
    size_t order[KINDS];
    for (size_t i = 0; i < KINDS; i++) {
        char from[32];
        size_t j = os_random_u64() % (i + 1);
        order[i] = order[j];
        order[j] = i;
        snprintf(from, sizeof from, "10.%zu.%u.1", i, source);
        kinds[i].attempt.from = from;
        struct ipc_id session = attempt_session(pop3, &kinds[i].attempt);
        scram_client_init(&clients[i], "n,,", kinds[i].attempt.user, "wrong", SPAN_NONE);
        ask[i] = attempt_message(&kinds[i].attempt, session);
        if (kinds[i].scram) {
            ask[i] = scram_begin_message(&kinds[i].attempt, session, scram_client_first(&clients[i]));
            peer_call(pop3, &ask[i], &r);
            CHECK(r.scram_step.status == IPC_OK);
            ask[i] = scram_finish_message(session, scram_client_final(&clients[i], r.scram_step.message));
        }
        kinds[i].attempt.from = NULL;
    }
    for (size_t n = 0; n < KINDS; n++) {
        size_t i = order[n];
        asked[i] = os_clock_mono_us();
        tags[i] = peer_ask(pop3, &ask[i]);
    }
    for (size_t n = 0; n < KINDS; n++) {
        peer_expect(pop3, IPC_TYPE_LOGIN_RESULT, &r);
        uint64_t now = os_clock_mono_us();
        CHECK(r.login_result.status == IPC_AUTH_FAILED);
        for (size_t i = 0; i < KINDS; i++)
            if (tags[i] == r.tag)
                kinds[i].us[round] = now - asked[i];
    }
    for (size_t i = 0; i < KINDS; i++)
        scram_client_done(&clients[i]);
}

/* Were nearly all answered after the first delay? Else the machine is so busy that medians jump. */
static bool is_settled(const uint64_t *us, size_t rounds, uint64_t delay_us)
{
    size_t late = 0;
    for (size_t n = 0; n < rounds; n++)
        late += us[n] > delay_us * 3 / 2;
    return late * 10 <= rounds;
}

/* Generous: an honest store fails this once in some 100,000 rounds; one whose answers differ by their hashes,
 * by tens of milliseconds, always does. */
static bool all_alike(const struct kind kinds[KINDS], size_t rounds, uint64_t delay_us)
{
    bool alike = true;
    for (size_t i = 0; i < KINDS; i++) {
        const struct kind *same = &kinds[kinds[i].scram ? FIRST_SCRAM : 0]; /* of its mechanism */
        uint64_t m = median(kinds[i].us, rounds), other = median(same->us, rounds);
        double unlikely = rank_test(same->us, kinds[i].us, rounds);
        printf("  %-24s median %llu us, deviate^2 %.2f\n", kinds[i].what, (unsigned long long)m, unlikely);
        for (size_t n = 0; n < rounds; n++)
            CHECK(kinds[i].us[n] + 1000 >= delay_us);
        bool near = m * 100 < other * 103 && m * 103 > other * 100;
        bool settled = is_settled(kinds[i].us, rounds, delay_us) && is_settled(same->us, rounds, delay_us);
        alike = alike && unlikely < 20 && (near || !settled);
    }
    return alike;
}

/* On a machine so busy that hashing takes longer than the delay it is tried again with a longer one: a store
 * that tells too much tells it then, too. */
static void case_timing(struct world *w)
{
    struct peer cli, pop3;
    static struct kind kinds[KINDS] = {
        {.what = "wrong password", .attempt = {.user = ALICE, .password = "wrong"}},
        {.what = "no such account", .attempt = {.user = "nobody@brant.test", .password = "wrong"}},
        {.what = "disabled", .attempt = {.user = BOB, .password = "hunter2"}},
        {.what = "imported hash", .attempt = {.user = "imported@brant.test", .password = "wrong"}},
        {.what = "no password", .attempt = {.user = "none@brant.test", .password = "wrong"}},
        {.what = "SCRAM", .attempt = {.user = ALICE, .password = "wrong"}, .scram = true},
        {.what = "SCRAM, no such account",
         .attempt = {.user = "nobody@brant.test", .password = "wrong"},
         .scram = true},
    };
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    world_channel(w, IPC_ROLE_POP3, 0, &pop3);
    people(&cli);
    admin(&cli, account_enabled(BOB, false), IPC_OK);
    admin(&cli,
          account_hash("imported@brant.test", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
          IPC_OK);
    admin(&cli, account_add("none@brant.test", "", 0), IPC_OK);
    unsigned delay_ms = 400, rounds = ROUNDS;
    for (unsigned again = 0;; again++, delay_ms *= 2, rounds = rounds * 2 / 3) {
        snprintf(w->settings, sizeof w->settings,
                 "auth.failure_delay = %u ms\nauth.account_failures = 1000\nauth.source_failures = 10000\n"
                 "max_connections_per_source = 5000",
                 delay_ms);
        world_reconfigure(w);
        for (unsigned round = 0; round < rounds; round++)
            time_round(&pop3, kinds, again * ROUNDS + round, round);
        if (all_alike(kinds, rounds, delay_ms * 1000))
            break;
        CHECK(again < 2);
    }
    peer_done(&cli);
    peer_done(&pop3);
}

/* ---- no secret stays in the log, and a refused login costs nothing when its session ends ---- */

static void case_delays(struct world *w)
{
    struct peer cli, pop3;
    struct ipc_message r;
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    world_channel(w, IPC_ROLE_POP3, 0, &pop3);
    people(&cli);
    /* sessions that end, or whose channel ends, while their refusal waits */
    for (unsigned i = 0; i < 40; i++) {
        struct attempt a = attempt_as(ALICE, "wrong");
        struct ipc_id session = attempt_session(&pop3, &a);
        struct ipc_message ask = attempt_message(&a, session);
        peer_ask(&pop3, &ask);
        if (i % 2)
            peer_send(&pop3,
                      &(struct ipc_message){.type = IPC_TYPE_SESSION_CLOSE, .session_close = {session}});
    }
    peer_done(&pop3);
    world_channel(w, IPC_ROLE_POP3, 1, &pop3);
    struct attempt a = attempt_as(ALICE, "wrong");
    uint64_t before = os_clock_mono_ms();
    CHECK(attempt_password(&pop3, &a, &r) == IPC_AUTH_FAILED);
    uint64_t took = os_clock_mono_ms() - before;
    CHECK(took >= 1999 && took < 15000);
    a = attempt_as(ALICE, "secret"); /* a right one does not wait */
    before = os_clock_mono_ms();
    CHECK(attempt_password(&pop3, &a, &r) == IPC_OK);
    CHECK(attempt_password(&pop3, &a, &r) == IPC_OK);
    CHECK(os_clock_mono_ms() - before < 1900);
    /* a second login while the refusal of the first waits is no honest role's */
    a = attempt_as(ALICE, "wrong");
    a.mechanism = IPC_MECHANISM_SCRAM_SHA_256;
    struct ipc_id session = attempt_session(&pop3, &a);
    struct ipc_message ask = scram_begin_message(&a, session, SPAN_LIT("nonsense"));
    peer_ask(&pop3, &ask);
    peer_ask(&pop3, &ask);
    peer_expect_closed(&pop3);
    world_expect_fault(w, IPC_ROLE_POP3, 1);
    peer_done(&pop3);
    peer_done(&cli);
}

static void case_secrets(struct world *w)
{
    static const char canary[] = "CANARY-7f3d-password";
    struct peer cli, pop3;
    struct ipc_message r;
    struct buf _cleanup_buf_ log;
    buf_init(&log, 4 << 20);
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    world_channel(w, IPC_ROLE_POP3, 0, &pop3);
    people(&cli);
    admin(&cli, account_password(ALICE, canary), IPC_OK);
    struct attempt a = attempt_as(ALICE, canary);
    CHECK(attempt_password(&pop3, &a, &r) == IPC_OK);
    CHECK(attempt_scram(&pop3, &a, &r) == IPC_OK);
    a.user = BOB;
    CHECK(attempt_password(&pop3, &a, &r) == IPC_AUTH_FAILED);
    a.user = "no\nbody\x1b[2J"; /* a forged line, an escape sequence */
    CHECK(attempt_password(&pop3, &a, &r) == IPC_AUTH_FAILED);
    world_log(w, &log);
    CHECK(log.len > 0 && !strstr(buf_cstr(&log), "CANARY"));
    CHECK(strstr(buf_cstr(&log), "user=\"no\\x0abody\\x1b[2J\"") ||
          strstr(buf_cstr(&log), "no\\x0abody\\x1b[2J"));
    peer_done(&cli);
    peer_done(&pop3);
}

int main(int argc, char **argv)
{
    static const struct test_case cases[] = {
        {"throttle", "auth.failure_delay = 0\nmax_connections_per_source = 1000", case_throttle},
        {"timing", OPEN, case_timing},
        {"delays", "auth.failure_delay = 2 s\nauth.account_failures = 1000", case_delays},
        {"secrets", OPEN, case_secrets},
    };
    return run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
