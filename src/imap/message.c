/* Entries, bytes and structures of messages: asking for them, and keeping what came. */
#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "imap/server_internal.h"

/* ---- entries ---- */

enum imap_event_type imap_entries_ask(struct imap_server *s, const struct imap_set *targets, size_t at,
                                      struct imap_event *ret)
{
    if (!s->slice) {
        s->slice = mem_zalloc(sizeof *s->slice);
        buf_init(&s->slice->text, IMAP_STRUCTURES_BYTES_MAX);
    }
    s->slice->given = false;
    s->awaited = ENTRIES_ANSWER;
    ret->ranges = targets->r + at;
    ret->range_count = targets->len - at;
    ret->count = s->config.entries_max;
    return IMAP_EVENT_ENTRIES;
}

void imap_slice_release(struct imap_server *s)
{
    if (!s->slice)
        return;
    buf_done(&s->slice->text);
    free(s->slice);
    s->slice = NULL;
}

bool imap_targets_advance(struct imap_set *targets, size_t *at, uint32_t done_to)
{
    size_t before = *at;

    while (*at < targets->len && targets->r[*at].last <= done_to)
        ++*at;
    if (*at < targets->len && targets->r[*at].first <= done_to) {
        targets->r[*at].first = done_to + 1;
        return true;
    }
    return *at > before;
}

/* The texts of the structures move into the slice. Those that are too long are as good as none. */
static int texts_keep(struct imap_slice *slice)
{
    size_t total = 0;

    for (size_t i = 0; i < slice->count; i++) {
        if (slice->entries[i].structure.len > STRUCTURE_BYTES_MAX)
            slice->entries[i].structure = SPAN_NONE;
        total += slice->entries[i].structure.len;
    }
    buf_reset(&slice->text);
    if (total > IMAP_STRUCTURES_BYTES_MAX)
        return BRANT_ELIMIT;
    buf_reserve(&slice->text, total); /* so that it will not move */
    for (size_t i = 0; i < slice->count; i++) {
        struct span *structure = &slice->entries[i].structure;
        size_t at = slice->text.len;

        buf_append(&slice->text, *structure);
        *structure = span_sub(buf_span(&slice->text), at, structure->len);
    }
    return BRANT_OK;
}

int imap_server_entries(struct imap_server *s, const struct imap_entry *entries, size_t count,
                        uint32_t done_to)
{
    struct imap_slice *slice = s->slice;

    if (s->awaited != ENTRIES_ANSWER)
        return BRANT_ESTATE;
    if (count > s->config.entries_max)
        return BRANT_ELIMIT;
    if (count)
        memcpy(slice->entries, entries, count * sizeof *entries);
    slice->count = count;
    if (texts_keep(slice) != BRANT_OK)
        return BRANT_ELIMIT;
    s->awaited = NOTHING;
    slice->at = 0;
    slice->done_to = done_to;
    slice->given = true;
    return BRANT_OK;
}

/* ---- bytes ---- */

enum imap_event_type imap_read_ask(struct imap_server *s, uint32_t uid, uint64_t offset, uint64_t len,
                                   void (*take)(struct imap_server *s, struct span bytes),
                                   struct imap_event *ret)
{
    assert(len > 0);
    s->take = take;
    s->read_asked = (uint32_t)(len < s->config.read_bytes_max ? len : s->config.read_bytes_max);
    s->awaited = READ_ANSWER;
    ret->uid = uid;
    ret->offset = offset;
    ret->size_bytes = s->read_asked;
    return IMAP_EVENT_READ;
}

int imap_server_read_done(struct imap_server *s, struct span bytes)
{
    if (s->awaited != READ_ANSWER)
        return BRANT_ESTATE;
    if (bytes.len == 0 || bytes.len > s->read_asked)
        return BRANT_ELIMIT;
    s->awaited = NOTHING;
    s->take(s, bytes);
    return BRANT_OK;
}

/* ---- structures ---- */

void imap_message_release(struct imap_server *s)
{
    mime_parser_free(s->message.parser);
    s->message.parser = NULL;
    s->message.uid = 0;
    s->message.ready = false;
    arena_reset(&s->message.arena);
    buf_done(&s->message.blob);
}

/* What is left when there is nothing usable: a message of which only the size is known. */
static void message_give_up(struct imap_message *m, uint64_t size)
{
    m->s = (struct mime_structure){.size = size};
    m->ready = true;
}

static bool message_decode(struct imap_message *m, struct span blob, uint64_t size)
{
    arena_reset(&m->arena);
    if (!blob.len || mime_structure_decode(blob, &m->arena, &m->s) != BRANT_OK || !m->s.count ||
        !imap_structure_shift(&m->s, size))
        return false;
    m->ready = true;
    return true;
}

static void message_take(struct imap_server *s, struct span bytes)
{
    mime_parser_feed(s->message.parser, bytes);
    s->message.pos += bytes.len;
}

/* All bytes went through the parser: from here on as if the structure had been recorded. */
static void message_parsed(struct imap_message *m, uint64_t size)
{
    mime_parser_finish(m->parser);
    buf_reset(&m->blob);
    if (mime_structure_encode(mime_parser_structure(m->parser), STRUCTURE_BYTES_MAX, &m->blob) != BRANT_OK ||
        !message_decode(m, buf_span(&m->blob), size))
        message_give_up(m, size);
    mime_parser_free(m->parser);
    m->parser = NULL;
}

enum imap_event_type imap_message_step(struct imap_server *s, const struct imap_entry *entry,
                                       struct imap_event *ret)
{
    struct imap_message *m = &s->message;

    if (m->uid != entry->uid) {
        imap_message_release(s);
        m->uid = entry->uid;
        m->failed = false;
        m->pos = 0;
        if (!message_decode(m, entry->structure, entry->size))
            m->parser = mime_parser_new(NULL);
    }
    if (m->ready)
        return IMAP_EVENT_MORE;
    if (m->pos < entry->size)
        return imap_read_ask(s, entry->uid, m->pos, entry->size - m->pos, message_take, ret);
    message_parsed(m, entry->size);
    return IMAP_EVENT_MORE;
}

bool imap_message_failed(struct imap_server *s)
{
    struct imap_message *m = &s->message;

    if (!m->parser)
        return false;
    mime_parser_free(m->parser);
    m->parser = NULL;
    m->failed = true;
    message_give_up(m, 0);
    return true;
}

const struct mime_part *imap_message_root(const struct imap_server *s)
{
    static const struct mime_part none;

    return s->message.s.count ? &s->message.s.parts[0] : &none;
}
