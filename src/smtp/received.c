#include "smtp/received.h"

#include "base/ascii.h"
#include "base/err.h"

enum { SECONDS_PER_DAY = 86400, TLS_TEXT_MAX = 100 };

/* Days since 1970 to a date of the proleptic Gregorian calendar, counted from March so that the leap day is
 * last. */
static void civil_date(int64_t days, int64_t *ret_year, unsigned *ret_month, unsigned *ret_day)
{
    int64_t era;
    unsigned day_of_era, year_of_era, day_of_year, shifted;

    days += 719468; /* from 0000-03-01 */
    era = (days >= 0 ? days : days - 146096) / 146097;
    day_of_era = (unsigned)(days - era * 146097);
    year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    shifted = (5 * day_of_year + 2) / 153;
    *ret_day = day_of_year - (153 * shifted + 2) / 5 + 1;
    *ret_month = shifted < 10 ? shifted + 3 : shifted - 9;
    *ret_year = (int64_t)year_of_era + era * 400 + (*ret_month <= 2);
}

static int sticky_end(struct buf *out, size_t start, bool before)
{
    if (out->overflowed) {
        out->len = start;
        return BRANT_ELIMIT;
    }
    out->overflowed = before;
    return BRANT_OK;
}

int smtp_date_compose(int64_t unix_time_s, struct buf *out)
{
    static const char *const weekdays[] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    int64_t days = unix_time_s / SECONDS_PER_DAY, year;
    int64_t second = unix_time_s % SECONDS_PER_DAY;
    unsigned month, day;

    if (second < 0) {
        second += SECONDS_PER_DAY;
        days--;
    }
    civil_date(days, &year, &month, &day);
    return buf_printf(out, "%s, %u %s %04lld %02u:%02u:%02u +0000", weekdays[((days % 7) + 7) % 7], day,
                      months[month - 1], (long long)year, (unsigned)(second / 3600),
                      (unsigned)(second / 60 % 60), (unsigned)(second % 60));
}

/* Inside a comment or a word nothing may open, close, quote, end or fold. */
static void append_safe(struct buf *out, struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.p[i];
        bool ok = ascii_is_alnum(c) || (c < 0x80 && c && strchr(".-_:[]", c));

        buf_append_byte(out, ok ? c : '?');
    }
}

/* "(version cipher)" */
static void append_tls(struct buf *out, struct span text)
{
    size_t space = span_find_byte(text, ' ');

    buf_append_str(out, " (");
    append_safe(out, span_sub(text, 0, space));
    if (space != SPAN_NPOS) {
        buf_append_byte(out, ' ');
        append_safe(out, span_from(text, space + 1));
    }
    buf_append_str(out, ")\r\n\t");
}

static bool is_extended_domain(struct span name)
{
    struct ip_addr ignored;

    for (size_t i = 0; i < name.len; i++)
        if (name.p[i] >= 0x80)
            return false;
    return smtp_domain_check(name) == BRANT_OK || smtp_literal_parse(name, &ignored) == BRANT_OK;
}

/* RFC 5321 4.4: From-domain with TCP-info. */
static void append_from(struct buf *out, const struct smtp_received *r)
{
    char ip[IP_TEXT_MAX];
    bool named = is_extended_domain(r->helo);
    bool connected = ip_format(&r->client, ip) == BRANT_OK;

    buf_append_str(out, "from ");
    if (named)
        buf_append(out, r->helo);
    else
        buf_append_str(out, r->helo.len ? "unknown" : "localhost");
    if (!connected && (named || !r->helo.len))
        return;
    buf_append_str(out, " (");
    if (!named && r->helo.len) { /* not a name: it may stand in the comment only, made harmless */
        buf_append_str(out, "HELO ");
        append_safe(out, span_sub(r->helo, 0, SMTP_DOMAIN_BYTES_MAX));
        buf_append_str(out, connected ? " " : "");
    }
    if (connected) {
        if (r->rdns.len && is_extended_domain(r->rdns)) {
            buf_append(out, r->rdns);
            buf_append_byte(out, ' ');
        }
        buf_printf(out, "[%s%s]", r->client.family == IP_V6 ? "IPv6:" : "", ip);
    }
    buf_append_byte(out, ')');
}

/* RFC 3848 for S and A, RFC 6531 4.3 for UTF8SMTP…, RFC 5321 4.4 for the rest. */
int smtp_received_protocol(const struct smtp_received *r, struct buf *out)
{
    if (r->smtputf8)
        buf_append_str(out, r->lmtp ? "UTF8LMTP" : "UTF8SMTP");
    else if (r->lmtp)
        buf_append_str(out, "LMTP");
    else
        buf_append_str(out, r->extended ? "ESMTP" : "SMTP");
    if (r->tls && (r->extended || r->lmtp))
        buf_append_byte(out, 'S');
    if (r->authenticated && (r->extended || r->lmtp))
        buf_append_byte(out, 'A');
    return out->overflowed ? BRANT_ELIMIT : BRANT_OK;
}

int smtp_received_compose(const struct smtp_received *r, struct buf *out)
{
    size_t start = out->len;
    bool before = out->overflowed;

    out->overflowed = false;
    buf_append_str(out, "Received: ");
    append_from(out, r);
    buf_printf(out, "\r\n\tby %s", r->hostname);
    buf_append_str(out, " with ");
    smtp_received_protocol(r, out);
    if (r->tls && r->tls_text.len)
        append_tls(out, span_sub(r->tls_text, 0, TLS_TEXT_MAX));
    else
        buf_append_byte(out, ' ');
    buf_append_str(out, "id ");
    append_safe(out, span_sub(r->id, 0, 128));
    if (r->recipient.len && smtp_mailbox_valid(r->recipient, r->smtputf8)) {
        buf_append_str(out, "\r\n\tfor <");
        buf_append(out, r->recipient);
        buf_append_byte(out, '>');
    }
    buf_append_str(out, ";\r\n\t");
    smtp_date_compose(r->unix_time_s, out);
    buf_append_str(out, "\r\n");
    return sticky_end(out, start, before);
}

int smtp_return_path_compose(struct span mailbox, struct buf *out)
{
    size_t start = out->len;
    bool before = out->overflowed;

    if (mailbox.len && !smtp_mailbox_valid(mailbox, true))
        return BRANT_ESYNTAX;
    out->overflowed = false;
    buf_append_str(out, "Return-Path: <");
    buf_append(out, mailbox);
    buf_append_str(out, ">\r\n");
    return sticky_end(out, start, before);
}
