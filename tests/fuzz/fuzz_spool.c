/*
 * What lies in a spool's folder, and what msend --spool makes of it. The first byte chooses: a segment whose rows fit their
 * checksums and say anything, or one of a killed process in which bytes were overwritten or cut off. All of it ends, with
 * words where it is refused; and of a damaged one nothing is delivered that is altered, twice or out of order.
 */
#include "fit.h"
#include "fuzz.h"

#include "base/log.h"
#include "cli/spool.h"
#include "cli/spool_refused.h"
#include "store/store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROWS, DAMAGE, KINDS };
enum row { TOPIC, FRAME, NUMBER, ROW_KINDS };
enum act { DELIVERED, REFUSED, SESSION, FORGET, APPEND, OPEN_AGAIN, ACTS };
enum { ROWS_MAX = 32, STEPS_MAX = 48, TAKEN = 4, LOG_TOPIC = 1, FILE_MAX = 1 << 20 };

static const char *const topics[] = {"t", "a.b", "", "no topic\n"};
static const char body[] = "what was taken";

/* A segment's files, as they are put into the folder. */
struct image {
    struct buffer database, log;
};
static struct image empty, killed;
static char folder[256], directory[300];

/* ---- files ------------------------------------------------------------------------------------------------------ */

static void path_of(const char *name, char path[512])
{
    snprintf(path, 512, "%s/%s", directory, name);
}

static void read_file(const char *name, struct buffer *out)
{
    char path[512];
    path_of(name, path);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    MUST(file >= 0 && buffer_reserve(out, FILE_MAX) == MP_OK);
    ssize_t got = read(file, out->data, FILE_MAX);
    MUST(got >= 0 && got < FILE_MAX);
    out->size = (size_t)got;
    close(file);
}

static void write_file(const char *name, const struct buffer *bytes)
{
    char path[512];
    path_of(name, path);
    if (bytes->size == 0)
        return;
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    MUST(file >= 0 && write(file, bytes->data, bytes->size) == (ssize_t)bytes->size && close(file) == 0);
}

static void clear_folder(void)
{
    static const char *const names[] = {"lock", "refused.jsonl"};
    static const char *const endings[] = {"", "-wal", "-shm", ".lock"};
    char path[512], name[64];
    for (unsigned i = 0; i < 2; i++) {
        path_of(names[i], path);
        unlink(path);
    }
    for (unsigned i = 0; i < 16; i++) {
        snprintf(name, sizeof name, "%08u.db%s", 1 + i / 4, endings[i % 4]);
        path_of(name, path);
        unlink(path);
    }
}

static void remove_folder(void)
{
    clear_folder();
    rmdir(directory);
    rmdir(folder);
}

/* ---- segments --------------------------------------------------------------------------------------------------- */

static void take(struct spool *spool, const char *topic, unsigned count)
{
    struct frame_builder frame = {0};
    uint64_t producer, sequence;
    struct fault fault = {0};
    enum mp_error error = spool_origin(spool, &producer, &sequence, &fault);
    MUST(!error || fault.text[0] != '\0');
    if (error)
        return;
    MUST(frame_begin(&frame, producer, sequence) == MP_OK);
    for (unsigned i = 0; i < count; i++)
        MUST(frame_add(&frame, body, sizeof body, NULL, 0) == MP_OK);
    frame_finish(&frame, 1);
    error = spool_append(spool, topic, 0, &frame, &fault);
    MUST(!error || fault.text[0] != '\0');
    frame_builder_free(&frame);
}

/* An empty segment, and what a process leaves that was killed while it delivered the second of four frames. */
static void make_images(void)
{
    struct spool *spool;
    struct spool_entry entry;
    struct store *store;
    char path[512];
    uint64_t delivered;
    path_of("00000001.db", path);
    MUST(mkdir(directory, 0700) == 0);
    MUST(store_open(path, &store, NULL) == MP_OK);
    store_close(store);
    read_file("00000001.db", &empty.database);
    clear_folder();
    MUST(spool_open(directory, &spool, NULL) == MP_OK);
    for (unsigned i = 0; i < TAKEN; i++)
        take(spool, i % 2 ? "t" : "a.b", i + 1);
    MUST(spool_next(spool, &entry, NULL) == MP_OK && spool_session(spool, 4711, 0, &delivered, NULL) == MP_OK);
    MUST(spool_delivered(spool, NULL) == MP_OK);
    read_file("00000001.db", &killed.database);
    read_file("00000001.db-wal", &killed.log);
    spool_close(spool);
    clear_folder();
}

static void begin(void)
{
    if (folder[0] != '\0')
        return;
    const char *place = getenv("TMPDIR");
    log_setup(LOG_ERROR, false); /* that the last turn in a log is not whole is no news here */
    snprintf(folder, sizeof folder, "%.200s/msgpipe-fuzz.XXXXXX", place && *place ? place : "/tmp");
    MUST(mkdtemp(folder) != NULL);
    snprintf(directory, sizeof directory, "%s/out", folder);
    atexit(remove_folder);
    make_images();
}

/* Numbers are small, so that rows concern one another, or any. */
static uint64_t number(struct reader *reader)
{
    uint8_t byte = reader_u8(reader);
    return byte < 250 ? byte : reader_u64(reader);
}

/* The frame's own checksum fits, its records may not: the rest of a row is what the last byte overwrites. */
static enum mp_error put_frame(struct store *store, struct reader *reader)
{
    struct frame_builder frame = {0};
    uint32_t count = 1 + reader_u8(reader) % 4;
    MUST(frame_begin(&frame, 1 | number(reader), number(reader) & UINT32_MAX) == MP_OK);
    for (uint32_t i = 0; i < count; i++)
        MUST(frame_add(&frame, body, sizeof body, NULL, 0) == MP_OK);
    frame_finish(&frame, 1);
    uint8_t at = reader_u8(reader);
    if (at > 0 && at < frame.bytes.size)
        frame.bytes.data[at] = reader_u8(reader);
    fuzz_fit(frame.bytes.data, frame.bytes.size);
    struct store_frame row = {.topic = LOG_TOPIC,
                              .first = number(reader) & ((UINT64_C(1) << 44) - 1),
                              .count = (uint32_t)number(reader),
                              .session = number(reader),
                              .request = number(reader),
                              .time = (int64_t)number(reader),
                              .target = (uint32_t)number(reader),
                              .data = frame.bytes.data,
                              .size = frame.bytes.size};
    enum mp_error error = store_add_frame(store, &row, NULL);
    frame_builder_free(&frame);
    return error;
}

/* Rows of the same key are refused. */
static void put_row(struct store *store, struct reader *reader)
{
    static const char *const names[] = {"producer", "session", "base", "other"};
    struct store_topic topic = {.created = 1};
    switch ((enum row)(reader_u8(reader) % ROW_KINDS)) {
    case TOPIC:
        topic.id = (uint32_t)number(reader) & 0x7ffff;
        topic.name = topics[reader_u8(reader) % 4];
        (void)store_put_topic(store, &topic, NULL);
        break;
    case FRAME:
        (void)put_frame(store, reader);
        break;
    default:
        (void)store_put_number(store, names[reader_u8(reader) % 4], (int64_t)number(reader), NULL);
        break;
    }
}

static void make_rows(struct reader *reader)
{
    struct store *store;
    char path[512];
    path_of("00000001.db", path);
    write_file("00000001.db", &empty.database);
    MUST(store_open(path, &store, NULL) == MP_OK && store_begin(store, NULL) == MP_OK);
    for (unsigned i = reader_u8(reader) % ROWS_MAX; i > 0 && reader->left > 0; i--)
        put_row(store, reader);
    MUST(store_commit(store, NULL) == MP_OK);
    store_close(store);
}

/* A piece of damage: which file, where, how many bytes of what; none: it ends there. */
static void damage(struct buffer *bytes, struct reader *reader)
{
    size_t at = (size_t)reader_u8(reader) << 16 | (size_t)reader_u8(reader) << 8 | reader_u8(reader);
    size_t size = reader_u8(reader) % 32;
    at %= bytes->size + 1;
    if (size == 0) {
        bytes->size = at;
        return;
    }
    for (size_t i = at; i < at + size && i < bytes->size; i++)
        bytes->data[i] ^= reader_u8(reader);
}

static void make_damage(struct reader *reader)
{
    struct image image = {0};
    MUST(buffer_append(&image.database, killed.database.data, killed.database.size) == MP_OK);
    MUST(buffer_append(&image.log, killed.log.data, killed.log.size) == MP_OK);
    for (unsigned i = reader_u8(reader) % 8; i > 0 && reader->left > 0; i--)
        damage(reader_u8(reader) % 4 ? &image.log : &image.database, reader);
    write_file("00000001.db", &image.database);
    write_file("00000001.db-wal", &image.log);
    buffer_free(&image.database);
    buffer_free(&image.log);
}

/* ---- what is done with them --------------------------------------------------------------------------------------- */

static bool said(enum mp_error error, const struct fault *fault)
{
    if (error && error != MP_ERR_NOT_FOUND && error != MP_ERR_BUSY)
        MUST(fault->text[0] != '\0');
    return error != MP_OK;
}

/* What is delivered of a damaged segment is what was taken, each once, in order. */
static void check(const struct spool_entry *entry, uint64_t *next)
{
    struct frame frame;
    struct record record;
    MUST(frame_open(&frame, entry->data, entry->size, true, NULL) == MP_OK);
    MUST(frame.count == entry->count && frame.sequence >= *next);
    unsigned which = frame.sequence == 1 ? 0 : frame.sequence == 2 ? 1 : frame.sequence == 4 ? 2 : 3;
    MUST(frame.sequence <= 7 && entry->count == which + 1);
    MUST(strcmp(entry->topic, which % 2 ? "t" : "a.b") == 0);
    struct frame_cursor cursor = frame_cursor(&frame);
    for (uint32_t i = 0; i < frame.count; i++)
        MUST(frame_next(&cursor, &record) && record.size == sizeof body && memcmp(record.body, body, sizeof body) == 0);
    *next = frame.sequence + frame.count;
}

static bool act(struct spool **spool, struct reader *reader, const struct spool_entry *entry, struct fault *fault)
{
    uint64_t messages;
    switch ((enum act)(reader_u8(reader) % ACTS)) {
    case DELIVERED:
        return said(spool_delivered(*spool, fault), fault);
    case REFUSED:
        if (!spool_keep_refused(directory, entry, MP_ERR_OVERFLOW, "too large", NULL))
            return said(spool_refused(*spool, fault), fault);
        return said(spool_delivered(*spool, fault), fault);
    case SESSION:
        return said(spool_session(*spool, number(reader), number(reader), &messages, fault), fault);
    case FORGET:
        return said(spool_forget_session(*spool, fault), fault);
    case APPEND:
        take(*spool, "t", 1);
        return false;
    default:
        spool_close(*spool);
        return spool_open(directory, spool, fault) != MP_OK;
    }
}

/* As msend does, and in any order. */
static void deliver(struct reader *reader, bool damaged)
{
    struct spool *spool;
    struct spool_status status;
    struct spool_entry entry;
    struct fault fault = {0};
    uint64_t next = 1;
    said(spool_look(directory, &status, &fault), &fault);
    MUST(spool_open(directory, &spool, &fault) == MP_OK);
    for (unsigned i = 0; i < STEPS_MAX; i++) {
        if (said(spool_next(spool, &entry, &fault), &fault))
            break;
        MUST(entry.topic != NULL && entry.count > 0 && entry.size >= FRAME_HEADER);
        if (damaged)
            check(&entry, &next);
        if (damaged ? said(spool_delivered(spool, &fault), &fault) : act(&spool, reader, &entry, &fault))
            break;
    }
    spool_close(spool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader reader = reader_of(data, size);
    if (size == 0 || size > 4096)
        return 0;
    begin();
    bool damaged = reader_u8(&reader) % KINDS == DAMAGE;
    if (damaged)
        make_damage(&reader);
    else
        make_rows(&reader);
    deliver(&reader, damaged);
    clear_folder();
    return 0;
}

/* ---- seeds ------------------------------------------------------------------------------------------------------ */

/* A row or an act a line. */
/* clang-format off */
static const uint8_t some_rows[] = {
    ROWS, 6,
    TOPIC, 2, 1,
    NUMBER, 0, 9,
    NUMBER, 1, 99,
    FRAME, 2, 9, 1, 0, 0, 3, 0, 1, 1, 2,
    FRAME, 0, 9, 4, 0, 3, 1, 0, 2, 1, 2,
    FRAME, 0, 9, 5, 0, 4, 1, 0, 3, 1, 2,
    DELIVERED,
    SESSION, 98, 0,
    APPEND,
    REFUSED,
    OPEN_AGAIN,
    FORGET,
    DELIVERED,
    DELIVERED,
};
static const uint8_t some_damage[] = {
    DAMAGE, 3,
    1, 0, 100, 7, 2, 0x40, 0x01,
    0, 0, 0, 40, 1, 0x01,
    1, 2, 0, 0, 0,
};
/* clang-format on */

unsigned fuzz_slowness(void)
{
    return 100;
}

bool fuzz_seed(unsigned index, struct buffer *out)
{
    if (index == 0)
        MUST(buffer_append(out, some_rows, sizeof some_rows) == MP_OK);
    else if (index == 1)
        MUST(buffer_append(out, some_damage, sizeof some_damage) == MP_OK);
    return index < 2;
}
