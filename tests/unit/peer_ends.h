/*
 * peer_ends.h: what the tests of direct mode share: an event loop with a time limit, ends that collect what they get,
 * addresses in a folder of the test's own, and bare sockets that greet, or do not.
 */
#ifndef TESTS_PEER_ENDS_H
#define TESTS_PEER_ENDS_H

#include "folder.h"

#include "transport/peer.h"

#include <event2/event.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

/* The loop and the folder of one test: for cmocka's setup and teardown, which put it into *state. */
struct ends_world {
    struct event_base *base;
    char folder[FOLDER_PATH];
    unsigned addresses;
};
int ends_setup(void **state);
int ends_teardown(void **state);

/* One end, and what it has seen. */
struct ends_end {
    struct ends_world *world;
    struct peer *peer;
    struct {
        char *text;
        struct peer_token token;
    } * got;
    unsigned got_count, got_capacity;
    unsigned peers, writable, drained, surveys;
    bool finished;
    struct peer_result result;
    char trouble[512];
    bool echo; /* answers each message with "re: " and its body */
    bool hold; /* keeps what it gets in `held`, as a slow owner does */
    struct peer_message **held;
    unsigned held_count;
};

/* An address for a listener: a socket in the folder, or a free TCP port. The text belongs to the caller's array. */
enum { ENDS_URL = 128 };
void ends_url(struct ends_world *world, bool tcp, char url[ENDS_URL]);

/* Opens END; SETTINGS says all but the callbacks. */
void ends_open(struct ends_world *world, struct ends_end *end, struct peer_settings settings);
void ends_close(struct ends_end *end);

#define ENDS_TEST(name) cmocka_unit_test_setup_teardown(name, ends_setup, ends_teardown)

/* Sends TEXT, which must be taken. */
void ends_send(struct ends_end *end, const char *text);

/* "message NUMBER": sends that; END got it as its message AT. */
void ends_send_number(struct ends_end *end, unsigned number);
void ends_expect_number(const struct ends_end *end, unsigned at, unsigned number);

/* A peer_part's release() that counts how often it was called. */
extern unsigned ends_releases;
void ends_count_release(void *owner);

/* Finishes END within ten seconds, with nothing left unwritten or unread. */
void ends_finish(struct ends_world *world, struct ends_end *end);

/* Runs the loop until CONDITION; fails the test after 20 seconds. */
#define ENDS_AWAIT(world, condition)                                                                                   \
    do {                                                                                                               \
        struct event *ends_limit = ends_limit_start(world);                                                            \
        while (!(condition))                                                                                           \
            ends_step(world, ends_limit, #condition, __FILE__, __LINE__);                                              \
        event_free(ends_limit);                                                                                        \
    } while (0)
struct event *ends_limit_start(struct ends_world *world);
void ends_step(struct ends_world *world, struct event *limit, const char *what, const char *file, int line);

/* Lets the loop do what is due now, without waiting. */
void ends_spin(struct ends_world *world);

/* A bare blocking socket connected to URL (as peer_url() gives it), and one that listens at an ipc URL. */
int ends_connect(const char *url);
int ends_listen(const char *url);
/* Greets as PROTOCOL (the SP number) and reads the other end's greeting while the loop runs. */
void ends_greet(struct ends_world *world, int descriptor, unsigned protocol);
/* Reads SIZE bytes from DESCRIPTOR while the loop runs. */
void ends_read(struct ends_world *world, int descriptor, void *bytes, size_t size);

#endif
