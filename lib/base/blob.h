/*
 * blob.h: bytes that several owners share. Single-threaded: the count is a plain number.
 *
 * Who makes a blob holds one reference; blob_hold() adds one, blob_drop() gives one back, and with the last one the
 * bytes go back to where they came from.
 */
#ifndef BASE_BLOB_H
#define BASE_BLOB_H

#include "msgpipe.h"

struct blob {
    const uint8_t *data;
    size_t size;
    unsigned references;
    void (*release)(void *owner); /* gives the bytes back; the struct itself is freed by blob_drop() */
    void *owner;
};

/* Bytes that OWNER keeps until RELEASE(OWNER) is called. NULL when there is no memory: nothing was taken. */
struct blob *blob_wrap(const void *data, size_t size, void (*release)(void *owner), void *owner);

/* SIZE bytes of its own; the maker may write them through *BYTES until it shares the blob. NULL: no memory. */
struct blob *blob_make(size_t size, uint8_t **bytes);

/* Takes the bytes out of BUFFER, which is empty then. NULL: no memory, the buffer keeps them. */
struct buffer;
struct blob *blob_of_buffer(struct buffer *buffer);

static inline struct blob *blob_hold(struct blob *blob)
{
    blob->references++;
    return blob;
}

/* NULL is allowed. */
void blob_drop(struct blob *blob);

#endif
