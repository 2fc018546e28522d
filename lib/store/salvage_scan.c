/* Looks for rows on all pages. */
#include "store/salvage_private.h"

#include <stdlib.h>
#include <string.h>

enum { TABLE_LEAF = 13, INDEX_LEAF = 10, LEAF_HEADER = 8, STEP = 256 };

/* A page that is being looked at. */
struct look {
    struct salvage *salvage;
    place at;
    uint32_t when;
    bool live;              /* rows in its free bytes are looked for as well */
    enum salvage_rank rank; /* of what its directory names */
    uint8_t bytes[STORE_PAGE];
    uint8_t covered[STORE_PAGE]; /* 1: part of a row that was found */
};

static enum mp_error note_row(const struct look *look, const struct cell *cell, size_t at, enum salvage_rank rank)
{
    struct salvage *salvage = look->salvage;
    if (salvage->found_count == salvage->found_capacity) {
        size_t capacity = salvage->found_capacity ? salvage->found_capacity * 2 : 4096;
        struct found *found = realloc(salvage->found, capacity * sizeof *found);
        if (!found)
            return MP_ERR_MEMORY;
        salvage->found = found;
        salvage->found_capacity = capacity;
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
        bool index = bytes[0] == INDEX_LEAF;
        if (!cell_parse(bytes, at, index ? SALVAGE_NUMBERS : SALVAGE_TABLES, &cell)) {
            look->salvage->figures.nothing += look->live && bytes[0] == TABLE_LEAF;
            continue;
        }
        error = note_row(look, &cell, at, look->rank);
        if (is_sound(&cell))
            memset(look->covered + at, 1, cell.size);
    }
    return error;
}

/* Rows that begin anywhere. */
static enum mp_error look_everywhere(struct look *look)
{
    enum mp_error error = MP_OK;
    for (size_t at = 0; !error && at < STORE_PAGE; at++) {
        struct cell cell;
        if (look->covered[at] || !cell_parse(look->bytes, at, SALVAGE_TABLES, &cell))
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
    if (look->live)
        memset(look->covered, 0, sizeof look->covered);
    enum mp_error error = MP_OK;
    if (look->bytes[0] == TABLE_LEAF || look->bytes[0] == INDEX_LEAF)
        error = look_up(look);
    return error || !look->live ? error : look_everywhere(look);
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
