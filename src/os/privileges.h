/* The capabilities of a supervisor that runs as root: bounded to what starting roles needs. */
#ifndef OS_PRIVILEGES_H
#define OS_PRIVILEGES_H

/* Gives up, for this process and everything it executes, all capabilities but those for: binding low ports,
 * changing uid and gid, chroot, namespaces, signalling and owning files of the roles' uids. BRANT_EIO. */
int os_privileges_bound(void);

#endif
