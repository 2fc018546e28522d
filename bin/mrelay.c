/* mrelay: the broker, and what asks a running one about itself. */
#include "base/log.h"
#include "cli/admin_pipeline.h"
#include "cli/pipeline_check.h"
#include "cli/pipeline_graph.h"
#include "cli/pipeline_stages.h"
#include "cli/pipeline_test.h"
#include "cli/sandbox.h"
#include "cli/serve.h"
#include "cli/supervise.h"
#include "message/frame.h"
#include "web/http.h"

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
    RELAYS,
    CHECK
};

static const struct option_verb verbs[] = {
    [RUN] = {.name = "run",
             .operands = "FILE",
             .operands_most = 1,
             .help = "run the pipeline in FILE",
             .man = "Check the pipeline in\n.Ar FILE\n.Pq Xr mpipeline 5 ,\nand run it: a relay of its name, and a "
                    "runner for its stages, sources and sinks.\nWhat dies of these is started again.\n"
                    "SIGHUP loads the file again; what did not change keeps running, and a file with mistakes changes "
                    "nothing."},
    [ONCE] = {.name = "once",
              .operands = "FILE",
              .operands_most = 1,
              .help = "run it until its sources end and nothing waits",
              .man = "Run the pipeline in\n.Ar FILE\nuntil its sources have ended and nothing waits in its topics, "
                     "then end.\nThe exit code is 65 when messages have died, 1 when a source failed.\nA source that "
                     "never ends needs\n"
                     ".Fl \\-for ."},
    [TEST] = {.name = "test",
              .operands = "FILE",
              .operands_most = 1,
              .help = "run the tests in FILE",
              .man = "Run the tests of the pipeline in\n.Ar FILE ,\nalso those in files beside it whose names end in\n"
                     ".Pa _test.yaml :\nwith real stages and a relay of its own for each.\n"
                     "Its sources and sinks do not run.\nThe exit code is 1 when a test failed."},
    [GRAPH] = {.name = "graph",
               .operands = "FILE",
               .operands_most = 1,
               .help = "draw the pipeline in FILE",
               .man = "Draw the pipeline in\n.Ar FILE\nas a tree, or as\n.Fl \\-format\nand\n.Fl \\-svg\nsay.\n"
                      "With\n.Fl \\-live\nthe pipeline runs, and the arrows say how many messages went that way, and "
                      "how many do in a second."},
    [SANDBOX] = {.name = "sandbox",
                 .operands = "[FILE] -- CMD",
                 .operands_most = 1,
                 .takes_command = true,
                 .help = "run COMMAND with a relay of its own",
                 .man = "Start a relay in a folder of its own, or the pipeline in\n.Ar FILE ,\nrun\n.Ar CMD\n"
                        "with\n.Ev MSGPIPE_RELAY\nset to it, and remove all when it ends.\n"
                        "The exit code is that of the command."},
    [STATUS] = {.name = "status", .help = "show a running relay, and its pipeline"},
    [RELOAD] = {.name = "reload",
                .help = "have a pipeline load its file again",
                .man = "Have the pipeline of a relay load its file again, and wait until it has.\n"
                       "What did not change keeps running, and nothing in flight is lost.\n"
                       "A file with mistakes changes nothing: the exit code is 78."},
    [DRAIN] = {.name = "drain",
               .help = "end a pipeline: its sources first",
               .man = "Have the pipeline of a relay end its sources, work off what waits in its topics, and end; "
                      "wait until it has, or as long as\n.Fl \\-wait\nsays."},
    [TOPICS] = {.name = "topics",
                .operands = "[purge|delete T]",
                .operands_most = 2,
                .help = "list topics, empty or delete one",
                .man = "List the topics, and how much is in them.\n.Cm purge\ndrops every message that is in\n"
                       ".Ar T ;\n.Cm delete\nends the topic with its messages and groups.\nBoth ask first, or need\n"
                       ".Fl \\-yes ."},
    [GROUPS] = {.name = "groups",
                .operands = "[seek|delete T G]",
                .operands_most = 3,
                .help = "list groups, move or delete one",
                .man = "List the groups, and what waits for them.\n.Cm seek\nmoves a group to where\n.Fl \\-from\n"
                       "says: back, so that messages are handed out again, or ahead.\n.Cm delete\n"
                       "ends the group; one that is in use needs\n.Fl \\-force .\n"
                       "In place of\n.Ar TOPIC\nthe pattern of a group on a pattern is given."},
    [SET] = {.name = "set",
             .operands = "WHAT [KEY=VALUE]...",
             .operands_most = 64,
             .help = "show settings, or change them",
             .man = "Show the settings of\n.Ar WHAT ,\n.Cm topic Ar TOPIC\nor\n.Cm group Ar TOPIC GROUP ,\nwith their "
                    "defaults, or change those "
                    "that are given.\n"
                    "All of them are changed, or none.\nAn empty\n.Ar VALUE\nstands for the default.\n"
                    "A topic or group that is not there is made.\nThe keys are in\n.Sx SETTINGS ."},
    [WAIT] = {.name = "wait",
              .help = "wait until a group (-g) has worked off a topic (-t)",
              .man = "Wait until group\n.Fl g\nhas worked off topic\n.Fl t ,\nfor ever or as long as\n.Fl \\-wait\n"
                     "says: nothing of it is waiting, delayed or with a consumer."},
    [BACKUP] = {.name = "backup",
                .operands = "FILE",
                .operands_most = 1,
                .help = "copy the store into FILE, while the relay runs",
                .man = "Copy the store into\n.Ar FILE\nas it is at one moment, and check the copy.\n"
                       "The relay may run and goes on meanwhile.\nA\n.Ar FILE\nthat is there is replaced when the copy "
                       "is whole."},
    [RESTORE] = {.name = "restore",
                 .operands = "FILE",
                 .operands_most = 1,
                 .help = "check a backup, put it in the store's place",
                 .man =
                     "Check\n.Ar FILE ,\na backup, and put a copy of it in the place of the store of a relay that does "
                     "not run.\nA store that is there needs\n.Fl \\-force ,\nand is kept beside it with\n"
                     ".Pa .replaced\nbehind its name."},
    [RELAYS] = {.name = "relays", .help = "list the relays that run here"},
    [CHECK] = {.name = "check",
               .operands = "FILE...",
               .operands_most = 1000,
               .help = "check pipelines' files, and tell every mistake in them",
               .man = "Check pipelines'\n.Ar FILE Ns s ,\nsee\n.Xr mpipeline 5 ,\nwith their tests, and tell every "
                      "mistake with its place, as a compiler does.\nNothing is started, and nothing is said of a good "
                      "file, but on a terminal.\nThe exit code is 0, or 78 when there are mistakes."},
    {0},
};

static int (*const ask[CHECK + 1])(const struct admin_settings *settings) = {
    [RELOAD] = admin_reload,   [DRAIN] = admin_drain,   [STATUS] = admin_status, [TOPICS] = admin_topics,
    [GROUPS] = admin_groups,   [SET] = admin_set,       [WAIT] = admin_wait,     [BACKUP] = admin_backup,
    [RESTORE] = admin_restore, [RELAYS] = admin_relays,
};

#define AT(member) offsetof(struct mrelay_settings, member)
#define SERVING .verbs = OPTION_NO_VERB, .section = "Serving"
#define STARTED (OPTION_NO_VERB | OPTION_VERB(RUN) | OPTION_VERB(ONCE))
#define STARTING .verbs = STARTED, .section = "Serving"
#define ASKING .section = "Asking"
#define CHANGING .section = "Changing"
#define TESTING .section = "Testing"
#define DRAWING .section = "Drawing"
#define ASKED (OPTION_VERB(TOPICS) | OPTION_VERB(GROUPS))
#define ANSWERED (ASKED | OPTION_VERB(STATUS) | OPTION_VERB(SET) | OPTION_VERB(WAIT))
#define WAITED (OPTION_VERB(GRAPH) | ANSWERED | OPTION_VERB(BACKUP) | OPTION_VERB(RELOAD) | OPTION_VERB(DRAIN))

static const char *const log_formats[] = {"logfmt", "json", NULL};
static const char *const graph_formats[] = {"text", "dot", "mermaid", NULL};
static const char *const log_levels[] = {"debug", "info", "warning", "error", NULL};

static const struct option_spec specs[] = {
    OPTION_RELAY(struct mrelay_settings, relay),
    {.name = "listen",
     .letter = 'l',
     .kind = OPTION_LIST,
     .at = AT(serve.listen),
     .argument = "URL",
     SERVING,
     .help = "listen here too: ipc:///path, tcp://host:port; may be repeated",
     .man = "Listen at\n.Ar URL\n.Pq Pa ipc:///path , tcp://host:port , tcp://[v6]:port\n"
            "too, besides the socket that follows from the name.\nMay be repeated."},
    {.name = "http",
     .kind = OPTION_TEXT,
     .at = AT(serve.http),
     .argument = "ADDRESS",
     SERVING,
     .help = "serve metrics and health there: 127.0.0.1:9090, unix:/path",
     .man = "Serve\n.Pa /metrics\nfor Prometheus,\n.Pa /healthz\nand\n.Pa /readyz\nby HTTP at\n.Ar ADDRESS :\n"
            ".Ar HOST : Ns Ar PORT ,\n.Ar PORT\n.Pq of this machine alone ,\nor\n.Cm unix : Ns Ar PATH ;\n"
            "see\n.Sx METRICS .\nPort 0 takes any that is free: the log and\n.Nm Cm status\nsay which."},
    {.name = "store",
     .kind = OPTION_TEXT,
     .at = AT(store),
     .argument = "FILE",
     .verbs = STARTED | OPTION_VERB(BACKUP) | OPTION_VERB(RESTORE),
     .section = "Serving",
     .completion = OPTION_COMPLETE_FILE,
     .help = "keep messages in FILE (default: by the name)"},
    {.name = "background",
     .letter = 'b',
     .kind = OPTION_FLAG,
     .at = AT(serve.background),
     STARTING,
     .help = "serve in the background: return when it serves",
     .man = "Serve in the background, and return when it does.\nThe log goes to a file beside the store, whose name "
            "ends in\n.Pa .log ."},
    {.name = "max-message",
     .kind = OPTION_SIZE,
     .at = AT(serve.max_message),
     .argument = "SIZE",
     .low = 1,
     .high = FRAME_BODY_MAX,
     SERVING,
     .help = "refuse bodies over SIZE (default: 16MiB)"},
    {.name = "max-connections",
     .kind = OPTION_NUMBER,
     .at = AT(serve.max_connections),
     .argument = "N",
     .low = 1,
     .high = 1000000,
     SERVING,
     .help = "refuse connections over N (default: by the limit of open files)"},
    {.name = "lease",
     .kind = OPTION_DURATION,
     .at = AT(serve.lease),
     .argument = "TIME",
     SERVING,
     .help = "how long a consumer that is silent keeps messages (default: 30s)",
     .man = "How long a message stays with a consumer of which nothing is heard; after that it is handed out again.\n"
            "The default is 30 seconds.\nConsumers that live extend their leases by themselves."},
    {.name = "client-rate",
     .kind = OPTION_RATE,
     .at = AT(serve.client_rate),
     .argument = "RATE",
     SERVING,
     .help = "take so many messages from one client, 500/s",
     .man = "Take\n.Ar RATE\nmessages from one client, such as\n.Cm 500/s ;\none that sends more waits.\n"
            "After a pause a tenth of a second's messages, one at least, may come at once."},
    {.name = "for",
     .kind = OPTION_DURATION,
     .at = AT(run.span),
     .argument = "TIME",
     .verbs = OPTION_VERB(ONCE),
     .section = "Serving",
     .help = "end the sources after TIME, then drain"},
    {.name = "stages-only",
     .kind = OPTION_FLAG,
     .at = AT(stages_only),
     .verbs = OPTION_VERB(RUN),
     .section = "Serving",
     .help = "run the stages here, for the relay -r, which runs already",
     .man = "Run the stages, sources and sinks in this process, for the relay\n.Fl r ,\nwhich runs already, also on "
            "another host.\nSeveral of them share the work."},
    {.name = "state",
     .kind = OPTION_TEXT,
     .at = AT(state),
     .argument = "DIR",
     .verbs = OPTION_VERB(RUN),
     .section = "Serving",
     .completion = OPTION_COMPLETE_DIRECTORY,
     .help = "with --stages-only: remember in DIR how far sources have read"},
    {.name = "insecure",
     .kind = OPTION_FLAG,
     .at = AT(serve.insecure),
     STARTING,
     .help = "allow TCP addresses that other machines reach: anybody can read and write"},
    {.name = "log-format",
     .kind = OPTION_CHOICE,
     .at = AT(serve.log_format),
     .argument = "FORMAT",
     .choices = log_formats,
     STARTING,
     .help = "logfmt (default), json"},
    {.name = "log-level",
     .kind = OPTION_CHOICE,
     .at = AT(serve.log_level),
     .argument = "LEVEL",
     .choices = log_levels,
     STARTING,
     .help = "debug, info (default), warning, error"},

    {.name = "topic",
     .letter = 't',
     .kind = OPTION_TEXT,
     .at = AT(admin.topic),
     .argument = "TOPIC",
     .verbs = ASKED | OPTION_VERB(SET) | OPTION_VERB(WAIT),
     ASKING,
     .completion = OPTION_COMPLETE_TOPIC,
     .help = "this topic, or the topics of a pattern"},
    {.name = "group",
     .letter = 'g',
     .kind = OPTION_TEXT,
     .at = AT(admin.group),
     .argument = "GROUP",
     .verbs = OPTION_VERB(GROUPS) | OPTION_VERB(SET) | OPTION_VERB(WAIT),
     ASKING,
     .completion = OPTION_COMPLETE_GROUP,
     .help = "this group"},
    {.name = "wait",
     .kind = OPTION_DURATION,
     .at = AT(admin.wait),
     .argument = "TIME",
     .verbs = WAITED,
     ASKING,
     .help = "how long to wait: for the relay, the group, the pipeline"},
    {.name = "json",
     .kind = OPTION_FLAG,
     .at = AT(admin.json),
     .verbs = ANSWERED,
     ASKING,
     .help = "print the relay's answer as one line of JSON"},
    {.name = "watch",
     .kind = OPTION_FLAG,
     .at = AT(admin.watch),
     .verbs = OPTION_VERB(STATUS),
     ASKING,
     .help = "show it again every second"},
    {.name = "names",
     .kind = OPTION_FLAG,
     .at = AT(admin.names),
     .verbs = ASKED,
     ASKING,
     .help = "print names only, a line each"},

    {.name = "filter",
     .kind = OPTION_TEXT,
     .at = AT(test.filter),
     .argument = "TEXT",
     .verbs = OPTION_VERB(TEST),
     TESTING,
     .help = "only tests with TEXT in their names"},
    {.name = "tap",
     .kind = OPTION_FLAG,
     .at = AT(test.tap),
     .verbs = OPTION_VERB(TEST),
     TESTING,
     .help = "report by the Test Anything Protocol"},

    {.name = "format",
     .kind = OPTION_CHOICE,
     .at = AT(graph.format),
     .argument = "FORMAT",
     .choices = graph_formats,
     .verbs = OPTION_VERB(GRAPH),
     DRAWING,
     .help = "text (default), dot, mermaid"},
    {.name = "svg",
     .kind = OPTION_TEXT,
     .at = AT(graph.svg),
     .argument = "FILE",
     .verbs = OPTION_VERB(GRAPH),
     DRAWING,
     .completion = OPTION_COMPLETE_FILE,
     .help = "draw into FILE, by Graphviz"},
    {.name = "live",
     .kind = OPTION_FLAG,
     .at = AT(graph.live),
     .verbs = OPTION_VERB(GRAPH),
     DRAWING,
     .help = "with what flows: counts, rates, and what waits"},

    {.name = "from",
     .kind = OPTION_TEXT,
     .at = AT(admin.from),
     .argument = "WHERE",
     .verbs = OPTION_VERB(GROUPS),
     CHANGING,
     .help = "seek to start, new, an offset, -100, a time, or an age (5m)",
     .man = "Where\n.Cm groups seek\nmoves the group:\n.Cm start , new ,\nan offset,\n.Sq -100\n"
            "for the last hundred messages, a time\n.Pq RFC 3339, or @ and seconds since 1970 ,\nor an age such as\n"
            ".Cm 5m ."},
    {.name = "force",
     .kind = OPTION_FLAG,
     .at = AT(admin.force),
     .verbs = ASKED | OPTION_VERB(RESTORE),
     CHANGING,
     .help = "although it is in use, or in the way",
     .man =
         "Delete a topic or a group although consumers wait for its messages or have some, move a group although they "
         "have some, or restore over a store that is there."},
    {.name = "yes",
     .letter = 'y',
     .kind = OPTION_FLAG,
     .at = AT(admin.yes),
     .verbs = OPTION_VERB(TOPICS),
     CHANGING,
     .help = "do not ask whether to purge or delete"},

    {.name = "schema",
     .kind = OPTION_FLAG,
     .at = AT(schema),
     .verbs = OPTION_VERB(CHECK),
     .section = "Checking",
     .help = "print the JSON Schema of pipelines, for editors"},
    {0},
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
    "set|wait|backup|restore [-r RELAY] ...",
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
    .options = specs,
    .rules = rules,
    .verbs = verbs,
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
        return options_wrong(options, "give the pipeline's file: mrelay %s FILE", verbs[options->verb].name);
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
