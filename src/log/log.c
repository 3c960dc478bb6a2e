#include "log/log.h"

#include <stdatomic.h>
#include <unistd.h>

#include "log/frame.h"

/* One process has one log, set up once by main() before threads start. */
static struct {
    int fd;
    enum log_level least;
    log_sink_fn *sink;
    void *sink_context;
} target = {.fd = -1, .least = LOG_LEVEL_COUNT};

static _Atomic uint64_t dropped;

void log_to_pipe(int fd, enum log_level least)
{
    target.fd = fd;
    target.least = fd < 0 ? LOG_LEVEL_COUNT : least;
    target.sink = NULL;
}

void log_to_function(log_sink_fn *sink, void *context, enum log_level least)
{
    target.fd = -1;
    target.sink = sink;
    target.sink_context = context;
    target.least = sink ? least : LOG_LEVEL_COUNT;
}

bool log_wants(enum log_level level)
{
    return level >= target.least && target.least != LOG_LEVEL_COUNT;
}

uint64_t log_dropped(void)
{
    return atomic_load(&dropped);
}

/* A write of at most PIPE_BUF bytes to a pipe with O_NONBLOCK is whole or fails; there is nothing to retry.
 */
static bool send_frame(struct span frame)
{
    if (target.sink) {
        target.sink(target.sink_context, frame);
        return true;
    }
    return write(target.fd, frame.p, frame.len) == (ssize_t)frame.len;
}

static void write_frame(enum log_level level, const char *name, const struct log_field *fields, size_t count)
{
    _cleanup_buf_ struct buf frame;
    uint64_t lost = atomic_exchange(&dropped, 0);

    buf_init(&frame, 2 * LOG_FRAME_MAX);
    log_frame_encode(&frame, level, name, lost > UINT32_MAX ? UINT32_MAX : (uint32_t)lost, fields, count);
    if (!send_frame(buf_span(&frame)))
        atomic_fetch_add(&dropped, lost + 1);
}

void log_write(enum log_level level, const char *name, const struct log_field *fields, size_t count)
{
    if (log_wants(level))
        write_frame(level, name, fields, count);
}
