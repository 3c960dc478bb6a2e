/* A disk in memory, for tests: os/fs.h with crashes and faults, the same for the same seed.
 *
 * What a call has written is seen by later reads at once, as in a page cache. It is on the disk only after
 * the sync that covers it: os_file_sync for bytes and size, os_fs_sync_dir for names. At a power cut every
 * sector of 512 bytes that is not synced keeps one of the contents it had since its last sync, independently
 * of the others; so does a file's size; every change of a name that is not synced happens or does not, but a
 * rename is never half done and a change never happens without an earlier one that it builds on. A sync that
 * fails writes some sectors and forgets the others, as kernels do: they stay readable, and are lost at the
 * next power cut whatever is synced later.
 *
 * Calls that change something are counted ("operations"); a crash point is the number of one of them. Seeded
 * chance says whether that one still takes effect. From then on every call answers BRANT_EIO until a restart;
 * files opened and file systems mounted before a restart stay dead. */
#ifndef OS_SIM_DISK_H
#define OS_SIM_DISK_H

#include "os/fs.h"

struct sim_disk;

struct sim_disk_config {
    uint64_t seed;
    uint64_t capacity_bytes; /* 0: endless */
};

struct sim_disk *sim_disk_new(const struct sim_disk_config *config);
/* After everything that was opened on it is closed. */
void sim_disk_free(struct sim_disk *d);

/* The disk's file system as it is after the last restart; freed by os_fs_free. */
struct os_fs *sim_disk_mount(struct sim_disk *d);

uint64_t sim_disk_operations(struct sim_disk *d); /* so far */
/* The operation with this number (counted from 1 on) is the last; 0: none is. */
void sim_disk_crash_at(struct sim_disk *d, uint64_t operation);
bool sim_disk_crashed(struct sim_disk *d);

void sim_disk_power_cut(struct sim_disk *d);    /* and start again: what was not synced may be lost */
void sim_disk_process_kill(struct sim_disk *d); /* and start again: nothing is lost, nothing becomes synced */

enum sim_disk_fault {
    SIM_DISK_SYNC,  /* os_file_sync and os_fs_sync_dir answer BRANT_EIO */
    SIM_DISK_WRITE, /* a part is written, the answer is BRANT_EIO */
    SIM_DISK_READ,
    SIM_DISK_CREATE, /* BRANT_ENOSPACE: no inodes */
    SIM_DISK_FAULTS,
};
/* The n-th such call from now on fails (1: the next one); 0 takes it back. */
void sim_disk_fail(struct sim_disk *d, enum sim_disk_fault fault, uint64_t n);

void sim_disk_set_capacity(struct sim_disk *d, uint64_t capacity_bytes);
uint64_t sim_disk_used(struct sim_disk *d);

/* Damage: changes bytes in cache and on disk alike. BRANT_ENOTFOUND; outside of the file BRANT_ECORRUPT. */
int sim_disk_poke(struct sim_disk *d, const char *path, uint64_t offset, struct span bytes);
int sim_disk_peek(struct sim_disk *d, const char *path, uint64_t offset, void *data, size_t len);
int sim_disk_file_size(struct sim_disk *d, const char *path, uint64_t *ret);
int sim_disk_resize(struct sim_disk *d, const char *path, uint64_t size);

#endif
