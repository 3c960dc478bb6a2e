/* The two clocks. Monotonic time measures durations and deadlines and never steps; wall-clock time is for
 * people and protocols and may jump. Engines never call these: time enters them as a parameter. */
#ifndef OS_CLOCK_H
#define OS_CLOCK_H

#include <stdint.h>

uint64_t os_clock_mono_ms(void); /* since an arbitrary start; suspended time does not count */
uint64_t os_clock_mono_us(void);
int64_t os_clock_wall_ms(void); /* since 1970-01-01 00:00:00 UTC */
int64_t os_clock_wall_us(void);

#endif
