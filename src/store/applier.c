/* What each record does to the index. Live operation, recovery and rebuild all come through here, so the
 * three can't differ. Records may name objects whose own record was written again further on (compaction):
 * such a row is made or left out as it is, and completed when that record comes. */
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/state.h"

#define TRY(call)          \
    do {                   \
        int try_ = (call); \
        if (try_)          \
            return try_;   \
    } while (0)

void applier_init(struct applier *ap, struct index *ix)
{
    memset(ap, 0, sizeof *ap);
    ap->ix = ix;
    arena_init(&ap->arena, RECORD_ARENA_BYTES);
}

void applier_done(struct applier *ap)
{
    arena_done(&ap->arena);
    free(ap->dead);
    ap->dead = NULL;
    free(ap->news.items);
    ap->news = (struct news_list){0};
}

static void news(struct applier *ap, uint64_t mailbox, uint64_t modseq)
{
    if (ap->live)
        news_add(&ap->news, mailbox, modseq);
}

/* ---- What is gathered over a transaction -------------------------------------------------------------- */

static int flush_boxes(struct applier *ap)
{
    for (size_t i = 0; i < ap->used_count; i++) {
        struct box_delta *b = &ap->boxes[ap->used[i]];

        TRY(index_exec(ap->ix, INDEX_BOX_ADD, INDEX_N(b->mailbox), INDEX_N(b->account), INDEX_N(b->uidnext),
                       INDEX_N(b->modseq), INDEX_N(b->rec_seq), INDEX_N(b->messages), INDEX_N(b->bytes),
                       INDEX_N(b->unseen), INDEX_N(b->deleted)));
        news(ap, b->mailbox, b->modseq);
        *b = (struct box_delta){0};
    }
    ap->used_count = 0;
    return BRANT_OK;
}

static int box(struct applier *ap, uint64_t mailbox, uint64_t account, struct box_delta **ret)
{
    size_t at = (size_t)(mailbox * 0x9e3779b97f4a7c15u >> 32) % APPLY_BOXES;

    if (ap->used_count == APPLY_BOXES / 2)
        TRY(flush_boxes(ap));
    while (ap->boxes[at].mailbox && ap->boxes[at].mailbox != mailbox)
        at = (at + 1) % APPLY_BOXES;
    if (!ap->boxes[at].mailbox) {
        ap->boxes[at] = (struct box_delta){.mailbox = mailbox, .account = account, .uidnext = 1};
        ap->used[ap->used_count++] = (uint32_t)at;
    }
    *ret = &ap->boxes[at];
    return BRANT_OK;
}

static int flush_segments(struct applier *ap)
{
    for (size_t i = 0; i < ap->segment_count; i++) {
        struct segment_delta *s = &ap->segments[i];

        TRY(index_exec(ap->ix, INDEX_SEGMENT_ADD, INDEX_N(s->segment), INDEX_N(s->bytes)));
        TRY(index_exec(ap->ix, INDEX_SEGMENT_CLEAN, INDEX_N(s->segment)));
    }
    ap->segment_count = 0;
    return BRANT_OK;
}

static int segment_add(struct applier *ap, uint32_t segment, int64_t bytes)
{
    for (size_t i = 0; i < ap->segment_count; i++) {
        if (ap->segments[i].segment == segment) {
            ap->segments[i].bytes += bytes;
            return BRANT_OK;
        }
    }
    if (ap->segment_count == APPLY_SEGMENTS)
        TRY(flush_segments(ap));
    ap->segments[ap->segment_count++] = (struct segment_delta){segment, bytes};
    return BRANT_OK;
}

static void remember_dead_file(struct applier *ap, const uint8_t id[16])
{
    if (!ap->live)
        return;
    if (ap->dead_count == ap->dead_cap) {
        ap->dead_cap = ap->dead_cap ? ap->dead_cap * 2 : 16;
        ap->dead = mem_regrow(ap->dead, ap->dead_cap, sizeof *ap->dead);
    }
    memcpy(ap->dead[ap->dead_count].id, id, 16);
    ap->dead[ap->dead_count++].seq = ap->seq;
}

/* ---- Messages and entries ------------------------------------------------------------------------------ */

/* A message is dead when no entry and no row of the queue names it. */
static int message_set_dead(struct applier *ap, uint64_t id, bool dead)
{
    struct index_message m;
    int rc = index_message(ap->ix, id, &m);

    if (rc == BRANT_ENOTFOUND || (!rc && m.dead == dead))
        return BRANT_OK;
    if (rc)
        return rc;
    TRY(index_exec(ap->ix, INDEX_MESSAGE_SET_DEAD, INDEX_N(id), INDEX_N(dead)));
    if (dead && m.body_kind == RECORD_BODY_FILE)
        remember_dead_file(ap, m.body_file);
    return segment_add(ap, m.segment, dead ? -(int64_t)m.length : (int64_t)m.length);
}

/* BRANT_OK: something names it. BRANT_ENOTFOUND: nothing does. */
static int message_used(struct applier *ap, uint64_t id)
{
    int rc;

    TRY(index_query(ap->ix, INDEX_ENTRY_OF_MESSAGE, INDEX_N(id)));
    rc = index_row(ap->ix, INDEX_ENTRY_OF_MESSAGE);
    index_reset(ap->ix, INDEX_ENTRY_OF_MESSAGE);
    if (rc != BRANT_ENOTFOUND)
        return rc;
    TRY(index_query(ap->ix, INDEX_QUEUE_OF_MESSAGE, INDEX_N(id), INDEX_N(1)));
    rc = index_row(ap->ix, INDEX_QUEUE_OF_MESSAGE);
    index_reset(ap->ix, INDEX_QUEUE_OF_MESSAGE);
    return rc;
}

static int message_unused(struct applier *ap, uint64_t id)
{
    int rc = message_used(ap, id);

    return rc == BRANT_ENOTFOUND ? message_set_dead(ap, id, true) : rc;
}

static void count(struct box_delta *b, int64_t one, uint64_t size, uint64_t flags)
{
    b->messages += one;
    b->bytes += one * (int64_t)size;
    b->unseen += flags & STORE_FLAG_SEEN ? 0 : one;
    b->deleted += flags & STORE_FLAG_DELETED ? one : 0;
}

static int entry_write(struct applier *ap, enum index_statement s, const struct record_entry *e,
                       uint64_t message, uint64_t saved_ms)
{
    return index_exec(ap->ix, s, INDEX_N(e->mailbox), INDEX_N(e->uid), INDEX_N(message), INDEX_N(e->variant),
                      INDEX_N(e->size), INDEX_N(e->flags), INDEX_N(e->modseq), INDEX_N(e->time_ms),
                      INDEX_N(ap->seq), INDEX_N(saved_ms));
}

/* An entry of a new delivery: no row of that UID can exist. BRANT_ECORRUPT if one does. */
static int entry_deliver(struct applier *ap, const struct record_entry *e, uint64_t saved_ms)
{
    struct box_delta *b;

    TRY(entry_write(ap, INDEX_ENTRY_ADD, e, ap->seq, saved_ms));
    if (!index_changes(ap->ix))
        return BRANT_ECORRUPT;
    TRY(box(ap, e->mailbox, e->account, &b));
    count(b, 1, e->size, e->flags);
    return BRANT_OK;
}

static int entry_put(struct applier *ap, const struct record_entry *e, uint64_t saved_ms)
{
    uint64_t message = e->message ? e->message : ap->seq;
    struct index_entry old;
    struct box_delta *b;
    int rc = index_entry(ap->ix, e->mailbox, e->uid, &old);

    if (rc && rc != BRANT_ENOTFOUND)
        return rc;
    TRY(entry_write(ap, INDEX_ENTRY_PUT, e, message, saved_ms));
    TRY(box(ap, e->mailbox, e->account, &b));
    if (!rc)
        count(b, -1, old.size, old.flags);
    count(b, 1, e->size, e->flags);
    if (!rc)
        return BRANT_OK;
    return message_set_dead(ap, message, false);
}

static int entry_remove(struct applier *ap, uint64_t account, uint64_t mailbox, uint32_t uid)
{
    struct index_entry old;
    struct box_delta *b;
    int rc = index_entry(ap->ix, mailbox, uid, &old);

    if (rc)
        return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
    TRY(index_exec(ap->ix, INDEX_ENTRY_DELETE, INDEX_N(mailbox), INDEX_N(uid)));
    TRY(box(ap, mailbox, account, &b));
    count(b, -1, old.size, old.flags);
    return message_unused(ap, old.message);
}

static int apply_boxes(struct applier *ap, const struct record_box *boxes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct box_delta *b;

        TRY(box(ap, boxes[i].mailbox, boxes[i].account, &b));
        if (b->uidnext < boxes[i].uidnext)
            b->uidnext = boxes[i].uidnext;
        if (b->modseq < boxes[i].modseq)
            b->modseq = boxes[i].modseq;
        b->rec_seq = ap->seq;
    }
    return BRANT_OK;
}

static int queue_write(struct applier *ap, const struct record_queue_row *row)
{
    return index_exec(ap->ix, INDEX_QUEUE_PUT, INDEX_N(row->message), INDEX_N(row->recipient),
                      INDEX_N(row->state), INDEX_N(row->variant), INDEX_N(row->size), INDEX_N(row->account),
                      INDEX_N(row->created_ms), INDEX_B(row->sender), INDEX_B(row->address),
                      INDEX_N(ap->seq));
}

static int queued_write(struct applier *ap, const struct record_message *m, const struct record_queued *q)
{
    struct record_queue_row row = {.message = ap->seq,
                                   .recipient = q->recipient,
                                   .state = q->state,
                                   .variant = q->variant,
                                   .size = m->prefixes[q->variant].length + m->body_bytes,
                                   .account = m->submitter,
                                   .created_ms = m->time_ms,
                                   .sender = m->reverse_path,
                                   .address = m->recipients[q->recipient].address};

    return queue_write(ap, &row);
}

static int apply_queue(struct applier *ap, const struct record_queue *q)
{
    for (size_t i = 0; i < q->rows_count; i++) {
        const struct record_queue_row *row = &q->rows[i];

        TRY(queue_write(ap, row));
        if (row->state == RECORD_QUEUE_REMOVED)
            TRY(message_unused(ap, row->message));
        else
            TRY(message_set_dead(ap, row->message, false));
    }
    return BRANT_OK;
}

struct span filed_key(const uint8_t sum[STORE_SUM_BYTES], struct span message_id, struct arena *arena)
{
    static const uint8_t unknown[STORE_SUM_BYTES];
    uint8_t *key;

    if (!message_id.len || !memcmp(sum, unknown, sizeof unknown))
        return SPAN_NONE;
    key = arena_alloc(arena, STORE_SUM_BYTES + message_id.len);
    if (!key)
        return SPAN_NONE;
    memcpy(key, sum, STORE_SUM_BYTES);
    memcpy(key + STORE_SUM_BYTES, message_id.p, message_id.len);
    return span_make(key, STORE_SUM_BYTES + message_id.len);
}

/* A submission of which the server has put a copy into its sender's mailbox. */
static bool is_filed(const struct record_message *m)
{
    for (size_t i = 0; m->submitter && i < m->entries_count; i++) {
        if (m->entries[i].recipient == RECORD_NO_RECIPIENT)
            return true;
    }
    return false;
}

static int message_write(struct applier *ap, uint64_t id, const struct record_message *m,
                         const struct journal_place *place, bool dead)
{
    bool in_file = m->body_kind == RECORD_BODY_FILE;
    struct span filed = is_filed(m) ? filed_key(m->content_sum, m->message_id, &ap->arena) : SPAN_NONE;

    TRY(index_exec(ap->ix, INDEX_MESSAGE_PUT, INDEX_N(id), INDEX_N(ap->seq), INDEX_N(place->segment),
                   INDEX_N(place->offset), INDEX_N(place->length), INDEX_N(m->body_kind),
                   INDEX_N(m->body_bytes), INDEX_B(in_file ? span_make(m->body_file, 16) : SPAN_NONE),
                   INDEX_N(dead), INDEX_N(m->time_ms), INDEX_N(ap->version),
                   INDEX_B(span_make(m->commit_id, 16)), INDEX_B(filed)));
    return dead ? BRANT_OK : segment_add(ap, place->segment, place->length);
}

/* The same message written again by compaction. Alive is what something names. */
static int message_again(struct applier *ap, const struct record_message *m,
                         const struct journal_place *place)
{
    struct index_message old;
    int rc = index_message(ap->ix, m->id, &old), used;

    if (!rc && !old.dead)
        TRY(segment_add(ap, old.segment, -(int64_t)old.length));
    if (rc && rc != BRANT_ENOTFOUND)
        return rc;
    used = message_used(ap, m->id);
    if (used && used != BRANT_ENOTFOUND)
        return used;
    return message_write(ap, m->id, m, place, used == BRANT_ENOTFOUND);
}

int applier_move(struct applier *ap, const struct index_message *row, const struct journal_place *place)
{
    if (row->segment == place->segment && row->offset == place->offset)
        return BRANT_OK;
    TRY(index_exec(ap->ix, INDEX_MESSAGE_MOVE, INDEX_N(row->id), INDEX_N(place->segment),
                   INDEX_N(place->offset)));
    if (row->dead)
        return BRANT_OK;
    TRY(segment_add(ap, row->segment, -(int64_t)row->length));
    return segment_add(ap, place->segment, (int64_t)row->length);
}

static int apply_message(struct applier *ap, const struct record_message *m,
                         const struct journal_place *place)
{
    if (m->id)
        return message_again(ap, m, place);
    TRY(message_write(ap, ap->seq, m, place, m->entries_count == 0 && m->queue_count == 0));
    for (size_t i = 0; i < m->entries_count; i++)
        TRY(entry_deliver(ap, &m->entries[i], m->time_ms));
    for (size_t i = 0; i < m->queue_count; i++)
        TRY(queued_write(ap, m, &m->queue[i]));
    return apply_boxes(ap, m->boxes, m->boxes_count);
}

/* The mailbox gets a row by this alone: its own record may lie further on, or, when the account was removed
 * meanwhile, nowhere; the tombstone has to go with its account then. */
static int gone_put(struct applier *ap, const struct record_gone *g)
{
    struct box_delta *b;

    TRY(entry_remove(ap, g->account, g->mailbox, g->uid));
    TRY(box(ap, g->mailbox, g->account, &b));
    return index_exec(ap->ix, INDEX_GONE_PUT, INDEX_N(g->mailbox), INDEX_N(g->uid), INDEX_N(g->modseq),
                      INDEX_N(g->message), INDEX_N(g->account), INDEX_N(g->size), INDEX_N(g->time_ms),
                      INDEX_N(ap->seq));
}

/* Version 1 does not say when entries came into their mailbox: a copy came then and there, of others it is
 * not known. Never what the row says: this record alone has to be enough. */
static uint64_t saved_ms(const struct record_change *c, uint16_t type, size_t i)
{
    if (c->saved_count)
        return c->saved[i].time_ms;
    return type == RECORD_COPY || type == RECORD_MOVE ? c->time_ms : 0;
}

static int apply_change(struct applier *ap, uint16_t type, const struct record_change *c)
{
    for (size_t i = 0; i < c->entries_count; i++)
        TRY(entry_put(ap, &c->entries[i], saved_ms(c, type, i)));
    for (size_t i = 0; i < c->gone_count; i++)
        TRY(gone_put(ap, &c->gone[i]));
    return apply_boxes(ap, c->boxes, c->boxes_count);
}

/* ---- Mailboxes, accounts, domains, aliases ------------------------------------------------------------- */

static int mailbox_write(struct applier *ap, uint64_t id, const struct record_mailbox_state *m)
{
    return index_exec(ap->ix, INDEX_MAILBOX_PUT, INDEX_N(id), INDEX_N(m->account), INDEX_B(m->name),
                      INDEX_N(m->uidvalidity), INDEX_N(m->uidnext), INDEX_N(m->modseq), INDEX_B(m->keywords),
                      INDEX_N(ap->seq), INDEX_N(m->uses), INDEX_N(m->gone_floor));
}

/* Nothing of a removed mailbox is kept, its tombstones included: the mailbox's own says it all. */
static int mailbox_empty(struct applier *ap, uint64_t account, uint64_t id, uint32_t up_to)
{
    TRY(flush_boxes(ap));
    for (;;) {
        uint32_t uid;
        int rc;

        TRY(index_query(ap->ix, INDEX_ENTRY_RANGE, INDEX_N(id), INDEX_N(0), INDEX_N(up_to), INDEX_N(1)));
        rc = index_row(ap->ix, INDEX_ENTRY_RANGE);
        if (rc == BRANT_ENOTFOUND)
            break;
        if (rc)
            return rc;
        uid = (uint32_t)index_number(ap->ix, INDEX_ENTRY_RANGE, 1);
        index_reset(ap->ix, INDEX_ENTRY_RANGE);
        TRY(entry_remove(ap, account, id, uid));
    }
    TRY(flush_boxes(ap));
    return index_exec(ap->ix, INDEX_GONE_WIPE, INDEX_N(id), INDEX_N(up_to));
}

static int apply_mailbox(struct applier *ap, const struct record_mailbox_state *m)
{
    uint64_t id = m->id ? m->id : ap->seq;

    if (m->state == RECORD_STATE_LIVE)
        return mailbox_write(ap, id, m);
    news(ap, id, UINT64_MAX);
    if (m->state == RECORD_STATE_REMOVING) {
        TRY(mailbox_empty(ap, m->account, id, m->removed_to));
        return index_exec(ap->ix, INDEX_MAILBOX_REMOVING, INDEX_N(id), INDEX_N(m->account),
                          INDEX_N(m->uidnext), INDEX_N(m->modseq), INDEX_N(ap->seq), INDEX_N(m->removed_to),
                          INDEX_N(m->uidvalidity));
    }
    TRY(mailbox_empty(ap, m->account, id, UINT32_MAX));
    return index_exec(ap->ix, INDEX_MAILBOX_REMOVED, INDEX_N(id), INDEX_N(m->account), INDEX_N(ap->seq),
                      INDEX_N(m->uidvalidity));
}

/* The older layout. */
static struct record_mailbox_state mailbox_state(const struct record_mailbox *m)
{
    return (struct record_mailbox_state){.id = m->id,
                                         .account = m->account,
                                         .state = m->state,
                                         .name = m->name,
                                         .uidvalidity = m->uidvalidity,
                                         .uidnext = m->uidnext,
                                         .modseq = m->modseq};
}

static int apply_old_mailbox(struct applier *ap, const struct record_mailbox *m)
{
    struct record_mailbox_state now = mailbox_state(m);

    TRY(flush_boxes(ap));
    return apply_mailbox(ap, &now);
}

static int apply_mailboxes(struct applier *ap, const struct record_mailboxes *m)
{
    TRY(flush_boxes(ap));
    for (size_t i = 0; i < m->mailboxes_count; i++)
        TRY(apply_mailbox(ap, &m->mailboxes[i]));
    return BRANT_OK;
}

static int apply_subscriptions(struct applier *ap, const struct record_subscriptions *s)
{
    for (size_t i = 0; i < s->names_count; i++) {
        const struct record_subscription *sub = &s->names[i];

        TRY(index_exec(ap->ix, INDEX_SUBSCRIPTION_PUT, INDEX_N(sub->id ? sub->id : ap->seq),
                       INDEX_N(sub->account), INDEX_N(sub->state),
                       INDEX_B(sub->state == RECORD_STATE_LIVE ? sub->name : SPAN_NONE), INDEX_N(ap->seq)));
    }
    return BRANT_OK;
}

static int account_empty(struct applier *ap, uint64_t id)
{
    for (;;) {
        uint64_t mailbox;
        int rc;

        TRY(index_query(ap->ix, INDEX_MAILBOX_OF_ACCOUNT, INDEX_N(id)));
        rc = index_row(ap->ix, INDEX_MAILBOX_OF_ACCOUNT);
        if (rc)
            return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
        mailbox = index_number(ap->ix, INDEX_MAILBOX_OF_ACCOUNT, 0);
        index_reset(ap->ix, INDEX_MAILBOX_OF_ACCOUNT);
        news(ap, mailbox, UINT64_MAX);
        TRY(mailbox_empty(ap, id, mailbox, UINT32_MAX));
        TRY(index_exec(ap->ix, INDEX_MAILBOX_DELETE, INDEX_N(mailbox)));
    }
}

static int grant_write(struct applier *ap, uint64_t account, const struct record_grant *g)
{
    return index_exec(ap->ix, INDEX_GRANT_PUT, INDEX_N(account), INDEX_N(g->kind), INDEX_B(g->name),
                      INDEX_N(g->protocols), INDEX_N(g->created_ms), INDEX_N(g->expires_ms),
                      INDEX_B(g->data));
}

static int apply_account(struct applier *ap, const struct record_account *a)
{
    uint64_t id = a->id ? a->id : ap->seq;

    TRY(flush_boxes(ap));
    TRY(index_exec(ap->ix, INDEX_GRANT_WIPE, INDEX_N(id)));
    if (a->state == RECORD_STATE_REMOVED) {
        TRY(account_empty(ap, id));
        TRY(index_exec(ap->ix, INDEX_SUBSCRIPTION_WIPE, INDEX_N(id)));
        return index_exec(ap->ix, INDEX_ACCOUNT_PUT, INDEX_N(id), INDEX_N(a->state), INDEX_B(SPAN_NONE),
                          INDEX_N(0), INDEX_N(0), INDEX_N(0), INDEX_N(0), INDEX_B(SPAN_NONE),
                          INDEX_B(SPAN_NONE), INDEX_N(0), INDEX_B(SPAN_NONE), INDEX_B(SPAN_NONE),
                          INDEX_N(ap->seq), INDEX_N(a->uidvalidity));
    }
    TRY(index_exec(ap->ix, INDEX_ACCOUNT_PUT, INDEX_N(id), INDEX_N(a->state), INDEX_B(a->address),
                   INDEX_N(a->options), INDEX_N(a->quota_bytes), INDEX_N(a->inbox ? a->inbox : id),
                   INDEX_N(a->created_ms), INDEX_B(a->verifier), INDEX_B(span_make(a->scram_salt, 16)),
                   INDEX_N(a->scram_iterations), INDEX_B(a->scram_stored_key), INDEX_B(a->scram_server_key),
                   INDEX_N(ap->seq), INDEX_N(a->uidvalidity)));
    for (size_t i = 0; i < a->grants_count; i++)
        TRY(grant_write(ap, id, &a->grants[i]));
    for (size_t i = 0; i < a->mailboxes_count; i++) {
        struct record_mailbox_state m = mailbox_state(&a->mailboxes[i]);

        m.account = id;
        TRY(mailbox_write(ap, m.id ? m.id : ap->seq, &m));
    }
    return BRANT_OK;
}

static int apply_domain(struct applier *ap, const struct record_domain *d)
{
    return index_exec(ap->ix, INDEX_DOMAIN_PUT, INDEX_N(d->id ? d->id : ap->seq), INDEX_N(d->state),
                      INDEX_B(d->state == RECORD_STATE_LIVE ? d->name : SPAN_NONE), INDEX_N(ap->seq));
}

static int apply_aliases(struct applier *ap, const struct record_alias_set *set)
{
    for (size_t i = 0; i < set->aliases_count; i++) {
        const struct record_alias *a = &set->aliases[i];
        bool live = a->state == RECORD_STATE_LIVE;

        TRY(index_exec(ap->ix, INDEX_ALIAS_PUT, INDEX_N(a->id ? a->id : ap->seq), INDEX_N(a->state),
                       INDEX_B(live ? a->address : SPAN_NONE), INDEX_B(live ? a->target : SPAN_NONE),
                       INDEX_N(ap->seq)));
    }
    return BRANT_OK;
}

static int apply_retire(struct applier *ap, const struct record_retire *r)
{
    static const enum index_statement drops[] = {
        INDEX_DROP_MESSAGE, INDEX_DROP_GONE,   INDEX_DROP_QUEUE, INDEX_DROP_MAILBOX, INDEX_DROP_SUBSCRIPTION,
        INDEX_DROP_ACCOUNT, INDEX_DROP_DOMAIN, INDEX_DROP_ALIAS, INDEX_DROP_RETIRED};

    for (size_t i = 0; i < sizeof drops / sizeof drops[0]; i++)
        TRY(index_exec(ap->ix, drops[i], INDEX_N(r->first_seq), INDEX_N(r->last_seq)));
    return index_exec(ap->ix, INDEX_RETIRED_PUT, INDEX_N(r->segment), INDEX_N(r->first_seq),
                      INDEX_N(r->last_seq), INDEX_N(ap->seq), INDEX_N(r->uidvalidity));
}

/* ---- Transactions ----------------------------------------------------------------------------------------
 */

int applier_begin(struct applier *ap)
{
    return index_simple(ap->ix, INDEX_BEGIN);
}

int applier_record(struct applier *ap, uint64_t seq, uint16_t type, uint16_t version, struct span payload,
                   const struct journal_place *place)
{
    union record rec;
    size_t fields_len;

    arena_reset(&ap->arena);
    TRY(record_decode(type, version, payload, place->length, &ap->arena, &rec, &fields_len));
    ap->seq = seq;
    ap->version = version;
    switch (type) {
    case RECORD_MESSAGE:
        return apply_message(ap, &rec.message, place);
    case RECORD_MAILBOX:
        return apply_old_mailbox(ap, &rec.mailbox);
    case RECORD_MAILBOXES:
        return apply_mailboxes(ap, &rec.mailboxes);
    case RECORD_SUBSCRIPTIONS:
        return apply_subscriptions(ap, &rec.subscriptions);
    case RECORD_ACCOUNT:
        return apply_account(ap, &rec.account);
    case RECORD_DOMAIN:
        return apply_domain(ap, &rec.domain);
    case RECORD_ALIAS:
        return apply_aliases(ap, &rec.alias_set);
    case RECORD_QUEUE:
        return apply_queue(ap, &rec.queue);
    case RECORD_RETIRE:
        return apply_retire(ap, &rec.retire);
    default:
        return apply_change(ap, type, &rec.change);
    }
}

int applier_commit(struct applier *ap, uint64_t applied_seq)
{
    TRY(flush_boxes(ap));
    TRY(flush_segments(ap));
    TRY(index_exec(ap->ix, INDEX_META_PUT, INDEX_N(INDEX_META_APPLIED), INDEX_N(applied_seq)));
    return index_simple(ap->ix, INDEX_COMMIT);
}

void applier_rollback(struct applier *ap)
{
    (void)index_simple(ap->ix, INDEX_ROLLBACK); /* SQLite may have rolled back by itself */
    memset(ap->boxes, 0, sizeof ap->boxes);
    ap->used_count = 0;
    ap->segment_count = 0;
    ap->dead_count = 0;
    ap->news.count = 0;
}
