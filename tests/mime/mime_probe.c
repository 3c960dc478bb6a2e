/* The MIME engine for scripts: a line "KIND HEX" on standard input gives one line of JSON on standard output.
 *   words, address, date, content, ids, received   the raw value of a header field
 *   charset:LABEL, base64, qp                       bytes; the answer is {"text": …} or {"hex": …}
 *   message    a whole message, parsed whole, byte by byte and, when small, cut at every place; the answer is
 *              {"portions": how many ways, "same": bool, "explain": …, "bodies": [hex of each leaf, decoded]}
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/codec.h"
#include "base/err.h"
#include "mime/address.h"
#include "mime/charset.h"
#include "mime/date.h"
#include "mime/decode.h"
#include "mime/encoded_word.h"
#include "mime/explain.h"
#include "mime/json.h"
#include "mime/param.h"
#include "mime/received.h"

#define OUT_MAX ((size_t)256 << 20)
enum { SPLIT_MAX = 6000 };

static void probe_words(struct mime_json_writer *w, const char *key, struct span raw)
{
    struct buf text;

    buf_init(&text, 8 * raw.len + 64);
    mime_words_decode(raw, &text);
    mime_json_string(w, key, buf_span(&text));
    buf_done(&text);
}

static void probe_address(struct mime_json_writer *w, struct span raw)
{
    static const char *const kinds[] = {"mailbox", "group", "end"};
    struct arena a;
    struct mime_address_list list;

    arena_init(&a, 64 << 20);
    mime_addresses_parse(&a, raw, 10000, &list);
    mime_json_open(w, "list", '[');
    for (size_t i = 0; i < list.count; i++) {
        const struct mime_address *m = &list.items[i];

        mime_json_open(w, NULL, '{');
        mime_json_string(w, "kind", span_str(kinds[m->kind]));
        probe_words(w, "name", m->name);
        probe_words(w, "comment", m->comment);
        mime_json_string(w, "route", m->route);
        mime_json_string(w, "local", m->local);
        mime_json_string(w, "domain", m->domain);
        mime_json_close(w, '}');
    }
    mime_json_close(w, ']');
    arena_done(&a);
}

static void put_date(struct mime_json_writer *w, const struct mime_date *d)
{
    mime_json_signed(w, "unix", d->unix_s);
    mime_json_signed(w, "offset", d->offset_min);
}

static void probe_date(struct mime_json_writer *w, struct span raw)
{
    struct mime_date d;

    if (mime_date_parse(raw, &d) == BRANT_OK)
        put_date(w, &d);
}

static void probe_content(struct mime_json_writer *w, struct span raw)
{
    struct arena a;
    struct mime_content c;

    arena_init(&a, 64 << 20);
    if (mime_content_parse(&a, raw, &c) == BRANT_OK) {
        mime_json_string_lower(w, "type", c.type);
        mime_json_string_lower(w, "subtype", c.subtype);
        mime_json_open(w, "params", '[');
        for (size_t i = 0; i < c.count; i++) {
            mime_json_open(w, NULL, '[');
            mime_json_string_lower(w, NULL, c.params[i].name);
            mime_json_string(w, NULL, c.params[i].value);
            mime_json_string(w, NULL, c.params[i].language);
            mime_json_close(w, ']');
        }
        mime_json_close(w, ']');
    }
    arena_done(&a);
}

static void probe_ids(struct mime_json_writer *w, struct span raw)
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

static void probe_received(struct mime_json_writer *w, struct span raw)
{
    struct mime_received r;
    char ip[IP_TEXT_MAX];

    mime_received_parse(raw, &r);
    mime_json_string(w, "from", r.from);
    mime_json_string(w, "by", r.by);
    mime_json_string(w, "via", r.via);
    mime_json_string(w, "with", r.with);
    mime_json_string(w, "id", r.id);
    mime_json_string(w, "for", r.for_);
    if (ip_format(&r.from_ip, ip) == BRANT_OK)
        mime_json_string(w, "from_ip", span_str(ip));
    if (r.has_date)
        put_date(w, &r.date);
}

static void json_hex(struct mime_json_writer *w, const char *key, struct span bytes)
{
    struct buf hex;

    buf_init(&hex, 2 * bytes.len);
    codec_hex_encode(&hex, bytes);
    mime_json_string(w, key, buf_span(&hex));
    buf_done(&hex);
}

static void probe_decode(struct mime_json_writer *w, const char *key, enum mime_encoding e, struct span in)
{
    struct mime_decoder d;
    struct buf out;

    buf_init(&out, in.len + 3 * MIME_DECODE_SLACK);
    mime_decoder_init(&d, e);
    mime_decoder_feed(&d, in, &out);
    mime_decoder_finish(&d, &out);
    json_hex(w, key, buf_span(&out));
    buf_done(&out);
}

static void probe_charset(struct mime_json_writer *w, struct span label, struct span in)
{
    struct buf out;

    buf_init(&out, 8 * in.len + 64);
    if (mime_charset_to_utf8(label, in, &out) == BRANT_OK)
        mime_json_string(w, "text", buf_span(&out));
    buf_done(&out);
}

/* Parses in portions of `step` bytes after a first one, and appends everything that came out. */
static void picture(struct span in, size_t first, size_t step, struct buf *out)
{
    struct mime_parser *p = mime_parser_new(NULL);
    const struct mime_problem *problems;
    const struct mime_field *fields;
    size_t count;

    mime_parser_feed(p, span_sub(in, 0, first));
    for (struct span rest = span_from(in, first); rest.len; rest = span_from(rest, step))
        mime_parser_feed(p, span_sub(rest, 0, step));
    mime_parser_finish(p);
    mime_structure_encode(mime_parser_structure(p), OUT_MAX / 2, out);
    problems = mime_parser_problems(p, &count);
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%d %llu;", (int)problems[i].code, (unsigned long long)problems[i].offset);
    fields = mime_parser_fields(p, &count);
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%llu %llu;", (unsigned long long)fields[i].start, (unsigned long long)fields[i].end);
    mime_parser_free(p);
}

static bool portions_agree(struct span in, uint64_t *ret_ways)
{
    struct buf whole, other;
    bool same = true;
    size_t cuts = in.len <= SPLIT_MAX ? in.len : 0;

    buf_init(&whole, OUT_MAX);
    buf_init(&other, OUT_MAX);
    picture(in, in.len, 1, &whole);
    picture(in, 0, 1, &other);
    same = span_eq(buf_span(&whole), buf_span(&other));
    *ret_ways = 2;
    for (size_t cut = 1; cut < cuts && same; cut++, ++*ret_ways) {
        buf_reset(&other);
        picture(in, cut, in.len, &other);
        same = span_eq(buf_span(&whole), buf_span(&other));
    }
    buf_done(&whole);
    buf_done(&other);
    return same;
}

static void probe_message(struct mime_json_writer *w, struct span in)
{
    struct mime_parser *p = mime_parser_new(NULL);
    const struct mime_structure *s;
    uint64_t ways;
    bool same = portions_agree(in, &ways);
    struct buf explain;

    mime_json_number(w, "portions", ways);
    mime_json_bool(w, "same", same);
    mime_parser_feed(p, in);
    mime_parser_finish(p);
    s = mime_parser_structure(p);
    mime_json_open(w, "bodies", '[');
    for (uint32_t i = 0; i < s->count; i++)
        if (s->parts[i].kind == MIME_KIND_LEAF)
            probe_decode(w, NULL, (enum mime_encoding)s->parts[i].encoding,
                         span_sub(in, s->parts[i].body_start, s->parts[i].body_end - s->parts[i].body_start));
    mime_json_close(w, ']');
    buf_init(&explain, OUT_MAX);
    mime_explain_json(p, in, &explain);
    buf_append_str(w->out, ",\"explain\":");
    buf_append(w->out, span_sub(buf_span(&explain), 0, explain.len - 1));
    buf_done(&explain);
    mime_parser_free(p);
}

static void probe(const char *kind, struct span in, struct buf *out)
{
    static const struct {
        const char *kind;
        void (*run)(struct mime_json_writer *, struct span);
    } probes[] = {{"address", probe_address}, {"date", probe_date},         {"content", probe_content},
                  {"ids", probe_ids},         {"received", probe_received}, {"message", probe_message}};
    struct mime_json_writer w = {.out = out};

    mime_json_open(&w, NULL, '{');
    for (size_t i = 0; i < sizeof probes / sizeof probes[0]; i++)
        if (strcmp(kind, probes[i].kind) == 0)
            probes[i].run(&w, in);
    if (strcmp(kind, "words") == 0)
        probe_words(&w, "text", in);
    if (strncmp(kind, "charset:", 8) == 0)
        probe_charset(&w, span_str(kind + 8), in);
    if (strcmp(kind, "base64") == 0)
        probe_decode(&w, "hex", MIME_ENCODING_BASE64, in);
    if (strcmp(kind, "qp") == 0)
        probe_decode(&w, "hex", MIME_ENCODING_QUOTED_PRINTABLE, in);
    mime_json_close(&w, '}');
    buf_append_byte(out, '\n');
}

int main(void)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;

    while ((len = getline(&line, &cap, stdin)) > 0) {
        char *space = strchr(line, ' ');
        struct buf in, out;

        if (!space)
            return 2;
        *space = '\0';
        len -= space + 1 - line;
        while (len && (space[len] == '\n' || space[len] == '\r'))
            len--;
        buf_init(&in, OUT_MAX);
        buf_init(&out, OUT_MAX);
        if (codec_hex_decode(&in, span_make(space + 1, (size_t)len)) != BRANT_OK)
            return 2;
        probe(line, buf_span(&in), &out);
        fwrite(out.data, 1, out.len, stdout);
        fflush(stdout);
        buf_done(&in);
        buf_done(&out);
    }
    free(line);
    return 0;
}
