#include "base/ascii.h"
#include "base/err.h"
#include "conf/value.h"

static struct span choice_at(const char *choices, unsigned index)
{
    struct span rest = span_str(choices);

    for (; index; index--)
        rest = span_from(rest, span_find_byte(rest, '|') + 1);
    return span_sub(rest, 0, span_find_byte(rest, '|'));
}

/* Quotes only where the value would be read differently without them. */
static void put_text(struct buf *out, const char *text)
{
    struct span s = span_str(text);
    bool quote = s.len == 0 || s.p[0] == '"' || s.p[0] == '#' || span_trim(s).len != s.len ||
                 span_find(s, SPAN_LIT(" #")) != SPAN_NPOS || span_find(s, SPAN_LIT("\t#")) != SPAN_NPOS;

    if (quote)
        buf_append_byte(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        if (quote && (s.p[i] == '"' || s.p[i] == '\\'))
            buf_append_byte(out, '\\');
        buf_append_byte(out, s.p[i]);
    }
    if (quote)
        buf_append_byte(out, '"');
}

static void put_networks(struct buf *out, const char *lead, const struct conf_networks *nets)
{
    char text[IP_TEXT_MAX];

    for (size_t i = 0; i < nets->count; i++) {
        ip_format(&nets->list[i].address, text);
        buf_printf(out, "%s%s/%u", lead, text, nets->list[i].prefix);
    }
}

static void put_addresses(struct buf *out, const struct conf_addresses *list)
{
    if (list->count == 0)
        buf_append_str(out, "none");
    for (size_t i = 0; i < list->count; i++) {
        if (i)
            buf_append_str(out, ", ");
        conf_put_address(out, &list->list[i].address);
        put_networks(out, " proxy=", &list->list[i].proxy);
        put_networks(out, " xclient=", &list->list[i].xclient);
    }
}

static void put_certificates(struct buf *out, const struct conf_certificates *list)
{
    if (list->count == 0)
        buf_append_str(out, "none");
    for (size_t i = 0; i < list->count; i++)
        buf_printf(out, "%s%s %s", i ? ", " : "", list->list[i].chain, list->list[i].key);
}

int conf_key_value(const struct conf *c, const struct conf_key *k, struct buf *out)
{
    const void *field = (const char *)c + k->offset;

    switch (k->type) {
    case CONF_TYPE_INT:
        buf_append_u64(out, *(const uint64_t *)field);
        break;
    case CONF_TYPE_SIZE:
        conf_size_format(out, *(const uint64_t *)field);
        break;
    case CONF_TYPE_DURATION:
        conf_put_duration(out, *(const uint64_t *)field);
        break;
    case CONF_TYPE_ENUM:
        buf_append(out, choice_at(k->choices, *(const unsigned *)field));
        break;
    case CONF_TYPE_STRING:
    case CONF_TYPE_PATH:
    case CONF_TYPE_HOSTNAME:
        put_text(out, *(const char *const *)field);
        break;
    case CONF_TYPE_ADDRESSES:
        put_addresses(out, field);
        break;
    case CONF_TYPE_CERTIFICATES:
        put_certificates(out, field);
        break;
    case CONF_TYPE_COUNT:
        break;
    }
    return out->overflowed ? BRANT_ELIMIT : BRANT_OK;
}

int conf_dump(const struct conf *c, struct buf *out)
{
    const struct conf_key *k;

    for (size_t i = 0; (k = conf_key_at(i)) != NULL; i++) {
        buf_printf(out, "%s = ", k->name);
        conf_key_value(c, k, out);
        buf_append_byte(out, '\n');
    }
    return out->overflowed ? BRANT_ELIMIT : BRANT_OK;
}

int conf_restart_keys(const struct conf *running, const struct conf *next, struct buf *out)
{
    const struct conf_key *k;
    size_t start = out->len;

    for (size_t i = 0; (k = conf_key_at(i)) != NULL; i++) {
        _cleanup_buf_ struct buf a, b;

        buf_init(&a, CONF_TEXT_MAX);
        buf_init(&b, CONF_TEXT_MAX);
        conf_key_value(running, k, &a);
        conf_key_value(next, k, &b);
        if ((k->flags & CONF_FLAG_RESTART) && !span_eq(buf_span(&a), buf_span(&b)))
            buf_printf(out, "%s%s", out->len > start ? ", " : "", k->name);
    }
    return out->overflowed ? BRANT_ELIMIT : BRANT_OK;
}

int conf_keep_restart_keys(const struct conf *running, struct conf *next)
{
    const struct conf_key *k;

    for (size_t i = 0; (k = conf_key_at(i)) != NULL; i++) {
        const void *from = (const char *)running + k->offset;
        void *to = (char *)next + k->offset;

        if (!(k->flags & CONF_FLAG_RESTART))
            continue;
        switch (k->type) {
        case CONF_TYPE_INT:
        case CONF_TYPE_SIZE:
        case CONF_TYPE_DURATION:
            *(uint64_t *)to = *(const uint64_t *)from;
            break;
        case CONF_TYPE_ENUM:
            *(unsigned *)to = *(const unsigned *)from;
            break;
        case CONF_TYPE_STRING:
        case CONF_TYPE_PATH:
        case CONF_TYPE_HOSTNAME: {
            const char *text = arena_cstr(&next->arena, span_str(*(const char *const *)from));

            if (!text)
                return BRANT_ELIMIT;
            *(const char **)to = text;
            break;
        }
        case CONF_TYPE_ADDRESSES:
            *(struct conf_addresses *)to = *(const struct conf_addresses *)from;
            break;
        case CONF_TYPE_CERTIFICATES: /* its texts are the other's; the table has none of this kind */
        case CONF_TYPE_COUNT:
            return BRANT_ELIMIT;
        }
    }
    return BRANT_OK;
}
