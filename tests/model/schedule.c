/* schedule.c: publications that wait for their time, and then perhaps for room. */
#include "model.h"

void reference_schedule(struct trial *trial, unsigned topic, int64_t due, const struct message *messages,
                        uint32_t count)
{
    struct parcel *parcel = &trial->now.schedule[trial->now.schedule_count++];
    *parcel = (struct parcel){.topic = topic, .due = due, .sent = relay_time(trial), .count = count};
    memcpy(parcel->messages, messages, count * sizeof *messages);
    reference_make_topic(trial, topic, false);
}

/* The publication that is due first, of those that were not passed over; SCHEDULE_MAX: none is. */
static unsigned next_due(const struct trial *trial, const bool *passed)
{
    const struct parcel *schedule = trial->now.schedule;
    unsigned next = SCHEDULE_MAX;
    for (unsigned i = 0; i < trial->now.schedule_count; i++)
        if (!passed[i] && schedule[i].due <= relay_time(trial) &&
            (next == SCHEDULE_MAX || schedule[i].due < schedule[next].due))
            next = i;
    return next;
}

/* Whether what the engine has put behind the end of the topic, as the reference knows it, is PARCEL. */
static bool was_moved(struct trial *trial, const struct parcel *parcel)
{
    struct local *local = local_of(trial->engine);
    const char *name = topic_name(parcel->topic);
    const struct topic *real = local_topic(local, name, strlen(name));
    uint64_t end = trial->now.topics[parcel->topic].end;
    struct cached_frame cached;
    struct frame frame;
    struct record record;
    struct fault fault = {0};
    if (!real || real->end == end)
        return false;
    if (local_frame(local, real, end, &cached, &fault))
        trial_fail(trial, "offset %llu of %s cannot be read: %s", (unsigned long long)end, name, fault_text(&fault));
    frame_trust(&frame, cached.data, cached.size);
    struct frame_cursor cursor = frame_cursor(&frame);
    bool same = frame_next(&cursor, &record) && load_u64(record.body) == parcel->messages[0].mark;
    blob_drop(cached.blob);
    return same;
}

/* Brings parcel number NEXT to its topic, if that has room. False: it stays where it is. */
static bool move(struct trial *trial, unsigned next, const bool *full)
{
    const struct parcel *parcel = &trial->now.schedule[next];
    const unsigned topic = parcel->topic;
    if (topic == NOWHERE)
        return true;
    bool moved = was_moved(trial, parcel);
    double bytes = parcel->messages[0].share * parcel->count;
    if (moved ? full[topic] || !flow_may_say(trial, topic, parcel->count, bytes, MP_OK)
              : !full[topic] && !flow_may_say(trial, topic, parcel->count, bytes, MP_ERR_FULL) &&
                    !flow_may_say(trial, topic, parcel->count, bytes, MP_ERR_OVERFLOW))
        trial_fail(trial, "what is due at %lld %s", (long long)parcel->due,
                   moved ? "has gone into a topic that was full" : "was not moved, though there was room");
    if (!moved)
        return false;
    int64_t waited = relay_time(trial) - parcel->sent;
    reference_append(trial, topic, parcel->messages, parcel->count, waited > 0 ? waited : 0);
    flow_drop_oldest(trial, topic);
    return true;
}

void reference_move_scheduled(struct trial *trial)
{
    struct reference *now = &trial->now;
    bool passed[SCHEDULE_MAX] = {false}, full[TOPICS] = {false};
    unsigned next;
    while (trial->moves && (next = next_due(trial, passed)) < SCHEDULE_MAX) {
        if (!move(trial, next, full)) {
            full[now->schedule[next].topic] = passed[next] = true;
            continue;
        }
        now->schedule_count--;
        memmove(&now->schedule[next], &now->schedule[next + 1], (now->schedule_count - next) * sizeof *now->schedule);
        memmove(&passed[next], &passed[next + 1], (now->schedule_count - next) * sizeof *passed);
    }
}

void schedule_compare(struct trial *trial, int64_t *due)
{
    uint64_t messages = 0;
    for (unsigned i = 0; i < trial->now.schedule_count; i++) {
        const struct parcel *parcel = &trial->now.schedule[i];
        int64_t looked = parcel->due - trial->offset;
        if (looked < trial->moved + LOOK_AGAIN && parcel->due <= relay_time(trial))
            looked = trial->moved + LOOK_AGAIN; /* it found no room */
        messages += parcel->count;
        if (looked < *due)
            *due = looked;
    }
    if (local_of(trial->engine)->scheduled != messages)
        trial_fail(trial, "%llu messages are scheduled instead of %llu",
                   (unsigned long long)local_of(trial->engine)->scheduled, (unsigned long long)messages);
}
