/*
 * glob.h: patterns as the shell has them, on any bytes.
 *
 *   *      any run of bytes, `/` and newlines too, or none
 *   ?      one character: a UTF-8 one, or a byte that begins none
 *   [a-z]  one of these characters; [!a-z] one other
 *   \x     x itself
 */
#ifndef STAGE_GLOB_H
#define STAGE_GLOB_H

#include "base/fault.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* MP_ERR_INVALID: a bracket that is not closed, a backslash at the end. */
enum mp_error glob_check(const char *pattern, size_t size, struct fault *fault);

/* Whether PATTERN, which was checked, matches all of TEXT. Takes time of their product at most, and no memory. */
bool glob_matches(const char *pattern, size_t pattern_size, const uint8_t *text, size_t size);

#endif
