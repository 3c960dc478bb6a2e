#include "pop3/maildrop.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"

void pop3_maildrop_init(struct pop3_maildrop *m, uint32_t uidvalidity, uint32_t capacity)
{
    *m = (struct pop3_maildrop){.uidvalidity = uidvalidity, .capacity = capacity};
    if (capacity > 0)
        m->messages = mem_array(capacity, sizeof *m->messages);
}

void pop3_maildrop_done(struct pop3_maildrop *m)
{
    free(m->messages);
    free(m->deleted);
    *m = (struct pop3_maildrop){0};
}

int pop3_maildrop_add(struct pop3_maildrop *m, uint32_t uid, uint32_t size_bytes)
{
    if (uid == 0 || (m->count > 0 && uid <= m->messages[m->count - 1].uid))
        return BRANT_ESYNTAX;
    if (m->count == m->capacity)
        return BRANT_ELIMIT;
    m->messages[m->count++] = (struct pop3_message){uid, size_bytes};
    m->size_bytes += size_bytes;
    return BRANT_OK;
}

static bool is_deleted(const struct pop3_maildrop *m, uint32_t index)
{
    return m->deleted && (m->deleted[index / 64] >> (index % 64) & 1) != 0;
}

const struct pop3_message *pop3_maildrop_get(const struct pop3_maildrop *m, uint64_t number)
{
    if (number == 0 || number > m->count || is_deleted(m, (uint32_t)(number - 1)))
        return NULL;
    return &m->messages[number - 1];
}

int pop3_maildrop_delete(struct pop3_maildrop *m, uint64_t number)
{
    const struct pop3_message *message = pop3_maildrop_get(m, number);
    uint32_t index;

    if (!message)
        return BRANT_ENOTFOUND;
    index = (uint32_t)(number - 1);
    if (!m->deleted)
        m->deleted = mem_array(m->count / 64 + 1, sizeof *m->deleted);
    m->deleted[index / 64] |= UINT64_C(1) << (index % 64);
    m->deleted_count++;
    m->deleted_size_bytes += message->size_bytes;
    return BRANT_OK;
}

void pop3_maildrop_undelete(struct pop3_maildrop *m)
{
    free(m->deleted);
    m->deleted = NULL;
    m->deleted_count = 0;
    m->deleted_size_bytes = 0;
}

uint32_t pop3_maildrop_next(const struct pop3_maildrop *m, uint32_t after, bool deleted)
{
    for (uint32_t index = after; index < m->count; index++) {
        if (is_deleted(m, index) == deleted)
            return index + 1;
    }
    return 0;
}
