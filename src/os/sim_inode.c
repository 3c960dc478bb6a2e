#include "os/sim_inode.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define SECTOR 512u

/* splitmix64 */
uint64_t sim_mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

void sim_content_resize(struct sim_content *c, uint64_t size)
{
    if (size > c->cap) {
        uint64_t cap = c->cap * 2 > size ? c->cap * 2 : size;

        c->data = mem_realloc(c->data, (size_t)cap);
        c->cap = cap;
    }
    if (size > c->size)
        memset(c->data + c->size, 0, (size_t)(size - c->size));
    c->size = size;
}

void sim_content_write(struct sim_content *c, uint64_t offset, const uint8_t *data, size_t len)
{
    if (!len)
        return;
    if (offset + len > c->size)
        sim_content_resize(c, offset + len);
    memcpy(c->data + offset, data, len);
}

static void content_apply(struct sim_content *c, const struct sim_change *change)
{
    if (change->resize)
        sim_content_resize(c, change->offset);
    else
        sim_content_write(c, change->offset, change->data, change->len);
}

static void forget_changes(struct sim_inode *inode)
{
    for (size_t i = 0; i < inode->change_count; i++)
        free(inode->changes[i].data);
    free(inode->changes);
    inode->changes = NULL;
    inode->change_count = 0;
}

void sim_inode_change(struct sim_inode *inode, struct sim_change change)
{
    content_apply(&inode->cache, &change);
    inode->changes = mem_regrow(inode->changes, inode->change_count + 1, sizeof *inode->changes);
    inode->changes[inode->change_count++] = change;
}

void sim_inode_sync(struct sim_inode *inode)
{
    for (size_t i = 0; i < inode->change_count; i++)
        content_apply(&inode->disk, &inode->changes[i]);
    forget_changes(inode);
}

/* How many of the changes a sector has seen, by its number. Whole files survive or not as often as parts. */
struct survival {
    uint64_t seed;
    unsigned mode; /* 0: nothing, 1: everything, 2 and 3: by sector */
    size_t count;
};

static bool survives(const struct survival *s, uint64_t sector, size_t change)
{
    if (s->mode < 2)
        return s->mode;
    return change < sim_mix(s->seed ^ sim_mix(sector)) % (s->count + 1);
}

static void survive_write(struct sim_content *c, const struct sim_change *change, const struct survival *s,
                          size_t i)
{
    uint64_t at = change->offset, end = change->offset + change->len;

    while (at < end) {
        uint64_t next = (at / SECTOR + 1) * SECTOR;

        if (next > end)
            next = end;
        if (survives(s, at / SECTOR, i))
            sim_content_write(c, at, change->data + (at - change->offset), (size_t)(next - at));
        at = next;
    }
}

static void survive_shrink(struct sim_content *c, uint64_t size, const struct survival *s, size_t i)
{
    for (uint64_t at = size; at < c->size;) {
        uint64_t next = (at / SECTOR + 1) * SECTOR;

        if (next > c->size)
            next = c->size;
        if (survives(s, at / SECTOR, i))
            memset(c->data + at, 0, (size_t)(next - at));
        at = next;
    }
}

static uint64_t size_after(const struct sim_change *change, uint64_t size)
{
    if (change->resize)
        return change->offset;
    return change->len && change->offset + change->len > size ? change->offset + change->len : size;
}

void sim_inode_settle(struct sim_inode *inode, uint64_t seed)
{
    struct survival s = {seed, (unsigned)(seed % 4), inode->change_count};
    size_t sizes = s.mode == 0 ? 0 : s.mode == 1 ? s.count : (size_t)(sim_mix(seed) % (s.count + 1));
    uint64_t size = inode->disk.size;

    for (size_t i = 0; i < s.count; i++) {
        const struct sim_change *change = &inode->changes[i];

        if (i < sizes)
            size = size_after(change, size);
        if (change->resize)
            survive_shrink(&inode->disk, change->offset, &s, i);
        else
            survive_write(&inode->disk, change, &s, i);
    }
    sim_content_resize(&inode->disk, size);
    forget_changes(inode);
}

void sim_inode_free(struct sim_inode *inode)
{
    forget_changes(inode);
    free(inode->cache.data);
    free(inode->disk.data);
    free(inode);
}
