#include "store/private.h"

#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/vfs.h>
#else
#include <sys/mount.h>
#include <sys/param.h>
#endif

/*
 * Locks of network file systems are advice at best, and WAL needs memory shared between processes on one machine
 * (sqlite.org/wal.html).
 */
enum mp_error store_check_file_system(const char *path, struct fault *fault)
{
    char directory[PATH_BYTES];
    struct statfs status;
    if (!path_directory(path, directory) || statfs(directory, &status) != 0)
        return fault_system(fault, errno == ENOENT ? MP_ERR_NOT_FOUND : MP_ERR_IO, errno,
                            "cannot look at the store's directory %s", directory);
    bool remote = false;
#ifdef __linux__
    /* Magic numbers of statfs(2): nfs, smb, cifs, smb2, afs, coda, ceph, lustre. */
    static const unsigned long kinds[] = {0x6969,     0x517B,     0xFF534D42, 0xFE534D42,
                                          0x5346414F, 0x73757245, 0x00C36400, 0x0BD00BD0};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        remote |= ((unsigned long)status.f_type & 0xFFFFFFFF) == kinds[i];
#else
    remote = !(status.f_flags & MNT_LOCAL);
#endif
    if (remote)
        return fault_set(fault, MP_ERR_DENIED,
                         "%s is on a network file system, where locks and flushes cannot be relied on: "
                         "choose a local directory with --store",
                         directory);
    return MP_OK;
}

/* SQLite's journal stands beside a store while it is being made: when that was cut short, SQLite takes it back. */
static bool is_being_made(const char *path)
{
    char name[PATH_BYTES];
    struct stat status;
    int size = snprintf(name, sizeof name, "%s-journal", path);
    return size > 0 && (size_t)size < sizeof name && lstat(name, &status) == 0 && S_ISREG(status.st_mode) &&
           status.st_size > 0;
}

enum mp_error store_check_file(const char *path, struct fault *fault)
{
    static const char magic[16] = "SQLite format 3"; /* sqlite.org/fileformat.html, 1.3 */
    char head[sizeof magic];
    struct stat status;
    /* A pipe would be waited for. What cannot be read or is not there, opening it will tell. */
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (descriptor < 0)
        return MP_OK;
    bool regular = fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
    ssize_t got = regular ? pread(descriptor, head, sizeof head, 0) : 0;
    close(descriptor);
    if (!regular)
        return fault_set(fault, MP_ERR_INVALID, "%s: not a store: not a regular file: name another", path);
    bool other = got > 0 && (got != sizeof head || memcmp(head, magic, sizeof head) != 0);
    if (other && !is_being_made(path))
        return fault_set(fault, MP_ERR_DAMAGED, "%s: not a store: a file of something else", path);
    return MP_OK;
}

enum mp_error store_take_lock(struct store *store, struct fault *fault)
{
    char name[PATH_BYTES];
    int size = snprintf(name, sizeof name, "%s.lock", store->path);
    if (size < 0 || (size_t)size >= sizeof name)
        return fault_set(fault, MP_ERR_TOO_LARGE, "the store's path is longer than %d bytes", PATH_BYTES - 6);
    store->lock = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (store->lock < 0)
        return fault_system(fault, errno == EACCES || errno == EROFS ? MP_ERR_DENIED : MP_ERR_IO, errno,
                            "cannot open the store's lock %s", name);
    if (flock(store->lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK)
            return fault_system(fault, MP_ERR_IO, errno, "cannot lock %s", name);
        char text[40] = "";
        ssize_t got = pread(store->lock, text, sizeof text - 1, 0);
        text[got > 0 ? got : 0] = '\0';
        long holder = strtol(text, NULL, 10);
        text[0] = '\0';
        if (holder > 0)
            snprintf(text, sizeof text, ", process %ld", holder);
        return fault_set(fault, MP_ERR_BUSY,
                         "%s: another relay has it%s: end that one first, or use another store (-r NAME has its own)",
                         store->path, text);
    }
    char text[24];
    int length = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(store->lock, 0) != 0 || pwrite(store->lock, text, (size_t)length, 0) != length)
        return fault_system(fault, MP_ERR_IO, errno, "cannot write %s", name);
    return MP_OK;
}

/* The lock itself is not tried: a relay that begins just then would find it taken. */
long store_holder(const char *path)
{
    char name[PATH_BYTES], text[24];
    int size = snprintf(name, sizeof name, "%s.lock", path);
    if (size < 0 || (size_t)size >= sizeof name)
        return 0;
    int descriptor = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (descriptor < 0)
        return 0;
    ssize_t got = pread(descriptor, text, sizeof text - 1, 0);
    close(descriptor);
    text[got > 0 ? got : 0] = '\0';
    return strtol(text, NULL, 10);
}
