#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void *mem_realloc(void *old, size_t size)
{
    void *p = realloc(old, size ? size : 1);

    if (!p)
        abort();
    return p;
}

void *mem_alloc(size_t size)
{
    return mem_realloc(NULL, size);
}

void *mem_array(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size ? size : 1);

    if (!p)
        abort();
    return p;
}

void *mem_zalloc(size_t size)
{
    return mem_array(1, size);
}

void *mem_regrow(void *old, size_t count, size_t size)
{
    size_t total;

    if (__builtin_mul_overflow(count, size, &total))
        abort();
    return mem_realloc(old, total);
}

void *mem_dup(const void *data, size_t size)
{
    void *p = mem_alloc(size);

    if (size)
        memcpy(p, data, size);
    return p;
}

char *mem_strdup(const char *text)
{
    return mem_dup(text, strlen(text) + 1);
}

void mem_wipe(void *data, size_t size)
{
    if (size)
        memset(data, 0, size);
    __asm__ volatile("" : : "r"(data) : "memory");
}

void mem_free_cleanup(void *pointer_to_pointer)
{
    void *p;

    memcpy(&p, pointer_to_pointer, sizeof p);
    free(p);
}
