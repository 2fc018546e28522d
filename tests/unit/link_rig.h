/*
 * link_rig.h: for tests of what has a client on a loop: a server, on a socket, that answers as the fake relay does.
 */
#ifndef TESTS_LINK_RIG_H
#define TESTS_LINK_RIG_H

#include "server_rig.h"

#include "client/client.h"
#include "fake_relay.h"

struct link_rig {
    struct rig rig;
    struct fake_network *network;
    char url[128];
};

void link_rig_open(struct link_rig *link);
void link_rig_close(struct link_rig *link);

/* Answers what has come. */
void link_rig_serve(struct link_rig *link);

/* Turns the loop, and answers, while CONDITION is false. */
#define link_rig_until(link, condition)                                                                                \
    do {                                                                                                               \
        while (!(condition)) {                                                                                         \
            rig_turn(&(link)->rig);                                                                                    \
            link_rig_serve(link);                                                                                      \
        }                                                                                                              \
    } while (0)

/* The server goes, with all connections and what came by them; and it is there again. */
void link_rig_go_away(struct link_rig *link);
void link_rig_return(struct link_rig *link);

/* Publishes COUNT messages, the numbers from 0 on, to the topic `t`. */
void link_rig_publish(struct client *client, uint32_t count);

#endif
