/* The frame between a role and the supervisor: one event, at most LOG_FRAME_MAX bytes, so that a write to a
 * pipe is whole or nothing (POSIX PIPE_BUF). Little-endian:
 *
 *     u8 'b', u8 'L', u16 bytes that follow, u8 level, u8 field count, u32 events dropped before this one,
 *     u8 name length, name, then per field: u8 type, u8 key length, key, u16 value length, value
 *
 * Numbers are 8-byte values. The supervisor treats every byte as hostile. */
#ifndef LOG_FRAME_H
#define LOG_FRAME_H

#include "base/buf.h"
#include "log/log.h"

enum {
    LOG_FRAME_MAX = 4096, /* bytes, header included */
    LOG_FIELDS_MAX = 24,  /* fields in one event; more are left out */
    LOG_NAME_MAX = 48,    /* bytes of an event name or a key */
    LOG_VALUE_MAX = 1024, /* bytes of one value; longer ones are cut and end in "..." */
};

/* Appends the frame to out (whose maximum must allow LOG_FRAME_MAX more). What does not fit is cut: a long
 * value first, then whole fields. */
void log_frame_encode(struct buf *out, enum log_level level, const char *name, uint32_t dropped,
                      const struct log_field *fields, size_t count);

struct log_value {
    struct span key;
    enum log_type type;
    struct span bytes; /* TEXT, BINARY */
    uint64_t number;   /* U64, I64 */
};

/* A decoded event. All spans point into the decoder's buffer, valid until the next call with it. */
struct log_message {
    enum log_level level;
    struct span name;
    uint32_t dropped;
    struct log_value values[LOG_FIELDS_MAX];
    size_t value_count;
};

/* BRANT_OK; BRANT_ESYNTAX when the bytes are not exactly one well-formed frame: wrong lengths, an unknown
 * level or type, a name that is not lower-case letters, digits and hyphens, a key that is not lower-case
 * letters, digits and underscores or that is one of those the supervisor stamps. */
int log_frame_decode(struct span frame, struct log_message *ret);

/* Cuts a stream of bytes from a pipe into frames. */
struct log_decoder {
    struct buf in;      /* bytes not yet cut; bounded */
    size_t taken;       /* bytes of `in` that belong to the frame handed out last */
    uint64_t malformed; /* frames refused, one per run of bytes that is no frame */
    bool skipping;      /* inside such a run */
};

void log_decoder_init(struct log_decoder *d);
void log_decoder_done(struct log_decoder *d);

/* Room to read into: at least LOG_FRAME_MAX bytes; then log_decoder_fed says how many came. */
uint8_t *log_decoder_room(struct log_decoder *d, size_t *ret_len);
void log_decoder_fed(struct log_decoder *d, size_t len);

/* The next event. BRANT_OK; BRANT_ETRYLATER when more bytes are needed. Bytes that are no frame are skipped
 * up to the next place that looks like one, and counted. */
int log_decoder_next(struct log_decoder *d, struct log_message *ret);

#endif
