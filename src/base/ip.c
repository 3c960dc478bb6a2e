#include "base/ip.h"

#include <stdio.h>

#include "base/ascii.h"
#include "base/err.h"

static const uint8_t MAPPED[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static unsigned group_at(const struct ip_addr *a, size_t i)
{
    return (unsigned)a->bytes[2 * i] << 8 | a->bytes[2 * i + 1];
}

/* RFC 5952 4.2: the longest run of two or more zero groups, the first of equals. */
static size_t longest_zero_run(const struct ip_addr *a, size_t *ret_len)
{
    size_t best = 8, best_len = 1;

    for (size_t i = 0; i < 8; i++) {
        size_t len = 0;

        while (i + len < 8 && group_at(a, i + len) == 0)
            len++;
        if (len > best_len) {
            best = i;
            best_len = len;
        }
        i += len;
    }
    *ret_len = best_len;
    return best;
}

static void format_v6(const struct ip_addr *a, char out[IP_TEXT_MAX])
{
    size_t run_len, run = longest_zero_run(a, &run_len);
    size_t at = 0;

    out[0] = '\0';
    for (size_t i = 0; i < 8; i++) {
        if (i == run) {
            at += (size_t)snprintf(out + at, IP_TEXT_MAX - at, "::");
            i += run_len - 1;
            continue;
        }
        if (i > 0 && out[at - 1] != ':')
            out[at++] = ':';
        at += (size_t)snprintf(out + at, IP_TEXT_MAX - at, "%x", group_at(a, i));
    }
}

int ip_format(const struct ip_addr *a, char out[IP_TEXT_MAX])
{
    if (a->family == IP_V4)
        snprintf(out, IP_TEXT_MAX, "%u.%u.%u.%u", a->bytes[0], a->bytes[1], a->bytes[2], a->bytes[3]);
    else if (a->family == IP_V6)
        format_v6(a, out);
    else
        return BRANT_ESTATE;
    return BRANT_OK;
}

static int parse_v4(struct span text, uint8_t out[4])
{
    for (int i = 0; i < 4; i++) {
        size_t dot = span_find_byte(text, '.');
        struct span part = span_sub(text, 0, dot);
        uint64_t value;

        if ((dot == SPAN_NPOS) != (i == 3) || part.len > 3 || (part.len > 1 && part.p[0] == '0') ||
            span_to_u64(part, 255, &value) != BRANT_OK)
            return BRANT_ESYNTAX;
        out[i] = (uint8_t)value;
        text = span_from(text, part.len + 1);
    }
    return BRANT_OK;
}

/* One hexadecimal group of 1 to 4 digits from the front of text. */
static int parse_group(struct span *text, uint8_t out[2])
{
    unsigned value = 0;
    size_t n = 0;

    while (n < text->len && ascii_hex_value(text->p[n]) >= 0) {
        value = value << 4 | (unsigned)ascii_hex_value(text->p[n]);
        if (++n > 4)
            return BRANT_ESYNTAX;
    }
    if (n == 0)
        return BRANT_ESYNTAX;
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
    *text = span_from(*text, n);
    return BRANT_OK;
}

/* Reads groups separated by single colons, up to "::" or the end. A dotted quad may be the last piece.
 * *ret_gap tells whether it stopped behind a "::". */
static int parse_groups(struct span *text, uint8_t *out, size_t room, size_t *ret_len, bool *ret_gap)
{
    size_t len = 0;

    *ret_gap = false;
    while (text->len) {
        size_t colon = span_find_byte(*text, ':');

        if (colon == SPAN_NPOS && span_find_byte(*text, '.') != SPAN_NPOS) {
            if (room - len < 4 || parse_v4(*text, out + len))
                return BRANT_ESYNTAX;
            *text = SPAN_NONE;
            len += 4;
            break;
        }
        if (room - len < 2 || parse_group(text, out + len))
            return BRANT_ESYNTAX;
        len += 2;
        if (text->len == 0)
            break;
        if (text->p[0] != ':' || text->len == 1)
            return BRANT_ESYNTAX;
        *text = span_from(*text, 1);
        if (text->p[0] == ':') {
            *text = span_from(*text, 1);
            *ret_gap = true;
            break;
        }
    }
    *ret_len = len;
    return BRANT_OK;
}

static int parse_v6(struct span text, uint8_t out[16])
{
    uint8_t head[16] = {0}, tail[16] = {0};
    size_t head_len = 0, tail_len = 0;
    bool gap, again;

    if (span_starts(text, SPAN_LIT("::"))) {
        text = span_from(text, 2);
        gap = true;
    } else if (parse_groups(&text, head, 16, &head_len, &gap)) {
        return BRANT_ESYNTAX;
    }
    if (gap && (parse_groups(&text, tail, 16 - head_len, &tail_len, &again) || again))
        return BRANT_ESYNTAX;
    /* RFC 4291 2.2: "::" stands for at least one group. */
    if (gap ? head_len + tail_len > 14 : head_len != 16)
        return BRANT_ESYNTAX;
    memset(out, 0, 16);
    memcpy(out, head, head_len);
    memcpy(out + 16 - tail_len, tail, tail_len);
    return BRANT_OK;
}

int ip_parse(struct span text, struct ip_addr *ret)
{
    struct ip_addr a = {0};

    if (parse_v4(text, a.bytes) == BRANT_OK) {
        a.family = IP_V4;
    } else {
        memset(a.bytes, 0, sizeof a.bytes);
        if (parse_v6(text, a.bytes))
            return BRANT_ESYNTAX;
        a.family = IP_V6;
        if (memcmp(a.bytes, MAPPED, sizeof MAPPED) == 0) {
            memmove(a.bytes, a.bytes + 12, 4);
            memset(a.bytes + 4, 0, 12);
            a.family = IP_V4;
        }
    }
    *ret = a;
    return BRANT_OK;
}

bool ip_is_loopback(const struct ip_addr *a)
{
    static const uint8_t one[16] = {[15] = 1};

    if (a->family == IP_V4)
        return a->bytes[0] == 127;
    return a->family == IP_V6 && memcmp(a->bytes, one, 16) == 0;
}

bool ip_eq(const struct ip_addr *a, const struct ip_addr *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, 16) == 0;
}

static unsigned net_bits(const struct ip_addr *a)
{
    return a->family == IP_V4 ? 32 : 128;
}

/* Whether the first `bits` bits of both are equal. */
static bool bits_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    uint8_t mask = (uint8_t)(0xff00u >> rest);

    return memcmp(a, b, whole) == 0 && (rest == 0 || ((a[whole] ^ b[whole]) & mask) == 0);
}

int ip_net_parse(struct span text, struct ip_net *ret)
{
    static const uint8_t zero[17];
    size_t slash = span_find_byte(text, '/');
    struct ip_net net = {0};
    uint64_t prefix = 0;
    uint8_t bytes[17] = {0};

    if (ip_parse(span_sub(text, 0, slash), &net.address))
        return BRANT_ESYNTAX;
    prefix = net_bits(&net.address);
    if (slash != SPAN_NPOS && span_to_u64(span_from(text, slash + 1), prefix, &prefix))
        return BRANT_ESYNTAX;
    net.prefix = (uint8_t)prefix;
    memcpy(bytes, net.address.bytes, sizeof net.address.bytes);
    for (unsigned i = 0; i < net.prefix; i++)
        bytes[i / 8] &= (uint8_t) ~(0x80u >> i % 8);
    if (memcmp(bytes, zero, net_bits(&net.address) / 8) != 0)
        return BRANT_ESYNTAX;
    *ret = net;
    return BRANT_OK;
}

bool ip_net_contains(const struct ip_net *net, const struct ip_addr *a)
{
    return net->address.family == a->family && a->family != IP_NONE &&
           bits_equal(net->address.bytes, a->bytes, net->prefix);
}
