/* os/fs.h on the kernel's files: the refusals, and the plain things. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "os/fs.h"

struct fixture {
    char path[64];
    int root;
    struct os_fs *fs;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);

    strcpy(f->path, "/tmp/brant-fs-XXXXXX");
    if (!mkdtemp(f->path))
        return -1;
    f->root = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    f->fs = os_fs_open_real(dup(f->root));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {"a", "b", "link", "hard", "fifo", "lock", "dir/c", "dir/d"};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        (void)unlinkat(f->root, names[i], 0);
    (void)unlinkat(f->root, "dir", AT_REMOVEDIR);
    os_fs_free(f->fs);
    (void)close(f->root);
    (void)rmdir(f->path);
    free(f);
    return 0;
}

static struct os_file *create(struct fixture *f, const char *path)
{
    struct os_file *file;

    assert_int_equal(os_fs_open(f->fs, path, OS_OPEN_READ | OS_OPEN_WRITE | OS_OPEN_CREATE, &file), BRANT_OK);
    return file;
}

static void test_read_and_write(void **state)
{
    struct os_file *file = create(*state, "a");
    struct span pieces[200];
    char read[400], expected[400];
    uint64_t size;

    for (size_t i = 0; i < 200; i++) {
        pieces[i] = i % 3 ? SPAN_LIT("xy") : SPAN_NONE;
        expected[2 * i] = 'x';
        expected[2 * i + 1] = 'y';
    }
    assert_int_equal(os_file_write(file, 1000, pieces, 200), BRANT_OK);
    assert_int_equal(os_file_size(file, &size), BRANT_OK);
    assert_int_equal(size, 1000 + 2 * 133);
    assert_int_equal(os_file_read(file, 1000, read, 266), BRANT_OK);
    assert_memory_equal(read, expected, 266);
    assert_int_equal(os_file_read(file, 1000, read, 267), BRANT_ECORRUPT);
    assert_int_equal(os_file_sync(file), BRANT_OK);
    assert_int_equal(os_file_allocate(file, 100), BRANT_OK);
    assert_int_equal(os_file_size(file, &size), BRANT_OK);
    assert_int_equal(size, 1266); /* never shorter */
    assert_int_equal(os_file_allocate(file, 9000), BRANT_OK);
    assert_int_equal(os_file_size(file, &size), BRANT_OK);
    assert_int_equal(size, 9000);
    assert_int_equal(os_file_read(file, 8999, read, 1), BRANT_OK);
    assert_int_equal(read[0], 0);
    assert_int_equal(os_file_truncate(file, 5), BRANT_OK);
    assert_int_equal(os_file_size(file, &size), BRANT_OK);
    assert_int_equal(size, 5);
    os_file_close(file);
}

static void test_open(void **state)
{
    struct fixture *f = *state;
    struct os_file *file;

    assert_int_equal(os_fs_open(f->fs, "a", OS_OPEN_READ, &file), BRANT_ENOTFOUND);
    os_file_close(create(f, "a"));
    assert_int_equal(os_fs_open(f->fs, "a", OS_OPEN_WRITE | OS_OPEN_CREATE | OS_OPEN_EXCLUSIVE, &file),
                     BRANT_EEXISTS);
    assert_int_equal(os_fs_mkdir(f->fs, "dir"), BRANT_OK);
    assert_int_equal(os_fs_mkdir(f->fs, "dir"), BRANT_OK);
    assert_int_equal(os_fs_mkdir(f->fs, "a"), BRANT_EREFUSED);
    assert_int_equal(os_fs_open(f->fs, "dir", OS_OPEN_READ, &file), BRANT_EREFUSED);
    assert_int_equal(os_fs_open(f->fs, "none/x", OS_OPEN_WRITE | OS_OPEN_CREATE, &file), BRANT_ENOTFOUND);
}

/* Nothing outside of the root, nothing behind a link, nothing with a second name. */
static void test_refusals(void **state)
{
    struct fixture *f = *state;
    struct os_file *file;
    _cleanup_buf_ struct buf names;

    buf_init(&names, 4096);
    os_file_close(create(f, "a"));
    assert_int_equal(symlinkat("a", f->root, "link"), 0);
    assert_int_equal(os_fs_open(f->fs, "link", OS_OPEN_READ, &file), BRANT_EREFUSED);
    assert_int_equal(unlinkat(f->root, "link", 0), 0);
    assert_int_equal(symlinkat("/tmp", f->root, "link"), 0);
    assert_int_equal(os_fs_open(f->fs, "link/x", OS_OPEN_WRITE | OS_OPEN_CREATE, &file), BRANT_EREFUSED);
    assert_int_equal(os_fs_list(f->fs, "link", &names), BRANT_EREFUSED);
    assert_int_equal(os_fs_rename(f->fs, "a", "link/x"), BRANT_EREFUSED);
    assert_int_equal(os_fs_unlink(f->fs, "link/x"), BRANT_EREFUSED);
    assert_int_equal(os_fs_mkdir(f->fs, "link"), BRANT_EREFUSED);
    assert_int_equal(os_fs_open(f->fs, "../x", OS_OPEN_READ, &file), BRANT_EREFUSED);
    assert_int_equal(os_fs_open(f->fs, "/etc/passwd", OS_OPEN_READ, &file), BRANT_EREFUSED);
    assert_int_equal(mkfifoat(f->root, "fifo", 0600), 0);
    assert_int_equal(os_fs_open(f->fs, "fifo", OS_OPEN_READ, &file), BRANT_EREFUSED);
    assert_int_equal(linkat(f->root, "a", f->root, "hard", 0), 0);
    assert_int_equal(os_fs_open(f->fs, "a", OS_OPEN_READ, &file), BRANT_EREFUSED);
    assert_int_equal(os_fs_open(f->fs, "hard", OS_OPEN_READ, &file), BRANT_EREFUSED);
}

static void test_names(void **state)
{
    struct fixture *f = *state;
    _cleanup_buf_ struct buf names;
    uint64_t bytes = 0;

    buf_init(&names, 4096);
    assert_int_equal(os_fs_list(f->fs, "dir", &names), BRANT_ENOTFOUND);
    assert_int_equal(os_fs_mkdir(f->fs, "dir"), BRANT_OK);
    os_file_close(create(f, "dir/d"));
    os_file_close(create(f, "dir/c"));
    assert_int_equal(os_fs_list(f->fs, "dir", &names), BRANT_OK);
    assert_true(span_eq(buf_span(&names), SPAN_LIT("c\0d\0")));
    os_file_close(create(f, "a"));
    assert_int_equal(os_fs_rename(f->fs, "a", "dir/c"), BRANT_OK);
    assert_int_equal(os_fs_rename(f->fs, "a", "dir/c"), BRANT_ENOTFOUND);
    assert_int_equal(os_fs_unlink(f->fs, "dir/d"), BRANT_OK);
    assert_int_equal(os_fs_unlink(f->fs, "dir/d"), BRANT_ENOTFOUND);
    assert_int_equal(os_fs_sync_dir(f->fs, "dir"), BRANT_OK);
    assert_int_equal(os_fs_sync_dir(f->fs, "."), BRANT_OK);
    assert_int_equal(os_fs_sync_dir(f->fs, "none"), BRANT_ENOTFOUND);
    buf_reset(&names);
    assert_int_equal(os_fs_list(f->fs, "dir", &names), BRANT_OK);
    assert_true(span_eq(buf_span(&names), SPAN_LIT("c\0")));
    names.max = names.len;
    assert_int_equal(os_fs_list(f->fs, "dir", &names), BRANT_ELIMIT);
    assert_true(span_eq(buf_span(&names), SPAN_LIT("c\0")));
    assert_int_equal(os_fs_free_bytes(f->fs, &bytes), BRANT_OK);
    assert_true(bytes > 0);
    assert_null(os_fs_sqlite_vfs(f->fs));
}

static void test_lock(void **state)
{
    struct fixture *f = *state;
    struct os_fs *other = os_fs_open_real(dup(f->root));

    assert_int_equal(os_fs_lock(f->fs, "lock"), BRANT_OK);
    assert_int_equal(os_fs_lock(other, "lock"), BRANT_ESTATE);
    os_fs_free(f->fs);
    assert_int_equal(os_fs_lock(other, "lock"), BRANT_OK);
    f->fs = other;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_read_and_write, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lock, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
