/* Compaction (DESIGN §4 rule 7): a segment in which little is alive is emptied by writing everything it still
 * says again at the head of the journal, and then deleted.
 *
 *   pick a closed segment → wait until all of it is applied → have the writer write again every object whose
 *   newest record lies in it → RETIRE record → applied → checkpointed → unlinked
 *
 * What is dead (tombstones, removed objects, commits whose mail is gone) may be forgotten only when no older
 * segment is left that could bring it back in a rebuild: when it was born behind all of them. Every object's
 * birth is its id, or that of its message. */
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/state.h"

enum { EMITS = 32, CHUNK_BYTES = 4 << 20, NO_PROGRESS_MAX = 100 };

enum phase {
    PHASE_IDLE,
    PHASE_ROLL,
    PHASE_WAIT, /* until the segment is applied */
    PHASE_MESSAGE,
    PHASE_MESSAGE_MOVED,
    PHASE_ENTRY,
    PHASE_ENTRY_CHANGED,
    PHASE_GONE,
    PHASE_QUEUE,
    PHASE_MAILBOX,
    PHASE_SUBSCRIPTION,
    PHASE_ACCOUNT,
    PHASE_DOMAIN,
    PHASE_ALIAS,
    PHASE_RETIRE,
    PHASE_CHECKPOINT,
};

struct compactor {
    struct store *st;
    struct index *ix;
    enum phase phase;
    struct journal_segment segment;
    uint64_t older_last_seq; /* the last number that an older segment holds */
    uint64_t cursor;         /* of the phase: the last id or rec_seq looked at */
    uint64_t cursor_mailbox; /* PHASE_QUEUE: message and recipient */
    uint32_t cursor_uid;
    uint64_t wait_seq; /* applied before the next chunk */
    uint64_t retire_seq;
    uint32_t all_upto; /* compact every closed segment up to this id; 0: by waste */
    uint32_t skip[16]; /* segments that can't be compacted: damaged */
    size_t skip_count;
    uint64_t last_mailbox; /* PHASE_ENTRY…: first row of the last chunk */
    uint32_t last_uid;
    unsigned no_progress;
    struct emit *emits; /* EMITS of them, while a segment is worked on */
    struct buf *payloads;
    struct arena arenas[EMITS];
    size_t emit_count;
};

struct compactor *compactor_new(struct store *st)
{
    struct compactor *c = mem_zalloc(sizeof *c);

    c->st = st;
    for (size_t i = 0; i < EMITS; i++)
        arena_init(&c->arenas[i], RECORD_ARENA_BYTES);
    return c;
}

static void drop_emits(struct compactor *c)
{
    for (size_t i = 0; i < EMITS; i++) {
        if (c->payloads)
            buf_done(&c->payloads[i]);
        arena_reset(&c->arenas[i]);
    }
    free(c->payloads);
    free(c->emits);
    c->payloads = NULL;
    c->emits = NULL;
}

void compactor_free(struct compactor *c)
{
    if (!c)
        return;
    drop_emits(c);
    index_close(c->ix);
    free(c);
}

/* ---- Asking the writer
 * ------------------------------------------------------------------------------------------ */

static void emit_done(struct store_op *op)
{
    struct emit *e = op->internal;
    struct store *st = op->ctx;

    pthread_mutex_lock(&st->lock);
    e->done = true;
    pthread_mutex_unlock(&st->lock);
}

static struct emit *emit_new(struct compactor *c, enum emit_kind kind)
{
    struct emit *e = &c->emits[c->emit_count++];

    e->kind = kind;
    e->done = false;
    e->count = 0;
    e->segment_first = c->segment.first_seq;
    e->segment_last = c->segment.last_seq;
    e->op = (struct store_op){.kind = STORE_OP_INTERNAL, .done = emit_done, .ctx = c->st, .internal = e};
    return e;
}

static void submit(struct compactor *c)
{
    for (size_t i = 0; i < c->emit_count; i++)
        store_submit(c->st, &c->emits[i].op);
}

/* 1: all answered and applied. 0: not yet. Negative: one was refused, the chunk has to be tried again. */
static int settled(struct compactor *c)
{
    int rc = BRANT_OK;

    if (!c->emit_count)
        return atomic_load(&c->st->applied_seq) >= c->wait_seq;
    pthread_mutex_lock(&c->st->lock);
    for (size_t i = 0; i < c->emit_count; i++) {
        if (!c->emits[i].done) {
            pthread_mutex_unlock(&c->st->lock);
            return 0;
        }
        if (c->emits[i].op.result)
            rc = c->emits[i].op.result;
    }
    pthread_mutex_unlock(&c->st->lock);
    c->emit_count = 0;
    c->wait_seq = atomic_load(&c->st->durable_seq);
    return rc ? rc : atomic_load(&c->st->applied_seq) >= c->wait_seq;
}

/* ---- Choosing a segment
 * ------------------------------------------------------------------------------------------- */

static bool skipped(const struct compactor *c, uint32_t id)
{
    for (size_t i = 0; i < c->skip_count; i++) {
        if (c->skip[i] == id)
            return true;
    }
    return false;
}

static int live_mail(struct compactor *c, uint32_t id, uint64_t *ret)
{
    int rc = index_bind(c->ix, INDEX_SEGMENT_LIST, NULL, 0);

    *ret = 0;
    while (!rc && !(rc = index_row(c->ix, INDEX_SEGMENT_LIST))) {
        if (index_number(c->ix, INDEX_SEGMENT_LIST, 0) == id)
            *ret = index_number(c->ix, INDEX_SEGMENT_LIST, 1);
    }
    return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
}

static uint64_t older_last(const struct journal_segment *all, size_t count, const struct journal_segment *s)
{
    uint64_t last = 0;

    for (size_t i = 0; i < count; i++) {
        if (all[i].id != s->id && all[i].first_seq < s->first_seq && all[i].last_seq > last &&
            all[i].last_seq >= all[i].first_seq)
            last = all[i].last_seq;
    }
    return last;
}

/* About how many bytes compaction would write again. */
static int live_bytes(struct compactor *c, const struct journal_segment *s, uint64_t older, int64_t now_ms,
                      uint64_t *ret)
{
    const struct store_config *config = &c->st->config;
    int64_t gone_before = now_ms - config->gone_retention_ms,
            trace_before = now_ms - config->trace_retention_ms;
    uint64_t mail;
    int rc = live_mail(c, s->id, &mail);

    if (!rc)
        rc = index_query(c->ix, INDEX_LIVE_SMALL, INDEX_N(s->first_seq), INDEX_N(s->last_seq), INDEX_N(older),
                         INDEX_N(gone_before), INDEX_N(trace_before));
    if (!rc)
        rc = index_row(c->ix, INDEX_LIVE_SMALL);
    if (rc)
        return rc;
    *ret = mail + index_number(c->ix, INDEX_LIVE_SMALL, 0);
    index_reset(c->ix, INDEX_LIVE_SMALL);
    return BRANT_OK;
}

/* A segment whose RETIRE is applied and which is still there: a crash came in between. */
static int find_retired(struct compactor *c, const struct journal_segment *all, size_t count)
{
    int rc = index_bind(c->ix, INDEX_RETIRED_LIST, NULL, 0), found = 0;

    while (!rc && !(rc = index_row(c->ix, INDEX_RETIRED_LIST))) {
        for (size_t i = 0; i < count; i++) {
            if (all[i].open || all[i].id != index_number(c->ix, INDEX_RETIRED_LIST, 0))
                continue;
            c->segment = all[i];
            c->retire_seq = index_number(c->ix, INDEX_RETIRED_LIST, 1);
            found = 1;
        }
    }
    return rc == BRANT_ENOTFOUND ? found : rc;
}

static int choose(struct compactor *c, const struct journal_segment *all, size_t count, int64_t now_ms)
{
    uint64_t best = UINT64_MAX;

    for (size_t i = 0; i < count; i++) {
        const struct journal_segment *s = &all[i];
        uint64_t older = older_last(all, count, s), live, percent;
        int rc;

        if (s->open || skipped(c, s->id) || s->last_seq > atomic_load(&c->st->durable_seq))
            continue;
        if (c->all_upto) {
            if (s->id > c->all_upto)
                continue;
            percent = 0;
        } else {
            if (s->last_seq > atomic_load(&c->st->applied_seq))
                continue;
            rc = live_bytes(c, s, older, now_ms, &live);
            if (rc)
                return rc;
            percent = s->bytes ? live * 100 / s->bytes : 0;
            if (percent >= atomic_load(&c->st->compact_live_percent))
                continue;
        }
        if (percent >= best)
            continue;
        best = percent;
        c->segment = *s;
        c->older_last_seq = older;
    }
    return best != UINT64_MAX;
}

static void enter(struct compactor *c, enum phase phase)
{
    c->phase = phase;
    c->cursor = c->cursor_mailbox = 0;
    c->cursor_uid = 0;
    c->no_progress = 0;
    c->last_mailbox = 0;
    c->last_uid = 0;
    if (phase == PHASE_IDLE)
        drop_emits(c);
    else if (!c->emits) {
        c->emits = mem_array(EMITS, sizeof *c->emits);
        c->payloads = mem_array(EMITS, sizeof *c->payloads);
        for (size_t i = 0; i < EMITS; i++)
            buf_init(&c->payloads[i], RECORD_BYTES_MAX);
    }
}

static int idle(struct compactor *c, int64_t now_ms)
{
    size_t count = journal_segments(c->st->journal, NULL, 0);
    _cleanup_free_ struct journal_segment *all = mem_array(count + 1, sizeof *all);
    bool wanted, want_all;
    int rc;

    pthread_mutex_lock(&c->st->lock);
    wanted = c->st->compact_wanted;
    want_all = c->st->compact_all;
    c->st->compact_wanted = c->st->compact_all = false;
    pthread_mutex_unlock(&c->st->lock);
    if (wanted)
        c->skip_count = 0;
    if (want_all) {
        enter(c, PHASE_ROLL);
        emit_new(c, EMIT_ROLL);
        submit(c);
        return 1;
    }
    if (count > journal_segments(c->st->journal, all, count))
        return 0;
    rc = find_retired(c, all, count);
    if (rc == 1) {
        enter(c, PHASE_CHECKPOINT);
        return 1;
    }
    if (!rc)
        rc = choose(c, all, count, now_ms);
    if (rc == 1) {
        c->wait_seq = c->segment.last_seq;
        enter(c, PHASE_WAIT);
    } else if (!rc) {
        c->all_upto = 0;
        atomic_store(&c->st->compacting, false);
    }
    return rc;
}

/* The segment stays: what it holds can't be read. Reported by status and check. */
static int give_up(struct compactor *c)
{
    if (c->skip_count < sizeof c->skip / sizeof c->skip[0])
        c->skip[c->skip_count++] = c->segment.id;
    atomic_store(&c->st->compaction_blocked, true);
    enter(c, PHASE_IDLE);
    return 1;
}

/* ---- Chunks: 1 when something was submitted, 0 when the phase is over
 * ------------------------------------------------- */

static bool droppable(const struct compactor *c, uint64_t born, uint64_t time_ms, int64_t retention_ms,
                      int64_t now_ms)
{
    return born > c->older_last_seq && (int64_t)time_ms < now_ms - retention_ms;
}

/* BRANT_OK, or BRANT_ECORRUPT when the message can't be read. */
static int emit_one_message(struct compactor *c, const struct index_message *row)
{
    size_t at = c->emit_count, fields_len;
    struct emit *e = emit_new(c, EMIT_MESSAGE);
    int rc;

    arena_reset(&c->arenas[at]);
    rc = query_record(c->st, row, true, &c->payloads[at], &c->arenas[at], &e->message, &fields_len);
    if (rc)
        return rc;
    e->message.id = row->id;
    e->message.boxes_count = 0;
    if (row->dead) {
        e->message.body_kind = RECORD_BODY_NONE;
        e->blobs = SPAN_NONE;
    } else {
        e->blobs = span_from(buf_span(&c->payloads[at]), fields_len);
    }
    return BRANT_OK;
}

static int chunk_messages(struct compactor *c, int64_t now_ms)
{
    enum index_statement s = c->phase == PHASE_MESSAGE ? INDEX_IN_MESSAGE : INDEX_IN_MESSAGE_MOVED;
    struct index_message rows[EMITS];
    size_t count = 0, bytes = 0;
    int rc = index_query(c->ix, s, INDEX_N(c->cursor), INDEX_N(c->segment.first_seq),
                         INDEX_N(c->segment.last_seq), INDEX_N(EMITS));

    while (!rc && !(rc = index_row(c->ix, s)))
        index_message_row(c->ix, s, &rows[count++]);
    if (rc != BRANT_ENOTFOUND)
        return rc;
    for (size_t i = 0; i < count && bytes < CHUNK_BYTES; i++) {
        c->cursor = c->phase == PHASE_MESSAGE ? rows[i].id : rows[i].rec_seq;
        if (rows[i].dead &&
            droppable(c, rows[i].id, rows[i].time_ms, c->st->config.trace_retention_ms, now_ms))
            continue;
        rc = emit_one_message(c, &rows[i]);
        if (rc)
            return rc == BRANT_ENOTFOUND ? BRANT_ECORRUPT : rc;
        bytes += rows[i].length;
    }
    return count > 0;
}

/* Rows of the index that change once they are emitted: looked for from the start each time. */
static int chunk_entries(struct compactor *c)
{
    enum index_statement s = c->phase == PHASE_ENTRY ? INDEX_IN_ENTRY : INDEX_IN_ENTRY_CHANGED;
    struct emit *e = NULL;
    bool first = true;
    int rc =
        index_query(c->ix, s, INDEX_N(c->segment.first_seq), INDEX_N(c->segment.last_seq), INDEX_N(2048));

    while (!rc && !(rc = index_row(c->ix, s))) {
        struct index_entry row;

        index_entry_row(c->ix, s, &row);
        if (first && row.mailbox == c->last_mailbox && row.uid == c->last_uid)
            c->no_progress++;
        if (first) {
            c->last_mailbox = row.mailbox;
            c->last_uid = row.uid;
            first = false;
        }
        if (!e || e->mailbox != row.mailbox || e->count == EMIT_MAX) {
            if (c->emit_count == EMITS)
                break;
            e = emit_new(c, EMIT_ENTRIES);
            e->mailbox = row.mailbox;
        }
        e->uids[e->count++] = row.uid;
    }
    index_reset(c->ix, s);
    if (rc && rc != BRANT_ENOTFOUND)
        return rc;
    if (c->no_progress > NO_PROGRESS_MAX)
        return BRANT_ECORRUPT;
    return !first;
}

/* What is forgotten is remembered to be: the mailbox says up to which MODSEQ it may be. BRANT_ELIMIT: the
 * chunk is full. */
static int forget(struct compactor *c, const struct record_gone *g, struct emit **floors)
{
    size_t i = 0;

    if (!*floors) {
        if (c->emit_count == EMITS)
            return BRANT_ELIMIT;
        *floors = emit_new(c, EMIT_FLOOR);
    }
    while (i < (*floors)->count && (*floors)->ids[i] != g->mailbox)
        i++;
    if (i == EMIT_MAX)
        return BRANT_ELIMIT;
    if (i == (*floors)->count) {
        (*floors)->ids[(*floors)->count++] = g->mailbox;
        (*floors)->floors[i] = 0;
    }
    if ((*floors)->floors[i] < g->modseq)
        (*floors)->floors[i] = g->modseq;
    return BRANT_OK;
}

/* BRANT_ELIMIT: the chunk is full. */
static int keep(struct compactor *c, const struct record_gone *g, struct emit **e)
{
    if (!*e || (*e)->mailbox != g->mailbox || (*e)->count == EMIT_MAX) {
        if (c->emit_count == EMITS)
            return BRANT_ELIMIT;
        *e = emit_new(c, EMIT_GONE);
        (*e)->mailbox = g->mailbox;
    }
    (*e)->gone[(*e)->count++] = *g;
    return BRANT_OK;
}

static int chunk_gone(struct compactor *c, int64_t now_ms)
{
    enum index_statement s = INDEX_IN_GONE;
    struct emit *kept = NULL, *floors = NULL;
    bool any = false;
    int rc =
        index_query(c->ix, s, INDEX_N(c->segment.first_seq), INDEX_N(c->segment.last_seq), INDEX_N(c->cursor),
                    INDEX_N(c->cursor_mailbox), INDEX_N(c->cursor_uid), INDEX_N(2048));

    while (!rc && !(rc = index_row(c->ix, s))) {
        struct record_gone g = {.mailbox = index_number(c->ix, s, 0),
                                .uid = (uint32_t)index_number(c->ix, s, 1),
                                .modseq = index_number(c->ix, s, 2),
                                .message = index_number(c->ix, s, 3),
                                .account = index_number(c->ix, s, 4),
                                .size = index_number(c->ix, s, 5),
                                .time_ms = index_number(c->ix, s, 6)};
        bool drop = droppable(c, g.message, g.time_ms, c->st->config.gone_retention_ms, now_ms);

        if (drop ? forget(c, &g, &floors) : keep(c, &g, &kept))
            break;
        any = true;
        c->cursor = index_number(c->ix, s, 7);
        c->cursor_mailbox = g.mailbox;
        c->cursor_uid = g.uid;
    }
    index_reset(c->ix, s);
    return rc && rc != BRANT_ENOTFOUND ? rc : any;
}

static int chunk_queue(struct compactor *c)
{
    enum index_statement s = INDEX_IN_QUEUE;
    struct emit *e = emit_new(c, EMIT_QUEUE);
    bool any = false;
    int rc =
        index_query(c->ix, s, INDEX_N(c->segment.first_seq), INDEX_N(c->segment.last_seq), INDEX_N(c->cursor),
                    INDEX_N(c->cursor_mailbox), INDEX_N(c->cursor_uid), INDEX_N(EMIT_MAX));

    while (!rc && !(rc = index_row(c->ix, s))) {
        struct index_queued row;

        index_queued_row(c->ix, s, &row);
        any = true;
        c->cursor = row.rec_seq;
        c->cursor_mailbox = row.message;
        c->cursor_uid = row.recipient;
        if (row.state == RECORD_QUEUE_REMOVED && row.message > c->older_last_seq)
            continue;
        e->ids[e->count] = row.message;
        e->uids[e->count++] = row.recipient;
    }
    if (!e->count)
        c->emit_count--;
    return rc && rc != BRANT_ENOTFOUND ? rc : any;
}

static int chunk_objects(struct compactor *c)
{
    static const struct {
        enum index_statement s;
        enum emit_kind kind;
    } of[] = {[PHASE_MAILBOX] = {INDEX_IN_MAILBOX, EMIT_MAILBOX},
              [PHASE_SUBSCRIPTION] = {INDEX_IN_SUBSCRIPTION, EMIT_SUBSCRIPTION},
              [PHASE_ACCOUNT] = {INDEX_IN_ACCOUNT, EMIT_ACCOUNT},
              [PHASE_DOMAIN] = {INDEX_IN_DOMAIN, EMIT_DOMAIN},
              [PHASE_ALIAS] = {INDEX_IN_ALIAS, EMIT_ALIAS}};
    enum index_statement s = of[c->phase].s;
    struct emit *e = emit_new(c, of[c->phase].kind);
    bool any = false;
    int rc = index_query(c->ix, s, INDEX_N(c->cursor), INDEX_N(c->segment.first_seq),
                         INDEX_N(c->segment.last_seq), INDEX_N(EMIT_MAX));

    while (!rc && !(rc = index_row(c->ix, s))) {
        uint64_t id = index_number(c->ix, s, 0);
        uint8_t state = (uint8_t)index_number(c->ix, s, 1);

        any = true;
        c->cursor = id;
        if (state == RECORD_STATE_REMOVED && id > c->older_last_seq)
            continue;
        e->ids[e->count] = id;
        e->states[e->count] = state;
        e->accounts[e->count++] = index_number(c->ix, s, 2);
    }
    if (!e->count)
        c->emit_count--;
    return rc && rc != BRANT_ENOTFOUND ? rc : any;
}

static int chunk_retire(struct compactor *c)
{
    struct emit *e;

    if (c->cursor)
        return 0;
    c->cursor = 1;
    e = emit_new(c, EMIT_RETIRE);
    e->retire = (struct record_retire){
        .segment = c->segment.id, .first_seq = c->segment.first_seq, .last_seq = c->segment.last_seq};
    return 1;
}

static int chunk(struct compactor *c, int64_t now_ms)
{
    switch (c->phase) {
    case PHASE_MESSAGE:
    case PHASE_MESSAGE_MOVED:
        return chunk_messages(c, now_ms);
    case PHASE_ENTRY:
    case PHASE_ENTRY_CHANGED:
        return chunk_entries(c);
    case PHASE_GONE:
        return chunk_gone(c, now_ms);
    case PHASE_QUEUE:
        return chunk_queue(c);
    case PHASE_MAILBOX:
    case PHASE_SUBSCRIPTION:
    case PHASE_ACCOUNT:
    case PHASE_DOMAIN:
    case PHASE_ALIAS:
        return chunk_objects(c);
    case PHASE_RETIRE:
        return chunk_retire(c);
    default:
        return 0;
    }
}

/* ---- The end of a segment
 * ---------------------------------------------------------------------------------------------- */

static int unlink_segment(struct compactor *c)
{
    int rc;

    if (atomic_load(&c->st->checkpointed_seq) < c->retire_seq)
        return 0;
    rc = journal_retire(c->st->journal, c->segment.id);
    if (rc == BRANT_ETRYLATER)
        return 0; /* a backup is being made */
    if (rc)
        return rc;
    atomic_fetch_add(&c->st->compacted_count, 1);
    enter(c, PHASE_IDLE);
    return 1;
}

static int rolled(struct compactor *c)
{
    size_t count = journal_segments(c->st->journal, NULL, 0);
    _cleanup_free_ struct journal_segment *all = mem_array(count + 1, sizeof *all);

    count = journal_segments(c->st->journal, all, count);
    for (size_t i = 0; i < count; i++) {
        if (!all[i].open && all[i].id > c->all_upto)
            c->all_upto = all[i].id;
    }
    enter(c, PHASE_IDLE);
    return 1;
}

static int step(struct compactor *c, int64_t now_ms)
{
    int rc = settled(c);

    if (rc < 0) {
        /* Refused (no space, a busy index): from the start, later. What was written twice does no harm. */
        enter(c, PHASE_IDLE);
        return rc == BRANT_EIO ? rc : 0;
    }
    if (rc == 0)
        return 0;
    if (c->phase == PHASE_IDLE)
        return idle(c, now_ms);
    if (c->phase == PHASE_ROLL)
        return rolled(c);
    if (c->phase == PHASE_CHECKPOINT)
        return unlink_segment(c);
    rc = chunk(c, now_ms);
    if (rc == BRANT_ECORRUPT) {
        c->emit_count = 0;
        return give_up(c);
    }
    if (rc < 0) {
        c->emit_count = 0;
        enter(c, PHASE_IDLE);
        return rc == BRANT_EIO ? rc : 0;
    }
    submit(c);
    if (rc == 0) {
        c->retire_seq = c->wait_seq;
        enter(c, c->phase + 1);
    }
    return 1;
}

int store_compaction_step(struct store *st, int64_t now_ms)
{
    struct compactor *c = st->compactor;

    if (st->journal_read_only || atomic_load(&st->dead))
        return 0;
    if (!c->ix) {
        int rc = index_open(st->fs, true, &c->ix);

        if (rc)
            return rc;
    }
    return step(c, now_ms);
}

void store_compact(struct store *st, bool all)
{
    pthread_mutex_lock(&st->lock);
    st->compact_wanted = true;
    st->compact_all |= all;
    atomic_store(&st->compacting, true);
    pthread_cond_broadcast(&st->care_cond);
    pthread_mutex_unlock(&st->lock);
}

bool store_compacting(struct store *st)
{
    return atomic_load(&st->compacting);
}
