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
 *     duplicated  stored or replayed twice, or twice with one id, or twice behind a pipe; or got again, and neither a
 *                 kill, a cut or a pause of who had it, nor a lost lease, nor a wish of the consumer explains it
 *     revived     got again after it was settled; or settled by one who had lost it, when another had it
 *     reordered   of one producer in one topic, stored before one that was sent earlier; of one key in a group that
 *                 orders by it, got before an earlier one was done, or while its key was held
 *     premature   expired too early: gone before its time was over
 *     untimely    before the end of its delay; after it had expired
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

static const char *const class_names[CLASSES] = {"lost",    "phantom",   "altered",   "duplicated",
                                                 "revived", "reordered", "premature", "untimely",
                                                 "charged", "overfull",  "miscounted"};

void checker_find(struct checker *checker, enum fault_class class, const char *text, const char *key)
{
    if (++checker->found[class] <= FINDINGS_SHOWN)
        printf("%s: %s (%s)\n", class_names[class], text, key);
}

static int tell(const struct checker *checker)
{
    uint64_t red = 0;
    for (unsigned i = 0; i < CLASSES; i++)
        red += checker->found[i];
    printf("%" PRIu64 " sent: %" PRIu64 " acknowledged, %" PRIu64 " refused, %" PRIu64 " unknown; %" PRIu64
           " deliveries to %zu groups, %" PRIu64 " kills, %" PRIu64 " cuts, %" PRIu64 " pauses; %" PRIu64
           " came again after one, %" PRIu64 " as wished; %" PRIu64 " dead, %" PRIu64 " expired, %" PRIu64
           " duplicates; ",
           checker->sent, checker->ok, checker->failed, checker->sent - checker->ok - checker->failed, checker->got,
           checker->groups.count, checker->kills, checker->cuts, checker->pauses, checker->explained, checker->wished,
           checker->dead, checker->expired, checker->repeated);
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

static void checker_free(struct checker *checker)
{
    struct map *maps[] = {&checker->topics,    &checker->groups,     &checker->messages,
                          &checker->producers, &checker->deliveries, &checker->places,
                          &checker->chains,    &checker->tallies,    &checker->lapses};
    free_twins(&checker->twins);
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        free_values(maps[i]);
    while (checker->letters) {
        struct letter *letter = checker->letters;
        checker->letters = letter->next;
        free(letter);
    }
    free(checker->excuses);
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
        status = checker_read(argv[i], &list);
    if (!status)
        status = checker_run(&checker, &list);
    if (!status) {
        checker_verdict(&checker);
        status = tell(&checker);
    }
    checker_list_free(&list);
    checker_free(&checker);
    return status;
}
