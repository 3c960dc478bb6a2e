/* What accounts have beside their passwords: app passwords, client certificates, other senders' addresses. */
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/state.h"

/* ---- Heads
 * -------------------------------------------------------------------------------------------------- */

static struct span name_of(const struct dir_grant *g)
{
    return span_make(g->name, g->name_len);
}

static struct span data_of(const struct dir_grant *g)
{
    return span_make(g->data, g->data_len);
}

struct dir_grant *dir_grant(const struct dir_account *a, uint8_t kind, struct span name)
{
    for (struct dir_grant *g = a->grants; g; g = g->next) {
        if (g->kind == kind && span_eq(name_of(g), name))
            return g;
    }
    return NULL;
}

struct dir_grant *dir_certificate(struct directory *d, struct span sha256)
{
    return map_get(&d->certs, sha256);
}

static bool before(const struct dir_grant *a, const struct dir_grant *b)
{
    return a->kind < b->kind || (a->kind == b->kind && span_cmp(name_of(a), name_of(b)) < 0);
}

void dir_grant_put(struct directory *d, struct dir_account *a, const struct record_grant *rec)
{
    struct dir_grant *g = mem_zalloc(sizeof *g + rec->name.len), **place = &a->grants;

    g->account = a;
    g->created_ms = rec->created_ms;
    g->expires_ms = rec->expires_ms;
    g->protocols = rec->protocols;
    g->kind = rec->kind;
    g->data_len = rec->data.len < sizeof g->data ? rec->data.len : sizeof g->data;
    g->name_len = rec->name.len;
    if (g->data_len)
        memcpy(g->data, rec->data.p, g->data_len);
    if (g->name_len)
        memcpy(g->name, rec->name.p, g->name_len);
    while (*place && before(*place, g))
        place = &(*place)->next;
    g->next = *place;
    *place = g;
    a->grant_count++;
    if (g->kind == STORE_GRANT_CERTIFICATE)
        map_put(&d->certs, data_of(g), g);
}

void dir_grant_drop(struct directory *d, struct dir_grant *g)
{
    struct dir_grant **place = &g->account->grants;

    while (*place != g)
        place = &(*place)->next;
    *place = g->next;
    g->account->grant_count--;
    if (g->kind == STORE_GRANT_CERTIFICATE && dir_certificate(d, data_of(g)) == g)
        map_remove(&d->certs, data_of(g));
    mem_wipe(g, sizeof *g);
    free(g);
}

void dir_grants_drop(struct directory *d, struct dir_account *a)
{
    while (a->grants)
        dir_grant_drop(d, a->grants);
}

int dir_load_grants(struct directory *d, struct index *ix)
{
    enum index_statement s = INDEX_GRANT_LIST;
    int rc = index_bind(ix, s, NULL, 0);

    while (!rc && !(rc = index_row(ix, s))) {
        struct dir_account *a = dir_account(d, index_number(ix, s, 0));
        struct record_grant rec = {
            .kind = (uint8_t)index_number(ix, s, 1),
            .name = index_bytes(ix, s, 2),
            .protocols = (uint32_t)index_number(ix, s, 3),
            .created_ms = index_number(ix, s, 4),
            .expires_ms = index_number(ix, s, 5),
            .data = index_bytes(ix, s, 6),
        };

        if (a && a->state == RECORD_STATE_LIVE)
            dir_grant_put(d, a, &rec);
    }
    return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
}

/* ---- Questions
 * ------------------------------------------------------------------------------------------------- */

/* Under dir.lock: a living account. */
static struct dir_account *living(struct store *st, uint64_t account)
{
    struct dir_account *a = dir_account(&st->dir, account);

    return a && a->state == RECORD_STATE_LIVE ? a : NULL;
}

static int copy_grants(const struct dir_account *a, uint8_t kind, struct arena *arena,
                       struct store_grant **ret, size_t *ret_count)
{
    struct store_grant *grants = arena_array(arena, a->grant_count, sizeof *grants);
    size_t count = 0;

    if (!grants && a->grant_count)
        return BRANT_ELIMIT;
    for (const struct dir_grant *g = a->grants; g; g = g->next) {
        struct store_grant *to = &grants[count];

        if (kind && g->kind != kind)
            continue;
        *to = (struct store_grant){.kind = g->kind,
                                   .name = arena_dup(arena, name_of(g)),
                                   .protocols = g->protocols,
                                   .created_ms = g->created_ms,
                                   .expires_ms = g->expires_ms,
                                   .data = arena_dup(arena, data_of(g))};
        if ((g->name_len && !to->name.p) || (g->data_len && !to->data.p))
            return BRANT_ELIMIT;
        count++;
    }
    *ret = grants;
    *ret_count = count;
    return BRANT_OK;
}

int store_grants_get(struct store *st, uint64_t account, uint8_t kind, struct arena *arena,
                     struct store_grant **ret, size_t *ret_count)
{
    struct dir_account *a;
    int rc = BRANT_ENOTFOUND;

    pthread_mutex_lock(&st->dir.lock);
    a = living(st, account);
    if (a)
        rc = copy_grants(a, kind, arena, ret, ret_count);
    pthread_mutex_unlock(&st->dir.lock);
    return rc;
}

int store_account_by_certificate(struct store *st, const uint8_t sha256[32], uint64_t *ret_account,
                                 uint64_t *ret_expires_ms, uint32_t *ret_protocols)
{
    struct dir_grant *g;

    pthread_mutex_lock(&st->dir.lock);
    g = dir_certificate(&st->dir, span_make(sha256, 32));
    if (g) {
        *ret_account = g->account->id;
        *ret_expires_ms = g->expires_ms;
        *ret_protocols = g->protocols;
    }
    pthread_mutex_unlock(&st->dir.lock);
    return g ? BRANT_OK : BRANT_ENOTFOUND;
}

static bool reached(struct directory *d, const struct dir_account *a, struct span address)
{
    size_t count = 0;

    if (dir_resolve(d, address, &count))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (d->results[i].account == a)
            return true;
    }
    return false;
}

static bool granted(const struct dir_account *a, struct span address, int64_t now_ms)
{
    size_t at = span_rfind_byte(address, '@');

    for (const struct dir_grant *g = a->grants; g; g = g->next) {
        if (g->kind != STORE_GRANT_SEND_AS || (g->expires_ms && (int64_t)g->expires_ms <= now_ms))
            continue;
        if (span_eq(name_of(g), address) || span_eq(name_of(g), span_from(address, at)))
            return true;
    }
    return false;
}

int store_may_send_as(struct store *st, uint64_t account, struct span address)
{
    char canonical[STORE_ADDRESS_MAX + 1];
    int64_t now_ms = st->seam.now_ms(st->seam.ctx);
    bool valid = !dir_canonical(address, false, canonical), may = false;
    struct dir_account *a;

    pthread_mutex_lock(&st->dir.lock);
    a = living(st, account);
    if (a && valid)
        may = span_eq_str(span_str(canonical), a->name->address) ||
              reached(&st->dir, a, span_str(canonical)) || granted(a, span_str(canonical), now_ms);
    pthread_mutex_unlock(&st->dir.lock);
    if (!a)
        return BRANT_ENOTFOUND;
    return may ? BRANT_OK : BRANT_EREFUSED;
}
