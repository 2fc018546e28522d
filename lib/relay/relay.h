/*
 * relay.h: the relay as a process: the core behind its sockets, until a signal ends it.
 */
#ifndef RELAY_RELAY_H
#define RELAY_RELAY_H

#include "base/fault.h"

#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct core;
struct server;

enum { RELAY_LISTEN_MAX = 64 };

/* What the relay shows to what serves HTTP in its loop. */
struct relay_view {
    struct event_base *base;
    struct core *core;     /* figures.h */
    struct server *server; /* its counters */
};

/*
 * What serves HTTP: lib/web, which stands above the relay. All is called in the loop's thread; between two turns of the
 * loop the relay takes one of its own, so that nothing here may take long.
 */
struct relay_web {
    /* Listens at ADDRESS: HOST:PORT, PORT or unix:/path. MP_ERR_INVALID, MP_ERR_BUSY, MP_ERR_IO; says what to do. */
    enum mp_error (*open)(const char *address, const struct relay_view *view, void **web, struct fault *fault);
    /* Where it is to be reached, "http://127.0.0.1:9090". */
    const char *(*url)(const void *web);
    bool (*is_loopback)(const void *web);
    void (*close)(void *web);
};

struct relay_settings {
    const char *name;                     /* NULL: $MSGPIPE_RELAY, or "default" */
    const char *store;                    /* NULL: by the name */
    const char *listen[RELAY_LISTEN_MAX]; /* URLs besides the Unix socket of the name */
    unsigned listen_count;
    bool only_listen;         /* not on the Unix socket of the name (it is a URL, or systemd gave sockets) */
    bool insecure;            /* TCP addresses that other machines reach are allowed */
    uint32_t max_message;     /* bytes of a body; 0: 16 MiB */
    uint32_t lease;           /* milliseconds; 0: 30,000 */
    unsigned max_connections; /* 0: as many as descriptors allow */
    const char *http;         /* where HTTP is served by WEB; NULL: nowhere */
    const struct relay_web *web;
    double client_rate;   /* messages a second that one client may publish; 0: as many as it likes */
    int64_t trace_age;    /* microseconds that events are kept; 0: a day */
    uint64_t trace_bytes; /* of them, about; 0: 1 GiB */
    double trace_drop;    /* the share of messages of which only failures are kept */
    bool untraced;        /* nothing is written that only traces need */
    int control;          /* a descriptor to what supervises it (base/control.h); when that goes, it stops; -1: none */
    int ready;            /* a descriptor to tell when it serves ("ready\n") or why not; -1: none */
};

/*
 * Serves until SIGTERM or SIGINT, or until its terminal has gone (base/hangup.h); any other SIGHUP is noted in the log.
 * Tells systemd when it is ready (sd_notify(3)) and takes sockets from it (sd_listen_fds(3)). Everything that happens
 * meanwhile is logged; what keeps it from starting is returned: MP_ERR_BUSY (store or socket in use), MP_ERR_DENIED,
 * MP_ERR_VERSION, MP_ERR_DAMAGED, MP_ERR_INVALID, MP_ERR_IO. MP_ERR_IO also when it ends because turn after turn fails of
 * a store that is damaged.
 */
enum mp_error relay_serve(const struct relay_settings *settings, struct fault *fault);

/*
 * Starts the relay as a process of its own: runs ARGUMENTS (NULL at the end; the first names this program) again, in a
 * session of its own, with its log appended to LOG, and waits until it serves. *PID is its process id. The error is
 * that of the new process, in its words. *IDLE: LOG was not there before, and has no more in it than that error.
 */
enum mp_error relay_background(char *const *arguments, const char *log, int *pid, bool *idle, struct fault *fault);

/* The variable that holds the number of a supervisor's descriptor: relay_settings.control. */
#define RELAY_CONTROL "MSGPIPE_CONTROL_FD"
/* The variable for relay_ready_descriptor(). */
#define RELAY_READY "MSGPIPE_READY_FD"

/* The descriptor that relay_background() gave to this process, or -1. For relay_settings.ready. */
int relay_ready_descriptor(void);

#endif
