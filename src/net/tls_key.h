/* Private keys that are elsewhere: an EVP_PKEY with the public key only, whose signatures the signer makes.
 * For src/net only. */
#ifndef NET_TLS_KEY_H
#define NET_TLS_KEY_H

#include <openssl/evp.h>

#include "net/signer.h"

/* What OpenSSL's methods are made of; once per process. */
void net_tls_key_init(void);

/* A key for SSL_use_PrivateKey from a certificate's public key, RSA or ECDSA; NULL for any other. key_id is
 * copied (IPC_KEY_ID_BYTES); the signer must outlive the key. */
EVP_PKEY *net_tls_key_new(EVP_PKEY *public_key, struct span key_id, struct net_signer *signer);

#endif
