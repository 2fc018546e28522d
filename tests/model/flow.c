/*
 * flow.c: how much goes into a topic: the limits of its settings, its rate, and what it drops for them.
 *
 * How many bytes a topic has open is the average size of its messages times their number, and of which messages the
 * average is, is the engine's choice: here it is somewhere between the smallest and the largest.
 */
#include "model.h"

/* What counts against the limits of a topic. */
struct fill {
    uint64_t messages;
    double least, most; /* bytes */
};

/* Without groups all that it keeps counts, else what the fullest has open. */
static struct fill find_fill(struct trial *trial, unsigned topic)
{
    const struct topic_model *model = &trial->now.topics[topic];
    struct fill fill = {0};
    bool groups = false;
    for (unsigned group = 0; group < trial->now.groups_count; group++) {
        if (trial->now.groups[group].topic != topic)
            continue;
        uint64_t open = reference_count(trial, group, STATE_WAITING) + reference_count(trial, group, STATE_DELAYED) +
                        reference_count(trial, group, STATE_LEASED);
        groups = true;
        if (open > fill.messages)
            fill.messages = open;
    }
    if (!groups)
        fill.messages = model->end - model->first;
    for (uint64_t offset = 0; model->settings.max_bytes > 0 && fill.messages > 0 && offset < model->end; offset++) {
        double share = trial->messages[topic][offset].share;
        fill.least = offset == 0 || share < fill.least ? share : fill.least;
        fill.most = share > fill.most ? share : fill.most;
    }
    fill.least *= (double)fill.messages;
    fill.most *= (double)fill.messages;
    return fill;
}

static bool is_limited_topic(const struct topic_settings *settings)
{
    return settings->overflow != OVERFLOW_DROP_OLDEST && (settings->max_messages > 0 || settings->max_bytes > 0);
}

static uint64_t left_by_rate(const struct trial *trial, unsigned topic)
{
    return rate_left(&trial->rates[topic], trial->now.topics[topic].settings.rate, trial->moment.monotonic);
}

bool flow_may_say(struct trial *trial, unsigned topic, uint64_t messages, double bytes, enum mp_error answer)
{
    const struct topic_model *model = &trial->now.topics[topic];
    const struct topic_settings *settings = &model->settings;
    if (!model->exists)
        return answer == MP_OK;
    if (left_by_rate(trial, topic) == 0)
        return answer == MP_ERR_FULL;
    if (!is_limited_topic(settings))
        return answer == MP_OK;
    struct fill fill = find_fill(trial, topic);
    enum mp_error full = settings->overflow == OVERFLOW_REJECT ? MP_ERR_OVERFLOW : MP_ERR_FULL;
    if (fill.messages == 0)
        return answer == MP_OK;
    if (settings->max_messages > 0 && fill.messages + messages > settings->max_messages)
        return answer == full;
    double most = (double)settings->max_bytes;
    if (answer == MP_OK)
        return settings->max_bytes == 0 || fill.least + bytes <= most + 1;
    return answer == full && settings->max_bytes > 0 && fill.most + bytes > most - 1;
}

/* Messages of AVERAGE bytes for which BYTES are left. */
static uint64_t so_many(double bytes, double average)
{
    return bytes < average ? 0 : bytes / average < 1e18 ? (uint64_t)(bytes / average) : UINT64_MAX;
}

static uint64_t least(uint64_t one, uint64_t other)
{
    return one < other ? one : other;
}

void flow_check_fits(struct trial *trial, unsigned topic, uint64_t messages, size_t bytes, bool waiting, uint64_t fits)
{
    const struct topic_model *model = &trial->now.topics[topic];
    const struct topic_settings *settings = &model->settings;
    const struct rate *rate = &trial->rates[topic];
    double average = messages > 0 && bytes > messages ? (double)bytes / (double)messages : 1;
    uint64_t low = messages, high = messages, limit = UINT64_MAX;
    int64_t now = trial->moment.monotonic;
    if (model->exists && is_limited_topic(settings)) {
        struct fill fill = find_fill(trial, topic);
        if (settings->max_messages > 0) {
            limit = settings->max_messages;
            low = high = settings->max_messages > fill.messages ? settings->max_messages - fill.messages : 0;
        } else {
            low = high = UINT64_MAX;
        }
        if (settings->max_bytes > 0) {
            double all = (double)settings->max_bytes;
            limit = least(limit, so_many(all, average));
            low = least(low, so_many(all - fill.most - 1, average));
            high = least(high, so_many(all - fill.least + 1, average));
        }
        if (fill.messages == 0) { /* also what is larger than the limit goes in some time */
            low = low > 0 ? low : 1;
            high = high > 0 ? high : 1;
        }
    }
    uint64_t paced = model->exists ? least(messages, left_by_rate(trial, topic)) : messages;
    bool slow = waiting && paced < messages && rate_due(rate, settings->rate, now) > now;
    bool few = waiting && low < paced && low < limit / 8;
    low = slow || few ? 0 : least(low, paced);
    high = slow ? 0 : least(high, paced);
    if (fits < low || fits > high || (waiting && fits > 0 && fits < paced && fits < limit / 8))
        trial_fail(trial, "of %llu messages of %zu bytes %llu are said to fit into %s, not %llu to %llu",
                   (unsigned long long)messages, bytes, (unsigned long long)fits, topic_name(topic),
                   (unsigned long long)low, (unsigned long long)high);
}

void flow_drop_oldest(struct trial *trial, unsigned topic)
{
    struct topic_model *model = &trial->now.topics[topic];
    uint64_t most = model->settings.max_messages;
    bool groups = false;
    if (model->settings.overflow != OVERFLOW_DROP_OLDEST || most == 0)
        return;
    for (unsigned group = 0; group < trial->now.groups_count; group++) {
        if (trial->now.groups[group].topic != topic)
            continue;
        uint64_t leased = reference_count(trial, group, STATE_LEASED);
        uint64_t open = reference_count(trial, group, STATE_WAITING) + reference_count(trial, group, STATE_DELAYED);
        uint64_t surplus = open + leased > most ? open + leased - most : 0;
        groups = true;
        for (uint64_t offset = trial->now.groups[group].low; surplus > 0 && offset < model->end; offset++) {
            enum state state = cell_at(trial, group, offset)->state;
            if (state != STATE_WAITING && state != STATE_DELAYED)
                continue;
            cell_set(trial, group, offset, &(struct cell){.state = STATE_DROPPED});
            surplus--;
        }
    }
    if (!groups && model->end - model->first > most)
        model->first = model->end - most;
}
