/* ASCII classes, independent of the locale. Bytes of 0x80 and above belong to none of them. */
#ifndef BASE_ASCII_H
#define BASE_ASCII_H

#include <stdbool.h>
#include <stdint.h>

static inline bool ascii_is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static inline bool ascii_is_alpha(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline bool ascii_is_alnum(uint8_t c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c);
}

static inline bool ascii_is_wsp(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static inline bool ascii_is_ctl(uint8_t c)
{
    return c < 0x20 || c == 0x7f;
}

/* Printable, space included. */
static inline bool ascii_is_print(uint8_t c)
{
    return c >= 0x20 && c < 0x7f;
}

static inline uint8_t ascii_lower(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') ? (uint8_t)(c | 0x20) : c;
}

static inline uint8_t ascii_upper(uint8_t c)
{
    return (c >= 'a' && c <= 'z') ? (uint8_t)(c & ~0x20) : c;
}

/* The value of a hexadecimal digit, or -1. */
static inline int ascii_hex_value(uint8_t c)
{
    if (ascii_is_digit(c))
        return c - '0';
    c = ascii_lower(c);
    return (c >= 'a' && c <= 'f') ? c - 'a' + 10 : -1;
}

#endif
