/* A SCRAM-SHA-256 client for tests, written from RFC 5802 with OpenSSL; shares no code with the server. */
#ifndef TESTS_SCRAM_CLIENT_H
#define TESTS_SCRAM_CLIENT_H

#include "base/buf.h"

struct scram_client {
    const char *gs2;      /* "n,,", "y,,", "p=tls-exporter,," … */
    const char *name;     /* a saslname */
    const char *password; /* prepared */
    struct span binding;  /* channel binding data */
    struct buf first, server_first, final;
    uint8_t server_signature[32];
};

void scram_client_init(struct scram_client *c, const char *gs2, const char *name, const char *password,
                       struct span binding);
void scram_client_done(struct scram_client *c);
/* client-first, with a new nonce. */
struct span scram_client_first(struct scram_client *c);
/* client-final for this server-first. */
struct span scram_client_final(struct scram_client *c, struct span server_first);
/* Is it "v=" with the signature of who knows the keys? */
bool scram_client_accepts(const struct scram_client *c, struct span server_final);

/* Salt and iteration count of a server-first, in base64 and decimal. */
void scram_client_parameters(struct span server_first, struct span *ret_salt, unsigned *ret_iterations);

#endif
