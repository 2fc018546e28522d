/*
 * dead_file.h: dead letters in a file of JSON lines, each a CloudEvent as mrecv -F json writes it, with the attributes
 * of letter.h.
 *
 * Several tools may have one such file open. Who appends holds a lock for the time of one write; who rewrites the file
 * (dead_file_rewrite.c) puts a new one in its place, which those who append notice. A write that was cut off, by a full
 * disk or a lost machine, leaves a line that is no letter; it is left alone, and the next letter begins a line of its own.
 */
#ifndef CLI_DEAD_FILE_H
#define CLI_DEAD_FILE_H

#include "base/buffer.h"
#include "base/fault.h"
#include "message/formats.h"
#include "message/letter.h"

#include <stdbool.h>

struct dead_file {
    const char *path;
    int descriptor; /* -1: closed */
    bool regular;   /* not: a terminal, a pipe, /dev/null */
    bool readable;
    bool named;          /* that it is there is on the disk, too */
    struct buffer lines; /* not yet written */
    struct buffer block; /* of one letter */
};

/*
 * Opens PATH, which must stay where it is, to append to; makes it when it does not exist. MP_ERR_IO, MP_ERR_DENIED. Close
 * it in any case.
 */
enum mp_error dead_file_open(struct dead_file *file, const char *path, struct fault *fault);
void dead_file_close(struct dead_file *file);

/* Adds ITEM as a letter to what is written next. MP_ERR_MEMORY. */
enum mp_error dead_file_add(struct dead_file *file, const struct format_item *item, const struct letter *letter,
                            struct fault *fault);

/*
 * Writes what was added; with MP_OK it is on the disk. MP_ERR_IO: nothing of it counts, it is forgotten, and nothing of
 * it stays in the file if that can be helped.
 */
enum mp_error dead_file_write(struct dead_file *file, struct fault *fault);

/*
 * Locks of the process on the file at DESCRIPTOR: appending, and replaying or discarding, which may take long and which
 * one tool does at a time. WAIT: until it is free, else MP_ERR_BUSY. A lock ends when the process closes the file.
 */
enum dead_file_lock { DEAD_FILE_WRITES, DEAD_FILE_TAKES };
enum mp_error dead_file_lock(int descriptor, enum dead_file_lock lock, bool wait, struct fault *fault);
void dead_file_unlock(int descriptor, enum dead_file_lock lock);

#endif
