/* The configuration parser: no crash, printable errors, and what is accepted dumps to a text that parses to
 * the same dump. */
#include <stdlib.h>

#include "base/codec.h"
#include "base/err.h"
#include "conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_dump(const struct conf *c)
{
    _cleanup_buf_ struct buf first, second;
    struct conf_errors e;
    struct conf again;

    buf_init(&first, CONF_TEXT_MAX);
    buf_init(&second, CONF_TEXT_MAX);
    if (conf_dump(c, &first) != BRANT_OK || conf_parse(buf_span(&first), "dump", &again, &e) != BRANT_OK)
        abort();
    if (conf_dump(&again, &second) != BRANT_OK || !span_eq(buf_span(&first), buf_span(&second)))
        abort();
    conf_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct conf_errors e;
    struct conf c;

    if (conf_parse(span_make(data, size), "fuzz", &c, &e) == BRANT_OK) {
        check_dump(&c);
        conf_done(&c);
        return 0;
    }
    if (e.count == 0)
        abort();
    for (size_t i = 0; i < e.count; i++) {
        if (strchr(e.list[i].text, '\n') || !codec_utf8_valid(span_str(e.list[i].text)))
            abort();
    }
    return 0;
}
