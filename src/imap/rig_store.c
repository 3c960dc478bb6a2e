#include "imap/rig_store.h"

#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "imap/name.h"
#include "mime/parser.h"

/* ---- mailboxes ---- */

/* The place of a name, or where it would be. */
static size_t place(const struct rig_store *store, struct span name, bool *ret_there)
{
    size_t i = 0;

    while (i < store->box_count && imap_name_cmp(buf_span(&store->boxes[i].name), name) < 0)
        i++;
    *ret_there = i < store->box_count && span_eq(buf_span(&store->boxes[i].name), name);
    return i;
}

/* The row of a name, made when there is none. */
static struct rig_box *row(struct rig_store *store, struct span name)
{
    bool there;
    size_t i = place(store, name, &there);
    struct rig_box *b = &store->boxes[i];

    if (there)
        return b;
    assert(store->box_count < RIG_BOXES_MAX);
    memmove(b + 1, b, (store->box_count - i) * sizeof *b);
    store->box_count++;
    *b = (struct rig_box){0};
    buf_init(&b->name, SIZE_MAX);
    buf_append(&b->name, name);
    return b;
}

static void messages_drop(struct rig_box *b)
{
    for (size_t i = 0; i < b->count; i++) {
        buf_done(&b->messages[i].bytes);
        buf_done(&b->messages[i].blob);
    }
    free(b->messages);
    free(b->gone);
    for (size_t i = 0; i < b->keyword_count; i++)
        buf_done(&b->keyword_names[i]);
    b->messages = NULL;
    b->gone = NULL;
    b->count = b->cap = b->gone_count = b->gone_cap = b->keyword_count = 0;
}

/* A row that says nothing any more goes. */
static void row_tidy(struct rig_store *store, struct rig_box *b)
{
    size_t i = (size_t)(b - store->boxes);

    if (b->exists || b->subscribed)
        return;
    buf_done(&b->name);
    memmove(b, b + 1, (store->box_count - i - 1) * sizeof *b);
    store->box_count--;
}

struct rig_box *rig_box_get(struct rig_store *store, struct span name)
{
    bool there;
    size_t i = place(store, name, &there);

    return there && store->boxes[i].exists ? &store->boxes[i] : NULL;
}

struct rig_box *rig_box_find(struct rig_store *store, const char *name)
{
    return rig_box_get(store, span_str(name));
}

struct rig_box *rig_box_by_id(struct rig_store *store, uint64_t id)
{
    for (size_t i = 0; i < store->box_count; i++)
        if (store->boxes[i].exists && store->boxes[i].id == id)
            return &store->boxes[i];
    return NULL;
}

struct rig_box *rig_box_make(struct rig_store *store, struct span name, unsigned uses)
{
    struct rig_box *b = row(store, name);

    b->exists = true;
    b->uses = uses;
    b->id = ++store->ids;
    b->uidvalidity = ++store->uidvalidities;
    b->uidnext = b->recent_from = 1;
    b->modseq = 1;
    return b;
}

void rig_parents_make(struct rig_store *store, struct span name)
{
    for (size_t i = 0; i < name.len; i++)
        if (name.p[i] == '/' && !rig_box_get(store, span_sub(name, 0, i)))
            rig_box_make(store, span_sub(name, 0, i), 0);
}

bool rig_box_delete(struct rig_store *store, struct span name)
{
    struct rig_box *b = rig_box_get(store, name);

    if (!b)
        return false;
    messages_drop(b);
    b->exists = false;
    b->uses = 0;
    row_tidy(store, b);
    return true;
}

/* What the mailbox is moves to another name; its subscription stays. */
static void row_move(struct rig_store *store, struct span from, struct span to)
{
    struct rig_box kept = *rig_box_get(store, from), *b;
    struct buf old = kept.name;

    b = rig_box_get(store, from);
    *b = (struct rig_box){.name = old, .subscribed = kept.subscribed};
    row_tidy(store, b);
    b = row(store, to);
    kept.name = b->name;
    kept.subscribed = b->subscribed;
    kept.uidvalidity = ++store->uidvalidities; /* RFC 3501 2.3.1.1: the name had other UIDs, perhaps */
    *b = kept;
}

bool rig_box_rename(struct rig_store *store, struct span from, struct span to)
{
    char names[RIG_BOXES_MAX][IMAP_NAME_BYTES_MAX];
    size_t lens[RIG_BOXES_MAX], count = 0;
    struct rig_box *b = rig_box_get(store, from);

    if (!b)
        return false;
    rig_parents_make(store, to);
    if (imap_name_is_inbox(from)) {
        rig_box_make(store, to, 0);
        while ((b = rig_box_get(store, from))->count) {
            rig_copy(store, b, 0, rig_box_get(store, to));
            rig_expunge(b, 0);
        }
        rig_notify(store, b, NULL);
        return true;
    }
    for (size_t i = 0; i < store->box_count; i++) {
        struct span name = buf_span(&store->boxes[i].name);

        if (store->boxes[i].exists && imap_name_within(name, from)) {
            memcpy(names[count], name.p, name.len);
            lens[count++] = name.len;
        }
    }
    for (size_t i = 0; i < count; i++) {
        struct buf target;

        buf_init(&target, SIZE_MAX);
        buf_append(&target, to);
        buf_append(&target, span_make(names[i] + from.len, lens[i] - from.len));
        row_move(store, span_make(names[i], lens[i]), buf_span(&target));
        buf_done(&target);
    }
    return true;
}

void rig_subscribe(struct rig_store *store, struct span name, bool yes)
{
    struct rig_box *b = row(store, name);

    b->subscribed = yes;
    row_tidy(store, b);
}

void rig_status(const struct rig_box *b, struct imap_status *ret)
{
    *ret = (struct imap_status){.messages = (uint32_t)b->count,
                                .uidnext = b->uidnext,
                                .uidvalidity = b->uidvalidity,
                                .modseq = b->modseq,
                                .mailbox = b->id};
    for (size_t i = 0; i < b->count; i++) {
        ret->recent += b->messages[i].uid >= b->recent_from;
        ret->unseen += !(b->messages[i].flags & IMAP_FLAG_SEEN);
        ret->deleted += (b->messages[i].flags & IMAP_FLAG_DELETED) != 0;
        ret->size += b->messages[i].bytes.len;
    }
}

/* ---- messages ---- */

struct rig_message *rig_message_get(struct rig_box *b, uint32_t uid)
{
    for (size_t i = 0; b && i < b->count; i++)
        if (b->messages[i].uid == uid)
            return &b->messages[i];
    return NULL;
}

uint32_t imap_rig_last_uid(const struct rig_box *b)
{
    return b->uidnext - 1;
}

/* The structure of the message, or of what follows its first line. */
static void structure_make(const struct rig_store *store, struct rig_message *m)
{
    struct mime_parser *p = mime_parser_new(NULL);
    struct span bytes = buf_span(&m->bytes);
    size_t line = span_find(bytes, SPAN_LIT("\r\n"));

    if (store->prefix && line != SPAN_NPOS)
        bytes = span_from(bytes, line + 2);
    mime_parser_feed(p, bytes);
    mime_parser_finish(p);
    buf_reset(&m->blob);
    mime_structure_encode(mime_parser_structure(p), 65536, &m->blob);
    mime_parser_free(p);
}

void rig_add(struct rig_store *store, struct rig_box *b, struct rig_message *m)
{
    if (b->count == b->cap) {
        b->cap = b->cap ? 2 * b->cap : 16;
        b->messages = mem_regrow(b->messages, b->cap, sizeof *b->messages);
    }
    m->uid = b->uidnext++;
    m->modseq = ++b->modseq;
    m->saved_ms = store->clock_ms;
    if (!m->email)
        m->email = ++store->ids;
    structure_make(store, m);
    b->messages[b->count++] = *m;
}

void rig_deliver(struct rig_store *store, const char *box, struct span bytes)
{
    struct rig_message m = {.time_ms = store->clock_ms};
    struct rig_box *b = rig_box_find(store, box);

    buf_init(&m.bytes, SIZE_MAX);
    buf_init(&m.blob, SIZE_MAX);
    buf_append(&m.bytes, bytes);
    rig_add(store, b, &m);
    rig_notify(store, b, NULL);
}

void rig_copy(struct rig_store *store, const struct rig_box *b, size_t index, struct rig_box *to)
{
    struct rig_message m = b->messages[index];
    struct span names[IMAP_KEYWORDS_MAX];
    size_t count = 0;

    for (size_t i = 0; i < b->keyword_count; i++)
        if (m.flags >> (IMAP_KEYWORD_SHIFT + i) & 1)
            names[count++] = buf_span(&b->keyword_names[i]);
    rig_flags_of(to, m.flags & IMAP_FLAGS_SYSTEM, names, count, true, &m.flags);
    buf_init(&m.bytes, SIZE_MAX);
    buf_init(&m.blob, SIZE_MAX);
    buf_append(&m.bytes, buf_span(&b->messages[index].bytes));
    rig_add(store, to, &m);
}

void rig_expunge(struct rig_box *b, size_t index)
{
    if (b->gone_count == b->gone_cap) {
        b->gone_cap = b->gone_cap ? 2 * b->gone_cap : 16;
        b->gone = mem_regrow(b->gone, b->gone_cap, sizeof *b->gone);
    }
    b->gone[b->gone_count++] = (struct rig_gone){b->messages[index].uid, ++b->modseq};
    buf_done(&b->messages[index].bytes);
    buf_done(&b->messages[index].blob);
    memmove(b->messages + index, b->messages + index + 1, (b->count - index - 1) * sizeof *b->messages);
    b->count--;
}

static uint64_t keyword(struct rig_box *b, struct span name, bool make)
{
    for (size_t i = 0; i < b->keyword_count; i++)
        if (span_eq_nocase(buf_span(&b->keyword_names[i]), name))
            return (uint64_t)1 << (IMAP_KEYWORD_SHIFT + i);
    if (!make || b->keyword_count == IMAP_KEYWORDS_MAX)
        return 0;
    buf_init(&b->keyword_names[b->keyword_count], SIZE_MAX);
    buf_append(&b->keyword_names[b->keyword_count], name);
    return (uint64_t)1 << (IMAP_KEYWORD_SHIFT + b->keyword_count++);
}

bool rig_flags_of(struct rig_box *b, uint64_t flags, const struct span *keywords, size_t count, bool make,
                  uint64_t *ret)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t bit = keyword(b, keywords[i], make);

        if (!bit && make)
            return false;
        flags |= bit;
    }
    *ret = flags;
    return true;
}

void rig_notify(struct rig_store *store, const struct rig_box *b, const struct rig *but)
{
    for (size_t i = 0; i < store->session_count; i++)
        if (store->sessions[i] != but && store->sessions[i]->box == b->id)
            imap_server_notice(store->sessions[i]->s, b->modseq);
}

/* ---- the whole ---- */

void rig_store_init(struct rig_store *store)
{
    static const struct {
        const char *name;
        unsigned use;
    } first[] = {{"INBOX", 0},
                 {"Archive", IMAP_USE_ARCHIVE},
                 {"Drafts", IMAP_USE_DRAFTS},
                 {"Junk", IMAP_USE_JUNK},
                 {"Sent", IMAP_USE_SENT},
                 {"Trash", IMAP_USE_TRASH}};

    *store = (struct rig_store){.clock_ms = 1600000000000};
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++)
        rig_box_make(store, span_str(first[i].name), first[i].use);
}

void rig_store_done(struct rig_store *store)
{
    for (size_t i = 0; i < store->box_count; i++) {
        messages_drop(&store->boxes[i]);
        buf_done(&store->boxes[i].name);
    }
    store->box_count = 0;
}
