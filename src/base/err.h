/* The result codes of every library in brant.
 *
 * Functions return BRANT_OK or one of these negative codes. A code says whose fault it is and what to do
 * next; text for people is made where the decision is logged. Our own bugs are assertions, and running out
 * of memory aborts the process (base/mem.h), so neither has a code. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum brant_err {
    BRANT_OK = 0,
    BRANT_ESYNTAX = -1,      /* the input is malformed: the sender's fault, do not retry */
    BRANT_ELIMIT = -2,       /* a stated maximum was reached: an ordinary refusal */
    BRANT_ESTATE = -3,       /* not now: the operation does not fit the present state */
    BRANT_ETRYLATER = -4,    /* a resource is busy or a peer is away: the same call may succeed later */
    BRANT_EREFUSED = -5,     /* policy or permission says no */
    BRANT_ENOTFOUND = -6,    /* the named thing does not exist */
    BRANT_EEXISTS = -7,      /* the named thing exists already */
    BRANT_EIO = -8,          /* the operating system reported a failure */
    BRANT_ECORRUPT = -9,     /* stored data contradicts its checksum or format */
    BRANT_ENOSPACE = -10,    /* the disk, or our reserve on it, is full */
    BRANT_EUNSUPPORTED = -11 /* valid, but a version or feature this build does not know */
};

/* A short English phrase for a code, for logs; never NULL. */
const char *brant_err_text(int code);

#endif
