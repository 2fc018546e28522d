#include "base/fault.h"

#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

/* Takes an unfinished character off the end of a text that was cut. */
static size_t whole_characters(const char *text, size_t size)
{
    const uint8_t *bytes = (const uint8_t *)text;
    size_t start = size;

    while (start > 0 && size - start < 3 && (bytes[start - 1] & 0xc0) == 0x80)
        start--;
    if (start == 0 || bytes[start - 1] < 0xc0)
        return size; /* ASCII, or nothing that was cut here */
    start--;
    return utf8_next(bytes + start, size - start, NULL) > 0 ? size : start;
}

/* Formats into a place of its own first: an argument may be the text that it replaces. */
__attribute__((format(printf, 4, 0))) static void record(struct fault *fault, enum mp_error code, const char *tail,
                                                         const char *format, va_list arguments)
{
    char text[FAULT_TEXT];
    size_t used;

    int length = vsnprintf(text, sizeof text, format, arguments);
    if (length < 0) {
        text[0] = '\0';
        length = 0;
    }
    used = (size_t)length < sizeof text ? (size_t)length : sizeof text - 1;
    if (tail != NULL && used < sizeof text - 3) {
        memcpy(text + used, ": ", 2);
        used += 2;
        size_t size = strlen(tail);
        if (size > sizeof text - 1 - used)
            size = sizeof text - 1 - used;
        memcpy(text + used, tail, size);
        used += size;
    }
    if (used >= sizeof text - 1)
        used = whole_characters(text, sizeof text - 1);
    memcpy(fault->text, text, used);
    fault->text[used] = '\0';
    fault->code = code;
}

enum mp_error fault_set(struct fault *fault, enum mp_error code, const char *format, ...)
{
    if (fault != NULL) {
        va_list arguments;
        va_start(arguments, format);
        record(fault, code, NULL, format, arguments);
        va_end(arguments);
    }
    return code;
}

/* strerror_r() has two forms, GNU's and POSIX's; which one is declared, the compiler knows. */
static const char *words_gnu(const char *result, const char *buffer)
{
    (void)buffer;
    return result;
}

static const char *words_posix(int result, const char *buffer)
{
    return result == 0 ? buffer : "unknown system error";
}

#define WORDS(result, buffer) _Generic((result), char * : words_gnu, int : words_posix)(result, buffer)

enum mp_error fault_system(struct fault *fault, enum mp_error code, int number, const char *format, ...)
{
    if (fault != NULL) {
        char words[128];
        va_list arguments;
        va_start(arguments, format);
        record(fault, code, WORDS(strerror_r(number, words, sizeof words), words), format, arguments);
        va_end(arguments);
    }
    return code;
}

enum mp_error fault_memory(struct fault *fault)
{
    return fault_set(fault, MP_ERR_MEMORY, "no memory");
}

const char *fault_text(const struct fault *fault)
{
    return fault->text[0] != '\0' ? fault->text : mp_error_text(fault->code);
}

const char *fault_quote(char text[FAULT_QUOTE], const char *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *from = (const uint8_t *)bytes;
    const size_t room = FAULT_QUOTE - 4; /* for "..." and the NUL */
    size_t used = 0;

    for (size_t at = 0; at < size;) {
        uint32_t code;
        size_t length = utf8_next(from + at, size - at, &code);
        bool plain = length > 0 && !utf8_is_control(code);
        if (used + (plain ? length : 4) > room) {
            memcpy(text + used, "...", 3);
            used += 3;
            break;
        }
        if (plain) {
            memcpy(text + used, from + at, length);
            used += length;
            at += length;
        } else {
            text[used++] = '\\';
            text[used++] = 'x';
            text[used++] = digits[from[at] >> 4];
            text[used++] = digits[from[at] & 15];
            at++;
        }
    }
    text[used] = '\0';
    return text;
}
