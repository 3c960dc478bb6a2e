/* Mailboxes: listing, counting, making, renaming, removing them, and selecting one. */
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "imap/name.h"
#include "imap/server.h"
#include "roles/store/requests.h"

enum {
    LIST_ARENA = IPC_MAILBOX_ROWS_MAX * (IPC_MAILBOX_NAME_MAX + 512),
    NAME_ARENA = 4 * IPC_MAILBOX_NAME_MAX,
    OPEN_ARENA = NAME_ARENA + 2 * IPC_KEYWORDS_MAX,
    USES_ALL = 255 /* enum imap_special_use */
};

static uint32_t least_u32(uint64_t n)
{
    return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

/* ---- LIST, STATUS ---- */

struct list_read {
    struct request_read r;
    struct span name; /* LIST: behind it; STATUS: of it */
    uint32_t count, status;
    struct ipc_mailbox_row *rows; /* in the arena */
    size_t row_count;
};

static struct ipc_mailbox_row row_of(struct store_reader *reader, const struct list_read *l,
                                     const struct store_mailbox_row *row)
{
    const struct store_mailbox_info *i = &row->info;
    uint32_t recent = 0;
    struct ipc_mailbox_row ret = {.name = row->name, .subscribed = row->subscribed};
    if (!row->exists)
        return ret;
    if (l->status & IMAP_STATUS_RECENT && i->recent_from < i->uidnext)
        (void)store_count_from(reader, l->r.account, i->mailbox, i->recent_from, &recent); /* gone: none */
    ret.exists = 1;
    ret.uses = i->uses;
    ret.mailbox = i->mailbox;
    ret.messages = least_u32(i->messages);
    ret.recent = recent;
    ret.uidnext = i->uidnext;
    ret.uidvalidity = i->uidvalidity;
    ret.unseen = least_u32(i->unseen);
    ret.deleted = least_u32(i->deleted);
    ret.size = i->bytes;
    ret.modseq = i->modseq;
    return ret;
}

static void run_list(struct work *work, void *reader)
{
    struct list_read *l = (struct list_read *)work;
    struct store_mailbox_row *rows = mem_array(l->count, sizeof *rows);
    l->rows = arena_array(&l->r.arena, l->count, sizeof *l->rows);
    l->r.rc = l->rows ? store_mailboxes_list(reader, l->r.account, l->name, &l->r.arena, rows, l->count,
                                             &l->row_count)
                      : BRANT_ELIMIT;
    if (l->r.rc != BRANT_OK)
        l->row_count = 0;
    for (size_t i = 0; i < l->row_count; i++)
        l->rows[i] = row_of(reader, l, &rows[i]);
    free(rows);
}

static void run_status(struct work *work, void *reader)
{
    struct list_read *l = (struct list_read *)work;
    struct store_mailbox_row row = {.name = l->name, .exists = true};
    l->rows = arena_alloc(&l->r.arena, sizeof *l->rows);
    l->r.rc = l->rows ? store_mailbox_find(reader, l->r.account, l->name, &row.info) : BRANT_ELIMIT;
    if (l->r.rc != BRANT_OK)
        return;
    l->rows[0] = row_of(reader, l, &row);
    l->row_count = 1;
}

static void answer_rows(struct peer *p, struct session *session, struct request_read *r)
{
    struct list_read *l = (struct list_read *)r;
    struct ipc_message m = {.type = IPC_TYPE_MAILBOX_ROWS, .tag = r->read.tag};
    (void)session;
    m.mailbox_rows.status = (uint8_t)server_status_of(r->rc);
    m.mailbox_rows.rows = l->rows;
    m.mailbox_rows.rows_count = (uint32_t)l->row_count;
    m.mailbox_rows.more = l->count > 0 && l->row_count == l->count;
    server_send(p, &m);
}

void on_mailbox_list(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_mailbox_list *q = &m->mailbox_list;
    struct session *session = request_session(sv, p, &q->session);
    if (!session)
        return;
    if (q->count == 0) {
        server_fault(p, "a list of no mailboxes");
        return;
    }
    struct list_read *l = request_read_new(p, session, m->tag, sizeof *l, LIST_ARENA, run_list, answer_rows);
    l->name = arena_dup(&l->r.arena, q->after); /* only compared */
    l->count = q->count;
    l->status = q->status;
    request_read_start(p, session, &l->r);
}

void on_mailbox_status(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_mailbox_status *q = &m->mailbox_status;
    struct session *session = request_session(sv, p, &q->session);
    if (!session)
        return;
    if (!fields_name(q->name)) {
        server_fault(p, "a mailbox's name that cannot be");
        return;
    }
    struct list_read *l =
        request_read_new(p, session, m->tag, sizeof *l, NAME_ARENA, run_status, answer_rows);
    l->name = arena_dup(&l->r.arena, q->name);
    l->status = q->status;
    request_read_start(p, session, &l->r);
}

/* ---- CREATE, DELETE, RENAME, SUBSCRIBE ---- */

struct change_op {
    struct op op;
    struct request request;
    struct ipc_id session;
    uint64_t account;
    uint8_t action; /* enum ipc_mailbox_action */
    bool again;
    bool empties; /* RENAME of INBOX: a mailbox is made, and then takes its messages */
    bool moving;  /* … it has been made */
    uint64_t mailbox;
    struct span name, target; /* in the arena */
    struct store_range range; /* moving: what is left */
};

static const uint8_t actions[IPC_MAILBOX_ACTION_COUNT] = {
    [IPC_MAILBOX_CREATE] = STORE_MAILBOX_CREATE,           [IPC_MAILBOX_DELETE] = STORE_MAILBOX_DELETE,
    [IPC_MAILBOX_RENAME] = STORE_MAILBOX_RENAME,           [IPC_MAILBOX_SUBSCRIBE] = STORE_MAILBOX_SUBSCRIBE,
    [IPC_MAILBOX_UNSUBSCRIBE] = STORE_MAILBOX_UNSUBSCRIBE,
};

static enum ipc_status change_status(uint8_t action, int rc)
{
    if (rc == BRANT_EREFUSED) /* a use that is taken, or this with the INBOX */
        return action == IPC_MAILBOX_CREATE ? IPC_REFUSED : IPC_INVALID;
    if (rc == BRANT_ELIMIT)
        return IPC_TOO_MANY;
    return server_status_of(rc);
}

static void changed(struct peer *p, uint32_t tag, enum ipc_status status, uint64_t mailbox)
{
    server_send(p, &(struct ipc_message){.type = IPC_TYPE_MAILBOX_CHANGED,
                                         .tag = tag,
                                         .mailbox_changed = {.status = (uint8_t)status, .mailbox = mailbox}});
}

static void change_end(struct change_op *c, enum ipc_status status)
{
    struct server *sv = c->op.sv;
    struct peer *p = server_peer(sv, c->op.peer);
    if (p)
        changed(p, c->op.tag, status, status == IPC_OK ? c->mailbox : 0);
    request_end(sv, &c->request);
    op_free(&c->op);
}

/* Takes the next slice of the INBOX's messages over. */
static void move_slice(struct change_op *c, uint32_t first)
{
    c->moving = true;
    c->range = (struct store_range){first, UINT32_MAX};
    c->op.store.kind = STORE_OP_MOVE;
    c->op.store.change = (struct store_change){
        .account = c->account, .ranges = &c->range, .range_count = 1, .target = c->mailbox};
    memcpy(c->op.store.change.session, c->session.b, sizeof c->session.b);
    op_submit(&c->op);
}

/* What a CREATE that was asked for again had made: its id is looked up. */
struct again_read {
    struct request_read r;
    struct change_op *c;
    struct store_mailbox_info info;
};

static void run_again(struct work *work, void *reader)
{
    struct again_read *a = (struct again_read *)work;
    a->r.rc = store_mailbox_find(reader, a->r.account, a->c->empties ? a->c->target : a->c->name, &a->info);
}

static void answer_again(struct peer *p, struct session *session, struct request_read *r)
{
    struct again_read *a = (struct again_read *)r;
    (void)p;
    (void)session;
    a->c->mailbox = a->info.mailbox;
    if (r->rc == BRANT_OK && a->c->empties)
        move_slice(a->c, 1);
    else
        change_end(a->c, server_status_of(r->rc));
}

static void drop_again(struct request_read *r)
{
    struct again_read *a = (struct again_read *)r;
    change_end(a->c, IPC_TRY_LATER);
}

static void look_again(struct change_op *c)
{
    struct server *sv = c->op.sv;
    struct peer *p = server_peer(sv, c->op.peer);
    struct session *session = sessions_find_serial(&sv->sessions, c->request.session);
    if (!p || !session) {
        change_end(c, IPC_TRY_LATER);
        return;
    }
    struct again_read *a =
        request_read_new(p, session, c->op.tag, sizeof *a, NAME_ARENA, run_again, answer_again);
    a->c = c;
    a->r.drop = drop_again;
    request_read_start(p, session, &a->r);
}

static void change_finish(struct op *op)
{
    struct change_op *c = (struct change_op *)op;
    int rc = op->store.result;
    if (c->moving) {
        uint32_t done_to = op->store.change.done_to;
        if (rc == BRANT_OK && done_to < UINT32_MAX)
            move_slice(c, done_to + 1);
        else
            change_end(c, change_status(c->action, rc));
        return;
    }
    bool makes = c->action == IPC_MAILBOX_CREATE || c->empties;
    if (c->again && makes && rc == BRANT_EEXISTS) {
        look_again(c);
        return;
    }
    if (c->again && c->action == IPC_MAILBOX_DELETE && rc == BRANT_ENOTFOUND)
        rc = BRANT_OK;
    if (makes)
        c->mailbox = op->store.mailbox.mailbox;
    if (rc == BRANT_OK && c->empties)
        move_slice(c, 1);
    else
        change_end(c, change_status(makes ? IPC_MAILBOX_CREATE : c->action, rc));
}

static bool change_makes_sense(const struct ipc_mailbox_change *q)
{
    bool renames = q->action == IPC_MAILBOX_RENAME;
    return fields_name(q->name) && (!renames || fields_name(q->target)) &&
           (q->uses & ~(uint32_t)USES_ALL) == 0;
}

void on_mailbox_change(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_mailbox_change *q = &m->mailbox_change;
    struct session *session = request_session(sv, p, &q->session);
    if (!session)
        return;
    if (!change_makes_sense(q)) {
        server_fault(p, "a change of mailboxes that makes no sense");
        return;
    }
    struct request request;
    if (!request_begin(&request, p, session, q->name.len + q->target.len)) {
        changed(p, m->tag, IPC_TRY_LATER, 0);
        return;
    }
    struct change_op *c = op_new(sv, sizeof *c, NAME_ARENA);
    c->request = request;
    c->session = session->id;
    c->account = session->account;
    c->op.peer = p->sessions.channel;
    c->op.tag = m->tag;
    c->op.finish = change_finish;
    c->action = q->action;
    c->again = q->again;
    c->empties = q->action == IPC_MAILBOX_RENAME && imap_name_is_inbox(q->name);
    c->name = arena_dup(&c->op.arena, q->name);
    c->target = arena_dup(&c->op.arena, q->target);
    c->op.store.kind = STORE_OP_MAILBOX;
    /* RFC 3501 6.3.5: INBOX stays, and what lies beneath it too. */
    c->op.store.mailbox =
        (struct store_mailbox_op){.account = session->account,
                                  .action = c->empties ? STORE_MAILBOX_CREATE : actions[q->action],
                                  .name = c->empties ? c->target : c->name,
                                  .target = c->empties ? SPAN_NONE : c->target,
                                  .uses = q->action == IPC_MAILBOX_CREATE ? q->uses : 0};
    op_submit(&c->op);
}

/* ---- SELECT ---- */

/* Twice: by name, and when it is watched and nothing is missed any more, what it is like. */
struct open_read {
    struct request_read r;
    struct span name, keywords;
    bool read_only;
    uint64_t turn; /* the session's when it asked */
    struct store_mailbox_info info;
    uint32_t unseen, recent_from;
};

static void run_find(struct work *work, void *reader)
{
    struct open_read *o = (struct open_read *)work;
    o->r.rc = store_mailbox_find(reader, o->r.account, o->name, &o->info);
}

static int open_numbers(struct open_read *o, struct store_reader *reader)
{
    uint64_t account = o->r.account, mailbox = o->info.mailbox;
    /* First: what is recent now is in the mailbox afterwards. */
    int rc = o->read_only ? BRANT_OK : store_recent_claim(reader, account, mailbox, &o->recent_from);
    if (rc == BRANT_OK)
        rc = store_mailbox_get(reader, account, mailbox, &o->info);
    if (rc == BRANT_OK)
        rc = store_first_unseen(reader, account, mailbox, &o->unseen);
    if (rc == BRANT_OK && o->read_only && o->info.recent_from < o->info.uidnext)
        o->recent_from = o->info.recent_from;
    return rc;
}

static void run_open(struct work *work, void *reader)
{
    struct open_read *o = (struct open_read *)work;
    o->r.rc = open_numbers(o, reader);
    if (o->r.rc == BRANT_OK)
        o->keywords = request_keywords_read(reader, &o->r.arena, o->r.account, o->info.mailbox, 0);
}

static void answer_open(struct peer *p, struct session *session, struct request_read *r)
{
    struct open_read *o = (struct open_read *)r;
    struct ipc_message m = {.type = IPC_TYPE_MAILBOX_OPENED, .tag = r->read.tag};
    struct ipc_mailbox_opened *a = &m.mailbox_opened;
    if (r->rc == BRANT_OK)
        *a = (struct ipc_mailbox_opened){.mailbox = o->info.mailbox,
                                         .uidvalidity = o->info.uidvalidity,
                                         .uidnext = o->info.uidnext,
                                         .modseq = o->info.modseq,
                                         .messages = least_u32(o->info.messages),
                                         .unseen = o->unseen,
                                         .recent_from = o->recent_from,
                                         .keywords = o->keywords};
    else if (session->watch_turn == o->turn)
        watches_clear(p->server, session);
    a->status = (uint8_t)server_status_of(r->rc);
    server_send(p, &m);
    struct session_watch *watch = r->rc == BRANT_OK ? watches_of(session, o->info.mailbox) : NULL;
    if (watch)
        watches_answered(&p->server->watches, watch, o->info.modseq, false);
}

static void answer_find(struct peer *p, struct session *session, struct request_read *r)
{
    struct open_read *o = (struct open_read *)r;
    if (r->rc == BRANT_OK && session->watch_turn != o->turn) /* it has left again */
        r->rc = BRANT_ETRYLATER;
    if (r->rc == BRANT_OK)
        r->rc = watches_set(p->server, session, o->info.mailbox, o->read_only);
    if (r->rc == BRANT_OK && !request_read_go(r, run_open, answer_open))
        r->rc = BRANT_ETRYLATER;
    if (r->rc != BRANT_OK)
        answer_open(p, session, r);
}

void on_mailbox_open(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_mailbox_open *q = &m->mailbox_open;
    struct session *session = request_session(sv, p, &q->session);
    if (!session)
        return;
    if (!fields_name(q->name)) {
        server_fault(p, "a mailbox's name that cannot be");
        return;
    }
    watches_clear(sv, session);
    struct open_read *o = request_read_new(p, session, m->tag, sizeof *o, OPEN_ARENA, run_find, answer_find);
    o->name = arena_dup(&o->r.arena, q->name);
    o->read_only = q->read_only;
    o->turn = ++session->watch_turn;
    request_read_start(p, session, &o->r);
}
