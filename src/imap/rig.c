#include "imap/rig.h"

#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "imap/name.h"
#include "imap/rig_store.h"
#include "mime/parser.h"

/* ---- sessions ---- */

void rig_init(struct rig *r, struct rig_store *store, const struct imap_server_config *c,
              const struct imap_offer *offer)
{
    static const struct imap_offer all = {
        .starttls = true, .password = true, .sasl = "PLAIN LOGIN", .extensions = IMAP_EXT_ALL};
    struct imap_server_config defaults;

    *r = (struct rig){.store = store, .now_ms = 1000};
    if (!c) {
        imap_server_config_init(&defaults, "imap.brant.test");
        c = &defaults;
    }
    r->s = imap_server_new(c, r->now_ms);
    buf_init(&r->out, SIZE_MAX);
    buf_init(&r->log, SIZE_MAX);
    buf_init(&r->append_to, SIZE_MAX);
    buf_init(&r->sasl_user, SIZE_MAX);
    assert(store->session_count < RIG_SESSIONS_MAX);
    store->sessions[store->session_count++] = r;
    imap_server_offer(r->s, offer ? offer : &all);
    imap_server_greet(r->s, r->now_ms);
    rig_feed(r, SPAN_NONE);
}

static void pending_drop(struct rig *r)
{
    for (size_t i = 0; i < r->pending_count; i++) {
        buf_done(&r->pending[i].bytes);
        buf_done(&r->pending[i].blob);
    }
    r->pending_count = 0;
    r->appending = false;
}

void rig_done(struct rig *r)
{
    struct rig_store *store = r->store;

    for (size_t i = 0; i < store->session_count; i++)
        if (store->sessions[i] == r)
            store->sessions[i--] = store->sessions[--store->session_count];
    imap_server_free(r->s);
    pending_drop(r);
    buf_done(&r->out);
    buf_done(&r->log);
    buf_done(&r->append_to);
    buf_done(&r->sasl_user);
}

static void log_event(struct rig *r, const char *what, struct span detail)
{
    buf_append_str(&r->log, what);
    if (detail.len)
        buf_append_str(&r->log, " ");
    buf_append(&r->log, detail);
    buf_append_str(&r->log, "\n");
}

static void log_ranges(struct rig *r, const char *what, const struct imap_event *e)
{
    struct buf text;

    buf_init(&text, SIZE_MAX);
    for (size_t i = 0; i < e->range_count && i < 20; i++)
        buf_printf(&text, "%s%u-%u", i ? "," : "", e->ranges[i].first, e->ranges[i].last);
    log_event(r, what, buf_span(&text));
    buf_done(&text);
}

/* Ascending, within the view's numbers, not empty. */
static void check_ranges(const struct imap_event *e)
{
    assert(e->range_count > 0);
    for (size_t i = 0; i < e->range_count; i++) {
        assert(e->ranges[i].first > 0 && e->ranges[i].first <= e->ranges[i].last);
        assert(i == 0 || e->ranges[i].first > e->ranges[i - 1].last);
    }
}

static void answered(int rc)
{
    assert(rc == BRANT_OK);
    (void)rc;
}

/* ---- logging in ---- */

static enum imap_login check_login(struct span user, struct span password)
{
    static const struct {
        const char *password;
        enum imap_login answer;
    } answers[] = {{"brant-demo", IMAP_LOGIN_OK},
                   {"later", IMAP_LOGIN_TRY_LATER},
                   {"expired", IMAP_LOGIN_EXPIRED},
                   {"weak", IMAP_LOGIN_WEAK},
                   {"denied", IMAP_LOGIN_DENIED}};

    if (!span_eq_str(user, "alice@brant.test"))
        return IMAP_LOGIN_REFUSED;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++)
        if (span_eq_str(password, answers[i].password))
            return answers[i].answer;
    return IMAP_LOGIN_REFUSED;
}

static void auth_plain(struct rig *r, struct span response)
{
    size_t first = span_find_byte(response, 0);
    struct span rest = span_from(response, first + 1);
    size_t second = span_find_byte(rest, 0);

    if (first == SPAN_NPOS || second == SPAN_NPOS)
        answered(imap_server_login_done(r->s, IMAP_LOGIN_MALFORMED));
    else
        answered(imap_server_login_done(r->s,
                                        check_login(span_sub(rest, 0, second), span_from(rest, second + 1))));
}

static void auth(struct rig *r, const struct imap_event *e)
{
    log_event(r, e->type == IMAP_EVENT_AUTH ? "AUTH" : "AUTH_RESPONSE", e->mechanism);
    if (e->type == IMAP_EVENT_AUTH) {
        buf_reset(&r->sasl_user);
        if (span_eq_str(e->mechanism, "LOGIN")) {
            buf_append_str(&r->sasl_user, "?");
            answered(imap_server_auth_challenge(r->s, SPAN_LIT("Username:")));
        } else if (e->has_response) {
            auth_plain(r, e->response);
        } else {
            answered(imap_server_auth_challenge(r->s, SPAN_NONE));
        }
    } else if (r->sasl_user.len == 0) {
        auth_plain(r, e->response);
    } else if (span_eq_str(buf_span(&r->sasl_user), "?")) {
        buf_reset(&r->sasl_user);
        buf_append(&r->sasl_user, e->response);
        answered(imap_server_auth_challenge(r->s, SPAN_LIT("Password:")));
    } else {
        answered(imap_server_login_done(r->s, check_login(buf_span(&r->sasl_user), e->response)));
    }
}

/* ---- mailboxes ---- */

static void list(struct rig *r, const struct imap_event *e)
{
    struct imap_mailbox boxes[RIG_BOXES_MAX];
    uint32_t max = r->store->boxes_max && r->store->boxes_max < e->count ? r->store->boxes_max : e->count;
    size_t count = 0, i = 0;

    while (i < r->store->box_count && e->name.len &&
           imap_name_cmp(buf_span(&r->store->boxes[i].name), e->name) <= 0)
        i++;
    for (; i < r->store->box_count && count < max; i++) {
        const struct rig_box *b = &r->store->boxes[i];

        if (e->subscribed && !b->subscribed)
            continue;
        boxes[count] = (struct imap_mailbox){buf_span(&b->name), b->exists, b->subscribed, b->uses, {0}};
        if (e->status)
            rig_status(b, &boxes[count].status);
        count++;
    }
    answered(imap_server_list(r->s, boxes, count, i < r->store->box_count));
}

static void status(struct rig *r, const struct imap_event *e)
{
    const struct rig_box *b = rig_box_get(r->store, e->name);
    struct imap_status counts;

    log_event(r, "STATUS", e->name);
    if (!b) {
        answered(imap_server_failed(r->s, IMAP_FAIL_NOT_FOUND));
        return;
    }
    rig_status(b, &counts);
    answered(imap_server_status(r->s, &counts));
}

static void done_or(struct rig *r, bool ok, enum imap_failure failure)
{
    answered(ok ? imap_server_done(r->s) : imap_server_failed(r->s, failure));
}

static void create(struct rig *r, const struct imap_event *e)
{
    log_event(r, "CREATE", e->name);
    if (rig_box_get(r->store, e->name)) {
        answered(imap_server_failed(r->s, IMAP_FAIL_EXISTS));
        return;
    }
    rig_parents_make(r->store, e->name);
    answered(imap_server_created(r->s, rig_box_make(r->store, e->name, e->uses)->id));
}

static void keywords_tell(struct rig *r, const struct rig_box *b)
{
    struct imap_keywords k = {.count = b->keyword_count};

    if (r->keywords_told == b->keyword_count)
        return;
    for (size_t i = 0; i < k.count; i++)
        k.names[i] = buf_span(&b->keyword_names[i]);
    imap_server_keywords(r->s, &k, k.count == IMAP_KEYWORDS_MAX);
    r->keywords_told = k.count;
}

static void open_box(struct rig *r, const struct imap_event *e)
{
    struct rig_box *b = rig_box_get(r->store, e->name);
    struct imap_opened o = {0};

    log_event(r, e->yes ? "OPEN read-only" : "OPEN", e->name);
    if (!b) {
        answered(imap_server_failed(r->s, IMAP_FAIL_NOT_FOUND));
        return;
    }
    for (size_t i = 0; i < b->count; i++) {
        struct imap_range one = {b->messages[i].uid, b->messages[i].uid};

        answered(imap_server_view(r->s, &one, 1));
        if (!o.unseen && !(b->messages[i].flags & IMAP_FLAG_SEEN))
            o.unseen = one.first;
    }
    o.mailbox = b->id;
    o.uidvalidity = b->uidvalidity;
    o.uidnext = b->uidnext;
    o.modseq = b->modseq;
    o.recent_from = b->recent_from;
    if (!e->yes)
        b->recent_from = b->uidnext;
    o.keywords.count = r->keywords_told = b->keyword_count;
    for (size_t i = 0; i < b->keyword_count; i++)
        o.keywords.names[i] = buf_span(&b->keyword_names[i]);
    r->box = b->id;
    answered(imap_server_opened(r->s, &o));
}

/* ---- the selected mailbox ---- */

static struct rig_box *selected(struct rig *r)
{
    return rig_box_by_id(r->store, r->box);
}

static bool in_ranges(const struct imap_event *e, uint32_t uid)
{
    for (size_t i = 0; i < e->range_count; i++)
        if (uid >= e->ranges[i].first && uid <= e->ranges[i].last)
            return true;
    return false;
}

static uint32_t at_once(uint32_t own, uint32_t asked)
{
    return own && own < asked ? own : asked;
}

static void entries(struct rig *r, const struct imap_event *e)
{
    struct rig_box *b = selected(r);
    struct imap_entry list[IMAP_ENTRIES_MAX];
    uint32_t max = at_once(r->store->entries_max, e->count), done_to = UINT32_MAX;
    size_t count = 0, texts = 0;

    keywords_tell(r, b);
    for (size_t i = 0; i < b->count; i++) {
        const struct rig_message *m = &b->messages[i];

        if (!in_ranges(e, m->uid) || m->modseq <= e->modseq || (m->flags & e->flags_all) != e->flags_all ||
            m->flags & e->flags_none)
            continue;
        if (count == max || texts + m->blob.len > IMAP_STRUCTURES_BYTES_MAX) {
            done_to = m->uid - 1;
            break;
        }
        list[count] = (struct imap_entry){m->uid,      m->flags, m->modseq, m->bytes.len, m->time_ms,
                                          m->saved_ms, m->email, 0,         SPAN_NONE};
        if (e->fields & IMAP_ENTRY_STRUCTURE && !r->store->no_structures) {
            list[count].structure = buf_span(&m->blob);
            texts += m->blob.len;
        }
        count++;
    }
    answered(imap_server_entries(r->s, list, count, done_to));
}

static void read_bytes(struct rig *r, const struct imap_event *e)
{
    const struct rig_message *m = rig_message_get(selected(r), e->uid);
    uint32_t len = at_once(r->store->read_max, e->size_bytes);

    if (!m) {
        answered(imap_server_failed(r->s, IMAP_FAIL_NOT_FOUND));
        return;
    }
    assert(e->size_bytes > 0 && e->offset + e->size_bytes <= m->bytes.len);
    answered(imap_server_read_done(r->s, span_sub(buf_span(&m->bytes), e->offset, len)));
}

static void store(struct rig *r, const struct imap_event *e)
{
    struct rig_box *b = selected(r);
    struct imap_stored answer = {.done_to = UINT32_MAX, .modseq_before = b->modseq};
    struct imap_range modified[1000];
    uint64_t flags;
    uint32_t done = 0;

    log_ranges(r, "STORE", e);
    if (!rig_flags_of(b, e->flags, e->keywords, e->keyword_count, e->action != IMAP_STORE_REMOVE, &flags)) {
        answered(imap_server_failed(r->s, IMAP_FAIL_LIMIT));
        return;
    }
    keywords_tell(r, b);
    for (size_t i = 0; i < b->count; i++) {
        struct rig_message *m = &b->messages[i];
        uint64_t now;

        if (!in_ranges(e, m->uid))
            continue;
        if (r->store->store_max && done == r->store->store_max) {
            answer.done_to = m->uid - 1;
            break;
        }
        done++;
        if (e->has_unchanged_since && m->modseq > e->modseq) {
            modified[answer.modified_count++] = (struct imap_range){m->uid, m->uid};
            continue;
        }
        now = e->action == IMAP_STORE_ADD      ? m->flags | flags
              : e->action == IMAP_STORE_REMOVE ? m->flags & ~flags
                                               : flags;
        if (now == m->flags)
            continue;
        m->flags = now;
        answer.modseq = answer.modseq_before + 1;
        m->modseq = answer.modseq;
    }
    if (answer.modseq)
        b->modseq = answer.modseq;
    answer.modified = modified;
    answered(imap_server_stored(r->s, &answer));
    rig_notify(r->store, b, r);
}

static void expunge(struct rig *r, const struct imap_event *e)
{
    struct rig_box *b = selected(r);
    uint32_t done = 0, done_to = UINT32_MAX;

    log_ranges(r, "EXPUNGE", e);
    for (size_t i = 0; i < b->count;) {
        uint32_t uid = b->messages[i].uid;

        if (!in_ranges(e, uid) || !(b->messages[i].flags & IMAP_FLAG_DELETED)) {
            i++;
            continue;
        }
        if (r->store->store_max && done++ == r->store->store_max) {
            done_to = uid - 1;
            break;
        }
        rig_expunge(b, i);
    }
    answered(imap_server_expunged(r->s, done_to));
    rig_notify(r->store, b, r);
}

static void copy(struct rig *r, const struct imap_event *e)
{
    struct rig_box *b = selected(r), *to = rig_box_get(r->store, e->name);
    struct imap_range uids[1000];
    struct imap_copied answer = {.done_to = UINT32_MAX, .uids = uids};
    uint32_t last = imap_rig_last_uid(b);

    log_ranges(r, e->yes ? "MOVE" : "COPY", e);
    if (!to) {
        answered(imap_server_failed(r->s, IMAP_FAIL_NOT_FOUND));
        return;
    }
    answer.uidvalidity = to->uidvalidity;
    answer.target_first = to->uidnext;
    for (size_t i = 0; i < b->count;) {
        uint32_t uid = b->messages[i].uid;

        if (uid > last || !in_ranges(e, uid)) {
            i++;
            continue;
        }
        if (e->yes && r->store->store_max && answer.count == r->store->store_max) {
            answer.done_to = uid - 1;
            break;
        }
        rig_copy(r->store, b, i, to);
        uids[answer.count++] = (struct imap_range){uid, uid};
        if (e->yes)
            rig_expunge(b, i);
        else
            i++;
    }
    answered(imap_server_copied(r->s, &answer));
    rig_notify(r->store, b, r);
    rig_notify(r->store, to, NULL);
}

/* Adds a UID to ranges; false: there are too many. */
static bool range_add(struct imap_range *ranges, size_t *count, size_t max, uint32_t uid)
{
    if (*count && ranges[*count - 1].last + 1 == uid) {
        ranges[*count - 1].last = uid;
        return true;
    }
    if (*count == max)
        return false;
    ranges[(*count)++] = (struct imap_range){uid, uid};
    return true;
}

/* Expunged UIDs from `from` on, ascending; those of the log that come after the MODSEQ. */
static uint32_t gone_since(const struct rig *r, const struct rig_box *b, uint64_t modseq, uint32_t from,
                           struct imap_range *ranges, size_t *count)
{
    size_t max = at_once(r->store->ranges_max, IMAP_CHANGES_RANGES_MAX);

    for (uint32_t uid = from; uid < b->uidnext; uid++)
        for (size_t i = 0; i < b->gone_count; i++)
            if (b->gone[i].uid == uid && b->gone[i].modseq > modseq && !range_add(ranges, count, max, uid))
                return uid - 1;
    return UINT32_MAX;
}

static void changes(struct rig *r, const struct imap_event *e)
{
    struct rig_box *b = selected(r);
    struct imap_range arrived[IMAP_CHANGES_RANGES_MAX], vanished[IMAP_CHANGES_RANGES_MAX];
    size_t max = at_once(r->store->ranges_max, IMAP_CHANGES_RANGES_MAX);
    struct imap_changes c = {.arrived = arrived, .vanished = vanished, .vanished_to = UINT32_MAX};

    log_event(r, e->vanished ? "CHANGES" : "CHANGES without expunges", SPAN_NONE);
    if (!b) {
        answered(imap_server_failed(r->s, IMAP_FAIL_NOT_FOUND));
        return;
    }
    keywords_tell(r, b);
    c.modseq = b->modseq;
    c.uidnext = b->uidnext;
    for (size_t i = 0; i < b->count; i++) {
        const struct rig_message *m = &b->messages[i];

        if (m->uid < e->uid) {
            c.flags_changed = c.flags_changed || m->modseq > e->modseq;
        } else if (!range_add(arrived, &c.arrived_count, max, m->uid)) {
            c.uidnext = m->uid;
            c.more = true;
            break;
        }
    }
    c.recent_from = b->recent_from < b->uidnext ? b->recent_from : 0;
    b->recent_from = c.uidnext > b->recent_from ? c.uidnext : b->recent_from;
    if (e->vanished)
        c.vanished_to = gone_since(r, b, e->vanished_modseq, e->vanished_from, vanished, &c.vanished_count);
    c.more = c.more || c.vanished_to != UINT32_MAX;
    answered(imap_server_changes(r->s, &c));
}

static void vanished(struct rig *r, const struct imap_event *e)
{
    struct imap_range gone[IMAP_CHANGES_RANGES_MAX];
    size_t count = 0;
    uint32_t to = gone_since(r, selected(r), e->modseq, e->ranges[0].first, gone, &count);

    answered(imap_server_vanished(r->s, gone, count, to));
}

/* ---- APPEND ---- */

static void append(struct rig *r, const struct imap_event *e)
{
    struct rig_box *b = rig_box_get(r->store, e->name);
    struct rig_message *m = &r->pending[r->pending_count];

    log_event(r, "APPEND", e->name);
    assert(!r->appending || r->pending_count > 0);
    if (!b || r->pending_count == 16 ||
        !rig_flags_of(b, e->flags, e->keywords, e->keyword_count, true, &m->flags)) {
        pending_drop(r);
        answered(imap_server_failed(r->s, b ? IMAP_FAIL_LIMIT : IMAP_FAIL_NOT_FOUND));
        return;
    }
    r->appending = true;
    buf_init(&m->bytes, SIZE_MAX);
    buf_init(&m->blob, SIZE_MAX);
    m->time_ms = e->has_time ? e->time_ms : r->store->clock_ms;
    r->pending_count++;
    answered(imap_server_done(r->s));
}

static void commit(struct rig *r)
{
    struct rig_box *b = rig_box_get(r->store, buf_span(&r->append_to));
    struct imap_range uids;

    assert(r->appending && b);
    uids.first = b->uidnext;
    for (size_t i = 0; i < r->pending_count; i++)
        rig_add(r->store, b, &r->pending[i]);
    uids.last = b->uidnext - 1;
    r->pending_count = 0;
    r->appending = false;
    answered(imap_server_appended(r->s, b->uidvalidity, &uids, 1));
    rig_notify(r->store, b, NULL);
}

/* ---- events ---- */

/* Whether this event is to fail. */
static bool fails(struct rig *r, const struct imap_event *e)
{
    struct rig_store *st = r->store;

    if (st->fail_event == IMAP_EVENT_MORE || e->type != st->fail_event || st->fail_after-- > 0)
        return false;
    st->fail_event = IMAP_EVENT_MORE;
    if (e->type == IMAP_EVENT_APPEND || e->type == IMAP_EVENT_COMMIT)
        pending_drop(r);
    answered(imap_server_failed(r->s, st->fail_with));
    return true;
}

static void handle_box(struct rig *r, const struct imap_event *e)
{
    check_ranges(e);
    switch (e->type) {
    case IMAP_EVENT_ENTRIES:
        entries(r, e);
        break;
    case IMAP_EVENT_STORE:
        store(r, e);
        break;
    case IMAP_EVENT_EXPUNGE:
        expunge(r, e);
        break;
    case IMAP_EVENT_COPY:
        copy(r, e);
        break;
    case IMAP_EVENT_VANISHED:
        vanished(r, e);
        break;
    default:
        assert(0);
    }
}

static void handle_append(struct rig *r, const struct imap_event *e)
{
    switch (e->type) {
    case IMAP_EVENT_APPEND:
        buf_reset(&r->append_to);
        buf_append(&r->append_to, e->name);
        append(r, e);
        break;
    case IMAP_EVENT_BODY:
        assert(r->appending && e->bytes.len > 0);
        buf_append(&r->pending[r->pending_count - 1].bytes, e->bytes);
        break;
    case IMAP_EVENT_MESSAGE:
        log_event(r, "MESSAGE", SPAN_NONE);
        assert(r->appending && e->message_bytes == r->pending[r->pending_count - 1].bytes.len);
        break;
    case IMAP_EVENT_COMMIT:
        log_event(r, "COMMIT", SPAN_NONE);
        commit(r);
        break;
    default:
        log_event(r, "ABORT", SPAN_NONE);
        assert(r->appending);
        pending_drop(r);
    }
}

static void handle_names(struct rig *r, const struct imap_event *e)
{
    struct rig_box *b;

    switch (e->type) {
    case IMAP_EVENT_LIST:
        list(r, e);
        break;
    case IMAP_EVENT_STATUS:
        status(r, e);
        break;
    case IMAP_EVENT_CREATE:
        create(r, e);
        break;
    case IMAP_EVENT_DELETE:
        log_event(r, "DELETE", e->name);
        done_or(r, rig_box_delete(r->store, e->name), IMAP_FAIL_NOT_FOUND);
        break;
    case IMAP_EVENT_RENAME:
        log_event(r, "RENAME", e->name);
        b = rig_box_get(r->store, e->name);
        if (b && rig_box_get(r->store, e->target))
            answered(imap_server_failed(r->s, IMAP_FAIL_EXISTS));
        else
            done_or(r, rig_box_rename(r->store, e->name, e->target), IMAP_FAIL_NOT_FOUND);
        break;
    case IMAP_EVENT_SUBSCRIBE:
        log_event(r, e->yes ? "SUBSCRIBE" : "UNSUBSCRIBE", e->name);
        rig_subscribe(r->store, e->name, e->yes);
        answered(imap_server_done(r->s));
        break;
    case IMAP_EVENT_OPEN:
        open_box(r, e);
        break;
    default:
        assert(0);
    }
}

static void handle(struct rig *r, const struct imap_event *e)
{
    r->events++;
    if (fails(r, e))
        return;
    switch (e->type) {
    case IMAP_EVENT_LOGIN:
        log_event(r, "LOGIN", e->user);
        answered(imap_server_login_done(r->s, check_login(e->user, e->password)));
        break;
    case IMAP_EVENT_AUTH:
    case IMAP_EVENT_AUTH_RESPONSE:
        auth(r, e);
        break;
    case IMAP_EVENT_AUTH_CANCEL:
        log_event(r, "AUTH_CANCEL", SPAN_NONE);
        break;
    case IMAP_EVENT_STARTTLS:
        log_event(r, "STARTTLS", SPAN_NONE);
        answered(imap_server_starttls_done(r->s, true));
        break;
    case IMAP_EVENT_COMPRESS:
        log_event(r, "COMPRESS", SPAN_NONE);
        answered(imap_server_done(r->s));
        break;
    case IMAP_EVENT_LEFT:
        log_event(r, "LEFT", SPAN_NONE);
        assert(r->box);
        r->box = 0;
        break;
    case IMAP_EVENT_READ:
        r->reads++;
        read_bytes(r, e);
        break;
    case IMAP_EVENT_CHANGES:
        changes(r, e);
        break;
    case IMAP_EVENT_APPEND:
    case IMAP_EVENT_BODY:
    case IMAP_EVENT_MESSAGE:
    case IMAP_EVENT_COMMIT:
    case IMAP_EVENT_ABORT:
        handle_append(r, e);
        break;
    case IMAP_EVENT_LIST:
    case IMAP_EVENT_STATUS:
    case IMAP_EVENT_CREATE:
    case IMAP_EVENT_DELETE:
    case IMAP_EVENT_RENAME:
    case IMAP_EVENT_SUBSCRIBE:
    case IMAP_EVENT_OPEN:
        handle_names(r, e);
        break;
    default:
        handle_box(r, e);
    }
}

static void collect(struct rig *r)
{
    struct span out = imap_server_output(r->s);

    if (r->output_step && out.len > r->output_step)
        out.len = r->output_step;
    buf_append(&r->out, out);
    if (imap_server_memory_bytes(r->s) > r->memory_max)
        r->memory_max = imap_server_memory_bytes(r->s);
    imap_server_output_used(r->s, out.len, r->now_ms);
}

static void collect_all(struct rig *r)
{
    while (imap_server_output(r->s).len)
        collect(r);
}

/* TLS or compression begins; without either: whether the engine really waits for nothing. */
static bool wait_over(struct rig *r, struct span *in)
{
    collect_all(r);
    if (imap_server_awaits_tls(r->s)) {
        *in = SPAN_NONE; /* what was read in clear is thrown away */
        answered(imap_server_tls_started(r->s, r->now_ms));
    } else if (imap_server_awaits_compress(r->s)) {
        r->compressed = true;
        answered(imap_server_compress_started(r->s));
    } else {
        return false;
    }
    return true;
}

static void run(struct rig *r, struct span in)
{
    struct imap_event e;

    imap_server_clock(r->s, r->store->clock_ms);
    for (;;) {
        enum imap_event_type type = imap_server_next(r->s, &in, r->now_ms, &e);

        assert(type == e.type);
        if (type == IMAP_EVENT_MORE || type == IMAP_EVENT_CLOSE) {
            assert(in.len == 0);
            collect_all(r);
            r->closed = type == IMAP_EVENT_CLOSE;
            r->reason = e.reason;
            if (r->closed)
                pending_drop(r);
            return;
        }
        if (type == IMAP_EVENT_BLOCKED)
            collect(r);
        else if (type != IMAP_EVENT_WAIT && type != IMAP_EVENT_YIELD)
            handle(r, &e);
        else if (type == IMAP_EVENT_YIELD)
            continue;
        else if (!wait_over(r, &in))
            return;
    }
}

void rig_feed(struct rig *r, struct span in)
{
    run(r, in);
    for (size_t i = 0; i < r->store->session_count; i++)
        if (r->store->sessions[i] != r && !r->store->sessions[i]->closed)
            run(r->store->sessions[i], SPAN_NONE);
}

void rig_feed_str(struct rig *r, const char *text)
{
    rig_feed(r, span_str(text));
}

const char *rig_said(struct rig *r)
{
    static struct buf last;

    buf_done(&last);
    buf_init(&last, SIZE_MAX);
    buf_append(&last, buf_span(&r->out));
    buf_reset(&r->out);
    return buf_cstr(&last);
}
