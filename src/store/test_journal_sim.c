/* Crashes of the journal, on a simulated disk, from seeds: random batches, segments rolled and retired, sync
 * and write errors, a full disk; power cuts and killed processes at any operation, recovery included. After
 * each recovery: what was acknowledged is there once, byte for byte and in order; what was not is there whole
 * or not at all; and what recovery has shown once stays.
 *
 * SIM_SEEDS: how many (2,000); SIM_SEED: only this one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "os/sim_disk.h"
#include "store/journal.h"

#define SEQ_MAX    2000u
#define BYTES_MAX  12000u
#define SEEDS      2000u
#define LOST_TOKEN UINT64_MAX

static const struct journal_config config = {.segment_bytes = 12288, .record_bytes_max = BYTES_MAX};

enum fate {
    UNKNOWN,      /* no such record */
    PENDING,      /* appended, not acknowledged */
    DURABLE,      /* acknowledged, or shown after a recovery */
    MAYBE_RETIRED /* durable, but a retirement was under way */
};

/* What ought to be on the disk. */
struct model {
    uint64_t seed, random;
    struct sim_disk *disk;
    struct os_fs *fs;
    struct journal *j;
    uint64_t next_token;
    uint64_t acknowledged;    /* every record up to here */
    uint64_t tokens[SEQ_MAX]; /* the payload follows from it */
    uint8_t fates[SEQ_MAX];
    bool opened; /* once without trouble */
};

static uint64_t current_seed;

/* What the seeds have met: a simulation that meets nothing proves nothing. */
static struct {
    unsigned crashes, recovery_crashes, copied, torn, lost, read_only, retired, full, reserve;
} met;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            print_error("seed %llu: %s (line %d)\n", (unsigned long long)current_seed, #condition, \
                        __LINE__);                                                                 \
            fail();                                                                                \
        }                                                                                          \
    } while (0)

static uint64_t step(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static uint64_t chance(struct model *m, uint64_t below)
{
    return step(&m->random) % below;
}

static struct span payload_of(uint64_t token, uint8_t *bytes)
{
    uint64_t state = token;
    uint64_t kind = step(&state) % 40;
    size_t len = (size_t)(step(&state) % (kind == 0 ? BYTES_MAX : kind < 10 ? 3000 : 300));

    for (size_t i = 0; i < len; i += 8) {
        uint64_t word = step(&state);

        memcpy(bytes + i, &word, len - i < 8 ? len - i : 8);
    }
    return span_make(bytes, len);
}

static uint16_t type_of(uint64_t token)
{
    return (uint16_t)(token % 500 + 1);
}

static void append_one(struct model *m, bool use_reserve, int *ret_rc)
{
    uint8_t bytes[BYTES_MAX];
    uint64_t token = m->next_token, seq;
    struct span payload = payload_of(token, bytes);
    struct journal_place place;
    int rc = journal_append(m->j, type_of(token), 1, &payload, 1, use_reserve, &seq, &place);

    *ret_rc = rc;
    if (rc)
        return;
    m->next_token++;
    CHECK(seq < SEQ_MAX && m->fates[seq] == UNKNOWN);
    m->fates[seq] = PENDING;
    m->tokens[seq] = token;
}

/* Everything durable may be acknowledged: a full segment is synced without being asked. */
static void acknowledge(struct model *m)
{
    for (uint64_t seq = m->acknowledged + 1; seq <= journal_durable_seq(m->j); seq++) {
        CHECK(m->fates[seq] == PENDING);
        m->fates[seq] = DURABLE;
    }
    m->acknowledged = journal_durable_seq(m->j);
}

static int sync_all(struct model *m)
{
    int rc = journal_sync(m->j);

    if (rc)
        return rc;
    CHECK(journal_durable_seq(m->j) == journal_last_seq(m->j));
    acknowledge(m);
    return BRANT_OK;
}

/* Retires a closed segment, as compaction would. */
static int retire_one(struct model *m)
{
    struct journal_segment segments[64];
    size_t count = journal_segments(m->j, segments, 64);
    struct journal_segment *segment;
    int rc;

    CHECK(count <= 64);
    acknowledge(m);
    if (!count)
        return BRANT_OK;
    segment = &segments[chance(m, count)];
    if (segment->open) {
        CHECK(journal_retire(m->j, segment->id) == BRANT_ESTATE || sim_disk_crashed(m->disk));
        return BRANT_OK;
    }
    for (uint64_t seq = segment->first_seq; seq <= segment->last_seq; seq++)
        m->fates[seq] = MAYBE_RETIRED;
    rc = journal_retire(m->j, segment->id);
    met.retired += !rc;
    for (uint64_t seq = segment->first_seq; !rc && seq <= segment->last_seq; seq++)
        m->fates[seq] = UNKNOWN;
    return rc;
}

/* One random step. Not BRANT_OK: the journal is dead. */
static int work(struct model *m)
{
    uint64_t what = chance(m, 100);
    int rc;

    if (what < 60) {
        append_one(m, what < 5, &rc);
        if (rc != BRANT_ENOSPACE)
            return rc;
        met.full++;
        rc = sync_all(m);
        if (!rc && chance(m, 2)) {
            append_one(m, true, &rc);
            met.reserve += !rc;
            rc = rc == BRANT_ENOSPACE ? BRANT_OK : rc;
        }
        return rc ? rc : retire_one(m);
    }
    if (what < 92)
        return sync_all(m);
    if (what < 95) {
        rc = journal_roll(m->j);
        if (!rc)
            acknowledge(m);
        return rc;
    }
    return retire_one(m);
}

static void check_record(struct model *m, const struct journal_record *record)
{
    uint8_t bytes[BYTES_MAX], read[BYTES_MAX];
    uint64_t token = m->tokens[record->seq];

    CHECK(m->fates[record->seq] != UNKNOWN);
    CHECK(token != LOST_TOKEN);
    CHECK(record->type == type_of(token) && record->version == 1);
    CHECK(span_eq(record->payload, payload_of(token, bytes)));
    CHECK(journal_read(m->j, &record->place, read) == BRANT_OK);
    CHECK(span_eq(record->payload, span_make(read, record->place.length)));
    CHECK(journal_verify(m->j, &record->place) == BRANT_OK);
}

/* Those between two records that are there: retired, or this is a loss. */
static void check_gone(struct model *m, uint64_t from, uint64_t to, bool for_good)
{
    for (uint64_t seq = from; seq < to; seq++) {
        CHECK(m->fates[seq] != DURABLE);
        if (for_good)
            m->fates[seq] = UNKNOWN;
    }
}

/* A record torn in a batch that nobody had acknowledged, with later ones of the batch intact. */
static void check_lost(struct model *m, uint64_t first, uint64_t last)
{
    for (uint64_t seq = first; seq <= last; seq++) {
        CHECK(m->fates[seq] == PENDING || m->tokens[seq] == LOST_TOKEN);
        m->tokens[seq] = LOST_TOKEN;
        met.lost++;
    }
}

/* Reads everything. What is shown is durable from now on. */
static void check_all(struct model *m, const struct journal_recovery *recovery)
{
    uint64_t expected = 1, first, last;
    struct journal_iter *it;
    struct journal_record record;
    int rc;

    CHECK(recovery->read_only || recovery->last_seq >= m->acknowledged);
    CHECK(recovery->damaged_records == recovery->damaged_behind_mark);
    CHECK(!recovery->damaged_headers && !recovery->missing_segments && !recovery->truncated_bytes);
    CHECK(journal_iterate(m->j, 1, &it) == BRANT_OK);
    while ((rc = journal_iter_next(it, &record)) != BRANT_ENOTFOUND) {
        if (rc == BRANT_ECORRUPT) {
            journal_iter_lost(it, &first, &last);
            check_gone(m, expected, first, !recovery->read_only);
            check_lost(m, first, last);
            expected = last + 1;
            continue;
        }
        CHECK(rc == BRANT_OK);
        CHECK(record.seq >= expected);
        check_gone(m, expected, record.seq, !recovery->read_only);
        check_record(m, &record);
        expected = record.seq + 1;
    }
    journal_iter_free(it);
    check_gone(m, expected, recovery->last_seq + 1, !recovery->read_only);
    met.copied += recovery->records_copied > 0;
    met.torn += recovery->torn_bytes > 0;
    met.read_only += recovery->read_only;
    if (recovery->read_only)
        return;
    for (uint64_t seq = 1; seq < SEQ_MAX; seq++) {
        if (seq > recovery->last_seq)
            m->fates[seq] = UNKNOWN;
        else if (m->fates[seq] != UNKNOWN)
            m->fates[seq] = DURABLE;
    }
    m->acknowledged = recovery->last_seq;
}

/* The spare holds no old records. */
static void check_spare(struct model *m)
{
    uint8_t bytes[12288];
    uint64_t size;

    if (sim_disk_file_size(m->disk, "journal/spare", &size))
        return;
    CHECK(size == sizeof bytes &&
          sim_disk_peek(m->disk, "journal/spare", 0, bytes, sizeof bytes) == BRANT_OK);
    for (size_t i = 0; i < sizeof bytes; i++)
        CHECK(!bytes[i]);
}

/* After a good recovery: both lists were not lost at once, and no file is there without a purpose. */
static void check_files(struct model *m, const struct journal_recovery *recovery)
{
    struct journal_segment segments[64];
    size_t expected = journal_segments(m->j, segments, 64) + 2; /* and the lists */
    _cleanup_buf_ struct buf names;
    size_t count = 0;
    uint64_t size;

    CHECK(recovery->damaged_lists < 2 || !m->opened);
    m->opened = true;
    buf_init(&names, 65536);
    CHECK(os_fs_list(m->fs, "journal", &names) == BRANT_OK);
    for (size_t at = 0; at < names.len; at += strlen((char *)names.data + at) + 1)
        count++;
    expected += sim_disk_file_size(m->disk, "journal/spare", &size) == BRANT_OK;
    CHECK(count == expected);
    check_spare(m);
}

static void restart(struct model *m)
{
    os_fs_free(m->fs);
    if (chance(m, 3))
        sim_disk_power_cut(m->disk);
    else
        sim_disk_process_kill(m->disk);
    m->fs = sim_disk_mount(m->disk);
}

/* Opens, with crashes and faults while it recovers, until it comes through. */
static void recover(struct model *m)
{
    for (int attempt = 0;; attempt++) {
        struct journal_recovery recovery;
        int rc;

        if (attempt < 6 && chance(m, 2))
            sim_disk_crash_at(m->disk, sim_disk_operations(m->disk) + 1 + chance(m, 30));
        else if (attempt < 6 && chance(m, 5) == 0)
            sim_disk_fail(m->disk, (enum sim_disk_fault)chance(m, SIM_DISK_FAULTS), 1 + chance(m, 8));
        rc = journal_open(m->fs, &config, &m->j, &recovery);
        if (rc) {
            CHECK(rc == BRANT_EIO || rc == BRANT_ENOSPACE);
            CHECK(attempt < 6);
            met.recovery_crashes += sim_disk_crashed(m->disk);
            restart(m);
            continue;
        }
        sim_disk_crash_at(m->disk, 0);
        for (int fault = 0; fault < SIM_DISK_FAULTS; fault++)
            sim_disk_fail(m->disk, (enum sim_disk_fault)fault, 0);
        if (!sim_disk_crashed(m->disk))
            check_all(m, &recovery);
        if (!sim_disk_crashed(m->disk) && !recovery.read_only) {
            check_files(m, &recovery);
            return;
        }
        journal_free(m->j);
        if (attempt >= 6)
            sim_disk_set_capacity(m->disk, 0);
        CHECK(attempt < 8);
        restart(m);
    }
}

static void run_seed(uint64_t seed)
{
    struct model *m = mem_zalloc(sizeof *m);

    current_seed = seed;
    m->seed = m->random = seed;
    m->next_token = 1;
    m->disk = sim_disk_new(&(struct sim_disk_config){
        .seed = seed, .capacity_bytes = chance(m, 4) ? 0 : 200000 + 12288 * chance(m, 6)});
    m->fs = sim_disk_mount(m->disk);
    for (int life = 0; life < 4; life++) {
        uint64_t steps = 5 + chance(m, 60);

        recover(m);
        if (chance(m, 4))
            sim_disk_crash_at(m->disk, sim_disk_operations(m->disk) + 1 + chance(m, 80));
        if (chance(m, 5) == 0)
            sim_disk_fail(m->disk, chance(m, 2) ? SIM_DISK_SYNC : SIM_DISK_WRITE, 1 + chance(m, 40));
        for (uint64_t i = 0; i < steps; i++) {
            uint64_t seq;
            struct journal_place place;

            if (!work(m))
                continue;
            /* Dead: nothing more is taken. */
            CHECK(journal_append(m->j, 1, 1, NULL, 0, true, &seq, &place) == BRANT_EIO);
            CHECK(journal_sync(m->j) == BRANT_EIO);
            break;
        }
        met.crashes += sim_disk_crashed(m->disk);
        journal_free(m->j);
        restart(m);
    }
    recover(m);
    journal_free(m->j);
    os_fs_free(m->fs);
    sim_disk_free(m->disk);
    free(m);
}

/* One fixed story, with a list of segments longer than a sector. */
static int story(struct model *m)
{
    int rc = BRANT_OK;

    for (int i = 0; !rc && i < 3; i++)
        append_one(m, false, &rc);
    if (!rc)
        rc = sync_all(m);
    if (!rc)
        append_one(m, false, &rc);
    if (!rc)
        rc = journal_roll(m->j);
    if (!rc) {
        acknowledge(m);
        rc = retire_one(m);
    }
    if (!rc)
        append_one(m, false, &rc);
    if (!rc)
        append_one(m, false, &rc);
    return rc ? rc : sync_all(m);
}

static void crash_and_restart(struct model *m, bool power)
{
    os_fs_free(m->fs);
    if (power)
        sim_disk_power_cut(m->disk);
    else
        sim_disk_process_kill(m->disk);
    m->fs = sim_disk_mount(m->disk);
}

/* The story dies at its operation `at`, the recovery at its operation `again`. False: it never came so far.
 */
static bool run_twice(uint64_t at, uint64_t again, unsigned mode, bool *ret_story_died)
{
    struct model *m = mem_zalloc(sizeof *m);
    struct journal_recovery recovery;
    bool died;
    int rc;

    current_seed = at * 1000000 + again * 1000 + mode;
    m->random = current_seed;
    m->next_token = 1;
    m->disk = sim_disk_new(&(struct sim_disk_config){.seed = current_seed});
    m->fs = sim_disk_mount(m->disk);
    CHECK(journal_open(m->fs, &config, &m->j, &recovery) == BRANT_OK);
    m->opened = true;
    for (int i = 0; i < 15; i++) {
        append_one(m, false, &rc);
        CHECK(!rc && journal_roll(m->j) == BRANT_OK);
    }
    acknowledge(m);
    sim_disk_crash_at(m->disk, sim_disk_operations(m->disk) + at);
    (void)story(m);
    *ret_story_died = sim_disk_crashed(m->disk);
    journal_free(m->j);
    crash_and_restart(m, mode & 1);
    sim_disk_crash_at(m->disk, sim_disk_operations(m->disk) + again);
    rc = journal_open(m->fs, &config, &m->j, &recovery);
    died = sim_disk_crashed(m->disk);
    if (!rc)
        journal_free(m->j);
    crash_and_restart(m, mode & 2);
    CHECK(journal_open(m->fs, &config, &m->j, &recovery) == BRANT_OK);
    check_all(m, &recovery);
    check_files(m, &recovery);
    CHECK(!recovery.read_only);
    journal_free(m->j);
    os_fs_free(m->fs);
    sim_disk_free(m->disk);
    free(m);
    return died;
}

/* Every operation of the story, and for each every operation of the recovery. */
static void test_every_operation_twice(void **state)
{
    unsigned runs = 0, operations = 0;
    unsigned modes = getenv("SIM_SEEDS") ? 64 : 4; /* two bits of it say how; the rest is chance */
    bool story_died = true;

    (void)state;
    for (uint64_t at = 1; story_died; at++) {
        operations++;
        for (unsigned mode = 0; mode < modes; mode++) {
            for (uint64_t again = 1; run_twice(at, again, mode, &story_died); again++) {
                runs++;
                assert_true(again < 1000);
            }
        }
        assert_true(at < 1000);
    }
    print_message("%u operations, %u crashes in recovery\n", operations, runs);
    assert_true(operations > 20 && runs > 500);
}

static void test_seeds(void **state)
{
    const char *count = getenv("SIM_SEEDS"), *one = getenv("SIM_SEED");
    uint64_t seeds = count ? strtoull(count, NULL, 10) : SEEDS;

    (void)state;
    if (one) {
        run_seed(strtoull(one, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= seeds; seed++)
        run_seed(seed);
    print_message(
        "%llu seeds: %u crashes, %u in recovery, %u with records copied, %u torn, %u records lost in torn "
        "batches, %u read-only, %u segments retired, %u times full, %u appends from the reserve\n",
        (unsigned long long)seeds, met.crashes, met.recovery_crashes, met.copied, met.torn, met.lost,
        met.read_only, met.retired, met.full, met.reserve);
    assert_true(met.crashes && met.recovery_crashes && met.copied && met.torn && met.lost && met.read_only &&
                met.retired && met.full && met.reserve);
}

/* A small disk: full, the reserve takes what deletes need, space returns, the reserve is filled again; a
 * restart at no matter which moment of that takes nothing away. */
static void test_full_disk(void **state)
{
    static const struct journal_config small = {.segment_bytes = 65536, .record_bytes_max = 4096};
    struct sim_disk *disk =
        sim_disk_new(&(struct sim_disk_config){.seed = 1, .capacity_bytes = 131072 + 4 * 65536});
    struct os_fs *fs = sim_disk_mount(disk);
    struct journal_recovery recovery;
    struct journal_segment segments[8];
    struct journal_place place;
    struct journal *j;
    uint8_t bytes[4000] = {1};
    struct span mail = span_make(bytes, sizeof bytes), delete = span_make(bytes, 40);
    uint64_t seq, size, last;
    unsigned mails = 0, deletes = 0;
    int rc;

    (void)state;
    assert_int_equal(journal_open(fs, &small, &j, &recovery), BRANT_OK);
    assert_int_equal(sim_disk_file_size(disk, "journal/spare", &size), BRANT_OK);
    while ((rc = journal_append(j, 1, 1, &mail, 1, false, &seq, &place)) == BRANT_OK) {
        assert_int_equal(journal_sync(j), BRANT_OK);
        mails++;
    }
    assert_int_equal(rc, BRANT_ENOSPACE);
    assert_true(mails > 40);
    while ((rc = journal_append(j, 2, 1, &delete, 1, true, &seq, &place)) == BRANT_OK) {
        assert_int_equal(journal_sync(j), BRANT_OK);
        deletes++;
    }
    assert_int_equal(rc, BRANT_ENOSPACE);
    assert_true(deletes > 600); /* the spare was used */
    assert_int_equal(sim_disk_file_size(disk, "journal/spare", &size), BRANT_ENOTFOUND);
    last = journal_durable_seq(j);
    assert_int_equal(last, mails + deletes);
    journal_free(j);
    os_fs_free(fs);

    /* Not a byte is free; the last batch has to be copied all the same, into what can be had. */
    sim_disk_power_cut(disk);
    fs = sim_disk_mount(disk);
    assert_int_equal(journal_open(fs, &small, &j, &recovery), BRANT_OK);
    assert_true(recovery.read_only);
    assert_int_equal(recovery.last_seq, last - 1);
    journal_free(j);
    sim_disk_set_capacity(disk, 131072 + 4 * 65536 + 8192);
    assert_int_equal(journal_open(fs, &small, &j, &recovery), BRANT_OK);
    assert_false(recovery.read_only);
    assert_int_equal(recovery.last_seq, last);
    assert_int_equal(journal_append(j, 1, 1, &mail, 1, true, &seq, &place), BRANT_ENOSPACE);

    /* Space returns: compaction gave up two segments. */
    assert_true(journal_segments(j, segments, 8) > 3);
    assert_int_equal(journal_retire(j, segments[0].id), BRANT_OK);
    assert_int_equal(sim_disk_file_size(disk, "journal/spare", &size), BRANT_OK);
    assert_int_equal(journal_retire(j, segments[1].id), BRANT_OK);
    assert_int_equal(journal_append(j, 1, 1, &mail, 1, false, &seq, &place), BRANT_OK);
    assert_int_equal(seq, last + 1);
    assert_int_equal(journal_sync(j), BRANT_OK);
    journal_free(j);
    os_fs_free(fs);
    sim_disk_free(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_every_operation_twice),
        cmocka_unit_test(test_full_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
