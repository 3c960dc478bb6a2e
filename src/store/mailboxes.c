/* The heads of mailboxes and of the names that accounts have subscribed to. Both are arrays in the order of
 * their names, so that ten thousand of them are found and listed as quickly as ten. */
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/state.h"

enum { HIERARCHY = '/' };

int dir_name_cmp(struct span a, struct span b)
{
    size_t common = a.len < b.len ? a.len : b.len;

    for (size_t i = 0; i < common; i++) {
        int x = a.p[i] == HIERARCHY ? -1 : a.p[i], y = b.p[i] == HIERARCHY ? -1 : b.p[i];

        if (x != y)
            return x < y ? -1 : 1;
    }
    return (a.len > b.len) - (a.len < b.len);
}

size_t dir_boxes_from(const struct dir_account *a, struct span name)
{
    size_t low = 0, high = a->box_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (dir_name_cmp(span_str(a->boxes[middle]->name), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t dir_subs_from(const struct dir_account *a, struct span name)
{
    size_t low = 0, high = a->sub_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (dir_name_cmp(span_str(a->subs[middle]->name), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct dir_mailbox *dir_box_named(const struct dir_account *a, struct span name)
{
    size_t at = dir_boxes_from(a, name);

    return at < a->box_count && span_eq_str(name, a->boxes[at]->name) ? a->boxes[at] : NULL;
}

struct dir_subscription *dir_subscription(const struct dir_account *a, struct span name)
{
    size_t at = dir_subs_from(a, name);

    return at < a->sub_count && span_eq_str(name, a->subs[at]->name) ? a->subs[at] : NULL;
}

size_t dir_names_count(const struct dir_account *a)
{
    size_t count = a->box_count, at = 0;

    for (size_t i = 0; i < a->sub_count; i++) {
        struct span name = span_str(a->subs[i]->name);
        int rc = 1;

        while (at < a->box_count && (rc = dir_name_cmp(span_str(a->boxes[at]->name), name)) < 0)
            at++;
        count += at == a->box_count || rc != 0;
    }
    return count;
}

/* Room for one more pointer at that place. */
static void *insert(void *list, size_t *count, size_t *cap, size_t at)
{
    void **pointers = list;

    if (*count == *cap) {
        *cap = *cap ? *cap * 2 : 8;
        pointers = mem_regrow(pointers, *cap, sizeof *pointers);
    }
    memmove(&pointers[at + 1], &pointers[at], (*count - at) * sizeof *pointers);
    ++*count;
    return pointers;
}

static char *dup(struct span text)
{
    char *s = mem_zalloc(text.len + 1);

    if (text.len)
        memcpy(s, text.p, text.len);
    return s;
}

static void box_insert(struct dir_mailbox *box)
{
    struct dir_account *a = box->account;
    size_t at = dir_boxes_from(a, span_str(box->name));

    a->boxes = insert(a->boxes, &a->box_count, &a->box_cap, at);
    a->boxes[at] = box;
}

static void box_remove(struct dir_mailbox *box)
{
    struct dir_account *a = box->account;
    size_t at = dir_boxes_from(a, span_str(box->name));

    /* A damaged journal may have left two of the same name. */
    while (a->boxes[at] != box)
        at++;
    a->box_count--;
    memmove(&a->boxes[at], &a->boxes[at + 1], (a->box_count - at) * sizeof(struct dir_mailbox *));
}

static void box_free(struct dir_mailbox *box)
{
    free(box->name);
    free(box->keywords);
    free(box);
}

/* What a record says and the name does not. */
static void box_set(struct directory *d, struct dir_mailbox *box, const struct record_mailbox_state *rec)
{
    char *keywords = rec->keywords.len ? dup(rec->keywords) : NULL;

    free(box->keywords);
    box->keywords = keywords;
    box->uidvalidity = rec->uidvalidity;
    box->uidnext = rec->uidnext;
    box->modseq = rec->modseq;
    box->gone_floor = rec->gone_floor;
    box->uses = rec->uses;
    box->removed_to = rec->removed_to;
    if (d->uidvalidity_last < rec->uidvalidity)
        d->uidvalidity_last = rec->uidvalidity;
}

struct dir_mailbox *dir_mailbox_put(struct directory *d, struct dir_account *a, uint64_t id,
                                    const struct record_mailbox_state *rec)
{
    struct dir_mailbox *box = dir_mailbox(d, id);

    if (!box) {
        box = mem_zalloc(sizeof *box);
        box->id = id;
        box->account = a;
        box->state = rec->state;
        box->recent_from = rec->uidnext;
        box->name = dup(rec->state == RECORD_STATE_LIVE ? rec->name : SPAN_NONE);
        map_put(&d->mailboxes, map_u64_key(&id), box);
        if (rec->state == RECORD_STATE_LIVE) {
            box_insert(box);
        } else {
            box->next = a->removing;
            a->removing = box;
        }
    }
    box_set(d, box, rec);
    return box;
}

void dir_mailbox_rename(struct dir_mailbox *box, struct span name)
{
    char *old = box->name;

    box->name = dup(name);
    free(old);
}

void dir_mailbox_unseen(struct dir_mailbox *box, uint32_t uid)
{
    box->unseen_turn++;
    if (box->unseen_from > uid)
        box->unseen_from = uid;
}

static int compare_boxes(const void *a, const void *b)
{
    const struct dir_mailbox *const *x = a, *const *y = b;

    return dir_name_cmp(span_str((*x)->name), span_str((*y)->name));
}

void dir_boxes_sort(struct dir_account *a)
{
    qsort(a->boxes, a->box_count, sizeof(struct dir_mailbox *), compare_boxes);
}

void dir_mailbox_detach(struct dir_mailbox *box)
{
    struct dir_account *a = box->account;

    box_remove(box);
    box->state = RECORD_STATE_REMOVING;
    box->name[0] = '\0';
    free(box->keywords);
    box->keywords = NULL;
    box->uses = 0;
    box->next = a->removing;
    a->removing = box;
}

void dir_mailbox_drop(struct directory *d, struct dir_mailbox *box)
{
    struct dir_mailbox **place = &box->account->removing;

    while (*place != box)
        place = &(*place)->next;
    *place = box->next;
    map_remove(&d->mailboxes, map_u64_key(&box->id));
    box_free(box);
}

void dir_mailboxes_drop(struct directory *d, struct dir_account *a)
{
    struct dir_mailbox *box;

    for (size_t i = 0; i < a->box_count; i++) {
        map_remove(&d->mailboxes, map_u64_key(&a->boxes[i]->id));
        box_free(a->boxes[i]);
    }
    while ((box = a->removing)) {
        a->removing = box->next;
        map_remove(&d->mailboxes, map_u64_key(&box->id));
        box_free(box);
    }
    for (size_t i = 0; i < a->sub_count; i++)
        free(a->subs[i]);
    free(a->boxes);
    free(a->subs);
    a->boxes = NULL;
    a->subs = NULL;
    a->box_count = a->box_cap = a->sub_count = a->sub_cap = 0;
}

struct dir_subscription *dir_subscription_put(struct dir_account *a, uint64_t id, struct span name)
{
    struct dir_subscription *sub = mem_zalloc(sizeof *sub + name.len + 1);
    size_t at = dir_subs_from(a, name);

    sub->id = id;
    memcpy(sub->name, name.p, name.len);
    a->subs = insert(a->subs, &a->sub_count, &a->sub_cap, at);
    a->subs[at] = sub;
    return sub;
}

void dir_subscription_drop(struct dir_account *a, struct dir_subscription *sub)
{
    size_t at = dir_subs_from(a, span_str(sub->name));

    while (a->subs[at] != sub)
        at++;
    a->sub_count--;
    memmove(&a->subs[at], &a->subs[at + 1], (a->sub_count - at) * sizeof(struct dir_subscription *));
    free(sub);
}

/* ---- Loading
 * ------------------------------------------------------------------------------------------------- */

static int load_boxes(struct directory *d, struct index *ix)
{
    enum index_statement s = INDEX_MAILBOX_LIST;
    int rc = index_bind(ix, s, NULL, 0);

    while (!rc && !(rc = index_row(ix, s))) {
        struct dir_account *a = dir_account(d, index_number(ix, s, 1));
        struct record_mailbox_state rec = {
            .state = (uint8_t)index_number(ix, s, 2),
            .name = index_bytes(ix, s, 3),
            .uidvalidity = (uint32_t)index_number(ix, s, 4),
            .uidnext = (uint32_t)index_number(ix, s, 5),
            .modseq = index_number(ix, s, 6),
            .keywords = index_bytes(ix, s, 7),
            .uses = (uint32_t)index_number(ix, s, 13),
            .gone_floor = index_number(ix, s, 14),
            .removed_to = (uint32_t)index_number(ix, s, 15),
        };
        struct dir_mailbox *box;

        if (!a)
            continue;
        box = dir_mailbox_put(d, a, index_number(ix, s, 0), &rec);
        box->last_seq = box->change_seq = index_number(ix, s, 8);
        box->messages = index_number(ix, s, 9);
        box->bytes = index_number(ix, s, 10);
        box->unseen = index_number(ix, s, 11);
        box->deleted = index_number(ix, s, 12);
        a->messages += box->messages;
        a->used_bytes += box->bytes;
        if (a->last_seq < box->last_seq)
            a->last_seq = box->last_seq;
    }
    return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
}

static int load_subscriptions(struct directory *d, struct index *ix)
{
    enum index_statement s = INDEX_SUBSCRIPTION_LIST;
    int rc = index_bind(ix, s, NULL, 0);

    while (!rc && !(rc = index_row(ix, s))) {
        struct dir_account *a = dir_account(d, index_number(ix, s, 1));
        struct span name = index_bytes(ix, s, 2);

        if (a && name.len)
            (void)dir_subscription_put(a, index_number(ix, s, 0), name);
    }
    return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
}

static int load_uidvalidity(struct directory *d, struct index *ix)
{
    int rc = index_bind(ix, INDEX_UIDVALIDITY, NULL, 0);

    if (!rc)
        rc = index_row(ix, INDEX_UIDVALIDITY);
    if (rc)
        return rc;
    d->uidvalidity_last = (uint32_t)index_number(ix, INDEX_UIDVALIDITY, 0);
    index_reset(ix, INDEX_UIDVALIDITY);
    return BRANT_OK;
}

int dir_load_mailboxes(struct directory *d, struct index *ix)
{
    int rc = load_boxes(d, ix);

    if (!rc)
        rc = load_subscriptions(d, ix);
    return rc ? rc : load_uidvalidity(d, ix);
}
