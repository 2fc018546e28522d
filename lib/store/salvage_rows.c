/* From cells to rows: which of them count, and their bytes. */
#include "store/salvage_private.h"

#include "message/frame.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHAIN_BYTES = STORE_PAGE - 4 }; /* of a payload on a page of overflow */

/* ---- what does not fit on its page ---------------------------------------------------------------------------- */

/* One way through the pages of a payload. */
struct way {
    uint32_t first;    /* page */
    bool mapped;       /* by the map of pages, not by what the pages say of the next */
    uint32_t other;    /* for this page of the chain, from 0 on, */
    place instead;     /* this version is taken; NO_PLACE: none */
    uint32_t pages;    /* how many it has gone through */
    uint32_t *through; /* their numbers */
};

static uint32_t page_of(const struct salvage *salvage, place at)
{
    if (!(at & 1))
        return (uint32_t)((at >> 1) / STORE_PAGE) + 1;
    uint64_t number = ((at >> 1) - WAL_HEADER) / (WAL_PAGE_HEADER + STORE_PAGE);
    return number < salvage->logged_count ? salvage->logged[number].page : 0;
}

/* The page that the map says comes after PAGE, the first one above ABOVE; 0: none. */
static uint32_t child_of(const struct salvage *salvage, uint32_t page, uint32_t above)
{
    for (uint32_t i = above + 1; page != 0 && i <= salvage->pages; i++)
        if (salvage->flags[i] & PAGE_OVERFLOW && salvage->parent[i] == page)
            return i;
    return 0;
}

/* Reads what CELL has on other pages into salvage->row, behind what it has on its own. False: the chain breaks off. */
static bool follow(struct salvage *salvage, const struct cell *cell, struct way *way)
{
    uint8_t bytes[STORE_PAGE];
    uint32_t page = way->first;
    size_t left = (size_t)cell->payload - cell->local_size;
    salvage->row.size = cell->local_size;
    way->pages = 0;
    while (left > 0) {
        if (page == 0 || page > salvage->pages)
            return false;
        place at = way->pages == way->other && way->instead != NO_PLACE ? way->instead : salvage->current[page];
        if (!salvage_read(salvage, at, bytes))
            return false;
        size_t part = left < CHAIN_BYTES ? left : CHAIN_BYTES;
        memcpy(salvage->row.data + salvage->row.size, bytes + 4, part);
        salvage->row.size += part;
        left -= part;
        way->through[way->pages++] = page;
        page = way->mapped ? child_of(salvage, page, 0) : salvage_u32(bytes);
    }
    return true;
}

/* Whether the bytes of the frame are whole. */
static bool is_whole(const struct column *columns)
{
    struct frame frame;
    const struct column *bytes = &columns[8];
    return bytes->kind == 'B' && frame_open(&frame, bytes->bytes, bytes->size, true, NULL) == MP_OK;
}

static bool has_frame(enum salvage_table table)
{
    return table == SALVAGE_FRAMES || table == SALVAGE_SCHEDULE;
}

/* Takes apart what is in salvage->row. True: it is what was stored, but for *FITS. */
static bool judge(const struct salvage *salvage, const struct cell *cell, struct column columns[SALVAGE_COLUMNS],
                  bool *fits)
{
    *fits = false;
    if (!cell_columns(cell->table, cell->key, salvage->row.data, salvage->row.size, cell->payload, columns))
        return false;
    *fits = cell_fits(cell->table, columns);
    return has_frame(cell->table) ? is_whole(columns) : *fits;
}

/* Tries another version of each page of the chain that WAY has gone. */
static bool try_versions(struct salvage *salvage, const struct cell *cell, struct way *way,
                         struct column columns[SALVAGE_COLUMNS], bool *fits)
{
    uint32_t pages = way->pages;
    for (uint32_t i = 0; i < pages; i++) {
        uint32_t page = way->through[i];
        place places[2] = {page <= salvage->figures.pages ? (uint64_t)(page - 1) * STORE_PAGE << 1 : NO_PLACE,
                           NO_PLACE};
        way->other = i;
        for (size_t k = 0; k <= salvage->logged_count; k++) {
            place at = k == 0 ? places[0] : salvage->logged[k - 1].at;
            if (at == NO_PLACE || at == salvage->current[page] || (k > 0 && salvage->logged[k - 1].page != page))
                continue;
            way->instead = at;
            if (follow(salvage, cell, way) && judge(salvage, cell, columns, fits))
                return true;
        }
    }
    way->instead = NO_PLACE;
    return false;
}

static bool try_ways(struct salvage *salvage, const struct cell *cell, place page, bool hard, struct way *way,
                     struct column columns[SALVAGE_COLUMNS], bool *fits)
{
    way->first = cell->overflow;
    if (follow(salvage, cell, way) && judge(salvage, cell, columns, fits))
        return true;
    if (!hard)
        return false;
    if (try_versions(salvage, cell, way, columns, fits))
        return true;
    way->mapped = true;
    if (follow(salvage, cell, way) && judge(salvage, cell, columns, fits))
        return true;
    uint32_t leaf = page_of(salvage, page);
    for (uint32_t first = child_of(salvage, leaf, 0); first != 0; first = child_of(salvage, leaf, first)) {
        way->first = first;
        way->mapped = false;
        if (follow(salvage, cell, way) && judge(salvage, cell, columns, fits))
            return true;
    }
    return false;
}

bool salvage_gather(struct salvage *salvage, const struct cell *cell, place page, bool hard,
                    struct column columns[SALVAGE_COLUMNS], bool *fits)
{
    size_t most = ((size_t)cell->payload - cell->local_size) / CHAIN_BYTES + 1;
    *fits = false;
    if (most > salvage->pages) /* more than there is */
        return false;
    salvage->row.size = 0;
    if (buffer_reserve(&salvage->row, (size_t)cell->payload) ||
        buffer_append(&salvage->row, cell->local, cell->local_size))
        return false;
    if (cell_is_whole(cell))
        return judge(salvage, cell, columns, fits);
    struct way way = {.instead = NO_PLACE, .through = malloc(most * sizeof *way.through)};
    bool good = way.through && try_ways(salvage, cell, page, hard, &way, columns, fits);
    free(way.through);
    return good;
}

/* ---- which count ---------------------------------------------------------------------------------------------- */

/* Whether the row of FOUND is sound; one of a frame that is, in a row that is not, becomes SALVAGE_HURT. */
static bool is_sound(struct salvage *salvage, struct found *found, uint8_t *page)
{
    struct column columns[SALVAGE_COLUMNS];
    struct cell cell;
    bool fits;
    if (!salvage_read(salvage, found->page, page) ||
        !cell_parse(page, found->at, (enum salvage_table)found->table, &cell) || cell.key != found->key)
        return false;
    if (!salvage_gather(salvage, &cell, found->page, found->rank != SALVAGE_FREE, columns, &fits))
        return false;
    if (!fits)
        found->rank = SALVAGE_HURT;
    return fits || cell.table == SALVAGE_FRAMES;
}

/* Of COUNT cells of one key, the best first, finds the best that counts. False: there is none. */
static bool choose(struct salvage *salvage, const struct found *cells, size_t count, struct found *best, uint8_t *page)
{
    bool damaged = false, good = false, hurt = false;
    for (size_t i = 0; i < count && !good; i++) {
        struct found found = cells[i];
        bool sound = is_sound(salvage, &found, page);
        good = sound && found.rank != SALVAGE_HURT;
        damaged |= cells[i].rank == SALVAGE_LIVE && !good;
        if (good || (sound && !hurt))
            *best = found;
        hurt |= sound && !good;
    }
    salvage->figures.damaged[cells[0].table] += damaged;
    salvage->figures.gone[cells[0].table] += damaged && !good && !hurt;
    salvage->figures.sound[cells[0].table] += good || hurt;
    return good || hurt;
}

static enum mp_error keep_all(struct salvage *salvage, struct fault *fault)
{
    uint8_t *page = malloc(STORE_PAGE);
    if (!page)
        return fault_memory(fault);
    size_t kept = 0, end;
    for (size_t i = 0; i < salvage->found_count; i = end) {
        const struct found *first = &salvage->found[i];
        for (end = i + 1; end < salvage->found_count; end++)
            if (salvage->found[end].table != first->table || salvage->found[end].key != first->key)
                break;
        struct found best;
        if (choose(salvage, first, end - i, &best, page))
            salvage->found[kept++] = best;
    }
    salvage->found_count = kept;
    free(page);
    return kept > 0 ? MP_OK
                    : fault_set(fault, MP_ERR_DAMAGED, "%s: there is not one row of a store in it", salvage->path);
}

enum mp_error salvage_open(const char *path, store_progress *progress, void *context, struct salvage **result,
                           struct fault *fault)
{
    struct salvage *salvage = calloc(1, sizeof *salvage);
    if (!salvage)
        return fault_memory(fault);
    salvage->files[0] = salvage->files[1] = salvage->lock = -1;
    enum mp_error error = (salvage->path = strdup(path)) ? MP_OK : fault_memory(fault);
    if (error || (error = salvage_pages_open(salvage, fault)) ||
        (error = salvage_scan(salvage, progress, context, fault)) || (error = keep_all(salvage, fault))) {
        salvage_close(salvage);
        return error;
    }
    *result = salvage;
    return MP_OK;
}

void salvage_close(struct salvage *salvage)
{
    if (!salvage)
        return;
    for (unsigned i = 0; i < 2; i++)
        if (salvage->files[i] >= 0)
            close(salvage->files[i]);
    if (salvage->lock >= 0)
        close(salvage->lock);
    buffer_free(&salvage->row);
    buffer_free(&salvage->texts);
    free(salvage->found);
    free(salvage->logged);
    free(salvage->parent);
    free(salvage->flags);
    free(salvage->current);
    free(salvage->path);
    free(salvage);
}

const struct salvage_figures *salvage_figures(const struct salvage *salvage)
{
    return &salvage->figures;
}

/* ---- walks ---------------------------------------------------------------------------------------------------- */

/* Whether all but the bytes of the frame stand on the cell's own page. */
static bool is_there(const struct cell *cell, const struct column columns[SALVAGE_COLUMNS])
{
    const uint8_t *end = cell->local + cell->local_size;
    return has_frame(cell->table) && columns[8].bytes <= end &&
           (columns[7].kind != 'B' || (size_t)(end - columns[7].bytes) >= columns[7].size);
}

/* Reads the row of FOUND; WHOLE: with a frame's bytes. */
static bool read_row(struct salvage *salvage, size_t handle, bool whole, uint8_t *page, struct salvage_row *row)
{
    struct column columns[SALVAGE_COLUMNS];
    struct cell cell;
    const struct found *found = &salvage->found[handle];
    bool fits;
    if (!salvage_read(salvage, found->page, page) ||
        !cell_parse(page, found->at, (enum salvage_table)found->table, &cell))
        return false;
    if (whole || !cell_columns(cell.table, cell.key, cell.local, cell.local_size, cell.payload, columns) ||
        !is_there(&cell, columns)) {
        if (!salvage_gather(salvage, &cell, found->page, found->rank != SALVAGE_FREE, columns, &fits))
            return false;
    }
    *row = (struct salvage_row){
        .table = cell.table, .rank = (enum salvage_rank)found->rank, .key = found->key, .handle = handle};
    if (cell_row(cell.table, columns, &salvage->texts, row))
        return false;
    if (whole && cell.table == SALVAGE_FRAMES)
        row->of.frame.data = columns[8].bytes;
    if (whole && cell.table == SALVAGE_SCHEDULE)
        row->of.scheduled.data = columns[8].bytes;
    return true;
}

bool salvage_whole(struct salvage *salvage, size_t handle, struct salvage_row *row)
{
    uint8_t page[STORE_PAGE];
    return read_row(salvage, handle, true, page, row);
}

/* The first row of TABLE. */
static size_t begin_of(const struct salvage *salvage, enum salvage_table table)
{
    size_t low = 0, high = salvage->found_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (salvage->found[middle].table < (uint8_t)table)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

enum mp_error salvage_each(struct salvage *salvage, enum salvage_table table, enum salvage_rank rank,
                           enum mp_error (*each)(void *context, const struct salvage_row *row), void *context,
                           struct fault *fault)
{
    uint8_t *page = malloc(STORE_PAGE);
    enum mp_error error = page ? MP_OK : fault_memory(fault);
    for (size_t i = begin_of(salvage, table); !error && i < salvage->found_count; i++) {
        const struct found *found = &salvage->found[i];
        struct salvage_row row;
        if (found->table != (uint8_t)table)
            break;
        if (found->rank < (uint8_t)rank)
            continue;
        if (read_row(salvage, i, false, page, &row))
            error = each(context, &row);
    }
    free(page);
    return error;
}
