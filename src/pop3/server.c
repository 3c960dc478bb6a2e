#include "pop3/server.h"

#include <stdlib.h>

#include "base/codec.h"
#include "base/err.h"
#include "base/mem.h"
#include "pop3/server_internal.h"

struct command {
    const char *verb;
    unsigned phases; /* enum phase */
    bool has_argument;
    void (*run)(struct pop3_server *s, struct span argument);
};

void pop3_server_config_init(struct pop3_server_config *c, const char *hostname)
{
    *c = (struct pop3_server_config){
        .hostname = hostname,
        .login_timeout_ms = 120 * 1000,
        .idle_timeout_ms = 10 * 60 * 1000,
        .write_timeout_ms = 120 * 1000,
        .login_errors_max = 3,
        .errors_max = 20,
        .login_failures_max = 3,
        .messages_max = 1000 * 1000,
        .output_bytes_max = 64 * 1024,
        .read_bytes_max = 32 * 1024,
    };
}

/* ---- output ---- */

void pop3_put(struct pop3_server *s, const char *text)
{
    if (s->out.len == 0)
        s->progress_ms = s->now_ms;
    buf_append_str(&s->out, text);
}

static void put_number(struct pop3_server *s, uint64_t number, const char *after)
{
    buf_append_u64(&s->out, number);
    buf_append_str(&s->out, after);
}

void pop3_reply(struct pop3_server *s, const char *text)
{
    pop3_put(s, text);
    pop3_put(s, "\r\n");
}

static size_t room(const struct pop3_server *s)
{
    return s->out.max - s->out.len;
}

struct span pop3_server_output(const struct pop3_server *s)
{
    return buf_span(&s->out);
}

void pop3_server_output_used(struct pop3_server *s, size_t len, uint64_t now_ms)
{
    s->now_ms = now_ms;
    if (len == 0)
        return;
    s->stats.bytes_sent += len < s->out.len ? len : s->out.len;
    buf_consume(&s->out, len);
    if (s->out.len == 0)
        buf_shrink(&s->out);
    s->progress_ms = now_ms;
    s->active_ms = now_ms;
}

/* ---- life ---- */

struct pop3_server *pop3_server_new(const struct pop3_server_config *c, uint64_t now_ms)
{
    struct pop3_server *s = mem_zalloc(sizeof *s);

    s->config = *c;
    s->phase = AUTHORIZATION;
    s->awaited = GREETING;
    s->now_ms = s->started_ms = s->active_ms = s->progress_ms = now_ms;
    buf_init(&s->out, c->output_bytes_max);
    buf_init_secret(&s->line, AUTH_LINE_BYTES_MAX);
    buf_init_secret(&s->user, NAME_BYTES_MAX);
    buf_init_secret(&s->response, POP3_AUTH_BYTES_MAX);
    return s;
}

void pop3_server_free(struct pop3_server *s)
{
    if (!s)
        return;
    pop3_maildrop_done(&s->maildrop);
    buf_done(&s->out);
    buf_done(&s->line);
    buf_done(&s->user);
    buf_done(&s->response);
    free(s);
}

void pop3_server_offer(struct pop3_server *s, const struct pop3_offer *offer)
{
    s->offer = *offer;
}

int pop3_server_greet(struct pop3_server *s, uint64_t now_ms)
{
    if (s->awaited != GREETING)
        return BRANT_ESTATE;
    s->now_ms = s->active_ms = now_ms;
    s->awaited = NOTHING;
    /* RFC 1939 7, APOP: no <…> in the greeting, for APOP is not offered. */
    pop3_put(s, "+OK ");
    buf_append(&s->out, span_sub(span_str(s->config.hostname), 0, NAME_BYTES_MAX));
    pop3_reply(s, " POP3 server ready");
    return BRANT_OK;
}

void pop3_end(struct pop3_server *s, enum pop3_close_reason reason)
{
    if (s->phase == ENDED)
        return;
    s->phase = ENDED;
    s->reason = reason;
    s->awaited = NOTHING;
    s->streaming = NO_STREAM;
    s->open_due = false;
    s->cancel_due = false;
    buf_done(&s->line);
    buf_done(&s->response);
    pop3_maildrop_done(&s->maildrop);
}

void pop3_server_end(struct pop3_server *s, enum pop3_close_reason reason)
{
    if (s->awaited == GREETING && reason == POP3_CLOSE_OVERLOAD)
        pop3_reply(s, "-ERR [SYS/TEMP] too many connections, try again later");
    if (reason == POP3_CLOSE_SHUTDOWN && s->phase != ENDED && s->awaited != GREETING &&
        s->awaited != TLS_START)
        s->shutdown = true;
    else
        pop3_end(s, reason);
}

void pop3_refuse(struct pop3_server *s, const char *text)
{
    uint32_t max = s->phase == AUTHORIZATION ? s->config.login_errors_max : s->config.errors_max;

    pop3_reply(s, text);
    if (++s->errors >= max)
        pop3_end(s, POP3_CLOSE_ERRORS);
}

/* ---- time ---- */

uint64_t pop3_server_timeout_ms(const struct pop3_server *s, uint64_t now_ms)
{
    uint64_t due = s->active_ms + s->config.idle_timeout_ms; /* RFC 1939 3: the autologout timer */

    if (s->phase == ENDED || (s->awaited != NOTHING && s->awaited != TLS_START) || s->open_due)
        return POP3_NO_TIMEOUT;
    if (s->phase == AUTHORIZATION && due > s->started_ms + s->config.login_timeout_ms)
        due = s->started_ms + s->config.login_timeout_ms;
    if (s->out.len > 0 && due > s->progress_ms + s->config.write_timeout_ms)
        due = s->progress_ms + s->config.write_timeout_ms;
    return due > now_ms ? due - now_ms : 0;
}

/* ---- arguments ---- */

/* A number at the front, and what follows its spaces. A number too large for 64 bits counts as the largest:
 * no message has it, and no message has more lines. BRANT_ESYNTAX. */
static int take_number(struct span *argument, uint64_t *ret)
{
    size_t len = 0;
    uint64_t value;
    int err;

    while (len < argument->len && argument->p[len] != ' ')
        len++;
    err = span_to_u64(span_sub(*argument, 0, len), UINT64_MAX, &value);
    if (err == BRANT_ELIMIT)
        value = UINT64_MAX;
    else if (err != BRANT_OK)
        return err;
    *argument = span_trim(span_from(*argument, len));
    *ret = value;
    return BRANT_OK;
}

/* The message that the argument names, which must be all there is; NULL and replied when there is none. */
static const struct pop3_message *only_message(struct pop3_server *s, struct span argument, uint64_t *ret)
{
    const struct pop3_message *message;
    uint64_t number;

    if (take_number(&argument, &number) != BRANT_OK || argument.len > 0) {
        pop3_refuse(s, "-ERR a message number is wanted");
        return NULL;
    }
    if (!(message = pop3_maildrop_get(&s->maildrop, number))) {
        pop3_reply(s, "-ERR no such message");
        return NULL;
    }
    *ret = number;
    return message;
}

/* ---- commands ---- */

static void run_capa(struct pop3_server *s, struct span argument)
{
    (void)argument;
    /* RFC 2449 5 and 6: the same list in both states. */
    pop3_reply(s, "+OK capabilities follow");
    pop3_reply(s, "TOP");
    pop3_reply(s, "UIDL");
    if (s->offer.stls && !s->tls)
        pop3_reply(s, "STLS");
    if (s->offer.password)
        pop3_reply(s, "USER");
    if (pop3_sasl_offered(s)) {
        pop3_put(s, "SASL ");
        pop3_reply(s, s->offer.sasl);
    }
    pop3_reply(s, "PIPELINING");
    pop3_reply(s, "RESP-CODES");
    pop3_reply(s, "AUTH-RESP-CODE");
    pop3_reply(s, "EXPIRE NEVER");
    pop3_reply(s, "UTF8 USER");
    pop3_reply(s, "IMPLEMENTATION brant");
    pop3_reply(s, ".");
}

/* RFC 6856 2.1: before login only, and it cannot be taken back; saying it twice is harmless. */
static void run_utf8(struct pop3_server *s, struct span argument)
{
    (void)argument;
    pop3_reply(s, "+OK UTF-8 it is");
}

static void run_stat(struct pop3_server *s, struct span argument)
{
    const struct pop3_maildrop *m = &s->maildrop;

    (void)argument;
    pop3_put(s, "+OK ");
    put_number(s, m->count - m->deleted_count, " ");
    put_number(s, m->size_bytes - m->deleted_size_bytes, "\r\n");
}

static void start_stream(struct pop3_server *s, enum streaming streaming)
{
    s->streaming = streaming;
    s->cursor = 0;
}

/* RFC 1939 5, LIST: a scan listing. */
static void put_scan(struct pop3_server *s, const char *before, uint64_t number,
                     const struct pop3_message *message)
{
    pop3_put(s, before);
    put_number(s, number, " ");
    put_number(s, message->size_bytes, "\r\n");
}

/* RFC 1939 7, UIDL: 1 to 70 printable characters that stay the same in every session. */
static void put_uidl(struct pop3_server *s, const char *before, uint64_t number,
                     const struct pop3_message *message)
{
    pop3_put(s, before);
    put_number(s, number, " ");
    put_number(s, s->maildrop.uidvalidity, ".");
    put_number(s, message->uid, "\r\n");
}

/* "N messages, N octets" of what is not marked. */
static void put_totals(struct pop3_server *s)
{
    const struct pop3_maildrop *m = &s->maildrop;

    pop3_put(s, "+OK ");
    put_number(s, m->count - m->deleted_count, " messages, ");
    put_number(s, m->size_bytes - m->deleted_size_bytes, " octets\r\n");
}

static void run_list(struct pop3_server *s, struct span argument)
{
    const struct pop3_message *message;
    uint64_t number;

    if (argument.len > 0) {
        if ((message = only_message(s, argument, &number)))
            put_scan(s, "+OK ", number, message);
        return;
    }
    put_totals(s);
    start_stream(s, LIST_STREAM);
}

static void run_uidl(struct pop3_server *s, struct span argument)
{
    const struct pop3_message *message;
    uint64_t number;

    if (argument.len > 0) {
        if ((message = only_message(s, argument, &number)))
            put_uidl(s, "+OK ", number, message);
        return;
    }
    pop3_reply(s, "+OK unique ids follow");
    start_stream(s, UIDL_STREAM);
}

static void end_message(struct pop3_server *s)
{
    pop3_stuff_end(&s->stuff, &s->out);
    s->streaming = NO_STREAM;
    if (s->stuff.lines_left == POP3_STUFF_ALL)
        s->stats.retrieved++;
    else
        s->stats.topped++;
}

static void start_message(struct pop3_server *s, const struct pop3_message *message, uint64_t body_lines)
{
    s->streaming = MESSAGE_STREAM;
    s->message = *message;
    s->offset = 0;
    pop3_stuff_init(&s->stuff, body_lines);
}

static void run_retr(struct pop3_server *s, struct span argument)
{
    const struct pop3_message *message;
    uint64_t number;

    if ((message = only_message(s, argument, &number)))
        start_message(s, message, POP3_STUFF_ALL);
}

static void run_top(struct pop3_server *s, struct span argument)
{
    const struct pop3_message *message;
    uint64_t number, lines;

    if (take_number(&argument, &number) != BRANT_OK || take_number(&argument, &lines) != BRANT_OK ||
        argument.len > 0) {
        pop3_refuse(s, "-ERR a message number and a number of lines are wanted");
        return;
    }
    if (!(message = pop3_maildrop_get(&s->maildrop, number))) {
        pop3_reply(s, "-ERR no such message");
        return;
    }
    start_message(s, message, lines < POP3_STUFF_ALL ? lines : POP3_STUFF_ALL - 1);
}

static void run_dele(struct pop3_server *s, struct span argument)
{
    uint64_t number;

    if (!only_message(s, argument, &number))
        return;
    pop3_maildrop_delete(&s->maildrop, number);
    pop3_reply(s, "+OK marked");
}

static void run_noop(struct pop3_server *s, struct span argument)
{
    (void)argument;
    pop3_reply(s, "+OK");
}

static void run_rset(struct pop3_server *s, struct span argument)
{
    (void)argument;
    pop3_maildrop_undelete(&s->maildrop);
    pop3_reply(s, "+OK nothing is marked");
}

static void run_quit(struct pop3_server *s, struct span argument)
{
    (void)argument;
    /* RFC 1939 6: only QUIT in the TRANSACTION state enters the UPDATE state. */
    if (s->phase == TRANSACTION && s->maildrop.deleted_count > 0) {
        s->awaited = UPDATE_ANSWER;
        return;
    }
    pop3_reply(s, "+OK bye");
    pop3_end(s, POP3_CLOSE_QUIT);
}

static const struct command commands[] = {
    {"AUTH", AUTHORIZATION, true, pop3_run_auth},
    {"CAPA", AUTHORIZATION | TRANSACTION, false, run_capa},
    {"DELE", TRANSACTION, true, run_dele},
    {"LIST", TRANSACTION, true, run_list},
    {"NOOP", TRANSACTION, false, run_noop},
    {"PASS", AUTHORIZATION, true, pop3_run_pass},
    {"QUIT", AUTHORIZATION | TRANSACTION, false, run_quit},
    {"RETR", TRANSACTION, true, run_retr},
    {"RSET", TRANSACTION, false, run_rset},
    {"STAT", TRANSACTION, false, run_stat},
    {"STLS", AUTHORIZATION, false, pop3_run_stls},
    {"TOP", TRANSACTION, true, run_top},
    {"UIDL", TRANSACTION, true, run_uidl},
    {"USER", AUTHORIZATION, true, pop3_run_user},
    {"UTF8", AUTHORIZATION, false, run_utf8},
};

/* ---- input ---- */

static const struct command *find_command(struct span verb)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (span_eq_str_nocase(verb, commands[i].verb))
            return &commands[i];
    }
    return NULL;
}

/* A browser, or a script in one, that was sent here to have its request taken for mail commands. */
static bool is_http(struct span verb)
{
    static const char *const methods[] = {"GET",     "POST",    "HEAD",  "PUT",
                                          "OPTIONS", "CONNECT", "PATCH", "TRACE"};

    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (span_eq_str_nocase(verb, methods[i]))
            return true;
    }
    return false;
}

static void run_line(struct pop3_server *s, struct span line)
{
    size_t space = span_find_byte(line, ' ');
    struct span verb = span_sub(line, 0, space);
    struct span argument = space == SPAN_NPOS ? SPAN_NONE : span_from(line, space + 1);
    const struct command *command = find_command(verb);

    if (span_find_byte(line, 0) != SPAN_NPOS) {
        pop3_refuse(s, "-ERR NUL in a command");
        return;
    }
    if (!command) {
        if (s->phase == AUTHORIZATION && is_http(verb))
            pop3_end(s, POP3_CLOSE_PROTOCOL);
        else
            pop3_refuse(s, "-ERR unknown command");
        return;
    }
    if (!(command->phases & s->phase)) {
        pop3_refuse(s, s->phase == AUTHORIZATION ? "-ERR log in first" : "-ERR not after login");
        return;
    }
    /* RFC 1939 7, PASS: everything behind one space is the password, spaces included. */
    if (command->run != pop3_run_pass)
        argument = span_trim(argument);
    if (!command->has_argument && argument.len > 0) {
        pop3_refuse(s, "-ERR this command has no argument");
        return;
    }
    command->run(s, argument);
}

void pop3_drop_line(struct pop3_server *s)
{
    buf_reset(&s->line);
    if (s->line.cap > LINE_BYTES_MAX)
        buf_shrink(&s->line);
}

/* How long the line being received may be, which depends on how it begins. */
static size_t line_bytes_max(const struct pop3_server *s)
{
    bool auth = s->exchange ||
                (s->phase == AUTHORIZATION && span_starts_nocase(buf_span(&s->line), SPAN_LIT("AUTH ")));

    return auth ? AUTH_LINE_BYTES_MAX : LINE_BYTES_MAX;
}

/* Moves bytes into the line until it is complete. Lines end with CRLF and nothing else; the outcome is the
 * same however the bytes are split. False: not complete yet, or the session has ended. */
static bool take_line(struct pop3_server *s, struct span *in)
{
    while (in->len > 0) {
        bool after_cr = s->line.len > 0 && s->line.data[s->line.len - 1] == '\r';
        uint8_t c = in->p[0];

        *in = span_from(*in, 1);
        if (s->line.len == 0 && c == 0x16 && s->phase == AUTHORIZATION) { /* a TLS handshake record */
            pop3_end(s, POP3_CLOSE_PROTOCOL);
            return false;
        }
        if (after_cr != (c == '\n')) {
            pop3_reply(s, "-ERR lines end with CRLF");
            pop3_end(s, POP3_CLOSE_BARE);
            return false;
        }
        buf_append_byte(&s->line, c);
        if (c == '\n')
            return true;
        if (s->line.len >= line_bytes_max(s)) {
            pop3_reply(s, "-ERR line too long");
            pop3_end(s, POP3_CLOSE_LINE);
            return false;
        }
    }
    return false;
}

/* ---- events ---- */

/* Adds lines of LIST or UIDL while there is room. */
static void stream_list(struct pop3_server *s)
{
    while (room(s) >= LIST_LINE_MAX) {
        const struct pop3_message *message;

        s->cursor = pop3_maildrop_next(&s->maildrop, s->cursor, false);
        if (s->cursor == 0) {
            pop3_reply(s, ".");
            s->streaming = NO_STREAM;
            return;
        }
        message = pop3_maildrop_get(&s->maildrop, s->cursor);
        if (s->streaming == UIDL_STREAM)
            put_uidl(s, "", s->cursor, message);
        else
            put_scan(s, "", s->cursor, message);
    }
}

/* How much of the message may be asked for: what surely fits into the output, the reply line before it and
 * the end behind it included. 0 until a worthwhile part of the output is free. */
static uint32_t read_size(const struct pop3_server *s)
{
    size_t free_bytes = room(s), want = s->message.size_bytes - s->offset;

    if (free_bytes < s->out.max / 2 || free_bytes < 2 * REPLY_BYTES_MAX)
        return 0;
    free_bytes = (free_bytes - REPLY_BYTES_MAX) / 3 * 2; /* pop3_stuff_bound */
    if (want > free_bytes)
        want = free_bytes;
    return (uint32_t)(want < s->config.read_bytes_max ? want : s->config.read_bytes_max);
}

static void message_begins(struct pop3_server *s)
{
    if (s->stuff.lines_left == POP3_STUFF_ALL) {
        pop3_put(s, "+OK ");
        put_number(s, s->message.size_bytes, " octets\r\n");
    } else {
        pop3_reply(s, "+OK top of the message follows");
    }
}

/* Goes on with a multi-line response; POP3_EVENT_MORE when it is complete. */
static enum pop3_event_type stream(struct pop3_server *s, struct pop3_event *ret)
{
    if (s->streaming != MESSAGE_STREAM) {
        stream_list(s);
    } else if (s->message.size_bytes == 0) {
        message_begins(s);
        end_message(s);
    } else if ((ret->size_bytes = read_size(s)) > 0) {
        ret->uid = s->message.uid;
        ret->offset = s->offset;
        s->awaited = READ_ANSWER;
        return POP3_EVENT_READ;
    }
    return s->streaming == NO_STREAM ? POP3_EVENT_MORE : POP3_EVENT_BLOCKED;
}

/* The event that the command just carried out asks with; POP3_EVENT_MORE when it asks for nothing. */
static enum pop3_event_type question(struct pop3_server *s, struct pop3_event *ret)
{
    struct span line = buf_span(&s->line);

    switch (s->awaited) {
    case LOGIN_ANSWER:
        ret->user = buf_span(&s->user);
        ret->password = span_sub(line, strlen("PASS "), line.len - strlen("PASS \r\n"));
        return POP3_EVENT_LOGIN;
    case AUTH_ANSWER:
        ret->mechanism = s->mechanism;
        ret->has_response = s->has_response;
        ret->response = s->has_response ? buf_span(&s->response) : SPAN_NONE;
        return s->exchange ? POP3_EVENT_AUTH_RESPONSE : POP3_EVENT_AUTH;
    case STLS_ANSWER:
        return POP3_EVENT_STLS;
    case UPDATE_ANSWER:
        return POP3_EVENT_UPDATE;
    default:
        return POP3_EVENT_MORE;
    }
}

/* Takes and carries out the next command. POP3_EVENT_MORE: there may be another. */
static enum pop3_event_type command(struct pop3_server *s, struct span *in, struct pop3_event *ret)
{
    struct span line;

    if (room(s) < (s->phase == AUTHORIZATION ? CHALLENGE_BYTES_MAX : 0) + 2 * REPLY_BYTES_MAX)
        return POP3_EVENT_BLOCKED;
    if (!take_line(s, in))
        return POP3_EVENT_MORE;
    s->active_ms = s->now_ms;
    line = span_sub(buf_span(&s->line), 0, s->line.len - strlen("\r\n"));
    if (s->exchange)
        pop3_auth_line(s, line);
    else
        run_line(s, line);
    if (s->awaited != LOGIN_ANSWER)
        pop3_drop_line(s);
    return question(s, ret);
}

/* One step. POP3_EVENT_MORE: go on while there is input, a response to stream or a login to follow up. */
static enum pop3_event_type step(struct pop3_server *s, struct span *in, struct pop3_event *ret)
{
    if (s->awaited != NOTHING)
        return POP3_EVENT_WAIT;
    if (s->cancel_due) {
        s->cancel_due = false;
        return POP3_EVENT_AUTH_CANCEL;
    }
    if (s->open_due) {
        s->open_due = false;
        s->awaited = OPEN_ANSWER;
        return POP3_EVENT_OPEN;
    }
    if (s->streaming != NO_STREAM)
        return stream(s, ret);
    if (s->shutdown) {
        pop3_end(s, POP3_CLOSE_SHUTDOWN);
        return POP3_EVENT_CLOSE;
    }
    return command(s, in, ret);
}

enum pop3_event_type pop3_server_next(struct pop3_server *s, struct span *in, uint64_t now_ms,
                                      struct pop3_event *ret)
{
    s->now_ms = now_ms;
    *ret = (struct pop3_event){POP3_EVENT_MORE};
    while (ret->type == POP3_EVENT_MORE && s->phase != ENDED) {
        ret->type = step(s, in, ret);
        if (in->len == 0 && s->streaming == NO_STREAM && !s->cancel_due)
            break;
    }
    if (s->phase == ENDED) {
        *in = span_from(*in, in->len); /* what follows QUIT is nobody's */
        ret->type = POP3_EVENT_CLOSE;
        ret->reason = s->reason;
    }
    return ret->type;
}

/* ---- answers ---- */

int pop3_server_open_failed(struct pop3_server *s, enum pop3_open_failure failure)
{
    if (s->awaited != OPEN_ANSWER && s->awaited != LISTING_ANSWER)
        return BRANT_ESTATE;
    s->awaited = NOTHING;
    pop3_maildrop_done(&s->maildrop);
    /* RFC 1939 4: the session stays in the AUTHORIZATION state. */
    if (failure == POP3_OPEN_IN_USE)
        pop3_reply(s, "-ERR [IN-USE] another session has this maildrop open");
    else
        pop3_reply(s, "-ERR [SYS/TEMP] cannot open the maildrop now, try again later");
    return BRANT_OK;
}

int pop3_server_maildrop_begin(struct pop3_server *s, uint32_t uidvalidity, uint32_t count)
{
    if (s->awaited != OPEN_ANSWER)
        return BRANT_ESTATE;
    s->awaited = LISTING_ANSWER;
    pop3_maildrop_init(&s->maildrop, uidvalidity,
                       count < s->config.messages_max ? count : s->config.messages_max);
    return BRANT_OK;
}

int pop3_server_maildrop_add(struct pop3_server *s, uint32_t uid, uint32_t size_bytes)
{
    if (s->awaited != LISTING_ANSWER)
        return BRANT_ESTATE;
    return pop3_maildrop_add(&s->maildrop, uid, size_bytes);
}

int pop3_server_maildrop_done(struct pop3_server *s)
{
    if (s->awaited != LISTING_ANSWER)
        return BRANT_ESTATE;
    s->awaited = NOTHING;
    s->phase = TRANSACTION;
    s->errors = 0;
    s->active_ms = s->now_ms;
    put_totals(s);
    return BRANT_OK;
}

int pop3_server_read_done(struct pop3_server *s, struct span bytes)
{
    if (s->awaited != READ_ANSWER)
        return BRANT_ESTATE;
    if (bytes.len == 0 || bytes.len > read_size(s))
        return BRANT_ELIMIT;
    s->awaited = NOTHING;
    if (s->offset == 0)
        message_begins(s);
    pop3_stuff_add(&s->stuff, bytes, &s->out);
    s->offset += (uint32_t)bytes.len;
    if (s->stuff.complete || s->offset == s->message.size_bytes)
        end_message(s);
    return BRANT_OK;
}

int pop3_server_read_failed(struct pop3_server *s, enum pop3_read_failure failure)
{
    if (s->awaited != READ_ANSWER)
        return BRANT_ESTATE;
    s->awaited = NOTHING;
    s->streaming = NO_STREAM;
    if (s->offset >
        0) /* the response has begun and cannot be taken back: only the connection's end says so */
        pop3_end(s, POP3_CLOSE_READ);
    else if (failure == POP3_READ_GONE)
        pop3_reply(s, "-ERR that message is gone");
    else
        pop3_reply(s, "-ERR [SYS/TEMP] cannot read that message now");
    return BRANT_OK;
}

bool pop3_server_deleted_next(const struct pop3_server *s, uint32_t *cursor, uint32_t *ret_uid)
{
    uint32_t number = pop3_maildrop_next(&s->maildrop, *cursor, true);

    if (number == 0)
        return false;
    *cursor = number;
    *ret_uid = s->maildrop.messages[number - 1].uid;
    return true;
}

uint32_t pop3_server_deleted_count(const struct pop3_server *s)
{
    return s->maildrop.deleted_count;
}

int pop3_server_update_done(struct pop3_server *s, bool deleted)
{
    if (s->awaited != UPDATE_ANSWER)
        return BRANT_ESTATE;
    s->awaited = NOTHING;
    /* RFC 1939 6: whether or not it worked, the maildrop is released and the connection closed. */
    pop3_reply(s, deleted ? "+OK bye" : "-ERR [SYS/TEMP] the marked messages were not removed");
    pop3_end(s, POP3_CLOSE_QUIT);
    return BRANT_OK;
}

struct pop3_server_stats pop3_server_stats(const struct pop3_server *s)
{
    return s->stats;
}

size_t pop3_server_memory_bytes(const struct pop3_server *s)
{
    const struct pop3_maildrop *m = &s->maildrop;

    return sizeof *s + s->out.cap + s->line.cap + s->user.cap + s->response.cap +
           m->capacity * sizeof *m->messages + (m->deleted ? (m->count / 64 + 1) * sizeof *m->deleted : 0);
}

const char *pop3_close_reason_text(enum pop3_close_reason reason)
{
    static const char *const texts[] = {
        [POP3_CLOSE_NONE] = "none",          [POP3_CLOSE_QUIT] = "quit",
        [POP3_CLOSE_LOST] = "lost",          [POP3_CLOSE_TIMEOUT] = "timeout",
        [POP3_CLOSE_SHUTDOWN] = "shutdown",  [POP3_CLOSE_OVERLOAD] = "overload",
        [POP3_CLOSE_ERRORS] = "errors",      [POP3_CLOSE_FAILURES] = "login-failures",
        [POP3_CLOSE_LINE] = "line-too-long", [POP3_CLOSE_BARE] = "bare-cr-or-lf",
        [POP3_CLOSE_PROTOCOL] = "not-pop3",  [POP3_CLOSE_READ] = "read-failed",
    };

    return (size_t)reason < sizeof texts / sizeof texts[0] ? texts[reason] : "unknown";
}
