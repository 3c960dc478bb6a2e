/* SMTP smuggling: only CRLF.CRLF ends message data, at every split of the bytes, in DATA and in BDAT.
 *
 * The sequences are those of tests/vectors/smuggling.json, and the cross product of seven things before and
 * seven behind a lone dot. Behind each stands what an attacker would like to run as commands. Whatever the
 * engine makes of it: no second message, no command out of the data, and the same replies at every split. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/codec.h"
#include "base/err.h"
#include "base/mem.h"
#include "smtp/rig.h"

#define ENVELOPE "MAIL FROM:<a@b.example>\r\nRCPT TO:<alice@brant.test>\r\n"
#define HEADER   "Subject: x\r\n\r\n"
#define SMUGGLED                                                                      \
    "MAIL FROM:<smuggled@b.example>\r\nRCPT TO:<bob@brant.test>\r\nDATA\r\nSubject: " \
    "smuggled\r\n\r\nsmuggled\r\n.\r\n"

enum expect {
    REFUSED,    /* one 550 or 554, closed, nothing stored */
    TEXT,       /* an ordinary text: one message with everything in it */
    GENUINE,    /* a true end: the rest are commands, and the message before it is stored */
    GENUINE_BAD /* a true end, but with bytes behind it that close the session before any command */
};

/* What must come of it is worked out from the bytes alone, by rules that share nothing with the engine: a
 * backward look at every place. `before` is what stands in front of the sequence. */
static enum expect classify(struct span data)
{
    bool bad = false;

    for (size_t i = 0; i < data.len; i++) {
        bool start = i == 0 || (i >= 2 && data.p[i - 2] == '\r' && data.p[i - 1] == '\n');

        if (start && data.p[i] == '.' && span_starts(span_from(data, i + 1), SPAN_LIT("\r\n"))) {
            struct span rest = span_from(data, i + 3);

            if (bad)
                return REFUSED;
            if (rest.len == 0)
                return TEXT; /* the end that the sender means */
            return rest.p[0] == 'M' ? GENUINE : GENUINE_BAD;
        }
        if (data.p[i] == '\0' || (data.p[i] == '\n' && (i == 0 || data.p[i - 1] != '\r')) ||
            (data.p[i] == '\r' && (i + 1 >= data.len || data.p[i + 1] != '\n')))
            bad = true;
    }
    fail_msg("the data has no end");
    return REFUSED;
}

struct outcome {
    struct buf replies, log;
    size_t stored;
    bool closed;
    enum smtp_close_reason reason;
};

static void run(struct span session, size_t cut, size_t piece, struct outcome *ret)
{
    struct rig r;

    rig_init(&r, NULL);
    smtp_server_greet(r.s, r.now_ms);
    rig_feed_str(&r, "EHLO client.example\r\n");
    rig_replies(&r);
    rig_feed(&r, span_sub(session, 0, cut));
    for (size_t at = cut; at < session.len; at += piece)
        rig_feed(&r, span_sub(session, at, piece));
    buf_init(&ret->replies, SIZE_MAX);
    buf_init(&ret->log, SIZE_MAX);
    buf_append(&ret->replies, buf_span(&r.out));
    buf_append(&ret->log, buf_span(&r.log));
    ret->stored = r.stored_count;
    ret->closed = r.closed;
    ret->reason = r.reason;
    rig_done(&r);
}

static void outcome_done(struct outcome *o)
{
    buf_done(&o->replies);
    buf_done(&o->log);
}

static size_t count(struct span text, const char *needle)
{
    size_t n = 0, at;

    while ((at = span_find(text, span_str(needle))) != SPAN_NPOS) {
        n++;
        text = span_from(text, at + 1);
    }
    return n;
}

/* Every split must give what the whole gives; the number of runs. */
static size_t check_splits(struct span session, struct outcome *whole)
{
    size_t runs = 0;

    run(session, session.len, SIZE_MAX / 2, whole);
    for (size_t cut = 0; cut < session.len; cut++, runs++) {
        struct outcome o;

        run(session, cut, cut == 0 ? 1 : session.len, &o); /* the first time byte by byte */
        assert_true(span_eq(buf_span(&o.replies), buf_span(&whole->replies)));
        assert_true(span_eq(buf_span(&o.log), buf_span(&whole->log)));
        assert_int_equal(o.stored, whole->stored);
        assert_int_equal(o.closed, whole->closed);
        assert_int_equal(o.reason, whole->reason);
        outcome_done(&o);
    }
    return runs;
}

static void check_data(const char *id, struct span sequence, bool at_start)
{
    struct buf session, data;
    struct outcome o;
    enum expect expect;
    size_t smuggled;

    buf_init(&session, SIZE_MAX);
    buf_init(&data, SIZE_MAX);
    buf_append_str(&data, at_start ? "" : HEADER "text");
    buf_append(&data, sequence);
    buf_append_str(&data, SMUGGLED);
    buf_append_str(&session, ENVELOPE "DATA\r\n");
    buf_append(&session, buf_span(&data));
    expect = classify(buf_span(&data));
    check_splits(buf_span(&session), &o);
    smuggled = count(buf_span(&o.log), "smuggled@");
    if (expect == GENUINE) {
        assert_int_equal(smuggled, 1);
        assert_int_equal(o.stored, 2);
    } else {
        if (smuggled != 0 || o.closed != (expect != TEXT))
            fail_msg("%s: %s", id, buf_cstr(&o.replies));
        assert_int_equal(o.stored, expect == REFUSED ? 0 : 1);
    }
    if (expect == REFUSED) {
        assert_int_equal(o.reason, SMTP_CLOSE_BAD_DATA);
        assert_int_equal(count(buf_span(&o.replies), "\r\n55"), 1);
        assert_int_equal(count(buf_span(&o.replies), "\r\n"), 4);
    }
    outcome_done(&o);
    buf_done(&session);
    buf_done(&data);
}

/* In chunks the sequence is octets: either they are refused, or they are stored as they are. */
static void check_bdat(const char *id, struct span sequence, size_t chunk)
{
    struct buf session, data;
    struct outcome o;
    bool bad = false;

    buf_init(&session, SIZE_MAX);
    buf_init(&data, SIZE_MAX);
    buf_append_str(&data, HEADER "text");
    buf_append(&data, sequence);
    buf_append_str(&data, SMUGGLED);
    for (size_t i = 0; i < data.len; i++)
        if (data.data[i] == '\0' || (data.data[i] == '\n' && data.data[i - 1] != '\r') ||
            (data.data[i] == '\r' && data.data[i + 1] != '\n'))
            bad = true;
    buf_append_str(&session, ENVELOPE);
    for (size_t at = 0; at < data.len; at += chunk) {
        struct span part = span_sub(buf_span(&data), at, chunk);

        buf_printf(&session, "BDAT %zu%s\r\n", part.len, at + chunk >= data.len ? " LAST" : "");
        buf_append(&session, part);
    }
    check_splits(buf_span(&session), &o);
    if (o.closed != bad || o.stored != !bad || count(buf_span(&o.log), "smuggled@"))
        fail_msg("%s in chunks: %s", id, buf_cstr(&o.replies));
    outcome_done(&o);
    buf_done(&session);
    buf_done(&data);
}

static void check_sequence(const char *id, struct span sequence)
{
    check_data(id, sequence, false);
    check_data(id, sequence, true);
    check_bdat(id, sequence, 10000);
    check_bdat(id, sequence, 17); /* cuts the sequence itself: it stands at 18 */
    check_bdat(id, sequence, 19);
}

/* ---- the stored cases ---------------------------------------------------------------------------------- */

/* The value of the next "key": "…" at or behind *text; moves behind it. False at the end. */
static bool next_string(struct span *text, const char *key, struct span *ret)
{
    char quoted[64];
    size_t at;

    snprintf(quoted, sizeof quoted, "\"%s\": \"", key);
    at = span_find(*text, span_str(quoted));
    if (at == SPAN_NPOS)
        return false;
    *text = span_from(*text, at + strlen(quoted));
    *ret = span_sub(*text, 0, span_find_byte(*text, '"'));
    return true;
}

static void test_stored_cases(void **state)
{
    const char *root = getenv("BRANT_SOURCE_ROOT");
    _cleanup_free_ char *json = mem_zalloc(1 << 18);
    char path[4096];
    struct span rest, id, hex;
    size_t cases = 0, at;
    FILE *f;

    (void)state;
    snprintf(path, sizeof path, "%s/tests/vectors/smuggling.json", root ? root : ".");
    f = fopen(path, "rb");
    assert_non_null(f);
    assert_true(fread(json, 1, (1 << 18) - 1, f) > 0);
    fclose(f);
    rest = span_str(json);
    at = span_find(rest, SPAN_LIT("\"cases\":"));
    assert_true(at != SPAN_NPOS);
    rest = span_from(rest, at);
    while (next_string(&rest, "id", &id)) {
        _cleanup_buf_ struct buf sequence;
        char name[64];

        assert_true(next_string(&rest, "sequence_hex", &hex));
        buf_init(&sequence, 64);
        assert_int_equal(codec_hex_decode(&sequence, hex), BRANT_OK);
        snprintf(name, sizeof name, "%.*s", SPAN_ARG(id));
        check_sequence(name, buf_span(&sequence));
        cases++;
    }
    printf("%zu stored cases\n", cases);
    assert_true(cases >= 24);
}

static void test_cross_product(void **state)
{
    static const struct span ends[] = {{(const uint8_t *)"\r\n", 2},  {(const uint8_t *)"\n", 1},
                                       {(const uint8_t *)"\r", 1},    {(const uint8_t *)"\r\r\n", 3},
                                       {(const uint8_t *)"\n\r", 2},  {(const uint8_t *)"\0\r\n", 3},
                                       {(const uint8_t *)"\r\n\0", 3}};
    size_t forms = 0, genuine = 0;

    (void)state;
    for (size_t i = 0; i < 7; i++) {
        for (size_t j = 0; j < 7; j++, forms++) {
            _cleanup_buf_ struct buf sequence, data;

            buf_init(&sequence, 16);
            buf_init(&data, 512);
            buf_append(&sequence, ends[i]);
            buf_append_byte(&sequence, '.');
            buf_append(&sequence, ends[j]);
            check_sequence("cross product", buf_span(&sequence));
            buf_append_str(&data, HEADER "text");
            buf_append(&data, buf_span(&sequence));
            buf_append_str(&data, SMUGGLED);
            genuine += classify(buf_span(&data)) == GENUINE;
        }
    }
    assert_int_equal(forms, 49);
    assert_int_equal(genuine, 1); /* CRLF . CRLF alone lets commands follow */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stored_cases),
        cmocka_unit_test(test_cross_product),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
