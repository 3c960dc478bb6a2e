#include "os/sim_disk.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "os/fs_ops.h"
#include "os/sim_inode.h"
#include "os/sim_sqlite.h"

#define BLOCK          4096u
#define FILE_BYTES_MAX ((uint64_t)1 << 32)

struct name {
    char *path;
    struct sim_inode *inode;
};

struct names {
    struct name *list;
    size_t count;
};

enum name_change_kind { NAME_LINK, NAME_UNLINK, NAME_RENAME };

struct name_change {
    enum name_change_kind kind;
    char *path, *to; /* to: of a rename */
    struct sim_inode *inode;
    bool mark;
};

struct sim_disk {
    struct sim_disk_config config;
    pthread_mutex_t lock;
    uint64_t random;
    uint64_t operations, crash_at;
    bool crashed;
    uint64_t epoch; /* of the last restart */
    bool locked;
    uint64_t faults[SIM_DISK_FAULTS];
    struct sim_inode *inodes;
    struct names cache, disk;
    struct name_change *changes;
    size_t change_count;
    struct sim_sqlite *sqlite;
};

struct sim_fs {
    struct os_fs base;
    struct sim_disk *d;
    uint64_t epoch;
    bool has_lock;
};

struct sim_file {
    struct os_file base;
    struct sim_disk *d;
    uint64_t epoch;
    struct sim_inode *inode;
};

static const struct os_file_ops file_ops;
static const struct os_fs_ops fs_ops;

static uint64_t next_random(struct sim_disk *d, uint64_t below)
{
    d->random = sim_mix(d->random);
    return d->random % below;
}

/* Names. */

static struct name *names_find(const struct names *names, const char *path)
{
    for (size_t i = 0; i < names->count; i++) {
        if (!strcmp(names->list[i].path, path))
            return &names->list[i];
    }
    return NULL;
}

static void names_remove(struct names *names, const char *path)
{
    struct name *name = names_find(names, path);

    if (!name)
        return;
    free(name->path);
    *name = names->list[--names->count];
}

static void names_set(struct names *names, const char *path, struct sim_inode *inode)
{
    struct name *name = names_find(names, path);

    if (name) {
        name->inode = inode;
        return;
    }
    names->list = mem_regrow(names->list, names->count + 1, sizeof *names->list);
    names->list[names->count++] = (struct name){mem_strdup(path), inode};
}

static void names_clear(struct names *names)
{
    while (names->count)
        free(names->list[--names->count].path);
    free(names->list);
    names->list = NULL;
}

static void names_apply(struct names *names, const struct name_change *change)
{
    if (change->kind == NAME_LINK) {
        names_set(names, change->path, change->inode);
        return;
    }
    names_remove(names, change->path);
    if (change->kind == NAME_RENAME)
        names_set(names, change->to, change->inode);
}

static void add_name_change(struct sim_disk *d, enum name_change_kind kind, const char *path, const char *to,
                            struct sim_inode *inode)
{
    struct name_change change = {kind, mem_strdup(path), to ? mem_strdup(to) : NULL, inode, false};

    names_apply(&d->cache, &change);
    d->changes = mem_regrow(d->changes, d->change_count + 1, sizeof *d->changes);
    d->changes[d->change_count++] = change;
}

static bool is_parent(const char *dir, const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;

    if (!path)
        return false;
    if (!slash)
        return !strcmp(dir, ".");
    return strlen(dir) == (size_t)(slash - path) && !memcmp(dir, path, strlen(dir));
}

static bool same(const char *a, const char *b)
{
    return a && b && !strcmp(a, b);
}

/* Does `later` need `earlier` to have happened? */
static bool builds_on(const struct name_change *later, const struct name_change *earlier)
{
    if (same(later->path, earlier->path) || same(later->path, earlier->to) ||
        same(later->to, earlier->path) || same(later->to, earlier->to))
        return true;
    return earlier->kind == NAME_LINK && earlier->inode->is_dir &&
           (is_parent(earlier->path, later->path) || is_parent(earlier->path, later->to));
}

/* Makes the marked changes of names durable and forgets them; with drop_rest, the others too. */
static void settle_names(struct sim_disk *d, bool drop_rest)
{
    size_t kept = 0;

    for (size_t i = 0; i < d->change_count; i++) {
        struct name_change *change = &d->changes[i];

        if (change->mark)
            names_apply(&d->disk, change);
        if (change->mark || drop_rest) {
            free(change->path);
            free(change->to);
        } else {
            d->changes[kept++] = *change;
        }
    }
    d->change_count = kept;
}

static void sync_names(struct sim_disk *d, const char *dir)
{
    for (size_t i = d->change_count; i-- > 0;) {
        struct name_change *change = &d->changes[i];

        change->mark = is_parent(dir, change->path) || is_parent(dir, change->to);
        for (size_t k = i + 1; !change->mark && k < d->change_count; k++)
            change->mark = d->changes[k].mark && builds_on(&d->changes[k], change);
    }
    settle_names(d, false);
}

/* For a power cut: chance decides, but nothing happens without what it builds on. */
static void survive_names(struct sim_disk *d)
{
    unsigned mode = (unsigned)next_random(d, 4);

    for (size_t i = 0; i < d->change_count; i++) {
        struct name_change *change = &d->changes[i];

        change->mark = mode == 1 || (mode > 1 && next_random(d, 2));
        for (size_t k = 0; change->mark && k < i; k++)
            change->mark = d->changes[k].mark || !builds_on(change, &d->changes[k]);
    }
    settle_names(d, true);
}

static void mark_names(const struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        names->list[i].inode->marked = true;
}

static void collect_garbage(struct sim_disk *d)
{
    for (struct sim_inode *inode = d->inodes; inode; inode = inode->next)
        inode->marked = inode->handles > 0;
    mark_names(&d->cache);
    mark_names(&d->disk);
    for (size_t i = 0; i < d->change_count; i++) {
        if (d->changes[i].inode)
            d->changes[i].inode->marked = true;
    }
    for (struct sim_inode **at = &d->inodes; *at;) {
        struct sim_inode *inode = *at;

        if (inode->marked) {
            at = &inode->next;
            continue;
        }
        *at = inode->next;
        sim_inode_free(inode);
    }
}

static struct sim_inode *make_inode(struct sim_disk *d, bool is_dir)
{
    struct sim_inode *inode = mem_zalloc(sizeof *inode);

    inode->is_dir = is_dir;
    inode->next = d->inodes;
    d->inodes = inode;
    return inode;
}

/* Space. */

static uint64_t blocks(uint64_t size)
{
    return (size + BLOCK - 1) / BLOCK * BLOCK;
}

static uint64_t used(struct sim_disk *d)
{
    uint64_t bytes = 0;

    for (struct sim_inode *inode = d->inodes; inode; inode = inode->next)
        inode->marked = inode->handles > 0;
    mark_names(&d->cache);
    for (struct sim_inode *inode = d->inodes; inode; inode = inode->next)
        bytes += inode->marked ? blocks(inode->cache.size) : 0;
    return bytes;
}

static bool fits(struct sim_disk *d, const struct sim_inode *inode, uint64_t size)
{
    if (!d->config.capacity_bytes || blocks(size) <= blocks(inode->cache.size))
        return true;
    return used(d) + blocks(size) - blocks(inode->cache.size) <= d->config.capacity_bytes;
}

/* Operations. */

enum step {
    STEP_DO,   /* go on */
    STEP_LAST, /* take effect, then answer BRANT_EIO: the crash */
    STEP_DEAD,
};

static bool alive(const struct sim_disk *d, uint64_t epoch)
{
    return !d->crashed && d->epoch == epoch;
}

static enum step begin(struct sim_disk *d, uint64_t epoch)
{
    if (!alive(d, epoch))
        return STEP_DEAD;
    d->operations++;
    if (!d->crash_at || d->operations < d->crash_at)
        return STEP_DO;
    d->crashed = true;
    return next_random(d, 2) ? STEP_LAST : STEP_DEAD;
}

static bool faulty(struct sim_disk *d, enum sim_disk_fault fault)
{
    return d->faults[fault] && --d->faults[fault] == 0;
}

static int end(struct sim_disk *d, enum step step, int rc)
{
    pthread_mutex_unlock(&d->lock);
    return step == STEP_DO ? rc : os_fs_fail(EIO);
}

static int end_errno(struct sim_disk *d, enum step step, int error)
{
    return end(d, step, error ? os_fs_fail(error) : BRANT_OK);
}

static void file_close(struct os_file *file)
{
    struct sim_file *f = (struct sim_file *)file;

    pthread_mutex_lock(&f->d->lock);
    f->inode->handles--;
    collect_garbage(f->d);
    pthread_mutex_unlock(&f->d->lock);
    free(f);
}

static int file_read(struct os_file *file, uint64_t offset, void *data, size_t len)
{
    struct sim_file *f = (struct sim_file *)file;
    const struct sim_content *c = &f->inode->cache;
    int rc = BRANT_OK;

    pthread_mutex_lock(&f->d->lock);
    if (!alive(f->d, f->epoch) || faulty(f->d, SIM_DISK_READ))
        rc = os_fs_fail(EIO);
    else if (offset > c->size || len > c->size - offset)
        rc = BRANT_ECORRUPT;
    else if (len)
        memcpy(data, c->data + offset, len);
    pthread_mutex_unlock(&f->d->lock);
    return rc;
}

/* The first `len` bytes of the pieces. */
static void write_part(struct sim_inode *inode, uint64_t offset, const struct span *pieces, size_t count,
                       size_t len)
{
    struct sim_change change = {.offset = offset, .len = len, .data = mem_alloc(len)};
    size_t at = 0;

    for (size_t i = 0; i < count && at < len; i++) {
        struct span part = span_sub(pieces[i], 0, len - at);

        if (part.len)
            memcpy(change.data + at, part.p, part.len);
        at += part.len;
    }
    sim_inode_change(inode, change);
}

static int file_write(struct os_file *file, uint64_t offset, const struct span *pieces, size_t count)
{
    struct sim_file *f = (struct sim_file *)file;
    struct sim_disk *d = f->d;
    size_t len = 0;
    enum step step;
    int error = 0;

    for (size_t i = 0; i < count; i++)
        len += pieces[i].len;
    pthread_mutex_lock(&d->lock);
    step = begin(d, f->epoch);
    if (step == STEP_DEAD)
        return end_errno(d, step, EIO);
    if (offset > FILE_BYTES_MAX || len > FILE_BYTES_MAX - offset)
        return end_errno(d, step, EFBIG);
    if (faulty(d, SIM_DISK_WRITE))
        error = EIO;
    else if (!fits(d, f->inode, offset + len))
        error = ENOSPC;
    if (error) /* a short write, as far as there is space */
        len = error == ENOSPC && offset > blocks(f->inode->cache.size) ? 0 : (size_t)next_random(d, len + 1);
    if (error == ENOSPC && offset + len > blocks(f->inode->cache.size))
        len = (size_t)(blocks(f->inode->cache.size) - offset);
    if (len)
        write_part(f->inode, offset, pieces, count, len);
    return end_errno(d, step, error);
}

static int file_sync(struct os_file *file)
{
    struct sim_file *f = (struct sim_file *)file;
    struct sim_disk *d = f->d;
    enum step step;
    int error = 0;

    pthread_mutex_lock(&d->lock);
    step = begin(d, f->epoch);
    if (step != STEP_DEAD) {
        if (faulty(d, SIM_DISK_SYNC)) {
            sim_inode_settle(f->inode, next_random(d, UINT64_MAX)); /* the kernel calls the rest clean */
            error = EIO;
        } else {
            sim_inode_sync(f->inode);
        }
    }
    return end_errno(d, step, error);
}

static int file_size(struct os_file *file, uint64_t *ret)
{
    struct sim_file *f = (struct sim_file *)file;
    int rc = BRANT_OK;

    pthread_mutex_lock(&f->d->lock);
    if (alive(f->d, f->epoch))
        *ret = f->inode->cache.size;
    else
        rc = os_fs_fail(EIO);
    pthread_mutex_unlock(&f->d->lock);
    return rc;
}

static int resize(struct sim_file *f, uint64_t size, bool only_grow)
{
    struct sim_disk *d = f->d;
    enum step step;
    int error = 0;

    pthread_mutex_lock(&d->lock);
    step = begin(d, f->epoch);
    if (step != STEP_DEAD) {
        if (size > FILE_BYTES_MAX)
            error = EFBIG;
        else if (!fits(d, f->inode, size))
            error = ENOSPC;
        else if (size > f->inode->cache.size || (size < f->inode->cache.size && !only_grow))
            sim_inode_change(f->inode, (struct sim_change){.resize = true, .offset = size});
    }
    return end_errno(d, step, error);
}

static int file_truncate(struct os_file *file, uint64_t size)
{
    return resize((struct sim_file *)file, size, false);
}

static int file_allocate(struct os_file *file, uint64_t size)
{
    return resize((struct sim_file *)file, size, true);
}

static void sim_free(struct os_fs *fs)
{
    struct sim_fs *s = (struct sim_fs *)fs;

    pthread_mutex_lock(&s->d->lock);
    if (s->has_lock && s->epoch == s->d->epoch)
        s->d->locked = false;
    pthread_mutex_unlock(&s->d->lock);
    free(s);
}

/* Is the directory that would hold this name there? */
static bool parent_exists(const struct sim_disk *d, const char *path)
{
    if (!strchr(path, '/'))
        return true;
    for (size_t i = 0; i < d->cache.count; i++) {
        if (d->cache.list[i].inode->is_dir && is_parent(d->cache.list[i].path, path))
            return true;
    }
    return false;
}

static int check_create(struct sim_disk *d, const char *path)
{
    if (!parent_exists(d, path))
        return ENOENT;
    return faulty(d, SIM_DISK_CREATE) ? ENOSPC : 0;
}

/* The inode to open, made if that is asked for. */
static int find_inode(struct sim_fs *s, const char *path, unsigned flags, struct sim_inode **ret)
{
    struct sim_disk *d = s->d;
    struct name *name;
    enum step step;
    int error;

    if (!alive(d, s->epoch))
        return EIO;
    name = names_find(&d->cache, path);
    if (name) {
        if (flags & OS_OPEN_EXCLUSIVE)
            return EEXIST;
        *ret = name->inode;
        return name->inode->is_dir ? EMLINK : 0;
    }
    if (!(flags & OS_OPEN_CREATE))
        return ENOENT;
    step = begin(d, s->epoch);
    if (step == STEP_DEAD)
        return EIO;
    error = check_create(d, path);
    if (error)
        return error;
    *ret = make_inode(d, false);
    add_name_change(d, NAME_LINK, path, NULL, *ret);
    return step == STEP_DO ? 0 : EIO;
}

static int sim_open(struct os_fs *fs, const char *path, unsigned flags, struct os_file **ret)
{
    struct sim_fs *s = (struct sim_fs *)fs;
    struct sim_inode *inode = NULL;
    struct sim_file *f;
    int error;

    pthread_mutex_lock(&s->d->lock);
    error = find_inode(s, path, flags, &inode);
    if (!error)
        inode->handles++;
    pthread_mutex_unlock(&s->d->lock);
    if (error)
        return os_fs_fail(error);
    f = mem_zalloc(sizeof *f);
    *f = (struct sim_file){{&file_ops}, s->d, s->epoch, inode};
    *ret = &f->base;
    return BRANT_OK;
}

static int sim_mkdir(struct os_fs *fs, const char *path)
{
    struct sim_fs *s = (struct sim_fs *)fs;
    struct sim_disk *d = s->d;
    struct name *name;
    enum step step;
    int error;

    pthread_mutex_lock(&d->lock);
    step = begin(d, s->epoch);
    name = names_find(&d->cache, path);
    if (step == STEP_DEAD)
        return end_errno(d, step, EIO);
    if (name)
        return end_errno(d, step, name->inode->is_dir ? 0 : EMLINK);
    error = check_create(d, path);
    if (!error)
        add_name_change(d, NAME_LINK, path, NULL, make_inode(d, true));
    return end_errno(d, step, error);
}

static int sim_rename(struct os_fs *fs, const char *from, const char *to)
{
    struct sim_fs *s = (struct sim_fs *)fs;
    struct sim_disk *d = s->d;
    struct name *name;
    enum step step;

    pthread_mutex_lock(&d->lock);
    step = begin(d, s->epoch);
    name = names_find(&d->cache, from);
    if (step == STEP_DEAD)
        return end_errno(d, step, EIO);
    if (!name || !parent_exists(d, to))
        return end_errno(d, step, ENOENT);
    assert(!name->inode->is_dir);
    add_name_change(d, NAME_RENAME, from, to, name->inode);
    collect_garbage(d);
    return end_errno(d, step, 0);
}

static int sim_unlink(struct os_fs *fs, const char *path)
{
    struct sim_fs *s = (struct sim_fs *)fs;
    struct sim_disk *d = s->d;
    struct name *name;
    enum step step;

    pthread_mutex_lock(&d->lock);
    step = begin(d, s->epoch);
    name = names_find(&d->cache, path);
    if (step == STEP_DEAD)
        return end_errno(d, step, EIO);
    if (!name)
        return end_errno(d, step, ENOENT);
    if (name->inode->is_dir)
        return end_errno(d, step, EISDIR);
    add_name_change(d, NAME_UNLINK, path, NULL, NULL);
    collect_garbage(d);
    return end_errno(d, step, 0);
}

static int sim_sync_dir(struct os_fs *fs, const char *path)
{
    struct sim_fs *s = (struct sim_fs *)fs;
    struct sim_disk *d = s->d;
    enum step step;

    pthread_mutex_lock(&d->lock);
    step = begin(d, s->epoch);
    if (step == STEP_DEAD)
        return end_errno(d, step, EIO);
    if (faulty(d, SIM_DISK_SYNC))
        return end_errno(d, step, EIO);
    if (strcmp(path, ".") && !names_find(&d->cache, path))
        return end_errno(d, step, ENOENT);
    sync_names(d, path);
    return end_errno(d, step, 0);
}

static int sim_list(struct os_fs *fs, const char *path, struct buf *out)
{
    struct sim_fs *s = (struct sim_fs *)fs;
    struct sim_disk *d = s->d;
    size_t start = out->len;
    int rc = BRANT_OK;

    pthread_mutex_lock(&d->lock);
    if (!alive(d, s->epoch))
        rc = os_fs_fail(EIO);
    else if (strcmp(path, ".") && !names_find(&d->cache, path))
        rc = os_fs_fail(ENOENT);
    for (size_t i = 0; !rc && i < d->cache.count; i++) {
        const char *full = d->cache.list[i].path, *slash = strrchr(full, '/');
        const char *name = slash ? slash + 1 : full;

        if (is_parent(path, full))
            rc = buf_append(out, span_make(name, strlen(name) + 1));
    }
    pthread_mutex_unlock(&d->lock);
    if (rc)
        out->len = start;
    else
        os_fs_sort_names(out, start);
    return rc;
}

static int sim_free_bytes(struct os_fs *fs, uint64_t *ret)
{
    struct sim_fs *s = (struct sim_fs *)fs;
    struct sim_disk *d = s->d;
    uint64_t taken;

    pthread_mutex_lock(&d->lock);
    taken = used(d);
    if (!d->config.capacity_bytes)
        *ret = FILE_BYTES_MAX;
    else
        *ret = taken < d->config.capacity_bytes ? d->config.capacity_bytes - taken : 0;
    pthread_mutex_unlock(&d->lock);
    return BRANT_OK;
}

static int sim_lock(struct os_fs *fs, const char *path)
{
    struct sim_fs *s = (struct sim_fs *)fs;
    struct os_file *file;
    int rc = sim_open(fs, path, OS_OPEN_WRITE | OS_OPEN_CREATE, &file);

    if (rc)
        return rc;
    os_file_close(file);
    pthread_mutex_lock(&s->d->lock);
    if (s->d->locked && !s->has_lock)
        rc = BRANT_ESTATE;
    else
        s->d->locked = s->has_lock = true;
    pthread_mutex_unlock(&s->d->lock);
    return rc;
}

static void sim_random(struct os_fs *fs, void *data, size_t len)
{
    struct sim_fs *s = (struct sim_fs *)fs;
    uint8_t *to = data;

    pthread_mutex_lock(&s->d->lock);
    for (size_t i = 0; i < len; i++)
        to[i] = (uint8_t)next_random(s->d, 256);
    pthread_mutex_unlock(&s->d->lock);
}

static const char *sim_sqlite_vfs(struct os_fs *fs)
{
    struct sim_disk *d = ((struct sim_fs *)fs)->d;

    pthread_mutex_lock(&d->lock);
    if (!d->sqlite)
        d->sqlite = sim_sqlite_new(d);
    pthread_mutex_unlock(&d->lock);
    return sim_sqlite_name(d->sqlite);
}

static const struct os_file_ops file_ops = {
    .close = file_close,
    .read = file_read,
    .write = file_write,
    .sync = file_sync,
    .size = file_size,
    .truncate = file_truncate,
    .allocate = file_allocate,
};

static const struct os_fs_ops fs_ops = {
    .free = sim_free,
    .open = sim_open,
    .mkdir = sim_mkdir,
    .rename = sim_rename,
    .unlink = sim_unlink,
    .sync_dir = sim_sync_dir,
    .list = sim_list,
    .free_bytes = sim_free_bytes,
    .lock = sim_lock,
    .random = sim_random,
    .sqlite_vfs = sim_sqlite_vfs,
};

struct sim_disk *sim_disk_new(const struct sim_disk_config *config)
{
    struct sim_disk *d = mem_zalloc(sizeof *d);

    d->config = *config;
    d->random = sim_mix(config->seed);
    pthread_mutex_init(&d->lock, NULL);
    return d;
}

void sim_disk_free(struct sim_disk *d)
{
    if (!d)
        return;
    if (d->sqlite)
        sim_sqlite_free(d->sqlite);
    settle_names(d, true);
    free(d->changes);
    names_clear(&d->cache);
    names_clear(&d->disk);
    collect_garbage(d);
    assert(!d->inodes); /* a file is still open */
    pthread_mutex_destroy(&d->lock);
    free(d);
}

struct os_fs *sim_disk_mount(struct sim_disk *d)
{
    struct sim_fs *s = mem_zalloc(sizeof *s);

    s->base.ops = &fs_ops;
    s->d = d;
    pthread_mutex_lock(&d->lock);
    s->epoch = d->epoch;
    pthread_mutex_unlock(&d->lock);
    return &s->base;
}

uint64_t sim_disk_operations(struct sim_disk *d)
{
    uint64_t n;

    pthread_mutex_lock(&d->lock);
    n = d->operations;
    pthread_mutex_unlock(&d->lock);
    return n;
}

void sim_disk_crash_at(struct sim_disk *d, uint64_t operation)
{
    pthread_mutex_lock(&d->lock);
    d->crash_at = operation;
    pthread_mutex_unlock(&d->lock);
}

bool sim_disk_crashed(struct sim_disk *d)
{
    bool crashed;

    pthread_mutex_lock(&d->lock);
    crashed = d->crashed;
    pthread_mutex_unlock(&d->lock);
    return crashed;
}

static void restart(struct sim_disk *d)
{
    d->crashed = false;
    d->crash_at = 0;
    d->locked = false;
    d->epoch++;
    memset(d->faults, 0, sizeof d->faults);
}

void sim_disk_power_cut(struct sim_disk *d)
{
    pthread_mutex_lock(&d->lock);
    restart(d);
    survive_names(d);
    names_clear(&d->cache);
    for (size_t i = 0; i < d->disk.count; i++)
        names_set(&d->cache, d->disk.list[i].path, d->disk.list[i].inode);
    for (struct sim_inode *inode = d->inodes; inode; inode = inode->next) {
        sim_inode_settle(inode, next_random(d, UINT64_MAX));
        sim_content_resize(&inode->cache, 0);
        sim_content_write(&inode->cache, 0, inode->disk.data, (size_t)inode->disk.size);
    }
    collect_garbage(d);
    pthread_mutex_unlock(&d->lock);
}

void sim_disk_process_kill(struct sim_disk *d)
{
    pthread_mutex_lock(&d->lock);
    restart(d);
    pthread_mutex_unlock(&d->lock);
}

void sim_disk_fail(struct sim_disk *d, enum sim_disk_fault fault, uint64_t n)
{
    pthread_mutex_lock(&d->lock);
    d->faults[fault] = n;
    pthread_mutex_unlock(&d->lock);
}

void sim_disk_set_capacity(struct sim_disk *d, uint64_t capacity_bytes)
{
    pthread_mutex_lock(&d->lock);
    d->config.capacity_bytes = capacity_bytes;
    pthread_mutex_unlock(&d->lock);
}

uint64_t sim_disk_used(struct sim_disk *d)
{
    uint64_t bytes;

    pthread_mutex_lock(&d->lock);
    bytes = used(d);
    pthread_mutex_unlock(&d->lock);
    return bytes;
}

/* Damage; lock held by the callers of with_file. */
static struct sim_inode *find_file(struct sim_disk *d, const char *path)
{
    struct name *name = names_find(&d->cache, path);

    return name && !name->inode->is_dir ? name->inode : NULL;
}

static bool within(const struct sim_content *c, uint64_t offset, size_t len)
{
    return offset <= c->size && len <= c->size - offset;
}

int sim_disk_poke(struct sim_disk *d, const char *path, uint64_t offset, struct span bytes)
{
    struct sim_inode *inode;
    int rc = BRANT_OK;

    pthread_mutex_lock(&d->lock);
    inode = find_file(d, path);
    if (!inode) {
        rc = BRANT_ENOTFOUND;
    } else if (!within(&inode->cache, offset, bytes.len)) {
        rc = BRANT_ECORRUPT;
    } else {
        sim_inode_sync(inode);
        sim_content_write(&inode->cache, offset, bytes.p, bytes.len);
        sim_content_write(&inode->disk, offset, bytes.p, bytes.len);
    }
    pthread_mutex_unlock(&d->lock);
    return rc;
}

int sim_disk_peek(struct sim_disk *d, const char *path, uint64_t offset, void *data, size_t len)
{
    struct sim_inode *inode;
    int rc = BRANT_OK;

    pthread_mutex_lock(&d->lock);
    inode = find_file(d, path);
    if (!inode)
        rc = BRANT_ENOTFOUND;
    else if (!within(&inode->cache, offset, len))
        rc = BRANT_ECORRUPT;
    else if (len)
        memcpy(data, inode->cache.data + offset, len);
    pthread_mutex_unlock(&d->lock);
    return rc;
}

int sim_disk_file_size(struct sim_disk *d, const char *path, uint64_t *ret)
{
    struct sim_inode *inode;

    pthread_mutex_lock(&d->lock);
    inode = find_file(d, path);
    if (inode)
        *ret = inode->cache.size;
    pthread_mutex_unlock(&d->lock);
    return inode ? BRANT_OK : BRANT_ENOTFOUND;
}

int sim_disk_resize(struct sim_disk *d, const char *path, uint64_t size)
{
    struct sim_inode *inode;

    pthread_mutex_lock(&d->lock);
    inode = find_file(d, path);
    if (inode) {
        sim_inode_sync(inode);
        sim_content_resize(&inode->cache, size);
        sim_content_resize(&inode->disk, size);
    }
    pthread_mutex_unlock(&d->lock);
    return inode ? BRANT_OK : BRANT_ENOTFOUND;
}
