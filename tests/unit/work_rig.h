/*
 * work_rig.h: an owner of a stage's work: it gives messages as there is room, and notes what becomes of them. One rig
 * at a time.
 */
#ifndef TESTS_WORK_RIG_H
#define TESTS_WORK_RIG_H

#include "base/buffer.h"
#include "stage/work.h"

#include <event2/event.h>

enum { RIG_MAX = 4096, RIG_ITEMS = 64 };

/* A task, and what became of it. */
struct rig_task {
    struct stage_task task;
    struct format_item items[RIG_ITEMS];
    unsigned finished; /* how often it came back */
    unsigned order;    /* the how-manieth it was to come back, from 1 */
    enum stage_end end;
    struct stage_result result;
    struct buffer output;
    struct buffer note;
    uint32_t malformed[RIG_ITEMS];
    size_t malformed_count;
};

struct rig {
    struct event_base *base;
    struct stage_children *children;
    struct stage_work_settings settings;
    const char *line[4]; /* of rig_open_shell(): ends with NULL */
    struct stage_work *work;
    struct rig_task *tasks;
    unsigned count; /* of tasks */
    unsigned added;
    unsigned came;      /* tasks that came back */
    struct buffer said; /* lines of stderr, each with a newline */
    unsigned said_count;
    unsigned paused;  /* calls of it with an exit code */
    unsigned resumed; /* calls of it with 0 */
    unsigned ready;
    unsigned broke;
    int exit;                                                    /* of the last pause */
    struct fault fault;                                          /* of the last pause, or of what broke */
    bool keeps_whole;                                            /* takes the bytes of outputs out of their buffers */
    void (*on_finished)(struct rig *rig, struct rig_task *task); /* may be NULL */
};

/* A rig for COMMAND, ends with NULL; the settings may be changed before rig_start(). */
void rig_open(struct rig *rig, enum stage_mode mode, char *const *command);
/* The same for `sh -c LINE`. */
void rig_open_shell(struct rig *rig, enum stage_mode mode, const char *line);
void rig_start(struct rig *rig);
/* Both at once, where nothing is to be changed. */
void rig_begin(struct rig *rig, enum stage_mode mode, const char *line);
void rig_close(struct rig *rig);

/* The next task, of one message; the bytes of BODY stay the caller's. */
struct rig_task *rig_message_of(struct rig *rig, const void *body, size_t size);
struct rig_task *rig_message(struct rig *rig, const char *body);
/* One more message for TASK. */
void rig_join(struct rig_task *task, const char *body);

/* Gives tasks as there is room, and runs the loop until all came back. */
void rig_work(struct rig *rig);
/* Gives one pass: what there is room for. */
void rig_give(struct rig *rig);
/* Runs the loop until DONE says so; fails after some time. */
void rig_until(struct rig *rig, bool (*done)(const struct rig *rig));

/* That TASK came back once, with END, and for SUCCEEDED with OUTPUT (not NULL then), for others with NOTE in its note. */
#define rig_assert(task, how, text)                                                                                    \
    do {                                                                                                               \
        assert_int_equal((task)->finished, 1);                                                                         \
        assert_int_equal((task)->end, (how));                                                                          \
        rig_assert_text(task, text);                                                                                   \
    } while (0)
void rig_assert_text(const struct rig_task *task, const char *text);

#endif
