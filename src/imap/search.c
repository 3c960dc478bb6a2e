/* SEARCH: evaluation. */
#include "imap/search.h"

#include "base/codec.h"
#include "base/err.h"
#include "imap/date.h"
#include "mime/address.h"
#include "mime/charset.h"
#include "mime/date.h"
#include "mime/encoded_word.h"
#include "mime/fold.h"

enum { PIECE = 4096, ADDRESSES_MAX = 10000 };

void imap_search_done(struct imap_search *search)
{
    for (size_t i = 0; i < search->count; i++)
        imap_set_done(&search->keys[i].set);
    search->count = 0;
}

int imap_search_resolve(struct imap_search *search, const struct imap_view *view,
                        const struct imap_set *saved, struct imap_set *candidates)
{
    int err = BRANT_OK;

    if (view->count)
        err = imap_set_add(candidates, imap_view_uid(view, 1), imap_view_last_uid(view));
    for (size_t i = 0; i < search->count && !err; i++) {
        struct imap_search_key *key = &search->keys[i];

        if (key->op != IMAP_SEARCH_SET)
            continue;
        imap_set_init(&key->set, key->said.saved ? saved->len : key->said.count);
        err = imap_view_resolve(view, &key->said, key->said_uid, true, saved, &key->set);
        if (!err && key->always)
            err = imap_set_intersect(candidates, &key->set);
    }
    return err;
}

/* ---- numbers and flags ---- */

static bool on_day(const struct imap_search_key *key, enum imap_search_op before, int64_t day)
{
    if (key->op == before)
        return day < key->day;
    return key->op == before + 1 ? day == key->day : day >= key->day;
}

static bool flags_fit(const struct imap_search_key *key, const struct imap_search_context *c,
                      const struct imap_entry *e)
{
    bool recent = imap_set_contains(c->recent, e->uid);

    switch (key->op) {
    case IMAP_SEARCH_FLAG:
        return e->flags & key->number;
    case IMAP_SEARCH_NO_FLAG:
        return !(e->flags & key->number);
    case IMAP_SEARCH_KEYWORD:
        return e->flags & imap_keyword_bit(c->keywords, key->name);
    case IMAP_SEARCH_NO_KEYWORD:
        return !(e->flags & imap_keyword_bit(c->keywords, key->name));
    case IMAP_SEARCH_RECENT:
        return recent;
    case IMAP_SEARCH_OLD:
        return !recent;
    default: /* NEW */
        return recent && !(e->flags & IMAP_FLAG_SEEN);
    }
}

/* Whether the entry tells about this key; then *ret. */
static bool entry_tells(const struct imap_search_key *key, const struct imap_search_context *c,
                        const struct imap_entry *e, bool *ret)
{
    int64_t age_s = (c->now_ms - e->time_ms) / 1000;

    switch (key->op) {
    case IMAP_SEARCH_ALL:
    case IMAP_SEARCH_NONE:
        *ret = key->op == IMAP_SEARCH_ALL;
        return true;
    case IMAP_SEARCH_SET:
        *ret = imap_set_contains(&key->set, e->uid);
        return true;
    case IMAP_SEARCH_BEFORE:
    case IMAP_SEARCH_ON:
    case IMAP_SEARCH_SINCE: /* RFC 3501 6.4.4: time and zone do not count */
        *ret = on_day(key, IMAP_SEARCH_BEFORE, imap_day(e->time_ms / 1000, 0));
        return true;
    case IMAP_SEARCH_SAVEDBEFORE:
    case IMAP_SEARCH_SAVEDON:
    case IMAP_SEARCH_SAVEDSINCE: /* RFC 8514 4.3: without a save date, the internal date */
        *ret = on_day(key, IMAP_SEARCH_SAVEDBEFORE,
                      imap_day((e->saved_ms ? e->saved_ms : e->time_ms) / 1000, 0));
        return true;
    case IMAP_SEARCH_LARGER:
        *ret = e->size > key->number;
        return true;
    case IMAP_SEARCH_SMALLER:
        *ret = e->size < key->number;
        return true;
    case IMAP_SEARCH_OLDER: /* RFC 5032 3 */
        *ret = age_s >= (int64_t)key->number;
        return true;
    case IMAP_SEARCH_YOUNGER:
        *ret = age_s <= (int64_t)key->number;
        return true;
    case IMAP_SEARCH_MODSEQ:
        *ret = e->modseq >= key->number;
        return true;
    case IMAP_SEARCH_EMAILID:
        *ret = e->email && e->email == key->number;
        return true;
    case IMAP_SEARCH_THREADID:
        *ret = e->thread && e->thread == key->number;
        return true;
    default:
        if (key->op < IMAP_SEARCH_FLAG || key->op > IMAP_SEARCH_NEW)
            return false;
        *ret = flags_fit(key, c, e);
        return true;
    }
}

void imap_search_entry(const struct imap_search *search, const struct imap_search_context *context,
                       const struct imap_entry *entry, uint8_t *truths)
{
    for (size_t i = 0; i < search->count; i++) {
        bool yes;

        truths[i] = IMAP_UNKNOWN;
        if (entry_tells(&search->keys[i], context, entry, &yes))
            truths[i] = yes ? IMAP_YES : IMAP_NO;
    }
}

/* ---- the value of the whole ---- */

static uint8_t both(uint8_t a, uint8_t b)
{
    if (a == IMAP_NO || b == IMAP_NO)
        return IMAP_NO;
    return a == IMAP_YES && b == IMAP_YES ? IMAP_YES : IMAP_UNKNOWN;
}

static uint8_t not(uint8_t a)
{
    return a == IMAP_UNKNOWN ? IMAP_UNKNOWN : a == IMAP_YES ? IMAP_NO : IMAP_YES;
}

enum imap_truth imap_search_value(const struct imap_search *search, const uint8_t *truths, uint8_t *scratch)
{
    size_t depth = 0;

    for (size_t i = 0; i < search->count; i++) {
        switch (search->keys[i].op) {
        case IMAP_SEARCH_NOT:
            scratch[depth - 1] = not(scratch[depth - 1]);
            break;
        case IMAP_SEARCH_AND:
            depth--;
            scratch[depth - 1] = both(scratch[depth - 1], scratch[depth]);
            break;
        case IMAP_SEARCH_OR:
            depth--;
            scratch[depth - 1] = not(both(not(scratch[depth - 1]), not(scratch[depth])));
            break;
        default:
            scratch[depth++] = truths[i];
        }
    }
    return (enum imap_truth)scratch[0];
}

/* ---- texts ---- */

/* Whether the needle is in the text, which is UTF-8; folds it in pieces. */
static bool text_has(const struct imap_needle *needle, struct span text)
{
    struct imap_match match = {0};
    struct buf folded;
    bool found = needle->text.len == 0;

    buf_init(&folded, PIECE * MIME_FOLD_EXPANSION);
    while (text.len && !found) {
        size_t len = text.len < PIECE ? text.len : PIECE;

        while (len < text.len && len > PIECE - 4 && (text.p[len] & 0xc0) == 0x80)
            len--; /* between characters */
        buf_reset(&folded);
        mime_fold(span_sub(text, 0, len), &folded);
        found = imap_match_feed(&match, needle, buf_span(&folded));
        text = span_from(text, len);
    }
    buf_done(&folded);
    return found;
}

/* Addresses in a form that can be looked for, whatever comments and folds stood in them:
 * name <local@domain>, group: … */
static void decode_addresses(struct span value, struct buf *out)
{
    struct mime_address_list list;
    struct arena a;

    arena_init(&a, 8 * value.len + (16 << 20));
    buf_init(out, 8 * value.len + 4096 + 16 * ADDRESSES_MAX);
    mime_addresses_parse(&a, value, ADDRESSES_MAX, &list);
    for (size_t i = 0; i < list.count; i++) {
        const struct mime_address *address = &list.items[i];

        mime_words_decode(address->name.len ? address->name : address->comment, out);
        if (address->kind == MIME_ADDRESS_MAILBOX) {
            buf_append_str(out, " <");
            mime_address_format(address, out);
            buf_append_str(out, ">, ");
        } else {
            buf_append_str(out, address->kind == MIME_ADDRESS_GROUP_START ? ": " : "; ");
        }
    }
    arena_done(&a);
}

static bool is_address_field(enum mime_field_id field)
{
    return field >= MIME_FIELD_FROM && field <= MIME_FIELD_BCC;
}

static bool field_has(const struct imap_search_key *key, struct span value)
{
    struct buf text;
    bool found;

    if (!key->needle.text.len)
        return true;
    buf_init(&text, 6 * value.len + 64);
    mime_words_decode(value, &text);
    found = text_has(&key->needle, buf_span(&text));
    buf_done(&text);
    if (found || !is_address_field(key->field))
        return found;
    decode_addresses(value, &text);
    found = codec_utf8_valid(buf_span(&text)) && text_has(&key->needle, buf_span(&text));
    buf_done(&text);
    return found;
}

/* ---- stages ---- */

static bool is_header_key(const struct imap_search_key *key)
{
    return key->op >= IMAP_SEARCH_HEADER && key->op <= IMAP_SEARCH_ADDRESS;
}

static bool is_sent_key(const struct imap_search_key *key)
{
    return key->op >= IMAP_SEARCH_SENTBEFORE && key->op <= IMAP_SEARCH_SENTSINCE;
}

/* value: of the Date field. */
static bool sent_fits(const struct imap_search_key *key, struct span value)
{
    struct mime_date date;

    if (mime_date_parse(value, &date) != BRANT_OK)
        return false;
    /* the day as the sender wrote it */
    return on_day(key, IMAP_SEARCH_SENTBEFORE, imap_day(date.unix_s, date.offset_min));
}

static bool kept_has(const struct imap_search_key *key, const struct mime_part *root)
{
    for (const struct mime_value *v = root->values; v; v = v->next)
        if (v->id == key->field && field_has(key, v->text))
            return true;
    return false;
}

void imap_search_structure(const struct imap_search *search, const struct mime_part *root, uint8_t *truths)
{
    for (size_t i = 0; i < search->count; i++) {
        const struct imap_search_key *key = &search->keys[i];

        if (truths[i] != IMAP_UNKNOWN)
            continue;
        if (is_sent_key(key)) {
            truths[i] = sent_fits(key, mime_part_value(root, MIME_FIELD_DATE)) ? IMAP_YES : IMAP_NO;
        } else if (is_header_key(key) && key->field != MIME_FIELD_OTHER) {
            if (kept_has(key, root))
                truths[i] = IMAP_YES;
            else if (!(root->flags & MIME_PART_CLIPPED))
                truths[i] = IMAP_NO;
        }
    }
}

static bool looks_at(const struct imap_search_key *key, enum imap_search_where where, struct span name)
{
    if (key->op == IMAP_SEARCH_TEXT)
        return true;
    if (where == IMAP_WHERE_MESSAGE)
        return (is_header_key(key) && span_eq_nocase(name, key->name)) ||
               (is_sent_key(key) && span_eq_str_nocase(name, "Date"));
    return where == IMAP_WHERE_INSIDE && key->op == IMAP_SEARCH_BODY;
}

void imap_search_field(const struct imap_search *search, enum imap_search_where where, struct span name,
                       struct span value, uint8_t *truths)
{
    struct buf line = {0};

    for (size_t i = 0; i < search->count; i++) {
        const struct imap_search_key *key = &search->keys[i];
        bool found;

        if (truths[i] != IMAP_UNKNOWN || !looks_at(key, where, name))
            continue;
        if (is_header_key(key)) {
            found = field_has(key, value);
        } else if (is_sent_key(key)) {
            found = sent_fits(key, value);
        } else {
            if (!line.max) {
                buf_init(&line, name.len + 2 + 6 * value.len + 64);
                mime_utf8_repair(name, &line);
                buf_append_str(&line, ": ");
                mime_words_decode(value, &line);
            }
            found = text_has(&key->needle, buf_span(&line));
        }
        if (found)
            truths[i] = IMAP_YES;
    }
    buf_done(&line);
}

void imap_search_header_end(const struct imap_search *search, uint8_t *truths)
{
    for (size_t i = 0; i < search->count; i++)
        if (truths[i] == IMAP_UNKNOWN && (is_header_key(&search->keys[i]) || is_sent_key(&search->keys[i])))
            truths[i] = IMAP_NO;
}

bool imap_search_wants_text(const struct imap_search *search, const uint8_t *truths)
{
    for (size_t i = 0; i < search->count; i++)
        if (truths[i] == IMAP_UNKNOWN &&
            (search->keys[i].op == IMAP_SEARCH_TEXT || search->keys[i].op == IMAP_SEARCH_BODY))
            return true;
    return false;
}

void imap_search_text(const struct imap_search *search, struct span folded, struct imap_match *matches,
                      uint8_t *truths)
{
    for (size_t i = 0; i < search->count; i++) {
        const struct imap_search_key *key = &search->keys[i];

        if (truths[i] == IMAP_UNKNOWN && (key->op == IMAP_SEARCH_TEXT || key->op == IMAP_SEARCH_BODY) &&
            imap_match_feed(&matches[i], &key->needle, folded))
            truths[i] = IMAP_YES;
    }
}

void imap_search_end(const struct imap_search *search, uint8_t *truths)
{
    for (size_t i = 0; i < search->count; i++)
        if (truths[i] == IMAP_UNKNOWN)
            truths[i] = IMAP_NO;
}
