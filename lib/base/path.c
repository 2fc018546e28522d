#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum mp_error too_long(const char *path, struct fault *fault)
{
    return fault_set(fault, MP_ERR_INVALID, "the path is too long: %.100s…", path);
}

static enum mp_error fits(const char *path, int size, struct fault *fault)
{
    return size >= 0 && size < PATH_BYTES ? MP_OK : too_long(path, fault);
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

bool path_directory(const char *path, char text[PATH_BYTES])
{
    const char *slash = strrchr(path, '/');
    int size = slash ? snprintf(text, PATH_BYTES, "%.*s", slash == path ? 1 : (int)(slash - path), path)
                     : snprintf(text, PATH_BYTES, ".");
    if (size >= 0 && size < PATH_BYTES)
        return true;
    errno = ENAMETOOLONG;
    return false;
}

enum mp_error path_flush_directory(const char *path, struct fault *fault)
{
    char directory[PATH_BYTES];
    int descriptor = path_directory(path, directory) ? open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    bool flushed = descriptor >= 0 && fsync(descriptor) == 0;
    int problem = errno;
    if (descriptor >= 0)
        close(descriptor);
    errno = problem;
    return flushed ? MP_OK : fault_system(fault, MP_ERR_IO, problem, "cannot flush the directory of %s", path);
}

/* A symbolic link's name was there before: what it leads to is what was made. */
enum mp_error path_flush_name(const char *path)
{
    char *real = realpath(path, NULL);
    enum mp_error error = path_flush_directory(real ? real : path, NULL);
    int problem = errno;
    free(real);
    errno = problem;
    bool impossible = problem == EACCES || problem == ENOENT || problem == EINVAL || problem == ENOTSUP;
    return error && !impossible ? error : MP_OK;
}

enum mp_error path_make_beside(const char *to, char name[PATH_BYTES], struct fault *fault)
{
    int size = snprintf(name, PATH_BYTES, "%s.XXXXXX", to);
    if (size < 0 || size >= PATH_BYTES)
        return fault_set(fault, MP_ERR_TOO_LARGE, "a path of more than %d bytes", PATH_BYTES - 8);
    int descriptor = mkstemp(name);
    if (descriptor < 0)
        return fault_system(fault, errno == EACCES || errno == EROFS ? MP_ERR_DENIED : MP_ERR_IO, errno,
                            "cannot write %s", to);
    close(descriptor);
    return MP_OK;
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

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    remove(path);
    return 0; /* what else can go goes */
}

bool path_remove_folder(const char *path)
{
    enum { OPEN_AT_ONCE = 16 };
    struct stat status;
    nftw(path, remove_one, OPEN_AT_ONCE, FTW_DEPTH | FTW_PHYS);
    return lstat(path, &status) != 0 && errno == ENOENT;
}

bool path_is_foreign(uid_t owner)
{
    return geteuid() != 0 && owner != geteuid() && owner != 0;
}

/* ANY: whoever it belongs to. */
static enum mp_error check_directory(const char *directory, bool any, struct fault *fault)
{
    struct stat status;
    if (stat(directory, &status) != 0)
        return fault_system(fault, errno == ENOENT ? MP_ERR_NOT_FOUND : MP_ERR_IO, errno, "%s", directory);
    if (!S_ISDIR(status.st_mode))
        return fault_set(fault, MP_ERR_EXISTS, "%s is in the way: it is no directory", directory);
    if (status.st_mode & S_ISVTX && !path_is_foreign(status.st_uid))
        return MP_OK;
    if (!any && status.st_uid != geteuid() && status.st_uid != 0)
        return fault_set(fault, MP_ERR_DENIED, "%s belongs to another user (%lu): choose a directory of your own",
                         directory, (unsigned long)status.st_uid);
    if ((status.st_mode & S_IWOTH) || ((status.st_mode & S_IWGRP) && status.st_gid != getegid()))
        return fault_set(fault, MP_ERR_DENIED,
                         "other users may write to %s: run chmod go-w %s, or choose another directory", directory,
                         directory);
    return MP_OK;
}

enum mp_error path_check_directory(const char *directory, struct fault *fault)
{
    return check_directory(directory, false, fault);
}

enum mp_error path_check_place(const char *path, const char *const endings[], struct fault *fault)
{
    char text[PATH_BYTES];
    struct stat status;
    enum mp_error error =
        path_directory(path, text) ? check_directory(text, geteuid() == 0, fault) : too_long(path, fault);
    for (; !error && *endings; endings++) {
        error = fits(path, snprintf(text, sizeof text, "%s%s", path, *endings), fault);
        if (!error && lstat(text, &status) == 0 && path_is_foreign(status.st_uid))
            error =
                fault_set(fault, MP_ERR_DENIED, "%s belongs to another user (%lu): choose another name, or directory",
                          text, (unsigned long)status.st_uid);
    }
    return error;
}
