/* FETCH items that are bytes of the message: BODY[…], RFC822…, BINARY[…], and PREVIEW.
 *
 * Plain sections go from READ into the output. What passes through a filter (header fields, a transfer
 * encoding) has a length only at its end, and the length is sent first: so it is read once to count, and a
 * second time to send, unless it was so short that it was kept. */
#include "base/err.h"
#include "imap/fetching.h"
#include "imap/put.h"

enum {
    HOLD_BYTES_MAX = 4096, /* a literal's head that waits for the first bytes, so that it can be taken back */
    PREVIEW_SOURCE_MAX = 65536 /* bytes of a part that are looked at */
};

void imap_body_end(struct imap_fetch_run *f)
{
    imap_fields_done(&f->body.fields);
    f->body.step = BODY_NONE;
}

/* The item is NIL; or 0, where a number is due. */
static void item_nil(struct imap_fetch_run *f)
{
    bool number = f->fetch.items[f->item_at].kind == IMAP_FETCH_BINARY_SIZE;

    buf_append_str(&f->item, number ? "0" : "NIL");
    imap_body_end(f);
}

static void literal_head(struct imap_fetch_run *f, uint64_t len)
{
    if (len == 0)
        buf_append_str(&f->item, "\"\"");
    else
        buf_printf(&f->item, "%s{%llu}\r\n", f->body.nul ? "~" : "", (unsigned long long)len);
}

static void filter_begin(struct imap_fetch_run *f)
{
    struct imap_body *b = &f->body;

    b->pos = b->extent.start;
    b->total = 0;
    imap_fields_done(&b->fields);
    if (b->mode == BODY_FIELDS)
        imap_fields_init(&b->fields, &f->fetch.items[f->item_at].section);
    else
        mime_decoder_init(&b->decoder, b->decoder.encoding);
}

/* Bytes from start to before end, as they are. */
static void raw_begin(struct imap_fetch_run *f, const struct imap_fetch_item *item)
{
    struct imap_body *b = &f->body;
    uint64_t len = b->extent.end - b->extent.start;

    if (item->partial) {
        b->extent.start += item->start < len ? item->start : len;
        len = b->extent.end - b->extent.start;
        len = item->len < len ? item->len : len;
        b->extent.end = b->extent.start + len;
    }
    b->pos = b->extent.start;
    b->step = len ? BODY_EMIT : BODY_NONE;
    literal_head(f, len);
}

/* RFC 3516 4.2: the encoding of the part that was named; what has parts inside has none of its own. */
static bool binary_begin(struct imap_fetch_run *f, const struct mime_part *part)
{
    enum mime_encoding encoding = MIME_ENCODING_BINARY;

    if (part && part->kind == MIME_KIND_LEAF)
        encoding = (enum mime_encoding)part->encoding;
    if (encoding == MIME_ENCODING_UNKNOWN) {
        f->unknown_cte = true;
        return false;
    }
    f->body.mode = BODY_DECODED;
    f->body.decoder.encoding = encoding;
    return true;
}

void imap_body_begin(struct imap_server *s, struct imap_fetch_run *f, const struct imap_fetch_item *item,
                     const struct imap_entry *e)
{
    struct imap_body *b = &f->body;
    const struct mime_part *part = NULL;
    bool whole = item->section.path_len == 0 && item->section.kind == IMAP_SECTION_BODY, found = true;

    imap_item_begin(f);
    b->mode = BODY_RAW;
    b->nul = b->failed = false;
    b->collected_all = true;
    buf_reset(&b->collected);
    b->skip = item->partial ? item->start : 0;
    b->limit = item->partial ? item->len : UINT64_MAX;
    b->extent = (struct imap_extent){0, e->size};
    if (!whole)
        found = imap_section_find(&s->message.s, &item->section, &b->extent, &part);
    f->failed = f->failed || (!whole && s->message.failed);
    if (found && (item->kind == IMAP_FETCH_BINARY || item->kind == IMAP_FETCH_BINARY_SIZE))
        found = binary_begin(f, part);
    if (!found) {
        item_nil(f);
        return;
    }
    if (item->section.kind == IMAP_SECTION_FIELDS || item->section.kind == IMAP_SECTION_FIELDS_NOT)
        b->mode = BODY_FIELDS;
    if (b->mode == BODY_RAW) {
        raw_begin(f, item);
        return;
    }
    b->step = BODY_COUNT;
    filter_begin(f);
}

/* ---- what comes out of the filter ---- */

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* How much of it lies in the window. */
static uint64_t window_len(const struct imap_body *b)
{
    return b->total > b->skip ? smaller(b->total - b->skip, b->limit) : 0;
}

/* The part of the piece that lies in the window; it comes behind what was counted so far. */
static struct span window_of(const struct imap_body *b, struct span piece)
{
    uint64_t from = b->skip > b->total ? b->skip - b->total : 0;
    uint64_t sent = window_len(b);

    if (from >= piece.len)
        return SPAN_NONE;
    return span_sub(piece, (size_t)from, (size_t)smaller(piece.len, b->limit - sent));
}

static void out_append(struct imap_server *s, struct span bytes)
{
    size_t start = s->out.len;

    imap_put(s, "");
    buf_append(&s->out, bytes);
    for (uint8_t *at = s->out.data + start, *end = s->out.data + s->out.len;
         at < end && (at = memchr(at, 0, (size_t)(end - at)));)
        *at = 0x80; /* no literal holds NUL */
}

static void piece_use(struct imap_server *s, struct imap_fetch_run *f)
{
    struct imap_body *b = &f->body;
    struct span bytes = window_of(b, buf_span(&b->piece));

    if (b->step == BODY_COUNT) {
        if (b->mode == BODY_DECODED && bytes.len && memchr(bytes.p, 0, bytes.len))
            b->nul = true;
        if (b->collected_all && buf_append(&b->collected, bytes) != BRANT_OK)
            b->collected_all = false;
    } else if (b->nul) {
        imap_put(s, "");
        buf_append(&s->out, bytes);
    } else {
        out_append(s, bytes);
    }
    b->total += b->piece.len;
}

/* All was counted: the head of the literal is known, and often the whole of it. */
static void counted(struct imap_fetch_run *f)
{
    struct imap_body *b = &f->body;
    uint64_t len = window_len(b);

    if (f->fetch.items[f->item_at].kind == IMAP_FETCH_BINARY_SIZE) {
        buf_append_u64(&f->item, b->total);
        imap_body_end(f);
        return;
    }
    literal_head(f, len);
    if (b->collected_all || len == 0) {
        size_t start = f->item.len;

        buf_append(&f->item, buf_span(&b->collected));
        for (size_t i = start; i < f->item.len && !b->nul; i++)
            if (f->item.data[i] == '\0')
                f->item.data[i] = 0x80;
        imap_body_end(f);
        return;
    }
    b->step = BODY_EMIT;
    filter_begin(f);
}

static void filtered_take(struct imap_server *s, struct imap_fetch_run *f, struct span bytes)
{
    struct imap_body *b = &f->body;
    bool enough;

    buf_reset(&b->piece);
    if (b->mode == BODY_FIELDS)
        imap_fields_feed(&b->fields, bytes, &b->piece);
    else
        mime_decoder_feed(&b->decoder, bytes, &b->piece);
    b->pos += bytes.len;
    piece_use(s, f);
    if (b->pos == b->extent.end) {
        buf_reset(&b->piece);
        if (b->mode == BODY_FIELDS)
            imap_fields_finish(&b->fields, &b->piece);
        else
            mime_decoder_finish(&b->decoder, &b->piece);
        piece_use(s, f);
    }
    enough = b->limit != UINT64_MAX && window_len(b) == b->limit;
    if (b->pos < b->extent.end && !enough)
        return;
    if (b->step == BODY_COUNT)
        counted(f);
    else
        imap_body_end(f);
}

static void body_take(struct imap_server *s, struct span bytes)
{
    struct imap_fetch_run *f = s->fetch;
    struct imap_body *b = &f->body;

    if (b->step == BODY_EMIT && f->item.len) { /* the head that was held */
        imap_put(s, "");
        buf_append(&s->out, buf_span(&f->item));
        buf_reset(&f->item);
    }
    if (b->mode != BODY_RAW) {
        filtered_take(s, f, bytes);
        return;
    }
    out_append(s, bytes);
    b->pos += bytes.len;
    if (b->pos == b->extent.end)
        imap_body_end(f);
}

/* ---- asking ---- */

/* How much may be asked for: what surely fits, the held head and the filter's surplus included. 0 until a
 * worthwhile part of the output is free. */
static uint64_t read_len(const struct imap_server *s, const struct imap_fetch_run *f)
{
    const struct imap_body *b = &f->body;
    uint64_t want = b->extent.end - b->pos;
    size_t taken = f->item.len + 2 * (size_t)MIME_DECODE_SLACK, room = imap_room(s);

    if (b->step == BODY_COUNT)
        return want;
    if (room < taken + 1024 || (room < s->out.max / 2 && room < taken + want))
        return 0;
    return smaller(want, room - taken);
}

enum imap_event_type imap_body_step(struct imap_server *s, struct imap_fetch_run *f,
                                    const struct imap_entry *e, struct imap_event *ret)
{
    struct imap_body *b = &f->body;
    uint64_t len;

    if (b->step == BODY_NONE || (b->step == BODY_EMIT && f->item.len > HOLD_BYTES_MAX))
        return IMAP_EVENT_MORE;
    if (b->pos == b->extent.end) { /* a section without bytes */
        counted(f);
        return IMAP_EVENT_MORE;
    }
    len = read_len(s, f);
    if (len == 0)
        return IMAP_EVENT_BLOCKED;
    return imap_read_ask(s, e->uid, b->pos, len, body_take, ret);
}

void imap_body_failed(struct imap_server *s, struct imap_fetch_run *f)
{
    struct imap_body *b = &f->body;

    if (b->step == BODY_EMIT && !f->item.len) { /* the literal has begun and cannot be taken back */
        imap_end(s, IMAP_CLOSE_READ);
        return;
    }
    f->item.len = 0;
    f->any = f->item_at > 0 || f->uid;
    imap_item_begin(f);
    item_nil(f);
}

/* ---- PREVIEW (RFC 8970) ---- */

static bool is_attachment(const struct mime_part *part)
{
    return span_starts_nocase(mime_part_value(part, MIME_FIELD_CONTENT_DISPOSITION), SPAN_LIT("attachment"));
}

/* The first plain text, or else the first text of any kind. */
static const struct mime_part *preview_part(const struct mime_structure *m)
{
    const struct mime_part *first = NULL;

    for (uint32_t i = 0; i < m->count; i++) {
        const struct mime_part *part = &m->parts[i];
        struct span type, subtype;

        mime_part_type(part, &type, &subtype);
        if (!span_eq_str_nocase(type, "text") || part->kind != MIME_KIND_LEAF || is_attachment(part))
            continue;
        if (span_eq_str_nocase(subtype, "plain"))
            return part;
        first = first ? first : part;
    }
    return first;
}

void imap_preview_begin(struct imap_server *s, struct imap_fetch_run *f)
{
    const struct mime_part *part = preview_part(&s->message.s);
    struct span type, subtype = SPAN_NONE;

    f->failed = f->failed || s->message.failed;
    imap_item_begin(f);
    if (!part) {
        buf_append_str(&f->item, s->message.failed ? "NIL" : "\"\"");
        return;
    }
    mime_part_type(part, &type, &subtype);
    imap_preview_init(&f->preview, span_eq_str_nocase(subtype, "html"));
    imap_text_init(&f->text, part);
    f->text_pos = part->body_start;
    f->text_end = part->body_end;
    if (f->text_end - f->text_pos > PREVIEW_SOURCE_MAX)
        f->text_end = f->text_pos + PREVIEW_SOURCE_MAX;
    f->step = FETCH_PREVIEW;
}

static void preview_end(struct imap_server *s, struct imap_fetch_run *f)
{
    struct span text = buf_span(&f->preview.text);

    /* RFC 8970 3.3: UTF-8, encoded in no way; a literal where quotes may not hold it */
    imap_put_string(&f->item, text, s->utf8 || s->rev2);
    imap_preview_done(&f->preview);
    imap_text_done(&f->text);
    f->step = FETCH_DRAIN;
}

static void preview_take(struct imap_server *s, struct span bytes)
{
    struct imap_fetch_run *f = s->fetch;
    struct buf utf8;
    bool more = true;

    buf_init(&utf8, IMAP_TEXT_OUT_MAX);
    f->text_pos += bytes.len;
    while (bytes.len && more) {
        buf_reset(&utf8);
        imap_text_feed(&f->text, span_sub(bytes, 0, IMAP_TEXT_PIECE), &utf8);
        more = imap_preview_feed(&f->preview, buf_span(&utf8));
        bytes = span_from(bytes, IMAP_TEXT_PIECE);
    }
    if (!more)
        f->text_pos = f->text_end;
    if (more && f->text_pos == f->text_end) {
        buf_reset(&utf8);
        imap_text_finish(&f->text, &utf8);
        imap_preview_feed(&f->preview, buf_span(&utf8));
    }
    buf_done(&utf8);
}

enum imap_event_type imap_preview_step(struct imap_server *s, struct imap_fetch_run *f,
                                       const struct imap_entry *e, struct imap_event *ret)
{
    uint64_t left = f->text_end - f->text_pos;

    if (left)
        return imap_read_ask(s, e->uid, f->text_pos, smaller(left, 8192), preview_take, ret);
    preview_end(s, f);
    return IMAP_EVENT_MORE;
}

void imap_preview_failed(struct imap_fetch_run *f)
{
    buf_append_str(&f->item, "NIL");
    imap_preview_done(&f->preview);
    imap_text_done(&f->text);
    f->step = FETCH_DRAIN;
}
