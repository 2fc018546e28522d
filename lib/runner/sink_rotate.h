/*
 * sink_rotate.h: an appended file that starts anew when it is large: FILE becomes FILE.1, FILE.1 becomes FILE.2, and so on.
 *
 * The file may be moved away or truncated by others (logrotate): sink_rotated_prepare() notices, and makes a new one. A
 * write is whole or undone: what a full disk took of it is cut off again, as far as nobody else writes there. A last
 * line without its end, left by a crash, is ended when the file is opened; of format `length` what is torn is cut off.
 */
#ifndef RUNNER_SINK_ROTATE_H
#define RUNNER_SINK_ROTATE_H

#include "base/buffer.h"
#include "base/fault.h"
#include "message/formats.h"

struct sink_rotated {
    const char *path;
    enum format format;
    uint64_t limit; /* bytes after which a new file is begun; 0: never */
    unsigned keep;  /* rotated files that are kept; 0: all */
    int descriptor; /* -1: it is not open */
    uint64_t device;
    uint64_t inode;
    uint64_t size;
    bool mended;   /* a torn end was found when it was opened last, */
    uint64_t torn; /* and cut off: so many bytes; 0: a separator was put behind it */
};

/* PATH stays. Nothing is opened yet. */
void sink_rotated_open(struct sink_rotated *file, const char *path, enum format format, uint64_t limit, unsigned keep);
void sink_rotated_close(struct sink_rotated *file);

/*
 * Before each batch: the file is open, is the one that PATH names, and has room for COMING bytes within its limit, unless
 * it is empty. MP_ERR_IO, MP_ERR_DENIED, with words: nothing can be written now, try later.
 */
enum mp_error sink_rotated_prepare(struct sink_rotated *file, uint64_t coming, struct fault *fault);

/* Appends SIZE bytes, all or none. MP_ERR_FULL: the disk is full. MP_ERR_IO. */
enum mp_error sink_rotated_write(struct sink_rotated *file, const void *data, size_t size, struct fault *fault);

/* Flushes what was written to the disk. MP_ERR_IO: what was written since the last flush may be lost: write it again. */
enum mp_error sink_rotated_flush(struct sink_rotated *file, struct fault *fault);
/* The same said of a flush of its descriptor by others, which failed with errno value NUMBER. */
enum mp_error sink_rotated_flush_failed(struct sink_rotated *file, int number, struct fault *fault);

#endif
