#include "pipeline_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

extern char **environ;

void pipeline_rig_open(struct pipeline_rig *rig)
{
    *rig = (struct pipeline_rig){0};
    assert_non_null(getcwd(rig->before, sizeof rig->before));
    folder_make(rig->folder);
    assert_int_equal(chdir(rig->folder), 0);
}

void pipeline_rig_close(struct pipeline_rig *rig)
{
    pipeline_free(rig->pipeline);
    buffer_free(&rig->said);
    assert_int_equal(chdir(rig->before), 0);
    folder_remove(rig->folder);
}

int pipeline_rig_set_up(void **state)
{
    pipeline_rig_open(*state);
    return 0;
}

int pipeline_rig_tear_down(void **state)
{
    pipeline_rig_close(*state);
    return 0;
}

void pipeline_rig_file(const char *name, const char *text, unsigned mode)
{
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    assert_int_not_equal(fputs(text, file), EOF);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(name, mode), 0);
}

enum mp_error pipeline_rig_load_file(struct pipeline_rig *rig, const char *name)
{
    struct pipeline_load_settings settings = {
        .file = name,
        .environment = rig->environment != NULL ? rig->environment : environ,
        .tests = true,
        .commands = rig->commands,
    };
    pipeline_free(rig->pipeline);
    rig->said.size = 0;
    enum mp_error error = pipeline_load(&settings, &rig->pipeline, &rig->said, &rig->fault);
    assert_int_equal(buffer_put_u8(&rig->said, 0), MP_OK);
    assert_true((error == MP_OK) == (rig->pipeline != NULL));
    return error;
}

enum mp_error pipeline_rig_load(struct pipeline_rig *rig, const char *text)
{
    pipeline_rig_file("p.yaml", text, 0644);
    return pipeline_rig_load_file(rig, "p.yaml");
}

const struct pipeline *pipeline_rig_good(struct pipeline_rig *rig, const char *text)
{
    enum mp_error error = pipeline_rig_load(rig, text);
    assert_string_equal((char *)rig->said.data, "");
    assert_int_equal(error, MP_OK);
    return rig->pipeline;
}

void pipeline_rig_says(struct pipeline_rig *rig, const char *text, const char *said)
{
    char first[4096];
    size_t size = strlen(said);
    (void)pipeline_rig_load(rig, text);
    snprintf(first, sizeof first, "%.*s", (int)size, (char *)rig->said.data);
    assert_string_equal(first, said);
    const char *rest = (char *)rig->said.data + strlen(first);
    assert_true(size == 0 ? *rest == '\0' : said[size - 1] == '\n' || *rest == '\n' || *rest == '\0');
}
