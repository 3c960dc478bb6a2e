/* Appending, segments, life cycle. Format: journal_segment.c; opening: journal_recover.c; reading:
 * journal_read.c. */
#include "store/journal.h"

#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/journal_internal.h"

#define BATCH_KEEP_BYTES ((size_t)4 << 20) /* memory kept between batches */

int journal_open(struct os_fs *fs, const struct journal_config *config, struct journal **ret,
                 struct journal_recovery *ret_recovery)
{
    struct journal *j = mem_zalloc(sizeof *j);
    int rc;

    assert(config->segment_bytes > SEGMENT_HEADER_BYTES && config->segment_bytes < SEGMENT_BYTES_MAX);
    j->fs = fs;
    j->config = *config;
    pthread_mutex_init(&j->meta, NULL);
    pthread_mutex_init(&j->lock, NULL);
    buf_init(&j->batch, (size_t)(config->segment_bytes + segment_record_bytes(config->record_bytes_max)));
    *ret_recovery = (struct journal_recovery){0};
    rc = os_fs_mkdir(fs, JOURNAL_DIR);
    if (!rc)
        rc = os_fs_sync_dir(fs, ".");
    if (!rc)
        rc = journal_recover(j, ret_recovery);
    if (rc) {
        journal_free(j);
        return rc;
    }
    *ret = j;
    return BRANT_OK;
}

void journal_free(struct journal *j)
{
    if (!j)
        return;
    for (size_t i = 0; i < j->seg_count; i++) {
        os_file_close(j->segs[i]->file);
        free(j->segs[i]);
    }
    free(j->segs);
    os_file_close(j->live[0]);
    os_file_close(j->live[1]);
    buf_done(&j->batch);
    pthread_mutex_destroy(&j->meta);
    pthread_mutex_destroy(&j->lock);
    free(j);
}

static bool writable(const struct journal *j)
{
    return !j->read_only && !atomic_load(&j->dead);
}

/* Nothing more goes into the open segment; the list on disk says so already. */
static void close_current(struct journal *j)
{
    struct journal_seg *seg = j->current;

    if (!seg)
        return;
    pthread_mutex_lock(&j->lock);
    seg->e.open = false;
    pthread_mutex_unlock(&j->lock);
    j->current = NULL;
    journal_seg_release(j, seg);
}

/* meta held */
static int make_segment(struct journal *j, uint64_t bytes, bool use_reserve)
{
    struct journal_seg *seg;
    struct os_file *file;
    uint32_t id = j->next_id;
    /* First: once the file has its name, nothing may go into the old segment any more. */
    int rc = journal_live_reserve(j, j->seg_count + 1);

    if (!rc)
        rc = journal_segment_prepare(j, id, j->last_seq + 1, bytes, use_reserve, &file);
    if (rc)
        return rc;
    rc = journal_segment_publish(j, id, file);
    if (rc) {
        os_file_close(file);
        return rc;
    }
    seg = mem_zalloc(sizeof *seg);
    seg->e = (struct segment_live_entry){.id = id,
                                         .open = true,
                                         .first_seq = j->last_seq + 1,
                                         .last_seq = j->last_seq,
                                         .end = SEGMENT_HEADER_BYTES};
    seg->file = file;
    seg->readers = 1;
    j->next_id++;
    if (journal_live_write(j, NULL, seg)) {
        os_file_close(file);
        free(seg);
        return journal_die(j);
    }
    close_current(j);
    pthread_mutex_lock(&j->lock);
    journal_seg_add(j, seg);
    j->files_open++;
    pthread_mutex_unlock(&j->lock);
    j->current = seg;
    j->current_limit = bytes;
    return BRANT_OK;
}

static int new_segment(struct journal *j, uint64_t record_bytes, bool use_reserve)
{
    uint64_t bytes = SEGMENT_HEADER_BYTES + record_bytes;
    int rc;

    if (bytes < j->config.segment_bytes)
        bytes = j->config.segment_bytes;
    pthread_mutex_lock(&j->meta);
    rc = make_segment(j, bytes, use_reserve);
    if (!rc && !use_reserve)
        rc = journal_spare_fill(j);
    pthread_mutex_unlock(&j->meta);
    return rc;
}

/* Room for a record of this size, header included, in the open segment behind the batch. */
static int make_room(struct journal *j, uint64_t bytes, bool use_reserve)
{
    int rc;

    if (j->current && j->current->e.end + j->batch.len + bytes <= j->current_limit)
        return BRANT_OK;
    /* A segment is closed only when all of it is durable: recovery relies on it. */
    rc = journal_sync(j);
    return rc ? rc : new_segment(j, bytes, use_reserve);
}

int journal_append(struct journal *j, uint16_t type, uint16_t version, const struct span *pieces,
                   size_t count, bool use_reserve, uint64_t *ret_seq, struct journal_place *ret_place)
{
    struct segment_record record = {.seq = j->last_seq + 1, .type = type, .version = version};
    uint64_t offset, length = 0;
    int rc;

    assert(type != SEGMENT_TYPE_LOST);
    if (!writable(j))
        return BRANT_EIO;
    for (size_t i = 0; i < count; i++)
        length += pieces[i].len;
    if (length > j->config.record_bytes_max)
        return BRANT_ELIMIT;
    rc = make_room(j, segment_record_bytes(length), use_reserve);
    if (rc)
        return rc;
    record.length = (uint32_t)length;
    record.mark = j->durable_seq;
    record.flags = j->batch.len ? 0 : SEGMENT_BATCH_FIRST;
    offset = j->current->e.end + j->batch.len;
    rc = segment_record_encode(segment_key(j->store_id, j->current->e.id), offset, &record, pieces, count,
                               &j->batch);
    assert(!rc);
    j->last_seq++;
    *ret_seq = record.seq;
    *ret_place = (struct journal_place){
        .segment = j->current->e.id, .length = record.length, .offset = offset + SEGMENT_RECORD_BYTES};
    return BRANT_OK;
}

int journal_sync(struct journal *j)
{
    struct span piece = buf_span(&j->batch);

    if (!writable(j))
        return BRANT_EIO;
    if (!piece.len)
        return BRANT_OK;
    if (os_file_write(j->current->file, j->current->e.end, &piece, 1) || os_file_sync(j->current->file))
        return journal_die(j);
    pthread_mutex_lock(&j->lock);
    j->current->e.end += piece.len;
    j->current->e.last_seq = j->last_seq;
    j->durable_seq = j->last_seq;
    pthread_mutex_unlock(&j->lock);
    buf_reset(&j->batch);
    if (j->batch.cap > BATCH_KEEP_BYTES)
        buf_shrink(&j->batch);
    return BRANT_OK;
}

uint64_t journal_last_seq(const struct journal *j)
{
    return j->last_seq;
}

void journal_store_id(const struct journal *j, uint8_t ret[16])
{
    memcpy(ret, j->store_id, sizeof j->store_id);
}

uint64_t journal_durable_seq(const struct journal *j)
{
    return atomic_load(&j->durable_seq);
}

size_t journal_segments(struct journal *j, struct journal_segment *ret, size_t max)
{
    size_t count;

    pthread_mutex_lock(&j->lock);
    count = j->seg_count;
    for (size_t i = 0; i < count && i < max; i++) {
        const struct segment_live_entry *e = &j->segs[i]->e;

        ret[i] = (struct journal_segment){.id = e->id,
                                          .first_seq = e->first_seq,
                                          .last_seq = e->last_seq,
                                          .bytes = e->end,
                                          .open = e->open};
    }
    pthread_mutex_unlock(&j->lock);
    return count;
}

/* meta held: the segment with this id, if it may go. */
static int find_closed(struct journal *j, uint32_t id, struct journal_seg **ret)
{
    int rc = BRANT_ENOTFOUND;

    pthread_mutex_lock(&j->lock);
    for (size_t i = 0; i < j->seg_count; i++) {
        if (j->segs[i]->e.id != id)
            continue;
        *ret = j->segs[i];
        rc = j->segs[i]->e.open ? BRANT_ESTATE : BRANT_OK;
    }
    pthread_mutex_unlock(&j->lock);
    return rc;
}

static int retire(struct journal *j, uint32_t id)
{
    char path[JOURNAL_PATH_SIZE];
    struct journal_seg *seg;
    int rc = find_closed(j, id, &seg);

    if (rc)
        return rc;
    rc = journal_live_write(j, seg, NULL);
    if (rc)
        return rc;
    pthread_mutex_lock(&j->lock);
    journal_seg_drop(j, seg);
    pthread_mutex_unlock(&j->lock);
    journal_path(id, path);
    if (os_fs_unlink(j->fs, path) || os_fs_sync_dir(j->fs, JOURNAL_DIR))
        return journal_die(j);
    return journal_spare_fill(j);
}

int journal_retire(struct journal *j, uint32_t segment)
{
    int rc;

    if (!writable(j))
        return BRANT_EIO;
    pthread_mutex_lock(&j->meta);
    rc = j->leases ? BRANT_ETRYLATER : retire(j, segment);
    pthread_mutex_unlock(&j->meta);
    return rc;
}

int journal_roll(struct journal *j)
{
    int rc = journal_sync(j);

    if (rc || !j->current || j->current->e.last_seq < j->current->e.first_seq)
        return rc;
    pthread_mutex_lock(&j->meta);
    pthread_mutex_lock(&j->lock);
    j->current->e.open = false;
    pthread_mutex_unlock(&j->lock);
    rc = journal_live_write(j, NULL, NULL);
    pthread_mutex_unlock(&j->meta);
    if (!rc)
        close_current(j);
    return rc;
}

void journal_lease_take(struct journal *j)
{
    pthread_mutex_lock(&j->meta);
    j->leases++;
    pthread_mutex_unlock(&j->meta);
}

void journal_lease_drop(struct journal *j)
{
    pthread_mutex_lock(&j->meta);
    assert(j->leases);
    j->leases--;
    pthread_mutex_unlock(&j->meta);
}
