#include "kills.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What each stage puts behind a body says which stages a message has been through, and how often. */
static const struct {
    const char *name, *from, *to, *rest;
    bool ordered;
} stages[] = {
    {"each", "p.in", "p.mid", "command: [sed, 's/$/+e/'], mode: each, workers: 2, order: key", true},
    {"stream", "p.mid", "p.up", "command: [sed, -u, 's/$/+s/'], mode: stream, order: key", true},
    {"batch", "p.up", "p.out", "command: [sed, 's/$/+b/'], mode: batch, batch: 20", false},
};
enum { STAGES = sizeof stages / sizeof *stages };

void pipe_path(const struct torture *torture, char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%s/pipeline.yaml", torture->folder);
}

static void write_pipeline(struct torture *torture)
{
    char path[PATH_BYTES];
    pipe_path(torture, path);
    FILE *file = fopen(path, "w");
    if (!file)
        torture_give_up(torture, "the pipeline's file could not be made");
    fprintf(file, "topics: {p.in: {}, p.mid: {}, p.up: {}, p.out: {external: true}}\nstages:\n");
    for (unsigned i = 0; i < STAGES; i++)
        fprintf(file,
                "  %s: {from: %s, to: %s, %s,\n    retry: {max_retries: unlimited, initial_interval: 10ms, "
                "max_interval: 100ms}}\n",
                stages[i].name, stages[i].from, stages[i].to, stages[i].rest);
    if (fclose(file) != 0)
        torture_give_up(torture, "the pipeline's file could not be written");
}

/* Their groups are there before the messages, like all others. */
void pipe_make(struct torture *torture)
{
    char path[TOOL_BYTES], names[2][64];
    torture_tool(torture, path, "mrecv");
    write_pipeline(torture);
    for (unsigned i = 0; i < STAGES; i++) {
        snprintf(names[0], sizeof names[0], "%s", stages[i].from);
        snprintf(names[1], sizeof names[1], "%s", stages[i].name);
        char *words[] = {path, "-r", "torture", "-t", names[0], "-g", names[1], "-e", NULL};
        if (torture_run(torture, words, "groups") != 0)
            torture_give_up(torture, "a stage's group could not be made");
        history_write(torture->history, "pipe", "%s %s %s%s", stages[i].from, stages[i].to, stages[i].name,
                      stages[i].ordered ? " order" : "");
    }
}

void pipe_drain(struct torture *torture)
{
    for (unsigned i = 0; i < STAGES; i++)
        end_wait_for_group(torture, stages[i].from, stages[i].name);
    torture_tell(torture, RUNNER);
}
