#include "base/buffer.h"

#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>

enum { SMALLEST = 64 };

void buffer_free(struct buffer *buffer)
{
    memory_release(buffer->data);
    *buffer = (struct buffer){0};
}

enum mp_error buffer_reserve(struct buffer *buffer, size_t extra)
{
    if (extra <= buffer->capacity - buffer->size)
        return MP_OK;
    if (extra > SIZE_MAX / 2 - buffer->size)
        return MP_ERR_MEMORY; /* no object is larger than half of the address space */

    size_t capacity = buffer->size + extra;
    if (capacity < 2 * buffer->capacity && buffer->capacity <= SIZE_MAX / 4)
        capacity = 2 * buffer->capacity;
    if (capacity < SMALLEST)
        capacity = SMALLEST;
    uint8_t *data = memory_reallocate(buffer->data, capacity);
    if (data == NULL)
        return MP_ERR_MEMORY;
    buffer->data = data;
    buffer->capacity = capacity;
    return MP_OK;
}

enum mp_error buffer_append_string(struct buffer *buffer, const char *string)
{
    return buffer_append(buffer, string, strlen(string));
}

enum mp_error buffer_append_format(struct buffer *buffer, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    size_t room = buffer->capacity - buffer->size;
    int length = vsnprintf(room > 0 ? (char *)buffer->data + buffer->size : NULL, room, format, arguments);
    va_end(arguments);
    if (length < 0)
        return MP_ERR_MEMORY; /* the only reason with formats that the compiler checked */
    if ((size_t)length >= room) {
        enum mp_error error = buffer_reserve(buffer, (size_t)length + 1);
        if (error != MP_OK)
            return error;
        va_start(arguments, format);
        vsnprintf((char *)buffer->data + buffer->size, (size_t)length + 1, format, arguments);
        va_end(arguments);
    }
    buffer->size += (size_t)length;
    return MP_OK;
}

void buffer_consume(struct buffer *buffer, size_t size)
{
    if (size >= buffer->size) {
        buffer->size = 0;
    } else if (size > 0) {
        memmove(buffer->data, buffer->data + size, buffer->size - size);
        buffer->size -= size;
    }
}

enum mp_error buffer_replace(struct buffer *buffer, size_t at, size_t old, const void *bytes, size_t size)
{
    if (size > old) {
        enum mp_error error = buffer_reserve(buffer, size - old);
        if (error != MP_OK)
            return error;
    }
    size_t tail = buffer->size - at - old;
    if (tail > 0)
        memmove(buffer->data + at + size, buffer->data + at + old, tail);
    if (size > 0)
        memcpy(buffer->data + at, bytes, size);
    buffer->size = at + size + tail;
    return MP_OK;
}

enum mp_error buffer_put_u8(struct buffer *buffer, uint8_t value)
{
    return buffer_append(buffer, &value, 1);
}

enum mp_error buffer_put_u16(struct buffer *buffer, uint16_t value)
{
    uint8_t bytes[2];

    store_u16(bytes, value);
    return buffer_append(buffer, bytes, sizeof bytes);
}

enum mp_error buffer_put_u32(struct buffer *buffer, uint32_t value)
{
    uint8_t bytes[4];

    store_u32(bytes, value);
    return buffer_append(buffer, bytes, sizeof bytes);
}

enum mp_error buffer_put_u64(struct buffer *buffer, uint64_t value)
{
    uint8_t bytes[8];

    store_u64(bytes, value);
    return buffer_append(buffer, bytes, sizeof bytes);
}

enum mp_error buffer_put_string(struct buffer *buffer, const char *bytes, size_t size)
{
    if (size > UINT16_MAX)
        return MP_ERR_TOO_LARGE;
    enum mp_error error = buffer_reserve(buffer, 2 + size);
    if (error != MP_OK)
        return error;
    store_u16(buffer->data + buffer->size, (uint16_t)size);
    buffer->size += 2;
    return buffer_append(buffer, bytes, size);
}

uint8_t reader_u8(struct reader *reader)
{
    const uint8_t *at = reader_bytes(reader, 1);
    return at != NULL ? at[0] : 0;
}

uint16_t reader_u16(struct reader *reader)
{
    const uint8_t *at = reader_bytes(reader, 2);
    return at != NULL ? load_u16(at) : 0;
}

uint32_t reader_u32(struct reader *reader)
{
    const uint8_t *at = reader_bytes(reader, 4);
    return at != NULL ? load_u32(at) : 0;
}

uint64_t reader_u64(struct reader *reader)
{
    const uint8_t *at = reader_bytes(reader, 8);
    return at != NULL ? load_u64(at) : 0;
}

const char *reader_string(struct reader *reader, size_t *size)
{
    size_t length = reader_u16(reader);
    const char *at = reader_bytes(reader, length);

    *size = at != NULL ? length : 0;
    return at;
}
