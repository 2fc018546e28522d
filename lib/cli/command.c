#include "cli/command.h"

#include "cli/loop.h"

#include <unistd.h>

enum mp_error command_start(char *const *argv, int input, int output, pid_t *pid, int *exit, struct fault *fault)
{
    const struct spawn_place places[] = {{.number = STDIN_FILENO, .descriptor = input},
                                         {.number = STDOUT_FILENO, .descriptor = output}};
    const struct spawn_settings settings = {
        .argv = argv, .signals = loop_child_signals, .places = places, .places_count = sizeof places / sizeof *places};
    int number = spawn_start(&settings, pid);
    return number ? spawn_explain(&settings, number, exit, fault) : MP_OK;
}
