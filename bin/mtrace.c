/* mtrace: shows where messages went, from the log that the relay writes of all that happens. */
#include "cli/exit.h"
#include "cli/output.h"
#include "cli/trace_list.h"
#include "cli/trace_home.h"
#include "cli/trace_remote.h"
#include "relay/readers_process.h"

#include <stdlib.h>

enum { SHOW, LIST, STATS, GRAPH, TAIL, AUDIT, EXPORT };

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
    [AUDIT] =
        {.name = "audit",
         .help = "check that every message and row is accounted for",
         .man = "Check that each offset of each topic is in exactly one state for each group, that numbers are dense, "
                "that frames, letters, hashes, schedule and events agree with each other, and that every row is as "
                "it was written; with\n.Fl t\nand\n.Fl g\nof some topics and groups.\nWhat is wrong is named, and the "
                "exit code is then 1.\nA relay may go on meanwhile: what has to agree is read in one moment, while "
                "which its log grows; that takes as long as it would take to start on the store."},
    [EXPORT] = {.name = "export",
                .help = "write what happened as spans, for OpenTelemetry's collectors, Jaeger or Zipkin",
                .man = "Write what happened to messages as spans of distributed traces, by OpenTelemetry's conventions "
                       "for messaging.\nA message has a span for its publication, and for each of its deliveries one "
                       "in which it is received, one in which it is processed and one in which that is settled, when "
                       "that has come to its end.\nOf more than 64 messages that went together there is one span."},
    {0},
};

static int (*const run[])(const struct trace_settings *settings, const struct options *options) = {
    [SHOW] = trace_show,   [STATS] = trace_stats,   [GRAPH] = trace_graph, [TAIL] = trace_tail,
    [AUDIT] = trace_audit, [EXPORT] = trace_export, [LIST] = trace_list,
};

#define AT(member) offsetof(struct trace_settings, member)
#define WHICH .section = "Which messages and events"
#define PRINTING .section = "Printing"
#define SPANS .section = "Exporting", .verbs = OPTION_VERB(EXPORT)
#define LISTING .section = "Which messages", .verbs = OPTION_VERB(LIST)
#define SUMS (OPTION_VERB(STATS) | OPTION_VERB(GRAPH)) /* of ranges: single messages are not looked at */
/* The verbs that go through many messages or events. */
#define CHOOSING (OPTION_VERB(LIST) | OPTION_VERB(TAIL) | OPTION_VERB(EXPORT))

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
     .completion = OPTION_COMPLETE_TOPIC,
     .verbs = CHOOSING | SUMS | OPTION_VERB(AUDIT),
     .help = "this topic, or those of a pattern (repeatable)",
     .man = "Only\n.Ar TOPIC ,\nor the topics of a pattern; it can be given several times."},
    {.name = "group",
     .letter = 'g',
     .kind = OPTION_LIST,
     .at = AT(groups),
     .argument = "GROUP",
     WHICH,
     .completion = OPTION_COMPLETE_GROUP,
     .verbs = CHOOSING | SUMS | OPTION_VERB(AUDIT),
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
    {.name = "after",
     .kind = OPTION_TEXT,
     .at = AT(after),
     .argument = "MARK",
     WHICH,
     .verbs = OPTION_VERB(TAIL) | OPTION_VERB(EXPORT),
     .help = "go on behind this, which --marks or a position file has said",
     .man = "Go on behind\n.Ar MARK ,\nwhich\n.Fl \\-marks\nhas said, or the file of\n.Fl \\-position ."},
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
     .verbs = OPTION_VERB(LIST) | OPTION_VERB(TAIL),
     .help = "list N of them (default 20); end a tail after N lines",
     .man = "List\n.Ar N\nmessages at most, 20 unless given; end a tail after\n.Ar N\nlines."},
    {.name = "body",
     .kind = OPTION_FLAG,
     .at = AT(body),
     PRINTING,
     .verbs = OPTION_VERB(TAIL),
     .help = "show bodies as well, escaped",
     .man = "Show the bodies as well, a line each, with control characters escaped."},
    {.name = "marks",
     .kind = OPTION_FLAG,
     .at = AT(marks),
     PRINTING,
     .verbs = OPTION_VERB(TAIL) | OPTION_VERB(EXPORT),
     .help = "say between the lines how far it has come, for --after",
     .man =
         "Say between the lines how far all before goes: in lines that begin with the byte 0x1E, before an object in "
         "JSON that\n.Fl \\-after\ntakes."},
    {.name = "json",
     .kind = OPTION_FLAG,
     .at = AT(json),
     PRINTING,
     .verbs = OPTION_VERB(SHOW) | OPTION_VERB(LIST) | OPTION_VERB(STATS) | OPTION_VERB(TAIL) | OPTION_VERB(AUDIT),
     .help = "print JSON, an object a line"},
    {.name = "otlp",
     .kind = OPTION_FLAG,
     .at = AT(otlp),
     SPANS,
     .help = "as OTLP in JSON: a request a line, or a request",
     .man =
         "As OTLP in JSON: each line is an\n.Li ExportTraceServiceRequest ,\nas the file receiver of OpenTelemetry's "
         "collector and Jaeger read it."},
    {.name = "zipkin",
     .kind = OPTION_FLAG,
     .at = AT(zipkin),
     SPANS,
     .help = "as Zipkin's JSON, version 2: an array of spans",
     .man = "As Zipkin's JSON, version 2: an array of spans, or with\n.Fl \\-follow\nan array a line."},
    {.name = "to",
     .kind = OPTION_TEXT,
     .at = AT(to),
     .argument = "URL|FILE",
     SPANS,
     .completion = OPTION_COMPLETE_FILE,
     .help = "to a collector, http://HOST:PORT, or a file (default: stdout)",
     .man = "To a file, or to a collector at\n.Li http:// Ns Ar host : Ns Ar port ;\nwhere the URL has no path it is\n"
            ".Pa /v1/traces\nor\n.Pa /api/v2/spans .\nThe default is stdout.\n"
            "TLS is not spoken: to a collector that wants it, one on this machine can pass the spans on,\n"
            "or a proxy such as stunnel, which takes the connection in clear on this machine alone."},
    {.name = "follow",
     .letter = 'f',
     .kind = OPTION_FLAG,
     .at = AT(follow),
     SPANS,
     .help = "and what is to come, as it comes",
     .man = "Go on with what is to come.\nA file is appended to.\nWhile a collector is away it is tried again, and "
            "nothing is left out as long as the relay keeps it; what it did not keep is counted and told."},
    {.name = "position",
     .kind = OPTION_TEXT,
     .at = AT(position),
     .argument = "FILE",
     SPANS,
     .completion = OPTION_COMPLETE_FILE,
     .help = "note there how far it has come, and go on from there",
     .man =
         "Note in\n.Ar FILE\nhow far it has come, after each answer of the collector, and go on from there: so each "
         "span is exported once at least, whatever is killed.\nOne that is exported again is the same, with the same "
         "id."},
    {.name = "from-event",
     .kind = OPTION_NUMBER,
     .at = AT(from_event),
     .argument = "N",
     .low = 1,
     SPANS,
     .help = "begin at this step, as an export that was interrupted says"},
    {.name = "timeout",
     .kind = OPTION_DURATION,
     .at = AT(timeout),
     .argument = "TIME",
     SPANS,
     .help = "how long to wait for a collector's answer (default: 10s)"},
    OPTION_RELAY(struct trace_settings, relay),
    {.name = "store",
     .kind = OPTION_TEXT,
     .at = AT(store),
     .argument = "FILE",
     .section = "Which relay",
     .completion = OPTION_COMPLETE_FILE,
     .help = "read this store, whether its relay runs or not",
     .man = "Read the store in\n.Ar FILE ,\nwhether its relay runs or not.\nIt is opened for reading only.\nWithout "
            "it the relay is asked where its store is, and reads it itself when it cannot be read from here; when the "
            "relay does not run, the store follows from its name."},
    OPTION_WAIT(struct trace_settings, wait, "how long to wait for the relay"),
    {0},
};

static const struct option_rule rules[] = {
    {OPTION_EXCLUDES, "key", {OPTION_OPERANDS}, "give ids, or a key"},
    {OPTION_EXCLUDES, "otlp", {"zipkin"}, "export twice, each with a position of its own"},
    {OPTION_EXCLUDES, "follow", {"until"}, "what is to come has no end"},
    {OPTION_EXCLUDES, "after", {"from-event", "position"}, "each says where to begin"},
    {OPTION_EXCLUDES, "marks", {"to"}, "they are for who reads stdout"},
    {OPTION_EXCLUDES, "position", {"from-event"}, "the position says where to begin"},
    {OPTION_EXCLUDES, "store", {"relay"}, "a store is read without its relay"},
    {0},
};

static const char *const synopsis[] = {
    "show [-r RELAY | --store FILE] [OPTION]... ID... | --key KEY",
    "list [-r RELAY | --store FILE] [OPTION]...",
    "stats [-r RELAY | --store FILE] [OPTION]...",
    "graph [-r RELAY | --store FILE] [OPTION]...",
    "tail [-r RELAY | --store FILE] [OPTION]...",
    "audit [-r RELAY | --store FILE] [-t TOPIC]... [-g GROUP]...",
    "export --otlp | --zipkin [-r RELAY | --store FILE] [OPTION]...",
    NULL,
};

static const struct option_example examples[] = {
    {"mtrace show 3f2a", "the message whose id begins so, and all that came of it"},
    {"mtrace list --failed --since 1h -t 'orders.*'", "what failed in the last hour"},
    {"mtrace stats -t orders.new --since 5m", "how many there were, and how long they took"},
    {"mtrace tail -t 'orders.*' --kind retried --kind dead", "failures, as they happen"},
    {"mtrace stats --watch -r tcp://hub:7000", "what goes through a relay on another machine"},
    {"mtrace export --otlp --to http://localhost:4318 --follow --position spans.pos", "into a collector, from now on"},
    {"mtrace show --key customer-17 --store copy.db", "those with a key, in a store whose relay does not run"},
    {"mtrace audit --store backup.db", "whether a backup has every message in exactly one state"},
    {0},
};

static const struct option_program program = {
    .name = "mtrace",
    .summary = "show where messages went",
    .synopsis = synopsis,
    .description =
        "A relay writes into its store what happens to each message, in the transaction in which it happens. This "
        "reads it: while the relay runs, which takes no notice, or when it does not, from its store; and where the "
        "store "
        "is out of reach, the relay reads it.",
    .options = specs,
    .rules = rules,
    .verbs = verbs,
    .examples = examples,
};

int main(int argc, char **argv)
{
    struct trace_home home = {.found = false};
    const char *reading = getenv(READERS_TERMINAL);
    struct trace_settings settings = {.home = &home, .reading = reading, .wait = -1};
    struct options options;
    int code = options_parse(&program, argc, argv, &settings, &options);
    if (code >= 0)
        return code;
    output_assume(reading);
    settings.asking = options.verb == SHOW || options.verb == LIST || options.verb == EXPORT;
    code = options.verb < 0 ? options_wrong(&options, "what is to be done? mtrace show ID, for one; see mtrace -h")
                            : run[options.verb](&settings, &options);
    if (code == TRACE_ELSEWHERE)
        code = trace_remote(&settings, &options, verbs[options.verb].name);
    trace_home_close(&home);
    options_free(&options);
    return code;
}
