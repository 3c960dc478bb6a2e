#include "imap/text.h"

#include "base/err.h"
#include "mime/param.h"

bool imap_is_text(const struct mime_part *part)
{
    struct span type, subtype;

    mime_part_type(part, &type, &subtype);
    return part->kind == MIME_KIND_LEAF &&
           (span_eq_str_nocase(type, "text") || span_eq_str_nocase(type, "message"));
}

void imap_text_init(struct imap_text *t, const struct mime_part *part)
{
    struct mime_content content;
    struct arena a;

    *t = (struct imap_text){0};
    mime_decoder_init(&t->decoder, (enum mime_encoding)part->encoding);
    buf_init(&t->raw, IMAP_TEXT_PIECE + MIME_DECODE_SLACK);
    arena_init(&a, 1 << 20);
    if (mime_content_parse(&a, mime_part_value(part, MIME_FIELD_CONTENT_TYPE), &content) != BRANT_OK ||
        mime_charset_open(mime_content_param(&content, "charset"), &t->charset) != BRANT_OK)
        mime_charset_open(SPAN_LIT("utf-8"), &t->charset);
    arena_done(&a);
}

void imap_text_done(struct imap_text *t)
{
    mime_charset_close(t->charset);
    t->charset = NULL;
    buf_done(&t->raw);
}

void imap_text_feed(struct imap_text *t, struct span piece, struct buf *out)
{
    buf_reset(&t->raw);
    mime_decoder_feed(&t->decoder, piece, &t->raw);
    mime_charset_feed(t->charset, buf_span(&t->raw), out);
}

void imap_text_finish(struct imap_text *t, struct buf *out)
{
    buf_reset(&t->raw);
    mime_decoder_finish(&t->decoder, &t->raw);
    mime_charset_feed(t->charset, buf_span(&t->raw), out);
    mime_charset_finish(t->charset, out);
}
