/*
 * dedupe: a message with an id that another one had lately is done. What a message had is remembered with its place
 * (topic, offset, piece), so that the same message, given again, is no duplicate of itself.
 */
#include "stage/steps_private.h"

#include "base/memory.h"
#include "policy/seen.h"

#include <xxhash.h>

enum { IDS_MAX = 1 << 20 };

struct state {
    struct format_value *by;
    struct buffer scratch;
    struct seen seen;
    uint64_t seed;
    struct buffer added; /* struct seen_id: of the message that is on its way */
};

static void dedupe_close(struct step *step)
{
    struct state *state = step->state;
    format_value_free(state->by);
    seen_free(&state->seen);
    buffer_free(&state->scratch);
    buffer_free(&state->added);
    memory_release(state);
}

static enum mp_error dedupe_open(struct step *step, struct fault *fault)
{
    const char *by = step->declared->by != NULL ? step->declared->by : "id";
    if (step->declared->window <= 0)
        return fault_set(fault, MP_ERR_INVALID, "its window is more than 0: write 10m or 1h");
    struct state *state = memory_allocate(sizeof(*state));
    if (state == NULL)
        return fault_memory(fault);
    step->state = state;
    state->seen = (struct seen){.window = step->declared->window, .limit = IDS_MAX};
    /* Where memory lies differs from process to process: ids cannot be chosen to collide. */
    state->seed = (uint64_t)(uintptr_t)state * UINT64_C(0x9e3779b97f4a7c15);
    enum mp_error error = format_value_parse(by, strlen(by), &state->by, fault);
    if (error != MP_OK)
        dedupe_close(step);
    return error;
}

/* The place of a message: the same for the same message alone; NOWHERE: it is of no topic, so it does not come again. */
#define NOWHERE UINT64_C(0)
static uint64_t place_of(const struct passage *passage)
{
    const char *topic = passage->given->topic;
    if (topic == NULL || topic[0] == '\0')
        return NOWHERE;
    const uint64_t place[] = {XXH3_64bits(topic, strlen(topic)), passage->given->offset, passage->piece};
    return XXH3_64bits(place, sizeof(place)) | 1;
}

static enum mp_error dedupe_apply(struct step *step, struct passage *passage, enum step_next *next)
{
    struct state *state = step->state;
    struct format_text value;
    state->scratch.size = 0;
    enum mp_error error = format_value_read(state->by, &passage->item, &state->scratch, &value);
    if (error != MP_OK || value.text == NULL)
        return error;
    const struct seen_id id = seen_id_of(value.text, value.size, state->seed);
    const uint64_t place = place_of(passage);
    const struct seen_entry *entry = seen_find(&state->seen, id, passage->now);
    if (passage->forget) {
        if (entry != NULL && entry->tag == place)
            seen_remove(&state->seen, id);
        return MP_OK;
    }
    if (entry != NULL) {
        if (entry->tag != place || place == NOWHERE) {
            step->steps->counts.duplicates++;
            *next = STEP_SKIP;
        }
        return MP_OK;
    }
    error = buffer_append(&state->added, &id, sizeof(id));
    if (error == MP_OK)
        error = seen_add(&state->seen, id, place, passage->now);
    step->steps->counts.forgotten += state->seen.lost;
    state->seen.lost = 0;
    return error;
}

static void dedupe_settle(struct step *step, bool kept, int64_t now)
{
    struct state *state = step->state;
    (void)now;
    for (size_t at = 0; !kept && at < state->added.size; at += sizeof(struct seen_id)) {
        struct seen_id id;
        memcpy(&id, state->added.data + at, sizeof(id));
        seen_remove(&state->seen, id);
    }
    state->added.size = 0;
}

const struct step_type step_dedupe = {
    .open = dedupe_open, .close = dedupe_close, .apply = dedupe_apply, .settle = dedupe_settle};
