/* Starting a user's command. */
#include "cli/command.h"

#include "cli/exit.h"
#include "cli/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Puts DESCRIPTOR in the place of TARGET, in the child. */
static int redirect(posix_spawn_file_actions_t *actions, int descriptor, int target)
{
    return descriptor < 0 ? 0 : posix_spawn_file_actions_adddup2(actions, descriptor, target);
}

static int set_attributes(posix_spawnattr_t *attributes, bool own_group)
{
    short flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
    if (own_group)
        flags |= POSIX_SPAWN_SETPGROUP;
    int error = loop_child_signals(attributes);
    if (!error)
        error = posix_spawnattr_setflags(attributes, flags);
    return error || !own_group ? error : posix_spawnattr_setpgroup(attributes, 0);
}

enum mp_error command_start(const struct command_settings *settings, pid_t *pid, int *exit_code, struct fault *fault)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    *exit_code = EXIT_FAILED;
    if (posix_spawn_file_actions_init(&actions))
        return fault_memory(fault);
    if (posix_spawnattr_init(&attributes)) {
        posix_spawn_file_actions_destroy(&actions);
        return fault_memory(fault);
    }
    int error = redirect(&actions, settings->input, STDIN_FILENO);
    if (!error)
        error = redirect(&actions, settings->output, STDOUT_FILENO);
    if (!error)
        error = redirect(&actions, settings->error, STDERR_FILENO);
    if (!error)
        error = set_attributes(&attributes, settings->own_group);
    if (!error)
        error = posix_spawnp(pid, settings->argv[0], &actions, &attributes, settings->argv,
                             settings->environment ? settings->environment : environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (!error)
        return MP_OK;
    if (error == ENOENT || error == ENOTDIR) {
        *exit_code = EXIT_NOT_FOUND;
        return fault_set(fault, MP_ERR_NOT_FOUND, "cannot run %s: there is no such command", settings->argv[0]);
    }
    *exit_code = error == EAGAIN || error == ENOMEM ? EXIT_LATER : EXIT_CANNOT_RUN;
    return fault_system(fault, MP_ERR_IO, error, "cannot run %s", settings->argv[0]);
}

int command_exit_code(int status)
{
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : EXIT_FAILED;
}

enum mp_error command_pipe(int ends[2], struct fault *fault)
{
    if (pipe(ends) != 0)
        return fault_system(fault, MP_ERR_IO, errno, "cannot make a pipe");
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    return MP_OK;
}
