/*
 * Cells of our tables, as they stand on pages (sqlite.org/fileformat2.html, 1.6 and 2.1), and the rows in them.
 *
 * A row is a header (its own size, then the type of each column) and the columns. Everything here reads bytes that can be
 * anything.
 */
#include "store/salvage_private.h"

#include "message/frame.h"

#include <string.h>

/*
 * The columns of each table as they are in the file. K: the key, which is in the cell; N, T, B: a number, text, bytes;
 * n, t, b: the same, of a later version, and missing in rows from before; C: the row's checksum; F: the bytes of a frame.
 */
static const struct {
    const char *name;
    const char *columns;
    unsigned least; /* columns that every row has */
} tables[SALVAGE_TABLES] = {
    [SALVAGE_NUMBERS] = {"numbers", "TNC", 3},
    [SALVAGE_TOPICS] = {"topics", "KTNNNCtnb", 6},
    [SALVAGE_PATTERNS] = {"patterns", "KTTNCt", 5},
    [SALVAGE_GROUPS] = {"groups", "KNTNNNNNNNCtbn", 11},
    [SALVAGE_SESSIONS] = {"sessions", "KNNNNNNNNNNCn", 12},
    [SALVAGE_BLOCKS] = {"blocks", "KBC", 3},
    [SALVAGE_FRAMES] = {"frames", "KNNNNCnbF", 7},
    [SALVAGE_EVENTS] = {"events", "KNNNNNNNNNNNNCnbb", 14},
    [SALVAGE_SCHEDULE] = {"schedule", "KNNNNNNCF", 9},
    [SALVAGE_HASHES] = {"hashes", "KNNCB", 5},
};
/* Of a file that was brought up from version 1: what came later stands behind the frame. */
static const char old_frames[] = "KNNNNCFnb";

/* Bytes of a row that stand on its page, at most, and at least when the rest lies elsewhere. */
enum {
    LOCAL_MOST = STORE_PAGE - 35,
    LOCAL_LEAST = (STORE_PAGE - 12) * 32 / 255 - 23,
    INDEX_MOST = (STORE_PAGE - 12) * 64 / 255 - 23
};

const char *salvage_table_name(enum salvage_table table)
{
    return tables[table].name;
}

/* A number of 1 to 9 bytes; 0 bytes: it does not end. */
static size_t take_varint(const uint8_t *at, size_t left, uint64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < 9 && i < left; i++) {
        if (i == 8) {
            *value = *value << 8 | at[i];
            return 9;
        }
        *value = *value << 7 | (at[i] & 0x7f);
        if (at[i] < 0x80)
            return i + 1;
    }
    return 0;
}

/* ---- rows ----------------------------------------------------------------------------------------------------- */

static const uint8_t widths[] = {0, 1, 2, 3, 4, 6, 8};

/* The column of type TYPE at AT, of which LEFT bytes are there. False: no row of ours has it. */
static bool take_column(uint64_t type, const uint8_t *at, size_t left, struct column *column)
{
    *column = (struct column){.kind = '0'};
    if (type == 8 || type == 9) {
        column->kind = 'N';
        column->number = type == 9;
    } else if (type > 0 && type < 7) {
        column->kind = 'N';
        column->size = widths[type];
        uint64_t number = left > 0 && at[0] & 0x80 ? UINT64_MAX : 0;
        for (size_t i = 0; i < column->size && i < left; i++)
            number = number << 8 | at[i];
        column->number = (int64_t)number;
    } else if (type >= 12) {
        column->kind = type & 1 ? 'T' : 'B';
        column->size = (size_t)((type - 12) / 2);
        column->bytes = at;
    }
    return type != 7 && type != 10 && type != 11;
}

static bool suits(char wanted, char kind)
{
    switch (wanted) {
    case 'K':
        return kind == '0';
    case 'N':
    case 'C':
        return kind == 'N';
    case 'n':
        return kind == 'N' || kind == '0';
    case 'T':
        return kind == 'T';
    case 't':
        return kind == 'T' || kind == '0';
    case 'b':
        return kind == 'B' || kind == '0';
    default: /* B, F */
        return kind == 'B';
    }
}

/*
 * Takes apart a payload, of whose ALL bytes SIZE are there, by the types WANTED. The number of columns; 0: it is none.
 * Where not all are there, numbers may be zero, and bytes may be fewer than their size.
 */
static unsigned take_record(const char *wanted, const uint8_t *payload, size_t size, uint64_t all,
                            struct column columns[SALVAGE_COLUMNS])
{
    uint64_t header, type;
    size_t at = take_varint(payload, size, &header);
    unsigned count = 0;
    uint64_t body = header;
    if (at == 0 || header > size || header < at)
        return 0;
    for (; at < header; count++) {
        size_t used = take_varint(payload + at, (size_t)header - at, &type);
        if (used == 0 || wanted[count] == '\0' || type > (uint64_t)1 << 40)
            return 0;
        size_t left = body < size ? size - (size_t)body : 0;
        struct column *column = &columns[count];
        if (!take_column(type, payload + (left > 0 ? body : 0), left, column) || !suits(wanted[count], column->kind))
            return 0;
        if (column->size > left && size == all)
            return 0;
        at += used;
        body += column->size;
    }
    return body == all ? count : 0;
}

bool cell_columns(enum salvage_table table, int64_t key, const uint8_t *payload, size_t size, uint64_t all,
                  struct column columns[SALVAGE_COLUMNS])
{
    unsigned count = take_record(tables[table].columns, payload, size, all, columns);
    if (count == 0 && table == SALVAGE_FRAMES && (count = take_record(old_frames, payload, size, all, columns)) > 6) {
        /* In the order of the others. */
        struct column frame = columns[6];
        columns[6] = count > 7 ? columns[7] : (struct column){.kind = '0'};
        columns[7] = count > 8 ? columns[8] : (struct column){.kind = '0'};
        columns[8] = frame;
        count = 9;
    }
    if (count < tables[table].least)
        return false;
    for (size_t all_columns = strlen(tables[table].columns); count < all_columns; count++)
        columns[count] = (struct column){.kind = '0'};
    if (table != SALVAGE_NUMBERS)
        columns[0] = (struct column){.kind = 'N', .number = key};
    return true;
}

/* The frame's own checksum stands for its bytes. */
static uint64_t own_checksum(const struct column *frame)
{
    return frame->size >= FRAME_HEADER ? load_u64(frame->bytes + FRAME_HEADER - 8) : 0;
}

bool cell_fits(enum salvage_table table, const struct column columns[SALVAGE_COLUMNS])
{
    struct row_hash hash = {.count = 0};
    const char *kinds = tables[table].columns;
    int64_t checksum = 0;
    unsigned later = 0;
    for (unsigned i = 0; kinds[i]; i++) {
        const struct column *column = &columns[i];
        if (kinds[i] == 'C')
            checksum = column->number;
        else if (kinds[i] == 'K' || kinds[i] == 'N')
            row_number(&hash, (uint64_t)column->number);
        else if (kinds[i] == 'T' || kinds[i] == 'B')
            row_bytes(&hash, column->bytes, column->size);
    }
    for (unsigned i = 0; kinds[i]; i++)
        if (kinds[i] == 'F') {
            row_number(&hash, columns[i].size);
            row_number(&hash, own_checksum(&columns[i]));
        }
    for (unsigned i = 0; kinds[i]; i++) {
        if (kinds[i] == 'n')
            row_later_number(&hash, ++later, (uint64_t)columns[i].number);
        else if (kinds[i] == 't' || kinds[i] == 'b')
            row_later_bytes(&hash, ++later, columns[i].bytes, columns[i].size);
    }
    return row_checksum(&hash) == checksum;
}

/* ---- cells ---------------------------------------------------------------------------------------------------- */

/* How many of PAYLOAD bytes stand on the page (sqlite.org/fileformat2.html, 1.6, "cell payload overflow pages"). */
static size_t local_size(uint64_t payload, bool index)
{
    uint64_t most = index ? INDEX_MOST : LOCAL_MOST;
    if (payload <= most)
        return (size_t)payload;
    uint64_t local = LOCAL_LEAST + (payload - LOCAL_LEAST) % (STORE_PAGE - 4);
    return (size_t)(local <= most ? local : LOCAL_LEAST);
}

/* A cell of a table, or of NUMBERS, which is an index to SQLite: with the payload where it begins. */
static bool parse(const uint8_t *page, size_t start, bool index, struct cell *cell)
{
    uint64_t payload, key = 0;
    size_t at = start, used = start < STORE_PAGE ? take_varint(page + at, STORE_PAGE - at, &payload) : 0;
    if (used == 0 || payload > INT32_MAX)
        return false;
    at += used;
    if (!index) {
        if ((used = take_varint(page + at, STORE_PAGE - at, &key)) == 0)
            return false;
        at += used;
    }
    size_t local = local_size(payload, index), overflow = local < payload ? 4 : 0;
    if (local + overflow > STORE_PAGE - at)
        return false;
    *cell = (struct cell){.key = (int64_t)key,
                          .payload = payload,
                          .local = page + at,
                          .local_size = local,
                          .overflow = overflow ? salvage_u32(page + at + local) : 0,
                          .size = at + local + overflow - start};
    return true;
}

size_t cell_size(const uint8_t *page, size_t at)
{
    enum { CHILD = 4, CELL_LEAST = 4 };
    bool interior = page[0] == PAGE_TABLE_INTERIOR || page[0] == PAGE_INDEX_INTERIOR;
    size_t start = interior ? at + CHILD : at, size;
    uint64_t key;
    struct cell cell;
    if (page[0] == PAGE_TABLE_INTERIOR)
        size = start < STORE_PAGE ? take_varint(page + start, STORE_PAGE - start, &key) : 0;
    else
        size = parse(page, start, page[0] != PAGE_TABLE_LEAF, &cell) ? cell.size : 0;
    if (size == 0)
        return 0;
    size += start - at;
    return size > CELL_LEAST ? size : CELL_LEAST;
}

static int64_t cell_name_key(const struct column *name)
{
    struct row_hash hash = {.count = 0};
    row_bytes(&hash, name->bytes, name->size);
    return (int64_t)(hash.columns[0] & INT64_MAX);
}

/* What no row of ours is without: a header of some columns, the first of them of no size. */
static bool is_likely(const struct cell *cell)
{
    const uint8_t *header = cell->local;
    return cell->payload >= 4 && header[0] >= 4 && header[0] < 128 && header[0] <= cell->local_size &&
           (header[1] == 0 || header[1] >= 13);
}

bool cell_parse(const uint8_t *page, size_t at, enum salvage_table table, struct cell *cell)
{
    struct column columns[SALVAGE_COLUMNS];
    if (table == SALVAGE_TABLES || table == SALVAGE_NUMBERS) {
        if (parse(page, at, true, cell) && is_likely(cell) && cell_is_whole(cell) &&
            cell_columns(SALVAGE_NUMBERS, 0, cell->local, cell->local_size, cell->payload, columns)) {
            cell->table = SALVAGE_NUMBERS;
            cell->key = cell_name_key(&columns[0]);
            return true;
        }
        if (table == SALVAGE_NUMBERS)
            return false;
    }
    if (!parse(page, at, false, cell) || !is_likely(cell))
        return false;
    for (unsigned i = SALVAGE_TOPICS; i < SALVAGE_TABLES; i++) {
        if ((table != SALVAGE_TABLES && table != i) || (cell->key < 0 && i != SALVAGE_SESSIONS))
            continue;
        if (!cell_columns((enum salvage_table)i, cell->key, cell->local, cell->local_size, cell->payload, columns))
            continue;
        cell->table = (enum salvage_table)i;
        return true;
    }
    return false;
}

uint32_t cell_root(const uint8_t *page, size_t at)
{
    struct column columns[SALVAGE_COLUMNS];
    struct cell cell;
    if (!parse(page, at, false, &cell) || !cell_is_whole(&cell))
        return 0;
    /* type, name, table, root, text (none of an index that SQLite made by itself) */
    if (take_record("TTTNt", cell.local, cell.local_size, cell.payload, columns) != 5)
        return 0;
    return columns[3].number > 0 && columns[3].number < UINT32_MAX ? (uint32_t)columns[3].number : 0;
}

/* ---- as the store gives them ---------------------------------------------------------------------------------- */

static uint32_t narrow(int64_t value)
{
    return value < 0 || value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

static void frame_row(const struct column *c, struct salvage_row *row)
{
    row->of.frame = (struct store_frame){.topic = (uint32_t)((uint64_t)c[0].number >> STORE_OFFSET_BITS),
                                         .first = (uint64_t)c[0].number & STORE_OFFSET_MASK,
                                         .count = narrow(c[1].number),
                                         .session = (uint64_t)c[2].number,
                                         .request = (uint64_t)c[3].number,
                                         .time = c[4].number,
                                         .target = narrow(c[6].number),
                                         .marks = c[7].size > 0 ? c[7].bytes : NULL,
                                         .marks_size = c[7].size,
                                         .size = c[8].size};
}

static void event_row(const struct column *c, struct salvage_row *row)
{
    row->of.event = (struct store_event){.id = (uint64_t)c[0].number,
                                         .kind = (enum store_event_kind)c[1].number,
                                         .topic = (uint32_t)c[2].number,
                                         .group = (uint32_t)c[3].number,
                                         .session = (uint64_t)c[4].number,
                                         .request = (uint64_t)c[5].number,
                                         .first = (uint64_t)c[6].number,
                                         .count = (uint32_t)c[7].number,
                                         .attempt = (uint32_t)c[8].number,
                                         .time = c[9].number,
                                         .due = c[10].number,
                                         .lease = (uint64_t)c[11].number,
                                         .code = (int32_t)c[12].number,
                                         .span = (uint32_t)(c[14].number ? c[14].number : c[7].number),
                                         .mask = c[15].size > 0 ? c[15].bytes : NULL,
                                         .mask_size = c[15].size,
                                         .note = c[16].size > 0 ? c[16].bytes : NULL,
                                         .note_size = c[16].size};
}

static void session_row(const struct column *c, struct salvage_row *row)
{
    struct store_session *session = &row->of.session;
    *session = (struct store_session){.id = (uint64_t)c[0].number,
                                      .created = c[1].number,
                                      .used = c[2].number,
                                      .counts = {(uint32_t)c[9].number, (uint32_t)c[10].number, 0},
                                      .keep = (uint32_t)c[12].number};
    for (unsigned lane = 0; lane < 3; lane++) {
        session->numbers[lane] = (uint64_t)c[3 + lane].number;
        session->results[lane] = (uint64_t)c[6 + lane].number;
    }
}

static const char *text_of(struct buffer *texts, const struct column *column)
{
    size_t at = texts->size;
    if (buffer_append(texts, column->bytes, column->size) || buffer_put_u8(texts, 0))
        return "";
    return (const char *)texts->data + at;
}

static void group_row(struct buffer *texts, const struct column *c, struct salvage_row *row)
{
    row->of.group = (struct store_group){.id = (uint32_t)c[0].number,
                                         .topic = (uint32_t)c[1].number,
                                         .name = text_of(texts, &c[2]),
                                         .pattern = (uint32_t)c[3].number,
                                         .start = (uint64_t)c[4].number,
                                         .floor = (uint64_t)c[5].number,
                                         .frontier = (uint64_t)c[6].number,
                                         .dead = (uint64_t)c[7].number,
                                         .event = (uint64_t)c[8].number,
                                         .created = c[9].number,
                                         .settings = text_of(texts, &c[11]),
                                         .totals = c[12].size > 0 ? c[12].bytes : NULL,
                                         .totals_size = c[12].size,
                                         .used = c[13].number};
}

static void topic_row(struct buffer *texts, const struct column *c, struct salvage_row *row)
{
    row->of.topic = (struct store_topic){.id = (uint32_t)c[0].number,
                                         .name = text_of(texts, &c[1]),
                                         .first = (uint64_t)c[2].number,
                                         .end = (uint64_t)c[3].number,
                                         .created = c[4].number,
                                         .settings = text_of(texts, &c[6]),
                                         .letters = c[7].number != 0,
                                         .counters = c[8].size > 0 ? c[8].bytes : NULL,
                                         .counters_size = c[8].size};
}

static void pattern_row(struct buffer *texts, const struct column *c, struct salvage_row *row)
{
    row->of.pattern = (struct store_pattern){.id = (uint32_t)c[0].number,
                                             .pattern = text_of(texts, &c[1]),
                                             .group = text_of(texts, &c[2]),
                                             .created = c[3].number,
                                             .settings = text_of(texts, &c[5])};
}

static void scheduled_row(const struct column *c, struct salvage_row *row)
{
    row->of.scheduled = (struct store_scheduled){.id = (uint64_t)c[0].number,
                                                 .due = c[0].number >> STORE_DUE_BITS,
                                                 .topic = (uint32_t)c[1].number,
                                                 .session = (uint64_t)c[2].number,
                                                 .request = (uint64_t)c[3].number,
                                                 .count = narrow(c[4].number),
                                                 .target = (uint32_t)c[5].number,
                                                 .time = c[6].number,
                                                 .size = c[8].size};
}

/* A count that its bytes do not bear out is none; so the checksum does not fit. */
static void hashes_row(const struct column *c, struct salvage_row *row)
{
    uint32_t count = narrow(c[2].number);
    row->of.hashes = (struct store_hashes){.topic = (uint32_t)((uint64_t)c[0].number >> STORE_OFFSET_BITS),
                                           .first = (uint64_t)c[0].number & STORE_OFFSET_MASK,
                                           .time = c[1].number,
                                           .count = (uint64_t)count * STORE_HASH == c[4].size ? count : 0,
                                           .hashes = c[4].bytes};
}

enum mp_error cell_row(enum salvage_table table, const struct column c[SALVAGE_COLUMNS], struct buffer *texts,
                       struct salvage_row *row)
{
    size_t room = 16;
    for (unsigned i = 0; tables[table].columns[i]; i++) {
        room += c[i].kind == 'T' ? c[i].size : 0;
        if (tables[table].columns[i] == 'C')
            row->checksum = c[i].number;
    }
    texts->size = 0;
    if (buffer_reserve(texts, room)) /* so that no text is moved by the next */
        return MP_ERR_MEMORY;
    switch (table) {
    case SALVAGE_NUMBERS:
        row->of.number.name = text_of(texts, &c[0]);
        row->of.number.value = c[1].number;
        break;
    case SALVAGE_TOPICS:
        topic_row(texts, c, row);
        break;
    case SALVAGE_PATTERNS:
        pattern_row(texts, c, row);
        break;
    case SALVAGE_GROUPS:
        group_row(texts, c, row);
        break;
    case SALVAGE_SESSIONS:
        session_row(c, row);
        break;
    case SALVAGE_BLOCKS:
        row->of.block.group = (uint32_t)((uint64_t)c[0].number >> 32);
        row->of.block.block = (uint32_t)c[0].number;
        row->of.block.data = c[1].bytes;
        row->of.block.size = c[1].size;
        break;
    case SALVAGE_FRAMES:
        frame_row(c, row);
        break;
    case SALVAGE_EVENTS:
        event_row(c, row);
        break;
    case SALVAGE_SCHEDULE:
        scheduled_row(c, row);
        break;
    case SALVAGE_HASHES:
        hashes_row(c, row);
        break;
    case SALVAGE_TABLES:
        break;
    }
    return MP_OK;
}
