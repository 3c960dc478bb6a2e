#include "mime/json.h"

#include "base/ascii.h"
#include "base/codec.h"

static void quote(struct buf *out, struct span text, bool lower)
{
    buf_append_byte(out, '"');
    while (text.len) {
        uint32_t code;
        size_t len = codec_utf8_next(text, &code);
        uint8_t c = text.p[0];

        if (!len)
            buf_append_str(out, "\xef\xbf\xbd");
        else if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f || code == 0x2028 || code == 0x2029)
            buf_printf(out, "\\u%04x", code);
        else if (len == 1)
            buf_append_byte(out, lower ? ascii_lower(c) : c);
        else
            buf_append(out, span_sub(text, 0, len));
        text = span_from(text, len ? len : 1);
    }
    buf_append_byte(out, '"');
}

static void begin(struct mime_json_writer *w, const char *key)
{
    if (w->comma)
        buf_append_byte(w->out, ',');
    w->comma = true;
    if (!key)
        return;
    quote(w->out, span_str(key), false);
    buf_append_byte(w->out, ':');
}

void mime_json_open(struct mime_json_writer *w, const char *key, char bracket)
{
    begin(w, key);
    buf_append_byte(w->out, (uint8_t)bracket);
    w->comma = false;
}

void mime_json_close(struct mime_json_writer *w, char bracket)
{
    buf_append_byte(w->out, (uint8_t)bracket);
    w->comma = true;
}

void mime_json_string(struct mime_json_writer *w, const char *key, struct span text)
{
    begin(w, key);
    quote(w->out, text, false);
}

void mime_json_string_lower(struct mime_json_writer *w, const char *key, struct span text)
{
    begin(w, key);
    quote(w->out, text, true);
}

void mime_json_number(struct mime_json_writer *w, const char *key, uint64_t number)
{
    begin(w, key);
    buf_append_u64(w->out, number);
}

void mime_json_signed(struct mime_json_writer *w, const char *key, int64_t number)
{
    begin(w, key);
    buf_printf(w->out, "%lld", (long long)number);
}

void mime_json_null(struct mime_json_writer *w, const char *key)
{
    begin(w, key);
    buf_append_str(w->out, "null");
}

void mime_json_bool(struct mime_json_writer *w, const char *key, bool value)
{
    begin(w, key);
    buf_append_str(w->out, value ? "true" : "false");
}

void mime_json_member(struct mime_json_writer *w, struct span key_lower, struct span text)
{
    begin(w, NULL);
    quote(w->out, key_lower, true);
    buf_append_byte(w->out, ':');
    quote(w->out, text, false);
}
