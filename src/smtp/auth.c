/* AUTH (RFC 4954): the lines and the base64 of a SASL exchange. What is said in it is the caller's affair. */
#include "base/codec.h"
#include "base/err.h"
#include "smtp/server_internal.h"

/* The mechanism as it was offered; empty: it was not. */
static struct span offered(const struct smtp_server *s, struct span name)
{
    struct span rest = span_str(s->offer.auth ? s->offer.auth : "");

    while (rest.len) {
        struct span one = span_sub(rest, 0, span_find_byte(rest, ' '));

        if (one.len && span_eq_nocase(one, name))
            return one;
        rest = span_from(rest, one.len + 1);
    }
    return SPAN_NONE;
}

bool auth_on_offer(const struct smtp_server *s)
{
    return s->offer.auth && s->offer.auth[0];
}

static void too_long(struct smtp_server *s)
{
    server_error(s, 500, 5, 6, "too long for an authentication exchange"); /* RFC 4954 4 */
}

/* Decodes into scratch. False: it was refused. */
static bool decode(struct smtp_server *s, struct span base64)
{
    int rc;

    buf_reset(&s->scratch);
    rc = codec_base64_decode(&s->scratch, base64);
    if (!rc && s->scratch.len <= SMTP_AUTH_BYTES_MAX)
        return true;
    buf_reset(&s->scratch);
    if (rc == BRANT_ESYNTAX)
        server_error(s, 501, 5, 2, "that is not base64");
    else
        too_long(s);
    return false;
}

static void await_auth(struct smtp_server *s, enum smtp_event_type type, struct span mechanism,
                       bool has_response)
{
    s->event = (struct smtp_event){
        .type = type,
        .mechanism = mechanism,
        .has_response = has_response,
        .response = has_response ? buf_span(&s->scratch) : SPAN_NONE,
    };
    server_await(s, type);
}

/* Whether an exchange may begin now; refused when not. */
static bool may_begin(struct smtp_server *s)
{
    if (!auth_on_offer(s)) {
        if (s->offer.starttls && !s->tls)
            server_error(s, 538, 7, 11, "encryption is needed first: STARTTLS");
        else
            server_error(s, 502, 5, 1, "AUTH is not offered here");
    } else if (s->hello != HELLO_EHLO) {
        server_error(s, 503, 5, 1, "send EHLO first");
    } else if (s->authenticated) {
        server_error(s, 503, 5, 1, "you are logged in already"); /* RFC 4954 4 */
    } else if (s->tx.open) {
        server_error(s, 503, 5, 1, "not in a transaction"); /* RFC 4954 4 */
    } else {
        return true;
    }
    return false;
}

void perform_auth(struct smtp_server *s, struct span args)
{
    size_t space = span_find_byte(args, ' ');
    struct span initial = space == SPAN_NPOS ? SPAN_NONE : span_trim(span_from(args, space));
    struct span mechanism;

    if (!may_begin(s))
        return;
    if (args.len == 0) {
        server_error(s, 501, 5, 4, "AUTH mechanism [initial-response]");
        return;
    }
    mechanism = offered(s, span_sub(args, 0, space));
    if (mechanism.len == 0) {
        server_error(s, 504, 5, 4, "that mechanism is not offered");
        return;
    }
    /* RFC 4954 4: "=" is the initial response that is empty. */
    if (initial.len && !decode(s, span_eq_str(initial, "=") ? SPAN_NONE : initial))
        return;
    await_auth(s, SMTP_EVENT_AUTH, mechanism, initial.len > 0);
}

void auth_command_too_long(struct smtp_server *s)
{
    if (may_begin(s))
        too_long(s);
}

static void give_up(struct smtp_server *s)
{
    server_phase(s, PHASE_COMMAND);
    s->owed |= OWED_AUTH_CANCEL;
}

void auth_line(struct smtp_server *s)
{
    struct span line = buf_span(&s->line);

    if (s->line_overlong) {
        give_up(s);
        too_long(s);
    } else if (span_eq_str(line, "*")) {
        give_up(s);
        server_error(s, 501, 7, 0, "given up"); /* RFC 4954 4 */
    } else if (decode(s, line)) {
        await_auth(s, SMTP_EVENT_AUTH_RESPONSE, SPAN_NONE, true);
    } else if (s->phase == PHASE_AUTH) {
        give_up(s);
    }
}

void auth_answered(struct smtp_server *s, const struct smtp_reply *r)
{
    buf_reset(&s->scratch);
    if (s->phase == PHASE_AUTH)
        server_phase(s, PHASE_COMMAND);
    server_reply(s, r->code, r->subject, r->detail, r->text);
    if (r->code < 400) {
        s->authenticated = true;
    } else if (r->code >= 500 && ++s->auth_failures >= s->config.auth_failures_max) {
        server_reply(s, 421, 7, 0, "too many failed logins");
        server_close(s, SMTP_CLOSE_AUTH_FAILURES);
    }
}

int smtp_server_auth_challenge(struct smtp_server *s, struct span challenge, uint64_t now_ms)
{
    if ((s->pending != SMTP_EVENT_AUTH && s->pending != SMTP_EVENT_AUTH_RESPONSE) || !s->pending_given)
        return BRANT_ESTATE;
    if (challenge.len > SMTP_AUTH_BYTES_MAX)
        return BRANT_ELIMIT;
    s->active_ms = now_ms;
    s->pending = SMTP_EVENT_MORE;
    buf_reset(&s->scratch);
    buf_append_str(&s->out, "334 ");
    codec_base64_encode(&s->out, challenge);
    buf_append_str(&s->out, "\r\n");
    if (s->phase == PHASE_COMMAND)
        server_phase(s, PHASE_AUTH);
    return BRANT_OK;
}

bool smtp_server_authenticated(const struct smtp_server *s)
{
    return s->authenticated;
}
