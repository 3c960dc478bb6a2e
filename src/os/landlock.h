/* Landlock by system call: no library wraps it in Debian 12. For sandbox.c only. */
#ifndef OS_LANDLOCK_H
#define OS_LANDLOCK_H

#include <stdbool.h>

/* The kernel's Landlock ABI, or 0 when there is none. */
int landlock_abi(void);

/* Denies this thread and its descendants all file access by path, except beneath the working directory when
 * files is true (and there no devices, sockets, FIFOs, symbolic links or execution); without
 * connect also binding and connecting TCP; and signals and abstract sockets to processes outside.
 * no_new_privs must be set. BRANT_EUNSUPPORTED, BRANT_EIO. */
int landlock_restrict(bool files, bool connect);

#endif
