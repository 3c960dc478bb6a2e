/* APPEND: each message's bytes go ahead to the store as they come; it is named when it is whole; all of the
 * command are stored at the end, or none. */
#define XXH_STATIC_LINKING_ONLY
#include <stdlib.h>
#include <xxhash.h>

#include "base/err.h"
#include "base/mem.h"
#include "log/log.h"
#include "os/random.h"
#include "roles/imap/session_internal.h"

struct imap_appending {
    struct buf name; /* of the mailbox */
    struct ipc_id id;
    struct body body;  /* of the message that is coming */
    XXH3_state_t *sum; /* of what stands behind its header */
    bool in_body;      /* the header is over */
    bool sum_lost;     /* … and was so before it was known */
    bool ending;       /* all of it is here, its last chunk can't be sent yet */
    uint64_t flags;
    struct buf keywords;
    bool has_time;
    int64_t time_ms;
    uint32_t messages;
    uint64_t bytes;
    uint8_t failed; /* enum ipc_status: why there will be no COMMIT */
};

static struct imap_appending *appending_new(struct span name)
{
    struct imap_appending *a = mem_zalloc(sizeof *a);

    buf_init(&a->name, IPC_MAILBOX_NAME_MAX);
    buf_append(&a->name, name);
    buf_init(&a->keywords, IPC_KEYWORDS_MAX);
    body_init(&a->body);
    os_random_fill(a->id.b, sizeof a->id.b);
    a->sum = XXH3_createState();
    if (!a->sum)
        abort(); /* out of memory */
    return a;
}

void imap_appending_free(struct imap_session *s)
{
    struct imap_appending *a = s->append;

    if (!a)
        return;
    buf_done(&a->name);
    buf_done(&a->keywords);
    body_done(&a->body);
    XXH3_freeState(a->sum);
    free(a);
    s->append = NULL;
    if (s->pump)
        net_pump_input_max(s->pump, IMAP_INPUT_KNOWN_BYTES);
}

void imap_appending_abort(struct imap_session *s)
{
    const struct ipc_message m = {.type = IPC_TYPE_APPEND_ABORT,
                                  .append_abort = {.session = s->edge.peer.session}};

    if (!s->append)
        return;
    if (s->edge.presented)
        body_drop(&s->append->body, &s->edge.peer);
    imap_session_tell(s, &m);
    imap_appending_free(s);
}

void imap_appending_fail(struct imap_session *s, uint8_t status)
{
    struct imap_appending *a = s->append;

    if (!a || a->failed)
        return;
    if (s->edge.presented)
        body_drop(&a->body, &s->edge.peer);
    a->failed = status;
    a->ending = false;
    body_fail(&a->body, status);
}

bool imap_appending_blocked(const struct imap_session *s)
{
    const struct imap_appending *a = s->append;

    return a && !a->failed && (a->ending || (a->body.number && !body_room(&a->body)));
}

/* ---- a message begins ---- */

/* The first of a command asks whether there is such a mailbox, before the client sends anything large. */
void imap_ask_append(struct imap_session *s)
{
    struct ipc_message m = {.type = IPC_TYPE_MAILBOX_STATUS,
                            .mailbox_status = {.session = s->edge.peer.session, .name = s->asked.name}};

    if (!s->append)
        imap_session_question(s, &m);
    else
        imap_answer_append(s, NULL);
}

static void begin(struct imap_session *s)
{
    struct imap_appending *a = s->append;
    const struct imap_event *e = &s->asked;

    a->flags = e->flags;
    buf_reset(&a->keywords);
    imap_keywords_put(&a->keywords, e->keywords, e->keyword_count);
    a->has_time = e->has_time;
    a->time_ms = e->time_ms;
    a->in_body = a->sum_lost = false;
    if (XXH3_128bits_reset(a->sum) != XXH_OK)
        abort();
    body_begin(&a->body, ++s->last_body);
}

void imap_answer_append(struct imap_session *s, const struct ipc_message *m)
{
    const struct ipc_mailbox_rows *r = m ? &m->mailbox_rows : NULL;

    if (r && (r->status != IPC_OK || r->rows_count != 1 || !r->rows[0].exists)) {
        imap_session_failed(s, imap_session_failure(r->status ? r->status : IPC_NOT_FOUND));
        return;
    }
    if (!s->append)
        s->append = appending_new(s->asked.name);
    if (s->append->failed) {
        enum imap_failure failure = imap_session_failure(s->append->failed);

        imap_appending_abort(s);
        imap_session_failed(s, failure);
        return;
    }
    begin(s);
    net_pump_input_max(s->pump, IMAP_INPUT_APPEND_BYTES);
    imap_session_given(s, imap_server_done(s->engine));
}

/* ---- its bytes ---- */

/* The sum of what stands behind the header, by which a copy that was filed already is known. */
static void add_to_sum(struct imap_appending *a, struct span bytes)
{
    uint64_t end, before = a->body.bytes - bytes.len;

    if (!a->in_body && a->body.parser && mime_parser_header_done(a->body.parser, &end)) {
        a->in_body = true;
        a->sum_lost = end < before;
        bytes = span_from(bytes, end > before ? (size_t)(end - before) : 0);
    }
    if (a->in_body && !a->sum_lost)
        XXH3_128bits_update(a->sum, bytes.p, bytes.len);
}

void imap_appending_body(struct imap_session *s, struct span bytes)
{
    struct imap_appending *a = s->append;

    if (!a || a->failed)
        return;
    body_add(&a->body, bytes);
    add_to_sum(a, bytes);
    body_flush(&a->body, &s->edge.peer, false);
    if (a->body.failed)
        imap_appending_fail(s, a->body.failed);
}

static struct span content_sum(const struct imap_appending *a, XXH128_canonical_t *out)
{
    _Static_assert(sizeof *out == IPC_SUM_BYTES, "the sum has 128 bits");
    if (a->sum_lost)
        return SPAN_NONE;
    XXH128_canonicalFromHash(out, XXH3_128bits_digest(a->sum));
    return span_make(out->digest, IPC_SUM_BYTES);
}

static int name_message(struct imap_session *s, struct imap_appending *a)
{
    struct ipc_message m = {.type = IPC_TYPE_APPEND_MESSAGE};
    _cleanup_buf_ struct buf structure;
    XXH128_canonical_t sum;
    struct span message_id;

    buf_init(&structure, IPC_STRUCTURE_MAX);
    body_finish(&a->body, &structure, &message_id);
    m.append_message = (struct ipc_append_message){.session = s->edge.peer.session,
                                                   .body = a->body.number,
                                                   .body_bytes = a->body.bytes,
                                                   .flags = a->flags,
                                                   .keywords = buf_span(&a->keywords),
                                                   .has_time = a->has_time,
                                                   .time_ms = (uint64_t)a->time_ms,
                                                   .content_sum = content_sum(a, &sum),
                                                   .message_id = message_id,
                                                   .structure = buf_span(&structure)};
    return store_peer_tell(&s->edge.peer, &m);
}

static void message_end(struct imap_session *s)
{
    struct imap_appending *a = s->append;

    a->ending = !body_flush(&a->body, &s->edge.peer, true);
    if (a->ending)
        return;
    if (a->body.failed || name_message(s, a)) {
        imap_appending_fail(s, a->body.failed ? a->body.failed : IPC_TRY_LATER);
        return;
    }
    a->messages++;
    a->bytes += a->body.bytes;
    body_done(&a->body);
    body_init(&a->body);
}

void imap_appending_message(struct imap_session *s)
{
    if (s->append && !s->append->failed)
        message_end(s);
}

void imap_appending_credit(struct imap_session *s, const struct ipc_body_credit *m)
{
    struct imap_appending *a = s->append;

    if (!a || a->failed || m->body != a->body.number)
        return; /* of an earlier message */
    if (m->status != IPC_OK) {
        imap_appending_fail(s, m->status);
    } else {
        a->body.credit += m->bytes;
        body_flush(&a->body, &s->edge.peer, false);
        if (a->body.failed)
            imap_appending_fail(s, a->body.failed);
        else if (a->ending)
            message_end(s);
    }
    net_pump_kick(s->pump);
}

/* ---- the end ---- */

void imap_ask_commit(struct imap_session *s)
{
    struct imap_appending *a = s->append;

    if (!a || a->failed) {
        enum imap_failure failure = a ? imap_session_failure(a->failed) : IMAP_FAIL_TRY_LATER;

        imap_appending_abort(s);
        imap_session_failed(s, failure);
        return;
    }
    struct ipc_message commit = {.type = IPC_TYPE_APPEND_COMMIT,
                                 .append_commit = {.session = s->edge.peer.session,
                                                   .append = a->id,
                                                   .messages = a->messages,
                                                   .name = buf_span(&a->name)}};
    struct ipc_message ask = {.type = IPC_TYPE_APPEND_ASK,
                              .append_ask = {.session = s->edge.peer.session, .append = a->id}};

    imap_session_question(s, s->again ? &ask : &commit);
}

static void log_append(const struct imap_session *s, uint8_t status)
{
    const struct imap_appending *a = s->append;

    log_event(status == IPC_OK ? LOG_INFO : LOG_WARNING, "imap-append",
              LOG_HEX("session", edge_session(&s->edge)), LOG_SPAN("account", buf_span(&s->edge.address)),
              LOG_SPAN("mailbox", buf_span(&a->name)), LOG_U64("messages", a->messages),
              LOG_U64("bytes", a->bytes), LOG_STR("result", ipc_status_text(status)));
}

void imap_answer_commit(struct imap_session *s, const struct ipc_message *m)
{
    const struct ipc_appended *r = &m->appended;
    size_t count;

    log_append(s, r->status);
    if (r->status == IPC_OK)
        s->shared->messages_appended += s->append->messages;
    imap_appending_free(s);
    if (r->status != IPC_OK) {
        imap_session_failed(s, imap_session_failure(r->status));
        return;
    }
    count = imap_ranges_get(s, r->uids, 0);
    imap_session_given(s,
                       imap_server_appended(s->engine, r->uidvalidity, s->shared->scratch.ranges[0], count));
}
