#include "cli/screen.h"

#include "base/buffer.h"
#include "cli/output.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static const char home[] = "\033[H", end_of_line[] = "\033[K\n", end_of_page[] = "\033[J";

bool screen_begin(struct screen *screen)
{
    *screen = (struct screen){.terminal = -1, .page = -1};
    if (!output_is_terminal(STDOUT_FILENO) || fflush(stdout) != 0)
        return false;
    FILE *page = tmpfile();
    screen->terminal = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
    screen->page = page ? fcntl(fileno(page), F_DUPFD_CLOEXEC, 0) : -1;
    if (page)
        fclose(page);
    if (screen->terminal >= 0 && screen->page >= 0 && dup2(screen->page, STDOUT_FILENO) >= 0)
        return true;
    if (screen->terminal >= 0)
        close(screen->terminal);
    if (screen->page >= 0)
        close(screen->page);
    return false;
}

/* The bytes of LINE, SIZE of them, that take at most COLUMNS; a character takes one. */
static size_t cut(const char *line, size_t size, unsigned columns)
{
    size_t used = 0;
    for (size_t i = 0; i < size; i++)
        if (((unsigned char)line[i] & 0xC0) != 0x80 && used++ == columns)
            return i;
    return size;
}

static bool put(struct buffer *out, const char *text, size_t size)
{
    return buffer_append(out, text, size) == MP_OK;
}

/* Puts what of the page fits into ROWS lines, the last of which says how many do not. */
static bool fit(const struct buffer *page, unsigned rows, unsigned columns, struct buffer *out)
{
    const char *at = (const char *)page->data, *end = at + page->size;
    unsigned lines = 0, shown = 0;
    for (size_t i = 0; i < page->size; i++)
        lines += page->data[i] == '\n';
    unsigned most = lines < rows ? lines : rows - 2; /* the cursor stands in a line of its own */
    bool good = put(out, home, sizeof home - 1);
    for (; good && shown < most && at < end; shown++) {
        size_t size = 0;
        while (at + size < end && at[size] != '\n')
            size++;
        good = put(out, at, cut(at, size, columns)) && put(out, end_of_line, sizeof end_of_line - 1);
        at += size + 1;
    }
    char more[64];
    int size = snprintf(more, sizeof more, "... and %u lines more%s", lines - shown, end_of_line);
    return good && (shown == lines || put(out, more, (size_t)size)) && put(out, end_of_page, sizeof end_of_page - 1);
}

void screen_end(struct screen *screen)
{
    struct buffer page = {0}, out = {0};
    char part[4096];
    ssize_t got;
    struct fault ignored = {0};
    fflush(stdout);
    dup2(screen->terminal, STDOUT_FILENO);
    bool good = lseek(screen->page, 0, SEEK_SET) == 0;
    while (good && (got = read(screen->page, part, sizeof part)) > 0)
        good = put(&page, part, (size_t)got);
    unsigned rows = output_rows(STDOUT_FILENO);
    if (good && fit(&page, rows > 2 ? rows : 3, output_columns(STDOUT_FILENO), &out))
        output_write(STDOUT_FILENO, out.data, out.size, &ignored); /* that it cannot be written is seen by the next */
    buffer_free(&page);
    buffer_free(&out);
    close(screen->page);
    close(screen->terminal);
}
