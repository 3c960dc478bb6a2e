#include "roles/common/login.h"

#include "base/err.h"

void login_init(struct login *l)
{
    *l = (struct login){0};
    buf_init(&l->out, IPC_SASL_MAX);
}

void login_done(struct login *l)
{
    sasl_server_end(&l->sasl);
    buf_done(&l->out);
}

enum login_outcome login_outcome(const struct login *l)
{
    return l->outcome;
}

struct span login_challenge(const struct login *l)
{
    return l->event.type == SASL_CHALLENGE ? l->event.challenge : buf_span(&l->out);
}

/* ---- what is offered --------------------------------------------------------------------------------------
 */

static unsigned offered(const struct edge *e)
{
    unsigned set = SASL_MECHANISM_SCRAM_SHA_256 | SASL_MECHANISM_PLAIN | SASL_MECHANISM_LOGIN;

    if (!edge_login_possible(e))
        return 0;
    if (e->secured)
        set |= SASL_MECHANISM_SCRAM_SHA_256_PLUS;
    if (e->has_certificate || e->trusted_peer)
        set |= SASL_MECHANISM_EXTERNAL;
    return set;
}

const char *login_mechanisms(const struct edge *e, char text[SASL_MECHANISMS_TEXT_MAX])
{
    return sasl_mechanisms_text(offered(e), text);
}

static enum ipc_mechanism mechanism_of(const struct sasl_server *x)
{
    switch (x->mechanism) {
    case SASL_MECHANISM_PLAIN:
        return IPC_MECHANISM_PLAIN;
    case SASL_MECHANISM_LOGIN:
        return IPC_MECHANISM_LOGIN;
    case SASL_MECHANISM_SCRAM_SHA_256:
        return IPC_MECHANISM_SCRAM_SHA_256;
    case SASL_MECHANISM_SCRAM_SHA_256_PLUS:
        return IPC_MECHANISM_SCRAM_SHA_256_PLUS;
    case SASL_MECHANISM_EXTERNAL:
        return IPC_MECHANISM_EXTERNAL;
    default:
        return IPC_MECHANISM_NONE;
    }
}

/* ---- the exchange -----------------------------------------------------------------------------------------
 */

static enum login_next over(struct login *l, enum login_outcome outcome)
{
    sasl_server_end(&l->sasl);
    buf_done(&l->out);
    l->event = (struct sasl_event){.type = SASL_MALFORMED};
    l->scram_begun = l->succeeded = false;
    l->outcome = outcome;
    return LOGIN_DONE;
}

static enum login_next take(struct login *l, struct edge *e, bool has_response, struct span response)
{
    switch (sasl_server_step(&l->sasl, has_response, response, &l->event)) {
    case SASL_CHALLENGE:
        return LOGIN_CHALLENGE;
    case SASL_PASSWORD:
    case SASL_EXTERNAL:
    case SASL_SCRAM_FIRST:
        return LOGIN_ASK;
    case SASL_SCRAM_FINAL:
        return l->scram_begun ? LOGIN_ASK : over(l, LOGIN_TRY_LATER);
    case SASL_FINISHED:
        return over(l, LOGIN_OK);
    case SASL_MALFORMED:
        break;
    }
    if (l->succeeded || l->scram_begun) /* the store has made up its mind, or keeps half of an exchange */
        edge_leave(e);
    return over(l, LOGIN_MALFORMED);
}

enum login_next login_begin(struct login *l, struct edge *e, struct span mechanism, bool has_response,
                            struct span response)
{
    unsigned set = offered(e);

    l->plus_offered = (set & SASL_MECHANISM_SCRAM_SHA_256_PLUS) != 0;
    if (sasl_server_begin(&l->sasl, mechanism, set))
        return over(l, LOGIN_WEAK);
    l->mechanism = mechanism_of(&l->sasl);
    return take(l, e, has_response, response);
}

enum login_next login_step(struct login *l, struct edge *e, struct span response)
{
    return take(l, e, true, response);
}

enum login_next login_password(struct login *l, struct span user, struct span password)
{
    l->mechanism = IPC_MECHANISM_PASSWORD;
    l->event = (struct sasl_event){.type = SASL_PASSWORD, .user = user, .password = password};
    return LOGIN_ASK;
}

/* ---- asking the store -------------------------------------------------------------------------------------
 */

static struct ipc_message password_question(const struct login *l, const struct edge *e)
{
    return (struct ipc_message){.type = IPC_TYPE_LOGIN,
                                .login = {.session = e->peer.session,
                                          .service = (uint8_t)e->service,
                                          .mechanism = (uint8_t)l->mechanism,
                                          .tls = e->secured,
                                          .source = e->source,
                                          .authzid = l->event.authzid,
                                          .user = l->event.user,
                                          .password = l->event.password}};
}

static struct ipc_message external_question(const struct login *l, const struct edge *e)
{
    struct span fingerprint = span_make(e->fingerprint, e->has_certificate ? sizeof e->fingerprint : 0);

    return (struct ipc_message){.type = IPC_TYPE_LOGIN_EXTERNAL,
                                .login_external = {.session = e->peer.session,
                                                   .service = (uint8_t)e->service,
                                                   .trusted_peer = e->trusted_peer,
                                                   .source = e->source,
                                                   .fingerprint = fingerprint,
                                                   .authzid = l->event.authzid}};
}

static int ask_scram_begin(const struct login *l, struct edge *e, struct net_pump *pump)
{
    uint8_t end_point[NET_TLS_BINDING_MAX], exporter[NET_TLS_BINDING_MAX];
    size_t end_point_len = 0, exporter_len = 0;

    if (e->secured) {
        end_point_len = net_pump_tls_binding(pump, NET_TLS_SERVER_END_POINT, end_point);
        exporter_len = net_pump_tls_binding(pump, NET_TLS_EXPORTER, exporter);
    }
    struct ipc_message m = {.type = IPC_TYPE_SCRAM_BEGIN,
                            .scram_begin = {.session = e->peer.session,
                                            .service = (uint8_t)e->service,
                                            .mechanism = (uint8_t)l->mechanism,
                                            .tls = e->secured,
                                            .plus_offered = l->plus_offered,
                                            .source = e->source,
                                            .binding_end_point = span_make(end_point, end_point_len),
                                            .binding_exporter = span_make(exporter, exporter_len),
                                            .message = l->event.message}};
    return store_peer_ask(&e->peer, &m);
}

int login_ask(struct login *l, struct edge *e, struct net_pump *pump)
{
    struct ipc_message m;

    switch (l->event.type) {
    case SASL_PASSWORD:
        m = password_question(l, e);
        return store_peer_ask(&e->peer, &m);
    case SASL_EXTERNAL:
        m = external_question(l, e);
        return store_peer_ask(&e->peer, &m);
    case SASL_SCRAM_FIRST:
        return ask_scram_begin(l, e, pump);
    case SASL_SCRAM_FINAL:
        if (!l->scram_begun) /* it died with the store that kept it */
            return BRANT_ENOTFOUND;
        m = (struct ipc_message){.type = IPC_TYPE_SCRAM_FINISH,
                                 .scram_finish = {.session = e->peer.session, .message = l->event.message}};
        return store_peer_ask(&e->peer, &m);
    default:
        return BRANT_ESTATE;
    }
}

/* ---- answers of the store ---------------------------------------------------------------------------------
 */

static enum login_outcome outcome_of(uint8_t status)
{
    switch (status) {
    case IPC_AUTH_FAILED:
    case IPC_REFUSED:
        return LOGIN_REFUSED;
    case IPC_EXPIRED:
        return LOGIN_EXPIRED;
    case IPC_WEAK:
        return LOGIN_WEAK;
    case IPC_INVALID:
        return LOGIN_MALFORMED;
    default:
        return LOGIN_TRY_LATER;
    }
}

static enum login_next challenge(struct login *l, struct span bytes)
{
    l->event = (struct sasl_event){.type = SASL_SCRAM_FIRST}; /* its spans end with the answer */
    buf_reset(&l->out);
    buf_append(&l->out, bytes); /* both have the same maximum */
    return LOGIN_CHALLENGE;
}

enum login_next login_answer(struct login *l, struct edge *e, const struct ipc_message *m)
{
    if (m->type == IPC_TYPE_SCRAM_STEP) {
        if (m->scram_step.status != IPC_OK)
            return over(l, outcome_of(m->scram_step.status));
        l->scram_begun = true;
        return challenge(l, m->scram_step.message);
    }
    const struct ipc_login_result *r = &m->login_result;

    l->scram_begun = false;
    if (r->status != IPC_OK)
        return over(l, outcome_of(r->status));
    if (!edge_logged_in(e, r)) {
        edge_leave(e);
        return over(l, LOGIN_TRY_LATER);
    }
    if (r->final.len == 0)
        return over(l, LOGIN_OK);
    l->succeeded = true;
    return challenge(l, r->final);
}

void login_store_lost(struct login *l)
{
    l->scram_begun = false;
}

void login_give_up(struct login *l, struct edge *e)
{
    edge_leave(e);
    over(l, LOGIN_TRY_LATER);
}

void login_cancel(struct login *l, struct edge *e)
{
    if (l->succeeded || l->scram_begun)
        edge_leave(e);
    over(l, LOGIN_REFUSED);
}
