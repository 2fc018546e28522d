#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

int spawn_pipe(int ends[2])
{
#ifdef HAVE_PIPE2
    return pipe2(ends, O_CLOEXEC) == 0 ? 0 : errno;
#else
    if (pipe(ends) != 0)
        return errno;
    if (fcntl(ends[0], F_SETFD, FD_CLOEXEC) == 0 && fcntl(ends[1], F_SETFD, FD_CLOEXEC) == 0)
        return 0;
    int error = errno;
    close(ends[0]);
    close(ends[1]);
    return error;
#endif
}

/* ---- what it gets --------------------------------------------------------------------------------------------- */

int spawn_default_signals(posix_spawnattr_t *attributes)
{
    sigset_t all;
    sigset_t none;
    sigfillset(&all);
    sigdelset(&all, SIGKILL);
    sigdelset(&all, SIGSTOP);
    sigemptyset(&none);
    int error = posix_spawnattr_setsigdefault(attributes, &all);
    return error ? error : posix_spawnattr_setsigmask(attributes, &none);
}

/* Copies of descriptors that stand where the child gets others: dup2 onto itself would keep close-on-exec, too. */
struct lifted {
    int all[SPAWN_PLACES_MAX];
    size_t count;
};

static int lift(const struct spawn_settings *settings, const struct spawn_place *place, struct lifted *lifted,
                int *descriptor)
{
    int last = 0;
    for (size_t i = 0; i < settings->places_count; i++)
        last = settings->places[i].number > last ? settings->places[i].number : last;
    *descriptor = place->descriptor;
    if (*descriptor > last)
        return 0;
    *descriptor = fcntl(place->descriptor, F_DUPFD_CLOEXEC, last + 1);
    if (*descriptor < 0)
        return errno;
    lifted->all[lifted->count++] = *descriptor;
    return 0;
}

static int set_actions(const struct spawn_settings *settings, posix_spawn_file_actions_t *actions,
                       struct lifted *lifted)
{
    int error = settings->places_count > SPAWN_PLACES_MAX ? EINVAL : 0;
    for (size_t i = 0; i < settings->places_count && !error; i++) {
        const struct spawn_place *place = &settings->places[i];
        int descriptor;
        if (place->descriptor >= 0 && !(error = lift(settings, place, lifted, &descriptor)))
            error = posix_spawn_file_actions_adddup2(actions, descriptor, place->number);
        else if (place->descriptor < 0 && place->file)
            error = posix_spawn_file_actions_addopen(actions, place->number, place->file, place->flags, 0600);
    }
#ifdef HAVE_POSIX_SPAWN_FILE_ACTIONS_ADDCHDIR_NP
    if (!error && settings->directory)
        error = posix_spawn_file_actions_addchdir_np(actions, settings->directory);
#endif
    return error;
}

static int set_attributes(const struct spawn_settings *settings, posix_spawnattr_t *attributes)
{
    int flags = settings->signals ? POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK : 0;
    int error = settings->signals ? settings->signals(attributes) : 0;
    enum spawn_group group = settings->group;
#ifdef POSIX_SPAWN_SETSID
    if (group == SPAWN_OWN_SESSION)
        flags |= POSIX_SPAWN_SETSID;
#else
    group = group == SPAWN_OWN_SESSION ? SPAWN_OWN_GROUP : group;
#endif
    if (!error && group == SPAWN_OWN_GROUP) {
        flags |= POSIX_SPAWN_SETPGROUP;
        error = posix_spawnattr_setpgroup(attributes, 0);
    }
    return error ? error : posix_spawnattr_setflags(attributes, (short)flags);
}

/* ---- starting ------------------------------------------------------------------------------------------------- */

static const char *program_of(const struct spawn_settings *settings)
{
    return settings->program ? settings->program : settings->argv[0];
}

static int spawn(const struct spawn_settings *settings, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes, pid_t *pid)
{
    return posix_spawnp(pid, program_of(settings), actions, attributes, settings->argv,
                        settings->environment ? settings->environment : environ);
}

#ifndef HAVE_POSIX_SPAWN_FILE_ACTIONS_ADDCHDIR_NP
/* Where the library cannot change the child's directory, the program itself goes there for a moment. */
static int spawn_there(const struct spawn_settings *settings, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attributes, pid_t *pid)
{
    if (!settings->directory)
        return spawn(settings, actions, attributes, pid);
    int here = open(".", O_RDONLY | O_CLOEXEC);
    if (here < 0)
        return errno;
    int error = chdir(settings->directory) == 0 ? 0 : errno;
    if (!error)
        error = spawn(settings, actions, attributes, pid);
    if (fchdir(here) != 0 && !error)
        error = errno;
    close(here);
    return error;
}
#else
#define spawn_there spawn
#endif

int spawn_start(const struct spawn_settings *settings, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    struct lifted lifted = {.count = 0};
    if (posix_spawn_file_actions_init(&actions))
        return ENOMEM;
    if (posix_spawnattr_init(&attributes)) {
        posix_spawn_file_actions_destroy(&actions);
        return ENOMEM;
    }
    int error = set_actions(settings, &actions, &lifted);
    if (!error)
        error = set_attributes(settings, &attributes);
    if (!error)
        error = spawn_there(settings, &actions, &attributes, pid);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    for (size_t i = 0; i < lifted.count; i++)
        close(lifted.all[i]);
    return error;
}

/* ---- what went wrong ------------------------------------------------------------------------------------------ */

/* Why nothing can run in the directory, as an errno number; 0: something can. */
static int directory_error(const char *directory)
{
    struct stat status;
    if (stat(directory, &status) != 0)
        return errno;
    if (!S_ISDIR(status.st_mode))
        return ENOTDIR;
    return access(directory, X_OK) == 0 ? 0 : errno;
}

enum mp_error spawn_explain(const struct spawn_settings *settings, int number, int *exit, struct fault *fault)
{
    const char *name = program_of(settings);
    if (number == EAGAIN || number == ENOMEM || number == EMFILE || number == ENFILE) {
        *exit = SPAWN_LATER;
        return fault_system(fault, MP_ERR_BUSY, number, "cannot run %s now", name);
    }
    *exit = SPAWN_CANNOT_RUN;
    int where = settings->directory ? directory_error(settings->directory) : 0;
    if (where)
        return fault_system(fault, MP_ERR_IO, where, "cannot run %s in %s", name, settings->directory);
    bool path = strchr(name, '/') && (*name == '/' || !settings->directory);
    if (number == ENOENT && path && access(name, F_OK) == 0)
        return fault_set(fault, MP_ERR_IO, "cannot run %s: the interpreter that its first line names does not exist",
                         name);
    if (number == ENOENT || number == ENOTDIR) {
        *exit = SPAWN_NOT_FOUND;
        return fault_set(fault, MP_ERR_NOT_FOUND, "cannot run %s: there is no such command", name);
    }
    return fault_system(fault, MP_ERR_IO, number, "cannot run %s", name);
}

int spawn_exit_code(int status)
{
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
