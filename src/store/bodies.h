/* Large bodies: one file each, outside the journal (docs/disk.md "Large bodies").
 *
 * Bytes stream into "staging/", with a checksum for every block of 64 KiB. body_finish makes the file durable
 * as "bodies/ID" and gives the reference that goes into a journal record: only that record makes the body
 * part of the store. A body never changes. Whoever finished a body whose record was not committed unlinks it.
 *
 * Calls on different writers and readers may run in different threads; one writer or reader belongs to one
 * thread at a time. After a failed sync every later body_finish answers BRANT_EIO: the process has to end. */
#ifndef STORE_BODIES_H
#define STORE_BODIES_H

#include "os/fs.h"

enum {
    BODY_ID_BYTES = 16,
    BODY_BLOCK_BYTES = 65536,
};

struct bodies;
struct body_writer;
struct body_reader;

struct bodies_config {
    uint64_t source_staged_bytes_max; /* that one source may have in staging at a time */
    uint64_t staged_bytes_max;        /* all sources together */
    uint64_t body_bytes_max;
};

/* What a journal record keeps. */
struct body_ref {
    uint8_t id[BODY_ID_BYTES];
    uint64_t length;
    uint64_t root; /* checksum over the block checksums and the length */
};

/* Makes the directories, removes what a former process left in "staging/", and remembers which bodies are
 * there. BRANT_EIO, BRANT_ENOSPACE. */
int bodies_open(struct os_fs *fs, const struct bodies_config *config, struct bodies **ret);
void bodies_free(struct bodies *b); /* after all its writers and readers */

/* The bodies that were there when bodies_open was called, one per call, in no order; BRANT_ENOTFOUND at the
 * end. For the removal of those that nothing refers to, once journal and index are known. */
int bodies_next_old(struct bodies *b, uint8_t *ret_id);
/* BRANT_ENOTFOUND when it is gone already. Readers that have it open go on. Not synced: a body that comes
 * back after a crash is found by bodies_next_old. */
int bodies_unlink(struct bodies *b, const uint8_t *id);

/* Starts a body. `source` names who it is counted against: any number the caller makes of an address. */
int bodies_stage(struct bodies *b, uint64_t source, struct body_writer **ret);
/* BRANT_ELIMIT: the source has too much in staging, or the body is too long. BRANT_ETRYLATER: all sources
 * together have. BRANT_ENOSPACE, BRANT_EIO. After any of these only body_abort makes sense. */
int body_append(struct body_writer *w, struct span bytes);
/* Ends the writer in every case; on failure nothing is left. BRANT_ENOSPACE, BRANT_EIO. */
int body_finish(struct body_writer *w, struct body_ref *ret);
void body_abort(struct body_writer *w); /* NULL is allowed; leaves nothing */

/* Counters, for limits decided by the caller and for status. */
uint64_t bodies_staged_bytes(struct bodies *b);
uint64_t bodies_source_staged_bytes(struct bodies *b, uint64_t source);

/* BRANT_ENOTFOUND; BRANT_ECORRUPT: the file is not what the reference says (length, root). BRANT_EIO. */
int body_open(struct bodies *b, const struct body_ref *ref, struct body_reader **ret);
void body_close(struct body_reader *r);
/* Every block that is touched is verified. BRANT_ECORRUPT: damaged block, or outside the body. BRANT_EIO. */
int body_read(struct body_reader *r, uint64_t offset, void *data, size_t len);
/* Reads and verifies all of a file, the parts included that reading does not need. BRANT_OK, BRANT_ENOTFOUND,
 * BRANT_ECORRUPT, BRANT_EIO. */
int bodies_check(struct bodies *b, const struct body_ref *ref);

#endif
