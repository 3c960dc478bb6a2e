/* Small files on the simulated disk: with crashes at every operation, faults and damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/err.h"
#include "os/sim_disk.h"
#include "roles/store/files.h"

/* Once it was told, the secret is the same for ever; whatever came before that. */
static void test_secret_survives(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        for (uint64_t crash = 1; crash <= 12; crash++) {
            struct sim_disk *d = sim_disk_new(&(struct sim_disk_config){.seed = seed});
            uint8_t first[FILES_SECRET_BYTES], later[FILES_SECRET_BYTES];
            struct os_fs *fs = sim_disk_mount(d);
            sim_disk_crash_at(d, sim_disk_operations(d) + crash);
            int rc = files_secret(fs, first);
            os_fs_free(fs);
            sim_disk_crash_at(d, 0);
            sim_disk_power_cut(d);
            fs = sim_disk_mount(d);
            assert_int_equal(files_secret(fs, later), BRANT_OK);
            if (rc == BRANT_OK)
                assert_memory_equal(first, later, sizeof first);
            os_fs_free(fs);
            for (int again = 0; again < 3; again++) {
                sim_disk_power_cut(d);
                fs = sim_disk_mount(d);
                assert_int_equal(files_secret(fs, first), BRANT_OK);
                assert_memory_equal(first, later, sizeof first);
                os_fs_free(fs);
            }
            sim_disk_free(d);
        }
    }
}

static void test_secret_faults(void **state)
{
    (void)state;
    uint8_t a[FILES_SECRET_BYTES] = {0}, b[FILES_SECRET_BYTES] = {0};
    static const enum sim_disk_fault faults[] = {SIM_DISK_SYNC, SIM_DISK_WRITE, SIM_DISK_CREATE};
    struct sim_disk *d;
    struct os_fs *fs;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        d = sim_disk_new(&(struct sim_disk_config){.seed = 1});
        fs = sim_disk_mount(d);
        sim_disk_fail(d, faults[i], 1);
        assert_int_not_equal(files_secret(fs, a), BRANT_OK);
        assert_memory_not_equal(a, b, sizeof a); /* it is one all the same */
        memcpy(b, a, sizeof b);
        os_fs_free(fs);
        sim_disk_free(d);
    }
    d = sim_disk_new(&(struct sim_disk_config){.seed = 1});
    fs = sim_disk_mount(d);
    assert_int_equal(files_secret(fs, a), BRANT_OK);
    sim_disk_fail(d, SIM_DISK_READ, 1);
    assert_int_equal(files_secret(fs, b),
                     BRANT_EIO); /* it is not replaced because it can't be read just now */
    assert_int_equal(files_secret(fs, b), BRANT_OK);
    assert_memory_equal(a, b, sizeof a);
    for (uint64_t size = 0; size < 100; size += 31) { /* one of another length is none */
        assert_int_equal(sim_disk_resize(d, "secret", size), BRANT_OK);
        assert_int_equal(files_secret(fs, b), BRANT_OK);
        assert_memory_not_equal(a, b, sizeof a);
        assert_int_equal(files_secret(fs, a), BRANT_OK);
        assert_memory_equal(a, b, sizeof a);
    }
    os_fs_free(fs);
    sim_disk_free(d);
}

static void test_read_and_write(void **state)
{
    (void)state;
    struct sim_disk *d = sim_disk_new(&(struct sim_disk_config){.seed = 1});
    struct os_fs *fs = sim_disk_mount(d);
    struct buf _cleanup_buf_ out;
    buf_init(&out, 10);
    assert_int_equal(files_read(fs, "x", &out), BRANT_ENOTFOUND);
    assert_int_equal(files_write(fs, "x", SPAN_LIT("0123456789"), false), BRANT_OK);
    assert_int_equal(files_read(fs, "x", &out), BRANT_OK);
    assert_true(span_eq_str(buf_span(&out), "0123456789"));
    assert_int_equal(files_read(fs, "x", &out), BRANT_ELIMIT);
    buf_reset(&out);
    assert_int_equal(files_write(fs, "x", SPAN_LIT("ab"), true), BRANT_OK);
    assert_int_equal(files_read(fs, "x", &out), BRANT_OK);
    assert_true(span_eq_str(buf_span(&out), "ab"));
    assert_int_equal(files_write(fs, "x", SPAN_NONE, true), BRANT_OK);
    buf_reset(&out);
    assert_int_equal(files_read(fs, "x", &out), BRANT_OK);
    assert_int_equal(out.len, 0);
    os_fs_free(fs);
    sim_disk_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_secret_survives),
        cmocka_unit_test(test_secret_faults),
        cmocka_unit_test(test_read_and_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
