/* The keys of SCRAM-SHA-256 (RFC 5802 3, RFC 7677): made of a password, and used by the server, which knows
 * StoredKey and ServerKey only.
 *
 *   SaltedPassword = PBKDF2-HMAC-SHA256(password, salt, iterations)
 *   StoredKey      = SHA256(HMAC(SaltedPassword, "Client Key"))
 *   ServerKey      = HMAC(SaltedPassword, "Server Key")
 *
 * 16,384 iterations: 4 ms of a core with SHA instructions, about 15 ms without; a tenth of what Argon2id
 * takes here, four times the least that RFC 7677 allows. More would be felt on old telephones, which do it at
 * each login, and Cyrus' client library refuses 65,536. */
#ifndef ROLES_STORE_SCRAM_KEYS_H
#define ROLES_STORE_SCRAM_KEYS_H

#include "base/span.h"

enum {
    SCRAM_KEYS_BYTES = 32,
    SCRAM_KEYS_SALT_BYTES = 16,
    SCRAM_KEYS_SECRET_BYTES = 32,
    SCRAM_KEYS_ITERATIONS = 16384
};

struct scram_keys {
    uint32_t iterations; /* 0: none */
    uint8_t stored[SCRAM_KEYS_BYTES], server[SCRAM_KEYS_BYTES];
};

/* The password comes prepared. Takes milliseconds. */
void scram_keys_make(struct span password, struct span salt, uint32_t iterations, struct scram_keys *ret);

/* Was the proof made by who knows the password? In constant time. */
bool scram_keys_prove(const struct scram_keys *keys, struct span auth_message,
                      const uint8_t proof[SCRAM_KEYS_BYTES]);
/* ServerSignature: proves to the client that the server has the keys. */
void scram_keys_sign(const struct scram_keys *keys, struct span auth_message, uint8_t ret[SCRAM_KEYS_BYTES]);

/* The salt of a name, whether there is such an account or not: the same today and after a restart, so that
 * asking for it tells nothing. Without regard to ASCII case. */
void scram_keys_salt(const uint8_t secret[SCRAM_KEYS_SECRET_BYTES], struct span name,
                     uint8_t ret[SCRAM_KEYS_SALT_BYTES]);

#endif
