/*
 * table.h: a table on stdout: columns as wide as their cells, numbers to the right, a heading in bold on a terminal.
 */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>

enum { TABLE_COLUMNS = 12, TABLE_CELL = 208 };

struct table {
    size_t columns;
    const char *const *headings; /* one that begins with '>' is of numbers */
    char (*cells)[TABLE_CELL];
    size_t rows;
    size_t row_capacity;
    size_t column; /* the next cell of the last row */
    bool failed;   /* no memory */
};

/* HEADINGS ends with NULL. Free it with table_free(). */
struct table table_of(const char *const *headings);
void table_free(struct table *table);

/* Adds a cell, and begins a new row when the last one is complete. */
void table_add(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Writes it to stdout. */
void table_print(const struct table *table);

#endif
