#include "roles/common/store_client.h"

#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"

struct store_client {
    struct net_channel *channel; /* the role's; NULL while the store is away */
    struct store_peer *peers;
    struct map by_session; /* session id -> peer */
    struct map by_tag;     /* tag -> peer whose question it is */
    uint32_t last_tag;
};

static struct span tag_key(const uint32_t *tag)
{
    return span_make(tag, sizeof *tag);
}

static struct span session_key(const struct ipc_id *session)
{
    return span_make(session->b, sizeof session->b);
}

void store_peer_forget(struct store_peer *p)
{
    if (p->tag)
        map_remove(&p->client->by_tag, tag_key(&p->tag));
    p->tag = 0;
}

struct store_client *store_client_new(struct map_key key)
{
    struct store_client *c = mem_zalloc(sizeof *c);

    map_init(&c->by_session, key);
    map_init(&c->by_tag, key);
    return c;
}

void store_client_free(struct store_client *c)
{
    if (!c)
        return;
    assert(!c->peers);
    map_done(&c->by_session);
    map_done(&c->by_tag);
    free(c);
}

bool store_client_is_up(const struct store_client *c)
{
    return c->channel != NULL;
}

bool store_client_congested(const struct store_client *c)
{
    return c->channel && net_channel_congested(c->channel);
}

/* Calls one op of every peer that is there now. Peers leave, and none joins, while this runs. */
static void each_peer(struct store_client *c, bool up)
{
    size_t count = c->by_session.len;
    struct store_peer **all = mem_array(count, sizeof(struct store_peer *));
    struct ipc_id *ids = mem_array(count, sizeof *ids);
    size_t n = 0;

    for (struct store_peer *p = c->peers; p; p = p->next, n++) {
        all[n] = p;
        ids[n] = p->session;
    }
    assert(n == count);
    for (size_t i = 0; i < n; i++) {
        if (map_get(&c->by_session, session_key(&ids[i])) != all[i])
            continue; /* left meanwhile */
        if (up)
            all[i]->ops->up(all[i]);
        else
            all[i]->ops->lost(all[i]);
    }
    free(all);
    free(ids);
}

void store_client_up(struct store_client *c, struct net_channel *channel)
{
    c->channel = channel;
    each_peer(c, true);
}

void store_client_down(struct store_client *c)
{
    c->channel = NULL;
    for (struct store_peer *p = c->peers; p; p = p->next)
        store_peer_forget(p);
    each_peer(c, false);
}

void store_client_message(struct store_client *c, const struct ipc_message *m)
{
    struct store_peer *p;

    if (m->type == IPC_TYPE_BODY_CREDIT) {
        p = map_get(&c->by_session, session_key(&m->body_credit.session));
        if (p && p->ops->credit)
            p->ops->credit(p, &m->body_credit);
        return;
    }
    if (m->type == IPC_TYPE_MAILBOX_NEWS) {
        p = map_get(&c->by_session, session_key(&m->mailbox_news.session));
        if (p && p->ops->news)
            p->ops->news(p, &m->mailbox_news);
        return;
    }
    p = map_get(&c->by_tag, tag_key(&m->tag));
    if (!p)
        return; /* the session that asked is gone */
    if (m->type != p->answer_type) {
        net_channel_fault(c->channel, "an answer of the wrong kind");
        return;
    }
    store_peer_forget(p);
    p->ops->answer(p, m);
}

void store_peer_attach(struct store_peer *p, struct store_client *c, const struct ipc_id *session,
                       const struct store_peer_ops *ops)
{
    *p = (struct store_peer){
        .ops = ops, .client = c, .session = *session, .next = c->peers, .link = &c->peers};
    if (p->next)
        p->next->link = &p->next;
    c->peers = p;
    map_put(&c->by_session, session_key(session), p);
}

void store_peer_detach(struct store_peer *p)
{
    store_peer_forget(p);
    map_remove(&p->client->by_session, session_key(&p->session));
    *p->link = p->next;
    if (p->next)
        p->next->link = p->link;
    p->client = NULL;
}

int store_peer_ask(struct store_peer *p, struct ipc_message *m)
{
    struct store_client *c = p->client;
    int rc;

    if (!c->channel || p->tag)
        return BRANT_ESTATE;
    do {
        if (++c->last_tag == 0)
            c->last_tag = 1;
    } while (map_get(&c->by_tag, tag_key(&c->last_tag)));
    m->tag = c->last_tag;
    rc = net_channel_send(c->channel, m);
    if (rc)
        return rc;
    p->tag = m->tag;
    p->answer_type = (uint16_t)ipc_answer(m->type);
    map_put(&c->by_tag, tag_key(&p->tag), p);
    return BRANT_OK;
}

int store_peer_tell(struct store_peer *p, const struct ipc_message *m)
{
    return p->client->channel ? net_channel_send(p->client->channel, m) : BRANT_ESTATE;
}
