/*
 * store.h: the relay's one file: an SQLite database in WAL mode, flushed at each commit.
 *
 * The store keeps rows and knows nothing of what they mean; lib/queue does. One process writes, under a lock beside
 * the file (PATH.lock, which holds the writer's process id); others may read while it does.
 *
 * Every row carries a checksum (XXH3-64) over all its columns; a row that does not fit its checksum is MP_ERR_DAMAGED,
 * named by table and key. What the rows of a table add up to is kept as well (store_each_digest()), so that one that is
 * missing is known. Offsets are below 2^44, topics below 2^19, groups below 2^31.
 *
 * Any failing call inside a transaction is followed by store_rollback(): SQLite may have ended the transaction by
 * itself (a full disk does that), and nothing that came after it would be part of one.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/blob.h"
#include "base/fault.h"

#include <stdbool.h>

/*
 * The schema's version, SQLite's user_version. Raise it when an older relay would err on the file, and teach
 * store_schema.c to bring an older file up: opening one does that, in one transaction.
 */
enum { STORE_VERSION = 4 };

/* Below this, publishes are refused, so that settlements always fit. */
#define STORE_RESERVE ((uint64_t)64 * 1024 * 1024)

struct store;

/*
 * Opens or makes the store at PATH (mode 0600) for writing. MP_ERR_BUSY: another relay has it, with its process id.
 * MP_ERR_VERSION, MP_ERR_DAMAGED (no store at all), MP_ERR_DENIED (readable by others, network file system),
 * MP_ERR_IO. ":memory:" keeps nothing, for tests and the simulation.
 */
enum mp_error store_open(const char *path, struct store **store, struct fault *fault);

/*
 * Opens the store at PATH to look at its rows, also while a writer has it: each walk sees the rows of one moment. Nothing
 * but the store_each_… and store_find_… functions may be called with it. MP_ERR_NOT_FOUND: no such file, or an empty one.
 */
enum mp_error store_open_reader(const char *path, struct store **store, struct fault *fault);

/*
 * Rows that do not fit their checksums are passed over from now on by all walks (store_each_…), instead of ending them,
 * and DAMAGE is told of each: its table and its key (of a row of numbers: its name).
 */
void store_on_damage(struct store *store,
                     void (*damage)(void *context, const char *table, int64_t key, const char *name), void *context);

/* The process that has the store at PATH for writing, as far as its lock says; 0: none. */
long store_holder(const char *path);

/* NULL is allowed. A transaction under way is rolled back. */
void store_close(struct store *store);

/* Begins a transaction unless one is under way. */
enum mp_error store_begin(struct store *store, struct fault *fault);
/* Commits; MP_OK means that it is on the disk. Nothing under way: MP_OK. */
enum mp_error store_commit(struct store *store, struct fault *fault);
/*
 * Rolls back. After an error of input or output, or what looks like damage, the database is closed and opened again, with
 * the look at the log that belongs to that: what SQLite has in memory may have been read wrongly, and only the disk can
 * tell. MP_ERR_DAMAGED: it looks so still.
 */
enum mp_error store_rollback(struct store *store, struct fault *fault);
bool store_is_writing(const struct store *store);

/* A number: 1: publications have no events now; -N: those had none that came before the event behind N; 0: all have one. */
#define STORE_UNTRACED "untraced"
/* A number: the highest that a topic ever had, as of the last deletion of one. */
#define STORE_TOPICS_MADE "topics_made"

/* Bytes free on the store's file system; UINT64_MAX for ":memory:". */
uint64_t store_free_space(const struct store *store);
/* Bytes of the database and of its WAL. */
uint64_t store_size(const struct store *store);
/* Bytes of the database that are free to be used again. */
enum mp_error store_reusable(struct store *store, uint64_t *bytes, struct fault *fault);
const char *store_path(const struct store *store);

/* For tests: the NTH commit from now (1: the next) fails with MP_ERR_IO and is rolled back. 0: none. */
void store_fail_commit(struct store *store, unsigned nth);

/* ---- rows ----------------------------------------------------------------------------------------------------- */

/* A whole number under NAME. MP_ERR_NOT_FOUND. */
enum mp_error store_get_number(struct store *store, const char *name, int64_t *value, struct fault *fault);
enum mp_error store_put_number(struct store *store, const char *name, int64_t value, struct fault *fault);

/* What is known of all rows of a table together (store_digest.c). */
struct store_digest {
    const char *table;
    bool known;            /* the number that tells it is there */
    bool fits;             /* the rows are those that were written */
    uint32_t rows;         /* that are there, */
    uint32_t rows_written; /* and how many there should be; both modulo 2^24 */
};

/* What a row with CHECKSUM adds to such a sum, and how many rows a sum is of, modulo 2^24. */
uint64_t store_digest_share(int64_t checksum);
uint32_t store_digest_rows(uint64_t sum);

struct store_topic {
    uint32_t id;
    const char *name;
    uint64_t first;          /* the oldest offset that is kept */
    uint64_t end;            /* the next offset, as of the last snapshot */
    int64_t created;         /* microseconds since the epoch */
    const char *settings;    /* as queue/settings.h writes them; NULL and "": none */
    bool letters;            /* serves as a dead-letter topic */
    const uint8_t *counters; /* the queue's, as of the last snapshot */
    size_t counters_size;
};

struct store_pattern {
    uint32_t id;
    const char *pattern;
    const char *group;
    int64_t created;
    const char *settings; /* of its groups */
};

struct store_group {
    uint32_t id;
    uint32_t topic;
    const char *name;
    uint32_t pattern;  /* the pattern that it belongs to; 0: none */
    uint64_t start;    /* where it began */
    uint64_t floor;    /* every offset below is settled */
    uint64_t frontier; /* no offset from here on was ever granted */
    uint64_t dead;     /* messages that were dead-lettered */
    uint64_t event;    /* the last event that all of this contains */
    int64_t created;
    const char *settings;  /* NULL and "": none */
    const uint8_t *totals; /* the queue's: what lies below the floor */
    size_t totals_size;
    int64_t used; /* the last fetch or settlement, as of the last snapshot; 0: not known */
};

/* A frame, which is also the event that says that its messages were published. */
struct store_frame {
    uint32_t topic;
    uint64_t first; /* offset of its first message */
    uint32_t count;
    uint64_t session; /* and request: who published it */
    uint64_t request;
    int64_t time; /* of its being stored; never falls within a topic */
    const uint8_t *data;
    size_t size;
    uint32_t target;      /* the group that alone sees it; 0: all; STORE_LOST */
    const uint8_t *marks; /* bit i: message i is a duplicate; NULL: none is */
    size_t marks_size;    /* bytes */
};

/*
 * The target of a frame that stands where messages were lost by damage: as many empty ones, which nobody sees. So offsets
 * stay dense, and groups drop what they pass there.
 */
#define STORE_LOST UINT32_MAX

/* Numbers are on disk: add at the end. */
enum store_event_kind {
    EVENT_LEASED = 1,
    EVENT_ACKED = 2,
    EVENT_RETRIED = 3,  /* given back to be tried again */
    EVENT_RELEASED = 4, /* given back unbegun */
    EVENT_LAPSED = 5,   /* its lease ended without a settlement */
    EVENT_DEAD = 6,
    EVENT_EXPIRED = 7,
    EVENT_DROPPED = 8,
    EVENT_REPLAYED = 9,
    EVENT_GRANTED = 10, /* a group was made or moved: first is where it starts */
    EVENT_DUPLICATE = 11,
    EVENT_FOREIGN = 12, /* it was for another group alone */
    /*
     * A frame went into its topic: first and count; group: the one that alone sees it, or 0; due: the time at which a
     * delayed one was taken, or 0; lease: the frame's bytes; code: how many of its messages are duplicates; note: its
     * lineage (message/lineage.h).
     */
    EVENT_PUBLISHED = 13,
    EVENT_SESSION = 14, /* note: what the client of the session calls itself */
};

/* One step of a range of messages of one group, or of a topic, or of a session. */
struct store_event {
    uint64_t id; /* dense, from 1 */
    enum store_event_kind kind;
    uint32_t topic;
    uint32_t group;
    uint64_t session;
    uint64_t request; /* the lane in its two top bits */
    uint64_t first;
    uint32_t count;
    uint32_t attempt; /* of the first of them, when they were tried more or less often */
    int64_t time;
    int64_t due;         /* of a retry: when it may be granted again; microseconds since the epoch. Of a death: why */
    uint64_t lease;      /* the number of the fetch that gave the lease */
    int32_t code;        /* a command's exit code; -1: none */
    uint32_t span;       /* it concerns COUNT of the SPAN offsets from FIRST on. Written: 0 is COUNT; read: never 0 */
    const uint8_t *mask; /* bit i: first + i is concerned; NULL: all, or those that are leased so */
    size_t mask_size;    /* bytes */
    const uint8_t *note; /* of a failure: the tail of what was written to stderr */
    size_t note_size;    /* bytes */
};

struct store_session {
    uint64_t id;
    int64_t created; /* microseconds since the epoch */
    int64_t used;
    uint64_t numbers[3]; /* the last applied on each lane */
    uint64_t results[3]; /* first offset; applied; unused */
    uint32_t counts[3];  /* messages; stale; unused */
    uint32_t keep;       /* seconds that it is kept unused; 0: as long as any */
};

/* A publication that waits for its time: until the year 2255 at most. */
#define STORE_DUE_MAX ((INT64_C(1) << 53) - 1000000)
struct store_scheduled {
    uint64_t id; /* grows with the time, then in the order of adding */
    int64_t
        due; /* microseconds since the epoch, to STORE_DUE_MAX; read, it can be some later than it was written: a microsecond
                    holds 1,024 publications */
    uint32_t topic;
    uint64_t session;
    uint64_t request;
    uint32_t count;
    uint32_t target;
    int64_t time; /* of its being scheduled */
    const uint8_t *data;
    size_t size;
};

/* Hashes of the messages from FIRST on, STORE_HASH bytes each. */
enum { STORE_HASH = 16 };
struct store_hashes {
    uint32_t topic;
    uint64_t first;
    int64_t time; /* never falls within a topic */
    uint32_t count;
    const uint8_t *hashes;
};

/* About so many bytes of an event's row stand beside its mask and its note. */
enum { STORE_EVENT_BYTES = 64 };

/* What store_delete_frames() or store_delete_events() has deleted. */
struct store_deleted {
    uint32_t rows;
    uint64_t bytes; /* of frames; of rows of events, about */
    uint64_t end;   /* the offset or id behind the last one; 0 when nothing went */
};

enum mp_error store_put_topic(struct store *store, const struct store_topic *topic, struct fault *fault);
enum mp_error store_put_pattern(struct store *store, const struct store_pattern *pattern, struct fault *fault);
enum mp_error store_put_group(struct store *store, const struct store_group *group, struct fault *fault);
enum mp_error store_put_session(struct store *store, const struct store_session *session, struct fault *fault);

/* A block of a group's states: 4,096 offsets, encoded by the queue. */
enum mp_error store_put_block(struct store *store, uint32_t group, uint32_t block, const void *data, size_t size,
                              struct fault *fault);
enum mp_error store_add_frame(struct store *store, const struct store_frame *frame, struct fault *fault);
enum mp_error store_add_event(struct store *store, const struct store_event *event, struct fault *fault);
/* Sets SCHEDULED's id. MP_ERR_INVALID: its time is out of range. */
enum mp_error store_add_scheduled(struct store *store, struct store_scheduled *scheduled, struct fault *fault);
enum mp_error store_add_hashes(struct store *store, const struct store_hashes *hashes, struct fault *fault);

/*
 * Each calls EACH for every row, in order of its key; what it is given is good during the call. A return of other than
 * MP_OK ends the walk and is returned.
 */
enum mp_error store_each_number(struct store *store, enum mp_error (*each)(void *, const char *name, int64_t value),
                                void *context, struct fault *fault);
/* Reads the checksums of all rows of the tables that have a digest: numbers, topics, patterns, groups, sessions, blocks,
 * schedule, hashes. */
enum mp_error store_each_digest(struct store *store, enum mp_error (*each)(void *, const struct store_digest *),
                                void *context, struct fault *fault);
enum mp_error store_each_topic(struct store *store, enum mp_error (*each)(void *, const struct store_topic *),
                               void *context, struct fault *fault);
enum mp_error store_each_pattern(struct store *store, enum mp_error (*each)(void *, const struct store_pattern *),
                                 void *context, struct fault *fault);
enum mp_error store_each_group(struct store *store, enum mp_error (*each)(void *, const struct store_group *),
                               void *context, struct fault *fault);
enum mp_error store_each_session(struct store *store, enum mp_error (*each)(void *, const struct store_session *),
                                 void *context, struct fault *fault);
enum mp_error store_each_block(struct store *store, uint32_t group,
                               enum mp_error (*each)(void *, uint32_t block, const uint8_t *data, size_t size),
                               void *context, struct fault *fault);
/* Events with ids above AFTER. */
enum mp_error store_each_event(struct store *store, uint64_t after,
                               enum mp_error (*each)(void *, const struct store_event *), void *context,
                               struct fault *fault);
/*
 * Frames of TOPIC from offset FIRST on, without their bytes (data NULL, size known): the row's checksum covers its other
 * columns and the frame's own checksum, so that nothing is taken from a damaged row, and its bytes need not be read.
 */
enum mp_error store_each_frame(struct store *store, uint32_t topic, uint64_t first,
                               enum mp_error (*each)(void *, const struct store_frame *), void *context,
                               struct fault *fault);

/*
 * The frame of TOPIC that contains OFFSET, or the first one after it. Its bytes are *BLOB, the caller's (FRAME's data
 * point into it). MP_ERR_NOT_FOUND.
 */
enum mp_error store_read_frame(struct store *store, uint32_t topic, uint64_t offset, struct store_frame *frame,
                               struct blob **blob, struct fault *fault);

/* The same without the bytes. */
enum mp_error store_find_frame(struct store *store, uint32_t topic, uint64_t offset, struct store_frame *frame,
                               struct fault *fault);
/* The last frame of TOPIC, without its bytes. MP_ERR_NOT_FOUND. */
enum mp_error store_last_frame(struct store *store, uint32_t topic, struct store_frame *frame, struct fault *fault);

/*
 * Frames of TOPIC that begin at offsets from FIRST on and below BELOW, with neither their bytes nor a look at checksums:
 * fast. EACH ends the walk with a return of other than MP_OK, which is returned.
 */
enum mp_error store_list_frames(struct store *store, uint32_t topic, uint64_t first, uint64_t below,
                                enum mp_error (*each)(void *, const struct store_frame *), void *context,
                                struct fault *fault);
/* The bytes of TOPIC's frames that begin at FIRST or later. Walks over their rows, not over the bytes. */
enum mp_error store_sum_frames(struct store *store, uint32_t topic, uint64_t first, uint64_t *bytes,
                               struct fault *fault);

/* The lowest number of a topic, at or above FROM, of which there are frames or hashes, whether it has a row or not.
 * MP_ERR_NOT_FOUND. */
enum mp_error store_messages_topic(struct store *store, uint32_t from, uint32_t *topic, struct fault *fault);

/* The lowest number of a group, at or above FROM, of which there are blocks. MP_ERR_NOT_FOUND. */
enum mp_error store_blocks_group(struct store *store, uint32_t from, uint32_t *group, struct fault *fault);

/* The event ID, or the first one after it, without its mask and its note. MP_ERR_NOT_FOUND. */
enum mp_error store_find_event(struct store *store, uint64_t id, struct store_event *event, struct fault *fault);
/* The bytes of the rows of events up to LAST, as store_delete_events() counts them. */
enum mp_error store_sum_events(struct store *store, uint64_t last, uint64_t *bytes, struct fault *fault);
/* The id of the newest event; 0 when there is none. */
enum mp_error store_last_event(struct store *store, uint64_t *id, struct fault *fault);

/* The scheduled publication with the lowest id above AFTER. Its bytes are *BLOB, the caller's. MP_ERR_NOT_FOUND. */
enum mp_error store_next_scheduled(struct store *store, uint64_t after, struct store_scheduled *scheduled,
                                   struct blob **blob, struct fault *fault);
/* The same without its bytes (data NULL, size known), which are not looked at: nor is the row's checksum. */
enum mp_error store_find_scheduled(struct store *store, uint64_t after, struct store_scheduled *scheduled,
                                   struct fault *fault);
/* Those with ids above AFTER, without their bytes (data NULL, size known). */
enum mp_error store_each_scheduled(struct store *store, uint64_t after,
                                   enum mp_error (*each)(void *, const struct store_scheduled *), void *context,
                                   struct fault *fault);
/* Reads the whole table: at a start, not in a turn. */
enum mp_error store_count_scheduled(struct store *store, uint64_t *rows, uint64_t *messages, struct fault *fault);

/* Hashes of TOPIC that were stored at SINCE or later. */
enum mp_error store_each_hashes(struct store *store, uint32_t topic, int64_t since,
                                enum mp_error (*each)(void *, const struct store_hashes *), void *context,
                                struct fault *fault);
/* The row with the hash of OFFSET. Its bytes are *BLOB, the caller's. MP_ERR_NOT_FOUND. */
enum mp_error store_read_hashes(struct store *store, uint32_t topic, uint64_t offset, struct store_hashes *hashes,
                                struct blob **blob, struct fault *fault);

/*
 * Which events are meant. What concerns no topic or no group is meant whatever the lists say (a publication concerns no
 * group, a session neither). KINDS: 1 << kind, joined by |; 0 and NULL: all.
 */
struct store_event_filter {
    uint64_t after; /* ids above */
    uint64_t below; /* ids below; 0: all */
    uint32_t kinds;
    const uint32_t *topics;
    size_t topics_count;
    const uint32_t *groups;
    size_t groups_count;
    uint64_t session; /* 0: any */
    bool covers;      /* only those whose span meets `offset` to `to`, and moves of a group */
    uint64_t offset;
    uint64_t to; /* below `offset`: that one alone */
    bool told; /* only publications whose lineage is not bare (message/lineage.h); where they are few, by their index */
    bool newest_first;
    /*
     * For walks over very many: of an event only id, kind, topic, first, count and note are told, and checksums are not
     * looked at: what is found is read again (store_find_event()), or of no weight.
     */
    bool light;
};
/* Calls EACH for those events, as store_each_event() does. Failures and other rare kinds are found by an index. */
enum mp_error store_select_events(struct store *store, const struct store_event_filter *filter,
                                  enum mp_error (*each)(void *, const struct store_event *), void *context,
                                  struct fault *fault);

/*
 * For readers: all that is read from here to store_let_go() is of one moment. Meanwhile the writer's log grows, so do it
 * for a query, not for hours. Where the log has grown already, it waits for the writer to begin it anew: 100 ms at most.
 */
enum mp_error store_hold(struct store *store, struct fault *fault);
void store_let_go(struct store *store);

/* ---- deletion ------------------------------------------------------------------------------------------------- */

/* What is not there is deleted already: MP_OK. A topic's frames and hashes, and its groups, are rows of their own. */
enum mp_error store_delete_topic(struct store *store, uint32_t id, struct fault *fault);
enum mp_error store_delete_pattern(struct store *store, uint32_t id, struct fault *fault);
/* With its blocks. */
enum mp_error store_delete_group(struct store *store, uint32_t id, struct fault *fault);
enum mp_error store_delete_session(struct store *store, uint64_t id, struct fault *fault);
enum mp_error store_delete_scheduled(struct store *store, uint64_t id, struct fault *fault);
/* Deletes the blocks of GROUP below BLOCK. */
enum mp_error store_delete_blocks(struct store *store, uint32_t group, uint32_t block, struct fault *fault);

/* Each of these deletes the oldest rows, MOST at a time: DELETED less than that: there is no more to delete. */

/* Frames of TOPIC whose messages all lie below the offset BELOW, until BYTES have gone (which the last may exceed). */
enum mp_error store_delete_frames(struct store *store, uint32_t topic, uint64_t below, uint32_t most, uint64_t bytes,
                                  struct store_deleted *deleted, struct fault *fault);
/* The frame of TOPIC that begins at FIRST, whatever is in it. */
enum mp_error store_delete_frame(struct store *store, uint32_t topic, uint64_t first, struct fault *fault);
/* Events with ids below BELOW: DELETED's end is an id. The number that is called so says then which is the first. */
#define STORE_EVENTS_FIRST "events_first"
enum mp_error store_delete_events(struct store *store, uint64_t below, uint32_t most, struct store_deleted *deleted,
                                  struct fault *fault);
/* One event; its neighbours stay. */
enum mp_error store_delete_event(struct store *store, uint64_t id, struct fault *fault);
/* Hashes of TOPIC that were stored before BEFORE. */
enum mp_error store_delete_hashes(struct store *store, uint32_t topic, int64_t before, uint32_t most, uint32_t *deleted,
                                  struct fault *fault);
/* Those of its messages from the offset FIRST on and below END; none of the rows has others as well. */
enum mp_error store_delete_hashes_of(struct store *store, uint32_t topic, uint64_t first, uint64_t end,
                                     struct fault *fault);

/* ---- copies (store_backup.c) ---------------------------------------------------------------------------------- */

/* Is called now and then with the pages that were copied, of how many; false: stop, MP_ERR_INTERRUPTED. */
typedef bool store_progress(void *context, uint64_t done, uint64_t total);

/*
 * Makes a copy of the store at PATH, as it is now, in the file TO (mode 0600), which is replaced when the copy is whole,
 * checked and on the disk. A relay may have PATH and go on writing; the copy has what it had committed when the copying
 * began, and meanwhile the log grows. MP_ERR_NOT_FOUND, MP_ERR_DAMAGED, MP_ERR_VERSION: PATH is no store that can be
 * read; MP_ERR_INVALID: TO is PATH, or no regular file; MP_ERR_FULL, MP_ERR_IO. PROGRESS may be NULL.
 */
enum mp_error store_backup(const char *path, const char *to, store_progress *progress, void *context,
                           struct fault *fault);

/*
 * Checks all there is in the store at PATH: SQLite's pages, each row's checksum, each frame. Reads only; a relay may have
 * it. MP_ERR_DAMAGED says where; MP_ERR_VERSION: an older version, whose relay has to bring it up first.
 */
enum mp_error store_verify(const char *path, struct fault *fault);

/*
 * Puts a copy of FROM, a backup, checked and brought up, in the place of the store at PATH. What is there now is kept as
 * PATH.replaced. A kill leaves the one or the other. MP_ERR_BUSY: a relay has PATH, or somebody reads it; the others as
 * for store_backup().
 */
enum mp_error store_restore(const char *from, const char *path, store_progress *progress, void *context,
                            struct fault *fault);

#endif
