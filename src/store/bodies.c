#include "store/bodies.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/codec.h"
#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/wire.h"

#define STAGING_DIR     "staging"
#define BODIES_DIR      "bodies"
#define PATH_SIZE       (sizeof STAGING_DIR + 2 * BODY_ID_BYTES + 1)
#define LIST_BYTES_MAX  ((size_t)1 << 30)
#define TRAILER_BYTES   64u
#define TRAILER_MAGIC   UINT64_C(0x59444f42544e5242) /* "BRNTBODY" */
#define TRAILER_VERSION 1u
#define SUM_BYTES       8u

struct source {
    uint64_t id;
    uint64_t staged_bytes;
    unsigned writers;
};

struct bodies {
    struct os_fs *fs; /* borrowed */
    struct bodies_config config;
    atomic_bool dead;
    pthread_mutex_t lock; /* of what follows */
    struct map sources;   /* source id -> struct source, those with writers */
    uint64_t staged_bytes;
    struct buf old; /* ids found at the start */
    size_t old_at;
};

struct body_writer {
    struct bodies *b;
    struct source *source;
    struct os_file *file;
    uint8_t id[BODY_ID_BYTES];
    uint64_t length;
    XXH3_state_t *state; /* of the block being filled */
    struct buf table;    /* checksums of the full blocks */
};

struct body_reader {
    struct bodies *b;
    struct os_file *file;
    struct body_ref ref;
    uint8_t *table;
    uint8_t *block;    /* the block read last */
    uint64_t block_no; /* its number; UINT64_MAX: none */
};

static void make_path(const char *dir, const uint8_t *id, char *ret)
{
    int n = snprintf(ret, PATH_SIZE, "%s/", dir);

    for (size_t i = 0; i < BODY_ID_BYTES; i++)
        (void)snprintf(ret + n + 2 * i, 3, "%02x", id[i]);
}

static uint64_t le64(const uint8_t *p)
{
    struct wire_reader r = wire_read(span_make(p, 8));

    return wire_get_u64(&r);
}

/* A block's checksum depends on whose and which block it is, so that one in the wrong place is noticed. */
static uint64_t block_seed(const uint8_t *id, uint64_t block)
{
    return le64(id) + block;
}

static uint64_t block_count(uint64_t length)
{
    return length / BODY_BLOCK_BYTES + (length % BODY_BLOCK_BYTES != 0);
}

static uint64_t root_of(const uint8_t *id, struct span table, uint64_t length)
{
    uint8_t last[8];
    XXH3_state_t *state = XXH3_createState();
    uint64_t root;

    if (!state)
        abort();
    for (unsigned i = 0; i < 8; i++)
        last[i] = (uint8_t)(length >> (8 * i));
    (void)XXH3_64bits_reset_withSeed(state, le64(id + 8));
    (void)XXH3_64bits_update(state, table.p, table.len);
    (void)XXH3_64bits_update(state, last, sizeof last);
    root = XXH3_64bits_digest(state);
    (void)XXH3_freeState(state);
    return root;
}

/* Deletes everything in staging/: whoever wrote it is gone. */
static int clear_staging(struct bodies *b)
{
    _cleanup_buf_ struct buf names;
    int rc;

    buf_init(&names, LIST_BYTES_MAX);
    rc = os_fs_list(b->fs, STAGING_DIR, &names);
    for (size_t at = 0; !rc && at < names.len; at += strlen((const char *)names.data + at) + 1) {
        char path[sizeof STAGING_DIR + 256];

        (void)snprintf(path, sizeof path, STAGING_DIR "/%s", (const char *)names.data + at);
        rc = os_fs_unlink(b->fs, path);
    }
    return rc;
}

static int list_old(struct bodies *b)
{
    _cleanup_buf_ struct buf names;
    int rc;

    buf_init(&names, LIST_BYTES_MAX);
    rc = os_fs_list(b->fs, BODIES_DIR, &names);
    for (size_t at = 0; !rc && at < names.len;) {
        struct span name = span_str((const char *)names.data + at);

        at += name.len + 1;
        if (name.len == (size_t)2 * BODY_ID_BYTES)
            (void)codec_hex_decode(&b->old, name); /* other names are not ours, and stay */
    }
    return rc;
}

int bodies_open(struct os_fs *fs, const struct bodies_config *config, struct bodies **ret)
{
    struct bodies *b = mem_zalloc(sizeof *b);
    struct map_key key;
    int rc;

    b->fs = fs;
    b->config = *config;
    pthread_mutex_init(&b->lock, NULL);
    os_fs_random(fs, &key, sizeof key);
    map_init(&b->sources, key);
    buf_init(&b->old, LIST_BYTES_MAX);
    rc = os_fs_mkdir(fs, STAGING_DIR);
    if (!rc)
        rc = os_fs_mkdir(fs, BODIES_DIR);
    if (!rc)
        rc = os_fs_sync_dir(fs, ".");
    if (!rc)
        rc = clear_staging(b);
    if (!rc)
        rc = list_old(b);
    if (rc) {
        bodies_free(b);
        return rc;
    }
    *ret = b;
    return BRANT_OK;
}

void bodies_free(struct bodies *b)
{
    if (!b)
        return;
    map_done(&b->sources);
    buf_done(&b->old);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

int bodies_next_old(struct bodies *b, uint8_t *ret_id)
{
    int rc = BRANT_ENOTFOUND;

    pthread_mutex_lock(&b->lock);
    if (b->old_at + BODY_ID_BYTES <= b->old.len) {
        memcpy(ret_id, b->old.data + b->old_at, BODY_ID_BYTES);
        b->old_at += BODY_ID_BYTES;
        rc = BRANT_OK;
    } else {
        buf_done(&b->old);
        b->old_at = 0;
    }
    pthread_mutex_unlock(&b->lock);
    return rc;
}

int bodies_unlink(struct bodies *b, const uint8_t *id)
{
    char path[PATH_SIZE];

    make_path(BODIES_DIR, id, path);
    return os_fs_unlink(b->fs, path);
}

uint64_t bodies_staged_bytes(struct bodies *b)
{
    uint64_t bytes;

    pthread_mutex_lock(&b->lock);
    bytes = b->staged_bytes;
    pthread_mutex_unlock(&b->lock);
    return bytes;
}

uint64_t bodies_source_staged_bytes(struct bodies *b, uint64_t source)
{
    struct source *s;
    uint64_t bytes;

    pthread_mutex_lock(&b->lock);
    s = map_get(&b->sources, map_u64_key(&source));
    bytes = s ? s->staged_bytes : 0;
    pthread_mutex_unlock(&b->lock);
    return bytes;
}

static struct source *source_enter(struct bodies *b, uint64_t id)
{
    struct source *s;

    pthread_mutex_lock(&b->lock);
    s = map_get(&b->sources, map_u64_key(&id));
    if (!s) {
        s = mem_zalloc(sizeof *s);
        s->id = id;
        (void)map_put(&b->sources, map_u64_key(&s->id), s);
    }
    s->writers++;
    pthread_mutex_unlock(&b->lock);
    return s;
}

/* Counts bytes against a source and the total; all or nothing. */
static int source_take(struct bodies *b, struct source *s, uint64_t bytes)
{
    int rc = BRANT_OK;

    pthread_mutex_lock(&b->lock);
    if (bytes > b->config.source_staged_bytes_max - s->staged_bytes) {
        rc = BRANT_ELIMIT;
    } else if (bytes > b->config.staged_bytes_max - b->staged_bytes) {
        rc = BRANT_ETRYLATER;
    } else {
        s->staged_bytes += bytes;
        b->staged_bytes += bytes;
    }
    pthread_mutex_unlock(&b->lock);
    return rc;
}

static void source_leave(struct bodies *b, struct source *s, uint64_t bytes)
{
    pthread_mutex_lock(&b->lock);
    s->staged_bytes -= bytes;
    b->staged_bytes -= bytes;
    if (!--s->writers) {
        (void)map_remove(&b->sources, map_u64_key(&s->id));
        free(s);
    }
    pthread_mutex_unlock(&b->lock);
}

int bodies_stage(struct bodies *b, uint64_t source, struct body_writer **ret)
{
    struct body_writer *w = mem_zalloc(sizeof *w);
    char path[PATH_SIZE];
    int rc;

    os_fs_random(b->fs, w->id, sizeof w->id);
    make_path(STAGING_DIR, w->id, path);
    rc = os_fs_open(b->fs, path, OS_OPEN_WRITE | OS_OPEN_CREATE | OS_OPEN_EXCLUSIVE, &w->file);
    if (rc) {
        free(w);
        return rc;
    }
    w->b = b;
    w->source = source_enter(b, source);
    w->state = XXH3_createState();
    if (!w->state)
        abort();
    (void)XXH3_64bits_reset_withSeed(w->state, block_seed(w->id, 0));
    buf_init(&w->table, (size_t)block_count(b->config.body_bytes_max) * SUM_BYTES + TRAILER_BYTES);
    *ret = w;
    return BRANT_OK;
}

static void end_block(struct body_writer *w)
{
    struct wire_writer out = wire_write(&w->table);

    wire_put_u64(&out, XXH3_64bits_digest(w->state));
    (void)XXH3_64bits_reset_withSeed(w->state, block_seed(w->id, w->table.len / SUM_BYTES));
}

static void hash_bytes(struct body_writer *w, struct span bytes)
{
    while (bytes.len) {
        size_t room = BODY_BLOCK_BYTES - (size_t)(w->length % BODY_BLOCK_BYTES);
        struct span part = span_sub(bytes, 0, room);

        (void)XXH3_64bits_update(w->state, part.p, part.len);
        w->length += part.len;
        if (part.len == room)
            end_block(w);
        bytes = span_from(bytes, part.len);
    }
}

int body_append(struct body_writer *w, struct span bytes)
{
    int rc;

    if (!bytes.len)
        return BRANT_OK;
    if (bytes.len > w->b->config.body_bytes_max - w->length)
        return BRANT_ELIMIT;
    rc = source_take(w->b, w->source, bytes.len);
    if (rc)
        return rc;
    rc = os_file_write(w->file, w->length, &bytes, 1);
    hash_bytes(w, bytes); /* in every case: the length is what the source is charged with */
    return rc;
}

static void writer_free(struct body_writer *w)
{
    source_leave(w->b, w->source, w->length);
    os_file_close(w->file);
    (void)XXH3_freeState(w->state);
    buf_done(&w->table);
    free(w);
}

void body_abort(struct body_writer *w)
{
    char path[PATH_SIZE];

    if (!w)
        return;
    make_path(STAGING_DIR, w->id, path);
    (void)os_fs_unlink(w->b->fs, path); /* what stays is removed at the next start */
    writer_free(w);
}

static void put_trailer(struct body_writer *w, const struct body_ref *ref)
{
    size_t start = w->table.len;
    struct wire_writer out = wire_write(&w->table);
    uint64_t sum;

    wire_put_u64(&out, 0);
    wire_put_u64(&out, TRAILER_MAGIC);
    wire_put_u32(&out, TRAILER_VERSION);
    wire_put_u32(&out, BODY_BLOCK_BYTES);
    wire_put_bytes(&out, span_make(ref->id, BODY_ID_BYTES));
    wire_put_u64(&out, ref->length);
    wire_put_u64(&out, ref->root);
    wire_put_u64(&out, 0);
    sum = XXH3_64bits(w->table.data + start + SUM_BYTES, TRAILER_BYTES - SUM_BYTES);
    wire_patch_u32(&out, start, (uint32_t)sum);
    wire_patch_u32(&out, start + 4, (uint32_t)(sum >> 32));
}

/* Everything but a full disk is fatal: what a failed sync left behind nobody knows. */
static int failed(struct bodies *b, int rc)
{
    if (rc == BRANT_ENOSPACE)
        return rc;
    atomic_store(&b->dead, true);
    return BRANT_EIO;
}

static int make_durable(struct body_writer *w)
{
    struct bodies *b = w->b;
    struct span tail = buf_span(&w->table);
    char from[PATH_SIZE], to[PATH_SIZE];
    int rc = os_file_write(w->file, w->length, &tail, 1);

    if (rc)
        return failed(b, rc);
    rc = os_file_sync(w->file);
    if (rc)
        return failed(b, BRANT_EIO);
    make_path(STAGING_DIR, w->id, from);
    make_path(BODIES_DIR, w->id, to);
    rc = os_fs_rename(b->fs, from, to);
    if (rc)
        return failed(b, rc);
    if (os_fs_sync_dir(b->fs, BODIES_DIR) || os_fs_sync_dir(b->fs, STAGING_DIR))
        return failed(b, BRANT_EIO);
    return BRANT_OK;
}

int body_finish(struct body_writer *w, struct body_ref *ret)
{
    struct body_ref ref = {.length = w->length};
    int rc;

    if (w->length % BODY_BLOCK_BYTES)
        end_block(w);
    memcpy(ref.id, w->id, sizeof ref.id);
    ref.root = root_of(w->id, buf_span(&w->table), w->length);
    put_trailer(w, &ref);
    rc = atomic_load(&w->b->dead) ? BRANT_EIO : make_durable(w);
    if (rc) {
        body_abort(w);
        return rc;
    }
    writer_free(w);
    *ret = ref;
    return BRANT_OK;
}

static int read_table(struct body_reader *r)
{
    uint64_t bytes = block_count(r->ref.length) * SUM_BYTES, size;
    int rc = os_file_size(r->file, &size);

    if (rc)
        return BRANT_EIO;
    if (r->ref.length > size || size - r->ref.length != bytes + TRAILER_BYTES)
        return BRANT_ECORRUPT;
    r->table = mem_alloc((size_t)bytes);
    rc = os_file_read(r->file, r->ref.length, r->table, (size_t)bytes);
    if (rc)
        return rc;
    if (root_of(r->ref.id, span_make(r->table, (size_t)bytes), r->ref.length) != r->ref.root)
        return BRANT_ECORRUPT;
    return BRANT_OK;
}

int body_open(struct bodies *b, const struct body_ref *ref, struct body_reader **ret)
{
    struct body_reader *r;
    struct os_file *file;
    char path[PATH_SIZE];
    int rc;

    make_path(BODIES_DIR, ref->id, path);
    rc = os_fs_open(b->fs, path, OS_OPEN_READ, &file);
    if (rc)
        return rc;
    r = mem_zalloc(sizeof *r);
    *r = (struct body_reader){.b = b, .file = file, .ref = *ref, .block_no = UINT64_MAX};
    rc = read_table(r);
    if (rc) {
        body_close(r);
        return rc;
    }
    *ret = r;
    return BRANT_OK;
}

void body_close(struct body_reader *r)
{
    if (!r)
        return;
    os_file_close(r->file);
    free(r->table);
    free(r->block);
    free(r);
}

static size_t block_length(const struct body_reader *r, uint64_t block)
{
    uint64_t left = r->ref.length - block * BODY_BLOCK_BYTES;

    return left < BODY_BLOCK_BYTES ? (size_t)left : BODY_BLOCK_BYTES;
}

/* Brings a block into r->block and verifies it. */
static int load_block(struct body_reader *r, uint64_t block)
{
    size_t len = block_length(r, block);
    int rc;

    if (r->block_no == block)
        return BRANT_OK;
    if (!r->block)
        r->block = mem_alloc(BODY_BLOCK_BYTES);
    r->block_no = UINT64_MAX;
    rc = os_file_read(r->file, block * BODY_BLOCK_BYTES, r->block, len);
    if (rc)
        return rc;
    if (XXH3_64bits_withSeed(r->block, len, block_seed(r->ref.id, block)) !=
        le64(r->table + block * SUM_BYTES))
        return BRANT_ECORRUPT;
    r->block_no = block;
    return BRANT_OK;
}

int body_read(struct body_reader *r, uint64_t offset, void *data, size_t len)
{
    uint8_t *to = data;

    if (offset > r->ref.length || len > r->ref.length - offset)
        return BRANT_ECORRUPT;
    while (len) {
        size_t at = (size_t)(offset % BODY_BLOCK_BYTES), part;
        int rc = load_block(r, offset / BODY_BLOCK_BYTES);

        if (rc)
            return rc;
        part = block_length(r, r->block_no) - at;
        if (part > len)
            part = len;
        memcpy(to, r->block + at, part);
        to += part;
        offset += part;
        len -= part;
    }
    return BRANT_OK;
}

static int check_trailer(struct body_reader *r)
{
    uint8_t bytes[TRAILER_BYTES];
    uint64_t at = r->ref.length + block_count(r->ref.length) * SUM_BYTES;
    int rc = os_file_read(r->file, at, bytes, sizeof bytes);
    struct wire_reader in = wire_read(span_make(bytes, sizeof bytes));

    if (rc)
        return rc;
    if (wire_get_u64(&in) != XXH3_64bits(bytes + SUM_BYTES, TRAILER_BYTES - SUM_BYTES) ||
        wire_get_u64(&in) != TRAILER_MAGIC || wire_get_u32(&in) != TRAILER_VERSION ||
        wire_get_u32(&in) != BODY_BLOCK_BYTES ||
        memcmp(wire_get_bytes(&in, BODY_ID_BYTES).p, r->ref.id, BODY_ID_BYTES) ||
        wire_get_u64(&in) != r->ref.length || wire_get_u64(&in) != r->ref.root)
        return BRANT_ECORRUPT;
    return BRANT_OK;
}

int bodies_check(struct bodies *b, const struct body_ref *ref)
{
    struct body_reader *r;
    int rc = body_open(b, ref, &r);

    if (rc)
        return rc;
    for (uint64_t block = 0; !rc && block < block_count(ref->length); block++)
        rc = load_block(r, block);
    if (!rc)
        rc = check_trailer(r);
    body_close(r);
    return rc;
}
