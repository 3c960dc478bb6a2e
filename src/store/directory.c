/* The heads: who has which address, and the counters of accounts and mailboxes, in memory. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/ascii.h"
#include "base/codec.h"
#include "base/err.h"
#include "base/mem.h"
#include "store/state.h"

/* One address still to be looked at. */
struct dir_step {
    const char *address; /* canonical; belongs to a dir_alias or to the caller */
    unsigned depth;
};

void dir_init(struct directory *d, const struct store_config *config, struct map_key key)
{
    memset(d, 0, sizeof *d);
    pthread_mutex_init(&d->lock, NULL);
    map_init(&d->domains, key);
    map_init(&d->names, key);
    map_init(&d->accounts, key);
    map_init(&d->mailboxes, key);
    map_init(&d->certs, key);
    d->delimiter = config->delimiter;
    if (!config->postmaster[0] || dir_canonical(span_str(config->postmaster), false, d->postmaster))
        d->postmaster[0] = '\0';
    d->results = mem_array(STORE_EXPANSION_MAX, sizeof *d->results);
    d->steps = mem_array(STORE_EXPANSION_MAX, sizeof *d->steps);
}

static void account_free(struct directory *d, struct dir_account *a)
{
    dir_grants_drop(d, a);
    dir_mailboxes_drop(d, a);
    mem_wipe(&a->scram, sizeof a->scram);
    buf_done(&a->verifier);
    free(a);
}

static void name_free(struct dir_name *n)
{
    while (n->aliases) {
        struct dir_alias *alias = n->aliases;

        n->aliases = alias->next;
        free(alias);
    }
    free(n);
}

void dir_done(struct directory *d)
{
    struct map_iter it = map_iterate(&d->names);
    void *value;

    while ((value = map_next(&it, NULL)))
        name_free(value);
    it = map_iterate(&d->accounts);
    while ((value = map_next(&it, NULL)))
        account_free(d, value);
    it = map_iterate(&d->domains);
    while ((value = map_next(&it, NULL)))
        free(value);
    map_done(&d->domains);
    map_done(&d->names);
    map_done(&d->accounts);
    map_done(&d->mailboxes);
    map_done(&d->certs);
    free(d->results);
    free(d->steps);
    pthread_mutex_destroy(&d->lock);
}

/* ---- Names
 * -------------------------------------------------------------------------------------------------- */

static bool lower(struct span in, bool local, char *out)
{
    for (size_t i = 0; i < in.len; i++) {
        if (ascii_is_ctl(in.p[i]) || (!local && in.p[i] == ' '))
            return false;
        out[i] = (char)ascii_lower(in.p[i]);
    }
    out[in.len] = '\0';
    return codec_utf8_valid(in);
}

int dir_canonical_domain(struct span name, char out[256])
{
    if (!name.len || name.len > 255 || span_find_byte(name, '@') != SPAN_NPOS || name.p[0] == '.' ||
        !lower(name, false, out))
        return BRANT_ESYNTAX;
    return BRANT_OK;
}

int dir_canonical(struct span address, bool catch_all, char out[STORE_ADDRESS_MAX + 1])
{
    size_t at = span_rfind_byte(address, '@');
    char domain[256];

    if (at == SPAN_NPOS || address.len > STORE_ADDRESS_MAX || (at == 0 && !catch_all))
        return BRANT_ESYNTAX;
    if (!lower(span_sub(address, 0, at), true, out) ||
        dir_canonical_domain(span_from(address, at + 1), domain))
        return BRANT_ESYNTAX;
    out[at] = '@';
    memcpy(out + at + 1, domain, strlen(domain) + 1);
    return BRANT_OK;
}

struct dir_domain *dir_domain(struct directory *d, const char *name)
{
    return map_get(&d->domains, span_str(name));
}

struct dir_domain *dir_domain_of(struct directory *d, const char *address)
{
    return dir_domain(d, strrchr(address, '@') + 1);
}

struct dir_name *dir_name(struct directory *d, const char *address)
{
    return map_get(&d->names, span_str(address));
}

struct dir_account *dir_account(struct directory *d, uint64_t id)
{
    return map_get(&d->accounts, map_u64_key(&id));
}

struct dir_mailbox *dir_mailbox(struct directory *d, uint64_t id)
{
    return map_get(&d->mailboxes, map_u64_key(&id));
}

/* ---- Looking up
 * ---------------------------------------------------------------------------------------------- */

struct look_up {
    struct directory *d;
    size_t step_count, result_count;
    int err; /* BRANT_ELIMIT once a bound was met */
};

static void found_account(struct look_up *l, struct dir_account *a, struct span detail)
{
    struct dir_result *result;

    if (a->visit == l->d->visit)
        return;
    a->visit = l->d->visit;
    if (l->result_count == STORE_EXPANSION_MAX) {
        l->err = BRANT_ELIMIT;
        return;
    }
    result = &l->d->results[l->result_count++];
    result->account = a;
    if (detail.len > sizeof result->detail - 1)
        detail.len = sizeof result->detail - 1;
    if (detail.len)
        memcpy(result->detail, detail.p, detail.len);
    result->detail[detail.len] = '\0';
}

/* The name is an account or a list of aliases; each name is followed once. */
static void found_name(struct look_up *l, struct dir_name *n, struct span detail, unsigned depth)
{
    if (n->account) {
        found_account(l, n->account, detail);
        return;
    }
    if (n->visit == l->d->visit)
        return;
    n->visit = l->d->visit;
    if (depth >= STORE_ALIAS_DEPTH_MAX) {
        l->err = BRANT_ELIMIT;
        return;
    }
    for (struct dir_alias *a = n->aliases; a; a = a->next) {
        if (l->step_count == STORE_EXPANSION_MAX) {
            l->err = BRANT_ELIMIT;
            return;
        }
        l->d->steps[l->step_count++] = (struct dir_step){a->target, depth + 1};
    }
}

/* user+detail where nobody is called exactly that: the name without the detail. */
static bool look_up_detail(struct look_up *l, const char *address, unsigned depth)
{
    const char *at = strrchr(address, '@');
    const char *cut = l->d->delimiter ? strchr(address + 1, l->d->delimiter) : NULL;
    char base[STORE_ADDRESS_MAX + 1];
    struct dir_name *n;

    if (!cut || cut > at)
        return false;
    (void)snprintf(base, sizeof base, "%.*s%s", (int)(cut - address), address, at);
    n = dir_name(l->d, base);
    if (n)
        found_name(l, n, span_make(cut + 1, (size_t)(at - cut - 1)), depth);
    return n != NULL;
}

/* RFC 5321 4.5.1: mail for postmaster must reach somebody. */
static struct dir_account *any_postmaster(struct directory *d)
{
    struct dir_name *n = d->postmaster[0] ? dir_name(d, d->postmaster) : NULL;
    struct map_iter it = map_iterate(&d->accounts);
    struct dir_account *a, *best = NULL;

    if (n && n->account)
        return n->account;
    while ((a = map_next(&it, NULL))) {
        bool admin = a->options & STORE_ACCOUNT_ADMIN,
             best_admin = best && best->options & STORE_ACCOUNT_ADMIN;

        if (a->state == RECORD_STATE_LIVE &&
            (!best || admin > best_admin || (admin == best_admin && a->id < best->id)))
            best = a;
    }
    return best;
}

static void look_up_step(struct look_up *l, const char *address, unsigned depth)
{
    const char *at = strrchr(address, '@');
    struct dir_name *n = dir_name(l->d, address);

    if (n) {
        found_name(l, n, SPAN_NONE, depth);
        return;
    }
    if (!dir_domain(l->d, at + 1) || look_up_detail(l, address, depth))
        return;
    n = dir_name(l->d, at);
    if (n)
        found_name(l, n, SPAN_NONE, depth);
    else if ((size_t)(at - address) == strlen("postmaster") && !strncmp(address, "postmaster", 10)) {
        struct dir_account *a = any_postmaster(l->d);

        if (a)
            found_account(l, a, SPAN_NONE);
    }
}

int dir_resolve(struct directory *d, struct span address, size_t *ret_count)
{
    char canonical[STORE_ADDRESS_MAX + 1];
    struct look_up l = {.d = d};

    d->visit++;
    if (span_eq_str_nocase(address, "postmaster")) {
        struct dir_account *a = any_postmaster(d);

        if (!a)
            return BRANT_ENOTFOUND;
        found_account(&l, a, SPAN_NONE);
        *ret_count = 1;
        return BRANT_OK;
    }
    if (dir_canonical(address, false, canonical))
        return BRANT_ESYNTAX;
    if (!dir_domain_of(d, canonical))
        return BRANT_EREFUSED;
    look_up_step(&l, canonical, 0);
    for (size_t i = 0; i < l.step_count && !l.err; i++)
        look_up_step(&l, d->steps[i].address, d->steps[i].depth);
    if (l.err)
        return l.err;
    if (!l.result_count)
        return BRANT_ENOTFOUND;
    *ret_count = l.result_count;
    return BRANT_OK;
}

/* ---- Changing: by the writer, and when loading
 * ---------------------------------------------------------------- */

void dir_domain_put(struct directory *d, uint64_t id, struct span name)
{
    struct dir_domain *domain = mem_zalloc(sizeof *domain + name.len + 1);
    void *old;

    domain->id = id;
    memcpy(domain->name, name.p, name.len);
    old = map_put(&d->domains, name, domain);
    assert(!old);
}

void dir_domain_drop(struct directory *d, struct dir_domain *domain)
{
    map_remove(&d->domains, span_str(domain->name));
    free(domain);
}

static struct dir_name *name_get(struct directory *d, struct span address)
{
    struct dir_name *n = map_get(&d->names, address);

    if (n)
        return n;
    n = mem_zalloc(sizeof *n + address.len + 1);
    memcpy(n->address, address.p, address.len);
    n->domain = dir_domain_of(d, n->address);
    map_put(&d->names, address, n);
    return n;
}

static void name_release(struct directory *d, struct dir_name *n)
{
    if (n->account || n->aliases)
        return;
    map_remove(&d->names, span_str(n->address));
    name_free(n);
}

/* The salt of an account from before there were salts: always the same, and no other account's. It goes into
 * the account's next record. Keyed by what only this store knows: who could compute it would see that there
 * is such an account. */
static void old_salt(const struct directory *d, const struct dir_account *a,
                     uint8_t salt[STORE_SCRAM_SALT_BYTES])
{
    char text[STORE_ADDRESS_MAX + 64];
    int len = snprintf(text, sizeof text, "%llu %llu %s", (unsigned long long)a->id,
                       (unsigned long long)a->created_ms, a->name ? a->name->address : "");

    for (uint64_t half = 0; half < 2; half++) {
        struct map_key key;

        memcpy(&key.k0, d->store_id, 8);
        memcpy(&key.k1, d->store_id + 8, 8);
        key.k0 ^= half;
        uint64_t bits = map_siphash(key, span_make(text, (size_t)len));

        for (size_t i = 0; i < 8; i++)
            salt[half * 8 + i] = (uint8_t)(bits >> (8 * i));
    }
}

static void scram_put(const struct directory *d, struct dir_account *a, const struct record_account *rec)
{
    static const uint8_t none[STORE_SCRAM_SALT_BYTES];

    struct store_scram scram = {.iterations = rec->scram_iterations};

    memcpy(scram.salt, rec->scram_salt, sizeof scram.salt);
    if (a->state == RECORD_STATE_LIVE && !memcmp(scram.salt, none, sizeof none))
        old_salt(d, a, scram.salt);
    if (rec->scram_stored_key.len == sizeof scram.stored_key)
        memcpy(scram.stored_key, rec->scram_stored_key.p, sizeof scram.stored_key);
    if (rec->scram_server_key.len == sizeof scram.server_key)
        memcpy(scram.server_key, rec->scram_server_key.p, sizeof scram.server_key);
    a->scram = scram;
}

struct dir_account *dir_account_put(struct directory *d, uint64_t id, const struct record_account *rec)
{
    struct dir_account *a = dir_account(d, id);

    if (!a) {
        a = mem_zalloc(sizeof *a);
        a->id = id;
        buf_init(&a->verifier, STORE_VERIFIER_MAX);
        map_put(&d->accounts, map_u64_key(&id), a);
        if (rec->state == RECORD_STATE_LIVE) {
            a->name = name_get(d, rec->address);
            a->name->account = a;
            if (a->name->domain)
                a->name->domain->accounts++;
        }
    }
    a->state = rec->state;
    a->options = rec->options;
    a->quota_bytes = rec->quota_bytes;
    a->inbox = rec->inbox ? rec->inbox : id;
    a->created_ms = rec->created_ms;
    if (rec->verifier.p != a->verifier.data) {
        buf_reset(&a->verifier);
        (void)buf_append(&a->verifier, rec->verifier);
    }
    scram_put(d, a, rec);
    return a;
}

void dir_account_detach(struct directory *d, struct dir_account *a)
{
    struct dir_name *n = a->name;

    if (n->domain)
        n->domain->accounts--;
    dir_grants_drop(d, a);
    mem_wipe(&a->scram, sizeof a->scram);
    mem_wipe(a->verifier.data, a->verifier.len);
    buf_reset(&a->verifier);
    n->account = NULL;
    a->name = NULL;
    a->state = RECORD_STATE_REMOVING;
    name_release(d, n);
}

void dir_account_drop(struct directory *d, struct dir_account *a)
{
    map_remove(&d->accounts, map_u64_key(&a->id));
    account_free(d, a);
}

int dir_alias_put(struct directory *d, uint64_t id, struct span address, struct span target)
{
    struct dir_name *n = name_get(d, address);
    struct dir_alias *alias, **tail = &n->aliases;

    alias = mem_zalloc(sizeof *alias + target.len + 1);
    alias->id = id;
    memcpy(alias->target, target.p, target.len);
    while (*tail)
        tail = &(*tail)->next;
    *tail = alias;
    if (n->domain)
        n->domain->aliases++;
    return BRANT_OK;
}

void dir_alias_drop(struct directory *d, struct dir_name *n, struct dir_alias *alias)
{
    struct dir_alias **place = &n->aliases;

    while (*place != alias)
        place = &(*place)->next;
    *place = alias->next;
    free(alias);
    if (n->domain)
        n->domain->aliases--;
    name_release(d, n);
}

void dir_account_info(const struct dir_account *a, struct store_account_info *ret)
{
    *ret = (struct store_account_info){
        .account = a->id,
        .inbox = a->inbox,
        .used_bytes = a->used_bytes,
        .messages = a->messages,
        .quota_bytes = a->quota_bytes,
        .created_ms = (int64_t)a->created_ms,
        .options = a->options,
        .scram = a->scram,
        .grants = a->grant_count,
        .verifier_len = a->verifier.len,
    };
    if (a->name)
        memcpy(ret->address, a->name->address, strlen(a->name->address) + 1);
    if (a->verifier.len)
        memcpy(ret->verifier, a->verifier.data, a->verifier.len);
}

/* ---- Loading
 * ------------------------------------------------------------------------------------------------- */

static int load_domains(struct directory *d, struct index *ix)
{
    int rc = index_bind(ix, INDEX_DOMAIN_LIST, NULL, 0);

    while (!rc && !(rc = index_row(ix, INDEX_DOMAIN_LIST))) {
        struct span name = index_bytes(ix, INDEX_DOMAIN_LIST, 2);

        if (!name.len || map_get(&d->domains, name))
            continue;
        dir_domain_put(d, index_number(ix, INDEX_DOMAIN_LIST, 0), name);
    }
    return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
}

static int load_accounts(struct directory *d, struct index *ix)
{
    enum index_statement s = INDEX_ACCOUNT_LIST;
    int rc = index_bind(ix, s, NULL, 0);

    while (!rc && !(rc = index_row(ix, s))) {
        struct record_account rec = {
            .state = (uint8_t)index_number(ix, s, 1),
            .address = index_bytes(ix, s, 2),
            .options = (uint32_t)index_number(ix, s, 3),
            .quota_bytes = index_number(ix, s, 4),
            .inbox = index_number(ix, s, 5),
            .created_ms = index_number(ix, s, 6),
            .verifier = index_bytes(ix, s, 7),
            .scram_iterations = (uint32_t)index_number(ix, s, 9),
            .scram_stored_key = index_bytes(ix, s, 10),
            .scram_server_key = index_bytes(ix, s, 11),
        };
        struct span salt = index_bytes(ix, s, 8);
        struct dir_account *a;

        if (salt.len == sizeof rec.scram_salt)
            memcpy(rec.scram_salt, salt.p, salt.len);

        if (rec.state == RECORD_STATE_LIVE && span_find_byte(rec.address, '@') == SPAN_NPOS)
            continue;
        a = dir_account_put(d, index_number(ix, s, 0), &rec);
        a->last_seq = index_number(ix, s, 12);
    }
    return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
}

static int load_aliases(struct directory *d, struct index *ix)
{
    enum index_statement s = INDEX_ALIAS_LIST;
    int rc = index_bind(ix, s, NULL, 0);

    while (!rc && !(rc = index_row(ix, s))) {
        struct span address = index_bytes(ix, s, 2), target = index_bytes(ix, s, 3);

        if (span_find_byte(address, '@') == SPAN_NPOS || span_find_byte(target, '@') == SPAN_NPOS)
            continue;
        rc = dir_alias_put(d, index_number(ix, s, 0), address, target);
    }
    return rc == BRANT_ENOTFOUND ? BRANT_OK : rc;
}

int dir_load(struct directory *d, struct index *ix)
{
    int rc = load_domains(d, ix);

    if (!rc)
        rc = load_accounts(d, ix);
    if (!rc)
        rc = dir_load_grants(d, ix);
    if (!rc)
        rc = dir_load_mailboxes(d, ix);
    if (!rc)
        rc = load_aliases(d, ix);
    return rc;
}
