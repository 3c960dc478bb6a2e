#include "mime/structure.h"

#include "base/err.h"
#include "base/wire.h"
#include "mime/lex.h"

static const char *const field_names[MIME_FIELD_COUNT] = {
    [MIME_FIELD_CONTENT_TYPE] = "Content-Type",
    [MIME_FIELD_CONTENT_ENCODING] = "Content-Transfer-Encoding",
    [MIME_FIELD_CONTENT_DISPOSITION] = "Content-Disposition",
    [MIME_FIELD_CONTENT_ID] = "Content-ID",
    [MIME_FIELD_CONTENT_DESCRIPTION] = "Content-Description",
    [MIME_FIELD_CONTENT_LANGUAGE] = "Content-Language",
    [MIME_FIELD_CONTENT_LOCATION] = "Content-Location",
    [MIME_FIELD_CONTENT_MD5] = "Content-MD5",
    [MIME_FIELD_DATE] = "Date",
    [MIME_FIELD_SUBJECT] = "Subject",
    [MIME_FIELD_FROM] = "From",
    [MIME_FIELD_SENDER] = "Sender",
    [MIME_FIELD_REPLY_TO] = "Reply-To",
    [MIME_FIELD_TO] = "To",
    [MIME_FIELD_CC] = "Cc",
    [MIME_FIELD_BCC] = "Bcc",
    [MIME_FIELD_IN_REPLY_TO] = "In-Reply-To",
    [MIME_FIELD_MESSAGE_ID] = "Message-ID",
};

enum mime_field_id mime_field_identify(struct span name)
{
    for (int i = 1; i < MIME_FIELD_COUNT; i++)
        if (span_eq_str_nocase(name, field_names[i]))
            return (enum mime_field_id)i;
    return MIME_FIELD_OTHER;
}

static const char *const encoding_names[] = {"7bit",   "8bit",   "binary", "quoted-printable",
                                             "base64", "unknown"};

enum mime_encoding mime_encoding_parse(struct span value)
{
    struct mime_lex lex = mime_lex_start(value);
    struct span word;

    mime_lex_cfws(&lex, NULL);
    word = mime_lex_until(&lex, " \t\r\n(;");
    for (int i = 0; i < MIME_ENCODING_UNKNOWN; i++)
        if (span_eq_str_nocase(word, encoding_names[i]))
            return (enum mime_encoding)i;
    return word.len ? MIME_ENCODING_UNKNOWN : MIME_ENCODING_7BIT;
}

const char *mime_encoding_name(enum mime_encoding e)
{
    return encoding_names[e];
}

struct span mime_part_value(const struct mime_part *part, enum mime_field_id id)
{
    for (const struct mime_value *v = part->values; v; v = v->next)
        if (v->id == id)
            return v->text;
    return SPAN_NONE;
}

bool mime_part_type(const struct mime_part *part, struct span *ret_type, struct span *ret_subtype)
{
    struct mime_lex lex = mime_lex_start(mime_part_value(part, MIME_FIELD_CONTENT_TYPE));

    mime_lex_type(&lex, ret_type, ret_subtype);
    if (ret_type->len && ret_subtype->len)
        return true;
    if (part->flags & MIME_PART_DIGEST_CHILD) { /* RFC 2046 5.1.5 */
        *ret_type = SPAN_LIT("message");
        *ret_subtype = SPAN_LIT("rfc822");
    } else { /* RFC 2045 5.2 */
        *ret_type = SPAN_LIT("text");
        *ret_subtype = SPAN_LIT("plain");
    }
    return false;
}

/* The blob:
 *   u8 'M', u8 version, u8 flags (1 = truncated), u64 size, u32 lines, u32 parts
 *   per part: u8 depth, u8 kind, u8 encoding, u8 flags, u32 header_start, u32 header size, u32 body size,
 *             u32 header_lines, u32 body_lines, u8 values, per value: u8 id, u16 length, bytes
 * A message of 4 GiB or more has no parts listed. */
enum { BLOB_MAGIC = 'M', BLOB_TRUNCATED = 1, BLOB_HEAD = 19, PART_HEAD = 25, VALUE_HEAD = 3 };
enum { VALUE_MAX = 16384, VALUE_CLIPPED_MAX = 256, VALUES_MAX = 64 };

static size_t part_values(const struct mime_part *p, size_t clip, size_t *ret_bytes)
{
    size_t count = 0, bytes = 0;

    for (const struct mime_value *v = p->values; v && count < VALUES_MAX; v = v->next) {
        bytes += VALUE_HEAD + (v->text.len < clip ? v->text.len : clip);
        count++;
    }
    *ret_bytes = bytes;
    return count;
}

static bool part_clips(const struct mime_part *p, size_t clip)
{
    size_t count = 0;

    for (const struct mime_value *v = p->values; v; v = v->next)
        if (v->text.len > clip || ++count > VALUES_MAX)
            return true;
    return false;
}

static void put_part(struct wire_writer *w, const struct mime_part *p, size_t clip)
{
    size_t bytes, count = part_values(p, clip, &bytes);

    wire_put_u8(w, (uint8_t)p->depth);
    wire_put_u8(w, p->kind);
    wire_put_u8(w, p->encoding);
    wire_put_u8(w, (uint8_t)(p->flags | (part_clips(p, clip) ? MIME_PART_CLIPPED : 0)));
    wire_put_u32(w, (uint32_t)p->header_start);
    wire_put_u32(w, (uint32_t)(p->body_start - p->header_start));
    wire_put_u32(w, (uint32_t)(p->body_end - p->body_start));
    wire_put_u32(w, p->header_lines);
    wire_put_u32(w, p->body_lines);
    wire_put_u8(w, (uint8_t)count);
    for (const struct mime_value *v = p->values; v && count; v = v->next, count--) {
        struct span text = span_sub(v->text, 0, clip);

        wire_put_u8(w, (uint8_t)v->id);
        wire_put_u16(w, (uint16_t)text.len);
        wire_put_bytes(w, text);
    }
}

/* How many parts fit into max bytes with values clipped; ret_bytes is what they take. */
static uint32_t parts_that_fit(const struct mime_structure *s, size_t clip, size_t max)
{
    size_t total = BLOB_HEAD, bytes;
    uint32_t i;

    if (s->size > UINT32_MAX)
        return 0;
    for (i = 0; i < s->count; i++) {
        part_values(&s->parts[i], clip, &bytes);
        total += PART_HEAD + bytes;
        if (total > max)
            break;
    }
    return i;
}

int mime_structure_encode(const struct mime_structure *s, size_t max, struct buf *out)
{
    size_t clip = VALUE_MAX;
    uint32_t count = parts_that_fit(s, clip, max);
    bool truncated = s->truncated;
    struct wire_writer w = wire_write(out);

    if (count < s->count) {
        clip = VALUE_CLIPPED_MAX;
        count = parts_that_fit(s, clip, max);
        truncated = true;
    }
    for (uint32_t i = 0; i < count && !truncated; i++)
        truncated = part_clips(&s->parts[i], clip);
    wire_put_u8(&w, BLOB_MAGIC);
    wire_put_u8(&w, MIME_STRUCTURE_VERSION);
    wire_put_u8(&w, truncated ? BLOB_TRUNCATED : 0);
    wire_put_u64(&w, s->size);
    wire_put_u32(&w, s->lines);
    wire_put_u32(&w, count);
    for (uint32_t i = 0; i < count; i++)
        put_part(&w, &s->parts[i], clip);
    return w.err;
}

static int get_values(struct wire_reader *r, struct arena *a, struct mime_part *p)
{
    struct mime_value **tail = &p->values;
    uint8_t n = wire_get_u8(r);

    if (n > VALUES_MAX)
        return BRANT_ESYNTAX;
    for (; n; n--) {
        struct mime_value *v = arena_alloc(a, sizeof *v);
        uint8_t id = wire_get_u8(r);

        if (!v)
            return BRANT_ELIMIT;
        if (id == 0 || id >= MIME_FIELD_COUNT)
            return BRANT_ESYNTAX;
        v->id = (enum mime_field_id)id;
        v->text = wire_get_bytes(r, wire_get_u16(r));
        if (r->err)
            return BRANT_ESYNTAX;
        *tail = v;
        tail = &v->next;
    }
    return BRANT_OK;
}

static int get_part(struct wire_reader *r, struct arena *a, uint64_t size, struct mime_part *p)
{
    uint32_t header, body;

    p->depth = wire_get_u8(r);
    p->kind = wire_get_u8(r);
    p->encoding = wire_get_u8(r);
    p->flags = wire_get_u8(r);
    p->header_start = wire_get_u32(r);
    header = wire_get_u32(r);
    body = wire_get_u32(r);
    p->body_start = p->header_start + header;
    p->body_end = p->body_start + body;
    p->header_lines = wire_get_u32(r);
    p->body_lines = wire_get_u32(r);
    if (r->err || p->kind > MIME_KIND_MESSAGE || p->encoding > MIME_ENCODING_UNKNOWN || p->flags > 31 ||
        p->body_end > size || p->header_lines > header || p->body_lines > body)
        return BRANT_ESYNTAX;
    return get_values(r, a, p);
}

/* Finds the parent of part i: the nearest earlier part that is one level up. Because depth grows by one at
 * most, climbing from part i-1 along parents always meets it. */
static int link_parent(struct mime_structure *s, uint32_t i)
{
    struct mime_part *p = &s->parts[i];
    uint32_t up;

    if (i == 0)
        return p->depth == 0 && p->header_start == 0 ? BRANT_OK : BRANT_ESYNTAX;
    if (p->depth == 0 || p->depth > s->parts[i - 1].depth + 1)
        return BRANT_ESYNTAX;
    up = i - 1;
    while (s->parts[up].depth >= p->depth)
        up = s->parts[up].parent;
    p->parent = up;
    if (s->parts[up].kind == MIME_KIND_LEAF || p->header_start < s->parts[up].body_start ||
        p->body_end > s->parts[up].body_end || p->header_start < s->parts[i - 1].header_start)
        return BRANT_ESYNTAX;
    if (s->parts[up].kind == MIME_KIND_MESSAGE && up != i - 1)
        return BRANT_ESYNTAX;
    return BRANT_OK;
}

int mime_structure_decode(struct span blob, struct arena *a, struct mime_structure *ret)
{
    struct wire_reader r = wire_read(blob);
    struct mime_structure s = {0};
    uint8_t flags;
    int err;

    if (wire_get_u8(&r) != BLOB_MAGIC)
        return BRANT_ESYNTAX;
    if (wire_get_u8(&r) != MIME_STRUCTURE_VERSION)
        return r.err ? BRANT_ESYNTAX : BRANT_EUNSUPPORTED;
    flags = wire_get_u8(&r);
    s.truncated = flags & BLOB_TRUNCATED;
    s.size = wire_get_u64(&r);
    s.lines = wire_get_u32(&r);
    s.count = wire_get_u32(&r);
    if (r.err || flags > BLOB_TRUNCATED || s.count > MIME_STRUCTURE_PARTS_MAX ||
        s.count > r.in.len / PART_HEAD || (s.count == 0 && !s.truncated) || (s.count && s.size > UINT32_MAX))
        return BRANT_ESYNTAX;
    s.parts = arena_array(a, s.count ? s.count : 1, sizeof *s.parts);
    if (!s.parts)
        return BRANT_ELIMIT;
    for (uint32_t i = 0; i < s.count; i++) {
        err = get_part(&r, a, s.size, &s.parts[i]);
        if (!err)
            err = link_parent(&s, i);
        if (err)
            return err;
    }
    if (wire_get_end(&r) != BRANT_OK)
        return BRANT_ESYNTAX;
    *ret = s;
    return BRANT_OK;
}
