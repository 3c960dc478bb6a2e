/* A message from a user: who may be its sender, and its header, checked and repaired (msa/header.h).
 *
 * The header is kept until it is whole. Then the store is asked for each address in it that is not plainly
 * the account's own; meanwhile nothing more of the message is taken. What comes out goes into the message
 * like any received bytes, and what followed the header behind it. */
#include <stdlib.h>
#include <xxhash.h>

#include "base/err.h"
#include "base/mem.h"
#include "log/log.h"
#include "os/clock.h"
#include "os/random.h"
#include "roles/smtp/session_internal.h"

enum { REFUSAL_TEXT_MAX = 300, SUM_STATE_BYTES = 1024 };

struct submission {
    struct msa_header *header;
    bool header_done; /* its end is here: what follows is body */
    bool judged;      /* checked and composed, or refused */
    bool refused;
    bool ended; /* the data is at its end */
    size_t header_bytes;
    struct buf out;  /* the repaired header, or what of it has not moved into the message yet */
    struct buf tail; /* body bytes that came in one piece with the end of the header */
    XXH3_state_t *sum;
    struct smtp_reply refusal;
    char text[REFUSAL_TEXT_MAX];
};

struct submission *submission_new(const struct smtp_session *s)
{
    struct submission *sub = mem_zalloc(sizeof *sub);
    size_t header_max = s->edge.conf->conf.max_header_size_bytes;

    sub->header = msa_header_new(header_max);
    buf_init(&sub->out, MSA_OUTPUT_BYTES_MAX(header_max));
    buf_init(&sub->tail, BODY_PIECE_MAX);
    sub->sum = XXH3_createState();
    if (!sub->sum || XXH3_128bits_reset(sub->sum) != XXH_OK)
        abort(); /* out of memory */
    return sub;
}

void submission_free(struct submission *sub)
{
    if (!sub)
        return;
    msa_header_free(sub->header);
    buf_done(&sub->out);
    buf_done(&sub->tail);
    XXH3_freeState(sub->sum);
    free(sub);
}

size_t submission_memory(const struct submission *sub)
{
    if (!sub)
        return 0;
    /* The header object keeps what it was fed, and an index of it. */
    return sizeof *sub + SUM_STATE_BYTES + sub->out.cap + sub->tail.cap +
           (sub->header ? 2 * sub->header_bytes : 0);
}

const struct smtp_reply *submission_refusal(const struct submission *sub)
{
    return sub->refused ? &sub->refusal : NULL;
}

bool submission_has_ended(const struct submission *sub)
{
    return sub->ended;
}

void submission_content_sum(const struct submission *sub, uint8_t ret[IPC_SUM_BYTES])
{
    XXH128_canonical_t canonical;

    _Static_assert(sizeof canonical == IPC_SUM_BYTES, "the sum has 128 bits");
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(sub->sum));
    memcpy(ret, canonical.digest, IPC_SUM_BYTES);
}

/* ---- the envelope's sender -------------------------------------------------------------------------------
 */

static void ask(struct smtp_session *s)
{
    struct ipc_message m = {
        .type = IPC_TYPE_SENDER_CHECK,
        .sender_check = {.session = s->edge.peer.session, .address = buf_span(&s->question)}};

    store_peer_ask(&s->edge.peer, &m);
}

void submission_ask_sender(struct smtp_session *s)
{
    ask(s);
}

void submission_answer_sender(struct smtp_session *s, const struct ipc_sender_verdict *v)
{
    static const struct smtp_reply foreign = {550, 7, 1, "this account may not send as that address"};
    const struct smtp_reply later = smtp_session_refusal(s, IPC_TRY_LATER);

    if (v->status == IPC_OK) {
        smtp_session_reply(s, NULL);
        return;
    }
    log_event(LOG_INFO, "submission-sender-refused", LOG_HEX("session", edge_session(&s->edge)),
              LOG_IP("peer", &s->edge.source), LOG_SPAN("account", buf_span(&s->edge.address)),
              LOG_SPAN("from", buf_span(&s->question)), LOG_STR("reason", ipc_status_text(v->status)));
    smtp_session_reply(s, v->status == IPC_REFUSED || v->status == IPC_INVALID ? &foreign : &later);
}

/* ---- the header ------------------------------------------------------------------------------------------
 */

/* The text may hold the UTF-8 of an address; a reply holds ASCII. */
static void refuse(struct smtp_session *s, const struct msa_verdict *v)
{
    struct submission *sub = s->submission;
    size_t len = strnlen(v->text, sizeof sub->text - 1);

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)v->text[i];

        sub->text[i] = c >= ' ' && c < 0x7f ? (char)c : '?';
    }
    sub->refusal = (struct smtp_reply){v->code, v->subject, v->detail, sub->text};
    sub->refused = sub->judged = true;
    buf_done(&sub->out);
    buf_done(&sub->tail);
}

static void log_repairs(const struct smtp_session *s)
{
    unsigned repairs = msa_header_repairs(s->submission->header);
    _cleanup_buf_ struct buf text;

    buf_init(&text, 400);
    if (!repairs)
        return;
    msa_repairs_text(repairs, &text);
    log_event(LOG_INFO, "submission-repaired", LOG_HEX("session", edge_session(&s->edge)),
              LOG_SPAN("account", buf_span(&s->edge.address)), LOG_SPAN("repairs", buf_span(&text)));
}

static void compose(struct smtp_session *s)
{
    struct submission *sub = s->submission;
    struct msa_verdict verdict = {550, 6, 0, "the header section can't be used"};

    if (msa_header_compose(sub->header, &sub->out, &verdict)) {
        refuse(s, &verdict);
    } else {
        sub->judged = true;
        log_repairs(s);
    }
    msa_header_free(sub->header);
    sub->header = NULL;
    submission_move(s);
    smtp_session_account(s);
}

/* Asks for the next address; those that are the account's own without a doubt need no question. */
static void next_sender(struct smtp_session *s)
{
    struct submission *sub = s->submission;
    struct msa_sender sender;

    while (msa_header_sender_next(sub->header, &sender)) {
        if (!span_eq(sender.address, buf_span(&s->edge.address)) &&
            !span_eq(sender.address, buf_span(&s->message.reverse_path))) {
            buf_reset(&s->question);
            buf_append(&s->question, sender.address); /* no longer than any address */
            smtp_session_wait_for(s, SMTP_WAIT_FROM);
            smtp_session_ask(s);
            return;
        }
        msa_header_sender_answer(sub->header, true);
    }
    compose(s);
}

static void header_complete(struct smtp_session *s)
{
    struct submission *sub = s->submission;
    struct msa_facts facts = {.account = buf_span(&s->edge.address),
                              .reverse_path = buf_span(&s->message.reverse_path),
                              .hostname = span_str(s->edge.conf->conf.hostname),
                              .unix_s = os_clock_wall_ms() / 1000,
                              .smtputf8 = s->message.smtputf8};
    struct msa_verdict verdict;

    os_random_fill(facts.random, sizeof facts.random);
    sub->header_done = true;
    if (msa_header_finish(sub->header, &facts, &verdict))
        refuse(s, &verdict);
    else
        next_sender(s);
}

void submission_ask_from(struct smtp_session *s)
{
    ask(s);
}

void submission_answer_from(struct smtp_session *s, const struct ipc_sender_verdict *v)
{
    bool at_end = s->submission->ended;

    if (v->status != IPC_OK && v->status != IPC_REFUSED && v->status != IPC_INVALID) {
        smtp_session_drop_body(s, IPC_TRY_LATER);
        net_pump_kick(s->pump);
        return;
    }
    s->wait = SMTP_WAIT_NONE;
    msa_header_sender_answer(s->submission->header, v->status == IPC_OK);
    next_sender(s);
    if (at_end && s->wait == SMTP_WAIT_NONE) /* the data had its end while the store was asked */
        smtp_session_end_of_data(s);
    net_pump_kick(s->pump);
}

/* ---- moving into the message ------------------------------------------------------------------------------
 */

static void add_body(struct smtp_session *s, struct span bytes)
{
    XXH3_128bits_update(s->submission->sum, bytes.p, bytes.len);
    body_add(&s->message.body, bytes);
}

static struct span take_piece(struct buf *b)
{
    return span_sub(buf_span(b), 0, BODY_PIECE_MAX);
}

void submission_move(struct smtp_session *s)
{
    struct submission *sub = s->submission;

    if (!sub || !sub->judged || s->message.body.failed)
        return;
    while ((sub->out.len || sub->tail.len) && body_room(&s->message.body)) {
        struct buf *from = sub->out.len ? &sub->out : &sub->tail;
        struct span piece = take_piece(from);

        if (from == &sub->out)
            body_add(&s->message.body, piece);
        else
            add_body(s, piece);
        buf_consume(from, piece.len);
        body_flush(&s->message.body, &s->edge.peer, false);
    }
    if (sub->out.len == 0)
        buf_done(&sub->out);
    if (sub->tail.len == 0)
        buf_done(&sub->tail);
}

bool submission_blocked(const struct smtp_session *s)
{
    const struct submission *sub = s->submission;

    if (!sub || s->message.body.failed || sub->refused)
        return false;
    return (sub->header_done && !sub->judged) || sub->out.len || sub->tail.len;
}

void submission_add(struct smtp_session *s, struct span bytes)
{
    struct submission *sub = s->submission;

    if (sub->refused)
        return; /* it is read to its end, and then refused */
    if (!sub->header_done) {
        bool done = false;
        size_t taken = msa_header_feed(sub->header, bytes, &done);

        sub->header_bytes += taken;
        bytes = span_from(bytes, taken);
        buf_append(&sub->tail, bytes); /* at most one piece: no more is taken until it has moved */
        if (done)
            header_complete(s);
        if (done && sub->judged)
            submission_move(s);
        return;
    }
    add_body(s, bytes);
}

bool submission_end(struct smtp_session *s)
{
    struct submission *sub = s->submission;

    sub->ended = true;
    if (!sub->header_done)
        header_complete(s); /* a message without an empty line is all header section */
    if (!sub->refused && !sub->judged)
        return false; /* the store is asked, or will be when it is there */
    submission_move(s);
    if (submission_blocked(s)) {
        if (s->wait != SMTP_WAIT_CREDIT)
            smtp_session_wait_for(s, SMTP_WAIT_CREDIT);
        return false;
    }
    return true;
}
