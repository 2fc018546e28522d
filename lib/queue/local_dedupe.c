#include "queue/local.h"

#include "message/attributes.h"
#include "queue/dedupe.h"
#include "queue/examine.h"

#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

/* The hash is inlined: a call would cost more than hashing an id. */
#define XXH_INLINE_ALL
#include <xxhash.h>

/*
 * Duplicates: a message whose id (or key) was published to its topic within the window is marked, and nobody is given
 * it. Rows of hashes, written in the turn of the messages, are the truth; the index in memory (dedupe.h) says where to
 * look in them. So it may know too much, of turns that were undone, and outlives them; it never knows too little.
 */

enum {
    ROW_HASHES = 1000, /* so that a row fits a page: a stored id is confirmed by one read */
    PREFETCH = 8,      /* lookups that are prepared ahead */
    SWEEP_ROWS = 64,   /* of hashes that are deleted in a turn */
    KEPT_ROWS = 16     /* of hashes that were read last */
};
#define SWEEP_PAUSE (INT64_C(1000000))

static const char secret_name[] = EXAMINE_SECRET;

struct hash128 {
    uint64_t low, high;
};
_Static_assert(sizeof(struct hash128) == STORE_HASH, "what is stored");

struct topic_dedupe {
    uint32_t topic;
    struct dedupe index;
    int64_t sweep_due; /* relay time: when rows may be deleted */
};

struct hash_row {
    uint32_t topic;
    uint64_t first;
    uint32_t count;
    int64_t time;
    struct blob *blob;
};

struct deduper {
    struct map topics; /* struct topic_dedupe by topic */
    uint64_t secret;
    bool known_secret;
    struct hash_row rows[KEPT_ROWS];
    unsigned next_row;
    struct hash128 hashes[FRAME_COUNT_MAX]; /* of the frame at hand; all zero: not looked for, or a duplicate */
    uint8_t marks[FRAME_COUNT_MAX / 8];
};

/* When a row is deleted that was written at TIME: with others, some time after its window. */
static int64_t sweep_time(int64_t time, int64_t window)
{
    int64_t pause = window / (4 * DEDUPE_BUCKETS);
    return time + window + (pause > SWEEP_PAUSE ? pause : SWEEP_PAUSE);
}

/* ---- life ----------------------------------------------------------------------------------------------------- */

static struct deduper *deduper_of(struct local *local)
{
    if (!local->deduper)
        local->deduper = calloc(1, sizeof *local->deduper);
    return local->deduper;
}

/* Rows that were read, and the secret that was written, may be of a turn that is undone now. */
void local_dedupe_forget(struct local *local)
{
    struct deduper *deduper = local->deduper;
    if (deduper)
        deduper->known_secret = false;
    for (unsigned i = 0; deduper && i < KEPT_ROWS; i++) {
        blob_drop(deduper->rows[i].blob);
        deduper->rows[i] = (struct hash_row){0};
    }
}

static void topic_forget(struct deduper *deduper, struct topic_dedupe *known)
{
    map_remove(&deduper->topics, &known->topic, sizeof known->topic);
    dedupe_free(&known->index);
    free(known);
}

void local_dedupe_free(struct local *local)
{
    struct deduper *deduper = local->deduper;
    if (!deduper)
        return;
    local_dedupe_forget(local);
    size_t at = 0;
    struct topic_dedupe *known;
    while ((known = map_next(&deduper->topics, &at))) {
        dedupe_free(&known->index);
        free(known);
    }
    map_free(&deduper->topics);
    free(deduper);
    local->deduper = NULL;
}

/* What hashes are seeded with, so that nobody can make ids that collide; made at the first need. */
static enum mp_error find_secret(struct local *local, struct deduper *deduper, struct fault *fault)
{
    int64_t secret = 0;
    enum mp_error error = store_get_number(local->store, secret_name, &secret, fault);
    if (error == MP_ERR_NOT_FOUND) {
        if (deduper->secret == 0 && getentropy(&deduper->secret, sizeof deduper->secret) != 0)
            deduper->secret = (uint64_t)local->now.wall * UINT64_C(0x9e3779b97f4a7c15); /* better than none */
        secret = (int64_t)deduper->secret;
        if (!(error = local_write(local, fault)))
            error = store_put_number(local->store, secret_name, secret, fault);
    }
    if (error)
        return error;
    deduper->secret = (uint64_t)secret;
    deduper->known_secret = true;
    return MP_OK;
}

static struct topic_dedupe *topic_of(struct deduper *deduper, uint32_t id)
{
    return map_get(&deduper->topics, &id, sizeof id);
}

static struct topic_dedupe *topic_make(struct local *local, uint32_t id)
{
    struct deduper *deduper = deduper_of(local);
    struct topic_dedupe *known = deduper ? map_make(&deduper->topics, &id, sizeof id, sizeof *known) : NULL;
    if (!known)
        return NULL;
    known->sweep_due = local->time;
    if (local->time < local->dedupe_due)
        local->dedupe_due = local->time;
    return known;
}

/* ---- loading -------------------------------------------------------------------------------------------------- */

struct loading {
    struct topic_dedupe *known;
    int64_t window;
};

static enum mp_error load_hashes(void *context, const struct store_hashes *row)
{
    const struct loading *loading = context;
    enum mp_error error = MP_OK;
    for (uint32_t i = 0; !error && i < row->count; i++) {
        struct hash128 hash;
        memcpy(&hash, row->hashes + (size_t)i * STORE_HASH, sizeof hash);
        if (i + PREFETCH < row->count)
            dedupe_prefetch_add(&loading->known->index, load_u64(row->hashes + ((size_t)i + PREFETCH) * STORE_HASH));
        if (hash.low != 0 || hash.high != 0)
            error = dedupe_add(&loading->known->index, loading->window, hash.low, row->first + i, row->time);
    }
    return error;
}

static enum mp_error found_hashes(void *context, const struct store_hashes *row)
{
    (void)row;
    *(bool *)context = true;
    return MP_ERR_EXISTS; /* one is enough */
}

/*
 * Indexes are made for topics that look for duplicates and for those that did: their rows are to be deleted. An index
 * that is there stays: it lacks nothing.
 */
enum mp_error local_dedupe_load(struct local *local, struct fault *fault)
{
    size_t at = 0;
    const struct topic *topic;
    local_dedupe_forget(local);
    local->dedupe_due = local->deduper ? local->time : CLOCK_NEVER;
    while ((topic = map_next(&local->topics, &at))) {
        bool wanted = topic->settings.dedupe_by != DEDUPE_NONE;
        if (local->deduper && topic_of(local->deduper, topic->id))
            continue;
        enum mp_error error = store_each_hashes(local->store, topic->id, INT64_MIN, found_hashes, &wanted, fault);
        if (error && error != MP_ERR_EXISTS)
            return error;
        if (!wanted)
            continue;
        struct loading loading = {.known = topic_make(local, topic->id), .window = topic->settings.dedupe_window};
        if (!loading.known)
            return fault_memory(fault);
        error = store_each_hashes(local->store, topic->id, local->time - loading.window, load_hashes, &loading, fault);
        if (error) /* half an index is none */
            topic_forget(local->deduper, loading.known);
        if (error)
            return error == MP_ERR_MEMORY ? fault_memory(fault) : error;
    }
    return MP_OK;
}

/* ---- a publication -------------------------------------------------------------------------------------------- */

/* A frame whose messages are looked for. */
struct looking {
    struct local *local;
    struct deduper *deduper;
    struct topic_dedupe *known;
    uint64_t first; /* offset of the frame */
    uint64_t seed;
    enum dedupe_by by;
    int64_t window;
    int64_t time; /* of the frame's row */
    struct fault *fault;
};

static struct hash128 hash_of(const void *bytes, size_t size, uint64_t seed)
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(bytes, size, seed);
    if (hash.low64 == 0 && hash.high64 == 0)
        hash.low64 = 1; /* zero says that there is none */
    return (struct hash128){hash.low64, hash.high64};
}

static struct hash128 hash_origin(uint64_t producer, uint64_t sequence, uint64_t seed)
{
    uint8_t bytes[16];
    store_u64(bytes, producer);
    store_u64(bytes + 8, sequence);
    return hash_of(bytes, sizeof bytes, seed);
}

/* An id that is written like an origin is that origin: a message may come back with its id as text. */
static struct hash128 hash_id(const struct record *record, uint64_t seed)
{
    struct attribute id;
    uint64_t producer, sequence;
    if (record->attributes_size == 0 ||
        !attribute_known(record->attributes, record->attributes_size, ATTRIBUTE_ID, &id))
        return hash_origin(record->producer, record->sequence, seed);
    if (frame_origin_parse(id.value, id.value_size, &producer, &sequence))
        return hash_origin(producer, sequence, seed);
    return hash_of(id.value, id.value_size, seed);
}

static struct hash128 hash_key(const struct record *record, uint64_t seed)
{
    struct attribute key;
    if (record->attributes_size == 0 ||
        !attribute_known(record->attributes, record->attributes_size, ATTRIBUTE_PARTITIONKEY, &key))
        return (struct hash128){0};
    return hash_of(key.value, key.value_size, seed);
}

static void hash_frame(const struct frame *frame, enum dedupe_by by, uint64_t seed, struct hash128 *hash)
{
    struct frame_cursor cursor = frame_cursor(frame);
    struct record record;
    while (frame_next(&cursor, &record))
        *hash++ = by == DEDUPE_ID ? hash_id(&record, seed) : hash_key(&record, seed);
}

/* What hashes are seeded with: ids and keys are never the same. */
static uint64_t seed_of(uint64_t secret, enum dedupe_by by)
{
    return secret + by;
}

void examine_hashes(const struct frame *frame, enum dedupe_by by, uint64_t secret, uint8_t *hashes)
{
    hash_frame(frame, by, seed_of(secret, by), (struct hash128 *)(void *)hashes);
}

/* The row with the hash of OFFSET, from the last ones that were read, or the store. MP_ERR_NOT_FOUND. */
static enum mp_error read_row(const struct looking *looking, uint64_t offset, const struct hash_row **row)
{
    struct deduper *deduper = looking->deduper;
    uint32_t topic = looking->known->topic;
    for (unsigned i = 0; i < KEPT_ROWS; i++) {
        const struct hash_row *kept = &deduper->rows[i];
        *row = kept;
        if (kept->blob && kept->topic == topic && offset - kept->first < kept->count)
            return MP_OK;
    }
    struct store_hashes found;
    struct blob *blob;
    enum mp_error error = store_read_hashes(looking->local->store, topic, offset, &found, &blob, looking->fault);
    if (error)
        return error;
    struct hash_row *kept = &deduper->rows[deduper->next_row++ % KEPT_ROWS];
    blob_drop(kept->blob);
    *kept = (struct hash_row){topic, found.first, found.count, found.time, blob};
    *row = kept;
    return MP_OK;
}

/* Whether the message at OFFSET has this HASH and is within the window: *SAME. */
static enum mp_error confirm(const struct looking *looking, uint64_t offset, const struct hash128 *hash, bool *same)
{
    const struct hash_row *row;
    if (offset >= looking->first) { /* of this frame */
        *same = memcmp(&looking->deduper->hashes[offset - looking->first], hash, sizeof *hash) == 0;
        return MP_OK;
    }
    *same = false;
    enum mp_error error = read_row(looking, offset, &row);
    if (error)
        return error == MP_ERR_NOT_FOUND ? MP_OK : error;
    *same = row->time > looking->time - looking->window &&
            memcmp(row->blob->data + (offset - row->first) * STORE_HASH, hash, sizeof *hash) == 0;
    return MP_OK;
}

/* Whether message INDEX of the frame is a duplicate; one that is not becomes known. */
static enum mp_error look_up(const struct looking *looking, uint32_t index, bool *duplicate)
{
    const struct hash128 *hash = &looking->deduper->hashes[index];
    struct dedupe_cursor cursor = dedupe_find(&looking->known->index, hash->low);
    uint64_t offset, own = looking->first + index;
    *duplicate = false;
    while (dedupe_next(&cursor, &offset)) {
        if (offset >= own) /* left by a turn that was undone */
            continue;
        enum mp_error error = confirm(looking, offset, hash, duplicate);
        if (error || *duplicate)
            return error;
    }
    if (dedupe_add(&looking->known->index, looking->window, hash->low, own, looking->time))
        return fault_memory(looking->fault);
    return MP_OK;
}

/* Marks the duplicates among COUNT messages whose hashes are there, and takes their hashes out. */
static enum mp_error look_all(const struct looking *looking, uint32_t count, uint32_t *duplicates)
{
    struct deduper *deduper = looking->deduper;
    const struct dedupe *index = &looking->known->index;
    *duplicates = 0;
    for (uint32_t i = 0; i < PREFETCH && i < count; i++)
        dedupe_prefetch(index, deduper->hashes[i].low);
    for (uint32_t i = 0; i < count; i++) {
        bool duplicate = false;
        if (i + PREFETCH < count)
            dedupe_prefetch(index, deduper->hashes[i + PREFETCH].low);
        if (deduper->hashes[i].low == 0 && deduper->hashes[i].high == 0)
            continue;
        enum mp_error error = look_up(looking, i, &duplicate);
        if (error)
            return error;
        if (!duplicate)
            continue;
        if (*duplicates == 0)
            memset(deduper->marks, 0, bits_size(count));
        bits_set(deduper->marks, i);
        deduper->hashes[i] = (struct hash128){0};
        *duplicates += 1;
    }
    return MP_OK;
}

static enum mp_error write_hashes(const struct looking *looking, uint32_t count)
{
    enum mp_error error = MP_OK;
    for (uint32_t from = 0; !error && from < count; from += ROW_HASHES) {
        uint32_t part = count - from < ROW_HASHES ? count - from : ROW_HASHES;
        const struct hash128 *hashes = looking->deduper->hashes + from;
        uint32_t filled = 0;
        while (filled < part && hashes[filled].low == 0 && hashes[filled].high == 0)
            filled++;
        if (filled == part)
            continue;
        struct store_hashes row = {.topic = looking->known->topic,
                                   .first = looking->first + from,
                                   .time = looking->time,
                                   .count = part,
                                   .hashes = (const uint8_t *)hashes};
        error = store_add_hashes(looking->local->store, &row, looking->fault);
    }
    return error;
}

enum mp_error local_dedupe_frame(struct local *local, const struct topic *topic, const struct frame *frame,
                                 int64_t time, const uint8_t **marks, uint32_t *duplicates, struct fault *fault)
{
    struct looking looking = {.local = local,
                              .deduper = deduper_of(local),
                              .first = topic->end,
                              .by = topic->settings.dedupe_by,
                              .window = topic->settings.dedupe_window,
                              .time = time,
                              .fault = fault};
    enum mp_error error;
    *marks = NULL;
    *duplicates = 0;
    if (!looking.deduper)
        return fault_memory(fault);
    if (!looking.deduper->known_secret && (error = find_secret(local, looking.deduper, fault)))
        return error;
    if (!(looking.known = topic_of(looking.deduper, topic->id)) && !(looking.known = topic_make(local, topic->id)))
        return fault_memory(fault);
    looking.seed = seed_of(looking.deduper->secret, looking.by);
    if (looking.known->sweep_due == CLOCK_NEVER) {
        looking.known->sweep_due = sweep_time(time, looking.window);
        if (looking.known->sweep_due < local->dedupe_due)
            local->dedupe_due = looking.known->sweep_due;
    }
    dedupe_expire(&looking.known->index, time - looking.window);
    hash_frame(frame, looking.by, looking.seed, looking.deduper->hashes);
    if ((error = look_all(&looking, frame->count, duplicates)) || (error = write_hashes(&looking, frame->count)))
        return error;
    if (*duplicates > 0)
        *marks = looking.deduper->marks;
    return MP_OK;
}

/* ---- rows that are over --------------------------------------------------------------------------------------- */

static enum mp_error take_time(void *context, const struct store_hashes *row)
{
    *(int64_t *)context = row->time;
    return MP_ERR_EXISTS; /* the first one is meant */
}

/* When the oldest row of TOPIC was written; CLOCK_NEVER: there is none. */
static enum mp_error oldest_row(struct local *local, uint32_t topic, int64_t *time, struct fault *fault)
{
    *time = CLOCK_NEVER;
    enum mp_error error = store_each_hashes(local->store, topic, INT64_MIN, take_time, time, fault);
    return error == MP_ERR_EXISTS ? MP_OK : error;
}

/* Deletes some of the rows that are over, if there are any: a turn without changes needs no commit. */
static enum mp_error sweep_topic(struct local *local, struct topic_dedupe *known, bool *gone, struct fault *fault)
{
    const struct topic *topic = map_get(&local->topics_by_id, &known->topic, sizeof known->topic);
    bool wanted = topic && topic->settings.dedupe_by != DEDUPE_NONE;
    int64_t window = wanted ? topic->settings.dedupe_window : 0, oldest;
    int64_t before = wanted ? local->time - window : INT64_MAX;
    uint32_t deleted;
    enum mp_error error = oldest_row(local, known->topic, &oldest, fault);
    if (error)
        return error;
    *gone = !wanted && oldest == CLOCK_NEVER;
    known->sweep_due = oldest == CLOCK_NEVER ? CLOCK_NEVER : sweep_time(oldest, window);
    if (wanted)
        dedupe_expire(&known->index, before);
    if (oldest >= before)
        return MP_OK;
    known->sweep_due = local->time; /* again, until there is nothing left */
    if ((error = local_write(local, fault)))
        return error;
    return store_delete_hashes(local->store, known->topic, before, SWEEP_ROWS, &deleted, fault);
}

enum mp_error local_dedupe_tick(struct local *local, struct fault *fault)
{
    size_t at = 0;
    struct topic_dedupe *known;
    enum mp_error error = MP_OK;
    if (local->dedupe_due > local->time)
        return MP_OK;
    local->dedupe_due = CLOCK_NEVER;
    while (!error && local->deduper && (known = map_next(&local->deduper->topics, &at))) {
        bool gone = false;
        if (known->sweep_due <= local->time)
            error = sweep_topic(local, known, &gone, fault);
        if (known->sweep_due < local->dedupe_due)
            local->dedupe_due = known->sweep_due;
        if (!gone)
            continue;
        topic_forget(local->deduper, known);
        at--; /* a removal moves others towards its place, none past it: look there again */
    }
    return error;
}

size_t local_dedupe_bytes(const struct local *local)
{
    size_t at = 0, bytes = 0;
    const struct topic_dedupe *known;
    while (local->deduper && (known = map_next(&local->deduper->topics, &at)))
        bytes += dedupe_bytes(&known->index);
    return bytes;
}
