/* Tests that name what is not there. */
#include "pipeline/check.h"

static const struct pipeline_stage *find_stage(struct load *load, const struct pipeline_test *test)
{
    enum { MANY = 1000 };
    const struct pipeline *pipeline = load->pipeline;
    const struct pipeline_stage *stage = pipeline_stage(pipeline, test->stage);
    const char *names[MANY];
    char hint[LOAD_HINT], shown[FAULT_QUOTE];
    size_t count = 0;
    if (stage != NULL)
        return stage;
    for (; count < MANY && count < pipeline->stages_count; count++)
        names[count] = pipeline->stages[count].name;
    load_hint(hint, test->stage, names, count);
    diagnose_error(load->diagnostics, &test->stage_place, "stage: there is no '%s'%s%s",
                   fault_quote(shown, test->stage, strlen(test->stage)), hint[0] != '\0' ? ": " : "", hint);
    return NULL;
}

static bool takes(const struct pipeline_stage *stage, const char *topic)
{
    for (size_t i = 0; i < stage->from.count; i++)
        if (name_matches(stage->from.all[i].topic, topic))
            return true;
    return false;
}

static bool is_known(const struct load *load, const char *topic)
{
    static const char ending[] = ".dead";
    size_t size = strlen(topic), without = size > sizeof ending - 1 ? size - (sizeof ending - 1) : size;
    return map_get(&load->topics, topic, size) != NULL ||
           (strcmp(topic + without, ending) == 0 && map_get(&load->topics, topic, without) != NULL);
}

static void check_known(struct load *load, const struct pipeline_message *message)
{
    enum { MANY = 1000 };
    const char *names[MANY];
    size_t count = 0;
    if (message->topic == NULL || is_known(load, message->topic))
        return;
    for (; count < MANY && count < load->pipeline->topics_count; count++)
        names[count] = load->pipeline->topics[count].name;
    const char *nearest = name_nearest(message->topic, names, count);
    diagnose_error(load->diagnostics, &message->place, "topic: no topic '%s' is declared%s%s%s", message->topic,
                   nearest != NULL ? ": did you mean '" : "", nearest != NULL ? nearest : "",
                   nearest != NULL ? "'?" : "");
}

static void check_input(struct load *load, const struct pipeline_stage *stage, struct pipeline_message *message)
{
    check_known(load, message);
    if (stage == NULL && message->topic == NULL)
        diagnose_error(load->diagnostics, &message->place, "input of the whole pipeline needs a topic: topic: NAME");
    if (stage == NULL || stage->from.count == 0)
        return;
    if (message->topic == NULL && strpbrk(stage->from.all[0].topic, "*>") != NULL)
        diagnose_error(load->diagnostics, &message->place, "stage %s takes from a pattern, '%s': which topic is it?",
                       stage->name, stage->from.all[0].topic);
    else if (message->topic != NULL && !takes(stage, message->topic))
        diagnose_error(load->diagnostics, &message->place, "stage %s does not take from '%s'", stage->name,
                       message->topic);
}

static void check_expected(struct load *load, const struct pipeline_stage *stage, struct pipeline_message *message)
{
    check_known(load, message);
    if (message->topic == NULL && stage != NULL && stage->to.count == 1)
        message->topic = stage->to.all[0].topic;
    else if (message->topic == NULL)
        diagnose_error(load->diagnostics, &message->place, "in which topic is it expected? topic: NAME");
}

void check_tests(struct load *load)
{
    for (size_t i = 0; i < load->pipeline->tests_count; i++) {
        struct pipeline_test *test = &load->pipeline->tests[i];
        const struct pipeline_stage *stage = test->stage != NULL ? find_stage(load, test) : NULL;
        if (test->stage != NULL && stage == NULL)
            continue;
        for (size_t j = 0; j < test->input_count; j++)
            check_input(load, stage, &test->input[j]);
        for (size_t j = 0; j < test->expect_count; j++)
            check_expected(load, stage, &test->expect[j]);
    }
}
