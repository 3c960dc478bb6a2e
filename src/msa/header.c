#include "msa/header.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/ascii.h"
#include "base/codec.h"
#include "base/err.h"
#include "base/mem.h"
#include "mime/address.h"
#include "mime/date.h"
#include "msa/encode.h"
#include "msa/field.h"
#include "msa/mailbox.h"
#include "msa/shown.h"

enum { TEXT_BYTES_MAX = 512 };

enum state { STATE_FEEDING, STATE_ASKING, STATE_OVER };

struct sender {
    struct span address; /* from the arena */
    unsigned places;
    bool allowed;
};

struct msa_header {
    enum state state;
    struct buf bytes;
    size_t line_start; /* of the line that is arriving */
    bool done, too_long;

    struct arena arena; /* addresses, copies of the facts */
    struct msa_facts facts;
    size_t seen[MSA_FIELD_COUNT];       /* fields of each kind */
    struct span first[MSA_FIELD_COUNT]; /* value of the first of each */
    size_t authors;                     /* mailboxes in From */
    struct span author;                 /* the first of them */
    bool sender_unusable;               /* Sender cannot be read */
    bool date_unusable, message_id_unusable;
    struct sender senders[MSA_SENDERS_MAX];
    size_t sender_count, answered;
    unsigned repairs;
    char text[TEXT_BYTES_MAX];
};

struct msa_header *msa_header_new(size_t bytes_max)
{
    struct msa_header *h = mem_zalloc(sizeof *h);

    buf_init(&h->bytes, bytes_max);
    arena_init(&h->arena, (size_t)MSA_SENDERS_MAX * 1024 + 8192);
    return h;
}

void msa_header_free(struct msa_header *h)
{
    if (!h)
        return;
    buf_done(&h->bytes);
    arena_done(&h->arena);
    free(h);
}

/* --- collecting --- */

size_t msa_header_feed(struct msa_header *h, struct span in, bool *ret_done)
{
    size_t taken = 0;

    while (taken < in.len && !h->done) {
        size_t lf = span_find_byte(span_from(in, taken), '\n');
        struct span piece = span_sub(in, taken, lf == SPAN_NPOS ? lf : lf + 1), line;

        if (buf_append(&h->bytes, piece)) {
            h->done = h->too_long = true;
            break;
        }
        taken += piece.len;
        if (lf == SPAN_NPOS)
            break;
        line = span_from(buf_span(&h->bytes), h->line_start);
        h->line_start = h->bytes.len;
        h->done = span_eq_str(line, "\r\n") || span_eq_str(line, "\n");
    }
    *ret_done = h->done;
    return taken;
}

/* --- refusing --- */

static int refuse(struct msa_header *h, uint16_t code, uint8_t subject, uint16_t detail,
                  struct msa_verdict *ret)
{
    h->state = STATE_OVER;
    *ret = (struct msa_verdict){.code = code, .subject = subject, .detail = detail, .text = h->text};
    return BRANT_EREFUSED;
}

/* RFC 3463: 5.6.0, other or undefined media error. The reason begins with "a …" or "more …". */
static int malformed(struct msa_header *h, const char *where, const char *reason, struct msa_verdict *ret)
{
    snprintf(h->text, sizeof h->text, "%s: %s", where, reason);
    return refuse(h, 550, 6, 0, ret);
}

static int needs_utf8(struct msa_header *h, const char *where, struct msa_verdict *ret)
{
    snprintf(h->text, sizeof h->text, "%s: a non-ASCII address needs SMTPUTF8", where);
    return refuse(h, 550, 6, 7, ret);
}

/* --- addresses to ask for --- */

/* *ret_kept, when it is not NULL, becomes the copy. BRANT_ELIMIT: too many, or longer than any address. */
static int sender_add(struct msa_header *h, struct span address, unsigned place, struct span *ret_kept)
{
    struct sender *s;

    if (address.len > MSA_ADDRESS_BYTES_MAX)
        return BRANT_ELIMIT;
    for (size_t i = 0; i < h->sender_count; i++) {
        if (span_eq(h->senders[i].address, address)) {
            h->senders[i].places |= place;
            if (ret_kept)
                *ret_kept = h->senders[i].address;
            return BRANT_OK;
        }
    }
    if (h->sender_count == MSA_SENDERS_MAX)
        return BRANT_ELIMIT;
    s = &h->senders[h->sender_count++];
    s->address = arena_dup(&h->arena, address);
    s->places = place;
    if (ret_kept)
        *ret_kept = s->address;
    return BRANT_OK;
}

static int shown_addresses_add(struct msa_header *h, struct span text, unsigned place)
{
    _cleanup_buf_ struct buf scratch = {0};
    struct span address;
    int rc = BRANT_OK;

    buf_init(&scratch, text.len);
    while (!rc && msa_shown_next(&text, &scratch, &address))
        rc = sender_add(h, address, place, NULL);
    return rc;
}

/* What a display name or comment shows: to readers that decode it and to those that don't. */
static int shown_add(struct msa_header *h, struct span raw, unsigned place, const char **ret_reason)
{
    _cleanup_buf_ struct buf text = {0};
    int rc;

    if (!raw.len)
        return BRANT_OK;
    buf_init(&text, 6 * raw.len + 64);
    rc = msa_shown_text(raw, &text, ret_reason);
    if (rc)
        return rc;
    rc = shown_addresses_add(h, buf_span(&text), place);
    if (!rc)
        rc = shown_addresses_add(h, raw, place);
    if (rc)
        *ret_reason = "a display name with too many or too long addresses";
    return rc;
}

/* The lenient reader, whose reading IMAP and other readers show, must see the same mailboxes. */
static bool readers_agree(struct span value, const struct msa_mailboxes *list)
{
    _cleanup_arena_ struct arena arena = {0};
    _cleanup_buf_ struct buf ours = {0}, theirs = {0};
    struct mime_address_list other;

    arena_init(&arena, 4 * value.len + 65536);
    buf_init(&ours, value.len + 16);
    buf_init(&theirs, 2 * value.len + 16);
    mime_addresses_parse(&arena, value, MSA_MAILBOXES_MAX + 1, &other);
    if (other.truncated || other.count != list->count)
        return false;
    for (size_t i = 0; i < list->count; i++) {
        if (other.items[i].kind != MIME_ADDRESS_MAILBOX || other.items[i].route.len)
            return false;
        buf_reset(&ours);
        buf_reset(&theirs);
        if (msa_mailbox_address(&list->items[i], &ours) || mime_address_format(&other.items[i], &theirs) ||
            !span_eq_nocase(buf_span(&ours), buf_span(&theirs)))
            return false;
    }
    return true;
}

/* Reads one originator field and notes its addresses. BRANT_EUNSUPPORTED: SMTPUTF8 is needed. */
static int originators(struct msa_header *h, struct span value, unsigned place, size_t *ret_count,
                       const char **ret_reason)
{
    _cleanup_buf_ struct buf address = {0};
    struct msa_mailboxes list;
    int rc = msa_mailboxes_parse(value, &list, ret_reason);

    if (rc)
        return rc;
    if (list.utf8 && !h->facts.smtputf8)
        return BRANT_EUNSUPPORTED;
    if (!readers_agree(value, &list)) {
        *ret_reason = "addresses that can be read in two ways";
        return BRANT_ESYNTAX;
    }
    buf_init(&address, MSA_ADDRESS_BYTES_MAX + 2);
    for (size_t i = 0; i < list.count && !rc; i++) {
        /* What the name of an unusable Sender shows makes that Sender unusable, no more. */
        unsigned shown = place == MSA_PLACE_SENDER ? MSA_PLACE_SENDER : MSA_PLACE_SHOWN;

        buf_reset(&address);
        *ret_reason = "too many addresses";
        rc = msa_mailbox_address(&list.items[i], &address);
        if (!rc)
            rc = sender_add(h, buf_span(&address), place,
                            i == 0 && place == MSA_PLACE_FROM ? &h->author : NULL);
        if (!rc)
            rc = shown_add(h, list.items[i].name, shown, ret_reason);
        if (!rc)
            rc = shown_add(h, list.items[i].comment, shown, ret_reason);
    }
    *ret_count = list.count;
    return rc;
}

/* --- checking --- */

static int check_from(struct msa_header *h, struct span value, struct msa_verdict *ret)
{
    const char *reason = NULL;
    int rc = originators(h, value, MSA_PLACE_FROM, &h->authors, &reason);

    if (rc == BRANT_EUNSUPPORTED)
        return needs_utf8(h, "From", ret);
    return rc ? malformed(h, "From", reason, ret) : BRANT_OK;
}

static int check_resent(struct msa_header *h, const char *name, struct span value, struct msa_verdict *ret)
{
    const char *reason = NULL;
    size_t count;
    int rc = originators(h, value, MSA_PLACE_RESENT, &count, &reason);

    if (rc == BRANT_EUNSUPPORTED)
        return needs_utf8(h, name, ret);
    return rc ? malformed(h, name, reason, ret) : BRANT_OK;
}

/* Sender is replaced rather than refused: many programs set it to a name of the machine. */
static void check_sender(struct msa_header *h, struct span value)
{
    const char *reason;
    size_t count = 0, before = h->sender_count;

    if (originators(h, value, MSA_PLACE_SENDER, &count, &reason) || count != 1) {
        h->sender_unusable = true;
        h->sender_count = before;
        for (size_t i = 0; i < before; i++)
            h->senders[i].places &= ~(unsigned)MSA_PLACE_SENDER;
    }
}

/* A repeated field that may stand once. */
static bool is_duplicate(const struct msa_header *h, enum msa_field kind, struct span value)
{
    return h->seen[kind] && kind != MSA_FIELD_FROM &&
           span_eq(msa_field_trim(value), msa_field_trim(h->first[kind]));
}

static int check_field(struct msa_header *h, size_t number, const struct mime_raw_field *field,
                       struct msa_verdict *ret)
{
    const char *fault = msa_field_fault(field);
    enum msa_field kind;
    const struct msa_field_info *info;

    if (fault) {
        char where[64];

        snprintf(where, sizeof where, "Field %zu of the header section", number);
        return malformed(h, where, fault, ret);
    }
    kind = msa_field_find(field->name);
    info = msa_field_info(kind);
    if (h->seen[kind] && (info->flags & MSA_FIELD_ONCE)) {
        if (!is_duplicate(h, kind, field->value))
            return malformed(h, info->name, "more than one such field", ret);
        return BRANT_OK;
    }
    if (!h->seen[kind]++)
        h->first[kind] = field->value;
    if (kind == MSA_FIELD_RESENT_FROM || kind == MSA_FIELD_RESENT_SENDER)
        return check_resent(h, info->name, field->value, ret);
    return BRANT_OK;
}

/* The fields by themselves. What they say together is known only when all are seen. */
static int check_fields(struct msa_header *h, struct msa_verdict *ret)
{
    struct span rest = buf_span(&h->bytes);
    struct mime_raw_field field;
    int rc = BRANT_OK;

    for (size_t number = 1; !rc && mime_raw_field_next(&rest, &field); number++)
        rc = check_field(h, number, &field, ret);
    return rc;
}

static int check_last_line(struct msa_header *h, struct msa_verdict *ret)
{
    struct span all = buf_span(&h->bytes);

    if (h->too_long) {
        snprintf(h->text, sizeof h->text, "The header section is longer than %zu octets", h->bytes.max);
        return refuse(h, 552, 3, 4, ret);
    }
    if (all.len && !span_ends(all, SPAN_LIT("\r\n")))
        return malformed(h, "The header section", "a line that does not end with CRLF", ret);
    return BRANT_OK;
}

static bool is_ascii(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] >= 0x80)
            return false;
    return true;
}

/* RFC 6409 8: From that is missing is known all the same. */
static int check_missing_from(struct msa_header *h, struct msa_verdict *ret)
{
    struct span address = h->facts.reverse_path.len ? h->facts.reverse_path : h->facts.account;

    if (!is_ascii(address) && !h->facts.smtputf8)
        return needs_utf8(h, "From", ret);
    if (sender_add(h, address, MSA_PLACE_FROM, &h->author))
        return malformed(h, "From", "an address that is too long", ret);
    h->authors = 1;
    return BRANT_OK;
}

static int facts_keep(struct msa_header *h, const struct msa_facts *facts, struct msa_verdict *ret)
{
    h->facts = *facts;
    h->facts.account = arena_dup(&h->arena, facts->account);
    h->facts.reverse_path = arena_dup(&h->arena, facts->reverse_path);
    h->facts.hostname = arena_dup(&h->arena, facts->hostname);
    if ((facts->account.len && !h->facts.account.p) ||
        (facts->reverse_path.len && !h->facts.reverse_path.p) ||
        (facts->hostname.len && !h->facts.hostname.p))
        return malformed(h, "The envelope", "an address that is too long", ret);
    return BRANT_OK;
}

int msa_header_finish(struct msa_header *h, const struct msa_facts *facts, struct msa_verdict *ret)
{
    struct mime_date date;
    int rc;

    assert(h->state == STATE_FEEDING);
    h->done = true;
    h->state = STATE_ASKING;
    rc = facts_keep(h, facts, ret);
    if (!rc)
        rc = check_last_line(h, ret);
    if (!rc && h->bytes.len)
        rc = check_fields(h, ret);
    if (!rc && h->seen[MSA_FIELD_FROM])
        rc = check_from(h, h->first[MSA_FIELD_FROM], ret);
    else if (!rc)
        rc = check_missing_from(h, ret);
    if (rc)
        return rc;
    if (h->seen[MSA_FIELD_SENDER])
        check_sender(h, h->first[MSA_FIELD_SENDER]);
    h->date_unusable = h->seen[MSA_FIELD_DATE] && mime_date_parse(h->first[MSA_FIELD_DATE], &date);
    h->message_id_unusable =
        h->seen[MSA_FIELD_MESSAGE_ID] && !msa_message_id_valid(h->first[MSA_FIELD_MESSAGE_ID]);
    return BRANT_OK;
}

/* --- asking --- */

bool msa_header_sender_next(const struct msa_header *h, struct msa_sender *ret)
{
    if (h->state != STATE_ASKING || h->answered == h->sender_count)
        return false;
    ret->address = h->senders[h->answered].address;
    ret->places = h->senders[h->answered].places;
    return true;
}

void msa_header_sender_answer(struct msa_header *h, bool allowed)
{
    assert(h->state == STATE_ASKING && h->answered < h->sender_count);
    h->senders[h->answered++].allowed = allowed;
}

/* RFC 6409 6.1. The address was found valid, so it may be repeated. */
static int check_allowed(struct msa_header *h, struct msa_verdict *ret)
{
    for (size_t i = 0; i < h->sender_count; i++) {
        const struct sender *s = &h->senders[i];
        const char *where = s->places & MSA_PLACE_FROM     ? "From: "
                            : s->places & MSA_PLACE_RESENT ? "Resent-From or Resent-Sender: "
                                                           : "A display name shows an address: ";

        if (s->allowed)
            continue;
        if (s->places == MSA_PLACE_SENDER) {
            h->sender_unusable = true;
            continue;
        }
        snprintf(h->text, sizeof h->text, "%sthe account may not use %.*s", where, SPAN_ARG(s->address));
        return refuse(h, 550, 7, 1, ret);
    }
    return BRANT_OK;
}

/* --- composing --- */

static int put_address(struct msa_header *h, const char *name, struct span address, struct buf *out,
                       struct msa_verdict *ret)
{
    int rc;

    if (!is_ascii(address) && !h->facts.smtputf8)
        return needs_utf8(h, name, ret);
    rc = mime_header_put_mailbox(out, name, SPAN_NONE, address);
    return rc == BRANT_ESYNTAX ? malformed(h, name, "the account has no address for it", ret) : rc;
}

/* RFC 5322 3.6.2 */
static bool sender_is_due(const struct msa_header *h)
{
    if (h->authors > 1)
        return !h->seen[MSA_FIELD_SENDER] || h->sender_unusable;
    return h->sender_unusable && !span_eq_nocase(h->author, h->facts.account);
}

static int put_date(struct msa_header *h, struct buf *out)
{
    char date[MIME_DATE_TEXT_MAX];

    mime_date_format(h->facts.unix_s, h->facts.zone_min, date);
    h->repairs |= MSA_ADDED_DATE;
    return mime_header_put(out, "Date", span_str(date));
}

static int put_message_id(struct msa_header *h, struct buf *out)
{
    _cleanup_buf_ struct buf id = {0};

    buf_init(&id, 1024);
    buf_append_byte(&id, '<');
    codec_hex_encode(&id, span_make(h->facts.random, sizeof h->facts.random));
    buf_append_byte(&id, '.');
    buf_append_u64(&id, h->facts.unix_s < 0 ? 0 : (uint64_t)h->facts.unix_s);
    buf_append_byte(&id, '@');
    buf_append(&id, h->facts.hostname);
    buf_append_byte(&id, '>');
    h->repairs |= MSA_ADDED_MESSAGE_ID;
    return mime_header_put(out, "Message-ID", buf_span(&id));
}

static int put_added(struct msa_header *h, struct buf *out, struct msa_verdict *ret)
{
    int rc = BRANT_OK;

    if (!h->seen[MSA_FIELD_MESSAGE_ID] || h->message_id_unusable)
        rc = put_message_id(h, out);
    if (!rc && (!h->seen[MSA_FIELD_DATE] || h->date_unusable))
        rc = put_date(h, out);
    if (!rc && !h->seen[MSA_FIELD_FROM]) {
        rc = put_address(h, "From", h->author, out, ret);
        h->repairs |= MSA_ADDED_FROM;
    }
    if (!rc && sender_is_due(h)) {
        rc = put_address(h, "Sender", h->facts.account, out, ret);
        h->repairs |= MSA_ADDED_SENDER;
    }
    return rc;
}

/* The repair that removes a field of this kind, which was `before` times here already; 0: it stays. */
static unsigned removal(const struct msa_header *h, enum msa_field kind, size_t before)
{
    unsigned flags = msa_field_info(kind)->flags;

    if (flags & MSA_FIELD_REMOVED)
        return kind == MSA_FIELD_RETURN_PATH ? MSA_REMOVED_RETURN_PATH : MSA_REMOVED_BCC;
    if (kind == MSA_FIELD_SENDER && h->sender_unusable)
        return MSA_REMOVED_SENDER;
    if (kind == MSA_FIELD_DATE && h->date_unusable)
        return MSA_REMOVED_DATE;
    if (kind == MSA_FIELD_MESSAGE_ID && h->message_id_unusable)
        return MSA_REMOVED_MESSAGE_ID;
    return (flags & MSA_FIELD_ONCE) && before ? MSA_REMOVED_DUPLICATE : 0;
}

/* RFC 6532 is for messages that were declared so. */
static bool needs_encoding(const struct msa_header *h, const struct msa_field_info *info, struct span value)
{
    return !h->facts.smtputf8 && (info->flags & (MSA_FIELD_ADDRESSES | MSA_FIELD_TEXT)) && !is_ascii(value) &&
           codec_utf8_valid(value);
}

static int put_field(struct msa_header *h, enum msa_field kind, const struct mime_raw_field *field,
                     struct buf *out, struct msa_verdict *ret)
{
    const struct msa_field_info *info = msa_field_info(kind);
    _cleanup_buf_ struct buf encoded = {0};
    struct span all = field->all;
    bool folded = false;
    int rc = BRANT_OK;

    if (needs_encoding(h, info, field->value)) {
        buf_init(&encoded, MSA_OUTPUT_BYTES_MAX(all.len));
        rc = info->flags & MSA_FIELD_TEXT ? msa_encode_text(field->name, field->value, &encoded)
                                          : msa_encode_addresses(field->name, field->value, &encoded);
        all = buf_span(&encoded);
        h->repairs |= MSA_ENCODED;
    }
    if (rc == BRANT_EUNSUPPORTED)
        return needs_utf8(h, info->name, ret);
    if (!rc)
        rc = msa_field_fold(all, out, &folded);
    if (folded)
        h->repairs |= MSA_FOLDED;
    return rc == BRANT_ESYNTAX ? malformed(h, kind ? info->name : "A field",
                                           "a line over 998 octets without white space", ret)
                               : rc;
}

static int put_fields(struct msa_header *h, struct buf *out, struct msa_verdict *ret)
{
    struct span rest = buf_span(&h->bytes);
    size_t before[MSA_FIELD_COUNT] = {0};
    struct mime_raw_field field;
    int rc = BRANT_OK;

    while (!rc && rest.len && mime_raw_field_next(&rest, &field)) {
        enum msa_field kind = msa_field_find(field.name);
        unsigned why = removal(h, kind, before[kind]++);

        h->repairs |= why;
        if (!why)
            rc = put_field(h, kind, &field, out, ret);
    }
    return rc;
}

int msa_header_compose(struct msa_header *h, struct buf *out, struct msa_verdict *ret)
{
    size_t before = out->len;
    int rc;

    assert(h->state == STATE_ASKING && h->answered == h->sender_count);
    h->state = STATE_OVER;
    rc = check_allowed(h, ret);
    if (!rc)
        rc = put_added(h, out, ret);
    if (!rc)
        rc = put_fields(h, out, ret);
    if (!rc)
        rc = buf_append_str(out, "\r\n");
    if (!rc && out->overflowed)
        rc = BRANT_ELIMIT;
    if (rc)
        out->len = before;
    return rc;
}

unsigned msa_header_repairs(const struct msa_header *h)
{
    return h->repairs;
}

int msa_repairs_text(unsigned repairs, struct buf *out)
{
    static const char *const names[] = {"added-from",         "added-sender",   "added-date",
                                        "added-message-id",   "removed-sender", "removed-date",
                                        "removed-message-id", "removed-bcc",    "removed-return-path",
                                        "removed-duplicate",  "folded",         "encoded"};
    size_t before = out->len;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!(repairs & 1u << i))
            continue;
        if (out->len > before)
            buf_append_byte(out, ',');
        buf_append_str(out, names[i]);
    }
    if (!out->overflowed)
        return BRANT_OK;
    out->len = before;
    return BRANT_ELIMIT;
}
