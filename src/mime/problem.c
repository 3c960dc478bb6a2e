#include "mime/parser.h"

static const struct {
    const char *name, *text;
} problems[MIME_PROBLEM_COUNT] = {
    [MIME_PROBLEM_BARE_LF] = {"bare-lf", "line end without CR"},
    [MIME_PROBLEM_BARE_CR] = {"bare-cr", "CR without LF"},
    [MIME_PROBLEM_NUL] = {"nul", "NUL byte"},
    [MIME_PROBLEM_LONG_LINE] = {"long-line", "line of more than 998 bytes"},
    [MIME_PROBLEM_HEADER_UTF8] = {"header-utf8", "raw UTF-8 in a header"},
    [MIME_PROBLEM_HEADER_8BIT] = {"header-8bit", "8-bit bytes in a header that are not UTF-8"},
    [MIME_PROBLEM_HEADER_BAD_LINE] = {"header-bad-line",
                                      "header line that is neither field nor continuation"},
    [MIME_PROBLEM_HEADER_UNTERMINATED] = {"header-unterminated", "boundary inside a header"},
    [MIME_PROBLEM_FIELD_TRUNCATED] = {"field-truncated", "header field too long, its end was not looked at"},
    [MIME_PROBLEM_TOO_MANY_FIELDS] = {"too-many-fields", "too many header fields, the rest is not listed"},
    [MIME_PROBLEM_DUPLICATE_FIELD] = {"duplicate-field", "header field that may stand only once is repeated"},
    [MIME_PROBLEM_MISSING_FROM] = {"missing-from", "no From field"},
    [MIME_PROBLEM_MISSING_DATE] = {"missing-date", "no Date field"},
    [MIME_PROBLEM_BODY_8BIT] = {"body-8bit", "8-bit bytes in a part declared 7bit"},
    [MIME_PROBLEM_BAD_CONTENT_TYPE] = {"bad-content-type", "unreadable Content-Type, the default is used"},
    [MIME_PROBLEM_BAD_ENCODING] = {"bad-encoding", "unknown Content-Transfer-Encoding"},
    [MIME_PROBLEM_ENCODED_COMPOSITE] = {"encoded-composite", "multipart or message with a transfer encoding"},
    [MIME_PROBLEM_MISSING_BOUNDARY] = {"missing-boundary", "multipart without a usable boundary parameter"},
    [MIME_PROBLEM_LONG_BOUNDARY] = {"long-boundary", "boundary of more than 70 characters"},
    [MIME_PROBLEM_BOUNDARY_TRAILING] = {"boundary-trailing", "text behind a boundary"},
    [MIME_PROBLEM_UNTERMINATED_MULTIPART] = {"unterminated-multipart", "multipart without its end boundary"},
    [MIME_PROBLEM_EMPTY_MULTIPART] = {"empty-multipart", "multipart without parts"},
    [MIME_PROBLEM_TOO_DEEP] = {"too-deep", "parts nested too deeply, not taken apart further"},
    [MIME_PROBLEM_TOO_MANY_PARTS] = {"too-many-parts", "too many parts, the rest is not listed"},
    [MIME_PROBLEM_VALUES_DROPPED] = {"values-dropped", "too much header text, some values were not kept"},
    [MIME_PROBLEM_BAD_BASE64] = {"bad-base64", "characters that are not base64, or wrong padding"},
    [MIME_PROBLEM_BAD_QUOTED_PRINTABLE] = {"bad-quoted-printable",
                                           "equals sign without two hexadecimal digits"},
};

const char *mime_problem_name(enum mime_problem_code code)
{
    return problems[code].name;
}

const char *mime_problem_text(enum mime_problem_code code)
{
    return problems[code].text;
}
