/*
 * source_watch.h: told when a file, or the directory that it is in, changes: by inotify where there is one. Nothing that
 * it tells can be relied upon (a network's file system says nothing of what others write): look now and then anyway.
 */
#ifndef RUNNER_SOURCE_WATCH_H
#define RUNNER_SOURCE_WATCH_H

#include <stdbool.h>

struct source_watch {
    int descriptor; /* readable when something has changed; -1: there is nothing that could tell */
    int directory;  /* the watch of the directory; -1: none */
    int file;       /* of the file */
};

void source_watch_open(struct source_watch *watch);
void source_watch_close(struct source_watch *watch);

/* Watches the directory of PATH for names that come and go, if it does not yet. */
void source_watch_directory(struct source_watch *watch, const char *path);
/* Watches the file that DESCRIPTOR is open on, in place of another one; -1: none. */
void source_watch_file(struct source_watch *watch, int descriptor);
/* Whether both watches stand: then it need not be looked often. */
bool source_watch_stands(const struct source_watch *watch);
/* Takes what it has told, so that the descriptor is not readable any more. */
void source_watch_taken(struct source_watch *watch);

#endif
