#include "imap/put.h"

#include "base/ascii.h"
#include "base/codec.h"
#include "imap/lex.h"

enum { QUOTED_MAX = 1000 }; /* longer ones are literals: some clients read lines into small buffers */

static bool is_quotable(struct span text, bool utf8)
{
    bool high = false;

    if (text.len > QUOTED_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.p[i];

        if (c == '\0' || c == '\r' || c == '\n')
            return false;
        high = high || c >= 0x80;
    }
    return !high || (utf8 && codec_utf8_valid(text));
}

static void put_literal(struct buf *out, struct span text)
{
    size_t start;

    buf_printf(out, "{%zu}\r\n", text.len);
    start = out->len;
    if (buf_append(out, text) != 0)
        return;
    for (size_t i = start; i < out->len; i++)
        if (out->data[i] == '\0')
            out->data[i] = 0x80;
}

void imap_put_string(struct buf *out, struct span text, bool utf8)
{
    if (!is_quotable(text, utf8)) {
        put_literal(out, text);
        return;
    }
    buf_append_byte(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        if (text.p[i] == '"' || text.p[i] == '\\')
            buf_append_byte(out, '\\');
        buf_append_byte(out, text.p[i]);
    }
    buf_append_byte(out, '"');
}

void imap_put_nstring(struct buf *out, struct span text, bool utf8)
{
    if (text.p)
        imap_put_string(out, text, utf8);
    else
        buf_append_str(out, "NIL");
}

void imap_put_astring(struct buf *out, struct span text, bool utf8)
{
    bool atom = text.len > 0 && !span_eq_str_nocase(text, "NIL");

    for (size_t i = 0; i < text.len && atom; i++)
        atom = imap_is_atom_char(text.p[i]);
    if (atom)
        buf_append(out, text);
    else
        imap_put_string(out, text, utf8);
}
