#include "mime/headers.h"

#include "base/ascii.h"
#include "base/err.h"
#include "mime/encoded_word.h"
#include "mime/lex.h"

enum { FOLD_COLUMN = 78 };

/* RFC 5322 3.6.8 */
static bool name_valid(const char *name)
{
    for (const char *c = name; *c; c++)
        if (*c <= ' ' || *c >= 0x7f || *c == ':')
            return false;
    return *name != '\0';
}

/* Whether the CR at i begins a fold whose next line is not white space only. */
static bool fold_valid(struct span value, size_t i)
{
    size_t next = i + 2;

    if (next >= value.len || value.p[i + 1] != '\n' || !ascii_is_wsp(value.p[next]))
        return false;
    while (next < value.len && ascii_is_wsp(value.p[next]))
        next++;
    return next < value.len && value.p[next] != '\r' && value.p[next] != '\n';
}

static bool value_valid(struct span value)
{
    for (size_t i = 0; i < value.len; i++) {
        if (value.p[i] == '\r') {
            if (!fold_valid(value, i))
                return false;
            i++;
        } else if (ascii_is_ctl(value.p[i]) && value.p[i] != '\t') {
            return false;
        }
    }
    return true;
}

/* Cuts the buffer back when something did not fit. */
static int settle(struct buf *out, size_t before, bool overflowed_before)
{
    if (!out->overflowed || overflowed_before)
        return overflowed_before ? BRANT_ELIMIT : BRANT_OK;
    out->len = before;
    return BRANT_ELIMIT;
}

int mime_header_put(struct buf *out, const char *name, struct span value)
{
    size_t before = out->len;
    bool overflowed = out->overflowed;

    if (!name_valid(name) || !value_valid(value))
        return BRANT_ESYNTAX;
    buf_append_str(out, name);
    buf_append_str(out, ": ");
    buf_append(out, value);
    buf_append_str(out, "\r\n");
    return settle(out, before, overflowed);
}

/* Breaks an unfolded line at spaces so that lines stay under FOLD_COLUMN where the words allow it. */
static void fold_append(struct buf *out, struct span text, size_t column)
{
    while (text.len) {
        size_t word = span_find_byte(span_from(text, 1), ' ');
        size_t len = word == SPAN_NPOS ? text.len : word + 1;
        bool blank = span_trim(span_sub(text, 0, len)).len == 0;

        if (column + len > FOLD_COLUMN && text.p[0] == ' ' && !blank) {
            buf_append_str(out, "\r\n");
            column = 0;
        }
        buf_append(out, span_sub(text, 0, len));
        column += len;
        text = span_from(text, len);
    }
}

int mime_header_put_text(struct buf *out, const char *name, struct span utf8)
{
    size_t before = out->len, column = strlen(name) + 2;
    bool overflowed = out->overflowed;
    _cleanup_buf_ struct buf words = {0};

    if (!name_valid(name))
        return BRANT_ESYNTAX;
    buf_init(&words, 4 * utf8.len + 4096);
    if (mime_words_encode(span_trim(utf8), column, &words))
        return BRANT_ELIMIT;
    buf_append_str(out, name);
    buf_append_str(out, ": ");
    if (span_starts(buf_span(&words), SPAN_LIT("=?")))
        buf_append(out, buf_span(&words));
    else
        fold_append(out, span_trim(buf_span(&words)), column);
    buf_append_str(out, "\r\n");
    return settle(out, before, overflowed);
}

static bool address_valid(struct span address)
{
    bool quoted = false;

    for (size_t i = 0; i < address.len; i++) {
        uint8_t c = address.p[i];

        if (ascii_is_ctl(c) || (!quoted && (c == ' ' || c == '<' || c == '>')))
            return false;
        if (c == '\\' && quoted && ++i < address.len && ascii_is_ctl(address.p[i]))
            return false;
        if (c == '"')
            quoted = !quoted;
    }
    return !quoted;
}

/* A display name: atoms as they are, other ASCII quoted, the rest encoded (RFC 2047 5 (3)). */
static int display_put(struct buf *out, struct span display, size_t column)
{
    bool ascii = true, plain = true;

    for (size_t i = 0; i < display.len; i++) {
        ascii = ascii && ascii_is_print(display.p[i]);
        plain = plain && (ascii_is_alnum(display.p[i]) || display.p[i] == ' ');
    }
    if (!ascii)
        return mime_words_encode(display, column, out);
    if (!plain)
        buf_append_byte(out, '"');
    for (size_t i = 0; i < display.len; i++) {
        if (display.p[i] == '"' || display.p[i] == '\\')
            buf_append_byte(out, '\\');
        buf_append_byte(out, display.p[i]);
    }
    return plain ? BRANT_OK : buf_append_byte(out, '"');
}

int mime_header_put_mailbox(struct buf *out, const char *name, struct span display_utf8, struct span address)
{
    size_t before = out->len, column = strlen(name) + 2;
    bool overflowed = out->overflowed;

    if (!name_valid(name) || !address_valid(address))
        return BRANT_ESYNTAX;
    display_utf8 = span_trim(display_utf8);
    buf_append_str(out, name);
    buf_append_str(out, ": ");
    if (display_utf8.len) {
        display_put(out, display_utf8, column);
        buf_append_str(out, column + display_utf8.len + address.len + 3 > FOLD_COLUMN ? "\r\n " : " ");
    }
    buf_append_byte(out, '<');
    buf_append(out, address);
    buf_append_str(out, ">\r\n");
    return settle(out, before, overflowed);
}

static size_t line_len(struct span s)
{
    size_t lf = span_find_byte(s, '\n');

    return lf == SPAN_NPOS ? s.len : lf + 1;
}

static struct span chomp(struct span line)
{
    if (line.len && line.p[line.len - 1] == '\n')
        line.len--;
    if (line.len && line.p[line.len - 1] == '\r')
        line.len--;
    return line;
}

bool mime_raw_field_next(struct span *rest, struct mime_raw_field *ret)
{
    struct mime_raw_field field = {0};
    size_t len = line_len(*rest), colon;
    struct span text;

    if (!chomp(span_sub(*rest, 0, len)).len) {
        *rest = span_from(*rest, len);
        return false;
    }
    while (len < rest->len && ascii_is_wsp(rest->p[len]))
        len += line_len(span_from(*rest, len));
    field.all = span_sub(*rest, 0, len);
    *rest = span_from(*rest, len);
    text = chomp(field.all);
    colon = span_find_byte(text, ':');
    if (colon != SPAN_NPOS) {
        struct span name = span_trim(span_sub(text, 0, colon));

        for (size_t i = 0; i < name.len; i++)
            if (name.p[i] <= ' ' || name.p[i] >= 0x7f)
                name.len = 0;
        if (name.len && name.p == text.p) {
            field.name = name;
            field.value = span_from(text, colon + 1);
        }
    }
    *ret = field;
    return true;
}
