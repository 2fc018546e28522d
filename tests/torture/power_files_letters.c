/*
 * mretry's dead file: letters that one process appends, while another takes some out and writes the file anew without
 * them.
 */
#include "power_files.h"

#include "cli/dead_file.h"
#include "cli/letters_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ACTS = 40, LETTERS_MAX = 200, BODY_MAX = 3000 };

/* By number, from 1. */
static struct {
    size_t kept;              /* the moment from which it is told to be on the disk; NEVER */
    size_t may_be_gone, gone; /* it was being taken out; it was told to be out */
} letters[LETTERS_MAX + 1];
static unsigned letters_count;

/* The body of a letter says its number, and has a size that goes with it. */
static size_t make_body(unsigned number, char body[BODY_MAX + 16])
{
    size_t size = (size_t)snprintf(body, 16, "%u ", number), filler = number % 7 == 0 ? BODY_MAX : 20 + number % 50;
    memset(body + size, 'a' + (int)(number % 26), filler);
    return size + filler;
}

static bool add_one(struct dead_file *file, unsigned number, char words[WORDS])
{
    static const struct letter letter = {
        .topic = "t", .topic_size = 1, .reason = "retries", .reason_size = 7, .attempts = 2, .last = 1, .code = 1};
    char body[BODY_MAX + 16];
    struct fault fault = {0};
    struct format_item item = {.topic = "t", .record = {.body = (const uint8_t *)body}};
    item.record.size = make_body(number, body);
    return !dead_file_add(file, &item, &letter, &fault) || power_wrong(words, "no letter: %s", fault_text(&fault));
}

/* Appends letters up to UPTO, all with one write. */
static bool append(struct dead_file *file, unsigned upto, char words[WORDS])
{
    struct fault fault = {0};
    for (unsigned number = letters_count + 1; number <= upto; number++)
        if (!add_one(file, number, words))
            return false;
    return !dead_file_write(file, &fault) || power_wrong(words, "no letter is written: %s", fault_text(&fault));
}

/* The number of a letter; 0: its body is none that was written. */
static unsigned number_of(const struct letter_entry *entry)
{
    char body[BODY_MAX + 16];
    const struct record *record = &entry->item.record;
    unsigned number = record->size > 0 ? (unsigned)strtoul((const char *)record->body, NULL, 10) : 0;
    return number > 0 && number <= LETTERS_MAX && make_body(number, body) == record->size &&
                   memcmp(body, record->body, record->size) == 0
               ? number
               : 0;
}

static bool open_letters(struct letters_file *file, const char *path, char words[WORDS])
{
    struct fault fault = {0};
    return !letters_file_open(file, path, true, &fault) ||
           power_wrong(words, "letters cannot be taken out: %s", fault_text(&fault));
}

/* Takes some letters out, as a replay does; at times the file is written anew. */
static void take_some(struct life *life, const char *path)
{
    struct letters_file file;
    struct letter_entry entry;
    struct fault fault = {0};
    unsigned chance = 1 + life_below(life, 3);
    if (!open_letters(&file, path, life->wrong))
        return;
    while (!life->wrong[0] && !letters_file_next(&file, &entry, &fault)) {
        unsigned number = number_of(&entry);
        if (number == 0)
            power_wrong(life->wrong, "a letter is altered");
        else if (life_below(life, 4) < chance) {
            letters[number].may_be_gone = life_moment(life);
            if (letters_file_take(&file, entry.place, entry.size, true, &fault))
                power_wrong(life->wrong, "a letter cannot be taken out: %s", fault_text(&fault));
            letters[number].gone = life_moment(life);
            life->promises++;
        }
    }
    if (life_below(life, 3) > 0 && letters_file_rewrite(&file, &fault))
        power_wrong(life->wrong, "it cannot be written anew: %s", fault_text(&fault));
    letters_file_close(&file);
}

static void live(struct life *life)
{
    char path[FOLDER_ROOM + 8];
    struct dead_file file;
    struct fault fault = {0};
    snprintf(path, sizeof path, "%s/dead", life->folder);
    letters_count = 0;
    if (dead_file_open(&file, path, &fault))
        power_wrong(life->wrong, "%s", fault_text(&fault));
    for (unsigned i = 0; i < ACTS && !life->wrong[0] && letters_count + 3 < LETTERS_MAX; i++) {
        if (life_below(life, 5) == 0) {
            take_some(life, path);
            continue;
        }
        unsigned upto = letters_count + 1 + life_below(life, 3);
        append(&file, upto, life->wrong);
        while (letters_count < upto) {
            letters[++letters_count].kept = life_moment(life);
            letters[letters_count].may_be_gone = letters[letters_count].gone = NEVER;
            life->promises++;
        }
        if (life_below(life, 8) == 0) {
            dead_file_close(&file);
            if (dead_file_open(&file, path, &fault))
                power_wrong(life->wrong, "%s", fault_text(&fault));
        }
    }
    dead_file_close(&file);
}

/* Counts what is in the file by number. */
static bool count(const char *path, unsigned counts[LETTERS_MAX + 1], char words[WORDS])
{
    struct letters_file file;
    struct letter_entry entry;
    struct fault fault = {0};
    memset(counts, 0, (LETTERS_MAX + 1) * sizeof *counts);
    if (!open_letters(&file, path, words))
        return false;
    while (!letters_file_next(&file, &entry, &fault)) {
        unsigned number = number_of(&entry);
        if (number == 0)
            power_wrong(words, "a letter is altered");
        counts[number]++;
    }
    if (letters_file_rewrite(&file, &fault))
        power_wrong(words, "it cannot be written anew: %s", fault_text(&fault));
    letters_file_close(&file);
    return words[0] == '\0';
}

static void check(const unsigned counts[LETTERS_MAX + 1], size_t moment, char words[WORDS])
{
    for (unsigned number = 1; number <= letters_count; number++) {
        bool kept = letters[number].kept <= moment, may_be_gone = letters[number].may_be_gone <= moment;
        if (counts[number] > 1)
            power_wrong(words, "letter %u is there twice", number);
        if (counts[number] == 0 && kept && !may_be_gone)
            power_wrong(words, "letter %u is lost", number);
        if (counts[number] > 0 && letters[number].gone <= moment)
            power_wrong(words, "letter %u was taken out, and is there again", number);
    }
}

static bool look(const struct life *life, size_t moment, const char *folder, char words[WORDS])
{
    char path[FOLDER_ROOM + 8];
    unsigned counts[LETTERS_MAX + 1];
    struct dead_file file;
    struct fault fault = {0};
    (void)life;
    snprintf(path, sizeof path, "%s/dead", folder);
    if (dead_file_open(&file, path, &fault))
        return power_wrong(words, "nothing can be appended any more: %s", fault_text(&fault));
    /* Whatever stands at its end, the next letter is a line of its own; also when it was written anew. */
    unsigned before = letters_count;
    letters_count = LETTERS_MAX - 1;
    append(&file, LETTERS_MAX, words);
    letters_count = before;
    dead_file_close(&file);
    for (unsigned again = 0; again < 2 && count(path, counts, words); again++) {
        check(counts, moment, words);
        if (counts[LETTERS_MAX] != 1)
            power_wrong(words, "what is appended afterwards is not there");
    }
    return words[0] == '\0';
}

const struct kind letters_kind = {.name = "letters", .live = live, .look = look};
