#include "checker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * All histories together are gone through several times: kills and rules explain what comes after them in any file, what
 * was sent may be got before the line that says so is read, and the relay's numbers are compared with all that was.
 */
enum pass { PASS_RULES, PASS_SENT, PASS_GOT, PASS_NUMBERS, PASSES };

/* ---- what is to hold, and what explains ------------------------------------------------------------------------ */

static void add_excuse(struct checker *checker, int64_t time, const char *who)
{
    if (checker->excuses_count == checker->excuses_capacity) {
        checker->excuses_capacity = checker->excuses_capacity ? checker->excuses_capacity * 2 : 64;
        checker->excuses = realloc(checker->excuses, checker->excuses_capacity * sizeof *checker->excuses);
        if (!checker->excuses)
            exit(71);
    }
    struct excuse *excuse = &checker->excuses[checker->excuses_count++];
    *excuse = (struct excuse){.time = time};
    snprintf(excuse->who, sizeof excuse->who, "%s", who);
}

static bool see_excuse(struct checker *checker, int64_t time, char *words, uint64_t *count)
{
    char who[WORD], group[WORD];
    int some = sscanf(words, "%79s %79s", who, group);
    if (some < 1)
        return false;
    ++*count;
    add_excuse(checker, time, some == 1 ? "" : who);
    if (some == 1)
        checker->anybodys++;
    else if (strcmp(group, "-") != 0)
        checker_group(checker, group)->excuses++;
    return true;
}

static bool see_kill(struct checker *checker, int64_t time, char *words)
{
    return see_excuse(checker, time, words, &checker->kills);
}

static bool see_cut(struct checker *checker, int64_t time, char *words)
{
    return see_excuse(checker, time, words, &checker->cuts);
}

static bool see_pause(struct checker *checker, int64_t time, char *words)
{
    return see_excuse(checker, time, words, &checker->pauses);
}

static bool see_topic(struct checker *checker, int64_t time, char *words)
{
    char name[WORD];
    int at = 0;
    (void)time;
    if (sscanf(words, "%79s%n", name, &at) < 1)
        return false;
    checker_see_topic(checker, name, words + at);
    return true;
}

static bool see_group(struct checker *checker, int64_t time, char *words)
{
    char name[WORD], pattern[WORD];
    int at = 0;
    (void)time;
    if (sscanf(words, "%79s %79s%n", name, pattern, &at) < 2)
        return false;
    checker_see_group(checker, name, pattern, words + at);
    return true;
}

static bool see_pipe(struct checker *checker, int64_t time, char *words)
{
    char from[WORD], to[WORD], group[WORD], order[WORD] = "";
    (void)time;
    if (sscanf(words, "%79s %79s %79s %79s", from, to, group, order) < 3)
        return false;
    checker_see_pipe(checker, from, to, group, strcmp(order, "order") == 0);
    return true;
}

static bool see_late(struct checker *checker, int64_t time, char *words)
{
    char group[WORD];
    if (sscanf(words, "%79s", group) != 1)
        return false;
    checker_group(checker, group)->late = time;
    return true;
}

static bool see_drained(struct checker *checker, int64_t time, char *words)
{
    char group[WORD];
    if (sscanf(words, "%79s", group) != 1)
        return false;
    checker_group(checker, group)->drained = time;
    return true;
}

static bool see_calm(struct checker *checker, int64_t time, char *words)
{
    (void)words;
    checker->calm = time;
    return true;
}

static bool see_replayed(struct checker *checker, int64_t time, char *words)
{
    (void)words;
    checker->replayed = time;
    return true;
}

/* ---- what producers and letters say ---------------------------------------------------------------------------- */

static bool see_send(struct checker *checker, int64_t time, char *words)
{
    char producer[WORD], topic[WORD];
    uint64_t sequence, hash;
    int at = 0;
    if (sscanf(words, "%79s %79s %" SCNu64 " %" SCNx64 "%n", producer, topic, &sequence, &hash, &at) != 4)
        return false;
    checker_see_send(checker, time, producer, topic, sequence, hash, words + at);
    return true;
}

struct range {
    char producer[WORD];
    uint64_t first, last;
};

static bool read_range(const char *words, struct range *range)
{
    return sscanf(words, "%79s %" SCNu64 " %" SCNu64, range->producer, &range->first, &range->last) == 3;
}

static bool see_ok(struct checker *checker, int64_t time, char *words)
{
    struct range range;
    return read_range(words, &range) &&
           checker_see_outcome(checker, time, range.producer, range.first, range.last, true);
}

static bool see_failed(struct checker *checker, int64_t time, char *words)
{
    struct range range;
    return read_range(words, &range) &&
           checker_see_outcome(checker, time, range.producer, range.first, range.last, false);
}

static bool see_unknown(struct checker *checker, int64_t time, char *words)
{
    struct range range;
    (void)time;
    return read_range(words, &range) && checker_see_unknown(checker, range.producer, range.first, range.last);
}

static bool see_letter(struct checker *checker, int64_t time, char *words)
{
    char group[WORD], topic[WORD], reason[WORD], id[WORD];
    uint64_t offset, attempts;
    int at = 0;
    (void)time;
    if (sscanf(words, "%79s %79s %" SCNu64 " %79s %" SCNu64 " %79s%n", group, topic, &offset, reason, &attempts, id,
               &at) != 6)
        return false;
    checker_see_letter(checker, group, topic, offset, reason, attempts, id, words + at + (words[at] == ' '));
    return true;
}

/* ---- what consumers say ---------------------------------------------------------------------------------------- */

static bool see_got(struct checker *checker, int64_t time, char *words)
{
    char consumer[WORD], group[WORD], topic[WORD], producer[WORD], id[ID] = "";
    struct checker_got got = {.consumer = consumer, .group = group, .topic = topic, .producer = producer, .id = id};
    if (sscanf(words, "%79s %79s %79s %" SCNu64 " %" SCNu64 " %79s %" SCNu64 " %" SCNx64 " %47s", consumer, group,
               topic, &got.offset, &got.attempt, producer, &got.sequence, &got.hash, id) < 8)
        return false;
    checker_see_got(checker, time, &got);
    return true;
}

struct held {
    char consumer[WORD], group[WORD], topic[WORD], what[16];
    struct checker_end end;
};

static bool read_held(const char *words, const char *event, struct held *held)
{
    held->what[0] = '\0';
    held->end = (struct checker_end){event, held->what, held->consumer, held->group, held->topic, 0};
    return sscanf(words, "%79s %79s %79s %" SCNu64 " %15s", held->consumer, held->group, held->topic, &held->end.offset,
                  held->what) >= 4;
}

static bool see_doing(struct checker *checker, int64_t time, char *words)
{
    struct held held;
    (void)time;
    return read_held(words, "doing", &held) && held.what[0] && checker_see_end(checker, &held.end);
}

static bool see_acked(struct checker *checker, int64_t time, char *words)
{
    struct held held;
    (void)time;
    return read_held(words, "acked", &held) && checker_see_end(checker, &held.end);
}

static bool see_retried(struct checker *checker, int64_t time, char *words)
{
    struct held held;
    (void)time;
    return read_held(words, "retried", &held) && checker_see_end(checker, &held.end);
}

/* Before the deliveries: its holder hears of it later than the next one gets the message. */
static bool see_stale(struct checker *checker, int64_t time, char *words)
{
    struct held held;
    (void)time;
    if (!read_held(words, "stale", &held))
        return false;
    checker_see_stale(checker, &held.end);
    return true;
}

/* ---- what the relay says --------------------------------------------------------------------------------------- */

static bool see_kept(struct checker *checker, int64_t time, char *words)
{
    char topic[WORD];
    uint64_t messages;
    (void)time;
    if (sscanf(words, "%79s %" SCNu64, topic, &messages) != 2)
        return false;
    if (messages > 0)
        checker_find(checker, MISCOUNTED, "settled, and still there", topic);
    return true;
}

static bool see_depth(struct checker *checker, int64_t time, char *words)
{
    char topic[WORD], group[WORD];
    uint64_t depth;
    (void)time;
    if (sscanf(words, "%79s %79s %" SCNu64, topic, group, &depth) != 3)
        return false;
    uint64_t most = checker_topic(checker, topic)->max;
    if (most > 0 && depth > most)
        checker_find(checker, OVERFULL, group, topic);
    return true;
}

static bool see_state(struct checker *checker, int64_t time, char *words)
{
    char topic[WORD], group[WORD];
    uint64_t numbers[8];
    (void)time;
    if (sscanf(words,
               "%79s %79s %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
               topic, group, &numbers[0], &numbers[1], &numbers[2], &numbers[3], &numbers[4], &numbers[5], &numbers[6],
               &numbers[7]) != 10)
        return false;
    checker_see_state(checker, topic, group, numbers);
    return true;
}

/* ---- lines ----------------------------------------------------------------------------------------------------- */

/* WORDS are those behind the time, and may be changed. False: they make no sense. */
static const struct {
    const char *event;
    enum pass pass;
    bool (*see)(struct checker *checker, int64_t time, char *words);
} kinds[] = {
    {"got", PASS_GOT, see_got},          {"doing", PASS_GOT, see_doing},
    {"acked", PASS_GOT, see_acked},      {"send", PASS_SENT, see_send},
    {"ok", PASS_SENT, see_ok},           {"retried", PASS_GOT, see_retried},
    {"stale", PASS_SENT, see_stale},     {"failed", PASS_SENT, see_failed},
    {"unknown", PASS_SENT, see_unknown}, {"letter", PASS_SENT, see_letter},
    {"kill", PASS_RULES, see_kill},      {"cut", PASS_RULES, see_cut},
    {"pause", PASS_RULES, see_pause},    {"topic", PASS_RULES, see_topic},
    {"group", PASS_RULES, see_group},    {"pipe", PASS_RULES, see_pipe},
    {"late", PASS_RULES, see_late},      {"drained", PASS_RULES, see_drained},
    {"calm", PASS_RULES, see_calm},      {"replayed", PASS_RULES, see_replayed},
    {"depth", PASS_NUMBERS, see_depth},  {"state", PASS_NUMBERS, see_state},
    {"kept", PASS_NUMBERS, see_kept},
};

enum { KINDS = sizeof kinds / sizeof *kinds };

static int by_time(const void *one, const void *other)
{
    const struct event_line *a = one, *b = other;
    if (a->time != b->time)
        return a->time < b->time ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

/* Whether TEXT is an event and its time; then *WORDS is where the rest begins. */
static bool classify(const char *text, struct event_line *line, size_t *words)
{
    char event[16];
    int at = 0;
    if (sscanf(text, "%15s %" SCNd64 "%n", event, &line->time, &at) != 2)
        return false;
    for (line->kind = 0; line->kind < KINDS && strcmp(kinds[line->kind].event, event) != 0; line->kind++)
        ;
    *words = (size_t)at;
    return line->kind < KINDS;
}

static bool list_add(struct event_list *list, const char *text)
{
    struct event_line line = {.order = list->count};
    size_t words;
    if (!classify(text, &line, &words)) {
        fprintf(stderr, "checker: this line makes no sense: %s\n", text);
        return false;
    }
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? list->capacity * 2 : 1024;
        list->items = realloc(list->items, list->capacity * sizeof *list->items);
        if (!list->items)
            exit(71);
    }
    if (!(line.text = strdup(text + words)))
        exit(71);
    list->items[list->count++] = line;
    return true;
}

/* A last line without its end was being written when its writer was killed: it tells nothing. */
int checker_read(const char *name, struct event_list *list)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t size;
    int status = 0;
    FILE *file = fopen(name, "r");
    if (!file) {
        perror(name);
        return 66;
    }
    while (!status && (size = getline(&line, &capacity, file)) > 0) {
        if (line[size - 1] != '\n')
            continue;
        line[size - 1] = '\0';
        status = list_add(list, line) ? 0 : 66;
    }
    if (ferror(file))
        status = 66;
    free(line);
    fclose(file);
    return status;
}

int checker_run(struct checker *checker, struct event_list *list)
{
    if (list->count > 0)
        qsort(list->items, list->count, sizeof *list->items, by_time);
    for (enum pass pass = PASS_RULES; pass < PASSES; pass++) {
        if (pass == PASS_NUMBERS)
            checker_tally(checker);
        for (size_t i = 0; i < list->count; i++) {
            struct event_line *line = &list->items[i];
            if (kinds[line->kind].pass == pass && !kinds[line->kind].see(checker, line->time, line->text)) {
                fprintf(stderr, "checker: this line makes no sense: %s %" PRId64 "%s\n", kinds[line->kind].event,
                        line->time, line->text);
                return 66;
            }
        }
    }
    return 0;
}

void checker_list_free(struct event_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i].text);
    free(list->items);
}
