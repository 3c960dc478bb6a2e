#include "store/keywords.h"

#include "base/ascii.h"
#include "store/store.h"

/* Takes the first name off the table. */
static struct span next(struct span *table)
{
    size_t end = span_find_byte(*table, ' ');
    struct span name = span_sub(*table, 0, end == SPAN_NPOS ? table->len : end);

    *table = span_from(*table, end == SPAN_NPOS ? table->len : end + 1);
    return name;
}

int keywords_find(struct span table, struct span name)
{
    for (int number = 0; table.len; number++) {
        if (span_eq_nocase(next(&table), name))
            return number;
    }
    return -1;
}

static int count(struct span table)
{
    int number = 0;

    for (; table.len; number++)
        (void)next(&table);
    return number;
}

int keywords_add(struct buf *table, struct span name)
{
    int number = keywords_find(buf_span(table), name);

    if (number >= 0)
        return number;
    number = count(buf_span(table));
    if (number >= STORE_KEYWORDS_MAX || !name.len || name.len > STORE_KEYWORD_BYTES_MAX ||
        span_find_byte(name, ' ') != SPAN_NPOS || span_find_byte(name, '\0') != SPAN_NPOS)
        return -1;
    if (table->len)
        (void)buf_append_byte(table, ' ');
    return buf_append(table, name) ? -1 : number;
}

struct span keywords_name(struct span table, unsigned number)
{
    struct span name = SPAN_NONE;

    for (unsigned i = 0; i <= number; i++)
        name = next(&table);
    return name;
}
