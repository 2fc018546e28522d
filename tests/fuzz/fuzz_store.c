/*
 * A store whose rows fit their checksums and say anything: what a start makes of them, and what traces and the audit say
 * of them. The input is a row of rows: a byte that says of which table, then its columns. A start takes them or calls them
 * damaged; what reads them ends, with words.
 */
#include "fuzz.h"

#include "../unit/sessionless.h"

#include "queue/engine.h"
#include "store/store.h"
#include "trace/audit.h"
#include "trace/find.h"
#include "trace/list.h"
#include "trace/tree.h"

void fuzz_store_spans(struct trace_log *log); /* fuzz_store_spans.c */

enum table { TOPIC, GROUP, BLOCK, EVENT, FRAME, SESSION, NUMBER, PATTERN, SCHEDULED, HASHES, TABLES };
enum { ROWS = 64, FEW = 4 };

static const struct moment now = {.monotonic = 1000000000, .wall = 1700000000000000, .boot = 1};
static const char *const names[] = {"a", "a.b", "b", "a.dead"};
static const char *const settings[] = {"", "max_messages=3\nretain.age=1s\n", "order=key\nretry.max_retries=1\n",
                                       "on_dead=hold\ndead_letter=a.dead\n"};

/* ---- rows ----------------------------------------------------------------------------------------------------- */

/* Numbers are small, so that rows concern one another, or any. */
static uint64_t number(struct reader *reader)
{
    uint8_t byte = reader_u8(reader);
    return byte < 250 ? byte : reader_u64(reader);
}

static int64_t some_time(struct reader *reader)
{
    return now.wall - 1000000 + (int64_t)(number(reader) & 0xffffffffff);
}

static const void *bytes(struct reader *reader, size_t *size)
{
    *size = reader_u8(reader);
    const void *data = reader_bytes(reader, *size);
    if (!data)
        *size = 0;
    return *size ? data : NULL;
}

static enum mp_error put_topic(struct store *store, struct reader *reader)
{
    struct store_topic row = {.id = (uint32_t)number(reader) & 0x7ffff};
    row.name = names[reader_u8(reader) % FEW];
    row.first = number(reader);
    row.end = number(reader);
    row.settings = settings[reader_u8(reader) % FEW];
    row.letters = reader_u8(reader) & 1;
    row.counters = bytes(reader, &row.counters_size);
    return store_put_topic(store, &row, NULL);
}

static enum mp_error put_group(struct store *store, struct reader *reader)
{
    struct store_group row = {.id = (uint32_t)number(reader) & 0x7fffffff};
    row.topic = (uint32_t)number(reader);
    row.name = names[reader_u8(reader) % FEW];
    row.pattern = (uint32_t)number(reader);
    row.start = number(reader);
    row.floor = number(reader);
    row.frontier = number(reader);
    row.dead = number(reader);
    row.event = number(reader);
    row.settings = settings[reader_u8(reader) % FEW];
    row.totals = bytes(reader, &row.totals_size);
    row.used = some_time(reader);
    return store_put_group(store, &row, NULL);
}

static enum mp_error put_event(struct store *store, struct reader *reader, uint64_t *last)
{
    struct store_event row = {.id = *last += reader_u8(reader) == 255 ? 2 : 1};
    row.kind = (enum store_event_kind)(reader_u8(reader) % (EVENT_SESSION + 2));
    row.topic = (uint32_t)number(reader);
    row.group = (uint32_t)number(reader);
    row.session = number(reader);
    row.request = number(reader) | (uint64_t)reader_u8(reader) << 62;
    row.first = number(reader);
    row.count = (uint32_t)number(reader);
    row.span = (uint32_t)number(reader);
    row.attempt = (uint32_t)number(reader);
    row.time = now.wall - 1000000 + (int64_t)*last;
    row.due = some_time(reader);
    row.lease = number(reader);
    row.code = (int32_t)number(reader);
    row.mask = bytes(reader, &row.mask_size);
    row.note = bytes(reader, &row.note_size);
    return store_add_event(store, &row, NULL);
}

/* Frames are honest: theirs is another fuzzer. Their rows are not. */
static enum mp_error put_frame(struct store *store, struct reader *reader, bool later)
{
    struct frame_builder frame = {0};
    uint32_t count = 1 + reader_u8(reader) % 8;
    uint64_t producer = number(reader) | 1, sequence = number(reader) & UINT32_MAX;
    MUST(frame_begin(&frame, producer, sequence) == MP_OK);
    for (uint32_t i = 0; i < count; i++)
        MUST(frame_add(&frame, "body", 4, NULL, 0) == MP_OK);
    frame_finish(&frame, now.wall);
    struct store_frame row = {.topic = (uint32_t)number(reader) & 0x7ffff, .data = frame.bytes.data};
    row.size = frame.bytes.size;
    row.first = number(reader) & ((UINT64_C(1) << 44) - 1);
    row.count = reader_u8(reader) < 200 ? count : (uint32_t)number(reader);
    row.session = number(reader);
    row.request = number(reader);
    row.time = some_time(reader);
    row.target = (uint32_t)number(reader);
    row.marks = bytes(reader, &row.marks_size);
    struct store_scheduled scheduled = {.topic = row.topic,
                                        .session = row.session,
                                        .request = row.request,
                                        .count = row.count,
                                        .target = row.target,
                                        .time = row.time,
                                        .due = row.time + (int64_t)row.first,
                                        .data = row.data,
                                        .size = row.size};
    enum mp_error error = later ? store_add_scheduled(store, &scheduled, NULL) : store_add_frame(store, &row, NULL);
    frame_builder_free(&frame);
    return error;
}

static enum mp_error put_session(struct store *store, struct reader *reader)
{
    struct store_session row = {.id = number(reader), .created = some_time(reader), .used = some_time(reader)};
    for (unsigned i = 0; i < 3; i++) {
        row.numbers[i] = number(reader);
        row.results[i] = number(reader);
        row.counts[i] = (uint32_t)number(reader);
    }
    row.keep = (uint32_t)number(reader);
    return store_put_session(store, &row, NULL);
}

static enum mp_error put_number(struct store *store, struct reader *reader)
{
    static const char *const known[] = {"snapshot_event", "time_snapshot", "time_boot",   "time_offset",
                                        "topics_made",    "groups_made",   "event_bytes", STORE_EVENTS_FIRST};
    const char *name = known[reader_u8(reader) % (sizeof known / sizeof *known)];
    return store_put_number(store, name, (int64_t)number(reader), NULL);
}

static enum mp_error put_pattern(struct store *store, struct reader *reader)
{
    struct store_pattern row = {.id = (uint32_t)number(reader)};
    row.pattern = reader_u8(reader) % 2 ? "a.*" : ">";
    row.group = names[reader_u8(reader) % FEW];
    row.settings = settings[reader_u8(reader) % FEW];
    return store_put_pattern(store, &row, NULL);
}

static enum mp_error put_hashes(struct store *store, struct reader *reader)
{
    static const uint8_t zeros[16 * 8];
    struct store_hashes row = {.topic = (uint32_t)number(reader) & 0x7ffff, .hashes = zeros};
    row.first = number(reader) & ((UINT64_C(1) << 44) - 1);
    row.time = some_time(reader);
    row.count = reader_u8(reader) % 8;
    return store_add_hashes(store, &row, NULL);
}

static enum mp_error put_block(struct store *store, struct reader *reader)
{
    size_t size;
    uint32_t group = (uint32_t)number(reader) & 0x7fffffff, block = reader_u8(reader);
    const void *data = bytes(reader, &size);
    return store_put_block(store, group, block, data ? data : "", size, NULL);
}

/* Two rows of one key are the last one: SQLite refuses some. */
static void put_row(struct store *store, struct reader *reader, uint64_t *last)
{
    switch ((enum table)(reader_u8(reader) % TABLES)) {
    case TOPIC:
        (void)put_topic(store, reader);
        break;
    case GROUP:
        (void)put_group(store, reader);
        break;
    case BLOCK:
        (void)put_block(store, reader);
        break;
    case EVENT:
        (void)put_event(store, reader, last);
        break;
    case FRAME:
        (void)put_frame(store, reader, false);
        break;
    case SCHEDULED:
        (void)put_frame(store, reader, true);
        break;
    case SESSION:
        (void)put_session(store, reader);
        break;
    case NUMBER:
        (void)put_number(store, reader);
        break;
    case PATTERN:
        (void)put_pattern(store, reader);
        break;
    default:
        (void)put_hashes(store, reader);
        break;
    }
}

/* ---- what reads them ------------------------------------------------------------------------------------------ */

static void said(enum mp_error error, const struct fault *fault)
{
    if (error)
        MUST(fault->text[0] != '\0' && memchr(fault->text, '\0', sizeof fault->text) != NULL);
}

static void show(struct trace_log *log, const char *text)
{
    struct trace_matches matches = {0};
    struct trace_tree tree;
    struct fault fault = {0};
    enum mp_error error = trace_find(log, text, 64, &matches, &fault);
    said(error, &fault);
    if (!error && !(error = trace_tree_open(&tree, log, &matches, false, 100, &fault))) {
        int64_t from, to;
        trace_tree_span(&tree, log, &from, &to);
        MUST(from <= to);
        trace_tree_free(&tree);
    } else {
        said(error, &fault);
    }
    trace_matches_free(&matches);
}

static void trace(struct store *store)
{
    struct trace_log *log;
    struct fault fault = {0};
    enum mp_error error = trace_log_of_store(store, now, &log, &fault);
    said(error, &fault);
    if (error)
        return;
    show(log, "a@0");
    show(log, "a.b@3");
    show(log, "00000000000000010000000000000001");
    show(log, "00");
    show(log, "id");
    fuzz_store_spans(log);
    trace_log_close(log);
}

static void audit(struct store *store)
{
    const struct audit_settings how = {.now = now};
    struct audit_report report = {0};
    struct fault fault = {0};
    said(audit_run(store, &how, &report, &fault), &fault);
    audit_free(&report);
}

/* A relay's start, and two turns of it. */
static void start(struct store *store)
{
    const struct engine_local_settings how = {.keep_store = true};
    struct engine *engine;
    struct fault fault = {0};
    MUST(engine_local_open(store, &how, &engine, &fault) == MP_OK);
    enum mp_error error = engine->operations->load(engine, now, &sessionless_load, &fault);
    said(error, &fault);
    for (unsigned i = 0; !error && i < 2; i++) {
        engine->operations->begin(engine, now);
        if (!(error = engine->operations->tick(engine, &fault)))
            error = engine->operations->commit(engine, sessionless_snapshot, NULL, &fault);
        said(error, &fault);
    }
    engine->operations->close(engine);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader reader = reader_of(data, size);
    struct store *store;
    uint64_t last = 0;
    if (size > 4096)
        return 0;
    MUST(store_open(":memory:", &store, NULL) == MP_OK);
    for (unsigned i = 0; i < ROWS && reader.left > 0; i++)
        put_row(store, &reader, &last);
    MUST(store_commit(store, NULL) == MP_OK);
    trace(store);
    audit(store);
    start(store);
    store_close(store);
    return 0;
}

/* A row a line. */
/* clang-format off */

/* A topic with a group and a dead-letter topic, two frames, and what came of their messages. */
static const uint8_t some_life[] = {
    TOPIC, 1, 0, 0, 0, 0, 0, 0,
    TOPIC, 4, 3, 0, 0, 0, 1, 0,
    GROUP, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    FRAME, 3, 1, 0, 1, 0, 0, 7, 1, 10, 0, 0,
    FRAME, 1, 1, 4, 1, 4, 0, 7, 2, 20, 0, 1, 2,
    EVENT, 0, EVENT_PUBLISHED, 1, 0, 7, 1, 0, 0, 4, 4, 0, 0, 99, 0, 0, 0,
    EVENT, 0, EVENT_LEASED, 1, 1, 9, 1, 2, 0, 4, 4, 1, 0, 1, 0, 0, 0,
    EVENT, 0, EVENT_ACKED, 1, 1, 9, 1, 1, 0, 2, 4, 1, 0, 1, 0, 1, 5, 0,
    EVENT, 0, EVENT_RETRIED, 1, 1, 9, 2, 1, 1, 1, 1, 1, 50, 1, 75, 0, 2, 'n', 'o',
    EVENT, 0, EVENT_DEAD, 1, 1, 9, 2, 1, 3, 1, 1, 1, 2, 1, 1, 0, 0,
    EVENT, 0, EVENT_LEASED, 1, 1, 9, 2, 2, 1, 1, 1, 2, 0, 2, 0, 0, 0,
    EVENT, 0, EVENT_LAPSED, 1, 1, 9, 0, 0, 1, 1, 1, 2, 0, 2, 0, 0, 0,
    EVENT, 0, EVENT_GRANTED, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    EVENT, 0, EVENT_SESSION, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 'c',
    PATTERN, 1, 1, 1, 0,
    SESSION, 9, 0, 0, 1, 0, 0, 2, 2, 0, 2, 0, 0, 0,
    SCHEDULED, 0, 1, 9, 1, 9, 0, 7, 3, 30, 0, 0,
    HASHES, 1, 0, 0, 4,
};

/* As after a snapshot: the states are in a block. */
static const uint8_t some_snapshot[] = {
    TOPIC, 1, 0, 2, 6, 1, 0, 0,
    GROUP, 1, 1, 0, 0, 0, 2, 6, 0, 3, 2, 0, 0,
    NUMBER, 0, 3,
    BLOCK, 1, 0, 24, 2, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 3, 0, 3, 0, 1, 0,
    FRAME, 5, 1, 0, 1, 0, 0, 7, 1, 10, 0, 0,
};

/* clang-format on */

unsigned fuzz_slowness(void)
{
    return 50;
}

bool fuzz_seed(unsigned index, struct buffer *out)
{
    if (index == 0)
        MUST(buffer_append(out, some_life, sizeof some_life) == MP_OK);
    else if (index == 1)
        MUST(buffer_append(out, some_snapshot, sizeof some_snapshot) == MP_OK);
    return index < 2;
}
