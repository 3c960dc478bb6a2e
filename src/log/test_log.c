#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "log/frame.h"
#include "log/log.h"
#include "log/out.h"

static const struct log_stamp STAMP = {.time_ms = 1763889136123, .role = "smtp-mx", .pid = 42};

static void keep_frame(void *context, struct span frame)
{
    struct buf *b = context;

    buf_append(b, frame);
}

/* The line that the frame in `b` becomes. */
static const char *line_of(struct buf *b, enum log_format format, struct buf *line)
{
    struct log_message m;

    assert_int_equal(log_frame_decode(buf_span(b), &m), BRANT_OK);
    buf_reset(line);
    log_line(line, format, &STAMP, &m);
    return buf_cstr(line);
}

static void an_event_becomes_one_line(void **state)
{
    _cleanup_buf_ struct buf frame, line;
    struct ip_addr peer = {.family = IP_V6, .port = 25};

    (void)state;
    buf_init(&frame, LOG_FRAME_MAX);
    buf_init(&line, LOG_LINE_MAX);
    peer.bytes[15] = 1;
    log_to_function(keep_frame, &frame, LOG_INFO);
    log_event(LOG_INFO, "smtp-connect", LOG_U64("session", 7), LOG_IP("peer", &peer), LOG_ADDR("from", &peer),
              LOG_I64("delta_ms", -5), LOG_HEX("commit", SPAN_LIT("\x01\xff")), LOG_STR("helo", "a b"));
    log_to_function(NULL, NULL, LOG_INFO);
    assert_string_equal(line_of(&frame, LOG_FORMAT_KV, &line),
                        "time=2025-11-23T09:12:16.123Z level=info role=smtp-mx pid=42 event=smtp-connect "
                        "session=7 peer=::1 from=[::1]:25 delta_ms=-5 commit=01ff helo=\"a b\"\n");
    assert_string_equal(
        line_of(&frame, LOG_FORMAT_JSON, &line),
        "{\"time\":\"2025-11-23T09:12:16.123Z\",\"level\":\"info\",\"role\":\"smtp-mx\",\"pid\":42,"
        "\"event\":\"smtp-connect\",\"session\":7,\"peer\":\"::1\",\"from\":\"[::1]:25\",\"delta_ms\":-5,"
        "\"commit\":\"01ff\",\"helo\":\"a b\"}\n");
}

static void events_below_the_level_are_not_written(void **state)
{
    _cleanup_buf_ struct buf frame;

    (void)state;
    buf_init(&frame, LOG_FRAME_MAX);
    log_to_function(keep_frame, &frame, LOG_WARNING);
    assert_false(log_wants(LOG_INFO));
    log_event(LOG_INFO, "quiet");
    assert_int_equal(frame.len, 0);
    log_event(LOG_ERROR, "loud");
    assert_true(frame.len > 0);
    log_to_function(NULL, NULL, LOG_DEBUG);
    assert_false(log_wants(LOG_ERROR));
}

/* Whatever a peer sends, a value stays one value on one line. */
static void any_byte_in_a_value_stays_inside_it(void **state)
{
    _cleanup_buf_ struct buf frame, line;

    (void)state;
    buf_init(&frame, LOG_FRAME_MAX);
    buf_init(&line, LOG_LINE_MAX);
    for (unsigned c = 0; c < 256; c++) {
        uint8_t bytes[] = {'x', (uint8_t)c, 'y'};
        struct log_field field = LOG_SPAN("v", span_make(bytes, sizeof bytes));
        const char *text;

        buf_reset(&frame);
        log_frame_encode(&frame, LOG_INFO, "e", 0, &field, 1);
        text = line_of(&frame, LOG_FORMAT_KV, &line);
        assert_int_equal(span_find_byte(buf_span(&line), '\n'), line.len - 1);
        for (const char *p = text; p < text + line.len - 1; p++)
            assert_true((uint8_t)*p >= 0x20 && (uint8_t)*p < 0x7f);
        if (c == ' ' || c == '"' || c == '=' || c == '\\' || c < 0x20 || c >= 0x7f)
            assert_true(strstr(text, " v=\"") != NULL);
        line_of(&frame, LOG_FORMAT_JSON, &line);
        assert_int_equal(span_find_byte(buf_span(&line), '\n'), line.len - 1);
    }
    buf_reset(&frame);
    log_frame_encode(&frame, LOG_INFO, "e", 0, &LOG_STR("v", "a\" role=store\nb"), 1);
    assert_non_null(strstr(line_of(&frame, LOG_FORMAT_KV, &line), " v=\"a\\\" role=store\\x0ab\"\n"));
    assert_non_null(strstr(line_of(&frame, LOG_FORMAT_JSON, &line), "\"v\":\"a\\\" role=store\\\\x0ab\"}\n"));
    buf_reset(&frame);
    log_frame_encode(&frame, LOG_INFO, "e", 0, &LOG_STR("v", ""), 1);
    assert_non_null(strstr(line_of(&frame, LOG_FORMAT_KV, &line), " v=\"\"\n"));
}

static void a_role_cannot_say_what_the_supervisor_stamps(void **state)
{
    static const char *const bad_keys[] = {"role", "pid", "time", "level", "event", "dropped",
                                           "",     "A",   "a b",  "a=b",   "1",     "a-b"};
    static const char *const bad_names[] = {"", "x y", "x\n", "X", "1", "x_y"};
    _cleanup_buf_ struct buf frame;
    struct log_message m;

    (void)state;
    buf_init(&frame, LOG_FRAME_MAX);
    for (size_t i = 0; i < sizeof bad_keys / sizeof bad_keys[0]; i++) {
        buf_reset(&frame);
        log_frame_encode(&frame, LOG_INFO, "e", 0, &LOG_STR(bad_keys[i], "v"), 1);
        assert_int_equal(log_frame_decode(buf_span(&frame), &m), BRANT_ESYNTAX);
    }
    for (size_t i = 0; i < sizeof bad_names / sizeof bad_names[0]; i++) {
        buf_reset(&frame);
        log_frame_encode(&frame, LOG_INFO, bad_names[i], 0, NULL, 0);
        assert_int_equal(log_frame_decode(buf_span(&frame), &m), BRANT_ESYNTAX);
    }
}

static void a_frame_never_passes_its_maximum(void **state)
{
    static uint8_t huge[1 << 20];
    _cleanup_buf_ struct buf frame;
    struct log_field fields[LOG_FIELDS_MAX + 8];
    struct log_message m;

    (void)state;
    memset(huge, 'h', sizeof huge);
    buf_init(&frame, 2 * LOG_FRAME_MAX);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        fields[i] = i % 2 ? LOG_U64("n", i) : LOG_SPAN("v", span_make(huge, sizeof huge));
    log_frame_encode(&frame, LOG_INFO, "e", 3, fields, sizeof fields / sizeof fields[0]);
    assert_true(frame.len <= LOG_FRAME_MAX);
    assert_int_equal(log_frame_decode(buf_span(&frame), &m), BRANT_OK);
    assert_int_equal(m.dropped, 3);
    assert_int_equal(m.values[0].bytes.len, LOG_VALUE_MAX);
    assert_true(span_ends(m.values[0].bytes, SPAN_LIT("...")));
    assert_int_equal(m.value_count, 3 + 16); /* three long values fit, and every number */
}

static size_t pull_all(struct log_decoder *d, uint64_t *sum)
{
    struct log_message m;
    size_t n = 0;

    while (log_decoder_next(d, &m) == BRANT_OK) {
        n++;
        *sum += m.value_count ? m.values[0].number : 0;
    }
    return n;
}

static size_t feed(struct log_decoder *d, struct span bytes, uint64_t *sum)
{
    size_t room;
    uint8_t *p = log_decoder_room(d, &room);

    assert_true(room >= bytes.len);
    memcpy(p, bytes.p, bytes.len);
    log_decoder_fed(d, bytes.len);
    return pull_all(d, sum);
}

static void make_stream(struct buf *stream)
{
    buf_init(stream, 8192);
    log_frame_encode(stream, LOG_INFO, "one", 0, &LOG_U64("n", 1), 1);
    buf_append_str(stream, "garbage bbL\xff\xff more bL\x02");
    log_frame_encode(stream, LOG_INFO, "two", 0, &LOG_U64("n", 10), 1);
    log_frame_encode(stream, LOG_INFO, "Bad", 0, &LOG_U64("n", 1000), 1);
    log_frame_encode(stream, LOG_INFO, "three", 0, &LOG_U64("n", 100), 1);
}

static void the_decoder_finds_the_same_frames_at_every_split(void **state)
{
    _cleanup_buf_ struct buf stream;

    (void)state;
    make_stream(&stream);
    for (size_t split = 0; split <= stream.len; split++) {
        struct log_decoder d;
        uint64_t sum = 0;
        size_t n;

        log_decoder_init(&d);
        n = feed(&d, span_sub(buf_span(&stream), 0, split), &sum);
        n += feed(&d, span_from(buf_span(&stream), split), &sum);
        assert_int_equal(n, 3);
        assert_int_equal(sum, 111);
        assert_int_equal(d.malformed, 2);
        log_decoder_done(&d);
    }
}

static void the_decoder_takes_single_bytes(void **state)
{
    _cleanup_buf_ struct buf stream;
    struct log_decoder d;
    uint64_t sum = 0;
    size_t n = 0;

    (void)state;
    make_stream(&stream);
    log_decoder_init(&d);
    for (size_t i = 0; i < stream.len; i++)
        n += feed(&d, span_sub(buf_span(&stream), i, 1), &sum);
    assert_int_equal(n, 3);
    assert_int_equal(sum, 111);
    log_decoder_done(&d);
}

static void a_truncated_or_changed_frame_never_decodes_wrongly(void **state)
{
    _cleanup_buf_ struct buf frame;
    struct log_message m;

    (void)state;
    buf_init(&frame, LOG_FRAME_MAX);
    log_frame_encode(&frame, LOG_INFO, "name", 0, (struct log_field[]){LOG_U64("n", 1), LOG_STR("s", "t")},
                     2);
    for (size_t cut = 0; cut < frame.len; cut++)
        assert_int_equal(log_frame_decode(span_sub(buf_span(&frame), 0, cut), &m), BRANT_ESYNTAX);
    for (size_t at = 0; at < frame.len; at++) {
        for (unsigned c = 0; c < 256; c++) {
            uint8_t old = frame.data[at];

            frame.data[at] = (uint8_t)c;
            if (log_frame_decode(buf_span(&frame), &m) == BRANT_OK)
                assert_true(m.value_count <= LOG_FIELDS_MAX && m.level < LOG_LEVEL_COUNT);
            frame.data[at] = old;
        }
    }
}

static void a_full_pipe_drops_and_counts(void **state)
{
    int fds[2];
    struct log_decoder d;
    struct log_message m;
    uint64_t sum = 0;
    unsigned lost = 0;
    ssize_t n;
    size_t room;

    (void)state;
    assert_int_equal(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    log_to_pipe(fds[1], LOG_DEBUG);
    for (int i = 0; i < 5000; i++)
        log_event(LOG_INFO, "flood", LOG_U64("n", i),
                  LOG_STR("pad", "0123456789012345678901234567890123456789"));
    lost = (unsigned)log_dropped();
    assert_true(lost > 0 && lost < 5000);
    log_decoder_init(&d);
    do {
        uint8_t *p = log_decoder_room(&d, &room);

        n = read(fds[0], p, room);
        log_decoder_fed(&d, n > 0 ? (size_t)n : 0);
        sum += pull_all(&d, &(uint64_t){0});
    } while (n > 0);
    assert_int_equal(sum + lost, 5000);
    log_event(LOG_INFO, "after");
    assert_int_equal(log_dropped(), 0);
    n = read(fds[0], log_decoder_room(&d, &room), room);
    log_decoder_fed(&d, (size_t)n);
    assert_int_equal(log_decoder_next(&d, &m), BRANT_OK);
    assert_int_equal(m.dropped, lost);
    log_decoder_done(&d);
    log_to_pipe(-1, LOG_DEBUG);
    close(fds[0]);
    close(fds[1]);
}

static void write_one(struct log_out *o, const char *name)
{
    _cleanup_buf_ struct buf frame;
    struct log_message m;

    buf_init(&frame, LOG_FRAME_MAX);
    log_frame_encode(&frame, LOG_INFO, name, 0, NULL, 0);
    assert_int_equal(log_frame_decode(buf_span(&frame), &m), BRANT_OK);
    log_out_write(o, &STAMP, &m);
}

static void a_log_file_is_appended_to_and_reopened(void **state)
{
    char dir[] = "/tmp/brant-test-log-XXXXXX", path[64], old[64], text[512] = "";
    struct log_out o;
    FILE *f;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/log", dir);
    snprintf(old, sizeof old, "%s/old", dir);
    assert_int_equal(log_out_open(&o, LOG_FORMAT_KV, path), BRANT_OK);
    write_one(&o, "before");
    assert_int_equal(rename(path, old), 0);
    assert_int_equal(log_out_reopen(&o), BRANT_OK);
    write_one(&o, "after");
    log_out_close(&o);
    f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    assert_non_null(strstr(text, "event=after\n"));
    assert_null(fgets(text, sizeof text, f));
    fclose(f);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(unlink(old), 0);
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(log_out_open(&o, LOG_FORMAT_KV, path), BRANT_EIO);
    assert_int_equal(o.fd, STDERR_FILENO);
}

static void a_stuck_destination_loses_lines_and_says_so(void **state)
{
    struct log_out o = {.format = LOG_FORMAT_KV};
    char text[70000] = "";
    int fds[2];

    (void)state;
    assert_int_equal(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    while (write(fds[1], text, 4096) > 0)
        ;
    o.fd = fds[1];
    write_one(&o, "unseen");
    assert_int_equal(o.lost, 1);
    while (read(fds[0], text, sizeof text) > 0)
        ;
    write_one(&o, "seen");
    assert_int_equal(o.lost, 0);
    text[read(fds[0], text, sizeof text - 1)] = '\0';
    assert_non_null(strstr(text, "event=log-lines-lost lost=1\n"));
    assert_non_null(strstr(text, "event=seen\n"));
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_becomes_one_line),
        cmocka_unit_test(events_below_the_level_are_not_written),
        cmocka_unit_test(any_byte_in_a_value_stays_inside_it),
        cmocka_unit_test(a_role_cannot_say_what_the_supervisor_stamps),
        cmocka_unit_test(a_frame_never_passes_its_maximum),
        cmocka_unit_test(the_decoder_finds_the_same_frames_at_every_split),
        cmocka_unit_test(the_decoder_takes_single_bytes),
        cmocka_unit_test(a_truncated_or_changed_frame_never_decodes_wrongly),
        cmocka_unit_test(a_full_pipe_drops_and_counts),
        cmocka_unit_test(a_log_file_is_appended_to_and_reopened),
        cmocka_unit_test(a_stuck_destination_loses_lines_and_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
