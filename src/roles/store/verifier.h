/* What a password is checked against: the text kept in the account record.
 *
 * Ours is Argon2id in PHC form, $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH. Accounts that came from elsewhere
 * may have any of these until their next login: $argon2id$ with other costs, and what crypt(5) knows and is
 * not too weak: $5$ $6$ (SHA), $2a$ $2b$ $2y$ (bcrypt), $y$ $gy$ (yescrypt), $7$ (scrypt).
 *
 * Passwords come prepared (prepare.h). Pure functions; they take tens of milliseconds and belong on a thread
 * of the password workers. */
#ifndef ROLES_STORE_VERIFIER_H
#define ROLES_STORE_VERIFIER_H

#include "base/buf.h"

enum { VERIFIER_TEXT_MAX = 256, VERIFIER_PASSWORD_MAX = 512 };

struct verifier_cost {
    uint32_t memory_kib, passes; /* of Argon2id; one lane always */
};

/* A verifier of ours, with a NUL. BRANT_ETRYLATER: no memory. */
int verifier_make(const struct verifier_cost *cost, struct span password, char ret[VERIFIER_TEXT_MAX]);
/* One that no password matches and that costs as much. */
void verifier_make_dummy(const struct verifier_cost *cost, char ret[VERIFIER_TEXT_MAX]);

/* BRANT_OK: right. BRANT_EREFUSED: wrong, or the verifier is none. BRANT_ETRYLATER: no memory. */
int verifier_check(const char *verifier, struct span password);

/* Argon2id, whatever its costs: no need to make another. */
bool verifier_is_argon2id(struct span verifier);

/* A hash from elsewhere, {CRYPT}, {SHA256-CRYPT}, {SHA512-CRYPT}, {BLF-CRYPT} or {ARGON2ID} before it taken
 * off: appended when its shape is right and checking it has bearable costs. BRANT_EREFUSED with the reason,
 * for people; out is unchanged. */
int verifier_import(struct span hash, struct buf *out, const char **ret_reason);

#endif
