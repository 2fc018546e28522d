/* salvage_private.h: what the files of the salvage share. */
#ifndef STORE_SALVAGE_PRIVATE_H
#define STORE_SALVAGE_PRIVATE_H

#include "store/private.h"
#include "store/salvage.h"
#include "store/wal.h"

#include "base/buffer.h"

/* A place in one of the two files: bytes from its beginning, times two, plus one for the log. */
typedef uint64_t place;
#define NO_PLACE UINT64_MAX

/* A page in the log. */
struct logged {
    uint32_t page; /* 0: what its head says makes no sense */
    uint32_t number;
    place at;
    bool newest;    /* of the newest writing of the log */
    bool committed; /* and of a turn that was */
};

/* A row that was found: where its cell is, and on what. */
struct found {
    int64_t key;
    place page;    /* of the page's bytes */
    uint32_t when; /* the number of the page in the log, and one; 0: in the file */
    uint16_t at;   /* of the cell */
    uint8_t table;
    uint8_t rank;
};

enum page_flags { PAGE_REACHED = 1, PAGE_BTREE = 2, PAGE_FREE = 4, PAGE_MAPPED = 8, PAGE_OVERFLOW = 16 };

struct salvage {
    char *path;
    int files[2]; /* the database, the log; -1: none */
    int lock;
    uint32_t pages;   /* their numbers go from 1 to this */
    place *current;   /* by page number: its newest version that was committed */
    uint8_t *flags;   /* by page number: what points to it */
    uint32_t *parent; /* by page number: the page before it in a chain, as the map of pages says; 0: none */
    struct logged *logged;
    size_t logged_count, logged_capacity;
    struct found *found;
    size_t found_count, found_capacity;
    struct salvage_figures figures;
    struct buffer row, texts; /* of the row that was read last */
};

/* ---- pages (salvage_pages.c) */

/* Opens the files and learns which page is where. */
enum mp_error salvage_pages_open(struct salvage *salvage, struct fault *fault);
/* Reads STORE_PAGE bytes; what is not there is zero. False: the disk does not give them. */
bool salvage_read(const struct salvage *salvage, place at, uint8_t *bytes);
static inline uint32_t salvage_u32(const uint8_t *at)
{
    return (uint32_t)load_big(at, 4);
}
static inline uint16_t salvage_u16(const uint8_t *at)
{
    return (uint16_t)load_big(at, 2);
}

/* ---- cells (salvage_cells.c) */

/* What a page of a table or an index says of itself with its first byte. */
enum { PAGE_INDEX_INTERIOR = 2, PAGE_TABLE_INTERIOR = 5, PAGE_INDEX_LEAF = 10, PAGE_TABLE_LEAF = 13 };

struct column {
    char kind; /* N: a number, T: text, B: bytes, 0: nothing */
    int64_t number;
    const uint8_t *bytes;
    size_t size;
};
enum { SALVAGE_COLUMNS = 17 };

/* A cell of a table, as far as it stands on its page. */
struct cell {
    enum salvage_table table;
    int64_t key;
    uint64_t payload; /* bytes in all */
    const uint8_t *local;
    size_t local_size;
    uint32_t overflow; /* the page on which it goes on, if it is not whole */
    size_t size;       /* bytes that it has on its page */
};

/* Whether all of it stands on its page. One that goes on elsewhere may say that it does on page 0, by damage. */
static inline bool cell_is_whole(const struct cell *cell)
{
    return cell->local_size == cell->payload;
}

/* Bytes that the cell at AT has on PAGE, which says by its first byte of what kind it is; 0: it does not end there. */
size_t cell_size(const uint8_t *page, size_t at);
/* The cell at AT of PAGE that TABLE can have (SALVAGE_TABLES: any); false: there is none. */
bool cell_parse(const uint8_t *page, size_t at, enum salvage_table table, struct cell *cell);
/*
 * Takes apart the payload of a row of TABLE, of whose ALL bytes SIZE are there; false: it is none. Where not all are,
 * numbers may be zero, and bytes fewer than their size says.
 */
bool cell_columns(enum salvage_table table, int64_t key, const uint8_t *payload, size_t size, uint64_t all,
                  struct column columns[SALVAGE_COLUMNS]);
/* Whether the checksum of the row, which is there as a whole, fits; of a frame, with what its bytes say of themselves. */
bool cell_fits(enum salvage_table table, const struct column columns[SALVAGE_COLUMNS]);
/* The page that a row of SQLite's own table, at AT of the first page, names as a root; 0: none. */
uint32_t cell_root(const uint8_t *page, size_t at);
/* ROW as the store gives it; its texts are in TEXTS, its bytes where the columns are. MP_ERR_MEMORY. */
enum mp_error cell_row(enum salvage_table table, const struct column columns[SALVAGE_COLUMNS], struct buffer *texts,
                       struct salvage_row *row);

/* ---- rows (salvage_rows.c) */

/*
 * Gathers the payload of CELL, which stands on PAGE, into salvage->row and takes it apart. Of a frame it is tried whatever way through
 * the pages it takes until its own checksum fits: HARD: all of them. False: it cannot be had. *FITS: the row's checksum does
 * as well.
 */
bool salvage_gather(struct salvage *salvage, const struct cell *cell, place page, bool hard,
                    struct column columns[SALVAGE_COLUMNS], bool *fits);

/* ---- the scan (salvage_scan.c) */

/* Finds what may be rows, in the order of their tables and keys, the best of a key first. */
enum mp_error salvage_scan(struct salvage *salvage, store_progress *progress, void *context, struct fault *fault);

#endif
