#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/journal_internal.h"

void journal_scan_init(struct journal_scan *scan, struct os_file *file, struct segment_key key,
                       uint64_t first_seq, uint64_t end)
{
    *scan = (struct journal_scan){
        .file = file,
        .key = key,
        .pos = SEGMENT_HEADER_BYTES,
        .end = end < SEGMENT_BYTES_MAX ? end : SEGMENT_BYTES_MAX,
        .next_seq = first_seq,
    };
}

void journal_scan_done(struct journal_scan *scan)
{
    free(scan->window);
    scan->window = NULL;
}

/* Bytes of the file, which the caller knows to lie before scan->end; valid until the next view. */
static int view(struct journal_scan *scan, uint64_t offset, size_t len, struct span *ret)
{
    if (offset < scan->window_at || offset + len > scan->window_at + scan->window_len) {
        size_t want = len > JOURNAL_WINDOW_BYTES ? len : JOURNAL_WINDOW_BYTES;
        int rc;

        if (want > scan->end - offset)
            want = (size_t)(scan->end - offset);
        if (want > scan->window_size) {
            scan->window = mem_realloc(scan->window, want);
            scan->window_size = want;
        }
        scan->window_len = 0;
        rc = os_file_read(scan->file, offset, scan->window, want);
        if (rc)
            return BRANT_EIO;
        scan->window_at = offset;
        scan->window_len = want;
    }
    *ret = span_make(scan->window + (offset - scan->window_at), len);
    return BRANT_OK;
}

/* Is there a valid record at the offset? BRANT_ENOTFOUND when not. */
static int try_record(struct journal_scan *scan, uint64_t offset, struct segment_record *ret,
                      struct span *ret_payload)
{
    struct segment_record record;
    struct span bytes;
    int rc;

    if (scan->end < SEGMENT_RECORD_BYTES || offset > scan->end - SEGMENT_RECORD_BYTES)
        return BRANT_ENOTFOUND;
    rc = view(scan, offset, SEGMENT_RECORD_BYTES, &bytes);
    if (rc)
        return rc;
    if (segment_record_peek(scan->key, offset, bytes, &record))
        return BRANT_ENOTFOUND;
    if (record.length > scan->end - offset - SEGMENT_RECORD_BYTES)
        return BRANT_ENOTFOUND;
    rc = view(scan, offset, SEGMENT_RECORD_BYTES + (size_t)record.length, &bytes);
    if (rc)
        return rc;
    if (!segment_record_check(scan->key, bytes))
        return BRANT_ENOTFOUND;
    *ret = record;
    *ret_payload = span_from(bytes, SEGMENT_RECORD_BYTES);
    return BRANT_OK;
}

/* The next valid record behind `from` whose number is plausible: as many records may be missing as the bytes
 * between could have held. BRANT_ENOTFOUND: none; then *ret is the end of what is not zero. */
static int search(struct journal_scan *scan, uint64_t from, struct segment_record *ret_record, uint64_t *ret)
{
    uint64_t used = from;

    for (uint64_t at = from; at < scan->end; at += 8) {
        size_t len = scan->end - at < 8 ? (size_t)(scan->end - at) : 8;
        struct span bytes, payload;
        uint64_t word = 0;
        int rc = view(scan, at, len, &bytes);

        if (rc)
            return rc;
        memcpy(&word, bytes.p, len);
        if (!word)
            continue; /* no record begins with zeros but by a chance of 2^-64 */
        used = at + len;
        if (at == from)
            continue;
        rc = try_record(scan, at, ret_record, &payload);
        if (rc == BRANT_EIO)
            return rc;
        if (!rc && ret_record->seq >= scan->next_seq &&
            ret_record->seq - scan->next_seq <= (at - from) / SEGMENT_RECORD_BYTES) {
            *ret = at;
            return BRANT_OK;
        }
    }
    *ret = used;
    return BRANT_ENOTFOUND;
}

int journal_scan_next(struct journal_scan *scan, struct journal_scan_item *ret)
{
    struct journal_scan_item item = {.kind = JOURNAL_SCAN_END, .offset = scan->pos};
    uint64_t found = scan->pos;
    int rc = try_record(scan, scan->pos, &item.record, &item.payload);

    if (rc == BRANT_EIO)
        return rc;
    if (!rc && item.record.seq == scan->next_seq) {
        item.kind = JOURNAL_SCAN_RECORD;
        scan->next_seq++;
        scan->pos += segment_record_bytes(item.record.length);
        *ret = item;
        return BRANT_OK;
    }
    rc = search(scan, scan->pos, &item.record, &found);
    if (rc == BRANT_EIO)
        return rc;
    if (rc) {
        item.torn_bytes = found - scan->pos;
    } else {
        item.kind = JOURNAL_SCAN_DAMAGE;
        item.first_seq = scan->next_seq;
        item.last_seq = item.record.seq - 1;
        scan->next_seq = item.record.seq;
        scan->pos = found;
    }
    *ret = item;
    return BRANT_OK;
}
