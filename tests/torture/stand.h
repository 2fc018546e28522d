/*
 * stand.h: what trials in C stand on: their options, a folder of their own, a relay in it, and the row at the end.
 *
 *     NAME [--short|--long] [--tools DIRECTORY] [--seed N] [--keep]
 *
 * The short form is the default. --tools: where mrelay is (default: in $PATH). The folder is below $TMPDIR (where that
 * is not set in /dev/shm, or /tmp), is this user's place for relays, and is removed at the end unless something was found,
 * or with --keep.
 */
#ifndef STAND_H
#define STAND_H

#include "scratch.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { STAND_PATH = 512, STAND_STARTED = 64 };

/* What a program takes in memory and time with sanitizers says nothing. */
#ifdef MSGPIPE_SANITIZERS
enum { STAND_MEASURED = 0 };
#else
enum { STAND_MEASURED = 1 };
#endif

struct stand {
    const char *name;
    bool longer, keep;
    uint64_t seed, random;
    unsigned found;
    char folder[SCRATCH_PATH];
    char tools[STAND_PATH];
    char relay_name[32];
    pid_t relay; /* 0: none runs */
    pid_t started[STAND_STARTED];
    unsigned started_count;
};

/* Takes the options, makes the folder and the seed. Ends the program where it cannot (64, 71). NAME stays the caller's. */
void stand_open(struct stand *stand, const char *name, int argc, char **argv);

/* Prints the row, what was TRIED and what was FOUND, removes the folder or names it; the exit code. */
int stand_close(struct stand *stand, const char *tried, const char *found);

/* Something was found: a line of words about it. The first hundred are printed, all are counted. */
void stand_find(struct stand *stand, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The trial itself cannot go on: says why, ends the relay, and the program with 1. */
_Noreturn void stand_give_up(struct stand *stand, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The machine lacks what the trial needs: says what, and ends with 77. */
_Noreturn void stand_skip(struct stand *stand, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A number below LIMIT that follows from the seed. */
uint32_t stand_below(struct stand *stand, uint32_t limit);

/* Microseconds of the monotonic clock. */
int64_t stand_now(void);

/*
 * Starts a relay with OPTIONS (which end with NULL, 24 at most), and waits until it serves. LIMIT, above 0: it may open
 * so many descriptors. Its log is the file `log` in the folder, to which it is appended.
 */
void stand_start_relay(struct stand *stand, const char *const options[], unsigned limit);
/* SIGTERM; another end than with 0 is found. */
void stand_end_relay(struct stand *stand);

/* Runs a tool, WORDS[0] by its name, to its end; output goes to the file OUTPUT in the folder. Its exit code. */
int stand_run(struct stand *stand, const char *const words[], const char *output);

/*
 * Starts a program, WORDS[0] with its path or by its name in $PATH; its output, and errors, are appended to the file
 * OUTPUT in the folder. It is ended with the trial. Its process id.
 */
pid_t stand_start(struct stand *stand, const char *const words[], const char *output);

/* Runs a shell's COMMAND (a format); its exit code. */
int stand_shell(struct stand *stand, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Where the relay listens: its Unix socket, and its first TCP address, as URLs. */
void stand_addresses(struct stand *stand, char ipc[STAND_PATH], char tcp[STAND_PATH]);

/* A number of what `mrelay status --json` says. */
uint64_t stand_status(struct stand *stand, const char *name);

/* Bytes of the file at PATH; 0: there is none. */
uint64_t stand_size(const char *path);

/* Of a process: resident bytes now, and at most so far; processor microseconds so far. 0: it is not known. */
uint64_t stand_resident(pid_t pid);
uint64_t stand_most_resident(pid_t pid);
int64_t stand_processor(pid_t pid);

#endif
