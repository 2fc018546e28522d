#include "message/lineage.h"

#include "message/attributes.h"
#include "message/trace.h"

#include <xxhash.h>

enum run_kind { RUN_NONE = 0, RUN_STEP = 1, RUN_SAME = 2, RUN_HASHES = 3, RUN_HASH = 4 };

static const uint8_t codes[LINEAGE_COLUMNS] = {
    [LINEAGE_ID] = ATTRIBUTE_ID,
    [LINEAGE_KEY] = ATTRIBUTE_PARTITIONKEY,
    [LINEAGE_TRACE] = ATTRIBUTE_TRACEPARENT,
    [LINEAGE_PARENT] = ATTRIBUTE_TRACEPARENT,
    [LINEAGE_CAUSE] = ATTRIBUTE_CAUSATIONID,
    [LINEAGE_CORRELATION] = ATTRIBUTE_CORRELATIONID,
};

/* ---- numbers --------------------------------------------------------------------------------------------------- */

enum { NUMBER_MAX = 10 }; /* bytes of a LEB128 number */

static size_t write_number(uint8_t *out, uint64_t number)
{
    size_t size = 0;
    for (; number >= 0x80; number >>= 7)
        out[size++] = (uint8_t)(number | 0x80);
    out[size++] = (uint8_t)number;
    return size;
}

static bool read_number(const uint8_t **at, const uint8_t *end, uint64_t *number)
{
    *number = 0;
    for (unsigned shift = 0; *at < end && shift < 63; shift += 7) {
        uint8_t byte = *(*at)++;
        *number |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* ---- writing --------------------------------------------------------------------------------------------------- */

/* A column as it grows: the run that is open is not in BYTES yet, but for the list of its hashes. */
struct column {
    struct buffer bytes;  /* closed runs */
    struct buffer hashes; /* of the open run */
    enum run_kind kind;
    uint32_t count;
    uint64_t high; /* of the first message of the run */
    uint64_t low;
    bool used;
};

static enum mp_error close_run(struct column *column)
{
    uint8_t text[NUMBER_MAX + 16];
    size_t size = write_number(text, (uint64_t)column->count << 3 | column->kind);
    if (column->count == 0)
        return MP_OK;
    if (column->kind == RUN_STEP || column->kind == RUN_SAME) {
        store_u64(text + size, column->high);
        store_u64(text + size + 8, column->low);
        size += 16;
    } else if (column->kind == RUN_HASH) {
        store_u64(text + size, column->low);
        size += 8;
    }
    enum mp_error error = buffer_append(&column->bytes, text, size);
    if (!error && column->kind == RUN_HASHES)
        error = buffer_append(&column->bytes, column->hashes.data, column->hashes.size);
    column->hashes.size = 0;
    column->count = 0;
    return error;
}

/* Whether VALUE goes on with the open run; what one message began is told by the second. */
static bool continues(struct column *column, const struct lineage_value *value)
{
    bool second = column->count == 1;
    switch (column->kind) {
    case RUN_NONE:
        return value->kind == LINEAGE_NONE;
    case RUN_STEP:
        if (value->kind != LINEAGE_EXACT || value->high != column->high)
            return false;
        if (second && value->low == column->low)
            column->kind = RUN_SAME;
        return value->low == column->low + (column->kind == RUN_STEP ? column->count : 0);
    case RUN_SAME:
        return value->kind == LINEAGE_EXACT && value->high == column->high && value->low == column->low;
    case RUN_HASHES:
        if (second && value->kind == LINEAGE_HASH && value->low == column->low) {
            column->kind = RUN_HASH;
            column->hashes.size = 0;
        }
        return value->kind == LINEAGE_HASH;
    case RUN_HASH:
        return value->kind == LINEAGE_HASH && value->low == column->low;
    }
    return false;
}

static enum mp_error put(struct column *column, const struct lineage_value *value)
{
    enum mp_error error = MP_OK;
    column->used |= value->kind != LINEAGE_NONE;
    if (column->count == 0 || !continues(column, value)) {
        if ((error = close_run(column)))
            return error;
        column->kind = value->kind == LINEAGE_NONE ? RUN_NONE : value->kind == LINEAGE_EXACT ? RUN_STEP : RUN_HASHES;
        column->high = value->high;
        column->low = value->low;
    }
    if (column->kind == RUN_HASHES) {
        uint8_t bytes[8];
        store_u64(bytes, value->low);
        error = buffer_append(&column->hashes, bytes, sizeof bytes);
    }
    column->count++;
    return error;
}

struct lineage_value lineage_value_of(enum lineage_column column, const char *text, size_t size)
{
    uint64_t exact[2];
    if (column != LINEAGE_KEY && trace_id_read(text, size, exact))
        return (struct lineage_value){LINEAGE_EXACT, exact[0], exact[1]};
    return (struct lineage_value){LINEAGE_HASH, 0, XXH3_64bits(text, size)};
}

static struct lineage_value value_in(const struct record *record, enum lineage_column column)
{
    struct attribute attribute;
    struct trace_parent parent;
    const struct lineage_value none = {LINEAGE_NONE, 0, 0};
    if (!attribute_known(record->attributes, record->attributes_size, codes[column], &attribute))
        return none;
    if (column != LINEAGE_TRACE && column != LINEAGE_PARENT)
        return lineage_value_of(column, attribute.value, attribute.value_size);
    if (!trace_parent_read(attribute.value, attribute.value_size, &parent))
        return none;
    return column == LINEAGE_TRACE ? (struct lineage_value){LINEAGE_EXACT, parent.trace[0], parent.trace[1]}
                                   : (struct lineage_value){LINEAGE_HASH, 0, parent.span};
}

/* How the span of a parent is kept beside CAUSE. */
static struct lineage_value parent_beside(struct lineage_value parent, const struct lineage_value *cause)
{
    if (cause->kind == LINEAGE_EXACT)
        return (struct lineage_value){LINEAGE_EXACT, parent.low - cause->low * TRACE_SPAN_STEP, cause->low};
    return parent;
}

/* OWN: what the frame's head says of a message's origin is enough. */
static enum mp_error put_record(struct column *columns, const struct frame *frame, bool own, uint32_t index,
                                const struct record *record)
{
    own = own && record->producer == frame->producer && record->sequence == frame->sequence + index;
    struct lineage_value values[LINEAGE_COLUMNS] = {{LINEAGE_NONE, 0, 0}};
    if (!own)
        values[LINEAGE_ORIGIN] = (struct lineage_value){LINEAGE_EXACT, record->producer, record->sequence};
    for (int i = LINEAGE_ID; record->attributes_size > 0 && i < LINEAGE_COLUMNS; i++)
        if (i != LINEAGE_PARENT)
            values[i] = value_in(record, (enum lineage_column)i);
    if (values[LINEAGE_TRACE].kind != LINEAGE_NONE)
        values[LINEAGE_PARENT] = parent_beside(value_in(record, LINEAGE_PARENT), &values[LINEAGE_CAUSE]);
    enum mp_error error = MP_OK;
    for (int i = LINEAGE_ORIGIN; !error && i < LINEAGE_COLUMNS; i++)
        error = put(&columns[i], &values[i]);
    return error;
}

static enum mp_error put_columns(struct column *columns, struct buffer *out)
{
    enum mp_error error = MP_OK;
    for (int i = LINEAGE_ORIGIN; !error && i < LINEAGE_COLUMNS; i++) {
        uint8_t head[1 + NUMBER_MAX];
        if (!columns[i].used)
            continue;
        if (columns[i].kind != RUN_NONE && (error = close_run(&columns[i])))
            return error;
        head[0] = (uint8_t)i;
        size_t size = 1 + write_number(head + 1, columns[i].bytes.size);
        if (!(error = buffer_append(out, head, size)))
            error = buffer_append(out, columns[i].bytes.data, columns[i].bytes.size);
    }
    return error;
}

enum mp_error lineage_encode(const struct frame *frame, uint64_t session, struct buffer *out)
{
    const bool own = frame->producer == session;
    uint8_t head[LINEAGE_BARE];
    store_u64(head, frame->producer);
    store_u64(head + 8, frame->sequence);
    store_u64(head + 16, (uint64_t)frame->time);
    enum mp_error error = buffer_append(out, head, sizeof head);
    if (error || (own && frame->attributes == 0))
        return error;

    struct column columns[LINEAGE_COLUMNS] = {0};
    struct frame_cursor cursor = frame_cursor(frame);
    struct record record;
    if (frame->attributes == 0)
        columns[LINEAGE_ORIGIN] = (struct column){
            .kind = RUN_STEP, .count = frame->count, .high = frame->producer, .low = frame->sequence, .used = true};
    for (uint32_t i = 0; !error && frame->attributes > 0 && frame_next(&cursor, &record); i++)
        error = put_record(columns, frame, own, i, &record);
    if (!error)
        error = put_columns(columns, out);
    for (int i = 0; i < LINEAGE_COLUMNS; i++) {
        buffer_free(&columns[i].bytes);
        buffer_free(&columns[i].hashes);
    }
    return error;
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

struct lineage_cursor lineage_cursor(const struct lineage *lineage, enum lineage_column column)
{
    const uint8_t *bytes = lineage->columns[column];
    return (struct lineage_cursor){.at = bytes, .end = bytes ? bytes + lineage->sizes[column] : NULL};
}

/* Opens the next run; its hashes are left at the cursor. False at the end, and for what is none. */
static bool open_run(struct lineage_cursor *cursor)
{
    uint64_t number;
    if (cursor->at == cursor->end || !read_number(&cursor->at, cursor->end, &number))
        return false;
    size_t left = (size_t)(cursor->end - cursor->at);
    cursor->left = number >> 3;
    cursor->kind = (unsigned)(number & 7);
    if (cursor->kind > RUN_HASH || cursor->left == 0)
        return false;
    if (cursor->kind == RUN_HASHES)
        return cursor->left <= left / 8;
    size_t size = cursor->kind == RUN_NONE ? 0 : cursor->kind == RUN_HASH ? 8 : 16;
    if (size > left)
        return false;
    cursor->high = size == 16 ? load_u64(cursor->at) : 0;
    cursor->low = size > 0 ? load_u64(cursor->at + size - 8) : 0;
    cursor->at += size;
    return true;
}

static bool column_is_sound(struct lineage_cursor cursor, uint32_t count)
{
    uint64_t messages = 0;
    while (cursor.at != cursor.end) {
        if (!open_run(&cursor) || cursor.left > count - messages)
            return false;
        messages += cursor.left;
        if (cursor.kind == RUN_HASHES)
            cursor.at += cursor.left * 8;
    }
    return true;
}

enum mp_error lineage_open(struct lineage *lineage, const uint8_t *bytes, size_t size, uint32_t count)
{
    if (size < LINEAGE_BARE)
        return MP_ERR_DAMAGED;
    *lineage = (struct lineage){.producer = load_u64(bytes),
                                .sequence = load_u64(bytes + 8),
                                .time = (int64_t)load_u64(bytes + 16),
                                .count = count};
    const uint8_t *at = bytes + LINEAGE_BARE, *end = bytes + size;
    while (at < end) {
        uint64_t length;
        uint8_t column = *at++;
        if (!read_number(&at, end, &length) || length > (size_t)(end - at))
            return MP_ERR_DAMAGED;
        if (column > 0 && column < LINEAGE_COLUMNS) { /* others are of a later version */
            lineage->columns[column] = at;
            lineage->sizes[column] = (size_t)length;
            if (!column_is_sound(lineage_cursor(lineage, (enum lineage_column)column), count))
                return MP_ERR_DAMAGED;
        }
        at += length;
    }
    return MP_OK;
}

struct lineage_value lineage_next(struct lineage_cursor *cursor)
{
    struct lineage_value value = {LINEAGE_NONE, 0, 0};
    if (cursor->left == 0 && !open_run(cursor))
        return value;
    cursor->left--;
    switch (cursor->kind) {
    case RUN_STEP:
        return (struct lineage_value){LINEAGE_EXACT, cursor->high, cursor->low++};
    case RUN_SAME:
        return (struct lineage_value){LINEAGE_EXACT, cursor->high, cursor->low};
    case RUN_HASHES:
        value = (struct lineage_value){LINEAGE_HASH, 0, load_u64(cursor->at)};
        cursor->at += 8;
        return value;
    case RUN_HASH:
        return (struct lineage_value){LINEAGE_HASH, 0, cursor->low};
    default:
        return value;
    }
}

/* Moves the cursor over COUNT messages, a run at a time. */
static void skip(struct lineage_cursor *cursor, uint64_t count)
{
    while (count > 0) {
        if (cursor->left == 0 && !open_run(cursor))
            return;
        uint64_t some = cursor->left < count ? cursor->left : count;
        cursor->left -= some;
        count -= some;
        if (cursor->kind == RUN_STEP)
            cursor->low += some;
        else if (cursor->kind == RUN_HASHES)
            cursor->at += some * 8;
    }
}

struct lineage_value lineage_value(const struct lineage *lineage, enum lineage_column column, uint32_t index)
{
    struct lineage_cursor cursor = lineage_cursor(lineage, column);
    skip(&cursor, index);
    return lineage_next(&cursor);
}

struct lineage_value lineage_origin(const struct lineage *lineage, uint32_t index)
{
    struct lineage_value value = lineage_value(lineage, LINEAGE_ORIGIN, index);
    if (value.kind == LINEAGE_NONE)
        value = (struct lineage_value){LINEAGE_EXACT, lineage->producer, lineage->sequence + index};
    return value;
}

struct lineage_value lineage_id(const struct lineage *lineage, uint32_t index)
{
    struct lineage_value value = lineage_value(lineage, LINEAGE_ID, index);
    return value.kind == LINEAGE_NONE ? lineage_origin(lineage, index) : value;
}

struct lineage_value lineage_trace(const struct lineage *lineage, uint32_t index)
{
    struct lineage_value value = lineage_value(lineage, LINEAGE_TRACE, index);
    return value.kind == LINEAGE_NONE ? lineage_origin(lineage, index) : value;
}

uint64_t lineage_parent(const struct lineage *lineage, uint32_t index)
{
    struct lineage_value value = lineage_value(lineage, LINEAGE_PARENT, index);
    return value.kind == LINEAGE_EXACT ? value.high + value.low * TRACE_SPAN_STEP : value.low;
}

/* ---- looking for something -------------------------------------------------------------------------------------- */

static bool is_between(uint64_t high, uint64_t low, const struct lineage_value *from, const struct lineage_value *to)
{
    return (high > from->high || (high == from->high && low >= from->low)) &&
           (high < to->high || (high == to->high && low <= to->low));
}

/* The first of COUNT messages whose values step from HIGH and LOW on that is wanted; COUNT: none is. */
static uint64_t find_step(uint64_t high, uint64_t low, uint64_t count, const struct lineage_value *from,
                          const struct lineage_value *to)
{
    if (is_between(high, low, from, to))
        return 0;
    uint64_t ahead = from->low - low;
    if (from->high != high || low >= from->low || ahead >= count || !is_between(high, from->low, from, to))
        return count;
    return ahead;
}

static uint64_t find_in_run(const struct lineage_cursor *run, const struct lineage_value *from,
                            const struct lineage_value *to)
{
    bool exact = from->kind == LINEAGE_EXACT;
    uint64_t i = 0;
    switch (run->kind) {
    case RUN_STEP:
        return exact ? find_step(run->high, run->low, run->left, from, to) : run->left;
    case RUN_SAME:
        return exact && is_between(run->high, run->low, from, to) ? 0 : run->left;
    case RUN_HASHES:
        while (i < run->left && (exact || load_u64(run->at + i * 8) != from->low))
            i++;
        return i;
    case RUN_HASH:
        return !exact && run->low == from->low ? 0 : run->left;
    default:
        return run->left;
    }
}

static bool find_in_column(const struct lineage *lineage, enum lineage_column column, const struct lineage_value *from,
                           const struct lineage_value *to, uint32_t *index)
{
    struct lineage_cursor cursor = lineage_cursor(lineage, column);
    uint64_t at = *index;
    skip(&cursor, at);
    while (at < lineage->count && (cursor.left > 0 || open_run(&cursor))) {
        uint64_t left = cursor.left, found = find_in_run(&cursor, from, to);
        if (found < left) {
            *index = (uint32_t)(at + found);
            return true;
        }
        skip(&cursor, left);
        at += left;
    }
    return false;
}

/* Those whose value in COLUMN is the origin, which their number in the frame gives them. */
static bool find_derived(const struct lineage *lineage, enum lineage_column column, const struct lineage_value *from,
                         const struct lineage_value *to, uint32_t *index)
{
    uint64_t at = *index;
    while (from->kind == LINEAGE_EXACT && at < lineage->count) {
        at += find_step(lineage->producer, lineage->sequence + at, lineage->count - at, from, to);
        if (at >= lineage->count)
            return false;
        if (lineage_value(lineage, LINEAGE_ORIGIN, (uint32_t)at).kind == LINEAGE_NONE &&
            (column == LINEAGE_ORIGIN || lineage_value(lineage, column, (uint32_t)at).kind == LINEAGE_NONE)) {
            *index = (uint32_t)at;
            return true;
        }
        at++;
    }
    return false;
}

/* Those whose value in COLUMN is an origin of their own. */
static bool find_origin(const struct lineage *lineage, enum lineage_column column, const struct lineage_value *from,
                        const struct lineage_value *to, uint32_t *index)
{
    uint32_t at = *index;
    for (; find_in_column(lineage, LINEAGE_ORIGIN, from, to, &at); at++) {
        *index = at;
        if (lineage_value(lineage, column, at).kind == LINEAGE_NONE)
            return true;
    }
    return false;
}

bool lineage_find(const struct lineage *lineage, enum lineage_column column, const struct lineage_value *from,
                  const struct lineage_value *to, uint32_t *index)
{
    bool follows = column == LINEAGE_ORIGIN || column == LINEAGE_ID || column == LINEAGE_TRACE;
    uint32_t best = UINT32_MAX, at = *index;
    if (lineage->columns[column] && find_in_column(lineage, column, from, to, &at))
        best = at;
    at = *index;
    if (follows && find_derived(lineage, column, from, to, &at) && at < best)
        best = at;
    at = *index;
    if (follows && column != LINEAGE_ORIGIN && lineage->columns[LINEAGE_ORIGIN] &&
        find_origin(lineage, column, from, to, &at) && at < best)
        best = at;
    if (best == UINT32_MAX)
        return false;
    *index = best;
    return true;
}
