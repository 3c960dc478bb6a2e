/* A real brant-store process, asked by imap instances: mailboxes, messages, APPEND, news, restarts, and what
 * no honest one asks. Usage: imap_role BRANT_STORE [CASE] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "imap_steps.h"
#include "login_steps.h"

#define ALICE "alice@brant.test"
#define BOB   "bob@brant.test"
enum { AGAIN = 16 };

static void begin(struct world *w, struct imap *i)
{
    struct peer cli;
    world_channel(w, IPC_ROLE_CLI, 1, &cli);
    people(&cli);
    peer_done(&cli);
    imap_channel(w, 0, i);
}

static struct ipc_id alice(struct imap *i)
{
    struct ipc_message m;
    return imap_login(i, ALICE, "secret", &m);
}

static uint64_t mailbox_id(struct imap *i, struct ipc_id s, const char *name)
{
    struct ipc_mailbox_row row;
    CHECK(imap_status(i, s, name, &row) == IPC_OK && row.mailbox != 0);
    return row.mailbox;
}

static bool eq(const char *a, const char *b)
{
    if (strcmp(a, b) != 0)
        fprintf(stderr, "\"%s\" instead of \"%s\"\n", a, b);
    return strcmp(a, b) == 0;
}

/* ---- mailboxes ---- */

static void case_mailboxes(struct world *w)
{
    struct imap i;
    begin(w, &i);
    struct ipc_id s = alice(&i);
    CHECK(eq(imap_names(&i, s), "Archive! Drafts! INBOX! Junk! Sent! Trash!"));
    struct ipc_mailbox_rows rows = imap_list(&i, s, "", 256);
    static const uint32_t uses[6] = {2, 4, 0, 16, 32, 64};
    CHECK(rows.rows_count == 6 && !rows.more);
    for (unsigned k = 0; k < 6; k++)
        CHECK(rows.rows[k].uses == uses[k] && rows.rows[k].uidvalidity != 0 && rows.rows[k].uidnext == 1);

    CHECK(imap_change(&i, s, IPC_MAILBOX_CREATE, "work/2026/may", "", 0) == IPC_OK);
    CHECK(imap_change(&i, s, IPC_MAILBOX_CREATE, "work/2026/may", "", 0) == IPC_EXISTS);
    CHECK(imap_change(&i, s, IPC_MAILBOX_CREATE | AGAIN, "work/2026/may", "", 0) == IPC_OK);
    CHECK(imap_change(&i, s, IPC_MAILBOX_CREATE, "INBOX", "", 0) == IPC_EXISTS);
    CHECK(imap_change(&i, s, IPC_MAILBOX_CREATE, "Bin", "", 64) == IPC_REFUSED); /* Trash is that */
    CHECK(imap_change(&i, s, IPC_MAILBOX_CREATE, "All", "", 1) == IPC_OK);
    CHECK(imap_change(&i, s, IPC_MAILBOX_DELETE, "INBOX", "", 0) == IPC_INVALID);
    CHECK(imap_change(&i, s, IPC_MAILBOX_DELETE, "nothing", "", 0) == IPC_NOT_FOUND);
    CHECK(imap_change(&i, s, IPC_MAILBOX_DELETE, "All", "", 0) == IPC_OK);
    CHECK(imap_change(&i, s, IPC_MAILBOX_DELETE | AGAIN, "All", "", 0) == IPC_OK);
    CHECK(imap_change(&i, s, IPC_MAILBOX_RENAME, "nothing", "something", 0) == IPC_NOT_FOUND);
    CHECK(imap_change(&i, s, IPC_MAILBOX_RENAME, "work", "Trash", 0) == IPC_EXISTS);
    CHECK(imap_change(&i, s, IPC_MAILBOX_RENAME, "work", "work/inner", 0) == IPC_INVALID);
    CHECK(imap_change(&i, s, IPC_MAILBOX_SUBSCRIBE, "work/2026/may", "", 0) == IPC_OK);
    CHECK(imap_change(&i, s, IPC_MAILBOX_SUBSCRIBE, "no/such", "", 0) == IPC_OK);
    CHECK(imap_change(&i, s, IPC_MAILBOX_RENAME, "work", "play", 0) == IPC_OK);
    CHECK(eq(imap_names(&i, s), "Archive! Drafts! INBOX! Junk! Sent! Trash! no/such?! play play/2026 "
                                "play/2026/may work/2026/may?!"));
    CHECK(imap_change(&i, s, IPC_MAILBOX_UNSUBSCRIBE, "no/such", "", 0) == IPC_OK);
    CHECK(imap_change(&i, s, IPC_MAILBOX_UNSUBSCRIBE, "work/2026/may", "", 0) == IPC_OK);
    CHECK(imap_change(&i, s, IPC_MAILBOX_DELETE, "play", "", 0) == IPC_OK); /* not what lies beneath */
    CHECK(eq(imap_names(&i, s), "Archive! Drafts! INBOX! Junk! Sent! Trash! play/2026 play/2026/may"));

    struct ipc_mailbox_row row;
    CHECK(imap_status(&i, s, "nothing", &row) == IPC_NOT_FOUND);
    CHECK(imap_append(&i, s, "Junk", 1, 3, 1000, NULL) == IPC_OK);
    CHECK(imap_status(&i, s, "Junk", &row) == IPC_OK);
    CHECK(row.messages == 3 && row.uidnext == 4 && row.unseen == 0 && row.recent == 3 && row.uses == 16);
    CHECK(row.size == 3000 && row.deleted == 0);

    /* Somebody else sees none of it, and cannot name it. */
    struct ipc_message m;
    struct ipc_id other = imap_login(&i, BOB, "hunter2", &m);
    CHECK(eq(imap_names(&i, other), "Archive! Drafts! INBOX! Junk! Sent! Trash!"));
    uint64_t junk = mailbox_id(&i, s, "Junk");
    m = imap_ask(&i, (struct ipc_message){.type = IPC_TYPE_UIDS_READ, .uids_read = {other, junk, 1, 9}});
    CHECK(m.uids.status == IPC_NOT_FOUND);
    m = imap_ask(&i, imap_message_change(other, junk, IPC_MESSAGES_EXPUNGE, "1:9", 0, "", ""));
    CHECK(m.messages_changed.status == IPC_NOT_FOUND);
    CHECK(imap_changes(&i, other, junk, 0, 1, true).status == IPC_NOT_FOUND);
    imap_watch(&i, other, junk, false);
    CHECK(imap_news(&i, other) == UINT64_MAX);
    peer_done(&i.p);
}

/* What an account begins with is made once: what its owner removes stays away. */
static void case_defaults(struct world *w)
{
    struct imap i;
    begin(w, &i);
    struct ipc_id s = alice(&i);
    CHECK(imap_change(&i, s, IPC_MAILBOX_DELETE, "Junk", "", 0) == IPC_OK);
    CHECK(imap_change(&i, s, IPC_MAILBOX_UNSUBSCRIBE, "Junk", "", 0) == IPC_OK);
    CHECK(imap_change(&i, s, IPC_MAILBOX_UNSUBSCRIBE, "INBOX", "", 0) == IPC_OK);
    imap_close(&i, s);
    s = alice(&i);
    CHECK(eq(imap_names(&i, s), "Archive! Drafts! INBOX Sent! Trash!"));
    peer_done(&i.p);
    world_kill(w);
    world_start(w);
    imap_channel(w, 0, &i);
    s = alice(&i);
    CHECK(eq(imap_names(&i, s), "Archive! Drafts! INBOX Sent! Trash!"));
    peer_done(&i.p);
}

/* RENAME of INBOX: its messages go, it stays. */
static void case_rename_inbox(struct world *w)
{
    struct imap i;
    struct ipc_mailbox_row row;
    begin(w, &i);
    struct ipc_id s = alice(&i);
    imap_fill(&i, s, "INBOX", 10000); /* more than one slice */
    CHECK(imap_change(&i, s, IPC_MAILBOX_RENAME, "INBOX", "Junk", 0) == IPC_EXISTS);
    CHECK(imap_status(&i, s, "INBOX", &row) == IPC_OK && row.messages == 10000);
    CHECK(imap_change(&i, s, IPC_MAILBOX_RENAME, "INBOX", "old/mail", 0) == IPC_OK);
    CHECK(imap_status(&i, s, "INBOX", &row) == IPC_OK && row.messages == 0 && row.uidnext == 10001);
    CHECK(imap_status(&i, s, "old/mail", &row) == IPC_OK && row.messages == 10000);
    CHECK(imap_append(&i, s, "INBOX", 1, 2, 100, NULL) == IPC_OK);
    CHECK(imap_change(&i, s, IPC_MAILBOX_RENAME | AGAIN, "INBOX", "old/mail", 0) == IPC_OK);
    CHECK(imap_status(&i, s, "old/mail", &row) == IPC_OK && row.messages == 10002);
    peer_done(&i.p);
}

/* ---- messages ---- */

static void flags(struct imap *i, struct ipc_id s, uint64_t box)
{
    struct ipc_message m =
        imap_message_change(s, box, IPC_MESSAGES_FLAGS_ADD, "1,3", FLAGGED, "$Hot cold", "");
    struct ipc_messages_changed r = imap_ask(i, m).messages_changed;
    CHECK(r.status == IPC_OK && r.done_to == UINT32_MAX && r.modseq > r.modseq_before);
    CHECK(span_eq_str(r.keywords, "$Hot cold") && !r.keywords_full);
    uint64_t modseq = r.modseq;
    m.message_change.keywords_known = 2; /* told already; nothing changes */
    r = imap_ask(i, m).messages_changed;
    CHECK(r.status == IPC_OK && r.keywords.len == 0 && r.modseq == 0);
    struct ipc_message_rows rows = imap_entries(i, s, box, "1:*");
    CHECK(rows.rows_count == 3 && rows.done_to == UINT32_MAX && span_eq_str(rows.keywords, "$Hot cold"));
    CHECK(rows.rows[0].flags == (SEEN | FLAGGED | KEYWORD_BIT | KEYWORD_BIT << 1));
    CHECK(rows.rows[0].modseq == modseq && rows.rows[1].modseq < modseq);
    CHECK(rows.rows[1].flags == SEEN && rows.rows[1].time_ms == 1700000000000 && rows.rows[1].size == 700);
    CHECK(rows.rows[1].saved_ms > rows.rows[1].time_ms && rows.rows[1].email != rows.rows[0].email);
    CHECK(span_eq_str(rows.rows[2].structure, "a structure"));

    /* RFC 7162 3.1.3: what has changed since is passed over. */
    m = imap_message_change(s, box, IPC_MESSAGES_FLAGS_REPLACE, "1:3", DRAFT, "cold", "");
    m.message_change.has_unchanged_since = 1;
    m.message_change.unchanged_since = modseq - 1;
    r = imap_ask(i, m).messages_changed;
    CHECK(r.status == IPC_OK && eq(ranges_text(r.modified), "1,3") && r.modseq > modseq);
    CHECK(imap_entries(i, s, box, "2").rows[0].flags == (DRAFT | KEYWORD_BIT << 1));
    (void)imap_do(i,
                  imap_message_change(s, box, IPC_MESSAGES_FLAGS_REMOVE, "1:*", FLAGGED | DRAFT, "$hot", ""));
    rows = imap_entries(i, s, box, "1:*");
    CHECK(rows.rows[0].flags == (SEEN | KEYWORD_BIT << 1) && rows.rows[1].flags == KEYWORD_BIT << 1);
}

static void copies(struct imap *i, struct ipc_id s, uint64_t box)
{
    struct ipc_message m = imap_message_change(s, box, IPC_MESSAGES_COPY, "1:*", 0, "", "nothing");
    CHECK(imap_ask(i, m).messages_changed.status == IPC_EXISTS);
    m.message_change.mailbox = 999999;
    CHECK(imap_ask(i, m).messages_changed.status == IPC_NOT_FOUND);
    m = imap_message_change(s, box, IPC_MESSAGES_COPY, "2:3,9", 0, "", "Archive");
    struct ipc_messages_changed r = imap_ask(i, m).messages_changed;
    CHECK(r.status == IPC_OK && r.done_to == UINT32_MAX && eq(ranges_text(r.uids), "2:3"));
    CHECK(r.target_first == 1 && r.target_uidvalidity != 0);
    uint64_t archive = mailbox_id(i, s, "Archive");
    CHECK(eq(imap_uids(i, s, archive), "1:2"));
    struct ipc_message_rows rows = imap_entries(i, s, archive, "1:*");
    CHECK(rows.rows[0].flags == KEYWORD_BIT && span_eq_str(rows.keywords, "cold")); /* by name */
    m.message_change.action = IPC_MESSAGES_MOVE;
    r = imap_ask(i, m).messages_changed;
    CHECK(r.status == IPC_OK && r.done_to == UINT32_MAX && r.target_first == 3);
    CHECK(eq(imap_uids(i, s, box), "1") && eq(imap_uids(i, s, archive), "1:4"));
}

static void case_messages(struct world *w)
{
    struct imap i;
    const char *uids;
    struct buf _cleanup_buf_ read, sent;
    buf_init(&read, 64 << 20);
    buf_init(&sent, 64 << 20);
    begin(w, &i);
    struct ipc_id s = alice(&i);
    CHECK(imap_append(&i, s, "INBOX", 1, 1, 500, &uids) == IPC_OK && eq(uids, "1"));
    CHECK(imap_append(&i, s, "INBOX", 2, 2, 700, &uids) == IPC_OK && eq(uids, "2:3"));
    uint64_t box = mailbox_id(&i, s, "INBOX");
    flags(&i, s, box);
    copies(&i, s, box);

    /* Large ones go by a file; read in turns with another one. */
    uint64_t archive = mailbox_id(&i, s, "Archive");
    CHECK(imap_append(&i, s, "INBOX", 7, 2, 5000000, &uids) == IPC_OK && eq(uids, "4:5"));
    CHECK(imap_read(&i, s, box, 4, &read) == IPC_OK &&
          span_eq(buf_span(&read), message_bytes(&sent, 7, 5000000)));
    CHECK(imap_read(&i, s, archive, 1, &read) == IPC_OK &&
          span_eq(buf_span(&read), message_bytes(&sent, 2, 700)));
    CHECK(imap_read(&i, s, box, 1, &read) == IPC_OK &&
          span_eq(buf_span(&read), message_bytes(&sent, 1, 500)));
    CHECK(imap_read(&i, s, box, 77, &read) == IPC_NOT_FOUND);

    /* Only what is \Deleted goes, and it is known that it went. */
    struct ipc_mailbox_row row;
    CHECK(imap_status(&i, s, "INBOX", &row) == IPC_OK && row.messages == 3);
    uint64_t before = row.modseq;
    (void)imap_do(&i, imap_message_change(s, box, IPC_MESSAGES_FLAGS_ADD, "4", DELETED, "", ""));
    (void)imap_do(&i, imap_message_change(s, box, IPC_MESSAGES_EXPUNGE, "1:*", 0, "", ""));
    CHECK(eq(imap_uids(&i, s, box), "1,5"));
    struct ipc_message m =
        imap_ask(&i, (struct ipc_message){.type = IPC_TYPE_VANISHED_READ,
                                          .vanished_read = {s, box, ranges("1:9"), before, 100}});
    CHECK(m.uids.status == IPC_OK && eq(ranges_text(m.uids.ranges), "4"));
    struct ipc_changes c = imap_changes(&i, s, box, before, 6, true);
    CHECK(c.status == IPC_OK && !c.more && c.arrived.len == 0 && c.uidnext == 6 && c.modseq > before);
    CHECK(eq(ranges_text(c.vanished), "4") && span_eq_str(c.keywords, "$Hot cold"));
    c = imap_changes(&i, s, box, before, 5, false);
    CHECK(eq(ranges_text(c.arrived), "5") && c.vanished.len == 0);

    /* RFC 6851 3.3: to where it is: it becomes another message. */
    m = imap_ask(&i, imap_message_change(s, box, IPC_MESSAGES_MOVE, "1", 0, "", "INBOX"));
    CHECK(m.messages_changed.status == IPC_OK && m.messages_changed.target_first == 6);
    CHECK(eq(imap_uids(&i, s, box), "5:6"));
    peer_done(&i.p);
}

/* Many: what is long is answered in slices, and others are served in between. */
static void case_slices(struct world *w)
{
    enum { COUNT = 20000 };
    struct imap i;
    begin(w, &i);
    struct ipc_id s = alice(&i);
    imap_fill(&i, s, "INBOX", COUNT);
    uint64_t box = mailbox_id(&i, s, "INBOX");
    CHECK(eq(imap_uids(&i, s, box), "1:20000"));
    unsigned slices =
        imap_do(&i, imap_message_change(s, box, IPC_MESSAGES_FLAGS_ADD, "1:*", FLAGGED, "", ""));
    CHECK(slices >= 4 && slices < 12);
    struct ipc_message m = imap_message_change(s, box, IPC_MESSAGES_COPY, "1:*", 0, "", "Archive");
    CHECK(imap_ask(&i, m).messages_changed.status == IPC_TOO_MANY); /* all or none */
    struct ipc_message_rows rows = imap_entries(&i, s, box, "1:*");
    CHECK(rows.rows_count == IPC_ENTRIES_MAX && rows.done_to < UINT32_MAX);
    CHECK(rows.done_to >= rows.rows[rows.rows_count - 1].uid);

    /* Every second one goes: as many ranges as can be, and more than one answer of changes. */
    struct buf _cleanup_buf_ text;
    buf_init(&text, 1 << 20);
    for (unsigned uid = 2; uid <= 2 * IPC_RANGES_MAX && uid <= COUNT; uid += 2)
        buf_printf(&text, "%s%u", uid > 2 ? "," : "", uid);
    struct ipc_mailbox_row row;
    CHECK(imap_status(&i, s, "INBOX", &row) == IPC_OK);
    m = imap_message_change(s, box, IPC_MESSAGES_FLAGS_ADD, buf_cstr(&text), DELETED, "", "");
    for (uint32_t done_to = 0; done_to != UINT32_MAX;) {
        struct ipc_messages_changed r = imap_ask(&i, m).messages_changed;
        CHECK(r.status == IPC_OK && r.done_to > done_to);
        done_to = r.done_to;
        size_t drop = done_to / 2 * IPC_RANGE_BYTES;
        m.message_change.ranges = span_from(ranges(buf_cstr(&text)), drop);
        if (m.message_change.ranges.len == 0)
            break;
    }
    (void)imap_do(&i, imap_message_change(s, box, IPC_MESSAGES_EXPUNGE, "1:*", 0, "", ""));
    uint32_t from = 1, told = 0;
    struct ipc_changes c;
    do {
        m = imap_ask(&i, (struct ipc_message){.type = IPC_TYPE_CHANGES_READ,
                                              .changes_read = {.session = s,
                                                               .mailbox = box,
                                                               .modseq = row.modseq,
                                                               .uid = COUNT + 1,
                                                               .vanished = 1,
                                                               .vanished_modseq = row.modseq,
                                                               .vanished_from = from,
                                                               .count = 1024}});
        c = m.changes;
        CHECK(c.status == IPC_OK && c.vanished.len <= 1024 * IPC_RANGE_BYTES);
        told += (uint32_t)(c.vanished.len / IPC_RANGE_BYTES);
        CHECK(!c.more || c.vanished_to >= from);
        from = c.vanished_to + 1;
    } while (c.more);
    CHECK(told == COUNT / 2);
    peer_done(&i.p);
}

/* ---- news ---- */

static void case_news(struct world *w)
{
    struct imap i, j;
    begin(w, &i);
    imap_channel(w, 1, &j);
    struct ipc_id a = alice(&i), b = alice(&j), c = alice(&j);
    CHECK(imap_append(&i, a, "INBOX", 1, 2, 300, NULL) == IPC_OK);

    struct ipc_mailbox_opened o = imap_open(&i, a, "INBOX", false);
    CHECK(o.status == IPC_OK && o.messages == 2 && o.uidnext == 3 && o.recent_from == 1 && o.unseen == 0);
    uint64_t box = o.mailbox, modseq = o.modseq;
    CHECK(imap_open(&j, c, "nothing", false).status == IPC_NOT_FOUND);
    o = imap_open(&j, b, "INBOX", false);
    CHECK(o.status == IPC_OK && o.mailbox == box && o.recent_from == 0 && o.modseq == modseq);
    imap_no_news(&j, b);

    /* Many changes are one piece of news until it is asked what has changed. */
    for (unsigned k = 0; k < 10; k++)
        (void)imap_do(&i,
                      imap_message_change(a, box, k % 2 ? IPC_MESSAGES_FLAGS_REMOVE : IPC_MESSAGES_FLAGS_ADD,
                                          "1", FLAGGED, "", ""));
    CHECK(imap_news(&j, b) > modseq);
    imap_no_news(&j, b);
    struct ipc_changes ch = imap_changes(&j, b, box, modseq, 3, true);
    CHECK(ch.status == IPC_OK && ch.flags_changed && !ch.more && ch.arrived.len == 0);
    modseq = ch.modseq;
    imap_no_news(&j, b);

    /* New mail: recent in one of them, whoever asks first. */
    CHECK(imap_append(&i, a, "INBOX", 3, 3, 300, NULL) == IPC_OK);
    CHECK(imap_news(&j, b) > modseq);
    ch = imap_changes(&j, b, box, modseq, 3, true);
    CHECK(eq(ranges_text(ch.arrived), "3:5") && ch.uidnext == 6 && ch.recent_from == 3);
    ch = imap_changes(&i, a, box, modseq, 3, true);
    CHECK(eq(ranges_text(ch.arrived), "3:5") && ch.recent_from == 0);
    modseq = ch.modseq;
    i.news = 0;

    /* EXAMINE takes nothing of what is recent. */
    o = imap_open(&j, c, "INBOX", true);
    CHECK(o.status == IPC_OK);
    CHECK(imap_append(&i, a, "INBOX", 6, 1, 300, NULL) == IPC_OK);
    while (j.news < 2) {
        struct ipc_message m;
        peer_expect(&j.p, IPC_TYPE_MAILBOX_NEWS, &m);
        j.news++;
    }
    j.news = 0;
    ch = imap_changes(&j, c, box, modseq, 6, true);
    CHECK(eq(ranges_text(ch.arrived), "6") && ch.recent_from == 0);
    ch = imap_changes(&j, b, box, modseq, 6, true);
    CHECK(eq(ranges_text(ch.arrived), "6") && ch.recent_from == 6);

    /* One that left is told nothing; one whose mailbox goes is. */
    imap_watch(&j, c, 0, false);
    CHECK(imap_change(&i, a, IPC_MAILBOX_CREATE, "short", "", 0) == IPC_OK);
    o = imap_open(&j, b, "short", false);
    CHECK(imap_append(&i, a, "INBOX", 7, 1, 300, NULL) == IPC_OK);
    imap_no_news(&j, b);
    CHECK(imap_change(&i, a, IPC_MAILBOX_DELETE, "short", "", 0) == IPC_OK);
    CHECK(imap_news(&j, b) == UINT64_MAX);
    CHECK(imap_changes(&j, b, o.mailbox, o.modseq, 1, true).status == IPC_NOT_FOUND);
    imap_watch(&j, b, box, false);
    imap_close(&j, b);
    peer_done(&j.p);
    CHECK(imap_append(&i, a, "INBOX", 8, 1, 300, NULL) == IPC_OK);
    peer_done(&i.p);
}

/* Who asks just when something happens learns of it from the answer. To be told as well would be the last it
 * hears: it has no reason to ask again, and is not told twice. */
static void case_known_news(struct world *w)
{
    enum { ROUNDS = 200 };
    struct imap i, j;
    begin(w, &i);
    imap_channel(w, 1, &j);
    struct ipc_id a = alice(&i), b = alice(&j);
    struct ipc_mailbox_opened o = imap_open(&j, b, "INBOX", false);
    uint64_t modseq = o.modseq;
    for (uint32_t k = 0; k < ROUNDS; k++) {
        struct ipc_mailbox_row row;
        CHECK(imap_append(&i, a, "INBOX", k + 1, 1, 300, NULL) == IPC_OK);
        modseq = imap_changes(&j, b, o.mailbox, modseq, 1, false).modseq;
        j.news = 0;
        CHECK(imap_status(&j, b, "INBOX", &row) == IPC_OK);
        CHECK(row.modseq == modseq && j.news == 0);
    }
    CHECK(imap_append(&i, a, "INBOX", ROUNDS + 1, 1, 300, NULL) == IPC_OK);
    CHECK(imap_news(&j, b) > modseq);
    peer_done(&j.p);
    peer_done(&i.p);
}

/* ---- APPEND ---- */

/* A client that files itself what the server has filed already. */
static void sent_twice(struct world *w, struct imap *i, struct ipc_id s)
{
    static const struct ipc_recipient to[1] = {{.address = {(const uint8_t *)"bob@brant.test", 14}}};
    struct peer cli, msa;
    struct ipc_message r;
    struct ipc_mailbox_row row;
    struct buf _cleanup_buf_ bytes;
    buf_init(&bytes, 1 << 20);
    world_channel(w, IPC_ROLE_CLI, 7, &cli);
    admin(&cli,
          (struct ipc_message){
              .type = IPC_TYPE_ACCOUNT_SET,
              .account_set = {.address = SPAN_LIT(ALICE), .change = IPC_ACCOUNT_SENT_COPY, .sent_copy = 1}},
          IPC_OK);
    world_channel(w, IPC_ROLE_SUBMISSION, 0, &msa);
    struct attempt a = {.service = IPC_SERVICE_SUBMISSION, .user = ALICE, .password = "secret"};
    struct ipc_id session = attempt_session(&msa, &a);
    struct ipc_message ask = attempt_message(&a, session);
    peer_call(&msa, &ask, &r);
    CHECK(r.login_result.status == IPC_OK);
    struct span text = message_bytes(&bytes, 40, 600);
    send_body(&msa, session, 1, text, NULL, NULL);
    ask = commit_message(new_id(), session, 1, text.len, to, 1);
    ask.commit.service = IPC_SERVICE_SUBMISSION;
    ask.commit.reverse_path = SPAN_LIT(ALICE);
    ask.commit.content_sum = SPAN_LIT("sixteen bytes...");
    ask.commit.message_id = SPAN_LIT("<one@brant.test>");
    peer_call(&msa, &ask, &r);
    CHECK(r.commit_result.state == IPC_COMMIT_DONE);
    CHECK(imap_status(i, s, "Sent", &row) == IPC_OK && row.messages == 1);

    static const char *const names[3] = {"Sent", "Archive", "Sent"};
    for (unsigned k = 0; k < 3; k++) { /* the same; elsewhere; another message */
        imap_append_body(i, s, 4000 + k, text);
        ask = imap_append_message(s, 4000 + k, text.len, SEEN, "");
        ask.append_message.content_sum = k == 2 ? SPAN_LIT("another sum.....") : SPAN_LIT("sixteen bytes...");
        ask.append_message.message_id = SPAN_LIT("<one@brant.test>");
        peer_send(&i->p, &ask);
        r = imap_ask(i, imap_append_commit(s, new_id(), 1, names[k]));
        CHECK(r.appended.status == IPC_OK && eq(ranges_text(r.appended.uids), k == 2 ? "2" : "1"));
    }
    CHECK(imap_status(i, s, "Sent", &row) == IPC_OK && row.messages == 2);
    CHECK(imap_status(i, s, "Archive", &row) == IPC_OK && row.messages == 1);
    peer_done(&cli);
    peer_done(&msa);
}

/* Given up with a body under way, before the commit and behind it; sessions that end in the middle. */
static void given_up(struct imap *i, struct ipc_id s)
{
    struct ipc_message m;
    struct ipc_mailbox_row row;
    struct buf _cleanup_buf_ bytes;
    buf_init(&bytes, 1 << 20);
    struct span text = message_bytes(&bytes, 1, 3000);
    const struct ipc_message abort_body = {.type = IPC_TYPE_BODY_ABORT, .body_abort = {s, 61}},
                             abort_append = {.type = IPC_TYPE_APPEND_ABORT, .append_abort = {s}};
    for (unsigned k = 0; k < 20; k++) {
        imap_append_body(i, s, 60, text);
        m = imap_append_message(s, 60, text.len, 0, "");
        peer_send(&i->p, &m);
        imap_append_body(i, s, 61, text);
        peer_send(&i->p, &abort_body);
        peer_send(&i->p, &abort_append);
        peer_send(&i->p, &abort_append); /* nothing is left to abort */
    }
    /* Given up behind its commit: stored or not, and the next one is another. */
    i->careless = true;
    for (uint64_t k = 0; k < 20; k++) {
        imap_append_body(i, s, 70 + k, text);
        m = imap_append_message(s, 70 + k, text.len, 0, "");
        peer_send(&i->p, &m);
        m = imap_append_commit(s, new_id(), 1, "Junk");
        peer_send(&i->p, &m);
        peer_send(&i->p, &abort_append);
    }
    uint8_t status;
    do /* those given up are still asked about */
        status = imap_append(i, s, "Trash", 1, 1, 100, NULL);
    while (status == IPC_TRY_LATER);
    CHECK(status == IPC_OK);
    /* Sessions that end in the middle: before, and behind the commit. */
    for (unsigned k = 0; k < 20; k++) {
        struct ipc_id other = alice(i);
        text = message_bytes(&bytes, 1, k % 2 ? 3000 : 500000);
        imap_append_body(i, other, 60, text);
        m = imap_append_message(other, 60, text.len, 0, "");
        peer_send(&i->p, &m);
        if (k % 4 >= 2)
            imap_append_body(i, other, 61, text);
        imap_close(i, other);
    }
    CHECK(imap_status(i, s, "INBOX", &row) == IPC_OK && row.messages == 1);
}

static void case_append(struct world *w)
{
    struct imap i;
    struct ipc_message m;
    struct ipc_mailbox_row row;
    struct peer cli;
    begin(w, &i);
    struct ipc_id s = alice(&i);
    CHECK(imap_append(&i, s, "nothing", 1, 1, 100, NULL) == IPC_NOT_FOUND);
    CHECK(imap_append(&i, s, "INBOX", 1, 1, 100, NULL) == IPC_OK); /* the session goes on */
    sent_twice(w, &i, s);

    /* An empty one, with keywords. */
    m = imap_append_message(s, 50, 0, DRAFT | SEEN, "$Hot x");
    peer_send(&i.p, &m);
    m = imap_ask(&i, imap_append_commit(s, new_id(), 1, "Drafts"));
    CHECK(m.appended.status == IPC_OK);
    struct ipc_message_rows rows = imap_entries(&i, s, mailbox_id(&i, s, "Drafts"), "1:*");
    CHECK(rows.rows_count == 1 && rows.rows[0].size == 0 && span_eq_str(rows.keywords, "$Hot x"));
    CHECK(rows.rows[0].flags == (DRAFT | SEEN | KEYWORD_BIT | KEYWORD_BIT << 1));
    given_up(&i, s);

    /* More than it may hold at a time, and over quota. */
    CHECK(imap_append(&i, s, "INBOX", 1, 100, 250000, NULL) == IPC_TOO_MANY);
    CHECK(imap_append(&i, s, "INBOX", 1, 40, 250000, NULL) == IPC_OK);
    world_channel(w, IPC_ROLE_CLI, 3, &cli);
    admin(&cli, account_add("small@brant.test", "secret", 10000), IPC_OK);
    struct ipc_id small = imap_login(&i, "small@brant.test", "secret", &m);
    CHECK(imap_append(&i, small, "INBOX", 1, 1, 5000, NULL) == IPC_OK);
    CHECK(imap_append(&i, small, "INBOX", 1, 2, 4000, NULL) == IPC_OVER_QUOTA);
    CHECK(imap_status(&i, small, "INBOX", &row) == IPC_OK && row.messages == 1);
    m = imap_message_change(small, row.mailbox, IPC_MESSAGES_COPY, "1", 0, "", "Trash");
    CHECK(imap_ask(&i, m).messages_changed.status == IPC_OK);
    CHECK(imap_ask(&i, m).messages_changed.status == IPC_OVER_QUOTA);
    peer_done(&cli);
    peer_done(&i.p);
}

/* Several sessions that hold as much as the channel may: none is at fault, and all goes on afterwards. */
static void case_append_pressure(struct world *w)
{
    enum { SESSIONS = 6, MESSAGES = 50, BYTES = 250000 }; /* 75 MB */
    struct imap i;
    struct ipc_id s[SESSIONS];
    struct ipc_message m;
    struct buf _cleanup_buf_ bytes;
    buf_init(&bytes, 1 << 20);
    begin(w, &i);
    struct span text = message_bytes(&bytes, 1, BYTES);
    for (unsigned k = 0; k < SESSIONS; k++)
        s[k] = alice(&i);
    for (unsigned n = 0; n < MESSAGES; n++)
        for (unsigned k = 0; k < SESSIONS; k++) {
            imap_append_body(&i, s[k], n, text);
            m = imap_append_message(s[k], n, text.len, 0, "");
            peer_send(&i.p, &m);
        }
    unsigned ok = 0;
    for (unsigned k = 0; k < SESSIONS; k++) {
        m = imap_ask(&i, imap_append_commit(s[k], new_id(), MESSAGES, "INBOX"));
        CHECK(m.appended.status == IPC_OK || m.appended.status == IPC_TRY_LATER);
        ok += m.appended.status == IPC_OK;
    }
    CHECK(ok > 0 && ok < SESSIONS);
    struct ipc_mailbox_row row;
    CHECK(imap_status(&i, s[0], "INBOX", &row) == IPC_OK && row.messages == ok * MESSAGES);
    for (unsigned k = 0; k < SESSIONS; k++)
        CHECK(imap_append(&i, s[k], "INBOX", 1, 10, BYTES, NULL) == IPC_OK);
    peer_done(&i.p);
}

/* ---- a store that dies ---- */

static void resume(struct imap *i, struct ipc_id s, uint64_t account, const uint8_t token[32])
{
    struct ipc_message m = {.type = IPC_TYPE_RESUME,
                            .resume = {.session = s,
                                       .service = IPC_SERVICE_IMAP,
                                       .source = address("127.0.0.1"),
                                       .account = account,
                                       .token = span_make(token, 32)}};
    CHECK(imap_ask(i, m).resume_result.status == IPC_OK);
}

enum { ROUNDS = 5, APPENDS = 40, FIRST_TAG = 1000000 };

struct restart {
    struct world *w;
    struct imap i;
    struct ipc_id ids[APPENDS];
    bool answered[APPENDS];
    uint32_t answered_all, done_all;
};

/* Many at a time, each of a session of its own; killed when some are answered. */
static void append_and_kill(struct restart *r, unsigned round)
{
    struct ipc_id sessions[APPENDS];
    struct ipc_message m;
    struct buf _cleanup_buf_ bytes;
    buf_init(&bytes, 1 << 20);
    memset(r->answered, 0, sizeof r->answered);
    for (unsigned k = 0; k < APPENDS; k++)
        sessions[k] = alice(&r->i);
    for (unsigned k = 0; k < APPENDS; k++) {
        struct span text = message_bytes(&bytes, k, 400 + (k * 7919) % 9000);
        r->ids[k] = new_id();
        imap_append_body(&r->i, sessions[k], 1, text);
        m = imap_append_message(sessions[k], 1, text.len, 0, "");
        peer_send(&r->i.p, &m);
        m = imap_append_commit(sessions[k], r->ids[k], 1, "INBOX");
        m.tag = FIRST_TAG + k;
        peer_send(&r->i.p, &m);
    }
    for (unsigned got = 0; peer_receive(&r->i.p, &m);) {
        if (m.type != IPC_TYPE_APPENDED)
            continue;
        CHECK(m.appended.status == IPC_OK);
        r->answered[m.tag - FIRST_TAG] = true;
        r->answered_all++;
        if (++got == 3 + round * 8)
            world_kill(r->w); /* what it has answered is still to be read */
    }
    peer_done(&r->i.p);
}

/* The next store knows what was done: at least all that was answered. */
static void ask_appends(struct restart *r, struct ipc_id s)
{
    for (unsigned k = 0; k < APPENDS; k++) {
        struct ipc_appended a =
            imap_ask(&r->i, (struct ipc_message){.type = IPC_TYPE_APPEND_ASK, .append_ask = {s, r->ids[k]}})
                .appended;
        CHECK(a.status == IPC_OK || (a.status == IPC_TRY_LATER && !r->answered[k]));
        r->done_all += a.status == IPC_OK;
    }
}

static void case_restart(struct world *w)
{
    struct restart r = {.w = w};
    struct imap *i = &r.i;
    struct ipc_message m;
    struct ipc_mailbox_row row;
    uint8_t token[32];
    begin(w, i);
    struct ipc_id s = imap_login(i, ALICE, "secret", &m);
    uint64_t account = m.login_result.account;
    memcpy(token, m.login_result.token.p, 32);
    CHECK(imap_append(i, s, "INBOX", 1, 3, 300, NULL) == IPC_OK);
    struct ipc_mailbox_opened o = imap_open(i, s, "INBOX", false);
    (void)imap_do(i, imap_message_change(s, o.mailbox, IPC_MESSAGES_FLAGS_ADD, "2", DELETED, "kept", ""));
    (void)imap_do(i, imap_message_change(s, o.mailbox, IPC_MESSAGES_EXPUNGE, "1:*", 0, "", ""));
    for (unsigned round = 0; round < ROUNDS; round++) {
        append_and_kill(&r, round);
        world_start(w);
        imap_channel(w, 0, i);
        resume(i, s, account, token);
        imap_watch(i, s, o.mailbox, false);
        ask_appends(&r, s);
        CHECK(imap_status(i, s, "INBOX", &row) == IPC_OK && row.messages == 2 + r.done_all);
        CHECK(row.mailbox == o.mailbox && row.uidvalidity == o.uidvalidity);
    }
    /* What the session knew is answered as before, and it hears of what is new. */
    i->news = 0;
    struct ipc_changes c = imap_changes(i, s, o.mailbox, o.modseq, 4, true);
    CHECK(c.status == IPC_OK && eq(ranges_text(c.vanished), "2") && span_eq_str(c.keywords, "kept"));
    CHECK(imap_append(i, s, "INBOX", 1, 1, 300, NULL) == IPC_OK);
    CHECK(imap_news(i, s) > c.modseq);
    m = imap_ask(i, (struct ipc_message){.type = IPC_TYPE_APPEND_ASK, .append_ask = {s, new_id()}});
    CHECK(m.appended.status == IPC_TRY_LATER);
    printf("  %u appends answered, %u done, over %u kills\n", r.answered_all, r.done_all, (unsigned)ROUNDS);
    peer_done(&i->p);
}

int main(int argc, char **argv)
{
    static const struct test_case cases[] = {
        {"mailboxes", OPEN, case_mailboxes},
        {"defaults", OPEN, case_defaults},
        {"rename_inbox", OPEN, case_rename_inbox},
        {"messages", OPEN, case_messages},
        {"slices", OPEN, case_slices},
        {"news", OPEN, case_news},
        {"known_news", OPEN, case_known_news},
        {"append", OPEN, case_append},
        {"append_pressure", OPEN, case_append_pressure},
        {"restart", OPEN, case_restart},
    };
    return run_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
