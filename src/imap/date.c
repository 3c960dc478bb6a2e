#include "imap/date.h"

#include "base/ascii.h"
#include "base/err.h"

static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

enum { DAY_S = 86400 };

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

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

int64_t imap_day(int64_t unix_s, int offset_min)
{
    return floor_div(unix_s + offset_min * 60, DAY_S);
}

/* Exactly so many digits at the front, which are taken; -1: there are none. */
static int64_t digits(struct span *text, size_t count)
{
    uint64_t value;

    if (text->len < count || span_to_u64(span_sub(*text, 0, count), UINT32_MAX, &value) != BRANT_OK)
        return -1;
    *text = span_from(*text, count);
    return (int64_t)value;
}

static bool literally(struct span *text, char c)
{
    if (!text->len || text->p[0] != (uint8_t)c)
        return false;
    *text = span_from(*text, 1);
    return true;
}

/* "-Feb-1994" behind a day. */
static int month_and_year(struct span *text, int64_t day, int64_t *ret_day)
{
    int64_t month = 0, year;

    if (!literally(text, '-') || text->len < 3)
        return BRANT_ESYNTAX;
    for (int m = 0; m < 12; m++)
        if (span_eq_nocase(span_sub(*text, 0, 3), span_make(months + 3L * m, 3)))
            month = m + 1;
    *text = span_from(*text, 3);
    if (!month || !literally(text, '-') || (year = digits(text, 4)) < 1 || day < 1 ||
        day > month_days(year, month))
        return BRANT_ESYNTAX;
    *ret_day = days_from_date(year, month, day);
    return BRANT_OK;
}

int imap_date_parse(struct span text, int64_t *ret_day)
{
    bool two = text.len > 1 && ascii_is_digit(text.p[1]);
    int64_t number = digits(&text, two ? 2 : 1), day;

    if (month_and_year(&text, number, &day) != BRANT_OK || text.len)
        return BRANT_ESYNTAX;
    *ret_day = day;
    return BRANT_OK;
}

/* "hh:mm:ss +zzzz" */
static int time_and_zone(struct span text, int64_t *ret_s)
{
    int64_t hour = digits(&text, 2), minute, second, zone;
    bool minus;

    if (!literally(&text, ':') || (minute = digits(&text, 2)) < 0 || !literally(&text, ':') ||
        (second = digits(&text, 2)) < 0 || !literally(&text, ' '))
        return BRANT_ESYNTAX;
    minus = text.len && text.p[0] == '-';
    if ((!literally(&text, '+') && !literally(&text, '-')) || (zone = digits(&text, 4)) < 0 || text.len)
        return BRANT_ESYNTAX;
    if (hour < 0 || hour > 23 || minute > 59 || second > 60 || zone % 100 > 59)
        return BRANT_ESYNTAX;
    zone = (zone / 100 * 60 + zone % 100) * 60;
    *ret_s = hour * 3600 + minute * 60 + second - (minus ? -zone : zone);
    return BRANT_OK;
}

int imap_date_time_parse(struct span text, int64_t *ret_unix_s)
{
    int64_t number, day, s;

    literally(&text, ' '); /* date-day-fixed: a space before a day of one digit */
    number = digits(&text, text.len > 1 && ascii_is_digit(text.p[1]) ? 2 : 1);
    if (month_and_year(&text, number, &day) != BRANT_OK || !literally(&text, ' ') ||
        time_and_zone(text, &s) != BRANT_OK)
        return BRANT_ESYNTAX;
    *ret_unix_s = day * DAY_S + s;
    return BRANT_OK;
}

/* The date of a day. Eras of 400 years of 146,097 days, counted from March. */
static void date_of(int64_t day, int64_t *ret_year, int *ret_month, int *ret_day)
{
    int64_t z = day + 719468, era = floor_div(z, 146097), doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), m = (5 * doy + 2) / 153;

    *ret_day = (int)(doy - (153 * m + 2) / 5 + 1);
    *ret_month = (int)(m < 10 ? m + 3 : m - 9);
    *ret_year = yoe + era * 400 + (*ret_month <= 2);
}

void imap_date_time_put(struct buf *out, int64_t unix_s)
{
    int64_t first = days_from_date(1, 1, 1) * DAY_S, end = days_from_date(10000, 1, 1) * DAY_S, year, s;
    int month, day;

    unix_s = unix_s < first ? first : unix_s >= end ? end - 1 : unix_s;
    date_of(floor_div(unix_s, DAY_S), &year, &month, &day);
    s = unix_s - floor_div(unix_s, DAY_S) * DAY_S;
    buf_printf(out, "\"%2d-%.3s-%04d %02d:%02d:%02d +0000\"", day, months + 3 * (month - 1), (int)year,
               (int)(s / 3600), (int)(s / 60 % 60), (int)(s % 60));
}
