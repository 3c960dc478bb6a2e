/* The journal on real files, in a directory of its own. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/journal.h"

struct fixture {
    char path[64];
    struct os_fs *fs;
};

static const struct journal_config config = {.segment_bytes = 65536, .record_bytes_max = 200000};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);

    strcpy(f->path, "/tmp/brant-journal-XXXXXX");
    if (!mkdtemp(f->path))
        return -1;
    f->fs = os_fs_open_real(open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    _cleanup_buf_ struct buf names;

    buf_init(&names, 1 << 20);
    if (os_fs_list(f->fs, "journal", &names) == BRANT_OK) {
        for (size_t at = 0; at < names.len; at += strlen((char *)names.data + at) + 1) {
            char path[300];

            (void)snprintf(path, sizeof path, "journal/%s", (char *)names.data + at);
            (void)os_fs_unlink(f->fs, path);
        }
    }
    os_fs_free(f->fs);
    if (chdir(f->path) == 0)
        (void)rmdir("journal");
    (void)rmdir(f->path);
    free(f);
    return 0;
}

static struct journal *open_journal(struct fixture *f, struct journal_recovery *recovery)
{
    struct journal *j;

    assert_int_equal(journal_open(f->fs, &config, &j, recovery), BRANT_OK);
    return j;
}

/* The payload of record seq: its length and bytes follow from the number. */
static struct span payload_of(uint64_t seq, uint8_t *bytes)
{
    size_t len = (size_t)(seq * 7919 % 3000);

    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(seq * 31 + i * 7 + (i >> 8));
    return span_make(bytes, len);
}

static struct journal_place append(struct journal *j, uint64_t expected_seq)
{
    uint8_t bytes[3000];
    struct span whole = payload_of(expected_seq, bytes);
    struct span pieces[2] = {span_sub(whole, 0, whole.len / 3), span_from(whole, whole.len / 3)};
    struct journal_place place;
    uint64_t seq;

    assert_int_equal(journal_append(j, 7, 3, pieces, 2, false, &seq, &place), BRANT_OK);
    assert_int_equal(seq, expected_seq);
    assert_int_equal(place.length, whole.len);
    return place;
}

static void expect_records(struct journal *j, uint64_t from, uint64_t to)
{
    struct journal_iter *it;
    struct journal_record record;
    uint8_t bytes[3000];

    assert_int_equal(journal_iterate(j, from, &it), BRANT_OK);
    for (uint64_t seq = from; seq <= to; seq++) {
        assert_int_equal(journal_iter_next(it, &record), BRANT_OK);
        assert_int_equal(record.seq, seq);
        assert_int_equal(record.type, 7);
        assert_int_equal(record.version, 3);
        assert_true(span_eq(record.payload, payload_of(seq, bytes)));
        assert_int_equal(journal_verify(j, &record.place), BRANT_OK);
    }
    assert_int_equal(journal_iter_next(it, &record), BRANT_ENOTFOUND);
    journal_iter_free(it);
}

static void test_append_and_read(void **state)
{
    struct journal_recovery recovery;
    struct journal *j = open_journal(*state, &recovery);
    struct journal_place places[101];
    uint8_t bytes[3000], read[3000];

    assert_int_equal(recovery.last_seq, 0);
    assert_int_equal(journal_sync(j), BRANT_OK);
    for (uint64_t seq = 1; seq <= 100; seq++) {
        places[seq] = append(j, seq);
        if (seq % 5 == 0) {
            assert_int_equal(journal_sync(j), BRANT_OK);
            assert_int_equal(journal_durable_seq(j), seq);
        } else {
            assert_int_equal(journal_last_seq(j), seq);
        }
    }
    for (uint64_t seq = 1; seq <= 100; seq++) {
        assert_int_equal(journal_read(j, &places[seq], read), BRANT_OK);
        assert_memory_equal(read, payload_of(seq, bytes).p, places[seq].length);
    }
    expect_records(j, 1, 100);
    expect_records(j, 57, 100);
    journal_free(j);
}

static void test_not_durable_is_not_readable(void **state)
{
    struct journal_recovery recovery;
    struct journal *j = open_journal(*state, &recovery);
    struct journal_place place = append(j, 1);
    struct journal_iter *it;
    struct journal_record record;
    uint8_t read[3000];

    place.length = 1;
    assert_int_equal(journal_read(j, &place, read), BRANT_ECORRUPT);
    assert_int_equal(journal_iterate(j, 1, &it), BRANT_OK);
    assert_int_equal(journal_iter_next(it, &record), BRANT_ENOTFOUND);
    assert_int_equal(journal_sync(j), BRANT_OK);
    assert_int_equal(journal_read(j, &place, read), BRANT_OK);
    assert_int_equal(journal_iter_next(it, &record), BRANT_OK); /* the iterator goes on */
    assert_int_equal(journal_iter_next(it, &record), BRANT_ENOTFOUND);
    journal_iter_free(it);
    journal_free(j);
}

static void test_reopen(void **state)
{
    struct journal_recovery recovery;
    struct journal *j;
    uint64_t seq = 0;

    for (int round = 0; round < 6; round++) {
        j = open_journal(*state, &recovery);
        assert_int_equal(recovery.last_seq, seq);
        assert_in_range(recovery.records_copied, round ? 1 : 0, round ? 4 : 0); /* of the last batch */
        assert_int_equal(recovery.damaged_records + recovery.torn_bytes + recovery.damaged_headers, 0);
        expect_records(j, 1, seq);
        for (int i = 0; i < 40; i++) {
            append(j, ++seq);
            if (i % 4 == 3)
                assert_int_equal(journal_sync(j), BRANT_OK);
        }
        append(j, seq + 1); /* never synced: gone */
        journal_free(j);
    }
}

static void test_roll_leaves_nothing_to_copy(void **state)
{
    struct journal_recovery recovery;
    struct journal_segment segments[8];
    struct journal *j = open_journal(*state, &recovery);

    assert_int_equal(journal_roll(j), BRANT_OK);
    append(j, 1);
    assert_int_equal(journal_roll(j), BRANT_OK);
    assert_int_equal(journal_segments(j, segments, 8), 1);
    assert_false(segments[0].open);
    journal_free(j);
    j = open_journal(*state, &recovery);
    assert_int_equal(recovery.records_copied, 0);
    assert_int_equal(recovery.last_seq, 1);
    append(j, 2);
    assert_int_equal(journal_sync(j), BRANT_OK);
    assert_int_equal(journal_segments(j, segments, 8), 2);
    assert_true(segments[1].open);
    expect_records(j, 1, 2);
    journal_free(j);
}

static void test_big_record(void **state)
{
    struct journal_recovery recovery;
    struct journal *j = open_journal(*state, &recovery);
    _cleanup_free_ uint8_t *big = mem_zalloc(config.record_bytes_max + 1);
    _cleanup_free_ uint8_t *read = mem_zalloc(config.record_bytes_max);
    struct span piece = span_make(big, config.record_bytes_max + 1);
    struct journal_place place;
    uint64_t seq;

    memset(big, 'x', piece.len);
    assert_int_equal(journal_append(j, 7, 3, &piece, 1, false, &seq, &place), BRANT_ELIMIT);
    piece.len--;
    append(j, 1);
    assert_int_equal(journal_append(j, 7, 3, &piece, 1, false, &seq, &place), BRANT_OK);
    assert_int_equal(seq, 2);
    append(j, 3);
    assert_int_equal(journal_sync(j), BRANT_OK);
    journal_free(j);
    j = open_journal(*state, &recovery);
    assert_int_equal(recovery.last_seq, 3);
    assert_int_equal(journal_read(j, &place, read), BRANT_OK);
    assert_memory_equal(big, read, piece.len);
    journal_free(j);
}

static void test_retire(void **state)
{
    struct journal_recovery recovery;
    struct journal_segment segments[8];
    struct journal *j = open_journal(*state, &recovery);
    struct journal_place place;
    struct journal_iter *it;
    struct journal_record record;
    uint8_t read[3000];

    place = append(j, 1);
    assert_int_equal(journal_roll(j), BRANT_OK);
    append(j, 2);
    append(j, 3);
    assert_int_equal(journal_roll(j), BRANT_OK);
    append(j, 4);
    assert_int_equal(journal_sync(j), BRANT_OK);
    assert_int_equal(journal_segments(j, segments, 8), 3);
    assert_int_equal(journal_retire(j, segments[2].id), BRANT_ESTATE);
    assert_int_equal(journal_retire(j, 999), BRANT_ENOTFOUND);
    journal_lease_take(j);
    assert_int_equal(journal_retire(j, segments[0].id), BRANT_ETRYLATER);
    journal_lease_drop(j);

    /* A reader inside goes on; new ones do not find it. */
    assert_int_equal(journal_iterate(j, 2, &it), BRANT_OK);
    assert_int_equal(journal_iter_next(it, &record), BRANT_OK);
    assert_int_equal(journal_retire(j, segments[1].id), BRANT_OK);
    assert_int_equal(journal_iter_next(it, &record), BRANT_OK);
    assert_int_equal(record.seq, 3);
    journal_iter_free(it);
    assert_int_equal(journal_retire(j, segments[0].id), BRANT_OK);
    assert_int_equal(journal_read(j, &place, read), BRANT_ENOTFOUND);
    expect_records(j, 4, 4);
    journal_free(j);
    j = open_journal(*state, &recovery);
    assert_int_equal(recovery.missing_segments + recovery.damaged_records, 0);
    assert_int_equal(recovery.last_seq, 4);
    append(j, 5);
    assert_int_equal(journal_sync(j), BRANT_OK);
    expect_records(j, 4, 5);
    journal_free(j);
}

static void test_missing_segment(void **state)
{
    struct fixture *f = *state;
    struct journal_config accepting = config;
    struct journal_recovery recovery;
    struct journal_segment segments[8];
    struct journal *j = open_journal(f, &recovery);
    char path[64];

    append(j, 1);
    assert_int_equal(journal_roll(j), BRANT_OK);
    append(j, 2);
    assert_int_equal(journal_roll(j), BRANT_OK);
    assert_int_equal(journal_segments(j, segments, 8), 2);
    journal_free(j);
    (void)snprintf(path, sizeof path, "journal/%08x.seg", segments[0].id);
    assert_int_equal(os_fs_unlink(f->fs, path), BRANT_OK);
    assert_int_equal(journal_open(f->fs, &config, &j, &recovery), BRANT_ECORRUPT);
    assert_int_equal(recovery.missing_segment, segments[0].id);
    accepting.accept_missing = true;
    assert_int_equal(journal_open(f->fs, &accepting, &j, &recovery), BRANT_OK);
    assert_int_equal(recovery.missing_segments, 1);
    expect_records(j, 2, 2);
    journal_free(j);
}

struct shared {
    struct journal *j;
    atomic_bool done;
    atomic_uint records, gone;
};

/* Reads everything again and again while the journal grows and shrinks at its ends. */
static void *reader(void *arg)
{
    struct shared *s = arg;
    struct journal_record record;
    uint8_t bytes[3000], read[3000];
    bool last_round;

    do {
        struct journal_iter *it;
        int rc;

        last_round = atomic_load(&s->done);
        assert_int_equal(journal_iterate(s->j, 1, &it), BRANT_OK);
        while ((rc = journal_iter_next(it, &record)) == BRANT_OK) {
            assert_true(span_eq(record.payload, payload_of(record.seq, bytes)));
            rc = journal_read(s->j, &record.place, read);
            if (rc == BRANT_ENOTFOUND)
                atomic_fetch_add(&s->gone, 1); /* retired meanwhile */
            else
                assert_true(!rc && span_eq(record.payload, span_make(read, record.place.length)));
            atomic_fetch_add(&s->records, 1);
        }
        assert_int_equal(rc, BRANT_ENOTFOUND);
        journal_iter_free(it);
    } while (!last_round);
    return NULL;
}

static void *retirer(void *arg)
{
    struct shared *s = arg;
    struct journal_segment segments[64];

    while (!atomic_load(&s->done)) {
        size_t count = journal_segments(s->j, segments, 64);

        if (count > 4) {
            int rc = journal_retire(s->j, segments[count / 2].id);

            assert_true(rc == BRANT_OK || rc == BRANT_ESTATE);
        }
        (void)sched_yield();
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct journal_recovery recovery;
    struct shared s = {.j = open_journal(*state, &recovery)};
    pthread_t threads[3];

    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i ? reader : retirer, &s), 0);
    for (uint64_t seq = 1; seq <= 600; seq++) {
        append(s.j, seq);
        if (seq % 8 == 0)
            assert_int_equal(journal_sync(s.j), BRANT_OK);
    }
    assert_int_equal(journal_sync(s.j), BRANT_OK);
    atomic_store(&s.done, true);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(atomic_load(&s.records) > 0);
    journal_free(s.j);
    s.j = open_journal(*state, &recovery);
    assert_int_equal(recovery.last_seq, 600);
    assert_int_equal(recovery.damaged_records + recovery.missing_segments, 0);
    journal_free(s.j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_append_and_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_durable_is_not_readable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reopen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_roll_leaves_nothing_to_copy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_big_record, setup, teardown),
        cmocka_unit_test_setup_teardown(test_retire, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing_segment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
