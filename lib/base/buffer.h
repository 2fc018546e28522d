/*
 * buffer.h: a growing run of bytes.
 *
 * A zeroed struct buffer is an empty one. The buffer owns its bytes; buffer_free() gives them back and leaves an empty
 * buffer. Appending fails only for want of memory and then leaves the content as it was. What is appended must not lie
 * in the buffer itself. Integers are little-endian.
 */
#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

#include "msgpipe.h"

#include <stdbool.h>
#include <string.h>

struct buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

void buffer_free(struct buffer *buffer);

/*
 * Makes room for at least EXTRA bytes beyond size; grows to twice the capacity at least, so that appending is linear
 * on the whole. MP_ERR_MEMORY.
 */
enum mp_error buffer_reserve(struct buffer *buffer, size_t extra);

static inline enum mp_error buffer_append(struct buffer *buffer, const void *bytes, size_t size)
{
    if (size > buffer->capacity - buffer->size) {
        enum mp_error error = buffer_reserve(buffer, size);
        if (error != MP_OK)
            return error;
    }
    if (size > 0) {
        memcpy(buffer->data + buffer->size, bytes, size);
        buffer->size += size;
    }
    return MP_OK;
}

enum mp_error buffer_append_string(struct buffer *buffer, const char *string);
enum mp_error buffer_append_format(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Removes the first SIZE bytes (at most buffer->size) and moves the rest to the front: take large steps. */
void buffer_consume(struct buffer *buffer, size_t size);

/* Replaces OLD bytes at AT (inside the buffer) by SIZE bytes at BYTES. MP_ERR_MEMORY. */
enum mp_error buffer_replace(struct buffer *buffer, size_t at, size_t old, const void *bytes, size_t size);

enum mp_error buffer_put_u8(struct buffer *buffer, uint8_t value);
enum mp_error buffer_put_u16(struct buffer *buffer, uint16_t value);
enum mp_error buffer_put_u32(struct buffer *buffer, uint32_t value);
enum mp_error buffer_put_u64(struct buffer *buffer, uint64_t value);

/* A 16-bit length and that many bytes. MP_ERR_TOO_LARGE over 65,535. */
enum mp_error buffer_put_string(struct buffer *buffer, const char *bytes, size_t size);

/*
 * reader: takes a run of bytes apart and cannot overrun it. After a read past the end `failed` is true, and that read
 * and all later ones return zero or NULL: check once, at the end.
 */
struct reader {
    const uint8_t *data;
    size_t left;
    bool failed;
};

static inline struct reader reader_of(const void *data, size_t size)
{
    return (struct reader){.data = data, .left = size};
}

static inline const void *reader_bytes(struct reader *reader, size_t size)
{
    if (reader->failed || size > reader->left) {
        reader->failed = true;
        return NULL;
    }
    const void *at = reader->data;
    if (size > 0)
        reader->data += size;
    reader->left -= size;
    return at;
}

uint8_t reader_u8(struct reader *reader);
uint16_t reader_u16(struct reader *reader);
uint32_t reader_u32(struct reader *reader);
uint64_t reader_u64(struct reader *reader);

/* A 16-bit length and that many bytes, not terminated, inside the run. *SIZE is 0 when the read fails. */
const char *reader_string(struct reader *reader, size_t *size);

static inline uint16_t load_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static inline uint32_t load_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline uint64_t load_u64(const uint8_t *at)
{
    return (uint64_t)load_u32(at) | (uint64_t)load_u32(at + 4) << 32;
}

/* A big-endian number of SIZE bytes, 8 at most. */
static inline uint64_t load_big(const uint8_t *at, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | at[i];
    return value;
}

static inline void store_u16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

static inline void store_u32(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
    at[2] = (uint8_t)(value >> 16);
    at[3] = (uint8_t)(value >> 24);
}

static inline void store_u64(uint8_t *at, uint64_t value)
{
    store_u32(at, (uint32_t)value);
    store_u32(at + 4, (uint32_t)(value >> 32));
}

#endif
