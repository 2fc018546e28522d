/*
 * channel_nng.c: the channel over nng's REQ sockets.
 *
 * Each lane is a socket with one context. A request starts both of its operations at once, sending and receiving; nng
 * sends it again by itself when the connection ends before the reply. Their callbacks run in nng's threads: they put the
 * reply on a list, and wake the owner's loop by a descriptor.
 *
 * nng 1.5.2 can crash when an operation is cancelled while its request waits to be sent, so none ever is: forgetting a
 * request closes its context, which nng does properly, and the next request opens another. A request whose operations
 * have both ended is used again.
 */
#include "transport/channel.h"

#include "base/memory.h"
#include "transport/address.h"

#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/eventfd.h>
#endif

enum {
    /* The largest frame is that of the largest message, and a reply can hold one and a little more. */
    RECEIVE_MAXIMUM = 64 * 1024 * 1024 + 1024 * 1024,
    RECONNECT_MINIMUM = 10,  /* milliseconds */
    RECONNECT_MAXIMUM = 250, /* milliseconds */
    /*
     * Milliseconds. It has to be finite: then nng sends a request again as soon as there is a connection again, and
     * otherwise never. As a time it is to be longer than any answer takes, for it repeats what is under way.
     */
    RESEND_TIME = 5 * 60 * 1000
};

struct lane;

struct request {
    struct request *next; /* among the idle ones, or those to be sent again */
    struct request *all;  /* the next of all */
    struct lane *lane;
    nng_aio *sending;
    nng_aio *receiving;
    struct channel_reply *reply; /* made beforehand, so that a reply never fails for want of memory */
    unsigned number;             /* the request under way when it equals the lane's */
    unsigned pending;            /* operations that have not ended */
    bool failed;                 /* of nng's own trouble: the request, kept in `sending`, is to be sent again */
};

struct lane {
    struct channel_nng *channel;
    enum channel_lane lane;
    bool open;
    bool has_context;
    bool busy;
    unsigned number;
    nng_socket socket;
    nng_ctx context;
    atomic_int connections;
    struct request *requests; /* all of them */
    struct request *idle;
    struct request *again;
};

struct channel_nng {
    struct channel channel;
    struct address address;
    struct lane lanes[CHANNEL_LANES];
    pthread_mutex_t lock; /* of the replies, and of lanes and requests but for what only the owner's thread uses */
    struct channel_reply *first;
    struct channel_reply *last;
    bool awake;  /* the descriptor is readable */
    int wake[2]; /* read, write; the same for an eventfd */
};

static struct channel_nng *channel_of(struct channel *channel)
{
    return (struct channel_nng *)channel;
}

/* ---- waking the owner's loop ---------------------------------------------------------------------------------- */

static bool open_wake(int wake[2])
{
#ifdef __linux__
    wake[0] = wake[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return wake[0] >= 0;
#else
    if (pipe(wake) != 0) {
        wake[0] = wake[1] = -1;
        return false;
    }
    for (int i = 0; i < 2; i++) {
        fcntl(wake[i], F_SETFD, FD_CLOEXEC);
        fcntl(wake[i], F_SETFL, O_NONBLOCK);
    }
    return true;
#endif
}

static void close_wake(const int wake[2])
{
    if (wake[0] >= 0) {
        close(wake[0]);
    }
    if (wake[1] >= 0 && wake[1] != wake[0]) {
        close(wake[1]);
    }
}

/* Under the lock. */
static void set_awake(struct channel_nng *nng, bool awake)
{
    uint64_t one = 1;
    ssize_t outcome = 0;

    if (awake != nng->awake) {
        outcome = awake ? write(nng->wake[1], &one, sizeof(one)) : read(nng->wake[0], &one, sizeof(one));
    }
    (void)outcome; /* there is room for one, and one is there */
    nng->awake = awake;
}

/* ---- in nng's threads ----------------------------------------------------------------------------------------- */

static void release_message(void *owner)
{
    nng_msg_free(owner);
}

/* Under the lock: an operation of REQUEST has ended. */
static void operation_ended(struct request *request)
{
    struct lane *lane = request->lane;

    if (--request->pending > 0) {
        return;
    }
    nng_msg *message = nng_aio_get_msg(request->sending);
    if (request->failed && lane->busy && request->number == lane->number && message != NULL) {
        request->next = lane->again;
        lane->again = request;
        set_awake(lane->channel, true);
        return;
    }
    if (message != NULL) {
        nng_msg_free(message);
        nng_aio_set_msg(request->sending, NULL);
    }
    request->next = lane->idle;
    lane->idle = request;
}

static void sent(void *context)
{
    struct request *request = context;
    struct channel_nng *nng = request->lane->channel;
    int result = nng_aio_result(request->sending);

    pthread_mutex_lock(&nng->lock);
    request->failed = result != 0 && result != NNG_ECANCELED && result != NNG_ECLOSED;
    if (result == 0) {
        nng_aio_set_msg(request->sending, NULL); /* it is nng's */
    }
    operation_ended(request);
    pthread_mutex_unlock(&nng->lock);
}

static void received(void *context)
{
    struct request *request = context;
    struct lane *lane = request->lane;
    struct channel_nng *nng = lane->channel;
    nng_msg *message = nng_aio_result(request->receiving) == 0 ? nng_aio_get_msg(request->receiving) : NULL;

    pthread_mutex_lock(&nng->lock);
    nng_aio_set_msg(request->receiving, NULL);
    if (message != NULL && lane->busy && request->number == lane->number) {
        struct channel_reply *reply = request->reply;
        *reply = (struct channel_reply){.lane = lane->lane,
                                        .data = nng_msg_body(message),
                                        .size = nng_msg_len(message),
                                        .owner = message,
                                        .release = release_message};
        *(nng->last != NULL ? &nng->last->next : &nng->first) = reply;
        nng->last = reply;
        request->reply = NULL;
        lane->busy = false;
        message = NULL;
        set_awake(nng, true);
    }
    operation_ended(request);
    pthread_mutex_unlock(&nng->lock);
    if (message != NULL) {
        nng_msg_free(message);
    }
}

static void connection_changed(nng_pipe pipe, nng_pipe_ev event, void *context)
{
    struct lane *lane = context;

    (void)pipe;
    atomic_fetch_add(&lane->connections, event == NNG_PIPE_EV_ADD_POST ? 1 : -1);
}

/* ---- lanes ---------------------------------------------------------------------------------------------------- */

static enum mp_error nng_fault(struct fault *fault, const struct channel_nng *nng, int result)
{
    if (result == NNG_ENOMEM) {
        return fault_memory(fault);
    }
    return fault_set(fault, MP_ERR_IO, "cannot connect to %s: %s", nng->address.text, nng_strerror(result));
}

static int set_options(struct lane *lane)
{
    nng_socket socket = lane->socket;
    int result = nng_socket_set_size(socket, NNG_OPT_RECVMAXSZ, RECEIVE_MAXIMUM);

    if (result == 0) {
        result = nng_socket_set_ms(socket, NNG_OPT_RECONNMINT, RECONNECT_MINIMUM);
    }
    if (result == 0) {
        result = nng_socket_set_ms(socket, NNG_OPT_RECONNMAXT, RECONNECT_MAXIMUM);
    }
    if (result == 0) {
        result = nng_socket_set_ms(socket, NNG_OPT_REQ_RESENDTIME, RESEND_TIME);
    }
    if (result == 0) {
        result = nng_pipe_notify(socket, NNG_PIPE_EV_ADD_POST, connection_changed, lane);
    }
    if (result == 0) {
        result = nng_pipe_notify(socket, NNG_PIPE_EV_REM_POST, connection_changed, lane);
    }
    return result;
}

static int start_dialer(struct lane *lane)
{
    const struct address *address = &lane->channel->address;
    nng_dialer dialer;
    int result = nng_dialer_create(&dialer, lane->socket, address->text);

    if (result == 0 && address->kind == ADDRESS_TCP) {
        result = nng_dialer_set_bool(dialer, NNG_OPT_TCP_KEEPALIVE, true);
    }
    return result == 0 ? nng_dialer_start(dialer, NNG_FLAG_NONBLOCK) : result;
}

static enum mp_error open_lane(struct lane *lane, struct fault *fault)
{
    int result = 0;

    if (!lane->open) {
        result = nng_req0_open(&lane->socket);
        if (result != 0) {
            return nng_fault(fault, lane->channel, result);
        }
        result = set_options(lane);
        if (result == 0) {
            result = start_dialer(lane);
        }
        if (result != 0) {
            nng_close(lane->socket);
            return nng_fault(fault, lane->channel, result);
        }
        lane->open = true;
    }
    if (!lane->has_context) {
        result = nng_ctx_open(&lane->context, lane->socket);
        lane->has_context = result == 0;
    }
    return result == 0 ? MP_OK : nng_fault(fault, lane->channel, result);
}

static void request_free(struct request *request)
{
    if (request->sending != NULL) {
        nng_aio_free(request->sending);
    }
    if (request->receiving != NULL) {
        nng_aio_free(request->receiving);
    }
    memory_release(request->reply);
    memory_release(request);
}

static struct request *request_new(struct lane *lane)
{
    struct request *request = memory_allocate(sizeof(*request));

    if (request == NULL) {
        return NULL;
    }
    request->lane = lane;
    if (nng_aio_alloc(&request->sending, sent, request) != 0 ||
        nng_aio_alloc(&request->receiving, received, request) != 0) {
        request_free(request);
        return NULL;
    }
    request->all = lane->requests;
    lane->requests = request;
    return request;
}

/* An idle request, or a new one, with room for its reply. */
static struct request *take_request(struct lane *lane)
{
    pthread_mutex_lock(&lane->channel->lock);
    struct request *request = lane->idle;
    if (request != NULL) {
        lane->idle = request->next;
    }
    pthread_mutex_unlock(&lane->channel->lock);
    if (request == NULL) {
        request = request_new(lane);
    }
    if (request != NULL && request->reply == NULL) {
        request->reply = memory_allocate(sizeof(*request->reply));
        if (request->reply == NULL) {
            pthread_mutex_lock(&lane->channel->lock);
            request->next = lane->idle;
            lane->idle = request;
            pthread_mutex_unlock(&lane->channel->lock);
            return NULL;
        }
    }
    return request;
}

static nng_msg *copy_parts(const struct iovec *parts, int count)
{
    nng_msg *message;
    size_t size = 0;

    for (int i = 0; i < count; i++) {
        size += parts[i].iov_len;
    }
    if (nng_msg_alloc(&message, size) != 0) {
        return NULL;
    }
    uint8_t *at = nng_msg_body(message);
    for (int i = 0; i < count; i++) {
        if (parts[i].iov_len > 0) {
            memcpy(at, parts[i].iov_base, parts[i].iov_len);
            at += parts[i].iov_len;
        }
    }
    return message;
}

/* Starts the operations of REQUEST, whose message is in `sending`. */
static void start(struct request *request)
{
    request->failed = false;
    request->pending = 2;
    nng_ctx_send(request->lane->context, request->sending);
    nng_ctx_recv(request->lane->context, request->receiving);
}

/* ---- the operations of a channel ------------------------------------------------------------------------------ */

static enum mp_error nng_channel_send(struct channel *channel, enum channel_lane number, const struct iovec *parts,
                                      int count, struct fault *fault)
{
    struct channel_nng *nng = channel_of(channel);
    struct lane *lane = &nng->lanes[number];
    enum mp_error error = open_lane(lane, fault);

    if (error != MP_OK) {
        return error;
    }
    nng_msg *message = copy_parts(parts, count);
    if (message == NULL) {
        return fault_memory(fault);
    }
    struct request *request = take_request(lane);
    if (request == NULL) {
        nng_msg_free(message);
        return fault_memory(fault);
    }
    pthread_mutex_lock(&nng->lock);
    request->number = ++lane->number;
    lane->busy = true;
    pthread_mutex_unlock(&nng->lock);
    nng_aio_set_msg(request->sending, message);
    start(request);
    return MP_OK;
}

/* Sends again what nng could not take, most likely for want of memory. */
static void start_again(struct channel_nng *nng)
{
    for (int i = 0; i < CHANNEL_LANES; i++) {
        pthread_mutex_lock(&nng->lock);
        struct request *request = nng->lanes[i].again;
        nng->lanes[i].again = NULL;
        pthread_mutex_unlock(&nng->lock);
        if (request != NULL) { /* there is one at most: that under way */
            start(request);
        }
    }
}

static struct channel_reply *nng_channel_receive(struct channel *channel)
{
    struct channel_nng *nng = channel_of(channel);

    pthread_mutex_lock(&nng->lock);
    struct channel_reply *reply = nng->first;
    bool again = false;
    if (reply != NULL) {
        nng->first = reply->next;
        reply->next = NULL;
    } else {
        again = nng->awake;
    }
    if (nng->first == NULL) {
        nng->last = NULL;
        again = again || nng->awake;
        set_awake(nng, false);
    }
    pthread_mutex_unlock(&nng->lock);
    if (again) {
        start_again(nng);
    }
    return reply;
}

/* Takes the replies of LANE off the list; under the lock. */
static struct channel_reply *take_replies(struct channel_nng *nng, enum channel_lane lane)
{
    struct channel_reply *taken = NULL;
    struct channel_reply **at = &nng->first;

    nng->last = NULL;
    while (*at != NULL) {
        struct channel_reply *reply = *at;
        if (reply->lane == lane) {
            *at = reply->next;
            reply->next = taken;
            taken = reply;
        } else {
            nng->last = reply;
            at = &reply->next;
        }
    }
    return taken;
}

static void free_replies(struct channel_reply *reply)
{
    while (reply != NULL) {
        struct channel_reply *next = reply->next;
        channel_reply_free(reply);
        reply = next;
    }
}

static void nng_channel_forget(struct channel *channel, enum channel_lane number)
{
    struct channel_nng *nng = channel_of(channel);
    struct lane *lane = &nng->lanes[number];

    pthread_mutex_lock(&nng->lock);
    bool pending = lane->busy;
    lane->busy = false;
    struct channel_reply *replies = take_replies(nng, number);
    struct request *again = lane->again;
    lane->again = NULL;
    if (again != NULL) {
        nng_msg_free(nng_aio_get_msg(again->sending));
        nng_aio_set_msg(again->sending, NULL);
        again->next = lane->idle;
        lane->idle = again;
    }
    pthread_mutex_unlock(&nng->lock);
    free_replies(replies);
    if (pending && lane->has_context) {
        nng_ctx_close(lane->context);
        lane->has_context = false;
    }
}

static int nng_channel_descriptor(const struct channel *channel)
{
    return ((const struct channel_nng *)channel)->wake[0];
}

static bool nng_channel_connected(const struct channel *channel, enum channel_lane lane)
{
    return atomic_load(&((const struct channel_nng *)channel)->lanes[lane].connections) > 0;
}

static void nng_channel_close(struct channel *channel)
{
    struct channel_nng *nng = channel_of(channel);

    for (int i = 0; i < CHANNEL_LANES; i++) {
        nng_channel_forget(channel, (enum channel_lane)i);
    }
    for (int i = 0; i < CHANNEL_LANES; i++) {
        struct lane *lane = &nng->lanes[i];
        if (lane->open) {
            nng_close(lane->socket);
        }
        while (lane->requests != NULL) {
            struct request *request = lane->requests;
            lane->requests = request->all;
            /* Their callbacks have come or are about to; freeing waits for them. */
            nng_aio_wait(request->sending);
            nng_aio_wait(request->receiving);
            request_free(request);
        }
    }
    free_replies(nng->first);
    close_wake(nng->wake);
    pthread_mutex_destroy(&nng->lock);
    memory_release(nng);
}

static const struct channel_operations operations = {
    .send = nng_channel_send,
    .receive = nng_channel_receive,
    .forget = nng_channel_forget,
    .descriptor = nng_channel_descriptor,
    .connected = nng_channel_connected,
    .close = nng_channel_close,
};

void channel_reply_free(struct channel_reply *reply)
{
    if (reply != NULL) {
        if (reply->release != NULL) {
            reply->release(reply->owner);
        }
        memory_release(reply);
    }
}

enum mp_error channel_open_nng(const char *url, struct channel **channel, struct fault *fault)
{
    struct address address;
    enum mp_error error = address_parse(url, &address, fault);

    *channel = NULL;
    if (error != MP_OK) {
        return error;
    }
    if (address.kind == ADDRESS_TCP &&
        (address.port == 0 || address.host[0] == '\0' || strcmp(address.host, "*") == 0)) {
        return fault_set(fault, MP_ERR_INVALID, "%s: to connect, a host and a port are needed: write tcp://host:port",
                         address.text);
    }
    struct channel_nng *nng = memory_allocate(sizeof(*nng));
    if (nng == NULL) {
        return fault_memory(fault);
    }
    nng->channel.operations = &operations;
    nng->address = address;
    if (!open_wake(nng->wake)) {
        error = fault_system(fault, MP_ERR_IO, errno, "cannot connect to %s", address.text);
        memory_release(nng);
        return error;
    }
    pthread_mutex_init(&nng->lock, NULL);
    for (int i = 0; i < CHANNEL_LANES; i++) {
        nng->lanes[i].channel = nng;
        nng->lanes[i].lane = (enum channel_lane)i;
    }
    *channel = &nng->channel;
    return MP_OK;
}
