/* Asking before what cannot be undone. */
#include "cli/confirm.h"

#include "cli/exit.h"
#include "cli/output.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

int confirm(bool yes, const char *question, ...)
{
    char text[FAULT_TEXT];
    if (yes)
        return EXIT_DONE;
    va_list arguments;
    va_start(arguments, question);
    vsnprintf(text, sizeof(text), question, arguments);
    va_end(arguments);
    if (!output_is_terminal(STDIN_FILENO) || !output_is_terminal(STDERR_FILENO)) {
        tell("to %s, add --yes: there is no terminal to ask on", text);
        return EXIT_USAGE;
    }
    char answer[16] = "";
    fprintf(stderr, "%s: %s? [y/N] ", exit_tool(), text);
    fflush(stderr);
    if (!fgets(answer, sizeof(answer), stdin))
        fputc('\n', stderr);
    answer[strcspn(answer, "\n")] = '\0';
    if (!strcasecmp(answer, "y") || !strcasecmp(answer, "yes"))
        return EXIT_DONE;
    tell("nothing was done");
    return EXIT_FAILED;
}
