/* stderr, line by line. */
#include "stage/lines.h"

#include <stdbool.h>
#include <string.h>

void stage_lines_add(struct stage_lines *lines, const void *data, size_t size,
                     void (*tell)(void *context, const char *line, size_t size), void *context)
{
    const char *from = data;
    while (size) {
        const char *newline = memchr(from, '\n', size);
        size_t length = newline ? (size_t)(newline - from) : size;
        size_t room = sizeof(lines->bytes) - lines->size;
        bool whole = newline && length <= room;
        length = length < room ? length : room;
        if (whole && lines->size == 0) {
            tell(context, from, length);
        } else {
            memcpy(lines->bytes + lines->size, from, length);
            lines->size += length;
            if (whole || lines->size == sizeof(lines->bytes)) {
                tell(context, lines->bytes, lines->size);
                lines->size = 0;
            }
        }
        from += length + whole;
        size -= length + whole;
    }
}

void stage_lines_end(struct stage_lines *lines, void (*tell)(void *context, const char *line, size_t size),
                     void *context)
{
    if (lines->size)
        tell(context, lines->bytes, lines->size);
    lines->size = 0;
}
