#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "ipc/messages.h"
#include "roles/store/fields.h"

enum { ARENA = 1 << 20 };

static bool parse(struct span bytes, struct store_range_list *ret)
{
    static struct arena a;
    const struct store_range *r;
    arena_done(&a);
    arena_init(&a, ARENA);
    if (!fields_ranges(&a, bytes, &r, &ret->count))
        return false;
    ret->r = (struct store_range *)(uintptr_t)r;
    assert_true(span_eq(fields_ranges_put(&a, ret), bytes)); /* there and back */
    return true;
}

static void ranges(void **state)
{
    (void)state;
    struct store_range_list l = {0};
    assert_true(parse(SPAN_NONE, &l) && l.count == 0);
    assert_true(parse(SPAN_LIT("\1\0\0\0\1\0\0\0"), &l) && l.count == 1);
    assert_true(parse(SPAN_LIT("\2\0\0\0\xff\xff\xff\xff"), &l) && l.count == 1);
    assert_true(l.r[0].first == 2 && l.r[0].last == UINT32_MAX);
    struct span two = SPAN_LIT("\1\0\0\0\3\0\0\0\x04\1\0\0\x05\1\0\0");
    assert_true(parse(two, &l) && l.count == 2 && l.r[1].first == 260 && l.r[1].last == 261);
    for (size_t len = 0; len <= two.len; len++)
        assert_int_equal(parse(span_sub(two, 0, len), &l), len % 8 == 0);
    assert_false(parse(SPAN_LIT("\0\0\0\0\1\0\0\0"), &l));
    assert_false(parse(SPAN_LIT("\2\0\0\0\1\0\0\0"), &l));
    assert_false(parse(SPAN_LIT("\1\0\0\0\3\0\0\0\3\0\0\0\x04\0\0\0"), &l));
    assert_false(parse(SPAN_LIT("\1\0\0\0\xff\xff\xff\xff\1\0\0\0\2\0\0\0"), &l));
}

/* As many as a question can hold fit into the room that handlers give. */
static void most_ranges(void **state)
{
    (void)state;
    uint8_t *bytes = calloc(IPC_RANGES_MAX, IPC_RANGE_BYTES);
    struct store_range_list l = {0};
    assert_non_null(bytes);
    for (uint32_t i = 0; i < IPC_RANGES_MAX; i++)
        for (unsigned k = 0; k < 8; k++)
            bytes[8 * i + k] = (uint8_t)((2 * i + 1) >> (8 * (k % 4)));
    assert_true(parse(span_make(bytes, IPC_RANGES_MAX * IPC_RANGE_BYTES), &l));
    assert_int_equal(l.count, IPC_RANGES_MAX);
    free(bytes);
}

static size_t keywords(const char *text)
{
    struct arena a;
    struct store_keyword_list l;
    struct buf _cleanup_buf_ again;
    arena_init(&a, FIELDS_KEYWORDS_ARENA);
    buf_init(&again, IPC_KEYWORDS_MAX);
    bool ok = fields_keywords(&a, span_str(text), &l);
    for (size_t i = 0; ok && i < l.count; i++) {
        if (i > 0)
            buf_append_byte(&again, ' ');
        buf_append(&again, l.names[i]);
    }
    assert_true(!ok || span_eq_str(buf_span(&again), text));
    arena_done(&a);
    return ok ? l.count : 99;
}

static void names_of_keywords(void **state)
{
    (void)state;
    char text[IPC_KEYWORDS_MAX + 1] = "";
    assert_int_equal(keywords(""), 0);
    assert_int_equal(keywords("$Forwarded"), 1);
    assert_int_equal(keywords("a b c"), 3);
    static const char *const bad[] = {" ", " a", "a ", "a  b", "a\tb", "a\nb", "\xc3\xa4", "a\x7f"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(keywords(bad[i]), 99);
    memset(text, 'k', STORE_KEYWORD_BYTES_MAX);
    assert_int_equal(keywords(text), 1);
    text[STORE_KEYWORD_BYTES_MAX] = 'k';
    assert_int_equal(keywords(text), 99);
    size_t len = 0;
    for (unsigned i = 0; i < STORE_KEYWORDS_MAX; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%064u", i ? " " : "", i);
    assert_int_equal(keywords(text), STORE_KEYWORDS_MAX);
    snprintf(text + len, sizeof text - len, " x");
    assert_int_equal(keywords(text), 99);
}

static void names_of_mailboxes(void **state)
{
    (void)state;
    static const char *const good[] = {"INBOX", "INBOX/x", "a",   "a/b",      "a.b",
                                       "..",    "%2e",     "a&b", "\xc3\xa4", "*"};
    static const char *const bad[] = {
        "",        "/",    "a/",   "/a",   "a//b",     "inbox",
        "Inbox/x", "a\tb", "\xff", "\xc3", "a\xcc\x88"}; /* a letter that is not composed */
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(fields_name(span_str(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(fields_name(span_str(bad[i])));
    char longest[IPC_MAILBOX_NAME_MAX + 1];
    memset(longest, 'x', sizeof longest);
    assert_true(fields_name(span_make(longest, IPC_MAILBOX_NAME_MAX)));
    assert_false(fields_name(span_make(longest, IPC_MAILBOX_NAME_MAX + 1)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges),
        cmocka_unit_test(most_ranges),
        cmocka_unit_test(names_of_keywords),
        cmocka_unit_test(names_of_mailboxes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
