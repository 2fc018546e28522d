/*
 * trace_show.h: what the files of `mtrace show` share.
 */
#ifndef CLI_TRACE_SHOW_H
#define CLI_TRACE_SHOW_H

#include "cli/trace_view.h"
#include "trace/tree.h"

/* What is shown: the trees, and what there is to know beside them. */
struct trace_picture {
    struct trace_view *view;
    const struct trace_tree *tree;
    json_t *stages; /* the relay's `stages`; NULL: none runs, or --store */
    int64_t from;   /* the span of time that bars stand for: relay time */
    int64_t to;
    struct buffer out;
    struct buffer text; /* a place for ids and texts */
};

/* Append a tree to the picture, as text and as JSON, a message a line. MP_ERR_MEMORY, and what the log says. */
enum mp_error trace_show_text(struct trace_picture *picture, struct fault *fault);
enum mp_error trace_show_json(struct trace_picture *picture, struct fault *fault);

/*
 * What PASSAGE of NODE waits for, in words, appended to OUT: "for a consumer: none takes messages of it", "for its time:
 * it is tried again in 2.3 s". Nothing when it does not wait.
 */
enum mp_error trace_wait_words(struct trace_picture *picture, const struct trace_node *node,
                               const struct trace_passage *passage, struct buffer *out, struct fault *fault);

/* "acked", "with a consumer", "dead"…; for a passage that is skipped "not for it". */
const char *trace_state_name(const struct trace_passage *passage);
/* "rejected", "retries"… of a death; "" */
const char *trace_reason_name(unsigned reason);

/* The id of MATCH, escaped, terminated, in picture->text; of ids that are only known by their hash "~" and its digits. */
enum mp_error trace_picture_id(struct trace_picture *picture, const struct trace_match *match);

#endif
