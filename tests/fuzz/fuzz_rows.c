/*
 * What the relay keeps in rows beside messages: the states of a block of a group's messages, and settings. The first byte
 * chooses. What was read and is written again must be read as the same, and be written as the same bytes.
 */
#include "fuzz.h"

#include "queue/settings.h"
#include "queue/states_private.h"

enum { STATES, TOPIC, GROUP, KINDS, BLOCKS = 3 };

static const struct moment now = {.monotonic = 1000000000, .wall = 1700000000000000, .boot = 1};

struct saved {
    struct buffer bytes[BLOCKS];
};

static enum mp_error put(void *context, uint32_t block, const void *data, size_t size)
{
    struct saved *saved = context;
    MUST(block < BLOCKS);
    return buffer_append(&saved->bytes[block], data, size);
}

/* False: they are damaged. */
static bool load(struct states *states, uint64_t frontier, const struct saved *rows)
{
    enum mp_error error = states_restore(states, 0, 0, frontier, NULL, 0);
    for (uint32_t i = 0; !error && i < BLOCKS; i++) {
        uint8_t *exact = fuzz_copy(rows->bytes[i].data, rows->bytes[i].size);
        if (rows->bytes[i].size > 0)
            error = states_load(states, now, i, exact, rows->bytes[i].size);
        free(exact);
    }
    MUST(!error || error == MP_ERR_DAMAGED);
    return !error && !states_check(states, NULL);
}

static void save(struct states *states, struct saved *saved)
{
    for (size_t i = 0; i < states->blocks_count; i++)
        states->blocks[i]->dirty = true;
    MUST(states_save(states, now, put, saved) == MP_OK);
}

static void free_saved(struct saved *saved)
{
    for (unsigned i = 0; i < BLOCKS; i++)
        buffer_free(&saved->bytes[i]);
}

/* What is done with states that were loaded. */
static void use(struct states *states)
{
    struct state_run run;
    for (int state = 0; state < STATE_COUNT; state++)
        (void)states_find(states, (enum state)state, 0, &run);
    (void)states_due(states);
    (void)states_wake(states, now.monotonic + 1000, NULL, NULL);
    MUST(states_check(states, NULL) == MP_OK);
}

/* Two bytes of a frontier, then rows, each with its size before it. */
static void read_states(const uint8_t *data, size_t size)
{
    struct reader reader = reader_of(data, size);
    struct saved rows = {0}, once = {0}, twice = {0};
    struct states states = {0}, again = {0};
    uint64_t frontier = reader_u16(&reader) % (BLOCKS << STATES_BLOCK_BITS);
    for (unsigned i = 0; i < BLOCKS; i++) {
        uint16_t length = reader_u16(&reader);
        const void *bytes = reader_bytes(&reader, length);
        if (bytes)
            MUST(buffer_append(&rows.bytes[i], bytes, length) == MP_OK);
    }
    if (load(&states, frontier, &rows)) {
        save(&states, &once);
        MUST(load(&again, frontier, &once));
        save(&again, &twice);
        for (unsigned i = 0; i < BLOCKS; i++)
            MUST(once.bytes[i].size == twice.bytes[i].size &&
                 (once.bytes[i].size == 0 || memcmp(once.bytes[i].data, twice.bytes[i].data, once.bytes[i].size) == 0));
        use(&states);
    }
    states_free(&states);
    states_free(&again);
    free_saved(&rows);
    free_saved(&once);
    free_saved(&twice);
}

static void said(enum mp_error error, const struct fault *fault)
{
    if (error)
        MUST(fault->text[0] != '\0' && memchr(fault->text, '\0', sizeof fault->text) != NULL);
}

static void read_settings(bool topic, const char *text, size_t size)
{
    struct buffer once = {0}, twice = {0};
    struct fault fault = {0};
    union {
        struct topic_settings topic;
        struct group_settings group;
    } one, two;
    enum mp_error error = topic ? settings_topic_read(&one.topic, text, size, &fault)
                                : settings_group_read(&one.group, text, size, &fault);
    said(error, &fault);
    if (error)
        return;
    MUST((topic ? settings_topic_write(&one.topic, &once) : settings_group_write(&one.group, &once)) == MP_OK);
    MUST((topic ? settings_topic_read(&two.topic, (char *)once.data, once.size, &fault)
                : settings_group_read(&two.group, (char *)once.data, once.size, &fault)) == MP_OK);
    MUST((topic ? settings_topic_write(&two.topic, &twice) : settings_group_write(&two.group, &twice)) == MP_OK);
    MUST(once.size == twice.size && (once.size == 0 || memcmp(once.data, twice.data, once.size) == 0));
    buffer_free(&once);
    buffer_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    char *text = fuzz_string(data + 1, size - 1);
    if (data[0] % KINDS == STATES)
        read_states((const uint8_t *)text, size - 1);
    else
        read_settings(data[0] % KINDS == TOPIC, text, size - 1);
    free(text);
    return 0;
}

static void seed_states(struct buffer *out)
{
    struct states states = {0};
    struct saved saved = {0};
    states_begin(&states, 0);
    const struct state_value values[] = {
        {.state = STATE_ACKED},
        {.state = STATE_LEASED, .attempt = 2, .session = 7, .lease = 9, .failed = now.monotonic},
        {.state = STATE_DELAYED, .attempt = 1, .due = now.monotonic + 500},
        {.state = STATE_WAITING, .attempt = 3, .suspect = 4},
        {.state = STATE_DEAD},
    };
    MUST(states_reach(&states, 5000) == MP_OK);
    for (unsigned i = 0; i < sizeof values / sizeof *values; i++)
        MUST(states_set(&states, 100 + 1000 * i, 700, &values[i]) == MP_OK);
    save(&states, &saved);
    MUST(buffer_put_u16(out, 5000) == MP_OK);
    for (unsigned i = 0; i < BLOCKS; i++) {
        MUST(buffer_put_u16(out, (uint16_t)saved.bytes[i].size) == MP_OK);
        MUST(buffer_append(out, saved.bytes[i].data, saved.bytes[i].size) == MP_OK);
    }
    states_free(&states);
    free_saved(&saved);
}

bool fuzz_seed(unsigned index, struct buffer *out)
{
    static const char *const texts[] = {
        "max_messages=1000\nmax_bytes=1048576\noverflow=drop_oldest\nretain.age=7d\ndedupe.by=id\ndedupe.window=10m\n",
        "order=key\nretry.max_retries=5\nretry.backoff=exponential\nretry.initial_interval=100ms\nretry.jitter=0.2\n"
        "dead_letter=orders.dead\nrate=500/s\n",
    };
    if (index > 2)
        return false;
    MUST(buffer_put_u8(out, (uint8_t)index) == MP_OK);
    if (index == STATES)
        seed_states(out);
    else
        MUST(buffer_append_string(out, texts[index - 1]) == MP_OK);
    return true;
}
