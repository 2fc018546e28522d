/*
 * damage.h: what the parts of the damage trial share.
 *
 * One sound store is made, with several topics and groups, and what is in it is learnt: its frames, the bytes of the
 * files that each of them stands on, and what each group has not settled. Then copies of it are damaged, opened, read and
 * salvaged, and what comes out is held against that.
 */
#ifndef TORTURE_DAMAGE_H
#define TORTURE_DAMAGE_H

#include "scratch.h"

#include "base/clock.h"
#include "base/fault.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct engine;
struct frame;
struct record;

enum { PATH_BYTES = 512, TOPICS = 6, GROUPS = 6, HITS = 16, RANGES_MOST = 4096, NAME_BYTES = 32 };

/* Bytes of a file: 0 the database, 1 the log. */
struct range {
    unsigned file;
    uint64_t from, to;
};

/* A frame of the sound store. */
struct sound_frame {
    uint32_t topic; /* number */
    uint64_t first;
    uint32_t count;
    uint64_t hash;
    struct range *ranges; /* what it stands on */
    size_t ranges_count;
};

struct sound_topic {
    uint32_t id;
    char name[NAME_BYTES];
    bool letters;
    uint64_t first, end;
};

struct sound_group {
    uint32_t topic;
    char topic_name[NAME_BYTES];
    char name[NAME_BYTES];
    uint64_t first, end;
    uint8_t *open; /* 1 for each offset from `first` on that is not settled */
};

/* The store as it was made. */
struct sound {
    char path[PATH_BYTES];
    uint64_t sizes[2]; /* of the files */
    bool index;        /* the shared index is kept beside the log */
    struct sound_topic topics[TOPICS];
    size_t topics_count;
    struct sound_group groups[GROUPS];
    size_t groups_count;
    struct sound_frame *frames; /* by topic, then by offset */
    size_t frames_count;
    uint64_t messages;
};

struct counts {
    uint64_t flips, garbage, cuts;       /* what was done */
    uint64_t refused, served, told, red; /* what a relay made of it */
    uint64_t earlier; /* opened as it was before the log's last turns, and said so or could not know */
    uint64_t salvaged, messages, untouched, lost, whole; /* what the salvage made of it */
    uint64_t found;
};

struct damage_trial {
    uint64_t random, seed;
    char folder[SCRATCH_PATH];
    char tools[PATH_BYTES];
    struct sound sounds[3];
    struct range hits[HITS];
    size_t hits_count;
    bool cut;        /* a file is shorter than it was */
    uint64_t number; /* of the trial */
    struct counts counts;
};

uint64_t trial_below(struct damage_trial *trial, uint64_t limit);
/* Counts and says something that must not be. */
void trial_found(struct damage_trial *trial, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Ends the trial: something that is no finding failed. */
_Noreturn void trial_give_up(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Copies the store at FROM with its log, and its shared index if INDEX, to TO. */
void trial_copy(const char *from, const char *to, bool index);
void trial_remove(const char *path);

/* damage_make.c */
void sound_make(struct damage_trial *trial);
/* Writes the body of message OFFSET of the topic whose name begins with LETTER; its size. BYTES has room for BODY_MOST. */
enum { BODY_MOST = 128 * 1024 };
size_t sound_body(char letter, uint64_t offset, char *bytes);
/* Whether RECORD is the message OFFSET of TOPIC, or (of letters) one that there is. */
bool sound_fits(const struct sound_topic *topic, uint64_t offset, const struct record *record);
const struct sound_frame *sound_frame_at(const struct sound *sound, uint32_t topic, uint64_t offset);

/* damage_serve.c: opens the store at PATH as a relay does, and reads and consumes all of it. */
void serve_damaged(struct damage_trial *trial, const struct sound *sound, const char *path);
/* damage_salvage.c: salvages the store at PATH, and looks at what is there then. */
void salvage_damaged(struct damage_trial *trial, const struct sound *sound, const char *path);
/* The findings of an audit of the store at PATH; UINT64_MAX: it cannot be read. WORDS: the first. */
uint64_t audit_store(const char *path, char words[FAULT_TEXT]);
bool is_touched(const struct damage_trial *trial, const struct sound_frame *frame);

#endif
