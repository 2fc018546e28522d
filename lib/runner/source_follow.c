/*
 * Reads a file as it grows and is rotated.
 *
 * One file is open for reading, the present one; those that come after it wait in a queue, opened as soon as they are
 * seen, so that no further rotation can hide them. What was read is a row of pieces, a piece a file, by which a number of
 * bytes given becomes a place in a file again.
 */
#include "runner/source_follow.h"

#include "base/memory.h"
#include "runner/source_rotated.h"
#include "runner/source_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum {
    WAITING_MAX = 64,        /* files that wait to be read */
    ROOM_TO_RESTART = 2,     /* places among them for a file that was truncated, and its copy */
    GRACE = 1000000,         /* microseconds without growth before a renamed file is left */
    LOOK_WATCHED = 1000000,  /* how often it is looked when changes are told, */
    LOOK_UNWATCHED = 250000, /* and when they are not */
    LOOK_FAILED = 1000000
};

/* A file that is to be read from OFFSET on. */
struct next_file {
    int descriptor;
    uint64_t device;
    uint64_t inode;
    uint64_t offset;
    bool final; /* nobody writes to it any more: it is left as soon as its end is seen */
};

struct piece {
    struct piece *next;
    uint64_t begins; /* bytes that were given before it */
    uint64_t base;   /* the offset in the file where it begins */
    uint64_t device;
    uint64_t inode;
    int64_t modified;
    size_t head_size;
    uint8_t head[SOURCE_FOLLOW_HEAD];
};

struct source_follow {
    char *path;
    uint64_t path_hash;
    bool following;
    struct source_watch watch;
    struct next_file waiting[WAITING_MAX];
    size_t waiting_count;

    int descriptor; /* of the present file; -1: none is open */
    bool final;     /* the present file does not grow any more */
    bool at_end;    /* its end was seen: look whether it is still the same before reading on */
    bool ended;     /* not following: all was read */
    bool missing;   /* the path names nothing */
    int64_t left;   /* when the present file was last known to be written to */
    uint64_t offset;
    uint64_t given;
    struct piece *oldest;
    struct piece *newest;       /* of the present file */
    struct source_place before; /* before the first piece */
};

/* ---- places --------------------------------------------------------------------------------------------------- */

void source_place_text(const struct source_place *place, char text[SOURCE_FOLLOW_TEXT])
{
    snprintf(text, SOURCE_FOLLOW_TEXT,
             "device=%" PRIu64 " inode=%" PRIu64 " offset=%" PRIu64 " head=%" PRIu32 ":%016" PRIx64 " modified=%" PRId64
             " path=%016" PRIx64,
             place->device, place->inode, place->offset, place->head_size, place->head, place->modified, place->path);
}

bool source_place_parse(const char *text, struct source_place *place)
{
    *place = (struct source_place){0};
    return sscanf(text,
                  "device=%" SCNu64 " inode=%" SCNu64 " offset=%" SCNu64 " head=%" SCNu32 ":%" SCNx64
                  " modified=%" SCNd64 " path=%" SCNx64,
                  &place->device, &place->inode, &place->offset, &place->head_size, &place->head, &place->modified,
                  &place->path) == 7 &&
           place->head_size <= SOURCE_FOLLOW_HEAD && place->head_size <= place->offset && place->offset <= INT64_MAX;
}

/* The place at byte OFFSET of PIECE's file. */
static struct source_place place_in(const struct source_follow *follow, const struct piece *piece, uint64_t offset)
{
    size_t head = offset < piece->head_size ? (size_t)offset : piece->head_size;
    return (struct source_place){.device = piece->device,
                                 .inode = piece->inode,
                                 .offset = offset,
                                 .head_size = (uint32_t)head,
                                 .head = XXH3_64bits(piece->head, head),
                                 .modified = piece->modified,
                                 .path = follow->path_hash};
}

struct source_place source_follow_place(struct source_follow *follow, uint64_t given)
{
    struct piece *piece = follow->oldest;
    if (!piece)
        return follow->before;
    while (piece->next && piece->next->begins <= given) {
        follow->oldest = piece->next;
        memory_release(piece);
        piece = follow->oldest;
    }
    return place_in(follow, piece, piece->base + (given - piece->begins));
}

uint64_t source_follow_given(const struct source_follow *follow)
{
    return follow->given;
}

/* ---- the queue of files --------------------------------------------------------------------------------------- */

/* Puts a file at INDEX of the queue, which takes DESCRIPTOR, or closes it if it is none to be read. */
static bool put(struct source_follow *follow, size_t index, int descriptor, uint64_t offset, bool final)
{
    struct stat status;
    if (descriptor < 0)
        return false;
    if (follow->waiting_count == WAITING_MAX || fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
        close(descriptor);
        return false;
    }
    struct next_file *at = follow->waiting + index;
    memmove(at + 1, at, (follow->waiting_count - index) * sizeof(*at));
    *at = (struct next_file){descriptor, (uint64_t)status.st_dev, (uint64_t)status.st_ino, offset, final};
    follow->waiting_count++;
    return true;
}

/* The file behind which all others come; -1: none is known. */
static int newest_file(const struct source_follow *follow)
{
    return follow->waiting_count > 0 ? follow->waiting[follow->waiting_count - 1].descriptor : follow->descriptor;
}

static bool is_known(const struct source_follow *follow, int descriptor)
{
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        return true;
    uint64_t device = (uint64_t)status.st_dev;
    uint64_t inode = (uint64_t)status.st_ino;
    for (size_t i = 0; i < follow->waiting_count; i++)
        if (follow->waiting[i].device == device && follow->waiting[i].inode == inode)
            return true;
    return follow->descriptor >= 0 && follow->newest->device == device && follow->newest->inode == inode;
}

/*
 * Queues what was rotated since the newest file that is known, without having been seen under its own name. The last of
 * them may have been rotated just now, and its writer not know it yet.
 */
static void put_rotated(struct source_follow *follow)
{
    struct stat status;
    int rotated[WAITING_MAX];
    int newest = newest_file(follow);
    size_t room = WAITING_MAX - ROOM_TO_RESTART - 1;
    if (newest < 0 || follow->waiting_count >= room || fstat(newest, &status) != 0)
        return;
    size_t count = source_rotated_since(follow->path, source_rotated_modified(&status), (uint64_t)status.st_dev,
                                        (uint64_t)status.st_ino, rotated, room - follow->waiting_count);
    for (size_t i = 0; i < count; i++) {
        if (is_known(follow, rotated[i]))
            close(rotated[i]);
        else
            put(follow, follow->waiting_count, rotated[i], 0, i + 1 < count);
    }
}

static enum mp_error explain(const struct source_follow *follow, int number, struct fault *fault)
{
    return fault_system(fault, number == ENOENT ? MP_ERR_NOT_FOUND : MP_ERR_IO, number, "cannot read %s", follow->path);
}

/* Queues the file that the path names now, if it is not known. */
static enum mp_error look(struct source_follow *follow, int64_t now, struct fault *fault)
{
    struct stat status;
    struct stat known;
    if (stat(follow->path, &status) != 0) {
        int number = errno;
        if (follow->following && !follow->missing)
            put_rotated(follow); /* it may have been made and renamed since the last look */
        follow->missing = true;
        return explain(follow, number, fault);
    }
    follow->missing = false;
    if (!S_ISREG(status.st_mode))
        return fault_set(fault, MP_ERR_IO, "cannot read %s: it is not a regular file (its end cannot be known)",
                         follow->path);
    int newest = newest_file(follow);
    if (newest >= 0 && fstat(newest, &known) == 0 && known.st_dev == status.st_dev && known.st_ino == status.st_ino)
        return MP_OK;
    if (follow->waiting_count == 0)
        follow->left = now;
    put_rotated(follow);
    int descriptor = open(follow->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (descriptor < 0)
        return explain(follow, errno, fault);
    if (follow->waiting_count + ROOM_TO_RESTART >= WAITING_MAX)
        close(descriptor);
    else
        put(follow, follow->waiting_count, descriptor, 0, false);
    return MP_OK;
}

/* Queues what PLACE was about, and what came after it but is not what the path names now. False: it has gone. */
static bool resume(struct source_follow *follow, const struct source_place *place)
{
    struct stat status;
    int descriptor = open(follow->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (descriptor >= 0 && fstat(descriptor, &status) == 0 && (uint64_t)status.st_dev == place->device &&
        (uint64_t)status.st_ino == place->inode && source_rotated_is(descriptor, place))
        return put(follow, 0, descriptor, place->offset, false);
    if (descriptor >= 0)
        close(descriptor);
    if (!follow->following)
        return false;
    descriptor = source_rotated_find(follow->path, place);
    if (descriptor < 0)
        return false;
    put(follow, 0, descriptor, place->offset, false);
    put_rotated(follow);
    return true;
}

/* ---- the present file ----------------------------------------------------------------------------------------- */

static void leave_file(struct source_follow *follow)
{
    source_watch_file(&follow->watch, -1);
    if (follow->descriptor >= 0)
        close(follow->descriptor);
    follow->descriptor = -1;
}

/* Begins to read the first file of the queue. */
static enum mp_error begin(struct source_follow *follow, int64_t now, struct fault *fault)
{
    struct next_file next = follow->waiting[0];
    struct stat status;
    struct piece *piece = memory_allocate(sizeof(*piece));
    if (!piece)
        return fault_memory(fault);
    follow->waiting_count--;
    memmove(follow->waiting, follow->waiting + 1, follow->waiting_count * sizeof(next));
    piece->begins = follow->given;
    piece->base = next.offset;
    piece->device = next.device;
    piece->inode = next.inode;
    if (fstat(next.descriptor, &status) == 0)
        piece->modified = source_rotated_modified(&status);
    size_t head = next.offset < SOURCE_FOLLOW_HEAD ? (size_t)next.offset : SOURCE_FOLLOW_HEAD;
    ssize_t got = head ? pread(next.descriptor, piece->head, head, 0) : 0;
    piece->head_size = got > 0 ? (size_t)got : 0;
    if (follow->newest)
        follow->newest->next = piece;
    else
        follow->oldest = piece;
    follow->newest = piece;
    follow->descriptor = next.descriptor;
    follow->final = next.final;
    follow->offset = next.offset;
    follow->at_end = false;
    follow->left = now;
    if (follow->following && !next.final)
        source_watch_file(&follow->watch, next.descriptor);
    return MP_OK;
}

/* Whether the present file, at whose end we were, is not what it was: shorter, or another at its beginning. */
static bool was_truncated(struct source_follow *follow, bool *grown)
{
    struct piece *piece = follow->newest;
    struct source_place place = place_in(follow, piece, follow->offset);
    struct stat status;
    *grown = true;
    if (fstat(follow->descriptor, &status) != 0)
        return false; /* read() will say why */
    *grown = status.st_size < 0 || (uint64_t)status.st_size != follow->offset;
    int64_t modified = source_rotated_modified(&status);
    if (!*grown && modified == piece->modified)
        return false;
    if (!source_rotated_is(follow->descriptor, &place))
        return true;
    piece->modified = modified;
    return false;
}

/* The present file begins anew; what was written to it before may be in a copy. */
static void restart(struct source_follow *follow)
{
    struct source_place place = place_in(follow, follow->newest, follow->offset);
    int again = follow->descriptor;
    bool final = follow->final;
    source_watch_file(&follow->watch, -1);
    follow->descriptor = -1;
    put(follow, 0, again, 0, final);
    put(follow, 0, source_rotated_find(follow->path, &place), place.offset, true);
}

/* Whether nothing more is to be expected from the present file, at whose end we are. */
static bool may_leave(const struct source_follow *follow, int64_t now, int64_t *due)
{
    struct stat status;
    if (follow->waiting_count == 0)
        return false;
    if (follow->final)
        return true;
    if (follow->waiting_count == 1 && (fstat(follow->waiting[0].descriptor, &status) != 0 || status.st_size == 0))
        return false;
    if (now - follow->left >= GRACE)
        return true;
    *due = follow->left + GRACE < *due ? follow->left + GRACE : *due;
    return false;
}

static enum source_follow_event at_end(struct source_follow *follow, int64_t now, int64_t *due)
{
    follow->at_end = true;
    if (!follow->following) {
        leave_file(follow);
        follow->ended = true;
        return SOURCE_FOLLOW_CUT;
    }
    if (may_leave(follow, now, due)) {
        leave_file(follow);
        return SOURCE_FOLLOW_CUT;
    }
    int64_t again = now + (source_watch_stands(&follow->watch) ? LOOK_WATCHED : LOOK_UNWATCHED);
    *due = again < *due ? again : *due;
    return SOURCE_FOLLOW_WAIT;
}

static enum source_follow_event failed(int64_t now, int64_t *due)
{
    *due = now + LOOK_FAILED < *due ? now + LOOK_FAILED : *due;
    return SOURCE_FOLLOW_FAILED;
}

/* The present file cannot be read: it is opened anew when it is asked for again. */
static enum source_follow_event cannot_read(struct source_follow *follow, int number, int64_t now, int64_t *due,
                                            struct fault *fault)
{
    struct source_place place = place_in(follow, follow->newest, follow->offset);
    explain(follow, number, fault);
    leave_file(follow);
    resume(follow, &place);
    return failed(now, due);
}

static enum source_follow_event read_file(struct source_follow *follow, struct buffer *out, size_t most, int64_t now,
                                          int64_t *due, struct fault *fault)
{
    bool grown = true;
    if (follow->at_end && was_truncated(follow, &grown)) {
        restart(follow);
        return SOURCE_FOLLOW_CUT;
    }
    if (follow->at_end && !grown)
        return at_end(follow, now, due);
    if (buffer_reserve(out, most)) {
        fault_memory(fault);
        return failed(now, due);
    }
    ssize_t size = pread(follow->descriptor, out->data + out->size, most, (off_t)follow->offset);
    if (size < 0)
        return cannot_read(follow, errno, now, due, fault);
    if (size == 0)
        return at_end(follow, now, due);
    struct piece *piece = follow->newest;
    if (piece->head_size == follow->offset && piece->head_size < SOURCE_FOLLOW_HEAD) {
        size_t head = SOURCE_FOLLOW_HEAD - piece->head_size;
        head = head < (size_t)size ? head : (size_t)size;
        memcpy(piece->head + piece->head_size, out->data + out->size, head);
        piece->head_size += head;
    }
    out->size += (size_t)size;
    follow->offset += (uint64_t)size;
    follow->given += (uint64_t)size;
    follow->left = now;
    follow->at_end = false;
    return SOURCE_FOLLOW_BYTES;
}

/* ---- what the owner calls ------------------------------------------------------------------------------------- */

enum source_follow_event source_follow_read(struct source_follow *follow, struct buffer *out, size_t most, int64_t now,
                                            int64_t *due, struct fault *fault)
{
    if (follow->ended)
        return SOURCE_FOLLOW_END;
    if (follow->following) {
        source_watch_taken(&follow->watch);
        source_watch_directory(&follow->watch, follow->path);
    }
    /* A file that is open is read on, whatever has become of its name. */
    if (follow->following || follow->descriptor < 0)
        look(follow, now, fault);
    if (follow->descriptor < 0 && (follow->waiting_count == 0 || begin(follow, now, fault)))
        return failed(now, due);
    return read_file(follow, out, most, now, due, fault);
}

int source_follow_descriptor(const struct source_follow *follow)
{
    return follow->watch.descriptor;
}

enum mp_error source_follow_open(const struct source_follow_settings *settings, struct source_follow **result,
                                 struct fault *fault)
{
    struct source_follow *follow = memory_allocate(sizeof(*follow));
    if (!follow)
        return fault_memory(fault);
    size_t size = strlen(settings->path);
    follow->descriptor = -1;
    source_watch_open(&follow->watch);
    follow->following = settings->follow;
    follow->path_hash = XXH3_64bits(settings->path, size);
    follow->before.path = follow->path_hash;
    follow->path = memory_copy_text(settings->path, size);
    if (!follow->path) {
        source_follow_free(follow);
        return fault_memory(fault);
    }
    *result = follow;
    const struct source_place *place = settings->place;
    if (!place || place->path != follow->path_hash)
        return MP_OK;
    follow->before = *place;
    if (place->inode && !resume(follow, place))
        fault_set(fault, MP_ERR_NOT_FOUND,
                  "the file that was read for %s up to byte %" PRIu64
                  " is there no more, or another now: beginning anew",
                  settings->path, place->offset);
    return MP_OK;
}

void source_follow_free(struct source_follow *follow)
{
    if (!follow)
        return;
    if (follow->descriptor >= 0)
        close(follow->descriptor);
    for (size_t i = 0; i < follow->waiting_count; i++)
        close(follow->waiting[i].descriptor);
    while (follow->oldest) {
        struct piece *piece = follow->oldest;
        follow->oldest = piece->next;
        memory_release(piece);
    }
    source_watch_close(&follow->watch);
    memory_release(follow->path);
    memory_release(follow);
}
