/*
 * What steps cost, in nanoseconds a message: taken out of a frame, through the steps, matched against two routes, and
 * put into another frame. Nothing is sent.
 *
 *     make tests/bench/steps && tests/bench/steps
 */
#include "bench.h"

#include "message/attributes.h"
#include "stage/steps.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { IN_FRAME = 4096, ROUNDS = 100 };

/* Of this program alone: others may be busy on the machine. */
static int64_t used(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

struct sink {
    struct stage_matcher *routes[2];
    struct frame_builder out;
    struct buffer block;
    uint64_t emitted;
    uint64_t unrouted;
};

static void must(bool good, const char *what)
{
    if (!good)
        bench_die("steps: %s failed", what);
}

static enum mp_error emit(void *context, const struct format_item *item)
{
    struct sink *sink = context;
    const struct record *record = &item->record;
    bool matches = false;
    for (int i = 0; i < 2 && !matches; i++)
        must(stage_matches(sink->routes[i], item, &matches) == MP_OK, "a route");
    sink->unrouted += !matches;
    sink->emitted++;
    if (!frame_has_room(&sink->out, record->size, record->attributes_size + ATTRIBUTE_ORIGIN_SIZE))
        must(frame_begin(&sink->out, 2, 1) == MP_OK, "a frame");
    sink->block.size = 0;
    must(buffer_append(&sink->block, record->attributes, record->attributes_size) == MP_OK, "a block");
    if (record->producer != 0)
        must(attributes_set_origin(&sink->block, record->producer, record->sequence) == MP_OK, "an origin");
    return frame_add(&sink->out, record->body, record->size, sink->block.data, sink->block.size);
}

static enum mp_error window(void *context, const struct stage_window *ended)
{
    return emit(context, ended->item);
}

static struct stage_matcher *route(const char *value)
{
    struct stage_condition condition = {.name = "region", .values = &value, .count = 1};
    struct stage_where where = {.conditions = &condition, .count = 1};
    struct stage_matcher *matcher;
    must(stage_matcher_open(&where, &matcher, NULL) == MP_OK, "a matcher");
    return matcher;
}

static void put(struct buffer *block, const char *name, const char *value)
{
    must(attributes_set(block, ATTRIBUTE_STRING, name, strlen(name), value, strlen(value), NULL) == MP_OK, name);
}

/* Messages with a type, a key, a region, and a body of JSON. */
static void fill(struct frame_builder *builder)
{
    must(frame_begin(builder, 1, 1) == MP_OK, "a frame");
    for (unsigned i = 0; i < IN_FRAME; i++) {
        struct buffer block = {0};
        char body[128], key[16];
        snprintf(key, sizeof(key), "customer-%u", i % 100);
        snprintf(body, sizeof(body),
                 "{\"id\":%u,\"customer\":{\"name\":\"Ada\",\"vip\":false},\"qty\":%u,\"note\":\"%040u\"}", 1000000 + i,
                 i % 10, i);
        put(&block, "type", "order.new");
        put(&block, "partitionkey", key);
        put(&block, "region", i % 2 == 0 ? "eu" : "us");
        must(frame_add(builder, body, strlen(body), block.data, block.size) == MP_OK, "a message");
        buffer_free(&block);
    }
    frame_finish(builder, 1795194000000000);
}

static void measure(const char *name, const struct stage_step *all, size_t count, const struct frame *frame)
{
    struct sink sink = {.routes = {route("eu"), route("us")}};
    const struct stage_steps_settings settings = {
        .steps = all, .count = count, .context = &sink, .emit = emit, .window = window};
    struct stage_steps *steps;
    struct fault fault;
    if (stage_steps_open(&settings, &steps, &fault) != MP_OK)
        bench_die("steps: %s: %s", name, fault.text);
    must(frame_begin(&sink.out, 2, 1) == MP_OK, "a frame");
    int64_t best = INT64_MAX, total = 0;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        const int64_t begin = used();
        struct frame_cursor cursor = frame_cursor(frame);
        struct format_item item = {.topic = "orders.new", .attempt = 1, .time = frame->time};
        while (frame_next(&cursor, &item.record)) {
            enum stage_verdict verdict;
            struct stage_result_of_steps result;
            item.offset++;
            must(stage_steps_apply(steps, &item, round * IN_FRAME + item.offset, (int64_t)round, 0, &verdict,
                                   &result) == MP_OK,
                 name);
            if (verdict == STAGE_HELD && stage_steps_due(steps) <= 0)
                must(stage_steps_tick(steps, (int64_t)round, 0, false) == MP_OK, name);
        }
        const int64_t took = used() - begin;
        best = took < best ? took : best;
        total += took;
    }
    printf("%-36s %6.0f ns  (best %6.0f)  %8llu out of %d\n", name, (double)total / (ROUNDS * IN_FRAME),
           (double)best / IN_FRAME, (unsigned long long)sink.emitted, ROUNDS * IN_FRAME);
    stage_steps_free(steps);
    stage_matcher_free(sink.routes[0]);
    stage_matcher_free(sink.routes[1]);
    frame_builder_free(&sink.out);
    buffer_free(&sink.block);
}

int main(void)
{
    struct frame_builder builder = {0};
    struct frame frame;
    const char *types[] = {"order.*"}, *patterns[] = {"^order\\.(new|old)$"}, *quantities[] = {"-1"};
    struct stage_condition glob = {.name = "type", .match = STAGE_GLOB, .values = types, .count = 1};
    struct stage_condition regex = {.name = "type", .match = STAGE_REGEX, .values = patterns, .count = 1};
    struct stage_condition above = {.name = "/qty", .match = STAGE_ABOVE, .values = quantities, .count = 1};
    struct stage_pair version = {"dataschema", "v2"}, subject = {"subject", "%{/customer/name} %{key}"};
    const struct stage_step where = {.kind = STAGE_STEP_WHERE, .where = {&glob, 1}};
    const struct stage_step where_regex = {.kind = STAGE_STEP_WHERE, .where = {&regex, 1}};
    const struct stage_step where_json = {.kind = STAGE_STEP_WHERE, .where = {&above, 1}};
    const struct stage_step set = {.kind = STAGE_STEP_SET, .pairs = &version, .pairs_count = 1};
    const struct stage_step set_json = {.kind = STAGE_STEP_SET, .pairs = &subject, .pairs_count = 1};
    const struct stage_step limit = {.kind = STAGE_STEP_RATE_LIMIT, .rate = 1e9};
    const struct stage_step dedupe = {.kind = STAGE_STEP_DEDUPE, .by = "/id", .window = INT64_MAX};
    const struct stage_step split = {.kind = STAGE_STEP_SPLIT, .format = FORMAT_LINES};
    const struct stage_step aggregate = {.kind = STAGE_STEP_AGGREGATE, .by = "key", .count = 100};
    fill(&builder);
    must(frame_open(&frame, builder.bytes.data, builder.bytes.size, true, NULL) == MP_OK, "opening the frame");
    measure("route alone", NULL, 0, &frame);
    measure("where, set, route", (struct stage_step[]){where, set}, 2, &frame);
    measure("where with a regex, route", &where_regex, 1, &frame);
    measure("where with a JSON pointer, route", &where_json, 1, &frame);
    measure("set from JSON, route", &set_json, 1, &frame);
    measure("rate_limit, route", &limit, 1, &frame);
    measure("dedupe by a JSON pointer, route", &dedupe, 1, &frame);
    measure("split into one line, no route", &split, 1, &frame);
    measure("aggregate by key, 100 at a time", &aggregate, 1, &frame);
    frame_builder_free(&builder);
    return 0;
}
