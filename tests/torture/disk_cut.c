#include "disk.h"

#include <stdlib.h>
#include <string.h>

/* A file on the platter, and the steps that are on their way to it. */
struct platter {
    uint8_t *data;
    size_t size, capacity;
    uint32_t *ages;  /* of each sector: the number of the step that wrote it last, and one */
    size_t *pending; /* numbers of steps */
    size_t pending_count, pending_capacity, lost; /* the first LOST of them are never flushed */
    size_t sized;                                 /* the size is that after so many steps, or a later one */
};

struct disk_replay {
    const struct disk *from;
    size_t done;
    struct platter platters[DISK_INODES];
    int names[DISK_NAMES];
    size_t *names_pending; /* numbers of steps */
    size_t names_pending_count, names_pending_capacity;
};

static void *grow(void *memory, size_t size)
{
    void *grown = realloc(memory, size > 0 ? size : 1);
    if (!grown)
        abort();
    return grown;
}

static void add(size_t **list, size_t *count, size_t *capacity, size_t number)
{
    if (*count == *capacity) {
        *capacity = *capacity ? *capacity * 2 : 64;
        *list = grow(*list, *capacity * sizeof **list);
    }
    (*list)[(*count)++] = number;
}

static void platter_reserve(struct platter *platter, size_t size)
{
    if (size <= platter->capacity)
        return;
    size_t before = platter->capacity / DISK_SECTOR;
    platter->capacity = (size + size / 2 + DISK_SECTOR) / DISK_SECTOR * DISK_SECTOR;
    platter->data = grow(platter->data, platter->capacity);
    platter->ages = grow(platter->ages, platter->capacity / DISK_SECTOR * sizeof *platter->ages);
    memset(platter->ages + before, 0, (platter->capacity / DISK_SECTOR - before) * sizeof *platter->ages);
}

static void platter_resize(struct platter *platter, size_t size)
{
    platter_reserve(platter, size);
    if (size > platter->size)
        memset(platter->data + platter->size, 0, size - platter->size);
    platter->size = size;
}

struct disk_replay *disk_replay_begin(const struct disk *from, const struct disk *base)
{
    struct disk_replay *replay = calloc(1, sizeof *replay);
    if (!replay)
        abort();
    replay->from = from;
    for (unsigned i = 0; i < DISK_NAMES; i++)
        replay->names[i] = base ? base->names[i] : DISK_NONE;
    for (int i = 0; base && i < base->inodes_count; i++) {
        platter_resize(&replay->platters[i], base->inodes[i].size);
        if (base->inodes[i].size > 0)
            memcpy(replay->platters[i].data, base->inodes[i].data, base->inodes[i].size);
    }
    return replay;
}

void disk_replay_free(struct disk_replay *replay)
{
    for (unsigned i = 0; replay && i < DISK_INODES; i++) {
        free(replay->platters[i].data);
        free(replay->platters[i].ages);
        free(replay->platters[i].pending);
    }
    if (replay)
        free(replay->names_pending);
    free(replay);
}

/* A write, or the part of it in one sector, reaches the platter, unless something later was there before it. */
static void platter_put(struct platter *platter, const struct disk_step *step, size_t at, size_t size, size_t number)
{
    uint32_t *age = &platter->ages[at / DISK_SECTOR];
    if (*age > (uint32_t)number + 1)
        return;
    *age = (uint32_t)number + 1;
    memcpy(platter->data + at, step->data + (at - step->at), size);
}

/* The end of the part of STEP that lies in the sector of AT. */
static size_t sector_end(const struct disk_step *step, size_t at)
{
    size_t end = (at / DISK_SECTOR + 1) * DISK_SECTOR;
    return end < step->at + step->size ? end : step->at + step->size;
}

static void platter_flush(struct disk_replay *replay, struct platter *platter)
{
    for (size_t i = platter->lost; i < platter->pending_count; i++) {
        size_t number = platter->pending[i];
        const struct disk_step *step = &replay->from->steps[number];
        if (step->kind == DISK_TRUNCATE) {
            platter_resize(platter, step->size);
            continue;
        }
        if (step->at + step->size > platter->size)
            platter_resize(platter, step->at + step->size);
        for (size_t at = step->at, end; at < step->at + step->size; at = end) {
            end = sector_end(step, at);
            platter_put(platter, step, at, end - at, number);
        }
    }
    platter->pending_count = platter->lost;
    platter->sized = replay->done;
}

static void take_name(int names[DISK_NAMES], const struct disk_step *step)
{
    names[step->name] = step->inode;
    if (step->kind == DISK_RENAME)
        names[step->from] = DISK_NONE;
}

static void flush_names(struct disk_replay *replay, unsigned folder)
{
    size_t left = 0;
    for (size_t i = 0; i < replay->names_pending_count; i++) {
        const struct disk_step *step = &replay->from->steps[replay->names_pending[i]];
        if (step->folder == folder)
            take_name(replay->names, step);
        else
            replay->names_pending[left++] = replay->names_pending[i];
    }
    replay->names_pending_count = left;
}

void disk_replay_to(struct disk_replay *replay, size_t steps)
{
    for (; replay->done < steps; replay->done++) {
        const struct disk_step *step = &replay->from->steps[replay->done];
        struct platter *platter = step->inode >= 0 ? &replay->platters[step->inode] : NULL;
        switch (step->kind) {
        case DISK_WRITE:
        case DISK_TRUNCATE:
            add(&platter->pending, &platter->pending_count, &platter->pending_capacity, replay->done);
            break;
        case DISK_FLUSH:
            platter_flush(replay, platter);
            break;
        case DISK_FLUSH_FAILED:
            platter->lost = platter->pending_count;
            break;
        case DISK_CREATE:
        case DISK_UNLINK:
        case DISK_RENAME:
            add(&replay->names_pending, &replay->names_pending_count, &replay->names_pending_capacity, replay->done);
            break;
        case DISK_FLUSH_NAMES:
            flush_names(replay, step->folder);
            break;
        }
    }
}

/* ---- what is left ----------------------------------------------------------------------------------------------- */

static bool reaches(unsigned keep, uint64_t *random)
{
    return keep >= 100 || (keep > 0 && random_next(random) % 100 < keep);
}

static size_t size_left(const struct disk_replay *replay, const struct platter *platter, unsigned keep,
                        uint64_t *random)
{
    size_t size = platter->size;
    for (size_t i = 0; i < platter->pending_count; i++) {
        const struct disk_step *step = &replay->from->steps[platter->pending[i]];
        size_t after = step->kind == DISK_TRUNCATE ? step->size : step->at + step->size;
        if ((step->kind == DISK_TRUNCATE || after > size) && platter->pending[i] >= platter->sized &&
            reaches(keep, random))
            size = after;
    }
    return size;
}

static void fill(uint8_t *data, size_t size, bool garbage, uint64_t *random)
{
    memset(data, 0, size);
    for (size_t i = 0; garbage && i + 8 <= size; i += 8) {
        uint64_t bits = random_next(random);
        memcpy(data + i, &bits, 8);
    }
}

/* Each part of STEP in a sector reaches the platter or not. */
static void write_left(const struct platter *platter, const struct disk_step *step, size_t number, unsigned keep,
                       uint64_t *random, struct disk_inode *file)
{
    for (size_t at = step->at, end; at < step->at + step->size && at < file->size; at = end) {
        end = sector_end(step, at);
        bool older = at / DISK_SECTOR < platter->capacity / DISK_SECTOR &&
                     platter->ages[at / DISK_SECTOR] > (uint32_t)number + 1;
        if (!reaches(keep, random) || older)
            continue;
        size_t size = (end < file->size ? end : file->size) - at;
        memcpy(file->data + at, step->data + (at - step->at), size);
    }
}

static void file_left(const struct disk_replay *replay, int inode, unsigned keep, bool garbage, uint64_t *random,
                      struct disk *left, enum disk_name name)
{
    const struct platter *platter = &replay->platters[inode];
    struct disk_inode *file = &left->inodes[left->inodes_count];
    size_t size = size_left(replay, platter, keep, random), kept = size < platter->size ? size : platter->size;
    left->names[name] = left->inodes_count++;
    if (size > file->capacity) {
        file->capacity = size + size / 2;
        file->data = grow(file->data, file->capacity);
    }
    file->size = size;
    if (kept > 0)
        memcpy(file->data, platter->data, kept);
    if (size > kept)
        fill(file->data + kept, size - kept, garbage, random);
    for (size_t i = 0; i < platter->pending_count; i++) {
        const struct disk_step *step = &replay->from->steps[platter->pending[i]];
        if (step->kind == DISK_WRITE)
            write_left(platter, step, platter->pending[i], keep, random, file);
        else if (platter->pending[i] >= platter->sized && step->size < file->size && reaches(keep, random))
            memset(file->data + step->size, 0, file->size - step->size); /* cut, and grown again later */
    }
}

void disk_cut(const struct disk_replay *replay, unsigned keep, bool garbage, uint64_t *random, struct disk *left)
{
    int names[DISK_NAMES];
    memcpy(names, replay->names, sizeof names);
    memcpy(left->folders, replay->from->folders, sizeof left->folders);
    for (size_t i = 0; i < replay->names_pending_count; i++)
        if (reaches(keep, random))
            take_name(names, &replay->from->steps[replay->names_pending[i]]);
    for (unsigned name = 0; name < DISK_NAMES; name++)
        if (names[name] != DISK_NONE)
            file_left(replay, names[name], keep, garbage, random, left, (enum disk_name)name);
}
