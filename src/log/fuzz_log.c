/* The supervisor's log decoder against a hostile role: no crash, one line per event, lines always printable.
 */
#include <stdlib.h>

#include "base/codec.h"
#include "base/err.h"
#include "log/frame.h"
#include "log/out.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_line(const struct log_message *m, enum log_format format)
{
    static const struct log_stamp stamp = {.time_ms = 0, .role = "role", .pid = 1};
    _cleanup_buf_ struct buf line;

    buf_init(&line, LOG_LINE_MAX);
    log_line(&line, format, &stamp, m);
    if (line.overflowed || !codec_utf8_valid(buf_span(&line)) ||
        span_find_byte(buf_span(&line), '\n') != line.len - 1)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct log_decoder d;
    struct log_message m;
    size_t step = size ? data[0] * 16u + 1u : 1;

    log_decoder_init(&d);
    for (size_t at = size ? 1 : 0; at < size; at += step) {
        size_t room, len = size - at < step ? size - at : step;

        memcpy(log_decoder_room(&d, &room), data + at, len);
        log_decoder_fed(&d, len);
        while (log_decoder_next(&d, &m) == BRANT_OK) {
            check_line(&m, LOG_FORMAT_KV);
            check_line(&m, LOG_FORMAT_JSON);
        }
    }
    log_decoder_done(&d);
    return 0;
}
