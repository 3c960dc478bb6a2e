/* The key pairs of the signer: those whose files it was given, or its own. */
#ifndef ROLES_SIGNER_KEYS_H
#define ROLES_SIGNER_KEYS_H

#include "roles/signer/pair.h"

struct keys {
    struct pair *list[IPC_CERTIFICATES_MAX];
    size_t count;
    uint64_t generation;
    bool own; /* made here */
    /* The set before: a handshake that began with it may still want a signature. */
    struct pair *former[IPC_CERTIFICATES_MAX];
    size_t former_count;
    /* The set that is arriving. */
    struct {
        int fds[IPC_CERTIFICATES_MAX][IPC_KEY_FILE_COUNT];
        char paths[IPC_CERTIFICATES_MAX][IPC_KEY_FILE_COUNT][256];
        size_t pairs, files;
        uint64_t generation;
        bool due; /* not loaded yet */
    } next;
};

void keys_init(struct keys *k);
void keys_done(struct keys *k);

/* As the messages say it. keys_take_file takes over fd. */
void keys_begin(struct keys *k, const struct ipc_key_files *m);
void keys_take_file(struct keys *k, const struct ipc_key_file *m, int fd);
/* All files of the next set are here and have not been loaded. */
bool keys_due(const struct keys *k);

/* Loads the next set, all of it or nothing: BRANT_ESYNTAX, with each file that can't be used in the log; what
 * there was stays. Also renews our own certificate when its time has come (then *ret_changed). */
int keys_load(struct keys *k, const char *host, int64_t now_s);
/* Once a day: warns of certificates that end soon, renews our own. True: the set has changed. */
bool keys_check_time(struct keys *k, const char *host, int64_t now_s);

/* Of the set, or of the one before while that is kept. NULL: there is none. */
struct pair *keys_find(const struct keys *k, struct span id);
/* Every role has heard of the new set by now: the keys of the one before are overwritten. */
void keys_forget_former(struct keys *k);

#endif
