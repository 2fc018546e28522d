#include "model.h"

#include <stdlib.h>

bool message_is_expired(const struct trial *trial, unsigned topic, uint64_t offset)
{
    const struct message *message = &trial->messages[topic][offset];
    const struct topic_model *model = &trial->now.topics[topic];
    int64_t ttl = model->settings.ttl, now = relay_time(trial);
    if (ttl > 0 && now - message->time >= ttl)
        return true;
    return message->expires > 0 && now >= message->expires && !model->letters;
}

bool message_is_for(const struct trial *trial, unsigned topic, uint64_t offset, uint32_t group)
{
    const struct message *message = &trial->messages[topic][offset];
    return !message->duplicate && (message->target == 0 || message->target == group);
}

static uint32_t group_number(const struct trial *trial, unsigned group)
{
    return trial->real[group] ? trial->real[group]->id : 0;
}

uint64_t next_grantable(struct trial *trial, unsigned group, uint64_t from, uint64_t end)
{
    const struct group_model *model = &trial->now.groups[group];
    uint64_t top = trial->now.topics[model->topic].end;
    for (uint64_t offset = from < model->low ? model->low : from; offset < top && offset < end; offset++)
        if (cell_at(trial, group, offset)->state == STATE_WAITING && !message_is_expired(trial, model->topic, offset) &&
            message_is_for(trial, model->topic, offset, group_number(trial, group)))
            return offset;
    return top;
}

bool group_is_ordered(const struct trial *trial, unsigned group)
{
    return trial->now.subscriptions[trial->now.groups[group].subscription].settings.order_by_key;
}

/* Whether a message that is open keeps those of its key behind it: not when it is passed over as soon as it is seen. */
static bool is_in_the_way(struct trial *trial, unsigned group, uint64_t offset)
{
    unsigned topic = trial->now.groups[group].topic;
    const struct cell *cell = cell_at(trial, group, offset);
    if (cell_is_settled(cell) || !message_is_for(trial, topic, offset, group_number(trial, group)))
        return false;
    return cell->state != STATE_WAITING || !message_is_expired(trial, topic, offset);
}

/*
 * Whether LETTER is of GROUP. A letter tells the group's name, which a topic's own group and a pattern's may share: which
 * of the two then holds a key is the engine's choice. SURE: only what must be GROUP's.
 */
static bool is_of_group(const struct trial *trial, unsigned group, const struct message *letter, bool sure)
{
    const struct group_model *model = &trial->now.groups[group];
    const char *name = subscription_group(model->subscription);
    unsigned namesakes = 0;
    if (letter->topic != model->topic || strcmp(subscription_group(letter->group_name), name) != 0)
        return false;
    for (unsigned other = 0; other < trial->now.groups_count; other++)
        namesakes += trial->now.groups[other].topic == model->topic &&
                     strcmp(subscription_group(trial->now.groups[other].subscription), name) == 0;
    return !sure || namesakes == 1;
}

/* Sets HELD[key] for the keys of those letters of GROUP that nobody has settled, where it holds keys for them. */
static void find_held(struct trial *trial, unsigned group, bool sure, bool held[256])
{
    const struct group_model *model = &trial->now.groups[group];
    unsigned to = reference_letters_of(trial, group);
    if (!trial->now.subscriptions[model->subscription].settings.hold_on_dead || to == TOPICS)
        return;
    unsigned mretry = reference_group(trial, to * (GROUP_NAMES + 1) + MRETRY, to);
    for (uint64_t i = 0; i < trial->letters_count[to]; i++) /* of this turn */
        held[trial->letters[to][i].key] |= is_of_group(trial, group, &trial->letters[to][i], sure);
    for (uint64_t offset = mretry < GROUPS_MAX ? trial->now.groups[mretry].low : UINT64_MAX;
         offset < trial->now.topics[to].end; offset++) {
        const struct message *letter = &trial->messages[to][offset];
        if (letter->reason > 0 && !cell_is_settled(cell_at(trial, mretry, offset)))
            held[letter->key] |= is_of_group(trial, group, letter, sure);
    }
    held[0] = false;
}

void find_heads(struct trial *trial, unsigned group, bool sure, bool *heads)
{
    const struct group_model *model = &trial->now.groups[group];
    bool seen[256] = {false};
    find_held(trial, group, !sure, seen);
    /* What was granted before there was an order may be ahead of others of its key. */
    for (uint64_t offset = model->low; offset < trial->now.topics[model->topic].end; offset++) {
        uint8_t key = trial->messages[model->topic][offset].key;
        seen[key] |= key > 0 && cell_at(trial, group, offset)->state == STATE_LEASED;
    }
    for (uint64_t offset = model->low; offset < trial->now.topics[model->topic].end; offset++) {
        uint8_t key = trial->messages[model->topic][offset].key;
        heads[offset] = false;
        if (!is_in_the_way(trial, group, offset))
            continue;
        heads[offset] = !seen[key] && cell_at(trial, group, offset)->state == STATE_WAITING;
        seen[key] |= key > 0;
    }
}

bool has_grantable(struct trial *trial, unsigned group)
{
    const struct group_model *model = &trial->now.groups[group];
    uint64_t end = trial->now.topics[model->topic].end;
    bool found = false, *heads;
    if (!group_is_ordered(trial, group))
        return next_grantable(trial, group, 0, UINT64_MAX) < end;
    if (!(heads = calloc(end + 1, sizeof *heads)))
        abort();
    find_heads(trial, group, true, heads);
    for (uint64_t offset = model->low; offset < end; offset++)
        found |= heads[offset];
    free(heads);
    return found;
}

bool cell_may_end(const struct trial *trial, unsigned group, uint64_t offset, enum state state)
{
    unsigned topic = trial->now.groups[group].topic;
    const struct cell *cell = &trial->cells[group][offset];
    const struct message *message = &trial->messages[topic][offset];
    if (cell->state != STATE_WAITING && cell->state != STATE_DELAYED)
        return false;
    if (state == STATE_EXPIRED)
        return message_is_expired(trial, topic, offset);
    if (state == STATE_DUPLICATE)
        return message->duplicate;
    return state == STATE_FOREIGN && message->target != 0 && message->target != group_number(trial, group);
}
