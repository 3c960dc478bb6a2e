/* The configuration: text in, one typed struct out, and back.
 *
 * The text is lines of `key = value`. `#` starts a comment at the start of a line or after a blank. A value
 * may stand in double quotes, inside which \" and \\ are a quote and a backslash. Keys that take a list
 * accept commas and may be repeated; any other key may stand once. Every key is in conf/keys.h.
 *
 * Pure: no file is opened and no name is looked up here. The supervisor reads the file, and roles get the
 * canonical text (conf_dump), which parses to an equal struct. */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/ip.h"
#include "conf/keys.h"

enum {
    CONF_TEXT_MAX = 256 * 1024, /* bytes of a configuration */
    CONF_ERRORS_MAX = 20,       /* errors reported in one go */
    CONF_ERROR_LEN = 640,       /* bytes of one error's text, NUL included */
    CONF_ADDRESSES_MAX = 16,    /* entries of an address list */
    CONF_NETWORKS_MAX = 8,      /* trusted networks of one kind of one listener */
    CONF_CERTIFICATES_MAX = 16,
};

enum conf_isolation { CONF_ISOLATION_SHARED, CONF_ISOLATION_CONNECTION };
enum conf_over_quota { CONF_OVER_QUOTA_TEMPORARY, CONF_OVER_QUOTA_PERMANENT };
enum conf_cleartext_auth { CONF_CLEARTEXT_LOOPBACK, CONF_CLEARTEXT_NEVER };
enum conf_client_certificate {
    CONF_CLIENT_CERTIFICATE_OFF,
    CONF_CLIENT_CERTIFICATE_MX,
    CONF_CLIENT_CERTIFICATE_ALL
};
enum conf_log_format { CONF_LOG_KV, CONF_LOG_JSON };
/* log_level has the values of enum log_level (log/log.h): debug 0 to error 3. */

struct conf_networks {
    struct ip_net list[CONF_NETWORKS_MAX];
    size_t count;
};

/* One listener, written `ADDRESS:PORT [proxy=NETWORK…] [xclient=NETWORK…]`. */
struct conf_listener {
    struct ip_addr address;
    struct conf_networks proxy;   /* not empty: a PROXY header is required, and taken from these only */
    struct conf_networks xclient; /* SMTP: who may use XCLIENT */
};

struct conf_addresses {
    struct conf_listener list[CONF_ADDRESSES_MAX];
    size_t count;
};

/* A certificate chain and its private key, written `CHAIN KEY`: two absolute paths of PEM files. */
struct conf_certificates {
    struct conf_certificate {
        const char *chain, *key;
    } list[CONF_CERTIFICATES_MAX];
    size_t count;
};

#define CONF_C_INT          uint64_t              /* the number */
#define CONF_C_SIZE         uint64_t              /* bytes */
#define CONF_C_DURATION     uint64_t              /* milliseconds */
#define CONF_C_ENUM         unsigned              /* index into the choices */
#define CONF_C_STRING       const char *          /* owned by the struct's arena or static; never NULL */
#define CONF_C_PATH         const char *          /* absolute; log_file may be "stderr"; "" where min is 0 */
#define CONF_C_HOSTNAME     const char *          /* lower case, no final dot; may be "" where min is 0 */
#define CONF_C_ADDRESSES    struct conf_addresses /* with ports */
#define CONF_C_CERTIFICATES struct conf_certificates

/* One field per key: `hostname`, `listen_smtp`, `max_message_size_bytes`, …; see conf/keys.h. */
struct conf {
#define CONF_FIELD(group, type, field, ...) CONF_C_##type field;
    CONF_KEYS(CONF_FIELD)
#undef CONF_FIELD
    struct arena arena; /* owns the texts */
};

struct conf_error {
    unsigned line;             /* from 1; 0 when the error belongs to no line */
    char text[CONF_ERROR_LEN]; /* "FILE:LINE: …", one printable line without its newline */
};

struct conf_errors {
    struct conf_error list[CONF_ERRORS_MAX];
    size_t count;
    size_t more; /* errors found beyond the list */
};

/* The defaults; hostname is "". Must be ended with conf_done, as must every struct filled by conf_parse. */
void conf_init(struct conf *c);
void conf_done(struct conf *c);

/* Reads a whole configuration; file_name is for the errors.
 * BRANT_OK with *ret filled. BRANT_ESYNTAX with at least one error and *ret untouched: every line is read
 * all the same, so that all errors are seen at once. ret_errors is always filled. */
int conf_parse(struct span text, const char *file_name, struct conf *ret, struct conf_errors *ret_errors);

/* Appends the canonical text: every key with its value, in the table's order. BRANT_ELIMIT. */
int conf_dump(const struct conf *c, struct buf *out);

/* Appends the keys whose values differ and that need a restart, separated by ", ". BRANT_ELIMIT. */
int conf_restart_keys(const struct conf *running, const struct conf *next, struct buf *out);

/* Gives `next` the running values of those keys, for a reload. BRANT_ELIMIT: their texts don't fit. */
int conf_keep_restart_keys(const struct conf *running, struct conf *next);

/* Where the server's own private keys are: keys_dir, or beside data_dir. */
enum { CONF_KEYS_DIR_MAX = 264 };
void conf_keys_dir(const struct conf *c, char ret[CONF_KEYS_DIR_MAX]);

/* The listener of that address and port, or NULL. */
const struct conf_listener *conf_listener_find(const struct conf_addresses *list,
                                               const struct ip_addr *address);
bool conf_networks_contain(const struct conf_networks *nets, const struct ip_addr *a);

/* A size as it is written here ("50 MiB", "25MB", "0") in bytes, for the command line. BRANT_ESYNTAX: not a
 * size; BRANT_ELIMIT: beyond 64 bits. */
int conf_size_parse(struct span text, uint64_t *ret);
/* Appends the shortest exact form: 52428800 is "50 MiB", 25000000 is "25 MB", 0 is "0". */
void conf_size_format(struct buf *out, uint64_t bytes);

/* ---- the table, for documentation and tools ---- */

enum conf_type {
    CONF_TYPE_INT,
    CONF_TYPE_SIZE,
    CONF_TYPE_DURATION,
    CONF_TYPE_ENUM,
    CONF_TYPE_STRING,
    CONF_TYPE_PATH,
    CONF_TYPE_HOSTNAME,
    CONF_TYPE_ADDRESSES,
    CONF_TYPE_CERTIFICATES,
    CONF_TYPE_COUNT
};

enum conf_group {
#define CONF_GROUP_NAME(group, title) CONF_GROUP_##group,
    CONF_GROUPS(CONF_GROUP_NAME)
#undef CONF_GROUP_NAME
        CONF_GROUP_COUNT
};

enum { CONF_FLAG_RELOAD = 1, CONF_FLAG_RESTART = 2, CONF_FLAG_REQUIRED = 4 };

struct conf_key {
    enum conf_group group;
    enum conf_type type;
    const char *name;
    unsigned flags;
    uint64_t min, max;
    const char *def, *choices, *help;
    size_t offset; /* of the field in struct conf */
};

extern const char *const conf_group_titles[CONF_GROUP_COUNT];

/* The keys in order; NULL past the end. */
const struct conf_key *conf_key_at(size_t i);
/* NULL when there is none. */
const struct conf_key *conf_key_find(struct span name);
/* The key a mistyped name most likely meant, or NULL. */
const struct conf_key *conf_key_nearest(struct span name);
/* Appends what may be written, for people: "a size from 64 KiB to 1 GiB", "kv or json". */
int conf_key_describe(const struct conf_key *k, struct buf *out);
/* Appends a key's value in c as the dump writes it. */
int conf_key_value(const struct conf *c, const struct conf_key *k, struct buf *out);
/* Appends the manual's entry for one key as plain text of at most `width` columns. */
int conf_key_help(const struct conf_key *k, size_t width, struct buf *out);

#endif
