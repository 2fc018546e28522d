/* A command's pipes. */
#include "stage/command_pipes.h"

#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

void command_pipes_close(struct command_pipes *pipes)
{
    int *all[] = {&pipes->input, &pipes->output, &pipes->error};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        if (*all[i] >= 0)
            close(*all[i]);
        *all[i] = -1;
    }
}

/* Makes a pipe, ours being the writing end if we WRITE, that holds SIZE bytes where that can be had; 0: as it comes. */
static int make_pipe(int *ours, int *theirs, bool we_write, size_t size)
{
    int pair[2];
    int error = spawn_pipe(pair);
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
