#include "client/library.h"

#include "base/memory.h"
#include "transport/address.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

enum { LEAVE_WAIT = 1000, LONGEST_POLL = 3600000 }; /* milliseconds */

static _Thread_local struct fault open_fault;

/* ---- call backs --------------------------------------------------------------------------- */

static void on_refused(void *context, enum mp_error error, const char *text)
{
    struct mp_client *client = context;
    if (client->trouble.code == MP_OK) {
        fault_set(&client->trouble, error, "the relay refused messages: %s", text);
    }
}

static void on_full(void *context, bool full, const char *text)
{
    struct mp_client *client = context;
    client->full = full;
    snprintf(client->full_text, sizeof client->full_text, "%s", text);
}

static void on_failed(void *context, enum mp_error error, const char *text)
{
    struct mp_client *client = context;
    fault_set(&client->trouble, error, "%s", text);
    client->failed = true;
}

/* ---- driving the client ------------------------------------------------------------------- */

enum mp_error library_tell(struct mp_client *client, enum mp_error error, const char *text)
{
    return fault_set(&client->fault, error, "%s", text);
}

enum mp_error library_trouble(struct mp_client *client)
{
    enum mp_error error = client->trouble.code;
    if (error != MP_OK) {
        client->fault = client->trouble;
        if (!client->failed) {
            client->trouble.code = MP_OK;
        }
    }
    return error;
}

void library_drive(struct mp_client *client)
{
    client->driven = clock_monotonic();
    client_process(client->client, client->driven);
    if (!client_is_welcome(client->client)) {
        library_forget_leases(client);
    }
    if (client->link != NULL) {
        unsigned abandoned = atomic_exchange(&client->link->abandoned, 0);
        client_abandon(client->client, client->link->lease, abandoned);
    }
    library_send(client);
}

int64_t library_end(int64_t wait)
{
    int64_t now = clock_monotonic();
    return wait < 0 || wait > (CLOCK_NEVER - now) / 1000 ? CLOCK_NEVER : now + wait * 1000;
}

enum mp_error library_wait(struct mp_client *client, int64_t end)
{
    int64_t now = clock_monotonic();
    if (now >= end) {
        return MP_ERR_TIMEOUT;
    }
    int64_t due = client_due(client->client);
    due = due < end ? due : end;
    int timeout = -1;
    if (due != CLOCK_NEVER) {
        int64_t milliseconds = due <= now ? 0 : (due - now + 999) / 1000;
        timeout = (int)(milliseconds < LONGEST_POLL ? milliseconds : LONGEST_POLL);
    }
    struct pollfd descriptor = {.fd = client_descriptor(client->client), .events = POLLIN};
    if (poll(&descriptor, 1, timeout) < 0) {
        if (errno == EINTR) {
            return library_tell(client, MP_ERR_INTERRUPTED, "interrupted by a signal");
        }
        return fault_system(&client->fault, MP_ERR_IO, errno, "waiting for the relay");
    }
    library_drive(client);
    return MP_OK;
}

/* ---- opening and closing ------------------------------------------------------------------ */

static void dispose(struct mp_client *client)
{
    client_close(client->client);
    library_publish_free(client);
    library_consume_free(client);
    memory_release(client);
}

/* Waits for the relay's greeting. */
static enum mp_error greet(struct mp_client *client, int64_t wait)
{
    int64_t end = library_end(wait);
    while (!client_is_welcome(client->client)) {
        enum mp_error error = library_wait(client, end);
        if (error == MP_ERR_TIMEOUT) {
            return fault_set(&client->fault, MP_ERR_NO_RELAY, "no relay answers at %s: start one with mrelay",
                             client->where);
        }
        if (error == MP_OK) {
            error = library_trouble(client);
        }
        if (error != MP_OK) {
            return error;
        }
    }
    return MP_OK;
}

enum mp_error library_open(struct channel *channel, const char *where, int64_t wait, struct mp_client **result,
                           struct fault *fault)
{
    char name[64];
    snprintf(name, sizeof name, "libmsgpipe %ld", (long)getpid());
    struct mp_client *client = memory_allocate(sizeof *client);
    if (client == NULL) {
        channel->operations->close(channel);
        return fault_memory(fault);
    }
    struct client_settings settings = {.name = name,
                                       .context = client,
                                       .refused = on_refused,
                                       .full = on_full,
                                       .fetched = library_fetched,
                                       .settled = library_settled,
                                       .failed = on_failed};
    snprintf(client->where, sizeof client->where, "%s", where);
    client->fetched_end = &client->fetched;
    enum mp_error error = client_open(channel, &settings, clock_monotonic(), &client->client, fault);
    if (error != MP_OK) {
        channel->operations->close(channel);
        memory_release(client);
        return error;
    }
    error = greet(client, wait);
    if (error != MP_OK) {
        *fault = client->fault;
        dispose(client);
        return error;
    }
    *result = client;
    return MP_OK;
}

enum mp_error mp_open(struct mp_client **client, const char *relay, int64_t wait)
{
    struct address address;
    struct channel *channel = NULL;
    *client = NULL;
    enum mp_error error = address_of_relay(relay, &address, &open_fault);
    if (error == MP_OK) {
        error = channel_open(address.text, &channel, &open_fault);
    }
    return error != MP_OK ? error : library_open(channel, address.text, wait, client, &open_fault);
}

void mp_close(struct mp_client *client)
{
    if (client == NULL) {
        return;
    }
    int64_t end = library_end(LEAVE_WAIT);
    enum mp_error error = client_leave(client->client);
    while (!client_has_left(client->client) && (error == MP_OK || error == MP_ERR_INTERRUPTED)) {
        client->trouble.code = MP_OK;
        error = library_wait(client, end);
    }
    dispose(client);
}

const char *mp_reason(const struct mp_client *client)
{
    return fault_text(client != NULL ? &client->fault : &open_fault);
}
