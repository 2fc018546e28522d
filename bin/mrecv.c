/* mrecv: receives messages: prints them, or runs a command for them. */
#include "cli/receive.h"
#include "message/formats.h"
#include "transport/peer.h"

static const char *const modes[] = {"each", "stream", "batch", NULL};

#define AT(member) offsetof(struct receive_settings, member)

/* A pattern of direct mode. */
#define PATTERN(word, value, text, more)                                                                               \
    {                                                                                                                  \
        .name = word, .kind = OPTION_SET, .at = AT(pattern), .low = value, .section = "Direct", .help = text,          \
        .man = more                                                                                                    \
    }

static const struct option_spec specs[] = {
    {.name = "topic",
     .letter = 't',
     .kind = OPTION_TEXT,
     .at = AT(topic),
     .argument = "TOPIC",
     .section = "From a topic",
     .completion = OPTION_COMPLETE_TOPIC,
     .help = "receive from TOPIC, or from all that match a pattern",
     .man = "Receive from\n.Ar TOPIC ,\nor from all topics that match a pattern, in which\n.Ql *\nstands for one token "
            "and\n.Ql >\nfor the rest."},
    {.name = "group",
     .letter = 'g',
     .kind = OPTION_TEXT,
     .at = AT(group),
     .argument = "GROUP",
     .section = "From a topic",
     .completion = OPTION_COMPLETE_GROUP,
     .help = "consume as a member of GROUP; without it, only read",
     .man = "Consume as a member of\n.Ar GROUP ,\nwhich is made when it does not exist, and begins with the oldest "
            "message.\nIts members share the messages.\nWithout a group messages are only read, and nobody is "
            "disturbed."},
    {.name = "from",
     .kind = OPTION_TEXT,
     .at = AT(from),
     .argument = "WHERE",
     .section = "From a topic",
     .help = "start, new, an offset, -100, a time, @epoch, 5m (readers, new groups)",
     .man = "Where a reader or a new group begins:\n.Cm start\n(the default),\n.Cm new\n(with what comes from now on), "
            "an offset, the last messages\n.Pq Ql -100 ,\na time in RFC 3339 or as\n.Ql @epoch ,\nor an age\n"
            ".Pq Ql 5m .\nA group that exists goes on where it is, and refuses this option."},
    OPTION_RELAY(struct receive_settings, relay),
    OPTION_WAIT(struct receive_settings, wait, "how long to wait for the relay or for a message (exit 124)"),

    {.name = "count",
     .letter = 'n',
     .kind = OPTION_NUMBER,
     .at = AT(count),
     .argument = "N",
     .low = 1,
     .high = UINT64_MAX - 1,
     .section = "How long",
     .help = "end after N messages"},
    {.name = "exit-at-end",
     .letter = 'e',
     .kind = OPTION_FLAG,
     .at = AT(exit_at_end),
     .section = "How long",
     .help = "end when there are no more messages",
     .man = "End when there are no more messages: none is waiting,\ndelayed, or with another consumer of the group."},

    {.name = "format",
     .letter = 'F',
     .kind = OPTION_CHOICE,
     .at = AT(format),
     .argument = "FORMAT",
     .section = "Output",
     .choices = option_formats,
     .help = "lines (default), null, length, whole, json",
     .man =
         "How messages are written:\n.Cm lines\n(the default; a newline behind each),\n.Cm null\n(a NUL byte behind "
         "each),\n.Cm length\n(a 32-bit big-endian length before each),\n.Cm whole\n(the bare bytes; of one message, "
         "unless\n.Fl n\nsays otherwise) or\n.Cm json\n(one CloudEvents JSON object a line, which\n.Xr msend 1\n"
         "sends again without loss).\nA command reads its messages in this format."},
    {.name = "template",
     .kind = OPTION_TEXT,
     .at = AT(template),
     .argument = "TEXT",
     .section = "Output",
     .help = "write each as TEXT: '%{id} %{topic} %{body}\\n'",
     .man = "Write each message as\n.Ar TEXT ,\nin which\n.Ql %{body} , %{id} , %{topic} , %{offset} , %{attempt} , "
            "%{time} , %{key} , %{size} ,\n.Ql %{NAME}\nof any attribute, and\n.Ql %{/order/id}\n(a JSON "
            "Pointer into the body) stand for what they name, and\n"
            ".Ql \\en , \\et , \\e0 , \\e\\e\nand\n.Ql %%\nfor the usual characters.\nWhat a message does not have is "
            "empty, also what is pointed to in a body that is no "
            "JSON."},
    {.name = "sync",
     .kind = OPTION_FLAG,
     .at = AT(sync),
     .section = "Output",
     .help = "flush the output to disk before acknowledging",
     .man = "Flush the output to disk\n.Pq Xr fdatasync 2\nbefore messages are acknowledged."},

    OPTION_SHELL(struct receive_settings, shell, 0),
    {.name = "mode",
     .kind = OPTION_CHOICE,
     .at = AT(mode),
     .argument = "MODE",
     .section = "Commands",
     .choices = modes,
     .help = "each (default): a command a message; batch: one for many; stream: one stays",
     .man =
         "How messages meet commands:\n.Cm each\n(the default) runs a command for each message,\n.Cm batch\none for "
         "as many as there are, up to\n.Fl \\-batch ;\nits exit code is for all of them.\nWith\n.Cm stream\na command "
         "stays: each message is a line that it reads,\nand the line that it prints then is the answer to it and "
         "acknowledges it;\nan empty line prints nothing.\nAnswers have to be flushed, as by\n.Ql jq --unbuffered\nor\n"
         ".Ql sed -u .\nA message whose command ends, prints more than one line or takes longer than\n.Fl "
         "\\-timeout\nis tried again, or a dead letter if the exit code was 65, and the command is started anew.\nThe "
         "formats\n.Cm null , length\nand\n.Cm json\ngo both ways, too;\nwith\n.Cm json\na command that leaves\n"
         ".Ql id\nin its answers proves that they belong to their messages."},
    OPTION_WORKERS(struct receive_settings, workers, 0),
    OPTION_TIMEOUT(struct receive_settings, timeout, "Commands", "end a command that runs for longer, and try again",
                   "Its messages are tried again.", 0),
    OPTION_BATCH(struct receive_settings, batch, 65536, 0),
    {.name = "max-in-flight",
     .kind = OPTION_NUMBER,
     .at = AT(max_in_flight),
     .argument = "N",
     .low = 1,
     .high = 1000000,
     .section = "Commands",
     .help = "hold at most N messages (default: twice what is worked on)",
     .man = "Hold at most\n.Ar N\nmessages of the group, worked upon or waiting for a command.\nThe default is twice "
            "what the workers can have."},

    {.name = "dial",
     .kind = OPTION_TEXT,
     .at = AT(dial),
     .argument = "URL",
     .section = "Direct",
     .help = "receive from a peer that listens at URL, without a relay",
     .man = "Connect to a peer at\n.Ar URL\n.Pq Pa ipc:///path , tcp://host:port\nand receive without a relay."},
    {.name = "listen",
     .kind = OPTION_TEXT,
     .at = AT(listen),
     .argument = "URL",
     .section = "Direct",
     .help = "receive from the peers that connect to URL"},
    PATTERN("pull", PEER_PULL, "from all that push (default)", NULL),
    PATTERN("sub", PEER_SUB, "from all that publish", NULL),
    PATTERN("rep", PEER_REP, "requests: a COMMAND's output is the reply", NULL),
    PATTERN("pair", PEER_PAIR, "from the one peer of a pair", NULL),
    PATTERN("pair1", PEER_PAIR1, "the same with version 1 of that protocol, nng's", NULL),
    PATTERN("bus", PEER_BUS, "from every peer of a bus", NULL),
    PATTERN("respondent", PEER_RESPONDENT, "surveys: a COMMAND's output is the answer", NULL),
    {.name = "subscribe",
     .kind = OPTION_LIST,
     .at = AT(subscribe),
     .argument = "PREFIX",
     .section = "Direct",
     .help = "with --sub: only what begins with PREFIX; may be repeated"},
    OPTION_MAX_MESSAGE(struct receive_settings, max_message, "Direct", "refuse messages over SIZE (default: 64MiB)", 0),
    {0},
};

#define PATTERNS "pull", "sub", "rep", "pair", "pair1", "bus", "respondent"
#define BY_COMMAND                                                                                                     \
    {                                                                                                                  \
        OPTION_COMMAND, "shell"                                                                                        \
    }

static const struct option_rule rules[] = {
    {OPTION_EXCLUDES, "topic", {"dial", "listen"}, "receive by way of a relay, or directly from a peer"},
    {OPTION_EXCLUDES, "dial", {"listen"}, "choose the end that connects or the one that waits"},
    {OPTION_EXCLUDES,
     "topic",
     {PATTERNS, "subscribe", "max-message"},
     "that is for direct mode, with --dial or --listen"},
    {OPTION_EXCLUDES, "relay", {"dial", "listen"}, "direct mode has no relay"},
    {OPTION_EXCLUDES, "group", {"dial", "listen"}, "groups are the relay's"},
    {OPTION_EXCLUDES, "from", {"dial", "listen"}, "direct messages are not kept"},
    {OPTION_EXCLUDES, "exit-at-end", {"dial", "listen"}, "a peer never says that no more will come: use -n or --wait"},
    {OPTION_NEEDS, "subscribe", {"sub"}, "the other patterns receive everything"},
    {OPTION_NEEDS, "rep", BY_COMMAND, "a request needs a reply: the output of a command"},
    {OPTION_NEEDS, "respondent", BY_COMMAND, "a survey needs an answer: the output of a command"},
    {OPTION_EXCLUDES, "template", {"format"}, "a template is the format"},
    {OPTION_EXCLUDES, "sync", BY_COMMAND, "a command's exit code acknowledges its messages"},
    {OPTION_EXCLUDES, "shell", {OPTION_COMMAND}, "give one command"},
    {OPTION_NEEDS, "mode", BY_COMMAND, "it is about commands"},
    {OPTION_NEEDS, "workers", BY_COMMAND, "it is about commands"},
    {OPTION_NEEDS, "timeout", BY_COMMAND, "it bounds one run of a command; --wait bounds the waiting for a message"},
    {OPTION_NEEDS, "batch", BY_COMMAND, "it is about commands"},
    {OPTION_NEEDS, "max-in-flight", BY_COMMAND, "it is about commands"},
    {0},
};

static const char *const synopsis[] = {
    "-t TOPIC [-g GROUP] [OPTION]...",
    "-t TOPIC -g GROUP [OPTION]... -- COMMAND [ARG]...",
    "--dial URL | --listen URL [--pull | --sub | --rep | ...] [OPTION]... [-- COMMAND [ARG]...]",
    NULL,
};

static const struct option_example examples[] = {
    {"mrecv -t web.hits -g stats | ./stats", "consume; run it twice to share the work"},
    {"mrecv -t orders.new -g bill --workers 4 -- ./bill.sh", "exit 0 acknowledges, anything else is tried again"},
    {"mrecv -t 'orders.>' --from -10 -e -F json", "the last ten of each topic, disturbing nobody"},
    {0},
};

static const struct option_program program = {
    .name = "mrecv",
    .summary = "receive messages: print them, or run a command for them",
    .synopsis = synopsis,
    .description =
        "Receives messages from a TOPIC, or directly from peers, and prints them, or runs a COMMAND for each. With a "
        "GROUP a message is acknowledged when it was handed over: written to a file or terminal, taken out of a pipe "
        "by its reader, or worked upon by a command that exited with 0. What was not begun goes back to the group.",
    .options = specs,
    .rules = rules,
    .examples = examples,
    .takes_command = true,
};

/* What the tables cannot say. */
static int check(struct receive_settings *settings, const struct options *options)
{
    bool commands = options->command || settings->shell;
    if (!settings->topic && !settings->dial && !settings->listen)
        return options_wrong(options, "where from? Give a topic (-t TOPIC), or a peer (--dial URL or --listen URL)");
    if (settings->shell && !*settings->shell)
        return options_wrong(options, "--shell: the command is empty");
    if (settings->batch && settings->mode != RECEIVE_BATCH)
        return options_wrong(options, "--batch goes only with --mode batch: a command has one message otherwise");
    if (settings->mode == RECEIVE_BATCH && (settings->pattern == PEER_REP || settings->pattern == PEER_RESPONDENT))
        return options_wrong(options, "--mode batch and --%s exclude each other: each request has its own answer",
                             peer_pattern_name((enum peer_pattern)settings->pattern));
    if (settings->mode == RECEIVE_STREAM && settings->template)
        return options_wrong(options,
                             "--mode stream and --template exclude each other: answers are in the format, too");
    if (settings->mode == RECEIVE_STREAM && settings->format == FORMAT_WHOLE)
        return options_wrong(options, "--mode stream and --format whole exclude each other: nothing would tell one "
                                      "message from the next");
    if (settings->format == FORMAT_WHOLE && !commands && settings->count == 0)
        settings->count = 1;
    return -1;
}

int main(int argc, char **argv)
{
    struct receive_settings settings = {.wait = -1, .format = RECEIVE_FORMAT_UNSET, .pattern = PEER_PULL, .workers = 1};
    struct options options;
    int code = options_parse(&program, argc, argv, &settings, &options);
    if (code >= 0)
        return code;
    code = check(&settings, &options);
    if (code < 0)
        code = receive_run(&settings, &options);
    options_free(&options);
    return code;
}
