#include "mime/decode.h"

#include "base/ascii.h"
#include "base/codec.h"
#include "base/err.h"

void mime_decoder_init(struct mime_decoder *d, enum mime_encoding encoding)
{
    d->encoding = encoding;
    d->pos = d->errors = d->first_error = 0;
    d->state = d->held_len = 0;
    d->padded = false;
    d->bits = 0;
}

static void error_at(struct mime_decoder *d, uint64_t pos)
{
    if (d->errors++ == 0)
        d->first_error = pos;
}

static int base64_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (ascii_is_digit(c))
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Gives the whole bytes of a group that ended early and begins a new one. */
static void group_end(struct mime_decoder *d, uint8_t **to)
{
    if (d->state >= 2)
        *(*to)++ = (uint8_t)(d->state == 2 ? d->bits >> 4 : d->bits >> 10);
    if (d->state == 3)
        *(*to)++ = (uint8_t)(d->bits >> 2);
    d->state = 0;
    d->bits = 0;
}

static void base64_byte(struct mime_decoder *d, uint8_t c, uint64_t pos, uint8_t **to)
{
    int value = base64_value(c);

    if (value >= 0) {
        d->padded = false;
        d->bits = d->bits << 6 | (uint32_t)value;
        if (++d->state < 4)
            return;
        *(*to)++ = (uint8_t)(d->bits >> 16);
        *(*to)++ = (uint8_t)(d->bits >> 8);
        *(*to)++ = (uint8_t)d->bits;
        d->state = 0;
        d->bits = 0;
    } else if (c == '=') {
        if (d->state == 1 || (d->state == 0 && !d->padded))
            error_at(d, pos);
        group_end(d, to);
        d->padded = true;
    } else if (c != ' ' && c != '\t' && c != '\r' && c != '\n') {
        error_at(d, pos);
    }
}

/* ---- quoted-printable ---- */

enum { QP_TEXT = 0, QP_EQUALS = 1, QP_HEX = 2, QP_SOFT = 3 }; /* SOFT: "=" and white space or CR */

static void held_flush(struct mime_decoder *d, uint8_t **to)
{
    memcpy(*to, d->held, d->held_len);
    *to += d->held_len;
    d->held_len = 0;
}

static void held_put(struct mime_decoder *d, uint8_t c, uint8_t **to)
{
    if (d->held_len == 255) /* no real line ends in so much white space */
        held_flush(d, to);
    d->held[d->held_len++] = c;
}

static void qp_text(struct mime_decoder *d, uint8_t c, uint8_t **to)
{
    if (c == '=') {
        held_flush(d, to);
        d->state = QP_EQUALS;
    } else if (c == ' ' || c == '\t') {
        if (d->held_len && d->held[d->held_len - 1] == '\r')
            held_flush(d, to);
        held_put(d, c, to);
    } else if (c == '\r') {
        held_put(d, c, to);
    } else if (c == '\n') { /* rule 3: white space at the end of a line was added on the way */
        bool cr = d->held_len && d->held[d->held_len - 1] == '\r';

        d->held_len = 0;
        if (cr)
            *(*to)++ = '\r';
        *(*to)++ = '\n';
    } else {
        held_flush(d, to);
        *(*to)++ = c;
    }
}

static void qp_byte(struct mime_decoder *d, uint8_t c, uint64_t pos, uint8_t **to)
{
    int high, low;

    switch (d->state) {
    case QP_EQUALS:
        if (ascii_hex_value(c) >= 0) {
            d->held[0] = c;
            d->state = QP_HEX;
        } else if (c == '\n') { /* rule 5: soft line break */
            d->state = QP_TEXT;
        } else if (c == '\r' || c == ' ' || c == '\t') {
            d->state = QP_SOFT;
            held_put(d, c, to);
        } else {
            error_at(d, pos);
            *(*to)++ = '=';
            d->state = QP_TEXT;
            qp_text(d, c, to);
        }
        return;
    case QP_HEX:
        high = ascii_hex_value(d->held[0]);
        low = ascii_hex_value(c);
        d->state = QP_TEXT;
        if (low >= 0) {
            *(*to)++ = (uint8_t)(high * 16 + low);
            return;
        }
        error_at(d, pos);
        *(*to)++ = '=';
        *(*to)++ = d->held[0];
        qp_text(d, c, to);
        return;
    case QP_SOFT:
        if (c == '\n') {
            d->held_len = 0;
            d->state = QP_TEXT;
        } else if ((c == ' ' || c == '\t' || c == '\r') && d->held_len < 255) {
            held_put(d, c, to);
        } else {
            error_at(d, pos);
            *(*to)++ = '=';
            d->state = QP_TEXT;
            held_flush(d, to);
            qp_text(d, c, to);
        }
        return;
    default:
        qp_text(d, c, to);
    }
}

int mime_decoder_feed(struct mime_decoder *d, struct span in, struct buf *out)
{
    uint8_t *start = buf_reserve(out, in.len + MIME_DECODE_SLACK), *to = start;

    if (!start)
        return BRANT_ELIMIT;
    if (d->encoding == MIME_ENCODING_BASE64) {
        for (size_t i = 0; i < in.len; i++)
            base64_byte(d, in.p[i], d->pos + i, &to);
    } else if (d->encoding == MIME_ENCODING_QUOTED_PRINTABLE) {
        for (size_t i = 0; i < in.len; i++)
            qp_byte(d, in.p[i], d->pos + i, &to);
    } else if (in.len) {
        memcpy(to, in.p, in.len);
        to += in.len;
    }
    d->pos += in.len;
    buf_commit(out, (size_t)(to - start));
    return BRANT_OK;
}

int mime_decoder_finish(struct mime_decoder *d, struct buf *out)
{
    uint8_t *start = buf_reserve(out, MIME_DECODE_SLACK), *to = start;

    if (!start)
        return BRANT_ELIMIT;
    if (d->encoding == MIME_ENCODING_BASE64) {
        if (d->state)
            error_at(d, d->pos);
        group_end(d, &to);
    } else if (d->encoding == MIME_ENCODING_QUOTED_PRINTABLE) {
        if (d->state == QP_HEX) {
            error_at(d, d->pos);
            *to++ = '=';
            *to++ = d->held[0];
        } else if (d->state == QP_TEXT) {
            held_flush(d, &to); /* the last line has no end: its white space is kept */
        }
        d->state = QP_TEXT;
        d->held_len = 0;
    }
    buf_commit(out, (size_t)(to - start));
    return BRANT_OK;
}

/* ---- encoders ---- */

int mime_base64_encode_lines(struct span in, struct buf *out)
{
    int err = BRANT_OK;

    while (in.len && !err) {
        err = codec_base64_encode(out, span_sub(in, 0, 57)); /* RFC 2045 6.8: 76 characters */
        if (!err)
            err = buf_append_str(out, "\r\n");
        in = span_from(in, 57);
    }
    return err;
}

static bool qp_is_plain(struct span in, size_t i, size_t column)
{
    uint8_t c = in.p[i];
    bool line_end = i + 1 == in.len || span_starts(span_from(in, i + 1), SPAN_LIT("\r\n"));

    if (c == ' ' || c == '\t')
        return !line_end;
    if (column == 0 && c == '.')
        return false;
    if (column == 0 && span_starts(span_from(in, i), SPAN_LIT("From ")))
        return false;
    return c > ' ' && c < 0x7f && c != '=';
}

int mime_qp_encode(struct span in, struct buf *out)
{
    size_t column = 0;
    int err = BRANT_OK;

    for (size_t i = 0; i < in.len && !err; i++) {
        size_t width;

        if (span_starts(span_from(in, i), SPAN_LIT("\r\n"))) {
            err = buf_append_str(out, "\r\n");
            column = 0;
            i++;
            continue;
        }
        width = qp_is_plain(in, i, column) ? 1 : 3;
        if (column + width > 75) {
            err = buf_append_str(out, "=\r\n");
            column = 0;
            width = qp_is_plain(in, i, column) ? 1 : 3;
        }
        if (!err)
            err = width == 1 ? buf_append_byte(out, in.p[i]) : buf_printf(out, "=%02X", in.p[i]);
        column += width;
    }
    return err;
}

int mime_param_encode(const char *name, struct span utf8, struct buf *out)
{
    bool plain = true;

    for (size_t i = 0; i < utf8.len; i++)
        plain = plain && utf8.p[i] < 0x80;
    buf_append_str(out, name);
    buf_append_str(out, plain ? "=\"" : "*=utf-8''");
    for (size_t i = 0; i < utf8.len; i++) {
        uint8_t c = ascii_is_ctl(utf8.p[i]) ? ' ' : utf8.p[i];

        if (plain && (c == '"' || c == '\\'))
            buf_append_byte(out, '\\');
        if (plain || ascii_is_alnum(c) || c == '.' || c == '-' || c == '_')
            buf_append_byte(out, c);
        else
            buf_printf(out, "%%%02X", c);
    }
    if (plain)
        buf_append_byte(out, '"');
    return out->overflowed ? BRANT_ELIMIT : BRANT_OK;
}
