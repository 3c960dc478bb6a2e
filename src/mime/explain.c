#include "mime/explain.h"

#include "base/ascii.h"
#include "base/codec.h"
#include "base/err.h"
#include "mime/address.h"
#include "mime/date.h"
#include "mime/decode.h"
#include "mime/encoded_word.h"
#include "mime/headers.h"
#include "mime/json.h"
#include "mime/param.h"

enum { FIELDS_MAX = 2000, ADDRESSES_MAX = 1000, CHUNK = 65536, BAD_MAX = 16, PARSE_ARENA_MAX = 16 << 20 };

struct explain {
    const struct mime_structure *s;
    struct mime_parser *parser;
    struct span message;
    struct arena arena;               /* for the two arrays */
    uint32_t *number;                 /* of each part: its place among its siblings, from 1 */
    uint64_t *decoded_size;           /* of each part */
    struct mime_problem bad[BAD_MAX]; /* what decoding found */
    size_t bad_len;
    uint64_t bad_count[MIME_PROBLEM_COUNT];
    struct arena parse; /* reset for each field */
    struct buf text;    /* a decoded value */
    struct buf section;
    struct buf *out;
};

/* ---- preparation ---- */

static uint64_t decode_size(struct explain *e, uint32_t index)
{
    const struct mime_part *part = &e->s->parts[index];
    struct span body = span_sub(e->message, part->body_start, part->body_end - part->body_start);
    enum mime_problem_code code =
        part->encoding == MIME_ENCODING_BASE64 ? MIME_PROBLEM_BAD_BASE64 : MIME_PROBLEM_BAD_QUOTED_PRINTABLE;
    struct mime_decoder d;
    struct buf out;
    uint64_t size = 0;

    if (part->kind != MIME_KIND_LEAF ||
        (part->encoding != MIME_ENCODING_QUOTED_PRINTABLE && part->encoding != MIME_ENCODING_BASE64))
        return body.len;
    buf_init(&out, CHUNK + 2 * MIME_DECODE_SLACK);
    mime_decoder_init(&d, (enum mime_encoding)part->encoding);
    for (; body.len; body = span_from(body, CHUNK)) {
        mime_decoder_feed(&d, span_sub(body, 0, CHUNK), &out);
        size += out.len;
        buf_reset(&out);
    }
    mime_decoder_finish(&d, &out);
    size += out.len;
    buf_done(&out);
    e->bad_count[code] += d.errors;
    if (d.errors && e->bad_len < BAD_MAX)
        e->bad[e->bad_len++] =
            (struct mime_problem){.code = code, .part = index, .offset = part->body_start + d.first_error};
    return size;
}

static void explain_init(struct explain *e, struct mime_parser *p, struct span message, struct buf *out)
{
    uint32_t *children;

    *e = (struct explain){.s = mime_parser_structure(p), .parser = p, .message = message, .out = out};
    arena_init(&e->arena, 32 * (size_t)e->s->count + 1024);
    arena_init(&e->parse, PARSE_ARENA_MAX);
    buf_init(&e->text, 6 * message.len + 1024);
    buf_init(&e->section, 4096);
    e->number = arena_array(&e->arena, e->s->count, sizeof *e->number);
    e->decoded_size = arena_array(&e->arena, e->s->count, sizeof *e->decoded_size);
    children = arena_array(&e->arena, e->s->count, sizeof *children);
    for (uint32_t i = 0; i < e->s->count; i++) {
        if (i)
            e->number[i] = ++children[e->s->parts[i].parent];
        e->decoded_size[i] = decode_size(e, i);
    }
}

static int explain_done(struct explain *e)
{
    buf_done(&e->text);
    buf_done(&e->section);
    arena_done(&e->parse);
    arena_done(&e->arena);
    return e->out->overflowed ? BRANT_ELIMIT : BRANT_OK;
}

/* RFC 3501 6.4.5: parts of a multipart are counted; the root of an enclosed message adds nothing when it is a
 * multipart and ".1" otherwise. Into e->section. */
static struct span section(struct explain *e, uint32_t index)
{
    uint32_t path[256];
    size_t len = 0;

    for (uint32_t i = index;; i = e->s->parts[i].parent) {
        const struct mime_part *part = &e->s->parts[i];
        bool root = part->flags & MIME_PART_MESSAGE_ROOT;

        if (!root)
            path[len++] = e->number[i];
        else if (part->kind != MIME_KIND_MULTIPART)
            path[len++] = 1;
        if (i == 0)
            break;
    }
    buf_reset(&e->section);
    while (len--) {
        if (e->section.len)
            buf_append_byte(&e->section, '.');
        buf_append_u64(&e->section, path[len]);
    }
    return buf_span(&e->section);
}

static struct span decoded(struct explain *e, struct span raw)
{
    buf_reset(&e->text);
    mime_words_decode(raw, &e->text);
    return buf_span(&e->text);
}

static uint64_t problem_count(const struct explain *e, enum mime_problem_code code)
{
    return e->bad_count[code] + mime_parser_problem_count(e->parser, code);
}

/* The i-th problem of the parser's, then of decoding; NULL behind the last. */
static const struct mime_problem *problem(const struct explain *e, size_t i)
{
    size_t count;
    const struct mime_problem *list = mime_parser_problems(e->parser, &count);

    if (i < count)
        return &list[i];
    return i - count < e->bad_len ? &e->bad[i - count] : NULL;
}

/* ---- JSON ---- */

static void json_address(struct explain *e, struct mime_json_writer *w, const struct mime_address *a)
{
    struct buf address;

    mime_json_open(w, NULL, '{');
    mime_json_string(w, "name", decoded(e, a->name.len ? a->name : a->comment));
    buf_init(&address, 2 * (a->local.len + a->domain.len) + 16);
    mime_address_format(a, &address);
    mime_json_string(w, "address", buf_span(&address));
    buf_done(&address);
    mime_json_close(w, '}');
}

static void json_addresses(struct explain *e, struct mime_json_writer *w, struct span raw)
{
    struct mime_address_list list;

    mime_addresses_parse(&e->parse, raw, ADDRESSES_MAX, &list);
    mime_json_open(w, "addresses", '[');
    for (size_t i = 0; i < list.count; i++) {
        const struct mime_address *a = &list.items[i];

        if (a->kind == MIME_ADDRESS_MAILBOX) {
            json_address(e, w, a);
        } else if (a->kind == MIME_ADDRESS_GROUP_START) {
            mime_json_open(w, NULL, '{');
            mime_json_string(w, "group", decoded(e, a->name));
            mime_json_open(w, "addresses", '[');
            while (++i < list.count && list.items[i].kind == MIME_ADDRESS_MAILBOX)
                json_address(e, w, &list.items[i]);
            mime_json_close(w, ']');
            mime_json_close(w, '}');
        }
    }
    mime_json_close(w, ']');
}

static void json_date(struct mime_json_writer *w, struct span raw)
{
    struct mime_date date;

    if (mime_date_parse(raw, &date))
        return;
    mime_json_open(w, "date", '{');
    mime_json_signed(w, "unix", date.unix_s);
    mime_json_signed(w, "offset_minutes", date.offset_min);
    mime_json_close(w, '}');
}

static void json_ids(struct mime_json_writer *w, struct span raw)
{
    struct buf scratch;
    struct span id;

    buf_init(&scratch, raw.len);
    mime_json_open(w, "ids", '[');
    while (mime_msgid_next(&raw, &scratch, &id))
        mime_json_string(w, NULL, id);
    mime_json_close(w, ']');
    buf_done(&scratch);
}

static void json_field(struct explain *e, struct mime_json_writer *w, const struct mime_raw_field *f)
{
    enum mime_field_id id = mime_field_identify(f->name);

    mime_json_open(w, NULL, '{');
    mime_json_string(w, "name", f->name);
    mime_json_string(w, "value", decoded(e, f->value));
    mime_json_number(w, "offset", (uint64_t)(f->all.p - e->message.p));
    if (id >= MIME_FIELD_FROM && id <= MIME_FIELD_BCC)
        json_addresses(e, w, f->value);
    else if (id == MIME_FIELD_DATE)
        json_date(w, f->value);
    else if (id == MIME_FIELD_MESSAGE_ID || id == MIME_FIELD_IN_REPLY_TO || id == MIME_FIELD_CONTENT_ID ||
             span_eq_str_nocase(f->name, "References"))
        json_ids(w, f->value);
    mime_json_close(w, '}');
    arena_reset(&e->parse);
}

/* The next proper field of a part's header; lines that are none are passed over. */
static bool field_next(struct span *rest, struct mime_raw_field *ret)
{
    while (mime_raw_field_next(rest, ret))
        if (ret->name.len)
            return true;
    return false;
}

static struct span part_header(const struct explain *e, const struct mime_part *part)
{
    return span_sub(e->message, part->header_start, part->body_start - part->header_start);
}

static void json_headers(struct explain *e, struct mime_json_writer *w, const struct mime_part *part)
{
    struct span rest = part_header(e, part);
    struct mime_raw_field field;

    mime_json_open(w, "headers", '[');
    for (int n = 0; n < FIELDS_MAX && field_next(&rest, &field); n++)
        json_field(e, w, &field);
    mime_json_close(w, ']');
}

static void json_params(struct mime_json_writer *w, const struct mime_content *c)
{
    mime_json_open(w, "parameters", '{');
    for (size_t i = 0; i < c->count; i++)
        mime_json_member(w, c->params[i].name, c->params[i].value);
    mime_json_close(w, '}');
}

static void json_content(struct explain *e, struct mime_json_writer *w, const struct mime_part *part)
{
    struct mime_content content = {0};
    struct span type, subtype;
    struct span raw = mime_part_value(part, MIME_FIELD_CONTENT_ENCODING);
    struct span disposition = mime_part_value(part, MIME_FIELD_CONTENT_DISPOSITION);

    mime_part_type(part, &type, &subtype);
    mime_json_string_lower(w, "type", type);
    mime_json_string_lower(w, "subtype", subtype);
    mime_content_parse(&e->parse, mime_part_value(part, MIME_FIELD_CONTENT_TYPE), &content);
    json_params(w, &content);
    if (part->encoding != MIME_ENCODING_UNKNOWN)
        raw = span_str(mime_encoding_name((enum mime_encoding)part->encoding));
    mime_json_string_lower(w, "encoding", raw);
    if (disposition.p) {
        content = (struct mime_content){0};
        mime_content_parse(&e->parse, disposition, &content);
        mime_json_open(w, "disposition", '{');
        mime_json_string_lower(w, "type", content.type);
        json_params(w, &content);
        mime_json_close(w, '}');
    } else {
        mime_json_null(w, "disposition");
    }
    arena_reset(&e->parse);
}

static void json_part_open(struct explain *e, struct mime_json_writer *w, uint32_t i)
{
    static const struct {
        const char *key;
        enum mime_field_id id;
    } texts[] = {{"id", MIME_FIELD_CONTENT_ID},
                 {"description", MIME_FIELD_CONTENT_DESCRIPTION},
                 {"language", MIME_FIELD_CONTENT_LANGUAGE},
                 {"location", MIME_FIELD_CONTENT_LOCATION},
                 {"md5", MIME_FIELD_CONTENT_MD5}};
    const struct mime_part *part = &e->s->parts[i];
    bool root = part->flags & MIME_PART_MESSAGE_ROOT;

    mime_json_open(w, root ? "root" : NULL, '{');
    mime_json_string(w, "section", section(e, i));
    json_content(e, w, part);
    for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++) {
        struct span value = mime_part_value(part, texts[t].id);

        if (value.p)
            mime_json_string(w, texts[t].key, decoded(e, value));
    }
    mime_json_number(w, "offset", part->header_start);
    mime_json_number(w, "header_size", part->body_start - part->header_start);
    mime_json_number(w, "body_offset", part->body_start);
    mime_json_number(w, "size", part->body_end - part->body_start);
    mime_json_number(w, "decoded_size", e->decoded_size[i]);
    mime_json_number(w, "lines", part->body_lines);
    if (!root)
        json_headers(e, w, part);
    mime_json_open(w, "children", '[');
    if (part->kind == MIME_KIND_MESSAGE) {
        mime_json_close(w, ']');
        mime_json_open(w, "message", '{');
        json_headers(e, w, &e->s->parts[i + 1]);
    }
}

static void json_part_close(struct mime_json_writer *w, const struct mime_part *part)
{
    mime_json_close(w, part->kind == MIME_KIND_MESSAGE ? '}' : ']');
    mime_json_close(w, '}');
}

static void json_tree(struct explain *e, struct mime_json_writer *w)
{
    for (uint32_t i = 0; i < e->s->count; i++) {
        uint32_t open = i;
        /* How deep the tree goes on after this part: everything below that is complete. */
        uint32_t next = i + 1 < e->s->count ? e->s->parts[i + 1].depth : 0;

        json_part_open(e, w, i);
        while (e->s->parts[open].depth >= next) {
            json_part_close(w, &e->s->parts[open]);
            if (open == 0)
                break;
            open = e->s->parts[open].parent;
        }
    }
}

static void json_problems(struct explain *e, struct mime_json_writer *w)
{
    const struct mime_problem *p;

    mime_json_open(w, "problems", '[');
    for (size_t i = 0; (p = problem(e, i)) != NULL; i++) {
        mime_json_open(w, NULL, '{');
        mime_json_string(w, "code", span_str(mime_problem_name(p->code)));
        mime_json_string(w, "text", span_str(mime_problem_text(p->code)));
        mime_json_number(w, "offset", p->offset);
        mime_json_string(w, "section", section(e, p->part));
        mime_json_number(w, "count", problem_count(e, p->code));
        mime_json_close(w, '}');
    }
    mime_json_close(w, ']');
}

int mime_explain_json(struct mime_parser *p, struct span message, struct buf *out)
{
    struct explain e;
    struct mime_json_writer w = {.out = out};

    explain_init(&e, p, message, out);
    mime_json_open(&w, NULL, '{');
    mime_json_number(&w, "size", e.s->size);
    mime_json_number(&w, "lines", e.s->lines);
    mime_json_bool(&w, "truncated", e.s->truncated);
    json_headers(&e, &w, &e.s->parts[0]);
    json_tree(&e, &w);
    json_problems(&e, &w);
    mime_json_close(&w, '}');
    buf_append_byte(out, '\n');
    return explain_done(&e);
}

/* ---- text ---- */

static void text_put(struct explain *e, struct span text)
{
    codec_escape(e->out, text);
}

static void text_headers(struct explain *e, const struct mime_part *part, int indent)
{
    struct span rest = part_header(e, part);
    struct mime_raw_field field;

    for (int n = 0; n < FIELDS_MAX && field_next(&rest, &field); n++) {
        buf_printf(e->out, "%*s", indent, "");
        text_put(e, field.name);
        buf_append_str(e->out, ": ");
        text_put(e, decoded(e, field.value));
        buf_append_byte(e->out, '\n');
    }
}

static void text_params(struct explain *e, const struct mime_content *c)
{
    for (size_t i = 0; i < c->count; i++) {
        buf_append_str(e->out, "; ");
        text_put(e, c->params[i].name);
        buf_append_str(e->out, "=\"");
        text_put(e, c->params[i].value);
        buf_append_byte(e->out, '"');
    }
}

static void text_part(struct explain *e, uint32_t i)
{
    const struct mime_part *part = &e->s->parts[i];
    struct span type, subtype, disposition = mime_part_value(part, MIME_FIELD_CONTENT_DISPOSITION);
    struct mime_content content = {0};
    struct span number = section(e, i);
    int indent = 2 + 2 * part->depth;

    mime_part_type(part, &type, &subtype);
    mime_content_parse(&e->parse, mime_part_value(part, MIME_FIELD_CONTENT_TYPE), &content);
    buf_printf(e->out, "%*s%.*s%s", indent, "", SPAN_ARG(number), number.len ? " " : "");
    text_put(e, type);
    buf_append_byte(e->out, '/');
    text_put(e, subtype);
    text_params(e, &content);
    buf_printf(e->out, "\n%*s  %s, %llu bytes", indent, "",
               mime_encoding_name((enum mime_encoding)part->encoding),
               (unsigned long long)(part->body_end - part->body_start));
    if (e->decoded_size[i] != part->body_end - part->body_start)
        buf_printf(e->out, " (%llu decoded)", (unsigned long long)e->decoded_size[i]);
    buf_printf(e->out, ", %u lines, at offset %llu\n", part->body_lines,
               (unsigned long long)part->header_start);
    if (disposition.p) {
        content = (struct mime_content){0};
        mime_content_parse(&e->parse, disposition, &content);
        buf_printf(e->out, "%*s  disposition ", indent, "");
        text_put(e, content.type);
        text_params(e, &content);
        buf_append_byte(e->out, '\n');
    }
    arena_reset(&e->parse);
    if (i && part->flags & MIME_PART_MESSAGE_ROOT)
        text_headers(e, part, indent + 2);
}

static void text_problems(struct explain *e)
{
    const struct mime_problem *p = problem(e, 0);

    buf_append_str(e->out, p ? "Problems:\n" : "No problems found.\n");
    for (size_t i = 0; (p = problem(e, i)) != NULL; i++) {
        uint64_t count = problem_count(e, p->code);

        buf_printf(e->out, "  at offset %llu: %s (%s", (unsigned long long)p->offset,
                   mime_problem_text(p->code), mime_problem_name(p->code));
        if (count > 1)
            buf_printf(e->out, ", %llu in all", (unsigned long long)count);
        buf_append_str(e->out, ")\n");
    }
}

int mime_explain_text(struct mime_parser *p, struct span message, struct buf *out)
{
    struct explain e;

    explain_init(&e, p, message, out);
    buf_printf(out, "Message of %llu bytes, %u lines, %u parts%s\n", (unsigned long long)e.s->size,
               e.s->lines, e.s->count, e.s->truncated ? " (not all of it is shown)" : "");
    buf_append_str(out, "Header:\n");
    text_headers(&e, &e.s->parts[0], 2);
    buf_append_str(out, "Structure:\n");
    for (uint32_t i = 0; i < e.s->count; i++)
        text_part(&e, i);
    text_problems(&e);
    return explain_done(&e);
}
