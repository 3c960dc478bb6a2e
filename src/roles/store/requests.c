#include "roles/store/requests.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"

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

struct span request_keywords_read(struct store_reader *reader, struct arena *a, uint64_t account,
                                  uint64_t mailbox, size_t known)
{
    char text[STORE_KEYWORDS_TEXT_MAX + 1];
    size_t count = 0;
    if (store_keywords_get(reader, account, mailbox, text, &count) != BRANT_OK || count <= known)
        return SPAN_NONE;
    return arena_dup(a, span_str(text));
}
