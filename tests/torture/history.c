#include "history.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

int history_open(const char *path)
{
    int history = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (history < 0) {
        perror(path);
        exit(74);
    }
    return history;
}

int64_t history_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void history_write(int history, const char *event, const char *format, ...)
{
    char line[HISTORY_LINE];
    int size = snprintf(line, sizeof line, "%s %" PRId64 " ", event, history_now());
    va_list arguments;
    va_start(arguments, format);
    size += vsnprintf(line + size, sizeof line - (size_t)size - 1, format, arguments);
    va_end(arguments);
    if (size >= (int)sizeof line - 1)
        abort();
    line[size++] = '\n';
    if (write(history, line, (size_t)size) != size) {
        perror("history");
        exit(74);
    }
}

uint64_t history_hash(const void *bytes, uint64_t size)
{
    return XXH3_64bits(bytes, (size_t)size);
}

void history_identify(const char *body, uint64_t size, char name[HISTORY_NAME], uint64_t *sequence, char *fate)
{
    char head[128];
    size_t some = size < sizeof head - 1 ? (size_t)size : sizeof head - 1;
    memcpy(head, body, some);
    head[some] = '\0';
    if (sscanf(head, "%63[a-z0-9.] %" SCNu64 " %c", name, sequence, fate) != 3) {
        snprintf(name, HISTORY_NAME, "nobody");
        *sequence = 0;
        *fate = '.';
    }
}
