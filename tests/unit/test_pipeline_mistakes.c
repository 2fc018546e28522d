/* Each mistake has words that say where it is, what it is, and what would be right; all of them come in one run. */
#include "pipeline_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct pipeline_rig rig;

/* A text with a mistake, and what is said of it behind "p.yaml:". */
struct mistake {
    const char *text, *said;
};

static void check_all(const struct mistake *mistakes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char line[1024];
        snprintf(line, sizeof line, "p.yaml:%s\n", mistakes[i].said);
        (void)pipeline_rig_load(&rig, mistakes[i].text);
        if (strstr((char *)rig.said.data, line) == NULL)
            fail_msg("of\n%s\nis not said\n%sbut\n%s", mistakes[i].text, line, (char *)rig.said.data);
    }
}
#define CHECK(mistakes) check_all(mistakes, sizeof(mistakes) / sizeof *(mistakes))

#define AB "topics: {a: {external: true}, b: {external: true}}\n"

static void mistakes_of_yaml(void **state)
{
    static const struct mistake mistakes[] = {
        {"topics:\n\ta: {}\n", "2:1: error: a tab cannot indent: use spaces"},
        {"topics:\n  a: {}\n b: {}\n",
         "3:2: error: this line begins in no column that one above began in: indent neighbours alike"},
        {"topics: {a: [}\n", "1:14: error: this '}' comes before the ']' of a list inside: close that first"},
        {"stages:\n  s:\n    shell: a: b\n", "3:13: error: ': ' inside of a value: quote the value"},
        {"topics: {}\nstages\n  s: {}\n", "2:1: error: this line has no ': ': a line of a mapping is NAME: VALUE"},
        {"name: \"abc\n", "1:8: error: the quote that begins here is not closed"},
        {"name: @b\n", "1:7: error: plain scalar cannot start with '@': quote it"},
        {"", " error: the file is empty: a pipeline has topics, stages, sources, sinks: see mpipeline(5)"},
        {"- a\n", "1:1: error: a pipeline is a mapping, as topics: {orders.new: {}}, here is a list"},
        {AB "---\nname: x\n", "2:1: error: a second document begins here: a file holds one pipeline"},
        {"name: caf\xe9\n", "1:10: error: the byte \\xe9 is not UTF-8: save the file as UTF-8"},
        {"name: *x\n", "1:7: error: nothing is called '&x': anchor a value before its alias"},
        {"x-a: &a [*a]\n", "1:10: error: '*a' stands inside of what it names: that would never end"},
        {"name: a\nname: b\n", "2:1: error: 'name' stands twice: the first is in line 1: remove one of them"},
        {"? [a]\n: b\n", "1:3: error: a key is a word: write NAME: VALUE"},
        {"name: !foo x\n", "1:7: error: the tag '!foo' has no meaning here: remove it"},
        {"x-a: {<<: 5}\n",
         "1:11: error: '<<' takes the alias of a mapping, as <<: *common, or a list of them: here is a value"},
    };
    (void)state;
    CHECK(mistakes);
}

static void mistakes_of_keys(void **state)
{
    static const struct mistake mistakes[] = {
        {"topcis: {}\n", "1:1: error: unknown key 'topcis' in a pipeline: did you mean 'topics'?"},
        {AB "stages: {s: {from: a, to: b, max_retries: 5}}\n",
         "2:30: error: unknown key 'max_retries' in a stage: it stands in 'retry', as retry: {max_retries: ...}"},
        {AB "sources: {s: {push: {dial: 'ipc:///x'}, to: a}}\n",
         "2:15: error: unknown key 'push' in a source: it is a key of a sink"},
        {AB "stages: {s: {shell: x}}\n", "2:10: error: stage s needs the key 'from', as from: orders.new"},
        {AB "stages: {s: {from: a}}\n", "2:10: error: stage s does nothing: it needs command, shell, to or route"},
        {AB "stages: {s: {from: a, to: b, retry: 5}}\n",
         "2:37: error: retry: keys are needed, as {max_retries: 5, initial_interval: 100ms}, here is a value"},
        {AB "stages: {s: {from: a, command: [x], shell: x}}\n",
         "2:23: error: 'command' does not go with 'shell': a list of words, or a line for the shell"},
        {AB "stages: {s: {from: a, to: b, workers: 5}}\n",
         "2:30: error: 'workers' needs 'command' or 'shell': they are processes of a command"},
        {AB "stages: {s: {from: a, to: b, route: [{to: b}]}}\n",
         "2:30: error: 'route' does not go with 'to': a last route without `where` takes the rest"},
        {AB "sinks: {s: {from: a, file: x, shell: x}}\n",
         "2:31: error: 'file' and 'shell': a sink is one of them: make two sinks"},
        {AB "sinks: {s: {from: a, push: {dial: 'tcp://a:5'}, timeout: 5s}}\n",
         "2:49: error: 'timeout' needs 'command', 'shell', 'req' or 'surveyor': it is for what answers"},
        {AB "stages: {s: {from: a, to: b, timeout: 5s}}\n",
         "2:30: error: 'timeout' needs 'command' or 'shell': it is for a command"},
        {AB "sinks: {s: {from: a, push: {dial: 'tcp://a:5'}, format: null}}\n",
         "2:57: error: a socket sends each message as it is: leave 'format' out, or take json"},
        {AB "sources: {s: {every: 5s, to: a}}\n",
         "2:11: error: source s needs something to send: body, data, command or shell"},
        {AB "sources: {'a b': {file: x, to: a}}\n",
         "2:11: error: source: 'a b': ' ' at character 2 is not allowed: use letters, digits, '_', '-' and '.'"},
        {"topics: {'a.*': {}}\n", "1:10: error: topic 'a.*': that is a pattern: here a topic's full name is needed"},
        {"topics: {'${A}': {}}\n", "1:10: error: '${A}': variables stand in values, not in names"},
        {AB "stages: {s: {from: a, shell: x}}\nsinks: {s: {from: b, file: x}}\n",
         "3:9: error: 's' is a stage already, in line 2, and its group: give the sink another name"},
    };
    (void)state;
    CHECK(mistakes);
}

static void mistakes_of_values(void **state)
{
    static const struct mistake mistakes[] = {
        {"strict: yes\n", "1:9: error: strict: 'yes' is neither true nor false: write true"},
        {"topics: {a: {ttl: 5x}}\n", "1:19: error: ttl: '5x' is not a duration: write 500ms, 5s, 1m, 2h or 7d"},
        {"relay: {lease: 1ms}\n", "1:16: error: lease: '1ms' is too short: at least 1s is needed"},
        {"trace: {retain: {age: 1ms}}\n", "1:23: error: age: '1ms' is too short: at least 1s is needed"},
        {"trace: {retain: {bytes: 3}}\n", "1:25: error: bytes: '3' is too small: at least 65536 bytes are needed"},
        {"trace: {sample: 2}\n", "1:17: error: sample: '2' is no share: write a number from 0 to 1, as 0.2"},
        {"relay: {lease: 25h}\n", "1:16: error: lease: '25h' is too long: at most 1d is possible"},
        {AB "sinks: {s: {from: a, file: ''}}\n", "2:28: error: file: a path is needed, here is an empty text"},
        {AB "sources: {s: {file: '', to: a}}\n", "2:21: error: file: a path is needed, here is an empty text"},
        {AB "stages: {s: {from: a, shell: x, directory: ''}}\n",
         "2:44: error: directory: a path is needed, here is an empty text"},
        {"topics: {a: {max_bytes: big}}\n",
         "1:25: error: max_bytes: 'big' is not a size: write 512, 64KiB, 1MiB or 1GiB"},
        {"topics: {a: {rate: 5}}\n", "1:20: error: rate: '5' is not a rate: write 500/s, 30/m or 7200/h"},
        {"topics: {a: {overflow: drop}}\n", "1:24: error: overflow is block, reject or drop_oldest, not 'drop'"},
        {"topics: {a: {ttl: [5s]}}\n", "1:19: error: ttl: a duration such as 5s is needed, here is a list"},
        {"topics: {a: {ttl: }}\n", "1:17: error: ttl: a duration such as 5s is needed, here is nothing"},
        {AB "stages: {s: {from: a, shell: x, mode: streaming}}\n",
         "2:39: error: mode: 'streaming' is not known: did you mean 'stream'?"},
        {AB "stages: {s: {from: a, shell: x, workers: 0}}\n",
         "2:42: error: workers wants a whole number from 1 to 1024, not '0'"},
        {AB "stages: {s: {from: a, command: cat -u}}\n",
         "2:32: error: command: a list of words is needed, as [jq, -c, .], here is a value: `shell` takes a line"},
        {AB "stages: {s: {from: a, shell: x, retry: {initial_interval: 5m, max_interval: 1s}}}\n",
         "2:10: error: s: retry.max_interval (1s) is below retry.initial_interval (5m)"},
        {AB "stages: {s: {from: a, shell: x, on_dead: hold}}\n",
         "2:10: error: s: on_dead is hold but order is none: a dead message holds its key only with order=key"},
        {AB "stages: {s: {from: a, shell: x, dead_letter: a}}\n",
         "2:46: error: dead_letter: 'a' is what it takes: its dead letters would come back for ever"},
        {AB "stages: {s: {from: a, shell: x, mode: stream, format: whole}}\n",
         "2:47: error: format: whole has no separator, and mode: stream needs one: lines, null, length or json"},
        {AB "sources: {s: {cron: '61 * * * *', body: x, to: a}}\n",
         "2:21: error: cron: the minute '61': numbers go from 0 to 59"},
        {AB "sources: {s: {pull: {listen: 7001}, to: a}}\n",
         "2:30: error: listen: 7001: this is no address: write ipc:///path/of/socket or tcp://host:port"},
        {AB "tests: [{input: [{topic: a, time: x}], expect: []}]\n",
         "2:35: error: attribute 'time' is not a time: write it as 2026-11-20T17:00:00Z"},
    };
    (void)state;
    CHECK(mistakes);
}

static void mistakes_of_steps(void **state)
{
#define STEPS(steps) AB "stages: {s: {from: a, to: b, steps: [" steps "]}}\n"
    static const struct mistake mistakes[] = {
        {STEPS("{wher: {a: b}}"), "2:39: error: unknown key 'wher' in a step: did you mean 'where'?"},
        {STEPS("{where: {a: {regx: b}}}"), "2:51: error: a: 'regx' is no condition: did you mean 'regex'?"},
        {STEPS("{where: {a: {above: b}}}"), "2:58: error: above: 'b' is no number"},
        {STEPS("{rename: {x: z, y: z}}"),
         "2:57: error: rename: 'x' and 'y' both become 'z': one would be lost: give them two names"},
        {STEPS("{rename: {x: key, y: partitionkey}}"),
         "2:59: error: rename: 'x' and 'y' both become 'partitionkey': one would be lost: give them two names"},
        {STEPS("{where: {a b: c}}"),
         "2:47: error: where: 'a b' is neither an attribute's name nor a JSON Pointer such as /order/total"},
        {STEPS("{where: {a: b}, set: {a: b}}"),
         "2:54: error: 'where' and 'set' in one step: begin another with '- set:'"},
        {STEPS("{else: dead}"),
         "2:39: error: 'else' needs 'where': it says what becomes of messages for which that does not hold"},
        {STEPS("{set: {data: x}}"),
         "2:45: error: set: attribute 'data': CloudEvents keeps this name for itself: take another"},
        {STEPS("{set: {x: '%{'}}"), "2:48: error: x: character 1 of the template: \"%{\" without its \"}\""},
        {STEPS("{aggregate: {by: key}}"),
         "2:39: error: aggregate needs to know when a window ends: count, size or window"},
        {STEPS("{aggregate: {count: 5}}, {rate_limit: 5/s}"),
         "2:63: error: behind aggregate no 'rate_limit': put it into the next stage"},
        {AB "stages: {s: {from: a, shell: x, steps: [{split: lines}]}}\n",
         "2:33: error: split does not go with a command: put the command into the next stage"},
        {AB "stages: {s: {from: [a, b], to: b, steps: [{aggregate: {count: 5}}]}}\n",
         "2:14: error: aggregate takes one topic, or one pattern, not a list"},
        {AB "stages: {s: {from: a, to: b, order: key, steps: [{aggregate: {count: 5}}]}}\n",
         "2:30: error: order: key hands out one message of a key at a time: a window of aggregate never fills"},
        {AB "sources: {s: {file: x, to: a, steps: [{aggregate: {count: 5}}]}}\n",
         "2:31: error: aggregate: not in a source: put it into a stage behind it"},
    };
    (void)state;
    CHECK(mistakes);
}

static void mistakes_of_the_whole(void **state)
{
    static const struct mistake mistakes[] = {
        {AB "stages: {s: {from: a, to: c}}\n", "2:27: error: to: no topic 'c' is declared: add it under 'topics:'"},
        {"topics: {orders: }\nstages: {s: {from: odrers, shell: x}}\n",
         "2:20: error: from: no topic 'odrers' is declared: did you mean 'orders'?"},
        {"topics: {a: , b: }\nstages:\n  s: {from: a, to: b}\n  t: {from: b, to: a}\n",
         "3:3: error: a cycle: s -> b -> t -> a -> s: messages could go round for ever, and block each other: if that "
         "is meant, one of its stages says cycle: allowed"},
        {"topics: {a: , b: }\nsources: {f: {file: x, to: a}}\nstages:\n  s: {from: b, shell: x}\n"
         "  t: {from: a, shell: x}\n",
         "4:13: error: s: nobody feeds it: no source or stage here sends to 'b' (if others do, say so: b: {external: "
         "true})"},
        {"topics: {a: }\nstages: {s: {from: 'x.*', shell: x}}\n",
         "2:20: error: s: nobody feeds it: no topic that is declared matches 'x.*'"},
        {"topics: {a: , b: }\nstages: {s: {from: a, to: b}}\n",
         "2:27: warning: nobody takes what goes to 'b' (if others do, say so: b: {external: true})"},
        {"topics: {a: }\n", "1:10: warning: topic 'a' is not used: nobody sends to it, nobody takes from it"},
        {"relay: {listen: ['tcp://127.0.0.1:5', 'tcp://127.0.0.1:5']}\n",
         "1:39: error: the relay listens at tcp://127.0.0.1:5 already"},
        {"relay: {listen: 'tcp://127.0.0.1:5', http: '127.0.0.1:5'}\n",
         "1:44: error: the relay listens at tcp://127.0.0.1:5 already"},
        {AB "sources: {s: {pull: {listen: 'tcp://*:5'}, to: a}}\nsinks: {t: {from: b, push: {listen: "
            "'tcp://127.0.0.1:5'}}}\n",
         "3:37: error: source s listens at tcp://*:5 already"},
        {"relay: {listen: 'tcp://0.0.0.0:5'}\n",
         "1:17: error: listen: other machines reach tcp://0.0.0.0:5, and anybody there could read and write: listen at "
         "127.0.0.1, or say insecure: true"},
        {AB "stages: {s: {from: a, to: b}}\ntests: [{stage: t, input: [], expect: []}]\n",
         "3:17: error: stage: there is no 't': s"},
        {AB "stages: {s: {from: a, to: b}}\ntests: [{stage: s, input: [{topic: b}], expect: []}]\n",
         "3:36: error: stage s does not take from 'b'"},
        {AB "stages: {s: {from: a, shell: x}}\ntests: [{stage: s, input: [], expect: [{body: x}]}]\n",
         "3:40: error: in which topic is it expected? topic: NAME"},
    };
    (void)state;
    CHECK(mistakes);
}

static void what_is_meant_is_no_mistake(void **state)
{
    (void)state;
    pipeline_rig_good(&rig,
                      "topics: {a: , b: }\nstages:\n  s: {from: a, to: b}\n  t: {from: b, to: a, cycle: allowed}\n");
    pipeline_rig_good(&rig, "strict: false\nstages:\n  s: {from: a, to: b}\nsinks: {t: {from: b, file: x}}\n");
    assert_int_equal(rig.pipeline->topics_count, 2);
    assert_int_equal(rig.pipeline->topics[0].place.line, 0);
    pipeline_rig_good(&rig, AB "stages: {s: {from: a, shell: x, to: b}}\nsinks: {t: {from: a.dead, file: x}}\n");
}

static void commands_are_looked_for(void **state)
{
    static const struct mistake mistakes[] = {
        {AB "stages: {s: {from: a, command: [no-such-command]}}\n",
         "2:33: error: no command 'no-such-command': it is in no folder of $PATH (one beside this file is "
         "./no-such-command)"},
        {AB "stages: {s: {from: a, shell: x, directory: no}}\n", NULL},
        {AB "sinks: {s: {from: a, file: no/where}}\n", NULL},
        {AB "stages: {s: {from: a, command: [./plain]}}\n", NULL},
    };
    char said[3][256];
    struct mistake made[4];
    (void)state;
    rig.commands = true;
    pipeline_rig_file("plain", "x", 0644);
    snprintf(said[0], sizeof said[0], "2:44: error: directory: there is no folder %s/no", rig.folder);
    snprintf(said[1], sizeof said[1], "2:28: error: file: there is no folder '%s/no'", rig.folder);
    snprintf(said[2], sizeof said[2], "2:33: error: '%s/plain' may not be run: chmod +x %s/plain", rig.folder,
             rig.folder);
    for (size_t i = 0; i < 4; i++)
        made[i] = (struct mistake){mistakes[i].text, i > 0 ? said[i - 1] : mistakes[i].said};
    CHECK(made);
    pipeline_rig_file("plain", "#!/bin/sh\n", 0755);
    pipeline_rig_good(&rig, AB "stages: {s: {from: a, command: [./plain]}, t: {from: a, command: [sh]}}\n");
}

static void all_mistakes_come_in_the_order_of_the_file(void **state)
{
    (void)state;
    pipeline_rig_says(&rig, "topics:\n  a: {ttl: 5x}\n  b: {rate: x, overlow: block}\nstages:\n\ts: x\n",
                      "p.yaml:5:1: error: a tab cannot indent: use spaces\n    \ts: x\n    ^\n");
    pipeline_rig_says(&rig, "stages:\n  s: {from: q, shell: x}\ntopics:\n  a: {ttl: 5x}\n  b: {rate: x}\n",
                      "p.yaml:2:13: error: from: no topic 'q' is declared: add it under 'topics:'\n"
                      "      s: {from: q, shell: x}\n"
                      "                ^\n"
                      "p.yaml:4:12: error: ttl: '5x' is not a duration: write 500ms, 5s, 1m, 2h or 7d\n"
                      "      a: {ttl: 5x}\n"
                      "               ^~\n"
                      "p.yaml:5:13: error: rate: 'x' is not a rate: write 500/s, 30/m or 7200/h\n"
                      "      b: {rate: x}\n"
                      "                ^\n");
    assert_string_equal(rig.fault.text, "p.yaml: 3 mistakes");
}

/* A slip is one mistake: what is missing because of it is not told as another one. */
static void a_slip_is_told_once(void **state)
{
    static const struct mistake slips[] = {
        {AB "sources: {s: {fiel: x, to: a}}\n", "2:15: error: unknown key 'fiel' in a source: did you mean 'file'?"},
        {AB "sinks: {s: {from: a, fiel: x}}\n", "2:22: error: unknown key 'fiel' in a sink: did you mean 'file'?"},
        {AB "stages: {s: {form: a, to: b}}\n", "2:14: error: unknown key 'form' in a stage: did you mean 'from'?"},
        {AB "stages: {s: {from: a, rout: [{to: b}]}}\n",
         "2:23: error: unknown key 'rout' in a stage: did you mean 'route'?"},
        {AB "stages: {s: {from: a, comand: [cat], mode: batch}}\n",
         "2:23: error: unknown key 'comand' in a stage: did you mean 'command'?"},
    };
    (void)state;
    CHECK(slips);
    for (size_t i = 0; i < sizeof slips / sizeof *slips; i++) {
        (void)pipeline_rig_load(&rig, slips[i].text);
        const char *first = strstr((char *)rig.said.data, "error:");
        assert_non_null(first);
        assert_null(strstr(first + 1, "error:"));
    }
    /* In another mapping it is nobody's slip. */
    (void)pipeline_rig_load(&rig, AB "stages: {s: {form: a, to: b}, t: {to: b}}\n");
    assert_non_null(strstr((char *)rig.said.data, "stage t needs the key 'from'"));
}

static void the_caret_stands_below_the_mistake(void **state)
{
    (void)state;
    pipeline_rig_says(&rig, "relay: {lease: \t5x}\n",
                      "p.yaml:1:17: error: lease: '5x' is not a duration: write 500ms, 5s, 1m, 2h or 7d\n"
                      "    relay: {lease: \t5x}\n"
                      "                   \t^~\n");
    pipeline_rig_says(&rig, "tests: [{name: 'caf\u00e9 \u6f22', expect: []}]\n",
                      "p.yaml:1:9: error: a test needs the key 'input', as input: [{type: order.new, data: {\"id\": "
                      "1, \"qty\": 2}}]\n"
                      "    tests: [{name: 'caf\u00e9 \u6f22', expect: []}]\n            ^\n");
}

int main(void)
{
#define TEST(name)                                                                                                     \
    {                                                                                                                  \
#name, name, pipeline_rig_set_up, pipeline_rig_tear_down, &rig                                                 \
    }
    const struct CMUnitTest tests[] = {
        TEST(mistakes_of_yaml),        TEST(mistakes_of_keys),
        TEST(mistakes_of_values),      TEST(mistakes_of_steps),
        TEST(mistakes_of_the_whole),   TEST(what_is_meant_is_no_mistake),
        TEST(commands_are_looked_for), TEST(all_mistakes_come_in_the_order_of_the_file),
        TEST(a_slip_is_told_once),     TEST(the_caret_stands_below_the_mistake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
