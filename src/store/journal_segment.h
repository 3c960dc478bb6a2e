/* The bytes of a journal: segment header, record, list of live segments (docs/disk.md). Pure: no I/O.
 * Integers are little-endian; checksums are XXH3-64. */
#ifndef STORE_JOURNAL_SEGMENT_H
#define STORE_JOURNAL_SEGMENT_H

#include "base/buf.h"

enum {
    SEGMENT_VERSION = 1,
    SEGMENT_HEADER_BYTES = 4096, /* the first record follows */
    SEGMENT_RECORD_BYTES = 48,   /* header of a record; the payload follows */
    SEGMENT_TYPE_LOST = 0,       /* a record made by recovery in the place of one that was damaged */
    SEGMENT_BATCH_FIRST = 1,     /* flag: first record of a batch */
    SEGMENT_STORE_ID_BYTES = 16,
    SEGMENT_LIVE_HEADER_BYTES = 64,
    SEGMENT_LIVE_ENTRY_BYTES = 32,
};

/* Offsets are kept in units of 8 bytes in 32 bits; a segment ends far below that. */
#define SEGMENT_BYTES_MAX ((uint64_t)1 << 34)

/* No store gets that far; what claims to is damaged. */
#define SEGMENT_SEQ_MAX ((uint64_t)1 << 62)

struct segment_header {
    uint32_t id;
    uint64_t first_seq; /* every record before this one was durable when the segment was made */
    uint64_t bytes;     /* the size that the file was made with */
    uint8_t store_id[SEGMENT_STORE_ID_BYTES];
};

/* Writes SEGMENT_HEADER_BYTES. */
void segment_header_encode(const struct segment_header *header, uint8_t *out);
/* BRANT_ECORRUPT, or BRANT_EUNSUPPORTED for an intact header of another version. */
int segment_header_decode(struct span in, struct segment_header *ret);

/* What a record's checksum depends on besides its bytes. The seed comes from the random store id, so nobody
 * can put the bytes of a valid record into a message. */
struct segment_key {
    uint32_t id;
    uint64_t seed;
};

struct segment_key segment_key(const uint8_t *store_id, uint32_t segment_id);

struct segment_record {
    uint64_t seq;
    uint64_t mark; /* the durable mark: all records up to this one were synced before this was written */
    uint32_t length;
    uint32_t flags;
    uint16_t type;
    uint16_t version;
};

/* Bytes that a record takes in a segment, header and padding included. */
static inline uint64_t segment_record_bytes(uint64_t payload_bytes)
{
    return (SEGMENT_RECORD_BYTES + payload_bytes + 7) & ~(uint64_t)7;
}

/* Appends one record that will lie at `offset`; record->length has to be the sum of the pieces.
 * BRANT_ELIMIT: the buffer is full and unchanged. */
int segment_record_encode(struct segment_key key, uint64_t offset, const struct segment_record *record,
                          const struct span *pieces, size_t count, struct buf *out);

/* Looks at the header alone (at least SEGMENT_RECORD_BYTES): BRANT_ECORRUPT when it can't be a record of
 * this segment at this offset. What it says is true only after segment_record_check. */
int segment_record_peek(struct segment_key key, uint64_t offset, struct span in, struct segment_record *ret);
/* The whole record, header and payload: is the checksum right? */
bool segment_record_check(struct segment_key key, struct span whole);

/* The list of live segments, kept in two copies: what has to be there, so that a missing segment is noticed.
 */
struct segment_live_entry {
    uint32_t id;
    bool open; /* appended to when the list was written: last_seq and end mean nothing */
    uint64_t first_seq;
    uint64_t last_seq;
    uint64_t end; /* offset behind the last record */
};

struct segment_live {
    uint64_t generation;
    uint64_t next_seq; /* no record from here on lies in a closed segment */
    uint32_t next_id;  /* no segment was ever made with this number or a higher one, but for the newest */
    uint8_t store_id[SEGMENT_STORE_ID_BYTES];
    uint32_t count;
};

void segment_live_encode(const struct segment_live *live, const struct segment_live_entry *entries,
                         struct buf *out);
/* `in` may be longer than the list. Entry i is read by segment_live_get. As segment_header_decode; entries
 * that contradict each other are BRANT_ECORRUPT. */
int segment_live_decode(struct span in, struct segment_live *ret);
struct segment_live_entry segment_live_get(struct span in, uint32_t i);

#endif
