#include "imap/list.h"

#include "base/err.h"
#include "imap/put.h"

struct option_name {
    const char *name;
    unsigned bit;
};

static const struct option_name select_names[] = {{"SUBSCRIBED", IMAP_LIST_SUBSCRIBED},
                                                  {"REMOTE", IMAP_LIST_REMOTE},
                                                  {"RECURSIVEMATCH", IMAP_LIST_RECURSIVE},
                                                  {"SPECIAL-USE", IMAP_LIST_SPECIAL_USE},
                                                  {NULL, 0}};
static const struct option_name return_names[] = {{"SUBSCRIBED", IMAP_LIST_SUBSCRIBED},
                                                  {"CHILDREN", IMAP_LIST_CHILDREN},
                                                  {"SPECIAL-USE", IMAP_LIST_SPECIAL_USE},
                                                  {"STATUS", IMAP_LIST_STATUS},
                                                  {NULL, 0}};
static const struct option_name status_names[] = {{"MESSAGES", IMAP_STATUS_MESSAGES},
                                                  {"RECENT", IMAP_STATUS_RECENT},
                                                  {"UIDNEXT", IMAP_STATUS_UIDNEXT},
                                                  {"UIDVALIDITY", IMAP_STATUS_UIDVALIDITY},
                                                  {"UNSEEN", IMAP_STATUS_UNSEEN},
                                                  {"DELETED", IMAP_STATUS_DELETED},
                                                  {"SIZE", IMAP_STATUS_SIZE},
                                                  {"HIGHESTMODSEQ", IMAP_STATUS_MODSEQ},
                                                  {"MAILBOXID", IMAP_STATUS_MAILBOX},
                                                  {"APPENDLIMIT", IMAP_STATUS_APPENDLIMIT},
                                                  {NULL, 0}};

static unsigned option(struct imap_lex *lex, const struct option_name *names)
{
    for (; names->name; names++)
        if (imap_lex_word(lex, names->name))
            return names->bit;
    return 0;
}

bool imap_status_items_parse(struct imap_lex *lex, unsigned extensions, unsigned *ret)
{
    struct imap_lex at = *lex;
    unsigned items = 0;

    if (!imap_lex_byte(&at, '('))
        return false;
    do {
        unsigned item = option(&at, status_names);

        if (!item || (item == IMAP_STATUS_MODSEQ && !(extensions & IMAP_EXT_CONDSTORE)) ||
            (item == IMAP_STATUS_MAILBOX && !(extensions & IMAP_EXT_OBJECTID)))
            return false;
        items |= item;
    } while (imap_lex_space(&at));
    if (!imap_lex_byte(&at, ')'))
        return false;
    *lex = at;
    *ret = items;
    return true;
}

static uint64_t status_value(const struct imap_status *s, unsigned item, uint64_t appendlimit)
{
    switch (item) {
    case IMAP_STATUS_MESSAGES:
        return s->messages;
    case IMAP_STATUS_RECENT:
        return s->recent;
    case IMAP_STATUS_UIDNEXT:
        return s->uidnext;
    case IMAP_STATUS_UIDVALIDITY:
        return s->uidvalidity;
    case IMAP_STATUS_UNSEEN:
        return s->unseen;
    case IMAP_STATUS_DELETED:
        return s->deleted;
    case IMAP_STATUS_SIZE:
        return s->size;
    case IMAP_STATUS_MODSEQ:
        return s->modseq;
    default:
        return appendlimit;
    }
}

void imap_status_put(struct buf *out, struct span name, unsigned items, const struct imap_status *status,
                     uint64_t appendlimit, bool utf8)
{
    const char *before = " (";

    buf_append_str(out, "* STATUS ");
    imap_name_put(out, name, utf8);
    for (const struct option_name *n = status_names; n->name; n++) {
        if (!(items & n->bit))
            continue;
        buf_append_str(out, before);
        buf_append_str(out, n->name);
        before = " ";
        if (n->bit == IMAP_STATUS_MAILBOX) /* RFC 8474 4.3 */
            buf_printf(out, " (F%llx)", (unsigned long long)status->mailbox);
        else
            buf_printf(out, " %llu", (unsigned long long)status_value(status, n->bit, appendlimit));
    }
    buf_append_str(out, before[1] ? " ()\r\n" : ")\r\n");
}

/* ---- parsing ---- */

/* "(" [option *(SP option)] ")" */
static bool options(struct imap_lex *lex, const struct option_name *names, struct imap_list *list,
                    unsigned extensions, unsigned *ret)
{
    bool first = true;

    if (!imap_lex_byte(lex, '('))
        return false;
    for (; !imap_lex_byte(lex, ')'); first = false) {
        unsigned bit;

        if (!first && !imap_lex_space(lex))
            return false;
        bit = option(lex, names);
        if (!bit || (bit == IMAP_LIST_SPECIAL_USE && !(extensions & IMAP_EXT_SPECIAL_USE)))
            return false;
        *ret |= bit;
        if (bit == IMAP_LIST_STATUS &&
            (!imap_lex_space(lex) || !imap_status_items_parse(lex, extensions, &list->status)))
            return false;
    }
    return true;
}

/* One pattern; one that no name can fit is left out. */
static int pattern(struct imap_lex *lex, struct span reference, struct imap_list *list)
{
    struct span said;
    int err;

    if (!imap_lex_list_mailbox(lex, &said))
        return BRANT_ESYNTAX;
    if (list->pattern_count == IMAP_LIST_PATTERNS_MAX)
        return BRANT_ELIMIT;
    list->delimiter = said.len == 0;
    err = imap_pattern_compile(reference, said, list->utf8, lex->arena, &list->patterns[list->pattern_count]);
    if (err == BRANT_OK)
        list->pattern_count++;
    return err == BRANT_ESYNTAX ? BRANT_OK : err;
}

/* list-mailbox, or several in parentheses (RFC 5258 3). */
static int patterns(struct imap_lex *lex, struct span reference, struct imap_list *list)
{
    int err;

    list->patterns = arena_array(lex->arena, IMAP_LIST_PATTERNS_MAX, sizeof *list->patterns);
    if (!list->patterns)
        return BRANT_ELIMIT;
    if (list->lsub || !imap_lex_byte(lex, '('))
        return pattern(lex, reference, list);
    list->extended = true;
    do {
        err = pattern(lex, reference, list);
        if (err)
            return err;
    } while (imap_lex_space(lex));
    return imap_lex_byte(lex, ')') ? BRANT_OK : BRANT_ESYNTAX;
}

int imap_list_parse(struct imap_lex *lex, bool lsub, bool utf8, unsigned extensions, struct imap_list *ret)
{
    struct imap_list list = {.lsub = lsub, .utf8 = utf8};
    struct imap_lex at = *lex;
    struct span reference;
    int err;

    if (!lsub && imap_lex_peek(&at) == '(') {
        list.extended = true;
        if (!options(&at, select_names, &list, extensions, &list.select) || !imap_lex_space(&at))
            return BRANT_ESYNTAX;
    }
    /* RFC 5258 3.1: RECURSIVEMATCH means nothing alone or with REMOTE */
    if (list.select & IMAP_LIST_RECURSIVE && !(list.select & (IMAP_LIST_SUBSCRIBED | IMAP_LIST_SPECIAL_USE)))
        return BRANT_ESYNTAX;
    if (!imap_lex_astring(&at, &reference) || !imap_lex_space(&at))
        return BRANT_ESYNTAX;
    err = patterns(&at, reference, &list);
    if (err)
        return err;
    if (!lsub && imap_lex_space(&at) && !imap_lex_end(&at)) {
        list.extended = true;
        if (!imap_lex_word(&at, "RETURN") || !imap_lex_space(&at) ||
            !options(&at, return_names, &list, extensions, &list.returns))
            return BRANT_ESYNTAX;
    }
    if (lsub)
        list.select = IMAP_LIST_SUBSCRIBED | IMAP_LIST_RECURSIVE;
    list.delimiter = list.delimiter && !list.extended && !lsub;
    *lex = at;
    *ret = list;
    return BRANT_OK;
}

/* ---- walking ---- */

void imap_list_walk_init(struct imap_list_walk *w, const struct imap_list *list)
{
    *w = (struct imap_list_walk){.list = list};
    buf_init(&w->name, IMAP_NAME_BYTES_MAX);
}

void imap_list_walk_done(struct imap_list_walk *w)
{
    buf_done(&w->name);
}

static bool is_name(struct span name)
{
    size_t levels = 1;

    for (size_t i = 0; i < name.len; i++) {
        levels += name.p[i] == '/';
        if (name.p[i] == '/' && (i == 0 || i + 1 == name.len || name.p[i - 1] == '/'))
            return false;
    }
    return name.len > 0 && name.len <= IMAP_NAME_BYTES_MAX && levels <= IMAP_NAME_LEVELS_MAX;
}

void imap_list_walk_feed(struct imap_list_walk *w, const struct imap_mailbox *box)
{
    if (!is_name(box->name) || (w->name.len && imap_name_cmp(buf_span(&w->name), box->name) >= 0))
        return;
    w->box = *box;
    w->box_due = true;
}

void imap_list_walk_finish(struct imap_list_walk *w)
{
    w->end = true;
}

static struct span level_name(const struct imap_list_walk *w, const struct imap_list_level *level)
{
    return span_sub(buf_span(&w->name), 0, level->end);
}

static void level_push(struct imap_list_walk *w, size_t end, const struct imap_mailbox *box)
{
    struct imap_list_level *level = &w->levels[w->depth++];

    *level = (struct imap_list_level){.end = end};
    if (box) {
        level->exists = box->exists;
        level->subscribed = box->subscribed;
        level->uses = box->uses;
        level->status = box->status;
    }
}

/* The mailbox that is due becomes the innermost level; those between it and the innermost one are made. */
static void levels_open(struct imap_list_walk *w)
{
    size_t from = w->depth ? w->levels[w->depth - 1].end + 1 : 0;

    for (size_t i = from; i < w->box.name.len; i++)
        if (w->box.name.p[i] == '/')
            level_push(w, i, NULL);
    buf_reset(&w->name);
    buf_append(&w->name, w->box.name);
    level_push(w, w->box.name.len, &w->box);
    w->box_due = false;
}

static bool is_chosen(const struct imap_list *list, const struct imap_list_level *level)
{
    if (list->select & IMAP_LIST_SUBSCRIBED && !level->subscribed)
        return false;
    if (list->select & IMAP_LIST_SPECIAL_USE && !level->uses)
        return false;
    return level->exists || list->select & IMAP_LIST_SUBSCRIBED;
}

static bool is_matched(const struct imap_list *list, struct span name)
{
    for (size_t i = 0; i < list->pattern_count; i++)
        if (imap_pattern_match(&list->patterns[i], name))
            return true;
    return false;
}

/* The innermost level is closed: nothing more lies beneath it. True: it makes a line. */
static bool level_close(struct imap_list_walk *w, struct imap_list_line *ret)
{
    struct imap_list_level *level = &w->levels[--w->depth];
    struct imap_list_level *above = w->depth ? level - 1 : NULL;
    bool chosen = is_chosen(w->list, level), matched = is_matched(w->list, level_name(w, level));
    bool recursive = w->list->select & IMAP_LIST_RECURSIVE || !(w->list->select & IMAP_LIST_SUBSCRIBED);

    if (above) {
        above->children = above->children || level->exists || level->children;
        above->hidden = above->hidden || level->hidden || (chosen && !matched);
    }
    *ret = (struct imap_list_line){level_name(w, level), *level, recursive && level->hidden};
    return matched && (chosen || (recursive && level->hidden));
}

bool imap_list_walk_next(struct imap_list_walk *w, struct imap_list_line *ret)
{
    for (;;) {
        const struct imap_list_level *top = w->depth ? &w->levels[w->depth - 1] : NULL;
        bool beneath = w->box_due && (!top || imap_name_within(w->box.name, level_name(w, top)));

        if (beneath)
            levels_open(w);
        else if (!top || (!w->box_due && !w->end))
            return false;
        else if (level_close(w, ret))
            return true;
        if (beneath && !w->end)
            return false;
    }
}

/* ---- lines ---- */

static void put_attributes(struct buf *out, const struct imap_list *list, const struct imap_list_level *level)
{
    bool subscribed = (list->select | list->returns) & IMAP_LIST_SUBSCRIBED;
    size_t start = out->len;

    if (!level->exists || (list->lsub && !level->subscribed))
        buf_append_str(out, list->extended ? " \\NonExistent" : " \\Noselect");
    if (subscribed && level->subscribed && !list->lsub)
        buf_append_str(out, " \\Subscribed");
    if (!list->lsub && (!list->extended || list->returns & IMAP_LIST_CHILDREN))
        buf_append_str(out, level->children ? " \\HasChildren" : " \\HasNoChildren");
    if (!list->lsub)
        imap_special_uses_put(out, level->uses);
    if (out->len > start) { /* the first has no space before it */
        memmove(out->data + start, out->data + start + 1, out->len - start - 1);
        out->len--;
    }
}

void imap_list_line_put(struct buf *out, const struct imap_list *list, const struct imap_list_line *line)
{
    buf_append_str(out, list->lsub ? "* LSUB (" : "* LIST (");
    put_attributes(out, list, &line->level);
    buf_append_str(out, ") \"/\" ");
    imap_name_put(out, line->name, list->utf8);
    if (line->childinfo && list->select & IMAP_LIST_RECURSIVE && !list->lsub) { /* RFC 5258 3.5 */
        bool both = list->select & IMAP_LIST_SUBSCRIBED && list->select & IMAP_LIST_SPECIAL_USE;

        buf_append_str(out, " (\"CHILDINFO\" (");
        if (list->select & IMAP_LIST_SUBSCRIBED)
            buf_append_str(out, "\"SUBSCRIBED\"");
        if (list->select & IMAP_LIST_SPECIAL_USE)
            buf_append_str(out, both ? " \"SPECIAL-USE\"" : "\"SPECIAL-USE\"");
        buf_append_str(out, "))");
    }
    buf_append_str(out, "\r\n");
}
