#include "base/buf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"

enum { BUF_FIRST_CAP = 64 };

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_init_secret(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max, .secret = true};
}

static void wipe(struct buf *b)
{
    if (b->secret && b->data)
        mem_wipe(b->data, b->cap);
}

void buf_done(struct buf *b)
{
    wipe(b);
    free(b->data);
    *b = (struct buf){.max = b->max, .secret = b->secret};
}

void buf_reset(struct buf *b)
{
    wipe(b);
    b->len = 0;
    b->overflowed = false;
}

/* realloc, which would leave a secret behind where it moves from. */
static void resize(struct buf *b, size_t cap)
{
    uint8_t *moved;

    if (!b->secret) {
        b->data = mem_realloc(b->data, cap);
        b->cap = cap;
        return;
    }
    moved = mem_alloc(cap);
    if (b->len)
        memcpy(moved, b->data, b->len);
    wipe(b);
    free(b->data);
    b->data = moved;
    b->cap = cap;
}

void buf_shrink(struct buf *b)
{
    if (b->len == 0) {
        wipe(b);
        free(b->data);
        b->data = NULL;
        b->cap = 0;
    } else if (b->cap > b->len) {
        resize(b, b->len);
    }
}

static void grow(struct buf *b, size_t need)
{
    size_t cap = b->cap ? b->cap : BUF_FIRST_CAP;

    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    if (cap > b->max && need <= b->max)
        cap = b->max;
    resize(b, cap);
}

uint8_t *buf_reserve(struct buf *b, size_t len)
{
    if (len > b->max || b->len > b->max - len) {
        b->overflowed = true;
        return NULL;
    }
    if (!b->data || b->len + len > b->cap)
        grow(b, b->len + len);
    return b->data + b->len;
}

void buf_commit(struct buf *b, size_t len)
{
    assert(len <= b->cap - b->len);
    b->len += len;
}

int buf_append(struct buf *b, struct span s)
{
    uint8_t *room = buf_reserve(b, s.len);

    if (!room)
        return BRANT_ELIMIT;
    if (s.len)
        memcpy(room, s.p, s.len);
    b->len += s.len;
    return BRANT_OK;
}

int buf_append_str(struct buf *b, const char *text)
{
    return buf_append(b, span_str(text));
}

int buf_append_byte(struct buf *b, uint8_t byte)
{
    return buf_append(b, span_make(&byte, 1));
}

int buf_append_u64(struct buf *b, uint64_t value)
{
    uint8_t digits[20];
    size_t at = sizeof digits;

    do {
        digits[--at] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value);
    return buf_append(b, span_make(digits + at, sizeof digits - at));
}

int buf_vprintf(struct buf *b, const char *format, va_list args)
{
    va_list again;
    int need;
    uint8_t *room;

    va_copy(again, args);
    need = vsnprintf(NULL, 0, format, again);
    va_end(again);
    assert(need >= 0);
    if (b->max - b->len < (size_t)need) {
        b->overflowed = true;
        return BRANT_ELIMIT;
    }
    if (b->cap - b->len < (size_t)need + 1) /* vsnprintf writes a NUL that is not counted */
        grow(b, b->len + (size_t)need + 1);
    room = b->data + b->len;
    vsnprintf((char *)room, (size_t)need + 1, format, args);
    b->len += (size_t)need;
    return BRANT_OK;
}

int buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    int rc;

    va_start(args, format);
    rc = buf_vprintf(b, format, args);
    va_end(args);
    return rc;
}

void buf_consume(struct buf *b, size_t len)
{
    if (len >= b->len) {
        wipe(b);
        b->len = 0;
        return;
    }
    b->len -= len;
    memmove(b->data, b->data + len, b->len);
    if (b->secret)
        mem_wipe(b->data + b->len, len);
}

const char *buf_cstr(struct buf *b)
{
    if (b->cap == b->len)
        grow(b, b->len + 1);
    b->data[b->len] = '\0';
    return (const char *)b->data;
}
