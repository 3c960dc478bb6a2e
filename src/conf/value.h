/* Values of the configuration by type; used inside this folder only. */
#ifndef CONF_VALUE_H
#define CONF_VALUE_H

#include "conf/conf.h"

enum { CONF_KEYS_MAX = 128 };

/* Reads a value into its field of c. Textual values go to c's arena; list values are appended to the list.
 * BRANT_OK, or BRANT_ESYNTAX with what is wrong and what would be right appended to why. */
int conf_value_parse(struct conf *c, const struct conf_key *k, struct span value, struct buf *why);

void conf_put_duration(struct buf *out, uint64_t ms);
/* "192.0.2.1:25", "[2001:db8::1]:25". */
void conf_put_address(struct buf *out, const struct ip_addr *a);

/* Conditions between keys. line_of[i] is the line that set key i, 0 when none did; each trouble found is
 * handed to conf_error_add. */
void conf_check(const struct conf *c, const unsigned *line_of, const char *file_name,
                struct conf_errors *errors);

void conf_error_add(struct conf_errors *errors, const char *file_name, unsigned line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
