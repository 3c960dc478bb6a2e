/* brant-signer: the only process that has private keys. It makes signatures for the roles that speak TLS, and
 * tells them which certificates there are.
 *
 * What this process may do, all in one place:
 *   sandbox profile  "brant-signer" in os/sandbox_profiles.c: files beneath keys_dir (its root and working
 *                    directory), no network, no threads
 *   who may ask      roles of ipc/messages.h's table, on a channel for calls (SIGN); on a channel for events
 *                    nobody may say anything
 *   how much         a role waits for each answer, so one question is under way; beyond CALLS_MAX it is at
 * fault. Each turn of the loop every caller that waits gets one answer: nobody can starve another secrets
 * private keys, in OpenSSL's memory; overwritten when they are replaced */
#include <openssl/crypto.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "log/log.h"
#include "os/clock.h"
#include "roles/common/role.h"
#include "roles/signer/keys.h"

enum { CALLS_MAX = 8, DAY_MS = 86400 * 1000 };

struct call {
    uint32_t tag;
    uint8_t kind;
    uint8_t key_id[IPC_KEY_ID_BYTES];
    size_t key_id_len, data_len;
    uint8_t data[IPC_SIGN_DATA_MAX];
};

/* A channel for calls. */
struct caller {
    struct signer *signer;
    struct caller *next, **link;
    struct net_channel *channel;
    struct call calls[CALLS_MAX];
    size_t first, count;
};

struct signer {
    struct role *role;
    struct keys keys;
    bool started;
    struct caller *callers;
    struct net_channel *listeners[64]; /* channels for events */
    size_t listener_count;
    struct net_timer *turn, *daily;
    uint64_t signatures, refused;
};

static struct signer *signer_of(struct role *r)
{
    return role_context(r);
}

/* ---- certificates -----------------------------------------------------------------------------------------
 */

static void tell_certificates(struct signer *s, struct net_channel *c)
{
    struct ipc_certificate list[IPC_CERTIFICATES_MAX];
    struct ipc_message m = {.type = IPC_TYPE_CERTIFICATES};
    if (s->keys.count == 0)
        return;
    for (size_t n = 0; n < s->keys.count; n++)
        list[n] = (struct ipc_certificate){.key_id = pair_id(s->keys.list[n]),
                                           .chain = pair_chain(s->keys.list[n])};
    m.certificates.generation = s->keys.generation;
    m.certificates.list = list;
    m.certificates.list_count = (uint32_t)s->keys.count;
    net_channel_send(c, &m);
}

static void tell_everybody(struct signer *s)
{
    for (size_t n = 0; n < s->listener_count; n++)
        tell_certificates(s, s->listeners[n]);
}

static int load(struct signer *s)
{
    int rc = keys_load(&s->keys, role_conf(s->role)->conf.hostname, os_clock_wall_ms() / 1000);
    if (rc == BRANT_OK)
        tell_everybody(s);
    else
        log_event(LOG_ERROR, "keys-refused",
                  LOG_STR("remedy", "mend the files and send SIGHUP; what there was is kept"));
    return rc;
}

static void daily(void *arg)
{
    struct signer *s = arg;
    if (keys_check_time(&s->keys, role_conf(s->role)->conf.hostname, os_clock_wall_ms() / 1000))
        tell_everybody(s);
    net_timer_set(s->daily, DAY_MS);
}

static void key_files(struct role *r, const struct ipc_key_files *m)
{
    struct signer *s = signer_of(r);
    keys_begin(&s->keys, m);
    if (s->started && keys_due(&s->keys))
        load(s);
}

static void key_file(struct role *r, const struct ipc_key_file *m, int fd)
{
    struct signer *s = signer_of(r);
    keys_take_file(&s->keys, m, fd);
    if (s->started && keys_due(&s->keys))
        load(s);
}

/* ---- signing ----------------------------------------------------------------------------------------------
 */

static void caller_free(struct caller *c)
{
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    net_channel_free(c->channel);
    mem_wipe(c->calls, sizeof c->calls);
    free(c);
}

static void answer(struct caller *c, const struct call *call)
{
    struct signer *s = c->signer;
    struct buf _cleanup_buf_ signature;
    buf_init(&signature, IPC_SIGN_DATA_MAX);
    struct pair *p = keys_find(&s->keys, span_make(call->key_id, call->key_id_len));
    int rc =
        p ? pair_sign(p, (enum ipc_sign_kind)call->kind, span_make(call->data, call->data_len), &signature)
          : BRANT_ENOTFOUND;
    struct ipc_message m = {.type = IPC_TYPE_SIGNED, .tag = call->tag};
    m.signed_data.status = rc == BRANT_OK ? IPC_OK : p ? IPC_REFUSED : IPC_NOT_FOUND;
    m.signed_data.signature = buf_span(&signature);
    net_channel_send(c->channel, &m);
    s->signatures += rc == BRANT_OK;
    s->refused += rc != BRANT_OK;
}

/* One answer for each caller that waits. */
static void turn(void *arg)
{
    struct signer *s = arg;
    bool more = false;
    for (struct caller *c = s->callers; c; c = c->next) {
        if (c->count == 0)
            continue;
        answer(c, &c->calls[c->first]);
        c->first = (c->first + 1) % CALLS_MAX;
        c->count--;
        more = more || c->count > 0;
    }
    if (more)
        net_timer_set(s->turn, 0);
}

static void on_call(void *context, struct net_channel *channel, const struct ipc_message *m)
{
    struct caller *c = context;
    if (m->type != IPC_TYPE_SIGN || c->count == CALLS_MAX) {
        net_channel_fault(channel,
                          m->type != IPC_TYPE_SIGN ? "not a call" : "more calls than anybody waits for");
        return;
    }
    struct call *call = &c->calls[(c->first + c->count++) % CALLS_MAX];
    call->tag = m->tag;
    call->kind = m->sign.kind;
    call->key_id_len = m->sign.key_id.len;
    call->data_len = m->sign.data.len;
    memcpy(call->key_id, m->sign.key_id.p, m->sign.key_id.len);
    memcpy(call->data, m->sign.data.p, m->sign.data.len);
    net_timer_set(c->signer->turn, 0);
}

static void on_call_ended(void *context, struct net_channel *channel, enum net_channel_end end,
                          const char *text)
{
    struct caller *c = context;
    if (end == NET_CHANNEL_FAULT)
        role_accuse(c->signer->role, net_channel_peer_role(channel), net_channel_peer_instance(channel),
                    text);
    caller_free(c);
}

static const struct net_channel_ops call_ops = {.message = on_call, .ended = on_call_ended};

static void call_channel(struct role *r, enum ipc_role peer, uint32_t instance, int fd)
{
    struct signer *s = signer_of(r);
    for (struct caller *c = s->callers; c; c = c->next)
        if (net_channel_peer_role(c->channel) == peer && net_channel_peer_instance(c->channel) == instance) {
            caller_free(c); /* it has died, and this is its successor's */
            break;
        }
    struct caller *c = mem_zalloc(sizeof *c);
    c->signer = s;
    c->next = s->callers;
    c->link = &s->callers;
    if (c->next)
        c->next->link = &c->next;
    s->callers = c;
    c->channel = net_channel_new(role_loop(r), fd, IPC_ROLE_SIGNER, peer, instance, &call_ops, c);
}

/* ---- the role
 * ---------------------------------------------------------------------------------------------- */

static int prepare(struct role *r)
{
    (void)r;
    /* The rules are this program's, whatever a configuration file of the machine says. */
    uint64_t options = OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_LOAD_CRYPTO_STRINGS;
    return OPENSSL_init_crypto(options, NULL) == 1 ? 0 : 1;
}

static int start(struct role *r)
{
    struct signer *s = signer_of(r);
    s->role = r;
    s->turn = net_timer_new(role_loop(r), turn, s);
    s->daily = net_timer_new(role_loop(r), daily, s);
    net_timer_set(s->daily, DAY_MS);
    s->started = true;
    return load(s) == BRANT_OK ? 0 : 1;
}

static void channel_up(struct role *r, struct net_channel *c)
{
    struct signer *s = signer_of(r);
    if (s->listener_count < sizeof s->listeners / sizeof *s->listeners)
        s->listeners[s->listener_count++] = c;
    tell_certificates(s, c);
}

static void channel_down(struct role *r, struct net_channel *c)
{
    struct signer *s = signer_of(r);
    for (size_t n = 0; n < s->listener_count; n++)
        if (s->listeners[n] == c) {
            s->listeners[n] = s->listeners[--s->listener_count];
            return;
        }
}

static void message(struct role *r, struct net_channel *c, const struct ipc_message *m)
{
    (void)r;
    (void)m;
    net_channel_fault(c, "a call on a channel for events");
}

static void drain(struct role *r, uint32_t deadline_ms)
{
    (void)deadline_ms;
    role_stop(r);
}

static void status(struct role *r, struct role_status *out)
{
    const struct signer *s = signer_of(r);
    role_status_add_u64(out, "keys", s->keys.count);
    role_status_add_u64(out, "keys_generation", s->keys.generation);
    role_status_add_u64(out, "signatures", s->signatures);
    role_status_add_u64(out, "refused", s->refused);
}

static void stop(struct role *r)
{
    struct signer *s = signer_of(r);
    while (s->callers)
        caller_free(s->callers);
    net_timer_free(s->turn);
    net_timer_free(s->daily);
    keys_done(&s->keys);
}

int main(int argc, char **argv)
{
    static struct signer signer;
    static const struct role_ops ops = {
        .executable = "brant-signer",
        .role = IPC_ROLE_SIGNER,
        .prepare = prepare,
        .start = start,
        .key_files = key_files,
        .key_file = key_file,
        .call_channel = call_channel,
        .channel_up = channel_up,
        .channel_down = channel_down,
        .message = message,
        .drain = drain,
        .status = status,
        .stop = stop,
    };
    keys_init(&signer.keys);
    return role_main(&ops, &signer, argc, argv);
}
