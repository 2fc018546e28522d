#include "relay/relay.h"

#include "base/control.h"
#include "base/spawn.h"
#include "relay/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int relay_ready_descriptor(void)
{
    return control_inherited(RELAY_READY);
}

enum { READY = 3 }; /* the descriptor in the new process */

/* In the new process a log that cannot be opened looks as if there were no program. *MADE: it was not there. */
static enum mp_error try_log(const char *log, bool *made, struct fault *fault)
{
    int opened = open(log, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    *made = opened >= 0;
    if (opened < 0)
        opened = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (opened < 0)
        return fault_system(fault, MP_ERR_IO, errno, "cannot open the log %s", log);
    close(opened);
    return MP_OK;
}

static enum mp_error spawn_relay(char *const *arguments, const char *log, int answer, pid_t *pid, struct fault *fault)
{
    const struct spawn_place places[] = {{STDIN_FILENO, -1, "/dev/null", O_RDONLY},
                                         {STDOUT_FILENO, -1, "/dev/null", O_WRONLY},
                                         {STDERR_FILENO, -1, log, O_WRONLY | O_CREAT | O_APPEND},
                                         {READY, answer, NULL, 0}};
    const struct spawn_settings settings = {.argv = arguments,
                                            .group = SPAWN_OWN_SESSION,
                                            .places = places,
                                            .places_count = sizeof places / sizeof *places};
    setenv(RELAY_READY, "3", 1);
    int number = spawn_start(&settings, pid);
    unsetenv(RELAY_READY);
    return number ? fault_system(fault, MP_ERR_IO, number, "cannot start %s", arguments[0]) : MP_OK;
}

/* What the new process says of itself, or of its end. */
static enum mp_error read_answer(int descriptor, pid_t pid, const char *log, bool *said, struct fault *fault)
{
    char text[600];
    size_t size = 0;
    ssize_t got;
    while (size < sizeof text - 1 &&
           ((got = read(descriptor, text + size, sizeof text - 1 - size)) > 0 || (got < 0 && errno == EINTR)))
        size += got > 0 ? (size_t)got : 0;
    text[size] = '\0';
    text[strcspn(text, "\n")] = '\0';
    *said = notify_read(text, fault);
    if (*said && fault->code == MP_OK)
        return MP_OK;
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return *said ? fault->code : fault_set(fault, MP_ERR_INTERNAL, "the relay ended before it was ready: see %s", log);
}

enum mp_error relay_background(char *const *arguments, const char *log, int *result, bool *idle, struct fault *fault)
{
    int ends[2];
    bool made = false, said = false;
    *idle = false;
    int number = spawn_pipe(ends);
    if (number)
        return fault_system(fault, MP_ERR_IO, number, "cannot make a pipe");
    pid_t pid = 0;
    enum mp_error error = try_log(log, &made, fault);
    if (!error)
        error = spawn_relay(arguments, log, ends[1], &pid, fault);
    close(ends[1]);
    if (!error)
        error = read_answer(ends[0], pid, log, &said, fault);
    close(ends[0]);
    *idle = error && made && said;
    *result = (int)pid;
    return error;
}
