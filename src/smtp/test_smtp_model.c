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

enum { SEQUENCES = 4000, LENGTH = 14 };

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
    STARTTLS,
    AUTH,
    AUTH_WRONG,
    AUTH_CANCEL,
    AUTH_NONSENSE,
    XCLIENT,
    XCLIENT_BAD,
    COMMANDS
};

static const struct {
    const char *text;
    const char *body; /* after a 354 or 334 */
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
    [STARTTLS] = {"STARTTLS\r\n", NULL},
    [AUTH] = {"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n", NULL}, /* \0alice\0secret */
    [AUTH_WRONG] = {"AUTH LOGIN YWxpY2U=\r\n", "d3Jvbmc=\r\n"},
    [AUTH_CANCEL] = {"AUTH PLAIN\r\n", "*\r\n"},
    [AUTH_NONSENSE] = {"AUTH PLAIN\r\n", "MAIL FROM:<evil@b.example>\r\n"},
    [XCLIENT] = {"XCLIENT NAME=a.example ADDR=192.0.2.1\r\n", NULL},
    [XCLIENT_BAD] = {"XCLIENT NAME=a.example ADDR=192.0.2.1 LOGIN=alice\r\n", NULL},
};

struct model {
    bool hello, open, tried, bdat, no_data, rejected;
    bool required, tls, authenticated;
    bool headers_over; /* a line that is no header field came, so Received no longer counts */
    unsigned recipients;
};

static void over(struct model *m)
{
    *m = (struct model){
        .hello = m->hello, .required = m->required, .tls = m->tls, .authenticated = m->authenticated};
}

/* The client is a stranger again. */
static void begin_again(struct model *m)
{
    over(m);
    m->hello = m->authenticated = false;
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

static int model_starttls(struct model *m)
{
    if (m->tls || !m->hello || m->open)
        return 503;
    begin_again(m);
    m->tls = true;
    return 220;
}

static int model_auth(struct model *m, enum command c, int *ret_second)
{
    if (!m->hello || m->authenticated || m->open)
        return 503;
    m->authenticated = c == AUTH;
    if (c == AUTH)
        return 235;
    *ret_second = c == AUTH_WRONG ? 535 : 501;
    return 334;
}

static int model_xclient(struct model *m, enum command c)
{
    if (m->open)
        return 503;
    if (c == XCLIENT_BAD)
        return 501;
    begin_again(m);
    return 220;
}

static int model_step(struct model *m, enum command c, int *ret_second)
{
    *ret_second = 0;
    switch (c) {
    case STARTTLS:
        return model_starttls(m);
    case AUTH:
    case AUTH_WRONG:
    case AUTH_CANCEL:
    case AUTH_NONSENSE:
        return model_auth(m, c, ret_second);
    case XCLIENT:
    case XCLIENT_BAD:
        return model_xclient(m, c);
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
    if (m->required && !m->authenticated)
        return 530;
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

/* With a whole session and half a line in clear before it. */
static void handshake(struct rig *r)
{
    rig_feed_str(r, "EHLO evil.example\r\nMAIL FROM:<evil@b.example>\r\nRCPT TO:<alice@brant.test>\r\nNO");
    assert_string_equal(rig_replies(r), "");
    rig_tls(r);
}

/* Sends one command, and its body after a 354 or 334; checks both replies against the model. */
static void step(struct rig *r, struct model *m, enum command c)
{
    int second, first = model_step(m, c, &second);
    size_t stored = r->stored_count;

    rig_feed_str(r, TEXTS[c].text);
    for (int i = 0; c == BDAT_BIG && i < 1001; i++)
        rig_feed_str(r, "x");
    assert_int_equal(reply_code(r), first);
    if (c == STARTTLS && first == 220)
        handshake(r);
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
    assert_int_equal(smtp_server_authenticated(r->s), m->authenticated);
    assert_int_equal(smtp_server_tls(r->s), m->tls);
    assert_int_equal(smtp_server_helo(r->s).len > 0, m->hello);
    assert_false(r->closed);
}

static void replay(const enum command *sequence, size_t len, enum command probe, bool required)
{
    static const struct smtp_offer offer = {true, "PLAIN LOGIN", true};
    const struct rig_offers offers = {.clear = offer, .tls = offer};
    struct smtp_server_config c;
    struct model m = {.required = required};
    struct rig r;

    smtp_server_config_init(&c, "mx.brant.test");
    c.message_bytes_max = 1000;
    c.received_max = 2;
    c.errors_max = c.refusals_max = c.idle_commands_max = c.messages_max = c.auth_failures_max = 1000;
    c.auth_required = required;
    rig_init(&r, &c);
    rig_offer(&r, &offers);
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
    static const enum command probes[] = {MAIL, RCPT, DATA, BDAT, BDAT_LAST, AUTH, STARTTLS};
    uint32_t seed = 20260101;

    (void)state;
    for (int n = 0; n < SEQUENCES; n++) {
        enum command sequence[LENGTH];
        bool required = n % 3 == 0;
        size_t len = 0;

        while (len < LENGTH) {
            seed = seed * 1664525u + 1013904223u;
            sequence[len] = (seed >> 8) % COMMANDS;
            /* steer half of the steps towards a transaction, else few sequences get there */
            if ((seed >> 20) % 2)
                sequence[len] = len == 0                ? EHLO
                                : len == 1 && required  ? AUTH
                                : (seed >> 21) % 3 == 0 ? MAIL
                                : (seed >> 21) % 3 == 1 ? RCPT
                                                        : BDAT;
            len++;
            for (size_t p = 0; p < sizeof probes / sizeof *probes; p++)
                if ((n + (int)len) % 7 == (int)p || len == LENGTH)
                    replay(sequence, len, probes[p], required);
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
        {EHLO, AUTH, STARTTLS, MAIL, EHLO, MAIL},
        {EHLO, AUTH, MAIL, STARTTLS, RSET, STARTTLS},
        {EHLO, STARTTLS, EHLO, AUTH, XCLIENT, EHLO},
        {EHLO, AUTH_WRONG, MAIL, AUTH_CANCEL, AUTH, MAIL},
        {EHLO, MAIL, RCPT, AUTH, XCLIENT, STARTTLS},
        {XCLIENT_BAD, EHLO, AUTH_NONSENSE, AUTH, MAIL, RCPT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (enum command probe = 0; probe < COMMANDS; probe++)
            for (int required = 0; required < 2; required++)
                replay(cases[i], 6, probe, required);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_known_leaks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
