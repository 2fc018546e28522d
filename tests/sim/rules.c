/*
 * rules.c: settings of topics and groups that a run has from its beginning on: policies, order by key, ids, times to live,
 * limits, delays. Without them (every second run) all is as it is by default.
 */
#include "sim.h"

#include "message/names.h"
#include "queue/settings.h"

/* What rules_choose() hands to the functions that the broker calls back. One run at a time. */
static struct {
    const char *const *topics;
    const char *const *groups;
    unsigned count;
} wanted;

static bool is_consumed(unsigned topic)
{
    for (unsigned i = 0; i < wanted.count; i++)
        if (name_matches(wanted.topics[i], topic_names[topic]))
            return true;
    return false;
}

static void choose_topic(struct world *world, unsigned topic)
{
    struct topic_rules *rules = &world->rules[topic];
    rules->keyed = sim_chance(world, 500);
    rules->dedupes = sim_chance(world, 300);
    rules->delayed = sim_chance(world, 300) ? (unsigned)sim_below(world, 500) : 0;
    if (!is_consumed(topic))
        return; /* what nobody takes stays */
    if (sim_chance(world, 250))
        rules->max_messages = 1 + sim_below(world, 100);
    if (!rules->keyed && !rules->dedupes && sim_chance(world, 300))
        rules->ttl = SECOND + (int64_t)sim_below(world, 60 * SECOND);
}

/* What came later; see struct world. */
static void choose_more(struct world *world, struct topic_rules *rules, struct topic_settings *settings)
{
    if (sim_chance(world, 200))
        rules->max_bytes = 100 + sim_below(world, 20000);
    if (rules->max_messages > 0 || rules->max_bytes > 0) {
        rules->rejects = sim_chance(world, 300);
        rules->drops = !rules->rejects && sim_chance(world, 500);
    }
    settings->overflow = rules->rejects ? OVERFLOW_REJECT : rules->drops ? OVERFLOW_DROP_OLDEST : OVERFLOW_BLOCK;
    settings->max_bytes = rules->max_bytes;
    if (sim_chance(world, 150))
        settings->rate = 20 + (double)sim_below(world, 2000);
    if (sim_chance(world, 200))
        settings->retain_age = 1 + (int64_t)sim_below(world, 60 * SECOND);
    if (sim_chance(world, 200))
        settings->retain_bytes = 1 + sim_below(world, 50000);
}

static void configure_topic(struct world *world, struct engine *engine, unsigned topic)
{
    struct topic_rules *rules = &world->rules[topic];
    struct topic_settings settings;
    struct fault fault = {0};
    settings_topic_default(&settings);
    if (world->wide && is_consumed(topic))
        choose_more(world, rules, &settings);
    settings.max_messages = rules->max_messages;
    settings.ttl = rules->ttl;
    if (rules->dedupes) {
        settings.dedupe_by = DEDUPE_ID;
        settings.dedupe_window = 3000 * 24 * 3600 * SECOND;
    }
    if (engine->operations->configure_topic(engine, topic_names[topic], strlen(topic_names[topic]), &settings, &fault))
        sim_fail(world, "settings of %s: %s", topic_names[topic], fault_text(&fault));
}

static void configure_group(struct world *world, struct engine *engine, const char *on, const char *group)
{
    static const uint32_t retries[] = {0, 1, 3, 20, GROUP_RETRIES_UNLIMITED};
    struct group_settings settings;
    struct fault fault = {0};
    bool pattern = strpbrk(on, "*>") != NULL;
    settings_group_default(&settings);
    settings.max_retries = retries[sim_below(world, 5)];
    settings.initial_interval = 1 + (int64_t)sim_below(world, SECOND);
    settings.max_interval = settings.initial_interval + (int64_t)sim_below(world, 10 * SECOND);
    settings.order_by_key = sim_chance(world, 500);
    if (sim_chance(world, 300))
        settings.max_in_flight = 1 + (uint32_t)sim_below(world, 50);
    if (world->wide && sim_chance(world, 150))
        settings.rate = 20 + (double)sim_below(world, 2000);
    if (engine->operations->configure_group(engine, on, strlen(on), pattern, group, strlen(group), &settings, &fault))
        sim_fail(world, "settings of group %s on %s: %s", group, on, fault_text(&fault));
}

static void configure(struct world *world, struct engine *engine)
{
    for (unsigned i = 0; i < OUTPUT_TOPIC; i++)
        if (sim_chance(world, 600)) {
            choose_topic(world, i);
            configure_topic(world, engine, i);
        }
    for (unsigned i = 0; i < wanted.count; i++)
        if (sim_chance(world, 600))
            configure_group(world, engine, wanted.topics[i], wanted.groups[i]);
}

void rules_choose(struct world *world, const char *const *topics, const char *const *groups, unsigned count)
{
    wanted.topics = topics;
    wanted.groups = groups;
    wanted.count = count;
    if (sim_chance(world, 500))
        broker_configure(world, configure);
}
