/* Conditions between keys. */
#include <stddef.h>

#include "base/ascii.h"
#include "conf/value.h"

struct check {
    const struct conf *conf;
    const unsigned *line_of;
    const char *file_name;
    struct conf_errors *errors;
};

enum { WAL_LIMIT_MIB = 64, OWN_UIDS = 16 };

/* The line of the later of two keys: most likely the one just changed. */
static unsigned line_of_pair(const struct check *ck, const char *a, const char *b)
{
    unsigned line_a = ck->line_of[conf_key_find(span_str(a)) - conf_key_at(0)];
    unsigned line_b = ck->line_of[conf_key_find(span_str(b)) - conf_key_at(0)];

    return line_a > line_b ? line_a : line_b;
}

/* The smaller value has to stay at or below the larger one. */
static void at_most(const struct check *ck, const char *small, uint64_t small_value, const char *large,
                    uint64_t large_value, void (*put)(struct buf *, uint64_t))
{
    _cleanup_buf_ struct buf s, l;

    buf_init(&s, 64);
    buf_init(&l, 64);
    put(&s, small_value);
    put(&l, large_value);
    if (small_value > large_value)
        conf_error_add(ck->errors, ck->file_name, line_of_pair(ck, small, large),
                       "%s = %s is more than %s = %s; make %s smaller or %s larger", small, buf_cstr(&s),
                       large, buf_cstr(&l), small, large);
}

static void put_number(struct buf *out, uint64_t n)
{
    buf_append_u64(out, n);
}

/* The journal must be able to take the largest message and a full write-ahead log below the reserve. */
static void check_reserve(const struct check *ck)
{
    uint64_t least = WAL_LIMIT_MIB * CONF_MiB + ck->conf->max_message_size_bytes / 2 * 3;
    _cleanup_buf_ struct buf have, need;

    buf_init(&have, 64);
    buf_init(&need, 64);
    conf_size_format(&have, ck->conf->disk_reserve_bytes);
    conf_size_format(&need, (least + CONF_MiB - 1) / CONF_MiB * CONF_MiB);
    if (ck->conf->disk_reserve_bytes < least)
        conf_error_add(ck->errors, ck->file_name, line_of_pair(ck, "disk_reserve", "max_message_size"),
                       "disk_reserve = %s is too small for max_message_size; write at least %s",
                       buf_cstr(&have), buf_cstr(&need));
}

static bool addresses_clash(const struct ip_addr *a, const struct ip_addr *b)
{
    static const uint8_t zero[16];
    bool any_a = memcmp(a->bytes, zero, sizeof zero) == 0, any_b = memcmp(b->bytes, zero, sizeof zero) == 0;

    return a->port == b->port && a->family == b->family && (ip_eq(a, b) || any_a || any_b);
}

static const struct {
    const char *key;
    size_t offset;
} LISTENERS[] = {
    {"listen.smtp", offsetof(struct conf, listen_smtp)},
    {"listen.submission", offsetof(struct conf, listen_submission)},
    {"listen.submissions", offsetof(struct conf, listen_submissions)},
    {"listen.pop3", offsetof(struct conf, listen_pop3)},
    {"listen.pop3s", offsetof(struct conf, listen_pop3s)},
    {"listen.imap", offsetof(struct conf, listen_imap)},
    {"listen.imaps", offsetof(struct conf, listen_imaps)},
    {"listen.lmtp", offsetof(struct conf, listen_lmtp)},
};

static void check_pair(const struct check *ck, size_t a, size_t b)
{
    const char *base = (const char *)ck->conf;
    const struct conf_addresses *first = (const void *)(base + LISTENERS[a].offset);
    const struct conf_addresses *second = (const void *)(base + LISTENERS[b].offset);
    _cleanup_buf_ struct buf text;

    buf_init(&text, 80);
    for (size_t i = 0; i < first->count; i++) {
        for (size_t j = 0; j < second->count; j++) {
            if (!addresses_clash(&first->list[i].address, &second->list[j].address))
                continue;
            buf_reset(&text);
            conf_put_address(&text, &second->list[j].address);
            conf_error_add(ck->errors, ck->file_name, line_of_pair(ck, LISTENERS[a].key, LISTENERS[b].key),
                           "%s = %s is taken by %s; give one of them another port", LISTENERS[b].key,
                           buf_cstr(&text), LISTENERS[a].key);
        }
    }
}

static void check_listeners(const struct check *ck)
{
    for (size_t a = 0; a < sizeof LISTENERS / sizeof *LISTENERS; a++)
        for (size_t b = a + 1; b < sizeof LISTENERS / sizeof *LISTENERS; b++)
            check_pair(ck, a, b);
}

/* XCLIENT is a command of SMTP. */
static void check_xclient(const struct check *ck)
{
    const struct conf_addresses *lists[] = {&ck->conf->listen_pop3, &ck->conf->listen_pop3s,
                                            &ck->conf->listen_imap, &ck->conf->listen_imaps};
    const char *const keys[] = {"listen.pop3", "listen.pop3s", "listen.imap", "listen.imaps"};

    for (size_t n = 0; n < sizeof lists / sizeof *lists; n++)
        for (size_t i = 0; i < lists[n]->count; i++)
            if (lists[n]->list[i].xclient.count)
                conf_error_add(ck->errors, ck->file_name, line_of_pair(ck, keys[n], keys[n]),
                               "%s: xclient= is for listeners of SMTP; use proxy= here", keys[n]);
}

/* A delimiter has to be a character that needs no quotes in an address, and none that has another meaning. */
static void check_delimiter(const struct check *ck)
{
    const char *d = ck->conf->recipient_delimiter;

    if (d[0] && !strchr("+-_=#!~%&*'/", d[0]))
        conf_error_add(ck->errors, ck->file_name,
                       line_of_pair(ck, "recipient_delimiter", "recipient_delimiter"),
                       "recipient_delimiter = %s: cannot separate a detail; write for example + or -", d);
}

static void check_uids(const struct check *ck)
{
    uint64_t first = ck->conf->uid_base, last = first + OWN_UIDS - 1;

    if (first <= 65535 && last >= 65534) /* nobody, and the old (uid_t)-1 */
        conf_error_add(ck->errors, ck->file_name, line_of_pair(ck, "uid_base", "uid_base"),
                       "uid_base = %llu: the %d ids from here on contain 65534 (nobody) or 65535; "
                       "write for example 60600",
                       (unsigned long long)first, OWN_UIDS);
}

void conf_check(const struct conf *c, const unsigned *line_of, const char *file_name,
                struct conf_errors *errors)
{
    struct check ck = {c, line_of, file_name, errors};

    at_most(&ck, "max_header_size", c->max_header_size_bytes, "max_message_size", c->max_message_size_bytes,
            conf_size_format);
    at_most(&ck, "max_header_size", c->max_header_size_bytes, "header_pool", c->header_pool_bytes,
            conf_size_format);
    at_most(&ck, "max_connections_per_source", c->max_connections_per_source, "max_connections",
            c->max_connections, put_number);
    at_most(&ck, "pop3_max_sessions", c->pop3_max_sessions, "max_connections", c->max_connections,
            put_number);
    at_most(&ck, "imap_max_sessions", c->imap_max_sessions, "max_connections", c->max_connections,
            put_number);
    at_most(&ck, "smtp_timeout_command", c->smtp_timeout_command_ms, "smtp_session_max",
            c->smtp_session_max_ms, conf_put_duration);
    at_most(&ck, "smtp_timeout_data", c->smtp_timeout_data_ms, "smtp_session_max", c->smtp_session_max_ms,
            conf_put_duration);
    check_reserve(&ck);
    check_listeners(&ck);
    check_xclient(&ck);
    check_delimiter(&ck);
    check_uids(&ck);
}
