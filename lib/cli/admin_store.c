/* Copies of a relay's store: made while it runs, and put in its place. */
#include "cli/admin_ask.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/units.h"
#include "cli/exit.h"
#include "cli/output.h"
#include "store/store.h"
#include "transport/address.h"

#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE_BYTES = 16384 };

static volatile sig_atomic_t interrupted;

int admin_interrupted(void)
{
    return interrupted;
}

static void note_signal(int number)
{
    interrupted = number;
}

/* The first signal lets the copy be tidied away, the second kills. */
void admin_catch_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = note_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        if (!exit_was_ignored(numbers[i]))
            sigaction(numbers[i], &action, NULL);
}

static bool on_progress(void *context, uint64_t done, uint64_t total)
{
    struct progress *progress = context;
    progress->total = total * PAGE_BYTES;
    progress_show(progress, "copied", done * PAGE_BYTES, 0, clock_monotonic());
    return interrupted == 0;
}

/* Whether the relay that -r means answers now. */
bool admin_is_running(const struct admin_settings *settings)
{
    struct address address;
    if (settings->relay && strstr(settings->relay, "://"))
        return true; /* whoever is asked for by an address is asked */
    return !address_of_relay(settings->relay, &address, NULL) && address_probe(address.path) == ADDRESS_ANSWERS;
}

/* The path of the store: --store, or what the relay says that runs, or what follows from its name. */
int admin_find_store(const struct admin_settings *settings, char path[ADMIN_PATH])
{
    struct fault fault = {0};
    int size;
    if (settings->store) {
        size = snprintf(path, ADMIN_PATH, "%s", settings->store);
    } else if (admin_is_running(settings)) {
        json_t *answer;
        int code = admin_ask_soon(settings, json_pack("{s:s}", "verb", "status"), &answer);
        if (code)
            return code;
        size = snprintf(path, ADMIN_PATH, "%s", admin_string(answer, "store"));
        json_decref(answer);
    } else {
        enum mp_error error = address_store_path(settings->relay, path, ADMIN_PATH, &fault);
        return error ? tell_fault(&fault) : EXIT_DONE;
    }
    if (size > 0 && size < ADMIN_PATH)
        return EXIT_DONE;
    tell("the path of the store is too long, or the relay does not say it: give it with --store");
    return EXIT_USAGE;
}

int admin_find_resting_store(const struct admin_settings *settings, const char *verb, char path[ADMIN_PATH])
{
    if (settings->relay && strstr(settings->relay, "://")) {
        tell("%s works on a file: give the relay's name, or the file with --store", verb);
        return EXIT_USAGE;
    }
    if (!settings->store && admin_is_running(settings)) {
        tell("relay %s is running: end it first", settings->relay ? settings->relay : "default");
        return EXIT_LATER;
    }
    return admin_find_store(settings, path);
}

static int one_file(const struct admin_settings *settings, const char *usage)
{
    if (settings->operands_count == 1)
        return EXIT_DONE;
    tell("which file? mrelay %s", usage);
    return EXIT_USAGE;
}

/* The end of a copy of FROM to PATH. */
static int end(const struct fault *fault, struct progress *progress, const char *from, const char *path)
{
    progress_end(progress);
    if (interrupted)
        exit_by_signal(interrupted);
    if (fault->code == MP_ERR_NOT_FOUND) {
        tell("%s", fault_text(fault));
        return EXIT_NO_INPUT;
    }
    if (fault->code == MP_ERR_DAMAGED) {
        tell("%s cannot be taken, and nothing was changed: %s", from, fault_text(fault));
        return EXIT_FAILED;
    }
    if (fault->code == MP_ERR_FULL) {
        tell("%s", fault_text(fault));
        return EXIT_IO;
    }
    if (fault->code)
        return tell_fault(fault);
    struct stat status;
    char size[24] = "";
    if (stat(path, &status) == 0)
        units_size_text((uint64_t)status.st_size, size, sizeof(size));
    if (output_is_terminal(STDERR_FILENO))
        tell("%s holds %s, checked", path, size);
    return EXIT_DONE;
}

int admin_backup(const struct admin_settings *settings)
{
    char path[ADMIN_PATH];
    struct fault fault = {0};
    struct progress progress;
    int code = one_file(settings, "backup FILE [-r RELAY | --store STORE]");
    if (!code)
        code = admin_find_store(settings, path);
    if (code)
        return code;
    admin_catch_signals();
    progress_begin(&progress, 0, clock_monotonic());
    store_backup(path, settings->operands[0], on_progress, &progress, &fault);
    return end(&fault, &progress, path, settings->operands[0]);
}

/* The store that is to be replaced: not one that a relay has, and one that is there only when the user says so. */
static int find_place(const struct admin_settings *settings, char path[ADMIN_PATH])
{
    struct stat status;
    struct fault fault = {0};
    int code = admin_find_resting_store(settings, "restore", path);
    if (code)
        return code;
    if (!settings->force && stat(path, &status) == 0) {
        tell("%s is there: to replace it, add --force; it is kept as %s.replaced", path, path);
        return EXIT_USAGE;
    }
    return !settings->store && address_make_directory(path, &fault) ? tell_fault(&fault) : EXIT_DONE;
}

int admin_restore(const struct admin_settings *settings)
{
    char path[ADMIN_PATH];
    struct fault fault = {0};
    struct progress progress;
    int code = one_file(settings, "restore FILE [-r RELAY | --store STORE] [--force]");
    if (!code)
        code = find_place(settings, path);
    if (code)
        return code;
    admin_catch_signals();
    progress_begin(&progress, 0, clock_monotonic());
    store_restore(settings->operands[0], path, on_progress, &progress, &fault);
    return end(&fault, &progress, settings->operands[0], path);
}
