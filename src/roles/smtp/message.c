#include "roles/smtp/message.h"

#include <assert.h>

#include "base/err.h"
#include "base/wire.h"

enum {
    RECIPIENTS_BYTES_MAX = IPC_RECIPIENTS_MAX * (IPC_ADDRESS_MAX + 2),
    PARSER_BYTES_MAX = 256 * 1024,
    PARSER_FIELD_MAX = 32 * 1024,
    PARSER_PARTS_MAX = 2000,
    MESSAGE_ID_MAX = 998
};

void smtp_message_init(struct smtp_message *m)
{
    *m = (struct smtp_message){0};
    buf_init(&m->reverse_path, IPC_ADDRESS_MAX);
    buf_init(&m->recipients, RECIPIENTS_BYTES_MAX);
    buf_init(&m->chunk, IPC_CHUNK_MAX);
}

void smtp_message_done(struct smtp_message *m)
{
    buf_done(&m->reverse_path);
    buf_done(&m->recipients);
    buf_done(&m->chunk);
    mime_parser_free(m->parser);
    m->parser = NULL;
}

void smtp_message_reset(struct smtp_message *m)
{
    smtp_message_done(m);
    smtp_message_init(m);
}

size_t smtp_message_memory(const struct smtp_message *m)
{
    return m->reverse_path.cap + m->recipients.cap + m->chunk.cap +
           (m->parser ? mime_parser_memory_bytes(m->parser) : 0);
}

int smtp_message_reverse_path(struct smtp_message *m, struct span mailbox)
{
    return buf_append(&m->reverse_path, mailbox);
}

int smtp_message_recipient(struct smtp_message *m, struct span mailbox)
{
    struct wire_writer w = wire_write(&m->recipients);

    if (mailbox.len > IPC_ADDRESS_MAX || m->recipient_count == IPC_RECIPIENTS_MAX)
        return BRANT_ELIMIT;
    wire_put_u16(&w, (uint16_t)mailbox.len);
    wire_put_bytes(&w, mailbox);
    assert(w.err == BRANT_OK);
    m->recipient_count++;
    return BRANT_OK;
}

struct span smtp_message_first_recipient(const struct smtp_message *m)
{
    struct wire_reader r = wire_read(buf_span(&m->recipients));

    return wire_get_bytes(&r, wire_get_u16(&r));
}

void smtp_message_begin(struct smtp_message *m, uint64_t body)
{
    const struct mime_limits limits = {.memory_bytes_max = PARSER_BYTES_MAX,
                                       .field_bytes_max = PARSER_FIELD_MAX,
                                       .parts_max = PARSER_PARTS_MAX};

    assert(m->body == 0);
    m->body = body;
    m->credit = IPC_BODY_CREDIT;
    m->parser = mime_parser_new(&limits);
}

bool smtp_message_room(const struct smtp_message *m)
{
    return m->chunk.max - m->chunk.len >= SMTP_MESSAGE_PIECE_MAX;
}

void smtp_message_add(struct smtp_message *m, struct span bytes)
{
    m->body_bytes += bytes.len;
    if (m->failed)
        return;
    if (m->parser)
        mime_parser_feed(m->parser, bytes);
    if (buf_append(&m->chunk, bytes))
        assert(false && "a piece without room");
}

void smtp_message_fail(struct smtp_message *m, uint8_t status)
{
    m->failed = status;
    buf_done(&m->chunk);
    mime_parser_free(m->parser);
    m->parser = NULL;
}

bool smtp_message_flush(struct smtp_message *m, struct store_peer *peer, bool all)
{
    if (m->chunk.len == 0 || (!all && m->chunk.len < SMTP_MESSAGE_PIECE_MAX))
        return true;
    if (m->credit < m->chunk.len)
        return false;
    const struct ipc_message say = {
        .type = IPC_TYPE_BODY_CHUNK,
        .body_chunk = {.session = peer->session, .body = m->body, .bytes = buf_span(&m->chunk)}};
    if (store_peer_tell(peer, &say)) {
        smtp_message_fail(m, IPC_TRY_LATER);
        return true;
    }
    m->credit -= m->chunk.len;
    buf_reset(&m->chunk);
    return true;
}

/* The recipients as the message wants them, in the arena. */
static struct ipc_recipient *recipient_list(const struct smtp_message *m, struct arena *arena)
{
    struct ipc_recipient *list = arena_array(arena, m->recipient_count, sizeof *list);
    struct wire_reader r = wire_read(buf_span(&m->recipients));

    for (uint32_t i = 0; list && i < m->recipient_count; i++)
        list[i].address = wire_get_bytes(&r, wire_get_u16(&r));
    return list;
}

static struct span message_id(const struct mime_structure *s)
{
    struct span id = s->count ? mime_part_value(&s->parts[0], MIME_FIELD_MESSAGE_ID) : SPAN_NONE;

    return span_sub(id, 0, MESSAGE_ID_MAX);
}

int smtp_message_commit(struct smtp_message *m, struct store_peer *peer,
                        const struct smtp_message_trace *trace)
{
    const struct ipc_variant variant = {.prefix = trace->prefix};
    struct ipc_message ask = {.type = IPC_TYPE_COMMIT};
    _cleanup_arena_ struct arena arena;
    _cleanup_buf_ struct buf structure;

    arena_init(&arena, IPC_RECIPIENTS_MAX * sizeof(struct ipc_recipient) + 64);
    buf_init(&structure, IPC_STRUCTURE_MAX);
    mime_parser_finish(m->parser);
    if (mime_structure_encode(mime_parser_structure(m->parser), IPC_STRUCTURE_MAX, &structure))
        buf_reset(&structure);
    ask.commit = (struct ipc_commit){
        .commit = trace->commit,
        .session = peer->session,
        .body = m->body,
        .body_bytes = m->body_bytes,
        .service = (uint8_t)trace->service,
        .each = trace->each,
        .content_sum = trace->content_sum,
        .tls = trace->tls,
        .source = trace->source,
        .protocol = trace->protocol,
        .helo = span_sub(trace->helo, 0, 255),
        .reverse_path = buf_span(&m->reverse_path),
        .message_id = message_id(mime_parser_structure(m->parser)),
        .recipients = recipient_list(m, &arena),
        .recipients_count = m->recipient_count,
        .variants = &variant,
        .variants_count = 1,
        .structure = buf_span(&structure),
    };
    return store_peer_ask(peer, &ask);
}
