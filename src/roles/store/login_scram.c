/* SCRAM-SHA-256 and -PLUS (RFC 5802, RFC 7677): the server's side of the exchange.
 *
 * Names that do not exist, or may not log in, or have no keys, get a salt and the usual count like any other,
 * and fail at the end. App passwords have keys of their own with the account's salt and are tried in the same
 * exchange. */
#include <openssl/crypto.h>
#include <stdlib.h>

#include "base/codec.h"
#include "base/err.h"
#include "base/mem.h"
#include "log/log.h"
#include "os/random.h"
#include "roles/store/logins.h"
#include "sasl/scram.h"

enum { NONCE_BYTES = 18, AUTH_MESSAGE_MAX = 3 * SCRAM_MESSAGE_BYTES_MAX };

/* Between server-first and client-final; of a session. */
struct scram_exchange {
    struct scram_client_first first; /* points into first_text */
    struct buf first_text, server_first, server_nonce, user;
    struct span binding; /* the data the client must bind to; in binding_data */
    uint8_t binding_data[IPC_BINDING_MAX];
    uint8_t mechanism;
    bool tls;
    uint32_t iterations;
};

void scram_exchange_free(struct scram_exchange *x)
{
    if (!x)
        return;
    buf_done(&x->first_text);
    buf_done(&x->server_first);
    buf_done(&x->server_nonce);
    buf_done(&x->user);
    free(x);
}

static struct scram_exchange *exchange_new(const struct ipc_scram_begin *q)
{
    struct scram_exchange *x = mem_zalloc(sizeof *x);
    buf_init(&x->first_text, SCRAM_MESSAGE_BYTES_MAX);
    buf_init(&x->server_first, SCRAM_MESSAGE_BYTES_MAX);
    buf_init(&x->server_nonce, 2 * NONCE_BYTES);
    buf_init(&x->user, IPC_ADDRESS_MAX);
    x->mechanism = q->mechanism;
    x->tls = q->tls;
    buf_append(&x->first_text, q->message);
    return x;
}

/* ---- client-first ---- */

/* RFC 9266, RFC 5929: what this connection has of the kind that the client names. */
static struct span binding_data(const struct ipc_scram_begin *q, struct span name)
{
    if (span_eq_str(name, "tls-exporter"))
        return q->binding_exporter;
    return span_eq_str(name, "tls-server-end-point") ? q->binding_end_point : SPAN_NONE;
}

static enum scram_error take_first(struct scram_exchange *x, const struct ipc_scram_begin *q)
{
    enum scram_error e = scram_client_first_parse(buf_span(&x->first_text), &x->first);
    if (e != SCRAM_OK)
        return e;
    struct span data = binding_data(q, x->first.binding_name);
    e = scram_binding_check(&x->first, x->mechanism == IPC_MECHANISM_SCRAM_SHA_256_PLUS, q->plus_offered,
                            data.len > 0);
    if (e == SCRAM_OK && x->first.flag == SCRAM_BINDING_REQUIRED) {
        memcpy(x->binding_data, data.p, data.len);
        x->binding = span_make(x->binding_data, data.len);
    }
    if (e == SCRAM_OK && scram_name_decode(x->first.user, &x->user) != BRANT_OK)
        e = SCRAM_INVALID_USERNAME_ENCODING;
    return e;
}

/* Somebody between the client and us took -PLUS from the list of mechanisms (RFC 5802 6), or the client is
 * broken. */
static void log_downgrade(const struct login *l)
{
    log_event(LOG_WARNING, "login-downgrade", LOG_HEX("session", span_make(l->id.b, sizeof l->id.b)),
              LOG_SPAN("user", buf_span(&l->asked)), LOG_IP("source", &l->try.source),
              LOG_STR("meaning", "the client did not see that SCRAM-SHA-256-PLUS is offered"));
}

static void fail_with(struct server *sv, struct login *l, enum scram_error e)
{
    struct buf _cleanup_buf_ final;
    buf_init(&final, LOGIN_FINAL_MAX);
    scram_error_compose(&final, e);
    login_wrong(sv, l, IPC_AUTH_FAILED, scram_error_text(e), buf_span(&final));
}

/* Salt and count are there for every name, and looked for in the same way. */
static void say_first(struct server *sv, struct login *l, struct scram_exchange *x)
{
    uint8_t salt[SCRAM_KEYS_SALT_BYTES], nonce[NONCE_BYTES];
    struct store_account_info info;
    scram_keys_salt(sv->secret, buf_span(&l->name), salt);
    login_find(sv, l, &info);
    if (info.account != 0)
        memcpy(salt, info.scram.salt, sizeof salt);
    x->iterations = info.scram.iterations > 0 ? info.scram.iterations : SCRAM_KEYS_ITERATIONS;
    mem_wipe(&info, sizeof info);
    os_random_fill(nonce, sizeof nonce);
    codec_base64_encode(&x->server_nonce, span_make(nonce, sizeof nonce));
    scram_server_first_compose(&x->server_first, x->first.nonce, buf_span(&x->server_nonce),
                               span_make(salt, sizeof salt), x->iterations);
}

/* True: it goes on, and the exchange is the session's. */
static bool begin(struct server *sv, struct peer *p, struct session *session, struct scram_exchange *x,
                  const struct ipc_message *m)
{
    enum scram_error e = take_first(x, &m->scram_begin);
    struct login l;
    login_init(sv, &l, p, session, m->tag, IPC_TYPE_SCRAM_STEP, x->mechanism, x->tls, buf_span(&x->user));
    if (e == SCRAM_SERVER_DOES_SUPPORT_CHANNEL_BINDING)
        log_downgrade(&l);
    if (e == SCRAM_OK)
        say_first(sv, &l, x);
    else
        fail_with(sv, &l, e);
    login_done(&l);
    return e == SCRAM_OK;
}

void on_scram_begin(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_scram_begin *q = &m->scram_begin;
    struct session *session = login_session(sv, p, &q->session, q->service);
    if (!session)
        return;
    if (q->mechanism != IPC_MECHANISM_SCRAM_SHA_256 && q->mechanism != IPC_MECHANISM_SCRAM_SHA_256_PLUS) {
        server_fault(p, "a SCRAM exchange of another mechanism");
        return;
    }
    scram_exchange_free(session->scram); /* the client gave the former up */
    session->scram = NULL;
    struct scram_exchange *x = exchange_new(q);
    if (!begin(sv, p, session, x, m)) {
        scram_exchange_free(x);
        return;
    }
    session->scram = x;
    server_send(p, &(struct ipc_message){.type = IPC_TYPE_SCRAM_STEP,
                                         .tag = m->tag,
                                         .scram_step = {.message = buf_span(&x->server_first)}});
}

/* ---- client-final ---- */

static enum scram_error take_final(const struct scram_exchange *x, struct span message,
                                   struct scram_client_final *ret)
{
    enum scram_error e = scram_client_final_parse(message, ret);
    if (e != SCRAM_OK)
        return e;
    if (!scram_nonce_matches(ret, x->first.nonce, buf_span(&x->server_nonce)))
        return SCRAM_OTHER_ERROR;
    return scram_binding_matches(ret, x->first.gs2_header, x->binding) ? SCRAM_OK
                                                                       : SCRAM_CHANNEL_BINDINGS_DONT_MATCH;
}

/* What is proved, and with which keys it was: theirs sign the answer. */
struct proof {
    struct span auth_message;
    const uint8_t *proof;
    uint32_t iterations;
    uint8_t signature[SCRAM_KEYS_BYTES];
};

static bool proves(struct proof *p, const struct scram_keys *keys)
{
    uint8_t signature[SCRAM_KEYS_BYTES];
    scram_keys_sign(keys, p->auth_message, signature);
    bool right = scram_keys_prove(keys, p->auth_message, p->proof) && keys->iterations == p->iterations;
    if (right)
        memcpy(p->signature, signature, sizeof signature);
    mem_wipe(signature, sizeof signature);
    return right;
}

static bool app_proves(void *context, const struct app_password *app)
{
    return proves(context, &app->keys);
}

/* The account's own keys; a name without any is checked against none, which takes as long. */
static bool main_proves(struct proof *p, const struct login *l, const struct store_account_info *info)
{
    struct scram_keys keys = {.iterations = l->doomed ? 0 : info->scram.iterations};
    memcpy(keys.stored, info->scram.stored_key, sizeof keys.stored);
    memcpy(keys.server, info->scram.server_key, sizeof keys.server);
    bool right = proves(p, &keys);
    mem_wipe(&keys, sizeof keys);
    return right;
}

/* App passwords come first, and are not throttled: nobody guesses one. The account's own is not even looked
 * at while it is throttled. */
static void judge(struct server *sv, struct login *l, const struct store_account_info *info,
                  struct proof *proof)
{
    struct buf _cleanup_buf_ final;
    buf_init(&final, LOGIN_FINAL_MAX);
    enum login_app app = login_app_find(sv, l, app_proves, proof);
    if (app == LOGIN_APP_NONE && !login_begin_check(sv, l, SPAN_LIT("e=other-error")))
        return;
    bool right = app == LOGIN_APP_NONE && main_proves(proof, l, info);
    scram_server_final_compose(&final, span_make(proof->signature, sizeof proof->signature));
    if (app != LOGIN_APP_NONE)
        login_app_end(sv, l, app, buf_span(&final), SPAN_LIT("e=other-error"));
    else if (right)
        login_right(sv, l, "password", buf_span(&final));
    else
        login_wrong(sv, l, IPC_AUTH_FAILED,
                    l->doomed                     ? l->doomed
                    : info->scram.iterations == 0 ? "the account has no keys for SCRAM yet"
                                                  : "the proof is wrong",
                    SPAN_LIT("e=invalid-proof"));
}

/* The client has said all it has to say. */
static void take_proof(struct server *sv, struct login *l, const struct scram_exchange *x,
                       const struct scram_client_final *f)
{
    struct store_account_info info;
    struct buf _cleanup_buf_ auth_message;
    buf_init(&auth_message, AUTH_MESSAGE_MAX);
    scram_auth_message_compose(&auth_message, x->first.bare, buf_span(&x->server_first), f->without_proof);
    struct proof proof = {
        .auth_message = buf_span(&auth_message), .proof = f->proof, .iterations = x->iterations};
    login_find(sv, l, &info);
    judge(sv, l, &info, &proof);
    mem_wipe(&info, sizeof info);
    mem_wipe(&proof, sizeof proof);
}

static bool authzid_fits(struct server *sv, const struct login *l, const struct scram_exchange *x)
{
    struct buf _cleanup_buf_ authzid;
    buf_init(&authzid, SCRAM_NAME_BYTES_MAX);
    if (x->first.authzid.len == 0)
        return true;
    return scram_name_decode(x->first.authzid, &authzid) == BRANT_OK && login_same(sv, l, buf_span(&authzid));
}

void on_scram_finish(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_scram_finish *q = &m->scram_finish;
    struct session *session = sessions_find(&sv->sessions, &p->sessions, &q->session);
    session = login_session(sv, p, &q->session, session ? session->service : 0);
    if (!session)
        return;
    struct scram_exchange *x = session->scram;
    if (!x) { /* begun with the store before this one, or refused */
        server_send(p, &(struct ipc_message){.type = IPC_TYPE_LOGIN_RESULT,
                                             .tag = m->tag,
                                             .login_result = {.status = IPC_TRY_LATER}});
        return;
    }
    session->scram = NULL;
    struct scram_client_final final = {.nonce = SPAN_NONE};
    struct login l;
    login_init(sv, &l, p, session, m->tag, IPC_TYPE_LOGIN_RESULT, x->mechanism, x->tls, buf_span(&x->user));
    enum scram_error e = take_final(x, q->message, &final);
    if (e == SCRAM_OK && !authzid_fits(sv, &l, x))
        l.doomed = "one account can't act as another";
    if (e == SCRAM_OK)
        take_proof(sv, &l, x, &final);
    else
        fail_with(sv, &l, e);
    login_done(&l);
    scram_exchange_free(x);
}
