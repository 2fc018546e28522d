#include "cli/sandbox.h"

#include "base/path.h"
#include "cli/command.h"
#include "cli/exit.h"
#include "cli/loop.h"
#include "cli/pipeline_file.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LONGEST_FOLDER = 40 }; /* a Unix socket's path has to fit into some hundred bytes */
static const char name[] = "sandbox";

/* ---- the relay ------------------------------------------------------------------------------------------------- */

static void on_ready(void *context, const struct fault *fault)
{
    struct sandbox *sandbox = context;
    sandbox->ready = !fault->code;
    sandbox->fault = *fault;
}

static void on_ended(void *context, int status)
{
    struct sandbox *sandbox = context;
    (void)status;
    sandbox->ended = true;
}

static enum mp_error make_directory(struct sandbox *sandbox, struct fault *fault)
{
    const char *parent = getenv("TMPDIR");
    if (!parent || !*parent || strlen(parent) > LONGEST_FOLDER)
        parent = "/tmp";
    snprintf(sandbox->directory, sizeof sandbox->directory, "%s/msgpipe-XXXXXX", parent);
    if (mkdtemp(sandbox->directory))
        return MP_OK;
    enum mp_error error = fault_system(fault, MP_ERR_IO, errno, "cannot make the folder %s", sandbox->directory);
    sandbox->directory[0] = '\0';
    return error;
}

static enum mp_error start(struct sandbox *sandbox, const char *program, const char *file, bool quiet,
                           struct fault *fault)
{
    char runtime[SANDBOX_DIRECTORY + 32], state[SANDBOX_DIRECTORY + 32];
    const char *const environment[] = {runtime, state, NULL};
    const char *arguments[12];
    size_t count = 0;
    snprintf(runtime, sizeof runtime, "XDG_RUNTIME_DIR=%s", sandbox->directory);
    snprintf(state, sizeof state, "XDG_STATE_HOME=%s", sandbox->directory);
    snprintf(sandbox->url, sizeof sandbox->url, "ipc://%s/msgpipe/%s.sock", sandbox->directory, name);
    arguments[count++] = program;
    if (file)
        arguments[count++] = "run";
    arguments[count++] = "-r";
    arguments[count++] = name;
    arguments[count++] = "--log-level";
    arguments[count++] = quiet ? "error" : "warning";
    if (file)
        arguments[count++] = file;
    arguments[count] = NULL;
    struct child_settings settings = {
        .base = sandbox->base,
        .argv = (char *const *)(uintptr_t)arguments,
        .environment = environment,
        .tells_ready = true,
        .context = sandbox,
        .ready = on_ready,
        .ended = on_ended,
    };
    return child_start(&settings, &sandbox->child, fault);
}

enum mp_error sandbox_open(struct sandbox *sandbox, struct event_base *base, const char *program, const char *file,
                           bool quiet, struct fault *fault)
{
    *sandbox = (struct sandbox){.base = base};
    enum mp_error error = make_directory(sandbox, fault);
    if (!error)
        error = start(sandbox, program, file, quiet, fault);
    while (!error && !sandbox->ready && !sandbox->fault.code && !sandbox->ended)
        event_base_loop(base, EVLOOP_ONCE);
    if (!error && !sandbox->ready)
        error = fault_set(fault, sandbox->fault.code ? sandbox->fault.code : MP_ERR_INTERNAL, "the relay: %s",
                          sandbox->fault.code ? fault_text(&sandbox->fault) : "it ended before it was ready");
    return error;
}

void sandbox_close(struct sandbox *sandbox)
{
    if (sandbox->child && !sandbox->ended) {
        child_signal(sandbox->child, SIGTERM);
        while (!sandbox->ended)
            event_base_loop(sandbox->base, EVLOOP_ONCE);
    }
    child_free(sandbox->child);
    sandbox->child = NULL;
    if (sandbox->directory[0])
        path_remove_folder(sandbox->directory);
    sandbox->directory[0] = '\0';
}

/* ---- the command ----------------------------------------------------------------------------------------------- */

struct foreground {
    pid_t pid;
    bool ended;
    int status;
};

static void on_child(evutil_socket_t number, short what, void *context)
{
    struct foreground *command = context;
    (void)number;
    (void)what;
    if (command->pid > 0 && waitpid(command->pid, &command->status, WNOHANG) == command->pid)
        command->ended = true;
}

/* A terminal has told the command, too; what came to this process alone is passed on. */
static void on_signal(evutil_socket_t number, short what, void *context)
{
    const struct foreground *command = context;
    (void)what;
    if (number != SIGINT && number != SIGQUIT && command->pid > 0)
        kill(command->pid, (int)number);
}

static int run_command(const struct sandbox *sandbox, char **argv, struct foreground *command)
{
    static const int numbers[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP};
    enum { COUNT = sizeof numbers / sizeof *numbers };
    struct event *events[COUNT + 1] = {0};
    struct fault fault = {0};
    int code = EXIT_DONE;
    for (int i = 0; i < COUNT; i++)
        if (!exit_was_ignored(numbers[i]) &&
            (events[i] = evsignal_new(sandbox->base, numbers[i], on_signal, command)) != NULL)
            event_add(events[i], NULL);
    if ((events[COUNT] = evsignal_new(sandbox->base, SIGCHLD, on_child, command)) != NULL)
        event_add(events[COUNT], NULL);
    setenv("MSGPIPE_RELAY", sandbox->url, 1);
    if (command_start(argv, -1, -1, &command->pid, &code, &fault))
        tell("%s", fault_text(&fault));
    while (command->pid > 0 && !command->ended && event_base_loop(sandbox->base, EVLOOP_ONCE) == 0)
        ;
    for (int i = 0; i <= COUNT; i++)
        if (events[i])
            event_free(events[i]);
    return command->pid > 0 ? spawn_exit_code(command->status) : code;
}

/* What is wrong with a pipeline's file is told before anything is started. */
static int check(const char *file)
{
    struct pipeline *pipeline = NULL;
    struct fault fault = {0};
    if (pipeline_file_load(file, false, &pipeline, &fault))
        return pipeline_file_exit(&fault);
    pipeline_free(pipeline);
    return EXIT_DONE;
}

int sandbox_run(const char *file, const struct options *options, const char *program)
{
    struct sandbox sandbox;
    struct foreground command = {0};
    struct fault fault = {0};
    struct event_base *base;
    int code;
    if (!options->command)
        return options_wrong(options, "give a command: mrelay sandbox -- COMMAND");
    if (file && (code = check(file)) != EXIT_DONE)
        return code;
    if (!(base = event_base_new())) {
        fault_memory(&fault);
        return tell_fault(&fault);
    }
    enum mp_error error = sandbox_open(&sandbox, base, program, file, false, &fault);
    code = error ? tell_fault(&fault) : run_command(&sandbox, options->command, &command);
    sandbox_close(&sandbox);
    event_base_free(base);
    if (command.ended && WIFSIGNALED(command.status) && WTERMSIG(command.status) == SIGINT)
        exit_by_signal(SIGINT);
    return code;
}
