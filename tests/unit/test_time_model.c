/*
 * Everything that time does to a topic, in any mixture, against a simple list: delayed messages, expiry by the topic and
 * by the message, duplicates, with a wall clock that steps, relays that start again and turns that are undone.
 */
#include "time_rig.h"

#include "base/random.h"
#include "base/units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEEDS = 250, STEPS = 160, MESSAGES_MAX = 4 * STEPS, FRAME_MAX = 4, IDS = 12 };
#define WINDOW (40 * SECOND)

struct message {
    unsigned number; /* its body */
    unsigned id;
    int64_t expires; /* relay time; CLOCK_NEVER */
    int64_t due;     /* of the schedule; 0: it has its place */
    int64_t placed;
    bool duplicate, done;
};

struct trial {
    struct time_rig rig;
    uint64_t random;
    int64_t offset; /* relay time less the steady clock */
    int64_t ttl;
    struct message messages[MESSAGES_MAX]; /* those that wait for their time first by due, then in order; see place() */
    size_t count;
    struct message topic[MESSAGES_MAX]; /* those that have an offset, in its order */
    size_t placed;
};

static uint64_t below(struct trial *trial, uint64_t limit)
{
    return random_below(&trial->random, limit);
}

static int64_t now(const struct trial *trial)
{
    return trial->rig.now.monotonic + trial->offset;
}

/* MESSAGE gets its offset. */
static void place(struct trial *trial, struct message message)
{
    message.placed = now(trial);
    for (size_t i = 0; i < trial->placed; i++) {
        const struct message *other = &trial->topic[i];
        if (other->id == message.id && !other->duplicate && other->placed > message.placed - WINDOW)
            message.duplicate = true;
    }
    trial->topic[trial->placed++] = message;
}

/* A frame of a few messages, now or for later. */
static void step_publish(struct trial *trial)
{
    struct rig_message messages[FRAME_MAX] = {{0}};
    char bodies[FRAME_MAX][12], ids[FRAME_MAX][12], times[FRAME_MAX][UNITS_TIME_TEXT];
    uint32_t count = 1 + (uint32_t)below(trial, FRAME_MAX);
    int64_t delay = below(trial, 3) == 0 ? 1 + (int64_t)below(trial, 30 * SECOND) : 0;
    bool undone = trial->rig.undo;
    for (uint32_t i = 0; i < count; i++) {
        struct message message = {.number = (unsigned)trial->count,
                                  .id = (unsigned)below(trial, IDS),
                                  .expires = CLOCK_NEVER,
                                  .due = delay > 0 ? now(trial) + delay : 0};
        unsigned attribute = 0;
        snprintf(bodies[i], sizeof bodies[i], "%u", message.number);
        snprintf(ids[i], sizeof ids[i], "i%u", message.id);
        messages[i].body = bodies[i];
        messages[i].attributes[attribute++] = "id";
        messages[i].attributes[attribute++] = ids[i];
        if (below(trial, 3) == 0) {
            int64_t life = (int64_t)below(trial, 60 * SECOND) - SECOND;
            message.expires = now(trial) + life;
            units_time_text(trial->rig.now.wall + life, times[i]);
            messages[i].attributes[attribute++] = "expirytime";
            messages[i].attributes[attribute++] = times[i];
        }
        trial->messages[trial->count++] = message;
        if (undone)
            trial->messages[trial->count - 1].done = true;
        else if (delay == 0)
            place(trial, message);
    }
    time_rig_publish(&trial->rig, "t", "", delay, messages, count, NULL);
}

/* What is due gets its place: by time, then as it came. */
static void step_tick(struct trial *trial)
{
    if (!time_rig_tick(&trial->rig))
        return;
    for (;;) {
        struct message *next = NULL;
        for (size_t i = 0; i < trial->count; i++) {
            struct message *message = &trial->messages[i];
            if (message->due > 0 && !message->done && message->due <= now(trial) && (!next || message->due < next->due))
                next = message;
        }
        if (!next)
            return;
        place(trial, *next);
        next->done = true;
    }
}

static bool has_expired(const struct trial *trial, const struct message *message)
{
    return message->expires <= now(trial) || (trial->ttl > 0 && now(trial) - message->placed >= trial->ttl);
}

/* Everything that waits, or some of it. */
static void step_consume(struct trial *trial, uint32_t most)
{
    char expected[8 * MESSAGES_MAX] = "", text[8 * MESSAGES_MAX] = "";
    bool undone = trial->rig.undo;
    uint32_t taken = 0;
    size_t at = 0;
    for (size_t i = 0; i < trial->placed; i++) {
        struct message *message = &trial->topic[i];
        if (message->done || message->duplicate || (most > 0 && taken == most))
            continue;
        bool expired = has_expired(trial, message);
        if (!expired) {
            at += (size_t)snprintf(expected + at, sizeof expected - at, "%u ", message->number);
            taken++;
        }
        message->done |= !undone; /* once over its time it does not come back, whatever the ttl will be */
    }
    time_rig_consume(&trial->rig, "t", "g", most, text, sizeof text);
    assert_string_equal(text, expected);
}

static void step_clock(struct trial *trial)
{
    int64_t step = (int64_t)below(trial, 30 * 86400) * SECOND;
    trial->rig.now.wall += below(trial, 2) == 0 ? step : -step;
}

static void step_ttl(struct trial *trial)
{
    static const char *const words[] = {"", "5s", "20s", "50s"};
    static const int64_t values[] = {0, 5 * SECOND, 20 * SECOND, 50 * SECOND};
    uint64_t choice = below(trial, 4);
    /* What has expired by the old one is swept before the next is set. */
    trial->rig.undo = false;
    time_rig_settle_down(&trial->rig);
    step_tick(trial);
    step_consume(trial, 0);
    time_rig_configure(&trial->rig, "t", "ttl", words[choice]);
    trial->ttl = values[choice];
}

static void step(struct trial *trial)
{
    uint64_t dice = below(trial, 100);
    trial->rig.undo = below(trial, 12) == 0;
    if (dice < 35)
        step_publish(trial);
    else if (dice < 60)
        time_rig_pass(&trial->rig, (int64_t)below(trial, dice < 40 ? 60 * SECOND : 3 * SECOND));
    else if (dice < 75)
        step_tick(trial);
    else if (dice < 88)
        step_consume(trial, (uint32_t)below(trial, 4));
    else if (dice < 93)
        step_clock(trial);
    else if (dice < 97)
        time_rig_restart(&trial->rig);
    else
        step_ttl(trial);
    trial->rig.undo = false;
}

static void run_seed(uint64_t seed)
{
    struct trial *trial = calloc(1, sizeof *trial);
    assert_non_null(trial);
    trial->random = seed;
    time_rig_begin(&trial->rig);
    trial->offset = trial->rig.now.wall - trial->rig.now.monotonic;
    time_rig_configure(&trial->rig, "t", "dedupe.by", "id");
    time_rig_configure(&trial->rig, "t", "dedupe.window", "40s");
    time_rig_join(&trial->rig, "t", "g");
    for (unsigned i = 0; i < STEPS; i++)
        step(trial);
    time_rig_pass(&trial->rig, 31 * SECOND);
    step_tick(trial);
    step_consume(trial, 0);
    /* Nothing is left, and nothing comes back. */
    time_rig_restart(&trial->rig);
    time_rig_settle_down(&trial->rig);
    step_consume(trial, 0);
    time_rig_end(&trial->rig);
    free(trial);
}

static void time_does_what_a_list_says(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run_seed(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(time_does_what_a_list_says)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
