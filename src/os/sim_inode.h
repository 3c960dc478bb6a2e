/* The files of the simulated disk: what the cache holds, what the disk holds, and the changes between. */
#ifndef OS_SIM_INODE_H
#define OS_SIM_INODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A change of a file that is not on the disk yet. */
struct sim_change {
    bool resize;
    uint64_t offset; /* or the new size */
    size_t len;
    uint8_t *data;
};

struct sim_content {
    uint8_t *data;
    uint64_t size;
    uint64_t cap;
};

struct sim_inode {
    struct sim_inode *next;
    bool is_dir;
    bool marked; /* by collect_garbage */
    unsigned handles;
    struct sim_content cache, disk;
    struct sim_change *changes;
    size_t change_count;
};

uint64_t sim_mix(uint64_t x); /* splitmix64: a well-mixed function of x */

void sim_content_resize(struct sim_content *c, uint64_t size); /* new bytes are zeros */
void sim_content_write(struct sim_content *c, uint64_t offset, const uint8_t *data, size_t len);

void sim_inode_change(struct sim_inode *inode, struct sim_change change); /* takes over change.data */
void sim_inode_sync(struct sim_inode *inode);
/* Some of what was not synced reaches the disk, by chance; the rest is forgotten. The cache stays. */
void sim_inode_settle(struct sim_inode *inode, uint64_t seed);
void sim_inode_free(struct sim_inode *inode);

#endif
