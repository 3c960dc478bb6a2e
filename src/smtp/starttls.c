/* STARTTLS (RFC 3207), and what begins again with it and with XCLIENT. */
#include "base/err.h"
#include "smtp/server_internal.h"

void perform_starttls(struct smtp_server *s, struct span args)
{
    if (s->tls) {
        server_error(s, 503, 5, 1, "TLS has begun already");
    } else if (!s->offer.starttls) {
        server_error(s, 502, 5, 1, "STARTTLS is not offered here");
    } else if (args.len) {
        server_error(s, 501, 5, 4, "this command takes no argument"); /* RFC 3207 4 */
    } else if (s->hello == HELLO_NONE) {
        server_error(s, 503, 5, 1, "say hello first");
    } else if (s->tx.open) {
        server_error(s, 503, 5, 1, "not in a transaction");
    } else {
        s->event = (struct smtp_event){.type = SMTP_EVENT_STARTTLS};
        server_await(s, SMTP_EVENT_STARTTLS);
    }
}

void starttls_answered(struct smtp_server *s, const struct smtp_reply *r)
{
    server_reply(s, r->code, r->subject, r->detail, r->text);
    if (r->code < 400)
        server_phase(s, PHASE_HANDSHAKE);
}

void server_stranger(struct smtp_server *s)
{
    server_drop_transaction(s, s->tx.open);
    s->hello = HELLO_NONE;
    buf_reset(&s->helo);
    buf_shrink(&s->helo);
    s->authenticated = false;
    server_line_done(s);
    buf_reset(&s->scratch);
}

int smtp_server_tls_started(struct smtp_server *s, uint64_t now_ms)
{
    bool before_greeting = s->phase == PHASE_CONNECTED;

    if (s->tls || s->out.len || (!before_greeting && s->phase != PHASE_HANDSHAKE))
        return BRANT_ESTATE;
    s->tls = true;
    s->active_ms = now_ms;
    if (!before_greeting) {
        server_phase(s, PHASE_COMMAND);
        server_stranger(s); /* RFC 3207 4.2 */
    }
    return BRANT_OK;
}

bool smtp_server_awaits_tls(const struct smtp_server *s)
{
    return s->phase == PHASE_HANDSHAKE;
}

bool smtp_server_tls(const struct smtp_server *s)
{
    return s->tls;
}
