/*
 * salvage.h: the rows of a damaged store, found without SQLite.
 *
 * All pages are looked at: of the file, and all that lie in its log, whatever SQLite would say of either. On each the cells
 * of our tables are looked for, by the page's own directory and, where that and the page's list of free bytes do not make
 * up its content, at every byte. (Where they do, no row is missing; what lies between them is of what the page was
 * before: a message's body, say, with anything in it.) A row counts when its checksum fits, and a frame when its own does
 * as well. Where there are several of one key, the newest is taken (enum salvage_rank).
 *
 *     salvage_open(path, &salvage, &fault);           // reads all of it
 *     salvage_each(salvage, SALVAGE_TOPICS, each, context);
 *     salvage_close(salvage);
 *
 * Nothing is written, also not beside the file. It takes 24 bytes of memory a row, 24 a page of the log and 13 a page of
 * the file.
 */
#ifndef STORE_SALVAGE_H
#define STORE_SALVAGE_H

#include "store/store.h"

enum salvage_table {
    SALVAGE_NUMBERS,
    SALVAGE_TOPICS,
    SALVAGE_PATTERNS,
    SALVAGE_GROUPS,
    SALVAGE_SESSIONS,
    SALVAGE_BLOCKS,
    SALVAGE_FRAMES,
    SALVAGE_EVENTS,
    SALVAGE_SCHEDULE,
    SALVAGE_HASHES,
    SALVAGE_TABLES
};
const char *salvage_table_name(enum salvage_table table);

/* Where a row was found; what is better stands further down. Of one rank the newest is the best. */
enum salvage_rank {
    SALVAGE_HURT,    /* a frame that is whole in a row that is not: its offset, its time and its session may be wrong */
    SALVAGE_STALE,   /* of an earlier writing of the log, or of a turn that was not committed */
    SALVAGE_FREE,    /* on a page that is free, or in the free bytes of one */
    SALVAGE_EARLIER, /* on an older version of a page */
    SALVAGE_LOOSE,   /* on a page of a table, whose directory does not name it */
    SALVAGE_LIVE     /* where SQLite would find it in a sound store */
};

struct salvage_row {
    enum salvage_table table;
    enum salvage_rank rank;
    int64_t key;   /* of numbers: a hash of the name */
    size_t handle; /* for salvage_whole() */
    int64_t checksum;
    union {
        struct {
            const char *name;
            int64_t value;
        } number;
        struct store_topic topic;
        struct store_pattern pattern;
        struct store_group group;
        struct store_session session;
        struct {
            uint32_t group, block;
            const uint8_t *data;
            size_t size;
        } block;
        struct store_frame frame;
        struct store_event event;
        struct store_scheduled scheduled;
        struct store_hashes hashes;
    } of;
};

struct salvage;

/* What there was to look at. */
struct salvage_figures {
    uint64_t pages, log_pages;
    uint64_t unreadable;              /* pages that the disk does not give */
    uint64_t damaged[SALVAGE_TABLES]; /* rows that are there, and do not fit their checksums */
    uint64_t gone[SALVAGE_TABLES];    /* of these, those of whose keys there is no sound row */
    uint64_t nothing;                 /* places where a page says that there is a row, and is none */
    uint64_t sound[SALVAGE_TABLES];   /* keys of which there is a sound row */
    bool log_damaged;
};

/*
 * Reads the store at PATH and holds its lock, if there is one, until the close. MP_ERR_BUSY: a relay has it;
 * MP_ERR_NOT_FOUND; MP_ERR_DENIED; MP_ERR_DAMAGED: there is no row of a store in it; MP_ERR_INTERRUPTED; MP_ERR_MEMORY.
 */
enum mp_error salvage_open(const char *path, store_progress *progress, void *context, struct salvage **salvage,
                           struct fault *fault);
void salvage_close(struct salvage *salvage);
const struct salvage_figures *salvage_figures(const struct salvage *salvage);

/*
 * Calls EACH for the rows of TABLE of RANK or better, in the order of their keys (of numbers: in none): of each key the
 * best one. Frames and scheduled publications come without their bytes. What EACH
 * is given is good during the call; a return of other than MP_OK ends the walk and is returned.
 */
enum mp_error salvage_each(struct salvage *salvage, enum salvage_table table, enum salvage_rank rank,
                           enum mp_error (*each)(void *context, const struct salvage_row *row), void *context,
                           struct fault *fault);

/* The row with HANDLE once more, a frame's with its bytes: good until the next call. False: it cannot be read any more. */
bool salvage_whole(struct salvage *salvage, size_t handle, struct salvage_row *row);

#endif
