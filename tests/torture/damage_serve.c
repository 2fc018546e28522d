/* A damaged store, opened as a relay opens it, read by readers and consumed by its groups. */
#include "damage.h"

#include "../unit/sessionless.h"

#include "message/frame.h"
#include "queue/engine.h"
#include "store/store.h"
#include "trace/audit.h"

#include <stdlib.h>
#include <string.h>

enum { SESSION = 9 };

/* A store that is being served. */
struct serving {
    struct damage_trial *trial;
    const struct sound *sound;
    struct engine *engine;
    struct moment now;
    struct fault fault;
    uint64_t fetches, settles;
    struct engine_deliveries given;
    bool told;    /* a turn failed: clients are told to send again, and the log says why */
    bool altered; /* something was given that never was sent so */
    uint64_t silent;
    char first_silent[128];
};

uint64_t audit_store(const char *path, char words[FAULT_TEXT])
{
    const struct audit_settings settings = {.now = clock_moment()};
    struct audit_report report = {0};
    struct fault fault = {0};
    struct store *store;
    words[0] = '\0';
    enum mp_error error = store_open_reader(path, &store, &fault);
    if (error) {
        snprintf(words, FAULT_TEXT, "%s", fault_text(&fault));
        return UINT64_MAX;
    }
    error = audit_run(store, &settings, &report, &fault);
    uint64_t found = error ? UINT64_MAX : report.found;
    if (error)
        snprintf(words, FAULT_TEXT, "%s", fault_text(&fault));
    else if (report.findings_count > 0)
        snprintf(words, FAULT_TEXT, "%s: %.300s", audit_kind_name(report.findings[0].kind), report.findings[0].words);
    audit_free(&report);
    store_close(store);
    return found;
}

/* ---- turns -------------------------------------------------------------------------------------------------------- */

/* False: the turn failed, and whoever asked is told so. */
static bool turn_ends(struct serving *serving, enum mp_error error)
{
    const struct engine_operations *engine = serving->engine->operations;
    if (!error)
        error = engine->tick(serving->engine, &serving->fault);
    if (!error && engine->changed(serving->engine))
        error = engine->commit(serving->engine, sessionless_snapshot, NULL, &serving->fault);
    if (error)
        serving->told = true;
    return !error;
}

static void begin(struct serving *serving)
{
    serving->now.monotonic += 1000;
    serving->engine->operations->begin(serving->engine, serving->now);
}

/* ---- what is given ------------------------------------------------------------------------------------------------ */

static const struct sound_topic *topic_named(const struct sound *sound, const char *name)
{
    for (size_t i = 0; i < sound->topics_count; i++)
        if (strcmp(sound->topics[i].name, name) == 0)
            return &sound->topics[i];
    return NULL;
}

/* Looks at each message of what was given, and notes its offset in SEEN, which begins at FIRST and ends before END. */
static void look_at(struct serving *serving, const struct engine_delivery *delivery, uint8_t *seen, uint64_t first,
                    uint64_t end)
{
    const struct sound_topic *topic = topic_named(serving->sound, delivery->name);
    struct frame frame;
    struct record record;
    struct fault fault = {0};
    if (!delivery->blob)
        return;
    if (!topic || frame_open(&frame, delivery->data, delivery->size, true, &fault)) {
        trial_found(serving->trial, "a frame was given that cannot be opened: %s", fault_text(&fault));
        return;
    }
    struct frame_cursor cursor = frame_cursor(&frame);
    for (uint32_t i = 0; i < delivery->span; i++) {
        uint64_t offset = delivery->first + i;
        if (delivery->mask && !(delivery->mask[i / 8] >> i % 8 & 1))
            continue;
        if (!frame_next(&cursor, &record) || !sound_fits(topic, offset, &record)) {
            trial_found(serving->trial, "message %llu of topic %s was given altered", (unsigned long long)offset,
                        topic->name);
            return;
        }
        if (offset >= first && offset < end)
            seen[offset - first] = 1;
    }
}

static void note_silent(struct serving *serving, const char *who, const char *topic, uint64_t offset)
{
    if (serving->silent++ == 0)
        snprintf(serving->first_silent, sizeof serving->first_silent, "%s: offset %llu of topic %s", who,
                 (unsigned long long)offset, topic);
}

/* ---- readers ------------------------------------------------------------------------------------------------------ */

/* Reads on from NEXT. False: there is nothing more. DAMAGED at NEXT passes the frame that was there. */
static bool read_on(struct serving *serving, struct engine_subscription *reader, const struct sound_topic *topic,
                    uint8_t *seen, uint64_t *next)
{
    const struct engine_operations *engine = serving->engine->operations;
    const struct engine_limits limits = {.bytes = 1 << 20, .chunks = 64, .sets = true};
    engine_deliveries_clear(&serving->given);
    begin(serving);
    enum mp_error error = engine->read(serving->engine, reader, NULL, 0, ENGINE_FROM_OFFSET, *next, &limits,
                                       &serving->given, &serving->fault);
    if (error == MP_ERR_DAMAGED) {
        const struct sound_frame *frame = sound_frame_at(serving->sound, topic->id, *next);
        uint64_t end = frame ? frame->first + frame->count : *next + 1;
        for (; *next < end && *next < topic->end; ++*next)
            seen[*next - topic->first] = 1; /* it was told */
        serving->trial->counts.told++;
        return *next < topic->end;
    }
    if (error) {
        serving->told = true;
        return false;
    }
    uint64_t before = *next;
    for (size_t i = 0; i < serving->given.count; i++) {
        const struct engine_delivery *delivery = &serving->given.items[i];
        look_at(serving, delivery, seen, topic->first, topic->end);
        if (delivery->first + delivery->span > *next)
            *next = delivery->first + delivery->span;
    }
    return *next > before && *next < topic->end;
}

static void read_topic(struct serving *serving, const struct sound_topic *topic)
{
    const struct engine_operations *engine = serving->engine->operations;
    struct engine_subscription *reader = NULL;
    uint8_t *seen = calloc((size_t)(topic->end - topic->first) + 1, 1);
    uint64_t next = topic->first;
    if (!seen)
        trial_give_up("no memory");
    begin(serving);
    enum mp_error error = engine->subscribe(serving->engine, topic->name, strlen(topic->name), false, "", 0, SESSION,
                                            ENGINE_FROM_DEFAULT, 0, &reader, &serving->fault);
    while (!error && read_on(serving, reader, topic, seen, &next))
        continue;
    if (!error)
        engine->forget(serving->engine, reader);
    for (uint64_t offset = topic->first; !serving->told && offset < topic->end; offset++)
        if (!seen[offset - topic->first])
            note_silent(serving, "a reader", topic->name, offset);
    free(seen);
}

/* ---- groups ------------------------------------------------------------------------------------------------------- */

static bool settle_all(struct serving *serving, uint64_t fetch)
{
    struct engine_origin origin = {.session = SESSION, .number = ++serving->settles, .lane = ENGINE_LANE_SETTLE};
    enum mp_error error = MP_OK;
    begin(serving);
    for (size_t i = 0; !error && i < serving->given.count; i++) {
        const struct engine_delivery *delivery = &serving->given.items[i];
        struct engine_settlement settlement = {.group = delivery->group,
                                               .lease = fetch,
                                               .first = delivery->first,
                                               .count = delivery->count,
                                               .span = delivery->span,
                                               .action = ENGINE_ACK,
                                               .exit_code = -1};
        uint32_t applied;
        error = serving->engine->operations->settle(serving->engine, &origin, &settlement, &applied, &serving->fault);
    }
    return turn_ends(serving, error);
}

/* One fetch and its settlement. False: nothing more, or the group is told of damage. */
static bool consume_on(struct serving *serving, const struct sound_group *group, uint8_t *seen, bool *blocked)
{
    const struct engine_operations *engine = serving->engine->operations;
    const struct engine_limits limits = {.bytes = 1 << 20, .chunks = 64, .sets = true};
    struct engine_origin origin = {.session = SESSION, .number = ++serving->fetches, .lane = ENGINE_LANE_FETCH};
    struct engine_subscription *subscription;
    engine_deliveries_clear(&serving->given);
    begin(serving);
    enum mp_error error =
        engine->subscribe(serving->engine, group->topic_name, strlen(group->topic_name), false, group->name,
                          strlen(group->name), SESSION, ENGINE_FROM_DEFAULT, 0, &subscription, &serving->fault);
    if (!error)
        error = engine->grant(serving->engine, subscription, &origin, &limits, 30000, &serving->given, &serving->fault);
    if (error == MP_ERR_DAMAGED && serving->given.messages == 0) {
        *blocked = true;
        serving->trial->counts.told++;
        return false;
    }
    if (!turn_ends(serving, error))
        return false;
    for (size_t i = 0; i < serving->given.count; i++)
        look_at(serving, &serving->given.items[i], seen, group->first, group->end);
    return serving->given.messages > 0 && settle_all(serving, origin.number);
}

static void consume_group(struct serving *serving, const struct sound_group *group)
{
    uint8_t *seen = calloc((size_t)(group->end - group->first) + 1, 1);
    bool blocked = false;
    if (!seen)
        trial_give_up("no memory");
    while (consume_on(serving, group, seen, &blocked))
        continue;
    for (uint64_t offset = group->first; !serving->told && !blocked && offset < group->end; offset++)
        if (group->open[offset - group->first] && !seen[offset - group->first])
            note_silent(serving, group->name, group->topic_name, offset);
    free(seen);
}

/* ---- all of it ---------------------------------------------------------------------------------------------------- */

static void note_refusal(struct damage_trial *trial, enum mp_error error, const struct fault *fault)
{
    trial->counts.refused++;
    bool clear = error == MP_ERR_DAMAGED || error == MP_ERR_VERSION;
    if (!clear || !strstr(fault->text, "store.db"))
        trial_found(trial, "refused, but not in clear words: %s (%s)", fault_text(fault), mp_error_text(error));
}

static bool open_engine(struct serving *serving, const char *path)
{
    struct store *store;
    enum mp_error error = store_open(path, &store, &serving->fault);
    if (!error)
        error = engine_local_open(store, NULL, &serving->engine, &serving->fault);
    if (!error)
        error = serving->engine->operations->load(serving->engine, serving->now, &sessionless_load, &serving->fault);
    if (error)
        note_refusal(serving->trial, error, &serving->fault);
    return !error;
}

/* Whether what is missing is told elsewhere: by the audit, or by the log, whose end is not whole. */
static bool is_told(struct serving *serving, const char *copy)
{
    char words[FAULT_TEXT];
    if (audit_store(copy, words) > 0) {
        serving->trial->counts.red++;
        return true;
    }
    /* A log that ends earlier, at the end of a turn or in the middle of one, is what a crash leaves. */
    bool in_log = serving->trial->hits_count > 0 && serving->trial->hits[0].file == 1;
    if (in_log && !serving->sound->index) {
        serving->trial->counts.earlier++;
        return true;
    }
    return false;
}

void serve_damaged(struct damage_trial *trial, const struct sound *sound, const char *path)
{
    struct serving serving = {.trial = trial, .sound = sound, .now = clock_moment()};
    char copy[PATH_BYTES + 32];
    snprintf(copy, sizeof copy, "%s.audited", path);
    trial_copy(path, copy, sound->index);
    serving.now.boot = 2;
    serving.now.wall += INT64_C(600) * 1000000;
    if (open_engine(&serving, path)) {
        trial->counts.served++;
        serving.now.monotonic += INT64_C(600) * 1000000;
        begin(&serving);
        turn_ends(&serving, MP_OK);
        for (size_t i = 0; !serving.told && i < sound->topics_count; i++)
            read_topic(&serving, &sound->topics[i]);
        for (size_t i = 0; !serving.told && i < sound->groups_count; i++)
            consume_group(&serving, &sound->groups[i]);
        if (serving.silent > 0 && !is_told(&serving, copy))
            trial_found(trial, "%llu messages are missing without a word, first for %s",
                        (unsigned long long)serving.silent, serving.first_silent);
    }
    engine_deliveries_free(&serving.given);
    if (serving.engine)
        serving.engine->operations->close(serving.engine);
    trial_remove(copy);
}
