/* What happens in the selected mailbox, told at the right time; IDLE. */
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "imap/server_internal.h"

/* ---- changes ---- */

bool imap_sync_due(const struct imap_server *s)
{
    const struct imap_selected *box = s->box;

    if (s->phase != SELECTED || s->sync.no)
        return false;
    return s->sync.begun || s->sync.wanted || box->keywords_due || box->look || box->noticed > box->modseq ||
           (s->sync.expunges && box->vanished_modseq < box->modseq);
}

void imap_sync_release(struct imap_server *s)
{
    imap_set_done(&s->sync.gone);
    s->sync.begun = s->sync.failed = s->sync.line_open = false;
    s->sync.step = SYNC_ASK;
}

static void sync_begin(struct imap_server *s)
{
    struct imap_sync *y = &s->sync;

    y->begun = true;
    y->wanted = s->box->look = false;
    y->step = SYNC_ASK;
    y->more = y->flags_changed = y->arrived = y->told = y->line_open = false;
    y->since = s->box->modseq;
    y->old_uidnext = s->box->uidnext;
    y->vanished_from = 1;
    y->upto = 0;
}

/* All is told. */
static enum imap_event_type sync_end(struct imap_server *s)
{
    struct imap_selected *box = s->box;

    if (s->sync.upto > box->modseq)
        box->modseq = s->sync.upto;
    if (s->sync.expunges)
        box->vanished_modseq = box->modseq;
    if (box->noticed < box->modseq)
        box->noticed = box->modseq;
    box->own_count = 0;
    imap_fetch_release(s);
    imap_slice_release(s);
    imap_set_done(&s->sync.gone);
    s->sync.begun = false;
    if (s->stage == SYNC)
        s->stage = REPLY;
    return IMAP_EVENT_MORE;
}

static enum imap_event_type sync_ask(struct imap_server *s, struct imap_event *ret)
{
    struct imap_sync *y = &s->sync;

    s->awaited = CHANGES_ANSWER;
    ret->modseq = y->since;
    ret->uid = s->box->uidnext;
    ret->vanished = y->expunges;
    ret->vanished_modseq = s->box->vanished_modseq;
    ret->vanished_from = y->vanished_from;
    return IMAP_EVENT_CHANGES;
}

/* Messages that came: into the view at once, told by EXISTS when all is known. */
static void arrive(struct imap_server *s, const struct imap_changes *changes)
{
    struct imap_selected *box = s->box;

    for (size_t i = 0; i < changes->arrived_count; i++) {
        struct imap_range r = changes->arrived[i];
        int err;

        if (r.first < box->uidnext || r.last < r.first)
            continue;
        err = imap_view_append(&box->view, r.first, r.last);
        if (err == BRANT_ELIMIT) {
            imap_end(s, IMAP_CLOSE_LIMIT);
            return;
        }
        if (err)
            continue;
        box->uidnext = r.last < UINT32_MAX ? r.last + 1 : r.last;
        s->sync.arrived = true;
        if (changes->recent_from && changes->recent_from <= r.last)
            imap_set_add(&box->recent, changes->recent_from > r.first ? changes->recent_from : r.first,
                         r.last);
    }
    if (changes->uidnext > box->uidnext)
        box->uidnext = changes->uidnext;
}

int imap_server_changes(struct imap_server *s, const struct imap_changes *changes)
{
    struct imap_sync *y = &s->sync;

    if (s->awaited != CHANGES_ANSWER)
        return BRANT_ESTATE;
    if (changes->arrived_count > IMAP_CHANGES_RANGES_MAX || changes->vanished_count > IMAP_CHANGES_RANGES_MAX)
        return BRANT_ELIMIT;
    s->awaited = NOTHING;
    /* a later slice does not tell what has happened to the UIDs of an earlier one */
    if (y->upto == 0 || changes->modseq < y->upto)
        y->upto = changes->modseq;
    y->flags_changed = y->flags_changed || changes->flags_changed;
    /* without any progress the next answer would be the same */
    y->more = changes->more && (changes->uidnext > s->box->uidnext ||
                                (y->expunges && changes->vanished_to >= y->vanished_from));
    imap_set_reset(&y->gone);
    y->gone_at = 0;
    y->gone_uid = 0;
    y->removed = 0;
    if (y->expunges) {
        imap_view_select(&s->box->view, changes->vanished, changes->vanished_count, &y->gone);
        if (changes->vanished_to < UINT32_MAX)
            y->vanished_from = changes->vanished_to + 1;
    }
    arrive(s, changes);
    if (s->phase != ENDED)
        y->step = SYNC_GONE;
    return BRANT_OK;
}

/* The messages that went leave the view. */
static void gone_remove(struct imap_server *s)
{
    struct imap_selected *box = s->box;

    if (imap_view_remove(&box->view, &s->sync.gone) != BRANT_OK) {
        imap_end(s, IMAP_CLOSE_LIMIT);
        return;
    }
    if (imap_set_subtract(&box->recent, &s->sync.gone) != BRANT_OK)
        imap_set_reset(&box->recent);
    if (imap_set_subtract(&box->saved, &s->sync.gone) != BRANT_OK) /* RFC 5182 2.1: expunged ones leave "$" */
        imap_set_reset(&box->saved);
    imap_set_reset(&s->sync.gone);
    s->sync.told = true;
    s->sync.step = SYNC_ARRIVED;
}

/* RFC 7162 3.2.10: VANISHED in place of EXPUNGE, once QRESYNC is enabled. */
static enum imap_event_type gone_vanished(struct imap_server *s)
{
    struct imap_sync *y = &s->sync;

    if (imap_full(s, ROOM_NUMBER))
        return IMAP_EVENT_BLOCKED;
    if (!y->line_open)
        imap_put(s, "* VANISHED ");
    y->line_open = s->mid_line = true;
    if (!imap_set_write(&y->gone, &y->gone_at, imap_room(s) - 8, &s->out))
        return IMAP_EVENT_BLOCKED;
    imap_put(s, "\r\n");
    y->line_open = s->mid_line = false;
    gone_remove(s);
    return IMAP_EVENT_MORE;
}

/* EXPUNGE for each, in ascending order: the numbers of what follows have gone down by what went before. */
static enum imap_event_type gone_expunged(struct imap_server *s)
{
    struct imap_sync *y = &s->sync;

    for (; y->gone_at < y->gone.len; y->gone_at++, y->gone_uid = 0) {
        struct imap_range r = y->gone.r[y->gone_at];

        for (y->gone_uid = y->gone_uid ? y->gone_uid : r.first;; y->gone_uid++) {
            if (imap_full(s, ROOM_NUMBER))
                return IMAP_EVENT_BLOCKED;
            imap_put(s, "* ");
            imap_put_number(s, imap_view_seq(&s->box->view, y->gone_uid) - y->removed++);
            imap_put(s, " EXPUNGE\r\n");
            if (y->gone_uid == r.last)
                break;
        }
    }
    gone_remove(s);
    return IMAP_EVENT_MORE;
}

static enum imap_event_type gone_tell(struct imap_server *s)
{
    if (s->sync.gone.len == 0) {
        s->sync.step = SYNC_ARRIVED;
        return IMAP_EVENT_MORE;
    }
    return s->qresync ? gone_vanished(s) : gone_expunged(s);
}

static enum imap_event_type arrived_tell(struct imap_server *s)
{
    struct imap_sync *y = &s->sync;

    if (imap_full(s, ROOM_COMMAND))
        return IMAP_EVENT_BLOCKED;
    if (y->more) {
        y->step = SYNC_ASK;
        return IMAP_EVENT_MORE;
    }
    if (y->arrived) {
        imap_put(s, "* ");
        imap_put_number(s, s->box->view.count);
        imap_put(s, " EXISTS\r\n");
        if (!s->rev2) {
            imap_put(s, "* ");
            imap_put_number(s, imap_set_count(&s->box->recent));
            imap_put(s, " RECENT\r\n");
        }
        y->arrived = false;
        y->told = true;
    }
    if (s->box->keywords_due)
        imap_put_flags_known(s);
    y->step = y->flags_changed && y->old_uidnext > 1 ? SYNC_FLAGS : SYNC_NEWEST;
    return IMAP_EVENT_MORE;
}

/* New flags of messages that the client knew before, but for what this session did and has told. */
static enum imap_event_type flags_tell(struct imap_server *s, struct imap_event *ret)
{
    enum imap_event_type type;

    if (!s->fetch) {
        static struct imap_fetch_item flags = {.kind = IMAP_FETCH_FLAGS};
        struct imap_fetch fetch = {
            .items = &flags, .count = 1, .fields = IMAP_ENTRY_FLAGS, .changed_since = s->sync.since};
        struct imap_set targets;

        imap_set_init(&targets, 1);
        imap_set_add(&targets, 1, s->sync.old_uidnext - 1);
        imap_fetch_start(s, &fetch, &targets);
        s->fetch->uid = s->qresync || s->sync.uid;
        s->fetch->modseq = s->condstore;
        s->fetch->quiet_own = true;
    }
    type = imap_fetch_step(s, ret);
    if (type != IMAP_EVENT_MORE || s->phase == ENDED || s->fetch->step != FETCH_END)
        return type;
    if (s->fetch->failed) /* they will be told next time */
        s->sync.upto = s->box->modseq;
    s->sync.step = SYNC_NEWEST;
    return IMAP_EVENT_MORE;
}

/* Neither EXISTS nor EXPUNGE has a MODSEQ. A client that keeps the mailbox and was not told would be given
 * the same messages as changed when it comes back (RFC 7162 3.2.5). */
static enum imap_event_type newest_tell(struct imap_server *s)
{
    if (s->condstore && s->sync.told && s->sync.expunges && s->sync.upto > s->box->modseq &&
        !s->reply.modseq) {
        if (imap_full(s, 2 * ROOM_NUMBER))
            return IMAP_EVENT_BLOCKED;
        imap_put(s, "* OK [HIGHESTMODSEQ ");
        imap_put_number(s, s->sync.upto);
        imap_put(s, "] all is told up to here\r\n");
    }
    return sync_end(s);
}

enum imap_event_type imap_sync_step(struct imap_server *s, struct imap_event *ret)
{
    if (!s->sync.begun)
        sync_begin(s);
    switch (s->sync.step) {
    case SYNC_ASK:
        return sync_ask(s, ret);
    case SYNC_GONE:
        return gone_tell(s);
    case SYNC_ARRIVED:
        return arrived_tell(s);
    case SYNC_FLAGS:
        return flags_tell(s, ret);
    case SYNC_NEWEST:
        return newest_tell(s);
    }
    return IMAP_EVENT_MORE;
}

/* CHANGES was answered with a failure: nothing is told, and it will be asked again behind the next command.
 */
void imap_sync_failed(struct imap_server *s, enum imap_failure failure)
{
    if (failure == IMAP_FAIL_NOT_FOUND) {
        imap_end(s, IMAP_CLOSE_GONE);
        return;
    }
    imap_sync_release(s);
    s->sync.no = true;
    if (s->stage == SYNC)
        s->stage = REPLY;
    else
        s->box->noticed = s->box->modseq; /* IDLE waits for the next notice */
}

/* ---- IDLE (RFC 2177) ---- */

void imap_run_idle(struct imap_server *s, struct imap_lex *lex)
{
    (void)lex;
    imap_put(s, "+ idling\r\n");
    imap_frame_next_command(&s->frame);
    s->frame.plain = true;
    s->sync.wanted = true;
    s->stage = IDLING;
}

void imap_idle_line(struct imap_server *s, struct span line)
{
    s->frame.plain = false;
    if (span_eq_str_nocase(line, "DONE"))
        imap_finish(s, "OK", "done");
    else
        imap_bad(s, "DONE was expected");
}

/* ---- VANISHED (EARLIER) ---- */

void imap_earlier_start(struct imap_server *s, const struct imap_set *uids, uint64_t modseq)
{
    struct imap_earlier *e = mem_zalloc(sizeof *e);

    e->modseq = modseq;
    imap_set_init(&e->asked, uids->max);
    imap_set_assign(&e->asked, uids->r, uids->len);
    imap_set_init(&e->told, 2 * IMAP_CHANGES_RANGES_MAX + s->config.runs_max);
    s->earlier = e;
}

void imap_earlier_release(struct imap_server *s)
{
    struct imap_earlier *e = s->earlier;

    if (!e)
        return;
    if (e->line_open)
        imap_put(s, "\r\n");
    s->mid_line = s->mid_line && !e->line_open;
    imap_set_done(&e->asked);
    imap_set_done(&e->told);
    free(e);
    s->earlier = NULL;
}

static enum imap_event_type earlier_tell(struct imap_server *s, struct imap_earlier *e)
{
    if (imap_full(s, ROOM_NUMBER))
        return IMAP_EVENT_BLOCKED;
    if (e->told.len && e->told_at == 0) {
        imap_put(s, e->line_open ? "," : "* VANISHED (EARLIER) ");
        e->line_open = s->mid_line = true;
    }
    if (!imap_set_write(&e->told, &e->told_at, imap_room(s) - 8, &s->out))
        return IMAP_EVENT_BLOCKED;
    e->given = false;
    if (!imap_targets_advance(&e->asked, &e->at, e->told_to))
        e->at = e->asked.len; /* nothing was said: nothing more is asked */
    return IMAP_EVENT_MORE;
}

enum imap_event_type imap_earlier_step(struct imap_server *s, struct imap_event *ret)
{
    struct imap_earlier *e = s->earlier;

    if (e->given)
        return earlier_tell(s, e);
    if (e->at == e->asked.len) {
        if (imap_full(s, ROOM_NUMBER))
            return IMAP_EVENT_BLOCKED;
        imap_earlier_release(s);
        return IMAP_EVENT_MORE;
    }
    s->awaited = VANISHED_ANSWER;
    ret->modseq = e->modseq;
    ret->ranges = e->asked.r + e->at;
    ret->range_count = e->asked.len - e->at;
    return IMAP_EVENT_VANISHED;
}

/* Of the UIDs only those count that were asked for and are not in the view. */
int imap_server_vanished(struct imap_server *s, const struct imap_range *uids, size_t count, uint32_t done_to)
{
    struct imap_earlier *e = s->earlier;
    struct imap_set there;

    if (s->awaited != VANISHED_ANSWER)
        return BRANT_ESTATE;
    if (count > IMAP_CHANGES_RANGES_MAX)
        return BRANT_ELIMIT;
    s->awaited = NOTHING;
    imap_set_reset(&e->told);
    e->told_at = 0;
    e->told_to = done_to;
    e->given = true;
    imap_set_init(&there, s->config.runs_max);
    for (size_t i = 0; i < count; i++)
        if (uids[i].first && uids[i].first <= uids[i].last)
            imap_set_add(&e->told, uids[i].first, uids[i].last);
    imap_set_intersect(&e->told, &e->asked);
    if (imap_view_select(&s->box->view, e->told.r, e->told.len, &there) != BRANT_OK ||
        imap_set_subtract(&e->told, &there) != BRANT_OK)
        imap_set_reset(&e->told);
    imap_set_done(&there);
    return BRANT_OK;
}
