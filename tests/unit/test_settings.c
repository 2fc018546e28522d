#include "base/units.h"
#include "queue/settings.h"

#include <stdio.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define SECOND INT64_C(1000000)

static struct topic_settings topic;
static struct group_settings group;
static struct fault fault;

static int set_up(void **state)
{
    (void)state;
    settings_topic_default(&topic);
    settings_group_default(&group);
    fault = (struct fault){0};
    return 0;
}

static void set_topic(const char *key, const char *value)
{
    if (settings_topic_set(&topic, key, value, &fault))
        fail_msg("%s=%s: %s", key, value, fault_text(&fault));
}

static void set_group(const char *key, const char *value)
{
    if (settings_group_set(&group, key, value, &fault))
        fail_msg("%s=%s: %s", key, value, fault_text(&fault));
}

/* The settings as text; static, terminated. */
static const char *written(bool of_topic)
{
    static char text[1024];
    struct buffer out = {0};
    assert_int_equal(of_topic ? settings_topic_write(&topic, &out) : settings_group_write(&group, &out), MP_OK);
    assert_true(out.size < sizeof text);
    if (out.size > 0)
        memcpy(text, out.data, out.size);
    text[out.size] = '\0';
    buffer_free(&out);
    return text;
}

static void defaults_are_written_as_nothing(void **state)
{
    (void)state;
    assert_string_equal(written(true), "");
    assert_string_equal(written(false), "");
    assert_int_equal(topic.dedupe_window, 600 * SECOND);
    assert_int_equal(group.max_retries, 20);
    assert_int_equal(group.initial_interval, SECOND / 10);
    assert_int_equal(group.max_interval, 60 * SECOND);
    assert_int_equal(settings_topic_check(&topic, &fault), MP_OK);
    assert_int_equal(settings_group_check(&group, &fault), MP_OK);
}

static void every_key_of_a_topic_is_set_and_comes_back(void **state)
{
    (void)state;
    set_topic("max_messages", "100000");
    set_topic("max_bytes", "1.5GiB");
    set_topic("overflow", "drop_oldest");
    set_topic("ttl", "1h30m");
    set_topic("dedupe.by", "key");
    set_topic("dedupe.window", "1h");
    set_topic("retain.age", "7d");
    set_topic("retain.bytes", "10GiB");
    set_topic("rate", "30/m");
    assert_int_equal(topic.max_messages, 100000);
    assert_int_equal(topic.max_bytes, UINT64_C(3) << 29);
    assert_int_equal(topic.overflow, OVERFLOW_DROP_OLDEST);
    assert_int_equal(topic.ttl, 5400 * SECOND);
    assert_int_equal(topic.dedupe_by, DEDUPE_KEY);
    assert_int_equal(topic.dedupe_window, 3600 * SECOND);
    assert_int_equal(topic.retain_age, 7 * 86400 * SECOND);
    assert_int_equal(topic.retain_bytes, UINT64_C(10) << 30);
    assert_true(topic.rate > 0.499 && topic.rate < 0.501);
    const char *text = written(true);
    assert_string_equal(text, "max_messages=100000\nmax_bytes=1536MiB\noverflow=drop_oldest\nttl=90m\ndedupe.by=key\n"
                              "dedupe.window=1h\nretain.age=7d\nretain.bytes=10GiB\nrate=0.5/s\n");
    struct topic_settings again;
    assert_int_equal(settings_topic_read(&again, text, strlen(text), &fault), MP_OK);
    assert_memory_equal(&again, &topic, sizeof again);
}

static void every_key_of_a_group_is_set_and_comes_back(void **state)
{
    (void)state;
    set_group("retry.max_retries", "unlimited");
    set_group("retry.backoff", "linear");
    set_group("retry.initial_interval", "250ms");
    set_group("retry.max_interval", "1.5s");
    set_group("retry.jitter", "0.125");
    set_group("dead_letter", "orders.bad");
    set_group("order", "key");
    set_group("on_dead", "hold");
    set_group("max_in_flight", "64");
    set_group("rate", "7/d");
    set_group("expire", "30d");
    assert_int_equal(group.max_retries, GROUP_RETRIES_UNLIMITED);
    assert_int_equal(group.backoff, BACKOFF_LINEAR);
    assert_int_equal(group.initial_interval, 250000);
    assert_int_equal(group.max_interval, 1500000);
    assert_true(group.jitter > 0.1249 && group.jitter < 0.1251);
    assert_string_equal(group.dead_letter, "orders.bad");
    assert_true(group.order_by_key && group.hold_on_dead);
    assert_int_equal(group.max_in_flight, 64);
    assert_int_equal(group.expire, 30 * 86400 * SECOND);
    const char *text = written(false);
    assert_string_equal(text, "retry.max_retries=unlimited\nretry.backoff=linear\nretry.initial_interval=250ms\n"
                              "retry.max_interval=1500ms\nretry.jitter=0.125\ndead_letter=orders.bad\norder=key\n"
                              "on_dead=hold\nmax_in_flight=64\nrate=7/d\nexpire=30d\n");
    struct group_settings again;
    assert_int_equal(settings_group_read(&again, text, strlen(text), &fault), MP_OK);
    assert_memory_equal(&again, &group, sizeof again);
    assert_int_equal(settings_group_check(&group, &fault), MP_OK);
}

static void an_empty_value_is_the_default_again(void **state)
{
    (void)state;
    set_group("dead_letter", "orders.bad");
    set_group("retry.jitter", "0");
    set_group("retry.max_retries", "0");
    set_topic("dedupe.window", "5s");
    assert_string_equal(written(false), "retry.max_retries=0\nretry.jitter=0\ndead_letter=orders.bad\n");
    set_group("dead_letter", "");
    set_group("retry.jitter", "");
    set_group("retry.max_retries", "");
    set_topic("dedupe.window", "");
    assert_string_equal(written(false), "");
    assert_string_equal(written(true), "");
}

/* Whatever people can write is kept to the last bit. */
static void rates_durations_and_shares_survive_being_written(void **state)
{
    (void)state;
    static const char *const rates[] = {"1000000000/s", "0.000001/s", "500/s",    "1/m",   "7/m",
                                        "100/h",        "1/h",        "0.3333/d", "0.1/s", "123456.789012/h"};
    static const char *const durations[] = {"0", "1us", "999us", "1ms", "1.000001s", "61s", "36525d", "59m", "25h"};
    static const char *const shares[] = {"0", "1", "0.2", ".5", "0.000001", "0.999999", "1.0", "0.3333333333"};
    char text[300];
    for (unsigned i = 0; i < sizeof rates / sizeof *rates; i++) {
        set_topic("rate", rates[i]);
        struct topic_settings again;
        snprintf(text, sizeof text, "%s", written(true));
        assert_int_equal(settings_topic_read(&again, text, strlen(text), &fault), MP_OK);
        assert_memory_equal(&again, &topic, sizeof again);
    }
    set_up(NULL);
    for (unsigned i = 0; i < sizeof durations / sizeof *durations; i++) {
        set_topic("ttl", durations[i]);
        struct topic_settings again;
        snprintf(text, sizeof text, "%s", written(true));
        assert_int_equal(settings_topic_read(&again, text, strlen(text), &fault), MP_OK);
        assert_int_equal(again.ttl, topic.ttl);
    }
    for (unsigned i = 0; i < sizeof shares / sizeof *shares; i++) {
        set_group("retry.jitter", shares[i]);
        struct group_settings again;
        snprintf(text, sizeof text, "%s", written(false));
        assert_int_equal(settings_group_read(&again, text, strlen(text), &fault), MP_OK);
        assert_memory_equal(&again, &group, sizeof again);
    }
}

static void none_and_zero_turn_things_off(void **state)
{
    (void)state;
    set_topic("rate", "5/s");
    set_topic("rate", "none");
    set_topic("ttl", "5s");
    set_topic("ttl", "0");
    set_topic("dedupe.by", "id");
    set_topic("dedupe.by", "none");
    set_group("order", "key");
    set_group("order", "none");
    assert_string_equal(written(true), "");
    assert_string_equal(written(false), "");
}

static void refused(bool of_topic, const char *key, const char *value, const char *words)
{
    struct topic_settings topic_before = topic;
    struct group_settings group_before = group;
    fault = (struct fault){0};
    assert_int_equal(of_topic ? settings_topic_set(&topic, key, value, &fault)
                              : settings_group_set(&group, key, value, &fault),
                     MP_ERR_INVALID);
    assert_string_equal(fault_text(&fault), words);
    assert_memory_equal(&topic_before, &topic, sizeof topic);
    assert_memory_equal(&group_before, &group, sizeof group);
    assert_int_equal(of_topic ? settings_topic_set(&topic, key, value, NULL)
                              : settings_group_set(&group, key, value, NULL),
                     MP_ERR_INVALID);
}

static void what_is_wrong_is_said_with_the_key(void **state)
{
    (void)state;
    refused(true, "max_mesages", "5", "'max_mesages' is no setting of a topic: did you mean max_messages?");
    refused(true, "colour\n", "red", "'colour\\x0a' is no setting of a topic");
    refused(false, "retry.maxretries", "5",
            "'retry.maxretries' is no setting of a group: did you mean retry.max_retries?");
    refused(false, "max_retries", "5", "'max_retries' is no setting of a group: did you mean retry.max_retries?");
    refused(true, "windows", "5m", "'windows' is no setting of a topic: did you mean dedupe.window?");
    refused(true, "max_messages", "-5", "max_messages wants a whole number from 0 to 9223372036854775807, not '-5'");
    refused(true, "max_bytes", "lots", "max_bytes: 'lots' is not a size: write 512, 64KiB, 1MiB or 1GiB");
    refused(true, "overflow", "drop", "overflow is block, reject or drop_oldest, not 'drop'");
    refused(true, "ttl", "5x", "ttl: '5x' is not a duration: write 500ms, 5s, 1m, 2h or 7d");
    refused(true, "rate", "-5/s", "rate: '-5/s' is not a rate: write 500/s, 30/m or 7200/h");
    refused(true, "rate", "0/s", "rate: '0/s' is no possible rate: more than 0, and at most 1000000000/s");
    refused(false, "retry.max_retries", "many",
            "retry.max_retries wants a whole number from 0 to 4294967294, not 'many', or 'unlimited'");
    refused(false, "retry.jitter", "1.5", "retry.jitter is a share from 0 to 1, as 0.2, not '1.5'");
    refused(false, "retry.jitter", ".", "retry.jitter is a share from 0 to 1, as 0.2, not '.'");
    refused(false, "order", "keys", "order is none or key, not 'keys'");
    fault = (struct fault){0};
    assert_int_equal(settings_group_set(&group, "dead_letter", "orders.*", &fault), MP_ERR_INVALID);
    assert_non_null(strstr(fault.text, "dead_letter: "));
}

static void what_contradicts_itself_is_said_with_both_values(void **state)
{
    (void)state;
    set_group("retry.initial_interval", "2m");
    assert_int_equal(settings_group_check(&group, &fault), MP_ERR_INVALID);
    assert_string_equal(fault.text, "retry.max_interval (1m) is below retry.initial_interval (2m)");
    set_group("retry.backoff", "none");
    assert_int_equal(settings_group_check(&group, &fault), MP_OK);
    set_group("retry.initial_interval", "0");
    assert_int_equal(settings_group_check(&group, &fault), MP_OK);
    set_group("retry.backoff", "linear");
    assert_int_equal(settings_group_check(&group, &fault), MP_ERR_INVALID);
    assert_non_null(strstr(fault.text, "retry.initial_interval is 0"));
    assert_non_null(strstr(fault.text, "retry.backoff=linear"));
    set_group("retry.initial_interval", "");
    set_group("on_dead", "hold");
    assert_int_equal(settings_group_check(&group, &fault), MP_ERR_INVALID);
    assert_non_null(strstr(fault.text, "on_dead is hold but order is none"));
    set_topic("dedupe.window", "5m");
    assert_int_equal(settings_topic_check(&topic, &fault), MP_ERR_INVALID);
    assert_non_null(strstr(fault.text, "dedupe.window is 5m but dedupe.by is none"));
    set_topic("dedupe.by", "id");
    assert_int_equal(settings_topic_check(&topic, &fault), MP_OK);
    set_topic("dedupe.window", "0");
    assert_int_equal(settings_topic_check(&topic, &fault), MP_ERR_INVALID);
    assert_non_null(strstr(fault.text, "dedupe.window is 0 but dedupe.by is id"));
    set_group("on_dead", "");
    set_group("retry.backoff", "");
    assert_int_equal(settings_group_check(&group, &fault), MP_OK);
    set_group("expire", "1ms");
    assert_int_equal(settings_group_check(&group, &fault), MP_ERR_INVALID);
    assert_string_equal(fault.text,
                        "expire is 1ms: a group that is idle for less than 1s would go between two fetches");
}

static void texts_that_are_no_settings_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t size;
    } bad[] = {{"rate", 4}, {"rate=5/s\nttl", 12}, {"ttl=5\0s\n", 8}, {"=5\n", 3}, {"\n", 1}, {"ttl=x\n", 6}};
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(settings_topic_read(&topic, bad[i].text, bad[i].size, &fault), MP_ERR_INVALID);
        assert_int_equal(settings_group_read(&group, bad[i].text, bad[i].size, &fault), MP_ERR_INVALID);
    }
    char text[2000];
    memset(text, 'a', sizeof text);
    assert_int_equal(settings_topic_read(&topic, text, sizeof text, &fault), MP_ERR_INVALID);
    assert_int_equal(settings_topic_read(&topic, "ttl=5s", 6, &fault), MP_OK); /* the last newline may be missing */
    assert_int_equal(topic.ttl, 5 * SECOND);
    assert_int_equal(settings_topic_read(&topic, NULL, 0, &fault), MP_OK);
    assert_int_equal(topic.ttl, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(defaults_are_written_as_nothing, set_up),
        cmocka_unit_test_setup(every_key_of_a_topic_is_set_and_comes_back, set_up),
        cmocka_unit_test_setup(every_key_of_a_group_is_set_and_comes_back, set_up),
        cmocka_unit_test_setup(an_empty_value_is_the_default_again, set_up),
        cmocka_unit_test_setup(rates_durations_and_shares_survive_being_written, set_up),
        cmocka_unit_test_setup(none_and_zero_turn_things_off, set_up),
        cmocka_unit_test_setup(what_is_wrong_is_said_with_the_key, set_up),
        cmocka_unit_test_setup(what_contradicts_itself_is_said_with_both_values, set_up),
        cmocka_unit_test_setup(texts_that_are_no_settings_are_refused, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
