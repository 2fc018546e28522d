/* What a rotated file has become. */
#include "runner/source_rotated.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>

enum { COPY_LEAST = 64 }; /* bytes that a copy has to have in common, to be known as one */

struct directory {
    DIR *stream;
    char path[PATH_MAX]; /* with its slash */
    const char *base;    /* the file's own name */
    size_t base_size;
};

int64_t source_rotated_modified(const struct stat *status)
{
#ifdef __APPLE__
    const struct timespec *time = &status->st_mtimespec;
#else
    const struct timespec *time = &status->st_mtim;
#endif
    return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

bool source_rotated_is(int descriptor, const struct source_place *place)
{
    uint8_t head[SOURCE_FOLLOW_HEAD];
    struct stat status;
    if (place->head_size > sizeof(head) || fstat(descriptor, &status) != 0 || status.st_size < 0 ||
        (uint64_t)status.st_size < place->offset)
        return false;
    if (pread(descriptor, head, place->head_size, 0) != (ssize_t)place->head_size)
        return false;
    return XXH3_64bits(head, place->head_size) == place->head;
}

static bool directory_open(struct directory *directory, const char *path)
{
    const char *slash = strrchr(path, '/');
    int length = slash ? snprintf(directory->path, sizeof(directory->path), "%.*s/", (int)(slash - path), path)
                       : snprintf(directory->path, sizeof(directory->path), "./");
    if (length >= (int)sizeof(directory->path))
        return false;
    directory->base = slash ? slash + 1 : path;
    directory->base_size = strlen(directory->base);
    directory->stream = opendir(directory->path);
    return directory->stream != NULL;
}

/* Opens the next regular file of it. -1: the end. */
static int directory_next(struct directory *directory, const char **name, struct stat *status)
{
    struct dirent *entry;
    while ((entry = readdir(directory->stream)) != NULL) {
        if (entry->d_type != DT_REG && entry->d_type != DT_UNKNOWN)
            continue;
        int descriptor =
            openat(dirfd(directory->stream), entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (descriptor < 0)
            continue;
        if (fstat(descriptor, status) == 0 && S_ISREG(status->st_mode)) {
            *name = entry->d_name;
            return descriptor;
        }
        close(descriptor);
    }
    return -1;
}

/* Whether NAME is the file's, with what rotation puts behind it. */
static bool is_rotated(const struct directory *directory, const char *name)
{
    const char *suffix = name + directory->base_size;
    return strncmp(name, directory->base, directory->base_size) == 0 && strchr("-._", *suffix) && suffix[0] &&
           suffix[1] && suffix[strspn(suffix, "0123456789-._:T")] == '\0';
}

int source_rotated_find(const char *path, const struct source_place *place)
{
    struct directory directory;
    struct stat status;
    const char *name;
    int copy = -1;
    int descriptor;
    int64_t latest = place->modified;
    if (!directory_open(&directory, path))
        return -1;
    while ((descriptor = directory_next(&directory, &name, &status)) >= 0) {
        bool same = (uint64_t)status.st_dev == place->device && (uint64_t)status.st_ino == place->inode;
        if (!source_rotated_is(descriptor, place)) {
            close(descriptor);
        } else if (same) {
            if (copy >= 0)
                close(copy);
            copy = descriptor;
            break;
        } else if (place->head_size >= COPY_LEAST && is_rotated(&directory, name) &&
                   source_rotated_modified(&status) >= latest) {
            if (copy >= 0)
                close(copy);
            copy = descriptor;
            latest = source_rotated_modified(&status);
        } else {
            close(descriptor);
        }
    }
    closedir(directory.stream);
    return copy;
}

/* ---- what came after ------------------------------------------------------------------------------------------ */

struct found {
    int64_t modified;
    int descriptor;
};

static int older(const void *left, const void *right)
{
    const struct found *a = left;
    const struct found *b = right;
    return (a->modified > b->modified) - (a->modified < b->modified);
}

size_t source_rotated_since(const char *path, int64_t modified, uint64_t device, uint64_t inode, int *descriptors,
                            size_t limit)
{
    enum { MOST = 256 };
    struct found found[MOST];
    size_t count = 0;
    struct directory directory;
    struct stat status;
    const char *name;
    int descriptor;
    if (!directory_open(&directory, path))
        return 0;
    while ((descriptor = directory_next(&directory, &name, &status)) >= 0) {
        bool same = (uint64_t)status.st_dev == device && (uint64_t)status.st_ino == inode;
        int64_t time = source_rotated_modified(&status);
        if (count < MOST && !same && time > modified && is_rotated(&directory, name))
            found[count++] = (struct found){time, descriptor};
        else
            close(descriptor);
    }
    closedir(directory.stream);
    qsort(found, count, sizeof(*found), older);
    for (size_t i = 0; i < count; i++) {
        if (i < limit)
            descriptors[i] = found[i].descriptor;
        else
            close(found[i].descriptor);
    }
    return count < limit ? count : limit;
}
