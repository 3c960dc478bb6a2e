/* Damage in every place of a journal: bits flipped, files cut short, blocks written twice or to the wrong
 * place, blocks of zeros. It has to be noticed, and to cost only the records whose bytes it hit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "os/sim_disk.h"
#include "store/journal.h"

#define RECORDS 60u
#define BLOCK   4096u

static const struct journal_config config = {.segment_bytes = 16384, .record_bytes_max = 12000};

struct where {
    uint32_t segment;
    uint64_t from, to; /* header, payload */
};

struct world {
    struct sim_disk *disk;
    struct os_fs *fs;
    struct where where[RECORDS + 1];
    uint64_t mark; /* what is known to be durable without a look at the tail */
};

static struct span payload_of(uint64_t seq, uint8_t *bytes)
{
    size_t len = (size_t)(seq * 977 % 1400);

    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(seq * 31 + i * 13 + (i >> 8) * 7 + 1);
    return span_make(bytes, len);
}

/* Sixty records in several segments; the last one open, with a batch behind the mark. */
static void build(struct world *w)
{
    struct journal_recovery recovery;
    struct journal *j;
    uint8_t bytes[1400];

    w->disk = sim_disk_new(&(struct sim_disk_config){.seed = 5});
    w->fs = sim_disk_mount(w->disk);
    assert_int_equal(journal_open(w->fs, &config, &j, &recovery), BRANT_OK);
    for (uint64_t seq = 1; seq <= RECORDS; seq++) {
        struct span payload = payload_of(seq, bytes);
        struct journal_place place;
        uint64_t got;

        assert_int_equal(journal_append(j, 9, 1, &payload, 1, false, &got, &place), BRANT_OK);
        assert_int_equal(got, seq);
        w->where[seq] = (struct where){place.segment, place.offset - 48, place.offset + place.length};
        if (seq % 6 == 0) {
            w->mark = seq - 6;
            assert_int_equal(journal_sync(j), BRANT_OK);
        }
    }
    journal_free(j);
}

static void done(struct world *w)
{
    os_fs_free(w->fs);
    sim_disk_free(w->disk);
}

struct outcome {
    int open_rc;
    struct journal_recovery recovery;
    bool shown[RECORDS + 1];
    bool lost[RECORDS + 1];
};

static void read_all(struct journal *j, struct outcome *o)
{
    struct journal_iter *it;
    struct journal_record record;
    uint64_t last = 0, first_lost, last_lost;
    uint8_t bytes[1400];
    int rc;

    assert_int_equal(journal_iterate(j, 1, &it), BRANT_OK);
    while ((rc = journal_iter_next(it, &record)) != BRANT_ENOTFOUND) {
        if (rc == BRANT_ECORRUPT) {
            journal_iter_lost(it, &first_lost, &last_lost);
            assert_true(first_lost > last && last_lost >= first_lost && last_lost <= RECORDS);
            for (uint64_t seq = first_lost; seq <= last_lost; seq++)
                o->lost[seq] = true;
            last = last_lost;
            continue;
        }
        assert_int_equal(rc, BRANT_OK);
        assert_true(record.seq > last && record.seq <= RECORDS);
        assert_true(span_eq(record.payload, payload_of(record.seq, bytes)));
        o->shown[record.seq] = true;
        last = record.seq;
    }
    journal_iter_free(it);
}

static void open_and_read(struct world *w, struct outcome *o)
{
    struct journal *j;

    memset(o, 0, sizeof *o);
    o->open_rc = journal_open(w->fs, &config, &j, &o->recovery);
    if (o->open_rc)
        return;
    assert_false(o->recovery.read_only);
    read_all(j, o);
    journal_free(j);
}

/* Every record is shown or reported; only those that overlap [from, to) of the segment may be missing. Behind
 * the mark, where nothing valid follows, damage is a torn tail. */
static void check(const struct world *w, const struct outcome *o, uint32_t segment, uint64_t from,
                  uint64_t to)
{
    bool damaged_seen = false;

    assert_int_equal(o->open_rc, BRANT_OK);
    for (uint64_t seq = 1; seq <= RECORDS; seq++) {
        const struct where *at = &w->where[seq];
        bool hit = at->segment == segment && at->from < to && at->to > from;

        assert_false(o->shown[seq] && o->lost[seq]);
        if (!hit) {
            assert_true(o->shown[seq]);
            continue;
        }
        damaged_seen |= !o->shown[seq];
        if (!o->shown[seq] && !o->lost[seq]) {
            /* Of the newest segment cut off or replaced only that is known. */
            assert_true(seq > w->mark || o->recovery.truncated_bytes || o->recovery.damaged_headers);
            assert_true(at->segment == w->where[RECORDS].segment && o->recovery.last_seq < seq);
        }
    }
    if (!damaged_seen)
        return;
    for (uint64_t seq = o->recovery.last_seq + 1; seq <= RECORDS; seq++)
        assert_false(o->shown[seq]);
}

static void segment_path(uint32_t segment, char *ret)
{
    (void)snprintf(ret, 32, "journal/%08x.seg", segment);
}

/* One kind of damage to one place, on a fresh copy of the same disk. */
static void damage(uint32_t segment, uint64_t offset, struct span bytes, struct outcome *o)
{
    struct world w;
    char path[32];

    build(&w);
    segment_path(segment, path);
    assert_int_equal(sim_disk_poke(w.disk, path, offset, bytes), BRANT_OK);
    open_and_read(&w, o);
    check(&w, o, segment, offset, offset + bytes.len);
    done(&w);
}

static void test_flips(void **state)
{
    struct world w;
    struct outcome o;
    unsigned flips = 0, in_header = 0, noticed = 0;

    (void)state;
    build(&w);
    for (uint32_t segment = 1; segment <= w.where[RECORDS].segment; segment++) {
        char path[32];
        uint64_t size;

        segment_path(segment, path);
        assert_int_equal(sim_disk_file_size(w.disk, path, &size), BRANT_OK);
        for (uint64_t at = 0; at < size; at += at < 64 ? 1 : at < BLOCK ? 509 : 23) {
            uint8_t byte;

            assert_int_equal(sim_disk_peek(w.disk, path, at, &byte, 1), BRANT_OK);
            byte ^= (uint8_t)(1u << at % 8);
            damage(segment, at, span_make(&byte, 1), &o);
            flips++;
            if (at < 64) { /* a header costs no record */
                assert_int_equal(o.recovery.damaged_headers, 1);
                in_header++;
            }
            for (uint64_t seq = 1; seq <= RECORDS; seq++)
                noticed += !o.shown[seq];
        }
    }
    done(&w);
    print_message("%u flips, %u in headers, %u cost a record\n", flips, in_header, noticed);
    assert_true(in_header >= 64 * 4 && noticed > 500);
}

/* Each block over each other block of the same and of the next segment. */
static void test_misdirected_blocks(void **state)
{
    struct world w;
    struct outcome o;
    uint32_t segments;
    unsigned cases = 0;

    (void)state;
    build(&w);
    segments = w.where[RECORDS].segment;
    for (uint32_t from = 1; from <= segments; from++) {
        for (uint64_t i = 0; i < 4; i++) {
            uint8_t block[BLOCK];
            char path[32];

            segment_path(from, path);
            assert_int_equal(sim_disk_peek(w.disk, path, i * BLOCK, block, BLOCK), BRANT_OK);
            for (uint64_t k = 0; k < 4; k++) {
                for (uint32_t to = from; to <= from + 1 && to <= segments; to++) {
                    if (to == from && k == i)
                        continue;
                    damage(to, k * BLOCK, span_make(block, BLOCK), &o);
                    if (k == 0)
                        assert_int_equal(o.recovery.damaged_headers, 1);
                    cases++;
                }
            }
        }
    }
    done(&w);
    print_message("%u misdirected blocks\n", cases);
    assert_true(cases > 80);
}

static void test_zeroed_blocks(void **state)
{
    struct world w;
    struct outcome o;
    uint8_t zeros[BLOCK] = {0};

    (void)state;
    build(&w);
    for (uint32_t segment = 1; segment <= w.where[RECORDS].segment; segment++) {
        for (uint64_t i = 0; i < 32; i++)
            damage(segment, i * 512, span_make(zeros, 512), &o);
        for (uint64_t i = 0; i < 4; i++)
            damage(segment, i * BLOCK, span_make(zeros, BLOCK), &o);
    }
    done(&w);
}

static void test_truncated(void **state)
{
    struct world w;
    uint32_t segments;
    uint64_t size;

    (void)state;
    build(&w);
    segments = w.where[RECORDS].segment;
    done(&w);
    for (uint32_t segment = 1; segment <= segments; segment++) {
        for (uint64_t cut = 0; cut < config.segment_bytes; cut += cut % 512 ? 493 : 19) {
            struct outcome o;
            char path[32];

            build(&w);
            segment_path(segment, path);
            assert_int_equal(sim_disk_file_size(w.disk, path, &size), BRANT_OK);
            assert_int_equal(sim_disk_resize(w.disk, path, cut), BRANT_OK);
            open_and_read(&w, &o);
            check(&w, &o, segment, cut, size);
            done(&w);
        }
    }
}

/* A segment gone, and a segment under the name of another. */
static void test_whole_segments(void **state)
{
    struct world w;
    uint32_t segments;

    (void)state;
    build(&w);
    segments = w.where[RECORDS].segment;
    done(&w);
    for (uint32_t segment = 1; segment <= segments; segment++) {
        _cleanup_free_ uint8_t *bytes = mem_alloc(config.segment_bytes);
        uint32_t other = segment % segments + 1;
        struct outcome o;
        char path[32], from[32];

        build(&w);
        segment_path(segment, path);
        assert_int_equal(os_fs_unlink(w.fs, path), BRANT_OK);
        open_and_read(&w, &o);
        assert_int_equal(o.open_rc, BRANT_ECORRUPT);
        assert_int_equal(o.recovery.missing_segment, segment);
        done(&w);

        build(&w);
        segment_path(other, from);
        assert_int_equal(sim_disk_peek(w.disk, from, 0, bytes, config.segment_bytes), BRANT_OK);
        assert_int_equal(sim_disk_poke(w.disk, path, 0, span_make(bytes, config.segment_bytes)), BRANT_OK);
        open_and_read(&w, &o);
        assert_int_equal(o.recovery.damaged_headers, 1);
        check(&w, &o, segment, 0, config.segment_bytes);
        done(&w);
    }
}

/* The list of segments: one copy damaged costs nothing, both cost nothing that the headers know. */
static void test_lists(void **state)
{
    struct world w;
    struct outcome o;

    (void)state;
    for (uint64_t at = 0; at < 160; at++) {
        for (unsigned copies = 1; copies <= 3; copies++) {
            build(&w);
            for (unsigned copy = 0; copy < 2; copy++) {
                const char *path = copy ? "journal/live.1" : "journal/live.0";
                uint8_t byte;

                if (!(copies & 1u << copy))
                    continue;
                assert_int_equal(sim_disk_peek(w.disk, path, at, &byte, 1), BRANT_OK);
                byte ^= 0x20;
                assert_int_equal(sim_disk_poke(w.disk, path, at, span_make(&byte, 1)), BRANT_OK);
            }
            open_and_read(&w, &o);
            check(&w, &o, 0, 0, 0);
            assert_int_equal(o.recovery.damaged_lists, copies == 3 ? 2 : 1);
            done(&w);
        }
    }
}

/* A record inside a message is no record, even at the place where it would be one. */
static void test_record_in_payload(void **state)
{
    struct world w;
    struct journal_recovery recovery;
    struct journal_place place, outer;
    struct journal *j;
    uint8_t forged[48 + 16], zero[48] = {0};
    struct span payload = span_make(forged, sizeof forged);
    uint64_t seq;

    (void)state;
    w.disk = sim_disk_new(&(struct sim_disk_config){.seed = 5});
    w.fs = sim_disk_mount(w.disk);
    assert_int_equal(journal_open(w.fs, &config, &j, &recovery), BRANT_OK);
    payload = span_make(zero, 16);
    assert_int_equal(journal_append(j, 9, 1, &payload, 1, false, &seq, &place), BRANT_OK);
    assert_int_equal(journal_roll(j), BRANT_OK);
    assert_int_equal(sim_disk_peek(w.disk, "journal/00000001.seg", place.offset - 48, forged, sizeof forged),
                     BRANT_OK);
    /* All right but the checksum, which needs the store's secret: segment 2, where it will lie, number 3. */
    forged[36] = 2;
    forged[16] = 3;
    forged[40] = (uint8_t)((4096 + 48) / 8);
    forged[41] = (uint8_t)((4096 + 48) / 8 >> 8);
    payload = span_make(forged, sizeof forged);
    assert_int_equal(journal_append(j, 9, 1, &payload, 1, false, &seq, &outer), BRANT_OK);
    assert_int_equal(outer.offset, 4096 + 48);
    assert_int_equal(journal_sync(j), BRANT_OK);
    journal_free(j);
    assert_int_equal(sim_disk_poke(w.disk, "journal/00000002.seg", 4096, span_make(zero, 48)), BRANT_OK);
    assert_int_equal(journal_open(w.fs, &config, &j, &recovery), BRANT_OK);
    assert_int_equal(recovery.last_seq, 1);
    assert_true(recovery.torn_bytes > 0);
    journal_free(j);
    done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flips),
        cmocka_unit_test(test_misdirected_blocks),
        cmocka_unit_test(test_zeroed_blocks),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_whole_segments),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_record_in_payload),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
