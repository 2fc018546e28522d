/* audit_private.h: what the files of the audit share. */
#ifndef TRACE_AUDIT_PRIVATE_H
#define TRACE_AUDIT_PRIVATE_H

#include "queue/examine.h"
#include "trace/audit.h"

/* The order in which they are told. */
enum audit_table_number {
    AUDIT_NUMBERS,
    AUDIT_TOPICS,
    AUDIT_PATTERNS,
    AUDIT_GROUPS,
    AUDIT_BLOCKS,
    AUDIT_SESSIONS,
    AUDIT_SCHEDULE,
    AUDIT_HASHES,
    AUDIT_FRAMES,
    AUDIT_EVENTS
};

struct audit_session {
    uint64_t id;
    uint64_t numbers[3];
};

/* What is known of a topic or a group by its row, and from the walk over the events. */
struct audit_topic_row {
    uint32_t id;
    uint64_t first;     /* as its row says */
    uint64_t published; /* messages that events since the snapshot tell of */
};
struct audit_group_row {
    uint32_t id;
    uint64_t event; /* the last that its row contains */
    int64_t moved;  /* when it was moved last, as far as events tell; 0: never */
};

struct audit {
    struct store *store;
    const struct audit_settings *settings;
    struct audit_report *report;
    struct fault *fault;
    struct examination *examination;
    size_t findings_room;
    struct audit_session *sessions; /* by id */
    size_t sessions_count, sessions_room;
    struct audit_topic_row *topics; /* by id */
    size_t topics_count, topics_room;
    struct audit_group_row *groups; /* by id */
    size_t groups_count, groups_room;
    uint64_t events_first; /* as `numbers` says; 1 when it says nothing */
    uint64_t snapshot_event;
    uint64_t sampled;     /* up to here a sample of the events is kept */
    uint64_t event_bytes; /* of those that the snapshot contains, about */
    uint64_t scheduled;
    uint64_t secret;
    bool has_secret;
    uint64_t untraced; /* publications before the event behind this one may have none */
    int64_t since;     /* the time of the oldest event */
    uint8_t *hashes;   /* of a frame; NULL: none were needed yet */
};

struct audit_place {
    const char *table;
    int64_t key;
    uint32_t topic;
    uint32_t group;
    bool has_offset;
    uint64_t offset;
};
/* A place is mostly the row of a frame. */
#define PLACE_FRAME(number, at)                                                                                        \
    (&(struct audit_place){.table = "frames",                                                                          \
                           .key = (int64_t)((uint64_t)(number) << 44 | (at)),                                          \
                           .topic = (number),                                                                          \
                           .has_offset = true,                                                                         \
                           .offset = (at)})

/* Takes note of something that is wrong. What is not about the topic or group that was asked for is left out. */
void audit_found(struct audit *audit, enum audit_kind kind, const struct audit_place *place, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/*
 * What an error means: MP_OK when the store is damaged where something was read, which is a finding with the fault's words;
 * else ERROR.
 */
enum mp_error audit_failed(struct audit *audit, enum mp_error error);

/* Whether the topic is one of those that were asked for. */
bool audit_wants(const struct audit *audit, uint32_t topic);
/* The same of a group. */
bool audit_wants_group(const struct audit *audit, uint32_t group);
bool audit_goes_on(const struct audit *audit);

/* Room for one more item in a list of SIZE bytes each; false: no memory. */
bool audit_room(void **items, size_t count, size_t *room, size_t size);

/* Whether there was a topic of that number: when the store was held, or by now, in what is read afterwards. */
bool audit_topic_made(struct audit *audit, uint32_t topic);

struct audit_topic_row *audit_topic_row(const struct audit *audit, uint32_t id);
struct audit_group_row *audit_group_row(const struct audit *audit, uint32_t id);
const struct audit_session *audit_session(const struct audit *audit, uint64_t id);

/* Whether a request that the snapshot contains has a number that its session's row does not know. */
void audit_request(struct audit *audit, const struct audit_place *place, uint64_t session, uint64_t request);

/* audit_rows.c: all rows of the small tables, while the store is held. */
enum mp_error audit_rows(struct audit *audit);
/* audit_states.c: topics and groups, while it is held, after the examination. */
enum mp_error audit_states(struct audit *audit);
/* audit_events.c: those since the snapshot (while it is held), and those before. */
enum mp_error audit_new_events(struct audit *audit);
enum mp_error audit_old_events(struct audit *audit);
/* audit_frames.c: frames and what is known of them elsewhere. */
enum mp_error audit_frames(struct audit *audit);
/* audit_messages.c: what is in a frame, of TOPIC; ROW with its bytes. */
struct audit_frame {
    const struct examined_topic *topic;
    const struct store_frame *row;
    const struct frame *frame;
};
enum mp_error audit_hashes(struct audit *audit, const struct audit_frame *frame);
void audit_frame_states(struct audit *audit, const struct audit_frame *frame);
void audit_letters(struct audit *audit, const struct audit_frame *frame);
/* audit_schedule.c */
enum mp_error audit_schedule(struct audit *audit);

#endif
