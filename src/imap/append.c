/* APPEND (RFC 3501 6.3.11), MULTIAPPEND (RFC 3502), literal8 (RFC 3516), UTF8 (RFC 6855 4).
 *
 * The messages are literals that pass by as they come. What stands between them is read where the next
 * literal is announced, before its bytes: so a message that is not wanted is refused before it is sent. */
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "imap/date.h"
#include "imap/server_internal.h"

struct imap_append {
    uint32_t messages; /* that are whole */
    bool under_way;    /* the caller knows of this APPEND */
    bool dead;         /* it will not be committed; `condition`, `code` and `text` say why */
    const char *condition, *code, *text;
    enum imap_failure failure; /* why, when code is NULL and condition is not BAD */
    bool bad_name;
    bool utf8_open; /* "UTF8 (" was read, ")" is due */
    /* the message that begins */
    struct imap_flag_list list;
    bool has_time, utf8;
    int64_t time_s;
    uint64_t octets;
};

void imap_append_release(struct imap_server *s)
{
    free(s->append);
    s->append = NULL;
}

/* Nothing will come of it: what is still to come is thrown away, then the client is told. */
static void die(struct imap_server *s, const char *condition, const char *code, const char *text)
{
    struct imap_append *a = s->append;

    if (a->dead)
        return;
    a->dead = true;
    a->condition = condition;
    a->code = code;
    a->text = text;
    s->abort_due = a->under_way;
    a->under_way = false;
}

/* ---- what stands before a message ---- */

/* [flag-list SP] [date-time SP], then the literal: "{", "~{" or "UTF8 (~{" at the very end. */
static bool message_head(struct imap_server *s, struct imap_lex *lex, struct imap_append *a)
{
    struct span date;

    a->list = (struct imap_flag_list){0};
    a->has_time = a->utf8 = false;
    if (imap_lex_peek(lex) == '(' && (!imap_flag_list_parse(lex, false, &a->list) || !imap_lex_space(lex)))
        return false;
    if (imap_lex_peek(lex) == '"') {
        if (!imap_lex_string(lex, &date) || imap_date_time_parse(date, &a->time_s) != BRANT_OK ||
            !imap_lex_space(lex))
            return false;
        a->has_time = true;
    }
    if (imap_lex_word(lex, "UTF8")) {
        if (!imap_lex_space(lex) || !imap_lex_byte(lex, '(') || !s->frame.literal8)
            return false;
        a->utf8 = true;
    }
    if (s->frame.literal8 && !imap_lex_byte(lex, '~'))
        return false;
    return imap_lex_peek(lex) == '{' && span_find_byte(span_from(lex->in, lex->pos), '\r') == SPAN_NPOS;
}

/* "tag APPEND mailbox " before the first. Not a message's literal: false, and nothing is changed. */
static bool command_head(struct imap_server *s, struct imap_lex *lex, struct imap_append *a)
{
    struct span said;

    if (!imap_take_tag(s, lex) || !imap_lex_word(lex, "APPEND") || !imap_lex_space(lex) ||
        !imap_lex_astring(lex, &said) || !imap_lex_space(lex) || !message_head(s, lex, a))
        return false;
    a->bad_name = imap_name_parse(said, s->utf8 || s->rev2, &s->name) != BRANT_OK;
    return true;
}

/* Behind another message: [")"] SP … */
static bool next_head(struct imap_server *s, struct imap_lex *lex, struct imap_append *a)
{
    if (a->utf8_open && !imap_lex_byte(lex, ')'))
        return false;
    return imap_lex_space(lex) && message_head(s, lex, a);
}

static enum imap_event_type append_step(struct imap_server *s, struct imap_event *ret)
{
    struct imap_append *a = s->append;

    s->awaited = DONE_ANSWER;
    a->under_way = true;
    ret->name = buf_span(&s->name);
    ret->flags = a->list.flags;
    ret->keywords = a->list.keywords;
    ret->keyword_count = a->list.keyword_count;
    ret->has_time = a->has_time;
    ret->time_ms = a->time_s * 1000;
    ret->message_bytes = s->frame.literal_octets;
    ret->utf8 = a->utf8;
    return IMAP_EVENT_APPEND;
}

/* The literal is not wanted; what of it comes unasked is swallowed when it is no longer than a message. */
static void refuse(struct imap_server *s)
{
    if (s->frame.literal_octets <= s->config.append_bytes_max)
        s->frame.skip_max = s->frame.skipped + s->frame.literal_octets + SKIP_BYTES_MAX;
    imap_frame_literal_refuse(&s->frame);
    s->job = NULL;
    s->stage = READY;
}

static void append_failed(struct imap_server *s, enum imap_failure failure)
{
    struct imap_append *a = s->append;

    a->under_way = false; /* the caller has given it up itself */
    die(s, "NO", NULL, NULL);
    a->failure = failure;
    refuse(s);
}

static const struct imap_job append_job = {append_step, append_failed, NULL, NULL};

bool imap_append_literal(struct imap_server *s)
{
    struct imap_append *a = s->append, fresh = {0};
    struct imap_lex lex;

    if (!(s->phase & (AUTHENTICATED | SELECTED)) || s->stage != READY || s->too_long)
        return false;
    if (a)
        arena_reset(&s->arena); /* what the message before needed */
    lex = imap_lex_of(s, imap_frame_text(&s->frame));
    if (a ? !next_head(s, &lex, a) : !command_head(s, &lex, &fresh))
        return false;
    if (!a) {
        a = s->append = mem_dup(&fresh, sizeof fresh);
        s->sync.expunges = true;
    }
    if (a->bad_name)
        die(s, "NO", "NONEXISTENT", "there is no such mailbox");
    else if (s->frame.literal_octets > s->config.append_bytes_max) /* RFC 7889 4, RFC 4469 */
        die(s, "NO", "TOOBIG", "the message is too large");
    else if (s->frame.literal_octets == 0) /* RFC 3502 6.3.11: a way to give up */
        die(s, "NO", "CANNOT", "an empty message is none");
    else if (a->messages == s->config.append_messages_max)
        die(s, "NO", "LIMIT", "too many messages in one command");
    a->utf8_open = a->utf8;
    a->octets = 0;
    if (a->dead)
        refuse(s);
    else
        imap_job_start(s, &append_job, NULL);
    return true;
}

void imap_append_go(struct imap_server *s)
{
    s->job = NULL;
    s->stage = READY;
    if (s->frame.literal_sync)
        imap_put(s, "+ go on\r\n");
    imap_frame_literal_pass(&s->frame);
}

/* ---- the message ---- */

enum imap_event_type imap_append_bytes(struct imap_server *s, struct span bytes, struct imap_event *ret)
{
    struct imap_append *a = s->append;

    if (!a->dead && memchr(bytes.p, 0, bytes.len))
        die(s, "NO", "UNKNOWN-CTE", "NUL cannot be stored"); /* RFC 3516 4.4 */
    if (a->dead)
        return IMAP_EVENT_MORE;
    a->octets += bytes.len;
    ret->bytes = bytes;
    return IMAP_EVENT_BODY;
}

enum imap_event_type imap_append_passed(struct imap_server *s, struct imap_event *ret)
{
    struct imap_append *a = s->append;

    if (a->dead)
        return IMAP_EVENT_MORE;
    a->messages++;
    s->stats.appended++;
    ret->message_bytes = a->octets;
    return IMAP_EVENT_MESSAGE;
}

/* ---- the end of the command ---- */

static enum imap_event_type commit_step(struct imap_server *s, struct imap_event *ret)
{
    (void)ret;
    s->awaited = COMMIT_ANSWER;
    return IMAP_EVENT_COMMIT;
}

static void commit_failed(struct imap_server *s, enum imap_failure failure)
{
    s->append->under_way = false;
    imap_no(s, failure, true);
}

void imap_append_line(struct imap_server *s, struct span rest)
{
    static const struct imap_job job = {commit_step, commit_failed, NULL, NULL};
    struct imap_append *a = s->append;
    struct imap_lex lex = imap_lex_of(s, rest);

    if (!a->dead && (s->too_long || (a->utf8_open && !imap_lex_byte(&lex, ')')) || !imap_lex_end(&lex)))
        die(s, "BAD", NULL, "that is no message of APPEND");
    if (!a->dead) {
        imap_job_start(s, &job, NULL);
    } else if (a->condition[0] == 'B') {
        imap_bad(s, a->text);
    } else if (!a->code) {
        imap_no(s, a->failure, true);
    } else {
        imap_code(s, "%s", a->code);
        imap_finish(s, a->condition, a->text);
    }
}

int imap_server_appended(struct imap_server *s, uint32_t uidvalidity, const struct imap_range *uids,
                         size_t count)
{
    if (s->awaited != COMMIT_ANSWER)
        return BRANT_ESTATE;
    s->awaited = NOTHING;
    for (size_t i = 0; i < count; i++)
        if (uids[i].first && uids[i].first <= uids[i].last)
            imap_set_add(&s->reply.sets[0], uids[i].first, uids[i].last);
    if (s->reply.sets[0].len) { /* RFC 4315 3 */
        imap_code(s, "APPENDUID %u", uidvalidity);
        s->reply.set_count = 1;
    }
    if (s->phase == SELECTED && span_eq(buf_span(&s->name), buf_span(&s->box->name)))
        s->sync.wanted = true; /* RFC 3501 6.3.11 */
    imap_finish(s, "OK", "appended");
    return BRANT_OK;
}

/* An APPEND without a message, or with one that was no literal. */
void imap_run_append(struct imap_server *s, struct imap_lex *lex)
{
    if (imap_take_name(s, lex, false, &s->name))
        imap_bad(s, "a message is wanted, as a literal");
}
