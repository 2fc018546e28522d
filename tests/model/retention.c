/* retention.c: where topics begin. */
#include "model.h"

/*
 * What every group of TOPIC has settled lies below; without groups, what has expired. *MOVED: the last of them has
 * settled something, and did not just begin there.
 */
static uint64_t settled_by_all(const struct trial *trial, unsigned topic, bool *moved)
{
    const struct topic_model *model = &trial->now.topics[topic];
    uint64_t below = model->end;
    bool groups = false;
    for (unsigned group = 0; group < trial->now.groups_count; group++) {
        if (trial->now.groups[group].topic != topic)
            continue;
        groups = true;
        if (trial->now.groups[group].low < below) {
            below = trial->now.groups[group].low;
            *moved = below > trial->now.groups[group].start;
        }
    }
    if (groups)
        return below > model->first ? below : model->first;
    for (below = model->first; below < model->end && message_is_expired(trial, topic, below);)
        below++;
    return below;
}

/* The bytes of the frames from OFFSET on, where one begins. */
static double bytes_from(const struct trial *trial, unsigned topic, uint64_t offset)
{
    double bytes = 0;
    for (; offset < trial->now.topics[topic].end; offset++)
        bytes += trial->messages[topic][offset].share;
    return bytes;
}

/*
 * Where only `retain.bytes` holds what is settled: a frame goes when the kept ones have more bytes than that, and with
 * the next tick it has gone. FIRST: where the topic begins now; SETTLED: all below is.
 */
static void check_bytes(struct trial *trial, unsigned topic, uint64_t first, uint64_t settled)
{
    const struct topic_model *model = &trial->now.topics[topic];
    const struct topic_settings *settings = &model->settings;
    const struct message *messages = trial->messages[topic];
    if (settings->retain_bytes == 0 || settings->retain_age > 0 || model->letters)
        return;
    uint64_t gone = first > model->first ? messages[first - 1].frame : UINT64_MAX, start = first;
    while (start < model->end && messages[start].frame < first)
        start++; /* a frame that FIRST lies in is not counted */
    uint64_t end = start;
    while (end < model->end && messages[end].frame <= start)
        end++; /* of the first frame that is kept */
    if (gone != UINT64_MAX && !message_is_expired(trial, topic, first - 1) &&
        bytes_from(trial, topic, gone) <= (double)settings->retain_bytes + 1)
        trial_fail(trial, "topic %s begins at %llu, and %llu bytes were to be kept", topic_name(topic),
                   (unsigned long long)first, (unsigned long long)settings->retain_bytes);
    bool more = local_of(trial->engine)->age_due <= trial->moment.monotonic; /* the next turn goes on with it */
    if (trial->ticked && !more && end > start && end <= settled &&
        bytes_from(trial, topic, start) > (double)settings->retain_bytes + 1)
        trial_fail(trial, "topic %s still begins at %llu after a tick, and no more than %llu bytes were to be kept",
                   topic_name(topic), (unsigned long long)first, (unsigned long long)settings->retain_bytes);
}

/*
 * Retention: what all groups have settled goes when the engine finds the time for it, which is the next tick, unless the
 * topic's settings hold it. A start may find a part of it again.
 */
void retention_take_first(struct trial *trial, unsigned topic, const struct topic *real)
{
    struct topic_model *model = &trial->now.topics[topic];
    const struct topic_settings *settings = &model->settings;
    bool moved = false;
    uint64_t settled = settled_by_all(trial, topic, &moved);
    bool held = settings->retain_age > 0 || settings->retain_bytes > 0;
    if (trial->ticked && moved && !held && real->first < settled)
        trial_fail(trial, "topic %s still begins at %llu after a tick, and all below %llu is settled",
                   topic_name(topic), (unsigned long long)real->first, (unsigned long long)settled);
    if (real->first < model->sure)
        trial_fail(trial, "topic %s begins at %llu, and all below %llu was taken away for good", topic_name(topic),
                   (unsigned long long)real->first, (unsigned long long)model->sure);
    if (real->first > settled || (real->first < model->first && !trial->loaded_now))
        return;
    check_bytes(trial, topic, real->first, moved ? settled : model->first);
    if (real->first > model->first && settings->retain_age > 0 && settings->retain_bytes == 0 &&
        !message_is_expired(trial, topic, real->first - 1) &&
        trial->messages[topic][real->first - 1].time + settings->retain_age >= relay_time(trial))
        trial_fail(trial, "topic %s begins at %llu, and what lies before is to be held", topic_name(topic),
                   (unsigned long long)real->first);
    model->first = real->first;
}
