/* The journal's reader. The first byte chooses: the rest is fed to the decoders as it is; or it is the files
 * of a journal; or it says what to overwrite in a good journal, and then no record may be shown that was
 * never written. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "os/sim_disk.h"
#include "store/journal.h"
#include "store/journal_segment.h"

#define RECORDS 24u
#define PAYLOAD 700u

static const struct journal_config config = {
    .segment_bytes = 8192, .record_bytes_max = PAYLOAD, .accept_missing = true};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct span payload_of(uint64_t seq, uint8_t *bytes)
{
    size_t len = (size_t)(seq * 97 % PAYLOAD);

    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(seq * 31 + i * 7);
    return span_make(bytes, len);
}

static void decode(struct span in)
{
    struct segment_key key = {7, 1};
    struct segment_header header;
    struct segment_record record;
    struct segment_live live;

    (void)segment_header_decode(in, &header);
    if (segment_live_decode(in, &live) == BRANT_OK && live.count)
        (void)segment_live_get(in, live.count - 1);
    (void)segment_record_peek(key, 4096, in, &record);
    (void)segment_record_check(key, in);
}

/* What is shown has to be what was written; numbers rise. */
static void read_all(struct journal *j, bool genuine)
{
    struct journal_record record;
    struct journal_iter *it;
    uint64_t last = 0, first_lost, last_lost;
    uint8_t bytes[PAYLOAD];
    int rc;

    rc = journal_iterate(j, 1, &it);
    assert(rc == BRANT_OK);
    while ((rc = journal_iter_next(it, &record)) != BRANT_ENOTFOUND) {
        if (rc == BRANT_ECORRUPT) {
            journal_iter_lost(it, &first_lost, &last_lost);
            assert(first_lost > last && last_lost >= first_lost);
            last = last_lost;
            continue;
        }
        assert(rc == BRANT_OK && record.seq > last);
        last = record.seq;
        if (!genuine)
            continue;
        assert(record.seq <= RECORDS && record.type == 3);
        assert(span_eq(record.payload, payload_of(record.seq, bytes)));
        assert(journal_verify(j, &record.place) == BRANT_OK);
    }
    journal_iter_free(it);
}

static void open_and_read(struct os_fs *fs, bool genuine)
{
    struct journal_recovery recovery;
    struct journal *j;

    if (journal_open(fs, &config, &j, &recovery) != BRANT_OK)
        return;
    read_all(j, genuine);
    journal_free(j);
}

static void write_file(struct os_fs *fs, const char *path, uint64_t bytes, struct span content)
{
    struct os_file *file;

    if (os_fs_open(fs, path, OS_OPEN_WRITE | OS_OPEN_CREATE, &file))
        abort();
    (void)os_file_allocate(file, bytes);
    (void)os_file_write(file, 0, &content, 1);
    os_file_close(file);
}

/* A list with any entries, for segments that may be there. */
static void write_list(struct os_fs *fs, struct span in)
{
    struct segment_live live = {.generation = 1, .next_seq = 5, .next_id = 3};
    struct segment_live_entry entries[3];
    struct buf list;

    buf_init(&list, 4096);
    for (; live.count < 3 && in.len >= 4; in = span_from(in, 4)) {
        entries[live.count] = (struct segment_live_entry){
            .id = live.count + 1,
            .open = in.p[0] & 1,
            .first_seq = in.p[1],
            .last_seq = in.p[2] == 255 ? UINT64_MAX : in.p[2],
            .end = in.p[3] == 255 ? UINT64_MAX : in.p[3] * 40u,
        };
        live.count++;
    }
    segment_live_encode(&live, entries, &list);
    write_file(fs, "journal/live.0", 4096, buf_span(&list));
    buf_done(&list);
}

/* A list and a segment, their checksums made right, from whatever the input says. */
static void open_files(struct os_fs *fs, struct span in)
{
    struct span list = span_sub(in, 0, 12), records = span_from(in, 12);
    struct segment_header header = {.id = 1, .first_seq = 1, .bytes = 8192};
    uint8_t block[SEGMENT_HEADER_BYTES];
    struct segment_record record = {.seq = 1, .type = 3};
    struct buf segment;

    (void)os_fs_mkdir(fs, "journal");
    write_list(fs, list);
    segment_header_encode(&header, block);
    buf_init(&segment, 65536);
    (void)buf_append(&segment, span_make(block, sizeof block));
    for (size_t at = 0; at + 8 <= records.len && segment.len < 8192; at += 40) {
        struct span payload = span_sub(records, at + 8, 32);

        record.seq = records.p[at];
        record.mark = records.p[at + 1];
        record.length = (uint32_t)payload.len;
        (void)segment_record_encode(segment_key(header.store_id, 1), segment.len, &record, &payload, 1,
                                    &segment);
    }
    write_file(fs, "journal/00000001.seg", 8192, buf_span(&segment));
    buf_done(&segment);
    open_and_read(fs, false);
}

static void build(struct os_fs *fs)
{
    struct journal_recovery recovery;
    struct journal *j;
    uint8_t bytes[PAYLOAD];

    if (journal_open(fs, &config, &j, &recovery))
        abort();
    for (uint64_t i = 1; i <= RECORDS; i++) {
        struct span payload = payload_of(i, bytes);
        struct journal_place place;
        uint64_t seq;

        if (journal_append(j, 3, 1, &payload, 1, false, &seq, &place) || (i % 4 == 0 && journal_sync(j)))
            abort();
    }
    journal_free(j);
}

/* Each command: file, offset, length, and bytes or the place they are copied from. */
static void damage(struct sim_disk *d, struct span in)
{
    static const char *const paths[] = {"journal/live.0",       "journal/live.1",
                                        "journal/00000001.seg", "journal/00000002.seg",
                                        "journal/00000003.seg", "journal/00000004.seg"};

    while (in.len >= 8) {
        const char *path = paths[in.p[0] % 6], *from = paths[in.p[1] % 6];
        uint64_t offset = (uint64_t)(in.p[2] | in.p[3] << 8) % 8192,
                 other = (uint64_t)(in.p[4] | in.p[5] << 8) % 8192;
        size_t len = (size_t)(in.p[6] | in.p[7] << 8) % 4097;
        uint8_t copy[4096];

        in = span_from(in, 8);
        if (len > 64) { /* a block in the wrong place */
            if (sim_disk_peek(d, from, other, copy, len) == BRANT_OK)
                (void)sim_disk_poke(d, path, offset, span_make(copy, len));
        } else if (len == 64) {
            (void)sim_disk_resize(d, path, offset);
        } else {
            (void)sim_disk_poke(d, path, offset, span_sub(in, 0, len));
            in = span_from(in, len);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_make(data, size);
    struct sim_disk *d;
    struct os_fs *fs;

    if (!size)
        return 0;
    in = span_from(in, 1);
    if (data[0] % 4 == 0) {
        decode(in);
        return 0;
    }
    d = sim_disk_new(&(struct sim_disk_config){.seed = 9});
    fs = sim_disk_mount(d);
    if (data[0] % 4 == 1) {
        open_files(fs, in);
    } else {
        build(fs);
        damage(d, in);
        open_and_read(fs, true);
    }
    os_fs_free(fs);
    sim_disk_free(d);
    return 0;
}
