/*
 * msend's outbox: processes take frames into segments and deliver them, one after the other and side by side, to a relay
 * that remembers its sessions and refuses some for good. The relay is on another machine: what it has, it has.
 */
#include "power_files.h"

#include "cli/letters_file.h"
#include "cli/spool.h"
#include "cli/spool_refused.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ACTS = 60, TAKEN_MAX = 200, ARRIVALS_MAX = 600, SESSIONS_MAX = 100, HANDLES = 2, LARGE_BODY = 30000 };

/* A frame that was handed to the spool. Its messages say its number; the bad ones are refused by the relay. */
struct taken {
    uint64_t producer, sequence;
    uint32_t count;
    bool bad;
    size_t kept; /* the moment from which it is told to be on the disk; NEVER */
};
/* The relay has applied one: a frame, or what it refused. */
struct arrival {
    size_t at;
    unsigned number, session; /* the frame's number in `taken`; the session's place */
};
static struct taken taken[TAKEN_MAX];
static unsigned taken_count;
static struct arrival arrivals[ARRIVALS_MAX];
static unsigned arrivals_count, sessions_count;
static uint64_t applied[SESSIONS_MAX]; /* by a session's id, which is its place and one */

/* A process of msend. */
struct handle {
    struct spool *spool;
    uint64_t segment, session; /* that it has a link for */
};

static const char *topic_of(unsigned number)
{
    return number % 3 ? "orders" : "mail";
}

static size_t make_body(unsigned number, uint32_t index, char body[LARGE_BODY + 40])
{
    size_t size = (size_t)snprintf(body, 40, "%u %u ", number, index), filler = number % 9 == 0 ? LARGE_BODY : number;
    memset(body + size, 'a' + (int)(number % 26), filler);
    return size + filler;
}

/* ---- taking ------------------------------------------------------------------------------------------------------- */

static bool take(struct spool *spool, struct taken *item, unsigned number, char words[WORDS])
{
    char body[LARGE_BODY + 40];
    struct frame_builder frame = {0};
    struct fault fault = {0};
    enum mp_error error = spool_origin(spool, &item->producer, &item->sequence, &fault);
    if (!error)
        error = frame_begin(&frame, item->producer, item->sequence);
    for (uint32_t i = 0; !error && i < item->count; i++)
        error = frame_add(&frame, body, make_body(number, i, body), NULL, 0);
    frame_finish(&frame, 1);
    if (!error)
        error = spool_append(spool, topic_of(number), 0, &frame, &fault);
    frame_builder_free(&frame);
    return !error || power_wrong(words, "nothing can be taken: %s", fault_text(&fault));
}

static void take_one(struct life *life, struct handle *handle)
{
    if (taken_count + 1 == TAKEN_MAX)
        return;
    struct taken *item = &taken[taken_count];
    *item = (struct taken){.count = 1 + life_below(life, 4), .bad = life_below(life, 12) == 0, .kept = NEVER};
    if (!take(handle->spool, item, taken_count++, life->wrong))
        return;
    item->kept = life_moment(life);
    life->promises += item->count;
}

/* ---- delivering --------------------------------------------------------------------------------------------------- */

/* The number of the frame that ENTRY is; TAKEN_MAX: none that was taken. */
static unsigned frame_number(const struct spool_entry *entry)
{
    char body[LARGE_BODY + 40];
    struct frame frame;
    struct record record;
    if (frame_open(&frame, entry->data, entry->size, true, NULL))
        return TAKEN_MAX;
    for (unsigned number = 0; number < taken_count; number++) {
        const struct taken *item = &taken[number];
        if (item->producer != frame.producer || item->sequence != frame.sequence)
            continue;
        bool same =
            item->count == frame.count && entry->count == item->count && strcmp(entry->topic, topic_of(number)) == 0;
        struct frame_cursor cursor = frame_cursor(&frame);
        for (uint32_t i = 0; same && i < item->count; i++)
            same = frame_next(&cursor, &record) && record.size == make_body(number, i, body) &&
                   memcmp(body, record.body, record.size) == 0;
        if (same)
            return number;
    }
    return TAKEN_MAX;
}

/* The relay greets: the session goes on, or is a new one. */
static bool greet(struct handle *handle, char words[WORDS])
{
    struct fault fault = {0};
    uint64_t session = spool_session_of_next(handle->spool), delivered;
    if (session == 0 && sessions_count + 1 < SESSIONS_MAX) {
        session = ++sessions_count;
        applied[session] = 0;
    }
    if (session == 0 || session > sessions_count)
        return power_wrong(words, "it asks for session %" PRIu64 ", which no relay gave", session);
    handle->segment = spool_segment_of_next(handle->spool);
    handle->session = session;
    enum mp_error error = spool_session(handle->spool, session, applied[session], &delivered, &fault);
    return !error || error == MP_ERR_NOT_FOUND || power_wrong(words, "no session: %s", fault_text(&fault));
}

/* The relay takes the frame, or refuses it; the spool hears of it. LIFE: whose that is; NULL: it was before. */
static bool publish(struct handle *handle, const struct spool_entry *entry, const char *folder, const struct life *life,
                    char words[WORDS])
{
    char directory[FOLDER_ROOM + 8];
    struct fault fault = {0};
    unsigned number = frame_number(entry);
    uint64_t *last = &applied[handle->session];
    if (number == TAKEN_MAX)
        return power_wrong(words, "what is delivered was never taken, or is altered");
    if (entry->number != *last + 1)
        return power_wrong(words, "frame %u has number %" PRIu64 " in its session, and the relay expects %" PRIu64,
                           number, entry->number, *last + 1);
    snprintf(directory, sizeof directory, "%s/out", folder);
    enum mp_error error;
    if (taken[number].bad) {
        error = spool_keep_refused(directory, entry, MP_ERR_OVERFLOW, "too large", &fault);
        if (!error)
            error = spool_refused(handle->spool, &fault);
    } else {
        if (arrivals_count < ARRIVALS_MAX)
            arrivals[arrivals_count++] =
                (struct arrival){life ? life_moment(life) : 0, number, (unsigned)handle->session};
        ++*last;
        error = spool_delivered(handle->spool, &fault);
    }
    return !error || power_wrong(words, "what was delivered: %s", fault_text(&fault));
}

/* Delivers the next frame; *MORE: there may be another one for this process. */
static bool deliver(struct handle *handle, const char *folder, const struct life *life, bool *more, char words[WORDS])
{
    struct spool_entry entry;
    struct fault fault = {0};
    enum mp_error error = spool_next(handle->spool, &entry, &fault);
    *more = !error;
    if (!error && spool_segment_of_next(handle->spool) != handle->segment) {
        if (!greet(handle, words))
            return false;
        uint64_t segment = handle->segment;
        error = spool_next(handle->spool, &entry, &fault);
        if (!error && spool_segment_of_next(handle->spool) != segment)
            return true; /* that one is delivered: this is another */
    }
    if (error == MP_ERR_NOT_FOUND || error == MP_ERR_BUSY)
        return true;
    if (error)
        return power_wrong(words, "nothing can be delivered: %s", fault_text(&fault));
    return publish(handle, &entry, folder, life, words);
}

/* ---- a life ------------------------------------------------------------------------------------------------------- */

static bool open_handle(struct handle *handle, const char *folder, char words[WORDS])
{
    char directory[FOLDER_ROOM + 8];
    struct fault fault = {0};
    snprintf(directory, sizeof directory, "%s/out", folder);
    *handle = (struct handle){0};
    if (!spool_open(directory, &handle->spool, &fault))
        return true;
    handle->spool = NULL;
    return power_wrong(words, "the spool cannot be opened: %s", fault_text(&fault));
}

static void close_handle(struct handle *handle)
{
    spool_close(handle->spool);
    *handle = (struct handle){0};
}

static void live(struct life *life)
{
    struct handle handles[HANDLES] = {{0}};
    taken_count = arrivals_count = sessions_count = 0;
    for (unsigned i = 0; i < ACTS && !life->wrong[0]; i++) {
        struct handle *handle = &handles[life_below(life, 4) == 0];
        bool more = true;
        if (!handle->spool && !open_handle(handle, life->folder, life->wrong))
            break;
        unsigned chance = life_below(life, 100);
        if (chance < 45)
            take_one(life, handle);
        else if (chance < 80)
            deliver(handle, life->folder, life, &more, life->wrong);
        else if (chance < 90)
            while (more && deliver(handle, life->folder, life, &more, life->wrong))
                ;
        else
            close_handle(handle);
    }
    for (unsigned i = 0; i < HANDLES; i++)
        close_handle(&handles[i]);
}

/* ---- what a cut has left ------------------------------------------------------------------------------------------ */

/* How many letters of a frame are in what was refused. */
static bool count_refused(const char *folder, unsigned counts[TAKEN_MAX], char words[WORDS])
{
    char path[FOLDER_ROOM + 32];
    struct letters_file file;
    struct letter_entry entry;
    struct fault fault = {0};
    snprintf(path, sizeof path, "%s/out/refused.jsonl", folder);
    enum mp_error error = letters_file_open(&file, path, false, &fault);
    while (!error && !letters_file_next(&file, &entry, &fault)) {
        unsigned number = (unsigned)strtoul((const char *)entry.item.record.body, NULL, 10);
        if (number >= taken_count || !taken[number].bad)
            power_wrong(words, "a letter of what was refused is of nothing that was");
        else
            counts[number]++;
    }
    if (error && error != MP_ERR_NOT_FOUND)
        power_wrong(words, "what was refused: %s", fault_text(&fault));
    letters_file_close(&file);
    return words[0] == '\0';
}

/* Each producer's frames have come in the order in which they were taken. */
static void check_order(char words[WORDS])
{
    for (unsigned i = 0; i < arrivals_count; i++)
        for (unsigned j = i + 1; j < arrivals_count; j++) {
            const struct taken *one = &taken[arrivals[i].number], *other = &taken[arrivals[j].number];
            if (one->producer == other->producer && one->sequence > other->sequence)
                power_wrong(words, "frame %u came before frame %u", arrivals[i].number, arrivals[j].number);
        }
}

static void check_frames(const char *folder, size_t moment, char words[WORDS])
{
    unsigned came[TAKEN_MAX] = {0}, refused[TAKEN_MAX] = {0};
    if (!count_refused(folder, refused, words))
        return;
    for (unsigned i = 0; i < arrivals_count; i++)
        came[arrivals[i].number]++;
    for (unsigned number = 0; number < taken_count; number++) {
        const struct taken *item = &taken[number];
        if (came[number] > 1)
            power_wrong(words, "frame %u came %u times", number, came[number]);
        if (item->kept > moment)
            continue;
        if (item->bad && refused[number] < item->count)
            power_wrong(words, "frame %u was refused, and %u of its %u messages are kept", number, refused[number],
                        item->count);
        if (!item->bad && came[number] == 0)
            power_wrong(words, "frame %u is lost", number);
    }
    check_order(words);
}

/* What the relay had at MOMENT. */
static void go_back(size_t moment)
{
    memset(applied, 0, sizeof applied);
    unsigned kept = 0;
    for (unsigned i = 0; i < arrivals_count; i++)
        if (arrivals[i].at <= moment) {
            applied[arrivals[i].session]++;
            arrivals[kept++] = arrivals[i];
        }
    arrivals_count = kept;
}

/* Whoever comes next delivers all that is there, and what it takes itself. */
static void go_on(const char *folder, char words[WORDS])
{
    struct handle handle;
    struct taken *item = &taken[taken_count];
    struct spool_status status;
    char directory[FOLDER_ROOM + 8];
    bool more = true;
    if (!open_handle(&handle, folder, words))
        return;
    *item = (struct taken){.count = 2};
    if (take(handle.spool, item, taken_count, words))
        taken_count++;
    while (more && deliver(&handle, folder, NULL, &more, words) && !words[0])
        ;
    close_handle(&handle);
    snprintf(directory, sizeof directory, "%s/out", folder);
    if (spool_look(directory, &status, NULL) || status.messages > 0)
        power_wrong(words, "something stays in the spool");
}

/*
 * SQLite removes a log's index before the log, and no file system that keeps a journal turns that around. (An index without
 * its log, or beside a new one that is empty, says to lib/store that the log was lost.)
 */
static void drop_indexes(const char *folder)
{
    char path[FOLDER_ROOM + 32];
    struct stat status;
    for (unsigned number = 1; number <= TAKEN_MAX; number++) {
        snprintf(path, sizeof path, "%s/out/%08u.db-wal", folder, number);
        if (stat(path, &status) == 0 && status.st_size > 0)
            continue;
        snprintf(path, sizeof path, "%s/out/%08u.db-shm", folder, number);
        unlink(path);
    }
}

static bool look(const struct life *life, size_t moment, const char *folder, char words[WORDS])
{
    static struct arrival all[ARRIVALS_MAX];
    unsigned all_count = arrivals_count, all_taken = taken_count, all_sessions = sessions_count;
    (void)life;
    memcpy(all, arrivals, sizeof all);
    drop_indexes(folder);
    go_back(moment);
    go_on(folder, words);
    if (!words[0])
        check_frames(folder, moment, words);
    memcpy(arrivals, all, sizeof all);
    arrivals_count = all_count;
    taken_count = all_taken;
    sessions_count = all_sessions;
    return words[0] == '\0';
}

const struct kind spool_kind = {.name = "spool", .live = live, .look = look};
