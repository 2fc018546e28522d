/*
 * child_groups.h: the process groups of commands that run, for the second signal: the tool dies at once then, and takes
 * them along.
 */
#ifndef CLI_CHILD_GROUPS_H
#define CLI_CHILD_GROUPS_H

#include <stddef.h>
#include <sys/types.h>

enum { CHILD_GROUPS_MAX = 1024 };

/* Place INDEX, below CHILD_GROUPS_MAX, is GROUP's; 0: nobody's. */
void child_groups_set(size_t index, pid_t group);

/*
 * From now on SIGINT, SIGTERM and SIGHUP, unless they were ignored from the start, kill the groups and the tool. FIRST is
 * the signal that came already, 0: none; SIGHUP after SIGHUP is left to the loop.
 */
void child_groups_guard(int first);

#endif
