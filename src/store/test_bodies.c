/* Large bodies on real files. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "store/bodies.h"

static const struct bodies_config config = {
    .source_staged_bytes_max = 400000, .staged_bytes_max = 600000, .body_bytes_max = 350000};

struct fixture {
    char path[64];
    struct os_fs *fs;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);

    strcpy(f->path, "/tmp/brant-bodies-XXXXXX");
    if (!mkdtemp(f->path))
        return -1;
    f->fs = os_fs_open_real(open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    *state = f;
    return 0;
}

static size_t count_files(struct os_fs *fs, const char *dir, bool remove)
{
    _cleanup_buf_ struct buf names;
    size_t count = 0;

    buf_init(&names, 1 << 20);
    if (os_fs_list(fs, dir, &names))
        return 0;
    for (size_t at = 0; at < names.len; at += strlen((char *)names.data + at) + 1) {
        char path[300];

        count++;
        (void)snprintf(path, sizeof path, "%s/%s", dir, (char *)names.data + at);
        if (remove)
            (void)os_fs_unlink(fs, path);
    }
    return count;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    (void)count_files(f->fs, "bodies", true);
    (void)count_files(f->fs, "staging", true);
    os_fs_free(f->fs);
    if (chdir(f->path) == 0) {
        (void)rmdir("bodies");
        (void)rmdir("staging");
    }
    (void)rmdir(f->path);
    free(f);
    return 0;
}

static struct bodies *open_bodies(struct fixture *f)
{
    struct bodies *b;

    assert_int_equal(bodies_open(f->fs, &config, &b), BRANT_OK);
    return b;
}

static void fill(uint8_t *bytes, size_t len)
{
    uint32_t x = 12345;

    for (size_t i = 0; i < len; i++) {
        x = x * 1664525 + 1013904223;
        bytes[i] = (uint8_t)(x >> 24);
    }
}

static struct body_ref write_body(struct bodies *b, struct span bytes, size_t step)
{
    struct body_writer *w;
    struct body_ref ref;

    assert_int_equal(bodies_stage(b, 1, &w), BRANT_OK);
    for (size_t at = 0; at < bytes.len; at += step)
        assert_int_equal(body_append(w, span_sub(bytes, at, step)), BRANT_OK);
    assert_int_equal(body_finish(w, &ref), BRANT_OK);
    assert_int_equal(ref.length, bytes.len);
    return ref;
}

static void expect_body(struct bodies *b, const struct body_ref *ref, struct span bytes)
{
    _cleanup_free_ uint8_t *read = mem_alloc(bytes.len);
    struct body_reader *r;

    assert_int_equal(bodies_check(b, ref), BRANT_OK);
    assert_int_equal(body_open(b, ref, &r), BRANT_OK);
    assert_int_equal(body_read(r, 0, read, bytes.len), BRANT_OK);
    assert_true(span_eq(span_make(read, bytes.len), bytes));
    for (size_t at = 0; at + 5000 <= bytes.len; at += 31111) {
        assert_int_equal(body_read(r, at, read, 5000), BRANT_OK);
        assert_memory_equal(read, bytes.p + at, 5000);
    }
    assert_int_equal(body_read(r, bytes.len, read, 1), BRANT_ECORRUPT);
    assert_int_equal(body_read(r, bytes.len + 1, read, 0), BRANT_ECORRUPT);
    body_close(r);
}

static void test_write_and_read(void **state)
{
    static const size_t lengths[] = {0, 1, 65535, 65536, 65537, 131072, 300000, 350000};
    static const size_t steps[] = {1 << 20, 65536, 4096, 997};
    struct fixture *f = *state;
    struct bodies *b = open_bodies(f);
    _cleanup_free_ uint8_t *bytes = mem_alloc(350000);

    fill(bytes, 350000);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        for (size_t k = 0; k < sizeof steps / sizeof *steps; k++) {
            struct body_ref ref = write_body(b, span_make(bytes, lengths[i]), steps[k]);

            expect_body(b, &ref, span_make(bytes, lengths[i]));
        }
    }
    assert_int_equal(bodies_staged_bytes(b), 0);
    assert_int_equal(count_files(f->fs, "staging", false), 0);
    assert_int_equal(count_files(f->fs, "bodies", false), 32);
    bodies_free(b);
}

static void test_limits(void **state)
{
    struct fixture *f = *state;
    struct bodies *b = open_bodies(f);
    _cleanup_free_ uint8_t *bytes = mem_zalloc(350001);
    struct body_writer *one, *two, *other;

    assert_int_equal(bodies_stage(b, 1, &one), BRANT_OK);
    assert_int_equal(bodies_stage(b, 1, &two), BRANT_OK);
    assert_int_equal(bodies_stage(b, 2, &other), BRANT_OK);
    assert_int_equal(body_append(one, span_make(bytes, 350001)), BRANT_ELIMIT);
    assert_int_equal(body_append(one, span_make(bytes, 300000)), BRANT_OK);
    assert_int_equal(body_append(two, span_make(bytes, 100001)), BRANT_ELIMIT);
    assert_int_equal(body_append(two, span_make(bytes, 100000)), BRANT_OK);
    assert_int_equal(bodies_source_staged_bytes(b, 1), 400000);
    assert_int_equal(body_append(other, span_make(bytes, 200001)), BRANT_ETRYLATER);
    assert_int_equal(body_append(other, span_make(bytes, 200000)), BRANT_OK);
    assert_int_equal(bodies_staged_bytes(b), 600000);
    body_abort(one);
    assert_int_equal(bodies_source_staged_bytes(b, 1), 100000);
    assert_int_equal(body_append(other, span_make(bytes, 1)), BRANT_OK);
    body_abort(two);
    body_abort(other);
    assert_int_equal(bodies_staged_bytes(b), 0);
    assert_int_equal(bodies_source_staged_bytes(b, 1), 0);
    assert_int_equal(count_files(f->fs, "staging", false), 0);
    assert_int_equal(count_files(f->fs, "bodies", false), 0);
    bodies_free(b);
}

static void test_start_up(void **state)
{
    struct fixture *f = *state;
    struct bodies *b = open_bodies(f);
    struct body_writer *w;
    struct body_ref ref, fresh;
    uint8_t id[BODY_ID_BYTES];
    struct os_file *file;

    ref = write_body(b, SPAN_LIT("a body"), 100);
    assert_int_equal(bodies_next_old(b, id), BRANT_ENOTFOUND);
    bodies_free(b);
    assert_int_equal(os_fs_open(f->fs, "staging/left", OS_OPEN_WRITE | OS_OPEN_CREATE, &file), BRANT_OK);
    os_file_close(file);
    b = open_bodies(f);
    assert_int_equal(count_files(f->fs, "staging", false), 0);
    fresh = write_body(b, SPAN_LIT("another"), 100);
    assert_int_equal(bodies_next_old(b, id), BRANT_OK);
    assert_memory_equal(id, ref.id, sizeof id);
    assert_int_equal(bodies_next_old(b, id), BRANT_ENOTFOUND);
    assert_int_equal(bodies_unlink(b, ref.id), BRANT_OK);
    assert_int_equal(bodies_unlink(b, ref.id), BRANT_ENOTFOUND);
    assert_int_equal(bodies_check(b, &ref), BRANT_ENOTFOUND);
    assert_int_equal(bodies_check(b, &fresh), BRANT_OK);
    assert_int_equal(bodies_stage(b, 1, &w), BRANT_OK);
    body_abort(w);
    bodies_free(b);
}

/* Flips one bit at every 509th byte, and in all of what follows the data: check notices, and no read gives
 * wrong bytes. */
static void test_damage(void **state)
{
    struct fixture *f = *state;
    struct bodies *b = open_bodies(f);
    _cleanup_free_ uint8_t *bytes = mem_alloc(200000), *read = mem_alloc(200000);
    struct body_ref ref;
    struct os_file *file;
    char path[64] = "bodies/";
    uint64_t size;

    fill(bytes, 200000);
    ref = write_body(b, span_make(bytes, 200000), 10000);
    for (size_t i = 0; i < BODY_ID_BYTES; i++)
        (void)snprintf(path + 7 + 2 * i, 3, "%02x", ref.id[i]);
    assert_int_equal(os_fs_open(f->fs, path, OS_OPEN_READ | OS_OPEN_WRITE, &file), BRANT_OK);
    assert_int_equal(os_file_size(file, &size), BRANT_OK);
    for (uint64_t at = 0; at < size; at += at < 200000 ? 509 : 1) {
        struct body_reader *r;
        uint8_t byte, bad;
        struct span piece = span_make(&bad, 1);

        assert_int_equal(os_file_read(file, at, &byte, 1), BRANT_OK);
        bad = byte ^ 0x10;
        assert_int_equal(os_file_write(file, at, &piece, 1), BRANT_OK);
        assert_int_equal(bodies_check(b, &ref), BRANT_ECORRUPT);
        if (body_open(b, &ref, &r) == BRANT_OK) {
            for (size_t block = 0; block < 3; block++) {
                int rc = body_read(r, block * BODY_BLOCK_BYTES, read, BODY_BLOCK_BYTES);

                assert_int_equal(rc, at / BODY_BLOCK_BYTES == block ? BRANT_ECORRUPT : BRANT_OK);
                if (!rc)
                    assert_memory_equal(read, bytes + block * BODY_BLOCK_BYTES, BODY_BLOCK_BYTES);
            }
            body_close(r);
        }
        piece = span_make(&byte, 1);
        assert_int_equal(os_file_write(file, at, &piece, 1), BRANT_OK);
    }
    assert_int_equal(os_file_truncate(file, size - 1), BRANT_OK);
    assert_int_equal(bodies_check(b, &ref), BRANT_ECORRUPT);
    os_file_close(file);
    bodies_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_write_and_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_start_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
