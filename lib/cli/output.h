/*
 * output.h: writing for people and for pipes.
 *
 * Nothing but data goes to stdout. Colour and the progress line are for terminals, and NO_COLOR is obeyed.
 */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include "base/fault.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether DESCRIPTOR is a terminal that takes escape sequences and the user wants colour. */
bool output_colour(int descriptor);
bool output_is_terminal(int descriptor);

/* The terminal's width in columns; 80 when it is not known. */
unsigned output_columns(int descriptor);
/* Its height in lines; 24 when that is not known. */
unsigned output_rows(int descriptor);

/* Whether nothing but ASCII may be drawn on it: a terminal of another character set than UTF-8. */
bool output_is_ascii(int descriptor);

/* Whether nobody will read any more what is written to it, a pipe: what writes seldom has to ask. */
bool output_has_gone(int descriptor);

/*
 * From now on stdout and stderr are taken for what TEXT says, whatever they are here: "COLUMNS ROWS FLAGS", 0 where
 * something is not known; flags: `o`, stdout is a terminal; `e`, stderr is; `c`, colour is wanted; `a`, ASCII alone. It is
 * what is said to mtrace when it reads for somebody else (relay/readers_process.h). NULL is allowed: nothing is said.
 */
void output_assume(const char *text);

/*
 * Writes all SIZE bytes to DESCRIPTOR, waiting as long as it takes. MP_ERR_CLOSED: nobody reads any more (EPIPE; see
 * exit_by_pipe()). MP_ERR_IO: a full disk and the like, in words.
 */
enum mp_error output_write(int descriptor, const void *data, size_t size, struct fault *fault);

/* Words for write(2)'s errno NUMBER: MP_ERR_CLOSED for EPIPE, else MP_ERR_IO. */
enum mp_error output_error(int descriptor, int number, struct fault *fault);

/* Closes stdout and tells what only then comes to light (a full disk on a network file system). MP_ERR_IO. */
enum mp_error output_close(struct fault *fault);

/*
 * The progress line on stderr: bytes, messages, rate, and a bar, the share that is done and the time left when the total
 * is known. It shows itself only on a terminal and after a second of work, is redrawn ten times a second at most, and
 * erased by tell() and at the end.
 */
struct progress {
    bool wanted;
    uint64_t total;    /* bytes; 0: not known */
    uint64_t expected; /* messages; 0: not known */
    uint64_t part;     /* of the work, as progress_share() told */
    uint64_t whole;
    uint64_t drawn_part;
    int64_t started;
    int64_t drawn;
    uint64_t bytes;
    uint64_t messages;
};

/* VERB: "sent", "received". Without messages only bytes are shown. NOW: monotonic microseconds. */
void progress_begin(struct progress *progress, uint64_t total, int64_t now);
void progress_show(struct progress *progress, const char *verb, uint64_t bytes, uint64_t messages, int64_t now);
void progress_end(struct progress *progress);

/* PART of WHOLE is done, in whatever the work is measured by: the next progress_show() goes by that, not by bytes. */
void progress_share(struct progress *progress, uint64_t part, uint64_t whole);

/* Erases the line if one is shown; it is drawn again by the next progress_show(). */
void progress_erase(void);

#endif
