/* Starting a process with pipes. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "stage/command_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXIT_LATER_CODE = 75, EXIT_CANNOT_RUN_CODE = 126, EXIT_NOT_FOUND_CODE = 127 };

extern char **environ;

/* ---- pipes ---------------------------------------------------------------------------------------------------- */

void command_pipes_close(struct command_pipes *pipes)
{
    int *all[] = {&pipes->input, &pipes->output, &pipes->error};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        if (*all[i] >= 0)
            close(*all[i]);
        *all[i] = -1;
    }
}

static int open_pipe(int pair[2])
{
#ifdef HAVE_PIPE2
    return pipe2(pair, O_CLOEXEC) == 0 ? 0 : errno;
#else
    if (pipe(pair) != 0)
        return errno;
    if (fcntl(pair[0], F_SETFD, FD_CLOEXEC) == 0 && fcntl(pair[1], F_SETFD, FD_CLOEXEC) == 0)
        return 0;
    int error = errno;
    close(pair[0]);
    close(pair[1]);
    return error;
#endif
}

/* Makes a pipe, ours being the writing end if we WRITE, that holds SIZE bytes where that can be had; 0: as it comes. */
static int make_pipe(int *ours, int *theirs, bool we_write, size_t size)
{
    int pair[2];
    int error = open_pipe(pair);
    if (error)
        return error;
    *ours = pair[we_write ? 1 : 0];
    *theirs = pair[we_write ? 0 : 1];
#ifdef F_SETPIPE_SZ
    if (size)
        (void)fcntl(*ours, F_SETPIPE_SZ, (int)size); /* refused to a user who has many such pipes: then it is slower */
#else
    (void)size;
#endif
    return fcntl(*ours, F_SETFL, O_NONBLOCK) == 0 ? 0 : errno;
}

int command_pipes_make(const struct stage_command_settings *settings, struct command_pipes *ours,
                       struct command_pipes *theirs)
{
    int error = make_pipe(&ours->input, &theirs->input, true, settings->pipe_size);
    if (!error && settings->output_limit)
        error = make_pipe(&ours->output, &theirs->output, false, settings->pipe_size);
    if (!error && settings->keep_error)
        error = make_pipe(&ours->error, &theirs->error, false, 0);
    return error;
}

/* ---- the process ---------------------------------------------------------------------------------------------- */

static int default_signals(posix_spawnattr_t *attributes)
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

static int redirect(posix_spawn_file_actions_t *actions, int descriptor, int target)
{
    return descriptor < 0 ? 0 : posix_spawn_file_actions_adddup2(actions, descriptor, target);
}

static int set_actions(const struct stage_command_settings *settings, const struct command_pipes *theirs,
                       posix_spawn_file_actions_t *actions)
{
    int error = redirect(actions, theirs->input, STDIN_FILENO);
    if (!error)
        error = redirect(actions, theirs->output, STDOUT_FILENO);
    if (!error)
        error = redirect(actions, theirs->error, STDERR_FILENO);
#ifdef HAVE_POSIX_SPAWN_FILE_ACTIONS_ADDCHDIR_NP
    if (!error && settings->directory)
        error = posix_spawn_file_actions_addchdir_np(actions, settings->directory);
#else
    (void)settings;
#endif
    return error;
}

static int set_attributes(const struct stage_command_settings *settings, posix_spawnattr_t *attributes)
{
    int error = settings->signals ? settings->signals(attributes) : default_signals(attributes);
    if (!error)
        error = posix_spawnattr_setpgroup(attributes, 0);
    if (!error)
        error = posix_spawnattr_setflags(attributes,
                                         POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    return error;
}

static int spawn(const struct stage_command_settings *settings, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes, pid_t *pid)
{
    return posix_spawnp(pid, settings->argv[0], actions, attributes, settings->argv,
                        settings->environment ? settings->environment : environ);
}

#ifndef HAVE_POSIX_SPAWN_FILE_ACTIONS_ADDCHDIR_NP
/* Where the library cannot change the child's directory, the program itself goes there for a moment. */
static int spawn_there(const struct stage_command_settings *settings, const posix_spawn_file_actions_t *actions,
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

int command_spawn(const struct stage_command_settings *settings, const struct command_pipes *theirs, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    if (posix_spawn_file_actions_init(&actions))
        return ENOMEM;
    if (posix_spawnattr_init(&attributes)) {
        posix_spawn_file_actions_destroy(&actions);
        return ENOMEM;
    }
    int error = set_actions(settings, theirs, &actions);
    if (!error)
        error = set_attributes(settings, &attributes);
    if (!error)
        error = spawn_there(settings, &actions, &attributes, pid);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
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

enum mp_error command_spawn_explain(const struct stage_command_settings *settings, int number, int *exit_code,
                                    struct fault *fault)
{
    const char *name = settings->argv[0];
    if (number == EAGAIN || number == ENOMEM || number == EMFILE || number == ENFILE) {
        *exit_code = EXIT_LATER_CODE;
        return fault_system(fault, MP_ERR_BUSY, number, "cannot run %s now", name);
    }
    *exit_code = EXIT_CANNOT_RUN_CODE;
    int where = settings->directory ? directory_error(settings->directory) : 0;
    if (where)
        return fault_system(fault, MP_ERR_IO, where, "cannot run %s in %s", name, settings->directory);
    bool path = strchr(name, '/') && (*name == '/' || !settings->directory);
    if (number == ENOENT && path && access(name, F_OK) == 0)
        return fault_set(fault, MP_ERR_IO, "cannot run %s: the interpreter that its first line names does not exist",
                         name);
    if (number == ENOENT || number == ENOTDIR) {
        *exit_code = EXIT_NOT_FOUND_CODE;
        return fault_set(fault, MP_ERR_NOT_FOUND, "cannot run %s: there is no such command", name);
    }
    return fault_system(fault, MP_ERR_IO, number, "cannot run %s", name);
}
