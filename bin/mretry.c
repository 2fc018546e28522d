/* mretry: runs a command for each message until it succeeds or is dead-lettered. */
#include "cli/retry.h"
#include "message/formats.h"

static const char *const backoffs[] = {"exponential", "linear", "none", NULL};
static const char *const dedupes[] = {"id", "key", NULL};

enum { LIST, SHOW, REPLAY, DISCARD };
#define WORKS (OPTION_NO_VERB | OPTION_VERB(REPLAY)) /* runs commands */
#define LOOKS (OPTION_VERB(LIST) | OPTION_VERB(SHOW) | OPTION_VERB(REPLAY) | OPTION_VERB(DISCARD))
#define CHANGES (OPTION_VERB(REPLAY) | OPTION_VERB(DISCARD))

/* As in message/letter.h. */
static const char *const reasons[] = {"rejected", "retries", "format", "unrouted", "overflow", NULL};

#define AT(member) offsetof(struct retry_settings, member)

static const struct option_spec specs[] = {
    {.name = "topic",
     .letter = 't',
     .kind = OPTION_TEXT,
     .at = AT(topic),
     .argument = "TOPIC",
     .section = "From a topic",
     .completion = OPTION_COMPLETE_TOPIC,
     .verbs = OPTION_NO_VERB | LOOKS,
     .help = "work on TOPIC's messages; with a command: on its dead letters",
     .man = "Work on the messages of\n.Ar TOPIC ,\nor of all topics that match a pattern.\nWith a verb: on the dead "
            "letters "
            "in\n.Ar TOPIC ,\nwhich the relay has made for them."},
    {.name = "group",
     .letter = 'g',
     .kind = OPTION_TEXT,
     .at = AT(group),
     .argument = "GROUP",
     .section = "From a topic",
     .completion = OPTION_COMPLETE_GROUP,
     .verbs = OPTION_NO_VERB | LOOKS,
     .help = "as a member of GROUP (with a command: default mretry)",
     .man = "Work as a member of\n.Ar GROUP ,\nwhich is made when it does not exist.\nWith a verb: on what\n.Ar GROUP\n"
            "has not settled, which is\n.Cm mretry\nunless given."},
    {.name = "exit-at-end",
     .letter = 'e',
     .kind = OPTION_FLAG,
     .at = AT(exit_at_end),
     .section = "From a topic",
     .verbs = OPTION_NO_VERB,
     .help = "end when there are no more messages"},

    {.name = "max-retries",
     .kind = OPTION_TEXT,
     .at = AT(max_retries),
     .argument = "N",
     .section = "Trying again",
     .verbs = WORKS,
     .help = "try again N times at most (default 20), or 'unlimited'",
     .man = "Try again\n.Ar N\ntimes at most (20 unless given), so that a command runs one time more,\nor\n"
            ".Cm unlimited .\nThen the message is dead."},
    {.name = "backoff",
     .kind = OPTION_CHOICE,
     .at = AT(backoff),
     .argument = "KIND",
     .section = "Trying again",
     .choices = backoffs,
     .verbs = WORKS,
     .help = "how waits grow: exponential (default), linear, none",
     .man = "How the waits between attempts grow:\n.Cm exponential\n(the default; twice as long each time),\n"
            ".Cm linear\n(longer by the initial interval each time) or\n.Cm none\n(the initial interval each time)."},
    {.name = "initial-interval",
     .kind = OPTION_DURATION,
     .at = AT(initial_interval),
     .argument = "TIME",
     .section = "Trying again",
     .verbs = WORKS,
     .help = "the first wait (default 100ms)"},
    {.name = "max-interval",
     .kind = OPTION_DURATION,
     .at = AT(max_interval),
     .argument = "TIME",
     .section = "Trying again",
     .verbs = WORKS,
     .help = "the longest wait (default 1m)"},
    {.name = "jitter",
     .kind = OPTION_TEXT,
     .at = AT(jitter),
     .argument = "SHARE",
     .section = "Trying again",
     .verbs = WORKS,
     .help = "the share of a wait that is left to chance (default 0.2)",
     .man = "The share of each wait that is left to chance, from 0 to 1 (0.2 unless given),\nso that what failed "
            "together does not come back together."},
    OPTION_TIMEOUT(struct retry_settings, timeout, "Trying again", "end an attempt that takes longer; it has failed",
                   "It has failed.", WORKS),

    OPTION_INPUT_FORMAT(struct retry_settings, input.format, "all of it",
                        "\nA command reads the bare body; with\n.Fl \\-mode Cm batch\nit reads this format.",
                        OPTION_NO_VERB),
    OPTION_KEY_SEPARATOR(struct retry_settings, input.key_separator, "Input", OPTION_NO_VERB),
    OPTION_KEY_JSON(struct retry_settings, input.key_json, "Input", OPTION_NO_VERB),
    OPTION_ID_JSON(struct retry_settings, input.id_json, "Input", OPTION_NO_VERB),
    OPTION_SKIP(struct retry_settings, input.skip, "\n.Nm\nthat ended early\n", OPTION_NO_VERB),
    OPTION_MAX_MESSAGE(struct retry_settings, input.max_message, "Input", "refuse messages over SIZE (default: 64MiB)",
                       OPTION_NO_VERB),
    {.name = "dedupe",
     .kind = OPTION_CHOICE,
     .at = AT(dedupe),
     .argument = "WHAT",
     .section = "Input",
     .choices = dedupes,
     .verbs = OPTION_NO_VERB,
     .help = "leave out what was done already, by id or by key",
     .man = "Leave out messages whose\n.Cm id\nor\n.Cm key\nis that of one that was done within the window; while one "
            "is under way others of that id wait for\nwhat becomes of it.\nMessages that died are not done.\nThis is "
            "known for as long as\n.Nm\nruns, or with\n"
            ".Fl \\-dedupe-file\nfor the whole window."},
    {.name = "dedupe-file",
     .kind = OPTION_TEXT,
     .at = AT(dedupe_file),
     .argument = "FILE",
     .section = "Input",
     .completion = OPTION_COMPLETE_FILE,
     .verbs = OPTION_NO_VERB,
     .help = "keep in FILE what --dedupe remembers, for the next run",
     .man = "Keep in\n.Ar FILE ,\nwhich is made when it is not there, what was done:\na message that was done is not "
            "done again within the window, also when\n.Nm\nis started again.\nIt is on the disk before the output of "
            "the command is printed; a message whose command was under way, or had just ended, when\n.Nm\nwas killed "
            "is done again.\nThe file takes 32 bytes a message, and is written anew when it has doubled.\nOne\n.Nm\n"
            "at a time can use it (exit 75)."},
    {.name = "window",
     .kind = OPTION_DURATION,
     .at = AT(window),
     .argument = "TIME",
     .section = "Input",
     .verbs = OPTION_NO_VERB,
     .help = "how long --dedupe remembers (default 10m)"},

    OPTION_SHELL(struct retry_settings, shell, WORKS),
    OPTION_WORKERS(struct retry_settings, workers, WORKS),
    OPTION_MODE(struct retry_settings, mode, ", and they are tried again, and die, together", OPTION_NO_VERB),
    OPTION_BATCH(struct retry_settings, batch, 4096, OPTION_NO_VERB),
    {.name = "unordered",
     .kind = OPTION_FLAG,
     .at = AT(unordered),
     .section = "Commands",
     .verbs = WORKS,
     .help = "print output as it comes, not in the order of the input"},

    {.name = "dead-file",
     .kind = OPTION_TEXT,
     .at = AT(dead_file),
     .argument = "FILE",
     .section = "Dead letters",
     .completion = OPTION_COMPLETE_FILE,
     .help = "keep hopeless messages in FILE (JSON lines), and go on",
     .man = "Add messages that are hopeless to\n.Ar FILE ,\none JSON object a line, flushed to disk, and go on with "
            "the others.\nWithout it the first hopeless message ends\n.Nm .\nWith a verb: the file that the letters "
            "are in."},

    {.name = "dead-topic",
     .kind = OPTION_TEXT,
     .at = AT(dead_topic),
     .argument = "TOPIC",
     .section = "Dead letters",
     .completion = OPTION_COMPLETE_TOPIC,
     .verbs = OPTION_NO_VERB,
     .help = "send hopeless messages to TOPIC of a relay",
     .man = "Send messages that are hopeless to\n.Ar TOPIC\nof a relay, and go on with the others.\nIt is made as a "
            "dead-letter topic, which patterns do not match, and\n.Nm Cm list\nand the other verbs work on it.\nWith\n"
            ".Fl t\nit becomes the dead-letter topic of the group."},

    {.name = "came-from",
     .kind = OPTION_TEXT,
     .at = AT(letters.came_from),
     .argument = "TOPIC",
     .section = "Which dead letters",
     .verbs = LOOKS,
     .help = "those that came from TOPIC, or a pattern's topics"},
    {.name = "reason",
     .kind = OPTION_CHOICE,
     .at = AT(letters.reason),
     .argument = "REASON",
     .section = "Which dead letters",
     .choices = reasons,
     .verbs = LOOKS,
     .help = "rejected, retries, format, unrouted or overflow"},
    {.name = "older",
     .kind = OPTION_DURATION,
     .at = AT(letters.older),
     .argument = "TIME",
     .section = "Which dead letters",
     .verbs = LOOKS,
     .help = "those that died at least so long ago"},
    {.name = "newer",
     .kind = OPTION_DURATION,
     .at = AT(letters.newer),
     .argument = "TIME",
     .section = "Which dead letters",
     .verbs = LOOKS,
     .help = "those that died less long ago"},
    {.name = "attempts",
     .kind = OPTION_NUMBER,
     .at = AT(letters.attempts),
     .argument = "N",
     .section = "Which dead letters",
     .verbs = LOOKS,
     .help = "those that were tried at least N times"},
    {.name = "where",
     .kind = OPTION_LIST,
     .at = AT(letters.where),
     .argument = "NAME=VALUE",
     .section = "Which dead letters",
     .verbs = LOOKS,
     .help = "those with that attribute; may be repeated",
     .man = "Those whose attribute\n.Ar NAME\n(also\n.Cm id\nand\n.Cm key )\nis\n.Ar VALUE .\nMay be repeated: "
            "then all must be so."},
    {.name = "count",
     .letter = 'n',
     .kind = OPTION_NUMBER,
     .at = AT(letters.count),
     .argument = "N",
     .low = 1,
     .section = "Which dead letters",
     .verbs = OPTION_NO_VERB | LOOKS,
     .help = "only the first N of them; of a topic's messages, too"},
    {.name = "all",
     .kind = OPTION_FLAG,
     .at = AT(letters.all),
     .section = "Which dead letters",
     .verbs = CHANGES,
     .help = "every one"},

    {.name = "json",
     .kind = OPTION_FLAG,
     .at = AT(letters.json),
     .section = "What to do with them",
     .verbs = OPTION_VERB(LIST) | OPTION_VERB(SHOW) | OPTION_VERB(REPLAY),
     .help = "print each as a JSON object on one line"},
    {.name = "to",
     .kind = OPTION_TEXT,
     .at = AT(letters.to),
     .argument = "TOPIC",
     .section = "What to do with them",
     .completion = OPTION_COMPLETE_TOPIC,
     .verbs = OPTION_VERB(REPLAY),
     .help = "send them to TOPIC, for all of its groups"},
    {.name = "canary",
     .kind = OPTION_FLAG,
     .at = AT(letters.canary),
     .section = "What to do with them",
     .verbs = OPTION_VERB(REPLAY),
     .help = "one first; the others only if it is acknowledged",
     .man = "Send the first one alone, and the others only when its group has acknowledged it.\nThat is waited for as "
            "long as it takes, or as\n.Fl \\-wait\nsays: then the exit code is 124, and the others stay.\nThey also "
            "stay, with 65, when the first one dies again, expires or is dropped."},
    {.name = "edit",
     .kind = OPTION_FLAG,
     .at = AT(letters.edit),
     .section = "What to do with them",
     .verbs = OPTION_VERB(REPLAY),
     .help = "change the body of each in $EDITOR before",
     .man = "Change the body of each in\n.Ev VISUAL\nor\n.Ev EDITOR\nbefore."},
    {.name = "rate",
     .kind = OPTION_RATE,
     .at = AT(letters.rate),
     .argument = "RATE",
     .section = "What to do with them",
     .verbs = OPTION_VERB(REPLAY),
     .help = "no faster than RATE: 100/s, 30/m"},
    {.name = "dry-run",
     .kind = OPTION_FLAG,
     .at = AT(letters.dry_run),
     .section = "What to do with them",
     .verbs = OPTION_VERB(REPLAY),
     .help = "print what would be replayed, and change nothing"},
    {.name = "yes",
     .letter = 'y',
     .kind = OPTION_FLAG,
     .at = AT(letters.yes),
     .section = "What to do with them",
     .verbs = OPTION_VERB(DISCARD),
     .help = "do not ask"},
    OPTION_RELAY(struct retry_settings, relay),
    OPTION_WAIT(struct retry_settings, wait, "how long to wait for the relay, a message, a canary (exit 124)"),
    {0},
};

static const struct option_rule rules[] = {
    {OPTION_EXCLUDES, "shell", {OPTION_COMMAND}, "give one command"},
    {OPTION_EXCLUDES, "key-separator", {"key-json"}, "a message has one key"},
    {OPTION_EXCLUDES, "dead-file", {"topic"}, "a topic's dead letters are the relay's"},
    {OPTION_EXCLUDES, "dead-file", {"dead-topic"}, "letters lie in one place"},
    {OPTION_EXCLUDES,
     "topic",
     {"key-separator", "key-json", "id-json", "skip", "max-message", "unordered"},
     "that is for messages of stdin"},
    {OPTION_EXCLUDES, "topic", {"dedupe"}, "the relay does that: mrelay set topic TOPIC dedupe.by=id"},
    {OPTION_NEEDS, "group", {"topic"}, "groups are of topics"},
    {OPTION_NEEDS, "exit-at-end", {"topic"}, "stdin has an end of its own"},
    {OPTION_NEEDS, "canary", {"topic"}, "a group acknowledges it; a file's letters have none"},
    {OPTION_NEEDS, "edit", {"topic"}, "the letters of a file are changed in the file"},
    {OPTION_EXCLUDES, "canary", {"to"}, "no group is known that would acknowledge it"},
    {OPTION_NEEDS, "window", {"dedupe"}, "it says how long --dedupe remembers"},
    {OPTION_NEEDS, "dedupe-file", {"dedupe"}, "it keeps what --dedupe remembers"},
    {0},
};

static const char *const synopsis[] = {
    "[OPTION]... -- COMMAND [ARG]...",
    "[OPTION]... --shell STRING",
    "-t TOPIC -g GROUP [OPTION]... -- COMMAND [ARG]...",
    "list | show | replay | discard -t TOPIC [OPTION]... [ID]...",
    "list | show | discard --dead-file FILE [OPTION]... [ID]...",
    "replay --dead-file FILE [OPTION]... [ID]... -- COMMAND [ARG]... | --to TOPIC",
    NULL,
};

static const struct option_verb verbs[] = {
    [LIST] =
        {.name = "list",
         .operands = "[ID]...",
         .operands_most = 4096,
         .help = "list dead letters: all, or those that are meant",
         .man = "List dead letters: all, or those that are meant.\nInto a pipe or file there are tabs between id, age, "
                "origin, reason, attempts, exit code and error.\n"
                "A terminal of less than 110 columns is not shown the origin."},
    [SHOW] = {.name = "show",
              .operands = "[ID]...",
              .operands_most = 4096,
              .help = "show all that is known of dead letters"},
    [REPLAY] = {.name = "replay",
                .operands = "[ID]...",
                .operands_most = 4096,
                .help = "give dead letters another try",
                .man = "Send those of a topic back to where they came from: to their topic,\nfor the group that could "
                       "not take them "
                       "alone.\nRun the command for each of a file's, or send them\n.Fl \\-to\na topic.\n"
                       "What is done leaves its place, what fails stays where it is."},
    [DISCARD] = {.name = "discard",
                 .operands = "[ID]...",
                 .operands_most = 4096,
                 .help = "drop dead letters",
                 .man = "Drop them.\nIt asks first, or needs\n.Fl \\-yes ."},
    {0},
};

static const struct option_example examples[] = {
    {"mretry --max-retries 5 --dead-file bad.jsonl -- ./post.sh < requests",
     "a run a line, tried six times; what is hopeless is kept"},
    {"mretry --workers 8 --timeout 10s -- ./resize.sh < names > done", "eight at once, output in order"},
    {"mretry list -t orders.dead && mretry replay -t orders.dead --all --canary",
     "back to where they came from, one first"},
    {0},
};

static const struct option_program program = {
    .name = "mretry",
    .summary = "run a command for each message until it succeeds or is dead",
    .synopsis = synopsis,
    .description =
        "Runs a COMMAND for each message of its input. What fails is tried again after a while, until it succeeds or "
        "is "
        "hopeless: tried often enough, or rejected by the command with exit code 65. Only the output of successful "
        "attempts is printed, in the order of the input.",
    .options = specs,
    .rules = rules,
    .verbs = verbs,
    .examples = examples,
    .takes_command = true,
};

/* What the tables cannot say. */
static int check(const struct retry_settings *settings, const struct options *options)
{
    if (!options->command && !settings->shell)
        return options_wrong(options, "which command? Give one after -- (mretry -- curl ...), or with --shell");
    if (settings->shell && !*settings->shell)
        return options_wrong(options, "--shell: the command is empty");
    if (settings->topic && !settings->group)
        return options_wrong(options, "-t needs -g GROUP: the group that keeps account of what is done");
    if (!settings->topic && settings->letters.count)
        return options_wrong(options, "-n goes only with -t, or with a command for dead letters: use head(1)");
    if (!settings->dead_topic && !settings->topic && (options_given(options, "relay") || settings->wait >= 0))
        return options_wrong(options, "-r and --wait go only with -t or --dead-topic: stdin needs no relay");
    if (settings->batch && settings->mode != RETRY_BATCH)
        return options_wrong(options, "--batch goes only with --mode batch: a command has one message otherwise");
    if (settings->dedupe == RETRY_DEDUPE_ID && settings->input.format != FORMAT_JSON && !settings->input.id_json)
        return options_wrong(options, "--dedupe id: where is the id? Read -F json, or name its place with --id-json");
    if (settings->dedupe == RETRY_DEDUPE_KEY && settings->input.format != FORMAT_JSON && !settings->input.key_json &&
        !settings->input.key_separator)
        return options_wrong(options,
                             "--dedupe key: where is the key? Read -F json, or name its place with -K or --key-json");
    return OPTIONS_GO;
}

static int check_verb(const struct retry_settings *settings, const struct options *options)
{
    bool command = options->command || settings->shell;
    if (!settings->dead_file && !settings->topic)
        return options_wrong(options, "which dead letters? Give their topic (-t TOPIC), or a file (--dead-file FILE)");
    if (settings->topic && options->verb == REPLAY && command)
        return options_wrong(options, "the letters of a topic go back to where they came from, or to another topic "
                                      "(--to): a command is for those of a file");
    if (options->verb != REPLAY && command)
        return options_wrong(options, "mretry %s runs no command: mretry replay does", verbs[options->verb].name);
    return OPTIONS_GO;
}

int main(int argc, char **argv)
{
    struct retry_settings settings = RETRY_SETTINGS;
    struct options options;
    int code = options_parse(&program, argc, argv, &settings, &options);
    if (code >= 0)
        return code;
    code = options.verb < 0 ? check(&settings, &options) : check_verb(&settings, &options);
    if (code < 0)
        code = options.verb < 0 ? retry_run(&settings, &options)
                                : letters_run((enum letters_verb)options.verb, &settings, &options);
    options_free(&options);
    return code;
}
