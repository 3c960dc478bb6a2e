#include <stddef.h>

#include "base/ascii.h"
#include "base/err.h"
#include "conf/value.h"

#define RELOAD   CONF_FLAG_RELOAD
#define RESTART  CONF_FLAG_RESTART
#define REQUIRED CONF_FLAG_REQUIRED

static const struct conf_key KEYS[] = {
#define ROW(group_, type_, field, name_, flags_, min_, max_, def_, choices_, help_) \
    {.group = CONF_GROUP_##group_,                                                  \
     .type = CONF_TYPE_##type_,                                                     \
     .name = (name_),                                                               \
     .flags = (flags_),                                                             \
     .min = (min_),                                                                 \
     .max = (max_),                                                                 \
     .def = (def_),                                                                 \
     .choices = (choices_),                                                         \
     .help = (help_),                                                               \
     .offset = offsetof(struct conf, field)},
    CONF_KEYS(ROW)
#undef ROW
};

enum { KEY_COUNT = sizeof KEYS / sizeof KEYS[0], NAME_LEN_MAX = 48 };
_Static_assert((int)KEY_COUNT <= (int)CONF_KEYS_MAX, "CONF_KEYS_MAX is too small");

const char *const conf_group_titles[CONF_GROUP_COUNT] = {
#define TITLE(group, title) title,
    CONF_GROUPS(TITLE)
#undef TITLE
};

const struct conf_key *conf_key_at(size_t i)
{
    return i < KEY_COUNT ? &KEYS[i] : NULL;
}

const struct conf_key *conf_key_find(struct span name)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (span_eq_str(name, KEYS[i].name))
            return &KEYS[i];
    }
    return NULL;
}

/* '.', '-' and '_' are easily mixed up, and so is the case. */
static uint8_t folded(uint8_t c)
{
    return c == '.' || c == '-' ? '_' : ascii_lower(c);
}

/* Levenshtein's distance between two short names. */
static size_t distance(struct span a, struct span b)
{
    size_t row[NAME_LEN_MAX + 1];

    for (size_t j = 0; j <= b.len; j++)
        row[j] = j;
    for (size_t i = 0; i < a.len; i++) {
        size_t diagonal = row[0];

        row[0] = i + 1;
        for (size_t j = 0; j < b.len; j++) {
            size_t change = diagonal + (folded(a.p[i]) != folded(b.p[j]));
            size_t best = row[j] < row[j + 1] ? row[j] + 1 : row[j + 1] + 1;

            diagonal = row[j + 1];
            row[j + 1] = change < best ? change : best;
        }
    }
    return row[b.len];
}

const struct conf_key *conf_key_nearest(struct span name)
{
    const struct conf_key *best = NULL;
    size_t best_distance = SIZE_MAX;

    if (name.len == 0 || name.len > NAME_LEN_MAX)
        return NULL;
    for (size_t i = 0; i < KEY_COUNT; i++) {
        size_t d = distance(name, span_str(KEYS[i].name));

        if (d < best_distance) {
            best_distance = d;
            best = &KEYS[i];
        }
    }
    return best_distance <= 1 + name.len / 3 ? best : NULL;
}

static void put_choices(struct buf *out, const char *choices)
{
    struct span rest = span_str(choices);

    while (rest.len) {
        struct span one = span_sub(rest, 0, span_find_byte(rest, '|'));

        buf_append(out, one);
        rest = span_from(rest, one.len + 1);
        if (rest.len)
            buf_append_str(out, span_find_byte(rest, '|') == SPAN_NPOS ? " or " : ", ");
    }
}

int conf_key_describe(const struct conf_key *k, struct buf *out)
{
    switch (k->type) {
    case CONF_TYPE_INT:
        buf_printf(out, "a number from %llu to %llu", (unsigned long long)k->min, (unsigned long long)k->max);
        break;
    case CONF_TYPE_SIZE:
        buf_append_str(out, "a size from ");
        conf_size_format(out, k->min);
        buf_append_str(out, " to ");
        conf_size_format(out, k->max);
        break;
    case CONF_TYPE_DURATION:
        buf_append_str(out, "a time from ");
        conf_put_duration(out, k->min);
        buf_append_str(out, " to ");
        conf_put_duration(out, k->max);
        break;
    case CONF_TYPE_ENUM:
        put_choices(out, k->choices);
        break;
    case CONF_TYPE_STRING:
        if (k->min == 0 && k->max == 1)
            buf_append_str(out, "one character, or nothing");
        else
            buf_printf(out, "a word of %llu to %llu characters", (unsigned long long)k->min,
                       (unsigned long long)k->max);
        break;
    case CONF_TYPE_PATH:
        buf_append_str(out, "an absolute path");
        if (span_eq_str(span_str(k->def), "stderr"))
            buf_append_str(out, " or stderr");
        break;
    case CONF_TYPE_HOSTNAME:
        buf_append_str(out, k->min ? "a full host name" : "a full host name, or nothing");
        break;
    case CONF_TYPE_ADDRESSES:
        buf_printf(out, "up to %llu of ADDRESS:PORT [proxy=NETWORK] [xclient=NETWORK], or none",
                   (unsigned long long)k->max);
        break;
    case CONF_TYPE_CERTIFICATES:
        buf_append_str(out, "CHAIN KEY, two absolute paths, separated by commas, or none");
        break;
    case CONF_TYPE_COUNT:
        break;
    }
    return out->overflowed ? BRANT_ELIMIT : BRANT_OK;
}

/* Words of text, broken at blanks so that no line passes width; every line begins with indent blanks. */
static void put_wrapped(struct buf *out, struct span text, size_t indent, size_t width)
{
    size_t column = 0;

    while (text.len) {
        struct span word = span_sub(text, 0, span_find_byte(text, ' '));

        if (column && column + 1 + word.len > width) {
            buf_append_byte(out, '\n');
            column = 0;
        }
        if (column == 0) {
            buf_printf(out, "%*s", (int)indent, "");
            column = indent;
        } else {
            buf_append_byte(out, ' ');
            column++;
        }
        buf_append(out, word);
        column += word.len;
        text = span_from(text, word.len + 1);
    }
    buf_append_byte(out, '\n');
}

int conf_key_help(const struct conf_key *k, size_t width, struct buf *out)
{
    _cleanup_buf_ struct buf kind;

    buf_init(&kind, 512);
    conf_key_describe(k, &kind);
    if (k->flags & CONF_FLAG_REQUIRED)
        buf_append_str(&kind, "; must be set");
    else
        buf_printf(&kind, "; default: %s", k->def[0] ? k->def : "empty");
    buf_append_str(&kind, k->flags & CONF_FLAG_RELOAD ? "" : "; a change needs a restart");
    buf_printf(out, "%s\n", k->name);
    put_wrapped(out, span_str(k->help), 4, width);
    put_wrapped(out, buf_span(&kind), 4, width);
    return out->overflowed ? BRANT_ELIMIT : BRANT_OK;
}
