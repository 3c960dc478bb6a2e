#include "log/frame.h"

#include <stdio.h>

#include "base/ascii.h"
#include "base/err.h"
#include "base/wire.h"

enum {
    HEADER_LEN = 4,                  /* magic and length */
    ROOM_MAX = 4 * LOG_FRAME_MAX,    /* bytes a decoder keeps */
    ADDR_TEXT_MAX = IP_TEXT_MAX + 8, /* "[…]:65535" */
};

static const uint8_t MAGIC[2] = {'b', 'L'};
static const char CUT_MARK[] = "...";

static struct span addr_text(const struct log_field *f, char out[ADDR_TEXT_MAX])
{
    char text[IP_TEXT_MAX] = "-";
    bool v6 = f->addr->family == IP_V6;

    if (ip_format(f->addr, text) != BRANT_OK || !f->with_port)
        snprintf(out, ADDR_TEXT_MAX, "%s", text);
    else
        snprintf(out, ADDR_TEXT_MAX, "%s%s%s:%u", v6 ? "[" : "", text, v6 ? "]" : "", f->addr->port);
    return span_str(out);
}

static void put_name(struct wire_writer *w, const char *name)
{
    struct span s = span_sub(span_str(name), 0, LOG_NAME_MAX);

    wire_put_u8(w, (uint8_t)s.len);
    wire_put_bytes(w, s);
}

static void put_bytes(struct wire_writer *w, struct span value)
{
    bool cut = value.len > LOG_VALUE_MAX;
    size_t mark = sizeof CUT_MARK - 1;

    if (cut)
        value.len = LOG_VALUE_MAX - mark;
    wire_put_u16(w, (uint16_t)(value.len + (cut ? mark : 0)));
    wire_put_bytes(w, value);
    if (cut)
        wire_put_bytes(w, span_str(CUT_MARK));
}

static void put_field(struct wire_writer *w, const struct log_field *f)
{
    char addr[ADDR_TEXT_MAX];

    wire_put_u8(w, (uint8_t)f->type);
    put_name(w, f->key);
    if (f->type == LOG_TYPE_U64 || f->type == LOG_TYPE_I64) {
        wire_put_u16(w, 8);
        wire_put_u64(w, f->number);
    } else {
        put_bytes(w, f->addr ? addr_text(f, addr) : f->bytes);
    }
}

void log_frame_encode(struct buf *out, enum log_level level, const char *name, uint32_t dropped,
                      const struct log_field *fields, size_t count)
{
    size_t start = out->len;
    struct wire_writer w = wire_write(out);
    uint8_t written = 0;

    wire_put_bytes(&w, span_make(MAGIC, sizeof MAGIC));
    wire_put_u16(&w, 0);
    wire_put_u8(&w, (uint8_t)level);
    wire_put_u8(&w, 0);
    wire_put_u32(&w, dropped);
    put_name(&w, name);
    for (size_t i = 0; i < count && written < LOG_FIELDS_MAX; i++) {
        size_t before = out->len;

        if (!fields[i].key)
            continue;
        put_field(&w, &fields[i]);
        if (out->len - start > LOG_FRAME_MAX || w.err) { /* this one does not fit; a smaller one may */
            out->len = before;
            w.err = BRANT_OK;
            continue;
        }
        written++;
    }
    out->data[start + 2] = (uint8_t)(out->len - start - HEADER_LEN);
    out->data[start + 3] = (uint8_t)((out->len - start - HEADER_LEN) >> 8);
    out->data[start + 5] = written;
}

static bool name_valid(struct span s, uint8_t joiner)
{
    if (s.len == 0 || s.len > LOG_NAME_MAX || s.p[0] < 'a' || s.p[0] > 'z')
        return false;
    for (size_t i = 0; i < s.len; i++) {
        bool lower = s.p[i] >= 'a' && s.p[i] <= 'z';

        if (!lower && !ascii_is_digit(s.p[i]) && s.p[i] != joiner)
            return false;
    }
    return true;
}

/* The keys only the supervisor may say. */
static bool key_stamped(struct span key)
{
    static const char *const stamped[] = {"time", "level", "role", "pid", "event", "dropped"};

    for (size_t i = 0; i < sizeof stamped / sizeof stamped[0]; i++) {
        if (span_eq_str(key, stamped[i]))
            return true;
    }
    return false;
}

static int get_field(struct wire_reader *r, struct log_value *v)
{
    uint8_t type = wire_get_u8(r);

    v->key = wire_get_bytes(r, wire_get_u8(r));
    v->bytes = wire_get_bytes(r, wire_get_u16(r));
    if (r->err || type == LOG_TYPE_NONE || type >= LOG_TYPE_COUNT || v->bytes.len > LOG_VALUE_MAX ||
        !name_valid(v->key, '_') || key_stamped(v->key))
        return BRANT_ESYNTAX;
    v->type = (enum log_type)type;
    v->number = 0;
    if (type == LOG_TYPE_U64 || type == LOG_TYPE_I64) {
        struct wire_reader number = wire_read(v->bytes);

        v->number = wire_get_u64(&number);
        if (wire_get_end(&number) != BRANT_OK)
            return BRANT_ESYNTAX;
    }
    return BRANT_OK;
}

int log_frame_decode(struct span frame, struct log_message *ret)
{
    struct wire_reader r = wire_read(frame);
    struct span magic = wire_get_bytes(&r, sizeof MAGIC);
    uint16_t len = wire_get_u16(&r);
    uint8_t level = wire_get_u8(&r), count = wire_get_u8(&r);
    struct log_message m = {.level = (enum log_level)level, .value_count = count};

    m.dropped = wire_get_u32(&r);
    m.name = wire_get_bytes(&r, wire_get_u8(&r));
    if (r.err || !span_eq(magic, span_make(MAGIC, sizeof MAGIC)) || frame.len > LOG_FRAME_MAX ||
        frame.len != (size_t)len + HEADER_LEN || level >= LOG_LEVEL_COUNT || count > LOG_FIELDS_MAX ||
        !name_valid(m.name, '-'))
        return BRANT_ESYNTAX;
    for (size_t i = 0; i < count; i++) {
        if (get_field(&r, &m.values[i]) != BRANT_OK)
            return BRANT_ESYNTAX;
    }
    if (wire_get_end(&r) != BRANT_OK)
        return BRANT_ESYNTAX;
    *ret = m;
    return BRANT_OK;
}

void log_decoder_init(struct log_decoder *d)
{
    *d = (struct log_decoder){.taken = 0};
    buf_init(&d->in, ROOM_MAX);
}

void log_decoder_done(struct log_decoder *d)
{
    buf_done(&d->in);
}

static void drop_taken(struct log_decoder *d)
{
    buf_consume(&d->in, d->taken);
    d->taken = 0;
}

uint8_t *log_decoder_room(struct log_decoder *d, size_t *ret_len)
{
    drop_taken(d);
    if (d->in.len > ROOM_MAX - LOG_FRAME_MAX) { /* the caller fed without pulling: keep the newest bytes */
        d->malformed += !d->skipping;
        d->skipping = true;
        buf_consume(&d->in, d->in.len - LOG_FRAME_MAX);
    }
    *ret_len = ROOM_MAX - d->in.len;
    return buf_reserve(&d->in, *ret_len);
}

void log_decoder_fed(struct log_decoder *d, size_t len)
{
    buf_commit(&d->in, len);
}

/* Drops bytes up to the next place a frame could begin, at least one. */
static void skip_garbage(struct log_decoder *d)
{
    struct span rest = span_from(buf_span(&d->in), 1);
    size_t at = span_find_byte(rest, MAGIC[0]);

    d->malformed += !d->skipping;
    d->skipping = true;
    buf_consume(&d->in, at == SPAN_NPOS ? d->in.len : at + 1);
}

int log_decoder_next(struct log_decoder *d, struct log_message *ret)
{
    drop_taken(d);
    while (d->in.len > 0) {
        struct span in = buf_span(&d->in);
        size_t len;

        if (in.p[0] != MAGIC[0] || (in.len > 1 && in.p[1] != MAGIC[1])) {
            skip_garbage(d);
            continue;
        }
        if (in.len < HEADER_LEN)
            return BRANT_ETRYLATER;
        len = HEADER_LEN + ((size_t)in.p[2] | (size_t)in.p[3] << 8);
        if (len > LOG_FRAME_MAX) {
            skip_garbage(d);
            continue;
        }
        if (in.len < len)
            return BRANT_ETRYLATER;
        if (log_frame_decode(span_sub(in, 0, len), ret) != BRANT_OK) {
            skip_garbage(d);
            continue;
        }
        d->taken = len;
        d->skipping = false;
        return BRANT_OK;
    }
    return BRANT_ETRYLATER;
}
