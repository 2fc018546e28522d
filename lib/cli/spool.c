#include "cli/spool.h"

#include "base/clock.h"
#include "base/path.h"
#include "message/names.h"
#include "store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LOG = 1,           /* the number of the one topic whose frames these are */
    SWEEP_FRAMES = 64, /* delivered ones that are removed in one go */
    NAMES_MAX = 4096   /* topics that a segment knows */
};

/* A segment that this process has. Offsets count messages from 0; a frame's `request` is its number from 1. */
struct segment {
    uint64_t number; /* in the directory; 0: there is none */
    struct store *store;
    char *topics[NAMES_MAX]; /* by the number of their row, from LOG + 1 */
    uint32_t topics_count;
    uint64_t producer;
    uint64_t session;
    uint64_t base;    /* frame numbers up to this belong to earlier sessions */
    uint64_t next;    /* offset of the frame to be delivered next */
    uint64_t end;     /* of the next frame to be appended */
    uint64_t frames;  /* the number of the last one */
    uint32_t unswept; /* delivered frames whose rows are still there */
    bool unsure;      /* a frame that could not be appended may be there all the same */
};

struct spool {
    char directory[PATH_BYTES];
    int lock;
    struct segment own;
    struct segment adopted;
    struct segment *current; /* whose frame spool_next() gave */
    struct store_frame frame;
    struct blob *blob;
};

/* ---- the directory -------------------------------------------------------------------------------------------- */

static enum mp_error lock_take(struct spool *spool, struct fault *fault)
{
    int result;
    do
        result = flock(spool->lock, LOCK_EX);
    while (result != 0 && errno == EINTR);
    return result == 0 ? MP_OK : fault_system(fault, MP_ERR_IO, errno, "cannot lock the spool %s", spool->directory);
}

static void lock_drop(const struct spool *spool)
{
    flock(spool->lock, LOCK_UN);
}

static void segment_path(const char *directory, uint64_t number, const char *ending, char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%.4000s/%08" PRIu64 ".db%s", directory, number, ending);
}

/* The number in a segment's name; 0: it is none. */
static uint64_t segment_number(const char *name)
{
    char *end;
    if (*name < '0' || *name > '9')
        return 0;
    errno = 0;
    uint64_t number = strtoull(name, &end, 10);
    return errno || strcmp(end, ".db") != 0 ? 0 : number;
}

/* The lowest number above AFTER, and the highest of all; 0: none. */
static enum mp_error look_around(const char *directory, uint64_t after, uint64_t *lowest, uint64_t *highest,
                                 struct fault *fault)
{
    DIR *folder = opendir(directory);
    if (!folder)
        return fault_system(fault, errno == ENOENT ? MP_ERR_NOT_FOUND : MP_ERR_IO, errno, "cannot read the spool %s",
                            directory);
    const struct dirent *entry;
    *lowest = *highest = 0;
    while ((entry = readdir(folder))) {
        uint64_t number = segment_number(entry->d_name);
        if (number > *highest)
            *highest = number;
        if (number > after && (*lowest == 0 || number < *lowest))
            *lowest = number;
    }
    closedir(folder);
    return MP_OK;
}

/* ---- a segment ------------------------------------------------------------------------------------------------ */

static void segment_close(struct segment *segment)
{
    for (uint32_t i = 0; i < segment->topics_count; i++)
        free(segment->topics[i]);
    store_close(segment->store);
    *segment = (struct segment){0};
}

/* What stands beside a segment without its database is nothing. */
static void remove_rest(const struct spool *spool, uint64_t number)
{
    static const char *const endings[] = {"-wal", "-shm", ".lock"};
    char path[PATH_BYTES];
    for (unsigned i = 0; i < sizeof endings / sizeof *endings; i++) {
        segment_path(spool->directory, number, endings[i], path);
        unlink(path);
    }
}

/*
 * Removes its files; DIR/lock is held, and the segment's own until the last is gone. When power fails before the database
 * is gone for good its log has to be there: what that says was delivered would come to life again.
 */
static void segment_remove(const struct spool *spool, struct segment *segment)
{
    char path[PATH_BYTES];
    segment_path(spool->directory, segment->number, "", path);
    if (unlink(path) == 0 && path_flush_name(path) == MP_OK)
        remove_rest(spool, segment->number);
    segment_close(segment);
}

static enum mp_error add_topic(void *context, const struct store_topic *row)
{
    struct segment *segment = context;
    if (row->id <= LOG || row->id - LOG - 1 != segment->topics_count || segment->topics_count == NAMES_MAX)
        return MP_ERR_DAMAGED;
    char *name = strdup(row->name);
    if (!name)
        return MP_ERR_MEMORY;
    segment->topics[segment->topics_count++] = name;
    return MP_OK;
}

static enum mp_error get_number(struct store *store, const char *name, uint64_t *value, struct fault *fault)
{
    int64_t number = 0;
    enum mp_error error = store_get_number(store, name, &number, fault);
    *value = (uint64_t)number;
    return error == MP_ERR_NOT_FOUND ? MP_OK : error;
}

/* A new segment's producer: of 64 random bits, and not 0. */
static enum mp_error make_producer(struct segment *segment, struct fault *fault)
{
    uint64_t producer;
    if (getrandom(&producer, sizeof producer, 0) != (ssize_t)sizeof producer)
        return fault_system(fault, MP_ERR_IO, errno, "no random numbers are to be had");
    segment->producer = producer | 1;
    enum mp_error error = store_begin(segment->store, fault);
    if (!error)
        error = store_put_number(segment->store, "producer", (int64_t)segment->producer, fault);
    return error ? error : store_commit(segment->store, fault);
}

static enum mp_error segment_read(struct segment *segment, struct fault *fault)
{
    struct store_frame first, last;
    enum mp_error error = store_each_topic(segment->store, add_topic, segment, fault);
    if (!error)
        error = get_number(segment->store, "producer", &segment->producer, fault);
    if (!error)
        error = get_number(segment->store, "session", &segment->session, fault);
    if (!error)
        error = get_number(segment->store, "base", &segment->base, fault);
    if (error)
        return error;
    error = store_last_frame(segment->store, LOG, &last, fault);
    if (error == MP_ERR_NOT_FOUND)
        return segment->producer ? MP_OK : make_producer(segment, fault);
    if (!error)
        error = store_find_frame(segment->store, LOG, 0, &first, fault);
    if (error)
        return error;
    segment->next = first.first;
    segment->end = last.first + last.count;
    segment->frames = last.request;
    return MP_OK;
}

static enum mp_error segment_open(const struct spool *spool, uint64_t number, struct segment *segment,
                                  struct fault *fault)
{
    char path[PATH_BYTES];
    segment_path(spool->directory, number, "", path);
    *segment = (struct segment){.number = number};
    enum mp_error error = store_open(path, &segment->store, fault);
    if (!error)
        error = segment_read(segment, fault);
    if (error) {
        segment_close(segment);
        if (fault && fault->code == MP_OK)
            fault_set(fault, error, "%s: this is no segment of a spool", path);
    }
    return error;
}

static bool is_empty(const struct segment *segment)
{
    return segment->next == segment->end;
}

/* Removes the rows of what was delivered, and notes that frames are numbered from BASE. */
static enum mp_error segment_sweep_to(struct segment *segment, uint64_t base, struct fault *fault)
{
    struct store_deleted deleted;
    enum mp_error error = store_begin(segment->store, fault);
    if (!error && base != segment->base)
        error = store_put_number(segment->store, "base", (int64_t)base, fault);
    do
        if (!error)
            error = store_delete_frames(segment->store, LOG, segment->next, SWEEP_FRAMES, UINT64_MAX, &deleted, fault);
    while (!error && deleted.rows == SWEEP_FRAMES);
    if (!error)
        error = store_commit(segment->store, fault);
    if (error) {
        store_rollback(segment->store, NULL);
        return error;
    }
    segment->unswept = 0;
    segment->base = base;
    return MP_OK;
}

static enum mp_error segment_sweep(struct segment *segment, struct fault *fault)
{
    return segment_sweep_to(segment, segment->base, fault);
}

/* ---- life ----------------------------------------------------------------------------------------------------- */

static enum mp_error check_directory(const char *directory, struct fault *fault)
{
    struct stat status;
    if (mkdir(directory, 0700) != 0 && errno != EEXIST)
        return fault_system(fault, errno == EACCES || errno == EROFS ? MP_ERR_DENIED : MP_ERR_IO, errno,
                            "cannot make the spool %s", directory);
    if (path_flush_name(directory)) /* it may have been made by a process that was killed before this */
        return fault_system(fault, MP_ERR_IO, errno, "cannot flush the directory of the spool %s", directory);
    if (stat(directory, &status) != 0)
        return fault_system(fault, MP_ERR_IO, errno, "cannot look at the spool %s", directory);
    if (!S_ISDIR(status.st_mode))
        return fault_set(fault, MP_ERR_IO, "the spool %s is not a directory", directory);
    if (path_is_foreign(status.st_uid))
        return fault_set(fault, MP_ERR_DENIED,
                         "the spool %s belongs to another user (%lu): choose a directory of your own", directory,
                         (unsigned long)status.st_uid);
    if (status.st_mode & 022)
        return fault_set(fault, MP_ERR_DENIED, "others may write to the spool %s (mode %03o): run `chmod go-w %s`",
                         directory, (unsigned)(status.st_mode & 0777), directory);
    return MP_OK;
}

enum mp_error spool_open(const char *directory, struct spool **result, struct fault *fault)
{
    if (strlen(directory) > PATH_BYTES - 96)
        return fault_set(fault, MP_ERR_TOO_LARGE, "the spool's path is too long");
    struct spool *spool = calloc(1, sizeof *spool);
    if (!spool)
        return fault_memory(fault);
    snprintf(spool->directory, sizeof spool->directory, "%s", directory);
    spool->lock = -1;
    char path[PATH_BYTES + 8];
    enum mp_error error = check_directory(directory, fault);
    if (!error) {
        snprintf(path, sizeof path, "%s/lock", spool->directory);
        spool->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (spool->lock < 0)
            error = fault_system(fault, errno == EACCES || errno == EROFS ? MP_ERR_DENIED : MP_ERR_IO, errno,
                                 "cannot open %s", path);
    }
    if (error) {
        spool_close(spool);
        return error;
    }
    *result = spool;
    return MP_OK;
}

static void forget_frame(struct spool *spool)
{
    blob_drop(spool->blob);
    spool->blob = NULL;
}

/* Whether a frame stands in SEGMENT, or nobody can say. */
static bool may_have_frames(const struct segment *segment)
{
    struct store_frame frame;
    return store_last_frame(segment->store, LOG, &frame, NULL) != MP_ERR_NOT_FOUND;
}

/* Removes SEGMENT when nothing in it waits. */
static void segment_leave(struct spool *spool, struct segment *segment)
{
    if (segment->number == 0)
        return;
    if (is_empty(segment) && segment->unsure && may_have_frames(segment)) {
        segment_close(segment); /* whoever comes next looks again */
    } else if (!is_empty(segment)) {
        segment_sweep(segment, NULL); /* if it fails the session's number tells what was delivered */
        segment_close(segment);
    } else if (lock_take(spool, NULL)) {
        segment_close(segment);
    } else {
        segment_remove(spool, segment);
        lock_drop(spool);
    }
}

void spool_close(struct spool *spool)
{
    if (!spool)
        return;
    forget_frame(spool);
    segment_leave(spool, &spool->adopted);
    segment_leave(spool, &spool->own);
    if (spool->lock >= 0)
        close(spool->lock);
    free(spool);
}

/* ---- taking --------------------------------------------------------------------------------------------------- */

/* Nothing of an earlier segment of this NUMBER is there any more, also when power fails while the new one is made. */
static enum mp_error clear_place(const struct spool *spool, uint64_t number, struct fault *fault)
{
    char path[PATH_BYTES];
    remove_rest(spool, number);
    segment_path(spool->directory, number, "", path);
    return path_flush_name(path) ? fault_system(fault, MP_ERR_IO, errno, "cannot flush the spool %s", spool->directory)
                                 : MP_OK;
}

/* A segment for this process, behind all others. */
static enum mp_error own_make(struct spool *spool, struct fault *fault)
{
    uint64_t lowest, highest;
    enum mp_error error = lock_take(spool, fault);
    if (error)
        return error;
    error = look_around(spool->directory, 0, &lowest, &highest, fault);
    if (!error)
        error = clear_place(spool, highest + 1, fault);
    if (!error)
        error = segment_open(spool, highest + 1, &spool->own, fault);
    lock_drop(spool);
    return error;
}

enum mp_error spool_origin(struct spool *spool, uint64_t *producer, uint64_t *sequence, struct fault *fault)
{
    enum mp_error error = spool->own.number ? MP_OK : own_make(spool, fault);
    *producer = spool->own.producer;
    *sequence = spool->own.end + 1;
    return error;
}

/* The row of TOPIC, made when it is new. */
static enum mp_error topic_row(struct segment *segment, const char *topic, uint32_t *id, bool *made,
                               struct fault *fault)
{
    *made = false;
    for (uint32_t i = segment->topics_count; i-- > 0;)
        if (strcmp(segment->topics[i], topic) == 0) {
            *id = LOG + 1 + i;
            return MP_OK;
        }
    if (segment->topics_count == NAMES_MAX)
        return fault_set(fault, MP_ERR_FULL, "the spool has messages for %d topics, and can have no more", NAMES_MAX);
    struct store_topic row = {.id = LOG + 1 + segment->topics_count, .name = topic, .created = clock_wall()};
    enum mp_error error = store_put_topic(segment->store, &row, fault);
    if (!error && (error = add_topic(segment, &row)))
        return fault_memory(fault);
    *id = row.id;
    *made = !error;
    return error;
}

enum mp_error spool_append(struct spool *spool, const char *topic, int64_t at, const struct frame_builder *frame,
                           struct fault *fault)
{
    struct segment *own = &spool->own;
    uint32_t id = 0;
    bool made = false;
    if (frame->count == 0 || frame->producer != own->producer || frame->sequence != own->end + 1)
        return fault_set(fault, MP_ERR_INVALID, "a frame that is not the spool's next");
    if (store_free_space(own->store) < STORE_RESERVE / 2)
        return fault_set(fault, MP_ERR_FULL, "the disk of the spool %s is nearly full: less than 32 MiB are free",
                         spool->directory);
    enum mp_error error = store_begin(own->store, fault);
    if (!error)
        error = topic_row(own, topic, &id, &made, fault);
    struct store_frame row = {.topic = LOG,
                              .first = own->end,
                              .count = frame->count,
                              .session = (uint64_t)at,
                              .request = own->frames + 1,
                              .time = clock_wall(),
                              .target = id,
                              .data = frame->bytes.data,
                              .size = frame->bytes.size};
    if (!error)
        error = store_add_frame(own->store, &row, fault);
    if (!error)
        error = store_commit(own->store, fault);
    if (error) {
        if (made)
            free(own->topics[--own->topics_count]);
        store_rollback(own->store, NULL);
        own->unsure = true; /* its commit may stand in the log, only its flush failed */
        return error;
    }
    own->frames++;
    own->end += frame->count;
    return MP_OK;
}

/* ---- delivering ----------------------------------------------------------------------------------------------- */

/* Takes over what a process that has ended left behind, if it is the first. MP_ERR_BUSY: that process is there. */
static enum mp_error adopt(struct spool *spool, struct fault *fault)
{
    enum mp_error error = lock_take(spool, fault);
    while (!error) {
        uint64_t lowest, highest;
        error = look_around(spool->directory, 0, &lowest, &highest, fault);
        if (error || lowest == 0 || lowest == spool->own.number)
            break;
        error = segment_open(spool, lowest, &spool->adopted, fault);
        if (error || !is_empty(&spool->adopted))
            break;
        segment_remove(spool, &spool->adopted); /* its process ended before it had taken anything, or right after */
    }
    lock_drop(spool);
    return error;
}

/* Our own segment is empty: when others wait behind it, it makes way. */
static enum mp_error make_way(struct spool *spool, struct fault *fault)
{
    uint64_t lowest, highest;
    enum mp_error error = spool->own.unswept ? segment_sweep(&spool->own, fault) : MP_OK;
    if (error || (error = lock_take(spool, fault)))
        return error;
    error = look_around(spool->directory, spool->own.number, &lowest, &highest, fault);
    if (!error && lowest > 0)
        segment_remove(spool, &spool->own);
    lock_drop(spool);
    return error;
}

/* Finds the segment whose turn it is. MP_ERR_NOT_FOUND: nothing waits. */
static enum mp_error find_segment(struct spool *spool, struct fault *fault)
{
    spool->current = NULL;
    if (spool->adopted.number && is_empty(&spool->adopted))
        segment_leave(spool, &spool->adopted);
    if (!spool->adopted.number) {
        enum mp_error error = adopt(spool, fault);
        if (error)
            return error;
    }
    if (spool->adopted.number)
        spool->current = &spool->adopted;
    else if (spool->own.number && !is_empty(&spool->own))
        spool->current = &spool->own;
    else if (spool->own.number)
        return make_way(spool, fault) ? fault->code : MP_ERR_NOT_FOUND;
    return spool->current ? MP_OK : MP_ERR_NOT_FOUND;
}

enum mp_error spool_next(struct spool *spool, struct spool_entry *entry, struct fault *fault)
{
    struct segment *segment = spool->current;
    if (!segment || is_empty(segment)) {
        enum mp_error error = find_segment(spool, fault);
        if (error)
            return error;
        segment = spool->current;
    }
    if (!spool->blob) {
        enum mp_error error = store_read_frame(segment->store, LOG, segment->next, &spool->frame, &spool->blob, fault);
        if (error == MP_ERR_NOT_FOUND || (!error && spool->frame.first != segment->next))
            error = fault_set(fault, MP_ERR_DAMAGED, "%s: message %" PRIu64 " is missing", store_path(segment->store),
                              segment->next + 1);
        if (!error && (spool->frame.target <= LOG || spool->frame.target - LOG > segment->topics_count))
            error = fault_set(fault, MP_ERR_DAMAGED, "%s: message %" PRIu64 " is for no topic",
                              store_path(segment->store), segment->next + 1);
        if (error) {
            forget_frame(spool);
            return error;
        }
    }
    *entry = (struct spool_entry){.topic = segment->topics[spool->frame.target - LOG - 1],
                                  .at = (int64_t)spool->frame.session,
                                  .number = segment->session ? spool->frame.request - segment->base : 0,
                                  .count = spool->frame.count,
                                  .data = spool->frame.data,
                                  .size = spool->frame.size};
    return MP_OK;
}

/* Not its number, which may have been that of one that is gone. */
uint64_t spool_segment_of_next(const struct spool *spool)
{
    return spool->current ? spool->current->producer : 0;
}

uint64_t spool_session_of_next(const struct spool *spool)
{
    return spool->current ? spool->current->session : 0;
}

static enum mp_error put_session(struct segment *segment, uint64_t session, uint64_t base, struct fault *fault)
{
    enum mp_error error = store_begin(segment->store, fault);
    if (!error)
        error = store_put_number(segment->store, "session", (int64_t)session, fault);
    if (!error)
        error = store_put_number(segment->store, "base", (int64_t)base, fault);
    if (!error)
        error = store_commit(segment->store, fault);
    if (error) {
        store_rollback(segment->store, NULL);
        return error;
    }
    segment->session = session;
    segment->base = base;
    return MP_OK;
}

/* Moves on by the frame at hand. */
static void step_over(struct spool *spool, struct segment *segment)
{
    segment->next = spool->frame.first + spool->frame.count;
    segment->unswept++;
    forget_frame(spool);
}

enum mp_error spool_session(struct spool *spool, uint64_t session, uint64_t applied, uint64_t *delivered,
                            struct fault *fault)
{
    struct segment *segment = spool->current;
    struct spool_entry entry;
    enum mp_error error = spool_next(spool, &entry, fault);
    *delivered = 0;
    if (error)
        return error;
    if (session != segment->session)
        return put_session(segment, session, spool->frame.request - 1 - applied, fault);
    while (entry.number <= applied) {
        *delivered += entry.count;
        step_over(spool, segment);
        if (is_empty(segment))
            return MP_OK;
        if ((error = spool_next(spool, &entry, fault)))
            return error;
    }
    return MP_OK;
}

enum mp_error spool_delivered(struct spool *spool, struct fault *fault)
{
    struct segment *segment = spool->current;
    step_over(spool, segment);
    bool much = segment->unswept >= SWEEP_FRAMES;
    return much ? segment_sweep(segment, fault) : MP_OK;
}

enum mp_error spool_refused(struct spool *spool, struct fault *fault)
{
    struct segment *segment = spool->current;
    step_over(spool, segment);
    return segment_sweep_to(segment, segment->base + 1, fault);
}

enum mp_error spool_forget_session(struct spool *spool, struct fault *fault)
{
    struct segment *segment = spool->current;
    return segment && segment->session ? put_session(segment, 0, 0, fault) : MP_OK;
}

/* ---- looking -------------------------------------------------------------------------------------------------- */

static enum mp_error count_frame(void *context, const struct store_frame *frame)
{
    struct spool_status *status = context;
    if (status->oldest == 0 || frame->time < status->oldest)
        status->oldest = frame->time;
    status->messages += frame->count;
    status->frames++;
    status->bytes += frame->size;
    return MP_OK;
}

/* The process that has the segment at PATH; 0: nobody. */
static long holder_of(const char *directory, uint64_t number)
{
    char path[PATH_BYTES], text[24] = "";
    segment_path(directory, number, ".lock", path);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (descriptor < 0)
        return 0;
    bool held = flock(descriptor, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    ssize_t got = held ? pread(descriptor, text, sizeof text - 1, 0) : 0;
    close(descriptor);
    text[got > 0 ? got : 0] = '\0';
    return held ? strtol(text, NULL, 10) : 0;
}

enum mp_error spool_look(const char *directory, struct spool_status *status, struct fault *fault)
{
    uint64_t lowest = 0, highest;
    enum mp_error error;
    *status = (struct spool_status){0};
    while (!(error = look_around(directory, lowest, &lowest, &highest, fault)) && lowest > 0) {
        char path[PATH_BYTES];
        struct store *store;
        uint64_t before = status->messages;
        segment_path(directory, lowest, "", path);
        error = store_open_reader(path, &store, fault);
        if (error == MP_ERR_NOT_FOUND)
            continue; /* delivered meanwhile */
        if (error)
            return error;
        error = store_each_frame(store, LOG, 0, count_frame, status, fault);
        store_close(store);
        if (error)
            return error;
        long process = holder_of(directory, lowest);
        status->segments += status->messages > before;
        status->busy += process > 0;
        status->process = process > 0 ? process : status->process;
    }
    return error;
}
