#include "smtp/xclient.h"

#include "base/ascii.h"
#include "base/err.h"
#include "smtp/address.h"
#include "smtp/param.h"
#include "smtp/server_internal.h"

enum { HELO_MAX = 255 };

/* The decoded value of an attribute: what it says, and the text when it is SMTP_XCLIENT_GIVEN. */
struct value {
    enum smtp_xclient_value kind;
    struct span text;
};

static int set_text(struct value v, struct span *ret)
{
    if (v.text.len == 0 || v.text.len > HELO_MAX || span_find_byte(v.text, ' ') != SPAN_NPOS)
        return BRANT_ESYNTAX;
    *ret = v.text;
    return BRANT_OK;
}

static int set_name(struct value v, struct smtp_xclient *x)
{
    if (smtp_domain_check(v.text))
        return BRANT_ESYNTAX;
    return set_text(v, &x->name);
}

static int set_helo(struct value v, struct smtp_xclient *x)
{
    return set_text(v, &x->helo);
}

/* "192.0.2.1", or "IPV6:2001:db8::1"; the port is kept. */
static int set_address(struct value v, struct ip_addr *ret)
{
    static const struct span prefix = {(const uint8_t *)"IPV6:", 5};
    bool v6 = span_starts_nocase(v.text, prefix);
    struct span text = span_from(v.text, v6 ? prefix.len : 0);
    struct ip_addr a;

    if (ip_parse(text, &a) || (span_find_byte(text, ':') != SPAN_NPOS) != v6)
        return BRANT_ESYNTAX;
    a.port = ret->port;
    *ret = a;
    return BRANT_OK;
}

static int set_addr(struct value v, struct smtp_xclient *x)
{
    return set_address(v, &x->client);
}

static int set_destaddr(struct value v, struct smtp_xclient *x)
{
    return set_address(v, &x->destination);
}

static int set_number(struct value v, uint16_t *ret)
{
    uint64_t port;

    if (v.text.len > 5 || span_to_u64(v.text, UINT16_MAX, &port))
        return BRANT_ESYNTAX;
    *ret = (uint16_t)port;
    return BRANT_OK;
}

static int set_port(struct value v, struct smtp_xclient *x)
{
    return set_number(v, &x->client.port);
}

static int set_destport(struct value v, struct smtp_xclient *x)
{
    return set_number(v, &x->destination.port);
}

static int set_proto(struct value v, struct smtp_xclient *x)
{
    x->extended = span_eq_str_nocase(v.text, "ESMTP");
    return x->extended || span_eq_str_nocase(v.text, "SMTP") ? BRANT_OK : BRANT_ESYNTAX;
}

static const struct attribute {
    const char *name;
    size_t value; /* where enum smtp_xclient_value is */
    int (*set)(struct value v, struct smtp_xclient *x);
} ATTRIBUTES[] = {
    {"NAME", offsetof(struct smtp_xclient, name_value), set_name},
    {"ADDR", offsetof(struct smtp_xclient, addr_value), set_addr},
    {"PORT", offsetof(struct smtp_xclient, port_value), set_port},
    {"PROTO", offsetof(struct smtp_xclient, proto_value), set_proto},
    {"HELO", offsetof(struct smtp_xclient, helo_value), set_helo},
    {"DESTADDR", offsetof(struct smtp_xclient, destaddr_value), set_destaddr},
    {"DESTPORT", offsetof(struct smtp_xclient, destport_value), set_destport},
};

static const struct attribute *find_attribute(struct span name)
{
    for (size_t i = 0; i < sizeof ATTRIBUTES / sizeof *ATTRIBUTES; i++)
        if (span_eq_str_nocase(name, ATTRIBUTES[i].name))
            return &ATTRIBUTES[i];
    return NULL;
}

/* Decodes the value behind the texts that are there already. */
static int take_value(struct span xtext, struct buf *texts, struct value *ret)
{
    size_t start = texts->len;

    *ret = (struct value){.kind = SMTP_XCLIENT_GIVEN};
    if (span_eq_str_nocase(xtext, "[UNAVAILABLE]"))
        ret->kind = SMTP_XCLIENT_UNAVAILABLE;
    else if (span_eq_str_nocase(xtext, "[TEMPUNAVAIL]"))
        ret->kind = SMTP_XCLIENT_TEMPUNAVAIL;
    else if (smtp_xtext_decode(xtext, texts))
        return BRANT_ESYNTAX;
    ret->text = span_from(buf_span(texts), start);
    return BRANT_OK;
}

static int take_attribute(struct span word, struct buf *texts, struct smtp_xclient *x)
{
    size_t equals = span_find_byte(word, '=');
    const struct attribute *a = find_attribute(span_sub(word, 0, equals));
    enum smtp_xclient_value *said;
    struct value v;

    if (!a || equals == SPAN_NPOS)
        return BRANT_ESYNTAX;
    said = (enum smtp_xclient_value *)(void *)((char *)x + a->value);
    if (*said != SMTP_XCLIENT_ABSENT || take_value(span_from(word, equals + 1), texts, &v))
        return BRANT_ESYNTAX;
    *said = v.kind;
    return v.kind == SMTP_XCLIENT_GIVEN ? a->set(v, x) : BRANT_OK;
}

int smtp_xclient_parse(struct span text, struct buf *texts, struct smtp_xclient *ret)
{
    struct smtp_xclient x = {0};

    /* All the room at once, so that the spans stay where they are. */
    if (text.len == 0 || texts->len || !buf_reserve(texts, text.len))
        return BRANT_ESYNTAX;
    while (text.len) {
        struct span word = span_sub(text, 0, span_find_byte(text, ' '));

        text = span_from(text, word.len + 1);
        if (word.len && take_attribute(word, texts, &x))
            return BRANT_ESYNTAX;
    }
    *ret = x;
    return BRANT_OK;
}

/* ---- the command ----------------------------------------------------------------------------------------
 */

void perform_xclient(struct smtp_server *s, struct span args)
{
    struct smtp_event event = {.type = SMTP_EVENT_XCLIENT};

    if (!s->offer.xclient) {
        server_error(s, 550, 7, 0, "XCLIENT is not for you");
        return;
    }
    if (s->tx.open) {
        server_error(s, 503, 5, 1, "not in a transaction");
        return;
    }
    buf_reset(&s->scratch);
    if (smtp_xclient_parse(args, &s->scratch, &event.xclient)) {
        server_error(s, 501, 5, 4, "XCLIENT attribute=value");
        return;
    }
    s->event = event;
    server_await(s, SMTP_EVENT_XCLIENT);
}

void xclient_answered(struct smtp_server *s, const struct smtp_reply *r)
{
    if (r->code >= 400) {
        server_reply(s, r->code, r->subject, r->detail, r->text);
        return;
    }
    server_stranger(s);
    server_greeting(s);
}
