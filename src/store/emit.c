/* Compaction's side of the writer: what an object is now, written again as a full-state record (rule 7). */
#include <stdlib.h>

#include "base/err.h"
#include "store/ops.h"

static int append(struct store *st, uint16_t type, const union record *rec)
{
    uint64_t seq;

    return writer_append(st, type, rec, NULL, 0, false, &seq);
}

static int emit_message(struct store *st, struct emit *e)
{
    union record rec = {.message = e->message};
    uint64_t seq;

    return writer_append(st, RECORD_MESSAGE, &rec, &e->blobs, 1, false, &seq);
}

/* Tombstones never change; a mailbox that went took its own along, one that is going those up to a UID. */
static int emit_gone(struct store *st, struct emit *e)
{
    const struct dir_mailbox *box = dir_mailbox(&st->dir, e->mailbox);
    union record rec = {.change = {.gone = e->gone}};

    for (size_t i = 0; box && i < e->count; i++) {
        if (e->gone[i].uid > box->removed_to)
            rec.change.gone[rec.change.gone_count++] = e->gone[i];
    }
    return rec.change.gone_count ? append(st, RECORD_ENTRIES, &rec) : BRANT_OK;
}

/* Before tombstones are forgotten: whoever asks for what they said has to be told that it is not known. */
static int emit_floors(struct store *st, struct emit *e)
{
    for (size_t i = 0; i < e->count; i++) {
        struct dir_mailbox *box = dir_mailbox(&st->dir, e->ids[i]);
        struct record_mailbox_state state;
        union record rec = {.mailboxes = {.mailboxes = &state, .mailboxes_count = 1}};
        int rc;

        if (!box || box->state != RECORD_STATE_LIVE || box->gone_floor >= e->floors[i])
            continue;
        state = ops_mailbox_state(box);
        state.gone_floor = e->floors[i];
        rc = append(st, RECORD_MAILBOXES, &rec);
        if (rc)
            return rc;
        pthread_mutex_lock(&st->dir.lock);
        box->gone_floor = e->floors[i];
        pthread_mutex_unlock(&st->dir.lock);
    }
    return BRANT_OK;
}

static int emit_entries(struct store *st, struct emit *e)
{
    struct dir_mailbox *box = dir_mailbox(&st->dir, e->mailbox);
    union record rec = {0};

    if (!box)
        return BRANT_OK;
    if (ops_box_ready(st, &e->op, box))
        return BRANT_ETRYLATER;
    rec.change.entries = arena_array(&st->writer_arena, e->count, sizeof *rec.change.entries);
    rec.change.saved = arena_array(&st->writer_arena, e->count, sizeof *rec.change.saved);
    for (size_t i = 0; i < e->count; i++) {
        struct index_entry row;
        int rc = index_entry(st->writer_ix, box->id, e->uids[i], &row);

        if (rc && rc != BRANT_ENOTFOUND)
            return rc;
        if (!rc && row.rec_seq >= e->segment_first && row.rec_seq <= e->segment_last) {
            rec.change.saved[rec.change.saved_count++].time_ms = row.saved_ms;
            rec.change.entries[rec.change.entries_count++] = ops_entry(box, &row);
        }
    }
    return rec.change.entries_count ? append(st, RECORD_ENTRIES, &rec) : BRANT_OK;
}

static int emit_queue(struct store *st, struct emit *e)
{
    union record rec = {.queue = {.rows = arena_array(&st->writer_arena, e->count, sizeof *rec.queue.rows)}};

    for (size_t i = 0; i < e->count; i++) {
        struct index_queued row;
        int rc = ops_queue_row(st, e->ids[i], e->uids[i], &row);

        if (rc && rc != BRANT_ENOTFOUND)
            return rc;
        /* What has changed since stands further on. */
        if (!rc && row.rec_seq >= e->segment_first && row.rec_seq <= e->segment_last)
            rec.queue.rows[rec.queue.rows_count++] = ops_queue_state(&row);
    }
    return rec.queue.rows_count ? append(st, RECORD_QUEUE, &rec) : BRANT_OK;
}

static int emit_mailboxes(struct store *st, struct emit *e)
{
    for (size_t i = 0; i < e->count; i++) {
        const struct dir_mailbox *box = dir_mailbox(&st->dir, e->ids[i]);
        struct record_mailbox_state state = {.id = e->ids[i],
                                             .account = e->accounts[i],
                                             .state = RECORD_STATE_REMOVED,
                                             .uidvalidity = st->dir.uidvalidity_last};
        union record rec = {.mailboxes = {.mailboxes = &state, .mailboxes_count = 1}};
        int rc;

        if (box)
            state = ops_mailbox_state(box);
        else if (e->states[i] != RECORD_STATE_REMOVED || !dir_account(&st->dir, e->accounts[i]))
            continue; /* it went with its account */
        rc = append(st, RECORD_MAILBOXES, &rec);
        if (rc)
            return rc;
    }
    return BRANT_OK;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* The living ones of an account among those asked for get their names. */
static void subscriptions_of(const struct dir_account *a, const struct emit *e,
                             struct record_subscription *names)
{
    for (size_t i = 0; i < a->sub_count; i++) {
        const struct dir_subscription *sub = a->subs[i];
        const uint64_t *at = bsearch(&sub->id, e->ids, e->count, sizeof *e->ids, compare_ids);

        if (at) {
            names[at - e->ids].state = RECORD_STATE_LIVE;
            names[at - e->ids].name = span_str(sub->name);
        }
    }
}

static int emit_subscriptions(struct store *st, struct emit *e)
{
    struct record_subscription *names = arena_array(&st->writer_arena, e->count, sizeof *names);
    union record rec = {.subscriptions = {.names = names}};

    for (size_t i = 0; i < e->count; i++)
        names[i] = (struct record_subscription){
            .id = e->ids[i], .account = e->accounts[i], .state = RECORD_STATE_REMOVED};
    for (size_t i = 0; i < e->count; i++) {
        const struct dir_account *a = dir_account(&st->dir, e->accounts[i]);
        bool looked = false;

        for (size_t k = 0; k < i && !looked; k++)
            looked = e->accounts[k] == e->accounts[i];
        if (a && !looked)
            subscriptions_of(a, e, names);
    }
    /* Those of an account that went have gone with it. */
    for (size_t i = 0; i < e->count; i++) {
        if (dir_account(&st->dir, names[i].account))
            names[rec.subscriptions.names_count++] = names[i];
    }
    return rec.subscriptions.names_count ? append(st, RECORD_SUBSCRIPTIONS, &rec) : BRANT_OK;
}

static int emit_accounts(struct store *st, struct emit *e)
{
    for (size_t i = 0; i < e->count; i++) {
        const struct dir_account *a = dir_account(&st->dir, e->ids[i]);
        union record rec = {.account = {.id = e->ids[i],
                                        .state = RECORD_STATE_REMOVED,
                                        .uidvalidity = st->dir.uidvalidity_last}};
        int rc;

        if (a)
            rec.account = ops_account(st, a);
        rc = append(st, RECORD_ACCOUNT, &rec);
        if (rc)
            return rc;
    }
    return BRANT_OK;
}

static struct dir_domain *domain_by_id(struct store *st, uint64_t id)
{
    struct map_iter it = map_iterate(&st->dir.domains);
    struct dir_domain *d;

    while ((d = map_next(&it, NULL))) {
        if (d->id == id)
            return d;
    }
    return NULL;
}

static int emit_domains(struct store *st, struct emit *e)
{
    for (size_t i = 0; i < e->count; i++) {
        const struct dir_domain *d = domain_by_id(st, e->ids[i]);
        union record rec = {.domain = {.id = e->ids[i]}};
        int rc;

        if (d)
            rec.domain.name = span_str(d->name);
        else
            rec.domain.state = RECORD_STATE_REMOVED;
        rc = append(st, RECORD_DOMAIN, &rec);
        if (rc)
            return rc;
    }
    return BRANT_OK;
}

static int emit_aliases(struct store *st, struct emit *e)
{
    struct map_iter it = map_iterate(&st->dir.names);
    union record rec = {.alias_set = {.aliases_count = (uint32_t)e->count}};
    struct record_alias *aliases = arena_array(&st->writer_arena, e->count, sizeof *aliases);
    struct dir_name *n;

    for (size_t i = 0; i < e->count; i++)
        aliases[i] = (struct record_alias){.id = e->ids[i], .state = RECORD_STATE_REMOVED};
    while ((n = map_next(&it, NULL))) {
        for (const struct dir_alias *a = n->aliases; a; a = a->next) {
            const uint64_t *at = bsearch(&a->id, e->ids, e->count, sizeof *e->ids, compare_ids);

            if (at)
                aliases[at - e->ids] = (struct record_alias){
                    .id = a->id, .address = span_str(n->address), .target = span_str(a->target)};
        }
    }
    rec.alias_set.aliases = aliases;
    return append(st, RECORD_ALIAS, &rec);
}

static int emit_retire(struct store *st, struct emit *e)
{
    union record rec = {.retire = e->retire};
    uint64_t seq;

    rec.retire.uidvalidity = st->dir.uidvalidity_last; /* of those that are forgotten now, too */
    return writer_append(st, RECORD_RETIRE, &rec, NULL, 0, true, &seq);
}

static int emit_roll(struct store *st)
{
    int rc = journal_roll(st->journal);

    if (rc == BRANT_EIO)
        atomic_store(&st->dead, true);
    return rc;
}

static int emit(struct store *st, struct emit *e)
{
    switch (e->kind) {
    case EMIT_MESSAGE:
        return emit_message(st, e);
    case EMIT_GONE:
        return emit_gone(st, e);
    case EMIT_FLOOR:
        return emit_floors(st, e);
    case EMIT_ENTRIES:
        return emit_entries(st, e);
    case EMIT_QUEUE:
        return emit_queue(st, e);
    case EMIT_MAILBOX:
        return emit_mailboxes(st, e);
    case EMIT_SUBSCRIPTION:
        return emit_subscriptions(st, e);
    case EMIT_ACCOUNT:
        return emit_accounts(st, e);
    case EMIT_DOMAIN:
        return emit_domains(st, e);
    case EMIT_ALIAS:
        return emit_aliases(st, e);
    case EMIT_ROLL:
        return emit_roll(st);
    default:
        return emit_retire(st, e);
    }
}

int ops_emit(struct store *st, struct emit *e)
{
    int rc = emit(st, e);

    if (rc == BRANT_ETRYLATER && e->op.parked)
        return rc;
    e->op.result = rc;
    return BRANT_OK;
}
