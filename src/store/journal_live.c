/* The list of live segments on disk, and how a segment file comes into being. */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/journal_internal.h"

void journal_path(uint32_t id, char *ret)
{
    (void)snprintf(ret, JOURNAL_PATH_SIZE, JOURNAL_DIR "/%08x.seg", id);
}

int journal_die(struct journal *j)
{
    atomic_store(&j->dead, true);
    return BRANT_EIO;
}

const char *journal_live_path(unsigned copy)
{
    return copy ? JOURNAL_DIR "/live.1" : JOURNAL_DIR "/live.0";
}

static int live_allocate(struct journal *j, uint64_t bytes)
{
    uint64_t want = (bytes + JOURNAL_LIVE_BYTES - 1) / JOURNAL_LIVE_BYTES * JOURNAL_LIVE_BYTES;

    if (want <= j->live_bytes)
        return BRANT_OK;
    for (unsigned i = 0; i < 2; i++) {
        int rc = BRANT_OK;

        if (!j->live[i])
            rc = os_fs_open(j->fs, journal_live_path(i), OS_OPEN_READ | OS_OPEN_WRITE | OS_OPEN_CREATE,
                            &j->live[i]);
        if (!rc)
            rc = os_file_allocate(j->live[i], want);
        if (rc)
            return rc;
    }
    if (!j->live_bytes && os_fs_sync_dir(j->fs, JOURNAL_DIR))
        return BRANT_EIO;
    j->live_bytes = want;
    return BRANT_OK;
}

/* Of the table, `with` added and `without` left out. `with` stays open; every other segment is closed then.
 */
static void collect(struct journal *j, const struct journal_seg *without, const struct journal_seg *with,
                    struct segment_live *live, struct segment_live_entry *entries)
{
    live->count = 0;
    pthread_mutex_lock(&j->lock);
    live->next_seq = j->durable_seq + 1;
    for (size_t i = 0; i < j->seg_count; i++) {
        if (j->segs[i] == without)
            continue;
        entries[live->count] = j->segs[i]->e;
        entries[live->count++].open = j->segs[i]->e.open && !with;
    }
    pthread_mutex_unlock(&j->lock);
    if (with)
        entries[live->count++] = with->e;
}

int journal_live_reserve(struct journal *j, size_t segments)
{
    int rc = live_allocate(j, SEGMENT_LIVE_HEADER_BYTES + segments * SEGMENT_LIVE_ENTRY_BYTES);

    return rc && rc != BRANT_ENOSPACE ? journal_die(j) : rc;
}

int journal_live_write_copy(struct journal *j, unsigned copy, struct span bytes)
{
    int rc = journal_live_reserve(j, bytes.len / SEGMENT_LIVE_ENTRY_BYTES);

    if (rc)
        return rc;
    if (os_file_write(j->live[copy], 0, &bytes, 1) || os_file_sync(j->live[copy]))
        return journal_die(j);
    return BRANT_OK;
}

int journal_live_write(struct journal *j, const struct journal_seg *without, const struct journal_seg *with)
{
    struct segment_live live = {.generation = j->generation + 1, .next_id = j->next_id};
    _cleanup_free_ struct segment_live_entry *entries = mem_array(j->seg_count + 1, sizeof *entries);
    _cleanup_buf_ struct buf bytes;
    int rc;

    buf_init(&bytes, SEGMENT_LIVE_HEADER_BYTES + (j->seg_count + 1) * SEGMENT_LIVE_ENTRY_BYTES);
    memcpy(live.store_id, j->store_id, sizeof live.store_id);
    collect(j, without, with, &live, entries);
    segment_live_encode(&live, entries, &bytes);
    /* One after the other, the newest last: whatever stops this half-way leaves one good copy. */
    rc = journal_live_write_copy(j, 1 - j->live_newest, buf_span(&bytes));
    if (!rc)
        rc = journal_live_write_copy(j, j->live_newest, buf_span(&bytes));
    if (!rc)
        j->generation++;
    return rc;
}

/* The spare becomes the temporary file. Its name has to be gone for certain before anything is written into
 * it, so that a file called spare never holds old records. */
static int take_spare(struct journal *j, uint64_t bytes, struct os_file **ret)
{
    struct os_file *file;

    if (!j->have_spare || bytes > j->config.segment_bytes)
        return BRANT_ENOSPACE;
    j->have_spare = false;
    if (os_fs_rename(j->fs, JOURNAL_SPARE, JOURNAL_NEW) || os_fs_sync_dir(j->fs, JOURNAL_DIR) ||
        os_fs_open(j->fs, JOURNAL_NEW, OS_OPEN_READ | OS_OPEN_WRITE, &file))
        return journal_die(j);
    *ret = file;
    return BRANT_OK;
}

static int allocate_new(struct journal *j, const char *path, uint64_t bytes, struct os_file **ret)
{
    struct os_file *file;
    int rc = os_fs_unlink(j->fs, path);

    if (rc && rc != BRANT_ENOTFOUND)
        return rc;
    rc = os_fs_open(j->fs, path, OS_OPEN_READ | OS_OPEN_WRITE | OS_OPEN_CREATE | OS_OPEN_EXCLUSIVE, &file);
    if (rc)
        return rc;
    rc = os_file_allocate(file, bytes);
    if (rc) {
        os_file_close(file);
        (void)os_fs_unlink(j->fs, path);
        return rc;
    }
    *ret = file;
    return BRANT_OK;
}

int journal_segment_prepare(struct journal *j, uint32_t id, uint64_t first_seq, uint64_t bytes,
                            bool use_reserve, struct os_file **ret)
{
    _cleanup_free_ uint8_t *header = mem_alloc(SEGMENT_HEADER_BYTES);
    struct segment_header fields = {.id = id, .first_seq = first_seq, .bytes = bytes};
    struct span piece = span_make(header, SEGMENT_HEADER_BYTES);
    struct os_file *file;
    int rc = allocate_new(j, JOURNAL_NEW, bytes, &file);

    if (rc == BRANT_ENOSPACE && use_reserve)
        rc = take_spare(j, bytes, &file);
    if (rc == BRANT_ENOSPACE || rc == BRANT_ETRYLATER)
        return BRANT_ENOSPACE;
    if (rc)
        return journal_die(j);
    memcpy(fields.store_id, j->store_id, sizeof fields.store_id);
    segment_header_encode(&fields, header);
    if (os_file_write(file, 0, &piece, 1)) {
        os_file_close(file);
        return journal_die(j);
    }
    *ret = file;
    return BRANT_OK;
}

int journal_segment_publish(struct journal *j, uint32_t id, struct os_file *file)
{
    char path[JOURNAL_PATH_SIZE];

    journal_path(id, path);
    if (os_file_sync(file) || os_fs_rename(j->fs, JOURNAL_NEW, path) || os_fs_sync_dir(j->fs, JOURNAL_DIR))
        return journal_die(j);
    return BRANT_OK;
}

int journal_spare_fill(struct journal *j)
{
    struct os_file *file;
    int rc;

    if (j->have_spare)
        return BRANT_OK;
    rc = allocate_new(j, JOURNAL_SPARE, j->config.segment_bytes, &file);
    if (rc == BRANT_ENOSPACE || rc == BRANT_ETRYLATER)
        return BRANT_OK; /* tried again when the next segment is made or retired */
    if (rc)
        return journal_die(j);
    rc = os_file_sync(file);
    os_file_close(file);
    if (rc || os_fs_sync_dir(j->fs, JOURNAL_DIR))
        return journal_die(j);
    j->have_spare = true;
    return BRANT_OK;
}
