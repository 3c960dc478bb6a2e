/* What commands print: plain tables for people, one JSON document for programs. */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <jansson.h>

#include "base/buf.h"
#include "ipc/messages.h"

/* A table whose columns are as wide as their widest cell. Cells are escaped copies. */
struct table;

/* `titles` separated by '|'; a title that begins with '>' makes a column aligned to the right. */
struct table *table_new(const char *titles);
void table_cell(struct table *t, struct span text);
void table_text(struct table *t, const char *text);
void table_number(struct table *t, uint64_t n);
void table_size(struct table *t, uint64_t bytes); /* "1.2 MiB" */
/* Prints on standard output and frees; `nothing` is printed instead when there are no rows. */
void table_print(struct table *t, const char *nothing);

void table_free(struct table *t);

/* "1.2 MiB", "17 B": for people. */
void output_size(struct buf *out, uint64_t bytes);
/* "2026-11-23 09:12:16 UTC"; with milliseconds when us is asked for. */
void output_time(struct buf *out, uint64_t unix_us, bool with_ms);

/* A JSON string of the bytes; what is not valid UTF-8 is escaped as \xHH first. */
json_t *output_json_text(struct span text);
json_t *output_json_pairs(const struct ipc_pair *pairs, uint32_t count);
/* Prints the document and frees it. Answers an exit status. */
int output_json(json_t *document);
/* For commands that only do something: {"done": true} with --json, else the sentence. */
int output_done(bool json, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "key: value" lines, escaped, indented. */
void output_pairs(const struct ipc_pair *pairs, uint32_t count, int indent);

#endif
