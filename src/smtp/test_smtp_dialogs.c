/* Runs the dialogue files of tests/dialogs/smtp (see tests/dialogs/README.md) against the bare engine. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/err.h"
#include "base/mem.h"
#include "smtp/rig.h"

enum { STEPS_MAX = 400, CUTS_MAX = 1500 };

enum step_type { STEP_SEND, STEP_TLS, STEP_REPLY, STEP_CLOSE, STEP_STORED, STEP_BYTES };

struct step {
    enum step_type type;
    int line;
    struct buf bytes; /* SEND, BYTES */
    uint64_t count;   /* REPLY, STORED */
    char *pattern;    /* REPLY: "250 *" */
};

struct dialog {
    const char *name;
    struct smtp_server_config config;
    struct rig_offers offers;
    struct buf mechanisms[2]; /* of offers.clear and offers.tls */
    bool engine_only, needs_engine;
    struct step steps[STEPS_MAX];
    size_t count;
    size_t sent; /* bytes of all SEND steps */
    bool closes;
};

static int failures;

static void fail(const struct dialog *d, const struct step *step, const char *mode, const char *what)
{
    fprintf(stderr, "%s:%d (%s): %s\n", d->name, step ? step->line : 0, mode, what);
    failures++;
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static void unescape(struct span s, struct buf *out)
{
    static const char from[] = "rnt0\\", to[] = "\r\n\t\0\\";

    for (size_t i = 0; i < s.len; i++) {
        const char *known;

        if (s.p[i] != '\\' || i + 1 >= s.len) {
            buf_append_byte(out, s.p[i]);
        } else if (s.p[i + 1] == 'x' && i + 3 < s.len) {
            buf_append_byte(out, (uint8_t)(ascii_hex_value(s.p[i + 2]) << 4 | ascii_hex_value(s.p[i + 3])));
            i += 3;
        } else if ((known = memchr(from, s.p[i + 1], sizeof from - 1))) {
            buf_append_byte(out, (uint8_t)to[known - from]);
            i++;
        } else {
            fprintf(stderr, "unknown escape\n");
            exit(2);
        }
    }
}

static bool set_field(struct smtp_server_config *c, struct span key, uint32_t value)
{
    const struct {
        const char *name;
        uint32_t *u32;
        uint64_t *u64;
    } fields[] = {
        {"message_bytes_max", NULL, &c->message_bytes_max},
        {"header_bytes_max", NULL, &c->header_bytes_max},
        {"recipients_max", &c->recipients_max, NULL},
        {"messages_max", &c->messages_max, NULL},
        {"received_max", &c->received_max, NULL},
        {"errors_max", &c->errors_max, NULL},
        {"refusals_max", &c->refusals_max, NULL},
        {"idle_commands_max", &c->idle_commands_max, NULL},
        {"auth_failures_max", &c->auth_failures_max, NULL},
    };

    if (span_eq_str(key, "auth_required")) {
        c->auth_required = value;
        return true;
    }

    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (!span_eq_str(key, fields[i].name))
            continue;
        if (fields[i].u32)
            *fields[i].u32 = value;
        else
            *fields[i].u64 = value;
        return true;
    }
    return false;
}

/* "starttls", "auth PLAIN LOGIN", "xclient", or "refused": one more thing that is offered. */
static bool read_offer(struct dialog *d, struct smtp_offer *offer, struct buf *mechanisms, struct span what)
{
    d->needs_engine = true;
    if (span_eq_str(what, "starttls")) {
        offer->starttls = true;
    } else if (span_eq_str(what, "xclient")) {
        offer->xclient = true;
    } else if (span_eq_str(what, "refused")) {
        d->offers.tls_refused = true;
    } else if (span_starts(what, SPAN_LIT("auth "))) {
        buf_append(mechanisms, span_from(what, 5));
        offer->auth = buf_cstr(mechanisms);
    } else {
        return false;
    }
    return true;
}

static bool read_directive(struct dialog *d, struct span rest)
{
    size_t space = span_find_byte(rest, ' ');
    struct span word = span_sub(rest, 0, space);
    struct span value = span_from(rest, word.len + 1);
    uint64_t number;

    if (span_eq_str(word, "only"))
        return d->engine_only = span_eq_str(value, "engine");
    if (span_eq_str(word, "clear"))
        return read_offer(d, &d->offers.clear, &d->mechanisms[0], value);
    if (span_eq_str(word, "tls"))
        return read_offer(d, &d->offers.tls, &d->mechanisms[1], value);
    if (span_eq_str(word, "role")) {
        d->config.role = SMTP_ROLE_LMTP;
        return span_eq_str(value, "lmtp");
    }
    space = span_find_byte(value, ' ');
    return span_eq_str(word, "set") && space != SPAN_NPOS &&
           span_to_u64(span_from(value, space + 1), UINT32_MAX, &number) == BRANT_OK &&
           set_field(&d->config, span_sub(value, 0, space), (uint32_t)number);
}

static struct step *step_add(struct dialog *d, enum step_type type, int line)
{
    struct step *step = &d->steps[d->count++];

    if (d->count >= STEPS_MAX) {
        fprintf(stderr, "%s: too long\n", d->name);
        exit(2);
    }
    *step = (struct step){.type = type, .line = line, .count = 1};
    buf_init(&step->bytes, SIZE_MAX);
    return step;
}

/* "N rest": takes the number off. */
static uint64_t take_number(struct span *s)
{
    size_t space = span_find_byte(*s, ' ');
    uint64_t n = 0;

    if (span_to_u64(span_sub(*s, 0, space), 1u << 24, &n)) {
        fprintf(stderr, "a number belongs here\n");
        exit(2);
    }
    *s = space == SPAN_NPOS ? SPAN_NONE : span_from(*s, space + 1);
    return n;
}

static struct step *last_of(struct dialog *d, enum step_type type, int line)
{
    if (d->count && d->steps[d->count - 1].type == type)
        return &d->steps[d->count - 1];
    return step_add(d, type, line);
}

static bool read_line(struct dialog *d, struct span s, int line)
{
    struct span rest = span_from(s, 3);
    struct step *step;

    if (s.len == 0 || s.p[0] == '#')
        return true;
    if (span_starts(s, SPAN_LIT("@ ")))
        return read_directive(d, span_from(s, 2));
    if (s.len >= 2 && s.p[0] == 'C') {
        uint64_t times = 1;

        step = last_of(d, STEP_SEND, line);
        if (s.p[1] == '*')
            times = take_number(&rest);
        for (; times > 0; times--) {
            if (s.p[1] == ':') {
                buf_append(&step->bytes, rest);
                buf_append_str(&step->bytes, "\r\n");
            } else {
                unescape(rest, &step->bytes);
            }
        }
        return s.p[1] == ':' || s.p[1] == '!' || s.p[1] == '*';
    }
    if (span_eq_str(s, "T: handshake")) {
        step_add(d, STEP_TLS, line);
        return true;
    }
    if (span_eq_str(s, "S: close")) {
        step_add(d, STEP_CLOSE, line);
        d->closes = true;
        return true;
    }
    if (span_starts(s, SPAN_LIT("S"))) {
        step = step_add(d, STEP_REPLY, line);
        if (s.p[1] == '*')
            step->count = take_number(&rest);
        step->pattern = mem_zalloc(rest.len + 3);
        memcpy(step->pattern, rest.p, rest.len);
        if (rest.len == 3)
            memcpy(step->pattern + 3, " *", 2);
        return rest.len >= 3 && (s.p[1] == '*' || s.p[1] == ':');
    }
    if (span_starts(s, SPAN_LIT("M: "))) {
        step_add(d, STEP_STORED, line)->count = take_number(&rest);
        return true;
    }
    if (span_starts(s, SPAN_LIT("B: "))) {
        unescape(rest, &last_of(d, STEP_BYTES, line)->bytes);
        return true;
    }
    return false;
}

static bool read_file(struct dialog *d, const char *path)
{
    FILE *f = fopen(path, "rb");
    char line[4096];
    bool ok = f != NULL;

    buf_init(&d->mechanisms[0], sizeof line);
    buf_init(&d->mechanisms[1], sizeof line);
    smtp_server_config_init(&d->config, "mx.brant.test");
    for (int n = 1; ok && fgets(line, sizeof line, f); n++) {
        line[strcspn(line, "\n")] = '\0';
        ok = read_line(d, span_str(line), n);
        if (!ok)
            fprintf(stderr, "%s:%d: not understood\n", d->name, n);
    }
    if (f)
        fclose(f);
    for (size_t i = 0; i < d->count; i++)
        if (d->steps[i].type == STEP_SEND)
            d->sent += d->steps[i].bytes.len;
    if (d->needs_engine && !d->engine_only) {
        fprintf(stderr, "%s: what is offered can be set only for the bare engine\n", d->name);
        ok = false;
    }
    return ok && d->count > 0;
}

/* ---- running ------------------------------------------------------------------------------------------- */

static bool glob(const char *pattern, const char *text)
{
    const char *star = NULL, *from = NULL;

    while (*text) {
        if (*pattern == '*') {
            star = ++pattern;
            from = text;
        } else if (*pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star;
            text = ++from;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}

/* Takes one reply from the front, as "CODE text\ntext"; false when there is no whole one, or it is malformed.
 */
static bool take_reply(struct span *from, struct buf *ret)
{
    buf_reset(ret);
    for (;;) {
        size_t end = span_find(*from, SPAN_LIT("\r\n"));
        struct span line = span_sub(*from, 0, end);

        if (end == SPAN_NPOS || line.len < 4 || end + 2 > SMTP_REPLY_LINE_MAX)
            return false;
        if (ret->len == 0)
            buf_append(ret, span_sub(line, 0, 3));
        else if (!span_eq(span_sub(line, 0, 3), span_sub(buf_span(ret), 0, 3)))
            return false;
        buf_append_str(ret, ret->len == 3 ? " " : "\n");
        buf_append(ret, span_from(line, 4));
        *from = span_from(*from, end + 2);
        if (line.p[3] == ' ')
            return true;
        if (line.p[3] != '-')
            return false;
    }
}

static void check_reply(const struct dialog *d, const struct step *step, const char *mode,
                        struct span *unread)
{
    _cleanup_buf_ struct buf reply;

    buf_init(&reply, SIZE_MAX);
    for (uint64_t i = 0; i < step->count; i++) {
        if (!take_reply(unread, &reply)) {
            fail(d, step, mode, "no reply");
            return;
        }
        if (!glob(step->pattern, buf_cstr(&reply))) {
            fail(d, step, mode, buf_cstr(&reply));
            return;
        }
    }
}

static void check(const struct dialog *d, const struct step *step, const char *mode, struct rig *r,
                  struct span *unread)
{
    switch (step->type) {
    case STEP_REPLY:
        check_reply(d, step, mode, unread);
        break;
    case STEP_CLOSE:
        if (!r->closed || unread->len)
            fail(d, step, mode, r->closed ? "more was said" : "still open");
        break;
    case STEP_STORED:
        if (r->stored_count != step->count)
            fail(d, step, mode, "another number of messages is stored");
        break;
    case STEP_BYTES:
        if (!r->stored_count || !span_eq(buf_span(&r->stored[r->stored_count - 1]), buf_span(&step->bytes)))
            fail(d, step, mode, "other bytes are stored");
        break;
    case STEP_SEND:
    case STEP_TLS:
        break;
    }
}

/* Feeds in pieces: byte by byte (piece 1), or whole but cut where *cut runs out. */
static void send_bytes(struct rig *r, struct span bytes, size_t piece, size_t *cut)
{
    while (bytes.len) {
        size_t n = bytes.len < piece ? bytes.len : piece;

        if (*cut > 0 && *cut < n)
            n = *cut;
        *cut = *cut > n ? *cut - n : 0;
        rig_feed(r, span_sub(bytes, 0, n));
        bytes = span_from(bytes, n);
    }
}

static void send_step(struct rig *r, const struct step *step, size_t piece, size_t *cut)
{
    if (step->type == STEP_SEND)
        send_bytes(r, buf_span(&step->bytes), piece, cut);
    else if (step->type == STEP_TLS)
        rig_tls(r);
}

static void greet(struct rig *r)
{
    smtp_server_greet(r->s,
                      r->now_ms); /* refused when it is too late, which is what such a file wants to see */
    rig_feed(r, SPAN_NONE);
}

/* stepwise: look at the replies where the file has them; else everything is sent first. */
static void run(const struct dialog *d, const char *mode, size_t piece, size_t cut, bool stepwise)
{
    struct rig r;
    size_t seen = 0;

    rig_init(&r, &d->config);
    rig_offer(&r, &d->offers);
    if (d->steps[0].type != STEP_SEND)
        greet(&r);
    for (size_t i = 0; i < d->count && !stepwise; i++)
        send_step(&r, &d->steps[i], piece, &cut);
    for (size_t i = 0; i < d->count; i++) {
        const struct step *step = &d->steps[i];
        struct span unread;

        if (step->type <= STEP_TLS && stepwise) {
            send_step(&r, step, piece, &cut);
            continue;
        }
        if (!stepwise && step->type != STEP_REPLY)
            continue; /* true in between only */
        unread = span_from(buf_span(&r.out), seen);
        check(d, step, mode, &r, &unread);
        if (step->type == STEP_REPLY)
            seen = r.out.len - unread.len;
    }
    if (r.closed != d->closes || seen < r.out.len)
        fail(d, NULL, mode, "at the end it is open, closed or talking, but should not be");
    if (r.memory_max >
        65536 + (size_t)d->config.recipients_max * SMTP_REPLY_LINE_MAX * (d->config.role == SMTP_ROLE_LMTP))
        fail(d, NULL, mode, "too much memory");
    rig_done(&r);
}

static size_t run_file(const char *folder, const char *name)
{
    struct dialog *d = mem_zalloc(sizeof *d);
    char path[4096], mode[64];
    size_t runs = 0, step;

    d->name = name;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!read_file(d, path)) {
        failures++;
    } else {
        run(d, "whole", SIZE_MAX, 0, true);
        run(d, "byte by byte", 1, 0, true);
        run(d, "all at once", SIZE_MAX, 0, false);
        runs = 3;
        step = d->sent / CUTS_MAX + 1;
        if (d->sent > 100000)
            step = d->sent / 20;
        for (size_t cut = 1; cut < d->sent; cut += step, runs++) {
            snprintf(mode, sizeof mode, "cut at %zu", cut);
            run(d, mode, SIZE_MAX, cut, cut % 2);
        }
    }
    for (size_t i = 0; i < d->count; i++) {
        buf_done(&d->steps[i].bytes);
        free(d->steps[i].pattern);
    }
    buf_done(&d->mechanisms[0]);
    buf_done(&d->mechanisms[1]);
    free(d);
    return runs;
}

int main(int argc, char **argv)
{
    const char *root = getenv("BRANT_SOURCE_ROOT");
    char folder[4096];
    size_t files = 0, runs = 0;
    struct dirent *entry;
    DIR *dir;

    if (argc > 2) { /* folder and file names */
        for (int i = 2; i < argc; i++, files++)
            runs += run_file(argv[1], argv[i]);
    } else {
        snprintf(folder, sizeof folder, "%s/tests/dialogs/smtp", root ? root : ".");
        dir = opendir(folder);
        if (!dir) {
            perror(folder);
            return 1;
        }
        while ((entry = readdir(dir))) {
            if (!span_ends(span_str(entry->d_name), SPAN_LIT(".txt")))
                continue;
            runs += run_file(folder, entry->d_name);
            files++;
        }
        closedir(dir);
    }
    printf("%zu dialogues, %zu runs, %d failures\n", files, runs, failures);
    return files == 0 || failures > 0;
}
