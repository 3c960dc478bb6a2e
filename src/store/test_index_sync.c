/* A sync of the index that failed (rule 6): what its files hold is unknown then. Nothing is written to them
 * any more, by closing neither, and the next start, which may find in the page cache what the disk has lost,
 * makes it durable before it goes on. Otherwise the database would one day be read through a part of its log
 * that is older than itself. */
#include <stdio.h>
#include <stdlib.h>

#include "store/testing.h"

enum { SEEDS = 60 };

static void commit(struct bench *b, uint8_t id)
{
    assert_int_equal(bench_commit(b, id, "alice@brant.test", SPAN_LIT("N: 1\r\n"), SPAN_LIT("body\r\n")),
                     BRANT_OK);
}

static void apply_all(struct bench *b)
{
    assert_int_equal(store_wait_applied(b->st, journal_last_seq(b->st->journal)), BRANT_OK);
}

/* Some mail in the database, and some more in its log, by several transactions. */
static void start(struct bench *b, uint64_t seed)
{
    bench_init(b, seed);
    assert_int_equal(bench_open(b), BRANT_OK);
    assert_int_equal(bench_domain_add(b, "brant.test"), BRANT_OK);
    assert_int_equal(bench_account_add(b, "alice@brant.test", NULL), BRANT_OK);
    commit(b, 1);
    apply_all(b);
    assert_int_equal(store_checkpoint_step(b->st, b->now_ms), 1);
    for (uint8_t id = 2; id < 8; id++) {
        commit(b, id);
        apply_all(b);
    }
}

/* No step changes anything on the disk any more, nor does the end. */
static void end_dead(struct bench *b)
{
    uint64_t operations = sim_disk_operations(b->disk);

    assert_true(store_dead(b->st));
    for (int i = 0; i < 3; i++) {
        b->now_ms += 1000;
        assert_int_equal(store_writer_step(b->st, b->now_ms), BRANT_EIO);
        assert_int_equal(store_checkpoint_step(b->st, b->now_ms), BRANT_EIO);
        assert_in_range(-store_apply_step(b->st, b->now_ms), 0, -BRANT_EIO);
        assert_int_equal(store_compaction_step(b->st, b->now_ms), 0);
    }
    bench_close(b);
    assert_int_equal(sim_disk_operations(b->disk), operations);
}

static void fail_checkpoint(struct bench *b, uint64_t nth)
{
    sim_disk_fail(b->disk, SIM_DISK_SYNC, nth);
    assert_int_equal(store_checkpoint_step(b->st, b->now_ms), BRANT_EIO);
    end_dead(b);
}

static void finish(struct bench *b)
{
    sim_disk_crash_at(b->disk, 0);
    assert_int_equal(bench_open(b), BRANT_OK);
    assert_true(bench_same_after_rebuild(b, true));
    bench_done(b);
}

/* The first sync of a checkpoint is that of the log, the second that of the database. */
static void power_cut_follows(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct bench b;

        start(&b, seed);
        fail_checkpoint(&b, 1 + seed % 2);
        sim_disk_power_cut(b.disk);
        finish(&b);
    }
}

/* The machine goes on: the next start still reads what the disk never got. */
static void restart_follows(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct bench b;

        start(&b, seed);
        fail_checkpoint(&b, 1 + seed % 2);
        sim_disk_process_kill(b.disk);
        sim_disk_crash_at(b.disk, sim_disk_operations(b.disk) + 1 + seed);
        if (bench_open(&b) == BRANT_OK)
            (void)store_checkpoint_step(b.st, b.now_ms);
        bench_close(&b);
        sim_disk_power_cut(b.disk);
        finish(&b);
    }
}

/* A full disk: apply itself copies the log back. A sync that fails there counts like any other. */
static void full_disk(void **state)
{
    struct bench b;

    (void)state;
    start(&b, 1);
    commit(&b, 8);
    sim_disk_set_capacity(b.disk, sim_disk_used(b.disk));
    sim_disk_fail(b.disk, SIM_DISK_SYNC, 1);
    for (int i = 0; i < 100 && !store_dead(b.st); i++) {
        b.now_ms += 50;
        (void)store_apply_step(b.st, b.now_ms);
    }
    end_dead(&b);
    sim_disk_power_cut(b.disk);
    sim_disk_set_capacity(b.disk, 0);
    finish(&b);
}

/* A rebuild that is cut short leaves no database without the log that it was half copied from. */
static void rebuild_cut_short(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct bench b;
        struct store_seam seam = {.now_ms = bench_now, .random = bench_random, .ctx = &b};

        start(&b, seed);
        sim_disk_crash_at(b.disk, sim_disk_operations(b.disk) + 3);
        assert_int_equal(store_checkpoint_step(b.st, b.now_ms), BRANT_EIO);
        bench_close(&b);
        sim_disk_process_kill(b.disk);
        sim_disk_crash_at(b.disk, sim_disk_operations(b.disk) + 2 + seed % 4);
        b.fs = sim_disk_mount(b.disk);
        (void)store_rebuild(b.fs, &b.config, &seam, &b.opened);
        os_fs_free(b.fs);
        sim_disk_power_cut(b.disk);
        finish(&b);
    }
}

/* A clean end leaves no log. */
static void clean_end(void **state)
{
    struct bench b;
    uint64_t size = 0;

    (void)state;
    start(&b, 1);
    bench_close(&b);
    assert_int_equal(sim_disk_file_size(b.disk, INDEX_LOG_PATH, &size), BRANT_ENOTFOUND);
    finish(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_cut_follows), cmocka_unit_test(restart_follows), cmocka_unit_test(full_disk),
        cmocka_unit_test(rebuild_cut_short), cmocka_unit_test(clean_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
