/*
 * wal.h: SQLite's write-ahead log as bytes (sqlite.org/fileformat2.html, 4), read without SQLite.
 *
 * SQLite ends a log where the first checksum does not fit, and takes what lies behind for what a crash left. After a
 * crash that is so. But where committed turns lie behind, they would vanish without a word: whoever opens a store
 * looks here first.
 */
#ifndef STORE_WAL_H
#define STORE_WAL_H

#include "base/fault.h"

#include <stdbool.h>

/* Bytes: the log's header, a frame's header before its page. */
enum { WAL_HEADER = 32, WAL_PAGE_HEADER = 24 };

/* One page in the log. */
struct wal_page {
    uint32_t number; /* from 0 */
    uint32_t page;   /* of the database that it is */
    uint32_t commit; /* pages of the database after the transaction that ends with it; 0: it ends none */
    uint64_t
        writing; /* its salts, as one number: those of one writing of the log, from its beginning on, are the same */
    bool fits;   /* its checksum follows from what the one before it says */
    bool whole;  /* the file does not end inside it */
    uint64_t position; /* of the page's bytes in the file */
};

/* What the log as a whole says. */
struct wal_look {
    bool there; /* there is a log with something in it */
    bool header_fits;
    uint64_t writing; /* the salts of the newest writing: of the header, or of the first pages where that is damaged */
    uint32_t pages;   /* that are there, of any writing */
    uint32_t served;  /* pages that SQLite takes: up to the last transaction that is whole and fits */
    uint32_t
        newest; /* pages up to the last one of the newest writing that ends a transaction, whether they fit or not */
    uint32_t misfit; /* the first page of the newest writing that does not fit; UINT32_MAX: none */
    uint32_t behind; /* transactions that end at or behind it */
    uint32_t known;  /* pages that had been flushed when the shared index was last written; 0: it does not say */
    bool cut;        /* it ends inside a page */
};

/*
 * Reads the log of the store at PATH page by page, and calls EACH, if it is not NULL, for every one of them, with its
 * STORE_PAGE bytes (what the file lacks of the last one is zero). No log: MP_OK, nothing there. MP_ERR_IO, MP_ERR_MEMORY, or what EACH returns.
 */
enum mp_error wal_walk(const char *path, struct wal_look *look,
                       enum mp_error (*each)(void *context, const struct wal_page *page, const uint8_t *bytes),
                       void *context, struct fault *fault);

/*
 * Whether turns that were committed would be lost if SQLite opened the store at PATH: MP_ERR_DAMAGED says what is damaged.
 * What a crash can have left is in order, but WORDS (if it is not empty afterwards) has to be told.
 */
enum mp_error wal_check(const char *path, char words[FAULT_TEXT], struct fault *fault);

/*
 * The same for who only reads it, when no relay has the store: what it would not see is no beginning of what was
 * committed; and SQLite writes the shared index anew for it, after which nobody knows how long the log has to be.
 */
enum mp_error wal_check_at_rest(const char *path, struct fault *fault);

#endif
