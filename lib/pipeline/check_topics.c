/* Topics that are named: each must be declared, or (strict: false) becomes known here. */
#include "pipeline/check.h"

#include <stdlib.h>

/* The word that a name was meant to be. */
static const char *nearest_topic(const struct load *load, const char *name)
{
    enum { MANY = 1000 }; /* names that are compared */
    const char *names[MANY];
    size_t count = 0;
    for (; count < MANY && count < load->pipeline->topics_count; count++)
        names[count] = load->pipeline->topics[count].name;
    return name_nearest(name, names, count);
}

/* The dead letters of a declared topic need no declaration. */
static bool is_dead_letters_of_known(const struct load *load, const char *name)
{
    static const char ending[] = ".dead";
    size_t size = strlen(name);
    return size > sizeof ending - 1 && strcmp(name + size - (sizeof ending - 1), ending) == 0 &&
           map_get(&load->topics, name, size - (sizeof ending - 1)) != NULL;
}

struct named {
    struct load *load;
    struct pipeline_topic *made; /* those that were not declared */
    size_t made_count;
};

static void make(struct named *named, const char *name)
{
    struct pipeline_topic *topic = &named->made[named->made_count++];
    topic->name = name;
    settings_topic_default(&topic->settings);
    if (map_put(&named->load->topics, name, strlen(name), topic))
        named->load->no_memory = true;
}

static void check_name(struct named *named, const char *key, const char *name, const struct pipeline_place *place)
{
    struct load *load = named->load;
    if (name == NULL || *name == '\0' || map_get(&load->topics, name, strlen(name)) != NULL)
        return;
    if (!load->pipeline->strict || is_dead_letters_of_known(load, name)) {
        make(named, name);
        return;
    }
    const char *nearest = nearest_topic(load, name);
    load->loose = true;
    if (nearest != NULL)
        diagnose_error(load->diagnostics, place, "%s: no topic '%s' is declared: did you mean '%s'?", key, name,
                       nearest);
    else
        diagnose_error(load->diagnostics, place, "%s: no topic '%s' is declared: add it under 'topics:'", key, name);
}

static void check_stage(struct named *named, const struct pipeline_stage *stage)
{
    for (size_t i = 0; i < stage->from.count; i++)
        if (strpbrk(stage->from.all[i].topic, "*>") == NULL)
            check_name(named, "from", stage->from.all[i].topic, &stage->from.all[i].place);
    for (size_t i = 0; i < stage->to.count; i++)
        check_name(named, "to", stage->to.all[i].topic, &stage->to.all[i].place);
    for (size_t i = 0; i < stage->routes_count; i++)
        check_name(named, "to", stage->routes[i].to.topic, &stage->routes[i].to.place);
    check_name(named, "to", stage->breaker.to.topic, &stage->breaker.to.place);
    check_name(named, "dead_letter", stage->group.dead_letter, &stage->dead_letter);
}

/* Declared topics and made ones in one array, which the map points to. */
static void join(struct named *named)
{
    struct load *load = named->load;
    struct pipeline *pipeline = load->pipeline;
    size_t count = pipeline->topics_count + named->made_count;
    struct pipeline_topic *all = load_allocate(load, count, sizeof *all);
    if (all == NULL)
        return;
    if (pipeline->topics_count > 0)
        memcpy(all, pipeline->topics, pipeline->topics_count * sizeof *all);
    if (named->made_count > 0)
        memcpy(all + pipeline->topics_count, named->made, named->made_count * sizeof *all);
    pipeline->topics = all;
    pipeline->topics_count = count;
    for (size_t i = 0; i < count; i++)
        if (map_put(&load->topics, all[i].name, strlen(all[i].name), &all[i]))
            load->no_memory = true;
}

void check_topics(struct load *load)
{
    struct pipeline *pipeline = load->pipeline;
    size_t most = pipeline->sources_count;
    for (size_t i = 0; i < pipeline->stages_count; i++)
        most += pipeline->stages[i].from.count + pipeline->stages[i].to.count + pipeline->stages[i].routes_count + 2;
    struct named named = {.load = load, .made = load_allocate(load, most, sizeof *named.made)};
    if (named.made == NULL)
        return;
    for (size_t i = 0; i < pipeline->sources_count; i++)
        check_name(&named, "to", pipeline->sources[i].to.topic, &pipeline->sources[i].to.place);
    for (size_t i = 0; i < pipeline->stages_count; i++)
        check_stage(&named, &pipeline->stages[i]);
    join(&named);
}
