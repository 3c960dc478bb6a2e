#include "cli/output.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/codec.h"
#include "base/err.h"
#include "base/mem.h"
#include "cli/command.h"

enum { COLUMNS_MAX = 12, CELL_MAX = 8192 };

struct table {
    size_t columns;
    bool right[COLUMNS_MAX];
    size_t width[COLUMNS_MAX];
    char **cells; /* owned, row by row; the first row holds the titles */
    size_t count, room;
};

/* Columns a terminal gives to text: East Asian characters take two, combining marks none. */
static size_t text_width(struct span s)
{
    size_t width = 0;

    while (s.len) {
        uint32_t c;
        size_t n = codec_utf8_next(s, &c);

        if (n == 0)
            return width + s.len;
        if ((c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf) || (c >= 0xac00 && c <= 0xd7a3) ||
            (c >= 0xf900 && c <= 0xfaff) || (c >= 0xfe30 && c <= 0xfe6f) || (c >= 0xff00 && c <= 0xff60) ||
            (c >= 0x1f300 && c <= 0x1faff) || (c >= 0x20000 && c <= 0x3fffd))
            width += 2;
        else if (!(c >= 0x300 && c <= 0x36f))
            width++;
        s = span_from(s, n);
    }
    return width;
}

void table_cell(struct table *t, struct span text)
{
    _cleanup_buf_ struct buf escaped;
    size_t column = t->count % t->columns, width;

    buf_init(&escaped, CELL_MAX);
    codec_escape(&escaped, text);
    if (t->count == t->room) {
        t->room = t->room ? 2 * t->room : 64;
        t->cells = mem_regrow(t->cells, t->room, sizeof *t->cells);
    }
    t->cells[t->count++] = mem_strdup(buf_cstr(&escaped));
    width = text_width(buf_span(&escaped));
    if (width > t->width[column])
        t->width[column] = width;
}

struct table *table_new(const char *titles)
{
    struct table *t = mem_zalloc(sizeof *t);
    struct span rest = span_str(titles);

    t->columns = 1;
    for (size_t i = 0; i < rest.len; i++)
        t->columns += rest.p[i] == '|';
    for (size_t i = 0; i < t->columns && i < COLUMNS_MAX; i++) {
        struct span one = span_sub(rest, 0, span_find_byte(rest, '|'));

        rest = span_from(rest, one.len + 1);
        t->right[i] = one.len && one.p[0] == '>';
        table_cell(t, span_from(one, t->right[i]));
    }
    return t;
}

void table_text(struct table *t, const char *text)
{
    table_cell(t, span_str(text));
}

void table_number(struct table *t, uint64_t n)
{
    char text[24];

    snprintf(text, sizeof text, "%llu", (unsigned long long)n);
    table_text(t, text);
}

void table_size(struct table *t, uint64_t bytes)
{
    _cleanup_buf_ struct buf text;

    buf_init(&text, 32);
    output_size(&text, bytes);
    table_text(t, buf_cstr(&text));
}

static void print_cell(const struct table *t, size_t i)
{
    size_t column = i % t->columns;
    size_t pad = t->width[column] - text_width(span_str(t->cells[i]));
    bool last = column + 1 == t->columns;

    if (t->right[column])
        printf("%*s%s", (int)pad, "", t->cells[i]);
    else
        printf("%s%*s", t->cells[i], last ? 0 : (int)pad, "");
    fputs(last ? "\n" : "  ", stdout);
}

void table_free(struct table *t)
{
    for (size_t i = 0; i < t->count; i++)
        free(t->cells[i]);
    free(t->cells);
    free(t);
}

void table_print(struct table *t, const char *nothing)
{
    if (t->count == t->columns)
        puts(nothing);
    for (size_t i = 0; i < t->count; i++) {
        if (t->count > t->columns)
            print_cell(t, i);
    }
    table_free(t);
}

void output_size(struct buf *out, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double n = (double)bytes;
    size_t unit = 0;

    while (n >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        n /= 1024;
        unit++;
    }
    buf_printf(out, unit && n < 100 ? "%.1f %s" : "%.0f %s", n, units[unit]);
}

void output_time(struct buf *out, uint64_t unix_us, bool with_ms)
{
    time_t seconds = (time_t)(unix_us / 1000000);
    struct tm tm = {0};

    gmtime_r(&seconds, &tm);
    buf_printf(out, "%04d-%02d-%02d %02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
               tm.tm_min, tm.tm_sec);
    if (with_ms)
        buf_printf(out, ".%03u", (unsigned)(unix_us / 1000 % 1000));
    buf_append_str(out, " UTC");
}

json_t *output_json_text(struct span text)
{
    _cleanup_buf_ struct buf escaped;

    buf_init(&escaped, 4 * text.len + 1);
    if (codec_utf8_valid(text))
        buf_append(&escaped, text);
    else
        codec_escape(&escaped, text);
    return json_stringn(buf_cstr(&escaped), escaped.len);
}

json_t *output_json_pairs(const struct ipc_pair *pairs, uint32_t count)
{
    json_t *object = json_object();

    for (uint32_t i = 0; i < count; i++) {
        _cleanup_buf_ struct buf key;

        buf_init(&key, 4 * pairs[i].key.len + 1);
        codec_escape(&key, pairs[i].key);
        json_object_set_new(object, buf_cstr(&key), output_json_text(pairs[i].value));
    }
    return object;
}

int output_json(json_t *document)
{
    int rc = json_dumpf(document, stdout, JSON_INDENT(2));

    json_decref(document);
    putchar('\n');
    return rc == 0 ? CLI_DONE : cli_refuse("standard output: write failed");
}

int output_done(bool json, const char *format, ...)
{
    va_list args;

    if (json)
        return output_json(json_pack("{s:b}", "done", 1));
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    return CLI_DONE;
}

void output_pairs(const struct ipc_pair *pairs, uint32_t count, int indent)
{
    for (uint32_t i = 0; i < count; i++) {
        _cleanup_buf_ struct buf line;

        buf_init(&line, CELL_MAX);
        codec_escape(&line, pairs[i].key);
        buf_append_str(&line, ": ");
        codec_escape(&line, pairs[i].value);
        printf("%*s%s\n", indent, "", buf_cstr(&line));
    }
}
