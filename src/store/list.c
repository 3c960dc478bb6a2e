/* Listings of the directory, in byte order, in slices. For people: each call walks all of it. */
#include <stdlib.h>

#include "base/mem.h"
#include "store/state.h"

static int compare_names(const void *a, const void *b)
{
    const struct dir_name *const *x = a, *const *y = b;

    return strcmp((*x)->address, (*y)->address);
}

/* Under dir.lock: names of the domain (or all), at or behind `after`, sorted. The caller frees. */
static struct dir_name **sorted_names(struct directory *d, struct span domain, struct span after, size_t *ret)
{
    struct dir_name **names = mem_array(d->names.len + 1, sizeof(struct dir_name *));
    struct map_iter it = map_iterate(&d->names);
    struct dir_name *n;

    *ret = 0;
    while ((n = map_next(&it, NULL))) {
        if (domain.len && !span_eq_str_nocase(domain, strrchr(n->address, '@') + 1))
            continue;
        if (span_cmp(span_str(n->address), after) >= 0)
            names[(*ret)++] = n;
    }
    qsort(names, *ret, sizeof(struct dir_name *), compare_names);
    return names;
}

size_t store_accounts_list(struct store *st, struct span domain, struct span after,
                           struct store_account_info *ret, size_t max)
{
    struct dir_name **names;
    size_t found, count = 0;

    pthread_mutex_lock(&st->dir.lock);
    names = sorted_names(&st->dir, domain, after, &found);
    for (size_t i = 0; i < found && count < max; i++) {
        if (names[i]->account && !span_eq_str(after, names[i]->address))
            dir_account_info(names[i]->account, &ret[count++]);
    }
    free(names);
    pthread_mutex_unlock(&st->dir.lock);
    return count;
}

static int compare_domains(const void *a, const void *b)
{
    const struct dir_domain *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

size_t store_domains_list(struct store *st, struct span after, struct store_domain_info *ret, size_t max)
{
    struct dir_domain **domains, *d;
    struct map_iter it;
    size_t found = 0, count = 0;

    pthread_mutex_lock(&st->dir.lock);
    domains = mem_array(st->dir.domains.len + 1, sizeof(struct dir_domain *));
    it = map_iterate(&st->dir.domains);
    while ((d = map_next(&it, NULL))) {
        if (span_cmp(span_str(d->name), after) > 0)
            domains[found++] = d;
    }
    qsort(domains, found, sizeof(struct dir_domain *), compare_domains);
    for (; count < found && count < max; count++) {
        ret[count] = (struct store_domain_info){.accounts = domains[count]->accounts,
                                                .aliases = domains[count]->aliases};
        memcpy(ret[count].name, domains[count]->name, strlen(domains[count]->name) + 1);
    }
    free(domains);
    pthread_mutex_unlock(&st->dir.lock);
    return count;
}

static int compare_targets(const void *a, const void *b)
{
    const struct dir_alias *const *x = a, *const *y = b;

    return strcmp((*x)->target, (*y)->target);
}

/* The targets of one alias behind `after`, sorted, as far as there is room. */
static size_t list_targets(const struct dir_name *n, struct span after, struct store_alias_info *ret,
                           size_t max)
{
    struct dir_alias **targets;
    size_t found = 0, count = 0;

    for (struct dir_alias *a = n->aliases; a; a = a->next)
        found++;
    targets = mem_array(found + 1, sizeof(struct dir_alias *));
    found = 0;
    for (struct dir_alias *a = n->aliases; a; a = a->next) {
        if (span_cmp(span_str(a->target), after) > 0)
            targets[found++] = a;
    }
    qsort(targets, found, sizeof(struct dir_alias *), compare_targets);
    for (; count < found && count < max; count++) {
        memcpy(ret[count].address, n->address, strlen(n->address) + 1);
        memcpy(ret[count].target, targets[count]->target, strlen(targets[count]->target) + 1);
    }
    free(targets);
    return count;
}

size_t store_aliases_list(struct store *st, struct span domain, struct span after_address,
                          struct span after_target, struct store_alias_info *ret, size_t max)
{
    struct dir_name **names;
    size_t found, count = 0;

    pthread_mutex_lock(&st->dir.lock);
    names = sorted_names(&st->dir, domain, after_address, &found);
    for (size_t i = 0; i < found && count < max; i++) {
        bool same = span_eq_str(after_address, names[i]->address);

        count += list_targets(names[i], same ? after_target : SPAN_NONE, ret + count, max - count);
    }
    free(names);
    pthread_mutex_unlock(&st->dir.lock);
    return count;
}
