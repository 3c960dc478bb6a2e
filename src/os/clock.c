#include "os/clock.h"

#include <assert.h>
#include <time.h>

static struct timespec now(clockid_t which)
{
    struct timespec ts;
    int rc = clock_gettime(which, &ts);
    assert(rc == 0);
    (void)rc;
    return ts;
}

uint64_t os_clock_mono_us(void)
{
    struct timespec ts = now(CLOCK_MONOTONIC);
    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

uint64_t os_clock_mono_ms(void)
{
    return os_clock_mono_us() / 1000u;
}

int64_t os_clock_wall_us(void)
{
    struct timespec ts = now(CLOCK_REALTIME);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t os_clock_wall_ms(void)
{
    return os_clock_wall_us() / 1000;
}
