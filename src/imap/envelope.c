#include "imap/envelope.h"

#include "imap/put.h"
#include "mime/address.h"

enum { ADDRESSES_MAX = 100000, ARENA_MAX = 16 << 20 }; /* more than a recorded structure can hold */

static void put_address(struct buf *out, const struct mime_address *a, bool utf8)
{
    struct span name = a->name.len ? a->name : a->comment;

    if (a->kind == MIME_ADDRESS_GROUP_END) { /* RFC 3501 7.4.2: group syntax */
        buf_append_str(out, "(NIL NIL NIL NIL)");
        return;
    }
    if (a->kind == MIME_ADDRESS_GROUP_START) {
        buf_append_str(out, "(NIL NIL ");
        imap_put_string(out, a->name, utf8);
        buf_append_str(out, " NIL)");
        return;
    }
    buf_append_byte(out, '(');
    imap_put_nstring(out, name.len ? name : SPAN_NONE, utf8);
    buf_append_byte(out, ' ');
    imap_put_nstring(out, a->route.len ? a->route : SPAN_NONE, utf8);
    buf_append_byte(out, ' ');
    imap_put_string(out, a->local, utf8);
    buf_append_byte(out, ' ');
    imap_put_string(out, a->domain, utf8);
    buf_append_byte(out, ')');
}

/* The addresses of all fields of this kind; false when there are none, and nothing was written. */
static bool put_addresses(struct buf *out, const struct mime_part *part, enum mime_field_id id, bool utf8)
{
    bool any = false;

    for (const struct mime_value *v = part->values; v; v = v->next) {
        struct mime_address_list list;
        struct arena a;

        if (v->id != id)
            continue;
        arena_init(&a, ARENA_MAX);
        mime_addresses_parse(&a, v->text, ADDRESSES_MAX, &list);
        for (size_t i = 0; i < list.count; i++) {
            if (!any)
                buf_append_byte(out, '(');
            any = true;
            put_address(out, &list.items[i], utf8);
        }
        arena_done(&a);
    }
    if (any)
        buf_append_byte(out, ')');
    return any;
}

void imap_envelope_put(struct buf *out, const struct mime_part *part, bool utf8)
{
    static const enum mime_field_id lists[] = {MIME_FIELD_FROM, MIME_FIELD_SENDER, MIME_FIELD_REPLY_TO,
                                               MIME_FIELD_TO,   MIME_FIELD_CC,     MIME_FIELD_BCC};

    buf_append_byte(out, '(');
    imap_put_nstring(out, mime_part_value(part, MIME_FIELD_DATE), utf8);
    buf_append_byte(out, ' ');
    imap_put_nstring(out, mime_part_value(part, MIME_FIELD_SUBJECT), utf8);
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        bool as_from = lists[i] == MIME_FIELD_SENDER || lists[i] == MIME_FIELD_REPLY_TO;

        buf_append_byte(out, ' ');
        /* RFC 3501 7.4.2: Sender and Reply-To that are missing or empty are From */
        if (!put_addresses(out, part, lists[i], utf8) &&
            !(as_from && put_addresses(out, part, MIME_FIELD_FROM, utf8)))
            buf_append_str(out, "NIL");
    }
    buf_append_byte(out, ' ');
    imap_put_nstring(out, mime_part_value(part, MIME_FIELD_IN_REPLY_TO), utf8);
    buf_append_byte(out, ' ');
    imap_put_nstring(out, mime_part_value(part, MIME_FIELD_MESSAGE_ID), utf8);
    buf_append_byte(out, ')');
}
