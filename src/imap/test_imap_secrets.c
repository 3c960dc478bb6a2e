/* What a client sends to log in leaves no trace in memory, however it was said and whatever came of it: every
 * piece of memory is looked through when it is given back, and all that the process has in between. So the
 * secrets of this test exist nowhere but in the engine, and in a line while it is fed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "imap/server.h"

#if defined __SANITIZE_ADDRESS__
#define SANITIZED 1
#elif defined __has_feature
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum { KEY = 0x5a, TRACE = 10, REGION_MAX = 64 << 20 };

/* Spelled with KEY on each byte; base64: of NUL, a name, NUL and the password. */
static uint8_t password[] = "Tr0ub4dor-and-3-horses";
static uint8_t base64[] = "AGFsaWNlAFRyMHViNGRvci1hbmQtMy1ob3JzZXM=";
static bool begins[256]; /* what a trace can begin with */

static void hide(uint8_t *text, size_t len, size_t from)
{
    for (size_t i = 0; i < len; i++)
        text[i] ^= KEY;
    for (size_t i = from; i + TRACE < len; i++)
        begins[text[i] ^ KEY] = true;
}

/* TRACE bytes in a row of the hidden text, from `from` on, stand there. */
static bool stands(const uint8_t *p, const uint8_t *hidden, size_t len, size_t from)
{
    for (size_t i = from; i + TRACE < len; i++) {
        size_t k = 0;

        while (k < TRACE && p[k] == (hidden[i + k] ^ KEY))
            k++;
        if (k == TRACE)
            return true;
    }
    return false;
}

static size_t places_in(const uint8_t *p, size_t len)
{
    size_t count = 0;

    for (size_t i = 0; i + TRACE <= len; i++)
        if (begins[p[i]])
            count += stands(p + i, password, sizeof password, 0) || stands(p + i, base64, sizeof base64, 12);
    return count;
}

static size_t given_back; /* traces in memory that was */

void __real_free(void *memory);
void __wrap_free(void *memory);
void *__real_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size);

void __wrap_free(void *memory)
{
    if (memory)
        given_back += places_in(memory, malloc_usable_size(memory));
    __real_free(memory);
}

/* It may stay where it was, but nobody can count on that. */
void *__wrap_realloc(void *memory, size_t size)
{
    if (memory)
        given_back += places_in(memory, malloc_usable_size(memory));
    return __real_realloc(memory, size);
}

/* In what this process can write now. A sanitizer keeps what was given back, and far too much. */
static size_t traces(void)
{
    static uint8_t piece[65536 + TRACE];
    char line[512];
    size_t count = 0;

    if (SANITIZED)
        return 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    int memory = open("/proc/self/mem", O_RDONLY);
    assert_true(maps && memory >= 0);
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        char mode[8] = "";

        if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) != 3 || mode[0] != 'r' || mode[1] != 'w' ||
            to - from > REGION_MAX)
            continue;
        for (unsigned long at = from; at < to; at += 65536) {
            bool own = at < (uintptr_t)piece + sizeof piece && at + sizeof piece > (uintptr_t)piece;
            ssize_t n = own ? 0 : pread(memory, piece, sizeof piece, (off_t)at);

            count += n > 0 ? places_in(piece, (size_t)n) : 0;
        }
    }
    mem_wipe(piece, sizeof piece);
    fclose(maps);
    close(memory);
    return count;
}

static void check_no_trace(const char *what)
{
    size_t count = traces();

    if (count > 0 || given_back > 0)
        fail_msg("%s: %zu traces, %zu in memory that was given back", what, count, given_back);
}

static struct imap_server *s;
static char line[1000];
static size_t line_len;

static void add(const char *text)
{
    for (; *text; text++)
        line[line_len++] = *text;
}

static void add_hidden(const uint8_t *hidden, size_t len)
{
    for (size_t i = 0; i < len; i++)
        line[line_len++] = (char)(hidden[i] ^ KEY);
}

/* What is said: "$" in the text is the password, "%" its base64, "&" the password behind a quoted pair. */
static void compose(const char *text)
{
    line_len = 0;
    for (; *text; text++) {
        char one[2] = {*text, 0};

        if (*text == '$')
            add_hidden(password, sizeof password - 1);
        else if (*text == '%')
            add_hidden(base64, sizeof base64 - 1);
        else if (*text == '&') {
            add("\\\"");
            add_hidden(password, sizeof password - 1);
        } else
            add(one);
    }
}

static enum imap_event_type feed(size_t *at, size_t step, struct imap_event *e)
{
    enum imap_event_type type;

    do {
        struct span in = span_make(line + *at, line_len - *at < step ? line_len - *at : step);
        size_t before = in.len;

        type = imap_server_next(s, &in, 0, e);
        *at += before - in.len;
        imap_server_output_used(s, imap_server_output(s).len, 0);
    } while (type == IMAP_EVENT_MORE && *at < line_len);
    return type;
}

static void open_session(void)
{
    static const struct imap_offer offer = {.password = true, .sasl = "PLAIN"};
    struct imap_server_config c;

    imap_server_config_init(&c, "mx.brant.test");
    s = imap_server_new(&c, 0);
    imap_server_offer(s, &offer);
    imap_server_greet(s, 0);
}

/* Says it and answers LOGIN and AUTH; then nothing must be left, neither in the session that goes on nor in
 * what it gave back. */
static void say(const char *text, size_t step, enum imap_login answer)
{
    struct imap_event e;
    size_t at = 0;
    enum imap_event_type type;

    compose(text);
    open_session();
    type = feed(&at, step, &e);
    if (type == IMAP_EVENT_LOGIN || type == IMAP_EVENT_AUTH || type == IMAP_EVENT_AUTH_RESPONSE) {
        mem_wipe(line, at);
        assert_true(SANITIZED || traces() > 0); /* it can be found, so it would be */
        assert_int_equal(imap_server_login_done(s, answer), BRANT_OK);
        memset(&e, 0, sizeof e);
        type = feed(&at, step, &e);
    }
    assert_true(type == IMAP_EVENT_MORE || type == IMAP_EVENT_AUTH_CANCEL || type == IMAP_EVENT_CLOSE);
    assert_int_equal(at, line_len);
    mem_wipe(line, sizeof line);
    check_no_trace(text);
    imap_server_free(s);
    check_no_trace(text);
}

static const char *const commands[] = {
    "a LOGIN alice $\r\n",
    "a LOGIN alice \"$\"\r\n",
    "a LOGIN alice \"&\"\r\n",
    "a LOGIN {5+}\r\nalice {22+}\r\n$\r\n",
    "a LOGIN {5}\r\nalice {22}\r\n$\r\n",
    "a LOGIN alice $ and more\r\n",       /* BAD */
    "a LOGIN alice \"$\r\n",              /* BAD */
    "a $\r\n",                            /* as the command */
    "a LOGIN alice {22+}\r\n$\x01 x\r\n", /* NO */
    "a AUTHENTICATE PLAIN %\r\n",
    "a AUTHENTICATE PLAIN %!\r\n",          /* BAD */
    "a AUTHENTICATE OTHER %\r\n",           /* NO */
    "a AUTHENTICATE PLAIN %\r\nb NOOP\r\n", /* and a command behind it */
};

static void test_logins(void **state)
{
    static const enum imap_login answers[] = {IMAP_LOGIN_OK, IMAP_LOGIN_REFUSED, IMAP_LOGIN_MALFORMED};
    unsigned cases = 0;

    (void)state;
    check_no_trace("at first");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        for (size_t k = 0; k < 3; k++, cases++)
            say(commands[i], k == 1 ? 1 : SIZE_MAX, answers[k]);
    printf("%u logins\n", cases);
}

/* The response comes behind a challenge, once as it should be and once given up. */
static void test_challenge(void **state)
{
    (void)state;
    for (int k = 0; k < 4; k++) {
        struct imap_event e;
        size_t at = 0;

        open_session();
        compose("a AUTHENTICATE PLAIN\r\n");
        assert_int_equal(feed(&at, SIZE_MAX, &e), IMAP_EVENT_AUTH);
        assert_int_equal(imap_server_auth_challenge(s, SPAN_NONE), BRANT_OK);
        compose(k < 2 ? "%\r\n" : k == 2 ? "%*\r\n" : "%");
        at = 0;
        enum imap_event_type type = feed(&at, k % 2 ? 1 : SIZE_MAX, &e);
        if (k < 2) {
            assert_int_equal(type, IMAP_EVENT_AUTH_RESPONSE);
            imap_server_login_done(s, k ? IMAP_LOGIN_REFUSED : IMAP_LOGIN_OK);
        } else if (k == 3) {
            imap_server_end(s, IMAP_CLOSE_TIMEOUT);
        }
        feed(&at, SIZE_MAX, &e);
        mem_wipe(line, sizeof line);
        check_no_trace("a challenge");
        imap_server_free(s);
        check_no_trace("a challenge");
    }
}

/* The session ends while the store is asked, or in the middle of the line. */
static void test_interrupted(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        for (int whole = 0; whole < 2; whole++) {
            struct imap_event e;
            size_t at = 0;

            open_session();
            compose(commands[i]);
            line_len -= whole ? 0 : 1;
            feed(&at, SIZE_MAX, &e);
            mem_wipe(line, sizeof line);
            if (whole) {
                imap_server_end(s, IMAP_CLOSE_LOST);
                imap_server_next(s, &(struct span){0}, 0, &e);
                check_no_trace(commands[i]);
            }
            imap_server_free(s);
            check_no_trace(commands[i]);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logins),
        cmocka_unit_test(test_challenge),
        cmocka_unit_test(test_interrupted),
    };

    hide(password, sizeof password, 0);
    hide(base64, sizeof base64, 12); /* behind the name */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
