#include "roles/store/logins.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "log/log.h"
#include "os/clock.h"
#include "roles/common/canonical.h"
#include "roles/store/defaults.h"
#include "roles/store/prepare.h"

enum { GRANTS_ARENA_BYTES = 128 * 1024 };

/* A refused login whose time has not come yet. */
struct login_answer {
    struct delayed delayed; /* first */
    struct session *session;
    uint64_t peer; /* serial */
    uint32_t tag;
    uint16_t type;
    uint8_t status;
    uint8_t final[LOGIN_FINAL_MAX];
    size_t final_len;
};

/* ---- answers ---- */

static void send_answer(struct peer *p, uint32_t tag, uint16_t type, uint8_t status, struct span final)
{
    struct ipc_message m = {.type = type, .tag = tag};
    if (type == IPC_TYPE_SCRAM_STEP) {
        m.scram_step.status = status;
        m.scram_step.message = final;
    } else {
        m.login_result.status = status;
        m.login_result.final = final;
    }
    server_send(p, &m);
}

static void delays_set_timer(struct server *sv)
{
    uint64_t now = server_now_ms(sv);
    struct delayed *first = sv->delays.first;
    if (first)
        net_timer_set(sv->delay_timer, first->due_ms > now ? first->due_ms - now : 0);
}

void logins_tick(void *context)
{
    struct server *sv = context;
    for (struct delayed *d; (d = delays_due(&sv->delays, server_now_ms(sv))) != NULL;) {
        struct login_answer *a = (struct login_answer *)d;
        struct peer *p = server_peer(sv, a->peer);
        a->session->answer = NULL;
        a->session->login_pending = false;
        if (p)
            send_answer(p, a->tag, a->type, a->status, span_make(a->final, a->final_len));
        free(a);
    }
    delays_set_timer(sv);
}

void logins_session_closed(struct server *sv, struct session *session)
{
    scram_exchange_free(session->scram);
    session->scram = NULL;
    if (session->answer) {
        delays_remove(&sv->delays, &session->answer->delayed);
        free(session->answer);
        session->answer = NULL;
    }
}

/* Answers when its time has come. */
static void answer_later(struct server *sv, const struct login *l, struct peer *p, struct session *session,
                         uint8_t status, struct span final)
{
    uint64_t now = server_now_ms(sv), due = delays_due_ms(l->asked_ms, sv->failure_delay_ms, now);
    struct login_answer *a = mem_zalloc(sizeof *a);
    *a = (struct login_answer){.session = session,
                               .peer = p->sessions.channel,
                               .tag = l->task.tag,
                               .type = l->answer,
                               .status = status};
    final = span_sub(final, 0, LOGIN_FINAL_MAX);
    if (final.len > 0)
        memcpy(a->final, final.p, final.len);
    a->final_len = final.len;
    session->login_pending = true;
    if (due > now && delays_add(&sv->delays, &a->delayed, due)) {
        session->answer = a;
        delays_set_timer(sv);
        return;
    }
    free(a);
    session->login_pending = false;
    if (due > now) { /* so many wait that nothing is told any more */
        status = IPC_TRY_LATER;
        final = SPAN_NONE;
    }
    send_answer(p, l->task.tag, l->answer, status, final);
}

/* ---- names ---- */

int login_name(const struct server *sv, struct span asked, struct buf *out)
{
    struct buf _cleanup_buf_ whole;
    buf_init(&whole, IPC_ADDRESS_MAX);
    if (sv->default_domain[0] == 0 || span_find_byte(asked, '@') != SPAN_NPOS)
        return canonical_address(asked, out);
    buf_append(&whole, asked);
    buf_append_byte(&whole, '@');
    buf_append_str(&whole, sv->default_domain);
    return whole.overflowed ? BRANT_ELIMIT : canonical_address(buf_span(&whole), out);
}

void login_init(struct server *sv, struct login *l, struct peer *p, struct session *session, uint32_t tag,
                uint16_t answer, uint8_t mechanism, bool tls, struct span asked)
{
    *l = (struct login){.task = {.peer = p->sessions.channel, .tag = tag},
                        .session = session->serial,
                        .answer = answer,
                        .asked_ms = server_now_ms(sv),
                        .id = session->id,
                        .service = session->service,
                        .mechanism = mechanism,
                        .tls = tls};
    buf_init(&l->asked, IPC_ADDRESS_MAX);
    buf_init(&l->name, IPC_ADDRESS_MAX);
    buf_init_secret(&l->secret, PREPARE_BYTES_MAX);
    buf_append(&l->asked, span_sub(asked, 0, IPC_ADDRESS_MAX));
    if (login_name(sv, asked, &l->name) != BRANT_OK) {
        l->doomed = "the name is no address";
        buf_append(&l->name, buf_span(&l->asked));
    }
    l->try.source = session->source;
    l->try.user = buf_span(&l->name);
}

void login_done(struct login *l)
{
    buf_done(&l->asked);
    buf_done(&l->name);
    buf_done(&l->secret);
}

void login_find(struct server *sv, struct login *l, struct store_account_info *ret)
{
    *ret = (struct store_account_info){.account = 0};
    if (l->doomed)
        return;
    if (store_account_find(sv->store, buf_span(&l->name), ret) != BRANT_OK) {
        l->doomed = "there is no such account";
        return;
    }
    l->account = ret->account;
    if (!(ret->options & STORE_ACCOUNT_ENABLED))
        l->doomed = "the account is disabled";
    l->try.known_good = known_is(&sv->known, l->account, &l->try.source, os_clock_wall_ms());
}

bool login_same(struct server *sv, const struct login *l, struct span authzid)
{
    struct buf _cleanup_buf_ name;
    buf_init(&name, IPC_ADDRESS_MAX);
    if (authzid.len == 0)
        return true;
    return login_name(sv, authzid, &name) == BRANT_OK && span_eq_nocase(buf_span(&name), buf_span(&l->name));
}

/* ---- the end of a login ---- */

static void log_login(const struct login *l, const char *event, const char *key, const char *text,
                      struct span address)
{
    bool local = l->try.source.family == IP_NONE;
    const struct log_field fields[] = {LOG_HEX("session", span_make(l->id.b, sizeof l->id.b)),
                                       LOG_STR("service", ipc_service_name(l->service)),
                                       LOG_STR("mechanism", ipc_mechanism_name(l->mechanism)),
                                       LOG_SPAN("user", buf_span(&l->asked)),
                                       LOG_SPAN("account", address),
                                       local ? LOG_STR("source", "local") : LOG_IP("source", &l->try.source),
                                       LOG_U64("tls", l->tls),
                                       LOG_STR(key, text),
                                       LOG_SPAN("name", l->credential)}; /* only where it has one */
    size_t count = sizeof fields / sizeof *fields;
    log_write(LOG_INFO, event, fields, l->credential.len > 0 ? count : count - 1);
}

bool login_begin_check(struct server *sv, struct login *l, struct span final)
{
    enum throttle_verdict verdict = throttle_begin(&sv->throttle, &l->try, server_now_ms(sv));
    l->counted = verdict == THROTTLE_GO;
    if (l->counted)
        return true;
    sv->login_counts.throttled++;
    login_wrong(sv, l, IPC_TRY_LATER, throttle_text(verdict), final);
    return false;
}

/* The throttle learns what became of a check. Only a wrong secret counts as a failure. */
static void settle(struct server *sv, struct login *l, bool passed, bool failed)
{
    uint64_t now = server_now_ms(sv);
    if (passed)
        throttle_passed(&sv->throttle, &l->try, now);
    else if (failed)
        throttle_failed(&sv->throttle, &l->try, now);
    else if (l->counted)
        throttle_unchecked(&sv->throttle, &l->try, now);
    l->counted = false;
}

void login_wrong(struct server *sv, struct login *l, enum ipc_status status, const char *reason,
                 struct span final)
{
    struct peer *p = server_peer(sv, l->task.peer);
    struct session *session = sessions_find_serial(&sv->sessions, l->session);
    settle(sv, l, false, l->counted && status == IPC_AUTH_FAILED);
    sv->login_counts.failed++;
    log_login(l, "login-failed", "reason", reason, l->account ? buf_span(&l->name) : SPAN_NONE);
    if (p && session)
        answer_later(sv, l, p, session, (uint8_t)status, final);
}

void login_right(struct server *sv, struct login *l, const char *credential, struct span final)
{
    struct peer *p = server_peer(sv, l->task.peer);
    struct session *session = sessions_find_serial(&sv->sessions, l->session);
    struct store_account_info info;
    int rc = store_account_get(sv->store, l->account, &info);
    bool usable = rc == BRANT_OK && (info.options & STORE_ACCOUNT_ENABLED);
    mem_wipe(info.verifier, sizeof info.verifier);
    mem_wipe(&info.scram, sizeof info.scram);
    if (!usable || !p || !session) {
        settle(sv, l, true, false);
        login_wrong(sv, l, IPC_AUTH_FAILED, usable ? "the client has left" : "the account is disabled",
                    SPAN_NONE);
        return;
    }
    settle(sv, l, true, false);
    known_add(&sv->known, l->account, &l->try.source, os_clock_wall_ms());
    sv->login_counts.right++;
    log_login(l, "login", "credential", credential, span_str(info.address));
    struct tokens_subject subject = {
        .account = l->account, .role = (uint8_t)p->role, .instance = p->instance, .session = session->id};
    uint8_t token[TOKENS_BYTES];
    struct ipc_message m = {.type = IPC_TYPE_LOGIN_RESULT, .tag = l->task.tag};
    m.login_result.account = l->account;
    m.login_result.address = span_str(info.address);
    m.login_result.final = final;
    if (tokens_make(&sv->tokens, &subject, token) == BRANT_OK) /* without one it can't be resumed */
        m.login_result.token = span_make(token, sizeof token);
    session->account = l->account;
    session->login_pending = server_serves(IPC_ROLE_IMAP, l->service) && defaults_due(&info);
    if (session->login_pending) /* what the client asks for next is there then */
        defaults_make(p, session, &info, &m);
    else
        server_send(p, &m);
    mem_wipe(token, sizeof token);
}

/* ---- app passwords ---- */

uint32_t login_protocol(uint8_t service)
{
    switch (service) {
    case IPC_SERVICE_POP3:
    case IPC_SERVICE_POP3S:
        return IPC_PROTOCOL_POP3;
    case IPC_SERVICE_IMAP:
    case IPC_SERVICE_IMAPS:
        return IPC_PROTOCOL_IMAP;
    default:
        return IPC_PROTOCOL_SUBMISSION;
    }
}

static enum login_app grant_verdict(const struct login *l, const struct store_grant *g)
{
    if (g->expires_ms != 0 && (int64_t)g->expires_ms <= os_clock_wall_ms())
        return LOGIN_APP_EXPIRED;
    return g->protocols & login_protocol(l->service) ? LOGIN_APP_RIGHT : LOGIN_APP_ELSEWHERE;
}

void login_take_credential(struct login *l, struct span name)
{
    name = span_sub(name, 0, STORE_GRANT_NAME_MAX);
    memcpy(l->credential_name, name.p, name.len);
    l->credential = span_make(l->credential_name, name.len);
}

enum login_app login_app_find(struct server *sv, struct login *l, login_app_matches *matches, void *context)
{
    struct arena _cleanup_arena_ arena;
    struct store_grant *grants = NULL;
    size_t count = 0;
    enum login_app found = LOGIN_APP_NONE;
    arena_init(&arena, GRANTS_ARENA_BYTES);
    if (l->account == 0 || l->doomed ||
        store_grants_get(sv->store, l->account, STORE_GRANT_APP_PASSWORD, &arena, &grants, &count) !=
            BRANT_OK)
        return LOGIN_APP_NONE;
    for (size_t i = 0; i < count; i++) {
        struct app_password app = {.sum = {0}};
        if (app_password_decode(grants[i].data, &app) == BRANT_OK && matches(context, &app)) {
            found = grant_verdict(l, &grants[i]);
            login_take_credential(l, grants[i].name);
        }
        mem_wipe(&app, sizeof app);
        mem_wipe((void *)(uintptr_t)grants[i].data.p, grants[i].data.len); /* the arena's copy */
    }
    return found;
}

void login_app_end(struct server *sv, struct login *l, enum login_app found, struct span right_final,
                   struct span wrong_final)
{
    if (found == LOGIN_APP_RIGHT)
        login_right(sv, l, "app password", right_final);
    else if (found == LOGIN_APP_EXPIRED)
        login_wrong(sv, l, IPC_EXPIRED, "the app password has expired", wrong_final);
    else {
        settle(sv, l, false, false); /* it was no guess */
        login_wrong(sv, l, IPC_AUTH_FAILED, "the app password is for other protocols", wrong_final);
    }
}

/* ---- sessions ---- */

struct session *login_session(struct server *sv, struct peer *p, const struct ipc_id *id, uint8_t service)
{
    struct session *session = sessions_find(&sv->sessions, &p->sessions, id);
    if (!session)
        server_fault(p, "a login for a session that is not open");
    else if (session->login_pending || session->account != 0)
        server_fault(p, "a second login in one session");
    else if (service != session->service)
        server_fault(p, "a login for a service that is not its session's");
    else
        return session;
    return NULL;
}

void on_resume(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_resume *r = &m->resume;
    struct ipc_message answer = {.type = IPC_TYPE_RESUME_RESULT, .tag = m->tag};
    struct tokens_subject subject = {
        .account = r->account, .role = (uint8_t)p->role, .instance = p->instance, .session = r->session};
    struct store_account_info info = {0};
    if (!server_serves(p->role, r->service) || (r->maildrop_held && p->role != IPC_ROLE_POP3)) {
        server_fault(p, "a session resumed that is not its own");
        return;
    }
    bool admitted = r->account != 0 && tokens_verify(&sv->tokens, &subject, r->token) &&
                    store_account_get(sv->store, r->account, &info) == BRANT_OK &&
                    (info.options & STORE_ACCOUNT_ENABLED);
    mem_wipe(&info, sizeof info);
    struct session *session;
    if (!admitted) {
        answer.resume_result.status = IPC_AUTH_FAILED;
    } else if (sessions_open(&sv->sessions, &p->sessions, &r->session, r->service, &r->source, false,
                             &session) != BRANT_OK) {
        server_fault(p, "a session resumed that is open");
        return;
    } else {
        session->account = r->account;
        if (r->maildrop_held && sessions_maildrop_lock(&sv->sessions, session) != BRANT_OK) {
            sessions_close(&sv->sessions, session);
            answer.resume_result.status = IPC_IN_USE;
        }
    }
    server_send(p, &answer);
}
