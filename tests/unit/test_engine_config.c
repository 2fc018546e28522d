/* Settings of topics and groups in the engine, and dead-letter topics. */
#include "engine_rig.h"

static struct topic_settings topic_of(struct rig *rig, const char *topic)
{
    struct topic_settings settings;
    assert_int_equal(rig->engine->operations->topic_settings(rig->engine, topic, strlen(topic), &settings, &rig->fault),
                     MP_OK);
    return settings;
}

static struct group_settings group_of(struct rig *rig, const char *topic, const char *group)
{
    struct group_settings settings;
    assert_int_equal(rig->engine->operations->group_settings(rig->engine, topic, strlen(topic), group, strlen(group),
                                                             &settings, &rig->fault),
                     MP_OK);
    return settings;
}

static enum mp_error configure_topic(struct rig *rig, const char *topic, const char *key, const char *value)
{
    struct topic_settings settings;
    settings_topic_default(&settings);
    assert_int_equal(settings_topic_set(&settings, key, value, &rig->fault), MP_OK);
    return rig->engine->operations->configure_topic(rig->engine, topic, strlen(topic), &settings, &rig->fault);
}

static enum mp_error configure_group(struct rig *rig, const char *topic, const char *group, const char *key,
                                     const char *value)
{
    struct group_settings settings;
    settings_group_default(&settings);
    assert_int_equal(settings_group_set(&settings, key, value, &rig->fault), MP_OK);
    return rig->engine->operations->configure_group(rig->engine, topic, strlen(topic), strpbrk(topic, "*>") != NULL,
                                                    group, strlen(group), &settings, &rig->fault);
}

static const char *topics(struct rig *rig)
{
    static char text[4096];
    struct buffer out = {0};
    assert_int_equal(rig->engine->operations->describe_topics(rig->engine, &out), MP_OK);
    assert_int_equal(rig->engine->operations->describe_groups(rig->engine, &out), MP_OK);
    assert_true(out.size < sizeof text);
    memcpy(text, out.data, out.size);
    text[out.size] = '\0';
    buffer_free(&out);
    return text;
}

static void settings_are_kept(void **state)
{
    struct rig *rig = *state;
    rig_publish(rig, "a", 3);
    rig_begin(rig);
    assert_int_equal(configure_topic(rig, "a", "ttl", "5s"), MP_OK);
    assert_int_equal(configure_topic(rig, "new", "max_messages", "10"), MP_OK);
    assert_int_equal(configure_group(rig, "a", "g", "retry.max_retries", "3"), MP_OK);
    assert_int_equal(configure_group(rig, "b.*", "g", "retry.max_retries", "4"), MP_OK);
    rig_commit(rig);
    rig_publish(rig, "b.late", 1);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(topic_of(rig, "a").ttl, 5 * SECOND);
        assert_int_equal(topic_of(rig, "new").max_messages, 10);
        assert_int_equal(topic_of(rig, "b.late").max_messages, 0);
        assert_int_equal(group_of(rig, "a", "g").max_retries, 3);
        assert_int_equal(group_of(rig, "b.*", "g").max_retries, 4);
        rig_restart(rig);
    }
    /* What was there before is there still: the snapshot took all of it along. */
    assert_int_equal(rig_fetch(rig, 2, "a", "g", 0), 3);
    assert_int_equal(rig_fetch(rig, 2, "b.*", "g", 0), 1);
}

static void a_turn_that_is_undone_sets_nothing(void **state)
{
    struct rig *rig = *state;
    struct topic_settings settings;
    rig_begin(rig);
    assert_int_equal(configure_topic(rig, "a", "ttl", "5s"), MP_OK);
    assert_int_equal(configure_group(rig, "b", "g", "retry.max_retries", "3"), MP_OK);
    rig_commit(rig);
    rig_begin(rig);
    assert_int_equal(configure_topic(rig, "a", "ttl", "6s"), MP_OK);
    assert_int_equal(configure_topic(rig, "c", "ttl", "6s"), MP_OK);
    assert_int_equal(configure_group(rig, "b", "g", "retry.max_retries", "9"), MP_OK);
    rig_undo(rig);
    assert_int_equal(topic_of(rig, "a").ttl, 5 * SECOND);
    assert_int_equal(group_of(rig, "b", "g").max_retries, 3);
    assert_int_equal(rig->engine->operations->topic_settings(rig->engine, "c", 1, &settings, &rig->fault),
                     MP_ERR_NOT_FOUND);
}

static void what_makes_no_sense_changes_nothing(void **state)
{
    struct rig *rig = *state;
    rig_publish(rig, "orders.new", 1);
    rig_fetch(rig, 2, "orders.new", "g", 0);
    rig_begin(rig);
    assert_int_equal(configure_topic(rig, "orders.new", "dedupe.window", "5m"), MP_ERR_INVALID);
    assert_int_equal(configure_group(rig, "orders.new", "g", "on_dead", "hold"), MP_ERR_INVALID);
    assert_int_equal(configure_group(rig, "orders.new", "g", "dead_letter", "orders.new"), MP_ERR_INVALID);
    assert_non_null(strstr(rig->fault.text, "cannot go to orders.new itself"));
    assert_int_equal(configure_group(rig, "orders.*", "g", "dead_letter", "orders.new"), MP_ERR_INVALID);
    assert_non_null(strstr(rig->fault.text, "orders.new is one of the topics of orders.*"));
    assert_false(rig->engine->operations->changed(rig->engine));
    rig_commit(rig);
    assert_int_equal(group_of(rig, "orders.new", "g").dead_letter[0], '\0');
}

static void a_dead_letter_topic_is_made_with_mretry_and_without_patterns(void **state)
{
    struct rig *rig = *state;
    rig_publish(rig, "orders.new", 1);
    rig_publish(rig, "orders.bad", 2); /* is there before anybody calls it a dead-letter topic */
    assert_int_equal(rig_read(rig, "orders.*"), 3);
    rig_begin(rig);
    assert_int_equal(configure_group(rig, "orders.new", "g", "dead_letter", "orders.dead"), MP_OK);
    assert_int_equal(configure_group(rig, "orders.new", "h", "dead_letter", "orders.bad"), MP_OK);
    rig_commit(rig);
    for (unsigned i = 0; i < 2; i++) {
        assert_non_null(strstr(topics(rig), "\"topic\":\"orders.dead\",\"group\":\"mretry\""));
        assert_non_null(strstr(topics(rig), "\"topic\":\"orders.bad\",\"group\":\"mretry\""));
        assert_int_equal(rig_read(rig, "orders.*"), 1);
        assert_int_equal(rig_read(rig, "orders.bad"), 2);
        assert_int_equal(rig_fetch(rig, 3 + i, "orders.*", i == 0 ? "all" : "others", 0), 1);
        rig_restart(rig);
    }
    rig_begin(rig);
    assert_int_equal(configure_group(rig, "orders.dead", "mretry", "dead_letter", "orders.deader"), MP_ERR_INVALID);
    assert_non_null(strstr(rig->fault.text, "topic orders.dead holds dead letters"));
    /* A pattern that would match it if it was an ordinary topic may send its letters there. */
    assert_int_equal(configure_group(rig, "orders.*", "all", "dead_letter", "orders.dead"), MP_OK);
    rig_commit(rig);
    assert_string_equal(group_of(rig, "orders.*", "all").dead_letter, "orders.dead");
}

static void a_clients_dead_letters_have_a_topic_of_their_own(void **state)
{
    struct rig *rig = *state;
    bool letters[3];
    rig_publish(rig, "orders.new", 1);
    rig_begin(rig);
    assert_int_equal(configure_topic(rig, "orders.empty", "ttl", "5s"), MP_OK);
    const char *const names[] = {"orders.dead", "orders.empty", "orders.new"};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(
            rig->engine->operations->keep_letters(rig->engine, names[i], strlen(names[i]), &letters[i], &rig->fault),
            MP_OK);
    rig_commit(rig);
    assert_true(letters[0] && letters[1]);
    assert_false(letters[2]);
    for (unsigned i = 0; i < 3; i++)
        rig_publish(rig, names[i], 1);
    rig_restart(rig);
    assert_int_equal(rig_read(rig, "orders.*"), 2); /* of the one that had messages before */
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(rig_fetch(rig, 3 + i, names[i], "mretry", 0), i == 2 ? 2 : 1);
}

/* As a pipeline does it: all topics are made, and only then it is said which of them is for dead letters. */
static void a_pattern_that_had_a_topic_loses_it_to_the_dead(void **state)
{
    struct rig *rig = *state;
    rig_begin(rig);
    assert_int_equal(configure_topic(rig, "orders.dead", "retain.age", "7d"), MP_OK);
    assert_int_equal(configure_topic(rig, "orders.used", "retain.age", "7d"), MP_OK);
    assert_int_equal(configure_topic(rig, "orders.new", "retain.age", "7d"), MP_OK);
    assert_int_equal(configure_group(rig, "orders.*", "audit", "retry.max_retries", "1"), MP_OK);
    rig_commit(rig);
    rig_publish(rig, "orders.used", 1);
    assert_int_equal(rig_fetch(rig, 2, "orders.*", "audit", 0), 1);
    rig_begin(rig);
    assert_int_equal(configure_group(rig, "orders.new", "g", "dead_letter", "orders.dead"), MP_OK);
    assert_int_equal(configure_group(rig, "orders.new", "h", "dead_letter", "orders.used"), MP_OK);
    rig_commit(rig);
    rig_publish(rig, "orders.dead", 1); /* somebody adds to them by hand */
    for (unsigned i = 0; i < 2; i++) {
        assert_null(strstr(topics(rig), "\"topic\":\"orders.dead\",\"group\":\"audit\""));
        assert_non_null(strstr(topics(rig), "\"topic\":\"orders.used\",\"group\":\"audit\""));
        assert_non_null(strstr(topics(rig), "\"topic\":\"orders.new\",\"group\":\"audit\""));
        assert_int_equal(rig_fetch(rig, 2, "orders.*", "audit", 0), 0);
        assert_int_equal(group_of(rig, "orders.*", "audit").max_retries, 1);
        rig_restart(rig);
    }
}

/* A group that is made again, while somebody still waits for the one that was deleted, knows nothing of that one. */
static void a_deleted_group_takes_its_settings_along(void **state)
{
    struct rig *rig = *state;
    static const char *const places[] = {"a", "b.*"};
    for (unsigned i = 0; i < 2; i++) {
        const char *on = places[i];
        rig_begin(rig);
        assert_int_equal(configure_group(rig, on, "g", "retry.max_retries", "3"), MP_OK);
        struct engine_subscription *subscription = rig_subscribe(rig, on, "g", 2);
        rig_commit(rig);
        subscription->waiters = rig;
        rig_begin(rig);
        assert_int_equal(rig->engine->operations->delete_group(rig->engine, on, "g", true, &rig->fault), MP_OK);
        rig_commit(rig);
        subscription->waiters = NULL;
        assert_int_equal(rig_fetch(rig, 2, on, "g", 0), 0);
        assert_int_equal(group_of(rig, on, "g").max_retries, 20);
        rig_publish(rig, i == 0 ? "a" : "b.1", 1);
        assert_int_equal(rig_fetch(rig, 2, on, "g", 0), 1);
        rig_restart(rig);
        assert_int_equal(group_of(rig, on, "g").max_retries, 20);
    }
}

static void the_nearest_name_is_offered(void **state)
{
    struct rig *rig = *state;
    struct topic_settings settings;
    struct group_settings of_group;
    rig_publish(rig, "orders", 1);
    rig_begin(rig);
    assert_int_equal(rig->engine->operations->topic_settings(rig->engine, "order", 5, &settings, &rig->fault),
                     MP_ERR_NOT_FOUND);
    assert_string_equal(rig->fault.text, "no topic order: did you mean orders?");
    assert_int_equal(rig->engine->operations->group_settings(rig->engine, "orders", 6, "g", 1, &of_group, &rig->fault),
                     MP_ERR_NOT_FOUND);
    assert_string_equal(rig->fault.text, "no group g on topic orders");
    rig_commit(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(settings_are_kept, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_turn_that_is_undone_sets_nothing, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(what_makes_no_sense_changes_nothing, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_dead_letter_topic_is_made_with_mretry_and_without_patterns, rig_set_up,
                                        rig_tear_down),
        cmocka_unit_test_setup_teardown(a_clients_dead_letters_have_a_topic_of_their_own, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_pattern_that_had_a_topic_loses_it_to_the_dead, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_deleted_group_takes_its_settings_along, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(the_nearest_name_is_offered, rig_set_up, rig_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
