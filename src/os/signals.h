/* Signals without handlers: the interesting ones are blocked and read from a signalfd, the rest keep
 * SIG_DFL or SIG_IGN. No code of ours ever runs inside a signal handler. */
#ifndef OS_SIGNALS_H
#define OS_SIGNALS_H

/* For the supervisor: blocks SIGTERM, SIGINT, SIGHUP and SIGCHLD, ignores SIGPIPE and answers a
 * non-blocking, close-on-exec descriptor to read them from. BRANT_EIO. */
int os_signals_supervisor(int *ret_fd);

/* The next pending signal number, or 0 when there is none. */
int os_signals_next(int fd);

/* For a role: terminal signals (SIGINT, SIGHUP, SIGQUIT) and SIGPIPE are ignored, because the supervisor
 * decides when a role stops; everything else is at its default and unblocked. */
void os_signals_role(void);

/* Between fork and exec: every disposition back to SIG_DFL, nothing blocked. Async-signal-safe. */
void os_signals_reset(void);

#endif
