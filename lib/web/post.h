/*
 * post.h: gives bodies to a server by HTTP, one after the other, on one connection that stays.
 *
 * What does not come through is told to the caller, who decides when to try again; nothing is tried here.
 */
#ifndef WEB_POST_H
#define WEB_POST_H

#include "base/buffer.h"
#include "base/fault.h"

#include <event2/event.h>

struct web_post;

struct web_post_settings {
    struct event_base *base;
    const char *url;  /* http://HOST[:PORT][/PATH] */
    const char *path; /* where the URL has none */
    const char *content_type;
    int64_t timeout; /* microseconds without anything */
    void *context;
    /*
     * It has ended: STATUS is the server's, or 0 when there was none: WORDS say why. BODY: what it answered, SIZE bytes,
     * good during the call. AGAIN: how long it wants to be left alone, microseconds; 0: it does not say.
     */
    void (*ended)(void *context, int status, const char *words, const char *body, size_t size, int64_t again);
};

/* MP_ERR_INVALID: the URL is none that can be used. MP_ERR_MEMORY. */
enum mp_error web_post_open(const struct web_post_settings *settings, struct web_post **post, struct fault *fault);
void web_post_close(struct web_post *post); /* NULL is allowed; one that is under way is given up */

/* Sends BODY, which is copied. One at a time. MP_ERR_MEMORY. */
enum mp_error web_post_send(struct web_post *post, const struct buffer *body, struct fault *fault);

/* The URL in full. */
const char *web_post_url(const struct web_post *post);

#endif
