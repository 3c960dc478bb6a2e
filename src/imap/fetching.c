/* FETCH: the responses, message by message, item by item, as the output has room. */
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "imap/bodystructure.h"
#include "imap/date.h"
#include "imap/envelope.h"
#include "imap/fetching.h"
#include "imap/put.h"

void imap_fetch_start(struct imap_server *s, const struct imap_fetch *fetch, struct imap_set *targets)
{
    struct imap_fetch_run *f = mem_zalloc(sizeof *f);

    f->fetch = *fetch;
    f->targets = *targets;
    f->changed_since = fetch->changed_since;
    buf_init(&f->item, ITEM_BYTES_MAX);
    buf_init(&f->body.piece, s->config.read_bytes_max + MIME_DECODE_SLACK);
    buf_init(&f->body.collected, COLLECT_BYTES_MAX);
    imap_set_init(&f->seen_now, IMAP_ENTRIES_MAX);
    for (size_t i = 0; i < targets->len; i++)
        f->expected += imap_view_between(&s->box->view, targets->r[i].first, targets->r[i].last);
    s->fetch = f;
}

void imap_fetch_release(struct imap_server *s)
{
    struct imap_fetch_run *f = s->fetch;

    if (!f)
        return;
    imap_body_end(f);
    imap_preview_done(&f->preview);
    imap_text_done(&f->text);
    imap_set_done(&f->targets);
    imap_set_done(&f->seen_now);
    buf_done(&f->item);
    buf_done(&f->body.piece);
    buf_done(&f->body.collected);
    free(f);
    s->fetch = NULL;
}

static struct imap_entry *entry_at(struct imap_server *s)
{
    return &s->slice->entries[s->slice->at];
}

/* ---- slices ---- */

static enum imap_event_type slice_ask(struct imap_server *s, struct imap_fetch_run *f, struct imap_event *ret)
{
    if (f->at == f->targets.len) {
        f->step = FETCH_END;
        return IMAP_EVENT_MORE;
    }
    f->step = FETCH_SLICE;
    ret->fields = f->fetch.fields | (f->mark_seen ? IMAP_ENTRY_FLAGS : 0U) |
                  (f->modseq || f->quiet_own ? IMAP_ENTRY_MODSEQ : 0U);
    ret->modseq = f->changed_since;
    return imap_entries_ask(s, &f->targets, f->at, ret);
}

/* RFC 3501 6.4.5: BODY[…] sets \Seen, and tells so in the same response: so it is set first. */
static enum imap_event_type slice_begin(struct imap_server *s, struct imap_fetch_run *f,
                                        struct imap_event *ret)
{
    imap_set_reset(&f->seen_now);
    f->seen_at = 0;
    for (size_t i = 0; i < s->slice->count && f->mark_seen; i++) {
        const struct imap_entry *e = &s->slice->entries[i];

        if (!(e->flags & IMAP_FLAG_SEEN) && imap_view_seq(&s->box->view, e->uid))
            imap_set_add(&f->seen_now, e->uid, e->uid);
    }
    f->step = f->seen_now.len ? FETCH_SEEN : FETCH_BEGIN;
    (void)ret;
    return IMAP_EVENT_MORE;
}

static enum imap_event_type seen_ask(struct imap_server *s, struct imap_fetch_run *f, struct imap_event *ret)
{
    if (f->seen_at == f->seen_now.len) {
        f->step = FETCH_BEGIN;
        return IMAP_EVENT_MORE;
    }
    return imap_store_ask(s, &f->seen_now, f->seen_at, IMAP_STORE_ADD, IMAP_FLAG_SEEN, ret);
}

void imap_fetch_stored(struct imap_server *s, const struct imap_stored *stored)
{
    struct imap_fetch_run *f = s->fetch;

    imap_own_change(s, stored);
    for (size_t i = 0; i < s->slice->count; i++) {
        struct imap_entry *e = &s->slice->entries[i];

        if (e->uid > stored->done_to || e->flags & IMAP_FLAG_SEEN || !imap_set_contains(&f->seen_now, e->uid))
            continue;
        e->flags |= IMAP_FLAG_SEEN;
        if (stored->modseq)
            e->modseq = stored->modseq;
    }
    if (!imap_targets_advance(&f->seen_now, &f->seen_at, stored->done_to))
        f->seen_at = f->seen_now.len;
}

/* ---- one response ---- */

static void put_name(struct imap_server *s, struct imap_fetch_run *f, const char *name)
{
    imap_put(s, f->any ? " " : "");
    imap_put(s, name);
    f->any = true;
}

static void put_flags(struct imap_server *s, struct imap_fetch_run *f, const struct imap_entry *e)
{
    put_name(s, f, "FLAGS ");
    imap_flags_put(&s->out, e->flags, !s->rev2 && imap_set_contains(&s->box->recent, e->uid),
                   &s->box->keywords);
    f->told |= IMAP_ENTRY_FLAGS;
}

static void put_modseq(struct imap_server *s, struct imap_fetch_run *f, const struct imap_entry *e)
{
    put_name(s, f, "MODSEQ (");
    imap_put_number(s, e->modseq);
    imap_put(s, ")");
    f->told |= IMAP_ENTRY_MODSEQ;
}

static void put_id(struct imap_server *s, struct imap_fetch_run *f, const char *name, char letter,
                   uint64_t id)
{
    put_name(s, f, name);
    if (id || letter == 'M')
        buf_printf(&s->out, " (%c%llx)", letter, (unsigned long long)id);
    else
        imap_put(s, " NIL");
}

static int64_t seconds(int64_t ms)
{
    return ms / 1000 - (ms % 1000 < 0);
}

/* An item that needs nothing but the entry. False: it needs more. */
static bool put_simple(struct imap_server *s, struct imap_fetch_run *f, const struct imap_entry *e,
                       enum imap_fetch_kind kind)
{
    switch (kind) {
    case IMAP_FETCH_UID:
        if (!f->uid) {
            put_name(s, f, "UID ");
            imap_put_number(s, e->uid);
        }
        return true;
    case IMAP_FETCH_FLAGS:
        put_flags(s, f, e);
        return true;
    case IMAP_FETCH_INTERNALDATE:
        put_name(s, f, "INTERNALDATE ");
        imap_date_time_put(&s->out, seconds(e->time_ms));
        return true;
    case IMAP_FETCH_SIZE:
        put_name(s, f, "RFC822.SIZE ");
        imap_put_number(s, e->size);
        return true;
    case IMAP_FETCH_MODSEQ:
        put_modseq(s, f, e);
        return true;
    case IMAP_FETCH_EMAILID:
        put_id(s, f, "EMAILID", 'M', e->email);
        return true;
    case IMAP_FETCH_THREADID:
        put_id(s, f, "THREADID", 'T', e->thread);
        return true;
    case IMAP_FETCH_SAVEDATE:
        put_name(s, f, "SAVEDATE ");
        if (e->saved_ms)
            imap_date_time_put(&s->out, seconds(e->saved_ms));
        else
            imap_put(s, "NIL");
        return true;
    default:
        return false;
    }
}

static bool is_own(const struct imap_server *s, uint64_t modseq)
{
    for (size_t i = 0; i < s->box->own_count; i++)
        if (s->box->own[i] == modseq)
            return true;
    return false;
}

/* The next entry's response begins, or the slice is through. */
static enum imap_event_type entry_begin(struct imap_server *s, struct imap_fetch_run *f)
{
    const struct imap_entry *e = entry_at(s);
    uint32_t seq;

    if (s->slice->at == s->slice->count) {
        bool progress = imap_targets_advance(&f->targets, &f->at, s->slice->done_to);

        f->failed = f->failed || !progress;
        f->step = progress ? FETCH_ASK : FETCH_END;
        return IMAP_EVENT_MORE;
    }
    seq = imap_view_seq(&s->box->view, e->uid);
    if (!seq || !imap_set_contains(&f->targets, e->uid) || (f->quiet_own && is_own(s, e->modseq))) {
        s->slice->at++;
        return IMAP_EVENT_MORE;
    }
    if (imap_full(s, ROOM_COMMAND))
        return IMAP_EVENT_BLOCKED;
    if (s->box->keywords_due)
        imap_put_flags_known(s);
    imap_put(s, "* ");
    imap_put_number(s, seq);
    imap_put(s, " FETCH (");
    s->mid_line = true;
    f->any = false;
    f->told = 0;
    f->item_at = 0;
    f->got++;
    if (f->uid) {
        put_name(s, f, "UID ");
        imap_put_number(s, e->uid);
    }
    f->step = FETCH_ITEM;
    return IMAP_EVENT_MORE;
}

static enum imap_event_type entry_end(struct imap_server *s, struct imap_fetch_run *f)
{
    const struct imap_entry *e = entry_at(s);
    bool changed = imap_set_contains(&f->seen_now, e->uid);

    if (changed && !(f->told & IMAP_ENTRY_FLAGS))
        put_flags(s, f, e);
    if ((f->modseq || (changed && s->condstore)) && !(f->told & IMAP_ENTRY_MODSEQ))
        put_modseq(s, f, e);
    imap_put(s, ")\r\n");
    s->mid_line = false;
    s->stats.fetched++;
    s->slice->at++;
    f->step = FETCH_BEGIN;
    return IMAP_EVENT_MORE;
}

/* ---- items that need more than the entry ---- */

void imap_item_begin(struct imap_fetch_run *f)
{
    buf_reset(&f->item);
    if (f->any)
        buf_append_byte(&f->item, ' ');
    imap_fetch_name_put(&f->item, &f->fetch.items[f->item_at]);
    buf_append_byte(&f->item, ' ');
    f->any = true;
}

static void put_structure(struct imap_server *s, struct imap_fetch_run *f, enum imap_fetch_kind kind)
{
    bool utf8 = s->utf8 || s->rev2;
    size_t start;

    imap_item_begin(f);
    start = f->item.len;
    if (kind == IMAP_FETCH_ENVELOPE)
        imap_envelope_put(&f->item, imap_message_root(s), utf8);
    else
        imap_bodystructure_put(&f->item, &s->message.s, kind == IMAP_FETCH_BODYSTRUCTURE, utf8);
    if (f->item.overflowed) { /* no recorded structure makes so much; the grammar is kept all the same */
        static const struct mime_structure none;

        f->item.len = start;
        f->item.overflowed = false;
        if (kind == IMAP_FETCH_ENVELOPE)
            buf_append_str(&f->item, "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
        else
            imap_bodystructure_put(&f->item, &none, kind == IMAP_FETCH_BODYSTRUCTURE, utf8);
    }
    f->failed = f->failed || s->message.failed;
}

/* Whether the item is about the inside of the message: then its structure is needed first. */
static bool needs_structure(const struct imap_fetch_item *item)
{
    if (item->kind == IMAP_FETCH_RFC822)
        return false;
    return item->kind < IMAP_FETCH_SECTION || item->section.path_len ||
           item->section.kind != IMAP_SECTION_BODY;
}

static enum imap_event_type item_step(struct imap_server *s, struct imap_fetch_run *f, struct imap_event *ret)
{
    const struct imap_fetch_item *item = &f->fetch.items[f->item_at];
    const struct imap_entry *e = entry_at(s);
    enum imap_event_type type;

    if (imap_full(s, ROOM_ITEM))
        return IMAP_EVENT_BLOCKED;
    if (f->item_at == f->fetch.count)
        return entry_end(s, f);
    if (put_simple(s, f, e, item->kind)) {
        f->item_at++;
        return IMAP_EVENT_MORE;
    }
    if (needs_structure(item)) {
        type = imap_message_step(s, e, ret);
        if (type != IMAP_EVENT_MORE)
            return type;
    }
    f->step = FETCH_DRAIN;
    if (item->kind == IMAP_FETCH_PREVIEW)
        imap_preview_begin(s, f);
    else if (item->kind < IMAP_FETCH_SECTION)
        put_structure(s, f, item->kind);
    else
        imap_body_begin(s, f, item, e);
    return IMAP_EVENT_MORE;
}

/* What was made goes out, then the bytes that belong behind it. */
static enum imap_event_type drain(struct imap_server *s, struct imap_fetch_run *f, struct imap_event *ret)
{
    enum imap_event_type type = imap_body_step(s, f, entry_at(s), ret);
    size_t len;

    if (type != IMAP_EVENT_MORE || f->body.step == BODY_COUNT)
        return type;
    len = f->item.len < imap_room(s) ? f->item.len : imap_room(s);
    if (len) {
        imap_put(s, "");
        buf_append(&s->out, span_sub(buf_span(&f->item), 0, len));
        buf_consume(&f->item, len);
    }
    if (f->item.len)
        return IMAP_EVENT_BLOCKED;
    if (f->body.step == BODY_NONE) {
        buf_shrink(&f->item);
        f->item_at++;
        f->step = FETCH_ITEM;
    }
    return IMAP_EVENT_MORE;
}

enum imap_event_type imap_fetch_step(struct imap_server *s, struct imap_event *ret)
{
    struct imap_fetch_run *f = s->fetch;

    switch (f->step) {
    case FETCH_ASK:
        return slice_ask(s, f, ret);
    case FETCH_SLICE:
        return slice_begin(s, f, ret);
    case FETCH_SEEN:
        return seen_ask(s, f, ret);
    case FETCH_BEGIN:
        return entry_begin(s, f);
    case FETCH_ITEM:
        return item_step(s, f, ret);
    case FETCH_DRAIN:
        return drain(s, f, ret);
    case FETCH_PREVIEW:
        return imap_preview_step(s, f, entry_at(s), ret);
    case FETCH_END:
        break;
    }
    return IMAP_EVENT_MORE;
}

bool imap_fetch_failed(struct imap_server *s, enum imap_failure failure)
{
    struct imap_fetch_run *f = s->fetch;

    if (!f)
        return false;
    switch (f->step) {
    case FETCH_SLICE: /* ENTRIES */
        f->failed = true;
        f->step = FETCH_END;
        if (failure == IMAP_FAIL_NOT_FOUND)
            imap_end(s, IMAP_CLOSE_GONE);
        return true;
    case FETCH_SEEN: /* that they stay unseen is no reason not to show them */
        imap_set_reset(&f->seen_now);
        f->seen_at = 0;
        return true;
    case FETCH_DRAIN:
    case FETCH_PREVIEW: /* READ */
        f->gone = f->gone || failure == IMAP_FAIL_NOT_FOUND;
        f->failed = f->failed || failure != IMAP_FAIL_NOT_FOUND;
        if (f->step == FETCH_PREVIEW)
            imap_preview_failed(f);
        else
            imap_body_failed(s, f);
        return true;
    default:
        return false;
    }
}

/* ---- FETCH ---- */

static enum imap_event_type fetch_step(struct imap_server *s, struct imap_event *ret)
{
    enum imap_event_type type;

    if (s->earlier)
        return imap_earlier_step(s, ret);
    type = imap_fetch_step(s, ret);
    if (type != IMAP_EVENT_MORE || s->phase == ENDED || s->fetch->step != FETCH_END)
        return type;
    if (s->fetch->unknown_cte) { /* RFC 3516 4.3 */
        imap_code(s, "UNKNOWN-CTE");
        imap_finish(s, "NO", "the encoding of a part is unknown");
    } else if (s->fetch->failed) {
        imap_no(s, IMAP_FAIL_TRY_LATER, false);
    } else if (s->fetch->gone || (!s->uid_command && !s->fetch->fetch.has_changed_since &&
                                  s->fetch->got < s->fetch->expected)) { /* RFC 2180 4.1.2, RFC 5530 3 */
        imap_code(s, "EXPUNGEISSUED");
        imap_finish(s, "NO", "some of the messages are gone");
    } else {
        imap_finish(s, "OK", "fetched");
    }
    return IMAP_EVENT_MORE;
}

static void refuse(struct imap_server *s, int err)
{
    if (err == BRANT_ELIMIT)
        imap_no(s, IMAP_FAIL_LIMIT, false);
    else
        imap_bad(s, err == BRANT_EUNSUPPORTED ? "that is not offered here" : "those are no items of FETCH");
}

/* RFC 7162 3.2.6: expunged UIDs are wanted, also those behind the last message. "1:*" means all there ever
 * were then: clients write it for the mailbox as they knew it. `lex` stands where the targets were read. */
static void earlier_begin(struct imap_server *s, struct imap_lex *lex, const struct imap_set *targets,
                          uint64_t modseq)
{
    uint32_t top = s->box->uidnext > 1 ? s->box->uidnext - 1 : 1;
    struct imap_seq_set said;
    struct imap_set uids;

    if (!imap_lex_seq_set(lex, &said) || said.saved) {
        imap_earlier_start(s, targets, modseq);
        return;
    }
    imap_set_init(&uids, said.count + 1);
    for (size_t i = 0; i < said.count; i++) {
        uint32_t a = said.ranges[i].first ? said.ranges[i].first : top;
        uint32_t b = said.ranges[i].last ? said.ranges[i].last : top;
        uint32_t first = a < b ? a : b, last = a < b ? b : a;

        if (first <= top)
            imap_set_add(&uids, first, last < top ? last : top);
    }
    imap_earlier_start(s, &uids, modseq);
    imap_set_done(&uids);
}

void imap_run_fetch(struct imap_server *s, struct imap_lex *lex)
{
    static const struct imap_job job = {.step = fetch_step};
    struct imap_lex at_targets = *lex;
    struct imap_set targets;
    struct imap_fetch fetch;
    bool modseq;
    int err;

    if (!imap_take_targets(s, lex, &targets))
        return;
    err = imap_lex_space(lex) ? imap_fetch_parse(lex, s->offer.extensions, &fetch) : BRANT_ESYNTAX;
    /* RFC 7162 3.2.6: VANISHED only with UID FETCH, once QRESYNC is enabled */
    if (!err && fetch.vanished && (!s->uid_command || !s->qresync))
        err = BRANT_ESYNTAX;
    if (err || !imap_command_ends(s, lex)) {
        if (err)
            refuse(s, err);
        imap_set_done(&targets);
        return;
    }
    modseq = fetch.has_changed_since;
    for (size_t i = 0; i < fetch.count; i++)
        modseq = modseq || fetch.items[i].kind == IMAP_FETCH_MODSEQ;
    if (modseq)
        imap_condstore_enable(s); /* RFC 7162 3.1 */
    if (fetch.vanished)
        earlier_begin(s, &at_targets, &targets, fetch.changed_since);
    imap_fetch_start(s, &fetch, &targets);
    s->fetch->uid = s->uid_command;
    s->fetch->modseq = modseq;
    s->fetch->mark_seen = fetch.seen && !s->box->read_only;
    imap_job_start(s, &job, NULL);
}
