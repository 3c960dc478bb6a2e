/* brant-signer: the only process that has private keys. It makes signatures for the roles that speak TLS, and
 * tells them which certificates there are.
 *
 * What this process may do, all in one place:
 *   sandbox profile  "brant-signer" in os/sandbox_profiles.c: files beneath keys_dir (its root and working
 *                    directory), no network, no threads
 *   who may ask      roles of ipc/messages.h's table, on a channel for calls (SIGN); on a channel for events
 *                    nobody may say anything
 *   how much         one question at a time, in turn: roles/signer/calls.h
 *   what for         signatures in the form that TLS makes them; nothing is decrypted
 *   secrets          private keys, in OpenSSL's memory; overwritten when it is given back (secret_memory.h)
 */
#include <openssl/crypto.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "log/log.h"
#include "os/clock.h"
#include "roles/common/role.h"
#include "roles/signer/calls.h"
#include "roles/signer/keys.h"
#include "roles/signer/secret_memory.h"

enum {
    DAY_MS = 86400 * 1000,
    FIRST_CHECK_MS = 300 * 1000, /* the clock may have been set only after we were started */
    FORMER_MS = 5000, /* a set that was replaced is kept so long; roles hear of the new one within this */
    EVENTS_MAX = 128
};

struct signer {
    struct role *role;
    struct keys keys;
    bool started;
    struct calls *calls;
    struct net_channel *events[EVENTS_MAX]; /* channels to the roles that speak TLS */
    size_t event_count;
    struct net_timer *daily, *former;
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
    for (size_t n = 0; n < s->event_count; n++)
        tell_certificates(s, s->events[n]);
}

static int load(struct signer *s)
{
    uint64_t generation = s->keys.next.generation;
    int rc = keys_load(&s->keys, role_conf(s->role)->conf.hostname, os_clock_wall_ms() / 1000);
    role_key_files_done(generation, rc == BRANT_OK);
    if (rc == BRANT_OK) {
        tell_everybody(s);
        net_timer_set(s->former, FORMER_MS);
    } else
        log_event(LOG_ERROR, "keys-refused",
                  LOG_STR("remedy", "mend the files and send SIGHUP; what there was is kept"));
    return rc;
}

static void forget_former(void *arg)
{
    struct signer *s = arg;
    keys_forget_former(&s->keys);
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

static void accuse(void *context, enum ipc_role peer, uint32_t instance, const char *text)
{
    role_accuse(context, peer, instance, text);
}

static void call_channel(struct role *r, enum ipc_role peer, uint32_t instance, int fd)
{
    calls_add(signer_of(r)->calls, peer, instance, fd);
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
    s->calls = calls_new(role_loop(r), &s->keys, accuse, r);
    s->former = net_timer_new(role_loop(r), forget_former, s);
    s->daily = net_timer_new(role_loop(r), daily, s);
    net_timer_set(s->daily, FIRST_CHECK_MS);
    s->started = true;
    return load(s) == BRANT_OK ? 0 : 1;
}

static void channel_up(struct role *r, struct net_channel *c)
{
    struct signer *s = signer_of(r);
    if (s->event_count < sizeof s->events / sizeof *s->events)
        s->events[s->event_count++] = c;
    tell_certificates(s, c);
}

static void channel_down(struct role *r, struct net_channel *c)
{
    struct signer *s = signer_of(r);
    for (size_t n = 0; n < s->event_count; n++)
        if (s->events[n] == c) {
            s->events[n] = s->events[--s->event_count];
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
    struct calls_stats stats = calls_stats(s->calls);
    role_status_add_u64(out, "keys", s->keys.count);
    role_status_add_u64(out, "keys_generation", s->keys.generation);
    role_status_add_u64(out, "callers", stats.callers);
    role_status_add_u64(out, "signatures", stats.signatures);
    role_status_add_u64(out, "refused", stats.refused);
}

static void stop(struct role *r)
{
    struct signer *s = signer_of(r);
    calls_free(s->calls);
    net_timer_free(s->daily);
    net_timer_free(s->former);
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
    secret_memory_init();
    keys_init(&signer.keys);
    return role_main(&ops, &signer, argc, argv);
}
