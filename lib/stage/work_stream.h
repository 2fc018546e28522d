/*
 * work_stream.h: a process that serves messages one after the other. Private to stage/work.
 *
 * Messages are numbered in the order in which the process gets them; those from `first` to before `next` are under way:
 * they stand in the input, of which `passed` bytes went into the pipe, and have no answer.
 */
#ifndef STAGE_WORK_STREAM_H
#define STAGE_WORK_STREAM_H

#include "stage/work_private.h"

enum {
    WORK_LISTEN = 10 * 1000,         /* microseconds after which nothing more follows an answer */
    WORK_LISTEN_EVERY = 1000 * 1000, /* microseconds after which a stream is let run empty, and listened to */
    WORK_QUICK = 50 * 1000,          /* microseconds in which what a process has at once should be answered */
    WORK_SILENT = 5 * 1000 * 1000    /* microseconds without a first answer after which the owner is told */
};

/* A message under way. */
struct work_slot {
    struct stage_task *task;
    uint64_t end;  /* where it ends in the input */
    int64_t given; /* when it was put there */
};

/* An answer, in what the process has printed. */
struct work_span {
    const uint8_t *text;
    size_t size;
};

struct work_stream {
    struct work_worker *worker;
    struct task_queue suspects; /* were with a process that died, and are given one by one */
    bool careful;               /* there are some, or the one under way was one */
    uint32_t window;            /* messages that may be under way */
    unsigned deaths;            /* of processes that had answered nothing, in a row */
    int64_t restart_at;         /* no process is started before */
    struct event *timer;
    int64_t timer_at; /* 0: it is not set */

    /* of the process that runs */
    struct work_slot *slots; /* a ring of `capacity`, a power of two */
    struct work_span *spans; /* as many */
    uint32_t capacity;
    uint64_t first, next;
    struct buffer input;
    size_t written;  /* bytes of `input` that went into the pipe */
    uint64_t put;    /* bytes put into the input since the process was started */
    uint64_t passed; /* bytes that went into the pipe */
    uint64_t done;   /* where the last message that was answered ends */
    struct format_reader reader;
    uint64_t answered;
    int64_t round;        /* messages to be answered until the window is looked at */
    bool limited;         /* by the window, since then */
    int64_t since;        /* since when the oldest answer is due */
    int64_t empty_since;  /* since when nothing is under way */
    int64_t listened_at;  /* when nothing was heard for a while although nothing was under way */
    int64_t listen_until; /* nothing is given before; 0: it is not listened to */
    bool believed;        /* nothing followed its first answer for a while; until then that does not count */
    int64_t leave_at;     /* it has closed its input, and is ended then; 0: it has not */
    bool broken;          /* it is at fault, and being ended: WHY */
    bool malformed;       /* for an answer that is not in the format */
    bool timed_out;
    bool ended;  /* by the owner */
    bool silent; /* the owner was told that there is no first answer */
    struct fault why;
};

static inline uint32_t work_stream_under_way(const struct work_stream *stream)
{
    return (uint32_t)(stream->next - stream->first);
}

static inline struct work_slot *work_stream_slot(const struct work_stream *stream, uint64_t number)
{
    return &stream->slots[number & (stream->capacity - 1)];
}

/* The process is at fault: it is ended. WHY is set. */
void work_stream_break(struct work_stream *stream);
/* Sets the timer for what is due next. */
void work_stream_schedule(struct work_stream *stream, int64_t now);

/* Takes the answers that the process has printed (work_answer.c). */
void work_stream_answers(struct work_stream *stream, int64_t now);

#endif
