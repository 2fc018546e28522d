/* Messages that succeed or fail together. */
#include "base/memory.h"
#include "runner/stage_private.h"

enum { SPARES = 64 };

struct bundle *bundle_new(struct runner_stage *stage, struct feed *feed)
{
    struct bundle *bundle = stage->spare;
    if (bundle) {
        stage->spare = bundle->next;
        stage->spares--;
        *bundle = (struct bundle){0};
    } else if (!(bundle = memory_allocate(sizeof *bundle))) {
        return NULL;
    }
    bundle->feed = feed;
    bundle->parts = &bundle->one_part;
    bundle->items = &bundle->one_item;
    bundle->tasks = &bundle->one_task;
    bundle->parts_capacity = bundle->items_capacity = 1;
    bundle->end = STAGE_SUCCEEDED;
    bundle->next = stage->bundles;
    if (bundle->next)
        bundle->next->previous = bundle;
    stage->bundles = bundle;
    return bundle;
}

void bundle_free(struct runner_stage *stage, struct bundle *bundle)
{
    for (uint32_t i = 0; i < bundle->parts_count; i++)
        feed_unpin(bundle->parts[i].parcel);
    for (uint32_t i = 0; i < bundle->tasks_count; i++)
        buffer_free(&bundle->tasks[i].output);
    if (bundle->parts != &bundle->one_part)
        memory_release(bundle->parts);
    if (bundle->items != &bundle->one_item)
        memory_release(bundle->items);
    if (bundle->tasks != &bundle->one_task)
        memory_release(bundle->tasks);
    memory_release(bundle->inputs_of);
    memory_release(bundle->note);
    keep_clear(&bundle->keep);
    if (bundle->previous)
        bundle->previous->next = bundle->next;
    else
        stage->bundles = bundle->next;
    if (bundle->next)
        bundle->next->previous = bundle->previous;
    if (stage->spares == SPARES) {
        memory_release(bundle);
        return;
    }
    bundle->next = stage->spare;
    stage->spare = bundle;
    stage->spares++;
}

void bundle_drop(struct runner_stage *stage, struct bundle *bundle)
{
    for (uint32_t i = 0; i < bundle->parts_count; i++)
        feed_drop(bundle->feed, &bundle->parts[i]);
    bundle_free(stage, bundle);
}

enum mp_error bundle_add_part(struct bundle *bundle, struct part part)
{
    struct part *last = bundle->parts_count ? &bundle->parts[bundle->parts_count - 1] : NULL;
    if (last && last->parcel == part.parcel && last->index + last->count == part.index) {
        last->count += part.count;
    } else {
        if (bundle->parts_count == bundle->parts_capacity) {
            uint32_t capacity = bundle->parts_capacity * 4;
            bool own = bundle->parts != &bundle->one_part;
            struct part *parts = memory_reallocate(own ? bundle->parts : NULL, capacity * sizeof *parts);
            if (!parts)
                return MP_ERR_MEMORY;
            if (!own)
                parts[0] = bundle->one_part;
            bundle->parts = parts;
            bundle->parts_capacity = capacity;
        }
        bundle->parts[bundle->parts_count++] = part;
        feed_pin(part.parcel);
    }
    bundle->inputs += part.count;
    return MP_OK;
}

static enum mp_error grow_items(struct bundle *bundle, uint32_t capacity)
{
    bool own = bundle->items != &bundle->one_item;
    struct format_item *items = memory_reallocate(own ? bundle->items : NULL, capacity * sizeof *items);
    if (!items)
        return MP_ERR_MEMORY;
    if (!own)
        items[0] = bundle->one_item;
    bundle->items = items;
    bundle->items_capacity = capacity;
    return MP_OK;
}

enum mp_error bundle_add_item(struct bundle *bundle, const struct format_item *item, uint32_t input)
{
    enum mp_error error = MP_OK;
    if (bundle->items_count == bundle->items_capacity)
        error = grow_items(bundle, bundle->items_capacity < 16 ? 16 : bundle->items_capacity * 2);
    if (!error && (bundle->inputs_of || input != bundle->items_count)) {
        uint32_t *inputs_of = memory_reallocate(bundle->inputs_of, bundle->items_capacity * sizeof *inputs_of);
        if (!inputs_of)
            return MP_ERR_MEMORY;
        for (uint32_t i = 0; !bundle->inputs_of && i < bundle->items_count; i++)
            inputs_of[i] = i;
        bundle->inputs_of = inputs_of;
        inputs_of[bundle->items_count] = input;
    }
    if (!error)
        bundle->items[bundle->items_count++] = *item;
    return error;
}

enum mp_error bundle_make_tasks(struct bundle *bundle, bool together)
{
    uint32_t count = together ? 1 : bundle->items_count;
    if (count > 1) {
        struct runner_task *tasks = memory_allocate_array(count, sizeof *tasks);
        if (!tasks)
            return MP_ERR_MEMORY;
        bundle->tasks = tasks;
    }
    bundle->tasks_count = count;
    for (uint32_t i = 0; i < count; i++) {
        bundle->tasks[i].bundle = bundle;
        bundle->tasks[i].task.items = &bundle->items[i];
        bundle->tasks[i].task.count = together ? bundle->items_count : 1;
    }
    return MP_OK;
}

/* Marks in WRONG, of all inputs, those of the COUNT items whose numbers are in ITEMS. */
static void mark(const struct bundle *bundle, const uint32_t *items, size_t count, bool *wrong)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t input = bundle->inputs_of ? bundle->inputs_of[items[i]] : items[i];
        if (input < bundle->inputs)
            wrong[input] = true;
    }
}

enum mp_error bundle_take_out(struct bundle *bundle, const uint32_t *items, size_t count, struct part **out,
                              uint32_t *out_count)
{
    bool *wrong = memory_allocate_array(bundle->inputs, sizeof *wrong);
    /* Each input that is taken out can make two parts of one. */
    size_t most = bundle->parts_count + count;
    struct part *left = memory_allocate_array(most, sizeof *left);
    struct part *gone = memory_allocate_array(most, sizeof *gone);
    uint32_t input = 0, left_count = 0, gone_count = 0;
    if (!wrong || !left || !gone) {
        memory_release(wrong);
        memory_release(left);
        memory_release(gone);
        return MP_ERR_MEMORY;
    }
    mark(bundle, items, count, wrong);
    for (uint32_t i = 0; i < bundle->parts_count; i++) {
        struct part part = bundle->parts[i];
        for (uint32_t done = 0; done < part.count;) {
            uint32_t run = 1;
            while (done + run < part.count && wrong[input + run] == wrong[input])
                run++;
            struct part some = {part.parcel, part.index + done, run};
            if (wrong[input])
                gone[gone_count++] = some;
            else
                left[left_count++] = some;
            done += run;
            input += run;
        }
    }
    memory_release(wrong);
    /* The pins are the parcels', one for each part that there was: they go over to what is left of them. */
    for (uint32_t i = 0; i < left_count; i++)
        feed_pin(left[i].parcel);
    for (uint32_t i = 0; i < gone_count; i++)
        feed_pin(gone[i].parcel);
    for (uint32_t i = 0; i < bundle->parts_count; i++)
        feed_unpin(bundle->parts[i].parcel);
    if (bundle->parts != &bundle->one_part)
        memory_release(bundle->parts);
    bundle->parts = left;
    bundle->parts_count = left_count;
    bundle->parts_capacity = (uint32_t)most;
    *out = gone;
    *out_count = gone_count;
    return MP_OK;
}
