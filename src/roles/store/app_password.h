/* App passwords: made here, shown once, named, and kept as a grant of the account.
 *
 * They are random, so a fast hash is as good as a slow one: what is kept is SHA-256 of a purpose and the
 * password, and SCRAM keys of its own, made with the account's salt, because SCRAM's server names the salt
 * before it learns which password the client has.
 *
 * The grant's data: u8 1 | SHA-256 (32) | u32 iterations | StoredKey (32) | ServerKey (32). */
#ifndef ROLES_STORE_APP_PASSWORD_H
#define ROLES_STORE_APP_PASSWORD_H

#include "roles/store/scram_keys.h"

enum {
    APP_PASSWORD_BITS = 120,
    APP_PASSWORD_TEXT_MAX = 30, /* six groups of four letters, hyphens, NUL */
    APP_PASSWORD_DATA_BYTES = 1 + 32 + 4 + 2 * SCRAM_KEYS_BYTES
};

struct app_password {
    uint8_t sum[32];
    struct scram_keys keys;
};

/* "abcd-efgh-…": 120 random bits in lower case letters and digits that are not mistaken for one another. */
void app_password_generate(char ret[APP_PASSWORD_TEXT_MAX]);

void app_password_sum(struct span password, uint8_t ret[32]);
void app_password_encode(const struct app_password *p, uint8_t ret[APP_PASSWORD_DATA_BYTES]);
int app_password_decode(struct span data, struct app_password *ret); /* BRANT_ECORRUPT */

#endif
