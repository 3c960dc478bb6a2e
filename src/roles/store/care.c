/* The care of the store: status, check, compaction, rebuild. One long task at a time. */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "log/log.h"
#include "os/clock.h"
#include "roles/store/server.h"

enum { PROBLEMS_MAX = 200, REPORT_ARENA_BYTES = 512 * 1024, PROGRESS_MS = 1000 };

struct care {
    struct work work; /* the check's */
    struct server *sv;
    uint64_t peer; /* serial */
    uint32_t tag;
    bool checks, deep; /* otherwise it compacts */
    struct net_timer *timer;
    uint64_t compacted_before;
    uint64_t started_ms;

    int rc; /* of the check */
    struct store_checked checked;
    struct arena arena;
    struct ipc_problem problems[PROBLEMS_MAX];
    size_t problem_count;
};

/* ---- status ---- */

void server_status(struct server *sv, server_put_status *put, void *context)
{
    struct store_status s;
    store_status_get(sv->store, &s);
    const struct {
        const char *key;
        uint64_t value;
    } figures[] = {
        {"domains", s.domains},
        {"accounts", s.accounts},
        {"aliases", s.aliases},
        {"messages", s.messages},
        {"mail_bytes", s.mail_bytes},
        {"queued", s.queued},
        {"accepting_mail", s.accepting},
        {"free_bytes", s.free_bytes},
        {"reserve_bytes", s.reserve_bytes},
        {"read_only", s.read_only},
        {"index_failing", s.index_failing},
        {"compaction_blocked", s.compaction_blocked},
        {"segments", s.segments},
        {"journal_bytes", s.journal_bytes},
        {"live_bytes", s.live_bytes},
        {"last_seq", s.last_seq},
        {"index_lag", s.last_seq - s.applied_seq},
        {"checkpoint_lag", s.applied_seq - s.checkpointed_seq},
        {"commits", s.commits},
        {"records", s.records},
        {"batches", s.batches},
        {"compacted_segments", s.compacted_segments},
        {"parked_ops", s.parked_ops},
        {"body_memory_bytes", s.body_memory_bytes},
        {"bodies_arriving", sv->arriving.count},
        {"appends", sv->appends.count},
        {"messages_open", sv->reading.count},
        {"watches", sv->watches.sessions},
        {"news", sv->watches.news},
        {"operations", sv->ops.count},
        {"sessions", sv->sessions.total},
        {"sessions_smtp", sv->sessions.service[IPC_SERVICE_SMTP]},
        {"sessions_pop3", sv->sessions.service[IPC_SERVICE_POP3] + sv->sessions.service[IPC_SERVICE_POP3S]},
        {"sessions_imap", sv->sessions.service[IPC_SERVICE_IMAP] + sv->sessions.service[IPC_SERVICE_IMAPS]},
        {"sessions_submission", sv->sessions.service[IPC_SERVICE_SUBMISSION] +
                                    sv->sessions.service[IPC_SERVICE_SUBMISSIONS] +
                                    sv->sessions.service[IPC_SERVICE_SUBMISSION_LOCAL]},
        {"sessions_lmtp",
         sv->sessions.service[IPC_SERVICE_LMTP] + sv->sessions.service[IPC_SERVICE_LMTP_LOCAL]},
        {"sources", sv->sessions.sources.len},
        {"passwords_pending", passwords_pending(sv->passwords)},
        {"passwords_remembered", passwords_cached(sv->passwords)},
        {"logins", sv->login_counts.right},
        {"logins_failed", sv->login_counts.failed},
        {"logins_throttled", sv->login_counts.throttled},
        {"logins_waiting", sv->delays.count},
        {"sources_failing", sv->throttle.sources.map.len},
        {"sources_known", sv->known.sources.map.len},
        {"up_s", (server_now_ms(sv) - sv->started_ms) / 1000},
    };
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        put(context, figures[i].key, figures[i].value);
}

struct pairs {
    struct arena arena;
    struct ipc_pair list[64];
    uint32_t count;
};

static void pairs_add(void *context, const char *key, uint64_t value)
{
    struct pairs *p = context;
    char text[24];
    int len = snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    if (p->count < sizeof p->list / sizeof *p->list)
        p->list[p->count++] =
            (struct ipc_pair){span_str(key), arena_dup(&p->arena, span_make(text, (size_t)len))};
}

void on_status_ask(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    struct pairs pairs = {.count = 0};
    arena_init(&pairs.arena, 8192);
    server_status(sv, pairs_add, &pairs);
    struct ipc_message answer = {.type = IPC_TYPE_STATUS_INFO, .tag = m->tag};
    answer.status_info = (struct ipc_status_info){.pairs = pairs.list, .pairs_count = pairs.count};
    server_send(p, &answer);
    arena_done(&pairs.arena);
}

/* ---- long tasks ---- */

static void report(struct peer *p, uint32_t tag, enum ipc_status status, const struct pairs *pairs,
                   const struct ipc_problem *problems, size_t problem_count)
{
    struct ipc_message m = {.type = IPC_TYPE_STORE_REPORT, .tag = tag};
    m.store_report = (struct ipc_store_report){.status = (uint8_t)status,
                                               .pairs = pairs ? pairs->list : NULL,
                                               .pairs_count = pairs ? pairs->count : 0,
                                               .problems = problems,
                                               .problems_count = (uint32_t)problem_count};
    server_send(p, &m);
}

static void report_refused(struct peer *p, uint32_t tag, enum ipc_status status, const char *why)
{
    struct ipc_problem problem = {span_str(why)};
    report(p, tag, status, NULL, &problem, 1);
}

static void care_free(struct care *c)
{
    net_timer_free(c->timer);
    arena_done(&c->arena);
    c->sv->care = NULL;
    free(c);
}

void care_close(struct server *sv)
{
    if (sv->care)
        care_free(sv->care);
}

static void compact_end(struct care *c)
{
    struct store_status s;
    store_status_get(c->sv->store, &s);
    struct pairs pairs = {.count = 0};
    arena_init(&pairs.arena, 1024);
    pairs_add(&pairs, "compacted_segments", s.compacted_segments - c->compacted_before);
    pairs_add(&pairs, "segments", s.segments);
    pairs_add(&pairs, "journal_bytes", s.journal_bytes);
    struct ipc_problem blocked = {
        SPAN_LIT("a damaged segment is kept as it is; see brant store check --deep")};
    struct peer *p = server_peer(c->sv, c->peer);
    if (p)
        report(p, c->tag, IPC_OK, &pairs, &blocked, s.compaction_blocked ? 1 : 0);
    arena_done(&pairs.arena);
    care_free(c);
}

/* Says that it is still at work, so that nobody thinks otherwise. */
static void care_tick(void *context)
{
    struct care *c = context;
    if (!c->checks && !store_compacting(c->sv->store)) {
        compact_end(c);
        return;
    }
    struct store_status s;
    store_status_get(c->sv->store, &s);
    struct ipc_message m = {.type = IPC_TYPE_PROGRESS, .tag = c->tag};
    m.progress.text = c->checks ? SPAN_LIT("checking") : SPAN_LIT("compacting: segments done");
    if (!c->checks)
        m.progress.done = s.compacted_segments - c->compacted_before;
    struct peer *p = server_peer(c->sv, c->peer);
    if (p)
        server_send(p, &m);
    net_timer_set(c->timer, PROGRESS_MS);
}

static struct care *care_new(struct server *sv, struct peer *p, uint32_t tag)
{
    if (sv->care) {
        report_refused(p, tag, IPC_TRY_LATER, "another check or compaction is at work");
        return NULL;
    }
    struct care *c = mem_zalloc(sizeof *c);
    c->sv = sv;
    c->peer = p->sessions.channel;
    c->tag = tag;
    c->started_ms = server_now_ms(sv);
    c->timer = net_timer_new(sv->loop, care_tick, c);
    arena_init(&c->arena, REPORT_ARENA_BYTES);
    sv->care = c;
    return c;
}

/* On the carer's thread. */
static void found(void *context, const char *text)
{
    struct care *c = context;
    if (c->problem_count == PROBLEMS_MAX)
        return;
    struct span copy = arena_dup(&c->arena, span_sub(span_str(text), 0, IPC_TEXT_MAX));
    if (copy.p)
        c->problems[c->problem_count++].text = copy;
}

static void run_check(struct work *work, void *reader)
{
    struct care *c = (struct care *)work;
    c->rc = store_check(reader, c->deep, found, c, &c->checked);
}

void care_work_done(struct server *sv, struct work *work)
{
    struct care *c = (struct care *)work;
    struct pairs pairs = {.count = 0};
    arena_init(&pairs.arena, 2048);
    pairs_add(&pairs, "messages", c->checked.messages);
    pairs_add(&pairs, "entries", c->checked.entries);
    pairs_add(&pairs, "records", c->checked.records);
    pairs_add(&pairs, "bodies", c->checked.bodies);
    pairs_add(&pairs, "problems", c->checked.problems);
    pairs_add(&pairs, "took_ms", server_now_ms(sv) - c->started_ms);
    log_event(c->checked.problems > 0 ? LOG_ERROR : LOG_INFO, "store-checked",
              LOG_U64("problems", c->checked.problems), LOG_U64("messages", c->checked.messages));
    struct peer *p = server_peer(sv, c->peer);
    if (p)
        report(p, c->tag, server_status_of(c->rc), &pairs, c->problems, c->problem_count);
    arena_done(&pairs.arena);
    care_free(c);
}

void on_store_check(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    struct care *c = care_new(sv, p, m->tag);
    if (!c)
        return;
    c->checks = true;
    c->deep = m->store_check.deep;
    c->work.run = run_check;
    if (workers_submit(sv->carers, &c->work) != BRANT_OK) {
        report_refused(p, m->tag, IPC_TRY_LATER, "another check is at work");
        care_free(c);
        return;
    }
    net_timer_set(c->timer, PROGRESS_MS);
}

void on_store_compact(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    struct care *c = care_new(sv, p, m->tag);
    if (!c)
        return;
    struct store_status s;
    store_status_get(sv->store, &s);
    c->compacted_before = s.compacted_segments;
    store_compact(sv->store, m->store_compact.all);
    net_timer_set(c->timer, 20);
}

void on_store_rebuild(struct server *sv, struct peer *p, const struct ipc_message *m)
{
    if (!sv->offline) {
        report_refused(p, m->tag, IPC_REFUSED,
                       "the server is running; stop it, then give this command again");
        return;
    }
    if (!m->store_rebuild.confirm) {
        report_refused(p, m->tag, IPC_REFUSED, "a rebuild has to be confirmed");
        return;
    }
    struct store_opened opened;
    int rc = server_rebuild(sv, &opened);
    if (rc != BRANT_OK) {
        report_refused(p, m->tag, server_status_of(rc), brant_err_text(rc));
        return;
    }
    struct pairs pairs = {.count = 0};
    arena_init(&pairs.arena, 1024);
    pairs_add(&pairs, "records", opened.records_applied);
    pairs_add(&pairs, "records_damaged", opened.records_damaged);
    struct ipc_problem damaged = {
        SPAN_LIT("records are damaged and were left out; see brant store check --deep")};
    report(p, m->tag, IPC_OK, &pairs, &damaged, opened.records_damaged > 0 ? 1 : 0);
    arena_done(&pairs.arena);
}
