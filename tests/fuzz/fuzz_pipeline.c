/*
 * Pipelines' files: whatever is in one, it is read or refused with words that stand at places of the file, in bounded
 * time and memory.
 */
#include "fuzz.h"

#include "message/json_scan.h"
#include "pipeline/pipeline.h"

/* libfyaml 0.7.12 forgets a buffer after some mistakes; that is not ours to find. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml";
}

/* Of each mistake the first line says where it is. */
static unsigned mistakes(const struct buffer *said)
{
    unsigned count = 0;
    const char *at = (const char *)said->data, *end = at + said->size;
    while (at < end) {
        const char *next = memchr(at, '\n', (size_t)(end - at));
        MUST(next != NULL);
        count += strncmp(at, "f.yaml:", 7) == 0;
        at = next + 1;
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char variable[] = "NAME=value", *environment[] = {variable, NULL};
    char *text = fuzz_string(data, size);
    struct pipeline_load_settings settings = {.file = "f.yaml", .text = text, .size = size, .environment = environment};
    struct pipeline *pipeline;
    struct buffer said = {0}, request = {0};
    struct fault fault = {0};
    enum mp_error error = pipeline_load(&settings, &pipeline, &said, &fault);
    MUST(error == MP_OK || error == MP_ERR_INVALID);
    MUST((error == MP_OK) == (pipeline != NULL));
    if (error != MP_OK)
        MUST(mistakes(&said) > 0 && fault.text[0] != '\0');
    if (pipeline != NULL) {
        MUST(pipeline_configure(pipeline, NULL, &request) == MP_OK);
        MUST(json_scan_is_value(request.data, request.size));
        (void)pipeline_endless(pipeline);
    }
    pipeline_free(pipeline);
    buffer_free(&said);
    buffer_free(&request);
    free(text);
    return 0;
}

bool fuzz_seed(unsigned index, struct buffer *out)
{
    static const char *const seeds[] = {
        "name: orders\nrelay: {listen: [tcp://127.0.0.1:7000], http: 127.0.0.1:8080, lease: 30s}\n"
        "topics:\n  a: {max_messages: 10, overflow: block, retain: {age: 7d}, dedupe: {by: id}}\n  b:\n  c: {}\n"
        "sources:\n  s: {command: [tail, -F, x], to: a, restart: always, env: {A: \"1\"}}\n"
        "  p: {pull: {listen: \"tcp://127.0.0.1:7001\"}, to: a}\n  t: {every: 5s, data: {x: [1, 0x1f, .5]}, to: b}\n",
        "topics: {a: {}, b: {}, c: {}}\nstages:\n  one:\n    from: [a, \"b.*\"]\n    steps:\n"
        "      - where: {type: order.*, /x/y: {above: 5, not: [1, 2]}}\n        else: dead\n      - set: {x: '%{id}'}\n"
        "      - rename: {a: b}\n      - remove: [x, y]\n      - rate_limit: 5/s\n      - log: [id]\n"
        "      - dedupe: {by: id, window: 1h}\n    shell: cat\n    mode: stream\n    workers: 4\n    timeout: 5s\n"
        "    to: c\n    retry: {max_retries: 5, jitter: 0.2}\n    dead_letter: b\n    cycle: allowed\n"
        "    circuit_breaker: {failures: 5, open: 1s, fallback: {body: x}}\n",
        "topics: {a: {}, b: {}}\nstages:\n  x: {from: a, route: [{where: {a: b}, to: b}, {to: a}]}\n"
        "  y: {from: b, steps: [{aggregate: {window: 5s, by: key, format: array}}], to: a}\n"
        "sinks:\n  f: {from: b, file: x, rotate: 1MiB, keep: 5, format: json}\n  g: {from: a, push: {dial: "
        "ipc:///x}}\n",
        "topics: {a: {}}\nstages: {s: {from: a, to: a}}\ntests:\n- name: n\n  stage: s\n  input: [{topic: a, type: t, "
        "data: {x: 1}}]\n  expect: [{body: |\n    text\n    }]\n  unordered: true\n",
        "x-a: &a {retry: {max_retries: 1}, from: [a]}\nx-b: &b {<<: *a, to: b}\nstages: {s: {<<: [*a, *b], shell: "
        "c}}\n",
        "name: ${NAME:-x}\ntopics: {a: {ttl: \"${TTL:-5s}\"}}\nstages: {s: {from: a, command: [\"${NAME}\", $$x]}}\n",
        "a: &a [1, 1]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n",
    };
    return fuzz_seed_text(index, seeds, sizeof seeds / sizeof *seeds, out);
}
