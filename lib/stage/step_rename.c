/* rename and remove: attributes under another name, or gone. What is not there is no error. */
#include "stage/steps_private.h"

static void nothing_to_close(struct step *step)
{
    (void)step; /* it has no state */
}

static enum mp_error open_rename(struct step *step, struct fault *fault)
{
    const struct stage_step *declared = step->declared;
    enum mp_error error = MP_OK;
    for (size_t i = 0; error == MP_OK && i < declared->pairs_count; i++) {
        error = step_check_name(declared->pairs[i].name, fault);
        if (error == MP_OK)
            error = step_check_name(declared->pairs[i].value, fault);
    }
    return error;
}

static bool find(const struct record *record, const char *name, struct attribute *attribute)
{
    return record->attributes_size > 0 &&
           attribute_find(record->attributes, record->attributes_size, name, strlen(name), attribute);
}

/* All old names go, then the new ones come, so that two attributes can change places. */
static enum mp_error rename_all(const struct stage_step *declared, const struct record *record, struct buffer *block,
                                struct fault *fault)
{
    struct attribute attribute;
    enum mp_error error = MP_OK;
    for (size_t i = 0; i < declared->pairs_count; i++) {
        const char *old = step_attribute(declared->pairs[i].name);
        attributes_remove(block, old, strlen(old));
    }
    for (size_t i = 0; error == MP_OK && i < declared->pairs_count; i++) {
        const char *name = step_attribute(declared->pairs[i].value);
        if (!find(record, step_attribute(declared->pairs[i].name), &attribute))
            continue;
        const enum attribute_code code = attribute.code >= ATTRIBUTE_STRING ? attribute.code : ATTRIBUTE_STRING;
        error = attributes_set(block, code, name, strlen(name), attribute.value, attribute.value_size, fault);
    }
    return error;
}

static enum mp_error apply_rename(struct step *step, struct passage *passage, enum step_next *next)
{
    struct fault fault;
    struct buffer *block = passage_copy(passage);
    if (block == NULL)
        return MP_ERR_MEMORY;
    enum mp_error error = rename_all(step->declared, &passage->item.record, block, &fault);
    if (error == MP_ERR_MEMORY)
        return error;
    if (error != MP_OK)
        *next = passage_dies(passage, PROTOCOL_REASON_FORMAT, "rename", fault.text);
    else
        passage_dress(passage, block);
    return MP_OK;
}

static enum mp_error open_remove(struct step *step, struct fault *fault)
{
    enum mp_error error = MP_OK;
    for (size_t i = 0; error == MP_OK && i < step->declared->names_count; i++)
        error = step_check_name(step->declared->names[i], fault);
    return error;
}

static enum mp_error apply_remove(struct step *step, struct passage *passage, enum step_next *next)
{
    (void)next;
    if (passage->item.record.attributes_size == 0)
        return MP_OK;
    struct buffer *block = passage_copy(passage);
    if (block == NULL)
        return MP_ERR_MEMORY;
    for (size_t i = 0; i < step->declared->names_count; i++) {
        const char *name = step_attribute(step->declared->names[i]);
        attributes_remove(block, name, strlen(name));
    }
    passage_dress(passage, block);
    return MP_OK;
}

const struct step_type step_rename = {.open = open_rename, .close = nothing_to_close, .apply = apply_rename};
const struct step_type step_remove = {.open = open_remove, .close = nothing_to_close, .apply = apply_remove};
