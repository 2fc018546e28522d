#include "relay/rebuild.h"

#include "base/path.h"
#include "queue/engine.h"
#include "relay/core.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Nobody is greeted, so there is nothing to be secret about. */
static uint64_t no_random(void *context)
{
    (void)context;
    return 1;
}

static void no_reply(void *context, uint64_t connection, const uint32_t *ids, unsigned ids_count,
                     const struct server_part *parts, unsigned count)
{
    (void)context;
    (void)connection;
    (void)ids;
    (void)ids_count;
    for (unsigned i = 0; i < count; i++)
        if (parts[i].release)
            parts[i].release(parts[i].owner);
}

struct ending {
    struct fault *fault;
};

static void on_trouble(void *context, enum mp_error error, const char *text)
{
    const struct ending *ending = context;
    if (error)
        fault_set(ending->fault, error, "%s", text);
}

static void on_problem(void *context, uint32_t topic, uint32_t group, uint64_t offset, const char *words)
{
    (void)topic;
    (void)group;
    (void)offset;
    struct recover_report *report = context;
    const struct recover_loss loss = {.topic = "", .group = "", .words = words};
    report->losses++;
    if (report->loss)
        report->loss(report->context, &loss);
}

/* A relay's own start and end: groups and sessions are brought up to the last event, and saved. */
static enum mp_error bring_up(struct store *store, struct moment now, struct recover_report *report,
                              struct fault *fault)
{
    const struct engine_local_settings settings = {.mend = true,
                                                   .problem = on_problem,
                                                   .problem_context = report,
                                                   .trace_age = INT64_MAX / 4,
                                                   .trace_bytes = UINT64_MAX / 4};
    struct ending ending = {fault};
    const struct core_settings relay = {.name = "salvage",
                                        .version = "",
                                        .context = &ending,
                                        .random = no_random,
                                        .reply = no_reply,
                                        .trouble = on_trouble};
    struct engine *engine;
    struct core *core;
    enum mp_error error = engine_local_open(store, &settings, &engine, fault);
    if (error || (error = core_new(engine, &relay, now, &core, fault)))
        return error;
    core_rest(core, now);
    core_free(core);
    return fault->code;
}

/* Looks once more, as a relay would at its start, which refuses what does not fit. */
static enum mp_error try_start(const char *path, struct moment now, struct fault *fault)
{
    const struct core_settings relay = {.name = "salvage", .version = "", .random = no_random, .reply = no_reply};
    struct store *store;
    struct engine *engine;
    struct core *core;
    enum mp_error error = store_open(path, &store, fault);
    if (error || (error = engine_local_open(store, NULL, &engine, fault)) ||
        (error = core_new(engine, &relay, now, &core, fault)))
        return error;
    core_free(core);
    return MP_OK;
}

static void remove_with(const char *path, const char *ending)
{
    char name[PATH_BYTES + 16];
    snprintf(name, sizeof name, "%s%s", path, ending);
    unlink(name);
}

/* The new store, in a file of its own beside TO. */
static enum mp_error build(struct salvage *salvage, const char *name, struct moment now, struct recover_report *report,
                           struct fault *fault)
{
    struct store *store;
    enum mp_error error = store_open(name, &store, fault);
    if (error)
        return error;
    error = recover_rows(salvage, store, report, fault);
    if (error) {
        store_close(store);
        return error;
    }
    if ((error = bring_up(store, now, report, fault)) || (error = try_start(name, now, fault)))
        return error;
    return store_verify(name, fault);
}

enum mp_error rebuild_store(const char *from, const char *to, struct moment now, store_progress *progress,
                            void *context, struct recover_report *report, struct salvage_figures *figures,
                            struct fault *fault)
{
    char name[PATH_BYTES];
    struct stat status;
    struct salvage *salvage;
    if (lstat(to, &status) == 0)
        return fault_set(fault, MP_ERR_EXISTS, "%s is there: name a file that is not", to);
    enum mp_error error = salvage_open(from, progress, context, &salvage, fault);
    if (error)
        return error;
    if (figures)
        *figures = *salvage_figures(salvage);
    if ((error = path_make_beside(to, name, fault))) {
        salvage_close(salvage);
        return error;
    }
    error = build(salvage, name, now, report, fault);
    salvage_close(salvage);
    if (!error && link(name, to) != 0) /* not over one that somebody has made meanwhile */
        error = fault_system(fault, errno == EEXIST ? MP_ERR_EXISTS : MP_ERR_IO, errno, "cannot write %s", to);
    unlink(name);
    remove_with(name, "-wal");
    remove_with(name, "-shm");
    remove_with(name, ".lock");
    return error ? error : path_flush_directory(to, fault);
}
