/* The sound store of the damage trial: made by the engine, as a relay would, and looked at row by row. */
#include "damage.h"

#include "../unit/sessionless.h"

#include "message/frame.h"
#include "queue/engine.h"
#include "queue/examine.h"
#include "store/salvage_private.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#define SECOND INT64_C(1000000)
#define DUE (INT64_C(7000000000) * SECOND) /* in the year 2191 */

/* What makes the store. */
struct maker {
    struct engine *engine;
    struct fault fault;
    struct moment now;
    uint64_t numbers[3]; /* of session 1, by lane */
    uint64_t sequence;
    struct engine_deliveries given;
};

/* ---- bodies ------------------------------------------------------------------------------------------------------- */

size_t sound_body(char letter, uint64_t offset, char *bytes)
{
    size_t size = (size_t)snprintf(bytes, 64, "%c%llu.", letter, (unsigned long long)offset);
    size_t whole = letter == 'c' ? 20000 + (size_t)(offset * 7919 % 100000) : 20 + (size_t)(offset % 60);
    while (size < whole) {
        bytes[size] = (char)('a' + (offset * 31 + size * 7 + size / 251) % 26);
        size++;
    }
    return size;
}

bool sound_fits(const struct sound_topic *topic, uint64_t offset, const struct record *record)
{
    static char bytes[BODY_MOST];
    char text[32] = "", *end;
    size_t some = record->size < sizeof text - 1 ? record->size : sizeof text - 1;
    memcpy(text, record->body, some);
    if (some == 0)
        return false;
    uint64_t number = strtoull(text + 1, &end, 10);
    if (*end != '.' || (!topic->letters && (number != offset || text[0] != topic->name[0])))
        return false;
    size_t size = sound_body(text[0], number, bytes);
    return size == record->size && memcmp(bytes, record->body, size) == 0;
}

const struct sound_frame *sound_frame_at(const struct sound *sound, uint32_t topic, uint64_t offset)
{
    for (size_t i = 0; i < sound->frames_count; i++)
        if (sound->frames[i].topic == topic && offset - sound->frames[i].first < sound->frames[i].count)
            return &sound->frames[i];
    return NULL;
}

/* ---- making ------------------------------------------------------------------------------------------------------- */

static void must(struct maker *maker, enum mp_error error, const char *what)
{
    if (error)
        trial_give_up("cannot make the store: %s: %s", what, fault_text(&maker->fault));
}

static enum mp_error save_sessions(void *context)
{
    struct maker *maker = context;
    struct engine_session session = {.id = 1, .created = maker->now.wall, .used = maker->now.wall};
    memcpy(session.numbers, maker->numbers, sizeof session.numbers);
    return maker->engine->operations->put_session(maker->engine, &session, &maker->fault);
}

static void begin(struct maker *maker)
{
    maker->now.monotonic += SECOND / 100;
    maker->now.wall += SECOND / 100;
    maker->engine->operations->begin(maker->engine, maker->now);
}

static void commit(struct maker *maker)
{
    must(maker, maker->engine->operations->tick(maker->engine, &maker->fault), "tick");
    must(maker, maker->engine->operations->commit(maker->engine, save_sessions, maker, &maker->fault), "commit");
}

static void open_engine(struct maker *maker, const char *path)
{
    const struct engine_local_settings settings = {.snapshot_every = 40};
    struct store *store;
    must(maker, store_open(path, &store, &maker->fault), "open");
    must(maker, engine_local_open(store, &settings, &maker->engine, &maker->fault), "open");
    must(maker, maker->engine->operations->load(maker->engine, maker->now, &sessionless_load, &maker->fault), "load");
}

/* Publishes COUNT messages to TOPIC from offset FIRST on, in one frame; DUE: relay time, or 0. */
static void publish(struct maker *maker, const char *topic, uint64_t first, unsigned count, int64_t due)
{
    static char bytes[BODY_MOST];
    struct frame_builder builder = {0};
    struct frame frame;
    uint64_t offset;
    uint32_t duplicates;
    must(maker, frame_begin(&builder, 77, maker->sequence += 100000), "frame");
    for (unsigned i = 0; i < count; i++)
        must(maker, frame_add(&builder, bytes, sound_body(topic[0], first + i, bytes), NULL, 0), "frame");
    frame_finish(&builder, maker->now.wall);
    struct blob *blob = blob_of_buffer(&builder.bytes);
    must(maker, blob ? MP_OK : MP_ERR_MEMORY, "frame");
    must(maker, frame_open(&frame, blob->data, blob->size, true, &maker->fault), "frame");
    struct engine_publication publication = {
        .topic = topic, .topic_size = strlen(topic), .target = "", .due = due, .frame = &frame, .blob = blob};
    struct engine_origin origin = {.session = 1, .number = ++maker->numbers[0], .lane = ENGINE_LANE_PUBLISH};
    begin(maker);
    must(maker,
         maker->engine->operations->publish(maker->engine, &publication, &origin, &offset, &duplicates, &maker->fault),
         "publish");
    commit(maker);
    blob_drop(blob);
    if (due == 0 && offset != first)
        trial_give_up("cannot make the store: offset %llu of %s is %llu", (unsigned long long)first, topic,
                      (unsigned long long)offset);
}

static struct engine_subscription *subscribe(struct maker *maker, const char *topic, const char *group)
{
    struct engine_subscription *subscription = NULL;
    must(maker,
         maker->engine->operations->subscribe(maker->engine, topic, strlen(topic), false, group, strlen(group), 1,
                                              ENGINE_FROM_DEFAULT, 0, &subscription, &maker->fault),
         "subscribe");
    return subscription;
}

static void make_group(struct maker *maker, const char *topic, const char *group)
{
    begin(maker);
    subscribe(maker, topic, group);
    commit(maker);
}

/* Has GROUP take COUNT messages, and does ACTION to SHARE of three parts of what it was given. */
static void consume(struct maker *maker, const char *topic, const char *group, uint32_t count,
                    enum engine_action action, unsigned share)
{
    const struct engine_limits limits = {.messages = count, .bytes = 8 << 20, .chunks = 100, .sets = true};
    struct engine_origin fetch = {.session = 1, .number = ++maker->numbers[2], .lane = ENGINE_LANE_FETCH};
    begin(maker);
    must(maker,
         maker->engine->operations->grant(maker->engine, subscribe(maker, topic, group), &fetch, &limits, 30000,
                                          &maker->given, &maker->fault),
         "grant");
    commit(maker);
    begin(maker);
    struct engine_origin settle = {.session = 1, .number = ++maker->numbers[1], .lane = ENGINE_LANE_SETTLE};
    for (size_t i = 0; i < maker->given.count; i++) {
        const struct engine_delivery *delivery = &maker->given.items[i];
        uint32_t applied;
        struct engine_settlement settlement = {.group = delivery->group,
                                               .lease = fetch.number,
                                               .first = delivery->first,
                                               .count = (delivery->span * share + 2) / 3,
                                               .action = action,
                                               .delay = 60000,
                                               .exit_code = 1};
        must(maker, maker->engine->operations->settle(maker->engine, &settle, &settlement, &applied, &maker->fault),
             "settle");
    }
    commit(maker);
    engine_deliveries_clear(&maker->given);
}

static void make_first_part(struct maker *maker)
{
    static const char *const groups[][2] = {{"a", "one"}, {"a", "two"}, {"b", "one"}, {"c", "one"}, {"d", "one"}};
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        make_group(maker, groups[i][0], groups[i][1]);
    for (unsigned i = 0; i < 20; i++) {
        publish(maker, "a", i * 100, 100, 0);
        publish(maker, "b", i * 2, 1, 0);
        publish(maker, "b", i * 2 + 1, 1, 0);
        if (i % 2 == 0)
            publish(maker, "c", i, 2, 0);
        publish(maker, "e", i * 30, 30, 0);
        consume(maker, "a", "one", 70, ENGINE_ACK, i % 4 == 0 ? 2 : 3);
        if (i % 5 == 1)
            consume(maker, "a", "two", 40, i % 2 ? ENGINE_DEAD : ENGINE_RETRY, 1);
    }
    consume(maker, "b", "one", 9, ENGINE_ACK, 3);
}

static void make_last_part(struct maker *maker)
{
    for (unsigned i = 0; i < 15; i++) {
        publish(maker, "a", 2000 + i * 40, 40, 0);
        publish(maker, "d", i * 5, 5, 0);
        consume(maker, "a", "two", 50, ENGINE_ACK, 2 + i % 2);
        if (i % 3 == 0)
            publish(maker, "c", 20 + i / 3, 1, 0);
        if (i % 4 == 0)
            publish(maker, "b", 0, 1, DUE);
    }
    consume(maker, "c", "one", 3, ENGINE_ACK, 3);
    consume(maker, "d", "one", 20, ENGINE_ACK, 2);
}

/* ---- learning ----------------------------------------------------------------------------------------------------- */

static void add_range(struct sound_frame *frame, place at, uint64_t size)
{
    struct range *ranges = realloc(frame->ranges, (frame->ranges_count + 1) * sizeof *ranges);
    if (!ranges)
        trial_give_up("no memory");
    frame->ranges = ranges;
    ranges[frame->ranges_count++] = (struct range){(unsigned)(at & 1), at >> 1, (at >> 1) + size};
}

/* The bytes that the frame of FOUND stands on: its cell, and its pages of overflow with what the log says of them. */
static void learn_ranges(const struct salvage *salvage, const struct found *found, struct sound_frame *frame)
{
    uint8_t page[STORE_PAGE];
    struct cell cell;
    if (!salvage_read(salvage, found->page, page) || !cell_parse(page, found->at, SALVAGE_FRAMES, &cell))
        trial_give_up("the sound store cannot be read");
    add_range(frame, found->page + ((place)found->at << 1), cell.size);
    if (found->page & 1)
        add_range(frame, found->page - ((place)WAL_PAGE_HEADER << 1), WAL_PAGE_HEADER);
    uint64_t left = cell.payload - cell.local_size;
    for (uint32_t next = cell.overflow; left > 0; next = salvage_u32(page)) {
        place at = next <= salvage->pages ? salvage->current[next] : NO_PLACE;
        if (next == 0 || !salvage_read(salvage, at, page))
            trial_give_up("the sound store cannot be read");
        uint64_t part = left < STORE_PAGE - 4 ? left : STORE_PAGE - 4;
        add_range(frame, at, part + 4);
        if (at & 1)
            add_range(frame, at - ((place)WAL_PAGE_HEADER << 1), WAL_PAGE_HEADER);
        left -= part;
    }
}

struct learning {
    struct sound *sound;
    struct salvage *salvage;
};

static enum mp_error learn_frame(void *context, const struct salvage_row *row)
{
    const struct learning *learning = context;
    struct sound *sound = learning->sound;
    struct salvage_row whole;
    struct sound_frame *frames = realloc(sound->frames, (sound->frames_count + 1) * sizeof *frames);
    if (!frames || !salvage_whole(learning->salvage, row->handle, &whole))
        trial_give_up("the sound store cannot be read");
    sound->frames = frames;
    struct sound_frame *frame = &frames[sound->frames_count++];
    *frame = (struct sound_frame){.topic = whole.of.frame.topic,
                                  .first = whole.of.frame.first,
                                  .count = whole.of.frame.count,
                                  .hash = XXH3_64bits(whole.of.frame.data, whole.of.frame.size)};
    sound->messages += frame->count;
    learn_ranges(learning->salvage, &learning->salvage->found[row->handle], frame);
    return MP_OK;
}

static enum mp_error learn_topic(void *context, const struct examined_topic *row)
{
    struct sound *sound = context;
    struct sound_topic *topic = &sound->topics[sound->topics_count++];
    if (sound->topics_count > TOPICS)
        trial_give_up("more topics than there is room for");
    *topic = (struct sound_topic){.id = row->id, .letters = row->letters, .first = row->first, .end = row->end};
    snprintf(topic->name, sizeof topic->name, "%s", row->name);
    return MP_OK;
}

static enum mp_error learn_group(void *context, const struct examined_group *row)
{
    struct sound *sound = context;
    struct sound_group *group = &sound->groups[sound->groups_count++];
    if (sound->groups_count > GROUPS)
        trial_give_up("more groups than there is room for");
    *group = (struct sound_group){.topic = row->topic, .first = row->start, .end = row->topic_end};
    snprintf(group->topic_name, sizeof group->topic_name, "%s", row->topic_name);
    snprintf(group->name, sizeof group->name, "%s", row->name);
    group->open = calloc((size_t)(group->end - group->first) + 1, 1);
    for (uint64_t offset = row->states->floor; group->open && offset < group->end; offset++) {
        struct state_run run;
        group->open[offset - group->first] =
            !states_get(row->states, offset, &run) || !state_is_settled(run.value.state);
    }
    return group->open ? MP_OK : MP_ERR_MEMORY;
}

static void learn(struct sound *sound, struct moment now)
{
    struct fault fault = {0};
    struct learning learning = {.sound = sound};
    struct store *store;
    struct examination *examination;
    struct stat status;
    char name[PATH_BYTES + 32];
    snprintf(name, sizeof name, "%s-wal", sound->path);
    if (stat(sound->path, &status) == 0)
        sound->sizes[0] = (uint64_t)status.st_size;
    if (stat(name, &status) == 0)
        sound->sizes[1] = (uint64_t)status.st_size;
    if (salvage_open(sound->path, NULL, NULL, &learning.salvage, &fault) ||
        salvage_each(learning.salvage, SALVAGE_FRAMES, SALVAGE_LIVE, learn_frame, &learning, &fault))
        trial_give_up("cannot learn the store: %s", fault_text(&fault));
    salvage_close(learning.salvage);
    char copy[PATH_BYTES + 32];
    snprintf(copy, sizeof copy, "%s.copy", sound->path);
    trial_copy(sound->path, copy, false);
    if (store_open_reader(copy, &store, &fault) || examine_open(store, now, NULL, NULL, &examination, &fault) ||
        examine_each_topic(examination, learn_topic, sound) || examine_each_group(examination, learn_group, sound))
        trial_give_up("cannot learn the store: %s", fault_text(&fault));
    examine_close(examination);
    store_close(store);
    trial_remove(copy);
}

/* Three of them: as a kill leaves it, the same without the shared index (as power that failed), and at rest. */
void sound_make(struct damage_trial *trial)
{
    char path[PATH_BYTES + 32];
    struct maker maker = {.now = {.monotonic = 1000 * SECOND, .wall = 1700000000 * SECOND, .boot = 1}};
    for (unsigned i = 0; i < 3; i++)
        snprintf(trial->sounds[i].path, sizeof trial->sounds[i].path, "%.480s/sound%u.db", trial->folder, i);
    snprintf(path, sizeof path, "%s/made.db", trial->folder);
    open_engine(&maker, path);
    make_first_part(&maker);
    maker.engine->operations->close(maker.engine);
    open_engine(&maker, path);
    make_last_part(&maker);
    trial_copy(path, trial->sounds[0].path, true);
    trial_copy(path, trial->sounds[1].path, false);
    trial->sounds[0].index = true;
    begin(&maker);
    must(&maker, maker.engine->operations->rest(maker.engine, &maker.fault), "rest");
    commit(&maker);
    maker.engine->operations->close(maker.engine);
    trial_copy(path, trial->sounds[2].path, false);
    engine_deliveries_free(&maker.given);
    for (unsigned i = 0; i < 3; i++)
        learn(&trial->sounds[i], maker.now);
    trial_remove(path);
}
