#include "roles/common/body.h"

#include <assert.h>

#include "base/err.h"

enum {
    PARSER_BYTES_MAX = 256 * 1024,
    PARSER_FIELD_MAX = 32 * 1024,
    PARSER_PARTS_MAX = 2000,
    MESSAGE_ID_MAX = 998
};

void body_init(struct body *b)
{
    *b = (struct body){0};
    buf_init(&b->chunk, IPC_CHUNK_MAX);
}

void body_done(struct body *b)
{
    buf_done(&b->chunk);
    mime_parser_free(b->parser);
    b->parser = NULL;
}

size_t body_memory(const struct body *b)
{
    return b->chunk.cap + (b->parser ? mime_parser_memory_bytes(b->parser) : 0);
}

void body_begin(struct body *b, uint64_t number)
{
    const struct mime_limits limits = {.memory_bytes_max = PARSER_BYTES_MAX,
                                       .field_bytes_max = PARSER_FIELD_MAX,
                                       .parts_max = PARSER_PARTS_MAX};

    assert(b->number == 0);
    b->number = number;
    b->credit = IPC_BODY_CREDIT;
    b->parser = mime_parser_new(&limits);
}

bool body_room(const struct body *b)
{
    return b->chunk.max - b->chunk.len >= BODY_PIECE_MAX;
}

void body_add(struct body *b, struct span bytes)
{
    b->bytes += bytes.len;
    if (b->failed)
        return;
    if (b->parser)
        mime_parser_feed(b->parser, bytes);
    if (buf_append(&b->chunk, bytes))
        assert(false && "a piece without room");
}

void body_fail(struct body *b, uint8_t status)
{
    b->failed = status;
    buf_done(&b->chunk);
    mime_parser_free(b->parser);
    b->parser = NULL;
}

bool body_flush(struct body *b, struct store_peer *peer, bool all)
{
    if (b->chunk.len == 0 || (!all && b->chunk.len < BODY_PIECE_MAX))
        return true;
    if (b->credit < b->chunk.len)
        return false;
    const struct ipc_message say = {
        .type = IPC_TYPE_BODY_CHUNK,
        .body_chunk = {.session = peer->session, .body = b->number, .bytes = buf_span(&b->chunk)}};
    if (store_peer_tell(peer, &say)) {
        body_fail(b, IPC_TRY_LATER);
        return true;
    }
    b->credit -= b->chunk.len;
    buf_reset(&b->chunk);
    return true;
}

void body_drop(const struct body *b, struct store_peer *peer)
{
    const struct ipc_message drop = {.type = IPC_TYPE_BODY_ABORT,
                                     .body_abort = {.session = peer->session, .body = b->number}};

    if (b->number && !b->failed)
        store_peer_tell(peer, &drop);
}

static struct span message_id(const struct mime_structure *s)
{
    struct span id = s->count ? mime_part_value(&s->parts[0], MIME_FIELD_MESSAGE_ID) : SPAN_NONE;

    return span_sub(id, 0, MESSAGE_ID_MAX);
}

void body_finish(struct body *b, struct buf *structure, struct span *ret_message_id)
{
    mime_parser_finish(b->parser);
    if (mime_structure_encode(mime_parser_structure(b->parser), IPC_STRUCTURE_MAX, structure))
        buf_reset(structure);
    *ret_message_id = message_id(mime_parser_structure(b->parser));
}
