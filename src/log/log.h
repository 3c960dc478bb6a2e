/* Structured log events, written without ever waiting.
 *
 * A role says what happened:
 *
 *     log_event(LOG_INFO, "smtp-connect", LOG_U64("session", id), LOG_IP("peer", &peer));
 *
 * One event becomes one frame (log/frame.h), written by one write() to the pipe the role inherited. The
 * supervisor adds time, role and pid, escapes every value and writes one line. A full pipe loses the
 * event, never time: the loss is counted and the count travels with the next frame that gets through.
 *
 * Event names are lower-case words with hyphens, subject first: "smtp-connect", "store-segment-new". Keys are
 * lower case with underscores, unit last: "bytes", "idle_ms". Values may hold any bytes. Passwords, message
 * text and keys are never values.
 *
 * May be called from any thread. */
#ifndef LOG_LOG_H
#define LOG_LOG_H

#include "base/ip.h"
#include "base/span.h"

enum log_level {
    LOG_DEBUG = 0, /* for someone chasing a fault */
    LOG_INFO,      /* what a server does all day */
    LOG_WARNING,   /* worth a look in working hours */
    LOG_ERROR,     /* somebody has to do something */
    LOG_LEVEL_COUNT
};

/* What a value is: decides how it is written. */
enum log_type {
    LOG_TYPE_NONE = 0,
    LOG_TYPE_TEXT,   /* bytes, shown escaped */
    LOG_TYPE_U64,    /* unsigned decimal */
    LOG_TYPE_I64,    /* signed decimal */
    LOG_TYPE_BINARY, /* bytes, shown in hexadecimal: identifiers */
    LOG_TYPE_COUNT
};

/* One key and value; borrowed for the length of the call. Made by the macros below. */
struct log_field {
    const char *key;
    enum log_type type;
    struct span bytes;          /* TEXT, BINARY */
    uint64_t number;            /* U64, I64 (two's complement) */
    const struct ip_addr *addr; /* TEXT: when set, the address is shown instead of bytes */
    bool with_port;
};

/* clang-format off */
#define LOG_STR(k, text)  ((struct log_field){.key = (k), .type = LOG_TYPE_TEXT, .bytes = span_str(text)})
#define LOG_SPAN(k, span) ((struct log_field){.key = (k), .type = LOG_TYPE_TEXT, .bytes = (span)})
#define LOG_U64(k, n)     ((struct log_field){.key = (k), .type = LOG_TYPE_U64, .number = (uint64_t)(n)})
#define LOG_I64(k, n)     ((struct log_field){.key = (k), .type = LOG_TYPE_I64, .number = (uint64_t)(int64_t)(n)})
#define LOG_HEX(k, span)  ((struct log_field){.key = (k), .type = LOG_TYPE_BINARY, .bytes = (span)})
#define LOG_IP(k, ip)     ((struct log_field){.key = (k), .type = LOG_TYPE_TEXT, .addr = (ip)})
#define LOG_ADDR(k, ip)   ((struct log_field){.key = (k), .type = LOG_TYPE_TEXT, .addr = (ip), .with_port = true})
/* clang-format on */

/* Writes one event, or counts it as dropped. The first element of the array is a placeholder, so that an
 * event may have no fields. */
#define log_event(level, name, ...)                                                      \
    log_write((level), (name), (const struct log_field[]){{.key = NULL}, ##__VA_ARGS__}, \
              sizeof((const struct log_field[]){{.key = NULL}, ##__VA_ARGS__}) / sizeof(struct log_field))

void log_write(enum log_level level, const char *name, const struct log_field *fields, size_t count);

/* From now on events of at least this level go to fd, the write end of a pipe with O_NONBLOCK set; -1 turns
 * them off, as they are at the start of a process. The descriptor is borrowed. */
void log_to_pipe(int fd, enum log_level least);

/* From now on frames go to a function instead: for the supervisor, which is its own reader, and for tests. */
typedef void log_sink_fn(void *context, struct span frame);
void log_to_function(log_sink_fn *sink, void *context, enum log_level least);

/* Whether an event of this level would be written: for callers whose values cost something to make. */
bool log_wants(enum log_level level);

/* Events lost since the last frame that got through. */
uint64_t log_dropped(void);

#endif
