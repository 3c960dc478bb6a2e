/* A SQLite VFS "brant-sim-N" on a simulated disk: the index has the same crashes as everything else. Shared
 * memory of the WAL index lives in the heap; locks are exact, within one process. Only in tests. */
#ifndef OS_SIM_SQLITE_H
#define OS_SIM_SQLITE_H

struct sim_disk;
struct sim_sqlite;

struct sim_sqlite *sim_sqlite_new(struct sim_disk *d);
/* After the last connection is closed. */
void sim_sqlite_free(struct sim_sqlite *s);
const char *sim_sqlite_name(const struct sim_sqlite *s);

#endif
