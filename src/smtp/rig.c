#include "smtp/rig.h"

#include <assert.h>

#include "base/err.h"

void rig_init(struct rig *r, const struct smtp_server_config *c)
{
    struct smtp_server_config defaults;

    *r = (struct rig){.now_ms = 1000};
    if (!c) {
        smtp_server_config_init(&defaults, "mx.brant.test");
        c = &defaults;
    }
    r->s = smtp_server_new(c, r->now_ms);
    buf_init(&r->out, SIZE_MAX);
    buf_init(&r->body, SIZE_MAX);
    buf_init(&r->log, SIZE_MAX);
    buf_init(&r->user, SIZE_MAX);
}

void rig_offer(struct rig *r, const struct rig_offers *offers)
{
    r->offers = *offers;
    smtp_server_offer(r->s, &r->offers.clear);
}

void rig_done(struct rig *r)
{
    smtp_server_free(r->s);
    buf_done(&r->out);
    buf_done(&r->body);
    buf_done(&r->log);
    buf_done(&r->user);
    for (size_t i = 0; i < r->stored_count; i++)
        buf_done(&r->stored[i]);
}

static const struct smtp_reply *answer_mail(const struct smtp_event *e)
{
    static const struct smtp_reply blocked = {550, 7, 1, "sender blocked"};
    static const struct smtp_reply grey = {451, 7, 1, "come again"};

    if (span_eq_str(e->local, "blocked"))
        return &blocked;
    return span_eq_str(e->local, "greylist") ? &grey : NULL;
}

static const struct smtp_reply *answer_rcpt(struct rig *r, const struct smtp_event *e)
{
    static const struct {
        const char *local;
        struct smtp_reply reply;
    } special[] = {
        {"full", {452, 2, 2, "mailbox full"}},
        {"huge", {552, 2, 2, "mailbox full"}},
        {"later", {451, 3, 0, "try again later"}},
        {"busy", {421, 3, 2, "busy"}},
    };
    static const struct smtp_reply relay = {550, 7, 1, "not our domain"};
    static const struct smtp_reply unknown = {550, 1, 1, "no such user"};
    struct span local = span_sub(e->local, 0, span_find_byte(e->local, '+'));

    if (e->kind == SMTP_PATH_POSTMASTER)
        return NULL;
    if (!span_eq_str(e->domain, "brant.test"))
        return &relay;
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        if (span_eq_str(local, special[i].local))
            return &special[i].reply;
    if (span_eq_str(local, "nodata"))
        r->no_data = true;
    else if (span_eq_str(local, "rejected"))
        r->rejected = true;
    else if (!span_eq_str_nocase(local, "alice") && !span_eq_str_nocase(local, "bob") &&
             !span_eq_str_nocase(local, "carol") && !span_eq_str_nocase(local, "postmaster"))
        return &unknown;
    return NULL;
}

static const struct smtp_reply *answer_data(const struct rig *r)
{
    static const struct smtp_reply later = {451, 3, 0, "no room just now"};

    return r->no_data ? &later : NULL;
}

static const struct smtp_reply *answer_end(struct rig *r, const struct smtp_event *e)
{
    static const struct smtp_reply reject = {554, 7, 1, "rejected"};

    assert(e->message_bytes == r->body.len);
    if (r->rejected)
        return &reject;
    assert(r->stored_count < RIG_MESSAGES_MAX);
    buf_init(&r->stored[r->stored_count], SIZE_MAX);
    buf_append(&r->stored[r->stored_count], buf_span(&r->body));
    r->stored_count++;
    return NULL;
}

static const struct smtp_reply *answer_password(struct span user, struct span password)
{
    static const struct {
        const char *user;
        struct smtp_reply reply;
    } special[] = {
        {"later", {454, 7, 0, "cannot check just now"}},
        {"weak", {534, 7, 9, "a stronger mechanism is needed"}},
        {"ended", {535, 7, 8, "over"}},
        {"gone", {421, 3, 2, "going"}},
    };
    static const struct smtp_reply wrong = {535, 7, 8, "wrong name or password"};

    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        if (span_eq_str(user, special[i].user))
            return &special[i].reply;
    if (span_eq_str(user, "user@testserver") && span_eq_str(password, "secretpassword"))
        return NULL;
    return span_eq_str(user, "alice") && span_eq_str(password, "secret") ? NULL : &wrong;
}

static void forget(struct rig *r)
{
    buf_reset(&r->body);
    r->in_transaction = r->no_data = r->rejected = false;
}

static void log_event(struct rig *r, const char *what, struct span detail)
{
    buf_printf(&r->log, "%s ", what);
    buf_append(&r->log, detail);
    buf_append_str(&r->log, "\n");
}

static void answer(struct rig *r, const struct smtp_reply *reply)
{
    int rc = smtp_server_answer(r->s, reply, r->now_ms);

    assert(rc == BRANT_OK);
    (void)rc;
}

static void challenge(struct rig *r, const char *text)
{
    int rc = smtp_server_auth_challenge(r->s, span_str(text), r->now_ms);

    assert(rc == BRANT_OK);
    (void)rc;
}

static void auth_ends(struct rig *r, const struct smtp_reply *reply)
{
    r->mechanism = SPAN_NONE;
    answer(r, reply);
}

/* Takes what stands before the next NUL, and the NUL. */
static struct span take_to_nul(struct span *s)
{
    struct span taken = span_sub(*s, 0, span_find_byte(*s, 0));

    *s = span_from(*s, taken.len + 1);
    return taken;
}

static void step_plain(struct rig *r, struct span response)
{
    struct span user;

    take_to_nul(&response);
    user = take_to_nul(&response);
    auth_ends(r, answer_password(user, response));
}

static void step_login(struct rig *r, struct span response)
{
    if (r->auth_step == 1) {
        buf_reset(&r->user);
        buf_append(&r->user, response);
        challenge(r, "Password:");
    } else {
        auth_ends(r, answer_password(buf_span(&r->user), response));
    }
}

static void step_scram(struct rig *r, struct span response)
{
    static const char *const says[] = {"first", "final", ""};
    static const char *const hears[] = {"server-first", "server-final"};

    if (!span_eq_str(response, says[r->auth_step - 1]))
        auth_ends(r, answer_password(SPAN_NONE, SPAN_NONE));
    else if (r->auth_step == 3)
        auth_ends(r, NULL);
    else
        challenge(r, hears[r->auth_step - 1]);
}

static void step_auth(struct rig *r, const struct smtp_event *e)
{
    static const struct smtp_reply unknown = {454, 7, 0, "that mechanism does not work today"};
    struct span m = r->mechanism;

    r->auth_step += e->has_response;
    if (!e->has_response)
        challenge(r, span_eq_str(m, "LOGIN") ? "Username:" : "");
    else if (span_eq_str(m, "PLAIN"))
        step_plain(r, e->response);
    else if (span_eq_str(m, "LOGIN"))
        step_login(r, e->response);
    else if (span_eq_str(m, "SCRAM-SHA-256"))
        step_scram(r, e->response);
    else
        auth_ends(r, &unknown);
}

static void begin_auth(struct rig *r, const struct smtp_event *e)
{
    assert(!r->in_transaction && r->mechanism.len == 0 && e->mechanism.len > 0);
    log_event(r, "AUTH", e->mechanism);
    r->mechanism = e->mechanism;
    r->auth_step = 0;
    step_auth(r, e);
}

static void log_xclient(struct rig *r, const struct smtp_xclient *x)
{
    char text[IP_TEXT_MAX] = "-", dest[IP_TEXT_MAX] = "-";

    ip_format(&x->client, text);
    ip_format(&x->destination, dest);
    buf_printf(&r->log, "XCLIENT %d%d%d%d%d%d%d %.*s %s %u %d %.*s %s %u\n", (int)x->name_value,
               (int)x->addr_value, (int)x->port_value, (int)x->proto_value, (int)x->helo_value,
               (int)x->destaddr_value, (int)x->destport_value, SPAN_ARG(x->name), text, x->client.port,
               x->extended, SPAN_ARG(x->helo), dest, x->destination.port);
}

static void handle_session(struct rig *r, const struct smtp_event *e)
{
    static const struct smtp_reply no_tls = {454, 7, 0, "no TLS just now"};
    static const struct smtp_reply refused = {550, 7, 0, "not from there"};

    switch (e->type) {
    case SMTP_EVENT_STARTTLS:
        assert(!r->in_transaction && r->mechanism.len == 0);
        log_event(r, "STARTTLS", SPAN_NONE);
        answer(r, r->offers.tls_refused ? &no_tls : NULL);
        break;
    case SMTP_EVENT_AUTH:
        begin_auth(r, e);
        break;
    case SMTP_EVENT_AUTH_RESPONSE:
        assert(r->mechanism.len > 0 && e->has_response);
        step_auth(r, e);
        break;
    case SMTP_EVENT_AUTH_CANCEL:
        assert(r->mechanism.len > 0);
        log_event(r, "CANCEL", SPAN_NONE);
        r->mechanism = SPAN_NONE;
        break;
    case SMTP_EVENT_XCLIENT:
        assert(!r->in_transaction && r->mechanism.len == 0);
        log_xclient(r, &e->xclient);
        answer(r, span_eq_str(e->xclient.name, "refused.example") ? &refused : NULL);
        break;
    default:
        assert(0);
    }
}

static void handle(struct rig *r, const struct smtp_event *e)
{
    const struct smtp_reply *reply;

    switch (e->type) {
    case SMTP_EVENT_HELO:
        log_event(r, "HELO", smtp_server_helo(r->s));
        break;
    case SMTP_EVENT_MAIL:
        assert(!r->in_transaction);
        log_event(r, "MAIL", e->mailbox);
        reply = answer_mail(e);
        r->in_transaction = reply == NULL;
        answer(r, reply);
        break;
    case SMTP_EVENT_RCPT:
        assert(r->in_transaction);
        log_event(r, "RCPT", e->mailbox);
        answer(r, answer_rcpt(r, e));
        break;
    case SMTP_EVENT_DATA:
        assert(r->in_transaction && smtp_server_recipients(r->s) > 0);
        log_event(r, "DATA", SPAN_NONE);
        reply = answer_data(r);
        answer(r, reply);
        if (reply)
            forget(r);
        break;
    case SMTP_EVENT_BODY:
        assert(r->in_transaction && e->bytes.len > 0);
        buf_append(&r->body, e->bytes);
        break;
    case SMTP_EVENT_END:
        assert(r->in_transaction);
        log_event(r, "END", SPAN_NONE);
        answer(r, answer_end(r, e));
        forget(r);
        break;
    case SMTP_EVENT_RESET:
        assert(r->in_transaction);
        log_event(r, "RESET", SPAN_NONE);
        r->resets++;
        forget(r);
        break;
    default:
        handle_session(r, e);
    }
}

static void collect(struct rig *r)
{
    struct span out = smtp_server_output(r->s);

    buf_append(&r->out, out);
    smtp_server_output_used(r->s, out.len, r->now_ms);
    if (smtp_server_memory_bytes(r->s) > r->memory_max)
        r->memory_max = smtp_server_memory_bytes(r->s);
}

void rig_feed(struct rig *r, struct span in)
{
    struct smtp_event e;

    for (;;) {
        enum smtp_event_type type = smtp_server_next(r->s, &in, r->now_ms, &e);

        assert(type == e.type);
        if (type == SMTP_EVENT_MORE || type == SMTP_EVENT_WAIT || type == SMTP_EVENT_CLOSE) {
            collect(r);
            assert(in.len == 0 || type == SMTP_EVENT_WAIT); /* before the greeting, or TLS */
            if (type == SMTP_EVENT_CLOSE) {
                r->closed = true;
                r->reason = e.reason;
            }
            return;
        }
        if (type == SMTP_EVENT_BLOCKED)
            collect(r);
        else
            handle(r, &e);
    }
}

void rig_tls(struct rig *r)
{
    int rc;

    if (!smtp_server_awaits_tls(r->s))
        return;
    rc = smtp_server_tls_started(r->s, r->now_ms);
    assert(rc == BRANT_OK);
    (void)rc;
    smtp_server_offer(r->s, &r->offers.tls);
}

void rig_feed_str(struct rig *r, const char *text)
{
    rig_feed(r, span_str(text));
}

const char *rig_replies(struct rig *r)
{
    static struct buf last;

    buf_done(&last);
    buf_init(&last, SIZE_MAX);
    buf_append(&last, buf_span(&r->out));
    buf_reset(&r->out);
    return buf_cstr(&last);
}
