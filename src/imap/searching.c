/* SEARCH: looking at the messages, and telling which they are as they are found. */
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "imap/put.h"
#include "imap/server_internal.h"
#include "mime/fold.h"
#include "mime/headers.h"

enum { FIELD_BYTES_MAX = 65536, KEYS_AT_ONCE = 200000 };

enum search_step { SEARCH_ASK, SEARCH_ENTRY, SEARCH_STRUCTURE, SEARCH_SCAN, SEARCH_VIEW, SEARCH_END };

struct search_run {
    struct imap_search search;
    enum search_step step;
    struct imap_set candidates;
    size_t at;
    uint32_t view_uid; /* SEARCH_VIEW: the next one */
    uint8_t *truths, *scratch;
    struct imap_match *matches;
    bool failed;

    /* the response */
    bool begun, has_range;
    struct imap_range range; /* of the numbers found, the last one; not written yet */
    bool all_begun;
    uint64_t count, modseq, min_modseq, max_modseq;
    uint32_t min, max, min_uid, max_uid;
    struct imap_set save;
    bool not_saved;

    /* the texts of a message */
    uint32_t part;
    bool in_body;
    uint64_t pos, end;
    enum imap_search_where where;
    struct buf field, utf8, folded;
    bool line_start;
    struct imap_text text;
};

static void search_release(struct imap_server *s)
{
    struct search_run *run = s->run;

    imap_search_done(&run->search);
    imap_set_done(&run->candidates);
    imap_set_done(&run->save);
    buf_done(&run->field);
    buf_done(&run->utf8);
    buf_done(&run->folded);
    imap_text_done(&run->text);
    free(run);
}

static size_t search_bytes(const struct imap_server *s)
{
    const struct search_run *run = s->run;

    return sizeof *run + (run->candidates.cap + run->save.cap) * sizeof(struct imap_range) + run->field.cap +
           run->utf8.cap + run->folded.cap + run->text.raw.cap;
}

/* ---- the response ---- */

static bool wants(const struct search_run *run, unsigned what)
{
    return run->search.returns & what;
}

static void response_begin(struct imap_server *s, struct search_run *run)
{
    if (run->begun)
        return;
    run->begun = s->mid_line = true;
    if (!run->search.returns) {
        imap_put(s, "* SEARCH");
        return;
    }
    imap_put(s, "* ESEARCH (TAG ");
    imap_put_string(&s->out, span_str(s->tag), false);
    imap_put(s, s->uid_command ? ") UID" : ")");
}

/* ESEARCH: the range that is complete. */
static void range_put(struct imap_server *s, struct search_run *run)
{
    if (!run->has_range)
        return;
    response_begin(s, run);
    imap_put(s, run->all_begun ? "," : " ALL ");
    run->all_begun = true;
    imap_put_number(s, run->range.first);
    if (run->range.last != run->range.first) {
        imap_put(s, ":");
        imap_put_number(s, run->range.last);
    }
    run->has_range = false;
}

static void number_found(struct imap_server *s, struct search_run *run, uint32_t number)
{
    if (!run->search.returns) {
        response_begin(s, run);
        imap_put(s, " ");
        imap_put_number(s, number);
    } else if (wants(run, IMAP_RETURN_ALL)) {
        if (run->has_range && run->range.last + 1 == number) {
            run->range.last = number;
            return;
        }
        range_put(s, run);
        run->range = (struct imap_range){number, number};
        run->has_range = true;
    }
}

/* A message fits. They come in ascending order. */
static void found(struct imap_server *s, struct search_run *run, const struct imap_entry *e)
{
    uint32_t seq = imap_view_seq(&s->box->view, e->uid), number = s->uid_command ? e->uid : seq;

    if (!run->count++) {
        run->min = number;
        run->min_uid = e->uid;
        run->min_modseq = e->modseq;
    }
    run->max = number;
    run->max_uid = e->uid;
    run->max_modseq = e->modseq;
    if (e->modseq > run->modseq)
        run->modseq = e->modseq;
    number_found(s, run, number);
    if (wants(run, IMAP_RETURN_SAVE) && !run->not_saved &&
        imap_set_add(&run->save, e->uid, e->uid) != BRANT_OK)
        run->not_saved = true;
}

/* Whether only MIN and MAX count (RFC 4731 3.1, RFC 5182 2.1). */
static bool only_ends(const struct search_run *run)
{
    return wants(run, IMAP_RETURN_MIN | IMAP_RETURN_MAX) && !wants(run, IMAP_RETURN_ALL | IMAP_RETURN_COUNT);
}

static void put_value(struct imap_server *s, const char *name, uint64_t value)
{
    imap_put(s, name);
    imap_put_number(s, value);
}

static uint64_t modseq_of_response(const struct search_run *run)
{
    uint64_t modseq = 0;

    if (!only_ends(run))
        return run->modseq;
    if (wants(run, IMAP_RETURN_MIN))
        modseq = run->min_modseq;
    if (wants(run, IMAP_RETURN_MAX) && run->max_modseq > modseq)
        modseq = run->max_modseq;
    return modseq;
}

static void response_end(struct imap_server *s, struct search_run *run)
{
    range_put(s, run);
    if (!run->search.returns || run->search.returns & ~(unsigned)IMAP_RETURN_SAVE)
        response_begin(s, run);
    if (!run->begun)
        return; /* RFC 5182 2.1: SAVE alone tells nothing */
    if (run->count && wants(run, IMAP_RETURN_MIN))
        put_value(s, " MIN ", run->min);
    if (run->count && wants(run, IMAP_RETURN_MAX))
        put_value(s, " MAX ", run->max);
    if (wants(run, IMAP_RETURN_COUNT))
        put_value(s, " COUNT ", run->count);
    if (run->search.modseq && run->count) { /* RFC 7162 3.1.5, 3.1.10 */
        put_value(s, run->search.returns ? " MODSEQ " : " (MODSEQ ", modseq_of_response(run));
        imap_put(s, run->search.returns ? "" : ")");
    }
    imap_put(s, "\r\n");
    s->mid_line = false;
}

/* What "$" stands for from here on. */
static void result_save(struct imap_server *s, struct search_run *run)
{
    struct imap_set *saved = &s->box->saved;

    imap_set_reset(saved);
    if (run->failed || run->not_saved)
        return;
    if (!only_ends(run)) {
        imap_set_assign(saved, run->save.r, run->save.len);
        return;
    }
    if (run->count && wants(run, IMAP_RETURN_MIN))
        imap_set_add(saved, run->min_uid, run->min_uid);
    if (run->count && wants(run, IMAP_RETURN_MAX))
        imap_set_add(saved, run->max_uid, run->max_uid);
}

static void finish(struct imap_server *s, struct search_run *run)
{
    bool failed = run->failed, not_saved = wants(run, IMAP_RETURN_SAVE) && run->not_saved && !only_ends(run);

    response_end(s, run);
    if (wants(run, IMAP_RETURN_SAVE))
        result_save(s, run);
    if (failed) {
        imap_no(s, IMAP_FAIL_TRY_LATER, false);
    } else if (not_saved) { /* RFC 5182 2.1 */
        imap_code(s, "NOTSAVED");
        imap_finish(s, "NO", "the result is too long to be saved");
    } else {
        imap_finish(s, "OK", "searched");
    }
}

/* ---- one message ---- */

static const struct imap_entry *entry_at(const struct imap_server *s)
{
    return &s->slice->entries[s->slice->at];
}

/* The value is known; the next entry. */
static void decided(struct imap_server *s, struct search_run *run, enum imap_truth value)
{
    if (value == IMAP_YES)
        found(s, run, entry_at(s));
    s->slice->at++;
    run->step = SEARCH_ENTRY;
    imap_text_done(&run->text);
}

static enum imap_truth value_of(const struct search_run *run)
{
    return imap_search_value(&run->search, run->truths, run->scratch);
}

/* Room for whatever a message that fits makes. */
static bool is_full(const struct imap_server *s)
{
    return imap_full(s, 512);
}

static enum imap_event_type entry_step(struct imap_server *s, struct search_run *run)
{
    struct imap_search_context c = {&s->box->keywords, &s->box->recent, s->clock_ms};
    const struct imap_entry *e = entry_at(s);
    enum imap_truth value;

    if (s->slice->at == s->slice->count) {
        run->failed = !imap_targets_advance(&run->candidates, &run->at, s->slice->done_to);
        run->step = run->failed ? SEARCH_END : SEARCH_ASK;
        return IMAP_EVENT_MORE;
    }
    if (is_full(s))
        return IMAP_EVENT_BLOCKED;
    if (!imap_view_seq(&s->box->view, e->uid) || !imap_set_contains(&run->candidates, e->uid) ||
        e->uid <= (run->count ? run->max_uid : 0)) {
        s->slice->at++;
        return IMAP_EVENT_MORE;
    }
    imap_search_entry(&run->search, &c, e, run->truths);
    value = value_of(run);
    if (value != IMAP_UNKNOWN)
        decided(s, run, value);
    else
        run->step = SEARCH_STRUCTURE;
    return IMAP_EVENT_MORE;
}

static enum imap_event_type structure_step(struct imap_server *s, struct search_run *run,
                                           struct imap_event *ret)
{
    enum imap_event_type type = imap_message_step(s, entry_at(s), ret);
    enum imap_truth value;

    if (type != IMAP_EVENT_MORE)
        return type;
    imap_search_structure(&run->search, imap_message_root(s), run->truths);
    value = value_of(run);
    if (value != IMAP_UNKNOWN) {
        decided(s, run, value);
        return IMAP_EVENT_MORE;
    }
    run->step = SEARCH_SCAN;
    run->part = 0;
    run->in_body = false;
    run->pos = run->end = 0;
    return IMAP_EVENT_MORE;
}

/* ---- texts ---- */

static void field_end(struct search_run *run)
{
    struct span rest = buf_span(&run->field);
    struct mime_raw_field field;

    if (rest.len && mime_raw_field_next(&rest, &field))
        imap_search_field(&run->search, run->where, field.name, field.value, run->truths);
    buf_reset(&run->field);
}

/* Of a header, field by field; what is over FIELD_BYTES_MAX of one is not looked at. */
static void header_take(struct search_run *run, struct span bytes)
{
    while (bytes.len) {
        const uint8_t *lf = memchr(bytes.p, '\n', bytes.len);
        struct span piece = span_sub(bytes, 0, lf ? (size_t)(lf - bytes.p) + 1 : bytes.len);

        if (run->line_start && piece.p[0] != ' ' && piece.p[0] != '\t')
            field_end(run);
        buf_append(&run->field, span_sub(piece, 0, run->field.max - run->field.len));
        run->line_start = lf != NULL;
        bytes = span_from(bytes, piece.len);
    }
}

static void text_use(struct search_run *run)
{
    buf_reset(&run->folded);
    mime_fold(buf_span(&run->utf8), &run->folded);
    imap_search_text(&run->search, buf_span(&run->folded), run->matches, run->truths);
    buf_reset(&run->utf8);
}

static void body_take(struct search_run *run, struct span bytes)
{
    for (; bytes.len; bytes = span_from(bytes, IMAP_TEXT_PIECE)) {
        imap_text_feed(&run->text, span_sub(bytes, 0, IMAP_TEXT_PIECE), &run->utf8);
        text_use(run);
    }
}

static void scan_take(struct imap_server *s, struct span bytes)
{
    struct search_run *run = s->run;

    run->pos += bytes.len;
    if (run->in_body)
        body_take(run, bytes);
    else
        header_take(run, bytes);
    if (run->pos < run->end)
        return;
    if (run->in_body) {
        imap_text_finish(&run->text, &run->utf8);
        text_use(run);
        imap_text_done(&run->text);
    } else {
        field_end(run);
    }
}

/* The header of a part begins. What it is tells who looks at it. */
static void header_begin(struct search_run *run, const struct mime_part *part)
{
    run->where = run->part == 0                         ? IMAP_WHERE_MESSAGE
                 : part->flags & MIME_PART_MESSAGE_ROOT ? IMAP_WHERE_INSIDE
                                                        : IMAP_WHERE_PART;
    run->pos = part->header_start;
    run->end = part->body_start;
    run->line_start = true;
    buf_reset(&run->field);
}

static void body_begin(struct search_run *run, const struct mime_part *part)
{
    if (!imap_is_text(part))
        return;
    run->pos = part->body_start;
    run->end = part->body_end;
    memset(run->matches, 0, run->search.count * sizeof *run->matches);
    imap_text_done(&run->text);
    imap_text_init(&run->text, part);
}

/* On to the next stretch of the message that is to be looked at; false: there is none. */
static bool scan_next(struct imap_server *s, struct search_run *run)
{
    const struct mime_structure *m = &s->message.s;

    if (run->part >= m->count)
        return false;
    if (!run->in_body && run->end > 0) { /* a header is through: its body comes */
        if (run->part == 0)
            imap_search_header_end(&run->search, run->truths);
        run->in_body = true;
        run->pos = run->end = 0;
        if (imap_search_wants_text(&run->search, run->truths))
            body_begin(run, &m->parts[run->part]);
        return true;
    }
    if (run->in_body) {
        run->part++;
        run->in_body = false;
        run->pos = run->end = 0;
        if (run->part == m->count || !imap_search_wants_text(&run->search, run->truths))
            return false;
    }
    header_begin(run, &m->parts[run->part]);
    if (run->pos == run->end) /* a header without a byte, which is behind its end as well */
        run->end = run->pos = run->end ? run->end : 1;
    return true;
}

static enum imap_event_type scan_step(struct imap_server *s, struct search_run *run, struct imap_event *ret)
{
    enum imap_truth value = value_of(run);

    if (value == IMAP_UNKNOWN && run->pos < run->end)
        return imap_read_ask(s, entry_at(s)->uid, run->pos, run->end - run->pos, scan_take, ret);
    if (value == IMAP_UNKNOWN && scan_next(s, run))
        return IMAP_EVENT_MORE;
    imap_search_end(&run->search, run->truths);
    if (is_full(s))
        return IMAP_EVENT_BLOCKED;
    decided(s, run, value_of(run));
    return IMAP_EVENT_MORE;
}

/* READ was answered with a failure: a message that is gone fits nothing. */
static void search_failed(struct imap_server *s, enum imap_failure failure)
{
    struct search_run *run = s->run;

    if (run->step != SEARCH_SCAN) { /* ENTRIES */
        if (failure == IMAP_FAIL_NOT_FOUND) {
            imap_end(s, IMAP_CLOSE_GONE);
            return;
        }
        run->failed = true;
        run->step = SEARCH_END;
        return;
    }
    run->failed = run->failed || failure != IMAP_FAIL_NOT_FOUND;
    if (run->failed)
        run->step = SEARCH_END;
    else
        decided(s, run, IMAP_NO);
}

/* ---- all messages ---- */

/* Nothing but numbers is asked about: the view knows them. */
static enum imap_event_type view_step(struct imap_server *s, struct search_run *run)
{
    struct imap_search_context c = {&s->box->keywords, &s->box->recent, s->clock_ms};

    for (size_t keys = 0; run->at < run->candidates.len; keys += run->search.count) {
        struct imap_range r = run->candidates.r[run->at];
        struct imap_entry e = {0};

        if (is_full(s))
            return IMAP_EVENT_BLOCKED;
        if (keys >= KEYS_AT_ONCE)
            return IMAP_EVENT_YIELD;
        e.uid = imap_view_next(&s->box->view, run->view_uid > r.first ? run->view_uid : r.first);
        if (!e.uid || e.uid > r.last) {
            run->at++;
            continue;
        }
        run->view_uid = e.uid + 1;
        imap_search_entry(&run->search, &c, &e, run->truths);
        if (value_of(run) == IMAP_YES)
            found(s, run, &e);
        if (e.uid == UINT32_MAX)
            break;
    }
    run->step = SEARCH_END;
    return IMAP_EVENT_MORE;
}

static enum imap_event_type ask(struct imap_server *s, struct search_run *run, struct imap_event *ret)
{
    const struct imap_search *search = &run->search;

    if (run->at == run->candidates.len ||
        (run->count && search->returns == IMAP_RETURN_MIN)) { /* nothing behind the first counts */
        run->step = SEARCH_END;
        return IMAP_EVENT_MORE;
    }
    run->step = SEARCH_ENTRY;
    ret->fields = search->fields | (search->structure ? IMAP_ENTRY_STRUCTURE | IMAP_ENTRY_SIZE : 0U);
    ret->flags_all = search->flags_all;
    ret->flags_none = search->flags_none;
    for (size_t i = 0; i < search->count; i++)
        if (search->keys[i].op == IMAP_SEARCH_MODSEQ && search->keys[i].always &&
            search->keys[i].number > ret->modseq + 1)
            ret->modseq = search->keys[i].number - 1;
    return imap_entries_ask(s, &run->candidates, run->at, ret);
}

static enum imap_event_type search_step(struct imap_server *s, struct imap_event *ret)
{
    struct search_run *run = s->run;

    switch (run->step) {
    case SEARCH_ASK:
        return ask(s, run, ret);
    case SEARCH_ENTRY:
        return entry_step(s, run);
    case SEARCH_STRUCTURE:
        return structure_step(s, run, ret);
    case SEARCH_SCAN:
        return scan_step(s, run, ret);
    case SEARCH_VIEW:
        return view_step(s, run);
    case SEARCH_END:
        break;
    }
    if (is_full(s))
        return IMAP_EVENT_BLOCKED;
    finish(s, run);
    return IMAP_EVENT_MORE;
}

static void refuse(struct imap_server *s, enum imap_search_error error)
{
    if (error == IMAP_SEARCH_CHARSET) {
        imap_code(s, "BADCHARSET (US-ASCII UTF-8)");
        imap_finish(s, "NO", "that charset is unknown");
    } else if (error == IMAP_SEARCH_LIMIT) {
        imap_no(s, IMAP_FAIL_LIMIT, false);
    } else {
        imap_bad(s, "those are no keys of SEARCH");
    }
}

static bool arrays_make(struct imap_server *s, struct search_run *run)
{
    run->truths = arena_array(&s->arena, run->search.count, 1);
    run->scratch = arena_array(&s->arena, run->search.count, 1);
    run->matches = arena_array(&s->arena, run->search.count, sizeof *run->matches);
    return run->truths && run->scratch && run->matches;
}

void imap_run_search(struct imap_server *s, struct imap_lex *lex)
{
    static const struct imap_job job = {search_step, search_failed, search_release, search_bytes};
    struct imap_search search;
    struct search_run *run;
    enum imap_search_error error = imap_search_parse(lex, s->config.search_keys_max, s->utf8, &search);

    if (error) {
        refuse(s, error);
        return;
    }
    run = mem_zalloc(sizeof *run);
    run->search = search;
    imap_set_init(&run->candidates, 65536);
    imap_set_init(&run->save, s->config.saved_ranges_max);
    buf_init(&run->field, FIELD_BYTES_MAX);
    buf_init(&run->utf8, IMAP_TEXT_OUT_MAX);
    buf_init(&run->folded, (size_t)IMAP_TEXT_OUT_MAX * MIME_FOLD_EXPANSION);
    imap_job_start(s, &job, run);
    if (s->rev2 && !run->search.returns) /* RFC 9051 6.4.4 */
        run->search.returns = IMAP_RETURN_ALL;
    if (!imap_command_ends(s, lex))
        return;
    if (!arrays_make(s, run) ||
        imap_search_resolve(&run->search, &s->box->view, &s->box->saved, &run->candidates) != BRANT_OK) {
        imap_no(s, IMAP_FAIL_LIMIT, false);
        return;
    }
    if (search.modseq)
        imap_condstore_enable(s);
    if (!run->search.fields && !run->search.structure)
        run->step = SEARCH_VIEW;
}
