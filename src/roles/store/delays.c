#include "roles/store/delays.h"

bool delays_add(struct delays *d, struct delayed *item, uint64_t due_ms)
{
    if (d->count >= d->max)
        return false;
    struct delayed *after = d->last;
    while (after && after->due_ms > due_ms)
        after = after->prev;
    item->due_ms = due_ms;
    item->prev = after;
    item->next = after ? after->next : d->first;
    *(after ? &after->next : &d->first) = item;
    *(item->next ? &item->next->prev : &d->last) = item;
    d->count++;
    return true;
}

void delays_remove(struct delays *d, struct delayed *item)
{
    *(item->prev ? &item->prev->next : &d->first) = item->next;
    *(item->next ? &item->next->prev : &d->last) = item->prev;
    d->count--;
}

struct delayed *delays_due(struct delays *d, uint64_t now_ms)
{
    struct delayed *item = d->first;
    if (!item || item->due_ms > now_ms)
        return NULL;
    delays_remove(d, item);
    return item;
}

uint64_t delays_due_ms(uint64_t asked_ms, uint64_t delay_ms, uint64_t now_ms)
{
    if (delay_ms == 0 || now_ms <= asked_ms)
        return asked_ms + delay_ms;
    uint64_t times = (now_ms - asked_ms + delay_ms - 1) / delay_ms;
    return asked_ms + times * delay_ms;
}
