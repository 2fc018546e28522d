#include "queue/engine.h"

#include "base/memory.h"

#include <stdlib.h>

static void delivery_drop(const struct engine_delivery *delivery)
{
    blob_drop(delivery->blob);
    blob_drop(delivery->mask_blob);
}

void engine_deliveries_clear(struct engine_deliveries *deliveries)
{
    for (size_t i = 0; i < deliveries->count; i++)
        delivery_drop(&deliveries->items[i]);
    deliveries->count = 0;
    deliveries->bytes = 0;
    deliveries->messages = 0;
    deliveries->waiting = 0;
    deliveries->end = deliveries->passed = false;
}

void engine_deliveries_free(struct engine_deliveries *deliveries)
{
    engine_deliveries_clear(deliveries);
    free(deliveries->items);
    *deliveries = (struct engine_deliveries){0};
}

enum mp_error engine_deliveries_add(struct engine_deliveries *deliveries, const struct engine_delivery *delivery)
{
    if (deliveries->count == deliveries->capacity) {
        struct engine_delivery *items = memory_grow(deliveries->items, &deliveries->capacity, sizeof *items, 16);
        if (!items) {
            delivery_drop(delivery);
            return MP_ERR_MEMORY;
        }
        deliveries->items = items;
    }
    deliveries->items[deliveries->count++] = *delivery;
    deliveries->bytes += delivery->size;
    deliveries->messages += delivery->count;
    return MP_OK;
}
