/* What is offered to a client, and who it turns out to be: STARTTLS, LOGIN, AUTHENTICATE. */
#include "base/err.h"
#include "os/clock.h"
#include "roles/imap/session_internal.h"

/* What the store and the pump answer for. */
enum {
    EXTENSIONS = IMAP_EXT_CONDSTORE | IMAP_EXT_QRESYNC | IMAP_EXT_SPECIAL_USE | IMAP_EXT_OBJECTID |
                 IMAP_EXT_SAVEDATE | IMAP_EXT_COMPRESS
};

void imap_greeting_offer(struct imap_session *s)
{
    struct imap_offer offer = {.starttls = edge_tls_possible(&s->edge),
                               .password = edge_login_possible(&s->edge)};

    offer.sasl = login_mechanisms(&s->edge, s->mechanisms);
    offer.extensions = EXTENSIONS;
    imap_server_offer(s->engine, &offer);
}

/* ---- TLS ------------------------------------------------------------------------------------------------
 */

void imap_greeting_starttls(struct imap_session *s)
{
    bool possible = edge_tls_possible(&s->edge);

    imap_server_starttls_done(s->engine, possible);
    net_pump_kick(s->pump);
    if (possible && edge_start_tls(&s->edge, s->pump))
        imap_session_end(s, IMAP_CLOSE_LOST);
}

static void greet(struct imap_session *s)
{
    s->greeted = true;
    imap_greeting_offer(s);
    imap_server_greet(s->engine, os_clock_mono_ms());
    net_pump_kick(s->pump);
}

void imap_greeting_secured(struct imap_session *s, const struct net_tls_info *info, size_t discarded)
{
    edge_secured(&s->edge, info, discarded);
    imap_server_tls_started(s->engine, os_clock_mono_ms());
    if (s->greeted)
        imap_greeting_offer(s);
    else
        greet(s);
}

void imap_greeting_admitted(struct imap_session *s)
{
    if (edge_admit(&s->edge, s->pump))
        imap_session_end(s, IMAP_CLOSE_LOST);
    else if (s->edge.stage == EDGE_OPEN)
        greet(s);
}

/* ---- logging in -------------------------------------------------------------------------------------------
 */

static void go_on(struct imap_session *s, enum login_next next)
{
    static const enum imap_login answers[] = {
        [LOGIN_OK] = IMAP_LOGIN_OK,
        [LOGIN_REFUSED] = IMAP_LOGIN_REFUSED,
        [LOGIN_EXPIRED] = IMAP_LOGIN_EXPIRED,
        [LOGIN_WEAK] = IMAP_LOGIN_WEAK,
        [LOGIN_MALFORMED] = IMAP_LOGIN_MALFORMED,
        [LOGIN_TRY_LATER] = IMAP_LOGIN_TRY_LATER,
    };

    switch (next) {
    case LOGIN_CHALLENGE:
        if (imap_server_auth_challenge(s->engine, login_challenge(&s->login))) {
            login_give_up(&s->login, &s->edge);
            imap_server_login_done(s->engine, IMAP_LOGIN_TRY_LATER);
        }
        imap_session_answered(s);
        break;
    case LOGIN_ASK:
        imap_session_wait_for(s, IMAP_WAIT_LOGIN);
        break;
    case LOGIN_DONE:
        *(login_outcome(&s->login) == LOGIN_OK ? &s->shared->logins : &s->shared->login_failures) += 1;
        imap_server_login_done(s->engine, answers[login_outcome(&s->login)]);
        if (login_outcome(&s->login) == LOGIN_OK)
            net_pump_input_max(s->pump, IMAP_INPUT_KNOWN_BYTES);
        imap_session_answered(s);
        break;
    }
}

void imap_greeting_login(struct imap_session *s, const struct imap_event *e)
{
    switch (e->type) {
    case IMAP_EVENT_LOGIN:
        go_on(s, login_password(&s->login, e->user, e->password));
        break;
    case IMAP_EVENT_AUTH:
        go_on(s, login_begin(&s->login, &s->edge, e->mechanism, e->has_response, e->response));
        break;
    case IMAP_EVENT_AUTH_RESPONSE:
        go_on(s, login_step(&s->login, &s->edge, e->response));
        break;
    default:
        login_cancel(&s->login, &s->edge);
        break;
    }
}

void imap_greeting_ask_login(struct imap_session *s)
{
    int rc = login_ask(&s->login, &s->edge, s->pump);

    if (rc == BRANT_ENOTFOUND || rc == BRANT_ELIMIT)
        imap_greeting_give_up_login(s);
}

void imap_greeting_answer_login(struct imap_session *s, const struct ipc_message *m)
{
    go_on(s, login_answer(&s->login, &s->edge, m));
}

void imap_greeting_give_up_login(struct imap_session *s)
{
    login_give_up(&s->login, &s->edge);
    go_on(s, LOGIN_DONE);
}
