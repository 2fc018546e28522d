#include "message/text.h"

#include "base/utf8.h"

static bool continues(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

bool text_is_utf8(const uint8_t *text, size_t size)
{
    size_t at = 0;
    while (at < size) {
        uint64_t eight;
        while (size - at >= sizeof(eight)) {
            memcpy(&eight, text + at, sizeof(eight));
            if ((eight & UINT64_C(0x8080808080808080)) != 0)
                break;
            at += sizeof(eight);
        }
        if (at == size)
            break;
        const size_t length = utf8_next(text + at, size - at, NULL);
        if (length == 0)
            return false;
        at += length;
    }
    return true;
}

size_t text_characters(const uint8_t *text, size_t size)
{
    size_t count = 0;
    for (size_t at = 0; at < size; at++)
        count += !continues(text[at]);
    return count;
}

/* Whether one of the eight bytes is zero. */
static bool has_zero(uint64_t eight)
{
    return ((eight - UINT64_C(0x0101010101010101)) & ~eight & UINT64_C(0x8080808080808080)) != 0;
}

size_t text_plain(const uint8_t *at, size_t left)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t tops = UINT64_C(0x8080808080808080);
    size_t run = 0;
    for (; left - run >= 8; run += 8) {
        uint64_t eight;
        memcpy(&eight, at + run, sizeof(eight));
        const uint64_t control = (eight - ones * 0x20) & ~eight;
        if (((eight | control) & tops) != 0 || has_zero(eight ^ ones * '"') || has_zero(eight ^ ones * '\\'))
            break;
    }
    while (run < left && at[run] >= 0x20 && at[run] < 0x80 && at[run] != '"' && at[run] != '\\')
        run++;
    return run;
}

size_t text_encode(uint32_t point, uint8_t bytes[4])
{
    if (point < 0x80) {
        bytes[0] = (uint8_t)point;
        return 1;
    }
    if (point < 0x800) {
        bytes[0] = (uint8_t)(0xc0 | point >> 6);
        bytes[1] = (uint8_t)(0x80 | (point & 0x3f));
        return 2;
    }
    if (point < 0x10000) {
        bytes[0] = (uint8_t)(0xe0 | point >> 12);
        bytes[1] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
        bytes[2] = (uint8_t)(0x80 | (point & 0x3f));
        return 3;
    }
    bytes[0] = (uint8_t)(0xf0 | point >> 18);
    bytes[1] = (uint8_t)(0x80 | (point >> 12 & 0x3f));
    bytes[2] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
    bytes[3] = (uint8_t)(0x80 | (point & 0x3f));
    return 4;
}

enum mp_error base64_encode(const uint8_t *bytes, size_t size, struct buffer *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (size == 0)
        return MP_OK;
    if (size > SIZE_MAX / 2)
        return MP_ERR_MEMORY;
    enum mp_error error = buffer_reserve(out, (size + 2) / 3 * 4);
    if (error != MP_OK)
        return error;
    uint8_t *to = out->data + out->size;
    size_t at = 0;
    for (; size - at >= 3; at += 3) {
        const unsigned bits = (unsigned)bytes[at] << 16 | (unsigned)bytes[at + 1] << 8 | bytes[at + 2];
        *to++ = (uint8_t)digits[bits >> 18];
        *to++ = (uint8_t)digits[bits >> 12 & 63];
        *to++ = (uint8_t)digits[bits >> 6 & 63];
        *to++ = (uint8_t)digits[bits & 63];
    }
    if (at < size) {
        const bool two = size - at == 2;
        const unsigned bits = (unsigned)bytes[at] << 16 | (two ? (unsigned)bytes[at + 1] << 8 : 0);
        *to++ = (uint8_t)digits[bits >> 18];
        *to++ = (uint8_t)digits[bits >> 12 & 63];
        *to++ = two ? (uint8_t)digits[bits >> 6 & 63] : '=';
        *to++ = '=';
    }
    out->size += (size + 2) / 3 * 4;
    return MP_OK;
}

/* The value of a digit, or 64. */
static unsigned base64_value(uint8_t digit)
{
    if (digit >= 'A' && digit <= 'Z')
        return (unsigned)digit - 'A';
    if (digit >= 'a' && digit <= 'z')
        return (unsigned)digit - 'a' + 26;
    if (digit >= '0' && digit <= '9')
        return (unsigned)digit - '0' + 52;
    return digit == '+' ? 62 : digit == '/' ? 63 : 64;
}

enum mp_error base64_decode(const uint8_t *text, size_t size, struct buffer *out, size_t *wrong)
{
    size_t digits = size;
    while (digits > 0 && size - digits < 2 && text[digits - 1] == '=')
        digits--;
    enum mp_error error = buffer_reserve(out, size / 4 * 3 + 3);
    if (error != MP_OK)
        return error;
    uint8_t *to = out->data + out->size;
    unsigned bits = 0;
    for (size_t at = 0; at < digits; at++) {
        const unsigned value = base64_value(text[at]);
        if (value > 63) {
            *wrong = at;
            return MP_ERR_FORMAT;
        }
        bits = bits << 6 | value;
        if (at % 4 == 3) {
            *to++ = (uint8_t)(bits >> 16);
            *to++ = (uint8_t)(bits >> 8);
            *to++ = (uint8_t)bits;
            bits = 0;
        }
    }
    const size_t rest = digits % 4;
    /* Padding fills up to four; bits beyond the last byte are zero, so that there is one spelling of each body. */
    if (size % 4 != 0 || rest == 1 || (rest == 2 && (bits & 0xf) != 0) || (rest == 3 && (bits & 0x3) != 0)) {
        *wrong = digits == 0 ? 0 : digits - 1;
        return MP_ERR_FORMAT;
    }
    if (rest == 2) {
        *to++ = (uint8_t)(bits >> 4);
    } else if (rest == 3) {
        *to++ = (uint8_t)(bits >> 10);
        *to++ = (uint8_t)(bits >> 2);
    }
    out->size = (size_t)(to - out->data);
    return MP_OK;
}
