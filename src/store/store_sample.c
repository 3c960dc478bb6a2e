/* Makes a store below a directory, out of records of an earlier brant and operations of this one, and says
 * what is in it: for the test of the independent reader (tests/faults/test_fold.py).
 *
 *     store_sample DIRECTORY [compact]
 *
 * Prints "account ADDRESS OPTIONS QUOTA GRANTS" (kind:name, …), "mailbox ADDRESS NAME USES KEYWORDS" (comma
 * between), "subscribed ADDRESS NAME", "message ADDRESS MAILBOX UID FLAGS BYTES" and "queue ADDRESS SENDER
 * SIZE"; bytes in hexadecimal. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/err.h"
#include "store/state.h"
#include "store/testing_old.h"

enum { ROUNDS = 40 };

static int64_t now_ms = 1700000001000;
static uint32_t random_state = 1;

static int64_t clock_ms(void *ctx)
{
    (void)ctx;
    return now_ms;
}

static void fill(void *ctx, void *out, size_t len)
{
    uint8_t *p = out;

    (void)ctx;
    for (size_t i = 0; i < len; i++) {
        random_state = random_state * 1664525 + 1013904223;
        p[i] = (uint8_t)(random_state >> 24);
    }
}

static void answered(struct store_op *op)
{
    *(bool *)op->ctx = true;
}

static int run(struct store *st, struct store_op *op)
{
    bool done = false;

    op->done = answered;
    op->ctx = &done;
    store_submit(st, op);
    for (int i = 0; !done && i < 1000; i++) {
        if (store_writer_step(st, ++now_ms) < 0)
            return BRANT_EIO;
        (void)store_apply_step(st, now_ms + 100);
    }
    return done ? op->result : BRANT_EIO;
}

static int old_record(struct journal *j, uint16_t type, const uint8_t *bytes, size_t len)
{
    struct span payload = span_make(bytes, len);
    struct journal_place place;
    uint64_t seq;

    return journal_append(j, type, 1, &payload, 1, false, &seq, &place);
}

static int old_journal(struct os_fs *fs, const struct store_config *config)
{
    struct journal_config jc = {.segment_bytes = config->segment_bytes, .record_bytes_max = RECORD_BYTES_MAX};
    struct journal_recovery recovery;
    struct journal *j;
    int rc = journal_open(fs, &jc, &j, &recovery);

    if (rc)
        return rc;
    rc = old_record(j, RECORD_ACCOUNT, account_1, sizeof account_1);
    if (!rc)
        rc = old_record(j, RECORD_MESSAGE, message_1, sizeof message_1);
    if (!rc)
        rc = old_record(j, RECORD_MAILBOX, mailbox_1, sizeof mailbox_1);
    if (!rc)
        rc = journal_sync(j);
    journal_free(j);
    return rc;
}

/* ---- What is done
 * --------------------------------------------------------------------------------------------- */

static int accounts(struct store *st)
{
    struct store_op domain = {.kind = STORE_OP_DOMAIN_ADD, .domain = {.name = SPAN_LIT("brant.test")}},
                    add = {.kind = STORE_OP_ACCOUNT_ADD, .account = {.address = SPAN_LIT("bob@brant.test")}},
                    set = {.kind = STORE_OP_ACCOUNT_SET,
                           .account = {.address = SPAN_LIT("bob@brant.test"),
                                       .set = STORE_SET_OPTIONS | STORE_SET_SCRAM,
                                       .options = STORE_ACCOUNT_SENT_COPY,
                                       .option_mask = STORE_ACCOUNT_SENT_COPY,
                                       .scram = {.iterations = 4096}}},
                    grant = {.kind = STORE_OP_GRANT_ADD,
                             .grant = {.address = SPAN_LIT("bob@brant.test"),
                                       .grant = {.kind = STORE_GRANT_APP_PASSWORD,
                                                 .name = SPAN_LIT("phone"),
                                                 .data = SPAN_LIT("verifier")}}};
    int rc = run(st, &domain);

    if (!rc)
        rc = run(st, &add);
    if (!rc)
        rc = run(st, &set);
    if (!rc)
        rc = run(st, &grant);
    grant.grant.grant =
        (struct store_grant){.kind = STORE_GRANT_SEND_AS, .name = SPAN_LIT("@else.test"), .expires_ms = 5};
    return rc ? rc : run(st, &grant);
}

static int submission(struct store *st, uint64_t bob, uint32_t number, uint64_t *ret_message)
{
    static const struct span prefixes[] = {{(const uint8_t *)"P: 1\r\n", 6},
                                           {(const uint8_t *)"P: two\r\n", 8}};
    struct store_rcpt rcpts[] = {{.address = SPAN_LIT("bob@brant.test")},
                                 {.address = SPAN_LIT("x@far.test"), .variant = 1},
                                 {.address = SPAN_LIT("y@far.test")}};
    static uint8_t bytes[20000];
    struct store_op op = {.kind = STORE_OP_COMMIT,
                          .commit = {.reverse_path = SPAN_LIT("bob@brant.test"),
                                     .message_id = SPAN_LIT("<x@brant.test>"),
                                     .tls = SPAN_LIT("TLSv1.3"),
                                     .submitter = bob,
                                     .prefixes = prefixes,
                                     .prefix_count = 2,
                                     .rcpts = number % 3 ? rcpts : rcpts + 1,
                                     .rcpt_count = number % 3 ? 3 : 2,
                                     .body = store_body_new(st, 1)}};
    int rc;

    fill(NULL, bytes, sizeof bytes);
    memcpy(op.commit.id, &number, sizeof number);
    op.commit.id[15] = 1;
    rc = store_body_append(op.commit.body, span_make(bytes, number * 479));
    if (!rc)
        rc = store_body_finish(op.commit.body);
    if (!rc)
        rc = run(st, &op);
    *ret_message = op.commit.message;
    return rc;
}

static int round_of(struct store *st, uint64_t bob, uint32_t number)
{
    struct store_op change = {0};
    uint64_t message;
    struct store_range range = {number / 2, number / 2};
    int rc = submission(st, bob, number, &message);

    if (!rc && number % 3 == 0) {
        change = (struct store_op){.kind = STORE_OP_QUEUE_REMOVE,
                                   .queue = {.message = message, .recipient = number % 2}};
        rc = run(st, &change);
        change.queue.recipient ^= 1;
        if (!rc && number % 9 == 0)
            rc = run(st, &change);
    }
    if (!rc && number % 5 == 0) {
        change = (struct store_op){.kind = STORE_OP_EXPUNGE,
                                   .change = {.account = bob, .ranges = &range, .range_count = 1}};
        rc = run(st, &change);
    }
    return rc;
}

static int name(struct store *st, uint64_t account, enum store_mailbox_action action, const char *from,
                const char *to)
{
    struct store_op op = {
        .kind = STORE_OP_MAILBOX,
        .mailbox = {.account = account,
                    .action = (uint8_t)action,
                    .name = span_str(from),
                    .target = span_str(to),
                    .uses = action == STORE_MAILBOX_CREATE && !strcmp(from, "Junk") ? 4 : 0}};

    return run(st, &op);
}

static int change(struct store *st, enum store_op_kind kind, uint64_t account, const char *target)
{
    static const struct span keywords[] = {{(const uint8_t *)"$Junk", 5}, {(const uint8_t *)"later", 5}};
    const struct dir_mailbox *box = dir_box_named(dir_account(&st->dir, account), span_str(target));
    struct store_range range = {2, 12};
    struct store_op op = {.kind = kind,
                          .change = {.account = account,
                                     .ranges = &range,
                                     .range_count = 1,
                                     .flags = STORE_FLAG_ANSWERED,
                                     .keywords = {keywords, 2},
                                     .target = box->id}};

    return run(st, &op);
}

static int appends(struct store *st, uint64_t account)
{
    struct store_appended messages[2] = {{.flags = STORE_FLAG_SEEN}, {.flags = STORE_FLAG_DRAFT}};
    const struct dir_mailbox *box = dir_box_named(dir_account(&st->dir, account), SPAN_LIT("Junk"));
    struct store_op op = {
        .kind = STORE_OP_APPEND,
        .append = {.account = account, .mailbox = box->id, .messages = messages, .count = 2}};
    static uint8_t bytes[10000];
    int rc = BRANT_OK;

    for (size_t i = 0; i < 2; i++) {
        fill(NULL, bytes, sizeof bytes);
        messages[i].body = store_body_new(st, 1);
        rc |= store_body_append(messages[i].body, span_make(bytes, 100 + i * 9000));
        rc |= store_body_finish(messages[i].body);
    }
    return rc ? rc : run(st, &op);
}

/* Mailboxes, in each of three rounds. */
static int mailboxes(struct store *st, uint64_t bob, uint32_t round)
{
    static const struct {
        uint32_t round;
        enum store_mailbox_action action;
        const char *name, *target;
    } names[] = {{1, STORE_MAILBOX_CREATE, "Junk", ""},          {1, STORE_MAILBOX_CREATE, "a/b/c", ""},
                 {1, STORE_MAILBOX_SUBSCRIBE, "a/b", ""},        {1, STORE_MAILBOX_SUBSCRIBE, "Junk", ""},
                 {2, STORE_MAILBOX_RENAME, "a/b", "later/work"}, {2, STORE_MAILBOX_UNSUBSCRIBE, "Junk", ""},
                 {3, STORE_MAILBOX_DELETE, "later/work", ""},    {3, STORE_MAILBOX_CREATE, "later/work", ""}};
    int rc = BRANT_OK;

    if (round == 2)
        rc = change(st, STORE_OP_FLAGS, bob, "Junk");
    if (round == 2 && !rc)
        rc = change(st, STORE_OP_COPY, bob, "a/b");
    if (round == 3)
        rc = change(st, STORE_OP_MOVE, bob, "Junk");
    for (size_t i = 0; !rc && i < sizeof names / sizeof names[0]; i++) {
        if (names[i].round == round)
            rc = name(st, bob, names[i].action, names[i].name, names[i].target);
    }
    return rc ? rc : appends(st, bob);
}

static void settle(struct store *st)
{
    int did = 1;

    while (did) {
        now_ms += 50;
        did = store_writer_step(st, now_ms) == 1;
        did |= store_apply_step(st, now_ms) == 1;
        did |= store_checkpoint_step(st, now_ms) == 1;
        did |= store_compaction_step(st, now_ms) == 1;
    }
}

/* ---- What there is
 * -------------------------------------------------------------------------------------------- */

static int tell_message(struct store_reader *r, const char *address, const struct dir_mailbox *box,
                        const struct store_entry *e)
{
    static uint8_t bytes[65536];
    struct store_message *m;
    size_t len = 0;
    int rc = store_message_open(r, box->account->id, box->id, e->uid, &m);

    if (rc)
        return rc;
    rc = store_message_read(m, 0, bytes, sizeof bytes, &len);
    store_message_close(m);
    printf("message %s %s %u %u ", address, box->name, e->uid, (unsigned)e->flags);
    for (size_t i = 0; i < len; i++)
        printf("%02x", bytes[i]);
    printf("\n");
    return rc;
}

static int tell_account(struct store *st, struct store_reader *r, const struct store_account_info *info)
{
    static struct store_entry entries[1000];
    const struct dir_account *a = dir_account(&st->dir, info->account);
    size_t count = 0;
    int rc = BRANT_OK;

    printf("account %s %u %llu ", info->address, (unsigned)info->options,
           (unsigned long long)info->quota_bytes);
    for (const struct dir_grant *g = a->grants; g; g = g->next)
        printf("%u:%.*s,", (unsigned)g->kind, (int)g->name_len, (const char *)g->name);
    printf("\n");
    for (size_t k = 0; !rc && k < a->box_count; k++) {
        const struct dir_mailbox *box = a->boxes[k];

        printf("mailbox %s %s %u ", info->address, box->name, (unsigned)box->uses);
        for (const char *c = box->keywords ? box->keywords : ""; *c; c++)
            printf("%c", *c == ' ' ? ',' : *c);
        printf("\n");
        rc = store_entries_list(r, a->id, box->id, 0, entries, 1000, &count);
        for (size_t i = 0; !rc && i < count; i++)
            rc = tell_message(r, info->address, box, &entries[i]);
    }
    for (size_t k = 0; k < a->sub_count; k++)
        printf("subscribed %s %s\n", info->address, a->subs[k]->name);
    return rc;
}

static int tell(struct store *st)
{
    static struct store_account_info list[8];
    static struct store_queue_row rows[200];
    struct store_reader *r;
    struct arena arena;
    size_t count = store_accounts_list(st, SPAN_NONE, SPAN_NONE, list, 8);
    int rc = store_reader_new(st, &r);

    arena_init(&arena, 1u << 20);
    for (size_t i = 0; !rc && i < count; i++)
        rc = tell_account(st, r, &list[i]);
    if (!rc)
        rc = store_queue_list(r, SPAN_NONE, 0, 0, &arena, rows, 200, &count);
    for (size_t i = 0; !rc && i < count; i++)
        printf("queue %.*s %.*s %llu\n", SPAN_ARG(rows[i].address), SPAN_ARG(rows[i].sender),
               (unsigned long long)rows[i].bytes);
    arena_done(&arena);
    store_reader_free(r);
    return rc;
}

int main(int argc, char **argv)
{
    struct store_seam seam = {.now_ms = clock_ms, .random = fill};
    struct store_account_info bob = {0};
    struct store_config config;
    struct store_opened opened;
    struct store *st;
    int fd = argc >= 2 ? open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1, rc;
    struct os_fs *fs = fd < 0 ? NULL : os_fs_open_real(fd);

    if (!fs || fchdir(fd)) /* the index is opened by its name alone */
        return 2;
    store_config_default(&config);
    config.segment_bytes = 65536;
    config.reserve_bytes = 1;
    config.inline_bytes_max = 8192;
    rc = old_journal(fs, &config);
    if (!rc)
        rc = store_open(fs, &config, &seam, &st, &opened);
    if (rc)
        return 1;
    rc = accounts(st);
    if (!rc)
        rc = store_account_find(st, SPAN_LIT("bob@brant.test"), &bob);
    for (uint32_t i = 1; !rc && i <= ROUNDS; i++) {
        rc = round_of(st, bob.account, i);
        if (!rc && i % 10 == 0 && i < ROUNDS)
            rc = mailboxes(st, bob.account, i / 10);
        if (argc > 2 && i % 15 == 0) {
            store_compact(st, true);
            settle(st);
        }
    }
    if (!rc)
        rc = tell(st);
    store_close(st);
    os_fs_free(fs);
    return rc ? 1 : 0;
}
