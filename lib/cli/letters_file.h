/*
 * letters_file.h: the dead letters of a file (dead_file.h): reading them one by one, and taking some out.
 *
 * A letter that is done with is first overwritten with spaces, which a reader of JSON lines passes over: that is on the
 * disk before the next is begun, so that a tool that is killed neither loses a letter nor leaves one that was done; its
 * beginning goes first, so that what a lost machine leaves of a line is the letter or none, and never another one. At the
 * end the file is written anew without these lines, and takes the old one's place.
 */
#ifndef CLI_LETTERS_FILE_H
#define CLI_LETTERS_FILE_H

#include "cli/letters.h"

struct letters_file {
    char *path; /* without symbolic links, so that a new file takes the right one's place */
    int descriptor;
    struct buffer input;
    size_t begin;   /* of what was not yet taken, in `input` */
    uint64_t place; /* of that in the file */
    uint64_t size;  /* of the file when it was opened */
    bool ended;
    uint64_t line;       /* number of the last one, from 1 */
    uint64_t torn;       /* lines that are no letters */
    uint64_t blank;      /* lines that are empty, as a tool that was killed leaves them */
    uint64_t taken;      /* letters that were taken out */
    struct buffer rests; /* what is to be blanked of them yet: a place and a size each, of 64 bits */
    struct format_reader reader;
};

/*
 * Opens the file at PATH. With WRITABLE it is locked against others who replay or discard: MP_ERR_BUSY. MP_ERR_NOT_FOUND,
 * MP_ERR_DENIED, MP_ERR_IO. Close it in any case; that writes nothing.
 */
enum mp_error letters_file_open(struct letters_file *file, const char *path, bool writable, struct fault *fault);
void letters_file_close(struct letters_file *file);

/* The next letter. MP_ERR_CLOSED: the end. MP_ERR_IO, MP_ERR_MEMORY. What is no letter is passed over and counted. */
enum mp_error letters_file_next(struct letters_file *file, struct letter_entry *entry, struct fault *fault);

/* Goes back to the beginning. */
void letters_file_rewind(struct letters_file *file);

/* Takes the letter at PLACE, of SIZE bytes, out. FLUSH: it is on the disk with MP_OK. MP_ERR_IO. */
enum mp_error letters_file_take(struct letters_file *file, uint64_t place, uint64_t size, bool flush,
                                struct fault *fault);

/* Writes the file anew without what was taken out, and without blank lines that were seen. MP_ERR_IO: it stays as it is. */
enum mp_error letters_file_rewrite(struct letters_file *file, struct fault *fault);

#endif
