/*
 * send_dress.h: gives msend's messages their attributes, from options, from their own text, and from the environment:
 * $TRACEPARENT, so that what a command sends belongs to the trace of what it works on, and names that as its cause
 * ($MSG_ID). What a message says of itself stands before the environment, and options before both.
 */
#ifndef CLI_SEND_DRESS_H
#define CLI_SEND_DRESS_H

#include "base/buffer.h"
#include "base/fault.h"
#include "cli/send.h"
#include "cli/send_source.h"
#include "message/formats.h"
#include "message/trace.h"

struct send_dress {
    const struct send_settings *settings;
    struct buffer options;      /* what options say, in place of what messages have */
    struct buffer ambient;      /* what the environment says: for messages that have no such attribute */
    struct buffer base;         /* both: what every message without attributes has */
    struct buffer block;        /* of one message */
    struct buffer text;         /* a value taken from a body */
    struct format_pointer *key; /* --key-json and --id-json; NULL: none */
    struct format_pointer *id;
    bool each;                  /* whether messages differ */
    int64_t expiry;             /* --ttl: the time that `options` have for expirytime; microseconds since the epoch */
    bool untraced;              /* $TRACEPARENT is none */
    uint64_t alone;             /* messages that would have got it */
    struct trace_mender mender; /* of messages that came with one that is none */
};

/* MP_ERR_INVALID says which option is wrong, and why. Free it with send_dress_free(). */
enum mp_error send_dress_open(struct send_dress *dress, const struct send_settings *settings, struct fault *fault);
void send_dress_free(struct send_dress *dress);

/* Tells how many messages had a traceparent that was none, or would have got one, if any. */
void send_dress_summary(const struct send_dress *dress);

/* Adds an attribute for the message to come and all later ones. */
enum mp_error send_dress_add(struct send_dress *dress, const char *name, bool integer, const char *value,
                             struct fault *fault);

/* Sets ITEM's attributes; they are good until the next call. MP_ERR_FORMAT, MP_ERR_INVALID: its text has no key or id
 * where one was to be, or not a possible one. */
enum mp_error send_dress_item(struct send_dress *dress, struct send_item *item, struct fault *fault);

#endif
