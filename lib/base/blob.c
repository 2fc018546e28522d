#include "base/blob.h"

#include "base/buffer.h"

#include <stdlib.h>

struct blob *blob_wrap(const void *data, size_t size, void (*release)(void *owner), void *owner)
{
    struct blob *blob = malloc(sizeof *blob);
    if (!blob)
        return NULL;
    *blob = (struct blob){.data = data, .size = size, .references = 1, .release = release, .owner = owner};
    return blob;
}

struct blob *blob_make(size_t size, uint8_t **bytes)
{
    if (size > SIZE_MAX - sizeof(struct blob))
        return NULL;
    struct blob *blob = malloc(sizeof *blob + size);
    if (!blob)
        return NULL;
    *bytes = (uint8_t *)(blob + 1);
    *blob = (struct blob){.data = *bytes, .size = size, .references = 1};
    return blob;
}

struct blob *blob_of_buffer(struct buffer *buffer)
{
    struct blob *blob = blob_wrap(buffer->data, buffer->size, free, buffer->data);
    if (blob)
        *buffer = (struct buffer){0};
    return blob;
}

void blob_drop(struct blob *blob)
{
    if (!blob || --blob->references > 0)
        return;
    if (blob->release)
        blob->release(blob->owner);
    free(blob);
}
