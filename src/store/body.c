/* Bodies on their way in: small ones wait in counted memory, large ones stream into staging/. */
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/state.h"

struct store_body *store_body_new(struct store *st, uint64_t source)
{
    struct store_body *body = mem_zalloc(sizeof *body);

    body->st = st;
    body->source = source;
    buf_init(&body->data, (size_t)st->config.inline_bytes_max);
    return body;
}

static void count(struct store_body *body, uint64_t bytes)
{
    atomic_fetch_add(&body->st->body_memory, bytes - body->counted);
    body->counted = bytes;
}

/* It has become too long for the journal: what is there and all that follows goes into a file. */
static int move_to_file(struct store_body *body)
{
    int rc = bodies_stage(body->st->bodies, body->source, &body->w);

    if (rc)
        return rc;
    rc = body_append(body->w, buf_span(&body->data));
    buf_done(&body->data);
    buf_init(&body->data, 0);
    count(body, BODY_BLOCK_BYTES);
    return rc;
}

static int append(struct store_body *body, struct span bytes)
{
    const struct store_config *config = &body->st->config;

    if (body->bytes + bytes.len > atomic_load(&body->st->message_bytes_max))
        return BRANT_ELIMIT;
    if (!atomic_load(&body->st->accepting))
        return BRANT_ENOSPACE;
    if (!body->w && bytes.len > config->inline_bytes_max - body->bytes) {
        int rc = move_to_file(body);

        if (rc)
            return rc;
    }
    if (body->w)
        return body_append(body->w, bytes);
    return buf_append(&body->data, bytes);
}

int store_body_append(struct store_body *body, struct span bytes)
{
    if (body->err)
        return body->err;
    if (body->finished)
        return BRANT_ESTATE;
    if (!body->w && atomic_load(&body->st->body_memory) + bytes.len > body->st->config.body_memory_max)
        return BRANT_ETRYLATER;
    body->err = append(body, bytes);
    if (body->err == BRANT_ETRYLATER)
        body->err = BRANT_ELIMIT; /* staging as a whole is full; nothing can be taken back */
    if (body->err)
        return body->err;
    body->bytes += bytes.len;
    if (!body->w)
        count(body, body->data.cap);
    return BRANT_OK;
}

int store_body_finish(struct store_body *body)
{
    if (body->err)
        return body->err;
    if (body->finished)
        return BRANT_ESTATE;
    if (body->w) {
        struct body_writer *w = body->w;

        body->w = NULL;
        body->err = body_finish(w, &body->ref);
        if (body->err)
            return body->err;
        body->in_file = true;
        count(body, 0);
    }
    body->finished = true;
    return BRANT_OK;
}

uint64_t store_body_bytes(const struct store_body *body)
{
    return body->bytes;
}

uint64_t store_body_memory(const struct store_body *body)
{
    return body->counted;
}

uint64_t store_body_memory_all(struct store *st)
{
    return atomic_load(&st->body_memory);
}

void store_body_free(struct store_body *body)
{
    if (!body)
        return;
    body_abort(body->w);
    if (body->in_file && !body->committed)
        (void)bodies_unlink(body->st->bodies, body->ref.id); /* else the next start removes it */
    count(body, 0);
    buf_done(&body->data);
    free(body);
}

void store_append_free(struct store_op *op)
{
    for (size_t i = 0; i < op->append.count; i++) {
        store_body_free(op->append.messages[i].body);
        op->append.messages[i].body = NULL;
    }
}
