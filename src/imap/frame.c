#include "imap/frame.h"

#include <assert.h>

#include "base/ascii.h"

enum { KEPT_CAPACITY = 512 };

void imap_frame_init(struct imap_frame *f, size_t max, uint64_t skip_max, bool secret)
{
    *f = (struct imap_frame){.max = max, .skip_max = skip_max};
    if (secret)
        buf_init_secret(&f->text, max);
    else
        buf_init(&f->text, max);
}

void imap_frame_done(struct imap_frame *f)
{
    buf_done(&f->text);
}

struct span imap_frame_text(const struct imap_frame *f)
{
    return buf_span(&f->text);
}

bool imap_frame_literal_fits(const struct imap_frame *f)
{
    size_t room = f->max - f->text.len;

    return !f->skipping && room >= 2 && f->literal_octets <= room - 2;
}

static void line_begin(struct imap_frame *f)
{
    f->phase = IMAP_FRAME_LINE;
    f->last_cr = f->quoted = f->escaped = f->tilde = false;
    f->brace = 0;
}

void imap_frame_next_command(struct imap_frame *f)
{
    buf_reset(&f->text);
    if (f->text.cap > KEPT_CAPACITY)
        buf_shrink(&f->text);
    f->skipping = false;
    f->skipped = 0;
    line_begin(f);
}

/* Follows "{" digits "+" "}" outside quotes; anything else there forgets it. */
static void brace_follow(struct imap_frame *f, uint8_t c)
{
    if (c == '{') {
        f->brace = 1;
        f->brace_number = 0;
        f->brace_sync = true;
        f->brace8 = f->tilde;
    } else if (ascii_is_digit(c) && (f->brace == 1 || f->brace == 2)) {
        f->brace = 2;
        if (f->brace_number > (UINT64_MAX - 9) / 10)
            f->brace_number = UINT64_MAX;
        else
            f->brace_number = f->brace_number * 10 + (c - '0');
    } else if (c == '+' && f->brace == 2) {
        f->brace = 3;
        f->brace_sync = false;
    } else if (c == '}' && (f->brace == 2 || f->brace == 3)) {
        f->brace = 4;
    } else {
        f->brace = 0;
    }
    f->tilde = c == '~';
}

static void follow(struct imap_frame *f, uint8_t c)
{
    if (f->plain)
        return;
    if (f->quoted) {
        if (f->escaped)
            f->escaped = false;
        else if (c == '\\')
            f->escaped = true;
        else if (c == '"')
            f->quoted = false;
        return;
    }
    if (c == '"') {
        f->quoted = true;
        f->brace = 0;
        return;
    }
    brace_follow(f, c);
}

static enum imap_frame_event break_off(struct imap_frame *f, enum imap_frame_event why)
{
    f->phase = IMAP_FRAME_BROKEN;
    f->broken = why;
    return why;
}

/* CRLF was read. */
static enum imap_frame_event line_end(struct imap_frame *f)
{
    bool announced = f->brace == 4;

    f->last_cr = false;
    if (!announced) {
        f->phase = IMAP_FRAME_WHOLE;
        return IMAP_FRAME_COMMAND;
    }
    f->phase = IMAP_FRAME_ANNOUNCED;
    f->literal_octets = f->brace_number;
    f->literal_sync = f->brace_sync;
    f->literal8 = f->brace8;
    if (f->skipping) {
        imap_frame_literal_refuse(f);
        return IMAP_FRAME_MORE;
    }
    return IMAP_FRAME_LITERAL;
}

/* One byte of a line. MORE: go on. */
static enum imap_frame_event line_byte(struct imap_frame *f, uint8_t c)
{
    if (f->last_cr != (c == '\n'))
        return break_off(f, IMAP_FRAME_BARE);
    if (c == '\n')
        return line_end(f);
    if (c == '\r') {
        f->last_cr = true;
        return IMAP_FRAME_MORE;
    }
    follow(f, c);
    if (f->skipping)
        return ++f->skipped > f->skip_max ? break_off(f, IMAP_FRAME_ENDLESS) : IMAP_FRAME_MORE;
    if (f->text.len == f->max) {
        f->skipping = true;
        f->skipped = 1;
        return IMAP_FRAME_LONG;
    }
    buf_append_byte(&f->text, c);
    return IMAP_FRAME_MORE;
}

static enum imap_frame_event line_feed(struct imap_frame *f, struct span *in)
{
    while (in->len) {
        enum imap_frame_event event = line_byte(f, in->p[0]);

        *in = span_from(*in, 1);
        if (event != IMAP_FRAME_MORE || f->phase != IMAP_FRAME_LINE)
            return event;
    }
    return IMAP_FRAME_MORE;
}

static struct span take(struct imap_frame *f, struct span *in)
{
    struct span bytes = span_sub(*in, 0, f->octets < in->len ? (size_t)f->octets : in->len);

    *in = span_from(*in, bytes.len);
    f->octets -= bytes.len;
    return bytes;
}

static enum imap_frame_event literal_feed(struct imap_frame *f, struct span *in, struct span *ret)
{
    enum imap_frame_phase phase = f->phase;
    struct span bytes = take(f, in);

    if (phase == IMAP_FRAME_PASS) {
        if (bytes.len) {
            *ret = bytes;
            return IMAP_FRAME_BYTES;
        }
        if (f->octets)
            return IMAP_FRAME_MORE;
        line_begin(f);
        return IMAP_FRAME_PASSED;
    }
    if (phase == IMAP_FRAME_KEEP)
        buf_append(&f->text, bytes);
    if (f->octets == 0)
        line_begin(f);
    return IMAP_FRAME_MORE;
}

enum imap_frame_event imap_frame_feed(struct imap_frame *f, struct span *in, struct span *ret)
{
    enum imap_frame_event event = IMAP_FRAME_MORE;

    do {
        switch (f->phase) {
        case IMAP_FRAME_LINE:
            event = line_feed(f, in);
            break;
        case IMAP_FRAME_KEEP:
        case IMAP_FRAME_PASS:
        case IMAP_FRAME_SKIP:
            event = literal_feed(f, in, ret);
            break;
        case IMAP_FRAME_WHOLE:
            return IMAP_FRAME_COMMAND;
        case IMAP_FRAME_ANNOUNCED:
            return IMAP_FRAME_LITERAL;
        case IMAP_FRAME_BROKEN:
            return f->broken;
        }
    } while (event == IMAP_FRAME_MORE &&
             (in->len || f->phase == IMAP_FRAME_WHOLE || f->phase == IMAP_FRAME_BROKEN));
    return event;
}

void imap_frame_literal_keep(struct imap_frame *f)
{
    assert(f->phase == IMAP_FRAME_ANNOUNCED && imap_frame_literal_fits(f));
    buf_append_str(&f->text, "\r\n"); /* for imap/lex.h, which reads it again */
    f->octets = f->literal_octets;
    if (f->octets)
        f->phase = IMAP_FRAME_KEEP;
    else
        line_begin(f);
}

void imap_frame_literal_pass(struct imap_frame *f)
{
    assert(f->phase == IMAP_FRAME_ANNOUNCED);
    buf_reset(&f->text);
    f->octets = f->literal_octets;
    f->phase = IMAP_FRAME_PASS;
}

void imap_frame_literal_refuse(struct imap_frame *f)
{
    assert(f->phase == IMAP_FRAME_ANNOUNCED);
    f->skipping = true;
    if (f->literal_sync) {
        f->phase = IMAP_FRAME_WHOLE;
        return;
    }
    if (f->literal_octets > f->skip_max || f->skipped > f->skip_max - f->literal_octets) {
        break_off(f, IMAP_FRAME_ENDLESS);
        return;
    }
    f->skipped += f->literal_octets;
    f->octets = f->literal_octets;
    if (f->octets)
        f->phase = IMAP_FRAME_SKIP;
    else
        line_begin(f);
}
