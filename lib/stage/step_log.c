/* log: attributes of each message, or of one of so many, for the log. */
#include "stage/steps_private.h"

#include "base/memory.h"

struct state {
    uint64_t seen;
    struct buffer scratch;
    size_t count;
    const char *const *names;
    struct format_value **values;
    struct format_text *texts;
    struct stage_field *fields;
};

static const char *const usual[] = {"topic", "id", "key"};

static void log_close(struct step *step)
{
    struct state *state = step->state;
    for (size_t i = 0; state->values != NULL && i < state->count; i++)
        format_value_free(state->values[i]);
    buffer_free(&state->scratch);
    memory_release(state->values);
    memory_release(state->texts);
    memory_release(state->fields);
    memory_release(state);
}

static enum mp_error log_open(struct step *step, struct fault *fault)
{
    const struct stage_step *declared = step->declared;
    const size_t count = declared->names_count > 0 ? declared->names_count : sizeof(usual) / sizeof(*usual);
    struct state *state = memory_allocate(sizeof(*state));
    enum mp_error error = MP_OK;
    if (state == NULL)
        return fault_memory(fault);
    step->state = state;
    state->names = declared->names_count > 0 ? declared->names : usual;
    state->values = memory_allocate_array(count, sizeof(*state->values));
    state->texts = memory_allocate_array(count, sizeof(*state->texts));
    state->fields = memory_allocate_array(count, sizeof(*state->fields));
    if (state->values == NULL || state->texts == NULL || state->fields == NULL)
        error = fault_memory(fault);
    for (; error == MP_OK && state->count < count; state->count++) {
        const char *name = state->names[state->count];
        error = format_value_parse(name, strlen(name), &state->values[state->count], fault);
    }
    if (error != MP_OK)
        log_close(step);
    return error;
}

/* What a message does not have is left out. */
static size_t fill(struct state *state)
{
    size_t count = 0;
    for (size_t i = 0; i < state->count; i++)
        if (state->texts[i].text != NULL)
            state->fields[count++] = (struct stage_field){
                .name = state->names[i], .value = (const char *)state->texts[i].text, .size = state->texts[i].size};
    return count;
}

static enum mp_error log_apply(struct step *step, struct passage *passage, enum step_next *next)
{
    struct state *state = step->state;
    const struct stage_steps_settings *settings = &step->steps->settings;
    const bool wanted = step->declared->sample <= 1 || state->seen % step->declared->sample == 0;
    (void)next;
    if (passage->forget)
        return MP_OK;
    state->seen++;
    if (!wanted || settings->log == NULL)
        return MP_OK;
    const uint8_t *before;
    do { /* once more where the bytes of the first ones have moved, to make room for later ones */
        before = state->scratch.data;
        state->scratch.size = 0;
        for (size_t i = 0; i < state->count; i++) {
            enum mp_error error =
                format_value_read(state->values[i], &passage->item, &state->scratch, &state->texts[i]);
            if (error != MP_OK)
                return error;
        }
    } while (state->scratch.data != before);
    settings->log(settings->context, state->fields, fill(state));
    return MP_OK;
}

const struct step_type step_log = {.open = log_open, .close = log_close, .apply = log_apply};
