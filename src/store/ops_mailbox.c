/* How operations on mailboxes and their names are decided; never park. The same three steps as in ops.c. */
#include "base/err.h"
#include "base/mem.h"
#include "store/ops.h"

static int refuse(struct store_op *op, int code, const char *reason)
{
    op->result = code;
    op->reason = reason;
    return BRANT_OK;
}

/* UIDVALIDITY grows over the whole store, so a mailbox that comes back under an old name never reuses one.
 * What was given to those that went stands in their tombstones, and, when these are forgotten, in RETIRE. */
uint32_t ops_uidvalidity(struct store *st, int64_t now_ms)
{
    uint32_t now_s = (uint32_t)(now_ms / 1000);

    return now_s > st->dir.uidvalidity_last ? now_s : st->dir.uidvalidity_last + 1;
}

struct record_mailbox_state ops_mailbox_state(const struct dir_mailbox *box)
{
    return (struct record_mailbox_state){.id = box->id,
                                         .account = box->account->id,
                                         .state = box->state,
                                         .name = span_str(box->name),
                                         .uidvalidity = box->uidvalidity,
                                         .uidnext = box->uidnext,
                                         .modseq = box->modseq,
                                         .gone_floor = box->gone_floor,
                                         .removed_to = box->removed_to,
                                         .uses = box->uses,
                                         .keywords = span_str(box->keywords ? box->keywords : "")};
}

static int append_one(struct store *st, struct record_mailbox_state *state, bool use_reserve,
                      uint64_t *ret_seq)
{
    union record rec = {.mailboxes = {.mailboxes = state, .mailboxes_count = 1}};

    return writer_append(st, RECORD_MAILBOXES, &rec, NULL, 0, use_reserve, ret_seq);
}

int ops_name_free(struct store *st, uint64_t freed_seq)
{
    return freed_seq > journal_durable_seq(st->journal) ? writer_sync(st) : BRANT_OK;
}

int ops_mailbox_new(struct store *st, struct dir_account *a, struct span name, uint32_t uses, int64_t now_ms,
                    struct dir_mailbox **ret)
{
    struct record_mailbox_state state = {.account = a->id,
                                         .name = name,
                                         .uidvalidity = ops_uidvalidity(st, now_ms),
                                         .uidnext = 1,
                                         .modseq = 1,
                                         .uses = uses};
    struct dir_mailbox *box;
    uint64_t seq;
    int rc = ops_name_free(st, a->freed_seq);

    if (!rc)
        rc = append_one(st, &state, false, &seq);
    if (rc)
        return rc;
    pthread_mutex_lock(&st->dir.lock);
    box = dir_mailbox_put(&st->dir, a, seq, &state);
    box->last_seq = seq;
    a->last_seq = seq;
    pthread_mutex_unlock(&st->dir.lock);
    *ret = box;
    return BRANT_OK;
}

/* A keyword that comes through a crash without its name would take that of the next one: names are on disk
 * before anything that uses them. */
int ops_keywords_grow(struct store *st, struct dir_mailbox *box, struct span table)
{
    struct record_mailbox_state state = ops_mailbox_state(box);
    uint64_t seq;
    int rc;

    if (span_eq(table, state.keywords))
        return BRANT_OK;
    state.keywords = table;
    rc = append_one(st, &state, false, &seq);
    if (!rc)
        rc = writer_sync(st);
    if (rc)
        return rc;
    pthread_mutex_lock(&st->dir.lock);
    (void)dir_mailbox_put(&st->dir, box->account, box->id, &state);
    box->last_seq = seq;
    box->account->last_seq = seq;
    pthread_mutex_unlock(&st->dir.lock);
    return BRANT_OK;
}

static bool is_name(struct span name)
{
    return name.len && name.len <= STORE_NAME_MAX && span_find_byte(name, '\0') == SPAN_NPOS;
}

/* ---- CREATE, and the levels above
 * ------------------------------------------------------------------------------------------ */

/* Levels above the name that are missing. */
static size_t missing_above(const struct dir_account *a, struct span name)
{
    size_t count = 0;

    for (size_t i = 1; i < name.len; i++)
        count += name.p[i] == '/' && !dir_box_named(a, span_sub(name, 0, i));
    return count;
}

static int make_above(struct store *st, struct dir_account *a, struct span name, int64_t now_ms)
{
    int rc = BRANT_OK;

    for (size_t i = 1; !rc && i < name.len; i++) {
        struct span above = span_sub(name, 0, i);
        struct dir_mailbox *box;

        if (name.p[i] == '/' && !dir_box_named(a, above))
            rc = ops_mailbox_new(st, a, above, 0, now_ms, &box);
    }
    return rc;
}

static bool use_taken(const struct dir_account *a, uint32_t uses)
{
    for (size_t i = 0; uses && i < a->box_count; i++) {
        if (a->boxes[i]->uses & uses)
            return true;
    }
    return false;
}

static bool too_many(const struct dir_account *a, size_t more)
{
    return dir_names_count(a) + more > STORE_MAILBOXES_MAX;
}

static int create(struct store *st, struct store_op *op, struct dir_account *a, int64_t now_ms)
{
    const struct store_mailbox_op *in = &op->mailbox;
    struct dir_mailbox *box;
    int rc;

    if (dir_box_named(a, in->name))
        return refuse(op, BRANT_EEXISTS, "the mailbox exists");
    if (use_taken(a, in->uses))
        return refuse(op, BRANT_EREFUSED, "another mailbox has that use");
    if (too_many(a, 1 + missing_above(a, in->name)))
        return refuse(op, BRANT_ELIMIT, "too many mailboxes");
    rc = make_above(st, a, in->name, now_ms);
    if (!rc)
        rc = ops_mailbox_new(st, a, in->name, in->uses, now_ms, &box);
    if (rc)
        return refuse(op, rc, NULL);
    op->seq = op->mailbox.mailbox = box->id;
    return BRANT_OK;
}

int ops_mailboxes_default(struct store *st, struct dir_account *a, const struct store_default_mailbox *list,
                          size_t count, int64_t now_ms)
{
    int rc = BRANT_OK;

    for (size_t i = 0; !rc && i < count; i++) {
        struct dir_mailbox *box;

        if (is_name(list[i].name) && !dir_box_named(a, list[i].name))
            rc = ops_mailbox_new(st, a, list[i].name, list[i].uses, now_ms, &box);
    }
    return rc;
}

/* ---- DELETE
 * ----------------------------------------------------------------------------------------------------------
 */

static int delete (struct store *st, struct store_op *op, struct dir_account *a)
{
    struct dir_mailbox *box = dir_box_named(a, op->mailbox.name);
    struct record_mailbox_state state;

    if (!box)
        return refuse(op, BRANT_ENOTFOUND, "no such mailbox");
    if (box->id == a->inbox)
        return refuse(op, BRANT_EREFUSED, "the INBOX stays");
    state = (struct record_mailbox_state){.id = box->id,
                                          .account = a->id,
                                          .state = RECORD_STATE_REMOVING,
                                          .uidvalidity = box->uidvalidity,
                                          .uidnext = box->uidnext,
                                          .modseq = box->modseq};
    op->result = append_one(st, &state, true, &op->seq);
    if (op->result)
        return BRANT_OK;
    pthread_mutex_lock(&st->dir.lock);
    dir_mailbox_detach(box);
    box->last_seq = op->seq;
    a->last_seq = a->freed_seq = op->seq;
    pthread_mutex_unlock(&st->dir.lock);
    ops_removing_add(st, box->id);
    return BRANT_OK;
}

/* ---- RENAME
 * ----------------------------------------------------------------------------------------------------------
 */

static bool beneath(struct span name, struct span above)
{
    return name.len > above.len && name.p[above.len] == '/' && span_eq(span_sub(name, 0, above.len), above);
}

/* The mailbox, if there is one, and what lies beneath: they stand one after the other. */
static size_t family(const struct dir_account *a, struct span name, size_t *ret_first)
{
    size_t first = dir_boxes_from(a, name), end = first;

    while (end < a->box_count) {
        struct span other = span_str(a->boxes[end]->name);

        if (!span_eq(other, name) && !beneath(other, name))
            break;
        end++;
    }
    *ret_first = first;
    return end - first;
}

static int rename_check(struct store_op *op, const struct dir_account *a)
{
    const struct store_mailbox_op *in = &op->mailbox;
    const struct dir_mailbox *box = dir_box_named(a, in->name);
    size_t first;

    if (!box)
        return refuse(op, BRANT_ENOTFOUND, "no such mailbox");
    if (box->id == a->inbox)
        return refuse(op, BRANT_EREFUSED, "the INBOX keeps its name");
    if (span_eq(in->name, in->target))
        return refuse(op, BRANT_EEXISTS, "the mailbox exists");
    if (beneath(in->target, in->name))
        return refuse(op, BRANT_EREFUSED, "a mailbox can't be moved into itself");
    if (family(a, in->target, &first) > (beneath(in->name, in->target) ? family(a, in->name, &first) : 0))
        return refuse(op, BRANT_EEXISTS, "the mailbox exists");
    if (too_many(a, missing_above(a, in->target)))
        return refuse(op, BRANT_ELIMIT, "too many mailboxes");
    return BRANT_OK;
}

static struct span new_name(struct arena *arena, struct span old, const struct store_mailbox_op *in)
{
    struct span rest = span_from(old, in->name.len);
    uint8_t *name = arena_alloc(arena, in->target.len + rest.len + 1);

    memcpy(name, in->target.p, in->target.len);
    if (rest.len)
        memcpy(name + in->target.len, rest.p, rest.len);
    return span_make(name, in->target.len + rest.len);
}

static void rename_heads(struct store *st, struct dir_account *a, size_t first,
                         const struct record_mailboxes *rec, uint64_t seq)
{
    pthread_mutex_lock(&st->dir.lock);
    for (size_t i = 0; i < rec->mailboxes_count; i++) {
        struct dir_mailbox *box = a->boxes[first + i];

        dir_mailbox_rename(box, rec->mailboxes[i].name);
        box->last_seq = seq;
    }
    dir_boxes_sort(a);
    a->last_seq = a->freed_seq = seq;
    pthread_mutex_unlock(&st->dir.lock);
}

/* Each of the new names, and all of them in one record. */
static int names_fit(const struct dir_account *a, const struct store_mailbox_op *in)
{
    size_t first, count = family(a, in->name, &first), bytes = 0;

    for (size_t i = 0; i < count; i++) {
        const struct dir_mailbox *box = a->boxes[first + i];
        size_t len = strlen(box->name) - in->name.len + in->target.len;

        if (len > STORE_NAME_MAX)
            return BRANT_ELIMIT;
        bytes += 64 + len + (box->keywords ? strlen(box->keywords) : 0);
    }
    return bytes > RECORD_FIELDS_MAX - 64 ? BRANT_ELIMIT : BRANT_OK;
}

static int rename_all(struct store *st, struct store_op *op, struct dir_account *a, int64_t now_ms)
{
    const struct store_mailbox_op *in = &op->mailbox;
    union record rec = {0};
    size_t first, count;
    int rc;

    if (rename_check(op, a), op->result)
        return BRANT_OK;
    rc = names_fit(a, in);
    if (rc)
        return refuse(op, rc, "the names become too long");
    rc = ops_name_free(st, a->freed_seq);
    if (!rc)
        rc = make_above(st, a, in->target, now_ms);
    if (rc)
        return refuse(op, rc, NULL);
    count = family(a, in->name, &first); /* the levels made may stand before it */
    rec.mailboxes.mailboxes = arena_array(&st->writer_arena, count, sizeof *rec.mailboxes.mailboxes);
    for (size_t i = 0; i < count; i++) {
        struct record_mailbox_state *state = &rec.mailboxes.mailboxes[rec.mailboxes.mailboxes_count++];

        *state = ops_mailbox_state(a->boxes[first + i]);
        state->name = new_name(&st->writer_arena, state->name, in);
    }
    rc = writer_append(st, RECORD_MAILBOXES, &rec, NULL, 0, false, &op->seq);
    if (rc)
        return refuse(op, rc, NULL);
    rename_heads(st, a, first, &rec.mailboxes, op->seq);
    return BRANT_OK;
}

/* ---- SUBSCRIBE, UNSUBSCRIBE
 * ------------------------------------------------------------------------------------------------ */

static int subscribe(struct store *st, struct store_op *op, struct dir_account *a)
{
    struct record_subscription sub = {.account = a->id, .name = op->mailbox.name};
    union record rec = {.subscriptions = {.names = &sub, .names_count = 1}};

    if (dir_subscription(a, sub.name))
        return BRANT_OK;
    if (!dir_box_named(a, sub.name) && too_many(a, 1))
        return refuse(op, BRANT_ELIMIT, "too many mailboxes");
    op->result = ops_name_free(st, a->freed_seq);
    if (!op->result)
        op->result = writer_append(st, RECORD_SUBSCRIPTIONS, &rec, NULL, 0, false, &op->seq);
    if (op->result)
        return BRANT_OK;
    pthread_mutex_lock(&st->dir.lock);
    (void)dir_subscription_put(a, op->seq, sub.name);
    a->last_seq = op->seq;
    pthread_mutex_unlock(&st->dir.lock);
    return BRANT_OK;
}

static int unsubscribe(struct store *st, struct store_op *op, struct dir_account *a)
{
    struct dir_subscription *known = dir_subscription(a, op->mailbox.name);
    struct record_subscription sub = {.account = a->id, .state = RECORD_STATE_REMOVED};
    union record rec = {.subscriptions = {.names = &sub, .names_count = 1}};

    if (!known)
        return BRANT_OK;
    sub.id = known->id;
    op->result = writer_append(st, RECORD_SUBSCRIPTIONS, &rec, NULL, 0, true, &op->seq);
    if (op->result)
        return BRANT_OK;
    pthread_mutex_lock(&st->dir.lock);
    dir_subscription_drop(a, known);
    a->last_seq = a->freed_seq = op->seq;
    pthread_mutex_unlock(&st->dir.lock);
    return BRANT_OK;
}

int ops_mailbox(struct store *st, struct store_op *op, int64_t now_ms)
{
    const struct store_mailbox_op *in = &op->mailbox;
    struct dir_account *a = dir_account(&st->dir, in->account);
    bool renames = in->action == STORE_MAILBOX_RENAME;

    if (!a || a->state != RECORD_STATE_LIVE)
        return refuse(op, BRANT_ENOTFOUND, "no such account");
    if (!is_name(in->name) || (renames && !is_name(in->target)))
        return refuse(op, BRANT_ESYNTAX, "not a mailbox name");
    switch ((enum store_mailbox_action)in->action) {
    case STORE_MAILBOX_CREATE:
        return create(st, op, a, now_ms);
    case STORE_MAILBOX_DELETE:
        return delete (st, op, a);
    case STORE_MAILBOX_RENAME:
        return rename_all(st, op, a, now_ms);
    case STORE_MAILBOX_SUBSCRIBE:
        return subscribe(st, op, a);
    case STORE_MAILBOX_UNSUBSCRIBE:
        return unsubscribe(st, op, a);
    default:
        return refuse(op, BRANT_EUNSUPPORTED, "no such operation");
    }
}
