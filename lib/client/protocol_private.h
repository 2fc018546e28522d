/*
 * protocol_private.h: what the files of the protocol's encoding share.
 */
#ifndef CLIENT_PROTOCOL_PRIVATE_H
#define CLIENT_PROTOCOL_PRIVATE_H

#include "client/protocol.h"

/* MP_OK when READER was read to its end, and not past it. */
static inline enum mp_error protocol_done(const struct reader *reader)
{
    return reader->failed || reader->left != 0 ? MP_ERR_FORMAT : MP_OK;
}

/* Appends a name as a string. MP_ERR_TOO_LARGE over NAME_MAX_BYTES. */
static inline enum mp_error protocol_put_name(struct buffer *out, const char *name, size_t size)
{
    return size > NAME_MAX_BYTES ? MP_ERR_TOO_LARGE : buffer_put_string(out, name, size);
}

/* Reads a publication up to its frame; false when it is no valid one. */
bool protocol_take_publication(struct reader *reader, struct protocol_publication *publication);

#endif
