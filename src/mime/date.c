#include "mime/date.h"

#include "base/ascii.h"
#include "base/err.h"
#include "mime/lex.h"

static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char days[] = "SunMonTueWedThuFriSat";

struct fields { /* -1 until seen */
    int64_t day, month, year, hour, minute, second;
    int64_t zone_min;
    bool zone_seen, zone_known;
    int year_digits;
};

/* Days from 1970-01-01 to a date of the Gregorian calendar, for years 1 and later. March is counted as the
 * first month, so that the leap day comes last. */
static int64_t days_from_date(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year, m = month <= 2 ? month + 9 : month - 3;

    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

static int64_t month_days(int64_t year, int64_t month)
{
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    if (month == 2)
        return leap ? 29 : 28;
    return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

/* The month whose name the word begins with (three letters are enough), 1 to 12, or 0. */
static int month_number(struct span word)
{
    for (int m = 0; m < 12 && word.len >= 3; m++)
        if (span_eq_nocase(span_sub(word, 0, 3), span_make(months + 3L * m, 3)))
            return m + 1;
    return 0;
}

/* RFC 5322 4.3: named zones; every other name is an unknown zone. */
static void zone_name(struct span word, struct fields *f)
{
    static const struct {
        const char *name;
        int hours;
    } zones[] = {{"UTC", 0},  {"GMT", 0},  {"UT", 0},   {"Z", 0},    {"EST", -5}, {"EDT", -4},
                 {"CST", -6}, {"CDT", -5}, {"MST", -7}, {"MDT", -6}, {"PST", -8}, {"PDT", -7}};

    f->zone_seen = true;
    for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++) {
        if (!span_eq_str_nocase(word, zones[i].name))
            continue;
        f->zone_min = zones[i].hours * 60;
        f->zone_known = true;
    }
}

static int64_t number(struct mime_lex *lex, int *ret_digits)
{
    int64_t n = 0;
    int digits = 0;

    for (; ascii_is_digit(mime_lex_peek(lex)); lex->pos++)
        if (++digits <= 6)
            n = n * 10 + (lex->in.p[lex->pos] - '0');
    *ret_digits = digits;
    return digits > 6 ? -1 : n;
}

static int zone_offset(struct mime_lex *lex, struct fields *f)
{
    bool minus = lex->in.p[lex->pos++] == '-';
    int digits, more;
    int64_t n = number(lex, &digits);

    if (digits == 2 && mime_lex_peek(lex) == ':') { /* +01:00 */
        lex->pos++;
        n = n * 100 + number(lex, &more);
        digits += more;
    }
    if (digits != 4 || n % 100 > 59)
        return BRANT_ESYNTAX;
    f->zone_min = n / 100 * 60 + n % 100;
    f->zone_known = !(minus && n == 0); /* RFC 5322 3.3: -0000 says nothing */
    if (minus)
        f->zone_min = -f->zone_min;
    f->zone_seen = true;
    return BRANT_OK;
}

/* Whether the character stands here, perhaps behind comments and white space (RFC 5322 4.3); then behind it.
 */
static bool separator(struct mime_lex *lex, char c)
{
    struct mime_lex ahead = *lex;

    mime_lex_cfws(&ahead, NULL);
    if (mime_lex_peek(&ahead) != (uint8_t)c)
        return false;
    ahead.pos++;
    mime_lex_cfws(&ahead, NULL);
    *lex = ahead;
    return true;
}

/* Behind "hour:". */
static int time_rest(struct mime_lex *lex, struct fields *f, int64_t hour)
{
    int digits;

    f->hour = hour;
    f->minute = number(lex, &digits);
    f->second = 0;
    if (digits == 0)
        return BRANT_ESYNTAX;
    if (separator(lex, ':')) {
        f->second = number(lex, &digits);
        if (digits == 0)
            return BRANT_ESYNTAX;
    }
    if (mime_lex_peek(lex) == '.') { /* fractions */
        lex->pos++;
        number(lex, &digits);
    }
    return BRANT_OK;
}

static int number_token(struct mime_lex *lex, struct fields *f)
{
    int digits;
    int64_t n = number(lex, &digits);

    if (n < 0)
        return BRANT_ESYNTAX;
    if (f->hour < 0 && separator(lex, ':'))
        return time_rest(lex, f, n);
    if (f->day < 0) {
        f->day = n;
    } else if (f->month < 0 && digits <= 2) { /* a number where the name should be */
        f->month = n;
    } else if (f->year < 0) {
        f->year = n;
        f->year_digits = digits;
    } else {
        return BRANT_ESYNTAX;
    }
    return BRANT_OK;
}

static int word_token(struct mime_lex *lex, struct fields *f)
{
    size_t start = lex->pos;
    struct span word;
    int month;

    while (ascii_is_alpha(mime_lex_peek(lex)))
        lex->pos++;
    word = span_sub(lex->in, start, lex->pos - start);
    if (f->hour >= 0 && !f->zone_seen) {
        zone_name(word, f);
        mime_lex_until(lex, " \t\r\n("); /* EST5EDT */
        return BRANT_OK;
    }
    month = month_number(word);
    if (month && f->month < 0)
        f->month = month;
    else if (f->day >= 0 && f->month < 0)
        return BRANT_ESYNTAX; /* where the month should be stands something else */
    return BRANT_OK;
}

static int tokens(struct mime_lex *lex, struct fields *f)
{
    int err = BRANT_OK;

    while (!err) {
        uint8_t c;

        mime_lex_cfws(lex, NULL);
        if (mime_lex_end(lex) || (f->zone_seen && f->year >= 0))
            break;
        c = mime_lex_peek(lex);
        if (f->hour >= 0 && (c == '+' || c == '-'))
            err = zone_offset(lex, f);
        else if (ascii_is_digit(c))
            err = number_token(lex, f);
        else if (ascii_is_alpha(c))
            err = word_token(lex, f);
        else
            lex->pos++;
    }
    return err;
}

int mime_date_parse(struct span raw, struct mime_date *ret)
{
    size_t semicolon = span_rfind_byte(raw, ';');
    struct mime_lex lex = mime_lex_start(semicolon == SPAN_NPOS ? raw : span_from(raw, semicolon + 1));
    struct fields f = {.day = -1, .month = -1, .year = -1, .hour = -1};

    if (tokens(&lex, &f) || f.day < 1 || f.month < 1 || f.month > 12 || f.year < 0 || f.hour < 0)
        return BRANT_ESYNTAX;
    if (f.year_digits <= 2) /* RFC 5322 4.3 */
        f.year += f.year < 50 ? 2000 : 1900;
    else if (f.year_digits == 3)
        f.year += 1900;
    if (f.year < 1 || f.year > 9999 || f.day > month_days(f.year, f.month) || f.hour > 23 || f.minute < 0 ||
        f.minute > 59 || f.second < 0 || f.second > 60)
        return BRANT_ESYNTAX;
    ret->unix_s = days_from_date(f.year, f.month, f.day) * 86400 + f.hour * 3600 + f.minute * 60 + f.second -
                  f.zone_min * 60;
    ret->offset_min = (int16_t)f.zone_min;
    ret->zone_known = f.zone_known;
    return BRANT_OK;
}

/* The inverse of days_from_date: the year is estimated, then corrected by at most one. */
static void date_from_days(int64_t count, int64_t *ret_year, int64_t *ret_month, int64_t *ret_day)
{
    int64_t year = 1970 + (count * 400) / 146097, month = 1;

    while (days_from_date(year, 1, 1) > count)
        year--;
    while (days_from_date(year + 1, 1, 1) <= count)
        year++;
    while (month < 12 && days_from_date(year, month + 1, 1) <= count)
        month++;
    *ret_year = year;
    *ret_month = month;
    *ret_day = count - days_from_date(year, month, 1) + 1;
}

static char *put_text(char *out, const char *text, size_t len)
{
    memcpy(out, text, len);
    return out + len;
}

/* Exactly that many digits, zeros in front. */
static char *put_number(char *out, int64_t number, int digits)
{
    for (int i = digits; i-- > 0; number /= 10)
        out[i] = (char)('0' + number % 10);
    return out + digits;
}

void mime_date_format(int64_t unix_s, int offset_min, char out[MIME_DATE_TEXT_MAX])
{
    const int64_t first = -62135596800 + 86400 * 5, last = 253402300799 - 86400 * 5;
    int64_t local, count, second, year, month, day;
    int zone;

    offset_min = offset_min > 5999 ? 5999 : offset_min < -5999 ? -5999 : offset_min;
    unix_s = unix_s < first ? first : unix_s > last ? last : unix_s;
    local = unix_s + (int64_t)offset_min * 60;
    count = local / 86400 - (local % 86400 < 0);
    second = local - count * 86400;
    date_from_days(count, &year, &month, &day);
    zone = offset_min < 0 ? -offset_min : offset_min;
    out = put_text(out, days + 3 * (((count + 4) % 7 + 7) % 7), 3);
    out = put_text(out, ", ", 2);
    out = put_number(out, day, day < 10 ? 1 : 2);
    out = put_text(out, " ", 1);
    out = put_text(out, months + 3 * (month - 1), 3);
    out = put_text(out, " ", 1);
    out = put_number(out, year, 4);
    out = put_text(out, " ", 1);
    out = put_number(out, second / 3600, 2);
    out = put_text(out, ":", 1);
    out = put_number(out, second / 60 % 60, 2);
    out = put_text(out, ":", 1);
    out = put_number(out, second % 60, 2);
    out = put_text(out, offset_min < 0 ? " -" : " +", 2);
    out = put_number(out, zone / 60, 2);
    out = put_number(out, zone % 60, 2);
    *out = '\0';
}
