/* How a tool ends. */
#include "cli/exit.h"

#include "cli/output.h"
#include "transport/address.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const char *tool_name = "msgpipe";
static bool ignored[NSIG];

int exit_code_of(enum mp_error error)
{
    switch (error) {
    case MP_OK:
        return EXIT_DONE;
    case MP_ERR_INVALID:
        return EXIT_USAGE;
    case MP_ERR_FORMAT:
    case MP_ERR_TOO_LARGE:
        return EXIT_REJECTED;
    case MP_ERR_NO_RELAY:
        return EXIT_NO_RELAY;
    case MP_ERR_TIMEOUT:
        return EXIT_TIMEOUT;
    case MP_ERR_FULL:
    case MP_ERR_OVERFLOW:
    case MP_ERR_BUSY:
        return EXIT_LATER;
    case MP_ERR_DENIED:
        return EXIT_DENIED;
    case MP_ERR_IO:
    case MP_ERR_CLOSED:
        return EXIT_IO;
    case MP_ERR_NOT_FOUND:
        return EXIT_NO_INPUT;
    case MP_ERR_MEMORY:
    case MP_ERR_SESSION:
    case MP_ERR_STALE:
    case MP_ERR_GAP:
    case MP_ERR_AGAIN:
    case MP_ERR_EXISTS:
    case MP_ERR_VERSION:
    case MP_ERR_DAMAGED:
    case MP_ERR_UNSUPPORTED:
    case MP_ERR_INTERRUPTED:
    case MP_ERR_INTERNAL:
        return EXIT_FAILED;
    }
    return EXIT_FAILED;
}

/*
 * A standard descriptor that was closed would be taken by the next file or socket, which then gets what was meant for
 * stdout. Something stands in for it on which reading (writing) fails as on a closed one.
 */
static void fill_closed(int descriptor, int mode)
{
    if (fcntl(descriptor, F_GETFD) == -1 && errno == EBADF) {
        int opened = open("/dev/null", mode);
        if (opened >= 0 && opened != descriptor) {
            dup2(opened, descriptor);
            close(opened);
        }
    }
}

void exit_setup(const char *tool)
{
    tool_name = tool;
    fill_closed(STDIN_FILENO, O_WRONLY);
    fill_closed(STDOUT_FILENO, O_RDONLY);
    fill_closed(STDERR_FILENO, O_RDONLY);
    static const int looked_at[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT};
    for (size_t i = 0; i < sizeof(looked_at) / sizeof(*looked_at); i++) {
        struct sigaction action;
        ignored[looked_at[i]] = sigaction(looked_at[i], NULL, &action) == 0 && action.sa_handler == SIG_IGN;
    }
    signal(SIGPIPE, SIG_IGN);
}

const char *exit_tool(void)
{
    return tool_name;
}

bool exit_was_ignored(int signal_number)
{
    return signal_number > 0 && signal_number < NSIG && ignored[signal_number];
}

void tell(const char *format, ...)
{
    char text[FAULT_TEXT * 4];
    int used = snprintf(text, sizeof(text), "%s: ", tool_name);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + used, sizeof(text) - (size_t)used - 1, format, arguments);
    va_end(arguments);
    size_t size = strlen(text);
    text[size++] = '\n';
    progress_erase();
    /* One write, so that lines of tools that run side by side do not mix. When stderr is gone nobody can be told. */
    (void)!write(STDERR_FILENO, text, size);
}

int tell_fault(const struct fault *fault)
{
    tell("%s", fault_text(fault));
    return exit_code_of(fault->code);
}

struct names {
    char text[FAULT_TEXT];
    unsigned count;
};

static void add_name(void *context, const char *name)
{
    struct names *names = context;
    size_t used = strlen(names->text);
    snprintf(names->text + used, sizeof(names->text) - used, "%s%s", names->count++ ? ", " : "", name);
}

int tell_no_relay(const char *relay, const char *start, const struct fault *fault)
{
    struct names names = {0};
    address_running_relays(add_name, &names);
    bool url = relay && strstr(relay, "://");
    bool plain = !relay || !strcmp(relay, "default");
    char alone[300];
    if (url)
        snprintf(alone, sizeof(alone), "mrelay -r NAME --listen %s --background", relay);
    else
        snprintf(alone, sizeof(alone), "mrelay%s%s --background", plain ? "" : " -r ", plain ? "" : relay);
    if (!start)
        start = alone;
    if (names.count == 0 && url)
        tell("%s: start one there with '%s'", fault_text(fault), start);
    else if (names.count == 0)
        tell("%s, and no other here: start it with '%s'", fault_text(fault), start);
    else if (url)
        tell("%s: start one there with '%s', or choose one that runs here with -r: %s", fault_text(fault), start,
             names.text);
    else
        tell("%s, but %s %s: choose with -r, or start it with '%s'", fault_text(fault), names.text,
             names.count == 1 ? "is" : "are", start);
    return EXIT_NO_RELAY;
}

void exit_by_signal(int signal_number)
{
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    signal(signal_number, SIG_DFL);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal_number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    raise(signal_number);
    _exit(128 + signal_number);
}

int exit_by_pipe(void)
{
    if (!exit_was_ignored(SIGPIPE)) {
        progress_erase();
        exit_by_signal(SIGPIPE);
    }
    tell("cannot write to stdout: its reader has gone");
    return EXIT_IO;
}
