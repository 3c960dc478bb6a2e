#include "imap/flag.h"

#include "base/ascii.h"
#include "base/err.h"

static const struct {
    const char *name;
    uint64_t flag;
} system_flags[] = {
    {"\\Answered", IMAP_FLAG_ANSWERED}, {"\\Flagged", IMAP_FLAG_FLAGGED}, {"\\Deleted", IMAP_FLAG_DELETED},
    {"\\Seen", IMAP_FLAG_SEEN},         {"\\Draft", IMAP_FLAG_DRAFT},
};

static const struct {
    const char *name;
    unsigned use;
} uses_known[] = {
    {"\\All", IMAP_USE_ALL},         {"\\Archive", IMAP_USE_ARCHIVE},     {"\\Drafts", IMAP_USE_DRAFTS},
    {"\\Flagged", IMAP_USE_FLAGGED}, {"\\Junk", IMAP_USE_JUNK},           {"\\Sent", IMAP_USE_SENT},
    {"\\Trash", IMAP_USE_TRASH},     {"\\Important", IMAP_USE_IMPORTANT},
};

static uint64_t system_flag(struct span name)
{
    for (size_t i = 0; i < sizeof system_flags / sizeof system_flags[0]; i++)
        if (span_eq_str_nocase(name, system_flags[i].name))
            return system_flags[i].flag;
    return 0;
}

static bool flag_add(struct imap_flag_list *list, struct span name)
{
    if (name.p[0] == '\\') {
        uint64_t flag = system_flag(name);

        list->flags |= flag;
        return flag != 0;
    }
    if (name.len > IMAP_KEYWORD_BYTES_MAX)
        return false;
    for (size_t i = 0; i < list->keyword_count; i++)
        if (span_eq_nocase(list->keywords[i], name))
            return true;
    if (list->keyword_count == IMAP_KEYWORDS_MAX)
        return false;
    list->keywords[list->keyword_count++] = name;
    return true;
}

bool imap_flag_list_parse(struct imap_lex *lex, bool bare, struct imap_flag_list *ret)
{
    struct imap_lex at = *lex;
    struct imap_flag_list list = {0};
    bool parentheses = imap_lex_byte(&at, '(');
    struct span name;

    if (!parentheses && !bare)
        return false;
    list.keywords = arena_array(at.arena, IMAP_KEYWORDS_MAX, sizeof *list.keywords);
    if (!list.keywords)
        return false;
    if (!parentheses || imap_lex_peek(&at) != ')') {
        do {
            if (!imap_lex_flag(&at, &name) || !flag_add(&list, name))
                return false;
        } while (imap_lex_space(&at) && !(bare && !parentheses && imap_lex_end(&at)));
    }
    if (parentheses && !imap_lex_byte(&at, ')'))
        return false;
    *lex = at;
    *ret = list;
    return true;
}

uint64_t imap_keyword_bit(const struct imap_keywords *k, struct span name)
{
    for (size_t i = 0; i < k->count; i++)
        if (span_eq_nocase(k->names[i], name))
            return (uint64_t)1 << (IMAP_KEYWORD_SHIFT + i);
    return 0;
}

static void put_separated(struct buf *out, size_t start, struct span name)
{
    if (out->len > start)
        buf_append_byte(out, ' ');
    buf_append(out, name);
}

void imap_flags_put(struct buf *out, uint64_t flags, bool recent, const struct imap_keywords *k)
{
    size_t start;

    buf_append_byte(out, '(');
    start = out->len;
    for (size_t i = 0; i < sizeof system_flags / sizeof system_flags[0]; i++)
        if (flags & system_flags[i].flag)
            put_separated(out, start, span_str(system_flags[i].name));
    if (recent)
        put_separated(out, start, SPAN_LIT("\\Recent"));
    for (size_t i = 0; i < k->count; i++)
        if (flags >> (IMAP_KEYWORD_SHIFT + i) & 1)
            put_separated(out, start, k->names[i]);
    buf_append_byte(out, ')');
}

unsigned imap_special_use_parse(struct span name)
{
    for (size_t i = 0; i < sizeof uses_known / sizeof uses_known[0]; i++)
        if (span_eq_str_nocase(name, uses_known[i].name))
            return uses_known[i].use;
    return 0;
}

void imap_special_uses_put(struct buf *out, unsigned uses)
{
    for (size_t i = 0; i < sizeof uses_known / sizeof uses_known[0]; i++) {
        if (uses & uses_known[i].use) {
            buf_append_byte(out, ' ');
            buf_append_str(out, uses_known[i].name);
        }
    }
}
