/* The commands of mrelay. */
#include "mrelay.h"

const struct option_verb mrelay_verbs[] = {
    [RUN] = {.name = "run",
             .operands = "FILE",
             .operands_most = 1,
             .help = "run the pipeline in FILE",
             .man = "Check the pipeline in\n.Ar FILE\n.Pq Xr mpipeline 5 ,\nand run it: a relay of its name, and a "
                    "runner for its stages, sources and sinks.\nWhat dies of these is started again.\n"
                    "SIGHUP loads the file again; what did not change keeps running, and a file with mistakes changes "
                    "nothing.\nWhen the terminal in which it was started is closed, it ends as at SIGTERM."},
    [ONCE] = {.name = "once",
              .operands = "FILE",
              .operands_most = 1,
              .help = "run it until its sources have ended and nothing waits",
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
               .man =
                   "Draw the pipeline in\n.Ar FILE\nas a tree, or as\n.Fl \\-format\nand\n.Fl \\-svg\nsay.\n"
                   "With\n.Fl \\-live\nthe pipeline runs, and the arrows say how many messages went that way "
                   "since the runner began, and how many do in a second; into a part that takes from several topics, "
                   "since its group is there."},
    [SANDBOX] = {.name = "sandbox",
                 .operands = "[FILE] -- CMD",
                 .operands_most = 1,
                 .takes_command = true,
                 .help = "run CMD with a relay of its own",
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
    [TOPICS] =
        {.name = "topics",
         .operands = "[purge|delete|repair T]",
         .operands_most = 2,
         .help = "list topics, empty or delete one",
         .man = "List the topics, and how much is in them.\n.Cm repair\nreads all of\n.Ar T\nfrom the "
                "disk and gives up what is damaged, which nobody can be given any more: readers pass it, groups "
                "drop it, and go on.\nIt is told, counted and traced.\n.Cm purge\ndrops every message that is in\n"
                ".Ar T ;\n.Cm delete\nends the topic with its messages and groups.\nAll of them ask first, or need\n"
                ".Fl \\-yes ,\nand say on stderr how many messages that was."},
    [GROUPS] = {.name = "groups",
                .operands = "[seek|delete T G]",
                .operands_most = 3,
                .help = "list groups, move or delete one",
                .man = "List the groups, and what waits for them.\n.Cm seek\nmoves a group to where\n.Fl \\-from\n"
                       "says: back, so that messages are handed out again, or ahead.\n.Cm delete\n"
                       "ends the group, and asks first on a terminal, unless\n.Fl \\-yes\nis given; "
                       "one that is in use needs\n.Fl \\-force .\n"
                       "In place of\n.Ar TOPIC\nthe pattern of a group on a pattern is given."},
    [SET] = {.name = "set",
             .operands = "topic T|group T G [KEY=VALUE]...",
             .operands_most = 64,
             .help = "show all settings, or change some: max_messages=1000, retry.max_retries=5",
             .man = "Show the settings of\n.Cm topic Ar T\nor of\n.Cm group Ar T G ,\nwith their "
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
    [SALVAGE] = {.name = "salvage",
                 .operands = "FILE",
                 .operands_most = 1,
                 .help = "take what is sound of a damaged store into FILE",
                 .man =
                     "Take every undamaged message of a store, of a relay that does not run, into\n.Ar FILE ,\na new "
                     "store, and tell what is missing.\n"
                     "The damaged store is only read, and not changed.\n"
                     "All of its pages are looked at, and those of its log, whatever SQLite says of them; what has a "
                     "checksum that fits is taken, of several versions the newest.\n"
                     "Messages keep their offsets.\n"
                     "Groups whose state is damaged are given messages again rather than passing over one.\n"
                     "The exit code is 0 when all was taken, and 1 when something is missing.\n"
                     ".Cm restore\nputs\n.Ar FILE\nin the place of the damaged store."},
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
