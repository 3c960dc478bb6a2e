/* How new mail is decided: COMMIT. The same three steps as in ops.c. */
#include "base/ascii.h"
#include "base/err.h"
#include "store/ops.h"

static const struct span SENT = {(const uint8_t *)"Sent", 4};

static int refuse(struct store_op *op, int code, const char *reason)
{
    op->result = code;
    op->reason = reason;
    return BRANT_OK;
}

/* ---- What both share
 * -------------------------------------------------------------------------------------------- */

void ops_put_body(const struct store_body *body, struct record_message *rec)
{
    rec->body_kind = body->in_file ? RECORD_BODY_FILE : RECORD_BODY_INLINE;
    rec->body_bytes = body->bytes;
    if (body->in_file) {
        memcpy(rec->body_file, body->ref.id, sizeof rec->body_file);
        rec->body_sum = body->ref.root;
    }
}

struct record_entry *ops_put_entry(struct record_message *rec, const struct dir_mailbox *box)
{
    struct record_entry *e = &rec->entries[rec->entries_count++];

    rec->boxes[rec->boxes_count++] = (struct record_box){.mailbox = box->id,
                                                         .account = box->account->id,
                                                         .uidnext = box->uidnext + 1,
                                                         .modseq = box->modseq + 1};
    *e = (struct record_entry){.account = box->account->id,
                               .mailbox = box->id,
                               .uid = box->uidnext,
                               .modseq = box->modseq + 1,
                               .time_ms = rec->time_ms,
                               .recipient = RECORD_NO_RECIPIENT};
    return e;
}

int ops_put_message(struct store *st, union record *rec, const struct span *prefixes, size_t prefix_count,
                    const struct store_body *body, uint64_t *ret_seq)
{
    struct span blobs[STORE_VARIANTS_MAX + 1];
    size_t count = 0;

    for (; count < prefix_count; count++) {
        rec->message.prefixes[count].length = (uint32_t)prefixes[count].len;
        blobs[count] = prefixes[count];
    }
    if (!body->in_file)
        blobs[count++] = buf_span(&body->data);
    return writer_append(st, RECORD_MESSAGE, rec, blobs, count, false, ret_seq);
}

void ops_entry_heads(struct store *st, const struct record_message *rec, uint64_t seq)
{
    for (size_t i = 0; i < rec->entries_count; i++) {
        const struct record_entry *e = &rec->entries[i];
        struct dir_mailbox *box = dir_mailbox(&st->dir, e->mailbox);

        box->uidnext = e->uid + 1;
        box->recent++;
        box->modseq = e->modseq;
        box->messages++;
        box->bytes += e->size;
        box->unseen += e->flags & STORE_FLAG_SEEN ? 0 : 1;
        box->deleted += e->flags & STORE_FLAG_DELETED ? 1 : 0;
        box->last_seq = seq;
        box->account->messages++;
        box->account->used_bytes += e->size;
        box->account->last_seq = seq;
    }
}

/* ---- COMMIT
 * -------------------------------------------------------------------------------------------------- */

struct commit {
    struct store *st;
    struct store_commit *in;
    struct record_message *rec;
    struct dir_account *sender; /* NULL: mail from elsewhere */
    struct map queued;          /* addresses that have their row */
};

static int check(const struct store_commit *in)
{
    if (!in->body || !in->body->finished)
        return BRANT_ESTATE;
    if (in->source.len > 64 || in->protocol.len > 32 || in->helo.len > 255 || in->message_id.len > 998 ||
        in->tls.len > 64 || in->reverse_path.len > RECORD_ADDRESS_MAX ||
        in->structure.len > RECORD_STRUCTURE_MAX || in->prefix_count > STORE_VARIANTS_MAX ||
        in->rcpt_count > STORE_RECIPIENTS_MAX || !in->rcpt_count)
        return BRANT_ELIMIT;
    for (size_t i = 0; i < in->prefix_count; i++) {
        if (in->prefixes[i].len > RECORD_PREFIX_MAX)
            return BRANT_ELIMIT;
    }
    for (size_t i = 0; i < in->rcpt_count; i++) {
        if (in->rcpts[i].variant >= in->prefix_count)
            return BRANT_ESYNTAX;
    }
    return BRANT_OK;
}

static bool new_to_commit(const struct commit *c, const struct dir_account *a)
{
    return a->commit_visit != c->st->commit_visit;
}

/* Whether the accounts found can all have their copy. */
static int local_possible(const struct commit *c, size_t count)
{
    size_t entries = c->rec->entries_count;

    for (size_t i = 0; i < count; i++) {
        const struct dir_account *a = c->st->dir.results[i].account;
        const struct dir_mailbox *inbox = dir_mailbox(&c->st->dir, a->inbox);

        if (!new_to_commit(c, a))
            continue;
        if (!inbox)
            return BRANT_ETRYLATER;
        if (++entries > STORE_EXPANSION_MAX || inbox->uidnext == UINT32_MAX)
            return BRANT_ELIMIT;
    }
    return BRANT_OK;
}

/* The accounts found get one copy each. */
static int local(struct commit *c, struct store_rcpt *rcpt, size_t count)
{
    int rc = local_possible(c, count);

    if (rc)
        return rc;
    for (size_t i = 0; i < count; i++) {
        struct dir_account *a = c->st->dir.results[i].account;
        struct record_entry *e;

        if (!new_to_commit(c, a))
            continue;
        a->commit_visit = c->st->commit_visit;
        e = ops_put_entry(c->rec, dir_mailbox(&c->st->dir, a->inbox));
        e->flags = rcpt->flags;
        e->variant = rcpt->variant;
        e->size = c->in->prefixes[rcpt->variant].len + c->in->body->bytes;
        e->recipient = c->rec->recipients_count;
        rcpt->entries++;
    }
    return BRANT_OK;
}

/* RFC 5321 2.4: the local part belongs to the other host and is compared as it is, the domain without regard
 * to case. */
static struct span remote_key(struct span address, uint8_t key[RECORD_ADDRESS_MAX])
{
    size_t at = span_rfind_byte(address, '@');

    for (size_t i = 0; i < address.len; i++)
        key[i] = i < at ? address.p[i] : ascii_lower(address.p[i]);
    return span_make(key, address.len);
}

/* An address elsewhere gets its row, once. */
static void remote(struct commit *c, struct store_rcpt *rcpt)
{
    struct record_message *rec = c->rec;
    uint8_t key[RECORD_ADDRESS_MAX];

    rcpt->queued = true;
    if (map_put(&c->queued, remote_key(rcpt->address, key), rcpt))
        return;
    rec->queue[rec->queue_count++] = (struct record_queued){
        .recipient = rec->recipients_count, .state = RECORD_QUEUE_HELD, .variant = rcpt->variant};
}

static int recipient(struct commit *c, struct store_rcpt *rcpt)
{
    size_t count = 0;
    int rc = dir_resolve(&c->st->dir, rcpt->address, &count);

    rcpt->queued = false;
    rcpt->entries = 0;
    if (rc == BRANT_EREFUSED && c->sender) {
        remote(c, rcpt);
        rc = BRANT_OK;
    } else if (!rc) {
        rc = local(c, rcpt, count);
    }
    rcpt->result = rc;
    if (!rc)
        c->rec->recipients[c->rec->recipients_count++].address = rcpt->address;
    return rc;
}

/* Every recipient of the envelope becomes entries, one per account, or a row of the queue. All or nothing,
 * unless each stands for itself. */
static int expand(struct commit *c)
{
    int rc = BRANT_OK;

    c->st->commit_visit++;
    map_init(&c->queued, c->st->dir.names.key);
    pthread_mutex_lock(&c->st->dir.lock);
    for (size_t i = 0; !rc && i < c->in->rcpt_count; i++) {
        rc = recipient(c, &c->in->rcpts[i]);
        if (c->in->each)
            rc = BRANT_OK;
    }
    pthread_mutex_unlock(&c->st->dir.lock);
    map_done(&c->queued);
    if (rc)
        return rc == BRANT_ELIMIT ? rc : BRANT_ETRYLATER;
    return c->rec->recipients_count ? BRANT_OK : BRANT_ETRYLATER;
}

/* The mailbox of the sender's copy; NULL where none is wanted. One that is missing is made, and
 * BRANT_ETRYLATER says to wait until its record is durable: a batch is not atomic, so a message in the same
 * one could come through a crash without the mailbox it is in. */
static int sent_box(struct commit *c, struct dir_mailbox **ret)
{
    *ret = NULL;
    if (!c->sender || !(c->sender->options & STORE_ACCOUNT_SENT_COPY))
        return BRANT_OK;
    *ret = dir_box_named(c->sender, SENT);
    if (!*ret) {
        int rc = ops_mailbox_new(c->st, c->sender, SENT, 0, (int64_t)c->rec->time_ms, ret);

        if (rc)
            return rc;
    }
    return (*ret)->id > atomic_load(&c->st->durable_seq) ? BRANT_ETRYLATER : BRANT_OK;
}

/* Quota is not asked: mail that was accepted is filed. A mailbox that has given out all its UIDs goes
 * without. */
static void sent_copy(struct commit *c, const struct dir_mailbox *box)
{
    struct record_entry *e;

    if (!box || box->uidnext == UINT32_MAX)
        return;
    e = ops_put_entry(c->rec, box);
    e->flags = STORE_FLAG_SEEN;
    e->size = c->in->prefixes[0].len + c->in->body->bytes;
}

static void commit_heads(struct commit *c, uint64_t seq)
{
    struct store *st = c->st;

    pthread_mutex_lock(&st->dir.lock);
    ops_entry_heads(st, c->rec, seq);
    commits_put(&st->commits, c->in->id, seq);
    pthread_mutex_unlock(&st->dir.lock);
    c->in->message = seq;
    c->in->queued = c->rec->queue_count;
    c->in->body->committed = true;
    atomic_fetch_add(&st->queued_count, c->rec->queue_count);
    atomic_fetch_add(&st->commit_count, 1);
}

static void commit_record(struct store *st, const struct store_commit *in, struct record_message *rec)
{
    struct arena *a = &st->writer_arena;

    rec->source = in->source;
    rec->protocol = in->protocol;
    rec->helo = in->helo;
    rec->reverse_path = in->reverse_path;
    rec->message_id = in->message_id;
    rec->structure = in->structure;
    rec->tls = in->tls;
    rec->submitter = in->submitter;
    memcpy(rec->content_sum, in->content_sum, sizeof rec->content_sum);
    memcpy(rec->commit_id, in->id, sizeof rec->commit_id);
    memcpy(rec->session, in->session, sizeof rec->session);
    rec->recipients = arena_array(a, in->rcpt_count, sizeof *rec->recipients);
    rec->queue = arena_array(a, in->rcpt_count, sizeof *rec->queue);
    rec->prefixes = arena_array(a, in->prefix_count, sizeof *rec->prefixes);
    rec->prefixes_count = (uint32_t)in->prefix_count;
    /* One more for the copy of the sender. */
    rec->entries = arena_array(a, STORE_EXPANSION_MAX + 1, sizeof *rec->entries);
    rec->boxes = arena_array(a, STORE_EXPANSION_MAX + 1, sizeof *rec->boxes);
    ops_put_body(in->body, rec);
}

static struct dir_account *sender_of(struct store *st, uint64_t account)
{
    struct dir_account *a = dir_account(&st->dir, account);

    return a && a->state == RECORD_STATE_LIVE && a->options & STORE_ACCOUNT_ENABLED ? a : NULL;
}

int ops_commit(struct store *st, struct store_op *op, int64_t now_ms)
{
    struct store_commit *in = &op->commit;
    const struct commit_seen *seen = commits_get(&st->commits, in->id);
    union record rec = {.message = {.time_ms = (uint64_t)now_ms}};
    struct commit c = {.st = st, .in = in, .rec = &rec.message};
    struct dir_mailbox *sent;
    int rc = check(in);

    if (seen) {
        in->duplicate = true;
        in->message = seen->message;
        return BRANT_OK;
    }
    if (rc)
        return refuse(op, rc, "malformed commit");
    if (!atomic_load(&st->accepting))
        return refuse(op, BRANT_ENOSPACE, "the disk is nearly full");
    if (in->submitter && !(c.sender = sender_of(st, in->submitter)))
        return refuse(op, BRANT_ETRYLATER, "the sender's account can't be used any more");
    commit_record(st, in, &rec.message);
    rc = expand(&c);
    if (rc)
        return refuse(op, rc, rc == BRANT_ELIMIT ? "too many recipients" : "a recipient is no longer there");
    rc = sent_box(&c, &sent);
    if (rc == BRANT_ETRYLATER)
        return rc;
    if (rc)
        return refuse(op, rc, NULL);
    sent_copy(&c, sent);
    rc = ops_put_message(st, &rec, in->prefixes, in->prefix_count, in->body, &op->seq);
    if (rc)
        return refuse(op, rc, NULL);
    commit_heads(&c, op->seq);
    return BRANT_OK;
}
