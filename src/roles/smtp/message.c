#include "roles/smtp/message.h"

#include <assert.h>

#include "base/err.h"
#include "base/wire.h"

enum { RECIPIENTS_BYTES_MAX = IPC_RECIPIENTS_MAX * (IPC_ADDRESS_MAX + 2) };

void smtp_message_init(struct smtp_message *m)
{
    *m = (struct smtp_message){0};
    buf_init(&m->reverse_path, IPC_ADDRESS_MAX);
    buf_init(&m->recipients, RECIPIENTS_BYTES_MAX);
    body_init(&m->body);
}

void smtp_message_done(struct smtp_message *m)
{
    buf_done(&m->reverse_path);
    buf_done(&m->recipients);
    body_done(&m->body);
}

void smtp_message_reset(struct smtp_message *m)
{
    smtp_message_done(m);
    smtp_message_init(m);
}

size_t smtp_message_memory(const struct smtp_message *m)
{
    return m->reverse_path.cap + m->recipients.cap + body_memory(&m->body);
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

/* The recipients as the message wants them, in the arena. */
static struct ipc_recipient *recipient_list(const struct smtp_message *m, struct arena *arena)
{
    struct ipc_recipient *list = arena_array(arena, m->recipient_count, sizeof *list);
    struct wire_reader r = wire_read(buf_span(&m->recipients));

    for (uint32_t i = 0; list && i < m->recipient_count; i++)
        list[i].address = wire_get_bytes(&r, wire_get_u16(&r));
    return list;
}

int smtp_message_commit(struct smtp_message *m, struct store_peer *peer,
                        const struct smtp_message_trace *trace)
{
    const struct ipc_variant variant = {.prefix = trace->prefix};
    struct ipc_message ask = {.type = IPC_TYPE_COMMIT};
    _cleanup_arena_ struct arena arena;
    _cleanup_buf_ struct buf structure;
    struct span message_id;

    arena_init(&arena, IPC_RECIPIENTS_MAX * sizeof(struct ipc_recipient) + 64);
    buf_init(&structure, IPC_STRUCTURE_MAX);
    body_finish(&m->body, &structure, &message_id);
    ask.commit = (struct ipc_commit){
        .commit = trace->commit,
        .session = peer->session,
        .body = m->body.number,
        .body_bytes = m->body.bytes,
        .service = (uint8_t)trace->service,
        .each = trace->each,
        .content_sum = trace->content_sum,
        .tls = trace->tls,
        .source = trace->source,
        .protocol = trace->protocol,
        .helo = span_sub(trace->helo, 0, 255),
        .reverse_path = buf_span(&m->reverse_path),
        .message_id = message_id,
        .recipients = recipient_list(m, &arena),
        .recipients_count = m->recipient_count,
        .variants = &variant,
        .variants_count = 1,
        .structure = buf_span(&structure),
    };
    return store_peer_ask(peer, &ask);
}
