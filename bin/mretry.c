/* mretry: runs a command for each message until it succeeds or is dead-lettered. */
#include "cli/retry.h"
#include "message/formats.h"

static const char *const formats[] = {"lines", "null", "length", "whole", "json", NULL};
static const char *const modes[] = {"each", "batch", NULL};
static const char *const backoffs[] = {"exponential", "linear", "none", NULL};
static const char *const dedupes[] = {"id", "key", NULL};

#define AT(member) offsetof(struct retry_settings, member)

static const struct option_spec specs[] = {
    {.name = "max-retries",
     .kind = OPTION_TEXT,
     .at = AT(max_retries),
     .argument = "N",
     .section = "Trying again",
     .help = "try again N times at most (default 20), or 'unlimited'",
     .man = "Try again\n.Ar N\ntimes at most (20 unless given), so that a command runs one time more,\nor\n"
            ".Cm unlimited .\nThen the message is dead."},
    {.name = "backoff",
     .kind = OPTION_CHOICE,
     .at = AT(backoff),
     .argument = "KIND",
     .section = "Trying again",
     .choices = backoffs,
     .help = "how waits grow: exponential (default), linear, none",
     .man = "How the waits between attempts grow:\n.Cm exponential\n(the default; twice as long each time),\n"
            ".Cm linear\n(longer by the initial interval each time) or\n.Cm none\n(the initial interval each time)."},
    {.name = "initial-interval",
     .kind = OPTION_DURATION,
     .at = AT(initial_interval),
     .argument = "TIME",
     .section = "Trying again",
     .help = "the first wait (default 100ms)"},
    {.name = "max-interval",
     .kind = OPTION_DURATION,
     .at = AT(max_interval),
     .argument = "TIME",
     .section = "Trying again",
     .help = "the longest wait (default 1m)"},
    {.name = "jitter",
     .kind = OPTION_TEXT,
     .at = AT(jitter),
     .argument = "SHARE",
     .section = "Trying again",
     .help = "the share of a wait that is left to chance (default 0.2)",
     .man = "The share of each wait that is left to chance, from 0 to 1 (0.2 unless given),\nso that what failed "
            "together does not come back together."},
    {.name = "timeout",
     .kind = OPTION_DURATION,
     .at = AT(timeout),
     .argument = "TIME",
     .section = "Trying again",
     .help = "end an attempt that takes longer; it has failed",
     .man = "End an attempt that takes longer, with all that it has started: SIGTERM,\nand 5 seconds later SIGKILL.\n"
            "It has failed."},

    {.name = "format",
     .letter = 'F',
     .kind = OPTION_CHOICE,
     .at = AT(input.format),
     .argument = "FORMAT",
     .section = "Input",
     .choices = formats,
     .help = "lines (default), null, length, whole, json",
     .man = "How the input is taken apart:\n.Cm lines\n(the default; one message a line),\n.Cm null\n"
            "(one up to each NUL),\n.Cm length\n(a 32-bit big-endian length before each),\n.Cm whole\n"
            "(all of it is one message) or\n.Cm json\n(one CloudEvents JSON object a line, as\n.Xr mrecv 1\n"
            "prints it).\nA command reads the bare body; with\n.Fl \\-mode Cm batch\nit reads this format."},
    {.name = "key-separator",
     .letter = 'K',
     .kind = OPTION_TEXT,
     .at = AT(input.key_separator),
     .argument = "SEP",
     .section = "Input",
     .help = "the key stands before SEP in each message",
     .man = "The key stands in each message before the first\n.Ar SEP ;\nboth are taken off."},
    {.name = "key-json",
     .kind = OPTION_TEXT,
     .at = AT(input.key_json),
     .argument = "POINTER",
     .section = "Input",
     .help = "the key is the value at a JSON Pointer, /user/id"},
    {.name = "id-json",
     .kind = OPTION_TEXT,
     .at = AT(input.id_json),
     .argument = "POINTER",
     .section = "Input",
     .help = "each id is the value at a JSON Pointer"},
    {.name = "skip",
     .kind = OPTION_NUMBER,
     .at = AT(input.skip),
     .argument = "N",
     .section = "Input",
     .help = "leave out the first N messages of the input",
     .man = "Leave out the first\n.Ar N\nmessages of the input.\nWhat is told when\n.Nm\nends early uses it to go on."},
    {.name = "max-message",
     .kind = OPTION_SIZE,
     .at = AT(input.max_message),
     .argument = "SIZE",
     .section = "Input",
     .low = 1,
     .help = "refuse messages over SIZE (default: 64MiB)"},
    {.name = "dedupe",
     .kind = OPTION_CHOICE,
     .at = AT(dedupe),
     .argument = "WHAT",
     .section = "Input",
     .choices = dedupes,
     .help = "leave out what was done already, by id or by key",
     .man = "Leave out messages whose\n.Cm id\nor\n.Cm key\nis that of one that was done within the window; while one "
            "is under way others of that id wait for\nwhat becomes of it.\nThis is known for as long as\n.Nm\nruns."},
    {.name = "window",
     .kind = OPTION_DURATION,
     .at = AT(window),
     .argument = "TIME",
     .section = "Input",
     .help = "how long --dedupe remembers (default 10m)"},

    {.name = "shell",
     .kind = OPTION_TEXT,
     .at = AT(shell),
     .argument = "STRING",
     .section = "Commands",
     .help = "run STRING in a shell, as -- runs a COMMAND"},
    {.name = "workers",
     .kind = OPTION_NUMBER,
     .at = AT(workers),
     .argument = "N",
     .low = 1,
     .high = 1024,
     .section = "Commands",
     .help = "run up to N commands at once (default 1)"},
    {.name = "mode",
     .kind = OPTION_CHOICE,
     .at = AT(mode),
     .argument = "MODE",
     .section = "Commands",
     .choices = modes,
     .help = "each (default): a command a message; batch: one for many",
     .man = "How messages meet commands:\n.Cm each\n(the default) runs a command for each message,\n.Cm batch\none for "
            "as many as there are, up to\n.Fl \\-batch ;\nits exit code is for all of them, and they are tried again, "
            "and die, together."},
    {.name = "batch",
     .kind = OPTION_NUMBER,
     .at = AT(batch),
     .argument = "N",
     .low = 1,
     .high = 4096,
     .section = "Commands",
     .help = "give a command at most N messages (default 100)"},
    {.name = "unordered",
     .kind = OPTION_FLAG,
     .at = AT(unordered),
     .section = "Commands",
     .help = "print output as it comes, not in the order of the input"},

    {.name = "dead-file",
     .kind = OPTION_TEXT,
     .at = AT(dead_file),
     .argument = "FILE",
     .section = "Dead letters",
     .completion = OPTION_COMPLETE_FILE,
     .help = "keep hopeless messages in FILE (JSON lines), and go on",
     .man = "Add messages that are hopeless to\n.Ar FILE ,\none JSON object a line, flushed to disk, and go on with "
            "the others.\nWithout it the first hopeless message ends\n.Nm ."},
    {0},
};

static const struct option_rule rules[] = {
    {OPTION_EXCLUDES, "shell", {OPTION_COMMAND}, "give one command"},
    {OPTION_EXCLUDES, "key-separator", {"key-json"}, "a message has one key"},
    {OPTION_NEEDS, "window", {"dedupe"}, "it says how long --dedupe remembers"},
    {0},
};

static const char *const synopsis[] = {
    "[OPTION]... -- COMMAND [ARG]...",
    "[OPTION]... --shell STRING",
    NULL,
};

static const struct option_example examples[] = {
    {"generate | mretry --max-retries 5 --dead-file bad.jsonl -- curl -fsS -d @- https://api.example/hook",
     "a request a line, tried six times; what is hopeless is kept"},
    {"mretry --workers 8 --timeout 10s -- ./resize.sh < names > done", "eight at once, output in order"},
    {"mrecv -t orders -F json | mretry -F json --dedupe id -- ./bill.sh", "what was done is not done again"},
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
    .examples = examples,
    .takes_command = true,
};

/* What the tables cannot say. */
static int check(const struct retry_settings *settings, const struct options *options)
{
    if (!options->command && !settings->shell)
        return options_wrong(options, "which command? Give one after -- (mretry -- curl ...), or with --shell");
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

int main(int argc, char **argv)
{
    struct retry_settings settings = RETRY_SETTINGS;
    struct options options;
    int code = options_parse(&program, argc, argv, &settings, &options);
    if (code >= 0)
        return code;
    code = check(&settings, &options);
    if (code < 0)
        code = retry_run(&settings, &options);
    options_free(&options);
    return code;
}
