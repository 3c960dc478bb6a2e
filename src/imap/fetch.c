#include "imap/fetch.h"

#include "base/ascii.h"
#include "base/err.h"
#include "imap/server.h"

static const struct item_name {
    const char *name;
    enum imap_fetch_kind kind;
    unsigned fields, extension;
} names[] = {
    {"UID", IMAP_FETCH_UID, 0, 0},
    {"FLAGS", IMAP_FETCH_FLAGS, IMAP_ENTRY_FLAGS, 0},
    {"INTERNALDATE", IMAP_FETCH_INTERNALDATE, IMAP_ENTRY_DATE, 0},
    {"RFC822.SIZE", IMAP_FETCH_SIZE, IMAP_ENTRY_SIZE, 0},
    {"MODSEQ", IMAP_FETCH_MODSEQ, IMAP_ENTRY_MODSEQ, IMAP_EXT_CONDSTORE},
    {"EMAILID", IMAP_FETCH_EMAILID, IMAP_ENTRY_IDS, IMAP_EXT_OBJECTID},
    {"THREADID", IMAP_FETCH_THREADID, IMAP_ENTRY_IDS, IMAP_EXT_OBJECTID},
    {"SAVEDATE", IMAP_FETCH_SAVEDATE, IMAP_ENTRY_SAVED, IMAP_EXT_SAVEDATE},
    {"ENVELOPE", IMAP_FETCH_ENVELOPE, IMAP_ENTRY_STRUCTURE | IMAP_ENTRY_SIZE, 0},
    {"BODYSTRUCTURE", IMAP_FETCH_BODYSTRUCTURE, IMAP_ENTRY_STRUCTURE | IMAP_ENTRY_SIZE, 0},
    {"PREVIEW", IMAP_FETCH_PREVIEW, IMAP_ENTRY_STRUCTURE | IMAP_ENTRY_SIZE, 0},
    {"RFC822", IMAP_FETCH_RFC822, IMAP_ENTRY_SIZE, 0},
    {"RFC822.HEADER", IMAP_FETCH_RFC822_HEADER, IMAP_ENTRY_STRUCTURE | IMAP_ENTRY_SIZE, 0},
    {"RFC822.TEXT", IMAP_FETCH_RFC822_TEXT, IMAP_ENTRY_STRUCTURE | IMAP_ENTRY_SIZE, 0},
    {"BODY", IMAP_FETCH_BODY, IMAP_ENTRY_STRUCTURE | IMAP_ENTRY_SIZE, 0},
};

static const struct {
    const char *name;
    const char *items;
} macros[] = {
    {"ALL", "(FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)"},
    {"FAST", "(FLAGS INTERNALDATE RFC822.SIZE)"},
    {"FULL", "(FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY)"},
};

static struct span word(struct imap_lex *lex)
{
    size_t start = lex->pos;

    while (ascii_is_alnum(imap_lex_peek(lex)) || imap_lex_peek(lex) == '.')
        lex->pos++;
    return span_sub(lex->in, start, lex->pos - start);
}

/* "<" number "." nz-number ">" */
static bool partial(struct imap_lex *lex, struct imap_fetch_item *item)
{
    if (!imap_lex_byte(lex, '<'))
        return true;
    item->partial = true;
    return imap_lex_number(lex, INT64_MAX, &item->start) && imap_lex_byte(lex, '.') &&
           imap_lex_number(lex, INT64_MAX, &item->len) && item->len > 0 && imap_lex_byte(lex, '>');
}

/* BODY[…], BINARY[…]: the name was read. */
static bool section_item(struct imap_lex *lex, struct span name, struct imap_fetch_item *item, bool *ret_peek)
{
    bool binary = span_starts_nocase(name, SPAN_LIT("BINARY"));
    struct span rest = span_from(name, binary ? 6 : 4);

    *ret_peek = span_eq_str_nocase(rest, ".PEEK");
    item->kind = binary ? IMAP_FETCH_BINARY : IMAP_FETCH_SECTION;
    if (binary && span_eq_str_nocase(rest, ".SIZE")) {
        item->kind = IMAP_FETCH_BINARY_SIZE;
        *ret_peek = true;
        return imap_section_parse(lex, true, &item->section);
    }
    return (!rest.len || *ret_peek) && imap_section_parse(lex, binary, &item->section) && partial(lex, item);
}

/* RFC 8970 3.1: modifiers; LAZY is the only one. Here a preview is made as fast as it could be looked up. */
static bool preview_modifiers(struct imap_lex *lex)
{
    struct imap_lex at = *lex;

    if (!imap_lex_space(&at) || !imap_lex_byte(&at, '('))
        return true;
    if (!imap_lex_word(&at, "LAZY") || !imap_lex_byte(&at, ')'))
        return false;
    *lex = at;
    return true;
}

static int item_add(struct imap_fetch *fetch, struct imap_fetch_item item)
{
    if (fetch->count == IMAP_FETCH_ITEMS_MAX)
        return BRANT_ELIMIT;
    fetch->items[fetch->count++] = item;
    return BRANT_OK;
}

/* One fetch-att. */
static int item_parse(struct imap_lex *lex, unsigned extensions, struct imap_fetch *fetch)
{
    struct imap_fetch_item item = {0};
    struct span name = word(lex);
    bool peek;

    if (imap_lex_peek(lex) == '[') {
        if (!span_starts_nocase(name, SPAN_LIT("BODY")) && !span_starts_nocase(name, SPAN_LIT("BINARY")))
            return BRANT_ESYNTAX;
        if (!section_item(lex, name, &item, &peek))
            return BRANT_ESYNTAX;
        fetch->seen = fetch->seen || !peek;
        fetch->fields |= IMAP_ENTRY_SIZE;
        if (item.section.path_len || item.section.kind != IMAP_SECTION_BODY)
            fetch->fields |= IMAP_ENTRY_STRUCTURE;
        return item_add(fetch, item);
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!span_eq_str_nocase(name, names[i].name))
            continue;
        if (names[i].extension & ~extensions)
            return BRANT_EUNSUPPORTED;
        item.kind = names[i].kind;
        fetch->fields |= names[i].fields;
        fetch->seen = fetch->seen || item.kind == IMAP_FETCH_RFC822 || item.kind == IMAP_FETCH_RFC822_TEXT;
        if (item.kind == IMAP_FETCH_RFC822_HEADER)
            item.section.kind = IMAP_SECTION_HEADER;
        if (item.kind == IMAP_FETCH_RFC822_TEXT)
            item.section.kind = IMAP_SECTION_TEXT;
        if (item.kind == IMAP_FETCH_PREVIEW && !preview_modifiers(lex))
            return BRANT_ESYNTAX;
        return item_add(fetch, item);
    }
    return BRANT_ESYNTAX;
}

static int items_parse(struct imap_lex *lex, unsigned extensions, struct imap_fetch *fetch)
{
    int err;

    if (!imap_lex_byte(lex, '('))
        return item_parse(lex, extensions, fetch);
    do {
        err = item_parse(lex, extensions, fetch);
        if (err)
            return err;
    } while (imap_lex_space(lex));
    return imap_lex_byte(lex, ')') ? BRANT_OK : BRANT_ESYNTAX;
}

static bool macro_parse(struct imap_lex *lex, struct imap_fetch *fetch)
{
    for (size_t i = 0; i < sizeof macros / sizeof macros[0]; i++) {
        struct imap_lex items;

        if (!imap_lex_word(lex, macros[i].name))
            continue;
        items = imap_lex_start(span_str(macros[i].items), lex->arena);
        return items_parse(&items, 0, fetch) == BRANT_OK;
    }
    return false;
}

/* RFC 7162 3.1.4.1, 3.2.6: "(" "CHANGEDSINCE" SP mod-sequence-value [SP "VANISHED"] ")" in any order */
static int modifiers_parse(struct imap_lex *lex, unsigned extensions, struct imap_fetch *fetch)
{
    if (!imap_lex_byte(lex, '('))
        return BRANT_ESYNTAX;
    do {
        if (imap_lex_word(lex, "CHANGEDSINCE")) {
            if (!imap_lex_space(lex) || !imap_lex_number(lex, INT64_MAX, &fetch->changed_since))
                return BRANT_ESYNTAX;
            fetch->has_changed_since = true;
        } else if (imap_lex_word(lex, "VANISHED")) {
            fetch->vanished = true;
        } else {
            return BRANT_ESYNTAX;
        }
    } while (imap_lex_space(lex));
    if (!imap_lex_byte(lex, ')') || (fetch->vanished && !fetch->has_changed_since))
        return BRANT_ESYNTAX;
    if (!(extensions & IMAP_EXT_CONDSTORE) || (fetch->vanished && !(extensions & IMAP_EXT_QRESYNC)))
        return BRANT_EUNSUPPORTED;
    return BRANT_OK;
}

int imap_fetch_parse(struct imap_lex *lex, unsigned extensions, struct imap_fetch *ret)
{
    struct imap_fetch fetch = {0};
    struct imap_lex at = *lex;
    int err;

    fetch.items = arena_array(lex->arena, IMAP_FETCH_ITEMS_MAX, sizeof *fetch.items);
    if (!fetch.items)
        return BRANT_ELIMIT;
    if (!macro_parse(&at, &fetch)) {
        err = items_parse(&at, extensions, &fetch);
        if (err)
            return err;
    }
    if (imap_lex_space(&at) && !imap_lex_end(&at)) {
        err = modifiers_parse(&at, extensions, &fetch);
        if (err)
            return err;
    }
    *lex = at;
    *ret = fetch;
    return BRANT_OK;
}

void imap_fetch_name_put(struct buf *out, const struct imap_fetch_item *item)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].kind == item->kind) {
            buf_append_str(out, names[i].name);
            return;
        }
    }
    buf_append_str(out, item->kind == IMAP_FETCH_SECTION  ? "BODY"
                        : item->kind == IMAP_FETCH_BINARY ? "BINARY"
                                                          : "BINARY.SIZE");
    imap_section_put(out, &item->section);
    if (item->partial)
        buf_printf(out, "<%llu>", (unsigned long long)item->start);
}

size_t imap_fetch_name_max(const struct imap_fetch_item *item)
{
    return 48 + imap_section_put_max(&item->section);
}
