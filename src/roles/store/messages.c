/* Messages of a mailbox: which there are, what they are like, what has happened, and changing them. Reading
 * their bytes: reading.c. */
#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "imap/server.h"
#include "roles/store/requests.h"

enum {
    RANGES_BYTES = (IPC_RANGES_MAX + 1) * sizeof(struct store_range) + 64,
    /* ranges of a question, two lists of an answer, and these encoded; keywords of both */
    READ_ARENA = 5 * RANGES_BYTES + FIELDS_KEYWORDS_ARENA + 2 * IPC_KEYWORDS_MAX,
    LIST_ARENA = READ_ARENA + IPC_STRUCTURES_MAX + IPC_STRUCTURE_MAX + IPC_ENTRIES_MAX * 512,
    CHANGE_ARENA = READ_ARENA + FIELDS_KEYWORDS_ARENA + 2 * IPC_MAILBOX_NAME_MAX,
    TARGET_TRIES = 3
};

/* ---- which UIDs are there, which went ---- */

struct uids_read {
    struct request_read r;
    uint64_t mailbox, modseq;
    uint32_t first, last, done_to;
    const struct store_range *ranges;
    size_t range_count, max;
    struct span found;
};

static void run_uids(struct work *work, void *reader)
{
    struct uids_read *u = (struct uids_read *)work;
    struct store_range_list list = fields_ranges_room(&u->r.arena, u->max);
    if (!list.r)
        u->r.rc = BRANT_ELIMIT;
    else if (u->ranges)
        u->r.rc = store_vanished(reader, u->r.account, u->mailbox, u->ranges, u->range_count, u->modseq,
                                 &list, &u->done_to);
    else
        u->r.rc = store_uids_list(reader, u->r.account, u->mailbox, u->first, u->last, &list, &u->done_to);
    if (u->r.rc == BRANT_OK)
        u->found = fields_ranges_put(&u->r.arena, &list);
}

static void answer_uids(struct peer *p, struct session *session, struct request_read *r)
{
    struct uids_read *u = (struct uids_read *)r;
    struct ipc_message m = {.type = IPC_TYPE_UIDS, .tag = r->read.tag};
    (void)session;
    m.uids.status = (uint8_t)server_status_of(r->rc);
    if (r->rc == BRANT_OK) {
        m.uids.ranges = u->found;
        m.uids.done_to = u->done_to;
    }
    server_send(p, &m);
}

void on_uids_read(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_uids_read *q = &m->uids_read;
    struct session *session = request_session(sv, p, &q->session);
    if (!session)
        return;
    struct uids_read *u = request_read_new(p, session, m->tag, sizeof *u, READ_ARENA, run_uids, answer_uids);
    u->mailbox = q->mailbox;
    u->first = q->first;
    u->last = q->last;
    u->max = IPC_RANGES_MAX;
    request_read_start(p, session, &u->r);
}

void on_vanished_read(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_vanished_read *q = &m->vanished_read;
    struct session *session = request_session(sv, p, &q->session);
    if (!session)
        return;
    struct uids_read *u = request_read_new(p, session, m->tag, sizeof *u, READ_ARENA, run_uids, answer_uids);
    u->mailbox = q->mailbox;
    u->modseq = q->modseq;
    u->max = q->count;
    if (q->count > 0 && fields_ranges(&u->r.arena, q->ranges, &u->ranges, &u->range_count)) {
        request_read_start(p, session, &u->r);
        return;
    }
    request_read_free(&u->r);
    server_fault(p, "UIDs that are no UIDs");
}

/* ---- what has happened ---- */

struct changes_read {
    struct request_read r;
    uint64_t mailbox;
    bool claims;          /* the session takes what is recent */
    uint32_t recent_from; /* what it has taken, for an answer that was not complete */
    struct store_changes c;
    size_t max, keywords_known;
    struct span arrived, vanished, keywords;
};

static int read_changes(struct changes_read *x, struct store_reader *reader)
{
    uint32_t recent = 0;
    x->c.arrived = fields_ranges_room(&x->r.arena, x->max);
    x->c.vanished = fields_ranges_room(&x->r.arena, x->max);
    if (!x->c.arrived.r || !x->c.vanished.r)
        return BRANT_ELIMIT;
    /* First: what is recent now is among the arrived afterwards. */
    int rc = x->claims ? store_recent_claim(reader, x->r.account, x->mailbox, &recent) : BRANT_OK;
    if (recent != 0 && (x->recent_from == 0 || recent < x->recent_from))
        x->recent_from = recent;
    return rc == BRANT_OK ? store_changes(reader, x->r.account, x->mailbox, &x->c) : rc;
}

static void run_changes(struct work *work, void *reader)
{
    struct changes_read *x = (struct changes_read *)work;
    x->r.rc = read_changes(x, reader);
    if (x->r.rc != BRANT_OK)
        return;
    x->arrived = fields_ranges_put(&x->r.arena, &x->c.arrived);
    x->vanished = fields_ranges_put(&x->r.arena, &x->c.vanished);
    /* Last: whatever flags are read next have their names. */
    x->keywords = request_keywords_read(reader, &x->r.arena, x->r.account, x->mailbox, x->keywords_known);
}

static void answer_changes(struct peer *p, struct session *session, struct request_read *r)
{
    struct changes_read *x = (struct changes_read *)r;
    struct ipc_message m = {.type = IPC_TYPE_CHANGES, .tag = r->read.tag};
    struct session_watch *watch = watches_of(session, x->mailbox);
    if (r->rc == BRANT_OK)
        m.changes = (struct ipc_changes){.modseq = x->c.now_modseq,
                                         .more = x->c.more,
                                         .flags_changed = x->c.flags_changed,
                                         .arrived = x->arrived,
                                         .uidnext = x->c.uidnext,
                                         .recent_from = x->recent_from,
                                         .vanished = x->vanished,
                                         .vanished_to = x->c.vanished_to,
                                         .keywords = x->keywords};
    m.changes.status = (uint8_t)server_status_of(r->rc);
    if (watch) /* a claim that was not told of is told of the next time */
        watch->recent_from = r->rc != BRANT_OK || x->c.more ? x->recent_from : 0;
    server_send(p, &m);
    if (watch && r->rc == BRANT_OK)
        watches_answered(&p->server->watches, watch, x->c.now_modseq, x->c.more);
}

void on_changes_read(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_changes_read *q = &m->changes_read;
    struct session *session = request_session(sv, p, &q->session);
    if (!session)
        return;
    if (q->count == 0) {
        server_fault(p, "changes of no ranges");
        return;
    }
    struct changes_read *x =
        request_read_new(p, session, m->tag, sizeof *x, READ_ARENA, run_changes, answer_changes);
    struct session_watch *watch = watches_of(session, q->mailbox);
    x->mailbox = q->mailbox;
    x->max = q->count;
    x->keywords_known = q->keywords_known;
    x->c = (struct store_changes){.modseq = q->modseq,
                                  .uid = q->uid,
                                  .want_vanished = q->vanished,
                                  .vanished_modseq = q->vanished_modseq,
                                  .vanished_from = q->vanished_from};
    if (watch) {
        watches_asked(watch);
        x->claims = !watch->read_only;
        x->recent_from = watch->recent_from;
    }
    request_read_start(p, session, &x->r);
}

/* ---- what they are like ---- */

struct list_read {
    struct request_read r;
    uint64_t mailbox;
    struct store_entries_query q;
    uint32_t fields, count, done_to, keywords_known;
    struct ipc_message_row *rows;
    size_t row_count;
    struct span keywords;
};

static struct ipc_message_row row_of(const struct store_entry *e)
{
    return (struct ipc_message_row){.uid = e->uid,
                                    .flags = e->flags,
                                    .modseq = e->modseq,
                                    .size = e->size,
                                    .time_ms = (uint64_t)e->time_ms,
                                    .saved_ms = (uint64_t)e->saved_ms,
                                    .email = e->message,
                                    .structure = e->structure};
}

static void run_list(struct work *work, void *reader)
{
    struct list_read *l = (struct list_read *)work;
    struct store_entry *entries = mem_array(l->count, sizeof *entries);
    l->rows = arena_array(&l->r.arena, l->count, sizeof *l->rows);
    l->r.rc = l->rows ? store_entries_read(reader, l->r.account, l->mailbox, &l->q, &l->r.arena, entries,
                                           l->count, &l->row_count, &l->done_to)
                      : BRANT_ELIMIT;
    if (l->r.rc == BRANT_OK) {
        for (size_t i = 0; i < l->row_count; i++)
            l->rows[i] = row_of(&entries[i]);
        if (l->fields & IMAP_ENTRY_FLAGS)
            l->keywords =
                request_keywords_read(reader, &l->r.arena, l->r.account, l->mailbox, l->keywords_known);
    }
    free(entries);
}

static void answer_list(struct peer *p, struct session *session, struct request_read *r)
{
    struct list_read *l = (struct list_read *)r;
    struct ipc_message m = {.type = IPC_TYPE_MESSAGE_ROWS, .tag = r->read.tag};
    (void)session;
    if (r->rc == BRANT_OK)
        m.message_rows = (struct ipc_message_rows){.done_to = l->done_to,
                                                   .keywords = l->keywords,
                                                   .rows = l->rows,
                                                   .rows_count = (uint32_t)l->row_count};
    m.message_rows.status = (uint8_t)server_status_of(r->rc);
    server_send(p, &m);
}

void on_message_list(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_message_list *q = &m->message_list;
    struct session *session = request_session(sv, p, &q->session);
    if (!session)
        return;
    struct list_read *l = request_read_new(p, session, m->tag, sizeof *l, LIST_ARENA, run_list, answer_list);
    l->mailbox = q->mailbox;
    l->fields = q->fields;
    l->count = q->count;
    l->keywords_known = q->keywords_known;
    l->q = (struct store_entries_query){.flags_all = q->flags_all,
                                        .flags_none = q->flags_none,
                                        .modseq = q->modseq,
                                        .structures = q->fields & IMAP_ENTRY_STRUCTURE,
                                        .structure_bytes = IPC_STRUCTURES_MAX};
    if (q->count > 0 && fields_ranges(&l->r.arena, q->ranges, &l->q.ranges, &l->q.range_count)) {
        request_read_start(p, session, &l->r);
        return;
    }
    request_read_free(&l->r);
    server_fault(p, "UIDs that are no UIDs");
}

/* ---- changing them ---- */

struct change_op {
    struct op op;
    struct request request;
    uint64_t account, mailbox;
    uint8_t action;     /* enum ipc_message_action */
    struct span target; /* its name, in the arena */
    unsigned tries;     /* to find it */
    size_t keywords_known;
};

static const struct {
    uint8_t kind, flags; /* enum store_op_kind, enum store_flag_action */
} actions[IPC_MESSAGES_ACTION_COUNT] = {
    [IPC_MESSAGES_FLAGS_ADD] = {STORE_OP_FLAGS, STORE_FLAGS_ADD},
    [IPC_MESSAGES_FLAGS_REMOVE] = {STORE_OP_FLAGS, STORE_FLAGS_REMOVE},
    [IPC_MESSAGES_FLAGS_REPLACE] = {STORE_OP_FLAGS, STORE_FLAGS_REPLACE},
    [IPC_MESSAGES_EXPUNGE] = {STORE_OP_EXPUNGE, 0},
    [IPC_MESSAGES_COPY] = {STORE_OP_COPY, 0},
    [IPC_MESSAGES_MOVE] = {STORE_OP_MOVE, 0},
};

static bool has_target(uint8_t action)
{
    return action == IPC_MESSAGES_COPY || action == IPC_MESSAGES_MOVE;
}

static enum ipc_status change_status(uint8_t action, int rc)
{
    if (rc == BRANT_EREFUSED)
        return action == IPC_MESSAGES_COPY ? IPC_OVER_QUOTA : IPC_REFUSED;
    if (rc == BRANT_ELIMIT)
        return IPC_TOO_MANY;
    return server_status_of(rc);
}

static void send_refusal(struct peer *p, uint32_t tag, enum ipc_status status)
{
    server_send(p, &(struct ipc_message){.type = IPC_TYPE_MESSAGES_CHANGED,
                                         .tag = tag,
                                         .messages_changed = {.status = (uint8_t)status}});
}

static void change_free(struct change_op *c)
{
    request_end(c->op.sv, &c->request);
    op_free(&c->op);
}

static void change_refuse(struct change_op *c, enum ipc_status status)
{
    struct peer *p = server_peer(c->op.sv, c->op.peer);
    if (p)
        send_refusal(p, c->op.tag, status);
    change_free(c);
}

static void change_done(struct change_op *c, struct span keywords)
{
    const struct store_change *s = &c->op.store.change;
    struct peer *p = server_peer(c->op.sv, c->op.peer);
    struct ipc_message m = {.type = IPC_TYPE_MESSAGES_CHANGED, .tag = c->op.tag};
    m.messages_changed =
        (struct ipc_messages_changed){.done_to = s->done_to,
                                      .modseq = s->modseq,
                                      .modseq_before = s->modseq_before,
                                      .modified = fields_ranges_put(&c->op.arena, &s->modified),
                                      .uids = fields_ranges_put(&c->op.arena, &s->touched),
                                      .target_first = s->target_first,
                                      .target_uidvalidity = s->target_uidvalidity,
                                      .keywords = keywords,
                                      .keywords_full = s->keywords_full};
    if (p)
        server_send(p, &m);
    change_free(c);
}

/* A change may need to read before, for the target, and after, for the names of the keywords it made. */
struct change_read {
    struct request_read r;
    struct change_op *c;
    bool source_missing;
    uint64_t target;
    struct span keywords;
};

static void drop_change(struct request_read *r)
{
    change_free(((struct change_read *)r)->c);
}

/* False: there is nobody to answer any more; the change was freed. */
static bool change_read_start(struct change_op *c, void (*run)(struct work *work, void *reader),
                              void (*answer)(struct peer *p, struct session *session, struct request_read *r))
{
    struct server *sv = c->op.sv;
    struct peer *p = server_peer(sv, c->op.peer);
    struct session *session = sessions_find_serial(&sv->sessions, c->request.session);
    if (!p || !session) {
        change_free(c);
        return false;
    }
    struct change_read *r =
        request_read_new(p, session, c->op.tag, sizeof *r, 2 * IPC_KEYWORDS_MAX, run, answer);
    r->c = c;
    r->r.drop = drop_change;
    if (server_read(sv, &r->r.read)) /* the change counts for both */
        return true;
    r->r.rc = BRANT_ETRYLATER;
    answer(p, session, &r->r);
    request_read_free(&r->r);
    return true;
}

static void run_keywords(struct work *work, void *reader)
{
    struct change_read *r = (struct change_read *)work;
    r->keywords =
        request_keywords_read(reader, &r->r.arena, r->c->account, r->c->mailbox, r->c->keywords_known);
}

static void answer_keywords(struct peer *p, struct session *session, struct request_read *r)
{
    struct change_read *x = (struct change_read *)r;
    (void)p;
    (void)session;
    change_done(x->c, x->keywords); /* without them they are told the next time */
}

static void run_target(struct work *work, void *reader)
{
    struct change_read *r = (struct change_read *)work;
    struct store_mailbox_info info = {0};
    r->r.rc = store_mailbox_get(reader, r->c->account, r->c->mailbox, &info);
    r->source_missing = r->r.rc == BRANT_ENOTFOUND;
    if (r->r.rc == BRANT_OK)
        r->r.rc = store_mailbox_find(reader, r->c->account, r->c->target, &info);
    r->target = info.mailbox;
}

static void answer_target(struct peer *p, struct session *session, struct request_read *r)
{
    struct change_read *x = (struct change_read *)r;
    (void)p;
    (void)session;
    if (r->rc == BRANT_OK) {
        x->c->op.store.change.target = x->target;
        op_submit(&x->c->op);
    } else if (r->rc == BRANT_ENOTFOUND && !x->source_missing) {
        change_refuse(x->c, IPC_EXISTS);
    } else {
        change_refuse(x->c, server_status_of(r->rc));
    }
}

static void change_finish(struct op *op)
{
    struct change_op *c = (struct change_op *)op;
    int rc = op->store.result;
    if (rc == BRANT_ENOTFOUND && has_target(c->action) && ++c->tries < TARGET_TRIES)
        (void)change_read_start(c, run_target, answer_target); /* which of them went meanwhile? */
    else if (rc != BRANT_OK)
        change_refuse(c, change_status(c->action, rc));
    else if (op->store.change.keywords.count > 0)
        (void)change_read_start(c, run_keywords, answer_keywords);
    else
        change_done(c, SPAN_NONE);
}

static bool change_makes_sense(const struct ipc_message_change *q)
{
    return q->mailbox != 0 && (q->flags & ~(uint64_t)IMAP_FLAGS_SYSTEM) == 0 &&
           (!has_target(q->action) || fields_name(q->target));
}

/* False: it makes no sense. */
static bool change_fill(struct change_op *c, const struct session *session,
                        const struct ipc_message_change *q)
{
    struct arena *a = &c->op.arena;
    struct store_change *s = &c->op.store.change;
    c->op.store.kind = actions[q->action].kind;
    *s = (struct store_change){.account = session->account, .mailbox = q->mailbox};
    memcpy(s->session, session->id.b, sizeof s->session);
    if (!fields_ranges(a, q->ranges, &s->ranges, &s->range_count) ||
        !fields_keywords(a, q->keywords, &s->keywords))
        return false;
    if (q->action == IPC_MESSAGES_EXPUNGE) {
        s->flags_all = IMAP_FLAG_DELETED;
    } else if (has_target(q->action)) {
        s->touched = fields_ranges_room(a, IPC_RANGES_MAX);
        c->target = arena_dup(a, q->target);
    } else {
        s->action = actions[q->action].flags;
        s->flags = q->flags;
        s->has_unchanged_since = q->has_unchanged_since;
        s->unchanged_since = q->unchanged_since;
        if (q->has_unchanged_since)
            s->modified = fields_ranges_room(a, STORE_UIDS_MAX);
    }
    return true;
}

void on_message_change(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_message_change *q = &m->message_change;
    struct session *session = request_session(sv, p, &q->session);
    if (!session)
        return;
    struct change_op *c = op_new(sv, sizeof *c, CHANGE_ARENA);
    c->op.peer = p->sessions.channel;
    c->op.tag = m->tag;
    c->op.finish = change_finish;
    c->account = session->account;
    c->mailbox = q->mailbox;
    c->action = q->action;
    c->keywords_known = q->keywords_known;
    if (!change_makes_sense(q) || !change_fill(c, session, q)) {
        op_free(&c->op);
        server_fault(p, "a change of messages that makes no sense");
    } else if (!request_begin(&c->request, p, session, c->op.arena.used)) {
        op_free(&c->op);
        send_refusal(p, m->tag, IPC_TRY_LATER);
    } else if (has_target(q->action)) {
        (void)change_read_start(c, run_target, answer_target);
    } else {
        op_submit(&c->op);
    }
}
