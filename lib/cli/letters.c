/* mretry's verbs. */
#include "cli/letters.h"

#include "base/clock.h"
#include "cli/exit.h"
#include "cli/output.h"
#include "cli/retry.h"

#include <unistd.h>

int letters_run(enum letters_verb verb, const struct retry_settings *settings, const struct options *options)
{
    int64_t now = clock_wall();
    struct letters letters = {
        .verb = verb,
        .settings = settings,
        .options = options,
        .printer = {.json = settings->letters.json,
                    .details = verb == LETTERS_SHOW,
                    .terminal = output_is_terminal(STDOUT_FILENO),
                    .now = now},
    };
    struct fault fault = {0};
    int code;
    if (letter_filter_open(&letters.filter, &settings->letters, options->operands, options->operands_count, &fault))
        code = tell_fault(&fault);
    else if ((verb == LETTERS_REPLAY || verb == LETTERS_DISCARD) && !settings->letters.all &&
             !letter_filter_is_narrow(&letters.filter))
        code = options_wrong(options, "which ones? Give their ids, or what they have in common (--reason, --older, "
                                      "--where, ...), or --all");
    else
        code = settings->dead_file ? letters_in_file(&letters) : letters_on_topic(&letters);
    letter_filter_free(&letters.filter);
    buffer_free(&letters.printer.text);
    if (letters.signal)
        exit_by_signal(letters.signal);
    return code;
}
