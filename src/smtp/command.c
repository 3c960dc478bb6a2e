/* The commands: a table of small functions. */
#include "base/ascii.h"
#include "base/codec.h"
#include "base/err.h"
#include "smtp/param.h"
#include "smtp/server_internal.h"

enum { MX = 1 << SMTP_ROLE_MX, SUBMISSION = 1 << SMTP_ROLE_SUBMISSION, LMTP = 1 << SMTP_ROLE_LMTP };
enum { SMTP = MX | SUBMISSION, ALL = SMTP | LMTP };

struct command {
    const char *verb;
    uint8_t roles;
    bool idle; /* no progress towards a message: bounded by idle_commands_max */
    bool bare; /* takes no argument */
    bool needs_hello;
    void (*perform)(struct smtp_server *s, struct span args);
};

/* RFC 5321 4.1.1.1 lets no server refuse for a name it can't verify, so only the shape of a word is asked
 * for. */
static bool hello_name_ok(struct span name)
{
    if (name.len == 0 || name.len > HELO_BYTES_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.p[i] <= ' ' || name.p[i] >= 0x7f)
            return false;
    return true;
}

static bool hello(struct smtp_server *s, struct span name, enum hello kind)
{
    if (!hello_name_ok(name)) {
        server_error(s, 501, 5, 4, "a domain name or address literal belongs here");
        return false;
    }
    /* RFC 5321 4.1.4: as a RSET. */
    server_drop_transaction(s, s->tx.open);
    s->hello = kind;
    buf_reset(&s->helo);
    buf_append(&s->helo, name);
    buf_shrink(&s->helo);
    s->owed |= OWED_HELO;
    return true;
}

static void perform_helo(struct smtp_server *s, struct span args)
{
    if (!hello(s, args, HELLO_HELO))
        return;
    server_reply(s, 250, 0, 0, s->config.hostname);
}

static void perform_ehlo(struct smtp_server *s, struct span args)
{
    struct buf *out = &s->out;

    if (!hello(s, args, HELLO_EHLO))
        return;
    buf_printf(out, "250-%s\r\n", s->config.hostname);
    buf_append_str(out, "250-PIPELINING\r\n");
    buf_append_str(out, "250-SIZE ");
    buf_append_u64(out, s->config.message_bytes_max);
    buf_append_str(out, "\r\n250-8BITMIME\r\n250-CHUNKING\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n");
    if (s->offer.starttls && !s->tls) /* RFC 3207 4.2: not again */
        buf_append_str(out, "250-STARTTLS\r\n");
    if (auth_on_offer(s))
        buf_printf(out, "250-AUTH %s\r\n", s->offer.auth);
    if (s->offer.xclient)
        buf_append_str(out, "250-XCLIENT " SMTP_XCLIENT_ATTRIBUTES "\r\n");
    buf_printf(out, "250-LIMITS RCPTMAX=%u MAILMAX=%u\r\n", s->config.recipients_max, s->config.messages_max);
    buf_append_str(out, "250 HELP\r\n");
}

/* ---- MAIL and RCPT ------------------------------------------------------------------------------------- */

struct mail_params {
    uint64_t size_bytes;
    bool too_big, smtputf8, eight_bit;
};

/* RFC 1870 3: 1*20DIGIT. */
static bool param_size(struct span value, struct mail_params *p)
{
    int rc = span_to_u64(value, UINT64_MAX, &p->size_bytes);

    if (rc == BRANT_ESYNTAX || value.len > 20)
        return false;
    p->too_big = rc == BRANT_ELIMIT;
    return true;
}

/* RFC 4954 5: whom the client has this message from; only checked, for nobody here is trusted to say it. */
static bool param_auth(struct span value)
{
    _cleanup_buf_ struct buf ignored;

    buf_init(&ignored, MAIL_COMMAND_BYTES_MAX);
    return value.len > 0 && (span_eq_str(value, "<>") || smtp_xtext_decode(value, &ignored) == BRANT_OK);
}

/* Reads the parameters of MAIL. False: they were refused. */
static bool mail_params(struct smtp_server *s, struct span text, struct mail_params *ret)
{
    struct smtp_param p;
    const char *bad = "syntax error in a parameter";

    while (smtp_param_next(&text, &p) == BRANT_OK) {
        if (span_eq_str_nocase(p.keyword, "SIZE")) {
            if (!param_size(p.value, ret)) {
                server_error(s, 501, 5, 4, bad);
                return false;
            }
        } else if (span_eq_str_nocase(p.keyword, "BODY")) {
            ret->eight_bit = span_eq_str_nocase(p.value, "8BITMIME");
            if (!ret->eight_bit && !span_eq_str_nocase(p.value, "7BIT")) {
                server_error(s, p.has_value ? 555 : 501, 5, 4, "BODY is 7BIT or 8BITMIME here");
                return false;
            }
        } else if (span_eq_str_nocase(p.keyword, "SMTPUTF8")) {
            if (p.has_value) {
                server_error(s, 501, 5, 4, bad);
                return false;
            }
            ret->smtputf8 = true;
        } else if (span_eq_str_nocase(p.keyword, "AUTH") && auth_on_offer(s)) {
            if (!param_auth(p.value)) {
                server_error(s, 501, 5, 4, bad);
                return false;
            }
        } else {
            server_error(s, 555, 5, 4, "parameter not known");
            return false;
        }
    }
    return true;
}

/* "FROM:" or "TO:", the path, and well-formed parameters. False: refused. */
static bool parse_path(struct smtp_server *s, struct span args, const char *lead, enum smtp_path_use use,
                       struct smtp_path *ret, struct span *ret_params)
{
    uint8_t detail = use == SMTP_PATH_REVERSE ? 7 : 3; /* RFC 3463 3.2: X.1.7 and X.1.3 */
    int rc;

    if (!span_starts_nocase(args, span_str(lead))) {
        server_error(s, 501, 5, 4, use == SMTP_PATH_REVERSE ? "MAIL FROM:<address>" : "RCPT TO:<address>");
        return false;
    }
    args = span_trim(span_from(args, strlen(lead))); /* a space behind the colon is common, and harmless */
    rc = smtp_path_parse(args, use, ret, ret_params);
    if (rc) {
        if (rc == BRANT_ELIMIT)
            server_error(s, 501, 1, detail, "address too long");
        else
            server_error(s, 501, 1, detail, "syntax error in the address");
        return false;
    }
    if (s->hello == HELLO_HELO && ret_params->len) {
        server_error(s, 555, 5, 4, "parameters need EHLO");
        return false;
    }
    if (smtp_param_check(*ret_params)) {
        server_error(s, 501, 5, 4, "syntax error in the parameters");
        return false;
    }
    return true;
}

/* Hands the path out as the event that waits. */
static void await_path(struct smtp_server *s, enum smtp_event_type type, const struct smtp_path *path)
{
    struct span text, at;

    s->event = (struct smtp_event){.type = type, .kind = path->kind};
    buf_reset(&s->scratch);
    if (path->kind == SMTP_PATH_MAILBOX) {
        smtp_mailbox_normalise(&path->mailbox, &s->scratch);
        text = buf_span(&s->scratch);
        at = span_sub(text, 0, span_rfind_byte(text, '@')); /* no domain holds an '@' */
        s->event.mailbox = text;
        s->event.local = at;
        s->event.domain = span_from(text, at.len + 1);
    }
    server_await(s, type);
}

static bool utf8_undeclared(struct smtp_server *s, const struct smtp_path *path, bool declared)
{
    if (path->kind != SMTP_PATH_MAILBOX || !path->mailbox.utf8 || declared)
        return false;
    server_error(s, 553, 6, 7, "a non-ASCII address needs SMTPUTF8"); /* RFC 6531 3.5 */
    return true;
}

static void perform_mail(struct smtp_server *s, struct span args)
{
    struct mail_params params = {0};
    struct smtp_path path;
    struct span rest;

    if (s->tx.open) {
        server_error(s, 503, 5, 1, "a sender was given already");
        return;
    }
    if (s->config.auth_required && !s->authenticated) { /* RFC 6409 4.3, RFC 4954 6 */
        server_error(s, 530, 7, 0,
                     auth_on_offer(s) ? "log in first" : "log in first, and STARTTLS before that");
        return;
    }
    if (!parse_path(s, args, "FROM:", SMTP_PATH_REVERSE, &path, &rest) || !mail_params(s, rest, &params) ||
        utf8_undeclared(s, &path, params.smtputf8))
        return;
    if (params.too_big || params.size_bytes > s->config.message_bytes_max) {
        server_reply(s, 552, 3, 4, "message too big"); /* RFC 1870 6.1 */
        return;
    }
    if (s->messages >= s->config.messages_max) {
        server_reply(s, 421, 7, 0, "too many messages in one session");
        server_close(s, SMTP_CLOSE_COMMANDS);
        return;
    }
    s->messages++;
    s->tx.smtputf8 = params.smtputf8;
    s->tx.eight_bit = params.eight_bit;
    s->tx.size_bytes = params.size_bytes;
    await_path(s, SMTP_EVENT_MAIL, &path);
    s->event.smtputf8 = params.smtputf8;
    s->event.eight_bit = params.eight_bit;
    s->event.size_bytes = params.size_bytes;
}

static void perform_rcpt(struct smtp_server *s, struct span args)
{
    struct smtp_path path;
    struct span rest;

    if (!s->tx.open || s->tx.data_accepted) {
        server_error(s, 503, 5, 1, s->tx.open ? "the message has begun" : "send MAIL first");
        return;
    }
    if (!parse_path(s, args, "TO:", SMTP_PATH_FORWARD, &path, &rest))
        return;
    if (rest.len) {
        server_error(s, 555, 5, 4, "parameter not known");
        return;
    }
    if (utf8_undeclared(s, &path, s->tx.smtputf8))
        return;
    if (s->refusals >= s->config.refusals_max) {
        server_reply(s, 421, 7, 0, "too many refused recipients");
        server_close(s, SMTP_CLOSE_REFUSALS);
        return;
    }
    if (s->tx.recipients >= s->config.recipients_max) {
        server_reply(s, 452, 5, 3, "too many recipients"); /* RFC 5321 4.5.3.1.10 */
        return;
    }
    s->tx.recipient_tried = true;
    await_path(s, SMTP_EVENT_RCPT, &path);
}

/* ---- DATA and BDAT ------------------------------------------------------------------------------------- */

static void perform_data(struct smtp_server *s, struct span args)
{
    (void)args;
    if (s->tx.data_accepted) {
        /* RFC 3030 2: DATA and BDAT do not mix; the sender has to start again. */
        server_drop_transaction(s, true);
        server_error(s, 503, 5, 1, "BDAT has begun");
    } else if (!s->tx.open || !s->tx.recipient_tried) {
        server_error(s, 503, 5, 1, "send MAIL and RCPT first");
    } else if (s->tx.recipients == 0) {
        /* RFC 2033 4.2 wants 503; RFC 5321 3.3 has 554 for it too, which says more */
        server_error(s, s->config.role == SMTP_ROLE_LMTP ? 503 : 554, 5, 1, "no valid recipients");
    } else {
        message_begin(s);
        server_phase(s, PHASE_DATA);
        s->event = (struct smtp_event){.type = SMTP_EVENT_DATA};
        server_await(s, SMTP_EVENT_DATA);
    }
}

/* RFC 3030 2: chunk-size [SP "LAST"]. BRANT_ELIMIT: a number that is too large for us. */
static int parse_bdat(struct span args, uint64_t *ret_size, bool *ret_last)
{
    size_t space = span_find_byte(args, ' ');
    struct span digits = span_sub(args, 0, space);
    struct span rest = space == SPAN_NPOS ? SPAN_NONE : span_trim(span_from(args, space));

    if (digits.len > 20 || (rest.len && !span_eq_str_nocase(rest, "LAST")))
        return BRANT_ESYNTAX;
    *ret_last = rest.len > 0;
    return span_to_u64(digits, UINT64_MAX, ret_size);
}

static void perform_bdat(struct smtp_server *s, struct span args)
{
    uint64_t size = 0;
    bool last = false;
    int rc = parse_bdat(args, &size, &last);

    if (rc == BRANT_ESYNTAX) {
        server_reply(s, 501, 5, 4, "BDAT size [LAST]");
        server_close(s, SMTP_CLOSE_ENDLESS); /* nobody knows where the next command begins */
        return;
    }
    if (rc == BRANT_ELIMIT || size > s->config.message_bytes_max + BODY_SWALLOW_EXTRA) {
        server_reply(s, 552, 3, 4, "chunk too big");
        server_close(s, SMTP_CLOSE_ENDLESS);
        return;
    }
    if (!s->tx.data_accepted)
        message_begin(s);
    s->msg.chunk_left = size;
    s->msg.chunk_last = last;
    server_phase(s, PHASE_CHUNK);
    if (s->hello == HELLO_NONE || !s->tx.open || !s->tx.recipient_tried) {
        s->msg.fault = FAULT_STATE;
    } else if (s->tx.recipients == 0) {
        s->msg.fault = FAULT_NO_RCPT;
    } else if (size > s->config.message_bytes_max - s->msg.bytes) {
        message_fault(s, FAULT_SIZE);
    } else if (!s->tx.data_accepted) {
        s->event = (struct smtp_event){.type = SMTP_EVENT_DATA};
        server_await(s, SMTP_EVENT_DATA);
    }
}

/* ---- the others ---------------------------------------------------------------------------------------- */

static void perform_rset(struct smtp_server *s, struct span args)
{
    (void)args;
    server_drop_transaction(s, s->tx.open);
    server_reply(s, 250, 0, 0, "reset");
}

static void perform_noop(struct smtp_server *s, struct span args)
{
    (void)args;
    server_reply(s, 250, 0, 0, "ok");
}

static void perform_help(struct smtp_server *s, struct span args)
{
    (void)args;
    server_reply(
        s, 214, 0, 0,
        "EHLO HELO LHLO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT\nRFC 5321 explains them");
}

static void perform_quit(struct smtp_server *s, struct span args)
{
    (void)args;
    server_reply(s, 221, 0, 0, "goodbye");
    server_close(s, SMTP_CLOSE_QUIT);
}

/* RFC 5321 3.5.3: the answer is the same for every name. */
static void perform_vrfy(struct smtp_server *s, struct span args)
{
    bool ok = args.len > 0 && codec_utf8_valid(args);

    for (size_t i = 0; i < args.len; i++)
        ok = ok && !ascii_is_ctl(args.p[i]);
    if (!ok)
        server_error(s, 501, 5, 4, "VRFY address");
    else
        server_reply(s, 252, 0, 0, "send some mail and see");
}

static void perform_unimplemented(struct smtp_server *s, struct span args)
{
    (void)args;
    server_error(s, 502, 5, 1, "command not implemented");
}

static const struct command COMMANDS[] = {
    {"MAIL", ALL, .needs_hello = true, .perform = perform_mail},
    {"RCPT", ALL, .needs_hello = true, .perform = perform_rcpt},
    {"DATA", ALL, .bare = true, .needs_hello = true, .perform = perform_data},
    {"BDAT", ALL, .perform = perform_bdat}, /* looks at the greeting itself: the chunk has to be swallowed */
    {"EHLO", SMTP, .idle = true, .perform = perform_ehlo},
    {"HELO", SMTP, .idle = true, .perform = perform_helo},
    {"LHLO", LMTP, .idle = true, .perform = perform_ehlo},
    {"RSET", ALL, .idle = true, .bare = true, .perform = perform_rset},
    {"NOOP", ALL, .idle = true, .perform = perform_noop},
    {"VRFY", ALL, .idle = true, .perform = perform_vrfy},
    {"HELP", ALL, .idle = true, .perform = perform_help},
    {"QUIT", ALL, .bare = true, .perform = perform_quit},
    {"EXPN", ALL, .perform = perform_unimplemented},
    {"SEND", ALL, .perform = perform_unimplemented},
    {"SOML", ALL, .perform = perform_unimplemented},
    {"SAML", ALL, .perform = perform_unimplemented},
    {"TURN", ALL, .perform = perform_unimplemented},
    {"ETRN", ALL, .perform = perform_unimplemented},
    {"AUTH", ALL, .idle = true, .perform = perform_auth},
    {"STARTTLS", ALL, .idle = true, .perform = perform_starttls},
    {"XCLIENT", ALL, .idle = true, .perform = perform_xclient},
};

static const struct command *command_find(const struct smtp_server *s, struct span verb)
{
    for (size_t i = 0; i < sizeof COMMANDS / sizeof *COMMANDS; i++)
        if (span_eq_str_nocase(verb, COMMANDS[i].verb) && COMMANDS[i].roles & 1u << s->config.role)
            return &COMMANDS[i];
    return NULL;
}

/* HTTP, or the header of a message whose DATA was refused: no line of it may be taken for a command. */
static bool is_other_protocol(struct span verb)
{
    static const char *const verbs[] = {"GET",     "HEAD",    "POST",  "PUT",   "DELETE",
                                        "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI"};

    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (span_eq_str_nocase(verb, verbs[i]))
            return true;
    return verb.len > 1 && span_find_byte(verb, ':') == verb.len - 1;
}

static void command_unknown(struct smtp_server *s, struct span verb)
{
    if (is_other_protocol(verb)) {
        server_reply(s, 554, 5, 1, "this is not a web server");
        server_close(s, SMTP_CLOSE_PROTOCOL);
        return;
    }
    server_error(s, 500, 5, 2, "command not known");
}

static size_t line_bytes_max(const struct command *c)
{
    if (c && c->perform == perform_auth)
        return LINE_KEPT_BYTES_MAX + 2;
    return c && (c->perform == perform_mail || c->perform == perform_rcpt) ? MAIL_COMMAND_BYTES_MAX
                                                                           : COMMAND_BYTES_MAX;
}

static void command_too_long(struct smtp_server *s, const struct command *c)
{
    if (c && c->perform == perform_bdat)
        perform_bdat(s, SPAN_NONE); /* its size is not believed, so where the chunk ends is unknown */
    else if (c && c->perform == perform_auth)
        auth_command_too_long(s);
    else
        server_error(s, 500, 5, 2, "line too long");
}

void command_run(struct smtp_server *s)
{
    struct span line = buf_span(&s->line);
    struct span verb = span_sub(line, 0, span_find_byte(line, ' '));
    struct span args = span_trim(span_from(line, verb.len + 1));
    const struct command *c = command_find(s, verb);

    /* RFC 5321 4.1.1: white space at the end is tolerated. */
    if (verb.len == line.len)
        verb = span_trim(verb);
    if (!c)
        c = command_find(s, verb);
    if (s->line_overlong || line.len + 2 > line_bytes_max(c)) {
        command_too_long(s, c);
    } else if (!c) {
        command_unknown(s, verb);
    } else if (c->bare && args.len) {
        server_error(s, 501, 5, 4, "this command takes no argument");
    } else if (c->needs_hello && s->hello == HELLO_NONE) {
        server_error(s, 503, 5, 1, "say hello first");
    } else if (c->idle && s->idle_commands >= s->config.idle_commands_max) {
        server_reply(s, 421, 7, 0, "too many commands without mail");
        server_close(s, SMTP_CLOSE_COMMANDS);
    } else {
        s->idle_commands += c->idle;
        c->perform(s, args);
    }
}
