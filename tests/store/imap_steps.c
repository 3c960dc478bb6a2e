#include "imap_steps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/wire.h"

void imap_channel(struct world *w, uint32_t instance, struct imap *ret)
{
    *ret = (struct imap){.news = 0};
    world_channel(w, IPC_ROLE_IMAP, instance, &ret->p);
}

static void take_news(struct imap *i, const struct ipc_message *m)
{
    i->news++;
    i->last = m->mailbox_news;
}

struct ipc_message imap_ask(struct imap *i, struct ipc_message m)
{
    struct ipc_message r;
    uint16_t type = m.type;
    uint32_t tag = peer_ask(&i->p, &m);
    for (;;) {
        if (!peer_receive(&i->p, &r))
            fail("closed, while waiting for the answer to %s", ipc_type_name(type));
        if (r.type == IPC_TYPE_MAILBOX_NEWS)
            take_news(i, &r);
        else if (r.type != IPC_TYPE_BODY_CREDIT && !(i->careless && r.tag != tag))
            break;
    }
    if (r.type != ipc_answer(type) || r.tag != tag)
        fail("%s answers %s", ipc_type_name(r.type), ipc_type_name(type));
    return r;
}

uint64_t imap_news(struct imap *i, struct ipc_id session)
{
    struct ipc_message m;
    while (i->news == 0) {
        peer_expect(&i->p, IPC_TYPE_MAILBOX_NEWS, &m);
        take_news(i, &m);
    }
    CHECK(i->news == 1);
    CHECK(memcmp(&i->last.session, &session, sizeof session) == 0);
    i->news = 0;
    return i->last.modseq;
}

void imap_no_news(struct imap *i, struct ipc_id session)
{
    struct ipc_mailbox_row row;
    CHECK(imap_status(i, session, "INBOX", &row) == IPC_OK);
    CHECK(i->news == 0);
}

struct ipc_id imap_login(struct imap *i, const char *user, const char *password, struct ipc_message *ret)
{
    struct ipc_id session = new_id();
    struct ipc_message ask = {
        .type = IPC_TYPE_SESSION_OPEN,
        .session_open = {.session = session, .service = IPC_SERVICE_IMAP, .source = address("127.0.0.1")}};
    CHECK(imap_ask(i, ask).session_verdict.status == IPC_OK);
    ask = (struct ipc_message){.type = IPC_TYPE_LOGIN,
                               .login = {.session = session,
                                         .service = IPC_SERVICE_IMAP,
                                         .mechanism = IPC_MECHANISM_PLAIN,
                                         .tls = 1,
                                         .source = address("127.0.0.1"),
                                         .user = span_str(user),
                                         .password = span_str(password)}};
    *ret = imap_ask(i, ask);
    CHECK(ret->login_result.status == IPC_OK);
    return session;
}

void imap_close(struct imap *i, struct ipc_id session)
{
    peer_send(&i->p,
              &(struct ipc_message){.type = IPC_TYPE_SESSION_CLOSE, .session_close = {.session = session}});
}

/* ---- mailboxes ---- */

struct ipc_mailbox_rows imap_list(struct imap *i, struct ipc_id s, const char *after, uint32_t count)
{
    struct ipc_message m = imap_ask(
        i,
        (struct ipc_message){
            .type = IPC_TYPE_MAILBOX_LIST,
            .mailbox_list = {.session = s, .after = span_str(after), .count = count, .status = STATUS_ALL}});
    CHECK(m.mailbox_rows.status == IPC_OK && m.mailbox_rows.rows_count <= count);
    return m.mailbox_rows;
}

const char *imap_names(struct imap *i, struct ipc_id s)
{
    static struct buf text;
    char after[IPC_MAILBOX_NAME_MAX + 1] = "";
    struct ipc_mailbox_rows r;
    buf_done(&text);
    buf_init(&text, 1 << 20);
    do {
        r = imap_list(i, s, after, 3); /* in small slices */
        for (uint32_t k = 0; k < r.rows_count; k++) {
            const struct ipc_mailbox_row *row = &r.rows[k];
            buf_printf(&text, "%s%.*s%s%s", text.len ? " " : "", SPAN_ARG(row->name), row->exists ? "" : "?",
                       row->subscribed ? "!" : "");
            snprintf(after, sizeof after, "%.*s", SPAN_ARG(row->name));
        }
    } while (r.more);
    return buf_cstr(&text);
}

uint8_t imap_status(struct imap *i, struct ipc_id s, const char *name, struct ipc_mailbox_row *ret)
{
    struct ipc_message m = imap_ask(
        i,
        (struct ipc_message){.type = IPC_TYPE_MAILBOX_STATUS,
                             .mailbox_status = {.session = s, .name = span_str(name), .status = STATUS_ALL}});
    if (m.mailbox_rows.status == IPC_OK) {
        CHECK(m.mailbox_rows.rows_count == 1);
        *ret = m.mailbox_rows.rows[0];
    }
    return m.mailbox_rows.status;
}

uint8_t imap_change(struct imap *i, struct ipc_id s, uint8_t action, const char *name, const char *target,
                    uint32_t uses)
{
    struct ipc_message m = {.type = IPC_TYPE_MAILBOX_CHANGE,
                            .mailbox_change = {.session = s,
                                               .action = action & 15,
                                               .again = action >> 4,
                                               .name = span_str(name),
                                               .target = span_str(target),
                                               .uses = uses}};
    struct ipc_message r = imap_ask(i, m);
    if (r.mailbox_changed.status == IPC_OK && (action & 15) == IPC_MAILBOX_CREATE)
        CHECK(r.mailbox_changed.mailbox != 0);
    return r.mailbox_changed.status;
}

struct ipc_mailbox_opened imap_open(struct imap *i, struct ipc_id s, const char *name, bool read_only)
{
    return imap_ask(i, (struct ipc_message){.type = IPC_TYPE_MAILBOX_OPEN,
                                            .mailbox_open = {s, span_str(name), read_only}})
        .mailbox_opened;
}

void imap_watch(struct imap *i, struct ipc_id s, uint64_t mailbox, bool read_only)
{
    peer_send(&i->p, &(struct ipc_message){.type = IPC_TYPE_MAILBOX_WATCH,
                                           .mailbox_watch = {s, mailbox, read_only}});
}

/* ---- messages ---- */

struct span ranges(const char *text)
{
    static struct buf many[8];
    static unsigned next;
    struct buf *b = &many[next++ % 8];
    buf_done(b);
    buf_init(b, IPC_RANGES_MAX * IPC_RANGE_BYTES);
    struct wire_writer w = wire_write(b);
    while (*text) {
        char *end;
        unsigned long first = strtoul(text, &end, 10), last = first;
        if (*end == ':')
            last = end[1] == '*' ? (end += 2, UINT32_MAX) : strtoul(end + 1, &end, 10);
        wire_put_u32(&w, (uint32_t)first);
        wire_put_u32(&w, (uint32_t)last);
        text = *end ? end + 1 : end;
    }
    return buf_span(b);
}

const char *ranges_text(struct span bytes)
{
    static struct buf text;
    struct wire_reader r = wire_read(bytes);
    buf_done(&text);
    buf_init(&text, 1 << 20);
    while (r.in.len > 0) {
        uint32_t first = wire_get_u32(&r), last = wire_get_u32(&r);
        buf_printf(&text, first == last ? "%s%u" : "%s%u:%u", text.len ? "," : "", first, last);
    }
    return buf_cstr(&text);
}

const char *imap_uids(struct imap *i, struct ipc_id s, uint64_t mailbox)
{
    struct ipc_message m =
        imap_ask(i, (struct ipc_message){
                        .type = IPC_TYPE_UIDS_READ,
                        .uids_read = {.session = s, .mailbox = mailbox, .first = 1, .last = UINT32_MAX}});
    CHECK(m.uids.status == IPC_OK && m.uids.done_to == UINT32_MAX);
    return ranges_text(m.uids.ranges);
}

struct ipc_message_rows imap_entries(struct imap *i, struct ipc_id s, uint64_t mailbox, const char *which)
{
    struct ipc_message m = imap_ask(i, (struct ipc_message){.type = IPC_TYPE_MESSAGE_LIST,
                                                            .message_list = {.session = s,
                                                                             .mailbox = mailbox,
                                                                             .ranges = ranges(which),
                                                                             .fields = FIELDS_ALL,
                                                                             .count = IPC_ENTRIES_MAX}});
    CHECK(m.message_rows.status == IPC_OK);
    return m.message_rows;
}

struct ipc_changes imap_changes(struct imap *i, struct ipc_id s, uint64_t mailbox, uint64_t modseq,
                                uint32_t uid, bool vanished)
{
    return imap_ask(i, (struct ipc_message){.type = IPC_TYPE_CHANGES_READ,
                                            .changes_read = {.session = s,
                                                             .mailbox = mailbox,
                                                             .modseq = modseq,
                                                             .uid = uid,
                                                             .vanished = vanished,
                                                             .vanished_modseq = modseq,
                                                             .vanished_from = 1,
                                                             .count = 1024}})
        .changes;
}

struct ipc_message imap_message_change(struct ipc_id s, uint64_t mailbox, uint8_t action, const char *which,
                                       uint64_t flags, const char *keywords, const char *target)
{
    return (struct ipc_message){.type = IPC_TYPE_MESSAGE_CHANGE,
                                .message_change = {.session = s,
                                                   .mailbox = mailbox,
                                                   .action = action,
                                                   .ranges = ranges(which),
                                                   .flags = flags,
                                                   .keywords = span_str(keywords),
                                                   .target = span_str(target)}};
}

unsigned imap_do(struct imap *i, struct ipc_message m)
{
    char left[64];
    for (unsigned slices = 1;; slices++) {
        struct ipc_messages_changed r = imap_ask(i, m).messages_changed;
        if (r.status != IPC_OK)
            fail("a change: status %u", r.status);
        if (r.done_to == UINT32_MAX)
            return slices;
        snprintf(left, sizeof left, "%u:*", r.done_to + 1); /* of one range up to the end */
        m.message_change.ranges = ranges(left);
    }
}

uint8_t imap_read(struct imap *i, struct ipc_id s, uint64_t mailbox, uint32_t uid, struct buf *out)
{
    buf_reset(out);
    for (;;) {
        struct ipc_message_data r = imap_ask(i, (struct ipc_message){.type = IPC_TYPE_MESSAGE_READ,
                                                                     .message_read = {.session = s,
                                                                                      .mailbox = mailbox,
                                                                                      .uid = uid,
                                                                                      .offset = out->len,
                                                                                      .length = 50000}})
                                        .message_data;
        if (r.status != IPC_OK)
            return r.status;
        CHECK(buf_append(out, r.bytes) == BRANT_OK);
        if (r.bytes.len < 50000)
            return IPC_OK;
    }
}

/* ---- APPEND ---- */

static void other(void *context, const struct ipc_message *m)
{
    struct imap *i = context;
    if (i->careless && m->type != IPC_TYPE_MAILBOX_NEWS)
        return;
    CHECK(m->type == IPC_TYPE_MAILBOX_NEWS);
    take_news(i, m);
}

void imap_append_body(struct imap *i, struct ipc_id s, uint64_t body, struct span bytes)
{
    send_body(&i->p, s, body, bytes, other, i);
}

struct ipc_message imap_append_message(struct ipc_id s, uint64_t body, size_t bytes, uint64_t flags,
                                       const char *keywords)
{
    return (struct ipc_message){.type = IPC_TYPE_APPEND_MESSAGE,
                                .append_message = {.session = s,
                                                   .body = body,
                                                   .body_bytes = bytes,
                                                   .flags = flags,
                                                   .keywords = span_str(keywords),
                                                   .has_time = 1,
                                                   .time_ms = 1700000000000,
                                                   .structure = SPAN_LIT("a structure")}};
}

struct ipc_message imap_append_commit(struct ipc_id s, struct ipc_id append, uint32_t messages,
                                      const char *name)
{
    return (struct ipc_message){.type = IPC_TYPE_APPEND_COMMIT,
                                .append_commit = {s, append, messages, span_str(name)}};
}

uint8_t imap_append(struct imap *i, struct ipc_id s, const char *name, unsigned first, unsigned count,
                    size_t size, const char **ret_uids)
{
    static uint64_t body;
    struct buf _cleanup_buf_ bytes;
    buf_init(&bytes, 64 << 20);
    for (unsigned n = first; n < first + count; n++) {
        struct span text = message_bytes(&bytes, n, size);
        imap_append_body(i, s, ++body, text);
        struct ipc_message m = imap_append_message(s, body, text.len, SEEN, "");
        peer_send(&i->p, &m);
    }
    struct ipc_appended r = imap_ask(i, imap_append_commit(s, new_id(), count, name)).appended;
    if (ret_uids)
        *ret_uids = ranges_text(r.uids);
    CHECK((r.status == IPC_OK) == (r.uidvalidity != 0));
    return r.status;
}

void imap_fill(struct imap *i, struct ipc_id s, const char *name, uint32_t count)
{
    struct ipc_mailbox_row row;
    char which[64];
    CHECK(imap_append(i, s, name, 1, 1, 200, NULL) == IPC_OK);
    CHECK(imap_status(i, s, name, &row) == IPC_OK);
    while (row.messages < count) {
        uint32_t more = count - row.messages < row.messages ? count - row.messages : row.messages;
        snprintf(which, sizeof which, "1:%u", more < 8000 ? more : 8000);
        (void)imap_do(i, imap_message_change(s, row.mailbox, IPC_MESSAGES_COPY, which, 0, "", name));
        CHECK(imap_status(i, s, name, &row) == IPC_OK);
    }
}
