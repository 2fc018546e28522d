/*
 * What steps do to messages that strangers made: the first byte chooses how a body is split, the rest is the body. And
 * what users write as times.
 */
#include "fuzz.h"

#include "message/attributes.h"
#include "policy/cron.h"
#include "stage/glob.h"
#include "stage/steps.h"

struct seen {
    uint64_t pieces;
    size_t bytes;
};

static enum mp_error emit(void *context, const struct format_item *item)
{
    struct seen *seen = context;
    MUST(item->record.producer == 0);
    MUST(attributes_check(item->record.attributes, item->record.attributes_size, NULL) == MP_OK);
    /* Each byte is there. */
    uint8_t *copy = fuzz_copy(item->record.body, item->record.size);
    free(copy);
    seen->pieces++;
    seen->bytes += item->record.size;
    return MP_OK;
}

static enum mp_error window(void *context, const struct stage_window *ended)
{
    (void)context;
    MUST(ended->count == 1 && ended->item != NULL);
    return emit(context, ended->item);
}

/* Takes BODY apart, and the pieces through conditions and templates that look into them. */
static void split(unsigned choice, const uint8_t *body, size_t size)
{
    const char *values[] = {"[a-z]*"}, *patterns[] = {"^(a|b)*$"};
    struct stage_condition conditions[] = {
        {.name = "/a", .match = STAGE_GLOB, .values = values, .count = 1, .negate = true},
        {.name = "body", .match = STAGE_REGEX, .values = patterns, .count = 1, .negate = true},
    };
    struct stage_pair pairs[] = {{"subject", "%{/a} %{/b/0}"}, {"x", "%{id}"}};
    const struct stage_step all[] = {
        {.kind = STAGE_STEP_SPLIT, .array = choice == 4, .format = (enum format)(choice == 3 ? FORMAT_JSON : choice)},
        {.kind = STAGE_STEP_WHERE, .where = {conditions, 2}, .otherwise = STAGE_ELSE_PASS},
        {.kind = STAGE_STEP_SET, .pairs = pairs, .pairs_count = 2},
        {.kind = STAGE_STEP_DEDUPE, .by = "subject", .window = 1000},
    };
    struct seen seen = {0};
    const struct stage_steps_settings settings = {.steps = all, .count = 4, .context = &seen, .emit = emit};
    const struct format_item item = {.record = {.body = body, .size = size, .producer = 1}, .topic = "a"};
    struct stage_steps *steps;
    struct stage_result_of_steps result;
    enum stage_verdict verdict;
    MUST(stage_steps_open(&settings, &steps, NULL) == MP_OK);
    MUST(stage_steps_apply(steps, &item, 1, 0, 0, &verdict, &result) == MP_OK);
    MUST(verdict == STAGE_DONE || (verdict == STAGE_DEAD && seen.pieces == 0 && result.note[0] != '\0'));
    MUST(seen.pieces <= size);
    stage_steps_free(steps);
}

/* What is put together as a JSON array is taken apart again. */
static void join(const uint8_t *body, size_t size)
{
    const struct stage_step together = {.kind = STAGE_STEP_AGGREGATE, .array = true, .count = 1, .by = "/a"};
    struct seen seen = {0};
    const struct stage_steps_settings settings = {
        .steps = &together, .count = 1, .context = &seen, .emit = emit, .window = window};
    const struct format_item item = {.record = {.body = body, .size = size, .producer = 1}};
    struct stage_steps *steps;
    struct stage_result_of_steps result;
    enum stage_verdict verdict;
    MUST(stage_steps_open(&settings, &steps, NULL) == MP_OK);
    MUST(stage_steps_apply(steps, &item, 1, 0, 0, &verdict, &result) == MP_OK);
    MUST(verdict == STAGE_HELD || verdict == STAGE_DEAD);
    MUST(stage_steps_tick(steps, 0, 0, true) == MP_OK);
    MUST(seen.pieces == (verdict == STAGE_HELD));
    stage_steps_free(steps);
}

static void words(const uint8_t *data, size_t size)
{
    char *text = fuzz_string(data, size);
    struct cron cron;
    struct fault fault = {0};
    const int64_t now = INT64_C(1795194000000000);
    if (cron_parse(text, &cron, &fault) != MP_OK)
        MUST(fault.text[0] != '\0');
    else
        MUST(cron_next(&cron, now) > now &&
             (cron_next(&cron, now) % 60000000 == 0 || cron_next(&cron, now) == INT64_MAX));
    if (glob_check(text, strlen(text), NULL) == MP_OK)
        (void)glob_matches(text, strlen(text), data, size);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint8_t *body = fuzz_copy(data + 1, size - 1);
    split(data[0] % 5, body, size - 1);
    join(body, size - 1);
    words(body, size - 1);
    free(body);
    return 0;
}

bool fuzz_seed(unsigned index, struct buffer *out)
{
    static const struct {
        uint8_t choice;
        const char *text;
    } seeds[] = {
        {0, "{\"a\":\"x\",\"b\":[1]}\n\nthree"},
        {3, "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/a\",\"type\":\"t\",\"n\":5,\"data\":{\"a\":\"b\"}}\n"},
        {4, "[1, \"a\\u0062\", {\"a\": \"\\ud83d\\ude00\", \"b\": [null]}, [[]]]"},
        {0, "*/5 0-6,8 1-31/2 jan-dec mon-sun"},
        {0, "0 0 29 2 */7"},
        {0, "a*[!b-c\\]]?\\*"},
    };
    if (index >= sizeof seeds / sizeof *seeds)
        return false;
    MUST(buffer_put_u8(out, seeds[index].choice) == MP_OK);
    MUST(buffer_append_string(out, seeds[index].text) == MP_OK);
    return true;
}
