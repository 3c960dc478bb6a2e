/* The supervisor: starts the roles, hands out descriptors, restarts what dies, and stops everything in order.
 * It parses its configuration and fixed-size control messages, nothing from the network. */
#ifndef ROLES_SUPERVISOR_SUPERVISOR_H
#define ROLES_SUPERVISOR_SUPERVISOR_H

/* Runs the system of a configuration file in the foreground until SIGTERM or SIGINT. Tells systemd when it is
 * ready (NOTIFY_SOCKET). Returns the exit status: 0 after an orderly stop, 1 when it could not start (the
 * reason is on standard error). A -Dsandbox=test build is refused. */
int supervisor_serve(const char *config_path);

/* The whole system beneath one directory, which is made if it is missing: services on 127.0.0.1 at port_base
 * + 25 (SMTP) and + 110 (POP3), domain brant.test, accounts alice, bob and carol with the password
 * brant-demo. Prints how to try it and `ready` on standard output. Exit status as above. */
int supervisor_demo(const char *dir, unsigned port_base);

#endif
