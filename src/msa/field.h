/* The fields that submission knows something about, and the syntax of all of them. */
#ifndef MSA_FIELD_H
#define MSA_FIELD_H

#include "base/buf.h"
#include "mime/headers.h"

enum msa_field {
    MSA_FIELD_OTHER,
    MSA_FIELD_FROM,
    MSA_FIELD_SENDER,
    MSA_FIELD_REPLY_TO,
    MSA_FIELD_TO,
    MSA_FIELD_CC,
    MSA_FIELD_BCC,
    MSA_FIELD_DATE,
    MSA_FIELD_MESSAGE_ID,
    MSA_FIELD_IN_REPLY_TO,
    MSA_FIELD_REFERENCES,
    MSA_FIELD_SUBJECT,
    MSA_FIELD_COMMENTS,
    MSA_FIELD_ORGANIZATION,
    MSA_FIELD_THREAD_TOPIC,
    MSA_FIELD_MIME_VERSION,
    MSA_FIELD_CONTENT_TYPE,
    MSA_FIELD_CONTENT_TRANSFER_ENCODING,
    MSA_FIELD_CONTENT_ID,
    MSA_FIELD_CONTENT_DESCRIPTION,
    MSA_FIELD_CONTENT_DISPOSITION,
    MSA_FIELD_RETURN_PATH,
    MSA_FIELD_RESENT_FROM,
    MSA_FIELD_RESENT_SENDER,
    MSA_FIELD_RESENT_REPLY_TO,
    MSA_FIELD_RESENT_TO,
    MSA_FIELD_RESENT_CC,
    MSA_FIELD_RESENT_BCC,
    MSA_FIELD_COUNT
};

enum msa_field_flags {
    MSA_FIELD_ONCE = 1,      /* RFC 5322 3.6; RFC 2045 3 and RFC 2183 allow theirs once, too */
    MSA_FIELD_ADDRESSES = 2, /* an address list */
    MSA_FIELD_TEXT = 4,      /* unstructured (RFC 5322 3.2.5) */
    MSA_FIELD_REMOVED = 8    /* never leaves here */
};

struct msa_field_info {
    const char *name;
    unsigned flags; /* enum msa_field_flags */
};
const struct msa_field_info *msa_field_info(enum msa_field field);
enum msa_field msa_field_find(struct span name);

/* NULL, or why this is no field: an English phrase. */
const char *msa_field_fault(const struct mime_raw_field *field);

/* The line ends and white space around a value do not count. */
struct span msa_field_trim(struct span value);

/* A value whose every reader sees one message id (RFC 5322 3.6.4, with any printable ASCII in it). */
bool msa_message_id_valid(struct span value);

enum { MSA_LINE_BYTES_MAX = 998 }; /* RFC 5322 2.1.1, without CRLF */

/* Appends a whole field, with its CRLF, so that no line is too long and no continuation line blank;
 * *ret_changed is set to true when that changed something. BRANT_ESYNTAX: there is no place to fold.
 * BRANT_ELIMIT. */
int msa_field_fold(struct span all, struct buf *out, bool *ret_changed);

#endif
