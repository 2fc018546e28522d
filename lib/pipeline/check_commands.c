/* Whether commands are there and can be run, as the runner will look for them. */
#include "pipeline/check.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *search_path(const struct load *load)
{
    char *const *environment = load->settings->environment;
    for (; environment != NULL && *environment != NULL; environment++)
        if (strncmp(*environment, "PATH=", 5) == 0)
            return *environment + 5;
    return "/usr/local/bin:/usr/bin:/bin";
}

enum found { FOUND, ABSENT, NOT_RUNNABLE, A_FOLDER };

static enum found look_at(const char *file)
{
    struct stat status;
    if (stat(file, &status) != 0)
        return errno == EACCES ? NOT_RUNNABLE : ABSENT;
    if (S_ISDIR(status.st_mode))
        return A_FOLDER;
    return access(file, X_OK) == 0 ? FOUND : NOT_RUNNABLE;
}

static enum found search(const char *path, const char *name)
{
    enum found best = ABSENT;
    for (const char *at = path;; at++) {
        size_t size = strcspn(at, ":");
        char file[PATH_MAX];
        int length = snprintf(file, sizeof file, "%.*s%s%s", (int)size, at, size > 0 ? "/" : "./", name);
        enum found found = length > 0 && (size_t)length < sizeof file ? look_at(file) : ABSENT;
        if (found == FOUND)
            return FOUND;
        if (found == NOT_RUNNABLE)
            best = found;
        at += size;
        if (*at == '\0')
            return best;
    }
}

static void check_program(struct load *load, const struct pipeline_command *command)
{
    const char *name = command->argv[0];
    bool by_path = strchr(name, '/') == NULL;
    char shown[FAULT_QUOTE];
    fault_quote(shown, name, strlen(name));
    switch (by_path ? search(search_path(load), name) : look_at(name)) {
    case FOUND:
        return;
    case ABSENT:
        if (by_path)
            diagnose_error(load->diagnostics, &command->place,
                           "no command '%s': it is in no folder of $PATH (one beside this file is ./%s)", shown, shown);
        else
            diagnose_error(load->diagnostics, &command->place, "no command '%s': there is no such file", shown);
        return;
    case NOT_RUNNABLE:
        diagnose_error(load->diagnostics, &command->place, "'%s' may not be run: chmod +x %s", shown, shown);
        return;
    case A_FOLDER:
        diagnose_error(load->diagnostics, &command->place, "'%s' is a folder, no command", shown);
        return;
    }
}

static void check_command(struct load *load, const struct pipeline_command *command)
{
    struct stat status;
    if (command->directory_place.line > 0 && command->directory != NULL &&
        (stat(command->directory, &status) != 0 || !S_ISDIR(status.st_mode)))
        diagnose_error(load->diagnostics, &command->directory_place, "directory: there is no folder %s",
                       command->directory);
    if (command->argv != NULL)
        check_program(load, command);
}

/* A file that a sink writes: its folder must be there. */
static void check_file(struct load *load, const char *file, const struct pipeline_place *place)
{
    struct stat status;
    const char *slash = strrchr(file, '/');
    char shown[FAULT_QUOTE];
    if (stat(file, &status) == 0) {
        if (S_ISDIR(status.st_mode))
            diagnose_error(load->diagnostics, place, "file: '%s' is a folder", fault_quote(shown, file, strlen(file)));
        return;
    }
    const char *folder = slash == file ? "/" : load_copy(load, file, (size_t)(slash - file));
    if (folder != NULL && (stat(folder, &status) != 0 || !S_ISDIR(status.st_mode)))
        diagnose_error(load->diagnostics, place, "file: there is no folder '%s'",
                       fault_quote(shown, folder, strlen(folder)));
}

void check_commands(struct load *load)
{
    const struct pipeline *pipeline = load->pipeline;
    for (size_t i = 0; i < pipeline->sources_count; i++)
        check_command(load, &pipeline->sources[i].command);
    for (size_t i = 0; i < pipeline->stages_count; i++) {
        check_command(load, &pipeline->stages[i].command);
        check_command(load, &pipeline->stages[i].breaker.command);
        if (pipeline->stages[i].file != NULL)
            check_file(load, pipeline->stages[i].file, &pipeline->stages[i].file_place);
    }
}
