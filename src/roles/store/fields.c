#include "roles/store/fields.h"

#include <assert.h>

#include "base/err.h"
#include "base/wire.h"
#include "imap/name.h"
#include "ipc/messages.h"

bool fields_ranges(struct arena *a, struct span bytes, const struct store_range **ret, size_t *ret_count)
{
    size_t count = bytes.len / IPC_RANGE_BYTES;
    if (bytes.len % IPC_RANGE_BYTES != 0)
        return false;
    struct store_range *ranges = arena_array(a, count + 1, sizeof *ranges);
    assert(ranges); /* the frame bounds them, and the arena has room for that */
    struct wire_reader in = wire_read(bytes);
    uint32_t last = 0;
    for (size_t i = 0; i < count; i++) {
        ranges[i].first = wire_get_u32(&in);
        ranges[i].last = wire_get_u32(&in);
        if (ranges[i].first <= last || ranges[i].last < ranges[i].first)
            return false;
        last = ranges[i].last;
    }
    *ret = ranges;
    *ret_count = count;
    return true;
}

struct span fields_ranges_put(struct arena *a, const struct store_range_list *list)
{
    size_t len = list->count * IPC_RANGE_BYTES;
    uint8_t *bytes = list->r && len > 0 ? arena_alloc(a, len) : NULL;
    if (!bytes)
        return SPAN_NONE;
    for (size_t i = 0; i < list->count; i++)
        for (unsigned k = 0; k < 4; k++) {
            bytes[i * IPC_RANGE_BYTES + k] = (uint8_t)(list->r[i].first >> (8 * k));
            bytes[i * IPC_RANGE_BYTES + 4 + k] = (uint8_t)(list->r[i].last >> (8 * k));
        }
    return span_make(bytes, len);
}

struct store_range_list fields_ranges_room(struct arena *a, size_t max)
{
    return (struct store_range_list){.r = arena_array(a, max, sizeof(struct store_range)), .max = max};
}

/* RFC 3501 9: flag-keyword is an atom; here it is enough that it cannot be taken for two. */
static bool is_keyword(struct span name)
{
    if (name.len == 0 || name.len > STORE_KEYWORD_BYTES_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.p[i] <= ' ' || name.p[i] >= 0x7f)
            return false;
    return true;
}

bool fields_keywords(struct arena *a, struct span text, struct store_keyword_list *ret)
{
    *ret = (struct store_keyword_list){0};
    if (text.len == 0)
        return true;
    struct span *names = arena_array(a, STORE_KEYWORDS_MAX, sizeof *names);
    struct span rest = arena_dup(a, text);
    assert(names && rest.p);
    for (bool last = false; !last;) {
        size_t at = span_find_byte(rest, ' ');
        struct span name = span_sub(rest, 0, at);
        last = at == SPAN_NPOS;
        if (ret->count == STORE_KEYWORDS_MAX || !is_keyword(name))
            return false;
        names[ret->count++] = name;
        rest = last ? SPAN_NONE : span_from(rest, at + 1);
    }
    ret->names = names;
    return true;
}

bool fields_name(struct span name)
{
    struct buf _cleanup_buf_ checked;
    buf_init(&checked, IPC_MAILBOX_NAME_MAX);
    return imap_name_parse(name, true, &checked) == BRANT_OK && span_eq(name, buf_span(&checked));
}
