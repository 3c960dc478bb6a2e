/* Large bodies on the simulated disk: a crash at every operation, full disks, failed syncs. A body that was
 * finished is there and whole; one that was not is whole too or not there; staging is empty after a start. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/wire.h"
#include "os/sim_disk.h"
#include "store/bodies.h"

#define BODIES 3u
#define BYTES  150000u

static const struct bodies_config config = {
    .source_staged_bytes_max = 1 << 20, .staged_bytes_max = 1 << 20, .body_bytes_max = 1 << 20};

static uint8_t content[BYTES];

struct outcome {
    unsigned finished;
    struct body_ref refs[BODIES];
};

static struct span bytes_of(unsigned i)
{
    return span_make(content, BYTES - i * 40000);
}

/* Stages all at once, finishes one after the other; stops at the first failure. */
static int write_all(struct bodies *b, struct outcome *o)
{
    struct body_writer *writers[BODIES] = {NULL};
    int rc = BRANT_OK;

    for (unsigned i = 0; !rc && i < BODIES; i++) {
        rc = bodies_stage(b, i, &writers[i]);
        for (size_t at = 0; !rc && at < bytes_of(i).len; at += 30000)
            rc = body_append(writers[i], span_sub(bytes_of(i), at, 30000));
    }
    for (unsigned i = 0; !rc && i < BODIES; i++) {
        rc = body_finish(writers[i], &o->refs[i]);
        writers[i] = NULL;
        o->finished += !rc;
    }
    for (unsigned i = 0; i < BODIES; i++)
        body_abort(writers[i]);
    assert_int_equal(bodies_staged_bytes(b), 0);
    return rc;
}

static void expect_whole(struct bodies *b, const struct body_ref *ref, struct span bytes)
{
    static uint8_t read[BYTES];
    struct body_reader *r;

    assert_int_equal(bodies_check(b, ref), BRANT_OK);
    assert_int_equal(ref->length, bytes.len);
    assert_int_equal(body_open(b, ref, &r), BRANT_OK);
    assert_int_equal(body_read(r, 0, read, bytes.len), BRANT_OK);
    assert_memory_equal(read, bytes.p, bytes.len);
    body_close(r);
}

/* The reference, from the file's own trailer. */
static struct body_ref ref_from_file(struct sim_disk *d, const uint8_t *id)
{
    char path[64] = "bodies/";
    struct body_ref ref;
    uint8_t trailer[64];
    uint64_t size;
    struct wire_reader in = wire_read(span_make(trailer + 40, 16));

    for (size_t i = 0; i < BODY_ID_BYTES; i++)
        (void)snprintf(path + 7 + 2 * i, 3, "%02x", id[i]);
    assert_int_equal(sim_disk_file_size(d, path, &size), BRANT_OK);
    assert_int_equal(sim_disk_peek(d, path, size - 64, trailer, 64), BRANT_OK);
    memcpy(ref.id, id, sizeof ref.id);
    ref.length = wire_get_u64(&in);
    ref.root = wire_get_u64(&in);
    return ref;
}

static void check(struct sim_disk *d, const struct outcome *o)
{
    struct os_fs *fs = sim_disk_mount(d);
    _cleanup_buf_ struct buf names;
    struct bodies *b;
    uint8_t id[BODY_ID_BYTES];
    unsigned old = 0;

    buf_init(&names, 4096);
    assert_int_equal(bodies_open(fs, &config, &b), BRANT_OK);
    assert_int_equal(os_fs_list(fs, "staging", &names), BRANT_OK);
    assert_int_equal(names.len, 0);
    for (unsigned i = 0; i < o->finished; i++)
        expect_whole(b, &o->refs[i], bytes_of(i));
    while (bodies_next_old(b, id) == BRANT_OK) {
        struct body_ref ref = ref_from_file(d, id);

        assert_int_equal(bodies_check(b, &ref), BRANT_OK);
        old++;
    }
    assert_in_range(old, o->finished, o->finished + 1);
    bodies_free(b);
    os_fs_free(fs);
}

/* False: the crash point lies behind the end. */
static bool run(uint64_t seed, uint64_t crash_at, bool power)
{
    struct sim_disk *d = sim_disk_new(&(struct sim_disk_config){.seed = seed});
    struct os_fs *fs = sim_disk_mount(d);
    struct outcome o = {0};
    struct bodies *b;
    bool crashed;

    sim_disk_crash_at(d, crash_at);
    if (bodies_open(fs, &config, &b) == BRANT_OK) {
        (void)write_all(b, &o);
        bodies_free(b);
    }
    crashed = sim_disk_crashed(d);
    assert_true(crashed || o.finished == BODIES);
    os_fs_free(fs);
    if (power)
        sim_disk_power_cut(d);
    else
        sim_disk_process_kill(d);
    check(d, &o);
    sim_disk_power_cut(d);
    check(d, &o);
    sim_disk_free(d);
    return crashed;
}

static void test_crash_at_every_operation(void **state)
{
    unsigned runs = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        for (uint64_t at = 1; run(seed * 1000 + at, at, seed % 3); at++) {
            runs++;
            assert_true(at < 1000);
        }
    }
    print_message("%u crashes\n", runs);
    assert_true(runs > 100);
}

/* A full disk refuses and leaves nothing; when space is back everything works again. */
static void test_full_disk(void **state)
{
    unsigned refused = 0;

    (void)state;
    for (uint64_t capacity = 0; capacity < 400000; capacity += 20000) {
        struct sim_disk *d =
            sim_disk_new(&(struct sim_disk_config){.seed = capacity, .capacity_bytes = capacity + 1});
        struct os_fs *fs = sim_disk_mount(d);
        struct outcome o = {0};
        struct bodies *b;
        int rc;

        assert_int_equal(bodies_open(fs, &config, &b), BRANT_OK);
        rc = write_all(b, &o);
        assert_true(rc == BRANT_OK || rc == BRANT_ENOSPACE);
        refused += rc == BRANT_ENOSPACE;
        for (unsigned i = 0; i < o.finished; i++)
            assert_int_equal(bodies_unlink(b, o.refs[i].id), BRANT_OK);
        assert_int_equal(sim_disk_used(d), 0);
        sim_disk_set_capacity(d, 0);
        o.finished = 0;
        assert_int_equal(write_all(b, &o), BRANT_OK);
        bodies_free(b);
        os_fs_free(fs);
        sim_disk_free(d);
    }
    assert_in_range(refused, 10, 19);
}

/* After a failed sync no body is ever reported as durable again. */
static void test_failed_sync(void **state)
{
    unsigned failures = 0;

    (void)state;
    for (uint64_t n = 1; n <= 9; n++) {
        struct sim_disk *d = sim_disk_new(&(struct sim_disk_config){.seed = n});
        struct os_fs *fs = sim_disk_mount(d);
        struct outcome o = {0}, later = {0};
        struct bodies *b;

        assert_int_equal(bodies_open(fs, &config, &b), BRANT_OK);
        sim_disk_fail(d, SIM_DISK_SYNC, n);
        assert_int_equal(write_all(b, &o), BRANT_EIO);
        assert_int_equal(o.finished, (n - 1) / 3); /* three syncs each */
        assert_int_equal(write_all(b, &later), BRANT_EIO);
        assert_int_equal(later.finished, 0);
        failures++;
        bodies_free(b);
        os_fs_free(fs);
        sim_disk_power_cut(d);
        fs = sim_disk_mount(d);
        assert_int_equal(bodies_open(fs, &config, &b), BRANT_OK);
        for (unsigned i = 0; i < o.finished; i++)
            expect_whole(b, &o.refs[i], bytes_of(i));
        bodies_free(b);
        os_fs_free(fs);
        sim_disk_free(d);
    }
    assert_int_equal(failures, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crash_at_every_operation),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_failed_sync),
    };

    for (size_t i = 0; i < BYTES; i++)
        content[i] = (uint8_t)(i * 2654435761u >> 13);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
