/* What the files journal*.c share. */
#ifndef STORE_JOURNAL_INTERNAL_H
#define STORE_JOURNAL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/journal.h"
#include "store/journal_segment.h"

#define JOURNAL_DIR       "journal"
#define JOURNAL_SPARE     "journal/spare"
#define JOURNAL_NEW       "journal/new"
#define JOURNAL_PATH_SIZE 32

enum {
    JOURNAL_OPEN_FILES_MAX = 128, /* segments nobody reads are closed above this */
    JOURNAL_LIVE_BYTES = 65536,   /* space kept for each copy of the list, grows in such steps */
    JOURNAL_WINDOW_BYTES = 262144,
};

/* A closed segment never changes; the open one grows under journal.lock. */
struct journal_seg {
    struct segment_live_entry e; /* of the open one: last_seq and end are what is durable */
    unsigned readers;
    bool gone;            /* retired: freed by the last reader */
    struct os_file *file; /* opened when first read; NULL before */
    uint64_t used;        /* tick of the last use */
};

struct journal {
    struct os_fs *fs; /* borrowed */
    struct journal_config config;
    uint8_t store_id[SEGMENT_STORE_ID_BYTES];
    atomic_bool dead;
    bool read_only;

    /* Order: meta, then lock. meta: the list of live segments on disk, creating and retiring. */
    pthread_mutex_t meta;
    uint64_t generation;
    uint32_t next_id;
    uint64_t live_bytes; /* allocated for each copy of the list; 0: not opened yet */
    struct os_file *live[2];
    unsigned live_newest; /* the copy that is overwritten last */
    bool have_spare;
    unsigned leases;

    /* lock: the table of segments and everything that says what is durable. */
    pthread_mutex_t lock;
    struct journal_seg **segs; /* by id, which is also the order of their records */
    size_t seg_count;
    uint64_t tick;
    size_t files_open;
    _Atomic uint64_t durable_seq; /* written under lock, read without */

    /* The writer's own. */
    struct journal_seg *current; /* NULL: the next append makes one */
    uint64_t current_limit;      /* bytes allocated */
    struct buf batch;
    uint64_t last_seq;
};

/* journal_scan.c: records in the bytes of one segment file, from the front, by forward search over damage. */
struct journal_scan {
    struct os_file *file; /* borrowed */
    struct segment_key key;
    uint64_t pos;
    uint64_t end; /* nothing is looked at from here on */
    uint64_t next_seq;
    uint8_t *window; /* owned: bytes [window_at, window_at + window_len) of the file */
    size_t window_size;
    uint64_t window_at;
    size_t window_len;
};

enum journal_scan_kind {
    JOURNAL_SCAN_RECORD,
    JOURNAL_SCAN_DAMAGE, /* a valid record follows */
    JOURNAL_SCAN_END,
};

struct journal_scan_item {
    enum journal_scan_kind kind;
    struct segment_record record; /* RECORD */
    struct span payload;          /* RECORD: valid until the next call */
    uint64_t offset;              /* of the record, the damage, or the end */
    uint64_t first_seq, last_seq; /* DAMAGE: the lost ones; last < first: none */
    uint64_t torn_bytes;          /* END: bytes behind that are not zero */
};

void journal_scan_init(struct journal_scan *scan, struct os_file *file, struct segment_key key,
                       uint64_t first_seq, uint64_t end);
void journal_scan_done(struct journal_scan *scan);
/* BRANT_OK or BRANT_EIO. After END every call gives END. */
int journal_scan_next(struct journal_scan *scan, struct journal_scan_item *ret);

/* journal_live.c: the list of live segments, and the making of segments. */
void journal_path(uint32_t id, char *ret); /* JOURNAL_PATH_SIZE bytes */
const char *journal_live_path(unsigned copy);
/* Sees that a list of so many segments will fit without asking for space again. BRANT_ENOSPACE, or BRANT_EIO
 * and the journal is dead. */
int journal_live_reserve(struct journal *j, size_t segments);
/* Overwrites one copy of the list and syncs it. BRANT_ENOSPACE, or BRANT_EIO and the journal is dead. */
int journal_live_write_copy(struct journal *j, unsigned copy, struct span bytes);
/* Writes the table of segments as the list, both copies; meta held. Leaves out `without` (NULL: none).
 * Adds `with` (NULL: none) as the open one. As journal_live_reserve. */
int journal_live_write(struct journal *j, const struct journal_seg *without, const struct journal_seg *with);
/* A file for a new segment under its temporary name, with `bytes` allocated and the header written, not
 * synced. BRANT_ENOSPACE, BRANT_EIO. */
int journal_segment_prepare(struct journal *j, uint32_t id, uint64_t first_seq, uint64_t bytes,
                            bool use_reserve, struct os_file **ret);
/* Makes the prepared file durable under its own name. */
int journal_segment_publish(struct journal *j, uint32_t id, struct os_file *file);
/* Makes the spare segment if it is missing and there is space; meta held. BRANT_EIO kills the journal. */
int journal_spare_fill(struct journal *j);
/* Marks the journal dead and answers BRANT_EIO. */
int journal_die(struct journal *j);

/* journal_recover.c */
int journal_recover(struct journal *j, struct journal_recovery *ret);

/* journal_read.c. The segment with its file open, held until released. BRANT_ENOTFOUND, BRANT_EIO. */
int journal_seg_hold(struct journal *j, uint32_t id, struct journal_seg **ret);
void journal_seg_release(struct journal *j, struct journal_seg *seg);
void journal_seg_add(struct journal *j, struct journal_seg *seg);  /* behind all others; lock held or alone */
void journal_seg_drop(struct journal *j, struct journal_seg *seg); /* out of the table; lock held */

#endif
