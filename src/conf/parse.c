#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/ascii.h"
#include "base/codec.h"
#include "base/err.h"
#include "conf/value.h"

enum {
    SHOWN_MAX = 60,          /* bytes of a value shown in an error */
    ARENA_MAX = 1024 * 1024, /* bytes of all texts of one configuration */
};

/* One reading of one file. */
struct parser {
    struct conf *conf;
    struct conf_errors *errors;
    const char *file_name;
    unsigned line;
    unsigned line_of[CONF_KEYS_MAX]; /* where each key was set first; 0: not yet */
};

void conf_error_add(struct conf_errors *errors, const char *file_name, unsigned line, const char *format, ...)
{
    struct conf_error *e = &errors->list[errors->count];
    size_t at = 0;
    va_list args;

    if (errors->count == CONF_ERRORS_MAX) {
        errors->more++;
        return;
    }
    errors->count++;
    e->line = line;
    at = (size_t)(line ? snprintf(e->text, sizeof e->text, "%.200s:%u: ", file_name, line)
                       : snprintf(e->text, sizeof e->text, "%.200s: ", file_name));
    va_start(args, format);
    vsnprintf(e->text + at, sizeof e->text - at, format, args);
    va_end(args);
}

/* Bytes from the file as they may be shown: escaped, and cut when they are long. */
struct shown {
    char text[4 * SHOWN_MAX + 8];
};

static struct shown show(struct span s)
{
    _cleanup_buf_ struct buf b;
    struct shown out;

    buf_init(&b, sizeof out.text - 1);
    codec_escape(&b, span_sub(s, 0, SHOWN_MAX));
    if (s.len > SHOWN_MAX)
        buf_append_str(&b, "...");
    snprintf(out.text, sizeof out.text, "%s", buf_cstr(&b));
    return out;
}

void conf_init(struct conf *c)
{
    _cleanup_buf_ struct buf why;
    const struct conf_key *k;

    *c = (struct conf){.hostname = ""};
    arena_init(&c->arena, ARENA_MAX);
    buf_init(&why, CONF_ERROR_LEN);
    for (size_t i = 0; (k = conf_key_at(i)) != NULL; i++) {
        int rc = k->flags & CONF_FLAG_REQUIRED ? BRANT_OK : conf_value_parse(c, k, span_str(k->def), &why);

        assert(rc == BRANT_OK); /* a default outside its own range is our bug */
    }
}

void conf_done(struct conf *c)
{
    arena_done(&c->arena);
}

static void unknown_key(struct parser *p, struct span name)
{
    const struct conf_key *nearest = conf_key_nearest(name);
    struct shown wrote = show(name);

    if (nearest)
        conf_error_add(p->errors, p->file_name, p->line, "unknown key \"%s\"; did you mean %s?", wrote.text,
                       nearest->name);
    else
        conf_error_add(p->errors, p->file_name, p->line,
                       "unknown key \"%s\"; `brant help config` lists all keys", wrote.text);
}

static size_t key_index(const struct conf_key *k)
{
    return (size_t)(k - conf_key_at(0));
}

static void set_value(struct parser *p, const struct conf_key *k, struct span value)
{
    unsigned *first = &p->line_of[key_index(k)];
    struct shown wrote = show(value);
    _cleanup_buf_ struct buf why;
    bool list = k->type == CONF_TYPE_ADDRESSES || k->type == CONF_TYPE_CERTIFICATES;

    buf_init(&why, CONF_ERROR_LEN);
    if (*first && !list) {
        conf_error_add(p->errors, p->file_name, p->line,
                       "%s = %s: already set in line %u; keep one of the two", k->name, wrote.text, *first);
        return;
    }
    if (!*first && k->type == CONF_TYPE_ADDRESSES) /* the file's list takes the place of the default */
        ((struct conf_addresses *)(void *)((char *)p->conf + k->offset))->count = 0;
    if (!*first)
        *first = p->line;
    if (conf_value_parse(p->conf, k, value, &why) != BRANT_OK)
        conf_error_add(p->errors, p->file_name, p->line, "%s = %s: %s", k->name, wrote.text, buf_cstr(&why));
}

/* Takes a value in double quotes apart. BRANT_ESYNTAX: the quote does not end, or text follows it. */
static int unquote(struct span in, struct buf *out)
{
    size_t i = 1;

    for (; i < in.len && in.p[i] != '"'; i++) {
        if (in.p[i] == '\\') {
            i++;
            if (i == in.len || (in.p[i] != '"' && in.p[i] != '\\'))
                return BRANT_ESYNTAX;
        }
        buf_append_byte(out, in.p[i]);
    }
    if (i >= in.len)
        return BRANT_ESYNTAX;
    in = span_trim(span_from(in, i + 1));
    return in.len == 0 || in.p[0] == '#' ? BRANT_OK : BRANT_ESYNTAX;
}

/* An unquoted value up to a comment, which needs a blank before its '#'. */
static struct span without_comment(struct span in)
{
    for (size_t i = 0; i < in.len; i++) {
        if (in.p[i] == '#' && (i == 0 || ascii_is_wsp(in.p[i - 1])))
            return span_trim(span_sub(in, 0, i));
    }
    return in;
}

static void read_value(struct parser *p, const struct conf_key *k, struct span raw)
{
    _cleanup_buf_ struct buf plain;

    buf_init(&plain, raw.len);
    if (raw.len == 0 || raw.p[0] != '"') {
        set_value(p, k, without_comment(raw));
    } else if (unquote(raw, &plain) == BRANT_OK) {
        set_value(p, k, buf_span(&plain));
    } else {
        conf_error_add(
            p->errors, p->file_name, p->line,
            "%s = %s: wrong quotes; write \"text\", with \\\" for a quote and \\\\ for a backslash inside",
            k->name, show(raw).text);
    }
}

static bool has_control(struct span line)
{
    for (size_t i = 0; i < line.len; i++) {
        if (ascii_is_ctl(line.p[i]) && line.p[i] != '\t')
            return true;
    }
    return !codec_utf8_valid(line);
}

static void read_line(struct parser *p, struct span line)
{
    size_t equals = span_find_byte(line, '=');
    struct span name = span_trim(span_sub(line, 0, equals));
    const struct conf_key *k = conf_key_find(name);
    struct shown wrote = show(line);

    if (line.len == 0 || line.p[0] == '#')
        return;
    if (has_control(line))
        conf_error_add(p->errors, p->file_name, p->line,
                       "\"%s\": a control character or broken UTF-8; write plain text", wrote.text);
    else if (line.p[0] == '[')
        conf_error_add(p->errors, p->file_name, p->line, "\"%s\": there are no sections; write key = value",
                       wrote.text);
    else if (equals == SPAN_NPOS)
        conf_error_add(p->errors, p->file_name, p->line, "\"%s\": there is no \"=\"; write key = value",
                       wrote.text);
    else if (!k)
        unknown_key(p, name);
    else
        read_value(p, k, span_trim(span_from(line, equals + 1)));
}

static void read_lines(struct parser *p, struct span text)
{
    static const uint8_t bom[] = {0xef, 0xbb, 0xbf};

    if (span_starts(text, span_make(bom, sizeof bom)))
        text = span_from(text, sizeof bom);
    while (text.len) {
        struct span line = span_sub(text, 0, span_find_byte(text, '\n'));

        text = span_from(text, line.len + 1);
        if (line.len && line.p[line.len - 1] == '\r') /* written on another system */
            line.len--;
        p->line++;
        read_line(p, span_trim(line));
    }
}

static void find_missing(struct parser *p)
{
    const struct conf_key *k;

    for (size_t i = 0; (k = conf_key_at(i)) != NULL; i++) {
        if ((k->flags & CONF_FLAG_REQUIRED) && !p->line_of[i])
            conf_error_add(p->errors, p->file_name, 0,
                           "%s is missing; write for example %s = mail.example.org", k->name, k->name);
    }
}

int conf_parse(struct span text, const char *file_name, struct conf *ret, struct conf_errors *ret_errors)
{
    struct conf conf;
    struct parser p = {.conf = &conf, .errors = ret_errors, .file_name = file_name};

    ret_errors->count = ret_errors->more = 0;
    conf_init(&conf);
    if (text.len > CONF_TEXT_MAX)
        conf_error_add(ret_errors, file_name, 0, "larger than %d KiB; this is not a configuration of brant",
                       CONF_TEXT_MAX / 1024);
    else
        read_lines(&p, text);
    if (text.len <= CONF_TEXT_MAX)
        find_missing(&p);
    if (!ret_errors->count) /* conditions between values make sense once each of them does */
        conf_check(&conf, p.line_of, file_name, ret_errors);
    if (ret_errors->count) {
        conf_done(&conf);
        return BRANT_ESYNTAX;
    }
    *ret = conf;
    return BRANT_OK;
}
