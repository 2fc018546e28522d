#include "power.h"

#include "message/attributes.h"

#include <stdio.h>
#include <stdlib.h>

static void *grow(void *memory, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return memory;
    *capacity = *capacity ? *capacity * 2 : 64;
    void *grown = realloc(memory, *capacity * size);
    if (!grown)
        abort();
    return grown;
}

void facts_free(struct facts *facts)
{
    for (unsigned i = 0; i < ACTORS; i++) {
        free(facts->messages[i]);
        for (unsigned lane = 0; lane < 2; lane++) {
            for (size_t k = 0; k < facts->deeds_count[i][lane]; k++)
                buffer_free(&facts->deeds[i][lane][k].bytes);
            free(facts->deeds[i][lane]);
        }
    }
    for (unsigned i = 0; i < GROUPS; i++)
        free(facts->fates[i]);
    free(facts->publications);
    free(facts->states);
    free(facts->marks);
    free(facts->doubts);
    memset(facts, 0, sizeof *facts);
}

uint32_t facts_publish(struct facts *facts, unsigned actor, unsigned topic, uint32_t count, size_t now)
{
    facts->publications = grow(facts->publications, facts->publications_count, &facts->publications_capacity,
                               sizeof *facts->publications);
    uint32_t number = (uint32_t)facts->publications_count++;
    facts->publications[number] = (struct publication){.producer = actor,
                                                       .sequence = facts->messages_count[actor] + 1,
                                                       .count = count,
                                                       .topic = topic,
                                                       .sent = now,
                                                       .acknowledged = NEVER};
    for (uint32_t i = 0; i < count; i++) {
        facts->messages[actor] = grow(facts->messages[actor], facts->messages_count[actor],
                                      &facts->messages_capacity[actor], sizeof **facts->messages);
        facts->messages[actor][facts->messages_count[actor]++] = number;
    }
    return number;
}

struct fate *facts_fate(struct facts *facts, uint32_t group, uint64_t offset)
{
    if (group >= GROUPS || offset > 1000000)
        abort(); /* the plan has not so many */
    size_t before = facts->fates_count[group];
    if (offset >= before) {
        size_t count = (size_t)offset + 256;
        struct fate *fates = realloc(facts->fates[group], count * sizeof *fates);
        if (!fates)
            abort();
        for (size_t i = before; i < count; i++)
            fates[i] = (struct fate){.may_end = NEVER, .ended = NEVER};
        facts->fates[group] = fates;
        facts->fates_count[group] = count;
    }
    return &facts->fates[group][offset];
}

struct deed *facts_deed(struct facts *facts, unsigned actor, unsigned lane, uint64_t number)
{
    struct deed **deeds = &facts->deeds[actor][lane];
    size_t *count = &facts->deeds_count[actor][lane];
    if (*count > 0 && (*deeds)[*count - 1].number == number)
        return &(*deeds)[*count - 1];
    *deeds = grow(*deeds, *count, &facts->deeds_capacity[actor][lane], sizeof **deeds);
    (*deeds)[*count] = (struct deed){.number = number, .sent = NEVER, .acknowledged = NEVER};
    return &(*deeds)[(*count)++];
}

void facts_state(struct facts *facts, uint64_t digest, size_t now)
{
    if (facts->states_count > 0 && facts->states[facts->states_count - 1].digest == digest)
        return;
    facts->states = grow(facts->states, facts->states_count, &facts->states_capacity, sizeof *facts->states);
    facts->states[facts->states_count++] = (struct committed){.digest = digest, .at = now};
}

void facts_mark(struct facts *facts, size_t states, size_t at, struct moment now)
{
    facts->marks = grow(facts->marks, facts->marks_count, &facts->marks_capacity, sizeof *facts->marks);
    facts->marks[facts->marks_count++] = (struct mark){.at = at, .states = states, .now = now};
}

void facts_doubt(struct facts *facts, size_t from, size_t to)
{
    facts->doubts = grow(facts->doubts, facts->doubts_count, &facts->doubts_capacity, sizeof *facts->doubts);
    facts->doubts[facts->doubts_count++] = (struct doubt){from, to};
}

bool facts_are_in_doubt(const struct facts *facts, size_t moment)
{
    for (size_t i = 0; i < facts->doubts_count; i++) {
        size_t to = NEVER;
        for (size_t k = 0; k < facts->states_count && to == NEVER; k++)
            if (facts->states[k].at > facts->doubts[i].to)
                to = facts->states[k].at;
        if (moment >= facts->doubts[i].from && moment < to)
            return true;
    }
    return false;
}

unsigned facts_topic(const char *name, size_t size)
{
    unsigned i = 0;
    while (i < TOPICS && (strlen(power_topics[i].name) != size || memcmp(power_topics[i].name, name, size) != 0))
        i++;
    return i;
}

/* ---- messages --------------------------------------------------------------------------------------------------- */

/* Mostly small; some fill pages of their own. */
static size_t body_size(uint64_t *random)
{
    uint64_t chance = random_next(random) % 400;
    if (chance == 0)
        return 40000;
    return chance < 8 ? 3000 : 8 + random_next(random) % 200;
}

static uint64_t body_random(unsigned producer, uint64_t sequence)
{
    return (uint64_t)producer << 40 ^ sequence;
}

static size_t make_body(unsigned producer, uint64_t sequence, uint8_t body[40008])
{
    uint64_t random = body_random(producer, sequence);
    size_t size = body_size(&random);
    for (size_t i = 0; i < size; i += 8)
        store_u64(body + i, random += UINT64_C(0x9e3779b97f4a7c15));
    return size;
}

void message_write(unsigned producer, uint64_t sequence, unsigned topic, struct frame_builder *frame)
{
    static uint8_t body[40008];
    struct buffer block = {0};
    size_t size = make_body(producer, sequence, body);
    char key = (char)('a' + sequence % 5), id[24];
    /* Where duplicates are looked for, some ids are those of others. */
    int length = snprintf(id, sizeof id, "i%u", (unsigned)(sequence % 50));
    bool failed = false;
    if (sequence % 3 == 0)
        failed = attributes_set(&block, ATTRIBUTE_STRING, "partitionkey", 12, &key, 1, NULL) != MP_OK;
    if (power_topics[topic].settings && strstr(power_topics[topic].settings, "dedupe"))
        failed = failed || attributes_set(&block, ATTRIBUTE_STRING, "id", 2, id, (size_t)length, NULL) != MP_OK;
    if (failed || frame_add(frame, body, size, block.data, block.size))
        abort();
    buffer_free(&block);
}

bool message_is(unsigned producer, uint64_t sequence, const struct record *record)
{
    static uint8_t body[40008];
    size_t size = make_body(producer, sequence, body);
    return record->size == size && memcmp(record->body, body, size) == 0;
}
