/* Allocation that cannot fail: out of memory aborts the process, and the supervisor starts the role again.
 * Sizes are bytes. Memory is released with free(). */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size);                           /* uninitialised; size 0 gives a unique pointer */
void *mem_zalloc(size_t size);                          /* zeroed */
void *mem_realloc(void *old, size_t size);              /* as realloc(3) */
void *mem_array(size_t count, size_t size);             /* zeroed, overflow-checked */
void *mem_regrow(void *old, size_t count, size_t size); /* realloc of an array, overflow-checked */
void *mem_dup(const void *data, size_t size);
char *mem_strdup(const char *text);

/* Overwrites memory that held a secret; not removed by the optimiser. */
void mem_wipe(void *data, size_t size);

/* `_cleanup_free_ char *p = …;` frees p when it leaves scope. */
void mem_free_cleanup(void *pointer_to_pointer);
#define _cleanup_free_ __attribute__((cleanup(mem_free_cleanup)))

#endif
