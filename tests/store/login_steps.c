#include "login_steps.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"

static struct ip_addr source_of(const struct attempt *a)
{
    if (a->from && a->from[0] == 0)
        return (struct ip_addr){.family = IP_NONE};
    return address(a->from ? a->from : "127.0.0.1");
}

static uint8_t service_of(const struct attempt *a)
{
    return a->service ? a->service : IPC_SERVICE_POP3;
}

static struct span text(const char *s)
{
    return s ? span_str(s) : SPAN_NONE;
}

struct ipc_id attempt_session(struct peer *p, const struct attempt *a)
{
    struct ipc_id id = new_id();
    struct ipc_message answer,
        ask = {.type = IPC_TYPE_SESSION_OPEN,
               .session_open = {.session = id, .service = service_of(a), .source = source_of(a)}};
    peer_call(p, &ask, &answer);
    CHECK(answer.session_verdict.status == IPC_OK);
    return id;
}

struct ipc_message attempt_message(const struct attempt *a, struct ipc_id session)
{
    return (struct ipc_message){.type = IPC_TYPE_LOGIN,
                                .login = {.session = session,
                                          .service = service_of(a),
                                          .mechanism = a->mechanism ? a->mechanism : IPC_MECHANISM_PLAIN,
                                          .tls = 1,
                                          .source = source_of(a),
                                          .authzid = text(a->authzid),
                                          .user = text(a->user),
                                          .password = text(a->password)}};
}

uint8_t attempt_password(struct peer *p, const struct attempt *a, struct ipc_message *ret)
{
    struct ipc_message ask = attempt_message(a, attempt_session(p, a));
    peer_call(p, &ask, ret);
    return ret->login_result.status;
}

struct ipc_message scram_begin_message(const struct attempt *a, struct ipc_id session, struct span first)
{
    bool plus = a->gs2 && a->gs2[0] == 'p';
    uint8_t usual = plus ? IPC_MECHANISM_SCRAM_SHA_256_PLUS : IPC_MECHANISM_SCRAM_SHA_256;
    return (struct ipc_message){.type = IPC_TYPE_SCRAM_BEGIN,
                                .scram_begin = {.session = session,
                                                .service = service_of(a),
                                                .mechanism = a->mechanism ? a->mechanism : usual,
                                                .tls = 1,
                                                .plus_offered = a->plus_offered,
                                                .source = source_of(a),
                                                .binding_end_point = a->end_point,
                                                .binding_exporter = a->exporter,
                                                .message = first}};
}

struct ipc_message scram_finish_message(struct ipc_id session, struct span final)
{
    return (struct ipc_message){.type = IPC_TYPE_SCRAM_FINISH,
                                .scram_finish = {.session = session, .message = final}};
}

uint8_t attempt_scram(struct peer *p, const struct attempt *a, struct ipc_message *ret)
{
    struct scram_client c;
    struct ipc_id session = attempt_session(p, a);
    scram_client_init(&c, a->gs2 ? a->gs2 : "n,,", a->user, a->password, a->bound);
    struct ipc_message ask = scram_begin_message(a, session, scram_client_first(&c));
    peer_call(p, &ask, ret);
    uint8_t status = ret->scram_step.status;
    if (status == IPC_OK) {
        ask = scram_finish_message(session, scram_client_final(&c, ret->scram_step.message));
        peer_call(p, &ask, ret);
        status = ret->login_result.status;
        CHECK(scram_client_accepts(&c, ret->login_result.final) == (status == IPC_OK));
        CHECK(status == IPC_OK || span_starts(ret->login_result.final, SPAN_LIT("e=")));
    } else {
        CHECK(span_starts(ret->scram_step.message, SPAN_LIT("e=")));
    }
    scram_client_done(&c);
    return status;
}

uint8_t attempt_external(struct peer *p, const struct attempt *a, bool trusted, struct span fingerprint,
                         struct ipc_message *ret)
{
    struct ipc_message ask = {.type = IPC_TYPE_LOGIN_EXTERNAL,
                              .login_external = {.session = attempt_session(p, a),
                                                 .service = service_of(a),
                                                 .trusted_peer = trusted,
                                                 .source = source_of(a),
                                                 .fingerprint = fingerprint,
                                                 .authzid = text(a->authzid)}};
    peer_call(p, &ask, ret);
    return ret->login_result.status;
}

struct attempt attempt_as(const char *user, const char *password)
{
    static unsigned next; /* another source each time: the pair rule has a number of its own */
    static char from[8][32];
    char *text = from[next % 8];
    snprintf(text, sizeof from[0], "10.%u.%u.1", next / 250 % 250, next % 250);
    next++;
    return (struct attempt){.from = text, .user = user, .password = password};
}

struct attempt attempt_bound(struct attempt a, const char *gs2, struct span bound)
{
    a.gs2 = gs2;
    a.bound = bound;
    a.plus_offered = true;
    a.exporter = SPAN_LIT("the exporter's thirty-two bytes.");
    a.end_point = SPAN_LIT("hash of the certificate");
    return a;
}

/* What the log must hold by now. */
void expect_log(struct world *w, const char *const *texts)
{
    struct buf _cleanup_buf_ log;
    buf_init(&log, 4 << 20);
    world_log(w, &log);
    for (; *texts; texts++)
        if (!strstr(buf_cstr(&log), *texts))
            fail("the log does not hold %s:\n%s", *texts, buf_cstr(&log));
}

/* ---- the command line ---- */

struct ipc_message account_hash(const char *name, const char *hash)
{
    struct ipc_message m = account_add(name, hash, 0);
    m.account_add.hashed = 1;
    return m;
}

struct ipc_message account_password(const char *name, const char *password)
{
    return (struct ipc_message){.type = IPC_TYPE_ACCOUNT_SET,
                                .account_set = {.address = span_str(name),
                                                .change = IPC_ACCOUNT_PASSWORD,
                                                .password = span_str(password)}};
}

struct ipc_message account_enabled(const char *name, bool enabled)
{
    return (struct ipc_message){
        .type = IPC_TYPE_ACCOUNT_SET,
        .account_set = {.address = span_str(name), .change = IPC_ACCOUNT_ENABLED, .enabled = enabled}};
}

const char *grant_add(struct peer *cli, const char *account, uint8_t kind, const char *name,
                      uint32_t protocols, uint64_t expires_at_s, struct span fingerprint, uint8_t status)
{
    static char password[65];
    struct ipc_message answer, ask = {.type = IPC_TYPE_GRANT_ADD,
                                      .grant_add = {.address = span_str(account),
                                                    .kind = kind,
                                                    .name = span_str(name),
                                                    .protocols = protocols,
                                                    .expires_at_s = expires_at_s,
                                                    .fingerprint = fingerprint}};
    peer_call(cli, &ask, &answer);
    const struct ipc_grant_added *r = &answer.grant_added;
    if (r->status != status)
        fail("grant %s: status %u (%.*s) instead of %u", name, r->status, SPAN_ARG(r->text), status);
    CHECK((status == IPC_OK) == (r->text.len == 0));
    CHECK((r->password.len > 0) == (status == IPC_OK && kind == IPC_GRANT_APP_PASSWORD));
    if (r->password.len > 0)
        memcpy(password, r->password.p, r->password.len);
    password[r->password.len] = 0;
    return password;
}

struct ipc_message grant_remove(const char *account, uint8_t kind, const char *name)
{
    return (struct ipc_message){
        .type = IPC_TYPE_GRANT_REMOVE,
        .grant_remove = {.address = span_str(account), .kind = kind, .name = span_str(name)}};
}

uint32_t grant_count(struct peer *cli, const char *account, uint8_t kind)
{
    struct ipc_message answer,
        ask = {.type = IPC_TYPE_GRANT_LIST, .grant_list = {.address = span_str(account), .kind = kind}};
    peer_call(cli, &ask, &answer);
    CHECK(answer.grant_rows.status == IPC_OK);
    for (uint32_t i = 0; i < answer.grant_rows.rows_count; i++)
        CHECK(kind == 0 || answer.grant_rows.rows[i].kind == kind);
    return answer.grant_rows.rows_count;
}

struct ipc_account_row account_row(struct peer *cli, const char *account)
{
    struct ipc_message answer, ask = {.type = IPC_TYPE_ACCOUNT_LIST};
    peer_call(cli, &ask, &answer);
    for (uint32_t i = 0; i < answer.account_rows.rows_count; i++)
        if (span_eq_str(answer.account_rows.rows[i].address, account))
            return answer.account_rows.rows[i];
    fail("there is no account %s", account);
}
