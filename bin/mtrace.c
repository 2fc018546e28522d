/* mtrace: shows where messages went, from the log that the relay writes of all that happens. */
#include "cli/trace_list.h"

enum { SHOW, LIST, STATS, GRAPH, TAIL };

static const struct option_verb verbs[] = {
    [SHOW] = {.name = "show",
              .operands = "ID...",
              .operands_most = 64,
              .help = "show the life of messages, and what came of them",
              .man =
                  "Show what became of messages, each named by its id or the beginning of it, by its trace id, or by "
                  "its place\n.Pq Ar topic Ns @ Ns Ar offset ;\nor those with a key\n.Pq Fl \\-key ."},
    [LIST] = {.name = "list",
              .help = "list messages: the newest, the slowest, what failed",
              .man = "List messages, each as it went through a group, the newest first."},
    [STATS] = {.name = "stats",
               .help = "show how much went where, and how long it took",
               .man = "Show what topics, groups and stages took, and how long messages waited and were worked on: what "
                      "half, 90, 99 and 99.9 percent of them took no longer than, within an eighth, and the longest.\n"
                      "With\n.Fl \\-watch\nof the last ten seconds, unless\n.Fl \\-since\nsays otherwise."},
    [GRAPH] = {.name = "graph",
               .help = "draw what flowed where, as it was observed",
               .man = "Draw what flowed where, as it was observed: who published, into which topics, who took it, and "
                      "what stages made of it, with numbers, failures, and what half of the messages took no longer "
                      "than from publication to acknowledgement."},
    [TAIL] = {.name = "tail",
              .help = "show what happens, as it happens",
              .man =
                  "Show what happens to messages, as it happens, a line for each step of a range of them.\nWho reads "
                  "slowly loses steps, and is told how many; the relay never waits."},
    {0},
};

static int (*const run[])(const struct trace_settings *settings, const struct options *options) = {
    [SHOW] = trace_show, [LIST] = trace_list, [STATS] = trace_stats, [GRAPH] = trace_graph, [TAIL] = trace_tail,
};

#define AT(member) offsetof(struct trace_settings, member)
#define WHICH .section = "Which messages and events"
#define PRINTING .section = "Printing"
#define SUMS (OPTION_VERB(STATS) | OPTION_VERB(GRAPH))   /* of ranges: single messages are not looked at */
#define CHOOSING (OPTION_VERB(LIST) | OPTION_VERB(TAIL)) /* the verbs that go through many messages or events */
#define LISTING .section = "Which messages", .verbs = OPTION_VERB(LIST)

static const char *const graph_formats[] = {"text", "dot", "mermaid", NULL};

static const struct option_spec specs[] = {
    {.name = "key",
     .letter = 'k',
     .kind = OPTION_TEXT,
     .at = AT(key),
     .argument = "KEY",
     WHICH,
     .verbs = OPTION_VERB(SHOW) | CHOOSING,
     .help = "messages with this key",
     .man = "Messages whose key is\n.Ar KEY ."},
    {.name = "topic",
     .letter = 't',
     .kind = OPTION_LIST,
     .at = AT(topics),
     .argument = "TOPIC",
     WHICH,
     .verbs = CHOOSING | SUMS,
     .help = "this topic, or those of a pattern (repeatable)",
     .man = "Only\n.Ar TOPIC ,\nor the topics of a pattern; it can be given several times."},
    {.name = "group",
     .letter = 'g',
     .kind = OPTION_LIST,
     .at = AT(groups),
     .argument = "GROUP",
     WHICH,
     .verbs = CHOOSING | SUMS,
     .help = "this group, or stage (repeatable)",
     .man = "Only what happens in\n.Ar GROUP ;\na stage's group has its name."},
    {.name = "kind",
     .kind = OPTION_LIST,
     .at = AT(kinds),
     .argument = "KIND",
     WHICH,
     .verbs = OPTION_VERB(TAIL),
     .help = "this step: published, leased, acked, retried, dead... (repeatable)",
     .man = "Only steps of this kind:\n.Cm published , leased , acked , retried , released , lapsed , dead , expired , "
            "dropped , duplicate , foreign , granted\nor\n.Cm session ."},
    {.name = "attribute",
     .letter = 'a',
     .kind = OPTION_LIST,
     .at = AT(attributes),
     .argument = "NAME=GLOB",
     WHICH,
     .verbs = CHOOSING,
     .help = "messages with an attribute like that (repeatable)",
     .man = "Only messages with such an attribute.\nIt is asked of the message: one that is gone does not match."},
    {.name = "trace",
     .kind = OPTION_TEXT,
     .at = AT(trace),
     .argument = "ID",
     WHICH,
     .verbs = CHOOSING,
     .help = "messages of this trace, 32 hex digits"},
    {.name = "since",
     .kind = OPTION_TEXT,
     .at = AT(since),
     .argument = "TIME",
     WHICH,
     .verbs = CHOOSING | SUMS,
     .help = "from then on: 5m, 2026-11-20T17:00:00Z or @SECONDS",
     .man = "Only what happened since then: an age such as\n.Cm 5m ,\na time in RFC 3339 or seconds since the epoch."},
    {.name = "until",
     .kind = OPTION_TEXT,
     .at = AT(until),
     .argument = "TIME",
     WHICH,
     .verbs = CHOOSING | SUMS,
     .help = "and before that"},
    {.name = "state",
     .letter = 's',
     .kind = OPTION_LIST,
     .at = AT(list.states),
     .argument = "STATE",
     LISTING,
     .choices = trace_states,
     .help = "now waiting, delayed, working, acked, dead, expired, dropped",
     .man = "Those that are now\n.Cm waiting , delayed , working , acked , dead , expired , dropped\nor\n"
            ".Cm duplicate .\nMay be repeated: then either."},
    {.name = "failed",
     .kind = OPTION_FLAG,
     .at = AT(list.failed),
     LISTING,
     .help = "those of which an attempt failed, or that were lost",
     .man = "Those of which an attempt failed, whatever came of them then, and those that expired or were dropped.\n"
            "Times are those of the failures."},
    {.name = "retried",
     .kind = OPTION_FLAG,
     .at = AT(list.retried),
     LISTING,
     .help = "those that were tried more than once"},
    {.name = "slower",
     .kind = OPTION_DURATION,
     .at = AT(list.slower),
     .argument = "TIME",
     LISTING,
     .help = "those that took that long, or are taking it: 200ms",
     .man = "Those that took at least\n.Ar TIME\nfrom their publication to their end, or are taking it."},
    {.name = "sort",
     .kind = OPTION_CHOICE,
     .at = AT(list.sort),
     .argument = "BY",
     LISTING,
     .choices = trace_sorts,
     .help = "time (default), took, waited, worked, attempts",
     .man = "What comes first: the newest\n.Pq Cm time ,\nwhat took the longest\n.Pq Cm took ,\nwaited the longest "
            "for its first attempt\n.Pq Cm waited ,\nwas worked on the longest\n.Pq Cm worked ,\nor was tried most "
            "often\n.Pq Cm attempts ."},

    {.name = "watch",
     .kind = OPTION_FLAG,
     .at = AT(watch),
     PRINTING,
     .verbs = OPTION_VERB(STATS),
     .help = "again every second"},
    {.name = "histogram",
     .kind = OPTION_FLAG,
     .at = AT(histogram),
     PRINTING,
     .verbs = OPTION_VERB(STATS),
     .help = "draw how the times are spread"},
    {.name = "format",
     .kind = OPTION_CHOICE,
     .at = AT(format),
     .argument = "FORMAT",
     .choices = graph_formats,
     PRINTING,
     .verbs = OPTION_VERB(GRAPH),
     .help = "text (default), dot, mermaid"},
    {.name = "svg",
     .kind = OPTION_TEXT,
     .at = AT(svg),
     .argument = "FILE",
     .completion = OPTION_COMPLETE_FILE,
     PRINTING,
     .verbs = OPTION_VERB(GRAPH),
     .help = "have Graphviz draw it into FILE"},
    {.name = "count",
     .letter = 'n',
     .kind = OPTION_NUMBER,
     .at = AT(count),
     .argument = "N",
     .low = 1,
     .high = 100000000,
     PRINTING,
     .verbs = CHOOSING,
     .help = "list N of them (default 20); end a tail after N lines",
     .man = "List\n.Ar N\nmessages at most, 20 unless given; end a tail after\n.Ar N\nlines."},
    {.name = "body",
     .kind = OPTION_FLAG,
     .at = AT(body),
     PRINTING,
     .verbs = OPTION_VERB(TAIL),
     .help = "show bodies as well, escaped",
     .man = "Show the bodies as well, a line each, with control characters escaped."},
    {.name = "json",
     .kind = OPTION_FLAG,
     .at = AT(json),
     PRINTING,
     .verbs = OPTION_VERB(SHOW) | OPTION_VERB(LIST) | OPTION_VERB(STATS) | OPTION_VERB(TAIL),
     .help = "print JSON, an object a line"},
    OPTION_RELAY(struct trace_settings, relay),
    {.name = "store",
     .kind = OPTION_TEXT,
     .at = AT(store),
     .argument = "FILE",
     .section = "Which relay",
     .completion = OPTION_COMPLETE_FILE,
     .help = "read this store, whether its relay runs or not",
     .man = "Read the store in\n.Ar FILE ,\nwhether its relay runs or not.\nIt is opened for reading only.\nWithout "
            "it the relay is asked where its store is; when it does not run, that follows from its name."},
    OPTION_WAIT(struct trace_settings, wait, "how long to wait for the relay"),
    {0},
};

static const struct option_rule rules[] = {
    {OPTION_EXCLUDES, "store", {"relay"}, "a store is read without its relay"},
    {0},
};

static const char *const synopsis[] = {
    "show [-r RELAY | --store FILE] [OPTION]... ID... | --key KEY",
    "list [-r RELAY | --store FILE] [OPTION]...",
    "stats [-r RELAY | --store FILE] [OPTION]...",
    "graph [-r RELAY | --store FILE] [OPTION]...",
    "tail [-r RELAY | --store FILE] [OPTION]...",
    NULL,
};

static const struct option_example examples[] = {
    {"mtrace show 3f2a", "the message whose id begins so, and all that came of it"},
    {"mtrace list --failed --since 1h -t 'orders.*'", "what failed in the last hour"},
    {"mtrace stats -t orders.new --since 5m", "how many there were, and how long they took"},
    {0},
};

static const struct option_program program = {
    .name = "mtrace",
    .summary = "show where messages went",
    .synopsis = synopsis,
    .description =
        "A relay writes into its store what happens to each message, in the transaction in which it happens. This "
        "reads it: while the relay runs, which takes no notice, or when it does not, from its store.",
    .options = specs,
    .rules = rules,
    .verbs = verbs,
    .examples = examples,
};

int main(int argc, char **argv)
{
    struct trace_settings settings = {.wait = -1};
    struct options options;
    int code = options_parse(&program, argc, argv, &settings, &options);
    if (code >= 0)
        return code;
    code = options.verb < 0 ? options_wrong(&options, "what is to be done? mtrace show ID, for one; see mtrace -h")
                            : run[options.verb](&settings, &options);
    options_free(&options);
    return code;
}
