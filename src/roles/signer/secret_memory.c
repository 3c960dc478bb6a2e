#include "roles/signer/secret_memory.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

static void *take(size_t len, const char *file, int line)
{
    (void)file;
    (void)line;
    return malloc(len);
}

static void give_back(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    if (p)
        OPENSSL_cleanse(p, malloc_usable_size(p));
    free(p);
}

/* realloc() would leave the old place as it is. */
static void *resize(void *p, size_t len, const char *file, int line)
{
    if (len == 0) {
        give_back(p, file, line);
        return NULL;
    }
    void *to = malloc(len);
    if (!to || !p)
        return to;
    size_t had = malloc_usable_size(p);
    memcpy(to, p, had < len ? had : len);
    give_back(p, file, line);
    return to;
}

void secret_memory_init(void)
{
    if (CRYPTO_set_mem_functions(take, resize, give_back) != 1)
        abort(); /* a mistake in the program: too late */
}
