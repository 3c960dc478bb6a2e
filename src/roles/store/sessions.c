#include "roles/store/sessions.h"

#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"

struct source_count {
    uint64_t sessions;
};

struct id_key {
    uint64_t channel;
    struct ipc_id id;
};

static struct id_key id_key(const struct session_owner *owner, const struct ipc_id *id)
{
    return (struct id_key){owner->channel, *id};
}

size_t sessions_source_key(const struct ip_addr *source, uint8_t ret[SESSIONS_SOURCE_KEY_MAX])
{
    size_t len = source->family == IP_V4 ? 4 : source->family == IP_V6 ? 8 : 0;
    ret[0] = source->family;
    memcpy(ret + 1, source->bytes, len);
    return 1 + len;
}

void sessions_init(struct sessions *s, const struct sessions_limits *limits, struct map_key key)
{
    *s = (struct sessions){.limits = *limits};
    map_init(&s->by_id, key);
    map_init(&s->by_serial, key);
    map_init(&s->by_account, key);
    map_init(&s->sources, key);
}

void sessions_done(struct sessions *s)
{
    assert(s->by_id.len == 0 && s->sources.len == 0);
    map_done(&s->by_id);
    map_done(&s->by_serial);
    map_done(&s->by_account);
    map_done(&s->sources);
}

void sessions_set_limits(struct sessions *s, const struct sessions_limits *limits)
{
    s->limits = *limits;
}

static void source_count(struct sessions *s, const struct ip_addr *address, uint8_t service)
{
    uint8_t key[SESSIONS_SOURCE_KEY_MAX];
    s->service[service]++;
    s->total++;
    if (address->family == IP_NONE) /* a Unix socket */
        return;
    struct span k = span_make(key, sessions_source_key(address, key));
    struct source_count *count = map_get(&s->sources, k);
    if (!count) {
        count = mem_zalloc(sizeof *count);
        map_put(&s->sources, k, count);
    }
    count->sessions++;
}

static void source_uncount(struct sessions *s, const struct ip_addr *address, uint8_t service)
{
    uint8_t key[SESSIONS_SOURCE_KEY_MAX];
    assert(s->service[service] > 0 && s->total > 0);
    s->service[service]--;
    s->total--;
    if (address->family == IP_NONE)
        return;
    struct span k = span_make(key, sessions_source_key(address, key));
    struct source_count *count = map_get(&s->sources, k);
    assert(count && count->sessions > 0);
    if (--count->sessions == 0)
        free(map_remove(&s->sources, k));
}

static bool source_over_limit(const struct sessions *s, const struct ip_addr *address)
{
    uint8_t key[SESSIONS_SOURCE_KEY_MAX];
    if (address->family == IP_NONE)
        return false;
    struct source_count *count = map_get(&s->sources, span_make(key, sessions_source_key(address, key)));
    return (count ? count->sessions : 0) >= s->limits.per_source;
}

static bool service_over_limit(const struct sessions *s, uint8_t service)
{
    uint64_t count = s->service[service];
    if (service == IPC_SERVICE_POP3 || service == IPC_SERVICE_POP3S) {
        service = IPC_SERVICE_POP3;
        count = s->service[IPC_SERVICE_POP3] + s->service[IPC_SERVICE_POP3S];
    } else if (service == IPC_SERVICE_IMAP || service == IPC_SERVICE_IMAPS) {
        service = IPC_SERVICE_IMAP;
        count = s->service[IPC_SERVICE_IMAP] + s->service[IPC_SERVICE_IMAPS];
    }
    return count >= s->limits.service[service];
}

static bool over_limit(const struct sessions *s, const struct ip_addr *address, uint8_t service)
{
    return s->total >= s->limits.total || service_over_limit(s, service) || source_over_limit(s, address);
}

int sessions_open(struct sessions *s, struct session_owner *owner, const struct ipc_id *id, uint8_t service,
                  const struct ip_addr *source, bool limited, struct session **ret)
{
    if (service == 0 || service >= IPC_SERVICE_COUNT)
        return BRANT_ESYNTAX;
    struct id_key key = id_key(owner, id);
    if (map_get(&s->by_id, span_make(&key, sizeof key)))
        return BRANT_EEXISTS;
    if (limited && over_limit(s, source, service))
        return BRANT_ELIMIT;

    struct session *session = mem_zalloc(sizeof *session);
    session->id = *id;
    session->owner = owner;
    session->service = service;
    session->source = *source;
    session->serial = ++s->last_serial;
    session->next = owner->first;
    if (owner->first)
        owner->first->prev = session;
    owner->first = session;
    owner->count++;
    map_put(&s->by_id, span_make(&key, sizeof key), session);
    map_put(&s->by_serial, map_u64_key(&session->serial), session);
    source_count(s, source, service);
    *ret = session;
    return BRANT_OK;
}

struct session *sessions_find(const struct sessions *s, const struct session_owner *owner,
                              const struct ipc_id *id)
{
    struct id_key key = id_key(owner, id);
    return map_get(&s->by_id, span_make(&key, sizeof key));
}

struct session *sessions_find_serial(const struct sessions *s, uint64_t serial)
{
    return map_get(&s->by_serial, map_u64_key(&serial));
}

void sessions_close(struct sessions *s, struct session *session)
{
    if (session->maildrop_held)
        map_remove(&s->by_account, map_u64_key(&session->account));
    source_uncount(s, &session->source, session->service);
    struct id_key key = id_key(session->owner, &session->id);
    map_remove(&s->by_id, span_make(&key, sizeof key));
    map_remove(&s->by_serial, map_u64_key(&session->serial));
    *(session->prev ? &session->prev->next : &session->owner->first) = session->next;
    if (session->next)
        session->next->prev = session->prev;
    session->owner->count--;
    free(session);
}

void sessions_close_all(struct sessions *s, struct session_owner *owner)
{
    while (owner->first)
        sessions_close(s, owner->first);
}

int sessions_maildrop_lock(struct sessions *s, struct session *session)
{
    assert(session->account != 0);
    if (session->maildrop_held)
        return BRANT_OK;
    if (map_get(&s->by_account, map_u64_key(&session->account)))
        return BRANT_ESTATE;
    map_put(&s->by_account, map_u64_key(&session->account), session);
    session->maildrop_held = true;
    return BRANT_OK;
}
