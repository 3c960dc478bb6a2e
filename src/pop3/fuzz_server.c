/* A hostile client against the engine, with a store that also fails. The first byte of the input is the seed
 * of the store's behaviour and of how the rest is split. Checked: the engine always comes to rest, keeps to
 * its output and memory bounds, and hands out only what its contract says. */
#include <assert.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/codec.h"
#include "base/err.h"
#include "pop3/server.h"

enum { MESSAGES = 5, STEPS_MAX = 100000 };

static uint32_t random_next(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static uint32_t size_of(uint32_t uid)
{
    static const uint32_t sizes[MESSAGES] = {0, 1, 300, 5000, 70000};

    return sizes[uid - 1];
}

static void open_maildrop(struct pop3_server *s, uint32_t *seed)
{
    if (random_next(seed) % 16 == 0) {
        assert(pop3_server_open_failed(s, POP3_OPEN_IN_USE) == BRANT_OK);
        return;
    }
    assert(pop3_server_maildrop_begin(s, 1, MESSAGES) == BRANT_OK);
    for (uint32_t uid = 1; uid <= MESSAGES; uid++)
        assert(pop3_server_maildrop_add(s, uid, size_of(uid)) == BRANT_OK);
    assert(pop3_server_maildrop_done(s) == BRANT_OK);
}

static void read_message(struct pop3_server *s, const struct pop3_event *e, uint32_t *seed)
{
    static const char text[] = ".a: b\r\n\r\n.\r\n\n.\r\r\n..\r\n";
    uint8_t piece[4096];
    size_t len = random_next(seed) % sizeof piece + 1;

    assert(e->uid >= 1 && e->uid <= MESSAGES && e->size_bytes > 0);
    assert(e->offset < size_of(e->uid) && e->size_bytes <= size_of(e->uid) - e->offset);
    if (random_next(seed) % 64 == 0) {
        assert(pop3_server_read_failed(s, POP3_READ_TRY_LATER) == BRANT_OK);
        return;
    }
    if (len > e->size_bytes)
        len = e->size_bytes;
    for (size_t i = 0; i < len; i++)
        piece[i] = (uint8_t)text[(e->offset + i) % (sizeof text - 1)];
    assert(pop3_server_read_done(s, span_make(piece, len)) == BRANT_OK);
}

static void update(struct pop3_server *s, uint32_t *seed)
{
    uint32_t cursor = 0, uid = 0, last = 0, count = 0;

    while (pop3_server_deleted_next(s, &cursor, &uid)) {
        assert(uid > last && uid <= MESSAGES);
        last = uid;
        count++;
    }
    assert(count > 0 && count == pop3_server_deleted_count(s));
    assert(pop3_server_update_done(s, random_next(seed) % 4 != 0) == BRANT_OK);
}

static void check_credentials(struct pop3_server *s, const struct pop3_event *e, uint32_t *seed)
{
    assert(e->user.len > 0 && codec_utf8_valid(e->user));
    assert(e->password.len > 0 && codec_utf8_valid(e->password));
    assert(pop3_server_login_done(s, random_next(seed) % 4 == 0 ? POP3_LOGIN_REFUSED : POP3_LOGIN_OK) ==
           BRANT_OK);
}

/* What a login, or a step of a SASL exchange, is answered with. */
static void answer_auth(struct pop3_server *s, const struct pop3_event *e, uint32_t *seed)
{
    static const enum pop3_login answers[] = {POP3_LOGIN_OK,   POP3_LOGIN_REFUSED,   POP3_LOGIN_EXPIRED,
                                              POP3_LOGIN_WEAK, POP3_LOGIN_MALFORMED, POP3_LOGIN_TRY_LATER};
    static const uint8_t challenge[POP3_AUTH_BYTES_MAX + 1];
    uint32_t n = random_next(seed);

    assert(e->type == POP3_EVENT_AUTH_RESPONSE ? e->has_response : e->mechanism.len > 0);
    assert(e->response.len <= POP3_AUTH_BYTES_MAX && (e->has_response || e->response.len == 0));
    if (n % 2) {
        assert(pop3_server_auth_challenge(s, span_make(challenge, sizeof challenge)) == BRANT_ELIMIT);
        assert(pop3_server_auth_challenge(s, span_make(challenge, n / 2 % sizeof challenge)) == BRANT_OK);
    } else {
        assert(pop3_server_login_done(s, answers[n / 2 % 6]) == BRANT_OK);
    }
}

/* TLS begins; what was not taken is thrown away. */
static void start_tls(struct pop3_server *s, struct span *in)
{
    assert(pop3_server_awaits_tls(s));
    if (pop3_server_output(s).len)
        assert(pop3_server_tls_started(s, 1) == BRANT_ESTATE);
    pop3_server_output_used(s, pop3_server_output(s).len, 1);
    *in = SPAN_NONE;
    assert(pop3_server_tls_started(s, 1) == BRANT_OK && pop3_server_tls(s));
}

/* Gives the engine one piece of input; false once the session is over. */
static bool feed(struct pop3_server *s, const struct pop3_server_config *c, struct span in, uint32_t *seed)
{
    struct pop3_event e;

    for (int step = 0; step < STEPS_MAX; step++) {
        switch (pop3_server_next(s, &in, 1, &e)) {
        case POP3_EVENT_MORE:
            assert(in.len == 0);
            return true;
        case POP3_EVENT_BLOCKED:
            assert(pop3_server_output(s).len > 0);
            pop3_server_output_used(s, random_next(seed) % pop3_server_output(s).len + 1, 1);
            break;
        case POP3_EVENT_LOGIN:
            check_credentials(s, &e, seed);
            break;
        case POP3_EVENT_OPEN:
            open_maildrop(s, seed);
            break;
        case POP3_EVENT_READ:
            read_message(s, &e, seed);
            break;
        case POP3_EVENT_UPDATE:
            update(s, seed);
            break;
        case POP3_EVENT_CLOSE:
            assert(in.len == 0 && e.reason != POP3_CLOSE_NONE);
            return false;
        case POP3_EVENT_STLS:
            assert(!pop3_server_tls(s));
            assert(pop3_server_stls_done(s, random_next(seed) % 2) == BRANT_OK);
            break;
        case POP3_EVENT_AUTH:
        case POP3_EVENT_AUTH_RESPONSE:
            answer_auth(s, &e, seed);
            break;
        case POP3_EVENT_AUTH_CANCEL:
            break;
        case POP3_EVENT_WAIT: /* nothing else was left unanswered */
            start_tls(s, &in);
            break;
        }
        assert(pop3_server_output(s).len <= c->output_bytes_max);
        assert(pop3_server_memory_bytes(s) < c->output_bytes_max + 8192);
    }
    abort(); /* the engine does not come to rest */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pop3_server_config c;
    struct pop3_server *s;
    uint32_t seed = size > 0 ? data[0] : 0;
    size_t piece = seed % 4 == 0 ? size + 1 : seed % 4;

    pop3_server_config_init(&c, "mx.example");
    c.output_bytes_max = 4096;
    s = pop3_server_new(&c, 0);
    pop3_server_offer(
        s, &(struct pop3_offer){.password = seed != 255, .stls = true, .sasl = seed % 8 ? "PLAIN X" : NULL});
    assert(pop3_server_greet(s, 0) == BRANT_OK);
    /* Every second input begins logged in, so that little of it is spent on getting there. */
    if (seed % 2 == 0 && !feed(s, &c, SPAN_LIT("USER a\r\nPASS b\r\n"), &seed))
        size = 0;
    for (size_t at = 1; at < size; at += piece) {
        if (!feed(s, &c, span_sub(span_make(data, size), at, piece), &seed))
            break;
    }
    pop3_server_free(s);
    return 0;
}
