/* The messages of SCRAM-SHA-256 (RFC 5802, RFC 7677) on the server's side: taking apart what the client says,
 * putting together what the server says. No hashes and no keys here.
 *
 * The order, for who holds the verifiers:
 *
 *     scram_client_first_parse            the user's name, the client's nonce
 *     scram_binding_check                 may this binding be used on this connection?
 *     scram_server_first_compose          with a nonce of ours, salt and iteration count
 *     scram_client_final_parse            the proof
 *     scram_nonce_matches, scram_binding_matches
 *     scram_auth_message_compose          what the proof and the server's signature are made over
 *     scram_server_final_compose, or scram_error_compose
 *
 * All spans point into the message that was parsed. */
#ifndef SASL_SCRAM_H
#define SASL_SCRAM_H

#include "base/buf.h"

enum {
    SCRAM_MESSAGE_BYTES_MAX = 2048,
    SCRAM_NAME_BYTES_MAX = 320, /* of a decoded name */
    SCRAM_NONCE_BYTES_MAX = 256,
    SCRAM_PROOF_BYTES = 32,     /* SHA-256 */
    SCRAM_BINDING_DATA_MAX = 64 /* channel binding data */
};

/* RFC 5802 7: server-error-value. */
enum scram_error {
    SCRAM_OK,
    SCRAM_INVALID_ENCODING,
    SCRAM_EXTENSIONS_NOT_SUPPORTED,
    SCRAM_INVALID_PROOF,
    SCRAM_CHANNEL_BINDINGS_DONT_MATCH,
    SCRAM_SERVER_DOES_SUPPORT_CHANNEL_BINDING,
    SCRAM_CHANNEL_BINDING_NOT_SUPPORTED,
    SCRAM_UNSUPPORTED_CHANNEL_BINDING_TYPE,
    SCRAM_UNKNOWN_USER,
    SCRAM_INVALID_USERNAME_ENCODING,
    SCRAM_NO_RESOURCES,
    SCRAM_OTHER_ERROR,
    SCRAM_ERROR_COUNT
};

/* RFC 5802 6: gs2-cbind-flag. */
enum scram_binding_flag {
    SCRAM_BINDING_NONE,    /* n: the client knows no channel binding */
    SCRAM_BINDING_UNUSED,  /* y: it does, and believes that the server does not */
    SCRAM_BINDING_REQUIRED /* p: it binds */
};

struct scram_client_first {
    enum scram_binding_flag flag;
    struct span binding_name; /* REQUIRED: "tls-exporter", … */
    struct span gs2_header;   /* "n,," */
    struct span authzid;      /* saslname: decode it with scram_name_decode; empty: none */
    struct span user;         /* saslname, never empty */
    struct span nonce;
    struct span bare; /* client-first-message-bare, for the AuthMessage */
};

/* SCRAM_OK; SCRAM_INVALID_ENCODING, SCRAM_INVALID_USERNAME_ENCODING, or SCRAM_EXTENSIONS_NOT_SUPPORTED for a
 * mandatory extension ("m="); other extensions are let pass (RFC 5802 5.1). */
enum scram_error scram_client_first_parse(struct span message, struct scram_client_first *ret);

/* A saslname with its =2C and =3D resolved, appended. The names of scram_client_first can be decoded, to at
 * most SCRAM_NAME_BYTES_MAX bytes. BRANT_ESYNTAX, BRANT_ELIMIT (the buffer is full): unchanged. */
int scram_name_decode(struct span name, struct buf *out);

/* RFC 5802 6: whether the client's flag fits the mechanism it chose (`plus`), and what was offered
 * (`plus_offered`: the client saw a -PLUS mechanism, so that "y" means somebody took it from the list).
 * `supported`: the connection has data for binding_name. */
enum scram_error scram_binding_check(const struct scram_client_first *first, bool plus, bool plus_offered,
                                     bool supported);

/* Appends "r=…,s=…,i=…". The nonce of ours is printable ASCII without comma. BRANT_ELIMIT: unchanged. */
int scram_server_first_compose(struct buf *out, struct span client_nonce, struct span server_nonce,
                               struct span salt, uint32_t iterations);

struct scram_client_final {
    struct span binding; /* base64 of gs2-header and channel binding data */
    struct span nonce;
    struct span without_proof; /* client-final-message-without-proof, for the AuthMessage */
    uint8_t proof[SCRAM_PROOF_BYTES];
};

/* SCRAM_OK, SCRAM_INVALID_ENCODING, SCRAM_EXTENSIONS_NOT_SUPPORTED; SCRAM_INVALID_PROOF for a proof that is
 * not of SCRAM_PROOF_BYTES. */
enum scram_error scram_client_final_parse(struct span message, struct scram_client_final *ret);

/* The nonce is the client's of client-first, and ours behind it. */
bool scram_nonce_matches(const struct scram_client_final *final, struct span client_nonce,
                         struct span server_nonce);
/* The client bound to this gs2-header, and to this channel (`data`; empty unless the flag was REQUIRED). */
bool scram_binding_matches(const struct scram_client_final *final, struct span gs2_header, struct span data);

/* Appends the AuthMessage (RFC 5802 3). BRANT_ELIMIT: unchanged. */
int scram_auth_message_compose(struct buf *out, struct span client_first_bare, struct span server_first,
                               struct span client_final_without_proof);

/* Appends "v=…", and "e=…". BRANT_ELIMIT: unchanged. */
int scram_server_final_compose(struct buf *out, struct span signature);
int scram_error_compose(struct buf *out, enum scram_error error);
/* The value of e=; "" for SCRAM_OK. */
const char *scram_error_text(enum scram_error error);

#endif
