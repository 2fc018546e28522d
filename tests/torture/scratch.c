#include "scratch.h"

#include "base/path.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void scratch_make(const char *name, bool in_memory, char path[SCRATCH_PATH])
{
    const char *place = getenv("TMPDIR");
    if (!place)
        place = in_memory && access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(path, SCRATCH_PATH, "%.180s/msgpipe-%.30s.XXXXXX", place, name);
    if (!mkdtemp(path)) {
        perror(path);
        exit(71);
    }
}

void scratch_remove(const char *name, const char *path)
{
    if (!path_remove_folder(path))
        fprintf(stderr, "%s: %s stays\n", name, path);
}
