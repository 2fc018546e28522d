/*
 * audit.h: the reconciliation of a store: whether each offset of each topic is in exactly one state for each group, numbers
 * are dense, and every row is the one that was written. It leans on state rows and their checksums; events, which expire,
 * are checked against them as far as they are there.
 *
 * A relay may have the store and go on writing. What has to agree with each other (topics, groups with their blocks and
 * the events since the snapshot, sums of frames) is read in one read transaction, while which the relay's log cannot be
 * used again from its beginning; that takes as long as a relay's start. What is written once and never changed (frames,
 * hashes, older events, the schedule's rows) is read after that, row by row, each in a look of its own. Memory: what the
 * relay needs for its groups, 1 MiB for a frame's hashes, and the frame at hand.
 */
#ifndef TRACE_AUDIT_H
#define TRACE_AUDIT_H

#include "base/clock.h"
#include "message/names.h"
#include "queue/states.h"
#include "store/store.h"

/* What can be wrong. */
enum audit_kind {
    AUDIT_DAMAGED,  /* a row is not as it was written */
    AUDIT_MISSING,  /* a row, or offsets, that have to be there are not */
    AUDIT_PHANTOM,  /* something speaks of what is not there */
    AUDIT_DOUBLE,   /* offsets that are there twice */
    AUDIT_MISMATCH, /* two things say different things */
    AUDIT_KINDS
};

struct audit_finding {
    enum audit_kind kind;
    const char *table; /* NULL: no row in particular */
    int64_t key;       /* its id; of numbers: 0 */
    uint32_t topic_id; /* 0: about none */
    uint32_t group_id;
    bool has_offset;
    uint64_t offset;
    char topic[NAME_MAX_BYTES + 1]; /* "": about none */
    char group[NAME_MAX_BYTES + 1];
    char *words;
};

/* What was read of a table. */
struct audit_table {
    const char *name;
    uint64_t rows;
    uint64_t damaged;
};
enum { AUDIT_TABLES = 10 };

/* Where the messages of a topic are for one group. Those that were never given to it wait as well. */
struct audit_group {
    const char *topic;
    const char *group;
    const char *pattern; /* "": none */
    uint64_t first;      /* where the group begins, */
    uint64_t end;        /* and the topic ends */
    uint64_t counts[STATE_COUNT];
};

struct audit_topic {
    const char *name;
    bool letters;
    uint64_t first, end;
    uint64_t frames; /* that were looked into, */
    uint64_t bytes;  /* and their bytes */
};

enum { AUDIT_FINDINGS_MAX = 10000 }; /* that are kept; all are counted */

struct audit_report {
    struct audit_table tables[AUDIT_TABLES];
    struct audit_topic *topics; /* by name */
    size_t topics_count;
    struct audit_group *groups; /* by topic, then by name */
    size_t groups_count;
    struct audit_finding *findings;
    size_t findings_count;
    uint64_t found;                     /* all of them */
    uint64_t events_first, events_last; /* ids; 0 and 0: there are none */
    uint64_t scheduled;                 /* messages */
    int64_t held;                       /* microseconds that the read transaction lasted */
    struct audit *audit;                /* what names belong to */
};

struct audit_settings {
    struct moment now;
    const char *const *topics; /* names or patterns; none: all */
    size_t topics_count;
    const char *const *groups; /* names */
    size_t groups_count;
    bool (*go_on)(void *context); /* is asked now and then; NULL: always */
    void *context;
};

/*
 * Audits STORE, which store_open_reader() has opened and which has to stay open until audit_free(). MP_OK also when
 * something was found: see the report. MP_ERR_NOT_FOUND: no such topic or group; MP_ERR_INTERRUPTED, MP_ERR_MEMORY,
 * MP_ERR_IO, MP_ERR_BUSY: it could not be read to the end. Free the report in any case.
 */
enum mp_error audit_run(struct store *store, const struct audit_settings *settings, struct audit_report *report,
                        struct fault *fault);
void audit_free(struct audit_report *report);

/* "damaged", "missing", "phantom", "double", "mismatch". */
const char *audit_kind_name(enum audit_kind kind);

#endif
