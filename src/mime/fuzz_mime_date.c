/* Any bytes as a date; one that was read is written and read again. */
#include <stdlib.h>

#include "base/err.h"
#include "mime/date.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mime_date date, again;
    char text[MIME_DATE_TEXT_MAX];

    if (mime_date_parse(span_make(data, size), &date) != BRANT_OK)
        return 0;
    if (date.unix_s < -62000000000 || date.unix_s > 253000000000)
        return 0; /* outside of what mime_date_format promises */
    mime_date_format(date.unix_s, date.offset_min, text);
    if (mime_date_parse(span_str(text), &again) != BRANT_OK || again.unix_s != date.unix_s ||
        again.offset_min != date.offset_min)
        abort();
    return 0;
}
