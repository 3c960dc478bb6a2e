#include "roles/store/verifier.h"

#include <argon2.h>
#include <assert.h>
#include <crypt.h>
#include <openssl/crypto.h>
#include <stdlib.h>

#include "base/ascii.h"
#include "base/codec.h"
#include "base/err.h"
#include "base/mem.h"
#include "os/random.h"

enum { SALT_BYTES = 16, HASH_BYTES = 32 };

/* The most that checking an imported hash may cost: a few seconds of one thread, 256 MiB. Argon2 fills its
 * memory in each pass: that product is what takes the time. */
enum { MEMORY_KIB_MAX = 262144, FILLED_KIB_MAX = 4 * MEMORY_KIB_MAX, PASSES_MAX = 64, LANES_MAX = 16 };
enum { ROUNDS_MAX = 1000000, BCRYPT_COST_MAX = 15 };

/* ---- Argon2id ---- */

static const struct span ARGON2ID = {(const uint8_t *)"$argon2id$", 10};

bool verifier_is_argon2id(struct span verifier)
{
    return span_starts(verifier, ARGON2ID);
}

int verifier_make(const struct verifier_cost *cost, struct span password, char ret[VERIFIER_TEXT_MAX])
{
    uint8_t salt[SALT_BYTES];
    os_random_fill(salt, sizeof salt);
    int rc = argon2id_hash_encoded(cost->passes, cost->memory_kib, 1, password.p, password.len, salt,
                                   sizeof salt, HASH_BYTES, ret, VERIFIER_TEXT_MAX);
    return rc == ARGON2_OK ? BRANT_OK : BRANT_ETRYLATER;
}

/* PHC strings carry no padding. */
static void append_base64(struct buf *text, struct span bytes)
{
    codec_base64_encode(text, bytes);
    while (text->len > 0 && text->data[text->len - 1] == '=')
        text->len--;
}

void verifier_make_dummy(const struct verifier_cost *cost, char ret[VERIFIER_TEXT_MAX])
{
    uint8_t salt[SALT_BYTES], hash[HASH_BYTES];
    os_random_fill(salt, sizeof salt);
    os_random_fill(hash, sizeof hash);
    struct buf _cleanup_buf_ text;
    buf_init(&text, VERIFIER_TEXT_MAX - 1);
    buf_printf(&text, "$argon2id$v=19$m=%u,t=%u,p=1$", cost->memory_kib, cost->passes);
    append_base64(&text, span_make(salt, sizeof salt));
    buf_append_byte(&text, '$');
    append_base64(&text, span_make(hash, sizeof hash));
    assert(!text.overflowed);
    memcpy(ret, buf_cstr(&text), text.len + 1);
}

static int check_argon2id(const char *verifier, struct span password)
{
    int rc = argon2id_verify(verifier, password.p, password.len);
    if (rc == ARGON2_MEMORY_ALLOCATION_ERROR)
        return BRANT_ETRYLATER;
    return rc == ARGON2_OK ? BRANT_OK : BRANT_EREFUSED;
}

/* ---- crypt(3) ---- */

static int check_crypt(const char *verifier, struct span password)
{
    char text[VERIFIER_PASSWORD_MAX + 1];
    if (password.len >= CRYPT_MAX_PASSPHRASE_SIZE || password.len >= sizeof text)
        return BRANT_EREFUSED;
    if (password.len > 0)
        memcpy(text, password.p, password.len);
    text[password.len] = 0;
    struct crypt_data *data = mem_zalloc(sizeof *data);
    const char *hash = crypt_rn(text, verifier, data, sizeof *data);
    size_t len = strlen(verifier);
    bool right = hash && strlen(hash) == len && len > 0 && CRYPTO_memcmp(hash, verifier, len) == 0;
    mem_wipe(text, sizeof text);
    mem_wipe(data, sizeof *data);
    free(data);
    return right ? BRANT_OK : BRANT_EREFUSED;
}

int verifier_check(const char *verifier, struct span password)
{
    if (verifier_is_argon2id(span_str(verifier)))
        return check_argon2id(verifier, password);
    return verifier[0] == '$' ? check_crypt(verifier, password) : BRANT_EREFUSED;
}

/* ---- hashes from elsewhere ---- */

/* The part up to the next '$', or all that is left; moves behind the '$'. */
static struct span take_part(struct span *s)
{
    size_t at = span_find_byte(*s, '$');
    struct span part = span_sub(*s, 0, at);
    *s = span_from(*s, at == SPAN_NPOS ? s->len : at + 1);
    return part;
}

/* The alphabet of crypt(5). */
static bool is_crypt64(struct span s, size_t min, size_t max)
{
    for (size_t i = 0; i < s.len; i++)
        if (!ascii_is_alnum(s.p[i]) && s.p[i] != '.' && s.p[i] != '/')
            return false;
    return s.len >= min && s.len <= max;
}

static bool is_base64(struct span s, size_t min, size_t max)
{
    for (size_t i = 0; i < s.len; i++)
        if (!ascii_is_alnum(s.p[i]) && s.p[i] != '+' && s.p[i] != '/')
            return false;
    return s.len >= min && s.len <= max;
}

/* "m=19456": the number behind the name, in front of a comma or the end. */
static bool take_number(struct span *s, const char *name, uint64_t min, uint64_t max, uint64_t *ret)
{
    struct span want = span_str(name);
    size_t comma = span_find_byte(*s, ',');
    if (!span_starts(*s, want) ||
        span_to_u64(span_from(span_sub(*s, 0, comma), want.len), max, ret) != BRANT_OK)
        return false;
    *s = span_from(*s, comma == SPAN_NPOS ? s->len : comma + 1);
    return *ret >= min;
}

static const char too_costly[] = "checking this hash would take too long or too much memory";
static const char malformed[] =
    "not a whole hash of its kind; quote it, so that the shell leaves its $ alone";

static const char *wrong_argon2id(struct span s)
{
    uint64_t memory, passes, lanes;
    struct span version = take_part(&s), costs = take_part(&s), salt = take_part(&s);
    if (!span_eq_str(version, "v=19") || !is_base64(salt, 11, 64) || !is_base64(s, 16, 86) ||
        !take_number(&costs, "m=", 8, UINT32_MAX, &memory) ||
        !take_number(&costs, "t=", 1, UINT32_MAX, &passes) ||
        !take_number(&costs, "p=", 1, UINT32_MAX, &lanes) || costs.len > 0 || memory < 8 * lanes)
        return malformed;
    if (memory > MEMORY_KIB_MAX || passes > PASSES_MAX || lanes > LANES_MAX)
        return too_costly;
    return memory * passes > FILLED_KIB_MAX ? too_costly : NULL;
}

static const char *wrong_sha(struct span s, size_t hash_len)
{
    uint64_t rounds = 5000;
    struct span salt = take_part(&s);
    if (span_starts(salt, SPAN_LIT("rounds="))) {
        if (!take_number(&salt, "rounds=", 1000, UINT32_MAX, &rounds) || salt.len > 0)
            return malformed;
        salt = take_part(&s);
    }
    if (!is_crypt64(salt, 1, 16) || !is_crypt64(s, hash_len, hash_len))
        return malformed;
    return rounds > ROUNDS_MAX ? too_costly : NULL;
}

static const char *wrong_sha256(struct span s)
{
    return wrong_sha(s, 43);
}

static const char *wrong_sha512(struct span s)
{
    return wrong_sha(s, 86);
}

static const char *wrong_bcrypt(struct span s)
{
    uint64_t cost;
    struct span digits = take_part(&s);
    if (digits.len != 2 || span_to_u64(digits, 31, &cost) != BRANT_OK || cost < 4 || !is_crypt64(s, 53, 53))
        return malformed;
    return cost > BCRYPT_COST_MAX ? too_costly : NULL;
}

/* "j9T": flavour, then logarithms of N and r, as crypt_gensalt makes them; up to 128 MiB. */
static const char *wrong_yescrypt(struct span s)
{
    struct span costs = take_part(&s), salt = take_part(&s);
    if (!is_crypt64(costs, 3, 3) || costs.p[0] != 'j' || !is_crypt64(salt, 1, 86) || !is_crypt64(s, 43, 43))
        return malformed;
    bool bearable = costs.p[1] <= 'C' && costs.p[2] <= 'T';
    return bearable ? NULL : too_costly;
}

/* One character for N, five for r, five for p, the salt; N up to 2^15 with r up to 32 is 128 MiB. */
static const char *wrong_scrypt(struct span s)
{
    struct span salt = take_part(&s);
    if (!is_crypt64(salt, 12, 97) || !is_crypt64(s, 43, 43))
        return malformed;
    bool bearable =
        salt.p[0] <= 'D' && salt.p[1] <= 'U' && span_starts(span_from(salt, 2), SPAN_LIT("..../...."));
    return bearable ? NULL : too_costly;
}

static const struct {
    const char *prefix;
    const char *(*wrong)(struct span rest); /* why it can't be taken, or NULL */
} kinds[] = {
    {"$argon2id$", wrong_argon2id}, {"$5$", wrong_sha256},    {"$6$", wrong_sha512},
    {"$2a$", wrong_bcrypt},         {"$2b$", wrong_bcrypt},   {"$2y$", wrong_bcrypt},
    {"$y$", wrong_yescrypt},        {"$gy$", wrong_yescrypt}, {"$7$", wrong_scrypt},
};

/* How other servers mark them. */
static struct span without_scheme(struct span hash)
{
    static const char *const schemes[] = {"{CRYPT}", "{SHA256-CRYPT}", "{SHA512-CRYPT}", "{BLF-CRYPT}",
                                          "{ARGON2ID}"};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (span_starts_nocase(hash, span_str(schemes[i])))
            return span_from(hash, strlen(schemes[i]));
    return hash;
}

static const char *wrong_hash(struct span hash)
{
    if (hash.len >= VERIFIER_TEXT_MAX)
        return malformed;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (span_starts(hash, span_str(kinds[i].prefix)))
            return kinds[i].wrong(span_from(hash, strlen(kinds[i].prefix)));
    if (span_starts(hash, SPAN_LIT("$1$")))
        return "MD5 hashes are found out in no time; set a new password";
    return "not a hash that is known here: $argon2id$, $y$, $gy$, $7$, $6$, $5$, $2a$, $2b$, $2y$ are";
}

int verifier_import(struct span hash, struct buf *out, const char **ret_reason)
{
    hash = without_scheme(hash);
    const char *wrong = wrong_hash(hash);
    if (wrong) {
        *ret_reason = wrong;
        return BRANT_EREFUSED;
    }
    return buf_append(out, hash);
}
