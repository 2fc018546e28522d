/*
 * disk.h: a disk in memory for one SQLite database, which writes down all that is done to it.
 *
 * It is SQLite's default VFS once disk_install() was called, so a store is opened on it as on any other, by a path
 * (where lib/store makes an empty file, and its lock). What the store's files are lies in the disk that disk_use() was
 * told last: the database, its log (PATH-wal) and its rollback journal (PATH-journal). The log's index (PATH-shm) is
 * memory, as on a machine that is switched off.
 *
 * Flushes are what SQLite's own VFS for Unix does: of a file, and of the directory after the first flush of a new log
 * or journal and after an unlink that asks for it (os_unix.c). disk_replay() and disk_cut() make of what was written
 * down the disks that a power cut could leave at any moment.
 *
 * A disk can also refuse: the nth call of some kinds fails, once or from then on (struct disk_refusal).
 */
#ifndef TORTURE_DISK_H
#define TORTURE_DISK_H

#include "base/random.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A store's; and others, as disk_calls.h gives them to paths. */
enum disk_name { DISK_DATABASE, DISK_LOG, DISK_JOURNAL, DISK_OTHERS, DISK_NAMES = 96 };
enum { DISK_NONE = -1, DISK_SECTOR = 512, DISK_INODES = 256 };

/* A file's bytes, whatever names lead to it. */
struct disk_inode {
    uint8_t *data;
    size_t size, capacity;
};

enum disk_step_kind {
    DISK_WRITE,
    DISK_TRUNCATE,
    DISK_FLUSH,
    DISK_FLUSH_FAILED, /* what was written before is never flushed by a later one: the system has forgotten it */
    DISK_CREATE,       /* NAME leads to INODE from now on */
    DISK_UNLINK,       /* NAME leads nowhere */
    DISK_RENAME,       /* NAME leads to INODE from now on, and FROM, which did, nowhere: both or neither */
    DISK_FLUSH_NAMES   /* the directory */
};

struct disk_step {
    enum disk_step_kind kind;
    enum disk_name name, from;
    int inode;
    unsigned folder; /* the directory that NAME is in, or that is flushed; a store has one, 0 */
    size_t at, size; /* a write's; a truncation: the new size is SIZE */
    uint8_t *data;
};

/* What can fail. */
enum disk_call {
    DISK_CALL_OPEN,
    DISK_CALL_READ,
    DISK_CALL_WRITE,
    DISK_CALL_FLUSH,
    DISK_CALL_TRUNCATE,
    DISK_CALL_UNLINK,
    DISK_CALL_LOOK, /* at a size, or whether a file is there */
    DISK_CALL_SHARE /* the log's index */
};

/* The NTH call (1: the next) of KINDS (1 << disk_call) returns CODE; FOREVER: and all after it. NTH 0: none does. */
struct disk_refusal {
    unsigned kinds;
    uint64_t nth;
    bool forever;
    int code;         /* SQLITE_FULL, …; 0: that of an error of input or output */
    bool half;        /* a write that fails has written its first half */
    uint64_t counted; /* calls of KINDS since it was set */
    uint64_t refused; /* that failed */
};

/* What is done wrong on purpose, to see that a trial finds it. */
enum disk_plant {
    DISK_PLANT_NONE = 0,
    DISK_PLANT_FLUSH_DATABASE = 1, /* flushes of the database are not done */
    DISK_PLANT_FLUSH_LOG = 2,      /* nor those of the log */
    DISK_PLANT_FLUSH_NAMES = 4     /* nor those of the directory */
};

struct disk {
    struct disk_inode inodes[DISK_INODES];
    int inodes_count;
    int names[DISK_NAMES];        /* the inode that each leads to; DISK_NONE */
    unsigned folders[DISK_NAMES]; /* the directory that each is in */
    bool recording;
    struct disk_step *steps;
    size_t steps_count, steps_capacity;
    unsigned plants;
    struct disk_refusal refusal;
    unsigned life;      /* of the process that uses it: what an earlier one has open is dead */
    uint64_t kill_in;   /* steps until the process dies; 0: it does not */
    bool kill_at_flush; /* it dies when it is about to flush the log */
    bool killed;        /* it died */
    void **shared;      /* the log's index, in pieces */
    int shared_count, shared_users;
};

/*
 * Whether what runs now is the product's, in which calls may be made to fail, or the trial's own. Sets it; what it was.
 */
bool product_runs(void);
bool product_enter(bool product);

/* Makes it SQLite's default VFS. Once a process. */
void disk_install(void);
/* From now on SQLite draws the same random numbers as with the same SEED before. */
void disk_seed(uint64_t seed);
/* Opens from now on go to DISK. */
void disk_use(struct disk *disk);
/* The connection to SQLite that was opened last. */
sqlite3 *disk_connection(void);
/* How many were opened. */
uint64_t disk_connections(void);

void disk_begin(struct disk *disk);
/* Forgets all files and steps, but keeps the room that they took. */
void disk_clear(struct disk *disk);
void disk_free(struct disk *disk);
/* The names and files of FROM, and nothing else, instead of what TO had. */
void disk_copy(struct disk *to, const struct disk *from);
/* What the process had open is of no effect any more; a new one begins. */
void disk_restart(struct disk *disk);

/* What the VFS does to files; each is written down. Returns false: there is no memory, or too many files. */
int disk_create(struct disk *disk, enum disk_name name);
void disk_write(struct disk *disk, int inode, size_t at, const void *data, size_t size);
void disk_truncate(struct disk *disk, int inode, size_t size);
void disk_flush(struct disk *disk, int inode, enum disk_name name, bool failed);
void disk_flush_names(struct disk *disk, unsigned folder);
void disk_unlink(struct disk *disk, enum disk_name name);
void disk_rename(struct disk *disk, enum disk_name from, enum disk_name to);

/* ---- power cuts (disk_cut.c) ------------------------------------------------------------------------------------ */

/* What is on the platter, and what is on its way to it, while the steps of a disk are gone through once more. */
struct disk_replay;

/* Begins before the first step of FROM, whose files were on the platter as BASE has them (NULL: there were none). */
struct disk_replay *disk_replay_begin(const struct disk *from, const struct disk *base);
void disk_replay_free(struct disk_replay *replay);
/* Goes on until STEPS of the steps are done; it does not go back. */
void disk_replay_to(struct disk_replay *replay, size_t steps);

/*
 * The disk that is left in LEFT (cleared before) when power is cut here. Of each sector of 512 bytes that was written since the last
 * flush of its file, each of the contents that it had may be there; so may each size, and each name. KEEP: of a hundred
 * such writes so many reach the platter; 100: all; 0: none. *RANDOM is moved on. GARBAGE: what a file grew by and was not
 * written has other bytes than zeros.
 */
void disk_cut(const struct disk_replay *replay, unsigned keep, bool garbage, uint64_t *random, struct disk *left);

#endif
