/* SEARCH: from the command to the program. */
#include "base/ascii.h"
#include "base/codec.h"
#include "base/err.h"
#include "imap/date.h"
#include "imap/search.h"
#include "mime/charset.h"
#include "mime/fold.h"

enum argument {
    ARG_NONE,
    ARG_FLAG, /* no argument: the table's number is the flag */
    ARG_KEYWORD,
    ARG_DATE,
    ARG_NUMBER,
    ARG_SECONDS,
    ARG_STRING, /* the table's name is the field */
    ARG_HEADER,
    ARG_UIDS,
    ARG_MODSEQ,
    ARG_ID
};

static const struct key_name {
    const char *name;
    enum imap_search_op op;
    enum argument argument;
    uint64_t number;
    const char *field;
} names[] = {
    {"ALL", IMAP_SEARCH_ALL, ARG_NONE, 0, NULL},
    {"ANSWERED", IMAP_SEARCH_FLAG, ARG_FLAG, IMAP_FLAG_ANSWERED, NULL},
    {"BCC", IMAP_SEARCH_ADDRESS, ARG_STRING, 0, "Bcc"},
    {"BEFORE", IMAP_SEARCH_BEFORE, ARG_DATE, 0, NULL},
    {"BODY", IMAP_SEARCH_BODY, ARG_STRING, 0, NULL},
    {"CC", IMAP_SEARCH_ADDRESS, ARG_STRING, 0, "Cc"},
    {"DELETED", IMAP_SEARCH_FLAG, ARG_FLAG, IMAP_FLAG_DELETED, NULL},
    {"DRAFT", IMAP_SEARCH_FLAG, ARG_FLAG, IMAP_FLAG_DRAFT, NULL},
    {"EMAILID", IMAP_SEARCH_EMAILID, ARG_ID, 'M', NULL},
    {"FLAGGED", IMAP_SEARCH_FLAG, ARG_FLAG, IMAP_FLAG_FLAGGED, NULL},
    {"FROM", IMAP_SEARCH_ADDRESS, ARG_STRING, 0, "From"},
    {"HEADER", IMAP_SEARCH_HEADER, ARG_HEADER, 0, NULL},
    {"KEYWORD", IMAP_SEARCH_KEYWORD, ARG_KEYWORD, 0, NULL},
    {"LARGER", IMAP_SEARCH_LARGER, ARG_NUMBER, 0, NULL},
    {"MODSEQ", IMAP_SEARCH_MODSEQ, ARG_MODSEQ, 0, NULL},
    {"NEW", IMAP_SEARCH_NEW, ARG_NONE, 0, NULL},
    {"OLD", IMAP_SEARCH_OLD, ARG_NONE, 0, NULL},
    {"OLDER", IMAP_SEARCH_OLDER, ARG_SECONDS, 0, NULL},
    {"ON", IMAP_SEARCH_ON, ARG_DATE, 0, NULL},
    {"RECENT", IMAP_SEARCH_RECENT, ARG_NONE, 0, NULL},
    {"SAVEDATESUPPORTED", IMAP_SEARCH_ALL, ARG_NONE, 0, NULL}, /* RFC 8514 4.3 */
    {"SAVEDBEFORE", IMAP_SEARCH_SAVEDBEFORE, ARG_DATE, 0, NULL},
    {"SAVEDON", IMAP_SEARCH_SAVEDON, ARG_DATE, 0, NULL},
    {"SAVEDSINCE", IMAP_SEARCH_SAVEDSINCE, ARG_DATE, 0, NULL},
    {"SEEN", IMAP_SEARCH_FLAG, ARG_FLAG, IMAP_FLAG_SEEN, NULL},
    {"SENTBEFORE", IMAP_SEARCH_SENTBEFORE, ARG_DATE, 0, NULL},
    {"SENTON", IMAP_SEARCH_SENTON, ARG_DATE, 0, NULL},
    {"SENTSINCE", IMAP_SEARCH_SENTSINCE, ARG_DATE, 0, NULL},
    {"SINCE", IMAP_SEARCH_SINCE, ARG_DATE, 0, NULL},
    {"SMALLER", IMAP_SEARCH_SMALLER, ARG_NUMBER, 0, NULL},
    {"SUBJECT", IMAP_SEARCH_SUBJECT, ARG_STRING, 0, "Subject"},
    {"TEXT", IMAP_SEARCH_TEXT, ARG_STRING, 0, NULL},
    {"THREADID", IMAP_SEARCH_THREADID, ARG_ID, 'T', NULL},
    {"TO", IMAP_SEARCH_ADDRESS, ARG_STRING, 0, "To"},
    {"UID", IMAP_SEARCH_SET, ARG_UIDS, 0, NULL},
    {"UNANSWERED", IMAP_SEARCH_NO_FLAG, ARG_FLAG, IMAP_FLAG_ANSWERED, NULL},
    {"UNDELETED", IMAP_SEARCH_NO_FLAG, ARG_FLAG, IMAP_FLAG_DELETED, NULL},
    {"UNDRAFT", IMAP_SEARCH_NO_FLAG, ARG_FLAG, IMAP_FLAG_DRAFT, NULL},
    {"UNFLAGGED", IMAP_SEARCH_NO_FLAG, ARG_FLAG, IMAP_FLAG_FLAGGED, NULL},
    {"UNKEYWORD", IMAP_SEARCH_NO_KEYWORD, ARG_KEYWORD, 0, NULL},
    {"UNSEEN", IMAP_SEARCH_NO_FLAG, ARG_FLAG, IMAP_FLAG_SEEN, NULL},
    {"YOUNGER", IMAP_SEARCH_YOUNGER, ARG_SECONDS, 0, NULL},
};

/* What the key to come belongs to. */
enum frame_kind { FRAME_LIST, FRAME_NOT, FRAME_OR };

struct frame {
    enum frame_kind kind;
    unsigned done; /* keys of it that are complete */
};

struct parser {
    struct imap_lex lex;
    struct imap_search search;
    size_t keys_max, texts;
    struct span charset; /* empty: UTF-8 */
    struct frame frames[IMAP_SEARCH_DEPTH_MAX];
    size_t depth;
    enum imap_search_error error;
};

static bool fail(struct parser *p, enum imap_search_error error)
{
    if (p->error == IMAP_SEARCH_OK)
        p->error = error;
    return false;
}

static struct imap_search_key *emit(struct parser *p, enum imap_search_op op)
{
    struct imap_search_key *key;

    if (p->search.count == p->keys_max) {
        fail(p, IMAP_SEARCH_LIMIT);
        return NULL;
    }
    key = &p->search.keys[p->search.count++];
    key->op = op;
    key->always = true;
    for (size_t i = 0; i < p->depth; i++)
        key->always = key->always && p->frames[i].kind == FRAME_LIST;
    return key;
}

static bool push(struct parser *p, enum frame_kind kind)
{
    if (p->depth == IMAP_SEARCH_DEPTH_MAX)
        return fail(p, IMAP_SEARCH_LIMIT);
    p->frames[p->depth++] = (struct frame){kind, 0};
    return true;
}

/* ---- arguments ---- */

/* The string in UTF-8, folded, ready to be looked for. */
static bool needle_make(struct parser *p, struct span said, struct imap_needle *ret)
{
    _cleanup_buf_ struct buf text = {0}, folded = {0};
    struct span kept;
    int err;

    if (said.len > IMAP_SEARCH_STRING_MAX || ++p->texts > IMAP_SEARCH_TEXTS_MAX)
        return fail(p, IMAP_SEARCH_LIMIT);
    buf_init(&text, 6 * said.len + 64);
    buf_init(&folded, (6 * said.len + 64) * MIME_FOLD_EXPANSION);
    err = p->charset.len ? mime_charset_to_utf8(p->charset, said, &text) : mime_utf8_repair(said, &text);
    if (err || mime_fold(buf_span(&text), &folded) != BRANT_OK)
        return fail(p, IMAP_SEARCH_LIMIT);
    kept = arena_dup(p->lex.arena, buf_span(&folded));
    if (!kept.p || !imap_needle_make(p->lex.arena, kept, ret))
        return fail(p, IMAP_SEARCH_LIMIT);
    return true;
}

static bool string_argument(struct parser *p, struct imap_search_key *key)
{
    struct span said;

    if (!imap_lex_astring(&p->lex, &said))
        return false;
    if (key->op == IMAP_SEARCH_BODY || key->op == IMAP_SEARCH_TEXT)
        p->search.body = true;
    p->search.structure = true;
    return needle_make(p, said, &key->needle);
}

static bool header_argument(struct parser *p, struct imap_search_key *key)
{
    struct span said;

    if (!imap_lex_astring(&p->lex, &key->name) || !imap_lex_space(&p->lex) ||
        !imap_lex_astring(&p->lex, &said))
        return false;
    key->field = mime_field_identify(key->name);
    p->search.structure = true;
    return needle_make(p, said, &key->needle);
}

static bool date_argument(struct parser *p, struct imap_search_key *key)
{
    struct span text;

    if (!imap_lex_atom(&p->lex, &text) && !imap_lex_string(&p->lex, &text))
        return false;
    if (key->op >= IMAP_SEARCH_SENTBEFORE && key->op <= IMAP_SEARCH_SENTSINCE)
        p->search.structure = true;
    else
        p->search.fields |= IMAP_ENTRY_DATE | (key->op >= IMAP_SEARCH_SAVEDBEFORE ? IMAP_ENTRY_SAVED : 0U);
    return imap_date_parse(text, &key->day) == BRANT_OK;
}

/* RFC 7162 3.1.5: [entry-name SP entry-type-req SP] mod-sequence-valzer. One MODSEQ covers all flags here. */
static bool modseq_argument(struct parser *p, struct imap_search_key *key)
{
    struct span entry;

    if (imap_lex_peek(&p->lex) == '"' &&
        (!imap_lex_string(&p->lex, &entry) || !span_starts_nocase(entry, SPAN_LIT("/flags/")) ||
         !imap_lex_space(&p->lex) ||
         (!imap_lex_word(&p->lex, "priv") && !imap_lex_word(&p->lex, "shared") &&
          !imap_lex_word(&p->lex, "all")) ||
         !imap_lex_space(&p->lex)))
        return false;
    p->search.fields |= IMAP_ENTRY_MODSEQ;
    p->search.modseq = true;
    return imap_lex_number(&p->lex, INT64_MAX, &key->number);
}

/* An objectid of ours: a letter and hexadecimal digits. Others are well-formed and nobody's. */
static bool id_argument(struct parser *p, struct imap_search_key *key)
{
    uint8_t letter = (uint8_t)key->number;
    struct span text;

    if (!imap_lex_astring(&p->lex, &text))
        return false;
    p->search.fields |= IMAP_ENTRY_IDS;
    key->number = 0;
    if (text.len < 2 || text.len > 17 || text.p[0] != letter) {
        key->op = IMAP_SEARCH_NONE;
        return true;
    }
    for (size_t i = 1; i < text.len; i++) {
        int digit = ascii_hex_value(text.p[i]);

        if (digit < 0)
            key->op = IMAP_SEARCH_NONE;
        key->number = key->number << 4 | (uint64_t)(digit & 15);
    }
    return true;
}

static bool number_argument(struct parser *p, struct imap_search_key *key, bool seconds)
{
    if (!imap_lex_number(&p->lex, seconds ? UINT32_MAX : INT64_MAX, &key->number))
        return false;
    p->search.fields |= seconds ? IMAP_ENTRY_DATE : IMAP_ENTRY_SIZE;
    return !seconds || key->number > 0; /* RFC 5032 3: nz-number */
}

static bool keyword_argument(struct parser *p, struct imap_search_key *key)
{
    p->search.fields |= IMAP_ENTRY_FLAGS;
    return imap_lex_flag(&p->lex, &key->name) && key->name.p[0] != '\\';
}

static bool argument(struct parser *p, const struct key_name *name, struct imap_search_key *key)
{
    if (name->argument == ARG_NONE || name->argument == ARG_FLAG) {
        p->search.fields |= name->argument == ARG_FLAG || key->op == IMAP_SEARCH_NEW ? IMAP_ENTRY_FLAGS : 0;
        return true;
    }
    if (!imap_lex_space(&p->lex))
        return false;
    switch (name->argument) {
    case ARG_KEYWORD:
        return keyword_argument(p, key);
    case ARG_DATE:
        return date_argument(p, key);
    case ARG_NUMBER:
        return number_argument(p, key, false);
    case ARG_SECONDS:
        return number_argument(p, key, true);
    case ARG_STRING:
        return string_argument(p, key);
    case ARG_HEADER:
        return header_argument(p, key);
    case ARG_UIDS:
        key->said_uid = true;
        return imap_lex_seq_set(&p->lex, &key->said);
    case ARG_MODSEQ:
        return modseq_argument(p, key);
    default:
        return id_argument(p, key);
    }
}

/* ---- keys ---- */

static bool named_key(struct parser *p, struct span word)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct imap_search_key *key;

        if (!span_eq_str_nocase(word, names[i].name))
            continue;
        if (!(key = emit(p, names[i].op)))
            return false;
        key->number = names[i].number;
        if (names[i].field) {
            key->name = span_str(names[i].field);
            key->field = mime_field_identify(key->name);
        }
        if (key->always && key->op == IMAP_SEARCH_FLAG)
            p->search.flags_all |= key->number;
        if (key->always && key->op == IMAP_SEARCH_NO_FLAG)
            p->search.flags_none |= key->number;
        return argument(p, &names[i], key) || fail(p, IMAP_SEARCH_SYNTAX);
    }
    return fail(p, IMAP_SEARCH_SYNTAX);
}

/* A key begins: a whole one (true), or one that others follow (*ret_more). */
static bool key_begin(struct parser *p, bool *ret_more)
{
    struct imap_search_key *key;
    uint8_t c = imap_lex_peek(&p->lex);
    struct span word;

    *ret_more = true;
    if (imap_lex_byte(&p->lex, '('))
        return push(p, FRAME_LIST);
    *ret_more = false;
    if (ascii_is_digit(c) || c == '*' || c == '$') {
        if (!(key = emit(p, IMAP_SEARCH_SET)))
            return false;
        return imap_lex_seq_set(&p->lex, &key->said) || fail(p, IMAP_SEARCH_SYNTAX);
    }
    if (!imap_lex_atom(&p->lex, &word))
        return fail(p, IMAP_SEARCH_SYNTAX);
    *ret_more = true;
    if (span_eq_str_nocase(word, "NOT"))
        return push(p, FRAME_NOT) && (imap_lex_space(&p->lex) || fail(p, IMAP_SEARCH_SYNTAX));
    if (span_eq_str_nocase(word, "OR"))
        return push(p, FRAME_OR) && (imap_lex_space(&p->lex) || fail(p, IMAP_SEARCH_SYNTAX));
    *ret_more = false;
    return named_key(p, word);
}

/* A key is complete: what it completes in turn. True: another key follows; false: the end, or an error. */
static bool key_end(struct parser *p)
{
    for (;;) {
        struct frame *f = &p->frames[p->depth - 1];

        f->done++;
        if (f->kind == FRAME_LIST) {
            if (f->done > 1 && !emit(p, IMAP_SEARCH_AND))
                return false;
            if (p->depth == 1 && imap_lex_end(&p->lex))
                return false;
            if (imap_lex_space(&p->lex))
                return true;
            if (p->depth == 1 || !imap_lex_byte(&p->lex, ')'))
                return fail(p, IMAP_SEARCH_SYNTAX);
        } else if (f->kind == FRAME_OR && f->done == 1) {
            return imap_lex_space(&p->lex) || fail(p, IMAP_SEARCH_SYNTAX);
        } else if (!emit(p, f->kind == FRAME_OR ? IMAP_SEARCH_OR : IMAP_SEARCH_NOT)) {
            return false;
        }
        p->depth--;
    }
}

static void keys(struct parser *p)
{
    bool more;

    push(p, FRAME_LIST);
    do {
        do {
            if (!key_begin(p, &more))
                return;
        } while (more);
    } while (key_end(p));
}

/* ---- what stands before the keys ---- */

/* RFC 4731 3.1, RFC 5182 2.1: "RETURN" SP "(" [option *(SP option)] ")" SP */
static bool returns(struct parser *p)
{
    static const struct {
        const char *name;
        unsigned bit;
    } options[] = {{"MIN", IMAP_RETURN_MIN},
                   {"MAX", IMAP_RETURN_MAX},
                   {"ALL", IMAP_RETURN_ALL},
                   {"COUNT", IMAP_RETURN_COUNT},
                   {"SAVE", IMAP_RETURN_SAVE}};

    if (!imap_lex_space(&p->lex) || !imap_lex_byte(&p->lex, '('))
        return false;
    while (!imap_lex_byte(&p->lex, ')')) {
        size_t i = 0;

        if (p->search.returns && !imap_lex_space(&p->lex))
            return false;
        while (i < 5 && !imap_lex_word(&p->lex, options[i].name))
            i++;
        if (i == 5)
            return false;
        p->search.returns |= options[i].bit;
    }
    if (!p->search.returns)
        p->search.returns = IMAP_RETURN_ALL;
    return imap_lex_space(&p->lex);
}

static bool charset(struct parser *p, bool utf8)
{
    struct mime_charset *c;
    struct span label;

    if (!imap_lex_space(&p->lex) || !imap_lex_astring(&p->lex, &label) || !imap_lex_space(&p->lex) || utf8)
        return fail(p, IMAP_SEARCH_SYNTAX);
    if (mime_charset_open(label, &c) != BRANT_OK)
        return fail(p, IMAP_SEARCH_CHARSET);
    mime_charset_close(c);
    p->charset = label;
    return true;
}

/* How many keys the text can hold at most, AND, OR and NOT among them: each takes two bytes or more. */
static size_t keys_room(const struct imap_lex *lex, size_t keys_max)
{
    size_t most = lex->in.len - lex->pos + 2;

    return most < keys_max ? most : keys_max;
}

enum imap_search_error imap_search_parse(struct imap_lex *lex, size_t keys_max, bool utf8,
                                         struct imap_search *ret)
{
    struct parser p = {.lex = *lex, .keys_max = keys_room(lex, keys_max)};

    p.search.keys = arena_array(lex->arena, p.keys_max, sizeof *p.search.keys);
    if (!p.search.keys)
        return IMAP_SEARCH_LIMIT;
    if (imap_lex_word(&p.lex, "RETURN") && !returns(&p))
        return IMAP_SEARCH_SYNTAX;
    if (!imap_lex_word(&p.lex, "CHARSET") || charset(&p, utf8))
        keys(&p);
    for (size_t i = 0; i < p.search.count; i++)
        imap_set_init(&p.search.keys[i].set, 0);
    if (p.error)
        return p.error;
    *lex = p.lex;
    *ret = p.search;
    return IMAP_SEARCH_OK;
}
