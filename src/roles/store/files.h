/* Small files beside the journal: read whole, replaced whole. */
#ifndef ROLES_STORE_FILES_H
#define ROLES_STORE_FILES_H

#include "base/buf.h"
#include "os/fs.h"

enum { FILES_SECRET_BYTES = 32 };

/* Appends what is in it. BRANT_ENOTFOUND; BRANT_ELIMIT: more than the buffer takes; others as os_fs_open. */
int files_read(struct os_fs *fs, const char *path, struct buf *out);
/* Makes or replaces it. `durable`: it is on the disk when this returns; otherwise a crash may leave the old
 * one, the new one, or one that is cut short. */
int files_write(struct os_fs *fs, const char *path, struct span bytes, bool durable);

/* The secret of this store, the file `secret`: made once, then always the same. On failure (as files_write)
 * ret is random, and as good until the process ends. */
int files_secret(struct os_fs *fs, uint8_t ret[FILES_SECRET_BYTES]);

#endif
