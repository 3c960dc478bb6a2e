/* One spelling for what people type in secret: RFC 8265 4.2, the OpaqueString profile of PRECIS.
 *
 * The same function is used when a password is set, and for PLAIN, LOGIN, PASS, SCRAM and app passwords, so
 * that a password typed on another keyboard or system is still the same bytes. Spaces of other scripts become
 * U+0020, everything is normalised to NFC; case, width and inner spaces stay. Needs no file: ICU's
 * data is in its library. */
#ifndef ROLES_STORE_PREPARE_H
#define ROLES_STORE_PREPARE_H

#include "base/buf.h"

enum { PREPARE_BYTES_MAX = 512 };

/* Appends the prepared form. `out` should be made with buf_init_secret.
 * BRANT_ESYNTAX: empty, not UTF-8, or with a code point that is not of the FreeformClass (RFC 8264 4.3):
 * controls, unassigned and private ones, invisible ones, joiners out of their context. BRANT_ELIMIT: more
 * than PREPARE_BYTES_MAX bytes before or after it, or more than `out` takes. `out` is unchanged on failure.
 */
int prepare_opaque(struct span text, struct buf *out);

/* Is this code point of the FreeformClass, looked at alone (CONTEXTJ and CONTEXTO ones count as not)? */
bool prepare_is_free(uint32_t code_point);

#endif
