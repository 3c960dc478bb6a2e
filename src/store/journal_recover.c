/* Opening a journal (DESIGN rule 5; docs/disk.md "Recovery").
 *
 * Segments that the list of live segments calls closed are taken at its word. The others are read: the newest
 * is the tail, and what lies in it behind the durable mark may exist in the page cache only, so it is copied
 * into a new segment and synced before anybody sees it. No file that was there before is written to. */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/journal_internal.h"

#define LIST_BYTES_MAX ((size_t)16 << 20) /* of names in journal/ */

/* A segment file that was found. */
struct found {
    uint32_t id;
    bool listed;   /* in the list of live segments */
    bool readable; /* its header is intact and its own */
    struct segment_header header;
    struct segment_live_entry entry;
};

struct recovery {
    struct journal *j;
    struct journal_recovery *report;
    struct found *found; /* owned, by id */
    size_t count;
    bool have_live;
    unsigned live_copy; /* the copy of the list that won */
    struct segment_live live;
    uint8_t *live_bytes; /* owned: the list that won */
    size_t live_size;
    uint32_t id_max;
};

/* Reads one copy of the list whole. BRANT_ENOTFOUND: missing or damaged. */
static int read_live_copy(struct recovery *r, unsigned copy)
{
    _cleanup_free_ uint8_t *bytes = NULL;
    struct segment_live live;
    struct os_file *file;
    uint64_t size;
    int rc = os_fs_open(r->j->fs, journal_live_path(copy), OS_OPEN_READ, &file);

    if (rc)
        return rc == BRANT_ENOTFOUND ? rc : BRANT_EIO;
    rc = os_file_size(file, &size);
    if (!rc && size > LIST_BYTES_MAX)
        size = LIST_BYTES_MAX;
    if (!rc) {
        bytes = mem_alloc((size_t)size);
        rc = os_file_read(file, 0, bytes, (size_t)size);
    }
    os_file_close(file);
    if (rc)
        return BRANT_EIO;
    rc = segment_live_decode(span_make(bytes, (size_t)size), &live);
    if (rc == BRANT_ECORRUPT)
        return BRANT_ENOTFOUND;
    if (rc)
        return rc;
    if (!r->have_live || live.generation > r->live.generation) {
        free(r->live_bytes);
        r->live_bytes = bytes;
        bytes = NULL;
        r->live_size = (size_t)size;
        r->live = live;
        r->live_copy = copy;
        r->have_live = true;
    }
    return BRANT_OK;
}

static int read_live(struct recovery *r)
{
    for (unsigned i = 0; i < 2; i++) {
        int rc = read_live_copy(r, i);

        if (rc == BRANT_ENOTFOUND)
            r->report->damaged_lists++;
        else if (rc)
            return rc;
    }
    return BRANT_OK;
}

/* The id in a name like "0000002a.seg". */
static bool parse_name(const char *name, uint32_t *ret)
{
    uint32_t id = 0;

    if (strlen(name) != 12 || strcmp(name + 8, ".seg"))
        return false;
    for (int i = 0; i < 8; i++) {
        const char *digits = "0123456789abcdef", *digit = strchr(digits, name[i]);

        if (!digit)
            return false;
        id = id << 4 | (uint32_t)(digit - digits);
    }
    *ret = id;
    return true;
}

static int read_header(struct recovery *r, struct found *f)
{
    uint8_t bytes[64];
    char path[JOURNAL_PATH_SIZE];
    struct os_file *file;
    int rc;

    journal_path(f->id, path);
    rc = os_fs_open(r->j->fs, path, OS_OPEN_READ, &file);
    if (rc)
        return rc == BRANT_EREFUSED ? BRANT_ECORRUPT : BRANT_EIO;
    rc = os_file_read(file, 0, bytes, sizeof bytes);
    os_file_close(file);
    if (rc == BRANT_ECORRUPT)
        return BRANT_OK; /* too short: not readable */
    if (rc)
        return rc;
    rc = segment_header_decode(span_make(bytes, sizeof bytes), &f->header);
    if (rc == BRANT_EUNSUPPORTED)
        return rc;
    f->readable = !rc && f->header.id == f->id;
    return BRANT_OK;
}

static int list_segments(struct recovery *r)
{
    _cleanup_buf_ struct buf names;
    int rc;

    buf_init(&names, LIST_BYTES_MAX);
    rc = os_fs_list(r->j->fs, JOURNAL_DIR, &names);
    if (rc)
        return BRANT_EIO;
    for (size_t at = 0; at < names.len; at += strlen((const char *)names.data + at) + 1) {
        struct found f = {0};

        if (!parse_name((const char *)names.data + at, &f.id))
            continue;
        rc = read_header(r, &f);
        if (rc)
            return rc;
        r->found = mem_regrow(r->found, r->count + 1, sizeof *r->found);
        r->found[r->count++] = f;
        r->id_max = f.id;
    }
    return BRANT_OK;
}

/* Without a list: what the headers say is all there is to go by. */
static int adopt_store_id(struct recovery *r)
{
    struct journal *j = r->j;

    if (r->have_live) {
        memcpy(j->store_id, r->live.store_id, sizeof j->store_id);
        return BRANT_OK;
    }
    for (size_t i = r->count; i-- > 0;) {
        if (r->found[i].readable) {
            memcpy(j->store_id, r->found[i].header.store_id, sizeof j->store_id);
            return BRANT_OK;
        }
    }
    if (r->count)
        return BRANT_ECORRUPT; /* records are there, and nothing says which store they belong to */
    os_fs_random(j->fs, j->store_id, sizeof j->store_id);
    return BRANT_OK;
}

static struct found *find(struct recovery *r, uint32_t id)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->found[i].id == id)
            return &r->found[i];
    }
    return NULL;
}

/* Joins the list with the files. */
static int match_list(struct recovery *r)
{
    struct journal_recovery *report = r->report;

    for (uint32_t i = 0; r->have_live && i < r->live.count; i++) {
        struct segment_live_entry entry = segment_live_get(span_make(r->live_bytes, r->live_size), i);
        struct found *f = find(r, entry.id);

        if (!f) {
            report->missing_segments++;
            report->missing_segment = entry.id;
            continue;
        }
        f->listed = true;
        f->entry = entry;
    }
    for (size_t i = 0; !r->have_live && i < r->count; i++) {
        if (!r->found[i].readable) { /* list and header lost: its place is not known */
            report->missing_segments++;
            report->missing_segment = r->found[i].id;
        }
    }
    if (report->missing_segments && !r->j->config.accept_missing)
        return BRANT_ECORRUPT;
    for (size_t i = 0; i < r->count; i++) {
        struct found *f = &r->found[i];

        if (f->readable && (memcmp(f->header.store_id, r->j->store_id, SEGMENT_STORE_ID_BYTES) ||
                            (f->listed && f->header.first_seq != f->entry.first_seq)))
            f->readable = false;
        if (!f->readable && (f->listed || !r->have_live || f->id >= r->live.next_id))
            report->damaged_headers++;
        if (!f->listed && f->readable)
            f->entry =
                (struct segment_live_entry){.id = f->id, .open = true, .first_seq = f->header.first_seq};
    }
    return BRANT_OK;
}

/* Does this file hold records that count? Those that are neither listed nor newer than the list were retired.
 */
static bool is_live(const struct recovery *r, const struct found *f)
{
    return f->listed || (f->readable && (!r->have_live || f->id >= r->live.next_id));
}

static void add_segment(struct recovery *r, const struct segment_live_entry *entry)
{
    struct journal_seg *seg = mem_zalloc(sizeof *seg);

    seg->e = *entry;
    seg->e.open = false;
    journal_seg_add(r->j, seg);
}

/* Notes lost records of a tail. Behind the mark nobody knows whether they had been acknowledged. */
static void note_damage(struct recovery *r, uint64_t first, uint64_t last, uint64_t mark)
{
    if (last < first)
        return;
    if (!r->report->damaged_records)
        r->report->damaged_first_seq = first;
    r->report->damaged_records += (uint32_t)(last - first + 1);
    if (last > mark)
        r->report->damaged_behind_mark += (uint32_t)(last - (first > mark ? first - 1 : mark));
}

struct tail {
    struct os_file *file;
    uint64_t size;
    uint64_t used; /* the end of the last record */
    struct segment_key key;
    uint64_t first_seq;
};

static int open_tail(struct recovery *r, const struct found *f, struct tail *ret)
{
    char path[JOURNAL_PATH_SIZE];

    journal_path(f->id, path);
    ret->key = segment_key(r->j->store_id, f->id);
    ret->first_seq = f->entry.first_seq;
    if (os_fs_open(r->j->fs, path, OS_OPEN_READ, &ret->file))
        return BRANT_EIO;
    if (os_file_size(ret->file, &ret->size)) {
        os_file_close(ret->file);
        return BRANT_EIO;
    }
    return BRANT_OK;
}

/* The last record and the durable mark of a tail. */
static int scan_tail(struct tail *t, uint64_t *ret_mark, uint64_t *ret_last, uint64_t *ret_torn)
{
    struct journal_scan scan;
    struct journal_scan_item item;
    uint64_t mark = t->first_seq - 1, last = t->first_seq - 1;
    int rc;

    journal_scan_init(&scan, t->file, t->key, t->first_seq, t->size);
    do {
        rc = journal_scan_next(&scan, &item);
        if (!rc && item.kind == JOURNAL_SCAN_RECORD) {
            last = item.record.seq;
            if (item.record.mark > mark)
                mark = item.record.mark;
        }
    } while (!rc && item.kind != JOURNAL_SCAN_END);
    journal_scan_done(&scan);
    if (rc)
        return rc;
    t->used = item.offset;
    *ret_mark = mark;
    *ret_last = last;
    *ret_torn = item.torn_bytes;
    return BRANT_OK;
}

/* The offset behind record `mark`: where the first later one begins. Counts the damage before it. */
static int find_end(struct recovery *r, const struct tail *t, uint64_t mark, uint64_t *ret_end)
{
    struct journal_scan scan;
    struct journal_scan_item item;
    uint64_t end = SEGMENT_HEADER_BYTES, seen = t->first_seq - 1;
    int rc;

    journal_scan_init(&scan, t->file, t->key, t->first_seq, t->size);
    for (;;) {
        rc = journal_scan_next(&scan, &item);
        if (rc || item.kind == JOURNAL_SCAN_END)
            break;
        if (item.kind == JOURNAL_SCAN_DAMAGE) {
            uint64_t last = item.last_seq < mark ? item.last_seq : mark;

            note_damage(r, item.first_seq, last, mark);
            end = scan.pos;
            seen = item.last_seq;
            continue;
        }
        if (item.record.seq > mark)
            break;
        end = scan.pos;
        seen = item.record.seq;
    }
    journal_scan_done(&scan);
    if (rc)
        return rc;
    if (seen < mark)
        note_damage(r, seen + 1, mark, mark);
    *ret_end = end;
    return BRANT_OK;
}

/* Adds what an unlisted or open segment holds up to `last` to the table as a closed one. */
static int close_tail(struct recovery *r, const struct found *f, const struct tail *t, uint64_t last,
                      uint64_t *ret_end)
{
    struct segment_live_entry entry = f->entry;

    *ret_end = SEGMENT_HEADER_BYTES;
    if (last < t->first_seq)
        return BRANT_OK; /* nothing of it is needed any more */
    entry.last_seq = last;
    if (find_end(r, t, last, &entry.end))
        return BRANT_EIO;
    *ret_end = entry.end;
    add_segment(r, &entry);
    return BRANT_OK;
}

struct copy {
    struct journal *j;
    struct os_file *file;
    uint32_t id;
    uint64_t at;
    uint64_t mark;
    struct buf buf;
};

static int copy_flush(struct copy *c)
{
    struct span piece = buf_span(&c->buf);
    int rc = os_file_write(c->file, c->at, &piece, 1);

    c->at += piece.len;
    buf_reset(&c->buf);
    return rc;
}

static int copy_record(struct copy *c, uint64_t seq, uint16_t type, uint16_t version, struct span payload)
{
    struct segment_record record = {
        .seq = seq,
        .mark = c->mark,
        .length = (uint32_t)payload.len,
        .flags = seq == c->mark + 1 ? SEGMENT_BATCH_FIRST : 0,
        .type = type,
        .version = version,
    };
    int rc = segment_record_encode(segment_key(c->j->store_id, c->id), c->at + c->buf.len, &record, &payload,
                                   1, &c->buf);

    if (!rc && c->buf.len >= JOURNAL_WINDOW_BYTES)
        rc = copy_flush(c);
    return rc;
}

/* Every record behind the mark, and a LOST record in the place of every damaged one. */
static int copy_records(struct recovery *r, const struct tail *t, struct copy *c)
{
    struct journal_scan scan;
    struct journal_scan_item item;
    int rc;

    journal_scan_init(&scan, t->file, t->key, t->first_seq, t->size);
    do {
        rc = journal_scan_next(&scan, &item);
        if (rc)
            break;
        if (item.kind == JOURNAL_SCAN_DAMAGE) {
            uint64_t first = item.first_seq > c->mark ? item.first_seq : c->mark + 1;

            note_damage(r, first, item.last_seq, c->mark);
            for (uint64_t seq = first; !rc && seq <= item.last_seq; seq++)
                rc = copy_record(c, seq, SEGMENT_TYPE_LOST, 1, SPAN_NONE);
        } else if (item.kind == JOURNAL_SCAN_RECORD && item.record.seq > c->mark) {
            rc = copy_record(c, item.record.seq, item.record.type, item.record.version, item.payload);
            r->report->records_copied++;
        }
    } while (!rc && item.kind != JOURNAL_SCAN_END);
    journal_scan_done(&scan);
    return rc ? rc : copy_flush(c);
}

/* Copies what lies behind the mark, from offset `from` on, into a new segment, which becomes the open one. */
static int copy_tail(struct recovery *r, const struct tail *t, uint64_t mark, uint64_t last, uint64_t from)
{
    struct journal *j = r->j;
    /* LOST records are never longer than the bytes they stand for. */
    uint64_t least = SEGMENT_HEADER_BYTES + t->used - from;
    uint64_t bytes = least > j->config.segment_bytes ? least : j->config.segment_bytes;
    struct copy c = {.j = j, .id = j->next_id, .at = SEGMENT_HEADER_BYTES, .mark = mark};
    struct journal_seg *seg;
    int rc = journal_segment_prepare(j, c.id, mark + 1, bytes, true, &c.file);

    if (rc == BRANT_ENOSPACE && least < bytes) {
        /* The disk is full and the spare is used up: a segment without room for more is better than none. */
        bytes = least;
        rc = journal_segment_prepare(j, c.id, mark + 1, bytes, false, &c.file);
    }
    if (rc)
        return rc;
    buf_init(&c.buf, (size_t)t->size + JOURNAL_WINDOW_BYTES);
    rc = copy_records(r, t, &c);
    buf_done(&c.buf);
    if (!rc)
        rc = journal_segment_publish(j, c.id, c.file);
    if (rc) {
        os_file_close(c.file);
        return rc;
    }
    seg = mem_zalloc(sizeof *seg);
    seg->e = (struct segment_live_entry){
        .id = c.id, .open = true, .first_seq = mark + 1, .last_seq = last, .end = c.at};
    seg->file = c.file;
    seg->readers = 1;
    j->files_open++;
    j->next_id++;
    j->current = seg;
    j->current_limit = bytes;
    return BRANT_OK;
}

/* The newest segment: finds the mark, and copies what lies behind it. */
static int recover_tail(struct recovery *r, const struct found *f)
{
    struct journal_recovery *report = r->report;
    uint64_t mark, last, end;
    struct tail t;
    int rc = open_tail(r, f, &t);

    if (rc)
        return rc;
    rc = scan_tail(&t, &mark, &last, &report->torn_bytes);
    if (!rc)
        rc = close_tail(r, f, &t, mark, &end);
    if (!rc && last > mark && copy_tail(r, &t, mark, last, end)) {
        report->read_only = true;
        last = mark;
    }
    os_file_close(t.file);
    if (rc)
        return rc;
    if (f->readable && t.size < f->header.bytes)
        report->truncated_bytes = f->header.bytes - t.size;
    report->durable_seq = mark;
    report->last_seq = last;
    return BRANT_OK;
}

/* An older segment that the list does not call closed: a later one begins at `next_first`. */
static int recover_superseded(struct recovery *r, const struct found *f, uint64_t next_first)
{
    struct tail t;
    uint64_t end;
    int rc = open_tail(r, f, &t);

    if (rc)
        return rc;
    rc = close_tail(r, f, &t, next_first - 1, &end);
    os_file_close(t.file);
    return rc;
}

static int build_table(struct recovery *r)
{
    uint64_t last = r->have_live ? r->live.next_seq - 1 : 0;
    int rc = BRANT_OK;

    r->report->durable_seq = r->report->last_seq = last;
    for (size_t i = 0; !rc && i < r->count; i++) {
        const struct found *f = &r->found[i], *next = NULL;

        if (!is_live(r, f))
            continue;
        if (!f->entry.open) {
            add_segment(r, &f->entry);
            continue;
        }
        for (size_t k = i + 1; !next && k < r->count; k++) {
            if (is_live(r, &r->found[k]))
                next = &r->found[k];
        }
        rc = next ? recover_superseded(r, f, next->entry.first_seq) : recover_tail(r, f);
    }
    return rc;
}

/* What cannot be read and was never listed is kept under another name, for people to look at. */
static int remove_file(struct recovery *r, const struct found *f, const char *path)
{
    char bad[JOURNAL_PATH_SIZE];

    if (f->readable || f->listed || (r->have_live && f->id < r->live.next_id))
        return os_fs_unlink(r->j->fs, path);
    (void)snprintf(bad, sizeof bad, JOURNAL_DIR "/%08x.bad", f->id);
    return os_fs_rename(r->j->fs, path, bad);
}

/* Files that no longer mean anything. Only after the list without them is durable. */
static int remove_leftovers(struct recovery *r)
{
    struct journal *j = r->j;
    bool removed = false;

    for (size_t i = 0; i < r->count; i++) {
        char path[JOURNAL_PATH_SIZE];
        bool in_table = false;

        for (size_t k = 0; k < j->seg_count; k++)
            in_table |= j->segs[k]->e.id == r->found[i].id;
        if (in_table)
            continue;
        journal_path(r->found[i].id, path);
        if (remove_file(r, &r->found[i], path))
            return BRANT_EIO;
        removed = true;
    }
    if (os_fs_unlink(j->fs, JOURNAL_NEW) == BRANT_OK)
        removed = true;
    return removed && os_fs_sync_dir(j->fs, JOURNAL_DIR) ? BRANT_EIO : BRANT_OK;
}

/* A spare that was not made whole, or for another size, is made anew. */
static void check_spare(struct journal *j)
{
    struct os_file *file;
    uint64_t size = 0;

    if (os_fs_open(j->fs, JOURNAL_SPARE, OS_OPEN_READ, &file))
        return;
    j->have_spare = os_file_size(file, &size) == BRANT_OK && size == j->config.segment_bytes;
    os_file_close(file);
}

/* The copy that won may be in the page cache only. The same bytes again, synced, make it certain before the
 * other copy is overwritten. */
static int rewrite_live(struct recovery *r)
{
    size_t bytes = SEGMENT_LIVE_HEADER_BYTES + (size_t)r->live.count * SEGMENT_LIVE_ENTRY_BYTES;

    if (!r->have_live)
        return BRANT_OK;
    return journal_live_write_copy(r->j, r->live_copy, span_make(r->live_bytes, bytes));
}

/* Writes the list, then cleans up. Failures leave a journal that can be read but not written. */
static int settle(struct recovery *r)
{
    struct journal *j = r->j;
    int rc;

    if (r->report->read_only)
        return BRANT_EIO;
    rc = rewrite_live(r);
    if (!rc)
        rc = journal_live_write(j, NULL, j->current);
    if (!rc)
        rc = remove_leftovers(r);
    if (!rc)
        rc = journal_spare_fill(j);
    return rc;
}

static void finish(struct recovery *r)
{
    struct journal *j = r->j;
    struct journal_recovery *report = r->report;

    j->durable_seq = report->durable_seq;
    if (settle(r)) {
        report->read_only = true;
        report->last_seq = report->durable_seq;
        if (j->current) {
            os_file_close(j->current->file);
            free(j->current);
            j->files_open--;
            j->current = NULL;
        }
    }
    if (j->current)
        journal_seg_add(j, j->current);
    j->durable_seq = j->last_seq = report->last_seq;
    j->read_only = report->read_only;
    atomic_store(&j->dead, false); /* read-only says it all: nothing will be written */
}

int journal_recover(struct journal *j, struct journal_recovery *ret)
{
    struct recovery r = {.j = j, .report = ret};
    int rc;

    rc = read_live(&r);
    if (!rc)
        rc = list_segments(&r);
    if (!rc && !r.have_live && !r.count)
        ret->damaged_lists = 0; /* a new store */
    if (!rc)
        rc = adopt_store_id(&r);
    if (!rc)
        rc = match_list(&r);
    if (!rc) {
        j->generation = r.live.generation;
        j->live_newest = r.live_copy;
        j->next_id = r.have_live && r.live.next_id > r.id_max ? r.live.next_id : r.id_max + 1;
        check_spare(j);
        rc = build_table(&r);
    }
    if (!rc)
        finish(&r);
    free(r.found);
    free(r.live_bytes);
    return rc;
}
