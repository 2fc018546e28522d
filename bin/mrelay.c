/* mrelay: the broker, and what asks a running one about itself. */
#include "base/log.h"
#include "cli/pipeline_check.h"
#include "cli/pipeline_stages.h"
#include "cli/sandbox.h"
#include "mrelay.h"
#include "web/http.h"

static int (*const ask[CHECK + 1])(const struct admin_settings *settings) = {
    [RELOAD] = admin_reload,   [DRAIN] = admin_drain,     [STATUS] = admin_status, [TOPICS] = admin_topics,
    [GROUPS] = admin_groups,   [SET] = admin_set,         [WAIT] = admin_wait,     [BACKUP] = admin_backup,
    [RESTORE] = admin_restore, [SALVAGE] = admin_salvage, [RELAYS] = admin_relays,
};

static const struct option_rule rules[] = {
    {OPTION_EXCLUDES, "svg", {"format"}, "choose one way to draw"},
    {OPTION_NEEDS, "state", {"stages-only"}, "a pipeline that runs as a whole has a folder beside its store"},
    {OPTION_EXCLUDES, "stages-only", {"background", "store", "insecure"}, "that is about a relay of its own"},
    {OPTION_EXCLUDES, "json", {"names"}, "choose what to print"},
    {OPTION_EXCLUDES, "schema", {OPTION_OPERANDS}, "it is the same for all files"},
    {0},
};

static const char *const synopsis[] = {
    "[-r NAME] [--listen URL]... [--background] [OPTION]...",
    "run|once|check|test|graph FILE [OPTION]...",
    "sandbox [FILE] -- COMMAND [ARG]...",
    "status|topics|groups|relays|reload|drain [-r RELAY] [OPTION]...",
    "set|wait|backup|restore|salvage [-r RELAY] ...",
    NULL,
};

static const struct option_example examples[] = {
    {"mrelay --background", "a durable broker: a Unix socket and one file"},
    {"mrelay run orders.yaml", "a whole pipeline: topics, stages, sources and sinks"},
    {"mrelay set topic orders max_messages=100000 overflow=reject", "refuse what is too much"},
    {0},
};

static const struct option_program program = {
    .name = "mrelay",
    .summary = "keep topics: the broker between msend and mrecv",
    .synopsis = synopsis,
    .description =
        "Alone it is a relay: it stores what msend sends and hands it to mrecv. Its name (-r) says where its socket "
        "and its store are. With a command it asks a relay that runs, or changes what that keeps.",
    .options = mrelay_options,
    .rules = rules,
    .verbs = mrelay_verbs,
    .examples = examples,
};

static int check(const struct mrelay_settings *settings, const struct options *options)
{
    if (options->operands_count == 0 && !settings->schema)
        return options_wrong(options, "check: which file? mrelay check FILE...");
    return pipeline_check(&(struct pipeline_check_settings){
        .files = options->operands, .files_count = options->operands_count, .schema = settings->schema});
}

/* The verbs that run a pipeline or a relay. */
static int run(const struct mrelay_settings *settings, const struct options *options, char **argv)
{
    const char *file = options->operands_count ? options->operands[0] : NULL;
    if (options->verb == SANDBOX)
        return sandbox_run(file, options, argv[0]);
    if (!file)
        return options_wrong(options, "give the pipeline's file: mrelay %s FILE", mrelay_verbs[options->verb].name);
    if (options->verb == TEST) {
        struct pipeline_test_settings test = settings->test;
        test.file = file;
        test.program = argv[0];
        return pipeline_test(&test);
    }
    if (options->verb == GRAPH) {
        struct pipeline_graph_settings graph = settings->graph;
        graph.file = file;
        graph.relay = settings->relay;
        graph.wait = settings->admin.wait;
        return pipeline_graph(&graph);
    }
    struct supervise_settings wanted = settings->run;
    wanted.relay = options_given(options, "relay") ? settings->relay : NULL; /* else it has the file's name */
    wanted.file = file;
    wanted.store = settings->store;
    wanted.once = options->verb == ONCE;
    wanted.background = settings->serve.background;
    wanted.insecure = settings->serve.insecure;
    wanted.log_format = settings->serve.log_format;
    wanted.log_level = settings->serve.log_level;
    if (!settings->stages_only)
        return supervise(&wanted, options, argv);
    struct pipeline_stages_settings stages = {.relay = settings->relay,
                                              .file = file,
                                              .state = settings->state,
                                              .log_format = wanted.log_format,
                                              .log_level = wanted.log_level};
    return pipeline_stages_run(&stages);
}

int main(int argc, char **argv)
{
    struct mrelay_settings settings = {.admin.wait = -1, .serve.log_level = LOG_INFO, .serve.web = &web_http};
    struct options options;
    int code = options_parse(&program, argc, argv, &settings, &options);
    if (code >= 0)
        return code;
    settings.serve.name = settings.admin.relay = settings.relay;
    settings.serve.store = settings.admin.store = settings.store;
    settings.admin.operands = options.operands;
    settings.admin.operands_count = options.operands_count;
    if (options.verb == CHECK)
        code = check(&settings, &options);
    else if (options.verb >= 0 && !ask[options.verb])
        code = run(&settings, &options, argv);
    else if (options.verb >= 0)
        code = ask[options.verb](&settings.admin);
    else
        code = serve(&settings.serve, &options, argv);
    options_free(&options);
    return code;
}
