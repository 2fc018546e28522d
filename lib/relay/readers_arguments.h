/*
 * readers_arguments.h: what a client may have mtrace do for it at the relay, as the arguments of that program.
 *
 * Verbs and options are taken by their whole names from a list here of those that only read. So nothing that a client
 * says can become a path, an address, or an option of another kind: each value stands behind its option's `=`, operands
 * stand behind `--`.
 */
#ifndef RELAY_READERS_ARGUMENTS_H
#define RELAY_READERS_ARGUMENTS_H

#include "base/buffer.h"
#include "base/fault.h"

#include <jansson.h>

enum {
    READERS_VALUES = 256,      /* of all options together, and operands */
    READERS_BYTES = 16 * 1024, /* of them */
    READERS_OPERANDS = 64      /* of `show` */
};

struct readers_arguments {
    struct buffer text; /* the arguments, each with its zero */
    char **argv;        /* into it; ends with NULL */
};

/*
 * The command line `mtrace VERB --store=STORE …` for what ASKED says: {"command":VERB,"options":{NAME:VALUE…},
 * "operands":[…]}, where a VALUE is true, a string or an array of strings. MP_ERR_INVALID: a verb or option that is not
 * allowed, or values that make no sense; MP_ERR_TOO_LARGE, MP_ERR_MEMORY. Free it with readers_arguments_free() in any case.
 */
enum mp_error readers_arguments_make(const json_t *asked, const char *store, struct readers_arguments *arguments,
                                     struct fault *fault);
void readers_arguments_free(struct readers_arguments *arguments);

#endif
