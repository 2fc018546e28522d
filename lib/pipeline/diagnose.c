#include "pipeline/diagnose.h"

#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- taking note --------------------------------------------------------------------------------------------- */

__attribute__((format(printf, 4, 0))) static void add(struct diagnostics *diagnostics,
                                                      const struct pipeline_place *place, bool error,
                                                      const char *format, va_list arguments)
{
    char text[1024];
    if (diagnostics->count == DIAGNOSE_MAX) {
        diagnostics->passed_over++;
        diagnostics->errors += error;
        diagnostics->warnings += !error;
        return;
    }
    vsnprintf(text, sizeof text, format, arguments);
    for (size_t i = 0; i < diagnostics->count; i++) { /* what an alias names is read several times */
        const struct diagnosis *other = &diagnostics->all[i];
        if (other->place.line == place->line && other->place.column == place->column &&
            other->place.file == place->file && strcmp(other->text, text) == 0)
            return;
    }
    if (diagnostics->all == NULL)
        diagnostics->all = arena_allocate_array(diagnostics->arena, DIAGNOSE_MAX, sizeof *diagnostics->all);
    const char *copy = arena_copy(diagnostics->arena, text, strlen(text));
    diagnostics->errors += error;
    diagnostics->warnings += !error;
    if (diagnostics->all == NULL || copy == NULL) {
        diagnostics->no_memory = true;
        return;
    }
    diagnostics->all[diagnostics->count] =
        (struct diagnosis){.place = *place, .error = error, .number = diagnostics->count, .text = copy};
    diagnostics->count++;
}

void diagnose_error(struct diagnostics *diagnostics, const struct pipeline_place *place, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add(diagnostics, place, true, format, arguments);
    va_end(arguments);
}

void diagnose_warning(struct diagnostics *diagnostics, const struct pipeline_place *place, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add(diagnostics, place, false, format, arguments);
    va_end(arguments);
}

/* ---- printing ------------------------------------------------------------------------------------------------ */

static int compare(const void *one, const void *other)
{
    const struct diagnosis *a = one, *b = other;
    if (a->place.file != b->place.file)
        return a->place.file < b->place.file ? -1 : 1;
    if (a->place.line != b->place.line)
        return a->place.line < b->place.line ? -1 : 1;
    if (a->place.column != b->place.column)
        return a->place.column < b->place.column ? -1 : 1;
    return a->number < b->number ? -1 : 1;
}

/* The columns that a character takes on a terminal: what combines with the one before takes none, East Asia's two. */
static unsigned width(uint32_t code)
{
    static const struct {
        uint32_t first, last;
        unsigned width;
    } ranges[] = {
        {0x300, 0x36f, 0},     {0x200b, 0x200f, 0},   {0xfe00, 0xfe0f, 0},   {0x1100, 0x115f, 2}, {0x2e80, 0xa4cf, 2},
        {0xac00, 0xd7a3, 2},   {0xf900, 0xfaff, 2},   {0xfe30, 0xfe6f, 2},   {0xff00, 0xff60, 2}, {0xffe0, 0xffe6, 2},
        {0x1f300, 0x1f64f, 2}, {0x1f900, 0x1f9ff, 2}, {0x20000, 0x3fffd, 2},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (code >= ranges[i].first && code <= ranges[i].last)
            return ranges[i].width;
    return 1;
}

/* One line of the file, and how it is shown: a part of it when it is long. */
struct shown {
    struct buffer line, marks;
    enum mp_error error;
};

static void put(struct shown *shown, struct buffer *out, const void *bytes, size_t size)
{
    if (shown->error == MP_OK)
        shown->error = buffer_append(out, bytes, size);
}

/* Shows a character, and below it MARK as wide as that is; a tab stays one in both lines, so that they agree. */
static void show(struct shown *shown, const char *at, size_t size, char mark)
{
    uint32_t code = 0;
    bool good = utf8_next((const uint8_t *)at, size, &code) == size;
    if (good && code == '\t') {
        put(shown, &shown->line, "\t", 1);
        put(shown, &shown->marks, mark == ' ' ? "\t" : &mark, 1);
        return;
    }
    if (!good || utf8_is_control(code)) {
        at = "?";
        size = 1;
        code = '?';
    }
    put(shown, &shown->line, at, size);
    for (unsigned i = width(code); i > 0; i--)
        put(shown, &shown->marks, &mark, 1);
}

enum { BEFORE = 80, BEHIND = 100 }; /* characters that are shown of a long line, around the place */

static void show_line(struct shown *shown, const struct source *source, const struct pipeline_place *place)
{
    size_t at = source->lines[place->line - 1], end = source->lines[place->line];
    unsigned last = place->column + (place->length > 0 ? place->length : 1) - 1;
    while (end > at && (source->text[end - 1] == '\n' || source->text[end - 1] == '\r'))
        end--;
    for (unsigned column = 1; at < end; column++) {
        size_t size = utf8_next((const uint8_t *)source->text + at, end - at, NULL);
        if (size == 0)
            size = 1;
        if (column + BEFORE >= place->column && column <= place->column + BEHIND)
            show(shown, source->text + at, size,
                 column == place->column                    ? '^'
                 : column > place->column && column <= last ? '~'
                                                            : ' ');
        if (column == 1 && place->column > BEFORE + 1)
            put(shown, &shown->line, "...", 3), put(shown, &shown->marks, "   ", 3);
        at += size;
    }
    if (memchr(shown->marks.data != NULL ? (char *)shown->marks.data : "", '^', shown->marks.size) == NULL)
        put(shown, &shown->marks, "^", 1); /* behind the last character */
    while (shown->marks.size > 0 && strchr(" \t", shown->marks.data[shown->marks.size - 1]) != NULL)
        shown->marks.size--;
}

static enum mp_error print_line(const struct source *source, const struct pipeline_place *place, bool colour,
                                struct buffer *out)
{
    struct shown shown = {.error = MP_OK};
    show_line(&shown, source, place);
    enum mp_error error = shown.error;
    if (error == MP_OK)
        error = buffer_append_format(out, "    %.*s\n    %s%.*s%s\n", (int)shown.line.size,
                                     shown.line.size > 0 ? (char *)shown.line.data : "", colour ? "\033[1;32m" : "",
                                     (int)shown.marks.size, (char *)shown.marks.data, colour ? "\033[0m" : "");
    buffer_free(&shown.line);
    buffer_free(&shown.marks);
    return error;
}

static enum mp_error print_one(const struct diagnostics *diagnostics, const struct diagnosis *one, bool colour,
                               struct buffer *out)
{
    const struct source *source = diagnostics->sources[one->place.file];
    const char *bold = colour ? "\033[1m" : "", *off = colour ? "\033[0m" : "";
    const char *kind = !colour ? "" : one->error ? "\033[1;31m" : "\033[1;35m";
    enum mp_error error = buffer_append_format(out, "%s%s:", bold, source->name);
    if (error == MP_OK && one->place.line > 0)
        error = buffer_append_format(out, "%u:%u:", one->place.line, one->place.column);
    if (error == MP_OK)
        error =
            buffer_append_format(out, "%s %s%s:%s %s\n", off, kind, one->error ? "error" : "warning", off, one->text);
    return error != MP_OK || one->place.line == 0 ? error : print_line(source, &one->place, colour, out);
}

enum mp_error diagnose_print(struct diagnostics *diagnostics, bool colour, struct buffer *out)
{
    enum mp_error error = diagnostics->no_memory ? MP_ERR_MEMORY : MP_OK;
    if (diagnostics->count > 0)
        qsort(diagnostics->all, diagnostics->count, sizeof *diagnostics->all, compare);
    for (size_t i = 0; i < diagnostics->count && error == MP_OK; i++)
        error = print_one(diagnostics, &diagnostics->all[i], colour, out);
    if (diagnostics->passed_over > 0 && error == MP_OK)
        error = buffer_append_format(out, "%s: %zu more mistakes are not shown\n", diagnostics->sources[0]->name,
                                     diagnostics->passed_over);
    return error;
}
