#include "relay/readers_process.h"

#include "base/memory.h"
#include "base/path.h"
#include "base/spawn.h"
#include "relay/readers_arguments.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

extern char **environ;

enum { LOWEST = 19, OWN = 4, TEXT = 512 };

/* ---- what it is told ------------------------------------------------------------------------------------------ */

struct surroundings {
    char texts[OWN][TEXT];
    size_t count;
};

static int number_in(const json_t *object, const char *name, int low, int high, int otherwise)
{
    const json_t *value = json_object_get(object, name);
    json_int_t number = json_integer_value(value);
    return json_is_integer(value) && number >= low && number <= high ? (int)number : otherwise;
}

static void describe_terminal(const json_t *asked, struct surroundings *surroundings)
{
    static const char *const flags[] = {"output", "errors", "colour", "ascii"};
    const json_t *terminal = json_object_get(asked, "terminal");
    char *text = surroundings->texts[surroundings->count++];
    int columns = number_in(terminal, "columns", 1, 9999, 0);
    int used = snprintf(text, TEXT, READERS_TERMINAL "=%d %d ", columns, number_in(terminal, "rows", 1, 9999, 0));
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (json_is_true(json_object_get(terminal, flags[i])))
            text[used++] = *flags[i];
    text[used] = '\0';
    if (columns > 0)
        snprintf(surroundings->texts[surroundings->count++], TEXT, "COLUMNS=%d", columns);
}

/* POSIX's form counts to the west. */
static void describe_zone(const json_t *asked, struct surroundings *surroundings)
{
    enum { UNKNOWN = 1000000, MOST = 26 * 3600 };
    int east = number_in(asked, "east", -MOST, MOST, UNKNOWN), size = abs(east);
    if (east == UNKNOWN)
        return;
    snprintf(surroundings->texts[surroundings->count++], TEXT, "TZ=<%c%02d%02d>%c%02d:%02d:%02d", east < 0 ? '-' : '+',
             size / 3600, size / 60 % 60, east < 0 ? '+' : '-', size / 3600, size / 60 % 60, size % 60);
}

static bool is_hidden(const char *entry, const struct surroundings *surroundings)
{
    if (strncmp(entry, "MSGPIPE_", 8) == 0 || strncmp(entry, "NOTIFY_SOCKET=", 14) == 0)
        return true;
    for (size_t i = 0; i < surroundings->count; i++) {
        const char *own = surroundings->texts[i];
        if (strncmp(entry, own, strcspn(own, "=") + 1) == 0)
            return true;
    }
    return false;
}

/* This program's environment, with what is told in the place of the same. */
static char **make_environment(struct surroundings *surroundings)
{
    size_t count = 0, at = 0;
    while (environ[count])
        count++;
    char **all = memory_allocate_array(count + OWN + 1, sizeof *all);
    if (!all)
        return NULL;
    for (size_t i = 0; i < surroundings->count; i++)
        all[at++] = surroundings->texts[i];
    for (size_t i = 0; i < count; i++)
        if (!is_hidden(environ[i], surroundings))
            all[at++] = environ[i];
    all[at] = NULL;
    return all;
}

/* ---- starting it ---------------------------------------------------------------------------------------------- */

/* The relay goes first: to the processor, and when memory is short. That either cannot be said changes nothing else. */
static void step_back(pid_t pid)
{
    (void)!setpriority(PRIO_PROCESS, (id_t)pid, LOWEST);
#ifdef __linux__
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/oom_score_adj", (long)pid);
    int descriptor = open(path, O_WRONLY | O_CLOEXEC);
    if (descriptor >= 0) {
        (void)!write(descriptor, "1000", 4);
        close(descriptor);
    }
#endif
}

static enum mp_error spawn(char **argv, char **environment, const int inputs[2], pid_t *pid, struct fault *fault)
{
    char path[PATH_BYTES];
    struct fault detail = {0};
    int code;
    if (path_of_program("mrelay", "mtrace", BINDIR, path, &detail))
        return fault_set(fault, MP_ERR_NOT_FOUND, "that relay has no mtrace to read with: %s there",
                         fault_text(&detail));
    const struct spawn_place places[] = {{STDIN_FILENO, -1, "/dev/null", O_RDONLY},
                                         {STDOUT_FILENO, inputs[0], NULL, 0},
                                         {STDERR_FILENO, inputs[1], NULL, 0}};
    const struct spawn_settings settings = {.argv = argv,
                                            .program = path,
                                            .environment = environment,
                                            .signals = spawn_default_signals,
                                            .group = SPAWN_OWN_SESSION,
                                            .places = places,
                                            .places_count = sizeof places / sizeof *places};
    int number = spawn_start(&settings, pid);
    if (number)
        return spawn_explain(&settings, number, &code, fault);
    step_back(*pid);
    return MP_OK;
}

static void close_pair(const int pair[2])
{
    for (int i = 0; i < 2; i++)
        if (pair[i] >= 0)
            close(pair[i]);
}

/* OUTPUT: ends to read from; INPUTS: those that the process writes to. */
static enum mp_error make_pipes(int output[2], int inputs[2], struct fault *fault)
{
    for (int i = 0; i < 2; i++) {
        int ends[2], number = spawn_pipe(ends);
        if (number)
            return fault_system(fault, number == EMFILE || number == ENFILE ? MP_ERR_BUSY : MP_ERR_IO, number,
                                "cannot make a pipe");
        output[i] = ends[0];
        inputs[i] = ends[1];
        if (fcntl(output[i], F_SETFL, O_NONBLOCK) != 0)
            return fault_system(fault, MP_ERR_IO, errno, "cannot set up a pipe");
    }
    return MP_OK;
}

enum mp_error readers_process_start(const json_t *asked, const char *store, const char *relay, pid_t *pid,
                                    int output[2], struct fault *fault)
{
    struct readers_arguments arguments;
    struct surroundings surroundings = {.count = 0};
    int inputs[2] = {-1, -1};
    output[0] = output[1] = -1;
    if (relay)
        snprintf(surroundings.texts[surroundings.count++], TEXT, "MSGPIPE_RELAY=%s", relay);
    describe_terminal(asked, &surroundings);
    describe_zone(asked, &surroundings);
    char **environment = make_environment(&surroundings);
    enum mp_error error = readers_arguments_make(asked, store, &arguments, fault);
    if (!error && !environment)
        error = fault_memory(fault);
    if (!error && !(error = make_pipes(output, inputs, fault)))
        error = spawn(arguments.argv, environment, inputs, pid, fault);
    close_pair(inputs);
    if (error)
        close_pair(output);
    memory_release(environment);
    readers_arguments_free(&arguments);
    return error;
}
