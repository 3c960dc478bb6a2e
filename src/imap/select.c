/* SELECT, EXAMINE, CLOSE, UNSELECT, and the selected mailbox. */
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "imap/server_internal.h"

enum select_step { SELECT_ASK, SELECT_VANISHED, SELECT_CHANGED, SELECT_DONE };

struct select_run {
    enum select_step step;
    bool read_only;
    struct imap_selected *box; /* until it is the session's */
    /* RFC 7162 3.2.5: QRESYNC (uidvalidity modseq [known-uids [seq-match-data]]) */
    bool qresync;
    uint64_t uidvalidity, modseq;
    struct imap_set known;
};

/* ---- the mailbox ---- */

static void box_free(struct imap_selected *box)
{
    if (!box)
        return;
    buf_done(&box->name);
    buf_done(&box->keyword_text);
    imap_view_done(&box->view);
    imap_set_done(&box->recent);
    imap_set_done(&box->saved);
    free(box);
}

void imap_deselect(struct imap_server *s)
{
    box_free(s->box);
    s->box = NULL;
}

static struct imap_selected *box_new(const struct imap_server *s)
{
    struct imap_selected *box = mem_zalloc(sizeof *box);

    buf_init(&box->name, IMAP_NAME_BYTES_MAX);
    buf_init(&box->keyword_text, IMAP_KEYWORDS_MAX * IMAP_KEYWORD_BYTES_MAX);
    imap_view_init(&box->view, s->config.runs_max);
    imap_set_init(&box->recent, RECENT_RANGES_MAX);
    imap_set_init(&box->saved, s->config.saved_ranges_max);
    return box;
}

/* Copies the names; what could stand in no atom becomes "_". */
static void keywords_keep(struct imap_selected *box, const struct imap_keywords *keywords, bool full)
{
    buf_reset(&box->keyword_text);
    box->keywords.count = 0;
    for (size_t i = 0; i < keywords->count && i < IMAP_KEYWORDS_MAX; i++) {
        struct span name = span_sub(keywords->names[i], 0, IMAP_KEYWORD_BYTES_MAX);
        size_t at = box->keyword_text.len;

        buf_append(&box->keyword_text, name.len ? name : SPAN_LIT("_"));
        for (size_t k = at; k < box->keyword_text.len; k++)
            if (!imap_is_atom_char(box->keyword_text.data[k]))
                box->keyword_text.data[k] = '_';
        box->keywords.names[box->keywords.count++].len = box->keyword_text.len - at;
    }
    box->keywords_full = full || box->keywords.count == IMAP_KEYWORDS_MAX;
    buf_shrink(&box->keyword_text);
    for (size_t i = 0, at = 0; i < box->keywords.count; at += box->keywords.names[i++].len)
        box->keywords.names[i] = span_sub(buf_span(&box->keyword_text), at, box->keywords.names[i].len);
}

void imap_server_keywords(struct imap_server *s, const struct imap_keywords *keywords, bool full)
{
    if (!s->box)
        return;
    keywords_keep(s->box, keywords, full);
    s->box->keywords_due = true;
}

void imap_put_flags_known(struct imap_server *s)
{
    const struct imap_selected *box = s->box;

    imap_put(s, "* FLAGS ");
    imap_flags_put(&s->out, UINT64_MAX, false, &box->keywords);
    imap_put(s, "\r\n* OK [PERMANENTFLAGS ");
    if (box->read_only) {
        imap_put(s, "()");
    } else {
        imap_flags_put(&s->out, UINT64_MAX, false, &box->keywords);
        if (!box->keywords_full) { /* RFC 3501 7.1: "\*" says that keywords can be made */
            s->out.len--;
            imap_put(s, " \\*)");
        }
    }
    imap_put(s, "] these are kept\r\n");
    s->box->keywords_due = false;
}

/* ---- SELECT and EXAMINE ---- */

static void select_release(struct imap_server *s)
{
    struct select_run *run = s->run;

    box_free(run->box);
    imap_set_done(&run->known);
    free(run);
}

static void ok_number(struct imap_server *s, const char *code, uint64_t number, const char *text)
{
    imap_put(s, "* OK [");
    imap_put(s, code);
    imap_put(s, " ");
    imap_put_number(s, number);
    imap_put(s, "] ");
    imap_put(s, text);
    imap_put(s, "\r\n");
}

static void count_line(struct imap_server *s, uint64_t count, const char *what)
{
    imap_put(s, "* ");
    imap_put_number(s, count);
    imap_put(s, what);
}

/* RFC 3501 6.3.1, RFC 9051 6.3.2: what is told about the mailbox. */
static void put_opened(struct imap_server *s, uint32_t unseen)
{
    const struct imap_selected *box = s->box;
    uint32_t seq = unseen ? imap_view_seq(&box->view, unseen) : 0;

    imap_put_flags_known(s);
    count_line(s, box->view.count, " EXISTS\r\n");
    if (!s->rev2)
        count_line(s, imap_set_count(&box->recent), " RECENT\r\n");
    if (seq && !s->rev2)
        ok_number(s, "UNSEEN", seq, "the first");
    ok_number(s, "UIDVALIDITY", box->uidvalidity, "UIDs are valid");
    ok_number(s, "UIDNEXT", box->uidnext, "the next UID");
    if (s->offer.extensions & IMAP_EXT_CONDSTORE)
        ok_number(s, "HIGHESTMODSEQ", box->modseq, "the newest change");
    if (s->offer.extensions & IMAP_EXT_OBJECTID)
        buf_printf(&s->out, "* OK [MAILBOXID (F%llx)] its id\r\n", (unsigned long long)box->mailbox);
    if (s->rev2) {
        imap_put(s, "* LIST () \"/\" ");
        imap_name_put(&s->out, buf_span(&box->name), true);
        imap_put(s, "\r\n");
    }
}

static enum imap_event_type select_ask(struct imap_server *s, struct select_run *run, struct imap_event *ret)
{
    s->awaited = OPENED_ANSWER;
    run->box = box_new(s);
    ret->name = buf_span(&s->name);
    ret->yes = run->read_only;
    return IMAP_EVENT_OPEN;
}

int imap_server_view(struct imap_server *s, const struct imap_range *uids, size_t count)
{
    struct select_run *run = s->run;
    int err = BRANT_OK;

    if (s->awaited != OPENED_ANSWER)
        return BRANT_ESTATE;
    for (size_t i = 0; i < count && !err; i++)
        err = imap_view_append(&run->box->view, uids[i].first, uids[i].last);
    return err;
}

int imap_server_opened(struct imap_server *s, const struct imap_opened *opened)
{
    struct select_run *run = s->run;
    struct imap_selected *box = run ? run->box : NULL;

    if (s->awaited != OPENED_ANSWER)
        return BRANT_ESTATE;
    s->awaited = NOTHING;
    run->box = NULL;
    buf_append(&box->name, buf_span(&s->name));
    box->mailbox = opened->mailbox;
    box->uidvalidity = opened->uidvalidity;
    box->uidnext = opened->uidnext > imap_view_last_uid(&box->view) ? opened->uidnext
                                                                    : imap_view_last_uid(&box->view) + 1;
    box->modseq = box->vanished_modseq = box->noticed = opened->modseq;
    box->read_only = opened->read_only || run->read_only;
    keywords_keep(box, &opened->keywords, opened->keywords_full);
    if (opened->recent_from && box->view.count && opened->recent_from <= imap_view_last_uid(&box->view)) {
        struct imap_range range = {opened->recent_from, imap_view_last_uid(&box->view)};

        imap_view_select(&box->view, &range, 1, &box->recent);
    }
    s->box = box;
    s->phase = SELECTED;
    put_opened(s, opened->unseen);
    /* RFC 7162 3.2.5: parameters of another UIDVALIDITY mean nothing */
    run->step = run->qresync && run->uidvalidity == box->uidvalidity ? SELECT_VANISHED : SELECT_DONE;
    return BRANT_OK;
}

/* ---- QRESYNC ---- */

/* VANISHED for what was expunged since. */
static enum imap_event_type vanished_step(struct imap_server *s, struct select_run *run,
                                          struct imap_event *ret)
{
    enum imap_event_type type;

    if (!s->earlier)
        imap_earlier_start(s, &run->known, run->modseq);
    type = imap_earlier_step(s, ret);
    if (type == IMAP_EVENT_MORE && !s->earlier)
        run->step = SELECT_CHANGED;
    return type;
}

/* FETCH responses for what has changed since. */
static enum imap_event_type changed_step(struct imap_server *s, struct select_run *run,
                                         struct imap_event *ret)
{
    enum imap_event_type type;

    if (!s->fetch) {
        static struct imap_fetch_item flags = {.kind = IMAP_FETCH_FLAGS};
        struct imap_fetch fetch = {
            .items = &flags, .count = 1, .fields = IMAP_ENTRY_FLAGS, .changed_since = run->modseq};
        struct imap_set targets;

        imap_set_init(&targets, run->known.max + s->config.runs_max);
        for (size_t i = 0; i < run->known.len; i++)
            imap_set_add(&targets, run->known.r[i].first, run->known.r[i].last);
        imap_fetch_start(s, &fetch, &targets);
        s->fetch->uid = s->fetch->modseq = true;
    }
    type = imap_fetch_step(s, ret);
    if (type == IMAP_EVENT_MORE && s->fetch->step == FETCH_END)
        run->step = SELECT_DONE;
    return type;
}

static enum imap_event_type select_step(struct imap_server *s, struct imap_event *ret)
{
    struct select_run *run = s->run;

    switch (run->step) {
    case SELECT_ASK:
        if (imap_full(s, ROOM_COMMAND))
            return IMAP_EVENT_BLOCKED;
        return select_ask(s, run, ret);
    case SELECT_VANISHED:
        return vanished_step(s, run, ret);
    case SELECT_CHANGED:
        return changed_step(s, run, ret);
    case SELECT_DONE:
        break;
    }
    imap_code(s, "%s", s->box->read_only ? "READ-ONLY" : "READ-WRITE");
    imap_finish(s, "OK", "selected");
    return IMAP_EVENT_MORE;
}

static void select_failed(struct imap_server *s, enum imap_failure failure)
{
    imap_earlier_release(s);
    if (s->phase == SELECTED) { /* it is open, only what is old cannot be told: then it is not selected */
        imap_deselect(s);
        s->phase = AUTHENTICATED;
        s->left_due = true;
    }
    imap_no(s, failure, false);
}

/* "(" uidvalidity SP modseq [SP known-uids] [SP "(" seqs SP uids ")"] ")" */
static bool qresync_parameter(struct imap_server *s, struct imap_lex *lex, struct select_run *run)
{
    struct imap_seq_set set = {0}, other;

    if (!imap_lex_space(lex) || !imap_lex_byte(lex, '(') ||
        !imap_lex_number(lex, UINT32_MAX, &run->uidvalidity) || !run->uidvalidity || !imap_lex_space(lex) ||
        !imap_lex_number(lex, INT64_MAX, &run->modseq) || !run->modseq)
        return false;
    while (imap_lex_space(lex)) {
        if (imap_lex_byte(lex, '(')) { /* RFC 7162 3.2.5.2: a hint, for servers that forget; checked only */
            if (!imap_lex_uid_set(lex, &other) || !imap_lex_space(lex) || !imap_lex_uid_set(lex, &other) ||
                !imap_lex_byte(lex, ')'))
                return false;
            break;
        }
        if (set.count || !imap_lex_uid_set(lex, &set))
            return false;
    }
    run->qresync = true;
    for (size_t i = 0; i < set.count; i++)
        if (set.ranges[i].first > set.ranges[i].last)
            set.ranges[i] = (struct imap_range){set.ranges[i].last, set.ranges[i].first};
    imap_set_init(&run->known, set.count + 1);
    imap_set_assign(&run->known, set.ranges, set.count);
    if (!set.count)
        imap_set_add(&run->known, 1, UINT32_MAX);
    return imap_lex_byte(lex, ')') && s->qresync; /* RFC 7162 3.2.5: only when it is enabled */
}

/* [SP "(" parameter *(SP parameter) ")"] */
static bool parameters(struct imap_server *s, struct imap_lex *lex, struct select_run *run)
{
    if (!imap_lex_space(lex) || imap_lex_end(lex))
        return true;
    if (!imap_lex_byte(lex, '('))
        return false;
    do {
        if (s->offer.extensions & IMAP_EXT_CONDSTORE && imap_lex_word(lex, "CONDSTORE"))
            s->condstore = true; /* RFC 7162 3.1.8 */
        else if (!imap_lex_word(lex, "QRESYNC") || !qresync_parameter(s, lex, run))
            return false;
    } while (imap_lex_space(lex));
    return imap_lex_byte(lex, ')');
}

static void leave(struct imap_server *s)
{
    if (s->phase != SELECTED)
        return;
    imap_deselect(s);
    s->phase = AUTHENTICATED;
    s->left_due = true;
}

static void run_select(struct imap_server *s, struct imap_lex *lex, bool read_only)
{
    static const struct imap_job job = {select_step, select_failed, select_release};
    struct select_run *run;

    if (!imap_take_name(s, lex, false, &s->name))
        return;
    run = mem_zalloc(sizeof *run);
    run->read_only = read_only;
    imap_job_start(s, &job, run);
    if (!parameters(s, lex, run)) {
        imap_bad(s, "those are no parameters of SELECT");
        return;
    }
    if (!imap_command_ends(s, lex))
        return;
    if (s->phase == SELECTED) /* RFC 3501 6.3.1: even if the new one cannot be selected */
        imap_untagged(s, "OK [CLOSED] the mailbox that was selected is closed");
    leave(s);
}

void imap_run_select(struct imap_server *s, struct imap_lex *lex)
{
    run_select(s, lex, false);
}

void imap_run_examine(struct imap_server *s, struct imap_lex *lex)
{
    run_select(s, lex, true);
}

/* ---- CLOSE and UNSELECT ---- */

struct close_run {
    struct imap_range all;
};

static enum imap_event_type close_step(struct imap_server *s, struct imap_event *ret)
{
    struct close_run *run = s->run;

    if (!s->box->read_only && s->box->view.count && run->all.first <= run->all.last) {
        s->awaited = EXPUNGED_ANSWER;
        ret->ranges = &run->all;
        ret->range_count = 1;
        return IMAP_EVENT_EXPUNGE;
    }
    leave(s);
    imap_finish(s, "OK", "closed");
    return IMAP_EVENT_MORE;
}

/* One slice of CLOSE's EXPUNGE is done. */
static void close_expunged(struct imap_server *s, uint32_t done_to)
{
    struct close_run *run = s->run;

    if (done_to >= run->all.last)
        run->all = (struct imap_range){1, 0};
    else
        run->all.first = done_to >= run->all.first ? done_to + 1 : run->all.last + 1;
}

static const struct imap_job close_job = {.step = close_step};

bool imap_close_expunged(struct imap_server *s, uint32_t done_to)
{
    if (s->job != &close_job)
        return false;
    close_expunged(s, done_to);
    return true;
}

/* RFC 3501 6.4.2: messages that are \Deleted go, and nothing is told of it. */
void imap_run_close(struct imap_server *s, struct imap_lex *lex)
{
    struct close_run *run = mem_zalloc(sizeof *run);

    (void)lex;
    run->all = (struct imap_range){1, imap_view_last_uid(&s->box->view)};
    imap_job_start(s, &close_job, run);
}

/* RFC 3691 */
void imap_run_unselect(struct imap_server *s, struct imap_lex *lex)
{
    (void)lex;
    leave(s);
    imap_finish(s, "OK", "nothing is selected");
}
