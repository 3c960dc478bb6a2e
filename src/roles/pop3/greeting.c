/* What is offered to a client, and who it turns out to be: STLS, USER and PASS, AUTH. */
#include "base/err.h"
#include "os/clock.h"
#include "roles/pop3/session_internal.h"

void pop3_greeting_offer(struct pop3_session *s)
{
    struct pop3_offer offer = {.stls = edge_tls_possible(&s->edge),
                               .password = edge_login_possible(&s->edge)};

    offer.sasl = login_mechanisms(&s->edge, s->mechanisms);
    pop3_server_offer(s->engine, &offer);
}

/* ---- TLS ------------------------------------------------------------------------------------------------
 */

void pop3_greeting_stls(struct pop3_session *s)
{
    bool possible = edge_tls_possible(&s->edge);

    pop3_server_stls_done(s->engine, possible);
    net_pump_kick(s->pump);
    if (possible && edge_start_tls(&s->edge, s->pump))
        pop3_session_end(s, POP3_CLOSE_LOST);
}

static void greet(struct pop3_session *s)
{
    s->greeted = true;
    pop3_greeting_offer(s);
    pop3_server_greet(s->engine, os_clock_mono_ms());
    net_pump_kick(s->pump);
}

void pop3_greeting_secured(struct pop3_session *s, const struct net_tls_info *info, size_t discarded)
{
    edge_secured(&s->edge, info, discarded);
    pop3_server_tls_started(s->engine, os_clock_mono_ms());
    if (s->greeted)
        pop3_greeting_offer(s);
    else
        greet(s);
}

void pop3_greeting_admitted(struct pop3_session *s)
{
    if (edge_admit(&s->edge, s->pump))
        pop3_session_end(s, POP3_CLOSE_LOST);
    else if (s->edge.stage == EDGE_OPEN)
        greet(s);
}

/* ---- logging in -------------------------------------------------------------------------------------------
 */

static void go_on(struct pop3_session *s, enum login_next next)
{
    static const enum pop3_login answers[] = {
        [LOGIN_OK] = POP3_LOGIN_OK,
        [LOGIN_REFUSED] = POP3_LOGIN_REFUSED,
        [LOGIN_EXPIRED] = POP3_LOGIN_EXPIRED,
        [LOGIN_WEAK] = POP3_LOGIN_WEAK,
        [LOGIN_MALFORMED] = POP3_LOGIN_MALFORMED,
        [LOGIN_TRY_LATER] = POP3_LOGIN_TRY_LATER,
    };

    switch (next) {
    case LOGIN_CHALLENGE:
        if (pop3_server_auth_challenge(s->engine, login_challenge(&s->login))) {
            login_give_up(&s->login, &s->edge);
            pop3_server_login_done(s->engine, POP3_LOGIN_TRY_LATER);
        }
        pop3_session_answered(s);
        break;
    case LOGIN_ASK:
        pop3_session_wait_for(s, POP3_WAIT_LOGIN);
        break;
    case LOGIN_DONE:
        *(login_outcome(&s->login) == LOGIN_OK ? &s->shared->logins : &s->shared->login_failures) += 1;
        pop3_server_login_done(s->engine, answers[login_outcome(&s->login)]);
        pop3_session_answered(s);
        break;
    }
}

void pop3_greeting_login(struct pop3_session *s, const struct pop3_event *e)
{
    switch (e->type) {
    case POP3_EVENT_LOGIN:
        go_on(s, login_password(&s->login, e->user, e->password));
        break;
    case POP3_EVENT_AUTH:
        go_on(s, login_begin(&s->login, &s->edge, e->mechanism, e->has_response, e->response));
        break;
    case POP3_EVENT_AUTH_RESPONSE:
        go_on(s, login_step(&s->login, &s->edge, e->response));
        break;
    default:
        login_cancel(&s->login, &s->edge);
        break;
    }
}

void pop3_greeting_ask_login(struct pop3_session *s)
{
    int rc = login_ask(&s->login, &s->edge, s->pump);

    if (rc == BRANT_ENOTFOUND || rc == BRANT_ELIMIT)
        pop3_greeting_give_up_login(s);
}

void pop3_greeting_answer_login(struct pop3_session *s, const struct ipc_message *m)
{
    go_on(s, login_answer(&s->login, &s->edge, m));
}

void pop3_greeting_give_up_login(struct pop3_session *s)
{
    login_give_up(&s->login, &s->edge);
    go_on(s, LOGIN_DONE);
}
