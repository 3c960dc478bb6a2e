/* STORE, EXPUNGE, COPY, MOVE. */
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "imap/server_internal.h"

/* ---- sets of messages ---- */

bool imap_take_targets(struct imap_server *s, struct imap_lex *lex, struct imap_set *ret)
{
    struct imap_range known = {1, imap_view_last_uid(&s->box->view)};
    struct imap_seq_set said;
    struct imap_set all;
    int err;

    if (!imap_lex_seq_set(lex, &said)) {
        imap_bad(s, "a set of messages is wanted");
        return false;
    }
    imap_set_init(ret, (said.saved ? s->box->saved.len : said.count) + 1);
    err = imap_view_resolve(&s->box->view, &said, s->uid_command, false, &s->box->saved, ret);
    if (err) {
        imap_bad(s, "there is no such message");
        imap_set_done(ret);
        return false;
    }
    imap_set_init(&all, 1); /* what came since is not the client's to touch */
    if (known.last)
        imap_set_add(&all, known.first, known.last);
    imap_set_intersect(ret, &all);
    imap_set_done(&all);
    return true;
}

/* UIDs of messages in the view, as their numbers. */
static void to_numbers(const struct imap_view *view, struct imap_set *set)
{
    struct imap_set numbers, there;

    imap_set_init(&there, set->max);
    imap_set_init(&numbers, set->max);
    imap_view_select(view, set->r, set->len, &there);
    for (size_t i = 0; i < there.len; i++)
        imap_set_add(&numbers, imap_view_seq(view, there.r[i].first), imap_view_seq(view, there.r[i].last));
    imap_set_done(&there);
    imap_set_done(set);
    *set = numbers;
}

static bool read_only(struct imap_server *s)
{
    if (!s->box->read_only)
        return false;
    imap_finish(s, "NO", "the mailbox was opened for reading only");
    return true;
}

/* ---- flags ---- */

enum imap_event_type imap_store_ask(struct imap_server *s, const struct imap_set *targets, size_t at,
                                    enum imap_store_action action, uint64_t flags, struct imap_event *ret)
{
    s->awaited = STORED_ANSWER;
    ret->ranges = targets->r + at;
    ret->range_count = targets->len - at;
    ret->action = action;
    ret->flags = flags;
    return IMAP_EVENT_STORE;
}

void imap_own_change(struct imap_server *s, const struct imap_stored *stored)
{
    struct imap_selected *box = s->box;

    if (!stored->modseq)
        return;
    if (stored->modseq_before <= box->modseq && stored->modseq > box->modseq) { /* nothing came between */
        if (box->vanished_modseq == box->modseq)
            box->vanished_modseq = stored->modseq;
        box->modseq = stored->modseq;
        return;
    }
    if (box->own_count == OWN_MODSEQS_MAX) { /* the oldest is told twice then, which does no harm */
        memmove(box->own, box->own + 1, (OWN_MODSEQS_MAX - 1) * sizeof box->own[0]);
        box->own_count--;
    }
    box->own[box->own_count++] = stored->modseq;
}

struct store_run {
    struct imap_set targets, left; /* all; those to come */
    size_t at;                     /* in left */
    struct imap_flag_list list;
    enum imap_store_action action;
    bool silent, has_unchanged_since;
    uint64_t unchanged_since;
    uint64_t first_modseq; /* of the changes made; 0: none was */
};

static void store_release(struct imap_server *s)
{
    struct store_run *run = s->run;

    imap_set_done(&run->targets);
    imap_set_done(&run->left);
    free(run);
}

static enum imap_event_type store_ask(struct imap_server *s, struct store_run *run, struct imap_event *ret)
{
    imap_store_ask(s, &run->left, run->at, run->action, run->list.flags, ret);
    ret->keywords = run->list.keywords;
    ret->keyword_count = run->list.keyword_count;
    ret->has_unchanged_since = run->has_unchanged_since;
    ret->modseq = run->unchanged_since;
    return IMAP_EVENT_STORE;
}

int imap_server_stored(struct imap_server *s, const struct imap_stored *stored)
{
    struct store_run *run = s->run;

    if (s->awaited != STORED_ANSWER)
        return BRANT_ESTATE;
    s->awaited = NOTHING;
    if (s->fetch && s->fetch->step == FETCH_SEEN) {
        imap_fetch_stored(s, stored);
        return BRANT_OK;
    }
    imap_own_change(s, stored);
    if (stored->modseq && !run->first_modseq)
        run->first_modseq = stored->modseq;
    for (size_t i = 0; i < stored->modified_count; i++)
        if (stored->modified[i].first && stored->modified[i].first <= stored->modified[i].last)
            imap_set_add(&s->reply.sets[0], stored->modified[i].first, stored->modified[i].last);
    if (!imap_targets_advance(&run->left, &run->at, stored->done_to))
        run->at = run->left.len;
    return BRANT_OK;
}

/* RFC 3501 6.4.6: the new flags of all messages; with .SILENT only their MODSEQ, of those that have a new one
 * (RFC 7162 3.1.3). Messages that were not changed because of UNCHANGEDSINCE are left out. */
static void tell_begin(struct imap_server *s, struct store_run *run)
{
    static struct imap_fetch_item flags = {.kind = IMAP_FETCH_FLAGS};
    struct imap_fetch fetch = {.items = &flags, .count = run->silent ? 0 : 1};
    struct imap_set targets;

    fetch.fields = run->silent ? 0 : IMAP_ENTRY_FLAGS;
    if (run->silent)
        fetch.changed_since = run->first_modseq - 1;
    imap_set_init(&targets, run->targets.max + s->reply.sets[0].len + 1);
    imap_set_assign(&targets, run->targets.r, run->targets.len);
    imap_set_subtract(&targets, &s->reply.sets[0]);
    imap_fetch_start(s, &fetch, &targets);
    s->fetch->uid = s->uid_command || s->qresync;
    s->fetch->modseq = s->condstore;
}

static enum imap_event_type store_end(struct imap_server *s, struct store_run *run)
{
    bool gone = s->fetch && !run->silent && !s->uid_command && s->fetch->got < s->fetch->expected;
    bool failed = s->fetch && s->fetch->failed;

    if (s->reply.sets[0].len) {
        if (!s->uid_command)
            to_numbers(&s->box->view, &s->reply.sets[0]);
        imap_code(s, "MODIFIED");
        s->reply.set_count = 1;
        imap_finish(s, "OK", "some have changed since");
    } else if (failed) {
        imap_no(s, IMAP_FAIL_TRY_LATER, false);
    } else if (gone) { /* RFC 2180 4.2 */
        imap_code(s, "EXPUNGEISSUED");
        imap_finish(s, "NO", "some of the messages are gone");
    } else {
        imap_finish(s, "OK", "stored");
    }
    return IMAP_EVENT_MORE;
}

static enum imap_event_type store_step(struct imap_server *s, struct imap_event *ret)
{
    struct store_run *run = s->run;
    enum imap_event_type type;

    if (run->at < run->left.len)
        return store_ask(s, run, ret);
    if (!s->fetch) {
        if (run->silent && (!s->condstore || !run->first_modseq))
            return store_end(s, run);
        tell_begin(s, run);
    }
    type = imap_fetch_step(s, ret);
    if (type != IMAP_EVENT_MORE || s->phase == ENDED || s->fetch->step != FETCH_END)
        return type;
    return store_end(s, run);
}

/* ["(" "UNCHANGEDSINCE" SP number ")" SP] ["+" / "-"] "FLAGS" [".SILENT"] SP flags */
static bool store_arguments(struct imap_server *s, struct imap_lex *lex, struct store_run *run)
{
    if (imap_lex_byte(lex, '(')) {
        if (!(s->offer.extensions & IMAP_EXT_CONDSTORE) || !imap_lex_word(lex, "UNCHANGEDSINCE") ||
            !imap_lex_space(lex) || !imap_lex_number(lex, INT64_MAX, &run->unchanged_since) ||
            !imap_lex_byte(lex, ')') || !imap_lex_space(lex))
            return false;
        run->has_unchanged_since = true;
    }
    run->action = imap_lex_byte(lex, '+')   ? IMAP_STORE_ADD
                  : imap_lex_byte(lex, '-') ? IMAP_STORE_REMOVE
                                            : IMAP_STORE_REPLACE;
    if (imap_lex_word(lex, "FLAGS.SILENT"))
        run->silent = true;
    else if (!imap_lex_word(lex, "FLAGS"))
        return false;
    return imap_lex_space(lex) && imap_flag_list_parse(lex, true, &run->list);
}

void imap_run_store(struct imap_server *s, struct imap_lex *lex)
{
    static const struct imap_job job = {store_step, NULL, store_release};
    struct imap_set targets;
    struct store_run *run;

    if (!imap_take_targets(s, lex, &targets))
        return;
    run = mem_zalloc(sizeof *run);
    run->targets = targets;
    imap_set_init(&run->left, targets.max);
    imap_set_assign(&run->left, targets.r, targets.len);
    imap_job_start(s, &job, run);
    if (!imap_lex_space(lex) || !store_arguments(s, lex, run))
        imap_bad(s, "flags to store are wanted");
    else if (imap_command_ends(s, lex) && !read_only(s) && run->has_unchanged_since)
        imap_condstore_enable(s); /* RFC 7162 3.1 */
}

/* ---- EXPUNGE (RFC 3501 6.4.3, RFC 4315 2.1) ---- */

struct expunge_run {
    struct imap_set targets;
    size_t at;
};

static void expunge_release(struct imap_server *s)
{
    struct expunge_run *run = s->run;

    imap_set_done(&run->targets);
    free(run);
}

static enum imap_event_type expunge_step(struct imap_server *s, struct imap_event *ret)
{
    struct expunge_run *run = s->run;

    if (run->at < run->targets.len) {
        s->awaited = EXPUNGED_ANSWER;
        ret->ranges = run->targets.r + run->at;
        ret->range_count = run->targets.len - run->at;
        return IMAP_EVENT_EXPUNGE;
    }
    s->sync.wanted = true; /* what went is told behind the command */
    s->reply.modseq = s->qresync;
    imap_finish(s, "OK", "expunged");
    return IMAP_EVENT_MORE;
}

int imap_server_expunged(struct imap_server *s, uint32_t done_to)
{
    struct expunge_run *run;

    if (s->awaited != EXPUNGED_ANSWER)
        return BRANT_ESTATE;
    s->awaited = NOTHING;
    if (imap_close_expunged(s, done_to))
        return BRANT_OK;
    run = s->run;
    if (!imap_targets_advance(&run->targets, &run->at, done_to))
        run->at = run->targets.len;
    return BRANT_OK;
}

void imap_run_expunge(struct imap_server *s, struct imap_lex *lex)
{
    static const struct imap_job job = {expunge_step, NULL, expunge_release};
    struct imap_set targets;
    struct expunge_run *run;

    if (s->uid_command) {
        if (!imap_take_targets(s, lex, &targets))
            return;
    } else {
        imap_set_init(&targets, 1);
        if (s->box->view.count)
            imap_set_add(&targets, 1, imap_view_last_uid(&s->box->view));
    }
    run = mem_zalloc(sizeof *run);
    run->targets = targets;
    imap_job_start(s, &job, run);
    if (imap_command_ends(s, lex))
        read_only(s);
}

/* ---- COPY and MOVE (RFC 3501 6.4.7, RFC 6851) ---- */

struct copy_run {
    struct imap_set targets;
    size_t at;
    bool move, told_due;
};

static void copy_release(struct imap_server *s)
{
    struct copy_run *run = s->run;

    imap_set_done(&run->targets);
    free(run);
}

static enum imap_event_type copy_step(struct imap_server *s, struct imap_event *ret)
{
    struct copy_run *run = s->run;

    if (run->told_due) { /* RFC 6851 4.3: COPYUID comes before the EXPUNGE responses */
        if (!imap_reply_write(s, &s->notice, "*"))
            return IMAP_EVENT_BLOCKED;
        imap_reply_reset(&s->notice);
        run->told_due = false;
    }
    if (run->at < run->targets.len) {
        s->awaited = COPIED_ANSWER;
        ret->ranges = run->targets.r + run->at;
        ret->range_count = run->targets.len - run->at;
        ret->name = buf_span(&s->name);
        ret->yes = run->move;
        return IMAP_EVENT_COPY;
    }
    s->sync.wanted = run->move || span_eq(buf_span(&s->name), buf_span(&s->box->name));
    s->reply.modseq = run->move && s->qresync;
    imap_finish(s, "OK", run->move ? "moved" : "copied");
    return IMAP_EVENT_MORE;
}

/* RFC 4315 3: COPYUID. Too long a list is left out. */
static void copied_tell(struct imap_reply *reply, const struct imap_copied *copied)
{
    uint64_t count = 0;

    for (size_t i = 0; i < copied->count; i++) {
        struct imap_range r = copied->uids[i];

        if (!r.first || r.last < r.first || imap_set_add(&reply->sets[0], r.first, r.last) != BRANT_OK)
            return;
        count += (uint64_t)r.last - r.first + 1;
    }
    if (!count || !copied->target_first || count > UINT32_MAX - copied->target_first ||
        imap_set_add(&reply->sets[1], copied->target_first, copied->target_first + (uint32_t)(count - 1)) !=
            BRANT_OK)
        return;
    buf_reset(&reply->code);
    buf_printf(&reply->code, "COPYUID %u", copied->uidvalidity);
    reply->set_count = 2;
}

int imap_server_copied(struct imap_server *s, const struct imap_copied *copied)
{
    struct copy_run *run = s->run;

    if (s->awaited != COPIED_ANSWER)
        return BRANT_ESTATE;
    s->awaited = NOTHING;
    copied_tell(run->move ? &s->notice : &s->reply, copied);
    if (run->move && s->notice.set_count) {
        s->notice.condition = "OK";
        s->notice.text = "moved";
        run->told_due = true;
    }
    if (!imap_targets_advance(&run->targets, &run->at, copied->done_to))
        run->at = run->targets.len;
    return BRANT_OK;
}

static void copy_failed(struct imap_server *s, enum imap_failure failure)
{
    const struct copy_run *run = s->run;

    s->sync.wanted = run->move; /* a part may have moved */
    imap_reply_reset(&s->reply);
    imap_no(s, failure, true);
}

static void run_copy(struct imap_server *s, struct imap_lex *lex, bool move)
{
    static const struct imap_job job = {copy_step, copy_failed, copy_release};
    struct imap_set targets;
    struct copy_run *run;

    if (!imap_take_targets(s, lex, &targets))
        return;
    run = mem_zalloc(sizeof *run);
    run->targets = targets;
    run->move = move;
    imap_job_start(s, &job, run);
    if (!imap_lex_space(lex))
        imap_bad(s, "the name of a mailbox is wanted");
    else if (imap_take_name(s, lex, false, &s->name) && imap_command_ends(s, lex) && move)
        read_only(s);
}

void imap_run_copy(struct imap_server *s, struct imap_lex *lex)
{
    run_copy(s, lex, false);
}

void imap_run_move(struct imap_server *s, struct imap_lex *lex)
{
    run_copy(s, lex, true);
}
