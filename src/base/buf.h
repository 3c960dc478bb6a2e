/* A byte buffer born with a maximum.
 *
 * Appending past the maximum changes nothing and answers BRANT_ELIMIT; the buffer also remembers it in
 * `overflowed`, so that a writer may append freely and ask once at the end. Out of memory aborts.
 * The memory is not NUL-terminated except through buf_cstr().
 *
 * A buffer that may hold a secret is made with buf_init_secret: it overwrites its memory whenever it lets go
 * of it, which includes growing, and whenever it is emptied. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>

#include "base/span.h"

struct buf {
    uint8_t *data; /* owned */
    size_t len;    /* bytes in use */
    size_t cap;    /* bytes allocated */
    size_t max;    /* bytes it may ever hold */
    bool overflowed;
    bool secret;
};

void buf_init(struct buf *b, size_t max);
void buf_init_secret(struct buf *b, size_t max);
void buf_done(struct buf *b);   /* frees; the buffer may be initialised again */
void buf_reset(struct buf *b);  /* empties, keeps the memory and the maximum, forgets `overflowed` */
void buf_shrink(struct buf *b); /* gives back unused memory; an empty buffer keeps none */

/* All of these: BRANT_OK, or BRANT_ELIMIT with the contents unchanged. */
int buf_append(struct buf *b, struct span s);
int buf_append_str(struct buf *b, const char *text);
int buf_append_byte(struct buf *b, uint8_t byte);
int buf_append_u64(struct buf *b, uint64_t value); /* decimal */
int buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *b, const char *format, va_list args) __attribute__((format(printf, 2, 0)));

/* Room for `len` bytes at the end, to be filled by the caller and then counted with buf_commit.
 * NULL (and overflowed) when the maximum would be passed. */
uint8_t *buf_reserve(struct buf *b, size_t len);
void buf_commit(struct buf *b, size_t len);

/* Drops len bytes from the front (len is clamped). */
void buf_consume(struct buf *b, size_t len);

static inline struct span buf_span(const struct buf *b)
{
    return (struct span){b->data, b->len};
}

/* The contents as a C string, valid until the buffer changes. NUL bytes inside are the caller's affair.
 * The terminator does not count against the maximum. */
const char *buf_cstr(struct buf *b);

#define _cleanup_buf_ __attribute__((cleanup(buf_done)))

#endif
