#include "cli/become.h"

#include "cli/exit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

/* Tries the one beside this program, where the system tells where that is. */
static void become_neighbour(const char *name, char **argv)
{
    char path[PATH_BYTES];
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
    if (size <= 0)
        return;
    path[size] = '\0';
    char *slash = strrchr(path, '/');
    size_t left = slash ? sizeof path - (size_t)(slash + 1 - path) : 0;
    if (left > strlen(name)) {
        memcpy(slash + 1, name, strlen(name) + 1);
        execv(path, argv);
    }
}

int become(const char *name, char **argv)
{
    become_neighbour(name, argv);
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", PKGLIBEXECDIR, name);
    execv(path, argv);
    tell("cannot run %s: %s: is msgpipe wholly installed?", path, strerror(errno));
    return errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
}
