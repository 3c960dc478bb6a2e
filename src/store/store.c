/* Opening and closing, the threads, and the answers that come from memory. */
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/state.h"

void store_config_default(struct store_config *ret)
{
    *ret = (struct store_config){
        .segment_bytes = 64u << 20,
        .reserve_bytes = 0,
        .message_bytes_max = 50u << 20,
        .inline_bytes_max = 256u << 10,
        .staged_bytes_max = 1u << 30,
        .body_memory_max = 128u << 20,
        .wal_bytes_max = 32u << 20,
        .apply_gather_ms = 20,
        .apply_records_max = 4096,
        .lag_records_max = 65536,
        .compact_live_percent = 50,
        .gone_retention_ms = (int64_t)7 * 24 * 3600 * 1000,
        .trace_retention_ms = (int64_t)7 * 24 * 3600 * 1000,
        .delimiter = '+',
    };
}

/* Rule 8: the log of the index and one and a half of the largest message always fit. */
static uint64_t reserve(const struct store_config *c)
{
    return c->reserve_bytes ? c->reserve_bytes : c->wal_bytes_max + c->message_bytes_max * 3 / 2;
}

/* ---- Opening
 * ----------------------------------------------------------------------------------------------------- */

static void init(struct store *st)
{
    struct map_key key;
    pthread_condattr_t attr;

    st->seam.random(st->seam.ctx, &key, sizeof key);
    dir_init(&st->dir, &st->config, key);
    commits_init(&st->commits, key);
    queue_heads_init(&st->queue_heads, key);
    news_init(&st->news, key);
    arena_init(&st->writer_arena, 4 * RECORD_ARENA_BYTES);
    st->answers_tail = &st->answers;
    st->parked_tail = &st->parked;
    st->submitted_tail = &st->submitted;
    st->queue_tail = &st->queue;
    pthread_mutex_init(&st->lock, NULL);
    pthread_mutex_init(&st->checkpoint_lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&st->writer_cond, &attr);
    pthread_cond_init(&st->apply_cond, &attr);
    pthread_cond_init(&st->applied_cond, &attr);
    pthread_cond_init(&st->care_cond, &attr);
    pthread_condattr_destroy(&attr);
}

static int replay_into(struct store *st, struct store_opened *opened)
{
    int rc = index_open(st->fs, true, &st->applier.ix);

    return rc ? rc : apply_journal(&st->applier, st->journal, opened);
}

/* The index is worth nothing by itself: one that can't be used is made anew. */
static int open_index(struct store *st, struct store_opened *opened)
{
    int rc;

    applier_init(&st->applier, NULL);
    rc = replay_into(st, opened);
    if (rc == BRANT_ECORRUPT || rc == BRANT_EUNSUPPORTED) {
        index_close(st->applier.ix);
        st->applier.ix = NULL;
        opened->index_rebuilt = true;
        opened->records_applied = opened->records_damaged = 0;
        rc = index_delete(st->fs);
        if (!rc)
            rc = replay_into(st, opened);
    }
    if (!rc && opened->records_applied && opened->records_applied == journal_last_seq(st->journal))
        opened->index_rebuilt = true;
    st->applier.live = true;
    return rc;
}

static int load_commits(struct store *st)
{
    struct index *ix = st->writer_ix;
    uint64_t *found = mem_array(COMMITS_MAX, sizeof *found);
    uint8_t(*ids)[16] = mem_array(COMMITS_MAX, 16);
    size_t count = 0;
    int rc = index_query(ix, INDEX_MESSAGE_OLDER, INDEX_N(INT64_MAX), INDEX_N(COMMITS_MAX));

    while (!rc && !(rc = index_row(ix, INDEX_MESSAGE_OLDER))) {
        struct span id = index_bytes(ix, INDEX_MESSAGE_OLDER, 11);

        if (id.len != 16)
            continue;
        memcpy(ids[count], id.p, 16);
        found[count++] = index_number(ix, INDEX_MESSAGE_OLDER, 0);
    }
    while (count--)
        commits_put(&st->commits, ids[count], found[count]);
    free(found);
    free(ids);
    return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
}

static int load_queued(struct store *st)
{
    int rc = index_bind(st->writer_ix, INDEX_QUEUE_COUNT, NULL, 0);

    if (!rc)
        rc = index_row(st->writer_ix, INDEX_QUEUE_COUNT);
    if (rc)
        return rc;
    atomic_store(&st->queued_count, index_number(st->writer_ix, INDEX_QUEUE_COUNT, 0));
    index_reset(st->writer_ix, INDEX_QUEUE_COUNT);
    return BRANT_OK;
}

static void load_removing(struct store *st)
{
    struct map_iter it = map_iterate(&st->dir.accounts);
    struct dir_account *a;

    while ((a = map_next(&it, NULL))) {
        if (a->state == RECORD_STATE_REMOVING)
            ops_removing_add(st, a->id);
        for (const struct dir_mailbox *box = a->removing; box; box = box->next)
            ops_removing_add(st, box->id);
    }
}

/* Body files that no live message names: the commit never came, or the last entry went. */
static int remove_orphans(struct store *st, struct store_opened *opened)
{
    uint8_t id[BODY_ID_BYTES];
    int rc;

    while (!(rc = bodies_next_old(st->bodies, id))) {
        rc = index_query(st->writer_ix, INDEX_MESSAGE_FILE, INDEX_B(span_make(id, sizeof id)));
        if (!rc)
            rc = index_row(st->writer_ix, INDEX_MESSAGE_FILE);
        index_reset(st->writer_ix, INDEX_MESSAGE_FILE);
        if (rc == BRANT_ENOTFOUND) {
            (void)bodies_unlink(st->bodies, id);
            opened->orphans_removed++;
        } else if (rc) {
            return rc;
        }
    }
    return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
}

static int open_all(struct store *st, bool new_index, struct store_opened *opened)
{
    struct journal_config jc = {.segment_bytes = st->config.segment_bytes,
                                .record_bytes_max = RECORD_BYTES_MAX};
    struct bodies_config bc = {.source_staged_bytes_max = st->config.staged_bytes_max / 4,
                               .staged_bytes_max = st->config.staged_bytes_max,
                               .body_bytes_max = st->config.staged_bytes_max};
    int rc = os_fs_lock(st->fs, "lock");

    if (!rc)
        rc = new_index ? index_delete(st->fs) : index_settle(st->fs);
    if (!rc)
        rc = journal_open(st->fs, &jc, &st->journal, &opened->journal);
    if (!rc)
        rc = bodies_open(st->fs, &bc, &st->bodies);
    if (!rc)
        rc = open_index(st, opened);
    if (!rc)
        rc = index_open(st->fs, true, &st->writer_ix);
    if (!rc)
        rc = index_open(st->fs, true, &st->checkpoint_ix);
    if (!rc)
        journal_store_id(st->journal, st->dir.store_id);
    if (!rc)
        rc = dir_load(&st->dir, st->writer_ix);
    if (!rc)
        rc = load_commits(st);
    if (!rc)
        rc = load_queued(st);
    /* Damage may hide the record that names a body: then none is removed. */
    if (!rc && !opened->records_damaged && !opened->journal.damaged_records)
        rc = remove_orphans(st, opened);
    return rc;
}

void store_reconfigure(struct store *st, const struct store_config *config)
{
    atomic_store(&st->reserve_bytes, reserve(config));
    atomic_store(&st->message_bytes_max, config->message_bytes_max);
    atomic_store(&st->compact_live_percent, config->compact_live_percent);
    pthread_mutex_lock(&st->dir.lock);
    st->dir.delimiter = config->delimiter;
    pthread_mutex_unlock(&st->dir.lock);
    writer_check_space(st);
}

static int open_store(struct os_fs *fs, const struct store_config *config, const struct store_seam *seam,
                      bool new_index, struct store **ret, struct store_opened *ret_opened)
{
    struct store *st = mem_zalloc(sizeof *st);
    int rc;

    memset(ret_opened, 0, sizeof *ret_opened);
    st->fs = fs;
    st->config = *config;
    atomic_store(&st->reserve_bytes, reserve(config));
    atomic_store(&st->message_bytes_max, config->message_bytes_max);
    atomic_store(&st->compact_live_percent, config->compact_live_percent);
    st->seam = *seam;
    init(st);
    rc = open_all(st, new_index, ret_opened);
    if (rc) {
        store_close(st);
        return rc;
    }
    st->journal_read_only = ret_opened->journal.read_only;
    atomic_store(&st->applied_seq, journal_last_seq(st->journal));
    atomic_store(&st->durable_seq, journal_last_seq(st->journal));
    load_removing(st);
    writer_check_space(st);
    st->compactor = compactor_new(st);
    *ret = st;
    return BRANT_OK;
}

static void batches_free(struct batch *b)
{
    while (b) {
        struct batch *next = b->next;

        buf_done(&b->fields);
        free(b->records);
        free(b);
        b = next;
    }
}

/* The bodies of commits that nobody looked at any more. */
static void drop_bodies(struct store_op *ops)
{
    for (; ops; ops = ops->next) {
        if (ops->kind == STORE_OP_COMMIT)
            store_body_free(ops->commit.body);
        else if (ops->kind == STORE_OP_APPEND)
            store_append_free(ops);
    }
}

void store_close(struct store *st)
{
    if (!st)
        return;
    store_threads_stop(st);
    drop_bodies(st->incoming);
    drop_bodies(st->submitted);
    drop_bodies(st->parked);
    compactor_free(st->compactor);
    batches_free(st->queue);
    batches_free(st->spare);
    index_close(st->writer_ix);
    index_close(st->checkpoint_ix);
    if (st->compactor && !atomic_load(&st->dead))
        index_finish(st->applier.ix);
    index_close(st->applier.ix);
    applier_done(&st->applier);
    if (st->bodies)
        bodies_free(st->bodies);
    /* A clean end: the next start finds nothing behind the durable mark. */
    if (st->compactor && !st->journal_read_only && !atomic_load(&st->dead))
        (void)journal_roll(st->journal);
    journal_free(st->journal);
    dir_done(&st->dir);
    commits_done(&st->commits);
    queue_heads_done(&st->queue_heads);
    news_done(&st->news);
    arena_done(&st->writer_arena);
    free(st->removing);
    free(st->dead_files);
    pthread_cond_destroy(&st->writer_cond);
    pthread_cond_destroy(&st->apply_cond);
    pthread_cond_destroy(&st->applied_cond);
    pthread_cond_destroy(&st->care_cond);
    pthread_mutex_destroy(&st->checkpoint_lock);
    pthread_mutex_destroy(&st->lock);
    free(st);
}

int store_open(struct os_fs *fs, const struct store_config *config, const struct store_seam *seam,
               struct store **ret, struct store_opened *ret_opened)
{
    return open_store(fs, config, seam, false, ret, ret_opened);
}

int store_rebuild(struct os_fs *fs, const struct store_config *config, const struct store_seam *seam,
                  struct store_opened *ret_opened)
{
    struct store *st;
    int rc = open_store(fs, config, seam, true, &st, ret_opened);

    if (rc)
        return rc;
    ret_opened->index_rebuilt = true;
    store_close(st);
    return BRANT_OK;
}

bool store_dead(const struct store *st)
{
    return atomic_load(&st->dead);
}

void store_on_fatal(struct store *st, void (*on_fatal)(void *ctx), void *ctx)
{
    st->on_fatal = on_fatal;
    st->on_fatal_ctx = ctx;
}

/* ---- Questions
 * ------------------------------------------------------------------------------------------------- */

static bool over_quota(const struct dir_account *a, uint64_t size)
{
    return a->quota_bytes && (a->used_bytes >= a->quota_bytes || size > a->quota_bytes - a->used_bytes);
}

static void copy_target(const struct dir_result *from, struct store_target *to)
{
    to->account = from->account->id;
    memcpy(to->address, from->account->name->address, strlen(from->account->name->address) + 1);
    memcpy(to->detail, from->detail, sizeof to->detail);
}

int store_resolve(struct store *st, struct span address, uint64_t size, struct store_target *targets,
                  size_t max, size_t *ret_count)
{
    size_t count = 0, full = 0;
    int rc;

    pthread_mutex_lock(&st->dir.lock);
    rc = dir_resolve(&st->dir, address, &count);
    for (size_t i = 0; !rc && i < count; i++) {
        full += over_quota(st->dir.results[i].account, size);
        if (i < max)
            copy_target(&st->dir.results[i], &targets[i]);
    }
    pthread_mutex_unlock(&st->dir.lock);
    if (rc)
        return rc;
    *ret_count = count;
    if (!atomic_load(&st->accepting))
        return BRANT_ENOSPACE;
    return full == count ? BRANT_ESTATE : BRANT_OK;
}

bool store_accepting(struct store *st)
{
    return atomic_load(&st->accepting);
}

int store_commit_query(struct store *st, const uint8_t id[16])
{
    const struct commit_seen *seen;
    uint64_t message = 0;

    pthread_mutex_lock(&st->dir.lock);
    seen = commits_get(&st->commits, id);
    if (seen)
        message = seen->message;
    pthread_mutex_unlock(&st->dir.lock);
    /* What is appended but not yet synced is not done. */
    return message && message <= atomic_load(&st->durable_seq) ? BRANT_OK : BRANT_ENOTFOUND;
}

int store_account_find(struct store *st, struct span address, struct store_account_info *ret)
{
    char canonical[STORE_ADDRESS_MAX + 1];
    struct dir_name *n;

    if (dir_canonical(address, false, canonical))
        return BRANT_ENOTFOUND;
    pthread_mutex_lock(&st->dir.lock);
    n = dir_name(&st->dir, canonical);
    if (n && n->account)
        dir_account_info(n->account, ret);
    pthread_mutex_unlock(&st->dir.lock);
    return n && n->account ? BRANT_OK : BRANT_ENOTFOUND;
}

int store_account_get(struct store *st, uint64_t account, struct store_account_info *ret)
{
    struct dir_account *a;

    pthread_mutex_lock(&st->dir.lock);
    a = dir_account(&st->dir, account);
    if (a && a->state != RECORD_STATE_LIVE)
        a = NULL;
    if (a)
        dir_account_info(a, ret);
    pthread_mutex_unlock(&st->dir.lock);
    return a ? BRANT_OK : BRANT_ENOTFOUND;
}

static void status_directory(struct store *st, struct store_status *ret)
{
    struct map_iter it;
    struct dir_account *a;
    struct dir_domain *d;

    pthread_mutex_lock(&st->dir.lock);
    it = map_iterate(&st->dir.accounts);
    while ((a = map_next(&it, NULL))) {
        ret->accounts += a->state == RECORD_STATE_LIVE;
        ret->messages += a->messages;
        ret->mail_bytes += a->used_bytes;
    }
    it = map_iterate(&st->dir.domains);
    while ((d = map_next(&it, NULL))) {
        ret->domains++;
        ret->aliases += d->aliases;
    }
    pthread_mutex_unlock(&st->dir.lock);
}

void store_status_get(struct store *st, struct store_status *ret)
{
    struct journal_segment *segments;
    size_t count;

    *ret = (struct store_status){
        .last_seq = atomic_load(&st->durable_seq),
        .durable_seq = atomic_load(&st->durable_seq),
        .applied_seq = atomic_load(&st->applied_seq),
        .checkpointed_seq = atomic_load(&st->checkpointed_seq),
        .free_bytes = atomic_load(&st->free_bytes),
        .reserve_bytes = atomic_load(&st->reserve_bytes),
        .body_memory_bytes = atomic_load(&st->body_memory),
        .commits = atomic_load(&st->commit_count),
        .records = atomic_load(&st->record_count),
        .batches = atomic_load(&st->batch_count),
        .compacted_segments = atomic_load(&st->compacted_count),
        .parked_ops = atomic_load(&st->parked_count),
        .queued = atomic_load(&st->queued_count),
        .accepting = atomic_load(&st->accepting),
        .dead = atomic_load(&st->dead),
        .read_only = st->journal_read_only,
        .index_failing = atomic_load(&st->index_failing),
        .compaction_blocked = atomic_load(&st->compaction_blocked),
    };
    status_directory(st, ret);
    ret->segments = journal_segments(st->journal, NULL, 0);
    segments = mem_array(ret->segments, sizeof *segments);
    count = journal_segments(st->journal, segments, ret->segments);
    for (size_t i = 0; i < count && i < ret->segments; i++)
        ret->journal_bytes += segments[i].bytes;
    free(segments);
}
