/* mretry's file of what was done: ids that are noted and flushed, the file written anew when it has doubled. */
#include "power_files.h"

#include "base/fault.h"
#include "cli/seen_file.h"

#include <stdio.h>

enum { WHAT = 7, BATCHES = 24, LARGE = 9000, NOTED_MAX = BATCHES * LARGE };
#define WINDOW INT64_C(3600000000)
#define NOW INT64_C(1000000)

/* Batches of ids, by their numbers from 1, and when they were told to be on the disk. */
static struct {
    uint64_t last;
    size_t noted;
} batches[BATCHES];
static unsigned batches_count;

static struct seen_id id_of(uint64_t number)
{
    return (struct seen_id){number * UINT64_C(0x9e3779b97f4a7c15), number};
}

static bool open_file(struct seen_file *file, struct seen *seen, const char *folder, char path[FOLDER_ROOM + 8],
                      char words[WORDS])
{
    struct fault fault = {0};
    snprintf(path, FOLDER_ROOM + 8, "%s/seen", folder);
    *seen = (struct seen){.window = WINDOW};
    return !seen_file_open(file, path, WHAT, seen, NOW, &fault) ||
           power_wrong(words, "it cannot be opened: %s", fault_text(&fault));
}

static void close_file(struct seen_file *file, struct seen *seen)
{
    seen_file_close(file);
    seen_free(seen);
}

static bool note(struct seen_file *file, struct seen *seen, uint64_t from, uint64_t to, char words[WORDS])
{
    struct fault fault = {0};
    enum mp_error error = MP_OK;
    for (uint64_t number = from; !error && number <= to; number++)
        if (!(error = seen_add(seen, id_of(number), 0, NOW)))
            error = seen_file_add(file, id_of(number));
    if (!error)
        error = seen_file_flush(file, NOW, &fault);
    return !error || power_wrong(words, "nothing can be noted: %s", fault_text(&fault));
}

static void live(struct life *life)
{
    char path[FOLDER_ROOM + 8];
    struct seen_file file;
    struct seen seen;
    uint64_t last = 0;
    bool large = life->seed % 3 == 0; /* so that it is written anew */
    batches_count = 0;
    if (!open_file(&file, &seen, life->folder, path, life->wrong))
        return;
    while (batches_count < (large ? 4 : BATCHES) && !life->wrong[0]) {
        uint64_t from = last + 1;
        last += large ? LARGE : 1 + life_below(life, 40);
        if (!note(&file, &seen, from, last, life->wrong))
            break;
        batches[batches_count].last = last;
        batches[batches_count++].noted = life_moment(life);
        if (life_below(life, 6) == 0) {
            close_file(&file, &seen);
            if (!open_file(&file, &seen, life->folder, path, life->wrong))
                return;
        }
    }
    life->promises = last;
    close_file(&file, &seen);
}

static bool look(const struct life *life, size_t moment, const char *folder, char words[WORDS])
{
    char path[FOLDER_ROOM + 8];
    struct seen_file file;
    struct seen seen;
    uint64_t noted = 0, all = batches_count > 0 ? batches[batches_count - 1].last : 0;
    (void)life;
    for (unsigned i = 0; i < batches_count && batches[i].noted <= moment; i++)
        noted = batches[i].last;
    for (unsigned again = 0; again < 2; again++) { /* also when it was gone on with */
        if (!open_file(&file, &seen, folder, path, words))
            return false;
        for (uint64_t number = 1; number <= noted; number++)
            if (!seen_has(&seen, id_of(number), NOW))
                power_wrong(words, "number %" PRIu64 " of %" PRIu64 " that were noted is not known any more", number,
                            noted);
        if (seen.used > all + again)
            power_wrong(words, "%zu ids are known, and %" PRIu64 " were noted", seen.used, all);
        if (again == 0)
            note(&file, &seen, all + 1, all + 1, words);
        else if (!seen_has(&seen, id_of(all + 1), NOW))
            power_wrong(words, "what is noted afterwards is not known later");
        close_file(&file, &seen);
    }
    return words[0] == '\0';
}

const struct kind seen_kind = {.name = "seen", .live = live, .look = look};
