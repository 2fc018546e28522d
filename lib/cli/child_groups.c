/* Commands that a second signal kills. */
#include "cli/child_groups.h"

#include "cli/exit.h"

#include <signal.h>

static volatile sig_atomic_t groups[CHILD_GROUPS_MAX];

static void on_second_signal(int number)
{
    for (size_t i = 0; i < CHILD_GROUPS_MAX; i++)
        if (groups[i] > 0)
            kill(-(pid_t)groups[i], SIGKILL);
    signal(number, SIG_DFL);
    raise(number);
}

void child_groups_set(size_t index, pid_t group)
{
    groups[index] = (sig_atomic_t)group;
}

void child_groups_guard(int first)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_second_signal};
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_NODEFER;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        if (!exit_was_ignored(numbers[i]) && !(first == SIGHUP && numbers[i] == SIGHUP))
            sigaction(numbers[i], &action, NULL);
}
