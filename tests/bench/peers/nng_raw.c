/*
 * What libnng itself reaches with one message a send: PUSH to PULL with many asynchronous operations under way on each
 * side. It is the measure for direct raw mode, where every message is one of nng's.
 *
 * --address is the URL; `consume` listens, `publish` dials and stays until the receiver has left. --window is the
 * number of operations under way.
 */
#include "../bench.h"

#include <nng/nng.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_WINDOW = 64, QUEUE = 512 };

/* Shared by the callbacks of all operations of one side. */
struct nng_side {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    nng_socket socket;
    struct bench_pace pace;
    struct bench_ledger ledger;
    uint64_t done; /* sends completed */
    int64_t last;  /* when the newest message came */
    bool left;     /* the receiver is gone */
};

struct nng_operation {
    nng_aio *aio;
    struct nng_side *side;
};

static void nng_must(int error, const char *what)
{
    if (error)
        bench_die("nng: %s: %s", what, nng_strerror(error));
}

/* Starts the next send, if there is one. The lock is not held. */
static void nng_send_next(struct nng_operation *operation)
{
    struct nng_side *side = operation->side;
    nng_msg *message;
    uint64_t sequence;
    pthread_mutex_lock(&side->lock);
    bool more = bench_pace_next(&side->pace, &sequence);
    pthread_mutex_unlock(&side->lock);
    if (!more)
        return;
    nng_must(nng_msg_alloc(&message, BENCH_BODY), "message");
    bench_body(nng_msg_body(message), sequence);
    nng_aio_set_msg(operation->aio, message);
    nng_send_aio(side->socket, operation->aio);
}

static void nng_on_sent(void *argument)
{
    struct nng_operation *operation = argument;
    struct nng_side *side = operation->side;
    nng_must(nng_aio_result(operation->aio), "send");
    pthread_mutex_lock(&side->lock);
    side->done++;
    pthread_cond_signal(&side->changed);
    pthread_mutex_unlock(&side->lock);
    nng_send_next(operation);
}

static void nng_on_received(void *argument)
{
    struct nng_operation *operation = argument;
    struct nng_side *side = operation->side;
    if (nng_aio_result(operation->aio) != 0)
        return; /* the socket is being closed */
    nng_msg *message = nng_aio_get_msg(operation->aio);
    pthread_mutex_lock(&side->lock);
    bench_ledger_mark(&side->ledger, nng_msg_body(message), nng_msg_len(message));
    side->last = bench_now();
    bool complete = bench_ledger_complete(&side->ledger);
    if (complete)
        pthread_cond_signal(&side->changed);
    pthread_mutex_unlock(&side->lock);
    nng_msg_free(message);
    if (!complete)
        nng_recv_aio(side->socket, operation->aio);
}

static void nng_on_left(nng_pipe pipe, nng_pipe_ev event, void *argument)
{
    struct nng_side *side = argument;
    (void)pipe;
    (void)event;
    pthread_mutex_lock(&side->lock);
    side->left = true;
    pthread_cond_signal(&side->changed);
    pthread_mutex_unlock(&side->lock);
}

static struct nng_operation *nng_operations(struct nng_side *side, unsigned count, void (*callback)(void *))
{
    struct nng_operation *operations = bench_allocate(count, sizeof *operations);
    for (unsigned each = 0; each < count; each++) {
        operations[each].side = side;
        nng_must(nng_aio_alloc(&operations[each].aio, callback, &operations[each]), "operation");
    }
    return operations;
}

static void publish(const struct bench_options *options)
{
    struct nng_side side = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    unsigned window = options->window ? options->window : DEFAULT_WINDOW;
    nng_must(nng_push0_open(&side.socket), "socket");
    nng_socket_set_int(side.socket, NNG_OPT_SENDBUF, QUEUE); /* versions without such a queue do without */
    nng_must(nng_pipe_notify(side.socket, NNG_PIPE_EV_REM_POST, nng_on_left, &side), "notification");
    nng_must(nng_dial(side.socket, options->address, NULL, 0), options->address);
    struct nng_operation *operations = nng_operations(&side, window, nng_on_sent);

    side.pace = bench_pace_start(options);
    for (unsigned each = 0; each < window; each++)
        nng_send_next(&operations[each]);
    pthread_mutex_lock(&side.lock);
    while (side.done < side.pace.messages && !side.left)
        pthread_cond_wait(&side.changed, &side.lock);
    int64_t end = bench_now();
    while (!side.left)
        pthread_cond_wait(&side.changed, &side.lock);
    pthread_mutex_unlock(&side.lock);
    bench_report(side.done, side.pace.begin, end, NULL, NULL);
    exit(0); /* the operations belong to the library until the process ends */
}

/* Waits for all messages, as long as some keep coming. */
static void nng_await_all(struct nng_side *side)
{
    pthread_mutex_lock(&side->lock);
    side->last = bench_now();
    while (!bench_ledger_complete(&side->ledger)) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec++;
        pthread_cond_timedwait(&side->changed, &side->lock, &until);
        if (bench_now() - side->last > (int64_t)BENCH_PATIENCE_MS * 1000000)
            break;
    }
    pthread_mutex_unlock(&side->lock);
}

static void consume(const struct bench_options *options)
{
    struct nng_side side = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    unsigned window = options->window ? options->window : DEFAULT_WINDOW;
    side.ledger = bench_ledger_make(options->messages);
    nng_must(nng_pull0_open(&side.socket), "socket");
    nng_must(nng_listen(side.socket, options->address, NULL, 0), options->address);
    struct nng_operation *operations = nng_operations(&side, window, nng_on_received);
    int64_t begin = bench_now();
    for (unsigned each = 0; each < window; each++)
        nng_recv_aio(side.socket, operations[each].aio);
    bench_say_ready();
    nng_await_all(&side);
    bench_report(side.ledger.distinct, begin, side.last, &side.ledger, NULL);
    exit(0);
}

int main(int argc, char **argv)
{
    struct bench_options options = bench_parse(argc, argv);
    if (bench_role(&options, "publish"))
        publish(&options);
    else if (bench_role(&options, "consume"))
        consume(&options);
    else
        bench_die("nng has no role '%s'", options.role);
    return 0;
}
