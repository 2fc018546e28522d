/*
 * checker: reads histories and says what became of each message.
 *
 *     checker [--groups N] HISTORY...
 *
 * --groups: so many groups are to have had every message. Exits 0 when all is as promised, 1 when something is not
 * (each finding is a line, and the last line counts them), 64, or 66 when a history cannot be read.
 *
 *     lost        acknowledged, and a group never got it
 *     phantom     got, and never sent; or refused, and got all the same
 *     altered     got with other bytes than were sent
 *     duplicated  stored twice; or got again after its acknowledgement; or again without a kill, a lost lease or a wish
 *                 of the consumer that explains it
 *     reordered   of one producer in one topic, stored before one that was sent earlier
 *
 * An explained duplicate is no fault; it is counted.
 */
#include "history.h"

#include "base/map.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORD = 80, GROUPS_MAX = 32, FINDINGS_SHOWN = 30 };

enum fault_class { LOST, PHANTOM, ALTERED, DUPLICATED, REORDERED, CLASSES };
static const char *const class_names[CLASSES] = {"lost", "phantom", "altered", "duplicated", "reordered"};

struct message {
    struct message *next; /* of its producer, newest first */
    char key[2 * WORD];   /* producer and sequence */
    char topic[WORD];
    uint64_t sequence, hash;
    bool ok, failed;
    bool stored; /* somebody got it: OFFSET is known */
    uint64_t offset;
};

struct producer {
    char name[WORD];
    struct message *messages;
};

/* What a group knows of a message. */
struct delivery {
    char key[4 * WORD]; /* group, topic, offset */
    struct message *message;
    unsigned times;
    uint64_t attempt;
    int64_t last;
    bool acked;
    bool again;  /* it was given back */
    bool lapsed; /* a lease of it had ended: its holder hears that later than the next one gets it */
};

struct checker {
    struct map messages, producers, deliveries, places;
    char groups[GROUPS_MAX][WORD];
    unsigned groups_count;
    int64_t *kills;
    size_t kills_count, kills_capacity;
    unsigned wanted_groups;
    uint64_t sent, ok, failed, got, explained, wished;
    uint64_t found[CLASSES];
    const char *file;
    unsigned long line;
};

static void find(struct checker *checker, enum fault_class class, const char *text, const char *key)
{
    if (++checker->found[class] <= FINDINGS_SHOWN)
        printf("%s: %s (%s)\n", class_names[class], text, key);
}

static void *allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (!memory) {
        fprintf(stderr, "checker: no memory\n");
        exit(71);
    }
    return memory;
}

static void put(struct map *map, const char *key, void *value)
{
    if (map_put(map, key, strlen(key), value)) {
        fprintf(stderr, "checker: no memory\n");
        exit(71);
    }
}

/* ---- what was sent --------------------------------------------------------------------------------------------- */

static void see_send(struct checker *checker, const char *name, const char *topic, uint64_t sequence, uint64_t hash)
{
    struct producer *producer = map_get(&checker->producers, name, strlen(name));
    if (!producer) {
        producer = allocate(sizeof *producer);
        snprintf(producer->name, sizeof producer->name, "%s", name);
        put(&checker->producers, producer->name, producer);
    }
    struct message *message = allocate(sizeof *message);
    snprintf(message->key, sizeof message->key, "%s %" PRIu64, name, sequence);
    snprintf(message->topic, sizeof message->topic, "%s", topic);
    message->sequence = sequence;
    message->hash = hash;
    message->next = producer->messages;
    producer->messages = message;
    put(&checker->messages, message->key, message);
    checker->sent++;
}

static struct message *message_of(const struct checker *checker, const char *producer, uint64_t sequence)
{
    char key[2 * WORD];
    snprintf(key, sizeof key, "%s %" PRIu64, producer, sequence);
    return map_get(&checker->messages, key, strlen(key));
}

static bool see_outcome(struct checker *checker, const char *producer, uint64_t first, uint64_t last, bool ok)
{
    for (uint64_t sequence = first; sequence <= last; sequence++) {
        struct message *message = message_of(checker, producer, sequence);
        if (!message)
            return false;
        message->ok |= ok;
        message->failed |= !ok;
        *(ok ? &checker->ok : &checker->failed) += 1;
    }
    return true;
}

/* ---- what was got ---------------------------------------------------------------------------------------------- */

static void note_group(struct checker *checker, const char *group)
{
    for (unsigned i = 0; i < checker->groups_count; i++)
        if (strcmp(checker->groups[i], group) == 0)
            return;
    if (checker->groups_count < GROUPS_MAX)
        snprintf(checker->groups[checker->groups_count++], WORD, "%s", group);
}

static struct delivery *delivery_of(struct checker *checker, const char *group, const char *topic, uint64_t offset,
                                    bool make)
{
    char key[4 * WORD];
    snprintf(key, sizeof key, "%s %s %" PRIu64, group, topic, offset);
    struct delivery *delivery = map_get(&checker->deliveries, key, strlen(key));
    if (delivery || !make)
        return delivery;
    delivery = allocate(sizeof *delivery);
    memcpy(delivery->key, key, sizeof key);
    put(&checker->deliveries, delivery->key, delivery);
    return delivery;
}

static bool was_killed_between(const struct checker *checker, int64_t from, int64_t to)
{
    for (size_t i = 0; i < checker->kills_count; i++)
        if (checker->kills[i] >= from && checker->kills[i] <= to)
            return true;
    return false;
}

/* One message has one place, and a place one message. */
static void check_place(struct checker *checker, struct message *message, const char *topic, uint64_t offset)
{
    if (strcmp(message->topic, topic) != 0)
        find(checker, PHANTOM, "in a topic that it was not sent to", message->key);
    else if (message->stored && message->offset != offset)
        find(checker, DUPLICATED, "stored twice", message->key);
    message->stored = true;
    message->offset = offset;
}

static void check_again(struct checker *checker, struct delivery *delivery, int64_t time, uint64_t attempt)
{
    if (delivery->acked)
        find(checker, DUPLICATED, "given out again after its acknowledgement", delivery->key);
    else if (delivery->again)
        checker->wished++;
    else if (delivery->lapsed || was_killed_between(checker, delivery->last, time))
        checker->explained++;
    else
        find(checker, DUPLICATED, "given out again, and nothing explains it", delivery->key);
    if (attempt < delivery->attempt)
        find(checker, DUPLICATED, "given out again, as an earlier attempt", delivery->key);
}

static void see_got(struct checker *checker, int64_t time, const char *group, const char *topic, uint64_t offset,
                    uint64_t attempt, const char *producer, uint64_t sequence, uint64_t hash)
{
    struct message *message = message_of(checker, producer, sequence);
    struct delivery *delivery = delivery_of(checker, group, topic, offset, true);
    checker->got++;
    note_group(checker, group);
    if (!message) {
        find(checker, PHANTOM, "got, and never sent", delivery->key);
        return;
    }
    if (message->failed)
        find(checker, PHANTOM, "got, though it was refused", message->key);
    if (message->hash != hash)
        find(checker, ALTERED, "got with other bytes", message->key);
    if (delivery->message && delivery->message != message)
        find(checker, ALTERED, "two messages at one offset", delivery->key);
    check_place(checker, message, topic, offset);
    if (delivery->times++ > 0)
        check_again(checker, delivery, time, attempt);
    delivery->message = message;
    delivery->attempt = attempt;
    delivery->last = time;
    delivery->again = false;
}

static bool see_end(struct checker *checker, const char *event, const char *group, const char *topic, uint64_t offset)
{
    struct delivery *delivery = delivery_of(checker, group, topic, offset, false);
    if (!delivery)
        return false;
    if (strcmp(event, "acked") == 0)
        delivery->acked = true;
    else if (strcmp(event, "retried") == 0)
        delivery->again = true;
    return true;
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

/*
 * Histories are read three times: kills explain what comes after them in any file, and what was sent may be got before
 * the line that says so is read.
 */
enum pass { PASS_KILLS, PASS_SENT, PASS_GOT };

static bool read_line(struct checker *checker, char *line, enum pass pass)
{
    char event[16], one[WORD], two[WORD], three[WORD], producer[WORD];
    int64_t time;
    uint64_t first, last, offset, attempt, sequence, hash;
    if (sscanf(line, "%15s %" SCNd64, event, &time) != 2)
        return false;
    if (strcmp(event, "kill") == 0) {
        if (pass != PASS_KILLS)
            return true;
        if (checker->kills_count == checker->kills_capacity) {
            checker->kills_capacity = checker->kills_capacity ? checker->kills_capacity * 2 : 64;
            checker->kills = realloc(checker->kills, checker->kills_capacity * sizeof *checker->kills);
            if (!checker->kills)
                exit(71);
        }
        checker->kills[checker->kills_count++] = time;
        return true;
    }
    if (strcmp(event, "send") == 0) {
        if (sscanf(line, "%*s %*s %79s %79s %" SCNu64 " %" SCNx64, one, two, &sequence, &hash) != 4)
            return false;
        if (pass == PASS_SENT)
            see_send(checker, one, two, sequence, hash);
        return true;
    }
    if (strcmp(event, "ok") == 0 || strcmp(event, "failed") == 0) {
        if (sscanf(line, "%*s %*s %79s %" SCNu64 " %" SCNu64, one, &first, &last) != 3)
            return false;
        return pass != PASS_SENT || see_outcome(checker, one, first, last, event[0] == 'o');
    }
    if (strcmp(event, "got") == 0) {
        if (sscanf(line, "%*s %*s %79s %79s %79s %" SCNu64 " %" SCNu64 " %79s %" SCNu64 " %" SCNx64, one, two, three,
                   &offset, &attempt, producer, &sequence, &hash) != 8)
            return false;
        if (pass == PASS_GOT)
            see_got(checker, time, two, three, offset, attempt, producer, sequence, hash);
        return true;
    }
    if (strcmp(event, "acked") != 0 && strcmp(event, "retried") != 0 && strcmp(event, "stale") != 0)
        return false;
    if (sscanf(line, "%*s %*s %79s %79s %79s %" SCNu64, one, two, three, &offset) != 4)
        return false;
    if (pass == PASS_SENT && strcmp(event, "stale") == 0)
        delivery_of(checker, two, three, offset, true)->lapsed = true;
    return pass != PASS_GOT || see_end(checker, event, two, three, offset);
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
    for (size_t i = 0; i < list->count; i++)
        if (!read_line(checker, list->items[i].text, pass)) {
            fprintf(stderr, "checker: this line makes no sense: %s", list->items[i].text);
            return 66;
        }
    return 0;
}

/* ---- the verdict ----------------------------------------------------------------------------------------------- */

static void check_lost(struct checker *checker, const struct message *message)
{
    for (unsigned i = 0; i < checker->groups_count; i++) {
        const struct delivery *delivery =
            message->stored ? delivery_of(checker, checker->groups[i], message->topic, message->offset, false) : NULL;
        if (!delivery || delivery->times == 0)
            find(checker, LOST, checker->groups[i], message->key);
    }
}

/* A producer's messages are read newest first: in each topic offsets must fall. */
static void check_order(struct checker *checker, const struct producer *producer)
{
    for (const struct message *later = producer->messages; later; later = later->next) {
        if (!later->stored)
            continue;
        const struct message *before = later->next;
        while (before && (!before->stored || strcmp(before->topic, later->topic) != 0))
            before = before->next;
        if (before && before->offset >= later->offset)
            find(checker, REORDERED, "stored before one that was sent earlier", later->key);
    }
}

static int verdict(struct checker *checker)
{
    size_t at = 0;
    const struct message *message;
    const struct producer *producer;
    uint64_t red = 0;
    while ((message = map_next(&checker->messages, &at)))
        if (message->ok)
            check_lost(checker, message);
    at = 0;
    while ((producer = map_next(&checker->producers, &at)))
        check_order(checker, producer);
    if (checker->groups_count < checker->wanted_groups && checker->ok > 0)
        find(checker, LOST, "a group got nothing", "fewer groups than there should be");
    for (unsigned i = 0; i < CLASSES; i++)
        red += checker->found[i];
    printf("%" PRIu64 " sent: %" PRIu64 " acknowledged, %" PRIu64 " refused, %" PRIu64 " unknown; %" PRIu64
           " deliveries to %u groups, %zu kills; %" PRIu64 " came again after a kill, %" PRIu64 " as wished; ",
           checker->sent, checker->ok, checker->failed, checker->sent - checker->ok - checker->failed, checker->got,
           checker->groups_count, checker->kills_count, checker->explained, checker->wished);
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

static void checker_free(struct checker *checker, struct event_list *list)
{
    free_values(&checker->messages);
    free_values(&checker->producers);
    free_values(&checker->deliveries);
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
    for (enum pass pass = PASS_KILLS; !status && pass <= PASS_GOT; pass++)
        status = run_pass(&checker, &list, pass);
    if (!status)
        status = verdict(&checker);
    checker_free(&checker, &list);
    return status;
}
