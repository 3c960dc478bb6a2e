#include "store/journal_segment.h"

#include <assert.h>
#include <xxhash.h>

#include "base/err.h"
#include "base/wire.h"

#define HEADER_MAGIC    UINT64_C(0x4745534a544e5242) /* "BRNTJSEG" */
#define LIVE_MAGIC      UINT64_C(0x4556494c544e5242) /* "BRNTLIVE" */
#define RECORD_MAGIC    UINT32_C(0x6365526a)         /* "jRec" */
#define HEADER_CHECKED  64u                          /* bytes of a segment header under its checksum */
#define CHECKSUM_BYTES  8u                           /* every checksum comes first */
#define LIVE_ENTRY_OPEN 1u

static void put_u64(uint8_t *to, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t checksum(struct span whole, uint64_t seed)
{
    return XXH3_64bits_withSeed(whole.p + CHECKSUM_BYTES, whole.len - CHECKSUM_BYTES, seed);
}

void segment_header_encode(const struct segment_header *header, uint8_t *out)
{
    struct buf b;
    struct wire_writer w = wire_write(&b);

    buf_init(&b, HEADER_CHECKED);
    wire_put_u64(&w, 0);
    wire_put_u64(&w, HEADER_MAGIC);
    wire_put_u32(&w, SEGMENT_VERSION);
    wire_put_u32(&w, header->id);
    wire_put_u64(&w, header->first_seq);
    wire_put_bytes(&w, span_make(header->store_id, SEGMENT_STORE_ID_BYTES));
    wire_put_u64(&w, header->bytes);
    wire_put_u32(&w, SEGMENT_HEADER_BYTES);
    wire_put_u32(&w, 0);
    assert(!w.err && b.len == HEADER_CHECKED);
    put_u64(b.data, checksum(buf_span(&b), 0));
    memset(out, 0, SEGMENT_HEADER_BYTES);
    memcpy(out, b.data, b.len);
    buf_done(&b);
}

int segment_header_decode(struct span in, struct segment_header *ret)
{
    struct wire_reader r = wire_read(span_sub(in, 0, HEADER_CHECKED));
    uint64_t sum = wire_get_u64(&r), magic = wire_get_u64(&r);
    uint32_t version = wire_get_u32(&r), id = wire_get_u32(&r);
    uint64_t first_seq = wire_get_u64(&r);
    struct span store_id = wire_get_bytes(&r, SEGMENT_STORE_ID_BYTES);
    uint64_t bytes = wire_get_u64(&r);

    if (r.err || in.len < HEADER_CHECKED || magic != HEADER_MAGIC ||
        sum != checksum(span_sub(in, 0, HEADER_CHECKED), 0))
        return BRANT_ECORRUPT;
    if (version != SEGMENT_VERSION)
        return BRANT_EUNSUPPORTED;
    if (first_seq < 1 || first_seq > SEGMENT_SEQ_MAX)
        return BRANT_ECORRUPT;
    ret->id = id;
    ret->first_seq = first_seq;
    ret->bytes = bytes;
    memcpy(ret->store_id, store_id.p, SEGMENT_STORE_ID_BYTES);
    return BRANT_OK;
}

struct segment_key segment_key(const uint8_t *store_id, uint32_t segment_id)
{
    struct wire_reader r = wire_read(span_make(store_id, SEGMENT_STORE_ID_BYTES));

    return (struct segment_key){segment_id, wire_get_u64(&r)};
}

int segment_record_encode(struct segment_key key, uint64_t offset, const struct segment_record *record,
                          const struct span *pieces, size_t count, struct buf *out)
{
    uint64_t bytes = segment_record_bytes(record->length);
    size_t start = out->len, padding = (size_t)(bytes - SEGMENT_RECORD_BYTES - record->length);
    struct wire_writer w = wire_write(out);

    assert(offset % 8 == 0 && offset < SEGMENT_BYTES_MAX);
    if (!buf_reserve(out, (size_t)bytes))
        return BRANT_ELIMIT;
    wire_put_u64(&w, 0);
    wire_put_u32(&w, RECORD_MAGIC);
    wire_put_u16(&w, record->type);
    wire_put_u16(&w, record->version);
    wire_put_u64(&w, record->seq);
    wire_put_u64(&w, record->mark);
    wire_put_u32(&w, record->length);
    wire_put_u32(&w, key.id);
    wire_put_u32(&w, (uint32_t)(offset / 8));
    wire_put_u32(&w, record->flags);
    for (size_t i = 0; i < count; i++)
        wire_put_bytes(&w, pieces[i]);
    assert(!w.err && out->len - start == SEGMENT_RECORD_BYTES + record->length);
    put_u64(out->data + start, checksum(span_from(buf_span(out), start), key.seed));
    wire_put_bytes(&w, span_make("\0\0\0\0\0\0\0", padding));
    return BRANT_OK;
}

int segment_record_peek(struct segment_key key, uint64_t offset, struct span in, struct segment_record *ret)
{
    struct wire_reader r = wire_read(span_sub(in, CHECKSUM_BYTES, SEGMENT_RECORD_BYTES - CHECKSUM_BYTES));
    uint32_t magic = wire_get_u32(&r), id, place;
    struct segment_record record;

    if (magic != RECORD_MAGIC)
        return BRANT_ECORRUPT;
    record.type = wire_get_u16(&r);
    record.version = wire_get_u16(&r);
    record.seq = wire_get_u64(&r);
    record.mark = wire_get_u64(&r);
    record.length = wire_get_u32(&r);
    id = wire_get_u32(&r);
    place = wire_get_u32(&r);
    record.flags = wire_get_u32(&r);
    /* A block that the disk put in the wrong place, or an old copy of one, says another place. */
    if (r.err || id != key.id || (uint64_t)place * 8 != offset || record.mark >= record.seq ||
        record.seq > SEGMENT_SEQ_MAX)
        return BRANT_ECORRUPT;
    *ret = record;
    return BRANT_OK;
}

bool segment_record_check(struct segment_key key, struct span whole)
{
    struct wire_reader r = wire_read(whole);
    uint64_t sum = wire_get_u64(&r);

    return !r.err && whole.len >= SEGMENT_RECORD_BYTES && sum == checksum(whole, key.seed);
}

void segment_live_encode(const struct segment_live *live, const struct segment_live_entry *entries,
                         struct buf *out)
{
    size_t start = out->len;
    struct wire_writer w = wire_write(out);

    wire_put_u64(&w, 0);
    wire_put_u64(&w, LIVE_MAGIC);
    wire_put_u32(&w, SEGMENT_VERSION);
    wire_put_u32(&w, live->count);
    wire_put_u64(&w, live->generation);
    wire_put_bytes(&w, span_make(live->store_id, SEGMENT_STORE_ID_BYTES));
    wire_put_u64(&w, live->next_seq);
    wire_put_u32(&w, live->next_id);
    wire_put_u32(&w, 0);
    for (uint32_t i = 0; i < live->count; i++) {
        wire_put_u32(&w, entries[i].id);
        wire_put_u32(&w, entries[i].open ? LIVE_ENTRY_OPEN : 0);
        wire_put_u64(&w, entries[i].first_seq);
        wire_put_u64(&w, entries[i].last_seq);
        wire_put_u64(&w, entries[i].end);
    }
    assert(!w.err);
    put_u64(out->data + start, checksum(span_from(buf_span(out), start), 0));
}

/* Segments in order, one record in one of them only, at most the last one open. */
static bool live_is_plausible(const struct segment_live *live, struct span in)
{
    uint64_t first_free = 1;
    uint32_t id_free = 0;

    for (uint32_t i = 0; i < live->count; i++) {
        struct segment_live_entry e = segment_live_get(in, i);

        if (e.id < id_free || e.id >= live->next_id || e.first_seq < first_free ||
            e.first_seq > SEGMENT_SEQ_MAX)
            return false;
        id_free = e.id + 1;
        if (e.open)
            return i + 1 == live->count;
        if (e.last_seq < e.first_seq - 1 || e.last_seq >= live->next_seq || e.end < SEGMENT_HEADER_BYTES ||
            e.end > SEGMENT_BYTES_MAX)
            return false;
        first_free = e.last_seq + 1;
    }
    return live->next_seq >= 1 && live->next_seq <= SEGMENT_SEQ_MAX;
}

int segment_live_decode(struct span in, struct segment_live *ret)
{
    struct wire_reader r = wire_read(in);
    uint64_t sum = wire_get_u64(&r), magic = wire_get_u64(&r), bytes;
    uint32_t version = wire_get_u32(&r);
    struct segment_live live;
    struct span store_id;

    live.count = wire_get_u32(&r);
    live.generation = wire_get_u64(&r);
    store_id = wire_get_bytes(&r, SEGMENT_STORE_ID_BYTES);
    live.next_seq = wire_get_u64(&r);
    live.next_id = wire_get_u32(&r);
    (void)wire_get_u32(&r);
    bytes = SEGMENT_LIVE_HEADER_BYTES + (uint64_t)live.count * SEGMENT_LIVE_ENTRY_BYTES;
    if (r.err || magic != LIVE_MAGIC || bytes > in.len || sum != checksum(span_sub(in, 0, (size_t)bytes), 0))
        return BRANT_ECORRUPT;
    if (version != SEGMENT_VERSION)
        return BRANT_EUNSUPPORTED;
    if (!live_is_plausible(&live, in))
        return BRANT_ECORRUPT;
    memcpy(live.store_id, store_id.p, SEGMENT_STORE_ID_BYTES);
    *ret = live;
    return BRANT_OK;
}

struct segment_live_entry segment_live_get(struct span in, uint32_t i)
{
    struct wire_reader r =
        wire_read(span_from(in, SEGMENT_LIVE_HEADER_BYTES + (size_t)i * SEGMENT_LIVE_ENTRY_BYTES));
    struct segment_live_entry entry;

    entry.id = wire_get_u32(&r);
    entry.open = wire_get_u32(&r) & LIVE_ENTRY_OPEN;
    entry.first_seq = wire_get_u64(&r);
    entry.last_seq = wire_get_u64(&r);
    entry.end = wire_get_u64(&r);
    return entry;
}
