/* The supervisor's own structures; for the files of this folder only. */
#ifndef ROLES_SUPERVISOR_INTERNAL_H
#define ROLES_SUPERVISOR_INTERNAL_H

#include "conf/conf.h"
#include "ipc/messages.h"
#include "log/out.h"
#include "net/control.h"
#include "net/loop.h"
#include "os/spawn.h"

enum {
    SUP_INSTANCES_MAX = 128, /* the store, the signer, and what conf/keys.h allows of the others */
    SUP_LISTENERS_MAX = 200, /* what conf/keys.h allows, twice: a reload opens before it closes */
    SUP_CLIENTS_MAX = 16,
    SUP_QUEUE_MAX = 256, /* packets waiting for one role */
    SUP_DEATHS = 32,     /* remembered per instance */
    SUP_RUNGS_MAX = 16
};

/* A kind of role: what is executed and what it is for. */
struct sup_kind {
    const char *executable;
    const char *name; /* in logs, and of the instance group */
    enum ipc_role role;
    unsigned services; /* IPC_SERVICE_BIT of what it listens for; 0: no listeners */
};

struct sup_listener {
    uint32_t id;
    int service;
    struct ip_addr address; /* family IP_NONE: a Unix socket */
    char path[256];         /* of the Unix socket */
    int fd;
};

/* A Unix socket to listen on. */
struct sup_unix {
    const char *path;
    int type; /* SOCK_STREAM, SOCK_SEQPACKET */
    int backlog;
    bool everybody; /* any user of the machine may connect, not only root and the control group */
    const struct conf *conf;
};

struct sup_packet {
    struct buf bytes;
    int fd; /* owned; -1: none */
};

enum sup_state {
    SUP_DOWN,
    SUP_STARTING, /* process runs, READY has not come */
    SUP_READY,
    SUP_STOPPING /* DRAIN was sent */
};

struct sup_instance {
    struct supervisor *sup;
    const struct sup_kind *kind;
    uint32_t number; /* from 1, within its kind */
    char name[32];   /* "smtp-mx-1" */
    enum sup_state state;

    /* of the process that runs now */
    struct os_child child;
    struct net_watch *end_watch;
    int control, log, diagnostics;
    struct net_watch *control_watch, *log_watch, *diagnostics_watch;
    struct log_decoder decoder;
    struct buf line; /* of diagnostics, unfinished */
    struct sup_packet queue[SUP_QUEUE_MAX];
    size_t queue_len;
    int64_t started_at_s;
    struct arena ready_arena;
    struct ipc_rung rungs[SUP_RUNGS_MAX];
    uint32_t rung_count;
    struct arena status_arena;
    struct ipc_pair *pairs;
    uint32_t pair_count;
    bool status_awaited;

    /* of the place it fills */
    struct net_timer *restart, *flush;
    uint32_t restarts;
    uint64_t deaths_ms[SUP_DEATHS]; /* the last ones, newest first; 0: none */
    uint64_t accusations_ms[4];     /* it reported a peer; newest first */
    bool ever_started, ever_ready;
};

struct sup_client {
    struct supervisor *sup;
    int fd; /* -1: free place */
    struct net_watch *watch;
    struct net_timer *idle;
    bool refused; /* every question is answered with a refusal */
    bool waits_for_status;
    uint32_t status_tag;
};

/* The files of tls.certificate, held open so that a signer that is started again gets the same. */
struct sup_key_files {
    uint64_t generation; /* 0: there are none, not even none configured */
    size_t count;        /* pairs */
    int fds[CONF_CERTIFICATES_MAX][IPC_KEY_FILE_COUNT];
    char paths[CONF_CERTIFICATES_MAX][IPC_KEY_FILE_COUNT][256];
};

struct supervisor {
    struct net_loop loop;
    const char *config_path;
    const char *program; /* "brant serve", for messages */
    char bin_dir[256];
    struct conf conf;
    struct buf conf_text; /* canonical */
    uint64_t generation;
    struct sup_key_files keys;      /* of a signer that starts */
    struct sup_key_files next_keys; /* of a reload, while the signer has not said what it thinks of them */
    uint8_t token_key[32];
    struct log_out log;
    struct sup_listener listeners[SUP_LISTENERS_MAX];
    size_t listener_count;
    uint32_t last_listener_id;
    struct sup_instance *instances; /* SUP_INSTANCES_MAX places */
    size_t instance_count;
    struct net_control control; /* scratch for receiving */
    int signal_fd;
    struct net_watch *signal_watch;

    int admin_fd; /* the control socket */
    struct net_watch *admin_watch;
    struct sup_client clients[SUP_CLIENTS_MAX];
    uint32_t client_serial;
    struct net_timer *status_timer;

    struct net_timer *stop_timer;
    bool ready;    /* everything was up once */
    bool stopping; /* no restarts any more */
    bool failed;   /* exit status 1 */

    /* Called once, when everything is up; then supervisor_announce tells the world. */
    void (*on_ready)(struct supervisor *s);
    void *on_ready_context;
};

/* instance.c */
void sup_instance_init(struct supervisor *s, const struct sup_kind *kind, uint32_t number);
void sup_instance_done(struct sup_instance *i);
void sup_instance_start(struct sup_instance *i);
/* Queues a message; fd is duplicated. A role whose queue is full is killed. */
void sup_instance_send(struct sup_instance *i, const struct ipc_message *m, int fd);
void sup_instance_kill(struct sup_instance *i, const char *reason);
void sup_instance_drain(struct sup_instance *i, uint32_t deadline_ms);
struct sup_instance *sup_find(struct supervisor *s, enum ipc_role role, uint32_t number);
bool sup_instance_alive(const struct sup_instance *i);

/* broker.c: what an instance is given at its start, and what it says later */
void sup_give_orders(struct sup_instance *i);
void sup_handle(struct sup_instance *i, const struct ipc_message *m);
/* A store channel for a stranger (the command line). BRANT_ESTATE: no store is running. */
int sup_attach(struct supervisor *s, int *ret_fd);
void sup_send_config(struct supervisor *s);
void sup_send_listener(struct sup_instance *i, const struct sup_listener *l);
/* To every instance of the group whose service it is. */
void sup_send_listener_to_all(struct supervisor *s, const struct sup_listener *l);
bool sup_serves(const struct sup_instance *i, const struct sup_listener *l);

/* keys.c */
/* Opens the files a configuration of that generation names. BRANT_EIO: one can't be opened (said and logged);
 * nothing is open then. */
int sup_key_files_open(const struct supervisor *s, const struct conf *conf, uint64_t generation,
                       struct sup_key_files *ret);
void sup_key_files_close(struct sup_key_files *k);
/* To a signer that starts. */
void sup_send_key_files(struct sup_instance *signer);
/* Of a reload; they are the supervisor's from now on. A signer that serves decides: only what it can use
 * takes the place of what there is. */
void sup_offer_key_files(struct supervisor *s, const struct sup_key_files *next);
void sup_key_files_done(struct supervisor *s, const struct ipc_key_files_done *m);
/* The signer ended: what it had not decided is dropped. It may have ended over it. */
void sup_key_files_signer_ended(struct supervisor *s);

/* unix_socket.c */
/* Makes the socket, in place of one that nobody listens on. BRANT_EEXISTS: somebody does, or it is another
 * kind of file. BRANT_EIO. Both are said on standard error. */
int sup_unix_listen(const struct supervisor *s, const struct sup_unix *u, int *ret_fd);

/* listen.c */
/* Opens what the configuration wants and is not open yet, into the list; closes nothing. BRANT_EIO: the
 * failure is logged, and nothing new is open. first_new is where the new ones begin. */
int sup_listen_open(struct supervisor *s, const struct conf *conf, size_t *ret_first_new);
/* Closes what the configuration does not want any more, in the roles too. */
void sup_listen_prune(struct supervisor *s, const struct conf *conf);
void sup_listen_close_all(struct supervisor *s);
/* The configuration has a listener of one of these services (IPC_SERVICE_BIT). */
bool sup_listens(const struct conf *conf, unsigned services);

/* admin.c: the control socket */
int sup_admin_open(struct supervisor *s);
void sup_admin_close(struct supervisor *s);
void sup_admin_status_arrived(struct supervisor *s);

/* run.c */
/* The configuration is s->conf already. Returns the exit status. */
int sup_run(struct supervisor *s);
void sup_stop(struct supervisor *s, bool failed);
void sup_check_ready(struct supervisor *s);
void sup_check_stopped(struct supervisor *s);
/* Reads and parses a file; errors go to standard error and the log. */
int sup_read_config(const char *path, struct conf *ret);
struct supervisor *sup_new(const char *program);
void sup_free(struct supervisor *s);
void sup_log_line(struct supervisor *s, const struct sup_instance *i, const struct log_message *m);
extern const struct sup_kind sup_kinds[];
extern const size_t sup_kind_count;

/* dirs.c: the data and run directories, before anything starts */
int sup_prepare_dirs(const struct conf *conf, bool adopt);
/* "DIR/NAME" through /proc/self/fd, because a socket's name has room for 107 bytes only. */
int sup_socket_name(const char *dir, const char *name, int *ret_dir_fd, char *ret, size_t size);
/* The directory of this executable's roles. BRANT_ENOTFOUND. */
int sup_find_roles(char *ret, size_t size);

/* notify.c */
void sup_notify(const char *state);

#endif
