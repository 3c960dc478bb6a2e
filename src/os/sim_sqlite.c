#include "os/sim_sqlite.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "os/sim_disk.h"

#define PATH_MAX_BYTES 512
#define SHM_REGIONS    64
#define SHARED_LOCKS   SQLITE_SHM_NLOCK

/* What the connections to one database file share. */
struct node {
    struct node *next;
    char *path;
    unsigned files;
    unsigned shared; /* readers: those with SHARED or more */
    const void *reserved, *pending, *exclusive;
    unsigned shm_users;
    void *regions[SHM_REGIONS];
    unsigned shm_shared[SHARED_LOCKS];
    const void *shm_exclusive[SHARED_LOCKS];
};

struct sim_sqlite {
    sqlite3_vfs vfs;
    char name[32];
    struct sim_disk *d;
    pthread_mutex_t lock; /* of the nodes */
    struct node *nodes;
    unsigned temporary; /* counter for names */
    atomic_llong now_ms;
};

struct sim_db_file {
    sqlite3_file base;
    struct sim_sqlite *s;
    struct os_fs *fs; /* of the time when it was opened: dead after a restart */
    struct os_file *file;
    struct node *node;
    char *path;
    bool delete_on_close;
    bool sync_dir; /* a journal that may be new, perhaps made by another connection: its first sync here makes
                    * the name durable too, as that of SQLite's own VFS does */
    int level;
    bool shm;
    uint16_t shm_shared, shm_exclusive; /* locks held, a bit each */
};

static int error_code(int rc, int io_error)
{
    return rc == BRANT_OK ? SQLITE_OK : rc == BRANT_ENOSPACE ? SQLITE_FULL : io_error;
}

/* Nodes. */

static struct node *node_enter(struct sim_sqlite *s, const char *path)
{
    struct node *node;

    pthread_mutex_lock(&s->lock);
    for (node = s->nodes; node && strcmp(node->path, path); node = node->next)
        ;
    if (!node) {
        node = mem_zalloc(sizeof *node);
        node->path = mem_strdup(path);
        node->next = s->nodes;
        s->nodes = node;
    }
    node->files++;
    pthread_mutex_unlock(&s->lock);
    return node;
}

static void node_leave(struct sim_sqlite *s, struct node *node)
{
    pthread_mutex_lock(&s->lock);
    if (!--node->files) {
        for (struct node **at = &s->nodes; *at; at = &(*at)->next) {
            if (*at == node) {
                *at = node->next;
                break;
            }
        }
        for (size_t i = 0; i < SHM_REGIONS; i++)
            free(node->regions[i]);
        free(node->path);
        free(node);
    }
    pthread_mutex_unlock(&s->lock);
}

/* Files. */

static int db_unlock(sqlite3_file *file, int level);
static int db_shm_unmap(sqlite3_file *file, int delete);

static int db_close(sqlite3_file *file)
{
    struct sim_db_file *f = (struct sim_db_file *)file;

    (void)db_shm_unmap(file, 0);
    (void)db_unlock(file, SQLITE_LOCK_NONE);
    os_file_close(f->file);
    if (f->delete_on_close)
        (void)os_fs_unlink(f->fs, f->path);
    os_fs_free(f->fs);
    node_leave(f->s, f->node);
    free(f->path);
    return SQLITE_OK;
}

static int db_read(sqlite3_file *file, void *data, int len, sqlite3_int64 offset)
{
    struct sim_db_file *f = (struct sim_db_file *)file;
    uint64_t size, at = (uint64_t)offset;
    size_t want = (size_t)len, have;

    if (os_file_size(f->file, &size))
        return SQLITE_IOERR_READ;
    have = at >= size ? 0 : size - at < want ? (size_t)(size - at) : want;
    if (have && os_file_read(f->file, at, data, have))
        return SQLITE_IOERR_READ;
    if (have == want)
        return SQLITE_OK;
    memset((uint8_t *)data + have, 0, want - have);
    return SQLITE_IOERR_SHORT_READ;
}

static int db_write(sqlite3_file *file, const void *data, int len, sqlite3_int64 offset)
{
    struct sim_db_file *f = (struct sim_db_file *)file;
    struct span piece = span_make(data, (size_t)len);

    return error_code(os_file_write(f->file, (uint64_t)offset, &piece, 1), SQLITE_IOERR_WRITE);
}

static int db_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct sim_db_file *f = (struct sim_db_file *)file;

    return error_code(os_file_truncate(f->file, (uint64_t)size), SQLITE_IOERR_TRUNCATE);
}

static int sync_parent(struct os_fs *fs, const char *path)
{
    const char *slash = strrchr(path, '/');
    char dir[PATH_MAX_BYTES + 1] = ".";

    if (slash)
        (void)snprintf(dir, sizeof dir, "%.*s", (int)(slash - path), path);
    return os_fs_sync_dir(fs, dir) ? SQLITE_IOERR_DIR_FSYNC : SQLITE_OK;
}

static int db_sync(sqlite3_file *file, int flags)
{
    struct sim_db_file *f = (struct sim_db_file *)file;

    (void)flags;
    if (os_file_sync(f->file))
        return SQLITE_IOERR_FSYNC;
    if (!f->sync_dir)
        return SQLITE_OK;
    f->sync_dir = false;
    return sync_parent(f->fs, f->path);
}

static int db_file_size(sqlite3_file *file, sqlite3_int64 *ret)
{
    struct sim_db_file *f = (struct sim_db_file *)file;
    uint64_t size;

    if (os_file_size(f->file, &size))
        return SQLITE_IOERR_FSTAT;
    *ret = (sqlite3_int64)size;
    return SQLITE_OK;
}

/* From SHARED upwards, as SQLite's file locking protocol has it. */
static int lock_step(struct sim_db_file *f, int level)
{
    struct node *n = f->node;

    if (level == SQLITE_LOCK_SHARED) {
        if (n->pending || n->exclusive)
            return SQLITE_BUSY;
        n->shared++;
    } else if (level == SQLITE_LOCK_RESERVED) {
        if (n->reserved && n->reserved != f)
            return SQLITE_BUSY;
        n->reserved = f;
    } else {
        if ((n->reserved && n->reserved != f) || (n->pending && n->pending != f))
            return SQLITE_BUSY;
        n->pending = f;
        f->level = SQLITE_LOCK_PENDING;
        if (n->shared > 1)
            return SQLITE_BUSY;
        n->exclusive = f;
    }
    f->level = level;
    return SQLITE_OK;
}

static int db_lock(sqlite3_file *file, int level)
{
    struct sim_db_file *f = (struct sim_db_file *)file;
    int rc = SQLITE_OK;

    pthread_mutex_lock(&f->s->lock);
    if (level > f->level)
        rc = lock_step(f, level);
    pthread_mutex_unlock(&f->s->lock);
    return rc;
}

static int db_unlock(sqlite3_file *file, int level)
{
    struct sim_db_file *f = (struct sim_db_file *)file;
    struct node *n = f->node;

    pthread_mutex_lock(&f->s->lock);
    if (level < f->level) {
        if (n->reserved == f)
            n->reserved = NULL;
        if (n->pending == f)
            n->pending = NULL;
        if (n->exclusive == f)
            n->exclusive = NULL;
        if (level == SQLITE_LOCK_NONE)
            n->shared--;
        f->level = level;
    }
    pthread_mutex_unlock(&f->s->lock);
    return SQLITE_OK;
}

static int db_check_reserved(sqlite3_file *file, int *ret)
{
    struct sim_db_file *f = (struct sim_db_file *)file;

    pthread_mutex_lock(&f->s->lock);
    *ret = f->node->reserved != NULL;
    pthread_mutex_unlock(&f->s->lock);
    return SQLITE_OK;
}

static int db_control(sqlite3_file *file, int op, void *arg)
{
    (void)file;
    (void)op;
    (void)arg;
    return SQLITE_NOTFOUND;
}

static int db_sector_size(sqlite3_file *file)
{
    (void)file;
    return 512;
}

static int db_characteristics(sqlite3_file *file)
{
    (void)file;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static int db_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **ret)
{
    struct sim_db_file *f = (struct sim_db_file *)file;
    int rc = SQLITE_OK;

    if (region < 0 || region >= SHM_REGIONS)
        return SQLITE_IOERR_SHMMAP;
    pthread_mutex_lock(&f->s->lock);
    if (!f->shm) {
        f->shm = true;
        f->node->shm_users++;
    }
    if (!f->node->regions[region] && extend)
        f->node->regions[region] = mem_zalloc((size_t)size);
    *ret = f->node->regions[region];
    pthread_mutex_unlock(&f->s->lock);
    return rc;
}

static bool shm_may_lock(const struct sim_db_file *f, int first, int count, bool exclusive)
{
    for (int i = first; i < first + count; i++) {
        uint16_t bit = (uint16_t)(1u << i);
        unsigned others = f->node->shm_shared[i] - (f->shm_shared & bit ? 1 : 0);

        if (f->node->shm_exclusive[i] && f->node->shm_exclusive[i] != f)
            return false;
        if (exclusive && others)
            return false;
    }
    return true;
}

static void shm_release(struct sim_db_file *f, int i)
{
    uint16_t bit = (uint16_t)(1u << i);

    if (f->shm_shared & bit)
        f->node->shm_shared[i]--;
    if (f->shm_exclusive & bit)
        f->node->shm_exclusive[i] = NULL;
    f->shm_shared &= (uint16_t)~bit;
    f->shm_exclusive &= (uint16_t)~bit;
}

static void shm_take(struct sim_db_file *f, int i, bool exclusive)
{
    uint16_t bit = (uint16_t)(1u << i);

    if (exclusive) {
        f->node->shm_exclusive[i] = f;
        f->shm_exclusive |= bit;
    } else if (!(f->shm_shared & bit)) {
        f->node->shm_shared[i]++;
        f->shm_shared |= bit;
    }
}

static int db_shm_lock(sqlite3_file *file, int first, int count, int flags)
{
    struct sim_db_file *f = (struct sim_db_file *)file;
    bool exclusive = flags & SQLITE_SHM_EXCLUSIVE;
    int rc = SQLITE_OK;

    pthread_mutex_lock(&f->s->lock);
    if (flags & SQLITE_SHM_UNLOCK) {
        for (int i = first; i < first + count; i++)
            shm_release(f, i);
    } else if (!shm_may_lock(f, first, count, exclusive)) {
        rc = SQLITE_BUSY;
    } else {
        for (int i = first; i < first + count; i++)
            shm_take(f, i, exclusive);
    }
    pthread_mutex_unlock(&f->s->lock);
    return rc;
}

static void db_shm_barrier(sqlite3_file *file)
{
    struct sim_db_file *f = (struct sim_db_file *)file;

    atomic_thread_fence(memory_order_seq_cst);
    pthread_mutex_lock(&f->s->lock);
    pthread_mutex_unlock(&f->s->lock);
}

static int db_shm_unmap(sqlite3_file *file, int delete)
{
    struct sim_db_file *f = (struct sim_db_file *)file;

    (void)delete;
    if (!f->shm)
        return SQLITE_OK;
    pthread_mutex_lock(&f->s->lock);
    for (int i = 0; i < SHARED_LOCKS; i++)
        shm_release(f, i);
    f->shm = false;
    /* The memory dies with its last user: the WAL index is made anew from the WAL. */
    if (!--f->node->shm_users) {
        for (size_t i = 0; i < SHM_REGIONS; i++) {
            free(f->node->regions[i]);
            f->node->regions[i] = NULL;
        }
    }
    pthread_mutex_unlock(&f->s->lock);
    return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = db_close,
    .xRead = db_read,
    .xWrite = db_write,
    .xTruncate = db_truncate,
    .xSync = db_sync,
    .xFileSize = db_file_size,
    .xLock = db_lock,
    .xUnlock = db_unlock,
    .xCheckReservedLock = db_check_reserved,
    .xFileControl = db_control,
    .xSectorSize = db_sector_size,
    .xDeviceCharacteristics = db_characteristics,
    .xShmMap = db_shm_map,
    .xShmLock = db_shm_lock,
    .xShmBarrier = db_shm_barrier,
    .xShmUnmap = db_shm_unmap,
};

/* The file system. */

static struct sim_sqlite *self(sqlite3_vfs *vfs)
{
    return vfs->pAppData;
}

static int vfs_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags, int *ret_flags)
{
    struct sim_sqlite *s = self(vfs);
    struct sim_db_file *f = (struct sim_db_file *)file;
    unsigned how = flags & SQLITE_OPEN_READONLY ? OS_OPEN_READ : OS_OPEN_READ | OS_OPEN_WRITE;
    struct os_fs *fs = sim_disk_mount(s->d);
    char temporary[64];
    int rc;

    memset(f, 0, sizeof *f);
    if (!path) {
        pthread_mutex_lock(&s->lock);
        (void)snprintf(temporary, sizeof temporary, "sqlite-temporary-%u", s->temporary++);
        pthread_mutex_unlock(&s->lock);
        path = temporary;
    }
    rc = os_fs_open(fs, path, how, &f->file);
    if (rc == BRANT_ENOTFOUND && flags & SQLITE_OPEN_CREATE)
        rc = os_fs_open(fs, path, how | OS_OPEN_CREATE, &f->file);
    if (rc) {
        os_fs_free(fs);
        return rc == BRANT_ENOSPACE ? SQLITE_FULL : SQLITE_CANTOPEN;
    }
    f->base.pMethods = &methods;
    f->s = s;
    f->fs = fs;
    f->path = mem_strdup(path);
    f->node = node_enter(s, path);
    f->delete_on_close = flags & SQLITE_OPEN_DELETEONCLOSE;
    f->sync_dir = flags & SQLITE_OPEN_CREATE &&
                  flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL);
    if (ret_flags)
        *ret_flags = flags;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *path, int sync)
{
    struct os_fs *fs = sim_disk_mount(self(vfs)->d);
    int rc = os_fs_unlink(fs, path), answer = SQLITE_OK;

    if (rc == BRANT_ENOTFOUND)
        answer = SQLITE_IOERR_DELETE_NOENT;
    else if (rc)
        answer = SQLITE_IOERR_DELETE;
    else if (sync)
        answer = sync_parent(fs, path);
    os_fs_free(fs);
    return answer;
}

static int vfs_access(sqlite3_vfs *vfs, const char *path, int flags, int *ret)
{
    struct os_fs *fs = sim_disk_mount(self(vfs)->d);
    struct os_file *file;
    int rc = os_fs_open(fs, path, OS_OPEN_READ, &file);
    uint64_t size = 0;

    if (!rc) {
        (void)os_file_size(file, &size);
        os_file_close(file);
    }
    os_fs_free(fs);
    if (rc && rc != BRANT_ENOTFOUND)
        return SQLITE_IOERR_ACCESS;
    *ret = !rc && (flags != SQLITE_ACCESS_EXISTS || size > 0);
    return SQLITE_OK;
}

static int vfs_full_path(sqlite3_vfs *vfs, const char *path, int size, char *ret)
{
    (void)vfs;
    return snprintf(ret, (size_t)size, "%s", path) >= size ? SQLITE_CANTOPEN : SQLITE_OK;
}

static int vfs_random(sqlite3_vfs *vfs, int len, char *ret)
{
    struct os_fs *fs = sim_disk_mount(self(vfs)->d);

    os_fs_random(fs, ret, (size_t)len);
    os_fs_free(fs);
    return len;
}

static int vfs_sleep(sqlite3_vfs *vfs, int us)
{
    atomic_fetch_add(&self(vfs)->now_ms, us / 1000 + 1);
    return us;
}

static int vfs_now_int64(sqlite3_vfs *vfs, sqlite3_int64 *ret)
{
    *ret = atomic_fetch_add(&self(vfs)->now_ms, 1);
    return SQLITE_OK;
}

static int vfs_now(sqlite3_vfs *vfs, double *ret)
{
    sqlite3_int64 ms;

    (void)vfs_now_int64(vfs, &ms);
    *ret = (double)ms / 86400000.0;
    return SQLITE_OK;
}

static int vfs_last_error(sqlite3_vfs *vfs, int len, char *ret)
{
    (void)vfs;
    if (len > 0)
        *ret = '\0';
    return os_fs_errno();
}

struct sim_sqlite *sim_sqlite_new(struct sim_disk *d)
{
    static atomic_uint count;
    struct sim_sqlite *s = mem_zalloc(sizeof *s);

    s->d = d;
    pthread_mutex_init(&s->lock, NULL);
    atomic_init(&s->now_ms, 212000000000000); /* Julian day in ms, of the year 2005 */
    (void)snprintf(s->name, sizeof s->name, "brant-sim-%u", atomic_fetch_add(&count, 1));
    s->vfs = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = sizeof(struct sim_db_file),
        .mxPathname = PATH_MAX_BYTES,
        .zName = s->name,
        .pAppData = s,
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_path,
        .xRandomness = vfs_random,
        .xSleep = vfs_sleep,
        .xCurrentTime = vfs_now,
        .xGetLastError = vfs_last_error,
        .xCurrentTimeInt64 = vfs_now_int64,
    };
    if (sqlite3_vfs_register(&s->vfs, 0) != SQLITE_OK)
        abort();
    return s;
}

void sim_sqlite_free(struct sim_sqlite *s)
{
    (void)sqlite3_vfs_unregister(&s->vfs);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

const char *sim_sqlite_name(const struct sim_sqlite *s)
{
    return s->name;
}
