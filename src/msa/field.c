#include "msa/field.h"

#include "base/ascii.h"
#include "base/err.h"

static const struct msa_field_info FIELDS[MSA_FIELD_COUNT] = {
    [MSA_FIELD_OTHER] = {"", 0},
    [MSA_FIELD_FROM] = {"From", MSA_FIELD_ONCE | MSA_FIELD_ADDRESSES},
    [MSA_FIELD_SENDER] = {"Sender", MSA_FIELD_ONCE | MSA_FIELD_ADDRESSES},
    [MSA_FIELD_REPLY_TO] = {"Reply-To", MSA_FIELD_ONCE | MSA_FIELD_ADDRESSES},
    [MSA_FIELD_TO] = {"To", MSA_FIELD_ONCE | MSA_FIELD_ADDRESSES},
    [MSA_FIELD_CC] = {"Cc", MSA_FIELD_ONCE | MSA_FIELD_ADDRESSES},
    [MSA_FIELD_BCC] = {"Bcc", MSA_FIELD_REMOVED},
    [MSA_FIELD_DATE] = {"Date", MSA_FIELD_ONCE},
    [MSA_FIELD_MESSAGE_ID] = {"Message-ID", MSA_FIELD_ONCE},
    [MSA_FIELD_IN_REPLY_TO] = {"In-Reply-To", MSA_FIELD_ONCE},
    [MSA_FIELD_REFERENCES] = {"References", MSA_FIELD_ONCE},
    [MSA_FIELD_SUBJECT] = {"Subject", MSA_FIELD_ONCE | MSA_FIELD_TEXT},
    [MSA_FIELD_COMMENTS] = {"Comments", MSA_FIELD_TEXT},
    [MSA_FIELD_ORGANIZATION] = {"Organization", MSA_FIELD_TEXT},
    [MSA_FIELD_THREAD_TOPIC] = {"Thread-Topic", MSA_FIELD_TEXT},
    [MSA_FIELD_MIME_VERSION] = {"MIME-Version", MSA_FIELD_ONCE},
    [MSA_FIELD_CONTENT_TYPE] = {"Content-Type", MSA_FIELD_ONCE},
    [MSA_FIELD_CONTENT_TRANSFER_ENCODING] = {"Content-Transfer-Encoding", MSA_FIELD_ONCE},
    [MSA_FIELD_CONTENT_ID] = {"Content-ID", MSA_FIELD_ONCE},
    [MSA_FIELD_CONTENT_DESCRIPTION] = {"Content-Description", MSA_FIELD_ONCE | MSA_FIELD_TEXT},
    [MSA_FIELD_CONTENT_DISPOSITION] = {"Content-Disposition", MSA_FIELD_ONCE},
    [MSA_FIELD_RETURN_PATH] = {"Return-Path", MSA_FIELD_REMOVED},
    [MSA_FIELD_RESENT_FROM] = {"Resent-From", MSA_FIELD_ADDRESSES},
    [MSA_FIELD_RESENT_SENDER] = {"Resent-Sender", MSA_FIELD_ADDRESSES},
    [MSA_FIELD_RESENT_REPLY_TO] = {"Resent-Reply-To", MSA_FIELD_ADDRESSES},
    [MSA_FIELD_RESENT_TO] = {"Resent-To", MSA_FIELD_ADDRESSES},
    [MSA_FIELD_RESENT_CC] = {"Resent-Cc", MSA_FIELD_ADDRESSES},
    [MSA_FIELD_RESENT_BCC] = {"Resent-Bcc", MSA_FIELD_REMOVED},
};

const struct msa_field_info *msa_field_info(enum msa_field field)
{
    return &FIELDS[field];
}

enum msa_field msa_field_find(struct span name)
{
    for (size_t i = 1; i < MSA_FIELD_COUNT; i++)
        if (span_eq_str_nocase(name, FIELDS[i].name))
            return (enum msa_field)i;
    return MSA_FIELD_OTHER;
}

/* RFC 5322 3.6.8: any printable ASCII but the colon. */
static const char *name_fault(struct span line)
{
    size_t colon = span_find_byte(line, ':');
    struct span name = span_sub(line, 0, colon);

    if (colon == SPAN_NPOS)
        return "a line without a colon";
    if (!colon)
        return "a field without a name";
    for (size_t i = 0; i < name.len; i++) {
        if (ascii_is_wsp(name.p[i]))
            return "white space in the name of a field or before its colon";
        if (!ascii_is_print(name.p[i]))
            return "a character that is not ASCII in the name of a field";
    }
    return NULL;
}

const char *msa_field_fault(const struct mime_raw_field *field)
{
    struct span all = field->all;
    size_t end = span_find_byte(all, '\r');
    const char *fault;

    if (all.len < 2 || all.p[all.len - 2] != '\r' || all.p[all.len - 1] != '\n')
        return "a line that does not end with CRLF";
    for (size_t i = 0; i < all.len; i++) {
        uint8_t c = all.p[i];

        if (c == '\r' && i + 1 < all.len && all.p[i + 1] == '\n')
            i++;
        else if (c == '\r' || c == '\n')
            return "CR or LF alone";
        else if (ascii_is_ctl(c) && c != '\t')
            return "a control character";
    }
    if (ascii_is_wsp(all.p[0]))
        return "a continuation line before the first field";
    fault = name_fault(span_sub(all, 0, end));
    return fault ? fault : field->name.len ? NULL : "a line that is no field";
}

struct span msa_field_trim(struct span value)
{
    while (value.len && (ascii_is_wsp(value.p[0]) || value.p[0] == '\r' || value.p[0] == '\n'))
        value = span_from(value, 1);
    while (value.len && (ascii_is_wsp(value.p[value.len - 1]) || value.p[value.len - 1] == '\r' ||
                         value.p[value.len - 1] == '\n'))
        value.len--;
    return value;
}

bool msa_message_id_valid(struct span value)
{
    struct span id = msa_field_trim(value);
    size_t at;

    if (id.len < 5 || id.len > MSA_LINE_BYTES_MAX - 2 || id.p[0] != '<' || id.p[id.len - 1] != '>')
        return false;
    id = span_sub(id, 1, id.len - 2);
    at = span_find_byte(id, '@');
    if (at == SPAN_NPOS || at == 0 || at + 1 == id.len)
        return false;
    for (size_t i = 0; i < id.len; i++)
        if (!ascii_is_print(id.p[i]) || strchr(" <>()", id.p[i]))
            return false;
    return true;
}

/* --- folding (RFC 5322 2.2.3) --- */

static bool is_blank(struct span s)
{
    return span_trim(s).len == 0;
}

/* Where a line too long may be broken: before the last white space in its first MSA_LINE_BYTES_MAX octets
 * that leaves something printable in front; 0: nowhere. */
static size_t fold_place(struct span line)
{
    for (size_t i = MSA_LINE_BYTES_MAX; i > 0; i--)
        if (ascii_is_wsp(line.p[i]) && !is_blank(span_sub(line, 0, i)))
            return i;
    return 0;
}

static int fold_line(struct span line, struct buf *out, bool *ret_changed)
{
    if (line.len > MSA_LINE_BYTES_MAX) {
        /* White space at the end would make a blank line. */
        while (ascii_is_wsp(line.p[line.len - 1]))
            line.len--;
        *ret_changed = true;
    }
    while (line.len > MSA_LINE_BYTES_MAX) {
        size_t place = fold_place(line);

        if (!place)
            return BRANT_ESYNTAX;
        buf_append(out, span_sub(line, 0, place));
        buf_append_str(out, "\r\n");
        line = span_from(line, place);
    }
    buf_append(out, line);
    return buf_append_str(out, "\r\n");
}

int msa_field_fold(struct span all, struct buf *out, bool *ret_changed)
{
    int rc = BRANT_OK;

    for (size_t at = 0; at < all.len && !rc;) {
        size_t len = span_find(span_from(all, at), SPAN_LIT("\r\n"));
        struct span line = span_sub(all, at, len);

        if (at > 0 && is_blank(line))
            *ret_changed = true;
        else
            rc = fold_line(line, out, ret_changed);
        at += len == SPAN_NPOS ? line.len : len + 2;
    }
    return rc;
}
