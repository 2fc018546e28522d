/* mrelay: the broker, and what asks a running one about itself. */
#include "base/log.h"
#include "base/memory.h"
#include "cli/admin.h"
#include "cli/exit.h"
#include "cli/options.h"
#include "cli/output.h"
#include "message/frame.h"
#include "relay/relay.h"
#include "transport/address.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

struct mrelay_settings {
    struct admin_settings admin;
    const char *store;
    struct option_list listen;
    uint64_t max_message, max_connections;
    int64_t lease; /* microseconds */
    bool background, insecure;
    int log_format, log_level;
};

enum verb { STATUS, TOPICS, GROUPS, WAIT, RELAYS };

static const struct option_verb verbs[] = {
    [STATUS] = {.name = "status", .help = "show a running relay: its addresses, store, topics, groups, counters"},
    [TOPICS] = {.name = "topics", .help = "list the topics, and how much is in them"},
    [GROUPS] = {.name = "groups", .help = "list the groups, and what waits for them"},
    [WAIT] = {.name = "wait",
              .help = "wait until a group (-g) has worked off a topic (-t)",
              .man = "Wait until group\n.Fl g\nhas worked off topic\n.Fl t ,\nfor ever or as long as\n.Fl \\-wait\n"
                     "says: nothing of it is waiting, delayed or with a consumer."},
    [RELAYS] = {.name = "relays", .help = "list the relays of this user that run, and the machine's"},
    {0},
};

static int (*const ask[])(const struct admin_settings *settings) = {
    [STATUS] = admin_status, [TOPICS] = admin_topics, [GROUPS] = admin_groups,
    [WAIT] = admin_wait,     [RELAYS] = admin_relays,
};

#define AT(member) offsetof(struct mrelay_settings, member)
#define SERVING .verbs = OPTION_NO_VERB, .section = "Serving"
#define ASKING .section = "Asking"

static const char *const log_formats[] = {"logfmt", "json", NULL};
static const char *const log_levels[] = {"debug", "info", "warning", "error", NULL};

static const struct option_spec specs[] = {
    OPTION_RELAY(struct mrelay_settings, admin.relay),
    {.name = "listen",
     .letter = 'l',
     .kind = OPTION_LIST,
     .at = AT(listen),
     .argument = "URL",
     SERVING,
     .help = "listen here too: ipc:///path, tcp://host:port; may be repeated",
     .man = "Listen at\n.Ar URL\n.Pq Pa ipc:///path , tcp://host:port , tcp://[v6]:port\n"
            "too, besides the socket that follows from the name.\nMay be repeated."},
    {.name = "store",
     .kind = OPTION_TEXT,
     .at = AT(store),
     .argument = "FILE",
     SERVING,
     .completion = OPTION_COMPLETE_FILE,
     .help = "keep messages in FILE (default: by the name)"},
    {.name = "background",
     .letter = 'b',
     .kind = OPTION_FLAG,
     .at = AT(background),
     SERVING,
     .help = "serve in the background: return when it serves",
     .man = "Serve in the background, and return when it does.\nThe log goes to a file beside the store, whose name "
            "ends in\n.Pa .log ."},
    {.name = "max-message",
     .kind = OPTION_SIZE,
     .at = AT(max_message),
     .argument = "SIZE",
     .low = 1,
     .high = FRAME_BODY_MAX,
     SERVING,
     .help = "refuse bodies over SIZE (default: 16MiB)"},
    {.name = "max-connections",
     .kind = OPTION_NUMBER,
     .at = AT(max_connections),
     .argument = "N",
     .low = 1,
     .high = 1000000,
     SERVING,
     .help = "refuse connections over N (default: by the limit of open files)"},
    {.name = "lease",
     .kind = OPTION_DURATION,
     .at = AT(lease),
     .argument = "TIME",
     SERVING,
     .help = "how long a consumer that is silent keeps messages (default: 30s)",
     .man = "How long a message stays with a consumer of which nothing is heard; after that it is handed out again.\n"
            "The default is 30 seconds.\nConsumers that live extend their leases by themselves."},
    {.name = "insecure",
     .kind = OPTION_FLAG,
     .at = AT(insecure),
     SERVING,
     .help = "allow TCP addresses that other machines reach: anybody can read and write"},
    {.name = "log-format",
     .kind = OPTION_CHOICE,
     .at = AT(log_format),
     .argument = "FORMAT",
     .choices = log_formats,
     SERVING,
     .help = "logfmt (default), json"},
    {.name = "log-level",
     .kind = OPTION_CHOICE,
     .at = AT(log_level),
     .argument = "LEVEL",
     .choices = log_levels,
     SERVING,
     .help = "debug, info (default), warning, error"},

    {.name = "topic",
     .letter = 't',
     .kind = OPTION_TEXT,
     .at = AT(admin.topic),
     .argument = "TOPIC",
     .verbs = OPTION_VERB(TOPICS) | OPTION_VERB(GROUPS) | OPTION_VERB(WAIT),
     ASKING,
     .completion = OPTION_COMPLETE_TOPIC,
     .help = "this topic, or the topics of a pattern"},
    {.name = "group",
     .letter = 'g',
     .kind = OPTION_TEXT,
     .at = AT(admin.group),
     .argument = "GROUP",
     .verbs = OPTION_VERB(GROUPS) | OPTION_VERB(WAIT),
     ASKING,
     .completion = OPTION_COMPLETE_GROUP,
     .help = "this group"},
    {.name = "wait",
     .kind = OPTION_DURATION,
     .at = AT(admin.wait),
     .argument = "TIME",
     .verbs = OPTION_VERB(STATUS) | OPTION_VERB(TOPICS) | OPTION_VERB(GROUPS) | OPTION_VERB(WAIT),
     ASKING,
     .help = "how long to wait: for the relay, or for the group"},
    {.name = "json",
     .kind = OPTION_FLAG,
     .at = AT(admin.json),
     .verbs = OPTION_VERB(STATUS) | OPTION_VERB(TOPICS) | OPTION_VERB(GROUPS) | OPTION_VERB(WAIT),
     ASKING,
     .help = "print the relay's answer, which is JSON, as it is"},
    {.name = "names",
     .kind = OPTION_FLAG,
     .at = AT(admin.names),
     .verbs = OPTION_VERB(TOPICS) | OPTION_VERB(GROUPS),
     ASKING,
     .help = "print names only, a line each"},
    {0},
};

static const struct option_rule rules[] = {
    {OPTION_EXCLUDES, "json", {"names"}, "choose what to print"},
    {0},
};

static const char *const synopsis[] = {
    "[-r NAME] [--listen URL]... [--background] [OPTION]...",
    "status|topics|groups [-r RELAY] [--json]",
    "wait -t TOPIC -g GROUP [-r RELAY] [--wait TIME]",
    "relays",
    NULL,
};

static const struct option_example examples[] = {
    {"mrelay --background", "a durable broker: a Unix socket and one file"},
    {"mrelay -r orders --listen tcp://127.0.0.1:7000", "one with a name and a port"},
    {"mrelay wait -t orders.new -g bill --wait 10m", "until all is worked off"},
    {0},
};

static const struct option_program program = {
    .name = "mrelay",
    .summary = "keep topics: the broker between msend and mrecv",
    .synopsis = synopsis,
    .description =
        "Alone it is a relay: it stores what msend sends and hands it to mrecv. Its name (-r) says where its socket "
        "and its store are. With a command it asks a relay that runs.",
    .options = specs,
    .rules = rules,
    .verbs = verbs,
    .examples = examples,
};

static int tell_failure(const struct fault *fault)
{
    tell("%s", fault_text(fault));
    /* The store is no input of which a part was rejected. */
    return fault->code == MP_ERR_FORMAT || fault->code == MP_ERR_TOO_LARGE ? EXIT_FAILED : exit_code_of(fault->code);
}

/* Starts this program again in the background, with its log beside the store. */
static int go_background(const struct relay_settings *relay, char **argv)
{
    struct fault fault = {0};
    char log[4096];
    enum mp_error error = MP_OK;
    if (relay->store)
        snprintf(log, sizeof(log), "%s", relay->store);
    else
        error = address_store_path(relay->name ? relay->name : "default", log, sizeof(log), &fault);
    if (error)
        return tell_failure(&fault);
    size_t size = strlen(log);
    if (size > 3 && !strcmp(log + size - 3, ".db"))
        size -= 3;
    if (size + sizeof(".log") > sizeof(log))
        return options_wrong(NULL, "--store: the path is too long");
    memcpy(log + size, ".log", sizeof(".log"));

    if (!relay->store)
        error = address_make_directory(log, &fault);
    int pid = 0;
    if (!error)
        error = relay_background(argv, log, &pid, &fault);
    if (error)
        return tell_failure(&fault);
    if (output_is_terminal(STDERR_FILENO))
        tell("it serves: pid %d, log in %s", pid, log);
    return EXIT_DONE;
}

static int serve(const struct mrelay_settings *settings, const struct options *options, char **argv)
{
    struct fault fault = {0};
    struct relay_settings relay = {
        .name = settings->admin.relay,
        .store = settings->store,
        .insecure = settings->insecure,
        .max_message = (uint32_t)settings->max_message,
        .max_connections = (unsigned)settings->max_connections,
        .lease = (uint32_t)(settings->lease / 1000),
        .ready = relay_ready_descriptor(),
    };
    if (settings->admin.relay && strstr(settings->admin.relay, "://"))
        return options_wrong(options, "-r: a relay has a name: addresses to listen at are given with --listen");
    if (settings->lease && (settings->lease < 1000000 || settings->lease > INT64_C(86400) * 1000000))
        return options_wrong(options, "--lease: a lease takes from 1s to 24h");
    if (settings->listen.count > RELAY_LISTEN_MAX)
        return options_wrong(options, "--listen: %d addresses at most", RELAY_LISTEN_MAX);
    for (size_t i = 0; i < settings->listen.count; i++)
        relay.listen[relay.listen_count++] = settings->listen.values[i];
    if (settings->background && relay.ready < 0)
        return go_background(&relay, argv);
    log_setup((enum log_level)settings->log_level, settings->log_format == 1);
    return relay_serve(&relay, &fault) ? tell_failure(&fault) : EXIT_DONE;
}

int main(int argc, char **argv)
{
    struct mrelay_settings settings = {.admin.wait = -1, .log_level = LOG_INFO};
    struct options options;
    int code = options_parse(&program, argc, argv, &settings, &options);
    if (code >= 0)
        return code;
    if (options.verb >= 0)
        code = ask[options.verb](&settings.admin);
    else
        code = serve(&settings, &options, argv);
    options_free(&options);
    return code;
}
