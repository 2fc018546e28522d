/*
 * The store's rows at the end of a run, against what was sent, said and given. Events are played anew into plain arrays,
 * by the rules of what a message may go through.
 */
#include "sim.h"

#include "message/attributes.h"
#include "message/letter.h"
#include "queue/local.h"

#include <stdlib.h>

struct place {
    enum state state;
    uint32_t attempt;
    uint64_t session, lease;
    int64_t since; /* when it was leased, or when its delay ends; relay time */
    uint32_t leased;
    uint64_t settled; /* the event that took it out of its last lease */
    uint32_t letters; /* dead letters of it */
};

/* A dead letter that was found: where it says that it comes from. */
struct found {
    unsigned topic;
    char group[NAME_MAX_BYTES + 1];
    uint64_t offset;
};

/* What the frames say of an offset. */
struct offset_facts {
    int64_t time; /* of its row */
    uint8_t key;  /* 0: none */
    bool duplicate;
};

struct played {
    struct played *next;
    uint32_t id, topic;
    char name[NAME_MAX_BYTES + 1];
    uint64_t start, count;
    bool ordered;
    bool moved;           /* by an administrator: what became of its messages is not told by events alone */
    uint64_t low;         /* all before is settled */
    struct place *places; /* from START on */
};

struct audit {
    struct world *world;
    struct played *groups;
    uint64_t ends[TOPICS];
    uint32_t ids[TOPICS];
    bool there[TOPICS];
    uint64_t topic_end;
    unsigned topic;
    struct offset_facts *facts[TOPICS]; /* by offset */
    size_t facts_capacity[TOPICS];
    uint32_t runs[16], last[16]; /* per producer: the last run, and message in it, of the topic walked */
    uint64_t last_event;
    uint8_t *outputs; /* of the bridge: how often each was seen */
    size_t outputs_size;
    uint32_t dead_ids[TOPICS]; /* dead-letter topics; 0: not there */
    struct found *found;
    size_t found_count;
    struct fault fault;
};

enum { OUTPUTS = 4 }; /* per message at most */

/* ---- topics ---------------------------------------------------------------------------------------------------- */

static void see_output(struct audit *audit, const struct identity *identity)
{
    size_t at = ((size_t)identity->number * TOPICS + identity->producer) * OUTPUTS + identity->index;
    if (identity->producer >= TOPICS || identity->index >= ledger_outputs(identity->producer, identity->number))
        sim_fail(audit->world, "an output that the bridge did not make");
    if (at >= audit->outputs_size) {
        audit->outputs = realloc(audit->outputs, (at + 1) * 2);
        if (!audit->outputs)
            abort();
        memset(audit->outputs + audit->outputs_size, 0, (at + 1) * 2 - audit->outputs_size);
        audit->outputs_size = (at + 1) * 2;
    }
    if (audit->outputs[at]++ > 0)
        sim_fail(audit->world, "output %u for offset %llu of %s was stored twice", identity->index,
                 (unsigned long long)identity->number, topic_names[identity->producer]);
}

static void note_facts(struct audit *audit, uint64_t offset, const struct offset_facts *facts)
{
    size_t *capacity = &audit->facts_capacity[audit->topic];
    if (offset >= *capacity) {
        *capacity = ((size_t)offset + 1) * 2;
        audit->facts[audit->topic] = realloc(audit->facts[audit->topic], *capacity * sizeof *facts);
        if (!audit->facts[audit->topic])
            abort();
    }
    audit->facts[audit->topic][offset] = *facts;
}

static void see_record(struct audit *audit, const struct store_frame *row, const struct record *record, uint64_t offset)
{
    struct offset_facts facts = {.time = row->time,
                                 .duplicate = row->marks && bits_get(row->marks, offset - row->first)};
    struct world *world = audit->world;
    ledger_delivered(world, record, audit->topic, offset);
    struct identity identity = ledger_identify(world, record);
    if (identity.output) {
        note_facts(audit, offset, &facts);
        see_output(audit, &identity);
        return;
    }
    struct message *message = ledger_message(world, identity.producer, (uint32_t)identity.number);
    facts.key = message->key;
    note_facts(audit, offset, &facts);
    if (facts.duplicate && !message->again)
        sim_fail(world, "message %llu of producer %u is said to be a duplicate, and was sent once",
                 (unsigned long long)identity.number, identity.producer);
    if (facts.duplicate)
        return;
    if (message->seen++ > 0)
        sim_fail(world, "message %llu of producer %u was stored twice, again at offset %llu of %s",
                 (unsigned long long)identity.number, identity.producer, (unsigned long long)offset,
                 topic_names[audit->topic]);
    uint32_t *run = &audit->runs[identity.producer], *last = &audit->last[identity.producer];
    if (message->due > 0)
        return; /* it comes when it is due */
    if (*run == message->run && identity.number <= *last)
        sim_fail(world, "message %llu of producer %u comes after %u", (unsigned long long)identity.number,
                 identity.producer, *last);
    *run = message->run;
    *last = (uint32_t)identity.number;
}

static enum mp_error each_frame(void *context, const struct store_frame *row)
{
    struct audit *audit = context;
    struct world *world = audit->world;
    struct store_frame stored;
    struct blob *blob;
    struct frame frame;
    struct record record;
    if (row->first != audit->topic_end)
        sim_fail(world, "topic %s: offset %llu comes after %llu", topic_names[audit->topic],
                 (unsigned long long)row->first, (unsigned long long)audit->topic_end);
    if (store_read_frame(broker_archive(world), row->topic, row->first, &stored, &blob, &audit->fault) ||
        frame_open(&frame, stored.data, stored.size, true, &audit->fault))
        sim_fail(world, "a stored frame: %s", fault_text(&audit->fault));
    if (frame.count != row->count)
        sim_fail(world, "a frame of %u messages in a row of %u", frame.count, row->count);
    struct frame_cursor cursor = frame_cursor(&frame);
    while (frame_next(&cursor, &record))
        see_record(audit, &stored, &record, audit->topic_end++);
    blob_drop(blob);
    if (row->session == 0 || row->request >> 62 != PROTOCOL_LANE_PUBLISH)
        return MP_OK; /* it came out of the schedule, or with a settlement */
    struct promise *promise = ledger_promise(world, row->session, PROTOCOL_LANE_PUBLISH, row->request, true);
    if (promise->found++ > 0)
        sim_fail(world, "session %llx, publication %llu was stored twice", (unsigned long long)row->session,
                 (unsigned long long)row->request);
    if (promise->a != UINT64_MAX && (promise->a != row->first || promise->b != row->count))
        sim_fail(world, "session %llx, publication %llu: said to be at %llu, and is at %llu",
                 (unsigned long long)row->session, (unsigned long long)row->request, (unsigned long long)promise->a,
                 (unsigned long long)row->first);
    return MP_OK;
}

/* A letter is the message that was sent, and says where it was. */
static void see_letter(struct audit *audit, const struct record *record)
{
    struct world *world = audit->world;
    struct letter letter;
    struct record original = *record;
    struct buffer block = {0};
    if (!letter_read(record->attributes, record->attributes_size, &letter) || letter.group_size > NAME_MAX_BYTES)
        sim_fail(world, "a message that is no dead letter is among them");
    unsigned topic = topic_number(world, letter.topic, letter.topic_size);
    if (buffer_append(&block, record->attributes, record->attributes_size))
        abort();
    letter_strip(&block);
    attributes_remove(&block, "time", 4); /* its own, which is that of another frame */
    original.attributes = block.data;
    original.attributes_size = block.size > ATTRIBUTE_ORIGIN_SIZE ? block.size : 0; /* what the engine adds to none */
    ledger_delivered(world, &original, topic, letter.offset);
    buffer_free(&block);
    audit->found = realloc(audit->found, (audit->found_count + 1) * sizeof *audit->found);
    if (!audit->found)
        abort();
    struct found *found = &audit->found[audit->found_count++];
    *found = (struct found){.topic = topic, .offset = letter.offset};
    memcpy(found->group, letter.group, letter.group_size);
}

static enum mp_error each_letters(void *context, const struct store_frame *row)
{
    struct audit *audit = context;
    struct store_frame stored;
    struct blob *blob;
    struct frame frame;
    struct record record;
    if (store_read_frame(broker_store(audit->world), row->topic, row->first, &stored, &blob, &audit->fault) ||
        frame_open(&frame, stored.data, stored.size, true, &audit->fault))
        sim_fail(audit->world, "a stored frame: %s", fault_text(&audit->fault));
    struct frame_cursor cursor = frame_cursor(&frame);
    while (frame_next(&cursor, &record))
        see_letter(audit, &record);
    blob_drop(blob);
    return MP_OK;
}

static enum mp_error each_topic(void *context, const struct store_topic *row)
{
    struct audit *audit = context;
    if (row->letters) {
        for (unsigned i = 0; i < TOPICS; i++)
            if (strncmp(row->name, topic_names[i], strlen(topic_names[i])) == 0 &&
                strcmp(row->name + strlen(topic_names[i]), ".dead") == 0)
                audit->dead_ids[i] = row->id;
        return MP_OK;
    }
    unsigned topic = topic_number(audit->world, row->name, strlen(row->name));
    audit->ids[topic] = row->id;
    audit->there[topic] = true;
    return MP_OK;
}

/* What retention has left is the end of the topic, without a gap. */
static enum mp_error each_kept(void *context, const struct store_frame *row)
{
    struct audit *audit = context;
    if (audit->topic_end != UINT64_MAX && row->first != audit->topic_end)
        sim_fail(audit->world, "topic %s: offset %llu comes after %llu", topic_names[audit->topic],
                 (unsigned long long)row->first, (unsigned long long)audit->topic_end);
    audit->topic_end = row->first + row->count;
    return MP_OK;
}

static void check_kept(struct audit *audit, uint32_t id)
{
    uint64_t end = audit->topic_end;
    audit->topic_end = UINT64_MAX;
    if (store_each_frame(broker_store(audit->world), id, 0, each_kept, audit, &audit->fault))
        sim_fail(audit->world, "the frames of %s: %s", topic_names[audit->topic], fault_text(&audit->fault));
    if (audit->topic_end != UINT64_MAX && audit->topic_end != end)
        sim_fail(audit->world, "topic %s: %llu offsets were stored, and %llu are left", topic_names[audit->topic],
                 (unsigned long long)end, (unsigned long long)audit->topic_end);
}

static void walk_topics(struct audit *audit)
{
    struct world *world = audit->world;
    struct store *store = broker_store(world);
    if (store_each_topic(store, each_topic, audit, &audit->fault))
        sim_fail(world, "the topics: %s", fault_text(&audit->fault));
    for (unsigned i = 0; i < TOPICS; i++) {
        audit->topic = i;
        audit->topic_end = 0;
        memset(audit->runs, 0, sizeof audit->runs);
        if (audit->there[i] &&
            store_each_frame(broker_archive(world), audit->ids[i], 0, each_frame, audit, &audit->fault))
            sim_fail(world, "the frames of %s: %s", topic_names[i], fault_text(&audit->fault));
        audit->ends[i] = audit->topic_end;
        if (audit->dead_ids[i] && store_each_frame(store, audit->dead_ids[i], 0, each_letters, audit, &audit->fault))
            sim_fail(world, "the dead letters of %s: %s", topic_names[i], fault_text(&audit->fault));
        if (audit->there[i])
            check_kept(audit, audit->ids[i]);
    }
}

static void check_messages(struct world *world)
{
    for (uint32_t producer = 0; producer < 3; producer++)
        for (uint32_t number = 0; number < ledger_count(world, producer); number++) {
            const struct message *message = ledger_message(world, producer, number);
            if (message->fate == FATE_STORED && message->seen != 1)
                sim_fail(world, "message %u of producer %u was acknowledged, and is lost", number, producer);
            if ((message->fate == FATE_REFUSED || message->fate == FATE_OPEN) && message->seen != 0)
                sim_fail(world, "message %u of producer %u was refused, and stored", number, producer);
        }
}

/* ---- groups ---------------------------------------------------------------------------------------------------- */

static unsigned topic_of_id(const struct audit *audit, uint32_t id)
{
    for (unsigned i = 0; i < TOPICS; i++)
        if (audit->there[i] && audit->ids[i] == id)
            return i;
    sim_fail(audit->world, "a row of a topic that is not there");
}

static enum mp_error each_group(void *context, const struct store_group *row)
{
    struct audit *audit = context;
    for (unsigned i = 0; i < TOPICS; i++)
        if (row->topic == audit->dead_ids[i])
            return MP_OK; /* mretry's, which nobody runs here */
    struct played *group = calloc(1, sizeof *group);
    unsigned topic = topic_of_id(audit, row->topic);
    if (!group || row->start > audit->ends[topic])
        sim_fail(audit->world, "group %s begins behind its topic", row->name);
    group->next = audit->groups;
    audit->groups = group;
    group->id = row->id;
    group->topic = topic;
    memcpy(group->name, row->name, strlen(row->name));
    group->moved = strcmp(row->name, MOVED) == 0;
    group->start = row->start;
    group->count = audit->ends[topic] - row->start;
    group->ordered = broker_is_ordered(audit->world, row->id);
    group->places = calloc(group->count + 1, sizeof *group->places);
    return group->places ? MP_OK : MP_ERR_MEMORY;
}

static struct played *played_of(const struct audit *audit, uint32_t id)
{
    for (struct played *group = audit->groups; group; group = group->next)
        if (group->id == id)
            return group;
    sim_fail(audit->world, "an event of group %u, which is not there", id);
}

static bool is_open(const struct place *place)
{
    return place->state == STATE_WAITING || place->state == STATE_DELAYED || place->state == STATE_LEASED;
}

/* Of a group that is ordered by key: what came before OFFSET with its key is settled. */
static void check_turn(const struct audit *audit, struct played *group, uint64_t offset,
                       const struct store_event *event)
{
    const struct offset_facts *facts = audit->facts[group->topic];
    while (group->low < group->count && !is_open(&group->places[group->low]))
        group->low++;
    for (uint64_t at = group->start + group->low; group->ordered && facts[offset].key > 0 && at < offset; at++)
        if (facts[at].key == facts[offset].key && !facts[at].duplicate && is_open(&group->places[at - group->start]))
            sim_fail(audit->world, "event %llu: offset %llu of %s is leased, and %llu of the same key is not done",
                     (unsigned long long)event->id, (unsigned long long)offset, topic_names[group->topic],
                     (unsigned long long)at);
}

static bool may_drop(const struct world *world, unsigned topic)
{
    return world->rules[topic].drops || world->rules[topic].purged;
}

/* What ends without a lease: it has expired, was a duplicate, or was dropped. */
static void play_passed(const struct audit *audit, const struct played *group, uint64_t offset, struct place *place,
                        const struct store_event *event)
{
    struct world *world = audit->world;
    const struct offset_facts *facts = &audit->facts[group->topic][offset];
    int64_t ttl = world->rules[group->topic].ttl;
    if (!is_open(place) || place->state == STATE_LEASED)
        sim_fail(world, "event %llu: passed over while it is leased or settled", (unsigned long long)event->id);
    if (event->kind == EVENT_EXPIRED && (ttl == 0 || event->time - facts->time < ttl))
        sim_fail(world, "event %llu: offset %llu of %s expired %lld us after it had come",
                 (unsigned long long)event->id, (unsigned long long)offset, topic_names[group->topic],
                 (long long)(event->time - facts->time));
    if (event->kind == EVENT_DUPLICATE && !facts->duplicate)
        sim_fail(world, "event %llu: offset %llu of %s is no duplicate", (unsigned long long)event->id,
                 (unsigned long long)offset, topic_names[group->topic]);
    if (event->kind == EVENT_DROPPED && !may_drop(world, group->topic))
        sim_fail(world, "event %llu: offset %llu of %s was dropped, and nothing asks for that",
                 (unsigned long long)event->id, (unsigned long long)offset, topic_names[group->topic]);
    world->statistics->dropped += event->kind == EVENT_DROPPED;
    place->state = event->kind == EVENT_EXPIRED   ? STATE_EXPIRED
                   : event->kind == EVENT_DROPPED ? STATE_DROPPED
                                                  : STATE_DUPLICATE;
}

static void play_lease(const struct audit *audit, const struct played *group, uint64_t offset, struct place *place,
                       const struct store_event *event)
{
    struct world *world = audit->world;
    if (place->state != STATE_WAITING && place->state != STATE_DELAYED)
        sim_fail(world, "event %llu: leased while it is %s", (unsigned long long)event->id,
                 place->state == STATE_LEASED ? "leased to another" : "settled");
    if (place->state == STATE_DELAYED && event->time < place->since)
        sim_fail(world, "event %llu: leased before its delay was over", (unsigned long long)event->id);
    int64_t ttl = world->rules[group->topic].ttl, age = event->time - audit->facts[group->topic][offset].time;
    if (ttl > 0 && age >= ttl)
        sim_fail(world, "event %llu: leased %lld us after it had come, and it had expired",
                 (unsigned long long)event->id, (long long)age);
    if (event->attempt != place->attempt + 1)
        sim_fail(world, "event %llu: attempt %u after %u that were charged", (unsigned long long)event->id,
                 event->attempt, place->attempt);
    *place = (struct place){.state = STATE_LEASED,
                            .attempt = event->attempt,
                            .session = event->session,
                            .lease = event->lease,
                            .since = event->time,
                            .leased = place->leased + 1};
}

static void play_end(const struct audit *audit, struct place *place, const struct store_event *event)
{
    struct world *world = audit->world;
    if (place->state != STATE_LEASED || place->session != event->session || place->lease != event->lease)
        sim_fail(world, "event %llu, kind %u: not leased so", (unsigned long long)event->id, (unsigned)event->kind);
    place->settled = event->id;
    switch (event->kind) {
    case EVENT_ACKED:
        place->state = STATE_ACKED;
        break;
    case EVENT_DEAD:
        place->state = STATE_DEAD;
        break;
    case EVENT_RETRIED:
        place->state = event->due > event->time ? STATE_DELAYED : STATE_WAITING;
        place->since = event->due;
        break;
    case EVENT_RELEASED:
        place->state = STATE_WAITING;
        place->attempt--;
        break;
    case EVENT_LAPSED:
        place->state = STATE_WAITING;
        place->attempt -= event->code >= 0; /* it was not alone */
        if (event->time - place->since < broker_shortest_lease(world) * MILLISECOND)
            sim_fail(world, "event %llu: a lease that lapsed after %lld us", (unsigned long long)event->id,
                     (long long)(event->time - place->since));
        break;
    default:
        sim_fail(world, "event %llu: of kind %u", (unsigned long long)event->id, (unsigned)event->kind);
    }
}

/* Whether EVENT means PLACE at OFFSET: one of its mask; of a part of a span without one, what is leased so. */
static bool is_meant(const struct store_event *event, uint64_t offset, const struct place *place)
{
    if (event->mask)
        return bits_get(event->mask, offset - event->first);
    if (event->kind == EVENT_DROPPED)
        return place->state == STATE_WAITING || place->state == STATE_DELAYED;
    return event->span == event->count ||
           (place->state == STATE_LEASED && place->session == event->session && place->lease == event->lease);
}

/* Of a topic without a group, as yet. */
static void check_lonely(const struct audit *audit, const struct store_event *event)
{
    const struct world *world = audit->world;
    unsigned topic = topic_of_id(audit, event->topic);
    if (event->kind == EVENT_EXPIRED && world->rules[topic].ttl == 0)
        sim_fail(audit->world, "event %llu: expired in a topic without a time to live", (unsigned long long)event->id);
    if (event->kind == EVENT_DROPPED && !may_drop(world, topic))
        sim_fail(audit->world, "event %llu: dropped in a topic without a limit", (unsigned long long)event->id);
}

/* What EVENT does to the places of GROUP. */
static void play(const struct audit *audit, struct played *group, const struct store_event *event)
{
    struct world *world = audit->world;
    bool passed = event->kind == EVENT_EXPIRED || event->kind == EVENT_DUPLICATE || event->kind == EVENT_DROPPED;
    uint32_t meant = 0;
    if (event->first < group->start || event->count == 0 || event->first + event->span > group->start + group->count ||
        topic_of_id(audit, event->topic) != group->topic)
        sim_fail(world, "event %llu, kind %u: offsets that group %s has not", (unsigned long long)event->id,
                 (unsigned)event->kind, group->name);
    for (uint64_t offset = event->first; offset < event->first + event->span; offset++) {
        struct place *place = &group->places[offset - group->start];
        if (!is_meant(event, offset, place))
            continue;
        if (meant++ == 0 && event->kind != EVENT_LEASED && !passed && place->attempt != event->attempt)
            sim_fail(world, "event %llu: attempt %u ends as attempt %u", (unsigned long long)event->id, place->attempt,
                     event->attempt);
        if (event->kind == EVENT_LEASED) {
            check_turn(audit, group, offset, event);
            play_lease(audit, group, offset, place, event);
        } else if (passed) {
            play_passed(audit, group, offset, place, event);
        } else {
            play_end(audit, place, event);
        }
    }
    if (meant != event->count)
        sim_fail(world, "event %llu: %u messages, where it says %u", (unsigned long long)event->id, meant,
                 event->count);
}

static enum mp_error each_event(void *context, const struct store_event *event)
{
    struct audit *audit = context;
    struct world *world = audit->world;
    if (event->id != ++audit->last_event)
        sim_fail(world, "event %llu comes where %llu should", (unsigned long long)event->id,
                 (unsigned long long)audit->last_event);
    if (event->kind == EVENT_PUBLISHED || event->kind == EVENT_SESSION)
        return MP_OK; /* frames are looked at themselves */
    if (event->group == 0 && (event->kind == EVENT_EXPIRED || event->kind == EVENT_DROPPED)) {
        check_lonely(audit, event);
        return MP_OK;
    }
    struct played *group = played_of(audit, event->group);
    if (!group->moved)
        play(audit, group, event);
    if (event->kind == EVENT_LEASED || event->request == 0)
        return MP_OK;
    if (event->request >> 62 != PROTOCOL_LANE_SETTLE)
        sim_fail(world, "event %llu: settled by a request of another lane", (unsigned long long)event->id);
    ledger_promise(world, event->session, PROTOCOL_LANE_SETTLE, event->request & (UINT64_MAX >> 2), true)->found +=
        event->count;
    return MP_OK;
}

static void check_promise(struct world *world, struct promise *promise)
{
    uint64_t lane = load_u64(promise->key + 8);
    if (promise->a == UINT64_MAX)
        return; /* done, and never answered */
    if (lane == PROTOCOL_LANE_PUBLISH ? promise->found != 1 : promise->found != promise->a)
        sim_fail(world, "session %llx, lane %llu, number %llu: answered, and the store does not know it",
                 (unsigned long long)load_u64(promise->key), (unsigned long long)lane,
                 (unsigned long long)load_u64(promise->key + 16));
}

/* Each letter belongs to a message that died in its group. (A pattern's group may have the same name as a topic's.) */
static void match_letters(struct audit *audit)
{
    for (size_t i = 0; i < audit->found_count; i++) {
        const struct found *found = &audit->found[i];
        struct place *place = NULL;
        if (strcmp(found->group, MOVED) == 0)
            continue;
        for (struct played *group = audit->groups; group; group = group->next) {
            if (group->topic != found->topic || strcmp(group->name, found->group) != 0 ||
                found->offset < group->start || found->offset >= group->start + group->count)
                continue;
            struct place *there = &group->places[found->offset - group->start];
            if (there->state == STATE_DEAD && there->letters == 0)
                place = there;
        }
        if (!place)
            sim_fail(audit->world, "a dead letter of offset %llu of %s, which is not dead for group %s, or twice",
                     (unsigned long long)found->offset, topic_names[found->topic], found->group);
        place->letters++;
    }
}

static void check_group(const struct audit *audit, const struct played *group)
{
    struct world *world = audit->world;
    bool bridge = strcmp(group->name, "bridge") == 0;
    for (uint64_t i = 0; i < group->count; i++) {
        const struct place *place = &group->places[i];
        uint64_t offset = group->start + i;
        bool passed = place->state == STATE_EXPIRED || place->state == STATE_DUPLICATE || place->state == STATE_DROPPED;
        if (place->state != STATE_ACKED && place->state != STATE_DEAD && !passed)
            sim_fail(world, "group %s never settled offset %llu of %s", group->name, (unsigned long long)offset,
                     topic_names[group->topic]);
        if (place->state == STATE_DEAD && place->letters != 1)
            sim_fail(world, "there is no dead letter of offset %llu of %s", (unsigned long long)offset,
                     topic_names[group->topic]);
        if (place->leased == 0 && !passed)
            sim_fail(world, "group %s was never given offset %llu", group->name, (unsigned long long)offset);
        for (unsigned k = 0; bridge && k < ledger_outputs(group->topic, offset); k++) {
            size_t at = ((size_t)offset * TOPICS + group->topic) * OUTPUTS + k;
            bool stored = at < audit->outputs_size && audit->outputs[at] == 1;
            if (stored != (place->state == STATE_ACKED))
                sim_fail(world, "offset %llu of %s is settled, and its output %u is not stored",
                         (unsigned long long)offset, topic_names[group->topic], k);
        }
    }
}

struct place_query {
    struct audit *audit;
    const struct given *given;
    bool leased, ended;
};

static enum mp_error find_lease(void *context, const struct store_event *event)
{
    struct place_query *query = context;
    const struct given *given = query->given;
    if (event->group != given->group || event->session != given->session || event->lease != given->lease ||
        given->first < event->first || given->first - event->first >= event->span ||
        (event->mask && !bits_get(event->mask, given->first - event->first)))
        return MP_OK;
    if (event->kind == EVENT_LEASED && event->attempt == given->attempt)
        query->leased = true;
    if (event->kind != EVENT_LEASED && event->id >= given->event)
        query->ended = true;
    return MP_OK;
}

/* What was given and was not leased so at the end of its turn: the turn itself ended the lease. */
static void check_given(struct audit *audit)
{
    size_t count;
    const struct given *given = ledger_given(audit->world, &count);
    for (size_t i = 0; i < count; i++) {
        if (given[i].event == 0 || played_of(audit, given[i].group)->moved)
            continue;
        struct place_query query = {.audit = audit, .given = &given[i]};
        if (store_each_event(broker_store(audit->world), 0, find_lease, &query, &audit->fault))
            sim_fail(audit->world, "the events: %s", fault_text(&audit->fault));
        if (!query.leased || !query.ended)
            sim_fail(audit->world, "offset %llu of group %u was given to session %llx under %llu, and not leased so",
                     (unsigned long long)given[i].first, given[i].group, (unsigned long long)given[i].session,
                     (unsigned long long)given[i].lease);
    }
}

void audit(struct world *world)
{
    struct audit audit = {.world = world};
    walk_topics(&audit);
    check_messages(world);
    if (store_each_group(broker_store(world), each_group, &audit, &audit.fault) ||
        store_each_event(broker_store(world), 0, each_event, &audit, &audit.fault))
        sim_fail(world, "the rows: %s", fault_text(&audit.fault));
    ledger_each_promise(world, check_promise);
    match_letters(&audit);
    check_given(&audit);
    while (audit.groups) {
        struct played *group = audit.groups;
        audit.groups = group->next;
        if (!group->moved)
            check_group(&audit, group);
        free(group->places);
        free(group);
    }
    for (unsigned i = 0; i < TOPICS; i++)
        free(audit.facts[i]);
    free(audit.outputs);
    free(audit.found);
}
