#include "base/path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static enum mp_error fits(const char *path, int size, struct fault *fault)
{
    if (size >= 0 && size < PATH_BYTES)
        return MP_OK;
    return fault_set(fault, MP_ERR_INVALID, "the path is too long: %.100s…", path);
}

enum mp_error path_from_root(const char *path, char text[PATH_BYTES], struct fault *fault)
{
    char here[PATH_BYTES] = "";
    if (*path != '/' && !getcwd(here, sizeof here))
        return fault_system(fault, MP_ERR_IO, errno, "cannot tell the working directory");
    const char *between = *here && strcmp(here, "/") != 0 ? "/" : "";
    return fits(path, snprintf(text, PATH_BYTES, "%s%s%s", here, between, path), fault);
}

enum mp_error path_beside(const char *path, const char *suffix, char text[PATH_BYTES], struct fault *fault)
{
    static const char store[] = ".db";
    size_t size = strlen(path), own = sizeof store - 1;
    if (size >= PATH_BYTES)
        return fits(path, PATH_BYTES, fault);
    if (size > own && strcmp(path + size - own, store) == 0)
        size -= own;
    return fits(path, snprintf(text, PATH_BYTES, "%.*s%s", (int)size, path, suffix), fault);
}
