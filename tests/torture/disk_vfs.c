/*
 * disk_vfs.c: what SQLite calls. Locks are none: one process uses a disk, and its connections take turns.
 */
#include "disk.h"

#include <stdlib.h>
#include <string.h>

enum { PIECE = 32768 }; /* bytes of a piece of the log's index, which SQLite chooses */

struct open_file {
    sqlite3_file file; /* first */
    struct disk *disk;
    unsigned life;
    int inode;
    enum disk_name name;
    bool names_unflushed; /* the first flush takes the directory with it */
    bool shares;
};

static struct disk *used;
static sqlite3 *connection;
static uint64_t connections;
static sqlite3_vfs *real;
static uint64_t randomness;

void disk_use(struct disk *disk)
{
    used = disk;
}

sqlite3 *disk_connection(void)
{
    return connection;
}

uint64_t disk_connections(void)
{
    return connections;
}

/* ---- refusals --------------------------------------------------------------------------------------------------- */

/* As SQLite's own VFS would say it. */
static int usual_code(enum disk_call call)
{
    static const int codes[] = {[DISK_CALL_OPEN] = SQLITE_CANTOPEN,           [DISK_CALL_READ] = SQLITE_IOERR_READ,
                                [DISK_CALL_WRITE] = SQLITE_IOERR_WRITE,       [DISK_CALL_FLUSH] = SQLITE_IOERR_FSYNC,
                                [DISK_CALL_TRUNCATE] = SQLITE_IOERR_TRUNCATE, [DISK_CALL_UNLINK] = SQLITE_IOERR_DELETE,
                                [DISK_CALL_LOOK] = SQLITE_IOERR_FSTAT,        [DISK_CALL_SHARE] = SQLITE_IOERR_SHMMAP};
    return codes[call];
}

/* The code with which CALL fails, or SQLITE_OK. */
static int refused(struct disk *disk, enum disk_call call)
{
    struct disk_refusal *refusal = &disk->refusal;
    if (disk->killed)
        return SQLITE_IOERR;
    if (!(refusal->kinds & 1u << call))
        return SQLITE_OK;
    refusal->counted++;
    if (refusal->nth == 0 || refusal->counted < refusal->nth || (refusal->counted > refusal->nth && !refusal->forever))
        return SQLITE_OK;
    refusal->refused++;
    return refusal->code ? refusal->code : usual_code(call);
}

static bool is_dead(const struct open_file *file)
{
    return file->life != file->disk->life || file->disk->killed;
}

/* ---- a file ----------------------------------------------------------------------------------------------------- */

static int file_close(sqlite3_file *handle)
{
    (void)handle;
    return SQLITE_OK;
}

static int file_read(sqlite3_file *handle, void *data, int size, sqlite3_int64 at)
{
    const struct open_file *file = (const struct open_file *)(const void *)handle;
    int code = is_dead(file) ? SQLITE_IOERR_READ : refused(file->disk, DISK_CALL_READ);
    if (code != SQLITE_OK)
        return code;
    const struct disk_inode *inode = &file->disk->inodes[file->inode];
    size_t wanted = (size_t)size, from = (size_t)at, there = inode->size > from ? inode->size - from : 0;
    if (there > wanted)
        there = wanted;
    if (there > 0)
        memcpy(data, inode->data + from, there);
    if (there == wanted)
        return SQLITE_OK;
    memset((uint8_t *)data + there, 0, wanted - there);
    return SQLITE_IOERR_SHORT_READ;
}

static int file_write(sqlite3_file *handle, const void *data, int size, sqlite3_int64 at)
{
    const struct open_file *file = (const struct open_file *)(const void *)handle;
    int code = is_dead(file) ? SQLITE_IOERR_WRITE : refused(file->disk, DISK_CALL_WRITE);
    if (code == SQLITE_OK)
        disk_write(file->disk, file->inode, (size_t)at, data, (size_t)size);
    else if (!is_dead(file) && file->disk->refusal.half && size > 1)
        disk_write(file->disk, file->inode, (size_t)at, data, (size_t)size / 2);
    return code;
}

static int file_truncate(sqlite3_file *handle, sqlite3_int64 size)
{
    const struct open_file *file = (const struct open_file *)(const void *)handle;
    int code = is_dead(file) ? SQLITE_IOERR_TRUNCATE : refused(file->disk, DISK_CALL_TRUNCATE);
    if (code == SQLITE_OK)
        disk_truncate(file->disk, file->inode, (size_t)size);
    return code;
}

static int file_sync(sqlite3_file *handle, int flags)
{
    struct open_file *file = (struct open_file *)(void *)handle;
    (void)flags;
    if (file->disk->kill_at_flush && file->name == DISK_LOG)
        file->disk->killed = true;
    if (is_dead(file))
        return SQLITE_IOERR_FSYNC;
    int code = refused(file->disk, DISK_CALL_FLUSH);
    disk_flush(file->disk, file->inode, file->name, code != SQLITE_OK);
    if (code == SQLITE_OK && file->names_unflushed) {
        disk_flush_names(file->disk, 0);
        file->names_unflushed = false;
    }
    return code;
}

static int file_size(sqlite3_file *handle, sqlite3_int64 *size)
{
    const struct open_file *file = (const struct open_file *)(const void *)handle;
    int code = is_dead(file) ? SQLITE_IOERR_FSTAT : refused(file->disk, DISK_CALL_LOOK);
    *size = (sqlite3_int64)file->disk->inodes[file->inode].size;
    return code;
}

static int file_lock(sqlite3_file *handle, int level)
{
    (void)handle;
    (void)level;
    return SQLITE_OK;
}

static int file_is_reserved(sqlite3_file *handle, int *result)
{
    (void)handle;
    *result = 0;
    return SQLITE_OK;
}

static int file_control(sqlite3_file *handle, int what, void *argument)
{
    (void)handle;
    (void)what;
    (void)argument;
    return SQLITE_NOTFOUND;
}

/* As of SQLite's own VFS. */
static int file_sector_size(sqlite3_file *handle)
{
    (void)handle;
    return 4096;
}

static int file_characteristics(sqlite3_file *handle)
{
    (void)handle;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/* ---- the log's index -------------------------------------------------------------------------------------------- */

static int share_map(sqlite3_file *handle, int piece, int size, int extend, void volatile **result)
{
    struct open_file *file = (struct open_file *)(void *)handle;
    struct disk *disk = file->disk;
    int code = is_dead(file) ? SQLITE_IOERR_SHMMAP : refused(disk, DISK_CALL_SHARE);
    *result = NULL;
    if (code != SQLITE_OK)
        return code;
    if (!file->shares) {
        file->shares = true;
        disk->shared_users++;
    }
    if (piece >= disk->shared_count && !extend)
        return SQLITE_OK;
    bool before = product_enter(false);
    while (disk->shared_count <= piece) {
        void **grown = realloc(disk->shared, (size_t)(disk->shared_count + 1) * sizeof *grown);
        void *added = calloc(1, (size_t)size);
        if (!grown || !added)
            abort();
        disk->shared = grown;
        disk->shared[disk->shared_count++] = added;
    }
    product_enter(before);
    *result = disk->shared[piece];
    return SQLITE_OK;
}

static int share_lock(sqlite3_file *handle, int from, int count, int flags)
{
    (void)handle;
    (void)from;
    (void)count;
    (void)flags;
    return SQLITE_OK;
}

static void share_barrier(sqlite3_file *handle)
{
    (void)handle;
}

static int share_unmap(sqlite3_file *handle, int forget)
{
    struct open_file *file = (struct open_file *)(void *)handle;
    struct disk *disk = file->disk;
    (void)forget;
    if (!file->shares || file->life != disk->life)
        return SQLITE_OK;
    file->shares = false;
    if (--disk->shared_users == 0) /* who opens it first after that begins it anew */
        for (int i = 0; i < disk->shared_count; i++)
            memset(disk->shared[i], 0, PIECE);
    return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_lock,
    .xCheckReservedLock = file_is_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
    .xShmMap = share_map,
    .xShmLock = share_lock,
    .xShmBarrier = share_barrier,
    .xShmUnmap = share_unmap,
};

/* ---- the file system -------------------------------------------------------------------------------------------- */

static bool ends_in(const char *path, const char *end)
{
    size_t size = strlen(path), end_size = strlen(end);
    return size >= end_size && memcmp(path + size - end_size, end, end_size) == 0;
}

static enum disk_name name_of(const char *path)
{
    return ends_in(path, "-wal") ? DISK_LOG : ends_in(path, "-journal") ? DISK_JOURNAL : DISK_DATABASE;
}

static int vfs_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *handle, int flags, int *flags_out)
{
    struct open_file *file = (struct open_file *)(void *)handle;
    (void)vfs;
    handle->pMethods = NULL;
    if (!path)
        return SQLITE_CANTOPEN; /* a temporary file: the store has none */
    int code = refused(used, DISK_CALL_OPEN);
    if (code != SQLITE_OK)
        return code;
    memset(file, 0, sizeof *file);
    file->disk = used;
    file->life = used->life;
    file->name = name_of(path);
    file->inode = used->names[file->name];
    if (file->inode == DISK_NONE && !(flags & SQLITE_OPEN_CREATE))
        return SQLITE_CANTOPEN;
    if (file->inode == DISK_NONE)
        file->inode = disk_create(used, file->name);
    file->names_unflushed = (flags & SQLITE_OPEN_CREATE) && file->name != DISK_DATABASE;
    handle->pMethods = &methods;
    if (flags_out)
        *flags_out = flags;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *path, int flush)
{
    enum disk_name name = name_of(path);
    (void)vfs;
    int code = refused(used, DISK_CALL_UNLINK);
    if (code != SQLITE_OK)
        return code;
    if (used->names[name] == DISK_NONE)
        return SQLITE_IOERR_DELETE_NOENT;
    disk_unlink(used, name);
    if (flush)
        disk_flush_names(used, 0);
    return SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *vfs, const char *path, int flags, int *result)
{
    (void)vfs;
    int code = refused(used, DISK_CALL_LOOK), inode = used->names[name_of(path)];
    *result = inode != DISK_NONE && (flags != SQLITE_ACCESS_EXISTS || used->inodes[inode].size > 0);
    return code;
}

static int vfs_full_path(sqlite3_vfs *vfs, const char *path, int size, char *result)
{
    (void)vfs;
    sqlite3_snprintf(size, result, "%s", path);
    return SQLITE_OK;
}

/* The same of each seed: SQLite takes the log's salts from it. */
static int vfs_randomness(sqlite3_vfs *vfs, int size, char *result)
{
    (void)vfs;
    for (int i = 0; i < size; i++)
        result[i] = (char)random_next(&randomness);
    return size;
}

void disk_seed(uint64_t seed)
{
    randomness = seed;
    sqlite3_randomness(0, NULL); /* forgets what it had */
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
    (void)vfs;
    (void)microseconds;
    return 0;
}

static int vfs_time(sqlite3_vfs *vfs, sqlite3_int64 *now)
{
    (void)vfs;
    return real->xCurrentTimeInt64(real, now);
}

static int vfs_last_error(sqlite3_vfs *vfs, int size, char *text)
{
    (void)vfs;
    (void)size;
    (void)text;
    return 0;
}

/* Takes note of each connection that is opened. */
static int take_connection(sqlite3 *opened, char **text, const struct sqlite3_api_routines *routines)
{
    (void)text;
    (void)routines;
    connection = opened;
    connections++;
    return SQLITE_OK;
}

void disk_install(void)
{
    static sqlite3_vfs vfs = {
        .iVersion = 2,
        .szOsFile = sizeof(struct open_file),
        .mxPathname = 1024,
        .zName = "torture-disk",
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_path,
        .xRandomness = vfs_randomness,
        .xSleep = vfs_sleep,
        .xGetLastError = vfs_last_error,
        .xCurrentTimeInt64 = vfs_time,
    };
    real = sqlite3_vfs_find(NULL);
    if (!real || sqlite3_vfs_register(&vfs, 1) != SQLITE_OK ||
        sqlite3_auto_extension((void (*)(void))take_connection) != SQLITE_OK)
        abort();
}
