/*
 * send_spool.h: msend with --spool. It links SQLite, so it is not in msend but in the program that msend becomes for it
 * (bin/msend.c): the others stay as small and as quick to start as they are.
 */
#ifndef CLI_SEND_SPOOL_H
#define CLI_SEND_SPOOL_H

struct send_engine;

/* Takes the engine's input, if it has a topic, and delivers all that waits in the spool. Returns the exit code. */
int send_by_spool(struct send_engine *engine);

/* Prints what waits in DIRECTORY. Returns the exit code. */
int send_spool_status(const char *directory);

#endif
