/*
 * file.h: all of it, where read(2) and write(2) may do a part only, or be interrupted. The descriptors block.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Writes SIZE bytes. False, and errno: not all of them were written. */
bool file_write(int descriptor, const void *data, size_t size);

/* The same at PLACE of a file. */
bool file_write_at(int descriptor, const void *data, size_t size, uint64_t place);

/* Reads up to SIZE bytes at PLACE of a file; how many: fewer only where it ends. -1, and errno. */
ssize_t file_read_at(int descriptor, void *data, size_t size, uint64_t place);

#endif
