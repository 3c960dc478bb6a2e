#include "imap/section.h"

#include "base/ascii.h"
#include "base/err.h"
#include "imap/put.h"

/* ---- reading and writing ---- */

static const struct {
    const char *name;
    enum imap_section_kind kind;
} names[] = {
    {"HEADER.FIELDS.NOT", IMAP_SECTION_FIELDS_NOT},
    {"HEADER.FIELDS", IMAP_SECTION_FIELDS},
    {"HEADER", IMAP_SECTION_HEADER},
    {"TEXT", IMAP_SECTION_TEXT},
    {"MIME", IMAP_SECTION_MIME},
};

static bool is_section_char(uint8_t c)
{
    return ascii_is_alnum(c) || c == '.';
}

/* header-list = "(" header-fld-name *(SP header-fld-name) ")" */
static bool field_list(struct imap_lex *lex, struct imap_section *section)
{
    struct span *fields = arena_array(lex->arena, 8, sizeof *fields);
    size_t cap = 8;

    if (!fields || !imap_lex_space(lex) || !imap_lex_byte(lex, '('))
        return false;
    do {
        if (section->field_count == cap) {
            struct span *more = arena_array(lex->arena, 2 * cap, sizeof *more);

            if (!more || cap >= IMAP_SECTION_FIELDS_MAX)
                return false;
            memcpy(more, fields, cap * sizeof *fields);
            fields = more;
            cap *= 2;
        }
        if (!imap_lex_astring(lex, &fields[section->field_count]) || !fields[section->field_count].len ||
            fields[section->field_count].len > IMAP_FIELD_NAME_MAX)
            return false;
        section->field_count++;
    } while (imap_lex_space(lex));
    section->fields = fields;
    return imap_lex_byte(lex, ')');
}

/* 1*("." nz-number); what is left of the word is what comes behind the last point. */
static bool path(struct imap_lex *lex, struct span *word, struct imap_section *section)
{
    uint32_t *numbers = NULL;

    while (word->len && ascii_is_digit(word->p[0])) {
        size_t end = 0;
        uint64_t number;

        while (end < word->len && word->p[end] != '.')
            end++;
        if (!numbers && !(numbers = arena_array(lex->arena, word->len / 2 + 1, sizeof *numbers)))
            return false;
        if (span_to_u64(span_sub(*word, 0, end), UINT32_MAX, &number) != BRANT_OK || number == 0 ||
            section->path_len == IMAP_SECTION_PATH_MAX || end + 1 == word->len)
            return false;
        numbers[section->path_len++] = (uint32_t)number;
        *word = span_from(*word, end + 1);
    }
    section->path = numbers;
    return true;
}

static bool text_kind(struct span word, struct imap_section *section)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!span_eq_str_nocase(word, names[i].name))
            continue;
        section->kind = names[i].kind;
        return section->kind != IMAP_SECTION_MIME || section->path_len;
    }
    return false;
}

bool imap_section_parse(struct imap_lex *lex, bool binary, struct imap_section *ret)
{
    struct imap_lex at = *lex;
    struct imap_section section = {.kind = IMAP_SECTION_BODY};
    struct span word;
    size_t start;

    if (!imap_lex_byte(&at, '['))
        return false;
    for (start = at.pos; is_section_char(imap_lex_peek(&at));)
        at.pos++;
    word = span_sub(at.in, start, at.pos - start);
    if (!path(&at, &word, &section) || (word.len && (binary || !text_kind(word, &section))))
        return false;
    if ((section.kind == IMAP_SECTION_FIELDS || section.kind == IMAP_SECTION_FIELDS_NOT) &&
        !field_list(&at, &section))
        return false;
    if (!imap_lex_byte(&at, ']'))
        return false;
    *lex = at;
    *ret = section;
    return true;
}

void imap_section_put(struct buf *out, const struct imap_section *section)
{
    buf_append_byte(out, '[');
    for (size_t i = 0; i < section->path_len; i++) {
        if (i)
            buf_append_byte(out, '.');
        buf_append_u64(out, section->path[i]);
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].kind != section->kind)
            continue;
        if (section->path_len)
            buf_append_byte(out, '.');
        buf_append_str(out, names[i].name);
    }
    for (size_t i = 0; i < section->field_count; i++) {
        buf_append_str(out, i ? " " : " (");
        imap_put_astring(out, section->fields[i], false);
    }
    buf_append_str(out, section->field_count ? ")]" : "]");
}

size_t imap_section_put_max(const struct imap_section *section)
{
    size_t max = 32 + 11 * section->path_len;

    for (size_t i = 0; i < section->field_count; i++)
        max += 1 + imap_put_string_max(section->fields[i].len);
    return max;
}

/* ---- finding ---- */

/* The number-th child of a part; NULL when there are fewer. */
static const struct mime_part *child(const struct mime_structure *s, const struct mime_part *part,
                                     uint32_t number)
{
    uint32_t index = (uint32_t)(part - s->parts);

    for (uint32_t i = index + 1; i < s->count && s->parts[i].depth > part->depth; i++)
        if (s->parts[i].parent == index && --number == 0)
            return &s->parts[i];
    return NULL;
}

/* RFC 3501 6.4.5: "every message has at least one part number"; a message that is no multipart has part 1,
 * itself. Numbers behind a message/rfc822 count in the message inside it. The part that BODYSTRUCTURE shows
 * in a multipart without any is there, and empty. */
static const struct mime_part *walk(const struct mime_structure *s, const struct imap_section *section)
{
    static const struct mime_part empty;
    const struct mime_part *inside = &s->parts[0], *part = NULL;

    for (size_t i = 0; i < section->path_len; i++) {
        if (!inside)
            return NULL;
        if (inside->kind == MIME_KIND_MULTIPART)
            part = child(s, inside, section->path[i]);
        else
            part = section->path[i] == 1 ? inside : NULL;
        if (!part && inside->kind == MIME_KIND_MULTIPART && section->path[i] == 1 &&
            i + 1 == section->path_len)
            return &empty;
        if (!part)
            return NULL;
        inside = part->kind == MIME_KIND_MULTIPART ? part
                 : part->kind == MIME_KIND_MESSAGE ? child(s, part, 1)
                                                   : NULL;
    }
    return part;
}

bool imap_section_find(const struct mime_structure *s, const struct imap_section *section,
                       struct imap_extent *ret, const struct mime_part **ret_part)
{
    const struct mime_part *part;

    *ret_part = NULL;
    if (section->path_len == 0 && section->kind == IMAP_SECTION_BODY) {
        *ret = (struct imap_extent){0, s->size};
        return true;
    }
    if (!s->count)
        return false;
    part = section->path_len ? walk(s, section) : &s->parts[0];
    if (!part)
        return false;
    if (section->path_len)
        *ret_part = part;
    switch (section->kind) {
    case IMAP_SECTION_BODY:
        *ret = (struct imap_extent){part->body_start, part->body_end};
        return true;
    case IMAP_SECTION_MIME:
        *ret = (struct imap_extent){part->header_start, part->body_start};
        return true;
    default: /* of a message: the outermost, or the one inside the part */
        if (section->path_len)
            part = part->kind == MIME_KIND_MESSAGE ? child(s, part, 1) : NULL;
        if (!part)
            return false;
        if (section->kind == IMAP_SECTION_TEXT)
            *ret = (struct imap_extent){part->body_start, part->body_end};
        else
            *ret = (struct imap_extent){part->header_start, part->body_start};
        return true;
    }
}

bool imap_structure_shift(struct mime_structure *s, uint64_t size)
{
    uint64_t shift = size - s->size;

    if (size < s->size)
        return false;
    for (uint32_t i = 0; i < s->count; i++) {
        if (i)
            s->parts[i].header_start += shift;
        s->parts[i].body_start += shift;
        s->parts[i].body_end += shift;
    }
    s->size = size;
    return true;
}

/* ---- header fields ---- */

void imap_fields_init(struct imap_fields *f, const struct imap_section *section)
{
    *f = (struct imap_fields){.section = section, .at_line_start = true};
    buf_init(&f->held, IMAP_FIELD_NAME_MAX + 8);
}

void imap_fields_done(struct imap_fields *f)
{
    buf_done(&f->held);
}

static bool is_listed(const struct imap_fields *f, struct span name)
{
    name = span_trim(name);
    for (size_t i = 0; i < f->section->field_count; i++)
        if (span_eq_nocase(name, f->section->fields[i]))
            return true;
    return false;
}

/* What is held is all that is needed to know. */
static int decide(struct imap_fields *f, struct buf *out)
{
    struct span held = buf_span(&f->held);
    size_t colon = span_find_byte(held, ':');
    bool listed = colon != SPAN_NPOS && is_listed(f, span_sub(held, 0, colon));
    int err = BRANT_OK;

    f->decided = true;
    f->pass = listed == (f->section->kind == IMAP_SECTION_FIELDS);
    if (held.len && (held.p[0] == '\r' || held.p[0] == '\n')) /* the empty line */
        f->pass = true;
    if (f->pass)
        err = buf_append(out, held);
    buf_reset(&f->held);
    return err;
}

/* The first byte of a line: does it begin a field? */
static void line_begin(struct imap_fields *f, uint8_t c)
{
    f->at_line_start = false;
    if (!ascii_is_wsp(c)) /* else RFC 5322 2.2.3: the field goes on */
        f->decided = false;
}

int imap_fields_feed(struct imap_fields *f, struct span in, struct buf *out)
{
    int err = BRANT_OK;

    while (in.len && !err) {
        size_t n = 1;

        if (f->at_line_start)
            line_begin(f, in.p[0]);
        if (f->decided) {
            const uint8_t *lf = memchr(in.p, '\n', in.len);

            n = lf ? (size_t)(lf - in.p) + 1 : in.len;
            if (f->pass)
                err = buf_append(out, span_sub(in, 0, n));
        } else {
            buf_append_byte(&f->held, in.p[0]);
            if (in.p[0] == ':' || in.p[0] == '\n' || f->held.len == f->held.max)
                err = decide(f, out);
        }
        f->at_line_start = in.p[n - 1] == '\n';
        in = span_from(in, n);
    }
    return err;
}

int imap_fields_finish(struct imap_fields *f, struct buf *out)
{
    return f->held.len ? decide(f, out) : BRANT_OK;
}
