#include "smtp/reply.h"

#include <assert.h>

#include "base/ascii.h"
#include "base/err.h"

static void append_line(struct buf *out, const struct smtp_reply *reply, bool enhanced, bool last,
                        struct span text)
{
    buf_printf(out, "%u%c", reply->code, last ? ' ' : '-');
    if (enhanced)
        buf_printf(out, "%u.%u.%u ", reply->code / 100u, reply->subject, reply->detail);
    for (size_t i = 0; i < text.len; i++)
        buf_append_byte(out, ascii_is_print(text.p[i]) ? text.p[i] : '?');
    buf_append_str(out, "\r\n");
}

int smtp_reply_append(struct buf *out, const struct smtp_reply *reply, bool enhanced)
{
    struct span text = span_sub(span_str(reply->text ? reply->text : ""), 0, SMTP_REPLY_BYTES_MAX);
    size_t start = out->len;
    bool before = out->overflowed;

    assert(reply->code >= 200 && reply->code <= 599);
    assert(reply->subject <= 9 && reply->detail <= 999);
    if (reply->code / 100 == 3) /* RFC 2034 3: only 2yz, 4yz and 5yz */
        enhanced = false;
    out->overflowed = false;
    for (int left = SMTP_REPLY_LINES_MAX; left > 0; left--) {
        size_t end = span_find_byte(text, '\n');
        struct span line = span_sub(text, 0, end);

        text = span_from(text, end == SPAN_NPOS ? text.len : end + 1);
        if (line.len > SMTP_REPLY_TEXT_MAX) { /* the rest goes on the next line */
            text = span_make(line.p + SMTP_REPLY_TEXT_MAX,
                             (size_t)(text.p + text.len - line.p) - SMTP_REPLY_TEXT_MAX);
            line.len = SMTP_REPLY_TEXT_MAX;
        }
        append_line(out, reply, enhanced, text.len == 0 || left == 1, line);
        if (text.len == 0)
            break;
    }
    if (out->overflowed) {
        out->len = start;
        return BRANT_ELIMIT;
    }
    out->overflowed = before;
    return BRANT_OK;
}
