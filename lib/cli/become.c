#include "cli/become.h"

#include "base/path.h"
#include "cli/exit.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

int become(const char *name, char **argv)
{
    char path[PATH_BYTES];
    struct fault fault = {0};
    if (path_of_program(exit_tool(), name, PKGLIBEXECDIR, path, &fault)) {
        tell("%s: is msgpipe wholly installed?", fault_text(&fault));
        return fault.code == MP_ERR_NOT_FOUND ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
    }
    execv(path, argv);
    tell("cannot run %s: %s: is msgpipe wholly installed?", path, strerror(errno));
    return errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
}
