#include "mime/parser.h"

#include <stdlib.h>

#include "base/ascii.h"
#include "base/codec.h"
#include "base/err.h"
#include "base/mem.h"
#include "mime/boundary.h"
#include "mime/param.h"

enum {
    DEPTH_MAX = 200,
    PROBLEMS_PER_CODE = 8,
    VALUES_PER_PART = 64,
    LINE_MAX_BYTES = 998,
    BOUNDARY_RFC_MAX = 70
};

struct mime_parser {
    struct mime_limits limits;
    struct arena arena; /* values and boundaries */
    struct mime_structure s;
    size_t parts_cap;
    struct mime_field *fields;
    size_t fields_len, fields_cap;
    struct mime_problem problems[MIME_PROBLEM_COUNT * PROBLEMS_PER_CODE];
    size_t problems_len;
    uint64_t problem_counts[MIME_PROBLEM_COUNT];

    struct mime_open open[DEPTH_MAX + 1];
    size_t open_len;
    size_t boundaries;       /* open parts that have a boundary */
    size_t boundary_longest; /* of all ever opened */

    uint64_t pos;        /* bytes seen */
    uint64_t lines;      /* line ends seen */
    uint64_t line_start; /* where the current line began */
    uint8_t eol_len;     /* bytes of the line end before the current line; 0 at the start */
    bool last_cr;        /* the byte before pos is a CR */
    bool probing;        /* body: the line may still be a boundary and is being kept */
    bool in_header;
    bool root_header_done;
    uint64_t root_header_end;
    struct buf line; /* header: the current line; body: the start of a line that may be a boundary */

    struct buf field; /* the field being read, unfolded */
    bool field_open, field_cut;
    uint64_t field_start, field_end;
    uint32_t field_colon; /* where the colon is; 0 when there is none */
    uint64_t values;      /* kept in the current header */
    uint32_t seen;        /* fields of the current header that may stand once, one bit each */
};

static uint32_t clamp32(uint64_t n)
{
    return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

struct mime_parser *mime_parser_new(const struct mime_limits *limits)
{
    struct mime_parser *p = mem_zalloc(sizeof *p);
    struct mime_limits l = limits ? *limits : (struct mime_limits){0};

    l.depth_max = l.depth_max ? l.depth_max : 100;
    l.depth_max = l.depth_max > DEPTH_MAX ? DEPTH_MAX : l.depth_max;
    if (!l.parts_max || l.parts_max > MIME_STRUCTURE_PARTS_MAX)
        l.parts_max = MIME_STRUCTURE_PARTS_MAX;
    l.fields_max = l.fields_max ? l.fields_max : 2000;
    l.field_bytes_max = l.field_bytes_max ? l.field_bytes_max : 65536;
    l.memory_bytes_max = l.memory_bytes_max ? l.memory_bytes_max : 524288;
    l.boundary_bytes_max = l.boundary_bytes_max ? l.boundary_bytes_max : 8192;
    p->limits = l;
    arena_init(&p->arena, l.memory_bytes_max);
    buf_init(&p->line, l.field_bytes_max);
    buf_init(&p->field, l.field_bytes_max);
    p->parts_cap = 1;
    p->s.parts = mem_array(1, sizeof *p->s.parts);
    p->s.parts[0].flags = MIME_PART_MESSAGE_ROOT;
    p->s.count = 1;
    p->open_len = 1;
    p->in_header = true;
    return p;
}

void mime_parser_free(struct mime_parser *p)
{
    if (!p)
        return;
    arena_done(&p->arena);
    buf_done(&p->line);
    buf_done(&p->field);
    free(p->s.parts);
    free(p->fields);
    free(p);
}

static struct mime_part *top_part(struct mime_parser *p)
{
    return &p->s.parts[p->open[p->open_len - 1].part];
}

static void report(struct mime_parser *p, enum mime_problem_code code, uint64_t offset)
{
    if (p->problem_counts[code]++ < PROBLEMS_PER_CODE)
        p->problems[p->problems_len++] =
            (struct mime_problem){.code = code, .part = p->open[p->open_len - 1].part, .offset = offset};
}

static void part_open(struct mime_parser *p, uint8_t flags)
{
    uint32_t parent = p->open[p->open_len - 1].part;
    struct mime_part *part;

    if (p->s.count == p->parts_cap) {
        p->parts_cap *= 2;
        p->s.parts = mem_regrow(p->s.parts, p->parts_cap, sizeof *p->s.parts);
    }
    part = &p->s.parts[p->s.count];
    *part = (struct mime_part){
        .depth = (uint16_t)(p->s.parts[parent].depth + 1),
        .parent = parent,
        .flags = flags,
        .header_start = p->pos,
    };
    p->open[p->open_len++] = (struct mime_open){.part = p->s.count++, .header_lines = p->lines};
    p->in_header = true;
    p->seen = 0;
    p->values = 0;
}

/* Takes the innermost open part off the stack; its body ends at *end, after *lines lines of the message. A
 * part without body pushes both behind its header, for the parts around it too. */
static void part_close(struct mime_parser *p, uint64_t *end, uint64_t *lines)
{
    struct mime_open *open = &p->open[p->open_len - 1];
    struct mime_part *part = top_part(p);

    if (*end < part->body_start) { /* the line end before the boundary is that of the empty line */
        *end = part->body_start;
        *lines = open->body_lines;
    }
    part->body_end = *end;
    part->body_lines = clamp32(*lines - open->body_lines);
    if (part->kind == MIME_KIND_MULTIPART) {
        if (!open->terminated)
            report(p, MIME_PROBLEM_UNTERMINATED_MULTIPART, p->line_start);
        if (open->part + 1 >= p->s.count || p->s.parts[open->part + 1].parent != open->part)
            report(p, MIME_PROBLEM_EMPTY_MULTIPART, part->header_start);
    }
    if (open->boundary.len)
        p->boundaries--;
    p->open_len--;
}

/* ---- header fields ---- */

static bool is_envelope_list(enum mime_field_id id)
{
    return id >= MIME_FIELD_FROM && id <= MIME_FIELD_BCC;
}

static void value_add(struct mime_parser *p, enum mime_field_id id, struct span text)
{
    struct mime_part *part = top_part(p);
    struct mime_value **tail = &part->values, *v = NULL;
    struct span copy = SPAN_NONE;

    if (p->values < VALUES_PER_PART && (v = arena_alloc(&p->arena, sizeof *v)) != NULL)
        copy = arena_dup(&p->arena, span_trim(text));
    if (!copy.p) {
        part->flags |= MIME_PART_CLIPPED;
        p->s.truncated = true;
        report(p, MIME_PROBLEM_VALUES_DROPPED, p->field_start);
        return;
    }
    p->values++;
    while (*tail) /* at most VALUES_PER_PART steps */
        tail = &(*tail)->next;
    v->id = id;
    v->text = copy;
    *tail = v;
    if (p->field_cut)
        part->flags |= MIME_PART_CLIPPED;
}

/* A bit for each field that may stand only once (RFC 5322 3.6; RFC 2045 3), or 0. */
static uint32_t singleton_bit(enum mime_field_id id, struct span name)
{
    if (id != MIME_FIELD_OTHER)
        return 1U << id;
    if (span_eq_str_nocase(name, "References"))
        return 1U << MIME_FIELD_COUNT;
    if (span_eq_str_nocase(name, "MIME-Version"))
        return 1U << (MIME_FIELD_COUNT + 1);
    return 0;
}

static void field_list_add(struct mime_parser *p, size_t name_len)
{
    if (p->fields_len == p->limits.fields_max) {
        report(p, MIME_PROBLEM_TOO_MANY_FIELDS, p->field_start);
        return;
    }
    if (p->fields_len == p->fields_cap) {
        p->fields_cap = p->fields_cap ? p->fields_cap * 2 : 16;
        p->fields = mem_regrow(p->fields, p->fields_cap, sizeof *p->fields);
    }
    p->fields[p->fields_len++] = (struct mime_field){
        .start = p->field_start,
        .end = p->field_end,
        .name_len = (uint32_t)name_len,
        .value = p->field_colon + 1,
    };
}

static void field_check_8bit(struct mime_parser *p)
{
    for (size_t i = 0; i < p->field.len; i++) {
        if (p->field.data[i] < 0x80)
            continue;
        /* The cut may have split a character: that much is forgiven. */
        if (p->field_cut || codec_utf8_valid(buf_span(&p->field)))
            report(p, MIME_PROBLEM_HEADER_UTF8, p->field_start);
        else
            report(p, MIME_PROBLEM_HEADER_8BIT, p->field_start);
        return;
    }
}

/* The length of the name, or 0 when this is no field (RFC 5322 2.2; 4.5 allows white space before the colon).
 */
static size_t field_name_len(const struct mime_parser *p)
{
    size_t len = p->field_colon;

    while (len && ascii_is_wsp(p->field.data[len - 1]))
        len--;
    for (size_t i = 0; i < len; i++)
        if (p->field.data[i] <= ' ' || p->field.data[i] >= 0x7f)
            return 0;
    return len;
}

static void field_finish(struct mime_parser *p)
{
    size_t name_len;
    struct span name;
    enum mime_field_id id;
    uint32_t bit;
    bool root;

    if (!p->field_open)
        return;
    p->field_open = false;
    if (p->field_cut)
        report(p, MIME_PROBLEM_FIELD_TRUNCATED, p->field_start);
    field_check_8bit(p);
    name_len = field_name_len(p);
    if (!name_len) {
        report(p, MIME_PROBLEM_HEADER_BAD_LINE, p->field_start);
        return;
    }
    name = span_sub(buf_span(&p->field), 0, name_len);
    root = top_part(p)->flags & MIME_PART_MESSAGE_ROOT;
    id = mime_field_identify(name);
    if (p->open_len == 1)
        field_list_add(p, name_len);
    bit = singleton_bit(id, name);
    if (id >= MIME_FIELD_DATE && !root)
        return;
    if (p->seen & bit)
        report(p, MIME_PROBLEM_DUPLICATE_FIELD, p->field_start);
    if (id != MIME_FIELD_OTHER && (!(p->seen & bit) || is_envelope_list(id)))
        value_add(p, id, span_from(buf_span(&p->field), p->field_colon + 1U));
    p->seen |= bit;
}

/* ---- what follows a header ---- */

static bool multipart_boundary(struct mime_parser *p, struct span *ret)
{
    struct mime_part *part = top_part(p);
    struct mime_content content;
    struct arena scratch;
    struct span boundary = SPAN_NONE;

    arena_init(&scratch, 8 * p->limits.field_bytes_max + 65536);
    if (mime_content_parse(&scratch, mime_part_value(part, MIME_FIELD_CONTENT_TYPE), &content) == BRANT_OK)
        boundary = mime_content_param(&content, "boundary");
    if (boundary.len && boundary.len <= p->limits.boundary_bytes_max)
        boundary = arena_dup(&p->arena, boundary);
    else
        boundary = SPAN_NONE;
    arena_done(&scratch);
    if (!boundary.len)
        return false;
    *ret = boundary;
    return true;
}

static enum mime_kind part_kind(struct mime_parser *p, struct mime_part *part)
{
    struct span type, subtype;
    enum mime_kind kind = MIME_KIND_LEAF;
    bool encoded = part->encoding > MIME_ENCODING_BINARY;

    if (!mime_part_type(part, &type, &subtype) && mime_part_value(part, MIME_FIELD_CONTENT_TYPE).p)
        report(p, MIME_PROBLEM_BAD_CONTENT_TYPE, part->header_start);
    if (span_eq_str_nocase(type, "multipart"))
        kind = MIME_KIND_MULTIPART;
    else if (span_eq_str_nocase(type, "message") &&
             (span_eq_str_nocase(subtype, "rfc822") || span_eq_str_nocase(subtype, "global")))
        kind = MIME_KIND_MESSAGE;
    if (kind == MIME_KIND_LEAF)
        return kind;
    if (encoded) {
        report(p, MIME_PROBLEM_ENCODED_COMPOSITE, part->header_start);
        /* A multipart's boundaries can't be meant encoded; an encoded message is opaque here. */
        if (kind == MIME_KIND_MESSAGE)
            return MIME_KIND_LEAF;
    }
    if (part->depth >= p->limits.depth_max) {
        report(p, MIME_PROBLEM_TOO_DEEP, part->header_start);
        p->s.truncated = true;
        return MIME_KIND_LEAF;
    }
    return kind;
}

static void root_header_finish(struct mime_parser *p, uint64_t end)
{
    p->root_header_done = true;
    p->root_header_end = end;
    if (!(p->seen & (1U << MIME_FIELD_FROM)))
        report(p, MIME_PROBLEM_MISSING_FROM, 0);
    if (!(p->seen & (1U << MIME_FIELD_DATE)))
        report(p, MIME_PROBLEM_MISSING_DATE, 0);
}

/* The header of the innermost part ends and its body begins at `body`. */
static void header_finish(struct mime_parser *p, uint64_t body)
{
    struct mime_open *open = &p->open[p->open_len - 1];
    struct mime_part *part = top_part(p);

    field_finish(p);
    p->in_header = false;
    part->body_start = body;
    part->header_lines = clamp32(p->lines - open->header_lines);
    open->body_lines = p->lines;
    if (p->open_len == 1)
        root_header_finish(p, body);
    part->encoding = (uint8_t)mime_encoding_parse(mime_part_value(part, MIME_FIELD_CONTENT_ENCODING));
    if (part->encoding == MIME_ENCODING_UNKNOWN)
        report(p, MIME_PROBLEM_BAD_ENCODING, part->header_start);
    part->kind = (uint8_t)part_kind(p, part);
    if (part->kind != MIME_KIND_MULTIPART)
        return;
    if (!multipart_boundary(p, &open->boundary)) {
        report(p, MIME_PROBLEM_MISSING_BOUNDARY, part->header_start);
        part->kind = MIME_KIND_LEAF;
        return;
    }
    if (open->boundary.len > BOUNDARY_RFC_MAX)
        report(p, MIME_PROBLEM_LONG_BOUNDARY, part->header_start);
    p->boundaries++;
    if (open->boundary.len > p->boundary_longest)
        p->boundary_longest = open->boundary.len;
}

/* The message inside a message part begins here. */
static void message_child_open(struct mime_parser *p)
{
    if (top_part(p)->kind != MIME_KIND_MESSAGE)
        return;
    if (p->s.count == p->limits.parts_max) {
        report(p, MIME_PROBLEM_TOO_MANY_PARTS, p->pos);
        p->s.truncated = true;
        top_part(p)->kind = MIME_KIND_LEAF;
        return;
    }
    part_open(p, MIME_PART_MESSAGE_ROOT);
}

static bool is_digest(const struct mime_part *part)
{
    struct span type, subtype;

    mime_part_type(part, &type, &subtype);
    return span_eq_str_nocase(subtype, "digest");
}

/* A boundary line of an open multipart has just been read; p->pos is behind it. */
static void boundary_handle(struct mime_parser *p, const struct mime_boundary_match *match,
                            uint8_t eol_before, uint64_t lines_before)
{
    struct mime_open *open = &p->open[match->open];
    uint64_t end = p->line_start - eol_before; /* RFC 2046 5.1.1: that line end belongs to the boundary */
    uint64_t lines_end = lines_before - (eol_before ? 1 : 0);

    if (p->in_header) {
        uint64_t lines = p->lines;

        report(p, MIME_PROBLEM_HEADER_UNTERMINATED, p->line_start);
        p->lines = lines_before; /* the boundary's own line is not in the header */
        header_finish(p, p->line_start);
        p->lines = lines;
        if (top_part(p)->kind == MIME_KIND_MESSAGE)
            top_part(p)->kind = MIME_KIND_LEAF; /* there is no message in it */
    }
    if (match->trailing)
        report(p, MIME_PROBLEM_BOUNDARY_TRAILING, p->line_start);
    while (p->open_len > match->open + 1)
        part_close(p, &end, &lines_end);
    if (match->end) {
        open->boundary = SPAN_NONE;
        open->terminated = true;
        p->boundaries--;
    } else if (p->s.count == p->limits.parts_max) {
        report(p, MIME_PROBLEM_TOO_MANY_PARTS, p->line_start);
        p->s.truncated = true;
    } else {
        part_open(p, is_digest(&p->s.parts[open->part]) ? MIME_PART_DIGEST_CHILD : 0);
    }
}

/* ---- lines ---- */

static bool try_boundary(struct mime_parser *p, struct span line, uint8_t eol_before, uint64_t lines_before)
{
    struct mime_boundary_match match;

    if (!p->boundaries || !span_starts(line, SPAN_LIT("--")) ||
        !mime_boundary_find(p->open, p->open_len, line, &match))
        return false;
    boundary_handle(p, &match, eol_before, lines_before);
    return true;
}

static void field_continue(struct mime_parser *p, struct span line)
{
    size_t room = p->limits.field_bytes_max - p->field.len;

    if (line.len > room)
        p->field_cut = true;
    buf_append(&p->field, span_sub(line, 0, room));
}

static void field_begin(struct mime_parser *p, struct span line, bool cut)
{
    size_t colon = span_find_byte(line, ':');

    buf_reset(&p->field);
    buf_append(&p->field, line);
    p->field_open = true;
    p->field_cut = cut;
    p->field_start = p->line_start;
    p->field_colon = colon == SPAN_NPOS ? 0 : (uint32_t)colon;
}

static void header_line(struct mime_parser *p, struct span line, bool cut, uint8_t eol_before,
                        uint64_t lines_before)
{
    if (!line.len) { /* RFC 5322 2.1: the empty line */
        header_finish(p, p->pos);
        message_child_open(p);
        return;
    }
    if (try_boundary(p, line, eol_before, lines_before))
        return;
    if (line.p[0] == ' ' || line.p[0] == '\t') { /* RFC 5322 2.2.3 */
        if (p->field_open) {
            field_continue(p, line);
            p->field_cut = p->field_cut || cut;
        } else {
            report(p, MIME_PROBLEM_HEADER_BAD_LINE, p->line_start);
        }
    } else {
        field_finish(p);
        field_begin(p, line, cut);
    }
    p->field_end = p->pos;
}

/* The line from line_start to pos is complete; eol is the length of its end, 0 at the end of the input. */
static void line_finish(struct mime_parser *p, uint8_t eol)
{
    uint64_t len = p->pos - p->line_start - eol, lines_before = p->lines - (eol ? 1 : 0);
    uint8_t eol_before = p->eol_len;
    bool cut = p->line.len < len;
    struct span line = span_sub(buf_span(&p->line), 0, cut ? p->line.len : (size_t)len);

    if (len > LINE_MAX_BYTES)
        report(p, MIME_PROBLEM_LONG_LINE, p->line_start);
    if (p->in_header)
        header_line(p, line, cut, eol_before, lines_before);
    else if (p->probing && line.len > 2)
        try_boundary(p, line, eol_before, lines_before);
    p->eol_len = eol;
    p->line_start = p->pos;
    p->probing = !p->in_header && p->boundaries;
    buf_reset(&p->line);
}

/* Keeps what a decision at the end of the line will need. */
static void line_keep(struct mime_parser *p, struct span bytes)
{
    size_t max = p->in_header ? p->limits.field_bytes_max : p->boundary_longest + 128;
    size_t room;

    if (!p->in_header && !p->probing)
        return;
    max = max > p->limits.field_bytes_max ? p->limits.field_bytes_max : max;
    room = max > p->line.len ? max - p->line.len : 0;
    buf_append(&p->line, span_sub(bytes, 0, room));
    if (!p->in_header && (p->line.data[0] != '-' || (p->line.len > 1 && p->line.data[1] != '-'))) {
        p->probing = false;
        buf_reset(&p->line);
    }
}

/* Bare CR and NUL, and 8-bit bytes in bodies. */
static void bytes_check(struct mime_parser *p, struct span bytes)
{
    struct mime_part *part = top_part(p);
    const uint8_t *at, *end = bytes.p + bytes.len;
    uint8_t high = 0;

    if (p->last_cr && bytes.p[0] != '\n')
        report(p, MIME_PROBLEM_BARE_CR, p->pos - 1);
    for (at = bytes.p; (at = memchr(at, '\r', (size_t)(end - at))) != NULL && ++at < end;)
        if (*at != '\n')
            report(p, MIME_PROBLEM_BARE_CR, p->pos + (uint64_t)(at - 1 - bytes.p));
    for (at = bytes.p; at < end && (at = memchr(at, 0, (size_t)(end - at))) != NULL; at++) {
        report(p, MIME_PROBLEM_NUL, p->pos + (uint64_t)(at - bytes.p));
        if (!p->in_header && part->kind == MIME_KIND_LEAF)
            part->flags |= MIME_PART_NUL;
    }
    if (p->in_header || part->kind != MIME_KIND_LEAF || part->flags & MIME_PART_8BIT)
        return;
    for (size_t i = 0; i < bytes.len; i++)
        high |= bytes.p[i];
    if (!(high & 0x80))
        return;
    part->flags |= MIME_PART_8BIT;
    if (part->encoding != MIME_ENCODING_7BIT)
        return;
    for (at = bytes.p; !(*at & 0x80); at++)
        ;
    report(p, MIME_PROBLEM_BODY_8BIT, p->pos + (uint64_t)(at - bytes.p));
}

void mime_parser_feed(struct mime_parser *p, struct span bytes)
{
    while (bytes.len) {
        const uint8_t *lf = memchr(bytes.p, '\n', bytes.len);
        struct span piece = span_sub(bytes, 0, lf ? (size_t)(lf - bytes.p) + 1 : bytes.len);
        bool crlf = piece.len > 1 ? piece.p[piece.len - 2] == '\r' : p->last_cr;

        bytes_check(p, piece);
        line_keep(p, piece);
        p->pos += piece.len;
        p->last_cr = piece.p[piece.len - 1] == '\r';
        if (lf) {
            if (!crlf)
                report(p, MIME_PROBLEM_BARE_LF, p->pos - 1);
            p->lines++;
            line_finish(p, crlf ? 2 : 1);
        }
        bytes = span_from(bytes, piece.len);
    }
}

/* By offset, so that the order does not depend on how the bytes were portioned. The list is short. */
static void problems_sort(struct mime_parser *p)
{
    for (size_t i = 1; i < p->problems_len; i++) {
        struct mime_problem one = p->problems[i];
        size_t j = i;

        for (; j > 0 && (p->problems[j - 1].offset > one.offset ||
                         (p->problems[j - 1].offset == one.offset && p->problems[j - 1].code > one.code));
             j--)
            p->problems[j] = p->problems[j - 1];
        p->problems[j] = one;
    }
}

void mime_parser_finish(struct mime_parser *p)
{
    uint64_t end, lines;

    if (p->last_cr)
        report(p, MIME_PROBLEM_BARE_CR, p->pos - 1);
    if (p->pos > p->line_start)
        line_finish(p, 0);
    while (p->in_header) { /* a header may end with the message (RFC 5322 3.5), at most depth_max times */
        header_finish(p, p->pos);
        message_child_open(p);
    }
    end = p->pos;
    lines = p->lines;
    while (p->open_len)
        part_close(p, &end, &lines);
    problems_sort(p);
    p->s.size = p->pos;
    p->s.lines = clamp32(p->lines);
    buf_done(&p->line);
    buf_done(&p->field);
}

size_t mime_parser_memory_bytes(const struct mime_parser *p)
{
    return sizeof *p + p->arena.used + p->parts_cap * sizeof *p->s.parts + p->fields_cap * sizeof *p->fields +
           p->line.cap + p->field.cap;
}

bool mime_parser_header_done(const struct mime_parser *p, uint64_t *ret_end)
{
    if (!p->root_header_done)
        return false;
    *ret_end = p->root_header_end;
    return true;
}

const struct mime_field *mime_parser_fields(const struct mime_parser *p, size_t *ret_count)
{
    *ret_count = p->fields_len;
    return p->fields;
}

const struct mime_structure *mime_parser_structure(const struct mime_parser *p)
{
    return &p->s;
}

const struct mime_problem *mime_parser_problems(const struct mime_parser *p, size_t *ret_count)
{
    *ret_count = p->problems_len;
    return p->problems;
}

uint64_t mime_parser_problem_count(const struct mime_parser *p, enum mime_problem_code code)
{
    return p->problem_counts[code];
}
