/* set: attributes by templates, which all see the message as it came to the step. An empty value removes. */
#include "stage/steps_private.h"

#include "base/memory.h"

struct pair {
    const char *name;
    size_t name_size;
    struct format_template *template;
};

struct state {
    struct buffer value;
    size_t count;
    struct pair all[];
};

static void set_close(struct step *step)
{
    struct state *state = step->state;
    for (size_t i = 0; i < state->count; i++)
        format_template_free(state->all[i].template);
    buffer_free(&state->value);
    memory_release(state);
}

/* A value that is the same for all messages can be checked now. */
static enum mp_error check_constant(const struct pair *pair, struct fault *fault)
{
    static const struct format_item any = {.topic = NULL};
    struct buffer value = {0}, block = {0};
    enum mp_error error = MP_OK;
    if (!format_template_is_constant(pair->template))
        return MP_OK;
    if (format_template_write(pair->template, &any, &value) != MP_OK)
        error = fault_memory(fault);
    else if (value.size > 0)
        error = attributes_set(&block, ATTRIBUTE_STRING, pair->name, pair->name_size, (const char *)value.data,
                               value.size, fault);
    buffer_free(&value);
    buffer_free(&block);
    return error;
}

static enum mp_error open_pair(struct pair *pair, const struct stage_pair *declared, struct fault *fault)
{
    struct fault why = {0};
    enum mp_error error = step_check_name(declared->name, fault);
    if (error != MP_OK)
        return error;
    pair->name = step_attribute(declared->name);
    pair->name_size = strlen(pair->name);
    error = format_template_parse(declared->value, &pair->template, &why);
    if (error != MP_OK)
        return fault_set(fault, error, "%s: %s", declared->name, fault_text(&why));
    return check_constant(pair, fault);
}

static enum mp_error set_open(struct step *step, struct fault *fault)
{
    const struct stage_step *declared = step->declared;
    struct state *state = memory_allocate(sizeof(*state) + declared->pairs_count * sizeof(state->all[0]));
    if (state == NULL)
        return fault_memory(fault);
    step->state = state;
    enum mp_error error = MP_OK;
    while (error == MP_OK && state->count < declared->pairs_count) {
        const size_t i = state->count++;
        error = open_pair(&state->all[i], &declared->pairs[i], fault);
    }
    if (error != MP_OK)
        set_close(step);
    return error;
}

static enum mp_error set_apply(struct step *step, struct passage *passage, enum step_next *next)
{
    struct state *state = step->state;
    struct buffer *block = passage_copy(passage);
    struct fault fault;
    enum mp_error error = block == NULL ? MP_ERR_MEMORY : MP_OK;
    for (size_t i = 0; error == MP_OK && i < state->count; i++) {
        const struct pair *pair = &state->all[i];
        state->value.size = 0;
        error = format_template_write(pair->template, &passage->item, &state->value);
        if (error == MP_OK && state->value.size == 0)
            attributes_remove(block, pair->name, pair->name_size);
        else if (error == MP_OK)
            error = attributes_set(block, ATTRIBUTE_STRING, pair->name, pair->name_size,
                                   (const char *)state->value.data, state->value.size, &fault);
    }
    if (error == MP_OK) {
        passage_dress(passage, block);
    } else if (error != MP_ERR_MEMORY) {
        *next = passage_dies(passage, PROTOCOL_REASON_FORMAT, "set", fault.text);
        error = MP_OK;
    }
    return error;
}

const struct step_type step_set = {.open = set_open, .close = set_close, .apply = set_apply};
