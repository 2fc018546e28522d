#include "runner/flusher.h"

#include "base/memory.h"
#include "base/spawn.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

enum { READING, WRITING };

/*
 * A descriptor goes to the thread through one pipe, an errno number comes back through the other: the thread has nothing
 * in common with the loop but these.
 */
struct flusher {
    int work[2];
    int result[2];
    struct event *event;
    pthread_t thread;
    bool runs; /* the thread */
    void (*done)(void *context, int number);
    void *context;
};

int flusher_flush(int descriptor)
{
#ifdef __APPLE__
    int failed = fcntl(descriptor, F_FULLFSYNC) == -1 && fsync(descriptor) != 0;
#else
    int failed = fdatasync(descriptor);
#endif
    return failed ? errno : 0;
}

/* Reads or writes a number, which a pipe takes as a whole. False: the other end has gone. */
static bool get(int descriptor, int *number)
{
    ssize_t size;
    do
        size = read(descriptor, number, sizeof *number);
    while (size < 0 && errno == EINTR);
    return size == (ssize_t)sizeof *number;
}

static void put(int descriptor, int number)
{
    while (write(descriptor, &number, sizeof number) < 0 && errno == EINTR)
        continue;
}

static void *run(void *context)
{
    const struct flusher *flusher = context;
    int descriptor;
    while (get(flusher->work[READING], &descriptor))
        put(flusher->result[WRITING], flusher_flush(descriptor));
    return NULL;
}

static void on_result(evutil_socket_t descriptor, short what, void *context)
{
    (void)what;
    const struct flusher *flusher = context;
    int number;
    if (get(descriptor, &number))
        flusher->done(flusher->context, number);
}

/* The signals of the program are the loop's business. */
static int start_thread(struct flusher *flusher)
{
    sigset_t all, before;
    sigfillset(&all);
    int error = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (error)
        return error;
    error = pthread_create(&flusher->thread, NULL, run, flusher);
    flusher->runs = error == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

enum mp_error flusher_open(struct event_base *base, void (*done)(void *context, int number), void *context,
                           struct flusher **result, struct fault *fault)
{
    struct flusher *flusher = memory_allocate(sizeof *flusher);
    if (!flusher)
        return fault_memory(fault);
    flusher->done = done;
    flusher->context = context;
    flusher->work[READING] = flusher->work[WRITING] = flusher->result[READING] = flusher->result[WRITING] = -1;
    int error = spawn_pipe(flusher->work);
    if (!error)
        error = spawn_pipe(flusher->result);
    if (!error) {
        flusher->event = event_new(base, flusher->result[READING], EV_READ | EV_PERSIST, on_result, flusher);
        error = flusher->event && event_add(flusher->event, NULL) == 0 ? start_thread(flusher) : ENOMEM;
    }
    if (error) {
        flusher_close(flusher);
        return fault_system(fault, MP_ERR_BUSY, error, "cannot start a thread that flushes files");
    }
    *result = flusher;
    return MP_OK;
}

void flusher_close(struct flusher *flusher)
{
    if (!flusher)
        return;
    if (flusher->event)
        event_free(flusher->event);
    if (flusher->work[WRITING] >= 0)
        close(flusher->work[WRITING]);
    if (flusher->runs)
        pthread_join(flusher->thread, NULL);
    const int others[] = {flusher->work[READING], flusher->result[READING], flusher->result[WRITING]};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i] >= 0)
            close(others[i]);
    memory_release(flusher);
}

void flusher_start(struct flusher *flusher, int descriptor)
{
    put(flusher->work[WRITING], descriptor);
}
