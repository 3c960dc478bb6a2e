/* Reading: segments held by count, the iterator. */
#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/journal_internal.h"

/* The first segment whose id is at least this. */
static size_t find_id(const struct journal *j, uint32_t id)
{
    size_t low = 0, high = j->seg_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (j->segs[middle]->e.id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The first segment that holds this record or a later one. */
static size_t find_seq(const struct journal *j, uint64_t seq)
{
    size_t low = 0, high = j->seg_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (j->segs[middle]->e.last_seq < seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void journal_seg_add(struct journal *j, struct journal_seg *seg)
{
    j->segs = mem_regrow(j->segs, j->seg_count + 1, sizeof *j->segs);
    j->segs[j->seg_count++] = seg;
}

static void close_file(struct journal *j, struct journal_seg *seg)
{
    if (seg->file)
        j->files_open--;
    os_file_close(seg->file);
    seg->file = NULL;
}

void journal_seg_drop(struct journal *j, struct journal_seg *seg)
{
    size_t i = find_id(j, seg->e.id);

    assert(i < j->seg_count && j->segs[i] == seg);
    memmove(&j->segs[i], &j->segs[i + 1], (j->seg_count - i - 1) * sizeof *j->segs);
    j->seg_count--;
    seg->gone = true;
    if (!seg->readers) {
        close_file(j, seg);
        free(seg);
    }
}

/* Closes the file that nobody has used for longest, when there are too many. */
static void close_idle(struct journal *j)
{
    struct journal_seg *oldest = NULL;

    if (j->files_open < JOURNAL_OPEN_FILES_MAX)
        return;
    for (size_t i = 0; i < j->seg_count; i++) {
        struct journal_seg *seg = j->segs[i];

        if (seg->file && !seg->readers && (!oldest || seg->used < oldest->used))
            oldest = seg;
    }
    if (oldest)
        close_file(j, oldest);
}

/* lock held */
static int hold(struct journal *j, struct journal_seg *seg)
{
    if (!seg->file) {
        char path[JOURNAL_PATH_SIZE];

        close_idle(j);
        journal_path(seg->e.id, path);
        if (os_fs_open(j->fs, path, OS_OPEN_READ, &seg->file))
            return BRANT_EIO;
        j->files_open++;
    }
    seg->readers++;
    seg->used = ++j->tick;
    return BRANT_OK;
}

int journal_seg_hold(struct journal *j, uint32_t id, struct journal_seg **ret)
{
    int rc = BRANT_ENOTFOUND;
    size_t i;

    pthread_mutex_lock(&j->lock);
    i = find_id(j, id);
    if (i < j->seg_count && j->segs[i]->e.id == id) {
        rc = hold(j, j->segs[i]);
        if (!rc)
            *ret = j->segs[i];
    }
    pthread_mutex_unlock(&j->lock);
    return rc;
}

void journal_seg_release(struct journal *j, struct journal_seg *seg)
{
    pthread_mutex_lock(&j->lock);
    if (!--seg->readers && seg->gone) {
        close_file(j, seg);
        free(seg);
    }
    pthread_mutex_unlock(&j->lock);
}

static uint64_t durable_end(struct journal *j, const struct journal_seg *seg)
{
    uint64_t end;

    pthread_mutex_lock(&j->lock);
    end = seg->e.end;
    pthread_mutex_unlock(&j->lock);
    return end;
}

/* Bytes of a segment, all of them durable. */
static int read_durable(struct journal *j, uint32_t id, uint64_t offset, void *data, size_t len)
{
    struct journal_seg *seg;
    uint64_t end;
    int rc = journal_seg_hold(j, id, &seg);

    if (rc)
        return rc;
    end = durable_end(j, seg);
    if (offset < SEGMENT_HEADER_BYTES || offset > end || len > end - offset)
        rc = BRANT_ECORRUPT;
    else
        rc = os_file_read(seg->file, offset, data, len);
    journal_seg_release(j, seg);
    return rc;
}

int journal_read(struct journal *j, const struct journal_place *place, void *data)
{
    return read_durable(j, place->segment, place->offset, data, place->length);
}

int journal_verify(struct journal *j, const struct journal_place *payload)
{
    struct segment_key key = segment_key(j->store_id, payload->segment);
    _cleanup_free_ uint8_t *bytes = NULL;
    struct segment_record record;
    uint64_t offset = payload->offset - SEGMENT_RECORD_BYTES;
    size_t len = SEGMENT_RECORD_BYTES + (size_t)payload->length;
    int rc;

    if (payload->offset < SEGMENT_HEADER_BYTES + SEGMENT_RECORD_BYTES)
        return BRANT_ECORRUPT;
    bytes = mem_alloc(len);
    rc = read_durable(j, payload->segment, offset, bytes, len);
    if (rc)
        return rc;
    if (segment_record_peek(key, offset, span_make(bytes, len), &record) ||
        record.length != payload->length || !segment_record_check(key, span_make(bytes, len)))
        return BRANT_ECORRUPT;
    return BRANT_OK;
}

struct journal_iter {
    struct journal *j;
    struct journal_seg *seg; /* held; NULL between segments */
    struct journal_scan scan;
    uint64_t end; /* of what was durable when last looked; the file may be shorter when it is damaged */
    uint64_t next_seq;
    uint64_t lost_first, lost_last;
};

int journal_iterate(struct journal *j, uint64_t from_seq, struct journal_iter **ret)
{
    struct journal_iter *it = mem_zalloc(sizeof *it);

    it->j = j;
    it->next_seq = from_seq ? from_seq : 1;
    *ret = it;
    return BRANT_OK;
}

static void leave_segment(struct journal_iter *it)
{
    if (it->seg) {
        journal_scan_done(&it->scan);
        journal_seg_release(it->j, it->seg);
    }
    it->seg = NULL;
}

void journal_iter_free(struct journal_iter *it)
{
    if (!it)
        return;
    leave_segment(it);
    free(it);
}

/* Enters the segment with the next record. BRANT_ENOTFOUND: there is none yet. */
static int enter_segment(struct journal_iter *it)
{
    struct journal *j = it->j;
    struct journal_seg *seg = NULL;
    int rc = BRANT_ENOTFOUND;
    uint64_t end = 0, size = 0;
    size_t i;

    pthread_mutex_lock(&j->lock);
    i = find_seq(j, it->next_seq);
    if (i < j->seg_count) {
        seg = j->segs[i];
        end = seg->e.end;
        rc = hold(j, seg);
    }
    pthread_mutex_unlock(&j->lock);
    if (rc)
        return rc;
    it->seg = seg;
    it->end = end;
    rc = os_file_size(seg->file, &size);
    if (rc)
        size = 0; /* nothing can be read: all of it is reported lost */
    if (it->next_seq < seg->e.first_seq)
        it->next_seq = seg->e.first_seq; /* those between were retired */
    journal_scan_init(&it->scan, seg->file, segment_key(j->store_id, seg->e.id), seg->e.first_seq,
                      size < end ? size : end);
    return BRANT_OK;
}

/* At the end of what was durable when the segment was entered, or looked at last. */
static int segment_end(struct journal_iter *it, uint64_t *ret_last_seq)
{
    struct journal *j = it->j;
    uint64_t end, last_seq;

    pthread_mutex_lock(&j->lock);
    end = it->seg->e.end;
    last_seq = it->seg->e.last_seq;
    pthread_mutex_unlock(&j->lock);
    if (end > it->end) {
        it->end = it->scan.end = end;
        return BRANT_ETRYLATER;
    }
    *ret_last_seq = last_seq;
    return BRANT_OK;
}

static int report_lost(struct journal_iter *it, uint64_t first, uint64_t last)
{
    it->lost_first = first > it->next_seq ? first : it->next_seq;
    it->lost_last = last;
    it->next_seq = last + 1;
    return BRANT_ECORRUPT;
}

static void fill_record(const struct journal_iter *it, const struct journal_scan_item *item,
                        struct journal_record *ret)
{
    *ret = (struct journal_record){
        .seq = item->record.seq,
        .type = item->record.type,
        .version = item->record.version,
        .payload = item->payload,
        .place =
            {
                .segment = it->seg->e.id,
                .length = item->record.length,
                .offset = item->offset + SEGMENT_RECORD_BYTES,
            },
    };
}

int journal_iter_next(struct journal_iter *it, struct journal_record *ret)
{
    struct journal_scan_item item;
    uint64_t last_seq;
    int rc;

    for (;;) {
        if (!it->seg) {
            rc = enter_segment(it);
            if (rc)
                return rc;
        }
        rc = journal_scan_next(&it->scan, &item);
        if (rc)
            return rc;
        if (item.kind == JOURNAL_SCAN_END) {
            if (segment_end(it, &last_seq) == BRANT_ETRYLATER)
                continue;
            if (it->next_seq <= last_seq)
                return report_lost(it, it->next_seq, last_seq);
            if (last_seq >= journal_durable_seq(it->j))
                return BRANT_ENOTFOUND; /* stays here: the next record may follow */
            leave_segment(it);
            continue;
        }
        if (item.kind == JOURNAL_SCAN_DAMAGE) {
            if (item.last_seq >= it->next_seq && item.last_seq >= item.first_seq)
                return report_lost(it, item.first_seq, item.last_seq);
            continue;
        }
        if (item.record.seq < it->next_seq)
            continue;
        if (item.record.type == SEGMENT_TYPE_LOST)
            return report_lost(it, item.record.seq, item.record.seq);
        it->next_seq = item.record.seq + 1;
        fill_record(it, &item, ret);
        return BRANT_OK;
    }
}

void journal_iter_lost(const struct journal_iter *it, uint64_t *ret_first, uint64_t *ret_last)
{
    *ret_first = it->lost_first;
    *ret_last = it->lost_last;
}
