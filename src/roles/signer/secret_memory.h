/* Memory of OpenSSL that is overwritten when it is given back. OpenSSL wipes the numbers of a key, but not
 * everything it copies them through: decoders and their parameters leave a scalar in freed memory. Thread
 * safety: as malloc. */
#ifndef BRANT_ROLES_SIGNER_SECRET_MEMORY_H
#define BRANT_ROLES_SIGNER_SECRET_MEMORY_H

/* Makes OpenSSL allocate so, for the life of the process. Before anything else asks OpenSSL for memory, or
 * the process ends: what was allocated otherwise can't be given back this way. */
void secret_memory_init(void);

#endif
