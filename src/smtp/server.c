#include "smtp/server.h"

#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "smtp/server_internal.h"

enum { MINUTE_MS = 60 * 1000 };

void smtp_server_config_init(struct smtp_server_config *c, const char *hostname)
{
    *c = (struct smtp_server_config){
        .role = SMTP_ROLE_MX,
        .hostname = hostname,
        .message_bytes_max = 50 * 1024 * 1024,
        .header_bytes_max = 1024 * 1024,
        .recipients_max = 1000,
        .messages_max = 1000,
        .received_max = 50,
        .errors_max = 10,
        .refusals_max = 10,
        .idle_commands_max = 200,
        .auth_failures_max = 3,
        .early_talk_refused = true,
        .command_timeout_ms = 5 * MINUTE_MS,
        .auth_timeout_ms = 2 * MINUTE_MS,
        .data_timeout_ms = 3 * MINUTE_MS,
        .first_rcpt_ms = 2 * MINUTE_MS,
        .session_ms = 120 * MINUTE_MS,
        .data_rate_min = 100,
    };
}

struct smtp_server *smtp_server_new(const struct smtp_server_config *c, uint64_t now_ms)
{
    struct smtp_server *s = mem_zalloc(sizeof *s);
    size_t out_max = OUTPUT_BYTES_MAX;

    if (c->role == SMTP_ROLE_LMTP)
        out_max += (size_t)c->recipients_max * SMTP_REPLY_LINE_MAX;
    s->config = *c;
    s->phase = PHASE_CONNECTED;
    s->pending = SMTP_EVENT_MORE;
    s->born_ms = s->active_ms = now_ms;
    buf_init_secret(&s->line, LINE_KEPT_BYTES_MAX);
    buf_init_secret(&s->scratch, 2 * SMTP_REPLY_BYTES_MAX);
    buf_init(&s->helo, HELO_BYTES_MAX);
    buf_init(&s->out, out_max);
    return s;
}

void smtp_server_free(struct smtp_server *s)
{
    if (!s)
        return;
    buf_done(&s->line);
    buf_done(&s->scratch);
    buf_done(&s->helo);
    buf_done(&s->out);
    free(s);
}

void smtp_server_offer(struct smtp_server *s, const struct smtp_offer *offer)
{
    s->offer = *offer;
}

const char *smtp_close_reason_text(enum smtp_close_reason reason)
{
    static const char *const texts[] = {
        [SMTP_CLOSE_NONE] = "none",
        [SMTP_CLOSE_QUIT] = "quit",
        [SMTP_CLOSE_LOST] = "lost",
        [SMTP_CLOSE_TIMEOUT] = "timeout",
        [SMTP_CLOSE_SHUTDOWN] = "shutdown",
        [SMTP_CLOSE_OVERLOAD] = "overload",
        [SMTP_CLOSE_RATE] = "rate",
        [SMTP_CLOSE_ANSWER] = "answer",
        [SMTP_CLOSE_EARLY_TALK] = "early-talk",
        [SMTP_CLOSE_PROTOCOL] = "protocol",
        [SMTP_CLOSE_BAD_BYTES] = "bad-bytes",
        [SMTP_CLOSE_BAD_DATA] = "bad-data",
        [SMTP_CLOSE_ENDLESS] = "endless",
        [SMTP_CLOSE_ERRORS] = "errors",
        [SMTP_CLOSE_REFUSALS] = "refusals",
        [SMTP_CLOSE_COMMANDS] = "commands",
        [SMTP_CLOSE_AUTH_FAILURES] = "login-failures",
    };

    return (size_t)reason < sizeof texts / sizeof *texts ? texts[reason] : "unknown";
}

/* ---- state --------------------------------------------------------------------------------------------- */

void server_phase(struct smtp_server *s, enum phase next)
{
    static const unsigned allowed[] = {
        [PHASE_CONNECTED] = 1u << PHASE_COMMAND,
        [PHASE_COMMAND] = 1u << PHASE_DATA | 1u << PHASE_CHUNK | 1u << PHASE_AUTH | 1u << PHASE_HANDSHAKE,
        [PHASE_DATA] = 1u << PHASE_COMMAND,
        [PHASE_CHUNK] = 1u << PHASE_COMMAND,
        [PHASE_AUTH] = 1u << PHASE_COMMAND,
        [PHASE_HANDSHAKE] = 1u << PHASE_COMMAND,
        [PHASE_CLOSED] = 0,
    };

    assert(allowed[s->phase] & 1u << next);
    s->phase = next;
    s->rate_bytes = 0;
    s->rate_start_ms = s->active_ms;
}

void server_close(struct smtp_server *s, enum smtp_close_reason reason)
{
    assert(reason != SMTP_CLOSE_NONE);
    if (s->phase == PHASE_CLOSED)
        return;
    s->phase = PHASE_CLOSED;
    s->reason = reason;
    s->pending = SMTP_EVENT_MORE;
    s->owed = 0;
    s->tx = (struct transaction){0};
    buf_reset(&s->line);
    buf_shrink(&s->line);
    buf_reset(&s->scratch);
    buf_shrink(&s->scratch);
}

void server_drop_transaction(struct smtp_server *s, bool tell)
{
    s->tx = (struct transaction){0};
    if (tell)
        s->owed |= OWED_RESET;
}

void server_await(struct smtp_server *s, enum smtp_event_type type)
{
    assert(s->pending == SMTP_EVENT_MORE);
    s->event.type = type;
    s->pending = type;
    s->pending_given = false;
}

void server_reply(struct smtp_server *s, uint16_t code, uint8_t subject, uint16_t detail, const char *text)
{
    struct smtp_reply reply = {code, subject, detail, text};
    int rc = smtp_reply_append(&s->out, &reply, s->hello == HELLO_EHLO);

    assert(rc == BRANT_OK); /* OUTPUT_BYTES_MAX holds OUTPUT_HIGH_WATER and the longest answer to it */
    (void)rc;
}

void server_error(struct smtp_server *s, uint16_t code, uint8_t subject, uint16_t detail, const char *text)
{
    if (s->errors >= s->config.errors_max) {
        server_reply(s, 421, 7, 0, "too many errors");
        server_close(s, SMTP_CLOSE_ERRORS);
        return;
    }
    s->errors++;
    server_reply(s, code, subject, detail, text);
}

void server_greeting(struct smtp_server *s)
{
    buf_printf(&s->out, "220 %s %s\r\n", s->config.hostname,
               s->config.role == SMTP_ROLE_LMTP ? "LMTP" : "ESMTP");
}

int smtp_server_greet(struct smtp_server *s, uint64_t now_ms)
{
    if (s->phase != PHASE_CONNECTED)
        return BRANT_ESTATE;
    s->active_ms = now_ms;
    server_phase(s, PHASE_COMMAND);
    server_greeting(s);
    return BRANT_OK;
}

static void say_end(struct smtp_server *s, enum smtp_close_reason reason)
{
    if (reason == SMTP_CLOSE_TIMEOUT)
        server_reply(s, 421, 4, 2, "time-out"); /* RFC 5321 4.5.3.2 */
    else if (reason == SMTP_CLOSE_RATE)
        server_reply(s, 421, 7, 0, "too much from your side; try again later");
    else if (reason != SMTP_CLOSE_LOST)
        server_reply(s, 421, 3, 2, "not now; try again later"); /* RFC 5321 3.8 */
}

void smtp_server_end(struct smtp_server *s, enum smtp_close_reason reason)
{
    assert(reason >= SMTP_CLOSE_LOST && reason <= SMTP_CLOSE_RATE);
    if (s->phase == PHASE_CLOSED)
        return;
    if (s->pending == SMTP_EVENT_END && s->pending_given && reason != SMTP_CLOSE_LOST) {
        s->end_after = reason;
        return;
    }
    if (s->phase != PHASE_HANDSHAKE) /* where the peer expects TLS and nothing else */
        say_end(s, reason);
    server_close(s, reason);
}

/* ---- answers ------------------------------------------------------------------------------------------- */

static const struct smtp_reply *default_answer(enum smtp_event_type type)
{
    static const struct smtp_reply mail = {250, 1, 0, "sender ok"};
    static const struct smtp_reply rcpt = {250, 1, 5, "recipient ok"};
    static const struct smtp_reply data = {354, 0, 0, "go on; end with CRLF . CRLF"};
    static const struct smtp_reply end = {250, 0, 0, "accepted"};
    static const struct smtp_reply starttls = {220, 0, 0, "ready to start TLS"};
    static const struct smtp_reply auth = {235, 7, 0, "authentication successful"};

    switch (type) {
    case SMTP_EVENT_MAIL:
        return &mail;
    case SMTP_EVENT_RCPT:
        return &rcpt;
    case SMTP_EVENT_DATA:
        return &data;
    case SMTP_EVENT_STARTTLS:
    case SMTP_EVENT_XCLIENT:
        return &starttls;
    case SMTP_EVENT_AUTH:
    case SMTP_EVENT_AUTH_RESPONSE:
        return &auth;
    default:
        return &end;
    }
}

static bool is_positive(const struct smtp_reply *r)
{
    return r->code < 400;
}

static void answer_reply(struct smtp_server *s, const struct smtp_reply *r)
{
    server_reply(s, r->code, r->subject, r->detail, r->text);
}

static void answer_mail(struct smtp_server *s, const struct smtp_reply *r)
{
    answer_reply(s, r);
    if (is_positive(r))
        s->tx.open = true;
    else
        server_drop_transaction(s, false);
}

static void answer_rcpt(struct smtp_server *s, const struct smtp_reply *r)
{
    answer_reply(s, r);
    if (is_positive(r)) {
        s->tx.recipients++;
        s->rcpt_ever = true;
    } else if (r->code >= 500 && r->code != 552) {
        s->refusals++; /* a full mailbox is nobody's guess at a name */
    }
}

/* Replies that LMTP repeats for every recipient are one line each, so that the room for all of them is known.
 */
struct one_line {
    char text[SMTP_REPLY_TEXT_MAX + 1];
    struct smtp_reply reply;
};

static const struct smtp_reply *one_line(struct one_line *o, const struct smtp_reply *r)
{
    size_t len = r->text ? strcspn(r->text, "\n") : 0;

    if (len >= sizeof o->text)
        len = sizeof o->text - 1;
    if (len)
        memcpy(o->text, r->text, len);
    o->text[len] = '\0';
    o->reply = *r;
    o->reply.text = o->text;
    return &o->reply;
}

static void answer_data(struct smtp_server *s, const struct smtp_reply *r)
{
    bool chunk = s->phase == PHASE_CHUNK;

    if (is_positive(r)) {
        s->tx.data_accepted = true;
        if (!chunk)
            answer_reply(s, r);
    } else {
        server_drop_transaction(s, false);
        if (chunk) { /* RFC 3030 2: the chunk is swallowed before the reply */
            struct one_line o;

            s->msg.fault = FAULT_ANSWER;
            buf_reset(&s->scratch);
            smtp_reply_append(&s->scratch, one_line(&o, r), s->hello == HELLO_EHLO);
        } else {
            answer_reply(s, r);
            server_phase(s, PHASE_COMMAND);
        }
    }
    s->rate_start_ms = s->active_ms;
    s->rate_bytes = 0;
}

static void answer_end(struct smtp_server *s, const struct smtp_reply *replies, size_t count)
{
    bool lmtp = s->config.role == SMTP_ROLE_LMTP;
    uint32_t due = lmtp ? s->tx.recipients : 1;

    server_drop_transaction(s, false);
    for (uint32_t i = 0; i < due; i++) {
        const struct smtp_reply *r = &replies[count > 1 ? i : 0];
        struct one_line o;

        answer_reply(s, lmtp ? one_line(&o, r) : r);
        if (is_positive(r))
            s->idle_commands = 0;
    }
}

static void check_answer(enum smtp_event_type type, const struct smtp_reply *r)
{
    if (r->code >= 400)
        assert(r->code < 600);
    else if (type == SMTP_EVENT_DATA)
        assert(r->code == 354);
    else
        assert(r->code >= 200 && r->code < 300);
}

static void answer_event(struct smtp_server *s, enum smtp_event_type type, const struct smtp_reply *replies,
                         size_t count)
{
    switch (type) {
    case SMTP_EVENT_MAIL:
        answer_mail(s, replies);
        break;
    case SMTP_EVENT_RCPT:
        answer_rcpt(s, replies);
        break;
    case SMTP_EVENT_DATA:
        answer_data(s, replies);
        break;
    case SMTP_EVENT_STARTTLS:
        starttls_answered(s, replies);
        break;
    case SMTP_EVENT_AUTH:
    case SMTP_EVENT_AUTH_RESPONSE:
        auth_answered(s, replies);
        break;
    case SMTP_EVENT_XCLIENT:
        xclient_answered(s, replies);
        break;
    default:
        answer_end(s, replies, count);
    }
}

static int answer(struct smtp_server *s, const struct smtp_reply *replies, size_t count, uint64_t now_ms)
{
    enum smtp_event_type type = s->pending;

    if (type == SMTP_EVENT_MORE || !s->pending_given)
        return BRANT_ESTATE;
    for (size_t i = 0; i < count; i++)
        check_answer(type, &replies[i]);
    s->active_ms = now_ms;
    s->pending = SMTP_EVENT_MORE;
    if (count == 1 && (replies->code == 421 || replies->code == 521)) {
        answer_reply(s, replies);
        server_close(s, SMTP_CLOSE_ANSWER);
        return BRANT_OK;
    }
    answer_event(s, type, replies, count);
    if (s->end_after != SMTP_CLOSE_NONE)
        smtp_server_end(s, s->end_after);
    return BRANT_OK;
}

int smtp_server_answer(struct smtp_server *s, const struct smtp_reply *reply, uint64_t now_ms)
{
    return answer(s, reply ? reply : default_answer(s->pending), 1, now_ms);
}

int smtp_server_answer_each(struct smtp_server *s, const struct smtp_reply *replies, size_t count,
                            uint64_t now_ms)
{
    if (s->pending != SMTP_EVENT_END || s->config.role != SMTP_ROLE_LMTP || count != s->tx.recipients)
        return BRANT_ESTATE;
    return answer(s, replies, count, now_ms);
}

/* ---- input --------------------------------------------------------------------------------------------- */

enum line { LINE_PART, LINE_WHOLE, LINE_BAD_BYTE, LINE_ENDLESS };

static void line_add(struct smtp_server *s, struct span bytes)
{
    s->line_bytes += bytes.len;
    if (s->line_bytes > LINE_KEPT_BYTES_MAX)
        s->line_overlong = true;
    /* What fits is kept: its verb decides what follows. */
    buf_append(&s->line, span_sub(bytes, 0, LINE_KEPT_BYTES_MAX - s->line.len));
}

/* Takes one command line. Only CRLF ends it (RFC 5321 2.3.8). */
static enum line line_take(struct smtp_server *s, struct span *in)
{
    while (in->len) {
        size_t room = LINE_SWALLOW_BYTES_MAX - s->line_bytes;
        size_t n = 0;
        uint8_t c;

        if (s->line_cr) {
            c = in->p[0];
            *in = span_from(*in, 1);
            return c == '\n' ? LINE_WHOLE : LINE_BAD_BYTE;
        }
        while (n < in->len && n < room && in->p[n] != '\r' && in->p[n] != '\n' && in->p[n] != '\0')
            n++;
        line_add(s, span_sub(*in, 0, n));
        *in = span_from(*in, n);
        if (s->line_bytes >= LINE_SWALLOW_BYTES_MAX)
            return LINE_ENDLESS;
        if (in->len == 0)
            break;
        c = in->p[0];
        *in = span_from(*in, 1);
        if (c != '\r')
            return LINE_BAD_BYTE;
        s->line_cr = true;
    }
    return LINE_PART;
}

void server_line_done(struct smtp_server *s)
{
    buf_reset(&s->line);
    s->line_cr = false;
    s->line_overlong = false;
    s->line_bytes = 0;
}

/* False: more input is needed. */
static bool take_command(struct smtp_server *s, struct span *in)
{
    switch (line_take(s, in)) {
    case LINE_PART:
        return false;
    case LINE_WHOLE:
        if (s->phase == PHASE_AUTH)
            auth_line(s);
        else
            command_run(s);
        break;
    case LINE_BAD_BYTE:
        server_reply(s, 501, 5, 2, "bare CR, bare LF or NUL in a command");
        server_close(s, SMTP_CLOSE_BAD_BYTES);
        break;
    case LINE_ENDLESS:
        server_reply(s, 500, 5, 2, "line too long");
        server_close(s, SMTP_CLOSE_ENDLESS);
        break;
    }
    server_line_done(s);
    return true;
}

/* Events due before more input is looked at. */
static bool take_owed(struct smtp_server *s, struct smtp_event *ret)
{
    unsigned bit = s->owed & -s->owed; /* the lowest goes first */

    s->owed &= ~bit;
    switch (bit) {
    case OWED_RESET:
        *ret = (struct smtp_event){.type = SMTP_EVENT_RESET};
        return true;
    case OWED_HELO:
        *ret = (struct smtp_event){.type = SMTP_EVENT_HELO};
        return true;
    case OWED_FINAL_CRLF:
        s->msg.bytes += 2;
        *ret = (struct smtp_event){.type = SMTP_EVENT_BODY, .bytes = SPAN_LIT("\r\n")};
        return true;
    case OWED_AUTH_CANCEL:
        *ret = (struct smtp_event){.type = SMTP_EVENT_AUTH_CANCEL};
        return true;
    case OWED_END:
        s->event = (struct smtp_event){.type = SMTP_EVENT_END, .message_bytes = s->msg.bytes};
        server_await(s, SMTP_EVENT_END);
        return false;
    default:
        return false;
    }
}

static enum smtp_event_type closed(struct smtp_server *s, struct span *in, struct smtp_event *ret)
{
    *in = span_from(*in, in->len);
    *ret = (struct smtp_event){.type = SMTP_EVENT_CLOSE, .reason = s->reason};
    return ret->type;
}

static void give_back(struct buf *b)
{
    if (b->len == 0 && b->cap > IDLE_BUFFER_BYTES)
        buf_shrink(b);
}

static enum smtp_event_type plain(struct smtp_server *s, enum smtp_event_type type, struct smtp_event *ret)
{
    give_back(&s->line);
    give_back(&s->scratch);
    *ret = (struct smtp_event){.type = type};
    return type;
}

/* The events that come before any input is looked at: SMTP_EVENT_MORE when there is none. */
static enum smtp_event_type due_event(struct smtp_server *s, struct span *in, struct smtp_event *ret)
{
    while (s->owed)
        if (take_owed(s, ret))
            return ret->type;
    if (s->phase == PHASE_CONNECTED && in->len && s->config.early_talk_refused) {
        server_reply(s, 554, 5, 1, "you spoke before the greeting");
        server_close(s, SMTP_CLOSE_EARLY_TALK);
    }
    if (s->phase == PHASE_CLOSED)
        return closed(s, in, ret);
    if (s->pending != SMTP_EVENT_MORE && !s->pending_given) {
        s->pending_given = true;
        *ret = s->event;
        return ret->type;
    }
    if (s->pending != SMTP_EVENT_MORE || s->phase == PHASE_CONNECTED || s->phase == PHASE_HANDSHAKE)
        return plain(s, SMTP_EVENT_WAIT, ret);
    if (s->out.len >= OUTPUT_HIGH_WATER)
        return plain(s, SMTP_EVENT_BLOCKED, ret);
    return SMTP_EVENT_MORE;
}

static enum smtp_event_type advance(struct smtp_server *s, struct span *in, struct smtp_event *ret)
{
    for (;;) {
        enum smtp_event_type due = due_event(s, in, ret);

        if (due != SMTP_EVENT_MORE)
            return due;
        if (s->phase == PHASE_CHUNK && s->msg.chunk_left == 0) {
            chunk_end(s);
        } else if (in->len == 0) {
            return plain(s, SMTP_EVENT_MORE, ret);
        } else if (s->phase == PHASE_COMMAND || s->phase == PHASE_AUTH) {
            take_command(s, in);
        } else if (message_take(s, in, ret)) {
            return ret->type;
        }
    }
}

enum smtp_event_type smtp_server_next(struct smtp_server *s, struct span *in, uint64_t now_ms,
                                      struct smtp_event *ret)
{
    size_t before = in->len;
    enum smtp_event_type type = advance(s, in, ret);

    if (in->len != before) {
        s->active_ms = now_ms;
        if (now_ms - s->rate_start_ms >= MINUTE_MS &&
            s->rate_bytes >= (uint64_t)s->config.data_rate_min * (MINUTE_MS / 1000)) {
            s->rate_start_ms = now_ms;
            s->rate_bytes = 0;
        }
    }
    return type;
}

struct span smtp_server_output(const struct smtp_server *s)
{
    return buf_span(&s->out);
}

void smtp_server_output_used(struct smtp_server *s, size_t len, uint64_t now_ms)
{
    buf_consume(&s->out, len);
    if (len)
        s->active_ms = now_ms;
    give_back(&s->out);
}

/* ---- time and state, asked from outside ---------------------------------------------------------------- */

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t smtp_server_timeout_ms(const struct smtp_server *s, uint64_t now_ms)
{
    const struct smtp_server_config *c = &s->config;
    bool message = s->phase == PHASE_DATA || s->phase == PHASE_CHUNK;
    uint64_t due = s->active_ms + c->command_timeout_ms;

    if (s->pending != SMTP_EVENT_MORE || s->phase == PHASE_CLOSED)
        return SMTP_NO_TIMEOUT;
    if (message || s->phase == PHASE_AUTH)
        due = s->active_ms + (message ? c->data_timeout_ms : c->auth_timeout_ms);
    if (c->first_rcpt_ms && !s->rcpt_ever)
        due = sooner(due, s->born_ms + c->first_rcpt_ms);
    if (c->session_ms)
        due = sooner(due, s->born_ms + c->session_ms);
    if (message && s->rate_bytes < (uint64_t)c->data_rate_min * (MINUTE_MS / 1000))
        due = sooner(due, s->rate_start_ms + MINUTE_MS);
    return due > now_ms ? due - now_ms : 0;
}

void smtp_server_resumed(struct smtp_server *s, uint64_t now_ms)
{
    s->active_ms = now_ms;
    s->rate_start_ms = now_ms;
    s->rate_bytes = 0;
}

struct span smtp_server_helo(const struct smtp_server *s)
{
    return buf_span(&s->helo);
}

bool smtp_server_extended(const struct smtp_server *s)
{
    return s->hello == HELLO_EHLO;
}

uint32_t smtp_server_recipients(const struct smtp_server *s)
{
    return s->tx.recipients;
}

bool smtp_server_busy(const struct smtp_server *s)
{
    return s->tx.open || s->pending != SMTP_EVENT_MORE;
}

size_t smtp_server_memory_bytes(const struct smtp_server *s)
{
    return sizeof *s + s->line.cap + s->scratch.cap + s->helo.cap + s->out.cap;
}
