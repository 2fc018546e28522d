/* msend: turns stdin, files, an argument or a command's output into messages, and sends them. */
#include "cli/become.h"
#include "cli/send.h"
#include "cli/send_spool.h"
#include "transport/peer.h"

#define AT(member) offsetof(struct send_settings, member)

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
     .section = "To a topic",
     .completion = OPTION_COMPLETE_TOPIC,
     .help = "send to TOPIC, which is made when it does not exist",
     .man = "Send to\n.Ar TOPIC ,\nwhich is made when it does not exist.\nTopics are dot-separated tokens of letters,\n"
            "digits,\n.Ql _\nand\n.Ql \\- ."},
    OPTION_RELAY(struct send_settings, relay),
    OPTION_WAIT(struct send_settings, wait, "how long to wait: for the relay, an answer, room, a peer, a reply"),

    {.name = "spool",
     .kind = OPTION_TEXT,
     .at = AT(spool),
     .argument = "DIR",
     .section = "To a topic",
     .completion = OPTION_COMPLETE_DIRECTORY,
     .help = "keep messages in DIR until the relay has them; alone: deliver what waits",
     .man =
         "An outbox for links that fail.\nThe input is taken at once and flushed to disk in\n.Ar DIR ,\nand delivered "
         "from there, in order, as soon as the relay can be reached.\nWhat was taken survives the end of\n.Nm\nand of "
         "the machine: any later\n.Nm\nwith the same\n.Ar DIR\ndelivers it first, also one without a topic and "
         "input.\nSeveral may use one directory at once.\nMessages that the relay refuses for good go to\n"
         ".Pa DIR/refused.jsonl ,\nwhich\n.Xr mretry 1\nreads.\nWith\n.Fl \\-wait\nit exits 75 "
         "when all of the input is taken and no relay has come for that time; what it took stays "
         "in\n.Ar DIR ."},
    {.name = "status",
     .kind = OPTION_FLAG,
     .at = AT(status),
     .section = "To a topic",
     .help = "with --spool: tell what waits there, and end"},

    {.name = "data",
     .letter = 'd',
     .kind = OPTION_LIST,
     .at = AT(data),
     .argument = "DATA",
     .section = "Input",
     .help = "send DATA as a message; may be repeated",
     .man = "Send\n.Ar DATA\nas one message, byte for byte.\nMay be repeated."},
    OPTION_INPUT_FORMAT(struct send_settings, format, "all of a file", "", 0),
    OPTION_SKIP(struct send_settings, skip, " an interrupted\n.Nm\n", 0),
    OPTION_MAX_MESSAGE(struct send_settings, max_message, "Input",
                       "refuse bodies over SIZE (default: the relay's limit)", 0),

    {.name = "header",
     .letter = 'H',
     .kind = OPTION_LIST,
     .at = AT(headers),
     .argument = "'NAME: VALUE'",
     .section = "Attributes",
     .help = "add an attribute to each message; may be repeated",
     .man = "Give each message the attribute\n.Ar NAME .\nMay be repeated."},
    {.name = "key",
     .letter = 'k',
     .kind = OPTION_TEXT,
     .at = AT(key),
     .argument = "KEY",
     .section = "Attributes",
     .help = "the key of each message",
     .man = "The key of each message (its attribute\n.Va partitionkey ) ."},
    OPTION_KEY_SEPARATOR(struct send_settings, key_separator, "Attributes", 0),
    OPTION_KEY_JSON(struct send_settings, key_json, "Attributes", 0),
    {.name = "id",
     .kind = OPTION_TEXT,
     .at = AT(id),
     .argument = "ID",
     .section = "Attributes",
     .help = "the id of the message, if there is only one",
     .man = "The id of the message.\nAn input of more than one message is an error then, and nothing is sent."},
    OPTION_ID_JSON(struct send_settings, id_json, "Attributes", 0),
    {.name = "type",
     .kind = OPTION_TEXT,
     .at = AT(type),
     .argument = "TYPE",
     .section = "Attributes",
     .help = "the CloudEvents type of each message"},
    {.name = "source",
     .kind = OPTION_TEXT,
     .at = AT(source),
     .argument = "URI",
     .section = "Attributes",
     .help = "the CloudEvents source of each message"},
    {.name = "subject",
     .kind = OPTION_TEXT,
     .at = AT(subject),
     .argument = "TEXT",
     .section = "Attributes",
     .help = "the CloudEvents subject of each message"},

    {.name = "ttl",
     .kind = OPTION_DURATION,
     .at = AT(ttl),
     .argument = "TIME",
     .section = "When",
     .help = "each message is worth nothing after TIME: 30s, 5m",
     .man = "Nobody is given a message that is older than\n.Ar TIME :\nit counts as expired.\nIt gets the attribute\n"
            ".Va expirytime .\nThe time that it waits in a\n.Fl \\-spool\ncounts, by the clock of this machine."},
    {.name = "delay",
     .kind = OPTION_DURATION,
     .at = AT(delay),
     .argument = "TIME",
     .section = "When",
     .help = "give messages out no earlier than TIME from now",
     .man = "The relay keeps the messages, and puts them into the topic\n.Ar TIME\nafter it has taken them.\nThey are "
            "acknowledged when they are kept."},
    {.name = "at",
     .kind = OPTION_TEXT,
     .at = AT(at),
     .argument = "WHEN",
     .section = "When",
     .help = "give messages out at WHEN: 2026-11-20T17:00:00Z, @epoch",
     .man = "The same, at\n.Ar WHEN :\nRFC 3339, or\n.Sq @\nand the seconds since 1970.\nA time that is past is now.\n"
            "How long it is until then is settled by the relay's clock when it takes them; what that is set to later\n"
            "does not matter."},

    {.name = "rate",
     .kind = OPTION_RATE,
     .at = AT(rate),
     .argument = "RATE",
     .section = "How",
     .help = "no faster than RATE: 100/s, 30/m"},
    {.name = "print-id",
     .kind = OPTION_FLAG,
     .at = AT(print_id),
     .section = "How",
     .help = "print the id of each message once it is stored"},

    {.name = "dial",
     .kind = OPTION_TEXT,
     .at = AT(dial),
     .argument = "URL",
     .section = "Direct",
     .help = "send to a peer that listens at URL, without a relay",
     .man = "Connect to a peer at\n.Ar URL\n.Pq Pa ipc:///path , tcp://host:port\nand send without a relay."},
    {.name = "listen",
     .kind = OPTION_TEXT,
     .at = AT(listen),
     .argument = "URL",
     .section = "Direct",
     .help = "send to the peers that connect to URL"},
    PATTERN("push", PEER_PUSH, "each message to one peer (default)", NULL),
    PATTERN("pub", PEER_PUB, "each message to every subscriber", NULL),
    PATTERN("req", PEER_REQ, "each message is a request: print the reply", NULL),
    PATTERN("pair", PEER_PAIR, "to the one peer of a pair", NULL),
    PATTERN("pair1", PEER_PAIR1, "the same with version 1 of that protocol, nng's", NULL),
    PATTERN("bus", PEER_BUS, "each message to every peer of a bus", NULL),
    PATTERN("surveyor", PEER_SURVEYOR, "each message is a survey: print the replies",
            "Each message is a survey.\nThe replies that come within a second, or\n.Fl \\-wait ,\nare printed."),
    {.name = "framed",
     .kind = OPTION_FLAG,
     .at = AT(framed),
     .section = "Direct",
     .help = "send frames: attributes and batches, for msgpipe's peers",
     .man = "Send frames, which carry attributes and many messages at once.\n.Xr mrecv 1\nrecognises them; other "
            "programs on nng do not."},
    {.name = "await",
     .kind = OPTION_NUMBER,
     .at = AT(await_peers),
     .argument = "N",
     .high = 10000,
     .section = "Direct",
     .help = "begin when N peers are connected (default 1)"},
    {0},
};

#define PATTERNS "push", "pub", "req", "pair", "pair1", "bus", "surveyor"
#define BY_RELAY "that is for a relay (-t)"
#define CARRIED "a bare body carries no attributes: add --framed, or send to a topic (-t)"

static const struct option_rule rules[] = {
    {OPTION_EXCLUDES, "spool", {"dial", "listen"}, "a spool is for a relay's topics"},
    {OPTION_EXCLUDES, "spool", {"print-id"}, "it does not wait for a relay"},
    {OPTION_NEEDS, "status", {"spool"}, "it tells what waits there"},
    {OPTION_EXCLUDES, "status", {"topic"}, "it only looks"},
    {OPTION_EXCLUDES, "topic", {"dial", "listen"}, "send by way of a relay, or directly to a peer"},
    {OPTION_EXCLUDES, "dial", {"listen"}, "choose the end that connects or the one that waits"},
    {OPTION_EXCLUDES, "topic", {PATTERNS, "framed", "await"}, "that is for direct mode, with --dial or --listen"},
    {OPTION_EXCLUDES, "relay", {"dial", "listen"}, "direct mode has no relay"},
    {OPTION_EXCLUDES, "print-id", {"dial", "listen"}, BY_RELAY},
    {OPTION_EXCLUDES, "delay", {"dial", "listen"}, BY_RELAY},
    {OPTION_EXCLUDES, "at", {"dial", "listen"}, BY_RELAY},
    {OPTION_EXCLUDES, "delay", {"at"}, "say how long from now, or when"},
    {OPTION_EXCLUDES, "data", {OPTION_OPERANDS, OPTION_COMMAND}, "there can be one kind of input"},
    {OPTION_EXCLUDES, OPTION_COMMAND, {OPTION_OPERANDS}, "there can be one kind of input"},
    {OPTION_EXCLUDES, OPTION_COMMAND, {"format", "skip"}, "a command's output is one message"},
    {OPTION_EXCLUDES, "key", {"key-separator", "key-json"}, "a message has one key"},
    {OPTION_EXCLUDES, "key-separator", {"key-json"}, "a message has one key"},
    {OPTION_EXCLUDES, "id", {"id-json"}, "a message has one id"},
    {OPTION_NEEDS, "header", {"topic", "framed"}, CARRIED},
    {OPTION_NEEDS, "key", {"topic", "framed"}, CARRIED},
    {OPTION_NEEDS, "key-separator", {"topic", "framed"}, CARRIED},
    {OPTION_NEEDS, "key-json", {"topic", "framed"}, CARRIED},
    {OPTION_NEEDS, "id", {"topic", "framed"}, CARRIED},
    {OPTION_NEEDS, "id-json", {"topic", "framed"}, CARRIED},
    {OPTION_NEEDS, "ttl", {"topic", "framed"}, CARRIED},
    {OPTION_NEEDS, "type", {"topic", "framed"}, CARRIED},
    {OPTION_NEEDS, "source", {"topic", "framed"}, CARRIED},
    {OPTION_NEEDS, "subject", {"topic", "framed"}, CARRIED},
    {0},
};

static const char *const synopsis[] = {
    "-t TOPIC [OPTION]... [FILE]...",
    "-t TOPIC [OPTION]... -d DATA",
    "-t TOPIC [OPTION]... -- COMMAND [ARG]...",
    "--dial URL | --listen URL [--push | --pub | --req | ...] [OPTION]... [FILE]...",
    NULL,
};

static const struct option_example examples[] = {
    {"tail -F access.log | msend -t web.hits", "a message for each line, stored before it is acknowledged"},
    {"msend -t orders.new -k 42 -d '{\"id\": 42}'", "one message, with a key"},
    {"msend -t jobs.done -- ./job.sh", "a command's output, with its exit code"},
    {0},
};

static const struct option_program program = {
    .name = "msend",
    .summary = "send lines, files, an argument or a command's output as messages",
    .synopsis = synopsis,
    .description =
        "Turns its input (stdin, the FILEs, -d DATA, or the output of a COMMAND) into messages and sends them to a "
        "TOPIC, or directly to a peer. It exits 0 only when everything that it read is acknowledged, which means: is "
        "on the relay's disk. Interrupted, it says how far it came and how to go on.",
    .options = specs,
    .rules = rules,
    .examples = examples,
    .operands = "FILE",
    .operands_complete = OPTION_COMPLETE_FILE,
    .takes_command = true,
};

#ifdef MSEND_SPOOL
static int with_spool(struct send_settings *settings, const struct options *options, char **argv)
{
    bool input = settings->data.count || options->operands_count || options->command;
    if (settings->status)
        return send_spool_status(settings->spool);
    if (!settings->topic && input)
        return options_wrong(options, "where to? Give a topic (-t TOPIC)");
    settings->by_spool = send_by_spool;
    return send_run(settings, options, argv);
}
#else
/* That needs SQLite: the same main, linked with it. */
static int with_spool(const struct send_settings *settings, const struct options *options, char **argv)
{
    (void)settings;
    (void)options;
    return become("msend-spool", argv);
}
#endif

int main(int argc, char **argv)
{
    struct send_settings settings = SEND_SETTINGS;
    struct options options;
    int code = options_parse(&program, argc, argv, &settings, &options);
    if (code >= 0)
        return code;
    if (settings.spool)
        code = with_spool(&settings, &options, argv);
    else if (!settings.topic && !settings.dial && !settings.listen)
        code = options_wrong(&options, "where to? Give a topic (-t TOPIC), or a peer (--dial URL or --listen URL)");
    else
        code = send_run(&settings, &options, argv);
    options_free(&options);
    return code;
}
