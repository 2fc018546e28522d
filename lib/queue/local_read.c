#include "queue/local_give.h"

/* Frames in which a read finds nothing for who reads; then it is told where it stands, and asks again. */
enum { PASSES = 256 };

static bool position_of(const struct topic *topic, const struct engine_position *positions, size_t count,
                        uint64_t *offset)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (positions[middle].topic < topic->id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == count || positions[low].topic != topic->id)
        return false;
    *offset = positions[low].next < topic->first ? topic->first : positions[low].next;
    return true;
}

/* One topic that is read, or looked at for a group that has not settled all of it. */
struct reading {
    struct giving giving;
    struct group *group; /* NULL: a reader's */
    uint64_t next;       /* what was read, or passed over, lies below */
    unsigned passes;
};

/* Sets the bits of those of SPAN messages from the next on that the group has not settled. */
static void open_ones(const struct group *group, uint64_t first, uint32_t span, uint8_t *mask)
{
    uint64_t offset = first, end = first + span;
    struct state_run run;
    memset(mask, 0, bits_size(span));
    while (offset < end && states_get(&group->states, offset, &run)) {
        uint64_t stop = run.first + run.count < end ? run.first + run.count : end;
        if (!state_is_settled(run.value.state))
            bits_set_range(mask, (size_t)(offset - first), (size_t)(stop - offset));
        offset = stop;
    }
    bits_set_range(mask, (size_t)(offset - first), (size_t)(end - offset));
}

/* Reads the frame that is next, message by message. *WENT_ON is false when there was no room. */
static enum mp_error read_frame(struct reading *reading, bool *went_on)
{
    struct giving *giving = &reading->giving;
    uint8_t mask[GIVE_MASK];
    struct give_passed passed;
    struct cached_frame cached;
    enum mp_error error = give_open(giving, reading->next, &cached);
    if (error)
        return error;
    uint32_t index = (uint32_t)(reading->next - cached.first), span = cached.count - index, taken = span, given = 0;
    if (reading->group) {
        open_ones(reading->group, reading->next, span, mask);
    } else {
        memset(mask, 0, bits_size(span));
        bits_set_range(mask, 0, span);
    }
    give_choose(giving, &cached, index, span, mask, &passed);
    if (!passed.foreign)
        error = give_set(giving, &cached, index, span, mask, &taken, &given);
    if (given == 0)
        reading->passes -= reading->passes > 0;
    *went_on = taken > 0;
    reading->next += taken;
    blob_drop(cached.blob);
    return error;
}

/* Puts NEXT on a message that the group has not settled. */
static void skip_settled(struct reading *reading)
{
    struct state_run run;
    const struct states *states = &reading->group->states;
    if (reading->next < states->floor)
        reading->next = states->floor;
    while (states_get(states, reading->next, &run) && state_is_settled(run.value.state))
        reading->next = run.first + run.count;
}

static enum mp_error read_topic(struct reading *reading)
{
    struct giving *giving = &reading->giving;
    enum mp_error error = MP_OK;
    bool went_on = true;
    while (!error && went_on && reading->passes > 0) {
        uint32_t given = 0;
        bool plain = false;
        if (reading->group)
            skip_settled(reading);
        if (reading->next >= giving->topic->end || give_is_full(giving))
            break;
        if (!reading->group)
            error = give_range(giving, reading->next, giving->topic->end - reading->next, &given, &plain);
        reading->next += given;
        if (!error && given == 0 && plain)
            break;
        if (!error && given == 0)
            error = read_frame(reading, &went_on);
    }
    return error;
}

/* Messages from OFFSET on that GROUP has not settled. */
static uint64_t open_from(const struct group *group, uint64_t offset)
{
    const struct states *states = &group->states;
    uint64_t open = 0;
    struct state_run run;
    if (offset < states->floor)
        offset = states->floor;
    for (; states_get(states, offset, &run); offset = run.first + run.count)
        open += state_is_settled(run.value.state) ? 0 : run.count;
    return open + (group->topic->end - (offset < group->topic->end ? offset : group->topic->end));
}

/* What a read is asked for. */
struct read_request {
    const struct engine_position *positions;
    size_t count;
    enum engine_from from;
    uint64_t value;
};

/* Reads TOPIC, for GROUP if it is not NULL. *ALL becomes false when there was no room to tell where the reader stands. */
static enum mp_error read_member(struct reading *reading, const struct read_request *request, bool *damaged, bool *all)
{
    struct giving *giving = &reading->giving;
    struct engine_deliveries *deliveries = giving->deliveries;
    const struct topic *topic = giving->topic;
    uint64_t offset = reading->group ? reading->group->states.floor : 0, before = deliveries->messages;
    bool known = position_of(topic, request->positions, request->count, &offset);
    enum mp_error error = MP_OK;
    if (!known && deliveries->count >= giving->limits->chunks) {
        *all = false; /* the next read will */
        return MP_OK;
    }
    /* Who looks at what a group has not settled begins with the first of it, or where he says. */
    if (!known && (!reading->group || request->from == ENGINE_FROM_OFFSET))
        error = local_position(giving->local, topic, request->from, request->value, &offset, giving->fault);
    if (error)
        return error;
    reading->next = offset;
    if (give_pass_damage(error = read_topic(reading), damaged))
        error = MP_OK;
    if (reading->group)
        deliveries->waiting += open_from(reading->group, reading->next);
    else
        deliveries->waiting += topic->end > reading->next ? topic->end - reading->next : 0;
    bool given = deliveries->messages > before, passed = reading->next > offset && !given;
    deliveries->passed |= passed;
    if (error || given || (known && !passed) || deliveries->count >= giving->limits->chunks)
        return error;
    struct engine_delivery stand = {.topic = topic->id, .first = reading->next, .name = topic->name};
    return engine_deliveries_add(deliveries, &stand) ? fault_memory(giving->fault) : MP_OK;
}

enum mp_error local_read(struct engine *engine, struct engine_subscription *shared,
                         const struct engine_position *positions, size_t positions_count, enum engine_from from,
                         uint64_t value, const struct engine_limits *limits, struct engine_deliveries *deliveries,
                         struct fault *fault)
{
    struct local *local = local_of(engine);
    struct subscription *subscription = (struct subscription *)shared;
    const struct read_request request = {positions, positions_count, from, value};
    bool peeks = shared->group[0] != '\0', damaged = false, all = true;
    size_t members = subscription->members.count;
    enum mp_error error = MP_OK;
    deliveries->waiting = 0;
    for (size_t i = 0; !error && i < members; i++) {
        void *member = subscription->members.items[(subscription->turn + i) % members];
        struct group *group = peeks ? member : NULL;
        struct topic *topic = peeks ? group->topic : member;
        struct reading reading = {.giving = {.local = local,
                                             .topic = topic,
                                             .target = peeks ? group->id : 0,
                                             .most = UINT64_MAX,
                                             .hint = peeks ? NULL : &topic->hint,
                                             .limits = limits,
                                             .deliveries = deliveries,
                                             .fault = fault},
                                  .group = group,
                                  .passes = PASSES};
        error = read_member(&reading, &request, &damaged, &all);
    }
    subscription->turn++;
    deliveries->end = deliveries->waiting == 0 && all;
    return damaged && !error && deliveries->messages == 0 ? MP_ERR_DAMAGED : error;
}
