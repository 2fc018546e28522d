#include "power.h"

#include "trace/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { REPLIES = 2 * ACTORS };

/* A store that is looked at, and what of the facts was so at MOMENT. */
struct view {
    struct facts *facts;
    size_t moment;
    struct store *store;
    struct engine *engine;
    char *words; /* what is wrong */
    uint64_t messages;
};

static bool wrong(struct view *view, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool wrong(struct view *view, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(view->words, WORDS, format, arguments);
    va_end(arguments);
    return false;
}

/* ---- messages --------------------------------------------------------------------------------------------------- */

/* The publication that RECORD belongs to; NULL: none, or it is altered. */
static struct publication *publication_of(const struct view *view, const struct record *record)
{
    struct facts *facts = view->facts;
    uint64_t producer = record->producer - PRODUCER_BASE, sequence = record->sequence;
    if (producer >= ACTORS || sequence == 0 || sequence > facts->messages_count[producer] ||
        !message_is((unsigned)producer, sequence, record))
        return NULL;
    return &facts->publications[facts->messages[producer][sequence - 1]];
}

/* TOPIC: TOPICS: letters, which may be of any topic, and of several groups. */
static bool see_frame(struct view *view, const char *name, unsigned topic, uint64_t first, const uint8_t *data,
                      size_t size)
{
    struct fault fault = {0};
    struct frame frame;
    struct record record;
    if (frame_open(&frame, data, size, true, &fault))
        return wrong(view, "the frame at offset %llu of %s: %s", (unsigned long long)first, name, fault_text(&fault));
    struct frame_cursor cursor = frame_cursor(&frame);
    for (uint64_t offset = first; frame_next(&cursor, &record); offset++) {
        struct publication *publication = publication_of(view, &record);
        view->messages++;
        if (!publication || publication->sent > view->moment || (topic < TOPICS && publication->topic != topic))
            return wrong(view, "offset %llu of %s is nothing that was sent there, or altered",
                         (unsigned long long)offset, name);
        if (topic == TOPICS)
            continue;
        uint64_t begins = offset - (record.sequence - publication->sequence);
        if (publication->seen++ == 0)
            publication->seen_at = begins;
        if (publication->seen > publication->count || begins != publication->seen_at)
            return wrong(view, "the messages at offset %llu of %s are there twice, or apart",
                         (unsigned long long)begins, name);
    }
    return true;
}

struct topic_row {
    uint32_t id;
    char name[NAME_MAX_BYTES + 1];
};
struct topic_rows {
    struct topic_row items[64];
    unsigned count;
};

static enum mp_error take_topic(void *context, const struct store_topic *topic)
{
    struct topic_rows *rows = context;
    if (rows->count == 64)
        return MP_ERR_TOO_LARGE;
    rows->items[rows->count].id = topic->id;
    snprintf(rows->items[rows->count++].name, sizeof rows->items[0].name, "%s", topic->name);
    return MP_OK;
}

static bool see_topic(struct view *view, const struct topic_row *row)
{
    struct fault fault = {0};
    struct store_frame frame;
    struct blob *blob;
    enum mp_error error = MP_OK;
    unsigned topic = facts_topic(row->name, strlen(row->name));
    for (uint64_t offset = 0; !error; offset = frame.first + frame.count) {
        if ((error = store_read_frame(view->store, row->id, offset, &frame, &blob, &fault)))
            break;
        bool fits = see_frame(view, row->name, topic, frame.first, frame.data, frame.size);
        blob_drop(blob);
        if (!fits)
            return false;
    }
    return error == MP_ERR_NOT_FOUND || wrong(view, "a frame of %s: %s", row->name, fault_text(&fault));
}

static bool see_schedule(struct view *view)
{
    struct fault fault = {0};
    struct store_scheduled row;
    struct blob *blob;
    enum mp_error error;
    for (uint64_t after = 0; !(error = store_next_scheduled(view->store, after, &row, &blob, &fault)); after = row.id) {
        bool fits = see_frame(view, "the schedule", 5, 0, row.data, row.size);
        blob_drop(blob);
        if (!fits)
            return false;
    }
    return error == MP_ERR_NOT_FOUND || wrong(view, "the schedule: %s", fault_text(&fault));
}

/* Whether each group of its topic may have settled OFFSET, so that it was deleted. */
static bool may_be_gone(const struct view *view, const struct topic *topic, uint64_t offset)
{
    for (size_t i = 0; i < topic->groups.count; i++) {
        const struct group *group = topic->groups.items[i];
        if (group->id >= GROUPS || facts_fate(view->facts, group->id, offset)->may_end > view->moment)
            return false;
    }
    return topic->groups.count > 0 && offset < topic->first;
}

static bool check_publication(struct view *view, const struct publication *publication)
{
    const struct topic_plan *plan = &power_topics[publication->topic];
    struct topic *topic = local_topic(local_of(view->engine), plan->name, strlen(plan->name));
    bool known = publication->first != PROTOCOL_SCHEDULED;
    if (publication->seen > 0 && publication->seen < publication->count)
        return wrong(view, "of %u messages that were sent together to %s %u are there", publication->count, plan->name,
                     publication->seen);
    if (publication->acknowledged > view->moment)
        return true;
    if (publication->seen > 0)
        return !known || publication->seen_at == publication->first ||
               wrong(view, "what was acknowledged as offset %llu of %s stands at %llu",
                     (unsigned long long)publication->first, plan->name, (unsigned long long)publication->seen_at);
    if (plan->loose || (topic && plan->may_end && known && publication->first < topic->first) ||
        (topic && !known && topic->first > 0))
        return true;
    if (!known)
        return wrong(view, "messages for %s were acknowledged, and are neither there nor scheduled", plan->name);
    for (uint32_t i = 0; i < publication->count; i++)
        if (!topic || !may_be_gone(view, topic, publication->first + i))
            return wrong(view, "offset %llu of %s was acknowledged, and is not there",
                         (unsigned long long)publication->first + i, plan->name);
    return true;
}

static bool check_messages(struct view *view)
{
    struct facts *facts = view->facts;
    struct fault fault = {0};
    struct topic_rows rows = {.count = 0};
    size_t last = 0;
    for (size_t i = 0; i < facts->publications_count; i++)
        facts->publications[i].seen = 0;
    if (store_each_topic(view->store, take_topic, &rows, &fault))
        return wrong(view, "the topics: %s", fault_text(&fault));
    for (unsigned i = 0; i < rows.count; i++)
        if (!see_topic(view, &rows.items[i]))
            return false;
    if (!see_schedule(view))
        return false;
    for (; last < facts->publications_count && facts->publications[last].sent <= view->moment; last++)
        if (!check_publication(view, &facts->publications[last]))
            return false;
    return true;
}

/* ---- settlements ------------------------------------------------------------------------------------------------ */

static bool is_settled(const struct group *group, uint64_t offset)
{
    struct state_run run;
    return offset < group->states.floor ||
           (states_get(&group->states, offset, &run) && state_is_settled(run.value.state));
}

static bool check_group(struct view *view, const struct group *group)
{
    unsigned topic = facts_topic(group->topic->name, strlen(group->topic->name));
    struct fault fault = {0};
    if (states_check(&group->states, &fault))
        return wrong(view, "group %s on %s: %s", group->name, group->topic->name, fault_text(&fault));
    if (topic == TOPICS || power_topics[topic].loose || group->id >= GROUPS)
        return true;
    for (uint64_t offset = 0; offset < view->facts->fates_count[group->id]; offset++) {
        const struct fate *fate = &view->facts->fates[group->id][offset];
        bool settled = is_settled(group, offset);
        if (fate->ended <= view->moment && !settled)
            return wrong(view, "offset %llu of %s was settled by group %s, which was acknowledged, and waits again",
                         (unsigned long long)offset, group->topic->name, group->name);
        if (settled && fate->may_end > view->moment && !power_topics[topic].may_end)
            return wrong(view, "offset %llu of %s is settled for group %s, and nobody did that",
                         (unsigned long long)offset, group->topic->name, group->name);
    }
    return true;
}

static bool check_groups(struct view *view)
{
    size_t at = 0;
    const struct group *group;
    while ((group = map_next(&local_of(view->engine)->groups, &at)))
        if (!check_group(view, group))
            return false;
    return true;
}

/* ---- the relay that comes after --------------------------------------------------------------------------------- */

struct answer {
    uint32_t id;
    struct buffer bytes;
    struct protocol_reply reply;
};

struct successor {
    struct look *look;
    struct view view;
    struct core *core;
    uint64_t random;
    struct answer answers[REPLIES];
    unsigned answers_count;
};

static uint64_t random_bits(void *context)
{
    struct successor *successor = context;
    return random_next(&successor->random);
}

static void take_answer(void *context, uint64_t connection, const uint32_t *ids, unsigned ids_count,
                        const struct server_part *parts, unsigned count)
{
    struct successor *successor = context;
    (void)connection;
    if (ids_count != 1 || successor->answers_count == REPLIES)
        abort();
    struct answer *answer = &successor->answers[successor->answers_count++];
    *answer = (struct answer){.id = ids[0]};
    for (unsigned i = 0; i < count; i++) {
        if (buffer_append(&answer->bytes, parts[i].data, parts[i].size))
            abort();
        if (parts[i].release)
            parts[i].release(parts[i].owner);
    }
    if (protocol_read_reply(answer->bytes.data, answer->bytes.size, &answer->reply))
        abort();
}

/* What the life had last said when it was cut off. */
static const struct mark *mark_before(const struct facts *facts, size_t moment)
{
    size_t low = 0, high = facts->marks_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (facts->marks[middle].at <= moment)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? &facts->marks[low - 1] : NULL;
}

/* Whether the rows are those of a commit that was acknowledged last, or of one that was under way. */
static bool check_state(struct successor *successor)
{
    struct look *look = successor->look;
    const struct facts *facts = &look->life->facts;
    const struct mark *mark = mark_before(facts, look->moment);
    size_t first = mark ? mark->states - 1 : 0;
    enum mp_error error;
    uint64_t digest = life_digest(disk_connection(), &error);
    if (error)
        return wrong(&successor->view, "the rows cannot be read: %s", sqlite3_errmsg(disk_connection()));
    for (size_t i = first; i < facts->states_count; i++) {
        look->state = i;
        if (facts->states[i].digest == digest)
            return true;
        if (facts->states[i].at >= look->moment)
            break;
    }
    for (size_t i = 0; i < first; i++)
        if (facts->states[i].digest == digest)
            return wrong(&successor->view, "the store is as it was %zu commits before what was acknowledged",
                         first - i);
    return facts_are_in_doubt(facts, look->moment) ||
           wrong(&successor->view, "the store is as it never was between two commits");
}

/* The last request of a lane that was sent before the cut; NULL. */
static const struct deed *last_deed(const struct facts *facts, unsigned actor, unsigned lane, size_t moment)
{
    for (size_t i = facts->deeds_count[actor][lane]; i-- > 0;)
        if (facts->deeds[actor][lane][i].sent <= moment)
            return &facts->deeds[actor][lane][i];
    return NULL;
}

static bool check_answer(struct successor *successor, const struct answer *answer, const struct deed *deed,
                         unsigned lane)
{
    struct view *view = &successor->view;
    uint64_t result = 0;
    uint32_t applied = 0, count = 0, duplicates;
    bool was_acknowledged = deed->acknowledged <= view->moment;
    if (!was_acknowledged && (answer->reply.status == MP_ERR_STALE || answer->reply.status == MP_ERR_FULL))
        return true;
    if (answer->reply.status != MP_OK)
        return wrong(view, "number %llu of lane %u, %s, is answered when it is sent again: %s",
                     (unsigned long long)deed->number, lane,
                     was_acknowledged ? "which was acknowledged" : "which had had no answer",
                     mp_error_text(answer->reply.status));
    if (lane == PROTOCOL_LANE_PUBLISH) {
        if (protocol_read_published(&answer->reply, &result, &count, &duplicates))
            abort();
    } else {
        if (protocol_read_settled(&answer->reply, &applied, &count))
            abort();
        result = applied;
    }
    if (was_acknowledged && result != deed->result)
        return wrong(view, "number %llu of lane %u was answered with %llu, and when it is repeated with %llu",
                     (unsigned long long)deed->number, lane, (unsigned long long)deed->result,
                     (unsigned long long)result);
    if (was_acknowledged || deed->publication == 0)
        return true;
    const struct publication *publication = &view->facts->publications[deed->publication - 1];
    if (publication->seen != publication->count && !power_topics[publication->topic].may_end)
        return wrong(view, "what was sent again to %s and acknowledged is not there",
                     power_topics[publication->topic].name);
    return true;
}

/* Clients send again what had no answer, and the last that had one. */
static bool go_on(struct successor *successor, const struct moment *now)
{
    struct look *look = successor->look;
    struct facts *facts = &look->life->facts;
    const struct deed *deeds[ACTORS * 2 + 1] = {NULL};
    for (uint32_t id = 1; id <= ACTORS * 2; id++) {
        const struct deed *deed = last_deed(facts, (id - 1) / 2, (id - 1) % 2, look->moment);
        struct buffer copy = {0};
        if (!(deeds[id] = deed))
            continue;
        if (buffer_append(&copy, deed->bytes.data, deed->bytes.size))
            abort();
        core_submit(successor->core, id, &id, 1, blob_of_buffer(&copy));
    }
    core_turn(successor->core, *now);
    if (!check_messages(&successor->view) || !check_groups(&successor->view))
        return false;
    for (unsigned i = 0; i < successor->answers_count; i++) {
        const struct answer *answer = &successor->answers[i];
        look->repeats++;
        if (!check_answer(successor, answer, deeds[answer->id], (answer->id - 1) % 2))
            return false;
    }
    for (uint32_t id = 1; id <= ACTORS * 2; id++) {
        bool answered = !deeds[id];
        for (unsigned i = 0; i < successor->answers_count; i++)
            answered = answered || successor->answers[i].id == id;
        if (!answered)
            return wrong(&successor->view, "a request that is sent again has no answer");
    }
    return true;
}

static bool begin_again(struct successor *successor)
{
    struct look *look = successor->look;
    const struct mark *mark = mark_before(&look->life->facts, look->moment);
    struct moment now = {.monotonic = 50 * SECOND, .boot = successor->random | 1};
    struct engine_local_settings local = look->life->local;
    struct core_settings settings = look->life->settings;
    struct fault fault = {0};
    now.wall = (mark ? mark->now.wall : look->life->now.wall) + 100 * MILLISECOND;
    settings.context = successor;
    settings.random = random_bits;
    settings.reply = take_answer;
    settings.trouble = NULL;
    if (engine_local_open(successor->view.store, &local, &successor->view.engine, &fault))
        abort();
    if (core_new(successor->view.engine, &settings, now, &successor->core, &fault))
        return wrong(&successor->view, "the relay does not start: %s", fault_text(&fault));
    if (!check_messages(&successor->view) || !check_groups(&successor->view) || !check_state(successor))
        return false;
    if (!look->go_on)
        return true;
    if (!go_on(successor, &now))
        return false;
    if (look->moment % 2 == 0)
        core_rest(successor->core, now);
    return true;
}

static bool check_audit(struct successor *successor)
{
    struct look *look = successor->look;
    struct store *store;
    struct fault fault = {0};
    struct audit_report report;
    struct audit_settings settings = {.now = look->life->now};
    if (store_open_reader(look->path, &store, &fault))
        return wrong(&successor->view, "the store cannot be read: %s", fault_text(&fault));
    memset(&report, 0, sizeof report);
    enum mp_error error = audit_run(store, &settings, &report, &fault);
    bool good = !error && report.found == 0;
    if (error)
        wrong(&successor->view, "the audit ends: %s", fault_text(&fault));
    else if (!good)
        wrong(&successor->view, "the audit finds %llu things: %s", (unsigned long long)report.found,
              report.findings_count > 0 ? report.findings[0].words : "");
    audit_free(&report);
    store_close(store);
    return good;
}

/*
 * What the store's log is on this disk, as a file beside the store's: there the relay reads it before SQLite does
 * (store/wal.h), and must not take what a cut has left for damage.
 */
static bool show_log(const struct look *look)
{
    char name[PATH_ROOM + 8];
    int inode = look->disk->names[DISK_LOG];
    snprintf(name, sizeof name, "%s-wal", look->path);
    if (inode == DISK_NONE)
        return unlink(name) == 0 || errno == ENOENT;
    const struct disk_inode *log = &look->disk->inodes[inode];
    int file = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool done = file >= 0 && write(file, log->data, log->size) == (ssize_t)log->size;
    if (file >= 0)
        close(file);
    return done;
}

bool look_at(struct look *look)
{
    struct successor successor = {.look = look, .random = look->moment + 1};
    struct fault fault = {0};
    successor.view = (struct view){.facts = &look->life->facts, .moment = look->moment, .words = look->words};
    look->words[0] = '\0';
    disk_use(look->disk);
    if (!show_log(look))
        return wrong(&successor.view, "the log cannot be written beside %s", look->path);
    if (store_open(look->path, &successor.view.store, &fault))
        return wrong(&successor.view, "the store does not open: %s", fault_text(&fault));
    bool good = begin_again(&successor);
    core_free(successor.core);
    store_close(successor.view.store);
    for (unsigned i = 0; i < successor.answers_count; i++)
        buffer_free(&successor.answers[i].bytes);
    look->messages += successor.view.messages;
    return good && check_audit(&successor);
}

bool look_inside(struct life *life)
{
    struct view view = {.facts = &life->facts,
                        .moment = life->disk.steps_count,
                        .store = life->store,
                        .engine = life->engine,
                        .words = life->wrong};
    return life->wrong[0] == '\0' && check_messages(&view) && check_groups(&view);
}
