/*
 * mrelay.h: what the parts of mrelay's command line share: the settings that it fills, and its commands.
 */
#ifndef MRELAY_H
#define MRELAY_H

#include "cli/admin_pipeline.h"
#include "cli/pipeline_graph.h"
#include "cli/pipeline_test.h"
#include "cli/serve.h"
#include "cli/supervise.h"

struct mrelay_settings {
    const char *relay, *store;
    struct serve_settings serve;
    struct admin_settings admin;
    struct supervise_settings run;
    struct pipeline_graph_settings graph;
    struct pipeline_test_settings test;
    bool stages_only, schema;
    const char *state;
};

enum verb {
    RUN,
    ONCE,
    TEST,
    GRAPH,
    SANDBOX,
    STATUS,
    RELOAD,
    DRAIN,
    TOPICS,
    GROUPS,
    SET,
    WAIT,
    BACKUP,
    RESTORE,
    SALVAGE,
    RELAYS,
    CHECK
};

extern const struct option_verb mrelay_verbs[];   /* by enum verb */
extern const struct option_spec mrelay_options[]; /* into struct mrelay_settings */

#endif
