#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "log/log.h"
#include "os/clock.h"
#include "roles/imap/session_internal.h"

/* ---- LIST, STATUS ---- */

static struct imap_mailbox mailbox_of(const struct ipc_mailbox_row *r)
{
    return (struct imap_mailbox){.name = r->name,
                                 .exists = r->exists,
                                 .subscribed = r->subscribed,
                                 .uses = r->uses,
                                 .status = {.messages = r->messages,
                                            .recent = r->recent,
                                            .uidnext = r->uidnext,
                                            .uidvalidity = r->uidvalidity,
                                            .unseen = r->unseen,
                                            .deleted = r->deleted,
                                            .size = r->size,
                                            .modseq = r->modseq,
                                            .mailbox = r->mailbox}};
}

void imap_ask_list(struct imap_session *s)
{
    uint32_t count = s->asked.count < IPC_MAILBOX_ROWS_MAX ? s->asked.count : IPC_MAILBOX_ROWS_MAX;
    struct ipc_message m = {.type = IPC_TYPE_MAILBOX_LIST,
                            .mailbox_list = {.session = s->edge.peer.session,
                                             .after = s->asked.name,
                                             .count = count,
                                             .status = s->asked.status}};

    imap_session_question(s, &m);
}

void imap_answer_list(struct imap_session *s, const struct ipc_message *m)
{
    const struct ipc_mailbox_rows *r = &m->mailbox_rows;
    struct imap_mailbox *boxes = s->shared->scratch.boxes;

    if (r->status != IPC_OK || (r->more && r->rows_count == 0)) {
        imap_session_failed(s, imap_session_failure(r->status ? r->status : IPC_FAILED));
        return;
    }
    for (uint32_t i = 0; i < r->rows_count; i++)
        boxes[i] = mailbox_of(&r->rows[i]);
    imap_session_given(s, imap_server_list(s->engine, boxes, r->rows_count, r->more));
}

void imap_ask_status(struct imap_session *s)
{
    struct ipc_message m = {.type = IPC_TYPE_MAILBOX_STATUS,
                            .mailbox_status = {.session = s->edge.peer.session,
                                               .name = s->asked.name,
                                               .status = s->asked.status}};

    imap_session_question(s, &m);
}

void imap_answer_status(struct imap_session *s, const struct ipc_message *m)
{
    const struct ipc_mailbox_rows *r = &m->mailbox_rows;

    if (r->status != IPC_OK || r->rows_count != 1 || !r->rows[0].exists) {
        imap_session_failed(s, imap_session_failure(r->status ? r->status : IPC_NOT_FOUND));
        return;
    }
    struct imap_mailbox box = mailbox_of(&r->rows[0]);

    imap_session_given(s, imap_server_status(s->engine, &box.status));
}

/* ---- CREATE, DELETE, RENAME, SUBSCRIBE ---- */

static enum ipc_mailbox_action action_of(const struct imap_event *e)
{
    switch (e->type) {
    case IMAP_EVENT_CREATE:
        return IPC_MAILBOX_CREATE;
    case IMAP_EVENT_DELETE:
        return IPC_MAILBOX_DELETE;
    case IMAP_EVENT_RENAME:
        return IPC_MAILBOX_RENAME;
    default:
        return e->yes ? IPC_MAILBOX_SUBSCRIBE : IPC_MAILBOX_UNSUBSCRIBE;
    }
}

void imap_ask_mailbox(struct imap_session *s)
{
    struct ipc_message m = {.type = IPC_TYPE_MAILBOX_CHANGE,
                            .mailbox_change = {.session = s->edge.peer.session,
                                               .action = (uint8_t)action_of(&s->asked),
                                               .again = s->again,
                                               .name = s->asked.name,
                                               .target = s->asked.target,
                                               .uses = s->asked.uses}};

    imap_session_question(s, &m);
}

static void log_mailbox(const struct imap_session *s, uint8_t status)
{
    static const char *const actions[IPC_MAILBOX_ACTION_COUNT] = {
        [IPC_MAILBOX_CREATE] = "create", [IPC_MAILBOX_DELETE] = "delete", [IPC_MAILBOX_RENAME] = "rename"};
    const char *action = actions[action_of(&s->asked)];

    if (action)
        log_event(LOG_INFO, "imap-mailbox", LOG_HEX("session", edge_session(&s->edge)),
                  LOG_SPAN("account", buf_span(&s->edge.address)), LOG_STR("action", action),
                  LOG_SPAN("mailbox", s->asked.name), LOG_SPAN("to", s->asked.target),
                  LOG_STR("result", ipc_status_text(status)));
}

/* Was it done by the store that died before it answered? Of a mailbox that is not where it was, nobody can
 * tell. */
static bool rename_in_doubt(const struct imap_session *s, uint8_t status)
{
    return s->asked.type == IMAP_EVENT_RENAME && s->again &&
           (status == IPC_NOT_FOUND || status == IPC_EXISTS);
}

void imap_answer_mailbox(struct imap_session *s, const struct ipc_message *m)
{
    const struct ipc_mailbox_changed *r = &m->mailbox_changed;

    log_mailbox(s, r->status);
    if (rename_in_doubt(s, r->status))
        imap_session_failed(s, IMAP_FAIL_TRY_LATER);
    else if (r->status == IPC_REFUSED)
        imap_session_failed(s, s->asked.uses ? IMAP_FAIL_USE : IMAP_FAIL_DENIED);
    else if (r->status != IPC_OK)
        imap_session_failed(s, imap_session_failure(r->status));
    else if (s->asked.type == IMAP_EVENT_CREATE)
        imap_session_given(s, imap_server_created(s->engine, r->mailbox));
    else
        imap_session_given(s, imap_server_done(s->engine));
}

/* ---- SELECT ---- */

void imap_mailbox_watch(struct imap_session *s)
{
    const struct ipc_message m = {.type = IPC_TYPE_MAILBOX_WATCH,
                                  .mailbox_watch = {.session = s->edge.peer.session,
                                                    .mailbox = s->mailbox,
                                                    .read_only = s->mailbox && s->read_only}};

    imap_session_tell(s, &m);
}

void imap_opening_free(struct imap_session *s)
{
    if (s->opening)
        buf_done(&s->opening->keywords);
    free(s->opening);
    s->opening = NULL;
}

void imap_mailbox_left(struct imap_session *s)
{
    imap_opening_free(s);
    s->news_missed = false;
    s->keywords_known = 0;
    s->look_at_ms = 0;
    buf_done(&s->mailbox_name);
    if (s->mailbox) {
        s->mailbox = 0;
        imap_mailbox_watch(s);
    }
}

void imap_ask_open(struct imap_session *s)
{
    struct ipc_message open = {
        .type = IPC_TYPE_MAILBOX_OPEN,
        .mailbox_open = {.session = s->edge.peer.session, .name = s->asked.name, .read_only = s->asked.yes}};
    struct ipc_message uids = {.type = IPC_TYPE_UIDS_READ,
                               .uids_read = {.session = s->edge.peer.session, .mailbox = s->mailbox}};

    if (s->opening) { /* the UIDs that came before a restart of the store are good: what went is told later */
        uids.uids_read.first = s->opening->next;
        uids.uids_read.last = s->opening->opened.uidnext - 1;
        imap_session_question(s, &uids);
    } else {
        imap_session_question(s, &open);
    }
}

static void opened(struct imap_session *s)
{
    int rc = imap_server_opened(s->engine, &s->opening->opened);

    s->keywords_known = (uint32_t)s->opening->opened.keywords.count;
    imap_opening_free(s);
    if (s->news_missed)
        imap_server_notice(s->engine, UINT64_MAX);
    s->news_missed = false;
    imap_session_given(s, rc);
}

static void open_failed(struct imap_session *s, enum imap_failure failure)
{
    imap_mailbox_left(s);
    imap_session_failed(s, failure);
}

static void answer_opened(struct imap_session *s, const struct ipc_mailbox_opened *r)
{
    struct imap_opening *o;

    if (r->status != IPC_OK || r->mailbox == 0) {
        open_failed(s, imap_session_failure(r->status ? r->status : IPC_FAILED));
        return;
    }
    s->mailbox = r->mailbox;
    s->read_only = s->asked.yes;
    buf_reset(&s->mailbox_name);
    buf_append(&s->mailbox_name, s->asked.name);
    s->opening = o = mem_zalloc(sizeof *o);
    o->next = 1;
    buf_init(&o->keywords, IPC_KEYWORDS_MAX);
    buf_append(&o->keywords, r->keywords);
    o->opened = (struct imap_opened){.mailbox = r->mailbox,
                                     .uidvalidity = r->uidvalidity,
                                     .uidnext = r->uidnext,
                                     .modseq = r->modseq,
                                     .unseen = r->unseen,
                                     .recent_from = r->recent_from,
                                     .read_only = s->asked.yes};
    imap_keywords_get(buf_span(&o->keywords), &o->opened.keywords);
    o->opened.keywords_full = o->opened.keywords.count == IMAP_KEYWORDS_MAX;
    if (r->messages == 0 || r->uidnext <= 1)
        opened(s);
    else
        imap_ask_open(s);
}

static void answer_uids(struct imap_session *s, const struct ipc_uids *r)
{
    uint32_t last = s->opening->opened.uidnext - 1;
    int rc;

    if (r->status != IPC_OK || (r->done_to < last && r->done_to < s->opening->next)) {
        open_failed(s, imap_session_failure(r->status ? r->status : IPC_FAILED));
        return;
    }
    rc = imap_server_view(s->engine, s->shared->scratch.ranges[0], imap_ranges_get(s, r->ranges, 0));
    if (rc != BRANT_OK) {
        open_failed(s, rc == BRANT_ELIMIT ? IMAP_FAIL_LIMIT : IMAP_FAIL_TRY_LATER);
    } else if (r->done_to < last) {
        s->opening->next = r->done_to + 1;
        s->waiting_since_ms = os_clock_mono_ms();
        imap_ask_open(s);
    } else {
        opened(s);
    }
}

void imap_answer_open(struct imap_session *s, const struct ipc_message *m)
{
    if (m->type == IPC_TYPE_MAILBOX_OPENED && !s->opening)
        answer_opened(s, &m->mailbox_opened);
    else if (m->type == IPC_TYPE_UIDS && s->opening)
        answer_uids(s, &m->uids);
}
