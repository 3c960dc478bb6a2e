/* Writing JSON (RFC 8259) into a buffer: enough for explanations. Overflow is the buffer's affair. The names
 * keep clear of those of jansson, which is in the same program. */
#ifndef MIME_JSON_H
#define MIME_JSON_H

#include "base/buf.h"

struct mime_json_writer {
    struct buf *out;
    bool comma; /* a value stands before: the next one needs a comma */
};

/* A key may be NULL inside arrays and for the outermost value. Invalid UTF-8 becomes U+FFFD. */
void mime_json_open(struct mime_json_writer *w, const char *key, char bracket); /* '{' or '[' */
void mime_json_close(struct mime_json_writer *w, char bracket);                 /* '}' or ']' */
void mime_json_string(struct mime_json_writer *w, const char *key, struct span text);
void mime_json_string_lower(struct mime_json_writer *w, const char *key,
                            struct span text); /* ASCII letters lowered */
void mime_json_number(struct mime_json_writer *w, const char *key, uint64_t number);
void mime_json_signed(struct mime_json_writer *w, const char *key, int64_t number);
void mime_json_null(struct mime_json_writer *w, const char *key);
void mime_json_bool(struct mime_json_writer *w, const char *key, bool value);
/* A member whose name is data. */
void mime_json_member(struct mime_json_writer *w, struct span key_lower, struct span text);

#endif
