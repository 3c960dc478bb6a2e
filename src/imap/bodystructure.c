#include "imap/bodystructure.h"

#include "base/ascii.h"
#include "base/err.h"
#include "imap/envelope.h"
#include "imap/parameter.h"
#include "imap/put.h"
#include "mime/lex.h"

/* A multipart without parts, and a structure without any: the grammar wants at least one. */
static const char empty_part[] = "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0";

struct writer {
    struct buf *out;
    const struct mime_structure *s;
    bool extended, utf8;
};

static void put(struct writer *w, const char *text)
{
    buf_append_str(w->out, text);
}

static void put_nstring(struct writer *w, struct span text)
{
    imap_put_nstring(w->out, text, w->utf8);
}

/* The name/value pairs behind a type or disposition; NIL when there are none. */
static void put_parameters(struct writer *w, struct mime_lex *lex, bool charset)
{
    struct arena a;
    struct imap_parameters params;
    const char *open = "(";

    arena_init(&a, 8 * lex->in.len + 65536);
    imap_parameters_parse(lex, &a, &params);
    for (size_t i = 0; i < params.count; i++) {
        put(w, open);
        imap_put_string(w->out, params.items[i].name, w->utf8);
        put(w, " ");
        imap_put_string(w->out, params.items[i].value, w->utf8);
        open = " ";
        charset = charset && !span_eq_str_nocase(params.items[i].name, "charset") &&
                  !span_eq_str_nocase(params.items[i].name, "charset*");
    }
    if (charset) {
        put(w, open);
        put(w, "\"charset\" \"us-ascii\"");
        open = " ";
    }
    put(w, open[0] == '(' ? "NIL" : ")");
    arena_done(&a);
}

static void put_disposition(struct writer *w, const struct mime_part *part)
{
    struct span value = mime_part_value(part, MIME_FIELD_CONTENT_DISPOSITION), type, subtype;
    struct mime_lex lex = mime_lex_start(value);

    mime_lex_type(&lex, &type, &subtype);
    if (!type.len) {
        put(w, "NIL");
        return;
    }
    put(w, "(");
    imap_put_string(w->out, type, w->utf8);
    put(w, " ");
    put_parameters(w, &lex, false);
    put(w, ")");
}

/* RFC 3282: tags with commas between. */
static void put_language(struct writer *w, const struct mime_part *part)
{
    struct mime_lex lex = mime_lex_start(mime_part_value(part, MIME_FIELD_CONTENT_LANGUAGE));
    bool any = false;

    for (;;) {
        struct span tag;

        mime_lex_cfws(&lex, NULL);
        if (mime_lex_end(&lex))
            break;
        tag = mime_lex_until(&lex, " \t\r\n(,;");
        if (tag.len) {
            put(w, any ? " " : "(");
            imap_put_string(w->out, tag, w->utf8);
            any = true;
        } else {
            lex.pos++;
        }
    }
    put(w, any ? ")" : "NIL");
}

/* Behind MD5 or the parameters of a multipart: what both kinds have. */
static void put_extension(struct writer *w, const struct mime_part *part)
{
    put(w, " ");
    put_disposition(w, part);
    put(w, " ");
    put_language(w, part);
    put(w, " ");
    put_nstring(w, mime_part_value(part, MIME_FIELD_CONTENT_LOCATION));
}

static void put_number(struct writer *w, uint64_t number)
{
    put(w, " ");
    buf_append_u64(w->out, number);
}

static bool has_child(const struct writer *w, uint32_t i)
{
    return i + 1 < w->s->count && w->s->parts[i + 1].parent == i;
}

/* A message with its message inside. */
static bool is_message(const struct writer *w, uint32_t i)
{
    return w->s->parts[i].kind == MIME_KIND_MESSAGE && has_child(w, i);
}

/* The encoding as it was written, if that is one token. */
static void put_encoding(struct writer *w, const struct mime_part *part)
{
    struct mime_lex lex = mime_lex_start(mime_part_value(part, MIME_FIELD_CONTENT_ENCODING));
    struct span word;

    mime_lex_cfws(&lex, NULL);
    word = mime_lex_until(&lex, " \t\r\n(;");
    imap_put_string(w->out, word.len ? word : SPAN_LIT("7bit"), w->utf8);
}

/* "(" type subtype parameters id description encoding octets: what all but multiparts have (body-fields). */
static void put_fields(struct writer *w, uint32_t i, bool opaque)
{
    const struct mime_part *part = &w->s->parts[i];
    struct mime_lex lex = mime_lex_start(mime_part_value(part, MIME_FIELD_CONTENT_TYPE));
    struct span type, subtype, unused;

    if (mime_part_type(part, &type, &subtype))
        mime_lex_type(&lex, &unused, &unused); /* behind the type stand the parameters */
    else
        lex = mime_lex_start(SPAN_NONE);
    put(w, "(");
    imap_put_string(w->out, opaque ? SPAN_LIT("application") : type, w->utf8);
    put(w, " ");
    imap_put_string(w->out, opaque ? SPAN_LIT("octet-stream") : subtype, w->utf8);
    put(w, " ");
    put_parameters(w, &lex, !opaque && span_eq_str_nocase(type, "text"));
    put(w, " ");
    put_nstring(w, mime_part_value(part, MIME_FIELD_CONTENT_ID));
    put(w, " ");
    put_nstring(w, mime_part_value(part, MIME_FIELD_CONTENT_DESCRIPTION));
    put(w, " ");
    put_encoding(w, part);
    put_number(w, part->body_end - part->body_start);
}

static void single_end(struct writer *w, uint32_t i)
{
    if (w->extended) {
        put(w, " ");
        put_nstring(w, mime_part_value(&w->s->parts[i], MIME_FIELD_CONTENT_MD5));
        put_extension(w, &w->s->parts[i]);
    }
    put(w, ")");
}

static void part_open(struct writer *w, uint32_t i)
{
    const struct mime_part *part = &w->s->parts[i];
    struct span type, subtype;
    bool opaque;

    mime_part_type(part, &type, &subtype);
    if (part->kind == MIME_KIND_MULTIPART) {
        put(w, "(");
    } else if (is_message(w, i)) {
        put_fields(w, i, false);
        put(w, " ");
        imap_envelope_put(w->out, part + 1, w->utf8);
        put(w, " ");
    } else {
        opaque = span_eq_str_nocase(type, "multipart") ||
                 (span_eq_str_nocase(type, "message") &&
                  (span_eq_str_nocase(subtype, "rfc822") || span_eq_str_nocase(subtype, "global")));
        put_fields(w, i, opaque);
        if (!opaque && span_eq_str_nocase(type, "text"))
            put_number(w, part->body_lines);
        single_end(w, i);
    }
}

static void part_close(struct writer *w, uint32_t i)
{
    const struct mime_part *part = &w->s->parts[i];
    struct mime_lex lex = mime_lex_start(mime_part_value(part, MIME_FIELD_CONTENT_TYPE));
    struct span type, subtype;

    if (part->kind == MIME_KIND_MESSAGE) {
        put_number(w, part->body_lines);
        single_end(w, i);
        return;
    }
    if (!has_child(w, i)) {
        put(w, empty_part);
        put(w, w->extended ? " NIL NIL NIL NIL)" : ")");
    }
    mime_lex_type(&lex, &type, &subtype);
    put(w, " ");
    imap_put_string(w->out, subtype, w->utf8);
    if (w->extended) {
        put(w, " ");
        put_parameters(w, &lex, false);
        put_extension(w, part);
    }
    put(w, ")");
}

void imap_bodystructure_put(struct buf *out, const struct mime_structure *s, bool extended, bool utf8)
{
    struct writer w = {out, s, extended, utf8};
    uint32_t open = 0; /* the innermost part that is open; any when none is */
    bool any = false;

    if (!s->count) {
        put(&w, empty_part);
        put(&w, extended ? " NIL NIL NIL NIL)" : ")");
        return;
    }
    for (uint32_t i = 0; i < s->count; i++) {
        while (any && i && open != s->parts[i].parent) {
            part_close(&w, open);
            open = s->parts[open].parent;
        }
        part_open(&w, i);
        if (s->parts[i].kind == MIME_KIND_MULTIPART || is_message(&w, i)) {
            open = i;
            any = true;
        }
    }
    while (any) {
        part_close(&w, open);
        any = open != 0;
        open = s->parts[open].parent;
    }
}
