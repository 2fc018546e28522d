#include "queue/recover_private.h"

#include "queue/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COMMIT_BYTES = 32 * 1024 * 1024, ROW_BYTES = 64 };

struct recovered_number {
    int64_t value;
    char name[];
};

void recover_tell(struct recovery *recovery, const struct recover_loss *loss)
{
    struct recover_report *report = recovery->report;
    report->losses++;
    if (report->loss)
        report->loss(report->context, loss);
}

/* Something that is not about messages. */
static void tell_words(struct recovery *recovery, const char *words)
{
    const struct recover_loss loss = {.topic = "", .group = "", .words = words};
    recover_tell(recovery, &loss);
}

enum mp_error recover_wrote(struct recovery *recovery, size_t bytes)
{
    enum mp_error error = MP_OK;
    recovery->unwritten += bytes + ROW_BYTES;
    if (recovery->unwritten < COMMIT_BYTES)
        return MP_OK;
    recovery->unwritten = 0;
    if ((error = store_commit(recovery->store, recovery->fault)))
        return error;
    return store_begin(recovery->store, recovery->fault);
}

/* ---- numbers -------------------------------------------------------------------------------------------------- */

bool recover_number(const struct recovery *recovery, const char *name, int64_t *value)
{
    const struct recovered_number *number = map_get(&recovery->numbers, name, strlen(name));
    if (number)
        *value = number->value;
    return number != NULL;
}

static enum mp_error take_number(void *context, const struct salvage_row *row)
{
    struct recovery *recovery = context;
    const char *name = row->of.number.name;
    size_t size = strlen(name);
    struct recovered_number *number = malloc(sizeof *number + size + 1);
    if (!number)
        return MP_ERR_MEMORY;
    number->value = row->of.number.value;
    memcpy(number->name, name, size + 1);
    return map_put(&recovery->numbers, number->name, size, number);
}

/* What the new store says by itself, or what the recovery finds better. */
static bool is_left_out(const char *name)
{
    static const char *const names[] = {"event_bytes", "sampled_event", STORE_EVENTS_FIRST, "scheduled",
                                        "topics_made", "groups_made",   "patterns_made"};
    if (strncmp(name, "rows_", 5) == 0)
        return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static enum mp_error write_numbers(struct recovery *recovery)
{
    enum mp_error error = MP_OK;
    const struct recovered_number *number;
    size_t at = 0;
    while (!error && (number = map_next(&recovery->numbers, &at)))
        if (!is_left_out(number->name))
            error = store_put_number(recovery->store, number->name, number->value, recovery->fault);
    return error;
}

/* The highest number that was ever given out: what is known of it, or what is used. */
static enum mp_error write_made(struct recovery *recovery, const char *name, uint32_t used)
{
    int64_t made = 0;
    recover_number(recovery, name, &made);
    if (made < used)
        made = used;
    return store_put_number(recovery->store, name, made, recovery->fault);
}

/* ---- which rows are taken --------------------------------------------------------------------------------------- */

struct sum {
    uint64_t sum;
};

static enum mp_error add_row(void *context, const struct salvage_row *row)
{
    struct sum *sum = context;
    sum->sum += store_digest_share(row->checksum);
    return MP_OK;
}

static void tell_rows(struct recovery *recovery, enum salvage_table table, uint64_t missing)
{
    char words[FAULT_TEXT];
    snprintf(words, sizeof words, "%llu rows of %s are missing or damaged", (unsigned long long)missing,
             salvage_table_name(table));
    tell_words(recovery, words);
}

/*
 * Where a number says what the rows of a table add up to, it tells whether those that lie where they belong are all, or
 * with those that pages do not name any more. Then no other is taken: it would be one that was deleted.
 */
static enum mp_error judge_table(struct recovery *recovery, enum salvage_table table)
{
    const struct salvage_figures *figures = salvage_figures(recovery->salvage);
    char name[24];
    int64_t written = 0;
    struct sum sum = {0};
    snprintf(name, sizeof name, "rows_%s", salvage_table_name(table));
    bool known = recover_number(recovery, name, &written);
    bool sound = false;
    for (enum salvage_rank rank = SALVAGE_LIVE; !sound && rank >= SALVAGE_EARLIER; rank--) {
        sum.sum = 0;
        enum mp_error error = salvage_each(recovery->salvage, table, rank, add_row, &sum, recovery->fault);
        if (error)
            return error;
        sound = known ? sum.sum == (uint64_t)written
                      : rank == SALVAGE_LIVE && figures->damaged[table] == 0 && figures->nothing == 0;
        recovery->least[table] = rank;
    }
    recovery->complete[table] = sound;
    if (sound)
        return MP_OK;
    uint64_t missing = known ? store_digest_rows((uint64_t)written - sum.sum) : figures->damaged[table];
    tell_rows(recovery, table, missing > 0 ? missing : 1);
    return MP_OK;
}

static enum mp_error judge_tables(struct recovery *recovery)
{
    static const enum salvage_table summed[] = {SALVAGE_TOPICS, SALVAGE_PATTERNS, SALVAGE_GROUPS, SALVAGE_SESSIONS,
                                                SALVAGE_BLOCKS, SALVAGE_SCHEDULE, SALVAGE_HASHES};
    enum mp_error error = MP_OK;
    for (unsigned i = 0; i < SALVAGE_TABLES; i++)
        recovery->least[i] = SALVAGE_EARLIER;
    for (size_t i = 0; !error && i < sizeof summed / sizeof *summed; i++)
        error = judge_table(recovery, summed[i]);
    recovery->least[SALVAGE_FRAMES] = SALVAGE_HURT;
    return error;
}

/* ---- topics ----------------------------------------------------------------------------------------------------- */

static bool has_name(const struct recovery *recovery, const char *name)
{
    const struct recovered_topic *topic;
    size_t at = 0;
    while ((topic = map_next(&recovery->topics, &at)))
        if (strcmp(topic->name, name) == 0)
            return true;
    return false;
}

static struct recovered_topic *add_topic(struct recovery *recovery, uint32_t id, const char *name)
{
    struct recovered_topic *topic = calloc(1, sizeof *topic);
    if (!topic)
        return NULL;
    topic->id = id;
    topic->needed = UINT64_MAX;
    if (name && strlen(name) <= NAME_MAX_BYTES && !has_name(recovery, name))
        memcpy(topic->name, name, strlen(name) + 1);
    else
        snprintf(topic->name, sizeof topic->name, "salvaged.%u", id);
    if (map_put(&recovery->topics, &topic->id, sizeof topic->id, topic)) {
        free(topic);
        return NULL;
    }
    if (id > recovery->topics_most)
        recovery->topics_most = id;
    return topic;
}

static enum mp_error take_topic(void *context, const struct salvage_row *row)
{
    struct recovery *recovery = context;
    struct recovered_topic *topic = add_topic(recovery, row->of.topic.id, row->of.topic.name);
    if (!topic)
        return MP_ERR_MEMORY;
    topic->known = true;
    topic->first = row->of.topic.first;
    topic->end = topic->saved_end = row->of.topic.end;
    return MP_OK;
}

struct recovered_topic *recover_topic(struct recovery *recovery, uint32_t id, enum mp_error *error)
{
    struct recovered_topic *topic = map_get(&recovery->topics, &id, sizeof id);
    if (topic || recovery->complete[SALVAGE_TOPICS] || id == 0 || id >= UINT32_C(1) << 19)
        return topic;
    if (!(topic = add_topic(recovery, id, NULL))) {
        *error = MP_ERR_MEMORY;
        return NULL;
    }
    topic->first = UINT64_MAX; /* until its frames tell */
    const struct recover_loss loss = {.topic = topic->name,
                                      .group = "",
                                      .words = "the row of the topic is lost, and with it its name and its settings"};
    recover_tell(recovery, &loss);
    return topic;
}

static enum mp_error write_topics(struct recovery *recovery)
{
    enum mp_error error = MP_OK;
    struct recovered_topic *topic;
    size_t at = 0;
    while (!error && (topic = map_next(&recovery->topics, &at)))
        if (!topic->known)
            error = recover_write_topic(recovery, topic, NULL);
    return error;
}

static enum mp_error write_known_topic(void *context, const struct salvage_row *row)
{
    struct recovery *recovery = context;
    struct recovered_topic *topic = map_get(&recovery->topics, &row->of.topic.id, sizeof row->of.topic.id);
    struct store_topic known = row->of.topic;
    return topic ? recover_write_topic(recovery, topic, &known) : MP_OK;
}

/* ---- what is as it was ------------------------------------------------------------------------------------------ */

static enum mp_error write_pattern(void *context, const struct salvage_row *row)
{
    struct recovery *recovery = context;
    recovery->report->patterns++;
    if (row->of.pattern.id > recovery->patterns_most)
        recovery->patterns_most = row->of.pattern.id;
    enum mp_error error = store_put_pattern(recovery->store, &row->of.pattern, recovery->fault);
    uint32_t *id = error ? NULL : malloc(sizeof *id);
    if (!id)
        return error ? error : MP_ERR_MEMORY;
    *id = row->of.pattern.id;
    return map_put(&recovery->patterns, id, sizeof *id, id);
}

enum mp_error recover_applied(struct recovery *recovery, uint64_t session, uint64_t request, uint64_t result,
                              uint32_t count)
{
    unsigned lane = (unsigned)(request >> 62);
    uint64_t number = request & (UINT64_MAX >> 2);
    if (session == 0 || number == 0 || lane >= 3)
        return MP_OK;
    struct recovered_session *found = map_make(&recovery->sessions, &session, sizeof session, sizeof *found);
    if (!found)
        return MP_ERR_MEMORY;
    if (number < found->numbers[lane])
        return MP_OK;
    found->numbers[lane] = number;
    found->results[lane] = lane == 1 ? count : result;
    found->counts[lane] = lane == 1 ? 0 : count;
    return MP_OK;
}

/* A row that is an earlier one knows less than the frames and events do. */
static enum mp_error write_session(void *context, const struct salvage_row *row)
{
    struct recovery *recovery = context;
    struct store_session session = row->of.session;
    const struct recovered_session *found = map_get(&recovery->sessions, &session.id, sizeof session.id);
    for (unsigned lane = 0; found && lane < 3; lane++) {
        if (found->numbers[lane] <= session.numbers[lane])
            continue;
        session.numbers[lane] = found->numbers[lane];
        session.results[lane] = found->results[lane];
        session.counts[lane] = found->counts[lane];
    }
    recovery->report->sessions++;
    return store_put_session(recovery->store, &session, recovery->fault);
}

static enum mp_error write_hashes(void *context, const struct salvage_row *row)
{
    struct recovery *recovery = context;
    const struct store_hashes *hashes = &row->of.hashes;
    const struct recovered_topic *topic = map_get(&recovery->topics, &hashes->topic, sizeof hashes->topic);
    if (!topic || recover_is_lost(topic, hashes->first, hashes->count))
        return MP_OK; /* left over from a topic that was deleted; or what is lost may be sent again */
    recovery->report->hashes++;
    enum mp_error error = store_add_hashes(recovery->store, hashes, recovery->fault);
    return error ? error : recover_wrote(recovery, (size_t)hashes->count * STORE_HASH);
}

struct schedule {
    struct recovery *recovery;
    uint64_t messages;
};

/* One that does not lie where it belongs may have been published since: only what was not due then is taken. */
static enum mp_error write_scheduled(void *context, const struct salvage_row *row)
{
    struct schedule *schedule = context;
    struct recovery *recovery = schedule->recovery;
    struct salvage_row whole;
    if (row->rank != SALVAGE_LIVE && !recovery->complete[SALVAGE_SCHEDULE] && row->of.scheduled.due <= recovery->latest)
        return MP_OK;
    enum mp_error error = MP_OK;
    if (!recover_topic(recovery, row->of.scheduled.topic, &error) ||
        !salvage_whole(recovery->salvage, row->handle, &whole))
        return error;
    struct store_scheduled scheduled = whole.of.scheduled;
    if ((error = recover_applied(recovery, scheduled.session, scheduled.request, ENGINE_SCHEDULED, scheduled.count)))
        return error;
    schedule->messages += scheduled.count;
    recovery->report->scheduled++;
    error = store_add_scheduled(recovery->store, &scheduled, recovery->fault);
    return error ? error : recover_wrote(recovery, scheduled.size);
}

static enum mp_error write_schedule(struct recovery *recovery)
{
    struct schedule schedule = {.recovery = recovery};
    enum mp_error error = salvage_each(recovery->salvage, SALVAGE_SCHEDULE, recovery->least[SALVAGE_SCHEDULE],
                                       write_scheduled, &schedule, recovery->fault);
    return error ? error : store_put_number(recovery->store, "scheduled", (int64_t)schedule.messages, recovery->fault);
}

/* ---- events ----------------------------------------------------------------------------------------------------- */

struct events {
    struct recovery *recovery;
    uint64_t first, last; /* ids */
    uint64_t gaps;        /* that are missing in between */
    uint64_t bytes;       /* of those that the snapshot contains */
    uint64_t snapshot;
    uint64_t since; /* missing behind the snapshot */
};

static enum mp_error write_event(void *context, const struct salvage_row *row)
{
    struct events *events = context;
    struct recovery *recovery = events->recovery;
    const struct store_event *event = &row->of.event;
    if (event->id < events->first)
        return MP_OK; /* it was deleted */
    if (events->last == 0 && event->id > events->first && event->id > 1) {
        events->gaps += event->id - (events->first > 0 ? events->first : 1);
        events->first = event->id;
    }
    if (events->last > 0 && event->id != events->last + 1) {
        uint64_t missing = event->id - events->last - 1;
        events->gaps += missing;
        if (event->id > events->snapshot)
            events->since += event->id - 1 - (events->last > events->snapshot ? events->last : events->snapshot);
    }
    events->last = event->id;
    if (event->id <= events->snapshot)
        events->bytes += STORE_EVENT_BYTES + event->mask_size + event->note_size;
    recovery->report->events++;
    enum mp_error error = MP_OK;
    if (event->kind != EVENT_PUBLISHED)
        error = recover_applied(recovery, event->session, event->request,
                                event->kind == EVENT_LEASED ? event->first : 0, event->count);
    if (!error)
        error = store_add_event(recovery->store, event, recovery->fault);
    return error ? error : recover_wrote(recovery, event->mask_size + event->note_size);
}

/* Which events there may be gaps in: all of them, as where traces are a sample. */
static enum mp_error write_gaps(struct recovery *recovery, const struct events *events)
{
    char words[FAULT_TEXT];
    uint64_t last = events->last > events->snapshot ? events->last : events->snapshot;
    snprintf(words, sizeof words, "%llu events are missing%s", (unsigned long long)events->gaps,
             events->since > 0 ? ", so groups may be given messages again" : ": traces have gaps");
    tell_words(recovery, words);
    enum mp_error error = store_put_number(recovery->store, "sampled_event", (int64_t)last, recovery->fault);
    return error ? error : store_put_number(recovery->store, STORE_UNTRACED, 1, recovery->fault);
}

/* Those that are missing behind all that there are: what the snapshot tells of, or what is there and damaged. */
static void count_last(struct events *events)
{
    uint64_t gone = salvage_figures(events->recovery->salvage)->gone[SALVAGE_EVENTS];
    if (events->last < events->snapshot)
        events->gaps += events->snapshot - events->last;
    if (events->gaps == 0)
        events->gaps = events->since = gone;
}

static enum mp_error write_events(struct recovery *recovery)
{
    int64_t first = 0, snapshot = 0, sampled = 0;
    recover_number(recovery, STORE_EVENTS_FIRST, &first);
    recover_number(recovery, "snapshot_event", &snapshot);
    bool sample = recover_number(recovery, "sampled_event", &sampled);
    struct events events = {.recovery = recovery, .first = (uint64_t)first, .snapshot = (uint64_t)snapshot};
    enum mp_error error = salvage_each(recovery->salvage, SALVAGE_EVENTS, recovery->least[SALVAGE_EVENTS], write_event,
                                       &events, recovery->fault);
    if (!error)
        error = store_put_number(recovery->store, "event_bytes", (int64_t)events.bytes, recovery->fault);
    if (!error && events.first > 0)
        error = store_put_number(recovery->store, STORE_EVENTS_FIRST, (int64_t)events.first, recovery->fault);
    if (!error && events.last > 0)
        count_last(&events);
    if (!error && events.last == 0 && snapshot > 0) {
        events.gaps = (uint64_t)(snapshot - first) + 1;
        error = store_put_number(recovery->store, STORE_EVENTS_FIRST, snapshot + 1, recovery->fault);
    }
    if (!error && events.gaps > 0 && (!sample || salvage_figures(recovery->salvage)->damaged[SALVAGE_EVENTS] > 0))
        return write_gaps(recovery, &events);
    if (!error && sample)
        error = store_put_number(recovery->store, "sampled_event", sampled, recovery->fault);
    return error;
}

/* ---- all of it -------------------------------------------------------------------------------------------------- */

static enum mp_error each(struct recovery *recovery, enum salvage_table table,
                          enum mp_error (*write)(void *, const struct salvage_row *))
{
    return salvage_each(recovery->salvage, table, recovery->least[table], write, recovery, recovery->fault);
}

static enum mp_error find_all(struct recovery *recovery)
{
    enum mp_error error =
        salvage_each(recovery->salvage, SALVAGE_NUMBERS, SALVAGE_EARLIER, take_number, recovery, recovery->fault);
    if (error || (error = judge_tables(recovery)) || (error = each(recovery, SALVAGE_TOPICS, take_topic)) ||
        (error = recover_find_groups(recovery)))
        return error;
    return recover_find_frames(recovery);
}

static enum mp_error write_all(struct recovery *recovery)
{
    enum mp_error error = store_begin(recovery->store, recovery->fault);
    if (error || (error = write_numbers(recovery)) || (error = each(recovery, SALVAGE_TOPICS, write_known_topic)) ||
        (error = each(recovery, SALVAGE_PATTERNS, write_pattern)) || (error = recover_write_groups(recovery)) ||
        (error = write_events(recovery)) || (error = write_schedule(recovery)) ||
        (error = each(recovery, SALVAGE_HASHES, write_hashes)) || (error = write_topics(recovery)) ||
        (error = each(recovery, SALVAGE_SESSIONS, write_session)))
        return error;
    if ((error = write_made(recovery, "topics_made", recovery->topics_most)) ||
        (error = write_made(recovery, "groups_made", recovery->groups_most)) ||
        (error = write_made(recovery, "patterns_made", recovery->patterns_most)))
        return error;
    return store_commit(recovery->store, recovery->fault);
}

static void free_all(struct recovery *recovery)
{
    struct map *maps[] = {&recovery->numbers, &recovery->patterns, &recovery->groups, &recovery->sessions};
    size_t at = 0;
    struct recovered_topic *topic;
    while ((topic = map_next(&recovery->topics, &at))) {
        for (size_t i = 0; i < topic->frames_count; i++)
            free(topic->frames[i].origin);
        free(topic->frames);
        free(topic);
    }
    map_free(&recovery->topics);
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        void *item;
        at = 0;
        while ((item = map_next(maps[i], &at)))
            free(item);
        map_free(maps[i]);
    }
}

/* What was damaged and came last nobody misses: no message behind it, no number that says that there was one. */
static void tell_rest(struct recovery *recovery)
{
    const struct salvage_figures *figures = salvage_figures(recovery->salvage);
    char words[FAULT_TEXT];
    if (figures->gone[SALVAGE_FRAMES] > recovery->stretches)
        tell_rows(recovery, SALVAGE_FRAMES, figures->gone[SALVAGE_FRAMES]);
    if (figures->unreadable == 0)
        return;
    snprintf(words, sizeof words, "%llu pages that the disk does not give", (unsigned long long)figures->unreadable);
    tell_words(recovery, words);
}

enum mp_error recover_rows(struct salvage *salvage, struct store *store, struct recover_report *report,
                           struct fault *fault)
{
    struct recovery recovery = {.salvage = salvage, .store = store, .report = report, .fault = fault};
    enum mp_error error = find_all(&recovery);
    if (!error && !(error = write_all(&recovery)))
        tell_rest(&recovery);
    free_all(&recovery);
    return error == MP_ERR_MEMORY ? fault_memory(fault) : error;
}
