#include "power.h"

#include <stdio.h>
#include <stdlib.h>

enum { CONTROL = PROTOCOL_LANE_CONTROL };

/* ---- the plan --------------------------------------------------------------------------------------------------- */

/* What the groups are on; their settings are the inside of a JSON object. */
static const struct group_plan {
    const char *on, *name, *settings;
} groups[] = {
    {"plain", "g", "\"retry.max_retries\":\"2\",\"retry.initial_interval\":\"50ms\",\"retry.jitter\":\"0\""},
    {"plain", "ordered", "\"order\":\"key\""},
    {"b.*", "p", NULL},
    {"b.x", "h", "\"max_in_flight\":\"30\""},
    {"once", "g", NULL},
    {"later", "g", NULL},
    {"short", "g", NULL},
    {"loose", "g", NULL},
};
enum { GROUPS_PLANNED = sizeof groups / sizeof *groups };

/* The request number NUMBER that tells topics and groups what to do; false: there are no more. */
static bool plan_text(unsigned number, char text[WORDS])
{
    if (number < TOPICS) {
        const struct topic_plan *topic = &power_topics[number];
        snprintf(text, WORDS, "{\"verb\":\"set\",\"topic\":\"%s\",\"settings\":{%s}}", topic->name,
                 topic->settings ? topic->settings : "");
        return true;
    }
    if (number >= TOPICS + GROUPS_PLANNED)
        return false;
    const struct group_plan *group = &groups[number - TOPICS];
    snprintf(text, WORDS, "{\"verb\":\"set\",\"topic\":\"%s\",\"group\":\"%s\",\"settings\":{%s}}", group->on,
             group->name, group->settings ? group->settings : "");
    return true;
}

/* What somebody does now and then to a topic that nobody else needs. */
static void choose_change(struct life *life, char text[WORDS])
{
    static const char *const changes[] = {
        "{\"verb\":\"purge\",\"topic\":\"loose\",\"below\":1000000}",
        "{\"verb\":\"delete\",\"topic\":\"loose\",\"force\":true}",
        "{\"verb\":\"delete\",\"topic\":\"loose\",\"group\":\"g\",\"force\":true}",
        "{\"verb\":\"seek\",\"topic\":\"loose\",\"group\":\"g\",\"from\":\"start\",\"force\":true}",
        "{\"verb\":\"set\",\"topic\":\"loose\",\"settings\":{\"max_messages\":\"1000\"}}",
    };
    snprintf(text, WORDS, "%s", changes[life_below(life, 5)]);
}

/* ---- sending ---------------------------------------------------------------------------------------------------- */

static void must(enum mp_error error)
{
    if (error)
        abort(); /* the trial's own memory, or its own mistake */
}

static void submit(struct life *life, unsigned index, unsigned lane)
{
    struct pending *pending = &life->actors[index].lanes[lane];
    struct buffer copy = {0};
    if (lane == PROTOCOL_LANE_PUBLISH || lane == PROTOCOL_LANE_SETTLE)
        protocol_set_attempt(&pending->bytes, 0, pending->attempt);
    must(buffer_append(&copy, pending->bytes.data, pending->bytes.size));
    struct blob *blob = blob_of_buffer(&copy);
    if (!blob)
        abort();
    pending->id = ++life->next_id;
    pending->again = false;
    product_enter(true);
    core_submit(life->core, index + 1, &pending->id, 1, blob);
    product_enter(false);
}

static struct pending *begin(struct life *life, unsigned index, unsigned lane, enum protocol_type type)
{
    struct actor *actor = &life->actors[index];
    struct pending *pending = &actor->lanes[lane];
    pending->bytes.size = 0;
    pending->open = true;
    pending->attempt = protocol_next_attempt(pending->attempt);
    pending->number = lane < PROTOCOL_LANES ? actor->numbers[lane] + 1 : 1;
    pending->kind = (struct request_kind){.type = type};
    must(protocol_put_request(&pending->bytes, type, lane, actor->session, pending->number));
    return pending;
}

/* What is asked under a number, as far as it may have to be asked again. */
static void note_deed(struct life *life, unsigned index, unsigned lane)
{
    const struct pending *pending = &life->actors[index].lanes[lane];
    struct deed *deed = facts_deed(&life->facts, index, lane, pending->number);
    deed->sent = life->disk.steps_count;
    deed->publication = pending->kind.publication;
    deed->bytes.size = 0;
    must(buffer_append(&deed->bytes, pending->bytes.data, pending->bytes.size));
}

static void send_hello(struct life *life, unsigned index)
{
    struct pending *pending = begin(life, index, CONTROL, PROTOCOL_HELLO);
    must(protocol_put_hello(&pending->bytes, "power", index == 1 ? 86400 : 0));
    submit(life, index, CONTROL);
}

static void send_admin(struct life *life, unsigned index, const char *text)
{
    struct pending *pending = begin(life, index, CONTROL, PROTOCOL_ADMIN);
    must(buffer_append_string(&pending->bytes, text));
    submit(life, index, CONTROL);
}

/* A frame of new messages for TOPIC. */
static struct buffer new_frame(struct life *life, unsigned index, unsigned topic, uint32_t *publication)
{
    struct frame_builder frame = {0};
    uint32_t count = 1 + (uint32_t)life_below(life, life_chance(life, 20) ? 20 : 4);
    *publication = facts_publish(&life->facts, index, topic, count, life->disk.steps_count);
    uint64_t first = life->facts.publications[*publication].sequence;
    must(frame_begin(&frame, PRODUCER_BASE + index, first));
    for (uint32_t i = 0; i < count; i++)
        message_write(index, first + i, topic, &frame);
    frame_finish(&frame, life->now.wall);
    life->messages += count;
    return frame.bytes;
}

static void send_publication(struct life *life, unsigned index)
{
    struct pending *pending = begin(life, index, PROTOCOL_LANE_PUBLISH, PROTOCOL_PUBLISH);
    unsigned topic = (unsigned)life_below(life, TOPICS);
    struct protocol_publication to = protocol_publication(power_topics[topic].name);
    uint32_t publication;
    struct buffer frame = new_frame(life, index, topic, &publication);
    pending->kind.publication = publication + 1;
    if (strcmp(power_topics[topic].name, "later") == 0) {
        to.when = PROTOCOL_WHEN_DELAY;
        to.value = (int64_t)life_below(life, 2 * SECOND);
    }
    must(protocol_put_publish(&pending->bytes, &to));
    must(buffer_append(&pending->bytes, frame.data, frame.size));
    buffer_free(&frame);
    note_deed(life, index, PROTOCOL_LANE_PUBLISH);
    submit(life, index, PROTOCOL_LANE_PUBLISH);
}

static void send_fetch(struct life *life, unsigned index)
{
    const struct group_plan *group = &groups[life_below(life, GROUPS_PLANNED)];
    struct pending *pending = begin(life, index, PROTOCOL_LANE_FETCH, PROTOCOL_FETCH);
    struct protocol_fetch fetch = {.topic = group->on,
                                   .topic_size = strlen(group->on),
                                   .group = group->name,
                                   .group_size = strlen(group->name),
                                   .max_messages = 1 + (uint32_t)life_below(life, 20),
                                   .max_bytes = 100000};
    must(protocol_put_fetch(&pending->bytes, &fetch, NULL));
    submit(life, index, PROTOCOL_LANE_FETCH);
}

static enum protocol_action choose_action(struct life *life)
{
    uint64_t chance = life_below(life, 100);
    return chance < 75 ? PROTOCOL_ACK : chance < 86 ? PROTOCOL_RETRY : chance < 93 ? PROTOCOL_RELEASE : PROTOCOL_DEAD;
}

/* Whether account is kept of what becomes of TOPIC's messages. */
static bool is_counted(unsigned topic)
{
    return topic < TOPICS && !power_topics[topic].loose;
}

/* As a request has to name them. */
static int compare_held(const void *one, const void *other)
{
    const struct held *a = one, *b = other;
    if (a->group != b->group)
        return a->group < b->group ? -1 : 1;
    if (a->lease != b->lease)
        return a->lease < b->lease ? -1 : 1;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

static void send_settlement(struct life *life, unsigned index)
{
    struct actor *actor = &life->actors[index];
    struct pending *pending = begin(life, index, PROTOCOL_LANE_SETTLE, PROTOCOL_SETTLE);
    struct protocol_settlement items[HELD];
    unsigned count = 1 + (unsigned)life_below(life, actor->held_count);
    bool publishes = life_chance(life, 15);
    qsort(actor->held, count, sizeof *actor->held, compare_held);
    for (unsigned i = 0; i < count; i++) {
        struct held *held = &actor->held[i];
        items[i] = (struct protocol_settlement){.group = held->group,
                                                .lease = held->lease,
                                                .first = held->offset,
                                                .count = 1,
                                                .action = choose_action(life),
                                                .delay = PROTOCOL_DELAY_POLICY,
                                                .exit_code = -1};
        bool counts = is_counted(held->topic);
        pending->settled[i] = (struct settled_item){counts ? held->group : GROUPS, held->offset, items[i].action};
        struct fate *fate = counts ? facts_fate(&life->facts, held->group, held->offset) : NULL;
        if (fate && items[i].action != PROTOCOL_RELEASE && fate->may_end == NEVER)
            fate->may_end = life->disk.steps_count;
    }
    pending->kind.items = count;
    memmove(actor->held, actor->held + count, (actor->held_count - count) * sizeof *actor->held);
    actor->held_count -= count;
    must(protocol_put_settle(&pending->bytes, items, count, publishes));
    if (publishes) {
        uint32_t publication;
        struct buffer frame = new_frame(life, index, 2, &publication);
        struct protocol_publication to = protocol_publication(power_topics[2].name);
        to.frame = frame.data;
        to.frame_size = frame.size;
        must(protocol_put_settle_publish(&pending->bytes, &to));
        protocol_set_flags(&pending->bytes, 0, PROTOCOL_ATOMIC);
        pending->kind.publication = publication + 1;
        buffer_free(&frame);
    }
    note_deed(life, index, PROTOCOL_LANE_SETTLE);
    submit(life, index, PROTOCOL_LANE_SETTLE);
}

/* What an idle actor begins. */
static void act_control(struct life *life, unsigned index)
{
    char text[WORDS];
    if (life->actors[index].session == 0) {
        send_hello(life, index);
    } else if (index == 0 && plan_text(life->plan, text)) {
        send_admin(life, index, text);
    } else if (index == 0 && life_chance(life, 3)) {
        choose_change(life, text);
        send_admin(life, index, text);
    }
}

void actor_act(struct life *life, unsigned index)
{
    struct actor *actor = &life->actors[index];
    for (unsigned lane = 0; lane <= PROTOCOL_LANES; lane++)
        if (actor->lanes[lane].open && actor->lanes[lane].again) {
            actor->lanes[lane].attempt = protocol_next_attempt(actor->lanes[lane].attempt);
            submit(life, index, lane);
        }
    if (life->calm)
        return;
    if (!actor->lanes[CONTROL].open)
        act_control(life, index);
    if (actor->session == 0 || life->plan < TOPICS + GROUPS_PLANNED)
        return;
    if (!actor->lanes[PROTOCOL_LANE_PUBLISH].open && life_chance(life, 35))
        send_publication(life, index);
    if (!actor->lanes[PROTOCOL_LANE_SETTLE].open && actor->held_count > 0 && life_chance(life, 60))
        send_settlement(life, index);
    else if (!actor->lanes[PROTOCOL_LANE_FETCH].open && actor->held_count == 0 && life_chance(life, 60))
        send_fetch(life, index);
}

void actors_send_again(struct life *life)
{
    for (unsigned i = 0; i < ACTORS; i++)
        for (unsigned lane = 0; lane <= PROTOCOL_LANES; lane++)
            life->actors[i].lanes[lane].again = true;
}

bool actors_are_idle(const struct life *life)
{
    for (unsigned i = 0; i < ACTORS; i++)
        for (unsigned lane = 0; lane <= PROTOCOL_LANES; lane++)
            if (life->actors[i].lanes[lane].open)
                return false;
    return true;
}

/* ---- replies ---------------------------------------------------------------------------------------------------- */

static void acknowledge(struct life *life, uint32_t number, uint64_t first)
{
    struct publication *publication = &life->facts.publications[number];
    publication->acknowledged = life->disk.steps_count;
    publication->first = first;
    life->acknowledged += publication->count;
}

static void take_published(struct life *life, unsigned index, const struct protocol_reply *reply)
{
    const struct pending *pending = &life->actors[index].lanes[PROTOCOL_LANE_PUBLISH];
    struct deed *deed = facts_deed(&life->facts, index, PROTOCOL_LANE_PUBLISH, pending->number);
    uint32_t duplicates;
    if (protocol_read_published(reply, &deed->result, &deed->count, &duplicates))
        life_wrong(life, "the reply to a publication cannot be read");
    deed->acknowledged = life->disk.steps_count;
    acknowledge(life, pending->kind.publication - 1, deed->result);
}

static void take_settled(struct life *life, unsigned index, const struct protocol_reply *reply)
{
    const struct pending *pending = &life->actors[index].lanes[PROTOCOL_LANE_SETTLE];
    struct deed *deed = facts_deed(&life->facts, index, PROTOCOL_LANE_SETTLE, pending->number);
    uint32_t applied, stale;
    if (protocol_read_settled(reply, &applied, &stale))
        life_wrong(life, "the reply to a settlement cannot be read");
    deed->result = applied;
    deed->count = stale;
    deed->acknowledged = life->disk.steps_count;
    life->settled += applied;
    if (pending->kind.publication > 0)
        acknowledge(life, pending->kind.publication - 1, PROTOCOL_SCHEDULED);
    for (unsigned i = 0; stale == 0 && i < pending->kind.items; i++) {
        const struct settled_item *item = &pending->settled[i];
        bool ends = item->action == PROTOCOL_ACK || item->action == PROTOCOL_DEAD;
        struct fate *fate = item->group < GROUPS ? facts_fate(&life->facts, item->group, item->offset) : NULL;
        if (fate && ends && fate->ended == NEVER)
            fate->ended = life->disk.steps_count;
    }
}

/* Messages that were given: each is one that was sent, and was not settled before. */
static void take_chunk(struct life *life, unsigned index, const struct protocol_chunk *chunk, uint64_t lease)
{
    struct actor *actor = &life->actors[index];
    struct facts *facts = &life->facts;
    struct frame frame;
    struct record record;
    unsigned topic = facts_topic(chunk->name, chunk->name_size);
    if (frame_open(&frame, chunk->frame, chunk->frame_size, true, NULL)) {
        life_wrong(life, "what was delivered is no frame");
        return;
    }
    struct frame_cursor cursor = frame_cursor(&frame);
    for (uint32_t i = 0; i < chunk->count && frame_next(&cursor, &record) && actor->held_count < HELD; i++) {
        uint64_t offset = protocol_chunk_offset(chunk, i);
        uint64_t producer = record.producer - PRODUCER_BASE;
        if (producer >= ACTORS || record.sequence > facts->messages_count[producer] ||
            !message_is((unsigned)producer, record.sequence, &record))
            life_wrong(life, "offset %llu of %.*s was delivered, and nobody sent it", (unsigned long long)offset,
                       (int)chunk->name_size, chunk->name);
        if (is_counted(topic)) {
            facts->group_topics[chunk->group] = topic;
            if (facts_fate(facts, chunk->group, offset)->ended != NEVER)
                life_wrong(life, "offset %llu of %.*s was settled by group %u, and is delivered again",
                           (unsigned long long)offset, (int)chunk->name_size, chunk->name, chunk->group);
        }
        actor->held[actor->held_count++] = (struct held){chunk->group, topic, lease, offset};
    }
}

static bool take_fetched(struct life *life, unsigned index, const struct protocol_reply *reply)
{
    struct protocol_fetched fetched;
    struct protocol_chunk chunk;
    if (protocol_read_fetched(reply, &fetched)) {
        life_wrong(life, "the reply to a fetch cannot be read");
        return false;
    }
    bool used = fetched.chunks > 0 || fetched.flags & PROTOCOL_FETCH_LAPSED;
    while (protocol_next_chunk(&fetched, &chunk))
        take_chunk(life, index, &chunk, reply->number);
    return used;
}

static void take_control(struct life *life, unsigned index, const struct protocol_reply *reply)
{
    struct protocol_welcome welcome;
    struct actor *actor = &life->actors[index];
    char text[WORDS];
    if (reply->type != PROTOCOL_HELLO)
        life->plan += index == 0 && plan_text(life->plan, text);
    else if (protocol_read_welcome(reply, &welcome))
        life_wrong(life, "the reply to a greeting cannot be read");
    else
        actor->session = welcome.session;
}

static void take_error(struct life *life, unsigned index, unsigned lane, const struct protocol_reply *reply)
{
    struct pending *pending = &life->actors[index].lanes[lane];
    struct fault fault = {0};
    uint64_t expected;
    if (protocol_read_error(reply, &expected, &fault))
        life_wrong(life, "a reply with an error that cannot be read");
    if (fault.text[0] == '\0' && !life->wordless)
        life_wrong(life, "a request fails (%s) without a word about the reason", mp_error_text(reply->status));
    life->refusals++;
    if (reply->status == MP_ERR_AGAIN || reply->status == MP_ERR_FULL)
        pending->again = true;
    else if (reply->status == MP_ERR_STALE || lane == CONTROL || (lane == PROTOCOL_LANE_FETCH && life->bad_reads))
        pending->open = false; /* nothing was done; a topic that was deleted before; what cannot be read */
    else
        life_wrong(life, "a request on lane %u gets %s: %s", lane, mp_error_text(reply->status), fault.text);
}

void actor_reply(struct life *life, uint32_t id, const struct protocol_reply *reply)
{
    for (unsigned index = 0; index < ACTORS; index++)
        for (unsigned lane = 0; lane <= PROTOCOL_LANES; lane++) {
            struct actor *actor = &life->actors[index];
            struct pending *pending = &actor->lanes[lane];
            if (!pending->open || pending->id != id)
                continue;
            if (reply->status != MP_OK) {
                take_error(life, index, lane, reply);
                return;
            }
            pending->open = false;
            bool used = lane < PROTOCOL_LANES;
            if (lane == PROTOCOL_LANE_PUBLISH)
                take_published(life, index, reply);
            else if (lane == PROTOCOL_LANE_SETTLE)
                take_settled(life, index, reply);
            else if (lane == PROTOCOL_LANE_FETCH)
                used = take_fetched(life, index, reply);
            else
                take_control(life, index, reply);
            if (used)
                actor->numbers[lane]++;
            return;
        }
    /* An answer to what was sent again since: it counts no more. */
}
