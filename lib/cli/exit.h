/*
 * exit.h: how a tool ends: exit codes, the same in every tool, and what is said on stderr.
 */
#ifndef CLI_EXIT_H
#define CLI_EXIT_H

#include "base/fault.h"

#include <stdbool.h>

enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 64,    /* a wrong command line */
    EXIT_REJECTED = 65, /* finished, but messages were rejected or dead-lettered */
    EXIT_NO_INPUT = 66, /* an input cannot be read; what was named is not there */
    EXIT_NO_RELAY = 69, /* no relay, or nobody answers */
    EXIT_IO = 74,       /* input or output error */
    EXIT_LATER = 75,    /* topic full, store in use */
    EXIT_DENIED = 77,
    EXIT_CONFIG = 78,   /* bad configuration */
    EXIT_TIMEOUT = 124, /* waited in vain */
    EXIT_CANNOT_RUN = 126,
    EXIT_NOT_FOUND = 127 /* no such command */
};

/* The exit code for ERROR. */
int exit_code_of(enum mp_error error);

/*
 * Sets what every message begins with, and takes note of signals that were ignored from the start. Call it first:
 * options_parse() does. SIGPIPE is ignored from then on, so that a write tells what happened. Standard descriptors that
 * were closed are protected: reading and writing them fails, and nothing else takes their number.
 */
void exit_setup(const char *tool);
const char *exit_tool(void);

/* "TOOL: what happened: what to do" on stderr; a newline is added, a progress line is erased first. */
void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Tells FAULT's text and returns the exit code for it. */
int tell_fault(const struct fault *fault);

/*
 * No relay at RELAY (NULL: the default): tells FAULT, which relays run, and how to start one: by START, a command line
 * (NULL: that of a relay alone). Returns 69.
 */
int tell_no_relay(const char *relay, const char *start, const struct fault *fault);

/* Dies by SIGNAL, as the shell expects of an interrupted program, without a core file. */
_Noreturn void exit_by_signal(int signal);

/*
 * The reader of stdout has gone: dies by SIGPIPE, quietly, as every filter does; where SIGPIPE was ignored when the
 * tool started, tells it and returns 74.
 */
int exit_by_pipe(void);

/* Whether SIGNAL was ignored when the tool started (nohup, a background job of a script). */
bool exit_was_ignored(int signal);

#endif
