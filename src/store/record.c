#include "store/record.h"

#include "base/err.h"

/* Writing. Each layout gets a put_ function from its list of fields. */
#define PUT_U8(w, v)            wire_put_u8(w, v)
#define PUT_U16(w, v)           wire_put_u16(w, v)
#define PUT_U32(w, v)           wire_put_u32(w, v)
#define PUT_U64(w, v)           wire_put_u64(w, v)
#define PUT_FIELD_S(type, name) PUT_##type(w, v->name);
#define PUT_FIELD_B(name)       wire_put_bytes(w, span_make(v->name, sizeof v->name));
#define PUT_FIELD_T(name, max)  put_text(w, v->name, max);
#define PUT_FIELD_L(item, name, max)                          \
    if (v->name##_count > (max))                              \
        w->err = BRANT_ELIMIT;                                \
    wire_put_u32(w, v->name##_count);                         \
    for (uint32_t i = 0; !w->err && i < v->name##_count; i++) \
        put_##item(w, &v->name[i]);

#define PUT_FIELD_V(version)

static void put_text(struct wire_writer *w, struct span text, size_t max)
{
    if (text.len > max)
        w->err = BRANT_ELIMIT;
    wire_put_span(w, text);
}

#define PUT_LAYOUT(layout)                                                                      \
    static void put_##layout(struct wire_writer *w, const struct record_##layout *v)            \
    {                                                                                           \
        RECORD_FIELDS_##layout(PUT_FIELD_S, PUT_FIELD_B, PUT_FIELD_T, PUT_FIELD_L, PUT_FIELD_V) \
    }
RECORD_LAYOUTS(PUT_LAYOUT)

/* Reading. */
#define GET_U8(r)               wire_get_u8(r)
#define GET_U16(r)              wire_get_u16(r)
#define GET_U32(r)              wire_get_u32(r)
#define GET_U64(r)              wire_get_u64(r)
#define GET_FIELD_S(type, name) v->name = GET_##type(r);
#define GET_FIELD_B(name)       get_id(r, v->name);
#define GET_FIELD_T(name, max)  v->name = wire_get_span(r, max);
#define GET_FIELD_L(item, name, max)                            \
    v->name##_count = get_count(r, max);                        \
    v->name = get_list(r, a, v->name##_count, sizeof *v->name); \
    for (uint32_t i = 0; !r->err && i < v->name##_count; i++)   \
        get_##item(r, a, version, &v->name[i]);                 \
    if (r->err)                                                 \
        v->name##_count = 0;
/* An older record ends here; what it did not have stays zero. */
#define GET_FIELD_V(since) \
    if (version < (since)) \
        return;

static void get_id(struct wire_reader *r, uint8_t out[16])
{
    struct span s = wire_get_bytes(r, 16);

    if (s.len == 16)
        memcpy(out, s.p, 16);
}

static uint32_t get_count(struct wire_reader *r, uint32_t max)
{
    uint32_t count = wire_get_u32(r);

    if (r->err)
        return 0;
    /* Every item takes at least four bytes, so a count can't make us allocate much more than was sent. */
    if (count > max || count > r->in.len / 4) {
        r->err = count > max ? BRANT_ELIMIT : BRANT_ESYNTAX;
        return 0;
    }
    return count;
}

static void *get_list(struct wire_reader *r, struct arena *a, uint32_t count, size_t size)
{
    void *list = NULL;

    if (r->err || !count)
        return NULL;
    list = arena_array(a, count, size);
    if (!list)
        r->err = BRANT_ELIMIT;
    return list;
}

#define GET_LAYOUT(layout)                                                                      \
    static void get_##layout(struct wire_reader *r, struct arena *a, uint16_t version,          \
                             struct record_##layout *v)                                         \
    {                                                                                           \
        (void)a;                                                                                \
        (void)version;                                                                          \
        RECORD_FIELDS_##layout(GET_FIELD_S, GET_FIELD_B, GET_FIELD_T, GET_FIELD_L, GET_FIELD_V) \
    }
RECORD_LAYOUTS(GET_LAYOUT)

uint16_t record_version(uint16_t type)
{
    switch (type) {
#define VERSION(number, NAME, layout, version) \
    case number:                               \
        return version;
        RECORD_TYPES(VERSION)
    default:
        return 0;
    }
}

const char *record_name(uint16_t type)
{
    switch (type) {
#define NAME_OF(number, NAME, layout, version) \
    case number:                               \
        return #NAME;
        RECORD_TYPES(NAME_OF)
    default:
        return "unknown";
    }
}

int record_encode(struct buf *out, uint16_t type, const union record *rec)
{
    size_t start = out->len;
    struct wire_writer w = wire_write(out);

    wire_put_u32(&w, 0);
    switch (type) {
#define ENCODE(number, NAME, layout, version) \
    case number:                              \
        put_##layout(&w, &rec->layout);       \
        break;
        RECORD_TYPES(ENCODE)
    default:
        w.err = BRANT_ESYNTAX;
    }
    if (!w.err && out->len - start - 4 > RECORD_FIELDS_MAX)
        w.err = BRANT_ELIMIT;
    if (w.err) {
        out->len = start;
        out->overflowed = false;
        return w.err;
    }
    wire_patch_u32(&w, start, (uint32_t)(out->len - start - 4));
    return BRANT_OK;
}

/* What a sender of hostile bytes could still say within the syntax. */
static int check_message(const struct record_message *m, uint64_t rest)
{
    uint64_t sum = 0;

    if (m->body_kind > RECORD_BODY_FILE)
        return BRANT_ESYNTAX;
    for (uint32_t i = 0; i < m->prefixes_count; i++) {
        if (m->prefixes[i].length > RECORD_PREFIX_MAX)
            return BRANT_ELIMIT;
        sum += m->prefixes[i].length;
    }
    for (uint32_t i = 0; i < m->entries_count; i++) {
        if (m->entries[i].variant >= m->prefixes_count || (m->entries[i].recipient >= m->recipients_count &&
                                                           m->entries[i].recipient != RECORD_NO_RECIPIENT))
            return BRANT_ESYNTAX;
    }
    for (uint32_t i = 0; i < m->queue_count; i++) {
        if (m->queue[i].variant >= m->prefixes_count || m->queue[i].recipient >= m->recipients_count ||
            m->queue[i].state != RECORD_QUEUE_HELD)
            return BRANT_ESYNTAX;
    }
    if (m->body_kind == RECORD_BODY_NONE)
        return rest == 0 ? BRANT_OK : BRANT_ESYNTAX;
    if (m->body_bytes > INT64_MAX / 2)
        return BRANT_ELIMIT;
    if (m->body_kind == RECORD_BODY_INLINE)
        sum += m->body_bytes;
    return rest == sum ? BRANT_OK : BRANT_ESYNTAX;
}

static int check_account(const struct record_account *a)
{
    size_t key = a->scram_iterations ? 32 : 0;

    return a->scram_stored_key.len == key && a->scram_server_key.len == key ? BRANT_OK : BRANT_ESYNTAX;
}

static int check_queue(const struct record_queue *q)
{
    for (uint32_t i = 0; i < q->rows_count; i++) {
        if (q->rows[i].state > RECORD_QUEUE_HELD)
            return BRANT_ESYNTAX;
    }
    return BRANT_OK;
}

/* One time for each entry, or none are known. */
static int check_change(const struct record_change *c)
{
    return !c->saved_count || c->saved_count == c->entries_count ? BRANT_OK : BRANT_ESYNTAX;
}

static bool is_change(uint16_t type)
{
    return type >= RECORD_FLAGS && type <= RECORD_ENTRIES;
}

int record_decode(uint16_t type, uint16_t version, struct span payload, uint64_t payload_len,
                  struct arena *arena, union record *ret, size_t *ret_fields_len)
{
    struct wire_reader r = wire_read(payload);
    uint32_t len = wire_get_u32(&r);
    uint64_t rest;

    if (version == 0 || version > record_version(type))
        return BRANT_EUNSUPPORTED;
    if (r.err || len > r.in.len || len > payload_len - 4)
        return BRANT_ESYNTAX;
    if (len > RECORD_FIELDS_MAX)
        return BRANT_ELIMIT;
    r.in.len = len;
    rest = payload_len - 4 - len;
    memset(ret, 0, sizeof *ret);
    switch (type) {
#define DECODE(number, NAME, layout, newest)            \
    case number:                                        \
        get_##layout(&r, arena, version, &ret->layout); \
        break;
        RECORD_TYPES(DECODE)
    default:
        return BRANT_EUNSUPPORTED;
    }
    if (wire_get_end(&r))
        return wire_get_end(&r);
    *ret_fields_len = 4 + (size_t)len;
    if (type == RECORD_MESSAGE)
        return check_message(&ret->message, rest);
    if (type == RECORD_ACCOUNT && check_account(&ret->account))
        return BRANT_ESYNTAX;
    if (is_change(type) && check_change(&ret->change))
        return BRANT_ESYNTAX;
    if (type == RECORD_QUEUE && check_queue(&ret->queue))
        return BRANT_ESYNTAX;
    return rest == 0 ? BRANT_OK : BRANT_ESYNTAX;
}

uint64_t record_prefix_offset(const struct record_message *m, size_t fields_len, uint32_t variant)
{
    uint64_t offset = fields_len;

    for (uint32_t i = 0; i < variant && i < m->prefixes_count; i++)
        offset += m->prefixes[i].length;
    return offset;
}

uint64_t record_body_offset(const struct record_message *m, size_t fields_len)
{
    return record_prefix_offset(m, fields_len, m->prefixes_count);
}
