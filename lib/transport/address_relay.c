/*
 * address_relay.c: where a relay of some name keeps its socket and its store.
 */
#include "base/path.h"
#include "message/names.h"
#include "transport/address.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYSTEM_RUNTIME "/run/msgpipe"
#define SYSTEM_STATE "/var/lib/msgpipe"

static const char SOCKET_END[] = ".sock";

/* An environment variable that holds an absolute path; others are not to be used (XDG Base Directory). */
static const char *directory_variable(const char *name)
{
    const char *value = getenv(name);

    return value != NULL && value[0] == '/' ? value : NULL;
}

static bool is_directory(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* The directory of this user's sockets; false when it does not fit. */
static bool runtime_directory(char *path, size_t size)
{
    const char *given = directory_variable("XDG_RUNTIME_DIR");
    unsigned long user = (unsigned long)geteuid();
    char usual[64];
    int length;

    snprintf(usual, sizeof(usual), "/run/user/%lu", user);
    if (given != NULL) {
        length = snprintf(path, size, "%s/msgpipe", given);
    } else if (is_directory(usual)) {
        length = snprintf(path, size, "%s/msgpipe", usual);
    } else {
        length = snprintf(path, size, "/tmp/msgpipe-%lu", user);
    }
    return length > 0 && (size_t)length < size;
}

/*
 * In /tmp anybody can have made the directory before, and be the relay there that we send to. That of $XDG_RUNTIME_DIR, or
 * below /run/user, is this user's.
 */
static enum mp_error check_runtime(const char *directory, struct fault *fault)
{
    struct stat status;

    if (strncmp(directory, "/tmp/", 5) != 0 || directory_variable("XDG_RUNTIME_DIR") != NULL ||
        lstat(directory, &status) != 0) {
        return MP_OK;
    }
    if (!S_ISDIR(status.st_mode) || status.st_uid != geteuid()) {
        return fault_set(fault, MP_ERR_DENIED, "%s is not this user's: have it removed, or set XDG_RUNTIME_DIR",
                         directory);
    }
    return MP_OK;
}

static bool state_directory(char *path, size_t size)
{
    const char *given = directory_variable("XDG_STATE_HOME");
    const char *home = directory_variable("HOME");
    int length;

    if (given == NULL && home == NULL) {
        const struct passwd *user = getpwuid(geteuid());
        home = user != NULL && user->pw_dir != NULL ? user->pw_dir : "/";
    }
    length = given != NULL ? snprintf(path, size, "%s/msgpipe", given)
                           : snprintf(path, size, "%s/.local/state/msgpipe", home);
    return length > 0 && (size_t)length < size;
}

static const char *name_or_default(const char *name)
{
    if (name == NULL || name[0] == '\0') {
        name = getenv("MSGPIPE_RELAY");
    }
    return name == NULL || name[0] == '\0' ? "default" : name;
}

static bool is_system(const char *name)
{
    return strcmp(name, "system") == 0;
}

enum mp_error address_of_relay(const char *name_or_url, struct address *address, struct fault *fault)
{
    const char *name = name_or_default(name_or_url);
    char directory[PATH_MAX];
    char url[PATH_MAX + NAME_MAX_BYTES + 32];

    memset(address, 0, sizeof(*address));
    if (strchr(name, '/') != NULL) {
        return address_parse(name, address, fault);
    }
    enum mp_error error = name_check_relay(name, strlen(name), fault);
    if (error != MP_OK) {
        return error;
    }
    if (is_system(name)) {
        snprintf(directory, sizeof(directory), "%s", SYSTEM_RUNTIME);
    } else if (!runtime_directory(directory, sizeof(directory))) {
        return fault_set(fault, MP_ERR_TOO_LARGE, "the path in $XDG_RUNTIME_DIR is too long");
    } else if ((error = check_runtime(directory, fault)) != MP_OK) {
        return error;
    }
    snprintf(url, sizeof(url), "ipc://%s/%s%s", directory, name, SOCKET_END);
    return address_parse(url, address, fault);
}

enum mp_error address_store_path(const char *name, char *path, size_t size, struct fault *fault)
{
    char directory[PATH_MAX];

    name = name_or_default(name);
    if (strstr(name, "://") != NULL) {
        return fault_set(fault, MP_ERR_INVALID,
                         "%.200s is an address; a relay that is to be started needs a name: give one, or the file of "
                         "its store",
                         name);
    }
    enum mp_error error = name_check_relay(name, strlen(name), fault);
    if (error != MP_OK) {
        return error;
    }
    if (is_system(name)) {
        snprintf(directory, sizeof(directory), "%s", SYSTEM_STATE);
    } else if (!state_directory(directory, sizeof(directory))) {
        return fault_set(fault, MP_ERR_TOO_LARGE, "the path in $XDG_STATE_HOME or $HOME is too long");
    }
    int length = snprintf(path, size, "%s/%s.db", directory, name);
    if (length < 0 || (size_t)length >= size) {
        return fault_set(fault, MP_ERR_TOO_LARGE, "the path of the store is too long: %.200s/%.100s.db", directory,
                         name);
    }
    return MP_OK;
}

/* ---- directories ---------------------------------------------------------------------------------------------- */

/* Makes DIRECTORY and what is missing above it. It is changed on the way, and is at the end what it was. */
static enum mp_error make_all(char *directory, struct fault *fault)
{
    for (char *at = directory + 1;; at++) {
        if (*at != '/' && *at != '\0') {
            continue;
        }
        char kept = *at;
        *at = '\0';
        if (mkdir(directory, 0700) != 0 && errno != EEXIST && !is_directory(directory)) {
            return fault_system(fault, errno == EACCES || errno == EPERM ? MP_ERR_DENIED : MP_ERR_IO, errno,
                                "cannot make the directory %s", directory);
        }
        *at = kept;
        if (kept == '\0') {
            return MP_OK;
        }
    }
}

enum mp_error address_make_directory(const char *path, struct fault *fault)
{
    char directory[PATH_MAX];
    int length = snprintf(directory, sizeof(directory), "%s", path);

    if (length < 0 || (size_t)length >= sizeof(directory)) {
        return fault_set(fault, MP_ERR_TOO_LARGE, "the path is too long: %.200s", path);
    }
    char *slash = strrchr(directory, '/');
    if (slash == NULL) {
        return path_check_directory(".", fault);
    }
    if (slash == directory) {
        return path_check_directory("/", fault);
    }
    *slash = '\0';
    enum mp_error error = make_all(directory, fault);
    return error == MP_OK ? path_check_directory(directory, fault) : error;
}

/* ---- the relays that run -------------------------------------------------------------------------------------- */

static int ends_as_socket(const struct dirent *entry)
{
    size_t size = strlen(entry->d_name);

    return size >= sizeof(SOCKET_END) && strcmp(entry->d_name + size - (sizeof(SOCKET_END) - 1), SOCKET_END) == 0;
}

static void each_of_directory(const char *directory, bool only_system, void (*each)(void *context, const char *name),
                              void *context)
{
    struct dirent **entries = NULL;
    int count = scandir(directory, &entries, ends_as_socket, alphasort);

    for (int i = 0; i < count; i++) {
        char path[PATH_MAX];
        char *name = entries[i]->d_name;
        int length = snprintf(path, sizeof(path), "%s/%s", directory, name);

        name[strlen(name) - (sizeof(SOCKET_END) - 1)] = '\0';
        if (length > 0 && (size_t)length < sizeof(((struct address *)0)->path) && is_system(name) == only_system &&
            address_probe(path) == ADDRESS_ANSWERS) {
            each(context, name);
        }
        free(entries[i]);
    }
    free(entries);
}

void address_running_relays(void (*each)(void *context, const char *name), void *context)
{
    char directory[PATH_MAX];

    if (runtime_directory(directory, sizeof(directory)) && check_runtime(directory, NULL) == MP_OK) {
        each_of_directory(directory, false, each, context);
    }
    each_of_directory(SYSTEM_RUNTIME, true, each, context);
}
