/* A session between a client at one end and a store at the other, both played by the test; the role around it
 * is made here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "os/clock.h"
#include "roles/imap/session_internal.h"

/* ---- the role ---- */

struct role {
    struct net_loop loop;
    struct role_conf conf;
    bool stopped;
};

struct net_loop *role_loop(struct role *r)
{
    return &r->loop;
}

struct role_conf *role_conf(struct role *r)
{
    return &r->conf;
}

struct role_conf *role_conf_ref(struct role_conf *c)
{
    c->references++;
    return c;
}

void role_conf_unref(struct role_conf *c)
{
    c->references--;
}

bool role_takes_no_more(const struct role *r)
{
    (void)r;
    return false;
}

void role_stop(struct role *r)
{
    r->stopped = true;
}

struct tls_client *tls_client_new(struct role *r)
{
    (void)r;
    return NULL;
}

void tls_client_free(struct tls_client *t)
{
    (void)t;
}

struct net_tls *tls_client_current(const struct tls_client *t)
{
    (void)t;
    return NULL;
}

void tls_client_call_channel(struct tls_client *t, enum ipc_role peer, uint32_t instance, int fd)
{
    (void)t;
    (void)peer;
    (void)instance;
    close(fd);
}

void tls_client_message(struct tls_client *t, const struct ipc_message *m)
{
    (void)t;
    (void)m;
}

struct net_tls_conf tls_client_conf(const struct conf *conf, enum ipc_service service)
{
    (void)conf;
    (void)service;
    return (struct net_tls_conf){0};
}

/* Time can be moved on. */
static uint64_t clock_ahead_ms;
uint64_t __real_os_clock_mono_ms(void);
uint64_t __wrap_os_clock_mono_ms(void);
uint64_t __wrap_os_clock_mono_ms(void)
{
    return __real_os_clock_mono_ms() + clock_ahead_ms;
}

/* ---- the bench ---- */

enum { SAID_MAX = 64 };

struct bench {
    struct role role;
    struct imap_shared *shared;
    struct net_channel *role_end, *store_end;
    struct net_timer *limit;
    int client;
    bool closed;               /* the session closed the connection */
    struct buf heard;          /* from the session, by the client */
    struct buf said[SAID_MAX]; /* to the store, encoded; not yet looked at */
    size_t said_count;
    struct buf looked_at; /* holds m */
    struct arena arena;
    struct ipc_message m; /* the last one looked at */
    struct ipc_id session;
};

static void to_role(void *context, struct net_channel *c, const struct ipc_message *m)
{
    struct bench *b = context;

    (void)c;
    store_client_message(b->shared->edge.store, m);
}

static void to_store(void *context, struct net_channel *c, const struct ipc_message *m)
{
    struct bench *b = context;

    (void)c;
    assert_true(b->said_count < SAID_MAX);
    buf_init(&b->said[b->said_count], IPC_FRAME_MAX);
    assert_int_equal(ipc_encode(&b->said[b->said_count++], m), BRANT_OK);
}

static void channel_ended(void *context, struct net_channel *c, enum net_channel_end end, const char *text)
{
    (void)context;
    (void)c;
    if (end == NET_CHANNEL_FAULT)
        fail_msg("a fault on the channel: %s", text);
}

static void stop(void *context)
{
    net_loop_stop(context);
}

static void role_drained(void *context, struct net_channel *c)
{
    struct bench *b = context;

    (void)c;
    imap_session_ask_all(b->shared);
}

static void store_comes(struct bench *b)
{
    static const struct net_channel_ops role_ops = {
        .message = to_role, .ended = channel_ended, .drained = role_drained};
    static const struct net_channel_ops store_ops = {.message = to_store, .ended = channel_ended};
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    b->role_end = net_channel_new(&b->role.loop, pair[0], IPC_ROLE_IMAP, IPC_ROLE_STORE, 1, &role_ops, b);
    b->store_end = net_channel_new(&b->role.loop, pair[1], IPC_ROLE_STORE, IPC_ROLE_IMAP, 1, &store_ops, b);
    store_client_up(b->shared->edge.store, b->role_end);
}

static void store_dies(struct bench *b)
{
    while (b->said_count)
        buf_done(&b->said[--b->said_count]);
    net_channel_free(b->role_end);
    net_channel_free(b->store_end);
    b->role_end = b->store_end = NULL;
    store_client_down(b->shared->edge.store);
}

/* Lets everything happen that can, and takes what the session says to the client. */
static void settle(struct bench *b)
{
    uint8_t piece[4096];
    ssize_t n;

    for (int round = 0; round < 4; round++) {
        net_timer_set(b->limit, 2);
        net_loop_run(&b->role.loop);
        b->role.loop.stopping = false;
        while (b->client >= 0 && (n = recv(b->client, piece, sizeof piece, MSG_DONTWAIT)) >= 0) {
            if (n == 0) {
                b->closed = true;
                break;
            }
            assert_int_equal(buf_append(&b->heard, span_make(piece, (size_t)n)), BRANT_OK);
        }
    }
}

static void say(struct bench *b, const char *text)
{
    assert_int_equal(send(b->client, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    settle(b);
}

/* What the client has heard contains the text; then it is forgotten. */
static void hear(struct bench *b, const char *text)
{
    settle(b);
    if (span_find(buf_span(&b->heard), span_str(text)) == SPAN_NPOS)
        fail_msg("\"%s\" is not in what the client heard: %s", text, buf_cstr(&b->heard));
    buf_reset(&b->heard);
}

static void hear_nothing(struct bench *b)
{
    settle(b);
    assert_int_equal(b->heard.len, 0);
}

/* The next message to the store. */
static const struct ipc_message *asked(struct bench *b, enum ipc_type type)
{
    settle(b);
    if (b->said_count == 0)
        fail_msg("the store was asked nothing, %s was due", ipc_type_name((uint16_t)type));
    buf_done(&b->looked_at);
    b->looked_at = b->said[0];
    memmove(b->said, b->said + 1, --b->said_count * sizeof *b->said);
    arena_reset(&b->arena);
    assert_int_equal(ipc_decode(buf_span(&b->looked_at), &b->arena, &b->m), BRANT_OK);
    if (b->m.type != type)
        fail_msg("the store was asked %s, %s was due", ipc_type_name(b->m.type),
                 ipc_type_name((uint16_t)type));
    return &b->m;
}

static void asked_nothing(struct bench *b)
{
    settle(b);
    if (b->said_count)
        asked(b, IPC_TYPE_NONE);
}

/* The answer to the last message. */
static void answer(struct bench *b, struct ipc_message m)
{
    m.tag = b->m.tag;
    assert_int_equal(net_channel_send(b->store_end, &m), BRANT_OK);
    settle(b);
}

static void answer_status(struct bench *b, uint8_t status)
{
    struct ipc_message m = {.type = (uint16_t)ipc_answer(b->m.type)};

    switch (m.type) {
    case IPC_TYPE_MESSAGES_CHANGED:
        m.messages_changed = (struct ipc_messages_changed){.status = status};
        break;
    case IPC_TYPE_MAILBOX_CHANGED:
        m.mailbox_changed = (struct ipc_mailbox_changed){.status = status, .mailbox = 9};
        break;
    case IPC_TYPE_CHANGES:
        m.changes = (struct ipc_changes){.status = status};
        break;
    case IPC_TYPE_APPENDED:
        m.appended = (struct ipc_appended){.status = status};
        break;
    case IPC_TYPE_MAILBOX_ROWS:
        m.mailbox_rows = (struct ipc_mailbox_rows){.status = status};
        break;
    case IPC_TYPE_RESUME_RESULT:
        m.resume_result = (struct ipc_resume_result){.status = status};
        break;
    case IPC_TYPE_SESSION_VERDICT:
        m.session_verdict = (struct ipc_session_verdict){.status = status};
        break;
    default:
        fail_msg("no such answer");
    }
    answer(b, m);
}

static void setup(struct bench *b)
{
    struct net_accepted a = {0};
    int pair[2];

    clock_ahead_ms = 0;
    *b = (struct bench){.client = -1};
    b->shared = calloc(1, sizeof *b->shared);
    assert_non_null(b->shared);
    assert_int_equal(net_loop_init(&b->role.loop), BRANT_OK);
    conf_init(&b->role.conf.conf);
    b->role.conf.conf.cleartext_auth = CONF_CLEARTEXT_LOOPBACK;
    b->limit = net_timer_new(&b->role.loop, stop, &b->role.loop);
    buf_init(&b->heard, 1 << 20);
    arena_init(&b->arena, 1 << 20);
    edge_shared_prepare(&b->shared->edge, &b->role);
    store_comes(b);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    b->client = pair[0];
    a.fd = pair[1];
    assert_int_equal(ip_parse(SPAN_LIT("127.0.0.1"), &a.peer), BRANT_OK);
    a.local = a.listener = a.peer;
    imap_session_start(b->shared, IPC_SERVICE_IMAP, &a);
    b->session = asked(b, IPC_TYPE_SESSION_OPEN)->session_open.session;
    answer_status(b, IPC_OK);
    hear(b, "* OK [CAPABILITY");
}

static void teardown(struct bench *b)
{
    imap_session_abort_all(b->shared);
    if (b->role_end)
        store_dies(b);
    buf_done(&b->looked_at);
    edge_shared_done(&b->shared->edge);
    close(b->client);
    settle(b);
    net_timer_free(b->limit);
    net_loop_done(&b->role.loop);
    conf_done(&b->role.conf.conf);
    buf_done(&b->heard);
    arena_done(&b->arena);
    free(b->shared);
}

static void log_in(struct bench *b)
{
    uint8_t token[EDGE_TOKEN_BYTES] = {1, 2, 3};
    struct ipc_message ok = {.type = IPC_TYPE_LOGIN_RESULT,
                             .login_result = {.account = 7,
                                              .token = span_make(token, sizeof token),
                                              .address = SPAN_LIT("alice@brant.test")}};

    say(b, "a LOGIN alice@brant.test secret\r\n");
    asked(b, IPC_TYPE_LOGIN);
    answer(b, ok);
    hear(b, "a OK");
}

static void put_ranges(uint8_t *p, const uint32_t *numbers, size_t count)
{
    for (size_t i = 0; i < 4 * count; i++)
        p[i] = (uint8_t)(numbers[i / 4] >> (8 * (i % 4)));
}

/* INBOX is mailbox 5, with the UIDs 1 to 3 and 5, at MODSEQ 100. */
static void open_inbox(struct bench *b)
{
    static const uint32_t one[] = {1, 2}, two[] = {3, 3, 5, 5};
    uint8_t bytes[16];
    struct ipc_message opened = {.type = IPC_TYPE_MAILBOX_OPENED,
                                 .mailbox_opened = {.mailbox = 5,
                                                    .uidvalidity = 77,
                                                    .uidnext = 6,
                                                    .modseq = 100,
                                                    .messages = 4,
                                                    .unseen = 2,
                                                    .recent_from = 5,
                                                    .keywords = SPAN_LIT("$Forwarded work")}};
    struct ipc_message uids = {.type = IPC_TYPE_UIDS};

    say(b, "s SELECT INBOX\r\n");
    assert_true(span_eq_str(asked(b, IPC_TYPE_MAILBOX_OPEN)->mailbox_open.name, "INBOX"));
    answer(b, opened);
    assert_int_equal(asked(b, IPC_TYPE_UIDS_READ)->uids_read.first, 1);
    assert_int_equal(b->m.uids_read.last, 5);
    put_ranges(bytes, one, 2);
    uids.uids = (struct ipc_uids){.ranges = span_make(bytes, 8), .done_to = 2};
    answer(b, uids);
    assert_int_equal(asked(b, IPC_TYPE_UIDS_READ)->uids_read.first, 3);
    put_ranges(bytes, two, 4);
    uids.uids = (struct ipc_uids){.ranges = span_make(bytes, 16), .done_to = UINT32_MAX};
    answer(b, uids);
    settle(b);
    assert_true(span_find(buf_span(&b->heard), SPAN_LIT("* 4 EXISTS")) != SPAN_NPOS);
    assert_true(span_find(buf_span(&b->heard), SPAN_LIT("$Forwarded work")) != SPAN_NPOS);
    assert_true(span_find(buf_span(&b->heard), SPAN_LIT("UIDVALIDITY 77")) != SPAN_NPOS);
    hear(b, "s OK [READ-WRITE]");
}

/* A new store process, to which the session is presented again. */
static void store_comes_back(struct bench *b, bool watches)
{
    store_comes(b);
    assert_int_equal(asked(b, IPC_TYPE_RESUME)->resume.account, 7);
    answer_status(b, IPC_OK);
    if (watches)
        assert_int_equal(asked(b, IPC_TYPE_MAILBOX_WATCH)->mailbox_watch.mailbox, 5);
}

static struct ipc_message no_changes(uint64_t modseq)
{
    return (struct ipc_message){.type = IPC_TYPE_CHANGES,
                                .changes = {.modseq = modseq, .uidnext = 6, .vanished_to = UINT32_MAX}};
}

static void changes_are_asked(struct bench *b, uint64_t modseq)
{
    assert_int_equal(asked(b, IPC_TYPE_CHANGES_READ)->changes_read.mailbox, 5);
    answer(b, no_changes(modseq));
}

static struct ipc_message done(uint32_t done_to)
{
    return (struct ipc_message){
        .type = IPC_TYPE_MESSAGES_CHANGED,
        .messages_changed = {.done_to = done_to, .modseq = 101, .modseq_before = 100}};
}

/* ---- tests ---- */

static void a_mailbox_is_opened_in_slices(void **state)
{
    struct bench b;

    (void)state;
    setup(&b);
    log_in(&b);
    open_inbox(&b);
    say(&b, "u UNSELECT\r\n");
    assert_int_equal(asked(&b, IPC_TYPE_MAILBOX_WATCH)->mailbox_watch.mailbox, 0);
    hear(&b, "u OK");
    say(&b, "q LOGOUT\r\n");
    hear(&b, "q OK");
    assert_true(b.closed);
    teardown(&b);
}

static void news_reach_idle(void **state)
{
    struct ipc_message news = {.type = IPC_TYPE_MAILBOX_NEWS}, changes = no_changes(104);
    static const uint32_t arrived[] = {6, 7};
    uint8_t bytes[8];
    struct bench b;

    (void)state;
    setup(&b);
    log_in(&b);
    open_inbox(&b);
    say(&b, "i IDLE\r\n");
    changes_are_asked(&b, 100);
    hear(&b, "+ ");
    news.mailbox_news = (struct ipc_mailbox_news){.session = b.session, .mailbox = 5, .modseq = 104};
    net_channel_send(b.store_end, &news);
    asked(&b, IPC_TYPE_CHANGES_READ);
    put_ranges(bytes, arrived, 2);
    changes.changes.arrived = span_make(bytes, 8);
    changes.changes.uidnext = 8;
    answer(&b, changes);
    hear(&b, "* 6 EXISTS");

    news.mailbox_news.mailbox = 4; /* of another mailbox: nothing */
    net_channel_send(b.store_end, &news);
    asked_nothing(&b);
    news.mailbox_news = (struct ipc_mailbox_news){.session = b.session, .mailbox = 5, .modseq = UINT64_MAX};
    net_channel_send(b.store_end, &news); /* it may be gone, and is not */
    asked(&b, IPC_TYPE_CHANGES_READ);
    changes = no_changes(104);
    changes.changes.uidnext = 8;
    answer(&b, changes);
    hear_nothing(&b);
    asked_nothing(&b);
    net_channel_send(b.store_end, &news);
    asked(&b, IPC_TYPE_CHANGES_READ);
    answer_status(&b, IPC_NOT_FOUND);
    hear(&b, "* BYE");
    assert_true(b.closed);
    teardown(&b);
}

/* They are said once: those that come while the mailbox is being opened count behind it. */
static void news_of_a_mailbox_being_opened_are_kept(void **state)
{
    static const uint32_t uids[] = {1, 3};
    struct ipc_message news = {.type = IPC_TYPE_MAILBOX_NEWS};
    struct ipc_message opened = {
        .type = IPC_TYPE_MAILBOX_OPENED,
        .mailbox_opened = {.mailbox = 5, .uidvalidity = 77, .uidnext = 6, .modseq = 100, .messages = 3}};
    struct ipc_message there = {.type = IPC_TYPE_UIDS};
    uint8_t bytes[8];
    struct bench b;

    (void)state;
    setup(&b);
    log_in(&b);
    news.mailbox_news = (struct ipc_mailbox_news){.session = b.session, .mailbox = 5, .modseq = 101};
    put_ranges(bytes, uids, 2);
    there.uids = (struct ipc_uids){.ranges = span_make(bytes, 8), .done_to = UINT32_MAX};
    for (int when = 0; when < 4;
         when++) { /* 0: before the answer, 1: before the UIDs, 2: a restart, 3: none */
        say(&b, "s SELECT INBOX\r\n");
        asked(&b, IPC_TYPE_MAILBOX_OPEN);
        if (when == 0)
            net_channel_send(b.store_end, &news);
        settle(&b);
        answer(&b, opened);
        asked(&b, IPC_TYPE_UIDS_READ);
        if (when == 1)
            net_channel_send(b.store_end, &news);
        if (when == 2) {
            store_dies(&b);
            store_comes_back(&b, true);
            asked(&b, IPC_TYPE_UIDS_READ);
        }
        answer(&b, there);
        if (when < 3)
            changes_are_asked(&b, 100);
        asked_nothing(&b);
        hear(&b, "s OK [READ-WRITE]");
        say(&b, "u UNSELECT\r\n");
        assert_int_equal(asked(&b, IPC_TYPE_MAILBOX_WATCH)->mailbox_watch.mailbox, 0);
        hear(&b, "u OK");
    }
    teardown(&b);
}

static void a_restart_is_a_pause(void **state)
{
    struct ipc_message_row row = {.uid = 1, .flags = IMAP_FLAG_SEEN, .modseq = 90, .size = 10};
    struct ipc_message rows = {.type = IPC_TYPE_MESSAGE_ROWS,
                               .message_rows = {.done_to = UINT32_MAX, .rows = &row, .rows_count = 1}};
    struct bench b;

    (void)state;
    setup(&b);
    log_in(&b);
    open_inbox(&b);
    say(&b, "f FETCH 1 FLAGS\r\n");
    asked(&b, IPC_TYPE_MESSAGE_LIST);
    store_dies(&b);
    hear_nothing(&b);
    store_comes_back(&b, true);
    asked(&b, IPC_TYPE_MESSAGE_LIST);
    answer(&b, rows);
    settle(&b);
    assert_true(span_find(buf_span(&b.heard), SPAN_LIT("* 1 FETCH")) != SPAN_NPOS);
    changes_are_asked(&b, 100); /* what the one that died did not live to tell */
    hear(&b, "f OK");

    say(&b, "i IDLE\r\n");
    changes_are_asked(&b, 100);
    hear(&b, "+ ");
    store_dies(&b);
    store_comes_back(&b, true);
    changes_are_asked(&b, 100);
    hear_nothing(&b);
    say(&b, "DONE\r\n");
    hear(&b, "i OK");
    teardown(&b);
}

/* A store that takes nothing for a while is not buried in questions. */
static void a_congested_channel_is_not_asked(void **state)
{
    static const uint8_t bytes[IPC_CHUNK_MAX];
    struct ipc_message chunk = {.type = IPC_TYPE_BODY_CHUNK,
                                .body_chunk = {.bytes = span_make(bytes, sizeof bytes)}};
    struct ipc_message_row row = {.uid = 1, .flags = IMAP_FLAG_SEEN, .modseq = 90, .size = 10};
    struct ipc_message rows = {.type = IPC_TYPE_MESSAGE_ROWS,
                               .message_rows = {.done_to = UINT32_MAX, .rows = &row, .rows_count = 1}};
    unsigned chunks = 0;
    struct bench b;

    (void)state;
    setup(&b);
    log_in(&b);
    open_inbox(&b);
    net_channel_pause(b.store_end, true);
    while (!net_channel_congested(b.role_end)) {
        assert_int_equal(net_channel_send(b.role_end, &chunk), BRANT_OK);
        chunks++;
    }
    settle(&b);
    while (!net_channel_congested(b.role_end)) { /* what the socket took */
        assert_int_equal(net_channel_send(b.role_end, &chunk), BRANT_OK);
        chunks++;
    }
    say(&b, "f FETCH 1 FLAGS\r\n");
    hear_nothing(&b);
    assert_false(b.shared->sessions->sent);
    net_channel_pause(b.store_end, false);
    while (chunks-- > 0)
        asked(&b, IPC_TYPE_BODY_CHUNK);
    asked(&b, IPC_TYPE_MESSAGE_LIST);
    answer(&b, rows);
    hear(&b, "f OK");
    teardown(&b);
}

static void what_is_in_doubt_is_not_done_twice(void **state)
{
    struct bench b;

    (void)state;
    setup(&b);
    log_in(&b);
    open_inbox(&b);
    say(&b, "c COPY 1 Trash\r\n");
    asked(&b, IPC_TYPE_MESSAGE_CHANGE);
    store_dies(&b);
    hear(&b, "c NO [UNAVAILABLE]");
    store_comes_back(&b, true);
    asked_nothing(&b);

    say(&b, "d DELETE old\r\n");
    assert_int_equal(asked(&b, IPC_TYPE_MAILBOX_CHANGE)->mailbox_change.again, 0);
    store_dies(&b);
    store_comes_back(&b, true);
    assert_int_equal(asked(&b, IPC_TYPE_MAILBOX_CHANGE)->mailbox_change.again, 1);
    answer_status(&b, IPC_OK);
    changes_are_asked(&b, 100);
    hear(&b, "d OK");

    say(&b, "e STORE 1 +FLAGS.SILENT (\\Deleted)\r\n");
    asked(&b, IPC_TYPE_MESSAGE_CHANGE);
    store_dies(&b);
    store_comes_back(&b, true);
    asked(&b, IPC_TYPE_MESSAGE_CHANGE);
    answer(&b, done(UINT32_MAX));
    changes_are_asked(&b, 101);
    hear(&b, "e OK");
    teardown(&b);
}

static void a_store_that_stays_away_costs_the_command(void **state)
{
    struct bench b;

    (void)state;
    setup(&b);
    log_in(&b);
    say(&b, "c CREATE work\r\n");
    asked(&b, IPC_TYPE_MAILBOX_CHANGE);
    store_dies(&b);
    clock_ahead_ms += 61 * 1000;
    say(&b, "n NOOP\r\n");
    settle(&b);
    assert_true(span_find(buf_span(&b.heard), SPAN_LIT("c NO [UNAVAILABLE]")) != SPAN_NPOS);
    hear(&b, "n OK");
    assert_false(b.closed);
    store_comes_back(&b, false);
    asked_nothing(&b);
    teardown(&b);
}

static void exists(struct bench *b)
{
    struct ipc_mailbox_row row = {.name = SPAN_LIT("INBOX"), .exists = 1, .mailbox = 5};
    struct ipc_message m = {.type = IPC_TYPE_MAILBOX_ROWS, .mailbox_rows = {.rows = &row, .rows_count = 1}};

    asked(b, IPC_TYPE_MAILBOX_STATUS);
    answer(b, m);
}

static void messages_are_appended(void **state)
{
    static const uint32_t uids[] = {6, 7};
    struct ipc_message appended = {.type = IPC_TYPE_APPENDED};
    const struct ipc_message *m;
    uint8_t bytes[8];
    struct bench b;

    (void)state;
    setup(&b);
    log_in(&b);
    say(&b, "p APPEND INBOX (\\Seen work) \"01-Feb-2024 10:00:00 +0000\" {49}\r\n");
    exists(&b);
    hear(&b, "+ ");
    say(&b, "Message-ID: <x@y>\r\nSubject: One\r\n\r\nThis is one.\r\n {12+}\r\nSubject: 2\r\n\r\n");
    m = asked(&b, IPC_TYPE_BODY_CHUNK);
    assert_int_equal(m->body_chunk.bytes.len, 49);
    m = asked(&b, IPC_TYPE_APPEND_MESSAGE);
    assert_int_equal(m->append_message.body, 1);
    assert_int_equal(m->append_message.body_bytes, 49);
    assert_int_equal(m->append_message.flags, IMAP_FLAG_SEEN);
    assert_true(span_eq_str(m->append_message.keywords, "work"));
    assert_true(span_eq_str(m->append_message.message_id, "<x@y>"));
    assert_int_equal(m->append_message.content_sum.len, IPC_SUM_BYTES);
    assert_true(m->append_message.structure.len > 0);
    assert_true(m->append_message.time_ms == 1706781600000);
    asked(&b, IPC_TYPE_BODY_CHUNK);
    assert_int_equal(asked(&b, IPC_TYPE_APPEND_MESSAGE)->append_message.body, 2);
    m = asked(&b, IPC_TYPE_APPEND_COMMIT);
    assert_int_equal(m->append_commit.messages, 2);
    put_ranges(bytes, uids, 2);
    appended.appended = (struct ipc_appended){.uidvalidity = 77, .uids = span_make(bytes, 8)};
    answer(&b, appended);
    hear(&b, "p OK [APPENDUID 77 6:7]");

    say(&b, "q APPEND nowhere {10}\r\n");
    asked(&b, IPC_TYPE_MAILBOX_STATUS);
    answer_status(&b, IPC_NOT_FOUND);
    hear(&b, "q NO [TRYCREATE]");
    asked_nothing(&b);
    teardown(&b);
}

static void an_append_in_doubt_is_asked_for(void **state)
{
    struct ipc_id append;
    struct bench b;

    (void)state;
    setup(&b);
    log_in(&b);
    say(&b, "p APPEND INBOX {12+}\r\nSubject: 1\r\n\r\n");
    exists(&b);
    asked(&b, IPC_TYPE_BODY_CHUNK);
    asked(&b, IPC_TYPE_APPEND_MESSAGE);
    append = asked(&b, IPC_TYPE_APPEND_COMMIT)->append_commit.append;
    store_dies(&b);
    store_comes_back(&b, false);
    assert_memory_equal(&asked(&b, IPC_TYPE_APPEND_ASK)->append_ask.append, &append, sizeof append);
    answer_status(&b, IPC_OK);
    hear(&b, "p OK");

    say(&b, "p APPEND INBOX {14}\r\n"); /* dies while the message comes */
    exists(&b);
    hear(&b, "+ ");
    say(&b, "Subject:");
    store_dies(&b);
    store_comes_back(&b, false);
    say(&b, " 1\r\n\r\n\r\n");
    hear(&b, "p NO [UNAVAILABLE]");
    asked(&b, IPC_TYPE_APPEND_ABORT);
    asked_nothing(&b);
    say(&b, "n NOOP\r\n");
    hear(&b, "n OK");
    teardown(&b);
}

/* Sends what the socket takes of a message's bytes. */
static size_t pour(struct bench *b, size_t left)
{
    static const char piece[16384] = {[0 ... 16383] = 'x'};
    size_t poured = 0;
    ssize_t n = 1;

    while (poured < left && n > 0) {
        size_t want = left - poured < sizeof piece ? left - poured : sizeof piece;

        n = send(b->client, piece, want, MSG_NOSIGNAL | MSG_DONTWAIT);
        poured += n > 0 ? (size_t)n : 0;
        settle(b);
    }
    return poured;
}

static size_t chunks(struct bench *b)
{
    size_t bytes = 0;

    for (settle(b); b->said_count; settle(b))
        bytes += asked(b, IPC_TYPE_BODY_CHUNK)->body_chunk.bytes.len;
    return bytes;
}

static void no_more_is_taken_than_there_is_credit_for(void **state)
{
    enum { SIZE = 4 << 20 };
    struct ipc_message credit = {.type = IPC_TYPE_BODY_CREDIT};
    size_t poured, sent;
    struct bench b;

    (void)state;
    setup(&b);
    log_in(&b);
    say(&b, "p APPEND INBOX {4194304}\r\n");
    exists(&b);
    hear(&b, "+ ");
    poured = pour(&b, SIZE);
    assert_true(poured < SIZE / 2); /* the rest waits at the client */
    sent = chunks(&b);
    assert_true(sent <= IPC_BODY_CREDIT && sent > IPC_BODY_CREDIT - IPC_CHUNK_MAX);
    credit.body_credit = (struct ipc_body_credit){.session = b.session, .body = 1, .bytes = IPC_CHUNK_MAX};
    for (int rounds = 0; sent < SIZE && rounds < 1000; rounds++) {
        net_channel_send(b.store_end, &credit);
        poured += pour(&b, SIZE - poured);
        for (settle(&b); b.said_count && sent < SIZE; settle(&b))
            sent += asked(&b, IPC_TYPE_BODY_CHUNK)->body_chunk.bytes.len;
    }
    assert_int_equal(sent, SIZE);
    assert_int_equal(asked(&b, IPC_TYPE_APPEND_MESSAGE)->append_message.body_bytes, SIZE);
    say(&b, "\r\n");
    asked(&b, IPC_TYPE_APPEND_COMMIT);
    answer_status(&b, IPC_OVER_QUOTA);
    hear(&b, "p NO [OVERQUOTA]");
    teardown(&b);
}

static void a_store_that_gives_no_credit_costs_the_message(void **state)
{
    enum { SIZE = 2 << 20 };
    struct ipc_message credit = {.type = IPC_TYPE_BODY_CREDIT};
    struct bench b;
    size_t poured;

    (void)state;
    setup(&b);
    log_in(&b);
    say(&b, "p APPEND INBOX {2097152}\r\n");
    exists(&b);
    poured = pour(&b, SIZE);
    assert_true(poured < SIZE);
    chunks(&b);
    clock_ahead_ms += 301 * 1000; /* seen when the pump runs next: here, for a credit that is none */
    credit.body_credit = (struct ipc_body_credit){.session = b.session, .body = 1};
    net_channel_send(b.store_end, &credit);
    for (int i = 0; i < 20 && b.said_count == 0; i++)
        settle(&b);
    asked(&b, IPC_TYPE_BODY_ABORT);
    for (poured += pour(&b, SIZE - poured); poured < SIZE;)
        poured += pour(&b, SIZE - poured);
    say(&b, "\r\n");
    hear(&b, "p NO [UNAVAILABLE]");
    teardown(&b);
}

static void a_drain_lets_the_command_finish(void **state)
{
    struct bench b;

    (void)state;
    setup(&b);
    log_in(&b);
    say(&b, "c CREATE work\r\n");
    asked(&b, IPC_TYPE_MAILBOX_CHANGE);
    imap_session_drain_all(b.shared);
    hear_nothing(&b);
    answer_status(&b, IPC_OK);
    settle(&b);
    assert_true(span_find(buf_span(&b.heard), SPAN_LIT("c OK")) != SPAN_NPOS);
    hear(&b, "* BYE [UNAVAILABLE]");
    assert_true(b.closed);
    teardown(&b);
}

static void a_session_that_cannot_be_resumed_ends(void **state)
{
    struct bench b;

    (void)state;
    setup(&b);
    log_in(&b);
    store_dies(&b);
    store_comes(&b);
    asked(&b, IPC_TYPE_RESUME);
    answer_status(&b, IPC_AUTH_FAILED);
    hear(&b, "* BYE the account has changed");
    assert_true(b.closed);
    teardown(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mailbox_is_opened_in_slices),
        cmocka_unit_test(news_reach_idle),
        cmocka_unit_test(news_of_a_mailbox_being_opened_are_kept),
        cmocka_unit_test(a_restart_is_a_pause),
        cmocka_unit_test(a_congested_channel_is_not_asked),
        cmocka_unit_test(what_is_in_doubt_is_not_done_twice),
        cmocka_unit_test(a_store_that_stays_away_costs_the_command),
        cmocka_unit_test(messages_are_appended),
        cmocka_unit_test(an_append_in_doubt_is_asked_for),
        cmocka_unit_test(no_more_is_taken_than_there_is_credit_for),
        cmocka_unit_test(a_store_that_gives_no_credit_costs_the_message),
        cmocka_unit_test(a_drain_lets_the_command_finish),
        cmocka_unit_test(a_session_that_cannot_be_resumed_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
