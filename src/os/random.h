/* Random bytes from the kernel: for keys, tokens and identifiers. Cannot fail: without entropy the process
 * aborts, because nothing that asks may go on with predictable bytes. */
#ifndef OS_RANDOM_H
#define OS_RANDOM_H

#include <stddef.h>
#include <stdint.h>

void os_random_fill(void *out, size_t len);
uint64_t os_random_u64(void);

#endif
