/* The system-call filter of one profile, built with libseccomp. For sandbox.c only. */
#ifndef OS_SECCOMP_FILTER_H
#define OS_SECCOMP_FILTER_H

#include "os/sandbox.h"

/* Builds the filter and loads it into this process and all its threads. BRANT_EIO. */
int seccomp_filter_load(const struct sandbox_profile *profile);

#endif
