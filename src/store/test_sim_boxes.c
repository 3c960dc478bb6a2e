/* Mailboxes on a simulated disk, with crashes: seeded, single-threaded, against a model.
 *
 * One account, whose mailboxes are made, renamed and deleted while messages are appended, flagged, copied,
 * moved and expunged. What was answered is there to the letter: names, subscriptions, UIDs, MODSEQ, flags,
 * keywords, bytes. What was not answered is there wholly or not at all. The index equals one made anew.
 *
 *   SIM_SEEDS, SIM_FIRST, SIM_SEED, SIM_LOG as in test_sim.c */
#include <stdio.h>
#include <stdlib.h>

#include "store/keywords.h"
#include "store/testing.h"

enum { SLOTS = 8, ITEMS = 48, KEYS = 4, APPENDS = 4, RANGES = 4, FLIGHT = 3, ROUNDS = 60, MESSAGES = 2000 };

/* "/" below all others: in this order they are listed. */
static const char *const slot_names[SLOTS] = {"INBOX", "INBOX/x", "a", "a/b", "a/b/c", "b", "b/c", "c"};
static const char *const key_names[KEYS] = {"$Junk", "todo", "$MDNSent", "x"};

struct item {
    uint32_t uid, number;
    uint64_t flags; /* keywords by their place in key_names */
    uint64_t modseq;
};

struct box {
    bool exists;
    uint64_t id, modseq;
    uint32_t uidnext, uidvalidity;
    size_t count;
    struct item items[ITEMS];
};

struct world {
    struct box boxes[SLOTS];
    bool subscribed[SLOTS];
};

struct flight {
    struct store_op op;
    bool answered;
    int want;       /* the result */
    unsigned slots; /* bit by bit: which it may change */
    unsigned moved; /* … those that change together or not at all */
    struct world after;
    struct store_range ranges[RANGES], touched[ITEMS], modified[ITEMS], want_touched[ITEMS],
        want_modified[ITEMS];
    size_t want_touched_count, want_modified_count;
    struct store_appended appended[APPENDS];
    struct span keys[KEYS];
    struct store_rcpt rcpt;
    struct span prefix;
};

struct sim {
    struct bench b;
    uint64_t seed, random, account;
    bool log, torn;
    bool full; /* in this round the disk was */
    struct world now;
    uint32_t numbers, uidvalidity;
    struct flight flights[FLIGHT];
    size_t flying;
    const char *failure;
    unsigned crashes, refused; /* … for want of room */
};

static uint64_t rnd(struct sim *s, uint64_t below)
{
    s->random = s->random * 6364136223846793005u + 1442695040888963407u;
    return (s->random >> 33) % below;
}

static bool failed(struct sim *s, const char *why)
{
    if (!s->failure)
        s->failure = why;
    return false;
}

/* ---- Operations, and what they do to the model
 * ------------------------------------------------------------------------------------- */

static void flown(struct store_op *op)
{
    ((struct flight *)op->ctx)->answered = true;
}

static struct flight *fly(struct sim *s, enum store_op_kind kind, unsigned slots)
{
    struct flight *f = &s->flights[s->flying++];

    memset(f, 0, sizeof *f);
    f->op = (struct store_op){.kind = kind, .done = flown, .ctx = f};
    f->slots = slots;
    f->after = s->now;
    return f;
}

static uint32_t size_of(uint32_t number)
{
    return 8 + number * 7919 % (number % 5 ? 600 : 7000);
}

static struct store_body *body_of(struct sim *s, uint32_t number)
{
    static uint8_t bytes[8192];

    (void)snprintf((char *)bytes, sizeof bytes, "%08u", number);
    for (uint32_t i = 8; i < size_of(number); i++)
        bytes[i] = (uint8_t)(number * 31 + i * 7);
    return bench_body(&s->b, span_make(bytes, size_of(number)));
}

/* The next message of a mailbox. Every item of one operation has its MODSEQ. */
static void put_item(struct box *box, uint32_t number, uint64_t flags)
{
    box->items[box->count++] = (struct item){box->uidnext++, number, flags, box->modseq};
}

static void lost_disk(struct flight *f)
{
    f->answered = true;
    f->op.result = BRANT_EIO;
}

static void fly_commit(struct sim *s)
{
    struct flight *f;
    struct box *box;
    uint32_t number = s->numbers + 1;

    if (number >= MESSAGES || s->now.boxes[0].count == ITEMS)
        return;
    f = fly(s, STORE_OP_COMMIT, 1);
    box = &f->after.boxes[0];
    box->modseq++;
    put_item(box, ++s->numbers, 0);
    f->rcpt.address = SPAN_LIT("u@sim.test");
    f->prefix = SPAN_NONE;
    f->op.commit = (struct store_commit){.prefixes = &f->prefix,
                                         .prefix_count = 1,
                                         .rcpts = &f->rcpt,
                                         .rcpt_count = 1,
                                         .body = body_of(s, number)};
    memcpy(f->op.commit.id, &number, sizeof number);
    f->op.commit.id[15] = 1;
    if (!f->op.commit.body)
        lost_disk(f);
}

/* Some keywords by name, and the same as bits of the model. */
static uint64_t pick_keys(struct sim *s, struct flight *f, struct store_keyword_list *list)
{
    uint64_t bits = 0;

    list->names = f->keys;
    for (size_t i = 0; i < KEYS; i++) {
        f->keys[i] = span_str(key_names[i]);
    }
    list->count = (size_t)rnd(s, KEYS + 1);
    for (size_t i = 0; i < list->count; i++)
        bits |= (uint64_t)1 << (STORE_KEYWORD_SHIFT + i);
    return bits;
}

static void fly_append(struct sim *s, unsigned slot)
{
    size_t count = 1 + (size_t)rnd(s, APPENDS);
    struct box *box;
    struct flight *f;

    if (s->numbers + count >= MESSAGES || s->now.boxes[slot].count + count > ITEMS)
        return;
    f = fly(s, STORE_OP_APPEND, 1u << slot);
    box = &f->after.boxes[slot];
    f->op.append = (struct store_append){
        .account = s->account, .mailbox = box->id, .messages = f->appended, .count = count};
    box->modseq++;
    for (size_t i = 0; i < count; i++) {
        struct store_appended *m = &f->appended[i];
        uint64_t keys = rnd(s, 3) ? 0 : pick_keys(s, f, &m->keywords);

        m->flags = rnd(s, 32);
        put_item(box, ++s->numbers, m->flags | keys);
        m->body = body_of(s, s->numbers);
        if (!m->body)
            lost_disk(f);
    }
    if (f->op.result) {
        for (size_t i = 0; i < count; i++)
            store_body_free(f->appended[i].body);
    }
}

static void pick_ranges(struct sim *s, struct flight *f, const struct box *box)
{
    struct store_change *c = &f->op.change;
    uint32_t at = 1 + (uint32_t)rnd(s, box->uidnext);

    if (rnd(s, 4) == 0) {
        f->ranges[0] = (struct store_range){1, UINT32_MAX};
        c->range_count = 1;
    } else {
        for (c->range_count = 0; c->range_count < 1 + at % RANGES; c->range_count++) {
            f->ranges[c->range_count].first = at;
            at += (uint32_t)rnd(s, 4);
            f->ranges[c->range_count].last = at;
            at += 1 + (uint32_t)rnd(s, 5);
        }
    }
    c->account = s->account;
    c->mailbox = box->id;
    c->ranges = f->ranges;
    c->touched = (struct store_range_list){.r = f->touched, .max = ITEMS};
    c->modified = (struct store_range_list){.r = f->modified, .max = ITEMS};
    if (f->op.kind != STORE_OP_FLAGS)
        c->flags_all = rnd(s, 2) ? STORE_FLAG_DELETED : 0;
}

static bool picked(const struct flight *f, const struct item *item)
{
    const struct store_change *c = &f->op.change;

    for (size_t i = 0; i < c->range_count; i++) {
        if (item->uid >= c->ranges[i].first && item->uid <= c->ranges[i].last)
            return (item->flags & c->flags_all) == c->flags_all;
    }
    return false;
}

static void want(struct store_range *list, size_t *count, uint32_t uid)
{
    if (*count && list[*count - 1].last + 1 == uid)
        list[*count - 1].last = uid;
    else
        list[(*count)++] = (struct store_range){uid, uid};
}

static void want_touched(struct flight *f, uint32_t uid)
{
    want(f->want_touched, &f->want_touched_count, uid);
}

static void fly_flags(struct sim *s, unsigned slot)
{
    struct flight *f = fly(s, STORE_OP_FLAGS, 1u << slot);
    struct box *box = &f->after.boxes[slot];
    struct store_change *c = &f->op.change;
    uint64_t keys, flags;

    pick_ranges(s, f, box);
    c->action = (uint8_t)rnd(s, 3);
    c->flags = rnd(s, 32);
    keys = rnd(s, 2) ? pick_keys(s, f, &c->keywords) : 0;
    flags = c->flags | keys;
    if (rnd(s, 4) == 0) {
        c->has_unchanged_since = true;
        c->unchanged_since = rnd(s, box->modseq + 2);
    }
    for (size_t i = 0; i < box->count; i++) {
        struct item *item = &box->items[i];
        uint64_t now = c->action == STORE_FLAGS_ADD      ? item->flags | flags
                       : c->action == STORE_FLAGS_REMOVE ? item->flags & ~flags
                                                         : flags;

        if (!picked(f, item))
            continue;
        if (c->has_unchanged_since && item->modseq > c->unchanged_since) {
            want(f->want_modified, &f->want_modified_count, item->uid);
        } else if (now != item->flags) {
            item->flags = now;
            item->modseq = box->modseq + 1;
            want_touched(f, item->uid);
        }
    }
    box->modseq += f->want_touched_count > 0;
}

static void fly_expunge(struct sim *s, unsigned slot)
{
    struct flight *f = fly(s, STORE_OP_EXPUNGE, 1u << slot);
    struct box *box = &f->after.boxes[slot];
    size_t kept = 0;

    pick_ranges(s, f, box);
    for (size_t i = 0; i < box->count; i++) {
        if (picked(f, &box->items[i]))
            want_touched(f, box->items[i].uid);
        else
            box->items[kept++] = box->items[i];
    }
    box->count = kept;
    box->modseq += f->want_touched_count > 0;
}

static void fly_copy(struct sim *s, unsigned slot, unsigned to_slot)
{
    bool moves = slot != to_slot && rnd(s, 2);
    const struct box *from = &s->now.boxes[slot];
    struct flight *f = fly(s, moves ? STORE_OP_MOVE : STORE_OP_COPY, 1u << slot | 1u << to_slot);
    struct box *box = &f->after.boxes[slot], *to = &f->after.boxes[to_slot];
    size_t kept = 0;

    if (from->count + s->now.boxes[to_slot].count > ITEMS) {
        s->flying--;
        return;
    }
    if (moves)
        f->moved = f->slots;
    pick_ranges(s, f, from);
    f->op.change.target = to->id;
    to->modseq++;
    for (size_t i = 0; i < from->count; i++) {
        const struct item item = from->items[i];

        if (picked(f, &item)) {
            put_item(to, item.number, item.flags);
            want_touched(f, item.uid);
        } else if (moves) {
            box->items[kept++] = item;
        }
    }
    to->modseq -= !f->want_touched_count;
    if (moves) {
        box->count = kept;
        box->modseq += f->want_touched_count > 0;
    }
}

static bool beneath(const char *name, const char *above)
{
    size_t len = strlen(above);

    return !strncmp(name, above, len) && name[len] == '/';
}

static void make_box(struct world *w, unsigned slot)
{
    w->boxes[slot] = (struct box){.exists = true, .uidnext = 1, .modseq = 1};
}

static void make_above(struct world *w, unsigned slot)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (beneath(slot_names[slot], slot_names[i]) && !w->boxes[i].exists)
            make_box(w, i);
    }
}

/* The slot of what `slot` is called when `from` becomes `to`; SLOTS: none, such a name is not in this game.
 */
static unsigned renamed_slot(unsigned slot, unsigned from, unsigned to)
{
    char name[64];

    (void)snprintf(name, sizeof name, "%s%s", slot_names[to], slot_names[slot] + strlen(slot_names[from]));
    for (unsigned i = 0; i < SLOTS; i++) {
        if (!strcmp(slot_names[i], name))
            return i;
    }
    return SLOTS;
}

static bool in_family(unsigned slot, unsigned of)
{
    return slot == of || beneath(slot_names[slot], slot_names[of]);
}

/* False: not in this game. */
static bool rename_model(struct sim *s, struct flight *f, unsigned from, unsigned to)
{
    const struct world *old = &s->now;

    f->want = BRANT_OK;
    for (unsigned i = 0; i < SLOTS; i++) {
        if (in_family(i, from) && old->boxes[i].exists && renamed_slot(i, from, to) == SLOTS)
            return false;
        if (in_family(i, to) && old->boxes[i].exists &&
            !(in_family(i, from) && beneath(slot_names[from], slot_names[to])))
            f->want = BRANT_EEXISTS;
    }
    if (from == to)
        f->want = BRANT_EEXISTS;
    if (from == 0 || beneath(slot_names[to], slot_names[from]))
        f->want = BRANT_EREFUSED;
    if (!old->boxes[from].exists)
        f->want = BRANT_ENOTFOUND;
    if (f->want)
        return true;
    make_above(&f->after, to);
    for (unsigned i = 0; i < SLOTS; i++) {
        if (in_family(i, from))
            f->after.boxes[i].exists = false;
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        if (!in_family(i, from) || !old->boxes[i].exists)
            continue;
        f->after.boxes[renamed_slot(i, from, to)] = old->boxes[i];
        f->moved |= 1u << i | 1u << renamed_slot(i, from, to);
    }
    return true;
}

static void mailbox_model(struct flight *f, unsigned slot, enum store_mailbox_action action)
{
    struct box *box = &f->after.boxes[slot];

    switch (action) {
    case STORE_MAILBOX_CREATE:
        f->want = box->exists ? BRANT_EEXISTS : BRANT_OK;
        if (!box->exists) {
            make_above(&f->after, slot);
            make_box(&f->after, slot);
        }
        break;
    case STORE_MAILBOX_DELETE:
        f->want = !box->exists ? BRANT_ENOTFOUND : slot == 0 ? BRANT_EREFUSED : BRANT_OK;
        box->exists &= f->want != BRANT_OK;
        break;
    default:
        f->after.subscribed[slot] = action == STORE_MAILBOX_SUBSCRIBE;
    }
}

static void fly_mailbox(struct sim *s)
{
    unsigned slot = (unsigned)rnd(s, SLOTS), target = (unsigned)rnd(s, SLOTS);
    enum store_mailbox_action action = (enum store_mailbox_action)rnd(s, 5);
    struct flight *f = fly(s, STORE_OP_MAILBOX, (1u << SLOTS) - 1);

    f->op.mailbox = (struct store_mailbox_op){.account = s->account,
                                              .action = (uint8_t)action,
                                              .name = span_str(slot_names[slot]),
                                              .target = span_str(slot_names[target])};
    if (action != STORE_MAILBOX_RENAME)
        mailbox_model(f, slot, action);
    else if (!rename_model(s, f, slot, target))
        s->flying--;
}

/* Some operations that have nothing to do with each other, or one on the names. */
static void fly_some(struct sim *s)
{
    unsigned taken = 0;

    if (rnd(s, 4) == 0) {
        fly_mailbox(s);
        return;
    }
    for (int tries = 0; tries < 6 && s->flying < FLIGHT; tries++) {
        unsigned slot = (unsigned)rnd(s, SLOTS), to = (unsigned)rnd(s, SLOTS);

        if (!s->now.boxes[slot].exists || !s->now.boxes[to].exists || (taken >> slot & 1) ||
            (taken >> to & 1))
            continue;
        switch (rnd(s, 8)) {
        case 0:
            if (!(taken & 1))
                fly_commit(s);
            taken |= 1;
            break;
        case 1:
        case 2:
            fly_append(s, slot);
            break;
        case 3:
        case 4:
            fly_flags(s, slot);
            break;
        case 5:
            fly_expunge(s, slot);
            break;
        default:
            fly_copy(s, slot, to);
            taken |= 1u << to;
        }
        taken |= 1u << slot;
    }
}

/* ---- The store against the model
 * ------------------------------------------------------------------------------------------------- */

static bool same_message(struct sim *s, uint64_t mailbox, const struct store_entry *e, uint32_t number)
{
    _cleanup_buf_ struct buf bytes;
    char text[12];

    buf_init(&bytes, 16384);
    if (bench_read_in(&s->b, s->account, mailbox, e->uid, &bytes) || bytes.len != size_of(number))
        return false;
    (void)snprintf(text, sizeof text, "%08u", number);
    for (uint32_t i = 0; i < bytes.len; i++) {
        if (bytes.data[i] != (i < 8 ? (uint8_t)text[i] : (uint8_t)(number * 31 + i * 7)))
            return false;
    }
    return true;
}

/* Flags as the model counts them. */
static uint64_t model_flags(const struct dir_mailbox *head, uint64_t flags)
{
    uint64_t out = flags & 0xff;

    for (unsigned i = 0; i < STORE_KEYWORDS_MAX; i++) {
        if (!(flags >> (STORE_KEYWORD_SHIFT + i) & 1))
            continue;
        for (unsigned k = 0; k < KEYS; k++) {
            if (span_eq_str(keywords_name(span_str(head->keywords ? head->keywords : ""), i), key_names[k]))
                out |= (uint64_t)1 << (STORE_KEYWORD_SHIFT + k);
        }
    }
    return out;
}

static bool same_counters(const struct box *box, const struct store_mailbox_info *info)
{
    uint64_t unseen = 0, deleted = 0, bytes = 0;

    for (size_t i = 0; i < box->count; i++) {
        unseen += !(box->items[i].flags & STORE_FLAG_SEEN);
        deleted += (box->items[i].flags & STORE_FLAG_DELETED) != 0;
        bytes += size_of(box->items[i].number);
    }
    return info->messages == box->count && info->unseen == unseen && info->deleted == deleted &&
           info->bytes == bytes && info->modseq == box->modseq && info->uidnext == box->uidnext;
}

/* Is the mailbox of that name as this one? */
static bool same_box(struct sim *s, unsigned slot, const struct box *box)
{
    const struct dir_account *a = dir_account(&s->b.st->dir, s->account);
    const struct dir_mailbox *head = dir_box_named(a, span_str(slot_names[slot]));
    struct store_entry entries[ITEMS + 1];
    struct store_mailbox_info info;
    size_t count = 0;

    if (!head || !box->exists)
        return !head && !box->exists;
    if (box->id && (box->id != head->id || box->uidvalidity != head->uidvalidity))
        return false;
    if (store_mailbox_get(s->b.reader, s->account, head->id, &info) || !same_counters(box, &info) ||
        store_entries_list(s->b.reader, s->account, head->id, 0, entries, ITEMS + 1, &count))
        return false;
    for (size_t i = 0; i < count && count == box->count; i++) {
        const struct item *item = &box->items[i];

        if (entries[i].uid != item->uid || model_flags(head, entries[i].flags) != item->flags ||
            entries[i].modseq != item->modseq || !same_message(s, head->id, &entries[i], item->number))
            return false;
    }
    return count == box->count;
}

/* A mailbox that is new in the model gets its number. */
static bool learn(struct sim *s, unsigned slot)
{
    const struct dir_account *a = dir_account(&s->b.st->dir, s->account);
    const struct dir_mailbox *head = dir_box_named(a, span_str(slot_names[slot]));
    struct box *box = &s->now.boxes[slot];

    if (!box->exists || box->id)
        return true;
    if (head->uidvalidity <= s->uidvalidity)
        return failed(s, "a new mailbox has an old UIDVALIDITY");
    box->id = head->id;
    box->uidvalidity = s->uidvalidity = head->uidvalidity;
    return true;
}

static bool check_all(struct sim *s)
{
    const struct dir_account *a = dir_account(&s->b.st->dir, s->account);
    size_t boxes = 0;

    for (unsigned i = 0; i < SLOTS; i++) {
        bool subscribed = dir_subscription(a, span_str(slot_names[i])) != NULL;

        if (!same_box(s, i, &s->now.boxes[i]))
            return failed(s, "a mailbox is not as it was made");
        if (subscribed != s->now.subscribed[i])
            return failed(s, "a subscription is not as it was made");
        boxes += s->now.boxes[i].exists;
    }
    return a->box_count == boxes || failed(s, "a mailbox too many");
}

static bool same_ranges(const struct store_range_list *list, const struct store_range *wanted, size_t count)
{
    if (list->count != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (list->r[i].first != wanted[i].first || list->r[i].last != wanted[i].last)
            return false;
    }
    return true;
}

static bool answer_right(struct sim *s, const struct flight *f)
{
    const struct store_change *c = &f->op.change;

    if (s->log)
        printf("  %d: result %d, wanted %d, seq %llu\n", f->op.kind, f->op.result, f->want,
               (unsigned long long)f->op.seq);
    if (f->op.result == BRANT_ENOSPACE && s->full)
        return true;
    if (f->op.result != f->want)
        return failed(s, "another answer than expected");
    if (f->op.kind > STORE_OP_MOVE || f->op.kind < STORE_OP_FLAGS)
        return true;
    if (c->done_to != UINT32_MAX || !same_ranges(&c->touched, f->want_touched, f->want_touched_count) ||
        !same_ranges(&c->modified, f->want_modified, f->want_modified_count))
        return failed(s, "an answer names other messages");
    return true;
}

/* What was not answered has happened or has not, what was refused has not. Levels that were made above a name
 * stand for themselves. */
static bool adopt(struct sim *s, const struct flight *f, bool refused)
{
    const struct dir_account *a = dir_account(&s->b.st->dir, s->account);
    bool before = false, after = false;

    for (unsigned i = 0; i < SLOTS; i++) {
        bool subscribed = dir_subscription(a, span_str(slot_names[i])) != NULL;
        const struct box *old = &s->now.boxes[i], *new = &f->after.boxes[i];
        bool is_old, is_new;

        if (!(f->slots >> i & 1))
            continue;
        if (subscribed == f->after.subscribed[i])
            s->now.subscribed[i] = subscribed;
        is_old = same_box(s, i, old);
        is_new = same_box(s, i, new);
        if (!is_old && !is_new)
            return failed(s, "a mailbox is as nobody made it");
        if (!is_old && refused && old->exists)
            return failed(s, "what was refused was done");
        if (f->moved >> i & 1 && is_old != is_new) {
            before |= is_old;
            after |= is_new;
        }
        if (!is_old)
            s->now.boxes[i] = *new;
        if (!learn(s, i))
            return false;
    }
    return !(before && after) || failed(s, "an operation was done by half");
}

static void problem(void *ctx, const char *text)
{
    struct sim *s = ctx;

    if (!s->torn)
        printf("seed %llu: check: %s\n", (unsigned long long)s->seed, text);
}

static bool check_index(struct sim *s)
{
    struct store_checked checked;

    if (store_check(s->b.reader, true, problem, s, &checked) || (checked.problems && !s->torn))
        return failed(s, "the check finds problems");
    return bench_same_after_rebuild(&s->b, s->log) || failed(s, "the index is not what the journal says");
}

/* ---- Playing
 * ------------------------------------------------------------------------------------------------------- */

static bool recover(struct sim *s)
{
    s->crashes++;
    sim_disk_fail(s->b.disk, SIM_DISK_SYNC, 0);
    for (int tries = 0; tries < 20; tries++) {
        int rc;

        bench_close(&s->b);
        if (rnd(s, 2))
            sim_disk_power_cut(s->b.disk);
        else
            sim_disk_process_kill(s->b.disk);
        sim_disk_crash_at(s->b.disk,
                          rnd(s, 3) && tries < 10 ? 0 : sim_disk_operations(s->b.disk) + 1 + rnd(s, 60));
        if (tries >= 10)
            sim_disk_crash_at(s->b.disk, 0);
        rc = bench_open(&s->b);
        s->torn |= s->b.opened.journal.damaged_records > 0;
        if (!rc && !sim_disk_crashed(s->b.disk)) {
            sim_disk_crash_at(s->b.disk, 0);
            return true;
        }
        if (!sim_disk_crashed(s->b.disk))
            return failed(s, "the store does not open");
    }
    return failed(s, "recovery never ends");
}

static bool doubtful(const struct flight *f)
{
    return !f->answered || f->op.result == BRANT_EIO;
}

static bool adopt_refused(struct sim *s)
{
    for (size_t i = 0; i < s->flying; i++) {
        if (s->flights[i].op.result != BRANT_ENOSPACE)
            continue;
        s->refused++;
        if (!adopt(s, &s->flights[i], true))
            return false;
    }
    return true;
}

static bool land(struct sim *s)
{
    for (size_t i = 0; i < s->flying; i++) {
        const struct flight *f = &s->flights[i];

        if (doubtful(f))
            continue;
        if (!answer_right(s, f))
            return false;
        for (unsigned k = 0; k < SLOTS && !f->op.result; k++) {
            if (f->slots >> k & 1) {
                s->now.boxes[k] = f->after.boxes[k];
                s->now.subscribed[k] = f->after.subscribed[k];
            }
        }
    }
    return true;
}

static bool after_crash(struct sim *s)
{
    if (s->log)
        printf("  crash\n");
    if (!land(s) || !recover(s) || !adopt_refused(s))
        return false;
    for (size_t i = 0; i < s->flying; i++) {
        if (doubtful(&s->flights[i]) && !adopt(s, &s->flights[i], false))
            return false;
    }
    s->flying = 0;
    for (unsigned i = 0; i < SLOTS; i++) {
        if (!same_box(s, i, &s->now.boxes[i]))
            return failed(s, "after a crash a mailbox is not as it was");
        if (!learn(s, i))
            return false;
    }
    return check_all(s) && check_index(s) && check_all(s);
}

static void background(struct sim *s)
{
    switch (rnd(s, 8)) {
    case 0:
        (void)store_checkpoint_step(s->b.st, s->b.now_ms);
        break;
    case 1:
        for (uint64_t i = rnd(s, 20); i; i--) {
            (void)store_compaction_step(s->b.st, s->b.now_ms);
            (void)store_writer_step(s->b.st, s->b.now_ms);
        }
        break;
    case 2:
        if (rnd(s, 4) == 0)
            store_compact(s->b.st, true);
        break;
    case 3:
        if (rnd(s, 8) == 0)
            s->b.now_ms += (int64_t)rnd(s, 5 * 24 * 3600) * 1000;
        break;
    default:
        s->b.now_ms += (int64_t)rnd(s, 30);
        (void)store_apply_step(s->b.st, s->b.now_ms);
    }
}

static bool all_answered(const struct sim *s)
{
    for (size_t i = 0; i < s->flying; i++) {
        if (!s->flights[i].answered)
            return false;
    }
    return true;
}

/* For a while there is room for little more. */
static void fill_disk(struct sim *s)
{
    s->full = rnd(s, 3) == 0;
    if (s->full)
        sim_disk_set_capacity(s->b.disk, sim_disk_used(s->b.disk) + 1 + rnd(s, rnd(s, 2) ? 100 : 50000));
}

static bool play_round(struct sim *s)
{
    fly_some(s);
    fill_disk(s);
    for (size_t i = 0; i < s->flying; i++) {
        if (!s->flights[i].answered)
            store_submit(s->b.st, &s->flights[i].op);
    }
    for (int i = 0; i < 2000 && !sim_disk_crashed(s->b.disk); i++) {
        if (all_answered(s) && rnd(s, 3) == 0)
            break;
        if (i == 200)
            sim_disk_set_capacity(s->b.disk, 0);
        s->b.now_ms++;
        (void)store_writer_step(s->b.st, s->b.now_ms);
        background(s);
    }
    sim_disk_set_capacity(s->b.disk, 0);
    if (sim_disk_crashed(s->b.disk) || store_dead(s->b.st))
        return after_crash(s);
    if (!all_answered(s))
        return failed(s, "an operation is never answered");
    sim_disk_crash_at(s->b.disk, 0);
    sim_disk_fail(s->b.disk, SIM_DISK_SYNC, 0);
    if (!land(s) || !adopt_refused(s))
        return false;
    s->flying = 0;
    for (unsigned i = 0; i < SLOTS; i++) {
        if (s->now.boxes[i].exists &&
            !dir_box_named(dir_account(&s->b.st->dir, s->account), span_str(slot_names[i])))
            return failed(s, "a mailbox was not made");
        if (!learn(s, i))
            return false;
    }
    return rnd(s, 6) ? true : check_all(s);
}

/* Whatever was deleted is gone in the end. */
static bool check_removed(struct sim *s)
{
    if (s->b.st->removing_count || dir_account(&s->b.st->dir, s->account)->removing)
        return failed(s, "a deleted mailbox never goes");
    return true;
}

static bool play(struct sim *s)
{
    if (bench_open(&s->b) || bench_domain_add(&s->b, "sim.test") ||
        bench_account_add(&s->b, "u@sim.test", &s->account))
        return failed(s, "the store does not start");
    make_box(&s->now, 0);
    if (!learn(s, 0))
        return false;
    for (int round = 0; round < ROUNDS; round++) {
        if (rnd(s, 4) == 0)
            sim_disk_crash_at(s->b.disk, sim_disk_operations(s->b.disk) + 1 + rnd(s, 80));
        else if (rnd(s, 16) == 0)
            sim_disk_fail(s->b.disk, SIM_DISK_SYNC, 1 + rnd(s, 3));
        if (s->log)
            printf("round %d, operation %llu\n", round, (unsigned long long)sim_disk_operations(s->b.disk));
        if (!play_round(s))
            return false;
    }
    bench_settle(&s->b);
    return check_removed(s) && check_all(s) && check_index(s) && check_all(s);
}

static bool play_seed(uint64_t seed, bool log, unsigned *crashes, unsigned *refused)
{
    struct sim *s = mem_zalloc(sizeof *s);
    bool ok;

    s->seed = seed;
    s->random = seed * 2654435761u + 1;
    s->log = log;
    bench_init(&s->b, seed);
    s->b.config.segment_bytes = 16384u << rnd(s, 3);
    if (rnd(s, 2)) { /* what is gone is soon forgotten */
        s->b.config.gone_retention_ms = (int64_t)rnd(s, 2000);
        s->b.config.trace_retention_ms = (int64_t)rnd(s, 2000);
    }
    ok = play(s);
    if (!ok)
        printf("SEED %llu FAILED: %s\n", (unsigned long long)seed, s->failure);
    *crashes += s->crashes;
    *refused += s->refused;
    bench_done(&s->b);
    free(s);
    return ok;
}

static uint64_t env(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 10) : otherwise;
}

int main(void)
{
    uint64_t one = env("SIM_SEED", 0), first = one ? one : env("SIM_FIRST", 1),
             count = one ? 1 : env("SIM_SEEDS", 100);
    unsigned crashes = 0, refused = 0, bad = 0;

    for (uint64_t i = 0; i < count; i++)
        bad += !play_seed(first + i, getenv("SIM_LOG") != NULL, &crashes, &refused);
    printf("%llu seeds, %u crashes, %u operations refused by a full disk, %u seeds failed\n",
           (unsigned long long)count, crashes, refused, bad);
    return bad != 0;
}
