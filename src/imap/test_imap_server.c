#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/err.h"
#include "imap/rig.h"

#define LOGIN  "l LOGIN alice@brant.test brant-demo\r\n"
#define SELECT LOGIN "s SELECT INBOX\r\n"

struct world {
    struct rig_store store;
    struct rig rig;
};

static struct world *world_new(const struct imap_server_config *c)
{
    struct world *w = calloc(1, sizeof *w);

    rig_store_init(&w->store);
    rig_init(&w->rig, &w->store, c, NULL);
    return w;
}

static void world_free(struct world *w)
{
    rig_done(&w->rig);
    rig_store_done(&w->store);
    free(w);
}

static size_t count_of(const char *text, const char *what)
{
    size_t count = 0;

    for (; (text = strstr(text, what)); text += strlen(what))
        count++;
    return count;
}

static void test_memory_at_rest(void **state)
{
    struct world *w = world_new(NULL);

    (void)state;
    assert_true(imap_server_memory_bytes(w->rig.s) < 4096);
    rig_feed_str(&w->rig, LOGIN);
    assert_true(imap_server_memory_bytes(w->rig.s) < 4096);
    for (int i = 0; i < 200; i++)
        rig_deliver(&w->store, "INBOX", SPAN_LIT("Subject: x\r\n\r\nbody\r\n"));
    rig_feed_str(&w->rig, "s SELECT INBOX\r\nf FETCH 1:* (FLAGS ENVELOPE BODY[])\r\ng SEARCH TEXT body\r\n");
    assert_true(strstr(rig_said(&w->rig), "g OK") != NULL);
    assert_true(imap_server_memory_bytes(w->rig.s) < 6144);
    world_free(w);
}

/* However much there is to tell, what is held is a slice and the output. */
static void test_much_to_fetch(void **state)
{
    struct imap_server_config c;
    struct world *w;
    const char *said;

    (void)state;
    imap_server_config_init(&c, "x");
    c.output_bytes_max = 32 * 1024;
    w = world_new(&c);
    for (int i = 0; i < 3000; i++)
        rig_deliver(&w->store, "INBOX",
                    SPAN_LIT("From: Somebody <somebody@example.com>\r\nSubject: a subject\r\n\r\nbody\r\n"));
    rig_feed_str(&w->rig, SELECT);
    w->rig.output_step = 1000;
    rig_feed_str(&w->rig,
                 "f FETCH 1:* (FLAGS UID ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (SUBJECT)])\r\n");
    said = rig_said(&w->rig);
    assert_int_equal(count_of(said, " FETCH ("), 3000);
    assert_int_equal(count_of(said, "Subject: a subject\r\n\r\n)\r\n"), 3000);
    assert_true(w->rig.memory_max < 256 * 1024);
    world_free(w);
}

static void test_large_message(void **state)
{
    struct world *w = world_new(NULL);
    size_t size = 8 << 20;
    char *text = malloc(size);
    struct span out, message = span_make(text, size);

    (void)state;
    for (size_t i = 0; i < size; i++)
        text[i] = (char)('a' + i % 26);
    memcpy(text, "A: b\r\n\r\n", 8);
    rig_deliver(&w->store, "INBOX", message);
    rig_feed_str(&w->rig, SELECT);
    rig_said(&w->rig);
    rig_feed_str(&w->rig, "f FETCH 1 BODY.PEEK[]\r\n");
    out = buf_span(&w->rig.out);
    assert_true(span_starts(out, SPAN_LIT("* 1 FETCH (BODY[] {8388608}\r\n")));
    assert_true(span_eq(span_sub(out, 29, size), message));
    assert_true(span_starts(span_from(out, 29 + size), SPAN_LIT(")\r\nf OK")));
    assert_true(w->rig.memory_max < 128 * 1024);
    rig_said(&w->rig);
    rig_feed_str(&w->rig, "g SEARCH BODY xyzabc BODY zabcdefghijklmnopqrstuvwxyza NOT BODY ba\r\n");
    assert_true(strstr(rig_said(&w->rig), "* SEARCH 1\r\n") != NULL);
    assert_true(w->rig.memory_max < 256 * 1024);
    free(text);
    world_free(w);
}

/* A peer that never reads: the engine stops asking, and says when patience ends. */
static void test_peer_that_does_not_read(void **state)
{
    struct world *w = world_new(NULL);
    struct span in = SPAN_LIT("f FETCH 1:* BODY.PEEK[]\r\ng NOOP\r\n"), before;
    struct imap_event e;
    enum imap_event_type type;
    static char text[10000];
    size_t memory = 0;

    (void)state;
    memset(text, 'x', sizeof text);
    for (int i = 0; i < 100; i++)
        rig_deliver(&w->store, "INBOX", span_make(text, sizeof text));
    rig_feed_str(&w->rig, SELECT);
    for (int i = 0; i < 1000; i++) {
        before = in;
        type = imap_server_next(w->rig.s, &in, 2000, &e);
        if (type == IMAP_EVENT_BLOCKED)
            break;
        if (type == IMAP_EVENT_ENTRIES) {
            struct imap_entry list[64] = {{0}};

            for (uint32_t k = 0; k < 64; k++)
                list[k] = (struct imap_entry){.uid = k + 1, .size = sizeof text};
            assert_int_equal(imap_server_entries(w->rig.s, list, 64, 64), BRANT_OK);
        } else {
            assert_int_equal(type, IMAP_EVENT_READ);
            assert_int_equal(imap_server_read_done(w->rig.s, span_make(text, e.size_bytes)), BRANT_OK);
        }
    }
    assert_int_equal(type, IMAP_EVENT_BLOCKED);
    memory = imap_server_memory_bytes(w->rig.s);
    for (int i = 0; i < 10; i++)
        assert_int_equal(imap_server_next(w->rig.s, &in, 2000, &e), IMAP_EVENT_BLOCKED);
    assert_int_equal(imap_server_memory_bytes(w->rig.s), memory);
    assert_true(memory < 160 * 1024);
    assert_true(in.len == strlen("g NOOP\r\n") && before.len >= in.len); /* nothing behind is taken */
    assert_int_equal(imap_server_timeout_ms(w->rig.s, 2000), 120 * 1000);
    imap_server_output_used(w->rig.s, 10, 60000);
    assert_int_equal(imap_server_timeout_ms(w->rig.s, 60000), 120 * 1000);
    imap_server_end(w->rig.s, IMAP_CLOSE_TIMEOUT);
    assert_int_equal(imap_server_next(w->rig.s, &in, 60000, &e), IMAP_EVENT_CLOSE);
    world_free(w);
}

static void test_many_commands(void **state)
{
    struct world *w = world_new(NULL);
    struct buf in;

    (void)state;
    buf_init(&in, 1 << 20);
    buf_append_str(&in, LOGIN);
    for (int i = 0; i < 10000; i++)
        buf_printf(&in, "%d NOOP\r\n", i);
    rig_feed(&w->rig, buf_span(&in));
    assert_int_equal(count_of(rig_said(&w->rig), " OK done\r\n"), 10000);
    assert_true(w->rig.memory_max < 128 * 1024);
    buf_done(&in);
    world_free(w);
}

static void append_parts(struct buf *text, int depth)
{
    buf_append_str(text, "Content-Type: multipart/mixed; boundary=b0\r\n\r\n");
    for (int i = 1; i <= depth; i++)
        buf_printf(text, "--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n", i - 1, i);
    for (int i = 0; i < 9000; i++)
        buf_printf(text, "--b%d\r\n\r\nx\r\n", depth);
}

/* Nested as deep and split into as many parts as a recorded structure can hold, and more. */
static void test_hostile_messages(void **state)
{
    struct world *w = world_new(NULL);
    struct buf text;
    const char *said;

    (void)state;
    buf_init(&text, 4 << 20);
    append_parts(&text, 300);
    rig_deliver(&w->store, "INBOX", buf_span(&text));
    buf_reset(&text);
    buf_append_str(&text, "To: ");
    for (int i = 0; i < 30000; i++)
        buf_append_str(&text, ":;");
    buf_append_str(&text, "\r\nSubject: ");
    for (int i = 0; i < 100000; i++)
        buf_append_str(&text, "\\\"");
    buf_append_str(&text, "\r\n\r\n");
    rig_deliver(&w->store, "INBOX", buf_span(&text));
    for (int structures = 0; structures < 2; structures++) {
        w->store.no_structures = structures;
        rig_feed_str(&w->rig, structures ? "" : SELECT);
        rig_said(&w->rig);
        rig_feed_str(
            &w->rig,
            "f FETCH 1:2 (BODY ENVELOPE BODYSTRUCTURE BODY.PEEK[1.1.1.1.1.1.1.1.1.1.1.MIME] PREVIEW)\r\n"
            "g SEARCH TO x SUBJECT y\r\nh SEARCH TEXT zzz\r\n");
        said = rig_said(&w->rig);
        assert_true(strstr(said, "f OK") && strstr(said, "g OK") && strstr(said, "h OK"));
        assert_true(w->rig.memory_max < 8 << 20);
    }
    buf_done(&text);
    world_free(w);
}

static void test_hostile_sets(void **state)
{
    struct world *w = world_new(NULL);
    struct buf in;

    (void)state;
    for (int i = 0; i < 20; i++)
        rig_deliver(&w->store, "INBOX", SPAN_LIT("x"));
    rig_feed_str(&w->rig, SELECT);
    buf_init(&in, 1 << 20);
    buf_append_str(&in, "f UID FETCH 4294967295");
    for (int i = 12000; i > 0; i--)
        buf_printf(&in, ",%d", i * 2 % 9999 + 1);
    buf_append_str(&in, ",0:1");
    in.len -= 4;
    buf_append_str(&in, " UID\r\ng UID FETCH *:1,4294967295:* UID\r\nh FETCH 1:4294967295 UID\r\n");
    rig_feed(&w->rig, buf_span(&in));
    assert_int_equal(count_of(rig_said(&w->rig), " FETCH (UID"), 20 + 20);
    assert_true(w->rig.memory_max < 1 << 20);
    buf_done(&in);
    world_free(w);
}

/* ---- a million messages, of which no store exists ---- */

enum { MILLION = 1000 * 1000 };

struct vast {
    struct imap_server *s;
    uint64_t lines, bytes, events, asked_modseq;
    size_t memory_max;
};

static void vast_answer(struct vast *v, const struct imap_event *e)
{
    static struct imap_entry list[64];
    struct imap_opened o = {.mailbox = 1, .uidvalidity = 1, .uidnext = MILLION + 1, .modseq = 5, .unseen = 1};
    uint32_t n = 0;

    switch (e->type) {
    case IMAP_EVENT_LOGIN:
        imap_server_login_done(v->s, IMAP_LOGIN_OK);
        break;
    case IMAP_EVENT_OPEN:
        assert_int_equal(imap_server_view(v->s, &(struct imap_range){1, MILLION}, 1), BRANT_OK);
        imap_server_opened(v->s, &o);
        break;
    case IMAP_EVENT_ENTRIES:
        for (uint32_t uid = e->ranges[0].first; n < e->count && uid <= e->ranges[0].last; uid++)
            list[n++] = (struct imap_entry){.uid = uid, .flags = uid % 2};
        imap_server_entries(v->s, list, n, list[n - 1].uid);
        break;
    case IMAP_EVENT_CHANGES:
        v->asked_modseq = e->modseq;
        if (e->modseq < 6) { /* a third of them are gone, in one slice after the other */
            struct imap_range gone[1000] = {{0}};
            uint32_t from = e->vanished_from / 3 * 3 + 3, i;

            for (i = 0; i < 1000 && from + 3 * i <= MILLION; i++)
                gone[i] = (struct imap_range){from + 3 * i, from + 3 * i};
            imap_server_changes(
                v->s, &(struct imap_changes){.modseq = i == 1000 ? 6 : 9, /* time goes on */
                                             .more = i == 1000,
                                             .uidnext = MILLION + 1,
                                             .vanished = gone,
                                             .vanished_count = i,
                                             .vanished_to = i == 1000 ? gone[i - 1].last : UINT32_MAX});
        } else {
            imap_server_changes(
                v->s, &(struct imap_changes){.modseq = 9, .uidnext = MILLION + 1, .vanished_to = UINT32_MAX});
        }
        break;
    default:
        fail();
    }
}

static void vast_feed(struct vast *v, const char *text)
{
    struct span in = span_str(text), out;
    struct imap_event e;

    for (;;) {
        enum imap_event_type type = imap_server_next(v->s, &in, 0, &e);

        v->events++;
        if (type == IMAP_EVENT_MORE || type == IMAP_EVENT_BLOCKED || type == IMAP_EVENT_YIELD) {
            if (imap_server_memory_bytes(v->s) > v->memory_max)
                v->memory_max = imap_server_memory_bytes(v->s);
            out = imap_server_output(v->s);
            v->bytes += out.len;
            for (size_t i = 0; i < out.len; i++)
                v->lines += out.p[i] == '\n';
            imap_server_output_used(v->s, out.len, 0);
            if (type == IMAP_EVENT_MORE)
                return;
        } else {
            vast_answer(v, &e);
        }
    }
}

static void test_a_million(void **state)
{
    struct imap_server_config c;
    struct vast v = {0};

    (void)state;
    imap_server_config_init(&c, "x");
    v.s = imap_server_new(&c, 0);
    imap_server_offer(v.s, &(struct imap_offer){.password = true});
    imap_server_greet(v.s, 0);
    vast_feed(&v, SELECT);
    assert_true(v.memory_max < 16 * 1024);
    v.lines = 0;
    vast_feed(&v, "f FETCH 1:* (UID FLAGS)\r\n");
    assert_int_equal(v.lines, MILLION + 1);
    vast_feed(&v, "g UID SEARCH SEEN\r\nh SEARCH RETURN (ALL COUNT) UNSEEN\r\ni UID SEARCH ALL\r\n");
    assert_true(v.memory_max < 256 * 1024);
    v.lines = 0;
    imap_server_notice(v.s, 6);
    vast_feed(&v, "j NOOP\r\n");
    assert_int_equal(v.lines, MILLION / 3 + 1);
    imap_server_notice(v.s, 9);
    vast_feed(&v, "jj NOOP\r\n");
    assert_int_equal(v.asked_modseq, 6);  /* what its first slice did not tell may have happened since */
    assert_true(v.memory_max < 12 << 20); /* 8 bytes for each of 333,333 holes, twice while they are made */
    v.bytes = 0;
    vast_feed(&v, "k UID SEARCH 666667\r\nm UID SEARCH UID 1000000\r\n");
    assert_int_equal(v.bytes,
                     strlen("* SEARCH 1000000\r\nk OK searched\r\n* SEARCH 1000000\r\nm OK searched\r\n"));
    imap_server_free(v.s);
}

/* ---- answers out of place ---- */

static void test_answers_out_of_place(void **state)
{
    struct world *w = world_new(NULL);
    struct imap_server *s = w->rig.s;
    struct imap_opened o = {0};
    struct imap_stored st = {0};
    struct imap_copied co = {0};
    struct imap_changes ch = {0};
    struct imap_status status = {0};

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(imap_server_greet(s, 0), BRANT_ESTATE);
        assert_int_equal(imap_server_starttls_done(s, true), BRANT_ESTATE);
        assert_int_equal(imap_server_login_done(s, IMAP_LOGIN_OK), BRANT_ESTATE);
        assert_int_equal(imap_server_auth_challenge(s, SPAN_NONE), BRANT_ESTATE);
        assert_int_equal(imap_server_failed(s, IMAP_FAIL_CANNOT), BRANT_ESTATE);
        assert_int_equal(imap_server_done(s), BRANT_ESTATE);
        assert_int_equal(imap_server_list(s, NULL, 0, false), BRANT_ESTATE);
        assert_int_equal(imap_server_status(s, &status), BRANT_ESTATE);
        assert_int_equal(imap_server_created(s, 1), BRANT_ESTATE);
        assert_int_equal(imap_server_view(s, NULL, 0), BRANT_ESTATE);
        assert_int_equal(imap_server_opened(s, &o), BRANT_ESTATE);
        assert_int_equal(imap_server_entries(s, NULL, 0, 0), BRANT_ESTATE);
        assert_int_equal(imap_server_read_done(s, SPAN_LIT("x")), BRANT_ESTATE);
        assert_int_equal(imap_server_stored(s, &st), BRANT_ESTATE);
        assert_int_equal(imap_server_expunged(s, 0), BRANT_ESTATE);
        assert_int_equal(imap_server_copied(s, &co), BRANT_ESTATE);
        assert_int_equal(imap_server_changes(s, &ch), BRANT_ESTATE);
        assert_int_equal(imap_server_vanished(s, NULL, 0, 0), BRANT_ESTATE);
        assert_int_equal(imap_server_appended(s, 0, NULL, 0), BRANT_ESTATE);
        assert_int_equal(imap_server_compress_started(s), BRANT_ESTATE);
        imap_server_notice(s, 5);
        if (i == 0)
            rig_feed_str(&w->rig, "x LOGOUT\r\n");
    }
    assert_int_equal(imap_server_tls_started(s, 0), BRANT_ESTATE);
    assert_int_equal(imap_server_timeout_ms(s, 0), IMAP_NO_TIMEOUT);
    world_free(w);
}

static void test_ends(void **state)
{
    static const struct {
        enum imap_close_reason reason;
        const char *said;
    } ends[] = {{IMAP_CLOSE_TIMEOUT, "* BYE nothing was heard for too long\r\n"},
                {IMAP_CLOSE_SHUTDOWN, "* BYE [UNAVAILABLE] the server shuts down, come back soon\r\n"},
                {IMAP_CLOSE_REVOKED, "* BYE the account has changed, log in again\r\n"},
                {IMAP_CLOSE_LOST, ""}};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct world *w = world_new(NULL);

        rig_feed_str(&w->rig, i % 2 ? SELECT "i IDLE\r\n" : SELECT);
        rig_said(&w->rig);
        imap_server_end(w->rig.s, ends[i].reason);
        rig_feed_str(&w->rig, "n NOOP\r\n");
        assert_string_equal(rig_said(&w->rig), ends[i].said);
        assert_true(w->rig.closed);
        assert_int_equal(w->rig.reason, ends[i].reason);
        world_free(w);
    }
}

static enum imap_event_type next_at(struct imap_server *s, const char *text, uint64_t now_ms)
{
    struct imap_event e;
    struct span in = span_str(text);

    return imap_server_next(s, &in, now_ms, &e);
}

/* The word in IDLE is due when all is said and sent, and is no sign of life of the client. */
static void test_still_here(void **state)
{
    struct world *w = world_new(NULL);
    struct imap_server *s = w->rig.s;
    const uint64_t half_an_hour = 30 * 60 * 1000;

    (void)state;
    rig_feed_str(&w->rig, LOGIN);
    assert_int_equal(imap_server_wake_ms(s, 1000), IMAP_NO_TIMEOUT);
    assert_int_equal(next_at(s, "i IDLE\r\n", 1000), IMAP_EVENT_MORE);
    assert_int_equal(imap_server_wake_ms(s, 1000), IMAP_NO_TIMEOUT); /* "+ idling" is not sent yet */
    imap_server_output_used(s, imap_server_output(s).len, 2000);
    assert_int_equal(imap_server_wake_ms(s, 2000), 120000);
    assert_int_equal(imap_server_wake_ms(s, 121999), 1);
    assert_int_equal(next_at(s, "", 121999), IMAP_EVENT_MORE);
    assert_int_equal(imap_server_output(s).len, 0);
    assert_int_equal(next_at(s, "", 122000), IMAP_EVENT_MORE);
    assert_true(span_eq_str(imap_server_output(s), "* OK still here\r\n"));
    /* Once, while it is not sent; a client that takes nothing stalls as ever. */
    assert_int_equal(next_at(s, "", 242000), IMAP_EVENT_MORE);
    assert_int_equal(imap_server_output(s).len, 17);
    assert_int_equal(imap_server_wake_ms(s, 242000), IMAP_NO_TIMEOUT);
    assert_int_equal(imap_server_timeout_ms(s, 122000), 120000);
    /* Sent in pieces, it does not put off the end. */
    imap_server_output_used(s, 7, 130000);
    imap_server_output_used(s, 10, 140000);
    assert_int_equal(imap_server_timeout_ms(s, 140000), half_an_hour - 138000);
    assert_int_equal(imap_server_wake_ms(s, 140000), 102000);
    /* What is said behind it does. */
    assert_int_equal(next_at(s, "", 242000), IMAP_EVENT_MORE);
    assert_int_equal(next_at(s, "DONE\r\n", 242000), IMAP_EVENT_MORE);
    imap_server_output_used(s, 17, 243000);
    assert_int_equal(imap_server_timeout_ms(s, 243000), 120000);
    imap_server_output_used(s, imap_server_output(s).len, 250000);
    assert_int_equal(imap_server_timeout_ms(s, 250000), half_an_hour);
    assert_int_equal(imap_server_wake_ms(s, 250000), IMAP_NO_TIMEOUT);
    world_free(w);
}

static void test_overload(void **state)
{
    struct imap_server_config c;
    struct imap_server *s;
    struct imap_event e;
    struct span in = SPAN_NONE;

    (void)state;
    imap_server_config_init(&c, "x");
    s = imap_server_new(&c, 0);
    imap_server_end(s, IMAP_CLOSE_OVERLOAD);
    assert_int_equal(imap_server_next(s, &in, 0, &e), IMAP_EVENT_CLOSE);
    assert_true(
        span_eq_str(imap_server_output(s), "* BYE [UNAVAILABLE] too many connections, try again later\r\n"));
    imap_server_free(s);
}

/* A response that is half written is not interrupted by BYE. */
static void test_end_in_a_response(void **state)
{
    struct world *w = world_new(NULL);
    struct span in = SPAN_LIT("f FETCH 1 BODY.PEEK[]\r\n");
    struct imap_event e;
    struct imap_entry entry = {.uid = 1, .size = 100};

    (void)state;
    rig_deliver(&w->store, "INBOX", SPAN_LIT("x"));
    rig_feed_str(&w->rig, SELECT);
    assert_int_equal(imap_server_next(w->rig.s, &in, 1000, &e), IMAP_EVENT_ENTRIES);
    assert_int_equal(imap_server_entries(w->rig.s, &entry, 1, UINT32_MAX), BRANT_OK);
    assert_int_equal(imap_server_next(w->rig.s, &in, 1000, &e), IMAP_EVENT_READ);
    assert_int_equal(imap_server_read_done(w->rig.s, SPAN_LIT("half")), BRANT_OK);
    imap_server_end(w->rig.s, IMAP_CLOSE_TIMEOUT);
    assert_true(span_eq_str(imap_server_output(w->rig.s), "* 1 FETCH (BODY[] {100}\r\nhalf"));
    world_free(w);
}

/* Trace fields in front of a message were not there when its structure was recorded. */
static void test_prefix(void **state)
{
    struct world *w = world_new(NULL);

    (void)state;
    w->store.prefix = true;
    rig_deliver(&w->store, "INBOX",
                SPAN_LIT("Received: from x\r\nSubject: y\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
                         "--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n"));
    rig_feed_str(&w->rig, SELECT);
    rig_said(&w->rig);
    rig_feed_str(&w->rig, "f FETCH 1 (BODY.PEEK[HEADER.FIELDS (RECEIVED)] BODY.PEEK[2] BODY.PEEK[1.MIME])\r\n"
                          "g SEARCH HEADER RECEIVED x\r\n");
    assert_string_equal(rig_said(&w->rig),
                        "* 1 FETCH (BODY[HEADER.FIELDS (RECEIVED)] {20}\r\n"
                        "Received: from x\r\n\r\n BODY[2] {3}\r\ntwo BODY[1.MIME] {2}\r\n\r\n)\r\n"
                        "f OK fetched\r\n* SEARCH 1\r\ng OK searched\r\n");
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_at_rest),       cmocka_unit_test(test_much_to_fetch),
        cmocka_unit_test(test_large_message),        cmocka_unit_test(test_peer_that_does_not_read),
        cmocka_unit_test(test_many_commands),        cmocka_unit_test(test_hostile_messages),
        cmocka_unit_test(test_hostile_sets),         cmocka_unit_test(test_a_million),
        cmocka_unit_test(test_answers_out_of_place), cmocka_unit_test(test_ends),
        cmocka_unit_test(test_still_here),           cmocka_unit_test(test_overload),
        cmocka_unit_test(test_end_in_a_response),    cmocka_unit_test(test_prefix),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
