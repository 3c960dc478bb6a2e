/* Message bytes: end of data, dots, bare CR and LF, and what is counted while they pass. */
#include "base/ascii.h"
#include "smtp/server_internal.h"

enum { NAME_OTHER = 0xff, TEXT_WINDOW = 512 };

static const char RECEIVED[] = "received";

void message_begin(struct smtp_server *s)
{
    bool each = s->config.role == SMTP_ROLE_LMTP && s->tx.recipients > 0;

    s->msg = (struct message){.replies = each ? s->tx.recipients : 1};
    /* RFC 5321 4.1.1.4: the CRLF of the DATA command counts as the first of CRLF.CRLF. */
    s->msg.scan = SCAN_LINE_START;
}

void message_fault(struct smtp_server *s, enum fault fault)
{
    if (s->msg.fault == FAULT_NONE)
        server_drop_transaction(s, true);
    if (fault > s->msg.fault)
        s->msg.fault = fault;
}

static uint64_t taken_max(const struct smtp_server *s)
{
    return 2 * s->config.message_bytes_max + BODY_SWALLOW_EXTRA;
}

/* One byte of a field name; what does not begin a header field ends the header section. */
static enum header name_byte(struct message *m, uint8_t c)
{
    if (c == ':') {
        if (m->name_matched == sizeof RECEIVED - 1)
            m->received_count++;
        return HEADER_VALUE;
    }
    if (ascii_is_wsp(c))
        return HEADER_NAME_WSP;
    if (m->header == HEADER_NAME_WSP || !ascii_is_print(c))
        return HEADER_OVER;
    if (m->name_matched < sizeof RECEIVED - 1 && ascii_lower(c) == (uint8_t)RECEIVED[m->name_matched])
        m->name_matched++;
    else
        m->name_matched = NAME_OTHER;
    return HEADER_NAME;
}

static enum header header_byte(struct message *m, uint8_t c)
{
    switch (m->header) {
    case HEADER_LINE_START:
        m->name_matched = 0;
        if (c == '\r')
            return HEADER_EMPTY_CR;
        if (c == ':')
            return HEADER_OVER;
        return ascii_is_wsp(c) ? HEADER_VALUE : name_byte(m, c);
    case HEADER_NAME:
    case HEADER_NAME_WSP:
        return name_byte(m, c);
    case HEADER_VALUE:
        return c == '\n' ? HEADER_LINE_START : HEADER_VALUE;
    case HEADER_EMPTY_CR:
    case HEADER_OVER:
        break;
    }
    return HEADER_OVER;
}

/* Follows the header section: its length, and the trace fields that show a loop (RFC 5321 6.3). */
static void header_scan(struct smtp_server *s, struct span bytes)
{
    struct message *m = &s->msg;

    for (size_t i = 0; i < bytes.len && m->header != HEADER_OVER; i++) {
        m->header = header_byte(m, bytes.p[i]);
        if (m->received_count > s->config.received_max) {
            message_fault(s, FAULT_LOOP);
            return;
        }
        if (++m->header_bytes > s->config.header_bytes_max) {
            message_fault(s, FAULT_HEADER);
            return;
        }
    }
}

/* Counts bytes that are about to be handed out. False: they made the message unacceptable. */
static bool account(struct smtp_server *s, struct span bytes)
{
    struct message *m = &s->msg;
    uint64_t room = s->config.message_bytes_max - m->bytes;
    bool fits = bytes.len <= room;

    if (!fits)
        bytes.len = (size_t)room;
    header_scan(s, bytes);
    m->bytes += bytes.len;
    if (m->fault == FAULT_NONE && !fits)
        message_fault(s, FAULT_SIZE);
    return m->fault == FAULT_NONE;
}

/* How many bytes at the front are neither CR nor LF nor NUL. Looks at a window only, so that hostile input
 * full of them costs no more than other input. */
static size_t text_run(const uint8_t *p, size_t n)
{
    const uint8_t *hit;

    if (n > TEXT_WINDOW)
        n = TEXT_WINDOW;
    if ((hit = memchr(p, '\r', n)))
        n = (size_t)(hit - p);
    if ((hit = memchr(p, '\n', n)))
        n = (size_t)(hit - p);
    if ((hit = memchr(p, '\0', n)))
        n = (size_t)(hit - p);
    return n;
}

/* A piece of message being scanned: bytes from `run` to `at` are to be handed out. */
struct piece {
    const uint8_t *p;
    size_t at, end, run;
    bool dots; /* DATA: dots are stuffed and CRLF.CRLF ends */
};

enum scanned { SCANNED_ON, SCANNED_RUN, SCANNED_FAULT, SCANNED_END };

static enum scanned scan_fault(struct smtp_server *s, enum fault fault)
{
    bool first = s->msg.fault == FAULT_NONE;

    message_fault(s, fault);
    return first ? SCANNED_FAULT : SCANNED_ON;
}

static enum scanned scan_text(struct smtp_server *s, struct piece *t)
{
    uint8_t c;

    t->at += text_run(t->p + t->at, t->end - t->at);
    if (t->at == t->end)
        return SCANNED_ON;
    c = t->p[t->at];
    if (c != '\r' && c != '\n' && c != '\0')
        return SCANNED_ON; /* only the window was over */
    t->at++;
    if (c == '\r') {
        s->msg.scan = SCAN_CR;
        return SCANNED_ON;
    }
    return scan_fault(s, c == '\n' ? FAULT_BARE_LINE : FAULT_NUL);
}

/* RFC 5321 4.5.2: a dot at the front of a line is taken away, or it is the end. */
static enum scanned scan_dot(struct smtp_server *s, struct piece *t)
{
    uint8_t c = t->p[t->at];

    if (s->msg.scan == SCAN_LINE_START) {
        if (t->at > t->run && s->msg.fault == FAULT_NONE)
            return SCANNED_RUN; /* what stands before the dot goes first; the dot is looked at again */
        s->msg.scan = SCAN_DOT;
        t->run = ++t->at;
        return SCANNED_ON;
    }
    if (s->msg.scan == SCAN_DOT) {
        s->msg.scan = c == '\r' ? SCAN_DOT_CR : SCAN_TEXT;
        t->at += c == '\r';
        t->run = t->at;
        return SCANNED_ON;
    }
    if (c == '\n') {
        t->run = ++t->at;
        return SCANNED_END;
    }
    s->msg.scan = SCAN_TEXT;
    return scan_fault(s, FAULT_BARE_LINE);
}

static enum scanned scan_step(struct smtp_server *s, struct piece *t)
{
    switch (s->msg.scan) {
    case SCAN_TEXT:
        return scan_text(s, t);
    case SCAN_CR:
        if (t->p[t->at] == '\n') {
            s->msg.scan = SCAN_LINE_START;
            t->at++;
            return SCANNED_ON;
        }
        s->msg.scan = SCAN_TEXT;
        return scan_fault(s, FAULT_BARE_LINE);
    case SCAN_LINE_START:
        if (t->dots && t->p[t->at] == '.')
            return scan_dot(s, t);
        s->msg.scan = SCAN_TEXT;
        return SCANNED_ON;
    case SCAN_DOT:
    case SCAN_DOT_CR:
        break;
    }
    return scan_dot(s, t);
}

/* The reply to a message that was refused while it came. */
static void fault_reply(struct smtp_server *s, uint32_t count)
{
    static const struct {
        uint16_t code;
        uint8_t subject, detail;
        const char *text;
    } replies[] = {
        [FAULT_NO_RCPT] = {554, 5, 1, "no valid recipients"},
        [FAULT_SIZE] = {552, 3, 4, "message too big"},
        [FAULT_HEADER] = {552, 3, 4, "message header too big"},
        [FAULT_LOOP] = {554, 4, 6, "too many Received fields: this message is in a loop"},
        [FAULT_NUL] = {554, 6, 0, "NUL in message data"},
        [FAULT_BARE_LINE] = {550, 5, 2, "bare CR or LF in message data"},
    };
    enum fault fault = s->msg.fault;

    if (fault == FAULT_STATE) {
        server_error(s, 503, 5, 1, "send MAIL and RCPT first");
        return;
    }
    if (fault == FAULT_NO_RCPT && s->config.role == SMTP_ROLE_LMTP) {
        server_error(s, 503, 5, 1, "no valid recipients"); /* RFC 2033 4.2 */
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (fault == FAULT_ANSWER)
            buf_append(&s->out, buf_span(&s->scratch));
        else
            server_reply(s, replies[fault].code, replies[fault].subject, replies[fault].detail,
                         replies[fault].text);
    }
    buf_reset(&s->scratch);
    if (fault >= FAULT_NUL)
        server_close(s, SMTP_CLOSE_BAD_DATA);
}

static void data_end(struct smtp_server *s)
{
    server_phase(s, PHASE_COMMAND);
    if (s->msg.fault == FAULT_NONE)
        s->owed |= OWED_END;
    else
        fault_reply(s, s->msg.replies);
}

void chunk_end(struct smtp_server *s)
{
    struct message *m = &s->msg;

    if (m->chunk_last && m->scan == SCAN_CR && m->fault == FAULT_NONE)
        message_fault(s, FAULT_BARE_LINE);
    server_phase(s, PHASE_COMMAND);
    if (m->fault != FAULT_NONE) {
        fault_reply(s, m->chunk_last ? m->replies : 1);
    } else if (m->chunk_last) {
        if (m->bytes > 0 && m->scan != SCAN_LINE_START)
            s->owed |= OWED_FINAL_CRLF;
        s->owed |= OWED_END;
    } else {
        server_reply(s, 250, 0, 0, "chunk received"); /* RFC 3030 2 */
    }
}

/* The part of the input that belongs to this message, as far as that is known and bounded. */
static size_t piece_max(const struct smtp_server *s, size_t len)
{
    uint64_t room = taken_max(s) - s->msg.taken;

    if (s->phase == PHASE_CHUNK && room > s->msg.chunk_left)
        room = s->msg.chunk_left;
    return len < room ? len : (size_t)room;
}

static void piece_taken(struct smtp_server *s, struct span *in, size_t len)
{
    *in = span_from(*in, len);
    s->msg.taken += len;
    s->rate_bytes += len;
    if (s->phase == PHASE_CHUNK)
        s->msg.chunk_left -= len;
}

bool message_take(struct smtp_server *s, struct span *in, struct smtp_event *ret)
{
    struct piece t = {.p = in->p, .end = piece_max(s, in->len), .dots = s->phase == PHASE_DATA};
    enum scanned what = SCANNED_ON;
    struct span run;

    if (s->phase == PHASE_CHUNK && s->msg.fault != FAULT_NONE && s->msg.fault <= FAULT_ANSWER) {
        piece_taken(s, in, t.end); /* a chunk nobody wanted: counted, not looked at */
        return false;
    }
    while (t.at < t.end && what == SCANNED_ON)
        what = scan_step(s, &t);
    run = span_make(t.p ? t.p + t.run : NULL, t.at - t.run);
    piece_taken(s, in, t.at);
    if (what == SCANNED_END) {
        data_end(s);
        return false;
    }
    if (s->msg.fault == FAULT_NONE && run.len > 0 && account(s, run)) {
        *ret = (struct smtp_event){.type = SMTP_EVENT_BODY, .bytes = run};
        return true;
    }
    if (s->msg.taken >= taken_max(s)) {
        fault_reply(s, s->msg.replies);
        server_close(s, SMTP_CLOSE_ENDLESS);
    }
    return false;
}
