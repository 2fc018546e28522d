/*
 * power_files.h: lives of the tools' own files, from a seed, under power cuts:
 *
 *     power_files_spool.c    msend's outbox: segments, sessions with a relay, what that refuses
 *     power_files_letters.c  mretry's dead file: letters appended, taken out, the file written anew
 *     power_files_seen.c     mretry's file of what was done
 *
 * A life works in a folder on a disk that writes everything down (disk_calls.h), and notes what it was told, and at which
 * moment: a number of the disk's steps. What was told by a moment holds for each disk that a cut at that moment leaves.
 */
#ifndef TORTURE_POWER_FILES_H
#define TORTURE_POWER_FILES_H

#include "disk_calls.h"

#include "base/random.h"

#include <inttypes.h>

#define NEVER SIZE_MAX

enum { FOLDER_ROOM = 300, WORDS = 600 };

struct life {
    uint64_t seed, random;
    struct disk disk;
    char folder[FOLDER_ROOM]; /* where it works */
    char wrong[WORDS];        /* what was found while it was at work */
    uint64_t promises;        /* what was told to be kept, or done */
};

struct kind {
    const char *name;
    /* Works for a while; it has nothing open when it returns. */
    void (*live)(struct life *life);
    /* What a cut at MOMENT has left is in FOLDER: it must keep what was told, and be of use. False: WORDS say what is wrong. */
    bool (*look)(const struct life *life, size_t moment, const char *folder, char words[WORDS]);
};
extern const struct kind spool_kind, letters_kind, seen_kind;

/* The moment that it is. */
static inline size_t life_moment(const struct life *life)
{
    return life->disk.steps_count;
}

static inline unsigned life_below(struct life *life, unsigned limit)
{
    return (unsigned)(random_below(&life->random, limit));
}

/* Says what is wrong, unless something was before. Returns false. */
bool power_wrong(char words[WORDS], const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
