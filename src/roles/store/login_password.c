/* Logging in with a name and a password: PLAIN, LOGIN, and PASS of POP3. */
#include <openssl/crypto.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "log/log.h"
#include "roles/store/logins.h"
#include "roles/store/prepare.h"

enum { UPGRADE_ARENA_BYTES = 4096 };

/* ---- verifiers that an account lacks, made when its password is there ---- */

/* The hash is on its way (task), then the change (op). */
struct upgrade {
    struct op op; /* first */
    struct password_task task;
};

static struct upgrade *upgrade_of(struct password_task *t)
{
    return (struct upgrade *)((char *)t - offsetof(struct upgrade, task));
}

static void upgrade_done(struct op *op)
{
    log_event(LOG_INFO, "account-verifiers-made", LOG_SPAN("account", op->store.account.address),
              LOG_STR("result", brant_err_text(op->store.result)));
    op_free(op);
}

static void upgrade_drop(struct password_task *t)
{
    op_free(&upgrade_of(t)->op);
}

/* Whoever set another password meanwhile wins. */
static void upgrade_hashed(struct server *sv, struct password_task *t, const struct passwords_result *r)
{
    struct upgrade *u = upgrade_of(t);
    struct store_account *s = &u->op.store.account;
    (void)sv;
    if (r->outcome != PASSWORDS_HASHED) {
        op_free(&u->op);
        return;
    }
    s->set = STORE_SET_VERIFIER | STORE_SET_SCRAM | STORE_SET_IF_VERIFIER;
    s->verifier =
        verifier_is_argon2id(s->expected) ? s->expected : arena_dup(&u->op.arena, span_str(r->verifier));
    s->scram.iterations = r->keys.iterations;
    memcpy(s->scram.stored_key, r->keys.stored, sizeof s->scram.stored_key);
    memcpy(s->scram.server_key, r->keys.server, sizeof s->scram.server_key);
    op_submit(&u->op);
}

static bool is_complete(const struct store_account_info *info)
{
    return verifier_is_argon2id(span_make(info->verifier, info->verifier_len)) && info->scram.iterations > 0;
}

static void upgrade_submit(struct server *sv, const struct login *l, const struct store_account_info *info)
{
    struct span verifier = span_make(info->verifier, info->verifier_len), password = buf_span(&l->secret);
    struct upgrade *u = op_new(sv, sizeof *u, UPGRADE_ARENA_BYTES);
    u->op.finish = upgrade_done;
    u->op.store.kind = STORE_OP_ACCOUNT_SET;
    u->op.store.account = (struct store_account){.address = arena_dup(&u->op.arena, span_str(info->address)),
                                                 .expected = arena_dup(&u->op.arena, verifier)};
    u->task = (struct password_task){.finish = upgrade_hashed, .drop = upgrade_drop};
    uint64_t id = server_serial(sv);
    enum passwords_outcome outcome =
        verifier_is_argon2id(verifier)
            ? passwords_keys(sv->passwords, id, password, info->scram.salt, SCRAM_KEYS_ITERATIONS)
            : passwords_hash(sv->passwords, id, password, info->scram.salt);
    if (outcome == PASSWORDS_PENDING)
        map_put(&sv->logins, map_u64_key(&id), &u->task);
    else
        op_free(&u->op);
}

/* The login is answered; this goes on behind it, and not at all while much is asked for. */
static void upgrade_start(struct server *sv, const struct login *l)
{
    struct store_account_info info = {.account = 0};
    if (l->secret.len > 0 && passwords_pending(sv->passwords) <= SERVER_LOGINS_MAX / 2 &&
        store_account_get(sv->store, l->account, &info) == BRANT_OK && !is_complete(&info))
        upgrade_submit(sv, l, &info);
    mem_wipe(&info, sizeof info);
}

/* ---- the check ---- */

static void succeed(struct server *sv, struct login *l)
{
    login_right(sv, l, "password", SPAN_NONE);
    upgrade_start(sv, l);
}

static void end(struct server *sv, struct login *l, enum passwords_outcome outcome)
{
    if (outcome == PASSWORDS_RIGHT)
        succeed(sv, l);
    else if (outcome == PASSWORDS_WRONG)
        login_wrong(sv, l, IPC_AUTH_FAILED, l->doomed ? l->doomed : "the password is wrong", SPAN_NONE);
    else if (outcome == PASSWORDS_BUSY)
        login_wrong(sv, l, IPC_TRY_LATER, "too many passwords are being checked", SPAN_NONE);
    else
        login_wrong(sv, l, IPC_TRY_LATER, "no memory to check the password", SPAN_NONE);
}

static void login_free(struct login *l)
{
    login_done(l);
    free(l);
}

static void login_drop(struct password_task *t)
{
    login_free((struct login *)t);
}

static void login_checked(struct server *sv, struct password_task *t, const struct passwords_result *r)
{
    struct login *l = (struct login *)t;
    struct session *session = sessions_find_serial(&sv->sessions, l->session);
    if (session)
        session->login_pending = false;
    end(sv, l, r->outcome);
    login_free(l);
}

static bool sum_matches(void *context, const struct app_password *app)
{
    return CRYPTO_memcmp(context, app->sum, sizeof app->sum) == 0;
}

/* App passwords need no hashing thread, and are neither throttled nor counted: nobody guesses one, and so an
 * account under attack stays open to its owner's devices. True: the login has ended. */
static bool quick(struct server *sv, struct login *l, struct span password)
{
    uint8_t sum[32];
    if (l->doomed || password.len == 0)
        return false;
    app_password_sum(password, sum);
    enum login_app found = login_app_find(sv, l, sum_matches, sum);
    mem_wipe(sum, sizeof sum);
    if (found != LOGIN_APP_NONE)
        login_app_end(sv, l, found, SPAN_NONE, SPAN_NONE);
    return found != LOGIN_APP_NONE;
}

/* A password that is remembered to be right is throttled like any other: who may not guess may not guess that
 * one either. An unknown user, or one who may not log in, has no verifier: as slow as a wrong password, and
 * answered the same. */
static bool slow(struct server *sv, struct login *l, const struct store_account_info *info,
                 struct session *session, struct span password)
{
    uint64_t id = server_serial(sv);
    struct span verifier = l->doomed ? SPAN_NONE : span_make(info->verifier, info->verifier_len);
    if (!login_begin_check(sv, l, SPAN_NONE))
        return false;
    l->task.finish = login_checked;
    l->task.drop = login_drop;
    enum passwords_outcome outcome =
        passwords_verify(sv->passwords, id, l->account, password, verifier, server_now_ms(sv));
    if (outcome != PASSWORDS_PENDING) {
        end(sv, l, outcome);
        return false;
    }
    session->login_pending = true;
    map_put(&sv->logins, map_u64_key(&id), &l->task);
    return true;
}

/* Why no password can be right, for the log. */
static void look_for_doom(struct server *sv, struct login *l, const struct store_account_info *info,
                          const struct ipc_login *q, const struct buf *password)
{
    if (l->doomed)
        return;
    if (!login_same(sv, l, q->authzid))
        l->doomed = "one account can't act as another";
    else if (info->verifier_len == 0 && info->grants == 0)
        l->doomed = "the account has no password";
    else if (password->len == 0)
        l->doomed = "no password has such characters";
}

void on_login(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_login *q = &m->login;
    struct session *session = login_session(sv, p, &q->session, q->service);
    if (!session)
        return;
    if (q->mechanism > IPC_MECHANISM_LOGIN) {
        server_fault(p, "a password for a mechanism that has none");
        return;
    }
    scram_exchange_free(session->scram);
    session->scram = NULL;
    struct login *l = mem_zalloc(sizeof *l);
    login_init(sv, l, p, session, m->tag, IPC_TYPE_LOGIN_RESULT, q->mechanism, q->tls, q->user);
    struct store_account_info info;
    struct buf _cleanup_buf_ password;
    buf_init_secret(&password, PREPARE_BYTES_MAX);
    (void)prepare_opaque(q->password, &password); /* empty when there is no such password */
    login_find(sv, l, &info);
    look_for_doom(sv, l, &info, q, &password);
    if (!l->doomed && !is_complete(&info))
        buf_append(&l->secret, buf_span(&password));
    bool waits = !quick(sv, l, buf_span(&password)) && slow(sv, l, &info, session, buf_span(&password));
    mem_wipe(&info, sizeof info);
    if (!waits)
        login_free(l);
}
