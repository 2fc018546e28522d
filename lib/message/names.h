/*
 * names.h: names of topics, groups and relays, patterns, and the nearest right word.
 */
#ifndef MESSAGE_NAMES_H
#define MESSAGE_NAMES_H

#include "base/fault.h"

#include <stdbool.h>
#include <stddef.h>

enum { NAME_MAX_BYTES = 200 };

/* Dot-separated tokens of [A-Za-z0-9_-], 1 to 200 bytes. MP_ERR_INVALID says what is wrong and where. */
enum mp_error name_check_topic(const char *name, size_t size, struct fault *fault);

/* A topic, or a pattern: tokens may be `*`, the last one may be `>`. *PATTERN says which. */
enum mp_error name_check_pattern(const char *name, size_t size, bool *pattern, struct fault *fault);

/* One token of [A-Za-z0-9_.-], 1 to 200 bytes. */
enum mp_error name_check_group(const char *name, size_t size, struct fault *fault);
enum mp_error name_check_relay(const char *name, size_t size, struct fault *fault);

/* Whether PATTERN matches TOPIC: `*` one token, `>` one or more at the end. Both checked before. */
bool name_matches(const char *pattern, const char *topic);

/*
 * The edit distance (insert, delete, replace, swap neighbours) of two words of at most 200 bytes. Of longer words it is
 * the longer one's length.
 */
unsigned name_distance(const char *one, const char *other);

/*
 * Of COUNT words the one nearest to WORD, when it is near enough to be a slip of the fingers (a third of its letters,
 * three at most; capitals and small letters count alike); the first of several; else NULL.
 */
const char *name_nearest(const char *word, const char *const *words, size_t count);

#endif
