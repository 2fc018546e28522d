/*
 * send_dress.h: gives msend's messages their attributes, from options, from their own text, and from the environment
 * ($TRACEPARENT, so that what a command sends belongs to the trace of what it works on).
 */
#ifndef CLI_SEND_DRESS_H
#define CLI_SEND_DRESS_H

#include "base/buffer.h"
#include "base/fault.h"
#include "cli/send.h"
#include "cli/send_source.h"
#include "message/formats.h"

struct send_dress {
    const struct send_settings *settings;
    struct buffer base;         /* what every message has */
    struct buffer block;        /* of one message */
    struct buffer text;         /* a value taken from a body */
    struct format_pointer *key; /* --key-json and --id-json; NULL: none */
    struct format_pointer *id;
    bool each;      /* whether messages differ */
    int64_t expiry; /* --ttl: the time that `base` has for expirytime; microseconds since the epoch */
};

/* MP_ERR_INVALID says which option is wrong, and why. Free it with send_dress_free(). */
enum mp_error send_dress_open(struct send_dress *dress, const struct send_settings *settings, struct fault *fault);
void send_dress_free(struct send_dress *dress);

/* Adds an attribute for the message to come and all later ones. */
enum mp_error send_dress_add(struct send_dress *dress, const char *name, bool integer, const char *value,
                             struct fault *fault);

/* Sets ITEM's attributes; they are good until the next call. MP_ERR_FORMAT, MP_ERR_INVALID: its text has no key or id
 * where one was to be, or not a possible one. */
enum mp_error send_dress_item(struct send_dress *dress, struct send_item *item, struct fault *fault);

#endif
