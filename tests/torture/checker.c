/*
 * checker: reads histories and says what became of each message.
 *
 *     checker [--groups N] HISTORY...
 *
 * --groups: so many groups are to have got something. Exits 0 when all is as promised, 1 when something is not (each
 * finding is a line, and the last line counts them), 64, or 66 when a history cannot be read.
 *
 *     lost        acknowledged, and a group never got it; got, and it never ended; dead without a letter; taken for a
 *                 duplicate of nothing; replayed, and it never came
 *     phantom     got, and never sent; or refused, and got all the same; or another group's replay
 *     altered     got, dead or replayed with other bytes or another id than were sent
 *     duplicated  stored or replayed twice, or twice with one id; or got again after its acknowledgement; or again
 *                 without a kill, a lost lease or a wish of the consumer that explains it
 *     reordered   of one producer in one topic, stored before one that was sent earlier; of one key in a group that
 *                 orders by it, got before an earlier one was done, or while its key was held
 *     untimely    before the end of its delay; after it had expired; gone before
 *     charged     an attempt that no failure, no death of its own and no kill explains; a letter that nothing explains,
 *                 or that is wrong about attempts and reason
 *     overfull    more in a topic than its limit
 *     miscounted  the relay's numbers do not fit what happened; offsets in no state or in two; what was settled stays
 *
 * An explained duplicate is no fault; it is counted.
 */
#include "checker.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FINDINGS_SHOWN = 30 };

static const char *const class_names[CLASSES] = {"lost",     "phantom", "altered",  "duplicated", "reordered",
                                                 "untimely", "charged", "overfull", "miscounted"};

void checker_find(struct checker *checker, enum fault_class class, const char *text, const char *key)
{
    if (++checker->found[class] <= FINDINGS_SHOWN)
        printf("%s: %s (%s)\n", class_names[class], text, key);
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

/*
 * Histories are read several times: kills and rules explain what comes after them in any file, what was sent may be got
 * before the line that says so is read, and the relay's numbers are compared with all that was.
 */
enum pass { PASS_RULES, PASS_SENT, PASS_GOT, PASS_NUMBERS };

static void see_kill(struct checker *checker, int64_t time, const char *group)
{
    if (checker->kills_count == checker->kills_capacity) {
        checker->kills_capacity = checker->kills_capacity ? checker->kills_capacity * 2 : 64;
        checker->kills = realloc(checker->kills, checker->kills_capacity * sizeof *checker->kills);
        if (!checker->kills)
            exit(71);
    }
    struct kill *kill = &checker->kills[checker->kills_count++];
    *kill = (struct kill){.time = time};
    if (!group)
        checker->any_kills++;
    else if (strcmp(group, "-") != 0) {
        struct group *hit = checker_group(checker, group);
        hit->excuses++;
        kill->group = hit;
    }
}

/* What is to hold, and what explains. False: no such event, or nonsense. */
static bool read_rule(struct checker *checker, const char *event, int64_t time, char *line, enum pass pass)
{
    char one[WORD], two[WORD];
    int at = 0, words = sscanf(line, "%*s %*s %79s%n %79s", one, &at, two);
    bool now = pass == PASS_RULES;
    if (strcmp(event, "calm") == 0 || strcmp(event, "replayed") == 0) {
        *(event[0] == 'c' ? &checker->calm : &checker->replayed) = time;
        return true;
    }
    if (words < 1)
        return false;
    if (strcmp(event, "kill") == 0) {
        if (now)
            see_kill(checker, time, words == 2 ? two : NULL);
    } else if (strcmp(event, "topic") == 0) {
        if (now)
            checker_see_topic(checker, one, line + at);
    } else if (strcmp(event, "late") == 0)
        checker_group(checker, one)->late = time;
    else if (strcmp(event, "drained") == 0)
        checker_group(checker, one)->drained = time;
    else if (strcmp(event, "group") == 0 && words == 2) {
        if (now && sscanf(line, "%*s %*s %*s %*s%n", &at) == 0)
            checker_see_group(checker, one, two, line + at);
    } else
        return false;
    return true;
}

/* What producers and letters say. */
static bool read_sent(struct checker *checker, const char *event, int64_t time, char *line, enum pass pass)
{
    char one[WORD], two[WORD], three[WORD], four[WORD];
    uint64_t first, last, hash;
    int at = 0;
    if (strcmp(event, "send") == 0) {
        if (sscanf(line, "%*s %*s %79s %79s %" SCNu64 " %" SCNx64 "%n", one, two, &first, &hash, &at) != 4)
            return false;
        if (pass == PASS_SENT)
            checker_see_send(checker, time, one, two, first, hash, line + at);
        return true;
    }
    if (strcmp(event, "ok") == 0 || strcmp(event, "failed") == 0) {
        if (sscanf(line, "%*s %*s %79s %" SCNu64 " %" SCNu64, one, &first, &last) != 3)
            return false;
        return pass != PASS_SENT || checker_see_outcome(checker, time, one, first, last, event[0] == 'o');
    }
    if (strcmp(event, "letter") != 0 || sscanf(line, "%*s %*s %79s %79s %" SCNu64 " %79s %" SCNu64 " %79s%n", one, two,
                                               &first, three, &last, four, &at) != 6)
        return false;
    if (pass == PASS_SENT) {
        line[strcspn(line, "\n")] = '\0';
        checker_see_letter(checker, one, two, first, three, last, four, line + at + (line[at] == ' '));
    }
    return true;
}

static bool read_got(struct checker *checker, int64_t time, const char *line)
{
    char consumer[WORD], group[WORD], topic[WORD], producer[WORD], id[ID] = "";
    struct checker_got got = {.consumer = consumer, .group = group, .topic = topic, .producer = producer, .id = id};
    if (sscanf(line, "%*s %*s %79s %79s %79s %" SCNu64 " %" SCNu64 " %79s %" SCNu64 " %" SCNx64 " %47s", consumer,
               group, topic, &got.offset, &got.attempt, producer, &got.sequence, &got.hash, id) < 8)
        return false;
    checker_see_got(checker, time, &got);
    return true;
}

static bool read_numbers(struct checker *checker, const char *event, const char *line)
{
    char topic[WORD], group[WORD];
    uint64_t numbers[8];
    if (strcmp(event, "kept") == 0) {
        if (sscanf(line, "%*s %*s %79s %" SCNu64, topic, &numbers[0]) != 2)
            return false;
        if (numbers[0] > 0)
            checker_find(checker, MISCOUNTED, "settled, and still there", topic);
        return true;
    }
    if (strcmp(event, "depth") == 0) {
        if (sscanf(line, "%*s %*s %79s %79s %" SCNu64, topic, group, &numbers[0]) != 3)
            return false;
        uint64_t most = checker_topic(checker, topic)->max;
        if (most > 0 && numbers[0] > most)
            checker_find(checker, OVERFULL, group, topic);
        return true;
    }
    if (sscanf(line,
               "%*s %*s %79s %79s %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
               " %" SCNu64,
               topic, group, &numbers[0], &numbers[1], &numbers[2], &numbers[3], &numbers[4], &numbers[5], &numbers[6],
               &numbers[7]) != 10)
        return false;
    checker_see_state(checker, topic, group, numbers);
    return true;
}

/* What consumers say of a message that they have. */
static bool read_end(struct checker *checker, const char *event, const char *line, enum pass pass)
{
    char group[WORD], topic[WORD], what[16] = "";
    uint64_t offset;
    int words = sscanf(line, "%*s %*s %*s %79s %79s %" SCNu64 " %15s", group, topic, &offset, what);
    bool doing = strcmp(event, "doing") == 0, stale = strcmp(event, "stale") == 0;
    if (words < 3 || (doing && words < 4) ||
        (!doing && !stale && strcmp(event, "acked") != 0 && strcmp(event, "retried") != 0))
        return false;
    if (pass == PASS_SENT && stale) {
        struct delivery *delivery = checker_delivery(checker, group, topic, offset, true);
        delivery->lapsed = true;
        delivery->group->excuses++;
    }
    return pass != PASS_GOT || checker_see_end(checker, event, what, group, topic, offset);
}

static bool is_one_of(const char *event, const char *words)
{
    char word[24];
    snprintf(word, sizeof word, " %s ", event);
    return strstr(words, word) != NULL;
}

static bool read_line(struct checker *checker, char *line, enum pass pass)
{
    char event[16];
    int64_t time;
    if (sscanf(line, "%15s %" SCNd64, event, &time) != 2)
        return false;
    if (is_one_of(event, " kill topic group late drained calm replayed "))
        return read_rule(checker, event, time, line, pass);
    if (is_one_of(event, " send ok failed letter "))
        return read_sent(checker, event, time, line, pass);
    if (is_one_of(event, " depth state kept "))
        return pass != PASS_NUMBERS || read_numbers(checker, event, line);
    if (strcmp(event, "got") == 0)
        return pass != PASS_GOT || read_got(checker, time, line);
    return read_end(checker, event, line, pass);
}

struct event_line {
    int64_t time;
    size_t order;
    char *text;
};

struct event_list {
    struct event_line *items;
    size_t count, capacity;
};

static int by_time(const void *one, const void *other)
{
    const struct event_line *a = one, *b = other;
    if (a->time != b->time)
        return a->time < b->time ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

static void list_add(struct event_list *list, const char *text)
{
    long long time = 0;
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? list->capacity * 2 : 1024;
        list->items = realloc(list->items, list->capacity * sizeof *list->items);
        if (!list->items)
            exit(71);
    }
    sscanf(text, "%*s %lld", &time);
    list->items[list->count] = (struct event_line){.time = time, .order = list->count, .text = strdup(text)};
    if (!list->items[list->count++].text)
        exit(71);
}

/* Takes FILE's lines. A last line without its end was being written when its writer was killed: it tells nothing. */
static int read_file(const char *name, struct event_list *list)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t size;
    FILE *file = fopen(name, "r");
    if (!file) {
        perror(name);
        return 66;
    }
    while ((size = getline(&line, &capacity, file)) > 0)
        if (line[size - 1] == '\n')
            list_add(list, line);
    int status = ferror(file) ? 66 : 0;
    free(line);
    fclose(file);
    return status;
}

static int run_pass(struct checker *checker, const struct event_list *list, enum pass pass)
{
    if (pass == PASS_NUMBERS)
        checker_tally(checker);
    for (size_t i = 0; i < list->count; i++) {
        char *line = strdup(list->items[i].text); /* it is taken apart */
        if (!line)
            exit(71);
        bool well = read_line(checker, line, pass);
        free(line);
        if (!well) {
            fprintf(stderr, "checker: this line makes no sense: %s", list->items[i].text);
            return 66;
        }
    }
    return 0;
}

static int tell(const struct checker *checker)
{
    uint64_t red = 0;
    for (unsigned i = 0; i < CLASSES; i++)
        red += checker->found[i];
    printf("%" PRIu64 " sent: %" PRIu64 " acknowledged, %" PRIu64 " refused, %" PRIu64 " unknown; %" PRIu64
           " deliveries to %zu groups, %zu kills; %" PRIu64 " came again after a kill, %" PRIu64 " as wished; %" PRIu64
           " dead, %" PRIu64 " expired, %" PRIu64 " duplicates; ",
           checker->sent, checker->ok, checker->failed, checker->sent - checker->ok - checker->failed, checker->got,
           checker->groups.count, checker->kills_count, checker->explained, checker->wished, checker->dead,
           checker->expired, checker->repeated);
    for (unsigned i = 0; i < CLASSES; i++)
        printf("%s%" PRIu64 " %s", i ? ", " : "", checker->found[i], class_names[i]);
    printf("\n");
    return red > 0;
}

static void free_values(struct map *map)
{
    size_t at = 0;
    void *value;
    while ((value = map_next(map, &at)))
        free(value);
    map_free(map);
}

/* The keys of the twins are their own; the values are messages. */
static void free_twins(struct map *twins)
{
    for (size_t i = 0; i < twins->capacity; i++)
        if (twins->entries[i].value)
            free((void *)(uintptr_t)twins->entries[i].key);
    map_free(twins);
}

static void checker_free(struct checker *checker, struct event_list *list)
{
    struct map *maps[] = {&checker->topics,     &checker->groups, &checker->messages, &checker->producers,
                          &checker->deliveries, &checker->places, &checker->chains,   &checker->tallies};
    free_twins(&checker->twins);
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        free_values(maps[i]);
    while (checker->letters) {
        struct letter *letter = checker->letters;
        checker->letters = letter->next;
        free(letter);
    }
    free(checker->kills);
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i].text);
    free(list->items);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"groups", required_argument, NULL, 'g'}, {NULL, 0, NULL, 0}};
    struct checker checker = {.wanted_groups = 0};
    struct event_list list = {0};
    int letter, status = 0;
    while ((letter = getopt_long(argc, argv, "g:", options, NULL)) != -1) {
        if (letter != 'g')
            return 64;
        checker.wanted_groups = (unsigned)strtoul(optarg, NULL, 10);
    }
    if (optind == argc) {
        fprintf(stderr, "usage: checker [--groups N] HISTORY...\n");
        return 64;
    }
    for (int i = optind; !status && i < argc; i++)
        status = read_file(argv[i], &list);
    if (list.count > 0)
        qsort(list.items, list.count, sizeof *list.items, by_time);
    for (enum pass pass = PASS_RULES; !status && pass <= PASS_NUMBERS; pass++)
        status = run_pass(&checker, &list, pass);
    if (!status) {
        checker_verdict(&checker);
        status = tell(&checker);
    }
    checker_free(&checker, &list);
    return status;
}
