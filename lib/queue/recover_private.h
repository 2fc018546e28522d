/* recover_private.h: what the files of the recovery share. */
#ifndef QUEUE_RECOVER_PRIVATE_H
#define QUEUE_RECOVER_PRIVATE_H

#include "base/map.h"
#include "message/names.h"
#include "queue/recover.h"

/* What the event of a publication says of its frame. */
struct recovered_origin {
    uint64_t session, request;
    int64_t time;
    uint32_t target;
};

/* A frame that was found. */
struct recovered_frame {
    struct recovered_origin *origin; /* of one whose row is not to be believed; NULL: not known */
    uint64_t first;
    uint64_t size;
    size_t handle;
    uint32_t count;
    enum salvage_rank rank;
    bool taken;
};

struct recovered_topic {
    uint32_t id;
    char name[NAME_MAX_BYTES + 1];
    bool known;      /* there is a row of it */
    uint64_t first;  /* what lies below may have been deleted */
    uint64_t end;    /* there were messages up to here */
    uint64_t needed; /* the lowest floor of its groups; UINT64_MAX: it has none */
    uint64_t saved_end;
    struct recovered_frame *frames;
    size_t frames_count, frames_capacity;
};

struct recovery {
    struct salvage *salvage;
    struct store *store;
    struct recover_report *report;
    struct fault *fault;
    enum salvage_rank least[SALVAGE_TABLES]; /* rows of this rank and better are taken */
    bool complete[SALVAGE_TABLES];           /* it is known that no row is missing */
    struct map numbers;                      /* by name: struct recovered_number */
    struct map topics;                       /* by id */
    struct map sessions;                     /* struct recovered_session */
    struct map patterns, groups;             /* ids that there are */
    int64_t latest;                          /* the latest time of a frame or an event */
    uint32_t groups_most, topics_most, patterns_most;
    uint64_t stretches; /* of lost messages, that were told */
    uint64_t unwritten; /* bytes since the last commit */
};

/* What frames and events say of a session. */
struct recovered_session {
    uint64_t id;
    uint64_t numbers[3], results[3];
    uint32_t counts[3];
};
/* REQUEST of SESSION was applied, with RESULT and COUNT. */
enum mp_error recover_applied(struct recovery *recovery, uint64_t session, uint64_t request, uint64_t result,
                              uint32_t count);

/* A number of the damaged store; false: it is not known. */
bool recover_number(const struct recovery *recovery, const char *name, int64_t *value);
void recover_tell(struct recovery *recovery, const struct recover_loss *loss);
/* Commits now and then. */
enum mp_error recover_wrote(struct recovery *recovery, size_t bytes);

/* The topic ID: made, with a name of its own, where its row is lost. NULL: it was deleted, or (with *ERROR) no memory. */
struct recovered_topic *recover_topic(struct recovery *recovery, uint32_t id, enum mp_error *error);

/* recover_frames.c */
enum mp_error recover_find_frames(struct recovery *recovery);
/* Whether COUNT messages of one frame of TOPIC, from FIRST on, were not found, and somebody waits for them. */
bool recover_is_lost(const struct recovered_topic *topic, uint64_t first, uint32_t count);
/* KNOWN: its row; NULL: that is lost. */
enum mp_error recover_write_topic(struct recovery *recovery, struct recovered_topic *topic,
                                  const struct store_topic *known);

/* recover_groups.c */
enum mp_error recover_find_groups(struct recovery *recovery);
enum mp_error recover_write_groups(struct recovery *recovery);

#endif
