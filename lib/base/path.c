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

/* The path of the running program, where the system tells it; else an empty text. */
static void own_path(char text[PATH_BYTES])
{
    static const char replaced[] = " (deleted)"; /* what Linux says behind it when an upgrade has */
    ssize_t got = readlink("/proc/self/exe", text, PATH_BYTES - 1);
    size_t size = got > 0 ? (size_t)got : 0, tail = sizeof replaced - 1;
    text[size] = '\0';
    if (size > tail && strcmp(text + size - tail, replaced) == 0)
        text[size - tail] = '\0';
}

enum mp_error path_of_program(const char *own, const char *name, const char *directory, char text[PATH_BYTES],
                              struct fault *fault)
{
    char running[PATH_BYTES];
    own_path(running);
    const char *slash = strrchr(running, '/'), *file = slash ? slash + 1 : running, *common = strstr(file, own);
    int before = common ? (int)(common - file) : 0, folder = (int)(file - running);
    const char *after = common ? common + strlen(own) : "";
    if (folder > 0) {
        int size = snprintf(text, PATH_BYTES, "%.*s%.*s%s%s", folder, running, before, file, name, after);
        if (!fits(text, size, NULL) && access(text, X_OK) == 0)
            return MP_OK;
    }
    enum mp_error error =
        fits(directory, snprintf(text, PATH_BYTES, "%s/%.*s%s%s", directory, before, file, name, after), fault);
    if (!error && access(text, X_OK) != 0)
        error = fault_system(fault, MP_ERR_NOT_FOUND, errno, "cannot run %s", text);
    return error;
}
