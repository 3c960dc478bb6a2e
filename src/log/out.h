/* The supervisor's side of the log: one line per event, stamped with time, role and pid, every value escaped.
 *
 * As text a line is key=value pairs in a fixed order: time, level, role, pid, event, then the event's own.
 * A value is bare when it is not empty and holds only printable characters other than space, '"', '=' and
 * backslash; otherwise it stands in double quotes, with codec_escape's \xHH and \\, and \" for a quote.
 * As JSON a line is one object; texts carry codec_escape's form, numbers are numbers. */
#ifndef LOG_OUT_H
#define LOG_OUT_H

#include "base/buf.h"
#include "log/frame.h"

enum log_format { LOG_FORMAT_KV, LOG_FORMAT_JSON };

enum { LOG_LINE_MAX = 32 * 1024 }; /* bytes of one line; a longer one loses its last fields */

/* Who said it; the supervisor knows this from the pipe it came through, not from the frame. */
struct log_stamp {
    int64_t time_ms;  /* since 1970, UTC */
    const char *role; /* "supervisor", "smtp-mx" */
    int64_t pid;
};

/* Appends one line with its newline to out, whose maximum should allow LOG_LINE_MAX more. */
void log_line(struct buf *out, enum log_format format, const struct log_stamp *stamp,
              const struct log_message *m);

extern const char *const log_level_names[LOG_LEVEL_COUNT]; /* "debug", "info", "warning", "error" */

/* Where lines go. */
struct log_out {
    enum log_format format;
    char *path;       /* owned; NULL is standard error */
    int fd;           /* owned unless path is NULL */
    uint64_t lost;    /* lines a slow or failing destination lost since the last that was written */
    bool broken_line; /* the last write stopped inside a line */
};

/* path NULL is standard error; a file is appended to, made with mode 0640. BRANT_EIO: errno says why, and
 * the log_out writes to standard error instead. */
int log_out_open(struct log_out *o, enum log_format format, const char *path);
void log_out_close(struct log_out *o);
/* Opens the path again, for a log that was rotated. BRANT_EIO: the old file is kept. */
int log_out_reopen(struct log_out *o);
/* Writes one event. A destination that takes nothing for LOG_OUT_WAIT_MS loses the line; the count is shown
 * as `lost` with the next one that is written. */
void log_out_write(struct log_out *o, const struct log_stamp *stamp, const struct log_message *m);

enum { LOG_OUT_WAIT_MS = 100 };

#endif
