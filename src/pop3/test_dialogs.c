/* Plays tests/dialogs/pop3/NAME.txt (format: README.md there) against the engine: in step, in one
 * piece, byte by byte, and cut in two at every place. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/ascii.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "pop3/server.h"

enum {
    STEPS_MAX = 200,
    MESSAGES_MAX = 64,
    WILD = 0x100, /* in a pattern: any bytes */
    FILE_BYTES_MAX = 64 * 1024,
};

enum step_type { SEND, EXPECT, EXPECT_ANY, CLOSED, WAIT, HANDSHAKE };

struct step {
    enum step_type type;
    struct buf bytes;  /* SEND; CLOSED: the reason */
    uint16_t *pattern; /* EXPECT; owned */
    size_t pattern_len;
    uint64_t wait_ms;
    int line;
};

struct dialog {
    const char *name;
    struct step steps[STEPS_MAX];
    size_t step_count;
    struct buf messages[MESSAGES_MAX];
    uint32_t message_count;
    bool no_password, in_step_only;
    struct pop3_offer clear, tls; /* besides what no_password says */
    struct buf mechanisms[2];     /* of both */
    bool stls_refused, engine_only, needs_engine;
    bool login_expired, login_weak, login_malformed;
    bool login_refused, login_later, open_in_use, open_later, read_gone, read_later, update_fails;
    uint32_t read_breaks_at;
    struct buf deletes; /* " 1 2" */
};

struct play {
    struct dialog *d;
    struct pop3_server *s;
    struct buf out;     /* everything the server said */
    struct buf deleted; /* as dialog.deletes */
    bool closed;
    enum pop3_close_reason reason;
    uint64_t now_ms;
    struct span mechanism; /* of the exchange that is going on */
    int auth_step;         /* responses taken in it */
    struct buf name;       /* LOGIN */
};

static void fail(const struct dialog *d, int line, const char *what)
{
    fprintf(stderr, "%s:%d: %s\n", d->name, line, what);
    exit(1);
}

/* ---- reading a file ---- */

/* One unit of escaped text: a byte, or WILD. *at moves behind it. */
static uint16_t unit(const struct dialog *d, int line, struct span text, size_t *at, bool wild)
{
    uint8_t c = text.p[(*at)++];

    if (c == '*' && wild)
        return WILD;
    if (c != '\\')
        return c;
    if (*at == text.len)
        fail(d, line, "a backslash at the end");
    c = text.p[(*at)++];
    switch (c) {
    case 'r':
        return '\r';
    case 'n':
        return '\n';
    case 't':
        return '\t';
    case '0':
        return 0;
    case '\\':
    case '*':
        return c;
    case 'x':
        if (*at + 2 <= text.len && ascii_hex_value(text.p[*at]) >= 0 &&
            ascii_hex_value(text.p[*at + 1]) >= 0) {
            *at += 2;
            return (uint16_t)(ascii_hex_value(text.p[*at - 2]) * 16 + ascii_hex_value(text.p[*at - 1]));
        }
    }
    fail(d, line, "an unknown escape");
    return 0;
}

/* "\{N}" at the place: N, else 0. *at moves behind it. */
static uint64_t repetition(struct span text, size_t *at)
{
    struct span rest = span_from(text, *at);
    size_t end = span_find_byte(rest, '}');
    uint64_t count;

    if (!span_starts(rest, SPAN_LIT("\\{")) || end == SPAN_NPOS ||
        span_to_u64(span_sub(rest, 2, end - 2), 1000000, &count) != BRANT_OK)
        return 0;
    *at += end + 1;
    return count;
}

static size_t variable(struct span text, struct buf *out)
{
    static const struct {
        const char *name, *value;
    } variables[] = {{"$USER", "alice@brant.test"}, {"$PASS", "brant-demo"}};

    for (size_t i = 0; i < 2; i++) {
        if (span_starts(text, span_str(variables[i].name))) {
            buf_append_str(out, variables[i].value);
            return strlen(variables[i].name);
        }
    }
    return 0;
}

static void unescape(const struct dialog *d, int line, struct span text, struct buf *out)
{
    for (size_t at = 0; at < text.len;) {
        size_t used = variable(span_from(text, at), out);
        uint8_t byte;
        uint64_t count;

        at += used;
        if (used > 0)
            continue;
        byte = (uint8_t)unit(d, line, text, &at, false);
        count = repetition(text, &at);
        for (uint64_t i = 0; i < (count ? count : 1); i++)
            buf_append_byte(out, byte);
    }
    if (out->overflowed)
        fail(d, line, "too long");
}

static void pattern(const struct dialog *d, struct step *step, struct span text)
{
    step->pattern = mem_array(text.len + 1, sizeof *step->pattern);
    for (size_t at = 0; at < text.len;)
        step->pattern[step->pattern_len++] = unit(d, step->line, text, &at, true);
}

static void add_messages(struct dialog *d, int line, struct span count_and_size)
{
    size_t space = span_find_byte(count_and_size, ' ');
    uint64_t count = 0, size = 0;

    if (space == SPAN_NPOS ||
        span_to_u64(span_sub(count_and_size, 0, space), MESSAGES_MAX, &count) != BRANT_OK ||
        span_to_u64(span_from(count_and_size, space + 1), 1 << 20, &size) != BRANT_OK ||
        d->message_count + count > MESSAGES_MAX)
        fail(d, line, "messages COUNT SIZE");
    for (; count > 0; count--) {
        struct buf *m = &d->messages[d->message_count++];

        for (buf_init(m, 1 << 20); m->len < size;)
            buf_append_byte(m, (uint8_t) "x: y\r\n"[m->len % 6]);
    }
}

/* "stls", "password" or "sasl PLAIN LOGIN": one more thing that is offered. */
static void offer(struct dialog *d, int line, struct pop3_offer *o, struct buf *mechanisms, struct span what)
{
    d->needs_engine = true;
    if (span_eq_str(what, "stls")) {
        o->stls = true;
    } else if (span_eq_str(what, "password")) {
        o->password = true;
    } else if (span_starts(what, SPAN_LIT("sasl "))) {
        buf_append(mechanisms, span_from(what, 5));
        o->sasl = buf_cstr(mechanisms);
    } else {
        fail(d, line, "an unknown offer");
    }
}

static void setting(struct dialog *d, int line, struct span text)
{
    static const struct {
        const char *text;
        size_t offset;
    } flags[] = {
        {"no-password", offsetof(struct dialog, no_password)},
        {"only in-step", offsetof(struct dialog, in_step_only)},
        {"login refused", offsetof(struct dialog, login_refused)},
        {"login later", offsetof(struct dialog, login_later)},
        {"login expired", offsetof(struct dialog, login_expired)},
        {"login weak", offsetof(struct dialog, login_weak)},
        {"login malformed", offsetof(struct dialog, login_malformed)},
        {"stls refused", offsetof(struct dialog, stls_refused)},
        {"only engine", offsetof(struct dialog, engine_only)},
        {"open in-use", offsetof(struct dialog, open_in_use)},
        {"open later", offsetof(struct dialog, open_later)},
        {"read gone", offsetof(struct dialog, read_gone)},
        {"read later", offsetof(struct dialog, read_later)},
        {"update fails", offsetof(struct dialog, update_fails)},
    };
    uint64_t number;

    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (span_eq_str(text, flags[i].text)) {
            *(bool *)((char *)d + flags[i].offset) = true;
            return;
        }
    }
    if (span_starts(text, SPAN_LIT("clear "))) {
        offer(d, line, &d->clear, &d->mechanisms[0], span_from(text, 6));
    } else if (span_starts(text, SPAN_LIT("tls "))) {
        offer(d, line, &d->tls, &d->mechanisms[1], span_from(text, 4));
    } else if (span_starts(text, SPAN_LIT("message "))) {
        if (d->message_count == MESSAGES_MAX)
            fail(d, line, "too many messages");
        buf_init(&d->messages[d->message_count], 1 << 20);
        unescape(d, line, span_from(text, 8), &d->messages[d->message_count++]);
    } else if (span_starts(text, SPAN_LIT("messages "))) {
        add_messages(d, line, span_from(text, 9));
    } else if (span_starts(text, SPAN_LIT("deletes "))) {
        buf_append(&d->deletes, span_from(text, 7));
    } else if (span_starts(text, SPAN_LIT("read breaks ")) &&
               span_to_u64(span_from(text, 12), UINT32_MAX, &number) == BRANT_OK) {
        d->read_breaks_at = (uint32_t)number;
    } else {
        fail(d, line, "an unknown setting");
    }
}

static void dialog_line(struct dialog *d, struct span text, int line)
{
    struct step *step = &d->steps[d->step_count];

    if (text.len == 0 || text.p[0] == '#')
        return;
    if (span_starts(text, SPAN_LIT("@ "))) {
        setting(d, line, span_from(text, 2));
        return;
    }
    if (++d->step_count == STEPS_MAX)
        fail(d, line, "too many steps");
    *step = (struct step){.line = line};
    buf_init(&step->bytes, 1 << 20);
    if (span_starts(text, SPAN_LIT("C: ")) || span_starts(text, SPAN_LIT("C! ")) || span_eq_str(text, "C:")) {
        unescape(d, line, span_from(text, 3), &step->bytes);
        if (text.p[1] == ':')
            buf_append_str(&step->bytes, "\r\n");
    } else if (span_eq_str(text, "T: handshake")) {
        step->type = HANDSHAKE;
    } else if (span_starts(text, SPAN_LIT("S: close "))) {
        step->type = CLOSED;
        buf_append(&step->bytes, span_from(text, strlen("S: close ")));
    } else if (span_eq_str(text, "S: ...")) {
        step->type = EXPECT_ANY;
    } else if (span_starts(text, SPAN_LIT("S: ")) || span_eq_str(text, "S:")) {
        step->type = EXPECT;
        pattern(d, step, span_from(text, 3));
    } else if (span_starts(text, SPAN_LIT("W ")) &&
               span_to_u64(span_from(text, 2), UINT32_MAX, &step->wait_ms) == BRANT_OK) {
        step->type = WAIT;
        d->in_step_only = true;
    } else {
        fail(d, line, "not a line of a dialogue");
    }
}

static void dialog_read(struct dialog *d, const char *path, const char *name)
{
    static uint8_t text[FILE_BYTES_MAX];
    FILE *f = fopen(path, "rb");
    size_t len = f ? fread(text, 1, sizeof text, f) : 0;
    struct span rest = span_make(text, len);

    if (!f || len == sizeof text) {
        perror(path);
        exit(1);
    }
    fclose(f);
    *d = (struct dialog){.name = name};
    buf_init(&d->deletes, 1000);
    buf_init(&d->mechanisms[0], 1000);
    buf_init(&d->mechanisms[1], 1000);
    for (int line = 1; rest.len > 0; line++) {
        size_t lf = span_find_byte(rest, '\n');

        dialog_line(d, span_sub(rest, 0, lf), line);
        rest = span_from(rest, lf == SPAN_NPOS ? rest.len : lf + 1);
    }
    if (d->needs_engine && !d->engine_only)
        fail(d, 0, "what is offered can be set only for the bare engine");
    d->clear.password = d->clear.password || !(d->needs_engine || d->no_password);
}

static void dialog_done(struct dialog *d)
{
    for (size_t i = 0; i < d->step_count; i++) {
        buf_done(&d->steps[i].bytes);
        free(d->steps[i].pattern);
    }
    for (uint32_t i = 0; i < d->message_count; i++)
        buf_done(&d->messages[i]);
    buf_done(&d->deletes);
    buf_done(&d->mechanisms[0]);
    buf_done(&d->mechanisms[1]);
}

/* ---- the store of the scene ---- */

static void check_login(struct play *p, struct span user, struct span password)
{
    const struct dialog *d = p->d;
    bool known = span_eq_str(user, "alice@brant.test") && span_eq_str(password, "brant-demo");

    p->mechanism = SPAN_NONE;
    pop3_server_login_done(p->s, d->login_later               ? POP3_LOGIN_TRY_LATER
                                 : d->login_expired           ? POP3_LOGIN_EXPIRED
                                 : d->login_weak              ? POP3_LOGIN_WEAK
                                 : d->login_malformed         ? POP3_LOGIN_MALFORMED
                                 : d->login_refused || !known ? POP3_LOGIN_REFUSED
                                                              : POP3_LOGIN_OK);
}

static void challenge(struct play *p, const char *text)
{
    pop3_server_auth_challenge(p->s, span_str(text));
}

static void step_plain(struct play *p, struct span response)
{
    struct span user = span_from(response, 1);
    size_t nul = span_find_byte(user, 0);

    check_login(p, span_sub(user, 0, nul), nul == SPAN_NPOS ? SPAN_NONE : span_from(user, nul + 1));
}

static void step_login(struct play *p, struct span response)
{
    if (p->auth_step == 2) {
        check_login(p, buf_span(&p->name), response);
        return;
    }
    buf_reset(&p->name);
    buf_append(&p->name, response);
    challenge(p, "Password:");
}

/* Without sums: "first", "server-first", "final", "server-final", nothing. */
static void step_scram(struct play *p, struct span response)
{
    static const char *const says[] = {"first", "final", ""};
    static const char *const hears[] = {"server-first", "server-final"};

    if (!span_eq_str(response, says[p->auth_step - 1]))
        check_login(p, SPAN_NONE, SPAN_NONE);
    else if (p->auth_step == 3)
        check_login(p, SPAN_LIT("alice@brant.test"), SPAN_LIT("brant-demo"));
    else
        challenge(p, hears[p->auth_step - 1]);
}

static void answer_auth(struct play *p, const struct pop3_event *e)
{
    if (e->type == POP3_EVENT_AUTH) {
        p->mechanism = e->mechanism;
        p->auth_step = 0;
    }
    if (p->mechanism.len == 0)
        fail(p->d, 0, "a response to no exchange");
    p->auth_step += e->has_response;
    if (!e->has_response)
        challenge(p, span_eq_str(p->mechanism, "LOGIN") ? "Username:" : "");
    else if (span_eq_str(p->mechanism, "PLAIN"))
        step_plain(p, e->response);
    else if (span_eq_str(p->mechanism, "LOGIN"))
        step_login(p, e->response);
    else
        step_scram(p, e->response);
}

static void answer_open(struct play *p)
{
    struct dialog *d = p->d;

    if (d->open_in_use || d->open_later) {
        pop3_server_open_failed(p->s, d->open_in_use ? POP3_OPEN_IN_USE : POP3_OPEN_TRY_LATER);
        return;
    }
    pop3_server_maildrop_begin(p->s, 77, d->message_count);
    for (uint32_t i = 0; i < d->message_count; i++)
        pop3_server_maildrop_add(p->s, i + 1, (uint32_t)d->messages[i].len);
    pop3_server_maildrop_done(p->s);
}

static void answer_read(struct play *p, const struct pop3_event *e)
{
    struct dialog *d = p->d;
    uint32_t len = e->size_bytes;

    if (d->read_gone || d->read_later) {
        pop3_server_read_failed(p->s, d->read_gone ? POP3_READ_GONE : POP3_READ_TRY_LATER);
    } else if (d->read_breaks_at > 0 && e->offset == d->read_breaks_at) {
        pop3_server_read_failed(p->s, POP3_READ_TRY_LATER);
    } else {
        if (d->read_breaks_at > e->offset && len > d->read_breaks_at - e->offset)
            len = d->read_breaks_at - e->offset;
        pop3_server_read_done(p->s, span_sub(buf_span(&d->messages[e->uid - 1]), e->offset, len));
    }
}

static void answer_update(struct play *p)
{
    uint32_t cursor = 0, uid;

    while (!p->d->update_fails && pop3_server_deleted_next(p->s, &cursor, &uid))
        buf_printf(&p->deleted, " %u", uid);
    pop3_server_update_done(p->s, !p->d->update_fails);
}

static void take_output(struct play *p)
{
    struct span out = pop3_server_output(p->s);

    buf_append(&p->out, out);
    pop3_server_output_used(p->s, out.len, p->now_ms);
}

static void answer(struct play *p, const struct pop3_event *e)
{
    switch (e->type) {
    case POP3_EVENT_LOGIN:
        check_login(p, e->user, e->password);
        break;
    case POP3_EVENT_STLS:
        pop3_server_stls_done(p->s, !p->d->stls_refused);
        break;
    case POP3_EVENT_AUTH:
    case POP3_EVENT_AUTH_RESPONSE:
        answer_auth(p, e);
        break;
    case POP3_EVENT_AUTH_CANCEL:
        p->mechanism = SPAN_NONE;
        break;
    case POP3_EVENT_OPEN:
        answer_open(p);
        break;
    case POP3_EVENT_READ:
        answer_read(p, e);
        break;
    case POP3_EVENT_UPDATE:
        answer_update(p);
        break;
    case POP3_EVENT_CLOSE:
        p->closed = true;
        p->reason = e->reason;
        take_output(p);
        break;
    default:
        take_output(p);
    }
}

/* What is not taken before TLS is thrown away. */
static void say(struct play *p, struct span in)
{
    struct pop3_event e;
    enum pop3_event_type type;

    do {
        type = pop3_server_next(p->s, &in, p->now_ms, &e);
        answer(p, &e);
    } while (type != POP3_EVENT_CLOSE && type != POP3_EVENT_MORE && type != POP3_EVENT_WAIT);
}

static void handshake(struct play *p)
{
    if (pop3_server_tls_started(p->s, p->now_ms) == BRANT_OK)
        pop3_server_offer(p->s, &p->d->tls);
}

/* ---- playing ---- */

static void play_init(struct play *p, struct dialog *d, size_t output_bytes_max)
{
    struct pop3_server_config c;

    *p = (struct play){.d = d};
    buf_init(&p->out, 4 << 20);
    buf_init(&p->deleted, 1000);
    pop3_server_config_init(&c, "mx.example");
    c.output_bytes_max = output_bytes_max;
    p->s = pop3_server_new(&c, 0);
    pop3_server_offer(p->s, &d->clear);
    buf_init(&p->name, 1000);
    pop3_server_greet(p->s, 0);
    say(p, SPAN_NONE);
}

static void play_done(struct play *p)
{
    pop3_server_free(p->s);
    buf_done(&p->out);
    buf_done(&p->deleted);
    buf_done(&p->name);
}

/* A pattern against one line; each WILD may be tried again one byte further on. */
static bool matches(const struct step *step, struct span line)
{
    size_t p = 0, at = 0, wild = SPAN_NPOS, wild_at = 0;

    while (at < line.len) {
        if (p < step->pattern_len && step->pattern[p] == WILD) {
            wild = p++;
            wild_at = at;
        } else if (p < step->pattern_len && step->pattern[p] == line.p[at]) {
            p++;
            at++;
        } else if (wild != SPAN_NPOS) {
            p = wild + 1;
            at = ++wild_at;
        } else {
            return false;
        }
    }
    while (p < step->pattern_len && step->pattern[p] == WILD)
        p++;
    return p == step->pattern_len;
}

static void show_difference(const struct dialog *d, int line, struct span got, const char *how)
{
    fprintf(stderr, "%s:%d: played %s, the server said: %.*s\n", d->name, line, how, SPAN_ARG(got));
    exit(1);
}

/* Takes from the front of *out the line that this step expects. */
static void expect(const struct dialog *d, const struct step *step, bool skipping, struct span *out,
                   const char *how)
{
    for (;;) {
        size_t crlf = span_find(*out, SPAN_LIT("\r\n"));
        struct span line = span_sub(*out, 0, crlf);

        if (crlf == SPAN_NPOS || (!matches(step, line) && !skipping))
            show_difference(d, step->line, *out, how);
        *out = span_from(*out, crlf + 2);
        if (matches(step, line))
            return;
    }
}

static void check_end(const struct play *p, const char *how)
{
    const struct step *last = &p->d->steps[p->d->step_count - 1];

    if (p->closed != (last->type == CLOSED))
        fail(p->d, last->line, p->closed ? "closed too early" : "still open");
    if (p->closed && !span_eq_str(buf_span(&last->bytes), pop3_close_reason_text(p->reason)))
        fail(p->d, last->line, pop3_close_reason_text(p->reason));
    if (!span_eq(buf_span(&p->deleted), buf_span(&p->d->deletes)))
        show_difference(p->d, 0, buf_span(&p->deleted), how);
}

/* This step is sent without waiting for what the one before it is answered. */
static bool pipelined(const struct dialog *d, size_t i)
{
    return i > 0 && i < d->step_count && d->steps[i].type == SEND && d->steps[i - 1].type == SEND;
}

static void play_in_step(struct dialog *d, size_t output_bytes_max)
{
    struct play p;
    size_t seen = 0;

    play_init(&p, d, output_bytes_max);
    for (size_t i = 0; i < d->step_count; i++) {
        struct step *step = &d->steps[i];
        struct span out = span_from(buf_span(&p.out), seen);

        if (step->type == EXPECT) {
            expect(d, step, i > 0 && d->steps[i - 1].type == EXPECT_ANY, &out, "in step");
            seen = p.out.len - out.len;
        } else if (step->type != EXPECT_ANY && seen < p.out.len && !pipelined(d, i)) {
            show_difference(d, step->line, out, "in step");
        } else if (step->type == SEND) {
            say(&p, buf_span(&step->bytes));
        } else if (step->type == HANDSHAKE) {
            handshake(&p);
        } else if (step->type == WAIT) {
            p.now_ms += step->wait_ms;
            if (pop3_server_timeout_ms(p.s, p.now_ms) == 0)
                pop3_server_end(p.s, POP3_CLOSE_TIMEOUT);
            say(&p, SPAN_NONE);
        }
    }
    if (seen < p.out.len)
        show_difference(d, 0, span_from(buf_span(&p.out), seen), "in step");
    check_end(&p, "in step");
    play_done(&p);
}

/* Where in all that is sent the handshake is; SPAN_NPOS: nowhere. */
static size_t handshake_at(const struct dialog *d)
{
    size_t at = 0;

    for (size_t i = 0; i < d->step_count; i++) {
        if (d->steps[i].type == HANDSHAKE)
            return at;
        if (d->steps[i].type == SEND)
            at += d->steps[i].bytes.len;
    }
    return SPAN_NPOS;
}

/* The whole of the client's bytes in two parts, each in pieces of `piece` bytes. */
static void play_cut(struct dialog *d, struct span all, size_t cut, size_t piece, size_t output_bytes_max)
{
    struct play p;
    struct span out;
    char how[80];
    bool skipping = false;
    size_t tls_at = handshake_at(d);

    snprintf(how, sizeof how, "cut at %zu, in pieces of %zu, output %zu", cut, piece, output_bytes_max);
    play_init(&p, d, output_bytes_max);
    for (size_t at = 0; at < all.len && !p.closed;) {
        size_t end = at < cut ? cut : all.len, len = piece < end - at ? piece : end - at;

        if (at == tls_at)
            handshake(&p);
        else if (at < tls_at && len > tls_at - at)
            len = tls_at - at;
        say(&p, span_sub(all, at, len));
        at += len;
    }
    out = buf_span(&p.out);
    for (size_t i = 0; i < d->step_count; i++) {
        if (d->steps[i].type == EXPECT)
            expect(d, &d->steps[i], skipping, &out, how);
        skipping = d->steps[i].type == EXPECT_ANY;
    }
    if (out.len > 0)
        show_difference(d, 0, out, how);
    check_end(&p, how);
    play_done(&p);
}

static size_t play_all(struct dialog *d)
{
    _cleanup_buf_ struct buf all;
    size_t plays = 2;

    buf_init(&all, 4 << 20);
    if (d->step_count == 0)
        fail(d, 0, "no dialogue");
    play_in_step(d, 64 * 1024);
    play_in_step(d, 4096);
    if (d->in_step_only)
        return plays;
    for (size_t i = 0; i < d->step_count; i++) {
        if (d->steps[i].type == SEND)
            buf_append(&all, buf_span(&d->steps[i].bytes));
    }
    play_cut(d, buf_span(&all), 0, all.len, 64 * 1024);
    play_cut(d, buf_span(&all), 0, 1, 64 * 1024);
    play_cut(d, buf_span(&all), 0, 1, 4096);
    plays += 3;
    for (size_t cut = 1; cut < all.len; cut++, plays++)
        play_cut(d, buf_span(&all), cut, all.len, 64 * 1024);
    return plays;
}

int main(void)
{
    const char *root = getenv("BRANT_SOURCE_ROOT");
    static struct dialog d;
    char folder[4000], path[4300];
    size_t files = 0, plays = 0;
    struct dirent *entry;
    DIR *dir;

    snprintf(folder, sizeof folder, "%s/tests/dialogs/pop3", root ? root : ".");
    if (!(dir = opendir(folder))) {
        perror(folder);
        return 1;
    }
    while ((entry = readdir(dir))) {
        if (!span_ends(span_str(entry->d_name), SPAN_LIT(".txt")))
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        dialog_read(&d, path, entry->d_name);
        plays += play_all(&d);
        dialog_done(&d);
        files++;
    }
    closedir(dir);
    printf("%zu dialogues, played %zu times\n", files, plays);
    return files == 0;
}
