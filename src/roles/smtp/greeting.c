/* What is offered to a client, and who it turns out to be: STARTTLS, AUTH, XCLIENT. */
#include "base/err.h"
#include "log/log.h"
#include "os/clock.h"
#include "roles/smtp/session_internal.h"

void smtp_greeting_offer(struct smtp_session *s)
{
    const struct edge *e = &s->edge;
    struct smtp_offer offer = {.starttls = edge_tls_possible(e),
                               .xclient = e->listener && !s->edge.secured &&
                                          conf_networks_contain(&e->listener->xclient, &s->proxy)};

    if (smtp_session_submits(s))
        offer.auth = login_mechanisms(e, s->mechanisms);
    smtp_server_offer(s->engine, &offer);
}

/* ---- TLS ------------------------------------------------------------------------------------------------
 */

void smtp_greeting_starttls(struct smtp_session *s)
{
    static const struct smtp_reply not_now = {454, 7, 0, "TLS is not available now"};

    if (!edge_tls_possible(&s->edge)) { /* it was, when it was offered */
        smtp_session_reply(s, &not_now);
        return;
    }
    smtp_session_reply(s, NULL);
    if (edge_start_tls(&s->edge, s->pump))
        smtp_session_end(s, SMTP_CLOSE_LOST);
}

void smtp_greeting_secured(struct smtp_session *s, const struct net_tls_info *info, size_t discarded)
{
    uint64_t now_ms = os_clock_mono_ms();

    edge_secured(&s->edge, info, discarded);
    if (s->edge.account) { /* RFC 3207 4.2: a login of before TLS is forgotten, by the store, too */
        edge_leave(&s->edge);
        smtp_session_ask(s);
    }
    smtp_server_tls_started(s->engine, now_ms);
    smtp_greeting_offer(s);
    if (!s->greeted) {
        s->greeted = true;
        smtp_server_greet(s->engine, now_ms);
    }
}

/* ---- the verdict on the connection ------------------------------------------------------------------------
 */

static void admitted(struct smtp_session *s)
{
    if (edge_admit(&s->edge, s->pump)) {
        smtp_session_end(s, SMTP_CLOSE_LOST);
    } else if (s->edge.stage == EDGE_OPEN) {
        s->greeted = true;
        s->proxy = s->edge.source;
        smtp_greeting_offer(s);
        smtp_server_greet(s->engine, os_clock_mono_ms());
    }
}

void smtp_greeting_answer_verdict(struct smtp_session *s, uint8_t status)
{
    if (status != IPC_OK) {
        s->wait = SMTP_WAIT_NONE;
        smtp_session_end(s, status == IPC_TOO_MANY ? SMTP_CLOSE_RATE : SMTP_CLOSE_OVERLOAD);
        return;
    }
    s->edge.presented = true;
    if (s->wait == SMTP_WAIT_VERDICT) {
        s->wait = SMTP_WAIT_NONE;
        if (s->greeted) { /* to XCLIENT */
            smtp_greeting_offer(s);
            smtp_session_reply(s, NULL);
        } else
            admitted(s);
    }
    smtp_session_ask(s);
    net_pump_kick(s->pump);
}

/* ---- logging in -------------------------------------------------------------------------------------------
 */

/* RFC 4954 6. */
static const struct smtp_reply *login_reply(enum login_outcome outcome)
{
    static const struct smtp_reply replies[] = {
        [LOGIN_OK] = {235, 7, 0, "authentication successful"},
        [LOGIN_REFUSED] = {535, 7, 8, "wrong name or password"},
        [LOGIN_EXPIRED] = {535, 7, 8, "this password has expired"},
        [LOGIN_WEAK] = {534, 7, 9, "another mechanism is needed"},
        [LOGIN_MALFORMED] = {501, 5, 2, "not a message of this mechanism"},
        [LOGIN_TRY_LATER] = {454, 7, 0, "not now; try again later"},
    };

    return &replies[outcome];
}

static void go_on(struct smtp_session *s, enum login_next next)
{
    switch (next) {
    case LOGIN_CHALLENGE:
        s->wait = SMTP_WAIT_NONE;
        if (smtp_server_auth_challenge(s->engine, login_challenge(&s->login), os_clock_mono_ms())) {
            login_give_up(&s->login, &s->edge);
            smtp_session_reply(s, login_reply(LOGIN_TRY_LATER));
        }
        net_pump_kick(s->pump);
        break;
    case LOGIN_ASK:
        smtp_session_wait_for(s, SMTP_WAIT_LOGIN);
        smtp_session_ask(s);
        break;
    case LOGIN_DONE:
        smtp_session_reply(s, login_reply(login_outcome(&s->login)));
        break;
    }
}

void smtp_greeting_auth(struct smtp_session *s, const struct smtp_event *e)
{
    if (e->type == SMTP_EVENT_AUTH)
        go_on(s, login_begin(&s->login, &s->edge, e->mechanism, e->has_response, e->response));
    else
        go_on(s, login_step(&s->login, &s->edge, e->response));
}

void smtp_greeting_auth_cancel(struct smtp_session *s)
{
    login_cancel(&s->login, &s->edge);
}

void smtp_greeting_ask_login(struct smtp_session *s)
{
    int rc = login_ask(&s->login, &s->edge, s->pump);

    if (rc == BRANT_ENOTFOUND || rc == BRANT_ELIMIT)
        smtp_greeting_give_up_login(s);
}

void smtp_greeting_answer_login(struct smtp_session *s, const struct ipc_message *m)
{
    if (s->wait == SMTP_WAIT_LOGIN)
        go_on(s, login_answer(&s->login, &s->edge, m));
}

void smtp_greeting_give_up_login(struct smtp_session *s)
{
    login_give_up(&s->login, &s->edge);
    go_on(s, LOGIN_DONE);
}

/* ---- XCLIENT ----------------------------------------------------------------------------------------------
 */

/* The store knows the session by its source: it ends, and another begins. What the proxy does not say of the
 * client stays as it was. */
void smtp_greeting_xclient(struct smtp_session *s, const struct smtp_event *e)
{
    const struct smtp_xclient *x = &e->xclient;

    if (x->client.family != IP_NONE)
        s->edge.source = x->client;
    if (x->destination.family != IP_NONE)
        s->edge.local = x->destination;
    buf_reset(&s->client_name);
    if (x->name_value == SMTP_XCLIENT_GIVEN)
        buf_append(&s->client_name, x->name);
    log_event(LOG_INFO, "smtp-xclient", LOG_HEX("session", edge_session(&s->edge)),
              LOG_IP("proxy", &s->proxy), LOG_ADDR("peer", &s->edge.source),
              LOG_SPAN("name", buf_span(&s->client_name)),
              LOG_SPAN("helo", x->helo_value == SMTP_XCLIENT_GIVEN ? x->helo : SPAN_NONE));
    edge_leave(&s->edge);
    smtp_session_wait_for(s, SMTP_WAIT_VERDICT);
    smtp_session_ask(s);
}
