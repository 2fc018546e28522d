/* Which page is where, and what it is for. */
#include "store/salvage_private.h"

#include "base/file.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PATH_BYTES = 4200,
    MAP_ENTRY = 5, /* of the map of pages: what the page is, and the page that points to it */
    MAP_ENTRIES = STORE_PAGE / MAP_ENTRY,
    MAP_ROOT = 1,
    MAP_FREE = 2,
    MAP_FIRST_OVERFLOW = 3,
    MAP_OVERFLOW = 4,
    MAP_BTREE = 5,
    AT_LARGEST_ROOT = 52, /* of the file's header: not 0 where there is a map */
    FILE_HEADER = 100,
    PENDING_PAGE = 0x40000000 / STORE_PAGE + 1 /* never used: SQLite's locks are there */
};

bool salvage_read(const struct salvage *salvage, place at, uint8_t *bytes)
{
    int descriptor = salvage->files[at & 1];
    ssize_t got = at != NO_PLACE && descriptor >= 0 ? file_read_at(descriptor, bytes, STORE_PAGE, at >> 1) : 0;
    size_t done = got > 0 ? (size_t)got : 0;
    memset(bytes + done, 0, STORE_PAGE - done);
    return got >= 0 && at != NO_PLACE;
}

/* ---- files ---------------------------------------------------------------------------------------------------- */

static int open_beside(const char *path, const char *ending)
{
    char name[PATH_BYTES];
    int size = snprintf(name, sizeof name, "%s%s", path, ending);
    if (size < 0 || (size_t)size >= sizeof name)
        return -1;
    return open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

/* A relay holds the lock; the file that it leaves is not changed. */
static enum mp_error hold_lock(struct salvage *salvage, struct fault *fault)
{
    salvage->lock = open_beside(salvage->path, ".lock");
    if (salvage->lock < 0 || flock(salvage->lock, LOCK_SH | LOCK_NB) == 0)
        return MP_OK;
    return fault_set(fault, MP_ERR_BUSY, "%s: a relay has it, process %ld: end it first", salvage->path,
                     store_holder(salvage->path));
}

static enum mp_error open_files(struct salvage *salvage, struct fault *fault)
{
    struct stat status;
    salvage->files[0] = open_beside(salvage->path, "");
    if (salvage->files[0] < 0)
        return fault_system(fault,
                            errno == ENOENT || errno == ENOTDIR ? MP_ERR_NOT_FOUND
                            : errno == EACCES                   ? MP_ERR_DENIED
                                                                : MP_ERR_IO,
                            errno, "cannot read %s", salvage->path);
    if (fstat(salvage->files[0], &status) != 0 || !S_ISREG(status.st_mode))
        return fault_set(fault, MP_ERR_INVALID, "%s: not a store: not a regular file", salvage->path);
    salvage->figures.pages = ((uint64_t)status.st_size + STORE_PAGE - 1) / STORE_PAGE;
    salvage->files[1] = open_beside(salvage->path, "-wal");
    return hold_lock(salvage, fault);
}

/* ---- the log -------------------------------------------------------------------------------------------------- */

struct noting {
    struct salvage *salvage;
    uint64_t *writings; /* by page in the log */
    size_t capacity;
};

static enum mp_error note_page(void *context, const struct wal_page *page, const uint8_t *bytes)
{
    struct noting *noting = context;
    struct salvage *salvage = noting->salvage;
    (void)bytes;
    if (salvage->logged_count == salvage->logged_capacity) {
        size_t capacity = salvage->logged_capacity ? salvage->logged_capacity * 2 : 1024;
        struct logged *logged = realloc(salvage->logged, capacity * sizeof *logged);
        uint64_t *writings = logged ? realloc(noting->writings, capacity * sizeof *writings) : NULL;
        if (logged)
            salvage->logged = logged;
        if (!writings)
            return MP_ERR_MEMORY;
        noting->writings = writings;
        salvage->logged_capacity = capacity;
    }
    noting->writings[salvage->logged_count] = page->writing;
    salvage->logged[salvage->logged_count++] =
        (struct logged){.page = page->page, .number = page->number, .at = page->position << 1 | 1};
    return MP_OK;
}

static enum mp_error read_log(struct salvage *salvage, struct fault *fault)
{
    struct noting noting = {.salvage = salvage};
    struct wal_look look;
    enum mp_error error = wal_walk(salvage->path, &look, note_page, &noting, fault);
    for (size_t i = 0; !error && i < salvage->logged_count; i++) {
        struct logged *logged = &salvage->logged[i];
        logged->newest = noting.writings[i] == look.writing;
        logged->committed = logged->newest && i < look.newest;
    }
    free(noting.writings);
    salvage->figures.log_pages = salvage->logged_count;
    salvage->figures.log_damaged =
        look.there && (!look.header_fits || look.known > look.served || (look.misfit != UINT32_MAX && look.behind > 0));
    return error;
}

/* What lies beyond the file and the log was never a page: its number is damaged. */
static enum mp_error place_pages(struct salvage *salvage, struct fault *fault)
{
    uint64_t most = salvage->figures.pages + salvage->logged_count;
    if (most > UINT32_MAX - 1)
        most = UINT32_MAX - 1;
    salvage->pages = (uint32_t)salvage->figures.pages;
    for (size_t i = 0; i < salvage->logged_count; i++) {
        struct logged *logged = &salvage->logged[i];
        if (logged->page > most)
            logged->page = 0;
        if (logged->page > salvage->pages)
            salvage->pages = logged->page;
    }
    size_t room = (size_t)salvage->pages + 1;
    salvage->current = malloc(room * sizeof *salvage->current);
    salvage->flags = calloc(room, 1);
    salvage->parent = calloc(room, sizeof *salvage->parent);
    if (!salvage->current || !salvage->flags || !salvage->parent)
        return fault_memory(fault);
    salvage->current[0] = NO_PLACE;
    for (uint32_t page = 1; page <= salvage->pages; page++)
        salvage->current[page] = page <= salvage->figures.pages ? (uint64_t)(page - 1) * STORE_PAGE << 1 : NO_PLACE;
    for (size_t i = 0; i < salvage->logged_count; i++)
        if (salvage->logged[i].committed)
            salvage->current[salvage->logged[i].page] = salvage->logged[i].at;
    salvage->current[0] = NO_PLACE;
    return MP_OK;
}

/* ---- what pages are for --------------------------------------------------------------------------------------- */

/* The page of the map that tells of PAGE. */
static uint32_t map_page(uint32_t page)
{
    uint32_t map = (page - 2) / (MAP_ENTRIES + 1) * (MAP_ENTRIES + 1) + 2;
    return map == PENDING_PAGE ? map + 1 : map;
}

static void read_map(struct salvage *salvage)
{
    uint8_t bytes[STORE_PAGE];
    uint32_t held = 0;
    if (!salvage_read(salvage, salvage->pages > 0 ? salvage->current[1] : NO_PLACE, bytes))
        return;
    bool sqlite = memcmp(bytes, "SQLite format 3", 16) == 0;
    if (sqlite && salvage_u32(bytes + AT_LARGEST_ROOT) == 0)
        return;
    for (uint32_t page = 3; page <= salvage->pages; page++) {
        uint32_t map = map_page(page);
        if (page <= map)
            continue;
        if (map != held)
            salvage_read(salvage, salvage->current[map], bytes);
        held = map;
        const uint8_t *entry = bytes + (size_t)(page - map - 1) * MAP_ENTRY;
        uint8_t kind = entry[0], flags = 0;
        if (kind == MAP_ROOT || kind == MAP_BTREE)
            flags = PAGE_BTREE | PAGE_MAPPED;
        else if (kind == MAP_FREE)
            flags = PAGE_FREE | PAGE_MAPPED;
        else if (kind == MAP_FIRST_OVERFLOW || kind == MAP_OVERFLOW)
            flags = PAGE_OVERFLOW | PAGE_MAPPED;
        salvage->flags[page] |= flags;
        if (flags & PAGE_OVERFLOW)
            salvage->parent[page] = salvage_u32(entry + 1);
    }
}

/* Pages that are to be gone into. */
struct stack {
    uint32_t *pages;
    size_t count, capacity;
};

static bool push(struct salvage *salvage, struct stack *stack, uint32_t page)
{
    if (page == 0 || page > salvage->pages || salvage->flags[page] & PAGE_REACHED)
        return true;
    if (stack->count == stack->capacity) {
        uint32_t *pages = memory_grow(stack->pages, &stack->capacity, sizeof *pages, 256);
        if (!pages)
            return false;
        stack->pages = pages;
    }
    salvage->flags[page] |= PAGE_REACHED;
    stack->pages[stack->count++] = page;
    return true;
}

/* Pages below an interior page. */
static bool push_children(struct salvage *salvage, struct stack *stack, const uint8_t *bytes)
{
    enum { HEADER = 12 };
    size_t cells = salvage_u16(bytes + 3);
    if (cells > (STORE_PAGE - HEADER) / 2)
        cells = (STORE_PAGE - HEADER) / 2;
    bool room = push(salvage, stack, salvage_u32(bytes + 8));
    for (size_t i = 0; room && i < cells; i++) {
        size_t at = salvage_u16(bytes + HEADER + i * 2);
        if (at + 4 <= STORE_PAGE)
            room = push(salvage, stack, salvage_u32(bytes + at));
    }
    return room;
}

/* The roots of tables and indexes are in the fourth column of the rows of the first page. */
static bool push_roots(struct salvage *salvage, struct stack *stack, const uint8_t *bytes)
{
    size_t cells = salvage_u16(bytes + FILE_HEADER + 3);
    bool room = true;
    for (size_t i = 0; room && i < cells && FILE_HEADER + 8 + i * 2 + 2 <= STORE_PAGE; i++) {
        uint32_t root = cell_root(bytes, salvage_u16(bytes + FILE_HEADER + 8 + i * 2));
        room = push(salvage, stack, root);
    }
    return room;
}

static enum mp_error reach_pages(struct salvage *salvage, struct fault *fault)
{
    uint8_t bytes[STORE_PAGE];
    struct stack stack = {0};
    bool room = true;
    if (salvage->pages > 0 && salvage_read(salvage, salvage->current[1], bytes))
        room = push_roots(salvage, &stack, bytes);
    while (room && stack.count > 0) {
        uint32_t page = stack.pages[--stack.count];
        if (salvage_read(salvage, salvage->current[page], bytes) &&
            (bytes[0] == PAGE_TABLE_INTERIOR || bytes[0] == PAGE_INDEX_INTERIOR))
            room = push_children(salvage, &stack, bytes);
    }
    free(stack.pages);
    return room ? MP_OK : fault_memory(fault);
}

enum mp_error salvage_pages_open(struct salvage *salvage, struct fault *fault)
{
    enum mp_error error;
    if ((error = open_files(salvage, fault)) || (error = read_log(salvage, fault)) ||
        (error = place_pages(salvage, fault)))
        return error;
    read_map(salvage);
    return reach_pages(salvage, fault);
}
