/*
 * door.h: bounds the connections of an HTTP server of libevent: how many there are, and how long each lives.
 *
 * evhttp knows a limit for the silence of a connection, not for its life, nor for their number: somebody who sends a byte
 * a second, or opens thousands, would keep memory and descriptors. The door makes the bufferevents that evhttp takes,
 * sees when it has let go of them, stops accepting while there are too many, and ends what takes too long.
 */
#ifndef WEB_DOOR_H
#define WEB_DOOR_H

#include "base/fault.h"

#include <stdint.h>

struct event_base;
struct evhttp;
struct evhttp_bound_socket;
struct door;

enum { DOOR_CONNECTIONS = 64 };
#define DOOR_LIFE (INT64_C(60) * 1000 * 1000) /* microseconds */

/* Watches all connections of HTTP, which listens at SOCKET. MP_ERR_MEMORY. */
enum mp_error door_open(struct event_base *base, struct evhttp *http, struct evhttp_bound_socket *socket,
                        struct door **door, struct fault *fault);

/* After evhttp_free(). NULL is allowed. */
void door_close(struct door *door);

unsigned door_connections(const struct door *door);

#endif
