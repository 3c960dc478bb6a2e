/* A real brant-store process, driven as its roles drive it: by honest peers and by hostile ones, with kills
 * in the middle. Usage: store_role BRANT_STORE_EXECUTABLE [CASE] */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/wire.h"
#include "os/random.h"
#include "peer.h"
#include "steps.h"
#include "world.h"

/* Sanitizers keep freed memory: then it is not measured. */
#ifdef BRANT_SANDBOX_TEST
enum { WITH_SANITIZERS = 1 };
#else
enum { WITH_SANITIZERS = 0 };
#endif

/* ---- the cases ---- */

static void case_directory(struct world *w)
{
    struct peer cli;
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    admin(&cli, account_add("alice@brant.test", "secret", 0), IPC_NOT_FOUND); /* no such domain yet */
    people(&cli);
    admin(&cli, domain_add("brant.test"), IPC_EXISTS);
    admin(&cli, domain_add("BRANT.test"), IPC_EXISTS);
    admin(&cli, domain_add("no_such syntax"), IPC_INVALID);
    admin(&cli, account_add("alice@brant.test", "other", 0), IPC_EXISTS);
    admin(&cli, account_add("a b@brant.test", "other", 0), IPC_INVALID);
    admin(&cli, account_add("nobody", "other", 0), IPC_INVALID);
    admin(&cli, alias_add("info@brant.test", "alice@brant.test"), IPC_OK);
    admin(&cli, alias_add("info@brant.test", "bob@brant.test"), IPC_OK);
    admin(&cli, alias_add("info@brant.test", "bob@brant.test"), IPC_EXISTS);
    admin(&cli,
          (struct ipc_message){.type = IPC_TYPE_DOMAIN_REMOVE,
                               .domain_remove = {.domain = SPAN_LIT("brant.test")}},
          IPC_REFUSED);

    struct ipc_message answer,
        ask = {.type = IPC_TYPE_ADDRESS_RESOLVE, .address_resolve = {.address = SPAN_LIT("info@brant.test")}};
    peer_call(&cli, &ask, &answer);
    CHECK(answer.address_rows.status == IPC_OK && answer.address_rows.rows_count == 2);
    ask = (struct ipc_message){.type = IPC_TYPE_ACCOUNT_LIST};
    peer_call(&cli, &ask, &answer);
    CHECK(answer.account_rows.rows_count == 2 && !answer.account_rows.more);
    CHECK(span_eq_str(answer.account_rows.rows[0].address, "alice@brant.test"));
    CHECK(answer.account_rows.rows[0].has_password && answer.account_rows.rows[0].enabled);
    ask = (struct ipc_message){.type = IPC_TYPE_DOMAIN_LIST};
    peer_call(&cli, &ask, &answer);
    CHECK(answer.domain_rows.rows_count == 1 && answer.domain_rows.rows[0].accounts == 2);
    ask = (struct ipc_message){.type = IPC_TYPE_ALIAS_LIST};
    peer_call(&cli, &ask, &answer);
    CHECK(answer.alias_rows.rows_count == 2);
    ask = (struct ipc_message){.type = IPC_TYPE_STATUS_ASK};
    peer_call(&cli, &ask, &answer);
    CHECK(answer.status_info.pairs_count >= 5);

    struct peer smtp;
    world_channel(w, IPC_ROLE_SMTP, 0, &smtp);
    struct ipc_id session = new_id();
    CHECK(session_open(&smtp, session, IPC_SERVICE_SMTP, "192.0.2.1") == IPC_OK);
    CHECK(rcpt_check(&smtp, session, "alice@brant.test", 0) == IPC_OK);
    CHECK(rcpt_check(&smtp, session, "Alice+news@BRANT.TEST", 1000) == IPC_OK);
    CHECK(rcpt_check(&smtp, session, "info@brant.test", 1000) == IPC_OK);
    CHECK(rcpt_check(&smtp, session, "nobody@brant.test", 1000) == IPC_UNKNOWN_ADDRESS);
    CHECK(rcpt_check(&smtp, session, "alice@elsewhere.test", 1000) == IPC_NOT_LOCAL);
    admin(&cli, account_add("small@brant.test", "", 10000), IPC_OK);
    CHECK(rcpt_check(&smtp, session, "small@brant.test", 5000) == IPC_OK);
    CHECK(rcpt_check(&smtp, session, "small@brant.test", 50000) == IPC_OVER_QUOTA);
    peer_done(&smtp);
    peer_done(&cli);
}

static void count_done(void *context, const struct ipc_message *m)
{
    unsigned *done = context;
    CHECK(m->type == IPC_TYPE_COMMIT_RESULT && m->tag >= 1000);
    CHECK(m->commit_result.state == IPC_COMMIT_DONE);
    CHECK(m->commit_result.results_count == 1 + (m->tag - 1000) % 2);
    ++*done;
}

/* Commits `count` messages over several sessions, keeping some under way; every one must be DONE. */
static void commit_many(struct peer *smtp, unsigned count)
{
    enum { SESSIONS = 8, WINDOW = 40 };
    static const struct ipc_recipient to[2] = {{.address = {(const uint8_t *)"alice@brant.test", 16}},
                                               {.address = {(const uint8_t *)"bob@brant.test", 14}}};
    struct ipc_id sessions[SESSIONS];
    for (size_t i = 0; i < SESSIONS; i++) {
        sessions[i] = new_id();
        CHECK(session_open(smtp, sessions[i], IPC_SERVICE_SMTP, "192.0.2.1") == IPC_OK);
    }
    struct buf _cleanup_buf_ bytes;
    buf_init(&bytes, 8 << 20);
    unsigned done = 0;
    for (unsigned sent = 0; done < count;) {
        while (sent < count && sent - done < WINDOW) {
            /* Mostly small ones; some at the borders between memory, record and file. */
            size_t len = sent % 100 == 50 ? 300000 : sent % 100 == 51 ? 262144 : 100 + (sent * 37) % 6000;
            struct span body = message_bytes(&bytes, sent, len);
            send_body(smtp, sessions[sent % SESSIONS], sent, body, count_done, &done);
            struct ipc_message m =
                commit_message(new_id(), sessions[sent % SESSIONS], sent, body.len, to, 1 + sent % 2);
            m.tag = 1000 + sent;
            peer_send(smtp, &m);
            sent++;
        }
        struct ipc_message m;
        CHECK(peer_receive(smtp, &m));
        if (m.type == IPC_TYPE_BODY_CREDIT)
            continue;
        count_done(&done, &m);
    }
    for (size_t i = 0; i < SESSIONS; i++)
        peer_send(smtp, &(struct ipc_message){.type = IPC_TYPE_SESSION_CLOSE,
                                              .session_close = {.session = sessions[i]}});
}

static void case_mail(struct world *w)
{
    enum { COUNT = 1000 };
    struct peer cli, smtp, pop3;
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    world_channel(w, IPC_ROLE_SMTP, 0, &smtp);
    world_channel(w, IPC_ROLE_POP3, 0, &pop3);
    people(&cli);
    commit_many(&smtp, COUNT);

    struct ipc_message answer;
    login(&pop3, "alice@brant.test", "wrong", IPC_AUTH_FAILED, &answer);
    login(&pop3, "nobody@brant.test", "secret", IPC_AUTH_FAILED, &answer);
    struct ipc_id session = login(&pop3, "alice@brant.test", "secret", IPC_OK, &answer);
    CHECK(span_eq_str(answer.login_result.address, "alice@brant.test"));
    CHECK(answer.login_result.token.len == 32 && answer.login_result.account != 0);
    answer = maildrop_open(&pop3, session);
    CHECK(answer.maildrop.status == IPC_OK && answer.maildrop.count == COUNT);
    uint64_t octets = answer.maildrop.octets;

    struct ipc_id second = login(&pop3, "alice@brant.test", "secret", IPC_OK, &answer);
    CHECK(maildrop_open(&pop3, second).maildrop.status == IPC_IN_USE);

    struct maildrop drop = maildrop_list(&pop3, session);
    CHECK(drop.count == COUNT);
    struct buf _cleanup_buf_ stored, scratch, uids;
    buf_init(&stored, 8 << 20);
    buf_init(&scratch, 8 << 20);
    buf_init(&uids, IPC_CHUNK_MAX);
    struct wire_writer wr = wire_write(&uids);
    bool seen[COUNT] = {false};
    for (uint32_t i = 0; i < drop.count; i++) {
        read_message(&pop3, session, drop.rows[i].uid, &stored);
        CHECK(stored.len == drop.rows[i].octets);
        octets -= stored.len;
        unsigned number = check_stored(buf_span(&stored), &scratch);
        CHECK(number < COUNT && !seen[number]);
        seen[number] = true;
        if (i % 2 == 0)
            wire_put_u32(&wr, drop.rows[i].uid);
    }
    CHECK(octets == 0);
    struct ipc_message ask = {.type = IPC_TYPE_MAILDROP_EXPUNGE,
                              .maildrop_expunge = {.session = session, .uids = buf_span(&uids)}};
    peer_call(&pop3, &ask, &answer);
    CHECK(answer.result.status == IPC_OK);
    peer_call(&pop3, &ask, &answer); /* they are gone already: no error */
    CHECK(answer.result.status == IPC_OK);
    peer_send(&pop3,
              &(struct ipc_message){.type = IPC_TYPE_SESSION_CLOSE, .session_close = {.session = session}});
    answer = maildrop_open(&pop3, second);
    CHECK(answer.maildrop.status == IPC_OK && answer.maildrop.count == COUNT / 2);
    struct maildrop left = maildrop_list(&pop3, second);
    CHECK(left.count == COUNT / 2);
    for (uint32_t i = 0; i < left.count; i++)
        CHECK(left.rows[i].uid == drop.rows[2 * i + 1].uid);
    free(drop.rows);
    free(left.rows);
    peer_done(&cli);
    peer_done(&smtp);
    peer_done(&pop3);
}

enum { KILL_COUNT = 400, KILL_ROUNDS = 5, KILL_ALL = KILL_COUNT * KILL_ROUNDS };

/* What became of each message of case_kill, by its number. */
static struct {
    struct ipc_id commit;
    bool acknowledged, done, seen;
} fates[KILL_ALL];

static void note_answer(const struct ipc_message *m)
{
    if (m->type != IPC_TYPE_COMMIT_RESULT)
        return;
    CHECK(m->commit_result.state == IPC_COMMIT_DONE);
    fates[m->tag - 1].acknowledged = true;
}

/* Sends a round of commits, waits for some of the answers, and kills the store in the middle of the rest. */
static void commit_and_kill(struct world *w, unsigned round)
{
    static const struct ipc_recipient to[1] = {{.address = {(const uint8_t *)"bob@brant.test", 14}}};
    struct peer smtp;
    struct ipc_message m;
    struct buf _cleanup_buf_ bytes;
    buf_init(&bytes, 1 << 20);
    world_channel(w, IPC_ROLE_SMTP, 0, &smtp);
    struct ipc_id session = new_id();
    CHECK(session_open(&smtp, session, IPC_SERVICE_SMTP, "192.0.2.1") == IPC_OK);
    for (unsigned n = round * KILL_COUNT; n < (round + 1) * KILL_COUNT; n++) {
        struct span body = message_bytes(&bytes, n, 500 + (n * 131) % 9000);
        fates[n].commit = new_id();
        send_body(&smtp, session, n, body, NULL, NULL); /* within the first credit */
        m = commit_message(fates[n].commit, session, n, body.len, to, 1);
        m.tag = n + 1;
        peer_send(&smtp, &m);
    }
    for (unsigned answers = 0; answers < 20 + 60 * round; answers += m.type == IPC_TYPE_COMMIT_RESULT) {
        CHECK(peer_receive(&smtp, &m));
        note_answer(&m);
    }
    world_kill(w);
    while (peer_receive(&smtp, &m)) /* answered before it died */
        note_answer(&m);
    peer_done(&smtp);
}

/* Asks the next store about every commit so far. */
static void ask_fates(struct world *w, unsigned round)
{
    struct peer smtp;
    world_channel(w, IPC_ROLE_SMTP, 0, &smtp);
    for (unsigned n = 0; n < (round + 1) * KILL_COUNT; n++) {
        struct ipc_message answer,
            ask = {.type = IPC_TYPE_COMMIT_ASK, .commit_ask = {.commit = fates[n].commit}};
        peer_call(&smtp, &ask, &answer);
        bool done = answer.commit_result.state == IPC_COMMIT_DONE;
        CHECK(done || !fates[n].acknowledged);
        CHECK(n >= round * KILL_COUNT || done == fates[n].done); /* and it stays so */
        fates[n].done = done;
    }
    peer_done(&smtp);
}

/* Kills the store while commits are under way; the next one must tell the truth about each. */
static void case_kill(struct world *w)
{
    struct peer peer;
    struct buf _cleanup_buf_ scratch, stored;
    buf_init(&scratch, 1 << 20);
    buf_init(&stored, 1 << 20);
    world_channel(w, IPC_ROLE_CLI, 1, &peer);
    people(&peer);
    peer_done(&peer);
    for (unsigned round = 0; round < KILL_ROUNDS; round++) {
        commit_and_kill(w, round);
        world_start(w);
        ask_fates(w, round);
    }
    world_channel(w, IPC_ROLE_POP3, 0, &peer);
    struct ipc_message answer;
    struct ipc_id session = login(&peer, "bob@brant.test", "hunter2", IPC_OK, &answer);
    CHECK(maildrop_open(&peer, session).maildrop.status == IPC_OK);
    struct maildrop drop = maildrop_list(&peer, session);
    for (uint32_t i = 0; i < drop.count; i++) {
        read_message(&peer, session, drop.rows[i].uid, &stored);
        unsigned number = check_stored(buf_span(&stored), &scratch);
        CHECK(number < KILL_ALL && !fates[number].seen); /* once only */
        fates[number].seen = true;
    }
    unsigned acknowledged = 0, done = 0;
    for (unsigned n = 0; n < KILL_ALL; n++) {
        CHECK(fates[n].seen == fates[n].done);
        acknowledged += fates[n].acknowledged;
        done += fates[n].done;
    }
    printf("  %d committed, %u acknowledged, %u done, over %d kills\n", KILL_ALL, acknowledged, done,
           KILL_ROUNDS);
    free(drop.rows);
    peer_done(&peer);
}

static uint8_t resume(struct peer *pop3, struct ipc_id session, uint64_t account, struct span token)
{
    struct ipc_message answer, ask = {.type = IPC_TYPE_RESUME,
                                      .resume = {.session = session,
                                                 .service = IPC_SERVICE_POP3,
                                                 .account = account,
                                                 .token = token,
                                                 .maildrop_held = 1}};
    ask.resume.source = address("127.0.0.1");
    peer_call(pop3, &ask, &answer);
    return answer.resume_result.status;
}

static void case_resume(struct world *w)
{
    struct peer cli, pop3, other;
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    people(&cli);
    peer_done(&cli);
    world_channel(w, IPC_ROLE_POP3, 4, &pop3);
    struct ipc_message answer;
    struct ipc_id session = login(&pop3, "alice@brant.test", "secret", IPC_OK, &answer);
    uint8_t token[32];
    uint64_t account = answer.login_result.account;
    CHECK(answer.login_result.token.len == sizeof token);
    memcpy(token, answer.login_result.token.p, sizeof token);
    CHECK(maildrop_open(&pop3, session).maildrop.status == IPC_OK);
    world_kill(w);
    peer_done(&pop3);
    world_start(w);

    world_channel(w, IPC_ROLE_POP3, 4, &pop3);
    world_channel(w, IPC_ROLE_POP3, 5, &other);
    struct span presented = span_make(token, sizeof token);
    CHECK(resume(&other, session, account, presented) == IPC_AUTH_FAILED); /* not its session */
    CHECK(resume(&pop3, session, account + 1, presented) == IPC_AUTH_FAILED);
    CHECK(resume(&pop3, new_id(), account, presented) == IPC_AUTH_FAILED);
    CHECK(resume(&pop3, session, account, SPAN_NONE) == IPC_AUTH_FAILED);
    CHECK(resume(&pop3, session, account, presented) == IPC_OK);
    struct ipc_id second = login(&other, "alice@brant.test", "secret", IPC_OK, &answer);
    CHECK(maildrop_open(&other, second).maildrop.status == IPC_IN_USE);
    CHECK(maildrop_open(&pop3, session).maildrop.status == IPC_OK);
    peer_done(&pop3); /* the lock goes with the channel */
    while (maildrop_open(&other, second).maildrop.status == IPC_IN_USE)
        continue;
    peer_done(&other);
}

/* ---- hostile peers: the channel is closed, the sender reported, nobody else notices ---- */

struct hostile {
    struct world *w;
    struct peer peer, honest; /* honest: another instance, with a session */
    struct ipc_id session, honest_session;
    uint32_t instance;
    unsigned count;
};

static void hostile_begin(struct hostile *h)
{
    world_channel(h->w, IPC_ROLE_SMTP, ++h->instance, &h->peer);
    h->session = new_id();
    CHECK(session_open(&h->peer, h->session, IPC_SERVICE_SMTP, "192.0.2.66") == IPC_OK);
}

static void hostile_end(struct hostile *h)
{
    peer_expect_closed(&h->peer);
    peer_done(&h->peer);
    world_expect_fault(h->w, IPC_ROLE_SMTP, h->instance);
    CHECK(rcpt_check(&h->honest, h->honest_session, "alice@brant.test", 0) == IPC_OK);
    h->count++;
}

static void hostile_message(struct hostile *h, struct ipc_message m)
{
    hostile_begin(h);
    peer_send(&h->peer, &m);
    hostile_end(h);
}

static void hostile_bytes(struct hostile *h, struct span bytes)
{
    hostile_begin(h);
    peer_send_bytes(&h->peer, bytes);
    hostile_end(h);
}

/* Frames that are none. */
static void hostile_frames(struct hostile *h)
{
    hostile_bytes(h, SPAN_LIT("\0\0\0\0\0\0\0\0\0\0\0\0"));
    hostile_bytes(h, SPAN_LIT("\xff\xff\xff\xff\x1e\0\1\0\0\0\0\0"));
    hostile_bytes(h, SPAN_LIT("\x0d\0\0\0\x1e\0\1\0\0\0\0\0x"));         /* a field cut short */
    hostile_bytes(h, SPAN_LIT("\x0c\0\0\0\xe7\x03\1\0\0\0\0\0"));        /* no such type */
    hostile_bytes(h, SPAN_LIT("\x0c\0\0\0\x20\0\xff\xff\0\0\0\0"));      /* no such version */
    hostile_bytes(h, SPAN_LIT("GET / HTTP/1.1\r\nHost: store\r\n\r\n")); /* somebody else's protocol */
    /* every message that an smtp instance may not send, all fields empty */
    static const uint16_t types[] = {
#define TYPE(number, NAME, name, from, to, answer) IPC_TYPE_##NAME,
        IPC_MESSAGES(TYPE)
#undef TYPE
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!ipc_permitted(types[i], IPC_ROLE_SMTP, IPC_ROLE_STORE))
            hostile_message(h, (struct ipc_message){.type = types[i]});
}

static void hostile_sessions(struct hostile *h)
{
    struct ipc_id strange = new_id();
    struct ipc_message m = {.type = IPC_TYPE_RCPT_CHECK};
    m.rcpt_check = (struct ipc_rcpt_check){.session = strange, .address = SPAN_LIT("alice@brant.test")};
    hostile_message(h, m);
    m.rcpt_check.session = h->honest_session; /* another instance's session is as strange */
    hostile_message(h, m);
    m = (struct ipc_message){.type = IPC_TYPE_BODY_CHUNK,
                             .body_chunk = {.session = h->honest_session, .bytes = SPAN_LIT("x")}};
    hostile_message(h, m);
    m = (struct ipc_message){.type = IPC_TYPE_BODY_ABORT, .body_abort = {.session = strange}};
    hostile_message(h, m);
    m = (struct ipc_message){.type = IPC_TYPE_SESSION_OPEN,
                             .session_open = {.session = strange, .service = IPC_SERVICE_POP3}};
    hostile_message(h, m);
    hostile_begin(h); /* one session twice */
    m = (struct ipc_message){.type = IPC_TYPE_SESSION_OPEN,
                             .session_open = {.session = h->session, .service = IPC_SERVICE_SMTP}};
    peer_send(&h->peer, &m);
    hostile_end(h);
}

static void hostile_bodies(struct hostile *h)
{
    static const struct ipc_recipient to[1] = {{.address = {(const uint8_t *)"alice@brant.test", 16}}};
    static const struct ipc_recipient wrong[1] = {
        {.address = {(const uint8_t *)"alice@brant.test", 16}, .variant = 1}};
    static uint8_t chunk[IPC_CHUNK_MAX];
    struct ipc_message m;

    hostile_begin(h); /* more than its credit */
    m = (struct ipc_message){.type = IPC_TYPE_BODY_CHUNK,
                             .body_chunk = {h->session, 1, span_make(chunk, sizeof chunk)}};
    for (size_t sent = 0; sent <= 64 * (size_t)IPC_BODY_CREDIT; sent += sizeof chunk)
        peer_send(&h->peer, &m);
    hostile_end(h);

    hostile_begin(h); /* bodies without end */
    for (uint64_t body = 0; body < 100; body++)
        peer_send(&h->peer, &(struct ipc_message){.type = IPC_TYPE_BODY_CHUNK,
                                                  .body_chunk = {h->session, body, SPAN_LIT("x")}});
    hostile_end(h);

    const struct {
        uint64_t body, bytes;
        const struct ipc_recipient *to;
        uint32_t to_count;
        bool known_session;
    } commits[] = {
        {7, 10, to, 1, true}, /* no such body */
        {1, 4, to, 1, true},  /* other lengths */
        {1, 6, to, 1, true},          {1, 0, to, 1, true},
        {1, UINT64_MAX, to, 1, true}, {1, 5, to, 0, true}, /* nobody to get it */
        {1, 5, wrong, 1, true},                            /* no such variant */
        {1, 5, to, 1, false},                              /* no such session */
    };
    for (size_t i = 0; i < sizeof commits / sizeof *commits; i++) {
        hostile_begin(h);
        peer_send(&h->peer, &(struct ipc_message){.type = IPC_TYPE_BODY_CHUNK,
                                                  .body_chunk = {h->session, 1, SPAN_LIT("hello")}});
        m = commit_message(new_id(), commits[i].known_session ? h->session : new_id(), commits[i].body,
                           commits[i].bytes, commits[i].to, commits[i].to_count);
        peer_send(&h->peer, &m);
        hostile_end(h);
    }
    hostile_begin(h); /* no variant at all */
    peer_send(&h->peer, &(struct ipc_message){.type = IPC_TYPE_BODY_CHUNK,
                                              .body_chunk = {h->session, 1, SPAN_LIT("hello")}});
    m = commit_message(new_id(), h->session, 1, 5, to, 1);
    m.commit.variants_count = 0;
    peer_send(&h->peer, &m);
    hostile_end(h);
}

/* A pop3 instance that asks for what is not its own. */
static void hostile_pop3(struct hostile *h)
{
    struct ipc_message answer;
    struct peer owner;
    world_channel(h->w, IPC_ROLE_POP3, 1, &owner);
    struct ipc_id owned = login(&owner, "alice@brant.test", "secret", IPC_OK, &answer);
    CHECK(maildrop_open(&owner, owned).maildrop.status == IPC_OK);
    for (unsigned i = 0; i < 8; i++) {
        struct peer thief;
        world_channel(h->w, IPC_ROLE_POP3, 100 + i, &thief);
        struct ipc_id own = new_id();
        CHECK(session_open(&thief, own, IPC_SERVICE_POP3, "192.0.2.66") == IPC_OK);
        struct ipc_id id = i % 2 ? own : owned; /* not logged in; not its own */
        const struct ipc_message asks[4] = {
            {.type = IPC_TYPE_MAILDROP_OPEN, .maildrop_open = {id}},
            {.type = IPC_TYPE_MAILDROP_LIST, .maildrop_list = {id, 0}},
            {.type = IPC_TYPE_MESSAGE_READ, .message_read = {id, 1, 0, 100}},
            {.type = IPC_TYPE_MAILDROP_EXPUNGE, .maildrop_expunge = {id, SPAN_LIT("\1\0\0\0")}},
        };
        peer_send(&thief, &asks[i / 2]);
        peer_expect_closed(&thief);
        peer_done(&thief);
        world_expect_fault(h->w, IPC_ROLE_POP3, 100 + i);
        h->count++;
    }
    CHECK(maildrop_open(&owner, owned).maildrop.status == IPC_OK);
    peer_done(&owner);
}

/* Asks without end and never reads: slowed down, and its memory bounded, while others are served. */
static void hostile_flood(struct hostile *h)
{
    hostile_begin(h);
    struct buf _cleanup_buf_ frame, many;
    buf_init(&frame, IPC_FRAME_MAX);
    buf_init(&many, 1 << 20);
    struct ipc_message m = {.type = IPC_TYPE_RCPT_CHECK, .tag = 1};
    m.rcpt_check = (struct ipc_rcpt_check){.session = h->session, .address = SPAN_LIT("alice@brant.test")};
    CHECK(ipc_encode(&frame, &m) == BRANT_OK);
    while (buf_append(&many, buf_span(&frame)) == BRANT_OK)
        continue;
    unsigned long before = world_memory_kib(h->w);
    size_t sent = 0;
    struct timeval patience = {.tv_usec = 300000};
    CHECK(setsockopt(h->peer.fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) == 0);
    while (sent < 256u << 20) {
        ssize_t n = send(h->peer.fd, many.data, many.len, MSG_NOSIGNAL);
        if (n < (ssize_t)many.len)
            break; /* it is not read any more */
        sent += (size_t)n;
    }
    unsigned long after = world_memory_kib(h->w);
    CHECK(WITH_SANITIZERS || after < before + 64 * 1024);
    CHECK(rcpt_check(&h->honest, h->honest_session, "alice@brant.test", 0) == IPC_OK);
    peer_done(&h->peer);
}

static void case_hostile(struct world *w)
{
    struct hostile h = {.w = w, .instance = 1000};
    struct peer cli;
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    people(&cli);
    peer_done(&cli);
    world_channel(w, IPC_ROLE_SMTP, 0, &h.honest);
    h.honest_session = new_id();
    CHECK(session_open(&h.honest, h.honest_session, IPC_SERVICE_SMTP, "192.0.2.1") == IPC_OK);
    hostile_frames(&h);
    hostile_sessions(&h);
    hostile_bodies(&h);
    hostile_pop3(&h);
    hostile_flood(&h);
    printf("  %u offences, each reported, the honest peer served after each\n", h.count);
    peer_done(&h.honest);
}

/* Limits, and what is counted is given back. */
static void case_limits(struct world *w)
{
    struct peer smtp;
    struct ipc_id ids[5];
    world_channel(w, IPC_ROLE_SMTP, 0, &smtp);
    for (size_t i = 0; i < 5; i++) {
        ids[i] = new_id();
        CHECK(session_open(&smtp, ids[i], IPC_SERVICE_SMTP, "192.0.2.1") == (i < 4 ? IPC_OK : IPC_TOO_MANY));
    }
    CHECK(session_open(&smtp, new_id(), IPC_SERVICE_SMTP, "192.0.2.2") == IPC_OK);
    peer_send(&smtp, &(struct ipc_message){.type = IPC_TYPE_SESSION_CLOSE, .session_close = {ids[0]}});
    CHECK(session_open(&smtp, ids[4], IPC_SERVICE_SMTP, "192.0.2.1") == IPC_OK);
    peer_done(&smtp);
    world_channel(w, IPC_ROLE_SMTP, 0, &smtp); /* a channel's sessions end with it */
    for (size_t i = 0; i < 4; i++)
        CHECK(session_open(&smtp, new_id(), IPC_SERVICE_SMTP, "192.0.2.1") == IPC_OK);
    peer_done(&smtp);
}

/* More bodies at one time than a channel's memory holds: they wait for one another, none is lost. */
static void case_pressure(struct world *w)
{
    enum { COUNT = 200, BYTES = 250000 };
    static const struct ipc_recipient to[1] = {{.address = {(const uint8_t *)"bob@brant.test", 14}}};
    static struct ipc_id sessions[COUNT];
    struct peer peer, other;
    struct ipc_message m;
    struct buf _cleanup_buf_ bytes, stored;
    buf_init(&bytes, 1 << 20);
    buf_init(&stored, 1 << 20);
    world_channel(w, IPC_ROLE_CLI, 1, &peer);
    people(&peer);
    peer_done(&peer);
    world_channel(w, IPC_ROLE_SMTP, 0, &peer);
    world_channel(w, IPC_ROLE_SMTP, 1, &other);
    for (unsigned n = 0; n < COUNT; n++) {
        sessions[n] = new_id();
        CHECK(session_open(&peer, sessions[n], IPC_SERVICE_SMTP, "192.0.2.1") == IPC_OK);
        send_body(&peer, sessions[n], 1, message_bytes(&bytes, n, BYTES), NULL, NULL);
    }
    struct ipc_id session = new_id(); /* another channel has memory of its own */
    CHECK(session_open(&other, session, IPC_SERVICE_SMTP, "192.0.2.2") == IPC_OK);
    send_body(&other, session, 1, message_bytes(&bytes, COUNT, BYTES), NULL, NULL);
    m = commit_message(new_id(), session, 1, BYTES, to, 1);
    peer_call(&other, &m, &m);
    CHECK(m.commit_result.state == IPC_COMMIT_DONE);
    CHECK(WITH_SANITIZERS || world_memory_kib(w) < 160 * 1024);
    /* Backwards: those that wait are asked for first. */
    for (unsigned n = COUNT; n-- > 0;) {
        m = commit_message(new_id(), sessions[n], 1, BYTES, to, 1);
        m.tag = 1 + n;
        peer_send(&peer, &m);
    }
    for (unsigned done = 0; done < COUNT;) {
        CHECK(peer_receive(&peer, &m));
        if (m.type == IPC_TYPE_BODY_CREDIT) {
            CHECK(m.body_credit.status == IPC_OK);
            continue;
        }
        CHECK(m.type == IPC_TYPE_COMMIT_RESULT && m.commit_result.state == IPC_COMMIT_DONE);
        done++;
    }
    peer_done(&peer);
    peer_done(&other);
    world_channel(w, IPC_ROLE_POP3, 0, &peer);
    session = login(&peer, "bob@brant.test", "hunter2", IPC_OK, &m);
    CHECK(maildrop_open(&peer, session).maildrop.count == COUNT + 1);
    struct maildrop drop = maildrop_list(&peer, session);
    for (uint32_t n = 0; n < drop.count; n += 10) {
        read_message(&peer, session, drop.rows[n].uid, &stored);
        check_stored(buf_span(&stored), &bytes);
    }
    free(drop.rows);
    peer_done(&peer);
}

/* Bodies that fill the memory and never end: who waits for it too long is told, and is not at fault. */
static void case_waiting(struct world *w)
{
    enum { COUNT = 160, BYTES = 250000 };
    struct peer smtp;
    struct ipc_message m;
    struct buf _cleanup_buf_ bytes;
    buf_init(&bytes, 1 << 20);
    world_channel(w, IPC_ROLE_SMTP, 0, &smtp);
    struct span body = message_bytes(&bytes, 1, BYTES);
    for (unsigned n = 0; n < COUNT; n++) {
        struct ipc_id session = new_id();
        CHECK(session_open(&smtp, session, IPC_SERVICE_SMTP, "192.0.2.1") == IPC_OK);
        send_body(&smtp, session, 1, body, NULL, NULL);
    }
    unsigned refused = 0;
    do {
        CHECK(peer_receive(&smtp, &m)); /* ten seconds later */
        CHECK(m.type == IPC_TYPE_BODY_CREDIT);
        refused += m.body_credit.status == IPC_TRY_LATER;
    } while (m.body_credit.status == IPC_OK);
    struct ipc_id session = m.body_credit.session;
    static const struct ipc_recipient to[1] = {{.address = {(const uint8_t *)"bob@brant.test", 14}}};
    m = commit_message(new_id(), session, 1, BYTES, to, 1);
    m.tag = 77;
    peer_send(&smtp, &m);
    while (peer_receive(&smtp, &m) && m.type != IPC_TYPE_COMMIT_RESULT)
        refused += m.body_credit.status == IPC_TRY_LATER;
    CHECK(m.type == IPC_TYPE_COMMIT_RESULT && m.tag == 77);
    CHECK(m.commit_result.state == IPC_COMMIT_UNKNOWN && m.commit_result.status == IPC_TRY_LATER);
    CHECK(refused > 0 && refused < COUNT / 2);
    CHECK(rcpt_check(&smtp, session, "bob@elsewhere.test", 0) == IPC_NOT_LOCAL);
    peer_done(&smtp);
}

/* No space: mail is refused, reading and deleting go on, and mail is taken again afterwards. */
static void case_full(struct world *w)
{
    static const struct ipc_recipient to[1] = {{.address = {(const uint8_t *)"alice@brant.test", 16}}};
    struct peer cli, smtp, pop3;
    struct ipc_message m;
    struct buf _cleanup_buf_ bytes;
    buf_init(&bytes, 1 << 20);
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    world_channel(w, IPC_ROLE_SMTP, 0, &smtp);
    people(&cli);
    commit_many(&smtp, 20);
    peer_done(&cli);
    peer_done(&smtp);
    world_stop(w);
    size_t settings = strlen(w->settings);
    strcat(w->settings, "\ndisk_reserve = 1 TiB"); /* more than is free */
    world_start(w);

    world_channel(w, IPC_ROLE_SMTP, 0, &smtp);
    struct ipc_id session = new_id();
    CHECK(session_open(&smtp, session, IPC_SERVICE_SMTP, "192.0.2.1") == IPC_OK);
    CHECK(rcpt_check(&smtp, session, "alice@brant.test", 100) == IPC_NO_SPACE);
    CHECK(rcpt_check(&smtp, session, "nobody@brant.test", 100) == IPC_UNKNOWN_ADDRESS);
    struct span body = message_bytes(&bytes, 1, 1000);
    send_body(&smtp, session, 1, body, NULL, NULL);
    peer_expect(&smtp, IPC_TYPE_BODY_CREDIT, &m);
    CHECK(m.body_credit.status == IPC_NO_SPACE);
    m = commit_message(new_id(), session, 1, body.len, to, 1);
    peer_call(&smtp, &m, &m);
    CHECK(m.commit_result.state == IPC_COMMIT_UNKNOWN && m.commit_result.status == IPC_NO_SPACE);

    world_channel(w, IPC_ROLE_POP3, 0, &pop3);
    struct ipc_id reader = login(&pop3, "alice@brant.test", "secret", IPC_OK, &m);
    CHECK(maildrop_open(&pop3, reader).maildrop.count == 20);
    struct ipc_message expunge = {.type = IPC_TYPE_MAILDROP_EXPUNGE,
                                  .maildrop_expunge = {reader, SPAN_LIT("\1\0\0\0\2\0\0\0")}};
    peer_call(&pop3, &expunge, &m);
    CHECK(m.result.status == IPC_OK);
    CHECK(maildrop_open(&pop3, reader).maildrop.count == 18);
    peer_done(&pop3);
    w->settings[settings] = 0;
    world_reconfigure(w); /* while it runs */
    CHECK(rcpt_check(&smtp, session, "alice@brant.test", 100) == IPC_OK);
    commit_many(&smtp, 20);
    peer_done(&smtp);
}

/* The command line's own store: one at a time, and it ends with its channel. */
static void case_offline(struct world *w)
{
    struct world second = *w;
    second.offline = true;
    second.control_fd = second.log_fd = -1;
    net_control_init(&second.control);
    CHECK(world_start_refused(&second) != 0); /* the server has the directory */
    world_stop(w);
    world_start(&second);
    struct peer cli;
    struct ipc_message answer, ask = {.type = IPC_TYPE_STORE_REBUILD, .store_rebuild = {.confirm = 1}};
    world_channel(&second, IPC_ROLE_CLI, 0, &cli);
    people(&cli);
    peer_call(&cli, &ask, &answer);
    CHECK(answer.store_report.status == IPC_OK && answer.store_report.problems_count == 0);
    ask = (struct ipc_message){.type = IPC_TYPE_STORE_CHECK, .store_check = {.deep = 1}};
    peer_call(&cli, &ask, &answer);
    CHECK(answer.store_report.status == IPC_OK && answer.store_report.problems_count == 0);
    ask = (struct ipc_message){.type = IPC_TYPE_STORE_COMPACT, .store_compact = {.all = 1}};
    peer_call(&cli, &ask, &answer);
    CHECK(answer.store_report.status == IPC_OK);
    ask = (struct ipc_message){.type = IPC_TYPE_ACCOUNT_LIST};
    peer_call(&cli, &ask, &answer);
    CHECK(answer.account_rows.rows_count == 2);
    peer_done(&cli);
    world_expect_end(&second);
    net_control_done(&second.control);
    world_start(w);
    world_channel(w, IPC_ROLE_CLI, 0, &cli);
    ask = (struct ipc_message){.type = IPC_TYPE_STORE_REBUILD, .store_rebuild = {.confirm = 1}};
    peer_call(&cli, &ask, &answer);
    CHECK(answer.store_report.status == IPC_REFUSED); /* not under a running server */
    peer_done(&cli);
}

int main(int argc, char **argv)
{
    static const struct test_case cases[] = {
        {"directory", "max_connections_per_source = 1000", case_directory},
        {"mail", "max_connections_per_source = 1000", case_mail},
        {"kill", "max_connections_per_source = 1000", case_kill},
        {"resume", "max_connections_per_source = 1000", case_resume},
        {"hostile", "max_connections_per_source = 1000", case_hostile},
        {"limits", "max_connections_per_source = 4", case_limits},
        {"pressure", "max_connections_per_source = 1000", case_pressure},
        {"waiting", "max_connections_per_source = 1000", case_waiting},
        {"full", "max_connections_per_source = 1000", case_full},
        {"offline", "max_connections_per_source = 1000", case_offline},
    };
    return run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
