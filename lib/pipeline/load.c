#include "pipeline/load.h"

#include "base/memory.h"
#include "pipeline/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* What pipeline_load() gives, and the memory of it all. */
struct loaded {
    struct pipeline pipeline;
    struct arena arena;
};

void pipeline_free(struct pipeline *pipeline)
{
    struct loaded *loaded = (struct loaded *)(void *)pipeline;
    if (loaded == NULL)
        return;
    arena_free(&loaded->arena);
    memory_release(loaded);
}

/* ---- where the file is ------------------------------------------------------------------------------------------ */

/* The folder of FILE, from the root on. */
static enum mp_error find_folder(struct load *load, const char *file, struct fault *fault)
{
    const char *slash = strcmp(file, "-") == 0 ? NULL : strrchr(file, '/');
    char *here = NULL;
    size_t size = slash == NULL ? 0 : slash == file ? 1 : (size_t)(slash - file);
    if (size > 0 && file[0] == '/') {
        load->folder = load_copy(load, file, size);
        return load->no_memory ? fault_memory(fault) : MP_OK;
    }
    here = getcwd(NULL, 0);
    if (here == NULL)
        return fault_system(fault, MP_ERR_IO, errno, "cannot tell the current directory");
    if (size == 0) {
        load->folder = load_copy(load, here, strlen(here));
    } else {
        const char *relative = load_copy(load, file, size);
        load->folder = relative != NULL ? read_path(load, here, relative) : NULL;
    }
    free(here);
    return load->no_memory ? fault_memory(fault) : MP_OK;
}

/* orders_test.yaml for orders.yaml; NULL: the file has no such name. */
static const char *tests_file(struct load *load)
{
    const char *file = load->settings->file;
    size_t size = strlen(file), ending = 0;
    if (size > 5 && strcmp(file + size - 5, ".yaml") == 0)
        ending = 5;
    else if (size > 4 && strcmp(file + size - 4, ".yml") == 0)
        ending = 4;
    if (ending == 0)
        return NULL;
    char *name = load_allocate(load, size + sizeof "_test", 1);
    if (name != NULL)
        snprintf(name, size + sizeof "_test", "%.*s_test%s", (int)(size - ending), file, file + size - ending);
    return name;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

/* Reads a file by the keys of MAPPING; mistakes go to the diagnostics. */
static enum mp_error read_file(struct load *load, const struct mapping *mapping, struct source *source,
                               struct fault *fault)
{
    struct yaml *root;
    size_t before = load->diagnostics->errors;
    load->file = source->name;
    enum mp_error error = yaml_read(load->arena, source, load->diagnostics, &root);
    if (error != MP_OK)
        return fault_memory(fault);
    struct pipeline_place whole = {.file = source->number};
    if (root == NULL && load->diagnostics->errors == before)
        diagnose_error(load->diagnostics, &whole,
                       "the file is empty: a pipeline has topics, stages, sources, sinks: see mpipeline(5)");
    if (root == NULL)
        return MP_OK;
    if (root->kind != YAML_MAPPING)
        diagnose_error(load->diagnostics, &root->place, "%s is a mapping, as topics: {orders.new: {}}, here is %s",
                       mapping->what, yaml_words(root));
    else
        read_mapping(load, mapping, &(struct yaml_pair){.key.text = "", .value = *root}, load->pipeline);
    return load->no_memory ? fault_memory(fault) : MP_OK;
}

static enum mp_error read_tests(struct load *load, struct source *source, struct fault *fault)
{
    const char *file = load->settings->tests ? tests_file(load) : NULL;
    if (file == NULL || access(file, F_OK) != 0)
        return load->no_memory ? fault_memory(fault) : MP_OK;
    enum mp_error error = source_read(load->arena, file, source, fault);
    if (error != MP_OK)
        return error;
    source->number = 1;
    load->diagnostics->sources[1] = source;
    return read_file(load, &test_file_mapping, source, fault);
}

/* Stages stand before sinks, whatever the order of the file. */
static void sort_stages(struct load *load)
{
    struct pipeline *pipeline = load->pipeline;
    struct pipeline_stage *sorted = load_allocate(load, pipeline->stages_count, sizeof *sorted);
    size_t count = 0;
    for (int sinks = 0; sinks < 2 && sorted != NULL; sinks++)
        for (size_t i = 0; i < pipeline->stages_count; i++)
            if (pipeline->stages[i].sink == (sinks == 1))
                sorted[count++] = pipeline->stages[i];
    pipeline->stages = sorted;
}

static enum mp_error read_all(struct load *load, struct source sources[DIAGNOSE_FILES], struct fault *fault)
{
    enum mp_error error = find_folder(load, load->settings->file, fault);
    const struct pipeline_load_settings *settings = load->settings;
    if (error == MP_OK && settings->text != NULL)
        error = source_take(load->arena, settings->file, settings->text, settings->size, &sources[0], fault);
    else if (error == MP_OK)
        error = source_read(load->arena, settings->file, &sources[0], fault);
    if (error != MP_OK)
        return error;
    load->diagnostics->sources[0] = &sources[0];
    error = read_file(load, &pipeline_mapping, &sources[0], fault);
    if (error == MP_OK)
        error = read_tests(load, &sources[1], fault);
    if (error != MP_OK)
        return error;
    sort_stages(load);
    return load->no_memory ? fault_memory(fault) : MP_OK;
}

static void check_all(struct load *load)
{
    check_topics(load);
    check_graph(load);
    check_addresses(load);
    check_tests(load);
    check_steps(load);
    if (load->settings->commands)
        check_commands(load);
}

static enum mp_error load_all(struct load *load, struct buffer *diagnostics, struct fault *fault)
{
    struct diagnostics *found = load->diagnostics;
    struct source sources[DIAGNOSE_FILES] = {0};
    enum mp_error error = read_all(load, sources, fault);
    if (error != MP_OK)
        return error;
    load->pipeline->file = sources[0].name;
    if (sources[0].size > 0 && found->sources[0] != NULL)
        check_all(load);
    if (load->no_memory || diagnose_print(found, load->settings->colour, diagnostics))
        return fault_memory(fault);
    if (found->errors > 0)
        return fault_set(fault, MP_ERR_INVALID, "%s: %zu mistake%s", sources[0].name, found->errors,
                         found->errors == 1 ? "" : "s");
    return MP_OK;
}

enum mp_error pipeline_load(const struct pipeline_load_settings *settings, struct pipeline **pipeline,
                            struct buffer *diagnostics, struct fault *fault)
{
    *pipeline = NULL;
    struct loaded *loaded = memory_allocate(sizeof *loaded);
    if (loaded == NULL)
        return fault_memory(fault);
    struct diagnostics found = {.arena = &loaded->arena};
    struct load load = {
        .settings = settings, .arena = &loaded->arena, .diagnostics = &found, .pipeline = &loaded->pipeline};
    loaded->pipeline.name = "default";
    loaded->pipeline.strict = true;
    enum mp_error error = load_all(&load, diagnostics, fault);
    map_free(&load.topics);
    if (error != MP_OK)
        pipeline_free(&loaded->pipeline);
    else
        *pipeline = &loaded->pipeline;
    return error;
}
