/*
 * server_rig.h: for tests: a server with an owner that keeps what happens, and raw sockets that speak to it.
 *
 * Server and test share one thread: what waits for the server turns its loop meanwhile. A wait that is in vain for 20
 * seconds fails the test.
 */
#ifndef TESTS_SERVER_RIG_H
#define TESTS_SERVER_RIG_H

#include "folder.h"

#include "transport/server.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <event2/event.h>
#include <string.h>

struct rig {
    char directory[FOLDER_PATH];
    struct event_base *base;
    struct event *watchdog;
    struct server *server;
    struct server_settings settings; /* set before rig_open() what is to differ; the callbacks are the rig's */
    struct address address;

    bool echo; /* answer each request with its own bytes, and keep none */
    bool close_on_message;
    bool close_on_connect;
    bool admits;
    unsigned admit_calls;
    uint8_t head[SERVER_HEAD];
    size_t head_size;

    struct server_message *first; /* received and kept, in order */
    struct server_message **end;
    unsigned kept;
    unsigned connected;
    unsigned disconnected;
    unsigned troubles;
    server_connection last_connection;
    server_connection last_disconnected;
    char trouble[256];
};

/* A server as rig->settings say, at a Unix socket of its own, or a free port of 127.0.0.1. */
void rig_open(struct rig *rig, enum address_kind kind);
void rig_close(struct rig *rig);

/* Turns the loop once, waiting for an event. */
void rig_turn(struct rig *rig);

/* Turns the loop while CONDITION is false. */
#define rig_until(rig, condition)                                                                                      \
    do {                                                                                                               \
        while (!(condition))                                                                                           \
            rig_turn(rig);                                                                                             \
    } while (0)

/* Turns the loop as long as there is something to do at once. */
void rig_settle(struct rig *rig);

/* Takes the first message kept, which the caller frees. */
struct server_message *rig_take(struct rig *rig);

/* A socket connected to the server, non-blocking. Nothing was sent yet. */
int rig_connect(struct rig *rig);

/* The same, and both ends have greeted; the peer is of protocol PEER. */
int rig_greet(struct rig *rig, enum server_protocol peer);

/* Writes all, turning the loop while there is no room. */
void rig_write(struct rig *rig, int descriptor, const void *data, size_t size);

/* Writes what there is room for without turning the loop; the number of bytes. */
size_t rig_write_some(int descriptor, const void *data, size_t size);

/* Reads exactly SIZE bytes, turning the loop meanwhile. */
void rig_read(struct rig *rig, int descriptor, void *data, size_t size);

/* Waits until the server has closed the connection, and closes this end; what comes before is skipped. */
void rig_read_end(struct rig *rig, int descriptor);

/* Writes what precedes a payload of SIZE bytes, and that many of its own; the whole length. */
size_t rig_prefix(const struct rig *rig, uint64_t size, uint8_t *to);

/* A request: prefix, one id with its top bit set, and the body. The length of all. */
size_t rig_request(const struct rig *rig, uint32_t id, const void *body, size_t size, uint8_t *to);

/* Reads a reply to ID and sees that it is BODY. */
void rig_expect_reply(struct rig *rig, int descriptor, uint32_t id, const void *body, size_t size);

#endif
