/* Plays tests/dialogs/imap/NAME.txt (format: README.md there) against the engine with the rig's store. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/ascii.h"
#include "base/err.h"
#include "base/mem.h"
#include "imap/rig.h"

enum { STEPS_MAX = 400, SESSIONS_MAX = 4, FILE_BYTES_MAX = 1 << 20, TEXT_MAX = 1 << 20 };

enum step_type { SEND, EXPECT, ANY, CLOSED, DELIVER, WAIT };

struct step {
    enum step_type type;
    int line, session;
    struct buf text; /* SEND, DELIVER: bytes; EXPECT: the pattern as it was written; CLOSED: the reason */
    struct buf box;  /* DELIVER */
    uint64_t ms;     /* WAIT */
};

struct dialog {
    const char *name;
    struct step steps[STEPS_MAX];
    size_t count;
    struct buf scene; /* its settings, one a line */
    bool in_step_only;
    int sessions;
};

/* How it is played. */
struct variant {
    const char *name;
    uint32_t entries, reads, ranges, stores, boxes;
    bool no_structures;
    size_t output_step;
};

static const struct variant variants[] = {
    {"as it is", 0, 0, 0, 0, 0, false, 0},
    {"one thing at a time", 1, 3, 1, 1, 1, false, 0},
    {"structures made", 2, 0, 0, 0, 0, true, 5},
};

struct play {
    const struct dialog *d;
    struct rig_store store;
    struct rig rigs[SESSIONS_MAX];
    int open;
    struct buf said[SESSIONS_MAX]; /* everything */
    size_t checked[SESSIONS_MAX];
};

static void fail(const struct dialog *d, int line, const char *what, struct span got)
{
    fprintf(stderr, "%s:%d: %s: %.*s\n", d->name, line, what, (int)(got.len < 2000 ? got.len : 2000),
            (const char *)got.p);
    exit(1);
}

/* ---- reading ---- */

/* One byte of escaped text; *at moves behind it. *ret_star: it is a star that stands for any run. */
static uint8_t unit(struct span text, size_t *at, bool *ret_star)
{
    uint8_t c = text.p[(*at)++];

    *ret_star = c == '*';
    if (c != '\\' || *at == text.len)
        return c;
    c = text.p[(*at)++];
    switch (c) {
    case 'r':
        return '\r';
    case 'n':
        return '\n';
    case 't':
        return '\t';
    case '0':
        return '\0';
    case 'x':
        if (*at + 2 <= text.len) {
            *at += 2;
            return (uint8_t)(ascii_hex_value(text.p[*at - 2]) * 16 + ascii_hex_value(text.p[*at - 1]));
        }
        return c;
    default:
        return c;
    }
}

/* "\{N}": N, else 1; *at moves behind it. */
static uint64_t repetition(struct span text, size_t *at)
{
    struct span rest = span_from(text, *at);
    size_t end = span_find_byte(rest, '}');
    uint64_t count;

    if (!span_starts(rest, SPAN_LIT("\\{")) || end == SPAN_NPOS ||
        span_to_u64(span_sub(rest, 2, end - 2), TEXT_MAX, &count) != BRANT_OK)
        return 1;
    *at += end + 1;
    return count;
}

static void unescape(struct span text, struct buf *out)
{
    for (size_t at = 0; at < text.len;) {
        bool star;
        uint8_t c = unit(text, &at, &star);

        for (uint64_t n = repetition(text, &at); n > 0; n--)
            buf_append_byte(out, c);
    }
}

static bool matches(struct span pattern, struct span line)
{
    size_t at = 0;

    while (at < pattern.len) {
        bool star;
        uint8_t c = unit(pattern, &at, &star);
        uint64_t n = star ? 1 : repetition(pattern, &at);

        if (star) {
            for (size_t i = 0; i <= line.len; i++)
                if (matches(span_from(pattern, at), span_from(line, i)))
                    return true;
            return false;
        }
        for (; n > 0; n--, line = span_from(line, 1))
            if (!line.len || line.p[0] != c)
                return false;
    }
    return line.len == 0;
}

static struct step *step_add(struct dialog *d, enum step_type type, int line, int session)
{
    struct step *step = &d->steps[d->count++];

    if (d->count == STEPS_MAX)
        fail(d, line, "too long a dialogue", SPAN_NONE);
    *step = (struct step){.type = type, .line = line, .session = session};
    buf_init(&step->text, TEXT_MAX);
    buf_init(&step->box, TEXT_MAX);
    if (session >= d->sessions)
        d->sessions = session + 1;
    return step;
}

static void login(struct dialog *d, int line, int session)
{
    buf_append_str(&step_add(d, SEND, line, session)->text, "l LOGIN alice@brant.test brant-demo\r\n");
    buf_append_str(&step_add(d, EXPECT, line, session)->text, "l OK *");
}

static void deliver(struct dialog *d, int line, struct span text)
{
    struct step *step = step_add(d, DELIVER, line, 0);
    size_t space = span_find_byte(text, ' ');

    buf_append(&step->box, span_sub(text, 0, space));
    unescape(span_from(text, space + 1), &step->text);
    d->in_step_only = true;
}

static void step_parse(struct dialog *d, int line, struct span text)
{
    int session = text.len && text.p[0] >= '1' && text.p[0] <= '4' ? text.p[0] - '1' : 0;
    struct span rest;
    struct step *step;

    if (text.p[0] >= '1' && text.p[0] <= '4')
        text = span_from(text, 1);
    rest = span_from(text, 3);
    if (session)
        d->in_step_only = true;
    if (span_starts(text, SPAN_LIT("C: ")) || span_starts(text, SPAN_LIT("C! "))) {
        step = step_add(d, SEND, line, session);
        unescape(rest, &step->text);
        if (text.p[1] == ':')
            buf_append_str(&step->text, "\r\n");
    } else if (span_eq_str(text, "S: ...")) {
        step_add(d, ANY, line, session);
    } else if (span_starts(text, SPAN_LIT("S: close "))) {
        buf_append(&step_add(d, CLOSED, line, session)->text, span_from(text, 9));
    } else if (span_starts(text, SPAN_LIT("S: ")) || span_eq_str(text, "S:")) {
        buf_append(&step_add(d, EXPECT, line, session)->text, rest);
    } else if (span_eq_str(text, "L:")) {
        login(d, line, session);
    } else if (span_starts(text, SPAN_LIT("D: "))) {
        deliver(d, line, rest);
    } else if (span_starts(text, SPAN_LIT("W ")) &&
               span_to_u64(span_from(text, 2), UINT32_MAX, &step_add(d, WAIT, line, 0)->ms) == BRANT_OK) {
        d->in_step_only = true;
    } else {
        fail(d, line, "cannot be read", text);
    }
}

static void dialog_parse(struct dialog *d, struct span text)
{
    for (int line = 1; text.len; line++) {
        size_t end = span_find_byte(text, '\n');
        struct span one = span_sub(text, 0, end);

        text = span_from(text, end == SPAN_NPOS ? text.len : end + 1);
        if (!one.len || one.p[0] == '#')
            continue;
        if (span_eq_str(one, "@ in-step"))
            d->in_step_only = true;
        else if (one.p[0] == '@')
            buf_append(&d->scene, span_from(one, 2)), buf_append_byte(&d->scene, '\n');
        else
            step_parse(d, line, one);
    }
}

/* ---- the scene ---- */

static struct span word(struct span *text)
{
    struct span one = span_sub(*text, 0, span_find_byte(*text, ' '));

    *text = span_from(*text, one.len + 1);
    return one;
}

static uint64_t number(struct span text)
{
    uint64_t value = 0;

    span_to_u64(text, UINT32_MAX, &value);
    return value;
}

static void set_config(struct imap_server_config *c, struct span key, uint64_t value)
{
    static const struct {
        const char *key;
        size_t offset, size;
    } fields[] = {
#define FIELD(name) \
    {#name, offsetof(struct imap_server_config, name), sizeof((struct imap_server_config *)0)->name}
        FIELD(login_timeout_ms),  FIELD(idle_timeout_ms),    FIELD(data_timeout_ms),
        FIELD(still_here_ms),     FIELD(write_timeout_ms),   FIELD(login_errors_max),
        FIELD(errors_max),        FIELD(login_failures_max), FIELD(login_bytes_max),
        FIELD(command_bytes_max), FIELD(append_bytes_max),   FIELD(append_messages_max),
        FIELD(output_bytes_max),  FIELD(read_bytes_max),     FIELD(entries_max),
        FIELD(runs_max),          FIELD(saved_ranges_max),   FIELD(search_keys_max),
#undef FIELD
    };
    uint32_t small = (uint32_t)value;

    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (span_eq_str(key, fields[i].key))
            memcpy((char *)c + fields[i].offset, fields[i].size == 4 ? (void *)&small : (void *)&value,
                   fields[i].size);
}

static struct imap_offer offer_of(struct span words)
{
    static const struct {
        const char *word;
        unsigned extension;
    } extensions[] = {{"condstore", IMAP_EXT_CONDSTORE},     {"qresync", IMAP_EXT_QRESYNC},
                      {"special-use", IMAP_EXT_SPECIAL_USE}, {"objectid", IMAP_EXT_OBJECTID},
                      {"savedate", IMAP_EXT_SAVEDATE},       {"compress", IMAP_EXT_COMPRESS}};
    struct imap_offer offer = {0};

    while (words.len) {
        struct span one = word(&words);

        offer.starttls = offer.starttls || span_eq_str(one, "starttls");
        offer.password = offer.password || span_eq_str(one, "password");
        if (span_eq_str(one, "sasl-plain"))
            offer.sasl = "PLAIN";
        if (span_eq_str(one, "sasl-login"))
            offer.sasl = "LOGIN";
        for (size_t i = 0; i < sizeof extensions / sizeof extensions[0]; i++)
            if (span_eq_str(one, extensions[i].word))
                offer.extensions |= extensions[i].extension;
    }
    return offer;
}

static void set_failure(struct rig_store *store, struct span text)
{
    static const struct {
        const char *word;
        enum imap_event_type event;
    } events[] = {
        {"entries", IMAP_EVENT_ENTRIES}, {"read", IMAP_EVENT_READ},     {"store", IMAP_EVENT_STORE},
        {"expunge", IMAP_EVENT_EXPUNGE}, {"copy", IMAP_EVENT_COPY},     {"changes", IMAP_EVENT_CHANGES},
        {"list", IMAP_EVENT_LIST},       {"status", IMAP_EVENT_STATUS}, {"create", IMAP_EVENT_CREATE},
        {"open", IMAP_EVENT_OPEN},       {"append", IMAP_EVENT_APPEND}, {"commit", IMAP_EVENT_COMMIT}};
    static const struct {
        const char *word;
        enum imap_failure failure;
    } failures[] = {{"gone", IMAP_FAIL_NOT_FOUND}, {"later", IMAP_FAIL_TRY_LATER},
                    {"quota", IMAP_FAIL_QUOTA},    {"limit", IMAP_FAIL_LIMIT},
                    {"cannot", IMAP_FAIL_CANNOT},  {"denied", IMAP_FAIL_DENIED}};
    struct span event = word(&text), failure = word(&text);

    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
        if (span_eq_str(event, events[i].word))
            store->fail_event = events[i].event;
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++)
        if (span_eq_str(failure, failures[i].word))
            store->fail_with = failures[i].failure;
    store->fail_after = (uint32_t)number(text) - 1;
}

static void put_message(struct rig_store *store, struct span text)
{
    _cleanup_buf_ struct buf box = {0}, bytes = {0};

    buf_init(&box, TEXT_MAX);
    buf_init(&bytes, TEXT_MAX);
    buf_append(&box, word(&text));
    unescape(text, &bytes);
    rig_deliver(store, buf_cstr(&box), buf_span(&bytes));
}

static void put_messages(struct rig_store *store, struct span text)
{
    _cleanup_buf_ struct buf box = {0};
    uint64_t count;

    buf_init(&box, TEXT_MAX);
    buf_append(&box, word(&text));
    count = number(text);
    for (uint64_t i = 1; i <= count; i++) {
        _cleanup_buf_ struct buf bytes = {0};

        buf_init(&bytes, TEXT_MAX);
        buf_printf(&bytes, "Subject: m%u\r\n\r\nbody %u\r\n", (unsigned)i, (unsigned)i);
        rig_deliver(store, buf_cstr(&box), buf_span(&bytes));
    }
}

static void scene(struct play *p, const struct variant *v)
{
    struct imap_server_config c;
    struct imap_offer offer;
    bool offered = false;
    struct span rest = buf_span(&p->d->scene);

    imap_server_config_init(&c, "imap.brant.test");
    rig_store_init(&p->store);
    while (rest.len) {
        struct span line = span_sub(rest, 0, span_find_byte(rest, '\n')), key;

        rest = span_from(rest, line.len + 1);
        key = word(&line);
        if (span_eq_str(key, "message")) {
            put_message(&p->store, line);
        } else if (span_eq_str(key, "messages")) {
            put_messages(&p->store, line);
        } else if (span_eq_str(key, "fail")) {
            set_failure(&p->store, line);
        } else if (span_eq_str(key, "offer")) {
            offer = offer_of(line);
            offered = true;
        } else {
            struct span field = word(&line);

            set_config(&c, field, number(line));
        }
    }
    p->store.entries_max = v->entries;
    p->store.read_max = v->reads;
    p->store.ranges_max = v->ranges;
    p->store.store_max = v->stores;
    p->store.boxes_max = v->boxes;
    p->store.no_structures = v->no_structures;
    for (p->open = 0; p->open < p->d->sessions; p->open++) {
        rig_init(&p->rigs[p->open], &p->store, &c, offered ? &offer : NULL);
        p->rigs[p->open].output_step = v->output_step;
        rig_said(&p->rigs[p->open]); /* the greeting */
        buf_init(&p->said[p->open], SIZE_MAX);
        p->checked[p->open] = 0;
    }
}

static void play_done(struct play *p)
{
    for (int i = 0; i < p->open; i++) {
        rig_done(&p->rigs[i]);
        buf_done(&p->said[i]);
    }
    rig_store_done(&p->store);
}

/* ---- playing ---- */

static void gather(struct play *p)
{
    for (int i = 0; i < p->open; i++) {
        buf_append(&p->said[i], buf_span(&p->rigs[i].out));
        buf_reset(&p->rigs[i].out);
    }
}

/* The next line of a session; false: there is none. */
static bool next_line(struct play *p, int session, struct span *ret)
{
    struct span rest = span_from(buf_span(&p->said[session]), p->checked[session]);
    size_t end = span_find(rest, SPAN_LIT("\r\n"));

    if (end == SPAN_NPOS)
        return false;
    *ret = span_sub(rest, 0, end);
    p->checked[session] += end + 2;
    return true;
}

static void expect(struct play *p, const struct step *step, bool skip)
{
    struct span line = SPAN_NONE;

    while (next_line(p, step->session, &line)) {
        if (matches(buf_span(&step->text), line))
            return;
        if (!skip)
            fail(p->d, step->line, "said", line);
    }
    fail(p->d, step->line, "nothing more was said than", line);
}

static void check_closed(struct play *p, const struct step *step)
{
    struct span line;

    if (next_line(p, step->session, &line))
        fail(p->d, step->line, "said before the end", line);
    if (!p->rigs[step->session].closed)
        fail(p->d, step->line, "is still open", SPAN_NONE);
    if (!span_eq_str(buf_span(&step->text), imap_close_reason_text(p->rigs[step->session].reason)))
        fail(p->d, step->line, "closed because of",
             span_str(imap_close_reason_text(p->rigs[step->session].reason)));
}

static void advance(struct play *p, uint64_t ms)
{
    for (int i = 0; i < p->open; i++) {
        struct rig *r = &p->rigs[i];

        if (imap_server_timeout_ms(r->s, r->now_ms) <= ms)
            imap_server_end(r->s, IMAP_CLOSE_TIMEOUT);
        r->now_ms += ms;
        rig_feed(r, SPAN_NONE);
    }
    p->store.clock_ms += (int64_t)ms;
}

/* Nothing may be left unread. */
static void check_rest(struct play *p)
{
    struct span line;

    for (int i = 0; i < p->open; i++)
        if (next_line(p, i, &line))
            fail(p->d, 0, "was not expected", line);
}

static void play_in_step(struct play *p, const struct variant *v)
{
    scene(p, v);
    for (size_t i = 0; i < p->d->count; i++) {
        const struct step *step = &p->d->steps[i];
        bool skip = i > 0 && p->d->steps[i - 1].type == ANY;
        _cleanup_buf_ struct buf box = {0};

        switch (step->type) {
        case SEND:
            rig_feed(&p->rigs[step->session], buf_span(&step->text));
            break;
        case EXPECT:
            expect(p, step, skip);
            break;
        case CLOSED:
            check_closed(p, step);
            break;
        case DELIVER:
            buf_init(&box, TEXT_MAX);
            buf_append(&box, buf_span(&step->box));
            rig_deliver(&p->store, buf_cstr(&box), buf_span(&step->text));
            rig_feed(&p->rigs[0], SPAN_NONE);
            break;
        case WAIT:
            advance(p, step->ms);
            break;
        case ANY:
            break;
        }
        gather(p);
    }
    check_rest(p);
}

/* Everything at once, in pieces of `step` bytes behind the first `cut`; what is said must be the same. */
static void play_cut(const struct dialog *d, const struct variant *v, struct span said, size_t cut,
                     size_t step)
{
    static struct play p;
    _cleanup_buf_ struct buf all = {0};
    struct span in;

    p.d = d;
    buf_init(&all, SIZE_MAX);
    for (size_t i = 0; i < d->count; i++)
        if (d->steps[i].type == SEND)
            buf_append(&all, buf_span(&d->steps[i].text));
    in = buf_span(&all);
    if (cut > in.len)
        return;
    scene(&p, v);
    rig_feed(&p.rigs[0], span_sub(in, 0, cut));
    for (size_t at = cut; at < in.len; at += step)
        rig_feed(&p.rigs[0], span_sub(in, at, step));
    gather(&p);
    if (!span_eq(buf_span(&p.said[0]), said)) {
        fprintf(stderr, "cut %zu, step %zu, %s; in step:\n%.*s\n", cut, step, v->name, SPAN_ARG(said));
        fail(d, 0, "says something else", buf_span(&p.said[0]));
    }
    play_done(&p);
}

static void play_all(const struct dialog *d)
{
    static struct play p;
    struct buf first;
    size_t bytes = 0;

    for (size_t i = 0; i < d->count; i++)
        bytes += d->steps[i].type == SEND ? d->steps[i].text.len : 0;
    buf_init(&first, SIZE_MAX);
    for (size_t v = 0; v < sizeof variants / sizeof variants[0]; v++) {
        p = (struct play){.d = d};
        play_in_step(&p, &variants[v]);
        buf_reset(&first);
        buf_append(&first, buf_span(&p.said[0]));
        play_done(&p);
        if (d->in_step_only)
            continue;
        play_cut(d, &variants[v], buf_span(&first), bytes, 1);
        play_cut(d, &variants[v], buf_span(&first), 0, 1);
        for (size_t cut = 1; cut < bytes && v == 0; cut += bytes / 2000 + 1)
            play_cut(d, &variants[v], buf_span(&first), cut, SIZE_MAX / 2);
    }
    buf_done(&first);
}

static void play_file(const char *folder, const char *name)
{
    static struct dialog d;
    char path[8192];
    static char text[FILE_BYTES_MAX];
    FILE *f;
    size_t len;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "rb");
    len = f ? fread(text, 1, sizeof text, f) : 0;
    if (f)
        fclose(f);
    d = (struct dialog){.name = name, .sessions = 1};
    buf_init(&d.scene, TEXT_MAX);
    if (len == 0 || len == sizeof text)
        fail(&d, 0, "cannot be read", SPAN_NONE);
    dialog_parse(&d, span_make(text, len));
    play_all(&d);
    for (size_t i = 0; i < d.count; i++) {
        buf_done(&d.steps[i].text);
        buf_done(&d.steps[i].box);
    }
    buf_done(&d.scene);
}

int main(int argc, char **argv)
{
    const char *root = getenv("BRANT_SOURCE_ROOT");
    char folder[4096];
    struct dirent *entry;
    size_t count = 0;
    DIR *dir;

    snprintf(folder, sizeof folder, "%s/tests/dialogs/imap", root ? root : ".");
    dir = opendir(folder);
    while (dir && (entry = readdir(dir))) {
        size_t len = strlen(entry->d_name);

        if (len < 5 || strcmp(entry->d_name + len - 4, ".txt") != 0 ||
            (argc > 1 && strcmp(argv[1], entry->d_name) != 0))
            continue;
        play_file(folder, entry->d_name);
        count++;
    }
    if (dir)
        closedir(dir);
    printf("%zu dialogues\n", count);
    return count ? 0 : 1;
}
