/* A store that has gone mad behind the engine: entries out of order, unknown UIDs, structures of any bytes,
 * ranges of nonsense, failures at any place. The client's commands are the input; what the store answers is
 * drawn from its first bytes. Checked: the engine comes to rest, and keeps to its bounds. */
#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "imap/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS_MAX = 20000, MEMORY_MAX = 16 << 20 };

struct mad {
    struct imap_server *s;
    uint32_t seed;
    struct span junk; /* the whole input */
};

static uint32_t draw(struct mad *m, uint32_t below)
{
    m->seed = m->seed * 1664525u + 1013904223u;
    return (m->seed >> 8) % below;
}

static struct span junk(struct mad *m, size_t max)
{
    return span_sub(m->junk, draw(m, (uint32_t)m->junk.len + 1), draw(m, (uint32_t)max));
}

static uint32_t uid(struct mad *m)
{
    return draw(m, 8) ? draw(m, 20) : m->seed;
}

static size_t ranges(struct mad *m, struct imap_range *r)
{
    size_t count = draw(m, 4);

    for (size_t i = 0; i < count; i++) {
        r[i].first = uid(m);
        r[i].last = r[i].first + draw(m, 4) - 1; /* backwards, and around the end, as well */
    }
    return count;
}

/* Somewhere behind where the question begins, mostly. */
static uint32_t done_to(struct mad *m, const struct imap_event *e)
{
    return draw(m, 3) ? UINT32_MAX : e->range_count ? e->ranges[0].first + draw(m, 4) : uid(m);
}

static void entries(struct mad *m, const struct imap_event *e)
{
    struct imap_entry list[4] = {{0}};
    size_t count = draw(m, 5);

    for (size_t i = 0; i < count; i++) {
        list[i].uid = draw(m, 2) && e->range_count ? e->ranges[0].first + (uint32_t)i : uid(m);
        list[i].flags = m->seed;
        list[i].modseq = draw(m, 100);
        list[i].size = draw(m, 3) ? draw(m, 400) : m->seed;
        list[i].time_ms = (int64_t)m->seed * 1000000 - 1000;
        list[i].structure = draw(m, 2) ? junk(m, 300) : SPAN_NONE;
    }
    assert(imap_server_entries(m->s, list, count, done_to(m, e)) == BRANT_OK);
}

static void read_bytes(struct mad *m, const struct imap_event *e)
{
    static const uint8_t filler[65536] = "Subject: x\r\n\r\n";
    uint32_t len = draw(m, 4) ? e->size_bytes : draw(m, e->size_bytes) + 1;

    assert(e->size_bytes > 0 && e->size_bytes <= sizeof filler);
    assert(imap_server_read_done(m->s, span_make(filler, e->size_bytes + 1)) == BRANT_ELIMIT ||
           e->size_bytes == sizeof filler);
    assert(imap_server_read_done(m->s, span_make(filler, len)) == BRANT_OK);
}

static void opened(struct mad *m)
{
    struct imap_range r[4];
    struct imap_opened o = {.mailbox = m->seed,
                            .uidvalidity = 1,
                            .uidnext = uid(m),
                            .modseq = draw(m, 100),
                            .unseen = uid(m),
                            .recent_from = uid(m),
                            .read_only = !draw(m, 8)};
    size_t count = ranges(m, r);

    imap_server_view(m->s, &(struct imap_range){1, 6}, 1);
    for (size_t i = 0; i < count; i++)
        imap_server_view(m->s, &r[i], 1);
    for (o.keywords.count = draw(m, 5); o.keywords.count && !draw(m, 2);)
        o.keywords.count--;
    for (size_t i = 0; i < o.keywords.count; i++)
        o.keywords.names[i] = junk(m, 80);
    assert(imap_server_opened(m->s, &o) == BRANT_OK);
}

static void changes(struct mad *m, const struct imap_event *e)
{
    struct imap_range arrived[4], vanished[4];
    struct imap_changes c = {.modseq = draw(m, 200),
                             .more = draw(m, 2),
                             .flags_changed = draw(m, 2),
                             .arrived = arrived,
                             .vanished = vanished,
                             .uidnext = draw(m, 2) ? e->uid + draw(m, 3) : uid(m),
                             .recent_from = uid(m),
                             .vanished_to = draw(m, 2) ? UINT32_MAX : uid(m)};

    c.arrived_count = ranges(m, arrived);
    c.vanished_count = ranges(m, vanished);
    assert(imap_server_changes(m->s, &c) == BRANT_OK);
}

static void list(struct mad *m)
{
    struct imap_mailbox boxes[3] = {{{0}}};
    size_t count = draw(m, 4);

    for (size_t i = 0; i < count; i++) {
        boxes[i].name = draw(m, 2) ? junk(m, 40) : span_sub(SPAN_LIT("INBOX/a/b"), 0, draw(m, 10));
        boxes[i].exists = draw(m, 2);
        boxes[i].subscribed = draw(m, 2);
        boxes[i].uses = m->seed;
    }
    assert(imap_server_list(m->s, boxes, count, draw(m, 8) == 0) == BRANT_OK);
}

static void stored(struct mad *m, const struct imap_event *e)
{
    struct imap_range r[4];
    struct imap_stored a = {done_to(m, e), draw(m, 200), draw(m, 200), r, ranges(m, r)};

    assert(imap_server_stored(m->s, &a) == BRANT_OK);
}

static void copied(struct mad *m, const struct imap_event *e)
{
    struct imap_range r[4];
    struct imap_copied a = {done_to(m, e), 7, r, ranges(m, r), uid(m)};

    assert(imap_server_copied(m->s, &a) == BRANT_OK);
}

static void handle(struct mad *m, const struct imap_event *e)
{
    struct imap_status status = {0};
    struct imap_range r[4];
    size_t count = ranges(m, r);

    if (e->type > IMAP_EVENT_AUTH_CANCEL && e->type != IMAP_EVENT_LEFT && e->type != IMAP_EVENT_BODY &&
        e->type != IMAP_EVENT_MESSAGE && e->type != IMAP_EVENT_ABORT && draw(m, 24) == 0) {
        assert(imap_server_failed(m->s, (enum imap_failure)draw(m, 9)) == BRANT_OK);
        return;
    }
    switch (e->type) {
    case IMAP_EVENT_LOGIN:
    case IMAP_EVENT_AUTH:
    case IMAP_EVENT_AUTH_RESPONSE:
        imap_server_login_done(m->s, IMAP_LOGIN_OK);
        break;
    case IMAP_EVENT_STARTTLS:
        imap_server_starttls_done(m->s, false);
        break;
    case IMAP_EVENT_LIST:
        list(m);
        break;
    case IMAP_EVENT_STATUS:
        imap_server_status(m->s, &status);
        break;
    case IMAP_EVENT_CREATE:
        imap_server_created(m->s, m->seed);
        break;
    case IMAP_EVENT_OPEN:
        opened(m);
        break;
    case IMAP_EVENT_ENTRIES:
        entries(m, e);
        break;
    case IMAP_EVENT_READ:
        read_bytes(m, e);
        break;
    case IMAP_EVENT_STORE:
        stored(m, e);
        break;
    case IMAP_EVENT_EXPUNGE:
        imap_server_expunged(m->s, done_to(m, e));
        break;
    case IMAP_EVENT_COPY:
        copied(m, e);
        break;
    case IMAP_EVENT_CHANGES:
        changes(m, e);
        break;
    case IMAP_EVENT_VANISHED:
        imap_server_vanished(m->s, r, count, done_to(m, e));
        break;
    case IMAP_EVENT_COMMIT:
        imap_server_appended(m->s, 1, r, count);
        break;
    default:
        imap_server_done(m->s);
    }
}

static void feed(struct mad *m, struct span in)
{
    struct imap_event e;

    for (int step = 0; step < STEPS_MAX; step++) {
        switch (imap_server_next(m->s, &in, 1, &e)) {
        case IMAP_EVENT_MORE:
        case IMAP_EVENT_CLOSE:
            imap_server_output_used(m->s, imap_server_output(m->s).len, 1);
            return;
        case IMAP_EVENT_WAIT: /* COMPRESS */
            imap_server_output_used(m->s, imap_server_output(m->s).len, 1);
            if (imap_server_compress_started(m->s) != BRANT_OK)
                return;
            break;
        case IMAP_EVENT_YIELD:
            break;
        case IMAP_EVENT_BLOCKED:
            assert(imap_server_output(m->s).len > 0);
            imap_server_output_used(m->s, draw(m, (uint32_t)imap_server_output(m->s).len) + 1, 1);
            break;
        default:
            handle(m, &e);
        }
        assert(imap_server_memory_bytes(m->s) < MEMORY_MAX);
    }
    /* A store may give little at a time, but time and again: only what it does not stop is its fault. */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct imap_server_config c;
    struct mad m = {.junk = span_make(data, size)};

    if (size < 4 || size > 65536)
        return 0;
    memcpy(&m.seed, data, 4);
    imap_server_config_init(&c, "x");
    c.output_bytes_max = 32 * 1024;
    c.errors_max = 1000;
    m.s = imap_server_new(&c, 0);
    imap_server_offer(m.s,
                      &(struct imap_offer){
                          .starttls = true, .password = true, .sasl = "PLAIN", .extensions = IMAP_EXT_ALL});
    imap_server_greet(m.s, 0);
    feed(&m, SPAN_LIT("l LOGIN a b\r\ne ENABLE QRESYNC\r\ns SELECT INBOX\r\n"));
    imap_server_notice(m.s, 150);
    feed(&m, span_make(data + 4, size - 4));
    imap_server_notice(m.s, 250);
    feed(&m, SPAN_LIT("\r\nn NOOP\r\n"));
    imap_server_free(m.s);
    return 0;
}
