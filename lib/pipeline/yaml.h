/*
 * yaml.h: a YAML 1.2 document as a tree, each value with its place in the file.
 *
 * Stricter than YAML where that saves users from surprises: one document, keys are words and stand once in a mapping.
 * Aliases are followed and the merge key `<<` is applied while the tree is built. Whatever a file holds, the tree is
 * bounded: by YAML_DEPTH_MAX, by YAML_VALUES_MAX, and by YAML_EXPANDED_MAX values when each alias counts as all that it
 * stands for, so walking through a tree ends soon.
 */
#ifndef PIPELINE_YAML_H
#define PIPELINE_YAML_H

#include "pipeline/diagnose.h"

enum { YAML_DEPTH_MAX = 50, YAML_VALUES_MAX = 500000, YAML_EXPANDED_MAX = 1000000 };

enum yaml_kind { YAML_SCALAR, YAML_SEQUENCE, YAML_MAPPING };

struct yaml {
    enum yaml_kind kind;
    bool quoted; /* a scalar that is a string whatever stands in it */
    struct pipeline_place place;
    const char *text; /* of a scalar; terminated */
    size_t size;
    struct yaml *items; /* of a sequence */
    struct yaml_pair *pairs;
    size_t count;
    size_t expanded; /* values in it, itself included */
};

struct yaml_pair {
    struct yaml key; /* a scalar */
    struct yaml value;
};

/*
 * Builds the tree of SOURCE; mistakes go to DIAGNOSTICS, and *ROOT is NULL when there was one after which the rest means
 * nothing. MP_ERR_MEMORY.
 */
enum mp_error yaml_read(struct arena *arena, const struct source *source, struct diagnostics *diagnostics,
                        struct yaml **root);

/* The pair of KEY in a mapping; NULL: there is none, or it is no mapping. */
const struct yaml_pair *yaml_get(const struct yaml *mapping, const char *key);

/* What YAML's core schema makes of a scalar. */
enum yaml_type { YAML_NULL, YAML_BOOLEAN, YAML_INTEGER, YAML_FLOAT, YAML_STRING };
enum yaml_type yaml_type(const char *text, size_t size, bool quoted);

/* "a list", "a mapping", "nothing" or "a value": what a value is, in words. */
const char *yaml_words(const struct yaml *value);

#endif
