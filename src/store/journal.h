/* The journal: segment files of checksummed records, append-only (docs/disk.md has the format).
 *
 * One thread appends (the writer); any thread may read what is durable. A record is durable, and may be
 * acknowledged, applied or shown, only after the journal_sync that follows its append answered BRANT_OK.
 * After the first failed write or sync the journal is dead: every later append and sync answers BRANT_EIO
 * and the process has to end; nothing is ever appended behind bytes of unknown state. */
#ifndef STORE_JOURNAL_H
#define STORE_JOURNAL_H

#include "base/buf.h"
#include "os/fs.h"

struct journal;

struct journal_config {
    uint64_t segment_bytes;    /* a segment is closed when the next batch would pass this */
    uint32_t record_bytes_max; /* payload maximum of one record */
    bool accept_missing;       /* open although a whole segment is missing; what it held is lost */
};

/* Where a payload, or a part of it, lies. */
struct journal_place {
    uint32_t segment;
    uint32_t length;
    uint64_t offset; /* from the start of the segment file */
};

struct journal_record {
    uint64_t seq;  /* 1, 2, 3 … without gaps, in order over all segments */
    uint16_t type; /* store/record.h; 0 is the journal's own */
    uint16_t version;
    struct span payload;        /* valid until the next call on the iterator */
    struct journal_place place; /* of the payload */
};

/* What recovery found; shown in the log and by `brant store check`. When the newest segment itself was
 * replaced or cut off, acknowledged records at its end can be lost without a trace in the journal: compare
 * last_seq with the place that the index has reached. */
struct journal_recovery {
    uint64_t last_seq;        /* of the last valid record */
    uint64_t durable_seq;     /* the durable mark found: synced for certain before the restart */
    uint64_t records_copied;  /* records behind the mark that were copied into a new segment and synced */
    uint64_t torn_bytes;      /* a torn tail that was cut */
    uint64_t truncated_bytes; /* by which the file of the tail is too short: no crash does that */
    uint32_t damaged_records; /* bad records with valid ones behind them: isolated, their seq numbers are
                                 missing */
    uint64_t damaged_first_seq;
    uint32_t damaged_behind_mark; /* of these: torn in the last batch perhaps, and then never acknowledged */
    uint32_t damaged_headers;     /* segment headers; their records are intact */
    uint32_t damaged_lists;       /* copies of the list of segments; one is usual after a crash */
    uint32_t missing_segments;
    uint32_t missing_segment; /* the id of one of them */
    bool read_only;           /* the new segment could not be synced: appends answer BRANT_EIO */
};

/* Opens "journal/" under fs (made when missing) and recovers (DESIGN §4 rule 5). Appends go to a fresh
 * segment, made by recovery or by the first append. BRANT_ECORRUPT when a segment is missing (*ret_recovery
 * names it), BRANT_EUNSUPPORTED for a newer format, BRANT_EIO. *ret_recovery is filled in either way. Only
 * what lies behind the durable mark is read here: damage elsewhere is found by who reads it. */
int journal_open(struct os_fs *fs, const struct journal_config *config, struct journal **ret,
                 struct journal_recovery *ret_recovery);
void journal_free(struct journal *j);

/* Adds one record, made of pieces, to the batch in memory. The batch starts with the first append after a
 * sync; where it would not fit into the open segment any more, what waits is synced first. Gives the record's
 * number and the place its payload will have (pieces are contiguous there). BRANT_ELIMIT: over
 * record_bytes_max. BRANT_ENOSPACE: no room for a new segment (the batch stays as it was); with use_reserve
 * the preallocated spare segment may be used, so deletes work at 0 bytes free. BRANT_EIO: dead. */
int journal_append(struct journal *j, uint16_t type, uint16_t version, const struct span *pieces,
                   size_t count, bool use_reserve, uint64_t *ret_seq, struct journal_place *ret_place);

/* Writes the batch and waits until it is durable. Nothing to do is BRANT_OK. BRANT_EIO: dead from here on. */
int journal_sync(struct journal *j);

uint64_t journal_last_seq(const struct journal *j);    /* last appended, synced or not */
uint64_t journal_durable_seq(const struct journal *j); /* last durable */
/* Random, made with the first segment, the same for the life of the store; nobody outside knows it. */
void journal_store_id(const struct journal *j, uint8_t ret[16]);

/* Reads a part of a durable payload; any thread. BRANT_ENOTFOUND: the segment is gone (compacted): the caller
 * looks the place up again. BRANT_EIO, BRANT_ECORRUPT (outside the segment). The bytes are not verified here:
 * journal_verify does, for a whole record. */
int journal_read(struct journal *j, const struct journal_place *place, void *data);
/* Reads the whole record around a payload place and checks its checksum: BRANT_ECORRUPT when it is damaged.
 */
int journal_verify(struct journal *j, const struct journal_place *payload);

/* Iterates over durable records in order, from the record with number from_seq (or the first behind it). */
struct journal_iter;
int journal_iterate(struct journal *j, uint64_t from_seq, struct journal_iter **ret);
/* BRANT_OK, BRANT_ENOTFOUND at the end, BRANT_ECORRUPT for a damaged place (the next call goes on behind it),
 * BRANT_EIO. */
int journal_iter_next(struct journal_iter *it, struct journal_record *ret);
/* After BRANT_ECORRUPT: the numbers of the records that are lost. */
void journal_iter_lost(const struct journal_iter *it, uint64_t *ret_first, uint64_t *ret_last);
void journal_iter_free(struct journal_iter *it);

struct journal_segment {
    uint32_t id;
    uint64_t first_seq, last_seq; /* last_seq < first_seq: no records */
    uint64_t bytes;               /* used */
    bool open;                    /* appended to now; never retired */
};
/* Segments in order of id; the count, at most max are written. */
size_t journal_segments(struct journal *j, struct journal_segment *ret, size_t max);
/* Forgets and deletes a closed segment, and makes that durable. Only after everything it held has been
 * emitted again, synced, applied and checkpointed (rule 7). Readers inside it finish first. */
int journal_retire(struct journal *j, uint32_t segment);
/* Closes the open segment, so that it can be compacted; the next append starts a new one. Also good before
 * journal_free at a clean end: the next opening has nothing to copy then. Syncs a waiting batch first. */
int journal_roll(struct journal *j);

/* A lease against journal_retire, for backups: while any is held nothing is retired (BRANT_ETRYLATER). */
void journal_lease_take(struct journal *j);
void journal_lease_drop(struct journal *j);

#endif
