/* Writing JSON (RFC 8259) into a buffer: enough for explanations. Overflow is the buffer's affair. */
#ifndef MIME_JSON_H
#define MIME_JSON_H

#include "base/buf.h"

struct json_writer {
    struct buf *out;
    bool comma; /* a value stands before: the next one needs a comma */
};

/* A key may be NULL inside arrays and for the outermost value. Invalid UTF-8 becomes U+FFFD. */
void json_open(struct json_writer *w, const char *key, char bracket); /* '{' or '[' */
void json_close(struct json_writer *w, char bracket);                 /* '}' or ']' */
void json_string(struct json_writer *w, const char *key, struct span text);
void json_string_lower(struct json_writer *w, const char *key, struct span text); /* ASCII letters lowered */
void json_number(struct json_writer *w, const char *key, uint64_t number);
void json_signed(struct json_writer *w, const char *key, int64_t number);
void json_null(struct json_writer *w, const char *key);
void json_bool(struct json_writer *w, const char *key, bool value);
/* A member whose name is data. */
void json_member(struct json_writer *w, struct span key_lower, struct span text);

#endif
