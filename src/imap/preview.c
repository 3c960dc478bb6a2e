#include "imap/preview.h"

#include "base/ascii.h"
#include "base/codec.h"
#include "base/err.h"

enum { STATE_TEXT, STATE_TAG_NAME, STATE_TAG, STATE_COMMENT, STATE_ENTITY };

void imap_preview_init(struct imap_preview *p, bool html)
{
    *p = (struct imap_preview){.html = html, .line_start = true};
    buf_init(&p->text, IMAP_PREVIEW_BYTES_MAX + 8);
}

void imap_preview_done(struct imap_preview *p)
{
    buf_done(&p->text);
}

static bool is_space(uint32_t code)
{
    return code <= ' ' || (code >= 0x7f && code <= 0xa0) || code == 0xad || code == 0x034f ||
           code == 0x061c || (code >= 0x2000 && code <= 0x200f) || (code >= 0x2028 && code <= 0x202f) ||
           code == 0x205f || (code >= 0x2060 && code <= 0x206f) || code == 0x3000 || code == 0xfeff;
}

static bool full(const struct imap_preview *p)
{
    return p->characters >= IMAP_PREVIEW_CHARACTERS_MAX;
}

/* One character of visible text. */
static void character(struct imap_preview *p, uint32_t code)
{
    if (full(p))
        return;
    if (is_space(code)) {
        p->space_due = p->text.len > 0;
        return;
    }
    if (p->space_due && ++p->characters <= IMAP_PREVIEW_CHARACTERS_MAX)
        buf_append_byte(&p->text, ' ');
    p->space_due = false;
    if (++p->characters <= IMAP_PREVIEW_CHARACTERS_MAX)
        codec_utf8_put(&p->text, code);
}

static void plain(struct imap_preview *p, uint32_t code)
{
    if (code == '\n') {
        p->line_start = true;
        p->quoted = false;
    } else if (p->line_start) {
        p->line_start = code == ' ' || code == '\r';
        p->quoted = code == '>';
    }
    if (!p->quoted)
        character(p, code);
}

/* ---- HTML ---- */

static bool word_is(const struct imap_preview *p, const char *word)
{
    return span_eq_str_nocase(span_make(p->word, p->word_len), word);
}

static void tag_named(struct imap_preview *p)
{
    static const char *const hidden[] = {"style", "script", "head", "title"};

    for (size_t i = 0; i < sizeof hidden / sizeof hidden[0]; i++) {
        if (word_is(p, hidden[i]))
            p->skip = true;
        else if (p->word_len && p->word[0] == '/' &&
                 span_eq_str_nocase(span_make(p->word + 1, p->word_len - 1U), hidden[i]))
            p->skip = false;
    }
    if (word_is(p, "body"))
        p->skip = false;
    p->state = STATE_TAG;
    p->quote_open = false;
    character(p, ' ');
}

static uint32_t number_entity(const struct imap_preview *p)
{
    bool hex = p->word_len > 1 && ascii_lower((uint8_t)p->word[1]) == 'x';
    uint32_t code = 0;

    for (size_t i = hex ? 2 : 1; i < p->word_len; i++) {
        int digit = ascii_hex_value((uint8_t)p->word[i]);

        if (digit < 0 || (!hex && digit > 9))
            return 0;
        code = code * (hex ? 16 : 10) + (uint32_t)digit;
        if (code > 0x10ffff)
            return 0;
    }
    return code >= 0xd800 && code < 0xe000 ? 0 : code;
}

static void entity_end(struct imap_preview *p)
{
    static const struct {
        const char *name;
        uint32_t code;
    } known[] = {{"amp", '&'},      {"lt", '<'},        {"gt", '>'},       {"quot", '"'},
                 {"apos", '\''},    {"nbsp", ' '},      {"zwnj", ' '},     {"shy", ' '},
                 {"copy", 0xa9},    {"hellip", 0x2026}, {"mdash", 0x2014}, {"ndash", 0x2013},
                 {"rsquo", 0x2019}, {"lsquo", 0x2018},  {"ldquo", 0x201c}, {"rdquo", 0x201d},
                 {"euro", 0x20ac}};
    uint32_t code = 0;

    p->state = STATE_TEXT;
    if (p->word_len && p->word[0] == '#')
        code = number_entity(p);
    for (size_t i = 0; i < sizeof known / sizeof known[0] && !code; i++)
        if (word_is(p, known[i].name))
            code = known[i].code;
    if (code)
        character(p, code);
}

/* It was no entity: what was held is text. */
static void entity_not(struct imap_preview *p)
{
    p->state = STATE_TEXT;
    character(p, '&');
    for (size_t i = 0; i < p->word_len; i++)
        character(p, (uint8_t)p->word[i]);
}

static bool word_add(struct imap_preview *p, uint32_t code)
{
    if (code >= 0x80 || p->word_len == sizeof p->word)
        return false;
    p->word[p->word_len++] = (char)code;
    return true;
}

static void html_text(struct imap_preview *p, uint32_t code)
{
    p->word_len = 0;
    if (code == '<')
        p->state = STATE_TAG_NAME;
    else if (p->skip)
        return;
    else if (code == '&')
        p->state = STATE_ENTITY;
    else
        character(p, code);
}

static void html_tag(struct imap_preview *p, uint32_t code)
{
    if (p->quote_open) {
        p->quote_open = code != p->quote;
    } else if (code == '"' || code == '\'') {
        p->quote_open = true;
        p->quote = (uint8_t)code;
    } else if (code == '>') {
        p->state = STATE_TEXT;
    }
}

static void html(struct imap_preview *p, uint32_t code)
{
    switch (p->state) {
    case STATE_TAG_NAME:
        if (p->word_len == 3 && memcmp(p->word, "!--", 3) == 0) {
            p->state = STATE_COMMENT;
            p->word_len = 0;
            html(p, code);
        } else if (code > ' ' && code != '>' && word_add(p, code)) {
            return;
        } else {
            tag_named(p);
            html_tag(p, code);
        }
        return;
    case STATE_TAG:
        html_tag(p, code);
        return;
    case STATE_COMMENT: /* word_len counts the dashes at the end */
        if (code == '-')
            p->word_len = p->word_len < 2 ? (uint8_t)(p->word_len + 1) : 2;
        else if (code == '>' && p->word_len == 2)
            p->state = STATE_TEXT;
        else
            p->word_len = 0;
        return;
    case STATE_ENTITY:
        if (code == ';') {
            entity_end(p);
        } else if (!(code < 0x80 && (ascii_is_alnum((uint8_t)code) || code == '#')) || !word_add(p, code)) {
            entity_not(p);
            html_text(p, code);
        }
        return;
    default:
        html_text(p, code);
    }
}

bool imap_preview_feed(struct imap_preview *p, struct span utf8)
{
    while (utf8.len && !full(p)) {
        uint32_t code;
        size_t len = codec_utf8_next(utf8, &code);

        if (!len) {
            len = 1;
            code = 0xfffd;
        }
        if (p->html)
            html(p, code);
        else
            plain(p, code);
        utf8 = span_from(utf8, len);
    }
    return !full(p);
}
