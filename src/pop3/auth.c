/* The ways to log in, and STLS. */
#include "base/ascii.h"
#include "base/codec.h"
#include "base/err.h"
#include "pop3/server_internal.h"

/* ---- USER and PASS ---- */

/* RFC 6856 2.1: names and passwords may be UTF-8 whether or not UTF8 was said. */
static bool is_credential(struct span text)
{
    if (text.len == 0 || text.len > NAME_BYTES_MAX || !codec_utf8_valid(text))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (ascii_is_ctl(text.p[i]))
            return false;
    }
    return true;
}

/* Passwords are refused before one was sent, so that none travels in clear. */
static bool password_refused(struct pop3_server *s)
{
    if (s->offer.password)
        return false;
    if (s->offer.stls && !s->tls)
        pop3_refuse(s, "-ERR [AUTH] passwords are not accepted in clear: STLS comes first");
    else
        pop3_refuse(s, "-ERR [AUTH] passwords are not accepted on an unprotected connection");
    return true;
}

void pop3_run_user(struct pop3_server *s, struct span argument)
{
    if (password_refused(s))
        return;
    if (!is_credential(argument)) {
        pop3_refuse(s, "-ERR a user name is wanted");
        return;
    }
    buf_reset(&s->user);
    buf_append(&s->user, argument);
    s->user_given = true;
    /* RFC 1939 7: the same answer whether or not there is such a user */
    pop3_reply(s, "+OK and the password?");
}

void pop3_run_pass(struct pop3_server *s, struct span argument)
{
    if (password_refused(s))
        return;
    if (!s->user_given) {
        pop3_refuse(s, "-ERR USER comes first");
        return;
    }
    s->user_given = false;
    if (!is_credential(argument)) {
        pop3_refuse(s, "-ERR [AUTH] that cannot be a password");
        return;
    }
    s->awaited = LOGIN_ANSWER;
}

/* ---- AUTH (RFC 5034) ---- */

bool pop3_sasl_offered(const struct pop3_server *s)
{
    return s->offer.sasl && s->offer.sasl[0];
}

/* The first of the names at the front of *list, which moves behind it; empty at the end. */
static struct span take_name(struct span *list)
{
    struct span name = span_sub(*list, 0, span_find_byte(*list, ' '));

    *list = span_from(*list, name.len + 1);
    return name;
}

/* The mechanism as it was offered; empty: it was not. */
static struct span offered(const struct pop3_server *s, struct span name)
{
    struct span list = span_str(s->offer.sasl);

    while (list.len) {
        struct span one = take_name(&list);

        if (one.len && span_eq_nocase(one, name))
            return one;
    }
    return SPAN_NONE;
}

/* RFC 1734 had no list of mechanisms; clients came to ask for it so before there was CAPA, and some still do.
 */
static void list_mechanisms(struct pop3_server *s)
{
    struct span list = span_str(s->offer.sasl);

    pop3_reply(s, "+OK mechanisms follow");
    while (list.len) {
        buf_append(&s->out, take_name(&list));
        pop3_reply(s, "");
    }
    pop3_reply(s, ".");
}

/* Decodes into s->response. False: refused. */
static bool decode(struct pop3_server *s, struct span base64)
{
    buf_reset(&s->response);
    if (codec_base64_decode(&s->response, base64) == BRANT_OK)
        return true;
    buf_reset(&s->response);
    pop3_refuse(s, "-ERR that is not base64, or too long");
    return false;
}

void pop3_run_auth(struct pop3_server *s, struct span argument)
{
    size_t space = span_find_byte(argument, ' ');
    struct span initial = space == SPAN_NPOS ? SPAN_NONE : span_trim(span_from(argument, space));
    struct span mechanism;

    if (!pop3_sasl_offered(s)) {
        pop3_refuse(s, s->offer.stls && !s->tls ? "-ERR [AUTH] not in clear: STLS comes first"
                                                : "-ERR no mechanism is offered here");
        return;
    }
    if (argument.len == 0) {
        list_mechanisms(s);
        return;
    }
    mechanism = offered(s, span_sub(argument, 0, space));
    if (mechanism.len == 0) {
        pop3_refuse(s, "-ERR that mechanism is not offered");
        return;
    }
    /* RFC 5034 4: "=" is the initial response that is empty. */
    if (initial.len && !decode(s, span_eq_str(initial, "=") ? SPAN_NONE : initial))
        return;
    s->user_given = false;
    s->mechanism = mechanism;
    s->has_response = initial.len > 0;
    s->awaited = AUTH_ANSWER;
}

static void give_up(struct pop3_server *s)
{
    s->exchange = false;
    s->cancel_due = true;
}

void pop3_auth_line(struct pop3_server *s, struct span line)
{
    if (span_eq_str(line, "*")) { /* RFC 5034 4 */
        give_up(s);
        pop3_refuse(s, "-ERR given up");
    } else if (decode(s, line)) {
        s->mechanism = SPAN_NONE;
        s->has_response = true;
        s->awaited = AUTH_ANSWER;
    } else {
        give_up(s);
    }
}

int pop3_server_auth_challenge(struct pop3_server *s, struct span challenge)
{
    if (s->awaited != AUTH_ANSWER)
        return BRANT_ESTATE;
    if (challenge.len > POP3_AUTH_BYTES_MAX)
        return BRANT_ELIMIT;
    s->awaited = NOTHING;
    s->exchange = true;
    buf_reset(&s->response);
    pop3_put(s, "+ ");
    codec_base64_encode(&s->out, challenge);
    pop3_reply(s, "");
    return BRANT_OK;
}

static void refused(struct pop3_server *s, const char *text)
{
    pop3_reply(s, text);
    if (++s->login_failures >= s->config.login_failures_max)
        pop3_end(s, POP3_CLOSE_FAILURES);
}

int pop3_server_login_done(struct pop3_server *s, enum pop3_login answer)
{
    if (s->awaited != LOGIN_ANSWER && s->awaited != AUTH_ANSWER)
        return BRANT_ESTATE;
    s->awaited = NOTHING;
    s->exchange = false;
    pop3_drop_line(s);
    buf_done(&s->response);
    switch (answer) {
    case POP3_LOGIN_OK:
        s->open_due = true;
        break;
    case POP3_LOGIN_REFUSED:
        refused(s, "-ERR [AUTH] wrong user name or password");
        break;
    case POP3_LOGIN_EXPIRED:
        refused(s, "-ERR [AUTH] this password has expired");
        break;
    case POP3_LOGIN_WEAK:
        refused(s, "-ERR [AUTH] a stronger mechanism, or a password made for this program, is needed");
        break;
    case POP3_LOGIN_MALFORMED:
        pop3_refuse(s, "-ERR that is not how this mechanism goes");
        break;
    case POP3_LOGIN_TRY_LATER:
        pop3_reply(s, "-ERR [SYS/TEMP] cannot check the login now, try again later");
        break;
    }
    return BRANT_OK;
}

/* ---- STLS (RFC 2595 4) ---- */

void pop3_run_stls(struct pop3_server *s, struct span argument)
{
    (void)argument;
    if (s->tls)
        pop3_refuse(s, "-ERR TLS has begun already");
    else if (!s->offer.stls)
        pop3_refuse(s, "-ERR TLS is not offered here");
    else
        s->awaited = STLS_ANSWER;
}

int pop3_server_stls_done(struct pop3_server *s, bool ready)
{
    if (s->awaited != STLS_ANSWER)
        return BRANT_ESTATE;
    s->awaited = ready ? TLS_START : NOTHING;
    pop3_reply(s, ready ? "+OK begin TLS now" : "-ERR [SYS/TEMP] no TLS just now, try again later");
    return BRANT_OK;
}

int pop3_server_tls_started(struct pop3_server *s, uint64_t now_ms)
{
    if (s->tls || s->out.len || (s->awaited != TLS_START && s->awaited != GREETING))
        return BRANT_ESTATE;
    s->tls = true;
    s->now_ms = s->active_ms = now_ms;
    if (s->awaited == TLS_START) {
        s->awaited = NOTHING;
        s->user_given = false; /* RFC 2595 4: what came in clear is not believed */
        buf_done(&s->user);
    }
    return BRANT_OK;
}

bool pop3_server_awaits_tls(const struct pop3_server *s)
{
    return s->awaited == TLS_START;
}

bool pop3_server_tls(const struct pop3_server *s)
{
    return s->tls;
}
