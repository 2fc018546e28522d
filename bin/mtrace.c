/* mtrace: shows where messages went, from the log that the relay writes of all that happens. */
#include "cli/trace.h"

enum { SHOW };

static const struct option_verb verbs[] = {
    [SHOW] = {.name = "show",
              .operands = "ID...",
              .operands_most = 64,
              .help = "show the life of messages, and what came of them",
              .man =
                  "Show what became of messages, each named by its id or the beginning of it, by its trace id, or by "
                  "its place\n.Pq Ar topic Ns @ Ns Ar offset ;\nor those with a key\n.Pq Fl \\-key ."},
    {0},
};

static int (*const run[])(const struct trace_settings *settings, const struct options *options) = {
    [SHOW] = trace_show,
};

#define AT(member) offsetof(struct trace_settings, member)
#define WHICH .section = "Which messages and events"
#define PRINTING .section = "Printing"
#define ALL OPTION_VERB(SHOW)
#define CHOOSING 0 /* the verbs that go through many events */

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
    {.name = "json",
     .kind = OPTION_FLAG,
     .at = AT(json),
     PRINTING,
     .verbs = ALL,
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
    NULL,
};

static const struct option_example examples[] = {
    {"mtrace show 3f2a", "the message whose id begins so, and all that came of it"},
    {"mtrace show orders.new@4711", "the message at an offset of a topic"},
    {"mtrace show --key customer-17 --store copy.db", "those with a key, in a store whose relay does not run"},
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
