/* What the store's tests share: a store on a simulated disk, driven step by step on one thread. */
#ifndef STORE_TESTING_H
#define STORE_TESTING_H

#include <assert.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "os/sim_disk.h"
#include "store/state.h"

struct bench {
    struct sim_disk *disk;
    struct os_fs *fs;
    struct store *st;
    struct store_reader *reader;
    struct store_opened opened;
    struct store_config config;
    int64_t now_ms;
    uint64_t random;
};

static int64_t bench_now(void *ctx)
{
    return ((struct bench *)ctx)->now_ms;
}

static void bench_random(void *ctx, void *out, size_t len)
{
    struct bench *b = ctx;
    uint8_t *p = out;

    for (size_t i = 0; i < len; i++) {
        b->random = b->random * 6364136223846793005u + 1442695040888963407u;
        p[i] = (uint8_t)(b->random >> 56);
    }
}

static inline int bench_open(struct bench *b)
{
    struct store_seam seam = {.now_ms = bench_now, .random = bench_random, .ctx = b};
    int rc;

    b->fs = sim_disk_mount(b->disk);
    rc = store_open(b->fs, &b->config, &seam, &b->st, &b->opened);
    if (rc)
        b->st = NULL;
    else
        rc = store_reader_new(b->st, &b->reader);
    return rc;
}

static inline void bench_close(struct bench *b)
{
    store_reader_free(b->reader);
    store_close(b->st);
    os_fs_free(b->fs);
    b->reader = NULL;
    b->st = NULL;
    b->fs = NULL;
}

static inline void bench_init(struct bench *b, uint64_t seed)
{
    struct sim_disk_config dc = {.seed = seed};

    memset(b, 0, sizeof *b);
    b->disk = sim_disk_new(&dc);
    b->random = seed;
    b->now_ms = 1700000000000;
    store_config_default(&b->config);
    b->config.segment_bytes = 64u << 10;
    b->config.reserve_bytes = 1;
    b->config.inline_bytes_max = 4096;
}

static inline void bench_done(struct bench *b)
{
    bench_close(b);
    sim_disk_free(b->disk);
}

static void bench_answered(struct store_op *op)
{
    *(bool *)op->ctx = true;
}

/* Submits and drives everything until it is answered. BRANT_EIO when the journal died. */
static inline int bench_run(struct bench *b, struct store_op *op)
{
    bool answered = false;

    op->done = bench_answered;
    op->ctx = &answered;
    store_submit(b->st, op);
    while (!answered) {
        b->now_ms++;
        if (store_writer_step(b->st, b->now_ms) == BRANT_EIO)
            return BRANT_EIO;
        if (!answered) {
            int rc = store_apply_step(b->st, b->now_ms);

            if (rc < 0)
                return rc;
        }
    }
    return op->result;
}

static inline int bench_domain_add(struct bench *b, const char *name)
{
    struct store_op op = {.kind = STORE_OP_DOMAIN_ADD, .domain = {.name = span_str(name)}};

    return bench_run(b, &op);
}

static inline int bench_account_add(struct bench *b, const char *address, uint64_t *ret_id)
{
    struct store_op op = {.kind = STORE_OP_ACCOUNT_ADD, .account = {.address = span_str(address)}};
    int rc = bench_run(b, &op);

    if (!rc && ret_id)
        *ret_id = op.account.account;
    return rc;
}

static inline int bench_alias(struct bench *b, enum store_op_kind kind, const char *address,
                              const char *target)
{
    struct store_op op = {.kind = kind, .alias = {.address = span_str(address), .target = span_str(target)}};

    return bench_run(b, &op);
}

static inline struct store_body *bench_body(struct bench *b, struct span bytes)
{
    struct store_body *body = store_body_new(b->st, 1);
    int rc = store_body_append(body, bytes);

    if (!rc)
        rc = store_body_finish(body);
    if (rc) {
        store_body_free(body);
        return NULL;
    }
    return body;
}

/* One message for one recipient; id tells commits apart. */
static inline int bench_commit(struct bench *b, uint8_t id, const char *rcpt, struct span prefix,
                               struct span body)
{
    struct store_rcpt rcpts[1] = {{.address = span_str(rcpt)}};
    struct store_op op = {.kind = STORE_OP_COMMIT,
                          .commit = {.id = {id},
                                     .session = {0xaa, id},
                                     .source = SPAN_LIT("192.0.2.1"),
                                     .protocol = SPAN_LIT("ESMTP"),
                                     .helo = SPAN_LIT("client.example"),
                                     .reverse_path = SPAN_LIT("sender@example.org"),
                                     .message_id = SPAN_LIT("<1@example.org>"),
                                     .structure = SPAN_LIT("opaque"),
                                     .prefixes = &prefix,
                                     .prefix_count = 1,
                                     .rcpts = rcpts,
                                     .rcpt_count = 1,
                                     .body = bench_body(b, body)}};

    if (!op.commit.body)
        return BRANT_EIO;
    return bench_run(b, &op);
}

static inline int bench_change(struct bench *b, struct store_op *op, enum store_op_kind kind,
                               uint64_t account, const uint32_t *uids, size_t count)
{
    struct store_range ranges[64];

    assert_true(count <= 64);
    for (size_t i = 0; i < count; i++)
        ranges[i] = (struct store_range){uids[i], uids[i]};
    *op = (struct store_op){.kind = kind,
                            .change = {.account = account,
                                       .ranges = ranges,
                                       .range_count = count,
                                       .flags = op->change.flags,
                                       .action = op->change.action,
                                       .target = op->change.target,
                                       .has_unchanged_since = op->change.has_unchanged_since,
                                       .unchanged_since = op->change.unchanged_since,
                                       .touched = op->change.touched,
                                       .modified = op->change.modified}};
    return bench_run(b, op);
}

/* ret_id may be NULL. */
static inline int bench_mailbox(struct bench *b, enum store_mailbox_action action, uint64_t account,
                                const char *name, const char *target, uint64_t *ret_id)
{
    struct store_op op = {.kind = STORE_OP_MAILBOX,
                          .mailbox = {.account = account,
                                      .action = (uint8_t)action,
                                      .name = span_str(name),
                                      .target = span_str(target)}};
    int rc = bench_run(b, &op);

    if (ret_id)
        *ret_id = op.mailbox.mailbox;
    return rc;
}

/* Applies and checkpoints everything. */
static inline void bench_settle(struct bench *b)
{
    for (int i = 0; i < 10000; i++) {
        int did = 0;

        b->now_ms += 50;
        did |= store_writer_step(b->st, b->now_ms) == 1;
        did |= store_apply_step(b->st, b->now_ms) == 1;
        did |= store_checkpoint_step(b->st, b->now_ms) == 1;
        did |= store_compaction_step(b->st, b->now_ms) == 1;
        if (!did)
            return;
    }
    fail_msg("the store never settles");
}

/* Reads a whole message into the buffer (emptied first). */
static inline int bench_read_in(struct bench *b, uint64_t account, uint64_t mailbox, uint32_t uid,
                                struct buf *out)
{
    struct store_message *m;
    size_t len = 0;
    int rc = store_message_open(b->reader, account, mailbox, uid, &m);

    buf_reset(out);
    if (rc)
        return rc;
    do {
        uint8_t piece[1000];

        rc = store_message_read(m, out->len, piece, sizeof piece, &len);
        if (!rc)
            (void)buf_append(out, span_make(piece, len));
    } while (!rc && len);
    if (!rc && out->len != store_message_bytes(m))
        rc = BRANT_ECORRUPT;
    store_message_close(m);
    return rc;
}

static inline int bench_read(struct bench *b, uint64_t account, uint32_t uid, struct buf *out)
{
    return bench_read_in(b, account, 0, uid, out);
}

/* index == rebuild(journal): the dump of the index now, and of one made anew from the journal. The store is
 * closed and opened in between. */
static inline bool bench_same_after_rebuild(struct bench *b, bool print)
{
    struct store_seam seam = {.now_ms = bench_now, .random = bench_random, .ctx = b};
    _cleanup_buf_ struct buf before, after;
    bool same;

    buf_init(&before, 64u << 20);
    buf_init(&after, 64u << 20);
    if (store_wait_applied(b->st, journal_last_seq(b->st->journal)) || index_dump(b->reader->ix, &before))
        return false;
    bench_close(b);
    b->fs = sim_disk_mount(b->disk);
    if (store_rebuild(b->fs, &b->config, &seam, &b->opened))
        return false;
    os_fs_free(b->fs);
    if (bench_open(b) || index_dump(b->reader->ix, &after))
        return false;
    same = span_eq(buf_span(&before), buf_span(&after));
    if (!same && print)
        printf("--- index\n%s--- rebuilt\n%s", buf_cstr(&before), buf_cstr(&after));
    return same;
}

#endif
