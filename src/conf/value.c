#include "conf/value.h"

#include "base/ascii.h"
#include "base/err.h"

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest first within a kind, so that the writer takes the first that divides. Decimal and binary units are
 * both understood; a bare K or M is not, because nobody knows which it means. */
static const struct unit SIZE_UNITS[] = {
    {"TiB", CONF_TiB},  {"GiB", CONF_GiB}, {"MiB", CONF_MiB}, {"KiB", CONF_KiB}, {"TB", 1000000000000},
    {"GB", 1000000000}, {"MB", 1000000},   {"KB", 1000},      {"B", 1},          {NULL, 0}};

static const struct unit TIME_UNITS[] = {{"d", CONF_D}, {"h", CONF_H}, {"min", CONF_MIN},
                                         {"s", CONF_S}, {"ms", 1},     {NULL, 0}};

static const struct {
    const char *word, *unit;
} TIME_WORDS[] = {{"day", "d"},      {"days", "d"},      {"hour", "h"}, {"hours", "h"},  {"m", "min"},
                  {"minute", "min"}, {"minutes", "min"}, {"sec", "s"},  {"second", "s"}, {"seconds", "s"}};

static void put_units(struct buf *out, uint64_t value, const struct unit *units)
{
    if (value == 0) {
        buf_append_str(out, "0");
        return;
    }
    while (value % units->factor)
        units++;
    buf_printf(out, "%llu %s", (unsigned long long)(value / units->factor), units->name);
}

void conf_size_format(struct buf *out, uint64_t bytes)
{
    put_units(out, bytes, SIZE_UNITS);
}

void conf_put_duration(struct buf *out, uint64_t ms)
{
    put_units(out, ms, TIME_UNITS);
}

void conf_put_address(struct buf *out, const struct ip_addr *a)
{
    char text[IP_TEXT_MAX] = "";

    ip_format(a, text);
    buf_printf(out, a->family == IP_V6 ? "[%s]:%u" : "%s:%u", text, a->port);
}

static const struct unit *find_unit(struct span name, const struct unit *units)
{
    for (size_t i = 0; units == TIME_UNITS && i < sizeof TIME_WORDS / sizeof TIME_WORDS[0]; i++) {
        if (span_eq_str_nocase(name, TIME_WORDS[i].word))
            name = span_str(TIME_WORDS[i].unit);
    }
    for (; units->name; units++) {
        if (span_eq_str_nocase(name, units->name))
            return units;
    }
    return NULL;
}

/* "allowed is …": what every refusal ends in. */
static int allowed(struct buf *why, const struct conf_key *k)
{
    buf_append_str(why, "; allowed is ");
    conf_key_describe(k, why);
    return BRANT_ESYNTAX;
}

static size_t digits_at_front(struct span s)
{
    size_t n = 0;

    while (n < s.len && ascii_is_digit(s.p[n]))
        n++;
    return n;
}

static int out_of_range(struct buf *why, const struct conf_key *k, bool small)
{
    buf_append_str(why, small ? "too small" : "too large");
    return allowed(why, k);
}

static int parse_int(const struct conf_key *k, struct span value, struct buf *why, uint64_t *ret)
{
    uint64_t n;
    int rc = span_to_u64(value, k->max, &n);

    if (rc == BRANT_ESYNTAX) {
        buf_append_str(why, "not a whole number");
        return allowed(why, k);
    }
    if (rc != BRANT_OK || n < k->min)
        return out_of_range(why, k, rc == BRANT_OK);
    *ret = n;
    return BRANT_OK;
}

/* A whole number and a unit, with or without a blank between; "0" needs no unit. */
static int parse_measure(const struct conf_key *k, struct span value, const struct unit *units,
                         struct buf *why, uint64_t *ret)
{
    size_t digits = digits_at_front(value);
    struct span unit_name = span_trim(span_from(value, digits));
    const char *example = units == SIZE_UNITS ? "50 MiB" : "5 min";
    const struct unit *unit = find_unit(unit_name, units);
    uint64_t n, bytes;
    int rc = span_to_u64(span_sub(value, 0, digits), UINT64_MAX, &n);

    if (digits == 0 || (unit_name.len && unit_name.p[0] == '.')) {
        buf_printf(why, "not a whole number with a unit; write for example %s", example);
        return allowed(why, k);
    }
    if (unit_name.len == 0 && (rc != BRANT_OK || n != 0)) {
        buf_printf(why, "the unit is missing; write for example %s", example);
        return allowed(why, k);
    }
    if (unit_name.len && !unit) {
        buf_printf(why, "unknown unit \"%.*s\"; write for example %s",
                   (int)(unit_name.len < 16 ? unit_name.len : 16), (const char *)unit_name.p, example);
        return allowed(why, k);
    }
    if (rc != BRANT_OK || __builtin_mul_overflow(n, unit ? unit->factor : 1, &bytes) || bytes > k->max)
        return out_of_range(why, k, false);
    if (bytes < k->min)
        return out_of_range(why, k, true);
    *ret = bytes;
    return BRANT_OK;
}

int conf_size_parse(struct span text, uint64_t *ret)
{
    size_t digits = digits_at_front(text);
    struct span unit_name = span_trim(span_from(text, digits));
    const struct unit *unit = find_unit(unit_name, SIZE_UNITS);
    uint64_t n, bytes;
    int rc = span_to_u64(span_sub(text, 0, digits), UINT64_MAX, &n);

    if (rc != BRANT_OK)
        return rc;
    if (!unit && (unit_name.len || n))
        return BRANT_ESYNTAX;
    if (__builtin_mul_overflow(n, unit ? unit->factor : 1, &bytes))
        return BRANT_ELIMIT;
    *ret = bytes;
    return BRANT_OK;
}

static int parse_enum(const struct conf_key *k, struct span value, struct buf *why, unsigned *ret)
{
    struct span rest = span_str(k->choices);

    for (unsigned i = 0; rest.len; i++) {
        struct span one = span_sub(rest, 0, span_find_byte(rest, '|'));

        if (span_eq_nocase(one, value)) {
            *ret = i;
            return BRANT_OK;
        }
        rest = span_from(rest, one.len + 1);
    }
    buf_append_str(why, "unknown choice");
    return allowed(why, k);
}

static int keep_text(struct conf *c, struct span value, const char **ret)
{
    const char *text = arena_cstr(&c->arena, value);

    if (!text)
        return BRANT_ELIMIT;
    *ret = text;
    return BRANT_OK;
}

static int parse_string(struct conf *c, const struct conf_key *k, struct span value, struct buf *why,
                        const char **ret)
{
    for (size_t i = 0; i < value.len; i++) {
        if (value.p[i] <= ' ' || value.p[i] >= 0x7f) {
            buf_append_str(why, "blanks and characters outside ASCII are not possible here");
            return allowed(why, k);
        }
    }
    if (value.len < k->min || value.len > k->max)
        return out_of_range(why, k, value.len < k->min);
    return keep_text(c, value, ret);
}

static int parse_path(struct conf *c, const struct conf_key *k, struct span value, struct buf *why,
                      const char **ret)
{
    bool word = span_eq_str(value, "stderr") && span_eq_str(value, k->def);

    if (!word && (value.len ? value.p[0] != '/' : k->min > 0)) {
        buf_append_str(why, "does not begin with /");
        return allowed(why, k);
    }
    if (value.len > k->max) {
        buf_printf(why, "longer than %llu bytes", (unsigned long long)k->max);
        return allowed(why, k);
    }
    while (value.len > 1 && value.p[value.len - 1] == '/')
        value.len--;
    return keep_text(c, value, ret);
}

/* RFC 1123 2.1: letters, digits and hyphens, no hyphen at either end, 1 to 63 characters. */
static bool label_valid(struct span label)
{
    if (label.len == 0 || label.len > 63 || label.p[0] == '-' || label.p[label.len - 1] == '-')
        return false;
    for (size_t i = 0; i < label.len; i++) {
        if (!ascii_is_alnum(label.p[i]) && label.p[i] != '-')
            return false;
    }
    return true;
}

static bool hostname_valid(struct span name)
{
    size_t labels = 0;

    for (;;) {
        size_t dot = span_find_byte(name, '.');

        if (!label_valid(span_sub(name, 0, dot)))
            return false;
        labels++;
        if (dot == SPAN_NPOS) /* an all-digit last label would be an address */
            return labels > 1 && digits_at_front(name) < name.len;
        name = span_from(name, dot + 1);
    }
}

static int parse_hostname(struct conf *c, const struct conf_key *k, struct span value, struct buf *why,
                          const char **ret)
{
    char *text;

    if (value.len && value.p[value.len - 1] == '.')
        value.len--;
    if ((value.len || k->min) && (value.len > k->max || !hostname_valid(value))) {
        buf_append_str(why, "not a full host name; write for example mail.example.org, and names with "
                            "other letters in their xn-- form");
        return BRANT_ESYNTAX;
    }
    text = arena_cstr(&c->arena, value);
    if (!text)
        return BRANT_ELIMIT;
    for (size_t i = 0; i < value.len; i++)
        text[i] = (char)ascii_lower((uint8_t)text[i]);
    *ret = text;
    return BRANT_OK;
}

/* The networks behind "proxy=" or "xclient=" of a listener. */
static int add_network(struct span text, struct buf *why, struct conf_networks *nets)
{
    struct ip_net net;

    if (ip_net_parse(text, &net) != BRANT_OK) {
        buf_append_str(why, "not a network: ");
        buf_append(why, span_sub(text, 0, 80));
        buf_append_str(why, "; write for example proxy=192.0.2.0/24 or proxy=2001:db8::/32");
        return BRANT_ESYNTAX;
    }
    if (nets->count == CONF_NETWORKS_MAX) {
        buf_printf(why, "more than %d networks for one listener", CONF_NETWORKS_MAX);
        return BRANT_ESYNTAX;
    }
    nets->list[nets->count++] = net;
    return BRANT_OK;
}

/* What stands behind the address of a listener. */
static int parse_listener_options(struct span text, struct buf *why, struct conf_listener *l)
{
    while (text.len) {
        struct span word = span_sub(text, 0, span_find_byte(text, ' '));
        int rc = BRANT_ESYNTAX;

        if (span_starts_nocase(word, SPAN_LIT("proxy=")))
            rc = add_network(span_from(word, 6), why, &l->proxy);
        else if (span_starts_nocase(word, SPAN_LIT("xclient=")))
            rc = add_network(span_from(word, 8), why, &l->xclient);
        else {
            buf_append_str(why, "behind the address may stand proxy=NETWORK and xclient=NETWORK, not ");
            buf_append(why, span_sub(word, 0, 80));
        }
        if (rc != BRANT_OK)
            return rc;
        text = span_trim(span_from(text, word.len));
    }
    return BRANT_OK;
}

/* One ADDRESS:PORT. */
static int parse_address(struct span text, struct buf *why, struct ip_addr *ret)
{
    size_t colon = span_rfind_byte(text, ':');
    struct span host = span_sub(text, 0, colon), port_text = SPAN_NONE;
    bool brackets = host.len > 2 && host.p[0] == '[' && host.p[host.len - 1] == ']';
    struct ip_addr a;
    uint64_t port;

    if (colon != SPAN_NPOS)
        port_text = span_from(text, colon + 1);
    if (brackets)
        host = span_sub(host, 1, host.len - 2);
    if (ip_parse(text, &a) == BRANT_OK) {
        buf_append_str(why, "the port is missing; write for example ");
        a.port = 25;
        conf_put_address(why, &a);
        return BRANT_ESYNTAX;
    }
    if (ip_parse(host, &a) != BRANT_OK || brackets != (a.family == IP_V6)) {
        buf_append_str(why, "not an address with a port; write for example 0.0.0.0:25 or [::]:25");
        return BRANT_ESYNTAX;
    }
    if (span_to_u64(port_text, 65535, &port) != BRANT_OK || port == 0) {
        buf_append_str(why, "not a port; allowed is a number from 1 to 65535");
        return BRANT_ESYNTAX;
    }
    a.port = (uint16_t)port;
    *ret = a;
    return BRANT_OK;
}

static int add_address(const struct conf_key *k, struct span text, struct buf *why,
                       struct conf_addresses *list)
{
    struct conf_listener l = {0};
    struct span first = span_sub(text, 0, span_find_byte(text, ' '));
    int rc = parse_address(first, why, &l.address);

    if (rc == BRANT_OK)
        rc = parse_listener_options(span_trim(span_from(text, first.len)), why, &l);
    if (rc != BRANT_OK)
        return rc;
    if (conf_listener_find(list, &l.address)) {
        conf_put_address(why, &l.address);
        buf_append_str(why, " is there twice; leave one of them out");
        return BRANT_ESYNTAX;
    }
    if (list->count == CONF_ADDRESSES_MAX) {
        buf_append_str(why, "too many");
        return allowed(why, k);
    }
    list->list[list->count++] = l;
    return BRANT_OK;
}

static int parse_addresses(const struct conf_key *k, struct span value, struct buf *why,
                           struct conf_addresses *list)
{
    if (span_eq_str_nocase(value, "none"))
        return BRANT_OK;
    for (size_t i = 0; i <= CONF_ADDRESSES_MAX; i++) {
        struct span one = span_sub(value, 0, span_find_byte(value, ','));
        int rc = add_address(k, span_trim(one), why, list);

        if (rc != BRANT_OK)
            return rc;
        if (one.len == value.len)
            return BRANT_OK;
        value = span_from(value, one.len + 1);
    }
    buf_append_str(why, "too many");
    return allowed(why, k);
}

static bool is_path(struct span text)
{
    return text.len > 1 && text.len <= 255 && text.p[0] == '/';
}

static int parse_certificate(struct conf *c, struct span value, struct buf *why,
                             struct conf_certificates *list)
{
    size_t blank = span_find_byte(value, ' ');
    struct span chain = span_sub(value, 0, blank);
    struct span key = blank == SPAN_NPOS ? SPAN_NONE : span_trim(span_from(value, blank));

    if (!is_path(chain) || !is_path(key) || span_find_byte(key, ' ') != SPAN_NPOS) {
        buf_append_str(why, "not a chain and its key; write two paths without blanks and commas, for example "
                            "/etc/brant/mail.crt /etc/brant/mail.key");
        return BRANT_ESYNTAX;
    }
    if (list->count == CONF_CERTIFICATES_MAX) {
        buf_printf(why, "more than %d certificates", CONF_CERTIFICATES_MAX);
        return BRANT_ESYNTAX;
    }
    if (keep_text(c, chain, &list->list[list->count].chain) ||
        keep_text(c, key, &list->list[list->count].key))
        return BRANT_ELIMIT;
    list->count++;
    return BRANT_OK;
}

static int parse_certificates(struct conf *c, struct span value, struct buf *why,
                              struct conf_certificates *list)
{
    int rc = BRANT_OK;

    if (span_eq_str_nocase(value, "none"))
        return BRANT_OK;
    while (rc == BRANT_OK && value.len) {
        struct span one = span_sub(value, 0, span_find_byte(value, ','));

        rc = parse_certificate(c, span_trim(one), why, list);
        value = span_from(value, one.len + 1);
    }
    return rc;
}

int conf_value_parse(struct conf *c, const struct conf_key *k, struct span value, struct buf *why)
{
    void *field = (char *)c + k->offset;

    switch (k->type) {
    case CONF_TYPE_INT:
        return parse_int(k, value, why, field);
    case CONF_TYPE_SIZE:
        return parse_measure(k, value, SIZE_UNITS, why, field);
    case CONF_TYPE_DURATION:
        return parse_measure(k, value, TIME_UNITS, why, field);
    case CONF_TYPE_ENUM:
        return parse_enum(k, value, why, field);
    case CONF_TYPE_STRING:
        return parse_string(c, k, value, why, field);
    case CONF_TYPE_PATH:
        return parse_path(c, k, value, why, field);
    case CONF_TYPE_HOSTNAME:
        return parse_hostname(c, k, value, why, field);
    case CONF_TYPE_ADDRESSES:
        return parse_addresses(k, value, why, field);
    case CONF_TYPE_CERTIFICATES:
        return parse_certificates(c, value, why, field);
    case CONF_TYPE_COUNT:
        break;
    }
    return BRANT_ESYNTAX;
}

void conf_keys_dir(const struct conf *c, char ret[CONF_KEYS_DIR_MAX])
{
    const char *from = c->keys_dir[0] ? c->keys_dir : c->data_dir; /* 255 bytes at most */
    size_t len = strnlen(from, CONF_KEYS_DIR_MAX - sizeof "-keys");
    memcpy(ret, from, len);
    memcpy(ret + len, c->keys_dir[0] ? "" : "-keys", c->keys_dir[0] ? 1 : sizeof "-keys");
}

const struct conf_listener *conf_listener_find(const struct conf_addresses *list,
                                               const struct ip_addr *address)
{
    for (size_t i = 0; i < list->count; i++)
        if (ip_eq(&list->list[i].address, address) && list->list[i].address.port == address->port)
            return &list->list[i];
    return NULL;
}

bool conf_networks_contain(const struct conf_networks *nets, const struct ip_addr *a)
{
    for (size_t i = 0; i < nets->count; i++)
        if (ip_net_contains(&nets->list[i], a))
            return true;
    return false;
}
