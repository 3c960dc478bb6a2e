/* The tables of sandbox_profiles.c; for sandbox.c and its test only. */
#ifndef OS_SANDBOX_PROFILES_H
#define OS_SANDBOX_PROFILES_H

#include <stddef.h>

#include "os/sandbox.h"

extern const struct sandbox_profile sandbox_profiles[];
extern const size_t sandbox_profile_count;

/* Names of system calls, NULL-terminated. Names an architecture does not have are skipped. */
extern const char *const sandbox_calls_base[];
extern const char *const sandbox_calls_accept[];
extern const char *const sandbox_calls_files[];
extern const char *const sandbox_calls_threads[];
extern const char *const sandbox_calls_connect[];
extern const char *const sandbox_calls_denied[]; /* EACCES instead of death */

#endif
