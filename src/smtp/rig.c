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
}

void rig_done(struct rig *r)
{
    smtp_server_free(r->s);
    buf_done(&r->out);
    buf_done(&r->body);
    buf_done(&r->log);
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
        assert(0);
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
            assert(in.len == 0 || type == SMTP_EVENT_WAIT);
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
