/* What no honest imap instance asks of the store, and too much of what one may ask: the channel of the first
 * is closed and its sender reported, the second is told to try later. Usage: imap_hostile BRANT_STORE [CASE]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "imap_steps.h"
#include "login_steps.h"
#include "net/channel.h"

#define ALICE "alice@brant.test"

struct hostile {
    struct world *w;
    struct imap honest, bad;
    struct ipc_id session, honest_session;
    uint64_t box;
    uint32_t instance;
    unsigned count;
};

static void hostile_begin(struct hostile *h)
{
    struct ipc_message m;
    imap_channel(h->w, ++h->instance, &h->bad);
    h->session = imap_login(&h->bad, ALICE, "secret", &m);
}

static void hostile_end(struct hostile *h)
{
    struct ipc_mailbox_row row;
    peer_expect_closed(&h->bad.p);
    peer_done(&h->bad.p);
    world_expect_fault(h->w, IPC_ROLE_IMAP, h->instance);
    CHECK(imap_status(&h->honest, h->honest_session, "INBOX", &row) == IPC_OK);
    h->count++;
}

/* `session`: where the message has its own (every one of these has it first). */
static void offence(struct hostile *h, struct ipc_message m, bool own_session)
{
    hostile_begin(h);
    if (own_session)
        memcpy(&m.mailbox_list.session, &h->session, sizeof h->session);
    peer_send(&h->bad.p, &m);
    hostile_end(h);
}

static const uint16_t questions[] = {
    IPC_TYPE_MAILBOX_LIST,  IPC_TYPE_MAILBOX_STATUS, IPC_TYPE_MAILBOX_CHANGE, IPC_TYPE_MAILBOX_OPEN,
    IPC_TYPE_MAILBOX_WATCH, IPC_TYPE_UIDS_READ,      IPC_TYPE_VANISHED_READ,  IPC_TYPE_CHANGES_READ,
    IPC_TYPE_MESSAGE_LIST,  IPC_TYPE_MESSAGE_CHANGE, IPC_TYPE_APPEND_MESSAGE, IPC_TYPE_APPEND_ABORT,
    IPC_TYPE_APPEND_COMMIT, IPC_TYPE_APPEND_ASK};

/* Sessions that are not open, somebody else's, not logged in. */
static void hostile_sessions(struct hostile *h)
{
    for (size_t k = 0; k < sizeof questions / sizeof *questions; k++) {
        struct ipc_message m = {.type = questions[k]};
        offence(h, m, false);
        m.mailbox_list.session = h->honest_session;
        offence(h, m, false);
        imap_channel(h->w, ++h->instance, &h->bad);
        m.mailbox_list.session = new_id();
        CHECK(session_open(&h->bad.p, m.mailbox_list.session, IPC_SERVICE_IMAPS, "192.0.2.9") == IPC_OK);
        peer_send(&h->bad.p, &m);
        hostile_end(h);
    }
    offence(
        h, (struct ipc_message){.type = IPC_TYPE_MESSAGE_READ, .message_read = {.mailbox = h->box, .uid = 1}},
        false);
    offence(h, (struct ipc_message){.type = IPC_TYPE_MESSAGE_READ, .message_read = {.uid = 1}}, true);
    offence(h, (struct ipc_message){.type = IPC_TYPE_MAILDROP_OPEN}, true);
    struct ipc_message m = {.type = IPC_TYPE_RESUME,
                            .resume = {.session = new_id(), .service = IPC_SERVICE_POP3, .account = 1}};
    offence(h, m, false);
    m.resume.service = IPC_SERVICE_IMAP;
    m.resume.maildrop_held = 1;
    offence(h, m, false);
    m = (struct ipc_message){.type = IPC_TYPE_SESSION_OPEN,
                             .session_open = {.session = new_id(), .service = IPC_SERVICE_SMTP}};
    offence(h, m, false);
}

static void hostile_names(struct hostile *h)
{
    static const char *const names[] = {"", "/", "a//b", "/a", "a/", "inbox", "a\rb", "\xff\xfe", "\xc3\x28"};
    char deep[100] = "";
    for (unsigned k = 0; k < 33; k++)
        strcat(deep, k ? "/a" : "a");
    for (size_t k = 0; k <= sizeof names / sizeof *names; k++) {
        struct span name = span_str(k < sizeof names / sizeof *names ? names[k] : deep);
        struct ipc_message m = {.type = IPC_TYPE_MAILBOX_STATUS, .mailbox_status = {.name = name}};
        offence(h, m, true);
        m = (struct ipc_message){.type = IPC_TYPE_MAILBOX_OPEN, .mailbox_open = {.name = name}};
        offence(h, m, true);
        m = (struct ipc_message){.type = IPC_TYPE_MAILBOX_CHANGE, .mailbox_change = {.name = name}};
        offence(h, m, true);
        m.mailbox_change = (struct ipc_mailbox_change){
            .action = IPC_MAILBOX_RENAME, .name = SPAN_LIT("Junk"), .target = name};
        offence(h, m, true);
        m = imap_message_change(h->session, h->box, IPC_MESSAGES_MOVE, "1", 0, "", "");
        m.message_change.target = name;
        offence(h, m, true);
    }
    offence(h,
            (struct ipc_message){.type = IPC_TYPE_MAILBOX_CHANGE,
                                 .mailbox_change = {.name = SPAN_LIT("x"), .uses = 256}},
            true);
    offence(h, (struct ipc_message){.type = IPC_TYPE_MAILBOX_LIST}, true); /* of none */
    offence(h, (struct ipc_message){.type = IPC_TYPE_CHANGES_READ, .changes_read = {.mailbox = h->box}},
            true);
}

static void hostile_ranges(struct hostile *h)
{
    static const struct span bad[] = {
        {(const uint8_t *)"\1\0\0\0\1\0\0", 7},                                    /* cut */
        {(const uint8_t *)"\0\0\0\0\1\0\0\0", 8},                                  /* 0 */
        {(const uint8_t *)"\2\0\0\0\1\0\0\0", 8},                                  /* backwards */
        {(const uint8_t *)"\3\0\0\0\4\0\0\0\1\0\0\0\1\0\0\0", 16},                 /* not ascending */
        {(const uint8_t *)"\3\0\0\0\5\0\0\0\5\0\0\0\6\0\0\0", 16},                 /* overlapping */
        {(const uint8_t *)"\1\0\0\0\xff\xff\xff\xff\1\0\0\0\xff\xff\xff\xff", 16}, /* twice */
    };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        struct ipc_message m = {.type = IPC_TYPE_VANISHED_READ,
                                .vanished_read = {.mailbox = h->box, .ranges = bad[k], .count = 10}};
        offence(h, m, true);
        m = (struct ipc_message){.type = IPC_TYPE_MESSAGE_LIST,
                                 .message_list = {.mailbox = h->box, .ranges = bad[k], .count = 10}};
        offence(h, m, true);
        m = imap_message_change(h->session, h->box, IPC_MESSAGES_EXPUNGE, "1", 0, "", "");
        m.message_change.ranges = bad[k];
        offence(h, m, true);
    }
    struct ipc_message m = {.type = IPC_TYPE_VANISHED_READ,
                            .vanished_read = {.mailbox = h->box, .ranges = ranges("1")}};
    offence(h, m, true);
    m = (struct ipc_message){.type = IPC_TYPE_MESSAGE_LIST,
                             .message_list = {.mailbox = h->box, .ranges = ranges("1")}};
    offence(h, m, true);
}

static void hostile_changes(struct hostile *h)
{
    char many[57 * 4 + 1] = "", wide[66];
    for (unsigned k = 0; k < 57; k++)
        snprintf(many + strlen(many), 5, "%sk%02u", k ? " " : "", k);
    memset(wide, 'k', 65);
    wide[65] = 0;
    const char *const keywords[] = {"a  b", " a", "a ", "a\tb", "\xc3\xa4", many, wide};
    for (size_t k = 0; k < sizeof keywords / sizeof *keywords; k++) {
        struct ipc_message m =
            imap_message_change(h->session, h->box, IPC_MESSAGES_FLAGS_ADD, "1", 0, keywords[k], "");
        offence(h, m, true);
        offence(h, imap_append_message(h->session, 1, 0, 0, keywords[k]), true);
    }
    offence(h, imap_message_change(h->session, h->box, IPC_MESSAGES_FLAGS_ADD, "1", 32, "", ""), true);
    offence(h, imap_message_change(h->session, 0, IPC_MESSAGES_FLAGS_ADD, "1", 1, "", ""), true);
}

static void hostile_appends(struct hostile *h)
{
    struct ipc_message m = imap_append_message(h->session, 1, 5, 0, ""); /* not sent */
    offence(h, m, true);
    offence(h, imap_append_message(h->session, 1, 0, 64, ""), true);
    m = imap_append_message(h->session, 1, 0, 0, "");
    m.append_message.content_sum = SPAN_LIT("short");
    offence(h, m, true);
    offence(h, imap_append_commit(h->session, new_id(), 0, "INBOX"), true);
    offence(h, imap_append_commit(h->session, new_id(), 1, "INBOX"), true);
    static const size_t lengths[] = {4, 6, 0};
    for (size_t k = 0; k < 3; k++) {
        hostile_begin(h);
        imap_append_body(&h->bad, h->session, 1, SPAN_LIT("hello"));
        m = imap_append_message(h->session, 1, lengths[k], 0, "");
        peer_send(&h->bad.p, &m);
        hostile_end(h);
    }
    for (unsigned k = 0; k < 3; k++) { /* another count, a name that cannot be, and twice */
        hostile_begin(h);
        imap_append_body(&h->bad, h->session, 1, SPAN_LIT("hello"));
        m = imap_append_message(h->session, 1, 5, 0, "");
        peer_send(&h->bad.p, &m);
        m = imap_append_commit(h->session, new_id(), k == 0 ? 2 : 1, k == 1 ? "a//b" : "Drafts");
        peer_send(&h->bad.p, &m);
        peer_send(&h->bad.p, &m);
        hostile_end(h);
    }
    hostile_begin(h); /* too many messages */
    for (unsigned k = 0; k <= IPC_APPEND_MAX; k++) {
        m = imap_append_message(h->session, 1, 0, 0, "");
        peer_send(&h->bad.p, &m);
    }
    hostile_end(h);
    hostile_begin(h); /* too many bodies */
    for (uint64_t k = 0; k < 100; k++)
        peer_send(&h->bad.p, &(struct ipc_message){.type = IPC_TYPE_BODY_CHUNK,
                                                   .body_chunk = {h->session, k, SPAN_LIT("x")}});
    hostile_end(h);
}

static void begin(struct hostile *h)
{
    struct ipc_message m;
    struct peer cli;
    world_channel(h->w, IPC_ROLE_CLI, 1, &cli);
    people(&cli);
    peer_done(&cli);
    imap_channel(h->w, 0, &h->honest);
    h->honest_session = imap_login(&h->honest, ALICE, "secret", &m);
    CHECK(imap_append(&h->honest, h->honest_session, "INBOX", 1, 3, 300, NULL) == IPC_OK);
    h->box = imap_open(&h->honest, h->honest_session, "INBOX", false).mailbox;
}

static void case_offences(struct world *w)
{
    struct hostile h = {.w = w, .instance = 1000};
    begin(&h);
    hostile_sessions(&h);
    hostile_names(&h);
    hostile_ranges(&h);
    hostile_changes(&h);
    hostile_appends(&h);
    printf("  %u offences, each reported, the honest peer served after each\n", h.count);
    peer_done(&h.honest.p);
}

/* Far more questions at a time than a session may ask: answered or put off, none lost, none a fault. */
static void case_flood(struct world *w)
{
    enum { COUNT = 3000 };
    struct hostile h = {.w = w};
    begin(&h);
    imap_fill(&h.honest, h.honest_session, "Archive", 2000);
    struct ipc_mailbox_row row;
    CHECK(imap_status(&h.honest, h.honest_session, "Archive", &row) == IPC_OK);
    uint64_t archive = row.mailbox;
    hostile_begin(&h);
    static bool seen[COUNT];
    unsigned done = 0, later = 0, sent = 0;
    struct ipc_message m;
    while (done + later < COUNT) {
        while (sent < COUNT && sent - done - later < 200) {
            m = sent % 3 == 0 ? (struct ipc_message){.type = IPC_TYPE_UIDS_READ,
                                                     .uids_read = {h.session, archive, 1, UINT32_MAX}}
                : sent % 3 == 1
                    ? imap_message_change(h.session, archive, IPC_MESSAGES_FLAGS_ADD, "1:*", sent % 2, "", "")
                    : (struct ipc_message){.type = IPC_TYPE_MESSAGE_LIST,
                                           .message_list = {.session = h.session,
                                                            .mailbox = archive,
                                                            .ranges = ranges("1:*"),
                                                            .fields = FIELDS_ALL,
                                                            .count = 256}};
            m.tag = 1 + sent++;
            peer_send(&h.bad.p, &m);
        }
        CHECK(peer_receive(&h.bad.p, &m) && m.tag >= 1 && m.tag <= COUNT && !seen[m.tag - 1]);
        seen[m.tag - 1] = true;
        uint8_t status = m.type == IPC_TYPE_UIDS               ? m.uids.status
                         : m.type == IPC_TYPE_MESSAGES_CHANGED ? m.messages_changed.status
                                                               : m.message_rows.status;
        CHECK(status == IPC_OK || status == IPC_TRY_LATER);
        done += status == IPC_OK;
        later += status == IPC_TRY_LATER;
    }
    CHECK(done > 0 && later > 0);
    printf("  %u answered, %u put off\n", done, later);
    CHECK(strcmp(imap_uids(&h.honest, h.honest_session, archive), "1:2000") == 0);
    peer_done(&h.bad.p);
    peer_done(&h.honest.p);
}

/* Sessions and whole channels that end in the middle of everything. */
static void case_gone(struct world *w)
{
    struct hostile h = {.w = w, .instance = 10};
    struct buf _cleanup_buf_ bytes;
    buf_init(&bytes, 1 << 20);
    begin(&h);
    imap_fill(&h.honest, h.honest_session, "Archive", 6000);
    for (unsigned round = 0; round < 150; round++) {
        struct ipc_message m;
        if (round % 50 == 0)
            imap_channel(w, ++h.instance, &h.bad);
        h.bad.careless = true;
        struct ipc_id s = imap_login(&h.bad, ALICE, "secret", &m);
        struct span text = message_bytes(&bytes, round, round % 2 ? 400 : 300000);
        const struct ipc_message asks[] = {
            {.type = IPC_TYPE_MAILBOX_OPEN, .mailbox_open = {s, SPAN_LIT("Archive"), 0}},
            {.type = IPC_TYPE_MAILBOX_LIST, .mailbox_list = {s, SPAN_NONE, 256, STATUS_ALL}},
            imap_message_change(s, h.box, IPC_MESSAGES_COPY, "1:*", 0, "", "Trash"),
            imap_message_change(s, h.box, IPC_MESSAGES_FLAGS_ADD, "1:*", 0, "left", ""),
            {.type = IPC_TYPE_MESSAGE_READ, .message_read = {s, h.box, 1, 0, 100}},
            {.type = IPC_TYPE_CHANGES_READ, .changes_read = {.session = s, .mailbox = h.box, .count = 9}},
            imap_append_message(s, 5, text.len, 0, ""),
            imap_append_commit(s, new_id(), 1, "Drafts"),
        };
        imap_append_body(&h.bad, s, 5, text);
        size_t count = 1 + round % (sizeof asks / sizeof *asks), first = round % 3 == 0 ? 6 : 0;
        for (size_t k = first; k < sizeof asks / sizeof *asks && k < first + count; k++)
            peer_send(&h.bad.p, &asks[k]);
        if (round % 50 == 49)
            peer_done(&h.bad.p);
        else
            imap_close(&h.bad, s);
    }
    struct ipc_mailbox_row row;
    CHECK(imap_status(&h.honest, h.honest_session, "Archive", &row) == IPC_OK && row.messages == 6000);
    peer_done(&h.honest.p);
}

/* Of the messages that sessions have begun to read only some are held open; every one can be read on. */
static void case_reading(struct world *w)
{
    enum { SESSIONS = 300, HELD_MAX = 256 };
    struct hostile h = {.w = w};
    static struct ipc_id sessions[SESSIONS];
    struct ipc_message m;
    struct peer cli;
    begin(&h);
    for (unsigned round = 0; round < 2; round++)
        for (unsigned k = 0; k < SESSIONS; k++) {
            if (round == 0)
                sessions[k] = imap_login(&h.honest, ALICE, "secret", &m);
            m = imap_ask(&h.honest,
                         (struct ipc_message){.type = IPC_TYPE_MESSAGE_READ,
                                              .message_read = {sessions[k], h.box, 1, round, 100}});
            CHECK(m.message_data.status == IPC_OK && m.message_data.bytes.len == 100);
        }
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    CHECK(store_figure(&cli, "messages_open") == HELD_MAX);
    for (unsigned k = 0; k < SESSIONS; k++)
        imap_close(&h.honest, sessions[k]);
    CHECK(imap_status(&h.honest, h.honest_session, "INBOX", &(struct ipc_mailbox_row){0}) == IPC_OK);
    CHECK(store_figure(&cli, "messages_open") == 0);
    peer_done(&cli);
    peer_done(&h.honest.p);
}

/* Long answers to very many sessions, of which none is read before all were asked for. */
static void case_answers(struct world *w)
{
    enum { SESSIONS = 300, MESSAGES = 6, STRUCTURE = 60000 };
    struct hostile h = {.w = w};
    static struct ipc_id sessions[SESSIONS];
    static uint8_t structure[STRUCTURE];
    struct ipc_message m;
    begin(&h);
    for (unsigned k = 0; k < MESSAGES; k++) {
        imap_append_body(&h.honest, h.honest_session, 100 + k, SPAN_LIT("A: b\r\n\r\n"));
        m = imap_append_message(h.honest_session, 100 + k, 8, 0, "");
        m.append_message.structure = span_make(structure, sizeof structure);
        peer_send(&h.honest.p, &m);
    }
    m = imap_ask(&h.honest, imap_append_commit(h.honest_session, new_id(), MESSAGES, "INBOX"));
    CHECK(m.appended.status == IPC_OK);
    for (unsigned k = 0; k < SESSIONS; k++)
        sessions[k] = imap_login(&h.honest, ALICE, "secret", &m);
    for (unsigned k = 0; k < SESSIONS; k++) {
        m = (struct ipc_message){.type = IPC_TYPE_MESSAGE_LIST,
                                 .tag = 1 + k,
                                 .message_list = {.session = sessions[k],
                                                  .mailbox = h.box,
                                                  .ranges = ranges("1:*"),
                                                  .fields = FIELDS_ALL,
                                                  .count = 256}};
        peer_send(&h.honest.p, &m);
    }
    usleep(2000 * 1000); /* the store answers as far as it will */
    uint64_t bytes = 0;
    for (unsigned k = 0; k < SESSIONS;) {
        CHECK(peer_receive(&h.honest.p, &m));
        if (m.type == IPC_TYPE_MAILBOX_NEWS)
            continue;
        CHECK(m.message_rows.status == IPC_OK);
        for (uint32_t row = 0; row < m.message_rows.rows_count; row++)
            bytes += m.message_rows.rows[row].structure.len;
        k++;
    }
    CHECK(bytes > NET_CHANNEL_QUEUE_BYTES);
    peer_done(&h.honest.p);
}

/* Memory for bodies runs out; when some is free again, an APPEND goes on and is refused in the middle of
 * that, because its session asks too much: the others that wait have their turn all the same. */
static void case_waiting(struct world *w)
{
    enum { CHUNK = 65536, SMALL = 16384, SESSIONS = 130 };
    static const uint8_t bytes[CHUNK];
    static struct ipc_id sessions[SESSIONS];
    struct hostile h = {.w = w};
    struct ipc_message m;
    begin(&h);
    imap_fill(&h.honest, h.honest_session, "Archive", 6000);
    struct ipc_mailbox_row row;
    CHECK(imap_status(&h.honest, h.honest_session, "Archive", &row) == IPC_OK);
    uint64_t archive = row.mailbox;
    hostile_begin(&h);
    for (unsigned k = 0; k < SESSIONS; k++) {
        sessions[k] = new_id();
        CHECK(session_open(&h.bad.p, sessions[k], IPC_SERVICE_IMAP, "127.0.0.1") == IPC_OK);
    }
    struct ipc_id bob = imap_login(&h.bad, "bob@brant.test", "hunter2", &m);
    /* 511 of them, and four small ones, are all there is room for; the next ones wait. */
    for (unsigned k = 0; k < 512 + 4; k++) {
        size_t len = k < 4 ? SMALL : CHUNK;
        m = (struct ipc_message){.type = IPC_TYPE_BODY_CHUNK,
                                 .body_chunk = {sessions[k / 4], k, span_make(bytes, len)}};
        peer_send(&h.bad.p, &m);
    }
    imap_append_body(&h.bad, h.session, 1, span_make(bytes, 4096));
    m = (struct ipc_message){.type = IPC_TYPE_BODY_CHUNK,
                             .body_chunk = {sessions[SESSIONS - 1], 1, span_make(bytes, 4096)}};
    peer_send(&h.bad.p, &m);
    m = imap_append_message(h.session, 1, 4096, 0, "");
    peer_send(&h.bad.p, &m);
    m = imap_append_commit(h.session, new_id(), 1, "INBOX");
    m.tag = 500;
    struct ipc_id append = m.append_commit.append;
    peer_send(&h.bad.p, &m);
    /* Of somebody else's nothing is told, not even that it is under way. */
    m = imap_ask(&h.bad, (struct ipc_message){.type = IPC_TYPE_APPEND_ASK, .append_ask = {bob, append}});
    CHECK(m.appended.status == IPC_TRY_LATER);
    struct buf _cleanup_buf_ all;
    buf_init(&all, 1 << 20);
    for (unsigned k = 0; k < 4; k++) {
        m = (struct ipc_message){.type = IPC_TYPE_MESSAGE_LIST,
                                 .tag = 501 + k,
                                 .message_list = {.session = h.session,
                                                  .mailbox = archive,
                                                  .ranges = ranges("1:*"),
                                                  .flags_all = DRAFT, /* looks at all of them */
                                                  .count = 256}};
        CHECK(ipc_encode(&all, &m) == BRANT_OK);
    }
    m = (struct ipc_message){.type = IPC_TYPE_BODY_ABORT, .body_abort = {.session = sessions[0], .body = 0}};
    CHECK(ipc_encode(&all, &m) == BRANT_OK);
    peer_send_bytes(&h.bad.p, buf_span(&all));
    for (unsigned answers = 0; answers < 5;) {
        CHECK(peer_receive(&h.bad.p, &m));
        if (m.tag == 500)
            CHECK(m.appended.status == IPC_TRY_LATER);
        answers += m.tag >= 500 && m.tag < 505;
    }
    CHECK(imap_status(&h.honest, h.honest_session, "INBOX", &row) == IPC_OK && row.messages == 3);
    peer_done(&h.bad.p);
    peer_done(&h.honest.p);
}

/* IMAP with and without TLS is one service with one limit; an app password opens what it is for. */
static void case_logins(struct world *w)
{
    struct hostile h = {.w = w};
    struct ipc_message m;
    struct peer cli;
    char secret[64];
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    people(&cli);
    imap_channel(w, 0, &h.honest);
    struct peer *p = &h.honest.p;
    snprintf(secret, sizeof secret, "%s",
             grant_add(&cli, ALICE, 1, "phone", IPC_PROTOCOL_IMAP, 0, SPAN_NONE, IPC_OK));
    struct attempt a = attempt_as(ALICE, secret);
    a.service = IPC_SERVICE_IMAPS;
    CHECK(attempt_password(p, &a, &m) == IPC_OK);
    a.service = IPC_SERVICE_IMAP;
    CHECK(attempt_scram(p, &a, &m) == IPC_OK);
    snprintf(secret, sizeof secret, "%s",
             grant_add(&cli, ALICE, 1, "old", IPC_PROTOCOL_POP3, 0, SPAN_NONE, IPC_OK));
    CHECK(attempt_password(p, &a, &m) == IPC_AUTH_FAILED);
    CHECK(session_open(p, new_id(), IPC_SERVICE_IMAPS, "192.0.2.8") == IPC_TOO_MANY);
    CHECK(session_open(p, new_id(), IPC_SERVICE_IMAP, "192.0.2.8") == IPC_TOO_MANY);
    peer_done(p);
    peer_done(&cli);
}

int main(int argc, char **argv)
{
    static const struct test_case cases[] = {
        {"offences", OPEN, case_offences},
        {"flood", OPEN, case_flood},
        {"gone", OPEN, case_gone},
        {"reading", OPEN, case_reading},
        {"answers", OPEN, case_answers},
        {"waiting", OPEN, case_waiting},
        {"logins", OPEN "\nimap_max_sessions = 3", case_logins},
    };
    return run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
