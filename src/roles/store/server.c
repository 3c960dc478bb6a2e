#include "roles/store/server.h"

#include <assert.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "log/log.h"
#include "os/clock.h"
#include "os/random.h"
#include "roles/store/files.h"

enum { SPACE_TICK_MS = 1000, LOCK_WAIT_MS = 10000, LOCK_POLL_MS = 20, SOURCES_SAVE_MS = 5 * 60 * 1000 };

/* ---- the table of what is answered, and to whom: ipc/messages.h tells who may ask ---- */

static server_handler *const handlers[] = {
    [IPC_TYPE_SESSION_OPEN] = on_session_open,
    [IPC_TYPE_SESSION_CLOSE] = on_session_close,
    [IPC_TYPE_RCPT_CHECK] = on_rcpt_check,
    [IPC_TYPE_BODY_CHUNK] = on_body_chunk,
    [IPC_TYPE_BODY_ABORT] = on_body_abort,
    [IPC_TYPE_COMMIT] = on_commit,
    [IPC_TYPE_COMMIT_ASK] = on_commit_ask,
    [IPC_TYPE_LOGIN] = on_login,
    [IPC_TYPE_SCRAM_BEGIN] = on_scram_begin,
    [IPC_TYPE_SCRAM_FINISH] = on_scram_finish,
    [IPC_TYPE_LOGIN_EXTERNAL] = on_login_external,
    [IPC_TYPE_SENDER_CHECK] = on_sender_check,
    [IPC_TYPE_RESUME] = on_resume,
    [IPC_TYPE_MAILDROP_OPEN] = on_maildrop_open,
    [IPC_TYPE_MAILDROP_LIST] = on_maildrop_list,
    [IPC_TYPE_MESSAGE_READ] = on_message_read,
    [IPC_TYPE_MAILDROP_EXPUNGE] = on_maildrop_expunge,
    [IPC_TYPE_MAILBOX_LIST] = on_mailbox_list,
    [IPC_TYPE_MAILBOX_STATUS] = on_mailbox_status,
    [IPC_TYPE_MAILBOX_CHANGE] = on_mailbox_change,
    [IPC_TYPE_MAILBOX_OPEN] = on_mailbox_open,
    [IPC_TYPE_MAILBOX_WATCH] = on_mailbox_watch,
    [IPC_TYPE_UIDS_READ] = on_uids_read,
    [IPC_TYPE_VANISHED_READ] = on_vanished_read,
    [IPC_TYPE_CHANGES_READ] = on_changes_read,
    [IPC_TYPE_MESSAGE_LIST] = on_message_list,
    [IPC_TYPE_MESSAGE_CHANGE] = on_message_change,
    [IPC_TYPE_APPEND_MESSAGE] = on_append_message,
    [IPC_TYPE_APPEND_ABORT] = on_append_abort,
    [IPC_TYPE_APPEND_COMMIT] = on_append_commit,
    [IPC_TYPE_APPEND_ASK] = on_append_ask,
    [IPC_TYPE_DOMAIN_ADD] = on_domain_add,
    [IPC_TYPE_DOMAIN_REMOVE] = on_domain_remove,
    [IPC_TYPE_DOMAIN_LIST] = on_domain_list,
    [IPC_TYPE_ACCOUNT_ADD] = on_account_add,
    [IPC_TYPE_ACCOUNT_REMOVE] = on_account_remove,
    [IPC_TYPE_ACCOUNT_SET] = on_account_set,
    [IPC_TYPE_ACCOUNT_LIST] = on_account_list,
    [IPC_TYPE_ALIAS_ADD] = on_alias_add,
    [IPC_TYPE_ALIAS_REMOVE] = on_alias_remove,
    [IPC_TYPE_ALIAS_LIST] = on_alias_list,
    [IPC_TYPE_ADDRESS_RESOLVE] = on_address_resolve,
    [IPC_TYPE_GRANT_ADD] = on_grant_add,
    [IPC_TYPE_GRANT_REMOVE] = on_grant_remove,
    [IPC_TYPE_GRANT_LIST] = on_grant_list,
    [IPC_TYPE_QUEUE_LIST] = on_queue_list,
    [IPC_TYPE_QUEUE_REMOVE] = on_queue_remove,
    [IPC_TYPE_TRACE] = on_trace,
    [IPC_TYPE_STATUS_ASK] = on_status_ask,
    [IPC_TYPE_STORE_CHECK] = on_store_check,
    [IPC_TYPE_STORE_REBUILD] = on_store_rebuild,
    [IPC_TYPE_STORE_COMPACT] = on_store_compact,
};

/* What each kind of role has sessions of. */
static const unsigned services[IPC_ROLE_COUNT] = {
    [IPC_ROLE_SMTP] = IPC_SERVICE_BIT(IPC_SERVICE_SMTP) | IPC_SERVICE_BIT(IPC_SERVICE_LMTP) |
                      IPC_SERVICE_BIT(IPC_SERVICE_LMTP_LOCAL),
    [IPC_ROLE_SUBMISSION] = IPC_SERVICE_BIT(IPC_SERVICE_SUBMISSION) |
                            IPC_SERVICE_BIT(IPC_SERVICE_SUBMISSIONS) |
                            IPC_SERVICE_BIT(IPC_SERVICE_SUBMISSION_LOCAL),
    [IPC_ROLE_POP3] = IPC_SERVICE_BIT(IPC_SERVICE_POP3) | IPC_SERVICE_BIT(IPC_SERVICE_POP3S),
    [IPC_ROLE_IMAP] = IPC_SERVICE_BIT(IPC_SERVICE_IMAP) | IPC_SERVICE_BIT(IPC_SERVICE_IMAPS),
};

bool server_serves(enum ipc_role role, uint8_t service)
{
    return role < IPC_ROLE_COUNT && service < IPC_SERVICE_COUNT &&
           (services[role] & IPC_SERVICE_BIT(service));
}

/* ---- peers ---- */

static struct span channel_key(struct net_channel *const *c)
{
    return span_make(c, sizeof(struct net_channel *));
}

struct peer *server_peer(const struct server *sv, uint64_t serial)
{
    return map_get(&sv->peers, map_u64_key(&serial));
}

uint64_t server_serial(struct server *sv)
{
    return ++sv->last_serial;
}

uint64_t server_now_ms(const struct server *sv)
{
    return net_loop_now_ms(sv->loop);
}

void server_channel_up(struct server *sv, struct net_channel *c)
{
    struct peer *p = mem_zalloc(sizeof *p);
    p->server = sv;
    p->channel = c;
    p->role = net_channel_peer_role(c);
    p->instance = net_channel_peer_instance(c);
    p->sessions.channel = server_serial(sv);
    map_put(&sv->peers, map_u64_key(&p->sessions.channel), p);
    map_put(&sv->by_channel, channel_key(&c), p);
}

static void peer_free(struct server *sv, struct peer *p)
{
    while (p->sessions.first)
        server_session_close(sv, p->sessions.first);
    map_remove(&sv->peers, map_u64_key(&p->sessions.channel));
    free(p);
}

static void reap(void *context)
{
    struct server *sv = context;
    while (sv->dead) {
        struct peer *p = sv->dead;
        sv->dead = p->next_dead;
        peer_free(sv, p);
    }
}

void server_channel_down(struct server *sv, struct net_channel *c)
{
    struct peer *p = map_remove(&sv->by_channel, channel_key(&c));
    assert(p);
    p->channel = NULL;
    p->next_dead = sv->dead;
    sv->dead = p;
    /* Not now: a handler may be using it. */
    net_timer_set(sv->reaper, 0);
}

void server_message(struct server *sv, struct net_channel *c, const struct ipc_message *m)
{
    struct peer *p = map_get(&sv->by_channel, channel_key(&c));
    assert(p);
    reap(sv); /* a new channel's first words come after the old one's end */
    server_handler *handler = m->type < sizeof handlers / sizeof *handlers ? handlers[m->type] : NULL;
    if (!handler) {
        server_fault(p, "a message the store has no answer to");
        return;
    }
    handler(sv, p, m);
}

/* Who does not read the answers may not ask more, nor who has asked for so many that they might not be read.
 */
static void pause_or_resume(const struct peer *p)
{
    if (p->channel)
        net_channel_pause(p->channel, net_channel_congested(p->channel) || p->reads >= SERVER_PEER_READS);
}

void server_drained(struct server *sv, struct net_channel *c)
{
    const struct peer *p = map_get(&sv->by_channel, channel_key(&c));
    assert(p);
    pause_or_resume(p);
}

void server_send(struct peer *p, const struct ipc_message *m)
{
    if (!p->channel)
        return;
    int rc = net_channel_send(p->channel, m);
    if (rc != BRANT_OK && p->channel) /* our own bug: the question stays unanswered */
        log_event(LOG_ERROR, "store-answer-lost", LOG_STR("message", ipc_type_name(m->type)),
                  LOG_STR("error", brant_err_text(rc)));
    if (p->channel && net_channel_congested(p->channel))
        net_channel_pause(p->channel, true);
}

void server_fault(struct peer *p, const char *text)
{
    if (p->channel)
        net_channel_fault(p->channel, text);
}

void server_session_close(struct server *sv, struct session *session)
{
    arriving_session_closed(sv, session);
    logins_session_closed(sv, session);
    reading_session_closed(sv, session);
    appends_session_closed(sv, session);
    watches_clear(sv, session);
    sessions_close(&sv->sessions, session);
}

void server_result(struct peer *p, uint32_t tag, enum ipc_status status, const char *text)
{
    struct ipc_message m = {.type = IPC_TYPE_RESULT, .tag = tag, .result = {.status = (uint8_t)status}};
    if (text)
        m.result.text = span_sub(span_str(text), 0, IPC_TEXT_MAX);
    server_send(p, &m);
}

enum ipc_status server_status_of(int rc)
{
    switch (rc) {
    case BRANT_OK:
        return IPC_OK;
    case BRANT_ESYNTAX:
        return IPC_INVALID;
    case BRANT_ELIMIT:
    case BRANT_EREFUSED:
    case BRANT_ESTATE:
        return IPC_REFUSED;
    case BRANT_ETRYLATER:
        return IPC_TRY_LATER;
    case BRANT_ENOTFOUND:
        return IPC_NOT_FOUND;
    case BRANT_EEXISTS:
        return IPC_EXISTS;
    case BRANT_ECORRUPT:
        return IPC_DAMAGED;
    case BRANT_ENOSPACE:
        return IPC_NO_SPACE;
    default:
        return IPC_FAILED;
    }
}

/* ---- work that comes back ---- */

bool server_read(struct server *sv, struct read_work *r)
{
    struct peer *p = server_peer(sv, r->peer);
    r->sv = sv;
    if (workers_submit(sv->readers, &r->work) != BRANT_OK)
        return false;
    if (p) {
        p->reads++;
        pause_or_resume(p);
    }
    return true;
}

static void readers_done(void *context)
{
    struct server *sv = context;
    for (struct work *w; (w = workers_next(sv->readers)) != NULL;) {
        struct read_work *r = (struct read_work *)w;
        struct peer *p = server_peer(sv, r->peer);
        if (p)
            p->reads--;
        r->finish(r);
        if (p)
            pause_or_resume(p);
    }
}

static void stagers_done(void *context)
{
    struct server *sv = context;
    for (struct work *w; (w = workers_next(sv->stagers)) != NULL;)
        arriving_work_done(sv, w);
}

static void carers_done(void *context)
{
    struct server *sv = context;
    for (struct work *w; (w = workers_next(sv->carers)) != NULL;)
        care_work_done(sv, w);
}

static void passwords_done(void *context)
{
    struct server *sv = context;
    struct passwords_result r;
    while (passwords_next(sv->passwords, server_now_ms(sv), &r) == BRANT_OK) {
        struct password_task *t = map_remove(&sv->logins, map_u64_key(&r.id));
        assert(t);
        t->finish(sv, t, &r);
        mem_wipe(&r, sizeof r);
    }
}

/* ---- the disk ---- */

/* Says once when mail begins to be refused for lack of space, and when it is taken again. */
static void space_tick(void *context)
{
    struct server *sv = context;
    net_timer_set(sv->space_timer, SPACE_TICK_MS);
    bool accepting = store_accepting(sv->store);
    if (accepting == sv->accepting)
        return;
    sv->accepting = accepting;
    struct store_status s;
    store_status_get(sv->store, &s);
    log_event(accepting ? LOG_INFO : LOG_ERROR, accepting ? "store-space-back" : "store-space-low",
              LOG_U64("free_bytes", s.free_bytes), LOG_U64("reserve_bytes", s.reserve_bytes));
}

/* ---- beginning and end ---- */

static int64_t seam_now_ms(void *context)
{
    (void)context;
    return os_clock_wall_ms();
}

static void seam_random(void *context, void *out, size_t len)
{
    (void)context;
    os_random_fill(out, len);
}

static const struct store_seam seam = {.now_ms = seam_now_ms, .random = seam_random};

/* Rule 6: after a failed sync nobody knows what is on the disk. Nothing more is acknowledged; the next
 * process reads back what is there. Runs on the writer's thread, which must not return to its work. */
static void store_fatal(void *context)
{
    (void)context;
    log_event(LOG_ERROR, "store-fatal",
              LOG_STR("reason", "journal or index could not be made durable; this process ends here"),
              LOG_I64("errno", os_fs_errno()));
    _exit(EXIT_FAILURE);
}

static void log_opened(const struct store_opened *o)
{
    const struct journal_recovery *j = &o->journal;
    log_event(LOG_INFO, "store-open", LOG_U64("seq", j->last_seq), LOG_U64("durable_seq", j->durable_seq),
              LOG_U64("records_copied", j->records_copied), LOG_U64("torn_bytes", j->torn_bytes),
              LOG_U64("records_applied", o->records_applied), LOG_U64("orphans_removed", o->orphans_removed),
              LOG_STR("index", o->index_rebuilt ? "rebuilt" : "kept"));
    if (j->damaged_records > 0 || o->records_damaged > 0)
        log_event(LOG_ERROR, "store-damage", LOG_U64("records", j->damaged_records),
                  LOG_U64("first_seq", j->damaged_first_seq), LOG_U64("not_applied", o->records_damaged),
                  LOG_STR("advice", "see brant store check --deep"));
    if (j->read_only)
        log_event(LOG_ERROR, "store-read-only",
                  LOG_STR("reason", "what recovery found could not be made durable; mail is refused"));
}

static void configure_store(struct store_config *c, const struct conf *conf)
{
    store_config_default(c);
    c->segment_bytes = conf->journal_segment_bytes;
    c->reserve_bytes = conf->disk_reserve_bytes;
    c->message_bytes_max = conf->max_message_size_bytes;
    /* Room for several of the largest in staging; one source may have a quarter of it. */
    if (c->staged_bytes_max < 8 * c->message_bytes_max)
        c->staged_bytes_max = 8 * c->message_bytes_max;
    c->body_memory_max = conf->body_memory_bytes;
    c->lag_records_max = (uint32_t)conf->index_lag_records;
    c->compact_live_percent = 100 - (uint32_t)conf->compact_dead_percent;
    uint64_t least = c->wal_bytes_max + c->message_bytes_max * 3 / 2; /* what a message under way may need */
    if (c->reserve_bytes < least)
        c->reserve_bytes = least;
    c->delimiter = conf->recipient_delimiter[0];
}

void server_configure(struct server *sv, const struct conf *conf)
{
    struct sessions_limits limits = {.per_source = conf->max_connections_per_source,
                                     .total = conf->max_connections};
    for (unsigned service = 1; service < IPC_SERVICE_COUNT; service++)
        limits.service[service] = conf->max_connections;
    limits.service[IPC_SERVICE_POP3] = conf->pop3_max_sessions; /* with and without TLS */
    limits.service[IPC_SERVICE_IMAP] = conf->imap_max_sessions;
    sessions_set_limits(&sv->sessions, &limits);
    throttle_set_limits(&sv->throttle,
                        &(struct throttle_limits){.account_failures = conf->auth_account_failures,
                                                  .source_failures = conf->auth_source_failures});
    rates_set_limits(&sv->rates,
                     &(struct rates_limits){.messages_per_hour = conf->submission_messages_per_hour,
                                            .recipients_per_day = conf->submission_recipients_per_day});
    sv->failure_delay_ms = conf->auth_failure_delay_ms;
    snprintf(sv->default_domain, sizeof sv->default_domain, "%s", conf->auth_default_domain);
    sv->local_submission = conf->submission_socket[0] != 0;
    sv->client_certificates = conf->tls_client_certificate == CONF_CLIENT_CERTIFICATE_ALL;
    configure_store(&sv->store_config, conf);
    store_reconfigure(sv->store, &sv->store_config);
}

static struct workers *start_pool(unsigned threads, int nice, size_t queue_max, void **states)
{
    return workers_new(
        &(struct workers_config){.threads = threads, .nice = nice, .queue_max = queue_max, .states = states});
}

static int start_threads(struct server *sv)
{
    for (size_t i = 0; i < SERVER_READERS; i++) {
        int rc = store_reader_new(sv->store, &sv->reader_states[i]);
        if (rc != BRANT_OK)
            return rc;
    }
    int rc = store_reader_new(sv->store, &sv->care_reader);
    if (rc != BRANT_OK)
        return rc;
    if ((rc = store_threads_start(sv->store)) != BRANT_OK)
        return rc;
    sv->readers = start_pool(SERVER_READERS, 0, SERVER_READS_MAX, (void **)sv->reader_states);
    sv->stagers = start_pool(SERVER_STAGERS, 0, SERVER_STAGES_MAX, NULL);
    sv->carers = start_pool(1, 10, 1, (void **)&sv->care_reader);
    if (!sv->readers || !sv->stagers || !sv->carers)
        return BRANT_EIO;
    sv->readers_watch = net_watch_new(sv->loop, workers_fd(sv->readers), readers_done, sv);
    sv->stagers_watch = net_watch_new(sv->loop, workers_fd(sv->stagers), stagers_done, sv);
    sv->carers_watch = net_watch_new(sv->loop, workers_fd(sv->carers), carers_done, sv);
    return BRANT_OK;
}

static int start_passwords(struct server *sv)
{
    sv->passwords = passwords_new(&(struct passwords_config){.threads = 2,
                                                             .queue_max = SERVER_LOGINS_MAX,
                                                             .cache_max = 10000,
                                                             .cost = {.memory_kib = 19456, .passes = 2},
                                                             .iterations = SCRAM_KEYS_ITERATIONS});
    if (!sv->passwords)
        return BRANT_EIO;
    sv->passwords_watch = net_watch_new(sv->loop, passwords_fd(sv->passwords), passwords_done, sv);
    return BRANT_OK;
}

static int open_store(struct server *sv)
{
    int root = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return BRANT_EIO;
    sv->fs = os_fs_open_real(root);
    int rc = store_open(sv->fs, &sv->store_config, &seam, &sv->store, &sv->opened);
    if (rc != BRANT_OK) {
        os_fs_free(sv->fs);
        return rc;
    }
    store_on_fatal(sv->store, store_fatal, sv);
    store_on_news(sv->store, watches_news, &sv->watches);
    log_opened(&sv->opened);
    return BRANT_OK;
}

/* A predecessor that was told to end, or whose supervisor was killed, may still be finishing its last batch:
 * a server waits for the lock a while. The command line is told at once. */
static int open_store_patiently(struct server *sv, bool offline)
{
    int rc = open_store(sv);

    for (int waited_ms = 0; rc == BRANT_ESTATE && !offline && waited_ms < LOCK_WAIT_MS;
         waited_ms += LOCK_POLL_MS) {
        poll(NULL, 0, LOCK_POLL_MS);
        rc = open_store(sv);
    }
    return rc;
}

/* ---- what logins need ---- */

static void sources_save(struct server *sv)
{
    struct buf _cleanup_buf_ file;
    buf_init(&file, KNOWN_FILE_MAX);
    if (!sv->known.changed)
        return;
    known_save(&sv->known, &file, os_clock_wall_ms());
    int rc = files_write(sv->fs, "sources", buf_span(&file), false);
    if (rc != BRANT_OK)
        log_event(LOG_WARNING, "store-sources-not-saved", LOG_STR("error", brant_err_text(rc)),
                  LOG_I64("errno", os_fs_errno()));
}

static void sources_tick(void *context)
{
    struct server *sv = context;
    net_timer_set(sv->known_timer, SOURCES_SAVE_MS);
    sources_save(sv);
}

static void open_logins(struct server *sv, struct map_key key)
{
    struct buf _cleanup_buf_ file;
    int rc = files_secret(sv->fs, sv->secret);
    if (rc != BRANT_OK)
        log_event(
            LOG_ERROR, "store-secret-not-saved", LOG_STR("error", brant_err_text(rc)),
            LOG_I64("errno", os_fs_errno()),
            LOG_STR("meaning", "until the next start salts of unknown names are told by a temporary one"));
    throttle_init(&sv->throttle, THROTTLE_ENTRIES_MAX, key);
    rates_init(&sv->rates, RATES_ACCOUNTS_MAX, key);
    known_init(&sv->known, KNOWN_MAX, sv->secret, key);
    buf_init(&file, KNOWN_FILE_MAX);
    rc = files_read(sv->fs, "sources", &file);
    if (rc == BRANT_OK)
        rc = known_load(&sv->known, buf_span(&file), os_clock_wall_ms());
    if (rc != BRANT_OK && rc != BRANT_ENOTFOUND)
        log_event(LOG_WARNING, "store-sources-forgotten", LOG_STR("error", brant_err_text(rc)));
    map_init(&sv->logins, key);
    sv->delays.max = SERVER_DELAYS_MAX;
    sv->delay_timer = net_timer_new(sv->loop, logins_tick, sv);
    sv->known_timer = net_timer_new(sv->loop, sources_tick, sv);
    net_timer_set(sv->known_timer, SOURCES_SAVE_MS);
}

static void close_logins(struct server *sv)
{
    map_done(&sv->logins);
    throttle_done(&sv->throttle);
    rates_done(&sv->rates);
    known_done(&sv->known);
    net_timer_free(sv->delay_timer);
    net_timer_free(sv->known_timer);
    mem_wipe(sv->secret, sizeof sv->secret);
}

int server_open(struct server *sv, struct net_loop *loop, const struct conf *conf, bool offline)
{
    sv->loop = loop;
    sv->offline = offline;
    sv->started_ms = server_now_ms(sv);
    configure_store(&sv->store_config, conf);
    int rc = open_store_patiently(sv, offline);
    if (rc != BRANT_OK) {
        log_event(LOG_ERROR, "store-open-failed", LOG_STR("error", brant_err_text(rc)),
                  LOG_STR("meaning", rc == BRANT_ESTATE ? "another process has the data directory" : ""),
                  LOG_I64("errno", os_fs_errno()));
        return rc;
    }
    struct map_key key;
    os_random_fill(&key, sizeof key);
    sessions_init(&sv->sessions, &(struct sessions_limits){0}, key);
    map_init(&sv->peers, key);
    map_init(&sv->by_channel, key);
    map_init(&sv->commits, key);
    open_logins(sv, key);
    arriving_init(&sv->arriving, sv, key);
    appends_init(&sv->appends, key);
    watches_init(&sv->watches, sv, key);
    ops_init(&sv->ops, loop);
    sv->reaper = net_timer_new(loop, reap, sv);
    sv->space_timer = net_timer_new(loop, space_tick, sv);
    sv->reading_timer = net_timer_new(loop, reading_tick, sv);
    reading_tick(sv);
    sv->accepting = true;
    net_timer_set(sv->space_timer, 0);
    server_configure(sv, conf);
    rc = start_threads(sv);
    if (rc == BRANT_OK)
        rc = start_passwords(sv);
    if (rc != BRANT_OK)
        log_event(LOG_ERROR, "store-threads-failed", LOG_STR("error", brant_err_text(rc)));
    return rc;
}

static void read_drop(struct work *work)
{
    struct read_work *r = (struct read_work *)work;
    r->finish(r); /* its peer is gone: it only frees */
}

/* The store and everything that reads it. */
static void stop_store(struct server *sv)
{
    struct net_watch **watches[] = {&sv->readers_watch, &sv->stagers_watch, &sv->carers_watch};
    for (size_t i = 0; i < sizeof watches / sizeof *watches; i++) {
        net_watch_free(*watches[i]);
        *watches[i] = NULL;
    }
    workers_free(sv->readers, read_drop);
    workers_free(sv->stagers, arriving_work_drop);
    workers_free(sv->carers, NULL);
    sv->readers = sv->stagers = sv->carers = NULL;
    care_close(sv);
    arriving_close(&sv->arriving);
    appends_close(&sv->appends);
    for (size_t i = 0; i < SERVER_READERS; i++)
        store_reader_free(sv->reader_states[i]);
    store_reader_free(sv->care_reader);
    memset(sv->reader_states, 0, sizeof sv->reader_states);
    sv->care_reader = NULL;
    store_close(sv->store);
    sv->store = NULL;
    os_fs_free(sv->fs);
    sv->fs = NULL;
}

int server_rebuild(struct server *sv, struct store_opened *ret)
{
    if (!server_idle(sv))
        return BRANT_ETRYLATER;
    stop_store(sv);
    int root = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = BRANT_EIO;
    if (root >= 0) {
        struct os_fs *fs = os_fs_open_real(root);
        rc = store_rebuild(fs, &sv->store_config, &seam, ret);
        os_fs_free(fs);
    }
    int opened = open_store(sv);
    if (opened == BRANT_OK)
        opened = start_threads(sv);
    if (opened != BRANT_OK) { /* there is nothing to serve any more */
        log_event(LOG_ERROR, "store-open-failed", LOG_STR("error", brant_err_text(opened)));
        _exit(EXIT_FAILURE);
    }
    return rc;
}

void server_close(struct server *sv)
{
    struct map_iter it = map_iterate(&sv->by_channel);
    for (struct peer *p; (p = map_next(&it, NULL)) != NULL;) {
        p->channel = NULL;
        p->next_dead = sv->dead;
        sv->dead = p;
    }
    reap(sv);
    sources_save(sv);
    stop_store(sv);
    net_watch_free(sv->passwords_watch);
    passwords_free(sv->passwords);
    it = map_iterate(&sv->logins);
    for (struct password_task *t; (t = map_next(&it, NULL)) != NULL;)
        t->drop(t);
    arriving_done(&sv->arriving);
    ops_done(&sv->ops);
    appends_done(&sv->appends);
    watches_done(&sv->watches);
    map_done(&sv->peers);
    map_done(&sv->by_channel);
    map_done(&sv->commits);
    sessions_done(&sv->sessions);
    close_logins(sv);
    net_timer_free(sv->reaper);
    net_timer_free(sv->space_timer);
    net_timer_free(sv->reading_timer);
    tokens_done(&sv->tokens);
}

bool server_idle(const struct server *sv)
{
    return sv->ops.count == 0 && sv->logins.len == 0 && sv->commits.len == 0 && !sv->care &&
           workers_pending(sv->readers) == 0 && workers_pending(sv->stagers) == 0;
}
