/*
 * local_order.h: the order of a group's keys, and the keys that dead messages hold.
 */
#ifndef QUEUE_LOCAL_ORDER_H
#define QUEUE_LOCAL_ORDER_H

#include "queue/local.h"
#include "queue/order.h"

struct group_order {
    struct order order;
    uint64_t scanned; /* messages below are in the order, if they are not settled */
    struct local *local;
    bool holds;            /* on_dead: hold */
    uint64_t letters_next; /* letters below were looked at, of those that were there at the beginning, */
    uint64_t letters_end;  /* which end here */
};

/* The hash of a message's key, or ORDER_NO_KEY. */
uint64_t order_key_of(const struct record *record);

/* local_hold.c */
/* ORDER is GROUP's, and new. */
enum mp_error hold_begin(struct local *local, const struct group *group, struct group_order *order,
                         struct fault *fault);
/* Looks at the next frame of letters, while letters_next is below letters_end; takes its size off *BYTES. */
enum mp_error hold_next(struct local *local, const struct group *group, size_t *bytes, struct fault *fault);
/* COUNT messages from FIRST on died. Call it before they leave the order. */
enum mp_error hold_dead(struct group_order *order, uint64_t first, uint32_t count);

#endif
