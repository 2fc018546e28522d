#include "cli/pipeline_check.h"

#include "cli/exit.h"
#include "cli/output.h"
#include "pipeline/pipeline.h"

#include <stdio.h>
#include <unistd.h>

extern char **environ;

static int print_schema(void)
{
    struct buffer schema = {0};
    struct fault fault = {0};
    enum mp_error error = pipeline_schema(&schema);
    if (error == MP_OK)
        error = output_write(STDOUT_FILENO, schema.data, schema.size, &fault);
    else
        fault_memory(&fault);
    buffer_free(&schema);
    if (error == MP_ERR_CLOSED)
        return exit_by_pipe();
    return error == MP_OK ? EXIT_DONE : tell_fault(&fault);
}

/* "2 stages": COUNT of something, whose name ends in an s. */
static void count(struct buffer *out, size_t number, const char *name)
{
    if (number > 0)
        (void)buffer_append_format(out, "%s%zu %s%s", out->size > 0 ? ", " : "", number, name, number == 1 ? "" : "s");
}

/* For people alone: what is good needs no words in a script. */
static void tell_good(const struct pipeline *pipeline)
{
    struct buffer parts = {0};
    size_t sinks = 0;
    if (!output_is_terminal(STDERR_FILENO))
        return;
    for (size_t i = 0; i < pipeline->stages_count; i++)
        sinks += pipeline->stages[i].sink;
    count(&parts, pipeline->sources_count, "source");
    count(&parts, pipeline->topics_count, "topic");
    count(&parts, pipeline->stages_count - sinks, "stage");
    count(&parts, sinks, "sink");
    count(&parts, pipeline->tests_count, "test");
    fprintf(stderr, "%s: good: %.*s\n", pipeline->file, (int)parts.size, parts.size > 0 ? (char *)parts.data : "");
    buffer_free(&parts);
}

static int check_file(const char *file)
{
    struct pipeline_load_settings settings = {
        .file = file, .environment = environ, .tests = true, .commands = true, .colour = output_colour(STDERR_FILENO)};
    struct pipeline *pipeline;
    struct buffer said = {0};
    struct fault fault = {0}, ignored = {0};
    enum mp_error error = pipeline_load(&settings, &pipeline, &said, &fault);
    if (said.size > 0)
        (void)output_write(STDERR_FILENO, said.data, said.size, &ignored);
    buffer_free(&said);
    if (error == MP_OK) {
        tell_good(pipeline);
        pipeline_free(pipeline);
        return EXIT_DONE;
    }
    tell("%s", fault.text);
    return error == MP_ERR_INVALID || error == MP_ERR_TOO_LARGE ? EXIT_CONFIG
           : error == MP_ERR_MEMORY                             ? exit_code_of(error)
                                                                : EXIT_NO_INPUT;
}

int pipeline_check(const struct pipeline_check_settings *settings)
{
    int code = EXIT_DONE;
    if (settings->schema)
        return print_schema();
    for (size_t i = 0; i < settings->files_count; i++) {
        int one = check_file(settings->files[i]);
        if (code == EXIT_DONE || one == EXIT_NO_INPUT)
            code = one;
    }
    return code;
}
