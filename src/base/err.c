#include "base/err.h"

const char *brant_err_text(int code)
{
    switch (code) {
    case BRANT_OK:
        return "ok";
    case BRANT_ESYNTAX:
        return "malformed input";
    case BRANT_ELIMIT:
        return "limit reached";
    case BRANT_ESTATE:
        return "wrong state";
    case BRANT_ETRYLATER:
        return "try again later";
    case BRANT_EREFUSED:
        return "refused";
    case BRANT_ENOTFOUND:
        return "not found";
    case BRANT_EEXISTS:
        return "exists already";
    case BRANT_EIO:
        return "input/output error";
    case BRANT_ECORRUPT:
        return "damaged data";
    case BRANT_ENOSPACE:
        return "no space left";
    case BRANT_EUNSUPPORTED:
        return "unsupported";
    default:
        return "unknown error";
    }
}
