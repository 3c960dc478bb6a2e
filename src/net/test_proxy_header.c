/* PROXY protocol headers: good and malformed ones, each with every cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/err.h"
#include "net/proxy_header.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4_BLOCK  "\xc0\x00\x02\x01\xc6\x33\x64\x02\xdb\x04\x00\x19" /* 192.0.2.1:56068 → 198.51.100.2:25 */
#define V6_FROM   "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
#define V6_TO     "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02"
#define V6_MAPPED "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01"

struct sample {
    struct span bytes;
    int rc;
    enum net_proxy_kind kind;
    const char *source;
    uint16_t source_port;
    const char *destination;
    uint16_t destination_port;
};

#define GOOD(bytes, source, sport, destination, dport)                                  \
    {                                                                                   \
        SPAN_LIT(bytes), BRANT_OK, NET_PROXY_PROXIED, source, sport, destination, dport \
    }
#define PLAIN(bytes, kind)                                \
    {                                                     \
        SPAN_LIT(bytes), BRANT_OK, kind, NULL, 0, NULL, 0 \
    }
#define WRONG(bytes, rc)                                       \
    {                                                          \
        SPAN_LIT(bytes), rc, NET_PROXY_LOCAL, NULL, 0, NULL, 0 \
    }

static const struct sample SAMPLES[] = {
    GOOD("PROXY TCP4 192.0.2.1 198.51.100.2 56068 25\r\n", "192.0.2.1", 56068, "198.51.100.2", 25),
    GOOD("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255", 65535,
         "255.255.255.255", 65535),
    GOOD("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0", 0, "0.0.0.0", 0),
    GOOD("PROXY TCP6 2001:db8::1 2001:DB8::2 56068 25\r\n", "2001:db8::1", 56068, "2001:db8::2", 25),
    GOOD("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 "
         "65535\r\n",
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535),
    GOOD("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.2 1 2\r\n", "192.0.2.1", 1, "198.51.100.2", 2),
    PLAIN("PROXY UNKNOWN\r\n", NET_PROXY_UNKNOWN),
    PLAIN("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", NET_PROXY_UNKNOWN),
    PLAIN("PROXY UNKNOWN anything \r or \n else\r\n", NET_PROXY_UNKNOWN),
    WRONG("EHLO client.example\r\n", BRANT_ESYNTAX),
    WRONG("proxy TCP4 192.0.2.1 198.51.100.2 56068 25\r\n", BRANT_ESYNTAX),
    WRONG("PROXY  TCP4 192.0.2.1 198.51.100.2 56068 25\r\n", BRANT_ESYNTAX),
    WRONG("PROXY TCP5 192.0.2.1 198.51.100.2 56068 25\r\n", BRANT_ESYNTAX),
    WRONG("PROXY UDP4 192.0.2.1 198.51.100.2 56068 25\r\n", BRANT_ESYNTAX),
    WRONG("PROXY TCP4\r\n", BRANT_ESYNTAX),
    WRONG("PROXY TCP4 192.0.2.1\r\n", BRANT_ESYNTAX),
    WRONG("PROXY TCP4 192.0.2.1 198.51.100.2 56068\r\n", BRANT_ESYNTAX),
    WRONG("PROXY TCP4 192.0.2.1 198.51.100.2 56068 25 \r\n", BRANT_ESYNTAX),
    WRONG("PROXY TCP4 192.0.2.1 198.51.100.2 56068 25\n", BRANT_ESYNTAX),
    WRONG("PROXY TCP4 192.0.2.1 198.51.100.2 56068 25\r ", BRANT_ESYNTAX),
    WRONG("PROXY TCP4 192.0.2.1  198.51.100.2 56068 25\r\n", BRANT_ESYNTAX),
    WRONG("PROXY TCP4 192.0.2.01 198.51.100.2 56068 25\r\n", BRANT_ESYNTAX),
    WRONG("PROXY TCP4 192.0.2.256 198.51.100.2 56068 25\r\n", BRANT_ESYNTAX),
    WRONG("PROXY TCP4 192.0.2 198.51.100.2 56068 25\r\n", BRANT_ESYNTAX),
    WRONG("PROXY TCP4 2001:db8::1 2001:db8::2 56068 25\r\n", BRANT_ESYNTAX),
    WRONG("PROXY TCP6 192.0.2.1 198.51.100.2 56068 25\r\n", BRANT_ESYNTAX),
    WRONG("PROXY TCP6 2001:db8:::1 2001:db8::2 56068 25\r\n", BRANT_ESYNTAX),
    WRONG("PROXY TCP6 fe80::1%eth0 2001:db8::2 56068 25\r\n", BRANT_ESYNTAX),
    WRONG("PROXY TCP6 0000:0000:0000:0000:0000:0000:0000:0000:0 ::1 1 1\r\n", BRANT_ESYNTAX),
    WRONG("PROXY TCP4 192.0.2.1 198.51.100.2 056068 25\r\n", BRANT_ESYNTAX),
    WRONG("PROXY TCP4 192.0.2.1 198.51.100.2 65536 25\r\n", BRANT_ESYNTAX),
    WRONG("PROXY TCP4 192.0.2.1 198.51.100.2 00 25\r\n", BRANT_ESYNTAX),
    WRONG("PROXY TCP4 192.0.2.1 198.51.100.2 -1 25\r\n", BRANT_ESYNTAX),
    WRONG("PROXY TCP4 192.0.2.1 198.51.100.2 +1 25\r\n", BRANT_ESYNTAX),
    WRONG("PROXY TCP4 192.0.2.1\0 198.51.100.2 1 25\r\n", BRANT_ESYNTAX),
    WRONG("PROXY UNKNOWNX\r\n", BRANT_ESYNTAX),
    WRONG(
        "PROXY UNKNOWN "
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
        BRANT_ELIMIT),
    PLAIN("PROXY UNKNOWN "
          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
          NET_PROXY_UNKNOWN),

    GOOD(SIGNATURE "\x21\x11\x00\x0c" V4_BLOCK, "192.0.2.1", 56068, "198.51.100.2", 25),
    GOOD(SIGNATURE "\x21\x11\x00\x13" V4_BLOCK "\x04\x00\x04junk", "192.0.2.1", 56068, "198.51.100.2", 25),
    GOOD(SIGNATURE "\x21\x11\x00\x12" V4_BLOCK "\x04\x00\x00\x01\x00\x00", "192.0.2.1", 56068, "198.51.100.2",
         25),
    GOOD(SIGNATURE "\x21\x11\x00\x1a" V4_BLOCK "\x01\x00\x02h2\x20\x00\x06\x01\0\0\0\0\0", "192.0.2.1", 56068,
         "198.51.100.2", 25),
    GOOD(SIGNATURE "\x21\x21\x00\x24" V6_FROM V6_TO "\x00\x01\xff\xff", "2001:db8::1", 1, "2001:db8::2",
         65535),
    GOOD(SIGNATURE "\x21\x21\x00\x24" V6_MAPPED V6_TO "\x00\x01\x00\x19", "192.0.2.1", 1, "2001:db8::2", 25),
    PLAIN(SIGNATURE "\x20\x00\x00\x00", NET_PROXY_LOCAL),
    PLAIN(SIGNATURE "\x20\x11\x00\x0c" V4_BLOCK, NET_PROXY_LOCAL),
    PLAIN(SIGNATURE "\x20\xff\x00\x03???", NET_PROXY_LOCAL),
    PLAIN(SIGNATURE "\x21\x00\x00\x00", NET_PROXY_UNKNOWN),
    PLAIN(SIGNATURE "\x21\x00\x00\x04\x04\x00\x01x", NET_PROXY_UNKNOWN),
    WRONG("\r\n\r\n\r\n", BRANT_ESYNTAX),
    WRONG("\r\n\r\n\0\r\nQUIT\r", BRANT_ESYNTAX),
    WRONG(SIGNATURE "\x11\x11\x00\x0c" V4_BLOCK, BRANT_ESYNTAX),
    WRONG(SIGNATURE "\x31\x11\x00\x0c" V4_BLOCK, BRANT_ESYNTAX),
    WRONG(SIGNATURE "\x22\x11\x00\x0c" V4_BLOCK, BRANT_ESYNTAX),
    WRONG(SIGNATURE "\x21\x12\x00\x0c" V4_BLOCK, BRANT_ESYNTAX),
    WRONG(SIGNATURE "\x21\x10\x00\x0c" V4_BLOCK, BRANT_ESYNTAX),
    WRONG(SIGNATURE "\x21\x41\x00\x0c" V4_BLOCK, BRANT_ESYNTAX),
    WRONG(SIGNATURE "\x21\x11\x00\x0b" V4_BLOCK, BRANT_ESYNTAX),
    WRONG(SIGNATURE "\x21\x21\x00\x23" V6_FROM V6_TO "\x00\x01\xff", BRANT_ESYNTAX),
    WRONG(SIGNATURE "\x21\x11\x00\x0e" V4_BLOCK "\x04\x00", BRANT_ESYNTAX),
    WRONG(SIGNATURE "\x21\x11\x00\x10" V4_BLOCK "\x04\x00\x02x", BRANT_ESYNTAX),
    WRONG(SIGNATURE "\x21\x11\x00\x12" V4_BLOCK "\x03\x00\x03"
                    "abc",
          BRANT_ESYNTAX),
    WRONG(SIGNATURE "\x21\x11\x00\x13" V4_BLOCK "\x03\x00\x04\0\0\0\0", BRANT_ESYNTAX),
    WRONG(SIGNATURE "\x21\x11\x08\x01" V4_BLOCK, BRANT_ELIMIT),
    WRONG(SIGNATURE "\x20\x00\xff\xff", BRANT_ELIMIT),
};

static void check_address(const struct ip_addr *a, const char *text, uint16_t port)
{
    char shown[IP_TEXT_MAX];

    if (!text) {
        assert_int_equal(a->family, IP_NONE);
        return;
    }
    assert_int_equal(ip_format(a, shown), BRANT_OK);
    assert_string_equal(shown, text);
    assert_int_equal(a->port, port);
}

/* Every prefix needs more until the answer is there; then it stays, whatever follows. */
static void every_cut(struct span bytes, int rc)
{
    uint8_t more[NET_PROXY_BYTES_MAX + 32];
    bool decided = false;

    assert_true(bytes.len + 8 < sizeof more);
    memcpy(more, bytes.p, bytes.len);
    memset(more + bytes.len, 'E', 8);
    for (size_t cut = 0; cut <= bytes.len + 8; cut++) {
        struct net_proxy p;
        size_t len = 0;
        int got = net_proxy_parse(span_make(more, cut), &p, &len);

        if (!decided && got == BRANT_ETRYLATER) {
            assert_true(cut < bytes.len);
            continue;
        }
        decided = true;
        assert_int_equal(got, rc);
        if (rc == BRANT_OK) {
            assert_int_equal(len, bytes.len);
            assert_true(cut >= bytes.len);
        }
    }
}

static void test_samples(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof SAMPLES / sizeof *SAMPLES; i++) {
        const struct sample *s = &SAMPLES[i];
        struct net_proxy p = {.source.family = 99};
        size_t len = 0;
        int rc = net_proxy_parse(s->bytes, &p, &len);

        if (rc != s->rc)
            fail_msg("sample %zu: %s", i, brant_err_text(rc));
        every_cut(s->bytes, s->rc);
        if (rc) {
            assert_int_equal(p.source.family, 99);
            continue;
        }
        assert_int_equal(p.kind, s->kind);
        check_address(&p.source, s->source, s->source_port);
        check_address(&p.destination, s->destination, s->destination_port);
    }
}

/* The first wrong byte is enough. */
static void test_early(void **state)
{
    (void)state;
    static const struct span texts[] = {
        SPAN_LIT("E"),
        SPAN_LIT("PROXX"),
        SPAN_LIT("PROXY X"),
        SPAN_LIT("PROXY TCP5"),
        SPAN_LIT("PROXY TCP4 x"),
        SPAN_LIT("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n"),
        SPAN_LIT("\r\r"),
        SPAN_LIT("\r\n\r\n\r"),
        SPAN_LIT(SIGNATURE "\x23"),
        SPAN_LIT(SIGNATURE "\x21\x12"),
        SPAN_LIT(SIGNATURE "\x21\x11\x00\x01"),
    };

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct net_proxy p;
        size_t len;

        assert_int_equal(net_proxy_parse(texts[i], &p, &len), BRANT_ESYNTAX);
        assert_int_equal(net_proxy_parse(span_sub(texts[i], 0, texts[i].len - 1), &p, &len), BRANT_ETRYLATER);
    }
}

/* The longest block: as many TLVs as fit, of a Unix address too. */
static void test_largest(void **state)
{
    (void)state;
    uint8_t bytes[NET_PROXY_BYTES_MAX] = SIGNATURE "\x21\x31\x08\x00";
    struct net_proxy p;
    size_t len, at = 16 + 216;

    memset(bytes + 16, 'x', 216);
    while (at + 3 <= sizeof bytes) {
        size_t room = sizeof bytes - at - 3;
        size_t n = room >= 6 ? 3 : room; /* never leaves a rest too short for a TLV */

        bytes[at] = 0xe0;
        bytes[at + 1] = 0;
        bytes[at + 2] = (uint8_t)n;
        at += 3 + n;
    }
    assert_int_equal(at, sizeof bytes);
    assert_int_equal(net_proxy_parse(span_make(bytes, sizeof bytes), &p, &len), BRANT_OK);
    assert_int_equal(p.kind, NET_PROXY_UNKNOWN);
    assert_int_equal(len, sizeof bytes);
    every_cut(span_make(bytes, sizeof bytes), BRANT_OK);
}

/* Bit by bit, from the definition: independent of the code under test only in its direction. */
static uint32_t reference_crc(const uint8_t *p, size_t len)
{
    uint32_t crc = 0xffffffff;

    for (size_t i = 0; i < len; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            unsigned feedback = (crc & 1) ^ (p[i] >> bit & 1u);

            crc >>= 1;
            if (feedback)
                crc ^= 0x82f63b78u;
        }
    return ~crc;
}

static void test_checksum(void **state)
{
    (void)state;
    uint8_t bytes[] = SIGNATURE "\x21\x11\x00\x1a" V4_BLOCK "\x04\x00\x01x\x03\x00\x04\0\0\0\0\x04\x00\x00";
    size_t len = sizeof bytes - 1, at = 16 + 12 + 4 + 3;
    struct net_proxy p;
    size_t used;

    bytes[15] = (uint8_t)(len - 16);
    assert_int_equal(reference_crc((const uint8_t *)"123456789", 9),
                     0xe3069283); /* the published check value */
    uint32_t crc = reference_crc(bytes, len);
    for (size_t i = 0; i < 4; i++)
        bytes[at + i] = (uint8_t)(crc >> (24 - 8 * i));
    every_cut(span_make(bytes, len), BRANT_OK);
    for (size_t i = 16; i < len; i++) {
        if (i >= 16 + 12 && (i < at || i >= at + 4))
            continue; /* types and lengths of other TLVs: then it is the structure that is wrong */
        bytes[i] ^= 1;
        assert_int_equal(net_proxy_parse(span_make(bytes, len), &p, &used), BRANT_ESYNTAX);
        bytes[i] ^= 1;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_early),
        cmocka_unit_test(test_largest),
        cmocka_unit_test(test_checksum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
