/*
 * pipeline_stages.h: `mrelay run --stages-only`: a pipeline's sources, stages and sinks, without a relay of its own. So
 * `mrelay run` runs them, as a child, and so they run on another host.
 *
 * SIGTERM and SIGINT: it begins nothing more, lets commands finish for a while, and leaves the relay; the second one
 * kills. SIGHUP: reads the file again; where the terminal has gone (base/hangup.h) it is as SIGTERM.
 *
 * Where a supervisor has started it there is a channel (base/control.h, RELAY_CONTROL). It takes the lines `reload`,
 * `drain` and `stop`, the channel's end stands for `stop`; and it says:
 *
 *     ready           the relay has set up topics and groups, and work has begun
 *     drained DEAD FAILED
 *                     sources have ended, FAILED of them without having done what they should, and nothing waits; DEAD
 *                     messages have died since it began
 *     reloaded
 *     failed WORDS    it goes on with the old file
 */
#ifndef CLI_PIPELINE_STAGES_H
#define CLI_PIPELINE_STAGES_H

struct pipeline_stages_settings {
    const char *relay; /* its name or address; NULL: the pipeline's name */
    const char *file;
    const char *state; /* a directory for what sources remember; NULL: nothing */
    int log_format;
    int log_level;
};

/* The exit code. */
int pipeline_stages_run(const struct pipeline_stages_settings *settings);

#endif
