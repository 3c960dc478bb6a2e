/* Commands: the table, those that are done at once, and the tagged responses. */
#include <stdarg.h>
#include <stdlib.h>

#include "base/err.h"
#include "imap/put.h"
#include "imap/server_internal.h"

/* ---- responses ---- */

void imap_reply_reset(struct imap_reply *reply)
{
    reply->condition = NULL;
    reply->text = NULL;
    reply->modseq = false;
    reply->set_count = 0;
    reply->step = 0;
    reply->at = 0;
    buf_reset(&reply->code);
    buf_shrink(&reply->code);
    for (int i = 0; i < 2; i++)
        imap_set_done(&reply->sets[i]);
}

/* Writes as much as there is room for; true when all is written. */
bool imap_reply_write(struct imap_server *s, struct imap_reply *reply, const char *tag)
{
    if (imap_full(s, 1024))
        return false;
    if (reply->step == 0) {
        if (reply->modseq && !reply->code.len && s->box) /* RFC 7162 3.2.10 */
            buf_printf(&reply->code, "HIGHESTMODSEQ %llu", (unsigned long long)s->box->modseq);
        imap_put(s, tag);
        imap_put(s, " ");
        imap_put(s, reply->condition);
        imap_put(s, reply->code.len ? " [" : " ");
        buf_append(&s->out, buf_span(&reply->code));
        s->mid_line = true;
        reply->step = 1;
    }
    for (; reply->step <= reply->set_count; reply->step++, reply->at = 0) {
        if (reply->at == 0)
            imap_put(s, " ");
        if (!imap_set_write(&reply->sets[reply->step - 1], &reply->at, imap_room(s) - 512, &s->out))
            return false;
    }
    imap_put(s, reply->code.len ? "] " : "");
    imap_put(s, reply->text);
    imap_put(s, "\r\n");
    s->mid_line = false;
    return true;
}

void imap_code(struct imap_server *s, const char *format, ...)
{
    va_list args;

    buf_reset(&s->reply.code);
    va_start(args, format);
    buf_vprintf(&s->reply.code, format, args);
    va_end(args);
}

/* The job, if there is one, is over. */
static void job_end(struct imap_server *s)
{
    const struct imap_job *job = s->job;

    if (job && job->release)
        job->release(s);
    else
        free(s->run);
    s->run = NULL;
    s->job = NULL;
    imap_fetch_release(s);
    imap_earlier_release(s);
    imap_slice_release(s);
    imap_message_release(s);
}

void imap_job_start(struct imap_server *s, const struct imap_job *job, void *run)
{
    s->job = job;
    s->run = run;
    s->stage = RUN;
}

void imap_finish(struct imap_server *s, const char *condition, const char *text)
{
    job_end(s);
    s->reply.condition = condition;
    s->reply.text = text;
    s->stage = SYNC;
}

void imap_bad(struct imap_server *s, const char *text)
{
    s->bad_counts = true;
    imap_finish(s, "BAD", text);
}

void imap_no(struct imap_server *s, enum imap_failure failure, bool target)
{
    static const struct {
        const char *code, *text;
    } texts[] = {
        [IMAP_FAIL_NOT_FOUND] = {"NONEXISTENT", "there is no such mailbox"},
        [IMAP_FAIL_EXISTS] = {"ALREADYEXISTS", "there is such a mailbox already"},
        [IMAP_FAIL_CANNOT] = {"CANNOT", "that cannot be done with this mailbox"},
        [IMAP_FAIL_QUOTA] = {"OVERQUOTA", "the quota is used up"},
        [IMAP_FAIL_LIMIT] = {"LIMIT", "a limit is reached"},
        [IMAP_FAIL_DENIED] = {"NOPERM", "that is not permitted"},
        [IMAP_FAIL_USE] = {"USEATTR", "that special use cannot be given"},
        [IMAP_FAIL_TRY_LATER] = {"UNAVAILABLE", "not now, try again later"},
        [IMAP_FAIL_CORRUPT] = {"CORRUPTION", "what was stored cannot be read"},
    };

    if (failure == IMAP_FAIL_NOT_FOUND && target)
        imap_code(s, "TRYCREATE"); /* RFC 3501 7.1 */
    else
        imap_code(s, "%s", texts[failure].code);
    imap_finish(s, "NO", texts[failure].text);
}

void imap_command_done(struct imap_server *s)
{
    bool bad = s->bad_counts, logout = s->logout, ok = s->reply.condition[0] == 'O';
    uint32_t max = s->phase == STRANGER ? s->config.login_errors_max : s->config.errors_max;

    s->stats.commands++;
    imap_reply_reset(&s->reply);
    imap_reply_reset(&s->notice);
    imap_sync_release(s);
    imap_append_release(s);
    arena_wipe(&s->arena); /* a password may have been unquoted into it */
    buf_done(&s->name);
    buf_done(&s->target);
    s->sync.expunges = s->sync.wanted = s->sync.no = s->sync.uid = false;
    s->bad_counts = s->too_long = s->uid_command = s->logout = false;
    s->tag[0] = '\0';
    s->stage = READY;
    s->active_ms = s->now_ms;
    if (s->phase != STRANGER &&
        s->frame.text.secret) { /* logged in: what comes now is no secret, and longer */
        imap_frame_done(&s->frame);
        imap_frame_init(&s->frame, s->config.command_bytes_max, SKIP_BYTES_MAX, false);
    } else {
        s->frame.skip_max = SKIP_BYTES_MAX;
        imap_frame_next_command(&s->frame);
    }
    if (s->phase == STRANGER && s->login_failures >= s->config.login_failures_max)
        imap_end(s, IMAP_CLOSE_FAILURES);
    else if (bad && ++s->errors >= max)
        imap_end(s, IMAP_CLOSE_ERRORS);
    else if (ok && s->phase != STRANGER)
        s->errors = 0;
    if (logout)
        imap_end(s, IMAP_CLOSE_LOGOUT);
}

/* ---- capabilities ---- */

static void capability(struct buf *out, const char *name)
{
    buf_append_byte(out, ' ');
    buf_append_str(out, name);
}

static void put_mechanisms(struct imap_server *s, struct buf *out)
{
    struct span list = span_str(imap_sasl_offered(s) ? s->offer.sasl : "");

    while (list.len) {
        struct span name = span_sub(list, 0, span_find_byte(list, ' '));

        buf_append_str(out, " AUTH=");
        buf_append(out, name);
        list = span_from(list, name.len + 1);
    }
}

void imap_capabilities(struct imap_server *s, struct buf *out)
{
    static const struct {
        unsigned extension;
        const char *names;
    } store[] = {{IMAP_EXT_CONDSTORE, "CONDSTORE"},
                 {IMAP_EXT_QRESYNC, "QRESYNC"},
                 {IMAP_EXT_SPECIAL_USE, "SPECIAL-USE CREATE-SPECIAL-USE"},
                 {IMAP_EXT_OBJECTID, "OBJECTID"},
                 {IMAP_EXT_SAVEDATE, "SAVEDATE"},
                 {IMAP_EXT_COMPRESS, "COMPRESS=DEFLATE"}};

    buf_append_str(out, "IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE");
    if (s->phase == STRANGER) {
        if (s->offer.starttls && !s->tls)
            capability(out, "STARTTLS");
        if (!s->offer.password)
            capability(out, "LOGINDISABLED");
        put_mechanisms(s, out);
        return;
    }
    buf_append_str(out,
                   " NAMESPACE CHILDREN LIST-EXTENDED LIST-STATUS STATUS=SIZE UNSELECT UIDPLUS MOVE IDLE "
                   "ESEARCH SEARCHRES WITHIN MULTIAPPEND BINARY UTF8=ACCEPT PREVIEW");
    buf_printf(out, " APPENDLIMIT=%llu", (unsigned long long)s->config.append_bytes_max);
    for (size_t i = 0; i < sizeof store / sizeof store[0]; i++)
        if (s->offer.extensions & store[i].extension &&
            !(store[i].extension == IMAP_EXT_COMPRESS && s->compressed))
            capability(out, store[i].names);
}

static void run_capability(struct imap_server *s, struct imap_lex *lex)
{
    (void)lex;
    imap_put(s, "* CAPABILITY ");
    imap_capabilities(s, &s->out);
    imap_put(s, "\r\n");
    imap_finish(s, "OK", "these");
}

/* ---- at once ---- */

/* NOOP and CHECK: what is new is told behind them, whether or not there was a notice. */
static void run_noop(struct imap_server *s, struct imap_lex *lex)
{
    (void)lex;
    s->sync.wanted = true;
    imap_finish(s, "OK", "done");
}

static void run_logout(struct imap_server *s, struct imap_lex *lex)
{
    (void)lex;
    imap_untagged(s, "BYE until next time");
    s->logout = true;
    s->sync.no = true;
    imap_finish(s, "OK", "logged out");
}

/* RFC 2971 3.1: up to 30 pairs of field and value, or NIL. */
static bool id_pairs(struct imap_lex *lex)
{
    struct span text;

    if (imap_lex_word(lex, "NIL"))
        return true;
    if (!imap_lex_byte(lex, '('))
        return false;
    for (int i = 0; i < 30 && imap_lex_peek(lex) != ')'; i++) {
        if (i && !imap_lex_space(lex))
            return false;
        if (!imap_lex_string(lex, &text) || text.len > 30 || !imap_lex_space(lex) ||
            !imap_lex_nstring(lex, &text) || text.len > 1024)
            return false;
    }
    return imap_lex_byte(lex, ')');
}

static void run_id(struct imap_server *s, struct imap_lex *lex)
{
    if (!id_pairs(lex)) {
        imap_bad(s, "a list of fields and values is wanted");
    } else if (imap_command_ends(s, lex)) {
        imap_untagged(s, "ID (\"name\" \"brant\")");
        imap_finish(s, "OK", "pleased to meet you");
    }
}

void imap_condstore_enable(struct imap_server *s)
{
    if (s->condstore || !(s->offer.extensions & IMAP_EXT_CONDSTORE))
        return;
    s->condstore = true;
    if (!s->box)
        return;
    imap_put(s, "* OK [HIGHESTMODSEQ "); /* RFC 7162 3.1.2 */
    imap_put_number(s, s->box->modseq);
    imap_put(s, "] from here on MODSEQ is told\r\n");
}

/* Whether the name is of something that can be enabled, and was not before. */
static bool enable(struct imap_server *s, struct span name)
{
    bool *what = NULL;

    if (span_eq_str_nocase(name, "UTF8=ACCEPT")) {
        what = &s->utf8;
    } else if (span_eq_str_nocase(name, "IMAP4rev2")) {
        what = &s->rev2;
    } else if (span_eq_str_nocase(name, "CONDSTORE") && s->offer.extensions & IMAP_EXT_CONDSTORE) {
        bool before = s->condstore;

        imap_condstore_enable(s);
        return !before;
    } else if (span_eq_str_nocase(name, "QRESYNC") && s->offer.extensions & IMAP_EXT_QRESYNC) {
        imap_condstore_enable(s);
        what = &s->qresync;
    }
    if (!what || *what)
        return false;
    *what = true;
    return true;
}

/* RFC 5161 3.1 */
static void run_enable(struct imap_server *s, struct imap_lex *lex)
{
    struct buf names;
    struct span name;

    buf_init(&names, 256);
    for (;;) {
        if (!imap_lex_atom(lex, &name)) {
            imap_bad(s, "names of capabilities are wanted");
            break;
        }
        if (enable(s, name)) {
            buf_append_byte(&names, ' ');
            buf_append(&names, name);
        }
        if (imap_lex_end(lex)) {
            imap_put(s, "* ENABLED");
            buf_append(&s->out, buf_span(&names));
            imap_put(s, "\r\n");
            imap_finish(s, "OK", "done");
            break;
        }
        if (!imap_lex_space(lex)) {
            imap_bad(s, "names of capabilities are wanted");
            break;
        }
    }
    buf_done(&names);
}

/* ---- the table ---- */

enum { ANY = STRANGER | AUTHENTICATED | SELECTED, INSIDE = AUTHENTICATED | SELECTED };

static const struct command {
    const char *verb;
    unsigned phases; /* enum phase */
    bool has_arguments;
    bool expunges; /* EXPUNGE may be sent behind it (RFC 3501 7.4.1) */
    imap_run *run;
} commands[] = {
    {"APPEND", INSIDE, true, true, imap_run_append},
    {"AUTHENTICATE", STRANGER, true, false, imap_run_authenticate},
    {"CAPABILITY", ANY, false, true, run_capability},
    {"CHECK", SELECTED, false, true, run_noop},
    {"CLOSE", SELECTED, false, false, imap_run_close},
    {"COMPRESS", INSIDE, true, true, imap_run_compress},
    {"COPY", SELECTED, true, true, imap_run_copy},
    {"CREATE", INSIDE, true, true, imap_run_create},
    {"DELETE", INSIDE, true, true, imap_run_delete},
    {"ENABLE", INSIDE, true, true, run_enable},
    {"EXAMINE", INSIDE, true, false, imap_run_examine},
    {"EXPUNGE", SELECTED, false, true, imap_run_expunge},
    {"FETCH", SELECTED, true, false, imap_run_fetch},
    {"ID", ANY, true, true, run_id},
    {"IDLE", INSIDE, false, true, imap_run_idle},
    {"LIST", INSIDE, true, true, imap_run_list},
    {"LOGIN", STRANGER, true, false, imap_run_login},
    {"LOGOUT", ANY, false, false, run_logout},
    {"LSUB", INSIDE, true, true, imap_run_lsub},
    {"MOVE", SELECTED, true, true, imap_run_move},
    {"NAMESPACE", INSIDE, false, true, imap_run_namespace},
    {"NOOP", ANY, false, true, run_noop},
    {"RENAME", INSIDE, true, true, imap_run_rename},
    {"SEARCH", SELECTED, true, false, imap_run_search},
    {"SELECT", INSIDE, true, false, imap_run_select},
    {"STARTTLS", STRANGER, false, false, imap_run_starttls},
    {"STATUS", INSIDE, true, true, imap_run_status},
    {"STORE", SELECTED, true, false, imap_run_store},
    {"SUBSCRIBE", INSIDE, true, true, imap_run_subscribe},
    {"UNSELECT", SELECTED, false, false, imap_run_unselect},
    {"UNSUBSCRIBE", INSIDE, true, true, imap_run_unsubscribe},
};

/* RFC 3501 6.4.8: sequence numbers play no part in them, so EXPUNGE may be sent behind all of them. */
static const struct command uid_commands[] = {
    {"COPY", SELECTED, true, true, imap_run_copy},     {"EXPUNGE", SELECTED, true, true, imap_run_expunge},
    {"FETCH", SELECTED, true, true, imap_run_fetch},   {"MOVE", SELECTED, true, true, imap_run_move},
    {"SEARCH", SELECTED, true, true, imap_run_search}, {"STORE", SELECTED, true, true, imap_run_store},
};

static const struct command *find(const struct command *table, size_t count, struct span verb)
{
    for (size_t i = 0; i < count; i++)
        if (span_eq_str_nocase(verb, table[i].verb))
            return &table[i];
    return NULL;
}

/* A browser, or a script in one, that was sent here to have its request taken for mail commands. */
static bool is_http(const char *tag)
{
    static const char *const methods[] = {"GET",     "POST",    "HEAD",  "PUT",
                                          "OPTIONS", "CONNECT", "PATCH", "DELETE"};

    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (strcmp(tag, methods[i]) == 0)
            return true;
    return false;
}

struct imap_lex imap_lex_of(struct imap_server *s, struct span text)
{
    return imap_lex_start(text, &s->arena);
}

bool imap_take_tag(struct imap_server *s, struct imap_lex *lex)
{
    struct span tag;

    if (!imap_lex_tag(lex, &tag) || tag.len > TAG_BYTES_MAX || !imap_lex_space(lex)) {
        memcpy(s->tag, "*", 2);
        return false;
    }
    memcpy(s->tag, tag.p, tag.len);
    s->tag[tag.len] = '\0';
    return true;
}

static const struct command *verb(struct imap_server *s, struct imap_lex *lex)
{
    const struct command *command;
    struct span word;

    if (!imap_lex_atom(lex, &word))
        return NULL;
    if (!span_eq_str_nocase(word, "UID"))
        return find(commands, sizeof commands / sizeof commands[0], word);
    if (!imap_lex_space(lex) || !imap_lex_atom(lex, &word))
        return NULL;
    command = find(uid_commands, sizeof uid_commands / sizeof uid_commands[0], word);
    s->uid_command = command != NULL;
    return command;
}

bool imap_command_ends(struct imap_server *s, struct imap_lex *lex)
{
    if (imap_lex_end(lex))
        return true;
    imap_bad(s, "there is more behind the command than belongs there");
    return false;
}

void imap_command(struct imap_server *s, struct span text)
{
    struct imap_lex lex = imap_lex_of(s, text);
    const struct command *command;

    if (!imap_take_tag(s, &lex)) {
        imap_bad(s, "a tag and a command are wanted");
        return;
    }
    command = verb(s, &lex);
    if (!command && s->phase == STRANGER && is_http(s->tag)) {
        imap_end(s, IMAP_CLOSE_PROTOCOL);
        return;
    }
    if (s->too_long) {
        imap_code(s, "TOOBIG");
        imap_bad(s, "the command is too long");
    } else if (!command) {
        imap_bad(s, "unknown command");
    } else if (!(command->phases & s->phase)) {
        imap_bad(s, s->phase == STRANGER          ? "log in first"
                    : command->phases == STRANGER ? "you are logged in already"
                                                  : "select a mailbox first");
    } else if (command->has_arguments ? !imap_lex_space(&lex) : !imap_lex_end(&lex)) {
        imap_bad(s, command->has_arguments ? "arguments are missing" : "this command has no arguments");
    } else {
        s->sync.expunges = command->expunges;
        s->sync.uid = s->uid_command;
        command->run(s, &lex);
    }
}

bool imap_take_name(struct imap_server *s, struct imap_lex *lex, bool fresh, struct buf *to)
{
    bool utf8 = s->utf8 || s->rev2;
    struct span said;
    int err;

    if (!imap_lex_astring(lex, &said)) {
        imap_bad(s, "the name of a mailbox is wanted");
        return false;
    }
    err = fresh ? imap_name_parse_new(said, utf8, to) : imap_name_parse(said, utf8, to);
    if (err == BRANT_OK)
        return true;
    if (fresh) {
        imap_code(s, "CANNOT");
        imap_finish(s, "NO", "no mailbox can have that name");
    } else {
        imap_no(s, IMAP_FAIL_NOT_FOUND, false);
    }
    return false;
}
