#include "cli/pipeline_file.h"

#include "cli/exit.h"
#include "cli/output.h"

#include <stdio.h>
#include <unistd.h>

extern char **environ;

static enum mp_error load(const char *file, bool tests, bool warnings, struct pipeline **pipeline, struct fault *fault)
{
    struct pipeline_load_settings settings = {.file = file, .environment = environ, .tests = tests, .commands = true};
    struct buffer said = {0};
    struct fault ignored = {0};
    enum mp_error error = pipeline_load(&settings, pipeline, &said, fault);
    if (said.size && (error || warnings))
        output_write(STDERR_FILENO, said.data, said.size, &ignored);
    buffer_free(&said);
    return error;
}

enum mp_error pipeline_file_load(const char *file, bool warnings, struct pipeline **pipeline, struct fault *fault)
{
    return load(file, false, warnings, pipeline, fault);
}

enum mp_error pipeline_file_load_tests(const char *file, struct pipeline **pipeline, struct fault *fault)
{
    return load(file, true, false, pipeline, fault);
}

int pipeline_file_exit(const struct fault *fault)
{
    tell("%s", fault_text(fault));
    return fault->code == MP_ERR_INVALID || fault->code == MP_ERR_TOO_LARGE ? EXIT_CONFIG : exit_code_of(fault->code);
}
