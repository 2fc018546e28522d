/*
 * retry_job.h: what a command is run for: a message, or several as a batch, until they are done or dead together.
 * Private to mretry's engine.
 */
#ifndef CLI_RETRY_JOB_H
#define CLI_RETRY_JOB_H

#include "cli/retry_output.h"
#include "policy/seen.h"
#include "message/formats.h"
#include "message/letter.h"

enum retry_state {
    RETRY_WAITING, /* for a worker */
    RETRY_HELD,    /* a message with the same id is under way */
    RETRY_DELAYED, /* until `due` */
    RETRY_RUNNING,
    RETRY_DONE,
    RETRY_DYING,  /* hopeless; it is dead when that is on the disk */
    RETRY_DEAD,   /* or left out as a duplicate: nothing is to be printed */
    RETRY_STOPPED /* begun, but ended with the tool: not done */
};

struct retry_message {
    uint8_t *bytes; /* its own: the body, behind it the attributes, behind these the id */
    size_t size;
    size_t attributes_size;
    uint64_t producer; /* its origin */
    uint64_t sequence;
    uint64_t number; /* in the input, from 1 */
    int64_t time;    /* microseconds since the epoch */
    uint64_t place;  /* where the source has it, and how many bytes: for the source alone */
    uint64_t place_size;
    struct seen_id id;
    bool has_id;
};

struct retry_job {
    struct retry_job *next;
    struct retry_job *previous;
    enum retry_state state;
    struct retry_message *messages;
    uint32_t count;
    size_t capacity;
    size_t bytes;
    uint32_t attempts; /* that were begun; one that could not start does not count */
    int64_t due;       /* monotonic microseconds */
    int64_t first;     /* when the first attempt failed, microseconds since the epoch; 0: none has */
    int64_t last;
    int code; /* the last exit code */
    const char *reason;
    struct buffer note; /* of the last failed attempt's stderr, as letter_note() made it */
    struct retry_output output;
};

/* Jobs in order. Zeroed it is empty. */
struct retry_list {
    struct retry_job *first;
    struct retry_job *last;
    size_t jobs;
    uint64_t messages;
    size_t bytes;
};

/* A job without messages; NULL: no memory. Free it when it is in no list. */
struct retry_job *retry_job_new(struct retry_budget *budget);
void retry_job_free(struct retry_job *job);

/* Adds a copy of MESSAGE, whose bytes are BODY and ATTRIBUTES. MP_ERR_MEMORY. */
enum mp_error retry_job_add(struct retry_job *job, const struct retry_message *message, const void *body,
                            const void *attributes);

/* What a writer knows of MESSAGE of JOB. */
struct format_item retry_job_item(const struct retry_job *job, const struct retry_message *message);

/* What JOB's dead letters say; it points into JOB, which has a reason. */
struct letter retry_letter_of(const struct retry_job *job);

void retry_list_add(struct retry_list *list, struct retry_job *job);
void retry_list_remove(struct retry_list *list, struct retry_job *job);
void retry_list_free(struct retry_list *list);

#endif
