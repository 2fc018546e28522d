#include "store/wal.h"

#include "base/buffer.h"
#include "base/file.h"
#include "store/private.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum {
    PATH_BYTES = 4200,
    AT_PAGE_SIZE = 8,
    AT_SALTS = 16,
    AT_CHECKSUM = 24,
    INDEX_HEADER = 48, /* of the shared index: twice, one after the other */
    INDEX_LAST = 16,
    INDEX_SALTS = 32,
    INDEX_CHECKSUM = 40
};
#define WAL_MAGIC UINT32_C(0x377f0682) /* its lowest bit: checksums are of big-endian words */

static uint32_t big_u32(const uint8_t *at)
{
    return (uint32_t)load_big(at, 4);
}

/* The two sums of a chain of checksums. */
struct sums {
    uint32_t first, second;
};

/* Adds SIZE bytes, a multiple of 8. */
static void add(struct sums *sums, bool big, const uint8_t *bytes, size_t size)
{
    uint32_t first = sums->first, second = sums->second;
    for (const uint8_t *at = bytes; at < bytes + size; at += 8) {
        first += (big ? big_u32(at) : load_u32(at)) + second;
        second += (big ? big_u32(at + 4) : load_u32(at + 4)) + first;
    }
    *sums = (struct sums){first, second};
}

static struct sums sums_at(const uint8_t *at)
{
    return (struct sums){big_u32(at), big_u32(at + 4)};
}

static bool same(const struct sums *one, const struct sums *other)
{
    return one->first == other->first && one->second == other->second;
}

/* A log that is being read. */
struct walk {
    int descriptor;
    bool big;
    struct sums before; /* what the page before says */
    bool serving;       /* everything up to here is what SQLite takes */
    uint32_t foreign;   /* the first page of another writing; UINT32_MAX: none yet */
    struct wal_look *look;
};

/* Reads up to SIZE bytes at POSITION; what the file has less of is zero. */
static ssize_t read_at(int descriptor, uint8_t *bytes, size_t size, uint64_t position)
{
    ssize_t got = file_read_at(descriptor, bytes, size, position);
    if (got >= 0)
        memset(bytes + got, 0, size - (size_t)got);
    return got;
}

/* The salts of the first two pages tell the writing of a log whose header is damaged. */
static uint64_t guess_writing(int descriptor)
{
    uint8_t heads[3][WAL_PAGE_HEADER];
    for (unsigned i = 0; i < 3; i++)
        if (read_at(descriptor, heads[i], WAL_PAGE_HEADER, WAL_HEADER + (uint64_t)i * (WAL_PAGE_HEADER + STORE_PAGE)) <
            0)
            memset(heads[i], 0, WAL_PAGE_HEADER);
    uint64_t second = load_big(heads[1] + 8, 8), third = load_big(heads[2] + 8, 8);
    return second == third && second != 0 ? second : load_big(heads[0] + 8, 8);
}

static void read_header(struct walk *walk, const uint8_t *header)
{
    struct wal_look *look = walk->look;
    struct sums sums = {0, 0}, said = sums_at(header + AT_CHECKSUM);
    uint32_t magic = big_u32(header);
    walk->big = (magic & 1) != 0;
    add(&sums, walk->big, header, AT_CHECKSUM);
    look->header_fits =
        (magic | 1) == (WAL_MAGIC | 1) && same(&sums, &said) && big_u32(header + AT_PAGE_SIZE) == STORE_PAGE;
    look->writing = load_big(header + AT_SALTS, 8);
    walk->before = said;
    walk->serving = look->header_fits;
    if (look->header_fits)
        return;
    look->writing = guess_writing(walk->descriptor);
    walk->big = false;
}

static void count_page(struct walk *walk, const struct wal_page *page)
{
    struct wal_look *look = walk->look;
    look->pages = page->number + 1;
    look->cut |= !page->whole;
    if (page->writing != look->writing) {
        walk->serving = false;
        if (walk->foreign == UINT32_MAX)
            walk->foreign = page->number;
        return;
    }
    if (look->misfit == UINT32_MAX && walk->foreign != UINT32_MAX)
        look->misfit = walk->foreign; /* it was of this writing, too */
    if (look->misfit == UINT32_MAX && !page->fits)
        look->misfit = page->number;
    walk->serving &= page->fits;
    if (page->commit == 0)
        return;
    look->newest = page->number + 1;
    look->behind += look->misfit != UINT32_MAX;
    if (walk->serving)
        look->served = page->number + 1;
}

/* The next page; false at the end. */
static bool next_page(struct walk *walk, struct wal_page *page, uint8_t *bytes, enum mp_error *error)
{
    uint64_t at = WAL_HEADER + (uint64_t)page->number * (WAL_PAGE_HEADER + STORE_PAGE);
    ssize_t got = read_at(walk->descriptor, bytes, WAL_PAGE_HEADER + STORE_PAGE, at);
    if (got < 0)
        *error = MP_ERR_IO;
    if (got <= (ssize_t)WAL_PAGE_HEADER) {
        walk->look->cut |= got > 0;
        return false;
    }
    struct sums said = sums_at(bytes + 16), sums = walk->before;
    add(&sums, walk->big, bytes, 8);
    add(&sums, walk->big, bytes + WAL_PAGE_HEADER, STORE_PAGE);
    page->page = big_u32(bytes);
    page->commit = big_u32(bytes + 4);
    page->writing = load_big(bytes + 8, 8);
    page->whole = got == WAL_PAGE_HEADER + STORE_PAGE;
    page->fits = page->whole && same(&sums, &said);
    page->position = at + WAL_PAGE_HEADER;
    walk->before = said;
    return true;
}

/*
 * What the shared index (sqlite.org/walformat.html, 2) says: the pages that it knows of, the salts of their writing, and
 * how many of them were copied into the database. SQLite writes it after the flush, so that these pages were on the disk;
 * after the system's crash it may be older, or gone.
 */
struct index {
    uint32_t pages, copied;
    uint64_t writing;
};

static struct index read_index(const char *path)
{
    struct index index = {0};
    char name[PATH_BYTES];
    uint8_t header[2 * INDEX_HEADER + 4];
    int size = snprintf(name, sizeof name, "%s-shm", path);
    if (size < 0 || (size_t)size >= sizeof name)
        return index;
    int descriptor = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (descriptor < 0)
        return index;
    ssize_t got = read_at(descriptor, header, sizeof header, 0);
    close(descriptor);
    struct sums sums = {0, 0};
    uint32_t words[INDEX_HEADER / 4];
    memcpy(words, header, sizeof words); /* in the machine's own order */
    for (unsigned i = 0; i < INDEX_CHECKSUM / 4; i += 2) {
        sums.first += words[i] + sums.second;
        sums.second += words[i + 1] + sums.first;
    }
    bool sound = got == (ssize_t)sizeof header && memcmp(header, header + INDEX_HEADER, INDEX_HEADER) == 0 &&
                 sums.first == words[INDEX_CHECKSUM / 4] && sums.second == words[INDEX_CHECKSUM / 4 + 1];
    if (!sound)
        return index;
    index = (struct index){.pages = words[INDEX_LAST / 4], .writing = load_big(header + INDEX_SALTS, 8)};
    memcpy(&index.copied, header + sizeof header - 4, 4);
    return index;
}

static enum mp_error walk_pages(struct walk *walk,
                                enum mp_error (*each)(void *context, const struct wal_page *page, const uint8_t *bytes),
                                void *context)
{
    uint8_t *bytes = malloc(WAL_PAGE_HEADER + STORE_PAGE);
    enum mp_error error = bytes ? MP_OK : MP_ERR_MEMORY;
    for (struct wal_page page = {0}; !error && next_page(walk, &page, bytes, &error); page.number++) {
        count_page(walk, &page);
        if (each)
            error = each(context, &page, bytes + WAL_PAGE_HEADER);
    }
    free(bytes);
    return error;
}

enum mp_error wal_walk(const char *path, struct wal_look *look,
                       enum mp_error (*each)(void *context, const struct wal_page *page, const uint8_t *bytes),
                       void *context, struct fault *fault)
{
    char name[PATH_BYTES];
    uint8_t header[WAL_HEADER];
    *look = (struct wal_look){.misfit = UINT32_MAX};
    int size = snprintf(name, sizeof name, "%s-wal", path);
    if (size < 0 || (size_t)size >= sizeof name)
        return fault_set(fault, MP_ERR_TOO_LARGE, "the store's path is longer than %d bytes", PATH_BYTES - 6);
    struct walk walk = {.foreign = UINT32_MAX, .look = look};
    walk.descriptor = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    enum mp_error error = walk.descriptor < 0 && errno != ENOENT ? MP_ERR_IO : MP_OK;
    ssize_t got = walk.descriptor < 0 ? 0 : read_at(walk.descriptor, header, sizeof header, 0);
    if (!error && got < 0)
        error = MP_ERR_IO;
    look->there = got > 0;
    if (!error && got > 0) {
        read_header(&walk, header);
        error = walk_pages(&walk, each, context);
    }
    struct index index = read_index(path);
    if (!look->there && index.pages > index.copied)
        look->known = index.pages;
    if (look->there && index.writing == look->writing)
        look->known = index.pages;
    if (error == MP_ERR_IO)
        fault_system(fault, error, errno, "cannot read %s", name);
    if (walk.descriptor >= 0)
        close(walk.descriptor);
    return error == MP_ERR_MEMORY ? fault_memory(fault) : error;
}

/* Whether pages follow from each other although the header does not fit: there was a log. */
static enum mp_error note_sound(void *context, const struct wal_page *page, const uint8_t *bytes)
{
    bool *sound = context;
    (void)bytes;
    *sound |= page->number > 0 && page->fits;
    return MP_OK;
}

enum mp_error wal_check(const char *path, char words[FAULT_TEXT], struct fault *fault)
{
    struct wal_look look;
    bool sound = false;
    words[0] = '\0';
    enum mp_error error = wal_walk(path, &look, note_sound, &sound, fault);
    if (error)
        return error;
    if (!look.there)
        return look.known == 0 ? MP_OK
                               : fault_set(fault, MP_ERR_DAMAGED, "%s-wal: the log is gone, and %u pages of it with it",
                                           path, look.known);
    if (!look.header_fits) {
        if (!sound)
            return MP_OK;
        return fault_set(fault, MP_ERR_DAMAGED,
                         "%s-wal: the log's header is damaged, and %u pages behind it would be lost", path, look.pages);
    }
    if (look.misfit != UINT32_MAX && look.behind >= 2)
        return fault_set(fault, MP_ERR_DAMAGED,
                         "%s-wal: the log is damaged at page %u, and %u turns from there on would be lost", path,
                         look.misfit + 1, look.behind);
    if (look.known > look.served)
        return fault_set(fault, MP_ERR_DAMAGED,
                         "%s-wal: the log is damaged: %u pages were on the disk, and it is sound up to page %u", path,
                         look.known, look.served);
    if ((look.misfit != UINT32_MAX && look.behind > 0) || look.cut)
        snprintf(
            words, FAULT_TEXT,
            "%s-wal: the last turn in the log is not whole, as it is when power fails while it is written: nothing "
            "of it is served",
            path);
    return MP_OK;
}

/* A relay that is there writes: what is read of its log and of the index beside it does not fit together. */
static bool is_held(const char *path)
{
    long holder = store_holder(path);
    return holder > 0 && (kill((pid_t)holder, 0) == 0 || errno == EPERM);
}

enum mp_error wal_check_at_rest(const char *path, struct fault *fault)
{
    char words[FAULT_TEXT], name[PATH_BYTES];
    if (is_held(path) || snprintf(name, sizeof name, "%s.lock", path) >= (int)sizeof name)
        return MP_OK;
    enum mp_error error = wal_check(path, words, NULL);
    if (error != MP_ERR_DAMAGED)
        return MP_OK; /* what else is wrong SQLite tells */
    /* The lock is taken only now: a relay that begins just then does so in vain in any case. */
    int lock = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool begun = lock >= 0 && flock(lock, LOCK_SH | LOCK_NB) != 0;
    struct fault detail = {0};
    error = begun ? MP_OK : wal_check(path, words, &detail);
    if (lock >= 0)
        close(lock);
    if (error != MP_ERR_DAMAGED)
        return MP_OK;
    return fault_set(fault, error, "%s: `mrelay salvage FILE --store %s` takes what is sound into a new store",
                     fault_text(&detail), path);
}
