#include "relay/relay.h"

#include "base/control.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

int relay_ready_descriptor(void)
{
    return control_inherited(RELAY_READY);
}

enum { READY = 3 }; /* the descriptor in the new process */

static enum mp_error spawn_relay(char *const *arguments, const char *log, int answer, pid_t *pid, struct fault *fault)
{
    /* In the new process a log that cannot be opened looks as if there were no program. */
    int opened = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (opened < 0)
        return fault_system(fault, MP_ERR_IO, errno, "cannot open the log %s", log);
    close(opened);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&actions, answer, READY);
#ifdef POSIX_SPAWN_SETSID
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
#else
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
#endif
    setenv(RELAY_READY, "3", 1);
    int result = posix_spawnp(pid, arguments[0], &actions, &attributes, arguments, environ);
    unsetenv(RELAY_READY);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return result ? fault_system(fault, MP_ERR_IO, result, "cannot start %s", arguments[0]) : MP_OK;
}

/* What the new process says: "ready", or the number of an error and its words. */
static enum mp_error read_answer(int descriptor, pid_t pid, const char *log, struct fault *fault)
{
    char text[600];
    size_t size = 0;
    ssize_t got;
    while (size < sizeof text - 1 &&
           ((got = read(descriptor, text + size, sizeof text - 1 - size)) > 0 || (got < 0 && errno == EINTR)))
        size += got > 0 ? (size_t)got : 0;
    text[size] = '\0';
    text[strcspn(text, "\n")] = '\0';
    if (strcmp(text, "ready") == 0)
        return MP_OK;
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    char *words;
    long code = strtol(text, &words, 10);
    if (code > MP_OK && code <= MP_ERR_OVERFLOW && *words == ' ')
        return fault_set(fault, (enum mp_error)code, "%s", words + 1);
    return fault_set(fault, MP_ERR_INTERNAL, "the relay ended before it was ready: see %s", log);
}

enum mp_error relay_background(char *const *arguments, const char *log, int *result, struct fault *fault)
{
    int ends[2];
    if (pipe(ends) != 0)
        return fault_system(fault, MP_ERR_IO, errno, "cannot make a pipe");
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    /* dup2 of a descriptor onto itself would keep close-on-exec: have the write end elsewhere. */
    int answer = fcntl(ends[1], F_DUPFD_CLOEXEC, READY + 1);
    close(ends[1]);
    pid_t pid = 0;
    enum mp_error error = answer < 0 ? fault_system(fault, MP_ERR_IO, errno, "cannot make a pipe")
                                     : spawn_relay(arguments, log, answer, &pid, fault);
    if (answer >= 0)
        close(answer);
    if (!error)
        error = read_answer(ends[0], pid, log, fault);
    close(ends[0]);
    *result = (int)pid;
    return error;
}
