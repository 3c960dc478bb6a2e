#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "roles/store/server.h"

enum { CREDIT_STEP = IPC_BODY_CREDIT / 2, TICK_MS = 1000 };

struct body_key {
    uint64_t channel;
    struct ipc_id session;
    uint64_t body;
};

struct arriving_body {
    struct work work; /* while on_thread */
    struct body_key key;
    struct server *sv;
    struct session *session; /* NULL once claimed, or its session ended */
    struct arriving_body *session_next;
    struct store_body *store;
    enum ipc_status status; /* not IPC_OK: refused, the sender was told */
    struct buf received;    /* not taken by the store yet */
    uint64_t bytes;         /* received in all */
    uint64_t credit;        /* what the sender may still send */
    uint64_t owed;          /* consumed, and not given back as credit yet */
    uint64_t counted;       /* in the peer's body_bytes */

    bool on_thread, orphan; /* orphan: freed when it comes back */
    bool job_finish;
    struct buf job; /* what the thread writes */
    int job_result;

    body_ready *ready; /* claimed by a COMMIT */
    void *ready_context;

    bool waiting;
    uint64_t waiting_since_ms; /* 0: does not wait */
    struct arriving_body *waiting_prev, *waiting_next;
};

static void tick(void *context);

void arriving_init(struct arriving *b, struct server *sv, struct map_key key)
{
    *b = (struct arriving){.sv = sv};
    map_init(&b->by_key, key);
    b->timer = net_timer_new(sv->loop, tick, b);
}

static struct span key_span(const struct body_key *key)
{
    return span_make(key, sizeof *key);
}

/* ---- accounts ---- */

/* Memory that the store holds for it is counted to its peer. */
static void recount(struct arriving_body *b)
{
    uint64_t now = b->store && !b->on_thread ? store_body_memory(b->store) : 0;
    struct peer *p = server_peer(b->sv, b->key.channel);
    if (p)
        p->body_bytes += now - b->counted;
    b->counted = now;
}

static void wait_start(struct arriving_body *b)
{
    struct arriving *all = &b->sv->arriving;
    assert(!b->waiting);
    b->waiting = true;
    if (b->waiting_since_ms == 0)
        b->waiting_since_ms = server_now_ms(b->sv);
    struct arriving_body *last = all->waiting ? all->waiting->waiting_prev : NULL;
    b->waiting_next = NULL;
    if (last) { /* the first one's prev is the last one */
        last->waiting_next = b;
        b->waiting_prev = last;
        all->waiting->waiting_prev = b;
    } else {
        all->waiting = b->waiting_prev = b;
        net_timer_set(all->timer, TICK_MS);
    }
}

static void wait_stop(struct arriving_body *b)
{
    struct arriving *all = &b->sv->arriving;
    if (!b->waiting)
        return;
    b->waiting = false;
    if (b->waiting_next)
        b->waiting_next->waiting_prev = b->waiting_prev;
    else
        all->waiting->waiting_prev = b->waiting_prev;
    if (all->waiting == b)
        all->waiting = b->waiting_next;
    else
        b->waiting_prev->waiting_next = b->waiting_next;
}

static void body_free(struct arriving_body *b)
{
    assert(!b->on_thread);
    struct arriving *all = &b->sv->arriving;
    wait_stop(b);
    all->received_waiting -= b->received.len + b->job.len;
    all->count--;
    if (b->store) {
        store_body_free(b->store);
        b->store = NULL;
    }
    recount(b);
    buf_done(&b->received);
    buf_done(&b->job);
    free(b);
}

void arriving_close(struct arriving *b)
{
    while (b->waiting) /* claimed by commits that will not be made */
        body_free(b->waiting);
}

void arriving_done(struct arriving *b)
{
    assert(b->by_key.len == 0);
    map_done(&b->by_key);
    net_timer_free(b->timer);
}

static void unlink_session(struct arriving_body *b)
{
    if (!b->session)
        return;
    struct arriving_body **at = &b->session->bodies;
    while (*at != b)
        at = &(*at)->session_next;
    *at = b->session_next;
    b->session->body_count--;
    b->session = NULL;
    map_remove(&b->sv->arriving.by_key, key_span(&b->key));
}

/* Whom the store counts staged bytes against. */
static uint64_t source_number(const struct server *sv, const struct session *session)
{
    uint8_t key[SESSIONS_SOURCE_KEY_MAX];
    return map_siphash(sv->peers.key, span_make(key, sessions_source_key(&session->source, key)));
}

static struct arriving_body *body_new(struct server *sv, struct session *session, const struct body_key *key)
{
    struct arriving_body *b = mem_zalloc(sizeof *b);
    b->sv = sv;
    b->key = *key;
    b->credit = IPC_BODY_CREDIT;
    b->store = store_body_new(sv->store, source_number(sv, session));
    buf_init(&b->received, IPC_BODY_CREDIT);
    buf_init(&b->job, IPC_BODY_CREDIT);
    b->session = session;
    b->session_next = session->bodies;
    session->bodies = b;
    session->body_count++;
    map_put(&sv->arriving.by_key, key_span(key), b);
    sv->arriving.count++;
    return b;
}

/* ---- to the sender ---- */

static void send_credit(struct arriving_body *b, uint32_t bytes, enum ipc_status status)
{
    struct peer *p = server_peer(b->sv, b->key.channel);
    if (p)
        server_send(p, &(struct ipc_message){.type = IPC_TYPE_BODY_CREDIT,
                                             .body_credit = {.session = b->key.session,
                                                             .body = b->key.body,
                                                             .bytes = bytes,
                                                             .status = (uint8_t)status}});
}

static void consumed(struct arriving_body *b, size_t len)
{
    b->waiting_since_ms = 0;
    b->owed += len;
    /* Nothing more comes for a claimed body, and a small one is over before it needs credit. */
    if (b->ready || b->owed < CREDIT_STEP)
        return;
    send_credit(b, (uint32_t)b->owed, IPC_OK);
    b->credit += b->owed;
    b->owed = 0;
}

/* Too long is too long; too much of one source in staging is over when its other bodies are. */
static enum ipc_status refusal(const struct arriving_body *b, int rc)
{
    if (rc == BRANT_ELIMIT && b->bytes <= b->sv->store_config.message_bytes_max)
        return IPC_TRY_LATER;
    return server_status_of(rc);
}

/* The body can't be stored. It stays as a name until its session drops it, so that chunks under way are no
 * fault. */
static void refuse(struct arriving_body *b, enum ipc_status status)
{
    wait_stop(b);
    b->status = status;
    store_body_free(b->store);
    b->store = NULL;
    b->sv->arriving.received_waiting -= b->received.len + b->job.len;
    buf_done(&b->received);
    buf_done(&b->job);
    recount(b);
    if (b->ready) {
        b->ready(b->ready_context, status, NULL);
        body_free(b);
    } else {
        send_credit(b, 0, status);
    }
}

/* ---- into the store ---- */

static bool outgrows_memory(const struct arriving_body *b, size_t len)
{
    return store_body_bytes(b->store) + len > b->sv->store_config.inline_bytes_max;
}

static bool over_channel(const struct arriving_body *b, size_t len)
{
    const struct peer *p = server_peer(b->sv, b->key.channel);
    return p && p->body_bytes + len > ARRIVING_CHANNEL_BYTES;
}

static void stage(struct work *work, void *state)
{
    (void)state;
    struct arriving_body *b = (struct arriving_body *)work;
    b->job_result =
        b->job_finish ? store_body_finish(b->store) : store_body_append(b->store, buf_span(&b->job));
}

/* Writes what was received, or finishes, on a thread. */
static void stage_start(struct arriving_body *b, bool finish)
{
    b->work.run = stage;
    b->job_finish = finish;
    if (!finish) {
        assert(b->job.len == 0);
        struct buf swap = b->job;
        b->job = b->received;
        b->received = swap;
    }
    if (workers_submit(b->sv->stagers, &b->work) == BRANT_OK) {
        b->on_thread = true;
        return;
    }
    if (!finish) {
        struct buf swap = b->job;
        b->job = b->received;
        b->received = swap;
    }
    wait_start(b);
}

/* Gives bytes to the store here and now. BRANT_ETRYLATER: no memory. */
static int append_now(struct arriving_body *b, struct span bytes)
{
    if (over_channel(b, bytes.len))
        return BRANT_ETRYLATER;
    int rc = store_body_append(b->store, bytes);
    recount(b);
    return rc;
}

static void ready(struct arriving_body *b)
{
    struct store_body *store = b->store;
    b->store = NULL; /* now the commit's, memory and all */
    recount(b);
    b->ready(b->ready_context, IPC_OK, store);
    body_free(b);
}

/* Goes on with a body as far as it goes. The body may be gone afterwards. */
static void pump(struct arriving_body *b)
{
    if (b->on_thread || b->waiting || b->status != IPC_OK)
        return;
    size_t len = b->received.len;
    if (len > 0 && outgrows_memory(b, len)) {
        stage_start(b, false);
        return;
    }
    if (len > 0) {
        int rc = append_now(b, buf_span(&b->received));
        if (rc == BRANT_ETRYLATER) {
            wait_start(b);
            return;
        }
        if (rc != BRANT_OK) {
            refuse(b, refusal(b, rc));
            return;
        }
        b->sv->arriving.received_waiting -= len;
        buf_reset(&b->received);
        buf_shrink(&b->received);
        consumed(b, len);
    }
    if (!b->ready)
        return;
    if (outgrows_memory(b, 0)) {
        stage_start(b, true);
        return;
    }
    int rc = store_body_finish(b->store);
    if (rc == BRANT_OK)
        ready(b);
    else
        refuse(b, refusal(b, rc));
}

void arriving_work_drop(struct work *work)
{
    struct arriving_body *b = (struct arriving_body *)work;
    b->on_thread = false;
    if (b->orphan || b->ready) {
        body_free(b);
        return;
    }
}

void arriving_work_done(struct server *sv, struct work *work)
{
    (void)sv;
    struct arriving_body *b = (struct arriving_body *)work;
    b->on_thread = false;
    recount(b);
    if (b->orphan) {
        body_free(b);
        return;
    }
    int rc = b->job_result;
    if (rc == BRANT_ETRYLATER && !b->job_finish) { /* nothing was taken: what came meanwhile goes behind it */
        int appended = buf_append(&b->job, buf_span(&b->received));
        assert(appended == BRANT_OK); /* both together are within the credit */
        struct buf swap = b->job;
        b->job = b->received;
        b->received = swap;
        buf_reset(&b->job);
        wait_start(b);
        return;
    }
    if (rc != BRANT_OK) {
        refuse(b, refusal(b, rc));
        return;
    }
    if (b->job_finish) {
        ready(b);
        return;
    }
    size_t len = b->job.len;
    b->sv->arriving.received_waiting -= len;
    buf_reset(&b->job);
    consumed(b, len);
    pump(b);
}

void arriving_retry(struct server *sv)
{
    struct arriving *all = &sv->arriving;
    if (all->retrying || !all->waiting) /* what is refused in its turn frees memory: no turns within a turn */
        return;
    all->retrying = true;
    const struct arriving_body *last = all->waiting->waiting_prev;
    for (bool is_last = false; !is_last && all->waiting;) {
        struct arriving_body *b = all->waiting;
        is_last = b == last;
        wait_stop(b);
        pump(b); /* may wait again, at the end of the list */
    }
    all->retrying = false;
}

static void tick(void *context)
{
    struct arriving *all = context;
    uint64_t now = server_now_ms(all->sv);
    for (struct arriving_body *b = all->waiting, *next; b; b = next) {
        next = b->waiting_next;
        if (now - b->waiting_since_ms >= ARRIVING_WAIT_MS)
            refuse(b, IPC_TRY_LATER);
    }
    arriving_retry(all->sv);
    if (all->waiting)
        net_timer_set(all->timer, TICK_MS);
}

/* ---- messages ---- */

static void receive(struct arriving_body *b, struct span bytes)
{
    bool direct = !b->on_thread && !b->waiting && b->received.len == 0 && !outgrows_memory(b, bytes.len);
    if (direct) {
        int rc = append_now(b, bytes);
        if (rc == BRANT_OK) {
            consumed(b, bytes.len);
            return;
        }
        if (rc != BRANT_ETRYLATER) {
            refuse(b, refusal(b, rc));
            return;
        }
    }
    if (b->sv->arriving.received_waiting + bytes.len > ARRIVING_WAITING_BYTES) {
        if (!b->on_thread) {
            refuse(b, IPC_TRY_LATER);
            return;
        }
        /* Its own credit bounds what is added until the thread comes back. */
    }
    int rc = buf_append(&b->received, bytes);
    assert(rc == BRANT_OK); /* bounded by its credit */
    b->sv->arriving.received_waiting += bytes.len;
    pump(b);
}

void on_body_chunk(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_body_chunk *c = &m->body_chunk;
    struct session *session = sessions_find(&sv->sessions, &p->sessions, &c->session);
    if (!session) {
        server_fault(p, "a chunk for a session that is not open");
        return;
    }
    struct body_key key = {p->sessions.channel, c->session, c->body};
    struct arriving_body *b = map_get(&sv->arriving.by_key, key_span(&key));
    if (!b && session->body_count >= ARRIVING_PER_SESSION) {
        server_fault(p, "too many bodies in one session");
        return;
    }
    if (!b)
        b = body_new(sv, session, &key);
    if (c->bytes.len > b->credit) {
        server_fault(p, "more of a body than its credit");
        return;
    }
    b->credit -= c->bytes.len;
    b->bytes += c->bytes.len;
    if (b->status == IPC_OK && c->bytes.len > 0)
        receive(b, c->bytes);
}

static void drop(struct arriving_body *b)
{
    unlink_session(b);
    if (b->on_thread)
        b->orphan = true;
    else
        body_free(b);
}

void arriving_drop(struct server *sv, const struct session *session, uint64_t id)
{
    struct body_key key = {session->owner->channel, session->id, id};
    struct arriving_body *b = map_get(&sv->arriving.by_key, key_span(&key));
    if (b)
        drop(b);
}

void on_body_abort(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    const struct ipc_body_abort *a = &m->body_abort;
    struct session *session = sessions_find(&sv->sessions, &p->sessions, &a->session);
    if (!session) {
        server_fault(p, "an abort for a session that is not open");
        return;
    }
    arriving_drop(sv, session, a->body); /* given up perhaps before its first byte was sent */
    arriving_retry(sv);
}

void arriving_session_closed(struct server *sv, struct session *session)
{
    if (!session->bodies)
        return;
    while (session->bodies)
        drop(session->bodies);
    arriving_retry(sv);
}

int arriving_claim(struct server *sv, struct session *session, uint64_t id, uint64_t bytes,
                   body_ready *on_ready, void *context)
{
    struct body_key key = {session->owner->channel, session->id, id};
    struct arriving_body *b = map_get(&sv->arriving.by_key, key_span(&key));
    if (!b && bytes > 0)
        return BRANT_ENOTFOUND;
    if (!b)
        b = body_new(sv, session, &key);
    if (b->bytes != bytes)
        return BRANT_ESYNTAX;
    unlink_session(b);
    b->ready = on_ready;
    b->ready_context = context;
    if (b->status != IPC_OK) { /* the sender was told already, and committed all the same */
        on_ready(context, b->status, NULL);
        body_free(b);
        return BRANT_OK;
    }
    pump(b);
    return BRANT_OK;
}
