#include "model.h"

#include "base/random.h"

#include <stdio.h>
#include <stdlib.h>

struct statistics statistics;

/* ---- chance ---------------------------------------------------------------------------------------------------- */

uint64_t trial_random(struct trial *trial)
{
    return random_next(&trial->random);
}

uint64_t trial_below(struct trial *trial, uint64_t limit)
{
    return limit > 0 ? trial_random(trial) % limit : 0;
}

bool trial_chance(struct trial *trial, unsigned percent)
{
    return trial_below(trial, 100) < percent;
}

/* ---- names ----------------------------------------------------------------------------------------------------- */

static const char *const topic_names[TOPICS] = {"a",      "b.x",      "b.y",      "c.x.y",    "b",
                                                "c.x",    "a.dead",   "b.x.dead", "b.y.dead", "c.x.y.dead",
                                                "b.dead", "c.x.dead", "letters"};
static const char *const pattern_names[PATTERNS] = {"b.*", ">", "*.x"};
static const char *const group_names[GROUP_NAMES + 1] = {"", "g", "h", "i", "mretry"};

const char *topic_name(unsigned topic)
{
    return topic_names[topic];
}

const char *subscription_on(unsigned index)
{
    unsigned place = index / (GROUP_NAMES + 1);
    return place < TOPICS ? topic_names[place] : pattern_names[place - TOPICS];
}

const char *subscription_group(unsigned index)
{
    return group_names[index % (GROUP_NAMES + 1)];
}

bool subscription_is_pattern(unsigned index)
{
    return index / (GROUP_NAMES + 1) >= TOPICS;
}

bool subscription_is_of(unsigned index, unsigned topic)
{
    if (subscription_is_pattern(index))
        return name_matches(subscription_on(index), topic_names[topic]);
    return index / (GROUP_NAMES + 1) == topic;
}

/* ---- a seed ---------------------------------------------------------------------------------------------------- */

/*
 * Each seed leaves some operations out and does others often, so that rare states are reached and no operation hides
 * what another does.
 */
static void choose_flavour(struct trial *trial)
{
    static const unsigned factors[] = {0, 1, 2, 2, 4, 12};
    static const uint32_t frames[] = {1, 1, 3, 3, 8, 8, 8, 40, 40, 1500};
    static const uint32_t bodies[] = {8, 40, 40, 300, 4000};
    static const int64_t quicks[] = {MILLISECOND, 50 * MILLISECOND, SECOND, 5 * SECOND};
    struct flavour *flavour = &trial->flavour;
    for (unsigned i = 0; i < operations_count(); i++)
        flavour->weights[i] =
            trial->options->without >> i & 1 ? 0 : operations[i].weight * factors[trial_below(trial, 6)];
    flavour->topics = 1 + (unsigned)trial_below(trial, PLAIN_TOPICS);
    flavour->patterns = (unsigned)trial_below(trial, PATTERNS + 1);
    flavour->groups = 1 + (unsigned)trial_below(trial, MRETRY - 1);
    flavour->sessions = 1 + (unsigned)trial_below(trial, SESSIONS);
    flavour->frame_max = frames[trial_below(trial, 10)];
    flavour->body_max = bodies[trial_below(trial, flavour->frame_max > 100 ? 3 : 5)];
    flavour->topic_max = flavour->frame_max > 100 ? 6000 : 1500;
    flavour->keys = trial_chance(trial, 50) ? 1 + (unsigned)trial_below(trial, 12) : 0;
    flavour->names = trial_chance(trial, 50) ? 1 + (unsigned)trial_below(trial, 100) : 0;
    flavour->quick = quicks[trial_below(trial, 4)];
    flavour->slow = 60 * SECOND;
    flavour->expires = trial_chance(trial, 40);
    flavour->limits = trial_chance(trial, 30);
    flavour->wall_steps = trial_chance(trial, 30);
}

static void choose_settings(struct trial *trial)
{
    static const uint32_t snapshots[] = {1, 2, 7, 50, 1024};
    static const size_t caches[] = {1, 4096, 65536, 0};
    trial->settings = (struct engine_local_settings){
        .snapshot_every = snapshots[trial_below(trial, 5)],
        .cache = caches[trial_below(trial, 4)],
        .lease = (uint32_t)(1000 + trial_below(trial, 40000)),
        .events = trial_chance(trial, 50) ? 1 : 0,
        .events_step = trial_chance(trial, 50) ? 1 + (uint32_t)trial_below(trial, 20) : 0,
        .trace_bytes = trial_chance(trial, 20) ? 1 + trial_below(trial, 20000) : 0,
        .trace_drop = trial_chance(trial, 20) ? (double)trial_below(trial, 11) / 10 : 0,
        .keep_store = true,
    };
    trial->moment.monotonic = (int64_t)trial_below(trial, 1000000) * SECOND;
    trial->moment.wall = (int64_t)1700000000 * SECOND + (int64_t)trial_below(trial, 100000000) * SECOND;
    trial->moment.boot = trial_chance(trial, 80) ? trial_random(trial) | 1 : 0;
    for (unsigned i = 0; i < SESSIONS; i++)
        trial->sessions[i] = trial_random(trial) | 1;
}

static const struct operation *choose_operation(struct trial *trial)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < operations_count(); i++)
        sum += trial->flavour.weights[i];
    uint64_t at = trial_below(trial, sum);
    for (unsigned i = 0; i < operations_count(); i++) {
        if (at < trial->flavour.weights[i])
            return &operations[i];
        at -= trial->flavour.weights[i];
    }
    return &operations[0];
}

static void trial_free(struct trial *trial)
{
    engine_deliveries_free(&trial->deliveries);
    trial->call->close(trial->engine);
    store_close(trial->store);
    for (unsigned i = 0; i < GROUPS_MAX; i++)
        free(trial->cells[i]);
    for (unsigned i = 0; i < TOPICS; i++) {
        free(trial->messages[i]);
        free(trial->deleted[i]);
        free(trial->letters[i]);
    }
    free(trial->changes);
    free(trial);
}

void trial_run(const struct options *options)
{
    struct trial *trial = calloc(1, sizeof *trial);
    struct fault fault = {0};
    if (!trial)
        abort();
    trial->options = options;
    trial->random = options->seed * 0x2545f4914f6cdd1du;
    map_seed(options->seed | 1);
    choose_flavour(trial);
    choose_settings(trial);
    if (store_open(":memory:", &trial->store, &fault))
        trial_fail(trial, "no store: %s", fault_text(&fault));
    engine_start(trial);
    for (trial->step = 1; trial->step <= options->steps; trial->step++) {
        const struct operation *operation = choose_operation(trial);
        trial->ticked = trial->loaded_now = false;
        if (options->verbose)
            printf("# %llu: %s\n", (unsigned long long)trial->step, operation->name);
        operation->run(trial);
        trial_compare(trial);
        statistics.steps++;
    }
    trial_free(trial);
}
