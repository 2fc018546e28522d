/*
 * feed.h: one subscription of a stage: a topic, or a pattern, in a session of its own. It fetches ahead, within bounds;
 * what is done with is committed with what came of it, one transaction after the other: while one is under way the next
 * one fills.
 *
 * A stage takes messages off the queue, and says of each, once, what became of it: feed_commit(), after its outputs were
 * put into open.outputs, feed_settle(), or feed_drop(). A relay that forgot the session has taken back its messages:
 * those that are here are forgotten too, and those that are worked upon, or in a window, are lost (feed_has_lost()).
 *
 * A parcel goes when its last message is settled; its bytes may go earlier, when all are taken and nobody pins them, unless
 * the feed keeps them.
 */
#ifndef RUNNER_FEED_H
#define RUNNER_FEED_H

#include "client/link.h"
#include "runner/commit.h"

struct event_base;
struct feed;
struct stage_steps;

struct feed_calls {
    void *context;
    /* There may be something to do: messages have come, a commit has ended, the session began. */
    void (*woken)(void *context);
    /* The messages in COMMIT are done, and its outputs stored. */
    void (*committed)(void *context, const struct commit *commit);
    /* MESSAGES are dead, for what came of them the relay refuses for good. */
    void (*refused)(void *context, uint64_t messages, const char *words);
    /* Where messages are to be stored there is no room (WORDS), or there is again (NULL). */
    void (*full)(void *context, const char *words);
    /* The session was lost, and with it what is in windows: feed_drop_windows() is to be called. */
    void (*lost)(void *context, struct feed *feed);
    /* It cannot go on at all. */
    void (*failed)(void *context, const struct fault *fault);
};

struct feed {
    struct feed *next; /* the stage's */
    struct feed_calls calls;
    const char *topic; /* or a pattern */
    const char *group;
    struct client_link *link;
    struct stage_steps *steps; /* the stage's */
    bool keeps; /* the bytes of messages stay until they are settled: what is not done with, the steps are to forget */

    uint32_t want;            /* messages that it should have in hand at most; 0: it fetches nothing */
    struct stage_queue queue; /* of messages that were not taken */
    struct format_item item;  /* the next one, when it was looked at */
    bool looked;
    uint64_t working;  /* taken, and not yet said what became of them, but for those in windows */
    uint64_t windowed; /* in windows */

    struct commit open;      /* is being filled */
    struct commit sent;      /* is under way */
    uint64_t commit_outputs; /* messages that a commit should have at most, exceeded by one task's */
    bool gathers;            /* a commit waits a little for more, as long as messages wait for their turn here */
    int64_t open_since;      /* when `open` got its first message; monotonic */
    uint64_t alone; /* so many messages are worked upon one by one, as something that came of one was refused */

    uint64_t tickets;              /* given out */
    uint64_t lost;                 /* those of parcels below this are */
    struct stage_parcel **windows; /* parcels with messages in windows, by ticket */
    size_t windows_count, windows_capacity;

    /*
     * Who holds something is not given everything: suspects (DESIGN.md) go to those who hold nothing, and a group has its
     * max_in_flight. What waits in windows could wait for ever for what waits in the relay. So with windows it is asked
     * every now and then, when nothing has come, whether something waits.
     */
    uint32_t patience; /* of the fetch under way, milliseconds */
    uint64_t asked_at; /* tickets given out before it */
    bool doubts;       /* nothing came of the last one, though it was waited for */
    bool starved;      /* something waits, and is not given: windows are to end */

    bool subscribed;
    bool trimmed; /* it rests, and has given back its memory */
    bool leaving;
    bool broken;
    bool at_end; /* the last answer said that nothing more is there */
};

/*
 * Opens a feed on TOPIC for GROUP, which both must stay; NAME is what it calls itself to the relay. It fetches when
 * `want` is set and feed_pump() called. MP_ERR_INVALID, MP_ERR_MEMORY, MP_ERR_IO.
 */
enum mp_error feed_open(struct event_base *base, const char *url, const char *name, const char *topic,
                        const char *group, const struct feed_calls *calls, struct feed **feed, struct fault *fault);
/* At once; messages that are not settled are handed out again when their leases end. NULL is allowed. */
void feed_close(struct feed *feed);

/*
 * Fetches, if it wants more, and sends what is to be committed, if nothing is under way. To be called after changes, with
 * the monotonic time, and again at the time that it returns; CLOCK_NEVER: after changes only.
 */
int64_t feed_pump(struct feed *feed, int64_t now);

/* Whether the next commit has so much that nothing more should be begun. */
bool feed_is_full(const struct feed *feed);

/* The next message, number *INDEX of *PARCEL; NULL: there is none. Good until it is taken. */
const struct format_item *feed_look(struct feed *feed, struct stage_parcel **parcel, uint32_t *index);
/* Takes the message that was looked at. */
void feed_take(struct feed *feed);
/* Gives back to the relay what is in the queue. */
void feed_return(struct feed *feed);
/*
 * Whether PARCEL is leased for sure (client_lease_holds()): if not, others may have its messages, and those that were not
 * begun are to be given back. NOW: monotonic.
 */
bool feed_holds(const struct feed *feed, const struct stage_parcel *parcel, int64_t now);
/* Gives back what is in the queue and may not be leased any more. */
void feed_check(struct feed *feed, int64_t now);

/* Whether the leases of PARCEL have ended with their session: what becomes of its messages does not count. */
static inline bool feed_has_lost(const struct feed *feed, const struct stage_parcel *parcel)
{
    return parcel->ticket < feed->lost;
}

/* COUNT parts that were taken, and not lost, are done. Room in open.parts must be reserved (commit_reserve()). */
void feed_commit(struct feed *feed, const struct part *parts, uint32_t count);
/* All that is in the next commit is not committed, but settled as HOW says. */
void feed_give_up(struct feed *feed, const struct protocol_settlement *how);
/* PART, taken, is to be settled as HOW says; lost ones are dropped. */
void feed_settle(struct feed *feed, const struct part *part, const struct protocol_settlement *how);

/* PART, taken, is forgotten: nothing is said to the relay. */
void feed_drop(struct feed *feed, const struct part *part);

/* A message of PARCEL, taken, is in a window from now on. MP_ERR_MEMORY. */
enum mp_error feed_hold(struct feed *feed, struct stage_parcel *parcel);
/* The message of TICKET, which is in a window. */
struct part feed_held(const struct feed *feed, uint64_t ticket);
/* It is in no window any more, but as if it were just taken. */
void feed_unhold(struct feed *feed, uint64_t ticket);
/* All that is in windows is lost. */
void feed_drop_windows(struct feed *feed);

void feed_pin(struct stage_parcel *parcel);
void feed_unpin(struct stage_parcel *parcel);

/* Whether it has nothing in hand but what waits in windows: no message in the queue, worked upon, or to be committed. */
bool feed_is_idle(const struct feed *feed);

/* Leaves the relay when what is settled is recorded; what is leased and not settled is given back. */
void feed_leave(struct feed *feed);
bool feed_has_left(const struct feed *feed);

#endif
