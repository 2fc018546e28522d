#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "msgpipe.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "unknown"
#endif

const char *mp_version(void)
{
    return PACKAGE_VERSION;
}

/* No default: the compiler names the error that has no words yet. */
const char *mp_error_text(enum mp_error error)
{
    switch (error) {
    case MP_OK:
        return "no error";
    case MP_ERR_MEMORY:
        return "no memory";
    case MP_ERR_INVALID:
        return "an argument makes no sense";
    case MP_ERR_FORMAT:
        return "the data are not what they should be";
    case MP_ERR_TOO_LARGE:
        return "over a limit";
    case MP_ERR_NO_RELAY:
        return "no relay answers";
    case MP_ERR_TIMEOUT:
        return "waited in vain";
    case MP_ERR_FULL:
        return "full: try later";
    case MP_ERR_DENIED:
        return "not permitted";
    case MP_ERR_IO:
        return "reading or writing failed";
    case MP_ERR_CLOSED:
        return "the other end has gone";
    case MP_ERR_SESSION:
        return "the relay no longer knows this session: the outcome is unknown";
    case MP_ERR_STALE:
        return "the lease had ended";
    case MP_ERR_GAP:
        return "a request came ahead of its turn";
    case MP_ERR_AGAIN:
        return "outcome unknown: send it again";
    case MP_ERR_EXISTS:
        return "it exists already";
    case MP_ERR_NOT_FOUND:
        return "not found";
    case MP_ERR_BUSY:
        return "in use by another";
    case MP_ERR_VERSION:
        return "made by an unknown version";
    case MP_ERR_DAMAGED:
        return "damaged: a checksum does not fit";
    case MP_ERR_UNSUPPORTED:
        return "not supported";
    case MP_ERR_INTERRUPTED:
        return "interrupted";
    case MP_ERR_INTERNAL:
        return "a fault in msgpipe itself";
    case MP_ERR_OVERFLOW:
        return "full: the topic refuses what does not fit";
    }
    return "an unknown error"; /* a number from a newer relay */
}
