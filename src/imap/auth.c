/* The ways to log in, and STARTTLS. */
#include "base/ascii.h"
#include "base/codec.h"
#include "base/err.h"
#include "imap/server_internal.h"

/* Valid UTF-8 without controls. */
static bool is_credential(struct span text, size_t max)
{
    if (text.len == 0 || text.len > max || !codec_utf8_valid(text))
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (ascii_is_ctl(text.p[i]))
            return false;
    return true;
}

/* ---- LOGIN (RFC 3501 6.2.3) ---- */

static enum imap_event_type login_step(struct imap_server *s, struct imap_event *ret)
{
    s->awaited = LOGIN_ANSWER;
    ret->user = buf_span(&s->user);
    ret->password = buf_span(&s->password);
    return IMAP_EVENT_LOGIN;
}

void imap_run_login(struct imap_server *s, struct imap_lex *lex)
{
    static const struct imap_job job = {.step = login_step};
    struct span user, password;

    if (!imap_lex_astring(lex, &user) || !imap_lex_space(lex) || !imap_lex_astring(lex, &password)) {
        imap_bad(s, "a user name and a password are wanted");
    } else if (!imap_command_ends(s, lex)) {
        return;
    } else if (!s->offer.password) { /* RFC 3501 6.2.3: LOGINDISABLED */
        imap_code(s, "PRIVACYREQUIRED");
        s->bad_counts = true;
        imap_finish(s, "NO", "passwords are not accepted on an unprotected connection");
    } else if (!is_credential(user, USER_BYTES_MAX) || !is_credential(password, PASSWORD_BYTES_MAX)) {
        imap_code(s, "AUTHENTICATIONFAILED");
        s->bad_counts = true;
        imap_finish(s, "NO", "that cannot be a user name and a password");
    } else {
        buf_append(&s->user, user);
        buf_append(&s->password, password);
        imap_job_start(s, &job, NULL);
    }
}

/* ---- AUTHENTICATE (RFC 3501 6.2.2, RFC 4959) ---- */

bool imap_sasl_offered(const struct imap_server *s)
{
    return s->offer.sasl && s->offer.sasl[0];
}

/* The mechanism as it was offered; empty: it was not. */
static struct span offered(const struct imap_server *s, struct span name)
{
    struct span list = span_str(imap_sasl_offered(s) ? s->offer.sasl : "");

    while (list.len) {
        struct span one = span_sub(list, 0, span_find_byte(list, ' '));

        if (one.len && span_eq_nocase(one, name))
            return one;
        list = span_from(list, one.len + 1);
    }
    return SPAN_NONE;
}

static bool decode(struct imap_server *s, struct span base64)
{
    buf_reset(&s->response);
    if (codec_base64_decode(&s->response, base64) == BRANT_OK)
        return true;
    buf_reset(&s->response);
    return false;
}

static enum imap_event_type auth_step(struct imap_server *s, struct imap_event *ret)
{
    enum imap_event_type type = s->exchange ? IMAP_EVENT_AUTH_RESPONSE : IMAP_EVENT_AUTH;

    s->awaited = AUTH_ANSWER;
    ret->mechanism = s->mechanism;
    ret->has_response = s->has_response;
    ret->response = s->has_response ? buf_span(&s->response) : SPAN_NONE;
    return type;
}

static const struct imap_job auth_job = {.step = auth_step};

void imap_run_authenticate(struct imap_server *s, struct imap_lex *lex)
{
    struct span name, initial = SPAN_NONE;
    struct span mechanism;

    if (!imap_lex_atom(lex, &name)) {
        imap_bad(s, "the name of a mechanism is wanted");
        return;
    }
    if (imap_lex_space(lex)) { /* RFC 4959 3: "=" is the initial response that is empty */
        initial = span_from(lex->in, lex->pos);
        lex->pos = lex->in.len;
    }
    mechanism = offered(s, name);
    if (!mechanism.len) {
        if (!imap_sasl_offered(s) && s->offer.starttls && !s->tls)
            imap_code(s, "PRIVACYREQUIRED");
        s->bad_counts = true;
        imap_finish(s, "NO", "that mechanism is not offered");
        return;
    }
    if (initial.len && !decode(s, span_eq_str(initial, "=") ? SPAN_NONE : initial)) {
        imap_bad(s, "that is not base64, or too long");
        return;
    }
    s->mechanism = mechanism;
    s->has_response = initial.len > 0;
    imap_job_start(s, &auth_job, NULL);
}

/* The exchange is over, or interrupted: lines are commands again. */
static void exchange_end(struct imap_server *s)
{
    s->exchange = false;
    s->frame.plain = false;
}

void imap_auth_line(struct imap_server *s, struct span line)
{
    bool cancelled = span_eq_str(line, "*"); /* RFC 3501 6.2.2 */

    if (!cancelled && !s->too_long && decode(s, line)) {
        s->mechanism = SPAN_NONE;
        s->has_response = true;
        imap_frame_next_command(&s->frame);
        imap_job_start(s, &auth_job, NULL);
        return;
    }
    exchange_end(s);
    s->cancel_due = true;
    imap_bad(s, cancelled ? "given up" : "that is not base64, or too long");
}

int imap_server_auth_challenge(struct imap_server *s, struct span challenge)
{
    if (s->awaited != AUTH_ANSWER)
        return BRANT_ESTATE;
    if (challenge.len > IMAP_AUTH_BYTES_MAX)
        return BRANT_ELIMIT;
    s->awaited = NOTHING;
    s->job = NULL;
    s->stage = READY;
    s->active_ms = s->now_ms;
    buf_reset(&s->response);
    if (!s->exchange)
        imap_frame_next_command(&s->frame);
    s->exchange = true;
    s->frame.plain = true;
    imap_put(s, "+ ");
    codec_base64_encode(&s->out, challenge);
    imap_put(s, "\r\n");
    return BRANT_OK;
}

static void refused(struct imap_server *s, const char *code, const char *text)
{
    imap_code(s, "%s", code);
    imap_finish(s, "NO", text);
}

/* A wrong password, which is counted. */
static void failed(struct imap_server *s, const char *code, const char *text)
{
    refused(s, code, text);
    s->login_failures++;
}

static void logged_in(struct imap_server *s)
{
    s->phase = AUTHENTICATED;
    s->errors = 0;
    buf_done(&s->reply.code);
    buf_init(&s->reply.code, 1024);
    buf_append_str(&s->reply.code, "CAPABILITY ");
    imap_capabilities(s, &s->reply.code);
    imap_finish(s, "OK", "logged in");
}

int imap_server_login_done(struct imap_server *s, enum imap_login answer)
{
    if (s->awaited != LOGIN_ANSWER && s->awaited != AUTH_ANSWER)
        return BRANT_ESTATE;
    s->awaited = NOTHING;
    exchange_end(s);
    buf_done(&s->user);
    buf_done(&s->password);
    buf_done(&s->response);
    switch (answer) {
    case IMAP_LOGIN_OK:
        logged_in(s);
        break;
    case IMAP_LOGIN_REFUSED:
        failed(s, "AUTHENTICATIONFAILED", "wrong user name or password");
        break;
    case IMAP_LOGIN_DENIED:
        failed(s, "AUTHORIZATIONFAILED", "you may not act as that user");
        break;
    case IMAP_LOGIN_EXPIRED:
        failed(s, "EXPIRED", "this password has expired");
        break;
    case IMAP_LOGIN_WEAK:
        failed(s, "PRIVACYREQUIRED", "a stronger mechanism, or a password made for this program, is needed");
        break;
    case IMAP_LOGIN_MALFORMED:
        imap_bad(s, "that is not how this mechanism goes");
        break;
    case IMAP_LOGIN_TRY_LATER:
        refused(s, "UNAVAILABLE", "cannot check the login now, try again later");
        break;
    }
    return BRANT_OK;
}

/* ---- STARTTLS (RFC 3501 6.2.1) ---- */

static enum imap_event_type starttls_step(struct imap_server *s, struct imap_event *ret)
{
    (void)ret;
    s->awaited = STARTTLS_ANSWER;
    return IMAP_EVENT_STARTTLS;
}

void imap_run_starttls(struct imap_server *s, struct imap_lex *lex)
{
    static const struct imap_job job = {.step = starttls_step};

    (void)lex;
    if (s->tls)
        imap_bad(s, "TLS has begun already");
    else if (!s->offer.starttls)
        imap_bad(s, "TLS is not offered here");
    else
        imap_job_start(s, &job, NULL);
}

int imap_server_starttls_done(struct imap_server *s, bool ready)
{
    if (s->awaited != STARTTLS_ANSWER)
        return BRANT_ESTATE;
    s->awaited = NOTHING;
    if (!ready) {
        imap_code(s, "UNAVAILABLE");
        imap_finish(s, "NO", "no TLS just now, try again later");
        return BRANT_OK;
    }
    /* Nothing behind the command is looked at, so its response is written here and now. */
    imap_finish(s, "OK", "begin TLS now");
    imap_reply_write(s, &s->reply, s->tag);
    imap_command_done(s);
    s->awaited = TLS_START;
    return BRANT_OK;
}

int imap_server_tls_started(struct imap_server *s, uint64_t now_ms)
{
    if (s->tls || s->out.len || (s->awaited != TLS_START && s->awaited != GREETING))
        return BRANT_ESTATE;
    s->tls = true;
    s->now_ms = s->active_ms = now_ms;
    if (s->awaited == TLS_START)
        s->awaited = NOTHING;
    return BRANT_OK;
}

bool imap_server_awaits_tls(const struct imap_server *s)
{
    return s->awaited == TLS_START;
}
