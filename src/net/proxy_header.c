#include "net/proxy_header.h"

#include "base/ascii.h"
#include "base/err.h"

/* --- version 1: one line of text (2.1) --- */

enum { V1_ADDRESS_BYTES_MAX = 39, V1_PORT_BYTES_MAX = 5 };

/* Takes the expected text off the front: BRANT_OK, BRANT_ETRYLATER when only a part of it is there. */
static int take_text(struct span *rest, const char *text)
{
    struct span want = span_str(text);
    size_t n = rest->len < want.len ? rest->len : want.len;

    if (n && memcmp(rest->p, want.p, n) != 0)
        return BRANT_ESYNTAX;
    if (n < want.len)
        return BRANT_ETRYLATER;
    *rest = span_from(*rest, want.len);
    return BRANT_OK;
}

/* Takes a word of the given characters and the one byte that must end it. */
static int take_word(struct span *rest, bool (*belongs)(uint8_t), size_t len_max, uint8_t end,
                     struct span *ret)
{
    size_t n = 0;

    while (n < rest->len && belongs(rest->p[n]))
        n++;
    if (n > len_max)
        return BRANT_ESYNTAX;
    if (n == rest->len)
        return BRANT_ETRYLATER;
    if (n == 0 || rest->p[n] != end)
        return BRANT_ESYNTAX;
    *ret = span_sub(*rest, 0, n);
    *rest = span_from(*rest, n + 1);
    return BRANT_OK;
}

static bool in_v4(uint8_t c)
{
    return ascii_is_digit(c) || c == '.';
}

static bool in_v6(uint8_t c)
{
    return ascii_hex_value(c) >= 0 || c == ':' || c == '.';
}

static int take_address(struct span *rest, bool v6, struct ip_addr *ret)
{
    struct span word;
    struct ip_addr a;
    int rc = take_word(rest, v6 ? in_v6 : in_v4, V1_ADDRESS_BYTES_MAX, ' ', &word);

    if (rc)
        return rc;
    if (ip_parse(word, &a) || (span_find_byte(word, ':') != SPAN_NPOS) != v6)
        return BRANT_ESYNTAX;
    *ret = a;
    return BRANT_OK;
}

static int take_port(struct span *rest, uint8_t end, uint16_t *ret)
{
    struct span word;
    uint64_t value;
    int rc = take_word(rest, ascii_is_digit, V1_PORT_BYTES_MAX, end, &word);

    if (rc)
        return rc;
    if ((word.len > 1 && word.p[0] == '0') || span_to_u64(word, UINT16_MAX, &value))
        return BRANT_ESYNTAX;
    *ret = (uint16_t)value;
    return BRANT_OK;
}

static int v1_addresses(struct span *rest, bool v6, struct net_proxy *ret)
{
    struct net_proxy p = {.kind = NET_PROXY_PROXIED};
    int rc = take_address(rest, v6, &p.source);

    if (!rc)
        rc = take_address(rest, v6, &p.destination);
    if (!rc)
        rc = take_port(rest, ' ', &p.source.port);
    if (!rc)
        rc = take_port(rest, '\r', &p.destination.port);
    if (!rc)
        rc = take_text(rest, "\n");
    if (!rc)
        *ret = p;
    return rc;
}

/* "UNKNOWN": anything up to CRLF is to be ignored. */
static int v1_unknown(struct span *rest, struct net_proxy *ret)
{
    size_t end;

    if (rest->len == 0)
        return BRANT_ETRYLATER;
    if (rest->p[0] != ' ' && rest->p[0] != '\r')
        return BRANT_ESYNTAX;
    end = span_find(*rest, SPAN_LIT("\r\n"));
    if (end == SPAN_NPOS)
        return BRANT_ETRYLATER;
    *rest = span_from(*rest, end + 2);
    *ret = (struct net_proxy){.kind = NET_PROXY_UNKNOWN};
    return BRANT_OK;
}

static int v1_body(struct span *rest, struct net_proxy *ret)
{
    int rc = take_text(rest, "PROXY ");

    if (rc)
        return rc;
    if (rest->len && rest->p[0] == 'U') {
        rc = take_text(rest, "UNKNOWN");
        return rc ? rc : v1_unknown(rest, ret);
    }
    rc = take_text(rest, "TCP");
    if (rc)
        return rc;
    if (rest->len == 0)
        return BRANT_ETRYLATER;
    if (rest->p[0] != '4' && rest->p[0] != '6')
        return BRANT_ESYNTAX;
    bool v6 = rest->p[0] == '6';
    *rest = span_from(*rest, 1);
    rc = take_text(rest, " ");
    return rc ? rc : v1_addresses(rest, v6, ret);
}

static int parse_v1(struct span in, struct net_proxy *ret, size_t *ret_len)
{
    struct span line = span_sub(in, 0, NET_PROXY_V1_BYTES_MAX);
    struct span rest = line;
    int rc = v1_body(&rest, ret);

    if (rc == BRANT_OK)
        *ret_len = line.len - rest.len;
    if (rc == BRANT_ETRYLATER && in.len >= NET_PROXY_V1_BYTES_MAX)
        return BRANT_ELIMIT;
    return rc;
}

/* --- version 2: binary (2.2) --- */

enum { V2_HEAD_BYTES = 16, V2_UNIX_BYTES = 216, TLV_HEAD_BYTES = 3, TLV_CRC32C = 0x03 };

static const char SIGNATURE[] = "\r\n\r\n";        /* up to its NUL … */
static const char SIGNATURE_REST[] = "\r\nQUIT\n"; /* … and behind it */

static uint16_t get_be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

/* The length of the addresses for a family and transport byte; -1: this one is refused. */
static int address_bytes(uint8_t family)
{
    switch (family) {
    case 0x00: /* AF_UNSPEC, UNSPEC */
        return 0;
    case 0x11: /* AF_INET, STREAM */
        return 12;
    case 0x21: /* AF_INET6, STREAM */
        return 36;
    case 0x31: /* AF_UNIX, STREAM */
        return V2_UNIX_BYTES;
    default: /* datagrams and reserved values */
        return -1;
    }
}

/* CRC32C (RFC 3720 B.4) over `in`, whose four bytes at `hole` count as zero (2.2.4). */
static uint32_t crc32c(struct span in, size_t hole)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < in.len; i++) {
        crc ^= i >= hole && i - hole < 4 ? 0 : in.p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0x82f63b78u & (0u - (crc & 1)));
    }
    return ~crc;
}

/* Walks the TLVs from `at` to the end of the header. */
static int check_tlvs(struct span header, size_t at)
{
    bool summed = false;

    while (at < header.len) {
        const uint8_t *p = header.p + at;

        if (header.len - at < TLV_HEAD_BYTES)
            return BRANT_ESYNTAX;
        size_t len = get_be16(p + 1);
        at += TLV_HEAD_BYTES;
        if (len > header.len - at)
            return BRANT_ESYNTAX;
        if (p[0] == TLV_CRC32C) {
            if (len != 4 || summed)
                return BRANT_ESYNTAX;
            uint32_t want = (uint32_t)get_be16(p + 3) << 16 | get_be16(p + 5);
            if (crc32c(header, at) != want)
                return BRANT_ESYNTAX;
            summed = true;
        }
        at += len;
    }
    return BRANT_OK;
}

static struct ip_addr v2_address(const uint8_t *p, size_t len, const uint8_t *port)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct ip_addr a = {.family = len == 4 ? IP_V4 : IP_V6, .port = get_be16(port)};

    if (len == 16 && memcmp(p, mapped, sizeof mapped) == 0) {
        a.family = IP_V4;
        p += sizeof mapped;
        len = 4;
    }
    memcpy(a.bytes, p, len);
    return a;
}

/* The whole header is there. */
static int v2_addresses(struct span header, struct net_proxy *ret)
{
    struct net_proxy p = {.kind = NET_PROXY_UNKNOWN};
    size_t each = header.p[13] == 0x11 ? 4 : header.p[13] == 0x21 ? 16 : 0;
    const uint8_t *block = header.p + V2_HEAD_BYTES;
    int rc = check_tlvs(header, V2_HEAD_BYTES + (size_t)address_bytes(header.p[13]));

    if (rc)
        return rc;
    if (each) {
        p.kind = NET_PROXY_PROXIED;
        p.source = v2_address(block, each, block + 2 * each);
        p.destination = v2_address(block + each, each, block + 2 * each + 2);
    }
    *ret = p;
    return BRANT_OK;
}

static int parse_v2(struct span in, struct net_proxy *ret, size_t *ret_len)
{
    struct span rest = in;
    int rc = take_text(&rest, SIGNATURE);

    if (rc)
        return rc;
    if (rest.len == 0)
        return BRANT_ETRYLATER;
    if (rest.p[0] != '\0')
        return BRANT_ESYNTAX;
    rest = span_from(rest, 1);
    rc = take_text(&rest, SIGNATURE_REST);
    if (rc)
        return rc;
    /* Version 2; command 0 LOCAL, 1 PROXY. A LOCAL header's family is ignored. */
    if (rest.len && rest.p[0] != 0x20 && rest.p[0] != 0x21)
        return BRANT_ESYNTAX;
    bool local = rest.len && rest.p[0] == 0x20;
    if (!local && rest.len > 1 && address_bytes(rest.p[1]) < 0)
        return BRANT_ESYNTAX;
    if (rest.len < 4)
        return BRANT_ETRYLATER;
    size_t len = get_be16(rest.p + 2);
    if (len > NET_PROXY_V2_BLOCK_BYTES_MAX)
        return BRANT_ELIMIT;
    if (!local && len < (size_t)address_bytes(rest.p[1]))
        return BRANT_ESYNTAX;
    if (rest.len - 4 < len)
        return BRANT_ETRYLATER;
    if (local)
        *ret = (struct net_proxy){.kind = NET_PROXY_LOCAL};
    else
        rc = v2_addresses(span_sub(in, 0, V2_HEAD_BYTES + len), ret);
    if (!rc)
        *ret_len = V2_HEAD_BYTES + len;
    return rc;
}

int net_proxy_parse(struct span in, struct net_proxy *ret, size_t *ret_len)
{
    if (in.len == 0)
        return BRANT_ETRYLATER;
    return in.p[0] == '\r' ? parse_v2(in, ret, ret_len) : parse_v1(in, ret, ret_len);
}
