#include "roles/store/requests.h"

#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/wire.h"
#include "imap/name.h"

struct session *request_session(struct server *sv, struct peer *p, const struct ipc_id *id)
{
    struct session *session = sessions_find(&sv->sessions, &p->sessions, id);
    if (!session)
        server_fault(p, "a request for a session that is not open");
    else if (session->account == 0 || session->login_pending)
        server_fault(p, "a request for a session that is not logged in");
    else if (!server_serves(IPC_ROLE_IMAP, session->service))
        server_fault(p, "a request for a session that is not of IMAP");
    else
        return session;
    return NULL;
}

/* ---- what is under way ---- */

bool request_begin(struct request *r, struct peer *p, struct session *session, uint64_t bytes)
{
    *r = (struct request){0};
    if (session->requests >= REQUESTS_SESSION_MAX || p->request_bytes + bytes > REQUESTS_CHANNEL_BYTES)
        return false;
    *r = (struct request){.peer = p->sessions.channel, .session = session->serial, .bytes = bytes};
    session->requests++;
    p->request_bytes += bytes;
    return true;
}

void request_end(struct server *sv, struct request *r)
{
    if (r->session == 0)
        return;
    struct session *session = sessions_find_serial(&sv->sessions, r->session);
    struct peer *p = server_peer(sv, r->peer);
    if (session)
        session->requests--;
    if (p)
        p->request_bytes -= r->bytes;
    *r = (struct request){0};
}

/* ---- reads ---- */

void request_read_free(struct request_read *r)
{
    arena_done(&r->arena);
    free(r);
}

static void read_finish(struct read_work *read)
{
    struct request_read *r = (struct request_read *)read;
    struct server *sv = read->sv;
    struct peer *p = server_peer(sv, read->peer);
    struct session *session = sessions_find_serial(&sv->sessions, r->session);
    r->going = false;
    if (p && session)
        r->answer(p, session, r);
    else if (r->drop)
        r->drop(r);
    if (r->going)
        return;
    request_end(sv, &r->request);
    request_read_free(r);
}

void *request_read_new(struct peer *p, const struct session *session, uint32_t tag, size_t size,
                       size_t arena_max, void (*run)(struct work *work, void *reader),
                       void (*answer)(struct peer *p, struct session *session, struct request_read *r))
{
    struct request_read *r = mem_zalloc(size);
    r->read =
        (struct read_work){.work.run = run, .peer = p->sessions.channel, .tag = tag, .finish = read_finish};
    r->read.sv = p->server;
    r->session = session->serial;
    r->account = session->account;
    r->answer = answer;
    arena_init(&r->arena, arena_max);
    return r;
}

void request_read_start(struct peer *p, struct session *session, struct request_read *r)
{
    struct server *sv = p->server;
    if (request_begin(&r->request, p, session, r->arena.used) && server_read(sv, &r->read))
        return;
    r->rc = BRANT_ETRYLATER;
    r->answer(p, session, r);
    request_end(sv, &r->request);
    request_read_free(r);
}

bool request_read_go(struct request_read *r, void (*run)(struct work *work, void *reader),
                     void (*answer)(struct peer *p, struct session *session, struct request_read *r))
{
    r->read.work.run = run;
    r->answer = answer;
    r->going = server_read(r->read.sv, &r->read);
    return r->going;
}

/* ---- fields ---- */

bool request_ranges(struct arena *a, struct span bytes, const struct store_range **ret, size_t *ret_count)
{
    size_t count = bytes.len / IPC_RANGE_BYTES;
    if (bytes.len % IPC_RANGE_BYTES != 0)
        return false;
    struct store_range *ranges = arena_array(a, count + 1, sizeof *ranges);
    assert(ranges); /* the frame bounds them, and the arena has room for that */
    struct wire_reader in = wire_read(bytes);
    uint32_t last = 0;
    for (size_t i = 0; i < count; i++) {
        ranges[i].first = wire_get_u32(&in);
        ranges[i].last = wire_get_u32(&in);
        if (ranges[i].first <= last || ranges[i].last < ranges[i].first)
            return false;
        last = ranges[i].last;
    }
    *ret = ranges;
    *ret_count = count;
    return true;
}

struct span request_ranges_put(struct arena *a, const struct store_range_list *list)
{
    size_t len = list->count * IPC_RANGE_BYTES;
    uint8_t *bytes = list->r && len > 0 ? arena_alloc(a, len) : NULL;
    if (!bytes)
        return SPAN_NONE;
    for (size_t i = 0; i < list->count; i++)
        for (unsigned k = 0; k < 4; k++) {
            bytes[i * IPC_RANGE_BYTES + k] = (uint8_t)(list->r[i].first >> (8 * k));
            bytes[i * IPC_RANGE_BYTES + 4 + k] = (uint8_t)(list->r[i].last >> (8 * k));
        }
    return span_make(bytes, len);
}

struct store_range_list request_ranges_room(struct arena *a, size_t max)
{
    return (struct store_range_list){.r = arena_array(a, max, sizeof(struct store_range)), .max = max};
}

/* RFC 3501 9: flag-keyword is an atom; here it is enough that it cannot be taken for two. */
static bool is_keyword(struct span name)
{
    if (name.len == 0 || name.len > STORE_KEYWORD_BYTES_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.p[i] <= ' ' || name.p[i] >= 0x7f)
            return false;
    return true;
}

bool request_keywords(struct arena *a, struct span text, struct store_keyword_list *ret)
{
    *ret = (struct store_keyword_list){0};
    if (text.len == 0)
        return true;
    struct span *names = arena_array(a, STORE_KEYWORDS_MAX, sizeof *names);
    struct span rest = arena_dup(a, text);
    assert(names && rest.p);
    for (bool last = false; !last;) {
        size_t at = span_find_byte(rest, ' ');
        struct span name = span_sub(rest, 0, at);
        last = at == SPAN_NPOS;
        if (ret->count == STORE_KEYWORDS_MAX || !is_keyword(name))
            return false;
        names[ret->count++] = name;
        rest = last ? SPAN_NONE : span_from(rest, at + 1);
    }
    ret->names = names;
    return true;
}

bool request_name(struct span name)
{
    struct buf _cleanup_buf_ checked;
    buf_init(&checked, IPC_MAILBOX_NAME_MAX);
    return imap_name_parse(name, true, &checked) == BRANT_OK && span_eq(name, buf_span(&checked));
}

struct span request_keywords_read(struct store_reader *reader, struct arena *a, uint64_t account,
                                  uint64_t mailbox, size_t known)
{
    char text[STORE_KEYWORDS_TEXT_MAX + 1];
    size_t count = 0;
    if (store_keywords_get(reader, account, mailbox, text, &count) != BRANT_OK || count <= known)
        return SPAN_NONE;
    return arena_dup(a, span_str(text));
}
