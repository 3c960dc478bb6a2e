/* Commands about mailboxes that are not selected, and COMPRESS. */
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "imap/server_internal.h"

/* ---- LIST and LSUB ---- */

struct list_run {
    struct imap_list list;
    struct imap_list_walk walk;
    struct imap_mailbox boxes[LIST_COUNT]; /* one answer */
    size_t count, at;
    struct buf names; /* of them */
    struct buf after; /* the last name that was given */
    bool asked, more, through;
};

static void list_release(struct imap_server *s)
{
    struct list_run *run = s->run;

    imap_list_walk_done(&run->walk);
    buf_done(&run->names);
    buf_done(&run->after);
    free(run);
}

static size_t list_bytes(const struct imap_server *s)
{
    const struct list_run *run = s->run;

    return sizeof *run + run->names.cap + run->after.cap + run->walk.name.cap;
}

static enum imap_event_type list_ask(struct imap_server *s, struct list_run *run, struct imap_event *ret)
{
    const struct imap_list *list = &run->list;
    bool children = list->returns & IMAP_LIST_CHILDREN || list->select & IMAP_LIST_RECURSIVE;

    run->asked = true;
    s->awaited = LIST_ANSWER;
    ret->name = buf_span(&run->after);
    ret->count = LIST_COUNT;
    ret->subscribed = list->lsub || (list->select & IMAP_LIST_SUBSCRIBED && !children);
    ret->status = list->status & ~(unsigned)IMAP_STATUS_APPENDLIMIT;
    return IMAP_EVENT_LIST;
}

static void put_line(struct imap_server *s, const struct list_run *run, const struct imap_list_line *line)
{
    imap_put(s, "");
    imap_list_line_put(&s->out, &run->list, line);
    if (run->list.returns & IMAP_LIST_STATUS && line->level.exists) /* RFC 5819 2 */
        imap_status_put(&s->out, line->name, run->list.status, &line->level.status,
                        s->config.append_bytes_max, run->list.utf8);
}

static enum imap_event_type list_step(struct imap_server *s, struct imap_event *ret)
{
    struct list_run *run = s->run;
    struct imap_list_line line;

    if (imap_full(s, IMAP_LIST_LINE_MAX))
        return IMAP_EVENT_BLOCKED;
    if (run->list.delimiter) { /* RFC 3501 6.3.8: an empty pattern asks for the delimiter */
        imap_untagged(s, "LIST (\\Noselect) \"/\" \"\"");
        imap_finish(s, "OK", "listed");
    } else if (imap_list_walk_next(&run->walk, &line)) {
        put_line(s, run, &line);
    } else if (run->at < run->count) {
        imap_list_walk_feed(&run->walk, &run->boxes[run->at++]);
    } else if (!run->asked || run->more) {
        return list_ask(s, run, ret);
    } else if (!run->through) {
        run->through = true;
        imap_list_walk_finish(&run->walk);
    } else {
        imap_finish(s, "OK", "listed");
    }
    return IMAP_EVENT_MORE;
}

int imap_server_list(struct imap_server *s, const struct imap_mailbox *boxes, size_t count, bool more)
{
    struct list_run *run = s->run;
    size_t total = 0;

    if (s->awaited != LIST_ANSWER)
        return BRANT_ESTATE;
    if (count > LIST_COUNT)
        return BRANT_ELIMIT;
    s->awaited = NOTHING;
    buf_reset(&run->names);
    run->count = run->at = 0;
    for (size_t i = 0; i < count; i++)
        total += boxes[i].name.len <= IMAP_NAME_BYTES_MAX ? boxes[i].name.len : 0;
    buf_reserve(&run->names, total); /* so that it will not move */
    for (size_t i = 0; i < count; i++) {
        struct imap_mailbox *box = &run->boxes[run->count];
        size_t at = run->names.len;

        if (boxes[i].name.len > IMAP_NAME_BYTES_MAX)
            continue;
        *box = boxes[i];
        buf_append(&run->names, boxes[i].name);
        box->name = span_sub(buf_span(&run->names), at, boxes[i].name.len);
        run->count++;
    }
    run->more = more && run->count > 0;
    if (run->more) {
        buf_reset(&run->after);
        buf_append(&run->after, run->boxes[run->count - 1].name);
    }
    return BRANT_OK;
}

static void run_list(struct imap_server *s, struct imap_lex *lex, bool lsub)
{
    static const struct imap_job job = {list_step, NULL, list_release, list_bytes};
    struct imap_list list;
    struct list_run *run;
    int err = imap_list_parse(lex, lsub, s->utf8 || s->rev2, s->offer.extensions, &list);

    if (err == BRANT_ELIMIT) {
        imap_no(s, IMAP_FAIL_LIMIT, false);
    } else if (err) {
        imap_bad(s, "a reference and a pattern are wanted");
    } else if (imap_command_ends(s, lex)) {
        run = mem_zalloc(sizeof *run);
        run->list = list;
        imap_list_walk_init(&run->walk, &run->list);
        buf_init(&run->names, LIST_COUNT * IMAP_NAME_BYTES_MAX);
        buf_init(&run->after, IMAP_NAME_BYTES_MAX);
        if (list.status & IMAP_STATUS_MODSEQ)
            imap_condstore_enable(s);
        imap_job_start(s, &job, run);
    }
}

void imap_run_list(struct imap_server *s, struct imap_lex *lex)
{
    run_list(s, lex, false);
}

void imap_run_lsub(struct imap_server *s, struct imap_lex *lex)
{
    run_list(s, lex, true);
}

/* ---- STATUS ---- */

struct status_run {
    unsigned items;
};

static enum imap_event_type status_step(struct imap_server *s, struct imap_event *ret)
{
    const struct status_run *run = s->run;

    s->awaited = STATUS_ANSWER;
    ret->name = buf_span(&s->name);
    ret->status = run->items & ~(unsigned)IMAP_STATUS_APPENDLIMIT;
    return IMAP_EVENT_STATUS;
}

int imap_server_status(struct imap_server *s, const struct imap_status *status)
{
    const struct status_run *run = s->run;

    if (s->awaited != STATUS_ANSWER)
        return BRANT_ESTATE;
    s->awaited = NOTHING;
    imap_put(s, "");
    imap_status_put(&s->out, buf_span(&s->name), run->items, status, s->config.append_bytes_max,
                    s->utf8 || s->rev2);
    imap_finish(s, "OK", "counted");
    return BRANT_OK;
}

void imap_run_status(struct imap_server *s, struct imap_lex *lex)
{
    static const struct imap_job job = {.step = status_step};
    struct status_run *run;
    unsigned items;

    if (!imap_take_name(s, lex, false, &s->name))
        return;
    if (!imap_lex_space(lex) || !imap_status_items_parse(lex, s->offer.extensions, &items)) {
        imap_bad(s, "those are no items of STATUS");
    } else if (imap_command_ends(s, lex)) {
        run = mem_zalloc(sizeof *run);
        run->items = items;
        if (items & IMAP_STATUS_MODSEQ)
            imap_condstore_enable(s);
        imap_job_start(s, &job, run);
    }
}

/* ---- CREATE ---- */

struct create_run {
    unsigned uses;
};

static enum imap_event_type create_step(struct imap_server *s, struct imap_event *ret)
{
    const struct create_run *run = s->run;

    s->awaited = CREATED_ANSWER;
    ret->name = buf_span(&s->name);
    ret->uses = run->uses;
    return IMAP_EVENT_CREATE;
}

int imap_server_created(struct imap_server *s, uint64_t mailbox)
{
    if (s->awaited != CREATED_ANSWER)
        return BRANT_ESTATE;
    s->awaited = NOTHING;
    if (s->offer.extensions & IMAP_EXT_OBJECTID) /* RFC 8474 4.1 */
        imap_code(s, "MAILBOXID (F%llx)", (unsigned long long)mailbox);
    imap_finish(s, "OK", "created");
    return BRANT_OK;
}

/* [SP "(" "USE" SP "(" use-attr *(SP use-attr) ")" ")"] (RFC 6154 3). False: answered. */
static bool create_parameters(struct imap_server *s, struct imap_lex *lex, unsigned *ret)
{
    bool known = true;
    struct span name;

    if (!imap_lex_space(lex) || imap_lex_end(lex))
        return true;
    if (!(s->offer.extensions & IMAP_EXT_SPECIAL_USE) || !imap_lex_byte(lex, '(') ||
        !imap_lex_word(lex, "USE") || !imap_lex_space(lex) || !imap_lex_byte(lex, '('))
        goto bad;
    while (!imap_lex_byte(lex, ')')) {
        if ((*ret && !imap_lex_space(lex)) || !imap_lex_flag(lex, &name))
            goto bad;
        known = known && imap_special_use_parse(name);
        *ret |= imap_special_use_parse(name);
    }
    if (!imap_lex_byte(lex, ')'))
        goto bad;
    if (!known)
        imap_no(s, IMAP_FAIL_USE, false);
    return known;
bad:
    imap_bad(s, "those are no parameters of CREATE");
    return false;
}

void imap_run_create(struct imap_server *s, struct imap_lex *lex)
{
    static const struct imap_job job = {.step = create_step};
    struct create_run *run;
    unsigned uses = 0;

    if (!imap_take_name(s, lex, true, &s->name) || !create_parameters(s, lex, &uses) ||
        !imap_command_ends(s, lex))
        return;
    if (imap_name_is_inbox(buf_span(&s->name))) { /* RFC 3501 6.3.3 */
        imap_no(s, IMAP_FAIL_EXISTS, false);
        return;
    }
    run = mem_zalloc(sizeof *run);
    run->uses = uses;
    imap_job_start(s, &job, run);
}

/* ---- DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE, COMPRESS: answered with done or failed ---- */

struct box_run {
    enum imap_event_type event;
    bool yes;
};

static enum imap_event_type box_step(struct imap_server *s, struct imap_event *ret)
{
    const struct box_run *run = s->run;

    s->awaited = DONE_ANSWER;
    ret->name = buf_span(&s->name);
    ret->target = buf_span(&s->target);
    ret->yes = run->yes;
    return run->event;
}

static void box_failed(struct imap_server *s, enum imap_failure failure)
{
    imap_no(s, failure, false);
}

static void box_start(struct imap_server *s, enum imap_event_type event, bool yes)
{
    static const struct imap_job job = {box_step, box_failed, NULL, NULL};
    struct box_run *run = mem_zalloc(sizeof *run);

    run->event = event;
    run->yes = yes;
    imap_job_start(s, &job, run);
}

/* The selected mailbox was deleted by this very session. */
static void selected_deleted(struct imap_server *s)
{
    if (s->phase != SELECTED || !span_eq(buf_span(&s->name), buf_span(&s->box->name)))
        return;
    imap_untagged(s, "OK [CLOSED] the mailbox that was selected is closed");
    imap_deselect(s);
    s->phase = AUTHENTICATED;
    s->left_due = true;
}

void imap_mailbox_done(struct imap_server *s)
{
    enum imap_event_type event = ((const struct box_run *)s->run)->event;

    if (event == IMAP_EVENT_DELETE)
        selected_deleted(s);
    if (event != IMAP_EVENT_COMPRESS) {
        imap_finish(s, "OK", "done");
        return;
    }
    /* What the client sends behind it is compressed, so its response is written here and now. */
    imap_finish(s, "OK", "from here on it is compressed");
    imap_reply_write(s, &s->reply, s->tag);
    imap_command_done(s);
    if (s->phase != ENDED)
        s->awaited = COMPRESS_START;
}

/* RFC 3501 6.3.4: INBOX stays. */
void imap_run_delete(struct imap_server *s, struct imap_lex *lex)
{
    if (!imap_take_name(s, lex, false, &s->name) || !imap_command_ends(s, lex))
        return;
    if (imap_name_is_inbox(buf_span(&s->name)))
        imap_no(s, IMAP_FAIL_CANNOT, false);
    else
        box_start(s, IMAP_EVENT_DELETE, false);
}

/* RFC 3501 6.3.5 */
void imap_run_rename(struct imap_server *s, struct imap_lex *lex)
{
    if (!imap_take_name(s, lex, false, &s->name))
        return;
    if (!imap_lex_space(lex)) {
        imap_bad(s, "two names are wanted");
        return;
    }
    if (!imap_take_name(s, lex, true, &s->target) || !imap_command_ends(s, lex))
        return;
    if (imap_name_is_inbox(buf_span(&s->target)) || span_eq(buf_span(&s->name), buf_span(&s->target)))
        imap_no(s, IMAP_FAIL_EXISTS, false);
    else if (imap_name_within(buf_span(&s->target), buf_span(&s->name)) &&
             !imap_name_is_inbox(buf_span(&s->name)))
        imap_no(s, IMAP_FAIL_CANNOT, false); /* it would be beneath itself */
    else
        box_start(s, IMAP_EVENT_RENAME, false);
}

static void run_subscribe(struct imap_server *s, struct imap_lex *lex, bool yes)
{
    if (imap_take_name(s, lex, false, &s->name) && imap_command_ends(s, lex))
        box_start(s, IMAP_EVENT_SUBSCRIBE, yes);
}

void imap_run_subscribe(struct imap_server *s, struct imap_lex *lex)
{
    run_subscribe(s, lex, true);
}

void imap_run_unsubscribe(struct imap_server *s, struct imap_lex *lex)
{
    run_subscribe(s, lex, false);
}

/* RFC 2342: everything is the user's own. */
void imap_run_namespace(struct imap_server *s, struct imap_lex *lex)
{
    (void)lex;
    imap_untagged(s, "NAMESPACE ((\"\" \"/\")) NIL NIL");
    imap_finish(s, "OK", "that is all");
}

/* RFC 4978 3 */
void imap_run_compress(struct imap_server *s, struct imap_lex *lex)
{
    if (!(s->offer.extensions & IMAP_EXT_COMPRESS) || !imap_lex_word(lex, "DEFLATE")) {
        imap_bad(s, "that is not offered here");
    } else if (!imap_command_ends(s, lex)) {
        return;
    } else if (s->compressed) {
        imap_code(s, "COMPRESSIONACTIVE");
        imap_finish(s, "NO", "it is compressed already");
    } else {
        box_start(s, IMAP_EVENT_COMPRESS, false);
    }
}

int imap_server_compress_started(struct imap_server *s)
{
    if (s->awaited != COMPRESS_START || s->out.len)
        return BRANT_ESTATE;
    s->awaited = NOTHING;
    s->compressed = true;
    return BRANT_OK;
}

bool imap_server_awaits_compress(const struct imap_server *s)
{
    return s->awaited == COMPRESS_START;
}
