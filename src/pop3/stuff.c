#include "pop3/stuff.h"

#include "base/err.h"

void pop3_stuff_init(struct pop3_stuff *s, uint64_t body_lines)
{
    *s = (struct pop3_stuff){
        .lines_left = body_lines,
        .in_header = true,
        .at_line_start = true,
        .line_empty = true,
        .ended_crlf = true,
    };
}

/* Part of a line, in which only the last byte may be LF. */
static int add_part(struct pop3_stuff *s, struct span part, struct buf *out)
{
    size_t text = part.len;
    int err;

    /* RFC 1939 3: a line of a multi-line response that begins with the termination octet is byte-stuffed. */
    if (s->at_line_start && part.p[0] == '.') {
        if ((err = buf_append_byte(out, '.')) != BRANT_OK)
            return err;
    }
    if ((err = buf_append(out, part)) != BRANT_OK)
        return err;
    if (part.p[text - 1] == '\n')
        text--;
    if (text > 1 || (text == 1 && !(s->at_line_start && part.p[0] == '\r')))
        s->line_empty = false;
    if (text > 0)
        s->last_is_cr = part.p[text - 1] == '\r';
    s->at_line_start = false;
    s->ended_crlf = false;
    return BRANT_OK;
}

static void end_line(struct pop3_stuff *s)
{
    /* RFC 1939 7, TOP: the header, the empty line behind it, then that many lines of the body. */
    if (s->in_header) {
        s->in_header = !s->line_empty;
        s->complete = !s->in_header && s->lines_left == 0;
    } else if (s->lines_left != POP3_STUFF_ALL) {
        s->complete = --s->lines_left == 0;
    }
    s->ended_crlf = s->last_is_cr;
    s->at_line_start = true;
    s->line_empty = true;
    s->last_is_cr = false;
}

int pop3_stuff_add(struct pop3_stuff *s, struct span in, struct buf *out)
{
    while (in.len > 0 && !s->complete) {
        size_t lf = span_find_byte(in, '\n');
        size_t len = lf == SPAN_NPOS ? in.len : lf + 1;
        int err = add_part(s, span_sub(in, 0, len), out);

        if (err != BRANT_OK)
            return err;
        if (lf != SPAN_NPOS)
            end_line(s);
        in = span_from(in, len);
    }
    return BRANT_OK;
}

int pop3_stuff_end(struct pop3_stuff *s, struct buf *out)
{
    return buf_append(out, s->ended_crlf ? SPAN_LIT(".\r\n") : SPAN_LIT("\r\n.\r\n"));
}
