/* The verbs on a dead file. */
#include "cli/letters_file.h"

#include "cli/confirm.h"
#include "cli/exit.h"
#include "cli/output.h"
#include "cli/retry.h"

#include <inttypes.h>
#include <unistd.h>

/* Finds out which ids are meant. The exit code, or -1 to go on. */
static int resolve(struct letters *letters, struct letters_file *file)
{
    struct fault fault = {0};
    struct letter_entry entry;
    enum mp_error error = MP_OK;
    if (letters->filter.wanted_count == 0)
        return -1;
    while (!error && (error = letters_file_next(file, &entry, &fault)) == MP_OK)
        error = letter_filter_see(&letters->filter, &entry);
    if (error != MP_ERR_CLOSED)
        return tell_fault(&fault);
    letters_file_rewind(file);
    if (letter_filter_resolve(&letters->filter, &fault) == MP_OK)
        return -1;
    return tell_fault(&fault);
}

static void tell_torn(const struct letters *letters, const struct letters_file *file)
{
    if (file->torn)
        tell("%" PRIu64 " %s of %s %s: left alone", file->torn, file->torn == 1 ? "line" : "lines",
             letters->settings->dead_file, file->torn == 1 ? "is no dead letter" : "are no dead letters");
}

/* Prints those that are meant. */
static int print(struct letters *letters, struct letters_file *file)
{
    struct fault fault = {0};
    struct letter_entry entry;
    enum mp_error error = MP_OK;
    while (!error && (error = letters_file_next(file, &entry, &fault)) == MP_OK)
        if (letter_filter_takes(&letters->filter, &entry))
            error = letter_print(&letters->printer, &entry, &fault);
    if (fault.code == MP_ERR_CLOSED)
        return exit_by_pipe();
    if (error != MP_ERR_CLOSED)
        return tell_fault(&fault);
    tell_torn(letters, file);
    if (letters->printer.printed == 0 && letters->printer.terminal)
        tell("no dead letters%s", letter_filter_is_narrow(&letters->filter) ? " are like that" : "");
    return EXIT_DONE;
}

/* How many are meant; the filter is as before then. */
static enum mp_error count(struct letters *letters, struct letters_file *file, struct fault *fault)
{
    struct letter_entry entry;
    enum mp_error error;
    letters->left = 0;
    while ((error = letters_file_next(file, &entry, fault)) == MP_OK)
        letters->left += letter_filter_takes(&letters->filter, &entry);
    letters->filter.taken = 0;
    letters_file_rewind(file);
    return error == MP_ERR_CLOSED ? MP_OK : error;
}

static int discard(struct letters *letters, struct letters_file *file)
{
    struct fault fault = {0};
    struct letter_entry entry;
    enum mp_error error = count(letters, file, &fault);
    uint64_t meant = letters->left;
    if (error)
        return tell_fault(&fault);
    if (meant == 0) {
        tell("%s: nothing was done",
             letter_filter_is_narrow(&letters->filter) ? "no dead letters are like that" : "there are no dead letters");
        return EXIT_DONE;
    }
    int code = confirm(letters->settings->letters.yes, "discard %" PRIu64 " dead %s of %s", meant,
                       meant == 1 ? "letter" : "letters", letters->settings->dead_file);
    if (code != EXIT_DONE)
        return code;
    /* Letters that came meanwhile were not asked about. */
    while (letters->done < meant && (error = letters_file_next(file, &entry, &fault)) == MP_OK)
        if (letter_filter_takes(&letters->filter, &entry)) {
            error = letters_file_take(file, entry.place, entry.size, false, &fault);
            if (error)
                break;
            letters->done++;
        }
    if (!error || error == MP_ERR_CLOSED)
        error = letters_file_rewrite(file, &fault);
    return error ? tell_fault(&fault) : EXIT_DONE;
}

/* What can be said before anything is done. */
static int check_replay(const struct letters *letters)
{
    const struct retry_settings *settings = letters->settings;
    bool command = letters->options->command || settings->shell;
    if (command && settings->letters.to)
        return options_wrong(letters->options, "replay to a command or to a topic (--to), not both");
    if (!command && !settings->letters.to)
        return options_wrong(letters->options,
                             "replay how? Give a command after --, or a topic that they are sent to (--to TOPIC)");
    return -1;
}

static int replay(struct letters *letters, struct letters_file *file)
{
    struct fault fault = {0};
    int code = check_replay(letters);
    if (code >= 0)
        return code;
    if (letters->settings->letters.dry_run)
        return print(letters, file);
    code =
        letters->settings->letters.to ? letters_publish_file(letters, file) : letters_replay_by_command(letters, file);
    if (letters_file_rewrite(file, &fault))
        return tell_fault(&fault);
    tell_torn(letters, file);
    if (letters->left || letters->signal || output_is_terminal(STDERR_FILENO))
        tell("%" PRIu64 " %s replayed%s", letters->done, letters->done == 1 ? "letter was" : "letters were",
             letters->left || letters->signal ? "; the others stay where they are" : "");
    return code;
}

int letters_in_file(struct letters *letters)
{
    struct letters_file file;
    struct fault fault = {0};
    bool changes =
        letters->verb == LETTERS_DISCARD || (letters->verb == LETTERS_REPLAY && !letters->settings->letters.dry_run);
    int code = EXIT_FAILED;
    if (letters_file_open(&file, letters->settings->dead_file, changes, &fault))
        code = tell_fault(&fault);
    else if ((code = resolve(letters, &file)) < 0)
        code = letters->verb == LETTERS_DISCARD  ? discard(letters, &file)
               : letters->verb == LETTERS_REPLAY ? replay(letters, &file)
                                                 : print(letters, &file);
    letters_file_close(&file);
    return code;
}
