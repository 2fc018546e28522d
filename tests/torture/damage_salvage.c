/* A damaged store, salvaged, and what is in the new one. */
#include "damage.h"

#include "message/frame.h"
#include "queue/examine.h"
#include "relay/rebuild.h"
#include "store/store.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { LOSSES = 4096 };

/* What the salvage said that is missing. */
struct told {
    struct {
        char topic[NAME_BYTES];
        uint64_t first, end;
    } ranges[LOSSES];
    size_t count;
    bool groups, topics; /* rows of these */
    bool other;
};

static void on_loss(void *context, const struct recover_loss *loss)
{
    struct told *told = context;
    told->groups |= strstr(loss->words, "of groups") != NULL || loss->group[0] != '\0';
    told->topics |= strstr(loss->words, "of topics") != NULL;
    told->other |= loss->count == 0;
    if (loss->count == 0 || told->count == LOSSES)
        return;
    snprintf(told->ranges[told->count].topic, NAME_BYTES, "%s", loss->topic);
    told->ranges[told->count].first = loss->first;
    told->ranges[told->count++].end = loss->first + loss->count;
}

static bool is_told(const struct told *told, const char *topic, uint64_t offset)
{
    for (size_t i = 0; i < told->count; i++)
        if (strcmp(told->ranges[i].topic, topic) == 0 && offset >= told->ranges[i].first &&
            offset < told->ranges[i].end)
            return true;
    return false;
}

struct looking {
    struct damage_trial *trial;
    const struct sound *sound;
    struct store *store;
    const struct told *told;
    struct fault fault;
};

static const struct sound_topic *topic_of(const struct sound *sound, uint32_t id)
{
    for (size_t i = 0; i < sound->topics_count; i++)
        if (sound->topics[i].id == id)
            return &sound->topics[i];
    return NULL;
}

/* ---- frames ------------------------------------------------------------------------------------------------------- */

/* Whether the new store has FRAME as it was. */
static bool has_frame(struct looking *looking, const struct sound_frame *frame)
{
    struct store_frame row;
    struct blob *blob;
    if (store_read_frame(looking->store, frame->topic, frame->first, &row, &blob, &looking->fault))
        return false;
    bool same = row.first == frame->first && row.count == frame->count && row.target != STORE_LOST &&
                XXH3_64bits(row.data, row.size) == frame->hash;
    blob_drop(blob);
    return same;
}

/* What stands in the new store is what was sent. */
static void look_at_frames(struct looking *looking, const struct sound_topic *topic)
{
    uint64_t offset = 0;
    struct store_frame row;
    struct blob *blob;
    while (!store_read_frame(looking->store, topic->id, offset, &row, &blob, &looking->fault)) {
        struct frame frame;
        struct record record;
        bool good = frame_open(&frame, row.data, row.size, true, &looking->fault) == MP_OK;
        struct frame_cursor cursor = frame_cursor(&frame);
        for (uint64_t at = row.first; good && row.target != STORE_LOST && frame_next(&cursor, &record); at++)
            good = sound_fits(topic, at, &record);
        if (!good)
            trial_found(looking->trial, "the salvaged frame at offset %llu of topic %s is not as it was sent",
                        (unsigned long long)row.first, topic->name);
        offset = row.first + row.count;
        blob_drop(blob);
    }
}

static void look_at_losses(struct looking *looking)
{
    struct damage_trial *trial = looking->trial;
    for (size_t i = 0; i < looking->sound->frames_count; i++) {
        const struct sound_frame *frame = &looking->sound->frames[i];
        const struct sound_topic *topic = topic_of(looking->sound, frame->topic);
        bool touched = is_touched(trial, frame), there = has_frame(looking, frame);
        trial->counts.untouched += touched ? 0 : frame->count;
        trial->counts.messages += there ? frame->count : 0;
        trial->counts.lost += there ? 0 : frame->count;
        if (!there && !touched)
            trial_found(trial, "%u messages at offset %llu of topic %s were not hit and not salvaged", frame->count,
                        (unsigned long long)frame->first, topic->name);
        if (there || topic == NULL || frame->first + frame->count <= topic->first)
            continue;
        if (!trial->cut && !looking->told->topics && !looking->told->other &&
            !is_told(looking->told, topic->name, frame->first > topic->first ? frame->first : topic->first))
            trial_found(trial, "offset %llu of topic %s is lost, and the salvage does not say so",
                        (unsigned long long)frame->first, topic->name);
    }
}

/* ---- groups ------------------------------------------------------------------------------------------------------- */

static void look_at_group(struct looking *looking, const struct examination *examination,
                          const struct sound_group *group)
{
    struct examined_group now;
    if (!examine_find_group(examination, group->topic_name, strlen(group->topic_name), group->name, strlen(group->name),
                            &now)) {
        if (!looking->told->groups && !looking->told->topics && !looking->trial->cut)
            trial_found(looking->trial, "group %s of topic %s is lost, and the salvage does not say so", group->name,
                        group->topic_name);
        return;
    }
    for (uint64_t offset = group->first; offset < group->end && offset < now.topic_end; offset++) {
        struct state_run run;
        bool settled =
            offset < now.states->floor || (states_get(now.states, offset, &run) && state_is_settled(run.value.state));
        if (settled && group->open[offset - group->first]) {
            trial_found(looking->trial, "group %s passes over offset %llu of topic %s, which it had not settled",
                        group->name, (unsigned long long)offset, group->topic_name);
            return;
        }
    }
}

static void look_at_groups(struct looking *looking)
{
    struct examination *examination;
    if (examine_open(looking->store, clock_moment(), NULL, NULL, &examination, &looking->fault)) {
        trial_found(looking->trial, "the salvaged store cannot be looked at: %s", fault_text(&looking->fault));
        return;
    }
    for (size_t i = 0; i < looking->sound->groups_count; i++)
        look_at_group(looking, examination, &looking->sound->groups[i]);
    examine_close(examination);
}

/* ---- all of it ---------------------------------------------------------------------------------------------------- */

static void look_at_new(struct looking *looking, const char *path)
{
    char words[FAULT_TEXT];
    uint64_t found = audit_store(path, words);
    /* A group whose states are lost, and told so, is given again what has a letter already. */
    bool again = looking->told->other && strstr(words, "a dead letter of") != NULL;
    if (found > 0 && !again)
        trial_found(looking->trial, "the audit of the salvaged store: %s", words);
    if (store_open_reader(path, &looking->store, &looking->fault)) {
        trial_found(looking->trial, "the salvaged store cannot be opened: %s", fault_text(&looking->fault));
        return;
    }
    look_at_losses(looking);
    for (size_t i = 0; i < looking->sound->topics_count; i++)
        look_at_frames(looking, &looking->sound->topics[i]);
    look_at_groups(looking);
    store_close(looking->store);
}

void salvage_damaged(struct damage_trial *trial, const struct sound *sound, const char *path)
{
    static struct told told;
    char made[PATH_BYTES + 32];
    struct looking looking = {.trial = trial, .sound = sound, .told = &told};
    struct recover_report report = {.loss = on_loss, .context = &told};
    memset(&told, 0, sizeof told);
    snprintf(made, sizeof made, "%s/salvaged.db", trial->folder);
    trial_remove(made);
    enum mp_error error = rebuild_store(path, made, clock_moment(), NULL, NULL, &report, NULL, &looking.fault);
    if (error) {
        uint64_t untouched = 0;
        for (size_t i = 0; i < sound->frames_count; i++)
            untouched += !is_touched(trial, &sound->frames[i]);
        if (error != MP_ERR_DAMAGED || untouched > 0)
            trial_found(trial, "not salvaged: %s", fault_text(&looking.fault));
        return;
    }
    trial->counts.salvaged++;
    trial->counts.whole += report.losses == 0;
    look_at_new(&looking, made);
    trial_remove(made);
}
