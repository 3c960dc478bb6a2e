#include "log/out.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/codec.h"
#include "base/err.h"
#include "base/mem.h"

enum { PIECE_MAX = 4096 }; /* what poll() promises room for in a pipe */

const char *const log_level_names[LOG_LEVEL_COUNT] = {"debug", "info", "warning", "error"};

static void put_time(struct buf *out, int64_t time_ms)
{
    time_t seconds = (time_t)(time_ms / 1000);
    int ms = (int)(time_ms % 1000);
    struct tm tm = {0};

    if (ms < 0) { /* before 1970 */
        ms += 1000;
        seconds--;
    }
    gmtime_r(&seconds, &tm);
    buf_printf(out, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
               tm.tm_hour, tm.tm_min, tm.tm_sec, ms);
}

static bool bare(struct span s)
{
    if (s.len == 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.p[i];

        if (ascii_is_ctl(c) || c == ' ' || c == '"' || c == '=' || c == '\\')
            return false;
    }
    return true;
}

static void put_quoted(struct buf *out, struct span escaped, bool json)
{
    buf_append_byte(out, '"');
    for (size_t i = 0; i < escaped.len; i++) {
        if (escaped.p[i] == '"' || (json && escaped.p[i] == '\\'))
            buf_append_byte(out, '\\');
        buf_append_byte(out, escaped.p[i]);
    }
    buf_append_byte(out, '"');
}

static void put_text(struct buf *out, enum log_format format, struct span value)
{
    _cleanup_buf_ struct buf escaped;

    buf_init(&escaped, 4 * LOG_VALUE_MAX + 4);
    codec_escape(&escaped, value);
    if (format == LOG_FORMAT_KV && bare(buf_span(&escaped)))
        buf_append(out, buf_span(&escaped));
    else
        put_quoted(out, buf_span(&escaped), format == LOG_FORMAT_JSON);
}

static void put_key(struct buf *out, enum log_format format, struct span key)
{
    bool json = format == LOG_FORMAT_JSON;

    buf_append_str(out, json ? ",\"" : " ");
    buf_append(out, key);
    buf_append_str(out, json ? "\":" : "=");
}

static void put_value(struct buf *out, enum log_format format, const struct log_value *v)
{
    _cleanup_buf_ struct buf hex;

    put_key(out, format, v->key);
    buf_init(&hex, 2 * LOG_VALUE_MAX);
    if (v->type == LOG_TYPE_U64) {
        buf_append_u64(out, v->number);
    } else if (v->type == LOG_TYPE_I64) {
        buf_printf(out, "%" PRId64, (int64_t)v->number);
    } else if (v->type == LOG_TYPE_BINARY) {
        codec_hex_encode(&hex, v->bytes);
        put_text(out, format, buf_span(&hex));
    } else {
        put_text(out, format, v->bytes);
    }
}

static void put_number(struct buf *out, enum log_format format, const char *key, uint64_t number)
{
    put_key(out, format, span_str(key));
    buf_append_u64(out, number);
}

static void put_stamp(struct buf *out, enum log_format format, const struct log_stamp *stamp,
                      const struct log_message *m)
{
    bool json = format == LOG_FORMAT_JSON;

    buf_append_str(out, json ? "{\"time\":\"" : "time=");
    put_time(out, stamp->time_ms);
    if (json)
        buf_append_byte(out, '"');
    put_key(out, format, SPAN_LIT("level"));
    put_text(out, format, span_str(log_level_names[m->level]));
    put_key(out, format, SPAN_LIT("role"));
    put_text(out, format, span_str(stamp->role));
    put_key(out, format, SPAN_LIT("pid"));
    buf_printf(out, "%" PRId64, stamp->pid);
    put_key(out, format, SPAN_LIT("event"));
    put_text(out, format, m->name);
}

void log_line(struct buf *out, enum log_format format, const struct log_stamp *stamp,
              const struct log_message *m)
{
    size_t start = out->len;

    put_stamp(out, format, stamp, m);
    for (size_t i = 0; i < m->value_count; i++) {
        size_t before = out->len;

        put_value(out, format, &m->values[i]);
        if (out->overflowed || out->len - start > LOG_LINE_MAX - 64) {
            out->len = before;
            out->overflowed = false;
            break;
        }
    }
    if (m->dropped)
        put_number(out, format, "dropped", m->dropped);
    buf_append_str(out, format == LOG_FORMAT_JSON ? "}\n" : "\n");
}

static int open_file(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0640);
}

int log_out_open(struct log_out *o, enum log_format format, const char *path)
{
    *o = (struct log_out){.format = format, .fd = STDERR_FILENO};
    if (!path)
        return BRANT_OK;
    o->fd = open_file(path);
    if (o->fd < 0) {
        o->fd = STDERR_FILENO;
        return BRANT_EIO;
    }
    o->path = mem_strdup(path);
    return BRANT_OK;
}

void log_out_close(struct log_out *o)
{
    if (o->path)
        close(o->fd);
    free(o->path);
    *o = (struct log_out){.fd = STDERR_FILENO};
}

int log_out_reopen(struct log_out *o)
{
    int fd;

    if (!o->path)
        return BRANT_OK;
    fd = open_file(o->path);
    if (fd < 0)
        return BRANT_EIO;
    close(o->fd);
    o->fd = fd;
    o->broken_line = false;
    return BRANT_OK;
}

/* True when all of it was written. */
static bool write_bounded(struct log_out *o, struct span line)
{
    while (line.len > 0) {
        struct pollfd p = {.fd = o->fd, .events = POLLOUT};
        ssize_t n;

        if (poll(&p, 1, LOG_OUT_WAIT_MS) != 1 || !(p.revents & POLLOUT))
            return false;
        n = write(o->fd, line.p, line.len < PIECE_MAX ? line.len : PIECE_MAX);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        o->broken_line = true;
        line = span_from(line, (size_t)n);
    }
    o->broken_line = false;
    return true;
}

void log_out_write(struct log_out *o, const struct log_stamp *stamp, const struct log_message *m)
{
    static const struct log_message lost_message = {
        .level = LOG_WARNING, .name = {(const uint8_t *)"log-lines-lost", 14}, .value_count = 1};
    _cleanup_buf_ struct buf text;

    buf_init(&text, 2 * LOG_LINE_MAX);
    if (o->broken_line)
        buf_append_byte(&text, '\n');
    if (o->lost) {
        struct log_message report = lost_message;
        struct log_stamp self = {.time_ms = stamp->time_ms, .role = "supervisor", .pid = getpid()};

        report.values[0] =
            (struct log_value){.key = SPAN_LIT("lost"), .type = LOG_TYPE_U64, .number = o->lost};
        log_line(&text, o->format, &self, &report);
    }
    log_line(&text, o->format, stamp, m);
    if (write_bounded(o, buf_span(&text)))
        o->lost = 0;
    else
        o->lost++;
}
