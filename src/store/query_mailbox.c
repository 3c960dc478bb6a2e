/* Mailboxes: what their heads say of them. */
#include <assert.h>
#include <string.h>

#include "base/err.h"
#include "store/query.h"

int store_mailbox_get(struct store_reader *r, uint64_t account, uint64_t mailbox,
                      struct store_mailbox_info *ret)
{
    struct store_mailbox_info info;
    int rc = query_box(r, account, mailbox, &info);

    if (!rc)
        *ret = info;
    return rc;
}

int store_mailbox_find(struct store_reader *r, uint64_t account, struct span name,
                       struct store_mailbox_info *ret)
{
    struct store *st = r->st;
    struct dir_account *a;
    struct dir_mailbox *box = NULL;
    struct store_mailbox_info info;
    uint64_t seq = 0;
    int rc;

    pthread_mutex_lock(&st->dir.lock);
    a = dir_account(&st->dir, account);
    if (a && a->state == RECORD_STATE_LIVE)
        box = dir_box_named(a, name);
    if (box) {
        seq = a->last_seq;
        query_box_info(box, &info);
    }
    pthread_mutex_unlock(&st->dir.lock);
    if (!box)
        return BRANT_ENOTFOUND;
    rc = store_wait_applied(st, seq);
    if (!rc)
        *ret = info;
    return rc;
}

int store_keywords_get(struct store_reader *r, uint64_t account, uint64_t mailbox,
                       char ret[STORE_KEYWORDS_TEXT_MAX + 1], size_t *ret_count)
{
    struct store *st = r->st;
    struct store_mailbox_info info;
    struct dir_mailbox *box;
    int rc = query_box(r, account, mailbox, &info);

    if (rc)
        return rc;
    pthread_mutex_lock(&st->dir.lock);
    box = dir_mailbox(&st->dir, info.mailbox);
    if (box) {
        const char *text = box->keywords ? box->keywords : "";
        size_t len = strlen(text);

        assert(len <= STORE_KEYWORDS_TEXT_MAX);
        memcpy(ret, text, len + 1);
        *ret_count = len > 0;
        for (size_t i = 0; i < len; i++)
            *ret_count += text[i] == ' ';
    }
    pthread_mutex_unlock(&st->dir.lock);
    return box ? BRANT_OK : BRANT_ENOTFOUND;
}

/* ---- The list
 * ----------------------------------------------------------------------------------------------------------------
 * Mailboxes and subscribed names lie in the same order: they are merged. */

struct listing {
    const struct dir_account *a;
    struct arena *arena;
    struct store_mailbox_row *rows;
    size_t max, count;
    size_t box, sub; /* the next ones */
};

static bool list_row(struct listing *l, const struct dir_mailbox *box, const char *name, bool subscribed)
{
    struct store_mailbox_row *row = &l->rows[l->count];

    *row = (struct store_mailbox_row){
        .name = arena_dup(l->arena, span_str(name)), .exists = box != NULL, .subscribed = subscribed};
    if (!row->name.p)
        return false;
    if (box)
        query_box_info(box, &row->info);
    l->count++;
    return true;
}

/* Under dir.lock. */
static int list_rows(struct listing *l)
{
    while (l->count < l->max && (l->box < l->a->box_count || l->sub < l->a->sub_count)) {
        const struct dir_mailbox *box = l->box < l->a->box_count ? l->a->boxes[l->box] : NULL;
        const struct dir_subscription *sub = l->sub < l->a->sub_count ? l->a->subs[l->sub] : NULL;
        int order = !box ? 1 : !sub ? -1 : dir_name_cmp(span_str(box->name), span_str(sub->name));

        if (!list_row(l, order <= 0 ? box : NULL, order <= 0 ? box->name : sub->name, order >= 0))
            return BRANT_ELIMIT;
        l->box += order <= 0;
        l->sub += order >= 0;
    }
    return BRANT_OK;
}

static void list_behind(struct listing *l, struct span after)
{
    l->box = dir_boxes_from(l->a, after);
    l->sub = dir_subs_from(l->a, after);
    if (!after.len)
        return;
    if (l->box < l->a->box_count && span_eq_str(after, l->a->boxes[l->box]->name))
        l->box++;
    if (l->sub < l->a->sub_count && span_eq_str(after, l->a->subs[l->sub]->name))
        l->sub++;
}

int store_mailboxes_list(struct store_reader *r, uint64_t account, struct span after, struct arena *arena,
                         struct store_mailbox_row *ret, size_t max, size_t *ret_count)
{
    struct store *st = r->st;
    struct listing l = {.arena = arena, .rows = ret, .max = max};
    uint64_t seq = 0;
    int rc = BRANT_ENOTFOUND;

    pthread_mutex_lock(&st->dir.lock);
    l.a = dir_account(&st->dir, account);
    if (l.a && l.a->state == RECORD_STATE_LIVE) {
        seq = l.a->last_seq;
        list_behind(&l, after);
        rc = list_rows(&l);
    }
    pthread_mutex_unlock(&st->dir.lock);
    if (!rc)
        rc = store_wait_applied(st, seq);
    if (!rc)
        *ret_count = l.count;
    return rc;
}

/* ---- \Seen
 * -------------------------------------------------------------------------------------------------------------
 * The head remembers up to where there are none without it. Only taking \Seen away makes that wrong, and the
 * writer then takes it back (dir_mailbox_unseen); new messages come behind it. */

static uint32_t unseen_known(struct store *st, uint64_t mailbox, uint32_t *ret_turn)
{
    struct dir_mailbox *box;
    uint32_t from = 0;

    pthread_mutex_lock(&st->dir.lock);
    box = dir_mailbox(&st->dir, mailbox);
    if (box) {
        from = box->unseen_from;
        *ret_turn = box->unseen_turn;
    }
    pthread_mutex_unlock(&st->dir.lock);
    return from;
}

static void unseen_learn(struct store *st, uint64_t mailbox, uint32_t turn, uint32_t from)
{
    struct dir_mailbox *box;

    pthread_mutex_lock(&st->dir.lock);
    box = dir_mailbox(&st->dir, mailbox);
    if (box && box->unseen_turn == turn && box->unseen_from < from)
        box->unseen_from = from;
    pthread_mutex_unlock(&st->dir.lock);
}

static int first(struct store_reader *r, enum index_statement s, uint64_t mailbox, uint32_t from,
                 uint32_t last, uint32_t *ret_uid)
{
    int rc = s == INDEX_ENTRY_NEXT ? index_query(r->ix, s, INDEX_N(mailbox), INDEX_N(from))
                                   : index_query(r->ix, s, INDEX_N(mailbox), INDEX_N(from), INDEX_N(last));

    if (!rc)
        rc = index_row(r->ix, s);
    if (!rc)
        *ret_uid = (uint32_t)index_number(r->ix, s, 0);
    index_reset(r->ix, s);
    return rc;
}

/* Piece by piece, each a transaction of its own. */
static int first_unseen(struct store_reader *r, uint64_t mailbox, uint32_t uidnext, uint32_t from,
                        uint32_t turn, uint32_t *ret_uid)
{
    for (;;) {
        uint32_t last;
        int rc = first(r, INDEX_ENTRY_NEXT, mailbox, from, 0, &from);

        if (rc)
            return rc;
        last = from > UINT32_MAX - r->uids_max ? UINT32_MAX : from + r->uids_max - 1;
        rc = first(r, INDEX_ENTRY_UNSEEN, mailbox, from, last, ret_uid);
        if (rc != BRANT_ENOTFOUND) {
            if (!rc)
                unseen_learn(r->st, mailbox, turn, *ret_uid);
            return rc;
        }
        if (last == UINT32_MAX)
            return BRANT_ENOTFOUND;
        from = last + 1;
        unseen_learn(r->st, mailbox, turn, from < uidnext ? from : uidnext);
    }
}

int store_first_unseen(struct store_reader *r, uint64_t account, uint64_t mailbox, uint32_t *ret_uid)
{
    struct store_mailbox_info info;
    uint32_t from = 0, turn = 0, uid = 0;
    int rc = query_box(r, account, mailbox, &info);

    if (!rc && info.unseen) {
        from = unseen_known(r->st, info.mailbox, &turn);
        rc = query_box(r, account, info.mailbox, &info); /* what took it back until now is applied */
    }
    if (rc)
        return rc;
    rc = info.unseen ? first_unseen(r, info.mailbox, info.uidnext, from, turn, &uid) : BRANT_OK;
    if (rc && rc != BRANT_ENOTFOUND)
        return rc;
    *ret_uid = uid;
    return BRANT_OK;
}

/* ---- \Recent
 * -------------------------------------------------------------------------------------------------------------
 */

int store_recent_claim(struct store_reader *r, uint64_t account, uint64_t mailbox, uint32_t *ret_from)
{
    struct store *st = r->st;
    struct store_mailbox_info info;
    struct dir_mailbox *box;
    int rc = query_box(r, account, mailbox, &info);

    if (rc)
        return rc;
    pthread_mutex_lock(&st->dir.lock);
    box = dir_mailbox(&st->dir, info.mailbox);
    *ret_from = box && box->recent_from < box->uidnext ? box->recent_from : 0;
    if (box) {
        box->recent_from = box->uidnext;
        box->recent = 0;
    }
    pthread_mutex_unlock(&st->dir.lock);
    return box ? BRANT_OK : BRANT_ENOTFOUND;
}
