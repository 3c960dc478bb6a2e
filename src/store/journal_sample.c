/* Writes a journal and two large bodies below a directory and says what is in them: for the test of the
 * independent reader (tests/faults/test_reader.py).
 *
 *     journal_sample DIRECTORY
 *
 * Prints "record SEQ TYPE VERSION PAYLOAD" and "body ID BYTES", both in hexadecimal. */
#include <fcntl.h>
#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/bodies.h"
#include "store/journal.h"

#define RECORDS 150u
#define PAYLOAD 3000u

static uint32_t state = 1;

static uint8_t next_byte(void)
{
    state = state * 1664525 + 1013904223;
    return (uint8_t)(state >> 24);
}

static void print_hex(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        printf("%02x", bytes[i]);
    printf("\n");
}

static int write_body(struct bodies *b, size_t len)
{
    _cleanup_free_ uint8_t *bytes = mem_alloc(len);
    struct body_writer *w;
    struct body_ref ref;
    int rc = bodies_stage(b, 1, &w);

    if (rc)
        return rc;
    for (size_t i = 0; i < len; i++)
        bytes[i] = next_byte();
    rc = body_append(w, span_make(bytes, len));
    if (rc) {
        body_abort(w);
        return rc;
    }
    rc = body_finish(w, &ref);
    if (rc)
        return rc;
    printf("body ");
    for (size_t i = 0; i < BODY_ID_BYTES; i++)
        printf("%02x", ref.id[i]);
    printf(" ");
    print_hex(bytes, len);
    return BRANT_OK;
}

static int write_record(struct journal *j)
{
    uint8_t bytes[PAYLOAD];
    size_t len = next_byte() * 256u % PAYLOAD + next_byte() % 8;
    struct span payload = span_make(bytes, len < PAYLOAD ? len : PAYLOAD);
    uint16_t type = (uint16_t)(next_byte() + 1);
    struct journal_place place;
    uint64_t seq;
    int rc;

    for (size_t i = 0; i < payload.len; i++)
        bytes[i] = next_byte();
    rc = journal_append(j, type, 2, &payload, 1, false, &seq, &place);
    if (rc)
        return rc;
    printf("record %u %u 2 ", (unsigned)seq, (unsigned)type);
    print_hex(payload.p, payload.len);
    return seq % 4 == 0 || seq == RECORDS ? journal_sync(j) : BRANT_OK;
}

int main(int argc, char **argv)
{
    static const struct journal_config config = {.segment_bytes = 65536, .record_bytes_max = PAYLOAD};
    static const struct bodies_config limits = {
        .source_staged_bytes_max = 1 << 20, .staged_bytes_max = 1 << 20, .body_bytes_max = 1 << 20};
    struct journal_recovery recovery;
    struct journal *j;
    struct bodies *b;
    struct os_fs *fs;
    int fd, rc;

    fd = argc == 2 ? open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd < 0)
        return 2;
    fs = os_fs_open_real(fd);
    rc = journal_open(fs, &config, &j, &recovery);
    for (unsigned i = 0; !rc && i < RECORDS; i++) {
        rc = write_record(j);
        if (!rc && i == RECORDS / 2) { /* recovery leaves a superseded tail behind */
            rc = journal_sync(j);
            journal_free(j);
            rc = rc ? rc : journal_open(fs, &config, &j, &recovery);
        }
    }
    if (!rc)
        rc = bodies_open(fs, &limits, &b);
    if (!rc)
        rc = write_body(b, 300000);
    if (!rc)
        rc = write_body(b, 131072);
    if (rc)
        return 1;
    bodies_free(b);
    journal_free(j);
    os_fs_free(fs);
    return 0;
}
