#include "pipeline/source.h"

#include "base/buffer.h"
#include "base/utf8.h"
#include "pipeline/pipeline.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- reading ------------------------------------------------------------------------------------------------- */

static enum mp_error read_all(int descriptor, const char *name, struct buffer *text, struct fault *fault)
{
    enum { STEP = 64 * 1024 };
    for (;;) {
        if (buffer_reserve(text, STEP))
            return fault_memory(fault);
        ssize_t got = read(descriptor, text->data + text->size, STEP);
        if (got == 0)
            return MP_OK;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fault_system(fault, MP_ERR_IO, errno, "cannot read %s", name);
        text->size += (size_t)got;
        if (text->size > PIPELINE_FILE_MAX)
            return fault_set(fault, MP_ERR_TOO_LARGE, "%s has more than %d MiB: that is no pipeline", name,
                             PIPELINE_FILE_MAX / 1024 / 1024);
    }
}

static enum mp_error read_file(const char *file, const char *name, struct buffer *text, struct fault *fault)
{
    struct stat status;
    if (strcmp(file, "-") == 0)
        return read_all(STDIN_FILENO, name, text, fault);
    int descriptor = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (descriptor < 0)
        return fault_system(fault,
                            errno == ENOENT || errno == ENOTDIR ? MP_ERR_NOT_FOUND
                            : errno == EACCES || errno == EPERM ? MP_ERR_DENIED
                                                                : MP_ERR_IO,
                            errno, "cannot read %s", name);
    enum mp_error error;
    if (fstat(descriptor, &status) == 0 && S_ISDIR(status.st_mode))
        error = fault_system(fault, MP_ERR_IO, EISDIR, "cannot read %s", name);
    else
        error = read_all(descriptor, name, text, fault);
    close(descriptor);
    return error;
}

static bool find_lines(struct arena *arena, struct source *source)
{
    size_t count = 1;
    const char *end = source->text + source->size;
    for (const char *at = source->text; (at = memchr(at, '\n', (size_t)(end - at))) != NULL; at++)
        count++;
    size_t *lines = arena_allocate_array(arena, count + 1, sizeof *lines);
    if (lines == NULL)
        return false;
    size_t line = 1;
    for (const char *at = source->text; (at = memchr(at, '\n', (size_t)(end - at))) != NULL;)
        lines[line++] = (size_t)(++at - source->text);
    lines[count] = source->size;
    source->lines = lines;
    source->lines_count = count;
    return true;
}

static const char *name_of(const char *file)
{
    return strcmp(file, "-") == 0 ? "<stdin>" : file;
}

enum mp_error source_take(struct arena *arena, const char *file, const void *text, size_t size, struct source *source,
                          struct fault *fault)
{
    const char *name = name_of(file);
    *source = (struct source){.size = size};
    source->name = arena_copy(arena, name, strlen(name));
    source->text = arena_copy(arena, text, size);
    if (source->name == NULL || source->text == NULL || !find_lines(arena, source))
        return fault_memory(fault);
    return MP_OK;
}

enum mp_error source_read(struct arena *arena, const char *file, struct source *source, struct fault *fault)
{
    struct buffer text = {0};
    enum mp_error error = read_file(file, name_of(file), &text, fault);
    if (error == MP_OK)
        error = source_take(arena, file, text.data, text.size, source, fault);
    buffer_free(&text);
    return error;
}

/* ---- places -------------------------------------------------------------------------------------------------- */

/* The bytes of the character at OFFSET; of one that is no UTF-8 a byte. */
static size_t step(const struct source *source, size_t offset)
{
    size_t size = utf8_next((const uint8_t *)source->text + offset, source->size - offset, NULL);
    return size > 0 ? size : 1;
}

static unsigned characters(const struct source *source, size_t from, size_t to)
{
    unsigned count = 0;
    for (size_t at = from; at < to; at += step(source, at))
        count++;
    return count;
}

struct pipeline_place source_place(const struct source *source, size_t offset, size_t size)
{
    if (offset > source->size)
        offset = source->size;
    size_t low = 0, high = source->lines_count; /* lines[low] <= offset, and it is before line `high` */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (source->lines[middle] <= offset)
            low = middle;
        else
            high = middle;
    }
    size_t end = source->lines[low + 1], limit = size < end - offset ? offset + size : end;
    while (limit > offset && (source->text[limit - 1] == '\n' || source->text[limit - 1] == '\r'))
        limit--;
    return (struct pipeline_place){.line = (unsigned)low + 1,
                                   .column = characters(source, source->lines[low], offset) + 1,
                                   .length = characters(source, offset, limit),
                                   .file = source->number};
}

size_t source_offset(const struct source *source, const struct pipeline_place *place)
{
    size_t offset = source->lines[place->line - 1], end = source->lines[place->line];
    for (unsigned column = 1; column < place->column && offset < end; column++)
        offset += step(source, offset);
    return offset;
}
