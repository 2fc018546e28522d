#include "base/utf8.h"

#include <string.h>

static bool continues(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

size_t utf8_next(const uint8_t *at, size_t size, uint32_t *code)
{
    uint32_t value;
    size_t length;

    if (size == 0)
        return 0;
    if (at[0] < 0x80) {
        value = at[0];
        length = 1;
    } else if (at[0] >= 0xc2 && at[0] <= 0xdf) {
        if (size < 2 || !continues(at[1]))
            return 0;
        value = (uint32_t)(at[0] & 0x1f) << 6 | (at[1] & 0x3f);
        length = 2;
    } else if (at[0] >= 0xe0 && at[0] <= 0xef) {
        if (size < 3 || !continues(at[1]) || !continues(at[2]))
            return 0;
        value = (uint32_t)(at[0] & 0x0f) << 12 | (uint32_t)(at[1] & 0x3f) << 6 | (at[2] & 0x3f);
        if (value < 0x800 || (value >= 0xd800 && value <= 0xdfff))
            return 0;
        length = 3;
    } else if (at[0] >= 0xf0 && at[0] <= 0xf4) {
        if (size < 4 || !continues(at[1]) || !continues(at[2]) || !continues(at[3]))
            return 0;
        value = (uint32_t)(at[0] & 0x07) << 18 | (uint32_t)(at[1] & 0x3f) << 12 | (uint32_t)(at[2] & 0x3f) << 6 |
                (at[3] & 0x3f);
        if (value < 0x10000 || value > 0x10ffff)
            return 0;
        length = 4;
    } else {
        return 0;
    }
    if (code != NULL)
        *code = value;
    return length;
}

/* Whether all eight bytes are printable ASCII, U+0020 to U+007E. */
static bool eight_printable(const uint8_t *at)
{
    const uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080;
    uint64_t word;

    memcpy(&word, at, sizeof word);
    /* With no top bit set neither sum carries into the next byte; a byte under 0x20 keeps its top bit clear in the
     * first sum, 0x7f gets one in the second. */
    return (word & tops) == 0 && ((word + 0x60 * ones) & tops) == tops && ((word + ones) & tops) == 0;
}

size_t utf8_plain(const uint8_t *text, size_t size)
{
    size_t at = 0;

    while (at < size) {
        if (size - at >= 8 && eight_printable(text + at)) {
            at += 8;
            continue;
        }
        uint32_t code;
        size_t length = utf8_next(text + at, size - at, &code);
        if (length == 0 || utf8_is_control(code))
            return at;
        at += length;
    }
    return at;
}
