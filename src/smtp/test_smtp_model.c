/* The engine against a small reference model: random sequences of commands, errors included. After every
 * reply the engine must accept exactly what the model accepts (each probe runs in a session of its own that
 * repeats the sequence so far). Catches state that survives an error path. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "smtp/rig.h"

enum { SEQUENCES = 1500, LENGTH = 14 };

enum command {
    EHLO,
    HELO_BAD,
    MAIL,
    MAIL_BLOCKED,
    MAIL_SYNTAX,
    MAIL_TOO_BIG,
    RCPT,
    RCPT_UNKNOWN,
    RCPT_SYNTAX,
    RCPT_NODATA,
    RCPT_REJECTED,
    DATA,
    DATA_LOOP,
    DATA_BIG,
    BDAT,
    BDAT_LAST,
    BDAT_LOOP,
    BDAT_BIG,
    RSET,
    NOOP,
    VRFY,
    UNKNOWN,
    COMMANDS
};

static const struct {
    const char *text;
    const char *body; /* after a 354 */
} TEXTS[COMMANDS] = {
    [EHLO] = {"EHLO client.example\r\n", NULL},
    [HELO_BAD] = {"EHLO a b\r\n", NULL},
    [MAIL] = {"MAIL FROM:<a@b.example>\r\n", NULL},
    [MAIL_BLOCKED] = {"MAIL FROM:<blocked@b.example>\r\n", NULL},
    [MAIL_SYNTAX] = {"MAIL FROM:<a@b@c>\r\n", NULL},
    [MAIL_TOO_BIG] = {"MAIL FROM:<a@b.example> SIZE=1001\r\n", NULL},
    [RCPT] = {"RCPT TO:<alice@brant.test>\r\n", NULL},
    [RCPT_UNKNOWN] = {"RCPT TO:<nobody@brant.test>\r\n", NULL},
    [RCPT_SYNTAX] = {"RCPT TO:<>\r\n", NULL},
    [RCPT_NODATA] = {"RCPT TO:<nodata@brant.test>\r\n", NULL},
    [RCPT_REJECTED] = {"RCPT TO:<rejected@brant.test>\r\n", NULL},
    [DATA] = {"DATA\r\n", "A: b\r\n\r\nRSET\r\n.\r\n"},
    [DATA_LOOP] = {"DATA\r\n", "Received: x\r\nReceived: x\r\nReceived: x\r\n.\r\n"},
    [DATA_BIG] = {"DATA\r\n", NULL},
    [BDAT] = {"BDAT 6\r\nRSET\r\n", NULL},
    [BDAT_LAST] = {"BDAT 6 LAST\r\nRSET\r\n", NULL},
    [BDAT_LOOP] = {"BDAT 39\r\nReceived: x\r\nReceived: x\r\nReceived: x\r\n", NULL},
    [BDAT_BIG] = {"BDAT 1001 LAST\r\n", NULL},
    [RSET] = {"RSET\r\n", NULL},
    [NOOP] = {"NOOP\r\n", NULL},
    [VRFY] = {"VRFY \xe7\x88\xb1\r\n", NULL},
    [UNKNOWN] = {"FOO\r\n", NULL},
};

struct model {
    bool hello, open, tried, bdat, no_data, rejected;
    bool headers_over; /* a line that is no header field came, so Received no longer counts */
    unsigned recipients;
};

static void over(struct model *m)
{
    *m = (struct model){.hello = m->hello};
}

/* The reply to the end of a good message. */
static int finish(struct model *m)
{
    int code = m->rejected ? 554 : 250;

    over(m);
    return code;
}

static int model_rcpt(struct model *m, enum command c)
{
    if (!m->open || m->bdat)
        return 503;
    if (c == RCPT_SYNTAX)
        return 501;
    m->tried = true;
    if (c == RCPT_UNKNOWN)
        return 550;
    m->no_data |= c == RCPT_NODATA;
    m->rejected |= c == RCPT_REJECTED;
    m->recipients++;
    return 250;
}

/* *ret_second: the reply to the body, or 0 when no body is sent. */
static int model_data(struct model *m, enum command c, int *ret_second)
{
    if (m->bdat) {
        over(m);
        return 503;
    }
    if (!m->open || !m->tried)
        return 503;
    if (m->recipients == 0)
        return 554;
    if (m->no_data) {
        over(m);
        return 451;
    }
    if (c == DATA) {
        *ret_second = finish(m);
    } else {
        *ret_second = c == DATA_LOOP ? 554 : 552;
        over(m);
    }
    return 354;
}

static int model_bdat(struct model *m, enum command c)
{
    if (!m->open || !m->tried)
        return 503;
    if (m->recipients == 0)
        return 554;
    if (c == BDAT_BIG || (m->no_data && !m->bdat)) {
        int code = c == BDAT_BIG ? 552 : 451;

        over(m);
        return code;
    }
    m->bdat = true;
    if (c == BDAT_LOOP && !m->headers_over) {
        over(m);
        return 554;
    }
    m->headers_over = true; /* "RSET" is no header field */
    return c == BDAT_LAST ? finish(m) : 250;
}

static int model_step(struct model *m, enum command c, int *ret_second)
{
    *ret_second = 0;
    switch (c) {
    case EHLO:
        over(m);
        m->hello = true;
        return 250;
    case HELO_BAD:
        return 501;
    case BDAT:
    case BDAT_LAST:
    case BDAT_LOOP:
    case BDAT_BIG:
        return m->hello ? model_bdat(m, c) : 503;
    case RSET:
        over(m);
        return 250;
    case NOOP:
        return 250;
    case VRFY:
        return 252;
    case UNKNOWN:
        return 500;
    default:
        break;
    }
    if (!m->hello)
        return 503;
    if (c >= RCPT && c <= RCPT_REJECTED)
        return model_rcpt(m, c);
    if (c >= DATA)
        return model_data(m, c, ret_second);
    if (m->open)
        return 503;
    if (c != MAIL)
        return c == MAIL_BLOCKED ? 550 : c == MAIL_SYNTAX ? 501 : 552;
    m->open = true;
    return 250;
}

static int reply_code(struct rig *r)
{
    const char *text = rig_replies(r);
    int code = atoi(text);

    assert_true(code >= 200 && code < 600);
    return code;
}

static void send_big(struct rig *r)
{
    for (int i = 0; i < 100; i++)
        rig_feed_str(r, "0123456789\r\n");
    rig_feed_str(r, ".\r\n");
}

/* Sends one command, and its body after a 354; checks both replies against the model. */
static void step(struct rig *r, struct model *m, enum command c)
{
    int second, first = model_step(m, c, &second);
    size_t stored = r->stored_count;

    rig_feed_str(r, TEXTS[c].text);
    for (int i = 0; c == BDAT_BIG && i < 1001; i++)
        rig_feed_str(r, "x");
    assert_int_equal(reply_code(r), first);
    if (second) {
        if (c == DATA_BIG)
            send_big(r);
        else
            rig_feed_str(r, TEXTS[c].body);
        assert_int_equal(reply_code(r), second);
    }
    assert_int_equal(r->stored_count - stored, second == 250 || (c == BDAT_LAST && first == 250));
    assert_int_equal(r->in_transaction, m->open);
    assert_int_equal(smtp_server_recipients(r->s), m->recipients);
    assert_false(r->closed);
}

static void replay(const enum command *sequence, size_t len, enum command probe)
{
    struct smtp_server_config c;
    struct model m = {0};
    struct rig r;

    smtp_server_config_init(&c, "mx.brant.test");
    c.message_bytes_max = 1000;
    c.received_max = 2;
    c.errors_max = c.refusals_max = c.idle_commands_max = c.messages_max = 1000;
    rig_init(&r, &c);
    smtp_server_greet(r.s, r.now_ms);
    rig_feed(&r, SPAN_NONE);
    rig_replies(&r);
    for (size_t i = 0; i < len; i++)
        step(&r, &m, sequence[i]);
    step(&r, &m, probe);
    rig_done(&r);
}

static void test_model(void **state)
{
    static const enum command probes[] = {MAIL, RCPT, DATA, BDAT, BDAT_LAST};
    uint32_t seed = 20260101;

    (void)state;
    for (int n = 0; n < SEQUENCES; n++) {
        enum command sequence[LENGTH];
        size_t len = 0;

        while (len < LENGTH) {
            seed = seed * 1664525u + 1013904223u;
            sequence[len] = (seed >> 8) % COMMANDS;
            /* steer half of the steps towards a transaction, else few sequences get there */
            if ((seed >> 20) % 2)
                sequence[len] = len == 0                ? EHLO
                                : (seed >> 21) % 3 == 0 ? MAIL
                                : (seed >> 21) % 3 == 1 ? RCPT
                                                        : BDAT;
            len++;
            for (size_t p = 0; p < sizeof probes / sizeof *probes; p++)
                if ((n + (int)len) % 5 == (int)p || len == LENGTH)
                    replay(sequence, len, probes[p]);
        }
    }
}

/* The error paths that once kept state in other servers. */
static void test_known_leaks(void **state)
{
    static const enum command cases[][6] = {
        {EHLO, MAIL, RCPT_REJECTED, DATA, RCPT, DATA},
        {EHLO, MAIL, RCPT, BDAT_LOOP, DATA, RCPT},
        {EHLO, MAIL, RCPT, VRFY, DATA, DATA},
        {EHLO, MAIL, RCPT, DATA_BIG, RCPT, BDAT_LAST},
        {EHLO, MAIL, RCPT_NODATA, BDAT, BDAT_LAST, RCPT},
        {EHLO, MAIL, RCPT, BDAT, DATA, BDAT_LAST},
        {EHLO, MAIL, RCPT, BDAT, EHLO, BDAT_LAST},
        {EHLO, MAIL, RCPT, HELO_BAD, DATA, MAIL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (enum command probe = 0; probe < COMMANDS; probe++)
            replay(cases[i], 6, probe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_known_leaks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
