/* The public suite of address syntax with diagnoses (isemail, XML). An envelope may hold what the suite calls
 * valid, valid apart from DNS, or valid for SMTP with unusual elements (quoted strings, literals, single or
 * numeric labels). What only a header may hold (comments, folding, obsolete forms, other literals), and what
 * nothing may hold, is refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/codec.h"
#include "base/err.h"
#include "base/mem.h"
#include "smtp/address.h"

enum { SKIPPED = 77 };

static char *read_suite(void)
{
    const char *folder = getenv("BRANT_VECTORS");
    const char *root = getenv("BRANT_SOURCE_ROOT");
    char path[4096];
    FILE *f;
    char *text;
    size_t len;

    if (folder)
        snprintf(path, sizeof path, "%s/addresses/isemail-tests.xml", folder);
    else
        snprintf(path, sizeof path, "%s/../shared/vectors/addresses/isemail-tests.xml", root ? root : ".");
    f = fopen(path, "rb");
    if (!f)
        return NULL;
    text = mem_alloc(1 << 20);
    len = fread(text, 1, (1 << 20) - 1, f);
    text[len] = '\0';
    fclose(f);
    return text;
}

/* The text of an element inside one test; empty when it is absent or <x/>. */
static struct span element(struct span test, const char *name)
{
    char tag[32];
    size_t at, end;

    snprintf(tag, sizeof tag, "<%s>", name);
    at = span_find(test, span_str(tag));
    if (at == SPAN_NPOS)
        return SPAN_NONE;
    test = span_from(test, at + strlen(tag));
    snprintf(tag, sizeof tag, "</%s>", name);
    end = span_find(test, span_str(tag));
    return span_sub(test, 0, end);
}

/* The suite writes control characters as U+2400 plus their number. */
static void put(struct buf *out, uint32_t c)
{
    codec_utf8_put(out, c >= 0x2400 && c < 0x2420 ? c - 0x2400 : c);
}

static void decode(struct span s, struct buf *out)
{
    static const struct {
        const char *name;
        char c;
    } entities[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};

    while (s.len) {
        size_t n = 0;
        uint32_t c;

        for (size_t i = 0; i < sizeof entities / sizeof *entities && !n; i++) {
            if (span_starts(s, span_str(entities[i].name))) {
                n = strlen(entities[i].name);
                put(out, (uint8_t)entities[i].c);
            }
        }
        if (!n && span_starts(s, SPAN_LIT("&#x"))) {
            n = span_find_byte(s, ';') + 1;
            put(out, (uint32_t)strtoul((const char *)s.p + 3, NULL, 16));
        } else if (!n && span_starts(s, SPAN_LIT("&#"))) {
            n = span_find_byte(s, ';') + 1;
            put(out, (uint32_t)strtoul((const char *)s.p + 2, NULL, 10));
        } else if (!n) {
            n = codec_utf8_next(s, &c);
            if (n == 0)
                abort();
            put(out, c);
        }
        s = span_from(s, n);
    }
}

static bool expected(struct span category)
{
    return span_eq_str(category, "ISEMAIL_VALID_CATEGORY") || span_eq_str(category, "ISEMAIL_DNSWARN") ||
           span_eq_str(category, "ISEMAIL_RFC5321");
}

int main(void)
{
    _cleanup_free_ char *suite = read_suite();
    size_t cases = 0, failed = 0, at;
    struct span rest;

    if (!suite) {
        printf("the suite is not here: skipped\n");
        return SKIPPED;
    }
    rest = span_str(suite);
    while ((at = span_find(rest, SPAN_LIT("<test id="))) != SPAN_NPOS) {
        struct span test = span_from(rest, at);
        _cleanup_buf_ struct buf address;
        bool got;

        test = span_sub(test, 0, span_find(test, SPAN_LIT("</test>")));
        rest = span_from(rest, at + test.len);
        buf_init(&address, 4096);
        decode(element(test, "address"), &address);
        got = smtp_mailbox_valid(buf_span(&address), true);
        cases++;
        if (got != expected(element(test, "category"))) {
            struct span diagnosis = element(test, "diagnosis");

            failed++;
            printf("%s: %s, %.*s\n", buf_cstr(&address), got ? "accepted" : "refused", SPAN_ARG(diagnosis));
        }
    }
    printf("%zu cases, %zu failed\n", cases, failed);
    return cases == 0 || failed > 0;
}
