/* The server engine with hostile bytes, cut at hostile places, and any legal answers.
 *
 * The first byte picks role and limits, the second seeds the answers and the cuts; the rest is what the peer
 * sends, with its TLS handshake in the place of a byte 0x16. It runs twice, whole and cut: replies, events
 * and stored bytes must be the same. */
#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "smtp/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUTPUT_MAX = 1 << 22 };

struct run {
    struct smtp_server *s;
    struct buf out, log;
    uint32_t answers, cuts; /* random states */
    bool lmtp, open, message, exchange;
    char last_body;
    uint64_t body_bytes;
};

static uint32_t draw(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 12;
}

/* Mostly yes. */
static int answer(struct run *r, enum smtp_event_type type)
{
    static const struct smtp_reply replies[] = {
        {450, 2, 0, "later"},
        {550, 1, 1, "no\nnever"},
        {421, 3, 2, "go away"},
        {552, 2, 2, NULL},
    };
    uint32_t n = draw(&r->answers);
    const struct smtp_reply *reply = n % 4 ? NULL : &replies[n / 4 % 4];
    struct smtp_reply each[8];
    uint32_t count = smtp_server_recipients(r->s);
    int rc;

    if (type == SMTP_EVENT_END && r->lmtp && count <= 8 && n % 2) {
        for (uint32_t i = 0; i < count; i++)
            each[i] = replies[draw(&r->answers) % 2];
        rc = smtp_server_answer_each(r->s, each, count, 0);
        reply = &replies[0];
    } else {
        rc = smtp_server_answer(r->s, reply, 0);
    }
    assert(rc == BRANT_OK);
    return reply ? reply->code : 250;
}

/* A challenge, or the end of the exchange. */
static void answer_auth(struct run *r, const struct smtp_event *e)
{
    static const uint8_t challenge[SMTP_AUTH_BYTES_MAX + 1];
    uint32_t n = draw(&r->answers);

    assert(e->response.len <= SMTP_AUTH_BYTES_MAX && (e->has_response || e->response.len == 0));
    assert(!r->open && !smtp_server_authenticated(r->s));
    buf_append(&r->log, e->mechanism);
    buf_append(&r->log, e->response);
    if (n % 2) {
        assert(smtp_server_auth_challenge(r->s, span_make(challenge, sizeof challenge), 0) == BRANT_ELIMIT);
        assert(smtp_server_auth_challenge(r->s, span_make(challenge, n / 2 % sizeof challenge), 0) ==
               BRANT_OK);
        r->exchange = true;
        return;
    }
    r->exchange = false;
    n = (uint32_t)answer(r, e->type);
    assert(n == 421 || smtp_server_authenticated(r->s) == (n == 250));
}

static void check_xclient(struct run *r, const struct smtp_xclient *x)
{
    assert(x->name.len <= 255 && x->helo.len <= 255);
    assert((x->name_value == SMTP_XCLIENT_GIVEN) == (x->name.len > 0));
    assert((x->helo_value == SMTP_XCLIENT_GIVEN) == (x->helo.len > 0));
    assert((x->addr_value == SMTP_XCLIENT_GIVEN) == (x->client.family != IP_NONE));
    assert((x->destaddr_value == SMTP_XCLIENT_GIVEN) == (x->destination.family != IP_NONE));
    buf_append(&r->log, x->name);
    buf_append(&r->log, x->helo);
}

static void check_body(struct run *r, struct span bytes)
{
    assert(r->message && bytes.len > 0);
    for (size_t i = 0; i < bytes.len; i++) {
        /* what is handed out may still turn out to have a bare CR, but never LF without CR or NUL */
        assert(bytes.p[i] != '\0' && (bytes.p[i] != '\n' || r->last_body == '\r'));
        r->last_body = (char)bytes.p[i];
    }
    r->body_bytes += bytes.len;
}

static void handle(struct run *r, const struct smtp_event *e)
{
    int code;

    if (e->type == SMTP_EVENT_BODY) {
        check_body(r, e->bytes);
        return;
    }
    buf_printf(&r->log, "%d ", e->type);
    switch (e->type) {
    case SMTP_EVENT_HELO:
        assert(!r->open);
        break;
    case SMTP_EVENT_MAIL:
        assert(!r->open);
        buf_append(&r->log, e->mailbox);
        r->open = answer(r, e->type) == 250;
        break;
    case SMTP_EVENT_RCPT:
        assert(r->open && !r->message);
        buf_append(&r->log, e->mailbox);
        answer(r, e->type);
        break;
    case SMTP_EVENT_DATA:
        assert(r->open && !r->message && smtp_server_recipients(r->s) > 0);
        code = answer(r, e->type);
        r->message = r->open = code == 250;
        r->body_bytes = 0;
        r->last_body = 0;
        break;
    case SMTP_EVENT_END:
        assert(r->message && e->message_bytes == r->body_bytes);
        assert(r->body_bytes == 0 || r->last_body == '\n');
        buf_append_u64(&r->log, e->message_bytes);
        answer(r, e->type);
        r->open = r->message = false;
        break;
    case SMTP_EVENT_RESET:
        assert(r->open);
        r->open = r->message = false;
        break;
    case SMTP_EVENT_STARTTLS:
        assert(!r->open && !r->exchange && !smtp_server_tls(r->s));
        code = answer(r, e->type);
        assert(smtp_server_awaits_tls(r->s) == (code == 250));
        break;
    case SMTP_EVENT_AUTH:
        assert(!r->exchange && e->mechanism.len > 0);
        answer_auth(r, e);
        break;
    case SMTP_EVENT_AUTH_RESPONSE:
        assert(r->exchange && e->has_response);
        answer_auth(r, e);
        break;
    case SMTP_EVENT_AUTH_CANCEL:
        assert(r->exchange);
        r->exchange = false;
        break;
    case SMTP_EVENT_XCLIENT:
        assert(!r->open && !r->exchange);
        check_xclient(r, &e->xclient);
        answer(r, e->type);
        break;
    default:
        abort();
    }
}

static void collect(struct run *r)
{
    struct span out = smtp_server_output(r->s);

    assert(smtp_server_memory_bytes(r->s) <= 65536);
    buf_append(&r->out, out);
    smtp_server_output_used(r->s, out.len, 0);
}

static void feed(struct run *r, struct span in)
{
    struct smtp_event e;

    for (;;) {
        switch (smtp_server_next(r->s, &in, 0, &e)) {
        case SMTP_EVENT_MORE:
        case SMTP_EVENT_CLOSE:
            assert(in.len == 0);
            collect(r);
            return;
        case SMTP_EVENT_BLOCKED:
            collect(r);
            break;
        case SMTP_EVENT_WAIT: /* every event was answered: TLS is due, and what was not taken is lost */
            assert(smtp_server_awaits_tls(r->s));
            collect(r);
            return;
        default:
            handle(r, &e);
        }
    }
}

static void check_replies(struct span out)
{
    while (out.len) {
        size_t end = span_find(out, SPAN_LIT("\r\n"));

        assert(end != SPAN_NPOS && end >= 4);
        assert(end + 2 <= SMTP_REPLY_LINE_MAX || span_starts(out, SPAN_LIT("334 ")));
        assert(out.p[0] >= '2' && out.p[0] <= '5' && (out.p[3] == ' ' || out.p[3] == '-'));
        for (size_t i = 0; i < end; i++)
            assert(out.p[i] >= ' ' && out.p[i] < 0x7f);
        out = span_from(out, end + 2);
    }
}

/* Up to the next handshake, which then is done. */
static void feed_flight(struct run *r, struct span in, bool cut)
{
    while (in.len) {
        size_t n = cut ? draw(&r->cuts) % 7 + 1 : in.len;

        feed(r, span_sub(in, 0, n));
        in = span_from(in, n);
    }
    if (smtp_server_awaits_tls(r->s)) {
        assert(smtp_server_tls_started(r->s, 0) == BRANT_OK);
        assert(smtp_server_helo(r->s).len == 0 && !smtp_server_authenticated(r->s));
    }
}

static void run(struct run *r, uint8_t choice, uint8_t seed, struct span in, bool cut)
{
    static const struct smtp_offer offer = {true, "PLAIN X", true};
    struct smtp_server_config c;

    *r = (struct run){.answers = seed, .cuts = seed};
    smtp_server_config_init(&c, "mx.brant.test");
    if (choice & 1)
        c.role = SMTP_ROLE_LMTP;
    if (choice & 2)
        c.message_bytes_max = 40;
    if (choice & 4)
        c.header_bytes_max = 20;
    if (choice & 8)
        c.recipients_max = 2;
    if (choice & 16)
        c.received_max = 1;
    if (choice & 32)
        c.errors_max = c.refusals_max = c.idle_commands_max = c.messages_max = 1000;
    c.auth_required = choice & 128;
    if (choice & 1 && c.recipients_max > 8)
        c.recipients_max = 8; /* keeps the memory of LMTP below what is asserted */
    r->lmtp = c.role == SMTP_ROLE_LMTP;
    r->s = smtp_server_new(&c, 0);
    buf_init(&r->out, OUTPUT_MAX);
    buf_init(&r->log, OUTPUT_MAX);
    if (choice & 64)
        smtp_server_offer(r->s, &offer);
    smtp_server_greet(r->s, 0);
    while (in.len) {
        struct span flight = span_sub(in, 0, span_find_byte(in, 0x16));

        feed_flight(r, flight, cut);
        in = span_from(in, flight.len + 1);
    }
    check_replies(buf_span(&r->out));
}

static void run_done(struct run *r)
{
    smtp_server_free(r->s);
    buf_done(&r->out);
    buf_done(&r->log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_make(data, size);
    struct run whole, cut;

    if (size < 2)
        return 0;
    run(&whole, data[0], data[1], span_from(in, 2), false);
    run(&cut, data[0], data[1], span_from(in, 2), true);
    assert(span_eq(buf_span(&whole.out), buf_span(&cut.out)));
    assert(span_eq(buf_span(&whole.log), buf_span(&cut.log)));
    run_done(&whole);
    run_done(&cut);
    return 0;
}
