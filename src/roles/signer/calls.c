#include "roles/signer/calls.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "log/log.h"

struct call {
    uint32_t tag;
    uint8_t kind;
    uint8_t key_id[IPC_KEY_ID_BYTES];
    size_t key_id_len, data_len;
    uint8_t data[IPC_SIGN_DATA_MAX];
};

struct caller {
    struct calls *calls;
    struct caller *next, **link;
    struct net_channel *channel;
    struct call queue[CALLS_MAX];
    size_t first, count;
    bool refusal_logged; /* one event tells it; a thousand would hide the rest of the log */
};

struct calls {
    struct net_loop *loop;
    const struct keys *keys;
    calls_fault *fault;
    void *context;
    struct caller *list;
    struct net_timer *turn;
    struct calls_stats stats;
};

static void turn(void *arg);

struct calls *calls_new(struct net_loop *loop, const struct keys *keys, calls_fault *fault, void *context)
{
    struct calls *c = mem_zalloc(sizeof *c);
    c->loop = loop;
    c->keys = keys;
    c->fault = fault;
    c->context = context;
    c->turn = net_timer_new(loop, turn, c);
    return c;
}

static void caller_free(struct caller *caller)
{
    *caller->link = caller->next;
    if (caller->next)
        caller->next->link = caller->link;
    caller->calls->stats.callers--;
    net_channel_free(caller->channel);
    free(caller);
}

void calls_free(struct calls *c)
{
    if (!c)
        return;
    while (c->list)
        caller_free(c->list);
    net_timer_free(c->turn);
    free(c);
}

struct calls_stats calls_stats(const struct calls *c)
{
    return c->stats;
}

/* --- answers
 * ------------------------------------------------------------------------------------------------
 */

static void log_refusal(struct caller *caller, uint8_t status)
{
    if (caller->refusal_logged)
        return;
    caller->refusal_logged = true;
    log_event(LOG_WARNING, "sign-refused",
              LOG_STR("peer", ipc_role_name(net_channel_peer_role(caller->channel))),
              LOG_U64("instance", net_channel_peer_instance(caller->channel)),
              LOG_STR("reason", ipc_status_text(status)));
}

static void answer(struct caller *caller, const struct call *call)
{
    struct calls *c = caller->calls;
    struct buf _cleanup_buf_ signature;
    buf_init(&signature, IPC_SIGN_DATA_MAX);
    struct pair *p = keys_find(c->keys, span_make(call->key_id, call->key_id_len));
    int rc =
        p ? pair_sign(p, (enum ipc_sign_kind)call->kind, span_make(call->data, call->data_len), &signature)
          : BRANT_ENOTFOUND;
    struct ipc_message m = {.type = IPC_TYPE_SIGNED, .tag = call->tag};
    m.signed_data.status = rc == BRANT_OK ? IPC_OK : p ? IPC_REFUSED : IPC_NOT_FOUND;
    m.signed_data.signature = buf_span(&signature);
    c->stats.signatures += rc == BRANT_OK;
    c->stats.refused += rc != BRANT_OK;
    if (rc < 0)
        log_refusal(caller, m.signed_data.status);
    net_channel_send(caller->channel, &m);
}

/* One answer for each caller that waits. */
static void turn(void *arg)
{
    struct calls *c = arg;
    bool more = false;
    for (struct caller *caller = c->list; caller; caller = caller->next) {
        if (caller->count == 0)
            continue;
        answer(caller, &caller->queue[caller->first]);
        caller->first = (caller->first + 1) % CALLS_MAX;
        caller->count--;
        more = more || caller->count > 0;
    }
    if (more)
        net_timer_set(c->turn, 0);
}

/* --- questions
 * ----------------------------------------------------------------------------------------------
 */

/* Within the maxima of the message's fields, which the decoder has checked. */
static size_t keep(uint8_t *to, struct span bytes)
{
    if (bytes.len > 0)
        memcpy(to, bytes.p, bytes.len);
    return bytes.len;
}

static void on_message(void *context, struct net_channel *channel, const struct ipc_message *m)
{
    struct caller *caller = context;
    if (m->type != IPC_TYPE_SIGN) {
        net_channel_fault(channel, "not a call");
        return;
    }
    if (caller->count == CALLS_MAX) {
        net_channel_fault(channel, "more calls than anybody waits for");
        return;
    }
    struct call *call = &caller->queue[(caller->first + caller->count++) % CALLS_MAX];
    call->tag = m->tag;
    call->kind = m->sign.kind;
    call->key_id_len = keep(call->key_id, m->sign.key_id);
    call->data_len = keep(call->data, m->sign.data);
    net_timer_set(caller->calls->turn, 0);
}

static void on_ended(void *context, struct net_channel *channel, enum net_channel_end end, const char *text)
{
    struct caller *caller = context;
    struct calls *c = caller->calls;
    if (end == NET_CHANNEL_FAULT)
        c->fault(c->context, net_channel_peer_role(channel), net_channel_peer_instance(channel), text);
    caller_free(caller);
}

void calls_add(struct calls *c, enum ipc_role peer, uint32_t instance, int fd)
{
    static const struct net_channel_ops ops = {.message = on_message, .ended = on_ended};
    for (struct caller *old = c->list; old; old = old->next)
        if (net_channel_peer_role(old->channel) == peer &&
            net_channel_peer_instance(old->channel) == instance) {
            caller_free(old); /* it has died, and this is its successor's */
            break;
        }
    struct caller *caller = mem_zalloc(sizeof *caller);
    caller->calls = c;
    caller->next = c->list;
    caller->link = &c->list;
    if (caller->next)
        caller->next->link = &caller->next;
    c->list = caller;
    c->stats.callers++;
    caller->channel = net_channel_new(c->loop, fd, IPC_ROLE_SIGNER, peer, instance, &ops, caller);
}
