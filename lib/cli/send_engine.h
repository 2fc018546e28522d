/*
 * send_engine.h: what sending to a relay and sending to peers have in common. Private to msend's engine.
 */
#ifndef CLI_SEND_ENGINE_H
#define CLI_SEND_ENGINE_H

#include "cli/loop.h"
#include "cli/output.h"
#include "cli/pace.h"
#include "cli/send.h"
#include "cli/send_source.h"
#include "client/protocol.h"

struct send_engine {
    const struct send_settings *settings;
    const struct options *options;
    char **argv;
    struct loop loop;
    struct send_source *source;
    struct event *input; /* the source's descriptor became readable */
    int input_descriptor;
    struct pace pace;
    struct progress progress;

    enum protocol_when when; /* the messages go out, */
    int64_t when_value;      /* and its microseconds */

    struct send_item item; /* taken from the source and not yet passed on */
    bool has_item;
    bool may_go;   /* that item: its time has come (--rate) */
    bool ended;    /* the source has no more */
    uint64_t gone; /* messages of the input that were dealt with for good, from its start: for --skip */
    uint64_t done; /* messages that were acknowledged (or, directly, written) */
    int exit;      /* the code to end with; -1: not yet known */
};

enum { SEND_LINGER = 5000000 }; /* microseconds that an interrupted tool waits for what is in flight */

/*
 * Takes the next item from the source, if none is held. MP_OK: it may go. MP_ERR_AGAIN: none may go now; the loop wakes the
 * tool when there is one, or at *DUE, when that which is held may. MP_ERR_CLOSED: the end.
 */
enum mp_error send_engine_take(struct send_engine *engine, int64_t now, int64_t *due, struct fault *fault);

/* Ends the tool with CODE, unless it is ending already. */
void send_engine_end(struct send_engine *engine, int code);

/* Of --id: there is a second message. Tells it; false. */
bool send_engine_single(struct send_engine *engine, uint64_t count);

/* Says how far it came, and how to go on from there. UNKNOWN: messages of which the outcome is not known. */
void send_engine_summary(struct send_engine *engine, const char *why, uint64_t unknown);

/* The two ways. They return the exit code. */
int send_by_relay(struct send_engine *engine);
int send_directly(struct send_engine *engine);

#endif
