/*
 * list.h: messages that are meant, each as it went through a group: the newest ones, the slowest ones.
 *
 * Candidates come from the log, newest first: what failed from its events of failures, which have an index, all else
 * from publications; their histories are followed together, in one walk for many.
 */
#ifndef TRACE_LIST_H
#define TRACE_LIST_H

#include "trace/history.h"
#include "trace/select.h"

/* What comes first. */
enum trace_sort {
    TRACE_BY_TIME,    /* the newest */
    TRACE_BY_TOOK,    /* what took, or takes, the longest from its publication to its end */
    TRACE_BY_WAITED,  /* what waited the longest before its first attempt */
    TRACE_BY_WORKED,  /* what was worked on the longest in all its attempts */
    TRACE_BY_ATTEMPTS /* what was tried most often */
};

struct trace_list_wanted {
    const struct trace_select
        *select;     /* topics, groups, key, trace, attributes; time: of publications, or of failures */
    unsigned states; /* 1 << enum state, joined by |; 0: any */
    bool failed;     /* an attempt failed, or it expired or was dropped */
    bool retried;    /* it was tried more than once */
    int64_t slower;  /* from publication to its end, or until now, at least so many microseconds; 0 */
    enum trace_sort sort;
    size_t most;
};

struct trace_row {
    struct trace_match match;
    struct trace_passage passage; /* group 0: no group has anything to do with it */
    int64_t took;                 /* microseconds */
    int64_t waited;
    int64_t worked;
};

struct trace_list {
    struct trace_row *rows;
    size_t count;
    size_t capacity;
    bool more;       /* there were more than were wanted */
    uint64_t looked; /* messages that were looked at, */
    bool cut;        /* and that was not all of them: there are too many */
};

/* Free it with trace_list_free(). */
enum mp_error trace_list_open(struct trace_list *list, struct trace_log *log, const struct trace_list_wanted *wanted,
                              struct fault *fault);
void trace_list_free(struct trace_list *list);

#endif
