/* The engine's life, its loop, input and time. */
#include "imap/server.h"

#include <stdlib.h>

#include "base/codec.h"
#include "base/err.h"
#include "base/mem.h"
#include "imap/server_internal.h"

void imap_server_config_init(struct imap_server_config *c, const char *hostname)
{
    *c = (struct imap_server_config){
        .hostname = hostname,
        .login_timeout_ms = 120 * 1000,
        .idle_timeout_ms = 30 * 60 * 1000,
        .still_here_ms = 120 * 1000,
        .data_timeout_ms = 5 * 60 * 1000,
        .write_timeout_ms = 120 * 1000,
        .login_errors_max = 8,
        .errors_max = 50,
        .login_failures_max = 3,
        .login_bytes_max = 8 * 1024,
        .command_bytes_max = 64 * 1024,
        .append_bytes_max = 50 << 20,
        .append_messages_max = 1000,
        .output_bytes_max = 64 * 1024,
        .read_bytes_max = 32 * 1024,
        .entries_max = 64,
        .runs_max = 1000 * 1000,
        .saved_ranges_max = 65536,
        .search_keys_max = 1000,
    };
}

/* ---- output ---- */

size_t imap_room(const struct imap_server *s)
{
    return s->out.max - s->out.len;
}

bool imap_full(const struct imap_server *s, size_t need)
{
    return imap_room(s) < need;
}

void imap_put(struct imap_server *s, const char *text)
{
    if (s->out.len == 0)
        s->progress_ms = s->now_ms;
    buf_append_str(&s->out, text);
}

void imap_put_number(struct imap_server *s, uint64_t number)
{
    buf_append_u64(&s->out, number);
}

void imap_untagged(struct imap_server *s, const char *text)
{
    imap_put(s, "* ");
    imap_put(s, text);
    imap_put(s, "\r\n");
}

struct span imap_server_output(const struct imap_server *s)
{
    return buf_span(&s->out);
}

void imap_server_output_used(struct imap_server *s, size_t len, uint64_t now_ms)
{
    s->now_ms = now_ms;
    if (len == 0)
        return;
    s->stats.bytes_sent += len < s->out.len ? len : s->out.len;
    buf_consume(&s->out, len);
    if (s->out.len == 0)
        buf_shrink(&s->out);
    s->progress_ms = now_ms;
    if (len > s->still_left)
        s->active_ms = now_ms;
    s->still_left -= len < s->still_left ? len : s->still_left;
}

/* ---- life ---- */

struct imap_server *imap_server_new(const struct imap_server_config *c, uint64_t now_ms)
{
    struct imap_server *s = mem_zalloc(sizeof *s);

    s->config = *c;
    if (s->config.entries_max > IMAP_ENTRIES_MAX)
        s->config.entries_max = IMAP_ENTRIES_MAX;
    s->phase = STRANGER;
    s->awaited = GREETING;
    s->now_ms = s->started_ms = s->active_ms = s->progress_ms = s->data_ms = now_ms;
    buf_init(&s->out, c->output_bytes_max);
    imap_frame_init(&s->frame, c->login_bytes_max, SKIP_BYTES_MAX, true);
    arena_init(&s->arena, ARENA_BYTES_MAX);
    arena_init(&s->message.arena, STRUCTURE_ARENA_MAX);
    buf_init(&s->message.blob, STRUCTURE_BYTES_MAX);
    buf_init(&s->name, IMAP_NAME_BYTES_MAX);
    buf_init(&s->target, IMAP_NAME_BYTES_MAX);
    buf_init_secret(&s->user, USER_BYTES_MAX);
    buf_init_secret(&s->password, PASSWORD_BYTES_MAX);
    buf_init_secret(&s->response, IMAP_AUTH_BYTES_MAX);
    buf_init(&s->reply.code, 256);
    buf_init(&s->notice.code, 256);
    imap_set_init(&s->sync.gone, c->runs_max + IMAP_CHANGES_RANGES_MAX);
    for (int i = 0; i < 2; i++) {
        imap_set_init(&s->reply.sets[i], RESULT_RANGES_MAX);
        imap_set_init(&s->notice.sets[i], RESULT_RANGES_MAX);
    }
    return s;
}

/* What a command in progress holds. */
static void release(struct imap_server *s)
{
    if (s->job && s->run && s->job->release)
        s->job->release(s);
    else
        free(s->run);
    s->job = NULL;
    s->run = NULL;
    imap_fetch_release(s);
    imap_earlier_release(s);
    imap_slice_release(s);
    imap_message_release(s);
    imap_sync_release(s);
    imap_append_release(s);
    imap_reply_reset(&s->reply);
    imap_reply_reset(&s->notice);
    arena_wipe(&s->arena);
    buf_done(&s->name);
    buf_done(&s->target);
    buf_done(&s->user);
    buf_done(&s->password);
    buf_done(&s->response);
}

void imap_server_free(struct imap_server *s)
{
    if (!s)
        return;
    release(s);
    imap_deselect(s);
    imap_frame_done(&s->frame);
    buf_done(&s->out);
    buf_done(&s->reply.code);
    buf_done(&s->notice.code);
    free(s);
}

void imap_server_offer(struct imap_server *s, const struct imap_offer *offer)
{
    s->offer = *offer;
    if (!(s->offer.extensions & IMAP_EXT_CONDSTORE))
        s->offer.extensions &= ~(unsigned)IMAP_EXT_QRESYNC;
}

int imap_server_greet(struct imap_server *s, uint64_t now_ms)
{
    if (s->awaited != GREETING)
        return BRANT_ESTATE;
    s->now_ms = s->active_ms = now_ms;
    s->awaited = NOTHING;
    imap_put(s, "* OK [CAPABILITY ");
    imap_capabilities(s, &s->out);
    imap_put(s, "] ");
    buf_append(&s->out, span_sub(span_str(s->config.hostname), 0, 255));
    imap_put(s, " IMAP server ready\r\n");
    return BRANT_OK;
}

static const char *bye(enum imap_close_reason reason)
{
    switch (reason) {
    case IMAP_CLOSE_TIMEOUT:
        return "BYE nothing was heard for too long";
    case IMAP_CLOSE_SHUTDOWN:
        return "BYE [UNAVAILABLE] the server shuts down, come back soon";
    case IMAP_CLOSE_OVERLOAD:
        return "BYE [UNAVAILABLE] too many connections, try again later";
    case IMAP_CLOSE_REVOKED:
        return "BYE the account has changed, log in again";
    case IMAP_CLOSE_GONE:
        return "BYE the selected mailbox was removed";
    case IMAP_CLOSE_ERRORS:
        return "BYE too many bad commands";
    case IMAP_CLOSE_FAILURES:
        return "BYE too many failed logins";
    case IMAP_CLOSE_ENDLESS:
        return "BYE [TOOBIG] too much that was not asked for";
    case IMAP_CLOSE_LIMIT:
        return "BYE [LIMIT] the mailbox has become too scattered";
    case IMAP_CLOSE_BARE:
        return "BYE lines end with CRLF";
    default:
        return NULL;
    }
}

void imap_end(struct imap_server *s, enum imap_close_reason reason)
{
    const char *text = bye(reason);

    if (s->phase == ENDED)
        return;
    if (text && !s->mid_line && s->awaited != TLS_START && !imap_full(s, 256) &&
        (s->awaited != GREETING || reason == IMAP_CLOSE_OVERLOAD))
        imap_untagged(s, text);
    s->phase = ENDED;
    s->reason = reason;
    s->awaited = NOTHING;
    s->stage = READY;
    s->cancel_due = s->abort_due = s->left_due = false;
    release(s);
    imap_deselect(s);
    imap_frame_done(&s->frame);
}

void imap_server_end(struct imap_server *s, enum imap_close_reason reason)
{
    if (reason == IMAP_CLOSE_SHUTDOWN && s->phase != ENDED && s->awaited != GREETING &&
        s->awaited != TLS_START)
        s->shutdown = true;
    else
        imap_end(s, reason);
}

/* ---- time ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static bool in_literal(const struct imap_server *s)
{
    return s->frame.phase == IMAP_FRAME_KEEP || s->frame.phase == IMAP_FRAME_PASS ||
           s->frame.phase == IMAP_FRAME_SKIP;
}

uint64_t imap_server_timeout_ms(const struct imap_server *s, uint64_t now_ms)
{
    uint64_t due = s->active_ms + s->config.idle_timeout_ms; /* RFC 3501 5.4: the autologout timer */

    if (s->phase == ENDED)
        return IMAP_NO_TIMEOUT;
    if (s->awaited != NOTHING && s->awaited != TLS_START && s->awaited != COMPRESS_START)
        return IMAP_NO_TIMEOUT;
    if (in_literal(s))
        due = earlier(due, s->data_ms + s->config.data_timeout_ms);
    if (s->phase == STRANGER)
        due = earlier(due, s->started_ms + s->config.login_timeout_ms);
    if (s->out.len > 0)
        due = earlier(due, s->progress_ms + s->config.write_timeout_ms);
    return due > now_ms ? due - now_ms : 0;
}

/* RFC 2177: IDLE may go on without a word; routers on the way forget about such connections. */
static bool may_say_still_here(const struct imap_server *s)
{
    return s->config.still_here_ms > 0 && s->out.len == 0 && imap_server_idling(s);
}

uint64_t imap_server_wake_ms(const struct imap_server *s, uint64_t now_ms)
{
    uint64_t due = (s->still_ms > s->active_ms ? s->still_ms : s->active_ms) + s->config.still_here_ms;

    if (s->phase == ENDED || !may_say_still_here(s))
        return IMAP_NO_TIMEOUT;
    return due > now_ms ? due - now_ms : 0;
}

static void say_still_here(struct imap_server *s)
{
    s->still_ms = s->now_ms;
    imap_untagged(s, "OK still here");
    s->still_left = s->out.len;
}

void imap_server_resumed(struct imap_server *s, uint64_t now_ms)
{
    s->now_ms = s->data_ms = s->active_ms = now_ms;
}

void imap_server_clock(struct imap_server *s, int64_t unix_ms)
{
    s->clock_ms = unix_ms;
}

/* ---- input ---- */

/* A literal of an ordinary command. */
static void literal(struct imap_server *s)
{
    if (imap_append_literal(s))
        return;
    if (!imap_frame_literal_fits(&s->frame)) {
        s->too_long = true;
        imap_frame_literal_refuse(&s->frame);
        return;
    }
    if (s->frame.literal_sync)
        imap_put(s, "+ go on\r\n");
    imap_frame_literal_keep(&s->frame);
}

static void line(struct imap_server *s)
{
    struct span text = imap_frame_text(&s->frame);

    s->active_ms = s->now_ms;
    if (s->exchange)
        imap_auth_line(s, text);
    else if (s->stage == IDLING)
        imap_idle_line(s, text);
    else if (s->append)
        imap_append_line(s, text);
    else
        imap_command(s, text);
}

/* Takes input until something is complete. IMAP_EVENT_MORE and *ret_starved: there is not enough of it. */
static enum imap_event_type gather(struct imap_server *s, struct span *in, struct imap_event *ret,
                                   bool *ret_starved)
{
    struct span bytes;

    if (imap_full(s, ROOM_COMMAND))
        return IMAP_EVENT_BLOCKED;
    if (in->len && s->phase == STRANGER && s->frame.text.len == 0 && in->p[0] == 0x16 && !in_literal(s)) {
        imap_end(s, IMAP_CLOSE_PROTOCOL); /* a TLS handshake record */
        return IMAP_EVENT_MORE;
    }
    if (in->len)
        s->data_ms = s->now_ms;
    switch (imap_frame_feed(&s->frame, in, &bytes)) {
    case IMAP_FRAME_MORE:
        *ret_starved = true;
        return IMAP_EVENT_MORE;
    case IMAP_FRAME_LITERAL:
        literal(s);
        return IMAP_EVENT_MORE;
    case IMAP_FRAME_BYTES:
        return imap_append_bytes(s, bytes, ret);
    case IMAP_FRAME_PASSED:
        return imap_append_passed(s, ret);
    case IMAP_FRAME_LONG:
        s->too_long = true;
        return IMAP_EVENT_MORE;
    case IMAP_FRAME_COMMAND:
        line(s);
        return IMAP_EVENT_MORE;
    case IMAP_FRAME_BARE:
        imap_end(s, IMAP_CLOSE_BARE);
        return IMAP_EVENT_MORE;
    case IMAP_FRAME_ENDLESS:
        imap_end(s, IMAP_CLOSE_ENDLESS);
        return IMAP_EVENT_MORE;
    }
    return IMAP_EVENT_MORE;
}

/* ---- events ---- */

/* Events without an answer that wait to be handed out. */
static enum imap_event_type dues(struct imap_server *s)
{
    if (s->cancel_due) {
        s->cancel_due = false;
        return IMAP_EVENT_AUTH_CANCEL;
    }
    if (s->abort_due) {
        s->abort_due = false;
        return IMAP_EVENT_ABORT;
    }
    if (s->left_due) {
        s->left_due = false;
        return IMAP_EVENT_LEFT;
    }
    return IMAP_EVENT_MORE;
}

/* In IDLE everything is told as it comes. */
static enum imap_event_type idling(struct imap_server *s, struct span *in, struct imap_event *ret,
                                   bool *ret_starved)
{
    if (imap_sync_due(s))
        return imap_sync_step(s, ret);
    if (s->shutdown) {
        imap_end(s, IMAP_CLOSE_SHUTDOWN);
        return IMAP_EVENT_MORE;
    }
    if (in->len == 0 && imap_server_wake_ms(s, s->now_ms) == 0)
        say_still_here(s);
    return gather(s, in, ret, ret_starved);
}

/* The tagged response. */
static enum imap_event_type reply(struct imap_server *s)
{
    if (!imap_reply_write(s, &s->reply, s->tag))
        return IMAP_EVENT_BLOCKED;
    imap_command_done(s);
    return IMAP_EVENT_MORE;
}

static enum imap_event_type step(struct imap_server *s, struct span *in, struct imap_event *ret,
                                 bool *ret_starved)
{
    enum imap_event_type due = s->awaited == NOTHING ? dues(s) : IMAP_EVENT_WAIT;

    if (due != IMAP_EVENT_MORE)
        return due;
    switch (s->stage) {
    case RUN:
        return s->job->step(s, ret);
    case SYNC:
        if (imap_sync_due(s))
            return imap_sync_step(s, ret);
        s->stage = REPLY;
        return IMAP_EVENT_MORE;
    case REPLY:
        return reply(s);
    case IDLING:
        return idling(s, in, ret, ret_starved);
    case READY:
        break;
    }
    if (s->shutdown && !s->append) {
        imap_end(s, IMAP_CLOSE_SHUTDOWN);
        return IMAP_EVENT_MORE;
    }
    return gather(s, in, ret, ret_starved);
}

enum imap_event_type imap_server_next(struct imap_server *s, struct span *in, uint64_t now_ms,
                                      struct imap_event *ret)
{
    bool starved = false;

    s->now_ms = now_ms;
    *ret = (struct imap_event){.type = IMAP_EVENT_MORE};
    while (ret->type == IMAP_EVENT_MORE && s->phase != ENDED && !starved)
        ret->type = step(s, in, ret, &starved);
    if (s->phase == ENDED) {
        *in = span_from(*in, in->len); /* what follows the end is nobody's */
        *ret = (struct imap_event){.type = IMAP_EVENT_CLOSE, .reason = s->reason};
    }
    return ret->type;
}

/* ---- answers that concern several commands ---- */

int imap_server_failed(struct imap_server *s, enum imap_failure failure)
{
    enum awaited awaited = s->awaited;

    if (awaited < DONE_ANSWER)
        return BRANT_ESTATE;
    s->awaited = NOTHING;
    if (awaited == READ_ANSWER && imap_message_failed(s))
        return BRANT_OK;
    if ((awaited == ENTRIES_ANSWER || awaited == STORED_ANSWER || awaited == READ_ANSWER) &&
        imap_fetch_failed(s, failure))
        return BRANT_OK;
    if (s->stage == SYNC || s->stage == IDLING)
        imap_sync_failed(s, failure);
    else if (s->job && s->job->failed)
        s->job->failed(s, failure);
    else
        imap_no(s, failure, false);
    return BRANT_OK;
}

int imap_server_done(struct imap_server *s)
{
    if (s->awaited != DONE_ANSWER)
        return BRANT_ESTATE;
    s->awaited = NOTHING;
    if (s->append)
        imap_append_go(s);
    else
        imap_mailbox_done(s);
    return BRANT_OK;
}

void imap_server_notice(struct imap_server *s, uint64_t modseq)
{
    if (!s->box || modseq <= s->box->noticed)
        return;
    if (modseq == UINT64_MAX)
        s->box->look = true;
    else
        s->box->noticed = modseq;
    if (s->stage == IDLING)
        s->sync.no = false;
}

/* ---- questions ---- */

bool imap_server_tls(const struct imap_server *s)
{
    return s->tls;
}

bool imap_server_authenticated(const struct imap_server *s)
{
    return s->phase == AUTHENTICATED || s->phase == SELECTED;
}

bool imap_server_idling(const struct imap_server *s)
{
    return s->stage == IDLING && s->awaited == NOTHING && !imap_sync_due(s);
}

struct imap_server_stats imap_server_stats(const struct imap_server *s)
{
    return s->stats;
}

static size_t set_bytes(const struct imap_set *set)
{
    return set->cap * sizeof *set->r;
}

size_t imap_server_memory_bytes(const struct imap_server *s)
{
    const struct imap_selected *box = s->box;
    size_t bytes = sizeof *s + s->out.cap + s->frame.text.cap + s->arena.used + s->name.cap + s->target.cap +
                   s->user.cap + s->password.cap + s->response.cap + s->reply.code.cap + s->notice.code.cap;

    for (int i = 0; i < 2; i++)
        bytes += set_bytes(&s->reply.sets[i]) + set_bytes(&s->notice.sets[i]);
    bytes += set_bytes(&s->sync.gone) + s->message.arena.used + s->message.blob.cap +
             (s->message.parser ? mime_parser_memory_bytes(s->message.parser) : 0);
    if (box)
        bytes += sizeof *box + box->name.cap + box->view.cap * sizeof *box->view.runs +
                 set_bytes(&box->recent) + set_bytes(&box->saved) + box->keyword_text.cap;
    if (s->slice)
        bytes += sizeof *s->slice + s->slice->text.cap;
    if (s->fetch)
        bytes += sizeof *s->fetch + set_bytes(&s->fetch->targets) + set_bytes(&s->fetch->seen_now) +
                 s->fetch->item.cap + s->fetch->body.piece.cap + s->fetch->body.collected.cap;
    return bytes + (s->job && s->job->bytes ? s->job->bytes(s) : 0);
}

const char *imap_close_reason_text(enum imap_close_reason reason)
{
    static const char *const texts[] = {
        [IMAP_CLOSE_NONE] = "none",          [IMAP_CLOSE_LOGOUT] = "logout",
        [IMAP_CLOSE_LOST] = "lost",          [IMAP_CLOSE_TIMEOUT] = "timeout",
        [IMAP_CLOSE_SHUTDOWN] = "shutdown",  [IMAP_CLOSE_OVERLOAD] = "overload",
        [IMAP_CLOSE_REVOKED] = "revoked",    [IMAP_CLOSE_GONE] = "mailbox-removed",
        [IMAP_CLOSE_ERRORS] = "errors",      [IMAP_CLOSE_FAILURES] = "login-failures",
        [IMAP_CLOSE_ENDLESS] = "endless",    [IMAP_CLOSE_LIMIT] = "scattered",
        [IMAP_CLOSE_BARE] = "bare-cr-or-lf", [IMAP_CLOSE_PROTOCOL] = "not-imap",
        [IMAP_CLOSE_READ] = "read-failed",
    };

    return (size_t)reason < sizeof texts / sizeof texts[0] ? texts[reason] : "unknown";
}
