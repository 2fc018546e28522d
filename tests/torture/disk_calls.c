#undef _FORTIFY_SOURCE /* what is defined here would be inline there */
#define _GNU_SOURCE
#include "disk_calls.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { FILES = 1024, PATH_ROOM = 600, NAME_ROOM = 64, INDEX_BYTES = 32768 };

/* What a descriptor is of. */
struct opened {
    enum { OTHER, ORDINARY, FOLDER } kind;
    int inode;
    unsigned folder;
    bool appends;
};

static struct disk *disk;
static char root[PATH_ROOM];
static struct opened files[FILES];
static bool seen;

/* Names of disks by path below the root, the same in all of them. A folder is known by the number of its name, and one. */
static char names[DISK_NAMES][NAME_ROOM];
static unsigned names_count = DISK_OTHERS;

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    abort();
}

/* The function of this NAME that is behind this one. */
#define REAL(type, name)                                                                                               \
    static type *real;                                                                                                 \
    if (!real)                                                                                                         \
    real = (type *)dlsym(RTLD_NEXT, name)

/* ---- names ------------------------------------------------------------------------------------------------------ */

/* PATH below the root; NULL: it is not. */
static const char *below_root(const char *path)
{
    size_t size = strlen(root);
    if (!disk || strncmp(path, root, size) != 0 || (path[size] != '/' && path[size] != '\0'))
        return NULL;
    path += size;
    while (*path == '/')
        path++;
    return path;
}

static enum disk_name name_of(const char *below)
{
    for (unsigned i = DISK_OTHERS; i < names_count; i++)
        if (strcmp(names[i], below) == 0)
            return (enum disk_name)i;
    if (names_count == DISK_NAMES || strlen(below) >= NAME_ROOM)
        give_up("too many names, or too long ones");
    snprintf(names[names_count], NAME_ROOM, "%s", below);
    return (enum disk_name)names_count++;
}

/* The number of the folder BELOW; 0: the root. */
static unsigned folder_number(const char *below)
{
    char name[NAME_ROOM];
    size_t size = strlen(below);
    while (size > 0 && below[size - 1] == '/')
        size--;
    snprintf(name, sizeof name, "%.*s", (int)size, below);
    return name[0] ? (unsigned)name_of(name) + 1 : 0;
}

/* The same name in a disk, which learns where it is. */
static enum disk_name name_in(struct disk *on, const char *below)
{
    enum disk_name name = name_of(below);
    const char *slash = strrchr(below, '/');
    char folder[NAME_ROOM];
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - below) : 0, below);
    on->folders[name] = folder_number(folder);
    return name;
}

/* ---- what is shared with memory ------------------------------------------------------------------------------------ */

static void note_index(int inode, const char *below)
{
    static uint8_t bytes[INDEX_BYTES];
    char path[PATH_ROOM + NAME_ROOM];
    struct disk *to = disk;
    snprintf(path, sizeof path, "%s/%s", root, below);
    disk = NULL;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = file >= 0 ? pread(file, bytes, sizeof bytes, 0) : -1;
    if (file >= 0)
        close(file);
    disk = to;
    for (size_t at = 0; got > 0 && at < (size_t)got; at += DISK_SECTOR) {
        size_t size = (size_t)got - at < DISK_SECTOR ? (size_t)got - at : DISK_SECTOR;
        const struct disk_inode *known = &disk->inodes[inode];
        if (at + size > known->size || memcmp(known->data + at, bytes + at, size) != 0)
            disk_write(disk, inode, at, bytes + at, size);
    }
}

static void note_indexes(void)
{
    for (unsigned i = DISK_OTHERS; i < names_count; i++) {
        size_t size = strlen(names[i]);
        if (disk->names[i] != DISK_NONE && size > 4 && strcmp(names[i] + size - 4, "-shm") == 0)
            note_index(disk->names[i], names[i]);
    }
}

/* ---- opening ---------------------------------------------------------------------------------------------------- */

typedef int openat_function(int, const char *, int, ...);
typedef int file_function(int);

static void note_open(int file, const char *path, int flags)
{
    struct stat status;
    const char *below = below_root(path);
    if (file < 0 || file >= FILES)
        return;
    files[file] = (struct opened){0};
    if (!below || fstat(file, &status) != 0)
        return;
    if (S_ISDIR(status.st_mode)) {
        files[file] = (struct opened){.kind = FOLDER, .folder = folder_number(below)};
        return;
    }
    enum disk_name name = name_in(disk, below);
    int inode = disk->names[name];
    if (inode == DISK_NONE)
        inode = disk_create(disk, name);
    else if (flags & O_TRUNC)
        disk_truncate(disk, inode, 0);
    files[file] = (struct opened){.kind = ORDINARY, .inode = inode, .appends = (flags & O_APPEND) != 0};
}

static int open_below(int folder, const char *path, int flags, mode_t mode)
{
    REAL(openat_function, "openat");
    int file = real(folder, path, flags, mode);
    int number = errno;
    seen = true;
    note_open(file, path, flags);
    errno = number;
    return file;
}

static mode_t mode_of(int flags, va_list arguments)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_below(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_below(AT_FDCWD, path, flags, mode);
}

/* What they are with _FORTIFY_SOURCE. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);

int __open_2(const char *path, int flags)
{
    return open_below(AT_FDCWD, path, flags, 0);
}

int __open64_2(const char *path, int flags)
{
    return open_below(AT_FDCWD, path, flags, 0);
}

int close(int file)
{
    REAL(file_function, "close");
    if (file >= 0 && file < FILES)
        files[file].kind = OTHER;
    return real(file);
}

/* What is open is of a file; NULL: of nothing that is written down. */
static const struct opened *of(int file, int kind)
{
    return disk && file >= 0 && file < FILES && (int)files[file].kind == kind ? &files[file] : NULL;
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

typedef ssize_t write_function(int, const void *, size_t);
typedef ssize_t pwrite_function(int, const void *, size_t, off_t);
typedef int truncate_function(int, off_t);

ssize_t write(int file, const void *data, size_t size)
{
    REAL(write_function, "write");
    const struct opened *opened = of(file, ORDINARY);
    size_t end = opened && opened->appends ? disk->inodes[opened->inode].size : 0;
    ssize_t done = real(file, data, size);
    if (opened && done > 0)
        disk_write(disk, opened->inode, opened->appends ? end : (size_t)(lseek(file, 0, SEEK_CUR) - done), data,
                   (size_t)done);
    return done;
}

ssize_t pwrite(int file, const void *data, size_t size, off_t at)
{
    REAL(pwrite_function, "pwrite");
    const struct opened *opened = of(file, ORDINARY);
    ssize_t done = real(file, data, size, at);
    if (opened && done > 0)
        disk_write(disk, opened->inode, (size_t)at, data, (size_t)done);
    return done;
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t at)
{
    return pwrite(file, data, size, at);
}

int ftruncate(int file, off_t size)
{
    REAL(truncate_function, "ftruncate");
    const struct opened *opened = of(file, ORDINARY);
    int result = real(file, size);
    if (opened && result == 0 && disk->inodes[opened->inode].size != (size_t)size)
        disk_truncate(disk, opened->inode, (size_t)size);
    return result;
}

int ftruncate64(int file, off64_t size)
{
    return ftruncate(file, size);
}

/* ---- flushing --------------------------------------------------------------------------------------------------- */

int fsync(int file)
{
    const struct opened *ordinary = of(file, ORDINARY), *folder = of(file, FOLDER);
    if (ordinary || folder)
        note_indexes();
    if (ordinary)
        disk_flush(disk, ordinary->inode, DISK_OTHERS, false);
    if (folder)
        disk_flush_names(disk, folder->folder);
    return 0;
}

int fdatasync(int file)
{
    return fsync(file);
}

/* ---- names that change -------------------------------------------------------------------------------------------- */

typedef int unlink_function(const char *);
typedef int rename_function(const char *, const char *);
typedef int mkdir_function(const char *, mode_t);

int unlink(const char *path)
{
    REAL(unlink_function, "unlink");
    const char *below = below_root(path);
    if (below)
        note_indexes();
    int result = real(path);
    if (below && result == 0)
        disk_unlink(disk, name_in(disk, below));
    return result;
}

int rename(const char *from, const char *to)
{
    REAL(rename_function, "rename");
    const char *below = below_root(to);
    int result = real(from, to);
    if (below && result == 0)
        disk_rename(disk, name_in(disk, below_root(from)), name_in(disk, below));
    return result;
}

int mkdir(const char *path, mode_t mode)
{
    REAL(mkdir_function, "mkdir");
    const char *below = below_root(path);
    int result = real(path, mode);
    if (below && result == 0)
        disk_create(disk, name_in(disk, below));
    return result;
}

/* ---- from outside ------------------------------------------------------------------------------------------------- */

bool disk_calls_work(void)
{
    seen = false;
    int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (file >= 0)
        close(file);
    return seen;
}

void disk_calls_record(struct disk *to, const char *folder)
{
    disk = to;
    snprintf(root, sizeof root, "%s", folder ? folder : "");
    if (to)
        to->recording = true;
}

static bool is_folder(unsigned name)
{
    size_t size = strlen(names[name]);
    for (unsigned i = DISK_OTHERS; i < names_count; i++)
        if (strncmp(names[i], names[name], size) == 0 && names[i][size] == '/')
            return true;
    return false;
}

/* A name leads to something if its folder's does. Folders are named before what is in them. */
void disk_calls_make(const struct disk *left, const char *folder)
{
    char path[2 * PATH_ROOM];
    struct disk *before = disk;
    disk = NULL;
    for (unsigned i = DISK_OTHERS; i < names_count; i++) {
        unsigned in = left->folders[i];
        if (left->names[i] == DISK_NONE || (in > 0 && left->names[in - 1] == DISK_NONE))
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        if (is_folder(i)) {
            if (mkdir(path, 0700) != 0)
                give_up(path);
            continue;
        }
        const struct disk_inode *inode = &left->inodes[left->names[i]];
        int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        for (size_t at = 0; file >= 0 && at < inode->size;) {
            ssize_t done = write(file, inode->data + at, inode->size - at);
            if (done <= 0)
                give_up(path);
            at += (size_t)done;
        }
        if (file < 0 || close(file) != 0)
            give_up(path);
    }
    disk = before;
}
