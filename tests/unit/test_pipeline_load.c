/* The language as mpipeline(5) tells it, from a file to the model. */
#include "pipeline_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct pipeline_rig rig;

/* The file of the design: one of everything. */
static const char orders[] =
    "name: orders                                  # names the relay, its socket and its store\n"
    "\n"
    "relay:\n"
    "  listen: [tcp://127.0.0.1:7000]              # besides the Unix socket\n"
    "  # engine: nats://n1:4222,n2:4222,n3:4222    # instead of the local store\n"
    "  http: 127.0.0.1:8080\n"
    "\n"
    "topics:\n"
    "  orders.new:    {max_messages: 100000, overflow: block}       # block | reject | drop_oldest\n"
    "  orders.priced: {retain: {age: 7d}}\n"
    "  orders.vip:    {}\n"
    "  orders.bulk:   {}\n"
    "  orders.dead:   {}\n"
    "\n"
    "sources:\n"
    "  incoming: {command: [tail, -F, orders.ndjson], to: orders.new}      # restart: on-failure | always | never\n"
    "  legacy:   {pull: {listen: \"tcp://127.0.0.1:7001\"}, to: orders.new}  # any nng PUSH peer\n"
    "\n"
    "stages:\n"
    "  price:                                      # the stage's name is its group\n"
    "    from: orders.new                          # a topic, a pattern or a list\n"
    "    steps:                                    # built-in adapters, in this order, no process\n"
    "      - where: {type: order.*}                # the rest is skipped; `else: pass | dead`\n"
    "      - set: {dataschema: v2}\n"
    "      - rate_limit: 500/s\n"
    "    command: [./price.sh, --currency, USD]    # an argv; `shell: \"jq -c .\"` for a shell's syntax\n"
    "    mode: each                                # each | stream | batch\n"
    "    format: lines                             # of what the command reads and prints\n"
    "    to: orders.priced\n"
    "    workers: 4\n"
    "    order: key\n"
    "    timeout: 5s\n"
    "    retry: {max_retries: 5, backoff: exponential, initial_interval: 100ms, max_interval: 30s, jitter: 0.2}\n"
    "    dead_letter: orders.dead\n"
    "    circuit_breaker: {failures: 5, interval: 10s, open: 30s, fallback: [./price-cached.sh]}\n"
    "\n"
    "  triage:\n"
    "    from: orders.priced\n"
    "    route:                                    # the first match wins; no match is a dead letter, `unrouted`\n"
    "      - {where: {type: order.vip, region: [eu, us]}, to: orders.vip}\n"
    "      - {to: orders.bulk}\n"
    "\n"
    "sinks:\n"
    "  archive: {from: [orders.vip, orders.bulk], file: archive.ndjson, format: json}\n"
    "\n"
    "tests:\n"
    "  - name: an order gets its price\n"
    "    stage: price\n"
    "    input:  [{type: order.new, data: {\"id\": 1, \"qty\": 2}}]\n"
    "    expect: [{topic: orders.priced, data: {\"id\": 1, \"qty\": 2, \"total\": 20}}]\n";

static void load_orders(void)
{
    pipeline_rig_file("price.sh", "#!/bin/sh\ncat\n", 0755);
    pipeline_rig_file("price-cached.sh", "#!/bin/sh\ncat\n", 0755);
    rig.commands = true;
    assert_int_equal(pipeline_rig_load(&rig, orders), MP_OK);
}

static void the_file_of_the_design_is_good(void **state)
{
    (void)state;
    load_orders();
    assert_string_equal((char *)rig.said.data, "");
    assert_string_equal(rig.pipeline->relay.http, "tcp://127.0.0.1:8080");
    assert_string_equal(rig.pipeline->name, "orders");
    assert_int_equal(rig.pipeline->topics_count, 5);
    assert_int_equal(rig.pipeline->topics[0].settings.max_messages, 100000);
    assert_int_equal(rig.pipeline->topics[1].settings.retain_age, INT64_C(7) * 86400 * 1000000);
    assert_string_equal(rig.pipeline->relay.listen[0], "tcp://127.0.0.1:7000");
    assert_string_equal(pipeline_endless(rig.pipeline), "legacy");
}

static void sources_of_the_design(void **state)
{
    (void)state;
    load_orders();
    const struct pipeline_source *incoming = pipeline_source(rig.pipeline, "incoming");
    assert_int_equal(incoming->kind, PIPELINE_COMMAND);
    assert_int_equal(incoming->restart, PIPELINE_ON_FAILURE);
    assert_string_equal(incoming->command.argv[2], "orders.ndjson");
    assert_null(incoming->command.argv[3]);
    assert_string_equal(incoming->to.topic, "orders.new");
    const struct pipeline_source *legacy = pipeline_source(rig.pipeline, "legacy");
    assert_int_equal(legacy->kind, PIPELINE_SOCKET);
    assert_int_equal(legacy->socket.pattern, PEER_PULL);
    assert_int_equal(legacy->socket.role, PEER_LISTEN);
    assert_string_equal(legacy->socket.url, "tcp://127.0.0.1:7001");
}

static void stages_of_the_design(void **state)
{
    char path[128];
    (void)state;
    load_orders();
    const struct pipeline_stage *price = pipeline_stage(rig.pipeline, "price");
    snprintf(path, sizeof path, "%s/price.sh", rig.folder);
    assert_string_equal(price->command.argv[0], path);
    assert_string_equal(price->command.argv[2], "USD");
    assert_string_equal(price->command.directory, rig.folder);
    assert_int_equal(price->steps_count, 3);
    assert_int_equal(price->steps[0].kind, STAGE_STEP_WHERE);
    assert_int_equal(price->steps[0].where.conditions[0].match, STAGE_GLOB);
    assert_string_equal(price->steps[0].where.conditions[0].values[0], "order.*");
    assert_string_equal(price->steps[1].pairs[0].value, "v2");
    assert_true(price->steps[2].rate > 499 && price->steps[2].rate < 501);
    assert_int_equal(price->workers, 4);
    assert_int_equal(price->timeout, 5000000);
    assert_int_equal(price->group.max_retries, 5);
    assert_int_equal(price->group.max_interval, 30000000);
    assert_true(price->group.order_by_key);
    assert_string_equal(price->group.dead_letter, "orders.dead");
    assert_true(price->breaker.set);
    assert_int_equal(price->breaker.interval, 10000000);
    assert_int_equal(price->breaker.fallback, PIPELINE_FALLBACK_COMMAND);
    const struct pipeline_stage *triage = pipeline_stage(rig.pipeline, "triage");
    assert_int_equal(triage->routes_count, 2);
    assert_int_equal(triage->routes[0].where.count, 2);
    assert_int_equal(triage->routes[0].where.conditions[1].count, 2);
    assert_int_equal(triage->routes[1].where.count, 0);
    assert_string_equal(triage->routes[1].to.topic, "orders.bulk");
}

static void the_sink_and_the_test_of_the_design(void **state)
{
    char path[128];
    (void)state;
    load_orders();
    const struct pipeline_stage *archive = pipeline_stage(rig.pipeline, "archive");
    snprintf(path, sizeof path, "%s/archive.ndjson", rig.folder);
    assert_true(archive->sink);
    assert_int_equal(archive->end, PIPELINE_TO_FILE);
    assert_string_equal(archive->file, path);
    assert_int_equal(archive->format, FORMAT_JSON);
    assert_int_equal(archive->from.count, 2);
    assert_int_equal(rig.pipeline->tests_count, 1);
    const struct pipeline_test *test = &rig.pipeline->tests[0];
    assert_string_equal(test->stage, "price");
    assert_true(test->expect[0].json);
    assert_int_equal(test->expect[0].body_size, strlen("{\"id\":1,\"qty\":2,\"total\":20}"));
    assert_memory_equal(test->expect[0].body, "{\"id\":1,\"qty\":2,\"total\":20}", test->expect[0].body_size);
    assert_string_equal(test->input[0].attributes[0].name, "type");
}

static void the_relay_is_asked_for_what_the_file_says(void **state)
{
    struct buffer request = {0};
    (void)state;
    pipeline_rig_good(&rig, "topics: {a: {ttl: 1h, dedupe: {by: id}}, b: {}}\n"
                            "stages: {s: {from: a, shell: cat, to: b, order: key}}\n"
                            "sinks: {t: {from: b, file: out}}\n");
    assert_int_equal(pipeline_configure(rig.pipeline, NULL, &request), MP_OK);
    assert_int_equal(buffer_put_u8(&request, 0), MP_OK);
    assert_string_equal((char *)request.data, "{\"verb\":\"configure\",\"topics\":{\"a\":{\"ttl\":\"1h\",\"dedupe.by\":"
                                              "\"id\"},\"b\":{}},\"groups\":[{\"topic\":\"a\",\"group\":\"s\","
                                              "\"settings\":{\"order\":\"key\"}},{\"topic\":\"b\",\"group\":\"t\","
                                              "\"settings\":{}}]}");
    request.size = 0;
    assert_int_equal(pipeline_configure(rig.pipeline, "t", &request), MP_OK);
    assert_int_equal(buffer_put_u8(&request, 0), MP_OK);
    assert_string_equal((char *)request.data, "{\"verb\":\"configure\",\"topics\":{\"b\":{}},\"groups\":[{\"topic\":"
                                              "\"b\",\"group\":\"t\",\"settings\":{}}]}");
    buffer_free(&request);
}

int main(void)
{
#define TEST(name)                                                                                                     \
    {                                                                                                                  \
#name, name, pipeline_rig_set_up, pipeline_rig_tear_down, &rig                                                 \
    }
    const struct CMUnitTest tests[] = {
        TEST(the_file_of_the_design_is_good),
        TEST(sources_of_the_design),
        TEST(stages_of_the_design),
        TEST(the_sink_and_the_test_of_the_design),
        TEST(the_relay_is_asked_for_what_the_file_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
