#include "base/err.h"
#include "log/log.h"
#include "roles/imap/session_internal.h"

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Up to where an answer goes: not beyond what was asked. */
static uint32_t done_to(const struct imap_session *s, uint32_t answered)
{
    return least(answered, imap_ranges_last(&s->asked));
}

/* ---- ENTRIES, READ ---- */

void imap_ask_entries(struct imap_session *s)
{
    const struct imap_event *e = &s->asked;
    struct ipc_message m = {.type = IPC_TYPE_MESSAGE_LIST,
                            .message_list = {.session = s->edge.peer.session,
                                             .mailbox = s->mailbox,
                                             .ranges = imap_ranges_put(s),
                                             .fields = e->fields,
                                             .flags_all = e->flags_all,
                                             .flags_none = e->flags_none,
                                             .modseq = e->modseq,
                                             .count = least(e->count, IPC_ENTRIES_MAX),
                                             .keywords_known = s->keywords_known}};

    imap_session_question(s, &m);
}

static struct imap_entry entry_of(const struct ipc_message_row *r)
{
    return (struct imap_entry){.uid = r->uid,
                               .flags = r->flags,
                               .modseq = r->modseq,
                               .size = r->size,
                               .time_ms = (int64_t)r->time_ms,
                               .saved_ms = (int64_t)r->saved_ms,
                               .email = r->email,
                               .structure = r->structure};
}

void imap_answer_entries(struct imap_session *s, const struct ipc_message *m)
{
    const struct ipc_message_rows *r = &m->message_rows;
    struct imap_entry *entries = s->shared->scratch.entries;

    if (r->status != IPC_OK) {
        imap_session_failed(s, imap_session_failure(r->status));
        return;
    }
    imap_keywords_tell(s, r->keywords, false);
    for (uint32_t i = 0; i < r->rows_count; i++)
        entries[i] = entry_of(&r->rows[i]);
    imap_session_given(s, imap_server_entries(s->engine, entries, r->rows_count, done_to(s, r->done_to)));
}

void imap_ask_read(struct imap_session *s)
{
    struct ipc_message m = {.type = IPC_TYPE_MESSAGE_READ,
                            .message_read = {.session = s->edge.peer.session,
                                             .mailbox = s->mailbox,
                                             .uid = s->asked.uid,
                                             .offset = s->asked.offset,
                                             .length = least(s->asked.size_bytes, IPC_CHUNK_MAX)}};

    imap_session_question(s, &m);
}

void imap_answer_read(struct imap_session *s, const struct ipc_message *m)
{
    const struct ipc_message_data *r = &m->message_data;

    if (r->status != IPC_OK || r->bytes.len == 0) /* fewer bytes than the message is said to have */
        imap_session_failed(s, imap_session_failure(r->status ? r->status : IPC_DAMAGED));
    else
        imap_session_given(s, imap_server_read_done(s->engine, r->bytes));
}

/* ---- STORE, EXPUNGE, COPY, MOVE ---- */

static enum ipc_message_action action_of(const struct imap_event *e)
{
    static const enum ipc_message_action flags[] = {[IMAP_STORE_ADD] = IPC_MESSAGES_FLAGS_ADD,
                                                    [IMAP_STORE_REMOVE] = IPC_MESSAGES_FLAGS_REMOVE,
                                                    [IMAP_STORE_REPLACE] = IPC_MESSAGES_FLAGS_REPLACE};

    if (e->type == IMAP_EVENT_STORE)
        return flags[e->action];
    if (e->type == IMAP_EVENT_EXPUNGE)
        return IPC_MESSAGES_EXPUNGE;
    return e->yes ? IPC_MESSAGES_MOVE : IPC_MESSAGES_COPY;
}

void imap_ask_change(struct imap_session *s)
{
    const struct imap_event *e = &s->asked;
    struct ipc_message m = {.type = IPC_TYPE_MESSAGE_CHANGE};
    bool store = e->type == IMAP_EVENT_STORE;
    _cleanup_buf_ struct buf keywords;

    buf_init(&keywords, IPC_KEYWORDS_MAX);
    if (e->type == IMAP_EVENT_COPY && !e->yes && e->range_count > IPC_RANGES_MAX) {
        imap_session_failed(s, IMAP_FAIL_LIMIT); /* RFC 3501 6.4.7: all or none, and so in one request */
        return;
    }
    if (store)
        imap_keywords_put(&keywords, e->keywords, e->keyword_count);
    m.message_change = (struct ipc_message_change){.session = s->edge.peer.session,
                                                   .mailbox = s->mailbox,
                                                   .action = (uint8_t)action_of(e),
                                                   .ranges = imap_ranges_put(s),
                                                   .flags = e->flags,
                                                   .keywords = buf_span(&keywords),
                                                   .has_unchanged_since = store && e->has_unchanged_since,
                                                   .unchanged_since = store ? e->modseq : 0,
                                                   .target = e->name,
                                                   .keywords_known = s->keywords_known};
    imap_session_question(s, &m);
}

static void answer_stored(struct imap_session *s, const struct ipc_messages_changed *r)
{
    struct imap_stored stored = {.done_to = done_to(s, r->done_to),
                                 .modseq = r->modseq,
                                 .modseq_before = r->modseq_before,
                                 .modified = s->shared->scratch.ranges[0],
                                 .modified_count = imap_ranges_get(s, r->modified, 0)};

    imap_keywords_tell(s, r->keywords, r->keywords_full);
    imap_session_given(s, imap_server_stored(s->engine, &stored));
}

static void log_change(const struct imap_session *s, const char *name)
{
    const struct imap_event *e = &s->asked;

    log_event(LOG_INFO, name, LOG_HEX("session", edge_session(&s->edge)),
              LOG_SPAN("account", buf_span(&s->edge.address)),
              LOG_SPAN("mailbox", buf_span(&s->mailbox_name)), LOG_SPAN("to", e->name),
              LOG_U64("first_uid", e->range_count ? e->ranges[0].first : 0),
              LOG_U64("last_uid", e->range_count ? e->ranges[e->range_count - 1].last : 0));
}

static void answer_copied(struct imap_session *s, const struct ipc_messages_changed *r)
{
    struct imap_copied copied = {.done_to = done_to(s, r->done_to),
                                 .uidvalidity = r->target_uidvalidity,
                                 .uids = s->shared->scratch.ranges[0],
                                 .count = imap_ranges_get(s, r->uids, 0),
                                 .target_first = r->target_first};

    s->copies++;
    log_change(s, s->asked.yes ? "imap-move" : "imap-copy");
    imap_session_given(s, imap_server_copied(s->engine, &copied));
}

static void change_failed(struct imap_session *s, uint8_t status)
{
    if (s->asked.type != IMAP_EVENT_COPY) {
        imap_session_failed(s, imap_session_failure(status));
    } else if (status == IPC_EXISTS) { /* the mailbox does, the target does not */
        imap_session_failed(s, IMAP_FAIL_NOT_FOUND);
    } else if (status == IPC_NOT_FOUND) { /* the mailbox is gone: the engine finds out */
        imap_session_failed(s, IMAP_FAIL_TRY_LATER);
        imap_server_notice(s->engine, UINT64_MAX);
    } else {
        imap_session_failed(s, imap_session_failure(status));
    }
}

void imap_answer_change(struct imap_session *s, const struct ipc_message *m)
{
    const struct ipc_messages_changed *r = &m->messages_changed;

    if (r->status != IPC_OK) {
        change_failed(s, r->status);
    } else if (s->asked.type == IMAP_EVENT_STORE) {
        answer_stored(s, r);
    } else if (s->asked.type == IMAP_EVENT_COPY) {
        answer_copied(s, r);
    } else {
        s->expunges++;
        log_change(s, "imap-expunge");
        imap_session_given(s, imap_server_expunged(s->engine, done_to(s, r->done_to)));
    }
}

/* ---- CHANGES, VANISHED ---- */

void imap_ask_changes(struct imap_session *s)
{
    const struct imap_event *e = &s->asked;
    struct ipc_message m = {.type = IPC_TYPE_CHANGES_READ,
                            .changes_read = {.session = s->edge.peer.session,
                                             .mailbox = s->mailbox,
                                             .modseq = e->modseq,
                                             .uid = e->uid,
                                             .vanished = e->vanished,
                                             .vanished_modseq = e->vanished_modseq,
                                             .vanished_from = e->vanished_from,
                                             .count = IMAP_CHANGES_RANGES_MAX,
                                             .keywords_known = s->keywords_known}};

    imap_session_question(s, &m);
}

void imap_answer_changes(struct imap_session *s, const struct ipc_message *m)
{
    const struct ipc_changes *r = &m->changes;

    if (r->status != IPC_OK) {
        imap_session_failed(s, imap_session_failure(r->status));
        return;
    }
    struct imap_changes changes = {.modseq = r->modseq,
                                   .more = r->more,
                                   .flags_changed = r->flags_changed,
                                   .arrived = s->shared->scratch.ranges[0],
                                   .arrived_count = imap_ranges_get(s, r->arrived, 0),
                                   .uidnext = r->uidnext,
                                   .recent_from = r->recent_from,
                                   .vanished = s->shared->scratch.ranges[1],
                                   .vanished_count = imap_ranges_get(s, r->vanished, 1),
                                   .vanished_to = r->vanished_to};

    imap_keywords_tell(s, r->keywords, false);
    imap_session_given(s, imap_server_changes(s->engine, &changes));
}

void imap_ask_vanished(struct imap_session *s)
{
    struct ipc_message m = {.type = IPC_TYPE_VANISHED_READ,
                            .vanished_read = {.session = s->edge.peer.session,
                                              .mailbox = s->mailbox,
                                              .ranges = imap_ranges_put(s),
                                              .modseq = s->asked.modseq,
                                              .count = IMAP_CHANGES_RANGES_MAX}};

    imap_session_question(s, &m);
}

void imap_answer_vanished(struct imap_session *s, const struct ipc_message *m)
{
    const struct ipc_uids *r = &m->uids;
    size_t count;

    if (r->status != IPC_OK) {
        imap_session_failed(s, imap_session_failure(r->status));
        return;
    }
    count = imap_ranges_get(s, r->ranges, 0);
    imap_session_given(
        s, imap_server_vanished(s->engine, s->shared->scratch.ranges[0], count, done_to(s, r->done_to)));
}
