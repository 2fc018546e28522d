/*
 * retry_post.h: hopeless messages of stdin go to a topic of a relay (--dead-topic). Private to mretry's engine.
 */
#ifndef CLI_RETRY_POST_H
#define CLI_RETRY_POST_H

#include "cli/relay_link.h"
#include "cli/retry_job.h"

struct retry_post {
    const char *relay;
    const char *topic;
    struct relay_link *link;
    struct client *client;
    bool asked;                  /* for the topic and its group to be made */
    bool ready;                  /* they are there: work can begin */
    const struct retry_job *job; /* on its way; NULL: none */
    uint32_t next;               /* of its messages: not yet sent */
    bool sending;
    struct frame_builder frame;
    struct buffer block;
    struct fault fault; /* what has ended it; code 0: nothing */
};

/* Connects to RELAY in LOOP; POST must stay where it is. MP_ERR_INVALID, MP_ERR_MEMORY. Close it in any case. */
enum mp_error retry_post_open(struct retry_post *post, struct loop *loop, const char *relay, const char *topic,
                              int64_t wait, struct fault *fault);
void retry_post_close(struct retry_post *post);

/* To be called in each step. An error ends the tool. */
enum mp_error retry_post_check(struct retry_post *post, int64_t now, struct fault *fault);

/* Sends JOB's letters. MP_OK: they are on the relay's disk. MP_ERR_AGAIN: not yet; call again. */
enum mp_error retry_post_send(struct retry_post *post, const struct retry_job *job, struct fault *fault);

#endif
