/* Looks for rows on all pages. */
#include "store/salvage_private.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

enum { LEAF_HEADER = 8, INTERIOR_HEADER = 12, STEP = 256 };

/* A page that is being looked at. */
struct look {
    struct salvage *salvage;
    place at;
    uint32_t when;
    bool live;              /* if it is damaged, rows that its directory does not name are looked for as well */
    enum salvage_rank rank; /* of what its directory names */
    uint8_t bytes[STORE_PAGE];
    uint8_t covered[STORE_PAGE];   /* enum coverage */
    size_t named;                  /* bytes of cells that the directory names; SIZE_MAX: it is damaged */
    unsigned rows[SALVAGE_TABLES]; /* sound ones that it names */
};

enum coverage { IS_NAMED = 1, IS_SOUND = 2 }; /* part of a cell that the directory names; of a row that is sound */

static enum mp_error note_row(const struct look *look, const struct cell *cell, size_t at, enum salvage_rank rank)
{
    struct salvage *salvage = look->salvage;
    if (salvage->found_count == salvage->found_capacity) {
        struct found *found = memory_grow(salvage->found, &salvage->found_capacity, sizeof *found, 4096);
        if (!found)
            return MP_ERR_MEMORY;
        salvage->found = found;
    }
    salvage->found[salvage->found_count++] = (struct found){.key = cell->key,
                                                            .page = look->at,
                                                            .when = look->when,
                                                            .at = (uint16_t)at,
                                                            .table = (uint8_t)cell->table,
                                                            .rank = (uint8_t)rank};
    return MP_OK;
}

/* Whether the cell is a row that fits, as far as that can be told here. */
static bool is_sound(const struct cell *cell)
{
    struct column columns[SALVAGE_COLUMNS];
    return !cell_is_whole(cell) ||
           (cell_columns(cell->table, cell->key, cell->local, cell->local_size, cell->payload, columns) &&
            cell_fits(cell->table, columns));
}

static void cover(struct look *look, size_t at, size_t size, enum coverage how)
{
    for (size_t i = at; i < at + size; i++)
        look->covered[i] |= (uint8_t)how;
}

static bool is_leaf(const struct look *look)
{
    return look->bytes[0] == PAGE_TABLE_LEAF || look->bytes[0] == PAGE_INDEX_LEAF;
}

/* Bytes of the cells that the directory, CELLS long, names. SIZE_MAX: it is damaged. */
static size_t named_bytes(struct look *look, size_t header, size_t cells, size_t content)
{
    size_t all = 0;
    for (size_t i = 0; i < cells; i++) {
        size_t at = salvage_u16(look->bytes + header + i * 2), size = cell_size(look->bytes, at);
        if (at < content || size == 0 || size > STORE_PAGE - at)
            return SIZE_MAX;
        for (size_t byte = at; byte < at + size; byte++)
            if (look->covered[byte] & IS_NAMED)
                return SIZE_MAX;
        cover(look, at, size, IS_NAMED);
        all += size;
    }
    return all;
}

/*
 * Whether the page's account is right (sqlite.org/fileformat2.html, 1.6): what its directory names, and the free bytes that
 * it tells of, are all that there is behind where its content begins. Then there is no row but those; and what may look
 * like one between the directory and them is of what the page was before, the body of a message, say.
 */
static bool is_accounted(struct look *look)
{
    enum { BLOCK_LEAST = 4, AT_BLOCK = 1, AT_CELLS = 3, AT_CONTENT = 5, AT_FRAGMENTS = 7 };
    const uint8_t *bytes = look->bytes;
    bool interior = bytes[0] == PAGE_TABLE_INTERIOR || bytes[0] == PAGE_INDEX_INTERIOR;
    size_t header = interior ? INTERIOR_HEADER : LEAF_HEADER, cells = salvage_u16(bytes + AT_CELLS), next;
    size_t content = salvage_u16(bytes + AT_CONTENT), free = bytes[AT_FRAGMENTS];
    if ((!interior && !is_leaf(look)) || content < header + cells * 2 || content > STORE_PAGE)
        return false;
    for (size_t block = salvage_u16(bytes + AT_BLOCK); block != 0; block = next) {
        if (block < content || block + BLOCK_LEAST > STORE_PAGE)
            return false;
        next = salvage_u16(bytes + block);
        size_t size = salvage_u16(bytes + block + 2);
        if (size < BLOCK_LEAST || size > STORE_PAGE - block || (next != 0 && next < block + size))
            return false;
        free += size;
    }
    size_t named = named_bytes(look, header, cells, content);
    return named != SIZE_MAX && content + named + free == STORE_PAGE;
}

/*
 * Whose rows the page has: those of one table, as most of them say. SALVAGE_TABLES: nobody knows. That it is an index's, as
 * the one table is that we have without SQLite's keys, counts where a row of that is there: it may be what is damaged.
 */
static enum salvage_table table_of(const struct look *look)
{
    enum salvage_table best = SALVAGE_TABLES;
    for (unsigned i = 0; i < SALVAGE_TABLES; i++)
        if (look->rows[i] > 0 && (best == SALVAGE_TABLES || look->rows[i] > look->rows[best]))
            best = (enum salvage_table)i;
    return look->bytes[0] == PAGE_INDEX_LEAF && look->rows[SALVAGE_NUMBERS] > 0 ? SALVAGE_NUMBERS : best;
}

/* Rows that the page's directory names. */
static enum mp_error look_up(struct look *look)
{
    const uint8_t *bytes = look->bytes;
    size_t cells = salvage_u16(bytes + 3);
    enum mp_error error = MP_OK;
    if (cells > (STORE_PAGE - LEAF_HEADER) / 2)
        cells = (STORE_PAGE - LEAF_HEADER) / 2;
    for (size_t i = 0; !error && i < cells; i++) {
        struct cell cell;
        size_t at = salvage_u16(bytes + LEAF_HEADER + i * 2);
        bool index = bytes[0] == PAGE_INDEX_LEAF;
        if (!cell_parse(bytes, at, index ? SALVAGE_NUMBERS : SALVAGE_TABLES, &cell)) {
            look->salvage->figures.nothing += look->live && bytes[0] == PAGE_TABLE_LEAF;
            continue;
        }
        error = note_row(look, &cell, at, look->rank);
        if (!is_sound(&cell))
            continue;
        cover(look, at, cell.size, IS_SOUND);
        look->rows[cell.table]++;
    }
    return error;
}

/* Rows that begin anywhere, on a page that is damaged. */
static enum mp_error look_everywhere(struct look *look)
{
    enum salvage_table table = table_of(look);
    enum mp_error error = MP_OK;
    for (size_t at = 0; !error && at < STORE_PAGE; at++) {
        struct cell cell;
        if (look->covered[at] & IS_SOUND || !cell_parse(look->bytes, at, table, &cell))
            continue;
        error = note_row(look, &cell, at, SALVAGE_LOOSE); /* one that was deleted may reach into the next */
    }
    return error;
}

static enum mp_error look_at(struct look *look, place at, uint32_t when)
{
    look->at = at;
    look->when = when;
    if (!salvage_read(look->salvage, at, look->bytes)) {
        look->salvage->figures.unreadable++;
        return MP_OK;
    }
    enum mp_error error = MP_OK;
    memset(look->covered, 0, sizeof look->covered);
    memset(look->rows, 0, sizeof look->rows);
    if (is_leaf(look))
        error = look_up(look);
    return error || !look->live || is_accounted(look) ? error : look_everywhere(look);
}

/* The newest version of a page that was committed. */
static enum mp_error look_at_current(struct look *look, uint32_t page, place at, uint32_t when)
{
    uint8_t flags = look->salvage->flags[page];
    look->live = page > 1 && (flags & PAGE_BTREE || (flags & PAGE_REACHED && !(flags & PAGE_OVERFLOW)));
    look->rank = look->live ? SALVAGE_LIVE : SALVAGE_FREE;
    return look_at(look, at, when);
}

static enum mp_error look_at_old(struct look *look, enum salvage_rank rank, place at, uint32_t when)
{
    look->live = false;
    look->rank = rank;
    return look_at(look, at, when);
}

static bool go_on(const struct salvage *salvage, uint64_t done, store_progress *progress, void *context)
{
    return !progress || done % STEP != 0 || progress(context, done, salvage->figures.pages + salvage->logged_count);
}

/* By table and key, the best first; what is found in one place twice stands together. */
static int compare(const void *one, const void *two)
{
    const struct found *a = one, *b = two;
    if (a->table != b->table)
        return a->table < b->table ? -1 : 1;
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    if (a->rank != b->rank)
        return a->rank > b->rank ? -1 : 1;
    if (a->when != b->when)
        return a->when > b->when ? -1 : 1;
    if (a->page != b->page)
        return a->page < b->page ? -1 : 1;
    return a->at < b->at ? -1 : a->at > b->at;
}

enum mp_error salvage_scan(struct salvage *salvage, store_progress *progress, void *context, struct fault *fault)
{
    struct look *look = malloc(sizeof *look);
    enum mp_error error = look ? MP_OK : MP_ERR_MEMORY;
    uint64_t done = 0;
    if (look)
        look->salvage = salvage;
    for (uint32_t page = 1; !error && page <= salvage->figures.pages; page++) {
        place at = (uint64_t)(page - 1) * STORE_PAGE << 1;
        error = salvage->current[page] == at ? look_at_current(look, page, at, 0)
                                             : look_at_old(look, SALVAGE_EARLIER, at, 0);
        if (!error && !go_on(salvage, ++done, progress, context))
            error = fault_set(fault, MP_ERR_INTERRUPTED, "interrupted");
    }
    for (size_t i = 0; !error && i < salvage->logged_count; i++) {
        const struct logged *logged = &salvage->logged[i];
        uint32_t when = logged->number + 1;
        if (salvage->current[logged->page] == logged->at)
            error = look_at_current(look, logged->page, logged->at, when);
        else
            error = look_at_old(look, logged->committed ? SALVAGE_EARLIER : SALVAGE_STALE, logged->at, when);
        if (!error && !go_on(salvage, ++done, progress, context))
            error = fault_set(fault, MP_ERR_INTERRUPTED, "interrupted");
    }
    free(look);
    if (!error && salvage->found_count > 0)
        qsort(salvage->found, salvage->found_count, sizeof *salvage->found, compare);
    return error == MP_ERR_MEMORY ? fault_memory(fault) : error;
}
