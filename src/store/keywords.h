/* Keyword tables: names with a space in between, in the order of their bits (store.h). */
#ifndef STORE_KEYWORDS_H
#define STORE_KEYWORDS_H

#include "base/buf.h"

/* The number of a name in the table, or -1. */
int keywords_find(struct span table, struct span name);
/* The same, adding it; -1: it is full (STORE_KEYWORDS_MAX), or the name is none. */
int keywords_add(struct buf *table, struct span name);
/* The name with that number; empty: none. */
struct span keywords_name(struct span table, unsigned number);

#endif
