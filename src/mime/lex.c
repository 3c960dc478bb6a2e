#include "mime/lex.h"

bool mime_lex_space(struct mime_lex *lex)
{
    size_t start = lex->pos;

    while (!mime_lex_end(lex) && mime_lex_is_space(lex->in.p[lex->pos]))
        lex->pos++;
    return lex->pos != start;
}

/* A comment, from its parenthesis on (RFC 5322 3.2.2). An unclosed one runs to the end. */
static void comment_skip(struct mime_lex *lex, struct buf *out)
{
    size_t depth = 0;

    if (out && out->len)
        buf_append_byte(out, ' ');
    while (!mime_lex_end(lex)) {
        uint8_t c = lex->in.p[lex->pos++];

        if (c == '(') {
            if (depth++ == 0)
                continue;
        } else if (c == ')') {
            if (--depth == 0)
                return;
        } else if (c == '\\' && !mime_lex_end(lex)) {
            c = lex->in.p[lex->pos++];
        }
        if (out && c != '\r' && c != '\n')
            buf_append_byte(out, c);
    }
}

bool mime_lex_cfws(struct mime_lex *lex, struct buf *comment)
{
    size_t start = lex->pos;

    for (;;) {
        mime_lex_space(lex);
        if (mime_lex_peek(lex) != '(')
            return lex->pos != start;
        comment_skip(lex, comment);
    }
}

struct span mime_lex_until(struct mime_lex *lex, const char *stops)
{
    size_t start = lex->pos;

    while (!mime_lex_end(lex)) {
        uint8_t c = lex->in.p[lex->pos];

        if (c && strchr(stops, c))
            break;
        lex->pos++;
    }
    return span_sub(lex->in, start, lex->pos - start);
}

bool mime_lex_quoted(struct mime_lex *lex, struct buf *out)
{
    lex->pos++;
    while (!mime_lex_end(lex)) {
        uint8_t c = lex->in.p[lex->pos++];

        if (c == '"')
            return true;
        if (c == '\\' && !mime_lex_end(lex))
            c = lex->in.p[lex->pos++];
        if (c != '\r' && c != '\n')
            buf_append_byte(out, c);
    }
    return false;
}

void mime_lex_type(struct mime_lex *lex, struct span *ret_type, struct span *ret_subtype)
{
    *ret_subtype = SPAN_NONE;
    mime_lex_cfws(lex, NULL);
    *ret_type = mime_lex_until(lex, " \t\r\n(;/");
    mime_lex_cfws(lex, NULL);
    if (mime_lex_peek(lex) != '/')
        return;
    lex->pos++;
    mime_lex_cfws(lex, NULL);
    *ret_subtype = mime_lex_until(lex, " \t\r\n(;");
}
