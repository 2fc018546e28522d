/* A table on stdout. */
#include "cli/table.h"

#include "base/memory.h"
#include "cli/output.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct table table_of(const char *const *headings)
{
    struct table table = {.headings = headings};
    while (table.columns < TABLE_COLUMNS && headings[table.columns])
        table.columns++;
    table.column = table.columns;
    return table;
}

void table_free(struct table *table)
{
    memory_release(table->cells);
    table->cells = NULL;
}

/* Makes room for another row. */
static bool grow(struct table *table)
{
    if (table->rows < table->row_capacity)
        return true;
    void *grown = memory_grow(table->cells, &table->row_capacity, table->columns * TABLE_CELL, 16);
    if (!grown)
        return false;
    table->cells = grown;
    return true;
}

void table_add(struct table *table, const char *format, ...)
{
    if (table->failed)
        return;
    if (table->column == table->columns) {
        table->failed = !grow(table);
        if (table->failed)
            return;
        table->column = 0;
        table->rows++;
    }
    char *cell = table->cells[(table->rows - 1) * table->columns + table->column++];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(cell, TABLE_CELL, format, arguments);
    va_end(arguments);
}

static bool is_number(const struct table *table, size_t column)
{
    return table->headings[column][0] == '>';
}

static const char *heading(const struct table *table, size_t column)
{
    return table->headings[column] + is_number(table, column);
}

/* The columns that TEXT, which is UTF-8, takes. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xC0) != 0x80;
    return width;
}

static size_t column_width(const struct table *table, size_t column)
{
    size_t width = strlen(heading(table, column));
    for (size_t row = 0; row < table->rows; row++) {
        size_t size = width_of(table->cells[row * table->columns + column]);
        width = size > width ? size : width;
    }
    return width;
}

static void print_cell(const struct table *table, size_t column, size_t width, const char *text)
{
    bool last = column + 1 == table->columns, number = is_number(table, column);
    int space = (int)(width - width_of(text));
    printf("%*s%s%*s%s", number ? space : 0, "", text, number || last ? 0 : space, "", last ? "\n" : "  ");
}

void table_print(const struct table *table)
{
    size_t widths[TABLE_COLUMNS];
    bool bold = output_colour(STDOUT_FILENO);
    for (size_t column = 0; column < table->columns; column++)
        widths[column] = column_width(table, column);
    fputs(bold ? "\033[1m" : "", stdout);
    for (size_t column = 0; column < table->columns; column++)
        print_cell(table, column, widths[column], heading(table, column));
    fputs(bold ? "\033[0m" : "", stdout);
    for (size_t row = 0; row < table->rows; row++)
        for (size_t column = 0; column < table->columns; column++)
            print_cell(table, column, widths[column], table->cells[row * table->columns + column]);
}
