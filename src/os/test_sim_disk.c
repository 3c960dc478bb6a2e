/* The simulated disk does what a crash may do, and SQLite survives on it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "os/sim_disk.h"

static struct sim_disk *make(uint64_t seed, uint64_t capacity)
{
    return sim_disk_new(&(struct sim_disk_config){.seed = seed, .capacity_bytes = capacity});
}

static struct os_file *create(struct os_fs *fs, const char *path)
{
    struct os_file *file;

    assert_int_equal(os_fs_open(fs, path, OS_OPEN_READ | OS_OPEN_WRITE | OS_OPEN_CREATE, &file), BRANT_OK);
    return file;
}

static void fill(struct os_file *file, char with, size_t sectors)
{
    _cleanup_free_ char *bytes = mem_alloc(sectors * 512);
    struct span piece = span_make(bytes, sectors * 512);

    memset(bytes, with, piece.len);
    assert_int_equal(os_file_write(file, 0, &piece, 1), BRANT_OK);
}

/* Synced 'a', then 'b' and 'c' not synced: each sector ends as one of the three, all three occur, and sectors
 * differ from each other. */
static void test_sectors(void **state)
{
    unsigned seen[3] = {0}, mixed = 0;

    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct sim_disk *d = make(seed, 0);
        struct os_fs *fs = sim_disk_mount(d);
        struct os_file *file = create(fs, "f");
        char first = 0, bytes[512 * 8];

        fill(file, 'a', 8);
        assert_int_equal(os_file_sync(file), BRANT_OK);
        assert_int_equal(os_fs_sync_dir(fs, "."), BRANT_OK);
        fill(file, 'b', 8);
        fill(file, 'c', 8);
        sim_disk_power_cut(d);
        assert_int_equal(os_file_read(file, 0, bytes, 1), BRANT_EIO); /* opened before */
        os_file_close(file);
        os_fs_free(fs);
        fs = sim_disk_mount(d);
        assert_int_equal(os_fs_open(fs, "f", OS_OPEN_READ, &file), BRANT_OK);
        assert_int_equal(os_file_read(file, 0, bytes, sizeof bytes), BRANT_OK);
        first = bytes[0];
        for (size_t sector = 0; sector < 8; sector++) {
            char c = bytes[sector * 512];

            assert_in_range(c, 'a', 'c');
            seen[c - 'a']++;
            mixed += c != first;
            for (size_t i = 0; i < 512; i++)
                assert_int_equal(bytes[sector * 512 + i], c);
        }
        os_file_close(file);
        os_fs_free(fs);
        sim_disk_free(d);
    }
    assert_true(seen[0] && seen[1] && seen[2] && mixed);
}

static bool exists(struct os_fs *fs, const char *path)
{
    struct os_file *file;
    int rc = os_fs_open(fs, path, OS_OPEN_READ, &file);

    if (rc)
        return false;
    os_file_close(file);
    return true;
}

static void test_names(void **state)
{
    unsigned lost = 0, kept = 0, moved = 0;

    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct sim_disk *d = make(seed, 0);
        struct os_fs *fs = sim_disk_mount(d);
        bool from, to;

        assert_int_equal(os_fs_mkdir(fs, "x"), BRANT_OK);
        assert_int_equal(os_fs_mkdir(fs, "y"), BRANT_OK);
        assert_int_equal(os_fs_sync_dir(fs, "."), BRANT_OK);
        os_file_close(create(fs, "x/durable"));
        assert_int_equal(os_fs_sync_dir(fs, "x"), BRANT_OK);
        os_file_close(create(fs, "x/new"));
        assert_int_equal(os_fs_rename(fs, "x/durable", "y/durable"), BRANT_OK);
        sim_disk_power_cut(d);
        os_fs_free(fs);
        fs = sim_disk_mount(d);
        from = exists(fs, "x/durable");
        to = exists(fs, "y/durable");
        assert_true(from != to);
        moved += to;
        if (exists(fs, "x/new"))
            kept++;
        else
            lost++;
        /* A rename builds on the creation: syncing the target's directory makes both durable. */
        os_file_close(create(fs, "x/tmp"));
        assert_int_equal(os_fs_rename(fs, "x/tmp", "y/final"), BRANT_OK);
        assert_int_equal(os_fs_sync_dir(fs, "y"), BRANT_OK);
        sim_disk_power_cut(d);
        os_fs_free(fs);
        fs = sim_disk_mount(d);
        assert_true(exists(fs, "y/final"));
        assert_false(exists(fs, "x/tmp"));
        os_fs_free(fs);
        sim_disk_free(d);
    }
    assert_true(lost && kept && moved);
}

static void test_failed_sync_loses_later(void **state)
{
    unsigned lost = 0;

    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct sim_disk *d = make(seed, 0);
        struct os_fs *fs = sim_disk_mount(d);
        struct os_file *file = create(fs, "f");
        char byte;

        assert_int_equal(os_fs_sync_dir(fs, "."), BRANT_OK);
        fill(file, 'a', 1);
        assert_int_equal(os_file_sync(file), BRANT_OK);
        fill(file, 'b', 1);
        sim_disk_fail(d, SIM_DISK_SYNC, 1);
        assert_int_equal(os_file_sync(file), BRANT_EIO);
        assert_int_equal(os_file_sync(file), BRANT_OK); /* and means nothing */
        assert_int_equal(os_file_read(file, 0, &byte, 1), BRANT_OK);
        assert_int_equal(byte, 'b');
        os_file_close(file);
        os_fs_free(fs);
        sim_disk_process_kill(d);
        assert_int_equal(sim_disk_peek(d, "f", 0, &byte, 1), BRANT_OK);
        assert_int_equal(byte, 'b');
        sim_disk_power_cut(d);
        assert_int_equal(sim_disk_peek(d, "f", 0, &byte, 1), BRANT_OK);
        lost += byte == 'a';
        sim_disk_free(d);
    }
    assert_in_range(lost, 1, 19);
}

static void test_space_and_faults(void **state)
{
    struct sim_disk *d = make(1, 8192);
    struct os_fs *fs = sim_disk_mount(d);
    struct os_file *file = create(fs, "f"), *other;
    struct span piece = SPAN_LIT("x");
    uint64_t bytes;

    (void)state;
    assert_int_equal(os_file_allocate(file, 8193), BRANT_ENOSPACE);
    assert_int_equal(os_file_allocate(file, 8192), BRANT_OK);
    other = create(fs, "g");
    assert_int_equal(os_file_write(other, 0, &piece, 1), BRANT_ENOSPACE);
    assert_int_equal(os_fs_free_bytes(fs, &bytes), BRANT_OK);
    assert_int_equal(bytes, 0);
    assert_int_equal(os_fs_unlink(fs, "f"), BRANT_OK);
    assert_int_equal(os_file_write(other, 0, &piece, 1), BRANT_ENOSPACE); /* f is still open */
    os_file_close(file);
    assert_int_equal(os_file_write(other, 0, &piece, 1), BRANT_OK);
    assert_int_equal(sim_disk_used(d), 4096);
    sim_disk_fail(d, SIM_DISK_WRITE, 2);
    assert_int_equal(os_file_write(other, 0, &piece, 1), BRANT_OK);
    assert_int_equal(os_file_write(other, 0, &piece, 1), BRANT_EIO);
    sim_disk_fail(d, SIM_DISK_READ, 1);
    assert_int_equal(os_file_read(other, 0, &bytes, 1), BRANT_EIO);
    sim_disk_fail(d, SIM_DISK_CREATE, 1);
    assert_int_equal(os_fs_open(fs, "h", OS_OPEN_WRITE | OS_OPEN_CREATE, &file), BRANT_ENOSPACE);
    assert_int_equal(os_fs_lock(fs, "lock"), BRANT_OK);
    os_file_close(other);
    sim_disk_crash_at(d, sim_disk_operations(d) + 1);
    (void)os_fs_unlink(fs, "g");
    assert_true(sim_disk_crashed(d));
    assert_int_equal(os_fs_open(fs, "g", OS_OPEN_READ, &file), BRANT_EIO);
    os_fs_free(fs);
    sim_disk_free(d);
}

static sqlite3 *open_db(struct os_fs *fs)
{
    sqlite3 *db;

    assert_int_equal(
        sqlite3_open_v2("db", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, os_fs_sqlite_vfs(fs)),
        SQLITE_OK);
    return db;
}

static int run(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static int ask(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt;
    int value = -1;

    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
        value = sqlite3_column_int(stmt, 0);
    (void)sqlite3_finalize(stmt);
    return value;
}

/* Rows go in, one transaction each, with a reader and checkpoints beside; the disk dies at every operation in
 * turn. With synchronous=FULL every committed row has to be there, and the database has to be whole. */
static unsigned sqlite_round(uint64_t seed, uint64_t crash_at)
{
    struct sim_disk *d = make(seed, 0);
    struct os_fs *fs = sim_disk_mount(d);
    sqlite3 *db = open_db(fs), *reader;
    int committed = 0, found;
    unsigned crashed;
    char sql[64];

    assert_int_equal(run(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=4;"
                             "CREATE TABLE t (x INTEGER PRIMARY KEY, y BLOB)"),
                     SQLITE_OK);
    assert_int_equal(os_fs_sync_dir(fs, "."), BRANT_OK);
    reader = open_db(fs);
    if (crash_at)
        sim_disk_crash_at(d, sim_disk_operations(d) + crash_at);
    for (int i = 1; i <= 12; i++) {
        (void)snprintf(sql, sizeof sql, "INSERT INTO t VALUES (%d, zeroblob(3000))", i);
        if (run(db, sql) != SQLITE_OK)
            break;
        committed = i;
        if (!sim_disk_crashed(d))
            assert_int_equal(ask(reader, "SELECT max(x) FROM t"), i);
    }
    crashed = sim_disk_crashed(d);
    assert_int_equal(sqlite3_close(reader), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    os_fs_free(fs);
    sim_disk_power_cut(d);
    fs = sim_disk_mount(d);
    db = open_db(fs);
    found = ask(db, "SELECT count(*) FROM t");
    assert_in_range(found, committed, committed + 1);
    assert_int_equal(ask(db, "SELECT coalesce(max(x), 0) FROM t"), found);
    assert_int_equal(ask(db, "SELECT integrity_check = 'ok' FROM pragma_integrity_check"), 1);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    os_fs_free(fs);
    sim_disk_free(d);
    return crashed;
}

static void test_sqlite(void **state)
{
    uint64_t at = 1;

    (void)state;
    assert_int_equal(sqlite_round(1, 0), 0);
    for (; sqlite_round(at * 7919, at); at++)
        assert_true(at < 10000);
    assert_true(at > 30);
}

/* The log is made by one connection; another one, which found it, has written and copied it back. What that
 * one synced is there. */
static void test_sqlite_found_log(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct sim_disk *d = make(seed, 0);
        struct os_fs *fs = sim_disk_mount(d);
        sqlite3 *db = open_db(fs), *other;

        assert_int_equal(run(db, "PRAGMA journal_mode=WAL; CREATE TABLE t (x INTEGER PRIMARY KEY)"),
                         SQLITE_OK);
        assert_int_equal(sqlite3_close(db), SQLITE_OK); /* and the log is removed */
        db = open_db(fs);
        assert_int_equal(ask(db, "SELECT count(*) FROM t"), 0);
        other = open_db(fs);
        assert_int_equal(run(other, "PRAGMA synchronous=FULL; INSERT INTO t VALUES (1)"), SQLITE_OK);
        sim_disk_crash_at(d, sim_disk_operations(d) + 1);
        (void)run(db, "INSERT INTO t VALUES (2)");
        (void)sqlite3_close(db);
        (void)sqlite3_close(other);
        os_fs_free(fs);
        sim_disk_power_cut(d);
        fs = sim_disk_mount(d);
        db = open_db(fs);
        assert_int_equal(ask(db, "SELECT count(*) FROM t WHERE x=1"), 1);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        os_fs_free(fs);
        sim_disk_free(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sectors),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_failed_sync_loses_later),
        cmocka_unit_test(test_space_and_faults),
        cmocka_unit_test(test_sqlite),
        cmocka_unit_test(test_sqlite_found_log),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
